"""Strided and scattered stores taken out of vector loops: rows of values first, then their places, one by one.

    for e: v = ...; out[7 e + 3] = v      becomes      for e: v = ...; row[e] = v
                                                       for e: out[7 e + 3] = row[e]

The first loop vectorises; vector stores to scattered places would cost more than the scalar stores of the second.
Long loops are cut into stretches whose rows stay in the cache.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from symhess.plan.affine import Linear, variable
from symhess.plan.loops import Assign, Block, Load, Store, Target

#: loops of fewer iterations stay as they are
SHORTEST = 24
#: as many operations per scattered value, or the detour does not pay; divisions and functions count for several
LEAST_WORK, SLOW = 3, 5
#: as many places in a row that the stores of one iteration fill are for LLVM to vectorise
LONGEST_RUN = 8
#: bytes that the rows of one loop may take, and the elements of a row
ROWS, SHORT_ROW, LONG_ROW = 1 << 17, 64, 512

_SLOW = re.compile(r"/|\w\(")
_NAME = re.compile(r"[A-Za-z_]\w*")


def staged(loop: Block, prefix: str, dtypes: dict[str, np.dtype]) -> list[Target]:
    """Split an innermost loop in two where that pays; the rows that it needs, named after `prefix`."""
    made = {s.name for s in loop.body if isinstance(s, Assign | Load)}
    stores = _without_runs([s for s in loop.body if isinstance(s, Store) and _is_scattered(s, loop, made)], loop)
    values = {s.operand for s in stores if s.operand in made}
    work = sum(SLOW if _SLOW.search(s.spelling) else 1 for s in loop.body if isinstance(s, Assign))
    if loop.size < SHORTEST or not stores or work < LEAST_WORK * len(values):
        return []
    if any(isinstance(s, Block) for s in loop.body):
        return []
    stretch = min(max(ROWS // (8 * len(stores)), SHORT_ROW), LONG_ROW)
    pieces = -(-loop.size // stretch)
    length = -(-loop.size // pieces)
    rows = {v: Target(f"{prefix}_{v}", (length,), dtypes[s.array])
            for s in stores for v in [s.operand] if v in values}
    _split(loop, stores, rows, pieces, length)
    return list(rows.values())


def _is_scattered(s: Store, loop: Block, made: set[str]) -> bool:
    """True if iterations store to places that are apart, or found in a table; `made` are the names made in the loop."""
    steps = dict(s.position.terms)
    return any(v != loop.variable and v in made for v in steps) or abs(steps.get(loop.variable, 0)) > 1


def _without_runs(stores: list[Store], loop: Block) -> list[Store]:
    """The stores but those that together fill s places in a row, if iterations are s places apart: LLVM makes them
    vector stores of interleaved values."""
    groups: dict[tuple, list[Store]] = {}
    for s in stores:
        groups.setdefault((s.array, s.how, s.position.terms), []).append(s)
    for (_, how, terms), members in groups.items():
        places = sorted(s.position.offset for s in members)
        step = abs(dict(terms).get(loop.variable, 0))
        if how == "=" and step <= LONGEST_RUN and places == list(range(places[0], places[0] + step)):
            stores = [s for s in stores if s not in members]
    return stores


def _split(loop: Block, stores: Sequence[Store], rows: dict[str, Target], pieces: int, length: int) -> None:
    """Rewrite the loop into one that fills the rows and one that empties them, within a loop over stretches."""
    e = variable(loop.variable)
    here = variable(f"{loop.variable}k") if pieces > 1 else e
    moved = set(map(id, stores))
    kept = [s for s in loop.body if id(s) not in moved]
    fill = [*kept, *(Store(row.name, here, v) for v, row in rows.items())]
    empty = [*_positions(loop, stores), *(Load(f"{v}r", row.name, here) for v, row in rows.items()),
             *(replace(s, operand=f"{s.operand}r" if s.operand in rows else s.operand) for s in stores)]
    if pieces == 1:
        loops = [replace(loop, body=fill), replace(loop, body=empty, scalar=True)]
    else:
        outer = Block(f"{loop.variable}b", pieces, loop.depth, loop.parent)
        first = Linear(0, ((outer.variable, length),))
        count = Assign(loop.variable, f"{first} + {here}", ())
        limit = Linear(loop.size, ((outer.variable, -length),))
        outer.body = [Block(str(here), length, loop.depth + 1, outer, [count, *body], limit=limit, scalar=scalar)
                      for body, scalar in ((fill, False), (empty, True))]
        loops = [outer]
    siblings = loop.parent.body
    at = next(k for k, s in enumerate(siblings) if s is loop)
    siblings[at:at + 1] = loops


def _positions(loop: Block, stores: Sequence[Store]) -> list[Assign | Load]:
    """The statements that the positions of the stores hang on."""
    needed = {v for s in stores for v in s.position.variables()}
    found: list[Assign | Load] = []
    for s in reversed(loop.body):
        if isinstance(s, Assign | Load) and s.name in needed:
            needed |= set(s.position.variables()) if isinstance(s, Load) else {*s.operands, *_NAME.findall(s.spelling)}
            found.insert(0, s)
    return found
