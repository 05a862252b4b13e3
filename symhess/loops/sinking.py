"""What was computed for all steps of a loop before it is computed in its steps again: the opposite of hoisting.

Before a loop, arrays over all steps go through memory once more. That pays where a step's values run in vectors, or in
many threads. Where every thread runs a loop of its own it is in the way: what the steps read is then computed from
fewer arrays, those that no elementwise operation made.

    x[t] = sin(a[t]) * b[t] + c      becomes a part of step t, which reads a[t] and b[t]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from symhess.graph.node import CONSTANT, Node, input_node, make, topological
from symhess.loops.looping import canonical, trimmed
from symhess.primitives import reshape
from symhess.primitives.control import Loop
from symhess.primitives.rebuild import rebuild, rewritten, substituted


def sunk(outputs: Sequence[Node]) -> list[Node]:
    """The same expressions, loops that read less."""
    return rewritten(outputs, lambda node: _sunk(node) if node.op.name == "loop" else node)


def _sunk(node: Node) -> Node:
    loop: Loop = node.attrs
    values = dict(zip(loop.slots, node.args))
    arrays = [values[x] for x in loop.xs]
    if not any(map(is_sinkable, arrays)):
        return node
    rows: dict[Node, Node] = {}
    xs: dict[Node, Node] = {}
    consts: dict[Node, Node] = {}

    def row(a: Node) -> Node:
        """An argument in one step."""
        if a in rows:
            return rows[a]
        if a.op is CONSTANT and not a.ndim:
            return a
        value = reshape(a, a.shape[1:])
        return consts.setdefault(value, input_node("same", value.shape, value.dtype))

    for v in topological(arrays, lambda v: [a for a in v.args if has_steps(a, v)] if is_sinkable(v) else ()):
        if is_sinkable(v):
            rows[v] = rebuild(v, [row(a) for a in v.args])
        else:
            rows[v] = xs.setdefault(v, input_node("row", v.shape[1:], v.dtype))
    if sum(v.size for v in xs if v.op is not CONSTANT) > sum(v.size for v in set(arrays) if v.op is not CONSTANT):
        return node
    found = {x: rows[values[x]] for x in loop.xs}
    values |= {s: v for v, s in (*xs.items(), *consts.items())}
    made = replace(loop.mapped(lambda expressions: substituted(expressions, found)), xs=tuple(xs.values()),
                   consts=(*loop.consts, *consts.values()))
    shorter, args = canonical(trimmed(made), values)
    return make(node.op, args, shorter)


def is_sinkable(v: Node) -> bool:
    """True for what is computed for every step alike."""
    return v.op.family == "elementwise" and v.ndim > 0 and v.shape[0] > 1


def has_steps(a: Node, v: Node) -> bool:
    """True if an argument of v has an entry for each step."""
    return a.ndim == v.ndim and a.shape[0] == v.shape[0]
