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
