"""NumPy meanings of the special functions, as the interpreter evaluates them; SciPy is loaded on first use."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Array = np.ndarray


def scipy(name: str) -> Callable[..., Array]:
    """The function of scipy.special called `name`."""
    def evaluate(*arrays: Array) -> Array:
        import scipy.special

        return getattr(scipy.special, name)(*arrays)

    return evaluate


def side(x: Array) -> Array:
    """-1 below 0, else 1."""
    return np.where(np.less(x, 0), -1.0, 1.0)


def powlog(k: Array, x: Array, p: Array) -> Array:
    """x^p log(x)^k; its limit 0 where x = 0 and p > 0."""
    return np.where(np.equal(x, 0) & np.greater(p, 0), x * k, np.power(x, p) * np.power(np.log(x), k))


def times_log(x: Array, y: Array) -> Array:
    """x log(y), and 0 where both are 0."""
    return np.where(np.equal(x, 0) & np.equal(y, 0), np.multiply(x, y), x * np.log(y))


def sech(x: Array) -> Array:
    """1 / cosh(x) without overflow."""
    decay = np.exp(-np.abs(x))
    return 2 * decay / (1 + decay * decay)


def logcosh(x: Array) -> Array:
    """log(cosh(x)) without overflow; log1p(2 sinh(x/2)^2) near 0."""
    size = np.abs(x)
    half = np.sinh(np.minimum(size, 1) / 2)
    return np.where(size < 1, np.log1p(2 * half * half), size + np.log1p(np.exp(-2 * size)) - math.log(2))


def log1mexp(x: Array) -> Array:
    """log(1 - exp(x)) for x <= 0 without cancellation (M. Maechler, 2012)."""
    return np.where(np.greater(x, -math.log(2)), np.log(-np.expm1(x)), np.log1p(-np.exp(x)))


def inverse_expm1(x: Array) -> Array:
    """1 / (exp(x) - 1)."""
    return 1 / np.expm1(x)


def log_ratio(x: Array, y: Array) -> Array:
    """log(x) - log(y), by log1p((x - y)/y) where they are close."""
    off = (x - y) / y
    close = np.greater(y, 0) & np.greater(off, -0.5) & np.less(off, 1)
    return np.where(close, np.log1p(off), np.log(x) - np.log(y))


def ndtr_ratio(x: Array) -> Array:
    """phi(x) / Phi(x) = sqrt(2/pi) / erfcx(-x / sqrt(2)): density over distribution of the normal law."""
    import scipy.special

    return math.sqrt(2 / math.pi) / scipy.special.erfcx(-np.asarray(x) / math.sqrt(2))


def _by_order(function: Callable[[int, Array], Array]) -> Callable[[Array, Array], Array]:
    """A function of whole orders n and arrays, for arrays of both."""
    def evaluate(n: Array, x: Array) -> Array:
        n, x = np.broadcast_arrays(n, np.asarray(x))
        out = np.empty(x.shape, np.float64)
        with np.errstate(all="ignore"):
            for order in np.unique(n):
                out[n == order] = function(int(order), x[n == order].astype(np.float64))
        return out

    return evaluate


@_by_order
def sinc_derivative(n: int, t: Array) -> Array:
    """The n-th derivative of sin(t)/t: sum_k (-1)^k t^(2k-n) / ((2k+1) (2k-n)!), and t S_n + n S_(n-1) = sin^(n)(t)."""
    total = np.zeros_like(t)
    for k in range((n + 1) // 2 + 20 + n, (n + 1) // 2 - 1, -1):
        total += (-1) ** k * t ** (2 * k - n) / ((2 * k + 1) * math.factorial(2 * k - n))
    far = np.sin(t) / t
    for k in range(1, n + 1):
        far = (np.sin(t + k * math.pi / 2) - k * far) / t
    return np.where(np.abs(t) > n + 2, far, total)


@_by_order
def exprel_derivative(n: int, x: Array) -> Array:
    """The n-th derivative of (exp(x) - 1)/x: sum_k x^k / (k! (k+n+1)), and x E_n + n E_(n-1) = exp(x)."""
    near, farther = np.clip(x, -2 * n - 8, 2 * n + 8), np.abs(x) > 2 * n + 8
    above, below, up = np.zeros_like(near), np.zeros_like(near), np.full_like(near, 1 / (n + 1))
    for k in range(60 + 8 * n):
        above += near ** k / (math.factorial(k) * (k + n + 1))
        below += up
        up = up * -near / (k + n + 2)
    far = np.expm1(x) / x
    for k in range(1, n + 1):
        far = (np.exp(x) - k * far) / x
    return np.where(farther, far, np.where(near < 0, below * np.exp(near), above))


@_by_order
def erfcx_derivative(n: int, x: Array) -> Array:
    """The n-th derivative of exp(x^2) erfc(x): (-2)^n n! J_n, where J_(m-1) = 2 x J_m + 2 (m+1) J_(m+1).

    J_0 = erfcx(x) and J_-1 = 2/sqrt(pi). Forward for x < 1; beyond, the ratios J_m/J_(m-1) come from far orders down
    (W. Gautschi, SIAM Review 9, 1967).
    """
    import scipy.special

    before, near = np.full_like(x, 2 / math.sqrt(math.pi)), scipy.special.erfcx(np.minimum(x, 1))
    far, ratio = before, np.zeros_like(x)
    for m in range(1, n + 1):
        before, near = near, (before - 2 * np.minimum(x, 1) * near) / (2 * m)
    for m in range(280 + n, -1, -1):
        ratio = 1 / (2 * np.maximum(x, 1) + 2 * (m + 1) * ratio)
        far = far * ratio if m <= n else far
    return (-2.0) ** n * math.factorial(n) * np.where(x < 1, near, far)


def spherical(name: str) -> Callable[..., Array]:
    """A spherical Bessel function of SciPy, for orders that are whole numbers of any dtype."""
    def evaluate(n: Array, z: Array) -> Array:
        import scipy.special

        return getattr(scipy.special, name)(np.asarray(n).astype(np.int64), z)

    return evaluate


def _hypergeometric(a: float, b: float) -> Callable[[Array, Array], Array]:
    """The n-th derivative of pi/2 2F1(a, b; 1; m): pi/2 (a)_n (b)_n / n! 2F1(a + n, b + n; 1 + n; m)."""
    def evaluate(n: int, m: Array) -> Array:
        import scipy.special as special

        factor = special.poch(a, n) * special.poch(b, n) / math.factorial(n)
        return math.pi / 2 * factor * special.hyp2f1(a + n, b + n, 1.0 + n, m)

    return _by_order(evaluate)


ellipk_derivative = _hypergeometric(0.5, 0.5)
ellipe_derivative = _hypergeometric(-0.5, 0.5)


def lambertw(k: Array, x: Array) -> Array:
    """The real branches 0 and -1 of Lambert's W; NaN where it is complex."""
    import scipy.special

    w = scipy.special.lambertw(x, np.asarray(k).astype(np.int64))
    return np.where(w.imag == 0, w.real, np.nan)
