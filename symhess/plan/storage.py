"""Where temporaries live: one workspace, places reused once their array has been read for the last time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from symhess.plan.loops import Block, Interleave, Load, Store, Target
from symhess.plan.nested import NestedCall
from symhess.plan.steps import Fill, LibraryCall, Mirror, ScalarBlock

#: temporaries begin at multiples of this many bytes
ALIGNMENT = 64
#: a free place may be this many times larger than what is put there
SLACK = 2


class Place(NamedTuple):
    """An offset into the workspace, and the number of the place: arrays of one place share memory."""

    offset: int
    number: int


class Storage(NamedTuple):
    """The places of all temporaries, the bytes they take together, and how many different ones there are."""

    places: dict[str, Place]
    size: int
    count: int


def touched(item: object) -> Iterator[str]:
    """The names of the arrays that one item of the kernel body reads or writes."""
    if isinstance(item, Block):
        for inner in statements(item):
            yield from touched(inner)
    elif isinstance(item, (Load, Store)):
        yield item.array
    elif isinstance(item, Interleave):
        yield from (item.array, *item.sources)
    elif isinstance(item, (Fill, Mirror)):
        yield item.target.name
    elif isinstance(item, (LibraryCall, ScalarBlock)):
        yield item.target.name
        yield from item.sources
        if item.scratch is not None:
            yield item.scratch.name
        if isinstance(item, NestedCall):
            yield from (t.name for t in item.buffers)


def statements(block: Block) -> Iterator[object]:
    """All statements inside a block, those of inner loops included."""
    stack = [iter(block.body)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif isinstance(item, Block):
            stack.append(iter(item.body))
        else:
            yield item


def allocate(root: Block, temporaries: Sequence[Target]) -> Storage:
    """Places in the order of first use, by the smallest free place that is large enough."""
    needs = {t.name: -(-math.prod(t.shape) * t.dtype.itemsize // ALIGNMENT) * ALIGNMENT for t in temporaries}
    last = {name: k for k, item in enumerate(root.body) for name in touched(item) if name in needs}
    places: dict[str, Place] = {}
    free: list[tuple[int, Place]] = []
    end = count = 0
    for k, item in enumerate(root.body):
        here = [name for name in dict.fromkeys(touched(item)) if name in needs]
        for name in here:
            if name in places:
                continue
            fitting = [f for f in free if needs[name] <= f[0] <= SLACK * needs[name]]
            if fitting:
                best = min(fitting)
                free.remove(best)
                places[name] = best[1]
            else:
                places[name] = Place(end, count)
                end, count = end + needs[name], count + 1
        free += [(needs[name], places[name]) for name in here if last[name] == k]
    return Storage(places, end, count)
