"""Rules of linear algebra: what `torch.linalg` runs, by what symhess knows of `numpy.linalg`."""

from __future__ import annotations

from typing import Any

import numpy as np

from symhess.primitives.matrix_functions import matrix_function
from symhess.rules import stop_gradient
from symhess.torch.rules.table import constant_of, rule
from symhess.trace.scipy_rules import solve_triangular
from symhess.trace.tracer import wrap

_T = lambda x: np.swapaxes(x, -1, -2)


rule("_linalg_det")(lambda A: (np.linalg.det(A), None, None))
rule("_linalg_slogdet")(lambda A: (*np.linalg.slogdet(A), None, None))
rule("linalg_inv_ex")(lambda A, check_errors=False: (np.linalg.inv(A), 0))
rule("inverse")(lambda A: np.linalg.inv(A))
rule("linalg_cholesky_ex")(lambda A, upper=False, check_errors=False: (
    _T(np.linalg.cholesky(A)) if upper else np.linalg.cholesky(A), 0))
rule("cholesky")(lambda A, upper=False: _T(np.linalg.cholesky(A)) if upper else np.linalg.cholesky(A))


@rule("_linalg_eigh")
def eigh(A: Any, UPLO: str = "L", compute_v: bool = True) -> Any:
    """Of the matrix in one triangle; derivatives are those for symmetric changes."""
    triangle = np.tril(A) if UPLO.upper() == "L" else np.triu(A)
    given = triangle + _T(triangle) - np.tril(np.triu(A))
    A = 0.5 * (A + _T(A))
    A = A + stop_gradient(given - A)
    return tuple(np.linalg.eigh(A)) if compute_v else (np.linalg.eigvalsh(A), None)


rule("linalg_matrix_exp")(lambda A: wrap(matrix_function("expm", A.node), A))
rule("_linalg_svd")(lambda A, full_matrices=False, compute_uv=True, driver=None: (
    tuple(np.linalg.svd(A, full_matrices)) if compute_uv else (None, np.linalg.svd(A, compute_uv=False), None)))
rule("linalg_qr")(lambda A, mode="reduced": tuple(np.linalg.qr(A, mode)))
rule("trace")(lambda A: np.trace(A))
rule("linalg_cross")(lambda a, b, dim=-1: np.cross(a, b, axis=dim))


@rule("_linalg_solve_ex")
def solve(A: Any, B: Any, left: bool = True, check_errors: bool = False) -> Any:
    """A X = B, or X A = B; B is a vector if it has the axes of A but one."""
    if not left:
        return _T(np.linalg.solve(_T(A), _T(B))), None, None, 0
    vector = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    X = np.linalg.solve(A, np.expand_dims(B, -1) if vector else B)
    return (X[..., 0] if vector else X), None, None, 0


@rule("linalg_solve_triangular")
def triangular(A: Any, B: Any, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    if not left:
        return _T(triangular(_T(A), _T(B), not upper, True, unitriangular))
    return solve_triangular(A, B, lower=not upper, unit_diagonal=unitriangular)


@rule("triangular_solve")
def triangular_solve(B: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False) -> Any:
    return solve_triangular(A, B, trans=1 if transpose else 0, lower=not upper, unit_diagonal=unitriangular), A


@rule("linalg_pinv")
def pinv(A: Any, rcond: Any = None, hermitian: bool = False, atol: Any = None, rtol: Any = None) -> Any:
    given = rtol if rcond is None else rcond
    if given is None:
        return np.linalg.pinv(A)
    known = constant_of(given)
    return None if known is None else np.linalg.pinv(A, rcond=float(known))


rule("linalg_lstsq")(lambda A, B, rcond=None, driver=None: (np.matmul(np.linalg.pinv(A), B), None, None, None))


@rule("cholesky_solve")
def cholesky_solve(B: Any, L: Any, upper: bool = False) -> Any:
    L = _T(L) if upper else L
    return solve_triangular(L, solve_triangular(L, B, lower=True), trans=1, lower=True)
