"""Prints a plan as the source of kernels: one Python function for every launch, over flat arrays.

    threads   every thread takes iterations of the grid loop
    blocks    every block of threads does, and shares the loops inside
    tiles     every block of TILE x TILE threads does
    library   no kernel: CuPy is called
    one       one thread runs all: loops that carry states from step to step, and switches
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from symhess.backends import codegen
from symhess.backends.codegen import INDENT, TYPE_NAMES, size
from symhess.cuda import linear, tiles
from symhess.cuda.calls import products, spelled
from symhess.errors import UnsupportedOperation
from symhess.plan.grid import Combine, Grid, Kernel, Shared
from symhess.plan.loops import Block, Load, Store, Target
from symhess.plan.nested import NestedCall, plans_in
from symhess.plan.steps import Fill, LibraryCall, Mirror, Plan
from symhess.plan.storage import touched

PRODUCTS = ("gemm", "syrk", "weighted_syrk")


class Launch(NamedTuple):
    """A kernel of a module: its name, how it is launched, the iterations of its grid loop, and the arrays it takes."""

    name: str
    kind: str
    points: int
    arrays: tuple[str, ...]
    #: what it is for, and the call that a library may do instead
    label: str
    call: LibraryCall | None = None


class Module(NamedTuple):
    """The kernels of a plan: their texts by name, the launches in order, and the element type of every array."""

    texts: dict[str, str]
    launches: list[Launch]
    dtypes: dict[str, np.dtype]


def module(plan: Plan, tile: int) -> Module:
    """The kernels of a plan made with `grid=True`; `tile` is the side of shared tiles.

    Raises:
        UnsupportedOperation: a step of the plan has no form on a GPU.
    """
    return _Printer(plan, tile).module()


def memory_of(plan: Plan) -> list[Target]:
    """The arrays of a plan that live in its workspace."""
    return [*codegen.temporaries(plan), *plan.rows]


class _Printer(codegen.Printer):
    """Prints kernels, and inside of them the bodies of loops and switches as the CPU runs them."""

    def __init__(self, plan: Plan, tile: int):
        self.plan, self.tile, self.plans, self.hide = plan, tile, list(plans_in(plan)), False
        self.texts: dict[str, str] = {}
        self.launches: list[Launch] = []
        ends = [t for p in self.plans for t in (*p.inputs, *p.outputs)]
        self.dtypes = {t.name: t.dtype for t in (*ends, *(t for p in self.plans for t in memory_of(p)))}
        self.dtypes |= {name: a.dtype for p in self.plans for name, a in p.constants.items()}
        self.records = {s.target.name for p in self.plans for s in p.steps
                        if isinstance(s, LibraryCall) and s.function == "lu"}
        self.dtypes |= dict.fromkeys(self.records, np.dtype(np.float64))

    def module(self) -> Module:
        """The kernels of all items of the plan, in order."""
        for item in self.plan.root.body:
            self.check_records(item)
            _KERNELS[type(item)](self, item)
        return Module(self.texts, self.launches, self.dtypes)

    def check_records(self, item: object) -> None:
        """Only library calls can read what `lu` makes."""
        if isinstance(item, Kernel) and self.records.intersection(touched(item)):
            raise UnsupportedOperation("the factors of a matrix are moved as an array, which a GPU kernel does not do; "
                                       'use target="cpu"')

    def add(self, kind: str, points: int, arrays: Iterable[str], label: str, lines: Iterable[str] | str,
            call: LibraryCall | None = None) -> None:
        """One kernel more; `lines` are its body, or all of its text."""
        name, arrays = self.next_name, tuple(dict.fromkeys(arrays))
        if not isinstance(lines, str):
            lines = "\n".join([f"def {name}({', '.join(arrays)}):", *lines]) + "\n"
        self.texts[name] = lines
        self.launches.append(Launch(name, kind, points, arrays, label, call))

    @property
    def next_name(self) -> str:
        return f"kernel{len(self.launches)}"

    def spread(self, points: int) -> str:
        """The head of a grid loop over threads."""
        return f"{INDENT}for p in range(cuda.grid(1), {points}, cuda.gridsize(1)):"

    # -- kinds of steps ----------------------------------------------------------------------------------------

    def kernel(self, item: Kernel) -> None:
        """Loops over a grid."""
        grid = item.grid
        label = "reduction by blocks" if grid.blocks else "loop nest"
        if any(s.how == "atomic" for s in _stores(item)):
            label += " with atomic additions"
        self.add("blocks" if grid.blocks else "threads", grid.size, touched(item), label, self.inside(item))

    def fill(self, item: Fill) -> None:
        """One number everywhere."""
        n, name = size(item.target), item.target.name
        self.add("threads", n, [name], "fill", [self.spread(n), f"{INDENT * 2}{name}[p] = {item.value}"])

    def mirror(self, item: Mirror) -> None:
        """One triangle to the other one."""
        n, name, total = item.target.shape[-1], item.target.name, size(item.target)
        kind = TYPE_NAMES[item.target.dtype.name]
        if n >= tiles.WORTH_MIRRORING:
            text, points = tiles.mirror(item, total, self.next_name, kind, self.tile)
            self.add("tiles", points, [name], "mirror by tiles", text)
            return
        self.add("threads", total, [name], "mirror", [
            self.spread(total), f"{INDENT * 2}i = p // {n} % {n}", f"{INDENT * 2}j = p % {n}",
            f"{INDENT * 2}if {'j > i' if item.triangle == 'lower' else 'j < i'}:",
            f"{INDENT * 3}{name}[p] = {name}[p + (j - i) * {n - 1}]"])

    def library_call(self, item: LibraryCall) -> None:
        """A call of a library, in the form that needs none."""
        arrays = [*item.sources, item.target.name]
        if item.function in linear.ONLY:
            if linear.library() is None:
                raise UnsupportedOperation(f"{item.function} is computed by cuSOLVER by way of CuPy, which is not "
                                           'installed: pip install "symhess[cuda]"; or use target="cpu"')
            self.launches.append(Launch(self.next_name, "library", 1, tuple(arrays), item.function, item))
            return
        if item.function in PRODUCTS:
            (_, m, n, k), _, _ = products(item)
            if m * n * k >= tiles.WORTH_TILES:
                kind = TYPE_NAMES[item.target.dtype.name]
                text, points, arrays = tiles.product(item, self.next_name, kind, self.tile)
                self.add("tiles", points, arrays, f"{item.function} by tiles", text, item)
                return
        points, statement = spelled(item)
        self.add("threads", points, arrays, item.function, [self.spread(points), INDENT * 2 + statement], item)

    def nested_call(self, item: NestedCall) -> None:
        """A loop or a switch, run by one thread."""
        if any(call.growing for p in self.plans for call in p.steps if isinstance(call, NestedCall)):
            raise UnsupportedOperation("a loop whose number of steps is found while it runs keeps its states for the "
                                       'way back, which a GPU kernel has no memory for; use target="cpu", or a loop of '
                                       "a known length")
        bodies = [p for b in item.bodies for p in plans_in(b.plan)]
        names = [*item.sources, item.target.name, *(t.name for t in item.buffers)]
        names += [t.name for p in bodies for t in memory_of(p)] + [c for p in bodies for c in p.constants]
        self.add("one", 1, names, f"{item.function} in one thread", self.items([item]))

    # -- statements --------------------------------------------------------------------------------------------

    def inside(self, block: Block) -> Iterator[str]:
        """The statements of a kernel."""
        stack: list[tuple[Iterator, bool]] = [(iter(block.body), False)]
        while stack:
            body, guarded = stack[-1]
            item = next(body, None)
            margin = INDENT * len(stack)
            if item is None:
                stack.pop()
            elif isinstance(item, Block):
                yield margin + loop_head(item)
                if not item.body:
                    yield f"{margin}{INDENT}pass"
                stack.append((iter(item.body), isinstance(item, Grid) and item.blocks))
            elif isinstance(item, Store) and guarded:
                yield f"{margin}if cuda.threadIdx.x == 0:"
                yield margin + INDENT + self.statement(item)
            else:
                yield margin + self.statement(item)

    def statement(self, s: object) -> str:
        """One line of a kernel."""
        if isinstance(s, Load):
            element = f"{s.array}[{s.position}]"
            return f"{s.name} = {f'I64({element})' if s.integer else element}"
        if isinstance(s, Combine):
            return f"{s.name} = block_{s.function}_{TYPE_NAMES[s.dtype.name]}({s.name})"
        if isinstance(s, Store):
            place = f"{s.array}[{s.position}]"
            return {"=": f"{place} = {s.operand}", "+=": f"{place} += {s.operand}",
                    "max": f"{place} = maximum({place}, {s.operand})",
                    "min": f"{place} = minimum({place}, {s.operand})",
                    "atomic": f"cuda.atomic.add({s.array}, {s.position}, {s.operand})"}[s.how]
        if isinstance(s, LibraryCall):
            points, text = spelled(s)
            return f"for p in range({points}): {text}"
        if isinstance(s, Fill):
            return f"for p in range({size(s.target)}): {s.target.name}[p] = {s.value}"
        if isinstance(s, Mirror):
            n = s.target.shape[-1]
            return f"mirror_triangles({s.target.name}, {size(s.target) // max(n * n, 1)}, {n}, {s.triangle == 'upper'})"
        return super().statement(s)

    def vectorises(self, loop: Block) -> bool:
        """Threads are not vectors."""
        return False


def loop_head(loop: Block) -> str:
    """The first line of a loop."""
    stop = str(loop.size) if loop.limit is None else f"min({loop.size}, {loop.limit})"
    if isinstance(loop, Grid):
        first, step = ("cuda.blockIdx.x", "cuda.gridDim.x") if loop.blocks else ("cuda.grid(1)", "cuda.gridsize(1)")
        return f"for {loop.variable} in range({first}, {stop}, {step}):"
    if isinstance(loop, Shared):
        return f"for {loop.variable} in range(cuda.threadIdx.x, {stop}, cuda.blockDim.x):"
    return f"for {loop.variable} in range({stop}):"


def _stores(block: Block) -> Iterator[Store]:
    for item in block.body:
        if isinstance(item, Block):
            yield from _stores(item)
        elif isinstance(item, Store):
            yield item


_KERNELS = {Kernel: _Printer.kernel, Fill: _Printer.fill, Mirror: _Printer.mirror, LibraryCall: _Printer.library_call,
            NestedCall: _Printer.nested_call}
