"""Fast Fourier transforms that generated kernels call: Stockham's for small factors, Bluestein's for large primes.

Transforms are computed in double precision, along the last axis but one of arrays whose last axis holds (re, im).
"""

from __future__ import annotations

import math

import numpy as np

from symhess.backends.kernel_functions import compiled

#: prime factors up to this are transformed by their definition, larger ones by a convolution
LARGEST_FACTOR = 61



@compiled
def _factors(n):
    """n as a product of fours, then of primes; the last may be large."""
    found = np.empty(64, np.int64)
    count, p = 0, 4
    while n > 1:
        if n % p == 0:
            found[count] = p
            count += 1
            n //= p
        elif p * p > n and p != 4:
            p = n
        else:
            p = 2 if p == 4 else 3 if p == 2 else p + 2
    return found[:count]


@compiled
def _roots(n, sign):
    """exp(sign 2 pi i k / n), each angle reduced to an eighth of the circle."""
    roots = np.empty(n, np.complex128)
    for k in range(n):
        m = 8 * k // n
        shifted = 8 * k - ((m + 1) // 2 * 2) * n  # eighths of the circle from the nearest quarter turn
        angle = math.pi * shifted / (4 * n)
        c, s = math.cos(angle), math.sin(angle)
        quarter = (m + 1) // 2 % 4
        if quarter == 1:
            c, s = -s, c
        elif quarter == 2:
            c, s = -c, -s
        elif quarter == 3:
            c, s = s, -c
        roots[k] = complex(c, sign * s)
    return roots


@compiled
def _pass_two(x, y, roots, l, m):
    for j in range(l):
        w = roots[j * m]
        for k in range(m):
            a, b = x[k + m * j], x[k + m * (j + l)]
            y[k + 2 * m * j] = a + b
            y[k + 2 * m * j + m] = (a - b) * w


@compiled
def _pass_four(x, y, roots, l, m, sign):
    for j in range(l):
        w1, w2, w3 = roots[j * m], roots[2 * j * m], roots[3 * j * m]
        for k in range(m):
            a, b = x[k + m * j], x[k + m * (j + l)]
            c, d = x[k + m * (j + 2 * l)], x[k + m * (j + 3 * l)]
            s, t, u = a + c, a - c, b + d
            v = complex(-sign * (b - d).imag, sign * (b - d).real)
            at = k + 4 * m * j
            y[at] = s + u
            y[at + m] = (t + v) * w1
            y[at + 2 * m] = (s - u) * w2
            y[at + 3 * m] = (t - v) * w3


@compiled
def _pass(x, y, roots, p, l, m):
    """One factor p: y[k + m (p j + r)] = w^(j r) sum_q x[k + m (j + l q)] w_p^(q r)."""
    n = p * l * m
    for j in range(l):
        for r in range(p):
            twiddle = roots[j * r * m]
            for k in range(m):
                total = x[k + m * j]
                for q in range(1, p):
                    total += x[k + m * (j + l * q)] * roots[q * r % p * (n // p)]
                y[k + m * (p * j + r)] = total * twiddle


@compiled
def _stockham(x, work, roots, factors, sign):
    """Transform x in place."""
    n, m = len(x), 1
    l = n
    source, target = x, work
    for p in factors:
        l //= p
        if p == 2:
            _pass_two(source, target, roots, l, m)
        elif p == 4:
            _pass_four(source, target, roots, l, m, sign)
        else:
            _pass(source, target, roots, p, l, m)
        source, target = target, source
        m *= p
    if len(factors) % 2:
        x[:] = source


@compiled
def _bluestein(vs, out, count, n, sign):
    """u_k = c_k sum_j (v_j c_j) conj(c_(k-j)) with c_j = exp(sign pi i j^2 / n), by transforms of a power of two."""
    size = 1
    while size < 2 * n - 1:
        size *= 2
    half = _roots(2 * n, sign)
    chirp = np.empty(n, np.complex128)
    for j in range(n):
        chirp[j] = half[j * j % (2 * n)]
    forward, backward, factors = _roots(size, -1.0), _roots(size, 1.0), _factors(size)
    kernel, x, work = np.zeros(size, np.complex128), np.empty(size, np.complex128), np.empty(size, np.complex128)
    for j in range(n):
        kernel[j] = kernel[(size - j) % size] = chirp[j].conjugate()
    _stockham(kernel, work, forward, factors, -1.0)
    for s in range(count):
        x[:] = 0
        for j in range(n):
            x[j] = complex(vs[s, j, 0], vs[s, j, 1]) * chirp[j]
        _stockham(x, work, forward, factors, -1.0)
        for k in range(size):
            x[k] *= kernel[k]
        _stockham(x, work, backward, factors, 1.0)
        for k in range(n):
            found = x[k] * chirp[k] / size
            out[s, k, 0], out[s, k, 1] = found.real, found.imag


@compiled
def dft(v, out, inverse):
    """u_k = sum_j exp(-+ 2 pi i j k / n) v_j."""
    n = v.shape[-2]
    count = v.size // (2 * n)
    vs, us = v.reshape((count, n, 2)), out.reshape((count, n, 2))
    sign = 1.0 if inverse else -1.0
    factors = _factors(n)
    if factors[-1] > LARGEST_FACTOR:
        _bluestein(vs, us, count, n, sign)
        return
    roots, x, work = _roots(n, sign), np.empty(n, np.complex128), np.empty(n, np.complex128)
    for s in range(count):
        for j in range(n):
            x[j] = complex(vs[s, j, 0], vs[s, j, 1])
        _stockham(x, work, roots, factors, sign)
        for k in range(n):
            us[s, k, 0], us[s, k, 1] = x[k].real, x[k].imag


#: library functions by name: (argument arrays..., out, *params)
NAMES = {"dft": dft}
