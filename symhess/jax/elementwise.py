"""Rules of primitives that act element by element.

Integers are 64 bits wide in a graph; those that JAX counts modulo 2^8, 2^16 or (without a sign) 2^32 are brought back
into their range.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special as special

from symhess.jax.table import RULES, Rule, known, plain, rule
from symhess.rules import stop_gradient
from symhess.trace.special import RULES as SPECIAL

RULES.update({name: plain(function) for name, function in {
    "neg": np.negative, "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "abs": np.abs, "sqrt": np.sqrt,
    "cbrt": np.cbrt, "square": np.square, "max": np.maximum, "min": np.minimum, "pow": np.power,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "logistic": special.expit,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "atan2": np.arctan2, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": special.erf, "erfc": special.erfc, "erf_inv": special.erfinv, "lgamma": special.gammaln,
    "digamma": special.digamma, "igamma": special.gammainc,
    "igammac": special.gammaincc, "regularized_incomplete_beta": special.betainc, "bessel_i0e": special.i0e,
    "bessel_i1e": special.i1e,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "is_finite": np.isfinite, "not": np.invert, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "shift_left": np.left_shift, "shift_right_arithmetic": np.right_shift, "shift_right_logical": np.right_shift,
    "stop_gradient": stop_gradient,
}.items()})
def _by_name(name: str) -> Rule:
    """A function of scipy.special that is no ufunc."""
    def run(outs: Sequence[Any], *args: Any, **params: Any) -> Any:
        return getattr(special, name)(*args) if all(map(known, args)) else SPECIAL[name](*args)

    return run


RULES.update({name: _by_name(name) for name in ("polygamma", "zeta")})
# total orders, in which NaN is the largest number: of numbers they are the usual ones
RULES.update({f"{name}_to": RULES[name] for name in ("lt", "le")})
# the same values again
RULES.update(dict.fromkeys(("copy", "optimization_barrier", "sharding_constraint", "name", "device_put"),
                           lambda outs, *args, **params: list(args)))


def _modular(function: Callable) -> Callable:
    """Arithmetic that wraps around where JAX's integers are narrower than ours."""
    def run(outs: Sequence[Any], *args: Any, **params: Any) -> Any:
        return wrapped(function(*args), np.dtype(outs[0].dtype))

    return run


def wrapped(x: Any, dtype: np.dtype) -> Any:
    """An integer modulo 2^bits, for small types and those without a sign."""
    if known(x) or dtype.kind not in "iu" or (dtype.kind == "i" and dtype.itemsize > 2) or dtype.itemsize > 4:
        return x
    low, count = int(np.iinfo(dtype).min), 2 ** (8 * dtype.itemsize)
    return (x - low) % count + low


RULES.update({name: _modular(f) for name, f in {"add": np.add, "sub": np.subtract, "mul": np.multiply}.items()})
RULES["add_any"] = RULES["add"]


@rule("div")
def div(outs: Sequence[Any], x: Any, y: Any, **params: Any) -> Any:
    """A quotient; of integers it is cut towards zero."""
    if np.dtype(outs[0].dtype).kind == "f":
        return np.divide(x, y)
    size = np.abs(x) // np.abs(y)
    return np.where((x < 0) == (y < 0), size, -size)


@rule("rem")
def rem(outs: Sequence[Any], x: Any, y: Any, **params: Any) -> Any:
    """x - y trunc(x / y), with the sign of x."""
    return np.fmod(x, y)


@rule("integer_pow")
def integer_pow(outs: Sequence[Any], x: Any, y: int, **params: Any) -> Any:
    """x^y for a constant whole number."""
    if y == -1:
        return 1 / x
    return x ** (int(y) if np.dtype(outs[0].dtype).kind != "f" else float(y))


@rule("rsqrt")
def rsqrt(outs: Sequence[Any], x: Any, **params: Any) -> Any:
    return 1 / np.sqrt(x)


@rule("round")
def round_(outs: Sequence[Any], x: Any, rounding_method: Any, **params: Any) -> Any:
    """To the nearest whole number: halves to even ones, or away from zero."""
    if int(rounding_method) == 1:
        return np.rint(x)
    return np.copysign(np.floor(np.abs(x) + 0.5), x)


@rule("clamp")
def clamp(outs: Sequence[Any], low: Any, x: Any, high: Any, **params: Any) -> Any:
    return np.minimum(np.maximum(x, low), high)


@rule("select_n")
def select_n(outs: Sequence[Any], which: Any, *cases: Any, **params: Any) -> Any:
    """cases[which], element by element."""
    if np.dtype(which.dtype).kind == "b":
        return np.where(which, cases[1], cases[0])
    return functools.reduce(lambda rest, k: np.where(which <= k, cases[k], rest), reversed(range(len(cases) - 1)),
                            cases[-1])


@rule("convert_element_type", "reduce_precision")
def convert_element_type(outs: Sequence[Any], x: Any, **params: Any) -> Any:
    """Another type; numbers become integers towards zero."""
    target = np.dtype(outs[0].dtype)
    if known(x):
        return x
    if target.kind == "b":
        return x != 0
    if target.kind in "iu":
        return wrapped(x.astype(np.int64), target)
    return x  # what calls rules converts
