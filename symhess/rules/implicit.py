"""`implicit_function`: y(x) with F(x, y) = 0, or y = argmin g(x, .), differentiated by the implicit function theorem.

    dy = -F_y^-1 (F_x dx)           F = dg/dy for a minimum

F is traced once, symbolically. The solution is one node that a solver computes; its rule is the graph above, in which
the node itself stands. So derivatives of every order are exact, and never look at the iterations of the solver.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symhess.differentiate import gradient, pushforward
from symhess.errors import ConcretizationError, DTypeMismatch, NonScalarOutput, ShapeMismatch
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.node import Node
from symhess.graph.pytrees import flatten, unflatten
from symhess.primitives import apply, cast, concatenate, is_zero, reshape, scatter, slice_axis, solve, zeros
from symhess.rules import newton
from symhess.rules.arguments import Arguments, any_traced, arguments, output_nodes, over_leaves
from symhess.rules.operation import Kind, Operation, Template, foreign_inputs
from symhess.structure import coefficient, tangents
from symhess.trace import Tracer, trace
from symhess.trace.captured import released
from symhess.trace.nested import pass_on_guards, values_of
from symhess.trace.session import current_session, here, mark
from symhess.trace.tracing import Traced, name_of
from symhess.trace.ufuncs import node_of_any


def implicit_function(residual: Callable | None = None, *, argmin: Callable | None = None,
                      solver: Callable | None = None, y0: Any = None, tolerance: float = 1e-10,
                      max_steps: int = 100) -> ImplicitFunction:
    """The function y(x) that solves F(x, y) = 0, or minimises g(x, y) over y, with exact derivatives of every order.

    Args:
        residual: `F(*args, y)`, as many numbers as y has; or
        argmin: `g(*args, y)`, one number, twice differentiable by y.
        solver: `solver(*args, y0) -> y`, any Python code, called with plain numbers. Its answer is taken as the
            solution. Default: Newton's method, damped, on the traced F.
        y0: where the solver starts (an array, a number or a pytree: y has the same form); it may also be given in each
            call, `y(x, y0=...)`, and is not differentiated. With a solver of your own it may be None, if numbers are
            known when the function is traced.
        tolerance, max_steps: of Newton's method: a last step of at most `tolerance` relative to y.

    Returns:
        A function of `*args` that returns y.

    Derivatives are taken at the solver's answer, and are as exact as it is. Where F_y is singular they are NaN or
    infinite. A diagonal F_y (one equation per element) keeps the derivative diagonal; any other is solved as a dense
    matrix.

    Raises:
        NotConverged: Newton's method found no solution (when the function is called).
        ShapeMismatch: F has not as many numbers as y, or a solver's answer not the shape of y0.

    Example:
        >>> import numpy as np, symhess
        >>> root = symhess.implicit_function(lambda x, y: y**3 - x, y0=1.0)
        >>> symhess.grad(lambda x: root(x))(8.0)
        np.float64(0.08333333333333333)
    """
    if (residual is None) == (argmin is None):
        raise TypeError("implicit_function needs either a residual F(*args, y) or argmin=g(*args, y)")
    if solver is None and tolerance <= 0:
        raise ValueError(f"tolerance={tolerance!r} must be positive")
    fn = residual if argmin is None else argmin
    return ImplicitFunction(fn, argmin is not None, solver, y0, tolerance, max_steps)


@dataclass(frozen=True)
class Layout:
    """The form of y: a pytree of arrays, laid end to end in one vector."""

    name: str
    spec: Any
    shapes: tuple[tuple[int, ...], ...]
    dtype: np.dtype

    @classmethod
    def of(cls, y: Any, name: str) -> Layout:
        """The form of a starting point or solution."""
        leaves, spec = flatten(y)
        dtypes = [x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype for x in leaves]
        for d in dtypes:
            if d.kind not in "fiub":
                raise DTypeMismatch(f"{name}: y has dtype {d}; implicit functions are of real numbers")
        single = bool(dtypes) and all(d == np.float32 for d in dtypes)
        return cls(name, spec, tuple(np.shape(x) for x in leaves), np.dtype(np.float32 if single else np.float64))

    @property
    def size(self) -> int:
        return sum(map(math.prod, self.shapes))

    def packed(self, y: Any, what: str) -> np.ndarray:
        """y as one vector of numbers, checked."""
        leaves, spec = flatten(y)
        shapes = tuple(np.shape(x) for x in leaves)
        advice = "; return its .x" if hasattr(y, "x") else ""
        if spec != self.spec or shapes != self.shapes:
            got = f"shapes {list(shapes)}" if spec == self.spec else f"structure {spec}"
            raise ShapeMismatch(f"{self.name}: {what} has {got} where y has shapes {list(self.shapes)} in structure "
                                f"{self.spec}{advice}")
        arrays = [np.asarray(x) for x in leaves]
        for a in arrays:
            if a.dtype.kind not in "fiub":
                raise DTypeMismatch(f"{self.name}: {what} has dtype {a.dtype}; implicit functions are of real "
                                    f"numbers{advice}")
        return np.concatenate([a.astype(self.dtype).reshape(-1) for a in arrays])

    def packed_nodes(self, leaves: Sequence[Node]) -> Node:
        """Nodes laid end to end."""
        return concatenate([reshape(cast(n, self.dtype), (n.size,)) for n in leaves], 0)

    def parts(self, flat: Any, cut: Callable[[Any, int, int], Any], shaped: Callable[[Any, tuple], Any]) -> list[Any]:
        """The leaves in a vector."""
        out, first = [], 0
        for shape in self.shapes:
            out.append(shaped(cut(flat, first, math.prod(shape)), shape))
            first += math.prod(shape)
        return out

    def nodes(self, flat: Node) -> list[Node]:
        """The leaves in a vector node."""
        return self.parts(flat, lambda v, first, size: slice_axis(v, 0, first, 1, size), reshape)

    def unpacked(self, flat: np.ndarray) -> Any:
        """y from a vector of numbers."""
        return unflatten(self.spec, self.parts(flat, lambda v, first, size: v[first:first + size].copy(),
                                               lambda v, shape: v.reshape(shape)[()]))


class ImplicitFunction:
    """y(x) given by an equation or a minimum; see `implicit_function`."""

    def __init__(self, fn: Callable, minimum: bool, solver: Callable | None, y0: Any, tolerance: float, max_steps: int):
        self.fn, self.minimum, self.solver, self.y0 = fn, minimum, solver, y0
        self.tolerance, self.max_steps = tolerance, max_steps
        self.__name__ = f"implicit({name_of(fn)})"

    def __repr__(self) -> str:
        return f"<{self.__name__}>"

    def __call__(self, *args: Any, y0: Any = None) -> Any:
        mark()
        y0 = self.y0 if y0 is None else y0
        if current_session() is None:
            return self._of_numbers(over_leaves(released, args), over_leaves(released, y0))
        given, session = arguments(args, {}), current_session()
        layout = Layout.of(self._example(given, y0), self.__name__)
        start = [] if y0 is None else [layout.packed_nodes([node_of_any(x) for x in flatten(y0)[0]])]
        key = (self, given.key, layout, bool(start))
        system = session.shared.get(key)
        if system is None:
            system = System(self, given, layout, bool(start), y0)
            if system.is_reusable:
                session.shared[key] = system
        (flat,) = system.operation([*given.actual, *system.foreign, *start])
        pass_on_guards(system.guards, {**dict(zip(system.fresh, given.actual)), system.y: flat})
        return unflatten(layout.spec, [Tracer(n, session) for n in layout.nodes(flat)])

    def _of_numbers(self, args: tuple, y0: Any) -> Any:
        """The solution outside of traced functions."""
        if self.solver is not None:
            return self.solver(*args, y0)
        layout = Layout.of(self._start(y0), self.__name__)
        given = arguments_of_numbers(args)
        system = System(self, given, layout, True, y0)
        arrays = [np.asarray(x) for x, n in zip(flatten((args, {}))[0], given.nodes) if n is not None]
        return layout.unpacked(system.call([*arrays, layout.packed(y0, "y0")]))

    def _start(self, y0: Any) -> Any:
        if y0 is None:
            raise TypeError(f"{self.__name__}: Newton's method needs a starting point; give y0=, which also tells the "
                            "form of y")
        return y0

    def _example(self, given: Arguments, y0: Any) -> Any:
        """Something of the form of y: the starting point, or the solution for the numbers of this call."""
        if y0 is not None:
            return y0
        if self.solver is None:
            return self._start(y0)
        return self.solver(*self.numbers(given), None)

    def numbers(self, given: Arguments) -> tuple:
        """The arguments of this call as numbers, where they are known while tracing."""
        known = values_of(given.actual, given.actual)
        if known is None:
            raise ConcretizationError(f"{self.__name__}: the numbers of this call are not known here, so y0= has to "
                                      f"tell the form of y{here()}")
        return given.rebuilt([known[n][()] for n in given.actual])[0]


def arguments_of_numbers(args: tuple) -> Arguments:
    """Arguments outside of a trace: floating-point leaves as placeholders."""
    leaves, spec = flatten((args, {}))
    nodes = [Kind(np.shape(x), np.asarray(x).dtype).placeholder(f"x{k}") if np.asarray(x).dtype.kind == "f" else None
             for k, x in enumerate(leaves)]
    return Arguments(spec, nodes, [x if n is None else None for x, n in zip(leaves, nodes)], [None] * len(leaves))


class System:
    """F on placeholders for one kind of arguments, and the operation that y(x) is."""

    def __init__(self, implicit: ImplicitFunction, given: Arguments, layout: Layout, has_start: bool, y0: Any):
        self.implicit, self.given, self.layout, self.has_start = implicit, given, layout, has_start
        self.name = implicit.__name__
        self.fresh = [Kind.of(n).placeholder(f"{self.name} {k}") for k, n in enumerate(given.actual)]
        self.y = Kind((layout.size,), layout.dtype).placeholder("y")
        traced = self._traced(y0)
        self.guards = traced.guards
        self.value, self.residual = self._equations(traced.outputs)
        self.foreign = foreign_inputs([self.residual], [*self.fresh, self.y])
        self.is_reusable = not self.guards and not self.foreign
        self.inputs = (*self.fresh, *self.foreign)
        kinds = [Kind.of(n) for n in self.inputs] + ([Kind.of(self.y)] if has_start else [])
        self.jacobian = self._jacobian()
        self.operation = Operation(self.name, kinds, [Kind.of(self.y)], forward=self.forward, call=self.call)

    # -- the equations -----------------------------------------------------------------------------------------

    def _traced(self, y0: Any) -> Traced:
        """F on placeholders; with the numbers of this call where it branches on them."""
        args, kwargs = self.given.rebuilt(self.fresh)
        args = (*args, unflatten(self.layout.spec, self.layout.nodes(self.y)))
        try:
            return trace(self.implicit.fn, args, kwargs)
        except ConcretizationError:
            known = values_of(self.fresh, self.given.actual)
            if known is None:
                raise
            if self.implicit.solver is not None and not any_traced(y0):
                solution = self.implicit.solver(*self.implicit.numbers(self.given), over_leaves(released, y0))
                known[self.y] = self.layout.packed(solution, "the solver's answer")
        return trace(self.implicit.fn, args, kwargs, known)

    def _equations(self, outputs: Any) -> tuple[Node | None, Node]:
        """(g, dg/dy) of a minimum, (None, F) of a root; F as one vector."""
        nodes = output_nodes(outputs, self.name)
        if self.implicit.minimum:
            if len(nodes) != 1 or nodes[0].ndim:
                raise NonScalarOutput(f"{self.name}: what is minimised must be one number, it has shapes "
                                      f"{[n.shape for n in nodes]}")
            return nodes[0], gradient(nodes[0], [self.y])[0]
        if sum(n.size for n in nodes) != self.layout.size:
            raise ShapeMismatch(f"{self.name}: {sum(n.size for n in nodes)} equations (shapes "
                                f"{[n.shape for n in nodes]}) for {self.layout.size} unknowns (shapes "
                                f"{list(self.layout.shapes)})")
        return None, self.layout.packed_nodes(nodes)

    def _jacobian(self) -> Node:
        """F_y: a vector where it is diagonal, else a matrix."""
        (tangent,) = tangents([self.residual], [self.y])
        n = self.layout.size
        diagonal = all(t.rows[0] == t.cols for t in tangent.terms)
        total = zeros((n,) if diagonal else (n, n), self.layout.dtype)
        for t in tangent.terms:
            maps = t.rows if diagonal else (*t.rows, t.cols)
            total = apply("add", total, scatter(coefficient(t), maps, total.shape))
        return total

    # -- derivatives -------------------------------------------------------------------------------------------

    def forward(self, points: Sequence[Node], dots: Sequence[Node | None]) -> list[Node]:
        """dy = -F_y^-1 (F_x dx), at the solution."""
        (y,) = self.operation(points)
        moving = {x: d for x, d in zip(self.inputs, dots) if d is not None}
        (motion,) = pushforward([self.residual], moving)
        if is_zero(motion):
            return [zeros(y.shape, y.dtype)]
        placed = Template((*self.inputs, self.y), (motion, self.jacobian)).at([*points[:len(self.inputs)], y])
        motion, jacobian = cast(placed[0], y.dtype), placed[1]
        rate = apply("div", motion, jacobian) if jacobian.ndim == 1 else solve(jacobian, motion)
        return [apply("neg", rate)]

    # -- values ------------------------------------------------------------------------------------------------

    def call(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The solution for numbers, by the user's solver or by Newton's method."""
        if self.implicit.solver is not None:
            args, _ = self.given.rebuilt([a.copy()[()] for a in arrays[:len(self.fresh)]])
            y0 = self.layout.unpacked(arrays[-1]) if self.has_start else None
            return self.layout.packed(self.implicit.solver(*args, y0), "the solver's answer")
        known = dict(zip(self.inputs, arrays))

        def at(node: Node) -> Callable[[np.ndarray], np.ndarray]:
            return lambda y: evaluate_nodes([node], {**known, self.y: y})[0]

        task = newton.Task(self.name, at(self.residual), at(self.jacobian), at(self.value) if self.value else None,
                           self.implicit.tolerance, self.implicit.max_steps)
        return newton.solved(task, arrays[-1])
