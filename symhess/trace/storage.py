"""Memory of arrays that the traced function writes into: a table cell -> (piece, element), read back as one node.

    contents(e) = pieces[piece[e]].flat[element[e]]        piece 0 is what the array held before the first write

n scalar writes cost O(n) together, and reading a cell that was just written gives the very node that was written.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from symhess.errors import InputMutation
from symhess.graph.maps import IndexMap, table_map, unravel_map
from symhess.graph.node import Node
from symhess.primitives import apply, broadcast_to, element, index, reshape, scatter, stack, zeros

if TYPE_CHECKING:
    from symhess.trace.session import Session

Shape = tuple[int, ...]


class Storage:
    """The cells of one array. Until a traced value is written, `data` holds them all as plain numbers."""

    def __init__(self, base: np.ndarray | Node, session: Session):
        self.data = base if isinstance(base, np.ndarray) else None
        self.session = session
        self.shape: Shape = base.shape
        self.dtype: np.dtype = base.dtype
        self.version = 0
        self.pieces: list[Node | None] = [None if self.data is not None else base]
        self.piece: np.ndarray | None = None
        self.element: np.ndarray | None = None
        self.scalar = [False]
        self._shadow: np.ndarray | None = None
        self._node: tuple[int, Node] | None = None

    @property
    def concrete(self) -> bool:
        """True while no traced value has been written."""
        return self.data is not None and self.piece is None

    @property
    def shadow(self) -> np.ndarray:
        """The flat number of every cell, shaped as the array: views of it say which cells a view of the array has."""
        if self._shadow is None:
            self._shadow = np.arange(math.prod(self.shape), dtype=np.int64).reshape(self.shape)
        return self._shadow

    # -- writing ----------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Inner functions are traced on inputs of their own, which what is outside must not come to hold."""
        from symhess.trace.session import current_session, here

        inner = current_session()
        if inner is not None and inner is not self.session and self.session.alive:
            raise InputMutation(f"{inner.name} writes into an array of the function around it{here()}; return what it "
                                "computes (as part of the carry, or as y), or make a copy first")

    def replace(self, node: Node) -> None:
        """Overwrite every cell at once."""
        self._check()
        self.data, self.pieces, self.scalar = None, [node], [False]
        self.piece = self.element = None
        self.version += 1

    def write(self, cells: np.ndarray | np.integer, node: Node) -> None:
        """Put a node, of the shape of `cells`, into these cells."""
        self._check()
        self._open()
        self.piece[cells] = len(self.pieces)
        self.element[cells] = 0 if node.ndim == 0 else np.arange(node.size).reshape(node.shape)
        self.pieces.append(node)
        self.scalar.append(node.ndim == 0)
        self.version += 1

    def write_numbers(self, cells: np.ndarray | np.integer, values: np.ndarray) -> None:
        """Put plain numbers into these cells."""
        if self.data is None:
            self.write(cells, self.session.constant(np.broadcast_to(values, np.shape(cells)).astype(self.dtype)))
            return
        self._check()
        self.data.reshape(-1)[cells] = values
        if self.piece is not None:
            self.piece[cells] = 0
            self.element[cells] = cells
        self.version += 1

    def _open(self) -> None:
        if self.piece is None:
            size = math.prod(self.shape)
            self.piece = np.zeros(size, np.int64)
            self.element = np.arange(size, dtype=np.int64)
            self.data = None if self.data is None else np.ascontiguousarray(self.data)

    # -- reading ----------------------------------------------------------------------------------------

    def node(self) -> Node:
        """The whole array as one node."""
        if self._node is None or self._node[0] != self.version:
            whole = self.pieces[0] if self.piece is None and self.data is None else self.read(self.shadow)
            self._node = (self.version, whole)
        return self._node[1]

    def read(self, cells: np.ndarray | np.integer) -> Node:
        """The node of the given cells, of the shape of `cells`."""
        if self.concrete:
            return self.session.constant(self.data.reshape(-1)[cells])
        if self.piece is None:
            return _pick(self.pieces[0], np.asarray(cells))
        piece, where = np.asarray(self.piece[cells]), np.asarray(self.element[cells])
        if piece.ndim == 0:
            return self._one(int(piece), int(where))
        return self._assemble(piece, where)

    def _one(self, k: int, where: int) -> Node:
        node = self.pieces[k]
        if node is None:
            return self.session.scalar(self.data.reshape(-1)[where].item(), self.dtype)
        return node if node.ndim == 0 else element(node, np.unravel_index(where, node.shape))

    def _assemble(self, piece: np.ndarray, where: np.ndarray) -> Node:
        """Sum over the pieces of their live cells, scattered to where they are."""
        shape, size = piece.shape, piece.size
        if size == 0:
            return zeros(shape, self.dtype)
        flat, where = piece.reshape(-1), where.reshape(-1)
        used = np.flatnonzero(np.bincount(flat, minlength=len(self.pieces)))
        if len(used) == 1 and self.pieces[used[0]] is not None and not self.scalar[used[0]]:
            return _pick(self.pieces[used[0]], where.reshape(shape))
        loose = np.asarray(self.scalar)[flat]
        numbers = (flat == 0) if self.pieces[0] is None else np.zeros(size, bool)
        if (loose | numbers).all() and numbers.sum() <= max(8, 3 * loose.sum()):
            return reshape(stack([self._one(k, e) for k, e in zip(flat.tolist(), where.tolist())]), shape)
        parts = self._numbers(numbers, where, shape)
        if loose.any():
            cells = np.flatnonzero(loose)
            parts.append(_place(stack([self.pieces[k] for k in flat[cells].tolist()]), cells, shape))
        arrays = [k for k in used.tolist() if not self.scalar[k] and self.pieces[k] is not None]
        parts += [_live(self.pieces[k], where[cells], cells, shape) for k, cells in _groups(flat, arrays)]
        return _total(parts, shape, self.dtype)

    def _numbers(self, numbers: np.ndarray, where: np.ndarray, shape: Shape) -> list[Node]:
        """The plain numbers among the cells that are not zero; one that is repeated takes no memory."""
        cells = np.flatnonzero(numbers)
        values = self.data.reshape(-1)[where[cells]] if len(cells) else np.empty(0)
        cells, values = cells[values != 0], values[values != 0]
        if not len(cells):
            return []
        box = _box(cells, shape)
        if np.all(values == values[0]):
            return [_place(broadcast_to(self.session.scalar(values[0].item(), self.dtype), box), cells, shape)]
        return [_place(self.session.constant(values.reshape(box)), cells, shape)]


def _groups(flat: np.ndarray, pieces: list[int]) -> list[tuple[int, np.ndarray]]:
    """The cells that each of the pieces fills."""
    if len(pieces) <= 8:
        return [(k, np.flatnonzero(flat == k)) for k in pieces]
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], pieces)
    ends = np.searchsorted(flat[order], pieces, side="right")
    return [(k, order[i:j]) for k, i, j in zip(pieces, starts, ends)]


def _live(node: Node, elements: np.ndarray, cells: np.ndarray, shape: Shape) -> Node:
    """The elements of `node` scattered to `cells` of an array of `shape`, over a box as regular as can be."""
    if len(cells) == node.size and np.bincount(elements, minlength=node.size).max() == 1:
        places = np.empty(node.size, np.int64)
        places[elements] = cells
        return _place(node, places.reshape(node.shape), shape)
    box = _box(cells, shape)
    return _place(_pick(node, elements.reshape(box)), cells, shape)


def _box(cells: np.ndarray, shape: Shape) -> Shape:
    """The shape of the box that increasing flat positions fill, or one axis where they are scattered."""
    sizes = []
    for n, c in zip(shape, np.unravel_index(cells, shape)):
        present = np.zeros(n, bool)
        present[c] = True
        sizes.append(int(present.sum()))
    return tuple(sizes) if math.prod(sizes) == len(cells) else (len(cells),)


def _pick(node: Node, elements: np.ndarray) -> Node:
    """node.flat[elements], of the shape of `elements`."""
    if elements.ndim == 0:
        return element(node, np.unravel_index(int(elements), node.shape)) if node.ndim else node
    return index(node, coordinate_maps(elements, node.shape), elements.shape)


def _place(node: Node, cells: np.ndarray, shape: Shape) -> Node:
    """Zeros of `shape` with `node` written at the flat positions `cells`, given in C order of the node."""
    return scatter(node, coordinate_maps(cells.reshape(node.shape), shape), shape)


def coordinate_maps(flat: np.ndarray, shape: Shape) -> tuple[IndexMap, ...]:
    """Maps of the coordinates, in an array of `shape`, of the elements at flat positions `flat`."""
    return unravel_map(table_map(flat, flat.shape), shape)


def _total(parts: list[Node], shape: Shape, dtype: np.dtype) -> Node:
    total = zeros(shape, dtype)
    for part in parts:
        total = apply("add", total, part)
    return broadcast_to(total, shape)
