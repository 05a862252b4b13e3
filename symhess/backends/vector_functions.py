"""Branch-free formulas of mathematical functions, at most 2 ulp from the exact value for every double.

Each is written once, over `vector_formula`, with the mathematics above it. Polynomials are minimax fits (Remez) on the
interval that the reduction leaves; sums whose last bits matter are kept in two doubles, high and low. What a formula
leaves open (arguments of sin beyond 2^40, powers of numbers that are not positive) it returns as NaN, and
`Function.rest` asks libm there.

The methods are those of W. J. Cody and W. Waite (Software Manual for the Elementary Functions, 1980) and of
J.-M. Muller (Elementary Functions: Algorithms and Implementation, 2016), with a fused multiply-add where they split
constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from symhess.backends.vector_formula import Function, Real, Whole, bits_of

#: 1.5 * 2^52: x + MAGIC has round(x) in its lowest bits
MAGIC = 6755399441055744.0
ONE = bits_of(1.0)
SMALLEST = 2.2250738585072014e-308
LOG2_E = 1.4426950408889634
#: log 2, pi/2, pi/4 and 2/3 as sums of doubles
LOG2 = (0.6931471805599453, 2.3190468138462996e-17)
HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
QUARTER_PI = (0.7853981633974483, 3.061616997868383e-17)
TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
TWO_OVER_PI = 0.6366197723675814
#: sin, cos and tan of larger arguments are left to libm
FARTHEST = 2.0 ** 40

#: (exp(r) - 1 - r) / r^2 on |r| <= log(2)/2
EXP = (0.5000000000000008, 0.16666666666666458, 0.04166666666655196, 0.008333333333475534, 0.0013888888938600403,
       0.00019841269534209003, 2.4801497768905838e-05, 2.755757023173775e-06, 2.762873476036242e-07,
       2.500316665457814e-08)
#: (log((1 + s) / (1 - s)) / s - 2) / z, z = s^2, for (1 + s) / (1 - s) from sqrt(1/2) to sqrt(2)
LOG = (0.6666666666666686, 0.399999999996979, 0.28571428685433914, 0.22222203947708338, 0.18183304440424583,
       0.15320290527775024, 0.14736967539661674)
#: the same without its first term 2/3, divided by z once more
LOG_TAIL = (0.39999999999999997, 0.2857142857143318, 0.22222222220243343, 0.18181818560454435, 0.15384576629007582,
            0.13335605119834634, 0.11688405645517627, 0.11882382636649023)
#: (sin(r) - r) / r^3 and (cos(r) - 1 + z/2) / z^2, z = r^2, on |r| <= pi/4
SIN = (-0.16666666666666644, 0.00833333333332414, -0.00019841269830737126, 2.755731390632162e-06,
       -2.50507791248409e-08, 1.589744501728671e-10)
COS = (-0.5, 0.04166666666666663, -0.00138888888888785, 2.480158729181888e-05, -2.7557314932826906e-07,
       2.0875791326060313e-09, -1.1362688606331985e-11)
#: (atan(t) - t) / t^3, z = t^2, on |t| <= tan(pi/8)
ATAN = (-0.3333333333333326, 0.19999999999967802, -0.14285714281392578, 0.11111110835120097, -0.09090899069669554,
        0.0769208114785773, -0.06663319964470824, 0.05849327667144981, -0.05045280648346814, 0.03820537345158188,
        -0.01805091541583166)
TAN_PI_8, TAN_3PI_8 = 0.41421356237309503, 2.414213562373095


# -- numbers in two doubles ----------------------------------------------------------------------------------------

Pair = tuple[Real, Real]


def plus(a: Real, low: Real | float, b: float) -> Pair:
    """a + low + b in two doubles; what is lost for a beyond b is too small to matter here."""
    total = a + b
    return total, (a - (total - b)) + low


def summed(high: Real, low: Real) -> Pair:
    """high + low with all of the high part's bits right, for |high| >= |low|."""
    total = high + low
    return total, (high - total) + low


def multiplied(w: Function, a: Pair, b: Pair) -> Pair:
    """The product of two numbers of two doubles each."""
    high = a[0] * b[0]
    return high, w.fma(a[0], b[0], -high) + w.fma(a[1], b[0], a[0] * b[1])


def quotient(w: Function, a: tuple[Real | float, Real | float], b: Pair) -> Real:
    """a / b, rounded once."""
    inverse = 1.0 / b[0]
    q = inverse * a[0]
    return w.fma(w.fma(-q, b[0], a[0]) + (a[1] - q * b[1]), inverse, q)


# -- exponentials --------------------------------------------------------------------------------------------------


def reduced(w: Function, x: Real, rest: Real | None = None) -> tuple[Whole, Real, Real]:
    """x + rest = k log 2 + r, |r| <= log(2)/2: k in the lowest bits of a word, and r in two parts, the first exact."""
    shifted = w.fma(x, LOG2_E, MAGIC)
    k = shifted - MAGIC
    low = k * -LOG2[1] if rest is None else w.fma(k, -LOG2[1], rest)
    return shifted.bits(), w.fma(k, -LOG2[0], x), low


def small_exp(w: Function, high: Real, low: Real) -> Real:
    """exp(high + low)."""
    return high + curved(w, high, low) + 1.0


def precise_small_exp(w: Function, high: Real, low: Real) -> Real:
    """exp(high + low), rounded once."""
    one = high + 1.0
    return one + ((1.0 - one) + high + curved(w, high, low))


def curved(w: Function, high: Real, low: Real) -> Real:
    """exp(high + low) - 1 - high."""
    r = high + low
    return w.fma(r * r, w.polynomial(r, EXP), low)


def exp(w: Function, x: Real, small: Callable[..., Real] = small_exp) -> Real:
    """exp(x) = 2^k exp(r); 2^k in two steps, for it may lie beyond the range of doubles."""
    bits, *r = reduced(w, x.clipped(-1000.0, 1000.0))
    half = bits >> 1
    return small(w, *r) * power_of_two(half) * power_of_two(bits - half)


def power_of_two(k: Whole, factor: float = 1.0) -> Real:
    """factor 2^k for a k in the lowest bits, factor itself a power of two."""
    return ((k << 52) + bits_of(factor)).real()


def expm1_times(w: Function, x: Real, factor: float) -> Pair:
    """factor (exp(x) - 1) = s high + (s - factor) + s (exp(r) - 1 - high),  s = factor 2^k."""
    bits, high, low = reduced(w, x)
    s = power_of_two(bits, factor)
    whole = s - factor
    y = w.fma(s, high, whole)
    return summed(y, w.fma(s, curved(w, high, low), w.fma(s, high, whole - y)))


def expm1(w: Function, x: Real) -> Real:
    """exp(x) - 1 by its half, which does not overflow before it does."""
    half, _ = expm1_times(w, x.clipped(-60.0, 710.0), 0.5)
    return w.where(abs(x) < 1e-18, x, half + half)


def tanh(w: Function, x: Real) -> Real:
    """tanh|x| = e / (e + 2), e = exp(2|x|) - 1."""
    size = abs(x).clipped(0.0, 22.0)
    e, low = expm1_times(w, size + size, 1.0)
    return w.where(abs(x) < 1e-9, x, quotient(w, (e, low), plus(e, low, 2.0)).signed(x))


def sinh(w: Function, x: Real) -> Real:
    """sinh|x| = 2 (q + q / (4q + 1)),  q = (exp|x| - 1)/4."""
    q, low = expm1_times(w, abs(x).clipped(0.0, 710.48), 0.25)
    e, e_low = q * 4.0, low * 4.0
    small = w.where(q > 2.0 ** 60, 0.25, quotient(w, (q, low), plus(e, e_low, 1.0)))
    half = q + (small + low)
    return w.where(abs(x) < 1e-9, x, (half + half).signed(x))


def cosh(w: Function, x: Real) -> Real:
    """cosh(x) = 2 (q + 1/(16 q)),  q = exp|x|/4."""
    bits, *r = reduced(w, abs(x).clipped(0.0, 710.48))
    q = precise_small_exp(w, *r) * power_of_two(bits, 0.25)
    half = q + 0.0625 / q
    return half + half


def sigmoid(w: Function, x: Real) -> Real:
    """1 / (1 + exp(-x)): by d = exp(-|x|), 1 / (1 + d) or d / (1 + d)."""
    decay = exp(w, -abs(x), precise_small_exp)
    return quotient(w, (w.where(x < 0.0, decay, 1.0), 0.0), plus(decay, 0.0, 1.0))


def sech(w: Function, x: Real) -> Real:
    """1 / cosh(x) = 2 d / (1 + d^2), d = exp(-|x|)."""
    decay = exp(w, -abs(x), precise_small_exp)
    square = decay * decay
    return quotient(w, (decay + decay, 0.0), plus(square, w.fma(decay, decay, -square), 1.0))


def inverse_expm1(w: Function, x: Real) -> Real:
    """1 / (exp(x) - 1) = (1/2) / ((exp(x) - 1)/2)."""
    value = quotient(w, (0.5, 0.0), expm1_times(w, x.clipped(-60.0, 709.0), 0.5))
    return w.where(abs(x) < 1e-18, 1.0 / x, w.where(x > 709.0, exp(w, -x), value))


# -- logarithms ----------------------------------------------------------------------------------------------------


def split(w: Function, x: Real) -> tuple[Real, Real, Whole]:
    """x = m 2^k with m from sqrt(1/2) to sqrt(2), for positive x that is not subnormal: k, m - 1, k + 1024."""
    bits = x.bits()
    biased = (bits + ((1024 << 52) - bits_of(math.sqrt(0.5)))) >> 52
    k = (biased | bits_of(2.0 ** 52)).real() - (2.0 ** 52 + 1024)
    m = (bits - (biased << 52) + (1024 << 52)).real()
    return k, m - 1.0, biased


def log_of(w: Function, k: Real, f: Real, rest: Real | float) -> Real:
    """k log 2 + log(1 + f) + rest,  log(1 + f) = f - f^2/2 + s (f^2/2 + s^2 LOG(s^2)),  s = f / (2 + f)."""
    s = f / (f + 2.0)
    z = s * s
    half_square = f * f * 0.5
    small = w.fma(s, half_square + z * w.polynomial(z, LOG), w.fma(k, LOG2[1], rest))
    return w.fma(k, LOG2[0], f - (half_square - small))


def bounded(w: Function, x: Real, value: Real) -> Real:
    """The logarithm of x: `value`, and what it is at 0, below 0, at infinity and of NaN."""
    value = w.where(x < math.inf, value, x)
    return w.where(x.equals(0.0), -math.inf, w.where(x < 0.0, math.nan, value))


def log(w: Function, x: Real) -> Real:
    """log(x), subnormal x times 2^54."""
    tiny = x < SMALLEST
    k, f, _ = split(w, w.where(tiny, x * 2.0 ** 54, x))
    return bounded(w, x, log_of(w, k + w.where(tiny, -54.0, 0.0), f, 0.0))


def log1p(w: Function, x: Real) -> Real:
    """log(u) + c/u, u = 1 + x rounded, c = 1 + x - u; of 1/u a few bits are enough."""
    u = x + 1.0
    moved = u - 1.0
    c = (1.0 - (u - moved)) + (x - moved)
    k, f, biased = split(w, u)
    shrunk = c * (2047 - biased << 52).real()
    correction = w.where(x < 2.0 ** 60, shrunk * w.fma(f, f - 1.0, 1.0), 0.0)
    return bounded(w, u, log_of(w, k, f, correction)).signed(x)


def softplus(w: Function, x: Real) -> Real:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return w.where(x < 0.0, 0.0, x) + log1p(w, exp(w, -abs(x)))


def logaddexp(w: Function, x: Real, y: Real) -> Real:
    """log(exp(x) + exp(y)) = max(x, y) + log1p(exp(-|x - y|)); x + log 2 where x = y, infinities included."""
    apart = w.where(x > y, x, y) + log1p(w, exp(w, -abs(x - y)))
    return w.where(x.equals(y), x + LOG2[0], apart)


def entr(w: Function, x: Real) -> Real:
    """-x log(x); 0 at 0, -inf below."""
    return w.where(x.equals(0.0), x * 0.0, w.where(x < 0.0, -math.inf, -x * log(w, x)))


def xlogy(w: Function, x: Real, y: Real) -> Real:
    """x log(y), and 0 where x = 0 (unless y is NaN)."""
    return w.where(x.equals(0.0) & y.equals(y), x * 0.0, x * log(w, y))


def times_log(w: Function, x: Real, y: Real) -> Real:
    """x log(y), and 0 where both are 0."""
    return w.where(x.equals(0.0) & y.equals(0.0), x * y, x * log(w, y))


# -- powers --------------------------------------------------------------------------------------------------------


def precise_log(w: Function, x: Real) -> Pair:
    """log(x) to about 2^-65 in two doubles: k log 2 + s (2 + z (2/3 + z LOG_TAIL(z))), s = f/(2 + f), z = s^2."""
    k, f, _ = split(w, x)
    d = f + 2.0
    inverse = 1.0 / d
    s = f * inverse
    s_low = w.fma(-s, f - (d - 2.0), w.fma(-s, d, f)) * inverse
    z = s * s
    z_low = w.fma(s, s, -z) + (s + s) * s_low
    tail = z * w.polynomial(z, LOG_TAIL)
    p = multiplied(w, (z, z_low), plus(tail, TWO_THIRDS[1], TWO_THIRDS[0]))
    m, m_low = multiplied(w, (s, s_low), plus(*p, 2.0))
    whole = k * LOG2[0]
    whole_low = w.fma(k, LOG2[1], w.fma(k, LOG2[0], -whole))
    high, low = summed(whole, m)
    return high, low + (m_low + whole_low)


def pow_(w: Function, x: Real, y: Real) -> Real:
    """x^y = exp(y log(x)) for positive x where the result is neither tiny nor huge; the rest is libm's."""
    log_x, low = precise_log(w, x)
    exponent = y * log_x
    exponent_low = w.fma(y, low, w.fma(y, log_x, -exponent))
    bits, *r = reduced(w, exponent, exponent_low)
    known = (x > SMALLEST) & (x < math.inf) & (abs(exponent) < 708.0)
    return w.rest("pow", (x, y), w.where(known, small_exp(w, *r) * power_of_two(bits), math.nan))


# -- circular functions --------------------------------------------------------------------------------------------


def quarters(w: Function, x: Real) -> tuple[Whole, Real, Real]:
    """x = n pi/2 + r, |r| <= pi/4: n in the lowest bits of a word, n, and x - n HALF_PI[0], which is exact.

    The last of them is NaN beyond FARTHEST.
    """
    shifted = w.fma(w.where(abs(x) > FARTHEST, math.nan, x), TWO_OVER_PI, MAGIC)
    n = shifted - MAGIC
    return shifted.bits(), n, w.fma(n, -HALF_PI[0], x)


def circular(w: Function, x: Real, turned: int) -> Real:
    """sin(x + turned pi/2): sin(r) or cos(r), with the sign of the quarter."""
    bits, n, first = quarters(w, x)
    second = w.fma(n, -HALF_PI[1], first)
    bits, r = bits + turned, w.fma(n, -HALF_PI[2], second)
    z = r * r
    sine = w.fma(r * z, w.polynomial(z, SIN), r)
    cosine = w.fma(z, w.polynomial(z, COS), 1.0)
    value = w.where((bits & 1).equals(0), sine.signed(second), cosine)
    return (value.bits() ^ ((bits & 2) << 62)).real()


def sin(w: Function, x: Real) -> Real:
    """sin(x)."""
    return w.rest("sin", (x,), circular(w, x, 0))


def cos(w: Function, x: Real) -> Real:
    """cos(x) = sin(x + pi/2)."""
    return w.rest("cos", (x,), circular(w, x, 1))


def tan(w: Function, x: Real) -> Real:
    """sin(r) / cos(r), or -cos(r) / sin(r) in odd quarters; r in two doubles."""
    bits, n, first = quarters(w, x)
    part = n * HALF_PI[1]
    r = first - part
    low = w.fma(n, -HALF_PI[2], (first - r) - part - w.fma(n, HALF_PI[1], -part))
    z = r * r
    half = z * 0.5
    most = 1.0 - half
    sine = summed(r, w.fma(r * z, w.polynomial(z, SIN), low))
    cosine = summed(most, (1.0 - most) - half + w.fma(z * z, w.polynomial(z, COS[1:]), -(r * low)))
    odd = (bits & 1).equals(1)
    above = [w.where(odd, -c, s) for s, c in zip(sine, cosine)]
    below = [w.where(odd, s, c) for s, c in zip(sine, cosine)]
    return w.rest("tan", (x,), w.where(x.equals(0.0), x, quotient(w, above, below)))


def atan(w: Function, x: Real) -> Real:
    """atan|x| = c + atan(t) with |t| <= tan(pi/8): t = x, (x - 1)/(x + 1) + pi/4, -1/x + pi/2."""
    a = abs(x)
    middle, far = a > TAN_PI_8, a > TAN_3PI_8
    above = w.where(far, -1.0, w.where(middle, a - 1.0, a))
    below = w.where(far, a, w.where(middle, a + 1.0, 1.0))
    t = above / below
    z = t * t
    c = w.where(far, HALF_PI[0], w.where(middle, QUARTER_PI[0], 0.0))
    low = w.where(far, HALF_PI[1], w.where(middle, QUARTER_PI[1], 0.0))
    return (c + (t + w.fma(t * z, w.polynomial(z, ATAN), low))).signed(x)
