"""Functions whose loops and branches depend on their argument, as plain NumPy code.

`np` is a parameter, so that the autograd library can bring its own; every function takes one vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def newton_root(np: Any) -> Callable:
    """A square root by Newton's method, to tolerance."""
    def f(x):
        a = x[0] * x[1] + 1.0
        y = a
        while abs(y * y - a) > 1e-12 * a:
            y = 0.5 * (y + a / y)
        return y
    return f


def bisection(np: Any) -> Callable:
    """A root of a cubic: bracketed to 1e-9, and polished by Newton steps that carry the derivatives."""
    def f(x):
        low, high = 0.0, 10.0
        while high - low > 1e-9:
            middle = 0.5 * (low + high)
            if middle * middle * middle + middle > x[0] * x[1]:
                high = middle
            else:
                low = middle
        y = low
        for _ in range(3):
            y = y - (y * y * y + y - x[0] * x[1]) / (3 * y * y + 1)
        return y * x[2]
    return f


def adaptive_ode(np: Any) -> Callable:
    """Bogacki and Shampine's pair of orders 3 and 2 with a controlled step."""
    def rate(t, y, x):
        return x[0] * y * (1 - y / x[1]) + x[3] * np.sin(x[2] * t)

    def f(x):
        t, y, h = 0.0, 0.1, 0.1
        k1 = rate(t, y, x)
        while t < 2.0:
            if t + h > 2.0:
                h = 2.0 - t
            k2 = rate(t + 0.5 * h, y + 0.5 * h * k1, x)
            k3 = rate(t + 0.75 * h, y + 0.75 * h * k2, x)
            new = y + h * (2 * k1 + 3 * k2 + 4 * k3) / 9
            k4 = rate(t + h, new, x)
            error = abs(h * (-5 * k1 / 72 + k2 / 12 + k3 / 9 - k4 / 8))
            if error < 1e-5:
                t, y, k1 = t + h, new, k4
            h = 0.5 * h if error > 1e-5 else 1.5 * h if error < 2e-6 else h
        return y
    return f


def piecewise(np: Any) -> Callable:
    """Three pieces for each residual: quadratic, linear, logarithmic."""
    def f(x):
        total = 0.0
        for i in range(len(x)):
            r = x[i] * x[0] - 1.0
            s = abs(r)
            if s < 0.5:
                total = total + 0.5 * r * r
            elif s < 1.5:
                total = total + 0.5 * (s - 0.25)
            else:
                total = total + 0.625 + 0.5 * np.log(s / 1.5)
        return total * total
    return f


def trimmed_mean(np: Any) -> Callable:
    """The mean without the two smallest and the two largest entries, sorted by insertion."""
    def f(x):
        a = [xi * xi * x[0] for xi in x]
        for i in range(1, len(a)):
            j = i
            while j > 0 and a[j - 1] > a[j]:
                a[j - 1], a[j] = a[j], a[j - 1]
                j -= 1
        total = 0.0
        for k in range(2, len(a) - 2):
            total = total + a[k]
        return total / (len(a) - 4)
    return f


def pivoted_least_squares(np: Any) -> Callable:
    """A polynomial fitted to six points by normal equations, solved by elimination with pivoting."""
    def f(x):
        size, count = 4, 6
        rows = [[0.0 * x[0] for _ in range(size + 1)] for _ in range(size)]
        for k in range(count):
            t = x[0] * k + x[1]
            basis = [1.0 + 0.0 * t, t, t * t, t * t * t]
            target = x[2] / (1.0 + k)
            for i in range(size):
                for j in range(size):
                    rows[i][j] = rows[i][j] + basis[i] * basis[j]
                rows[i][size] = rows[i][size] + basis[i] * target
        for k in range(size):
            p = k
            for i in range(k + 1, size):
                if abs(rows[i][k]) > abs(rows[p][k]):
                    p = i
            rows[k], rows[p] = rows[p], rows[k]
            for i in range(k + 1, size):
                factor = rows[i][k] / rows[k][k]
                for j in range(k, size + 1):
                    rows[i][j] = rows[i][j] - factor * rows[k][j]
        for k in range(size - 1, -1, -1):
            for j in range(k + 1, size):
                rows[k][size] = rows[k][size] - rows[k][j] * rows[j][size]
            rows[k][size] = rows[k][size] / rows[k][k]
        return rows[0][size] * rows[1][size] + rows[2][size] * x[0]
    return f


def recursive(np: Any) -> Callable:
    """A binary tree of calls, cut where a value gets small."""
    def tree(t, depth):
        if depth == 0 or abs(t) < 0.05:
            return t * t
        return 0.5 * tree(0.8 * t, depth - 1) + np.sin(tree(0.4 * t, depth - 1))

    def f(x):
        return tree(x[0] * x[1], 6) * x[2]
    return f


def monte_carlo(np: Any) -> Callable:
    """A knocked-out option by simulated paths; the generator of random numbers is in the code."""
    def f(x):
        state, total, walks = 12345, 0.0, 20
        for _ in range(walks):
            s, alive = x[0], True
            for _ in range(10):
                state = (1103515245 * state + 12345) % 2147483648
                u = 2.0 * (state / 2147483648) - 1.0
                if alive:
                    s = s * np.exp(x[1] * u - 0.1 * x[2])
                    alive = s > 0.6
            if alive and s > 1.0:
                total = total + (s - 1.0) * (s - 1.0)
        return total / walks
    return f
