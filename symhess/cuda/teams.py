"""Factors of matrices and what follows from them, by teams: one thread, or all threads of a block.

A function of a team runs in each of its threads, `lane` of `lanes`. They share loops, and wait for each other where
`meet` stands, which all of them have to reach: whatever decides about that is read from memory or is a total of the
team. A team of one thread has one lane, and does not wait. Teams have no memory that threads share but work: numba-cuda
links a function as often as others call it, which what it reserves for a block does not survive.

An array and the position where a matrix begins in it stand for the matrix, which is in row-major order; `work` is
memory of the team's own, in double precision. A record of `lu` is n rows of L and U and one row of pivots, all of them
float64. What cannot be factored is filled with NaN.
"""

from __future__ import annotations

import math

from symhess.backends.kernel_functions import compiled

# -- teams ---------------------------------------------------------------------------------------------------------


@compiled
def meet():
    """Every thread of the team waits for all others."""


@compiled
def team_sum(x, work, sums, lane, lanes):
    """The sum of a number over the threads of the team, by way of work of `lanes` numbers; all of them get it."""
    work[sums + lane] = x
    meet()
    total = 0.0
    for k in range(lanes):
        total += work[sums + k]
    meet()
    return total


@compiled
def team_max(x, work, sums, lane, lanes):
    """The largest number of the threads of the team."""
    work[sums + lane] = x
    meet()
    found = x
    for k in range(lanes):
        found = max(found, work[sums + k])
    meet()
    return found


@compiled
def across(width, lanes):
    """How many threads of a team lie along the rows of a matrix; the others share its rows."""
    found = 1
    while 2 * found <= width and 2 * found < lanes and found < 32:
        found *= 2
    return found


@compiled
def largest(a, at, count, work, sums, lane, lanes):
    """The largest absolute value of an array; infinity where one is infinite or NaN."""
    found = 0.0
    for k in range(lane, count, lanes):
        x = abs(a[at + k])
        found = max(found, x if x < math.inf else math.inf)
    return team_max(found, work, sums, lane, lanes)


@compiled
def filled(a, at, count, value, lane, lanes):
    """Every element is one number."""
    for k in range(lane, count, lanes):
        a[at + k] = value


# -- factors -------------------------------------------------------------------------------------------------------


@compiled
def cholesky(a, at, n, l, to, lane, lanes):
    """The lower L with A = L L^T, from the lower triangle of A.

    While it is made, row j above the diagonal is column j of L, so that neighbouring threads read neighbouring places;
    the diagonal keeps the pivots.
    """
    positive = True
    for j in range(n):
        for i in range(j + lane, n, lanes):
            total = a[at + i * n + j]
            for k in range(j):
                total -= l[to + k * n + i] * l[to + k * n + j]
            l[to + j * n + i] = total
        meet()
        pivot = l[to + j * n + j]
        positive = positive and 0 < pivot < math.inf
        root = math.sqrt(pivot if positive else 1.0)
        for i in range(j + 1 + lane, n, lanes):
            l[to + j * n + i] /= root
        meet()
    for i in range(lane, n, lanes):
        l[to + i * n + i] = math.sqrt(l[to + i * n + i]) if positive else math.nan
        for j in range(i):
            l[to + i * n + j] = l[to + j * n + i] if positive else math.nan
            l[to + j * n + i] = 0.0 if positive else math.nan


@compiled
def lu(a, at, n, f, to, lane, lanes):
    """The record of P A = L U, with the largest entry of each column as its pivot."""
    for k in range(lane, n * n, lanes):
        f[to + k] = a[at + k]
    meet()
    for j in range(n):
        p = j
        for i in range(j + 1, n):
            if abs(f[to + i * n + j]) > abs(f[to + p * n + j]):
                p = i
        meet()
        if lane == 0:
            f[to + n * n + j] = p
        if p != j:
            for c in range(lane, n, lanes):
                kept = f[to + j * n + c]
                f[to + j * n + c] = f[to + p * n + c]
                f[to + p * n + c] = kept
        meet()
        if f[to + j * n + j] != 0:
            eliminate(f, to, n, j, lane, lanes)
    meet()


@compiled
def eliminate(f, to, n, j, lane, lanes):
    """Multiples of row j, which become column j of L, are taken from all rows below."""
    pivot, width = f[to + j * n + j], across(n - j - 1, lanes)
    for i in range(j + 1 + lane, n, lanes):
        f[to + i * n + j] /= pivot
    meet()
    for i in range(j + 1 + lane // width, n, lanes // width):
        factor = f[to + i * n + j]
        for c in range(j + 1 + lane % width, n, width):
            f[to + i * n + c] -= factor * f[to + j * n + c]
    meet()


# -- linear systems ------------------------------------------------------------------------------------------------


@compiled
def triangle(m, at, n, x, to, step, columns, lower, trans, unit, lane, lanes):
    """Solve M X = B, or M^T X = B, in place of some columns of B, whose rows are a step apart, by a triangle of M."""
    width = across(columns, lanes)
    for done in range(n):
        i = done if lower != trans else n - 1 - done
        if not unit:
            for c in range(lane, columns, lanes):
                x[to + i * step + c] /= m[at + i * n + i]
            meet()
        for left in range(done + 1 + lane // width, n, lanes // width):
            r = left if lower != trans else n - 1 - left
            factor = m[at + (i * n + r if trans else r * n + i)]
            for c in range(lane % width, columns, width):
                x[to + r * step + c] -= factor * x[to + i * step + c]
        meet()


@compiled
def swapped(f, at, n, x, to, step, columns, trans, lane, lanes):
    """The rows of X in the order of the pivots of a record, or back."""
    for c in range(lane, columns, lanes):
        for k in range(n):
            i = n - 1 - k if trans else k
            p = int(f[at + n * n + i])
            kept = x[to + i * step + c]
            x[to + i * step + c] = x[to + p * step + c]
            x[to + p * step + c] = kept
    meet()


@compiled
def solve_record(f, at, n, x, to, step, columns, trans, lane, lanes):
    """Solve A X = B (or A^T X = B) in place of B, given the record of A; NaN where a pivot is zero."""
    singular = False
    for i in range(n):
        singular = singular or f[at + i * n + i] == 0
    if singular:
        for c in range(lane, columns, lanes):
            for i in range(n):
                x[to + i * step + c] = math.nan
        meet()
    elif trans:
        triangle(f, at, n, x, to, step, columns, False, True, False, lane, lanes)
        triangle(f, at, n, x, to, step, columns, True, True, True, lane, lanes)
        swapped(f, at, n, x, to, step, columns, True, lane, lanes)
    else:
        swapped(f, at, n, x, to, step, columns, False, lane, lanes)
        triangle(f, at, n, x, to, step, columns, True, False, True, lane, lanes)
        triangle(f, at, n, x, to, step, columns, False, False, False, lane, lanes)


@compiled
def moved(a, at, step, b, to, step_to, n, columns, lane, lanes):
    """Some columns of a matrix of n rows are copied."""
    width = across(columns, lanes)
    for i in range(lane // width, n, lanes // width):
        for c in range(lane % width, columns, width):
            b[to + i * step_to + c] = a[at + i * step + c]
    meet()


@compiled
def unit_columns(x, to, step, n, first, columns, lane, lanes):
    """Some columns of the identity."""
    for c in range(lane, columns, lanes):
        for i in range(n):
            x[to + i * step + c] = 1.0 if i == first + c else 0.0
    meet()


NAMES = {f.__name__: f for f in (
    meet, team_sum, team_max, across, largest, filled, cholesky, lu, eliminate, triangle, swapped, solve_record, moved,
    unit_columns)}
