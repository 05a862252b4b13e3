"""Classic optimisation test functions, in the ways people write them."""

import numpy as np
from problem import Problem, banded, block_diagonal, cliques, dense, problem


@problem("sparse")
def chained_rosenbrock(n=8):
    """Chained Rosenbrock, by slices."""
    def f(x):
        return np.sum(100 * (x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)

    def hessian(x):
        n = len(x)
        d = np.zeros(n)
        d[:-1] = 1200 * x[:-1]**2 - 400 * x[1:] + 2
        d[1:] += 200
        off = -400 * x[:-1]
        return np.diag(d) + np.diag(off, 1) + np.diag(off, -1)

    return Problem(f, (np.linspace(-1.2, 1.3, n),), pattern=banded(n, 1), hessian=hessian)


@problem("scalar")
def rosenbrock():
    """Rosenbrock in two variables, x[0] and x[1]."""
    def f(x):
        return 100 * (x[1] - x[0]**2)**2 + (1 - x[0])**2

    def hessian(x):
        return np.array([[1200 * x[0]**2 - 400 * x[1] + 2, -400 * x[0]], [-400 * x[0], 200.0]])

    return Problem(f, (np.array([-1.2, 1.0]),), pattern=dense(2), hessian=hessian)


@problem("scalar")
def powell_singular():
    """Powell's singular function, unpacked into four scalars."""
    def f(x):
        x1, x2, x3, x4 = x
        return (x1 + 10 * x2)**2 + 5 * (x3 - x4)**2 + (x2 - 2 * x3)**4 + 10 * (x1 - x4)**4

    return Problem(f, (np.array([3.0, -1.0, 0.5, 1.0]),),
                   pattern=cliques(4, [(0, 1), (2, 3), (1, 2), (0, 3)]))


@problem("scalar")
def wood():
    """Wood's function."""
    def f(x):
        a, b, c, d = x[0], x[1], x[2], x[3]
        return (100 * (b - a**2)**2 + (1 - a)**2 + 90 * (d - c**2)**2 + (1 - c)**2
                + 10 * (b + d - 2)**2 + 0.1 * (b - d)**2)

    return Problem(f, (np.array([-3.0, -1.0, -3.0, -1.0]),), pattern=cliques(4, [(0, 1), (2, 3), (1, 3)]))


@problem("scalar", "loops")
def beale():
    """Beale's function, a builtin sum over a generator."""
    def f(x):
        return sum((y - x[0] * (1 - x[1]**k))**2 for k, y in enumerate((1.5, 2.25, 2.625), 1))

    return Problem(f, (np.array([1.0, 0.7]),), pattern=dense(2))


@problem("scalar")
def himmelblau():
    """Himmelblau's function of two scalar arguments."""
    def f(x, y):
        return (x**2 + y - 11)**2 + (x + y**2 - 7)**2

    def hessian(x, y):
        return np.array([[12 * x**2 + 4 * y - 42, 4 * (x + y)], [4 * (x + y), 12 * y**2 + 4 * x - 26]])

    return Problem(f, (1.3, -0.7), argnums=(0, 1), pattern=dense(2), hessian=hessian)


@problem("sparse", "inplace")
def extended_powell(n=8):
    """Extended Powell singular function, residuals written into strided slices of a buffer."""
    def f(x):
        r = np.zeros(len(x))
        r[0::4] = x[0::4] + 10 * x[1::4]
        r[1::4] = np.sqrt(5.0) * (x[2::4] - x[3::4])
        r[2::4] = (x[1::4] - 2 * x[2::4])**2
        r[3::4] = np.sqrt(10.0) * (x[0::4] - x[3::4])**2
        return np.dot(r, r)

    groups = [(i + a, i + b) for i in range(0, n, 4) for a, b in ((0, 1), (2, 3), (1, 2), (0, 3))]
    return Problem(f, (np.tile([3.0, -1.0, 0.5, 1.0], n // 4),), pattern=cliques(n, groups))


@problem("sparse", "inplace", "loops")
def broyden_tridiagonal(n=9):
    """Broyden tridiagonal, residuals written one by one in a loop."""
    def f(x):
        n = len(x)
        out = np.zeros(n)
        for i in range(n):
            left = x[i - 1] if i > 0 else 0.0
            right = x[i + 1] if i < n - 1 else 0.0
            out[i] = (3 - 2 * x[i]) * x[i] - left - 2 * right + 1
        return np.sum(out**2)

    return Problem(f, (np.linspace(-1.3, 0.4, n),), pattern=banded(n, 1, 2))


@problem("sparse", "inplace")
def discrete_boundary_value(n=8):
    """Discrete boundary value problem, residuals built by in-place additions."""
    def f(x):
        n = x.size
        h = 1 / (n + 1)
        t = np.arange(1, n + 1) * h
        r = 2 * x + h**2 * (x + t + 1)**3 / 2
        r[1:] -= x[:-1]
        r[:-1] -= x[1:]
        return (r * r).sum()

    t = np.arange(1, n + 1) / (n + 1)
    return Problem(f, (t * (t - 1) + 0.2 * np.cos(t),), pattern=banded(n, 1, 2))


@problem("sparse", "loops")
def trigonometric_pairs(n=7):
    """Nested loops over pairs: sin(x_i x_j) / (1 + (x_i - x_j)^2)."""
    def f(x):
        total = 0.0
        for i in range(len(x)):
            for j in range(i):
                total += np.sin(x[i] * x[j]) / (1 + (x[i] - x[j])**2)
        return total

    return Problem(f, (np.linspace(-0.9, 1.7, n),), pattern=dense(n))


@problem("loops")
def brown_almost_linear(n=6):
    """Brown almost-linear: a product and a sum over all variables, residuals appended to a list."""
    def f(x):
        n = len(x)
        r = []
        for i in range(n - 1):
            r.append(x[i] + np.sum(x) - (n + 1))
        r.append(np.prod(x) - 1)
        return np.sum(np.array(r)**2)

    return Problem(f, (np.linspace(0.5, 1.4, n),), pattern=dense(n))


@problem("loops")
def ackley(n=5):
    """Ackley's function: exponentials of means."""
    def f(x):
        n = len(x)
        return -20 * np.exp(-0.2 * np.sqrt(np.sum(x**2) / n)) - np.exp(np.sum(np.cos(2 * np.pi * x)) / n) + 20 + np.e

    return Problem(f, (np.linspace(-0.8, 1.1, n),), pattern=dense(n))


@problem("sparse")
def dixon_price(n=7):
    """Dixon-Price with weights by arange."""
    def f(x):
        weights = np.arange(2, len(x) + 1)
        return (x[0] - 1)**2 + np.sum(weights * (2 * x[1:]**2 - x[:-1])**2)

    return Problem(f, (np.linspace(0.3, 1.5, n),), pattern=banded(n, 1))


@problem("sparse")
def block_separable(n=9):
    """Independent groups of three variables, by reshape."""
    def f(x):
        y = x.reshape(-1, 3)
        return np.sum(np.exp(y[:, 0] * y[:, 1]) + np.cos(y[:, 1] * y[:, 2]) + y[:, 0] * y[:, 2]**2)

    return Problem(f, (np.linspace(-1.0, 1.2, n),), pattern=block_diagonal(*[3] * (n // 3)))


@problem("sparse")
def arrowhead(n=8):
    """The first variable meets every other one."""
    def f(x):
        return np.sum(np.sin(x[0] * x[1:])) + np.sum(x[1:]**4)

    return Problem(f, (np.linspace(0.4, 1.9, n),), pattern=cliques(n, [(0, i) for i in range(n)]))


@problem("sparse", "guarded")
def branching(n=5):
    """Python's own `if` on a value that depends on x."""
    def f(x):
        if np.sum(x) > 1:
            return np.sum(x**3) + x[0] * x[1]
        return np.sum(x[1:] * x[:-1]**2)

    return Problem(f, (np.linspace(0.2, 1.0, n),), second=(np.linspace(-1.0, -0.2, n),))
