"""Propagation of structured tangents through a graph: one short rule per family of primitives.

    elementwise   coef *= (du/dv)[rows]
    index         pairs of entries that meet (see `join`)
    scatter       rows = maps[rows]
    reshape       rows relabelled, entry axes split where needed
    sum           rows dropped; idle entry axes become summed axes
    contract      coef *= the other operands, rows relabelled
    cumsum, recurrence, dft    the operation on coef where its axis is free, its matrix elsewhere (see `along`)
    all else      the tangent goes through the primitive's own jvp graph; linear solves and the like see it densely
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from symhess.differentiate import batch
from symhess.errors import NotDifferentiable
from symhess.graph.maps import (
    IndexMap,
    axis_map,
    constant_map,
    identity_maps,
    ravel_maps,
    table_map,
    unravel_map,
)
from symhess.graph.node import Node, input_node, topological
from symhess.primitives import Elementwise, apply, cast, is_zero, scale, scatter, zeros
from symhess.primitives.contraction import label_sizes
from symhess.primitives.elementwise import select_branch
from symhess.primitives.recurrences import drive
from symhess.structure import along
from symhess.structure.join import join
from symhess.structure.listing import Account, listed
from symhess.structure.term import (
    ScalarTangent,
    Tangent,
    Term,
    as_scalar,
    coefficient,
    identity_term,
    merged,
    multiplied,
    normalized,
    reindexed,
    with_entry_axis,
    with_summed_axis,
)

Shape = tuple[int, ...]
#: up to this length the matrix of a Fourier transform is a factor of Terms; longer ones transform dense tangents
TRANSFORM_LIMIT = 1024
Rule = Callable[[Node, Sequence[Tangent | None]], list[Term]]


def tangents(outputs: Sequence[Node], inputs: Sequence[Node], account: Account | None = None) -> list[Tangent]:
    """Structured Jacobians of `outputs` with respect to the concatenation of `inputs` (flattened in C order)."""
    known: dict[Node, Tangent] = {}
    first = 0
    for x in inputs:
        known[x] = Tangent(x.shape, (identity_term(x, first),) if x.size else ())
        first += x.size
    account = account or Account()
    return [listed(t, o, account.listed, final=True) for o, t in zip(outputs, push(outputs, known, account))]


def push(outputs: Sequence[Node], known: dict[Node, Tangent], account: Account | None = None) -> list[Tangent]:
    """Push the tangents of some nodes forward to `outputs`; those of nodes in between keep to few Terms."""
    given, known, ends, account = known, dict(known), set(outputs), account or Account()
    for node in topological(outputs):
        if node in known or not node.args or node.dtype.kind != "f":
            continue
        moving = [known.get(a) for a in node.args]
        if node.ndim == 0 and isinstance(node.op, Elementwise) and all(
                t is None or isinstance(t, ScalarTangent) for t in moving):
            known[node] = scalar_rule(node, moving)
        elif any(t is not None and t.terms for t in moving):
            own = node.op.extra.get("terms")
            made = None if own is None else own(node, moving, known, given)
            made = _rule(node)(node, moving) if made is None else made
            account.spend(len(made))
            tangent = as_scalar(Tangent(node.shape, merged([normalized(t) for t in made])))
            known[node] = tangent if node in ends else listed(tangent, node, account.listed)
    return [known.get(o, Tangent(o.shape, ())) for o in outputs]


def _rule(node: Node) -> Rule:
    if node.op.name in RULES:
        return RULES[node.op.name]
    if node.op.family == "elementwise":
        return elementwise_rule
    if node.op.family in ("linalg", "dynamic", "control"):
        return dense_rule
    return linear_graph_rule


def scalar_rule(node: Node, moving: Sequence[ScalarTangent | None]) -> ScalarTangent:
    """u = f(v_1, ..) of numbers:  du/dx_k = sum_i (du/dv_i) dv_i/dx_k, column by column."""
    total: dict[int, Node] = {}
    for i, t in enumerate(moving):
        if t is None or not t.coefficients:
            continue
        select = node.op.name == "where"
        d = None if select else node.op.partial(node, i)
        if d is not None and _vanishes(d):
            continue
        for col, c in t.coefficients.items():
            part = select_branch(node, i, c) if d is None else scale(c, d)
            total[col] = apply("add", total[col], part) if col in total else part
    return ScalarTangent({col: c for col, c in total.items() if not is_zero(c)})


# -- elementwise ---------------------------------------------------------------------------------------------------


def elementwise_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    """u = f(v_1, ..):  coef *= (du/dv_i)[rows]."""
    terms = []
    for i, tangent in enumerate(moving):
        if tangent is None or not tangent.terms:
            continue
        d = _branch_mask(node, i) if node.op.name == "where" else node.op.partial(node, i)
        terms += [_weighted(t, d, node.shape) for t in broadcast_terms(tangent, node.shape) if not _vanishes(d)]
    return terms


def _vanishes(d: Node) -> bool:
    return d.dtype != np.bool_ and is_zero(d)


def _branch_mask(node: Node, i: int) -> Node:
    c = node.args[0]
    return c if i == 1 else apply("logical_not", c)


def _weighted(term: Term, d: Node, shape: Shape) -> Term:
    return multiplied(term, d, term.rows if d.ndim else ())


def broadcast_terms(tangent: Tangent, shape: Shape) -> list[Term]:
    """The tangent of broadcast_to(v, shape): a repeated axis becomes an entry axis that coef does not carry."""
    if tangent.shape == shape:
        return list(tangent.terms)
    lead = len(shape) - len(tangent.shape)
    terms = []
    for t in tangent.terms:
        rows: list[IndexMap | int] = []
        for a, n in enumerate(shape):
            if a >= lead and tangent.shape[a - lead] == n:
                rows.append(a - lead)
            else:
                t, axis = with_entry_axis(t, n)
                rows.append(-axis - 1)
        maps = tuple(t.rows[r] if r >= 0 else axis_map(t.shape, -r - 1) for r in rows)
        terms.append(replace(t, rows=maps))
    return terms


def cast_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    """u = v as another type:  every factor of coef as that type; masks stay masks."""
    terms = []
    for t in moving[0].terms:
        factors = tuple(f if f.node.dtype == np.bool_ else f._replace(node=cast(f.node, node.dtype))
                        for f in t.factors)
        terms.append(replace(t, factors=factors, dtype=node.dtype))
    return terms


# -- movement ------------------------------------------------------------------------------------------------------


def index_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    """u(e') = v(m(e')): the pairs (e, e') with rows(e) = m(e')."""
    tangent, terms = moving[0], []
    for t in tangent.terms:
        found = join(t.rows, t.shape, node.attrs.maps, node.shape, tangent.shape)
        if found is not None:
            moved = reindexed(replace(t, rows=()), found.left, found.shape)
            terms.append(replace(moved, rows=found.right))
    return terms


def scatter_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    """u(m(e)) += v(e): rows = m(rows)."""
    return [replace(t, rows=tuple(m.compose(t.rows, t.shape) for m in node.attrs.maps)) for t in moving[0].terms]


def stack_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    return [replace(t, rows=(constant_map(t.shape, k),))
            for k, tangent in enumerate(moving) if tangent is not None for t in tangent.terms]


def reshape_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    groups = _factor_groups(node.args[0].shape, node.shape)
    return [_reshaped(t, node.args[0].shape, node.shape, groups) for t in moving[0].terms]


def _factor_groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Smallest runs of old and new axes with equal products: (2,3,4) -> (6,2,2) gives ([0,1],[0]), ([2],[1,2])."""
    groups, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        left, right = [], []
        p = q = 1
        while not (left or right) or p != q:
            if (p <= q and i < len(old)) or j >= len(new):
                p, i = p * old[i], i + 1
                left.append(i - 1)
            else:
                q, j = q * new[j], j + 1
                right.append(j - 1)
        groups.append((left, right))
    return groups


def _reshaped(term: Term, old: Shape, new: Shape, groups: list[tuple[list[int], list[int]]]) -> Term:
    for left, right in groups:
        if len(left) == 1 and len(right) > 1:
            term = _with_split_axis(term, term.rows[left[0]], tuple(new[d] for d in right))
    rows: list[IndexMap] = [constant_map(term.shape)] * len(new)
    for left, right in groups:
        flat = ravel_maps([term.rows[d] for d in left], tuple(old[d] for d in left), term.shape)
        for d, m in zip(right, unravel_map(flat, tuple(new[d] for d in right))):
            rows[d] = m
    return replace(term, rows=tuple(rows))


def _with_split_axis(term: Term, row: IndexMap, sizes: Shape) -> Term:
    """Where `row` is one whole entry axis, split that axis into axes of the given sizes (in place)."""
    axis = row.single_axis
    if axis is None or not row.is_axis(axis, int(np.prod(sizes))):
        return term
    shape = (*term.shape[:axis], *sizes, *term.shape[axis + 1:])
    own = range(axis, axis + len(sizes))
    flat = ravel_maps([axis_map(shape, d) for d in own], sizes, shape)
    shift = len(sizes) - 1
    maps = [flat if a == axis else axis_map(shape, a if a < axis else a + shift) for a in range(len(term.shape))]
    return reindexed(term, maps, shape)


# -- reductions and contractions -----------------------------------------------------------------------------------


def sum_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    kept = [a for a in range(node.args[0].ndim) if a not in node.attrs]
    return [replace(t, rows=tuple(t.rows[a] for a in kept)) for t in moving[0].terms]


def contract_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    """u(o) = sum_s prod_k v_k:  coef *= prod_{j != k} v_j at the labels that rows fix; new labels become axes."""
    sizes = label_sizes(node)
    terms = []
    for k, tangent in enumerate(moving):
        for t in tangent.terms if tangent is not None else ():
            terms.append(_contracted(t, node, k, sizes))
    return terms


def _contracted(term: Term, node: Node, k: int, sizes: dict[int, int]) -> Term:
    own = {l: term.rows[a] for a, l in enumerate(node.attrs.operands[k])}
    place: dict[int, int] = {}
    for l in sizes:
        if l not in own and l in node.attrs.output:
            term, place[l] = with_entry_axis(term, sizes[l])
        elif l not in own:
            term, place[l] = with_summed_axis(term, sizes[l])
    own = {l: term.rows[a] for a, l in enumerate(node.attrs.operands[k])}
    for j, labels in enumerate(node.attrs.operands):
        if j != k:
            term = multiplied(term, node.args[j], [own[l] if l in own else place[l] for l in labels])
    rows = tuple(own[l] if l in own else axis_map(term.shape, place[l]) for l in node.attrs.output)
    return replace(term, rows=rows)


def cumsum_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    return along.summed(moving[0].terms, node)


def recurrence_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    """The tangent of a linear recurrence solves the same recurrence, driven by the tangents of its arguments."""
    dots = _placeholders(node, moving)
    (driving,) = push([drive(node, dots)], {d: t for d, t in zip(dots, moving) if d is not None})
    return along.recurred(driving.terms, node)


def dft_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    found = along.transformed(moving[0].terms, node, TRANSFORM_LIMIT)
    return dense_rule(node, moving) if found is None else found


# -- everything else -----------------------------------------------------------------------------------------------


def linear_graph_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    """Push the tangent through the graph of the primitive's jvp, which is linear in the placeholders.

    Densely where that graph holds the primitive itself, as that of a linear operation without a rule does.
    """
    if node.op.jvp is None:
        raise NotDifferentiable(f"{node.op.name} has no derivative rule ({node.source})")
    dots = _placeholders(node, moving)
    out = node.op.jvp(node, dots)
    if any(n.op is node.op and any(d in n.args for d in dots) for n in topological([out])):
        return dense_rule(node, moving)
    known = {d: t for d, t in zip(dots, moving) if d is not None}
    return list(push([out], known)[0].terms)


def dense_rule(node: Node, moving: Sequence[Tangent | None]) -> list[Term]:
    """Make the tangents dense over their active columns and push all columns at once (a leading batch axis)."""
    columns = active_columns([t for t in moving if t is not None])
    if not len(columns):
        return []
    dots = _placeholders(node, moving)
    out = node.op.jvp(node, dots)
    full = {d: dense_columns(t, columns, d.dtype) for d, t in zip(dots, moving) if d is not None}
    (moved,) = batch([out], full, len(columns))
    shape = moved.shape
    cols = table_map(columns.reshape(-1, *(1,) * node.ndim), shape)
    rows = identity_maps(shape)[1:]
    empty = Term(shape, (), (), rows, cols, node.dtype)
    return [multiplied(empty, moved, range(len(shape)))]


def _placeholders(node: Node, moving: Sequence[Tangent | None]) -> list[Node | None]:
    """An input for the tangent of each argument that moves."""
    return [None if t is None or not t.terms else input_node("tangent", a.shape, a.dtype)
            for t, a in zip(moving, node.args)]


def active_columns(moving: Sequence[Tangent]) -> np.ndarray:
    """The sorted columns in which any of the tangents can be non-zero."""
    found = [t.cols.compact.ravel() for tangent in moving for t in tangent.terms]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def dense_columns(tangent: Tangent, columns: np.ndarray, dtype: np.dtype) -> Node:
    """The tangent as one dense node of shape (len(columns), *v.shape)."""
    shape = (len(columns), *tangent.shape)
    total = zeros(shape, dtype)
    for t in tangent.terms:
        place = table_map(np.searchsorted(columns, t.cols.compact), t.shape)
        total = apply("add", total, scatter(coefficient(t), (place, *t.rows), shape))
    return total


RULES: dict[str, Rule] = {
    "index": index_rule, "scatter": scatter_rule, "reshape": reshape_rule, "stack": stack_rule, "cast": cast_rule,
    "sum": sum_rule, "contract": contract_rule, "cumsum": cumsum_rule,
    "recurrence": recurrence_rule, "dft": dft_rule,
}
