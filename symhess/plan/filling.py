"""How writes fill a buffer: which of them assign, which add to what is there, and what has to be cleared before.

Writes to the same places are one write of the sum, so that values meet in a register. Of writes that overlap the
largest assigns and the others add. What only adding writes reach, and what no write reaches, is cleared: element by
element where that is little, else by one fill of the whole buffer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from symhess.graph.maps import IndexMap, table_map
from symhess.plan.program import Buffer, Write
from symhess.primitives import apply, zeros

Shape = tuple[int, ...]

#: a buffer is cleared as a whole, unless fewer than one in so many elements have to be
CLEARED_SHARE = 8


def filled(shape: Shape, dtype: np.dtype, writes: Sequence[Write], mirror: bool = False) -> Buffer:
    """The buffer that holds the sum of all writes; with `mirror`, on and below the diagonal."""
    written = np.zeros(math.prod(shape), dtype=bool)
    assigning, adding = [], []
    for w in sorted(summed(writes), key=lambda w: -w.value.size):
        places = w.position.values().ravel()
        if written[places].any() or not w.position.is_injective():
            adding.append(replace(w, accumulate=True))
        else:
            written[places] = True
            assigning.append(w)
    missing = ~written
    if mirror:
        missing &= np.tri(*shape, dtype=bool).ravel()
    places = np.flatnonzero(missing)
    zero = len(places) * CLEARED_SHARE > len(written)
    if len(places) and not zero:
        assigning.append(Write(zeros(places.shape, dtype), table_map(places, places.shape)))
    return Buffer(tuple(shape), dtype, (*assigning, *adding), zero, mirror)


def summed(writes: Sequence[Write]) -> list[Write]:
    """One write for all that go to the same places in the same order."""
    found: dict[IndexMap, Write] = {}
    for w in writes:
        twin = found.get(w.position)
        found[w.position] = w if twin is None else replace(w, value=apply("add", twin.value, w.value))
    return list(found.values())
