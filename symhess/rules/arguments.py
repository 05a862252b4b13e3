"""Arguments of a function with rules of its own: which leaves are nodes, and which are handed over as they are.

A leaf is a *node* if it is traced, a floating-point array or a Python float; everything else (integers, index arrays,
strings, objects) is *static*: the function is specialised to its value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symhess.errors import ConcretizationError, DTypeMismatch, NonScalarOutput
from symhess.graph.node import Node
from symhess.graph.pytrees import flatten, static_key, unflatten
from symhess.primitives import zeros
from symhess.rules.operation import Kind
from symhess.trace import Tracer, is_traced, trace
from symhess.trace.captured import released
from symhess.trace.nested import pass_on_guards, values_of
from symhess.trace.session import current_session, mark
from symhess.trace.tracer import is_python
from symhess.trace.tracing import Traced, looked_up
from symhess.trace.ufuncs import node_of_any, rebuffer


def any_traced(*trees: Any) -> bool:
    """True if a value in the arguments is known only when the compiled function runs."""
    return any(is_traced(x) and x.concrete is None for x in flatten(trees)[0])


def plainly(fn: Callable, args: tuple, kwargs: dict) -> Any:
    """The function of plain numbers; arrays that it returns may be written into where this is part of a trace."""
    args, kwargs = over_leaves(released, (args, kwargs))
    result = fn(*args, **kwargs)
    return result if current_session() is None else over_leaves(rebuffer, result)


def over_leaves(change: Callable[[Any], Any], tree: Any) -> Any:
    """The pytree with every leaf changed."""
    leaves, spec = flatten(tree)
    return unflatten(spec, [change(x) for x in leaves])


def by_position(fn: Callable, args: tuple, kwargs: dict, defaults: bool) -> tuple[tuple, dict]:
    """Arguments given by name put where the function takes them by position, with its defaults if these count too."""
    try:
        bound = inspect.signature(fn).bind(*args, **kwargs)
    except (TypeError, ValueError):  # no signature, or not this one: the call itself says so
        return args, kwargs
    if defaults:
        bound.apply_defaults()
    return bound.args, bound.kwargs


@dataclass
class Arguments:
    """A call's arguments: the leaves that are nodes (None elsewhere), and the others."""

    spec: Any
    nodes: list[Node | None]
    statics: list[Any]
    #: number of the positional argument of each leaf, None for keyword-only ones
    owner: list[int | None]

    @property
    def actual(self) -> list[Node]:
        """The nodes, in order."""
        return [n for n in self.nodes if n is not None]

    @property
    def key(self) -> tuple:
        """Calls with equal keys can share what is made for one of them."""
        return (self.spec, *(static_key(s) if n is None else Kind.of(n) for n, s in zip(self.nodes, self.statics)))

    @property
    def owners(self) -> list[int | None]:
        """The positional argument that each node belongs to."""
        return [k for k, n in zip(self.owner, self.nodes) if n is not None]

    def rebuilt(self, values: Sequence[Any]) -> tuple[tuple, dict]:
        """(args, kwargs) with `values` in place of the nodes."""
        rest = iter(values)
        return unflatten(self.spec, [s if n is None else next(rest) for n, s in zip(self.nodes, self.statics)])

    def tangents(self, dots: Sequence[Node | None]) -> tuple:
        """A tangent for every positional argument: zeros where nothing moves, None for what is no number."""
        rest = iter(dots)
        leaves = []
        for n, s in zip(self.nodes, self.statics):
            dot = None if n is None else next(rest)
            leaves.append(_no_motion(n, s) if dot is None else dot)
        return unflatten(self.spec, leaves)[0]


def _no_motion(node: Node | None, static: Any) -> Any:
    if node is not None:
        return zeros(node.shape, node.dtype if node.dtype.kind == "f" else np.dtype(np.float64))
    if isinstance(static, np.ndarray):
        return np.zeros(static.shape)
    return 0.0 if isinstance(static, int | np.integer) else None


def arguments(args: tuple, kwargs: dict) -> Arguments:
    """Sort the leaves of a call's arguments."""
    leaves, spec = flatten((args, kwargs))
    owner: list[int | None] = []
    for k, a in enumerate(args):
        owner += [k] * len(flatten(a)[0])
    owner += [None] * (len(leaves) - len(owner))
    leaves = [released(x) for x in leaves]
    weak = _weak_dtype(leaves)
    nodes = [_node(x, weak) for x in leaves]
    return Arguments(spec, nodes, [x if n is None else None for x, n in zip(leaves, nodes)], owner)


def _weak_dtype(leaves: Sequence[Any]) -> np.dtype:
    """The dtype that Python floats take beside the arrays: float32 only if all of them are."""
    found = {x.dtype for x in leaves if hasattr(x, "dtype") and np.dtype(x.dtype).kind == "f" and not is_python(x)}
    return np.dtype(np.float32) if found == {np.dtype(np.float32)} else np.dtype(np.float64)


def _node(x: Any, weak: np.dtype) -> Node | None:
    if isinstance(x, Tracer):
        return node_of_any(x, weak if is_python(x) and x.dtype.kind == "f" else None)
    if type(x) is float:
        return node_of_any(x, weak)
    if isinstance(x, np.ndarray | np.generic):
        if x.dtype.kind == "c":
            raise DTypeMismatch("complex numbers cannot be traced; treat real and imaginary part apart")
        if x.dtype.kind == "f":
            return node_of_any(x)
    return None


class UserFunction:
    """A user's function `fn` with derivatives of its own: called with plain numbers it is just called."""

    fn: Callable
    #: whether default values of arguments are arguments to the rule too
    defaults = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not any_traced(args, kwargs):
            return plainly(self.fn, args, kwargs)
        mark()
        return self.traced(arguments(*by_position(self.fn, args, kwargs, self.defaults)))

    def __reduce__(self) -> Any:
        """By name where it stands in a module, else by what it was made from."""
        name = getattr(self.fn, "__qualname__", None)
        return name if looked_up(getattr(self.fn, "__module__", None), name) is self else self.recipe()

    def traced(self, given: Arguments) -> Any:
        """The result for arguments among which there are traced ones."""
        raise NotImplementedError

    def recipe(self) -> tuple:
        """How to make it again."""
        raise NotImplementedError


# -- tracing within a trace ------------------------------------------------------------------------------------------


def traced_within(fn: Callable, fresh: Sequence[Node], actual: Sequence[Node], build: Callable[[], tuple]) -> Traced:
    """Trace `fn(*args, **kwargs)`, (args, kwargs) = build(), on fresh inputs that stand for expressions of this trace.

    Values are looked up only where the function branches on them.
    """
    args, kwargs = build()
    try:
        return trace(fn, args, kwargs)
    except ConcretizationError:
        known = values_of(fresh, actual)
        if known is None:
            raise
    traced = trace(fn, args, kwargs, known)
    pass_on_guards(traced.guards, dict(zip(fresh, actual)))
    return traced


def output_nodes(outputs: Any, name: str) -> list[Node]:
    """The leaves of what a function returned, all of which have to be numbers."""
    nodes = flatten(outputs)[0]
    for x in nodes:
        if not isinstance(x, Node):
            raise NonScalarOutput(f"{name} returned a {type(x).__name__} where a number or an array is needed")
    return nodes

