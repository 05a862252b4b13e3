"""The lower triangle of a square matrix copied to the upper one, in squares that are transposed in registers.

A column of a large matrix touches one cache line per element: a square of 8 x 8 turns 8 loads of 8 elements into as
many stores. Copying is idempotent, so the last squares of a row or column may overlap those before them.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba import njit, types
from numba.core.typing import signature
from numba.extending import intrinsic

#: elements along a side of what is transposed in registers, and of the tiles that stay in the cache
SQUARE, TILE = 8, 64


def _shuffled(builder, a, b, lanes: Sequence[int]):
    """The chosen elements of the concatenation of two vectors."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), SQUARE), list(lanes))
    return builder.shuffle_vector(a, b, mask)


def _transposed(builder, rows: Sequence) -> list:
    """Swap the off-diagonal blocks of side d, for d = 4, 2, 1."""
    rows, d = list(rows), SQUARE // 2
    while d:
        for r in (r for r in range(SQUARE) if not r & d):
            a, b = rows[r], rows[r + d]
            rows[r] = _shuffled(builder, a, b, [l if not l & d else SQUARE + l - d for l in range(SQUARE)])
            rows[r + d] = _shuffled(builder, a, b, [l + d if not l & d else SQUARE + l for l in range(SQUARE)])
        d //= 2
    return rows


def _mirrored(builder, rows: Sequence) -> list:
    """Rows of a square on the diagonal: each as it is up to the diagonal, transposed beyond."""
    turned = _transposed(builder, rows)
    return [_shuffled(builder, rows[r], turned[r], [l if l <= r else SQUARE + l for l in range(SQUARE)])
            for r in range(SQUARE)]


def _between_squares(change):
    """An intrinsic f(c, source, target): the square at flat position `target` becomes the changed one at `source`."""

    def build(typing_context, c, source, target):
        def codegen(context, builder, sig, args):
            array = context.make_array(sig.args[0])(context, builder, args[0])
            element = context.get_data_type(sig.args[0].dtype)
            vector = ir.VectorType(element, SQUARE).as_pointer()
            lead = builder.extract_value(array.shape, sig.args[0].ndim - 1)

            def row(first, r):
                place = builder.add(first, builder.mul(lead, lead.type(r)))
                return builder.bitcast(builder.gep(array.data, [place]), vector)

            align = context.get_abi_sizeof(element)
            rows = [builder.load(row(args[1], r), align=align) for r in range(SQUARE)]
            for r, v in enumerate(change(builder, rows)):
                builder.store(v, row(args[2], r), align=align)
            return context.get_dummy_value()

        return signature(types.none, c, types.intp, types.intp), codegen

    return build


transpose_square = intrinsic(_between_squares(_transposed))
mirror_square = intrinsic(_between_squares(_mirrored))


@njit(error_model="numpy")
def mirror_few(c):
    """Copy the lower triangle of each square matrix of a stack to the upper one, element by element."""
    for s in range(c.shape[0]):
        for i in range(c.shape[1]):
            for j in range(i):
                c[s, j, i] = c[s, i, j]


@njit(error_model="numpy")
def mirror(c):
    """The same square by square, in tiles, for matrices that have squares below those on the diagonal."""
    n = c.shape[1]
    if n < 2 * SQUARE:
        mirror_few(c)
        return
    for first in range(0, c.size, n * n):
        for corner in range(0, n, TILE):
            for left in range(0, corner + 1, TILE):
                for i in range(corner, min(corner + TILE, n), SQUARE):
                    top = min(i, n - SQUARE)
                    right = min(left + TILE, top)
                    for j in range(left, right, SQUARE):
                        j = min(j, right - SQUARE)
                        transpose_square(c, first + top * n + j, first + j * n + top)
                    if left == corner:
                        mirror_square(c, first + top * (n + 1), first + top * (n + 1))


NAMES = {"mirror": mirror, "mirror_few": mirror_few}
