"""Small functions that generated kernels call: branch-free selects, NaN-keeping extremes, stable exponentials."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numba.core.typing import signature
from numba.extending import intrinsic


@intrinsic
def select(typing_context, condition, a, b):
    """a where the condition holds, else b; both are known, nothing branches."""
    result = typing_context.unify_types(a, b)

    def codegen(context, builder, sig, args):
        c, x, y = args
        return builder.select(c, x, y)

    return signature(result, types.boolean, result, result), codegen


@intrinsic
def accumulate(typing_context, total, x):
    """total + x, where LLVM may reorder the additions of a chain (NaN and infinities are kept)."""
    result = total

    def codegen(context, builder, sig, args):
        if isinstance(result, types.Float):
            return builder.fadd(*args, flags=("reassoc", "nsz", "contract"))
        return builder.add(*args)

    return signature(result, result, result), codegen


def _extreme(relation: str):
    """x if x <relation> y or x is NaN, else y: NumPy's rule."""

    def build(typing_context, x, y):
        result = typing_context.unify_types(x, y)

        def codegen(context, builder, sig, args):
            a, b = args
            if isinstance(result, types.Float):
                first = builder.fcmp_ordered(relation, a, b)
                chosen = builder.or_(first, builder.fcmp_unordered("uno", a, a))
            else:
                chosen = builder.icmp_signed(relation, a, b)
            return builder.select(chosen, a, b)

        return signature(result, result, result), codegen

    return build


maximum = intrinsic(_extreme(">="))
minimum = intrinsic(_extreme("<="))


@njit(error_model="numpy")
def sigmoid(x):
    """1 / (1 + exp(-x)) without overflow."""
    return math.exp(minimum(x, 0.0)) / (1 + math.exp(-abs(x)))


@njit(error_model="numpy")
def softplus(x):
    """log(1 + exp(x)) without overflow."""
    return maximum(x, 0.0) + math.log1p(math.exp(-abs(x)))


@njit(error_model="numpy")
def logaddexp(x, y):
    """log(exp(x) + exp(y)) without overflow; equal infinities give themselves."""
    larger = maximum(x, y)
    return select(x == y, x + math.log(2.0), larger + math.log1p(math.exp(-abs(x - y))))


@njit(error_model="numpy")
def cumsum(v, out, reverse):
    """Running sums along the middle axis of a rank-3 array, from the end if `reverse`."""
    outer, n, inner = v.shape
    for a in range(outer):
        for j in range(inner):
            out[a, (n - 1) if reverse else 0, j] = v[a, (n - 1) if reverse else 0, j]
        for i in range(1, n):
            here, before = ((n - 1 - i), (n - i)) if reverse else (i, i - 1)
            for j in range(inner):
                out[a, here, j] = out[a, before, j] + v[a, here, j]


@njit(error_model="numpy")
def assign(target, source):
    """target[:m, :n] = source of shape (m, n); a tenth of what an assignment of arrays takes Numba to compile."""
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[i, j] = source[i, j]


@njit(error_model="numpy")
def assign_row(target, row, source):
    """target[row, :n] = source of shape (n,)."""
    for j in range(source.shape[0]):
        target[row, j] = source[j]


#: what generated source may name
NAMES = {f.__name__: f for f in (sigmoid, softplus, logaddexp, cumsum)} | {
    "select": select, "accumulate": accumulate, "maximum": maximum, "minimum": minimum,
    "math": math, "np": np, "nan": math.nan, "inf": math.inf}
