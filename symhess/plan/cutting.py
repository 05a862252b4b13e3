"""Long straight-line kernels in pieces: compilers of kernels take more than linear time in the number of statements.

What a piece needs of an earlier one goes through memory, one array for each type of element, in which the numbers of
neighbouring iterations lie next to each other:

    piece 1    for p: v1 = ...; v2 = ...; kept[p] = v2
    piece 2    for p: v2 = kept[p]; v3 = ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from symhess.plan.affine import combine, variable
from symhess.plan.loops import Assign, Block, Load, Store, Target

#: statements of a piece, and statements outside of the loop up to which every piece repeats them
MOST, FEW = 2500, 32
_NAME = re.compile(r"[A-Za-z_]\w*")
Statement = Assign | Load | Store


class Piece(NamedTuple):
    """Statements for so many iterations; those outside of the loop are for all iterations alike."""

    outside: list[Statement]
    inside: list[Statement]
    points: int


def pieces(outside: list, inside: list, grid: str, points: int, types: dict[str, np.dtype],
           prefix: str) -> tuple[list[Piece], list[Target]]:
    """The pieces of a kernel, and the arrays they share; one piece where it is short, or has loops."""
    if points == 1:
        outside, inside = [], [*outside, *inside]
    whole = Piece(outside, inside, points)
    if len(outside) + len(inside) <= MOST or any(isinstance(s, Block) for s in (*outside, *inside)):
        return [whole], []
    apart = outside if len(outside) > FEW else []
    parts = [(s, 1) for s in chunks(apart)] + [(s, points) for s in chunks(inside)]
    repeated = [] if apart else outside
    known = inferred([*outside, *inside], types)
    kept, targets = places(parts, repeated, known, prefix)
    return [piece(part, count, repeated, kept, grid) for part, count in parts], targets


def chunks(statements: list) -> Iterator[list]:
    """Runs of statements."""
    for first in range(0, len(statements), MOST):
        yield statements[first:first + MOST]


class Place(NamedTuple):
    """Where a number is kept: an array, which part of it, and for how many iterations."""

    array: str
    slot: int
    points: int


def places(parts: Sequence[tuple[list, int]], repeated: list, types: dict[str, np.dtype],
           prefix: str) -> tuple[dict[str, Place], list[Target]]:
    """What later parts need of earlier ones, and where it is kept."""
    made = {s.name: (k, count) for k, (part, count) in enumerate(parts) for s in part if not isinstance(s, Store)}
    crossing: dict[str, int] = {}
    for k, (part, _) in enumerate(parts):
        for name in used(part):
            if name in made and made[name][0] < k:
                crossing[name] = made[name][1]
    kept: dict[str, Place] = {}
    sizes: dict[tuple[np.dtype, int], int] = {}
    for name, points in crossing.items():
        group = (types[name], points)
        kept[name] = Place(f"{prefix}{group[0].name}_{points}", sizes.get(group, 0), points)
        sizes[group] = kept[name].slot + 1
    return kept, [Target(f"{prefix}{dtype.name}_{points}", (count * points,), dtype)
                  for (dtype, points), count in sizes.items()]


def piece(part: list, points: int, repeated: list, kept: dict[str, Place], grid: str) -> Piece:
    """A part with what it loads from memory before, and what it stores there after."""
    outside = needed(repeated, used(part))
    own = {s.name for s in (*part, *outside) if not isinstance(s, Store)}
    inside: list[Statement] = []
    for name in dict.fromkeys(used(part)):
        if name in kept and name not in own:
            place = kept[name]
            if place.points == 1:
                outside.append(Load(name, place.array, combine((), place.slot)))
            else:
                inside.append(Load(name, place.array, combine([(1, variable(grid))], place.slot * place.points)))
    inside += part
    for s in part:
        if not isinstance(s, Store) and s.name in kept:
            place = kept[s.name]
            at = combine([(1, variable(grid))] if place.points > 1 else (), place.slot * place.points)
            inside.append(Store(place.array, at, s.name))
    return Piece(outside, inside, points)


def used(statements: Sequence[Statement]) -> Iterator[str]:
    """The names that statements read."""
    for s in statements:
        if isinstance(s, Assign):
            yield from (n for text in (s.spelling, *s.operands) for n in _NAME.findall(text))
        else:
            yield from s.position.variables()
            if isinstance(s, Store):
                yield from _NAME.findall(s.operand)


def needed(statements: list, names: Iterator[str]) -> list:
    """The statements on which some names hang."""
    wanted, out = set(names), []
    for s in reversed(statements):
        if s.name in wanted:
            wanted.update(used([s]))
            out.insert(0, s)
    return out


def inferred(statements: Sequence[Statement], types: dict[str, np.dtype]) -> dict[str, np.dtype]:
    """The types of all names: places are integers, parts of a sum have the type of what is added."""
    known = dict(types)
    for s in statements:
        if isinstance(s, Store) or s.name in known:
            continue
        of = [known[o] for o in s.operands if o in known] if isinstance(s, Assign) else []
        known[s.name] = of[0] if of else np.dtype(np.int64)
    return known
