"""Loop nests for a grid of threads: a nest becomes kernels, one for each set of axes that values are stored along.

    axes on which the place of a value depends    one iteration of the grid loop each: no two threads store to one place
    the other axes                                reduced in a register, by one thread or by the threads of a block

So sums are added up in one order, whatever the grid; also where a table sends several values to one place: a kernel
goes through the places then, and through the iterations that add to each of them (see `segments`). Every kernel is
complete in itself: what it needs of numbers it computes or loads anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from symhess.graph.maps import IndexMap, row_major_strides, table_map
from symhess.graph.node import Node
from symhess.plan import cutting, segments
from symhess.plan.affine import Linear, combine, flatten, variable
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
from symhess.plan.segments import Meeting

Shape = tuple[int, ...]

#: a reduction of fewer elements, or one of so many, is left to one thread each
FEW_ELEMENTS, MANY_RESULTS = 64, 8192
#: elements that a block of threads takes on before several blocks share a reduction, and how many blocks a grid is of
BLOCK_ELEMENTS, MOST_BLOCKS = 4096, 1024
#: numbers of different counts that one thread adds up
THREAD_ELEMENTS = 256


#: what is added up in a loop, by the number of the element; and what is done with the sums, by the number of the place
Elements = Callable[[Block, Linear], Iterator[str]]
Stores = Callable[[Linear], list[Store]]


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
        #: of a kernel that goes through iterations in another order: which one it is at, its place in that, and that
        self.sorted: tuple[Linear, Linear, np.ndarray] | None = None
        self.permuted: dict[tuple[int, int], tuple[np.ndarray, np.ndarray, IndexMap]] = {}

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
        single, meetings, large = segments.apart(box, [i for i in items if i.how == "+="])
        plain = [i for i in items if i.how != "+="]
        together = [[*plain, *(single[0] if single else ())], *single[1:]] if plain else single
        kernels: list[Block] = []
        top = self.root
        for part, atomic in [*((p, False) for p in together), (large, True)]:
            kernels += self.by_axes(box, part, atomic, made)
        for m in meetings:
            kernels += self.segmented(box, m)
        self.root = top
        top.body.extend(kernels)
        return kernels

    def by_axes(self, box: Shape, items: Sequence[StoreItem], atomic: bool, made: dict[Node, str]) -> list[Kernel]:
        """A kernel for each set of axes along which items are stored."""
        groups: dict[tuple[int, ...], list[StoreItem]] = {}
        for item in items:
            groups.setdefault(parallel_axes(box, item), []).append(item)
        kernels = []
        for axes in sorted(groups, key=len, reverse=True):
            how = {i.target.name: "atomic" if atomic else "+=" for i in groups[axes] if i.how == "+="}
            kernels += self.kernels(box, axes, groups[axes], how)
            self.arrays.update((i.value, made[i.value]) for i in groups[axes] if i.value in made)
        return kernels

    def kernels(self, box: Shape, axes: Sequence[int], items: Sequence[StoreItem], how: dict[str, str]) -> list[Kernel]:
        """The kernels that store items whose places depend on these axes; `how` they are added to each array."""
        reduced = [d for d, n in enumerate(box) if n > 1 and d not in axes]
        points, elements = (math.prod(box[d] for d in part) for part in (axes, reduced))
        if not reduced:
            return self.cut(self.mapped(box, axes, items, how))
        sums = [Accumulator(i, i.reduction.op.name if i.reduction is not None else "sum", i.value.dtype) for i in items]
        chunks = chunks_of(points, elements)
        if chunks <= 1:
            return [self.reduction(box, axes, reduced, sums, how, blocks=chunks == 1)]
        partials = self.partials(sums, points * chunks)
        return [self.partial(box, axes, reduced, sums, partials, chunks),
                self.total(box, axes, sums, how, partials, chunks)]

    def partials(self, sums: Sequence[Accumulator], size: int) -> list[Target]:
        """Arrays for parts of sums."""
        made = [Target(f"{self.scope}part{len(self.rows) + k}", (size,), s.dtype) for k, s in enumerate(sums)]
        self.rows += made
        return made

    # -- numbers that meet -------------------------------------------------------------------------------------

    def segmented(self, box: Shape, meeting: Meeting) -> list[Kernel]:
        """The kernels that add up what goes to one place."""
        found = meeting.segments
        sums = [Accumulator(i, "sum", i.value.dtype) for i in meeting.items]
        places = [found.place(i.position, box) for i in meeting.items]
        order = table_map(found.order, found.order.shape)

        def elements(loop: Block, entry: Linear) -> Iterator[str]:
            flat = self.at(order, (entry,))
            self.sorted = flat, entry, found.order
            index = full(self.index(box, range(len(box)), flat), len(box))
            return (self.pull(s.item.value, index).operand for s in sums)

        def stores(segment: Linear) -> list[Store]:
            return [Store(s.item.target.name, self.at(p, (segment,)), s.name, "+=") for s, p in zip(sums, places)]

        return self.added_up(found.first, sums, elements, stores)

    def added_up(self, first: np.ndarray, sums: Sequence[Accumulator], elements: Elements, stores: Stores
                 ) -> list[Kernel]:
        """The sums of the elements first[s], ..., first[s + 1] - 1 for every s, by a thread each, or a block of threads
        where they are few and long; longer ones in parts, which are added up in turn."""
        sizes = np.diff(first)
        blocks = sizes.mean() >= FEW_ELEMENTS and len(sizes) < MANY_RESULTS
        most = BLOCK_ELEMENTS if blocks else THREAD_ELEMENTS
        if sizes.max() <= most:
            return [self.ragged(first, blocks, sums, elements, stores)]
        starts, owners = segments.pieces(first, most)
        partials = self.partials(sums, len(starts) - 1)
        kept = lambda piece: [Store(t.name, piece, s.name) for s, t in zip(sums, partials)]
        parts = [self.ragged(starts, blocks, sums, elements, kept)]

        def loaded(loop: Block, entry: Linear) -> Iterator[str]:
            for t in partials:
                loop.body.append(Load(self.fresh("v"), t.name, entry))
                yield loop.body[-1].name

        return parts + self.added_up(owners, sums, loaded, stores)

    def ragged(self, first: np.ndarray, blocks: bool, sums: Sequence[Accumulator], elements: Elements, stores: Stores
               ) -> Kernel:
        """One kernel of `added_up`."""
        sizes = np.diff(first)
        grid = self.begin(len(sizes), blocks)
        segment = variable(grid.variable)
        start, size = (self.at(table_map(a, sizes.shape), (segment,)) for a in (first[:-1], sizes))
        loop = self.entered((Shared if blocks else Block)(self.fresh("q"), int(sizes.max()), 2, grid))
        loop.limit, loop.mean = (size, float(sizes.mean())) if size.terms else (None, None)
        self.started(sums, grid)
        # every number is added before the next one is made: fewer of them are kept in registers
        for s, operand in zip(sums, elements(loop, combine([(1, start), (1, variable(loop.variable))]))):
            self.folded(s, operand, loop)
        return self.finish(grid, [loop], [*self.combined(sums, grid), *stores(segment)])

    def at(self, m: IndexMap, index: Index) -> Linear:
        """The base's; of iterations that are sorted, tables are sorted, too."""
        if self.sorted is not None and m.table is not None:
            flat, entry, order = self.sorted
            here = [Linear() if n == 1 else i for n, i in zip(m.table.shape, index)]
            if m.table.size == len(order) and flatten(here, row_major_strides(m.table.shape)) == flat:
                key = id(m.table), id(order)
                if key not in self.permuted:
                    self.permuted[key] = m.table, order, table_map(m.table.ravel()[order], order.shape)
                affine = combine(zip(m.strides, index), m.offset)
                return combine([(1, affine), (1, super().at(self.permuted[key][2], (entry,)))])
        return super().at(m, index)

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
        self.root, self.sorted = Kernel(), None
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
