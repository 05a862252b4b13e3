"""Matrix exponential, square root and logarithm that generated kernels call, on stacks of matrices.

    expm    scaling and squaring of the Pade approximant of order 13 (Higham 2005)
    sqrtm   the product form of Denman and Beavers' iteration, with determinantal scaling (Cheng, Higham et al. 2001)
    logm    inverse scaling and squaring: log A = 2^k log A^(1/2^k), by Gauss-Legendre quadrature of the integral
            log(I + X) = int_0^1 X (I + t X)^-1 dt, which is its Pade approximant

What does not converge, for it has no real value, gives NaN. Single precision is computed in double.
"""

from __future__ import annotations

import math

import numpy as np

from symhess.backends.kernel_functions import compiled

PADE = np.array([64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000,
                 10559470521600, 670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1], np.float64)
#: 1-norm up to which the approximant of exp is exact in double precision
EXP_RADIUS = 5.37
#: 1-norm of A^(1/2^k) - I up to which the quadrature of log is
LOG_RADIUS = 0.25
NODES, QUADRATURE = np.polynomial.legendre.leggauss(9)
MOST_STEPS = 60
#: X is a root of A where |X X - A| is at most this times |X|^2
ROOT_RESIDUAL = 1e-8


@compiled
def _norm(a):
    """The largest sum of a column."""
    largest = 0.0
    for j in range(a.shape[1]):
        largest = max(largest, np.sum(np.abs(a[:, j])))
    return largest


@compiled
def _exponential(a):
    n = len(a)
    norm = _norm(a)
    steps = 0 if norm <= EXP_RADIUS else math.ceil(math.log2(norm / EXP_RADIUS))
    a = a / 2.0 ** steps
    one, b = np.eye(n), PADE
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    odd = a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one
    even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    u = a @ odd
    found = np.ascontiguousarray(np.linalg.solve(even - u, even + u))
    for _ in range(steps):
        found = found @ found
    return found


@compiled
def _root(a):
    """X with X X = A: X_0 = M_0 = A, X' = X (I + M^-1) / 2, M' = (2 I + M + M^-1) / 4, which tends to I.

    Of a negative eigenvalue the iterates jump about, and may meet 1 by chance; so the square of what is found is looked
    at.
    """
    n = len(a)
    one, m, x = np.eye(n), a.copy(), a.copy()
    for _ in range(MOST_STEPS):
        mean = np.linalg.slogdet(m)[1] / n
        if not -math.inf < mean < math.inf:
            return np.full((n, n), math.nan)
        off = _norm(m - one)
        mu = math.exp(-0.5 * mean) if off > 0.01 else 1.0
        inverse = np.linalg.inv(m)
        x = 0.5 * mu * x @ (one + inverse / mu ** 2)
        m = 0.5 * (one + 0.5 * (mu ** 2 * m + inverse / mu ** 2))
        if off < 1e-15 * n or (off < 1e-7 and _norm(m - one) >= off):
            return x if _norm(x @ x - a) <= ROOT_RESIDUAL * _norm(x) ** 2 else np.full((n, n), math.nan)
    return np.full((n, n), math.nan)


@compiled
def _logarithm(a):
    n, doublings = len(a), 0
    one = np.eye(n)
    while _norm(a - one) > LOG_RADIUS and doublings < MOST_STEPS:
        a = _root(a)
        doublings += 1
        if not math.isfinite(a[0, 0]):
            return a
    x, total = a - one, np.zeros((n, n))
    for t, w in zip(NODES, QUADRATURE):
        total += 0.5 * w * np.linalg.solve(one + 0.5 * (t + 1) * x, x)
    return 2.0 ** doublings * total


def _on_stacks(function):
    @compiled
    def run(a, out):
        n = a.shape[-1]
        matrices, found = a.reshape((-1, n, n)), out.reshape((-1, n, n))
        for s in range(len(matrices)):
            found[s] = math.nan
            if np.all(np.isfinite(matrices[s])):
                found[s] = function(matrices[s].astype(np.float64))

    return run


#: library functions by name: (argument arrays..., out, *params)
NAMES = {"expm": _on_stacks(_exponential), "sqrtm": _on_stacks(_root), "logm": _on_stacks(_logarithm)}
