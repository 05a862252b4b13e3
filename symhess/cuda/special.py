"""Special functions on a device: a few formulas, what CUDA's own library of functions has, and our own of the rest.

SciPy's routines, which kernels of the CPU call by address, are machine code of the CPU.
"""

from __future__ import annotations

import math

from symhess.backends.kernel_functions import compiled
from symhess.backends.plain import select
from symhess.cuda import bessel, gammas, hypergeometric, integrals, modified_bessel, spherical

#: modules whose functions compute in doubles, whatever the dtype of a kernel, and call each other
IN_DOUBLES = (gammas, modified_bessel, bessel, spherical, integrals, hypergeometric)
#: functions of CUDA's device library by our names, and the SciPy function that stands for each in a simulation
LIBDEVICE = {"erfcx": ("erfcx", "erfcx"), "erfinv": ("erfinv", "erfinv"), "erfcinv": ("erfcinv", "erfcinv"),
             "ndtr": ("normcdf", "ndtr"), "ndtri": ("normcdfinv", "ndtri"),
             "exp10": ("exp10", "exp10"), "np_cbrt": ("cbrt", "cbrt")}
#: rounding functions: by our names those of the device library, and NumPy's
ROUNDING = {"np_floor": ("floor", "floor"), "np_ceil": ("ceil", "ceil"), "np_trunc": ("trunc", "trunc"),
            "np_rint": ("rint", "rint")}


@compiled
def np_sign(x):
    """-1, 0, 1, or NaN."""
    return select(x > 0, 1.0, select(x < 0, -1.0, x))


@compiled
def np_fmod(x, y):
    """The remainder with the sign of x."""
    return math.fmod(x, y)


@compiled
def np_remainder(x, y):
    """The remainder with the sign of y."""
    m = math.fmod(x, y)
    if m == 0:
        return math.copysign(0.0, y)
    return m + y if (m < 0) != (y < 0) else m


@compiled
def gammaln(x):
    """log |gamma(x)|."""
    return math.lgamma(x)


@compiled
def rgamma(x):
    """1 / gamma(x), 0 at the poles."""
    return 0.0 if x <= 0 and x == math.floor(x) else 1.0 / math.gamma(x)


@compiled
def psi(x):
    """The digamma function: reflected for x < 0, moved up by recurrence, then its asymptotic series (DLMF 5.11.2)."""
    if x <= 0 and x == math.floor(x):
        return math.nan if x < 0 else -math.inf
    total = 0.0
    if x < 0:
        total = -math.pi / math.tan(math.pi * (x - math.floor(x + 0.5)))
        x = 1.0 - x
    while x < 10.0:
        total -= 1.0 / x
        x += 1.0
    if x == math.inf:
        return x
    z = 1.0 / (x * x)
    series = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132 - z * (691 / 32760 - z / 12))))))
    return total + math.log(x) - 0.5 / x - series


@compiled
def log_ndtr(x):
    """log of the normal distribution function, by erfcx where it is small."""
    t = -0.7071067811865476 * x
    return math.log(0.5 * erfcx(t)) - t * t if x < -1 else math.log1p(-0.5 * math.erfc(-t))


@compiled
def erfcx(x):
    """Stands for the function of the device library."""
    return math.exp(x * x) * math.erfc(x)


NAMES = {f.__name__: f for f in (np_sign, np_fmod, np_remainder, gammaln, rgamma, psi, log_ndtr)}
#: functions of `IN_DOUBLES` that kernels name
DOUBLES = {f.__name__: f for f in (
    gammas.beta, gammas.betaln, gammas.binom, gammas.poch, gammas.gammainc, gammas.gammaincc, gammas.betainc,
    gammas.stdtr, modified_bessel.i0, modified_bessel.i0e, modified_bessel.i1, modified_bessel.i1e,
    modified_bessel.k0, modified_bessel.k0e, modified_bessel.k1, modified_bessel.k1e, modified_bessel.iv,
    modified_bessel.ive, modified_bessel.kv, modified_bessel.kve, bessel.j0, bessel.j1, bessel.y0, bessel.y1, bessel.jv,
    bessel.yv, spherical.spherical_jn, spherical.spherical_yn, spherical.spherical_in, spherical.spherical_kn,
    integrals.boxcox, integrals.boxcox1p, integrals.inv_boxcox, integrals.inv_boxcox1p, integrals.dawsn,
    integrals.erfi, integrals.exp1, integrals.expi, integrals.expn, integrals.ellipk, integrals.ellipe,
    integrals.ellipk_derivative, integrals.ellipe_derivative, hypergeometric.hyp0f1, hypergeometric.hyp1f1)}
