"""Prints a plan as the source of kernels: one Python function for every launch, over flat arrays.

    threads   every thread takes iterations of the grid loop
    rows      the threads of a block take iterations together, and store together what is stored in a row
    blocks    every block of threads does, and shares the loops inside
    tiles     every block of TILE x TILE threads does
    one       one thread runs all: loops that carry states from step to step, and switches
    block     one block of threads does it together
    grid      all threads do it together, as many as the device holds at once
    points    every thread runs the whole program for points of a batch
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from symhess.backends.codegen import INDENT, TYPE_NAMES, size
from symhess.cuda import nested, rows, shared, tiles
from symhess.cuda.calls import products, spelled
from symhess.cuda.nested import memory_of
from symhess.cuda.statements import indented, loops, strided
from symhess.cuda.unrolled import Copy, Window, counts, unrolled
from symhess.errors import UnsupportedOperation
from symhess.plan import teams
from symhess.plan.grid import Kernel
from symhess.plan.loops import Block, Store
from symhess.plan.merging import Clearing, grids
from symhess.plan.nested import NestedCall, plans_in
from symhess.plan.steps import Fill, LibraryCall, Mirror, Plan
from symhess.plan.storage import Storage, allocate, touched

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
    #: how many threads there are, where that is fixed
    threads: int = 0
    #: the parts of arrays that stand for its arrays
    bound: tuple[str, ...] = ()

    @property
    def taken(self) -> tuple[str, ...]:
        """The names of the memory that it takes."""
        return self.bound or self.arrays


class Module(NamedTuple):
    """The kernels of a plan: their texts by name, the launches in order, and the element type of every array."""

    texts: dict[str, str]
    launches: list[Launch]
    dtypes: dict[str, np.dtype]
    #: arrays that threads have for themselves
    local: set[str]
    #: how many threads have an element each of what is in memory for every thread
    lanes: int
    #: parts of arrays, by name
    windows: dict[str, Window]

    def storages(self, plan: Plan) -> list[tuple[Plan, Storage]]:
        """The memory of every plan: what is in the workspace of one thread."""
        kept = lambda p: [t for t in memory_of(p) if t.name not in self.local]
        return [(p, allocate(p.root, kept(p))) for p in plans_in(plan)]


def module(plan: Plan, tile: int) -> Module:
    """The kernels of a plan made with `grid=True`; `tile` is the side of shared tiles.

    Raises:
        UnsupportedOperation: a step of the plan has no form on a GPU.
    """
    return _Printer(plan, tile).module()


def records_of(plans: Iterable[Plan]) -> set[str]:
    """The records of factorisations."""
    return {s.target.name for p in plans for s in p.steps if isinstance(s, LibraryCall) and s.function == "lu"}


def check_records(plans: Sequence[Plan]) -> None:
    """Only library calls can read what `lu` makes: raises UnsupportedOperation where loops do."""
    records = records_of(plans)
    if any(records.intersection(touched(item)) for p in plans for item in p.root.body if isinstance(item, Block)):
        raise UnsupportedOperation("the factors of a matrix are moved as an array, which a GPU kernel does not do; "
                                   'use target="cpu"')


def dtypes_of(plans: Sequence[Plan]) -> dict[str, np.dtype]:
    """The element types of all arrays."""
    arrays = [t for p in plans for t in (*p.inputs, *p.outputs, *memory_of(p))]
    out = {t.name: t.dtype for t in arrays} | {name: a.dtype for p in plans for name, a in p.constants.items()}
    return out | dict.fromkeys(records_of(plans), np.dtype(np.float64))


def kernel_text(name: str, arrays: Iterable[str], lines: Iterable[str]) -> str:
    """A function of some arrays."""
    return "\n".join([f"def {name}({', '.join(arrays)}):", *lines]) + "\n"


class _Printer:
    """Prints kernels."""

    def __init__(self, plan: Plan, tile: int):
        self.plan, self.tile, self.plans = plan, tile, list(plans_in(plan))
        shared.reserve(plan)
        self.memory = {t.name: t for p in self.plans for t in memory_of(p)}
        self.local: set[str] = set()
        self.texts: dict[str, str] = {}
        self.launches: list[Launch] = []
        self.made = 0
        self.windows: dict[str, Window] = {}
        self.dtypes = dtypes_of(self.plans)

    def module(self) -> Module:
        """The kernels of all items of the plan, in order."""
        check_records(self.plans)
        for item in self.plan.root.body:
            _KERNELS[type(item)](self, item)
        return Module(self.texts, self.launches, self.dtypes, self.local, 1, self.windows)

    def add(self, kind: str, points: int, arrays: Iterable[str], label: str, lines: Iterable[str] | str,
            call: LibraryCall | None = None) -> None:
        """One kernel more; `lines` are its body, or all of its text."""
        name, arrays = self.next_name, tuple(dict.fromkeys(arrays))
        if not isinstance(lines, str):
            lines = kernel_text(name, arrays, lines)
        self.texts[name] = lines
        self.launch(Launch(name, kind, points, arrays, label, call))

    def launch(self, launch: Launch) -> None:
        """One launch more, of a kernel or a library."""
        self.launches.append(launch)
        self.made += 1

    @property
    def next_name(self) -> str:
        return f"kernel{self.made}"

    def spread(self, points: int, *statements: str) -> Iterator[str]:
        """A grid loop over threads."""
        *head, last = strided("p", str(points), "threads")
        return indented([*head, *indented([*statements, last])])

    # -- kinds of steps ----------------------------------------------------------------------------------------

    def kernel(self, item: Kernel) -> None:
        """Loops over a grid."""
        found = grids(item)
        by_blocks = found[0].blocks
        label = "reduction by blocks" if by_blocks else "loop nest"
        if len(found) > 1:
            fills = all(isinstance(s, Clearing) for s in _stores(item))
            label = f"{len(found)} {'fills' if fills else 'loop nests'}, the longest"
        if any(s.how == "atomic" for s in _stores(item)):
            label += " with atomic additions"
        kind = "blocks" if by_blocks else "rows" if any(map(rows.rows_in, found)) else "threads"
        self.add(kind, max(g.size for g in found), touched(item), label, self.inside(item))

    def fill(self, item: Fill) -> None:
        """One number everywhere."""
        n, name = size(item.target), item.target.name
        self.add("threads", n, [name], "fill", self.spread(n, f"{name}[U(p)] = {item.value}"))

    def mirror(self, item: Mirror) -> None:
        """One triangle to the other one."""
        n, name, total = item.target.shape[-1], item.target.name, size(item.target)
        kind = TYPE_NAMES[item.target.dtype.name]
        if n >= tiles.WORTH_MIRRORING:
            text, points = tiles.mirror(item, total, self.next_name, kind, self.tile)
            self.add("tiles", points, [name], "mirror by tiles", text)
            return
        self.add("threads", total, [name], "mirror", self.spread(
            total, f"i = p // {n} % {n}", f"j = p % {n}", f"if {'j > i' if item.triangle == 'lower' else 'j < i'}:",
            f"{INDENT}{name}[U(p)] = {name}[U(p + (j - i) * {n - 1})]"))

    def library_call(self, item: LibraryCall) -> None:
        """A call of a library, in the form that needs none."""
        arrays = [*item.sources, item.target.name]
        found = shared.by_teams(item)
        if found is not None:
            kind, count, lines = found
            arrays += [item.scratch.name] if item.scratch is not None else []
            self.add(kind, count, arrays, f"{item.function} by {kind}", lines, item)
            return
        if item.function in PRODUCTS:
            (_, m, n, k), _, _ = products(item)
            if m * n * k >= tiles.WORTH_TILES:
                kind = TYPE_NAMES[item.target.dtype.name]
                text, points, arrays = tiles.product(item, self.next_name, kind, self.tile)
                self.add("tiles", points, arrays, f"{item.function} by tiles", text, item)
                return
        points, statement = spelled(item)
        self.add("threads", points, arrays, item.function, self.spread(points, statement), item)

    def nested_call(self, item: NestedCall) -> None:
        """A loop or a switch, run by one thread or by a team."""
        label, names = nested.label_of(item), [*nested.arrays_of(item)]
        if item.team == teams.HOST:
            self.unrolled(item, label)
            return
        if item.team == teams.ONE:
            own = [name for name in names if name not in (*item.sources, item.target.name)]
            private = nested.private((self.memory[name] for name in own if name in self.memory), self.dtypes)
            self.local |= private.keys()
            lines = [*private.values(), *nested.steps_of([item]), *nested.Thread({}).body([item])]
            self.add("one", 1, [n for n in names if n not in private], label, indented(lines))
            return
        barrier = nested.OF_BLOCK if item.team == teams.BLOCK else nested.OF_GRID
        team, steps = nested.Team({}, barrier, self.places()), [*nested.steps_of([item])]
        alone = team.without_waits(item)
        if alone is not None:
            self.add("threads", item.width, names, label, indented([*steps, *alone]))
            return
        head = [] if item.team == teams.BLOCK else ["everyone = cuda.cg.this_grid()"]
        lines = [*head, *steps, *team.body([item])]
        self.add(item.team, item.width, names, label, indented(lines))

    def unrolled(self, item: NestedCall, label: str) -> None:
        """The launches of all steps of a loop; the kernels of a step are printed once."""
        kernels: dict[int, list[Launch]] = {}
        copies: dict[tuple[int, str], Launch] = {}
        if counts(item):
            n, name = item.nested.length, item.step.name
            self.add("threads", n, [name], f"numbers of {n} steps", self.spread(n, f"{name}[U(p)] = p"))
        for what in unrolled(item):
            if isinstance(what, Copy):
                key = what.to.size, what.dtype
                if key not in copies:
                    copies[key] = self.copying(*key)
                self.bind(copies[key], dict(zip(copies[key].arrays, (what.to, what.source))))
                continue
            if id(what.body) not in kernels:
                kernels[id(what.body)] = self.printed(what.body.plan, label)
            for launch in kernels[id(what.body)]:
                self.bind(launch, what.windows)

    def printed(self, plan: Plan, label: str) -> list[Launch]:
        """The kernels of a plan, which are not launched yet."""
        before, self.launches = self.launches, []
        for item in plan.root.body:
            _KERNELS[type(item)](self, item)
        made, self.launches = self.launches, before
        return [l._replace(label=f"{label}, in each: {l.label}") for l in made]

    def copying(self, n: int, dtype: str) -> Launch:
        """A kernel that copies n elements."""
        self.dtypes |= dict.fromkeys((f"to_{dtype}", f"source_{dtype}"), np.dtype(dtype))
        before, self.launches = self.launches, []
        text = f"to_{dtype}[U(p)] = source_{dtype}[U(p)]"
        self.add("threads", n, [f"to_{dtype}", f"source_{dtype}"], "copy", self.spread(n, text))
        (made,), self.launches = self.launches, before
        return made

    def bind(self, launch: Launch, windows: dict[str, Window]) -> None:
        """Launch a kernel over parts of arrays."""
        found = [windows.get(name) for name in launch.arrays]
        taken = tuple(name if w is None else w.name for name, w in zip(launch.arrays, found))
        self.windows |= {w.name: w for w in found if w is not None}
        self.dtypes |= {w.name: self.dtypes[w.array] for w in found if w is not None}
        self.launches.append(launch._replace(bound=taken))

    def places(self) -> dict[str, tuple[int, int]]:
        """Where arrays of the workspace are: those of one place share memory."""
        return {name: (k, place.number) for k, p in enumerate(self.plans)
                for name, place in allocate(p.root, memory_of(p)).places.items()}

    # -- statements --------------------------------------------------------------------------------------------

    @staticmethod
    def inside(kernel: Kernel) -> Iterator[str]:
        """The statements of a kernel."""
        return indented([*rows.declared(kernel), *loops(kernel.body, lambda array, at: (array, str(at)))])


def _stores(block: Block) -> Iterator[Store]:
    for item in block.body:
        if isinstance(item, Block):
            yield from _stores(item)
        elif isinstance(item, Store):
            yield item


_KERNELS = {Kernel: _Printer.kernel, Fill: _Printer.fill, Mirror: _Printer.mirror, LibraryCall: _Printer.library_call,
            NestedCall: _Printer.nested_call}
