"""Recurrences along an axis that generated kernels call: the linear one, running products and extremes."""

from __future__ import annotations

from collections.abc import Callable

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
NAMES = {"recurrence": recurrence, "running_mul": _running(multiply), "running_maximum": _running(larger),
         "running_minimum": _running(smaller), "running_logaddexp": _running(logaddexp)}
