"""Places that many entries are added to, as the diagonal by all pairs: summed up in an array of their own.

    out[41 i(e)] += v(e)    for many e and few i        becomes        sum[i(e)] += v(e);  out[41 i] = sum[i]

The sums lie next to each other, so that additions to a run of them are vector operations, and are written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from symhess.graph.maps import different, table_map
from symhess.graph.node import Node
from symhess.plan.program import Write
from symhess.primitives import apply, scatter

#: entries for each place on average
LEAST = 8
#: entries of a write that are looked through for their places at most: beyond, that takes longer than it saves
MOST = 1 << 20


def collected(groups: Iterable[tuple[Write, ...]]) -> list[tuple[Write, ...]]:
    """The writes, those of far more entries than places replaced by one for all that share places.

    Writes in a tuple put the same values elsewhere, too, as those of an entry and of its mirror image.
    """
    out: list[tuple[Write, ...]] = []
    found: list[tuple[np.ndarray, list[tuple[Write, ...]]]] = []
    for group in groups:
        places = crowded(group[0])
        if places is None or any(w.value is not group[0].value for w in group):
            out.append(group)
            continue
        members, apart = [group], []
        for others in found:
            if np.isin(places, others[0]).any():
                places, members = np.union1d(others[0], places), others[1] + members
            else:
                apart.append(others)
        found = [*apart, (places, members)]
    return [*out, *(_summed(places, members) for places, members in found)]


def crowded(w: Write) -> np.ndarray | None:
    """The places of a write that has far more entries than places, if these do not lie next to each other anyway."""
    if not 2 * LEAST <= w.value.size <= MOST or (w.position.is_affine and w.position.is_injective()):
        return None
    few, listed = w.value.size // LEAST, w.position.compact.ravel()
    if len(different(listed[:2 * few])) > few:  # which is sooner known than how many there are in all
        return None
    places = different(listed)
    return places if is_crowded(w.value, len(places)) and not is_gapless(places) else None


def is_crowded(value: Node, places: int) -> bool:
    """True for far more entries than places to which they are added."""
    return value.size >= LEAST * max(places, 2)


def is_gapless(places: np.ndarray) -> bool:
    """True for places, in order, that lie next to each other."""
    return len(places) == places[-1] - places[0] + 1


def _summed(places: np.ndarray, groups: Sequence[tuple[Write, ...]]) -> tuple[Write, ...]:
    """The sum of all writes, at each of the places and wherever else it goes."""
    total: Node | None = None
    targets = np.zeros((len(groups[0]), len(places)), np.int64)
    for group in groups:
        rank = np.searchsorted(places, group[0].position.values())
        targets[:, rank.ravel()] = [w.position.values().ravel() for w in group]
        part = scatter(group[0].value, (table_map(rank, rank.shape),), places.shape)
        total = part if total is None else apply("add", total, part)
    return tuple(Write(total, table_map(t, places.shape)) for t in targets)
