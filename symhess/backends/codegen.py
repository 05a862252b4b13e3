"""Prints a plan as the source of one Numba function.

Where a loop is long enough to be vectorised, mathematical functions stand in their vector form: `vexp(x)` for
`math.exp(x)`, see `vector_math`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace

from symhess.backends import nested
from symhess.backends.vector_math import spelled
from symhess.plan.affine import Linear
from symhess.plan.loops import Assign, Block, Interleave, Load, Store, Target
from symhess.plan.nested import NestedCall, plans_in
from symhess.plan.steps import Fill, LibraryCall, Mirror, Plan, ScalarBlock
from symhess.plan.storage import ALIGNMENT, allocate
from symhess.plan.tiles import tiles_along

#: the name of each element type in generated source (capitals: loop variables are i1, i2, ...)
TYPE_NAMES = {"float64": "F64", "float32": "F32", "int64": "I64", "int32": "I32", "bool": "B1"}
INDENT = "    "
#: in kernels of more nests than this, short loops are hidden from LLVM's unrolling
FEW_NESTS = 8
SHORT = range(5, 65)
#: loops of this many iterations are worth vector instructions; loops of at most so many inside of them are unrolled
LONG, UNROLLED = 16, 4
#: bytes from which a workspace is worth huge pages
LARGE = 1 << 22
#: rows from which a matrix is mirrored square by square
SQUARES_FROM = 16


Statement = Assign | Load | Store | Interleave | Fill | LibraryCall | Mirror | ScalarBlock


def source(plan: Plan, name: str, symbols: dict[str, str]) -> str:
    """The text of the kernel; `symbols` gives the linker's name of each constant array."""
    return Printer(plan, symbols).text(name)


def size(t: Target) -> int:
    return math.prod(t.shape)


class Printer:
    """One kernel's text; `declared` holds, for every array, the expression that gives its memory."""

    def __init__(self, plan: Plan, symbols: dict[str, str]):
        self.plan = plan
        self.ends = (*plan.inputs, *plan.outputs)
        self.plans = list(plans_in(plan))
        self.storages = [allocate(p.root, self.workspace(p)) for p in self.plans]
        self.growing = [s.target.name for p in self.plans for call in p.steps if isinstance(call, NestedCall)
                        for s in call.growing]
        self.classes = self.count_classes()
        self.declared = self._declarations(symbols)
        self.hide = sum(isinstance(item, Block) for p in self.plans for item in p.root.body) > FEW_NESTS

    @staticmethod
    def workspace(plan: Plan) -> list[Target]:
        """The arrays of a plan that live in the workspace."""
        return [*temporaries(plan), *plan.rows]

    def count_classes(self) -> int:
        """How many arrays there are that do not overlap."""
        return (len(self.ends) + len(self.growing) + sum(len(p.constants) for p in self.plans)
                + sum(s.count for s in self.storages))

    def _declarations(self, symbols: dict[str, str]) -> dict[str, str]:
        out = {t.name: f"memory({t.name}_nd, {k}, {self.classes})" for k, t in enumerate(self.ends)}
        number, start = len(self.ends) + len(self.growing), 0
        for plan, storage in zip(self.plans, self.storages):
            for k, (name, array) in enumerate(plan.constants.items(), number):
                out[name] = f"linked({symbols[name]!r}, {TYPE_NAMES[array.dtype.name]}, {k}, {self.classes})"
            number += len(plan.constants)
            for t in self.workspace(plan):
                if t.name in storage.places:
                    offset, place = storage.places[t.name]
                    out[t.name] = self.part(t, start + offset, number + place)
            number, start = number + storage.count, start + storage.size
        return out

    def part(self, t: Target, offset: int | str, alias: int) -> str:
        """The part of the workspace that an array is."""
        return f"part(work, {offset}, {TYPE_NAMES[t.dtype.name]}, {alias}, {self.classes})"

    def grown(self, name: str, array: str) -> str:
        """The memory of an array that is made on the way."""
        return f"memory({array}, {len(self.ends) + self.growing.index(name)}, {self.classes})"

    def text(self, name: str) -> str:
        """The source of the kernel."""
        lines = [f"def {name}({', '.join(f'{t.name}_nd' for t in self.ends)}):"]
        size = sum(s.size for s in self.storages)
        if size:
            lines.append(f"{INDENT}work = np.empty({size + ALIGNMENT}, U1)")
            lines += [f"{INDENT}huge_pages(work)"] if size >= LARGE and sys.platform == "linux" else []
        lines += [f"{INDENT}{array} = {memory}" for array, memory in self.declared.items()]
        lines += self.lines(self.plan.root) if self.ends else [f"{INDENT}pass"]
        if size:
            lines.append(f"{INDENT}keep(work)")
        return "\n".join(lines) + "\n"

    def lines(self, root: Block) -> Iterator[str]:
        """The statements of a block and of the loops inside it, indented by depth."""
        return self.items(root.body)

    def items(self, body: Iterable) -> Iterator[str]:
        """The same for some items of a block."""
        stack = [(iter(body), False)]
        while stack:
            body, vector = stack[-1]
            item = next(body, None)
            if item is None:
                stack.pop()
                continue
            margin = INDENT * len(stack)
            if isinstance(item, NestedCall):
                yield from (margin + line for line in nested.Printer(item, TYPE_NAMES, self.lines, self.grown).lines())
                continue
            if not isinstance(item, Block):
                by_formula = vector or (isinstance(item, Assign) and item.formula)
                yield margin + self.statement(in_vector_form(item) if by_formula else item)
                continue
            yield f"{margin}for {item.variable} in {self.range(item)}:"
            if item.scalar:
                yield f"{margin}{INDENT}one_by_one()"
            elif not item.body:
                yield f"{margin}{INDENT}pass"
            stack.append((iter(item.body), vector or self.vectorises(item)))

    def statement(self, s: Statement) -> str:
        """One line of source."""
        return statement(s)

    def vectorises(self, loop: Block) -> bool:
        """True for loops whose functions stand in their vector form."""
        return vectorises(loop)

    def range(self, loop: Block) -> str:
        if loop.limit is not None:
            return f"range(min({loop.size}, {loop.limit}))"
        hidden = self.hide and loop.size in SHORT and not loop.square
        return f"range(steps({loop.size}))" if hidden else f"range({loop.size})"


def vectorises(loop: Block) -> bool:
    """True for long loops, and those over squares, around nothing but statements and loops that LLVM unrolls."""
    inner = [b for b in loop.body if isinstance(b, Block)]
    long = loop.size >= LONG or loop.square
    return (long and not loop.scalar and not any(isinstance(s, NestedCall) for s in loop.body)
            and all(map(unrolled, inner)))


def unrolled(loop: Block) -> bool:
    return loop.size <= UNROLLED and loop.limit is None and all(unrolled(b) for b in loop.body if isinstance(b, Block))


def in_vector_form(s: Statement) -> Statement:
    """The statement with functions that vectorise."""
    return replace(s, spelling=spelled(s.spelling)) if isinstance(s, Assign) else s


def temporaries(plan: Plan) -> list[Target]:
    """The arrays of a plan that outlive a step, and those that steps need for themselves."""
    scratch = [s.scratch for s in plan.steps if isinstance(s, ScalarBlock)]
    return [*plan.temporaries, *scratch, *(b for s in plan.steps if isinstance(s, NestedCall) for b in s.buffers)]


def statement(s: Statement) -> str:
    """One line of source."""
    return _PRINT[type(s)](s)


def place(array: str, position: Linear) -> str:
    return f"get({array}, {position})"


def view(name: str, shape: tuple[int, ...]) -> str:
    return f"view({name}, {shape!r})"


def _assign(s: Assign) -> str:
    value = s.spelling.format(*s.operands)
    return f"{s.name} = {value if s.dtype is None else f'{TYPE_NAMES[s.dtype.name]}({value})'}"


def _load(s: Load) -> str:
    element = place(s.array, s.position)
    return f"{s.name} = {f'I64({element})' if s.integer else element}"


def _store(s: Store) -> str:
    old = place(s.array, s.position)
    value = {"=": s.operand, "+=": f"{old} + {s.operand}", "max": f"maximum({old}, {s.operand})",
             "min": f"minimum({old}, {s.operand})"}[s.how]
    return f"put({s.array}, {s.position}, {value})"


def _interleave(s: Interleave) -> str:
    return f"interleave({s.array}, {s.position}, ({', '.join(s.sources)},))"


def _fill(s: Fill) -> str:
    if s.tiles:
        return in_tiles(s, "0", str(tiles_along(s.target.shape[-1])))
    return f"fill({s.target.name}, {size(s.target)}, {s.value})"


def in_tiles(s: Fill | Mirror, begin: str, end: str) -> str:
    """What is done to some rows of tiles of a matrix."""
    n = s.target.shape[-1]
    function, count = "clear_tiles" if isinstance(s, Fill) else "mirror_tiles", tiles_along(n)
    where = f"{view(s.target.name, (1, n, n))}, {s.triangle == 'upper'}, {view(s.tiles, (count, count))}"
    return f"{function}({where}, {begin}, {end})"


def _mirror(s: Mirror) -> str:
    if s.tiles:
        return in_tiles(s, "0", str(tiles_along(s.target.shape[-1])))
    n = s.target.shape[-1]
    return f"{mirror_function(s)}({view(s.target.name, (size(s.target) // max(n * n, 1), n, n))})"


def mirror_function(s: Mirror) -> str:
    """The function that copies the triangle: large matrices are mirrored in squares."""
    return f"mirror{'_upper' * (s.triangle == 'upper')}{'_few' * (s.target.shape[-1] < SQUARES_FROM)}"


def _call(s: LibraryCall) -> str:
    arrays = [view(name, a.shape) for name, a in zip(s.sources, s.arguments)]
    return f"{s.function}({', '.join([*arrays, view(s.target.name, s.shape), *map(repr, s.parameters)])})"


def _block(s: ScalarBlock) -> str:
    sources = "".join(f"{name}, " for name in s.sources)
    return f"run_block({s.symbol!r}, ({sources}), {s.target.name}, {s.scratch.name})"


_PRINT = {Assign: _assign, Load: _load, Store: _store, Interleave: _interleave, Fill: _fill, Mirror: _mirror,
          LibraryCall: _call, ScalarBlock: _block}
