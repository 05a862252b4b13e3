"""Universal functions of complex numbers, as formulas of real and imaginary parts.

Arguments are z = a + i b and w = c + i d, pairs of a traced value, an array or a number; a part that is the number
0.0 is absent, and costs nothing. A quotient scales its divisor by a power of two, a step that has no derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.primitives import is_zero
from symhess.trace.complex_tracer import is_complex, pair, parts
from symhess.trace.functions import unsupported
from symhess.trace.tracer import Tracer
from symhess.trace.ufuncs import call_ufunc, into

Pair = tuple[Any, Any]
ZERO = 0.0
LN2, LN10 = math.log(2), math.log(10)
#: integer powers up to this are products
LARGEST_POWER = 100


def absent(v: Any) -> bool:
    """True for a part that is zero whatever the inputs are."""
    return (v.concrete is None and is_zero(v.node)) if isinstance(v, Tracer) else _left_out(v)


def _left_out(v: Any) -> bool:
    return type(v) is float and v == 0


def _times(a: Any, b: Any) -> Any:
    return ZERO if _left_out(a) or _left_out(b) else a * b


def _plus(a: Any, b: Any) -> Any:
    return b if _left_out(a) else a if _left_out(b) else a + b


def _minus(a: Any, b: Any) -> Any:
    return a if _left_out(b) else a - b


def multiply(z: Pair, w: Pair) -> Pair:
    """(a c - b d) + i (a d + b c)."""
    (a, b), (c, d) = z, w
    return _minus(_times(a, c), _times(b, d)), _plus(_times(a, d), _times(b, c))


def divide(z: Pair, w: Pair) -> Pair:
    """z conj(w) / |w|^2, with w scaled by the power of two that brings its larger part near 1."""
    (a, b), (c, d) = z, w
    if absent(d):
        return a / c, _quotient(b, c)
    if absent(c):
        return _quotient(b, d), -a / d
    if not isinstance(c, Tracer) and not isinstance(d, Tracer):
        with np.errstate(all="ignore"):
            return multiply(z, parts(1 / (np.asarray(c) + 1j * np.asarray(d))[()]))
    scale = np.exp2(-np.floor(np.log2(np.maximum(np.abs(c), np.abs(d)))))
    c, d = c * scale, d * scale
    size = (c * c + d * d) / scale
    re, im = multiply(z, (c, -d))
    return re / size, im / size


def _quotient(b: Any, c: Any) -> Any:
    return ZERO if absent(b) else b / c


def modulus(z: Pair) -> Any:
    """sqrt(a^2 + b^2), flat at 0."""
    a, b = z
    return np.abs(a) if absent(b) else np.abs(b) if absent(a) else np.hypot(a, b)


def exp(z: Pair) -> Pair:
    """e^a (cos b + i sin b)."""
    size = np.exp(z[0])
    return size * np.cos(z[1]), size * np.sin(z[1])


def log(z: Pair) -> Pair:
    """log|z| + i arctan2(b, a)."""
    return np.log(modulus(z)), np.arctan2(z[1], z[0])


def sqrt(z: Pair) -> Pair:
    """With t = sqrt((|z| + |a|) / 2): t + i b / (2 t) on the right, |b| / (2 t) + i sign(b) t on the left, 0 at 0."""
    a, b = z
    at_zero = np.logical_and(a == 0, b == 0)
    t = np.sqrt((modulus((np.where(at_zero, 1.0, a), b)) + np.abs(np.where(at_zero, 1.0, a))) / 2)
    sign = np.copysign(1.0, b)
    left, small = np.less(a, 0), b * sign / (2 * t)
    re, im = np.where(left, small, t), sign * np.where(left, t, small)
    root = np.sqrt(np.where(at_zero, a, 1.0))  # 0, with the infinite derivative that the root has there
    return np.where(at_zero, root, re), np.where(at_zero, b, im)


def power(z: Pair, w: Pair) -> Pair:
    """Products for integer constants, a square root for 1/2, else exp(w log z)."""
    p = float(w[0]) if not isinstance(w[0], Tracer) and np.ndim(w[0]) == 0 and absent(w[1]) else None
    if p is not None and p == int(p) and abs(p) <= LARGEST_POWER:
        return _integer_power(z, int(p))
    if p == 0.5:
        return sqrt(z)
    if not isinstance(z[0], Tracer) and absent(z[1]) and np.ndim(z[0]) == 0 and z[0] > 0:
        return exp(multiply(w, (math.log(z[0]), ZERO)))
    return exp(multiply(w, log(z)))


def _integer_power(z: Pair, n: int) -> Pair:
    if n <= 0:
        one = (np.ones_like(z[0]), ZERO)
        return divide(one, _integer_power(z, -n)) if n else one
    result = None
    while n:
        if n & 1:
            result = z if result is None else multiply(result, z)
        n >>= 1
        z = square(z) if n else z
    return result


def square(z: Pair) -> Pair:
    """a^2 - b^2 + 2 i a b."""
    a, b = z
    return _minus(_times(a, a), _times(b, b)), 2 * _times(a, b)


def sin(z: Pair) -> Pair:
    """sin a cosh b + i cos a sinh b."""
    a, b = z
    return np.sin(a) * np.cosh(b), np.cos(a) * np.sinh(b)


def cos(z: Pair) -> Pair:
    """cos a cosh b - i sin a sinh b."""
    a, b = z
    return np.cos(a) * np.cosh(b), -np.sin(a) * np.sinh(b)


def _rotated(f: Callable[[Pair], Pair]) -> Callable[[Pair], Pair]:
    """g with g(z) = -i f(i z): sinh from sin, tan from tanh."""
    def g(z: Pair) -> Pair:
        re, im = f((-z[1], z[0]))
        return im, -re

    return g


def tanh(z: Pair) -> Pair:
    """(t + i s) / (1 + i t s) with t = tanh a, s = tan b."""
    t, s = np.tanh(z[0]), np.tan(z[1])
    return divide((t, s), (1.0, t * s))


def expm1(z: Pair) -> Pair:
    """(e^a - 1) cos b - 2 sin(b/2)^2 + i e^a sin b."""
    a, b = z
    return np.expm1(a) * np.cos(b) - 2 * np.sin(b / 2) ** 2, np.exp(a) * np.sin(b)


def log1p(z: Pair) -> Pair:
    """log(1 + (2 + a) a + b^2) / 2 near 0 and log|1 + z| elsewhere, + i arctan2(b, 1 + a)."""
    a, b = z
    near = np.less(np.abs(a) + np.abs(b), 0.5)
    close = 0.5 * np.log1p(np.where(near, a * (2 + a) + b * b, 0.0))
    return np.where(near, close, np.log(modulus((np.where(near, 1.0, 1 + a), b)))), np.arctan2(b, 1 + a)


def _scaled(f: Callable[[Pair], Pair], factor: float, inside: bool = False) -> Callable[[Pair], Pair]:
    """factor f(z), or f(factor z)."""
    by = (factor, ZERO)
    return (lambda z: f(multiply(z, by))) if inside else (lambda z: multiply(f(z), by))


#: ufunc -> its real and imaginary part
COMPLEX: dict[str, Callable[..., Pair]] = {
    "add": lambda z, w: (_plus(z[0], w[0]), _plus(z[1], w[1])),
    "subtract": lambda z, w: (_minus(z[0], w[0]), _minus(z[1], w[1])),
    "multiply": multiply, "divide": divide, "power": power, "float_power": power, "square": square,
    "negative": lambda z: (-z[0], -z[1]), "positive": lambda z: z, "conjugate": lambda z: (z[0], -z[1]),
    "reciprocal": lambda z: divide((1.0, ZERO), z), "exp": exp, "log": log, "sqrt": sqrt, "sin": sin, "cos": cos,
    "tanh": tanh, "sinh": _rotated(sin), "cosh": lambda z: cos((-z[1], z[0])), "tan": _rotated(tanh),
    "expm1": expm1, "log1p": log1p, "exp2": _scaled(exp, LN2, True), "log2": _scaled(log, 1 / LN2),
    "log10": _scaled(log, 1 / LN10),
}
#: ufunc -> its real or boolean result
REAL: dict[str, Callable[..., Any]] = {
    "absolute": modulus,
    "equal": lambda z, w: np.logical_and(np.equal(z[0], w[0]), np.equal(z[1], w[1])),
    "not_equal": lambda z, w: np.logical_or(np.not_equal(z[0], w[0]), np.not_equal(z[1], w[1])),
    "isfinite": lambda z: np.logical_and(np.isfinite(z[0]), np.isfinite(z[1])),
    "isnan": lambda z: np.logical_or(np.isnan(z[0]), np.isnan(z[1])),
    "isinf": lambda z: np.logical_or(np.isinf(z[0]), np.isinf(z[1])),
    "logical_not": lambda z: np.logical_and(np.equal(z[0], 0), np.equal(z[1], 0)),
}


def product_of(function: Callable, *factors: Any) -> Any:
    """A function that is linear in each of its factors: the sum over their parts, times the powers of i."""
    sums: list[Any] = [ZERO, ZERO]
    choices: list[tuple[int, tuple]] = [(0, ())]
    for factor in map(parts, factors):
        choices = [(n + k, (*chosen, part)) for n, chosen in choices for k, part in enumerate(factor)
                   if not (k and type(part) is float)]
    for n, chosen in choices:
        term = function(*chosen)
        sums[n % 2] = sums[n % 2] + term if n % 4 < 2 else sums[n % 2] - term
    return pair(*sums)


def conjugate(z: Any) -> Any:
    re, im = parts(z)
    return pair(re, -im) if is_complex(z) else z


#: generalised ufunc -> how many of its first operands are conjugated
_CONJUGATED = {"matmul": 0, "matvec": 0, "vecdot": 1, "vecmat": 1}


def complex_ufunc(ufunc: np.ufunc, args: Sequence[Any], out: Any = None, where: Any = True, dtype: Any = None,
                  **options: Any) -> Any:
    """ufunc(*args) where some argument is complex."""
    name = ufunc.__name__
    if name in _CONJUGATED:
        args = [conjugate(a) if k < _CONJUGATED[name] else a for k, a in enumerate(args)]
        result = product_of(lambda *factors: call_ufunc(ufunc, factors), *args)
    elif name in REAL:
        result = REAL[name](*map(parts, args))
    elif name in COMPLEX and dtype is None:
        result = pair(*COMPLEX[name](*map(parts, args)))
    else:
        raise unsupported(f"{name} of complex numbers")
    target = out[0] if isinstance(out, tuple) else out
    if where is not True:
        result = np.where(where, result, target)
    return result if target is None else into(out, result)
