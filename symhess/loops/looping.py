"""Making loop and switch nodes: trimmed to what is asked for, states that never change made constants, slots renamed.

An expression of a body needs some slots; a state that is needed needs its new value, and so on to a fixed point. What
is not reached leaves the loop, together with its arguments: the loop of a derivative computes that derivative alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from symhess.differentiate import batch
from symhess.graph.node import Node, bodies, constant, input_node, make, primitive_named, topological
from symhess.primitives import zeros
from symhess.primitives.control import STEP, Loop, Output, Phase, Switch, slot, unpacked
from symhess.primitives.rebuild import substituted

#: the argument that each slot stands for
Values = dict[Node, Node]


def reach(expressions: Iterable[Node], slots: Sequence[Node]) -> dict[Node, int]:
    """Which slots (as bits) every node below some expressions depends on."""
    found = {s: 1 << k for k, s in enumerate(slots)}
    for node in topological(expressions):
        if node not in found:
            bits = 0
            for a in node.args:
                bits |= found[a]
            found[node] = bits
    return found


def looped(loop: Loop, values: Values) -> list[Node]:
    """The outputs of a loop: one node for those of each dtype."""
    if loop.length == 0:
        return [zeros(loop.shape_of(o), loop.expression(o).dtype) if o.is_rows
                else values[loop.phases[o.phase].carry[o.k]] for o in loop.outputs]
    fixed = [z for p in loop.phases for z, new in zip(p.carry, p.new) if z is new]
    given = {k: values[loop.expression(o)] for k, o in enumerate(loop.outputs)
             if not o.is_rows and loop.phases[o.phase].carry[o.k] in fixed}
    alone = [k for k, o in enumerate(loop.outputs) if o.is_rows and _is_map(replace(loop, outputs=(o,)), fixed)]
    if alone:
        given |= dict(zip(alone, mapped(loop, [loop.expression(loop.outputs[k]) for k in alone], values)))

    def made(chosen: Sequence[int]) -> list[Node]:
        asked = replace(loop, outputs=tuple(loop.outputs[k] for k in chosen))
        found, args = canonical(trimmed(asked, fixed), values)
        return unpacked(make(primitive_named("loop"), args, found), found.shapes)

    return _by_dtype([loop.expression(o).dtype for o in loop.outputs], given, made)


def _is_map(loop: Loop, fixed: Sequence[Node]) -> bool:
    """True for rows that hang on no state: what every step leaves behind is a function of its number and its x."""
    states = {z for p in loop.phases for z in p.carry if z not in fixed}
    return not _needed(loop) & states and not any(bodies(n) or n.op.batch is None for n in topological(
        [loop.expression(loop.outputs[0])]) if n.args)


def mapped(loop: Loop, rows: Sequence[Node], values: Values) -> list[Node]:
    """Rows that hang on no state, all at once."""
    xs = {x: input_node("rows", values[x].shape, x.dtype) for x in loop.xs}
    made = batch(rows, {**xs, STEP: constant(np.arange(loop.length))}, loop.length)
    return substituted(made, values | {xs[x]: values[x] for x in loop.xs})


def _by_dtype(dtypes: Sequence[np.dtype], given: dict[int, Node],
              made: Callable[[Sequence[int]], list[Node]]) -> list[Node]:
    """Outputs that are given, and the others from one node for each dtype."""
    found = dict(given)
    for dtype in dict.fromkeys(d for k, d in enumerate(dtypes) if k not in given):
        chosen = [k for k, d in enumerate(dtypes) if d == dtype and k not in given]
        found |= dict(zip(chosen, made(chosen)))
    return [found[k] for k in range(len(dtypes))]


def trimmed(loop: Loop, fixed: Sequence[Node] = ()) -> Loop:
    """The loop with what its outputs need; `fixed` states are constants of it."""
    needed = _needed(loop)
    asked = {(o.phase, o.k) for o in loop.outputs if o.is_rows}
    phases, places = [], {}
    for number, p in enumerate(loop.phases):
        states = [k for k, z in enumerate(p.carry) if z in needed and z not in fixed]
        rows = [k for k in range(len(p.rows)) if (number, k) in asked]
        if states or rows or (number == 0 and loop.going is not None):
            places |= {Output(number, k): Output(len(phases), new) for new, k in enumerate(states)}
            places |= {Output(number, k, True): Output(len(phases), new, True) for new, k in enumerate(rows)}
            phases.append(Phase(p.reverse, *(tuple(part[k] for k in states) for part in (p.carry, p.new)),
                                tuple(p.rows[k] for k in rows)))
    return replace(loop, consts=tuple(s for s in (*loop.consts, *fixed) if s in needed),
                   xs=tuple(s for s in loop.xs if s in needed), phases=tuple(phases),
                   outputs=tuple(places[o] for o in loop.outputs))


def _needed(loop: Loop) -> set[Node]:
    """The slots that the outputs depend on, over any number of steps."""
    slots = loop.slots
    below = reach(loop.expressions, slots)
    after = {z: new for p in loop.phases for z, new in zip(p.carry, p.new)}
    bits = 0 if loop.going is None else below[loop.going]
    for o in loop.outputs:
        bits |= below[loop.expression(o)] if o.is_rows else below[loop.phases[o.phase].carry[o.k]]
    found: set[Node] = set()
    while bits:
        z = slots[bits.bit_length() - 1]
        bits ^= below[z]
        if z not in found:
            found.add(z)
            bits |= below[after[z]] & ~_bits(found, below) if z in after else 0
    return found


def _bits(slots: Iterable[Node], below: dict[Node, int]) -> int:
    return sum(below[s] for s in slots)


def canonical(loop: Loop, values: Values) -> tuple[Loop, list[Node]]:
    """The loop over slots with fixed names, so that equal loops are equal, and its arguments; each constant once."""
    consts: dict[Node, Node] = {}
    for s in loop.consts:
        consts.setdefault(values[s], slot(f"c{len(consts)}", s))
    names = {c: consts[values[c]] for c in loop.consts}
    names |= {x: slot(f"x{k}", x) for k, x in enumerate(loop.xs)}
    names |= {z: slot(f"{'zyvw'[number] if number < 4 else f'p{number}_'}{k}", z)
              for number, p in enumerate(loop.phases) for k, z in enumerate(p.carry)}
    changed = loop.mapped(lambda expressions: substituted(expressions, names))
    phases = tuple(replace(p, carry=tuple(names[z] for z in p.carry)) for p in changed.phases)
    made = replace(changed, consts=tuple(consts.values()), xs=tuple(names[x] for x in loop.xs), phases=phases)
    return made, [*consts, *(values[s] for s in loop.slots[len(loop.consts):])]


# -- branches --------------------------------------------------------------------------------------------------------


def switched(switch: Switch, number: Node, values: Values) -> list[Node]:
    """The outputs of a switch: one node for those of each dtype; the branch itself where its number is known."""
    if number.op.name == "constant":
        return substituted(switch.branches[switch.clipped(number.attrs.array)], values)
    same = {k: outputs[0] for k, outputs in enumerate(zip(*switch.branches)) if len(set(outputs)) == 1}
    given = dict(zip(same, substituted(list(same.values()), values)))

    def made(chosen: Sequence[int]) -> list[Node]:
        branches = [[b[k] for k in chosen] for b in switch.branches]
        below = set(topological([o for b in branches for o in b]))
        names: dict[Node, Node] = {}
        for s in switch.slots:
            if s in below:
                names.setdefault(values[s], slot(f"c{len(names)}", s))
        mapping = {s: names[values[s]] for s in switch.slots if s in below}
        found = Switch(tuple(names.values()), tuple(tuple(substituted(b, mapping)) for b in branches))
        return unpacked(make(primitive_named("switch"), (number, *names), found), found.shapes)

    return _by_dtype([o.dtype for o in switch.branches[0]], given, made)
