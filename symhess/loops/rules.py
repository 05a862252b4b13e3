"""Derivatives and batches of loops, which are loops again: the primitive `loop`, closed under all three.

    jvp     every phase p carries (z_p, dz_p):          dz_p <- d new_p                    as many phases
    vjp     after the phases 1 ... P come P ... 1, each in the other direction, with the cotangent y_p of z_p:
            y_q <- sum over p >= q of (d new_p / d z_q)^T y_p + (d row_p / d z_q)^T (cotangent of row_p[t])
            the last one adds up the cotangents of constants, and leaves those of xs[t] behind
    batch   states get a leading axis where they depend on what has one; a batch of loops goes on until all are done,
            and leaves alone the states of those that are done

Only float states that can move carry a tangent, found as a fixed point over the steps; so do cotangents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from symhess.differentiate import batch, pullback, pushforward
from symhess.graph.node import CONSTANT, Node, Primitive, constant, input_node, register
from symhess.loops.looping import Values, looped, reach
from symhess.loops.terms import loop_terms
from symhess.primitives import apply, broadcast_to, cast, is_zero, reduce_with, reshape, scatter, transpose, zeros
from symhess.primitives.control import Loop, Output, Phase, flat, infer_loop, packed, run_loop, unpacked


def fresh(name: str, like: Node) -> Node:
    """An input of the kind of another node."""
    return input_node(name, like.shape, like.dtype)


def moves(t: Node | None) -> bool:
    """True for a tangent or cotangent that is not known to be zero."""
    return t is not None and not is_zero(t)


# -- forward ---------------------------------------------------------------------------------------------------------


def push(node: Node, tangents: Sequence[Node | None]) -> Node:
    """The tangents of the outputs."""
    loop = node.attrs
    dots = {s: fresh("tangent", s) for s, t in zip(loop.slots, tangents) if moves(t)}
    values = dict(zip(loop.slots, node.args))
    values |= {dots[s]: t for s, t in zip(loop.slots, tangents) if s in dots}
    while True:
        pushed = [pushforward(p.expressions, dots) for p in loop.phases]
        more = {z: fresh("tangent", z) for p, found in zip(loop.phases, pushed) for z, d in zip(p.carry, found)
                if z not in dots and not is_zero(d)}
        if not more:
            break
        dots |= more
        values |= {d: zeros(d.shape, d.dtype) for d in more.values()}
    made, places = _with_tangents(loop, dots, pushed)
    found = dict(zip(places, looped(made, values)))
    return packed([found.get(o, zeros(s, node.dtype)) for o, s in zip(loop.outputs, loop.shapes)])


def _with_tangents(loop: Loop, dots: Values, pushed: Sequence[Sequence[Node]]) -> tuple[Loop, list[Output]]:
    """The loop of states and tangents, and which outputs of the given loop its outputs are the tangents of."""
    phases, places = [], {}
    for number, (p, found) in enumerate(zip(loop.phases, pushed)):
        live, count = [k for k, z in enumerate(p.carry) if z in dots], len(p.carry)
        phases.append(Phase(p.reverse, p.carry + tuple(dots[p.carry[k]] for k in live),
                            p.new + tuple(found[k] for k in live), tuple(found[count:])))
        places |= {Output(number, k): Output(number, count + j) for j, k in enumerate(live)}
        places |= {Output(number, k, True): Output(number, k, True) for k, d in enumerate(found[count:])
                   if not is_zero(d)}
    moving = [o for o in loop.outputs if o in places]
    made = replace(loop, consts=loop.consts + tuple(dots[c] for c in loop.consts if c in dots),
                   xs=loop.xs + tuple(dots[x] for x in loop.xs if x in dots), phases=tuple(phases),
                   outputs=tuple(places[o] for o in moving))
    return made, moving


# -- reverse ---------------------------------------------------------------------------------------------------------


def pull(node: Node, g: Node, active: Sequence[bool]) -> list[Node | None]:
    """The cotangents of the arguments that are `active`."""
    loop = node.attrs
    wanted = [s for s, a, on in zip(loop.slots, node.args, active)
              if on and a.dtype.kind == "f" and a.op is not CONSTANT]
    values = dict(zip(loop.slots, node.args))
    given = dict(zip(loop.outputs, cotangents(g, loop.shapes)))
    rows = {o: fresh("cotangent", loop.expression(o)) for o, b in given.items() if o.is_rows and moves(b)}
    values |= {r: given[o] for o, r in rows.items()}
    bars = {loop.phases[o.phase].carry[o.k]: b for o, b in given.items() if not o.is_rows and moves(b)}
    y = {z: fresh("cotangent", z) for z in bars}
    others = [s for s in wanted if s in loop.consts or s in loop.xs]
    while True:
        pulled = [_pulled(loop, number, rows, y, others if number == 0 else ()) for number in range(len(loop.phases))]
        found = {z: d for z, d in pulled[0].items() if z in others and not is_zero(d)}
        more = {z: fresh("cotangent", z) for part in pulled for z, d in part.items()
                if z not in y and z not in others and not is_zero(d)}
        if not more:
            break
        y |= more
    values |= {y[z]: bars.get(z, zeros(z.shape, z.dtype)) for z in y}
    phases = [Phase(not p.reverse, tuple(y[z] for z in p.carry if z in y), tuple(part[z] for z in p.carry if z in y))
              for p, part in zip(loop.phases, pulled)]
    return _cotangents(loop, found, rows, y, wanted, phases, values)


def cotangents(g: Node, shapes: Sequence[tuple[int, ...]]) -> list[Node]:
    """Those of the outputs; a sum of cotangents is taken apart, most of whose summands are of one output alone."""
    if len(shapes) == 1:
        return [g]
    if g.op.name == "add" and all(a.shape == g.shape for a in g.args):
        return [apply("add", a, b) for a, b in zip(*(cotangents(a, shapes) for a in g.args))]
    if g.op.name != "scatter":
        return unpacked(g, shapes)
    low, high = g.attrs.maps[0].bounds
    sizes = [math.prod(s) for s in shapes]
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    if not any(start <= low and high < start + size for start, size in zip(starts, sizes)):
        return unpacked(g, shapes)
    return [reshape(scatter(g.args[0], [g.attrs.maps[0].shifted(-start)], (size,)), shape)
            if start <= low and high < start + size else zeros(shape, g.dtype)
            for start, size, shape in zip(starts, sizes, shapes)]


def _pulled(loop: Loop, number: int, rows: dict[Output, Node], y: Values, others: Sequence[Node]) -> Values:
    """Cotangents of the states of a phase, and of `others`, in one step, from it and the phases after it."""
    pairs = [(new, y[z]) for p in loop.phases[number:] for z, new in zip(p.carry, p.new) if z in y]
    pairs += [(loop.expression(o), r) for o, r in rows.items() if o.phase >= number]
    by = [*(z for z in loop.phases[number].carry if z.dtype.kind == "f"), *others]
    return dict(zip(by, pullback([v for v, _ in pairs], [c for _, c in pairs], by)))


def _cotangents(loop: Loop, found: Values, rows: dict[Output, Node], y: Values, wanted: Sequence[Node],
                phases: list[Phase], values: Values) -> list[Node | None]:
    """Runs the phases of cotangents, the last of which adds up those of constants and leaves those of xs behind."""
    sums = {s: fresh("sum", s) for s in found if s in loop.consts}
    left = [s for s in found if s in loop.xs]
    values |= {c: zeros(c.shape, c.dtype) for c in sums.values()}
    last = phases[0]
    phases[0] = Phase(last.reverse, last.carry + tuple(sums.values()),
                      last.new + tuple(apply("add", c, found[s]) for s, c in sums.items()),
                      tuple(found[s] for s in left))
    count, outputs = len(loop.phases), {}
    for number, p in enumerate(loop.phases):
        at = 2 * count - 1 - number
        states = [z for z in p.carry if z in y]
        outputs |= {z: Output(at, k) for k, z in enumerate(states) if z in wanted}
    outputs |= {s: Output(2 * count - 1, len(last.carry) + k) for k, s in enumerate(sums)}
    outputs |= {s: Output(2 * count - 1, k, True) for k, s in enumerate(left)}
    made = replace(loop, xs=loop.xs + tuple(rows.values()), phases=loop.phases + tuple(reversed(phases)),
                   outputs=tuple(outputs.values()))
    pulled = dict(zip(outputs, looped(made, values)))
    return [pulled.get(s) for s in loop.slots]


# -- batches ---------------------------------------------------------------------------------------------------------


def spread(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    """The loop for every row of the arguments that have a leading axis."""
    loop = node.attrs
    size = next(a.shape[0] for a, more in zip(args, added) if more)
    wide = _widened(loop, [s for s, more in zip(loop.slots, added) if more])
    names = {s: input_node("row", (size, *s.shape), s.dtype) for s in wide}
    values = {names.get(s, s): _with_rows(a, more, s in wide, s in loop.xs, size)
              for s, a, more in zip(loop.slots, args, added)}
    made, spreads = _batched(loop, names, size)
    parts = []
    for o, part, shape in zip(loop.outputs, looped(made, values), loop.shapes):
        if o not in spreads:
            part = broadcast_to(part, (size, *shape))
        elif o.is_rows:
            part = transpose(part, [1, 0, *range(2, part.ndim)])
        parts.append(part)
    return packed(parts, (size,))


def _widened(loop: Loop, wide: Sequence[Node]) -> set[Node]:
    """The slots that have a row for each member of a batch."""
    found, below = set(wide), reach(loop.expressions, loop.slots)
    states = {z: new for p in loop.phases for z, new in zip(p.carry, p.new)}
    while True:
        bits = sum(below[s] for s in found)
        if loop.going is not None and below[loop.going] & bits:
            return found | set(states)
        more = {z for z, new in states.items() if z not in found and below[new] & bits}
        if not more:
            return found
        found |= more


def _with_rows(a: Node, has: bool, wide: bool, is_xs: bool, size: int) -> Node:
    """An argument as the batched loop takes it: the axis of xs comes before that of the batch."""
    if has and is_xs:
        return transpose(a, [1, 0, *range(2, a.ndim)])
    return a if has or not wide else broadcast_to(a, (size, *a.shape))


def _batched(loop: Loop, names: Values, size: int) -> tuple[Loop, set[Output]]:
    """The loop on slots with rows, and those of its outputs that have them."""
    below = reach(loop.expressions, loop.slots)
    bits = sum(below[s] for s in names)
    moved = [e for e in loop.expressions if below[e] & bits]
    moved += [new for p in loop.phases for z, new in zip(p.carry, p.new) if z in names]
    rows = dict(zip(moved, batch(moved, names, size)))
    alive = rows.get(loop.going)
    phases = tuple(replace(p, carry=tuple(names.get(z, z) for z in p.carry), rows=tuple(rows.get(r, r) for r in p.rows),
                           new=tuple(_while(alive, rows[new], names[z]) if z in names else new
                                     for z, new in zip(p.carry, p.new))) for p in loop.phases)
    going = loop.going if alive is None else any_of(alive)
    spreads = {o for o in loop.outputs
               if (loop.expression(o) in rows if o.is_rows else loop.phases[o.phase].carry[o.k] in names)}
    return replace(loop, going=going, consts=tuple(names.get(c, c) for c in loop.consts),
                   xs=tuple(names.get(x, x) for x in loop.xs), phases=phases), spreads


def _while(alive: Node | None, new: Node, old: Node) -> Node:
    """The new state of those members of a batch that go on."""
    if alive is None:
        return new
    return apply("where", reshape(alive, (*alive.shape, *(1,) * (new.ndim - 1))), new, old)


def any_of(alive: Node) -> Node:
    """True if one of them is."""
    return apply("equal", reduce_with("max", cast(alive, np.int64), (0,)), constant(1))


LOOP = register(Primitive(
    "loop", infer_loop, lambda arrays, node: flat(run_loop(arrays, node.attrs)), family="control",
    vjp=lambda node, g: pull(node, g, [True] * len(node.args)), jvp=push, batch=spread,
    extra={"kernel": "loop", "pullback": pull, "terms": loop_terms},
))
