"""Sums of pads as disjoint boxes: what gradients of slices and concatenations are, with one plain write per box.

    v = sum_k  sign_k * pad_k(a_k)        v(e) on a box = sum of the a_k whose pads cover the box

Each axis is cut where a pad begins or ends, so on every box the set of contributions is the same.
"""

from __future__ import annotations

import itertools
import weakref
from typing import NamedTuple

from symhess.graph.maps import affine_map, identity_maps, ravel_maps
from symhess.graph.node import Node
from symhess.plan.program import Write
from symhess.primitives.algebra import zeros
from symhess.primitives.elementwise import apply
from symhess.primitives.movement import SCATTER, index

Shape = tuple[int, ...]
Span = tuple[int, int]

#: more boxes than this, or than twice the number of terms, are not worth their code
MOST_BOXES = 64
#: more empty boxes than this are cleared by one fill of the whole array
MOST_EMPTY = 4


class Term(NamedTuple):
    """sign * value, spread by scatter maps (None: already over the whole array)."""

    value: Node
    maps: tuple | None
    sign: int


def terms_of_sum(node: Node) -> list[Term]:
    """The terms of a tree of additions, subtractions and signs whose leaves may be scatters."""
    out: list[Term] = []
    stack = [(node, 1)]
    while stack:
        v, sign = stack.pop()
        full = v.shape == node.shape and (v is node or has_scatter(v))
        if full and v.op.name in ("add", "sub"):
            stack.append((v.args[1], -sign if v.op.name == "sub" else sign))
            stack.append((v.args[0], sign))
        elif full and v.op.name == "neg":
            stack.append((v.args[0], -sign))
        else:
            out.append(Term(v.args[0], v.attrs.maps, sign) if v.op is SCATTER else Term(v, None, sign))
    return out


#: whether a node is a sum with a scatter in it; nodes never change, so neither do the answers
_known: weakref.WeakKeyDictionary[Node, bool] = weakref.WeakKeyDictionary()


def has_scatter(node: Node) -> bool:
    """True if a scatter is reached from `node` through additions, subtractions and signs alone."""
    stack = [node]
    while stack:
        v = stack[-1]
        if v in _known:
            stack.pop()
            continue
        terms = [a for a in v.args if a.shape == v.shape] if v.ndim and v.op.name in ("add", "sub", "neg") else []
        missing = [a for a in terms if a not in _known]
        if missing:
            stack += missing
        else:
            _known[v] = v.op is SCATTER or any(_known[a] for a in terms)
    return _known[node]


def spans(term: Term, shape: Shape) -> list[Span] | None:
    """The box of the target that a term covers, or None if it does not fill a box once."""
    if term.maps is None:
        return [(0, n) for n in shape]
    used = set()
    for m in term.maps:
        axis = m.single_axis
        if not m.is_affine or not (m.is_constant or axis is not None) or axis in used:
            return None
        if axis is not None:
            used.add(axis)
            if abs(m.strides[axis]) != 1:
                return None
    if any(n != 1 and d not in used for d, n in enumerate(term.value.shape)):
        return None
    return [(m.bounds[0], m.bounds[1] + 1) for m in term.maps]


def restricted(term: Term, corner: Shape, box: Shape) -> Node:
    """The contribution of a term to the box that begins at `corner`."""
    if term.maps is None:
        maps = [affine_map(box, c if n > 1 else 0, {d: 1} if n > 1 else {})
                for d, (c, n) in enumerate(zip(corner, term.value.shape))]
        return index(term.value, maps, box) if term.value.ndim else index(term.value, (), box)
    maps = [affine_map(box, 0, {}) for _ in term.value.shape]
    for a, m in enumerate(term.maps):
        d = m.single_axis
        if d is not None:  # m(e) = offset + s e_d, so e_d = s (target - offset)
            s = m.strides[d]
            maps[d] = affine_map(box, s * (corner[a] - m.offset), {a: s})
    return index(term.value, maps, box)


def total(terms: list[Term], corner: Shape, box: Shape) -> Node:
    """The sum of all contributions on one box."""
    parts = [(restricted(t, corner, box), t.sign) for t in terms]
    parts.sort(key=lambda p: -p[1])
    out, sign = parts[0]
    out = out if sign > 0 else apply("neg", out)
    for part, sign in parts[1:]:
        out = apply("add" if sign > 0 else "sub", out, part)
    return out


def writes_of_sum(node: Node) -> tuple[tuple[Write, ...], bool]:
    """The writes that fill an array with `node`, and whether it has to be cleared first."""
    terms = terms_of_sum(node)
    covers = {t: spans(t, node.shape) for t in terms}
    boxed = [t for t in terms if covers[t] is not None]
    rest = [t for t in terms if covers[t] is None]
    cuts = [sorted({0, n, *(e for t in boxed for e in covers[t][d])}) for d, n in enumerate(node.shape)]
    cells = 1
    for c in cuts:
        cells *= max(len(c) - 1, 0)
    if cells > max(MOST_BOXES, 2 * len(boxed)):
        boxed, rest = [t for t in boxed if t.maps is None], [t for t in terms if t.maps is not None]
        cuts = [[0, n] for n in node.shape]
    writes, empty = _box_writes(node, boxed, covers, cuts)
    adding = [w for t in rest for w in _adding(t, node)]
    if len(empty) > MOST_EMPTY or (empty and rest):
        return (*writes, *adding), True
    return (*writes, *empty, *adding), False


def _box_writes(node: Node, boxed: list[Term], covers: dict, cuts: list) -> tuple[list[Write], list[Write]]:
    """A write for every box that some term covers, and a zero for every other one."""
    writes, empty = [], []
    for cell in itertools.product(*(list(itertools.pairwise(c)) for c in cuts)):
        active = [t for t in boxed if all(a <= lo and hi <= b for (a, b), (lo, hi) in zip(covers[t], cell))]
        corner, box = tuple(lo for lo, _ in cell), tuple(hi - lo for lo, hi in cell)
        coordinates = [m.shifted(c) for m, c in zip(identity_maps(box), corner)]
        position = ravel_maps(coordinates, node.shape, box)
        if active:
            writes.append(Write(total(active, corner, box), position))
        else:
            empty.append(Write(zeros(box, node.dtype), position))
    return writes, empty


def _adding(term: Term, node: Node) -> list[Write]:
    value = term.value if term.sign > 0 else apply("neg", term.value)
    return [Write(value, ravel_maps(term.maps, node.shape, value.shape), accumulate=True)]
