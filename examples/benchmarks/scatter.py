"""Adding the Hessians of elements to a matrix, in Numba; for peers that leave this to their users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from .translation import Element, sparse_values

Indices = tuple[np.ndarray, np.ndarray]


@numba.njit(error_model="numpy")
def add_triangles(blocks: np.ndarray, below: np.ndarray, above: np.ndarray, off: np.ndarray,
                  values: np.ndarray) -> None:
    """values[below[k, e]] += blocks[k, e], and what is off the diagonal at `above`, too; elements in the outer loop."""
    values[:] = 0.0
    for e in range(blocks.shape[1]):
        for k in range(blocks.shape[0]):
            values[below[k, e]] += blocks[k, e]
            if off[k]:
                values[above[k, e]] += blocks[k, e]


@numba.njit(error_model="numpy", fastmath=True)
def sum_elements(blocks: np.ndarray, values: np.ndarray) -> None:
    """values[k] = sum of blocks[k]: where all elements have the same variables."""
    for k in range(blocks.shape[0]):
        total = 0.0
        for e in range(blocks.shape[1]):
            total += blocks[k, e]
        values[k] = total


def shared_variables(element: Element) -> bool:
    """Are all elements functions of all variables, in order?"""
    return element.size == element.x.size and bool(np.all(element.variables == np.arange(element.size)))


def triangle_positions(element: Element, lower: Indices) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """Where the entries of lower triangles go and where their transposes, which are off the diagonal; the matrix."""
    positions, matrix = element.positions()
    rows, columns = lower
    positions = positions.astype(np.int32)  # half the memory to read
    return positions[rows, columns], positions[columns, rows], rows != columns, matrix


def adding(element: Element, lower: Indices, blocks: np.ndarray) -> Callable[[], Any]:
    """A call that sums up lower triangles of elements and returns the matrix."""
    rows, columns = lower
    if shared_variables(element):
        values, H = np.empty(len(rows)), np.empty((element.size,) * 2)

        def total() -> np.ndarray:
            sum_elements(blocks, values)
            H[rows, columns] = H[columns, rows] = values
            return H

        return total
    below, above, off, matrix = triangle_positions(element, lower)
    values = np.empty(getattr(matrix, "nnz", matrix.size))

    def scatter() -> Any:
        add_triangles(blocks, below, above, off, values)
        return sparse_values(values, matrix)

    return scatter


