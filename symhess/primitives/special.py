"""More special functions, one line each; a column of `partials` that is None is an argument that must be constant."""

from __future__ import annotations

from symhess.graph.node import Node, constant, scalar_value
from symhess.primitives import references
from symhess.primitives.elementwise import apply, elementwise
from symhess.primitives.functions import FRACTION, ORDER, POSITIVE
from symhess.primitives.references import scipy


def simplify_expn(n: Node, x: Node) -> Node | None:
    """E_0(x) = exp(-x)/x,  E_-1(x) = exp(-x)/x (1 + 1/x): orders that end the chain of derivatives."""
    order = scalar_value(n)
    if order is None or n.ndim or order > 0:
        return None
    base = apply("div", apply("exp", apply("neg", x)), x)
    if order == 0:
        return base
    lower = apply("mul", apply("neg", n), apply("div", apply("expn", constant(order + 1, n.dtype), x), x))
    return apply("add", base, lower)


# Bessel functions: orders are constants, derivatives go to the neighbouring ones
elementwise("kv", "besselk(x, y)", numpy=scipy("kv"), kernel="kv({0}, {1})", cost=100,
            partials=(None, "-0.5*(kv(x - 1, y) + kv(x + 1, y))"), domain=(ORDER, POSITIVE))
elementwise("kve", "exp(y)*besselk(x, y)", numpy=scipy("kve"), kernel="kve({0}, {1})", cost=100,
            partials=(None, "u - 0.5*(kve(x - 1, y) + kve(x + 1, y))"), domain=(ORDER, POSITIVE))
elementwise("k0", "besselk(0, x)", numpy=scipy("k0"), kernel="k0({0})", partials=("-k1(x)",), cost=30, domain=POSITIVE)
elementwise("k1", "besselk(1, x)", numpy=scipy("k1"), kernel="k1({0})", partials=("-(k0(x) + u/x)",), cost=30,
            domain=POSITIVE)
elementwise("k0e", "exp(x)*besselk(0, x)", numpy=scipy("k0e"), kernel="k0e({0})", partials=("u - k1e(x)",), cost=30,
            domain=POSITIVE)
elementwise("k1e", "exp(x)*besselk(1, x)", numpy=scipy("k1e"), kernel="k1e({0})", partials=("u - k0e(x) - u/x",),
            cost=30, domain=POSITIVE)
elementwise("yv", "bessely(x, y)", numpy=scipy("yv"), kernel="yv({0}, {1})", cost=100,
            partials=(None, "0.5*(yv(x - 1, y) - yv(x + 1, y))"), domain=(ORDER, POSITIVE))
elementwise("y0", "bessely(0, x)", numpy=scipy("y0"), kernel="y0({0})", partials=("-y1(x)",), cost=30, domain=POSITIVE)
elementwise("y1", "bessely(1, x)", numpy=scipy("y1"), kernel="y1({0})", partials=("y0(x) - u/x",), cost=30,
            domain=POSITIVE)
for _name, _formula, _below, _above in (
    ("spherical_jn", "sqrt(pi/(2*y))*besselj(x + Rational(1, 2), y)", "x", "-(x + 1)"),
    ("spherical_yn", "sqrt(pi/(2*y))*bessely(x + Rational(1, 2), y)", "x", "-(x + 1)"),
    ("spherical_in", "sqrt(pi/(2*y))*besseli(x + Rational(1, 2), y)", "x", "(x + 1)"),
    ("spherical_kn", "sqrt(pi/(2*y))*besselk(x + Rational(1, 2), y)", "-x", "-(x + 1)"),
):
    elementwise(_name, _formula, numpy=references.spherical(_name), kernel=f"{_name}({{0}}, {{1}})", cost=100,
                partials=(None, f"({_below}*{_name}(maximum(x - 1, 0), y) + {_above}*{_name}(x + 1, y))/(2*x + 1)"),
                domain=(ORDER, POSITIVE))

# gamma, beta, zeta
elementwise("rgamma", "1/gamma(x)", numpy=scipy("rgamma"), kernel="rgamma({0})", partials=("-u*digamma(x)",), cost=30,
            domain=POSITIVE)
elementwise("beta", "gamma(x)*gamma(y)/gamma(x + y)", numpy=scipy("beta"), kernel="beta({0}, {1})", cost=90,
            partials=("u*(digamma(x) - digamma(x + y))", "u*(digamma(y) - digamma(x + y))"),
            domain=(POSITIVE, POSITIVE))
elementwise("poch", "gamma(x + y)/gamma(x)", numpy=scipy("poch"), kernel="poch({0}, {1})", cost=60,
            partials=("u*(digamma(x + y) - digamma(x))", "u*digamma(x + y)"), domain=(POSITIVE, POSITIVE))
elementwise("binom", "gamma(x + 1)/(gamma(y + 1)*gamma(x - y + 1))", numpy=scipy("binom"), kernel="binom({0}, {1})",
            partials=("u*(digamma(x + 1) - digamma(x - y + 1))", "u*(digamma(x - y + 1) - digamma(y + 1))"),
            cost=90, domain=((3.1, 5.0), (0.1, 2.9)))
elementwise("zeta", "zeta(x, y)", numpy=scipy("zeta"), kernel="zeta({0}, {1})", cost=60,
            partials=(None, "-x*zeta(x + 1, y)"), domain=((2, 4), POSITIVE))
elementwise("betainc", "z**x*gamma(x + y)/(gamma(x + 1)*gamma(y))*hyper((x, 1 - y), (x + 1,), z)",
            numpy=scipy("betainc"), kernel="betainc({0}, {1}, {2})", cost=200,
            partials=(None, None, "exp(xlogy(x - 1, z) + xlog1py(y - 1, -z) - betaln(x, y))"),
            domain=((1, 3), (1, 3), (0.1, 0.9)))
elementwise("stdtr", "Rational(1, 2) + y*gamma((x + 1)/2)/(sqrt(pi*x)*gamma(x/2))*hyper((Rational(1, 2), (x + 1)/2), "
            "(Rational(3, 2),), -y**2/x)", numpy=scipy("stdtr"), kernel="stdtr({0}, {1})", cost=200,
            partials=(None, "exp(-(x + 1)/2*log1p(y*y/x) - betaln(x/2, 0.5) - 0.5*log(x))"),
            domain=((1, 4), (-2.0, 2.0)))

# error functions, exponential and elliptic integrals, hypergeometric functions, Lambert's W
elementwise("erfcinv", "erfinv(1 - x)", numpy=scipy("erfcinv"), kernel="erfcinv({0})", cost=30,
            partials=("-0.886226925452758*exp(u*u)",), domain=(0.1, 1.9))
elementwise("erfi", "erfi(x)", numpy=scipy("erfi"), kernel="erfi({0})", cost=30,
            partials=("1.1283791670955126*exp(x*x)",))
elementwise("dawsn", "exp(-x**2)*erfi(x)*sqrt(pi)/2", numpy=scipy("dawsn"), kernel="dawsn({0})", cost=30,
            partials=("1 - 2*x*u",))
elementwise("expi", "Ei(x)", numpy=scipy("expi"), kernel="expi({0})", partials=("exp(x)/x",), cost=30, domain=POSITIVE)
elementwise("exp1", "expint(1, x)", numpy=scipy("exp1"), kernel="exp1({0})", partials=("-exp(-x)/x",), cost=30,
            domain=POSITIVE)
elementwise("expn", "expint(x, y)", numpy=scipy("expn"), kernel="expn({0}, {1})", partials=(None, "-expn(x - 1, y)"),
            cost=60, domain=((1, 3), POSITIVE), simplify=simplify_expn)
elementwise("ellipk", "elliptic_k(x)", numpy=scipy("ellipk"), kernel="ellipk({0})", cost=30,
            partials=("ellipk_derivative(1, x)",), domain=FRACTION)
elementwise("ellipk_derivative", "pi/2*rf(Rational(1, 2), x)**2/factorial(x)*hyper((x + Rational(1, 2), "
            "x + Rational(1, 2)), (x + 1,), y)", numpy=references.ellipk_derivative, cost=200,
            kernel="ellipk_derivative({0}, {1})", partials=(None, "ellipk_derivative(x + 1, y)"),
            domain=(ORDER, FRACTION))
elementwise("ellipe", "elliptic_e(x)", numpy=scipy("ellipe"), kernel="ellipe({0})", cost=30,
            partials=("ellipe_derivative(1, x)",), domain=FRACTION)
elementwise("ellipe_derivative", "pi/2*rf(-Rational(1, 2), x)*rf(Rational(1, 2), x)/factorial(x)*hyper(("
            "x - Rational(1, 2), x + Rational(1, 2)), (x + 1,), y)", numpy=references.ellipe_derivative, cost=200,
            kernel="ellipe_derivative({0}, {1})", partials=(None, "ellipe_derivative(x + 1, y)"),
            domain=(ORDER, FRACTION))
elementwise("hyp0f1", "hyper((), (x,), y)", numpy=scipy("hyp0f1"), kernel="hyp0f1({0}, {1})", cost=100,
            partials=(None, "hyp0f1(x + 1, y)/x"), domain=((1, 3), POSITIVE))
elementwise("hyp1f1", "hyper((x,), (y,), z)", numpy=scipy("hyp1f1"), kernel="hyp1f1({0}, {1}, {2})", cost=100,
            partials=(None, None, "x/y*hyp1f1(x + 1, y + 1, z)"), domain=((1, 3), (1, 3), (-2.0, 2.0)))
elementwise("lambertw", "LambertW(y, x)", numpy=references.lambertw, kernel="lambertw({0}, {1})", cost=100,
            partials=(None, "exp(-u)/(1 + u)"), domain=((0, 0), POSITIVE))

# powers
elementwise("exp10", "10**x", numpy=scipy("exp10"), kernel="exp10({0})", partials=("2.302585092994046*u",), cost=20)
elementwise("boxcox", "(x**y - 1)/y", numpy=scipy("boxcox"), kernel="boxcox({0}, {1})", cost=60,
            partials=("x**(y - 1)", "log(x)*log(x)*exprel_derivative(1, y*log(x))"), domain=(POSITIVE, POSITIVE))
elementwise("boxcox1p", "((1 + x)**y - 1)/y", numpy=scipy("boxcox1p"), kernel="boxcox1p({0}, {1})", cost=60,
            partials=("exp((y - 1)*log1p(x))", "log1p(x)*log1p(x)*exprel_derivative(1, y*log1p(x))"),
            domain=(POSITIVE, POSITIVE))
elementwise("inv_boxcox", "(1 + x*y)**(1/y)", numpy=scipy("inv_boxcox"), kernel="inv_boxcox({0}, {1})", cost=60,
            partials=("u/(1 + x*y)", "u*(x/(1 + x*y) - log1p(x*y)/y)/y"), domain=(POSITIVE, POSITIVE))
elementwise("inv_boxcox1p", "(1 + x*y)**(1/y) - 1", numpy=scipy("inv_boxcox1p"), kernel="inv_boxcox1p({0}, {1})",
            partials=("(1 + u)/(1 + x*y)", "(1 + u)*(x/(1 + x*y) - log1p(x*y)/y)/y"), cost=60,
            domain=(POSITIVE, POSITIVE))
