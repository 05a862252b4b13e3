"""Assembly: from Hessian Terms to the writes that fill a dense array or the values of a CSR array.

Every entry is written once where the pattern allows. Terms along the same diagonal of the same input (what slices
and pads leave behind) are added up before they are written: on the interior box, where all of them are present,
by one plain write at affine positions; on the rest, a thin boundary, by a list of positions.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from symhess.graph.maps import IndexMap, identity_maps, table_map
from symhess.graph.node import Node, constant
from symhess.plan.distribute import distributed
from symhess.plan.filling import filled
from symhess.plan.program import Buffer, Write
from symhess.primitives import apply, index, reshape, zeros
from symhess.structure.csr import Structure, csr_structure
from symhess.structure.hessian import HessianTerm, on_diagonal
from symhess.structure.term import coefficient

if TYPE_CHECKING:
    import scipy.sparse

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """Values over a box, with the flat row and column of each."""

    value: Node
    row: IndexMap
    col: IndexMap


@dataclass(frozen=True)
class CsrLayout:
    """The compile-time half of a CSR array: its structure; `buffer` fills the values."""

    n: int
    indptr: np.ndarray
    indices: np.ndarray
    buffer: Buffer

    @property
    def nnz(self) -> int:
        return len(self.indices)

    @functools.cached_property
    def template(self) -> scipy.sparse.csr_array:
        """A matrix of this structure, of which copies get their own values."""
        import scipy.sparse

        made = scipy.sparse.csr_array((np.zeros(self.nnz), self.indices, self.indptr), shape=(self.n, self.n))
        made.has_sorted_indices = made.has_canonical_format = True
        return made


# -- dense ---------------------------------------------------------------------------------------------------------


def dense_buffer(terms: Sequence[HessianTerm], n: int, dtype: np.dtype) -> Buffer:
    """Writes of the lower triangle of an n x n array (what they leave above the diagonal is to be overwritten)."""
    writes = [Write(coefficient(t.term), t.row.scaled(n) + t.col) for t in distributed(terms)]
    return filled((n, n), dtype, writes, mirror=True)


def diagonal_buffer(terms: Sequence[HessianTerm], n: int, dtype: np.dtype) -> Buffer:
    """Writes of the n diagonal entries alone."""
    writes = []
    for t in terms:
        on = on_diagonal(t)
        if on.entries:
            writes.append(Write(coefficient(on.term), on.row))
    return filled((n,), dtype, writes)


# -- sparse --------------------------------------------------------------------------------------------------------


def csr_layout(terms: Sequence[HessianTerm], inputs: Sequence[Node], dtype: np.dtype, lower: bool) -> CsrLayout:
    """The CSR structure of the Terms (all on or below the diagonal) and the writes of its values.

    With `lower` only the lower triangle is stored, otherwise each entry below the diagonal is written twice.
    """
    n = sum(x.size for x in inputs)
    diagonals, others = _diagonal_groups(terms, inputs)
    structure = csr_structure(terms, n, lower)
    entries = [Entry(coefficient(t.term), t.row, t.col) for t in others]
    for group in _by_leaf(diagonals):
        entries += _diagonal_entries(group, inputs[group[0].leaf].shape, structure, lower)
    writes = []
    for e in entries:
        writes += _csr_writes(e, structure, lower)
    buffer = filled((len(structure.indices),), dtype, writes)
    for shared in (structure.indptr, structure.indices):  # by all results: no one of them may change the others
        shared.flags.writeable = False
    return CsrLayout(n, structure.indptr, structure.indices, buffer)


def _csr_writes(e: Entry, structure: Structure, lower: bool) -> list[Write]:
    """One write for the entries themselves, one for their mirror images."""
    row, col, shape = e.row.values(), e.col.values(), e.value.shape
    writes = [Write(e.value, table_map(structure.positions(row, col), shape))]
    if lower:
        return writes
    on = row == col
    if not on.any():
        return [*writes, Write(e.value, table_map(structure.positions(col, row), shape))]
    if on.all():
        return writes
    off = np.flatnonzero(~on.ravel())
    maps = [table_map(c, (len(off),)) for c in np.unravel_index(off, shape)]
    mirrored = structure.positions(col.ravel()[off], row.ravel()[off])
    return [*writes, Write(index(e.value, maps, (len(off),)), table_map(mirrored, (len(off),)))]


# -- diagonals of one input ----------------------------------------------------------------------------------------


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
    from symhess.graph.maps import row_major_strides

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
    value = reshape(_transposed(coefficient(term), used), size)
    shift = term.cols.offset - sum(c * s for c, s in zip(col_strides, start))
    first = t.row.offset - sum(m.offset * s for m, s in zip(term.rows, strides))
    return Diagonal(t.leaf, first, strides, col_strides, shift, [Piece(value, start, size)])


def _transposed(node: Node, order: Sequence[int]) -> Node:
    from symhess.primitives import transpose

    return transpose(node, order)


def _by_leaf(diagonals: Sequence[Diagonal]) -> list[list[Diagonal]]:
    groups: dict[int, list[Diagonal]] = {}
    for d in diagonals:
        groups.setdefault(d.leaf, []).append(d)
    return list(groups.values())


def _diagonal_entries(group: list[Diagonal], shape: Shape, structure: Structure,
                      lower: bool) -> list[Entry]:
    """Interior and boundary entries of the diagonals of one input; all share one interior box, so that they fuse."""
    common = _common_box([d.box() for d in group])
    if math.prod(common[1]) * 2 < max(math.prod(p.size) for d in group for p in d.pieces):
        boxes = [d.box() for d in group]
    else:
        core = _affine_core(group, common, structure, lower)
        boxes = [core] * len(group)
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


def _affine_core(group: list[Diagonal], box: tuple[tuple[int, ...], Shape], structure: Structure,
                 lower: bool) -> tuple[tuple[int, ...], Shape]:
    """Shrink the box to where all positions in the CSR values are affine in the coordinates."""
    start, size = box
    points = np.meshgrid(*(np.arange(s, s + k) for s, k in zip(start, size)), indexing="ij", sparse=True)
    for d in group:
        row, col = np.broadcast_arrays(*d.row_col(points))
        for r, c in ((row, col),) if lower or (row == col).all() else ((row, col), (col, row)):
            inner = _affine_box(structure.positions(r, c))
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
    from symhess.graph.maps import constant_map

    out = constant_map(shape, first)
    for p, s in zip(points, strides):
        out = out + p.scaled(s)
    return out


def _boundary(d: Diagonal, start: tuple[int, ...], size: Shape, shape: Shape) -> list[Entry]:
    """Everything outside the interior box, as a list of rows with a guard per piece."""
    outside = np.zeros(shape, dtype=bool)
    for p in d.pieces:
        outside[tuple(slice(s, s + k) for s, k in zip(p.start, p.size))] = True
    if math.prod(size):
        outside[tuple(slice(s, s + k) for s, k in zip(start, size))] = False
    points = np.nonzero(outside)
    count = len(points[0])
    if not count:
        return []
    box = (count,)
    total = zeros(box, d.pieces[0].value.dtype)
    for p in d.pieces:
        inside = p.covers(points)
        if inside.any():
            total = apply("add", total, _guarded(p, points, inside, box))
    row, col = d.row_col(points)
    return [Entry(total, table_map(row, box), table_map(col, box))]


def _guarded(p: Piece, points: Sequence[np.ndarray], inside: np.ndarray, box: Shape) -> Node:
    """The piece at the points that it covers, zero at the others."""
    maps = [table_map(np.clip(c - s, 0, k - 1), box) for c, s, k in zip(points, p.start, p.size)]
    value = index(p.value, maps, box)
    return value if inside.all() else apply("where", constant(inside), value, constant(0, value.dtype))


def spmatrix(layout: CsrLayout, values: np.ndarray) -> scipy.sparse.csr_array:
    """A CSR array over the layout's structure (shared, not copied)."""
    out = copy.copy(layout.template)  # an eighth of the time that the constructor takes
    out.data = values
    return out
