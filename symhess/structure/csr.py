"""CSR structures: which entries are stored, and where an entry's value lies.

    position(row, col) = indptr[row] + number of stored entries of the row that come before col

Banded structures (every Term keeps row - col fixed) are built by counting along rows, without sorting anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from symhess.structure.hessian import HessianTerm, csr_pattern

if TYPE_CHECKING:
    import scipy.sparse

#: at most this many different diagonals are counted row by row
MAX_DIAGONALS = 64


@dataclass(frozen=True)
class Banded:
    """A structure of few diagonals; `before[d][r]` counts the entries of row r left of the one with col = r + d."""

    indptr: np.ndarray
    indices: np.ndarray
    before: dict[int, np.ndarray]

    def positions(self, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        """Where the values of entries along one diagonal lie; `row` and `col` of equal shape."""
        diagonal = int(col.flat[0] - row.flat[0]) if row.size else 0
        return self.indptr[row] + self.before[diagonal][row] if row.size else np.zeros(row.shape, np.int64)


@dataclass(frozen=True)
class Listed:
    """Any structure: columns ascend in every row."""

    indptr: np.ndarray
    indices: np.ndarray

    def positions(self, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        """Where the values of stored entries lie; `row` and `col` of equal shape.

        By bisection of all rows at once: a search among all entries takes ten times as long where they are many.
        """
        low, high = self.indptr[row].astype(np.int64), self.indptr[row + 1] - np.int64(1)
        while np.any(low < high):
            middle = (low + high) >> 1
            less = self.indices[middle] < col
            low, high = np.where(less, middle + 1, low), np.where(less, high, middle)
        return low


Structure = Banded | Listed


def csr_structure(terms: Sequence[HessianTerm], n: int, lower: bool) -> Structure:
    """The structure of Terms that lie on or below the diagonal; mirrored above it unless `lower`."""
    gaps = [t.gap() for t in terms]
    if all(low == high for low, high in gaps) and len(set(gaps)) <= MAX_DIAGONALS:
        return _banded(terms, n, lower)
    rows = np.concatenate([t.row.values().ravel() for t in terms] + [np.zeros(0, np.int64)])
    cols = np.concatenate([t.col.values().ravel() for t in terms] + [np.zeros(0, np.int64)])
    if not lower:
        rows, cols = np.concatenate([rows, cols]), np.concatenate([cols, rows])
    found = csr_pattern(rows, cols, n)
    return Listed(found.indptr, found.indices)


def _banded(terms: Sequence[HessianTerm], n: int, lower: bool) -> Banded:
    stored: dict[int, np.ndarray] = {}
    for t in terms:
        diagonal = -t.gap()[0]
        for d, where in ((diagonal, t.row),) if lower or diagonal == 0 else ((diagonal, t.row), (-diagonal, t.col)):
            rows = stored.setdefault(d, np.zeros(n, dtype=bool))
            rows[where.values()] = True
    before, count = {}, np.zeros(n, dtype=np.int32)
    for d in sorted(stored):
        before[d] = count.copy()
        count += stored[d]
    indptr = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(count, out=indptr[1:])
    kind = np.int32 if max(n, indptr[-1]) < 2**31 else np.int64
    indices = np.empty(indptr[-1], dtype=kind)
    for d, rows in stored.items():
        r = np.flatnonzero(rows)
        indices[indptr[r] + before[d][r]] = r + d
    return Banded(indptr.astype(kind), indices, before)


def as_bool_csr(structure: Structure) -> scipy.sparse.csr_array:
    """The structure as a boolean CSR array."""
    import scipy.sparse

    n = len(structure.indptr) - 1
    values = np.ones(len(structure.indices), dtype=bool)
    return scipy.sparse.csr_array((values, structure.indices, structure.indptr), shape=(n, n))
