"""The 35 functions of Moré, Garbow and Hillstrom (1981), as sums of squares of residuals."""

import math

import numpy as np
from published import published

BARD = np.array([0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39])
GAUSSIAN = np.array([0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989, 0.3521, 0.2420, 0.1295, 0.0540,
                     0.0175, 0.0044, 0.0009])
KOWALIK_Y = [0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
KOWALIK_U = [4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625]
MEYER = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872]
OSBORNE1 = [0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685, 0.658, 0.628,
            0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420,
            0.414, 0.411, 0.406]
OSBORNE2 = [1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608, 0.655, 0.616,
            0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661, 0.612, 0.558, 0.533, 0.495,
            0.500, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428, 0.429, 0.523, 0.562, 0.607, 0.653, 0.672,
            0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559, 0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581,
            0.428, 0.292, 0.162, 0.098, 0.054]


def sum_of_squares(r):
    total = 0.0
    for ri in r:
        total += ri * ri
    return total


@published(-1.2, 1)
def more_rosenbrock(x):
    f = np.zeros(2)
    f[0] = 10 * (x[1] - x[0]**2)
    f[1] = 1 - x[0]
    return np.sum(f**2)


@published(0.5, -2)
def more_freudenstein_roth(x):
    f1 = -13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1]
    f2 = -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]
    return f1**2 + f2**2


@published(0.1, 1)
def more_powell_badly_scaled(x):
    a, b = x
    return (1e4 * a * b - 1)**2 + (math.exp(-a) + math.exp(-b) - 1.0001)**2


@published(1, 1)
def more_brown_badly_scaled(x):
    return sum([(x[0] - 1e6)**2, (x[1] - 2e-6)**2, (x[0] * x[1] - 2)**2])


@published(1, 1)
def more_beale(x):
    y = (1.5, 2.25, 2.625)
    return sum((y[i] - x[0] * (1 - x[1]**(i + 1)))**2 for i in range(3))


@published(0.3, 0.4)
def more_jennrich_sampson(x):
    return sum((2 + 2 * i - (np.exp(i * x[0]) + np.exp(i * x[1])))**2 for i in range(1, 11))


@published(-1, 0.1, 0.2)
def more_helical_valley(x):
    x1, x2, x3 = x
    theta = math.atan(x2 / x1) / (2 * math.pi)
    if x1 < 0:
        theta += 0.5
    return 100 * ((x3 - 10 * theta)**2 + (math.sqrt(x1**2 + x2**2) - 1)**2) + x3**2


@published(1, 1, 1)
def more_bard(x):
    u = np.arange(1, 16)
    v = 16 - u
    w = np.minimum(u, v)
    return np.sum((BARD - (x[0] + u / (v * x[1] + w * x[2])))**2)


@published(0.4, 1, 0)
def more_gaussian(x):
    total = 0
    for i, y in enumerate(GAUSSIAN, start=1):
        t = (8 - i) / 2
        total += (x[0] * np.exp(-x[1] * (t - x[2])**2 / 2) - y)**2
    return total


@published(0.02, 4000, 250)
def more_meyer(x):
    t = 45 + 5 * np.arange(1, 17)
    r = x[0] * np.exp(x[1] / (t + x[2])) - np.array(MEYER)
    return r.dot(r)


@published(5, 2.5, 0.15)
def more_gulf(x):
    f = []
    for i in range(1, 11):
        t = i / 100
        y = 25 + (-50 * math.log(t))**(2 / 3)
        f.append(np.exp(-np.abs(y - x[1])**x[2] / x[0]) - t)
    return sum_of_squares(f)


@published(0, 10, 20)
def more_box(x):
    t = 0.1 * np.arange(1, 11)
    f = np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))
    return f @ f


@published(3, -1, 0, 1)
def more_powell_singular(x):
    f = np.empty(4)
    f[0] = x[0] + 10 * x[1]
    f[1] = np.sqrt(5) * (x[2] - x[3])
    f[2] = (x[1] - 2 * x[2])**2
    f[3] = np.sqrt(10) * (x[0] - x[3])**2
    return (f**2).sum()


@published(-3, -1, -3, -1)
def more_wood(x):
    r = np.array([10 * (x[1] - x[0]**2), 1 - x[0], np.sqrt(90) * (x[3] - x[2]**2), 1 - x[2],
                  np.sqrt(10) * (x[1] + x[3] - 2), (x[1] - x[3]) / np.sqrt(10)])
    return np.dot(r, r)


@published(0.25, 0.39, 0.415, 0.39)
def more_kowalik_osborne(x):
    return sum((y - x[0] * (u * u + u * x[1]) / (u * u + u * x[2] + x[3]))**2 for y, u in zip(KOWALIK_Y, KOWALIK_U))


@published(25, 5, -5, -1)
def more_brown_dennis(x):
    fx = 0.0
    for i in range(20):
        t = (i + 1) / 5
        fx += ((x[0] + t * x[1] - math.exp(t))**2 + (x[2] + x[3] * math.sin(t) - math.cos(t))**2)**2
    return fx


@published(0.5, 1.5, -1, 0.01, 0.02)
def more_osborne1(x):
    t = 10.0 * np.arange(33)
    model = x[0] + x[1] * np.exp(-t * x[3]) + x[2] * np.exp(-t * x[4])
    return np.sum(np.square(np.asarray(OSBORNE1) - model))


@published(1, 2, 1, 1, 1, 1)
def more_biggs_exp6(x):
    t = 0.1 * np.arange(1, 14)
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    f = x[2] * np.exp(-t * x[0]) - x[3] * np.exp(-t * x[1]) + x[5] * np.exp(-t * x[4]) - y
    return np.sum(f**2)


@published(1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5)
def more_osborne2(x):
    f = np.zeros(65)
    for i in range(65):
        t = i / 10
        f[i] = OSBORNE2[i] - x[0] * np.exp(-t * x[4])
        for k in range(3):
            f[i] -= x[k + 1] * np.exp(-((t - x[k + 8])**2) * x[k + 5])
    return np.sum(f**2)


@published([0.0] * 6)
def more_watson(x):
    n = len(x)
    f = np.zeros(31)
    for i in range(29):
        t = (i + 1) / 29
        derivative = sum(j * x[j] * t**(j - 1) for j in range(1, n))
        value = sum(x[j] * t**j for j in range(n))
        f[i] = derivative - value**2 - 1
    f[29] = x[0]
    f[30] = x[1] - x[0]**2 - 1
    return np.sum(f**2)


@published([-1.2, 1.0] * 4)
def more_extended_rosenbrock(x):
    f = np.zeros_like(x)
    f[::2] = 10 * (x[1::2] - x[::2]**2)
    f[1::2] = 1 - x[::2]
    return np.sum(f * f)


@published([3.0, -1, 0, 1] * 2)
def more_extended_powell_singular(x):
    total = 0.0
    for k in range(0, len(x), 4):
        a, b, c, d = x[k:k + 4]
        total += (a + 10 * b)**2 + 5 * (c - d)**2 + (b - 2 * c)**4 + 10 * (a - d)**4
    return total


@published(np.arange(1.0, 6))
def more_penalty1(x):
    return 1e-5 * np.sum((x - 1)**2) + (np.sum(x**2) - 0.25)**2


@published([0.5] * 5)
def more_penalty2(x):
    n = len(x)
    a = math.sqrt(1e-5)
    f = np.zeros(2 * n)
    f[0] = x[0] - 0.2
    for i in range(1, n):
        y = math.exp((i + 1) / 10) + math.exp(i / 10)
        f[i] = a * (np.exp(x[i] / 10) + np.exp(x[i - 1] / 10) - y)
    for i in range(n, 2 * n - 1):
        f[i] = a * (np.exp(x[i - n + 1] / 10) - math.exp(-1 / 10))
    f[2 * n - 1] = sum((n - j) * x[j]**2 for j in range(n)) - 1
    return sum_of_squares(f)


@published(1 - np.arange(1, 7) / 6)
def more_variably_dimensioned(x):
    j = np.arange(1, len(x) + 1)
    s = np.dot(j, x - 1)
    return np.sum((x - 1)**2) + s**2 + s**4


@published([0.2] * 5)
def more_trigonometric(x):
    n = len(x)
    c = np.cos(x)
    f = np.zeros(n)
    for i in range(n):
        f[i] = n - np.sum(c) + (i + 1) * (1 - c[i]) - np.sin(x[i])
    return (f**2).sum()


@published([0.5] * 5)
def more_brown_almost_linear(x):
    n = len(x)
    f = np.zeros(n)
    f[:-1] = x[:-1] + np.sum(x) - (n + 1)
    f[-1] = np.prod(x) - 1
    return f.dot(f)


@published([-0.1388, -0.2222, -0.25, -0.2222, -0.1388])
def more_discrete_boundary_value(x):
    n = len(x)
    h = 1 / (n + 1)
    padded = np.concatenate(([0.0], x, [0.0]))
    t = h * np.arange(1, n + 1)
    f = 2 * padded[1:-1] - padded[:-2] - padded[2:] + h**2 * (padded[1:-1] + t + 1)**3 / 2
    return np.sum(f**2)


@published([-0.1388, -0.2222, -0.25, -0.2222, -0.1388])
def more_discrete_integral_equation(x):
    n = len(x)
    h = 1.0 / (n + 1)
    t = [h * (i + 1) for i in range(n)]
    f = np.empty(n)
    for i in range(n):
        left = sum(t[j] * (x[j] + t[j] + 1)**3 for j in range(i + 1))
        right = sum((1 - t[j]) * (x[j] + t[j] + 1)**3 for j in range(i + 1, n))
        f[i] = x[i] + h * ((1 - t[i]) * left + t[i] * right) / 2
    return np.sum(f**2)


@published([-1.0] * 6)
def more_broyden_tridiagonal(x):
    f = (3 - 2 * x) * x + 1
    f[1:] -= x[:-1]
    f[:-1] -= 2 * x[1:]
    return np.sum(f**2)


@published([-1.0] * 9)
def more_broyden_banded(x):
    n, total = len(x), 0
    for i in range(n):
        s = 0
        for j in range(max(0, i - 5), min(n, i + 2)):
            if j != i:
                s += x[j] * (1 + x[j])
        total += (x[i] * (2 + 5 * x[i]**2) + 1 - s)**2
    return total


@published([1.0] * 5)
def more_linear_full_rank(x):
    n, m = len(x), 8
    s = 2 * np.sum(x) / m
    f = np.zeros(m)
    f[:n] = x - s - 1
    f[n:] = -s - 1
    return np.sum(f**2)


@published([1.0] * 5)
def more_linear_rank_one(x):
    j = np.arange(1, len(x) + 1)
    i = np.arange(1, 9)
    return np.sum((i * np.sum(j * x) - 1)**2)


@published([1.0] * 5)
def more_linear_rank_one_zero_ends(x):
    n, m = len(x), 8
    inner = sum((j + 1) * x[j] for j in range(1, n - 1))
    r = [-1.0 if i in (0, m - 1) else i * inner - 1 for i in range(m)]
    return sum(v**2 for v in r)


@published(np.arange(1, 7) / 7)
def more_chebyquad(x):
    n = len(x)
    t = 2 * x - 1
    before, now = np.ones(n), t
    f = np.zeros(n)
    for i in range(1, n + 1):
        f[i - 1] = np.mean(now) + (1 / (i**2 - 1) if i % 2 == 0 else 0)
        before, now = now, 2 * t * now - before
    return np.sum(f**2)
