"""Terms along diagonals of one input, added up before they are written.

Slices and pads leave several Terms on one diagonal, present on boxes that differ by a row or two. On the interior box,
where all are present, their sum is one entry at affine positions; the rest, a thin boundary, is a list of entries.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from symhess.graph.maps import IndexMap, constant_map, identity_maps, row_major_strides, table_map
from symhess.graph.node import Node, constant, topological
from symhess.primitives import apply, index, reshape, transpose, zeros
from symhess.structure.hessian import HessianTerm
from symhess.structure.term import coefficient

Shape = tuple[int, ...]
#: the positions of entries, given their rows and columns
Places = Callable[[np.ndarray, np.ndarray], np.ndarray]

#: operations that are correctly rounded, or choose
EXACT = frozenset(("add", "sub", "mul", "div", "neg", "sqrt", "abs", "where", "maximum", "minimum"))
#: a boundary of more runs is a list
MOST_RUNS = 8

@dataclass(frozen=True)
class Entry:
    """Values over a box, with the flat row and column of each."""

    value: Node
    row: IndexMap
    col: IndexMap
    #: False where another entry stands for the mirror images
    mirrored: bool = True


@dataclass(frozen=True)
class Piece:
    """A Term along a diagonal, in coordinates of its input: value over the box [start, start + size)."""

    value: Node
    start: tuple[int, ...]
    size: Shape

    def covers(self, points: Sequence[np.ndarray]) -> np.ndarray:
        """Which of the points (one array per coordinate) lie in the box."""
        return np.logical_and.reduce([(p >= s) & (p < s + n) for p, s, n in zip(points, self.start, self.size)])


@dataclass
class Diagonal:
    """All pieces with col = sum_d strides[d] * coordinate_d + shift, for the rows of one input."""

    leaf: int
    first_row: int
    row_strides: tuple[int, ...]
    col_strides: tuple[int, ...]
    shift: int
    pieces: list[Piece]

    def box(self) -> tuple[tuple[int, ...], Shape]:
        """The box on which all pieces are present."""
        starts = tuple(max(p.start[d] for p in self.pieces) for d in range(len(self.row_strides)))
        ends = [min(p.start[d] + p.size[d] for p in self.pieces) for d in range(len(self.row_strides))]
        return starts, tuple(max(e - s, 0) for s, e in zip(starts, ends))

    def row_col(self, points: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        row = sum((s * p for s, p in zip(self.row_strides, points)), np.int64(self.first_row))
        col = sum((s * p for s, p in zip(self.col_strides, points)), np.int64(self.shift))
        return np.asarray(row), np.asarray(col)


def along_diagonals(terms: Sequence[HessianTerm], inputs: Sequence[Node], places: Places | None,
                    both: bool = False) -> tuple[list[Entry], list[HessianTerm]]:
    """The entries of the Terms that lie along diagonals of inputs, added up, and the Terms that do not.

    Interior boxes are shrunk to where `places(row, col)`, the positions of entries, are affine. With `both` each entry
    is also needed at its mirror image, which is another diagonal where that gives the same number.
    """
    diagonals, others = _diagonal_groups(terms, inputs)
    entries = []
    for leaf in sorted({d.leaf for d in diagonals}):
        group, shape = [d for d in diagonals if d.leaf == leaf], inputs[leaf].shape
        off = [d for d in group if (d.shift, d.col_strides) != (d.first_row, d.row_strides)]
        images = [_mirror_image(d, shape) for d in off] if both else []
        if None in images:
            entries += _diagonal_entries(group, shape, places, both)
        else:
            entries += [replace(e, mirrored=False) for e in _diagonal_entries([*group, *images], shape, places, False)]
    return entries, others


def _mirror_image(d: Diagonal, shape: Shape) -> Diagonal | None:
    """The diagonal with rows and columns exchanged: rows at coordinate + by, the same coordinate of its column.

    None where columns are no coordinates of the same input, or where a value computed at two places could differ.
    """
    if d.row_strides != d.col_strides or not all(is_exact(p.value) for p in d.pieces):
        return None
    found = {by for p in d.pieces for by in [_distance(d, p, shape)]}
    if len(found) != 1 or None in found:
        return None
    (by,) = found
    moved = [replace(p, start=tuple(s + b for s, b in zip(p.start, by))) for p in d.pieces]
    return replace(d, shift=d.first_row - sum(s * b for s, b in zip(d.row_strides, by)), pieces=moved)


def _distance(d: Diagonal, p: Piece, shape: Shape) -> tuple[int, ...] | None:
    """Coordinates of the column minus coordinates of the row, if that is one vector on the whole piece."""
    first = d.shift - d.first_row + sum(s * k for s, k in zip(d.row_strides, p.start))
    if not 0 <= first < math.prod(shape):
        return None
    column = [int(c) for c in np.unravel_index(first, shape)]
    fits = all(c + k <= n for c, k, n in zip(column, p.size, shape))
    return tuple(c - s for c, s in zip(column, p.start)) if fits else None


def is_exact(value: Node) -> bool:
    """True for a value of correctly rounded operations, the same bits wherever it is computed."""
    return all(v.op.name in EXACT or (v.op.family not in ("elementwise", "reduction", "library", "linalg", "control")
               and v.op.name != "contract") for v in topological([value]))


def _diagonal_groups(terms: Sequence[HessianTerm], inputs: Sequence[Node]) -> tuple[list[Diagonal], list]:
    """Sort Terms into diagonals of inputs and others."""
    groups: dict[tuple, Diagonal] = {}
    others = []
    for t in terms:
        found = _as_diagonal(t, inputs[t.leaf].shape)
        if found is None:
            others.append(t)
            continue
        key = (found.leaf, found.col_strides, found.shift)
        if key in groups:
            groups[key].pieces += found.pieces
        else:
            groups[key] = found
    return list(groups.values()), others


def _as_diagonal(t: HessianTerm, shape: Shape) -> Diagonal | None:
    """A Term whose row coordinates are its entry axes, shifted: rows_a = start_a + e_a, and whose col is affine."""
    term = t.term
    if len(term.rows) != len(shape) or not shape or not term.cols.is_affine:
        return None
    axes: list[int | None] = []
    for m in term.rows:
        if not m.is_affine or len(m.depends) > 1 or any(m.strides[d] != 1 for d in m.depends):
            return None
        axes.append(m.single_axis)
    used = [a for a in axes if a is not None]
    if len(set(used)) != len(used) or len(used) != len(term.shape):
        return None
    size = tuple(1 if a is None else term.shape[a] for a in axes)
    start = tuple(m.offset for m in term.rows)
    strides = row_major_strides(shape)
    # a single entry lies on the diagonal through it: row - col then stays fixed within a group
    col_strides = tuple(r if k == 1 else term.cols.strides[a] for r, a, k in zip(strides, axes, size))
    value = reshape(transpose(coefficient(term), used), size)
    shift = term.cols.offset - sum(c * s for c, s in zip(col_strides, start))
    first = t.row.offset - sum(m.offset * s for m, s in zip(term.rows, strides))
    return Diagonal(t.leaf, first, strides, col_strides, shift, [Piece(value, start, size)])


def _diagonal_entries(group: list[Diagonal], shape: Shape, places: Places | None, both: bool) -> list[Entry]:
    """Interior and boundary entries of the diagonals of one input; all share one interior box, so that they fuse."""
    common = _common_box([d.box() for d in group])
    if math.prod(common[1]) * 2 < max(math.prod(p.size) for d in group for p in d.pieces):
        boxes = [d.box() for d in group]
    else:
        boxes = [_affine_core(group, common, places, both) if places else common] * len(group)
    entries = []
    for d, (start, size) in zip(group, boxes):
        if math.prod(size):
            entries.append(_interior(d, start, size))
        entries += _boundary(d, start, size, shape)
    return entries


def _common_box(boxes: Sequence[tuple[tuple[int, ...], Shape]]) -> tuple[tuple[int, ...], Shape]:
    rank = len(boxes[0][0])
    start = tuple(max(b[0][d] for b in boxes) for d in range(rank))
    end = [min(b[0][d] + b[1][d] for b in boxes) for d in range(rank)]
    return start, tuple(max(e - s, 0) for s, e in zip(start, end))


def _affine_core(group: list[Diagonal], box: tuple[tuple[int, ...], Shape], places: Places,
                 both: bool) -> tuple[tuple[int, ...], Shape]:
    """Shrink the box to where all positions are affine in the coordinates."""
    start, size = box
    points = np.meshgrid(*(np.arange(s, s + k) for s, k in zip(start, size)), indexing="ij", sparse=True)
    for d in group:
        row, col = np.broadcast_arrays(*d.row_col(points))
        for r, c in ((row, col),) if not both or (row == col).all() else ((row, col), (col, row)):
            inner = _affine_box(places(r, c))
            box = _common_box([box, (tuple(s + i for s, i in zip(start, inner[0])), inner[1])])
    return box


def _affine_box(positions: np.ndarray) -> tuple[tuple[int, ...], Shape]:
    """A large box around the middle on which `positions` is affine (possibly the whole, possibly empty)."""
    rank, middle = positions.ndim, tuple(k // 2 for k in positions.shape)
    if 0 in positions.shape:
        return (0,) * rank, (0,) * rank
    predicted = np.full((1,) * rank, positions[middle])
    for d, k in enumerate(positions.shape):
        near = list(middle)
        near[d] = middle[d] + 1 if middle[d] + 1 < k else middle[d] - 1
        step = (positions[tuple(near)] - positions[middle]) * (near[d] - middle[d]) if k > 1 else 0
        axis = (np.arange(k) - middle[d]).reshape([-1 if a == d else 1 for a in range(rank)])
        predicted = predicted + step * axis
    good = positions == predicted
    low, high = [0] * rank, list(positions.shape)
    while not good[tuple(slice(a, b) for a, b in zip(low, high))].all():
        faces = []
        for d in range(rank):
            for side, at in (("low", low[d]), ("high", high[d] - 1)):
                face = [slice(a, b) for a, b in zip(low, high)]
                face[d] = slice(at, at + 1)
                faces.append((np.mean(~good[tuple(face)]), d, side))
        share, d, side = max(faces)
        if share == 0 or high[d] - low[d] <= 1:
            return middle, (0,) * rank
        if side == "low":
            low[d] += 1
        else:
            high[d] -= 1
    return tuple(low), tuple(b - a for a, b in zip(low, high))


def _interior(d: Diagonal, start: tuple[int, ...], size: Shape) -> Entry:
    """The sum of all pieces on a box where all are present."""
    total: Node | None = None
    for p in d.pieces:
        maps = [m.shifted(s - q) for m, s, q in zip(identity_maps(size), start, p.start)]
        part = index(p.value, maps, size)
        total = part if total is None else apply("add", total, part)
    points = [m.shifted(s) for m, s in zip(identity_maps(size), start)]
    return Entry(total, _combined(points, d.row_strides, d.first_row, size),
                 _combined(points, d.col_strides, d.shift, size))


def _combined(points: Sequence[IndexMap], strides: Sequence[int], first: int, shape: Shape) -> IndexMap:
    out = constant_map(shape, first)
    for p, s in zip(points, strides):
        out = out + p.scaled(s)
    return out


def _boundary(d: Diagonal, start: tuple[int, ...], size: Shape, shape: Shape) -> list[Entry]:
    """Everything outside the interior box: runs of a line on which the same pieces are present, or else a list."""
    present = np.zeros((len(d.pieces), *shape), dtype=bool)
    for k, p in enumerate(d.pieces):
        present[(k, *(slice(s, s + n) for s, n in zip(p.start, p.size)))] = True
    if math.prod(size):
        present[(slice(None), *(slice(s, s + k) for s, k in zip(start, size)))] = False
    points = np.nonzero(present.any(axis=0))
    if not len(points[0]):
        return []
    if len(shape) == 1:
        at, which = points[0], present[:, points[0]]
        ends = [0, *np.flatnonzero((np.diff(at) > 1) | (np.diff(which, axis=1).any(axis=0))) + 1, len(at)]
        if len(ends) <= MOST_RUNS:
            return [_interior(replace(d, pieces=[p for p, there in zip(d.pieces, which[:, a]) if there]),
                              (int(at[a]),), (int(b - a),)) for a, b in itertools.pairwise(ends)]
    return [_listed(d, points)]


def _listed(d: Diagonal, points: Sequence[np.ndarray]) -> Entry:
    """The entries at some points, one coordinate array per axis, with a guard per piece."""
    box = points[0].shape
    total = zeros(box, d.pieces[0].value.dtype)
    for p in d.pieces:
        inside = p.covers(points)
        if inside.any():
            total = apply("add", total, _guarded(p, points, inside, box))
    row, col = d.row_col(points)
    return Entry(total, table_map(row, box), table_map(col, box))


def _guarded(p: Piece, points: Sequence[np.ndarray], inside: np.ndarray, box: Shape) -> Node:
    """The piece at the points that it covers, zero at the others."""
    maps = [table_map(np.clip(c - s, 0, k - 1), box) for c, s, k in zip(points, p.start, p.size)]
    value = index(p.value, maps, box)
    return value if inside.all() else apply("where", constant(inside), value, constant(0, value.dtype))


