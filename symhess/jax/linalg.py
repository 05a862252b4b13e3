"""Rules of linear algebra: decompositions, and the functions of jax.numpy.linalg that NumPy has, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symhess.jax.table import library, rule
from symhess.trace.linalg import triangular

Outs = Sequence[Any]


@rule("cholesky")
def cholesky(outs: Outs, a: Any, *, symmetrize_input: bool = False, **params: Any) -> Any:
    """The lower factor of the symmetric part, or of the matrix whose lower triangle is given."""
    other = np.swapaxes(a, -1, -2)
    if symmetrize_input:
        return np.linalg.cholesky((a + other) / 2)
    lower = np.tri(a.shape[-1], dtype=bool)
    return np.linalg.cholesky(np.where(lower, a, other))


@rule("triangular_solve")
def triangular_solve(outs: Outs, a: Any, b: Any, *, left_side: bool, lower: bool, transpose_a: bool,
                     unit_diagonal: bool, **params: Any) -> Any:
    """x with op(a) x = b, or x op(a) = b."""
    if unit_diagonal:
        eye = np.eye(a.shape[-1], dtype=a.dtype)
        a = np.where(eye == 1, eye, a)
    if left_side:
        return triangular(a, b, lower, transpose_a)
    return np.swapaxes(triangular(a, np.swapaxes(b, -1, -2), lower, not transpose_a), -1, -2)


@rule("eigh")
def eigh(outs: Outs, a: Any, *, lower: bool = True, **params: Any) -> list[Any]:
    """(vectors, values)."""
    values, vectors = np.linalg.eigh(a, "L" if lower else "U")
    return [vectors, values]


@rule("svd")
def svd(outs: Outs, a: Any, *, compute_uv: bool = True, full_matrices: bool = False, **params: Any) -> list[Any]:
    """(s, u, vt), or s alone."""
    if not compute_uv:
        return [np.linalg.svd(a, compute_uv=False)]
    u, s, vt = np.linalg.svd(a, full_matrices=full_matrices)
    return [s, u, vt]


@rule("qr")
def qr(outs: Outs, a: Any, *, full_matrices: bool = False, **params: Any) -> list[Any]:
    return list(np.linalg.qr(a, "complete" if full_matrices else "reduced"))


# -- functions of jax.numpy.linalg -----------------------------------------------------------------------------------


@library("solve", "_solve")
def solve(outs: Outs, a: Any, b: Any, **params: Any) -> Any:
    if len(b.shape) == 1:
        return np.linalg.solve(a, np.expand_dims(b, -1))[..., 0]
    return np.linalg.solve(a, b)


@library("inv")
def inv(outs: Outs, a: Any, **params: Any) -> Any:
    return np.linalg.inv(a)


@library("det", "_det")
def det(outs: Outs, a: Any, **params: Any) -> Any:
    return np.linalg.det(a)


@library("slogdet", "_slogdet_lu")
def slogdet(outs: Outs, a: Any, **params: Any) -> list[Any]:
    return list(np.linalg.slogdet(a))


@library("pinv")
def pinv(outs: Outs, a: Any, **params: Any) -> Any:
    return np.linalg.pinv(a)
