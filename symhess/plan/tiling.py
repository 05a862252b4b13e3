"""Loop nests that follow each other line by line, so that what one makes for the next stays in the cache.

    for i: for j: t[i, j] = ...                 for b:  for i = 8 b, ..., 8 b + 8: for j: t[i - 8 b, j] = ...
    for i: for j: ... t[i, j] ... t[i + 1, j]           for i = 8 b, ..., 8 b + 7: for j: ... t[i - 8 b, j] ...

An outer iteration of the reader needs a few lines of each temporary, at a distance that is known where positions are
affine. So the outer loops are cut into blocks, of which the makers run some lines more: lines at the edge of a block
are computed again in the next one, by the same operations, hence with the same bits. Blocks do not depend on each
other, so threads can share them. Of the temporaries only a block is left. See `written_once` for who may be cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from symhess.plan.affine import Linear, bounds, combine, variable
from symhess.plan.loops import Assign, Block, Load, Store, Target
from symhess.plan.steps import LoopNest, Plan
from symhess.plan.storage import statements, touched

#: bytes of temporaries that stay in the cache anyway; bytes of the lines of a block, and the most they may take
SMALL, BLOCK, LARGEST = 1 << 18, 3 << 17, 1 << 22
#: as many lines per line that is computed again, and the operations done again per byte of temporaries
LEAST_LINES, AGAIN = 4, 2


@dataclass
class Member:
    """A nest of a band: its outer loop, the first and last line that it runs, counted from the first and last one of
    a block, and the temporaries that it makes."""

    loop: Block
    nest: LoopNest
    low: int = 0
    high: int = 0
    makes: tuple[str, ...] = ()


def tile(plan: Plan) -> None:
    """Cut what is worth it; the temporaries of which a block is left become rows of the plan."""
    temporaries = {t.name: t for t in plan.temporaries}
    nests = {id(s.loops[0]): s for s in plan.steps if isinstance(s, LoopNest) and len(s.loops) > 1}
    reading = _readers(plan.root.body, temporaries)
    for reader in reversed([b for b in plan.root.body if id(b) in nests]):
        if any(b is reader for b in plan.root.body):
            band = _band(reader, plan.root.body, nests, temporaries, reading)
            if len(band) > 1:
                _cut(plan, band, temporaries)


def _readers(body: list, temporaries: dict[str, Target]) -> dict[str, list[object]]:
    """The items that touch each temporary."""
    found: dict[str, list[object]] = {}
    for item in body:
        for name in dict.fromkeys(touched(item)):
            if name in temporaries:
                found.setdefault(name, []).append(item)
    return found


def _band(reader: Block, body: list, nests: dict[int, LoopNest], temporaries: dict[str, Target],
          reading: dict[str, list[object]]) -> list[Member]:
    """The reader, and before it the nests that make temporaries for the band alone; in their order."""
    band = [Member(reader, nests[id(reader)])]
    at = next(k for k, item in enumerate(body) if item is reader)
    for item in reversed(body[:at]):
        if id(item) in nests and (made := written_once(item)) and made <= temporaries.keys():
            members = {id(m.loop): m for m in band}
            others = [r for name in made for r in reading[name] if r is not item]
            if others and all(id(r) in members for r in others):
                distances = [_distances(members[id(r)], name, stride_of(item, name))
                             for name in made for r in reading[name] if r is not item]
                if all(d is not None for d in distances):
                    low, high = min(d[0] for d in distances), max(d[1] for d in distances)
                    band.insert(0, Member(item, nests[id(item)], low, high, tuple(sorted(made))))
    return band


def written_once(loop: Block) -> set[str]:
    """The arrays of which each iteration of a nest writes lines of its own, nothing else being changed by it: it may
    run again. Empty if there is more to it."""
    known: set[str] = set()
    made: set[str] = set()
    for s in statements(loop):
        if isinstance(s, Assign):
            if s.name in s.operands and s.name not in known:
                return set()
            known.add(s.name)
        elif isinstance(s, Store) and s.how == "=" and stride_of(loop, s.array):
            made.add(s.array)
        elif not isinstance(s, Load):
            return set()
    return made


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


def _distances(m: Member, name: str, stride: int) -> tuple[int, int] | None:
    """The first and last line of an array that a member reads, counted from the lines of the block."""
    low, high = [], []
    for s in statements(m.loop):
        if isinstance(s, Load | Store) and s.array == name:
            step, window = _window(s.position, m.loop)
            if isinstance(s, Store) or step != stride or window is None:
                return None
            low.append(window[0] // stride)
            high.append(window[1] // stride)
    return (m.low + min(low), m.high + max(high)) if low else None


def _cut(plan: Plan, band: list[Member], temporaries: dict[str, Target]) -> None:
    """Put a loop over blocks in the place of the last nest, unless lines are too long or all of it is small."""
    made = {name: (m, stride_of(m.loop, name)) for m in band for name in m.makes}
    width = sum(stride * temporaries[name].dtype.itemsize for name, (_, stride) in made.items())
    more = max(m.high - m.low for m in band)
    lines = max(BLOCK // width - more, LEAST_LINES * more, 1)
    size = band[-1].loop.size
    whole = sum(math.prod(temporaries[name].shape) * temporaries[name].dtype.itemsize for name in made)
    again = sum(m.nest.figures.flops for m in band[:-1]) * more / lines
    if whole <= SMALL or (lines + more) * width > LARGEST or lines >= size or again > AGAIN * whole:
        return
    lines = -(-size // -(-size // lines))
    block = Block(f"{band[-1].loop.variable}b", -(-size // lines), band[-1].loop.depth, band[-1].loop.parent)
    for m in band:
        _within(m, block, lines, {name: (stride, m.low - of.low) for name, (of, stride) in made.items()})
        m.nest.lines = lines
    band[-1].nest.makers = [m.nest for m in band[:-1]]
    for name, (m, stride) in made.items():
        plan.temporaries.remove(temporaries[name])
        plan.rows.append(Target(name, ((lines + m.high - m.low) * stride,), temporaries[name].dtype))
    body, last = plan.root.body, band[-1].loop
    gone = {id(m.loop) for m in band[:-1]}
    body[:] = [block if item is last else item for item in body if id(item) not in gone]


def _within(m: Member, block: Block, lines: int, kept: dict[str, tuple[int, int]]) -> None:
    """Let the loop of a member run over the lines of a block; `kept` has the stride of each array of which a block is
    left, and by how many lines the member is ahead of its maker."""
    loop, e = m.loop, m.loop.variable
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
    block.body.append(loop)
