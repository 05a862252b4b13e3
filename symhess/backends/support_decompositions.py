"""Decompositions that generated kernels call: eigenvalues, singular values, QR and pseudoinverses of stacks.

The routines are LAPACK's, as Numba calls them. Each writes the record of `symhess.primitives.decompositions`; a matrix
that is not finite gives NaN.
"""

from __future__ import annotations

import math

import numpy as np

from symhess.backends.kernel_functions import compiled
from symhess.backends.plain import assign, assign_row


@compiled
def eigh(a, out):
    """w and V of symmetric matrices, from the lower triangle."""
    n = a.shape[-1]
    matrices, records = a.reshape((-1, n, n)), out.reshape((-1, n + 1, n))
    for s in range(len(matrices)):
        records[s] = math.nan
        if np.all(np.isfinite(matrices[s])):
            w, v = np.linalg.eigh(matrices[s])
            assign_row(records[s], 0, w)
            assign(records[s, 1:], v)


@compiled
def svd(a, out):
    """U, s and V of the thin singular value decomposition."""
    m, n = a.shape[-2], a.shape[-1]
    matrices, records = a.reshape((-1, m, n)), out.reshape((-1, m + 1 + n, min(m, n)))
    for k in range(len(matrices)):
        records[k] = math.nan
        if np.all(np.isfinite(matrices[k])):
            u, s, vt = np.linalg.svd(matrices[k], False)
            assign(records[k], u)
            assign_row(records[k], m, s)
            assign(records[k, m + 1:], vt.T)


@compiled
def qr(a, out):
    """Q and R of matrices with at least as many rows as columns."""
    m, n = a.shape[-2], a.shape[-1]
    matrices, records = a.reshape((-1, m, n)), out.reshape((-1, m + n, n))
    for s in range(len(matrices)):
        records[s] = math.nan
        if np.all(np.isfinite(matrices[s])):
            q, r = np.linalg.qr(matrices[s])
            assign(records[s], q)
            assign(records[s, m:], r)


@compiled
def pinv(a, out, rcond):
    """Pseudoinverses, without singular values below rcond times the largest."""
    m, n = a.shape[-2], a.shape[-1]
    matrices, inverses = a.reshape((-1, m, n)), out.reshape((-1, n, m))
    for k in range(len(matrices)):
        inverses[k] = math.nan
        if not np.all(np.isfinite(matrices[k])):
            continue
        u, s, vt = np.linalg.svd(matrices[k], False)
        for i in range(n):
            for j in range(m):
                total = 0.0
                for r in range(len(s)):
                    if s[r] > rcond * s[0]:
                        total += vt[r, i] * u[j, r] / s[r]
                inverses[k, i, j] = total


@compiled
def _row(record, out, row):
    k = record.shape[-1]
    records, values = record.reshape((-1, record.shape[-2], k)), out.reshape((-1, k))
    for s in range(len(values)):
        assign_row(values, s, records[s, row])


@compiled
def eigenvalues(a, record, out, row):
    """The row of a record that holds the eigenvalues."""
    _row(record, out, row)


@compiled
def singular_values(a, record, out, row):
    """The row of a record that holds the singular values."""
    _row(record, out, row)


#: library functions by name: (argument arrays..., out, *params)
NAMES = {f.__name__: f for f in (eigh, svd, qr, pinv, eigenvalues, singular_values)}
