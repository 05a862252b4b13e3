"""Loop nests that follow each other line by line, so that what one makes for the next stays in the cache.

    for i: for j: t[i, j] = ...                 for b:  for i = 8 b, ..., 8 b + 8: for j: t[i - 8 b, j] = ...
    for i: for j: ... t[i, j] ... t[i + 1, j]           for i = 8 b, ..., 8 b + 7: for j: ... t[i - 8 b, j] ...

An outer iteration of the reader needs a few lines of each temporary, at a distance that is known where positions are
affine. So the outer loops are cut into blocks, of which the makers run some lines more: lines at the edge of a block
are computed again in the next one, by the same operations, hence with the same bits. Blocks do not depend on each
other, so threads can share them. Of the temporaries only a block is left. Products of
matrices take part by their rows, and so do nests that read the same temporaries and assign other results.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from symhess.plan.affine import Linear, bounds, combine, variable
from symhess.plan.loops import Assign, Block, Load, Store, Target
from symhess.plan.staging import LONG_ROW
from symhess.plan.steps import LibraryCall, LoopNest, Plan
from symhess.plan.storage import statements, touched

#: bytes of temporaries that stay in the cache anyway; bytes of the lines of a block, and the most they may take
SMALL, BLOCK, LARGEST = 1 << 18, 3 << 17, 1 << 22
#: as many lines per line that is computed again, and the operations done again per byte of temporaries
LEAST_LINES, AGAIN = 4, 2


@dataclass
class Member:
    """A nest or matrix product of a band: the first and last line that it runs, counted from the first and last one of
    a block, and the strides of the temporaries that it makes."""

    item: Block | LibraryCall
    step: LoopNest | LibraryCall
    low: int = 0
    high: int = 0
    makes: dict[str, int] = field(default_factory=dict)


def tile(plan: Plan, calls: bool = True) -> None:
    """Cut what is worth it; the temporaries of which a block is left become rows of the plan. Without `calls`, matrix
    products stay whole."""
    if sum(math.prod(t.shape) * t.dtype.itemsize for t in plan.temporaries) <= SMALL:
        return
    nests = {id(s.loops[0]): s for s in plan.steps if isinstance(s, LoopNest) and s.loops}
    touches = {id(item): frozenset(touched(item)) for item in plan.root.body}
    names = {t.name for t in plan.temporaries}
    items = [b for b in plan.root.body if id(b) in nests or (calls and isinstance(b, LibraryCall))]
    makers = {id(item): made for item in items if (made := lines_made(item)) and made.keys() <= names}
    for reader in reversed([b for b in plan.root.body if id(b) in nests]):
        if any(b is reader for b in plan.root.body):
            _Band(plan, nests, touches, makers, reader).cut()


class _Band:
    """The items that go line by line with one reader, which is the last of them.

    `touches` has the arrays of each item, `makers` the lines of what makes temporaries (see `lines_made`).
    """

    def __init__(self, plan: Plan, nests: dict[int, LoopNest], touches: dict[int, frozenset[str]],
                 makers: dict[int, dict[str, int]], reader: Block):
        self.plan, self.body, self.nests, self.touches = plan, plan.root.body, nests, touches
        self.temporaries = {t.name: t for t in plan.temporaries}
        self.reader = reader
        self.members = {id(reader): Member(reader, nests[id(reader)])}
        at = next(k for k, item in enumerate(self.body) if item is reader)
        for item in reversed(self.body[:at]):
            if id(item) in makers:
                self.consider(item, makers[id(item)])
        made = {name for m in self.members.values() for name in m.makes}
        for key, m in reversed(list(self.members.items())):
            if isinstance(m.item, LibraryCall) and m.item.sources[0] not in made:  # of what is whole: it stays whole
                made -= self.members.pop(key).makes.keys()
        self.order = [self.members[id(item)] for item in self.body if id(item) in self.members]

    def consider(self, item: Block | LibraryCall, makes: dict[str, int]) -> None:
        """Let what makes temporaries for the band alone join it, and with it other readers of these that may."""
        readers = [r for r in self.body if r is not item and not self.touches[id(r)].isdisjoint(makes)]
        others = [r for r in readers if id(r) not in self.members]
        if not readers or not all(map(self.goes_along, others)):
            return
        joining = {id(r): Member(r, self.nests[id(r)]) for r in others}
        found = [distances({**self.members, **joining}[id(r)], name, stride)
                 for name, stride in makes.items() for r in readers if name in self.touches[id(r)]]
        if all(d is not None for d in found):
            low, high = min(d[0] for d in found), max(d[1] for d in found)
            step = self.nests[id(item)] if isinstance(item, Block) else item
            self.members |= joining
            self.members[id(item)] = Member(item, step, low, high, makes)

    def goes_along(self, item: object) -> bool:
        """True for a nest that may as well run line by line with the reader: it assigns results only, which nothing
        in between but the reader adds to, and that at places of the same line."""
        at = next(k for k, other in enumerate(self.body) if other is item)
        last = next(k for k, other in enumerate(self.body) if other is self.reader)
        if id(item) not in self.nests or at > last or item.size != self.reader.size or not writes_once(item):
            return False
        written = {s.array for s in statements(item) if isinstance(s, Store)}
        between = [b for b in self.body[at + 1:last] if not written.isdisjoint(self.touches[id(b)])]
        if not written.isdisjoint(self.temporaries) or not all(isinstance(b, Block) and writes_once(b)
                                                               for b in between):
            return False
        before = self.nests[id(self.reader)].after
        return written.isdisjoint(self.touches[id(self.reader)]) or writes_once(self.reader) or (
            len(before) == 1 and before[0] is self.nests[id(item)] and same_lines(item, self.reader))

    def cut(self) -> None:
        """Put a loop over blocks in the place of the reader, unless lines are too long or all of it is small."""
        made = {name: m for m in self.order for name in m.makes}
        if not made:
            return
        bytes_of = {name: self.temporaries[name].dtype.itemsize for name in made}
        width = sum(m.makes[name] * bytes_of[name] for name, m in made.items())
        whole = sum(math.prod(self.temporaries[name].shape) * size for name, size in bytes_of.items())
        more, size = max(m.high - m.low for m in self.order), self.reader.size
        lines = max(BLOCK // width - more, LEAST_LINES * more, 1)
        if any(not list(_loops(m.item)) for m in self.order if isinstance(m.item, Block)):
            lines = min(lines, LONG_ROW)  # elements, of which some values may be staged
        again = sum(m.step.figures.flops for m in self.order if m.makes) * more / lines
        if whole <= SMALL or (lines + more) * width > LARGEST or lines >= size or again > AGAIN * whole:
            return
        ahead = {id(m.item): {name: m.low - of.low for name, of in made.items()} for m in self.order}
        if any(isinstance(m.item, LibraryCall) and ahead[id(m.item)].get(m.item.sources[0]) for m in self.order):
            return
        lines = -(-size // -(-size // lines))
        block = Block(f"{self.reader.variable}b", -(-size // lines), self.reader.depth, self.reader.parent)
        for m in self.order:
            strides = {name: (of.makes[name], ahead[id(m.item)][name]) for name, of in made.items()}
            block.body.append(_within(m, block, lines, strides) if isinstance(m.item, Block) else _part(m, lines))
            m.step.lines = lines
        self.nests[id(self.reader)].makers = [m.step for m in self.order[:-1]]
        for name, m in made.items():
            self.plan.temporaries.remove(self.temporaries[name])
            length = (lines + m.high - m.low) * m.makes[name]
            self.plan.rows.append(Target(name, (length,), self.temporaries[name].dtype))
        self.touches[id(block)] = frozenset(touched(block))
        self.body[:] = [block if item is self.reader else item for item in self.body
                        if item is self.reader or id(item) not in self.members]


# -- what items read and write -----------------------------------------------------------------------------------------


def lines_made(item: Block | LibraryCall) -> dict[str, int]:
    """The arrays of which each iteration of a nest, or row of a product, makes a line of its own, and the lengths of
    the lines. Empty if anything else is changed: what is not may run again."""
    if isinstance(item, LibraryCall):
        whole = item.function == "gemm" and not any(item.parameters) and item.shape[0] == 1
        return {item.target.name: item.shape[2]} if whole and item.sources[0] != item.sources[1] else {}
    if not writes_once(item):
        return {}
    made = {s.array: stride_of(item, s.array) for s in statements(item) if isinstance(s, Store)}
    return made if all(made.values()) else {}


def writes_once(loop: Block) -> bool:
    """True for a nest that may run again: it assigns, and adds nothing up but within an iteration."""
    known: set[str] = set()
    for s in statements(loop):
        if isinstance(s, Assign):
            if s.name in s.operands and s.name not in known:
                return False
            known.add(s.name)
        elif not (isinstance(s, Load) or (isinstance(s, Store) and s.how == "=")):
            return False
    return True


def stride_of(loop: Block, name: str) -> int:
    """The length of the lines of an array that iterations of a nest fill, 0 if they do not."""
    strides = set()
    for s in statements(loop):
        if isinstance(s, Store) and s.array == name:
            stride, window = _window(s.position, loop)
            strides.add(stride if window and window[0] >= 0 and window[1] < stride else 0)
    return strides.pop() if len(strides) == 1 else 0


def _window(position: Linear, loop: Block) -> tuple[int, tuple[int, int] | None]:
    """The stride of positions along the outer loop, and the range of the rest; None where a table decides."""
    ranges = {b.variable: (0, b.size - 1) for b in _loops(loop)}
    rest = Linear(position.offset, tuple((v, c) for v, c in position.terms if v != loop.variable))
    stride = dict(position.terms).get(loop.variable, 0)
    return stride, bounds(rest, ranges) if all(v in ranges for v in rest.variables()) else None


def _loops(block: Block) -> Iterator[Block]:
    """The loops inside of a loop."""
    for s in block.body:
        if isinstance(s, Block):
            yield s
            yield from _loops(s)


def distances(m: Member, name: str, stride: int) -> tuple[int, int] | None:
    """The first and last line of an array that a member reads, counted from the lines of the block."""
    if isinstance(m.item, LibraryCall):
        fits = m.item.sources[0] == name != m.item.sources[1] and m.item.arguments[0].shape[2] == stride
        return (m.low, m.high) if fits else None
    low, high = [], []
    for s in statements(m.item):
        if isinstance(s, Load | Store) and s.array == name:
            step, window = _window(s.position, m.item)
            if isinstance(s, Store) or step != stride or window is None:
                return None
            low.append(window[0] // stride)
            high.append(window[1] // stride)
    return (m.low + min(low), m.high + max(high)) if low else None


def same_lines(assigning: Block, adding: Block) -> bool:
    """True if an iteration of one nest adds only to places that the same iteration of the other one has assigned."""
    assigned = _places(assigning)
    return all(found <= assigned.get(key, set()) for key, found in _places(adding).items())


def _places(loop: Block) -> dict[tuple, set[int]]:
    """Where a nest stores: what depends on the iteration, by tables, and the distances from there."""
    inner = {b.variable: b.size for b in _loops(loop)}
    tables = {s.name: (s.array, _renamed(s.position, loop.variable)) for s in loop.body if isinstance(s, Load)}
    found: dict[tuple, set[int]] = {}
    for s in statements(loop):
        if isinstance(s, Store):
            outer = sorted((tables.get(v, ("", v if v != loop.variable else "e")), c)
                           for v, c in s.position.terms if v not in inner)
            along = [c * np.arange(inner[v]) for v, c in s.position.terms if v in inner]
            reached = functools.reduce(np.add.outer, along, np.array(s.position.offset))
            found.setdefault((s.array, tuple(outer)), set()).update(reached.ravel().tolist())
    return found


def _renamed(position: Linear, e: str) -> str:
    return str(Linear(position.offset, tuple(("e" if v == e else v, c) for v, c in position.terms)))


# -- items in blocks ---------------------------------------------------------------------------------------------------


def _part(m: Member, lines: int) -> LibraryCall:
    """The product of a block of lines. That of the last block may have rows that nobody reads."""
    first, second = m.item.arguments
    rows = lines + m.high - m.low
    return replace(m.item, arguments=[first._replace(shape=(1, rows, first.shape[2])), second],
                   shape=(1, rows, m.item.shape[2]))


def _within(m: Member, block: Block, lines: int, kept: dict[str, tuple[int, int]]) -> Block:
    """The loop of a member over the lines of a block; `kept` has the stride of each array of which a block is left, and
    by how many lines the member is ahead of its maker."""
    loop, e = m.item, m.item.variable
    here = variable(f"{e}k")
    line = Linear(m.low, tuple(sorted(((block.variable, lines), (str(here), 1)))))

    def moved(s: object) -> object:
        """A statement with positions along the block, and in blocks of arrays instead of the whole ones."""
        if not isinstance(s, Load | Store):
            return s
        stride, ahead = kept.get(s.array, (0, 0))
        place = combine([(1, here)], ahead) if stride else line
        parts = [(c, place if v == e else variable(v)) for v, c in s.position.terms]
        return replace(s, position=combine(parts, s.position.offset))

    for inside in (loop, *_loops(loop)):
        inside.depth += 1
        inside.body = list(map(moved, inside.body))
    loop.body.insert(0, Assign(e, str(line), ()))
    loop.limit = Linear(loop.size - m.low, ((block.variable, -lines),))
    loop.variable, loop.size, loop.parent = str(here), lines + m.high - m.low, block
    return loop
