"""Dense linear algebra over stacks of matrices: Cholesky, LU, solves, inverse, determinants, and their derivatives.

    cholesky          A = L L^T          lower triangle of A read, derivative that of the symmetric matrix
    lu                P A = L U          an opaque int64 record that solve, inv and det share; nothing differentiates it
    solve             X = A^-1 B         or A^-T B
    triangular_solve  X = L^-1 B         or L^-T B, reading one triangle of L
    inv, det, logabsdet, detsign

Matrices lie along the last two axes. Up to 3 x 3 solve, inv and det are expanded into elementwise nodes, which keeps
the sparsity of stacks of small matrices, and makes the derivatives of det exact at singular matrices. Beyond that the
derivative of det is det(A) A^-T, which is NaN where A is singular.

A failure (Cholesky of a matrix that is not positive definite, a zero pivot) fills that one matrix of the stack with
NaN; nothing raises at run time, neither here nor in compiled kernels.

Each primitive carries `extra["kernel"]`, a name in `symhess.backends.support_linalg.KERNELS`, and `extra["params"]`,
the literals that follow (arguments..., out) in its call.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from symhess.errors import DTypeMismatch, ShapeMismatch
from symhess.graph.maps import constant_map, identity_maps
from symhess.graph.node import CONSTANT, Node, Primitive, constant, make, register
from symhess.primitives.algebra import zeros
from symhess.primitives.contraction import matmul
from symhess.primitives.elementwise import apply
from symhess.primitives.movement import broadcast_to, concatenate, index, reshape, scatter, slice_axis, stack, transpose
from symhess.primitives.reduction import sum_over

Shape = tuple[int, ...]
#: matrices up to this size are expanded into elementwise nodes
EXPANDED = 3


class TriangularAttrs(NamedTuple):
    """Which triangle is read, and whether it is transposed."""

    lower: bool
    trans: bool


# -- helpers ---------------------------------------------------------------------------------------------------------


def transposed(a: Node) -> Node:
    """The matrices of a stack, transposed."""
    return transpose(a, [*range(a.ndim - 2), a.ndim - 1, a.ndim - 2])


def _square(a: Node, what: str) -> int:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeMismatch(f"{what} needs square matrices along the last two axes, not shape {a.shape}")
    if a.dtype.kind != "f":
        raise DTypeMismatch(f"{what} needs floating-point matrices, not {a.dtype}: cast them first")
    return a.shape[-1]


def _trailing(v: Node, axes: int) -> Node:
    """Append size-1 axes."""
    return reshape(v, (*v.shape, *(1,) * axes))


def _masked(a: Node, mask: np.ndarray) -> Node:
    """mask * a for a constant matrix."""
    return apply("mul", constant(mask.reshape((1,) * (a.ndim - 2) + mask.shape), a.dtype), a)


def _triangle(a: Node, lower: bool) -> Node:
    ones = np.ones(a.shape[-2:])
    return _masked(a, np.tril(ones) if lower else np.triu(ones))


def symmetric_part(a: Node) -> Node:
    """(A + A^T) / 2."""
    return apply("mul", constant(0.5, a.dtype), apply("add", a, transposed(a)))


def lower_half(a: Node) -> Node:
    """Phi(A): the lower triangle with its diagonal halved, so that Phi(A) + Phi(A)^T = A for symmetric A."""
    n = a.shape[-1]
    return _masked(a, np.tril(np.ones((n, n))) - 0.5 * np.eye(n))


def _folded(op: Primitive, args: Sequence[Node], attrs: Any = None) -> Node:
    """The node, or its value if all arguments are constants."""
    node = make(op, args, attrs)
    if all(a.op is CONSTANT for a in args):
        return constant(op.evaluate([a.attrs.array for a in args], node), node.dtype)
    return node


def _sum(parts: Sequence[Node | None]) -> Node:
    present = [p for p in parts if p is not None]
    total = present[0]
    for p in present[1:]:
        total = apply("add", total, p)
    return total


def _each(function: Callable[..., np.ndarray], shape: Shape, *stacks: np.ndarray) -> np.ndarray:
    """The function of every matrix of the stacks; `shape` is the shape of one result."""
    lead = stacks[0].shape[:-2]
    out = [function(*(s[at] for s in stacks)) for at in np.ndindex(lead)]
    return np.array(out, dtype=np.float64).reshape(lead + shape)


def _declare(name: str, infer: Callable, evaluate: Callable, *, params: Callable[[Node], tuple] | None = None,
             **rules: Callable) -> Primitive:
    extra = {"kernel": name, "params": params or (lambda node: ())}
    return register(Primitive(name, infer, evaluate, family="linalg", extra=extra, **rules))


# -- Cholesky --------------------------------------------------------------------------------------------------------


def cholesky(a: Node) -> Node:
    """The lower L with A = L L^T of symmetric positive definite matrices; NaN where A is not positive definite."""
    n = _square(a, "cholesky")
    if a.size == 0 or n == 1:
        return apply("sqrt", a) if a.size else a
    return _folded(CHOLESKY, (a,))


def _cholesky_one(a: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        return np.full(a.shape, np.nan)


def _cholesky_jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    """dL = L Phi(L^-1 dA L^-T)."""
    half = triangular_solve(node, symmetric_part(tangents[0]))
    return matmul(node, lower_half(triangular_solve(node, transposed(half))))


def _cholesky_vjp(node: Node, g: Node) -> list[Node]:
    """A' = sym(L^-T Phi(L^T G) L^-1)."""
    phi = lower_half(matmul(transposed(node), g))
    left = triangular_solve(node, phi, trans=True)
    return [symmetric_part(transposed(triangular_solve(node, transposed(left), trans=True)))]


CHOLESKY = _declare(
    "cholesky", lambda args, attrs: (args[0].shape, args[0].dtype),
    lambda arrays, node: _each(_cholesky_one, node.shape[-2:], arrays[0]),
    vjp=_cholesky_vjp, jvp=_cholesky_jvp, batch=lambda node, args, added: cholesky(args[0]),
)


# -- LU --------------------------------------------------------------------------------------------------------------


def lu(a: Node) -> Node:
    """P A = L U as one opaque record per matrix: n rows of L and U (float64 bits), one row of pivots, all int64.

    Being integers, records are constants to every derivative rule; the primitives that read one take A as well, and
    differentiate by it.
    """
    return make(LU, (a,))


def _lu_one(a: np.ndarray) -> np.ndarray:
    from scipy.linalg import lapack

    packed, pivots, _ = lapack.dgetrf(np.asarray(a, np.float64))
    return np.concatenate([np.ascontiguousarray(packed).view(np.int64), pivots[None].astype(np.int64)])


def _lu_evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    (a,) = arrays
    records = [_lu_one(a[at]) for at in np.ndindex(a.shape[:-2])]
    return np.array(records, np.int64).reshape(node.shape)


def unpacked(record: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The L and U of a record in one matrix, and the row swapped with each row."""
    return np.ascontiguousarray(record[:-1]).view(np.float64), record[-1]


def _record_infer(args: Sequence[Node], attrs: Any) -> tuple[Shape, np.dtype]:
    (a,) = args
    n = _square(a, "lu")
    return (*a.shape[:-2], n + 1, n), np.dtype(np.int64)


LU = _declare("lu", _record_infer, _lu_evaluate, batch=lambda node, args, added: lu(args[0]))


# -- solve -----------------------------------------------------------------------------------------------------------


def solve(a: Node, b: Node) -> Node:
    """X with A X = B; b is one vector if it is 1-D and a stack of matrices otherwise, leading axes broadcast."""
    return _with_matrices("solve", a, b, lambda m: _solve_matrices(a, m))


def _with_matrices(what: str, a: Node, b: Node, function: Callable[[Node], Node]) -> Node:
    """Apply a solver of matrices to b, which may be one vector."""
    n = _square(a, what)
    if b.ndim == 0 or b.shape[0 if b.ndim == 1 else -2] != n:
        raise ShapeMismatch(f"{what}: a right side of shape {b.shape} does not fit matrices of shape {a.shape}")
    if a.dtype != b.dtype:
        raise DTypeMismatch(f"{what}: matrices of {a.dtype}, right side of {b.dtype}: cast one of them")
    if b.ndim == 1:
        x = function(reshape(b, (n, 1)))
        return reshape(x, x.shape[:-1])
    return function(b)


def _solve_matrices(a: Node, b: Node) -> Node:
    if a.shape[-1] <= EXPANDED:
        return _expanded_solve(a, b)
    return _solve_factored(a, lu(a), b, False)


def _solve_factored(a: Node, f: Node, b: Node, trans: bool) -> Node:
    """A^-1 B (or A^-T B), given the record of A."""
    return _over_stacks((a, f), b, lambda m, rhs: _folded(SOLVE, (*m, rhs), trans))


def _over_stacks(matrices: Sequence[Node], b: Node, function: Callable[[Sequence[Node], Node], Node]) -> Node:
    """Broadcast the leading axes of A and B. Where B has an axis that A lacks, it becomes more columns of B."""
    rank = max(matrices[0].ndim, b.ndim)
    matrices = [reshape(m, (1,) * (rank - m.ndim) + m.shape) for m in matrices]
    b = reshape(b, (1,) * (rank - b.ndim) + b.shape)
    lead = matrices[0].shape[:-2]
    if any(m != n and 1 not in (m, n) for m, n in zip(lead, b.shape)):
        raise ShapeMismatch(f"stacks of shapes {lead} and {b.shape[:-2]} do not broadcast together")
    more = [d for d, n in enumerate(lead) if n == 1 != b.shape[d]]
    kept = [d for d in range(rank - 2) if d not in more]
    if b.size == 0 or matrices[0].size == 0:
        full = [b.shape[d] if d in more else n for d, n in enumerate(lead)]
        return zeros((*full, *b.shape[-2:]), b.dtype)
    order = [*kept, rank - 2, *more, rank - 1]
    outer = tuple(lead[d] for d in kept)
    columns = transpose(b, order)
    inner = columns.shape[len(kept):]
    columns = reshape(broadcast_to(columns, outer + inner), (*outer, inner[0], int(np.prod(inner[1:]))))
    x = function([reshape(m, outer + m.shape[-2:]) for m in matrices], columns)
    return transpose(reshape(x, outer + inner), [order.index(d) for d in range(rank)])


def _solve_one(a: np.ndarray, record: np.ndarray, b: np.ndarray, trans: bool) -> np.ndarray:
    packed, pivots = unpacked(record)
    if not np.all(np.diagonal(packed)):
        return np.full(b.shape, np.nan)
    from scipy.linalg import lapack

    return lapack.dgetrs(packed, pivots, np.asarray(b, np.float64), trans=int(trans))[0]


def _solve_evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    return _each(lambda *one: _solve_one(*one, node.attrs), node.shape[-2:], *arrays)


def _solve_infer(args: Sequence[Node], attrs: Any) -> tuple[Shape, np.dtype]:
    a, b = args[0], args[-1]
    if a.ndim != b.ndim or a.shape[:-1] != b.shape[:-1] or _square(a, "solve") != b.shape[-2]:
        raise ShapeMismatch(f"solve: matrices of shape {a.shape}, right side of shape {b.shape}")
    return b.shape, b.dtype


def _solve_jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    """dX = A^-1 (dB - dA X); dA transposed where A is."""
    (a, f, _), (da, _, db) = node.args, tangents
    if da is not None:
        da = apply("neg", matmul(transposed(da) if node.attrs else da, node))
    return _solve_factored(a, f, _sum([db, da]), node.attrs)


def _solve_vjp(node: Node, g: Node) -> list[Node | None]:
    """B' = A^-T G,  A' = -B' X^T (transposed where A is)."""
    a, f, _ = node.args
    pulled = _solve_factored(a, f, g, not node.attrs)
    outer = matmul(pulled, transposed(node))
    return [apply("neg", transposed(outer) if node.attrs else outer), None, pulled]


SOLVE = _declare(
    "solve", _solve_infer, _solve_evaluate, params=lambda node: (node.attrs,), vjp=_solve_vjp, jvp=_solve_jvp,
    batch=lambda node, args, added: _solve_factored(*args, node.attrs),
)


# -- triangular solve ------------------------------------------------------------------------------------------------


def triangular_solve(l: Node, b: Node, lower: bool = True, trans: bool = False) -> Node:
    """X with L X = B, or L^T X = B; only the lower (or upper) triangle of L is read."""
    return _with_matrices("triangular_solve", l, b, lambda m: _triangular(l, m, TriangularAttrs(lower, trans)))


def cho_solve(l: Node, b: Node) -> Node:
    """X with L L^T X = B, for a Cholesky factor L."""
    return triangular_solve(l, triangular_solve(l, b), trans=True)


def _triangular(l: Node, b: Node, attrs: TriangularAttrs) -> Node:
    if l.shape[-1] == 1:
        rank = max(l.ndim, b.ndim)
        return apply("div", *(reshape(m, (1,) * (rank - m.ndim) + m.shape) for m in (b, l)))
    return _over_stacks((l,), b, lambda m, rhs: _folded(TRIANGULAR_SOLVE, (*m, rhs), attrs))


def _triangular_evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    l, b = arrays
    if node.attrs.trans:
        l = np.swapaxes(l, -1, -2)
    n, forward = l.shape[-1], node.attrs.lower != node.attrs.trans
    x = np.array(b, np.result_type(l, b))
    for i in range(n) if forward else range(n - 1, -1, -1):
        known = slice(0, i) if forward else slice(i + 1, n)
        x[..., i, :] -= (l[..., i:i + 1, known] @ x[..., known, :])[..., 0, :]
        x[..., i, :] /= l[..., i, i, None]
    return x


def _triangular_jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    """dX = L^-1 (dB - tri(dL) X); dL transposed where L is."""
    (l, _), (dl, db), (lower, trans) = node.args, tangents, node.attrs
    if dl is not None:
        dl = _triangle(dl, lower)
        dl = apply("neg", matmul(transposed(dl) if trans else dl, node))
    return _triangular(l, _sum([db, dl]), node.attrs)


def _triangular_vjp(node: Node, g: Node) -> list[Node]:
    """B' = L^-T G,  L' = -tri(B' X^T) (transposed where L is)."""
    (l, _), (lower, trans) = node.args, node.attrs
    pulled = _triangular(l, g, TriangularAttrs(lower, not trans))
    outer = matmul(pulled, transposed(node))
    return [apply("neg", _triangle(transposed(outer) if trans else outer, lower)), pulled]


TRIANGULAR_SOLVE = _declare(
    "triangular_solve", _solve_infer, _triangular_evaluate, params=lambda node: tuple(node.attrs),
    vjp=_triangular_vjp, jvp=_triangular_jvp, batch=lambda node, args, added: _triangular(*args, node.attrs),
)


# -- inverse ---------------------------------------------------------------------------------------------------------


def inv(a: Node) -> Node:
    """A^-1; NaN where a pivot is zero."""
    n = _square(a, "inv")
    if a.size == 0:
        return a
    if n <= EXPANDED:
        e = _entries(a)
        determinant, adjugate = _det_of(e), _adjugate_of(e)
        return _assembled([[apply("div", c, determinant) for c in row] for row in adjugate])
    return _inv_factored(a, lu(a))


def _inv_factored(a: Node, f: Node) -> Node:
    return _folded(INV, (a, f))


def _inv_one(a: np.ndarray, record: np.ndarray) -> np.ndarray:
    return _solve_one(a, record, np.eye(len(a)), False)


def _inv_jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    """dU = -U dA U."""
    return apply("neg", matmul(matmul(node, tangents[0]), node))


def _inv_vjp(node: Node, g: Node) -> list[Node | None]:
    """A' = -U^T G U^T."""
    u = transposed(node)
    return [apply("neg", matmul(matmul(u, g), u)), None]


INV = _declare(
    "inv", lambda args, attrs: (args[0].shape, args[0].dtype),
    lambda arrays, node: _each(_inv_one, node.shape[-2:], *arrays),
    vjp=_inv_vjp, jvp=_inv_jvp, batch=lambda node, args, added: _inv_factored(*args),
)


# -- determinants ----------------------------------------------------------------------------------------------------


def det(a: Node) -> Node:
    """det(A), a polynomial of the entries up to 3 x 3."""
    n = _square(a, "det")
    if n == 0:
        return broadcast_to(constant(1, a.dtype), a.shape[:-2])
    if n <= EXPANDED or a.size == 0:
        return _det_of(_entries(a)) if a.size else zeros(a.shape[:-2], a.dtype)
    return _folded(DET, (a, lu(a)))


def slogdet(a: Node) -> tuple[Node, Node]:
    """The sign of det(A) and log|det(A)| (0 and -inf where A is singular)."""
    if _square(a, "slogdet") <= EXPANDED or a.size == 0:
        determinant, exponents = _scaled_det(a)
        return apply("sign", determinant), _sum([apply("log", apply("abs", determinant)), exponents])
    f = lu(a)
    return _folded(DETSIGN, (f,), a.dtype.str), _folded(LOGABSDET, (a, f))


def _scaled_det(a: Node) -> tuple[Node, Node | None]:
    """det(D A) and -log(det D), where the powers of two D bring the largest entry of every row near 1.

    Both are steps in A as far as D goes, so that derivatives are those of det(D A) with D constant.
    """
    if a.size == 0 or a.shape[-1] < 2:
        return det(a), None
    rows, exponents = _entries(a), []
    smallest = constant(np.finfo(a.dtype).tiny, a.dtype)
    for i, row in enumerate(rows):
        largest = functools.reduce(functools.partial(apply, "maximum"), [apply("abs", v) for v in row], smallest)
        exponents.append(apply("floor", apply("log2", largest)))
        factor = apply("exp2", apply("neg", exponents[-1]))
        rows[i] = [apply("mul", v, factor) for v in row]
    return _det_of(rows), apply("mul", constant(math.log(2), a.dtype), _sum(exponents))


def _reduced_infer(args: Sequence[Node], attrs: Any) -> tuple[Shape, np.dtype]:
    return args[0].shape[:-2], args[0].dtype


def _sign_of(record: np.ndarray) -> float:
    """The sign of the permutation and of the diagonal of U."""
    packed, pivots = unpacked(record)
    return np.prod(np.sign(np.diagonal(packed))) * (-1.0) ** np.sum(pivots != np.arange(len(pivots)))


def _logabsdet_one(a: np.ndarray, record: np.ndarray) -> float:
    return np.sum(np.log(np.abs(np.diagonal(unpacked(record)[0]))))


def _det_one(a: np.ndarray, record: np.ndarray) -> float:
    return _sign_of(record) * np.prod(np.abs(np.diagonal(unpacked(record)[0])))


def _trace_of_product(u: Node, da: Node) -> Node:
    """tr(U dA)."""
    return sum_over(apply("mul", transposed(u), da), (u.ndim - 2, u.ndim - 1))


def _logabsdet_jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    """d log|det A| = tr(A^-1 dA)."""
    return _trace_of_product(_inv_factored(*node.args), tangents[0])


def _logabsdet_vjp(node: Node, g: Node) -> list[Node | None]:
    """A' = g A^-T."""
    return [apply("mul", _trailing(g, 2), transposed(_inv_factored(*node.args))), None]


def _det_jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    """d det A = det(A) tr(A^-1 dA)."""
    return apply("mul", node, _logabsdet_jvp(node, tangents))


def _det_vjp(node: Node, g: Node) -> list[Node | None]:
    """A' = g det(A) A^-T."""
    return _logabsdet_vjp(node, apply("mul", g, node))


DET = _declare("det", _reduced_infer, lambda arrays, node: _each(_det_one, (), *arrays),
               vjp=_det_vjp, jvp=_det_jvp, batch=lambda node, args, added: _folded(DET, args))
LOGABSDET = _declare("logabsdet", _reduced_infer, lambda arrays, node: _each(_logabsdet_one, (), *arrays),
                     vjp=_logabsdet_vjp, jvp=_logabsdet_jvp,
                     batch=lambda node, args, added: _folded(LOGABSDET, args))
DETSIGN = _declare("detsign", lambda args, dtype: (args[0].shape[:-2], np.dtype(dtype)),
                   lambda arrays, node: _each(_sign_of, (), arrays[0]),
                   batch=lambda node, args, added: _folded(DETSIGN, args, node.attrs))


# -- expanded small matrices -----------------------------------------------------------------------------------------


def _entries(a: Node) -> list[list[Node]]:
    """The entries of the matrices, each of the shape of the stack."""
    box, n = a.shape[:-2], a.shape[-1]
    place = lambda i, j: (*identity_maps(box), constant_map(box, i), constant_map(box, j))
    return [[index(a, place(i, j), box) for j in range(n)] for i in range(n)]


def _assembled(rows: Sequence[Sequence[Node]]) -> Node:
    """The inverse of `_entries`."""
    box, shape = rows[0][0].shape, (len(rows), len(rows[0]))
    if not box:
        return reshape(stack([e for row in rows for e in row]), shape)
    place = lambda i, j: (*identity_maps(box), constant_map(box, i), constant_map(box, j))
    return _sum([scatter(e, place(i, j), box + shape) for i, row in enumerate(rows) for j, e in enumerate(row)])


def _minor(e: Sequence[Sequence[Node]], i: int, j: int, k: int, l: int) -> Node:
    """e_ij e_kl - e_il e_kj."""
    return apply("sub", apply("mul", e[i][j], e[k][l]), apply("mul", e[i][l], e[k][j]))


def _adjugate_of(e: Sequence[Sequence[Node]]) -> list[list[Node]]:
    """adj(A), with A adj(A) = det(A) I; in 3 x 3 the cyclic order of rows and columns makes the signs."""
    n = len(e)
    if n == 1:
        return [[broadcast_to(constant(1, e[0][0].dtype), e[0][0].shape)]]
    if n == 2:
        return [[e[1][1], apply("neg", e[0][1])], [apply("neg", e[1][0]), e[0][0]]]
    return [[_minor(e, (i + 1) % 3, (j + 1) % 3, (i + 2) % 3, (j + 2) % 3) for i in range(3)] for j in range(3)]


def _det_of(e: Sequence[Sequence[Node]]) -> Node:
    """Expansion along the first row: sum_j e_0j adj_j0."""
    if len(e) == 2:
        return _minor(e, 0, 0, 1, 1)
    adjugate = _adjugate_of(e)
    return _sum([apply("mul", e[0][j], adjugate[j][0]) for j in range(len(e))])


def _expanded_solve(a: Node, b: Node) -> Node:
    """X = adj(A) B / det(A), row by row."""
    rank, n = max(a.ndim, b.ndim), a.shape[-1]
    a = reshape(a, (1,) * (rank - a.ndim) + a.shape)
    b = reshape(b, (1,) * (rank - b.ndim) + b.shape)
    if a.size == 0 or b.size == 0:
        return _over_stacks((a,), b, lambda m, rhs: rhs)
    e = _entries(a)
    determinant = _trailing(_det_of(e), 2)
    rows = [slice_axis(b, rank - 2, j, 1, 1) for j in range(n)]
    parts = []
    for line in _adjugate_of(e):
        top = _sum([apply("mul", _trailing(c, 2), r) for c, r in zip(line, rows)])
        parts.append(apply("div", top, determinant))
    if all(p.size == 1 for p in parts):
        return reshape(stack([reshape(p, ()) for p in parts]), (*parts[0].shape[:-2], n, 1))
    return concatenate(parts, rank - 2)
