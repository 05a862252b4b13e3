"""Matrix products that generated kernels call, on batches of contiguous matrices."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(error_model="numpy")
def gemm(a, b, out, turned_a, turned_b):
    """out[s] = a[s] @ b[s], where an operand may be stored transposed."""
    for s in range(out.shape[0]):
        if turned_a and turned_b:
            np.dot(a[s].T, b[s].T, out[s])
        elif turned_a:
            np.dot(a[s].T, b[s], out[s])
        elif turned_b:
            np.dot(a[s], b[s].T, out[s])
        else:
            np.dot(a[s], b[s], out[s])


@njit(error_model="numpy")
def syrk(a, out, turned):
    """out[s] = a[s].T @ a[s]"""
    for s in range(out.shape[0]):
        if turned:
            np.dot(a[s], a[s].T, out[s])
        else:
            np.dot(a[s].T, a[s], out[s])


@njit(error_model="numpy")
def weighted_syrk(a, w, out, turned):
    """out[s] = a[s].T @ diag(w[s]) @ a[s]"""
    for s in range(out.shape[0]):
        if turned:
            np.dot(a[s] * w[s], a[s].T, out[s])
        else:
            np.dot(a[s].T, w[s].reshape(-1, 1) * a[s], out[s])


KERNELS = {f.__name__: f for f in (gemm, syrk, weighted_syrk)}
