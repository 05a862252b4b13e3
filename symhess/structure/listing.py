"""Many small Terms as one: the bound on the number of Terms of a tangent.

A Term costs time while compiling, whatever its size, and every operation that a tangent passes may double the number
of its Terms. What they are worth is their size: a large Term saves index arithmetic and keeps a product in factors.
So where a tangent has more than MANY Terms, and these are small or lie on top of each other, their coefficients are
added up into one vector with a place for each entry that any of them has and no constant makes zero. No entry is added
to the pattern, no more is stored than before, and the work per operation is again that of one Term:

    J[rows_t(e), cols_t(e)] += c_t(e), t = 1, 2, ...      becomes      J[row(k), col(k)] += c(k)

Where these entries are all there can be, the active columns times the elements of v, the one Term is a dense block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from symhess.graph.maps import identity_maps, ranked, ravel_maps, table_map, unravel_map
from symhess.graph.node import Node
from symhess.primitives import apply, broadcast_to, reshape, scatter, stack
from symhess.structure.term import ScalarTangent, Tangent, Term, coefficient, multiplied, without_zeros

Shape = tuple[int, ...]
#: a tangent may have this many Terms whatever they are
MANY = 16
#: beyond, Terms of no more entries than this on average become one
SMALL = 64
#: or those whose entries coincide this many times on average, up to as many entries as are looked at
COINCIDE, LOOKED_AT = 2, 4_000_000


@dataclass(frozen=True)
class Listed:
    """What became of one tangent, for people: where, how many Terms it had, and the entries of the one it has."""

    source: str | None
    terms: int
    entries: int
    dense: bool


class Unstructured(Exception):
    """The Terms of a function cost more to compile than their structure can be worth."""


@dataclass
class Account:
    """What a propagation has come to: the Terms that its rules made, and the tangents whose Terms became one.

    `patience` Terms are always made. What comes then is asked of `gives_up`: whether dense columns are a way out.
    """

    patience: float = math.inf
    gives_up: Callable[[], bool] = lambda: False
    made: int = 0
    listed: list[Listed] = field(default_factory=list)

    def spend(self, terms: int) -> None:
        """Count Terms; raises Unstructured where these are too many."""
        self.made += terms
        if self.made > self.patience:
            if self.gives_up():
                raise Unstructured(f"more than {self.patience:,} Terms were made on the way")
            self.patience = math.inf


def listed(tangent: Tangent | ScalarTangent, node: Node, told: list[Listed], final: bool = False) -> Tangent:
    """The tangent of `node` with few Terms; single entries stay as they are in a `final` one."""
    if isinstance(tangent, ScalarTangent) or len(tangent.terms) <= MANY:
        return tangent
    left = [t for t in tangent.terms if final and not t.shape]
    terms = [slim for t in tangent.terms if not (final and not t.shape)
             for slim in [without_zeros(t, 0.0)] if math.prod(slim.shape)]
    total = sum(math.prod(t.shape) for t in terms)
    if len(terms) <= MANY or total > LOOKED_AT:
        return tangent
    columns, keys = _keys(terms, tangent.shape)
    places, inverse = ranked(np.concatenate(keys))
    if total > SMALL * len(terms) and total < COINCIDE * len(places):
        return tangent
    one = _as_one(terms, tangent.shape, columns, places, inverse)
    told.append(Listed(node.source, len(terms), len(places), len(places) == len(columns) * math.prod(tangent.shape)))
    return Tangent(tangent.shape, (*left, one))


def _keys(terms: Sequence[Term], shape: Shape) -> tuple[np.ndarray, list[np.ndarray]]:
    """The active columns, and for each Term column * size + row of all its entries."""
    cols = [t.cols.values().ravel() for t in terms]
    rows = [ravel_maps(t.rows, shape, t.shape).values().ravel() for t in terms]
    columns, numbers = ranked(np.concatenate(cols))
    ends = np.cumsum([len(c) for c in cols])
    return columns, [k * math.prod(shape) + r for k, r in zip(np.split(numbers, ends[:-1]), rows)]


def _as_one(terms: Sequence[Term], shape: Shape, columns: np.ndarray, places: np.ndarray, inverse: np.ndarray) -> Term:
    value = _total(terms, inverse.ravel(), len(places))
    size = math.prod(shape)
    if len(places) == len(columns) * size:
        box = (len(columns), *shape)
        value, rows = reshape(value, box), identity_maps(box)[1:]
        cols = table_map(columns.reshape(-1, *(1,) * len(shape)), box)
    else:
        box = (len(places),)
        rows = unravel_map(table_map(places % size, box), shape)
        cols = table_map(columns[places // size], box)
    return multiplied(Term(box, (), (), tuple(rows), cols, terms[0].dtype), value, range(len(box)))


def _total(terms: Sequence[Term], inverse: np.ndarray, count: int) -> Node:
    """The coefficients of all Terms added up in a vector; numbers are stacked first."""
    ends = np.cumsum([math.prod(t.shape) for t in terms])
    targets = np.split(inverse, ends[:-1])
    numbers = [k for k, t in enumerate(terms) if not t.shape]
    total: Node | None = None
    pieces = [(broadcast_to(coefficient(t), t.shape), target.reshape(t.shape))
              for t, target in zip(terms, targets) if t.shape]
    if numbers:
        pieces.append((stack([coefficient(terms[k]) for k in numbers]), np.concatenate([targets[k] for k in numbers])))
    for value, target in pieces:
        part = scatter(value, (table_map(target, value.shape),), (count,))
        total = part if total is None else apply("add", total, part)
    return total
