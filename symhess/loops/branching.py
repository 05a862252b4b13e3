"""Derivatives and batches of switches: the switch of the derivatives, and for a batch of numbers a select of results.

    jvp   switch(k, d branch_1, d branch_2, ...)        vjp   switch(k, (d branch_1)^T g, (d branch_2)^T g, ...)

A select takes values, not products with a mask: a branch that is not taken leaves nothing behind, NaN included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symhess.differentiate import batch, pullback, pushforward
from symhess.graph.node import CONSTANT, Node, Primitive, constant, input_node, register
from symhess.loops.looping import switched
from symhess.loops.rules import cotangents, fresh, moves
from symhess.primitives import apply, broadcast_to, is_zero, reshape, zeros
from symhess.primitives.control import Switch, flat, infer_switch, packed, run_switch
from symhess.primitives.rebuild import substituted


def _derived(node: Node, extra: dict[Node, Node], change: Callable[[Sequence[Node]], Sequence[Node]]) -> list[Node]:
    """The switch of what `change` makes of each branch, with more arguments; zeros where all branches give zero."""
    switch, values = node.attrs, {**dict(zip(node.attrs.slots, node.args[1:])), **extra}
    branches = [list(change(b)) for b in switch.branches]
    zero = [all(map(is_zero, outputs)) for outputs in zip(*branches)]
    kept = Switch((*switch.slots, *extra), tuple(tuple(o for o, z in zip(b, zero) if not z) for b in branches))
    found = iter(switched(kept, node.args[0], values) if not all(zero) else ())
    return [zeros(o.shape, o.dtype) if z else next(found) for o, z in zip(branches[0], zero)]


def push(node: Node, tangents: Sequence[Node | None]) -> Node:
    """The tangents of the outputs."""
    moving = {s: t for s, t in zip(node.attrs.slots, tangents[1:]) if moves(t)}
    dots = {s: fresh("tangent", s) for s in moving}
    return packed(_derived(node, {dots[s]: t for s, t in moving.items()}, lambda b: pushforward(b, dots)))


def pull(node: Node, g: Node, active: Sequence[bool]) -> list[Node | None]:
    """The cotangents of the arguments that are `active`."""
    switch = node.attrs
    wanted = [s for s, a, on in zip(switch.slots, node.args[1:], active[1:])
              if on and a.dtype.kind == "f" and a.op is not CONSTANT]
    bars = {fresh("cotangent", o): b for o, b in zip(switch.branches[0], cotangents(g, switch.shapes))}
    found = dict(zip(wanted, _derived(node, bars, lambda b: pullback(b, list(bars), wanted))))
    return [None, *(None if s not in found or is_zero(found[s]) else found[s] for s in switch.slots)]


def spread(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    """The switch for every row of the arguments that have a leading axis."""
    switch = node.attrs
    size = next(a.shape[0] for a, more in zip(args, added) if more)
    names = {s: input_node("row", (size, *s.shape), s.dtype) for s, more in zip(switch.slots, added[1:]) if more}
    slots = tuple(names.get(s, s) for s in switch.slots)
    branches = [batch(b, names, size) for b in switch.branches]
    values = dict(zip(slots, args[1:]))
    if not added[0]:
        return packed(switched(Switch(slots, tuple(map(tuple, branches))), args[0], values), (size,))
    results = [substituted(b, values) for b in branches]
    return packed([_chosen(args[0], outputs) for outputs in zip(*results)], (size,))


def _chosen(number: Node, results: Sequence[Node]) -> Node:
    """Row by row the result of the branch that is named."""
    out = results[-1]
    number = reshape(number, (*number.shape, *(1,) * (out.ndim - 1)))
    for k in reversed(range(len(results) - 1)):
        out = apply("where", apply("less_equal", number, constant(k)), results[k], out)
    return broadcast_to(out, results[0].shape)


SWITCH = register(Primitive(
    "switch", infer_switch, lambda arrays, node: flat(run_switch(arrays, node.attrs)), family="control",
    vjp=lambda node, g: pull(node, g, [True] * len(node.args)), jvp=push, batch=spread,
    extra={"kernel": "switch", "pullback": pull},
))
