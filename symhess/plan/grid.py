"""Loop nests for a grid of threads: a nest becomes kernels, one for each set of axes that values are stored along.

    axes on which the place of a value depends    one iteration of the grid loop each: no two threads store to one place
    the other axes                                reduced in a register, by one thread or by the threads of a block

So sums are added up in one order, whatever the grid. Atomic additions remain where a table sends several values of one
kernel to the same place. Every kernel is complete in itself: what it needs of numbers it computes or loads anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from symhess.graph.maps import all_different, row_major_strides
from symhess.graph.node import Node
from symhess.plan import cutting
from symhess.plan.affine import Linear, combine, variable
from symhess.plan.loops import (
    COMBINE,
    Assign,
    Block,
    Emitter,
    Index,
    Key,
    Load,
    Store,
    StoreItem,
    Target,
    Value,
    literal,
    neutral,
)

Shape = tuple[int, ...]

#: a reduction of fewer elements, or one of so many, is left to one thread each
FEW_ELEMENTS, MANY_RESULTS = 64, 8192
#: elements that a block of threads takes on before several blocks share a reduction, and how many blocks a grid is of
BLOCK_ELEMENTS, MOST_BLOCKS = 4096, 1024
#: places that are compared with each other; more are taken to collide
MOST_PLACES = 1 << 24


@dataclass
class Kernel(Block):
    """The root of a kernel: statements that every thread runs, then its grid loop."""

    @property
    def grid(self) -> Grid:
        return self.body[-1]


@dataclass
class Grid(Block):
    """The loop whose iterations run at once: one for each thread, or for each block of threads."""

    blocks: bool = False


@dataclass
class Shared(Block):
    """A loop whose iterations the threads of a block share."""


@dataclass
class Combine:
    """The accumulators of the threads of a block become one number, which all of them know."""

    name: str
    function: str
    dtype: np.dtype


@dataclass
class Accumulator:
    """An item that is reduced: how, and the name of the number."""

    item: StoreItem
    kind: str
    dtype: np.dtype
    name: str = ""


class GridEmitter(Emitter):
    """Emits kernels instead of loops; `rows` are the arrays of what single blocks have added up."""

    grid = True

    def __init__(self, arrays: dict[Node, str], scope: str = ""):
        super().__init__(arrays, scope)
        self.types: dict[str, np.dtype] = {}

    def emit(self, key: Key, needs: list[Key]) -> Value:
        """The base's, with a note of the type that the value has."""
        value = super().emit(key, needs)
        self.types[value.operand] = key[0].dtype
        return value

    def unsigned(self, high: int) -> str:
        """A device divides numbers of 32 bits, and multiplies them to that end, several times as fast."""
        return "U32" if high < 1 << 32 else "U"

    def nest(self, box: Shape, items: Sequence[StoreItem], made: dict[Node, str]) -> list[Block]:
        """The kernels of a nest; `made` names the arrays of nodes that it stores element by element."""
        groups: dict[tuple[int, ...], list[StoreItem]] = {}
        for item in items:
            groups.setdefault(parallel_axes(box, item), []).append(item)
        kernels = []
        top = self.root
        for axes in sorted(groups, key=len, reverse=True):
            kernels += self.kernels(box, axes, groups[axes])
            self.arrays.update((i.value, made[i.value]) for i in groups[axes] if i.value in made)
        self.root = top
        top.body.extend(kernels)
        return kernels

    def kernels(self, box: Shape, axes: Sequence[int], items: Sequence[StoreItem]) -> list[Kernel]:
        """The kernels that store items whose places depend on these axes."""
        reduced = [d for d, n in enumerate(box) if n > 1 and d not in axes]
        how = self.ways(box, reduced, items)
        points, elements = (math.prod(box[d] for d in part) for part in (axes, reduced))
        if not reduced:
            return self.cut(self.mapped(box, axes, items, how))
        sums = [Accumulator(i, i.reduction.op.name if i.reduction is not None else "sum", i.value.dtype) for i in items]
        chunks = chunks_of(points, elements)
        if chunks <= 1:
            return [self.reduction(box, axes, reduced, sums, how, blocks=chunks == 1)]
        partials = [Target(f"{self.scope}part{len(self.rows) + k}", (points * chunks,), s.dtype)
                    for k, s in enumerate(sums)]
        self.rows += partials
        return [self.partial(box, axes, reduced, sums, partials, chunks),
                self.total(box, axes, sums, how, partials, chunks)]

    def ways(self, box: Shape, reduced: Sequence[int], items: Sequence[StoreItem]) -> dict[str, str]:
        """How values are added to each array: plainly, or atomically where two of them may meet."""
        out = {}
        for name in dict.fromkeys(i.target.name for i in items if i.how == "+="):
            sharing = [i.position for i in items if i.target.name == name]
            if sum(math.prod(p.shape) for p in sharing) > MOST_PLACES:
                out[name] = "atomic"
                continue
            first = tuple(slice(0, 1) if d in reduced else slice(None) for d in range(len(box)))
            places = [np.broadcast_to(p.values(), box)[first].ravel() for p in sharing]
            out[name] = "+=" if all_different(np.concatenate(places)) else "atomic"
        return out

    def cut(self, kernel: Kernel) -> list[Kernel]:
        """A long kernel in pieces."""
        grid = kernel.grid
        found, kept = cutting.pieces(kernel.body[:-1], grid.body, grid.variable, grid.size, self.types,
                                     f"{self.scope}kept{len(self.rows)}_")
        self.rows += kept
        return [Kernel(body=[*p.outside, Grid(grid.variable, p.points, 1, body=p.inside)]) for p in found]

    # -- parts of kernels --------------------------------------------------------------------------------------

    def begin(self, points: int, blocks: bool = False) -> Grid:
        """A new kernel, about which nothing is known yet, and its grid loop."""
        self.root = Kernel()
        self.known, self.loaded, self.opened, self.block_of, self.ranges = {}, {}, {}, {}, {}
        grid = Grid(self.fresh("p"), points, 1, self.root, blocks=blocks)
        return self.entered(grid)

    def entered(self, loop: Block) -> Block:
        """A loop whose variable is known."""
        self.block_of[loop.variable], self.ranges[loop.variable] = loop, (0, loop.size - 1)
        return loop

    def index(self, box: Shape, axes: Sequence[int], at: Linear) -> dict[int, Linear]:
        """The index along some axes of a box of the element number `at`, counted in row-major order."""
        out, rest = {}, at
        shape = [box[d] for d in axes]
        for d, weight in zip(axes, row_major_strides(shape)):
            out[d], rest = self.divided(rest, weight)
        return out

    def finish(self, grid: Grid, loops: Sequence[Block], after: Iterable) -> Kernel:
        """Put loops into the grid loop, what follows them, and the grid loop into its kernel."""
        kernel = grid.parent
        if loops:
            for loop in reversed(loops[1:]):
                loop.parent.body.append(loop)
            grid.body.append(loops[0])
        grid.body.extend(after)
        kernel.body.append(grid)
        return kernel

    def stores(self, sums: Sequence[Accumulator], index: dict[int, Linear], how: dict[str, str]) -> list[Store]:
        """What is done with numbers that are added up."""
        out = []
        for s in sums:
            node, position = s.item.reduction, s.item.position
            if node is None:
                at = self.at(position, full(index, len(position.shape)))
            else:
                whole = full(index, node.args[0].ndim)
                at = self.at(position, tuple(whole[d] for d in range(len(whole)) if d not in node.attrs))
            name = s.item.target.name
            out.append(Store(name, at, s.name, how[name] if s.item.how == "+=" else s.item.how))
        return out

    def started(self, sums: Sequence[Accumulator], block: Block) -> None:
        """Every accumulator is set to its neutral element."""
        for s in sums:
            s.name = self.fresh("s")
            block.body.append(Assign(s.name, literal(neutral(s.kind, s.dtype), s.dtype), (), s.dtype))

    def folded(self, s: Accumulator, operand: str, loop: Block) -> None:
        """One element more."""
        loop.body.append(Assign(s.name, f"{COMBINE[s.kind]}({{0}}, {{1}})", (s.name, operand), s.dtype))

    # -- kernels -----------------------------------------------------------------------------------------------

    def mapped(self, box: Shape, axes: Sequence[int], items: Sequence[StoreItem], how: dict[str, str]) -> Kernel:
        """Every iteration stores its own values."""
        grid = self.begin(math.prod(box[d] for d in axes))
        index = full(self.index(box, axes, variable(grid.variable)), len(box))
        for item in items:
            v = self.pull(item.value, index)
            name = item.target.name
            way = how[name] if item.how == "+=" else item.how
            grid.body.append(Store(name, self.at(item.position, index), v.operand, way))
        return self.finish(grid, (), ())

    def reduction(self, box: Shape, axes: Sequence[int], reduced: Sequence[int], sums: Sequence[Accumulator],
                  how: dict[str, str], blocks: bool) -> Kernel:
        """Every iteration reduces its elements: a thread in loops, a block of threads in a loop that they share."""
        grid = self.begin(math.prod(box[d] for d in axes), blocks)
        outer = self.index(box, axes, variable(grid.variable))
        if blocks:
            loops = [self.entered(Shared(self.fresh("q"), math.prod(box[d] for d in reduced), 2, grid))]
            inner = self.index(box, reduced, variable(loops[0].variable))
        else:
            loops, at = self.open_box(grid, tuple(box[d] for d in reduced))
            inner = dict(zip(reduced, at))
        return self.finish_sums(box, grid, loops, outer, inner, sums, how)

    def finish_sums(self, box: Shape, grid: Grid, loops: list[Block], outer: dict[int, Linear],
                    inner: dict[int, Linear], sums: Sequence[Accumulator], how: dict[str, str]) -> Kernel:
        """Elements into accumulators, and these to where they belong."""
        self.started(sums, grid)
        for s in sums:
            self.folded(s, self.pull(s.item.value, full(outer | inner, len(box))).operand, loops[-1])
        stores = self.stores(sums, outer, how)
        return self.finish(grid, loops, [*self.combined(sums, grid), *stores])

    @staticmethod
    def combined(sums: Sequence[Accumulator], grid: Grid) -> list[Combine]:
        """What the threads of a block do with their accumulators."""
        return [Combine(s.name, COMBINE[s.kind], s.dtype) for s in sums] if grid.blocks else []

    def partial(self, box: Shape, axes: Sequence[int], reduced: Sequence[int], sums: Sequence[Accumulator],
                partials: Sequence[Target], chunks: int) -> Kernel:
        """Several blocks reduce the elements of one result, each a part of them."""
        elements = math.prod(box[d] for d in reduced)
        length = -(-elements // chunks)
        grid = self.begin(math.prod(box[d] for d in axes) * chunks, blocks=True)
        row, chunk = self.divided(variable(grid.variable), chunks)
        shared = self.entered(Shared(self.fresh("q"), length, 2, grid))
        shared.limit = combine([(-length, chunk)], elements)
        outer = self.index(box, axes, row)
        inner = self.index(box, reduced, combine([(length, chunk), (1, variable(shared.variable))]))
        self.started(sums, grid)
        for s in sums:
            self.folded(s, self.pull(s.item.value, full(outer | inner, len(box))).operand, shared)
        stores = [Store(t.name, variable(grid.variable), s.name) for s, t in zip(sums, partials)]
        return self.finish(grid, [shared], [*self.combined(sums, grid), *stores])

    def total(self, box: Shape, axes: Sequence[int], sums: Sequence[Accumulator], how: dict[str, str],
              partials: Sequence[Target], chunks: int) -> Kernel:
        """The parts of each result, in order."""
        grid = self.begin(math.prod(box[d] for d in axes), blocks=chunks >= FEW_ELEMENTS)
        outer = self.index(box, axes, variable(grid.variable))
        make = Shared if grid.blocks else Block
        loop = self.entered(make(self.fresh("q"), chunks, 2, grid))
        self.started(sums, grid)
        for s, t in zip(sums, partials):
            at = combine([(chunks, variable(grid.variable)), (1, variable(loop.variable))])
            name = self.fresh("v")
            loop.body.append(Load(name, t.name, at))
            self.folded(s, name, loop)
        stores = self.stores(sums, outer, how)
        return self.finish(grid, [loop], [*self.combined(sums, grid), *stores])


def parallel_axes(box: Shape, item: StoreItem) -> tuple[int, ...]:
    """The axes longer than 1 on which it depends where an item is stored."""
    if item.reduction is not None:
        return tuple(d for d, n in enumerate(box) if n > 1 and d not in item.reduction.attrs)
    depends = set(item.position.depends) if item.how == "+=" else set(range(len(box)))
    return tuple(d for d, n in enumerate(box) if n > 1 and d in depends)


def full(index: dict[int, Linear], rank: int) -> Index:
    """An index with an entry for every axis."""
    return tuple(index.get(d, Linear()) for d in range(rank))


def chunks_of(points: int, elements: int) -> int:
    """How many blocks of threads reduce the elements of one result; 0 where one thread does."""
    if elements < FEW_ELEMENTS or points >= MANY_RESULTS:
        return 0
    if elements <= BLOCK_ELEMENTS:
        return 1
    return max(1, min(-(-elements // BLOCK_ELEMENTS), MOST_BLOCKS // points))
