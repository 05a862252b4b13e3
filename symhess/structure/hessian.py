"""The Hessian as Terms: the tangents of the gradient, its lower triangle, and its sparsity pattern.

Rows and columns both run over the flat concatenation of the differentiated inputs. A HessianTerm lies wholly on
or below the diagonal, unless it is `mixed`: then only its entries with row >= col count.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from symhess.differentiate import batch, pushforward
from symhess.graph.maps import IndexMap, axis_map, constant_map, identity_maps, ravel_maps, table_map
from symhess.graph.node import Node, constant, input_node
from symhess.structure.join import join
from symhess.structure.listing import Account
from symhess.structure.propagate import tangents
from symhess.structure.term import Term, multiplied, normalized, reindexed, without_zeros

if TYPE_CHECKING:
    import scipy.sparse

#: entry axes with at most this many combinations are fixed one by one to separate the triangles
UNROLL_LIMIT = 128
#: tables of mixed terms are filtered entry by entry up to this many entries
FILTER_LIMIT = 5_000_000

#: pairs of a triangle that are listed in a table at most, and the bands of rows that it is cut into where they are more
MAX_PAIRS, BANDS = 1 << 20, 8


@dataclass(frozen=True)
class HessianTerm:
    """A Term of the gradient of one input leaf, with its flat row map."""

    term: Term
    leaf: int
    row: IndexMap

    @property
    def col(self) -> IndexMap:
        return self.term.cols

    @property
    def entries(self) -> int:
        return math.prod(self.term.shape)

    def gap(self) -> tuple[int, int]:
        """Smallest and largest row - col."""
        return (self.row + self.col.scaled(-1)).bounds

    @property
    def mixed(self) -> bool:
        return self.gap()[0] < 0


def offsets_of(inputs: Sequence[Node]) -> list[int]:
    """First flat position of each input."""
    return [0, *itertools.accumulate(x.size for x in inputs)][:-1]


def hessian_terms(gradient: Sequence[Node], inputs: Sequence[Node],
                  account: Account | None = None) -> list[HessianTerm]:
    """All Terms of the Hessian, both triangles."""
    found = []
    for leaf, (tangent, first) in enumerate(zip(tangents(gradient, inputs, account), offsets_of(inputs))):
        found += [_flat(t, leaf, tangent.shape, first) for t in tangent.terms]
    return found


def dense_terms(gradient: Sequence[Node], inputs: Sequence[Node]) -> list[HessianTerm]:
    """The Hessian without structure, one Term per input: the gradient pushed forward along all unit vectors at once."""
    n, found = sum(x.size for x in inputs), []
    directions = [input_node("direction", x.shape, x.dtype) for x in inputs]
    units = {}
    for v, first in zip(directions, offsets_of(inputs)):
        units[v] = constant(np.eye(n)[:, first:first + v.size].reshape(n, *v.shape), v.dtype)
    rows = batch(pushforward(gradient, dict(zip(inputs, directions))), units, n)
    for leaf, (row, first) in enumerate(zip(rows, offsets_of(inputs))):
        maps = identity_maps(row.shape)
        term = multiplied(Term(row.shape, (), (), maps[1:], maps[0], row.dtype), row, range(row.ndim))
        found.append(_flat(term, leaf, inputs[leaf].shape, first))
    return found


def _flat(term: Term, leaf: int, shape: tuple[int, ...], first: int) -> HessianTerm:
    return HessianTerm(term, leaf, ravel_maps(term.rows, shape, term.shape).shifted(first))


def lower_triangle(terms: Sequence[HessianTerm], inputs: Sequence[Node], filtered: bool) -> list[HessianTerm]:
    """The Terms that reach row >= col; with `filtered`, none of them reaches above the diagonal.

    What lies wholly above the diagonal is dropped. A pair of Terms that are transposes of each other, neither in
    one triangle, becomes one Term with row and col swapped where needed.
    """
    firsts, shapes = offsets_of(inputs), [x.shape for x in inputs]
    if filtered:
        terms = [_without_zeros(t, shapes, firsts) for t in terms]
    pure, mixed = [], []
    for t in _separated(terms, shapes, firsts, filtered):
        low, high = t.gap()
        if high >= 0:
            (pure if low >= 0 else mixed).append(t)
    mixed = _folded_pairs(mixed, firsts, shapes)
    if filtered:
        mixed = [_filtered(t) if t.mixed else t for t in mixed]
    return pure + [t for t in mixed if t.entries]


def _without_zeros(t: HessianTerm, shapes: list, firsts: list[int]) -> HessianTerm:
    """Entries that a constant factor makes zero are not stored."""
    slim = without_zeros(t.term, 0.0)
    return t if slim is t.term else _flat(slim, t.leaf, shapes[t.leaf], firsts[t.leaf])


def _separated(terms: Sequence[HessianTerm], shapes: list, firsts: list[int], filtered: bool) -> list[HessianTerm]:
    """Fix the values of small entry axes where that tells which triangle an entry is in.

    Then other Terms over the same large axes are taken apart too: entries that meet are added up in one loop. Sums are
    not, if they may reach above the diagonal: they are contractions, in one piece.
    """
    whole = [t for t in terms if t.term.sums and not filtered]
    pieces = [_decided(t, shapes, firsts) for t in terms if filtered or not t.term.sums]
    loops = {p.term.shape for found in pieces if len(found) > 1 for p in found}
    out = whole
    for t in itertools.chain.from_iterable(pieces):
        small = _small_axes(t)
        large = tuple(n for a, n in enumerate(t.term.shape) if a not in small)
        out += _each(t, small, shapes, firsts) if small and large in loops else [t]
    return out


def _decided(t: HessianTerm, shapes: list, firsts: list[int]) -> list[HessianTerm]:
    low, high = t.gap()
    small = _small_axes(t)
    if low >= 0 or high < 0 or not small:
        return [t]
    pieces = _each(t, small, shapes, firsts)
    return pieces if all(p.gap()[0] >= 0 or p.gap()[1] < 0 for p in pieces) else [t]


def _small_axes(t: HessianTerm) -> list[int]:
    """Entry axes with few values, beside a longer one, if there are few combinations of them."""
    small = [a for a, n in enumerate(t.term.shape) if n <= 16 and n < max(t.term.shape, default=1)]
    return small if math.prod(t.term.shape[a] for a in small) <= UNROLL_LIMIT else []


def _each(t: HessianTerm, axes: list[int], shapes: list, firsts: list[int]) -> list[HessianTerm]:
    """One Term per combination of values of the axes."""
    return [_fixed(t, dict(zip(axes, values)), shapes, firsts)
            for values in itertools.product(*(range(t.term.shape[a]) for a in axes))]


def _fixed(t: HessianTerm, values: dict[int, int], shapes: list, firsts: list[int]) -> HessianTerm:
    kept = [a for a in range(len(t.term.shape)) if a not in values]
    shape = tuple(t.term.shape[a] for a in kept)
    maps = [constant_map(shape, values[a]) if a in values else axis_map(shape, kept.index(a))
            for a in range(len(t.term.shape))]
    return _flat(normalized(reindexed(t.term, maps, shape)), t.leaf, shapes[t.leaf], firsts[t.leaf])


def _folded_pairs(mixed: list[HessianTerm], firsts: list[int], shapes: list) -> list[HessianTerm]:
    """T + T^T with equal coefficients contributes T at (max, min) of its positions to the lower triangle."""
    kept: list[HessianTerm] = []
    for t in mixed:
        twin = next((k for k in kept if _are_transposes(k, t)), None)
        if twin is None:
            kept.append(t)
        else:
            kept[kept.index(twin)] = _swapped_below(twin)
    return kept


def _are_transposes(a: HessianTerm, b: HessianTerm) -> bool:
    same = a.term.shape == b.term.shape and a.row == b.col and a.col == b.row
    off_diagonal = same and bool(np.all(a.row.compact != a.col.compact))
    return off_diagonal and sorted(map(_factor_key, a.term.factors)) == sorted(map(_factor_key, b.term.factors))


def _factor_key(factor: tuple) -> tuple:
    return factor[0].serial, factor[1]


def _swapped_below(t: HessianTerm) -> HessianTerm:
    r, c = t.row.compact, t.col.compact
    row, col = table_map(np.maximum(r, c), t.term.shape), table_map(np.minimum(r, c), t.term.shape)
    return HessianTerm(replace(t.term, rows=(row,), cols=col), t.leaf, row)


def _filtered(t: HessianTerm) -> HessianTerm:
    """Keep the entries with row >= col, listed one by one."""
    return _picked(t, np.flatnonzero((t.row.values() >= t.col.values()).ravel()))


def on_diagonal(t: HessianTerm) -> HessianTerm:
    """The part of a Term with row == col."""
    if t.gap() == (0, 0):
        return t
    if t.row.depends.isdisjoint(t.col.depends) and t.gap()[0] <= 0 <= t.gap()[1]:
        box, theirs = t.term.shape, sorted(t.col.depends)
        ours = [a for a in range(len(box)) if a not in theirs]  # axes of one entry, on which no row depends, too
        left, right = tuple(box[a] for a in ours), tuple(box[a] for a in theirs)
        found = join([t.row.dropped(theirs)], left, [t.col.dropped(ours)], right, [-1])
        if found is None:
            return _picked(t, np.zeros(0, np.int64))
        place = dict(zip(ours, found.left)) | dict(zip(theirs, found.right))
        return _at(t, [place[a] for a in range(len(box))], found.shape)
    return _picked(t, np.flatnonzero((t.row.values() == t.col.values()).ravel()))


def lower_half(t: HessianTerm) -> list[HessianTerm]:
    """A Term that reaches above the diagonal, about half of it left: row = s i + .., col = s j + .., entries i >= j.

    Pairs (i, j) become one entry axis; where they are many, a table of them costs more than it saves, and the half is
    cut into bands of rows. What is left out lies above the diagonal. Nothing where no two axes are like that.
    """
    if not t.mixed or not (t.row.is_affine and t.col.is_affine):
        return []
    for i, j in itertools.product(t.row.depends - t.col.depends, t.col.depends - t.row.depends):
        step, n = t.row.strides[i], t.term.shape[i]
        row, col = (m + axis_map(m.shape, a).scaled(-step) for m, a in ((t.row, i), (t.col, j)))
        if step == t.col.strides[j] and n == t.term.shape[j] and step > row.bounds[1] - col.bounds[0]:
            return [_pairs(t, i, j)] if n * (n + 1) // 2 <= MAX_PAIRS else _bands(t, i, j)
    return []


def _pairs(t: HessianTerm, i: int, j: int) -> HessianTerm:
    """The entries with e_i >= e_j, the pairs of both along one axis."""
    others = [a for a in range(len(t.term.shape)) if a not in (i, j)]
    pairs = np.tril_indices(t.term.shape[i])
    box = (len(pairs[0]), *(t.term.shape[a] for a in others))
    place = {a: axis_map(box, k) for k, a in enumerate(others, 1)}
    place |= {a: table_map(p.reshape(-1, *(1,) * len(others)), box) for a, p in zip((i, j), pairs)}
    return _at(t, [place[a] for a in range(len(t.term.shape))], box)


def _bands(t: HessianTerm, i: int, j: int) -> list[HessianTerm]:
    """Rectangles that cover the entries with e_i >= e_j: those of a band of e_i, with e_j up to its end."""
    edges = np.linspace(0, t.term.shape[i], BANDS + 1).astype(int).tolist()
    bands = []
    for first, end in itertools.pairwise(edges):
        box = tuple(end - first if a == i else end if a == j else n for a, n in enumerate(t.term.shape))
        bands.append(_at(t, [axis_map(box, a).shifted(first * (a == i)) for a in range(len(box))], box))
    return bands


def _picked(t: HessianTerm, keep: np.ndarray) -> HessianTerm:
    """The listed entries of a Term (flat positions in its box)."""
    box = (len(keep),)
    return _at(t, [table_map(c, box) for c in np.unravel_index(keep, t.term.shape or (1,))], box)


def _at(t: HessianTerm, maps: Sequence[IndexMap], box: tuple[int, ...]) -> HessianTerm:
    moved = reindexed(replace(t.term, rows=(t.row,)), maps, box)
    return HessianTerm(moved, t.leaf, moved.rows[0])


def csr_pattern(rows: np.ndarray, cols: np.ndarray, n: int) -> scipy.sparse.csr_array:
    """Canonical boolean CSR array with an entry wherever (rows, cols) point; repeated entries once."""
    import scipy.sparse  # on first use: it takes longer to import than the rest of symhess

    out = scipy.sparse.coo_array((np.ones(len(rows), dtype=bool), (rows, cols)), shape=(n, n)).tocsr()
    out.sum_duplicates()
    out.data[:] = True
    return out
