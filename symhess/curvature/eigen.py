"""Eigenpairs of a symmetric operator by Lanczos: from the ends of the spectrum, and the one next to zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.errors import NotConverged

#: Lanczos vectors that are kept at least
BASIS = 40
#: a linear system is not solved if more than this share of its right side is left
UNSOLVED = 1e-6


def extreme(operator: Any, k: int, which: str, tol: float, products: float | None = None) -> tuple[
        np.ndarray, np.ndarray]:
    """k eigenpairs from one end of the spectrum ("LA", "SA", or "LM" for both), the outermost first.

    NotConverged after about so many `products` with the matrix, by default after ten for each row.

    A multiple of the identity moves that end away from zero: ARPACK's tolerance is relative to the eigenvalue, which it
    cannot meet for the zeros of a singular matrix. So `tol` is relative to the norm.
    """
    import scipy.sparse.linalg as linalg

    n = operator.shape[0]
    start = np.random.default_rng(0).normal(size=n).astype(operator.dtype)
    size = _size(operator, start)
    if not size:
        return np.zeros(k, operator.dtype), np.eye(n, k, dtype=operator.dtype)
    shift = {"LA": 1, "SA": -1, "LM": 0}[which] * size
    shifted = linalg.LinearOperator((n, n), lambda v: operator.matvec(v) + shift * v, dtype=operator.dtype)
    basis = min(n, max(2 * k + 1, BASIS))
    restarts = None if products is None else max(1, int(products / max(basis - k, 1)))
    try:
        values, vectors = linalg.eigsh(shifted, k, which=which, tol=tol, v0=start, ncv=basis, maxiter=restarts)
    except linalg.ArpackNoConvergence as failure:
        raise NotConverged(f"Lanczos found {len(failure.eigenvalues)} of {k} eigenvalues; ask for fewer, or give a "
                           "larger tol") from failure
    values = values - shift
    order = np.argsort({"LA": -values, "SA": values, "LM": -np.abs(values)}[which])[:k]
    return values[order], vectors[:, order]


def tridiagonal(product: Callable[[np.ndarray], np.ndarray], v: np.ndarray, steps: int) -> np.ndarray:
    """T = Q^T H Q by Lanczos from v, reorthogonalised, in double precision; fewer steps for an invariant space."""
    basis = np.zeros((steps, len(v)))
    basis[0] = v / np.linalg.norm(v.astype(float))
    alpha, beta = np.zeros(steps), np.zeros(steps)
    for k in range(steps):
        w = product(basis[k].astype(v.dtype)).astype(float)
        check_finite(w)
        alpha[k] = basis[k] @ w
        for _ in range(2):  # once is not enough
            w -= basis[:k + 1].T @ (basis[:k + 1] @ w)
        beta[k] = np.linalg.norm(w)
        scale = np.abs(alpha[:k + 1]).max() + beta[:k].max(initial=0.0)
        if k + 1 == steps or beta[k] <= 10 * np.finfo(v.dtype).eps * scale:
            steps = k + 1
            break
        basis[k + 1] = w / beta[k]
    return np.diag(alpha[:steps]) + np.diag(beta[:steps - 1], 1) + np.diag(beta[:steps - 1], -1)


def check_finite(numbers: np.ndarray) -> None:
    """NotConverged where the Hessian, or a product with it, has numbers without a spectrum."""
    if not np.isfinite(numbers).all():
        raise NotConverged("the Hessian has entries that are infinite or NaN at this point, so it has no spectrum; "
                           "look at value, gradient and diagonal for the arrays where that begins")


def smallest(operator: Any, tol: float) -> float:
    """The smallest absolute value of an eigenvalue, by Lanczos on the inverse."""
    import scipy.sparse.linalg as linalg

    def solve(b: np.ndarray) -> np.ndarray:
        x, _ = linalg.minres(operator, b, rtol=tol / 100, maxiter=20 * len(b))
        if not np.linalg.norm(operator @ x - b) <= max(10 * tol, UNSOLVED) * np.linalg.norm(b):
            raise NotConverged("the smallest eigenvalue was not found: MINRES did not solve with the Hessian, which is "
                               "nearly singular; look at spectral_density() instead")
        return x

    inverse = linalg.LinearOperator(operator.shape, matvec=solve, dtype=operator.dtype)
    return 1 / abs(float(extreme(inverse, 1, "LM", tol)[0][0]))


def _size(operator: Any, start: np.ndarray) -> Any:
    """About the largest absolute value of an eigenvalue, in the operator's dtype."""
    nodes = np.linalg.eigvalsh(tridiagonal(operator.matvec, start, min(10, len(start))))
    return operator.dtype.type(np.abs(nodes).max())


def random_signs(n: int, count: int, seed: int, dtype: Any) -> np.ndarray:
    """Columns of independent random signs, (n, count)."""
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype), size=(n, count))
