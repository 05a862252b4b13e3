"""np.linalg's decompositions: eigenvalues of symmetric matrices, singular values, QR, pseudoinverses, least squares."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symhess.errors import ShapeMismatch
from symhess.graph.node import Node
from symhess.primitives import apply
from symhess.primitives import decompositions as primitives
from symhess.primitives.linalg import _square, _triangle, transposed
from symhess.trace.functions import finished, implements, unsupported
from symhess.trace.linalg import matrix_of
from symhess.trace.session import here
from symhess.trace.shaping import traced

NO_VALUE = np._NoValue


def symmetric(a: Any, lower: bool = True) -> Node:
    """The symmetric matrices of which one triangle is given."""
    node = matrix_of(a)
    _square(node, "a symmetric matrix")
    triangle = _triangle(node, lower)
    strict = apply("sub", triangle, _triangle(triangle, not lower))
    return apply("add", triangle, transposed(strict))


def _result(function: Any, *parts: Any) -> Any:
    """The named tuple that a function of np.linalg returns."""
    return type(function(np.eye(1)))(*map(finished, parts))


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    return _result(np.linalg.eigh, *primitives.eigh(symmetric(a, _lower(UPLO))))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return primitives.eigh(symmetric(a, _lower(UPLO)))[0]


def _lower(triangle: str) -> bool:
    if str(triangle).upper() not in ("L", "U"):
        raise ValueError(f"UPLO argument must be 'L' or 'U'{here()}")
    return triangle.upper() == "L"


@implements(np.linalg.eig, np.linalg.eigvals)
def eig(a: Any) -> Any:
    raise unsupported("linalg.eig, whose results may be complex (for symmetric matrices there is eigh)")


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    node = matrix_of(a)
    u, s, vt = primitives.svd(node)
    if not compute_uv:
        return s
    if full_matrices and node.shape[-1] != node.shape[-2]:
        raise unsupported("linalg.svd with full_matrices=True, whose last vectors are not unique")
    return _result(np.linalg.svd, u, s, vt)


@implements(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    return primitives.svd(matrix_of(x))[1]


@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    node = matrix_of(a)
    if mode not in ("reduced", "r", "complete") or (mode == "complete" and node.shape[-2] > node.shape[-1]):
        raise unsupported(f"linalg.qr with mode={mode!r}")
    q, r = primitives.qr(node)
    return r if mode == "r" else _result(np.linalg.qr, q, r)


def _epsilon(node: Node) -> float:
    return float(np.finfo(node.dtype).eps) * max(node.shape[-2:])


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = NO_VALUE) -> Any:
    node = matrix_of(a)
    if rcond is None:
        rcond = 1e-15 if rtol is NO_VALUE else _epsilon(node) if rtol is None else rtol
    return primitives.pinv(node, float(rcond))


@implements(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """x = A^+ b, the sum of squares that is left where A has more rows than columns, rank and singular values."""
    node = matrix_of(a)
    if node.ndim != 2 or np.ndim(b) not in (1, 2) or np.shape(b)[0] != node.shape[0]:
        raise ShapeMismatch(f"lstsq: a matrix of shape {node.shape}, right side of shape {np.shape(b)}{here()}")
    rcond = _epsilon(node) if rcond is None else float(np.finfo(node.dtype).eps) if rcond == -1 else float(rcond)
    a, s = finished(node), finished(primitives.svd(node)[1])
    x = finished(primitives.pinv(node, rcond)) @ traced(b)
    off = traced(b) - a @ x
    left = np.sum(off * off, axis=0)
    left = np.atleast_1d(left) if node.shape[0] > node.shape[1] else np.zeros(0, node.dtype)
    return x, left, np.count_nonzero(s > rcond * s[0]) if s.size else 0, s


@implements(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    if np.ndim(A) < 2:
        return np.any(np.not_equal(A, 0)).astype(int)
    node = matrix_of(A)
    s = finished(primitives.svd(node)[1])
    if tol is None:
        tol = s.max(axis=-1, keepdims=True) * (_epsilon(node) if rtol is None else rtol)
    return np.count_nonzero(s > tol, axis=-1)


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    if p in (None, 2, -2):
        s = finished(primitives.svd(matrix_of(x))[1])
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return np.linalg.norm(x, p, (-2, -1)) * np.linalg.norm(np.linalg.inv(x), p, (-2, -1))


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    shape = np.shape(a)
    rows = math.prod(shape[:ind])
    return np.linalg.inv(traced(a).reshape(rows, -1)).reshape(*shape[ind:], *shape[:ind])


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    a, b = traced(a), traced(b)
    if axes is not None:
        a = np.moveaxis(a, axes, range(-len(axes), 0))
    return np.linalg.solve(a.reshape(-1, b.size), b.reshape(-1)).reshape(a.shape[b.ndim:])
