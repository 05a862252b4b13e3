"""Numbers with derivatives as a Numba type, and arrays of them.

A `NumberType` stands where the user's function has a float that depends on its inputs. Floats, integers and booleans
convert to it, so that `s = 0.0; s += x[i]` has one type. `NumberArray` is Numba's array type over it, so that indexing,
slicing, iteration and memory management are Numba's own.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.core.imputils import lower_cast
from numba.core.typeconv import Conversion
from numba.extending import overload_classmethod, register_model
from numba.np import arrayobj

from symhess.native.emission import lifted
from symhess.native.layout import DOUBLE, Layout

#: what a number takes the place of
PLAIN = (types.Float, types.Integer, types.Boolean)


class NumberType(types.Type):
    """The type of numbers of one layout."""

    def __init__(self, layout: Layout):
        self.layout = layout
        super().__init__(name=f"number({layout.name})")

    def can_convert_from(self, typing_context: Any, other: types.Type) -> Any:
        return Conversion.promote if isinstance(other, PLAIN) else None

    def unify(self, typing_context: Any, other: types.Type) -> types.Type | None:
        return self if isinstance(other, PLAIN) else None


class NumberArray(types.Array):
    """An array of numbers."""

    def copy(self, dtype: Any = None, ndim: Any = None, layout: Any = None, readonly: Any = None) -> types.Array:
        """The same type but for what is given; of another dtype, an ordinary array."""
        made = super().copy(dtype, ndim, layout, readonly)
        return self._own(made) if isinstance(made.dtype, NumberType) else made

    def unify(self, typing_context: Any, other: types.Type) -> types.Type | None:
        made = super().unify(typing_context, other)
        return None if made is None else self._own(made)

    @staticmethod
    def _own(made: types.Array) -> NumberArray:
        return NumberArray(made.dtype, made.ndim, made.layout, readonly=not made.mutable, aligned=made.aligned)


register_model(NumberArray)(models.ArrayModel)


@register_model(NumberType)
class _NumberModel(models.PrimitiveModel):
    """The packed struct of the layout, in registers as in memory."""

    def __init__(self, manager: Any, kind: NumberType):
        super().__init__(manager, kind, kind.layout.struct)


@overload_classmethod(NumberArray, "_allocate", target="CPU")
def _allocate(cls, size, alignment) -> Any:
    """Memory from Numba's own allocator, as for every array."""
    return lambda cls, size, alignment: arrayobj.intrin_alloc(size, alignment)


@functools.cache
def number_type(layout: Layout) -> NumberType:
    """The one type of a layout."""
    return NumberType(layout)


def number_array(kind: NumberType, ndim: int, readonly: bool = False) -> NumberArray:
    """A C-contiguous array of numbers."""
    return NumberArray(kind, ndim, "C", readonly=readonly)


@lower_cast(types.Float, NumberType)
@lower_cast(types.Integer, NumberType)
@lower_cast(types.Boolean, NumberType)
def _from_plain(context: Any, builder: ir.IRBuilder, old: types.Type, new: NumberType, value: ir.Value) -> ir.Value:
    return lifted(builder, new.layout, as_double(context, builder, old, value))


def as_double(context: Any, builder: ir.IRBuilder, kind: types.Type, value: ir.Value) -> ir.Value:
    """The value of a number, or a plain number as a double."""
    if isinstance(kind, NumberType):
        return builder.extract_value(value, 0)
    if isinstance(kind, types.Literal):
        return ir.Constant(DOUBLE, float(kind.literal_value))
    return context.cast(builder, value, kind, types.float64)
