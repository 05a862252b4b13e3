"""Error functions, exponential and elliptic integrals, and Box and Cox's powers on a device."""

from __future__ import annotations

import math

from symhess.backends.kernel_functions import compiled
from symhess.cuda.coefficients import (
    DAWSON_0,
    DAWSON_2,
    DAWSON_4,
    DAWSON_8,
    EXP1_0,
    EXP1_1,
    EXP1_4,
    EXPI_0,
    EXPI_6,
    EXPI_12,
    EXPI_24,
)
from symhess.cuda.gammas import MOST_STEPS, MOST_TERMS, polynomial
from symhess.cuda.modified_bessel import grown

EULER = 0.5772156649015329
TWO_OVER_ROOT_PI = 1.1283791670955126
#: the positive zero of Ei, in two doubles
EI_ZERO, EI_ZERO_REST = 0.37250741078136663, 1.3140183414386028e-17

# -- Box and Cox's powers --------------------------------------------------------------------------------------------


@compiled
def powered(logarithm, p):
    """(exp(p l) - 1) / p, and l where p is 0."""
    return logarithm if p == 0.0 or abs(p * logarithm) < 1e-17 else math.expm1(p * logarithm) / p


@compiled
def boxcox(x, p):
    """(x^p - 1) / p."""
    return powered(math.log(x), p)


@compiled
def boxcox1p(x, p):
    """((1 + x)^p - 1) / p."""
    return powered(math.log1p(x), p)


@compiled
def unpowered(x, p):
    """log(1 + p x) / p, and x where p is 0."""
    return x if abs(p * x) < 1e-17 else math.log1p(p * x) / p


@compiled
def inv_boxcox(x, p):
    """(1 + p x)^(1/p)."""
    return math.exp(unpowered(x, p))


@compiled
def inv_boxcox1p(x, p):
    """(1 + p x)^(1/p) - 1."""
    return math.expm1(unpowered(x, p))


# -- error functions of imaginary arguments --------------------------------------------------------------------------


@compiled
def dawsn(x):
    """exp(-x^2) times the integral of exp(t^2) from 0 to x."""
    size = abs(x)
    if size <= 2.0:
        return x * polynomial(DAWSON_0, 0.5 * x * x - 1.0)
    if size <= 4.0:
        return polynomial(DAWSON_2, size - 3.0) / x
    if size <= 8.0:
        return polynomial(DAWSON_4, 0.5 * size - 3.0) / x
    return polynomial(DAWSON_8, 128.0 / (size * size) - 1.0) / x


@compiled
def erfi(x):
    """erf(i x) / i; the square of x is taken in two parts."""
    if math.isinf(x):
        return x
    high = math.floor(x * 1048576.0) / 1048576.0 if abs(x) < 1000.0 else x
    rest = (x - high) * (x + high)
    return TWO_OVER_ROOT_PI * math.exp(rest) * grown(dawsn(x), high * high)


# -- exponential integrals -------------------------------------------------------------------------------------------


@compiled
def exp1(x):
    """E_1(x) for x >= 0."""
    if not x > 0.0:
        return math.inf if x == 0.0 else math.nan
    if x <= 1.0:
        return polynomial(EXP1_0, x - 1.0) - math.log(x)
    if x <= 4.0:
        return math.exp(-x) / x * polynomial(EXP1_1, (8.0 / x - 5.0) / 3.0)
    return math.exp(-x) / x * polynomial(EXP1_4, 8.0 / x - 1.0)


@compiled
def expi(x):
    """Ei(x)."""
    if x < 0.0:
        return -exp1(-x)
    if not x > 0.0:
        return -math.inf if x == 0.0 else math.nan
    if x == math.inf:
        return x
    if x <= 6.0:
        off = (x - EI_ZERO) - EI_ZERO_REST
        near = math.log1p(off / EI_ZERO) if abs(off) < 0.18 else math.log(x / EI_ZERO)
        return near + off * polynomial(EXPI_0, x / 3.0 - 1.0)
    if x <= 12.0:
        scaled = polynomial(EXPI_6, 24.0 / x - 3.0)
    elif x <= 24.0:
        scaled = polynomial(EXPI_12, 48.0 / x - 3.0)
    else:
        scaled = polynomial(EXPI_24, 48.0 / x - 1.0)
    return grown(scaled / x, x)


@compiled
def expn_series(n, x):
    """E_n(x) for x <= 1 by its power series (DLMF 8.19.8)."""
    total, power, harmonic, k = 0.0, 1.0, -EULER, 0.0
    for _ in range(24):
        if k == n - 1.0:
            total += power * (harmonic - math.log(x))
        else:
            total -= power / (k - n + 1.0)
        k += 1.0
        power *= -x / k
        harmonic += 1.0 / k
    return total


@compiled
def expn(n, x):
    """E_n(x) for whole n >= 0."""
    n = math.floor(n)
    if not (n >= 0.0 and x >= 0.0):
        return math.nan
    if x == 0.0:
        return math.inf if n <= 1.0 else 1.0 / (n - 1.0)
    if x == math.inf:
        return 0.0
    if n == 0.0:
        return math.exp(-x) / x
    if n == 1.0:
        return exp1(x)
    if x <= 1.0:
        return expn_series(n, x)
    b = x + n
    below = 1.0 / b
    above, total, k = 1e300, below, 0.0
    for _ in range(200):
        k += 1.0
        b += 2.0
        c = -k * (n - 1.0 + k)
        below = 1.0 / (c * below + b)
        above = b + c / above
        total *= above * below
        if not abs(above * below - 1.0) > 1e-16:
            break
    return total * math.exp(-x)


# -- elliptic integrals ----------------------------------------------------------------------------------------------


@compiled
def complete_elliptic(m, second):
    """K(m), or E(m), by the arithmetic-geometric mean (DLMF 19.8)."""
    a, b, total, power = 1.0, math.sqrt(1.0 - m), 0.5 * m, 0.5
    for _ in range(40):
        if abs(a - b) <= 1e-15 * a:
            break
        c = 0.5 * (a - b)
        a, b = 0.5 * (a + b), math.sqrt(a * b)
        power *= 2.0
        total += power * c * c
    k = math.pi / (a + b)
    return k * (1.0 - total) if second else k


@compiled
def ellipk(m):
    """The complete elliptic integral of the first kind."""
    if not m < 1.0:
        return math.inf if m == 1.0 else math.nan
    return complete_elliptic(m, False)


@compiled
def ellipe(m):
    """The complete elliptic integral of the second kind."""
    if not m < 1.0:
        return 1.0 if m == 1.0 else math.nan
    if m < -1e20:
        return math.sqrt(-m)
    if m < 0.0:
        return math.sqrt(1.0 - m) * complete_elliptic(m / (m - 1.0), True)
    return complete_elliptic(m, True)


@compiled
def gauss_series(a, b, c, z):
    """2F1(a, b; c; z)."""
    total, term = 1.0, 1.0
    for k in range(MOST_TERMS):
        term *= (a + k) * (b + k) / ((c + k) * (k + 1.0)) * z
        total += term
        if not abs(term) > 1e-17 * abs(total):
            break
    return total


@compiled
def near_zero(n, a, m):
    """The n-th derivative of pi/2 2F1(a, 1/2; 1; m) for -4 <= m <= 1/2 (DLMF 15.8.1 for negative m)."""
    factor, k = 0.5 * math.pi, 0.0
    while k < n:
        factor *= (a + k) * (0.5 + k) / (k + 1.0)
        k += 1.0
    if m >= 0.0:
        return factor * gauss_series(a + n, 0.5 + n, 1.0 + n, m)
    return factor * math.pow(1.0 - m, -0.5 - n) * gauss_series(1.0 - a, 0.5 + n, 1.0 + n, m / (m - 1.0))


@compiled
def elliptic_derivative(n, a, m):
    """The n-th derivative of y = pi/2 2F1(a, 1/2; 1; m), which is K for a = 1/2 and E for a = -1/2.

    Away from 0 by  m (1 - m) y'' + (1 - (a + 3/2) m) y' = a y/2,  differentiated n - 2 times.
    """
    n = math.floor(n)
    if not (n >= 0.0 and n <= MOST_STEPS):
        return math.nan
    if m >= -4.0 and m <= 0.5:
        return near_zero(n, a, m)
    first, second = ellipk(m), ellipe(m)
    now = first if a > 0.0 else second
    if n == 0.0 or not m < 1.0:
        return now
    rest = m * (1.0 - m)
    above = (0.5 * (second - (1.0 - m) * first) / rest) if a > 0.0 else 0.5 * (second - first) / m
    k = 0.0
    while k < n - 1.0:
        now, above = above, ((a + k) * (0.5 + k) * now - (1.0 + k - (a + 1.5 + 2.0 * k) * m) * above) / rest
        k += 1.0
    return above


@compiled
def ellipk_derivative(n, m):
    """The n-th derivative of K(m)."""
    return elliptic_derivative(n, 0.5, m)


@compiled
def ellipe_derivative(n, m):
    """The n-th derivative of E(m)."""
    return -math.inf if n >= 1.0 and m == 1.0 else elliptic_derivative(n, -0.5, m)
