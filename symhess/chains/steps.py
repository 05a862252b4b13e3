"""The steps of a chain: its instructions, what each of them reads, and the run of steps that are all alike.

An *instruction* is a sequence of nodes that shift to each other, one for every step; `table[i, t]` is the number of
the node of instruction i in step t, or -1. Each argument of an instruction is one of

    State(i, lag)     the node of instruction i, `lag` steps before (0: of the same step)
    FIXED             the same node in all steps
    GIVEN             a node that does not hang on the state, another one in each step

Where a step begins is chosen so that as little as possible is handed on to the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from symhess.chains.shift import Shift
from symhess.chains.spine import Numbered

FIXED, GIVEN = "fixed", "given"
#: a state is not handed on over more steps than this
MOST_LAG = 8
#: places where a step may begin that are compared
MOST_CUTS = 512
#: rounds of shortening the run by steps that turn out to differ
MOST_ROUNDS = 8
#: so many steps at either end may be left out for an argument that is the same node in all others
ENDS = 2


class State(NamedTuple):
    """What instruction `row` computed `lag` steps before."""

    row: int
    lag: int


@dataclass
class Steps:
    """Instructions in the order in which a step runs them; steps first ... last are alike.

    `reads[i]` is an array (arguments, steps) of node numbers, `kinds[i]` tells what each argument is.
    """

    graph: Numbered
    table: np.ndarray
    reads: list[np.ndarray]
    kinds: list[list[State | str]]
    middle: int
    first: int = 0
    last: int = -1

    @property
    def count(self) -> int:
        """How many steps."""
        return self.last - self.first + 1

    @property
    def lags(self) -> list[int]:
        """For each instruction over how many steps its results are needed."""
        out = [0] * len(self.table)
        for kinds in self.kinds:
            for kind in kinds:
                if isinstance(kind, State):
                    out[kind.row] = max(out[kind.row], kind.lag)
        return out

    def members(self) -> np.ndarray:
        """The numbers of all nodes of the run."""
        found = self.table[:, self.first:self.last + 1].ravel()
        return found[found >= 0]

    def start(self, row: int, back: int) -> set[int]:
        """What stands for the result of an instruction, `back` steps before the first one."""
        found = set()
        for reads, kinds in zip(self.reads, self.kinds):
            for column, kind in zip(reads, kinds):
                if isinstance(kind, State) and kind.row == row and back <= kind.lag <= back + self.count - 1:
                    found.add(int(column[self.first + kind.lag - back]))
        return found


def steps_of(graph: Numbered, shift: Shift) -> Steps | None:
    """The steps of the chain that shifts to itself, or None where there is no run of them."""
    found = _Instructions(graph, shift)
    if not found.rows:
        return None
    steps = found.steps()
    return steps if _narrow(steps) else None


class _Instructions:
    """Finds the instructions that a step in the middle of the chain consists of, and puts them in steps."""

    def __init__(self, graph: Numbered, shift: Shift):
        self.graph, self.shift = graph, shift
        self.orbits = list(shift.orbits())
        self.place = {u: (o, k) for o, orbit in enumerate(self.orbits) for k, u in enumerate(orbit)}
        #: the step of the first member of each orbit, and which of its members read their arguments crosswise
        self.offset: dict[int, int] = {}
        self.crossed: dict[int, list[bool]] = {}
        #: for each orbit that is an instruction what its members read
        self.kinds: dict[int, list[tuple[int, int] | str]] = {}
        if self.orbits:
            chosen = max(range(len(self.orbits)), key=lambda o: (len(self.orbits[o]), self.orbits[o][-1]))
            self.anchors = np.array(self.orbits[chosen])
            self.middle = len(self.anchors) // 2
            self.complete = self._collect(chosen)
            self._drop_unread()
        self.rows = sorted(self.kinds, key=self._in_middle) if self.kinds and self.complete else []

    def _in_middle(self, o: int) -> int:
        return self._member(o, self.middle)

    def _offset(self, o: int) -> int:
        """The step in which an orbit begins: steps are counted by the anchors before its middle member."""
        if o not in self.offset:
            k = len(self.orbits[o]) // 2
            self.offset[o] = int(np.searchsorted(self.anchors, self.orbits[o][k])) - k
            self.crossed[o] = self.shift.crossed(self.orbits[o])
        return self.offset[o]

    def _member(self, o: int, step: int) -> int:
        """The member of an orbit in a step, -1 where there is none."""
        k = step - self._offset(o)
        return self.orbits[o][k] if 0 <= k < len(self.orbits[o]) else -1

    def arguments(self, o: int, k: int) -> tuple[int, ...]:
        """What member number k of an orbit reads, in the order of the first member."""
        args = self.graph.args[self.orbits[o][k]]
        return args[::-1] if self.crossed[o][k] else args

    def _collect(self, start: int) -> bool:
        """All instructions that the middle step needs; False where some have no member there."""
        stack, seen = [start], {start}
        while stack:
            o = stack.pop()
            if self._member(o, self.middle) < 0 or self._member(o, self.middle + 1) < 0:
                return False
            k = self.middle - self._offset(o)
            self.kinds[o] = [self._kind(k, a, b) for a, b in zip(self.arguments(o, k), self.arguments(o, k + 1))]
            more = {kind[0] for kind in self.kinds[o] if isinstance(kind, tuple)} - seen
            seen |= more
            stack += more
        return True

    def _drop_unread(self) -> None:
        """Leave out what no instruction reads, again and again: what remains is what the states need."""
        before = -1
        while len(self.kinds) != before:
            before = len(self.kinds)
            read = {kind[0] for kinds in self.kinds.values() for kind in kinds if isinstance(kind, tuple)}
            self.kinds = {o: kinds for o, kinds in self.kinds.items() if o in read}

    def _kind(self, k: int, a: int, b: int) -> tuple[int, int] | str:
        """What an argument is that members k and k + 1 read as a and b: an orbit, and how many members it lies back."""
        if a == b:
            return FIXED
        if self.shift.after.get(a) != b:
            return GIVEN
        o, position = self.place[a]
        return o, k - position

    def steps(self) -> Steps:
        """The instructions with what they read, cut into steps at the best place."""
        self._cut()
        rows = sorted(self.rows, key=self._in_middle)
        number = {o: i for i, o in enumerate(rows)}
        base = min(self.offset[o] for o in rows)
        count = max(self.offset[o] + len(self.orbits[o]) for o in rows) - base
        table = np.full((len(rows), count), -1)
        reads, kinds = [], []
        for i, o in enumerate(rows):
            own, first = self.orbits[o], self.offset[o] - base
            table[i, first:first + len(own)] = own
            reads.append(np.full((len(self.kinds[o]), count), -1))
            reads[-1][:, first:first + len(own)] = np.array([self.arguments(o, k) for k in range(len(own))]).T
            kinds.append([State(number[kind[0]], self._lag(o, kind)) if isinstance(kind, tuple) else kind
                          for kind in self.kinds[o]])
        return Steps(self.graph, table, reads, kinds, self.middle - base)

    def _lag(self, o: int, kind: tuple[int, int]) -> int:
        """How many steps before an instruction another one ran whose result it reads."""
        return self.offset[o] - self.offset[kind[0]] + kind[1]

    def _cut(self) -> None:
        """Let the first instructions belong to the step before, as many as hand on the fewest numbers."""
        number = {o: i for i, o in enumerate(self.rows)}
        edges = [(number[o], number[kind[0]], self._lag(o, kind)) for o in self.rows for kind in self.kinds[o]
                 if isinstance(kind, tuple)]
        if not edges:
            return
        reader, read, lag = np.array(sorted(edges, key=lambda e: e[1])).T
        rows, starts = np.unique(read, return_index=True)
        sizes = np.array([self.graph.order[self.orbits[self.rows[i]][0]].size for i in rows])
        cuts = np.unique(np.linspace(0, len(self.rows) - 1, MOST_CUTS).astype(int)).tolist()
        handed = [int(np.maximum.reduceat(lag - (reader < cut) + (read < cut), starts) @ sizes) for cut in cuts]
        for o in self.rows[:cuts[int(np.argmin(handed))]]:
            self.offset[o] -= 1


def _narrow(steps: Steps) -> bool:
    """Find the run of steps around the middle that are alike; False where it is short or its arguments circular."""
    lags = [k.lag for kinds in steps.kinds for k in kinds if isinstance(k, State)]
    if min(lags, default=0) < 0 or max(lags, default=0) > MOST_LAG or not any(lags):
        return False
    _shorten(steps, _differences(steps), 0, steps.table.shape[1] - 1)
    for _ in range(MOST_ROUNDS):
        wrong = [*_nearly_fixed(steps), *_circular(steps), *_unclear(steps)]
        if not wrong or steps.count < 1:
            break
        _shorten(steps, [(t + 1, t) for t in wrong], steps.first, steps.last)
    return not wrong and steps.count > 1


def _shorten(steps: Steps, bounds: Sequence[tuple[int, int]], first: int, last: int) -> None:
    """The run around the middle that begins at `start` or later, or ends before `t`, for all (start, t) of `bounds`."""
    steps.first = max([start for start, t in bounds if t <= steps.middle], default=first)
    steps.last = min([t - 1 for _, t in bounds if t > steps.middle], default=last)
    steps.first, steps.last = max(steps.first, first), min(steps.last, last)


def _differences(steps: Steps) -> list[tuple[int, int]]:
    """Where a step lacks an instruction, or reads something else than a state: a run that has step t starts after it
    so that this is before its first step."""
    bounds = []
    for own, reads, kinds in zip(steps.table, steps.reads, steps.kinds):
        bounds += [(t + 1, t) for t in np.flatnonzero(own < 0).tolist()]
        for column, kind in zip(reads, kinds):
            if isinstance(kind, State):
                expected = np.full(len(own), -2)
                expected[kind.lag:] = steps.table[kind.row, :len(own) - kind.lag]
                bounds += [(t - kind.lag + 1, t) for t in np.flatnonzero((column != expected) & (own >= 0)).tolist()]
    return bounds


def _nearly_fixed(steps: Steps) -> list[int]:
    """The few first and last steps in which a fixed argument is another one; elsewhere it becomes a given one."""
    wrong: set[int] = set()
    for reads, kinds in zip(steps.reads, steps.kinds):
        for s, kind in enumerate(kinds):
            if kind == FIXED:
                other = np.flatnonzero(reads[s, steps.first:steps.last + 1] != reads[s, steps.middle]) + steps.first
                inner = (other >= steps.first + ENDS) & (other <= steps.last - ENDS)
                if inner.any():
                    kinds[s] = GIVEN
                else:
                    wrong.update(other.tolist())
    return sorted(wrong)


def _circular(steps: Steps) -> list[int]:
    """The steps whose given arguments, fixed arguments or first states hang on the run itself."""
    below = steps.graph.reached(steps.members())
    wrong: set[int] = set()
    for reads, kinds in zip(steps.reads, steps.kinds):
        for column, kind in zip(reads, kinds):
            if kind == FIXED:
                wrong.update(_hangs_on(steps, int(column[steps.middle]), below))
                continue
            end = steps.last + 1 if kind == GIVEN else min(steps.first + kind.lag, steps.last + 1)
            ts = np.arange(steps.first, end)
            wrong.update(ts[below[column[ts]]].tolist())
    return sorted(wrong)


def _hangs_on(steps: Steps, node: int, below: np.ndarray) -> set[int]:
    """The steps of the run that a node hangs on."""
    stack, seen = [node] if below[node] else [], set()
    while stack:
        k = stack.pop()
        if k not in seen:
            seen.add(k)
            stack += [a for a in steps.graph.args[k] if below[a]]
    run = steps.table[:, steps.first:steps.last + 1]
    return set((np.flatnonzero(np.isin(run, list(seen)).any(axis=0)) + steps.first).tolist()) if seen else set()


def _unclear(steps: Steps) -> list[int]:
    """The first step, where what stands for a state before it is not one node of the state's shape."""
    for row, lag in enumerate(steps.lags):
        like = steps.graph.order[steps.table[row, steps.middle]]
        for back in range(1, lag + 1):
            found = steps.start(row, back)
            if len(found) != 1 or steps.graph.order[found.pop()].shape != like.shape:
                return [steps.first]
    return []
