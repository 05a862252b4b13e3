"""Rules of gathers and scatters, in the general form of XLA: windows that begin at places given by indices.

    gather    out[b, o]  = x[start(b) + o]                          b: batch axes, o: axes of the window
    scatter   x[start(b) + o]  op=  u[b, o]

Places are one array of integers per axis of x, over all of the window. Known ones become index maps; those known at run
time look up, or add up, there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.lax import GatherScatterMode

from symhess.jax.table import known, rule
from symhess.primitives import put_add
from symhess.trace import wrap
from symhess.trace.assignment import scattered
from symhess.trace.ordering import decided
from symhess.trace.session import current_session
from symhess.trace.shaping import traced
from symhess.trace.tracer import buffer

Outs = Sequence[Any]
#: comparisons of places with each other up to which writes at places known at run time need no guard
COMPARISONS = 1_000_000


class Places(NamedTuple):
    """Where the elements of windows are: one integer array per axis, which broadcast to `shape`."""

    axes: list[Any]
    shape: tuple[int, ...]
    valid: Any  # which of them count: a bool array, or True


def _ints(x: Any) -> Any:
    """Indices in the type that they are computed in."""
    return np.asarray(x).astype(np.int64) if known(x) else x.astype(np.int64)


def _along(values: Any, axis: int, rank: int) -> Any:
    """A vector laid along one of `rank` axes."""
    return np.reshape(values, [-1 if d == axis else 1 for d in range(rank)])


def _at_batch(values: Any, axes: Sequence[int], rank: int) -> Any:
    """An array over the batch axes laid along `axes` of `rank`."""
    shape = [1] * rank
    for n, d in zip(np.shape(values), axes):
        shape[d] = n
    return np.reshape(values, shape)


def places_of(indices: Any, x_shape: Sequence[int], shape: Sequence[int], window: Sequence[int],
              window_axes: Sequence[int], hidden: Sequence[int], index_map: Sequence[int], batching: Sequence[int],
              index_batching: Sequence[int], mode: Any) -> Places:
    """The places of the elements of windows.

    `window` are the sizes of a window along each axis of x, `window_axes` where they stand in `shape`, without those of
    the axes `hidden` and `batching`; entry k of an index is the start along axis index_map[k].
    """
    rank = len(shape)
    batch_axes = [d for d in range(rank) if d not in window_axes]
    shown = iter(window_axes)
    axes, valid = [], True
    for d, size in enumerate(x_shape):
        if d in batching:
            number = list(index_batching)[list(batching).index(d)]
            axes.append(_along(np.arange(size), batch_axes[number], rank))
            continue
        place: Any = np.zeros((1,) * rank, np.int64)
        if d in index_map:
            start = _ints(indices[..., list(index_map).index(d)])
            last = size - window[d]
            if mode == GatherScatterMode.FILL_OR_DROP:
                inside = _at_batch(np.logical_and(start >= 0, start <= last), batch_axes, rank)
                valid = inside if valid is True else np.logical_and(valid, inside)
            place = _at_batch(np.minimum(np.maximum(start, 0), last), batch_axes, rank)
        if d not in hidden:
            place = place + _along(np.arange(window[d]), next(shown), rank)
        axes.append(place)
    return Places(axes, tuple(shape), True if known(valid) and np.all(valid) else valid)


def elements(x: Any, places: Places) -> Any:
    """x at the places, whether they are valid or not."""
    moving = [d for d, p in enumerate(places.axes) if not known(p)]
    if not x.shape:
        return np.broadcast_to(x, places.shape)
    if not moving:
        return x[tuple(np.broadcast_arrays(*places.axes, np.empty(places.shape, np.int8))[:-1])]
    x = traced(x)
    if len(moving) == 1 and x.dtype.kind == "f":
        return _elements_along(x, places, moving[0])
    return np.reshape(x, (-1,))[np.broadcast_to(flat(places.axes, x.shape), places.shape)]


def _elements_along(x: Any, places: Places, axis: int) -> Any:
    """x where only the place along one axis is known at run time."""
    rank, index = len(places.shape), places.axes[axis]
    own = [d for d in range(rank) if index.shape[d] > 1]
    others = [d for d in range(x.ndim) if d != axis]
    found_spans = [_span(places.axes[d], x.shape[d]) for d in others]
    spans = [s for s in found_spans if s is not None]
    if len(spans) < len(others) or not set(own).isdisjoint(spans) or spans != sorted(spans):
        axes = [p if d == axis else np.broadcast_to(p, places.shape) for d, p in enumerate(places.axes)]
        axes[axis] = np.broadcast_to(index, places.shape)
        return x[tuple(axes)]
    found = x[(*(slice(None) for _ in range(axis)), np.reshape(index, [index.shape[d] for d in own]))]
    order = [*spans[:axis], *own, *spans[axis:]]  # where each axis of what was found belongs
    order = [d for d in order if d >= 0]
    found = np.reshape(found, [places.shape[d] for d in order])
    found = np.transpose(found, np.argsort(order))
    return np.reshape(found, [n if d in order else 1 for d, n in enumerate(places.shape)])


def _span(place: np.ndarray, size: int) -> int | None:
    """The axis along which places count from 0 to the last one; -1 for an axis with one place, None for others."""
    if size == 1 and place.size == 1:
        return -1
    long = [d for d, n in enumerate(place.shape) if n > 1]
    if len(long) == 1 and place.size == size and np.array_equal(place.reshape(-1), np.arange(size)):
        return long[0]
    return None


def flat(axes: Sequence[Any], shape: Sequence[int]) -> Any:
    """Places as numbers of elements in C order."""
    return sum(p * math.prod(shape[d + 1:]) for d, p in enumerate(axes))


# -- gather --------------------------------------------------------------------------------------------------------


@rule("gather")
def gather(outs: Outs, x: Any, indices: Any, *, dimension_numbers: Any, slice_sizes: Sequence[int], mode: Any,
           fill_value: Any, **params: Any) -> Any:
    """x[start(b) + o]; outside of x there is NaN, or what `fill_value` says, or the nearest window that fits."""
    d = dimension_numbers
    batching = tuple(d.operand_batching_dims)
    places = places_of(indices, x.shape, outs[0].shape, slice_sizes, d.offset_dims, d.collapsed_slice_dims,
                       d.start_index_map, batching, d.start_indices_batching_dims, mode)
    if 0 in outs[0].shape:
        return np.zeros(outs[0].shape, outs[0].dtype)
    found = elements(x, places)
    if places.valid is True:
        return found
    return np.where(places.valid, found, np.asarray(_filling(np.dtype(outs[0].dtype), fill_value), outs[0].dtype))


def _filling(dtype: np.dtype, value: Any) -> Any:
    """What stands for elements that are not there."""
    if value is not None:
        return value
    if dtype.kind in "fc":
        return np.nan
    return True if dtype.kind == "b" else np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


@rule("dynamic_slice")
def dynamic_slice(outs: Outs, x: Any, *starts: Any, slice_sizes: Sequence[int], **params: Any) -> Any:
    """The window that begins at `starts`, moved so that it fits."""
    first = _fitting(starts, x.shape, slice_sizes)
    if all(map(known, first)):
        return x[tuple(slice(int(s), int(s) + n) for s, n in zip(first, slice_sizes))]
    rank = x.ndim
    axes = [np.reshape(s, (1,) * rank) + _along(np.arange(n), d, rank)
            for d, (s, n) in enumerate(zip(first, slice_sizes))]
    return elements(x, Places(axes, tuple(slice_sizes), True))


def _fitting(starts: Sequence[Any], shape: Sequence[int], window: Sequence[int]) -> list[Any]:
    return [np.minimum(np.maximum(_ints(s), 0), n - w) if n > w else np.int64(0)
            for s, n, w in zip(starts, shape, window)]


@rule("dynamic_update_slice")
def dynamic_update_slice(outs: Outs, x: Any, update: Any, *starts: Any, **params: Any) -> Any:
    """x with the window that begins at `starts`, moved so that it fits, replaced."""
    first, rank = _fitting(starts, x.shape, update.shape), len(x.shape)
    if 0 in update.shape:
        return x
    if all(map(known, first)):
        return written(x, tuple(slice(int(s), int(s) + n) for s, n in zip(first, update.shape)), update)
    inside: Any = True
    axes = []
    for d, (s, n) in enumerate(zip(first, update.shape)):
        place = _along(np.arange(x.shape[d]), d, rank) - np.reshape(s, (1,) * rank)
        if n < x.shape[d]:
            inside = np.logical_and(inside, np.logical_and(place >= 0, place < n))
        axes.append(np.minimum(np.maximum(place, 0), n - 1) if n > 1 else np.zeros((1,) * rank, np.int64))
    whole = all(n in (1, m) for n, m in zip(update.shape, x.shape))
    moved = update if whole else elements(update, Places(axes, x.shape, True))
    return np.where(inside, moved, x)


# -- scatter -------------------------------------------------------------------------------------------------------


def written(x: Any, key: Any, value: Any) -> Any:
    """A copy of x with x[key] = value."""
    session: Any = current_session()
    if known(x) and known(value):
        made = np.array(x)
        made[key] = value
        return made
    made = buffer(np.array(x), session) if known(x) else x.copy()
    made[key] = value
    return wrap(made.node, made)


def _places_to_write(x: Any, indices: Any, updates: Any, d: Any, mode: Any) -> Places:
    window_axes, hidden = tuple(d.update_window_dims), (*d.inserted_window_dims, *d.operand_batching_dims)
    sizes = iter(updates.shape[k] for k in window_axes)
    window = [1 if k in hidden else next(sizes) for k in range(len(x.shape))]
    if mode == GatherScatterMode.PROMISE_IN_BOUNDS:
        mode = GatherScatterMode.FILL_OR_DROP
    return places_of(indices, x.shape, updates.shape, window, window_axes, d.inserted_window_dims,
                     d.scatter_dims_to_operand_dims, d.operand_batching_dims, d.scatter_indices_batching_dims, mode)


def _scattering(combine: Callable[[Any, Places, Any, dict], Any]) -> Callable:
    def run(outs: Outs, x: Any, indices: Any, updates: Any, *, dimension_numbers: Any, mode: Any, **params: Any) -> Any:
        if 0 in updates.shape:
            return x
        places = _places_to_write(x, indices, updates, dimension_numbers, mode)
        if not x.shape:  # windows of a number
            x, updates = np.reshape(x, (1,)), np.reshape(updates, (-1,))
            places = Places([np.zeros(updates.shape, np.int64)], updates.shape, places.valid)
        return np.reshape(combine(x, places, updates, params), outs[0].shape)

    return run


def _chosen(places: Places) -> tuple[tuple[np.ndarray, ...], Any]:
    """Known places as a key, and which of the updates belong to them (... for all of them)."""
    key = tuple(np.broadcast_arrays(*places.axes, np.empty(places.shape, np.int8))[:-1])
    if places.valid is True:
        return key, ...
    kept = np.broadcast_to(places.valid, places.shape)
    return tuple(k[kept] for k in key), kept


def _is_known(places: Places) -> bool:
    return all(map(known, (*places.axes, places.valid)))


def _numbers_of_places(places: Places, shape: Sequence[int]) -> Any:
    """Places as one vector of numbers; those that are not valid lie outside."""
    numbers = np.broadcast_to(flat(places.axes, shape), places.shape)
    if places.valid is not True:
        numbers = np.where(np.broadcast_to(places.valid, places.shape), numbers, math.prod(shape))
    return np.reshape(numbers, (-1,))


def _added_at(numbers: Any, values: Any, shape: Sequence[int]) -> Any:
    """Zeros with values added at places known at run time."""
    values = np.where(numbers < math.prod(shape), np.reshape(values, (-1,)), 0)  # no derivative of what is left out
    return np.reshape(wrap(put_add(values.node, numbers.node, 0, math.prod(shape)), values), tuple(shape))


def _add(x: Any, places: Places, updates: Any, params: dict) -> Any:
    """x[places] += updates, repeated places every time."""
    if not _is_known(places):
        return x + _added_at(_numbers_of_places(places, x.shape), np.broadcast_to(updates, places.shape), x.shape)
    key, kept = _chosen(places)
    if known(x) and known(updates):
        made = np.array(x)
        np.add.at(made, key, updates[kept])
        return made
    if known(updates):
        sums = np.zeros(x.shape, updates.dtype)
        np.add.at(sums, key, updates[kept])
        return x + sums
    return x + scattered(traced(np.zeros(x.shape, updates.dtype)), key, updates[kept])


def _set(x: Any, places: Places, updates: Any, params: dict) -> Any:
    """x[places] = updates; of repeated places the last one counts."""
    if _is_known(places):
        key, kept = _chosen(places)
        return written(x, key, updates[kept])
    numbers = _numbers_of_places(places, x.shape)
    if not params.get("unique_indices"):
        numbers = _last_of_each(numbers, math.prod(x.shape))
    if known(numbers):
        return written(np.reshape(x, (-1,)), numbers[numbers < math.prod(x.shape)],
                       np.reshape(updates, (-1,))[numbers < math.prod(x.shape)])
    hit = _added_at(numbers, np.ones(numbers.shape), x.shape) > 0
    return np.where(hit, _added_at(numbers, updates, x.shape), x)


def _last_of_each(numbers: Any, outside: int) -> Any:
    """The places with all but the last of equal ones put outside."""
    n = numbers.size
    if n == 1:
        return numbers
    if n * n > COMPARISONS:
        return decided(numbers)
    later = np.arange(n)[:, None] < np.arange(n)
    again = np.any(np.logical_and(numbers[:, None] == numbers[None, :], later), axis=1)
    return np.where(again, outside, numbers)


def _by(operation: Callable[[Any, Any], Any]) -> Callable:
    """x[places] = operation(x[places], updates), one after the other."""
    def combine(x: Any, places: Places, updates: Any, params: dict) -> Any:
        if not _is_known(places):
            numbers = decided(_numbers_of_places(places, x.shape))
            kept: Any = numbers < math.prod(x.shape)
        else:
            numbers = np.asarray(_numbers_of_places(places, x.shape))
            kept = numbers < math.prod(x.shape)
        shape, x, updates = x.shape, np.reshape(x, (-1,)), np.reshape(updates, (-1,))
        for chosen in _rounds(numbers, kept):
            at = numbers[chosen]
            x = written(x, at, operation(x[at], updates[chosen]))
        return np.reshape(x, shape)

    return combine


def _rounds(numbers: np.ndarray, kept: np.ndarray) -> list[np.ndarray]:
    """Positions in `numbers`, so many at a time that no number is there twice."""
    left, rounds = np.flatnonzero(kept), []
    while left.size:
        first = np.sort(np.unique(numbers[left], return_index=True)[1])
        rounds.append(left[first])
        left = np.delete(left, first)
    return rounds


for _name, _combine in {"scatter": _set, "scatter-add": _add, "scatter-mul": _by(np.multiply),
                        "scatter-min": _by(np.minimum), "scatter-max": _by(np.maximum),
                        "scatter-sub": lambda x, p, u, params: _add(x, p, -u, params)}.items():
    rule(_name)(_scattering(_combine))
