"""Nested loops as boxes: an axis for each loop, where every argument's positions are a sum of one part per axis.

    positions(i, j) = outer(i) + inner(j)           for i < count / b, j < b
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

Box = tuple[int, ...]


def common_box(tables: Sequence[np.ndarray], count: int, known: Iterable[Box] = ()) -> Box:
    """The box of `count` members over which all position tables separate; (count,) if there is none.

    `known` are boxes of arrays that are used whole: with one of these nothing needs to be moved.
    """
    for box in known:
        if math.prod(box) == count and _separates(tables, box):
            return box
    box: Box = ()
    while True:
        inner = min(map(_first_run, tables), default=count)
        if inner >= count or count % inner or not all(_separable(t, inner) for t in tables):
            return (count, *box)
        box, count, tables = (inner, *box), count // inner, [t[::inner] for t in tables]


def _separates(tables: Sequence[np.ndarray], box: Box) -> bool:
    for inner in reversed(box[1:]):
        if not all(_separable(t, inner) for t in tables):
            return False
        tables = [t[::inner] for t in tables]
    return True


def _first_run(table: np.ndarray) -> int:
    """How many entries follow one another in equal steps at the start of the table."""
    step = np.diff(table)
    breaks = np.flatnonzero(step != step[:1])
    return int(breaks[0]) + 1 if len(breaks) else len(table)


def _separable(table: np.ndarray, inner: int) -> bool:
    rows = table.reshape(-1, inner)
    return bool((rows - rows[:, :1] == rows[0] - rows[0, 0]).all())


def squeezed(values: np.ndarray, axes: int) -> np.ndarray:
    """The array with the leading `axes` cut to size 1 where nothing changes along them."""
    for d in range(axes):
        first = values.take([0], axis=d)
        if values.shape[d] > 1 and (values == first).all():
            values = first
    return values


def trailing_axes(box: Box, size: int) -> int | None:
    """How many of the last axes of the box hold `size` entries together."""
    sizes = list(itertools.accumulate(reversed(box), int.__mul__, initial=1))
    return sizes.index(size) if size in sizes else None
