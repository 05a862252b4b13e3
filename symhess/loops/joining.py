"""Loops over the same states become one: the value, the gradient and the Hessian of a loop repeat the same steps.

Two loops of one length, of which neither needs the other, can be one loop with the states of both. Where states of
theirs begin with the same value and have the same new value in every step, there is only one of them in the new loop,
and what the loops have in common is computed once. Loops without a common state stay apart.

Where a loop needs another one, and repeats its steps before it goes back over them (a gradient that starts from the
last state), the other one leaves its states behind, and the steps are not repeated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from symhess.graph.node import Node, input_node, make, topological
from symhess.loops.looping import Values, canonical
from symhess.primitives import reshape, slice_axis
from symhess.primitives.control import Loop, Output, Phase, unpacked
from symhess.primitives.rebuild import substituted

#: with more loops than this they are left as they are
MOST = 40


def joined(outputs: Sequence[Node]) -> list[Node]:
    """The same expressions with fewer loops."""
    outputs = list(outputs)
    while True:
        found = next((m for a, b in _pairs(outputs) if (m := _join(a, b)) is not None), None)
        if found is not None:
            outputs = substituted(outputs, found)
            continue
        after = next((m for a, b in _pairs(outputs, True) if (m := _continued(outputs, a, b)) is not None), None)
        if after is None:
            return outputs
        outputs = after


def _pairs(outputs: Sequence[Node], needed: bool = False) -> Iterator[tuple[Node, Node]]:
    """Loops that do not need each other, the one with fewer phases first; or one that the other needs, and that one."""
    order = topological(outputs)
    loops = [n for n in order if n.op.name == "loop"]
    if not 2 <= len(loops) <= MOST:
        return
    below: dict[Node, int] = {}
    for node in order:
        bits = 1 << loops.index(node) if node.op.name == "loop" else 0
        for a in node.args:
            bits |= below[a]
        below[node] = bits
    for k, b in enumerate(loops):
        for j, a in enumerate(loops[:k]):
            if bool(below[b] >> j & 1) == needed and a.dtype == b.dtype and a.attrs.length == b.attrs.length:
                yield (a, b) if needed or len(a.attrs.phases) <= len(b.attrs.phases) else (b, a)


def _join(a: Node, b: Node) -> dict[Node, Node] | None:
    """What two loops are in terms of one; None where they have no state in common."""
    first, second = a.attrs, b.attrs
    if any(p.reverse != q.reverse for p, q in zip(first.phases, second.phases)):
        return None
    values = dict(zip(second.slots, b.args))
    names = shared_arguments(first, a.args, second, values)
    found = shared_states(first, dict(zip(first.slots, a.args)), second, values, names)
    if found is None:
        return None
    loop = _union(first, second, {**names, **found})
    made, args = canonical(loop, values)
    node = make(a.op, args, made)
    size = math.prod(b.shape)
    flat = reshape(node, (node.size,))
    return {b: reshape(slice_axis(flat, 0, 0, 1, size), b.shape),
            a: reshape(slice_axis(flat, 0, size, 1, node.size - size), a.shape)}


def _continued(outputs: Sequence[Node], a: Node, b: Node) -> list[Node] | None:
    """The outputs with the first phase of b taken from a, whose first phase has all its states."""
    first, second = a.attrs, b.attrs
    if second.length is None or len(second.phases) < 2 or any(o.phase == 0 for o in second.outputs):
        return None
    p, q = second.phases[0], first.phases[0]
    values = dict(zip(first.slots, a.args))
    steps = replace(second, phases=(p,), outputs=())
    names = shared_arguments(steps, b.args, first, values)
    found = shared_states(steps, dict(zip(second.slots, b.args)), first, values, names)
    if p.reverse != q.reverse or found is None or not set(found.values()) <= set(q.carry):
        return None
    rows = list(dict.fromkeys((*q.rows, *found.values())))
    same = [Output(0, rows.index(q.rows[o.k]), True) if o.is_rows and not o.phase else o for o in first.outputs]
    wanted = {z: Output(0, rows.index(z), True) for z in found.values()}
    left = replace(first, phases=(replace(q, rows=tuple(rows)), *first.phases[1:]),
                   outputs=tuple(dict.fromkeys((*same, *wanted.values()))))
    if left.outputs[:len(same)] != tuple(same):
        return None
    node = make(a.op, a.args, left)
    flat = reshape(node, (node.size,))
    *outputs, b = substituted([*outputs, b], {a: reshape(slice_axis(flat, 0, 0, 1, a.size), a.shape)})
    made = dict(zip(left.outputs, unpacked(node, left.shapes)))
    parts = {z: made[o] for z, o in wanted.items()}
    given = dict(zip(second.slots, b.args)) | {z: parts[found[z]] for z in p.carry}
    rest = replace(second, xs=second.xs + p.carry, phases=second.phases[1:],
                   outputs=tuple(o._replace(phase=o.phase - 1) for o in second.outputs))
    loop, args = canonical(rest, given)
    return substituted(outputs, {b: make(b.op, args, loop)})


def shared_arguments(first: Loop, args: Sequence[Node], second: Loop, values: Values) -> Values:
    """Slots of the constants and xs of the first loop, those of the second for equal arguments; adds to `values`."""
    count = len(first.consts)
    names = {}
    for slots, own, theirs in ((first.consts, args, second.consts), (first.xs, args[count:], second.xs)):
        known = {values[s]: s for s in theirs}
        for s, v in zip(slots, own):
            names[s] = known[v] if v in known else input_node("shared", s.shape, s.dtype)
            values[names[s]] = v
    return names


def shared_states(first: Loop, own: Values, second: Loop, values: Values, names: Values) -> Values | None:
    """Slots of the states of the first loop; None where none is one of the second. Adds to `values`."""
    pairs = [(z, new, q) for p, q in zip(first.phases, second.phases) for z, new in zip(p.carry, p.new)]
    after = {w: new for q in second.phases for w, new in zip(q.carry, q.new)}
    open_ = {z: [w for w in q.carry if values[w] is own[z] and w.dtype == z.dtype] for z, _, q in pairs}
    apart = {z: input_node("state", z.shape, z.dtype) for z, _, _ in pairs}
    while True:
        taken: set[Node] = set()
        found: Values = {}
        for z, _, _ in pairs:
            found[z] = next((w for w in open_[z] if w not in taken), apart[z])
            taken.add(found[z])
        wanted = substituted([new for _, new, _ in pairs], {**names, **found})
        wrong = [z for (z, _, _), new in zip(pairs, wanted) if found[z] in after and after[found[z]] is not new]
        if not wrong:
            break
        for z in wrong:
            open_[z].remove(found[z])
    if all(found[z] is apart[z] for z in found):
        return None
    if first.going is not None and substituted([first.going], {**names, **found})[0] is not second.going:
        return None
    values |= {found[z]: own[z] for z in found}
    return found


def _union(first: Loop, second: Loop, names: Values) -> Loop:
    """The second loop with what the first one has beside it."""
    moved = first.mapped(lambda expressions: substituted(expressions, names))
    phases, places = list(second.phases), {}
    for number, p in enumerate(moved.phases):
        q = phases[number]
        carry = [names[z] for z in p.carry]
        added = [k for k, z in enumerate(carry) if z not in q.carry]
        states = (*q.carry, *(carry[k] for k in added))
        phases[number] = Phase(q.reverse, states, (*q.new, *(p.new[k] for k in added)), (*q.rows, *p.rows))
        places |= {Output(number, k): Output(number, states.index(z)) for k, z in enumerate(carry)}
        places |= {Output(number, k, True): Output(number, len(q.rows) + k, True) for k in range(len(p.rows))}
    consts = dict.fromkeys((*second.consts, *(names[c] for c in first.consts)))
    xs = dict.fromkeys((*second.xs, *(names[x] for x in first.xs)))
    return replace(second, consts=tuple(consts), xs=tuple(xs), phases=tuple(phases),
                   outputs=(*second.outputs, *(places[o] for o in first.outputs)))
