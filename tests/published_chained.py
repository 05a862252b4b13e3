"""Sparse problems in the style of Lukšan and Vlček (1999), and other chained and partially separable functions."""

import itertools
import math

import numpy as np
from published import published


@published([-1.2, 1, -1.2, 1, -1.2, 1])
def lv_chained_rosenbrock(x):
    total = 0.0
    for i in range(1, len(x)):
        total += 100 * (x[i - 1]**2 - x[i])**2 + (x[i - 1] - 1)**2
    return total


@published([-2.0, -1, -2, -1, -2, -1])
def lv_chained_wood(x):
    total = 0.0
    for j in range(len(x) // 2 - 1):
        i = 2 * j + 1
        total += 100 * (x[i - 1]**2 - x[i])**2
        total += (x[i - 1] - 1)**2
        total += 90 * (x[i + 1]**2 - x[i + 2])**2
        total += (x[i + 1] - 1)**2
        total += 10 * (x[i] + x[i + 2] - 2)**2
        total += (x[i] - x[i + 2])**2 / 10
    return total


@published([3.0, -1, 0, 1, 3, -1])
def lv_chained_powell_singular(x):
    total = 0.0
    for j in range(len(x) // 2 - 1):
        i = 2 * j
        total += ((x[i] + 10 * x[i + 1])**2 + 5 * (x[i + 2] - x[i + 3])**2 + (x[i + 1] - 2 * x[i + 2])**4
                  + 10 * (x[i] - x[i + 3])**4)
    return total


@published([1.0, 2, 2, 2, 1, 2])
def lv_chained_cragg_levy(x):
    pieces = []
    for i in range(0, len(x) - 3, 2):
        u = math.exp(x[i]) - x[i + 1]
        v = math.tan(x[i + 2] - x[i + 3])
        pieces.append(u**4 + 100 * (x[i + 1] - x[i + 2])**6 + v**4 + x[i]**8 + (x[i + 3] - 1)**2)
    return sum(pieces)


@published([-1.0] * 7)
def lv_generalized_broyden_tridiagonal(x):
    y = np.hstack((0.0, x, 0.0))
    p = 7 / 3
    return np.sum(np.abs((3 - 2 * y[1:-1]) * y[1:-1] - y[:-2] - y[2:] + 1)**p)


@published([-1.0] * 7)
def lv_generalized_broyden_banded(x):
    n = len(x)
    total = 0.0
    for i in range(n):
        neighbours = range(max(0, i - 5), min(n - 1, i + 1) + 1)
        total += abs((2 + 5 * x[i]**2) * x[i] + 1 + sum(x[j] * (1 + x[j]) for j in neighbours))**(7 / 3)
    return total


@published([-1.0] * 8)
def lv_seven_diagonal_broyden(x):
    n, p = len(x), 7 / 3
    y = np.zeros(n + 2)
    y[1:-1] = x
    f = sum(abs((3 - 2 * y[i]) * y[i] - y[i - 1] - y[i + 1] + 1)**p for i in range(1, n + 1))
    half = n // 2
    return f + sum(np.abs(x[:half] + x[half:])**p)


@published([0.5, 0.8, 1.1, 0.6, 0.9, 1.2])
def lv_nazareth_trigonometric(x):
    n = len(x)
    total = 0.0
    for i in range(1, n + 1):
        s = sum(5 * (1 + j % 5) * np.sin(x[j - 1]) + (i / 10) * np.cos(x[j - 1]) for j in (i, min(i + 2, n)))
        total += (n + i - s)**2 / n
    return total


@published([0.2, -0.3, 0.4, 0.1, -0.2, 0.3])
def lv_toint_trigonometric(x):
    n = len(x)
    total = 0.0
    for i in range(n):
        for j in range(n):
            if abs(i - j) <= 2:
                total += 5 * (1 + (i + j) % 5) * np.sin((1 + i) / 10 + (1 + j) / 10 * x[i] + x[j]) / n
    return total


@published([0.1, 0.2, 0.3, 0.2, 0.1, 0.2])
def lv_augmented_lagrangian(x):
    total = 0.0
    lam = [-0.002008, -0.0019, -0.000261]
    for k in range(0, len(x) - 4, 3):
        a, b, c, d, e = x[k:k + 5]
        h = [a**2 + b**2 + c**2 + d**2 + e**2 - 10, b * c - 5 * d * e, a**3 + b**3 + 1]
        total += math.exp(a * b * c * d * e) + 10 * sum((hi - li)**2 for hi, li in zip(h, lam))
    return total


@published([1.0, -1, 1, -1, 1, -1])
def lv_generalized_brown_1(x):
    total = 0.0
    for j in range(len(x) // 2):
        a, b = x[2 * j], x[2 * j + 1]
        total += (a - 3)**2 / 1000 - (a - b) + np.exp(20 * (a - b) / 40)
    return total


@published([1.0, -1, 1, -1, 1, -1])
def lv_generalized_brown_2(x):
    a, b = x[:-1], x[1:]
    return np.sum((a**2 + 1e-3)**(b**2 + 1) + (b**2 + 1e-3)**(a**2 + 1))


@published([0.4, 0.3, 0.2, 0.3, 0.4])
def lv_discrete_boundary_value(x):
    n = len(x)
    h = 1 / (n + 1)
    ext = np.pad(x, 1)
    grid = np.arange(1, n + 1) * h
    return np.sum((2 * x - ext[:-2] - ext[2:] + h**2 / 2 * (x + grid + 1)**3)**2)


@published([0.4, 0.3, 0.2, 0.3, 0.4, 0.1])
def lv_discretised_variational(x):
    n = len(x)
    h = 1 / (n + 1)
    y = np.concatenate([np.zeros(1), x, np.zeros(1)])
    s = np.sum(x * (x - y[2:])) / h
    for i in range(n + 1):
        d = y[i + 1] - y[i]
        s += 2 * h * np.exp(y[i]) * (1 + d**2 / 6)
    return s


@published([2.0, 2, 2, 2])
def chained_mifflin_smooth(x):
    return np.sum(-x[:-1] + 2 * (x[:-1]**2 + x[1:]**2 - 1) + 1.75 * np.abs(x[:-1]**2 + x[1:]**2 - 1))


@published([0.7, 0.9, 1.1, 0.8, 1.2, 0.6])
def chained_lq(x):
    f = 0
    for i in range(len(x) - 1):
        a = -x[i] - x[i + 1]
        f += max(a, a + x[i]**2 + x[i + 1]**2 - 1)
    return f


@published([1.5, 1.6, 1.7, 1.4])
def chained_cb3(x):
    total = 0.0
    for a, b in itertools.pairwise(x):
        total += max(a**4 + b**2, (2 - a)**2 + (2 - b)**2, 2 * np.exp(-a + b))
    return total


@published([0.3, -0.2, 0.4, 0.1])
def number_of_active_faces(x):
    return np.max(np.append(np.log(np.abs(-np.sum(x)) + 1), np.log(np.abs(x) + 1)))


@published([0.5, 0.6, 0.7, 0.8])
def generalised_maxq(x):
    return np.max(x**2)


@published([0.1] * 9)
def minimal_surface_3x3(x):
    u = np.zeros((5, 5))
    u[0, :] = u[:, 0] = np.linspace(0, 1, 5)**2
    u[1:-1, 1:-1] = x.reshape(3, 3)
    area = 0.0
    for i in range(4):
        for j in range(4):
            area += np.sqrt(1 + 8 * ((u[i + 1, j + 1] - u[i, j])**2 + (u[i + 1, j] - u[i, j + 1])**2))
    return area / 16


@published([0.2] * 9)
def bratu_3x3(x):
    u = np.zeros((5, 5))
    u[1:4, 1:4] = x.reshape((3, 3))
    h = 0.25
    r = np.zeros(9)
    for k in range(9):
        i, j = divmod(k, 3)
        i, j = i + 1, j + 1
        r[k] = 4 * u[i, j] - u[i - 1, j] - u[i + 1, j] - u[i, j - 1] - u[i, j + 1] - h**2 * 3.0 * np.exp(u[i, j])
    return r @ r


@published([0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.2, 0.1, 0.2])
def elastic_plastic_torsion_3x3(x):
    v = np.pad(x.reshape(3, 3), 1)
    dx, dy = np.diff(v, axis=0), np.diff(v, axis=1)
    return 0.5 * (np.sum(dx**2) + np.sum(dy**2)) - 5 * np.sum(v) / 16


@published([0.1, 0.2, 0.1, 0.3, 0.2, 0.1])
def ginzburg_landau_1d(x):
    n = len(x)
    nxt = np.roll(x, -1)
    return np.sum(-x**2 + x**4 / 2 + n**2 * (nxt - x)**2) / n


@published([0.1, 0.9, 1.8, 0.2, 0.3, 1.1, 0.7, 0.1, 0.2])
def lennard_jones_three_atoms(x):
    atoms = x.reshape(-1, 3)
    energy = 0.0
    for i in range(len(atoms)):
        for j in range(i):
            r2 = sum((a - b)**2 for a, b in zip(atoms[i], atoms[j]))
            energy += 4 * (1 / r2**6 - 1 / r2**3)
    return energy


@published([0.1, 0.9, 0.4, 1.2, 1.3, 0.3])
def morse_cluster_plane(x):
    points = x.reshape(3, 2)
    total = 0
    for i, p in enumerate(points[:-1]):
        for q in points[i + 1:]:
            e = np.exp(3 * (1 - np.sqrt(np.sum((p - q)**2))))
            total += e * (e - 2)
    return total


@published([0.1, 0.2, -0.3, 0.4, 0.5])
def hanging_chain(x):
    y = np.concatenate(([0.0], x, [0.0]))
    energy = 0.0
    for k in range(len(y) - 1):
        stretch = math.hypot(1 / (len(y) - 1), y[k + 1] - y[k]) - 0.1
        energy += 50 * stretch**2 + 0.5 * (y[k] + y[k + 1])
    return energy


@published([0.3, 0.8, 0.2, 0.9])
def thomson_two_charges(x):
    points = []
    for theta, phi in x.reshape(2, 2):
        points.append(np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]))
    d = points[0] - points[1]
    return 1 / np.sqrt(d @ d)


@published([0.4, 0.5, 0.6])
def brachistochrone(x):
    y = np.empty(5)
    y[0], y[1:4], y[4] = 1.0, 1.0 - x, 0.2
    time = 0.0
    for a, b in itertools.pairwise(y):
        time += 2 * math.sqrt(0.25**2 + (b - a)**2) / (math.sqrt(1.05 - a) + math.sqrt(1.05 - b))
    return time


@published([0.1, 0.2, 0.1, -0.2])
def optimal_control_pendulum(u):
    theta, omega, cost = 0.5, 0.0, 0.0
    for control in u:
        omega = omega + 0.1 * (-math.sin(theta) + control)
        theta = theta + 0.1 * omega
        cost = cost + theta**2 + 0.1 * control**2
    return cost + 10 * theta**2 + omega**2
