"""The elementwise functions of symhess: one line each. See `elementwise` for the meaning of the columns."""

from __future__ import annotations

import numpy as np

from symhess.primitives import algebra, references
from symhess.primitives.elementwise import ZERO, elementwise
from symhess.primitives.references import scipy

POSITIVE = (0.1, 3.0)
REAL2 = ((-2.0, 2.0), (-2.0, 2.0))
FRACTION = (-0.9, 0.9)
#: whole numbers: a constant argument
ORDER = (0, 3)


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
elementwise("pow", "x**y", numpy=np.power, kernel="math.pow({0}, {1})", cost=40,
            partials=("where(equal(y, 0), 0, y * x**(y - 1))", "powlog(1, x, y)"),
            domain=(POSITIVE, (-2.0, 3.0)), simplify=algebra.simplify_pow)
elementwise("powlog", "y**z*log(y)**x", numpy=references.powlog, kernel="powlog({0}, {1}, {2})", cost=60,
            partials=(None, "where(equal(where(less(0, z), y, 1), 0), 0, x*powlog(x - 1, y, z - 1)) "
                            "+ where(equal(z, 0), 0, z*powlog(x, y, z - 1))",
                      "powlog(x + 1, y, z)"),
            domain=(ORDER, POSITIVE, (-2.0, 3.0)), simplify=algebra.simplify_powlog)
elementwise("sqrt", "sqrt(x)", numpy=np.sqrt, kernel="math.sqrt({0})", partials=("0.5/u",), cost=6,
            domain=POSITIVE)
elementwise("root", "sqrt(x)", numpy=np.sqrt, kernel="math.sqrt({0})", partials=("safe_div(0.5, u)",), cost=6,
            domain=POSITIVE, doc="the square root of a sum of squares: flat where that is 0")
elementwise("cbrt", "x**Rational(1, 3)", numpy=np.cbrt, kernel="np.cbrt({0})", partials=("1/(3*u*u)",), cost=20,
            domain=POSITIVE)
elementwise("abs", "Abs(x)", numpy=np.abs, kernel="abs({0})", partials=("side(x)",))
elementwise("side", "sign(x)", numpy=references.side, kernel="select({0} < 0, -1.0, 1.0)", partials=(ZERO,),
            doc="the slope of abs: that of the right branch at 0")
elementwise("sign", "sign(x)", numpy=np.sign, kernel="np.sign({0})", partials=(ZERO,))
elementwise("copysign", "Abs(x)*sign(y)", numpy=np.copysign, kernel="math.copysign({0}, {1})",
            partials=("side(x)*copysign(1, y)", ZERO), domain=REAL2)
elementwise("hypot", "sqrt(x**2 + y**2)", numpy=np.hypot, kernel="math.hypot({0}, {1})",
            partials=("safe_div(x, u)", "safe_div(y, u)"), cost=10, domain=REAL2)
# the identity, without a derivative
elementwise("stop_gradient", "x", numpy=np.positive, kernel="({0})", partials=(ZERO,), cost=0,
            simplify=lambda x: x if x.op.name == "stop_gradient" else None)

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
            partials=("sigmoid(where(isnan(x - y), where(equal(x, y), 0, x - y), x - y))",
                      "sigmoid(where(isnan(y - x), where(equal(x, y), 0, y - x), y - x))"), cost=44, domain=REAL2)
elementwise("log1mexp", "log(1 - exp(x))", numpy=references.log1mexp, kernel="log1mexp({0})",
            partials=("-inverse_expm1(-x)",), cost=40, domain=(-3.0, -0.1))
elementwise("inverse_expm1", "1/(exp(x) - 1)", numpy=references.inverse_expm1, kernel="inverse_expm1({0})",
            partials=("-u*(1 + u)",), cost=24, domain=POSITIVE)
elementwise("log_ratio", "log(x) - log(y)", numpy=references.log_ratio, kernel="log_ratio({0}, {1})",
            partials=("1/x", "-1/y"), cost=40, domain=(POSITIVE, POSITIVE))
elementwise("times_log", "x*log(y)", numpy=references.times_log, kernel="times_log({0}, {1})", cost=20,
            partials=("log(y)", "x/where(equal(x, 0), where(equal(y, 0), 1, y), y)"),
            domain=((-2.0, 2.0), POSITIVE), doc="x log(y), and 0 where both are 0")

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
elementwise("sech", "1/cosh(x)", numpy=references.sech, kernel="sech({0})", partials=("-u*tanh(x)",), cost=24)
elementwise("logcosh", "log(cosh(x))", numpy=references.logcosh, kernel="logcosh({0})", partials=("tanh(x)",), cost=40)
elementwise("arcsinh", "asinh(x)", numpy=np.arcsinh, kernel="math.asinh({0})", partials=("1/sqrt(x*x + 1)",), cost=20)
elementwise("arccosh", "acosh(x)", numpy=np.arccosh, kernel="math.acosh({0})",
            partials=("1/(sqrt(x - 1)*sqrt(x + 1))",), cost=20, domain=(1.1, 3.0))
elementwise("arctanh", "atanh(x)", numpy=np.arctanh, kernel="math.atanh({0})", partials=("1/((1 - x)*(1 + x))",),
            cost=20, domain=FRACTION)

# piecewise: at a tie, max and min give half to each side; abs has the slope of its right branch at 0 (as in JAX)
elementwise("maximum", "Max(x, y)", numpy=np.maximum, kernel="maximum({0}, {1})",
            partials=("where(less(x, y), 0, where(equal(x, y), 0.5, 1))",
                      "where(less(y, x), 0, where(equal(x, y), 0.5, 1))"), domain=REAL2)
elementwise("minimum", "Min(x, y)", numpy=np.minimum, kernel="minimum({0}, {1})",
            partials=("where(less(y, x), 0, where(equal(x, y), 0.5, 1))",
                      "where(less(x, y), 0, where(equal(x, y), 0.5, 1))"), domain=REAL2)
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
    elementwise(_name, f"Rel(x, y, '{_relation}')", numpy=_ufunc, kernel=f"({{0}} {_relation} {{1}})",
                partials=(ZERO, ZERO), domain=REAL2, result="bool")
elementwise("logical_and", "x & y", numpy=np.logical_and, kernel="({0} & {1})", partials=(ZERO, ZERO),
            result="bool")
elementwise("logical_or", "x | y", numpy=np.logical_or, kernel="({0} | {1})", partials=(ZERO, ZERO), result="bool")
elementwise("logical_xor", "x ^ y", numpy=np.logical_xor, kernel="({0} != {1})", partials=(ZERO, ZERO),
            result="bool")
elementwise("logical_not", "~x", numpy=np.logical_not, kernel="(not {0})", partials=(ZERO,), result="bool")
elementwise("isnan", "Ne(x, x)", numpy=np.isnan, kernel="math.isnan({0})", partials=(ZERO,), result="bool")
elementwise("isfinite", "Eq(x, x)", numpy=np.isfinite, kernel="math.isfinite({0})", partials=(ZERO,), result="bool")


# special functions. polygamma, iv, jv and their like differentiate by raising the order, which must be a constant
elementwise("erf", "erf(x)", numpy=scipy("erf"), kernel="math.erf({0})", cost=20,
            partials=("1.1283791670955126*exp(-x*x)",))
elementwise("erfc", "erfc(x)", numpy=scipy("erfc"), kernel="math.erfc({0})", cost=20,
            partials=("-1.1283791670955126*exp(-x*x)",))
elementwise("erfcx", "exp(x**2)*erfc(x)", numpy=scipy("erfcx"), kernel="erfcx({0})", cost=30,
            partials=("erfcx_derivative(1, x)",))
elementwise("erfcx_derivative", "diff(exp(z**2)*erfc(z), (z, x)).subs(z, y)", numpy=references.erfcx_derivative,
            kernel="erfcx_derivative({0}, {1})", partials=(None, "erfcx_derivative(x + 1, y)"), cost=200,
            domain=(ORDER, (-2.0, 2.0)))
elementwise("erfinv", "erfinv(x)", numpy=scipy("erfinv"), kernel="erfinv({0})", cost=30,
            partials=("0.886226925452758*exp(u*u)",), domain=FRACTION)
elementwise("ndtr", "erfc(-x/sqrt(2))/2", numpy=scipy("ndtr"), kernel="ndtr({0})", cost=30,
            partials=("0.3989422804014327*exp(-0.5*x*x)",))
elementwise("ndtri", "sqrt(2)*erfinv(2*x - 1)", numpy=scipy("ndtri"), kernel="ndtri({0})", cost=30,
            partials=("2.5066282746310002*exp(0.5*u*u)",), domain=(0.05, 0.95))
elementwise("log_ndtr", "log(erfc(-x/sqrt(2))/2)", numpy=scipy("log_ndtr"), kernel="log_ndtr({0})", cost=30,
            partials=("ndtr_ratio(x)",))
elementwise("ndtr_ratio", "sqrt(2/pi)*exp(-x**2/2)/erfc(-x/sqrt(2))", numpy=references.ndtr_ratio,
            kernel="ndtr_ratio({0})", cost=30,
            partials=("where(less(0, x), -u*(x + u), "
                      "0.886226925452758*u*u*erfcx_derivative(1, -0.7071067811865476*x))",))
elementwise("gamma", "gamma(x)", numpy=scipy("gamma"), kernel="gamma({0})", cost=30, partials=("u*digamma(x)",),
            domain=POSITIVE)
elementwise("gammaln", "loggamma(x)", numpy=scipy("gammaln"), kernel="gammaln({0})", cost=30,
            partials=("digamma(x)",), domain=POSITIVE)
elementwise("digamma", "digamma(x)", numpy=scipy("psi"), kernel="psi({0})", cost=30,
            partials=("polygamma(1, x)",), domain=POSITIVE)
elementwise("polygamma", "polygamma(x, y)", numpy=scipy("polygamma"), kernel="polygamma({0}, {1})", cost=60,
            partials=(None, "polygamma(x + 1, y)"), domain=(ORDER, POSITIVE))
elementwise("betaln", "loggamma(x) + loggamma(y) - loggamma(x + y)", numpy=scipy("betaln"), kernel="betaln({0}, {1})",
            partials=("digamma(x) - digamma(x + y)", "digamma(y) - digamma(x + y)"), cost=90,
            domain=(POSITIVE, POSITIVE))
elementwise("gammainc", "lowergamma(x, y)/gamma(x)", numpy=scipy("gammainc"), kernel="gammainc({0}, {1})", cost=60,
            partials=(None, "exp((x - 1)*log(y) - y - gammaln(x))"), domain=(POSITIVE, POSITIVE))
elementwise("gammaincc", "uppergamma(x, y)/gamma(x)", numpy=scipy("gammaincc"), kernel="gammaincc({0}, {1})", cost=60,
            partials=(None, "-exp((x - 1)*log(y) - y - gammaln(x))"), domain=(POSITIVE, POSITIVE))
elementwise("i0", "besseli(0, x)", numpy=scipy("i0"), kernel="i0({0})", partials=("i1(x)",), cost=30)
elementwise("i1", "besseli(1, x)", numpy=scipy("i1"), kernel="i1({0})", partials=("0.5*(i0(x) + iv(2, x))",), cost=30)
elementwise("iv", "besseli(x, y)", numpy=scipy("iv"), kernel="iv({0}, {1})", cost=60,
            partials=(None, "0.5*(iv(x - 1, y) + iv(x + 1, y))"), domain=(ORDER, POSITIVE))
elementwise("i0e", "exp(-Abs(x))*besseli(0, x)", numpy=scipy("i0e"), kernel="i0e({0})",
            partials=("i1e(x) - sign(x)*u",), cost=30)
elementwise("i1e", "exp(-Abs(x))*besseli(1, x)", numpy=scipy("i1e"), kernel="i1e({0})",
            partials=("0.5*(i0e(x) + ive(2, x)) - sign(x)*u",), cost=30)
elementwise("ive", "exp(-Abs(y))*besseli(x, y)", numpy=scipy("ive"), kernel="ive({0}, {1})", cost=60,
            partials=(None, "0.5*(ive(x - 1, y) + ive(x + 1, y)) - sign(y)*u"), domain=(ORDER, POSITIVE))
elementwise("j0", "besselj(0, x)", numpy=scipy("j0"), kernel="j0({0})", partials=("-j1(x)",), cost=30)
elementwise("j1", "besselj(1, x)", numpy=scipy("j1"), kernel="j1({0})", partials=("0.5*(j0(x) - jv(2, x))",), cost=30)
elementwise("jv", "besselj(x, y)", numpy=scipy("jv"), kernel="jv({0}, {1})", cost=60,
            partials=(None, "0.5*(jv(x - 1, y) - jv(x + 1, y))"), domain=(ORDER, POSITIVE))

# quotients with a removable singularity: exact at 0 to every order, by power series
elementwise("sinc", "sin(pi*x)/(pi*x)", numpy=np.sinc, kernel="sinc({0})", cost=30,
            partials=("3.141592653589793*sinc_derivative(1, 3.141592653589793*x)",), domain=(0.1, 0.9))
elementwise("sinc_derivative", "diff(sin(z)/z, (z, x)).subs(z, y)", numpy=references.sinc_derivative,
            kernel="sinc_derivative({0}, {1})", partials=(None, "sinc_derivative(x + 1, y)"), cost=60,
            domain=(ORDER, (0.1, 2.0)))
elementwise("exprel", "(exp(x) - 1)/x", numpy=scipy("exprel"), kernel="exprel({0})", cost=30,
            partials=("exprel_derivative(1, x)",), domain=POSITIVE)
elementwise("exprel_derivative", "diff((exp(z) - 1)/z, (z, x)).subs(z, y)", numpy=references.exprel_derivative,
            kernel="exprel_derivative({0}, {1})", partials=(None, "exprel_derivative(x + 1, y)"), cost=60,
            domain=(ORDER, POSITIVE))

# entropies and log-odds: x log(x) and its like are 0 at x = 0
elementwise("xlogy", "x*log(y)", numpy=scipy("xlogy"), kernel="xlogy({0}, {1})", cost=20,
            partials=("log(y)", "x/where(equal(x, 0), where(equal(y, 0), 1, y), y)"),
            domain=((-2.0, 2.0), POSITIVE))
elementwise("xlog1py", "x*log(1 + y)", numpy=scipy("xlog1py"), kernel="xlog1py({0}, {1})", cost=20,
            partials=("log1p(y)", "x/where(equal(x, 0), where(equal(y, -1), 1, 1 + y), 1 + y)"),
            domain=((-2.0, 2.0), FRACTION))
elementwise("entr", "-x*log(x)", numpy=scipy("entr"), kernel="entr({0})", cost=20, partials=("-log(x) - 1",),
            domain=POSITIVE)
elementwise("rel_entr", "x*log(x/y)", numpy=scipy("rel_entr"), kernel="rel_entr({0}, {1})", cost=24,
            partials=("log(x/y) + 1", "-(x/y)"), domain=(POSITIVE, POSITIVE))
elementwise("kl_div", "x*log(x/y) - x + y", numpy=scipy("kl_div"), kernel="kl_div({0}, {1})", cost=24,
            partials=("log(x/y)", "1 - x/y"), domain=(POSITIVE, POSITIVE))
elementwise("logit", "log(x/(1 - x))", numpy=scipy("logit"), kernel="logit({0})", cost=24,
            partials=("1/(x*(1 - x))",), domain=(0.05, 0.95))
elementwise("log_expit", "-log(1 + exp(-x))", numpy=scipy("log_expit"), kernel="(-softplus(-{0}))", cost=40,
            partials=("sigmoid(-x)",))
