"""Numerics that go wrong in derivatives: value, gradient and Hessian of symhess and its peers at delicate points.

    python -m examples.benchmarks.numerics

Every row is a function as a user writes it, a point, and what is true there: either a function that mpmath evaluates
and differentiates with 120 digits, or value, gradient and Hessian in closed form (infinities where the derivative is
infinite, conventions at kinks). A cell says `right`, or what came out first that is not: the value, the gradient or the
Hessian, with the largest relative error, `nan` or `inf`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import mpmath
import numpy as np

INF, NAN = np.inf, np.nan
DIGITS = 120
#: relative to the largest entry of what is compared
TOLERANCE = 1e-10


class Closed(NamedTuple):
    """Value, gradient and Hessian that are known."""

    value: float
    gradient: Any
    hessian: Any


class Row(NamedTuple):
    """A function of (numpy, scipy.special, x), a point, and the truth there: of (mpmath, *x), or closed."""

    name: str
    function: Callable[..., Any]
    at: Sequence[float]
    truth: Callable[..., Any] | Closed


ROWS: dict[str, list[Row]] = {}


def section(title: str, *rows: tuple) -> None:
    ROWS[title] = [Row(*row) for row in rows]


def total(m: Any, items: Iterator[Any]) -> Any:
    return m.fsum(list(items))


section(
    "norms and roots",
    ("norm(x)**2 at 0", lambda np, sp, x: np.linalg.norm(x) ** 2, [0, 0], lambda m, a, b: a**2 + b**2),
    ("sqrt(sum(x**2))**2 at 0", lambda np, sp, x: np.sqrt(np.sum(x**2)) ** 2, [0, 0], lambda m, a, b: a**2 + b**2),
    ("norm(x)*norm(x) at 0", lambda np, sp, x: np.linalg.norm(x) * np.linalg.norm(x), [0, 0],
     lambda m, a, b: a**2 + b**2),
    ("sqrt(x @ x)**4 at 0", lambda np, sp, x: np.sqrt(x @ x) ** 4, [0, 0], Closed(0, [0, 0], np.zeros((2, 2)))),
    ("norm(x)**3 at 0", lambda np, sp, x: np.linalg.norm(x) ** 3, [0, 0], Closed(0, [0, 0], np.zeros((2, 2)))),
    ("sqrt(norm(x)**2 + 1) at 0", lambda np, sp, x: np.sqrt(np.linalg.norm(x) ** 2 + 1), [0, 0],
     lambda m, a, b: m.sqrt(a**2 + b**2 + 1)),
    ("sqrt(sum(x**2) + eps) at 0", lambda np, sp, x: np.sqrt(np.sum(x**2) + 1e-12), [0, 0],
     lambda m, a, b: m.sqrt(a**2 + b**2 + m.mpf(1e-12))),
    ("norm(x) at 0 (kink)", lambda np, sp, x: np.linalg.norm(x), [0, 0], Closed(0, [0, 0], np.zeros((2, 2)))),
    ("norm over rows, one row 0 (kink)", lambda np, sp, x: np.sum(np.linalg.norm(x.reshape(2, 2), axis=1)),
     [0, 0, 3, 4], Closed(5, [0, 0, 0.6, 0.8], [[0] * 4, [0] * 4, [0, 0, 0.128, -0.096], [0, 0, -0.096, 0.072]])),
    ("norm(x, 1) at 0 (kink)", lambda np, sp, x: np.linalg.norm(x, 1), [0, 0], Closed(0, [1, 1], np.zeros((2, 2)))),
    ("norm(x, 3)**3 at 0", lambda np, sp, x: np.linalg.norm(x, 3) ** 3, [0, 1],
     Closed(1, [0, 3], [[0, 0], [0, 6]])),
    ("norm(x, 3) at (0, 1)", lambda np, sp, x: np.linalg.norm(x, 3), [0, 1], Closed(1, [0, 1], np.zeros((2, 2)))),
    ("sqrt(x**2) at 0 (kink)", lambda np, sp, x: np.sqrt(x[0] ** 2), [0], Closed(0, [1], [[0]])),
    ("sqrt(x*x) at -2", lambda np, sp, x: np.sqrt(x[0] * x[0]), [-2], Closed(2, [-1], [[0]])),
    ("sqrt(x**2 + y**2) at 0 (kink)", lambda np, sp, x: np.sqrt(x[0] ** 2 + x[1] ** 2), [0, 0],
     Closed(0, [0, 0], np.zeros((2, 2)))),
    ("hypot(x, y) at 0 (kink)", lambda np, sp, x: np.hypot(x[0], x[1]), [0, 0], Closed(0, [0, 0], np.zeros((2, 2)))),
    ("hypot(x, y)**2 at 0", lambda np, sp, x: np.hypot(x[0], x[1]) ** 2, [0, 0], lambda m, a, b: a**2 + b**2),
    ("sqrt(x)**2 at 0", lambda np, sp, x: np.sqrt(x[0]) ** 2, [0], Closed(0, [1], [[0]])),
    ("x/norm(x), far from 0", lambda np, sp, x: (x / np.linalg.norm(x))[0], [3, 4],
     lambda m, a, b: a / m.sqrt(a**2 + b**2)),
    ("sqrt(x) at 0 (infinite)", lambda np, sp, x: np.sqrt(x[0]), [0], Closed(0, [INF], [[-INF]])),
    ("sum of distances, two points equal", lambda np, sp, x: np.sum(
        np.sqrt(np.sum((x.reshape(3, 2)[:2] - x.reshape(3, 2)[1:]) ** 2, axis=1)) ** 2), [1, 2, 1, 2, 0, 1],
     lambda m, a, b, c, d, e, f: (a - c)**2 + (b - d)**2 + (c - e)**2 + (d - f)**2),
)

section(
    "absolute values and maxima",
    ("abs(x) at 0 (kink)", lambda np, sp, x: np.abs(x[0]), [0], Closed(0, [1], [[0]])),
    ("abs(x)**2 at 0", lambda np, sp, x: np.abs(x[0]) ** 2, [0], Closed(0, [0], [[2]])),
    ("abs(x)*abs(x) at 0", lambda np, sp, x: np.abs(x[0]) * np.abs(x[0]), [0], Closed(0, [0], [[2]])),
    ("abs(x)**3 at 0", lambda np, sp, x: np.abs(x[0]) ** 3, [0], Closed(0, [0], [[0]])),
    ("abs(x)**4 at 0", lambda np, sp, x: np.abs(x[0]) ** 4, [0], Closed(0, [0], [[0]])),
    ("abs(x)**1.5 at 0 (infinite)", lambda np, sp, x: np.abs(x[0]) ** 1.5, [0], Closed(0, [0], [[INF]])),
    ("abs(x)**2.5 at 0", lambda np, sp, x: np.abs(x[0]) ** 2.5, [0], Closed(0, [0], [[0]])),
    ("abs(x)*x at 0 (kink of the gradient)", lambda np, sp, x: np.abs(x[0]) * x[0], [0], Closed(0, [0], [[2]])),
    ("max(x, 0) at 0 (kink)", lambda np, sp, x: np.maximum(x[0], 0.0), [0], Closed(0, [0.5], [[0]])),
    ("max(x, 0)**2 at 0 (kink of the gradient)", lambda np, sp, x: np.maximum(x[0], 0.0) ** 2, [0],
     Closed(0, [0], [[0.5]])),
    ("max(x, 0)**3 at 0", lambda np, sp, x: np.maximum(x[0], 0.0) ** 3, [0], Closed(0, [0], [[0]])),
    ("sign, floor, round", lambda np, sp, x: np.sign(x[0]) + np.floor(x[0]) + np.round(x[0]), [1.25],
     Closed(3, [0], [[0]])),
    ("log(abs(x)) at -2", lambda np, sp, x: np.log(np.abs(x[0])), [-2], lambda m, a: m.log(-a)),
)

section(
    "selects",
    ("where(x > 0, sqrt(x), 0) at 0", lambda np, sp, x: np.where(x[0] > 0, np.sqrt(x[0]), 0.0), [0],
     Closed(0, [0], [[0]])),
    ("where(x > 0, log(x), x) at -1", lambda np, sp, x: np.where(x[0] > 0, np.log(x[0]), x[0]), [-1],
     Closed(-1, [1], [[0]])),
    ("where(x > 0, log(x), 2 x) at 0", lambda np, sp, x: np.where(x[0] > 0, np.log(x[0]), 2 * x[0]), [0],
     Closed(0, [2], [[0]])),
    ("nested where", lambda np, sp, x: np.where(
        x[0] > 1, np.log(x[0] - 1), np.where(x[0] > 0, np.sqrt(x[0]), x[0] ** 2)), [0], Closed(0, [0], [[2]])),
    ("where on the input", lambda np, sp, x: np.sqrt(np.where(x[0] > 0, x[0], 1.0)), [0], Closed(1, [0], [[0]])),
    ("where on input and output", lambda np, sp, x: np.where(
        x[0] > 0, np.log(np.where(x[0] > 0, x[0], 1.0)), 0.0), [0], Closed(0, [0], [[0]])),
    ("exp(sqrt(x)) behind where", lambda np, sp, x: np.sum(np.where(x > 0, np.exp(np.sqrt(x)) / x, x)), [0, -1],
     Closed(-1, [1, 1], np.zeros((2, 2)))),
    ("0/0 in the untaken branch", lambda np, sp, x: np.where(x[0] == 0, x[0], np.sin(x[0]) / x[0] * x[0]), [0],
     Closed(0, [1], [[0]])),
    ("where(c, x/y, 0), y = 0", lambda np, sp, x: np.where(x[1] != 0, x[0] / x[1], 0.0), [0, 0],
     Closed(0, [0, 0], np.zeros((2, 2)))),
    ("sum of logs of some", lambda np, sp, x: np.sum(np.where(np.array([True, False]), np.log(x), 0.0)), [2, 0],
     Closed(np.log(2), [0.5, 0], [[-0.25, 0], [0, 0]])),
    ("mask * sqrt(x) at 0", lambda np, sp, x: np.sum((x > 0) * np.sqrt(x)), [0, 4],
     Closed(2, [0, 0.25], [[0, 0], [0, -1 / 32]])),
    ("where(x > 0, norm([x, y]), 0) at 0", lambda np, sp, x: np.where(
        x[0] > 0, np.linalg.norm(x), 0.0), [0, 0], Closed(0, [0, 0], np.zeros((2, 2)))),
)


def softplus(m: Any, t: Any) -> Any:
    return m.log1p(m.exp(t))


section(
    "exponentials of large numbers",
    ("log(1 + exp(x)), x = 800", lambda np, sp, x: np.log(1 + np.exp(x[0])), [800], softplus),
    ("log(1 + exp(x)), x = -800", lambda np, sp, x: np.log(1 + np.exp(x[0])), [-800], softplus),
    ("log1p(exp(x)), x = 800", lambda np, sp, x: np.log1p(np.exp(x[0])), [800], softplus),
    ("log(exp(x) + 1), in two statements", lambda np, sp, x: _later(np, x), [800], softplus),
    ("log(1 + exp(-y x)), margins", lambda np, sp, x: np.sum(np.log(1 + np.exp(-np.array([1.0, -1.0]) * x))),
     [-900, -900], lambda m, a, b: softplus(m, -a) + softplus(m, b)),
    ("1/(1 + exp(-x)), x = -800", lambda np, sp, x: 1 / (1 + np.exp(-x[0])), [-800], lambda m, a: 1 / (1 + m.exp(-a))),
    ("1/(1 + exp(-x)), x = 800", lambda np, sp, x: 1 / (1 + np.exp(-x[0])), [800], lambda m, a: 1 / (1 + m.exp(-a))),
    ("1/(1 + exp(x)), x = 800", lambda np, sp, x: 1 / (1 + np.exp(x[0])), [800], lambda m, a: 1 / (1 + m.exp(a))),
    ("exp(x)/(1 + exp(x)), x = 800", lambda np, sp, x: np.exp(x[0]) / (1 + np.exp(x[0])), [800],
     lambda m, a: 1 / (1 + m.exp(-a))),
    ("log(1/(1 + exp(-x))), x = -800", lambda np, sp, x: np.log(1 / (1 + np.exp(-x[0]))), [-800],
     lambda m, a: -softplus(m, -a)),
    ("log(1 - 1/(1 + exp(-x))), x = 60", lambda np, sp, x: np.log(1 - 1 / (1 + np.exp(-x[0]))), [60],
     lambda m, a: -softplus(m, a)),
    ("log(expit(x)), x = -800", lambda np, sp, x: np.log(sp.expit(x[0])), [-800], lambda m, a: -softplus(m, -a)),
    ("log(cosh(x)), x = 800", lambda np, sp, x: np.log(np.cosh(x[0])), [800], lambda m, a: m.log(m.cosh(a))),
    ("log(cosh(x)), x = 1e-3", lambda np, sp, x: np.log(np.cosh(x[0])), [1e-3], lambda m, a: m.log(m.cosh(a))),
    ("tanh(x), x = 800", lambda np, sp, x: np.tanh(x[0]), [800], Closed(1, [0], [[0]])),
    ("sinh(x)/cosh(x), x = 800", lambda np, sp, x: np.sinh(x[0]) / np.cosh(x[0]), [800], Closed(1, [0], [[0]])),
    ("1/cosh(x), x = 800", lambda np, sp, x: 1 / np.cosh(x[0]), [800], Closed(0, [0], [[0]])),
    ("1/cosh(x)**2, x = 800", lambda np, sp, x: 1 / np.cosh(x[0]) ** 2, [800], Closed(0, [0], [[0]])),
    ("log(1 - tanh(x)**2) + x**2, x = 30", lambda np, sp, x: np.log(1 - np.tanh(x[0]) ** 2) + x[0] ** 2, [30],
     lambda m, a: -2 * m.log(m.cosh(a)) + a**2),
    ("1/exp(x), x = 800", lambda np, sp, x: 1 / np.exp(x[0]), [800], Closed(0, [0], [[0]])),
    ("log(exp(x)), x = 800", lambda np, sp, x: np.log(np.exp(x[0])), [800], lambda m, a: a),
    ("log(exp(a)*exp(b))", lambda np, sp, x: np.log(np.exp(x[0]) * np.exp(x[1])), [800, -900], lambda m, a, b: a + b),
    ("log(exp(a)/exp(b))", lambda np, sp, x: np.log(np.exp(x[0]) / np.exp(x[1])), [800, 900], lambda m, a, b: a - b),
    ("log of a normal density, 60 sigma", lambda np, sp, x: np.log(
        np.exp(-0.5 * (x[0] / x[1]) ** 2) / (x[1] * np.sqrt(2 * np.pi))), [60, 1],
     lambda m, a, s: -(a / s) ** 2 / 2 - m.log(s) - m.log(2 * m.pi) / 2),
    ("log(exp(x) + exp(y)), 800 and 790", lambda np, sp, x: np.log(np.exp(x[0]) + np.exp(x[1])), [800, 790],
     lambda m, a, b: m.log(m.exp(a) + m.exp(b))),
    ("log(exp(x) - 1), x = 800", lambda np, sp, x: np.log(np.exp(x[0]) - 1), [800], lambda m, a: m.log(m.expm1(a))),
    ("log(1 - exp(-x)), x = 800", lambda np, sp, x: np.log(1 - np.exp(-x[0])), [800],
     lambda m, a: m.log1p(-m.exp(-a))),
    ("log(1 - exp(-x)), x = 1e-10", lambda np, sp, x: np.log(1 - np.exp(-x[0])), [1e-10],
     lambda m, a: m.log(-m.expm1(-a))),
    ("log1p(-exp(-x)), x = 1e-10", lambda np, sp, x: np.log1p(-np.exp(-x[0])), [1e-10],
     lambda m, a: m.log(-m.expm1(-a))),
    ("exp(log1p(x)) - 1, x = 1e-12", lambda np, sp, x: np.exp(np.log1p(x[0])) - 1, [1e-12], lambda m, a: a),
    ("log(1 + x), x = 1e-12", lambda np, sp, x: np.log(1 + x[0]), [1e-12], lambda m, a: m.log1p(a)),
    ("x/(exp(x) - 1), x = 800", lambda np, sp, x: x[0] / (np.exp(x[0]) - 1), [800], Closed(0, [0], [[0]])),
    ("1/(exp(x) - 1), x = 800 (Planck)", lambda np, sp, x: 1 / (np.exp(x[0]) - 1), [800], Closed(0, [0], [[0]])),
    ("exp(-x**2)*x at 60", lambda np, sp, x: x[0] * np.exp(-x[0] ** 2), [60], Closed(0, [0], [[0]])),
)


def _later(np: Any, x: Any) -> Any:
    e = np.exp(x[0])
    shifted = e + 1
    return np.log(shifted)


def lse(m: Any, *t: Any) -> Any:
    return m.log(m.fsum([m.exp(v) for v in t]))


def _shifted(np: Any, x: Any) -> Any:
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


def _by_rows(np: Any, x: Any) -> Any:
    v = x.reshape(2, 2)
    e = np.exp(v - np.max(v, axis=1, keepdims=True))
    return np.sum((e / np.sum(e, axis=1, keepdims=True))[:, 0])


def _softmax(m: Any, a: Any, *rest: Any) -> Any:
    return 1 / m.fsum([m.exp(b - a) for b in (a, *rest)])


def _shifted_softmax(np: Any, x: Any) -> Any:
    e = np.exp(x - x.max())
    return (e / e.sum())[0]


WEIGHTS = np.array([0.2, 0.5, 0.3])

section(
    "sums of exponentials",
    ("log(sum(exp(x)))", lambda np, sp, x: np.log(np.sum(np.exp(x))), [800, 799, 0], lse),
    ("log(sum(exp(x))), underflow", lambda np, sp, x: np.log(np.sum(np.exp(x))), [-800, -799, -900], lse),
    ("with a shift by the maximum", lambda np, sp, x: _shifted(np, x), [800, 799, 799.5], lse),
    ("with a shift, at a tie", lambda np, sp, x: _shifted(np, x), [800, 800, 799], lse),
    ("with an axis", lambda np, sp, x: np.sum(np.log(np.sum(np.exp(x.reshape(2, 2)), axis=0))), [800, 1, 799, 2],
     lambda m, a, b, c, d: lse(m, a, c) + lse(m, b, d)),
    ("with an axis, keepdims", lambda np, sp, x: np.sum(np.log(np.sum(np.exp(x.reshape(2, 2)), axis=1, keepdims=True))),
     [800, 799, 1, 2], lambda m, a, b, c, d: lse(m, a, b) + lse(m, c, d)),
    ("with weights", lambda np, sp, x: np.log(np.sum(WEIGHTS * np.exp(x))), [800, 799, 801],
     lambda m, *t: lse(m, *(v + m.log(m.mpf(w)) for v, w in zip(t, WEIGHTS.tolist())))),
    ("the mean of exponentials", lambda np, sp, x: np.log(np.mean(np.exp(x))), [800, 799, 801],
     lambda m, *t: lse(m, *t) - m.log(3)),
    ("minus log of the mean of exp(-x)", lambda np, sp, x: -0.5 * np.log(np.mean(np.exp(-x / 0.5))), [800, 799, 801],
     lambda m, *t: -(lse(m, *(-2 * v for v in t)) - m.log(3)) / 2),
    ("exp(x)/sum(exp(x))", lambda np, sp, x: (np.exp(x) / np.sum(np.exp(x)))[0], [800, 799, 0], _softmax),
    ("softmax with a shift", lambda np, sp, x: _shifted_softmax(np, x), [800, 799, 0], _softmax),
    ("softmax by rows with a shift", lambda np, sp, x: _by_rows(np, x), [800, 799, 1, 2],
     lambda m, a, b, c, d: _softmax(m, a, b) + _softmax(m, c, d)),
    ("softmax from scipy", lambda np, sp, x: sp.softmax(x)[0], [800, 799, 0], _softmax),
    ("log(softmax(x))", lambda np, sp, x: np.log(sp.softmax(x))[0], [-800, 799, 0],
     lambda m, *t: t[0] - lse(m, *t)),
    ("log(exp(x)/sum(exp(x)))", lambda np, sp, x: np.log(np.exp(x) / np.sum(np.exp(x)))[0], [-800, 799, 0],
     lambda m, *t: t[0] - lse(m, *t)),
    ("log(softmax with a shift)", lambda np, sp, x: np.log(_shifted_softmax(np, x)), [-800, 799, 0],
     lambda m, *t: t[0] - lse(m, *t)),
    ("logaddexp(-inf, x)", lambda np, sp, x: np.logaddexp(-np.inf, x[0]), [2], Closed(2, [1], [[0]])),
    ("logaddexp(0, x), x = 800", lambda np, sp, x: np.logaddexp(0.0, x[0]), [800], softplus),
    ("logsumexp with an entry -inf", lambda np, sp, x: sp.logsumexp(np.array([-np.inf, 0.0, 0.0]) + x), [1, 2, 3],
     lambda m, a, b, c: lse(m, b, c) + 0 * a),
)

section(
    "logarithms and entropies at 0",
    ("x*log(x) at 0 (infinite)", lambda np, sp, x: x[0] * np.log(x[0]), [0], Closed(0, [-INF], [[INF]])),
    ("sum(p*log(p)) with a zero (infinite)", lambda np, sp, x: -np.sum(x * np.log(x)), [0, 1],
     Closed(0, [INF, -1], [[-INF, 0], [0, -1]])),
    ("x**2*log(x) at 0 (infinite)", lambda np, sp, x: x[0] ** 2 * np.log(x[0]), [0], Closed(0, [0], [[-INF]])),
    ("y*log(p), y = 0, p = 0", lambda np, sp, x: np.sum(np.array([0.0, 1.0]) * np.log(x)), [0, 0.5],
     Closed(np.log(0.5), [0, 2], [[0, 0], [0, -4]])),
    ("cross entropy, y = 0, p = 0", lambda np, sp, x: _cross_entropy(np, 0.0, x[0]), [0],
     lambda m, p: -m.log(1 - p)),
    ("cross entropy, y = 1, p = 1", lambda np, sp, x: _cross_entropy(np, 1.0, x[0]), [1], lambda m, p: -m.log(p)),
    ("cross entropy of logits, z = -800", lambda np, sp, x: _cross_entropy(np, 1.0, 1 / (1 + np.exp(-x[0]))), [-800],
     lambda m, z: softplus(m, -z)),
    ("cross entropy of logits, z = 800", lambda np, sp, x: _cross_entropy(np, 0.0, 1 / (1 + np.exp(-x[0]))), [800],
     softplus),
    ("log(x) - log(y), close", lambda np, sp, x: np.log(x[0]) - np.log(x[1]), [3e5, 3e5 + 1e-9],
     lambda m, a, b: m.log(a / b)),
    ("log(a/b)", lambda np, sp, x: np.log(x[0] / x[1]), [3, 2], lambda m, a, b: m.log(a / b)),
    ("xlogy(0, 0)", lambda np, sp, x: sp.xlogy(0.0, x[0]), [0], Closed(0, [0], [[0]])),
    ("entr(0) (infinite)", lambda np, sp, x: sp.entr(x[0]), [0], Closed(0, [INF], [[-INF]])),
    ("rel_entr(0, y)", lambda np, sp, x: sp.rel_entr(0.0, x[0]), [2], Closed(0, [0], [[0]])),
)


def _cross_entropy(np: Any, y: Any, p: Any) -> Any:
    return -y * np.log(p) - (1 - y) * np.log(1 - p)


def _power(p: float, gradient: float, hessian: float, value: float = 0.0) -> tuple:
    return f"x**{p:g} at 0", lambda np, sp, x, p=p: x[0] ** p, [0], Closed(value, [gradient], [[hessian]])


def _traced_power(p: float, gradient: list, hessian: list, value: float = 0.0) -> tuple:
    return f"x**y at (0, {p:g})", lambda np, sp, x: x[0] ** x[1], [0, p], Closed(value, gradient, hessian)


section(
    "powers",
    _power(0, 0, 0, 1.0), _power(1, 1, 0), _power(2, 0, 2), _power(3, 0, 0), _power(0.5, INF, -INF),
    _power(1.5, 0, INF), _power(2.5, 0, 0),
    ("x**-1 at 0 (infinite)", lambda np, sp, x: x[0] ** -1.0, [0], Closed(INF, [-INF], [[INF]])),
    _traced_power(1, [1, 0], [[0, -INF], [-INF, 0]]), _traced_power(2, [0, 0], [[2, 0], [0, 0]]),
    _traced_power(3, [0, 0], [[0, 0], [0, 0]]), _traced_power(1.5, [0, 0], [[INF, 0], [0, 0]]),
    _traced_power(2.5, [0, 0], [[0, 0], [0, 0]]), _traced_power(0.5, [INF, 0], [[-INF, -INF], [-INF, 0]]),
    ("0**y, y = 2", lambda np, sp, x: 0.0 ** x[0], [2], Closed(0, [0], [[0]])),
    ("2**x, x = -2000", lambda np, sp, x: 2.0 ** x[0], [-2000], Closed(0, [0], [[0]])),
    ("x**[0 1 2 3] at 0", lambda np, sp, x: np.sum(x[0] ** np.arange(4)), [0], Closed(1, [1], [[2]])),
    ("x**[0 1 2 3] at -2", lambda np, sp, x: np.sum(x[0] ** np.arange(4)), [-2], Closed(-5, [9], [[-10]])),
    ("x**y at (-2, 3), by x", lambda np, sp, x: x[0] ** 3.0, [-2], Closed(-8, [12], [[-12]])),
    ("(x**2)**1.5 at 0", lambda np, sp, x: (x[0] ** 2) ** 1.5, [0], Closed(0, [0], [[0]])),
    ("(x**2)**0.5 at 0 (kink)", lambda np, sp, x: (x[0] ** 2) ** 0.5, [0], Closed(0, [1], [[0]])),
    ("sum(x**2)**1.5 at 0", lambda np, sp, x: np.sum(x**2) ** 1.5, [0, 0], Closed(0, [0, 0], np.zeros((2, 2)))),
)

section(
    "products",
    ("prod(x), one zero", lambda np, sp, x: np.prod(x), [0, 2, 3], Closed(0, [6, 0, 0],
                                                                        [[0, 3, 2], [3, 0, 0], [2, 0, 0]])),
    ("prod(x), two zeros", lambda np, sp, x: np.prod(x), [0, 0, 3], Closed(0, [0, 0, 0],
                                                                         [[0, 3, 0], [3, 0, 0], [0, 0, 0]])),
    ("sum(cumprod(x)), zeros", lambda np, sp, x: np.sum(np.cumprod(x)), [2, 0, 0],
     Closed(2, [1, 2, 0], [[0, 1, 0], [1, 0, 2], [0, 2, 0]])),
    ("x*exp(-1/x**2) behind where", lambda np, sp, x: np.where(x[0] != 0, x[0] * np.exp(-1 / x[0] ** 2), 0.0), [0],
     Closed(0, [0], [[0]])),
    ("var at constant data", lambda np, sp, x: np.var(x), [3, 3],
     Closed(0, [0, 0], [[0.5, -0.5], [-0.5, 0.5]])),
    ("std at constant data (kink)", lambda np, sp, x: np.std(x), [3, 3], Closed(0, [0, 0], np.zeros((2, 2)))),
)

section(
    "circular functions",
    ("sinc at 0", lambda np, sp, x: np.sinc(x[0]), [0], Closed(1, [0], [[-np.pi**2 / 3]])),
    ("sinc at 1e-4", lambda np, sp, x: np.sinc(x[0]), [1e-4], lambda m, a: m.sin(m.pi * a) / (m.pi * a)),
    ("sinc at 0.02", lambda np, sp, x: np.sinc(x[0]), [0.02], lambda m, a: m.sin(m.pi * a) / (m.pi * a)),
    ("sin(x)/x at 0", lambda np, sp, x: np.sin(x[0]) / x[0], [0], Closed(1, [0], [[-1 / 3]])),
    ("sin(x)/x at 1e-5", lambda np, sp, x: np.sin(x[0]) / x[0], [1e-5], lambda m, a: m.sin(a) / a),
    ("(exp(x) - 1)/x at 0", lambda np, sp, x: (np.exp(x[0]) - 1) / x[0], [0], Closed(1, [0.5], [[1 / 3]])),
    ("expm1(x)/x at 1e-6", lambda np, sp, x: np.expm1(x[0]) / x[0], [1e-6], lambda m, a: m.expm1(a) / a),
    ("x/(exp(x) - 1) at 0", lambda np, sp, x: x[0] / (np.exp(x[0]) - 1), [0], Closed(1, [-0.5], [[1 / 6]])),
    ("arctan2 on the x axis", lambda np, sp, x: np.arctan2(x[0], x[1]), [0, 2],
     Closed(0, [0.5, 0], [[0, -0.25], [-0.25, 0]])),
    ("arctan2 on the y axis", lambda np, sp, x: np.arctan2(x[0], x[1]), [2, 0],
     Closed(np.pi / 2, [0, -0.5], [[0, 0.25], [0.25, 0]])),
    ("arctan2 on the negative x axis", lambda np, sp, x: np.arctan2(x[0], x[1]), [0, -2],
     Closed(np.pi, [-0.5, 0], [[0, -0.25], [-0.25, 0]])),
    ("arctan2 on the negative y axis", lambda np, sp, x: np.arctan2(x[0], x[1]), [-2, 0],
     Closed(-np.pi / 2, [0, 0.5], [[0, 0.25], [0.25, 0]])),
    ("arccos at 1 (infinite)", lambda np, sp, x: np.arccos(x[0]), [1], Closed(0, [-INF], [[-INF]])),
    ("arctanh(tanh(x)), x = 3", lambda np, sp, x: np.arctanh(np.tanh(x[0])), [3], lambda m, a: a),
)


def _scaled(np: Any, x: Any, scale: float) -> Any:
    """A 4 x 4 matrix with rows of very different size."""
    return (np.eye(4) * 3 + np.outer(x, x)) * np.array([scale, 1.0, 1.0, scale])[:, None]


def _log_det(m: Any, scale: float, *t: Any) -> Any:
    """det(3 I + x x^T) = 3^4 (1 + |x|^2/3)."""
    return m.log(81 * (1 + m.fsum([v * v for v in t]) / 3)) + 2 * m.log(m.mpf(scale))


section(
    "determinants",
    ("slogdet, rows of 1e-200", lambda np, sp, x: np.linalg.slogdet(_scaled(np, x, 1e-200))[1], [1, 2, 0.5, -1],
     lambda m, *t: _log_det(m, 1e-200, *t)),
    ("log(det(A)), rows of 1e-200", lambda np, sp, x: np.log(np.linalg.det(_scaled(np, x, 1e-200))), [1, 2, 0.5, -1],
     lambda m, *t: _log_det(m, 1e-200, *t)),
    ("log(abs(det(A))), rows of 1e200", lambda np, sp, x: np.log(np.abs(np.linalg.det(_scaled(np, x, 1e200)))),
     [1, 2, 0.5, -1], lambda m, *t: _log_det(m, 1e200, *t)),
    ("slogdet, 3 x 3 of 1e-120", lambda np, sp, x: np.linalg.slogdet(np.diag(x) * 1e-120)[1], [1, 2, 3],
     lambda m, a, b, c: m.log(a) + m.log(b) + m.log(c) + 3 * m.log(m.mpf(1e-120))),
    ("det of a singular matrix", lambda np, sp, x: np.linalg.det(np.diag(x)), [0, 2],
     Closed(0, [2, 0], [[0, 1], [1, 0]])),
)

section(
    "special functions, far out",
    ("erfcx(30)", lambda np, sp, x: sp.erfcx(x[0]), [30], lambda m, a: m.exp(a * a) * m.erfc(a)),
    ("erfcx(1e6)", lambda np, sp, x: sp.erfcx(x[0]), [1e6],
     lambda m, a: sum((-1) ** k * m.fac2(2 * k - 1) / (2 * a * a) ** k for k in range(8)) / (a * m.sqrt(m.pi))),
    ("log_ndtr(-40)", lambda np, sp, x: sp.log_ndtr(x[0]), [-40], lambda m, a: m.log(m.erfc(-a / m.sqrt(2)) / 2)),
    ("log_ndtr(-1e5)", lambda np, sp, x: sp.log_ndtr(x[0]), [-1e5], lambda m, a: -a * a / 2 - m.log(
        m.sqrt(2 * m.pi) * -a) + m.log(sum((-1) ** k * m.fac2(2 * k - 1) / a ** (2 * k) for k in range(8)))),
    ("log(ndtr(x)), x = -40", lambda np, sp, x: np.log(sp.ndtr(x[0])), [-40],
     lambda m, a: m.log(m.erfc(-a / m.sqrt(2)) / 2)),
    ("gammaln near 0", lambda np, sp, x: sp.gammaln(x[0]), [1e-8], lambda m, a: m.loggamma(a)),
    ("digamma(1e10)", lambda np, sp, x: sp.digamma(x[0]), [1e10],
     lambda m, a: m.log(a) - 1 / (2 * a) - 1 / (12 * a**2)),
    ("log_expit(-800)", lambda np, sp, x: sp.log_expit(x[0]), [-800], lambda m, a: -softplus(m, -a)),
)


# -- the truth -----------------------------------------------------------------------------------------------------


def truth(row: Row) -> Closed:
    """Value, gradient and Hessian of a row, by mpmath where they are not given."""
    if isinstance(row.truth, Closed):
        return row.truth
    n = len(row.at)
    unit = [tuple(int(i == k) for k in range(n)) for i in range(n)]
    with mpmath.workdps(DIGITS):
        point = tuple(mpmath.mpf(v) for v in row.at)

        def function(*t: Any) -> Any:
            return mpmath.re(row.truth(mpmath, *t))

        def derivative(*orders: tuple[int, ...]) -> float:
            return float(mpmath.diff(function, point, tuple(map(sum, zip(*orders)))))

        return Closed(float(function(*point)), [derivative(a) for a in unit],
                      [[derivative(a, b) for b in unit] for a in unit])


def error(found: Any, expected: Any) -> float:
    """The largest difference relative to the largest finite entry; infinite where infinities or NaN differ."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    finite = np.isfinite(expected)
    if found.shape != expected.shape or not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return INF
    off = np.abs(found[finite] - expected[finite])
    scale = np.max(np.abs(expected[finite]), initial=0.0)
    worst = np.max(off, initial=0.0) / (scale or 1.0)
    return float(worst) if np.all(np.isfinite(found[finite])) else INF


def verdict(found: Closed, expected: Closed) -> str:
    """`right`, or the first of value, gradient and Hessian that is not, and how far off it is."""
    for name, a, b in zip(("value", "gradient", "Hessian"), found, expected):
        size = error(a, b)
        if size > TOLERANCE:
            a = np.asarray(a, float)
            word = "nan" if np.isnan(a).any() else "inf" if np.isinf(a).any() else f"off {size:.0e}"
            return f"{name} {word}"
    return "right"


# -- peers ---------------------------------------------------------------------------------------------------------


def symhess_peer(row: Row) -> Closed:
    import scipy.special

    from symhess import hessian_jit

    f = hessian_jit(lambda x: row.function(np, scipy.special, x), mode="autograd")
    return Closed(*f.value_grad_hessian(np.array(row.at, float)))


def jax_peer(row: Row) -> Closed:
    import jax
    import jax.scipy.special as special

    jax.config.update("jax_enable_x64", True)
    special.softmax, special.log_expit = jax.nn.softmax, jax.nn.log_sigmoid
    x = jax.numpy.array(row.at, float)

    def f(x: Any) -> Any:
        return row.function(jax.numpy, special, x)

    return Closed(f(x), jax.grad(f)(x), jax.hessian(f)(x))


def autograd_peer(row: Row) -> Closed:
    import autograd
    import autograd.numpy
    import autograd.scipy.special as special

    x = np.array(row.at, float)

    def f(x: Any) -> Any:
        return row.function(autograd.numpy, special, x)

    return Closed(f(x), autograd.grad(f)(x), autograd.hessian(f)(x))


def torch_peer(row: Row) -> Closed:
    import torch

    x = torch.tensor(row.at, dtype=torch.float64)

    def f(x: Any) -> Any:
        return row.function(torch, torch.special, x)

    hessian = torch.autograd.functional.hessian(f, x).numpy()
    return Closed(float(f(x)), torch.func.grad(f)(x).numpy(), hessian)


PEERS = {"symhess": symhess_peer, "JAX": jax_peer, "autograd": autograd_peer, "PyTorch": torch_peer}
MODULES = {"symhess": "symhess", "JAX": "jax", "autograd": "autograd", "PyTorch": "torch"}


def installed() -> list[str]:
    """The peers that can be imported."""
    found = []
    for name, module in MODULES.items():
        with contextlib.suppress(ImportError):
            __import__(module)
            found.append(name)
    return found


def cell(peer: Callable[[Row], Closed], row: Row, expected: Closed) -> str:
    """The verdict on one peer; `no` where it has not the operation."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return verdict(peer(row), expected)
        except Exception as reason:
            return f"no ({type(reason).__name__})"


def main() -> None:
    """Print the table, section by section, and how many rows each peer has right."""
    peers = installed()
    right = dict.fromkeys(peers, 0)
    count = 0
    for title, rows in ROWS.items():
        print(f"\n{title}\n{'':43}" + "".join(f"{p:>24}" for p in peers))
        for row in rows:
            expected = truth(row)
            cells = [cell(PEERS[p], row, expected) for p in peers]
            print(f"{row.name:43}" + "".join(f"{c:>24}" for c in cells), flush=True)
            count += 1
            for p, c in zip(peers, cells):
                right[p] += c == "right"
    print(f"\nright, of {count}".ljust(44) + "".join(f"{right[p]:>24}" for p in peers))


if __name__ == "__main__":
    main()
