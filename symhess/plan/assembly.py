"""Assembly: from Hessian Terms to the writes that fill a dense array or the values of a CSR array.

Every entry is written once where the pattern allows: Terms along the same diagonal are added up (`diagonals`) before
they are written (`filling`), and the mirror image of a diagonal is written row by row, with the rest of its rows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from symhess.graph.maps import table_map
from symhess.graph.node import Node
from symhess.plan.diagonals import Entry, along_diagonals
from symhess.plan.filling import filled
from symhess.plan.program import Buffer, Write
from symhess.primitives import index
from symhess.structure.csr import Structure, csr_structure
from symhess.structure.hessian import HessianTerm, on_diagonal
from symhess.structure.term import coefficient

if TYPE_CHECKING:
    import scipy.sparse

Shape = tuple[int, ...]
#: elements of a row so far apart are close to each other
CLOSE = tuple(range(1, 9))


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


def dense_buffer(terms: Sequence[HessianTerm], inputs: Sequence[Node], dtype: np.dtype) -> Buffer:
    """Writes of the lower triangle of an n x n array (what they leave above the diagonal is to be overwritten).

    Sums in the Terms are computed as they are: see `plan.distribute` for what may be cheaper.
    """
    n, sums = sum(x.size for x in inputs), [t for t in terms if t.term.sums]
    entries, others = along_diagonals([t for t in terms if not t.term.sums], inputs, None)
    found = [*entries, *(Entry(coefficient(t.term), t.row, t.col) for t in [*others, *sums])]
    triangle = _along_rows(found)
    writes = [Write(e.value, e.col.scaled(n) + e.row if triangle == "upper" else e.row.scaled(n) + e.col)
              for e in found]
    return filled((n, n), dtype, writes, mirror=triangle)


def _along_rows(entries: Sequence[Entry]) -> str:
    """The triangle to be written: that in which the most entries lie close to the entry before, in one row.

    Boxes of several axes are walked in some order anyway: the lower one, unless all are listed.
    """
    if any(len(e.value.shape) > 1 for e in entries):
        return "lower"
    listed = [(e.row.values(), e.col.values()) for e in entries if not (e.row.is_affine and e.col.is_affine)]
    beside = [sum(np.count_nonzero((np.diff(ends[k]) == 0) & np.isin(np.diff(ends[1 - k]), CLOSE))
                  for ends in listed)
              for k in (0, 1)]
    return "upper" if beside[1] > beside[0] else "lower"


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
    structure = csr_structure(terms, n, lower)
    entries, others = along_diagonals(terms, inputs, structure.positions, not lower)
    writes = []
    for e in (*(Entry(coefficient(t.term), t.row, t.col) for t in others), *entries):
        writes.append(_csr_writes(e, structure, lower or not e.mirrored))
    buffer = filled((len(structure.indices),), dtype, writes)
    for shared in (structure.indptr, structure.indices):  # by all results: no one of them may change the others
        shared.flags.writeable = False
    return CsrLayout(n, structure.indptr, structure.indices, buffer)


def _csr_writes(e: Entry, structure: Structure, once: bool) -> tuple[Write, ...]:
    """One write for the entries themselves, and one for their mirror images unless `once`."""
    row, col, shape = e.row.values(), e.col.values(), e.value.shape
    own = Write(e.value, table_map(structure.positions(row, col), shape))
    if once:
        return (own,)
    on = row == col
    if not on.any():
        return own, Write(e.value, table_map(structure.positions(col, row), shape))
    if on.all():
        return (own,)
    off = np.flatnonzero(~on.ravel())
    maps = [table_map(c, (len(off),)) for c in np.unravel_index(off, shape)]
    mirrored = structure.positions(col.ravel()[off], row.ravel()[off])
    return own, Write(index(e.value, maps, (len(off),)), table_map(mirrored, (len(off),)))


def spmatrix(layout: CsrLayout, values: np.ndarray) -> scipy.sparse.csr_array:
    """A CSR array over the layout's structure (shared, not copied)."""
    known = layout.template
    out = object.__new__(type(known))  # the constructor looks through the index arrays, which takes much longer
    vars(out).update(vars(known), data=values)
    return out
