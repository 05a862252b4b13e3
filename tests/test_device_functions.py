"""Special functions that kernels on a GPU compute: as plain Python with NumPy's arithmetic, against mpmath."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
import special_coefficients
from mpmath import mpf

from symhess.backends.kernel_functions import KernelFunction
from symhess.cuda import coefficients, names, special

INF, NAN = math.inf, math.nan


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Functions are called as Python, with the mathematics of a simulation."""
    monkeypatch.setattr(KernelFunction, "__call__", lambda self, *args: self.py_func(*args))
    for module in special.IN_DOUBLES:
        monkeypatch.setattr(module, "math", names._NumpyMath())
    with np.errstate(all="ignore"):
        yield


def value(name, *args):
    return float(special.DOUBLES[name](*map(np.float64, args)))


def test_the_polynomials_are_those_of_their_program():
    assert special_coefficients.module() == Path(coefficients.__file__).read_text()


# -- accuracy ------------------------------------------------------------------------------------------------------


def spread(low, high, count, seed=0):
    """Numbers between 10^low and 10^high."""
    return 10 ** np.random.default_rng([seed, count]).uniform(low, high, count)


def crossed(*axes):
    return [tuple(map(float, p)) for p in np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))]


def both(x):
    return np.concatenate([x, -x])


X = np.concatenate([spread(-8, 3, 50), np.linspace(0.01, 30, 40), [2, 2.0001, 4, 6, 8, 8.0001, 12, 24]])
POSITIVE, REAL = crossed(X), crossed(both(X))
ORDERS = [0, 1, 2, 3, 5, 30, -1, -2, 0.5, 1.5, -0.5, 0.3, -0.3, 2.7, -3.2, 1e-5, 60.3, 150]
ARGUMENTS = np.concatenate([spread(-6, 3, 12), [1, 2, 2.001, 5.5, 8.001, 15.01, 19.99, 20, 25, 60.2]])
ELLIPTIC = [*(1 - spread(-15, 0, 30)), *-spread(-8, 8, 30), 0.5, 0.5001, -4, -4.001]
BETAS = crossed([*spread(-6, 6, 7), 0.5, 3, 9.9, 10, 33.3], [*spread(-6, 6, 8), 1, 12])
NEGATIVE = [(a * s, b * t) for a, b in crossed([0.03, 1.63, 7.3, 25.37], [0.4, 2.55, 63.58])
            for s, t in ((-1, 1), (1, -1), (-1, -1))]
SHAPES = np.concatenate([spread(-5, 0, 4), spread(0, 4, 6), [1, 10, 59.9, 60]])
FRACTIONS = [0.3, 0.69, 0.71, 0.9, 0.999, 1, 1.01, 1.29, 1.31, 2, 5]
INCOMPLETE = [(a, a * r) for a, r in crossed(SHAPES, FRACTIONS)] + crossed(SHAPES, [1e-3, 0.1, 1.499, 1.5, 30])
PARTS = crossed(np.concatenate([spread(-3, 3, 6), [0.5, 1, 10]]), np.concatenate([spread(-3, 3, 5), [0.5, 1, 10]]),
                [0.001, 0.1, 0.5, 0.69, 0.71, 0.9, 0.999])


def scaled(function, order, sign):
    return lambda x: function(order, x) * mpmath.exp(sign * abs(x))


def spherical(function):
    return lambda n, x: mpmath.sqrt(mpmath.pi / (2 * x)) * function(n + mpf(0.5), x)


def elliptic(a):
    """The n-th derivative of pi/2 2F1(a, 1/2; 1; m)."""
    def exact(n, m):
        factor = mpmath.rf(mpf(a), n) * mpmath.rf(mpf(0.5), n) / mpmath.factorial(n)
        return mpmath.pi / 2 * factor * mpmath.hyp2f1(n + mpf(a), n + mpf(0.5), n + 1, m)
    return exact


def log_beta(a, b):
    if a > 0 and b > 0:
        return mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b)
    return mpmath.log(abs(mpmath.gammaprod([a, b], [a + b])))


def beta(a, b):
    return mpmath.exp(log_beta(a, b)) if a > 0 and b > 0 else mpmath.gammaprod([a, b], [a + b])


def student(n, t):
    tail = mpmath.betainc(n / 2, mpf(0.5), 0, n / (n + t * t), regularized=True) / 2
    return tail if t < 0 else 1 - tail


def amplitude(v, x):
    """sqrt(J^2 + Y^2), the size that J and Y have between their zeros; 0 where they have none."""
    return abs(mpmath.hankel1(v, x)) if x > abs(v) else mpf(0)


class Sweep(NamedTuple):
    """Points, the exact function, the relative tolerance, and a size beside which errors count near zeros."""

    points: list
    exact: Callable
    tolerance: float = 2e-14
    size: Callable = lambda *args: mpf(0)


SWEEPS = {
    "i0": Sweep(REAL, lambda x: mpmath.besseli(0, x)), "i1": Sweep(REAL, lambda x: mpmath.besseli(1, x)),
    "i0e": Sweep(REAL, scaled(mpmath.besseli, 0, -1)), "i1e": Sweep(REAL, scaled(mpmath.besseli, 1, -1)),
    "k0": Sweep(POSITIVE, lambda x: mpmath.besselk(0, x)), "k1": Sweep(POSITIVE, lambda x: mpmath.besselk(1, x)),
    "k0e": Sweep(POSITIVE, scaled(mpmath.besselk, 0, 1)), "k1e": Sweep(POSITIVE, scaled(mpmath.besselk, 1, 1)),
    "j0": Sweep(REAL, lambda x: mpmath.besselj(0, x), 2e-15, lambda x: amplitude(0, abs(x))),
    "j1": Sweep(REAL, lambda x: mpmath.besselj(1, x), 2e-15, lambda x: amplitude(1, abs(x))),
    "y0": Sweep(POSITIVE, lambda x: mpmath.bessely(0, x), 2e-15, lambda x: amplitude(0, x)),
    "y1": Sweep(POSITIVE, lambda x: mpmath.bessely(1, x), 2e-15, lambda x: amplitude(1, x)),
    "jv": Sweep(crossed(ORDERS, ARGUMENTS), mpmath.besselj, 3e-13, amplitude),
    "yv": Sweep(crossed(ORDERS, ARGUMENTS), mpmath.bessely, 2e-14, amplitude),
    "iv": Sweep(crossed(ORDERS, ARGUMENTS), mpmath.besseli, 3e-13),
    "ive": Sweep(crossed(ORDERS, ARGUMENTS), lambda v, x: mpmath.besseli(v, x) * mpmath.exp(-x), 3e-13),
    "kv": Sweep(crossed(ORDERS, ARGUMENTS), mpmath.besselk),
    "kve": Sweep(crossed(ORDERS, ARGUMENTS), lambda v, x: mpmath.besselk(v, x) * mpmath.exp(x)),
    "spherical_jn": Sweep(crossed([0, 1, 2, 3, 10, 100], ARGUMENTS), spherical(mpmath.besselj), 2e-14,
                          lambda n, x: 1 / x if x > n else mpf(0)),
    "spherical_yn": Sweep(crossed([0, 1, 2, 3, 10, 100], ARGUMENTS), spherical(mpmath.bessely), 2e-14,
                          lambda n, x: 1 / x if x > n else mpf(0)),
    "spherical_in": Sweep(crossed([0, 1, 2, 3, 10, 100], ARGUMENTS), spherical(mpmath.besseli)),
    "spherical_kn": Sweep(crossed([0, 1, 2, 3, 10, 100], ARGUMENTS), spherical(mpmath.besselk)),
    "hyp0f1": Sweep(crossed([0.1, 0.5, 1, 2, 3, 50.5, -0.5, -3.3], both(spread(-4, 3, 14))), mpmath.hyp0f1, 1e-12),
    "hyp1f1": Sweep(crossed([0.1, 1, 1.5, 3, 5.5, -0.5, -2], [0.3, 1, 2, 3.7, 10],
                            [1e-5, 0.1, 1, 5, 50, 500, -0.1, -2.2, -5, -10.1, -100, -2000]), mpmath.hyp1f1, 1e-12,
                    lambda a, b, x: mpf(1e-3) if abs(x) < 12 else mpf(0)),
    "dawsn": Sweep(REAL, lambda x: mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(-x * x) * mpmath.erfi(x)),
    "erfi": Sweep(REAL, mpmath.erfi),
    "exp1": Sweep(POSITIVE, mpmath.e1),
    "expi": Sweep([*REAL, *((0.37250741078136663 * (1 + d),) for d in (0, 1e-15, -1e-9, 1e-3, -0.05))], mpmath.ei),
    "expn": Sweep(crossed([0, 1, 2, 3, 5, 30, 1000], np.concatenate([spread(-8, 2.8, 12), [1, 1.001]])), mpmath.expint),
    "ellipk": Sweep(crossed(ELLIPTIC), mpmath.ellipk),
    "ellipe": Sweep(crossed(ELLIPTIC), mpmath.ellipe),
    "ellipk_derivative": Sweep(crossed([0, 1, 2, 3, 6], ELLIPTIC), elliptic(0.5), 1e-13),
    "ellipe_derivative": Sweep(crossed([0, 1, 2, 3, 6], ELLIPTIC), elliptic(-0.5), 1e-13),
    "beta": Sweep([*BETAS, *NEGATIVE], beta, 3e-13),
    "betaln": Sweep([*BETAS, *NEGATIVE], log_beta, 1e-14, lambda a, b: mpf(1) if a > 0 and b > 0 else mpf(30)),
    "binom": Sweep([*crossed([3.3, 20, 33, 60.5, 1000, 1e6], [0, 1, 3, 19, 25, 30, 7.3, 50.5, -0.5]),
                    *crossed([-0.37, -18.92], [0, 2, 0.3, 7.7, 30.1])],
                   lambda n, k: mpmath.gammaprod([n + 1], [k + 1, n - k + 1]), 5e-13),
    "poch": Sweep([*crossed(spread(-5, 6, 12), [1e-5, 0.3, 1, 5, 41, 12.7, -1, -0.5, -7.3]),
                   *crossed([-0.3, -7.7, -34.8], [0.5, 3, 10.23, -5.61])],
                  lambda x, m: mpmath.gammaprod([x + m], [x]), 3e-13),
    "gammainc": Sweep(INCOMPLETE, lambda a, x: mpmath.gammainc(a, 0, x, regularized=True), 3e-13),
    "gammaincc": Sweep(INCOMPLETE, lambda a, x: mpmath.gammainc(a, x, mpmath.inf, regularized=True), 3e-13),
    "betainc": Sweep(PARTS, lambda a, b, x: mpmath.betainc(a, b, 0, x, regularized=True), 3e-13),
    "stdtr": Sweep(crossed([0.1, 0.5, 1, 2, 7.3, 30, 1000, 1e5], [0, 1e-8, -1e-8, 0.1, -0.1, 2, -2, -20, -1e3, 1e5]),
                   student, 1e-13),
    "boxcox": Sweep(crossed(spread(-5, 5, 10), [0, 1e-10, 0.3, 1, -1, 10]),
                    lambda x, p: (x**p - 1) / p if p else mpmath.log(x)),
    "boxcox1p": Sweep(crossed(spread(-12, 5, 10), [0, 1e-10, 0.3, 1, -1, 10]),
                      lambda x, p: ((1 + x)**p - 1) / p if p else mpmath.log1p(x)),
    "inv_boxcox": Sweep(crossed(spread(-12, 5, 10), [0, 1e-10, 0.3, 1, 10]),
                        lambda x, p: (1 + x * p)**(1 / p) if p else mpmath.exp(x), 1e-13),
    "inv_boxcox1p": Sweep(crossed(spread(-12, 5, 10), [0, 1e-10, 0.3, 1, 10]),
                          lambda x, p: (1 + x * p)**(1 / p) - 1 if p else mpmath.expm1(x), 1e-13),
}


def errors(name, sweep):
    """Point, relative error and value; where the exact value is no normal double, 0 or 1 for the right end or not."""
    for point in sweep.points:
        found = value(name, *point)
        with mpmath.workdps(50):
            at = tuple(map(mpf, point))
            exact = mpmath.re(sweep.exact(*at))
            if abs(exact) > mpf(1.7e308) or abs(exact) < mpf(1e-300):
                yield point, 0.0 if math.isinf(found) or abs(found) < 1e-299 else 1.0, found
            else:
                size = max(abs(exact), sweep.size(*at))
                yield point, float(abs(mpf(found) - exact) / size) if math.isfinite(found) else INF, found


@pytest.mark.parametrize("name", sorted(special.DOUBLES))
def test_accuracy(name):
    sweep = SWEEPS[name]
    worst = max(errors(name, sweep), key=lambda e: e[1])
    assert worst[1] <= sweep.tolerance, worst


# -- ends of domains -----------------------------------------------------------------------------------------------

#: function, arguments, value: infinities, poles, zeros and NaN, as in SciPy
ENDS = [
    ("i0", (0,), 1), ("i0", (INF,), INF), ("i0", (-INF,), INF), ("i1", (-INF,), -INF), ("i0e", (INF,), 0),
    ("k0", (0,), INF), ("k1", (INF,), 0), ("k0", (-1,), NAN), ("k0e", (NAN,), NAN), ("j0", (INF,), 0),
    ("y0", (0,), -INF), ("y1", (-1,), NAN), ("y1", (INF,), 0), ("jv", (0, 0), 1), ("jv", (2, 0), 0),
    ("jv", (-2, 0), 0), ("jv", (0.5, -1), NAN), ("yv", (1, 0), -INF), ("yv", (1, -2), NAN), ("iv", (0, 0), 1),
    ("iv", (3, 0), 0), ("iv", (0.5, -1), NAN), ("kv", (1, 0), INF), ("kv", (1.7, INF), 0), ("kv", (1, NAN), NAN),
    ("jv", (1e9, 1), NAN), ("spherical_jn", (0, 0), 1), ("spherical_jn", (2, 0), 0), ("spherical_yn", (1, 0), -INF),
    ("spherical_in", (1, -INF), -INF), ("spherical_kn", (1, 0), INF), ("spherical_kn", (0, INF), 0),
    ("beta", (0, 1), INF), ("beta", (-1, 1), -1), ("beta", (INF, 1), 0), ("beta", (1, NAN), NAN),
    ("betaln", (1, INF), -INF), ("binom", (-1, 2), NAN), ("binom", (5, 7), 0), ("binom", (4, -1), 0),
    ("binom", (0.5, 0), 1), ("poch", (0, 0), 1), ("poch", (-2, 5), 0), ("poch", (-2, 2), 2), ("poch", (3, -3), INF),
    ("poch", (0, 0.5), 0), ("gammainc", (0, 1), 1), ("gammainc", (1, 0), 0), ("gammainc", (1, INF), 1),
    ("gammainc", (INF, 1), 0), ("gammainc", (-1, 1), NAN), ("gammaincc", (0, 1), 0), ("gammaincc", (2, 0), 1),
    ("gammaincc", (2, NAN), NAN), ("betainc", (1, 2, 0), 0), ("betainc", (1, 2, 1), 1), ("betainc", (1, 2, 1.5), NAN),
    ("betainc", (-1, 2, 0.5), NAN), ("stdtr", (2, INF), 1), ("stdtr", (2, -INF), 0), ("stdtr", (INF, 0), 0.5),
    ("stdtr", (-1, 0), NAN), ("boxcox", (0, 2), -0.5), ("boxcox", (0, 0), -INF), ("boxcox", (-1, 2), NAN),
    ("inv_boxcox", (-5, 0.5), NAN), ("dawsn", (0,), 0), ("dawsn", (INF,), 0), ("erfi", (-INF,), -INF),
    ("exp1", (0,), INF), ("exp1", (-1,), NAN), ("exp1", (INF,), 0), ("expi", (0,), -INF), ("expi", (INF,), INF),
    ("expn", (1, 0), INF), ("expn", (3, 0), 0.5), ("expn", (2, -1), NAN), ("expn", (2, INF), 0), ("ellipk", (1,), INF),
    ("ellipk", (1.1,), NAN), ("ellipe", (1,), 1), ("ellipe", (-INF,), INF), ("ellipk", (-INF,), 0),
    ("ellipk_derivative", (1, 1), INF), ("ellipe_derivative", (1, 1), -INF), ("hyp0f1", (-2, 1), NAN),
    ("hyp0f1", (1.5, 0), 1), ("hyp1f1", (1, -2, 1), NAN), ("hyp1f1", (0, 2, 5), 1), ("hyp1f1", (1, 2, NAN), NAN),
    ("hyp1f1", (100, 0.5, -500), NAN),
]


@pytest.mark.parametrize("name, args, expected", ENDS, ids=[f"{n}{a}" for n, a, _ in ENDS])
def test_ends_of_domains(name, args, expected):
    np.testing.assert_array_equal(value(name, *args), expected)


@pytest.mark.parametrize("name", sorted(special.DOUBLES))
def test_nan_gives_nan(name):
    count = special.DOUBLES[name].py_func.__code__.co_argcount
    for k in range(count):
        args = [0.5] * count
        args[k] = NAN
        assert math.isnan(value(name, *args)), args


@pytest.mark.parametrize("x", [-0.3, -7.7, -100.25, -10000.3, -1e9 + 0.2, 1e-300, -1e-17, 0.1, 1.47, 10, 1e300])
def test_digamma_is_reflected_without_cancellation(x):
    with mpmath.workdps(50):
        exact = mpmath.digamma(mpf(x))
        assert abs(special.psi.py_func(np.float64(x)) - exact) <= 2e-14 * abs(exact)
