"""scipy.linalg: decompositions, structured matrices and solvers, in terms of np.linalg's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.errors import UnsupportedOperation
from symhess.primitives.matrix_functions import FUNCTIONS, matrix_function
from symhess.trace.decompositions import symmetric
from symhess.trace.functions import finished, unsupported
from symhess.trace.linalg import matrix_of
from symhess.trace.scipy_rules import block_diag, solve_triangular, toeplitz
from symhess.trace.session import here
from symhess.trace.shaping import traced

# -- decompositions ------------------------------------------------------------------------------------------------


def eigh(a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False, type: int = 1,
         subset_by_index: Any = None, subset_by_value: Any = None, **options: Any) -> Any:
    """a v = w v, or a v = w b v: with b = L L^T and y = L^T v, the eigenvalues of L^-1 a L^-T."""
    if type != 1 or subset_by_value is not None:
        raise unsupported("scipy.linalg.eigh with type= or subset_by_value=")
    a, factor = finished(symmetric(a, lower)), None
    if b is not None:
        factor = np.linalg.cholesky(finished(symmetric(b, lower)))
        half = solve_triangular(factor, a, lower=True)
        a = solve_triangular(factor, half.T, lower=True)
    kept = slice(None) if subset_by_index is None else slice(subset_by_index[0], subset_by_index[1] + 1)
    if eigvals_only:
        return np.linalg.eigvalsh(a)[..., kept]
    w, v = np.linalg.eigh(a)
    v = v if factor is None else solve_triangular(factor, v, trans=1, lower=True)
    return w[..., kept], v[..., kept]


def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, **options: Any) -> Any:
    return eigh(a, b, lower=lower, eigvals_only=True, **options)


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, *unused: Any, **options: Any) -> Any:
    found = np.linalg.svd(a, full_matrices, compute_uv)
    return tuple(found) if compute_uv else found


def qr(a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False,
       check_finite: bool = True) -> Any:
    """The thin factors; those of all columns where the matrix has no more rows than columns, which are the same."""
    if pivoting or (mode == "full" and np.shape(a)[-2] > np.shape(a)[-1]):
        raise unsupported("scipy.linalg.qr with pivoting or mode='full' (use mode='economic')")
    q, r = np.linalg.qr(a)
    if mode != "r":
        return q, r
    return (np.concatenate([r, np.zeros((np.shape(a)[-2] - r.shape[-2], r.shape[-1]))]),)


def pinv(a: Any, *, atol: Any = None, rtol: Any = None, return_rank: bool = False, check_finite: bool = True) -> Any:
    """The pseudoinverse, with singular values below rtol times the largest left out."""
    if atol:
        raise unsupported("scipy.linalg.pinv with atol=")
    found = np.linalg.pinv(a, rtol=rtol)
    return (found, np.linalg.matrix_rank(a, rtol=rtol)) if return_rank else found


def lstsq(a: Any, b: Any, cond: Any = None, *unused: Any, **options: Any) -> tuple:
    x, left, rank, s = np.linalg.lstsq(traced(a), b, -1 if cond is None else cond)
    return x, left[0] if np.ndim(b) == 1 and left.size else left, rank, s


def _matrix_function(name: str) -> Callable[..., Any]:
    def rule(a: Any, *unused: Any, **options: Any) -> Any:
        return finished(matrix_function(name, matrix_of(a)))

    return rule


# -- LU ------------------------------------------------------------------------------------------------------------


class Factor:
    """A part of what lu_factor returns: only lu_solve knows what to do with it."""

    def __init__(self, matrix: Any):
        self.matrix = matrix

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__array"):
            raise UnsupportedOperation(f"the parts of lu_factor(...) are for lu_solve{here()}; use np.linalg.qr or "
                                       "np.linalg.cholesky for factors that can be computed with")
        raise AttributeError(name)


def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Factor, Factor]:
    factor = Factor(traced(a))
    return factor, factor


def lu_solve(lu_and_piv: tuple, b: Any, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """A x = b, or A^T x = b: equal matrices are factored once, wherever they are solved with."""
    factor = lu_and_piv[0]
    if not isinstance(factor, Factor):
        raise unsupported("lu_solve with factors from elsewhere")
    return np.linalg.solve(np.swapaxes(factor.matrix, -1, -2) if trans else factor.matrix, b)


# -- solvers -------------------------------------------------------------------------------------------------------

_ONE_TRIANGLE = ("pos", "positive definite", "sym", "symmetric", "her", "hermitian")


def solve(a: Any, b: Any, lower: bool = False, overwrite_a: bool = False, overwrite_b: bool = False,
          check_finite: bool = True, assume_a: Any = None, transposed: bool = False) -> Any:
    """Of symmetric matrices one triangle is read, as SciPy does."""
    if assume_a in ("upper triangular", "lower triangular"):
        return solve_triangular(a, b, int(transposed), assume_a.startswith("lower"))
    a = finished(symmetric(a, lower)) if assume_a in _ONE_TRIANGLE else a
    return np.linalg.solve(np.swapaxes(traced(a), -1, -2) if transposed else a, b)


def _from_bands(bands: Any, above: int, size: int) -> Any:
    """The matrix whose diagonals, from the uppermost down, are the rows of `bands`, each entry in its column."""
    total = 0.0
    for k in range(bands.shape[0]):
        offset = above - k
        row = bands[k, max(offset, 0):size + min(offset, 0)]
        total = total + np.diag(row, offset)
    return total


def solve_banded(l_and_u: tuple[int, int], ab: Any, b: Any, *unused: Any, **options: Any) -> Any:
    return np.linalg.solve(_from_bands(traced(ab), l_and_u[1], np.shape(ab)[1]), b)


def solveh_banded(ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False, lower: bool = False,
                  check_finite: bool = True) -> Any:
    """Diagonals of a symmetric matrix, below or above and with the main one."""
    n = np.shape(ab)[1]
    half = _from_bands(traced(ab), 0 if lower else np.shape(ab)[0] - 1, n)
    return np.linalg.solve(finished(symmetric(half, lower)), b)


def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """a x + x b = q, as (a kron 1 + 1 kron b^T) vec x = vec q for the rows of x one after the other."""
    a, b, q = traced(a), traced(b), traced(q)
    matrix = np.kron(a, np.eye(len(b))) + np.kron(np.eye(len(a)), np.swapaxes(b, 0, 1))
    return np.linalg.solve(matrix, q.reshape(-1)).reshape(q.shape)


def solve_continuous_lyapunov(a: Any, q: Any) -> Any:
    """a x + x a^T = q."""
    return solve_sylvester(a, np.swapaxes(traced(a), 0, 1), q)


def solve_discrete_lyapunov(a: Any, q: Any, method: Any = None) -> Any:
    """a x a^T - x + q = 0, as (1 - a kron a) vec x = vec q."""
    a, q = traced(a), traced(q)
    return np.linalg.solve(np.eye(q.size) - np.kron(a, a), q.reshape(-1)).reshape(q.shape)


# -- structured matrices -------------------------------------------------------------------------------------------


def circulant(c: Any) -> Any:
    c = traced(c)
    n = c.shape[-1]
    return c[..., (np.arange(n)[:, None] - np.arange(n)) % n]


def hankel(c: Any, r: Any = None) -> Any:
    c = np.ravel(traced(c))
    r = np.zeros_like(c) if r is None else np.ravel(traced(r))
    values = np.concatenate([c, r[1:]])
    return values[np.arange(len(c))[:, None] + np.arange(len(r))]


def companion(a: Any) -> Any:
    a = np.ravel(traced(a))
    n = a.size - 1
    return np.concatenate([(-a[1:] / a[0]).reshape(1, n), np.eye(n - 1, n)])


def khatri_rao(a: Any, b: Any) -> Any:
    """The Kronecker products of columns."""
    a, b = traced(a), traced(b)
    return (a[:, None, :] * b[None, :, :]).reshape(-1, a.shape[1])


RULES: dict[str, Callable[..., Any]] = {
    **{name: _matrix_function(name) for name in FUNCTIONS},
    "eigh": eigh, "eigvalsh": eigvalsh, "svd": svd, "svdvals": lambda a, *unused, **options: np.linalg.svdvals(a),
    "qr": qr, "pinv": pinv, "lstsq": lstsq, "lu_factor": lu_factor, "lu_solve": lu_solve, "solve": solve,
    "solve_banded": solve_banded, "solveh_banded": solveh_banded, "circulant": circulant, "hankel": hankel,
    "solve_sylvester": solve_sylvester, "solve_continuous_lyapunov": solve_continuous_lyapunov,
    "solve_lyapunov": solve_continuous_lyapunov, "solve_discrete_lyapunov": solve_discrete_lyapunov,
    "companion": companion, "khatri_rao": khatri_rao, "kron": lambda a, b: np.kron(a, b),
}
#: those that take complex numbers too
COMPLEX: dict[str, Callable[..., Any]] = {
    "solve": solve, "lu_factor": lu_factor, "lu_solve": lu_solve, "circulant": circulant, "khatri_rao": khatri_rao,
    "toeplitz": toeplitz, "block_diag": block_diag, "inv": lambda a, **options: np.linalg.inv(a),
}
