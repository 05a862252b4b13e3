"""Rules of reductions, running sums and sorting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.jax.elementwise import wrapped
from symhess.jax.table import RULES, known, rule

Outs = Sequence[Any]


def _reduction(function: Callable) -> Callable:
    def run(outs: Outs, x: Any, *, axes: Sequence[int], **params: Any) -> Any:
        return function(x, axis=tuple(axes)) if axes else x

    return run


def _extreme(function: Callable, lowest: Callable[[np.dtype], Any]) -> Callable:
    """The largest or smallest; of no elements the bound that JAX gives."""
    def run(outs: Outs, x: Any, *, axes: Sequence[int], **params: Any) -> Any:
        if 0 in [x.shape[d] for d in axes]:
            return np.full(outs[0].shape, lowest(np.dtype(outs[0].dtype)), outs[0].dtype)
        return function(x, axis=tuple(axes)) if axes else x

    return run


def least(dtype: np.dtype) -> Any:
    """The smallest number of a type."""
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind in "iu" else False


def greatest(dtype: np.dtype) -> Any:
    """The largest number of a type."""
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max if dtype.kind in "iu" else True


RULES.update({
    "reduce_prod": _reduction(np.prod), "reduce_and": _reduction(np.all),
    "reduce_or": _reduction(np.any), "reduce_max": _extreme(np.max, least), "reduce_min": _extreme(np.min, greatest),
})


@rule("reduce_sum")
def reduce_sum(outs: Outs, x: Any, *, axes: Sequence[int], **params: Any) -> Any:
    return wrapped(np.sum(x, axis=tuple(axes)), np.dtype(outs[0].dtype)) if axes else x


@rule("reduce_xor")
def reduce_xor(outs: Outs, x: Any, *, axes: Sequence[int], **params: Any) -> Any:
    """Of truth values: whether an odd number of them holds."""
    if known(x):
        return np.bitwise_xor.reduce(x, tuple(axes))
    return np.sum(x.astype(np.int64), axis=tuple(axes)) % 2 == 1


def _place(function: Callable) -> Callable:
    def run(outs: Outs, x: Any, *, axes: Sequence[int], **params: Any) -> Any:
        (axis,) = axes
        return function(x, axis=axis)

    return run


RULES.update({"argmax": _place(np.argmax), "argmin": _place(np.argmin)})


# -- along an axis -------------------------------------------------------------------------------------------------


def _running(function: Callable) -> Callable:
    def run(outs: Outs, x: Any, *, axis: int, reverse: bool, **params: Any) -> Any:
        if not reverse:
            return function(x, axis=axis)
        return np.flip(function(np.flip(x, axis), axis=axis), axis)

    return run


def _log_sums(x: Any, axis: int) -> Any:
    """log of the running sums of exp(x)."""
    return np.logaddexp.accumulate(x, axis=axis)


RULES.update({
    "cumsum": _running(np.cumsum), "cumprod": _running(np.cumprod),
    "cummax": _running(lambda x, axis: np.maximum.accumulate(x, axis=axis)),
    "cummin": _running(lambda x, axis: np.minimum.accumulate(x, axis=axis)),
    "cumlogsumexp": _running(_log_sums),
})


@rule("sort")
def sort(outs: Outs, *operands: Any, dimension: int, num_keys: int, **params: Any) -> list[Any]:
    """All operands in the order of the first ones; the order is decided by this call, and guarded."""
    if num_keys == 1:
        order = np.argsort(operands[0], axis=dimension, kind="stable")
    else:
        order = np.lexsort(tuple(reversed(operands[:num_keys])), axis=dimension)
    return [np.take_along_axis(x, order, dimension) for x in operands]


@rule("top_k")
def top_k(outs: Outs, x: Any, *, k: int, **params: Any) -> list[Any]:
    """The k largest of the last axis, in falling order, and their places."""
    axis = params.get("axis", -1) % len(x.shape)
    order = np.argsort(-x, axis=axis, kind="stable")
    order = order[(*(slice(None),) * axis, slice(0, k))]
    return [np.take_along_axis(x, order, axis), order]
