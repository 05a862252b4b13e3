"""How a number with derivatives lies in registers and memory.

    Number = (v, mask, bent, b_1 ... b_c, a_1 ... a_p, h_11 h_12 ...)     a packed struct of doubles and vectors

v is the value; b its derivatives in the *column* directions, cut into vectors of `width` doubles; a those in the *row*
directions, one by one; h_rc second derivatives, in row direction r and a vector of columns. Where rows and columns are
the same directions there is no a, and row r ends with the vector that holds its diagonal entry: a lower triangle in
blocks. `mask` has a bit for each direction (columns first, then rows) in which the number can move at all, `bent` for
each in which it can do so other than linearly: what is constant stays constant also where a derivative is infinite.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from llvmlite import ir

DOUBLE, MASK = ir.DoubleType(), ir.IntType(64)
#: doubles in the longest vector
WIDEST = 8
#: doubles before the derivatives: the value and two masks
HEAD = 3


@dataclass(frozen=True)
class Layout:
    """`order` 0 (values), 1 (b as well) or 2; `rows` row directions, which are the columns where `same`."""

    order: int
    columns: int = 0
    rows: int = 0
    same: bool = False

    @property
    def width(self) -> int:
        """Doubles in a vector: a power of two, no more than needed."""
        return min(WIDEST, 1 << max(self.columns - 1, 0).bit_length())

    @property
    def chunks(self) -> int:
        """Vectors of columns."""
        return -(-self.columns // self.width) if self.order else 0

    def row_chunks(self, row: int) -> int:
        """Vectors of second derivatives in one row direction."""
        return row // self.width + 1 if self.same else self.chunks

    @property
    def own_rows(self) -> int:
        """Row directions that are not columns: entries of a."""
        return 0 if self.same or self.order < 2 else self.rows

    @property
    def row_start(self) -> int:
        """Position of h_11 among the doubles."""
        return HEAD + self.chunks * self.width + self.own_rows

    @property
    def size(self) -> int:
        """Doubles altogether."""
        rows = range(self.rows) if self.order == 2 else ()
        return self.row_start + self.width * sum(self.row_chunks(r) for r in rows)

    @property
    def name(self) -> str:
        return f"{self.order}_{self.columns}_{self.rows}_{int(self.same)}"

    @functools.cached_property
    def struct(self) -> ir.LiteralStructType:
        """The LLVM type. Packed: memory of arrays and lists is aligned to doubles alone."""
        vector = ir.VectorType(DOUBLE, self.width)
        second = sum(self.row_chunks(r) for r in range(self.rows)) if self.order == 2 else 0
        members = [DOUBLE, MASK, MASK, *[vector] * self.chunks, *[DOUBLE] * self.own_rows, *[vector] * second]
        return ir.LiteralStructType(members, packed=True)
