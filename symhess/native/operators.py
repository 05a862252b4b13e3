"""Python's operators on numbers with derivatives, and functions of the same meaning as a primitive.

An `Operation` is what stands for a function while the user's code is typed: on numbers it is a primitive, on arrays of
numbers a loop over it (`symhess.native.arrays`), and on everything else what it was.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.errors import NumbaTypeError
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, Signature, builtin_registry, infer_global, signature

from symhess.errors import SymhessError
from symhess.native.number import PLAIN, NumberType, as_double
from symhess.native.rules import ACTIVE, DATA, emit, rule

#: operator -> primitive
BINARY = {operator.add: "add", operator.sub: "sub", operator.mul: "mul", operator.truediv: "div",
          operator.pow: "pow", operator.mod: "remainder"}
COMPARISONS = {operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=", operator.eq: "==",
               operator.ne: "!="}
IN_PLACE = {operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul,
            operator.itruediv: operator.truediv, operator.ipow: operator.pow, operator.imod: operator.mod,
            operator.ifloordiv: operator.floordiv}
#: constant exponents beyond this are computed by pow
LARGEST_EXPONENT = 32


def number_in(args: Sequence[types.Type]) -> NumberType | None:
    """The number type among scalar arguments, or None where one is no scalar or none is a number."""
    if not all(isinstance(a, (NumberType, *PLAIN)) for a in args):
        return None
    return next((a for a in args if isinstance(a, NumberType)), None)


def register(function: Any, template: type[AbstractTemplate]) -> None:
    """Let a template type the calls of a function that no module need name."""
    template.key = function
    builtin_registry.register_global(function, types.Function(template))


def _as_taken(a: types.Type) -> types.Type:
    """Numbers as they are, literal integers too (they may be exponents), all else as float64."""
    if isinstance(a, NumberType):
        return a
    return a if isinstance(a, types.IntegerLiteral) and abs(a.literal_value) <= LARGEST_EXPONENT else types.float64


def primitive_template(name: str, nargs: int, plain: Any = None) -> type[AbstractTemplate]:
    """Typing of a primitive on numbers; on anything else, that of the function `plain`."""
    class Template(AbstractTemplate):
        """Numbers give a number."""

        prefer_literal = True

        def generic(self, args: tuple, kws: dict) -> Signature | None:
            kind = number_in(args) if not kws and len(args) == nargs else None
            if kind is None:
                return None if plain is None else self.context.resolve_function_type(plain, args, kws)
            taken = tuple(map(_as_taken, args))
            _check_rule(name, taken)
            return signature(kind, *taken)

    return Template


def _check_rule(name: str, args: Sequence[types.Type]) -> None:
    try:
        rule(name, roles(args))
    except SymhessError as error:
        raise NumbaTypeError(str(error)) from error


def roles(args: Sequence[types.Type]) -> tuple:
    """What each argument is to a rule."""
    return tuple(ACTIVE if isinstance(a, NumberType) else float(a.literal_value) if isinstance(a, types.Literal)
                 else DATA for a in args)


def lower_primitive(name: str) -> Callable[..., ir.Value]:
    """Lowering of a primitive with at least one number among its arguments."""
    def lower(context: Any, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        values = [a if isinstance(kind, NumberType) else as_double(context, builder, kind, a)
                  for kind, a in zip(sig.args, args)]
        return emit(context, builder, sig.return_type.layout, name, values, roles(sig.args))

    return lower


def _register_binary(op: Any, name: str) -> None:
    register(op, primitive_template(name, 2))
    lower = lower_primitive(name)
    for pair in ((NumberType, NumberType), (NumberType, types.Float), (types.Float, NumberType),
                 (NumberType, types.IntegerLiteral), (types.IntegerLiteral, NumberType)):
        lower_builtin(op, *pair)(lower)


for _op, _name in BINARY.items():
    _register_binary(_op, _name)


# -- one argument --------------------------------------------------------------------------------------------------


@infer_global(operator.neg)
@infer_global(operator.pos)
class _Sign(AbstractTemplate):
    def generic(self, args: tuple, kws: dict) -> Signature | None:
        return signature(args[0], args[0]) if isinstance(args[0], NumberType) else None


lower_builtin(operator.neg, NumberType)(lower_primitive("neg"))


@lower_builtin(operator.pos, NumberType)
def _same(context: Any, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
    return args[0]


@infer_global(bool)
@infer_global(operator.truth)
@infer_global(operator.not_)
class _Truth(AbstractTemplate):
    def generic(self, args: tuple, kws: dict) -> Signature | None:
        return signature(types.boolean, args[0]) if len(args) == 1 and isinstance(args[0], NumberType) else None


@lower_builtin(bool, NumberType)
@lower_builtin(operator.truth, NumberType)
def _truth(context: Any, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
    value = builder.extract_value(args[0], 0)
    return builder.fcmp_unordered("!=", value, ir.Constant(value.type, 0.0))


@lower_builtin(operator.not_, NumberType)
def _not(context: Any, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
    return builder.not_(_truth(context, builder, sig, args))


# -- comparisons ---------------------------------------------------------------------------------------------------


def _register_comparison(op: Any, symbol: str) -> None:
    @infer_global(op)
    class Comparison(AbstractTemplate):
        """Values decide."""

        def generic(self, args: tuple, kws: dict) -> Signature | None:
            return None if number_in(args) is None else signature(types.boolean, *args)

    def lower(context: Any, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        values = [as_double(context, builder, kind, a) for kind, a in zip(sig.args, args)]
        compare = builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered
        return compare(symbol, *values)

    for kind in PLAIN:
        lower_builtin(op, NumberType, kind)(lower)
        lower_builtin(op, kind, NumberType)(lower)
    lower_builtin(op, NumberType, NumberType)(lower)


for _op, _symbol in COMPARISONS.items():
    _register_comparison(_op, _symbol)
