"""Library calls by CuPy: matrix products through cuBLAS, linear algebra through cuSOLVER, where CuPy is installed.

CuPy rather than nvmath-python: it has all of these calls under NumPy's names, so that NumPy stands for it in tests,
and sparse results are its matrices anyway. `xp` is the module. What cannot be factored is filled with NaN, as on the
CPU, by a look at the result on the device: CuPy raises nothing as long as it is not told to synchronise.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
from collections.abc import Callable
from typing import Any

from symhess.cuda.calls import products
from symhess.cuda.toolkit import is_simulated
from symhess.plan.steps import LibraryCall

#: multiplications from which a product, and rows from which a matrix goes to a library
LARGE_PRODUCT, LARGE_MATRIX = 1 << 16, 32
#: the diagonal of L L^T is that of A up to this share where the factorisation came to its end
FACTORED = 1e-3


@functools.cache
def library() -> Any:
    """CuPy, or None where it is not installed or there is no device."""
    if is_simulated() or importlib.util.find_spec("cupy") is None:
        return None
    return importlib.import_module("cupy")


def is_for_library(call: LibraryCall) -> bool:
    """True for calls that a library does faster than the kernels here."""
    if call.function in ("gemm", "syrk", "weighted_syrk"):
        return math.prod(products(call)[0]) >= LARGE_PRODUCT
    return call.function in CALLS and call.arguments[0].shape[-1] >= LARGE_MATRIX


def _turned(a: Any) -> Any:
    return a.swapaxes(-1, -2)


# -- products ------------------------------------------------------------------------------------------------------


def _multiply(xp: Any, a: Any, b: Any, out: Any) -> None:
    """a b, into `out`. A single matrix that is stored transposed is read as it lies; of a stack CuPy makes copies."""
    if len(out) == 1:
        a, b, out = a[0], b[0], out[0]
    xp.matmul(a, b, out=out)


def _gemm(xp: Any, a: Any, b: Any, out: Any, turned_a: bool, turned_b: bool) -> None:
    _multiply(xp, _turned(a) if turned_a else a, _turned(b) if turned_b else b, out)


def _syrk(xp: Any, a: Any, out: Any, turned: bool) -> None:
    _weighted_syrk(xp, a, None, out, turned)


def _weighted_syrk(xp: Any, a: Any, w: Any, out: Any, turned: bool) -> None:
    left = a if turned else _turned(a)
    _multiply(xp, left if w is None else left * w[:, None, :], _turned(left), out)
    out[...] = xp.tril(out) + _turned(xp.tril(out, -1))  # cuBLAS promises no symmetry


# -- linear systems ------------------------------------------------------------------------------------------------


def _cholesky(xp: Any, a: Any, out: Any) -> None:
    a, finite = _finite(xp, xp.tril(a) + _turned(xp.tril(a, -1)))
    l = xp.linalg.cholesky(a)
    diagonal = xp.diagonal(a, axis1=-2, axis2=-1)
    reached = xp.abs((l * l).sum(-1) - diagonal) <= FACTORED * diagonal
    whole = finite & (reached & (xp.diagonal(l, axis1=-2, axis2=-1) > 0)).all(-1)
    out[...] = _or_nan(xp, l, whole)


def _solve(xp: Any, a: Any, record: Any, b: Any, out: Any, trans: bool) -> None:
    a, finite = _finite(xp, _turned(a) if trans else a)
    out[...] = _or_nan(xp, xp.linalg.solve(a, b), finite)


def _triangular_solve(xp: Any, l: Any, b: Any, out: Any, lower: bool, trans: bool) -> None:
    l = xp.tril(l) if lower else xp.triu(l)
    l, finite = _finite(xp, _turned(l) if trans else l)
    out[...] = _or_nan(xp, xp.linalg.solve(l, b), finite)


def _inv(xp: Any, a: Any, record: Any, out: Any) -> None:
    a, finite = _finite(xp, a)
    out[...] = _or_nan(xp, xp.linalg.inv(a), finite)


def _det(xp: Any, a: Any, record: Any, out: Any) -> None:
    out[...] = xp.linalg.det(a)


def _logabsdet(xp: Any, a: Any, record: Any, out: Any) -> None:
    out[...] = xp.linalg.slogdet(a)[1]


# -- decompositions: records as in `symhess.primitives.decompositions` ----------------------------------------------


def _eigh(xp: Any, a: Any, out: Any) -> None:
    a, finite = _finite(xp, a)
    w, v = xp.linalg.eigh(a)
    out[...] = _or_nan(xp, xp.concatenate([w[..., None, :], v], axis=-2), finite)


def _svd(xp: Any, a: Any, out: Any) -> None:
    a, finite = _finite(xp, a)
    u, s, vt = xp.linalg.svd(a, full_matrices=False)
    out[...] = _or_nan(xp, xp.concatenate([u, s[..., None, :], _turned(vt)], axis=-2), finite)


def _qr(xp: Any, a: Any, out: Any) -> None:
    a, finite = _finite(xp, a)
    q, r = xp.linalg.qr(a)
    out[...] = _or_nan(xp, xp.concatenate([q, r], axis=-2), finite)


def _pinv(xp: Any, a: Any, out: Any, rcond: float) -> None:
    a, finite = _finite(xp, a)
    u, s, vt = xp.linalg.svd(a, full_matrices=False)
    kept = s > rcond * s[..., :1]
    inverse = xp.where(kept, 1 / xp.where(kept, s, 1), 0)
    out[...] = _or_nan(xp, _turned(vt) @ (inverse[..., None] * _turned(u)), finite)


def _finite(xp: Any, a: Any) -> tuple[Any, Any]:
    """The matrices, the identity in place of those that are not finite, and which ones are."""
    finite = xp.isfinite(a).all(axis=(-2, -1))
    return xp.where(finite[..., None, None], a, xp.eye(*a.shape[-2:], dtype=a.dtype)), finite


def _or_nan(xp: Any, found: Any, good: Any) -> Any:
    return xp.where(good[..., None, None], found, math.nan)


#: what reads a matrix itself where the kernels here read the record of its factors
WITHOUT_RECORD: dict[str, Callable] = {"solve": _solve, "inv": _inv, "det": _det, "logabsdet": _logabsdet}
CALLS: dict[str, Callable] = {"gemm": _gemm, "syrk": _syrk, "weighted_syrk": _weighted_syrk, "cholesky": _cholesky,
                              "triangular_solve": _triangular_solve, **WITHOUT_RECORD, "eigh": _eigh, "svd": _svd,
                              "qr": _qr, "pinv": _pinv}
