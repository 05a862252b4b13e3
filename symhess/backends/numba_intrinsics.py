"""The instructions of kernels for Numba."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.core.typing import signature
from numba.extending import intrinsic

from symhess.backends.memory import Memory, one_by_one
from symhess.backends.squares import SQUARE, beyond_squares, interleaved, mirrored, mirrored_upper, transposed


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


# -- squares -----------------------------------------------------------------------------------------------------------


def _shuffle(builder):
    """Chosen elements of the concatenation of two vectors."""

    def shuffle(a, b, lanes):
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), SQUARE), list(lanes)))

    return shuffle


@intrinsic
def interleave(typing_context, m, position, sources):
    """See `plain`: squares are transposed in registers, what is beyond them is stored element by element."""
    if not isinstance(m, Memory):
        return None

    def codegen(context, builder, sig, args):
        pointer, first, given = args
        element, word = context.get_data_type(sig.args[0].dtype), first.type
        vector, align = ir.VectorType(element, SQUARE), context.get_abi_sizeof(element)
        place = lambda p, j: builder.gep(pointer, [builder.add(first, word(p * len(sources) + j))])
        values = [s if isinstance(t, Memory) else context.cast(builder, s, t, sig.args[0].dtype)
                  for s, t in zip(cgutils.unpack_tuple(builder, given), sources)]
        rows = []
        for s, t in zip(values, sources):
            if isinstance(t, Memory):
                rows.append(builder.load(builder.bitcast(s, vector.as_pointer()), align=align))
            else:
                one = builder.insert_element(ir.Constant(vector, ir.Undefined), s, ir.IntType(32)(0))
                rows.append(_shuffle(builder)(one, one, [0] * SQUARE))
        for p, j, v in interleaved(_shuffle(builder), rows):
            builder.store(v, builder.bitcast(place(p, j), vector.as_pointer()), align=align)
        for j in beyond_squares(len(sources)):
            for p in range(SQUARE):
                s = values[j]
                builder.store(builder.load(builder.gep(s, [word(p)])) if isinstance(sources[j], Memory) else s,
                              place(p, j))
        return context.get_dummy_value()

    return signature(types.none, m, types.intp, sources), codegen


def _between_squares(change):
    """An intrinsic f(c, source, target): the square at flat position `target` becomes the changed one at `source`."""

    def build(typing_context, c, source, target):
        def codegen(context, builder, sig, args):
            array = context.make_array(sig.args[0])(context, builder, args[0])
            element = context.get_data_type(sig.args[0].dtype)
            vector = ir.VectorType(element, SQUARE).as_pointer()
            lead = builder.extract_value(array.shape, sig.args[0].ndim - 1)

            def row(first, r):
                place = builder.add(first, builder.mul(lead, lead.type(r)))
                return builder.bitcast(builder.gep(array.data, [place]), vector)

            align = context.get_abi_sizeof(element)
            rows = [builder.load(row(args[1], r), align=align) for r in range(SQUARE)]
            for r, v in enumerate(change(_shuffle(builder), rows)):
                builder.store(v, row(args[2], r), align=align)
            return context.get_dummy_value()

        return signature(types.none, c, types.intp, types.intp), codegen

    return build


transpose_square = intrinsic(_between_squares(transposed))
mirror_square = intrinsic(_between_squares(mirrored))
mirror_upper_square = intrinsic(_between_squares(mirrored_upper))


# -- BLAS and LAPACK ---------------------------------------------------------------------------------------------------


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


@intrinsic
def potrf(typing_context, a, n):
    """Factor the lower triangle of a in place; 0 if it is positive definite."""

    def codegen(context, builder, sig, args):
        info = cgutils.alloca_once(builder, cgutils.int32_t)
        size = ("int", args[1])
        call_blas(context, builder, sig.args[0], "potrf", [
            ("char", cgutils.int8_t(ord("U"))), size, ("array", array_data(context, builder, sig.args[0], args[0])),
            size, ("array", info)])
        return builder.sext(builder.load(info), cgutils.intp_t)

    return signature(types.intp, a, types.intp), codegen


@intrinsic
def getrf(typing_context, a, n, pivots):
    """Factor a column-major matrix in place, P A = L U, with int32 pivots that count from 1."""

    def codegen(context, builder, sig, args):
        info = cgutils.alloca_once(builder, cgutils.int32_t)
        size = ("int", args[1])
        data = [("array", array_data(context, builder, t, x)) for t, x in zip(sig.args, args) if t != types.intp]
        call_blas(context, builder, sig.args[0], "getrf", [size, size, data[0], size, data[1], ("array", info)])
        return context.get_dummy_value()

    return signature(types.none, a, types.intp, pivots), codegen


@intrinsic
def trsm(typing_context, m, x, n, k, lower, trans, unit):
    """Solve M X = B (or M^T X = B) in place of B, shape (n, k), for a triangular M."""

    def codegen(context, builder, sig, args):
        m, x, n, k, lower, trans, unit = args
        letter = lambda flag, yes, no: ("char", builder.select(
            flag, cgutils.int8_t(ord(yes)), cgutils.int8_t(ord(no))))
        one = sig.args[0].dtype
        call_blas(context, builder, sig.args[0], "trsm", [
            ("char", cgutils.int8_t(ord("R"))), letter(lower, "U", "L"), letter(trans, "T", "N"),
            letter(unit, "U", "N"), ("int", k), ("int", n), ("real", context.get_constant(one, 1.0)),
            ("array", array_data(context, builder, sig.args[0], m)), ("int", n),
            ("array", array_data(context, builder, sig.args[1], x)), ("int", k)])
        return context.get_dummy_value()

    flags = (types.boolean,) * 3
    return signature(types.none, m, x, types.intp, types.intp, *flags), codegen


@intrinsic
def missing(typing_context, v):
    """What stands for an element that does not exist."""
    kind = v.dtype if isinstance(v.dtype, types.Float) else types.int64

    def codegen(context, builder, sig, args):
        return context.get_constant(kind, math.nan if isinstance(kind, types.Float) else 0)

    return signature(kind, v), codegen


#: by the names of the instructions
INTRINSICS = {"select": select, "accumulate": accumulate, "maximum": maximum, "minimum": minimum,
              "transpose_square": transpose_square, "mirror_square": mirror_square,
              "mirror_upper_square": mirror_upper_square, "interleave": interleave,
              "syrk_half": syrk_half, "gemm_into": gemm_into, "potrf": potrf, "getrf": getrf, "trsm": trsm,
              "missing": missing, "one_by_one": one_by_one}


def type_of(name: str) -> types.Type:
    """What Numba takes an intrinsic for."""
    return cpu_target.typing_context.resolve_value_type(INTRINSICS[name])
