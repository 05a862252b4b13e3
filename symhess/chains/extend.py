"""More steps at the ends of a run, where the walk from step to step does not see all of them.

At the end, the walk back from one node leaves out what the last step makes beside it. At the beginning, what a step
does to the first states may have been simplified: an element of `p[:2]` is an element of p. The very last step may lack
what nobody reads, as the speed after it where a cost hangs on the place alone; the loop makes it, and nobody reads it.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from symhess.chains.shift import alike
from symhess.chains.steps import FIXED, GIVEN, MOST_LAG, State, Steps
from symhess.graph.node import Node
from symhess.primitives.rebuild import rebuild


def extend(steps: Steps) -> None:
    """Add step after step, as long as the graph has all nodes of it."""
    readers = defaultdict(list)
    first = int(steps.table[:, max(steps.last - MOST_LAG, 0)].clip(0).min())
    for k, args in enumerate(steps.graph.args[first:], first):
        for a in args:
            readers[a].append(k)
    below = steps.graph.reached(steps.members())
    while _has_next(steps, readers, below, 0):
        steps.last += 1
    if _has_next(steps, readers, below, 2 * len(steps.kinds) // 3):
        steps.last += 1


def _has_next(steps: Steps, readers: dict[int, list[int]], below: np.ndarray, most: int) -> bool:
    """True if there is one more step, which lacks at most so many instructions; it is then in the table."""
    t = steps.last + 1
    if t == steps.table.shape[1]:
        steps.table = np.pad(steps.table, ((0, 0), (0, 1)), constant_values=-1)
        steps.reads = [np.pad(r, ((0, 0), (0, 1)), constant_values=-1) for r in steps.reads]
    for i, kinds in enumerate(steps.kinds):
        wanted = [int(steps.table[k.row, t - k.lag]) if isinstance(k, State) else
                  int(steps.reads[i][s, steps.last]) if k == FIXED else None for s, k in enumerate(kinds)]
        found = None if -1 in wanted else _reader(steps, int(steps.table[i, steps.last]), wanted, readers, below)
        if found is None:
            most -= 1
            if most < 0 or GIVEN in kinds:
                return False
            found = -1, tuple(-1 if w is None else w for w in wanted)
        steps.table[i, t], steps.reads[i][:, t] = found
    return True


def _reader(steps: Steps, like: int, wanted: list[int | None], readers: dict[int, list[int]],
            below: np.ndarray) -> tuple[int, tuple[int, ...]] | None:
    """A node that does the same as `like` and reads what is wanted: its number and arguments, in the order wanted."""
    graph = steps.graph
    source = next((w for w in wanted if w is not None and below[w]), None)
    for k in readers[source] if source is not None else ():
        args = graph.args[k]
        if alike(graph.order[like], graph.order[k]):
            for given in (args, args[::-1]) if len(args) == 2 and graph.order[k].op.name in ("add", "mul") else (args,):
                if all(a == w if w is not None else not below[a] for a, w in zip(given, wanted)):
                    return k, given
    return None


def prepend(steps: Steps) -> None:
    """Add step after step before the first one, as long as it makes what the graph has."""
    number = {node: k for k, node in enumerate(steps.graph.order)}
    while steps.first and _has_previous(steps, number):
        steps.first -= 1


def _has_previous(steps: Steps, number: dict[Node, int]) -> bool:
    """True if the step before the first one, done anew, gives the nodes that are there."""
    t, order, made = steps.first - 1, steps.graph.order, []
    reads = [r[:, t].copy() for r in steps.reads]
    for i, kinds in enumerate(steps.kinds):
        there = int(steps.table[i, t])
        args = [_before(steps, kind, made, reads[i], s, i, t) for s, kind in enumerate(kinds)]
        if any(k is None or (there >= 0 and k != reads[i][s]) for s, k in enumerate(args)):
            return False
        like = order[steps.table[i, steps.middle]]
        again = there if there >= 0 else number.get(rebuild(like, [order[k] for k in args]))
        if again is None or order[again].shape != like.shape:
            return False
        reads[i][:] = args
        made.append(again)
    later = [steps.start(row, 1) for row, lag in enumerate(steps.lags) if lag]
    if any(found != {k} for found, k in zip(later, [k for k, lag in zip(made, steps.lags) if lag])):
        return False
    below = steps.graph.reached([k for k in steps.table[:, t:steps.last + 1].ravel().tolist() if k >= 0])
    if any(below[k] for r, kinds in zip(reads, steps.kinds) for k, kind in zip(r.tolist(), kinds)
           if not isinstance(kind, State) or kind.lag):
        return False
    for own, new in zip(steps.reads, reads):
        own[:, t] = new
    return True


def _before(steps: Steps, kind: State | str, made: list[int], reads: np.ndarray, s: int, i: int, t: int) -> int | None:
    """What argument s of instruction i is in step t, as far as it is known."""
    if kind == FIXED:
        return int(steps.reads[i][s, steps.middle])
    if kind == GIVEN:
        return int(reads[s]) if reads[s] >= 0 else None
    if not kind.lag:
        return made[kind.row]
    found = {int(r[j, t - kind.lag + k.lag]) for r, kinds in zip(steps.reads, steps.kinds) for j, k in enumerate(kinds)
             if isinstance(k, State) and k.row == kind.row and k.lag >= kind.lag and t - kind.lag + k.lag <= steps.last}
    found -= {-1}
    return found.pop() if len(found) == 1 else None
