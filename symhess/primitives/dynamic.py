"""Indexing with integers known only at run time: take, and its adjoint put_add.

    take     u(a, e, c) = v(a, i(e), c)              a: axes before, c: axes after the indexed one
    put_add  u(a, k, c) = sum of v(a, e, c) over all e with i(e) = k

Negative indices count from the end, as in NumPy. An index outside the axis never touches memory: take gives NaN there
(0 in integer and boolean arrays), put_add leaves the value out; the interpreter and compiled kernels alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from symhess.errors import DTypeMismatch, ShapeMismatch
from symhess.graph.node import CONSTANT, Node, Primitive, constant, make, register
from symhess.primitives.elementwise import apply
from symhess.primitives.movement import broadcast_to, gather_axis, reshape, transpose

Shape = tuple[int, ...]


class PutAttrs(NamedTuple):
    """The axis that is indexed, and its size in the result."""

    axis: int
    size: int


def take(v: Node, indices: Node, axis: int) -> Node:
    """v[..., indices, ...] along `axis`; the axes of `indices` take its place."""
    axis = _axis(axis, v.ndim)
    if indices.op is CONSTANT and v.shape[axis] and _inside(indices, v.shape[axis]):
        positions = indices.attrs.array.reshape(-1) % v.shape[axis]
        return reshape(gather_axis(v, axis, positions), _taken_shape(v, indices, axis))
    return make(TAKE, (v, indices), axis)


def put_add(v: Node, indices: Node, axis: int, size: int) -> Node:
    """Zeros with an axis of `size` at `axis`, into which v is added at `indices` (whose axes v has at that place)."""
    return make(PUT_ADD, (v, indices), PutAttrs(axis, size))


def _inside(indices: Node, n: int) -> bool:
    array = indices.attrs.array
    return array.size == 0 or bool(-n <= array.min() and array.max() < n)


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ShapeMismatch(f"axis {axis} of an array of rank {rank}")
    return axis % rank


def _taken_shape(v: Node, indices: Node, axis: int) -> Shape:
    return (*v.shape[:axis], *indices.shape, *v.shape[axis + 1:])


def _check_indices(indices: Node) -> None:
    if indices.dtype != np.int64:
        raise DTypeMismatch(f"indices must be int64, not {indices.dtype}: cast them first")


def _take_infer(args: Sequence[Node], axis: int) -> tuple[Shape, np.dtype]:
    v, indices = args
    _check_indices(indices)
    if not 0 <= axis < v.ndim:
        raise ShapeMismatch(f"take along axis {axis} of an array of shape {v.shape}")
    return _taken_shape(v, indices, axis), v.dtype


def _put_infer(args: Sequence[Node], a: PutAttrs) -> tuple[Shape, np.dtype]:
    v, indices = args
    _check_indices(indices)
    end = a.axis + indices.ndim
    if v.shape[a.axis:end] != indices.shape:
        raise ShapeMismatch(f"put_add of shape {v.shape} at indices of shape {indices.shape} from axis {a.axis} on")
    return (*v.shape[:a.axis], a.size, *v.shape[end:]), v.dtype


# -- values ----------------------------------------------------------------------------------------------------------


def _wrapped(indices: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices counted from the start, and which of them lie on the axis."""
    flat = indices.reshape(-1)
    flat = np.where(flat < 0, flat + n, flat)
    return flat, (flat >= 0) & (flat < n)


def _take_evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    v = np.moveaxis(arrays[0], node.attrs, 0)
    flat, inside = _wrapped(arrays[1], len(v))
    out = np.full((len(flat), *v.shape[1:]), np.nan if node.dtype.kind == "f" else 0, node.dtype)
    out[inside] = v[flat[inside]]
    return np.moveaxis(out, 0, node.attrs).reshape(node.shape)


def _put_evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    v, indices = arrays
    axis, size = node.attrs
    rows = np.moveaxis(v.reshape(*v.shape[:axis], indices.size, *node.shape[axis + 1:]), axis, 0)
    flat, inside = _wrapped(indices, size)
    out = np.zeros((size, *rows.shape[1:]), node.dtype)
    np.add.at(out, flat[inside], rows[inside])
    return np.moveaxis(out, 0, axis)


# -- batching --------------------------------------------------------------------------------------------------------


def _joined(indices: Node, n: int) -> Node:
    """Indices into one axis of (batch, n) merged, for indices with a leading batch axis; strangers stay outside."""
    size = indices.shape[0]
    number = lambda k: constant(k, np.int64)
    flat = apply("where", apply("less", indices, number(0)), apply("add", indices, number(n)), indices)
    inside = apply("logical_and", apply("less_equal", number(0), flat), apply("less", flat, number(n)))
    start = constant((n * np.arange(size)).reshape(-1, *(1,) * (indices.ndim - 1)))
    return apply("where", inside, apply("add", flat, start), number(size * n))


def _moved(v: Node, start: int, stop: int) -> Node:
    """The array with one axis moved to another place."""
    order = [d for d in range(v.ndim) if d != start]
    return transpose(v, [*order[:stop], start, *order[stop:]])


def _block_moved(v: Node, start: int, count: int, stop: int) -> Node:
    """The array with `count` neighbouring axes moved so that they begin at `stop`."""
    block = list(range(start, start + count))
    order = [d for d in range(v.ndim) if d not in block]
    return transpose(v, [*order[:stop], *block, *order[stop:]])


def _take_batch(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    (v, indices), axis = args, node.attrs
    if not added[1]:
        return take(v, indices, axis + 1)
    if not added[0]:
        return _moved(take(v, indices, axis), axis, 0)
    v = _moved(v, axis + 1, 1)
    rows = reshape(v, (v.shape[0] * v.shape[1], *v.shape[2:]))
    return _block_moved(take(rows, _joined(indices, v.shape[1]), 0), 1, indices.ndim - 1, axis + 1)


def _put_batch(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    (v, indices), (axis, size) = args, node.attrs
    if not added[1]:
        return put_add(v, indices, axis + 1, size)
    batch, rank = indices.shape[0], indices.ndim - 1
    if not added[0]:
        v = broadcast_to(v, (batch, *v.shape))
    rows = put_add(_block_moved(v, axis + 1, rank, 1), _joined(indices, size), 0, batch * size)
    return _moved(reshape(rows, (batch, size, *rows.shape[1:])), 1, axis + 1)


# -- primitives ------------------------------------------------------------------------------------------------------


def _extents(shape: Shape, axis: int) -> tuple[int, int, int]:
    """The array as (outer, axis, inner)."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1:])


TAKE = register(Primitive(
    "take", _take_infer, _take_evaluate, family="dynamic",
    vjp=lambda node, g: [put_add(g, node.args[1], node.attrs, node.args[0].shape[node.attrs]), None],
    jvp=lambda node, t: take(t[0], node.args[1], node.attrs), batch=_take_batch,
    extra={"kernel": "take", "params": lambda node: _extents(node.args[0].shape, node.attrs)},
))
PUT_ADD = register(Primitive(
    "put_add", _put_infer, _put_evaluate, family="dynamic",
    vjp=lambda node, g: [take(g, node.args[1], node.attrs.axis), None],
    jvp=lambda node, t: put_add(t[0], node.args[1], *node.attrs), batch=_put_batch,
    extra={"kernel": "put_add", "params": lambda node: _extents(node.shape, node.attrs.axis)},
))
