"""How the polynomials of `symhess.cuda.coefficients` come about: run as a program, this prints that module.

Each is a Chebyshev interpolant, computed with 40 digits, of a smooth function on an interval, cut off where what is
left is below the last digit of a double, and written in powers of t, which goes from -1 to 1 on the interval.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath
from mpmath import mpf

#: the positive zero of Ei
EI_ZERO = mpmath.findroot(mpmath.ei, 0.3725)


def hankel(order: int, part: str) -> Callable:
    """P or (x/8) Q of H_n(x) = sqrt(2/(pi x)) (P + i Q) exp(i (x - n pi/2 - pi/4)), as a function of w = (8/x)^2."""
    def function(w: mpf) -> mpf:
        if w == 0:
            return mpf(1) if part == "P" else mpf(4 * order**2 - 1) / 64
        x = 8 / mpmath.sqrt(w)
        phase = x - order * mpmath.pi / 2 - mpmath.pi / 4
        turned = (mpmath.besselj(order, x) + 1j * mpmath.bessely(order, x)) * mpmath.expj(-phase)
        turned *= mpmath.sqrt(mpmath.pi * x / 2)
        return turned.real if part == "P" else turned.imag * x / 8

    return function


def smooth_y(order: int) -> Callable:
    """Y_0 - (2/pi) log(x) J_0, or (Y_1 - (2/pi) (log(x) J_1 - 1/x)) / x, as a function of x^2."""
    def function(square: mpf) -> mpf:
        x = mpmath.sqrt(square) if square else mpf(10) ** -18
        j, y = mpmath.besselj(order, x), mpmath.bessely(order, x)
        return (y - 2 / mpmath.pi * (mpmath.log(x) * j - (1 / x if order else 0))) / (x if order else 1)

    return function


def dawson(x: mpf) -> mpf:
    """exp(-x^2) int_0^x exp(t^2) dt."""
    return mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(-x * x) * mpmath.erfi(x)


def at_zero(value: float, function: Callable) -> Callable:
    """A function with its limit at 0 filled in."""
    return lambda v: function(v) if v else mpf(value)


def temme_gamma(which: int) -> Callable:
    """(1/gamma(1-m) - 1/gamma(1+m)) / (2 m), or (1/gamma(1-m) + 1/gamma(1+m)) / 2, as a function of m^2."""
    def function(square: mpf) -> mpf:
        m = mpmath.sqrt(square) if square else mpf(10) ** -15
        below, above = mpmath.rgamma(1 - m), mpmath.rgamma(1 + m)
        return (below - above) / (2 * m) if which == 1 else (below + above) / 2

    return function


def log_gamma_1p(x: mpf) -> mpf:
    """log(gamma(1 + x)) / x."""
    return mpmath.loggamma(1 + x) / x if x else -mpmath.euler


def scaled_expi(u: mpf) -> mpf:
    """x exp(-x) Ei(x) at x = 1/u."""
    return mpmath.ei(1 / u) * mpmath.exp(-1 / u) / u if u else mpf(1)


def scaled_exp1(u: mpf) -> mpf:
    """x exp(x) E1(x) at x = 1/u."""
    return mpmath.e1(1 / u) * mpmath.exp(1 / u) / u if u else mpf(1)


#: name -> (meaning, function, lower end, upper end)
POLYNOMIALS: dict[str, tuple[str, Callable, object, object]] = {
    "I0_FAR": ("sqrt(x) exp(-x) I_0(x), of 1/x <= 1/8", lambda u: bessel_far(mpmath.besseli, 0, -1, u), 0, mpf(1) / 8),
    "I1_FAR": ("sqrt(x) exp(-x) I_1(x), of 1/x <= 1/8", lambda u: bessel_far(mpmath.besseli, 1, -1, u), 0, mpf(1) / 8),
    "K0_FAR": ("sqrt(x) exp(x) K_0(x), of 1/x <= 1/2", lambda u: bessel_far(mpmath.besselk, 0, 1, u), 0, mpf(1) / 2),
    "K1_FAR": ("sqrt(x) exp(x) K_1(x), of 1/x <= 1/2", lambda u: bessel_far(mpmath.besselk, 1, 1, u), 0, mpf(1) / 2),
    "J0_NEAR": ("J_0(x), of x^2 <= 64", lambda w: mpmath.besselj(0, mpmath.sqrt(w)), 0, 64),
    "J1_NEAR": ("J_1(x) / x, of x^2 <= 64",
                at_zero(0.5, lambda w: mpmath.besselj(1, mpmath.sqrt(w)) / mpmath.sqrt(w)), 0, 64),
    "Y0_NEAR": ("Y_0(x) - (2/pi) log(x) J_0(x), of x^2 <= 64", smooth_y(0), 0, 64),
    "Y1_NEAR": ("(Y_1(x) - (2/pi) (log(x) J_1(x) - 1/x)) / x, of x^2 <= 64", smooth_y(1), 0, 64),
    "P0_FAR": ("Hankel's P of order 0, of (8/x)^2 <= 1", hankel(0, "P"), 0, 1),
    "Q0_FAR": ("Hankel's Q of order 0 times x/8, of (8/x)^2 <= 1", hankel(0, "Q"), 0, 1),
    "P1_FAR": ("Hankel's P of order 1, of (8/x)^2 <= 1", hankel(1, "P"), 0, 1),
    "Q1_FAR": ("Hankel's Q of order 1 times x/8, of (8/x)^2 <= 1", hankel(1, "Q"), 0, 1),
    "GAMMA_1": ("(1/gamma(1-m) - 1/gamma(1+m)) / (2 m), of m^2 <= 1/4", temme_gamma(1), 0, mpf(1) / 4),
    "GAMMA_2": ("(1/gamma(1-m) + 1/gamma(1+m)) / 2, of m^2 <= 1/4", temme_gamma(2), 0, mpf(1) / 4),
    "LOG_GAMMA_1P": ("log(gamma(1 + x)) / x, of |x| <= 1/2", log_gamma_1p, -mpf(1) / 2, mpf(1) / 2),
    "DAWSON_0": ("dawsn(x) / x, of x^2 <= 4", at_zero(1, lambda w: dawson(mpmath.sqrt(w)) / mpmath.sqrt(w)), 0, 4),
    "DAWSON_2": ("x dawsn(x), of 2 <= x <= 4", lambda x: x * dawson(x), 2, 4),
    "DAWSON_4": ("x dawsn(x), of 4 <= x <= 8", lambda x: x * dawson(x), 4, 8),
    "DAWSON_8": ("x dawsn(x), of 1/x^2 <= 1/64",
                 at_zero(0.5, lambda w: dawson(1 / mpmath.sqrt(w)) / mpmath.sqrt(w)), 0, mpf(1) / 64),
    "EXP1_0": ("E_1(x) + log(x), of x <= 2", at_zero(-mpmath.euler, lambda x: mpmath.e1(x) + mpmath.log(x)), 0, 2),
    "EXP1_1": ("x exp(x) E_1(x), of 1/4 <= 1/x <= 1", scaled_exp1, mpf(1) / 4, 1),
    "EXP1_4": ("x exp(x) E_1(x), of 1/x <= 1/4", scaled_exp1, 0, mpf(1) / 4),
    "EXPI_0": ("(Ei(x) - log(x / zero)) / (x - zero), of x <= 6",
               lambda x: ((mpmath.ei(x) if x else mpmath.euler) - (mpmath.log(x / EI_ZERO) if x else
                                                                    -mpmath.log(EI_ZERO))) / (x - EI_ZERO), 0, 6),
    "EXPI_6": ("x exp(-x) Ei(x), of 1/12 <= 1/x <= 1/6", scaled_expi, mpf(1) / 12, mpf(1) / 6),
    "EXPI_12": ("x exp(-x) Ei(x), of 1/24 <= 1/x <= 1/12", scaled_expi, mpf(1) / 24, mpf(1) / 12),
    "EXPI_24": ("x exp(-x) Ei(x), of 1/x <= 1/24", scaled_expi, 0, mpf(1) / 24),
}


def bessel_far(function: Callable, order: int, sign: int, u: mpf) -> mpf:
    """sqrt(x) exp(+-x) times a modified Bessel function at x = 1/u."""
    if not u:
        return 1 / mpmath.sqrt(2 * mpmath.pi) if sign < 0 else mpmath.sqrt(mpmath.pi / 2)
    return function(order, 1 / u) * mpmath.exp(sign / u) / mpmath.sqrt(u)


def chebyshev(function: Callable, low: object, high: object, count: int = 64) -> list[mpf]:
    """Coefficients of the interpolant in the zeros of T_count."""
    angles = [mpmath.pi * (k + mpf(1) / 2) / count for k in range(count)]
    values = [function((low + high) / mpf(2) + mpmath.cos(a) * (high - low) / mpf(2)) for a in angles]
    sums = [2 * mpmath.fsum(v * mpmath.cos(j * a) for v, a in zip(values, angles)) / count for j in range(count)]
    return [sums[0] / 2, *sums[1:]]


def powers(coefficients: list[mpf]) -> list[mpf]:
    """sum_j c_j T_j(t) in powers of t, the constant first."""
    total, before, now = [mpf(0)] * len(coefficients), [mpf(1)], [mpf(0), mpf(1)]
    for c in coefficients:
        total = [a + c * b for a, b in zip(total, before + [mpf(0)] * len(total))]
        twice = [mpf(0), *(2 * b for b in now)]
        before, now = now, [a - b for a, b in zip(twice, before + [mpf(0)] * len(twice))]
    return total


def fitted(function: Callable, low: object, high: object) -> list[float]:
    """The polynomial in t, cut off where the rest is below 2^-56 of the largest coefficient."""
    with mpmath.workdps(40):
        c = chebyshev(function, mpf(low), mpf(high))
        least = max(map(abs, c)) / 2**56
        size = next(k for k in range(len(c)) if sum(map(abs, c[k:])) < least)
        return list(map(float, powers(c[:size])))


def temme(rows: int, columns: int) -> list[list[mpf]]:
    """The coefficients of c_k(e) = sum_n d_kn e^n in Temme's expansion of Q(a, x) (DLMF 8.12.10).

    With m = x/a - 1 and e^2/2 = m - log(1 + m):  c_0 = 1/m - 1/e,  c_k = c_(k-1)'/e + (-1)^k g_k/m, where g_k are the
    coefficients of Stirling's series of the gamma function.
    """
    size = columns + 2 * rows + 2
    m = [mpf(0), mpf(1)]  # m(e): e m' ... from  m m' = e (1 + m)
    for n in range(2, size + 1):
        known = sum(m[j] * m[n - j + 1] * (n - j + 1) for j in range(2, n))
        m.append((m[n - 1] - known) / (n + 1))
    inverse = [mpf(1)]  # e/m as a series
    for n in range(1, size):
        inverse.append(-sum(m[j + 1] * inverse[n - j] for j in range(1, n + 1)))
    stirling = [mpf(1)]  # exp(sum_k B_2k / (2k (2k-1)) z^(1-2k)) in powers of 1/z
    logs = [mpf(0) if n % 2 == 0 else mpmath.bernoulli(n + 1) / (n * (n + 1)) for n in range(rows + 1)]
    for n in range(1, rows):
        stirling.append(sum(j * logs[j] * stirling[n - j] for j in range(1, n + 1)) / n)
    c, found = inverse[1:], []
    for k in range(rows):
        found.append(c[:columns])
        sign = -stirling[k + 1] if k % 2 == 0 and k + 1 < rows else stirling[k + 1] if k + 1 < rows else mpf(0)
        # c'/e has the pole c_1/e, which cancels that of the other part
        c = [c[n + 2] * (n + 2) + sign * inverse[n + 1] for n in range(len(c) - 2)]
    return found


def module() -> str:
    """The text of `symhess.cuda.coefficients`."""
    parts = [HEAD]
    for name, (meaning, function, low, high) in POLYNOMIALS.items():
        parts.append(f"#: {meaning}\n{name} = np.array([\n{lines(fitted(function, low, high))}])\n")
    with mpmath.workdps(60):
        rows = ["[\n" + lines(list(map(float, row))) + "]" for row in temme(*TEMME_SIZE)]
    parts.append("#: c_k(e) = sum_n TEMME[k, n] e^n (DLMF 8.12.10)\nTEMME = np.array([" + ", ".join(rows) + "])\n")
    return "".join(parts)


#: enough for a >= 60 and |x - a| <= 0.3 a
TEMME_SIZE = (8, 17)
HEAD = '''"""Polynomials of special functions, made by `tests/special_coefficients.py`.

Coefficients are those of powers of t, the constant first, where t goes from -1 to 1 on the interval.
"""

from __future__ import annotations

import numpy as np

'''


def lines(numbers: list[float]) -> str:
    """Numbers of an array, four a line."""
    rows = [", ".join(map(repr, numbers[k:k + 4])) for k in range(0, len(numbers), 4)]
    return ",\n".join("    " + row for row in rows)


if __name__ == "__main__":
    print(module(), end="")
