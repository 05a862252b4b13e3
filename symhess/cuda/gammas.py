"""Gamma and beta functions on a device: complete and incomplete ones, and the distributions made of them.

Large arguments go by Stirling's series, whose corrections to the leading terms are added up apart, so that nothing
large cancels. The incomplete functions are power series and continued fractions, and Temme's uniform expansion where
both are slow (DLMF 8.7, 8.9, 8.12 and 8.17). Arguments are doubles.
"""

from __future__ import annotations

import math

import numpy as np

from symhess.backends.kernel_functions import compiled
from symhess.cuda.coefficients import LOG_GAMMA_1P, TEMME

#: B_2k / (2k (2k - 1)), Stirling's series of log gamma
STIRLING = np.array([1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400])
#: from here on Stirling's series is exact
LARGE = 10.0
HALF_LOG_2PI = 0.9189385332046727
#: a continued fraction or a series that has not settled by then is returned as it is
MOST_TERMS = 20000
#: recurrences go that far; functions of higher orders are NaN
MOST_STEPS = 100000.0


@compiled
def polynomial(c, t):
    """sum_k c[k] t^k."""
    total = c[c.size - 1]
    for k in range(c.size - 2, -1, -1):
        total = total * t + c[k]
    return total


@compiled
def sinpi(x):
    """sin(pi x), exactly 0 where x is whole."""
    sign, size = math.copysign(1.0, x), abs(x)
    turn = size - 2.0 * math.floor(0.5 * size)
    if turn >= 1.0:
        turn -= 1.0
        sign = -sign
    return sign * math.sin(math.pi * (1.0 - turn if turn > 0.5 else turn))


@compiled
def cospi(x):
    """cos(pi x), exactly 0 half-way between whole numbers."""
    size = abs(x)
    return sinpi(size - 2.0 * math.floor(0.5 * size) + 0.5)


@compiled
def is_whole(x):
    """True for whole numbers."""
    return x == math.floor(x)


@compiled
def is_pole(x):
    """True where gamma has a pole: 0, -1, -2, ..."""
    return x <= 0.0 and x == math.floor(x)


@compiled
def parity(n):
    """(-1)^n of a whole number."""
    return 1.0 if n == 2.0 * math.floor(0.5 * n) else -1.0


@compiled
def stirling_correction(x):
    """log gamma(x) - ((x - 1/2) log x - x + log(2 pi)/2), for x >= 10."""
    return polynomial(STIRLING, 1.0 / (x * x)) / x


@compiled
def log_gamma_1p(x):
    """log gamma(1 + x), to the last digits of small x."""
    return x * polynomial(LOG_GAMMA_1P, 2.0 * x) if abs(x) <= 0.5 else math.lgamma(1.0 + x)


@compiled
def log_gamma_drop(x, d):
    """log gamma(x) - log gamma(x + d) for positive x, to the last digits of small d."""
    total = 0.0
    while x < LARGE:
        total += math.log1p(d / x)
        x += 1.0
    change = stirling_correction(x) - stirling_correction(x + d)
    return total + (change - (x - 0.5) * math.log1p(d / x) - d * (math.log(x + d) - 1.0))


@compiled
def log_beta(a, b):
    """log B(a, b) of positive numbers."""
    if a > b:
        a, b = b, a
    if a >= LARGE:
        corrections = stirling_correction(a) + stirling_correction(b) - stirling_correction(a + b)
        return (HALF_LOG_2PI + corrections - 0.5 * math.log(b) - (a - 0.5) * math.log1p(b / a)
                - b * math.log1p(a / b))
    if b < LARGE:
        return math.log(small_beta(a, b))
    return log_gamma_1p(a) - math.log(a) + log_gamma_drop(b, a)


@compiled
def small_beta(a, b):
    """B(a, b) of positive numbers below 10."""
    return (1.0 / a + 1.0 / b) * (math.gamma(1.0 + a) * math.gamma(1.0 + b) / math.gamma(1.0 + a + b))


@compiled
def positive_beta(a, b):
    """B(a, b) of positive numbers."""
    return small_beta(a, b) if a < LARGE and b < LARGE else math.exp(log_beta(a, b))


@compiled
def beta_reflection(a, b):
    """(s, p, q, r) with B(a, b) = s B(p, q)^r for positive p and q, where no argument is a pole (DLMF 5.5.3)."""
    if a > b:
        a, b = b, a
    total = a + b
    if a > 0.0:
        return 1.0, a, b, 1.0
    if b < 0.0:
        return math.pi * sinpi(total) / (sinpi(a) * sinpi(b) * (1.0 - total)), 1.0 - a, 1.0 - b, -1.0
    if total > 0.0:
        return math.pi / (sinpi(a) * b), 1.0 - a, total, -1.0
    return sinpi(total) / sinpi(a), b, 1.0 - total, 1.0


@compiled
def beta_at_pole(a, b):
    """B(a, b) where a is 0, -1, ...: finite where b is whole, too, and a + b <= 0; SciPy's convention."""
    if is_whole(b) and 1.0 - a - b > 0.0:
        return parity(b) * positive_beta(1.0 - a - b, b) if b > 0.0 else math.inf
    return math.inf


@compiled
def beta(a, b):
    """B(a, b) = gamma(a) gamma(b) / gamma(a + b)."""
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or math.isinf(b):
        return 0.0 if a > 0.0 and b > 0.0 else math.nan
    if is_pole(a):
        return beta_at_pole(a, b)
    if is_pole(b):
        return beta_at_pole(b, a)
    sign, p, q, power = beta_reflection(a, b)
    if p < LARGE and q < LARGE:
        return sign * small_beta(p, q) if power > 0.0 else sign / small_beta(p, q)
    return math.copysign(math.exp(math.log(abs(sign)) + power * log_beta(p, q)), sign)


@compiled
def betaln(a, b):
    """log |B(a, b)|."""
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or math.isinf(b):
        return -math.inf if a > 0.0 and b > 0.0 else math.nan
    if is_pole(a):
        return math.log(abs(beta_at_pole(a, b)))
    if is_pole(b):
        return math.log(abs(beta_at_pole(b, a)))
    sign, p, q, power = beta_reflection(a, b)
    return math.log(abs(sign)) + power * log_beta(p, q) if sign != 1.0 else log_beta(p, q)


@compiled
def falling_product(n, k):
    """prod_(i < k) (n - i) / (i + 1) for whole k."""
    product, i = 1.0, 0.0
    while i < k:
        product *= (n - i) / (i + 1.0)
        i += 1.0
    return product


@compiled
def binom(n, k):
    """Binomial coefficients of real numbers, 1 / ((n + 1) B(n - k + 1, k + 1))."""
    if math.isnan(n) or math.isinf(n) or math.isnan(k) or math.isinf(k) or (n < 0.0 and is_whole(n)):
        return math.nan
    if is_whole(k):
        if n > 0.0 and is_whole(n) and 2.0 * k > n:
            k = n - k
        if k < 0.0:
            return 0.0
        if k < 20.0:
            return falling_product(n, k)
    if is_pole(n - k + 1.0):
        return 0.0
    sign, p, q, power = beta_reflection(n - k + 1.0, k + 1.0)
    value = positive_beta(p, q)
    return 1.0 / ((n + 1.0) * sign * value) if power > 0.0 else value / ((n + 1.0) * sign)


@compiled
def poch(x, m):
    """Pochhammer's (x)_m = gamma(x + m) / gamma(x)."""
    if math.isnan(x) or math.isinf(x) or math.isnan(m) or math.isinf(m):
        return math.nan
    if is_whole(m) and abs(m) <= 40.0:
        product, k = 1.0, 0.0
        while k < m:
            product *= x + k
            k += 1.0
        while k > m:
            k -= 1.0
            product /= x + k
        return product
    if is_pole(x + m):
        return math.inf if not is_pole(x) else parity(m) * poch_above(1.0 - x - m, m)
    if is_pole(x):
        return 0.0
    if x > 0.0 and x + m > 0.0:
        return poch_above(x, m)
    if x < 0.0 and x + m < 0.0:
        return sinpi(x) / sinpi(x + m) * poch_above(1.0 - x - m, m)
    if x > 0.0:
        return math.pi / (sinpi(x + m) * math.gamma(1.0 - x - m) * math.gamma(x))
    return math.gamma(x + m) * math.gamma(1.0 - x) * sinpi(x) / math.pi


@compiled
def poch_above(x, m):
    """gamma(x + m) / gamma(x) where both arguments are positive."""
    if x + m < 100.0 and x < 100.0:
        return math.gamma(x + m) / math.gamma(x)
    return math.exp(-log_gamma_drop(x, m) if m > 0.0 else log_gamma_drop(x + m, -m))


# -- incomplete gamma functions --------------------------------------------------------------------------------------


@compiled
def log_less(x, d):
    """log(x) - d, where d = x - 1: of r = d / (2 + d), 2 (r^3/3 + r^5/5 + ...) - d r."""
    if abs(d) > 0.5:
        return math.log(x) - d
    r = d / (2.0 + d)
    square = r * r
    total, power, n = 0.0, 1.0, 3.0
    while power > 1e-17:
        total += power / n
        power *= square
        n += 2.0
    return r * (2.0 * square * total - d)


@compiled
def gamma_density(a, x):
    """x^a exp(-x) / gamma(a + 1)."""
    if a < LARGE:
        return math.exp(a * math.log(x) - x) / math.gamma(1.0 + a)
    return math.exp(a * log_less(x / a, (x - a) / a) - stirling_correction(a)) / math.sqrt(2.0 * math.pi * a)


@compiled
def lower_series(a, x):
    """P(a, x) by its power series."""
    total, term, k = 1.0, 1.0, a
    for _ in range(MOST_TERMS):
        k += 1.0
        term *= x / k
        total += term
        if not term > 1e-17 * total:
            break
    return total * gamma_density(a, x)


@compiled
def upper_fraction(a, x):
    """Q(a, x) by its continued fraction (DLMF 8.9.2), the denominators and the numerators scaled as they grow."""
    b = x + 1.0 - a
    below = 1.0 / b
    above, total, k = 1e300, below, 0.0
    for _ in range(MOST_TERMS):
        k += 1.0
        b += 2.0
        c = k * (a - k)
        below = 1.0 / (c * below + b)
        above = b + c / above
        total *= above * below
        if not abs(above * below - 1.0) > 1e-16:
            break
    return total * a * gamma_density(a, x)


@compiled
def upper_series(a, x):
    """Q(a, x) for a and x below 1.5: what is close to 1 is taken off before it is added up."""
    log = a * math.log(x) - log_gamma_1p(a)
    total, term, k = 0.0, 1.0, 0.0
    for _ in range(40):
        k += 1.0
        term *= -x / k
        total += term / (a + k)
    return -math.expm1(log) - math.exp(log) * a * total


@compiled
def temme_upper(a, x, sign):
    """Q(a, x), or P(a, x) where the sign is -1, for large a and x close to it (DLMF 8.12.3)."""
    exponent = log_less(x / a, (x - a) / a)
    e = math.copysign(math.sqrt(-2.0 * exponent), x - a)
    total = 0.0
    for k in range(TEMME.shape[0] - 1, -1, -1):
        inner = 0.0
        for n in range(TEMME.shape[1] - 1, -1, -1):
            inner = inner * e + TEMME[k, n]
        total = total / a + inner
    rest = math.exp(a * exponent) / math.sqrt(2.0 * math.pi * a) * total
    return 0.5 * math.erfc(sign * e * math.sqrt(0.5 * a)) + sign * rest


@compiled
def incomplete_gamma(a, x, upper):
    """Q(a, x) where `upper` holds, else P(a, x)."""
    if not (a >= 0.0 and x >= 0.0) or (a == 0.0 and x == 0.0) or (a == math.inf and x == math.inf):
        return math.nan
    if x == 0.0 or a == math.inf:
        return 1.0 if upper else 0.0
    if a == 0.0 or x == math.inf:
        return 0.0 if upper else 1.0
    if a >= 60.0 and abs(x - a) <= 0.3 * a:
        return temme_upper(a, x, 1.0 if upper else -1.0)
    if upper and a < 1.5 and x < 1.5:
        return upper_series(a, x)
    if x < a or x < 1.5:
        lower = lower_series(a, x)
        return 1.0 - lower if upper else lower
    above = upper_fraction(a, x)
    return above if upper else 1.0 - above


@compiled
def gammainc(a, x):
    """P(a, x), the regularised lower incomplete gamma function."""
    return incomplete_gamma(a, x, False)


@compiled
def gammaincc(a, x):
    """Q(a, x), the regularised upper incomplete gamma function."""
    return incomplete_gamma(a, x, True)


# -- incomplete beta functions ---------------------------------------------------------------------------------------


@compiled
def beta_density(a, b, x, y):
    """x^a y^b / B(a, b), where y = 1 - x."""
    if a >= LARGE and b >= LARGE:
        off = a * y - b * x
        corrections = stirling_correction(a + b) - stirling_correction(a) - stirling_correction(b)
        exponent = a * log_less((1.0 + b / a) * x, -off / a) + b * log_less((1.0 + a / b) * y, off / b)
        return math.exp(exponent + corrections) * math.sqrt(a / (2.0 * math.pi * (1.0 + a / b)))
    log_x = math.log1p(-y) if x > 0.5 else math.log(x)
    log_y = math.log1p(-x) if y > 0.5 else math.log(y)
    return math.exp(a * log_x + b * log_y - log_beta(a, b))


@compiled
def beta_fraction(a, b, x, y):
    """I_x(a, b) B(a, b) / (x^a y^b) by a continued fraction (A. R. Didonato and A. H. Morris, TOMS 18, 1992)."""
    off = a * y - b * x
    bottom = a * (off + 1.0) / (a + 1.0)
    below = 1.0 / bottom
    above, total, n = 1e300, below, 0.0
    for _ in range(MOST_TERMS):
        n += 1.0
        last, far = a + 2.0 * n - 1.0, n * (b - n) * x
        top = (a + n - 1.0) * (a + b + n - 1.0) / last * (far * x / last)
        bottom = n + far / last + (a + n) * (off + 1.0 + n * (1.0 + y)) / (a + 2.0 * n + 1.0)
        below = 1.0 / (bottom + top * below)
        above = bottom + top / above
        total *= above * below
        if not abs(above * below - 1.0) > 1e-16:
            break
    return total


@compiled
def beta_sum(a, b, x):
    """sum_(n > 0) (1 - b)(2 - b) ... (n - b) / (n! (a + n)) x^n."""
    total, term, n = 0.0, 1.0, 0.0
    for _ in range(MOST_TERMS):
        n += 1.0
        term *= (n - b) / n * x
        total += term / (a + n)
        if not abs(term) > 1e-17 * abs(total):
            break
    return total


@compiled
def incomplete_beta(a, b, x, y):
    """I_x(a, b) for positive a and b, where y = 1 - x."""
    if x <= (a + 1.0) / (a + b + 2.0):
        return beta_density(a, b, x, y) * beta_fraction(a, b, x, y)
    if b >= 1.0:
        return 1.0 - beta_density(b, a, y, x) * beta_fraction(b, a, y, x)
    if x <= 0.7:
        return math.exp(a * math.log(x) - log_beta(a, b)) * (1.0 / a + beta_sum(a, b, x))
    log = b * math.log(y) - log_gamma_1p(b) - log_gamma_drop(a, b)
    return -math.expm1(log) - math.exp(log) * b * beta_sum(b, a, y)


@compiled
def betainc(a, b, x):
    """I_x(a, b), the regularised incomplete beta function."""
    if not (a >= 0.0 and b >= 0.0 and x >= 0.0 and x <= 1.0) or (a == 0.0 and b == 0.0):
        return math.nan
    if a == math.inf or b == math.inf:
        return math.nan if a == b else (1.0 if x == 1.0 or (b == math.inf and x > 0.0) else 0.0)
    if x == 0.0 or x == 1.0:
        return x
    if a == 0.0 or b == 0.0:
        return 1.0 if a == 0.0 else 0.0
    return incomplete_beta(a, b, x, 1.0 - x)


@compiled
def stdtr(n, t):
    """Student's distribution function with n degrees of freedom, by I_x(n/2, 1/2) at x = n / (n + t^2)."""
    if not n > 0.0 or math.isnan(t):
        return math.nan
    if n == math.inf:
        return 0.5 * math.erfc(-0.7071067811865476 * t)
    if math.isinf(t):
        return 1.0 if t > 0.0 else 0.0
    square = t / n * t
    x, y = 1.0 / (1.0 + square), square / (1.0 + square)
    tail = 0.5 * incomplete_beta(0.5 * n, 0.5, x, y) if y > 0.0 else 0.5
    return 1.0 - tail if t > 0.0 else tail
