"""The functions of Python's math module on traced numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.primitives import apply
from symhess.trace.functions import finished
from symhess.trace.on_use import special
from symhess.trace.ordering import frexp
from symhess.trace.reductions import guarded_root
from symhess.trace.shaping import traced


def _log(x: Any, base: Any = None) -> Any:
    return np.log(x) if base is None else np.log(x) / np.log(base)


def _hypot(*coordinates: Any) -> Any:
    """sqrt(sum c^2)."""
    if len(coordinates) == 2:
        return np.hypot(*coordinates)
    return finished(guarded_root(traced(sum(c * c for c in coordinates)).node, lambda s: apply("sqrt", s)))


def _is_close(a: Any, b: Any, *, rel_tol: float = 1e-9, abs_tol: float = 0.0) -> Any:
    return np.abs(a - b) <= np.maximum(rel_tol * np.maximum(np.abs(a), np.abs(b)), abs_tol)


def _integer(ufunc: np.ufunc) -> Callable:
    """math.floor and its kin give integers."""
    return lambda x: ufunc(x).astype(int)


MATH: dict[str, Callable] = {
    name: getattr(np, name) for name in (
        "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "expm1", "log2", "log10", "log1p", "sqrt", "fabs", "fmod",
        "copysign", "degrees", "radians", "isnan", "isinf", "isfinite", "modf", "exp2", "cbrt")
} | {
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "pow": np.power, "log": _log, "hypot": _hypot, "isclose": _is_close,
    "floor": _integer(np.floor), "ceil": _integer(np.ceil), "trunc": _integer(np.trunc),
    "remainder": lambda x, y: x - y * np.rint(x / y),
    "fsum": sum, "prod": lambda items, start=1: functools.reduce(lambda a, b: a * b, items, start),
    "dist": lambda p, q: _hypot(*(a - b for a, b in zip(p, q, strict=True))),
    "sumprod": lambda p, q: sum(a * b for a, b in zip(p, q, strict=True)),
    "erf": lambda x: special.erf(x), "erfc": lambda x: special.erfc(x), "lgamma": lambda x: special.gammaln(x),
    "gamma": lambda x: special.gamma(x),
    "ldexp": lambda x, i: x * 2.0 ** i, "frexp": lambda x: (lambda m, e: (m, int(e)))(*frexp(x)),
}
