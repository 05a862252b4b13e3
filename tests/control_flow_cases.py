"""Functions whose control flow depends on values, and points that lead along different paths.

Libraries are reached through the module's globals: so the oracle can run the same source on another kind of number.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
from builtins import float
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

CASES = {}


class Case(NamedTuple):
    """A function of one vector and the points it is tried at."""

    fn: Callable[[Any], Any]
    points: list[np.ndarray]


def case(*points):
    def declare(fn):
        CASES[fn.__name__] = Case(fn, [np.array(p, dtype=np.float64) for p in points])
        return fn

    return declare


# -- if, and, or, conditional expressions, match -------------------------------------------------------------------


@case([1.2, 0.5], [-1.2, 0.5], [0.3, -2.0])
def if_elif_else(x):
    if x[0] > 1:
        return x[0] ** 3 * x[1]
    elif x[0] < -1:
        return np.sin(x[0] * x[1])
    else:
        return x[0] * x[1] ** 2


@case([1.2, 0.5], [-1.2, 0.5], [0.3, -2.0], [-0.3, -2.0])
def and_or_not(x):
    y = (x[0] > 0 and x[1] ** 3) or x[0] ** 2
    if not (x[0] > 0 or x[1] > 0):
        y = y * x[0]
    return y + (x[1] ** 2 if 0 < x[0] < 1 else x[0] * x[1])


@case([0.2, 0.5], [1.3, 0.5], [2.7, 0.5], [9.0, 0.5])
def match_on_int(x):
    match int(x[0]):
        case 0:
            return x[0] ** 2 * x[1]
        case 1 | 2 if x[0] < 2:
            return x[0] * x[1] ** 3
        case 2:
            return np.exp(x[0] * x[1])
        case k:
            return k * x[0] ** 2


@case([1.0, 2.0], [2.0, 1.0], [-3.0, -2.0])
def builtin_min_max(x):
    low, high = min(x), max(x[0], x[1], 0.5)
    return (high - low) ** 3 + max(x, key=lambda v: v * v) ** 2


@case([0.1, 0.2, 0.3], [3.0, 0.2, 0.3], [3.0, 4.0, 0.3], [0.1, 0.2, 5.0])
def any_all(x):
    total = np.sum(x**2)
    if np.any(x > 1):
        total = total * x[0]
    if not all(v > 0.15 for v in x):
        total = total + x[1] ** 3
    return total + sum(v**3 for v in x if v < 1)


@case([1.0, 0.0], [0.0, 2.0], [-1.0, 1.0])
def truth_of_a_number(x):
    if x[0]:
        return x[0] ** 2 + x[1] ** 2
    return x[1] ** 3


@case([0.5, 1.0], [-0.5, 1.0])
def integer_on_a_branch(x):
    if x[0] < 0:
        return 0
    return x[0] ** 2 * x[1]


@case([0.5, 1.0], [-0.5, 1.0])
def assertion_that_holds(x):
    assert x[1] > 0, f"x[1] is {x[1]}"
    sign = 1 if x[0] >= 0 else -1
    return sign * x[0] ** 3 * x[1]


# -- loops ---------------------------------------------------------------------------------------------------------


@case([2.0, 0.5], [50.0, 0.5], [1e-3, 0.5])
def newton_square_root(x):
    a, r = x[0], 0.5 * (1 + x[0])
    while abs(r * r - a) > 1e-10 * a:
        r = 0.5 * (r + a / r)
    return r * x[1] ** 2


@case([0.5, 2.0], [0.9, 3.0], [-0.4, 1.1])
def bisection(x):
    low, high = -2.0, 3.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        if middle**3 + x[1] * middle - x[0] > 0:
            high = middle
        else:
            low = middle
        if high - low < 1e-3:
            break
    root = 0.5 * (low + high)
    for _ in range(3):  # polished, so that it moves with x
        root = root - (root**3 + x[1] * root - x[0]) / (3 * root**2 + x[1])
    return root**2 + x[0] * root


@case([0.5, 1.5], [2.0, 0.1], [3.7, 0.3])
def range_of_int(x):
    total = 0.0
    for k in range(int(x[0]) + 2):
        total += x[1] ** k / math.factorial(k)
    return total * x[0]


@case([1.0, 0.3], [0.2, 0.9])
def break_and_else(x):
    s = 1.0
    for _k in range(1, 30):
        s = s * x[1]
        if s < 0.05:
            break
    else:
        return x[0] * s
    return s * _k + x[0] ** 2 * s


@case([0.4, 0.2, 0.7, -0.5], [-0.4, 0.2, -0.7, 0.5])
def continue_over_negatives(x):
    total = 1.0
    for v in x:
        if v < 0:
            continue
        total *= 1 + v * v
    return total


@case([0.3, 1.0], [5.0, 1.0], [20.0, 2.0])
def collatz_like(x):
    v, n = x[0], 0
    while v > 1:
        v = v / 2 if int(v) % 2 == 0 else (v + 1) / 3
        n += 1
    return v**2 * x[1] + n


@case([0.3, 1.2], [1.0, 0.2])
def while_true(x):
    term, total, k = 1.0, 0.0, 0
    while True:
        total = total + term
        k += 1
        term = term * x[0] * x[1] / k
        if abs(term) < 1e-8:
            return total


@case([1.3, 0.4], [3.0, 0.2])
def takewhile(x):
    terms = (x[0] ** k * x[1] for k in itertools.count(1))
    return sum(itertools.takewhile(lambda t: t < 4, terms))


@case([0.6, 0.8], [1.4, 0.3], [2.5, 0.05])
def adaptive_runge_kutta(x):
    """Heun with step control on y' = -x0 y^2, y(0) = x1."""
    t, y, h = 0.0, x[1], 0.4
    while t < 1.0:
        h = min(h, 1.0 - t)
        k1 = -x[0] * y**2
        k2 = -x[0] * (y + h * k1) ** 2
        error = abs(h * (k2 - k1) / 2)
        if error > 2e-3:
            h = h / 2
            continue
        y, t = y + h * (k1 + k2) / 2, t + h
        if error < 1e-4:
            h = 2 * h
        if 1.0 - t < 1e-12:
            break
    return y**2


@case([1.1, 0.6], [4.0, 0.01])
def fixed_point(x):
    z, n = 0.5, 0
    while n < 200:
        new = np.cos(z * x[1]) / x[0]
        if abs(new - z) < 1e-9:
            break
        z, n = new, n + 1
    return z**2 + x[1] * z


@case([10.0, 3.0], [3.0, 10.0], [7.5, 2.0])
def euclid(x):
    a, b = x[0], x[1]
    while b > 0.4:
        a, b = b, a % b
    return a * a + b


# -- recursion -----------------------------------------------------------------------------------------------------


@case([0.7, 1.0], [2.9, 1.0], [5.3, 1.0])
def recursion(x):
    def power(b, n):
        if n < 1:
            return 1.0
        half = power(b, n // 2)
        return half * half * (b if n % 2 else 1.0)

    return power(x[0], int(x[0]) + 2) * x[1]


@case([0.3, 1.2], [1.7, 0.4])
def adaptive_simpson(x):
    def f(t):
        return np.exp(-x[0] * t * t) * np.cos(x[1] * t)

    def area(a, b, fa, fm, fb, whole, depth):
        m = 0.5 * (a + b)
        left, right = 0.5 * (a + m), 0.5 * (m + b)
        fl, fr = f(left), f(right)
        s1, s2 = (m - a) / 6 * (fa + 4 * fl + fm), (b - m) / 6 * (fm + 4 * fr + fb)
        if depth == 0 or abs(s1 + s2 - whole) < 1e-4:
            return s1 + s2 + (s1 + s2 - whole) / 15
        return area(a, m, fa, fl, fm, s1, depth - 1) + area(m, b, fm, fr, fb, s2, depth - 1)

    fa, fm, fb = f(0.0), f(1.0), f(2.0)
    return area(0.0, 2.0, fa, fm, fb, (fa + 4 * fm + fb) / 3, 6)


@case([1.0, 2.0], [3.5, 1.5])
def arithmetic_geometric_mean(x):
    def agm(a, b):
        return a if abs(a - b) < 1e-9 else agm((a + b) / 2, np.sqrt(a * b))

    return agm(x[0], x[1]) ** 2


@dataclasses.dataclass
class Tree:
    left: Any
    right: Any
    split: float

    def value(self, x):
        child = self.left if x[0] < self.split else self.right
        return child.value(x) if isinstance(child, Tree) else child(x)


TREE = Tree(Tree(lambda x: x[0] ** 2, lambda x: x[0] * x[1], -1.0), lambda x: np.exp(x[0]) * x[1] ** 2, 0.5)


@case([-2.0, 1.0], [0.0, 1.5], [1.0, 0.5])
def decision_tree(x):
    return TREE.value(x)


@case([3.0, 1.0, 2.0, 5.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0])
def quicksort(x):
    def ordered(v):
        if len(v) <= 1:
            return v
        pivot, rest = v[0], v[1:]
        return ordered([w for w in rest if w < pivot]) + [pivot] + ordered([w for w in rest if w >= pivot])

    return sum(k * v**2 for k, v in enumerate(ordered(list(x))))


# -- int, float, bool, indexing by computed integers ---------------------------------------------------------------


@case([1.3, 0.5, 0.2], [2.3, 0.5, 0.2], [0.1, 0.5, 0.2])
def index_by_int(x):
    table = [2.0, 3.0, 5.0]
    return table[int(x[0])] * x[1] ** 2 + x[int(x[0])] ** 3


@case([0.13, 0.5, 0.2], [0.71, 0.5, 0.2])
def piecewise_table(x):
    knots = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    heights = [0.0, 1.0, 4.0, 2.0, 3.0]
    k = int(x[0] // 0.25)
    s = (x[0] - knots[k]) / 0.25
    return heights[k] * (1 - s) ** 2 + heights[k + 1] * s**2 + x[1] * x[2]


@case([1.26, 0.5], [2.74, 0.5])
def floor_ceil_round(x):
    return x[0] ** 2 * math.floor(x[0]) + x[1] ** 2 * math.ceil(x[0]) + round(x[0]) * x[0] * x[1]


@case([1.26, 0.5], [-2.74, 0.5])
def float_keeps_the_derivative(x):
    v = float(x[0])
    if float(x[0]) < 0:
        v = -v
    return v**3 * float(x[1])


@case([1.26, 0.5], [-2.74, 0.5])
def bool_as_a_number(x):
    return (1 + int(x[0] > 0)) * x[0] ** 2 + bool(x[0] < 0) * x[1] ** 2


# -- order ---------------------------------------------------------------------------------------------------------

FIVE = [3.0, 1.0, 2.0, 5.0, 4.0], [1.0, 2.5, 0.5, -4.0, 5.0]


@case(*FIVE)
def sort(x):
    return np.sum(np.sort(x) ** 2 * np.arange(5))


@case(*FIVE)
def sort_in_place(x):
    y = x**3
    y.sort()
    return y[0] * y[1] + y[4]


@case(*FIVE)
def argsort(x):
    order = np.argsort(x)
    return np.sum(x[order][:3] ** 3) + x[order[-1]] * x[order[0]]


@case(*FIVE)
def argmax_argmin(x):
    return x[np.argmax(x)] ** 3 * x[np.argmin(x)] + np.argmax(x) * x[0] ** 2


@case(*FIVE)
def builtin_sorted(x):
    low, *_, high = sorted(x)
    return low**2 * high + sorted(x, key=lambda v: -abs(v))[1] ** 3


@case(*FIVE)
def median_of_python(x):
    s = sorted(x)
    n = len(s)
    m = s[n // 2] if n % 2 else (s[n // 2 - 1] + s[n // 2]) / 2
    return sum((v - m) ** 2 for v in x) * m


@case(*FIVE)
def trimmed_mean(x):
    return np.mean(np.sort(x)[1:-1]) ** 3


@case(*FIVE)
def winsorised(x):
    s = np.sort(x**2)
    low, high = s[1], s[3]
    total = 0.0
    for v in x**2:
        total += (low if v < low else high if v > high else v) ** 2
    return total


@case([[1.0, 0.2, 0.4], [2.0, 1.0, 0.3]][0], [2.0, 1.0, 0.3], [0.1, 3.0, 0.5])
def pivoted_least_squares(x):
    """Normal equations of three points, solved by elimination with row pivoting."""
    A = [[x[0], 1.0, 0.5], [1.0, x[1], x[2]], [x[2], 0.3, x[0] * x[1]]]
    b = [1.0, x[0], 2.0]
    n = 3
    for k in range(n):
        p = max(range(k, n), key=lambda i: abs(A[i][k]))
        A[k], A[p], b[k], b[p] = A[p], A[k], b[p], b[k]
        for i in range(k + 1, n):
            m = A[i][k] / A[k][k]
            A[i] = [a - m * c for a, c in zip(A[i], A[k])]
            b[i] = b[i] - m * b[k]
    z = [0.0] * n
    for i in reversed(range(n)):
        z[i] = (b[i] - sum(A[i][j] * z[j] for j in range(i + 1, n))) / A[i][i]
    return sum(v**2 for v in z)


@case(*FIVE)
def nearest_neighbour(x):
    centres = np.array([0.0, 2.2, 4.4])
    total = 0.0
    for v in x:
        total += (v - centres[np.argmin(np.abs(centres - v))]) ** 2 * v
    return total


@case([0.2, 1.4, 0.9], [2.5, 0.4, 0.9])
def searchsorted(x):
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    slopes = np.array([1.0, 2.0, 4.0])
    return sum(slopes[np.searchsorted(edges, v) - 1] * v**2 for v in x)


@case([0.2, 1.4, 0.9, 2.2], [2.5, 0.4, 0.9, 1.1])
def boolean_mask(x):
    inside = x[x < 1]
    y = x.copy()
    y[y > 2] = 0.5
    return np.sum(inside**3) * len(inside) + np.prod(y)


@case([0.2, 1.4, 0.9, 2.2], [2.5, 0.4, 0.9, 1.1], [0.1, 0.2, 0.3, 0.4])
def nonzero_places(x):
    (places,) = np.nonzero(x > 1)
    return sum(x[p] ** 2 * (p + 1) for p in places) + x[0] ** 2 * len(places)


@case([0.2, 1.4], [1.4, 0.2])
def swap_in_place(x):
    a = [x[0], x[1]]
    if a[0] > a[1]:
        a[0], a[1] = a[1], a[0]
    return a[0] ** 3 + a[1] ** 2


# -- exceptions ----------------------------------------------------------------------------------------------------


@case([0.5, 2.0], [-0.5, 2.0], [0.0, 2.0])
def math_domain(x):
    try:
        return math.log(x[0]) * x[1]
    except ValueError:
        return x[0] * x[1] ** 2


@case([0.5, 2.0], [800.0, 2.0])
def math_range(x):
    try:
        return math.exp(x[0]) * x[1]
    except OverflowError:
        return x[1] ** 3


@case([0.5, 2.0], [-0.5, 2.0])
def math_error_in_a_helper(x):
    def root(v):
        return math.sqrt(v)

    value = x[1] ** 2
    with contextlib.suppress(ValueError):
        value = root(x[0]) * x[1]
    return value


@case([2.0, 0.5], [-2.0, 0.5], [2.0, 3.0])
def cholesky_fails(x):
    A = np.array([[x[0], x[1]], [x[1], 1.0]])
    for shift in (0.0, 4.0, 16.0):
        try:
            L = np.linalg.cholesky(A + shift * np.eye(2))
        except np.linalg.LinAlgError:
            continue
        return np.sum(np.log(np.diag(L))) + shift * x[0] ** 2
    return x[0]


@case([1.0, 2.0], [2.0, 2.0])
def singular_matrix(x):
    A = np.array([[x[0], x[1]], [2.0, 2.0]])
    try:
        return np.linalg.solve(A, np.array([1.0, x[1]]))[0]
    except np.linalg.LinAlgError:
        return x[0] ** 2 * x[1]


@case([1.5, 2.0], [0.5, 2.0], [7.5, 2.0])
def index_error(x):
    table = [1.0, 3.0, 5.0]
    try:
        return table[int(x[0])] * x[1] ** 2
    except IndexError:
        return x[0] ** 2
    finally:
        table.clear()


class Infeasible(Exception):
    pass


@case([1.5, 2.0], [-0.5, 2.0])
def raised_by_the_user(x):
    def checked(v):
        if v < 0:
            raise Infeasible(f"{v:.2f} is negative")
        return v

    try:
        return checked(x[0]) ** 3
    except Infeasible as error:
        return x[1] ** 2 * len(str(error))


# -- text ----------------------------------------------------------------------------------------------------------


@case([1.26, 2.0], [3.74, 2.0])
def text_of_values(x):
    level = float(f"{x[0]:.1f}")
    return level * x[0] ** 2 + len(str(round(x[1], 3))) * x[1] ** 2


@case([1.2, 2.0], [3.7, 2.0])
def memo_by_text(x):
    memo = {}

    def f(v):
        key = f"{v:.0f}"
        if key not in memo:
            memo[key] = v**2
        return memo[key]

    return f(x[0]) * f(x[1]) + f(x[0] + 0.1)


# -- random numbers and state --------------------------------------------------------------------------------------


@case([0.3, 1.2], [1.9, 0.4])
def monte_carlo(x):
    rng = np.random.default_rng(12)
    total = 0.0
    for _ in range(20):
        path = x[0]
        for z in rng.normal(size=4):
            path = path * (1 + 0.3 * z * x[1])
            if path < 0.2:
                break
        total += max(path - 0.5, 0.0) ** 2
    return total / 20


@case([0.3, 0.5], [1.9, 0.5])
def barrier_option(x):
    spot = x[0]
    for steps, z in enumerate((0.4, -0.3, 0.9, -0.2), start=1):
        spot = spot * np.exp(x[1] * z)
        if spot > 2.0:
            return 0.1 * spot**2 * steps
    return (spot - 0.2) ** 2


@functools.cache
def depth_limit():
    return 5


@case([0.9, 0.3], [0.3, 0.9])
def logistic_escape(x):
    z = x[0]
    for n in range(depth_limit()):
        z = 3.2 * z * (1 - z) + x[1] * z
        if not 0 < z < 1:
            return z**2 + n
    return z * x[1]
