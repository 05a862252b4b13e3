"""Fast Fourier transforms by teams of threads (see `symhess.cuda.teams`): Stockham's, in passes for the factors of n.

Numbers are pairs (re, im), computed in double precision. A factor p costs p operations for every number, so a length
that is a large prime is summed up as it stands.
"""

from __future__ import annotations

import math

from symhess.backends.kernel_functions import compiled
from symhess.backends.plain import select
from symhess.cuda.teams import meet


@compiled
def factor_of(n):
    """Four, or the smallest prime, that divides n > 1."""
    if n % 4 == 0:
        return 4
    p = 2
    while p * p <= n:
        if n % p == 0:
            return p
        p += 1
    return n


@compiled
def unit_roots(x, to, n, sign, lane, lanes):
    """exp(sign 2 pi i k / n) for all k, each angle reduced to an eighth of the circle."""
    for k in range(lane, n, lanes):
        quarter = (8 * k // n + 1) // 2
        angle = math.pi * float(8 * k - 2 * quarter * n) / float(4 * n)
        c, s = math.cos(angle), math.sin(angle)
        across, turned = quarter % 2 == 1, quarter % 4
        re, im = select(across, -s, c), select(across, c, s)
        x[to + 2 * k] = select(turned >= 2, -re, re)
        x[to + 2 * k + 1] = sign * select(turned >= 2, -im, im)
    meet()


@compiled
def pass_of(w, x, y, roots, n, p, l, m, lane, lanes):
    """y[k + m (p j + r)] = w^(m j r) sum_q w_p^(q r) x[k + m (j + l q)], where n = p l m and w = exp(2 pi i / n)."""
    for e in range(lane, n, lanes):
        k, r, j = e % m, e // m % p, e // (m * p)
        re, im, at = 0.0, 0.0, 0
        for q in range(p):
            c, s = w[roots + 2 * at], w[roots + 2 * at + 1]
            source = x + 2 * (k + m * (j + l * q))
            re += c * w[source] - s * w[source + 1]
            im += s * w[source] + c * w[source + 1]
            at = (at + r * (n // p)) % n
        c, s = w[roots + 2 * (j * r * m)], w[roots + 2 * (j * r * m) + 1]
        w[y + 2 * e] = c * re - s * im
        w[y + 2 * e + 1] = s * re + c * im
    meet()


@compiled
def dft(v, at, n, out, to, inverse, work, free, lane, lanes):
    """u_k = sum_j exp(-+ 2 pi i j k / n) v_j; work of 6 n numbers."""
    roots, x, y = free, free + 2 * n, free + 4 * n
    unit_roots(work, roots, n, 1.0 if inverse else -1.0, lane, lanes)
    for e in range(lane, 2 * n, lanes):
        work[x + e] = v[at + e]
    meet()
    l, m = n, 1
    while l > 1:
        p = factor_of(l)
        l //= p
        pass_of(work, x, y, roots, n, p, l, m, lane, lanes)
        x, y = y, x
        m *= p
    for e in range(lane, 2 * n, lanes):
        out[to + e] = work[x + e]
    meet()


NAMES = {f.__name__: f for f in (factor_of, unit_roots, pass_of, dft)}
