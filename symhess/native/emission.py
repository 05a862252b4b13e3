"""The chain rule to second order, written as LLVM instructions on numbers.

    u = f(x, y):      b = sum_i f_i b_i       h = sum_i f_i h_i  +  sum_i a_i (sum_j f_ij b_j)

f_i and f_ij are the partial derivatives. One that is known to be 0 or 1 while compiling costs nothing. Where a partial
derivative is infinite or NaN, a second version of the code runs, which multiplies only what can move (`Layout.mask`):
infinity times a structural zero is zero.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils

from symhess.native.layout import DOUBLE, HEAD, MASK, Layout

#: a partial derivative: a number known while compiling, or an LLVM double
Partial = float | ir.Value
#: numbers of no more vectors than this are worked on in registers, larger ones by functions on memory
IN_REGISTERS = 6
#: products and sums may be fused, which loses nothing
FUSED = ("contract",)


@dataclass
class Parts:
    """The members of a number as LLVM values."""

    value: Any
    mask: Any
    bent: Any
    columns: list[Any]
    rows: list[Any]
    second: list[list[Any]]


def unpack(builder: ir.IRBuilder, layout: Layout, number: ir.Value) -> Parts:
    """The members of an LLVM struct."""
    members = [builder.extract_value(number, k) for k in range(len(layout.struct.elements))]
    value, mask, bent, rest = *members[:HEAD], iter(members[HEAD:])
    columns = [next(rest) for _ in range(layout.chunks)]
    rows = [next(rest) for _ in range(layout.own_rows)]
    second = [[next(rest) for _ in range(layout.row_chunks(r))] for r in _rows(layout)]
    if layout.same:
        lane = lambda r: ir.Constant(ir.IntType(32), r % layout.width)
        rows = [builder.extract_element(columns[r // layout.width], lane(r)) for r in _rows(layout)]
    return Parts(value, mask, bent, columns, rows, second)


def pack(builder: ir.IRBuilder, layout: Layout, parts: Parts) -> ir.Value:
    """The struct of given members; the rows of a triangle are its columns."""
    number = ir.Constant(layout.struct, ir.Undefined)
    rows = [] if layout.same else parts.rows
    members = [parts.value, parts.mask, parts.bent, *parts.columns, *rows, *(c for row in parts.second for c in row)]
    for k, member in enumerate(members):
        number = builder.insert_value(number, member, k)
    return number


def lifted(builder: ir.IRBuilder, layout: Layout, value: ir.Value) -> ir.Value:
    """A constant as a number: it moves in no direction."""
    return builder.insert_value(ir.Constant(layout.struct, None), value, 0)


def _rows(layout: Layout) -> range:
    return range(layout.rows if layout.order == 2 else 0)


def chain(builder: ir.IRBuilder, layout: Layout, numbers: Sequence[ir.Value], value: ir.Value,
          first: Sequence[Partial], second: dict[tuple[int, int], Partial]) -> ir.Value:
    """f of numbers, given its value and partial derivatives at them; `second` has the pairs i <= j."""
    if layout.order == 0:
        return lifted(builder, layout, value)
    kept = {ij: s for ij, s in second.items() if s != 0.0} if layout.order == 2 else {}
    given = [p for p in (*first, *kept.values()) if isinstance(p, ir.Value)]
    pattern = _Pattern(layout, tuple(map(_constant, first)), tuple((ij, _constant(s)) for ij, s in kept.items()))
    out = cgutils.alloca_once(builder, layout.struct)
    places = [cgutils.alloca_once(builder, layout.struct) for _ in numbers]
    for place, number in zip(places, numbers):
        builder.store(number, place)
    arguments = [out, *places, value, *given]
    if pattern.small:
        _write_checked(builder, pattern, arguments)
    else:
        builder.call(_declared(builder.module, pattern, "checked"), arguments)
    return builder.load(out)


def _constant(p: Partial) -> float | None:
    return None if isinstance(p, ir.Value) else float(p)


@dataclass(frozen=True)
class _Pattern:
    """A layout, and which partial derivatives are known while compiling (None for one that is not)."""

    layout: Layout
    first: tuple[float | None, ...]
    second: tuple[tuple[tuple[int, int], float | None], ...]

    @property
    def small(self) -> bool:
        """True where the code is written in place and works in registers."""
        layout = self.layout
        return layout.chunks + sum(map(layout.row_chunks, _rows(layout))) <= IN_REGISTERS

    @property
    def given(self) -> int:
        """How many partial derivatives are passed."""
        return sum(p is None for p in (*self.first, *(s for _, s in self.second)))

    @property
    def type(self) -> ir.FunctionType:
        """void f(number *out, number *x_1 ..., value, partial derivatives ...)"""
        pointers = [self.layout.struct.as_pointer()] * (1 + len(self.first))
        return ir.FunctionType(ir.VoidType(), [*pointers, *[DOUBLE] * (1 + self.given)])

    def taken(self, arguments: Sequence[ir.Value]) -> tuple[list[Partial], dict[tuple[int, int], Partial]]:
        """First and second derivatives, from the arguments where they are passed."""
        rest = iter(arguments[2 + len(self.first):])
        return ([next(rest) if p is None else p for p in self.first],
                {ij: next(rest) if p is None else p for ij, p in self.second})


def _declared(module: ir.Module, pattern: _Pattern, kind: str) -> ir.Function:
    """A function of a pattern that is compiled apart, once for all: with "checked" or with "masked" products."""
    return cgutils.get_or_insert_function(module, pattern.type, _external(pattern, kind))


#: machine code of functions that others call by name, kept as long as the process
_engines: list[Any] = []


@functools.cache
def _external(pattern: _Pattern, kind: str) -> str:
    """Compile a function of a pattern and make its name known to the linker."""
    name = f"symhess_chain_{kind}_{len(_engines)}"
    module = ir.Module(name)
    module.triple = llvm.get_process_triple()
    function = ir.Function(module, pattern.type, name)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    (_write_checked if kind == "checked" else _write_masked)(builder, pattern, function.args)
    builder.ret_void()
    machine = llvm.Target.from_default_triple().create_target_machine(
        llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), opt=2, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    llvm.add_symbol(name, engine.get_function_address(name))
    _engines.append(engine)
    return name


def _write_checked(builder: ir.IRBuilder, pattern: _Pattern, arguments: Sequence[ir.Value]) -> None:
    """Plain products where all given factors are finite, masked ones where one is not."""
    given = arguments[2 + len(pattern.first):]
    if not given:
        _write(builder, pattern, arguments, False)
        return
    with builder.if_else(_all_finite(builder, given), likely=True) as (finite, infinite):
        with finite:
            _write(builder, pattern, arguments, False)
        with infinite:
            builder.call(_declared(builder.module, pattern, "masked"), arguments)


def _write_masked(builder: ir.IRBuilder, pattern: _Pattern, arguments: Sequence[ir.Value]) -> None:
    _write(builder, pattern, arguments, True)


def _write(builder: ir.IRBuilder, pattern: _Pattern, arguments: Sequence[ir.Value], masked: bool) -> None:
    layout, (out, *places) = pattern.layout, arguments[:1 + len(pattern.first)]
    numbers = [unpack(builder, layout, builder.load(p)) for p in places]
    value = arguments[1 + len(pattern.first)]
    parts = _combined(builder, layout, numbers, value, *pattern.taken(arguments), masked)
    builder.store(pack(builder, layout, parts), out)


def _all_finite(builder: ir.IRBuilder, values: Sequence[ir.Value]) -> ir.Value:
    """0 = sum of 0 * v, which an infinity or a NaN makes NaN."""
    zero = ir.Constant(DOUBLE, 0.0)
    total = zero
    for v in values:
        total = builder.fadd(total, builder.fmul(v, zero))
    return builder.fcmp_ordered("==", total, zero)


def _combined(builder: ir.IRBuilder, layout: Layout, numbers: Sequence[Parts], value: ir.Value,
              first: Sequence[Partial], second: dict[tuple[int, int], Partial], masked: bool) -> Parts:
    mask, bent = numbers[0].mask, numbers[0].bent
    for x in numbers[1:]:
        mask, bent = builder.or_(mask, x.mask), builder.or_(bent, x.bent)
    bent = builder.or_(bent, mask) if second else bent
    arithmetic = _Arithmetic(builder, layout)
    lanes = [_Lanes(builder, layout, x.mask) if masked else None for x in numbers]
    curved = [_Lanes(builder, layout, x.bent) if masked else None for x in numbers]
    used = list(zip(first, numbers, lanes))
    columns = [arithmetic.total((f, x.columns[c], lane and lane.columns(c)) for f, x, lane in used)
               for c in range(layout.chunks)]
    rows = [arithmetic.total((f, x.rows[r], lane and lane.row(r)) for f, x, lane in used)
            for r in range(layout.own_rows)]
    inner = [[arithmetic.total((second.get((min(i, j), max(i, j)), 0.0), y.columns[c], lane and lane.columns(c))
                               for j, (y, lane) in enumerate(zip(numbers, lanes))) for c in range(layout.chunks)]
             for i in range(len(numbers))]
    made = []
    for r in _rows(layout):
        row = []
        for c in range(layout.row_chunks(r)):
            terms = [(f, x.second[r][c], lane and lane.both(r, c)) for f, x, lane in zip(first, numbers, curved)]
            terms += [(x.rows[r], q[c], lane and lane.row(r, True)) for x, q, lane in zip(numbers, inner, lanes)]
            row.append(arithmetic.total(terms))
        made.append(row)
    zero = lambda entries: [arithmetic.zero(e) for e in entries]
    return Parts(value, mask, bent, [c if c is not None else arithmetic.nothing for c in columns],
                 [r if r is not None else ir.Constant(DOUBLE, 0.0) for r in rows], [zero(row) for row in made])


class _Arithmetic:
    """Sums of products of a scalar with a vector or a scalar; None is a sum without terms."""

    def __init__(self, builder: ir.IRBuilder, layout: Layout):
        self.builder, self.width = builder, layout.width
        self.nothing = ir.Constant(ir.VectorType(DOUBLE, layout.width), None)

    def zero(self, entry: Any) -> ir.Value:
        return self.nothing if entry is None else entry

    def total(self, terms: Any) -> Any:
        """sum of factor * v over (factor, v, lanes that count, or None for all)."""
        total: Any = None
        for factor, v, lanes in terms:
            part = self.product(factor, v, lanes)
            if part is not None:
                total = part if total is None else self.builder.fadd(total, part, flags=FUSED)
        return total

    def product(self, factor: Partial, v: Any, lanes: Any) -> Any:
        if v is None or (not isinstance(factor, ir.Value) and factor == 0.0):
            return None
        if isinstance(factor, ir.Value):
            v = self.builder.fmul(self.spread(factor, v), v, flags=FUSED)
        elif factor == -1.0:
            v = self.builder.fneg(v)
        elif factor != 1.0:
            v = self.builder.fmul(self.spread(ir.Constant(DOUBLE, factor), v), v, flags=FUSED)
        return v if lanes is None else self.builder.select(lanes, v, ir.Constant(v.type, None))

    def spread(self, factor: ir.Value, v: ir.Value) -> ir.Value:
        """The factor in every lane of a vector like v."""
        return splat(self.builder, factor, self.width) if isinstance(v.type, ir.VectorType) else factor


def splat(builder: ir.IRBuilder, x: ir.Value, width: int) -> ir.Value:
    """A vector of equal entries."""
    vector, index = ir.VectorType(x.type, width), ir.IntType(32)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), x, ir.Constant(index, 0))
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined),
                                  ir.Constant(ir.VectorType(index, width), [0] * width))


class _Lanes:
    """The bits of a mask as conditions on vectors."""

    def __init__(self, builder: ir.IRBuilder, layout: Layout, mask: ir.Value):
        self.builder, self.layout, self.mask = builder, layout, mask

    def bit(self, k: int) -> ir.Value:
        moved = self.builder.lshr(self.mask, ir.Constant(MASK, k))
        return self.builder.trunc(moved, ir.IntType(1))

    def columns(self, chunk: int) -> ir.Value:
        """The conditions of one vector of columns."""
        width = self.layout.width
        if width == 1:
            return splat(self.builder, self.bit(chunk), 1)
        moved = self.builder.lshr(self.mask, ir.Constant(MASK, chunk * width))
        bits = self.builder.trunc(moved, ir.IntType(width))
        return self.builder.bitcast(bits, ir.VectorType(ir.IntType(1), width))

    def row(self, r: int, spread: bool = False) -> ir.Value:
        """The condition of a row direction."""
        bit = self.bit(r if self.layout.same else self.layout.columns + r)
        return splat(self.builder, bit, self.layout.width) if spread else bit

    def both(self, r: int, chunk: int) -> ir.Value:
        """The conditions of one vector of second derivatives."""
        return self.builder.and_(self.row(r, True), self.columns(chunk))

