"""Chains become loops: what every step repeats is written down once, and the states go from step to step.

    x = p[0]                                            (x,), rows = loop(step, (p[0],), given)
    for t in range(1000):                 --->
        x = x + h * f(x, u[t])                          with given = stack(u[0], ..., u[999])

Only what the states need is in the loop. What a step reads that does not hang on a state is stacked before it, what is
made of the states elsewhere is computed from their rows after it: both are left for `simplify.reroll`, which turns
them into array operations.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from symhess.chains.extend import extend, prepend
from symhess.chains.shift import Shift, alike
from symhess.chains.spine import (
    LEAST_REPEATS,
    Numbered,
    Period,
    distance_codes,
    fine_codes,
    operations,
    periods,
    plain_codes,
    spine,
)
from symhess.chains.steps import FIXED, GIVEN, State, Steps, steps_of
from symhess.graph.maps import ravel_maps
from symhess.graph.node import CONSTANT, Node, bodies, constant, input_node, topological
from symhess.loops.looping import looped
from symhess.primitives import INDEX, cast, concatenate, index
from symhess.primitives.control import Loop, Output, Phase
from symhess.primitives.rebuild import rebuild, substituted
from symhess.simplify import reroll, with_bodies
from symhess.simplify.classes import LEAST
from symhess.simplify.reroll import MOST_ELEMENTS
from symhess.simplify.stacking import pick, stack_nodes, stacked_maps

#: fewer steps, or fewer operations in all steps together, run faster as straight-line code
LEAST_STEPS, LEAST_OPERATIONS = 16, 200
#: from so many steps, whatever they do, numbers that hang on them one by one are many
MANY_STEPS = 64
#: of steps with so many operations a few are enough: a cell of a recurrent network, say
MANY_OPERATIONS, FEW_STEPS = 100, 5
#: an operation on an array counts as so many on numbers
ARRAY_WEIGHT = 8
#: periods that are tried, and chains that are rolled in one graph
MOST_PERIODS, MOST_CHAINS = 3, 24
#: what a step is given is stacked from at most so many arrays
MOST_RUNS = 8
#: a chain that covers this share of all is taken at once
ENOUGH = 0.8
#: so many nodes, and such a share of all, are much for what is left
MUCH, MUCH_SHARE = 400, 0.3
#: more elements than this are not handed on from step to step
MOST_STATE = 1 << 16


class Rolled(NamedTuple):
    """The same functions with chains as loops, and what was found, in words."""

    outputs: list[Node]
    told: list[str]


def rerolled(outputs: Sequence[Node], inputs: Sequence[Node]) -> Rolled:
    """The functions with Python loops turned back: loops over elements into arrays, chains into loops, also in bodies.

    Elements come first, so that a chain of loops over elements is a chain of arrays; what chains leave outside follows.
    Where that leaves much, as elements at a boundary are told apart from others, more of them with every step, chains
    come first, and the elements of one step become arrays in the body of the loop.
    """
    told: list[str] = []

    def simplified(expressions: list[Node], given: list[Node]) -> list[Node]:
        found = rolled(reroll(expressions, given))
        found = found._replace(outputs=reroll(found.outputs, given))
        after = _size(found.outputs)
        if after > MUCH and after > MUCH_SHARE * _size(expressions):
            other = rolled(expressions)
            other = other._replace(outputs=reroll(other.outputs, given))
            found = other if _size(other.outputs) < MUCH_SHARE * after else found
        told.extend(found.told)
        return found.outputs

    made = with_bodies(simplified(list(outputs), list(inputs)), simplified)
    return Rolled(made, list(dict.fromkeys(told)))


def _size(outputs: Sequence[Node]) -> int:
    """How many nodes there are, those in bodies included."""
    return sum(1 + sum(len(body.nodes()) for _, body in bodies(n)) for n in topological(outputs))


def rolled(outputs: Sequence[Node]) -> Rolled:
    """The functions with chains of enough equal steps turned into loops, one after the other."""
    outputs, told = list(outputs), []
    for _ in range(MOST_CHAINS):
        graph = Numbered.of(outputs)
        steps = chain_in(graph)
        if steps is None:
            break
        extend(steps)
        prepend(steps)
        words = f"{steps.count} equal steps of {len(steps.table)} operations"
        if not _worth(steps):
            told.append(f"straight-line code: a chain of {words} is short, so it is not rolled into a loop")
            break
        made = _Rolling(steps)
        outputs = substituted(outputs, made.replaced)
        told.append(f"rolled into a loop: a chain of {words}, which hands on {made.handed} numbers")
    return Rolled(outputs, told)


def _worth(steps: Steps) -> bool:
    """True where straight-line code would be long: operations on arrays make more of it than those on numbers."""
    weight = sum(ARRAY_WEIGHT if steps.graph.order[own[steps.middle]].ndim else 1 for own in steps.table)
    least = FEW_STEPS if weight >= MANY_OPERATIONS and _light(steps) else LEAST_STEPS
    if steps.count >= MANY_STEPS or (steps.count >= least and steps.count * weight >= LEAST_OPERATIONS):
        return True
    return steps.count >= LEAST_STEPS and _elements(steps) >= steps.count


def _elements(steps: Steps) -> int:
    """How many elements of inputs the steps are given; where each has its own, second derivatives are for all pairs."""
    graph = steps.graph
    stack = [k for reads, kinds in zip(steps.reads, steps.kinds) for column, kind in zip(reads, kinds) if kind == GIVEN
             for k in column[steps.first:steps.last + 1].tolist()]
    seen = set(stack)
    found: dict[Node, set[int]] = {}
    while stack:
        k = stack.pop()
        node = graph.order[k]
        source = node.args[0] if node.op is INDEX else node
        if not source.args and source.op is not CONSTANT:
            at = ravel_maps(node.attrs.maps, source.shape, node.shape).compact if node.op is INDEX else range(node.size)
            found.setdefault(source, set()).update(np.ravel(at).tolist())
        else:
            more = set(graph.args[k]) - seen
            seen |= more
            stack += more
    return sum(map(len, found.values()))


def _light(steps: Steps) -> bool:
    """True if no array that differs from step to step is large: calls for such arrays are not long to compile, and to
    stack them takes time."""
    given = [reads[s, steps.middle] for reads, kinds in zip(steps.reads, steps.kinds)
             for s, kind in enumerate(kinds) if kind == GIVEN]
    return all(steps.graph.order[k].size <= MOST_ELEMENTS for k in [*steps.table[:, steps.middle], *given])


def chain_in(graph: Numbered) -> Steps | None:
    """The longest chain of a graph, also where it is too short; None if nothing repeats.

    It is looked for among all nodes in the order in which they were made, and if that finds little, since what was
    shared or made anew is out of order, along the deepest path.
    """
    path = spine(graph)
    if len(path) < LEAST_REPEATS:
        return None
    best, covered = None, 0.0
    for sequence, codes, width in ((operations(graph), distance_codes, 0), (path, fine_codes, 1)):
        for p, at in _seeds(periods(codes(graph, sequence), plain_codes(graph, sequence))):
            moving = graph.reached(sequence[p.first:p.first + (width or p.lag)])
            seeds = np.stack([sequence[at - 2 * p.lag + 1:at - p.lag + 1], sequence[at - p.lag + 1:at + 1]], axis=1)
            steps = _followed(graph, moving, seeds[-1:] if width else seeds)
            if steps is not None and (best is None or _value(steps) > _value(best)):
                best, covered = _divided(steps, moving), steps.count * p.lag / len(sequence)
            if covered >= ENOUGH:
                return best
    return best


def _followed(graph: Numbered, moving: np.ndarray, seeds: np.ndarray) -> Steps | None:
    """The steps of the chain in which the second of each pair does, one step later, what the first one does."""
    steps = steps_of(graph, Shift(graph, moving, list(map(tuple, seeds.tolist()))))
    return steps if steps is not None and sum(_sizes(steps)) <= MOST_STATE else None


def _operations(steps: Steps) -> int:
    return steps.count * len(steps.table)


def _value(steps: Steps) -> tuple[bool, int]:
    """What a chain is chosen by."""
    return _worth(steps), _operations(steps)


def _divided(steps: Steps, moving: np.ndarray) -> Steps:
    """Shorter steps where a step is several of them: the deepest path may pass from state to state, step by step."""
    graph, last = steps.graph, steps.table[:, steps.last].tolist()
    kinds = Counter((n.op.name, n.shape) for n in (graph.order[k] for k in last))
    times = math.gcd(*kinds.values())
    for parts in (k for k in range(times, 1, -1) if times % k == 0):
        u, w = last[-1 - len(last) // parts], last[-1]
        found = _followed(graph, moving, np.array([(u, w)])) if alike(graph.order[u], graph.order[w]) else None
        if found is not None and found.count > steps.count and _operations(found) >= ENOUGH * _operations(steps):
            return found
    return steps


def _seeds(found: Sequence[Period]) -> Iterator[tuple[Period, int]]:
    """Periods, and places in the sequence from which the chain is followed back: its end, or somewhat before."""
    for p in found[:MOST_PERIODS]:
        for steps in (0, 2):
            if p.covered > (steps + 3) * p.lag:
                yield p, p.last - steps * p.lag


def _sizes(steps: Steps) -> list[int]:
    """How many numbers of each instruction are handed on."""
    return [lag * steps.graph.order[own[steps.middle]].size for own, lag in zip(steps.table, steps.lags)]


class _Rolling:
    """Makes the loop of some steps; `replaced` says what stands for the nodes that others read.

    States are told by (row, lag). Many numbers are handed on as one vector, so that loops over them in the body can
    become arrays again.
    """

    def __init__(self, steps: Steps):
        self.steps, self.order = steps, steps.graph.order
        self.values: dict[Node, Node] = {}
        self.fixed: dict[int, Node] = {}
        self.given: dict[bytes, Node] = {}
        self.handed = sum(_sizes(steps))
        self.groups = self._groups()
        self.slots = [self._slot_of(group) for group in self.groups]
        self.body = self._body()
        self.replaced = self._replaced()

    def _groups(self) -> list[list[tuple[int, int]]]:
        """The states in the order in which they are handed on, those together that share a slot."""
        states = [(row, lag) for row, most in enumerate(self.steps.lags) for lag in range(1, most + 1)]
        kinds: dict[tuple, list[tuple[int, int]]] = {}
        for row, lag in states:
            like = self.order[self.steps.table[row, self.steps.middle]]
            kinds.setdefault((lag, like.dtype) if like.ndim == 0 else (row, lag), []).append((row, lag))
        return [part for group in kinds.values() for part in ([group] if len(group) >= LEAST else [[s] for s in group])]

    def _slot_of(self, group: list[tuple[int, int]]) -> Node:
        """The slot of some states; notes what they are before the first step."""
        starts = []
        for row, lag in group:
            (k,) = self.steps.start(row, lag)
            starts.append(cast(self.order[k], self.order[self.steps.table[row, self.steps.middle]].dtype))
        first = starts[0] if len(group) == 1 else stacked(starts)
        slot = input_node("carry", first.shape, first.dtype)
        self.values[slot] = first
        return slot

    def _state(self, row: int, lag: int, slots: Sequence[Node]) -> Node:
        """A state in the slots, or in what stands for them."""
        for slot, group in zip(slots, self.groups):
            if (row, lag) in group:
                return slot if len(group) == 1 else pick(slot, group.index((row, lag)))
        raise KeyError((row, lag))

    def _slot(self, name: str, k: int) -> Node:
        return input_node(name, self.order[k].shape, self.order[k].dtype)

    def _body(self) -> list[Node]:
        """The expression of each instruction."""
        steps, made = self.steps, []
        for own, reads, kinds in zip(steps.table, steps.reads, steps.kinds):
            args = [self._argument(column, kind, made) for column, kind in zip(reads, kinds)]
            made.append(rebuild(self.order[own[steps.middle]], args))
        return made

    def _argument(self, column: np.ndarray, kind: State | str, made: list[Node]) -> Node:
        """What stands for an argument in the body."""
        if isinstance(kind, State):
            return self._state(*kind, self.slots) if kind.lag else made[kind.row]
        k = int(column[self.steps.middle])
        if kind == FIXED:
            if self.order[k].op is CONSTANT:
                return self.order[k]
            if k not in self.fixed:
                self.fixed[k] = self._slot("const", k)
                self.values[self.fixed[k]] = self.order[k]
            return self.fixed[k]
        given = column[self.steps.first:self.steps.last + 1]
        if given.tobytes() not in self.given:
            slot = self.given[given.tobytes()] = self._slot("given", k)
            self.values[slot] = stacked([self.order[i] for i in given.tolist()])
        return self.given[given.tobytes()]

    def _phase(self, left: Sequence[int]) -> Phase:
        """The step, which leaves some of its results behind."""
        new = []
        for group in self.groups:
            parts = [self.body[row] if lag == 1 else self._state(row, lag - 1, self.slots) for row, lag in group]
            new.append(parts[0] if len(parts) == 1 else stack_nodes(parts))
        return Phase(False, tuple(self.slots), tuple(new), tuple(self.body[i] for i in left))

    def _replaced(self) -> dict[Node, Node]:
        """The loop's results in place of the nodes that are read outside of it."""
        steps, read = self.steps, self._read_outside()
        last = [i for i in np.flatnonzero(read[:, -1]).tolist() if steps.lags[i] and not read[i, :-1].any()]
        left = [i for i in np.flatnonzero(read.any(axis=1)).tolist() if i not in last]
        finals = [k for k, group in enumerate(self.groups) if any((i, 1) in group for i in last)]
        outputs = (*(Output(0, k) for k in finals), *(Output(0, r, True) for r in range(len(left))))
        loop = Loop(steps.count, None, tuple(self.fixed.values()), tuple(self.given.values()), (self._phase(left),),
                    outputs)
        made = looped(loop, self.values)
        ends = dict(zip(finals, made))
        run = steps.table[:, steps.first:steps.last + 1]
        whole = [ends.get(k, slot) for k, slot in enumerate(self.slots)]
        replaced = {self.order[run[i, -1]]: self._state(i, 1, whole) for i in last}
        for i, rows in zip(left, made[len(finals):]):
            replaced |= {self.order[run[i, t]]: pick(rows, t) for t in np.flatnonzero(read[i]).tolist()}
        return replaced

    def _read_outside(self) -> np.ndarray:
        """For each instruction and step whether its result is read outside of the loop."""
        steps, graph = self.steps, self.steps.graph
        inside = np.zeros(len(self.order), bool)
        inside[steps.members()] = True
        read = np.zeros(len(self.order), bool)
        read[graph.outputs] = True
        read[[a for k in np.flatnonzero(~inside).tolist() for a in graph.args[k]]] = True
        run = steps.table[:, steps.first:steps.last + 1]
        return read[run] & (run >= 0)


def stacked(nodes: Sequence[Node]) -> Node:
    """Nodes of one shape along a new leading axis: constants as one, elements of one array as one gather from it."""
    runs = [list(run) for _, run in groupby(nodes, key=_source)]
    if len(runs) == 1 or len(runs) > MOST_RUNS:
        return _stacked_run(nodes)
    return concatenate([_stacked_run(run) for run in runs], 0)


def _source(n: Node) -> object:
    """What nodes have in common that can be stacked without stacking them one by one."""
    return n.args[0] if n.op is INDEX else n.op is CONSTANT


def _stacked_run(nodes: Sequence[Node]) -> Node:
    first = nodes[0]
    if all(n.op is CONSTANT for n in nodes):
        return constant(np.stack([n.attrs.array for n in nodes]))
    if all(n.op is INDEX and n.args[0] is first.args[0] for n in nodes):
        return index(first.args[0], stacked_maps([n.attrs.maps for n in nodes], first.shape),
                     (len(nodes), *first.shape))
    return stack_nodes(nodes)
