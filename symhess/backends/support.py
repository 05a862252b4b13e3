"""The functions of `plain` for Numba: intrinsics for what is one instruction, and the others compiled."""

from __future__ import annotations

import math
from types import FunctionType

import numpy as np
from numba import njit, types
from numba.core.typing import signature
from numba.extending import intrinsic

from symhess.backends import plain
from symhess.backends.memory import one_by_one
from symhess.backends.squares import SQUARE
from symhess.backends.support_mirror import mirror_square, transpose_square


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


#: the globals of the functions below
_names = {"select": select, "accumulate": accumulate, "maximum": maximum, "minimum": minimum, "math": math,
          "transpose_square": transpose_square, "mirror_square": mirror_square, "SQUARE": SQUARE, "TILE": plain.TILE,
          "one_by_one": one_by_one}
for _f in plain.FUNCTIONS:
    _names[_f.__name__] = njit(error_model="numpy")(FunctionType(_f.__code__, _names, _f.__name__))
assign, assign_row, mirror, mirror_few, logaddexp = (
    _names[_f] for _f in ("assign", "assign_row", "mirror", "mirror_few", "logaddexp"))

#: what generated source may name
NAMES = _names | {"np": np, "nan": math.nan, "inf": math.inf}
