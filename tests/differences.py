"""Value, gradient and Hessian of any function of one vector by tenth-order differences of its value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracles import _polarised, _second_difference, assert_close

from symhess import hessian_jit

#: weights of the tenth-order central first difference
FIRST = (5 / 6, -5 / 21, 5 / 84, -5 / 504, 1 / 1260)


def derivatives(fn: Callable, x: np.ndarray, extended: bool) -> tuple[float, np.ndarray, np.ndarray]:
    """In extended precision, good to 13 digits, or in double precision, good to 8, where NumPy has no other."""
    kind = np.longdouble if extended else np.float64
    h, x = kind(4e-3), x.astype(kind)
    unit = np.eye(x.size, dtype=kind)
    value = lambda y: fn(y.astype(kind))
    first = [sum(w * (value(x + k * h * e) - value(x - k * h * e)) for k, w in enumerate(FIRST, 1)) / h for e in unit]
    return float(value(x)), np.array(first, float), _polarised(_second_difference(value, x, np.longdouble(h)), x.size)


def check(fn: Callable, x: np.ndarray, extended: bool = True, tolerance: float | None = None) -> None:
    """The interpreter against differences; the Hessian is symmetric bit for bit."""
    found = hessian_jit(fn, mode="autograd").value_grad_hessian(x)
    tolerance = tolerance or (1e-10 if extended else 1e-8)
    for part, expected in zip(found, derivatives(fn, x, extended)):
        assert_close(part, expected, tolerance)
    assert np.array_equal(found[2], found[2].T)


def check_kernels(functions: list[Callable], x: np.ndarray, tolerance: float = 1e-12) -> None:
    """Compiled kernels of the sum of several functions, which are compiled once, against the interpreter."""
    total = lambda x: sum(f(x) for f in functions)
    compiled = hessian_jit(total, mode="symbolic").value_grad_hessian(x)
    for part, expected in zip(compiled, hessian_jit(total, mode="autograd").value_grad_hessian(x)):
        assert_close(part, expected, tolerance)
