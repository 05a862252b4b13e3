"""Confluent hypergeometric functions 0F1 and 1F1 on a device (DLMF 13 and 16.2)."""

from __future__ import annotations

import math

from symhess.backends.kernel_functions import compiled
from symhess.cuda.bessel import jv
from symhess.cuda.gammas import MOST_STEPS, MOST_TERMS, is_pole, is_whole, poch
from symhess.cuda.modified_bessel import iv, limit_series

#: a sum of which less than this part is left is NaN
MOST_CANCELLED = 1e-3
#: where Laguerre's recurrence is exact for parameters that are not whole
SMALL_RAISED = 12.0
#: beyond, exp(-x) is 0 though its product with a large sum is not
FARTHEST = 1400.0


@compiled
def hyp0f1(b, z):
    """0F1(; b; z); where its series would cancel, gamma(b) |z|^((1-b)/2) J_(b-1)(2 sqrt(|z|)) (DLMF 10.16.9)."""
    if math.isnan(b) or math.isnan(z) or is_pole(b):
        return math.nan
    if (z >= 0.0 and b > 0.0) or abs(z) <= abs(b):
        return limit_series(b, z)
    root = math.sqrt(abs(z))
    if z >= 0.0:
        return math.gamma(b) * math.pow(root, 1.0 - b) * iv(b - 1.0, 2.0 * root)
    return math.gamma(b) * math.pow(root, 1.0 - b) * jv(b - 1.0, 2.0 * root)


@compiled
def kummer_series(a, b, x, scale):
    """scale 1F1(a; b; x) by its power series, and the largest term."""
    total, size, term, k = scale, scale, scale, 0.0
    for _ in range(MOST_TERMS):
        term *= (a + k) / ((b + k) * (k + 1.0)) * x
        k += 1.0
        total += term
        size = max(size, abs(term))
        if (not abs(term) > 1e-17 * abs(total) and k > -a) or term == 0.0:
            break
    return total, size


@compiled
def kummer_far(a, b, z):
    """1F1(a; b; -z) by its expansion for large z (DLMF 13.7.2)."""
    total, term, k = 1.0, 1.0, 0.0
    for _ in range(100):
        term *= (a + k) * (a - b + 1.0 + k) / ((k + 1.0) * z)
        k += 1.0
        total += term
        if not abs(term) > 1e-17 * abs(total):
            break
    return total * poch(b - a, a) * math.pow(z, -a)


@compiled
def kummer_raised(a, b, z):
    """1F1(a; b; -z) for a > b > 0 by recurrence in a, that of Laguerre's polynomials (DLMF 13.3.1).

    It is stable for small z, and for all z where a - b is whole.
    """
    n = math.ceil(a - b) - 1.0
    k = a - n
    decay = math.exp(-0.5 * z)
    here, _ = kummer_series(b - k, b, z, decay)
    above, _ = kummer_series(b - k - 1.0, b, z, decay)
    while n > 0.0:
        k += 1.0
        here, above = above, ((2.0 * k - b - z) * above + (b - k) * here) / k
        n -= 1.0
    return decay * here


@compiled
def kummer_negative(a, b, z):
    """1F1(a; b; -z) for positive z."""
    if z > 100.0 + 2.0 * (abs(a) + 1.0) * (abs(a - b) + 2.0) and not is_pole(b - a):
        return kummer_far(a, b, z)
    if z > FARTHEST:
        return 0.0 if is_pole(b - a) and a - b < 100.0 else math.nan
    decay = math.exp(-0.5 * z)
    total, size = kummer_series(b - a, b, z, decay)
    if abs(total) >= MOST_CANCELLED * size:
        return decay * total
    if a > b and b > 0.0 and a - b <= MOST_STEPS and (z <= SMALL_RAISED or is_whole(a - b)):
        return kummer_raised(a, b, z)
    return math.nan


@compiled
def hyp1f1(a, b, x):
    """1F1(a; b; x); NaN where its series would lose three digits and nothing else is known."""
    if is_pole(b) or math.isnan(a) or math.isnan(b) or math.isnan(x):
        return math.nan
    if x < 0.0:
        return kummer_negative(a, b, -x)
    total, size = kummer_series(a, b, x, 1.0)
    return total if abs(total) >= MOST_CANCELLED * size else math.exp(x) * kummer_negative(b - a, b, x)
