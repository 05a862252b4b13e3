"""The benchmarked functions as a user writes them: plain NumPy, nothing in them knows of derivatives.

symhess gets them unchanged. JAX gets the same source with `np` standing for `jax.numpy` (see `peers_jax.py`).
"""

from __future__ import annotations

import numpy as np


def rosenbrock(x):
    """The chained Rosenbrock function."""
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def minimal_surface(z):
    """The area of the graph of z over the unit square, by forward differences."""
    h = 1 / (z.shape[0] - 1)
    dx = (z[1:, :-1] - z[:-1, :-1]) / h
    dy = (z[:-1, 1:] - z[:-1, :-1]) / h
    return h**2 * np.sum(np.sqrt(1 + dx**2 + dy**2))


def reprojection_error(camera, point, observed):
    """Squared distance of a projected point from its observation, for each row of the arguments.

    A camera is a rotation vector, a translation, a focal length and two coefficients of radial distortion.
    """
    rx, ry, rz = camera[:, 0], camera[:, 1], camera[:, 2]
    px, py, pz = point[:, 0], point[:, 1], point[:, 2]
    angle = np.sqrt(rx**2 + ry**2 + rz**2)
    kx, ky, kz = rx / angle, ry / angle, rz / angle
    cos, sin = np.cos(angle), np.sin(angle)
    along = (kx * px + ky * py + kz * pz) * (1 - cos)
    x = px * cos + (ky * pz - kz * py) * sin + kx * along + camera[:, 3]
    y = py * cos + (kz * px - kx * pz) * sin + ky * along + camera[:, 4]
    z = pz * cos + (kx * py - ky * px) * sin + kz * along + camera[:, 5]
    u, v = -x / z, -y / z
    r2 = u**2 + v**2
    scale = camera[:, 6] * (1 + camera[:, 7] * r2 + camera[:, 8] * r2**2)
    return (scale * u - observed[:, 0]) ** 2 + (scale * v - observed[:, 1]) ** 2


def bundle_adjustment(cameras, points, camera_index, point_index, observed):
    """Half the squared reprojection error of all observations."""
    return 0.5 * np.sum(reprojection_error(cameras[camera_index], points[point_index], observed))


def logistic_regression(w, X, y):
    """Negative log-likelihood of labels y in {-1, 1}, with a ridge."""
    return np.sum(np.logaddexp(0, -y * (X @ w))) + 0.5 * np.sum(w**2)


def log_sum_exp(x, A, b):
    """The soft maximum of affine functions."""
    return np.log(np.sum(np.exp(A @ x + b)))


def matrix_factorisation(U, V, M):
    """Squared error of M = U V^T with a ridge."""
    return 0.5 * np.sum((U @ V.T - M) ** 2) + 0.5 * (np.sum(U**2) + np.sum(V**2))


def mlp(W1, b1, W2, b2, X, labels):
    """Mean cross-entropy of a network with one hidden layer."""
    logits = np.tanh(X @ W1 + b1) @ W2 + b2
    chosen = logits[np.arange(len(labels)), labels]
    return np.mean(np.log(np.sum(np.exp(logits), axis=1)) - chosen)


def lennard_jones(x, first, second):
    """The energy of a cluster of atoms, summed over the pairs (first, second)."""
    atoms = x.reshape(-1, 3)
    r2 = np.sum((atoms[first] - atoms[second]) ** 2, axis=1)
    inverse6 = 1 / r2**3
    return 4 * np.sum(inverse6**2 - inverse6)
