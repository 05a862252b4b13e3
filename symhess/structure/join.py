"""Joining index maps: all pairs of entries at which two sets of maps point at the same element.

Given rows r_a(e) over a box E and maps m_a(e') over a box E', find every pair (e, e') with r_a(e) = m_a(e') for
all a, as a new box with maps to E and to E'. Affine maps are joined by arithmetic, whatever the sizes; tables by
sorting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symhess.graph.maps import IndexMap, affine_map, axis_map, table_map

Shape = tuple[int, ...]


@dataclass
class Part:
    """The solution of one group of equations: a box with the coordinates it determines on both sides."""

    shape: Shape
    left: dict[int, IndexMap]
    right: dict[int, IndexMap]


@dataclass(frozen=True)
class Join:
    """The box of all pairs; `left[a]` gives coordinate a of E, `right[a]` coordinate a of E'."""

    shape: Shape
    left: tuple[IndexMap, ...]
    right: tuple[IndexMap, ...]


def join(rows: Sequence[IndexMap], left_shape: Shape, maps: Sequence[IndexMap], right_shape: Shape,
         sizes: Sequence[int]) -> Join | None:
    """All pairs (e, e') with rows[a](e) == maps[a](e') for every a; None if there are none."""
    parts = []
    for group in _independent_groups(rows, maps):
        part = _solve(group, rows, left_shape, maps, right_shape, sizes)
        if part is None:
            return None
        parts.append(part)
    used_left = {d for p in parts for d in p.left}
    used_right = {d for p in parts for d in p.right}
    parts += [Part((n,), {d: axis_map((n,), 0)}, {}) for d, n in enumerate(left_shape) if d not in used_left]
    parts += [Part((n,), {}, {d: axis_map((n,), 0)}) for d, n in enumerate(right_shape) if d not in used_right]
    return _assembled(parts, len(left_shape), len(right_shape))


def _independent_groups(rows: Sequence[IndexMap], maps: Sequence[IndexMap]) -> list[list[int]]:
    """Equations that share an axis on either side belong together."""
    groups: list[tuple[set, list[int]]] = []
    for a, (r, m) in enumerate(zip(rows, maps)):
        touched = {("left", d) for d in r.depends} | {("right", d) for d in m.depends}
        members = [a]
        for other in [g for g in groups if g[0] & touched]:
            groups.remove(other)
            touched, members = touched | other[0], other[1] + members
        groups.append((touched, sorted(members)))
    return [members for _, members in groups]


def _solve(group: list[int], rows: Sequence[IndexMap], left_shape: Shape, maps: Sequence[IndexMap],
           right_shape: Shape, sizes: Sequence[int]) -> Part | None:
    left = sorted(set().union(*(rows[a].depends for a in group)))
    right = sorted(set().union(*(maps[a].depends for a in group)))
    if all(rows[a].is_axis(d, sizes[a]) for a in group for d in rows[a].depends) and len(left) == len(group):
        return _substitute(group, rows, maps, right, right_shape, to_left=True)
    if all(maps[a].is_axis(d, sizes[a]) for a in group for d in maps[a].depends) and len(right) == len(group):
        return _substitute(group, maps, rows, left, left_shape, to_left=False)
    if len(group) == 1 and len(left) <= 1 and len(right) <= 1 and rows[group[0]].is_affine \
            and maps[group[0]].is_affine:
        return _progressions(rows[group[0]], left, maps[group[0]], right)
    return _enumerated([rows[a] for a in group], left, left_shape, [maps[a] for a in group], right, right_shape)


def _substitute(group: list[int], whole: Sequence[IndexMap], given: Sequence[IndexMap], axes: list[int],
                shape: Shape, to_left: bool) -> Part:
    """One side runs over whole axes: its coordinates are the other side's maps."""
    box = tuple(shape[d] for d in axes)
    idle = [d for d in range(len(shape)) if d not in axes]
    solved = {next(iter(whole[a].depends)): given[a].dropped(idle) for a in group}
    free = {d: axis_map(box, k) for k, d in enumerate(axes)}
    return Part(box, solved, free) if to_left else Part(box, free, solved)


def _progressions(r: IndexMap, left: list[int], m: IndexMap, right: list[int]) -> Part | None:
    """r0 + rs k = m0 + ms p  for 0 <= k < K, 0 <= p < P: an arithmetic progression of solutions."""
    rs, size_k = (r.strides[left[0]], r.shape[left[0]]) if left else (0, 1)
    ms, size_p = (m.strides[right[0]], m.shape[right[0]]) if right else (0, 1)
    gap = m.offset - r.offset
    if not rs and not ms:
        return Part((), {}, {}) if gap == 0 else None
    g = math.gcd(rs, ms)
    if gap % g:
        return None
    if rs and ms:
        k0 = (gap // g) * pow(rs // g, -1, abs(ms // g)) % abs(ms // g)
        p0 = (rs * k0 - gap) // ms
        dk, dp = ms // g, rs // g
    else:
        k0, p0, dk, dp = (gap // rs, 0, 0, 0) if rs else (0, -gap // ms, 0, 0)
    low, high = _steps(k0, dk, size_k)
    low2, high2 = _steps(p0, dp, size_p)
    low, high = max(low, low2), min(high, high2)
    if low > high:
        return None
    shape = (high - low + 1,) if dk or dp else ()
    part = Part(shape, {}, {})
    if left:
        part.left[left[0]] = affine_map(shape, k0 + dk * low if shape else k0, {0: dk})
    if right:
        part.right[right[0]] = affine_map(shape, p0 + dp * low if shape else p0, {0: dp})
    return part


def _steps(start: int, step: int, size: int) -> tuple[float, float]:
    """The range of t with 0 <= start + step t < size."""
    if step == 0:
        return (-math.inf, math.inf) if 0 <= start < size else (1, 0)
    if step > 0:
        return -(start // step), (size - 1 - start) // step
    return -((size - 1 - start) // -step), start // -step


def _enumerated(rows: list[IndexMap], left: list[int], left_shape: Shape, maps: list[IndexMap], right: list[int],
                right_shape: Shape) -> Part | None:
    """Any maps: list both sides, sort, and pair equal targets."""
    box_l, box_r = tuple(left_shape[d] for d in left), tuple(right_shape[d] for d in right)
    target_l = _targets(rows, left, len(left_shape), box_l)
    target_r = _targets(maps, right, len(right_shape), box_r)
    id_l, id_r = np.split(_keys(np.concatenate([target_l, target_r])), [len(target_l)])
    order = np.argsort(id_r, kind="stable")
    start = np.searchsorted(id_r[order], id_l, side="left")
    stop = np.searchsorted(id_r[order], id_l, side="right")
    count = stop - start
    total = int(count.sum())
    if total == 0:
        return None
    pick_l = np.repeat(np.arange(len(id_l)), count)
    pick_r = order[np.repeat(stop - np.cumsum(count), count) + np.arange(total)]
    shape = (total,)
    coordinates = lambda pick, box, axes: {
        d: table_map(c, shape) for d, c in zip(axes, np.unravel_index(pick, box or (1,)))}
    return Part(shape, coordinates(pick_l, box_l, left), coordinates(pick_r, box_r, right))


def _targets(maps: list[IndexMap], axes: list[int], rank: int, box: Shape) -> np.ndarray:
    idle = [d for d in range(rank) if d not in axes]
    return np.stack([m.dropped(idle).values().ravel() for m in maps], axis=1).reshape(math.prod(box), len(maps))


def _keys(targets: np.ndarray) -> np.ndarray:
    """One number for each row: elements of an array by their place. Sorting rows themselves takes a hundred times as
    long."""
    if not targets.size:
        return np.zeros(len(targets), np.int64)
    low = targets.min(axis=0)
    return np.ravel_multi_index(tuple((targets - low).T), tuple((targets.max(axis=0) - low + 1).tolist()))


def _assembled(parts: list[Part], n_left: int, n_right: int) -> Join:
    """Lay the boxes of all parts side by side."""
    shape = tuple(n for p in parts for n in p.shape)
    left: list[IndexMap | None] = [None] * n_left
    right: list[IndexMap | None] = [None] * n_right
    start = 0
    for p in parts:
        own = [axis_map(shape, start + k) for k in range(len(p.shape))]
        for d, m in p.left.items():
            left[d] = m.compose(own, shape)
        for d, m in p.right.items():
            right[d] = m.compose(own, shape)
        start += len(p.shape)
    return Join(shape, tuple(left), tuple(right))
