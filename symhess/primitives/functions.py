"""The elementwise functions of symhess: one line each. See `elementwise` for the meaning of the columns."""

from __future__ import annotations

import numpy as np

from symhess.primitives import algebra
from symhess.primitives.elementwise import ZERO, elementwise

POSITIVE = (0.1, 3.0)
REAL2 = ((-2.0, 2.0), (-2.0, 2.0))
FRACTION = (-0.9, 0.9)


def expit(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)) without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# arithmetic
elementwise("add", "x + y", numpy=np.add, kernel="({0} + {1})", partials=("1", "1"), domain=REAL2,
            simplify=algebra.simplify_add)
elementwise("sub", "x - y", numpy=np.subtract, kernel="({0} - {1})", partials=("1", "-1"), domain=REAL2,
            simplify=algebra.simplify_sub)
elementwise("mul", "x*y", numpy=np.multiply, kernel="({0} * {1})", partials=("y", "x"), domain=REAL2,
            simplify=algebra.simplify_mul)
elementwise("div", "x/y", numpy=np.divide, kernel="({0} / {1})", partials=("1/y", "-(u/y)"), cost=4,
            domain=((-2.0, 2.0), POSITIVE), simplify=algebra.simplify_div)
elementwise("neg", "-x", numpy=np.negative, kernel="(-{0})", partials=("-1",), simplify=algebra.simplify_neg)
elementwise("pow", "x**y", numpy=np.power, kernel="math.pow({0}, {1})", partials=("y * x**(y - 1)", "u * log(x)"),
            cost=40, domain=(POSITIVE, (-2.0, 3.0)), simplify=algebra.simplify_pow)
elementwise("sqrt", "sqrt(x)", numpy=np.sqrt, kernel="math.sqrt({0})", partials=("0.5/u",), cost=6,
            domain=POSITIVE)
elementwise("cbrt", "x**Rational(1, 3)", numpy=np.cbrt, kernel="np.cbrt({0})", partials=("u/(3*x)",), cost=20,
            domain=POSITIVE)
elementwise("abs", "Abs(x)", numpy=np.abs, kernel="abs({0})", partials=("sign(x)",))
elementwise("sign", "sign(x)", numpy=np.sign, kernel="np.sign({0})", partials=(ZERO,))
elementwise("copysign", "Abs(x)*sign(y)", numpy=np.copysign, kernel="math.copysign({0}, {1})",
            partials=("sign(x)*copysign(1, y)", ZERO), domain=REAL2)
elementwise("hypot", "sqrt(x**2 + y**2)", numpy=np.hypot, kernel="math.hypot({0}, {1})",
            partials=("safe_div(x, u)", "safe_div(y, u)"), cost=10, domain=REAL2)

# exponentials and logarithms
elementwise("exp", "exp(x)", numpy=np.exp, kernel="math.exp({0})", partials=("u",), cost=20)
elementwise("exp2", "2**x", numpy=np.exp2, kernel="math.pow(2.0, {0})", partials=("0.6931471805599453*u",), cost=20)
elementwise("expm1", "exp(x) - 1", numpy=np.expm1, kernel="math.expm1({0})", partials=("exp(x)",), cost=20)
elementwise("log", "log(x)", numpy=np.log, kernel="math.log({0})", partials=("1/x",), cost=20, domain=POSITIVE)
elementwise("log2", "log(x)/log(2)", numpy=np.log2, kernel="math.log2({0})", partials=("1.4426950408889634/x",),
            cost=20, domain=POSITIVE)
elementwise("log10", "log(x)/log(10)", numpy=np.log10, kernel="math.log10({0})", partials=("0.4342944819032518/x",),
            cost=20, domain=POSITIVE)
elementwise("log1p", "log(1 + x)", numpy=np.log1p, kernel="math.log1p({0})", partials=("1/(1 + x)",), cost=20,
            domain=FRACTION)
elementwise("sigmoid", "1/(1 + exp(-x))", numpy=expit, kernel="sigmoid({0})", partials=("u*sigmoid(-x)",), cost=24)
elementwise("softplus", "log(1 + exp(x))", numpy=softplus, kernel="softplus({0})", partials=("sigmoid(x)",), cost=40)
elementwise("logaddexp", "log(exp(x) + exp(y))", numpy=np.logaddexp, kernel="logaddexp({0}, {1})",
            partials=("sigmoid(x - y)", "sigmoid(y - x)"), cost=44, domain=REAL2)

# circular and hyperbolic functions
elementwise("sin", "sin(x)", numpy=np.sin, kernel="math.sin({0})", partials=("cos(x)",), cost=20)
elementwise("cos", "cos(x)", numpy=np.cos, kernel="math.cos({0})", partials=("-sin(x)",), cost=20)
elementwise("tan", "tan(x)", numpy=np.tan, kernel="math.tan({0})", partials=("1 + u*u",), cost=20, domain=(-1.4, 1.4))
elementwise("arcsin", "asin(x)", numpy=np.arcsin, kernel="math.asin({0})", partials=("1/sqrt((1 - x)*(1 + x))",),
            cost=20, domain=FRACTION)
elementwise("arccos", "acos(x)", numpy=np.arccos, kernel="math.acos({0})", partials=("-1/sqrt((1 - x)*(1 + x))",),
            cost=20, domain=FRACTION)
elementwise("arctan", "atan(x)", numpy=np.arctan, kernel="math.atan({0})", partials=("1/(1 + x*x)",), cost=20)
elementwise("arctan2", "atan2(x, y)", numpy=np.arctan2, kernel="math.atan2({0}, {1})",
            partials=("y/(x*x + y*y)", "-x/(x*x + y*y)"), cost=24, domain=((0.2, 2.0), (-2.0, 2.0)))
elementwise("sinh", "sinh(x)", numpy=np.sinh, kernel="math.sinh({0})", partials=("cosh(x)",), cost=20)
elementwise("cosh", "cosh(x)", numpy=np.cosh, kernel="math.cosh({0})", partials=("sinh(x)",), cost=20)
elementwise("tanh", "tanh(x)", numpy=np.tanh, kernel="math.tanh({0})", partials=("(1 - u)*(1 + u)",), cost=20)
elementwise("arcsinh", "asinh(x)", numpy=np.arcsinh, kernel="math.asinh({0})", partials=("1/sqrt(x*x + 1)",), cost=20)
elementwise("arccosh", "acosh(x)", numpy=np.arccosh, kernel="math.acosh({0})",
            partials=("1/(sqrt(x - 1)*sqrt(x + 1))",), cost=20, domain=(1.1, 3.0))
elementwise("arctanh", "atanh(x)", numpy=np.arctanh, kernel="math.atanh({0})", partials=("1/((1 - x)*(1 + x))",),
            cost=20, domain=FRACTION)

# piecewise: at a tie, max and min give half to each side, abs and sign are flat (the conventions of JAX)
elementwise("maximum", "Max(x, y)", numpy=np.maximum, kernel="maximum({0}, {1})",
            partials=("0.5*(1 + sign(x - y))", "0.5*(1 + sign(y - x))"), domain=REAL2)
elementwise("minimum", "Min(x, y)", numpy=np.minimum, kernel="minimum({0}, {1})",
            partials=("0.5*(1 + sign(y - x))", "0.5*(1 + sign(x - y))"), domain=REAL2)
elementwise("floor", "floor(x)", numpy=np.floor, kernel="np.floor({0})", partials=(ZERO,), nargs=1)
elementwise("ceil", "ceiling(x)", numpy=np.ceil, kernel="np.ceil({0})", partials=(ZERO,))
elementwise("trunc", "sign(x)*floor(Abs(x))", numpy=np.trunc, kernel="np.trunc({0})", partials=(ZERO,))
elementwise("rint", "floor(x + Rational(1, 2))", numpy=np.rint, kernel="np.rint({0})", partials=(ZERO,))
elementwise("remainder", "x - y*floor(x/y)", numpy=np.remainder, kernel="np.remainder({0}, {1})",
            partials=("1", "-floor(x/y)"), cost=20, domain=((-2.0, 2.0), (0.3, 3.0)))
elementwise("fmod", "x - y*sign(x/y)*floor(Abs(x/y))", numpy=np.fmod, kernel="np.fmod({0}, {1})",
            partials=("1", "-trunc(x/y)"), cost=20, domain=((-2.0, 2.0), (0.3, 3.0)))
elementwise("where", "Piecewise((y, x), (z, True))", numpy=np.where, kernel="select({0}, {1}, {2})",
            domain=((0.0, 1.0), (-2.0, 2.0), (-2.0, 2.0)), partials=(ZERO, "1", "1"),
            simplify=algebra.simplify_where)

# comparisons and logic: no derivative
for _name, _relation, _ufunc in (
    ("less", "<", np.less), ("less_equal", "<=", np.less_equal), ("greater", ">", np.greater),
    ("greater_equal", ">=", np.greater_equal), ("equal", "==", np.equal), ("not_equal", "!=", np.not_equal),
):
    elementwise(_name, f"x {_relation} y", numpy=_ufunc, kernel=f"({{0}} {_relation} {{1}})",
                partials=(ZERO, ZERO), domain=REAL2, result="bool")
elementwise("logical_and", "x & y", numpy=np.logical_and, kernel="({0} & {1})", partials=(ZERO, ZERO),
            result="bool")
elementwise("logical_or", "x | y", numpy=np.logical_or, kernel="({0} | {1})", partials=(ZERO, ZERO), result="bool")
elementwise("logical_xor", "x ^ y", numpy=np.logical_xor, kernel="({0} != {1})", partials=(ZERO, ZERO),
            result="bool")
elementwise("logical_not", "~x", numpy=np.logical_not, kernel="(not {0})", partials=(ZERO,), result="bool")
elementwise("isnan", "Ne(x, x)", numpy=np.isnan, kernel="math.isnan({0})", partials=(ZERO,), result="bool")
elementwise("isfinite", "Eq(x, x)", numpy=np.isfinite, kernel="math.isfinite({0})", partials=(ZERO,), result="bool")
