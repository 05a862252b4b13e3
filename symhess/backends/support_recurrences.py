"""Recurrences along an axis that generated kernels call: the linear one, the semiseparable matrix of one with matrices
as coefficients, running products and extremes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from symhess.backends.kernel_functions import compiled
from symhess.backends.plain import logaddexp, maximum, minimum, select

#: neighbouring recurrences that advance together: each waits for its own last element
TOGETHER = 8


@compiled
def recurrence(a, b, out, outer, lanes, n, inner, transposed):
    """s_i = b_i + a_i s_{i-1} along the middle axis of b, (outer, n, inner); s_i = b_i + a_{i+1} s_{i+1} if transposed.

    a is (lanes, n, inner), repeated along the outer axis. Nothing passes an a that is 0.
    """
    x, drive, s = a.reshape((lanes, n, inner)), b.reshape((outer, n, inner)), out.reshape((outer, n, inner))
    for first in range(0, outer, TOGETHER):
        last = min(first + TOGETHER, outer)
        for k in range(n):
            here = n - 1 - k if transposed else k
            before, by = (here + 1, here + 1) if transposed else (here - 1, here)
            for o in range(first, last):
                for j in range(inner):
                    if k == 0:
                        s[o, here, j] = drive[o, here, j]
                    else:
                        c = x[o % lanes, by, j]
                        s[o, here, j] = select(c == 0, drive[o, here, j], drive[o, here, j] + c * s[o, before, j])


@compiled
def semiseparable(a, b, c, out, n, d, r, m, reverse):
    """out[t, :, j, :] = c_t a_{t-1} ... a_{j+1} b_j for j before t, else 0; later first, if reversed."""
    by, put, read = a.reshape((n, d, d)), b.reshape((n, d, m)), c.reshape((n, r, d))
    made, s = out.reshape((n, r, n * m)), np.empty((2, d, n * m), b.dtype)
    for k in range(n):
        t = n - 1 - k if reverse else k
        low, high, old = ((t + 1) * m, n * m, k & 1) if reverse else (0, t * m, k & 1)
        for j in range(low, high):
            for i in range(r):
                total = read[t, i, 0] * s[old, 0, j]
                for e in range(1, d):
                    total += read[t, i, e] * s[old, e, j]
                made[t, i, j] = total
            for i in range(d):
                total = by[t, i, 0] * s[old, 0, j]
                for e in range(1, d):
                    total += by[t, i, e] * s[old, e, j]
                s[1 - old, i, j] = total
        for i in range(d):
            for j in range(m):
                s[1 - old, i, t * m + j] = put[t, i, j]
        for i in range(r):
            for j in range(0 if reverse else high, low if reverse else n * m):
                made[t, i, j] = 0.0


def _running(f: Callable) -> Callable:
    @compiled
    def run(v, out, outer, n, inner):
        source, u = v.reshape((outer, n, inner)), out.reshape((outer, n, inner))
        for first in range(0, outer, TOGETHER):
            last = min(first + TOGETHER, outer)
            for i in range(n):
                for o in range(first, last):
                    for j in range(inner):
                        u[o, i, j] = f(u[o, i - 1, j], source[o, i, j]) if i else source[o, i, j]

    return run


@compiled
def multiply(x, y):
    """x y."""
    return x * y


@compiled
def larger(x, y):
    """NumPy's maximum."""
    return maximum(x, y)


@compiled
def smaller(x, y):
    """NumPy's minimum."""
    return minimum(x, y)


#: library functions by name: (argument arrays..., out, *params)
NAMES = {"recurrence": recurrence, "semiseparable": semiseparable, "running_mul": _running(multiply),
         "running_maximum": _running(larger), "running_minimum": _running(smaller),
         "running_logaddexp": _running(logaddexp)}
