"""The discrete Fourier transform, a linear map of complex numbers that are kept as pairs of real ones.

    dft    u_k = sum_j exp(-+ 2 pi i j k / n) v_j        along the last axis but one; the last holds (re, im)

It is not normalised. Its real matrix is transposed by the other sign, so derivatives of any order are transforms too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from symhess.errors import DTypeMismatch, ShapeMismatch
from symhess.graph.node import CONSTANT, Node, Primitive, constant, make, register
from symhess.primitives.algebra import is_zero
from symhess.primitives.elementwise import apply

Shape = tuple[int, ...]


def dft(v: Node, inverse: bool = False) -> Node:
    """The transform of v, of shape (..., n, 2); `inverse` has the exponent with a plus, and no factor 1/n."""
    if v.ndim >= 2 and (v.shape[-2] == 1 or v.size == 0 or is_zero(v)):
        return v
    if v.op is DFT and v.attrs != inverse:  # there and back
        return apply("mul", constant(v.shape[-2], v.dtype), v.args[0])
    node = make(DFT, (v,), bool(inverse))
    return constant(_evaluate([v.attrs.array], node)) if v.op is CONSTANT else node


def _infer(args: Sequence[Node], inverse: bool) -> tuple[Shape, np.dtype]:
    (v,) = args
    if v.ndim < 2 or v.shape[-1] != 2 or not v.shape[-2]:
        raise ShapeMismatch(f"dft takes pairs of real and imaginary parts, shape (..., n, 2), not {v.shape}")
    if v.dtype.kind != "f":
        raise DTypeMismatch(f"dft takes floating-point numbers, not {v.dtype}")
    return v.shape, v.dtype


def _evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    numbers = np.ascontiguousarray(arrays[0]).view(np.result_type(node.dtype, np.complex64))[..., 0]
    found = np.fft.ifft(numbers, norm="forward") if node.attrs else np.fft.fft(numbers)
    return np.ascontiguousarray(found).view(node.dtype).reshape(node.shape)


@functools.lru_cache(maxsize=16)
def dft_matrix(n: int, inverse: bool, dtype: np.dtype) -> Node:
    """M with u[k, c] = sum_jd M[k, c, j, d] v[j, d], as a constant."""
    angle = 2 * np.pi / n * (np.outer(np.arange(n), np.arange(n)) % n)
    cos, sin = np.cos(angle), np.sin(angle) * (1 if inverse else -1)
    return constant(np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1), dtype)


DFT = register(Primitive(
    "dft", _infer, _evaluate, family="linalg",
    vjp=lambda node, g: [dft(g, not node.attrs)],
    jvp=lambda node, tangents: dft(tangents[0], node.attrs),
    batch=lambda node, args, added: dft(args[0], node.attrs),
    extra={"kernel": "dft", "params": lambda node: (node.attrs,),
           "flops": lambda node: 2.5 * node.size * max(1.0, math.log2(node.shape[-2]))},
))


def formula(args: Sequence[Any], node: Node) -> Any:
    """The sum itself, of arrays of SymPy expressions."""
    import sympy

    n, sign = node.shape[-2], 1 if node.attrs else -1
    angles = [2 * sympy.pi * sympy.Rational(k, n) for k in range(n)]
    cos, sin = ([f(a) for a in angles] for f in (sympy.cos, sympy.sin))
    out = np.empty(node.shape, object)
    for *lead, k in np.ndindex(node.shape[:-1]):
        re, im = (args[0][(*lead, slice(None), d)] for d in (0, 1))
        out[(*lead, k, 0)] = sum(cos[j * k % n] * re[j] - sign * sin[j * k % n] * im[j] for j in range(n))
        out[(*lead, k, 1)] = sum(cos[j * k % n] * im[j] + sign * sin[j * k % n] * re[j] for j in range(n))
    return out
