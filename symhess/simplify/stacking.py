"""Index maps of many nodes as one map with a new leading axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symhess.graph.maps import IndexMap, axis_map, constant_map, table_map
from symhess.graph.node import Node
from symhess.primitives import SCATTER, broadcast_to, concatenate, index, reshape, scatter, stack, sum_over

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


def trailing_maps(shape: Shape) -> list[IndexMap]:
    """The maps (k, e) -> e_d."""
    return [axis_map(shape, d) for d in range(1, len(shape))]


def pick(v: Node, position: int) -> Node:
    """v[position], along the leading axis."""
    shape = v.shape[1:]
    return index(v, [constant_map(shape, position), *(axis_map(shape, d) for d in range(len(shape)))], shape)


def gather(v: Node, positions: np.ndarray) -> Node:
    """v[positions], along the leading axis."""
    shape = (len(positions), *v.shape[1:])
    return index(v, [leading_table(positions, shape), *trailing_maps(shape)], shape)


def place(v: Node, positions: np.ndarray, size: int) -> Node:
    """Zeros with `size` rows, to row positions[k] of which v[k] is added."""
    return scatter(v, [leading_table(positions, v.shape), *trailing_maps(v.shape)], (size, *v.shape[1:]))


def sum_leading(v: Node) -> Node:
    """Sum over the leading axis; of scattered rows, scatter everything at once."""
    if v.op is SCATTER:
        return scatter(v.args[0], v.attrs.maps[1:], v.shape[1:])
    return sum_over(v, (0,))


def stack_nodes(nodes: Sequence[Node]) -> Node:
    """Nodes of one shape, one after the other along a new leading axis."""
    if nodes[0].ndim == 0:
        return stack(nodes)
    return concatenate([reshape(n, (1, *n.shape)) for n in nodes], 0)


def repeated(v: Node, count: int) -> Node:
    return broadcast_to(v, (count, *v.shape))


def aligned(v: Node, moved: bool, ndim: int) -> Node:
    """A column ready for elementwise work with others over a leading axis and `ndim` further ones."""
    if not moved:
        return v if v.ndim == 0 else reshape(v, (1, *v.shape))
    return reshape(v, (*v.shape, *(1,) * ndim)) if v.ndim == 1 and ndim else v


def constant_rows(nodes: Sequence[Node]) -> np.ndarray:
    return np.stack([n.attrs.array for n in nodes])
