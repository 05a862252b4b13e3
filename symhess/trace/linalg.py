"""Products and linear algebra: dot, matmul, einsum, norms, decompositions."""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from symhess.errors import ShapeMismatch
from symhess.graph.node import Node, constant
from symhess.primitives import apply, cast, contract, einsum, matmul, reduce_with, reshape, sum_over, transpose
from symhess.primitives import linalg as primitives
from symhess.primitives.decompositions import svd as singular_values
from symhess.trace.functions import finished, implements
from symhess.trace.reductions import axes_of, guarded_root, kept
from symhess.trace.session import BOOL, here
from symhess.trace.shaping import traced
from symhess.trace.tracer import Tracer
from symhess.trace.ufuncs import node_of_any, promotion_type


def factors(*arrays: Any) -> list[Node]:
    """The nodes in their common type; booleans count as integers."""
    arrays = [traced(a) if isinstance(a, (list, tuple)) else a for a in arrays]
    dtype = np.result_type(*(promotion_type(a) for a in arrays))
    return [node_of_any(a, np.int64 if dtype == BOOL else dtype) for a in arrays]


def _matmul(a: Node, b: Node) -> Node:
    dtype = np.result_type(a.dtype, b.dtype)
    try:
        return matmul(cast(a, dtype), cast(b, dtype))
    except ShapeMismatch as error:
        raise ShapeMismatch(f"{error}{here()}") from None


def _labelled(a: Node, labels_a: Any, b: Node, labels_b: Any, output: Any) -> Node:
    sizes: dict[int, int] = {}
    for v, labels in ((a, labels_a), (b, labels_b)):
        for l, n in zip(labels, v.shape):
            if sizes.get(l, n) != n:
                raise ShapeMismatch(f"shapes {a.shape} and {b.shape} not aligned: {sizes[l]} != {n}{here()}")
            sizes[l] = n
    return contract([(a, labels_a), (b, labels_b)], output, sizes)


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Sum over the last axis of a and the last but one of b."""
    x, y = factors(a, b)
    if not x.ndim or not y.ndim:
        return apply("mul", x, y)
    left, right = list(range(x.ndim)), list(range(x.ndim, x.ndim + y.ndim))
    joined = right.pop(-2 if y.ndim > 1 else -1)
    labels_b = list(range(x.ndim, x.ndim + y.ndim))
    labels_b[labels_b.index(joined)] = left[-1]
    return _labelled(x, left, y, labels_b, [*left[:-1], *right])


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    x, y = factors(a, b)
    if not x.ndim or not y.ndim:
        return apply("mul", x, y)
    left, right = list(range(x.ndim)), list(range(x.ndim, x.ndim + y.ndim - 1))
    return _labelled(x, left, y, [*right, left[-1]], [*left[:-1], *right])


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    x, y = factors(a, b)
    return _labelled(reshape(x, (x.size,)), [0], reshape(y, (y.size,)), [0], [])


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    x, y = factors(a, b)
    return apply("mul", reshape(x, (x.size, 1)), reshape(y, (1, y.size)))


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    x, y = factors(a, b)
    if not np.iterable(axes):
        axes = (list(range(x.ndim - axes, x.ndim)), list(range(axes)))
    left, right = (axes_of(tuple(s) if np.iterable(s) else s, v.ndim) for s, v in zip(axes, (x, y)))
    labels_a = list(range(x.ndim))
    labels_b = list(range(x.ndim, x.ndim + y.ndim))
    for i, j in zip(left, right):
        labels_b[j] = labels_a[i]
    output = [l for d, l in enumerate(labels_a) if d not in left] + [l for d, l in enumerate(labels_b)
                                                                    if d not in right]
    return _labelled(x, labels_a, y, labels_b, output)


def explicit_subscripts(text: str, ndims: list[int]) -> str:
    """einsum subscripts with ellipses spelled out and the output made explicit, as NumPy defines them."""
    text = text.replace(" ", "")
    left, arrow, output = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum {text!r} names {len(terms)} operands, {len(ndims)} were given{here()}")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in text]
    extra = [n - len(t.replace("...", "")) for t, n in zip(terms, ndims)]
    width = max([e for t, e in zip(terms, extra) if "..." in t], default=0)
    broad = "".join(free[:width])
    for t, e in zip(terms, extra):
        if e < 0 or (e and "..." not in t):
            raise ValueError(f"einsum {text!r}: {t!r} does not fit an operand of rank {e + len(t)}{here()}")
    terms = [t.replace("...", broad[width - e:]) for t, e in zip(terms, extra)]
    if not arrow:
        letters = sorted(c for c in set("".join(terms)) if c not in broad and "".join(terms).count(c) == 1)
        output = ("..." if "..." in text else "") + "".join(letters)
    return ",".join(terms) + "->" + output.replace("...", broad)


@implements(np.einsum)
def einsum_(subscripts: Any, *operands: Any, out: Any = None, dtype: Any = None, optimize: Any = False,
            **options: Any) -> Any:
    if not isinstance(subscripts, str):
        subscripts, operands = _from_sublists((subscripts, *operands))
    if len(operands) == 1 and isinstance(operands[0], Tracer) and not _sums(subscripts):
        return operands[0].viewed(lambda a: np.einsum(subscripts, a))
    nodes = factors(*operands)
    return einsum(explicit_subscripts(subscripts, [n.ndim for n in nodes]), *nodes)


def _sums(subscripts: str) -> bool:
    """Whether letters of one operand are left out of the result; otherwise NumPy gives a view that may be written."""
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    return any(c not in output for c in left) if arrow else len(set(left)) < len(left)


def _from_sublists(args: tuple) -> tuple[str, tuple]:
    """einsum(a, [0, 1], b, [1, 2], [0, 2]) in letters."""
    pairs = args[:len(args) - len(args) % 2]
    terms = [_letters(s) for s in pairs[1::2]]
    output = "->" + _letters(args[-1]) if len(args) % 2 else ""
    return ",".join(terms) + output, pairs[0::2]


def _letters(sublist: Any) -> str:
    return "".join("..." if l is Ellipsis else string.ascii_letters[l] for l in sublist)


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    x, y = factors(a, b)
    rank = max(x.ndim, y.ndim)
    x, y = (reshape(v, (1,) * (rank - v.ndim) + v.shape) for v in (x, y))
    wide = [reshape(v, [n for pair in zip(*order) for n in pair])
            for v, order in ((x, (x.shape, (1,) * rank)), (y, ((1,) * rank, y.shape)))]
    return reshape(apply("mul", *wide), [m * n for m, n in zip(x.shape, y.shape)])


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@implements(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Any:
    """(a1 b2 - a2 b1, a2 b0 - a0 b2, a0 b1 - a1 b0)."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = (np.moveaxis(traced(v), ax, -1) for v, ax in ((a, axisa), (b, axisb)))
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ShapeMismatch(f"cross product of vectors with {a.shape[-1]} and {b.shape[-1]} components{here()}")
    if a.shape[-1] == b.shape[-1] == 2:
        return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    (a0, a1, a2), (b0, b1, b2) = (_components(v) for v in (a, b))
    parts = np.broadcast_arrays(a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0)
    return np.moveaxis(np.stack(parts, -1), -1, axisc)


def _components(v: Any) -> tuple:
    third = v[..., 2] if v.shape[-1] == 3 else v[..., 0] * 0
    return v[..., 0], v[..., 1], third


# -- norms ---------------------------------------------------------------------------------------------------------


def euclidean(v: Node, axes: Any) -> Node:
    """sqrt(sum v^2), flat at 0."""
    return apply("root", sum_over(apply("mul", v, v), axes))


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    v = node_of_any(x)
    v = v if v.dtype.kind == "f" else cast(v, np.float64)
    if axis is None and ord is None:
        axes = tuple(range(v.ndim))
    else:
        axes = axes_of(axis, v.ndim)
    if len(axes) == 2 and ord not in (None, "fro"):
        result = _matrix_norm(v, ord, axes)
    elif ord is None or (ord == "fro" and len(axes) == 2) or (ord == 2 and len(axes) == 1):
        result = euclidean(v, axes)
    elif len(axes) == 1:
        result = _vector_norm(v, ord, axes)
    else:
        raise ValueError(f"Improper number of dimensions to norm, or invalid norm order {ord!r}{here()}")
    return kept(result, v.shape, axes, keepdims)


def _vector_norm(v: Node, ord: Any, axes: Any) -> Node:
    size = apply("abs", v)
    if ord in (np.inf, -np.inf):
        return reduce_with("max" if ord > 0 else "min", size, axes)
    if ord == 0:
        return sum_over(cast(apply("not_equal", v, constant(0, v.dtype)), v.dtype), axes)
    if ord == 1:
        return sum_over(size, axes)
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order {ord!r} for vectors{here()}")
    power = sum_over(apply("pow", size, constant(ord, v.dtype)), axes)
    return guarded_root(power, lambda s: apply("pow", s, constant(1 / ord, v.dtype)))


def _matrix_norm(v: Node, ord: Any, axes: Any) -> Node:
    """The largest (smallest) column sum for ord 1 (-1), row sum for inf (-inf), singular value for 2 (-2)."""
    from symhess.trace.functions import unsupported

    if ord in (2, -2, "nuc"):
        rest = [d for d in range(v.ndim) if d not in axes]
        s = singular_values(transpose(v, [*rest, *axes]))[1]
        place = s.ndim - 1
        return sum_over(s, [place]) if ord == "nuc" else reduce_with("max" if ord > 0 else "min", s, [place])
    if ord not in (1, -1, np.inf, -np.inf):
        raise unsupported(f"linalg.norm with ord={ord!r} of a matrix")
    down, along = axes if abs(ord) == 1 else axes[::-1]
    sums = sum_over(apply("abs", v), [down])
    return reduce_with("max" if ord > 0 else "min", sums, [along - (down < along)])


# -- decompositions ------------------------------------------------------------------------------------------------


def matrix_of(a: Any) -> Node:
    node = node_of_any(a)
    return node if node.dtype.kind == "f" else cast(node, np.float64)


def _matrices(a: Any, b: Any) -> list[Node]:
    dtype = np.result_type(promotion_type(traced(a)), promotion_type(traced(b)))
    return [node_of_any(v, dtype if dtype.kind == "f" else np.float64) for v in (a, b)]


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    return primitives.solve(*_matrices(a, b))


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    factor = primitives.cholesky(matrix_of(a))
    return np.swapaxes(finished(factor), -1, -2) if upper else factor


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    return type(np.linalg.slogdet(np.eye(1)))(*primitives.slogdet(matrix_of(a)))


implements(np.linalg.inv)(lambda a: primitives.inv(matrix_of(a)))
implements(np.linalg.det)(lambda a: primitives.det(matrix_of(a)))


def triangular(a: Any, b: Any, lower: bool, trans: bool) -> Any:
    return finished(primitives.triangular_solve(*_matrices(a, b), lower=lower, trans=trans))


# -- products of many matrices -------------------------------------------------------------------------------------


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """One contraction, so that the order of products is chosen later."""
    nodes = factors(*arrays)
    first, last = nodes[0].ndim == 1, nodes[-1].ndim == 1
    labels = [[k, k + 1] for k in range(len(nodes))]
    labels[0], labels[-1] = labels[0][first:], labels[-1][:2 - last]
    sizes = {l: n for v, ls in zip(nodes, labels) for l, n in zip(ls, v.shape)}
    output = ([] if first else [0]) + ([] if last else [len(nodes)])
    return contract(list(zip(nodes, labels)), output, sizes)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """By repeated squaring; negative powers of the inverse."""
    a = traced(a)
    if n < 0:
        return matrix_power(np.linalg.inv(a), -n)
    result = None
    while n:
        if n & 1:
            result = a if result is None else result @ a
        a, n = a @ a, n >> 1
    return a * 0 + np.eye(a.shape[-1]) if result is None else result


def _vecdot(a: Node, b: Node) -> Node:
    return sum_over(apply("mul", *_same(a, b)), [max(a.ndim, b.ndim) - 1])


def _same(a: Node, b: Node) -> list[Node]:
    from symhess.trace.ufuncs import align

    dtype = np.result_type(a.dtype, b.dtype)
    return align([cast(a, dtype), cast(b, dtype)])


def _matvec(a: Node, b: Node) -> Node:
    column = _matmul(a, reshape(b, (*b.shape, 1)))
    return reshape(column, column.shape[:-1])


def _vecmat(a: Node, b: Node) -> Node:
    row = _matmul(reshape(a, (*a.shape[:-1], 1, a.shape[-1])), b)
    return reshape(row, (*row.shape[:-2], row.shape[-1]))


#: generalised ufuncs
GENERALISED = {"matmul": _matmul, "vecdot": _vecdot, "matvec": _matvec, "vecmat": _vecmat}
implements(np.linalg.matmul)(lambda a, b, /: np.matmul(a, b))
implements(np.linalg.vecdot)(lambda a, b, /, *, axis=-1: np.sum(np.multiply(a, b), axis))
implements(np.linalg.outer)(lambda a, b, /: np.outer(a, b))
implements(np.linalg.trace)(lambda a, /, *, offset=0, dtype=None: np.trace(a, offset, -2, -1, dtype))
implements(np.linalg.cross)(lambda a, b, /, *, axis=-1: np.cross(a, b, axis=axis))
implements(np.linalg.tensordot)(lambda a, b, /, *, axes=2: np.tensordot(a, b, axes))
implements(np.linalg.diagonal)(lambda a, /, *, offset=0: np.diagonal(a, offset, -2, -1))
implements(np.linalg.matrix_transpose)(lambda a, /: np.swapaxes(a, -1, -2))
implements(np.linalg.vector_norm)(
    lambda a, /, *, axis=None, keepdims=False, ord=2: np.linalg.norm(np.ravel(a) if axis is None else a, ord,
                                                                     -1 if axis is None else axis))
implements(np.linalg.matrix_norm)(
    lambda a, /, *, keepdims=False, ord="fro": np.linalg.norm(a, ord, (-2, -1), keepdims))
