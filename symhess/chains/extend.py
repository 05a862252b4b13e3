"""More steps at the end of a run: the walk back from one node leaves out what the last step makes beside it."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from symhess.chains.shift import alike
from symhess.chains.steps import FIXED, MOST_LAG, State, Steps


def extend(steps: Steps) -> None:
    """Add step after step, as long as the graph has all nodes of it."""
    readers = defaultdict(list)
    first = int(steps.table[:, max(steps.last - MOST_LAG, 0)].clip(0).min())
    for k, args in enumerate(steps.graph.args[first:], first):
        for a in args:
            readers[a].append(k)
    below = steps.graph.reached(steps.members())
    while _has_next(steps, readers, below):
        steps.last += 1


def _has_next(steps: Steps, readers: dict[int, list[int]], below: np.ndarray) -> bool:
    """True if there is one more step; it is then in the table."""
    t = steps.last + 1
    if t == steps.table.shape[1]:
        steps.table = np.pad(steps.table, ((0, 0), (0, 1)), constant_values=-1)
        steps.reads = [np.pad(r, ((0, 0), (0, 1)), constant_values=-1) for r in steps.reads]
    for i, kinds in enumerate(steps.kinds):
        wanted = [int(steps.table[k.row, t - k.lag]) if isinstance(k, State) else
                  int(steps.reads[i][s, steps.last]) if k == FIXED else None for s, k in enumerate(kinds)]
        found = _reader(steps, int(steps.table[i, steps.last]), wanted, readers, below)
        if found is None:
            return False
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
