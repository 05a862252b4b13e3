"""Matrix products that generated kernels call, on batches of contiguous matrices.

BLAS is SciPy's, reached by address. Its matrices are column-major, so a row-major a of shape (k, m) is its m x k
matrix X, and a' a = X X'; the triangle that BLAS calls upper is our lower one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.typing import signature
from numba.extending import get_cython_function_address, intrinsic

from symhess.backends.support import mirror


def link_blas() -> None:
    """Make the BLAS routines used here known to the linker, under names of our own."""
    for name in ("ssyrk", "dsyrk", "sgemm", "dgemm"):
        llvm.add_symbol(f"symhess_{name}", get_cython_function_address("scipy.linalg.cython_blas", name))


link_blas()


def call_blas(context: Any, builder: ir.IRBuilder, array_type: types.Array, name: str,
              parts: Sequence[tuple[str, ir.Value]]) -> None:
    """Call a BLAS routine, every argument by address; parts are ("char"|"int"|"real"|"array", value) pairs."""
    prefix = "s" if array_type.dtype == types.float32 else "d"
    real = ir.FloatType() if prefix == "s" else ir.DoubleType()
    kinds = {"char": ir.IntType(8), "int": ir.IntType(32), "real": real}
    pointers = []
    for kind, value in parts:
        if kind == "array":
            pointers.append(builder.bitcast(value, cgutils.voidptr_t))
            continue
        if kind == "int":
            value = builder.trunc(value, kinds["int"])
        pointers.append(builder.bitcast(cgutils.alloca_once_value(builder, value), cgutils.voidptr_t))
    function_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t] * len(pointers))
    builder.call(cgutils.get_or_insert_function(builder.module, function_type, f"symhess_{prefix}{name}"), pointers)


def array_data(context: Any, builder: ir.IRBuilder, array_type: types.Array, array: ir.Value) -> ir.Value:
    """The address of an array's first element."""
    return context.make_array(array_type)(context, builder, array).data


def _character(builder, flag):
    """'T' where the flag holds, else 'N'."""
    byte = ir.IntType(8)
    return builder.select(flag, byte(ord("T")), byte(ord("N")))


@intrinsic
def syrk_half(typing_context, a, c, m, k, turned, alpha, beta):
    """The lower triangle of c = alpha a' a + beta c, for row-major a of shape (k, m), or a a' for (m, k)."""

    def codegen(context, builder, sig, args):
        a_, c_, m_, k_, turned_, alpha_, beta_ = args
        lead = builder.select(turned_, k_, m_)
        parts = [("char", ir.IntType(8)(ord("U"))), ("char", _character(builder, turned_)), ("int", m_), ("int", k_),
                 ("real", alpha_), ("array", array_data(context, builder, sig.args[0], a_)), ("int", lead),
                 ("real", beta_), ("array", array_data(context, builder, sig.args[1], c_)), ("int", m_)]
        call_blas(context, builder, sig.args[0], "syrk", parts)
        return context.get_dummy_value()

    return signature(types.none, a, c, types.intp, types.intp, types.boolean, a.dtype, a.dtype), codegen


@intrinsic
def gemm_into(typing_context, a, b, c, turned_a, turned_b):
    """c = a @ b for row-major matrices, an operand stored transposed where its flag holds."""

    def codegen(context, builder, sig, args):
        shapes = [cgutils.unpack_tuple(builder, context.make_array(t)(context, builder, v).shape)
                  for t, v in zip(sig.args[:3], args[:3])]
        (rows, inner), columns = shapes[0], shapes[2][1]
        m, k = shapes[2][0], builder.select(args[3], rows, inner)
        one, zero = (context.get_constant(sig.args[0].dtype, v) for v in (1.0, 0.0))
        data = [array_data(context, builder, t, v) for t, v in zip(sig.args[:3], args[:3])]
        parts = [("char", _character(builder, args[4])), ("char", _character(builder, args[3])), ("int", columns),
                 ("int", m), ("int", k), ("real", one), ("array", data[1]), ("int", shapes[1][1]),
                 ("array", data[0]), ("int", shapes[0][1]), ("real", zero), ("array", data[2]), ("int", columns)]
        call_blas(context, builder, sig.args[0], "gemm", parts)
        return context.get_dummy_value()

    return signature(types.none, a, b, c, types.boolean, types.boolean), codegen


@njit(error_model="numpy")
def gemm(a, b, out, turned_a, turned_b):
    """out[s] = a[s] @ b[s], where an operand may be stored transposed."""
    for s in range(out.shape[0]):
        gemm_into(a[s], b[s], out[s], turned_a, turned_b)


@njit(error_model="numpy")
def syrk(a, out, turned):
    """out[s] = a[s].T @ a[s], or a[s] @ a[s].T where a is stored transposed."""
    m, k = out.shape[1], a.shape[2] if turned else a.shape[1]
    for s in range(out.shape[0]):
        syrk_half(a[s], out[s], m, k, turned, 1.0, 0.0)
    mirror(out)


@njit(error_model="numpy")
def scaled_rows(a, w, turned, scaled):
    """Rows of a times sqrt(|w|), those with w < 0 last; gives the number of the others."""
    k, m = scaled.shape
    first, last = 0, k
    for r in range(k):
        if w[r] < 0:
            last -= 1
            place = last
        else:
            place = first
            first += 1
        factor = math.sqrt(abs(w[r]))
        for i in range(m):
            scaled[place, i] = factor * (a[i, r] if turned else a[r, i])
    return first


@njit(error_model="numpy")
def weighted_syrk(a, w, out, turned):
    """out[s] = a[s].T @ diag(w[s]) @ a[s]: one symmetric product per sign of w."""
    m, k = out.shape[1], w.shape[1]
    scaled = np.empty((k, m), a.dtype)
    for s in range(out.shape[0]):
        positive = scaled_rows(a[s], w[s], turned, scaled)
        syrk_half(scaled, out[s], m, positive, False, 1.0, 0.0)
        if positive < k:
            syrk_half(scaled[positive:], out[s], m, k - positive, False, -1.0, 1.0)
    mirror(out)


NAMES = {f.__name__: f for f in (gemm, syrk, weighted_syrk)}
