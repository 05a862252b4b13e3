"""A batch whose rows may take different paths: what its results look like, and one row computed after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from symhess.api.pipeline import kernel_of
from symhess.api.results import Result, SparseResult
from symhess.errors import ShapeMismatch
from symhess.plan.assembly import CsrLayout

if TYPE_CHECKING:
    from symhess.api.arguments import Bound
    from symhess.api.pipeline import Path


class Rows:
    """Rows of a batch, each with the path that its own values lead to; called like a kernel."""

    def __init__(self, rows: Sequence[Bound], paths: Sequence[Path], names: tuple[str, ...]):
        self.rows, self.paths, self.names = rows, paths, names
        self.distinct = list(dict.fromkeys(paths))
        if "value" in names:
            self._check_values()
        self.results = [self._joined(k) for k in range(len(names))]

    def __call__(self, arrays: Sequence[np.ndarray], out: Sequence[np.ndarray] | None) -> Sequence[np.ndarray]:
        vectors = arrays[len(self.rows[0].arrays):]
        if out is None:
            out = [np.empty(s, d) for r in self.results for s, d in r.buffers]
        kernel, places = kernel_of(self.names), {id(p): self._places(p) for p in self.distinct}
        for k, (row, path) in enumerate(zip(self.rows, self.paths)):
            made = path.runner(kernel)([*row.arrays, *(v[k] for v in vectors)], None)
            for target, values, place in zip(out, made, places[id(path)], strict=True):
                if place is None:
                    target[k, ...] = values
                else:
                    target[k] = 0
                    target[k, place] = values
        return out

    def _check_values(self) -> None:
        """Values of one batch have one nesting and the same shapes."""
        first = self.paths[0]
        for k, path in enumerate(self.paths):
            shapes, expected = ([o.shape for o in p.outputs] for p in (path, first))
            if (path.output_spec, shapes) != (first.output_spec, expected):
                raise ShapeMismatch(f"batch: row {k} takes a path that returns shapes {shapes}, row 0 one that returns "
                                    f"{expected}")

    def _joined(self, k: int) -> Result:
        """The result of one product: in the widest dtypes, and with every entry that some row has."""
        each = [p.results(self.names, (len(self.rows),))[k] for p in self.distinct]
        if not isinstance(each[0], SparseResult):
            made = Result(each[0].path, each[0].product, each[0].lead)
            made.buffers = [(same[0][0], np.result_type(*(dtype for _, dtype in same)))
                            for same in zip(*(r.buffers for r in each))]
            return made
        made = SparseResult(each[0].path, each[0].product, each[0].lead)
        made.layout = _union([r.layout for r in each])
        return made

    def _places(self, path: Path) -> list[np.ndarray | None]:
        """For every buffer of a path, where its values go in a row of the result; None: they fill the row."""
        places: list[np.ndarray | None] = []
        for joined, own in zip(self.results, path.results(self.names, (len(self.rows),))):
            same = not isinstance(own, SparseResult) or own.layout is joined.layout
            places += [None if same else np.searchsorted(_keys(joined.layout), _keys(own.layout))
                       for _ in own.buffers]
        return places


def _keys(layout: CsrLayout) -> np.ndarray:
    """row * n + column of every entry, which ascends."""
    rows = np.repeat(np.arange(layout.n, dtype=np.int64), np.diff(layout.indptr))
    return rows * layout.n + layout.indices


def _union(layouts: Sequence[CsrLayout]) -> CsrLayout:
    """The entries of all the layouts; the first one itself where it has them all."""
    first, n = layouts[0], layouts[0].n
    keys = np.unique(np.concatenate([_keys(layout) for layout in layouts]))
    if len(keys) == first.nnz:
        return first
    indptr = np.searchsorted(keys, np.arange(n + 1, dtype=np.int64) * n).astype(first.indptr.dtype)
    return CsrLayout(n, indptr, (keys % n).astype(first.indices.dtype), None)
