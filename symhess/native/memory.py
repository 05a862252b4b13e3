"""Numbers in and out of a kernel: seeded inputs, and results as rows of doubles.

An input with flat position k is seeded with derivative 1 in column k - start, and with rows[r, k] in row direction r.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import NumbaTypeError
from numba.core.imputils import impl_ret_borrowed
from numba.core.typing.templates import signature
from numba.extending import intrinsic
from numba.np import arrayobj

from symhess.native.arrays import empty_of
from symhess.native.emission import lifted
from symhess.native.layout import DOUBLE, HEAD, MASK, Layout
from symhess.native.number import NumberArray, NumberType, as_double, number_type

#: functions that only compiled code calls
INNER = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class NoNumber(NumbaTypeError):
    """The user's function returned something that is not one floating number."""


@functools.cache
def seeded(layout: Layout) -> Any:
    """seed(value, k, start, rows): the number of one input."""
    @intrinsic
    def seed(typing_context, value, k, start, rows):
        def lower(context, builder, sig, args):
            return _seed(context, builder, layout, sig.args[3], *args)

        return signature(number_type(layout), types.float64, types.int64, types.int64, rows), lower

    return seed


def _seed(context: Any, builder: ir.IRBuilder, layout: Layout, kind: types.Array, value: ir.Value, k: ir.Value,
          start: ir.Value, rows: ir.Value) -> ir.Value:
    """A number with derivative 1 in its own column, if that is one of this sweep, and rows[r, k] in row direction r."""
    place, one = cgutils.alloca_once(builder, layout.struct), ir.Constant(DOUBLE, 1.0)
    builder.store(lifted(builder, layout, value), place)
    doubles, zero = builder.bitcast(place, DOUBLE.as_pointer()), ir.Constant(MASK, 0)
    mask = cgutils.alloca_once_value(builder, zero)
    column = builder.sub(k, start)
    inside = builder.icmp_unsigned("<", column, ir.Constant(MASK, layout.columns))
    with builder.if_then(inside if layout.order else ir.Constant(ir.IntType(1), 0)):
        builder.store(one, builder.gep(doubles, [builder.add(column, ir.Constant(MASK, HEAD))]), align=8)
        builder.store(builder.shl(ir.Constant(MASK, 1), column), mask)
    table = arrayobj.make_array(kind)(context, builder, rows)
    for r in range(layout.own_rows):
        pointer = cgutils.get_item_pointer(context, builder, kind, table, [ir.Constant(MASK, r), k])
        element = builder.load(pointer)
        at = ir.Constant(MASK, layout.row_start - layout.own_rows + r)
        builder.store(element, builder.gep(doubles, [at]), align=8)
        moves = builder.zext(builder.fcmp_unordered("!=", element, ir.Constant(DOUBLE, 0.0)), MASK)
        bit = builder.shl(moves, ir.Constant(MASK, layout.columns + r))
        builder.store(builder.or_(builder.load(mask), bit), mask)
    return builder.insert_value(builder.load(place), builder.load(mask), 1)


@functools.cache
def inputs(layout: Layout) -> tuple[Any, Any, Any]:
    """(array, vector, scalar): compiled functions that turn an array, one of rank 1, or one of rank 0 into numbers."""
    seed, empty = seeded(layout), empty_of(number_type(layout))

    @numba.njit(**INNER)
    def array(values, offset, start, rows):
        out = empty(values.shape)
        flat, given = out.reshape(-1), values.reshape(-1)
        for k in range(values.size):
            flat[k] = seed(float(given[k]), offset + k, start, rows)
        return read_only(out)

    @numba.njit(**INNER)
    def vector(values, offset, start, rows):
        out = empty(values.shape)
        for k in range(len(values)):
            out[k] = seed(float(values[k]), offset + k, start, rows)
        return read_only(out)

    @numba.njit(**INNER)
    def scalar(values, offset, start, rows):
        return seed(float(values[()]), offset, start, rows)

    return array, vector, scalar


@intrinsic
def read_only(typing_context, a):
    """The same array, which cannot be written into."""
    kind = NumberArray if isinstance(a, NumberArray) else types.Array
    result = kind(a.dtype, a.ndim, a.layout, readonly=True)

    def lower(context, builder, sig, args):
        return impl_ret_borrowed(context, builder, sig.return_type, args[0])

    return signature(result, a), lower


@functools.cache
def output(layout: Layout) -> Any:
    """write(result, out): the members of a number as doubles; a plain float is a number that does not move."""
    kind = number_type(layout)

    @intrinsic
    def write(typing_context, result, out):
        if not isinstance(result, (NumberType, types.Float)):
            raise NoNumber(f"returned {in_words(result)}")

        def lower(context, builder, sig, args):
            number = args[0] if isinstance(result, NumberType) else lifted(
                builder, layout, as_double(context, builder, result, args[0]))
            data = arrayobj.make_array(out)(context, builder, args[1]).data
            builder.store(number, builder.bitcast(data, layout.struct.as_pointer()))
            return context.get_dummy_value()

        return signature(types.void, result, out), lower

    assert kind.layout is layout
    return write


def in_words(kind: types.Type) -> str:
    """A Numba type as a person would say it."""
    if isinstance(kind, NumberArray | types.Array):
        return f"an array of {kind.ndim} dimensions"
    if isinstance(kind, types.BaseTuple):
        return f"{len(kind)} values"
    if isinstance(kind, types.NoneType):
        return "nothing"
    return "a value of dtype int64" if isinstance(kind, types.Integer) else f"a {kind}"
