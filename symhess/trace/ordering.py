"""Sorting, searching, counting: the order is decided by the values of this call, and guarded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.graph.maps import table_map
from symhess.primitives import scatter
from symhess.trace.functions import implements, unsupported
from symhess.trace.session import current_session, known
from symhess.trace.shaping import traced
from symhess.trace.tracer import Tracer
from symhess.trace.ufuncs import composed, node_of_any

_REMEDY = "the order depends on the inputs: let the function be retraced for every order (mode=\"auto\")"


def decided(a: Any, what: str = "an index") -> np.ndarray:
    """The value of an integer or boolean array for this call, guarded."""
    if not isinstance(a, Tracer):
        return np.asarray(a)
    return np.asarray(a) if a.concrete is not None else current_session().decide_array(a.node, what, _REMEDY)


def _lanes(a: Any, axis: Any) -> tuple[Tracer, int]:
    """The array and an axis of it; flattened where axis is None."""
    v = traced(a)
    return (v.reshape(-1), 0) if axis is None else (v, axis)


def _values(v: Tracer, what: str) -> np.ndarray:
    return current_session().value(v.node, what, _REMEDY)


@implements(np.argsort)
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """The stable order. It holds where neighbours rise, and strictly where their places fall."""
    v, axis = _lanes(a, axis)
    order_ = np.argsort(_values(v, "sorting"), axis=axis, kind="stable")
    if not known(v.node):
        places, ordered = (np.moveaxis(x, axis, -1) for x in (order_, np.take_along_axis(v, order_, axis)))
        low, high = ordered[..., :-1], ordered[..., 1:]
        rising = places[..., :-1] < places[..., 1:]
        current_session().require(np.logical_or(low < high, np.logical_and(rising, low == high)).node, "an order")
    return order_


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    v, axis = _lanes(a, axis)
    return np.take_along_axis(v, argsort(v, axis), axis)


implements(np.sort_complex)(lambda a: sort(a).astype(complex))


@implements(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Any:
    """The order by the last key, then by the last but one, and so on: one stable sort after the other."""
    keys = [np.moveaxis(traced(k), axis, -1) for k in keys]
    order = np.broadcast_to(np.arange(keys[0].shape[-1]), keys[0].shape)
    for key in keys:
        step = argsort(np.take_along_axis(key, order, -1), -1)
        order = np.take_along_axis(order, step, -1)
    return np.moveaxis(order, -1, axis)


@implements(np.argpartition)
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    """NumPy's places; they hold while no element is on the wrong side of a k-th one."""
    v, axis = _lanes(a, axis)
    places = np.argpartition(_values(v, "sorting"), kth, axis=axis)
    parted = np.moveaxis(np.take_along_axis(v, places, axis), axis, -1)
    for k in np.ravel(kth).tolist():
        pivot = parted[..., k, None]
        k %= parted.shape[-1]
        current_session().require(np.less_equal(parted[..., :k], pivot).node, "a partition")
        current_session().require(np.greater_equal(parted[..., k + 1:], pivot).node, "a partition")
    return places


@implements(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    v, axis = _lanes(a, axis)
    return np.take_along_axis(v, argpartition(v, kth, axis), axis)


def _sort_in_place(function: Callable) -> Callable:
    def run(self: Tracer, *args: Any, **options: Any) -> None:
        self[...] = function(self, *args, **options)

    return run


Tracer.sort = _sort_in_place(np.sort)
Tracer.partition = _sort_in_place(np.partition)


def _arg_extreme(function: Callable, beats: np.ufunc, equals: np.ufunc) -> Callable:
    """The first of the extreme elements: it beats those before it, and is not beaten by those behind it."""
    def rule(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        whole, (v, axis) = axis is None, _lanes(a, axis)
        place = function(_values(v, function.__name__), axis=axis, keepdims=True)
        best = np.take_along_axis(v, place, axis)
        late = np.moveaxis(np.moveaxis(place, axis, -1) <= np.arange(v.shape[axis]), -1, axis)
        current_session().require(np.where(late, equals(best, v), beats(best, v)).node, "the place of an extreme")
        if keepdims is True:
            return place.reshape((1,) * np.ndim(a)) if whole else place
        return place.squeeze(axis)[()]

    return implements(function)(rule)


argmax = _arg_extreme(np.argmax, np.greater, np.greater_equal)
argmin = _arg_extreme(np.argmin, np.less, np.less_equal)


# -- order statistics ----------------------------------------------------------------------------------------------


def _statistic(a: Any, axis: Any, keepdims: Any, pick: Callable[[Any], Any], lead: int = 0) -> Any:
    """`pick` of the sorted values, which stand along the first axis; the statistic adds `lead` axes in front."""
    v = traced(a)
    axes = tuple(range(v.ndim)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, v.ndim)
    rest = [d for d in range(v.ndim) if d not in axes]
    lanes = np.transpose(v, [*axes, *rest]).reshape((-1, *(v.shape[d] for d in rest)))
    result = pick(sort(lanes, 0))
    if keepdims is True:
        result = np.expand_dims(result, tuple(lead + d for d in axes))
    return result


@implements(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    def pick(v: Any) -> Any:
        n = v.shape[0]
        if not n:
            return np.full(v.shape[1:], np.nan)
        middle = v[n // 2] if n % 2 else (v[n // 2 - 1] + v[n // 2]) / 2
        return middle / 1 if middle.dtype.kind != "f" else middle

    return _statistic(a, axis, keepdims, pick)


@implements(np.quantile)
def quantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
             keepdims: Any = False, *, weights: Any = None, interpolation: Any = None) -> Any:
    """A value between two neighbours in order: where NumPy finds it in 0, 1, 2, ..."""
    if weights is not None or interpolation is not None or (isinstance(q, Tracer) and method != "linear"):
        raise unsupported("quantile with weights, or with a traced q and another method than linear")

    def pick(v: Any) -> Any:
        n = v.shape[0]
        place = q * (n - 1) if isinstance(q, Tracer) else np.quantile(np.arange(float(n)), q, method=method)
        low = decided(np.clip(np.floor(place).astype(int), 0, max(n - 2, 0)))
        share = np.reshape(place - low, low.shape + (1,) * (v.ndim - 1)).astype(np.result_type(v.dtype, np.float32))
        return v[low] + (v[np.minimum(low + 1, n - 1)] - v[low]) * share

    return _statistic(a, axis, keepdims, pick, np.ndim(q))


@implements(np.percentile)
def percentile(a: Any, q: Any, *args: Any, **options: Any) -> Any:
    return quantile(a, np.true_divide(q, 100), *args, **options)


# -- positions and counts ------------------------------------------------------------------------------------------


@implements(np.nonzero)
def nonzero(a: Any) -> tuple:
    return np.nonzero(decided(np.not_equal(a, 0), "nonzero"))


implements(np.flatnonzero)(lambda a: nonzero(np.ravel(a))[0])
implements(np.argwhere)(lambda a: np.transpose(nonzero(a)))


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """How many nodes lie below each value: an integer that is computed at run time."""
    a = a if sorter is None else traced(a)[sorter]
    below = np.less(a, traced(v)[..., None]) if side == "left" else np.less_equal(a, traced(v)[..., None])
    return np.sum(below, axis=-1)


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """Into which of the monotonic bins a value falls."""
    side = "left" if right else "right"
    if not isinstance(bins, Tracer) and np.any(np.diff(bins) < 0):
        return len(bins) - searchsorted(bins[::-1], x, side)
    return searchsorted(bins, x, side)


@implements(np.bincount)
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """The sum of the weights that fall to each number."""
    x = decided(x)
    if weights is None:
        return np.bincount(x, minlength=minlength)
    w = node_of_any(weights, np.float64)
    size = max(int(np.max(x)) + 1 if len(x) else 0, minlength)
    return scatter(w, [table_map(np.asarray(x), w.shape)], (size,))


@implements(np.histogram)
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """How many values (or which weight) fall between two edges; the last bin has both of its edges."""
    if isinstance(bins, str):
        raise unsupported(f"histogram with bins={bins!r}")
    a = np.ravel(traced(a))
    low, high = (np.min(a), np.max(a)) if range is None else range
    edges = bins if np.ndim(bins) else np.append(np.linspace(low, high, int(bins) + 1)[:-1], high)
    count = len(edges) - 1
    place = decided(np.where(a == edges[-1], count, digitize(a, edges))) - 1
    inside = np.flatnonzero((place >= 0) & (place < count))
    counts = bincount(place[inside], None if weights is None else np.ravel(weights)[inside], count)
    return (counts / (np.sum(counts) * np.diff(edges)) if density else counts), edges


@implements(np.histogram_bin_edges)
def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    return histogram(a, bins, range)[1]


implements(np.unravel_index)(lambda indices, shape, order="C": np.unravel_index(decided(indices), shape, order))
implements(np.ravel_multi_index)(lambda multi_index, dims, mode="raise", order="C": np.ravel_multi_index(
    tuple(decided(i) for i in multi_index), dims, mode, order))


def frexp(x: Any) -> tuple:
    """x = m 2^e with 1/2 <= |m| < 1; the exponent is decided by the value of this call."""
    x = traced(x)
    exponent = np.frexp(_values(x, "an exponent"))[1].astype(np.int32)
    mantissa = x * np.ldexp(1.0, -exponent)
    size = np.abs(mantissa)
    current_session().require(np.logical_or((size >= 0.5) & (size < 1), x == 0).node, "an exponent")
    return mantissa, exponent


composed("frexp")(lambda x: tuple(node_of_any(v) for v in frexp(Tracer(x, current_session()))))

# -- sets ----------------------------------------------------------------------------------------------------------


@implements(np.unique)
def unique(ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
           axis: Any = None, *, equal_nan: bool = True, sorted: bool = True) -> Any:
    """The sorted values that differ from the one before; which do is decided by this call."""
    if axis is not None:
        raise unsupported("unique along an axis")
    v = traced(ar)
    flat = v.reshape(-1)
    order = argsort(flat)
    ordered = flat[order]
    first = np.r_[np.ones(min(flat.size, 1), bool), decided(ordered[1:] != ordered[:-1])]
    inverse = np.empty(flat.size, int)
    inverse[order] = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    results = (ordered[starts], order[starts], inverse.reshape(v.shape), np.diff(np.r_[starts, flat.size]))
    wanted = [r for r, asked in zip(results, (True, return_index, return_inverse, return_counts)) if asked]
    return wanted[0] if len(wanted) == 1 else tuple(wanted)


@implements(np.isin)
def isin(element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *,
         kind: Any = None) -> Any:
    found = np.any(np.equal(traced(element)[..., None], np.ravel(test_elements)), axis=-1)
    return np.logical_not(found) if invert else found
