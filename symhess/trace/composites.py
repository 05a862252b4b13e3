"""Everyday NumPy functions written in terms of others: where, diff, convolve, pad, triangles, polynomials, sorting."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.graph.maps import table_map
from symhess.graph.node import Node, constant
from symhess.primitives import apply, cast, scatter
from symhess.trace.construction import concatenate_
from symhess.trace.functions import finished, implements, unsupported
from symhess.trace.indexing import moved
from symhess.trace.ordering import decided
from symhess.trace.session import current_session
from symhess.trace.shaping import traced
from symhess.trace.tracer import Tracer
from symhess.trace.ufuncs import common_dtype, node_of_any, promotion_type, select

NO_VALUE = np._NoValue


@implements(np.where)
def where(condition: Any, x: Any = NO_VALUE, y: Any = NO_VALUE, /) -> Any:
    if x is NO_VALUE:
        return np.nonzero(condition)
    return select(condition, x, y)


@implements(np.clip)
def clip(a: Any, a_min: Any = NO_VALUE, a_max: Any = NO_VALUE, out: Any = None, *, min: Any = NO_VALUE,
         max: Any = NO_VALUE) -> Any:
    low = min if a_min is NO_VALUE else a_min
    high = max if a_max is NO_VALUE else a_max
    a = traced(a)
    if low is not NO_VALUE and low is not None:
        a = np.maximum(a, low)
    return a if high is NO_VALUE or high is None else np.minimum(a, high)


@implements(np.select)
def select_(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    dtype = common_dtype(*choicelist, default)
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        result = select(condition, choice, result, dtype)
    return result


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Every branch is computed on all of x; the last function is the default."""
    x = traced(x)
    conditions = list(condlist) if isinstance(condlist, (list, tuple)) else [condlist]
    values = [f(x, *args, **kw) if callable(f) else f for f in funclist]
    result = values[len(conditions)] if len(values) > len(conditions) else 0
    for condition, value in zip(conditions, values):
        result = select(condition, value, result, x.dtype)
    return result


# -- differences and sums ------------------------------------------------------------------------------------------


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = NO_VALUE, append: Any = NO_VALUE) -> Any:
    a = traced(a)
    parts = [_rim(p, a, axis) for p in (prepend,) if p is not NO_VALUE] + [a] + [
        _rim(p, a, axis) for p in (append,) if p is not NO_VALUE]
    a = concatenate_(parts, axis) if len(parts) > 1 else a
    lead = (slice(None),) * (axis % a.ndim)
    for _ in range(n):
        later, earlier = a[(*lead, slice(1, None))], a[(*lead, slice(None, -1))]
        a = np.not_equal(later, earlier) if a.dtype == bool else later - earlier
    return a


def _rim(value: Any, a: Tracer, axis: int) -> Any:
    if np.ndim(value):
        return value
    shape = list(a.shape)
    shape[axis] = 1
    return np.broadcast_to(traced(value), tuple(shape))


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    inner = diff(traced(ary).reshape(-1))
    parts = [np.ravel(traced(to_begin))] if to_begin is not None else []
    parts += [inner] + ([np.ravel(traced(to_end))] if to_end is not None else [])
    return concatenate_(parts, 0) if len(parts) > 1 else inner


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Central differences inside, one-sided ones at the ends."""
    f = traced(f)
    axes = range(f.ndim) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, f.ndim)
    steps = list(varargs) * (len(axes) if len(varargs) == 1 else 1) or [1.0] * len(axes)
    results = [_gradient_along(f, a, h, edge_order) for a, h in zip(axes, steps)]
    return results[0] if len(results) == 1 else tuple(results)


def _gradient_along(f: Tracer, axis: int, h: Any, edge_order: int) -> Any:
    if isinstance(h, Tracer) and not h.ndim:
        return _gradient_along(f, axis, 1.0, edge_order) / h
    x = np.moveaxis(f, axis, -1)
    n = x.shape[-1]
    spacing = np.diff(np.broadcast_to(h, (n,))) if np.ndim(h) else np.full(n - 1, float(h))
    spacing = spacing if isinstance(h, Tracer) else spacing.astype(f.dtype)
    left, right = spacing[:-1], spacing[1:]
    inner = (-right / (left * (left + right)) * x[..., :-2] + (right - left) / (left * right) * x[..., 1:-1]
             + left / (right * (left + right)) * x[..., 2:]) if np.ndim(h) else (
        (x[..., 2:] - x[..., :-2]) / f.dtype.type(2 * float(h)))
    first, last = _edges(x, spacing, edge_order)
    return np.moveaxis(concatenate_([first, inner, last], -1), -1, axis)


def _edges(x: Tracer, h: np.ndarray, edge_order: int) -> tuple[Any, Any]:
    """One-sided differences at both ends, of first or second order."""
    if edge_order == 1:
        return (x[..., 1:2] - x[..., 0:1]) / h[0], (x[..., -1:] - x[..., -2:-1]) / h[-1]
    return _one_sided(x, h[0], h[1]), -_one_sided(x[..., ::-1], h[-1], h[-2])


def _one_sided(x: Any, h1: float, h2: float) -> Any:
    return (-(2 * h1 + h2) / (h1 * (h1 + h2)) * x[..., 0:1] + (h1 + h2) / (h1 * h2) * x[..., 1:2]
            - h1 / (h2 * (h1 + h2)) * x[..., 2:3])


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """sum h_i (y_i + y_{i+1}) / 2."""
    y = np.moveaxis(traced(y), axis, -1)
    if x is not None:
        dx = np.diff(x) if np.ndim(x) == 1 else np.moveaxis(np.diff(x, axis=axis), axis, -1)
    return np.sum(dx * (y[..., 1:] + y[..., :-1]) / 2.0, axis=-1)


def _slide(a: Any, kernel: Any, mode: str) -> Any:
    """Correlate the longer `a` with `kernel`, keeping what the mode asks for."""
    n, m = a.size, kernel.size
    before = {"full": m - 1, "same": m // 2, "valid": 0}[mode]
    count = {"full": n + m - 1, "same": n, "valid": n - m + 1}[mode]
    padded = np.pad(a, (before, max(0, count + m - 1 - n - before))) if mode != "valid" else a
    windows = np.lib.stride_tricks.sliding_window_view(padded, m)[:count]
    return windows @ kernel


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """u_k = sum_i a_i v_{k-i}: correlation with the shorter operand, reversed."""
    a, v = np.ravel(traced(a)), np.ravel(traced(v))
    longer, shorter = (a, v) if a.size >= v.size else (v, a)
    return _slide(longer, shorter[::-1], mode)


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """u_k = sum_i a_{i+k} v_i; with the operands exchanged, the result comes out reversed."""
    a, v = np.ravel(traced(a)), np.ravel(traced(v))
    return _slide(a, v, mode) if a.size >= v.size else _slide(v, a, mode)[::-1]


# -- padding, diagonals, triangles ---------------------------------------------------------------------------------


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    node = node_of_any(array)
    if mode == "constant":
        return _pad_constant(node, pad_width, options.get("constant_values", 0))
    if mode not in ("edge", "reflect", "symmetric", "wrap", "empty") or options.get("reflect_type", "even") != "even":
        return current_session().rewriter.replace(np.pad._implementation)(finished(node), pad_width, mode, **options)
    return moved(node, lambda v: np.pad(v, pad_width, mode, **options))


def _pad_constant(node: Node, pad_width: Any, value: Any) -> Any:
    """Where NumPy pads the positions with -1, the constant stands; the rest is a scatter."""
    marks = np.pad(np.zeros(node.shape, bool), pad_width, constant_values=True)
    places = np.nonzero(~marks)
    maps = [table_map(p.reshape(node.shape), node.shape) for p in places]
    inside = scatter(node, maps, marks.shape)
    if not isinstance(value, Tracer):
        fill = np.pad(np.zeros(node.shape, node.dtype), pad_width, constant_values=value)
        return apply("add", inside, constant(fill)) if fill.any() else inside
    return select(marks, value, Tracer(inside, current_session()), node.dtype)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    v = traced(v)
    return np.diagonal(v, k) if v.ndim == 2 else diagflat(v, k)


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    node = np.ravel(traced(v)).node
    rows = np.arange(node.size) + max(-k, 0)
    n = node.size + abs(k)
    return scatter(node, [table_map(p, node.shape) for p in (rows, rows + k)], (n, n))


def _triangle(function: Callable) -> Callable:
    def rule(m: Any, k: int = 0) -> Any:
        m = traced(m)
        return select(function(np.ones(m.shape[-2:], bool), k), m, 0, m.dtype)

    return implements(function)(rule)


tril = _triangle(np.tril)
triu = _triangle(np.triu)
implements(np.tril_indices_from)(lambda arr, k=0: np.tril_indices(arr.shape[-2], k=k, m=arr.shape[-1]))
implements(np.triu_indices_from)(lambda arr, k=0: np.triu_indices(arr.shape[-2], k=k, m=arr.shape[-1]))
implements(np.diag_indices_from)(lambda arr: np.diag_indices(arr.shape[0], arr.ndim))


@implements(np.fill_diagonal)
def fill_diagonal(a: Tracer, val: Any, wrap: bool = False) -> None:
    n = min(a.shape)
    a[(np.arange(n),) * a.ndim] = val


@implements(np.put)
def put(a: Tracer, ind: Any, v: Any, mode: str = "raise") -> None:
    a.reshape(-1)[ind] = v


@implements(np.putmask)
def putmask(a: Tracer, mask: Any, values: Any) -> None:
    values = traced(values)
    places = np.flatnonzero(decided(mask))
    a.reshape(-1)[places] = values.reshape(-1)[places % values.size]


@implements(np.place)
def place(arr: Tracer, mask: Any, vals: Any) -> None:
    vals = np.ravel(traced(vals))
    places = np.flatnonzero(decided(mask))
    arr.reshape(-1)[places] = vals[np.arange(len(places)) % vals.size]


@implements(np.copyto)
def copyto(dst: Tracer, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    dst[...] = src if where is True else select(where, src, dst, dst.dtype)


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple:
    rank = len(xi)
    axes = [1, 0, *range(2, rank)] if indexing == "xy" and rank > 1 else list(range(rank))
    parts = [np.ravel(traced(x)).reshape([-1 if d == axes[k] else 1 for d in range(rank)]) for k, x in enumerate(xi)]
    return tuple(parts) if sparse else tuple(np.broadcast_arrays(*parts))


@implements(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    x = traced(x)
    powers = np.arange(len(x) if N is None else N)
    return x[:, None] ** (powers if increasing else powers[::-1])


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """Horner's rule."""
    result = np.zeros_like(x)
    for k in range(len(p)):
        result = result * x + p[k]
    return result


@implements(np.polyfit)
def polyfit(x: Any, y: Any, deg: int, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False) -> Any:
    """Linear in y: NumPy's own fit of the unit vectors gives the matrix."""
    if full or cov or isinstance(x, Tracer) or isinstance(w, Tracer):
        raise unsupported("polyfit with traced x or w, or with full or cov")
    y = traced(y)
    return np.polyfit(x, np.eye(len(y)), deg, rcond, w=w) @ y


@implements(np.poly)
def poly(seq_of_zeros: Any) -> Any:
    """The coefficients of prod (z - zero), the highest first."""
    zeros = traced(seq_of_zeros)
    if zeros.ndim != 1:
        raise unsupported("poly of a matrix")
    return functools.reduce(lambda a, zero: np.convolve(a, np.stack([np.ones(()), -zero])), zeros, np.ones(1))


@implements(np.polymul)
def polymul(a1: Any, a2: Any) -> Any:
    a1, a2 = (traced(a) if isinstance(a, Tracer) else np.trim_zeros(np.atleast_1d(a), "f") for a in (a1, a2))
    return np.convolve(a1, a2)


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Piecewise linear: fp_0 + sum_k slope_k clip(x - xp_k, 0, xp_{k+1} - xp_k), with constant nodes."""
    if period is not None:
        return _periodic(x, xp, fp, period)
    if isinstance(xp, Tracer):
        return _between(traced(x), xp, traced(fp), left, right)
    xp, x = np.asarray(xp, float), traced(x)
    slopes = np.diff(fp) / np.diff(xp)
    inside = fp[0] + np.sum(slopes * np.clip(x[..., None] - xp[:-1], 0.0, np.diff(xp)), axis=-1)
    inside = inside if left is None else np.where(np.less(x, xp[0]), left, inside)
    return inside if right is None else np.where(np.greater(x, xp[-1]), right, inside)


def _periodic(x: Any, xp: Any, fp: Any, period: float) -> Any:
    """The nodes of one period in order, and one more on each side."""
    xp, x = np.mod(xp, abs(period)), np.mod(x, abs(period))
    order = np.argsort(xp)
    xp, fp = xp[order], traced(fp)[order]
    xp = np.concatenate([xp[-1:] - abs(period), xp, xp[:1] + abs(period)])
    return np.interp(x, xp, np.concatenate([fp[-1:], fp, fp[:1]]))


def _between(x: Tracer, xp: Tracer, fp: Tracer, left: Any, right: Any) -> Any:
    """fp_k + (x - xp_k) (fp_{k+1} - fp_k) / (xp_{k+1} - xp_k), with traced nodes: the interval of x is decided."""
    k = np.clip(decided(np.searchsorted(xp, x, "right")) - 1, 0, max(len(xp) - 2, 0))
    share = np.clip((x - xp[k]) / (xp[k + 1] - xp[k]), 0.0, 1.0)
    inside = fp[k] + share * (fp[k + 1] - fp[k])
    inside = inside if left is None else np.where(np.less(x, xp[0]), left, inside)
    return inside if right is None else np.where(np.greater(x, xp[-1]), right, inside)


# -- rounding, closeness, numbers ----------------------------------------------------------------------------------


@implements(np.round, np.around)
def round_(a: Any, decimals: int = 0, out: Any = None) -> Any:
    a = traced(a)
    if a.dtype.kind != "f":
        return a
    scale = 10.0 ** decimals
    return np.rint(a) if decimals == 0 else np.rint(a * scale) / scale


@implements(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    return np.trunc(x)


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    near = np.less_equal(np.abs(np.subtract(a, b)), atol + rtol * np.abs(b))
    return np.logical_or(np.logical_and(near, np.isfinite(b)), np.equal(a, b))


implements(np.allclose)(lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: np.all(isclose(a, b, rtol, atol)))
implements(np.array_equiv)(
    lambda a1, a2: np.all(np.equal(a1, a2)) if _broadcasts(np.shape(a1), np.shape(a2)) else False)
implements(np.array_equal)(
    lambda a1, a2, equal_nan=False: np.all(np.equal(a1, a2)) if np.shape(a1) == np.shape(a2) else False)


def _broadcasts(*shapes: tuple[int, ...]) -> bool:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    x = traced(x)
    info = np.finfo(x.dtype)
    high, low = info.max if posinf is None else posinf, info.min if neginf is None else neginf
    return select(np.isnan(x), nan, np.where(x == np.inf, high, np.where(x == -np.inf, low, x)), x.dtype)


@implements(np.i0)
def i0(x: Any) -> Any:
    return finished(apply("i0", node_of_any(x, np.result_type(promotion_type(x), np.float32))))


@implements(np.sinc)
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), and 1 at 0."""
    x = traced(x)
    return apply("sinc", x.node if x.dtype.kind == "f" else cast(x.node, np.float64))


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    z = traced(z)
    return select(z < 0, 180.0 if deg else np.pi, 0.0, z.dtype)


@implements(np.apply_along_axis)
def apply_along_axis(func1d: Callable, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    arr = np.moveaxis(traced(arr), axis, -1)
    lead = arr.shape[:-1]
    results = [traced(func1d(arr[place], *args, **kwargs)) for place in np.ndindex(*lead)]
    made = np.reshape(np.stack(results), (*lead, *results[0].shape))
    inner = results[0].ndim
    return np.moveaxis(made, range(-inner, 0), range(axis, axis + inner)) if inner else made


# -- covariance ----------------------------------------------------------------------------------------------------


@implements(np.cov)
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None, **options: Any) -> Any:
    """(X - mean) (X - mean)^T / (n - ddof), variables along the rows."""
    if any(v is not None for v in options.values()):
        raise unsupported("cov with weights")
    x = _variables(m, rowvar)
    x = x if y is None else concatenate_([x, _variables(y, rowvar)], 0)
    off = x - np.mean(x, axis=1, keepdims=True)
    product = off @ off.T / (x.shape[1] - ((not bias) if ddof is None else ddof))
    return np.squeeze(product)


def _variables(m: Any, rowvar: bool) -> Any:
    m = np.atleast_2d(traced(m))
    return m if rowvar or m.shape[0] == 1 else m.T


@implements(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Any:
    c = cov(x, y, rowvar)
    spread = np.sqrt(np.diag(c))
    return c / spread[:, None] / spread[None, :]
