"""Eigenvalues, singular values, QR and pseudoinverses of stacks of matrices, and their derivatives.

    eigh     A = V diag(w) V^T      a record of n + 1 rows: w, then V; A is symmetric
    svd      A = U diag(s) V^T      a record of m + 1 + n rows: U, then s, then V; k = min(m, n) columns
    qr       A = Q R                a record of m + n rows: Q, then R; for m >= n
    pinv     A^+                    with the singular values below a limit left out

Matrices lie along the last two axes. Eigenvalues and singular values are read from a record by primitives of their own
(`eigenvalues`, `singular_values`), whose first derivative exists where values repeat: it holds no difference of them.
Derivatives of vectors, and second derivatives, divide by differences of values, and are NaN where two are equal.
A matrix that is not finite, or whose decomposition fails, gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.errors import DTypeMismatch, ShapeMismatch
from symhess.graph.maps import identity_maps
from symhess.graph.node import Node, Primitive, constant
from symhess.primitives.algebra import zeros
from symhess.primitives.contraction import matmul
from symhess.primitives.elementwise import apply
from symhess.primitives.linalg import (
    _declare,
    _each,
    _folded,
    _masked,
    _square,
    _triangle,
    transposed,
    triangular_solve,
)
from symhess.primitives.movement import concatenate, index, reshape, slice_axis

Shape = tuple[int, ...]


def _rows(record: Node, start: int, count: int) -> Node:
    return slice_axis(record, record.ndim - 2, start, 1, count)


def _row(v: Node) -> Node:
    """The values of a stack as rows (..., 1, n), to scale columns with."""
    return reshape(v, (*v.shape[:-1], 1, v.shape[-1]))


def _column(v: Node) -> Node:
    return reshape(v, (*v.shape, 1))


def _stacked(*parts: Node) -> Node:
    return concatenate(parts, parts[0].ndim - 2)


def _no_row(like: Node) -> Node:
    """What stands in derivatives for the values in a record, which nothing reads there."""
    return zeros((*like.shape[:-2], 1, like.shape[-1]), like.dtype)


def _diagonal(a: Node) -> Node:
    """The diagonals of a stack of square matrices."""
    box = a.shape[:-1]
    maps = identity_maps(box)
    return index(a, (*maps, maps[-1]), box)


def _inverse_differences(v: Node) -> Node:
    """F_ij = 1 / (v_j - v_i), 0 on the diagonal, NaN where two values are equal."""
    n = v.shape[-1]
    one = constant(np.eye(n).reshape((1,) * (v.ndim - 1) + (n, n)), v.dtype)
    difference = apply("add", apply("sub", _row(v), _column(v)), one)
    equal = apply("equal", difference, constant(0, v.dtype))
    inverse = apply("div", constant(1, v.dtype), apply("where", equal, constant(np.nan, v.dtype), difference))
    return _masked(inverse, 1 - np.eye(n))


def _failing(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The function of one matrix, with a result of NaN where it fails."""
    def run(a: np.ndarray, *others: Any) -> np.ndarray:
        try:
            return function(a, *others)
        except np.linalg.LinAlgError:
            return function(np.zeros_like(a), *others) * np.nan

    return run


def _matrix(a: Node, what: str) -> tuple[int, int]:
    """Rows and columns."""
    if a.ndim < 2:
        raise ShapeMismatch(f"{what} needs matrices along the last two axes, not shape {a.shape}")
    if a.dtype.kind != "f":
        raise DTypeMismatch(f"{what} needs floating-point matrices, not {a.dtype}: cast them first")
    return a.shape[-2], a.shape[-1]


def _declare_values(name: str, row: Callable[[Node], int], vjp: Callable, jvp: Callable) -> Primitive:
    """A primitive of (A, record) that reads one row of the record."""
    return _declare(
        name, lambda args, attrs: ((*args[1].shape[:-2], args[1].shape[-1]), args[1].dtype),
        lambda arrays, node: arrays[1][..., row(node.args[0]), :], params=lambda node: (row(node.args[0]),),
        vjp=vjp, jvp=jvp, batch=lambda node, args, added: _folded(node.op, args))


# -- symmetric eigenvalue problems -----------------------------------------------------------------------------------


def eigh(a: Node) -> tuple[Node, Node]:
    """Eigenvalues in ascending order, and eigenvectors as columns, of symmetric matrices."""
    n = _square(a, "eigh")
    if a.size == 0:
        return zeros(a.shape[:-1], a.dtype), a
    record = _folded(EIGH, (a,))
    return _folded(EIGENVALUES, (a, record)), _rows(record, 1, n)


def _eigh_one(a: np.ndarray) -> np.ndarray:
    return np.concatenate([part.reshape(-1, len(a)) for part in np.linalg.eigh(a)])


def _eigh_parts(record: Node) -> tuple[Node, Node]:
    """F and V of a record."""
    (a,) = record.args
    return _inverse_differences(_folded(EIGENVALUES, (a, record))), _rows(record, 1, a.shape[-1])


def _eigh_jvp(record: Node, tangents: Sequence[Node | None]) -> Node:
    """dV = V (F o (V^T dA V))."""
    f, v = _eigh_parts(record)
    inner = matmul(matmul(transposed(v), tangents[0]), v)
    return _stacked(_no_row(record), matmul(v, apply("mul", f, inner)))


def _eigh_vjp(record: Node, g: Node) -> list[Node]:
    """A' = V (F o (V^T G)) V^T."""
    f, v = _eigh_parts(record)
    inner = apply("mul", f, matmul(transposed(v), _rows(g, 1, v.shape[-1])))
    return [matmul(matmul(v, inner), transposed(v))]


EIGH = _declare(
    "eigh", lambda args, attrs: ((*args[0].shape[:-2], args[0].shape[-1] + 1, args[0].shape[-1]), args[0].dtype),
    lambda arrays, node: _each(_failing(_eigh_one), node.shape[-2:], *arrays),
    vjp=_eigh_vjp, jvp=_eigh_jvp, batch=lambda node, args, added: _folded(EIGH, args))


def _eigenvalues_jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    """dw_i = v_i^T dA v_i."""
    v = _rows(node.args[1], 1, node.shape[-1])
    return _diagonal(matmul(matmul(transposed(v), tangents[0]), v))


def _eigenvalues_vjp(node: Node, g: Node) -> list[Node | None]:
    """A' = V diag(g) V^T."""
    v = _rows(node.args[1], 1, node.shape[-1])
    return [matmul(apply("mul", v, _row(g)), transposed(v)), None]


EIGENVALUES = _declare_values("eigenvalues", lambda a: 0, _eigenvalues_vjp, _eigenvalues_jvp)


# -- singular values -------------------------------------------------------------------------------------------------


def svd(a: Node) -> tuple[Node, Node, Node]:
    """U, s and V^T of the thin decomposition, s in descending order."""
    m, n = _matrix(a, "svd")
    k = min(m, n)
    if a.size == 0:
        lead = a.shape[:-2]
        return zeros((*lead, m, k), a.dtype), zeros((*lead, k), a.dtype), zeros((*lead, k, n), a.dtype)
    record = _folded(SVD, (a,))
    return _rows(record, 0, m), _folded(SINGULAR_VALUES, (a, record)), transposed(_rows(record, m + 1, n))


def _svd_one(a: np.ndarray) -> np.ndarray:
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    return np.concatenate([u, s[None], vt.T])


def _svd_parts(record: Node) -> tuple[Node, Node, Node, Node]:
    """U, s, V, and F_ij = 1 / (s_j^2 - s_i^2)."""
    (a,) = record.args
    m, n = a.shape[-2:]
    s = _folded(SINGULAR_VALUES, (a, record))
    return _rows(record, 0, m), s, _rows(record, m + 1, n), _inverse_differences(apply("mul", s, s))


def _outside(u: Node, x: Node) -> Node:
    """(I - U U^T) X."""
    return apply("sub", x, matmul(u, matmul(transposed(u), x)))


def _svd_jvp(record: Node, tangents: Sequence[Node | None]) -> Node:
    """With P = U^T dA V and S = diag(s):

    dU = U (F o (P S + S P^T)) + (I - U U^T) dA V S^-1,   dV = V (F o (S P + P^T S)) + (I - V V^T) dA^T U S^-1.
    """
    (da,) = tangents
    u, s, v, f = _svd_parts(record)
    p = matmul(matmul(transposed(u), da), v)
    ps, sp = apply("mul", p, _row(s)), apply("mul", _column(s), p)
    du = matmul(u, apply("mul", f, apply("add", ps, transposed(ps))))
    dv = matmul(v, apply("mul", f, apply("add", sp, transposed(sp))))
    if u.shape[-2] > u.shape[-1]:
        du = apply("add", du, apply("div", _outside(u, matmul(da, v)), _row(s)))
    if v.shape[-2] > v.shape[-1]:
        dv = apply("add", dv, apply("div", _outside(v, matmul(transposed(da), u)), _row(s)))
    return _stacked(du, _no_row(record), dv)


def _svd_vjp(record: Node, g: Node) -> list[Node]:
    """A' = U (F o skew(U^T G_U)) S V^T + U S (F o skew(V^T G_V)) V^T and what lies outside of U and V."""
    u, s, v, f = _svd_parts(record)
    m, n = u.shape[-2], v.shape[-2]
    gu, gv = _rows(g, 0, m), _rows(g, m + 1, n)
    left, right = (apply("mul", f, _skew(matmul(transposed(x), gx))) for x, gx in ((u, gu), (v, gv)))
    inner = apply("add", apply("mul", left, _row(s)), apply("mul", _column(s), right))
    total = matmul(matmul(u, inner), transposed(v))
    if m > u.shape[-1]:
        total = apply("add", total, matmul(apply("div", _outside(u, gu), _row(s)), transposed(v)))
    if n > v.shape[-1]:
        total = apply("add", total, matmul(u, transposed(apply("div", _outside(v, gv), _row(s)))))
    return [total]


def _skew(a: Node) -> Node:
    return apply("sub", a, transposed(a))


def _svd_infer(args: Sequence[Node], attrs: Any) -> tuple[Shape, np.dtype]:
    m, n = _matrix(args[0], "svd")
    return (*args[0].shape[:-2], m + 1 + n, min(m, n)), args[0].dtype


SVD = _declare("svd", _svd_infer, lambda arrays, node: _each(_failing(_svd_one), node.shape[-2:], *arrays),
               vjp=_svd_vjp, jvp=_svd_jvp, batch=lambda node, args, added: _folded(SVD, args))


def _vectors(node: Node) -> tuple[Node, Node]:
    """U and V beside singular values."""
    a, record = node.args
    m, n = a.shape[-2:]
    return _rows(record, 0, m), _rows(record, m + 1, n)


def _singular_values_jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    """ds_i = u_i^T dA v_i."""
    u, v = _vectors(node)
    return _diagonal(matmul(matmul(transposed(u), tangents[0]), v))


def _singular_values_vjp(node: Node, g: Node) -> list[Node | None]:
    """A' = U diag(g) V^T."""
    u, v = _vectors(node)
    return [matmul(apply("mul", u, _row(g)), transposed(v)), None]


SINGULAR_VALUES = _declare_values("singular_values", lambda a: a.shape[-2], _singular_values_vjp, _singular_values_jvp)


# -- QR --------------------------------------------------------------------------------------------------------------


def qr(a: Node) -> tuple[Node, Node]:
    """Q of shape (m, k) and R of shape (k, n), k = min(m, n)."""
    m, n = _matrix(a, "qr")
    if a.size == 0:
        k, lead = min(m, n), a.shape[:-2]
        return zeros((*lead, m, k), a.dtype), zeros((*lead, k, n), a.dtype)
    if m < n:  # Q and the first m columns of R are those of the first m columns of A
        q, first = qr(slice_axis(a, a.ndim - 1, 0, 1, m))
        rest = matmul(transposed(q), slice_axis(a, a.ndim - 1, m, 1, n - m))
        return q, concatenate([first, rest], a.ndim - 1)
    record = _folded(QR, (a,))
    return _rows(record, 0, m), _rows(record, m, n)


def _qr_one(a: np.ndarray) -> np.ndarray:
    return np.concatenate(np.linalg.qr(a)) + (0 if np.all(np.isfinite(a)) else np.nan)


def _over_r(r: Node, x: Node) -> Node:
    """X R^-1."""
    return transposed(triangular_solve(r, transposed(x), lower=False, trans=True))


def _qr_jvp(record: Node, tangents: Sequence[Node | None]) -> Node:
    """With X = dA R^-1, C = Q^T X and W = tril(C, -1) - tril(C, -1)^T:  dQ = X - Q (C - W),  dR = (C - W) R."""
    m, n = record.args[0].shape[-2:]
    q, r = _rows(record, 0, m), _rows(record, m, n)
    x = _over_r(r, tangents[0])
    c = matmul(transposed(q), x)
    upper = apply("sub", c, _skew(_masked(c, np.tril(np.ones((n, n)), -1))))
    return _stacked(apply("sub", x, matmul(q, upper)), matmul(upper, r))


def _qr_vjp(record: Node, g: Node) -> list[Node]:
    """A' = (G_Q + Q sym(tril(R G_R^T - G_Q^T Q))) R^-T."""
    m, n = record.args[0].shape[-2:]
    q, r, gq, gr = _rows(record, 0, m), _rows(record, m, n), _rows(g, 0, m), _triangle(_rows(g, m, n), False)
    inner = apply("sub", matmul(r, transposed(gr)), matmul(transposed(gq), q))
    below = _masked(inner, np.tril(np.ones((n, n)), -1))
    symmetric = apply("add", _masked(inner, np.tril(np.ones((n, n)))), transposed(below))
    whole = apply("add", gq, matmul(q, symmetric))
    return [transposed(triangular_solve(r, transposed(whole), lower=False))]


QR = _declare(
    "qr", lambda args, attrs: ((*args[0].shape[:-2], sum(_matrix(args[0], "qr")), args[0].shape[-1]), args[0].dtype),
    lambda arrays, node: _each(_qr_one, node.shape[-2:], *arrays),
    vjp=_qr_vjp, jvp=_qr_jvp, batch=lambda node, args, added: _folded(QR, args))


# -- pseudoinverse ---------------------------------------------------------------------------------------------------


def pinv(a: Node, rcond: float) -> Node:
    """The pseudoinverse; singular values below rcond times the largest count as zero, and as staying so."""
    m, n = _matrix(a, "pinv")
    if a.size == 0:
        return zeros((*a.shape[:-2], n, m), a.dtype)
    return _folded(PINV, (a,), float(rcond))


def _pinv_jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    """dX = -X dA X + X X^T dA^T (I - A X) + (I - X A) dA^T X^T X."""
    (a,), (da,), x = node.args, tangents, node
    xt, dat = transposed(x), transposed(da)
    first = matmul(matmul(x, da), x)
    second = transposed(_without(transposed(matmul(a, x)), transposed(matmul(matmul(x, xt), dat))))
    third = _without(matmul(x, a), matmul(dat, matmul(xt, x)))
    return apply("add", apply("sub", second, first), third)


def _pinv_vjp(node: Node, g: Node) -> list[Node]:
    """A' = -X^T G X^T + (I - A X) G^T X X^T + X^T X G^T (I - X A)."""
    (a,), x = node.args, node
    xt, gt = transposed(x), transposed(g)
    first = matmul(matmul(xt, g), xt)
    second = _without(matmul(a, x), matmul(gt, matmul(x, xt)))
    third = transposed(_without(transposed(matmul(x, a)), transposed(matmul(matmul(xt, x), gt))))
    return [apply("add", apply("sub", second, first), third)]


def _without(projector: Node, x: Node) -> Node:
    """(I - P) X."""
    return apply("sub", x, matmul(projector, x))


def _pinv_infer(args: Sequence[Node], rcond: float) -> tuple[Shape, np.dtype]:
    m, n = _matrix(args[0], "pinv")
    return (*args[0].shape[:-2], n, m), args[0].dtype


PINV = _declare(
    "pinv", _pinv_infer,
    lambda arrays, node: _each(_failing(lambda a: np.linalg.pinv(a, rcond=node.attrs)), node.shape[-2:], *arrays),
    params=lambda node: (node.attrs,), vjp=_pinv_vjp, jvp=_pinv_jvp,
    batch=lambda node, args, added: pinv(args[0], node.attrs))
