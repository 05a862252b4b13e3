"""Numbers that meet in one place: which iterations add to each of a set of places, found when the plan is made.

    out[table[e]] += v(e)      becomes      for each s: for first[s] <= k < first[s + 1]: sum += v(order[k])
                                                        out[place[s]] += sum

So sums are added up in one order, by nobody else, and repeat bit for bit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from symhess.graph.maps import IndexMap, all_different, table_map
from symhess.plan.filling import is_marked, mark
from symhess.plan.loops import StoreItem

Shape = tuple[int, ...]
#: iterations that are sorted by their places; beyond, additions stay atomic
MOST = 1 << 24


@dataclass(frozen=True, eq=False)
class Segments:
    """The iterations of a box, counted in row-major order: those of segment s are order[first[s]:first[s + 1]]."""

    order: np.ndarray
    first: np.ndarray

    def place(self, position: IndexMap, box: Shape) -> IndexMap:
        """Where each segment adds to."""
        places = np.broadcast_to(position.compact, box).ravel()[self.order[self.first[:-1]]]
        return table_map(places, places.shape)


@dataclass(eq=False)
class Meeting:
    """Items that can be added up by the same segments."""

    segments: Segments
    items: list[StoreItem]


def apart(box: Shape, items: Sequence[StoreItem]) -> tuple[list[list[StoreItem]], list[Meeting], list[StoreItem]]:
    """Items that add, in groups whose places are all different; those whose own places meet; and what is too large."""
    single: list[StoreItem] = []
    meetings: dict[bytes, Meeting] = {}
    large: list[StoreItem] = []
    for item in items:
        if item.position.is_injective() or all_different(item.position.compact):
            single.append(item)
        elif math.prod(box) > MOST:
            large.append(item)
        else:
            label = labels(item.position, box)
            key = hashlib.blake2b(label, digest_size=16).digest()
            if key not in meetings:
                meetings[key] = Meeting(segments_of(label), [])
            meetings[key].items.append(item)
    found = [Meeting(m.segments, group) for m in meetings.values()
             for group in without_sharing(m.items, lambda i, m=m: m.segments.place(i.position, box))]
    return without_sharing(single, lambda i: i.position), found, large


def labels(position: IndexMap, box: Shape) -> np.ndarray:
    """For each iteration the number of its place, in the order in which they are first met."""
    _, at, inverse = np.unique(position.compact, return_index=True, return_inverse=True)
    rank = np.empty(len(at), np.int64)
    rank[np.argsort(at)] = np.arange(len(at))
    return np.ascontiguousarray(np.broadcast_to(rank[inverse].reshape(position.compact.shape), box)).ravel()


def segments_of(label: np.ndarray) -> Segments:
    """The segments of equal labels."""
    first = np.concatenate([[0], np.cumsum(np.bincount(label))])
    return Segments(np.argsort(label, kind="stable"), first)


def pieces(first: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Segments in pieces of that length at most: where pieces begin, and the first of each segment, and the ends."""
    counts = -(-np.diff(first) // length)
    owners = np.concatenate([[0], np.cumsum(counts)])
    within = np.arange(owners[-1]) - np.repeat(owners[:-1], counts)
    return np.concatenate([np.repeat(first[:-1], counts) + length * within, first[-1:]]), owners


def without_sharing(items: Iterable[StoreItem], position: Callable[[StoreItem], IndexMap]) -> list[list[StoreItem]]:
    """Groups of items of which no two go to one place of an array."""
    groups: list[tuple[dict[str, np.ndarray], list[StoreItem]]] = []
    for item in items:
        mine, (name, shape, _) = position(item), item.target
        free = (g for g in groups if name not in g[0] or not is_marked(g[0][name], mine))
        taken, members = next(free, ({}, []))
        if not members:
            groups.append((taken, members))
        mark(taken.setdefault(name, np.zeros(math.prod(shape), bool)), mine, True)
        members.append(item)
    return [members for _, members in groups]
