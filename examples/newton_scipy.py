"""Optimisation with scipy.optimize: value, gradient and exact Hessian from one decorated function.

    python -m examples.newton_scipy [--method trust-exact]

Eight functions of Moré, Garbow and Hillstrom, "Testing unconstrained optimization software" (ACM TOMS 7, 1981), from
their published starting points. Every one is written as plain NumPy, decorated with `hessian_jit` and handed to
`scipy.optimize.minimize(f.value, x0, jac=f.grad, hess=f)`. The same method then gets the undecorated function with
differences for its derivatives, which is what SciPy's users do where no derivatives are at hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from symhess import hessian_jit

METHODS = ("trust-exact", "trust-ncg", "trust-krylov")
OPTIONS = {"gtol": 1e-8, "maxiter": 100}


def extended_rosenbrock(x):
    return np.sum(100 * (x[1::2] - x[0::2] ** 2) ** 2 + (1 - x[0::2]) ** 2)


def powell_singular(x):
    a, b, c, d = x
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def wood(x):
    a, b, c, d = x
    valleys = 100 * (b - a**2) ** 2 + (1 - a) ** 2 + 90 * (d - c**2) ** 2 + (1 - c) ** 2
    return valleys + 10 * (b + d - 2) ** 2 + 0.1 * (b - d) ** 2


def beale(x):
    total = 0.0
    for power, y in enumerate([1.5, 2.25, 2.625], start=1):
        total = total + (y - x[0] * (1 - x[1] ** power)) ** 2
    return total


def broyden_tridiagonal(x):
    r = (3 - 2 * x) * x + 1
    r[1:] -= x[:-1]
    r[:-1] -= 2 * x[1:]
    return np.sum(r**2)


def extended_powell(x):
    a, b, c, d = x[0::4], x[1::4], x[2::4], x[3::4]
    return np.sum((a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4)


def brown_almost_linear(x):
    r = x[:-1] + np.sum(x) - (len(x) + 1)
    return np.sum(r**2) + (np.prod(x) - 1) ** 2


def variably_dimensioned(x):
    weighted = np.sum(np.arange(1, len(x) + 1) * (x - 1))
    return np.sum((x - 1) ** 2) + weighted**2 + weighted**4


#: name -> (function, published starting point); the least value of each is 0
PROBLEMS: dict[str, tuple[Callable, np.ndarray]] = {
    "extended Rosenbrock": (extended_rosenbrock, np.tile([-1.2, 1.0], 5)),
    "Powell singular": (powell_singular, np.array([3.0, -1.0, 0.0, 1.0])),
    "Wood": (wood, np.array([-3.0, -1.0, -3.0, -1.0])),
    "Beale": (beale, np.array([1.0, 1.0])),
    "Broyden tridiagonal": (broyden_tridiagonal, -np.ones(20)),
    "extended Powell": (extended_powell, np.tile([3.0, -1.0, 0.0, 1.0], 4)),
    "Brown almost-linear": (brown_almost_linear, np.full(8, 0.5)),
    "variably dimensioned": (variably_dimensioned, 1 - np.arange(1, 11) / 10),
}


class Differences:
    """Gradient and Hessian of a function by central differences of its value, counting the evaluations."""

    def __init__(self, function: Callable):
        self.function, self.evaluations = function, 0

    def value(self, x: np.ndarray) -> float:
        self.evaluations += 1
        return self.function(x)

    def directional(self, derivative: Callable, x: np.ndarray, step: float) -> np.ndarray:
        """(d(x + h e_i) - d(x - h e_i)) / 2h for every i."""
        moves = step * np.maximum(1, abs(x)) * np.eye(len(x))
        return np.array([(derivative(x + h) - derivative(x - h)) / (2 * h.max()) for h in moves])

    def gradient(self, x: np.ndarray) -> np.ndarray:
        return self.directional(self.value, x, 6e-6)

    def hessian(self, x: np.ndarray) -> np.ndarray:
        H = self.directional(self.gradient, x, 1e-4)
        return (H + H.T) / 2


@dataclasses.dataclass(frozen=True)
class Row:
    """One minimisation."""

    iterations: int
    evaluations: int
    milliseconds: float
    value: float
    slope: float


def timed(solve: Callable[[], OptimizeResult]) -> tuple[OptimizeResult, float]:
    """The result of a call and its milliseconds."""
    start = time.perf_counter()
    result = solve()
    return result, 1e3 * (time.perf_counter() - start)


def exactly(function: Callable, x0: np.ndarray, method: str) -> tuple[Row, float]:
    """Minimise with exact derivatives; also the milliseconds that compiling them took."""
    f = hessian_jit(function)
    _, compiling = timed(lambda: (f.value(x0), f.grad(x0), f(x0)))
    result, elapsed = timed(lambda: minimize(f.value, x0, jac=f.grad, hess=f, method=method, options=OPTIONS))
    evaluations = result.nfev + result.njev + result.nhev
    return Row(result.nit, evaluations, elapsed, result.fun, np.abs(f.grad(result.x)).max()), compiling


def by_differences(function: Callable, x0: np.ndarray, method: str) -> Row:
    """Minimise with the derivatives that differences give."""
    d = Differences(function)
    result, elapsed = timed(lambda: minimize(d.value, x0, jac=d.gradient, hess=d.hessian, method=method,
                                             options=OPTIONS))
    return Row(result.nit, d.evaluations, elapsed, result.fun, np.abs(hessian_jit(function).grad(result.x)).max())


def cells(row: Row) -> str:
    return f"{row.iterations:5d} {row.evaluations:8d} {row.milliseconds:8.1f} {row.value:10.1e} {row.slope:10.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=METHODS, default="trust-exact")
    method = parser.parse_args().method
    head = f"{'iter':>5} {'calls':>8} {'ms':>8} {'f':>10} {'|gradient|':>10}"
    print(f"scipy.optimize.minimize, method={method}\n")
    print(f"{'':25}| {'exact, from symhess':54} | by differences of the value")
    print(f"{'function':21}{'n':>3} | {'compile':>7} {head} | {head}")
    solved = 0
    for name, (function, x0) in PROBLEMS.items():
        exact, compiling = exactly(function, x0, method)
        solved += exact.value < 1e-10
        differences = by_differences(function, x0, method)
        print(f"{name:21}{len(x0):3d} | {compiling:7.0f} {cells(exact)} | {cells(differences)}")
    print(f"\nsolved to f < 1e-10 with exact derivatives: {solved} of {len(PROBLEMS)}")


if __name__ == "__main__":
    main()
