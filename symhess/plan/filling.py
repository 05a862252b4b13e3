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

from symhess.graph.maps import IndexMap, constant_map, table_map
from symhess.graph.node import Node
from symhess.plan.boxes import has_scatter, terms_of_sum
from symhess.plan.collecting import collected
from symhess.plan.program import Buffer, Write
from symhess.primitives import apply, index, zeros

Shape = tuple[int, ...]

#: a buffer is cleared as a whole, unless fewer than one in so many elements have to be
CLEARED_SHARE = 8
#: maps with this share of the places or more are told to be injective by the number of marks that they leave
COUNTED = 16
#: rows that are looked at together
BAND = 256
#: buffers of more elements are written in loops (on a GPU, where loops clear and mirror in passes of their own, of
#: more), and so is what more numbers are scattered to
MOST_ELEMENTS, MOST_OF_THREAD, MOST_MEETING = 64, 144, 8


def filled(shape: Shape, dtype: np.dtype, writes: Sequence[Write | tuple[Write, ...]], mirror: str = "") -> Buffer:
    """The buffer that holds the sum of all writes; with `mirror`, in that triangle.

    Writes in a tuple, as those of an entry and of its mirror image, all assign or all add: in one order for both.
    """
    written = np.zeros(math.prod(shape), dtype=bool)
    assigning, adding = [], []
    for group in sorted(summed(collected(summed(writes))), key=lambda group: -group[0].value.size):
        if _taken(written, [w.position for w in group]):
            assigning += group
        else:
            adding += [replace(w, accumulate=True) for w in group]
    places = _missing(written.reshape(shape), mirror)
    zero = len(places) * CLEARED_SHARE > len(written)
    if len(places) and not zero:
        assigning.append(Write(zeros(places.shape, dtype), table_map(places, places.shape)))
    return Buffer(tuple(shape), dtype, (*assigning, *adding), zero, mirror)


def _taken(marks: np.ndarray, positions: Sequence[IndexMap]) -> bool:
    """Mark the places of some maps in a flat array; False, and nothing is done, if one is marked or a map has it twice.
    """
    if any(is_marked(marks, p) for p in positions):
        return False
    first = positions[0]
    if len(positions) == 1 and not first.is_affine and math.prod(first.shape) * COUNTED >= len(marks):
        before = np.count_nonzero(marks)
        mark(marks, first, True)
        once = np.count_nonzero(marks) - before == math.prod(first.shape)
        if not once:
            mark(marks, first, False)
        return once
    if not all(p.is_injective() for p in positions):
        return False
    for p in positions:
        mark(marks, p, True)
    return True


def is_marked(marks: np.ndarray, position: IndexMap) -> bool:
    """True if a place of the map is marked in a flat array."""
    seen = position.views_of(marks)
    return any(v.any() for v in (seen if seen is not None else (marks[p] for p in position.parts())))


def mark(marks: np.ndarray, position: IndexMap, value: int) -> None:
    """Set the places of the map in a flat array."""
    seen = position.views_of(marks)
    if seen is None:
        for p in position.parts():
            marks[p] = value
    else:
        for v in seen:
            v[...] = value


def _missing(written: np.ndarray, mirror: str) -> np.ndarray:
    """The flat places in that triangle that are not written, looked for in bands of rows: the array may be large."""
    if not mirror or not written.size:
        return np.flatnonzero(~written)
    *lead, n, _ = written.shape
    found = []
    for first in range(0, n, BAND):
        rows = slice(first, min(first + BAND, n))
        below = np.tri(rows.stop - first, n, first - (mirror == "upper"), dtype=bool)
        wanted = below if mirror == "lower" else ~below
        at = np.nonzero(~written[..., rows, :] & wanted)
        found.append(np.ravel_multi_index((*at[:-2], at[-2] + first, at[-1]), written.shape))
    return np.sort(np.concatenate(found)) if lead else np.concatenate(found)


def summed(writes: Sequence[Write | tuple[Write, ...]]) -> list[tuple[Write, ...]]:
    """One group of writes for all that go to the same places in the same order."""
    found: dict[tuple, tuple[Write, ...]] = {}
    for group in writes:
        group = (group,) if isinstance(group, Write) else group
        key = tuple(w.position for w in group)
        twins = found.get(key)
        found[key] = group if twins is None else tuple(
            replace(w, value=apply("add", twin.value, w.value)) for twin, w in zip(twins, group))
    return list(found.values())


def element(v: Node, at: Sequence[int]) -> Node:
    """One element of an array; of a sum of scatters what goes there."""
    picked = index(v, [constant_map((), int(k)) for k in at], ())
    if not has_scatter(v):
        return picked
    total = zeros((), v.dtype)
    for t in terms_of_sum(v):
        here = [tuple(at)] if t.maps is None else np.argwhere(
            np.logical_and.reduce([m.values() == k for m, k in zip(t.maps, at)]))
        if len(here) > MOST_MEETING:
            return picked
        for e in here:
            total = apply("sub" if t.sign < 0 else "add", total, element(t.value, e))
    return total


def element_by_element(b: Buffer, most: int = MOST_ELEMENTS) -> Buffer:
    """A buffer of at most so many elements with one write for each, zeros and mirror images too; others as they are.

    In a batch all of them then share one loop over the rows, which writes every row once.
    """
    if math.prod(b.shape) > most:
        return b
    found: dict[int, Node] = {}
    for w in b.writes:
        for e in np.ndindex(w.value.shape):
            place = int(w.position.values()[e])
            value = element(w.value, e)
            found[place] = apply("add", found[place], value) if w.accumulate and place in found else value
    if b.mirror:
        n = b.shape[-1]
        sign = -1 if b.mirror == "upper" else 1
        kept = {(place // n, place % n): v for place, v in found.items() if sign * (place // n - place % n) >= 0}
        found = {p: v for (r, c), v in kept.items() for p in (n * r + c, n * c + r)}
    zero = zeros((), b.dtype)
    writes = (Write(found.get(place, zero), constant_map((), place)) for place in range(math.prod(b.shape)))
    return Buffer(b.shape, b.dtype, tuple(writes))
