"""Unconstrained problems of the CUTE collection (Bongartz, Conn, Gould, Toint 1995): small instances, some with
milder constants or shorter couplings than the original so that they fit a handful of variables.
"""

import itertools
import math

import numpy as np
from published import published


@published([1.0] * 8)
def arwhead(x):
    return np.sum((x[:-1]**2 + x[-1]**2)**2 - 4 * x[:-1] + 3)


@published([1.0] * 8)
def bdqrtic(x):
    n, total = len(x), 0.0
    for i in range(n - 4):
        total += (-4 * x[i] + 3)**2
        total += (x[i]**2 + 2 * x[i + 1]**2 + 3 * x[i + 2]**2 + 4 * x[i + 3]**2 + 5 * x[n - 1]**2)**2
    return total


@published([1.0] * 8)
def broydn7d(x):
    n = len(x)
    p = 7 / 3
    total = abs(-2 * x[1] + 1 + (3 - 2 * x[0]) * x[0])**p
    for i in range(1, n - 1):
        total += abs(1 - x[i - 1] - 2 * x[i + 1] + (3 - 2 * x[i]) * x[i])**p
    total += abs(-x[n - 2] + 1 + (3 - 2 * x[n - 1]) * x[n - 1])**p
    for i in range(n // 2):
        total += abs(x[i] + x[i + n // 2])**p
    return total


@published([1.0] * 8)
def brybnd(x):
    n = len(x)
    f = x * (2 + 5 * x**2) + 1
    for i in range(n):
        for j in [j for j in range(max(0, i - 5), min(n - 1, i + 1) + 1) if j != i]:
            f[i] -= x[j] * (1 + x[j])
    return f @ f


@published([0.5] * 8)
def chainwoo(x):
    total = 1.0
    for i in range(0, len(x) - 3, 2):
        a, b, c, d = x[i:i + 4]
        total += (100 * (b - a**2)**2 + (1 - a)**2 + 90 * (d - c**2)**2 + (1 - c)**2
                  + 10 * (b + d - 2)**2 + 0.1 * (b - d)**2)
    return total


@published([1.0] * 8)
def cosine(x):
    return np.sum(np.cos(-0.5 * x[1:] + x[:-1]**2))


@published([1.0, 2, 2, 2, 2, 2, 2, 2])
def cragglvy(x):
    total = 0
    for i in range(len(x) // 2 - 1):
        a, b, c, d = x[2 * i], x[2 * i + 1], x[2 * i + 2], x[2 * i + 3]
        total += (math.exp(a) - b)**4 + 100 * (b - c)**6 + (math.tan(c - d) + c - d)**4 + a**8 + (d - 1)**2
    return total


@published([0.1] * 8)
def curly(x):
    k = 2
    q = [sum(x[i:min(i + k, len(x) - 1) + 1]) for i in range(len(x))]
    return sum(v * (v * (v**2 - 20) - 0.1) for v in q)


def dixmaan(x, alpha, beta, gamma, delta, k1, k2, k3, k4):
    """The family DIXMAANA to DIXMAANL by its eight constants."""
    n = len(x)
    m = n // 3
    i = np.arange(1, n + 1) / n
    f = 1 + np.sum(alpha * x**2 * i**k1)
    f += np.sum(beta * x[:-1]**2 * (x[1:] + x[1:]**2)**2 * i[:-1]**k2)
    f += np.sum(gamma * x[:2 * m]**2 * x[m:3 * m]**4 * i[:2 * m]**k3)
    f += np.sum(delta * x[:m] * x[2 * m:3 * m] * i[:m]**k4)
    return f


@published([2.0] * 9)
def dixmaana(x):
    return dixmaan(x, 1, 0, 0.125, 0.125, 0, 0, 0, 0)


@published([2.0] * 9)
def dixmaanb(x):
    return dixmaan(x, 1, 0.0625, 0.0625, 0.0625, 0, 0, 0, 1)


@published([2.0] * 9)
def dixmaanc(x):
    return dixmaan(x, 1, 0.125, 0.125, 0.125, 0, 0, 0, 0)


@published([2.0] * 9)
def dixmaand(x):
    return dixmaan(x, 1, 0.26, 0.26, 0.26, 0, 0, 0, 0)


@published([2.0] * 9)
def dixmaane(x):
    return dixmaan(x, 1, 0, 0.125, 0.125, 1, 0, 0, 1)


@published([2.0] * 9)
def dixmaanf(x):
    return dixmaan(x, 1, 0.0625, 0.0625, 0.0625, 1, 0, 0, 1)


@published([2.0] * 9)
def dixmaang(x):
    return dixmaan(x, 1, 0.125, 0.125, 0.125, 1, 0, 0, 1)


@published([2.0] * 9)
def dixmaanh(x):
    return dixmaan(x, 1, 0.26, 0.26, 0.26, 1, 0, 0, 1)


@published([2.0] * 9)
def dixmaani(x):
    return dixmaan(x, 1, 0, 0.125, 0.125, 2, 0, 0, 2)


@published([2.0] * 9)
def dixmaanj(x):
    return dixmaan(x, 1, 0.0625, 0.0625, 0.0625, 2, 0, 0, 2)


@published([2.0] * 9)
def dixmaank(x):
    return dixmaan(x, 1, 0.125, 0.125, 0.125, 2, 0, 0, 2)


@published([2.0] * 9)
def dixmaanl(x):
    return dixmaan(x, 1, 0.26, 0.26, 0.26, 2, 0, 0, 2)


@published([1.0] * 6)
def dqdrtic(x):
    return sum(x[i]**2 + 100 * x[i + 1]**2 + 100 * x[i + 2]**2 for i in range(len(x) - 2))


@published([2.0] * 6)
def dqrtic(x):
    return sum((v - i)**4 for i, v in enumerate(x, 1))


@published([0.0] * 6)
def edensch(x):
    return 16 + np.sum((x[:-1] - 2)**4 + (x[:-1] * x[1:] - 2 * x[1:])**2 + (x[1:] + 1)**2)


@published([1.0] * 6)
def eg2(x):
    return np.sum(np.sin(x[0] + x[:-1]**2 - 1)) + 0.5 * math.sin(x[-1]**2)


@published([2.0] * 6)
def engval1(x):
    f = 0.0
    for xi, xj in itertools.pairwise(x):
        f += (xi**2 + xj**2)**2 - 4 * xi + 3
    return f


@published(1, 2, 0)
def engval2(x):
    a, b, c = x
    r = np.array([a**2 + b**2 + c**2 - 1, a**2 + b**2 + (c - 2)**2 - 1, a + b + c - 1, a + b - c + 1,
                  a**3 + 3 * b**2 + (5 * c - a + 1)**2 - 36])
    return r @ r


@published([1.0] * 6)
def errinros(x):
    return np.sum((x[:-1] - 16 * 0.5**2 * x[1:]**2)**2) + np.sum((x[1:] - 1)**2)


@published([1.0] * 6)
def extrosnb(x):
    f = (x[0] - 1)**2
    for i in range(1, len(x)):
        f = f + 100 * (x[i] - x[i - 1]**2)**2
    return f


@published([0.5] * 6)
def fletchcr(x):
    return 100 * np.sum((x[1:] - x[:-1] + 1 - x[:-1]**2)**2)


@published([0.5, -2, 0.5, -2, 0.5, -2])
def freuroth(x):
    a, b = x[:-1], x[1:]
    return np.sum((-13 + a + ((5 - b) * b - 2) * b)**2 + (-29 + a + ((b + 1) * b - 14) * b)**2)


@published(np.arange(1, 7) / 7)
def genrose(x):
    total = 1.0
    for i in range(1, len(x)):
        total += 100 * (x[i] - x[i - 1]**2)**2 + (x[i] - 1)**2
    return total


@published([1.001] * 6)
def genhumps(x):
    zeta = 2
    s = np.sin(zeta * x)**2
    return np.sum(s[:-1] * s[1:] + 0.05 * (x[:-1]**2 + x[1:]**2))


@published([4.0] * 6)
def liarwhd(x):
    return 4 * np.sum((x**2 - x[0])**2) + np.sum((x - 1)**2)


@published([0.3, -0.4, 0.5, 0.2, -0.1, 0.6])
def morebv(x):
    h = 1 / (len(x) + 1)
    y = np.zeros(len(x) + 2)
    y[1:-1] = x
    f = np.zeros(len(x))
    for i in range(1, len(x) + 1):
        f[i - 1] = 2 * y[i] - y[i - 1] - y[i + 1] + 0.5 * h**2 * (y[i] + i * h + 1)**3
    return np.sum(f**2)


@published([0.1] * 6)
def ncb20b_like(x):
    n, total = len(x), 0
    for i in range(n - 2):
        inner = sum(v / (1 + v**2) for v in x[i:i + 3])
        total += (10 / (i + 1)) * inner**2 - 0.2 * sum(x[i:i + 3])
    return total + sum(100 * v**4 + 2 for v in x)


@published([-1.0] * 6)
def nondia(x):
    return (x[0] - 1)**2 + 100 * np.sum((x[0] - x[:-1]**2)**2)


@published([1.0, -1, 1, -1, 1, -1])
def nondquar(x):
    return (x[0] - x[1])**2 + (x[-2] + x[-1])**2 + np.sum((x[:-2] + x[1:-1] + x[-1])**4)


@published(0.5, 1.5, 0.3, 0.7, 1.2, 0.9)
def penalty3(x):
    n = len(x)
    r = np.exp(x[-1])
    s = np.exp(x[-2])
    first = sum((x[i] + 2 * x[i + 1] + 10 * x[i + 2] - 1)**2 for i in range(n - 2))
    second = sum((2 * x[i] + x[i + 1] - 3)**2 for i in range(n - 2))
    u = np.sum(x**2 - n)
    v = np.sum((x[:n // 2] - 1)**2)
    return 1e-3 * (1 + r * first + first * second + s * second) + u**2 + v


@published([0.5] * 6)
def power(x):
    return np.sum(np.arange(1, len(x) + 1) * x**2)**2


@published([2.0] * 6)
def quartc(x):
    f = 0
    for i in range(len(x)):
        f += (x[i] - (i + 1))**4
    return f


@published([1.04] * 8)
def schmvett(x):
    a, b, c = x[:-2], x[1:-1], x[2:]
    return np.sum(-1 / (1 + (a - b)**2) - np.sin((np.pi * b + c) / 2) - np.exp(-((a + c) / b - 2)**2))


@published([1.3] * 6)
def scosine(x):
    n = len(x)
    scale = np.exp(np.arange(n) / (n - 1))
    y = scale * x
    return np.sum(np.cos(y[:-1]**2 - y[1:] / 2))


@published(np.linspace(0.8, 1.4, 6))
def sensors(x):
    total = 0.0
    for i in range(len(x)):
        for j in range(len(x)):
            total -= (np.sin(x[i]) * np.sin(x[j]) * np.sin(x[i] - x[j]))**2
    return total


@published([0.1] * 6)
def sinquad(x):
    f = (x[0] - 1)**4 + (x[-1]**2 - x[0]**2)**2
    for i in range(1, len(x) - 1):
        f += (math.sin(x[i] - x[-1]) - x[0]**2 + x[i]**2)**2
    return f


@published([0.5] * 8)
def sparsine(x):
    n = len(x)
    i = np.arange(1, n + 1)
    sines = np.sin(x)
    inner = sum(sines[k * i % n] for k in (1, 2, 3, 5, 7, 11))
    return 0.5 * np.sum(i * inner**2)


@published([0.5] * 8)
def sparsqur(x):
    n = len(x)
    total = 0.0
    for i in range(1, n + 1):
        inner = x[i - 1]**2 + sum(x[(k * i - 1) % n]**2 for k in (2, 3, 5, 7, 11))
        total += i * inner**2 / 8
    return total


@published([-1.2, 1, -1.2, 1, -1.2, 1])
def srosenbr(x):
    odd, even = x[::2], x[1::2]
    return (100 * (even - odd**2)**2 + (odd - 1)**2).sum()


@published([0.5] * 6)
def tointgss(x):
    n = len(x)
    f = 0.0
    for i in range(n - 2):
        f += (10 / (n + 2) + x[i + 2]**2) * (2 - np.exp(-(x[i] - x[i + 1])**2 / (0.1 + x[i + 2]**2)))
    return f


@published([1.0] * 6)
def tquartic(x):
    return (x[0] - 1)**2 + sum((x[0]**2 - v**2)**2 for v in x[1:])


@published([1.0] * 6)
def tridia(x):
    i = np.arange(2, len(x) + 1)
    return (x[0] - 1)**2 + np.sum(i * (2 * x[1:] - x[:-1])**2)


@published([0.9, 0.7, 0.5, 0.3, 0.1])
def vardim(x):
    weighted = sum((i + 1) * (xi - 1) for i, xi in enumerate(x))
    return sum((xi - 1)**2 for xi in x) + weighted**2 + weighted**4


@published([1.0] * 6)
def vareigvl(x):
    y, mu = x[:-1], x[-1]
    n = len(y)
    k = np.arange(1, n + 1)
    A = np.sin(np.outer(k, k)) * np.exp(-np.subtract.outer(k, k)**2 / n)
    r = A @ y - mu * y
    return np.sum(np.abs(r)**1.5) + np.abs(y @ y - 1)**1.5


@published([-3.0, -1, -3, -1] * 2)
def woods(x):
    a, b, c, d = x[0::4], x[1::4], x[2::4], x[3::4]
    return np.sum(100 * (b - a**2)**2 + (1 - a)**2 + 90 * (d - c**2)**2 + (1 - c)**2 + 10 * (b + d - 2)**2
                  + 0.1 * (b - d)**2)


@published([0.5] * 6)
def indef(x):
    return np.sum(100 * np.sin(x / 100)) + 0.5 * sum(np.cos(2 * x[i] - x[-1] - x[0]) for i in range(1, len(x) - 1))


@published([1.5] * 6)
def himmelbg_chain(x):
    return sum(np.exp(-x[i] - x[i + 1]) * (2 * x[i]**2 + 3 * x[i + 1]**2) for i in range(len(x) - 1))


@published(0.5, 0.5)
def cliff(x):
    return ((x[0] - 3) / 100)**2 - (x[0] - x[1]) + math.exp(20 * (x[0] - x[1]))


@published(1, 1)
def denschna(x):
    return x[0]**4 + (x[0] + x[1])**2 + (-1 + np.exp(x[1]))**2


@published(2, 3)
def denschnc(x):
    return (-2 + x[0]**2 + x[1]**2)**2 + (-2 + np.exp(x[0] - 1) + x[1]**3)**2


@published(10, 10, 10)
def denschnd(x):
    r = [x[0]**2 + x[1]**3 - x[2]**4, 2 * x[0] * x[1] * x[2], 2 * x[0] * x[1] - 3 * x[1] * x[2] + x[0] * x[2]]
    return np.linalg.norm(r)**2


@published(2, 0.5)
def denschnf(x):
    return ((2 * (x[0] + x[1])**2 + (x[0] - x[1])**2 - 8)**2 + (5 * x[0]**2 + (x[1] - 3)**2 - 9)**2)


@published(0.8, 1.1)
def hilberta(x):
    n = len(x)
    f = 0.0
    for i in range(n):
        for j in range(n):
            f += x[i] * x[j] / (i + j + 1)
    return f


@published(-1.2, 1)
def cube(x):
    return (x[0] - 1)**2 + 100 * (x[1] - x[0]**3)**2


@published(1.3, 1.1)
def sisser(x):
    return 3 * x[0]**4 - 2 * (x[0] * x[1])**2 + 3 * x[1]**4


@published(1, 1)
def zangwil2(x):
    return (16 * x[0]**2 + 16 * x[1]**2 - 8 * x[0] * x[1] - 56 * x[0] - 256 * x[1] + 991) / 15


@published(2, 0.2)
def maratosb(x):
    return x[0] + 1e2 * (x[0]**2 + x[1]**2 - 1)**2


@published(1.0, 2.0, 0.7)
def yfitu(x):
    alpha, beta, distance = x
    y = [21.158931, 17.591719, 14.046854, 10.519732, 7.0058392, 3.5007293, 0.0]
    total = 0
    for i, yi in enumerate(y):
        t = i / 16
        total += (distance * math.atan(alpha * (1 - t) + beta * t) - yi)**2
    return total
