"""Which loops of a plan several threads share, in how many pieces.

The first thread runs the whole kernel. The others help where it comes to a loop that is cut into pieces: whoever is
free takes the next one, and the first thread goes on when all are done. So a thread that comes late, or not at all,
costs nothing. Sums over a loop are added up per piece, then over the pieces in their order: the number of threads and
their pace do not show in any result. Small arrays to which many iterations add have a copy per piece for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from symhess.graph.maps import all_different
from symhess.plan.loops import Assign, Block, Store, StoreItem, Target
from symhess.plan.nested import NestedCall
from symhess.plan.steps import Fill, LoopNest, Mirror, Plan
from symhess.plan.storage import statements
from symhess.plan.tiles import tiles_along

#: seconds per flop of vector code, and per byte; what is in the cache takes half as long as this says
FLOP, BYTE = 5e-11, 5e-11
#: the least seconds, so estimated, that pay for waking threads, and that one loop has to have
LEAST_KERNEL, LEAST_LOOP = 5e-4, 5e-5
#: the seconds that a piece should take, and the most pieces of a loop
PIECE, MOST_PIECES = 5e-5, 64
#: the most pieces with copies of arrays, and how much larger than all copies a box has to be
MOST_COPIES, COPIED = 16, 4
#: loops of fewer iterations are not cut
LEAST_ITERATIONS = 16


def share(plan: Plan) -> None:
    """Cut what is worth it, if it is worth it together."""
    if any(isinstance(s, NestedCall) and s.growing for s in plan.steps):
        return
    cuts = [(estimate(step), step, cut_of(step, plan.root)) for step in plan.steps
            if isinstance(step, LoopNest | Fill | Mirror)]
    worth = [(seconds, step, *cut) for seconds, step, cut in cuts if cut is not None and seconds >= LEAST_LOOP]
    if sum(f[0] for f in worth) < LEAST_KERNEL:
        return
    for seconds, step, item, loop, count in worth:
        item.pieces = min(max(math.ceil(seconds / PIECE), 2), MOST_PIECES, count)
        if loop is not None:
            step.parallel = loop.parallel = True
            item.copied = list(collisions(step.items).values())
            item.pieces = min(item.pieces, MOST_COPIES) if item.copied else item.pieces


def estimate(step: object) -> float:
    """Seconds, roughly."""
    if isinstance(step, Fill | Mirror):
        return BYTE * size(step.target) * step.target.dtype.itemsize
    return sum(FLOP * s.figures.flops + BYTE * (s.figures.read + s.figures.written)
               for s in (step, *getattr(step, "makers", ())))


def size(t: Target) -> int:
    """The number of elements."""
    return math.prod(t.shape)


def cut_of(step: object, root: Block) -> tuple[object, Block | None, int] | None:
    """The item of the kernel body that can be cut, the loop in it, and into how many pieces at most."""
    if isinstance(step, Fill | Mirror) and step.tiles:
        return step, None, tiles_along(step.target.shape[-1])
    if isinstance(step, Fill):
        return step, None, size(step.target)
    if isinstance(step, Mirror) and math.prod(step.target.shape[:-2]) >= LEAST_ITERATIONS:
        return step, None, math.prod(step.target.shape[:-2])
    if not isinstance(step, LoopNest) or not step.loops or not is_cuttable(step):
        return None
    if step.lines and not step.makers:
        return None
    if step.lines:
        block = step.loops[0].parent
        return (block, block, block.size) if block.size >= LEAST_ITERATIONS else None
    names = {step.loops[0].variable, f"{step.loops[0].variable}b"}
    tops = [b for b in root.body if isinstance(b, Block) and b.variable in names]
    loop = cut_loop(tops[0], step.items) if len(tops) == 1 else None
    return None if loop is None else (tops[0], loop, loop.size)


def cut_loop(loop: Block, items: Iterable[StoreItem]) -> Block | None:
    """The outermost loop of a nest, or one right inside that is longer."""
    while loop.size < LEAST_ITERATIONS and not any(i.reduction is not None for i in items):
        inner = [s for s in loop.body if isinstance(s, Block)]
        if len(inner) != 1 or any(isinstance(s, Store) for s in loop.body):
            return None
        loop = inner[0]
    return loop if loop.size >= LEAST_ITERATIONS and loop.limit is None else None


def is_cuttable(nest: LoopNest) -> bool:
    """True if pieces do not meet, or only in arrays of which each can have a copy."""
    found = collisions(nest.items)
    return found is not None and MOST_COPIES * COPIED * sum(map(size, found.values())) <= math.prod(nest.box)


def collisions(items: Iterable[StoreItem]) -> dict[str, Target] | None:
    """The targets to elements of which several iterations add, sums over the whole box apart; None if they do worse."""
    adding: dict[str, list[StoreItem]] = {}
    for i in items:
        if i.how != "=" and i.target is not None and (i.reduction is None or i.reduction.ndim):
            adding.setdefault(i.target.name, []).append(i)
    plain = {i.target.name for i in items if i.how == "=" and i.target is not None}
    found = {name: group for name, group in adding.items() if not independent(group)}
    if any(name in plain or any(i.how != "+=" for i in group) for name, group in found.items()):
        return None
    return {name: group[0].target for name, group in found.items()}


def independent(adding: Iterable[StoreItem]) -> bool:
    """True if no two iterations change the same element of the one target of these items."""
    positions: list = []
    for i in adding:
        if i.position not in positions:
            positions.append(i.position)
    return all(p.is_injective() for p in positions) and (len(positions) == 1 or _disjoint(positions))


def _disjoint(positions: list) -> bool:
    places = np.concatenate([p.values().ravel() for p in positions])
    return all_different(places)


def sums(item: Block, before: dict[str, Assign]) -> Iterator[tuple[Assign, str]]:
    """The variables from outside of a loop that it changes: their first statement, and the spelling that adds to them.
    """
    found = {s.name: s.spelling for s in statements(item) if isinstance(s, Assign) and s.name in before}
    for name, spelling in found.items():
        yield before[name], spelling
