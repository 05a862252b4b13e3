"""Special functions that generated kernels call: SciPy's own scalar routines by address, and a few short series."""

from __future__ import annotations

import math

import numpy as np

from symhess.backends.kernel_functions import KernelFunction, Routine, compiled, link_cython

#: SciPy's names of the routines used here, by ours and by the number of their arguments; "__pyx_fuse_1" is the real
#: version of a function that takes complex numbers too
ROUTINES = {
    1: {"psi": "__pyx_fuse_1psi", "erfcx": "__pyx_fuse_1erfcx", "log_ndtr": "__pyx_fuse_1log_ndtr",
        "ndtr": "__pyx_fuse_1ndtr", "erfinv": "__pyx_fuse_0erfinv", "ndtri": "ndtri", "gammaln": "gammaln", "i0": "i0",
        "i1": "i1", "i0e": "i0e", "i1e": "i1e", "j0": "j0", "j1": "j1", "k0": "k0", "k1": "k1", "k0e": "k0e",
        "k1e": "k1e", "y0": "y0", "y1": "y1", "rgamma": "__pyx_fuse_1rgamma", "erfcinv": "erfcinv",
        "erfi": "__pyx_fuse_1erfi", "dawsn": "__pyx_fuse_1dawsn", "expi": "__pyx_fuse_1expi",
        "exp1": "__pyx_fuse_1exp1", "ellipk": "ellipk", "ellipe": "ellipe", "exp10": "exp10"},
    2: {"jv": "__pyx_fuse_1jv", "iv": "__pyx_fuse_1iv", "ive": "__pyx_fuse_1ive", "kv": "__pyx_fuse_1kv",
        "kve": "__pyx_fuse_1kve", "yv": "__pyx_fuse_1yv", "gammainc": "gammainc", "gammaincc": "gammaincc",
        "beta": "beta", "betaln": "betaln", "poch": "poch", "binom": "binom", "stdtr": "__pyx_fuse_0stdtr",
        "expn": "__pyx_fuse_0expn", "hyp0f1": "__pyx_fuse_1hyp0f1", "boxcox": "boxcox", "boxcox1p": "boxcox1p",
        "inv_boxcox": "inv_boxcox", "inv_boxcox1p": "inv_boxcox1p"},
    3: {"betainc": "__pyx_fuse_0betainc", "hyp1f1": "__pyx_fuse_1hyp1f1"},
    4: {"hyp2f1": "__pyx_fuse_1hyp2f1"},
}
#: functions of a whole order and a positive number
SPHERICAL = ("jn", "yn", "in", "kn")


def _routine(name: str, spelling: str, *arguments: str) -> Routine:
    """A routine of scipy.special under a name of our own."""
    link_cython("scipy.special.cython_special", spelling, f"symhess_{name}")
    return Routine(f"symhess_{name}", "double", *arguments)


def _wrapped(name: str, spelling: str, arity: int) -> KernelFunction:
    """The routine as a compiled function; its last argument is Cython's dispatch flag."""
    routine = _routine(name, spelling, *["double"] * arity, "i32")

    def one(x):
        return routine(x, 0)

    def two(x, y):
        return routine(x, y, 0)

    def three(x, y, z):
        return routine(x, y, z, 0)

    def four(a, b, c, x):
        return routine(a, b, c, x, 0)

    return compiled((one, two, three, four)[arity - 1])


def _spherical(name: str) -> KernelFunction:
    """A spherical Bessel function; its last argument points to optional arguments: none."""
    routine = _routine(f"spherical_{name}", f"__pyx_fuse_1spherical_{name}", "i64", "double", "i32", "i64")

    @compiled
    def function(n, x):
        return routine(int(n), x, 0, 0)

    return function


_SCIPY = {name: _wrapped(name, s, arity) for arity, names in ROUTINES.items() for name, s in names.items()}
_SPHERICAL = {name: _spherical(name) for name in SPHERICAL}
_psi, _erfcx, _hyp2f1, _poch = (_SCIPY[name] for name in ("psi", "erfcx", "hyp2f1", "poch"))
_jn, _yn, _in, _kn = (_SPHERICAL[name] for name in SPHERICAL)

#: B_2m / (2m)!, the coefficients of the Euler-Maclaurin formula
BERNOULLI = np.array([
    8.333333333333333e-2, -1.388888888888889e-3, 3.306878306878307e-5, -8.267195767195767e-7, 2.08767569878681e-8,
    -5.284190138687493e-10, 1.3382536530684679e-11, -3.389680296322583e-13, 8.586062056277845e-15,
    -2.174868698558062e-16, 5.5090028283602295e-18, -1.3954464685812523e-19])
#: below this argument zeta is not summed up, and NaN
FARTHEST = -1e6


@compiled
def zeta(s, x):
    """Hurwitz zeta, sum_j (x + j)^-s for s > 1, the far terms by the Euler-Maclaurin formula."""
    if s <= 1 or math.isnan(s) or math.isnan(x):
        return math.inf if s == 1 and not math.isnan(x) else math.nan
    if x <= 0 and x == math.floor(x):
        return math.inf
    if x < FARTHEST or (x < 0 and s != math.floor(s)):
        return math.nan
    total, limit = 0.0, 12.0 + s
    while x < limit:
        total += x**-s
        x += 1.0
    total += x**(1 - s) / (s - 1) + 0.5 * x**-s
    term = s * x**(-s - 1)
    for m in range(BERNOULLI.size):
        total += BERNOULLI[m] * term
        term *= (s + 2 * m + 1) * (s + 2 * m + 2) / (x * x)
    return total


@compiled
def polygamma(n, x):
    """psi^(n)(x) = (-1)^(n+1) n! zeta(n+1, x)."""
    s = math.floor(n) + 1.0
    if s == 1:
        return _psi(x)
    return (math.gamma(s) if s % 2 == 0 else -math.gamma(s)) * zeta(s, x)


@compiled
def _parity(n):
    return 1.0 if int(n) % 2 == 0 else -1.0


@compiled
def spherical_jn(n, x):
    """j_n(-x) = (-1)^n j_n(x)."""
    return _jn(n, x) if x >= 0 else _parity(n) * _jn(n, -x)


@compiled
def spherical_yn(n, x):
    """y_n(-x) = -(-1)^n y_n(x)."""
    return _yn(n, x) if x >= 0 else -_parity(n) * _yn(n, -x)


@compiled
def spherical_in(n, x):
    """i_n(-x) = (-1)^n i_n(x)."""
    return _in(n, x) if x >= 0 else _parity(n) * _in(n, -x)


@compiled
def spherical_kn(n, x):
    """k_n(-x) = -(pi i_n(x) + (-1)^n k_n(x))."""
    return _kn(n, x) if x >= 0 else -(math.pi * _in(n, -x) + _parity(n) * _kn(n, -x))


@compiled
def ellipk_derivative(n, m):
    """The n-th derivative of K(m) = pi/2 2F1(1/2, 1/2; 1; m)."""
    rising = _poch(0.5, n)
    return 0.5 * math.pi * rising * rising / math.gamma(n + 1.0) * _hyp2f1(0.5 + n, 0.5 + n, 1.0 + n, m)


@compiled
def ellipe_derivative(n, m):
    """The n-th derivative of E(m) = pi/2 2F1(-1/2, 1/2; 1; m)."""
    rising = _poch(-0.5, n) * _poch(0.5, n)
    return 0.5 * math.pi * rising / math.gamma(n + 1.0) * _hyp2f1(n - 0.5, 0.5 + n, 1.0 + n, m)


@compiled
def lambertw(k, x):
    """The branches 0 and -1 of W exp(W) = x by Halley's method; NaN where W is not real (R. Corless et al., 1996)."""
    off = 2 * (math.e * x + 1)
    if not off >= 0 or (k == -1 and x >= 0) or k < -1 or k > 0 or x == math.inf:
        return -math.inf if k == -1 and x == 0 else (x if k == 0 and x == math.inf else math.nan)
    if k == -1:
        w = math.log(-x) - math.log(-math.log(-x)) if x > -0.1 else -1 - math.sqrt(off)
    else:
        w = math.log1p(x) if x < 3 and x > -0.25 else (math.log(x) - math.log(math.log(x)) if x >= 3 else
                                                     -1 + math.sqrt(off))
    for _ in range(40):
        e = math.exp(w)
        f = w * e - x
        if w == -1:
            return w
        step = f / (e * (w + 1) - 0.5 * (w + 2) * f / (w + 1))
        w -= step
        if abs(step) <= 1e-16 * abs(w):
            break
    return w


@compiled
def sinc_derivative(n, t):
    """The n-th derivative of sin(t)/t:  S_n = sum_k (-1)^k t^(2k-n) / ((2k+1) (2k-n)!), t S_n + n S_(n-1) = sin^(n)."""
    order = int(n)
    if not abs(t) <= order + 2.0:
        value = math.sin(t) / t
        for k in range(1, order + 1):
            value = (math.sin(t + k * (math.pi / 2)) - k * value) / t
        return value
    k = (order + 1) // 2
    power = t if order % 2 else 1.0
    total, term = 0.0, power if k % 2 == 0 else -power
    while True:
        total += term / (2 * k + 1)
        k += 1
        term *= -t * t / ((2 * k - order) * (2 * k - order - 1))
        if not abs(term) > 1e-18 * abs(total):
            return total


@compiled
def exprel_derivative(n, x):
    """The n-th derivative of (exp(x) - 1)/x:  E_n = sum_k x^k / (k! (k+n+1)),  x E_n + n E_(n-1) = exp(x)."""
    if abs(x) > 2 * n + 8:
        value = math.expm1(x) / x
        for k in range(1, int(n) + 1):
            value = (math.exp(x) - k * value) / x
        return value
    total, k = 0.0, 0.0
    term = 1.0 if x >= 0 else 1 / (n + 1)
    while True:
        total += term / (k + n + 1) if x >= 0 else term
        k += 1
        term *= x / k if x >= 0 else -x / (k + n + 1)
        if not term > 1e-18 * total:
            return total if x >= 0 else total * math.exp(x)


@compiled
def erfcx_derivative(n, x):
    """The n-th derivative of exp(x^2) erfc(x): (-2)^n n! J_n,  J_(m-1) = 2 x J_m + 2 (m+1) J_(m+1)."""
    order, before = int(n), 2 / math.sqrt(math.pi)
    factor, value = 1.0, before
    for m in range(1, order + 1):
        factor *= -2 * m
    if not x >= 1:
        value = _erfcx(x)
        for m in range(1, order + 1):
            before, value = value, (before - 2 * x * value) / (2 * m)
        return factor * value
    ratio = 0.0
    for m in range(int(30 + 250 / (x * x)) + order, -1, -1):
        ratio = 1 / (2 * x + 2 * (m + 1) * ratio)
        value *= ratio if m <= order else 1.0
    return factor * value


@compiled
def powlog(k, x, p):
    """x^p log(x)^k; its limit 0 where x = 0 and p > 0."""
    return x * k if x == 0 and p > 0 else math.pow(x, p) * math.pow(math.log(x), k)


@compiled
def times_log(x, y):
    """x log(y), and 0 where both are 0."""
    return x * y if x == 0 and y == 0 else x * math.log(y)


@compiled
def sech(x):
    """1 / cosh(x) without overflow."""
    decay = math.exp(-abs(x))
    return 2 * decay / (1 + decay * decay)


@compiled
def logcosh(x):
    """log(cosh(x)) without overflow or cancellation."""
    size = abs(x)
    half = math.sinh(min(size, 1.0) / 2)
    return math.log1p(2 * half * half) if size < 1 else size + math.log1p(math.exp(-2 * size)) - math.log(2.0)


@compiled
def log1mexp(x):
    """log(1 - exp(x)) for x <= 0 without cancellation."""
    return math.log(-math.expm1(x)) if x > -0.6931471805599453 else math.log1p(-math.exp(x))


@compiled
def inverse_expm1(x):
    """1 / (exp(x) - 1)."""
    return 1 / math.expm1(x)


@compiled
def log_ratio(x, y):
    """log(x) - log(y), by log1p((x - y)/y) where they are close."""
    off = (x - y) / y
    return math.log1p(off) if y > 0 and -0.5 < off < 1 else math.log(x) - math.log(y)


@compiled
def sinc(x):
    """sin(pi x) / (pi x)."""
    return sinc_derivative(0, math.pi * x)


@compiled
def exprel(x):
    """(exp(x) - 1) / x."""
    if abs(x) < 1e-9:
        return 1.0 + 0.5 * x
    return x if x == math.inf else math.expm1(x) / x


@compiled
def ndtr_ratio(x):
    """phi(x) / Phi(x) = sqrt(2/pi) / erfcx(-x / sqrt(2))."""
    return 0.7978845608028654 / _erfcx(-0.7071067811865476 * x)


@compiled
def xlogy(x, y):
    """x log(y), and 0 where x = 0 (unless y is NaN)."""
    return x * 0 if x == 0 and not math.isnan(y) else x * math.log(y)


@compiled
def xlog1py(x, y):
    """x log(1 + y), and 0 where x = 0 (unless y is NaN)."""
    return x * 0 if x == 0 and not math.isnan(y) else x * math.log1p(y)


@compiled
def entr(x):
    """-x log(x); 0 at 0, -inf below."""
    return x * 0 if x == 0 else (-math.inf if x < 0 else -x * math.log(x))


@compiled
def rel_entr(x, y):
    """x log(x/y); 0 where x = 0, inf outside the domain."""
    if x > 0 and y > 0:
        return x * math.log(x / y)
    if x == 0 and y >= 0:
        return x * 0
    return math.nan if math.isnan(x) or math.isnan(y) else math.inf


@compiled
def kl_div(x, y):
    """x log(x/y) - x + y."""
    return rel_entr(x, y) - x + y if x >= 0 and y >= 0 else rel_entr(x, y)


@compiled
def logit(x):
    """log(x / (1 - x)), accurate at 1/2."""
    return 2 * math.atanh(2 * x - 1) if 0.3 <= x <= 0.65 else math.log(x / (1 - x))


@compiled
def gamma(x):
    """The gamma function; NaN at its poles."""
    return math.gamma(x)


_SERIES = (polygamma, sinc_derivative, exprel_derivative, sinc, exprel, ndtr_ratio, xlogy, xlog1py, entr, rel_entr,
           kl_div, logit, gamma, erfcx_derivative, powlog, times_log, sech, logcosh, log1mexp, inverse_expm1,
           log_ratio, zeta, ellipk_derivative, ellipe_derivative, lambertw, spherical_jn,
           spherical_yn, spherical_in, spherical_kn)
#: what kernel spellings may name
NAMES = _SCIPY | {f.__name__: f for f in _SERIES}
