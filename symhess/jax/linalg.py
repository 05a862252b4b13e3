"""Rules of linear algebra: decompositions, and the functions of jax.numpy.linalg that NumPy has, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.api import transforms
from symhess.graph.node import constant
from symhess.jax.evaluation import outputs_of
from symhess.jax.table import rule
from symhess.trace import is_traced
from symhess.trace.functions import finished
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


@rule("tridiagonal_solve")
def tridiagonal_solve(outs: Outs, low: Any, diagonal: Any, high: Any, b: Any, **params: Any) -> Any:
    """x with low_i x_{i-1} + diagonal_i x_i + high_i x_{i+1} = b_i."""
    n = diagonal.shape[-1]
    bands = [np.expand_dims(band, -1) * np.eye(n, k=k, dtype=diagonal.dtype)
             for k, band in ((-1, low), (0, diagonal), (1, high))]
    return np.linalg.solve(bands[0] + bands[1] + bands[2], b)


@rule("custom_linear_solve")
def custom_linear_solve(outs: Outs, *args: Any, const_lengths: Any, jaxprs: Any, **params: Any) -> list[Any]:
    """x with A x = b for a linear function A, whatever algorithm is given for it: by the matrix of A."""
    counts = list(const_lengths)
    consts, b = args[:counts[0]], args[sum(counts):]
    sizes = [math.prod(o.shape) for o in outs]
    ends = np.cumsum([0, *sizes]).tolist()

    def product(x: Any) -> Any:
        parts = [np.reshape(x[i:j], o.shape) for i, j, o in zip(ends, ends[1:], outs)]
        return np.concatenate([np.reshape(y, (-1,)) for y in outputs_of(jaxprs.matvec, [*consts, *parts])])

    columns = np.eye(ends[-1], dtype=outs[0].dtype)
    rows = transforms.vmap(product)(finished(constant(columns))) if any(map(is_traced, consts)) else product_of(
        product, columns)
    flat = np.concatenate([np.reshape(v, (-1,)) for v in b])
    x = np.linalg.solve(np.transpose(rows), np.expand_dims(flat, -1))[:, 0]
    return [np.reshape(x[i:j], o.shape) for i, j, o in zip(ends, ends[1:], outs)]


def product_of(product: Callable, columns: np.ndarray) -> np.ndarray:
    """The products of a known linear function with all unit vectors."""
    return np.stack([product(c) for c in columns])
