"""From sweeps to results: how many a product takes, and where their numbers go.

Few variables take one sweep through the function, with numbers that hold the lower triangle of the second derivatives.
Many take several: each sweep computes a tile of the Hessian, ROWS rows by COLUMNS columns, and tiles above the diagonal
are left out. A product H v is a sweep with one row direction, v, for every COLUMNS columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numba
import numpy as np

from symhess.native.kernels import Kernel
from symhess.native.layout import HEAD, Layout

#: more variables than this are differentiated in tiles
ONE_SWEEP = 12
#: the tiles
ROWS, COLUMNS = 8, 16
#: columns of a sweep for first derivatives
FIRST_COLUMNS = 32

Arrays = Sequence[np.ndarray]


def value_layout(n: int) -> Layout:
    """Values alone."""
    return Layout(0)


def gradient_layout(n: int) -> Layout:
    """First derivatives of n variables."""
    return Layout(1, min(n, FIRST_COLUMNS))


def hessian_layout(n: int) -> Layout:
    """Second derivatives of n variables."""
    return Layout(2, n, n, True) if n <= ONE_SWEEP else Layout(2, COLUMNS, ROWS)


def product_layout(n: int) -> Layout:
    """Products of the Hessian of n variables with a vector."""
    return Layout(2, min(n, COLUMNS), 1)


_NO_VECTOR, _NO_MATRIX = np.empty(0), np.empty((0, 0))


def value_of(kernel: Kernel, arrays: Arrays) -> float:
    """The function's value."""
    value = np.empty(())
    kernel.entry(*arrays, value, _NO_VECTOR, _NO_MATRIX)
    return value[()]


def gradient_of(kernel: Kernel, arrays: Arrays, n: int) -> tuple[float, np.ndarray]:
    """Value and gradient."""
    if kernel.single:
        value, gradient = np.empty(()), np.empty(n)
        kernel.entry(*arrays, value, gradient, _NO_MATRIX)
        return value[()], gradient
    columns = kernel.layout.columns
    starts = np.arange(0, n, columns)
    out = kernel.sweep(arrays, starts, np.zeros((len(starts), 0, 0)))
    return out[0, 0], out[:, HEAD:HEAD + columns].reshape(-1)[:n]


def product_of(kernel: Kernel, arrays: Arrays, v: np.ndarray) -> np.ndarray:
    """H v."""
    layout = kernel.layout
    starts = np.arange(0, len(v), layout.columns)
    out = kernel.sweep(arrays, starts, np.repeat(v[None, None], len(starts), axis=0))
    return out[:, layout.row_start:layout.row_start + layout.columns].reshape(-1)[:len(v)]


def hessian_of(kernel: Kernel, arrays: Arrays, n: int, diagonal: bool = False) -> tuple[float, np.ndarray, np.ndarray]:
    """Value, gradient and the symmetric Hessian; where `diagonal`, nothing else of it is right."""
    layout, gradient, hessian = kernel.layout, np.empty(n), np.empty((n, n))
    if kernel.single:
        value = np.empty(())
        kernel.entry(*arrays, value, gradient, hessian)
        return value[()], gradient, hessian
    least = ROWS if diagonal else n + COLUMNS
    tiles = np.array([(i, j) for i, j in itertools.product(range(0, n, ROWS), range(0, n, COLUMNS))
                      if j < i + ROWS and j > i - COLUMNS - least + ROWS])
    rows = np.zeros((len(tiles), ROWS, n))
    for k, (i, _) in enumerate(tiles):
        rows[k, range(min(ROWS, n - i)), range(i, min(i + ROWS, n))] = 1.0
    out = kernel.sweep(arrays, tiles[:, 1].copy(), rows)
    _place(out, tiles, layout.row_start, gradient, hessian)
    return out[0, 0], gradient, hessian


@numba.njit(nogil=True)
def _place(out: np.ndarray, tiles: np.ndarray, place: int, gradient: np.ndarray, hessian: np.ndarray) -> None:
    """Tiles of the lower triangle, and their mirror images."""
    n = len(gradient)
    for k in range(len(tiles)):
        i, j = tiles[k]
        for c in range(j, min(j + COLUMNS, n)):
            gradient[c] = out[k, HEAD + c - j]
            for r in range(max(i, c), min(i + ROWS, n)):
                hessian[r, c] = hessian[c, r] = out[k, place + COLUMNS * (r - i) + c - j]
