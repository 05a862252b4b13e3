"""`custom_derivative`: a NumPy function whose derivative the user gives, as a rule that is differentiated again.

    jvp        dy = rule(x, dx)                        a function of primals and tangents
    partials   dy = sum_i p_i(x) * dx_i                elementwise functions: the structure stays diagonal
    jacobians  dy = sum_i sum_e J_i(x)[..., e] dx_i[e]
    vjp        dx = bwd(residuals, dy)                 with (y, residuals) = fwd(x)
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from symhess.errors import NonScalarOutput, NotDifferentiable, ShapeMismatch
from symhess.graph.node import Node, constant
from symhess.graph.pytrees import flatten, unflatten
from symhess.primitives import apply, broadcast_to, cast, contract, scale, zeros
from symhess.primitives.elementwise import ARGUMENT_NAMES, evaluate_expression
from symhess.rules.arguments import Arguments, UserFunction, traced_within
from symhess.rules.operation import Kind, Operation, Template, broadcasts_to, fitted, foreign_inputs
from symhess.trace import Tracer, trace
from symhess.trace.session import current_session
from symhess.trace.tracing import name_of
from symhess.trace.ufuncs import align

#: a partial derivative: a function of the arguments, a formula, a number, or None where there is none
Partial = Callable[..., Any] | str | float | None


def custom_derivative(fn: Callable | None = None, *, jvp: Callable | None = None,
                      partials: Partial | Sequence[Partial] = None, jacobians: Any = None,
                      vjp: tuple[Callable, Callable] | None = None,
                      nondiff_argnums: int | Sequence[int] = ()) -> Any:
    """Give a NumPy function a derivative rule of your own, used at every order.

    Args:
        fn: the function: arrays, numbers and pytrees of them in, the same out. Called with plain numbers it is just
            called.
        jvp: `jvp(primals, tangents) -> (output, tangent of the output)`, as in JAX; both arguments are tuples with one
            entry per argument of `fn`. It has to be linear in the tangents.
        partials: for an elementwise function, its derivative by each argument: a function of the same arguments, a
            formula as text over the argument names and `u`, the result, with every primitive as a function
            (`"exp(-x*x)*y"`), a number, or None where nothing may be differentiated. One alone for one argument.
        jacobians: the derivative by each argument as a function that returns an array of shape out + in.
        vjp: a pair `fwd(*args) -> (output, residuals)` and `bwd(residuals, g) -> one cotangent per argument` (a tuple;
            None for zero).
        nondiff_argnums: positions of arguments by which nothing is differentiated; where a differentiated value
            reaches one, an error says so.

    Returns:
        The function with `.defjvp(rule)`, `.defpartials(*partials)`, `.defjacobians(*jacobians)` and
        `.defvjp(fwd, bwd)`, which give (or replace) the rule later; the first also serves as a decorator.

    Rules are plain NumPy code, traced when a derivative is first needed, without values: they branch by np.where, not
    by `if`. Second derivatives differentiate the rule; a Hessian is symmetric only if the rule is a true derivative.

    Raises:
        NotDifferentiable: no rule was given, a rule is not linear, or a refused argument is differentiated.
        ShapeMismatch: a rule returns something of another shape than its argument or output.

    Example:
        >>> import numpy as np, symhess
        >>> @symhess.custom_derivative(partials="tanh(x)")
        ... def logcosh(x):
        ...     return np.abs(x) + np.log1p(np.exp(-2 * np.abs(x))) - np.log(2)
        >>> symhess.hessian(lambda x: np.sum(logcosh(x)))(np.array([0.0, 1000.0]))
        array([[1., 0.],
               [0., 0.]])
    """
    if fn is None:
        return functools.partial(custom_derivative, jvp=jvp, partials=partials, jacobians=jacobians, vjp=vjp,
                                 nondiff_argnums=nondiff_argnums)
    if not callable(fn):
        raise TypeError(f"custom_derivative needs a function, got {type(fn).__name__}")
    refused = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
    made = CustomDerivative(fn, refused)
    given = [r for r in (jvp, partials, jacobians, vjp) if r is not None]
    if len(given) > 1:
        raise TypeError(f"{made.__name__}: give one of jvp, partials, jacobians and vjp, not {len(given)}")
    if jvp is not None:
        made.defjvp(jvp)
    elif partials is not None:
        made.defpartials(*_as_tuple(partials))
    elif jacobians is not None:
        made.defjacobians(*_as_tuple(jacobians))
    elif vjp is not None:
        made.defvjp(*vjp)
    return made


def _as_tuple(value: Any) -> tuple:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


class CustomDerivative(UserFunction):
    """A function with a derivative rule of its own; see `custom_derivative`."""

    def __init__(self, fn: Callable, nondiff_argnums: tuple[int, ...] = ()):
        functools.update_wrapper(self, fn)
        self.__name__ = getattr(fn, "__name__", None) or name_of(fn)
        self.fn, self.nondiff_argnums = fn, nondiff_argnums
        self.rule: Rule | None = None

    def __repr__(self) -> str:
        return f"<custom_derivative {self.__name__}>"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def recipe(self) -> tuple:
        """How to make it again."""
        return (_rebuilt, (self.fn, self.nondiff_argnums, self.rule))

    def defjvp(self, jvp: Callable) -> Callable:
        """Set the rule `jvp(primals, tangents) -> (output, tangent)`; returns it, so this decorates too."""
        self.rule = JvpRule(jvp)
        return jvp

    def defpartials(self, *partials: Partial) -> None:
        """Set the partial derivative by each argument of an elementwise function."""
        self.rule = PartialsRule(partials, elementwise=True)

    def defjacobians(self, *jacobians: Partial) -> None:
        """Set the Jacobian by each argument, an array of shape out + in."""
        self.rule = PartialsRule(jacobians, elementwise=False)

    def defvjp(self, fwd: Callable, bwd: Callable) -> None:
        """Set the rule of reverse mode: `fwd(*args) -> (output, residuals)`, `bwd(residuals, g) -> cotangents`."""
        self.rule = VjpRule(fwd, bwd)

    def traced(self, given: Arguments) -> Any:
        """The outputs, by an operation that carries the rule."""
        session = current_session()
        key = (self, self.rule, given.key)
        bound = session.shared.get(key)
        if bound is None:
            bound = Bound(self, given)
            if bound.is_reusable:
                session.shared[key] = bound
        return bound(given.actual)


class Bound:
    """A custom function at one kind of arguments: its value traced on placeholders, its rule to be."""

    def __init__(self, custom: CustomDerivative, given: Arguments):
        self.custom, self.given = custom, given
        self.shared = current_session().shared
        self.name = custom.__name__
        fresh = [Kind.of(n).placeholder(f"{self.name} {k}") for k, n in enumerate(given.actual)]
        traced = traced_within(custom.fn, fresh, given.actual, lambda: given.rebuilt(fresh))
        self.returned, self.spec = flatten(traced.outputs)
        outputs = [x for x in self.returned if isinstance(x, Node)]
        self.foreign = foreign_inputs(outputs, fresh)
        #: what depends on values, or on traced values from outside, belongs to one call
        self.is_reusable = not traced.guards and not self.foreign
        inputs = (*fresh, *self.foreign)
        self.count = len(fresh)
        self.operation = Operation(
            self.name, [Kind.of(n) for n in inputs], [Kind.of(n) for n in outputs], value=Template(inputs, outputs),
            forward=None if isinstance(custom.rule, VjpRule) else self.forward,
            backward=self.backward if isinstance(custom.rule, VjpRule) else None, refused=self.refused())

    def __call__(self, actual: Sequence[Node]) -> Any:
        session = current_session()
        return self.like_outputs([Tracer(n, session) for n in self.operation([*actual, *self.foreign])])

    def refused(self) -> dict[int, str]:
        """Arguments by which the rule says nothing."""
        rule, out = self.custom.rule, {}
        for k, owner in enumerate(self.given.owners):
            if owner is None or owner in self.custom.nondiff_argnums or (
                    isinstance(rule, PartialsRule) and rule.is_refused(owner)):
                place = "keyword argument" if owner is None else f"argument {owner}"
                out[k] = (f"{self.name} has no derivative by its {place}, which depends on a differentiated value; "
                          "give a rule for it, or pass symhess.stop_gradient of it")
        for k in range(len(self.foreign)):
            out[self.count + k] = (f"{self.name} uses a traced value of the function around it, by which its rule "
                                   "gives no derivative; pass it as an argument")
        return out

    def forward(self, points: Sequence[Node], dots: Sequence[Node | None]) -> Sequence[Node]:
        """The user's rule for tangents, on placeholders."""
        if self.custom.rule is None:
            raise NotDifferentiable(f"{self.name} has no derivative rule yet: give one by {self.name}.defjvp, "
                                    ".defpartials, .defjacobians or .defvjp")
        return self.custom.rule.forward(self, points, dots[:self.count])

    def backward(self, points: Sequence[Node], bars: Sequence[Node]) -> Sequence[Node | None]:
        """The user's rule for cotangents, on placeholders."""
        return [*self.custom.rule.backward(self, points, bars), *(None for _ in self.foreign)]

    def trace(self, rule: Callable, args: tuple, kwargs: dict) -> Any:
        """What a rule returns for nodes; a call of the function itself in it is the same operation as this one."""
        return trace(rule, args, kwargs, shared=self.shared).outputs

    def arguments_at(self, points: Sequence[Node]) -> tuple[tuple, dict]:
        """The user's arguments with placeholders."""
        return self.given.rebuilt(points[:self.count])

    def like_outputs(self, values: Sequence[Any]) -> Any:
        """The nesting of what the function returns, with `values` for its numbers."""
        rest = iter(values)
        return unflatten(self.spec, [next(rest) if isinstance(x, Node) else x for x in self.returned])


# -- rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JvpRule:
    """jvp(primals, tangents) -> (output, tangent of the output)."""

    jvp: Callable

    def forward(self, bound: Bound, points: Sequence[Node], dots: Sequence[Node | None]) -> list[Node]:
        """The tangent of every output."""
        args, kwargs = bound.arguments_at(points)
        result = bound.trace(self.jvp, (args, bound.given.tangents(dots)), kwargs)
        if not isinstance(result, tuple) or len(result) != 2:
            got = f"{len(result)} values" if isinstance(result, tuple) else "one value"
            raise ShapeMismatch(f"the jvp rule of {bound.name} must return (output, tangent), it returned {got}")
        leaves, spec = flatten(result[1])
        if spec != bound.spec:
            raise ShapeMismatch(f"the jvp rule of {bound.name} returned a tangent of structure {spec}, the function "
                                f"returns {bound.spec}")
        return [t if isinstance(t, Node) and x.dtype.kind == "f" else zeros(x.shape, x.dtype)
                for t, x in zip(leaves, bound.returned) if isinstance(x, Node)]


@dataclass(frozen=True)
class PartialsRule:
    """One partial derivative, or one Jacobian, per argument."""

    partials: tuple[Partial, ...]
    elementwise: bool

    def is_refused(self, argument: int) -> bool:
        """True where nothing is said about an argument."""
        return argument >= len(self.partials) or self.partials[argument] is None

    def forward(self, bound: Bound, points: Sequence[Node], dots: Sequence[Node | None]) -> list[Node]:
        """dy = sum_i d_i dx_i."""
        (kind,) = bound.operation.outputs if len(bound.operation.outputs) == 1 else (None,)
        if kind is None:
            raise NonScalarOutput(f"{bound.name} returns {len(bound.operation.outputs)} arrays: give its derivative as "
                                  "a jvp rule")
        total = zeros(kind.shape, kind.dtype)
        for k, partial in enumerate(self.partials):
            own = [i for i, owner in enumerate(bound.given.owners) if owner == k]
            if all(dots[i] is None for i in own):
                continue
            for i, d in zip(own, self.derivatives(bound, points, k, partial, len(own))):
                if dots[i] is not None:
                    part = _along(d, dots[i], kind, bound.name) if self.elementwise else _contracted(
                        d, dots[i], kind, bound.name)
                    total = apply("add", total, part)
        return [total]

    def derivatives(self, bound: Bound, points: Sequence[Node], k: int, partial: Partial, count: int) -> list[Node]:
        """The derivative by every leaf of argument k."""
        if isinstance(partial, str):
            return [_formula(partial, bound, points)] * count
        if not callable(partial):
            return [constant(partial, bound.operation.outputs[0].dtype)] * count
        args, kwargs = bound.arguments_at(points)
        found = flatten(bound.trace(partial, args, kwargs))[0]
        if len(found) != count or not all(isinstance(d, Node) for d in found):
            raise ShapeMismatch(f"the derivative of {bound.name} by argument {k} has {len(found)} leaves, the argument "
                                f"{count}")
        return found


def _formula(text: str, bound: Bound, points: Sequence[Node]) -> Node:
    """A partial derivative as a formula over the argument names, and x, y, z where these are free."""
    (args, _), dtype = bound.arguments_at(points), bound.operation.outputs[0].dtype
    try:
        names = [p.name for p in inspect.signature(bound.custom.fn).parameters.values()]
    except (TypeError, ValueError):
        names = []
    numbers = [(k, a) for k, a in enumerate(args) if isinstance(a, Node | float | int)]
    known = {name: a for k, a in numbers for name in ARGUMENT_NAMES[k:k + 1]} | {
        name: a for k, a in numbers for name in names[k:k + 1]}
    nodes = [cast(a, dtype) if isinstance(a, Node) else constant(a, dtype) for a in known.values()]
    value, *nodes = align([bound.operation(points)[0], *nodes])
    try:
        return evaluate_expression(text, {**dict(zip(known, nodes)), "u": value}, dtype)
    except (NameError, KeyError, SyntaxError) as error:
        raise NotDifferentiable(f"the partial {text!r} of {bound.name} cannot be read ({error}); it may name the "
                                f"arguments {', '.join(known)}, u for the result, and functions such as exp") from error


def _along(d: Node, dot: Node, kind: Kind, name: str) -> Node:
    """d * dx, element by element."""
    for shape, what in ((dot.shape, "argument"), (d.shape, "partial derivative")):
        if not broadcasts_to(shape, kind.shape):
            raise ShapeMismatch(f"{name} returns shape {kind.shape}, which its {what} of shape {shape} does not "
                                "broadcast to: partials are for elementwise functions; give jacobians, or a jvp rule")
    t, d = align([cast(dot, kind.dtype), cast(d, kind.dtype)])
    return broadcast_to(scale(t, d), kind.shape)


def _contracted(d: Node, dot: Node, kind: Kind, name: str) -> Node:
    """sum_e J[..., e] dx[e]."""
    if d.shape != kind.shape + dot.shape:
        raise ShapeMismatch(f"a Jacobian of {name} has shape {d.shape}, it should have that of the output and then of "
                            f"the argument, {kind.shape + dot.shape}")
    labels = tuple(range(d.ndim))
    out = labels[:len(kind.shape)]
    operands = [(cast(d, kind.dtype), labels), (cast(dot, kind.dtype), labels[len(out):])]
    return contract(operands, out, dict(zip(labels, d.shape)))


@dataclass(frozen=True)
class VjpRule:
    """fwd(*args) -> (output, residuals), bwd(residuals, g) -> one cotangent per argument."""

    fwd: Callable
    bwd: Callable

    def backward(self, bound: Bound, points: Sequence[Node], bars: Sequence[Node]) -> list[Node | None]:
        """The cotangent of every node among the arguments."""
        args, kwargs = bound.arguments_at(points)
        result = bound.trace(self.fwd, args, kwargs)
        if not isinstance(result, tuple) or len(result) != 2:
            raise ShapeMismatch(f"the forward rule of {bound.name} must return (output, residuals)")
        pulled = bound.trace(self.bwd, (result[1], bound.like_outputs(bars)), {})
        pulled = pulled if isinstance(pulled, tuple) or len(args) != 1 else (pulled,)
        if not isinstance(pulled, tuple) or len(pulled) != len(args):
            raise ShapeMismatch(f"the backward rule of {bound.name} must return a tuple of {len(args)} cotangents, one "
                                "per argument")
        found: list[Node | None] = [None] * bound.count
        for k, part in enumerate(pulled):
            own = [i for i, owner in enumerate(bound.given.owners) if owner == k]
            leaves = [x for x in flatten(part)[0] if isinstance(x, Node)]
            if leaves and len(leaves) != len(own):
                raise ShapeMismatch(f"the backward rule of {bound.name} returned {len(leaves)} arrays for argument "
                                    f"{k}, which has {len(own)}")
            for i, v in zip(own, leaves):
                found[i] = fitted(v, bound.operation.inputs[i], bound.name)
        return found


Rule = JvpRule | PartialsRule | VjpRule


def _rebuilt(fn: Callable, nondiff_argnums: tuple[int, ...], rule: Rule | None) -> CustomDerivative:
    made = CustomDerivative(fn, nondiff_argnums)
    made.rule = rule
    return made
