"""Matrix exponential, square root and logarithm by teams of threads (see `symhess.cuda.teams`).

The methods are those of `symhess.backends.support_matrix_functions`. All matrices of a team lie in its work, one behind
the other; a position stands for a matrix. What has no real value gives NaN.
"""

from __future__ import annotations

import math

from symhess.backends.kernel_functions import compiled
from symhess.backends.support_matrix_functions import (
    EXP_RADIUS,
    LOG_RADIUS,
    MOST_STEPS,
    NODES,
    PADE,
    QUADRATURE,
    ROOT_RESIDUAL,
)
from symhess.cuda.teams import across, lu, meet, solve_record, team_max


@compiled
def norm_of(x, a, n, one, sums, lane, lanes):
    """The largest sum of a column of |A - one I|; infinity where an element is not finite."""
    found = 0.0
    for j in range(lane, n, lanes):
        total = 0.0
        for i in range(n):
            total += abs(x[a + i * n + j] - (one if i == j else 0.0))
        found = max(found, total if total < math.inf else math.inf)
    return team_max(found, x, sums, lane, lanes)


@compiled
def multiplied(x, a, b, c, n, lane, lanes):
    """C = A B."""
    width = across(n, lanes)
    for i in range(lane // width, n, lanes // width):
        for j in range(lane % width, n, width):
            total = 0.0
            for k in range(n):
                total += x[a + i * n + k] * x[b + k * n + j]
            x[c + i * n + j] = total
    meet()


@compiled
def combined(x, c, n, of_c, a, of_a, b, of_b, one, lane, lanes):
    """C becomes of_c C + of_a A + of_b B + one I; what is not to be read has a factor of zero."""
    for e in range(lane, n * n, lanes):
        total = one if e // n == e % n else 0.0
        total += (of_a * x[a + e] if of_a != 0 else 0.0) + (of_b * x[b + e] if of_b != 0 else 0.0)
        x[c + e] = total + of_c * x[c + e] if of_c != 0 else total
    meet()


@compiled
def loaded(a, at, n, x, to, sums, lane, lanes):
    """A matrix into work; False where it is not finite."""
    for e in range(lane, n * n, lanes):
        x[to + e] = a[at + e]
    meet()
    return norm_of(x, to, n, 0.0, sums, lane, lanes) < math.inf


@compiled
def stored(x, a, n, factor, good, out, to, lane, lanes):
    """A multiple of a matrix, or NaN, is the result."""
    for e in range(lane, n * n, lanes):
        out[to + e] = factor * x[a + e] if good else math.nan
    meet()


@compiled
def expm(a, at, n, out, to, work, free, lane, lanes):
    """exp(A) by scaling and squaring of the approximant of order 13; work of n (6 n + 1) + lanes numbers."""
    size, sums, free = n * n, free, free + lanes
    x, x2, x4 = free, free + size, free + 2 * size
    x6, even, odd = free + 3 * size, free + 4 * size, free + 5 * size
    good = loaded(a, at, n, work, x, sums, lane, lanes)
    norm, steps = norm_of(work, x, n, 0.0, sums, lane, lanes), 0
    while good and norm > EXP_RADIUS:
        norm *= 0.5
        steps += 1
    combined(work, x, n, math.ldexp(1.0, -steps), x, 0.0, x, 0.0, 0.0, lane, lanes)
    multiplied(work, x, x, x2, n, lane, lanes)
    multiplied(work, x2, x2, x4, n, lane, lanes)
    multiplied(work, x4, x2, x6, n, lane, lanes)
    half_of(work, x2, x4, x6, n, odd, even, 1, lane, lanes)
    multiplied(work, x, even, odd, n, lane, lanes)
    half_of(work, x2, x4, x6, n, x, even, 0, lane, lanes)
    combined(work, x2, n, 0.0, even, 1.0, odd, 1.0, 0.0, lane, lanes)
    combined(work, x4, n, 0.0, even, 1.0, odd, -1.0, 0.0, lane, lanes)
    lu(work, x4, n, work, odd, lane, lanes)
    solve_record(work, odd, n, work, x2, n, n, False, lane, lanes)
    for _ in range(steps):
        multiplied(work, x2, x2, x4, n, lane, lanes)
        x2, x4 = x4, x2
    stored(work, x2, n, 1.0, good, out, to, lane, lanes)


@compiled
def half_of(x, x2, x4, x6, n, scratch, to, odd, lane, lanes):
    """The even half of the approximant, or the odd one divided by A, by the coefficients from PADE[odd] on."""
    combined(x, scratch, n, 0.0, x2, PADE[8 + odd], x4, PADE[10 + odd], 0.0, lane, lanes)
    combined(x, scratch, n, 1.0, x6, PADE[12 + odd], x6, 0.0, 0.0, lane, lanes)
    multiplied(x, x6, scratch, to, n, lane, lanes)
    combined(x, to, n, 1.0, x2, PADE[2 + odd], x4, PADE[4 + odd], PADE[odd], lane, lanes)
    combined(x, to, n, 1.0, x6, PADE[6 + odd], x6, 0.0, 0.0, lane, lanes)


@compiled
def root(x, a, free, n, sums, lane, lanes):
    """A becomes its square root; False where that is not found. Memory of n (5 n + 1) numbers."""
    m, inverse, product = free, free + n * n, free + 2 * n * n
    given, record = free + 3 * n * n, free + 4 * n * n
    combined(x, m, n, 0.0, a, 1.0, a, 0.0, 0.0, lane, lanes)
    combined(x, given, n, 0.0, a, 1.0, a, 0.0, 0.0, lane, lanes)
    for _ in range(MOST_STEPS):
        lu(x, m, n, x, record, lane, lanes)
        mean = 0.0
        for i in range(n):
            mean += math.log(abs(x[record + i * n + i])) / n
        if not -math.inf < mean < math.inf:
            return False
        off = norm_of(x, m, n, 1.0, sums, lane, lanes)
        mu = math.exp(-0.5 * mean) if off > 0.01 else 1.0
        combined(x, inverse, n, 0.0, m, 0.0, m, 0.0, 1.0, lane, lanes)
        solve_record(x, record, n, x, inverse, n, n, False, lane, lanes)
        combined(x, m, n, 0.25 * mu * mu, inverse, 0.25 / (mu * mu), m, 0.0, 0.5, lane, lanes)
        combined(x, inverse, n, 0.5 / mu, m, 0.0, m, 0.0, 0.5 * mu, lane, lanes)
        multiplied(x, a, inverse, product, n, lane, lanes)
        combined(x, a, n, 0.0, product, 1.0, product, 0.0, 0.0, lane, lanes)
        if off < 1e-15 * n or (off < 1e-7 and norm_of(x, m, n, 1.0, sums, lane, lanes) >= off):
            multiplied(x, a, a, product, n, lane, lanes)
            combined(x, product, n, 1.0, given, -1.0, given, 0.0, 0.0, lane, lanes)
            size = norm_of(x, a, n, 0.0, sums, lane, lanes)
            return norm_of(x, product, n, 0.0, sums, lane, lanes) <= ROOT_RESIDUAL * size * size
    return False


@compiled
def sqrtm(a, at, n, out, to, work, free, lane, lanes):
    """The square root by the product form of Denman and Beavers' iteration; work of n (6 n + 1) + lanes numbers."""
    sums, free = free, free + lanes
    good = loaded(a, at, n, work, free, sums, lane, lanes)
    if good:
        good = root(work, free, free + n * n, n, sums, lane, lanes)
    stored(work, free, n, 1.0, good, out, to, lane, lanes)


@compiled
def logm(a, at, n, out, to, work, free, lane, lanes):
    """The logarithm by inverse scaling and squaring; work of n (6 n + 1) + lanes numbers."""
    sums, free = free, free + lanes
    good = loaded(a, at, n, work, free, sums, lane, lanes)
    more, doublings = free + n * n, 0
    while good and doublings < MOST_STEPS and norm_of(work, free, n, 1.0, sums, lane, lanes) > LOG_RADIUS:
        good = root(work, free, more, n, sums, lane, lanes)
        doublings += 1
    total, part, record = more, more + n * n, more + 4 * n * n
    shifted = more + 2 * n * n
    combined(work, free, n, 1.0, free, 0.0, free, 0.0, -1.0, lane, lanes)
    combined(work, total, n, 0.0, free, 0.0, free, 0.0, 0.0, lane, lanes)
    for k in range(len(NODES)):
        combined(work, shifted, n, 0.0, free, 0.5 * (NODES[k] + 1.0), free, 0.0, 1.0, lane, lanes)
        lu(work, shifted, n, work, record, lane, lanes)
        combined(work, part, n, 0.0, free, 1.0, free, 0.0, 0.0, lane, lanes)
        solve_record(work, record, n, work, part, n, n, False, lane, lanes)
        combined(work, total, n, 1.0, part, 0.5 * QUADRATURE[k], part, 0.0, 0.0, lane, lanes)
    stored(work, total, n, math.ldexp(1.0, doublings), good, out, to, lane, lanes)


NAMES = {f.__name__: f for f in (
    norm_of, multiplied, combined, loaded, stored, expm, half_of, root, sqrtm, logm)}
