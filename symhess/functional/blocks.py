"""Jacobian blocks d out_i / d in_j, by the structured compiler, or by products: all at once, or one after the other.

    reverse:  row e of J      = pullback of the unit cotangent e
    forward:  column e of J   = pushforward of the unit tangent e
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from symhess.api.inline import jacobian_nodes, rows_by_pullbacks
from symhess.differentiate import batch
from symhess.functional.points import Point
from symhess.graph.node import Node, constant, input_node
from symhess.primitives import reshape, transpose


def blocks(at: Point, outputs: Sequence[Node], name: str, vectorize: bool | str, strategy: str) -> list[list[Any]]:
    """Blocks [i][j] of shape out_i + in_j, of expressions of the inputs; `name` says which they are."""
    if vectorize == "rows":
        by = _row_by_row if strategy == "reverse-mode" else _column_by_column
        return by(at, outputs, name)
    nodes = {False: _structured, True: _rows if strategy == "reverse-mode" else _columns}[bool(vectorize)]
    flat = at.evaluate((name, vectorize, strategy), lambda _: [b for row in nodes(at, outputs) for b in row])
    count = len(at.inputs)
    return [flat[k * count:(k + 1) * count] for k in range(len(outputs))]


def _structured(at: Point, outputs: Sequence[Node]) -> list[list[Node]]:
    return [jacobian_nodes(o, at.inputs) for o in outputs]


def _rows(at: Point, outputs: Sequence[Node]) -> list[list[Node]]:
    return [rows_by_pullbacks(o, at.inputs) for o in outputs]


def _columns(at: Point, outputs: Sequence[Node]) -> list[list[Node]]:
    """One pushforward for a batch of all unit tangents of an input."""
    by_input = []
    for k, x in enumerate(at.inputs):
        tangent = input_node("tangent", x.shape, x.dtype)
        moved = _pushed_along(at, outputs, k, [tangent])
        columns = batch(moved, {tangent: _units(x)}, x.size)
        by_input.append([_last(c, o, x) for c, o in zip(columns, outputs)])
    return [list(row) for row in zip(*by_input)]


def _last(columns: Node, out: Node, x: Node) -> Node:
    """(x.size, *out.shape) as out.shape + x.shape."""
    return reshape(transpose(columns, [*range(1, columns.ndim), 0]), (*out.shape, *x.shape))


def _units(node: Node) -> Node:
    return constant(np.eye(node.size, dtype=node.dtype).reshape(node.size, *node.shape))


def _unit_arrays(node: Node) -> list[np.ndarray]:
    return [e.reshape(node.shape) for e in np.eye(node.size, dtype=node.dtype)]


def _row_by_row(at: Point, outputs: Sequence[Node], name: str) -> list[list[Any]]:
    found = []
    for k, o in enumerate(outputs):
        pull = functools.partial(at.pulled, [o])
        rows = [at.evaluate((name, "row", k), pull, [e]) for e in _unit_arrays(o)]
        found.append([_stacked([r[j] for r in rows], 0, o, x, x.dtype) for j, x in enumerate(at.inputs)])
    return found


def _column_by_column(at: Point, outputs: Sequence[Node], name: str) -> list[list[Any]]:
    by_input = []
    for k, x in enumerate(at.inputs):
        push = functools.partial(_pushed_along, at, outputs, k)
        columns = [at.evaluate((name, "column", k), push, [e]) for e in _unit_arrays(x)]
        by_input.append([_stacked([c[i] for c in columns], -1, o, x, o.dtype) for i, o in enumerate(outputs)])
    return [list(row) for row in zip(*by_input)]


def _pushed_along(at: Point, outputs: Sequence[Node], k: int, tangent: list[Node]) -> list[Node]:
    """The derivatives along a tangent of input k."""
    return at.pushed(outputs, [tangent[0] if j == k else None for j in range(len(at.inputs))])


def _stacked(rows: list[Any], axis: int, o: Node, x: Node, dtype: np.dtype) -> Any:
    shape = (*o.shape, *x.shape)
    return np.reshape(np.stack(rows, axis), shape) if rows else np.zeros(shape, dtype)
