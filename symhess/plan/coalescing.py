"""Stores that neighbouring threads make apart from each other, put together: the rows of a block of threads are stored
by all of its threads, one element after the other.

    thread p: out[16 p] = v0; ...; out[16 p + 15] = v15      becomes      row 16 p: v0, ..., v15

A GPU moves sectors of 32 bytes, and every instruction of a warp its own: one number from each of them takes four times
the traffic that it should. What is read that way comes by way of a cache and needs no such care.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from symhess.plan.grid import Grid, Kernel
from symhess.plan.loops import Store
from symhess.plan.steps import Plan

#: points from which a kernel's traffic matters
FEWEST = 256
#: bytes of a row that are stored together, and those of a sector
LONGEST, SECTOR = 128, 32


@dataclass
class Row(Store):
    """array[position + k] = source k, stored together with the rows of the other threads of a block."""

    sources: tuple[str, ...] = ()
    dtype: np.dtype = field(default_factory=lambda: np.dtype(float))


def coalesce(plan: Plan) -> None:
    """Put the stores of all kernels of a plan together."""
    dtypes = {t.name: t.dtype for t in (*plan.outputs, *plan.temporaries, *plan.rows)}
    for item in plan.root.body:
        if isinstance(item, Kernel) and not item.grid.blocks and item.grid.size >= FEWEST:
            put_together(item.grid, dtypes)


def put_together(grid: Grid, dtypes: dict[str, np.dtype]) -> None:
    """Replace stores to places in a row by a Row each, where the last one of them stood."""
    replaced: dict[int, Row | None] = {}
    order = {id(s): k for k, s in enumerate(grid.body)}
    for members in runs([s for s in grid.body if isinstance(s, Store) and s.how == "="]):
        for part in slices(members, dtypes[members[0].array]):
            row = Row(part[0].array, part[0].position, "", "=", tuple(s.operand for s in part),
                      dtypes[part[0].array])
            replaced.update(dict.fromkeys(map(id, part)))
            replaced[id(max(part, key=lambda s: order[id(s)]))] = row
    body = (replaced.get(id(s), s) for s in grid.body)
    grid.body = [s for s in body if s is not None]


def runs(stores: Sequence[Store]) -> Iterator[list[Store]]:
    """The stores whose places follow each other, several at a time, in order."""
    groups: dict[tuple, dict[int, Store]] = {}
    for s in stores:
        groups.setdefault((s.array, s.position.terms), {})[s.position.offset] = s
    for (_, terms), found in groups.items():
        run: list[Store] = []
        for offset in sorted(found) if terms else ():
            if run and offset != run[-1].position.offset + 1:
                yield from [run] if len(run) > 1 else []
                run = []
            run.append(found[offset])
        yield from [run] if len(run) > 1 else []


def slices(members: list[Store], dtype: np.dtype) -> Iterator[list[Store]]:
    """Parts of a long row: whole sectors of it, as many in each as can be."""
    count = -(-len(members) * dtype.itemsize // LONGEST)
    whole = SECTOR // dtype.itemsize
    length = len(members) if count == 1 else -(-len(members) // (count * whole)) * whole
    for first in range(0, len(members), length):
        yield members[first:first + length]

