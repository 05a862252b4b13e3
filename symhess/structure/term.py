"""Terms and tangents: a Jacobian as a short list of products of arrays at positions given by index maps.

    Tangent = (shape of v, Term*)
    Term    = (shape E, factors, sums S, rows, cols)

    J[rows(e), cols(e)] += sum_{s in S}  prod_k  factor_k(e, s)      for every entry e of the box E

`rows` has one index map per axis of v, `cols` indexes the flat concatenation of all differentiated inputs. A factor
is a node with one axis label per axis: labels 0, 1, ... are entry axes, -1, -2, ... are summed axes. A factor that
does not depend on an axis does not carry it, so nothing is ever repeated. A factor of dtype bool is a mask: where it
is false the product is 0 whatever the other factors are (0 * inf does not occur).
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.maps import IndexMap, axis_map, constant_map, identity_maps, table_map
from symhess.graph.node import Node, constant, scalar_value
from symhess.primitives import apply, contract, index, is_zero, reshape, scale
from symhess.primitives.contraction import align, is_finite

Shape = tuple[int, ...]
#: from this share of zeros on, a constant matrix is taken as sparse
MOSTLY_ZERO = 0.75
#: gathers from constants are looked into for zeros up to this many elements
LISTED_LIMIT = 4_000_000
#: how a factor's axis is reached: an axis label, or an index map over the entry box
Access = int | IndexMap


class Factor(NamedTuple):
    """A node and the label of each of its axes: entry axes 0, 1, ..., summed axes -1, -2, ..."""

    node: Node
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """One product of factors; see the module docstring."""

    shape: Shape
    factors: tuple[Factor, ...]
    sums: Shape
    rows: tuple[IndexMap, ...]
    cols: IndexMap
    dtype: np.dtype

    def size_of(self, axis: int) -> int:
        return self.shape[axis] if axis >= 0 else self.sums[-axis - 1]

    @property
    def key(self) -> tuple:
        """Terms with equal keys put their coefficients at the same places."""
        return self.shape, self.rows, self.cols

    def __str__(self) -> str:
        product = " * ".join(f"{f.node.op.name}#{f.node.serial}{list(f.axes)}" for f in self.factors) or "1"
        total = f"sum{list(self.sums)} " if self.sums else ""
        return f"E{list(self.shape)}: J[{', '.join(map(str, self.rows))}; {self.cols}] += {total}{product}"


@dataclass(frozen=True)
class Tangent:
    """The Jacobian of one node of `shape` with respect to all differentiated inputs: a sum of Terms."""

    shape: Shape
    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.terms)) or "0"

    def dense(self, n_cols: int, known: dict[Node, np.ndarray]) -> np.ndarray:
        """The Jacobian as an array of shape v.shape + (n_cols,), for given values of the inputs."""
        out = np.zeros((*self.shape, n_cols))
        for term, value in zip(self.terms, evaluate_nodes([coefficient(t) for t in self.terms], known)):
            np.add.at(out, (*(r.values() for r in term.rows), term.cols.values()), value)
        return out


class ScalarTangent:
    """The gradient of one number as a dict column -> coefficient: the tangent of rank-0 nodes in scalar code."""

    shape: Shape = ()

    def __init__(self, coefficients: dict[int, Node]):
        self.coefficients = coefficients

    @functools.cached_property
    def terms(self) -> tuple[Term, ...]:
        return tuple(Term((), () if scalar_value(c) == 1 else (Factor(c, ()),), (), (), constant_map((), col), c.dtype)
                     for col, c in self.coefficients.items())

    __str__ = Tangent.__str__
    dense = Tangent.dense


def as_scalar(tangent: Tangent) -> Tangent | ScalarTangent:
    """The tangent of a rank-0 node as a dict, where every Term is a single entry."""
    if tangent.shape or any(t.shape for t in tangent.terms):
        return tangent
    return ScalarTangent({t.cols.offset: coefficient(t) for t in tangent.terms})


# -- building and multiplying --------------------------------------------------------------------------------------


def identity_term(v: Node, first_column: int) -> Term:
    """The tangent of an input whose elements are columns first_column, first_column + 1, ..."""
    rows = identity_maps(v.shape)
    cols = index_of_columns(v.shape, first_column)
    return normalized(Term(v.shape, (), (), rows, cols, v.dtype))


def index_of_columns(shape: Shape, first: int) -> IndexMap:
    from symhess.graph.maps import ravel_maps

    return ravel_maps(identity_maps(shape), shape, shape).shifted(first)


def multiplied(term: Term, node: Node, accesses: Sequence[Access]) -> Term:
    """term * node[accesses(e)]; one access per axis of the node (size-1 axes may use any)."""
    if scalar_value(node) == 1:
        return term
    factor = gathered(node, accesses, term.shape, term.sums)
    if factor.axes == () and factor.node.op.name == "constant" and factor.node.dtype != np.bool_:
        return _with_scalar(term, factor.node)
    return replace(term, factors=(*term.factors, factor))


def _with_scalar(term: Term, c: Node) -> Term:
    """Constants are collected into at most one rank-0 factor, which disappears when it is 1."""
    rest = tuple(f for f in term.factors if not _is_number(f))
    for f in term.factors:
        if _is_number(f):
            c = apply("mul", f.node, c)
    return replace(term, factors=rest if scalar_value(c) == 1 else (*rest, Factor(c, ())))


def _is_number(f: Factor) -> bool:
    return not f.axes and f.node.op.name == "constant" and f.node.dtype != np.bool_


def gathered(node: Node, accesses: Sequence[Access], shape: Shape, sums: Shape) -> Factor:
    """The factor node[accesses]: relabelled where every access is a plain axis, an index node otherwise."""
    keep = [d for d, n in enumerate(node.shape) if n != 1]
    if len(keep) != node.ndim:
        node = reshape(node, [node.shape[d] for d in keep])
    accesses = [_as_axis(accesses[d], n) for d, n in zip(keep, node.shape)]
    if all(isinstance(a, int) for a in accesses) and len(set(accesses)) == len(accesses):
        return Factor(node, tuple(accesses))
    used: set[int] = set()
    for a in accesses:
        used |= {a} if isinstance(a, int) else a.depends
    axes = sorted(a for a in used if a >= 0) + sorted((a for a in used if a < 0), reverse=True)
    box = tuple(shape[a] if a >= 0 else sums[-a - 1] for a in axes)
    maps = [_restricted(a, axes, box, len(shape)) for a in accesses]
    return Factor(index(node, maps, box), tuple(axes))


def _as_axis(access: Access, size: int) -> Access:
    """An index map that is one whole entry axis becomes that axis."""
    if isinstance(access, IndexMap) and len(access.depends) == 1:
        (axis,) = access.depends
        if access.is_axis(axis, size):
            return axis
    return access


def _restricted(access: Access, axes: list[int], box: Shape, n_entry: int) -> IndexMap:
    """An access as a map over the box of only the listed axes."""
    if isinstance(access, int):
        return axis_map(box, axes.index(access))
    m = access.dropped([a for a in range(n_entry) if a not in axes])
    for k, a in enumerate(axes):
        if a < 0:
            m = m.inserted(k, box[k])
    return m


# -- changing the entry box ----------------------------------------------------------------------------------------


def reindexed(term: Term, maps: Sequence[IndexMap], shape: Shape) -> Term:
    """Substitute e = maps(e') with e' in the new entry box `shape`."""
    def moved(f: Factor) -> Factor:
        return gathered(f.node, [maps[a] if a >= 0 else a for a in f.axes], shape, term.sums)

    rows = tuple(r.compose(maps, shape) for r in term.rows)
    cols = term.cols.compose(maps, shape)
    return Term(shape, tuple(map(moved, term.factors)), term.sums, rows, cols, term.dtype)


def with_entry_axis(term: Term, size: int) -> tuple[Term, int]:
    """Add an entry axis on which nothing depends yet, at the end; its number is returned."""
    axis = len(term.shape)
    rows = tuple(r.inserted(axis, size) for r in term.rows)
    return replace(term, shape=(*term.shape, size), rows=rows, cols=term.cols.inserted(axis, size)), axis


def with_summed_axis(term: Term, size: int) -> tuple[Term, int]:
    """Add a summed axis; its label (a negative number) is returned."""
    return replace(term, sums=(*term.sums, size)), -len(term.sums) - 1


def permuted(term: Term, order: Sequence[int]) -> Term:
    """The same term with its entry axes in another order."""
    place = {old: new for new, old in enumerate(order)}
    factors = tuple(Factor(f.node, tuple(place.get(a, a) for a in f.axes)) for f in term.factors)
    return Term(tuple(term.shape[a] for a in order), factors, term.sums,
                tuple(r.permuted(order) for r in term.rows), term.cols.permuted(order), term.dtype)


def normalized(term: Term) -> Term:
    """Size-1 entry axes dropped, idle entry axes summed, axes in canonical order, lone sums carried out.

    Constant matrices that are mostly zero (difference operators, incidence matrices) leave only their non-zeros.
    """
    return _ordered(_without_lone_sums(_compressed(without_zeros(term, MOSTLY_ZERO, 2))))


def _compressed(term: Term) -> Term:
    """An entry axis on which neither rows nor cols depend is summed out; one of size 1 disappears."""
    used = frozenset().union(term.cols.depends, *(r.depends for r in term.rows))
    gone = [a for a in range(len(term.shape)) if a not in used]
    if not gone:
        return term
    sums, label = list(term.sums), {}
    for a in gone:
        if term.shape[a] != 1:
            sums.append(term.shape[a])
            label[a] = -len(sums)
    for new, old in enumerate(a for a in range(len(term.shape)) if a not in gone):
        label[old] = new
    factors = tuple(Factor(f.node, tuple(label.get(a, a) for a in f.axes)) for f in term.factors)
    shape = tuple(n for a, n in enumerate(term.shape) if a not in gone)
    rows = tuple(r.dropped(gone) for r in term.rows)
    return Term(shape, factors, tuple(sums), rows, term.cols.dropped(gone), term.dtype)


def _without_lone_sums(term: Term) -> Term:
    """A summed axis that no factor carries multiplies by its size."""
    if not term.sums:
        return term
    carried = {a for f in term.factors for a in f.axes}
    lone = [a for a in range(-len(term.sums), 0) if a not in carried]
    if not lone:
        return term
    count = int(np.prod([term.size_of(a) for a in lone], dtype=np.int64))
    kept = [a for a in range(-1, -len(term.sums) - 1, -1) if a not in lone]
    label = {a: -k - 1 for k, a in enumerate(kept)}
    factors = tuple(Factor(f.node, tuple(label.get(a, a) for a in f.axes)) for f in term.factors)
    fewer = replace(term, factors=factors, sums=tuple(term.size_of(a) for a in kept))
    return _with_scalar(fewer, constant(count, term.dtype))


def _ordered(term: Term) -> Term:
    """Entry axes sorted by what they mean for rows and cols, so that equal structure looks equal."""
    maps = (*term.rows, term.cols)

    def meaning(axis: int) -> tuple:
        first = next(k for k, m in enumerate(maps) if axis in m.depends)
        return first, tuple((axis in m.depends, -m.strides[axis]) for m in maps), term.shape[axis]

    order = sorted(range(len(term.shape)), key=meaning)
    return term if order == list(range(len(order))) else permuted(term, order)


# -- coefficients --------------------------------------------------------------------------------------------------


def coefficient(term: Term) -> Node:
    """The coefficient as one node over the entry box (repeated along axes that no factor carries)."""
    return product(term.factors, tuple(range(len(term.shape))), term)


def product(factors: Sequence[Factor], output: tuple[int, ...], term: Term) -> Node:
    """The product of some factors of `term`, summed over their summed axes, as a node over `output` axes."""
    sizes = {a: term.size_of(a) for f in factors for a in f.axes}
    sizes.update({a: term.size_of(a) for a in output})
    factors = _masked(factors, term.dtype) or [Factor(constant(1, term.dtype), ())]
    return contract(factors, output, sizes)


def _masked(factors: Sequence[Factor], dtype: np.dtype) -> list[Factor]:
    """Turn masks into one select around the product of all factors that live on the masks' axes, and into selects of
    the factors with more axes."""
    masks = [f for f in factors if f.node.dtype == np.bool_]
    plain = [f for f in factors if f.node.dtype != np.bool_]
    if not masks:
        return plain
    axes = tuple(sorted({a for f in masks for a in f.axes}))
    inside = [f for f in plain if set(f.axes) <= set(axes)]
    condition = aligned(masks[0], axes)
    for f in masks[1:]:
        condition = apply("logical_and", condition, aligned(f, axes))
    value = constant(1, dtype)
    for f in inside:
        value = scale(value, aligned(f, axes))
    selected = apply("where", condition, value, constant(0, dtype))
    kept = tuple(a for a, n in zip(axes, selected.shape) if n != 1)
    selected = reshape(selected, [n for n in selected.shape if n != 1])
    return [Factor(selected, kept), *(_without_untaken(f, masks) for f in plain if f not in inside)]


def _without_untaken(f: Factor, masks: Sequence[Factor]) -> Factor:
    """The factor with zeros where a mask is false whose axes it has, so that 0 * inf does not occur."""
    if is_finite(f.node):
        return f
    for m in masks:
        if set(m.axes) <= set(f.axes):
            f = f._replace(node=apply("where", aligned(m, f.axes), f.node, constant(0, f.node.dtype)))
    return f


def aligned(f: Factor, axes: Sequence[int]) -> Node:
    """The factor's node with one axis per listed label, size 1 where it does not carry it."""
    return f.node if f.node.ndim == 0 else align(f.node, f.axes, tuple(axes))


# -- sums of terms -------------------------------------------------------------------------------------------------


def merged(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Add up the terms that share their places, pulling out the factors that they have in common."""
    groups: dict[tuple, list[Term]] = {}
    for t in terms:
        if 0 not in t.shape:
            groups.setdefault(t.key, []).append(t)
    found = [ts[0] if len(ts) == 1 else _sum_of(ts) for ts in groups.values()]
    return tuple(t for t in found if not any(f.node.dtype != np.bool_ and is_zero(f.node) for f in t.factors))


def _sum_of(terms: list[Term]) -> Term:
    """c r_1 + c r_2 + ... = c (r_1 + r_2 + ...), with c all common factors that carry no summed axis."""
    shared = functools.reduce(operator.and_, (Counter(t.factors) for t in terms))
    common = [f for f in shared.elements() if not _is_number(f) and all(a >= 0 for a in f.axes)]
    rests = [_without(t.factors, common) for t in terms]
    axes = tuple(sorted({a for rest in rests for f in rest for a in f.axes if a >= 0}))
    total: Node | None = None
    for t, rest in zip(terms, rests):
        carried = tuple(a for a in axes if any(a in f.axes for f in rest))
        part = aligned(Factor(product(rest, carried, t), carried), axes)
        total = part if total is None else apply("add", total, part)
    base = replace(terms[0], factors=tuple(common), sums=())
    return multiplied(base, total, axes)


def _without(factors: tuple[Factor, ...], common: list[Factor]) -> list[Factor]:
    rest = list(factors)
    for f in common:
        rest.remove(f)
    return rest


def without_zeros(term: Term, share: float, rank: int = 1) -> Term:
    """Drop the entries at which a constant factor of at least `rank` axes is zero, where at least a `share` is.

    A factor that carries summed axes is zero where it is so for all that is summed.
    """
    for f in term.factors:
        values = _constant_values(f.node) if len(f.axes) >= rank and max(f.axes) >= 0 else None
        if values is None:
            continue
        axes = [a for a in f.axes if a >= 0]
        stays = values.any(axis=tuple(k for k, a in enumerate(f.axes) if a < 0))
        if np.count_nonzero(stays) > (1 - share) * stays.size or stays.all():
            continue
        picked = np.nonzero(stays)
        others = [a for a in range(len(term.shape)) if a not in axes]
        shape = (len(picked[0]), *(term.shape[a] for a in others))
        listed = {a: table_map(p.reshape(-1, *(1,) * len(others)), shape) for a, p in zip(axes, picked)}
        maps = [listed[a] if a in listed else axis_map(shape, 1 + others.index(a)) for a in range(len(term.shape))]
        if not len(picked[0]):  # nothing is left, not even of the other factors
            return reindexed(replace(term, factors=(), sums=()), maps, shape)
        if len(axes) < len(f.axes):
            return without_zeros(reindexed(term, maps, shape), share, rank)
        rest = reindexed(replace(term, factors=tuple(g for g in term.factors if g is not f)), maps, shape)
        if values.dtype != np.bool_:
            rest = multiplied(rest, constant(values[picked]), [0])
        return without_zeros(rest, share, rank)
    return term


def _constant_values(node: Node) -> np.ndarray | None:
    """The values of a constant, or of a not too large gather from one."""
    if node.op.name == "constant":
        return node.attrs.array
    if node.op.name == "index" and node.args[0].op.name == "constant" and node.size <= LISTED_LIMIT:
        return evaluate_nodes([node], {})[0]
    return None


# -- parts of terms ------------------------------------------------------------------------------------------------


def within_columns(term: Term, first: int, end: int) -> Term | None:
    """The entries with first <= cols < end, or None if there are none."""
    low, high = term.cols.bounds
    if high < first or low >= end or low > high:
        return None
    if first <= low and high < end:
        return term
    cols = term.cols.compact
    idle = [a for a, n in enumerate(cols.shape) if n == 1]
    picked = np.nonzero(((cols >= first) & (cols < end)).squeeze(tuple(idle)))
    shape = (len(picked[0]), *(term.shape[a] for a in idle))
    axes = dict(zip((a for a in range(cols.ndim) if a not in idle), picked))
    maps = [table_map(axes[a].reshape(-1, *(1,) * len(idle)), shape) if a in axes else
            axis_map(shape, 1 + idle.index(a)) for a in range(cols.ndim)]
    return normalized(reindexed(term, maps, shape)) if shape[0] else None
