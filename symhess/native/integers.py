"""Integer arithmetic as Python has it, as far as 64 bits reach: an overflow raises instead of wrapping around.

Each function stands for an operator in user code and is that operator for everything but two integers.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, Signature, signature
from numba.extending import overload

from symhess.errors import UnsupportedOperation
from symhess.native.arrays import UPDATES
from symhess.native.number import NumberArray
from symhess.native.operators import IN_PLACE, register

OVERFLOW = ('an integer of the function exceeds 64 bits, which Python\'s integers can and native code cannot; use '
            'mode="auto", or floats')
#: operator in user code -> the function that takes its place
CHECKED: dict[Any, Callable] = {}
_INTEGERS = (types.Integer, types.Boolean)


def delegated(context: Any, builder: ir.IRBuilder, function: Any, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
    """The lowering of a function that was typed in place of another one."""
    kind = context.typing_context.resolve_value_type(function)
    target = context.get_function(kind, sig)
    context.add_linking_libs(getattr(target, "libs", ()))
    return target(builder, args)


def _stand_in(name: str, op: Any, plain: Any, integers: Any) -> Callable:
    """A function that is `integers` for two integers, else the operator `op`, or `plain` where `op` changes nothing."""
    def function(a: Any, b: Any) -> Any:
        return op(a, b)

    function.__name__ = name
    def acts(args: Sequence[types.Type]) -> Any:
        if isinstance(args[0], NumberArray):
            return UPDATES.get(op, op)
        return op if isinstance(args[0], (types.Array, types.List)) else plain

    class Template(AbstractTemplate):
        """Integers are checked."""

        prefer_literal = True

        def generic(self, args: tuple, kws: dict) -> Signature | None:
            if integers is not None and all(isinstance(a, _INTEGERS) for a in args):
                return signature(types.int64, types.int64, types.int64)
            return self.context.resolve_function_type(acts(args), args, kws)

    register(function, Template)

    @lower_builtin(function, types.VarArg(types.Any))
    def lower(context: Any, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        if integers is not None and sig.return_type == types.int64 and sig.args == (types.int64,) * 2:
            return integers(context, builder, args)
        return delegated(context, builder, acts(sig.args), sig, args)

    return function


def _with_overflow(instruction: str) -> Callable:
    """LLVM's arithmetic that tells whether it overflowed."""
    def lower(context: Any, builder: ir.IRBuilder, args: Sequence[ir.Value]) -> ir.Value:
        pair = getattr(builder, f"{instruction}_with_overflow")(*args)
        _raise_if(context, builder, builder.extract_value(pair, 1))
        return builder.extract_value(pair, 0)

    return lower


def _raise_if(context: Any, builder: ir.IRBuilder, condition: ir.Value) -> None:
    with builder.if_then(condition, likely=False):
        context.call_conv.return_user_exc(builder, UnsupportedOperation, (OVERFLOW,))


def _power(a: int, n: int) -> int:
    if n < 0:
        raise UnsupportedOperation("native code computes no integer to a negative power: write the base as a float")
    result = 1
    for _ in range(n):
        result = checked_mul(result, a)
    return result


def _shifted(a: int, n: int) -> int:
    if n < 0:
        raise ValueError("negative shift count")
    if n >= 63 and a != 0:
        raise UnsupportedOperation("an integer of the function exceeds 64 bits")
    return checked_mul(a, 1 << min(n, 62))


def _through(impl: Callable) -> Callable:
    """Lowering by a Python function of two integers."""
    def lower(context: Any, builder: ir.IRBuilder, args: Sequence[ir.Value]) -> ir.Value:
        return context.compile_internal(builder, impl, signature(types.int64, types.int64, types.int64), args)

    return lower


for _name, _op, _lower in (("add", operator.add, _with_overflow("sadd")), ("sub", operator.sub, _with_overflow("ssub")),
                           ("mul", operator.mul, _with_overflow("smul")), ("pow", operator.pow, _through(_power)),
                           ("lshift", operator.lshift, _through(_shifted))):
    CHECKED[_op] = _stand_in(f"checked_{_name}", _op, _op, _lower)
    for _in_place in (o for o, plain in (*IN_PLACE.items(), (operator.ilshift, operator.lshift)) if plain is _op):
        CHECKED[_in_place] = _stand_in(f"checked_i{_name}", _in_place, _op, _lower)
for _in_place, _plain in IN_PLACE.items():
    if _in_place not in CHECKED:
        CHECKED[_in_place] = _stand_in(_in_place.__name__, _in_place, _plain, None)
checked_mul = CHECKED[operator.mul]


# -- unpacking -----------------------------------------------------------------------------------------------------


@functools.cache
def unpacker(count: int) -> Callable:
    """The function behind `a, b = x`: arrays give their elements, tuples are what they are."""
    elements = ", ".join(f"x[{k}]" for k in range(count))
    space: dict[str, Any] = {}
    exec(f"def unpack(x):\n    if len(x) != {count}:\n        raise ValueError('wrong number of values to unpack')\n"
         f"    return ({elements},)\n", space)

    def unpack(x: Any) -> Any:
        return tuple(x)

    @overload(unpack, prefer_literal=False)
    def typed(x) -> Any:
        return (lambda x: x) if isinstance(x, types.BaseTuple) and len(x) == count else space["unpack"]

    return unpack


# -- variables without a value -------------------------------------------------------------------------------------


@functools.cache
def has_value(name: str) -> Callable:
    """The check before a variable is read that may not have been assigned."""
    message = f"cannot access local variable {name!r} where it is not associated with a value"

    def check(flag: bool) -> None:
        if not flag:
            raise UnboundLocalError(message)

    def checked(flag: bool) -> None:
        check(flag)

    overload(checked)(lambda flag: _plain(check))
    return checked


def _plain(function: Callable) -> Callable:
    """The function without annotations, as `overload` wants it."""
    function.__annotations__ = {}
    return function
