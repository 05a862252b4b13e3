"""Rules of primitives that move elements: shapes, parts of arrays, and arrays put together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from symhess.jax.table import known, rule

Outs = Sequence[Any]


@rule("broadcast_in_dim")
def broadcast_in_dim(outs: Outs, x: Any, *, shape: Sequence[int], broadcast_dimensions: Sequence[int],
                     **params: Any) -> Any:
    """Axis d of x becomes axis broadcast_dimensions[d]; the others repeat it."""
    if tuple(shape) == x.shape:
        return x
    spread = [1] * len(shape)
    for n, d in zip(x.shape, broadcast_dimensions):
        spread[d] = n
    return np.broadcast_to(np.reshape(x, spread), tuple(shape))


@rule("reshape")
def reshape(outs: Outs, x: Any, *, dimensions: Any = None, **params: Any) -> Any:
    x = x if dimensions is None else np.transpose(x, dimensions)
    return np.reshape(x, outs[0].shape)


@rule("squeeze")
def squeeze(outs: Outs, x: Any, **params: Any) -> Any:
    return np.reshape(x, outs[0].shape)


@rule("transpose")
def transpose(outs: Outs, x: Any, *, permutation: Sequence[int], **params: Any) -> Any:
    return np.transpose(x, [int(d) for d in permutation])


@rule("rev")
def rev(outs: Outs, x: Any, *, dimensions: Sequence[int], **params: Any) -> Any:
    return np.flip(x, tuple(dimensions)) if dimensions else x


@rule("slice")
def slice_(outs: Outs, x: Any, *, start_indices: Sequence[int], limit_indices: Sequence[int], strides: Any,
           **params: Any) -> Any:
    steps = strides or (1,) * len(start_indices)
    return x[tuple(slice(int(a), int(b), int(s)) for a, b, s in zip(start_indices, limit_indices, steps))]


@rule("concatenate")
def concatenate(outs: Outs, *parts: Any, dimension: int, **params: Any) -> Any:
    return np.concatenate(parts, dimension) if len(parts) > 1 else parts[0]


@rule("stack")
def stack(outs: Outs, *parts: Any, axis: int, **params: Any) -> Any:
    return np.stack(parts, axis)


@rule("unstack")
def unstack(outs: Outs, x: Any, *, axis: int, **params: Any) -> list[Any]:
    lead = (slice(None),) * axis
    return [x[(*lead, k)] for k in range(x.shape[axis])]


@rule("tile")
def tile(outs: Outs, x: Any, *, reps: Sequence[int], **params: Any) -> Any:
    return np.tile(x, tuple(reps))


@rule("split")
def split(outs: Outs, x: Any, *, sizes: Sequence[int], axis: int, **params: Any) -> list[Any]:
    ends = np.cumsum([0, *sizes]).tolist()
    lead = (slice(None),) * axis
    return [x[(*lead, slice(a, b))] for a, b in itertools.pairwise(ends)]


@rule("pad")
def pad(outs: Outs, x: Any, value: Any, *, padding_config: Sequence[tuple[int, int, int]], **params: Any) -> Any:
    """`low` and `high` of the value at the ends of each axis (cut off where negative), `inner` between elements."""
    shape, target = x.shape, outs[0].shape
    if 0 in target:
        return np.zeros(target, outs[0].dtype)
    if known(value) and all(low >= 0 and high >= 0 and not inner for low, high, inner in padding_config):
        return np.pad(x, [(low, high) for low, high, _ in padding_config], constant_values=value) if shape else x
    for d, (low, _, inner) in enumerate(padding_config):
        places = low + (inner + 1) * np.arange(shape[d])
        inside = (places >= 0) & (places < target[d])
        x = _spread(x, d, np.flatnonzero(inside), places[inside], target[d], value)
    return x


def _spread(x: Any, axis: int, kept: np.ndarray, places: np.ndarray, size: int, value: Any) -> Any:
    """The elements `kept` of an axis at `places` of an axis of `size`, with the value elsewhere."""
    if len(kept) == size == x.shape[axis] and (kept == places).all():
        return x
    lead = (slice(None),) * axis
    shape = (*x.shape[:axis], size, *x.shape[axis + 1:])
    if not len(kept):
        return np.broadcast_to(value, shape)
    first, last, step = int(kept[0]), int(kept[-1]) + 1, int(places[1] - places[0]) if len(places) > 1 else 1
    x = x[(*lead, slice(first, last))]
    below, above = int(places[0]), size - 1 - int(places[-1])
    if step > 1:
        gaps = np.broadcast_to(np.expand_dims(value, ()), (*x.shape[:axis + 1], step - 1, *x.shape[axis + 1:]))
        x = np.concatenate([np.expand_dims(x, axis + 1), gaps], axis + 1)
        x = np.reshape(x, (*shape[:axis], -1, *shape[axis + 1:]))[(*lead, slice(0, size - below - above))]
    ends = [np.broadcast_to(value, (*shape[:axis], n, *shape[axis + 1:])) for n in (below, above)]
    return np.concatenate([e for e in (ends[0], x, ends[1]) if e.shape[axis]], axis)


@rule("iota")
def iota(outs: Outs, *, shape: Sequence[int], dimension: int, dtype: Any, **params: Any) -> Any:
    along = np.arange(shape[dimension]).reshape([-1 if d == dimension else 1 for d in range(len(shape))])
    return np.broadcast_to(along, shape).astype(dtype)


@rule("platform_index")
def platform_index(outs: Outs, *, platforms: Sequence[Any], **params: Any) -> Any:
    """Which of several implementations is meant for this machine's processor."""
    for k, names in enumerate(platforms):
        if names is None or "cpu" in names:
            return np.int32(k)
    return np.int32(len(platforms) - 1)
