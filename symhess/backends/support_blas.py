"""Matrix products that generated kernels call, on batches of contiguous matrices.

BLAS is SciPy's, reached by address. Its matrices are column-major, so a row-major a of shape (k, m) is its m x k
matrix X, and a' a = X X'; the triangle that BLAS calls upper is our lower one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symhess.backends.kernel_functions import Instruction, compiled, link_cython
from symhess.backends.plain import mirror


def link_blas() -> None:
    """Make the BLAS routines used here known to the linker, under names of our own."""
    for name in ("ssyrk", "dsyrk", "sgemm", "dgemm"):
        link_cython("scipy.linalg.cython_blas", name, f"symhess_{name}")


link_blas()


@Instruction
def syrk_half(a: Any, c: Any, m: int, k: int, turned: bool, alpha: float, beta: float) -> None:
    """The lower triangle of c = alpha a' a + beta c, for row-major a of shape (k, m), or a a' for (m, k)."""
    c[...] = np.tril(alpha * (a @ a.T if turned else a[:k].T @ a[:k]) + beta * c) + np.triu(c, 1)


@Instruction
def gemm_into(a: Any, b: Any, c: Any, turned_a: bool, turned_b: bool) -> None:
    """c = a @ b for row-major matrices, an operand stored transposed where its flag holds."""
    c[...] = (a.T if turned_a else a) @ (b.T if turned_b else b)


@compiled
def gemm(a, b, out, turned_a, turned_b):
    """out[s] = a[s] @ b[s], where an operand may be stored transposed."""
    for s in range(out.shape[0]):
        gemm_into(a[s], b[s], out[s], turned_a, turned_b)


@compiled
def syrk(a, out, turned):
    """out[s] = a[s].T @ a[s], or a[s] @ a[s].T where a is stored transposed."""
    m, k = out.shape[1], a.shape[2] if turned else a.shape[1]
    for s in range(out.shape[0]):
        syrk_half(a[s], out[s], m, k, turned, 1.0, 0.0)
    mirror(out)


@compiled
def scaled_rows(a, w, turned, scaled):
    """Rows of a times sqrt(|w|), those with w < 0 last; gives the number of the others."""
    k, m = scaled.shape
    first, last = 0, k
    for r in range(k):
        if w[r] < 0:
            last -= 1
            place = last
        else:
            place = first
            first += 1
        factor = math.sqrt(abs(w[r]))
        for i in range(m):
            scaled[place, i] = factor * (a[i, r] if turned else a[r, i])
    return first


@compiled
def weighted_syrk(a, w, out, turned):
    """out[s] = a[s].T @ diag(w[s]) @ a[s]: one symmetric product per sign of w."""
    m, k = out.shape[1], w.shape[1]
    scaled = np.empty((k, m), a.dtype)
    for s in range(out.shape[0]):
        positive = scaled_rows(a[s], w[s], turned, scaled)
        syrk_half(scaled, out[s], m, positive, False, 1.0, 0.0)
        if positive < k:
            syrk_half(scaled[positive:], out[s], m, k - positive, False, -1.0, 1.0)
    mirror(out)


NAMES = {f.__name__: f for f in (gemm, syrk, weighted_syrk)}
