"""Which tiles of a symmetric matrix hold anything: the others are neither mirrored nor cleared more than once."""

from __future__ import annotations

import numpy as np

from symhess.plan.program import Buffer

#: rows and columns of a tile
TILE = 64
#: matrices of fewer rows are cleared and mirrored as a whole
LEAST_ROWS = 512
#: one in so many tiles has to be empty, or assigned as a whole, for a look at each of them to pay
SHARE = 4
#: nothing is written, some elements are assigned or added to, all of them are assigned
EMPTY, MIXED, WHOLE = 0, 1, 2


def tile_states(b: Buffer) -> np.ndarray | None:
    """The state of each tile of a matrix that is cleared, then mirrored: (i, j) with i >= j stands for the one in the
    triangle that is mirrored. None if all tiles may as well be treated alike."""
    if not (b.zero and b.mirror and len(b.shape) == 2 and b.shape[0] >= LEAST_ROWS):
        return None
    n = b.shape[0]
    count = -(-n // TILE)
    assigned, touched = np.zeros((2, count * count), dtype=np.int64)
    for w in b.writes:
        rows, columns = np.divmod(w.position.values().ravel(), n)
        rows, columns = (columns, rows) if b.mirror == "upper" else (rows, columns)
        kept = rows >= columns
        found = np.bincount(rows[kept] // TILE * count + columns[kept] // TILE, minlength=count * count)
        touched += found
        if not w.accumulate:
            assigned += found
    side = np.minimum(TILE, n - TILE * np.arange(count))
    elements = np.outer(side, side)
    np.fill_diagonal(elements, side * (side + 1) // 2)
    states = np.where(touched == 0, EMPTY, np.where(assigned == elements.ravel(), WHOLE, MIXED)).reshape(count, count)
    gained = np.count_nonzero(np.tril(states != MIXED))
    return states.astype(np.int32) if gained * SHARE >= count * (count + 1) // 2 else None


def tiles_along(n: int) -> int:
    """How many tiles there are along a side."""
    return -(-n // TILE)
