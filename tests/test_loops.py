"""Structured loops: scan, while_loop, fori_loop, cond and switch against the same functions as unrolled Python loops.

The oracles know nothing of symhess: second-order Taylor arithmetic on the unrolled loop (taylor.py), complex steps,
high-order differences, and SymPy on short loops.
"""

from __future__ import annotations

import numpy as np
import pytest
from oracles import assert_close
from taylor import namespace, taylor

from symhess import fori_loop, hessian_jit, scan, while_loop

MODES = ("autograd", "symbolic", "auto")
T = namespace()


def exact(fn, *args):
    """(value, gradient, Hessian) of an unrolled function of the namespace `np`, by Taylor arithmetic."""
    return taylor(lambda *a: fn(T, *a), args, args, lambda _, inputs: inputs)


def check(f, unrolled, *args, mode="auto", tolerance=1e-11):
    """Value, gradient and Hessian of f against those of the same function without loops."""
    value, grad, hess = exact(unrolled, *args)
    argnums = tuple(range(len(args)))
    made = hessian_jit(f, argnums=argnums, mode=mode)
    assert_close(made.value(*args), np.array(value), tolerance)
    assert_close(np.concatenate([np.ravel(g) for g in made.grad(*args)]), grad, tolerance)
    assert_close(made.flat(*args), hess, tolerance)


# -- the functions, with and without loops ---------------------------------------------------------------------------


def logistic(r, x0, steps=7):
    return scan(lambda x, _: (r * x * (1 - x), None), x0, length=steps)[0]


def logistic_unrolled(np, r, x0, steps=7):
    x = x0
    for _ in range(steps):
        x = r * x * (1 - x)
    return x


def pendulum(q, steps=6, h=0.1):
    def force(q):
        return np.stack([q[1], -np.sin(q[0]) - 0.1 * q[1]])

    def step(q, _):
        k1 = force(q)
        k2 = force(q + h / 2 * k1)
        return q + h * k2, q[0] ** 2

    last, energies = scan(step, q, None, length=steps)
    return np.sum(last**2) + np.sum(energies)


def pendulum_unrolled(np, q, steps=6, h=0.1):
    def force(q):
        return np.array([q[1], -np.sin(q[0]) - 0.1 * q[1]])

    total = 0.0
    for _ in range(steps):
        total = total + q[0] ** 2
        q = q + h * force(q + h / 2 * force(q))
    return np.sum(q**2) + total


DATA = np.linspace(-1, 1, 15).reshape(5, 3)


def recurrence(W, h0):
    def step(state, x):
        h, total = state
        h = np.tanh(W @ h + x)
        return (h, total + np.sum(h)), {"square": h * h, "sum": np.sum(h * x)}

    (h, total), ys = scan(step, (h0, 0.0), DATA)
    return np.sum(h) * total + np.sum(ys["square"][1:]) + np.sum(ys["sum"] ** 2)


def recurrence_unrolled(np, W, h0):
    h, total, squares, sums = h0, 0.0, 0.0, 0.0
    for t, x in enumerate(DATA):
        h = np.tanh(W @ h + x)
        total = total + np.sum(h)
        squares = squares + (np.sum(h * h) if t else 0.0)
        sums = sums + np.sum(h * x) ** 2
    return np.sum(h) * total + squares + sums


def newton_root(a):
    y = while_loop(lambda y: abs(y * y - a[0]) > 1e-13, lambda y: (y + a[0] / y) / 2, a[1])
    return y * a[1]


def fixed_point(x):
    """A contraction iterated a number of times that depends on its argument, with an integer in the state."""
    def going(state):
        k, y = state
        return (k < 50) & (np.sum(np.abs(np.cos(y) * x - y)) > 1e-3)

    k, y = while_loop(going, lambda s: (s[0] + 1, np.cos(s[1]) * x), (0, x))
    return np.sum(y**2) + k * np.sum(x)


def fixed_point_unrolled(np, x):
    k, y = 0, x
    plain = [getattr(v, "v", v) for v in x]
    z = np.array(plain, float) if False else plain
    import math
    z = list(plain)
    while k < 50 and sum(abs(math.cos(b) * a - b) for a, b in zip(plain, z)) > 1e-3:
        z = [math.cos(b) * a for a, b in zip(plain, z)]
        y = np.cos(y) * x
        k += 1
    return np.sum(y**2) + k * np.sum(x)


def horner(c, x):
    return fori_loop(1, 4, lambda i, p: p * x + c[i], c[0] * 1.0)


def horner_unrolled(np, c, x):
    return ((c[0] * x + c[1]) * x + c[2]) * x + c[3]


CASES = {
    "logistic": (logistic, logistic_unrolled, (2.3, 0.4)),
    "pendulum": (pendulum, pendulum_unrolled, (np.array([0.5, -0.2]),)),
    "recurrence": (recurrence, recurrence_unrolled, (DATA[:3] + 0.3, np.array([0.1, -0.2, 0.3]))),
    "fixed point": (fixed_point, fixed_point_unrolled, (np.array([0.4, 0.7]),)),
    "horner": (horner, horner_unrolled, (np.array([0.5, -1.0, 2.0, 0.3]), 0.7)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_loops_agree_with_unrolled_loops(name, mode):
    f, unrolled, args = CASES[name]
    check(f, unrolled, *args, mode=mode)
