"""NumPy's nan functions: NaNs left out of sums, extremes, moments and orders."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.trace.functions import implements
from symhess.trace.ordering import argmax, argmin, decided, median, percentile, quantile
from symhess.trace.shaping import traced
from symhess.trace.tracer import Tracer


def _there(a: Any) -> tuple[Tracer, Any]:
    """The array, and where it holds numbers; integers always do."""
    v = traced(a)
    return v, np.logical_not(np.isnan(v)) if v.dtype.kind == "f" else True


def _filled(a: Any, value: float) -> Tracer:
    v, there = _there(a)
    return v if there is True else np.where(there, v, v.dtype.type(value))


def _replacing(original: Callable, function: Callable, value: float) -> None:
    """The function, with `value` in place of every NaN."""
    implements(original)(lambda a, *args, **options: function(_filled(a, value), *args, **options))


_replacing(np.nansum, np.sum, 0)
_replacing(np.nanprod, np.prod, 1)
_replacing(np.nancumsum, np.cumsum, 0)
_replacing(np.nancumprod, np.cumprod, 1)
_replacing(np.nanargmax, argmax, -np.inf)
_replacing(np.nanargmin, argmin, np.inf)


def _extreme(original: Callable, function: Callable, value: float) -> None:
    def rule(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, **options: Any) -> Any:
        v, there = _there(a)
        if there is True:
            return function(v, axis, None, keepdims, **options)
        found = function(np.where(there, v, v.dtype.type(value)), axis, None, keepdims, **options)
        return np.where(np.any(there, axis=axis, keepdims=keepdims), found, v.dtype.type(np.nan))

    implements(original)(rule)


_extreme(np.nanmax, np.max, -np.inf)
_extreme(np.nanmin, np.min, np.inf)


def _moment(original: Callable, function: Callable) -> None:
    def rule(a: Any, *args: Any, **options: Any) -> Any:
        v, there = _there(a)
        return function(v, *args, **options) if there is True else function(v, *args, where=there, **options)

    implements(original)(rule)


_moment(np.nanmean, np.mean)
_moment(np.nanvar, np.var)
_moment(np.nanstd, np.std)


def _ordered(original: Callable, function: Callable) -> None:
    """An order statistic of the numbers in every lane; which ones they are is decided by this call."""
    signature = inspect.signature(original)

    def rule(*args: Any, **options: Any) -> Any:
        given = signature.bind(*args, **options).arguments
        v, there = _there(given.pop("a"))
        axis, keepdims = given.pop("axis", None), given.pop("keepdims", False) is True
        known = np.ones(v.shape, bool) if there is True else decided(there)
        rest = {k: given[k] for k in ("q", "method") if k in given}
        if known.all():
            return function(v, axis=axis, keepdims=keepdims, **rest)
        lanes = np.reshape(v, (1, -1)) if axis is None else np.moveaxis(v, axis, -1)
        masks = known.reshape(lanes.shape) if axis is None else np.moveaxis(known, axis, -1)
        made = [function(lanes[p][masks[p]], **rest) if masks[p].any() else np.nan
                for p in np.ndindex(*lanes.shape[:-1])]
        result = np.stack([traced(m) for m in made], -1)
        result = result.reshape((*result.shape[:-1], *lanes.shape[:-1]) if axis is not None else result.shape[:-1])
        return np.expand_dims(result, axis) if keepdims else result

    implements(original)(rule)


_ordered(np.nanmedian, median)
_ordered(np.nanquantile, quantile)
_ordered(np.nanpercentile, percentile)
