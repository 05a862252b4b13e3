"""Contractions rewritten where that is cheaper: sums inside of them multiplied out, or half of the entries left out.

    sum_s c(s, i) (a(s, j) + b(j))  =  sum_s c(s, i) a(s, j)  +  (sum_s c(s, i)) b(j)

Common factors are pulled out of sums of Terms as they arise, which usually saves work; but a summand that does not
carry the summed axis is better left outside: the other part may be a symmetric product, at half the work.

Of a block on the diagonal only the lower half is needed, which is no matrix product any more, unless there are other
axes:  sum_s a(s, i) a(s, j) c(s, p, q)  over the pairs i >= j is one with the rows (i, j) and the columns (p, q). Where
the pairs are many, it is cut into bands of rows i instead, each a product with the columns j up to its end.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import replace

from symhess.graph.node import Node
from symhess.plan.contraction import THIN, lower_contractions
from symhess.plan.cost import cost_of
from symhess.primitives import apply, reshape
from symhess.structure.hessian import HessianTerm, lower_half
from symhess.structure.term import Factor, Term, coefficient, multiplied

#: contractions of fewer flops are left as they are
WORTH_A_LOOK = 1e6
#: multiplying out must save at least this share
GAIN = 0.8
_known: weakref.WeakKeyDictionary[Node, float] = weakref.WeakKeyDictionary()


def distributed(terms: Sequence[HessianTerm]) -> list[HessianTerm]:
    """The Terms, some of them split in two."""
    return [piece for t in terms for piece in _cheaper(t)]


def _cheaper(t: HessianTerm) -> list[HessianTerm]:
    if not t.term.sums:
        return [t]
    whole = _flops([t.term])
    if whole < WORTH_A_LOOK:
        return [t]
    half = lower_half(t)
    if half and math.prod(half[0].term.shape[1:]) >= THIN and sum(_flops([h.term]) for h in half) < GAIN * whole:
        return [piece for h in half for piece in _cheaper(h)]
    for parts in _ways_to_split(t.term):
        if _flops(parts) < GAIN * whole:
            return [piece for p in parts for piece in _cheaper(replace(t, term=p))]
    return [t]


def _flops(terms: Sequence[Term]) -> float:
    """What the coefficients take to compute; that of a single one is asked for again and again."""
    first, *others = [coefficient(t) for t in terms]
    if others:
        return cost_of(lower_contractions([first, *others])).flops
    if first not in _known:
        _known[first] = cost_of(lower_contractions([first])).flops
    return _known[first]


def _ways_to_split(term: Term) -> list[list[Term]]:
    """For each factor that is a sum, with a summand that carries fewer summed axes: the two Terms."""
    ways = []
    for f in term.factors:
        if f.node.op.name in ("add", "sub") and any(a < 0 for a in f.axes):
            first, second = (_narrow(a, f.axes) for a in f.node.args)
            if first.axes != second.axes:
                ways.append([_with(term, f, first, False), _with(term, f, second, f.node.op.name == "sub")])
    return ways


def _narrow(node: Node, axes: tuple[int, ...]) -> Factor:
    """A summand with only the axes that it carries."""
    if node.ndim == 0:
        return Factor(node, ())
    kept = tuple(a for a, n in zip(axes, node.shape) if n != 1)
    return Factor(reshape(node, [n for n in node.shape if n != 1]), kept)


def _with(term: Term, old: Factor, new: Factor, negative: bool) -> Term:
    rest = tuple(f for f in term.factors if f is not old)
    node = apply("neg", new.node) if negative else new.node
    return multiplied(replace(term, factors=rest), node, new.axes)
