"""Index maps of many nodes as one map with a new leading axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symhess.graph.maps import IndexMap, axis_map, constant_map, ravel_maps, table_map, unravel_map
from symhess.graph.node import Node
from symhess.primitives import (
    RESHAPE,
    SCATTER,
    apply,
    broadcast_to,
    concatenate,
    index,
    reshape,
    scatter,
    stack,
    sum_over,
)
from symhess.simplify.boxes import trailing_axes

Shape = tuple[int, ...]


def stacked_maps(rows: Sequence[Sequence[IndexMap]], box: Shape) -> list[IndexMap]:
    """For each axis of the array the map (k, e) -> rows[k][axis](e); affine where the offsets are."""
    return [_stacked([row[a] for row in rows], box) for a in range(len(rows[0]))]


def _stacked(maps: list[IndexMap], box: Shape) -> IndexMap:
    shape, first = (len(maps), *box), maps[0]
    if all(m.table is None and m.strides == first.strides for m in maps):
        offsets = np.array([m.offset for m in maps]).reshape(-1, *(1,) * len(box))
        return table_map(offsets, shape) + IndexMap(shape, 0, (0, *first.strides))
    return table_map(np.stack([m.values() for m in maps]), shape)


def leading_table(positions: np.ndarray, shape: Shape) -> IndexMap:
    """The map (k, e) -> positions[k]."""
    return table_map(np.asarray(positions).reshape(-1, *(1,) * (len(shape) - 1)), shape)


def pick(v: Node, position: int) -> Node:
    """v[position], along the leading axis."""
    shape = v.shape[1:]
    return index(v, [constant_map(shape, position), *(axis_map(shape, d) for d in range(len(shape)))], shape)


def gather(v: Node, positions: np.ndarray, box: Shape) -> Node:
    """v[positions] along the leading axis, with the axes of `box` in its place."""
    shape, axes = (*box, *v.shape[1:]), len(box)
    if len(positions) == v.shape[0] and (positions == np.arange(len(positions))).all():
        return reshape(v, shape)
    rows = table_map(positions.reshape(*box, *(1,) * (v.ndim - 1)), shape)
    return index(v, [rows, *(axis_map(shape, d) for d in range(axes, len(shape)))], shape)


def unflattened(v: Node) -> tuple[Node, Shape]:
    """The array whose leading axes were flattened into that of v, and these axes (v and its own if there is none)."""
    if v.op is RESHAPE:
        axes = v.args[0].ndim - v.ndim + 1
        if axes > 1 and v.args[0].shape[axes:] == v.shape[1:]:
            return v.args[0], v.args[0].shape[:axes]
    return v, v.shape[:1]


def place(v: Node, positions: np.ndarray, size: int) -> Node:
    """Zeros with `size` rows, to row positions[k] of which v[k] is added."""
    v, box = unflattened(v)
    rows = table_map(positions.reshape(*box, *(1,) * (v.ndim - len(box))), v.shape)
    columns = [axis_map(v.shape, d) for d in range(len(box), v.ndim)]
    return scatter(v, [rows, *columns], (size, *v.shape[len(box):]))


def sum_leading(v: Node) -> Node:
    """Sum over the leading axis; of scattered rows, scatter everything at once."""
    if v.op is SCATTER:
        return scatter(v.args[0], v.attrs.maps[1:], v.shape[1:])
    v, box = unflattened(v)
    return sum_over(v, range(len(box)))


def reshaped(v: Node, shape: Shape) -> Node:
    """reshape(v, shape), where scattered values are scattered into the new shape at once, also as terms of a sum."""
    if v.op is SCATTER:
        flat = ravel_maps(v.attrs.maps, v.shape, v.args[0].shape)
        return scatter(v.args[0], unravel_map(flat, shape), shape)
    if v.op.name == "add" and all(a.op is SCATTER for a in v.args):
        return apply("add", *(reshaped(a, shape) for a in v.args))
    return reshape(v, shape)


def sum_runs(v: Node, size: int) -> Node:
    """Sums of `size` rows each, one run after the other."""
    count = v.shape[0] // size
    u, box = unflattened(v)
    axes = trailing_axes(box, size)
    if axes is None:
        return sum_over(reshape(v, (count, size, *v.shape[1:])), (1,))
    return reshape(sum_over(u, range(len(box) - axes, len(box))), (count, *v.shape[1:]))


def stack_nodes(nodes: Sequence[Node]) -> Node:
    """Nodes of one shape, one after the other along a new leading axis."""
    if nodes[0].ndim == 0:
        return stack(nodes)
    return concatenate([reshape(n, (1, *n.shape)) for n in nodes], 0)


def repeated(v: Node, count: int) -> Node:
    return broadcast_to(v, (count, *v.shape))


def aligned(v: Node, moved: bool, axes: int, ndim: int) -> Node:
    """A column ready for elementwise work with others over `axes` leading axes and `ndim` further ones."""
    if not moved:
        return v if v.ndim == 0 else reshape(v, (*(1,) * axes, *v.shape))
    return reshape(v, (*v.shape, *(1,) * ndim)) if v.ndim == axes and ndim else v


def constant_rows(nodes: Sequence[Node]) -> np.ndarray:
    return np.stack([n.attrs.array for n in nodes])
