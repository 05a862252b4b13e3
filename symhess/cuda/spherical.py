"""Spherical Bessel functions of whole orders on a device (DLMF 10.47 to 10.51)."""

from __future__ import annotations

import math

from symhess.backends.kernel_functions import compiled
from symhess.cuda.bessel import j_ratio
from symhess.cuda.gammas import MOST_STEPS, parity
from symhess.cuda.modified_bessel import grown, i_ratio, limit_series


@compiled
def spherical_leading(n, x):
    """x^n / (2n + 1)!!"""
    product, k = 1.0, 0.0
    while k < n and product > 0.0:
        k += 1.0
        product *= x / (2.0 * k + 1.0)
    return product


@compiled
def spherical_raised(n, x, first, second, sign):
    """(c_n, c_(n+1)) by c_(k+1) = (2k + 1)/x c_k + sign c_(k-1)."""
    k = 0.0
    while k < n and not math.isinf(second):
        k += 1.0
        first, second = second, (2.0 * k + 1.0) / x * second + sign * first
    return (first if k == n else second), second


@compiled
def spherical_y_pair(n, x):
    """(y_n, y_(n+1)) for x > 0."""
    s, c = math.sin(x), math.cos(x)
    return spherical_raised(n, x, -c / x, -(c / x + s) / x, -1.0)


@compiled
def spherical_jn(n, x):
    """j_n(x) for whole n >= 0; j_(n+1) y_n - j_n y_(n+1) = 1/x^2."""
    n, sign = math.floor(n), 1.0
    if not (n >= 0.0 and n <= MOST_STEPS) or math.isnan(x):
        return math.nan
    if x < 0.0:
        x, sign = -x, parity(n)
    if x == math.inf:
        return 0.0
    if x * x <= 4.0 * (n + 1.5):
        return sign * spherical_leading(n, x) * limit_series(n + 1.5, -0.25 * x * x)
    if n > x:
        first, second = spherical_y_pair(n, x)
        return 0.0 if math.isinf(second) else sign / (x * x * (j_ratio(n + 0.5, x) * first - second))
    s, c = math.sin(x), math.cos(x)
    return sign * spherical_raised(n, x, s / x, (s / x - c) / x, -1.0)[0]


@compiled
def spherical_yn(n, x):
    """y_n(x) for whole n >= 0."""
    n, sign = math.floor(n), 1.0
    if not (n >= 0.0 and n <= MOST_STEPS) or math.isnan(x):
        return math.nan
    if x < 0.0:
        x, sign = -x, -parity(n)
    if x == 0.0 or x == math.inf:
        return -math.inf if x == 0.0 else 0.0
    return sign * spherical_y_pair(n, x)[0]


@compiled
def spherical_k_pair(n, x):
    """(k_n, k_(n+1)) times exp(x) for x > 0."""
    first = 0.5 * math.pi / x
    return spherical_raised(n, x, first, first * (1.0 + 1.0 / x), 1.0)


@compiled
def spherical_i_scaled(n, x):
    """exp(-x) i_n(x) for x >= 0; i_n k_(n+1) + i_(n+1) k_n = pi/(2 x^2)."""
    if x <= 15.0 or x * x <= 40.0 * (n + 1.5):
        return math.exp(-x) * spherical_leading(n, x) * limit_series(n + 1.5, 0.25 * x * x)
    first, second = spherical_k_pair(n, x)
    return 0.5 * math.pi / (x * x * (second + i_ratio(n + 0.5, x) * first))


@compiled
def spherical_in(n, x):
    """i_n(x) for whole n >= 0."""
    n = math.floor(n)
    if not (n >= 0.0 and n <= MOST_STEPS) or math.isnan(x):
        return math.nan
    if math.isinf(x):
        return math.inf if x > 0.0 else parity(n) * math.inf
    return (1.0 if x >= 0.0 else parity(n)) * grown(spherical_i_scaled(n, abs(x)), abs(x))


@compiled
def spherical_kn(n, x):
    """k_n(x) for whole n >= 0; k_n(-x) = -(pi i_n(x) + (-1)^n k_n(x))."""
    n = math.floor(n)
    if not (n >= 0.0 and n <= MOST_STEPS) or math.isnan(x):
        return math.nan
    if x == 0.0:
        return math.inf
    if x == math.inf:
        return 0.0
    value = spherical_k_pair(n, abs(x))[0] * math.exp(-abs(x))
    return value if x > 0.0 else -(math.pi * spherical_in(n, -x) + parity(n) * value)
