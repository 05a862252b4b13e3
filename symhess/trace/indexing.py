"""NumPy indexing and other movement as index maps: basic keys and views through strides, all else through tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.graph.maps import IndexMap, affine_map, row_major_strides, table_map
from symhess.graph.node import Node
from symhess.primitives import index, reshape, zeros

Shape = tuple[int, ...]
_BASIC = (int, slice, type(None), type(Ellipsis), np.integer)


def is_basic(key: Any) -> bool:
    """True for keys of ints, slices, None and ellipsis, which give views."""
    if type(key) is tuple:
        return all(isinstance(k, _BASIC) and not isinstance(k, bool) for k in key)
    return isinstance(key, _BASIC) and not isinstance(key, bool)


@functools.lru_cache(maxsize=256)
def skeleton(shape: Shape) -> np.ndarray:
    """An array of the given shape, with C-order strides counted in elements, that takes no memory: never read it."""
    return np.lib.stride_tricks.as_strided(np.empty(1, np.int8), shape, row_major_strides(shape))


def moved_view(node: Node, view: Callable[[np.ndarray], np.ndarray]) -> Node:
    """The node of view(array) for a NumPy function that returns a view: its strides say where every element is."""
    before = skeleton(node.shape)
    seen = view(before)
    if seen.size == 0:
        return zeros(seen.shape, node.dtype)
    offset = seen.__array_interface__["data"][0] - before.__array_interface__["data"][0]
    return index(node, _digits(node.shape, offset, seen.shape, seen.strides), seen.shape)


def _digits(source: Shape, offset: int, shape: Shape, strides: Sequence[int]) -> list[IndexMap]:
    """Split an offset and strides in elements into one affine map per source axis."""
    strides = [0 if n == 1 else s for n, s in zip(shape, strides)]
    maps = []
    for weight in row_major_strides(source):
        digits = {k: abs(s) // weight * (1 if s > 0 else -1) for k, s in enumerate(strides)}
        maps.append(affine_map(shape, offset // weight, digits))
        offset %= weight
        strides = [abs(s) % weight * (1 if s > 0 else -1) for s in strides]
    return maps


def coordinates(shape: Shape) -> list[np.ndarray]:
    """One array per axis that holds the position along it, broadcast to `shape` without taking memory."""
    return [np.broadcast_to(np.arange(n).reshape([-1 if k == d else 1 for k in range(len(shape))]), shape)
            for d, n in enumerate(shape)]


def moved(node: Node, movement: Callable[[np.ndarray], np.ndarray]) -> Node:
    """The node of movement(array) for any NumPy function that only rearranges or repeats elements."""
    if node.ndim == 0:
        return reshape(moved(reshape(node, (1,)), lambda a: movement(a[0])), np.shape(movement(np.zeros((), int))))
    tables = [np.asarray(movement(c)) for c in coordinates(node.shape)]
    shape = tables[0].shape
    if 0 in shape:
        return zeros(shape, node.dtype)
    return index(node, [table_map(t, shape) for t in tables], shape)


def open_key(key: Any) -> tuple:
    """The basic key with an ellipsis, so that even one element is a view of rank 0 and memory is never read."""
    key = key if type(key) is tuple else (key,)
    return key if any(k is Ellipsis for k in key) else (*key, Ellipsis)


def subscript(node: Node, key: Any) -> Node:
    """node[key] for a constant key, with NumPy's meaning and errors."""
    if is_basic(key):
        key = open_key(key)
        return moved_view(node, lambda a: a[key])
    return moved(node, lambda a: a[key])
