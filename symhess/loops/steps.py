"""What small changes do to the steps of a loop: partial derivatives number by number, and recurrences of these.

A Matrix holds the entries that are not known to be zero. Its entries are expressions of one step, or, once lifted, what
these are in all steps at once: arrays over the steps, or numbers where all steps have the same one. Lifted expressions
are computed for many steps together, in vectors; only the recurrences go from step to step.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from symhess.differentiate import batch
from symhess.graph.maps import ravel_maps
from symhess.graph.node import CONSTANT, Node, bodies, constant, depends_on, input_node, topological
from symhess.loops.looping import Values, looped
from symhess.primitives import apply, broadcast_to, concatenate, element, is_zero, reshape, scale, stack, zeros
from symhess.primitives.control import STEP, Loop, Output, Phase, used_inputs
from symhess.primitives.rebuild import substituted
from symhess.structure import coefficient, tangents

#: entries (row, column) that are not known to be zero
Matrix = dict[tuple[int, int], Node]


def identity(n: int, dtype: np.dtype) -> Matrix:
    """Ones on the diagonal."""
    return {(i, i): constant(1, dtype) for i in range(n)}


def plus(*parts: Matrix) -> Matrix:
    """The sum of matrices."""
    out: Matrix = {}
    for part in parts:
        for at, value in part.items():
            out[at] = apply("add", out[at], value) if at in out else value
    return {at: value for at, value in out.items() if not is_zero(value)}


def product(a: Matrix, b: Matrix) -> Matrix:
    """The product of two matrices."""
    rows = defaultdict(list)
    for (k, j), value in b.items():
        rows[k].append((j, value))
    return plus(*({(i, j): scale(x, y)} for (i, k), x in a.items() for j, y in rows[k]))


def part(m: Matrix, rows: range | None = None, columns: range | None = None) -> Matrix:
    """The entries in some rows and columns, counted from the first ones."""
    top, left = rows.start if rows else 0, columns.start if columns else 0
    return {(i - top, j - left): v for (i, j), v in m.items()
            if (rows is None or i in rows) and (columns is None or j in columns)}


def partials(expressions: Sequence[Node], slots: Sequence[Node]) -> Matrix:
    """The Jacobian of expressions of one step, laid end to end, by slots, laid end to end."""
    out: Matrix = {}
    first = 0
    for e, tangent in zip(expressions, tangents(expressions, slots)):
        for t in tangent.terms:
            value = broadcast_to(coefficient(t), t.shape)
            rows, cols = ravel_maps(t.rows, e.shape, t.shape).values(), t.cols.values()
            out = plus(out, *({(first + int(rows[at]), int(cols[at])): element(value, at)}
                              for at in np.ndindex(t.shape)))
        first += e.size
    return out


def ranges(nodes: Iterable[Node]) -> dict[Node, range]:
    """The places of nodes laid end to end."""
    out, first = {}, 0
    for n in nodes:
        out[n] = range(first, first + n.size)
        first += n.size
    return out


def ranges_of(rows: Sequence[Node]) -> list[range]:
    """The places of expressions laid end to end, one after the other."""
    out, first = [], 0
    for r in rows:
        out.append(range(first, first + r.size))
        first += r.size
    return out


def dense(m: Matrix, rows: int, columns: int, steps: int, dtype: np.dtype) -> Node:
    """A lifted matrix as an array (steps, rows, columns)."""
    entries = [m.get((i, j), constant(0, dtype)) for i in range(rows) for j in range(columns)]
    if all(v.ndim == 0 for v in entries):
        return broadcast_to(reshape(stack(entries), (1, rows, columns)), (steps, rows, columns))
    wide = [reshape(broadcast_to(v, (steps,)), (steps, 1)) for v in entries]
    return reshape(wide[0] if len(wide) == 1 else concatenate(wide, 1), (steps, rows, columns))


def block(m: Matrix, rows: int, columns: int, dtype: np.dtype) -> Node:
    """A matrix of numbers as an array (rows, columns)."""
    return reshape(stack([m.get((i, j), constant(0, dtype)) for i in range(rows) for j in range(columns)]),
                   (rows, columns))


class Environment:
    """A loop of one or two phases and its arguments: what expressions of a step are in all steps at once."""

    def __init__(self, loop: Loop, args: Sequence[Node]):
        self.loop, self.values = loop, dict(zip(loop.slots, args))
        self.steps, self.forward = loop.length or 0, loop.phases[0]
        self.backward = loop.phases[1] if len(loop.phases) == 2 else None

    @property
    def lifts(self) -> bool:
        """True where all that a step computes can be computed for all steps together."""
        return not any(bodies(n) or n.op.batch is None for n in topological(self.loop.expressions) if n.args)

    def states(self, wanted: Collection[Node]) -> Values:
        """What stands for some states before their steps, of all steps; what only other states need is not computed."""
        found: Values = {}
        for number, p in enumerate(self.loop.phases):
            rows = tuple(z for z in p.carry if z in wanted)
            loop = replace(self.loop, phases=(*self.loop.phases[:number], replace(p, rows=rows)),
                           outputs=tuple(Output(number, k, True) for k in range(len(rows))))
            found |= dict(zip(rows, looped(loop, self.values)))
        return found

    def lifted(self, *matrices: Matrix) -> list[Matrix]:
        """The matrices in all steps."""
        entries = [v for m in matrices for v in m.values()]
        varying = {STEP: constant(np.arange(self.steps))}
        arrays = {x: self.values[x] for x in self.loop.xs} | self.states(set(used_inputs(entries)))
        varying |= {s: input_node("steps", a.shape, a.dtype) for s, a in arrays.items()}
        moved = depends_on(topological(entries), varying)
        wide = [v for v in entries if v in moved]
        found = dict(zip(wide, batch(wide, varying, self.steps)))
        known = {c: self.values[c] for c in self.loop.consts} | {varying[s]: a for s, a in arrays.items()}
        made = iter(substituted([found.get(v, v) for v in entries], known))
        return [{at: next(made) for at in m} for m in matrices]


class Recurrence:
    """States that are numbers, over steps each of which reads its own entries of lifted matrices."""

    def __init__(self, steps: int, reverse: bool, dtype: np.dtype):
        self.steps, self.reverse, self.dtype = steps, reverse, dtype
        self.slots: Values = {}

    def read(self, m: Matrix) -> Matrix:
        """What stands for a lifted matrix in the step."""
        return {at: v if v.op is CONSTANT and not v.ndim else self.slots.setdefault(v, input_node("entry", (), v.dtype))
                for at, v in m.items()}

    def solved(self, start: Matrix, step: Callable[[Matrix], Matrix]) -> tuple[Matrix, Matrix]:
        """The states before each step, lifted, and after the last one, from those at the start."""
        state = {at: input_node("state", (), self.dtype) for at in start}
        while True:
            new = step(state)
            more = {at: input_node("state", (), self.dtype) for at in new if at not in state}
            if not more:
                break
            state |= more
        zero, carry = zeros((), self.dtype), tuple(state.values())
        phase = Phase(self.reverse, carry, tuple(new.get(at, zero) for at in state), carry)
        consts = tuple(s for v, s in self.slots.items() if v.ndim == 0)
        xs = tuple(s for v, s in self.slots.items() if v.ndim)
        values = {s: v for v, s in self.slots.items()} | {z: start.get(at, zero) for at, z in state.items()}

        def made(rows: bool) -> Matrix:
            outputs = tuple(Output(0, k, rows) for k in range(len(carry)))
            return dict(zip(state, looped(Loop(self.steps, None, consts, xs, (phase,), outputs), values)))

        return (made(True), made(False)) if carry else ({}, {})


def sizes(nodes: Iterable[Node]) -> int:
    """Elements of nodes, all together."""
    return sum(math.prod(n.shape) for n in nodes)
