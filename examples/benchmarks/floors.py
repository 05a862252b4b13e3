"""Hessians written by hand in Numba and BLAS, by somebody who knows the structure: what no compiler need beat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import scipy.special

from .workloads import Workload

kernel = numba.njit(error_model="numpy", fastmath={"contract", "nsz", "arcp"})


@kernel
def rosenbrock_dense(x, H):
    n = x.size
    for i in range(n - 1):
        H[i, i + 1] = H[i + 1, i] = -400 * x[i]
        H[i, i] = 1200 * x[i] ** 2 - 400 * x[i + 1] + (202.0 if i else 2.0)
    H[n - 1, n - 1] = 200.0


@kernel
def rosenbrock_values(x, values):
    """The CSR values of the tridiagonal matrix: two in the first and last rows, three in the others."""
    n = x.size
    values[0], values[1] = 1200 * x[0] ** 2 - 400 * x[1] + 2, -400 * x[0]
    for i in range(1, n - 1):
        values[3 * i - 1] = -400 * x[i - 1]
        values[3 * i] = 1200 * x[i] ** 2 - 400 * x[i + 1] + 202
        values[3 * i + 1] = -400 * x[i]
    values[3 * n - 4], values[3 * n - 3] = -400 * x[n - 2], 200.0


@kernel
def cell_curvatures(z, i, scale, cells):
    """Second derivatives of sqrt(1 + u^2 + v^2) by uu, uv and vv in the cells of row i; none below the last row."""
    cells[:] = 0.0
    for j in range(z.shape[1] - 1 if i < z.shape[0] - 1 else 0):
        u, v = scale * (z[i + 1, j] - z[i, j]), scale * (z[i, j + 1] - z[i, j])
        s = 1 + u * u + v * v
        r = 1 / (s * np.sqrt(s))
        cells[0, j + 1], cells[1, j + 1], cells[2, j + 1] = r * (1 + v * v), -r * u * v, r * (1 + u * u)


@kernel
def stencil(j, above, cells):
    """The seven entries of the row of node j: above, above right, left, itself, right, below left, below."""
    uu, uv, vv = cells[0, j + 1], cells[1, j + 1], cells[2, j + 1]
    return (-(above[0, j + 1] + above[1, j + 1]), above[1, j + 1], -(cells[1, j] + cells[2, j]),
            uu + 2 * uv + vv + above[0, j + 1] + cells[2, j], -(uv + vv), cells[1, j], -(uu + uv))


@kernel
def surface_interior(values, k, n, above, cells):
    """The rows of the inner nodes of an inner line of the grid."""
    for j in range(1, n - 1):
        t = k + 7 * (j - 1)
        (values[t], values[t + 1], values[t + 2], values[t + 3], values[t + 4], values[t + 5],
         values[t + 6]) = stencil(j, above, cells)
    return k + 7 * (n - 2)


@kernel
def surface_border(values, k, i, j, m, n, above, cells):
    """The row of a node on the edge of the grid; two neighbours couple where a cell has both."""
    inner = i < m - 1 and j < n - 1
    up, left = i > 0 and j < n - 1, j > 0 and i < m - 1
    there = (up, up, left, True, inner, left, inner)
    for present, value in zip(there, stencil(j, above, cells)):
        if present:
            values[k] = value
            k += 1
    return k


@kernel
def surface_values(z, values, work):
    """Line by line of the grid; `work` holds the curvatures of two lines of cells, with a zero at both ends."""
    m, n = z.shape
    work[:] = 0.0
    k = 0
    for i in range(m):
        above, cells = work[(i + 1) % 2], work[i % 2]
        cell_curvatures(z, i, m - 1.0, cells)
        k = surface_border(values, k, i, 0, m, n, above, cells)
        if 0 < i < m - 1:
            k = surface_interior(values, k, n, above, cells)
        else:
            for j in range(1, n - 1):
                k = surface_border(values, k, i, j, m, n, above, cells)
        k = surface_border(values, k, i, n - 1, m, n, above, cells)


@kernel
def lennard_jones_dense(x, H):
    """For each pair (f''/r^2 - f'/r^3) d d^T + f'/r I, added on the diagonal and subtracted off it."""
    n = x.size // 3
    H[:] = 0.0
    for i in range(n):
        for j in range(i):
            d0, d1, d2 = x[3*i] - x[3*j], x[3*i + 1] - x[3*j + 1], x[3*i + 2] - x[3*j + 2]
            s = 1 / (d0 * d0 + d1 * d1 + d2 * d2)
            s3 = s * s * s
            first = 4 * s * s3 * (6 - 12 * s3)
            second = 4 * s * s * s3 * (168 * s3 - 48)
            d = (d0, d1, d2)
            for p in range(3):
                for q in range(3):
                    value = second * d[p] * d[q] + (first if p == q else 0.0)
                    H[3*i + p, 3*i + q] += value
                    H[3*j + p, 3*j + q] += value
                    H[3*i + p, 3*j + q] = -value
                    H[3*j + p, 3*i + q] = -value


def rosenbrock(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    (x,) = arguments
    if workload.pattern:
        H = workload.pattern(x).structure
        return lambda: returning(H, rosenbrock_values(x, H.data))
    H = np.zeros((x.size, x.size))
    return lambda: returning(H, rosenbrock_dense(x, H))


def minimal_surface(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    (z,) = arguments
    H, work = workload.pattern(z).structure, np.zeros((2, 3, z.shape[1] + 1))
    return lambda: returning(H, surface_values(z, H.data, work))


def logistic_regression(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """X^T diag(p (1 - p)) X + I, as a symmetric rank-k update."""
    w, X, _ = arguments
    scaled, H = np.empty_like(X), np.empty((w.size, w.size))

    def evaluate() -> np.ndarray:
        p = scipy.special.expit(X @ w)
        np.multiply(np.sqrt(p * (1 - p))[:, None], X, out=scaled)
        np.matmul(scaled.T, scaled, out=H)
        H.ravel()[::w.size + 1] += 1.0
        return H

    return evaluate


def log_sum_exp(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """A^T (diag(p) - p p^T) A."""
    x, A, b = arguments
    scaled, H = np.empty_like(A), np.empty((x.size, x.size))

    def evaluate() -> np.ndarray:
        p = scipy.special.softmax(A @ x + b)
        np.multiply(np.sqrt(p)[:, None], A, out=scaled)
        np.matmul(scaled.T, scaled, out=H)
        mean = p @ A
        np.subtract(H, mean[:, None] * mean, out=H)
        return H

    return evaluate


@kernel
def factorisation_dense(U, V, M, gram_u, gram_v, H):
    """V^T V and U^T U along the diagonal; off it u_i v_j^T + (u_i . v_j - m_ij) I, transposed on the other side."""
    (m, k), n = U.shape, V.shape[0]
    split = m * k
    for i in range(m):
        H[i*k:(i + 1)*k, i*k:(i + 1)*k] = gram_v
    for j in range(n):
        H[split + j*k:split + (j + 1)*k, split + j*k:split + (j + 1)*k] = gram_u
    for i in range(m):
        for j in range(n):
            residual = -M[i, j]
            for p in range(k):
                residual += U[i, p] * V[j, p]
            for p in range(k):
                for q in range(k):
                    H[i*k + p, split + j*k + q] = V[j, p] * U[i, q] + (residual if p == q else 0.0)
    for j in range(split, split + n*k):
        for i in range(split):
            H[j, i] = H[i, j]


def matrix_factorisation(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    U, V, M = arguments
    identity, H = np.eye(U.shape[1]), np.zeros((U.size + V.size,) * 2)
    return lambda: returning(H, factorisation_dense(U, V, M, U.T @ U + identity, V.T @ V + identity, H))


def mlp(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """With x' = (x, 1), h = tanh(W1' x'), h' = (h, 1), p = softmax(W2' h'), G = (diag p - p p^T) / N, r = (p - y) / N:

        H22 = sum (h' h'^T) * G        H12 = sum x' * (1 - h^2) (W2 G h'^T + r at equal hidden units)
        H11 = sum (x' x'^T) * ((1 - h^2) W2 G W2^T (1 - h^2)^T - 2 diag(h (1 - h^2) W2 r))
    """
    W1, b1, W2, b2, X, labels = arguments
    samples, hidden, classes = len(X), len(b1), len(b2)
    extended, split = np.column_stack([X, np.ones(samples)]), W1.size + b1.size
    H = np.empty((split + W2.size + b2.size,) * 2)
    H11 = H[:split, :split].reshape(-1, hidden, len(W1) + 1, hidden)
    H12 = H[:split, split:].reshape(-1, hidden, W2.size + b2.size)
    H22 = H[split:, split:].reshape(hidden + 1, classes, hidden + 1, classes)
    unit = np.arange(hidden)

    def evaluate() -> np.ndarray:
        h = np.tanh(X @ W1 + b1)
        p = scipy.special.softmax(h @ W2 + b2, axis=1)
        r = p.copy()
        r[np.arange(samples), labels] -= 1
        r, slope, after = r / samples, 1 - h**2, np.column_stack([h, np.ones(samples)])
        G = (p[:, :, None] * np.eye(classes) - p[:, :, None] * p[:, None]) / samples
        slope_W2 = slope[:, :, None] * W2
        pushed = slope_W2 @ G
        for i in range(classes):
            for j in range(i + 1):
                H22[:, i, :, j] = H22[:, j, :, i] = after.T @ (G[:, i, j, None] * after)
        mixed = pushed[:, :, None, :] * after[:, None, :, None]
        mixed[:, unit, unit] += slope[:, :, None] * r[:, None]
        H12[:] = (extended.T @ mixed.reshape(samples, -1)).reshape(H12.shape)
        H[split:, :split] = H[:split, split:].T
        curvature = pushed @ slope_W2.transpose(0, 2, 1)
        curvature[:, unit, unit] -= 2 * h * slope * (r @ W2.T)
        for a in range(hidden):
            for b in range(a + 1):
                H11[:, a, :, b] = H11[:, b, :, a] = extended.T @ (curvature[:, a, b, None] * extended)
        return H

    return evaluate


def lennard_jones(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    x = arguments[0]
    H = np.empty((x.size, x.size))
    return lambda: returning(H, lennard_jones_dense(x, H))


def returning(result: Any, _: None) -> Any:
    """The buffer that a kernel has just filled."""
    return result


FLOORS = {
    "rosenbrock_10": rosenbrock,
    "rosenbrock_1e5": rosenbrock,
    "rosenbrock_1e6": rosenbrock,
    "minimal_surface": minimal_surface,
    "logistic": logistic_regression,
    "log_sum_exp": log_sum_exp,
    "factorisation": matrix_factorisation,
    "mlp": mlp,
    "lennard_jones": lennard_jones,
}
