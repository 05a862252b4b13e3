"""The functions of `vector_math` for Numba: `vexp` and its like, whose IR is linked into the kernel that calls them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core.typing import signature
from numba.extending import intrinsic

from symhess.backends import vector_math

VECTOR_BYTES = 64
_KINDS = {types.float32: "float", types.float64: "double"}


def _intrinsic(name: str) -> Callable[..., Any]:
    """v<name>: float32 of float32, else float64."""

    def build(*arguments: types.Type) -> tuple:
        kind = types.float32 if all(a == types.float32 for a in arguments) else types.float64

        def codegen(context, builder, sig, args):
            function = _linked(context, builder.module, name, _KINDS[kind], len(args))
            _align_stack(builder)
            return builder.call(function, args)

        return signature(kind, *[kind] * len(arguments)), codegen

    one = lambda typing_context, x: build(x)
    two = lambda typing_context, x, y: build(x, y)
    made = (one, two)[len(vector_math.parameters(name)) - 1]
    made.__name__ = f"v{name}"
    return intrinsic(made)


def _align_stack(builder: ir.IRBuilder) -> None:
    """Have the stack aligned to whole vectors: an array that has to be, and that the optimiser cannot remove.

    Without it LLVM spills vectors across cache lines (it decides on alignment before it knows that it will spill).
    """
    entry = builder.function.entry_basic_block
    if any(getattr(i, "align", None) == VECTOR_BYTES for i in entry.instructions):
        return
    with builder.goto_entry_block():
        place = builder.alloca(ir.ArrayType(ir.IntType(8), VECTOR_BYTES))
        place.align = VECTOR_BYTES
        builder.asm(ir.FunctionType(ir.VoidType(), [place.type]), "", "r", [place], side_effect=True)


def _linked(context: Any, module: ir.Module, name: str, kind: str, arguments: int) -> ir.Function:
    """Declare a function in a module, and see to it that its definition comes along."""
    symbol = vector_math.symbol(name, kind)
    if symbol not in module.globals:
        number = {"double": ir.DoubleType(), "float": ir.FloatType()}[kind]
        ir.Function(module, ir.FunctionType(number, [number] * arguments), symbol)
        context.active_code_library.add_linking_library(_library(context.codegen(), name, kind))
    return module.globals[symbol]


@functools.cache
def _library(codegen: Any, name: str, kind: str) -> Any:
    """The definition as one of Numba's libraries: external there, so that it is not thrown away as unused."""
    text = vector_math.definition(name, kind)
    library = codegen.create_library(vector_math.symbol(name, kind))
    module = llvm.parse_assembly(text.replace("define internal", "define"))
    module.verify()
    library.add_llvm_module(module)
    library.finalize()
    return library


#: what generated source may name
NAMES = {f"v{name}": _intrinsic(name) for name in vector_math.FORMULAS}
