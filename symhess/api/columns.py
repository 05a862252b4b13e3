"""The fallback that always works: dense columns, in chunks that keep a memory budget.

Columns of H are pushforwards of the gradient along unit vectors. A chunk of C of them is one batched evaluation:
forward over reverse with a leading axis of C directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from symhess.api.arguments import Options
from symhess.api.budget import memory_budget
from symhess.api.calls import separated
from symhess.api.kernels import AroundKernel, runner
from symhess.differentiate import batch, pushforward
from symhess.graph.maps import affine_map
from symhess.graph.node import Node, constant, input_node
from symhess.plan.cost import Cost, cost_of
from symhess.plan.program import Buffer, Program, Write
from symhess.primitives import cast, reshape
from symhess.rules import expanded

#: a chunk's intermediate results should stay in cache where that is possible
CACHE_BYTES = 1 << 22


def column_graph(gradient: Sequence[Node], active: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """One column of the Hessian: (direction inputs, moved gradients)."""
    directions = [input_node(f"v{k}", x.shape, x.dtype) for k, x in enumerate(active)]
    return directions, pushforward(gradient, dict(zip(active, directions)))


def chunk_size(n: int, column: Cost, itemsize: int, budget: int | None) -> int:
    """How many columns at once: what fits the cache, at least 8, and always within the budget."""
    per_column = (column.elements + 2 * n) * itemsize + 1.0  # what is computed, a unit vector, a row
    allowed = max((memory_budget(budget) - n * n * itemsize) / per_column, 1.0)
    return int(max(1, min(n, allowed, max(8, CACHE_BYTES / per_column))))


def dtype_of(gradient: Sequence[Node]) -> np.dtype:
    """The dtype of a Hessian over inputs of several."""
    return np.result_type(*(g.dtype for g in gradient))


def chunk_program(inputs: Sequence[Node], gradient: Sequence[Node], active: Sequence[Node], size: int,
                  given: Sequence[Node] = ()) -> Program:
    """`size` rows of the (symmetric) Hessian: inputs are the function's, then one block of directions per input.

    Directions that are `given` are no inputs.
    """
    directions, moved = column_graph(gradient, active)
    blocks = given or [input_node(f"V{k}", (size, *x.shape), x.dtype) for k, x in enumerate(active)]
    rows = batch(moved, dict(zip(directions, blocks)), size)
    n, first, dtype, writes = sum(x.size for x in active), 0, dtype_of(gradient), []
    for row, x in zip(rows, active):
        if x.size:
            flat = cast(reshape(row, (size, x.size)), dtype)
            writes.append(Write(flat, affine_map(flat.shape, first, {0: n, 1: 1})))
        first += x.size
    return Program((*inputs, *(() if given else blocks)), (Buffer((size, n), dtype, tuple(writes)),))


def columns_buffer(gradient: Sequence[Node], active: Sequence[Node]) -> Buffer:
    """All columns at once, as one buffer of which the lower triangle counts: for devices, which have room for it."""
    n, dtype = sum(x.size for x in active), dtype_of(gradient)
    ends = np.cumsum([x.size for x in active])[:-1]
    unit = [constant(part.reshape(n, *x.shape), x.dtype)
            for part, x in zip(np.split(np.eye(n, dtype=dtype), ends, axis=1), active)]
    (buffer,) = chunk_program((), gradient, active, n, unit).outputs
    return replace(buffer, mirror="lower")


class ColumnsRunner(AroundKernel):
    """Runs the dense Hessian chunk by chunk; the same call as the other runners."""

    def __init__(self, inputs: Sequence[Node], gradient: Sequence[Node], active: Sequence[Node], options: Options):
        self.n, self.active = sum(x.size for x in active), list(active)
        self.dtype = dtype_of(gradient)
        column = cost_of(expanded(column_graph(gradient, active)[1]))
        self.size = chunk_size(self.n, column, self.dtype.itemsize, options.memory_budget)
        chunk = chunk_program(inputs, gradient, active, self.size)
        #: Python calls that all chunks share are made once
        self.calls, self.program = separated(chunk, inputs, lambda p: runner(p, options))
        self.inner = runner(self.program, options)

    def __call__(self, arrays: Sequence[np.ndarray], out: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        result = np.empty((self.n, self.n), self.dtype) if out is None else out[0]
        self.fill(arrays, 0, result)
        mirror_in_place(result)
        return [result]

    def fill(self, arrays: Sequence[np.ndarray], first: int, rows: np.ndarray) -> None:
        """Write the rows of the Hessian from number `first` on: as many as there are, in a C-contiguous array."""
        values = self.calls(arrays)
        chunk = None if len(rows) >= self.size else np.empty((self.size, self.n), self.dtype)
        for start in range(0, len(rows), self.size):
            start = max(0, min(start, len(rows) - self.size))
            place = rows[start:start + self.size] if chunk is None else chunk
            begin = min(first + start, self.n - self.size)
            self.inner([*arrays, *self._directions(begin), *values], [place])
            if chunk is not None:
                rows[...] = chunk[first - begin:first - begin + len(rows)]

    def _directions(self, start: int) -> list[np.ndarray]:
        """Unit vectors number start, start + 1, ..., cut into the inputs' shapes."""
        unit = np.zeros((self.size, self.n), self.dtype)
        unit[np.arange(self.size), start + np.arange(self.size)] = 1
        ends = np.cumsum([x.size for x in self.active])[:-1]
        return [np.ascontiguousarray(part, x.dtype).reshape(self.size, *x.shape)
                for part, x in zip(np.split(unit, ends, axis=1), self.active)]


def mirror_in_place(matrix: np.ndarray, side: int = 64) -> None:
    """Copy the lower triangle over the upper one, square by square: no second matrix is needed."""
    n = len(matrix)
    for i in range(0, n, side):
        rows = slice(i, min(i + side, n))
        matrix[:i, rows] = matrix[rows, :i].T
        square = matrix[rows, rows]
        square[...] = np.tril(square) + np.tril(square, -1).T


class JointRunner:
    """The value and gradient by one kernel and the Hessian by columns, as one runner."""

    def __init__(self, lower: Any, columns: ColumnsRunner, count: int):
        self.lower, self.columns, self.count = lower, columns, count
        self.compile_seconds = lower.compile_seconds + columns.compile_seconds
        self.plan = columns.plan

    @property
    def source(self) -> str:
        return f"{self.lower.source}\n\n{self.columns.source}"

    def __call__(self, arrays: Sequence[np.ndarray], out: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        first, last = (None, None) if out is None else (out[:self.count], out[self.count:])
        return [*self.lower(arrays, first), *self.columns(arrays, last)]
