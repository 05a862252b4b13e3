"""scipy.special: the ufuncs that are primitives or compositions of some, and functions that are not ufuncs.

Orders (of Bessel functions, shapes of incomplete gamma functions and the like) have to be constants where the function
has no closed derivative by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.errors import UnsupportedOperation
from symhess.graph.node import Node, scalar_value
from symhess.primitives import apply, cast
from symhess.trace.functions import finished, implements, unsupported
from symhess.trace.session import here
from symhess.trace.shaping import traced
from symhess.trace.ufuncs import COMPOSED, SAME, align, like, node_of_any

#: ufuncs whose primitive has the same name
SAME.update((name, name) for name in (
    "jv", "iv", "ive", "kv", "kve", "k0", "k1", "k0e", "k1e", "yv", "y0", "y1", "rgamma", "beta", "poch", "binom",
    "betainc", "stdtr", "erfcinv", "erfi", "dawsn", "expi", "exp1", "ellipk", "ellipe", "hyp0f1", "hyp1f1", "exp10",
    "boxcox", "boxcox1p", "inv_boxcox", "inv_boxcox1p"))
SAME.update({"jve": "jv", "_zeta": "zeta"})


def _floats(*nodes: Node) -> list[Node]:
    """Whole orders come as int64; they are numbers to a primitive."""
    dtype = next((n.dtype for n in nodes if n.dtype.kind == "f"), np.dtype(np.float64))
    return [cast(n, dtype) for n in nodes]


def _entry(*names: str) -> Callable:
    """Enter a composition; its arguments are nodes of one floating dtype."""
    def enter(rule: Callable[..., Node]) -> Callable[..., Node]:
        for name in names:
            COMPOSED[name] = lambda *nodes: rule(*_floats(*nodes))
        return rule

    return enter


for _name, _primitive in (("kn", "kv"), ("yn", "yv"), ("expn", "expn"), *(
        (f"_spherical_{kind}n", f"spherical_{kind}n") for kind in "jyik")):
    _entry(_name)(lambda n, x, op=_primitive: apply(op, n, x))
for _name, _ufunc in (("sindg", "sin"), ("cosdg", "cos"), ("tandg", "tan")):
    _entry(_name)(lambda x, op=_ufunc: apply(op, apply("mul", like(math.pi / 180, x), x)))


@_entry("loggamma")
def _loggamma(x: Node) -> Node:
    """The complex logarithm is not real for x < 0; gammaln is."""
    return apply("where", apply("less", x, like(0, x)), like(math.nan, x), apply("gammaln", x))


@_entry("cosm1")
def _cosm1(x: Node) -> Node:
    """cos(x) - 1 = -2 sin(x/2)^2."""
    s = apply("sin", apply("mul", like(0.5, x), x))
    return apply("mul", like(-2, x), apply("mul", s, s))


@_entry("powm1")
def _powm1(x: Node, y: Node) -> Node:
    """x^y - 1 = expm1(y log x) for x > 0."""
    positive = apply("less", like(0, x), x)
    safe = apply("where", positive, x, like(1, x))
    direct = apply("sub", apply("pow", x, y), like(1, x))
    return apply("where", positive, apply("expm1", apply("mul", y, apply("log", safe))), direct)


@_entry("huber")
def _huber(delta: Node, r: Node) -> Node:
    """r^2/2 where |r| <= delta, delta (|r| - delta/2) beyond, infinite for a negative delta."""
    size, half = apply("abs", r), like(0.5, r)
    beyond = apply("mul", delta, apply("sub", size, apply("mul", half, delta)))
    inside = apply("where", apply("less_equal", size, delta), apply("mul", half, apply("mul", r, r)), beyond)
    return apply("where", apply("less", delta, like(0, r)), like(math.inf, r), inside)


@_entry("pseudo_huber")
def _pseudo_huber(delta: Node, r: Node) -> Node:
    """delta^2 (sqrt(1 + (r/delta)^2) - 1) = r^2 / (1 + sqrt(1 + (r/delta)^2)); 0 for delta = 0."""
    zero, one = like(0, r), like(1, r)
    at_zero = apply("equal", delta, zero)
    ratio = apply("div", r, apply("where", at_zero, one, delta))
    root = apply("sqrt", apply("add", one, apply("mul", ratio, ratio)))
    inside = apply("where", at_zero, zero, apply("div", apply("mul", r, r), apply("add", one, root)))
    return apply("where", apply("less", delta, zero), like(math.inf, r), inside)


# -- distribution functions: incomplete gamma and beta functions -----------------------------------------------------


def _one_more_than(k: Node) -> Node:
    return apply("add", apply("floor", k), like(1, k))


def _half(x: Node) -> Node:
    return apply("mul", like(0.5, x), x)


def _complement(x: Node) -> Node:
    return apply("sub", like(1, x), x)


_entry("betaincc")(lambda a, b, x: apply("betainc", b, a, _complement(x)))
_entry("chdtr")(lambda v, x: apply("gammainc", _half(v), _half(x)))
_entry("chdtrc")(lambda v, x: apply("gammaincc", _half(v), _half(x)))
_entry("gdtr")(lambda a, b, x: apply("gammainc", b, apply("mul", a, x)))
_entry("gdtrc")(lambda a, b, x: apply("gammaincc", b, apply("mul", a, x)))
_entry("pdtr")(lambda k, m: apply("gammaincc", _one_more_than(k), m))
_entry("pdtrc")(lambda k, m: apply("gammainc", _one_more_than(k), m))
_entry("bdtr")(lambda k, n, p: apply("betainc", apply("sub", n, apply("floor", k)), _one_more_than(k), _complement(p)))
_entry("bdtrc")(lambda k, n, p: apply("betainc", _one_more_than(k), apply("sub", n, apply("floor", k)), p))
_entry("nbdtr")(lambda k, n, p: apply("betainc", n, _one_more_than(k), p))


@_entry("fdtr")
def _fdtr(d1: Node, d2: Node, x: Node) -> Node:
    """I(d1/2, d2/2; d1 x/(d2 + d1 x))."""
    scaled = apply("mul", d1, x)
    return apply("betainc", _half(d1), _half(d2), apply("div", scaled, apply("add", d2, scaled)))


# -- orthogonal polynomials ----------------------------------------------------------------------------------------


def _polynomial(name: str, second: Callable, step: Callable) -> Callable[..., Node]:
    """A polynomial of constant degree n: p_0 = 1, p_1 = second(x), p_{k+1} = step(k, x, p_k, p_{k-1})."""
    def rule(degree: Node, x: Node) -> Node:
        n = scalar_value(degree)
        if n is None or n != math.floor(n) or n < 0:
            raise UnsupportedOperation(f"{name} of a degree that is not one constant whole number{here()}; call it "
                                       "once per degree")
        t = finished(x)
        before, p = t * 0 + 1.0, second(t)
        for k in range(1, int(n)):
            before, p = p, step(k, t, p, before)
        return (before if n == 0 else p).node

    return rule


for _name, _second, _step in (
    ("eval_legendre", lambda x: x, lambda k, x, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1)),
    ("eval_chebyt", lambda x: x, lambda k, x, p, q: 2 * x * p - q),
    ("eval_chebyu", lambda x: 2 * x, lambda k, x, p, q: 2 * x * p - q),
    ("eval_hermite", lambda x: 2 * x, lambda k, x, p, q: 2 * x * p - 2 * k * q),
    ("eval_hermitenorm", lambda x: x, lambda k, x, p, q: x * p - k * q),
    ("eval_laguerre", lambda x: 1 - x, lambda k, x, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1)),
):
    _entry(_name)(_polynomial(_name, _second, _step))


# -- functions that are not ufuncs ---------------------------------------------------------------------------------


def _of_nodes(name: str, *args: Any) -> Any:
    """The primitive called `name` on traced values and numbers."""
    return finished(apply(name, *align(_floats(*(node_of_any(a) for a in args)))))


def multigammaln(a: Any, d: int) -> Any:
    """log of the multivariate gamma function."""
    import scipy.special as special

    return sum(special.gammaln(a + (1 - j) / 2) for j in range(1, d + 1)) + d * (d - 1) / 4 * np.log(np.pi)


def softplus(x: Any, **options: Any) -> Any:
    """log(1 + exp(x))."""
    return _of_nodes("softplus", x)


def zeta(x: Any, q: Any = None, out: Any = None) -> Any:
    """Hurwitz' zeta, differentiable by q."""
    return _of_nodes("zeta", x, 1.0 if q is None else q)


def lambertw(z: Any, k: Any = 0, tol: float = 1e-8) -> Any:
    """A real branch, NaN where it is complex: real numbers, where SciPy gives complex ones."""
    return _of_nodes("lambertw", k, z)


def factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    """gamma(n + 1), 0 for negative n."""
    if exact or extend != "zero":
        raise unsupported("special.factorial with exact=True or another extension")
    n = traced(n)
    return np.where(n < 0, 0.0, finished(apply("gamma", _floats((n + 1).node)[0])))


def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:
    """N!/(k! (N - k)!), 0 outside of 0 <= k <= N."""
    if exact:
        raise unsupported("special.comb with exact=True")
    N = N + k - 1 if repetition else N
    inside = np.logical_and(np.less_equal(k, N), np.logical_and(np.greater_equal(N, 0), np.greater_equal(k, 0)))
    return np.where(inside, _of_nodes("binom", N, k), 0.0)


def perm(N: Any, k: Any, exact: bool = False) -> Any:
    """N!/(N - k)!, 0 outside of 0 <= k <= N."""
    if exact:
        raise unsupported("special.perm with exact=True")
    inside = np.logical_and(np.less_equal(k, N), np.logical_and(np.greater_equal(N, 0), np.greater_equal(k, 0)))
    return np.where(inside, _of_nodes("poch", np.subtract(N, k) + 1.0, k), 0.0)


def _spherical(name: str, above: str) -> Callable:
    def rule(n: Any, z: Any, derivative: bool = False) -> Any:
        if not derivative:
            return _of_nodes(name, n, z)
        n = np.asarray(n)
        down = np.where(n > 0, n, 0) * _of_nodes(name, np.abs(n - 1), z)
        up = (n + 1) * _of_nodes(name, n + 1, z)
        down = -down if name == "spherical_kn" else down
        return (down + up if above == "+" else down - up) / (2 * n + 1)

    return rule


@implements(np.i0)
def i0(x: Any) -> Any:
    return _of_nodes("i0", x)


def polygamma(n: Any, x: Any) -> Any:
    """The n-th derivative of digamma."""
    return _of_nodes("polygamma", n, x)


#: function of scipy.special -> the same on traced values
RULES: dict[str, Callable[..., Any]] = {
    "multigammaln": multigammaln, "polygamma": polygamma, "softplus": softplus, "zeta": zeta, "lambertw": lambertw,
    "factorial": factorial,
    "comb": comb, "perm": perm, "spherical_jn": _spherical("spherical_jn", "-"),
    "spherical_yn": _spherical("spherical_yn", "-"), "spherical_in": _spherical("spherical_in", "+"),
    "spherical_kn": _spherical("spherical_kn", "-"),
}
