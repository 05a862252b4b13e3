"""Prints a plan as a kernel with which several threads help.

    def kernel(thread, meeting, work, x0_nd, out0_nd):
        if thread == 0:
            ...                                what one thread does alone
            send(v1, at(sent, 0))              numbers that the loop needs
            begin(meeting, 0)
        else:
            join(meeting, 0)                   wait for the first thread to come here
            v1 = receive(v1, at(sent, 0))
        while True:
            p = claim(meeting, 0)              the next of 8 pieces of the loop
            if p >= 8:
                break
            for e1 in range(first(1000, p, 8), first(1000, p + 1, 8)):
                ...
            finish(meeting, 0)
        if thread == 0:
            complete(meeting, 0, 8)            wait for those who are not done with theirs

Numbers outside of loops are computed by all threads, for their types: those who help may see memory too early, and
receive what is right. See `plan.threads` for what is cut, and `threads` for those who call the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from symhess.backends import codegen
from symhess.backends.codegen import INDENT, TYPE_NAMES, Printer
from symhess.plan.loops import Assign, Block, Load, Target
from symhess.plan.steps import Fill, Mirror, Plan
from symhess.plan.storage import ALIGNMENT, allocate
from symhess.plan.threads import MOST_PIECES, size, sums
from symhess.plan.tiles import tiles_along

ARGUMENTS = "thread, meeting, work"
#: elements between those of two pieces: they lie on different cache lines
APART = 8
_FLOAT = np.dtype(np.float64)
_NAME = re.compile(r"[A-Za-z_]\w*")
Cut = Block | Fill | Mirror


class SharedPrinter(Printer):
    """The text of a kernel; `common` bytes of the workspace are for all threads, and `own` for each."""

    def __init__(self, plan: Plan, symbols: dict[str, str]):
        self.totals: list[list[tuple[Assign, str]]] = []
        self.extra = [Target("sent", (sum(isinstance(s, Assign | Load) for s in plan.root.body) + 1,), _FLOAT)]
        before: dict[str, Assign] = {}
        for item in plan.root.body:
            if isinstance(item, Assign):
                before[item.name] = item
            elif getattr(item, "pieces", 0):
                totals = list(sums(item, before)) if isinstance(item, Block) else []
                self.extra += [Target(f"parts_{s.name}", (MOST_PIECES * APART,), s.dtype) for s, _ in totals]
                self.extra += [Target(copies(len(self.totals), t), (item.pieces * size(t),), t.dtype)
                               for t in copied(item)]
                self.totals.append(totals)
        super().__init__(plan, symbols)

    @staticmethod
    def workspace(plan: Plan) -> list[Target]:
        """The arrays of a plan that threads have in common."""
        return codegen.temporaries(plan)

    def count_classes(self) -> int:
        """Those of all threads, and those of this one."""
        self.rows = [allocate(p.root, p.rows) for p in self.plans]
        return super().count_classes() + sum(s.count for s in self.rows) + len(self.extra)

    def _declarations(self, symbols: dict[str, str]) -> dict[str, str]:
        out = super()._declarations(symbols)
        number = super().count_classes()
        self.common, self.own = (sum(s.size for s in storages) for storages in (self.storages, self.rows))
        for t in self.extra:
            out[t.name] = self.part(t, self.common, number)
            self.common, number = self.common + size(t) * t.dtype.itemsize, number + 1
        self.common = -(-self.common // ALIGNMENT) * ALIGNMENT
        start = self.common
        for plan, storage in zip(self.plans, self.rows):
            for t in plan.rows:
                offset, place = storage.places[t.name]
                out[t.name] = self.part(t, f"{start + offset} + thread * {self.own}", number + place)
            number, start = number + storage.count, start + storage.size
        return out

    def text(self, name: str) -> str:
        lines = [f"def {name}({ARGUMENTS}, {', '.join(f'{t.name}_nd' for t in self.ends)}):"]
        lines += [f"{INDENT}{array} = {memory}" for array, memory in self.declared.items()]
        lines += self.body()
        return "\n".join(lines) + "\n"

    def body(self) -> Iterator[str]:
        """The items of the kernel body, each done by the first thread or by whoever helps."""
        known: list[str] = []
        self.stages, alone = 0, False
        for item in self.plan.root.body:
            if getattr(item, "pieces", 0):
                yield from self.in_pieces(item, known)
                self.stages += 1
            elif isinstance(item, Assign | Load):
                known.append(item.name)
                yield from self.items([item])
            else:
                if not alone:
                    yield f"{INDENT}if thread == 0:"
                yield from (INDENT + line for line in self.items([item]))
                alone = True
                continue
            alone = False

    def in_pieces(self, item: Cut, known: list[str]) -> Iterator[str]:
        """One piece after the other, as long as there are some, and what is to be known before and after."""
        stage, piece, totals = self.stages, f"p{self.stages}", self.totals[self.stages]
        self.piece = f"first({{}}, {piece}, {item.pieces})", f"first({{}}, {piece} + 1, {item.pieces})"
        body = list(self.piece_of(item))
        yield from self.meeting(body, [v for v in known if all(v != s.name for s, _ in totals)])
        yield f"{INDENT}while True:"
        yield f"{INDENT * 2}{piece} = claim(meeting, {stage})"
        yield f"{INDENT * 2}if {piece} >= {item.pieces}:"
        yield f"{INDENT * 3}break"
        yield from (INDENT + line for line in self.items([s for s, _ in totals]))
        for t in copied(item):
            yield f"{INDENT * 2}{t.name}_p = at({copies(stage, t)}, {piece} * {size(t)})"
            yield f"{INDENT * 2}fill({t.name}_p, {size(t)}, 0)"
            body = [re.sub(rf"\b(get|put)\({t.name},", rf"\1({t.name}_p,", line) for line in body]
        yield from (INDENT + line for line in body)
        yield from (f"{INDENT * 2}put(parts_{s.name}, {piece} * {APART}, {s.name})" for s, _ in totals)
        yield f"{INDENT * 2}finish(meeting, {stage})"
        yield f"{INDENT}if thread == 0:"
        yield f"{INDENT * 2}complete(meeting, {stage}, {item.pieces})"
        for s, spelling in totals:
            yield from (INDENT * 2 + line for line in total(s, spelling, item.pieces))
        for t in copied(item):
            yield from (INDENT * 2 + line for line in added_up(t, copies(stage, t), item.pieces))

    def meeting(self, body: list[str], known: list[str]) -> Iterator[str]:
        """The first thread begins a stage, the others wait for that and receive what the body uses of what is known."""
        used = set(_NAME.findall("\n".join(body)))
        sent = [v for v in known if v in used]
        yield f"{INDENT}if thread == 0:"
        yield from (f"{INDENT * 2}send({v}, at(sent, {k}))" for k, v in enumerate(sent))
        yield f"{INDENT * 2}begin(meeting, {self.stages})"
        yield f"{INDENT}else:"
        yield f"{INDENT * 2}join(meeting, {self.stages})"
        yield from (f"{INDENT * 2}{v} = receive({v}, at(sent, {k}))" for k, v in enumerate(sent))

    def piece_of(self, item: Cut) -> Iterator[str]:
        """The statements that do a piece of an item."""
        if isinstance(item, Block):
            yield from self.items([item])
            return
        name = item.target.name
        if item.tiles:
            bounds = (bound.format(tiles_along(item.target.shape[-1])) for bound in self.piece)
            yield f"{INDENT}{codegen.in_tiles(item, *bounds)}"
            return
        n = item.target.shape[-1] ** 2 if isinstance(item, Mirror) else 1
        low, high = (bound.format(size(item.target) // n) for bound in self.piece)
        if isinstance(item, Fill):
            yield f"{INDENT}fill(at({name}, {low}), {high} - {low}, {item.value})"
        else:
            stack = f"view(at({name}, {low} * {n}), ({high} - {low}, {', '.join(map(str, item.target.shape[-2:]))}))"
            yield f"{INDENT}{codegen.mirror_function(item)}({stack})"

    def range(self, loop: Block) -> str:
        if loop.parallel:
            return f"range({', '.join(bound.format(loop.size) for bound in self.piece)})"
        return super().range(loop)


def copied(item: Cut) -> list[Target]:
    """The arrays of which each piece has a copy."""
    return getattr(item, "copied", [])


def copies(stage: int, t: Target) -> str:
    """The name of the memory of all copies of an array."""
    return f"copies{stage}_{t.name}"


def added_up(t: Target, memory: str, pieces: int) -> Iterator[str]:
    """The copies of all pieces, in their order, added to the array."""
    yield f"for {memory}_k in range({pieces}):"
    yield f"{INDENT}for {memory}_e in range({size(t)}):"
    position = f"{memory}_k * {size(t)} + {memory}_e"
    yield f"{INDENT * 2}put({t.name}, {memory}_e, get({t.name}, {memory}_e) + get({memory}, {position}))"


def total(s: Assign, spelling: str, pieces: int) -> Iterator[str]:
    """The sum over all pieces, in their order."""
    yield f"{s.name} = get(parts_{s.name}, 0)"
    yield f"for {s.name}_k in range(1, {pieces}):"
    value = spelling.format(s.name, f"get(parts_{s.name}, {s.name}_k * {APART})")
    yield f"{INDENT}{s.name} = {TYPE_NAMES[s.dtype.name]}({value})"


def source(plan: Plan, name: str, symbols: dict[str, str]) -> tuple[str, int, int, int]:
    """The text of the kernel, the number of items cut, and the bytes of workspace in common and per thread."""
    printer = SharedPrinter(plan, symbols)
    text = printer.text(name)
    return text, printer.stages, printer.common + ALIGNMENT, printer.own
