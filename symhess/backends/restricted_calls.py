"""What restricted Python may call: conversions, memory, mathematics, BLAS, and functions of its own kind.

A function that is outside of the restricted part is compiled by Numba, and its bitcode becomes part of the module.
"""

from __future__ import annotations

import ast
import builtins
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symhess.backends import plain, vector_math
from symhess.backends.instructions import llvm_type
from symhess.backends.kernel_functions import Instruction, KernelFunction, Routine
from symhess.backends.names import libraries_of, library_names
from symhess.backends.restricted import Compiler, assigned_once, definition_of
from symhess.backends.spelling import MOST_MULTIPLIED, Formula, integer_power
from symhess.backends.squares import SQUARE, beyond_squares, interleaved, mirrored, mirrored_upper, transposed
from symhess.backends.values import (
    BYTES,
    ELEMENT,
    NOTHING,
    Items,
    Memory,
    Number,
    Static,
    Unsupported,
    Value,
    View,
    integer,
    number_kind,
    real,
)
from symhess.errors import UnsupportedOperation

Call = Callable[..., Value]
DOUBLE = Static(np.float64)


# -- conversions and arithmetic ----------------------------------------------------------------------------------------


def _to(kind: str) -> Call:
    return lambda c, x: c.code.converted(x, kind)


def _absolute(c: Compiler, x: Number) -> Number:
    if x.kind in ("double", "float"):
        return mathematics(c, "abs", x)
    return c.code.selected(c.code.compared("<", x, integer(0)), c.code.negated(x), x)


def _least(relation: str) -> Call:
    def call(c: Compiler, x: Number, *others: Number) -> Number:
        for y in others:
            x = c.code.selected(c.code.compared(relation, y, x), y, x)
        return x

    return call


def _accumulate(c: Compiler, total: Number, x: Number) -> Number:
    """total + x, in any order."""
    if total.kind not in ("double", "float"):
        return c.code.arithmetic("+", total, x)
    x = c.code.converted(x, total.kind)
    flags = c.code.flags or "reassoc nsz contract "
    return Number(total.kind, c.code.emit(f"fadd {flags}{total.kind} {total.text}, {x.text}"))


def power(code: Any, x: Number, n: Number) -> Number:
    """x**n, multiplied out for small constant whole n."""
    if isinstance(n.constant, int) and n.kind == "i64" and abs(n.constant) <= MOST_MULTIPLIED:
        if x.kind in ("double", "float"):
            return Number(x.kind, integer_power(Formula(code, x.kind, code.flags), x.text, n.constant))
        if n.constant == 2:
            return code.arithmetic("*", x, x)
        raise Unsupported("a power of a whole number")
    kind = "float" if x.kind == n.kind == "float" else "double"
    x, n = code.converted(x, kind), code.converted(n, kind)
    return Number(kind, Formula(code, kind).apply("pow", x.text, n.text))


# -- mathematics -------------------------------------------------------------------------------------------------------


def mathematics(c: Compiler, name: str, *args: Number) -> Number:
    """A primitive of reals, as straight-line code spells it."""
    kind = "float" if all(a.kind == "float" for a in args) else "double"
    texts = [c.code.converted(a, kind).text for a in args]
    try:
        found = Formula(c.code, kind).apply(name, *texts)
    except UnsupportedOperation as problem:
        raise Unsupported(str(problem)) from problem
    return Number("i1" if name in ("isnan", "isfinite") else kind, found)


def _whole(name: str) -> Call:
    """math.floor and math.ceil give integers."""
    return lambda c, x: c.code.converted(mathematics(c, name, x), "i64")


def _libm(symbol: str) -> Call:
    def call(c: Compiler, x: Number) -> Number:
        x = c.code.converted(x, "double")
        return Number("double", c.code.call(symbol, "double", ("double", x.text)))

    return call


def _primitive(name: str) -> Call:
    return lambda c, *args: mathematics(c, name, *args)


_SAME = ("exp", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt", "hypot",
         "copysign", "erf", "erfc", "isnan", "isfinite", "fmod", "pow")
_INVERSE = {"a" + n: "arc" + n for n in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")}
_NUMPY = ("cbrt", "sign", "floor", "ceil", "trunc", "rint", "remainder", "fmod", "sqrt", "exp", "log", "abs", "isnan",
          "isfinite", "sin", "cos", "maximum", "minimum")


def _vectorising(name: str) -> Call:
    """A function by a formula that vectorises; its definition becomes part of the module."""

    def call(c: Compiler, *args: Number) -> Number:
        kind = "float" if all(a.kind == "float" for a in args) else "double"
        for text in vector_math.definition(name, kind).split("\n}\n"):
            _include(c, text)
        typed = [(kind, c.code.converted(a, kind).text) for a in args]
        operands = ", ".join(f"{t} {v}" for t, v in typed)
        return Number(kind, c.code.emit(f"call {kind} @{vector_math.symbol(name, kind)}({operands})"))

    return call


def _include(c: Compiler, text: str) -> None:
    """Declarations, then one function without its closing brace, into the module once."""
    lines = text.strip().split("\n")
    for k, line in enumerate(lines):
        symbol = re.search(r"@([\w.]+)\(", line)
        if line.startswith("declare"):
            c.module.declared.setdefault(symbol[1], line)
        elif line.startswith("define"):
            c.module.definitions.setdefault(symbol[1], "\n".join([*lines[k:], "}"]))
            return


# -- memory ------------------------------------------------------------------------------------------------------------


def _get(c: Compiler, m: Memory, i: Number) -> Number:
    return c.code.load(m, i)


def _put(c: Compiler, m: Memory, i: Number, x: Number) -> Value:
    c.code.store(m, i, x)
    return NOTHING


def _at(c: Compiler, m: Memory, i: Number) -> Memory:
    return Memory(m.element, c.code.address(m, i), m.boolean)


def _copy(c: Compiler, m: Memory, source: Memory, count: Number) -> Value:
    size = c.code.arithmetic("*", count, integer(BYTES[m.element]))
    c.code.call("llvm.memcpy.p0.p0.i64", "void", ("ptr", m.text), ("ptr", source.text), ("i64", size.text),
                ("i1", "false"), attributes="")
    return NOTHING


def _fill(c: Compiler, m: Memory, count: Number, x: Number) -> Value:
    c.loop(count, lambda i: c.code.store(m, i, x))
    return NOTHING


def _view(c: Compiler, m: Memory, shape: Items | Number) -> View:
    return View(m, shape.values if isinstance(shape, Items) else (shape,))


def _steps(c: Compiler, n: Number) -> Number:
    """n, unknown to LLVM, which then does not unroll the loop."""
    return Number("i64", c.code.emit(f'call i64 asm "", "=r,0"(i64 {n.text})'))


def _one_by_one(c: Compiler) -> Value:
    c.code.line('call void asm sideeffect "", ""()')
    return NOTHING


def _run_block(c: Compiler, name: Static, arrays: Items, out: Memory, workspace: Memory) -> Value:
    table = c.code.slot(f"[{max(len(arrays.values), 1)} x ptr]")
    for k, m in enumerate(arrays.values):
        c.code.line(f"store ptr {m.text}, ptr {c.code.emit(f'getelementptr ptr, ptr {table}, i64 {k}')}")
    c.code.call(name.value, "void", ("ptr", table), ("ptr", out.text), ("ptr", workspace.text), attributes="nounwind")
    return NOTHING


def _empty(c: Compiler, shape: Items | Number, dtype: Static = DOUBLE) -> View:
    """New memory, given back when the function ends, or at `keep` in a function that says so."""
    element = element_of(dtype)
    dims = shape.values if isinstance(shape, Items) else (shape,)
    view = View(Memory(element, ""), tuple(c.code.converted(d, "i64") for d in dims))
    size = c.code.arithmetic("*", c.code.size(view), integer(BYTES[element]))
    if c.loops and not c.keeps:
        raise Unsupported("new memory within a loop")
    pointer = c.code.call("malloc", "ptr", ("i64", size.text), attributes="nounwind")
    have, missing = c.code.label(), c.code.label()
    if not c.keeps:
        slot = c.code.slot("ptr")
        c.code.slots.append(f"  store ptr null, ptr {slot}")
        c.code.line(f"store ptr {pointer}, ptr {slot}")
        c.owned.append(slot)
    c.code.branch(Number("i1", c.code.emit(f"icmp eq ptr {pointer}, null")), missing, have)
    c.code.begin_at(missing)
    c.code.line("store i32 1, ptr %status")
    c.code.jump(c.leave)
    c.code.begin_at(have)
    return View(Memory(element, pointer), view.shape)


def _keep(c: Compiler, view: View) -> Value:
    """The end of an array's life."""
    c.code.call("free", "void", ("ptr", view.memory.text), attributes="nounwind")
    return NOTHING


def element_of(dtype: Static) -> str:
    """The element type that a dtype, a Numba type or a type of NumPy's names."""
    name = np.dtype(dtype.value.dtype if isinstance(dtype.value, Native) else dtype.value).name
    if name not in ELEMENT:
        raise Unsupported(f"arrays of {name}")
    return ELEMENT[name]


def method(c: Compiler, view: View, name: str, args: Sequence[Value]) -> Value:
    """What is called on an array: a new shape, or another reading of the same bytes."""
    if name == "reshape":
        dims = args[0].values if isinstance(args[0], Items) else tuple(args)
        return View(view.memory, _with_the_rest(c, c.code.size(view), [c.code.converted(d, "i64") for d in dims]))
    if name == "view":
        element = element_of(args[0])
        if BYTES[element] == BYTES[view.memory.element]:
            return View(Memory(element, view.memory.text), view.shape)
    raise Unsupported(f"array.{name}")


def _with_the_rest(c: Compiler, size: Number, dims: list[Number]) -> tuple[Number, ...]:
    """Extents of which one may be -1: what the others leave."""
    given = [d for d in dims if d.constant != -1]
    if len(given) == len(dims):
        return tuple(dims)
    rest = c.code.size(View(Memory("i8", ""), tuple(given)))
    known = rest.constant is not None and size.constant is not None
    if rest.constant == 0:
        raise Unsupported("an unknown extent of an empty array")
    left = integer(size.constant // rest.constant) if known else Number(
        "i64", c.code.emit(f"sdiv i64 {size.text}, {rest.text}"))
    return tuple(left if d.constant == -1 else d for d in dims)


# -- BLAS and LAPACK ---------------------------------------------------------------------------------------------------


def _fortran(c: Compiler, view: View, name: str, parts: Sequence[tuple[str, Any]]) -> None:
    """Call a routine, every argument by address; parts are ("char" | "int" | "real" | "array", value)."""
    from symhess.backends import support_blas  # noqa: F401  makes the routines known to the linker

    prefix, kind = ("s", "float") if view.memory.element == "float" else ("d", "double")
    pointers = []
    for what, value in parts:
        if what == "array":
            pointers.append(("ptr", value))
            continue
        held, text = {"char": ("i8", value), "real": (kind, value.text if what == "real" else ""),
                      "int": ("i32", "")}[what]
        if what == "int":
            text = value.text if value.constant is not None else c.code.emit(f"trunc i64 {value.text} to i32")
        slot = c.code.slot(held)
        c.code.line(f"store {held} {text}, ptr {slot}")
        pointers.append(("ptr", slot))
    c.code.call(f"symhess_{prefix}{name}", "void", *pointers, attributes="nounwind")


def _letter(c: Compiler, flag: Number, yes: str = "T", no: str = "N") -> tuple[str, str]:
    if flag.constant is not None:
        return "char", str(ord(yes if flag.constant else no))
    return "char", c.code.emit(f"select i1 {flag.text}, i8 {ord(yes)}, i8 {ord(no)}")


def _gemm_into(c: Compiler, a: View, b: View, out: View, turned_a: Number, turned_b: Number) -> Value:
    kind = out.memory.element
    inner = c.code.selected(turned_a, a.shape[0], a.shape[1])
    _fortran(c, out, "gemm", [
        _letter(c, turned_b), _letter(c, turned_a), ("int", out.shape[1]), ("int", out.shape[0]), ("int", inner),
        ("real", real(1, kind)), ("array", b.memory.text), ("int", b.shape[1]), ("array", a.memory.text),
        ("int", a.shape[1]), ("real", real(0, kind)), ("array", out.memory.text), ("int", out.shape[1])])
    return NOTHING


def _syrk_half(c: Compiler, a: View, out: View, m: Number, k: Number, turned: Number, alpha: Number,
               beta: Number) -> Value:
    kind = out.memory.element
    lead = c.code.selected(turned, k, m)
    _fortran(c, out, "syrk", [
        ("char", str(ord("U"))), _letter(c, turned), ("int", m), ("int", k),
        ("real", c.code.converted(alpha, kind)), ("array", a.memory.text), ("int", lead),
        ("real", c.code.converted(beta, kind)), ("array", out.memory.text), ("int", m)])
    return NOTHING


def _potrf(c: Compiler, a: View, n: Number) -> Number:
    info = c.code.slot("i32")
    _fortran(c, a, "potrf", [("char", str(ord("U"))), ("int", n), ("array", a.memory.text), ("int", n),
                             ("array", info)])
    return Number("i64", c.code.emit(f"sext i32 {c.code.emit(f'load i32, ptr {info}')} to i64"))


def _getrf(c: Compiler, a: View, n: Number, pivots: View) -> Value:
    _fortran(c, a, "getrf", [("int", n), ("int", n), ("array", a.memory.text), ("int", n),
                             ("array", pivots.memory.text), ("array", c.code.slot("i32"))])
    return NOTHING


def _trsm(c: Compiler, m: View, x: View, n: Number, k: Number, lower: Number, trans: Number, unit: Number) -> Value:
    _fortran(c, m, "trsm", [
        ("char", str(ord("R"))), _letter(c, lower, "U", "L"), _letter(c, trans), _letter(c, unit, "U"), ("int", k),
        ("int", n), ("real", real(1, m.memory.element)), ("array", m.memory.text), ("int", n),
        ("array", x.memory.text), ("int", k)])
    return NOTHING


def _missing(c: Compiler, view: View) -> Number:
    """What stands for an element that does not exist."""
    kind = number_kind(view.memory)
    return real(math.nan, kind) if kind in ("double", "float") else integer(0)


# -- squares -----------------------------------------------------------------------------------------------------------


def _between_squares(change: Callable) -> Call:
    """A square of a matrix becomes the changed one at another place."""

    def call(c: Compiler, view: View, source: Number, target: Number) -> Value:
        m, lead = view.memory, view.shape[-1]
        vector = f"<{SQUARE} x {m.element}>"
        place = lambda first, r: c.code.address(m, c.code.arithmetic("+", first, c.code.arithmetic(
            "*", lead, integer(r))))
        align = f"align {BYTES[m.element]}"
        rows = [c.code.emit(f"load {vector}, ptr {place(source, r)}, {align}") for r in range(SQUARE)]

        for r, row in enumerate(change(_shuffle(c, vector), rows)):
            c.code.line(f"store {vector} {row}, ptr {place(target, r)}, {align}")
        return NOTHING

    return call


def _shuffle(c: Compiler, vector: str) -> Callable[[str, str, Sequence[int]], str]:
    """Chosen elements of the concatenation of two vectors."""

    def shuffle(a: str, b: str, lanes: Sequence[int]) -> str:
        mask = f"<{SQUARE} x i32> <{', '.join(f'i32 {l}' for l in lanes)}>"
        return c.code.emit(f"shufflevector {vector} {a}, {vector} {b}, {mask}")

    return shuffle


def _interleave(c: Compiler, m: Memory, position: Number, sources: Items) -> Value:
    """Squares are transposed in registers; what is beyond them is stored element by element."""
    vector, align = f"<{SQUARE} x {m.element}>", f"align {BYTES[m.element]}"
    place = lambda p, j: c.code.arithmetic("+", position, integer(p * len(sources.values) + j))
    rows = [_row(c, m, s) for s in sources.values]
    for p, j, v in interleaved(_shuffle(c, vector), rows):
        c.code.line(f"store {vector} {v}, ptr {c.code.address(m, place(p, j))}, {align}")
    for j in beyond_squares(len(rows)):
        for p in range(SQUARE):
            s = sources.values[j]
            c.code.store(m, place(p, j), c.code.load(s, integer(p)) if isinstance(s, Memory) else s)
    return NOTHING


def _row(c: Compiler, m: Memory, source: Memory | Number) -> str:
    """The elements of a row, or one number in all places of a vector."""
    vector = f"<{SQUARE} x {m.element}>"
    if isinstance(source, Memory):
        return c.code.emit(f"load {vector}, ptr {source.text}, align {BYTES[m.element]}")
    one = c.code.emit(f"insertelement {vector} poison, {m.element} {c.code.converted(source, m.element).text}, i32 0")
    return c.code.emit(f"shufflevector {vector} {one}, {vector} poison, <{SQUARE} x i32> zeroinitializer")


# -- the table ---------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Native:
    """Something that is called in kernels, and how; `of_numbers` if it takes nothing else."""

    call: Call
    of_numbers: bool = False
    dtype: Any = None

    def __call__(self, c: Compiler, args: Sequence[Value]) -> Value:
        if self.of_numbers and not all(isinstance(a, Number) for a in args):
            raise Unsupported("arithmetic of arrays")
        return self.call(c, *args)


#: by name: what kernels call, and the intrinsics in the functions that they call
NATIVE: dict[str, Native] = {name: Native(_to(kind), True, dtype) for name, kind, dtype in (
    ("F64", "double", np.float64), ("F32", "float", np.float32), ("I64", "i64", np.int64), ("I32", "i64", np.int32),
    ("B1", "i1", np.bool_), ("U", "u64", np.uint64), ("U1", "u64", np.uint8))}
NATIVE |= {name: Native(call, True) for name, call in {
    "select": lambda c, *args: c.code.selected(*args), "accumulate": _accumulate,
    "maximum": _primitive("maximum"), "minimum": _primitive("minimum"),
    **{f"v{name}": _vectorising(name) for name in vector_math.FORMULAS}}.items()}
NATIVE |= {name: Native(call) for name, call in {
    "get": _get, "put": _put, "at": _at, "copy": _copy, "fill": _fill, "memory": lambda c, view, *alias: view.memory,
    "keep": _keep, "view": _view, "steps": _steps, "one_by_one": _one_by_one, "run_block": _run_block,
    "gemm_into": _gemm_into, "syrk_half": _syrk_half, "potrf": _potrf, "getrf": _getrf, "trsm": _trsm,
    "missing": _missing, "transpose_square": _between_squares(transposed),
    "mirror_square": _between_squares(mirrored), "mirror_upper_square": _between_squares(mirrored_upper),
    "interleave": _interleave}.items()}
#: by identity: Python's own functions, and those of math and NumPy
_PYTHON: dict[int, Native] = {id(f): Native(call, True) for f, call in {
    np.float64: _to("double"), np.float32: _to("float"), np.int64: _to("i64"), np.int32: _to("i64"),
    np.bool_: _to("i1"), builtins.int: _to("i64"), builtins.float: _to("double"), builtins.bool: _to("i1"),
    builtins.abs: _absolute, builtins.min: _least("<"), builtins.max: _least(">"),
    **{getattr(math, n): _primitive(n) for n in _SAME},
    **{getattr(math, a): _primitive(n) for a, n in _INVERSE.items()},
    **{getattr(np, n): _primitive(n) for n in _NUMPY},
    math.floor: _whole("floor"), math.ceil: _whole("ceil"), math.gamma: _libm("tgamma"), math.lgamma: _libm("lgamma"),
    math.isinf: lambda c, x: c.code.compared("==", mathematics(c, "abs", x), real(math.inf))}.items()}
_PYTHON |= {id(builtins.len): Native(lambda c, view: view.shape[0]), id(np.empty): Native(_empty)}
_CONSTANTS = {"nan": math.nan, "inf": math.inf, "math": math, "np": np}


class Names:
    """What the names in a kernel's text mean; libraries are imported for what is none of the above."""

    def __init__(self, text: str):
        self.text = text

    def __call__(self, name: str) -> Any:
        for table in (NATIVE, plain.NAMES, _CONSTANTS, vars(builtins)):
            if name in table:
                return table[name]
        found = {name: f for library in libraries_of(self.text) for name, f in library_names(library).items()}
        if name not in found:
            raise Unsupported(f"the name {name}")
        return found[name]


def called(c: Compiler, function: Any, args: Sequence[Value]) -> Value:
    """The value of a call."""
    if isinstance(function, tuple):
        return method(c, *function, args)
    if isinstance(function, Instruction):
        function = NATIVE[function.__name__]
    native = function if isinstance(function, Native) else _PYTHON.get(id(function))
    if native is not None:
        return native(c, args)
    if isinstance(function, Routine):
        return _external(c, function, args)
    if not isinstance(function, KernelFunction):
        raise Unsupported(f"a call of {function!r}")
    try:
        symbol, result = compiled_function(c, function.py_func, args)
    except Unsupported:
        return _by_numba(c, function, args)
    return _invoked(c, symbol, result, args)


def _external(c: Compiler, routine: Routine, args: Sequence[Number]) -> Number:
    """A routine known to the linker."""
    given = []
    for x, kind in zip(args, routine.arguments, strict=True):
        x = c.code.converted(x, "i64" if kind == "i32" else kind)
        if kind == "i32":
            x = Number(kind, x.text if x.constant is not None else c.code.emit(f"trunc i64 {x.text} to i32"))
        given.append((kind, x.text))
    return Number(routine.result, c.code.call(routine.symbol, routine.result, *given, attributes="nounwind"))


# -- functions of the same kind ----------------------------------------------------------------------------------------


def _is_fixed(value: Number) -> bool:
    """True for whole numbers and truth values that are known: functions are compiled for each."""
    return value.kind in ("i1", "i64") and value.constant is not None


def _key(value: Value) -> Any:
    """What a function is specialised to: kinds of numbers, extents of arrays and whole numbers that are known."""
    if isinstance(value, Number):
        return (value.kind, value.constant) if _is_fixed(value) else value.kind
    if isinstance(value, Memory):
        return ("memory", value.element, value.boolean)
    if isinstance(value, View):
        return ("view", value.memory.element, value.memory.boolean, tuple(n.constant for n in value.shape))
    if isinstance(value, Items):
        return tuple(map(_key, value.values))
    raise Unsupported("an object as an argument")


def _parts(value: Value) -> list[tuple[str, str]]:
    """The (type, operand) pairs in which an argument is passed."""
    if isinstance(value, Number):
        return [] if _is_fixed(value) else [(llvm_type(value.kind), value.text)]
    if isinstance(value, Memory):
        return [("ptr", value.text)]
    if isinstance(value, View):
        return [("ptr", value.memory.text), *(("i64", n.text) for n in value.shape if n.constant is None)]
    return [p for v in value.values for p in _parts(v)]


def _received(value: Value, names: Any) -> Value:
    """An argument as the function sees it: its parts under the next names."""
    if isinstance(value, Number):
        return value if _is_fixed(value) else Number(value.kind, next(names))
    if isinstance(value, Memory):
        return Memory(value.element, next(names), value.boolean)
    if isinstance(value, View):
        m = Memory(value.memory.element, next(names), value.memory.boolean)
        return View(m, tuple(n if n.constant is not None else Number("i64", next(names)) for n in value.shape))
    return Items(tuple(_received(v, names) for v in value.values))


def compiled_function(c: Compiler, function: Callable, args: Sequence[Value]) -> tuple[str, Value]:
    """The symbol of a function for arguments of these kinds, and what it gives."""
    module = c.module
    key = (function, *map(_key, args))
    if key in module.functions:
        found = module.functions[key]
        if found is None:
            raise Unsupported(f"{function.__name__} again")
        return found
    module.functions[key] = None
    node, names = definition_of(function)
    inner = Compiler(module, names, fixed=assigned_once(node))
    parameters = [a.arg for a in node.args.args]
    if len(parameters) != len(args) or node.args.vararg or node.args.kwonlyargs:
        raise Unsupported(f"{function.__name__} of {len(args)} arguments")
    parts = [p for a in args for p in _parts(a)]
    operands = iter([f"%p{k}" for k in range(len(parts))])
    for name, a in zip(parameters, args):
        inner.assign(ast.Name(name), _received(a, operands))
    inner.block(node.body)
    symbol = f"{function.__name__}_{len(module.functions)}"
    head = ", ".join(f"{t} %p{k}" for k, (t, _) in enumerate(parts))
    module.texts.append(inner.finished(symbol, head, "internal"))
    module.functions[key] = symbol, inner.result or NOTHING
    return module.functions[key]


def _invoked(c: Compiler, symbol: str, result: Value, args: Sequence[Value]) -> Value:
    """Call a function of the module, or of one that is linked to it."""
    parts = [p for a in args for p in _parts(a)]
    kind = llvm_type(result.kind) if isinstance(result, Number) else "void"
    status = [] if symbol in c.module.linked else [("ptr", "%status")]
    text = f"call {kind} @{symbol}({', '.join(f'{t} {v}' for t, v in [*status, *parts])})"
    if kind == "void":
        c.code.line(text)
        return NOTHING
    return Number(result.kind, c.code.emit(text))


def _by_numba(c: Compiler, function: Any, args: Sequence[Value]) -> Value:
    """A function compiled by Numba behind an interface of pointers and numbers; its bitcode is linked."""
    from symhess.backends.bridge import bridged

    args = tuple(map(_of_any_extent, args))
    symbol, bitcode, kind = bridged(function, tuple(map(_key, args)))
    parts = [t for a in args for t, _ in _parts(a)]
    c.module.declared[symbol] = f"declare {llvm_type(kind) if kind else 'void'} @{symbol}({', '.join(parts)}) nounwind"
    c.module.linked[symbol] = bitcode
    return _invoked(c, symbol, Number(kind, "") if kind else NOTHING, args)


def _of_any_extent(value: Value) -> Value:
    """An argument whose extents are passed as numbers: Numba compiles a function once for all."""
    if isinstance(value, Number) and value.kind == "i64":
        return Number("i64", value.text)
    if not isinstance(value, View):
        return value
    return View(value.memory, tuple(Number("i64", n.text) for n in value.shape))


