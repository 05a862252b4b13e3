"""Library calls by CuPy: products through cuBLAS, linear algebra through cuSOLVER, transforms through cuFFT.

CuPy rather than nvmath-python: it has all of these calls under NumPy's names, so that NumPy stands for it in tests,
and sparse results are its matrices anyway. `xp` is the module. Told to ignore failures, as it is here, CuPy does not
look at the status of a call, which would mean to wait for the device. So what cannot be factored is found out by a look
at the result, on the device, and filled with NaN, as on the CPU. What waits anyway is not used: `expm`, which reads the
norm, and `lu_factor`, so that a matrix is factored anew for every call that reads its record.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import math
from collections.abc import Callable
from typing import Any

from symhess.cuda.calls import products
from symhess.cuda.toolkit import is_simulated
from symhess.plan.steps import LibraryCall

#: multiplications from which a product, and rows from which a matrix goes to a library
LARGE_PRODUCT, LARGE_MATRIX = 1 << 16, 64
#: numbers from which Fourier transforms go to a library
LARGE_TRANSFORM = 1 << 15
#: matrices that a library takes one after the other; of more, each has a block of threads
FEW_MATRICES = 4
#: the diagonal of L L^T is that of A up to this share where the factorisation came to its end
FACTORED = 1e-3


@functools.cache
def library() -> Any:
    """CuPy, or None where it is not installed, and in a simulation."""
    if is_simulated() or importlib.util.find_spec("cupy") is None:
        return None
    return importlib.import_module("cupy")


def is_for_library(call: LibraryCall) -> bool:
    """True for calls that a library does faster than the kernels here."""
    if call.function in ("gemm", "syrk", "weighted_syrk"):
        return math.prod(products(call)[0]) >= LARGE_PRODUCT
    if call.function == "dft":
        return math.prod(call.shape) >= LARGE_TRANSFORM
    if call.function not in CALLS:
        return False
    *lead, m, n = call.arguments[0].shape
    return max(m, n) >= LARGE_MATRIX and math.prod(lead) <= FEW_MATRICES


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
    if len(out) > 1:
        _weighted_syrk(xp, a, None, out, turned)
        return
    lower = _module(xp, "cublas").syrk("T" if turned else "N", _turned(a[0]), lower=True)  # which reads it as it lies
    out[0, ...] = xp.tril(lower) + _turned(xp.tril(lower, -1))


def _weighted_syrk(xp: Any, a: Any, w: Any, out: Any, turned: bool) -> None:
    left = a if turned else _turned(a)
    _multiply(xp, left if w is None else left * w[:, None, :], _turned(left), out)
    out[...] = xp.tril(out) + _turned(xp.tril(out, -1))  # cuBLAS promises no symmetry


# -- linear systems ------------------------------------------------------------------------------------------------


def _each(function: Callable) -> Callable:
    """A function of matrices, for every matrix of stacks: what CuPy has for stacks is for small matrices."""

    def run(xp: Any, first: Any, *rest: Any) -> None:
        lead = first.shape[:-2]
        if not lead:
            function(xp, first, *rest)
            return
        for at in itertools.product(*map(range, lead)):
            function(xp, *(_part(a, at) for a in (first, *rest)))

    return run


def _part(a: Any, at: tuple[int, ...]) -> Any:
    """The matrix or number at a place in a stack, as an array; parameters are the same for all."""
    if not hasattr(a, "ndim"):
        return a
    return a[at] if a.ndim > len(at) else a[(*at[:-1], slice(at[-1], at[-1] + 1))]


@_each
def _cholesky(xp: Any, a: Any, out: Any) -> None:
    a, finite = _finite(xp, xp.tril(a))
    l, diagonal = xp.linalg.cholesky(a), xp.diagonal(a)
    reached = xp.abs((l * l).sum(-1) - diagonal) <= FACTORED * diagonal
    out[...] = xp.where(finite & (reached & (xp.diagonal(l) > 0)).all(), l, math.nan)


@_each
def _solve(xp: Any, a: Any, record: Any, b: Any, out: Any, trans: bool) -> None:
    out[...] = _columns(xp, xp.linalg.solve(_turned(a) if trans else a, b))


@_each
def _inv(xp: Any, a: Any, record: Any, out: Any) -> None:
    out[...] = _columns(xp, xp.linalg.inv(a))


def _columns(xp: Any, x: Any) -> Any:
    """The columns of a solution: dividing by a pivot that is zero leaves an infinity or NaN in every one."""
    return xp.where(xp.isfinite(x).all(axis=0), x, math.nan)


@_each
def _triangular_solve(xp: Any, l: Any, b: Any, out: Any, lower: bool, trans: bool) -> None:
    solve = _module(xp, "scipy.linalg").solve_triangular
    out[...] = solve(_turned(l), b, trans=0 if trans else 1, lower=not lower)  # in the order of columns: not copied


@_each
def _det(xp: Any, a: Any, record: Any, out: Any) -> None:
    out[...] = xp.linalg.det(a)


@_each
def _logabsdet(xp: Any, a: Any, record: Any, out: Any) -> None:
    out[...] = xp.linalg.slogdet(a)[1]


# -- decompositions: records as in `symhess.primitives.decompositions` ----------------------------------------------


@_each
def _eigh(xp: Any, a: Any, out: Any) -> None:
    a, finite = _finite(xp, a)
    w, v = xp.linalg.eigh(a)
    out[...] = xp.where(finite, xp.concatenate([w[None], v]), math.nan)


@_each
def _svd(xp: Any, a: Any, out: Any) -> None:
    a, finite = _finite(xp, a)
    u, s, vt = xp.linalg.svd(a, full_matrices=False)
    out[...] = xp.where(finite, xp.concatenate([u, s[None], _turned(vt)]), math.nan)


@_each
def _qr(xp: Any, a: Any, out: Any) -> None:
    a, finite = _finite(xp, a)
    out[...] = xp.where(finite, xp.concatenate(xp.linalg.qr(a)), math.nan)


@_each
def _pinv(xp: Any, a: Any, out: Any, rcond: float) -> None:
    a, finite = _finite(xp, a)
    u, s, vt = xp.linalg.svd(a, full_matrices=False)
    kept = s > rcond * s[:1]
    inverse = xp.where(kept, 1 / xp.where(kept, s, 1), 0)
    out[...] = xp.where(finite, _turned(vt) @ (inverse[:, None] * _turned(u)), math.nan)


def _dft(xp: Any, v: Any, out: Any, inverse: bool) -> None:
    numbers = v.view(f"c{2 * v.dtype.itemsize}").reshape(v.shape[:-1])
    found = xp.fft.ifft(numbers, norm="forward") if inverse else xp.fft.fft(numbers)
    out[...] = found.astype(numbers.dtype).view(v.dtype).reshape(out.shape)


def _finite(xp: Any, a: Any) -> tuple[Any, Any]:
    """The matrix, or the identity in place of one that is not finite, and whether it is."""
    finite = xp.isfinite(a).all()
    return xp.where(finite, a, xp.eye(*a.shape, dtype=a.dtype)), finite


def _module(xp: Any, name: str) -> Any:
    """A module beside CuPy, by the name that it has in CuPy's packages."""
    return importlib.import_module(f"cupyx.{name}" if name.startswith("scipy") else f"cupy.{name}")


#: what reads a matrix itself where the kernels here read the record of its factors
WITHOUT_RECORD: dict[str, Callable] = {"solve": _solve, "inv": _inv, "det": _det, "logabsdet": _logabsdet}
CALLS: dict[str, Callable] = {"gemm": _gemm, "syrk": _syrk, "weighted_syrk": _weighted_syrk, "cholesky": _cholesky,
                              "triangular_solve": _triangular_solve, **WITHOUT_RECORD, "eigh": _eigh, "svd": _svd,
                              "qr": _qr, "pinv": _pinv, "dft": _dft}
