"""Dense linear algebra that generated kernels call: Cholesky, LU and what follows from them, on stacks of matrices.

Arrays are C-contiguous, matrices lie along the last two axes. Small matrices take plain loops, large ones BLAS and
LAPACK (SciPy's, reached by address). A row-major matrix is a column-major one transposed, hence the swapped triangles
below. What cannot be factored is filled with NaN; nothing raises.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symhess.backends import support_blas  # noqa: F401  links what calls of LAPACK need as well
from symhess.backends.kernel_functions import Instruction, compiled, link_cython
from symhess.backends.plain import assign

#: from this size on LAPACK factors a matrix
FACTOR_LARGE = 32
#: from this many multiplications on BLAS solves a triangular system
SOLVE_LARGE = 20_000

def link_lapack() -> None:
    """Make the routines used here known to the linker, under names of our own."""
    for module, names in (("cython_lapack", ("potrf", "getrf")), ("cython_blas", ("trsm",))):
        for name in [p + n for p in "sd" for n in names]:
            link_cython(f"scipy.linalg.{module}", name, f"symhess_{name}")


link_lapack()


def _no_meaning(*_: Any) -> None:
    raise NotImplementedError("this is a call of LAPACK in compiled code")


@Instruction
def potrf(a: Any, n: int) -> Any:
    """Factor the lower triangle of a in place; 0 if it is positive definite."""
    _no_meaning(a, n)


@Instruction
def getrf(a: Any, n: int, pivots: Any) -> None:
    """Factor a column-major matrix in place, P A = L U, with int32 pivots that count from 1."""
    _no_meaning(a, n, pivots)


@Instruction
def trsm(m: Any, x: Any, n: int, k: int, lower: bool, trans: bool, unit: bool) -> None:
    """Solve M X = B (or M^T X = B) in place of B, shape (n, k), for a triangular M."""
    _no_meaning(m, x, n, k, lower, trans, unit)


# -- triangular systems ----------------------------------------------------------------------------------------------


@compiled
def _solve_triangle(m, x, lower, trans, unit):
    """Solve M X = B (or M^T X = B) in place of B."""
    n, k = x.shape
    if n * n * k >= SOLVE_LARGE:
        trsm(m, x, n, k, lower, trans, unit)
        return
    forward = lower != trans
    for step in range(n):
        i = step if forward else n - 1 - step
        if not trans:
            for j in range(0 if lower else i + 1, i if lower else n):
                for c in range(k):
                    x[i, c] -= m[i, j] * x[j, c]
        if not unit:
            for c in range(k):
                x[i, c] /= m[i, i]
        if trans:
            for j in range(0 if lower else i + 1, i if lower else n):
                for c in range(k):
                    x[j, c] -= m[i, j] * x[i, c]


@compiled
def triangular_solve(l, b, out, lower, trans):
    """X with L X = B or L^T X = B, reading one triangle of L."""
    n, k = b.shape[-2], b.shape[-1]
    count = b.size // (n * k)
    ls, bs, xs = l.reshape((count, n, n)), b.reshape((count, n, k)), out.reshape((count, n, k))
    for s in range(count):
        assign(xs[s], bs[s])
        _solve_triangle(ls[s], xs[s], lower, trans, False)


# -- Cholesky --------------------------------------------------------------------------------------------------------


@compiled
def _factor_small(l):
    """Replace the lower triangle of a symmetric matrix by its Cholesky factor; False where that fails."""
    for i in range(l.shape[0]):
        for j in range(i):
            total = l[i, j]
            for k in range(j):
                total -= l[i, k] * l[j, k]
            l[i, j] = total / l[j, j]
        total = l[i, i]
        for k in range(i):
            total -= l[i, k] * l[i, k]
        if not 0 < total < math.inf:
            return False
        l[i, i] = math.sqrt(total)
    return True


@compiled
def cholesky(a, out):
    """The lower L with A = L L^T, from the lower triangle of A."""
    n = a.shape[-1]
    count = a.size // (n * n)
    matrices, factors = a.reshape((count, n, n)), out.reshape((count, n, n))
    for s in range(count):
        l = factors[s]
        for i in range(n):
            for j in range(n):
                l[i, j] = matrices[s, i, j] if j <= i else 0
        positive = potrf(l, n) == 0 if n >= FACTOR_LARGE else _factor_small(l)
        if not positive:
            l[:] = math.nan


# -- LU --------------------------------------------------------------------------------------------------------------


@compiled
def _transpose(a):
    """Transpose a square matrix in place."""
    for i in range(a.shape[0]):
        for j in range(i):
            a[i, j], a[j, i] = a[j, i], a[i, j]


@compiled
def _swap_rows(a, i, j):
    if i != j:
        for c in range(a.shape[1]):
            a[i, c], a[j, c] = a[j, c], a[i, c]


@compiled
def _lu_small(a, pivots):
    """Gaussian elimination in place, with the largest entry of each column as its pivot."""
    n = a.shape[0]
    for j in range(n):
        p = j
        for i in range(j + 1, n):
            if abs(a[i, j]) > abs(a[p, j]):
                p = i
        pivots[j] = p
        _swap_rows(a, j, p)
        if a[j, j] == 0:
            continue
        for i in range(j + 1, n):
            a[i, j] /= a[j, j]
            for c in range(j + 1, n):
                a[i, c] -= a[i, j] * a[j, c]


@compiled
def _lu_large(a, pivots):
    counted = np.empty(a.shape[0], np.int32)
    _transpose(a)
    getrf(a, a.shape[0], counted)
    _transpose(a)
    for i in range(a.shape[0]):
        pivots[i] = counted[i] - 1


@compiled
def lu(a, out):
    """Records of P A = L U: rows of L and U as float64 bits, then one row of pivots."""
    n = a.shape[-1]
    count = a.size // (n * n)
    matrices, records = a.reshape((count, n, n)), out.reshape((count, n + 1, n))
    for s in range(count):
        packed = records[s, :n].view(np.float64)
        assign(packed, matrices[s])
        if n >= FACTOR_LARGE:
            _lu_large(packed, records[s, n])
        else:
            _lu_small(packed, records[s, n])


@compiled
def _solve_record(record, x, trans):
    """Solve A X = B (or A^T X = B) in place of B; NaN where a pivot is zero."""
    n = record.shape[1]
    packed, pivots = record[:n].view(np.float64), record[n]
    for i in range(n):
        if packed[i, i] == 0:
            x[:] = math.nan
            return
    if not trans:
        for i in range(n):
            _swap_rows(x, i, pivots[i])
    _solve_triangle(packed, x, not trans, trans, not trans)
    _solve_triangle(packed, x, trans, trans, trans)
    if trans:
        for i in range(n - 1, -1, -1):
            _swap_rows(x, i, pivots[i])


@compiled
def solve(a, f, b, out, trans):
    """X with A X = B or A^T X = B, given the records of A."""
    n, k = b.shape[-2], b.shape[-1]
    count = b.size // (n * k)
    records, bs, xs = f.reshape((count, n + 1, n)), b.reshape((count, n, k)), out.reshape((count, n, k))
    x = np.empty((n, k))
    for s in range(count):
        assign(x, bs[s])
        _solve_record(records[s], x, trans)
        assign(xs[s], x)


@compiled
def inv(a, f, out):
    """A^-1, given the records of A."""
    n = a.shape[-1]
    count = a.size // (n * n)
    records, inverses = f.reshape((count, n + 1, n)), out.reshape((count, n, n))
    x = np.empty((n, n))
    for s in range(count):
        x[:] = 0
        for i in range(n):
            x[i, i] = 1
        _solve_record(records[s], x, False)
        assign(inverses[s], x)


# -- determinants ----------------------------------------------------------------------------------------------------


@compiled
def _sign_and_log(record):
    """The sign of the determinant, and the logarithm of its absolute value."""
    n = record.shape[1]
    packed = record[:n].view(np.float64)
    sign, log = 1.0, 0.0
    for i in range(n):
        sign *= np.sign(packed[i, i]) * (1 if record[n, i] == i else -1)
        log += math.log(abs(packed[i, i]))
    return sign, log


@compiled
def det(a, f, out):
    """det(A), given the records of A."""
    n = a.shape[-1]
    records, values = f.reshape((out.size, n + 1, n)), out.reshape(out.size)
    for s in range(out.size):
        packed, product = records[s, :n].view(np.float64), 1.0
        for i in range(n):
            product *= packed[i, i] if records[s, n, i] == i else -packed[i, i]
        values[s] = product


@compiled
def logabsdet(a, f, out):
    """log|det(A)|, given the records of A."""
    n = a.shape[-1]
    records, values = f.reshape((out.size, n + 1, n)), out.reshape(out.size)
    for s in range(out.size):
        values[s] = _sign_and_log(records[s])[1]


@compiled
def detsign(f, out):
    """The sign of det(A), given the records of A."""
    n = f.shape[-1]
    records, values = f.reshape((out.size, n + 1, n)), out.reshape(out.size)
    for s in range(out.size):
        values[s] = _sign_and_log(records[s])[0]


# -- indices known at run time ---------------------------------------------------------------------------------------


@Instruction
def missing(v: np.ndarray) -> float:
    """What stands for an element that does not exist."""
    return math.nan if v.dtype.kind == "f" else 0


@compiled
def take(v, indices, out, outer, n, inner):
    """out[a, e, c] = v[a, indices[e], c]; NaN (0 for integers) where an index lies outside."""
    flat = indices.reshape(indices.size)
    source, target = v.reshape((outer, n, inner)), out.reshape((outer, flat.size, inner))
    for a in range(outer):
        for e in range(flat.size):
            k = flat[e] + n if flat[e] < 0 else flat[e]
            for c in range(inner):
                target[a, e, c] = source[a, k, c] if 0 <= k < n else missing(v)


@compiled
def put_add(v, indices, out, outer, n, inner):
    """out[a, indices[e], c] += v[a, e, c] into zeros; indices outside are left out."""
    flat = indices.reshape(indices.size)
    source, target = v.reshape((outer, flat.size, inner)), out.reshape((outer, n, inner))
    target[:] = 0
    for a in range(outer):
        for e in range(flat.size):
            k = flat[e] + n if flat[e] < 0 else flat[e]
            if 0 <= k < n:
                for c in range(inner):
                    target[a, k, c] += source[a, e, c]


#: library functions by name: (argument arrays..., out, *params)
NAMES = {f.__name__: f for f in (cholesky, lu, solve, triangular_solve, inv, det, logabsdet, detsign, take, put_add)}
