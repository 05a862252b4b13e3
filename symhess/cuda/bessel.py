"""Bessel functions of real order on a device.

Small arguments take power series; beyond, J and Y start from N. M. Temme's series (J. Comput. Phys. 21, 1976), a
continued fraction or Hankel's expansion at an order within 1/2 of 0. Y goes up by recurrence, and J does below its
turning point; beyond it J follows from the ratio of two neighbours and the Wronskian (DLMF 10.2 to 10.21). The orders 0
and 1 are polynomials.
"""

from __future__ import annotations

import math

from symhess.backends.kernel_functions import compiled
from symhess.cuda.coefficients import J0_NEAR, J1_NEAR, P0_FAR, P1_FAR, Q0_FAR, Q1_FAR, Y0_NEAR, Y1_NEAR
from symhess.cuda.gammas import MOST_STEPS, cospi, is_whole, parity, polynomial, sinpi
from symhess.cuda.modified_bessel import TWO_OVER_PI, leading, limit_series, temme_series

# -- ordinary functions, orders 0 and 1 ------------------------------------------------------------------------------


@compiled
def hankel_far(n, x, y_part):
    """J_n(x), or Y_n(x), for n = 0 or 1 and x > 8."""
    w = 8.0 / x
    t = 2.0 * w * w - 1.0
    p = polynomial(P0_FAR, t) if n == 0.0 else polynomial(P1_FAR, t)
    q = w * (polynomial(Q0_FAR, t) if n == 0.0 else polynomial(Q1_FAR, t))
    s, c = math.sin(x), math.cos(x)
    # sqrt(2) times cosine and sine of x - pi/4 - n pi/2
    cosine, sine = (c + s, s - c) if n == 0.0 else (s - c, -s - c)
    return (p * sine + q * cosine if y_part else p * cosine - q * sine) / math.sqrt(math.pi * x)


@compiled
def j0(x):
    """J_0(x)."""
    x = abs(x)
    if x == math.inf:
        return 0.0
    return polynomial(J0_NEAR, x * x / 32.0 - 1.0) if x <= 8.0 else hankel_far(0.0, x, False)


@compiled
def j1(x):
    """J_1(x)."""
    size = abs(x)
    if size == math.inf:
        return 0.0
    if size <= 8.0:
        return x * polynomial(J1_NEAR, x * x / 32.0 - 1.0)
    return math.copysign(1.0, x) * hankel_far(1.0, size, False)


@compiled
def y0(x):
    """Y_0(x)."""
    if not (x > 0.0 and x < math.inf):
        return 0.0 if x == math.inf else (-math.inf if x == 0.0 else math.nan)
    if x <= 8.0:
        return polynomial(Y0_NEAR, x * x / 32.0 - 1.0) + TWO_OVER_PI * math.log(x) * j0(x)
    return hankel_far(0.0, x, True)


@compiled
def y1(x):
    """Y_1(x)."""
    if not (x > 0.0 and x < math.inf):
        return 0.0 if x == math.inf else (-math.inf if x == 0.0 else math.nan)
    if x <= 8.0:
        return x * polynomial(Y1_NEAR, x * x / 32.0 - 1.0) + TWO_OVER_PI * (math.log(x) * j1(x) - 1.0 / x)
    return hankel_far(1.0, x, True)


# -- ordinary functions ----------------------------------------------------------------------------------------------


@compiled
def y_series(m, x):
    """(Y_m, Y_(m+1)) for |m| <= 1/2 and x <= 2."""
    half = math.sin(0.5 * math.pi * m)
    first, second = temme_series(m, x, -0.25 * x * x, 2.0 * half * half / m)
    return -TWO_OVER_PI * first, -TWO_OVER_PI * second


@compiled
def hankel_slope(m, x):
    """(p, q) with H'/H = p + i q of Hankel's function, by its continued fraction from its far end."""
    re, im = 0.0, 0.0
    for k in range(int(10.0 + 250.0 / x), 0, -1):
        top = (k - 0.5) * (k - 0.5) - m * m
        re, im = 2.0 * x + re, 2.0 * k + im
        size = top / (re * re + im * im)
        re, im = re * size, -im * size
    # -1/(2x) + i + (i/x) (re + i im)
    return -(0.5 + im) / x, 1.0 + re / x


@compiled
def j_and_y_middle(m, x):
    """(J_m, J_(m+1), Y_m, Y_(m+1)) for |m| <= 1/2 and 2 < x < 20.

    J up to a factor by recurrence from far orders down; the Wronskian J Y' - J' Y = 2 / (pi x) gives the factor.
    """
    above, here = 0.0, 1e-200
    for k in range(60, 0, -1):
        above, here = here, 2.0 * (m + k) / x * here - above
    slope = m / x * here - above
    p, q = hankel_slope(m, x)
    other = (p * here - slope) / q
    size = math.hypot(here, other)
    scale = math.sqrt(TWO_OVER_PI / (x * q)) / size
    j, y = scale * here, scale * other
    return j, scale * above, y, (m / x - p) * y - q * j


@compiled
def hankel_expansion(v, x):
    """(J_v, Y_v) for |v| <= 3/2 and x >= 20 (DLMF 10.17.3)."""
    p, q, term, k = 1.0, 0.0, 1.0, 0.0
    for _ in range(20):
        k += 1.0
        term *= (4.0 * v * v - (2.0 * k - 1.0) * (2.0 * k - 1.0)) / (8.0 * k * x)
        q += term
        k += 1.0
        term *= -(4.0 * v * v - (2.0 * k - 1.0) * (2.0 * k - 1.0)) / (8.0 * k * x)
        p += term
        if abs(term) <= 1e-18:
            break
    s, c = math.sin(x), math.cos(x)
    turn_s, turn_c = sinpi(0.5 * v + 0.25), cospi(0.5 * v + 0.25)
    cosine, sine = c * turn_c + s * turn_s, s * turn_c - c * turn_s
    scale = math.sqrt(TWO_OVER_PI / x)
    return scale * (p * cosine - q * sine), scale * (p * sine + q * cosine)


@compiled
def j_and_y_start(m, x):
    """(J_m, J_(m+1), Y_m, Y_(m+1)) for |m| <= 1/2 and x > 2."""
    if m == 0.0:
        return j0(x), j1(x), y0(x), y1(x)
    if x < 20.0:
        return j_and_y_middle(m, x)
    j, y = hankel_expansion(m, x)
    j_above, y_above = hankel_expansion(m + 1.0, x)
    return j, j_above, y, y_above


@compiled
def raised(m, n, x, first, second):
    """(C_(m+n), C_(m+n+1)) of C_m and C_(m+1), by recurrence."""
    while n > 0.0 and not math.isinf(second):
        m += 1.0
        first, second = second, 2.0 * m / x * second - first
        n -= 1.0
    return (first if n == 0.0 else second), second


@compiled
def y_pair(v, x):
    """(Y_v, Y_(v+1)) for v >= 0 and x > 0."""
    n = math.floor(v + 0.5)
    m = v - n
    if m == 0.0:
        first, second = y0(x), y1(x)
    elif x <= 2.0:
        first, second = y_series(m, x)
    else:
        _, _, first, second = j_and_y_start(m, x)
    return raised(m, n, x, first, second)


@compiled
def j_ratio(v, x):
    """J_(v+1) / J_v for v >= x by its continued fraction from its far end."""
    steps = int(30.0 + 10.0 * math.pow(x, 1.0 / 3.0))
    ratio = 0.0
    for k in range(steps, 0, -1):
        ratio = x / (2.0 * (v + k) - x * ratio)
    return ratio


@compiled
def j_positive(v, x):
    """J_v(x) for v >= 0 and x > 0; J_(v+1) Y_v - J_v Y_(v+1) = 2 / (pi x)."""
    if x * x <= 4.0 * (v + 1.0):
        return leading(v, x) * limit_series(v + 1.0, -0.25 * x * x)
    if v > x:
        first, second = y_pair(v, x)
        return 0.0 if math.isinf(second) else TWO_OVER_PI / (x * (j_ratio(v, x) * first - second))
    n = math.floor(v + 0.5)
    m = v - n
    first, second, _, _ = j_and_y_start(m, x)
    return raised(m, n, x, first, second)[0]


@compiled
def y_positive(v, x):
    """Y_v(x) for v >= 0 and x > 0."""
    return y_pair(v, x)[0]


@compiled
def jv(v, x):
    """J_v(x); of negative x for whole orders alone."""
    if not abs(v) <= MOST_STEPS or math.isnan(x) or (x < 0.0 and not is_whole(v)):
        return math.nan
    if x == 0.0:
        return 1.0 if v == 0.0 else (0.0 if v > 0.0 or is_whole(v) else math.inf)
    if math.isinf(x):
        return 0.0
    sign = 1.0
    if x < 0.0:
        x, sign = -x, parity(v)
    if v >= 0.0:
        return sign * j_positive(v, x)
    if is_whole(v):
        return sign * parity(v) * j_positive(-v, x)
    return cospi(v) * j_positive(-v, x) + sinpi(v) * y_positive(-v, x)


@compiled
def yv(v, x):
    """Y_v(x) for x > 0."""
    if not abs(v) <= MOST_STEPS or not x > 0.0:
        return -math.inf if x == 0.0 else math.nan
    if x == math.inf:
        return 0.0
    if v >= 0.0:
        return y_positive(v, x)
    turned = cospi(v)
    above = turned * y_positive(-v, x) if turned != 0.0 else 0.0
    return above if is_whole(v) else above - sinpi(v) * j_positive(-v, x)
