"""scipy.special and the math module on traced numbers: value, first and second derivative against mpmath."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.special as special

from symhess import hessian_jit
from symhess.errors import NotDifferentiable, UnsupportedOperation

m = mpmath
POINTS = (0.3, 0.7, 1.6)
#: function, the same in mpmath, and points other than POINTS
SPECIAL = {
    "erf": (special.erf, m.erf),
    "erfc": (special.erfc, m.erfc),
    "erfcx": (special.erfcx, lambda x: m.exp(x * x) * m.erfc(x)),
    "gammaln": (special.gammaln, m.loggamma),
    "loggamma": (special.loggamma, m.loggamma),
    "digamma": (special.digamma, m.digamma),
    "psi": (special.psi, m.digamma),
    "polygamma2": (lambda x: special.polygamma(2, x), lambda x: m.psi(2, x)),
    "polygamma0": (lambda x: special.polygamma(0, x), lambda x: m.psi(0, x)),
    "beta": (lambda x: special.beta(x, 1.3), lambda x: m.beta(x, m.mpf(1.3))),
    "betaln": (lambda x: special.betaln(x, 2.0), lambda x: m.log(m.beta(x, 2))),
    "expit": (special.expit, lambda x: 1 / (1 + m.exp(-x))),
    "logit": (special.logit, lambda x: m.log(x / (1 - x)), [0.2, 0.5, 0.9]),
    "log_expit": (special.log_expit, lambda x: -m.log(1 + m.exp(-x))),
    "logsumexp": (lambda x: special.logsumexp([x, 2.0 * x]), lambda x: m.log(m.exp(x) + m.exp(2 * x))),
    "softmax": (lambda x: special.softmax([x, 2.0 * x])[0], lambda x: 1 / (1 + m.exp(x))),
    "log_softmax": (lambda x: special.log_softmax([x, 2.0 * x])[0], lambda x: -m.log(1 + m.exp(x))),
    "xlogy": (lambda x: special.xlogy(x, x), lambda x: x * m.log(x)),
    "entr": (special.entr, lambda x: -x * m.log(x)),
    "rel_entr": (lambda x: special.rel_entr(x, 2 * x * x), lambda x: x * m.log(1 / (2 * x))),
    "kl_div": (lambda x: special.kl_div(x, 2.0), lambda x: x * m.log(x / 2) - x + 2),
    "ndtr": (special.ndtr, m.ncdf),
    "log_ndtr": (special.log_ndtr, lambda x: m.log(m.ncdf(x)), [-30, -2, 0.3]),
    "i0": (special.i0, lambda x: m.besseli(0, x)),
    "i1": (special.i1, lambda x: m.besseli(1, x)),
    "j0": (special.j0, lambda x: m.besselj(0, x)),
    "j1": (special.j1, lambda x: m.besselj(1, x)),
    "iv": (lambda x: special.iv(1.5, x), lambda x: m.besseli(1.5, x)),
    "jv": (lambda x: special.jv(2, x), lambda x: m.besselj(2, x)),
    "jn": (lambda x: special.jn(2, x), lambda x: m.besselj(2, x)),
    "ive": (lambda x: special.ive(2, x), lambda x: m.exp(-x) * m.besseli(2, x)),
    "kv": (lambda x: special.kv(0.5, x), lambda x: m.besselk(0.5, x)),
    "kn": (lambda x: special.kn(2, x), lambda x: m.besselk(2, x)),
    "kve": (lambda x: special.kve(2, x), lambda x: m.exp(x) * m.besselk(2, x)),
    "k0": (special.k0, lambda x: m.besselk(0, x)),
    "k1": (special.k1, lambda x: m.besselk(1, x)),
    "k0e": (special.k0e, lambda x: m.exp(x) * m.besselk(0, x)),
    "k1e": (special.k1e, lambda x: m.exp(x) * m.besselk(1, x)),
    "yv": (lambda x: special.yv(1.5, x), lambda x: m.bessely(1.5, x)),
    "yn": (lambda x: special.yn(2, x), lambda x: m.bessely(2, x)),
    "y0": (special.y0, lambda x: m.bessely(0, x)),
    "y1": (special.y1, lambda x: m.bessely(1, x)),
    "zeta": (lambda x: special.zeta(3, x), lambda x: m.zeta(3, x)),
    "gamma": (special.gamma, m.gamma),
    "binom": (lambda x: special.binom(5, x), lambda x: m.binomial(5, x)),
    "factorial": (special.factorial, m.factorial),
    "comb": (lambda x: special.comb(5, x), lambda x: m.binomial(5, x)),
    "perm": (lambda x: special.perm(5, x), lambda x: m.gamma(6) / m.gamma(6 - x)),
    "hyp0f1": (lambda x: special.hyp0f1(1.5, x), lambda x: m.hyp0f1(1.5, x)),
    "hyp1f1": (lambda x: special.hyp1f1(1.5, 2, x), lambda x: m.hyp1f1(1.5, 2, x)),
    "gammainc": (lambda x: special.gammainc(2.5, x), lambda x: m.gammainc(2.5, 0, x, regularized=True)),
    "gammaincc": (lambda x: special.gammaincc(2.5, x), lambda x: m.gammainc(2.5, x, m.inf, regularized=True)),
    "betainc": (
        lambda x: special.betainc(1.5, 2.5, x),
        lambda x: m.betainc(1.5, 2.5, 0, x, regularized=True), [0.2, 0.5, 0.9]),
    "betaincc": (
        lambda x: special.betaincc(1.5, 2.5, x),
        lambda x: 1 - m.betainc(1.5, 2.5, 0, x, regularized=True), [0.2, 0.5, 0.9]),
    "erfinv": (special.erfinv, m.erfinv, [-0.5, 0.2, 0.9]),
    "erfcinv": (special.erfcinv, lambda x: m.erfinv(1 - x), [0.2, 0.5, 1.5]),
    "ndtri": (special.ndtri, lambda x: m.sqrt(2) * m.erfinv(2 * x - 1), [0.1, 0.5, 0.9]),
    "expm1": (special.expm1, m.expm1),
    "log1p": (special.log1p, m.log1p),
    "exprel": (special.exprel, lambda x: m.expm1(x) / x),
    "sinc": (np.sinc, lambda x: m.sin(m.pi * x) / (m.pi * x)),
    "special.sinc": (special.sinc, lambda x: m.sin(m.pi * x) / (m.pi * x)),
    "boxcox": (lambda x: special.boxcox(x, 0.3), lambda x: (x ** m.mpf(0.3) - 1) / m.mpf(0.3)),
    "boxcox lam 0": (
        lambda l: special.boxcox(2.0, l),
        lambda l: (m.mpf(2) ** l - 1) / l if l else m.log(2), [1e-09, 0.5]),
    "boxcox1p": (lambda x: special.boxcox1p(x, 0.3), lambda x: ((1 + x) ** m.mpf(0.3) - 1) / m.mpf(0.3)),
    "inv_boxcox": (lambda x: special.inv_boxcox(x, 0.3), lambda x: (1 + x * m.mpf(0.3)) ** (1 / m.mpf(0.3))),
    "inv_boxcox1p": (lambda x: special.inv_boxcox1p(x, 0.3), lambda x: (1 + x * m.mpf(0.3)) ** (1 / m.mpf(0.3)) - 1),
    "huber": (lambda x: special.huber(1.0, x), lambda x: x * x / 2 if x < 1 else x - m.mpf(0.5)),
    "pseudo_huber": (
        lambda x: special.pseudo_huber(1.5, x),
        lambda x: m.mpf(2.25) * (m.sqrt(1 + (x / m.mpf(1.5)) ** 2) - 1)),
    "cosm1": (special.cosm1, lambda x: m.cos(x) - 1),
    "xlog1py": (lambda x: special.xlog1py(x, x), lambda x: x * m.log1p(x)),
    "multigammaln": (
        lambda x: special.multigammaln(x + 2, 2),
        lambda x: m.loggamma(x + 2) + m.loggamma(x + 1.5) + m.log(m.pi) / 2),
    "lambertw": (lambda x: special.lambertw(x).real, m.lambertw),
    "lambertw-1": (lambda x: special.lambertw(x, -1).real, lambda x: m.lambertw(x, -1), [-0.3, -0.1, -0.001]),
    "spherical_jn": (lambda x: special.spherical_jn(2, x), lambda x: m.sqrt(m.pi / 2 / x) * m.besselj(2.5, x)),
    "spherical_jn0": (lambda x: special.spherical_jn(0, x), lambda x: m.sin(x) / x),
    "spherical_yn": (lambda x: special.spherical_yn(1, x), lambda x: m.sqrt(m.pi / 2 / x) * m.bessely(1.5, x)),
    "spherical_in": (lambda x: special.spherical_in(1, x), lambda x: m.sqrt(m.pi / 2 / x) * m.besseli(1.5, x)),
    "spherical_kn": (lambda x: special.spherical_kn(1, x), lambda x: m.sqrt(m.pi / 2 / x) * m.besselk(1.5, x)),
    "ellipk": (special.ellipk, m.ellipk, [-2.0, 1e-12, 0.3, 0.9]),
    "ellipe": (special.ellipe, m.ellipe, [-2.0, 1e-12, 0.3, 0.9]),
    "expi": (special.expi, m.ei),
    "exp1": (special.exp1, m.e1),
    "expn": (lambda x: special.expn(2, x), lambda x: m.expint(2, x)),
    "expn1": (lambda x: special.expn(1, x), lambda x: m.expint(1, x)),
    "expn0": (lambda x: special.expn(0, x), lambda x: m.exp(-x) / x),
    "dawsn": (special.dawsn, lambda x: m.exp(-x * x) * m.erfi(x) * m.sqrt(m.pi) / 2),
    "erfi": (special.erfi, m.erfi),
    "rgamma": (special.rgamma, m.rgamma),
    "poch": (lambda x: special.poch(x, 1.5), lambda x: m.rf(x, 1.5)),
    "stdtr": (
        lambda x: special.stdtr(3.0, x),
        lambda x: m.mpf(0.5) + x * m.gamma(2) * m.hyp2f1(0.5, 2, 1.5, -x * x / 3) / (m.sqrt(m.pi * 3) * m.gamma(1.5))),
    "chdtr": (lambda x: special.chdtr(3.0, x), lambda x: m.gammainc(1.5, 0, x / 2, regularized=True)),
    "chdtrc": (lambda x: special.chdtrc(3.0, x), lambda x: m.gammainc(1.5, x / 2, m.inf, regularized=True)),
    "pdtr": (lambda x: special.pdtr(2, x), lambda x: m.gammainc(3, x, m.inf, regularized=True)),
    "gdtr": (lambda x: special.gdtr(2.0, 3.0, x), lambda x: m.gammainc(3, 0, 2 * x, regularized=True)),
    "bdtr": (lambda x: special.bdtr(2.0, 5, x), lambda x: m.betainc(3, 3, 0, 1 - x, regularized=True), [0.2, 0.7]),
    "fdtr": (
        lambda x: special.fdtr(3.0, 4.0, x),
        lambda x: m.betainc(1.5, 2, 0, 3 * x / (4 + 3 * x), regularized=True)),
    "nbdtr": (lambda x: special.nbdtr(2.0, 5, x), lambda x: m.betainc(5, 3, 0, x, regularized=True), [0.2, 0.7]),
    "exp10": (special.exp10, lambda x: 10 ** x),
    "powm1": (lambda x: special.powm1(x, 1.5), lambda x: x ** 1.5 - 1),
    "softplus": (special.softplus, lambda x: m.log(1 + m.exp(x))),
    "cosdg": (special.cosdg, lambda x: m.cos(m.pi * x / 180)),
    "eval_legendre": (lambda x: special.eval_legendre(3, x), lambda x: m.legendre(3, x)),
    "eval_chebyt": (lambda x: special.eval_chebyt(4, x), lambda x: m.chebyt(4, x)),
    "eval_chebyu": (lambda x: special.eval_chebyu(3, x), lambda x: m.chebyu(3, x)),
    "eval_hermite": (lambda x: special.eval_hermite(3, x), lambda x: m.hermite(3, x)),
    "eval_laguerre": (lambda x: special.eval_laguerre(3, x), lambda x: m.laguerre(3, 0, x)),
    "eval_hermitenorm": (lambda x: special.eval_hermitenorm(3, x), lambda x: x ** 3 - 3 * x),
    "np.i0": (np.i0, lambda x: m.besseli(0, x)),
}
MATH = {
    "lgamma": (math.lgamma, m.loggamma), "gamma": (math.gamma, m.gamma), "erf": (math.erf, m.erf),
    "erfc": (math.erfc, m.erfc), "cbrt": (math.cbrt, m.cbrt), "exp2": (math.exp2, lambda x: m.mpf(2) ** x),
    "log with a base": (lambda x: math.log(x, 3), lambda x: m.log(x) / m.log(3)),
    "log to a traced base": (lambda x: math.log(7.0, 1 + x), lambda x: m.log(7) / m.log(1 + x)),
    "pow": (lambda x: math.pow(x, 2.5), lambda x: x ** m.mpf(2.5)), "fabs": (lambda x: math.fabs(-x), lambda x: x),
    "hypot of three": (lambda x: math.hypot(x, 2 * x, 1.0), lambda x: m.sqrt(5 * x * x + 1)),
    "dist": (lambda x: math.dist((x, 1.0), (0.0, x * x)), lambda x: m.sqrt(x * x + (1 - x * x) ** 2)),
    "fsum": (lambda x: math.fsum([x, x * x, 1.0]), lambda x: x + x * x + 1),
    "prod": (lambda x: math.prod([x, x, 2.0], start=3), lambda x: 6 * x * x),
    "copysign": (lambda x: math.copysign(x * x, -1.0), lambda x: -x * x),
    "fmod": (lambda x: math.fmod(x * x, 0.25), lambda x: m.fmod(x * x, m.mpf(0.25))),
    "remainder": (lambda x: math.remainder(x * x, 0.7), lambda x: x * x - m.mpf(0.7) * m.nint(x * x / m.mpf(0.7))),
    "degrees": (math.degrees, m.degrees), "radians": (math.radians, m.radians),
    "floor": (lambda x: math.floor(x) * x, lambda x: m.floor(x) * x),
    "ceil and trunc": (lambda x: (math.ceil(x) + math.trunc(x)) * x, lambda x: (m.ceil(x) + m.floor(x)) * x),
    "isclose": (lambda x: x * x if math.isclose(x, 0.3) else x ** 3,
                lambda x: x * x if abs(x - 0.3) < 1e-9 else x ** 3),
    "range to floor": (lambda x: sum(x**k for k in range(math.floor(x + 2))),
                       lambda x: m.fsum(x**k for k in range(int(m.floor(x + 2))))),
    "asinh acosh atanh": (lambda x: math.asinh(x) + math.acosh(1 + x) + math.atanh(x / 2),
                          lambda x: m.asinh(x) + m.acosh(1 + x) + m.atanh(x / 2)),
    "ldexp and modf": (lambda x: math.ldexp(x * x, 3) + math.modf(x * x)[0], lambda x: 9 * x * x - m.floor(x * x)),
}


def check(function, truth, points=POINTS, mode="autograd", tolerance=1e-10):
    f = hessian_jit(function, mode=mode)
    for x in points:
        with mpmath.workdps(50):
            expected = [truth(m.mpf(x)), *(m.diff(truth, m.mpf(x), k) for k in (1, 2))]
            expected = [float(m.re(v)) for v in expected]
        np.testing.assert_allclose(np.array(f.value_grad_hessian(x), float), expected, tolerance, tolerance * 1e-3)


@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions_to_second_order(name):
    check(*SPECIAL[name])


@pytest.mark.parametrize("name", MATH)
def test_the_math_module_to_second_order(name):
    check(*MATH[name], mode="auto")


def test_compiled_special_functions():
    """A sum of many in one kernel (each alone is compiled in the sweep over primitives)."""
    names = ("kv", "yv", "beta", "betainc", "ellipk", "expn", "boxcox", "stdtr", "hyp1f1",
             "erfcinv", "huber", "pseudo_huber", "eval_legendre", "dawsn")
    check(lambda x: sum(SPECIAL[n][0](x) for n in names), lambda x: m.fsum(m.re(SPECIAL[n][1](x)) for n in names),
          (0.3, 0.7), "symbolic")


@pytest.mark.parametrize("function", [special.erfcx, special.k1, special.i0e, special.log_ndtr, special.ellipe,
                                      lambda x: special.iv(2, x), lambda x: special.boxcox(x, 0.5)])
def test_float32_stays_float32(function):
    x = np.array([0.5, 1.25], np.float32)[:1]
    value, gradient, hessian = hessian_jit(lambda x: np.sum(function(x)), mode="autograd").value_grad_hessian(x)
    assert value.dtype == gradient.dtype == hessian.dtype == np.float32
    expected = hessian_jit(lambda x: np.sum(function(x)), mode="autograd").value_grad_hessian(x.astype(float))
    for a, b in zip((value, gradient, hessian), expected):
        np.testing.assert_allclose(a, b, 3e-6)


def test_orders_and_degrees_have_to_be_constant():
    with pytest.raises(NotDifferentiable, match=r"kv.*argument x"):
        hessian_jit(lambda x: special.kv(x[0], x[1]), mode="autograd")(np.ones(2))
    with pytest.raises(UnsupportedOperation, match="eval_legendre of a degree"):
        hessian_jit(lambda x: special.eval_legendre(x[0], x[1]), mode="autograd")(np.ones(2))
    with pytest.raises(UnsupportedOperation, match="struve"):
        hessian_jit(lambda x: special.struve(1, x[0]), mode="autograd")(np.ones(2))


def test_loggamma_is_not_real_below_zero():
    assert np.isnan(hessian_jit(special.loggamma, mode="autograd").value(-0.5))
    assert hessian_jit(special.gammaln, mode="autograd").value(-0.5) == special.gammaln(-0.5)
