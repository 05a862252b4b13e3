"""A function at a point, as expressions: derivatives are built once and evaluated there, or inlined where it is traced.

A call with numbers looks at the function anew, by tracing it over the same inputs as before. Expressions are interned,
so if it computes the same, it gives the same objects, and what was derived and compiled of them is used again.
"""

from __future__ import annotations

import functools
import math
import threading
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from symhess.api import inline, kernels, results
from symhess.api.arguments import Bound, Options, bind
from symhess.api.budget import check_fits
from symhess.api.pipeline import Path
from symhess.differentiate import pullback, pushforward
from symhess.errors import NonScalarOutput
from symhess.functional.arguments import Arrays, Given
from symhess.graph.node import Node, constant, input_node, topological
from symhess.plan.program import Program, whole
from symhess.trace import is_traced, tensor_methods
from symhess.trace.session import current_session
from symhess.trace.tracing import name_of
from symhess.trace.ufuncs import node_of_any

#: expressions kept for a function: as many kinds of inputs, and branches taken
KEPT = 16


class Form(NamedTuple):
    """What a function returned: the shapes of its arrays, and whether they were in a tuple."""

    shapes: list[tuple[int, ...]]
    in_tuple: bool


class Returned:
    """A function whose result is looked at: an array or a tuple of arrays. With `one`, a single element has rank 0."""

    def __init__(self, func: Callable, one: bool):
        functools.update_wrapper(self, func, updated=())
        self.func, self.one = func, one
        self.form = Form([], False)

    def __call__(self, *inputs: Any) -> Any:
        session = current_session()
        session.methods, session.keywords = tensor_methods.METHODS, tensor_methods.KEYWORDS
        out = session.rewriter.replace(self.func)(*inputs)
        in_tuple = isinstance(out, tuple)
        parts = out if in_tuple else (out,)
        for part in parts:
            if not is_traced(part) and not isinstance(part, np.ndarray | np.generic | float | int):
                raise NonScalarOutput(f"{name_of(self.func)} must return an array or a tuple of arrays, it returned "
                                      f"{'a tuple with ' if in_tuple else ''}a {type(part).__name__}")
        self.form = Form([np.shape(part) for part in parts], in_tuple)
        if self.one and not in_tuple and math.prod(np.shape(out)) == 1:
            return np.reshape(out, ())
        return out


class Point:
    """Inputs and outputs as expressions; `shapes` are those of the outputs as the function returned them."""

    def __init__(self, inputs: list[Node], outputs: list[Node], form: Form):
        self.inputs, self.outputs = inputs, outputs
        self.shapes, self.in_tuple = form

    def evaluate(self, key: Hashable, build: Callable[[list[Node]], list[Node]],
                 extras: Sequence[Any] = ()) -> list[Any]:
        """What `build` makes of expressions for `extras`, evaluated; equal keys stand for equal expressions."""
        raise NotImplementedError

    def hessian(self) -> list[list[Any]]:
        """Blocks [i][j] of shape in_i + in_j of the one output, by structured Terms."""
        raise NotImplementedError

    def gradient(self) -> list[Node]:
        """Of the one output."""
        return self.pulled(self.outputs, [constant(1, self.outputs[0].dtype)])

    def pulled(self, outputs: Sequence[Node], bars: Sequence[Node]) -> list[Node]:
        """One cotangent per input."""
        return pullback(list(outputs), list(bars), self.inputs)

    def pushed(self, outputs: Sequence[Node], dots: Sequence[Node | None]) -> list[Node]:
        """One tangent per output; None stands for zeros."""
        return pushforward(list(outputs), {x: d for x, d in zip(self.inputs, dots) if d is not None})

    def second_product(self, dots: Sequence[Node], forward: bool) -> list[Node]:
        """H v by forward over reverse, or v H by reverse over reverse."""
        grads = self.gradient()
        return self.pushed(grads, dots) if forward else self.pulled(grads, dots)

    def in_shape(self, value: Any) -> Any:
        """The one output in the shape that the function gave it."""
        return value if value.shape == self.shapes[0] else value.reshape(self.shapes[0])

    def like_outputs(self, parts: Sequence[Any]) -> Any:
        """One part per output, as a tuple where the function returned one."""
        return tuple(parts) if self.in_tuple else parts[0]

    def as_given(self, kind: Arrays) -> Given:
        """The outputs as what a vector is to be like."""
        return Given(tuple(self.outputs), self.in_tuple, "outputs", kind)


class TracedPoint(Point):
    """Where inputs are traced: derivatives become part of that trace."""

    def __init__(self, returned: Returned, asked: Given):
        self.at = inline.local(returned, (*asked.arrays, *asked.data), {}, tuple(range(len(asked.arrays))))
        super().__init__(self.at.fresh, self.at.outputs, returned.form)

    def evaluate(self, key: Hashable, build: Callable[[list[Node]], list[Node]],
                 extras: Sequence[Any] = ()) -> list[Any]:
        return self.at.finish(build([node_of_any(e) for e in extras]))

    def hessian(self) -> list[list[Any]]:
        return [self.at.finish(inline.jacobian_nodes(g, self.inputs)) for g in self.gradient()]


class NumericPoint(Point):
    """Where inputs are numbers: derivatives are compiled, and kept with the expressions."""

    def __init__(self, path: Path, arrays: Sequence[np.ndarray], form: Form):
        self.path, self.arrays = path, arrays
        super().__init__(path.active, path.outputs, form)

    def evaluate(self, key: Hashable, build: Callable[[list[Node]], list[Node]],
                 extras: Sequence[Any] = ()) -> list[Any]:
        """As in `Point`; one kernel per key."""
        def runner(options: Options) -> Any:
            moved = [input_node(f"v{k}", e.shape, e.dtype) for k, e in enumerate(extras)]
            nodes = build(moved)
            check_fits("the result", sum(n.size * n.dtype.itemsize for n in nodes), options.memory_budget,
                       "ask for products (hvp, jvp, vjp), or raise memory_budget=")
            return kernels.runner(Program((*self.path.inputs, *moved), tuple(map(whole, nodes))), options)

        run = self.path.kept(("functional", key), runner)
        return [a[()] for a in run([*self.arrays, *extras], None)]

    def hessian(self) -> list[list[Any]]:
        (found,) = results.compute(self.path.runner("hessian"), self.arrays, self.path.results(("hessian",)), None)
        return [list(row) for row in found]


def point(func: Callable, asked: Given, one: bool) -> Point:
    """The function at these inputs."""
    returned = Returned(func, one)
    if asked.traced:
        return TracedPoint(returned, asked)
    options = Options(argnums=tuple(range(len(asked.arrays))), **asked.options)
    bound = bind((*asked.arrays, *asked.data), {}, options, name_of(func))
    paths = _paths_of(func).setdefault((one, bound.signature.key), [])
    with _lock:
        found = next((kept for kept in paths if _is_current(*kept, returned, bound, asked.settled)), None)
        if found is None:
            found = Path(returned, bound, options), returned.form
            paths[:] = [found, *paths][:KEPT]
        found[0].runs += 1
    return NumericPoint(found[0], bound.arrays, found[1])


def _is_current(path: Path, form: Form, returned: Returned, bound: Bound, settled: bool) -> bool:
    """True for the path that the function takes; one that may have changed since is traced to know."""
    return path.holds(bound) if settled else path.computes(returned, bound) and form == returned.form


_kept: weakref.WeakKeyDictionary[Callable, dict] = weakref.WeakKeyDictionary()
_lock = threading.RLock()


def _paths_of(func: Callable) -> dict[Hashable, list[tuple[Path, Form]]]:
    """What is kept for a function, as long as it lives; nothing for what cannot be looked up."""
    try:
        return _kept.setdefault(func, {})
    except TypeError:
        return {}


def independent(at: Point) -> list[int]:
    """The inputs that no output depends on in a differentiable way."""
    unused = []
    for k, x in enumerate(at.inputs):
        reached = {x}
        for n in topological(at.outputs):
            if n.dtype.kind == "f" and n.op.name != "stop_gradient" and not reached.isdisjoint(n.args):
                reached.add(n)
        if reached.isdisjoint(at.outputs):
            unused.append(k)
    return unused
