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
#: as many places in a row that the stores of one iteration fill LLVM interleaves by itself
LONGEST_RUN = 8
#: bytes that the rows of one loop may take, and the elements of a row
ROWS, SHORT_ROW, LONG_ROW = 1 << 17, 64, 512

_SLOW = re.compile(r"/|\w\(")
_NAME = re.compile(r"[A-Za-z_]\w*")


def staged(loop: Block, prefix: str, dtypes: dict[str, np.dtype]) -> list[Target]:
    """Split an innermost loop in two where that pays; the rows that it needs, named after `prefix`."""
    made = made_in(loop)
    interleaved = {id(s) for run in runs_of(loop, made) if len(run) <= LONGEST_RUN for s in run}
    stores = [s for s in loop.body if isinstance(s, Store) and is_scattered(s, loop, made) and id(s) not in interleaved]
    values = {s.operand for s in stores if s.operand in made}
    work = sum(SLOW if _SLOW.search(s.spelling) else 1 for s in loop.body if isinstance(s, Assign))
    if loop.size < SHORTEST or not stores or work < LEAST_WORK * len(values):
        return []
    if any(isinstance(s, Block) for s in loop.body):
        return []
    if loop.limit is not None and loop.size * 8 * len(stores) > ROWS:
        return []
    stretch = loop.size if loop.limit is not None else min(max(ROWS // (8 * len(stores)), SHORT_ROW), LONG_ROW)
    pieces = -(-loop.size // stretch) if loop.limit is None else 1
    length = -(-loop.size // pieces)
    rows = rows_of(stores, made, prefix, length, dtypes)
    _split(loop, stores, rows, pieces, length)
    return list(rows.values())


def made_in(loop: Block) -> set[str]:
    """The names of what is made in a loop."""
    return {s.name for s in loop.body if isinstance(s, Assign | Load)}


def rows_of(stores: Sequence[Store], made: set[str], prefix: str, length: int,
            dtypes: dict[str, np.dtype]) -> dict[str, Target]:
    """A row for each value that is stored."""
    return {s.operand: Target(f"{prefix}_{s.operand}", (length,), dtypes[s.array])
            for s in stores if s.operand in made}


def runs_of(loop: Block, made: set[str]) -> list[list[Store]]:
    """The stores that together fill s places in a row, in their order, if iterations are s places apart."""
    groups: dict[tuple, list[Store]] = {}
    for s in loop.body:
        if isinstance(s, Store) and s.how == "=" and all(v == loop.variable or v not in made
                                                         for v in s.position.variables()):
            groups.setdefault((s.array, s.position.terms), []).append(s)
    found = []
    for (_, terms), members in groups.items():
        members.sort(key=lambda s: s.position.offset)
        step, k = abs(dict(terms).get(loop.variable, 0)), 0
        while step and k + step <= len(members):
            run = members[k:k + step]
            whole = run[-1].position.offset - run[0].position.offset == step - 1
            found += [run] if whole else []
            k += step if whole else 1
    return found


def is_scattered(s: Store, loop: Block, made: set[str]) -> bool:
    """True if iterations store to places that are apart, or found in a table; `made` are the names made in the loop."""
    steps = dict(s.position.terms)
    return any(v != loop.variable and v in made for v in steps) or abs(steps.get(loop.variable, 0)) > 1


def _split(loop: Block, stores: Sequence[Store], rows: dict[str, Target], pieces: int, length: int) -> None:
    """Rewrite the loop into one that fills the rows and one that empties them, within a loop over stretches."""
    e = variable(loop.variable)
    here = variable(f"{loop.variable}k") if pieces > 1 else e
    moved = set(map(id, stores))
    kept = [s for s in loop.body if id(s) not in moved]
    fill = [*kept, *(Store(row.name, here, v) for v, row in rows.items())]
    empty = emptied(loop, stores, rows, here)
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


def emptied(loop: Block, stores: Sequence[Store], rows: dict[str, Target], here: Linear) -> list[Assign | Load | Store]:
    """The statements that put the elements at `here` of the rows into their places."""
    loads = [Load(f"{v}r", row.name, here) for v, row in rows.items()]
    named = [replace(s, operand=f"{s.operand}r" if s.operand in rows else s.operand) for s in stores]
    return [*_positions(loop, stores), *loads, *named]


def _positions(loop: Block, stores: Sequence[Store]) -> list[Assign | Load]:
    """The statements that the positions of the stores hang on."""
    needed = {v for s in stores for v in s.position.variables()}
    found: list[Assign | Load] = []
    for s in reversed(loop.body):
        if isinstance(s, Assign | Load) and s.name in needed:
            needed |= set(s.position.variables()) if isinstance(s, Load) else {*s.operands, *_NAME.findall(s.spelling)}
            found.insert(0, s)
    return found
