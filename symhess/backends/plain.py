"""Small functions that any kernel may call: selects, NaN-keeping extremes, stable exponentials, mirrored triangles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from symhess.backends.kernel_functions import Instruction, compiled
from symhess.backends.squares import SQUARE, mirrored, mirrored_upper, transposed
from symhess.plan.tiles import TILE


@Instruction
def select(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b; both are known, nothing branches."""
    return a if condition else b


@Instruction
def accumulate(total: Any, x: Any) -> Any:
    """total + x, where a compiler may reorder the additions of a chain (NaN and infinities are kept)."""
    return total + x


@Instruction
def maximum(x: Any, y: Any) -> Any:
    """x if x >= y or x is NaN, else y: NumPy's rule."""
    return x if x >= y or x != x else y


@Instruction
def minimum(x: Any, y: Any) -> Any:
    """x if x <= y or x is NaN, else y: NumPy's rule."""
    return x if x <= y or x != x else y


@Instruction
def transpose_square(c: Any, source: int, target: int) -> None:
    """The square of a stack of matrices at flat position `target` becomes the transpose of the one at `source`."""
    _put(c, target, transposed(_shuffle, _square(c, source)))


@Instruction
def mirror_square(c: Any, source: int, target: int) -> None:
    """The same with the lower triangle of the square mirrored."""
    _put(c, target, mirrored(_shuffle, _square(c, source)))


@Instruction
def mirror_upper_square(c: Any, source: int, target: int) -> None:
    """The same with the upper triangle of the square mirrored."""
    _put(c, target, mirrored_upper(_shuffle, _square(c, source)))


@Instruction
def interleave(m: Any, position: int, sources: Any) -> None:
    """m[position + k * p + j] = source j at p, for 8 iterations p and k sources: rows of 8 elements, or numbers."""
    rows = [np.broadcast_to(s, SQUARE) for s in sources]
    m[position:][:SQUARE * len(rows)] = np.stack(rows, axis=1).ravel()


def _square(c: Any, at: int) -> list[Any]:
    return [c.ravel()[at + r * c.shape[-1]:][:SQUARE].copy() for r in range(SQUARE)]


def _put(c: Any, at: int, rows: list[Any]) -> None:
    for r, row in enumerate(rows):
        c.reshape(-1)[at + r * c.shape[-1]:][:SQUARE] = row


def _shuffle(a: Any, b: Any, lanes: Sequence[int]) -> Any:
    return [[*a, *b][l] for l in lanes]


@compiled
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) without overflow."""
    return math.exp(minimum(x, 0.0)) / (1 + math.exp(-abs(x)))


@compiled
def softplus(x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    return maximum(x, 0.0) + math.log1p(math.exp(-abs(x)))


@compiled
def logaddexp(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)) without overflow; equal infinities give themselves."""
    larger = maximum(x, y)
    return select(x == y, x + math.log(2.0), larger + math.log1p(math.exp(-abs(x - y))))


@compiled
def cumsum(v: Any, out: Any, reverse: Any) -> None:
    """Running sums along the middle axis of a rank-3 array, from the end if `reverse`."""
    outer, n, inner = v.shape
    for a in range(outer):
        for j in range(inner):
            out[a, (n - 1) if reverse else 0, j] = v[a, (n - 1) if reverse else 0, j]
        for i in range(1, n):
            here, before = ((n - 1 - i), (n - i)) if reverse else (i, i - 1)
            for j in range(inner):
                out[a, here, j] = out[a, before, j] + v[a, here, j]


@Instruction
def one_by_one() -> None:
    """Nothing, but a loop with it is not vectorised."""


@compiled
def mirror_few(c: Any) -> None:
    """Copy the lower triangle of each square matrix of a stack to the upper one, element by element."""
    for s in range(c.shape[0]):
        one_by_one()  # gathers and scatters of small matrices are slow
        for i in range(c.shape[1]):
            for j in range(i):
                c[s, j, i] = c[s, i, j]


@compiled
def mirror_upper_few(c: Any) -> None:
    """Copy the upper triangle to the lower one."""
    for s in range(c.shape[0]):
        one_by_one()
        for j in range(c.shape[1]):
            for i in range(j):
                c[s, j, i] = c[s, i, j]


@compiled
def mirror_squares(c: Any, upper: Any) -> None:
    """The same square by square, in tiles, for matrices that have squares off the diagonal."""
    n = c.shape[1]
    for first in range(0, c.size, n * n):
        for corner in range(0, n, TILE):
            for left in range(0, corner + 1, TILE):
                mirror_tile(c, first, corner, left, upper)


@compiled
def mirror_tile(c: Any, first: Any, corner: Any, left: Any, upper: Any) -> None:
    """Rows from `corner` and columns from `left` on, or the other way round, of the matrix at position `first`."""
    n = c.shape[1]
    down, across = (1, n) if upper else (n, 1)
    for i in range(corner, min(corner + TILE, n), SQUARE):
        top = min(i, n - SQUARE)
        right = min(left + TILE, top)
        for j in range(left, right, SQUARE):
            j = min(j, right - SQUARE)
            transpose_square(c, first + top * down + j * across, first + j * down + top * across)
        if left == corner:
            square = first + top * (n + 1)
            if upper:
                mirror_upper_square(c, square, square)
            else:
                mirror_square(c, square, square)


@compiled
def mirror_tiles(c: Any, upper: Any, tiles: Any, begin: Any, end: Any) -> None:
    """Mirror one matrix, those of the tiles in some rows of them that are not empty.

    Those on the diagonal may not be left out: the last square there reaches into the tile beside it.
    """
    for i in range(begin, end):
        for j in range(i + 1):
            if tiles[i, j] > 0 or i == j:
                mirror_tile(c, 0, i * TILE, j * TILE, upper)


@compiled
def is_cleared(tiles: Any, upper: Any, i: Any, j: Any) -> Any:
    """True for a tile that is not assigned as a whole, on the other side of the diagonal for one that stays empty."""
    other = j < i if upper else j > i
    return tiles[max(i, j), min(i, j)] < (1 if other else 2)


@compiled
def clear_tiles(c: Any, upper: Any, tiles: Any, begin: Any, end: Any) -> None:
    """Clear one matrix, in some rows of tiles, where it is neither assigned nor mirrored as a whole."""
    n, count = c.shape[1], tiles.shape[0]
    for i in range(begin, end):
        j = 0
        while j < count:
            left = j
            while j < count and is_cleared(tiles, upper, i, j):
                j += 1
            for row in range(i * TILE, min(i * TILE + TILE, n)):
                for k in range(left * TILE, min(j * TILE, n)):
                    c[0, row, k] = 0
            j += 1


@compiled
def mirror(c: Any) -> None:
    """Copy the lower triangles to the upper ones."""
    if c.shape[1] < 2 * SQUARE:
        mirror_few(c)
    else:
        mirror_squares(c, False)


@compiled
def mirror_upper(c: Any) -> None:
    """Copy the upper triangles to the lower ones."""
    if c.shape[1] < 2 * SQUARE:
        mirror_upper_few(c)
    else:
        mirror_squares(c, True)


@compiled
def assign(target: Any, source: Any) -> None:
    """target[:m, :n] = source of shape (m, n); a tenth of what an assignment of arrays takes Numba to compile."""
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[i, j] = source[i, j]


@compiled
def assign_row(target: Any, row: Any, source: Any) -> None:
    """target[row, :n] = source of shape (n,)."""
    for j in range(source.shape[0]):
        target[row, j] = source[j]


#: what generated source may name
NAMES = {f.__name__: f for f in (
    select, accumulate, maximum, minimum, transpose_square, mirror_square, mirror_upper_square, interleave, one_by_one,
    sigmoid, softplus, logaddexp, cumsum, mirror_few, mirror_upper_few, mirror_squares, mirror, mirror_upper,
    mirror_tiles, clear_tiles, assign, assign_row)}
