"""Eigenvalues, singular values, QR and pseudoinverses by teams of threads (see `symhess.cuda.teams`).

    eigh    Jacobi's rotations of both sides: pairs of rows and columns that have none in common turn at once
    svd     one-sided rotations that make the columns of A V orthogonal (Hestenes 1958); they are U diag(s) then
    qr      Householder's reflections with the signs of LAPACK
    pinv    by way of svd

Records are those of `symhess.primitives.decompositions`; work is in double precision whatever the precision of the
matrix. A matrix that is not finite, or whose rotations do not come to an end, gives NaN. Vectors are those of LAPACK
but for their signs, and but for the basis where values repeat.
"""

from __future__ import annotations

import math

from symhess.backends.kernel_functions import compiled
from symhess.backends.plain import select
from symhess.cuda.teams import across, filled, largest, meet, team_sum

#: sweeps of rotations over all pairs; about ten are needed
MOST_SWEEPS = 40
EPSILON = 2.220446049250313e-16
#: columns shorter than this share of the largest entry have no direction
SHORTEST = 1e-150
#: a rotation by an angle whose tangent is about this small has no other terms
FLAT = 1e15


@compiled
def first_of(pair, r, n):
    """The players of a pair in round r of a tournament of n, an even number: all meet all in n - 1 rounds."""
    return n - 1 if pair == 0 else (r + pair) % (n - 1)


@compiled
def second_of(pair, r, n):
    """The other player."""
    return (r - pair + n - 1) % (n - 1)


@compiled
def tangent(difference, twice):
    """tan of the smaller angle that makes an off-diagonal element zero: t^2 + (difference / twice) 2 t = 1."""
    zeta = difference / twice
    if abs(zeta) > FLAT:
        return 0.5 / zeta
    t = 1.0 / (abs(zeta) + math.sqrt(1.0 + zeta * zeta))
    return t if zeta >= 0 else -t


@compiled
def power_near(x):
    """A power of two that brings x near 1."""
    _, exponent = math.frexp(x)
    return math.ldexp(1.0, -max(exponent, -1000))


@compiled
def place_of(values, at, n, k, ascending):
    """The place of the value number k where values are in order."""
    before = 0
    for i in range(n):
        x, y = values[at + i], values[at + k]
        if (x < y if ascending else x > y) or (x == y and i < k):
            before += 1
    return before


# -- symmetric eigenvalue problems ---------------------------------------------------------------------------------


@compiled
def eigh(a, at, n, out, to, work, free, lane, lanes):
    """The record of A = V diag(w) V^T, from the lower triangle of A; work of n (2 n + 1) + 1 + lanes numbers."""
    sums, free = free, free + lanes
    size = largest(a, at, n * n, work, sums, lane, lanes)
    if size == math.inf:
        filled(out, to, n * (n + 1), math.nan, lane, lanes)
        return
    scale = power_near(size)
    v, turns = free + n * n, free + 2 * n * n
    norm = 0.0
    for e in range(lane, n * n, lanes):
        i, j = e // n, e % n
        x = scale * a[at + (e if i >= j else j * n + i)]
        norm += x * x
        work[free + e] = x
        work[v + e] = 1.0 if i == j else 0.0
    limit = EPSILON * math.sqrt(team_sum(norm, work, sums, lane, lanes)) / n
    turned, sweeps = 1.0, 0
    while turned > 0 and sweeps < MOST_SWEEPS:
        turned = eigh_sweep(work, free, v, turns, n, limit, sums, lane, lanes)
        sweeps += 1
    for j in range(lane, n, lanes):
        work[turns + j] = work[free + j * n + j]
    meet()
    for j in range(lane, n, lanes):
        column = place_of(work, turns, n, j, True)
        out[to + column] = work[turns + j] / scale if turned == 0 else math.nan
        for i in range(n):
            out[to + (i + 1) * n + column] = work[v + i * n + j] if turned == 0 else math.nan
    meet()


@compiled
def eigh_sweep(work, a, v, turns, n, limit, sums, lane, lanes):
    """Every pair is turned once; how many were above the limit."""
    players, turned = n + n % 2, 0.0
    pairs, width = players // 2, across(players // 2, lanes)
    column, row, rows = lane % width, lane // width, lanes // width
    for r in range(players - 1):
        for k in range(lane, pairs, lanes):
            i, j = first_of(k, r, players), second_of(k, r, players)
            s, half = 0.0, 0.0
            if i < n and j < n and abs(work[a + i * n + j]) > limit:
                t = tangent(work[a + j * n + j] - work[a + i * n + i], 2.0 * work[a + i * n + j])
                c = 1.0 / math.sqrt(1.0 + t * t)
                s, half = c * t, c * t / (1.0 + c)
                turned += 1.0
            work[turns + 2 * k] = s
            work[turns + 2 * k + 1] = half
        meet()
        for k in range(column, pairs, width):
            i, j, s = first_of(k, r, players), second_of(k, r, players), work[turns + 2 * k]
            if s != 0:
                turn(work, a + i, a + j, row, rows, n, n, s, work[turns + 2 * k + 1])
                turn(work, v + i, v + j, row, rows, n, n, s, work[turns + 2 * k + 1])
        meet()
        for k in range(row, pairs, rows):
            i, j, s = first_of(k, r, players), second_of(k, r, players), work[turns + 2 * k]
            if s != 0:
                turn(work, a + i * n, a + j * n, column, width, n, 1, s, work[turns + 2 * k + 1])
        meet()
        for k in range(lane, pairs, lanes):
            i, j = first_of(k, r, players), second_of(k, r, players)
            if work[turns + 2 * k] != 0:
                work[a + i * n + j] = 0.0
                work[a + j * n + i] = 0.0
    return team_sum(turned, work, sums, lane, lanes)


@compiled
def turn(x, one, other, first, by, n, step, s, half):
    """(x_i, x_j) becomes (c x_i - s x_j, s x_i + c x_j) for some elements of two rows or columns, where
    half = s / (1 + c), the tangent of half the angle: c = 1 - half s loses nothing where the angle is small."""
    for e in range(first, n, by):
        u, v = x[one + e * step], x[other + e * step]
        x[one + e * step] = u - s * (v + half * u)
        x[other + e * step] = v + s * (u - half * v)


# -- singular values -----------------------------------------------------------------------------------------------


@compiled
def svd(a, at, m, n, out, to, work, free, lane, lanes):
    """The record of A = U diag(s) V^T; with k = min(m, n), work of k (m + n + 2) + max(m, n) + 3 lanes numbers.

    A wide matrix is transposed, so that G, which begins as A and ends as U, has k columns.
    """
    k, rows = min(m, n), max(m, n)
    sums, free = free, free + 3 * lanes
    size = largest(a, at, m * n, work, sums, lane, lanes)
    if size == math.inf:
        filled(out, to, (m + 1 + n) * k, math.nan, lane, lanes)
        return
    scale = power_near(size)
    v, s = free + rows * k, free + (rows + k) * k
    for e in range(lane, rows * k, lanes):
        i, j = e // k, e % k
        work[free + e] = scale * a[at + (j * n + i if m < n else e)]
    for e in range(lane, k * k, lanes):
        work[v + e] = 1.0 if e // k == e % k else 0.0
    meet()
    turned, sweeps = 1.0, 0
    while turned > 0 and sweeps < MOST_SWEEPS:
        turned = svd_sweep(work, free, rows, v, k, sums, lane, lanes)
        sweeps += 1
    divided(work, free, rows, k, s, lane, lanes)
    completed(work, free, rows, k, s, sums, lane, lanes)
    left, right = (v, free) if m < n else (free, v)
    for j in range(lane, k, lanes):
        column = place_of(work, s, k, j, False)
        out[to + m * k + column] = work[s + j] / scale if turned == 0 else math.nan
        for i in range(m):
            out[to + i * k + column] = work[left + i * k + j] if turned == 0 else math.nan
        for i in range(n):
            out[to + (m + 1 + i) * k + column] = work[right + i * k + j] if turned == 0 else math.nan
    meet()


@compiled
def svd_sweep(work, g, rows, v, n, sums, lane, lanes):
    """Every pair of columns is made orthogonal once; how many were not. The threads of a pair share its rows."""
    players, turned, limit = n + n % 2, 0.0, EPSILON * math.sqrt(float(rows))
    pairs, width = players // 2, across(players // 2, lanes)
    part, parts = lane // width, lanes // width
    for r in range(players - 1):
        for first in range(0, pairs, width):
            k = first + lane % width
            i, j = first_of(k, r, players), second_of(k, r, players)
            here = k < pairs and i < n and j < n
            uu, vv, uv = 0.0, 0.0, 0.0
            for e in range(part, rows if here else 0, parts):
                x, y = work[g + e * n + i], work[g + e * n + j]
                uu, vv, uv = uu + x * x, vv + y * y, uv + x * y
            if parts > 1:
                work[sums + 3 * lane], work[sums + 3 * lane + 1], work[sums + 3 * lane + 2] = uu, vv, uv
                meet()
                uu, vv, uv = 0.0, 0.0, 0.0
                for e in range(lane % width, lanes, width):
                    uu, vv = uu + work[sums + 3 * e], vv + work[sums + 3 * e + 1]
                    uv += work[sums + 3 * e + 2]
            lengths = math.sqrt(uu) * math.sqrt(vv)
            if min(uu, vv) > SHORTEST * SHORTEST and abs(uv) > limit * lengths:
                t = tangent(vv - uu, 2.0 * uv)
                c = 1.0 / math.sqrt(1.0 + t * t)
                turn(work, g + i, g + j, part, parts, rows, n, c * t, c * t / (1.0 + c))
                turn(work, v + i, v + j, part, parts, n, n, c * t, c * t / (1.0 + c))
                turned += 1.0
            meet()
    return team_sum(turned, work, sums, lane, lanes)


@compiled
def divided(work, g, rows, n, s, lane, lanes):
    """The lengths of all columns, which become 1; a column without a direction is cleared."""
    for j in range(lane, n, lanes):
        total = 0.0
        for i in range(rows):
            total += work[g + i * n + j] * work[g + i * n + j]
        length = math.sqrt(total)
        work[s + j] = length
        for i in range(rows):
            work[g + i * n + j] = work[g + i * n + j] / length if length > SHORTEST else 0.0
    meet()


@compiled
def completed(work, g, rows, n, s, sums, lane, lanes):
    """A unit vector for every cleared column: what is left of the unit vector that the others miss most.

    Of a row of U, 1 - |row|^2 is what is left of its unit vector; it is kept for all rows behind s.
    """
    inner, rest = s + n, s + 2 * n
    for j in range(n):
        if work[s + j] <= SHORTEST:
            for i in range(lane, rows, lanes):
                work[rest + i] = 1.0
                for c in range(n):
                    work[rest + i] -= work[g + i * n + c] * work[g + i * n + c]
            meet()
            farthest = 0
            for i in range(rows):
                if work[rest + i] > work[rest + farthest]:
                    farthest = i
            meet()
            for i in range(lane, rows, lanes):
                work[rest + i] = 1.0 if i == farthest else 0.0
            for _ in range(2):
                meet()
                for c in range(lane, n, lanes):
                    total = 0.0
                    for i in range(rows):
                        total += work[g + i * n + c] * work[rest + i]
                    work[inner + c] = total
                meet()
                for i in range(lane, rows, lanes):
                    for c in range(n):
                        work[rest + i] -= work[g + i * n + c] * work[inner + c]
            length = 0.0
            for i in range(lane, rows, lanes):
                length += work[rest + i] * work[rest + i]
            length = math.sqrt(team_sum(length, work, sums, lane, lanes))
            for i in range(lane, rows, lanes):
                work[g + i * n + j] = work[rest + i] / length
            meet()


@compiled
def pinv(a, at, m, n, out, to, rcond, work, free, lane, lanes):
    """The pseudoinverse without singular values below rcond times the largest; work of a record and that of svd."""
    k = min(m, n)
    s, v, more = free + m * k, free + (m + 1) * k, free + (m + 1 + n) * k
    svd(a, at, m, n, work, free, work, more, lane, lanes)
    meet()
    for e in range(lane, n * m, lanes):
        i, j = e // m, e % m
        total = 0.0 * work[s]
        for r in range(k):
            if work[s + r] > rcond * work[s]:
                total += work[v + i * k + r] * work[free + j * k + r] / work[s + r]
        out[to + e] = total
    meet()


# -- QR ------------------------------------------------------------------------------------------------------------


@compiled
def qr(a, at, m, n, out, to, work, free, lane, lanes):
    """The record of A = Q R for m >= n; work of (m + 1) n + lanes numbers.

    Column j is taken to beta e_j by I - tau v v^T, where v_j = 1 and the rest of v is kept below the diagonal.
    """
    if largest(a, at, m * n, work, free, lane, lanes) == math.inf:
        filled(out, to, (m + n) * n, math.nan, lane, lanes)
        return
    free += lanes
    tau = free + m * n
    for e in range(lane, m * n, lanes):
        work[free + e] = a[at + e]
    meet()
    for j in range(n):
        reflector(work, free, m, n, j, tau, lane, lanes)
        reflected(work, free, m, n, j, work[tau + j], lane, lanes)
    for e in range(lane, n * n, lanes):
        out[to + m * n + e] = work[free + e] if e // n <= e % n else 0.0
    meet()
    for k in range(n):
        j = n - 1 - k
        reflected(work, free, m, n, j, work[tau + j], lane, lanes)
        for i in range(lane, m, lanes):
            v = select(i < j, 0.0, select(i == j, 1.0, work[free + i * n + j]))
            work[free + i * n + j] = select(i == j, 1.0, 0.0) - work[tau + j] * v
        meet()
    for e in range(lane, m * n, lanes):
        out[to + e] = work[free + e]
    meet()


@compiled
def reflector(q, at, m, n, j, tau, lane, lanes):
    """The reflection of column j, in its place, and its tau; none where the column is zero below the diagonal."""
    size = 0.0
    for i in range(j + 1, m):
        size = max(size, abs(q[at + i * n + j]))
    beta, below = 1.0, size > 0
    if below:
        size = max(size, abs(q[at + j * n + j]))
        total = 0.0
        for i in range(j, m):
            total += (q[at + i * n + j] / size) ** 2
        beta = -math.copysign(math.sqrt(total), q[at + j * n + j])
    alpha = q[at + j * n + j] / size if below else beta
    meet()
    for i in range(j + 1 + lane, m, lanes):
        if below:
            q[at + i * n + j] = q[at + i * n + j] / size / (alpha - beta)
    if lane == 0:
        q[tau + j] = (beta - alpha) / beta
        if below:
            q[at + j * n + j] = beta * size
    meet()


@compiled
def reflected(q, at, m, n, j, tau, lane, lanes):
    """The reflection of column j of all columns behind it."""
    for c in range(j + 1 + lane, n, lanes):
        total = q[at + j * n + c]
        for i in range(j + 1, m):
            total += q[at + i * n + j] * q[at + i * n + c]
        total *= tau
        q[at + j * n + c] -= total
        for i in range(j + 1, m):
            q[at + i * n + c] -= total * q[at + i * n + j]
    meet()


NAMES = {f.__name__: f for f in (
    first_of, second_of, tangent, power_near, place_of, eigh, eigh_sweep, turn, svd, svd_sweep, divided, completed,
    pinv, qr, reflector, reflected)}
