"""Floors of statistical models and networks: their structure by hand, the large products by BLAS and LAPACK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import scipy.linalg
import scipy.special

from .workloads import Workload

kernel = numba.njit(error_model="numpy", fastmath={"contract", "nsz", "arcp"})
#: sums may be reordered, so that they run in vectors
reducing = numba.njit(error_model="numpy", fastmath=True)


@kernel
def rosenbrock_rows_dense(X, H):
    """The tridiagonal matrix of every row."""
    n = X.shape[1]
    for p in range(X.shape[0]):
        for i in range(n):
            for j in range(n):
                H[p, i, j] = 0.0
            H[p, i, i] = (1200 * X[p, i] ** 2 - 400 * X[p, i + 1] + 2 if i < n - 1 else 0.0) + (200.0 if i else 0.0)
            if i < n - 1:
                H[p, i, i + 1] = -400 * X[p, i]
            if i:
                H[p, i, i - 1] = -400 * X[p, i - 1]


@kernel
def rosenbrock_fours(X, H):
    """Rows of four, written out."""
    for p in range(X.shape[0]):
        a, b, c, d = X[p, 0], X[p, 1], X[p, 2], X[p, 3]
        h = H[p]
        h[0, 0], h[0, 1], h[0, 2], h[0, 3] = 1200 * a * a - 400 * b + 2, -400 * a, 0.0, 0.0
        h[1, 0], h[1, 1], h[1, 2], h[1, 3] = -400 * a, 1200 * b * b - 400 * c + 202, -400 * b, 0.0
        h[2, 0], h[2, 1], h[2, 2], h[2, 3] = 0.0, -400 * b, 1200 * c * c - 400 * d + 202, -400 * c
        h[3, 0], h[3, 1], h[3, 2], h[3, 3] = 0.0, 0.0, -400 * c, 200.0


def rosenbrock_rows(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    (X,) = arguments
    n = X.shape[1]
    H = np.empty((len(X), n, n))
    fill = rosenbrock_fours if n == 4 else rosenbrock_rows_dense

    def evaluate() -> np.ndarray:
        fill(X, H)
        return H

    return evaluate


@kernel
def decay_dense(X, t, y, e, H):
    """2 (m_i m_j + r m_ij) of the model m = x0 exp(-x1 t) + x2."""
    for p in range(X.shape[0]):
        a, fall = X[p, 0] * e[p], -t * e[p]
        r, slope, h = a + X[p, 2] - y, -t * a, H[p]
        h[0, 0], h[0, 1], h[0, 2] = 2 * e[p] * e[p], 2 * (e[p] * slope + r * fall), 2 * e[p]
        h[1, 0], h[1, 1], h[1, 2] = 2 * (e[p] * slope + r * fall), 2 * (slope * slope - r * t * slope), 2 * slope
        h[2, 0], h[2, 1], h[2, 2] = 2 * e[p], 2 * slope, 2.0


def decay_rows(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    X, t, y = arguments
    e, H = np.empty(len(X)), np.empty((len(X), 3, 3))

    def evaluate() -> np.ndarray:
        np.multiply(X[:, 1], -t, out=e)
        np.exp(e, out=e)
        decay_dense(X, t, y, e, H)
        return H

    return evaluate


@kernel
def mixture_exponents(theta, data, z, joint):
    """Standardised data and logarithms of the joint densities, less the largest at each datum."""
    components = theta.size // 3
    for c in range(components):
        scale, shift = np.exp(-theta[2 * components + c]), theta[c] - theta[2 * components + c]
        for n in range(data.size):
            z[c, n] = (data[n] - theta[components + c]) * scale
            joint[c, n] = shift - 0.5 * z[c, n] ** 2
    for n in range(data.size):
        largest = joint[0, n]
        for c in range(1, components):
            largest = max(largest, joint[c, n])
        for c in range(components):
            joint[c, n] -= largest


@reducing
def mixture_gradients(theta, z, joint, total, pushed, H):
    """r_c g_c, with g_c = (1, z / s, z^2 - 1), into `pushed`; - sum r_c (g_c g_c' + second derivatives) into H."""
    components, data = z.shape
    H[:] = 0.0
    total[:] = 0.0
    for c in range(components):
        for n in range(data):
            total[n] += joint[c, n]
    for c in range(components):
        a, b, d = c, components + c, 2 * components + c
        scale = np.exp(-theta[d])
        aa = ab = ad = bb = bd = dd = 0.0
        for n in range(data):
            r, u, w = joint[c, n] / total[n], z[c, n] * scale, z[c, n] ** 2 - 1
            pushed[a, n], pushed[b, n], pushed[d, n] = r, r * u, r * w
            aa += r
            ab += r * u
            ad += r * w
            bb += r * (u * u - scale * scale)
            bd += r * (u * w - 2 * u)
            dd += r * (w * w - 2 * z[c, n] ** 2)
        H[a, a], H[a, b], H[a, d], H[b, b], H[b, d], H[d, d] = -aa, -ab, -ad, -bb, -bd, -dd
        H[b, a], H[d, a], H[d, b] = -ab, -ad, -bd


def mixture(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    theta, data = arguments
    k = theta.size // 3
    z, joint, total = np.empty((k, data.size)), np.empty((k, data.size)), np.empty(data.size)
    pushed, H = np.empty((3 * k, data.size)), np.empty((3 * k, 3 * k))

    def evaluate() -> np.ndarray:
        mixture_exponents(theta, data, z, joint)
        np.exp(joint, out=joint)
        mixture_gradients(theta, z, joint, total, pushed, H)
        np.add(H, pushed @ pushed.T, out=H)
        weights = np.exp(theta[:k] - theta[:k].max())
        weights /= weights.sum()
        H[:k, :k] += data.size * (np.diag(weights) - weights[:, None] * weights)
        return H

    return evaluate


def gaussian_process(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """With P = K^-1, a = P y and indices for derivatives of K = S + v I:

        H_ij = 1/2 tr(P K_ij) - 1/2 tr(P K_i P K_j) - 1/2 a' K_ij a + a' K_i P K_j a
        P K_1 = 2 (I - v P),  K_2 = S * D with D = squared distance / length,  P K_3 = 2 v P

    so that one product, M = P K_2, is all there is beside the inverse.
    """
    theta, points, y = arguments
    n, square = len(points), (points[:, None] - points) ** 2

    def evaluate() -> np.ndarray:
        amplitude, length, v = np.exp(2 * theta)
        D = square / length
        S = amplitude * np.exp(-0.5 * D)
        K = S.copy()
        K.ravel()[::n + 1] += v
        factor, _ = scipy.linalg.lapack.dpotrf(K, lower=1, overwrite_a=1)
        P, _ = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
        P = np.tril(P) + np.tril(P, -1).T
        K2, a = S * D, P @ y
        K22 = K2 * (D - 2)
        M = P @ K2
        pushed = np.stack([2 * (y - v * a), K2 @ a, 2 * v * a])
        trace, PP, PM, PK2 = np.trace(P), np.vdot(P, P), np.vdot(P, M), np.trace(M)
        second = np.array([[4 * (n - v * trace), 2 * PK2, 0], [0, np.vdot(P, K22), 0], [0, 0, 4 * v * trace]])
        products = np.array([[4 * (n - 2 * v * trace + v * v * PP), 2 * (PK2 - v * PM), 4 * v * (trace - v * PP)],
                             [0, np.vdot(M, M.T), 2 * v * PM], [0, 0, 4 * v * v * PP]])
        forms = np.array([[4 * a @ (y - v * a), 2 * a @ pushed[1], 0], [0, a @ K22 @ a, 0], [0, 0, 4 * v * a @ a]])
        H = np.triu(0.5 * (second - products - forms) + pushed @ P @ pushed.T)
        return H + np.triu(H, 1).T

    return evaluate


def network_product(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """Tangents of the forward and of the backward pass; what only the gradient needs is left out."""
    W1, b1, W2, b2, X, labels = arguments
    V1, c1, V2, c2 = workload.direction(arguments)
    samples, hidden, rows = len(X), len(b1), np.arange(len(labels))
    both, shift = np.hstack([W1, V1]), np.concatenate([b1, c1])
    sizes = np.cumsum([W1.size, b1.size, W2.size, b2.size])
    out = np.empty(sizes[-1])

    def evaluate() -> np.ndarray:
        inner = X @ both
        inner += shift
        h, dh = np.tanh(inner[:, :hidden]), inner[:, hidden:]
        slope = 1 - h * h
        dh *= slope
        p = scipy.special.softmax(h @ W2 + b2, axis=1)
        dz = dh @ W2 + h @ V2 + c2
        dr = p * (dz - np.sum(p * dz, axis=1, keepdims=True)) / samples
        p[rows, labels] -= 1
        p /= samples
        back = (dr @ W2.T + p @ V2.T) * slope
        back -= 2 * (p @ W2.T) * h * dh
        np.matmul(X.T, back, out=out[:sizes[0]].reshape(W1.shape))
        out[sizes[0]:sizes[1]] = back.sum(axis=0)
        out[sizes[1]:sizes[2]] = (dh.T @ p + h.T @ dr).ravel()
        out[sizes[2]:] = dr.sum(axis=0)
        return out

    return evaluate


def windows_of(images: np.ndarray) -> np.ndarray:
    """Every 3 x 3 window of every image, and a 1 for the bias: samples x places x 10."""
    samples, height, width = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    views = [padded[:, i:i + height, j:j + width] for i in range(3) for j in range(3)] + [np.ones_like(images)]
    return np.stack(views, axis=-1).reshape(samples, height * width, 10)


def cnn(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """With h the maps, h' = (h, 1), J the logits' derivatives by the kernels, r and G as for the MLP:

        H22 = sum (h' h'^T) * G       H12 = sum J G h'^T + r (1 - h^2) z at equal maps
        H11 = sum J G J^T - 2 z z^T h (1 - h^2) W r at equal maps          z the window
    """
    kernels, bias, W, c, images, labels = arguments
    samples, maps, classes = len(images), len(bias), len(c)
    z, joined = windows_of(images), np.concatenate([kernels, bias[None]])
    first, places, dtype = joined.size, images[0].size, images.dtype
    H = np.empty((first + W.size + c.size,) * 2, dtype)
    H22 = H[first:].reshape(-1, classes, len(H))[:, :, first:]
    rows, unit = np.arange(samples), np.arange(maps)

    def evaluate() -> np.ndarray:
        h = np.tanh(z @ joined)
        slope, after = 1 - h * h, np.column_stack([h.reshape(samples, -1), np.ones(samples, dtype)])
        p = scipy.special.softmax(after[:, :-1] @ W + c, axis=1)
        G = (p[:, :, None] * np.eye(classes, dtype=dtype) - p[:, :, None] * p[:, None]) / samples
        p[rows, labels] -= 1
        r, weights = p / samples, W.reshape(places, maps, classes)
        pushed = (after[:, None, :, None] * G[:, :, None]).reshape(samples, classes, -1)
        for k in range(classes):
            np.matmul(after.T, pushed[:, k], out=H22[:, k])
        moved = (slope[..., None] * weights).reshape(samples, places, -1)
        J = (z.transpose(0, 2, 1) @ moved).reshape(samples * first, classes)
        J = np.ascontiguousarray(J.reshape(samples, first, classes).transpose(1, 0, 2).reshape(first, -1))
        np.matmul(J, pushed.reshape(samples * classes, -1), out=H[:first, first:])
        errors = (z.transpose(1, 2, 0)[:, :, None] * r.T).reshape(places, -1, samples)
        direct = (errors @ slope.transpose(1, 0, 2)).reshape(places, 10, classes, maps)
        mixed = H[:first, first:-classes].reshape(10, maps, places, maps, classes)
        mixed[:, unit, :, unit] += direct.transpose(3, 1, 0, 2)
        H[first:, :first] = H[:first, first:].T
        JG = (J.reshape(first, samples, 1, classes) @ G).reshape(first, -1)
        H11 = (JG @ J.T).reshape(10, maps, 10, maps)
        bend = (-2 * h * slope * (r @ W.T).reshape(h.shape)).reshape(-1, maps)
        flat = z.reshape(-1, 10)
        H11[:, unit, :, unit] += (flat.T * bend.T[:, None]) @ flat
        H[:first, :first] = H11.reshape(first, first)
        return H

    return evaluate


FLOORS = {
    "rosenbrock_rows": rosenbrock_rows,
    "decay_rows": decay_rows,
    "mixture": mixture,
    "gaussian_process": gaussian_process,
    "mlp_product": network_product,
    "cnn_6x6": cnn,
    "cnn_12x12": cnn,
}
