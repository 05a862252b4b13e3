"""Tables that walk in runs, as those of the pairs i < j do: a loop over the runs around a loop of plain indices.

    for e: i = first[e]; j = second[e]        becomes        for r: for t < size(r): i = r; j = r + 1 + t

Within a run every table goes on in steps of one size, its own. So no table is read in the inner loop, which
vectorises; what does not change in a run is loaded before it, and what is added to one place is a sum in a register.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from symhess.graph.maps import IndexMap, table_map
from symhess.graph.node import Node

#: boxes of fewer entries, or with shorter runs on average, are walked entry by entry
LEAST, SHORTEST = 64, 10
#: steps of a table among which the commonest is looked for
SAMPLE = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """A partition of 0, 1, ..., n - 1: run r is starts[r], ..., starts[r] + sizes[r] - 1."""

    starts: np.ndarray
    sizes: np.ndarray

    @property
    def mean(self) -> float:
        """Entries per run."""
        return float(self.sizes.mean())

    def along(self, table: np.ndarray) -> tuple[IndexMap, int] | None:
        """(first, step) with table[starts[r] + t] = first(r) + step t, or None."""
        first = table[self.starts]
        longest = int(np.argmax(self.sizes))
        step = int(table[self.starts[longest] + 1] - first[longest])
        steps = step * (np.arange(len(table)) - np.repeat(self.starts, self.sizes))
        if (np.repeat(first, self.sizes) + steps != table).any():
            return None
        return table_map(first, first.shape), step


def common_runs(tables: Iterable[np.ndarray]) -> Runs | None:
    """The longest runs in which each of the tables keeps its commonest step; None where that is not worth it."""
    breaks: np.ndarray | None = None
    for table in tables:
        if len(table) < LEAST:
            return None
        steps = np.diff(table)
        found, counts = np.unique(steps[::len(steps) // SAMPLE + 1], return_counts=True)
        breaks = (steps != found[np.argmax(counts)]) | (False if breaks is None else breaks)
        if (np.count_nonzero(breaks) + 1) * SHORTEST > len(table):
            return None
    if breaks is None:
        return None
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    sizes = np.diff(starts, append=len(breaks) + 1)
    return Runs(starts, sizes)


def tables_of(values: Sequence[Node], positions: Sequence[IndexMap], in_memory: Callable[[Node], bool]
              ) -> Iterator[np.ndarray]:
    """The different tables along a box of one axis through which values are read and written there."""
    maps, seen, stack = list(positions), set(), list(values)
    shape = positions[0].shape
    while stack:
        v = stack.pop()
        if v in seen or in_memory(v):
            continue
        seen.add(v)
        if v.op.name == "index":
            maps += v.attrs.maps if v.shape == shape else ()
        elif v.op.family == "elementwise":
            stack += v.args
    different = dict.fromkeys(m for m in maps if m.table is not None and m.table.shape == shape)
    return (m.table for m in different)
