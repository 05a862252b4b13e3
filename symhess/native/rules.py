"""Scalar rules: value and partial derivatives of a declared primitive, as LLVM instructions on doubles.

The one declaration of a primitive is all there is: its derivative rule, applied twice to a graph of one node, gives
the graphs of f, f_i and f_ij, with the cheap algebra done; their nodes are written with the primitives' own kernel
spelling. Nothing here names a function.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
from llvmlite import ir
from numba.core import types

from symhess.backends.numba_names import names as known
from symhess.backends.spelling import ARITHMETIC, INTRINSIC, LOGIC, MOST_MULTIPLIED, RELATION, integer_power
from symhess.differentiate import gradient
from symhess.errors import NotDifferentiable
from symhess.graph.node import CONSTANT, Node, constant, input_node, scalar_value, topological
from symhess.native.emission import Partial, chain
from symhess.native.layout import DOUBLE, Layout
from symhess.primitives import ELEMENTWISE, apply

#: an argument of a rule: differentiated, data, or a constant
ACTIVE, DATA = "active", "data"
Role = str | float


@dataclass(frozen=True)
class Rule:
    """The graphs of a primitive and of its partial derivatives by the active arguments."""

    inputs: tuple[Node, ...]
    value: Node
    first: tuple[Node, ...]
    second: dict[tuple[int, int], Node]

    @property
    def chooses(self) -> bool:
        """True where the value is that of one argument, as it is for maximum."""
        return len(self.first) == 2 and all(f.op.name == "where" for f in self.first)


@functools.cache
def rule(name: str, roles: tuple[Role, ...]) -> Rule:
    """The rule of a primitive for arguments of the given roles; NotDifferentiable where it has none."""
    inputs = [constant(r) if isinstance(r, float) else input_node(f"x{k}", (), float) for k, r in enumerate(roles)]
    value = apply(name, *inputs)
    active = [x for x, r in zip(inputs, roles) if r == ACTIVE]
    first = gradient(value, active)
    second = {}
    for i, f in enumerate(first):
        for j, s in enumerate(gradient(f, active[i:]), i):
            second[i, j] = s
    return Rule(tuple(inputs), value, tuple(first), second)


def emit(context: Any, builder: ir.IRBuilder, layout: Layout, name: str, args: Sequence[ir.Value],
         roles: Sequence[Role]) -> ir.Value:
    """The number primitive(args): `args` are numbers where the role is active, else doubles."""
    made = rule(name, tuple(roles))
    numbers = [a for a, r in zip(args, roles) if r == ACTIVE]
    scalars = [builder.extract_value(a, 0) if r == ACTIVE else a for a, r in zip(args, roles)]
    wanted = [made.value, *(made.first if layout.order else ()), *(made.second.values() if layout.order == 2 else ())]
    value, *partials = evaluated(context, builder, wanted, dict(zip(made.inputs, scalars)))
    value = value if isinstance(value, ir.Value) else ir.Constant(DOUBLE, value)
    first = partials[:len(numbers)] if layout.order else [0.0] * len(numbers)
    second = dict(zip(made.second, partials[len(numbers):]))
    result = chain(builder, layout, numbers, value, first, second)
    return _chosen(builder, numbers, first, result) if made.chooses and layout.order else result


def _chosen(builder: ir.IRBuilder, numbers: Sequence[ir.Value], first: Sequence[ir.Value],
            result: ir.Value) -> ir.Value:
    """An argument as it is where its derivative is 1 and the other's 0: what the other holds must not matter."""
    for mine, other, number in ((0, 1, numbers[0]), (1, 0, numbers[1])):
        alone = builder.and_(builder.fcmp_ordered("==", first[mine], ir.Constant(DOUBLE, 1.0)),
                             builder.fcmp_ordered("==", first[other], ir.Constant(DOUBLE, 0.0)))
        result = builder.select(alone, number, result)
    return result


def evaluated(context: Any, builder: ir.IRBuilder, wanted: Sequence[Node],
              known: dict[Node, ir.Value]) -> list[Partial]:
    """Instructions for scalar nodes; constants come back as Python numbers."""
    values: dict[Node, Any] = dict(known)
    for node in topological(list(wanted), lambda n: () if n in known else n.args):
        if node not in values:
            values[node] = _spelled(context, builder, node, [values[a] for a in node.args])
    return [float(n.attrs.array) if n.op is CONSTANT else values[n] for n in wanted]


def _spelled(context: Any, builder: ir.IRBuilder, node: Node, args: list[ir.Value]) -> ir.Value:
    """One node: an instruction where the spelling is one, else the kernel function compiled by Numba."""
    name = node.op.name
    if node.op is CONSTANT:
        kind = ir.IntType(1) if node.dtype.kind == "b" else DOUBLE
        return ir.Constant(kind, scalar_value(node) if kind is DOUBLE else int(scalar_value(node)))
    exponent = scalar_value(node.args[1]) if name == "pow" else None
    if exponent is not None and float(exponent).is_integer() and abs(exponent) <= MOST_MULTIPLIED:
        return integer_power(_Powers(builder), args[0], int(exponent))
    if name in ARITHMETIC:
        return getattr(builder, ARITHMETIC[name])(*args)
    if name in RELATION:
        relation = RELATION[name]
        compare = builder.fcmp_unordered if relation.startswith("u") else builder.fcmp_ordered
        return compare({"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}[relation[1:]], *args)
    if name in LOGIC:
        return {"and": builder.and_, "or": builder.or_, "xor": builder.xor}[LOGIC[name]](*args)
    if name in _INSTRUCTIONS:
        return _INSTRUCTIONS[name](builder, *args)
    if name in INTRINSIC:
        function = builder.module.declare_intrinsic(f"llvm.{INTRINSIC[name]}", [DOUBLE], ir.FunctionType(
            DOUBLE, [DOUBLE] * len(args)))
        return builder.call(function, args)
    if name not in ELEMENTWISE:
        raise NotDifferentiable(f"{name} has no scalar spelling")
    return called(context, builder, kernel(name), [types.float64] * len(args), args)


_INSTRUCTIONS = {
    "neg": lambda b, x: b.fneg(x), "where": lambda b, c, x, y: b.select(c, x, y), "logical_not": lambda b, x: b.not_(x),
    "cast": lambda b, x: b.uitofp(x, DOUBLE) if x.type != DOUBLE else x, "stop_gradient": lambda b, x: x,
}


@functools.cache
def kernel(name: str) -> Any:
    """The compiled kernel spelling of a primitive."""
    op = ELEMENTWISE[name]
    names = ["x", "y", "z"][:op.nargs]
    return numba.njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(
        eval(f"lambda {', '.join(names)}: {op.kernel.format(*names)}", known(op.kernel)))


def called(context: Any, builder: ir.IRBuilder, dispatcher: Any, kinds: Sequence[types.Type],
           args: Sequence[ir.Value]) -> ir.Value:
    """A call of a compiled function from code that is being lowered."""
    function = types.Dispatcher(dispatcher)
    signature = function.get_call_type(context.typing_context, tuple(kinds), {})
    target = context.get_function(function, signature)
    context.add_linking_libs(getattr(target, "libs", ()))
    result = target(builder, args)
    return builder.trunc(result, ir.IntType(1)) if isinstance(result.type, ir.IntType) and result.type.width == 8 else (
        result)



class _Powers:
    """What `integer_power` needs of a writer of formulas."""

    def __init__(self, builder: ir.IRBuilder):
        self.builder = builder

    def number(self, value: float) -> ir.Value:
        return ir.Constant(DOUBLE, float(value))

    def apply(self, name: str, x: ir.Value, y: ir.Value) -> ir.Value:
        return getattr(self.builder, ARITHMETIC[name])(x, y)
