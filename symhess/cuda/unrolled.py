"""Loops whose steps are enqueued from the host: the kernels of a step again and again, over windows of the states.

A step may then be whatever a program may: products of matrices by tiles or by cuBLAS, reductions by many blocks. The
launches are part of the program's CUDA graph, where each takes about as long as a team takes to wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from symhess.graph.node import Node
from symhess.plan import teams
from symhess.plan.loops import Target
from symhess.plan.nested import Body, NestedCall, State, results


class Window(NamedTuple):
    """A part of an array, as an array: its first element, and how many."""

    array: str
    start: int
    size: int

    @property
    def name(self) -> str:
        return f"{self.array}+{self.start}:{self.size}"


class Copy(NamedTuple):
    """The elements of one window to another one."""

    to: Window
    source: Window
    dtype: str


class Run(NamedTuple):
    """The kernels of a body, over windows in place of its inputs and outputs."""

    body: Body
    windows: dict[str, Window]


def unrolled(call: NestedCall) -> Iterator[Copy | Run]:
    """All steps of all phases, in order."""
    loop, offsets = call.nested, results(call)
    given = {slot: Window(name, a.start, slot.size) for slot, name, a in zip(loop.slots, call.sources, call.arguments)}
    state_of = {z: (s, p.reverse) for p, states in zip(loop.phases, call.states) for z, s in zip(p.carry, states)}

    def window(v: Node, t: int) -> Window:
        """What an input of a body is at step t."""
        if v in state_of:
            s, reverse = state_of[v]
            return row(s, t + 1 if reverse else t)
        if v not in given:
            return Window(call.step.name, t, 1)
        return given[v]._replace(start=given[v].start + t * v.size) if v in loop.xs else given[v]

    for number, p in enumerate(loop.phases):
        states, body = call.states[number], call.bodies[number]
        first, last = (loop.length, 0) if p.reverse else (0, loop.length)
        for z, s in zip(p.carry, states):
            yield Copy(row(s, first), given[z], s.target.dtype.name)
        rows = {o.k: at for o, at in zip(loop.outputs, offsets) if o.phase == number and o.is_rows}
        for t in reversed(range(loop.length)) if p.reverse else range(loop.length):
            left = [Window(call.target.name, rows[k] + t * r.size, r.size) for k, r in enumerate(p.rows)]
            made = [*(row(s, t if p.reverse else t + 1) for s in states), *left]
            ends = zip((*body.plan.inputs, *body.plan.outputs), [*(window(v, t) for v in body.inputs), *made])
            yield Run(body, {end.name: w for end, w in ends})
        for o, at in zip(loop.outputs, offsets):
            if o.phase == number and not o.is_rows:
                s = states[o.k]
                yield Copy(Window(call.target.name, at, s.size), row(s, last), s.target.dtype.name)


def counts(call: NestedCall) -> bool:
    """True for a loop whose steps read their number."""
    return any(v not in call.nested.slots for body in call.bodies for v in body.inputs)


def row(s: State, number: int) -> Window:
    """A row of a state."""
    target: Target = s.target if s.kept else teams.now(s)
    return Window(target.name, (number if s.kept else number & 1) * s.size, s.size)
