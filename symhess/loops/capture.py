"""Tracing the bodies of loops: once, on inputs of their own, with all that does not change from step to step outside.

A body may use traced values of the function around it. Where it surely runs, whatever it computes from these alone is
computed before the loop and becomes one of its constants: the largest expressions that no slot enters into. A branch,
or the body of a while loop, may not run at all; what it computes stays in it, for outside it could be NaN, or have an
infinite derivative. It takes as constants what the function around it has computed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

import numpy as np
import optree

from symhess.errors import ConcretizationError, DTypeMismatch, ShapeMismatch
from symhess.graph.node import CONSTANT, INPUT, Node, input_node, topological
from symhess.graph.pytrees import NAMESPACE, flatten, leaf_paths, unflatten
from symhess.loops.looping import Values, reach
from symhess.loops.plain import called
from symhess.primitives import cast
from symhess.primitives.rebuild import substituted
from symhess.trace import Tracer, is_traced, trace
from symhess.trace.complex_tracer import is_complex, pair
from symhess.trace.session import current_session, here
from symhess.trace.tracer import is_python
from symhess.trace.tracing import name_of
from symhess.trace.ufuncs import node_of_any


class Parts(NamedTuple):
    """A complex number or array, of which the graph has the parts."""

    re: Any
    im: Any


def split(tree: Any) -> Any:
    """The pytree with the parts of complex leaves."""
    leaves, spec = flatten(tree)
    return unflatten(spec, [Parts(x.real, x.imag) if is_complex(x) else x for x in leaves])


def joined(tree: Any) -> Any:
    """The pytree with complex leaves in place of their parts."""
    whole = lambda x: pair(x.re, x.im) if isinstance(x, Parts) else x
    return optree.tree_map(whole, tree, is_leaf=lambda x: isinstance(x, Parts), namespace=NAMESPACE)


class Leaves:
    """A pytree of numbers and arrays as nodes; `weak` tells Python's own numbers, which take the dtype of others."""

    def __init__(self, tree: Any, what: str):
        tree = split(tree)
        self.what, self.paths = what, leaf_paths(tree)
        values, self.spec = flatten(tree)
        for x, path in zip(values, self.paths):
            if not (is_traced(x) or isinstance(x, bool | int | float | np.generic | np.ndarray)):
                raise DTypeMismatch(f"{what}{path} is a {type(x).__name__}, not a number or an array{here()}")
        self.weak = [is_python(x) for x in values]
        self.nodes = [node_of_any(x) for x in values]

    def placeholders(self, name: str) -> list[Node]:
        """An input for each leaf."""
        return [input_node(f"{name}{path}", n.shape, n.dtype) for n, path in zip(self.nodes, self.paths)]

    def tree(self, values: Sequence[Any]) -> Any:
        """The pytree with other leaves."""
        return unflatten(self.spec, list(values))

    def wrapped(self, nodes: Sequence[Node]) -> Any:
        """The pytree as the traced function sees it."""
        return wrapped(self.spec, nodes)

    def promoted(self, k: int, dtype: np.dtype) -> bool:
        """Gives a Python number the dtype that the body returns for it; False where it has one of its own."""
        if not self.weak[k] or "bif".index(dtype.kind) < "bif".index(self.nodes[k].dtype.kind):
            return False
        self.nodes[k], self.weak[k] = cast(self.nodes[k], dtype), False
        return True


def wrapped(spec: Any, nodes: Sequence[Node]) -> Any:
    """A pytree of nodes as the traced function sees it."""
    return joined(unflatten(spec, [Tracer(n, current_session()) for n in nodes]))


def outputs_of(fn: Callable, args: tuple) -> Any:
    """What a body returns for inputs, as nodes."""
    def body(*given: Any) -> Any:
        current_session().is_body = True
        return split(called(fn, joined(given)))

    body.__qualname__ = name_of(fn)
    try:
        return trace(body, args).outputs
    except ConcretizationError as error:
        raise ConcretizationError(f"{error}; inside loops and branches of symhess, choose by symhess.cond, "
                                  "symhess.switch or np.where, repeat by symhess.while_loop") from error


def numbers_of(tree: Any, what: str) -> tuple[list[Node], Any, list[str]]:
    """The leaves of what a body returned, all of which have to be numbers."""
    leaves, spec = flatten(tree)
    for x in leaves:
        if not isinstance(x, Node):
            raise DTypeMismatch(f"{what} is a {type(x).__name__}, not a number or an array{here()}")
    return leaves, spec, leaf_paths(tree)


def checked_state(new: Any, old: Leaves, fn: Callable) -> list[Node] | None:
    """The new state, of the kinds of the old one; None where Python numbers in that had to take another dtype."""
    nodes, spec, _ = numbers_of(new, f"the carry that {name_of(fn)} returns")
    if spec != old.spec:
        raise ShapeMismatch(f"{name_of(fn)} must return a carry of the structure of its first value, {old.spec}, it "
                            f"returned {spec}{here()}")
    out, again = [], False
    for k, (n, o, path) in enumerate(zip(nodes, old.nodes, old.paths)):
        if n.shape != o.shape:
            raise ShapeMismatch(f"carry{path} has shape {o.shape}, but {name_of(fn)} returns shape {n.shape} for it"
                                f"{here()}; a carry keeps its shape in every step")
        if n.dtype != o.dtype and not is_number(n, o.dtype):
            if not old.promoted(k, n.dtype):
                raise DTypeMismatch(f"carry{path} has dtype {o.dtype}, but {name_of(fn)} returns {n.dtype} for it"
                                    f"{here()}; convert one of them by astype")
            again = True
        out.append(cast(n, o.dtype))
    return None if again else out


def is_number(node: Node, dtype: np.dtype) -> bool:
    """True for a constant number that another dtype can hold."""
    return node.op is CONSTANT and node.ndim == 0 and bool(node.attrs.array.astype(dtype) == node.attrs.array)


def common(results: Sequence[tuple[list[Node], Any, list[str]]], names: Sequence[str]) -> list[tuple[Node, ...]]:
    """The outputs of branches, of one structure and the same shapes and dtypes."""
    _, spec, paths = results[0]
    for (_, other, _), name in zip(results[1:], names[1:]):
        if other != spec:
            raise ShapeMismatch(f"branches must return the same structure: {names[0]} returns {spec}, {name} returns "
                                f"{other}{here()}")
    columns = []
    for outputs, path in zip(zip(*(r[0] for r in results)), paths):
        for o, name in zip(outputs[1:], names[1:]):
            if o.shape != outputs[0].shape:
                raise ShapeMismatch(f"result{path} has shape {outputs[0].shape} in {names[0]} and {o.shape} in {name}"
                                    f"{here()}")
        firm = {o.dtype for o in outputs if not (o.op is CONSTANT and o.ndim == 0)} or {
            np.result_type(*(o.dtype for o in outputs))}
        dtype = next(iter(firm))
        if len(firm) > 1 or not all(o.dtype == dtype or is_number(o, dtype) for o in outputs):
            raise DTypeMismatch(f"result{path} has dtypes {', '.join(str(o.dtype) for o in outputs)} in the branches "
                                f"{', '.join(names)}{here()}; convert by astype")
        columns.append(tuple(cast(o, dtype) for o in outputs))
    return list(zip(*columns)) if columns else [() for _ in results]


def settled(state: Leaves, step: Callable[[Any], tuple[Any, Any]], fn: Callable) -> tuple[list[Node], list[Node], Any]:
    """The inputs for a carry, its new value, and what else `step(carry)` returns, once all dtypes agree."""
    weak = any(w and n.dtype == np.float64 for w, n in zip(state.weak, state.nodes))
    while True:
        z = state.placeholders("carry")
        carry, rest = step(state.tree(z))
        if weak and _is_single(flatten((carry, rest))[0], z):
            state.nodes = [cast(n, np.float32) if w and n.dtype.kind == "f" else n
                           for w, n in zip(state.weak, state.nodes)]
        else:
            new = checked_state(carry, state, fn)
            if new is not None:
                return z, new, rest
        weak = False


def _is_single(results: Sequence[Any], own: Sequence[Node]) -> bool:
    """True where Python numbers in a carry meet arrays of float32, and none of float64."""
    found = topological([r for r in results if isinstance(r, Node)])
    kinds = {n.dtype for n in found if n.dtype.kind == "f" and n not in own
             and ((n.op is INPUT and n.attrs.given is not float) or (n.op is CONSTANT and n.ndim))}
    kinds |= {n.dtype for n in own if n.dtype == np.float32}
    return kinds == {np.dtype(np.float32)}


class Inside:
    """Tells nodes that a body made, or an earlier one that may not run either, from those of the functions around."""

    def __init__(self) -> None:
        #: from when to when such bodies were traced, by the numbers of nodes
        self.spans: list[tuple[int, int]] = current_session().shared.setdefault("bodies that may not run", [])
        self.first = _now()

    def close(self) -> Inside:
        """The body has been traced."""
        self.spans.append((self.first, _now()))
        return self

    def __contains__(self, node: Node) -> bool:
        return node.op is not INPUT and any(first <= node.serial < last for first, last in self.spans)


def _now() -> int:
    """A number that later nodes exceed."""
    return input_node("now", ()).serial


def hoisted(expressions: Sequence[Node], slots: Sequence[Node],
            inside: Container[Node] = ()) -> tuple[list[Node], Values]:
    """Expressions of a body with all that does not depend on `slots` replaced by new ones, and what these stand for.

    Nodes that are `inside` stay there, only what they are made of is replaced.
    """
    below = reach(expressions, slots)
    outside: dict[Node, Node] = {}
    stack = [a for n, bits in below.items() if bits for a in n.args if not below[a]]
    stack += [e for e in expressions if not below[e]]
    while stack:
        node = stack.pop()
        if node in outside or node.op is CONSTANT:
            continue
        if node in inside or (node.op.name in ("index", "reshape") and node.args[0].size <= node.size):
            stack += node.args
            continue
        outside[node] = input_node("const", node.shape, node.dtype)
    return substituted(expressions, outside), {s: n for n, s in outside.items()}
