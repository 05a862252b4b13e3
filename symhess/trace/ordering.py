"""Sorting, searching, counting: the order is decided by the values of this call, and guarded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.graph.maps import table_map
from symhess.primitives import scatter
from symhess.trace.functions import implements, unsupported
from symhess.trace.session import current_session
from symhess.trace.shaping import traced
from symhess.trace.tracer import Tracer
from symhess.trace.ufuncs import node_of_any

_REMEDY = "the order depends on the inputs: let the function be retraced for every order (mode=\"auto\")"


@implements(np.argsort)
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    v = traced(a)
    if axis is None:
        v, axis = v.reshape(-1), 0
    session = current_session()
    order_ = np.argsort(session.value(v.node, "sorting", _REMEDY), axis=axis, kind="stable")
    ordered = np.moveaxis(np.take_along_axis(v, order_, axis), axis, -1)
    session.require(np.less_equal(ordered[..., :-1], ordered[..., 1:]).node)
    return order_


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    v = traced(a)
    if axis is None:
        v, axis = v.reshape(-1), 0
    return np.take_along_axis(v, argsort(v, axis), axis)


def _arg_extreme(function: Callable, beats: np.ufunc) -> Callable:
    def rule(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        v = traced(a)
        if axis is None:
            v, axis = v.reshape(-1), 0
        session = current_session()
        place = function(session.value(v.node, function.__name__, _REMEDY), axis=axis, keepdims=True)
        session.require(beats(np.take_along_axis(v, place, axis), v).node)
        return place if keepdims is True else place.squeeze(axis)[()]

    return implements(function)(rule)


argmax = _arg_extreme(np.argmax, np.greater_equal)
argmin = _arg_extreme(np.argmin, np.less_equal)


@implements(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    v = np.moveaxis(sort(a, axis), -1 if axis is None else axis, -1)
    n = v.shape[-1]
    result = v[..., n // 2] if n % 2 else 0.5 * (v[..., n // 2 - 1] + v[..., n // 2])
    return np.expand_dims(result, axis) if keepdims else result


@implements(np.nonzero)
def nonzero(a: Any) -> tuple:
    mask = np.not_equal(a, 0)
    return np.nonzero(current_session().decide_array(mask.node, "nonzero", _REMEDY))


implements(np.flatnonzero)(lambda a: nonzero(np.ravel(a))[0])
implements(np.argwhere)(lambda a: np.transpose(nonzero(a)))


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """How many nodes lie below each value: an integer that is computed at run time."""
    if isinstance(a, Tracer) or sorter is not None:
        raise unsupported("searchsorted in a traced array")
    below = np.less(a, traced(v)[..., None]) if side == "left" else np.less_equal(a, traced(v)[..., None])
    return np.sum(below, axis=-1)


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """Into which of the increasing bins a value falls."""
    if not isinstance(bins, Tracer) and np.any(np.diff(bins) < 0):
        raise unsupported("digitize with decreasing bins")
    return searchsorted(bins, x, side="left" if right else "right")


@implements(np.bincount)
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """The sum of the weights that fall to each number."""
    if isinstance(x, Tracer):
        raise unsupported("bincount of traced numbers")
    w = node_of_any(weights, np.float64)
    size = max(int(np.max(x)) + 1 if len(x) else 0, minlength)
    return scatter(w, [table_map(np.asarray(x), w.shape)], (size,))


@implements(np.quantile)
def quantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
             keepdims: bool = False, **options: Any) -> Any:
    """Linear interpolation between the two nearest values in order."""
    if method != "linear" or isinstance(q, Tracer) or keepdims:
        raise unsupported(f"quantile with method={method!r}, traced q or keepdims")
    v = np.moveaxis(sort(a, axis), -1 if axis is None else axis, 0)
    place = np.asarray(q, float) * (v.shape[0] - 1)
    low = np.clip(np.floor(place).astype(int), 0, max(v.shape[0] - 2, 0))
    share = (place - low).reshape(place.shape + (1,) * (v.ndim - 1)).astype(v.dtype)
    return v[low] * (1 - share) + v[np.minimum(low + 1, v.shape[0] - 1)] * share


implements(np.percentile)(lambda a, q, *args, **options: quantile(a, np.asarray(q) / 100, *args, **options))
