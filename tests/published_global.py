"""Test functions of nonlinear global optimisation, from the collections of Dixon and Szegő, Jamil and Yang, others."""

import math

import numpy as np
from published import published

HARTMANN3_A = np.array([[3.0, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
HARTMANN3_P = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])
HARTMANN6_A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
                        [17, 8, 0.05, 10, 0.1, 14]])
HARTMANN6_P = 1e-4 * np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
                               [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]])
HARTMANN_C = [1.0, 1.2, 3.0, 3.2]
SHEKEL_A = np.array([[4, 4, 4, 4], [1, 1, 1, 1], [8, 8, 8, 8], [6, 6, 6, 6], [3, 7, 3, 7], [2, 9, 2, 9], [5, 5, 3, 3],
                     [8, 1, 8, 1], [6, 2, 6, 2], [7, 3.6, 7, 3.6]])
SHEKEL_C = np.array([0.1, 0.2, 0.2, 0.4, 0.4, 0.6, 0.3, 0.7, 0.5, 0.5])


@published(0.3, -0.6, 0.9)
def ackley(x):
    n = len(x)
    return (-20 * np.exp(-0.2 * np.sqrt(np.sum(x**2) / n)) - np.exp(np.sum(np.cos(2 * np.pi * x)) / n) + 20 + math.e)


@published(0.3, -0.6, 0.9)
def rastrigin(x):
    return 10 * len(x) + np.sum(x**2 - 10 * np.cos(2 * np.pi * x))


@published(3.0, -2.0, 1.5)
def griewank(x):
    product = 1.0
    for i, xi in enumerate(x, start=1):
        product *= np.cos(xi / np.sqrt(i))
    return np.sum(x**2) / 4000 - product + 1


@published(0.4, -1.3, 2.1)
def levy(x):
    w = 1 + (x - 1) / 4
    middle = np.sum((w[:-1] - 1)**2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1)**2))
    return np.sin(np.pi * w[0])**2 + middle + (w[-1] - 1)**2 * (1 + np.sin(2 * np.pi * w[-1])**2)


@published(2.2, 1.6, 1.3)
def michalewicz(x):
    i = np.arange(1, len(x) + 1)
    return -np.sum(np.sin(x) * np.sin(i * x**2 / np.pi)**20)


@published(120.0, -230.0, 310.0)
def schwefel(x):
    return 418.9829 * len(x) - sum(v * math.sin(math.sqrt(abs(v))) for v in x)


@published(0.5, -0.4, 0.3)
def schwefel_1_2(x):
    return np.sum(np.cumsum(x)**2)


@published(0.5, -0.4, 0.3)
def schwefel_2_22(x):
    return np.sum(np.abs(x)) + np.prod(np.abs(x))


@published(0.5, -0.4, 0.3)
def zakharov(x):
    s = sum(0.5 * (i + 1) * v for i, v in enumerate(x))
    return np.dot(x, x) + s**2 + s**4


@published(-2.0, 1.0, 0.5)
def styblinski_tang(x):
    return np.sum(x**4 - 16 * x**2 + 5 * x) / 2


@published(1.2, 0.8, 0.6, 0.4)
def dixon_price(x):
    f = (x[0] - 1)**2
    for i in range(1, len(x)):
        f += (i + 1) * (2 * x[i]**2 - x[i - 1])**2
    return f


@published(1.0, 2.0, 3.0)
def trid(x):
    return np.sum((x - 1)**2) - np.sum(x[1:] * x[:-1])


@published(2.5, 7.5)
def branin(x):
    a, b, c, r, s, t = 1, 5.1 / (4 * np.pi**2), 5 / np.pi, 6, 10, 1 / (8 * np.pi)
    return a * (x[1] - b * x[0]**2 + c * x[0] - r)**2 + s * (1 - t) * np.cos(x[0]) + s


@published(0.2, 0.5, 0.8)
def hartmann3(x):
    return -np.sum(HARTMANN_C * np.exp(-np.sum(HARTMANN3_A * (x - HARTMANN3_P)**2, axis=1)))


@published(0.2, 0.5, 0.8, 0.1, 0.3, 0.6)
def hartmann6(x):
    total = 0
    for i in range(4):
        inner = 0
        for j in range(6):
            inner += HARTMANN6_A[i, j] * (x[j] - HARTMANN6_P[i, j])**2
        total -= HARTMANN_C[i] * math.exp(-inner)
    return total


@published(3.8, 4.1, 4.2, 3.9)
def shekel5(x):
    return -sum(1 / (np.dot(x - a, x - a) + c) for a, c in zip(SHEKEL_A[:5], SHEKEL_C[:5]))


@published(3.8, 4.1, 4.2, 3.9)
def shekel10(x):
    return -np.sum(1 / (((x - SHEKEL_A)**2).sum(axis=1) + SHEKEL_C))


@published(0.3, -0.7)
def goldstein_price(x):
    a, b = x
    first = 1 + (a + b + 1)**2 * (19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2)
    second = 30 + (2 * a - 3 * b)**2 * (18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2)
    return first * second


@published(0.5, -0.6)
def six_hump_camel(x):
    return (4 - 2.1 * x[0]**2 + x[0]**4 / 3) * x[0]**2 + x[0] * x[1] + (-4 + 4 * x[1]**2) * x[1]**2


@published(0.5, -0.6)
def three_hump_camel(x):
    return 2 * x[0]**2 - 1.05 * x[0]**4 + x[0]**6 / 6 + x[0] * x[1] + x[1]**2


@published(2.5, 3.4)
def easom(x):
    return -np.cos(x[0]) * np.cos(x[1]) * np.exp(-(x[0] - np.pi)**2 - (x[1] - np.pi)**2)


@published(0.4, -0.3)
def bohachevsky(x):
    return x[0]**2 + 2 * x[1]**2 - 0.3 * np.cos(3 * np.pi * x[0]) - 0.4 * np.cos(4 * np.pi * x[1]) + 0.7


@published(0.4, -0.3)
def booth(x):
    return (x[0] + 2 * x[1] - 7)**2 + (2 * x[0] + x[1] - 5)**2


@published(0.4, -0.3)
def matyas(x):
    return 0.26 * (x[0]**2 + x[1]**2) - 0.48 * x[0] * x[1]


@published(0.4, -0.3)
def mccormick(x):
    return np.sin(x[0] + x[1]) + (x[0] - x[1])**2 - 1.5 * x[0] + 2.5 * x[1] + 1


@published(-12.0, 2.0)
def bukin6(x):
    return 100 * np.sqrt(np.abs(x[1] - 0.01 * x[0]**2)) + 0.01 * np.abs(x[0] + 10)


@published(1.5, 2.5)
def cross_in_tray(x):
    inner = abs(np.sin(x[0]) * np.sin(x[1]) * np.exp(abs(100 - np.sqrt(x[0]**2 + x[1]**2) / np.pi)))
    return -0.0001 * (inner + 1)**0.1


@published(1.5, 2.5)
def drop_wave(x):
    s = x[0]**2 + x[1]**2
    return -(1 + math.cos(12 * math.sqrt(s))) / (0.5 * s + 2)


@published(100.0, 230.0)
def eggholder(x):
    return (-(x[1] + 47) * np.sin(np.sqrt(abs(x[0] / 2 + x[1] + 47)))
            - x[0] * np.sin(np.sqrt(abs(x[0] - (x[1] + 47)))))


@published(3.0, 4.0)
def holder_table(x):
    return -np.abs(np.sin(x[0]) * np.cos(x[1]) * np.exp(np.abs(1 - np.hypot(x[0], x[1]) / np.pi)))


@published(0.5, 0.7)
def schaffer2(x):
    return 0.5 + (np.sin(x[0]**2 - x[1]**2)**2 - 0.5) / (1 + 0.001 * (x[0]**2 + x[1]**2))**2


@published(0.5, 0.7)
def schaffer4(x):
    return 0.5 + (np.cos(np.sin(np.abs(x[0]**2 - x[1]**2)))**2 - 0.5) / (1 + 0.001 * (x[0]**2 + x[1]**2))**2


@published(0.4, -0.9)
def shubert(x):
    def one(v):
        return sum(i * math.cos((i + 1) * v + i) for i in range(1, 6))
    return one(x[0]) * one(x[1])


@published(0.5, 1.5)
def himmelblau(x):
    return (x[0]**2 + x[1] - 11)**2 + (x[0] + x[1]**2 - 7)**2


@published(1.0, 1.0, 1.0, 1.0)
def colville(x):
    a, b, c, d = x
    return (100 * (a**2 - b)**2 + (a - 1)**2 + (c - 1)**2 + 90 * (c**2 - d)**2
            + 10.1 * ((b - 1)**2 + (d - 1)**2) + 19.8 * (b - 1) * (d - 1))


@published(0.5, 1.2, -0.7)
def perm(x):
    n, beta = len(x), 0.5
    return sum(sum((j**i + beta) * ((x[j - 1] / j)**i - 1) for j in range(1, n + 1))**2 for i in range(1, n + 1))


@published(0.5, 1.2, -0.7)
def perm0(x):
    n, beta, outer = len(x), 10, 0.0
    for i in range(1, n + 1):
        inner = 0.0
        for j in range(1, n + 1):
            inner += (j + beta) * (x[j - 1]**i - 1 / j**i)
        outer += inner**2
    return outer


@published(1.0, 2.0, 1.5, 2.5)
def power_sum(x):
    b = [8, 18, 44, 114]
    return sum((np.sum(x**(k + 1)) - b[k])**2 for k in range(4))


@published(0.5, 1.2, -0.7)
def rotated_hyper_ellipsoid(x):
    total = 0
    for i in range(len(x)):
        for j in range(i + 1):
            total += x[j]**2
    return total


@published(0.5, 1.2, -0.7)
def sum_of_different_powers(x):
    return np.sum(np.abs(x)**np.arange(2, len(x) + 2))


@published(0.6, 1.2)
def langermann(x):
    A = np.array([[3, 5], [5, 2], [2, 1], [1, 4], [7, 9]])
    c = np.array([1, 2, 5, 2, 3])
    d = np.sum((x - A)**2, axis=1)
    return np.sum(c * np.exp(-d / np.pi) * np.cos(np.pi * d))


@published(-0.4, 0.6)
def de_jong5(x):
    grid = [-32, -16, 0, 16, 32]
    total = 0.002
    for i in range(25):
        total += 1 / (i + 1 + (x[0] - grid[i % 5])**6 + (x[1] - grid[i // 5])**6)
    return 1 / total


@published(0.6, 0.7, 1.3)
def alpine1_smooth_side(x):
    return np.sum(np.abs(x * np.sin(x) + 0.1 * x))


@published(2.0, 3.0)
def alpine2(x):
    return np.prod(np.sqrt(x) * np.sin(x))


@published(0.5, 0.7)
def salomon(x):
    r = np.linalg.norm(x)
    return 1 - np.cos(2 * np.pi * r) + 0.1 * r


@published(0.5, 0.7, -0.2)
def xin_she_yang3(x):
    return np.sum(np.exp(-np.sum((x / 15)**10)) - 2 * np.exp(-np.sum(x**2)) * np.prod(np.cos(x)**2))


@published(1.4, 0.7)
def trefethen(x):
    return (math.exp(math.sin(50 * x[0])) + math.sin(60 * math.exp(x[1])) + math.sin(70 * math.sin(x[0]))
            + math.sin(math.sin(80 * x[1])) - math.sin(10 * (x[0] + x[1])) + (x[0]**2 + x[1]**2) / 4)


@published(0.3, 0.8, 0.5, 0.2)
def miele_cantrell(x):
    return (np.exp(-x[0]) - x[1])**4 + 100 * (x[1] - x[2])**6 + np.tan(x[2] - x[3])**4 + x[0]**8


@published(0.4, 1.3, 0.7)
def whitley(x):
    total = 0.0
    for xi in x:
        for xj in x:
            y = 100 * (xi**2 - xj)**2 + (1 - xj)**2
            total += y**2 / 4000 - np.cos(y) + 1
    return total


@published(3.0, 3.4, 4.1)
def paviani(x):
    return np.sum(np.log(x - 2)**2 + np.log(10 - x)**2) - np.prod(x)**0.2


@published(0.5, 0.7)
def keane(x):
    return -(np.sin(x[0] - x[1])**2 * np.sin(x[0] + x[1])**2) / np.sqrt(x[0]**2 + x[1]**2)


@published(0.5, 0.7)
def weierstrass(x):
    k = np.arange(8)
    a, b = 0.5**k, 3.0**k
    return sum(np.sum(a * np.cos(2 * np.pi * b * (v + 0.5))) for v in x) - 2 * np.sum(a * np.cos(np.pi * b))
