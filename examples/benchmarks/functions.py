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


def planar_arm(q, lengths, target):
    """Squared distance of the tip of an arm of rigid links from a target, and a little of the angles."""
    angles = np.cumsum(q)
    x, y = np.sum(lengths * np.cos(angles)), np.sum(lengths * np.sin(angles))
    return (x - target[0]) ** 2 + (y - target[1]) ** 2 + 0.01 * np.sum(q**2)


def gaussian_mixture(theta, data):
    """Negative log-likelihood of a mixture of normals: logits of the weights, means, logarithms of the deviations."""
    logits, mean, log_deviation = theta.reshape(3, -1)
    z = (data[:, None] - mean) * np.exp(-log_deviation)
    joint = logits - log_deviation - 0.5 * z**2
    return len(data) * np.log(np.sum(np.exp(logits))) - np.sum(np.log(np.sum(np.exp(joint), axis=1)))


def decay_residual(x, time, observed):
    """The squared residual of one observation of an exponential decay onto a level."""
    return (x[0] * np.exp(-x[1] * time) + x[2] - observed) ** 2


def cnn(kernels, bias, W, c, images, labels):
    """Mean cross-entropy of a network of one convolution over 3 x 3 windows and one dense layer."""
    samples, height, width = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    windows = np.stack([padded[:, i:i + height, j:j + width] for i in range(3) for j in range(3)], axis=-1)
    maps = np.tanh(windows @ kernels + bias)
    logits = maps.reshape(samples, -1) @ W + c
    chosen = logits[np.arange(samples), labels]
    return np.mean(np.log(np.sum(np.exp(logits), axis=1)) - chosen)


def gaussian_process(theta, points, y):
    """Negative log marginal likelihood; theta: logarithms of amplitude, length scale and noise."""
    amplitude, length, noise = np.exp(2 * theta)
    square = (points[:, None] - points) ** 2
    K = amplitude * np.exp(-0.5 * square / length) + noise * np.eye(len(points))
    return 0.5 * y @ np.linalg.solve(K, y) + 0.5 * np.linalg.slogdet(K)[1]


def pendulum(x, steps):
    """A damped pendulum by Runge-Kutta steps in a Python loop; x: angle, speed, length, friction at the start."""
    angle, speed, length, friction = x[0], x[1], x[2], x[3]
    h = 2.0 / steps

    def acceleration(a, s):
        return -9.81 / length * np.sin(a) - friction * s

    for _ in range(steps):
        k1, l1 = speed, acceleration(angle, speed)
        k2, l2 = speed + h / 2 * l1, acceleration(angle + h / 2 * k1, speed + h / 2 * l1)
        k3, l3 = speed + h / 2 * l2, acceleration(angle + h / 2 * k2, speed + h / 2 * l2)
        k4, l4 = speed + h * l3, acceleration(angle + h * k3, speed + h * l3)
        angle = angle + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        speed = speed + h / 6 * (l1 + 2 * l2 + 2 * l3 + l4)
    return (angle - 0.3) ** 2


def optimal_control(u):
    """The cost of controls u of a nonlinear oscillator, its states by a Python loop."""
    position, speed, cost = 1.0, 0.0, 0.0
    for k in range(len(u)):
        position, speed = position + 0.1 * speed, speed + 0.1 * (u[k] - np.sin(position))
        cost = cost + position**2 + 0.1 * speed**2 + 0.5 * u[k] ** 2
    return cost


def newton_square_root(x):
    """The square root of 1 + x . x by Newton's method, to a tolerance."""
    a = 1.0 + np.sum(x**2)
    y = 0.5 * (1.0 + a)
    while abs(y * y - a) > 1e-10 * a:
        y = 0.5 * (y + a / y)
    return y


def pair_energy_loop(x):
    """Interactions of all pairs, in two nested Python loops."""
    energy = 0.0
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            energy = energy + np.exp(-((x[i] - x[j]) ** 2))
    return energy


def pair_energy(x, first, second):
    """The same, vectorised by hand."""
    return np.sum(np.exp(-((x[first] - x[second]) ** 2)))


def residual_loop(p, time, observed):
    """A sum of squared residuals of a decaying oscillation, observation by observation."""
    total = 0.0
    for k in range(len(time)):
        model = p[0] * np.exp(-p[1] * time[k]) * np.cos(p[2] * time[k]) + p[3]
        total = total + (model - observed[k]) ** 2
    return total


def residual_sum(p, time, observed):
    """The same, vectorised by hand."""
    model = p[0] * np.exp(-p[1] * time) * np.cos(p[2] * time) + p[3]
    return np.sum((model - observed) ** 2)


def power_flow_loop(x, lines, conductance, susceptance, measured):
    """Squared errors of the power that enters each line of a grid; x: angles of all buses, then magnitudes."""
    buses, total = len(x) // 2, 0.0
    for (i, j), g, b, p in zip(lines, conductance, susceptance, measured):
        u, v, angle = x[buses + i], x[buses + j], x[i] - x[j]
        power = g * u**2 - u * v * (g * np.cos(angle) + b * np.sin(angle))
        total = total + (power - p) ** 2
    return total


def power_flow(x, lines, conductance, susceptance, measured):
    """The same, vectorised by hand."""
    angles, magnitudes = x.reshape(2, -1)
    i, j = lines[:, 0], lines[:, 1]
    u, v, angle = magnitudes[i], magnitudes[j], angles[i] - angles[j]
    power = conductance * u**2 - u * v * (conductance * np.cos(angle) + susceptance * np.sin(angle))
    return np.sum((power - measured) ** 2)
