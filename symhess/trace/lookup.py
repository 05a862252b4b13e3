"""Indexing with integers that are known only at run time: `x[labels]`, `z[np.arange(n), labels]`.

    u(e) = v(.., i(e), ..)  =  sum_t  [i(e) = t] v(.., t, ..)

As a select and a sum, a look-up keeps the structure of its derivatives; where that would be too much work, and in the
bodies of loops, it is a dynamic `take`. Negative indices count from the end; one that is out of range gives NaN (NumPy
would raise).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from symhess.graph.maps import axis_map, table_map
from symhess.graph.node import Node, constant
from symhess.primitives import apply, broadcast_to, index, reshape, sum_over, take
from symhess.trace.session import current_session

Shape = tuple[int, ...]
#: selects per look-up up to which it is written as a select and a sum
SELECT_LIMIT = 10_000_000


def look_up(v: Node, items: Sequence[Any], axis: int) -> Node | None:
    """v[items], where items[axis] is an integer node and the others are whole slices, or integers and integer arrays.

    None where the key mixes them in other ways.
    """
    items = [*items, *(slice(None) for _ in range(v.ndim - len(items)))]
    others = [k for d, k in enumerate(items) if d != axis]
    if len(items) != v.ndim or v.dtype.kind != "f":
        return None
    if all(isinstance(k, slice) and k == slice(None) for k in others):
        return _along(v, items[axis], axis)
    if all(isinstance(k, int | np.integer) or (isinstance(k, np.ndarray) and k.dtype.kind == "i") for k in others):
        return _paired(v, items, axis)
    return None


def _wrapped(i: Node, size: int) -> Node:
    """Negative positions counted from the end."""
    negative = apply("less", i, constant(0, i.dtype))
    return apply("where", negative, apply("add", i, constant(size, i.dtype)), i)


def _along(v: Node, i: Node, axis: int) -> Node:
    """v[:, .., i, .., :]."""
    size, shape = v.shape[axis], (*v.shape[:axis], *i.shape, *v.shape[axis + 1:])
    if current_session().is_body or math.prod(shape) * size > SELECT_LIMIT:
        return take(v, _wrapped(i, size), axis)
    box = (*shape, size)
    shift = i.ndim - 1
    maps = [axis_map(box, len(box) - 1 if d == axis else d if d < axis else d + shift) for d in range(v.ndim)]
    spread = reshape(i, (*(1,) * axis, *i.shape, *(1,) * (v.ndim - axis - 1))) if shape else i
    return _selected(index(v, maps, box), spread, size)


def _paired(v: Node, items: Sequence[Any], axis: int) -> Node:
    """v[a, .., i, .., b] with constant integers a, b that broadcast against i."""
    i, size = items[axis], v.shape[axis]
    fixed = {d: np.asarray(k) % v.shape[d] for d, k in enumerate(items) if d != axis}
    shape = np.broadcast_shapes(i.shape, *(k.shape for k in fixed.values()))
    i = broadcast_to(i, shape)
    if current_session().is_body or math.prod(shape) * size > SELECT_LIMIT:
        strides = [math.prod(v.shape[d + 1:]) for d in range(v.ndim)]
        base = sum((k * strides[d] for d, k in fixed.items()), np.int64(0))
        here = apply("mul", _wrapped(i, size), constant(strides[axis], i.dtype))
        return take(reshape(v, (v.size,)), apply("add", here, constant(np.broadcast_to(base, shape))), 0)
    box = (*shape, size)
    maps = [axis_map(box, len(box) - 1) if d == axis else table_map(np.broadcast_to(fixed[d], shape)[..., None], box)
            for d in range(v.ndim)]
    return _selected(index(v, maps, box), i, size)


def _selected(candidates: Node, i: Node, size: int) -> Node:
    """sum_t [i = t] candidates(.., t), NaN where i is out of range."""
    i = _wrapped(i, size)
    rank = candidates.ndim
    spread = reshape(i, (*i.shape, 1)) if i.ndim else i
    along = constant(np.arange(size).reshape((1,) * (rank - 1) + (size,)))
    zero = constant(0, candidates.dtype)
    found = sum_over(apply("where", apply("equal", spread, along), candidates, zero), [rank - 1])
    inside = apply("logical_and", apply("greater_equal", i, constant(0, i.dtype)),
                   apply("less", i, constant(size, i.dtype)))
    return apply("where", inside, found, constant(math.nan, candidates.dtype))
