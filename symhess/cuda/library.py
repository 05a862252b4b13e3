"""What library calls come to on a device where no library is: plain loops of one thread over flat arrays.

An array and the position where a matrix begins in it stand for the matrix, which is in row-major order. Records of `lu`
are those of `symhess.cuda.teams`, where the rest of linear algebra is.
"""

from __future__ import annotations

import math

from symhess.backends.kernel_functions import compiled
from symhess.backends.plain import select

# -- matrices ------------------------------------------------------------------------------------------------------


@compiled
def determinant(f, at, n):
    """det(A) from the record of A."""
    product = 1.0
    for i in range(n):
        product *= f[at + i * n + i] if f[at + n * n + i] == i else -f[at + i * n + i]
    return product


@compiled
def log_determinant(f, at, n):
    """log |det(A)| from the record of A."""
    total = 0.0
    for i in range(n):
        total += math.log(abs(f[at + i * n + i]))
    return total


@compiled
def determinant_sign(f, at, n):
    """The sign of det(A) from the record of A."""
    sign = 1.0
    for i in range(n):
        pivot = f[at + i * n + i] if f[at + n * n + i] == i else -f[at + i * n + i]
        sign *= select(pivot > 0, 1.0, select(pivot < 0, -1.0, pivot))
    return sign


@compiled
def mirror_triangles(c, count, n, upper):
    """The lower (or upper) triangle of each of a stack of matrices copied to the other one."""
    for s in range(count):
        for i in range(n):
            for j in range(i):
                below, above = s * n * n + i * n + j, s * n * n + j * n + i
                if upper:
                    c[below] = c[above]
                else:
                    c[above] = c[below]


# -- memory --------------------------------------------------------------------------------------------------------


@compiled
def at(m, position):
    """The memory from element m[position] on."""
    return m[position:]


@compiled
def get(m, position):
    """m[position]"""
    return m[position]


@compiled
def put(m, position, value):
    """m[position] = value"""
    m[position] = value


@compiled
def copy(m, source, count):
    """The first elements of m become those of the source."""
    for k in range(count):
        m[k] = source[k]


# -- along an axis -------------------------------------------------------------------------------------------------


@compiled
def recurrence_line(a, b, out, first, lane, n, step, transposed):
    """s_i = b_i + a_i s_{i-1}, or s_i = b_i + a_{i+1} s_{i+1}; nothing passes an a that is 0."""
    before = 0.0
    for i in range(n):
        here = n - 1 - i if transposed else i
        value = b[first + here * step]
        if i > 0:
            c = a[lane + (here + 1 if transposed else here) * step]
            value = select(c == 0, value, value + c * before)
        out[first + here * step] = value
        before = out[first + here * step]


@compiled
def multiply(x, y):
    """x y."""
    return x * y


# -- elements ------------------------------------------------------------------------------------------------------


@compiled
def product_element(a, a_at, a_step, w, w_at, b, b_at, b_step, n):
    """sum_k a[k] w[k] b[k]; no w where w_at is negative."""
    total = a[a_at] * b[b_at] * 0
    for k in range(n):
        x = a[a_at + k * a_step]
        if w_at >= 0:
            x = x * w[w_at + k]
        total += x * b[b_at + k * b_step]
    return total


@compiled
def taken(v, at, indices, e, n, step, missing):
    """v[indices[e]] along an axis; `missing` where there is no such element."""
    k = indices[e]
    if k < 0:
        k += n
    if k >= 0 and k < n:
        return v[at + k * step]
    return missing


@compiled
def put_line(v, v_at, indices, count, out, at, n, step):
    """out[indices[e]] += v[e] along an axis, into zeros; indices outside are left out."""
    for k in range(n):
        out[at + k * step] = 0
    for e in range(count):
        k = indices[e]
        if k < 0:
            k += n
        if k >= 0 and k < n:
            out[at + k * step] += v[v_at + e * step]


NAMES = {f.__name__: f for f in (
    determinant, log_determinant, determinant_sign, mirror_triangles, at, get, put, copy, recurrence_line, multiply,
    product_element, taken, put_line)}
