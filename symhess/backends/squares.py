"""Squares of 8 x 8 elements transposed in registers: a column of a large matrix touches one cache line per element.

A row of a square is a vector; `shuffle(a, b, lanes)` gives the chosen elements of the concatenation of two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from symhess.plan.loops import SQUARE

#: so many rows are interleaved element by element
FEW = 3
Shuffle = Callable[[Any, Any, Sequence[int]], Any]


def transposed(shuffle: Shuffle, rows: Sequence[Any]) -> list[Any]:
    """Swap the off-diagonal blocks of side d, for d = 4, 2, 1."""
    rows, d = list(rows), SQUARE // 2
    while d:
        for r in (r for r in range(SQUARE) if not r & d):
            a, b = rows[r], rows[r + d]
            rows[r] = shuffle(a, b, [l if not l & d else SQUARE + l - d for l in range(SQUARE)])
            rows[r + d] = shuffle(a, b, [l + d if not l & d else SQUARE + l for l in range(SQUARE)])
        d //= 2
    return rows


def mirrored(shuffle: Shuffle, rows: Sequence[Any]) -> list[Any]:
    """Rows of a square on the diagonal: each as it is up to the diagonal, transposed beyond."""
    turned = transposed(shuffle, rows)
    return [shuffle(rows[r], turned[r], [l if l <= r else SQUARE + l for l in range(SQUARE)]) for r in range(SQUARE)]


def mirrored_upper(shuffle: Shuffle, rows: Sequence[Any]) -> list[Any]:
    """The same with what is beyond the diagonal as it is: a thread that reads there meanwhile sees nothing else."""
    return mirrored(shuffle, transposed(shuffle, rows))


def interleaved(shuffle: Shuffle, rows: Sequence[Any]) -> Iterator[tuple[int, int, Any]]:
    """(p, j, vector) for more than `SQUARE` rows: elements p of the rows from j on. The last squares may overlap; of
    rows that are `FEW` beyond a multiple of the side, there is none."""
    count = len(rows)
    starts = list(range(0, count - SQUARE + 1, SQUARE))
    if count % SQUARE > FEW:
        starts.append(count - SQUARE)
    for j in starts:
        for p, vector in enumerate(transposed(shuffle, rows[j:j + SQUARE])):
            yield p, j, vector


def beyond_squares(count: int) -> range:
    """The rows that `interleaved` leaves."""
    rest = count % SQUARE
    return range(count - rest, count) if rest <= FEW else range(0)
