"""Tangents through operations along one axis of an array: running sums, recurrences, Fourier transforms.

    u[.., i, ..] = sum_k M[.., i, k, ..] v[.., k, ..]

Where the axis is free in a Term, that is, no other row and no column moves along with it, the operation acts on the
Term's coefficient and its cost is that of the operation. Elsewhere coef *= M[.., i, rows, ..], with a new entry axis i.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from symhess.graph.maps import IndexMap, axis_map, constant_map, identity_maps
from symhess.graph.node import Node, constant
from symhess.primitives import apply, broadcast_to, cumsum, index, recurrence, reshape, scatter
from symhess.primitives.fourier import dft, dft_matrix
from symhess.structure.term import Term, coefficient, merged, multiplied, permuted, with_entry_axis


def spread(t: Term, spans: dict[int, tuple[int, int]]) -> Term | None:
    """The Term with its rows on some axes d of v as whole entry axes, the last ones, over `spans[d]` = (first, end),
    and with one factor; None where another row or a column moves along with them."""
    own = frozenset().union(*(t.rows[d].depends for d in spans))
    others = frozenset().union(t.cols.depends, *(m.depends for d, m in enumerate(t.rows) if d not in spans))
    if own & others:
        return None
    kept = [a for a in range(len(t.shape)) if a not in own]
    k, sizes = len(kept), [end - first for first, end in spans.values()]
    box = (*(t.shape[a] for a in kept), *sizes)
    places = [t.rows[d].shifted(-first) for d, (first, _) in spans.items()]
    packed = scatter(coefficient(t), (*(axis_map(t.shape, a) for a in kept), *places), box)

    def moved(m: IndexMap) -> IndexMap:
        m = m.dropped(sorted(own))
        for j, n in enumerate(sizes):
            m = m.inserted(k + j, n)
        return m

    rows = list(map(moved, (constant_map(t.shape) if d in spans else m for d, m in enumerate(t.rows))))
    for j, (d, (first, _)) in enumerate(spans.items()):
        rows[d] = axis_map(box, k + j).shifted(first)
    return multiplied(Term(box, (), (), tuple(rows), moved(t.cols), t.dtype), packed, range(len(box)))


def with_coefficient(t: Term, node: Node) -> Term:
    """The Term with one factor over its whole box."""
    return multiplied(replace(t, factors=(), sums=()), node, range(len(t.shape)))


def _on_new_axis(t: Term, d: int, n: int) -> tuple[Term, IndexMap, int]:
    """The Term with a new entry axis as its row on axis d of v; the row that it had, and the axis."""
    t, i = with_entry_axis(t, n)
    had = t.rows[d]
    return replace(t, rows=tuple(axis_map(t.shape, i) if a == d else m for a, m in enumerate(t.rows))), had, i


def _reached(t: Term, had: IndexMap, i: int, backwards: bool) -> Term:
    """Only the entries with row i at or after the row that the Term had (before it, if backwards)."""
    along = constant(np.arange(t.shape[i]).reshape([-1 if a == i else 1 for a in range(len(t.shape))]))
    here = constant(had.compact)
    mask = apply("less_equal", along, here) if backwards else apply("less_equal", here, along)
    return multiplied(t, mask, identity_maps(t.shape))


def _reach(t: Term, d: int, n: int, backwards: bool) -> dict[int, tuple[int, int]]:
    """The rows on axis d, of n, that a running operation makes of those of the Term: to the end, or to the start."""
    low, high = t.rows[d].bounds
    return {d: (0, high + 1) if backwards else (low, n)}


def _each(terms: Sequence[Term], spread_out: Callable[[Term], Term | None], free: Callable[[Term], Term],
          bound: Callable[[Term], Term]) -> list[Term]:
    """Spread Terms are added up before the operation is done to them, once for all that share their places."""
    found = [(t, spread_out(t)) for t in terms]
    return [*map(free, merged([s for _, s in found if s is not None])), *(bound(t) for t, s in found if s is None)]


def summed(terms: Sequence[Term], node: Node) -> list[Term]:
    """u_i = sum_{k <= i} v_k:  the running sums of coef, or entries (i, e) with i >= rows(e)."""
    axis, reverse = node.attrs

    def bound(t: Term) -> Term:
        return _reached(*_on_new_axis(t, axis, node.shape[axis]), reverse)

    return _each(terms, lambda t: spread(t, _reach(t, axis, node.shape[axis], reverse)),
                 lambda t: with_coefficient(t, cumsum(coefficient(t), len(t.shape) - 1, reverse)), bound)


def recurred(terms: Sequence[Term], node: Node) -> list[Term]:
    """s_i = b_i + a_i s_{i-1}:  the recurrence of coef, or  coef *= M[i, rows], with M that of unit vectors."""
    a, (axis, transposed) = node.args[0], node.attrs
    d, n = axis + node.ndim, node.shape[axis]
    lead = node.ndim - a.ndim

    def free(t: Term) -> Term:
        own = len(t.shape) - 1  # of one row, if that is all that is reached: then no row depends on it
        lanes = frozenset([own]).union(*(t.rows[k].depends for k in range(lead, node.ndim)))
        idle = [e for e in range(len(t.shape)) if e not in lanes]
        t = permuted(t, [*idle, *sorted(lanes)])  # a is repeated along axes in front only
        box = t.shape[len(idle):]
        by = index(a, [r.dropped(range(len(idle))) for r in t.rows[lead:]], box)
        return with_coefficient(t, recurrence(by, coefficient(t), -1, transposed))

    def bound(t: Term) -> Term:
        t, had, i = _on_new_axis(t, d, n)
        t = _reached(t, had, i, transposed)
        unit = reshape(constant(np.eye(n), node.dtype), [n, *(n if k == d else 1 for k in range(lead, node.ndim))])
        matrix = recurrence(a, broadcast_to(unit, (n, *a.shape)), axis, transposed)
        return multiplied(t, matrix, [had, *t.rows[lead:]])

    return _each(terms, lambda t: spread(t, _reach(t, d, n, transposed)), free, bound)


def transformed(terms: Sequence[Term], node: Node, limit: int) -> list[Term] | None:
    """u[k, c] = sum_jd M[k, c, j, d] v[j, d] for a Fourier transform; None where its matrix would be larger than
    `limit`."""
    n, spans = node.shape[-2], {node.ndim - 2: (0, node.shape[-2]), node.ndim - 1: (0, 2)}
    if n > limit and any(spread(t, spans) is None for t in terms):
        return None

    def bound(t: Term) -> Term:
        t, k = with_entry_axis(t, n)
        t, c = with_entry_axis(t, 2)
        t = multiplied(t, dft_matrix(n, node.attrs, node.dtype), [k, c, *t.rows[-2:]])
        return replace(t, rows=(*t.rows[:-2], axis_map(t.shape, k), axis_map(t.shape, c)))

    return _each(terms, lambda t: spread(t, spans),
                 lambda t: with_coefficient(t, dft(coefficient(t), node.attrs)), bound)
