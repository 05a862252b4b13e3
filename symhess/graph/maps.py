"""Index maps: integer functions on a box, affine wherever they can be, a constant table where not.

    m(e) = offset + sum_d strides[d] * e_d + table[e]      for e in the box  shape[0] x shape[1] x ...

A table has one axis per axis of the box, of size 1 where the map does not depend on it. Maps are kept in
a canonical form (a table holds only what strides cannot say), so equal maps compare and hash equal.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

Shape = tuple[int, ...]
#: values are looked for in a table of marks while it has at most this many places for each of them
MARKED = 16


class IndexMap:
    """An immutable integer-valued function on a box of entries; see the module docstring for the formula."""

    def __init__(self, shape: Shape, offset: int, strides: Sequence[int], table: np.ndarray | None = None):
        self.shape = tuple(shape)
        self.offset = int(offset)
        self.strides = tuple(0 if n <= 1 else int(s) for s, n in zip(strides, self.shape))
        self.table = table
        #: made on first use: most maps are steps on the way to others, and tables are long
        self._key: tuple | None = None
        self._hash: int | None = None

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, IndexMap) and self.key == other.key)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.key)
        return self._hash

    def __reduce__(self):
        return (IndexMap, (self.shape, self.offset, self.strides, self.table))

    def __repr__(self) -> str:
        terms = [f"{'' if s == 1 else f'{s}*'}e{d}" for d, s in enumerate(self.strides) if s]
        if self.table is not None:
            terms.append(f"table{list(self.table.shape)}#{self.key[4].hex()[:6]}")
        if self.offset or not terms:
            terms.append(str(self.offset))
        return " + ".join(terms)

    @property
    def key(self) -> tuple:
        """What makes two maps equal, as plain Python values."""
        if self._key is None:
            digest = table_shape = None
            if self.table is not None:
                digest = hashlib.blake2b(np.ascontiguousarray(self.table), digest_size=16).digest()
                table_shape = self.table.shape
            self._key = (self.shape, self.offset, self.strides, table_shape, digest)
        return self._key

    @property
    def is_affine(self) -> bool:
        return self.table is None

    @cached_property
    def depends(self) -> frozenset[int]:
        """The axes of the box on which the value depends."""
        axes = {d for d, s in enumerate(self.strides) if s}
        if self.table is not None:
            axes |= {d for d, n in enumerate(self.table.shape) if n > 1}
        return frozenset(axes)

    @cached_property
    def compact(self) -> np.ndarray:
        """The values, with size-1 axes where the map does not depend on the axis."""
        out = np.full((1,) * len(self.shape), self.offset, dtype=np.int64)
        for d, s in enumerate(self.strides):
            if s:
                axis = [1] * len(self.shape)
                axis[d] = self.shape[d]
                out = out + s * np.arange(self.shape[d], dtype=np.int64).reshape(axis)
        if self.table is not None:
            out = out + self.table
        return out

    def values(self) -> np.ndarray:
        """The values over the whole box, shape ``self.shape``."""
        return np.broadcast_to(self.compact, self.shape)

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest value (0, -1 on an empty box)."""
        if 0 in self.shape:
            return 0, -1
        low = high = self.offset
        for s, n in zip(self.strides, self.shape):
            low, high = low + min(0, s * (n - 1)), high + max(0, s * (n - 1))
        if self.table is not None:
            low, high = low + int(self.table.min()), high + int(self.table.max())
        return low, high

    @cached_property
    def is_constant(self) -> bool:
        return not self.depends

    def is_axis(self, axis: int, size: int | None = None) -> bool:
        """True if m(e) = e_axis, over the whole range of an array axis of `size` entries."""
        unit = self.table is None and self.offset == 0 and (size is None or self.shape[axis] == size)
        others = all(s == 0 for d, s in enumerate(self.strides) if d != axis)
        return unit and others and (self.strides[axis] == 1 or self.shape[axis] == 1)

    @cached_property
    def single_axis(self) -> int | None:
        """The one axis that an affine map depends on, or None."""
        if self.table is None and len(self.depends) == 1:
            return next(iter(self.depends))
        return None

    # -- arithmetic on values ---------------------------------------------------------------------------

    def shifted(self, by: int) -> IndexMap:
        return self if by == 0 else IndexMap(self.shape, *_canonical(self.shape, self.offset + by, self.strides,
                                                                      self.table))

    def scaled(self, by: int) -> IndexMap:
        table = None if self.table is None else self.table * by
        strides = [s * by for s in self.strides]
        return IndexMap(self.shape, *_canonical(self.shape, self.offset * by, strides, table))

    def __add__(self, other: IndexMap) -> IndexMap:
        tables = [m.table for m in (self, other) if m.table is not None]
        table = sum(tables[1:], tables[0]) if tables else None
        strides = [a + b for a, b in zip(self.strides, other.strides)]
        return IndexMap(self.shape, *_canonical(self.shape, self.offset + other.offset, strides, table))

    # -- changes of the box -----------------------------------------------------------------------------

    def compose(self, coordinates: Sequence[IndexMap], shape: Shape) -> IndexMap:
        """The map e' -> self(coordinates[0](e'), coordinates[1](e'), ...) over the box `shape`."""
        out = constant_map(shape, self.offset)
        for s, c in zip(self.strides, coordinates):
            if s:
                out = out + c.scaled(s)
        if self.table is None:
            return out
        picks = tuple(0 if n == 1 else c.compact for n, c in zip(self.table.shape, coordinates))
        looked_up = np.asarray(self.table[picks])
        if looked_up.ndim == 0:
            return out.shifted(int(looked_up))
        return out + table_map(looked_up, shape)

    def permuted(self, axes: Sequence[int]) -> IndexMap:
        """The same map over the box with its axes reordered: new axis k is old axis axes[k]."""
        table = None if self.table is None else np.ascontiguousarray(self.table.transpose(axes))
        return IndexMap([self.shape[a] for a in axes], self.offset, [self.strides[a] for a in axes], table)

    def inserted(self, axis: int, size: int) -> IndexMap:
        """The same map over a box with one more axis, on which it does not depend."""
        table = None if self.table is None else np.expand_dims(self.table, axis)
        shape, strides = list(self.shape), list(self.strides)
        shape.insert(axis, size)
        strides.insert(axis, 0)
        return IndexMap(shape, self.offset, strides, table)

    def dropped(self, axes: Sequence[int]) -> IndexMap:
        """The same map without `axes`, on which it must not depend."""
        keep = [d for d in range(len(self.shape)) if d not in axes]
        table = None if self.table is None else self.table.squeeze(tuple(axes))
        return IndexMap([self.shape[d] for d in keep], self.offset, [self.strides[d] for d in keep], table)

    def windowed(self, starts: Sequence[int], steps: Sequence[int], shape: Shape) -> IndexMap:
        """The map e' -> self(starts + steps * e') over the box `shape`."""
        n = len(shape)
        return self.compose([affine_map(shape, starts[d], {d: steps[d]}) for d in range(n)], tuple(shape))

    def views_of(self, flat: np.ndarray) -> list[np.ndarray] | None:
        """The elements of a flat array at the places of the map, as views of it; None where they would be small.

        One view in the shape of the box for an affine map, else one for each entry of the table.
        """
        if 0 in self.shape:
            return []
        table = np.zeros((1,) * len(self.shape), np.int64) if self.table is None else self.table
        if table.size**2 > math.prod(self.shape) and table.size > 1:
            return None
        (step,) = flat.strides
        box = [1 if t > 1 else n for t, n in zip(table.shape, self.shape)]
        strides = [step * s for s in self.strides]
        return [np.ndarray(box, flat.dtype, flat, step * (self.offset + t), strides) for t in table.ravel().tolist()]

    def parts(self) -> Iterator[np.ndarray]:
        """All values, as many at a time as the table has: at a place of the other axes each."""
        if self.table is None:
            yield self.values().ravel()
            return
        box = [1 if t > 1 else n for t, n in zip(self.table.shape, self.shape)]
        table = self.table.ravel()
        for at in IndexMap(box, self.offset, self.strides).values().ravel().tolist():
            yield table + at

    def is_injective(self) -> bool:
        """True if no two entries of the box share a value."""
        if any(n > 1 and d not in self.depends for d, n in enumerate(self.shape)):
            return False
        if self.table is None:
            axes = sorted((abs(s), n) for s, n in zip(self.strides, self.shape) if n > 1)
            reach = 0
            for stride, n in axes:
                if stride <= reach:
                    break
                reach += stride * (n - 1)
            else:
                return True
        return all_different(self.values())


def all_different(values: np.ndarray) -> bool:
    """True if no two whole numbers are equal; marked one by one where they lie close together, else sorted."""
    if not values.size:
        return True
    low, flat = values.min(), values.ravel()
    reach = int(values.max()) - int(low) + 1
    if reach < flat.size:
        return False
    if reach <= MARKED * flat.size:
        seen = np.zeros(reach, bool)
        seen[flat - low] = True
        return int(np.count_nonzero(seen)) == flat.size
    ordered = np.sort(flat)
    return bool((ordered[1:] != ordered[:-1]).all())


def different(values: np.ndarray) -> np.ndarray:
    """The different numbers among whole numbers, in order."""
    low, flat = values.min(), values.ravel()
    reach = int(values.max()) - int(low) + 1
    if reach > MARKED * flat.size:
        return np.unique(flat)
    seen = np.zeros(reach, bool)
    seen[flat - low] = True
    return np.flatnonzero(seen) + low


def ranked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers among whole numbers, in order, and for each number which of them it is."""
    if not values.size or int(values.max()) - int(values.min()) + 1 > MARKED * values.size:
        return np.unique(values, return_inverse=True)
    found, low = different(values), values.min()
    rank = np.zeros(int(values.max() - low) + 1, np.int64)
    rank[found - low] = np.arange(len(found))
    return found, rank[values - low]


def _canonical(shape: Shape, offset: int, strides: Sequence[int], table: np.ndarray | None):
    """Move whatever is affine in `table` into the offset and the strides."""
    if table is None:
        return offset, strides, None
    if 0 in table.shape:
        return 0, [0] * len(shape), None
    strides, table = list(strides), np.asarray(table, dtype=np.int64)
    for d, n in enumerate(table.shape):
        if n == 1:
            continue
        step = np.diff(table, axis=d)
        first = step.flat[0]
        if np.all(step == first):
            strides[d] += int(first)
            table = np.take(table, [0], axis=d)
    if table.size == 1:
        return offset + int(table.flat[0]), strides, None
    for d, n in enumerate(table.shape):  # strides along a table axis live in the table
        if n > 1 and strides[d]:
            axis = [1] * table.ndim
            axis[d] = n
            table = table + strides[d] * np.arange(n, dtype=np.int64).reshape(axis)
            strides[d] = 0
    return 0, strides, np.ascontiguousarray(table + offset)


def constant_map(shape: Shape, value: int = 0) -> IndexMap:
    """m(e) = value."""
    return IndexMap(shape, value, [0] * len(shape))


def axis_map(shape: Shape, axis: int) -> IndexMap:
    """m(e) = e_axis."""
    return affine_map(shape, 0, {axis: 1})


def affine_map(shape: Shape, offset: int, strides: dict[int, int]) -> IndexMap:
    """m(e) = offset + sum_d strides[d] * e_d."""
    return IndexMap(shape, offset, [strides.get(d, 0) for d in range(len(shape))])


def table_map(table: np.ndarray, shape: Shape) -> IndexMap:
    """m(e) = table[e], where `table` broadcasts to the box `shape`."""
    table = np.asarray(table, dtype=np.int64)
    table = table.reshape((1,) * (len(shape) - table.ndim) + table.shape)
    return IndexMap(shape, *_canonical(shape, 0, [0] * len(shape), table))


def identity_maps(shape: Shape) -> tuple[IndexMap, ...]:
    """One map per axis, m_d(e) = e_d."""
    return tuple(axis_map(shape, d) for d in range(len(shape)))


def row_major_strides(shape: Shape) -> tuple[int, ...]:
    """Elements to step over for one step along each axis of a C-ordered array."""
    return tuple(math.prod(shape[d + 1:]) for d in range(len(shape)))


def ravel_maps(maps: Sequence[IndexMap], shape: Shape, box: Shape) -> IndexMap:
    """The flat C-order position in an array of `shape` of the element that `maps` point at."""
    out = constant_map(box)
    for m, s in zip(maps, row_major_strides(shape)):
        out = out + m.scaled(s)
    return out


def unravel_map(flat: IndexMap, shape: Shape) -> tuple[IndexMap, ...]:
    """The maps of each coordinate in an array of `shape` of the elements at flat positions `flat`."""
    split = _unravel_affine(flat, shape)
    if split is not None:
        return split
    return tuple(table_map(c, flat.shape) for c in np.unravel_index(flat.compact, shape))


def _unravel_affine(flat: IndexMap, shape: Shape) -> tuple[IndexMap, ...] | None:
    """Split strides and offset digit by digit; valid where no coordinate leaves its range."""
    if flat.table is not None or 0 in flat.shape or any(s < 0 for s in flat.strides):
        return None
    rest, maps = flat, []
    for n, weight in zip(shape, row_major_strides(shape)):
        strides = {d: s // weight for d, s in enumerate(rest.strides) if s}
        part = affine_map(flat.shape, rest.offset // weight, strides)
        if part.bounds[1] >= n:
            return None
        maps.append(part)
        rest = affine_map(flat.shape, rest.offset % weight, {d: s % weight for d, s in enumerate(rest.strides)})
    return tuple(maps)
