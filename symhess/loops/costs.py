"""What the gradient of a loop is given that is a function of its states: running costs, and those at the end.

Their tangents through the states would hang on all that was given to earlier steps. So where each step is given what
hangs on that step alone, its derivatives by the states before it are found, and enter the derivatives of the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from symhess.graph.maps import IndexMap, axis_map, constant_map, ravel_maps
from symhess.graph.node import Node, depends_on, topological
from symhess.loops.joining import shared_arguments, shared_states
from symhess.loops.steps import Environment, Matrix, part, partials, plus, product, ranges, ranges_of
from symhess.primitives import broadcast_to, element, index, scatter
from symhess.primitives.control import Loop, Output, Phase
from symhess.structure.propagate import push
from symhess.structure.term import Tangent, Term, coefficient, identity_term

Known = Mapping[Node, Tangent]


class Steps(Protocol):
    """The loop of a gradient: its slots that move, and their places."""

    environment: Environment
    loop: Loop
    steps: int
    forward: Phase
    backward: Phase | None
    x: list[Node]
    y: list[Node]
    slots: list[Node]
    places: dict[Node, range]
    moved: dict[Node, Tangent]
    known: Known
    given: Known

    def kind_of(self, s: Node) -> tuple[str, range]:
        """The kind of a slot, and its places among those of that kind."""


class Costs:
    """What a gradient is given that is a function of the states its loop went through, step by step.

    `inner`: its derivatives in a step by that step's s, c and x, in the rows of the x that it is given as; `last`:
    those of the last cotangents by the last s. `free`: Terms of all slots, without what these two stand for.
    """

    def __init__(self, terms: Steps):
        self.of = terms
        self.inner: Matrix = {}
        self.last: Matrix = {}
        self.free = {s: t.terms for s, t in terms.moved.items()} | {
            s: () for s in terms.slots if s not in terms.moved}
        found = self._states() if terms.backward is not None else None
        if found is not None:
            self._take(*found)

    def _states(self) -> tuple[Node, Environment, dict[Node, Node]] | None:
        """The loop of the states, and what the slots of the gradient are called there."""
        own, args = self.of.loop, list(self.of.environment.values.values())
        steps = replace(own, phases=(self.of.forward,), outputs=())
        for node in self.of.known:
            if (node in self.of.given or node.op.name != "loop" or len(node.attrs.phases) != 1
                    or node.attrs.length != own.length):
                continue
            values = dict(zip(node.attrs.slots, node.args))
            names = shared_arguments(steps, args, node.attrs, values)
            if node.attrs.phases[0].reverse != self.of.forward.reverse:
                continue
            found = shared_states(steps, dict(zip(own.slots, args)), node.attrs, values, names)
            if found is not None and set(found.values()) <= set(node.attrs.phases[0].carry):
                return node, Environment(node.attrs, node.args), names | found
        return None

    def _take(self, node: Node, environment: Environment, names: dict[Node, Node]) -> None:
        """Take what hangs on the states step by step out of the Terms of the arguments."""
        of = self.of
        if not environment.lifts:
            return
        slots = [s for s in environment.loop.slots if s.dtype.kind == "f"]
        back = {names[s]: s for s in of.slots if s in names}
        rows = environment.forward.rows
        derivatives = partials(rows, slots)
        (lifted,) = environment.lifted(derivatives)
        self._where, self._loop = (ranges(slots), ranges_of(rows), lifted, back), environment
        for s in (*of.x, *of.y):
            argument = of.environment.values[s]
            if s not in of.moved or node not in depends_on(topological([argument]), [node]):
                continue
            (through,) = push([argument], {node: Tangent(node.shape, (identity_term(node, 0),))})
            found = self._step_by_step(s, through.terms, node.attrs)
            if found is None:
                continue
            if s in of.x:
                self.inner = plus(self.inner, found)
            else:
                self.last = plus(self.last, found)
            (rest,) = push([argument], {**of.given, node: Tangent(node.shape, ())})
            self.free[s] = tuple(rest.terms)

    def _step_by_step(self, s: Node, terms: Sequence[Term], loop: Loop) -> Matrix | None:
        """Derivatives of an argument by the slots of its own step; None where it hangs on the states of others."""
        starts = np.cumsum([0, *(math.prod(shape) for shape in loop.shapes)])
        total: Matrix = {}
        for t in terms:
            low, high = t.cols.bounds
            k = int(np.searchsorted(starts, low, "right")) - 1
            if high >= starts[k + 1]:
                return None
            o, local = loop.outputs[k], t.cols.shifted(-int(starts[k]))
            found = self._in_row(s, t, o, local) if s in self.of.x else self._at_end(s, t, o, local, loop)
            if found is None:
                return None
            total = plus(total, found)
        return total

    def _in_row(self, s: Node, t: Term, o: Output, local: IndexMap) -> Matrix | None:
        """Of an x: what hangs on the rows of its own step."""
        steps, first = self.of.steps, self.of.kind_of(s)[1].start
        if not o.is_rows:
            return None
        size = len(self._where[1][o.k])
        inner = local + t.rows[0].scaled(-size)
        if inner.bounds[0] < 0 or inner.bounds[1] >= size:
            return None
        shape = s.shape
        column = ravel_maps(t.rows[1:], shape, t.shape) if shape else constant_map(t.shape)
        entries: Matrix = {}
        if t.rows[0].single_axis is not None and t.rows[0].is_axis(t.rows[0].single_axis, steps) \
                and t.shape == (steps,) and inner.is_constant and column.is_constant:
            value = coefficient(t)
            entries[column.offset, inner.offset] = _one_for_all(value)
        else:
            wide = scatter(coefficient(t), (t.rows[0], column, inner), (steps, s.size, size))
            for i in range(s.size):
                for j in range(size):
                    entries[i, j] = index(wide, [axis_map((steps,), 0), constant_map((steps,), i),
                                                 constant_map((steps,), j)], (steps,))
        by_row = product(entries, part(self._where[2], self._where[1][o.k]))
        return self._translated(by_row, first)

    def _translated(self, m: Matrix, first: int) -> Matrix | None:
        """Columns of the slots of the loop of states as those of the gradient's."""
        places, _, _, back = self._where
        states = self._loop.forward.carry
        owner = {k: (s, k - r.start) for s, r in places.items() for k in r}
        out: Matrix = {}
        for (i, j), value in m.items():
            s, k = owner[j]
            if s in back:
                out[first + i, self.of.places[back[s]].start + k] = value
            elif s in states or self._moves(s):
                return None
        return out

    def _moves(self, s: Node) -> bool:
        tangent = self.of.known.get(self._loop.values[s])
        return tangent is not None and bool(tangent.terms)

    def _at_end(self, s: Node, t: Term, o: Output, local: IndexMap, loop: Loop) -> Matrix | None:
        """Of a last cotangent: what hangs on the last states."""
        first = self.of.kind_of(s)[1].start
        phase, back = loop.phases[0], self._where[3]
        if o.is_rows:
            size = phase.rows[o.k].size
            last = 0 if phase.reverse else self.of.steps - 1
            local = local.shifted(-last * size)
            if phase.rows[o.k] not in phase.new or local.bounds[0] < 0 or local.bounds[1] >= size:
                return None
            state = phase.carry[phase.new.index(phase.rows[o.k])]
        else:
            state = phase.carry[o.k]
        if state not in back:
            return None
        out: Matrix = {}
        value = broadcast_to(coefficient(t), t.shape)
        rows, at = ravel_maps(t.rows, s.shape, t.shape).values(), local.values()
        for e in np.ndindex(t.shape):
            key = first + int(rows[e]), self.of.places[back[state]].start + int(at[e])
            out = plus(out, {key: element(value, e)})
        return out


def _one_for_all(value: Node) -> Node:
    """The number that all elements of an array are, where it is one."""
    while value.op.name == "index" and not value.args[0].ndim:
        value = value.args[0]
    return value
