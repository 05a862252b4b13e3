"""Modified Bessel functions of real order on a device.

Small arguments take power series; beyond, K starts from N. M. Temme's series (J. Comput. Phys. 19, 1975) and continued
fraction at an order within 1/2 of 0 and goes up by recurrence, which is stable for it. I, for which it is not, follows
from the ratio of two neighbours and the Wronskian (DLMF 10.25 to 10.40). The orders 0 and 1 are polynomials.
"""

from __future__ import annotations

import math

from symhess.backends.kernel_functions import compiled
from symhess.cuda.coefficients import GAMMA_1, GAMMA_2, I0_FAR, I1_FAR, K0_FAR, K1_FAR
from symhess.cuda.gammas import MOST_STEPS, is_whole, parity, polynomial, sinpi, stirling_correction

EULER = 0.5772156649015329
TWO_OVER_PI = 0.6366197723675814
#: from here on powers over gamma functions go by Stirling's series
LARGE_ORDER = 100.0


@compiled
def limit_series(b, z):
    """0F1(; b; z) = sum_k z^k / (k! (b)_k)."""
    total, term, k = 1.0, 1.0, 0.0
    for _ in range(2000):
        term *= z / ((k + 1.0) * (b + k))
        k += 1.0
        total += term
        if not abs(term) > 1e-17 * abs(total):
            break
    return total


@compiled
def leading(v, x):
    """(x/2)^v / gamma(v + 1)."""
    if v < LARGE_ORDER:
        return math.pow(0.5 * x, v) / math.gamma(v + 1.0)
    return math.exp(v * (math.log(0.5 * x / v) + 1.0) - stirling_correction(v)) / math.sqrt(2.0 * math.pi * v)


# -- modified functions, orders 0 and 1 ------------------------------------------------------------------------------


@compiled
def i0e(x):
    """exp(-|x|) I_0(x)."""
    x = abs(x)
    if x <= 8.0:
        return math.exp(-x) * limit_series(1.0, 0.25 * x * x)
    return polynomial(I0_FAR, 16.0 / x - 1.0) / math.sqrt(x)


@compiled
def i1e(x):
    """exp(-|x|) I_1(x)."""
    size = abs(x)
    if size <= 8.0:
        return 0.5 * x * math.exp(-size) * limit_series(2.0, 0.25 * x * x)
    return math.copysign(polynomial(I1_FAR, 16.0 / size - 1.0) / math.sqrt(size), x)


@compiled
def grown(scaled, x):
    """exp(x) times a number, without overflow on the way."""
    if scaled == 0.0 or x == math.inf:
        return math.copysign(x, scaled) if x == math.inf else scaled
    root = math.exp(0.5 * x)
    return scaled * root * root


@compiled
def i0(x):
    """I_0(x)."""
    return limit_series(1.0, 0.25 * x * x) if abs(x) <= 8.0 else grown(i0e(x), abs(x))


@compiled
def i1(x):
    """I_1(x)."""
    return 0.5 * x * limit_series(2.0, 0.25 * x * x) if abs(x) <= 8.0 else grown(i1e(x), abs(x))


@compiled
def k_near(n, x):
    """K_0(x) or K_1(x) for x <= 2: the logarithm times I_n, and a series (DLMF 10.31.1)."""
    z = 0.25 * x * x
    total, term, harmonic, k = 0.0, 1.0, -2.0 * EULER + n, 0.0
    for _ in range(20):
        total += term * harmonic
        k += 1.0
        term *= z / (k * (k + n))
        harmonic += 1.0 / k + 1.0 / (k + n)
    logarithm = math.log(0.5 * x)
    if n == 0.0:
        return 0.5 * total - logarithm * limit_series(1.0, z)
    return 1.0 / x + 0.5 * x * (logarithm * limit_series(2.0, z) - 0.5 * total)


@compiled
def k_scaled(n, x):
    """exp(x) K_0(x) or exp(x) K_1(x)."""
    if not x > 0.0:
        return math.inf if x == 0.0 else math.nan
    if x <= 2.0:
        return math.exp(x) * k_near(n, x)
    t = 4.0 / x - 1.0
    return (polynomial(K0_FAR, t) if n == 0.0 else polynomial(K1_FAR, t)) / math.sqrt(x)


@compiled
def k0e(x):
    """exp(x) K_0(x)."""
    return k_scaled(0.0, x)


@compiled
def k1e(x):
    """exp(x) K_1(x)."""
    return k_scaled(1.0, x)


@compiled
def k0(x):
    """K_0(x)."""
    return k_near(0.0, x) if x > 0.0 and x <= 2.0 else k_scaled(0.0, x) * math.exp(-x)


@compiled
def k1(x):
    """K_1(x)."""
    return k_near(1.0, x) if x > 0.0 and x <= 2.0 else k_scaled(1.0, x) * math.exp(-x)


# -- modified functions ----------------------------------------------------------------------------------------------


@compiled
def temme_start(m, x):
    """(f, p, q), the first terms of Temme's series of K_m and K_(m+1) for |m| <= 1/2."""
    gamma_1, gamma_2 = polynomial(GAMMA_1, 8.0 * m * m - 1.0), polynomial(GAMMA_2, 8.0 * m * m - 1.0)
    logarithm = -math.log(0.5 * x)
    s = m * logarithm
    f = math.cosh(s) * gamma_1 + (math.sinh(s) / s if abs(s) > 1e-9 else 1.0) * logarithm * gamma_2
    if abs(m) > 1e-9:
        f *= math.pi * m / math.sin(math.pi * m)
    p, q = 0.5 * math.exp(s) / (gamma_2 - m * gamma_1), 0.5 * math.exp(-s) / (gamma_2 + m * gamma_1)
    return f, p, q


@compiled
def temme_series(m, x, z, turn):
    """The sums of c_k g_k and of c_k (p_k - k g_k) 2/x, where c_k = z^k / k! and g_k = f_k + turn q_k."""
    f, p, q = temme_start(m, x)
    first, second, c, k = f + turn * q, p, 1.0, 0.0
    for _ in range(20):
        k += 1.0
        f = (k * f + p + q) / (k * k - m * m)
        p /= k - m
        q /= k + m
        c *= z / k
        g = f + turn * q
        first += c * g
        second += c * (p - k * g)
    return first, second * 2.0 / x


@compiled
def k_series(m, x):
    """(K_m, K_(m+1)) times exp(x), for |m| <= 1/2 and x <= 2."""
    first, second = temme_series(m, x, 0.25 * x * x, 0.0)
    scale = math.exp(x)
    return scale * first, scale * second


@compiled
def k_fraction(m, x):
    """(K_m, K_(m+1)) times exp(x), for |m| <= 1/2 and x > 2: Steed's form of a continued fraction and of a sum with it.

    I. J. Thompson and A. R. Barnett, Comput. Phys. Commun. 47, 1987.
    """
    a, b = m * m - 0.25, 2.0 * (x + 1.0)
    below = 1.0 / b
    step, fraction = below, below
    before, now, c = 0.0, 1.0, -a
    weight = c
    total = 1.0 + weight * step
    k = 1.0
    for _ in range(200):
        k += 1.0
        a -= 2.0 * (k - 1.0)
        c *= -a / k
        before, now = now, (before - b * now) / a
        weight += c * now
        b += 2.0
        below = 1.0 / (b + a * below)
        step *= b * below - 1.0
        fraction += step
        total += weight * step
        if not abs(weight * step) > 1e-17 * abs(total):
            break
    first = math.sqrt(0.5 * math.pi / x) / total
    return first, first * (m + x + 0.5 + (m * m - 0.25) * fraction) / x


@compiled
def k_pair(v, x, scale):
    """(K_v, K_(v+1)) times exp(x) and a scale, for v >= 0 and x > 0."""
    n = math.floor(v + 0.5)
    m = v - n
    if m == 0.0:
        first, second = k_scaled(0.0, x), k_scaled(1.0, x)
    elif x <= 2.0:
        first, second = k_series(m, x)
    else:
        first, second = k_fraction(m, x)
    first *= scale
    second *= scale
    while n > 0.0 and second < math.inf:
        m += 1.0
        first, second = second, first + 2.0 * m / x * second
        n -= 1.0
    return (first if n == 0.0 else second), second


@compiled
def kve(v, x):
    """exp(x) K_v(x)."""
    if not (x > 0.0 and x < math.inf) or not abs(v) <= MOST_STEPS:
        return math.inf if x == 0.0 else (0.0 if x == math.inf else math.nan)
    return k_pair(abs(v), x, 1.0)[0]


@compiled
def kv(v, x):
    """K_v(x)."""
    if not (x > 0.0 and x < math.inf) or not abs(v) <= MOST_STEPS:
        return math.inf if x == 0.0 else (0.0 if x == math.inf else math.nan)
    half = math.exp(-0.5 * x)
    return half * k_pair(abs(v), x, half)[0]


@compiled
def i_ratio(v, x):
    """I_(v+1) / I_v by its continued fraction from its far end."""
    steps = int(20.0 + 6.5 * math.sqrt(x))
    ratio = 0.0
    for k in range(steps, 0, -1):
        ratio = x / (2.0 * (v + k) + x * ratio)
    return ratio


@compiled
def i_far(v, x):
    """exp(-x) I_v(x) by the expansion for large x (DLMF 10.40.1)."""
    total, term, k = 1.0, 1.0, 0.0
    for _ in range(60):
        k += 1.0
        term *= ((2.0 * k - 1.0) * (2.0 * k - 1.0) - 4.0 * v * v) / (8.0 * k * x)
        total += term
        if not abs(term) > 1e-17 * abs(total):
            break
    return total / math.sqrt(2.0 * math.pi * x)


@compiled
def i_positive(v, x):
    """exp(-x) I_v(x) for v >= 0 and x > 0; I_v K_(v+1) + I_(v+1) K_v = 1/x."""
    if x <= 15.0 or x * x <= 40.0 * (v + 1.0):
        return math.exp(-x) * leading(v, x) * limit_series(v + 1.0, 0.25 * x * x)
    if x >= 100.0 + v * v:
        return i_far(v, x)
    first, second = k_pair(v, x, 1.0)
    return 1.0 / (x * (second + i_ratio(v, x) * first))


@compiled
def i_scaled(v, x):
    """exp(-x) I_v(x) for x >= 0."""
    if x == 0.0:
        return 1.0 if v == 0.0 else (0.0 if v > 0.0 or is_whole(v) else math.inf)
    if v >= 0.0 or is_whole(v):
        return i_positive(abs(v), x)
    return i_positive(-v, x) + TWO_OVER_PI * sinpi(-v) * k_pair(-v, x, 1.0)[0] * math.exp(-2.0 * x)


@compiled
def ive(v, x):
    """exp(-|x|) I_v(x); of negative x for whole orders alone."""
    if not abs(v) <= MOST_STEPS or math.isnan(x) or (x < 0.0 and not is_whole(v)):
        return math.nan
    return i_scaled(v, x) if x >= 0.0 else parity(v) * i_scaled(v, -x)


@compiled
def iv(v, x):
    """I_v(x); of negative x for whole orders alone."""
    return grown(ive(v, x), abs(x))
