"""Problems of Hock and Schittkowski (1981), as users write them: constraints as penalties, classes, tables, loops.

A constrained problem is the quadratic penalty function of its objective and constraints, h = 0 and g >= 0.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from published import published
from scipy import special


def positive_part(v):
    if v > 0:
        return v
    return 0.0


def penalty(objective, equal=(), at_least=(), weight=10.0):
    """objective + weight * (sum of squares of what is violated)."""
    total = objective
    for h in equal:
        total += weight * h**2
    for g in at_least:
        total += weight * positive_part(-g) ** 2
    return total


@dataclasses.dataclass
class Penalised:
    """A problem with its constraints, the quadratic penalty of which is called."""

    objective: Callable[[Any], Any]
    equal: tuple = ()
    at_least: tuple = ()
    weight: float = 5.0
    evaluations: int = 0

    def violation(self, x):
        violated = [g(x) for g in self.at_least if g(x) < 0] + [h(x) for h in self.equal]
        return sum(v * v for v in violated)

    def __call__(self, x):
        self.evaluations += 1
        return self.objective(x) + self.weight * self.violation(x)


@published(10.0, 1.0)
def hs003(x):
    x1, x2 = x
    return x2 + 1e-5 * (x2 - x1) ** 2


@published(1.125, 0.125)
def hs004(x):
    return (x[0] + 1) ** 3 / 3 + x[1]


@published(-1.2, 1.0)
def hs006(x):
    return penalty((1 - x[0]) ** 2, equal=[10 * (x[1] - x[0] ** 2)])


@published(2.0, 2.0)
def hs007(x):
    return penalty(math.log(1 + x[0] ** 2) - x[1], equal=[(1 + x[0] ** 2) ** 2 + x[1] ** 2 - 4])


@published(2.0, 1.0)
def hs008(x):
    h = np.zeros(2)
    h[0] = x[0] ** 2 + x[1] ** 2 - 25
    h[1] = x[0] * x[1] - 9
    return -1 + h.dot(h)


@published(0.3, 0.7)
def hs009(x):
    return math.sin(math.pi * x[0] / 12) * math.cos(math.pi * x[1] / 16)


@published(-10.0, 10.0)
def hs010(x):
    return penalty(x[0] - x[1], at_least=[-3 * x[0] ** 2 + 2 * x[0] * x[1] - x[1] ** 2 + 1])


@published(4.9, 0.1)
def hs011(x):
    return penalty((x[0] - 5) ** 2 + x[1] ** 2 - 25, at_least=(x[1] - x[0] ** 2,))


@published(0.5, 0.2)
def hs012(x):
    Q = np.array([[1.0, -1.0], [-1.0, 2.0]])
    return 0.5 * x @ Q @ x - 7 * x.sum() + 10 * max(0, 4 * x[0] ** 2 + x[1] ** 2 - 25) ** 2


@published(2.0, 2.0)
def hs014(x):
    violated = lambda v: min(v, 0) ** 2
    h, g = x[0] - 2 * x[1] + 1, 1 - 0.25 * x[0] ** 2 - x[1] ** 2
    return np.sum((x - [2, 1]) ** 2) + 3 * (h**2 + violated(g))


hs015 = published(-2.0, 1.5)(Penalised(
    lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2,
    at_least=(lambda x: x[0] * x[1] - 1, lambda x: x[0] + x[1] ** 2, lambda x: 0.5 - x[0])), name="hs015")

hs018 = published(2.5, 2.0)(Penalised(
    lambda x: 0.01 * x[0] ** 2 + x[1] ** 2,
    at_least=(lambda x: x[0] * x[1] - 25, lambda x: x @ x - 25)), name="hs018")

hs019 = published(20.1, 5.84)(Penalised(
    lambda x: (x[0] - 10) ** 3 + (x[1] - 20) ** 3,
    at_least=(lambda x: np.sum((x - 5) ** 2) - 100, lambda x: 82.81 - (x[1] - 5) ** 2 - (x[0] - 6) ** 2)), name="hs019")


@published(1.0, 0.5)
def hs024(x):
    f = ((x[0] - 3) ** 2 - 9) * x[1] ** 3 / (27 * np.sqrt(3))
    A = np.array([[1 / np.sqrt(3), -1], [1, np.sqrt(3)], [-1, -np.sqrt(3)]])
    slack = A @ x + np.array([0, 0, 6])
    slack[slack > 0] = 0
    return f + np.sum(slack**2)


@published(60.0, 22.0, 1.2)
def hs025(x):
    i = np.arange(1, 100) / 100
    u = 25 + (-50 * np.log(i)) ** (2 / 3)
    f = np.exp(-((u - x[1]) ** x[2]) / x[0]) - i
    return f @ f


@published(-2.6, 2.0, 2.0)
def hs026(x):
    a, b, c = x
    return penalty((a - b) ** 2 + (b - c) ** 4, [(1 + b**2) * a + c**4 - 3])


@published(2.0, 2.0, 2.0)
def hs027(x):
    return penalty(0.01 * (x[0] - 1) ** 2 + (x[1] - x[0] ** 2) ** 2, equal=[x[0] + x[2] ** 2 + 1])


@published(-4.0, 1.0, 1.0)
def hs028(x):
    pairs = itertools.pairwise(x)
    return sum((a + b) ** 2 for a, b in pairs) + (np.dot([1, 2, 3], x) - 1) ** 2


@published(1.0, 1.0, 1.0)
def hs029(x):
    g = 48 - np.sum(np.array([1.0, 2.0, 4.0]) * x**2)
    return -functools.reduce(lambda a, b: a * b, x) + (0 if g >= 0 else g**2)


@published(0.1, 0.7, 0.2)
def hs032(x):
    f = (x[0] + 3 * x[1] + x[2]) ** 2 + 4 * (x[0] - x[1]) ** 2
    h = 1 - sum(x)
    g = 6 * x[1] + 4 * x[2] - x[0] ** 3 - 3
    return penalty(f, [h], [g])


@published(0.0, 0.5, 3.0)
def hs033(x):
    return np.prod([x[0] - k for k in (1, 2, 3)]) + x[2] + max(x[0] ** 2 + x[1] ** 2 - x[2] ** 2, 0) ** 2


@published(0.5, 1.05, 2.9)
def hs034(x):
    return penalty(-x[0], at_least=[x[1] - math.exp(x[0]), x[2] - math.exp(x[1])])


@published(0.5, 0.5, 0.5)
def hs035(x):
    H = [[4, 2, 2], [2, 4, 0], [2, 0, 2]]
    total = 9 - 8 * x[0] - 6 * x[1] - 4 * x[2]
    for i in range(3):
        for j in range(3):
            total = total + 0.5 * H[i][j] * x[i] * x[j]
    return total


@published(2.0, 2.0, 2.0, 2.0)
def hs039(x):
    h = np.array([x[1] - x[0] ** 3 - x[2] ** 2, x[0] ** 2 - x[1] - x[3] ** 2])
    return -x[0] + 10 * np.linalg.norm(h) ** 2


@published(0.8, 0.8, 0.8, 0.8)
def hs040(x):
    a, b, c, d = x.tolist()
    return penalty(-a * b * c * d, [a**3 + b**2 - 1, a**2 * d - c, d**2 - b])


@published(1.0, 1.0, 1.0, 1.0)
def hs042(x):
    target = range(1, 5)
    return sum((xi - t) ** 2 for xi, t in zip(x, target)) + (x[0] - 2) ** 2 + (x[2] ** 2 + x[3] ** 2 - 2) ** 2


@published(0.1, 0.2, 0.3, 0.4)
def hs043(x):
    """Rosen and Suzuki."""
    weights = np.array([1.0, 1, 2, 1])
    f = weights @ x**2 + np.dot([-5, -5, -21, 7], x)
    rows = np.array([[1, 1, 1, 1], [1, 2, 1, 2], [2, 1, 1, 0]]) @ x**2
    linear = np.array([[1, -1, 1, -1], [-1, 0, 0, -1], [2, -1, 0, -1]]) @ x
    g = np.array([8, 10, 5]) - rows - linear
    return f + 10 * np.sum(np.where(g < 0, g, 0) ** 2)


@published(0.1, 0.2, 0.3, 0.4)
def hs044(x):
    return x[0] - x[1] - x[2] - x[0] * x[2] + x[0] * x[3] + x[1] * x[2] - x[1] * x[3]


@published(2.0, 2.0, 2.0, 2.0, 2.0)
def hs045(x):
    product = 1
    for v in x:
        product *= v
    return 2 - product / math.factorial(len(x))


@published(0.7, 1.75, 0.5, 2.0, 2.0)
def hs046(x):
    powers = {0: 0, 2: 2, 3: 4, 4: 6}
    f = (x[0] - x[1]) ** 2 + sum((x[k] - 1) ** p for k, p in powers.items() if p)
    h1 = x[0] ** 2 * x[3] + np.sin(x[3] - x[4]) - 1
    h2 = x[1] + x[2] ** 4 * x[3] ** 2 - 2
    return f + h1**2 + h2**2


@published(2.0, 1.41, -1.0, 0.59, 2.0)
def hs047(x):
    steps = -np.diff(x)
    return np.sum(steps ** np.array([2, 3, 4, 4])) + (x[0] + x[1] ** 2 + x[2] ** 3 - 3) ** 2


@published(3.0, 5.0, -3.0, 2.0, -2.0)
def hs048(x):
    r = [x[0] - 1, x[1] - x[2], x[3] - x[4], np.sum(x) - 5, x[2] - 2 * (x[3] + x[4]) + 3]
    return np.inner(r, r)


@published(10.0, 7.0, 2.0, -3.0, 0.8)
def hs049(x):
    def term(v, power=2, shift=1.0):
        return (v - shift) ** power

    return term(x[0], shift=x[1]) + term(x[2]) + term(x[3], 4) + term(x[4], power=6)


@published(35.0, -31.0, 11.0, 5.0, -5.0)
def hs050(x):
    return sum(d**p for d, p in zip(x[:-1] - x[1:], itertools.cycle((2, 2, 4, 2))))


@published(2.5, 0.5, 2.0, -1.0, 0.5)
def hs051(x):
    A = np.array([[1.0, -1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]])
    return np.linalg.norm(A @ x - [0, 2, 1, 1]) ** 2


@published(1.0, 2.0, 0.1, 0.2, 0.3, 0.4)
def hs055(x):
    return x[0] + 2 * x[1] + 4 * x[4] + np.exp(x[0] * x[3])


@published(0.42, 5.0)
def hs057(x):
    a = [8, 8, 10, 10, 10, 10, 12, 12, 12, 12, 14, 14, 14, 16, 16, 16, 18, 18, 20, 20, 20, 22, 22, 22, 24, 24, 24, 26,
         26, 26, 28, 28, 30, 30, 30, 32, 32, 34, 36, 36, 38, 38, 40, 42]
    b = [0.49, 0.49, 0.48, 0.47, 0.48, 0.47, 0.46, 0.46, 0.45, 0.43, 0.45, 0.43, 0.43, 0.44, 0.43, 0.43, 0.46, 0.45,
         0.42, 0.42, 0.43, 0.41, 0.41, 0.40, 0.42, 0.40, 0.40, 0.41, 0.40, 0.41, 0.41, 0.40, 0.40, 0.40, 0.38, 0.41,
         0.40, 0.40, 0.41, 0.38, 0.40, 0.40, 0.39, 0.39]
    f = 0.0
    for ai, bi in zip(a, b):
        f += (bi - x[0] - (0.49 - x[0]) * math.exp(-x[1] * (ai - 8))) ** 2
    return f


@published(90.0, 10.0)
def hs059(x):
    a, b = x[0], x[1]
    return (-75.196 + 3.8112 * a + 0.0020567 * a**3 - 1.0345e-5 * a**4 + 6.8306 * b - 0.030234 * a * b
            + 1.28134e-3 * b * a**2 + 2.266e-7 * a**4 * b - 0.25645 * b**2 + 0.0034604 * b**3 - 1.3514e-5 * b**4
            + 28.106 / (b + 1) + 5.2375e-6 * a**2 * b**2 + 6.3e-8 * a**3 * b**2 - 7e-10 * a**3 * b**3
            - 3.405e-4 * a * b**2 + 1.6638e-6 * a * b**3 + 2.8673 * np.exp(0.0005 * a * b) - 3.5256e-5 * a**3 * b)


@published(2.0, 2.0, 2.0)
def hs060(x):
    return penalty((x[0] - 1) ** 2 + (x[0] - x[1]) ** 2 + (x[1] - x[2]) ** 4,
                   equal=[x[0] * (1 + x[1] ** 2) + x[2] ** 4 - 4 - 3 * math.sqrt(2)])


@published(0.7, 0.2, 0.1)
def hs062(x):
    a, b, c = x
    top = [a + b + c + 0.03, b + c + 0.03, c + 0.03]
    bottom = [0.09 * a + b + c + 0.03, 0.07 * b + c + 0.03, 0.13 * c + 0.03]
    return -32.174 * sum(w * math.log(t / u) for w, t, u in zip((255, 280, 290), top, bottom))


@published(10.0, 20.0, 30.0)
def hs064(x):
    cost = np.array([5.0, 20, 10]) * x + np.array([50e3, 72e3, 144e3]) / x
    return cost.sum() + 1e4 * positive_part(4 / x[0] + 32 / x[1] + 120 / x[2] - 1) ** 2


@published(-5.0, 5.0, 0.3)
def hs065(x):
    return penalty((x[0] - x[1]) ** 2 + (x[0] + x[1] - 10) ** 2 / 9 + (x[2] - 5) ** 2, at_least=[48 - np.dot(x, x)])


@published(1745.0, 12000.0, 110.0)
def hs067(x):
    """Colville's alkylation: two fixed points by iteration, then the profit."""
    y2 = 1.6 * x[0]
    while True:
        y3 = 1.22 * y2 - x[0]
        y6 = (x[1] + y3) / x[0]
        y2c = 0.01 * x[0] * (112 + 13.167 * y6 - 0.6667 * y6**2)
        if abs(y2c - y2) <= 1e-3:
            break
        y2 = y2c
    y4 = 93.0
    for _ in range(50):
        y5 = 86.35 + 1.098 * y6 - 0.038 * y6**2 + 0.325 * (y4 - 89)
        y8 = -133 + 3 * y5
        y7 = 35.82 - 0.222 * y8
        y4c = 98000 * x[2] / (y2 * y7 + 1000 * x[2])
        if abs(y4c - y4) <= 1e-4:
            break
        y4 = y4c
    return -(0.063 * y2 * y5 - 5.04 * x[0] - 3.36 * y3 - 0.035 * x[1] - 10 * x[2])


def normal_distribution(t):
    return 0.5 * (1 + math.erf(t / math.sqrt(2)))


@published(1.0, 1.0, 1.0, 1.0)
def hs068(x, a=0.0001, b=1.0, d=1.0, n=24):
    grown = math.exp(x[0]) - 1
    f = (a * n - (b * grown - x[2]) / (grown + x[3])) / x[0]
    h1 = x[2] - 2 * normal_distribution(-x[1])
    h2 = x[3] - normal_distribution(-x[1] + d * math.sqrt(n)) - normal_distribution(-x[1] - d * math.sqrt(n))
    return f + h1**2 + h2**2


hs069 = published(1.0, 1.0, 1.0, 1.0)(functools.partial(hs068, a=0.1, b=1000.0, n=4), name="hs069")


@published(1.0, 5.0, 5.0, 1.0)
def hs071(x):
    return penalty(x[0] * x[3] * np.sum(x[:3]) + x[2], equal=[np.sum(x**2) - 40], at_least=[np.prod(x) - 25])


@published(700.0, 600.0, 0.1, -0.1)
def hs074(x):
    cost = lambda v, c: (3 - c) * v + 1e-6 * v**3 / (1 if c == 0 else 1.5)
    s = [np.sin(-x[2] - 0.25), np.sin(-x[3] - 0.25), np.sin(x[2] - 0.25), np.sin(x[2] - x[3] - 0.25)]
    h = np.array([1000 * (s[0] + s[1]) + 894.8 - x[0], 1000 * (s[2] + s[3]) + 894.8 - x[1]])
    return cost(x[0], 0) + cost(x[1], 1) + 1e-3 * h @ h


@published(0.5, 0.5, 0.5, 0.5)
def hs076(x):
    H = np.diag([2.0, 1, 2, 1])
    H[0, 2] = H[2, 0] = -1
    H[2, 3] = H[3, 2] = 1
    return 0.5 * np.einsum("i,ij,j", x, H, x) + np.array([-1.0, -3, 1, -1]) @ x


@published(2.0, 2.0, 2.0, 2.0, 2.0)
def hs077(x):
    f = (x[0] - 1) ** 2 + (x[0] - x[1]) ** 2 + (x[2] - 1) ** 2 + (x[3] - 1) ** 4 + (x[4] - 1) ** 6
    constraints = {"a": x[0] ** 2 * x[3] + np.sin(x[3] - x[4]) - 2 * np.sqrt(2),
                   "b": x[1] + x[2] ** 4 * x[3] ** 2 - 8 - np.sqrt(2)}
    return penalty(f, constraints.values())


@published(-2.0, 1.5, 2.0, -1.0, -1.0)
def hs078(x):
    h = np.hstack([x @ x - 10, x[1] * x[2] - 5 * x[3] * x[4], x[0] ** 3 + x[1] ** 3 + 1])
    return np.prod(x) + np.sum(h**2)


@published(-2.0, 1.5, 2.0, -1.0, -1.0)
def hs080(x):
    return np.exp(np.multiply.reduce(x)) + (np.sum(x**2) - 10) ** 2


@published(78.0, 33.0, 27.0, 27.0, 27.0)
def hs083(x):
    f = 5.3578547 * x[2] ** 2 + 0.8356891 * x[0] * x[4] + 37.293239 * x[0] - 40792.141
    a = (85.334407, 0.0056858, 0.0006262, 0.0022053)
    g = a[0] + a[1] * x[1] * x[4] + a[2] * x[0] * x[3] - a[3] * x[2] * x[4]
    return penalty(f, at_least=[g, 92 - g])


@published(0.1, 0.2, 0.3, 0.1, 1.0)
def hs086(x):
    e = np.array([-15.0, -27, -36, -18, -12])
    c = np.array([[30.0, -20, -10, 32, -10], [-20, 39, -6, -31, 32], [-10, -6, 10, -6, -10], [32, -31, -6, 39, -20],
                  [-10, 32, -10, -20, 30]])
    d = [4, 8, 10, 6, 2]
    total = 0.0
    for j in range(5):
        total += e[j] * x[j]
        for i in range(5):
            total += c[i, j] * x[i] * x[j]
        total += d[j] * x[j] ** 3
    return total


@published(390.0, 1000.0, 419.5, 340.5, 198.175, 0.5)
def hs087(x):
    """The electrical network: two costs of current that bend."""
    def cost(v, bends):
        total, rest = 0.0, v
        for width, rate in bends:
            part = rest if rest < width else width
            total, rest = total + rate * part, rest - part
            if rest <= 0:
                break
        return total

    f = cost(x[0], [(300, 30), (math.inf, 31)]) + cost(x[1], [(100, 28), (100, 29), (math.inf, 30)])
    angle = 1.48477 - x[5]
    h = 300 - x[0] - x[2] * x[3] * np.cos(angle) / 131.078 + 0.90798 * x[2] ** 2 * np.cos(1.47588) / 131.078
    return f + 0.1 * h**2


@published(5.54, 4.4, 12.02, 11.82, 0.702, 0.852)
def hs093(x):
    first = x[0] * x[3] * (x[0] + x[1] + x[2])
    second = x[1] * x[2] * (x[0] + 1.57 * x[1] + x[3])
    return 0.0204 * first + 0.0187 * second + 0.0607 * first * x[4] ** 2 + 0.0437 * second * x[5] ** 2


@published(0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)
def hs099(x):
    """A trajectory in seven burns."""
    a = [0, 50, 50, 75, 75, 75, 100, 100]
    t = [0, 25, 50, 100, 150, 200, 290, 380]
    r, q, s = [0.0], [0.0], [0.0]
    for i in range(1, 8):
        dt = t[i] - t[i - 1]
        r.append(a[i] * dt * math.cos(x[i - 1]) + r[-1])
        lift = a[i] * math.sin(x[i - 1]) - 32
        q.append(0.5 * dt**2 * lift + dt * s[-1] + q[-1])
        s.append(dt * lift + s[-1])
    return -1e-6 * (r[-1] ** 2) + 1e-8 * (q[-1] - 1e5) ** 2 + 1e-4 * (s[-1] - 1e3) ** 2


@published(1.0, 2.0, 0.1, 4.0, 0.2, 1.0, 1.0)
def hs100(x):
    f = ((x[0] - 10) ** 2 + 5 * (x[1] - 12) ** 2 + x[2] ** 4 + 3 * (x[3] - 11) ** 2 + 10 * x[4] ** 6 + 7 * x[5] ** 2
         + x[6] ** 4 - 4 * x[5] * x[6] - 10 * x[5] - 8 * x[6])
    return penalty(f, at_least=[127 - 2 * x[0] ** 2 - 3 * x[1] ** 4 - x[2] - 4 * x[3] ** 2 - 5 * x[4]], weight=0.1)


class Posynomial:
    """sum c_k prod_i x_i^(e_ki)."""

    def __init__(self, *terms):
        self.terms = terms

    def __call__(self, x):
        total = 0.0
        for c, exponents in self.terms:
            term = c
            for v, e in zip(x, exponents):
                if e:
                    term = term * v**e
            total += term
        return total


hs101 = published([6.0] * 7)(Posynomial(
    (10, (1, -1, 0, 2, 0, -3, -0.25)), (15, (-1, -2, 1, 1, -1, 0, -0.5)), (20, (-2, 1, 0, -1, -2, 1, 0)),
    (25, (2, 2, -1, 0, 0.5, -2, 1))), name="hs101")


@published(6.0, 3.0, 0.4, 0.2, 6.0, 6.0, 1.0, 0.5)
def hs104(x):
    f = 0.4 * x[0] ** 0.67 * x[6] ** -0.67 + 0.4 * x[1] ** 0.67 * x[7] ** -0.67 + 10 - x[0] - x[1]
    return penalty(f, at_least=[1 - 0.0588 * x[4] * x[6] - 0.1 * x[0],
                                1 - 4 * x[2] / x[4] - 2 * x[2] ** -0.71 / x[4] - 0.0588 * x[2] ** -1.3 * x[6]])


@published([9.0] * 10)
def hs110(x):
    return np.sum(np.log(x - 2) ** 2 + np.log(10 - x) ** 2) - np.prod(x) ** 0.2


GIBBS = np.array([-6.089, -17.164, -34.054, -5.914, -24.721, -14.986, -24.1, -10.708, -26.662, -22.179])


@published(np.linspace(-2.5, -2.1, 10))
def hs111(x):
    moles = np.exp(x)
    return np.sum(moles * (GIBBS + x - np.log(np.sum(moles))))


@published([0.1, 0.2, 0.1, 0.15, 0.1, 0.12, 0.1, 0.3, 0.1, 0.1])
def hs112(x):
    total = sum(x)
    balance = [x[0] + 2 * x[1] + 2 * x[2] + x[5] + x[9] - 2, x[3] + 2 * x[4] + x[5] + x[6] - 1,
               x[2] + x[6] + x[7] + 2 * x[8] + x[9] - 1]
    return sum(v * (c + math.log(v / total)) for v, c in zip(x, GIBBS)) + sum(b**2 for b in balance)


@published([2.0, 3.0, 5.0, 5.0, 1.0, 2.0, 7.0, 3.0, 6.0, 10.0])
def hs113(x):
    centre = np.array([10.0, 5, 3, 1, 0, 7, 11, 10, 7])
    weight = np.array([1.0, 4, 1, 2, 5, 7, 2, 1, 1])
    places = [2, 3, 4, 5, 6, 7, 8, 9]
    f = x[0] ** 2 + x[1] ** 2 + x[0] * x[1] - 14 * x[0] - 16 * x[1] + 45
    for k, place in enumerate(places):
        f = f + weight[k] * (x[place] - centre[k]) ** 2
    return f


@published([0.1, 0.2, 0.1, 0.2, 0.1, 0.2, 0.3, 0.4, 0.1, 0.2, 0.5, 0.4, 0.3, 0.2, 0.1])
def hs117(x):
    """Colville's second problem, the dual of the first."""
    d = np.array([4.0, 8, 10, 6, 2])
    b = np.array([-40.0, -2, -0.25, -4, -4, -1, -40, -60, 5, 1])
    y, z = x[:10], x[10:]
    C = np.array([[30.0 if i == j else -6 for i in range(5)] for j in range(5)])
    return -b @ y + 2 * np.sum(d * z**3) + z @ C @ z


@published(np.linspace(5.0, 12.0, 16))
def hs119(x):
    """Colville's seventh problem, its matrix of incidence written as a list of pairs."""
    pairs = [(1, 1), (1, 4), (1, 7), (1, 8), (1, 16), (2, 2), (2, 3), (2, 7), (2, 10), (3, 3), (3, 7), (3, 9), (3, 10),
             (3, 14), (4, 4), (4, 7), (4, 11), (4, 15), (5, 5), (5, 6), (5, 10), (5, 12), (5, 16), (6, 6), (6, 8),
             (6, 15), (7, 7), (7, 11), (7, 13), (8, 8), (8, 10), (8, 15), (9, 9), (9, 12), (9, 16), (10, 10), (10, 14),
             (11, 11), (11, 13), (12, 12), (12, 14), (13, 13), (13, 14), (14, 14), (15, 15), (16, 16)]
    q = (x / 10) ** 2 + x / 10 + 1
    return sum(q[i - 1] * q[j - 1] for i, j in pairs)


@published(0.3, 0.6)
def hs_error_function(x):
    """The two distribution functions of problem 68, as arrays."""
    t = np.array([-x[1], x[0] - x[1], x[0] + x[1]])
    return np.sum(special.erf(t / np.sqrt(2)) ** 2)
