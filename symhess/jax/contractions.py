"""Rules of products of arrays, convolutions and windows that slide over arrays."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from symhess.jax.movement import pad
from symhess.jax.reductions import greatest, least
from symhess.jax.table import known, rule
from symhess.trace.assignment import scattered
from symhess.trace.shaping import traced

Outs = Sequence[Any]


@rule("dot_general")
def dot_general(outs: Outs, x: Any, y: Any, *, dimension_numbers: Any, **params: Any) -> Any:
    """Sums over pairs of axes; the result has the batch axes first, then the others of x and of y."""
    (sum_x, sum_y), (batch_x, batch_y) = dimension_numbers
    letters = iter(string.ascii_letters)
    labels_x = [next(letters) for _ in x.shape]
    labels_y = [next(letters) for _ in y.shape]
    for pairs in ((sum_x, sum_y), (batch_x, batch_y)):
        for i, j in zip(*pairs):
            labels_y[j] = labels_x[i]
    rest = [l for d, l in enumerate(labels_x) if d not in (*sum_x, *batch_x)] + [
        l for d, l in enumerate(labels_y) if d not in (*sum_y, *batch_y)]
    output = [labels_x[d] for d in batch_x] + rest
    return np.einsum(f"{''.join(labels_x)},{''.join(labels_y)}->{''.join(output)}", *_of_type(outs, x, y))


def _of_type(outs: Outs, *factors: Any) -> list[Any]:
    """The factors in the type of the result."""
    dtype = np.dtype(outs[0].dtype)
    return [f if known(f) or f.dtype == dtype or dtype.kind != "f" else f.astype(dtype) for f in factors]


# -- convolutions --------------------------------------------------------------------------------------------------


@rule("conv_general_dilated")
def conv_general_dilated(outs: Outs, x: Any, w: Any, *, window_strides: Sequence[int], padding: Sequence[Any],
                         lhs_dilation: Sequence[int], rhs_dilation: Sequence[int], dimension_numbers: Any,
                         feature_group_count: int, batch_group_count: int, **params: Any) -> Any:
    """out[n, o, e] = sum_{i, k}  x[n, i, stride e + dilation k] w[o, i, k], for each group of features i and o."""
    d = dimension_numbers
    x, w = (np.transpose(v, spec) for v, spec in zip(_of_type(outs, x, w), (d.lhs_spec, d.rhs_spec)))
    x = _padded(x, [(low, high, inner - 1) for (low, high), inner in zip(padding, lhs_dilation)], np.zeros((), x.dtype))
    rank = len(window_strides)
    size = [(k - 1) * s + 1 for k, s in zip(w.shape[2:], rhs_dilation)]
    windows = _windows(x, [1, 1, *size], [1, 1, *window_strides], [1, 1, *rhs_dilation])
    windows = np.reshape(windows, (*x.shape[:2], *windows.shape[2:2 + rank], *w.shape[2:]))
    groups = feature_group_count if batch_group_count == 1 else batch_group_count
    place, kernel = string.ascii_lowercase[:rank], string.ascii_lowercase[rank:2 * rank]
    w = np.reshape(w, (groups, -1, *w.shape[1:]))
    if batch_group_count > 1:  # group g of the images meets group g of the filters
        windows = np.reshape(windows, (groups, -1, *windows.shape[1:]))
        text = f"GNI{place}{kernel},GOI{kernel}->NGO{place}"
    else:
        windows = np.reshape(windows, (windows.shape[0], groups, -1, *windows.shape[2:]))
        text = f"NGI{place}{kernel},GOI{kernel}->NGO{place}"
    out = np.einsum(text, windows, w)
    out = np.reshape(out, (out.shape[0], -1, *out.shape[3:]))
    return np.transpose(out, np.argsort(d.out_spec))


def _padded(x: Any, config: Sequence[tuple[int, int, int]], value: Any) -> Any:
    """x padded, with `inner` values between elements of the last axes."""
    config = [(0, 0, 0)] * (len(x.shape) - len(config)) + list(config)
    shape = tuple(max(low + high + n + max(n - 1, 0) * inner, 0) for (low, high, inner), n in zip(config, x.shape))
    return pad([jax.ShapeDtypeStruct(shape, x.dtype)], x, value, padding_config=config)


def _windows(x: Any, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Any:
    """All windows: first the axes of where they are, then those of what is in them."""
    shown = np.lib.stride_tricks.sliding_window_view(x, tuple(size))
    key = [slice(None, None, s) for s in strides] + [slice(None, None, s) for s in dilation]
    return shown[tuple(key)]


# -- windows -------------------------------------------------------------------------------------------------------


def _window_reduction(function: Callable, neutral: Callable[[np.dtype], Any]) -> Callable:
    """A reduction of every window of a padded array."""
    def run(outs: Outs, x: Any, *, window_dimensions: Sequence[int], window_strides: Sequence[int],
            padding: Sequence[Any], base_dilation: Sequence[int], window_dilation: Sequence[int], **params: Any) -> Any:
        value = np.asarray(neutral(np.dtype(x.dtype)), x.dtype)
        x = _padded(x, [(low, high, inner - 1) for (low, high), inner in zip(padding, base_dilation)], value)
        size = [(k - 1) * s + 1 for k, s in zip(window_dimensions, window_dilation)]
        windows = _windows(x, size, window_strides, window_dilation)
        rank = len(x.shape)
        return function(windows, axis=tuple(range(rank, 2 * rank)))

    return run


for _name, _function, _neutral in (("sum", np.sum, lambda dtype: 0), ("max", np.max, least), ("min", np.min, greatest)):
    rule(f"reduce_window_{_name}")(_window_reduction(_function, _neutral))


def _first_extremes(x: Any, dimensions: Sequence[int], strides: Sequence[int], padding: Sequence[Any],
                    largest: bool) -> tuple[np.ndarray, Any]:
    """Where the elements of windows of x are in it (-1 in the margin), and which is the first extreme one of each.

    What is in a window has the last axis.
    """
    rank = len(x.shape)
    value = np.asarray((least if largest else greatest)(np.dtype(x.dtype)), x.dtype)
    config = [(low, high, 0) for low, high in padding]

    def in_rows(v: Any) -> Any:
        shown = _windows(v, dimensions, strides, [1] * rank)
        return np.reshape(shown, (*shown.shape[:rank], -1))

    windows = in_rows(_padded(x, config, value))
    places = in_rows(_padded(np.arange(math.prod(x.shape)).reshape(x.shape), config, np.int64(-1)))
    best = (np.max if largest else np.min)(windows, axis=-1, keepdims=True)
    equal = windows == best
    return places, np.logical_and(equal, np.cumsum(equal, axis=-1) == 1)


@rule("select_and_scatter_add")
def select_and_scatter_add(outs: Outs, source: Any, x: Any, *, select_prim: Any, window_dimensions: Sequence[int],
                           window_strides: Sequence[int], padding: Sequence[Any], **params: Any) -> Any:
    """Each element of the source added where the extreme element of its window is: the transpose of pooling."""
    places, first = _first_extremes(x, window_dimensions, window_strides, padding, select_prim.name == "ge")
    parts = np.where(first, np.expand_dims(source, -1), 0)
    inside = places.reshape(-1) >= 0
    values = np.reshape(parts, (-1,))[inside]
    total = scattered(traced(np.zeros(math.prod(x.shape), x.dtype)), places.reshape(-1)[inside], values)
    return np.reshape(total, x.shape)


@rule("select_and_gather_add")
def select_and_gather_add(outs: Outs, moved: Any, x: Any, *, select_prim: Any, window_dimensions: Sequence[int],
                          window_strides: Sequence[int], padding: Sequence[Any], **params: Any) -> Any:
    """What moves at the extreme element of each window: the tangent of pooling."""
    places, first = _first_extremes(x, window_dimensions, window_strides, padding, select_prim.name == "ge")
    rows = np.reshape(moved, (-1,))[np.maximum(places, 0)]
    return np.sum(np.where(first, rows, 0), axis=-1)
