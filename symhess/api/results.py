"""From the buffers of a kernel to what the user gets, and from `out` to the buffers.

A product ("value", "grad", "hvp", "hessian", "flat", "diagonal", "csr", "csr_lower") fills one buffer, or one per leaf.
`lead` are axes in front of everything: (B,) for a batch, () otherwise.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.api.kernels import filled
from symhess.errors import ShapeMismatch, UnsupportedOperation
from symhess.graph.node import Node
from symhess.graph.pytrees import flatten, unflatten
from symhess.plan.assembly import CsrLayout, spmatrix

if TYPE_CHECKING:
    from symhess.api.pipeline import Path

Shape = tuple[int, ...]


class Result:
    """What one product of a path looks like: its buffers, and the leaves that the user sees."""

    def __init__(self, path: Path, product: str, lead: Shape = ()):
        self.path, self.product, self.lead = path, product, lead
        self.inputs = [x.shape for x in path.signature.active]

    @cached_property
    def plain(self) -> bool:
        """True where the result is one bare array (or number), which is the buffer in another shape."""
        spec = self.path.output_spec if self.product == "value" else self.path.signature.active_spec
        return self.product == "flat" or (spec.num_nodes == spec.num_leaves == len(self.buffers) == 1)

    @cached_property
    def shape(self) -> Shape:
        """The shape of a plain result."""
        return self.leaves[0][0]

    @cached_property
    def buffers(self) -> list[tuple[Shape, np.dtype]]:
        """Shape and dtype of every buffer that the kernel fills."""
        path, n = self.path, self.path.size
        if self.product == "value":
            return [(self.lead + o.shape, o.dtype) for o in path.outputs]
        if self.product in ("grad", "hvp"):
            return [(self.lead + g.shape, g.dtype) for g in path.gradient]
        return [(self.lead + ((n,) if self.product == "diagonal" else (n, n)), path.dtype)]

    @cached_property
    def leaves(self) -> list[tuple[Shape, np.dtype]]:
        """Shape and dtype of every array of the result, in order."""
        if self.product == "diagonal":
            return [(self.lead + s, self.path.dtype) for s in self.inputs]
        if self.product == "hessian":
            return [(self.lead + si + sj, self.path.dtype) for si in self.inputs for sj in self.inputs]
        return self.buffers

    def split(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The buffers as the arrays of the result, without copying."""
        if self.product == "diagonal":
            return split(arrays[0], self.inputs)
        if self.product == "hessian":
            return [block for row in _split_blocks(arrays[0], self.inputs) for block in row]
        return list(arrays)

    def nested(self, leaves: Sequence[Any]) -> Any:
        """The arrays of the result in the user's nesting."""
        spec = self.path.signature.active_spec
        if self.product == "value":
            return self.path.rebuilt_outputs(leaves)
        if self.product == "flat":
            return leaves[0]
        if self.product != "hessian":
            return unflatten(spec, list(leaves))
        count = len(self.inputs)
        return unflatten(spec, [unflatten(spec, list(leaves[k * count:(k + 1) * count])) for k in range(count)])

    def finished(self, arrays: Sequence[np.ndarray]) -> Any:
        """The result that is made of these buffers; values that are one number as numbers."""
        if self.plain:
            return _as_number(arrays[0]) if self.product == "value" else arrays[0].reshape(self.shape)
        leaves = self.split(arrays)
        return self.nested([_as_number(a) for a in leaves] if self.product == "value" else leaves)

    # -- out -------------------------------------------------------------------------------------------------------

    def targets(self, out: Any) -> list[np.ndarray]:
        """The arrays of `out`, checked; ShapeMismatch where they do not fit."""
        if self.plain and not isinstance(out, tuple | list | dict):
            return [checked_out(out, *self.leaves[0])]
        given, spec = flatten(out)
        expected = flatten(self.nested([0] * len(self.leaves)))[1]
        if spec != expected:
            raise ShapeMismatch(f"out has structure {spec}, the result {expected}")
        if self.product == "value":
            given = [g for g, r in zip(given, self.path.returned) if isinstance(r, Node)]
        if len({id(g) for g in given}) != len(given):
            raise ShapeMismatch("out has the same array in two places")
        return [checked_out(g, shape, dtype, contiguous=len(given) == 1)
                for g, (shape, dtype) in zip(given, self.leaves)]

    def memory(self, targets: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """Buffers of the kernel that are the memory of `targets`; None where there are no such, and it is copied."""
        if len(targets) == len(self.buffers):
            if all(t.flags.c_contiguous for t in targets):
                return [t.reshape(shape) for t, (shape, _) in zip(targets, self.buffers)]
            return None
        whole = targets[0].base if targets else None
        ((shape, dtype),) = self.buffers
        if not isinstance(whole, np.ndarray) or whole.size != math.prod(shape) or whole.dtype != dtype or (
                not whole.flags.carray):
            return None
        whole = whole.reshape(shape)  # of an earlier result: its parts lie in one array
        return [whole] if all(map(_same_memory, targets, self.split([whole]))) else None


class SparseResult(Result):
    """The values of a CSR array, or one list of them for a batch."""

    plain = False

    @cached_property
    def layout(self) -> CsrLayout:
        return self.path.csr(self.product == "csr_lower")

    @cached_property
    def buffers(self) -> list[tuple[Shape, np.dtype]]:
        """One array of values."""
        return [((*self.lead, self.layout.nnz), self.path.dtype)]

    @cached_property
    def leaves(self) -> list[tuple[Shape, np.dtype]]:
        """One array of values for each matrix."""
        return [((self.layout.nnz,), self.path.dtype)] * math.prod(self.lead)

    def split(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The rows of a batch."""
        return list(arrays[0]) if self.lead else list(arrays)

    def nested(self, leaves: Sequence[Any]) -> Any:
        """One CSR array, a list of them for a batch."""
        made = [_matrix(self.layout, values) for values in leaves]
        return made if self.lead else made[0]

    def targets(self, out: Any) -> list[np.ndarray]:
        """The values of matrices that have the structure of the Hessian."""
        given = list(out) if self.lead else [out]
        if len(given) != len(self.leaves):
            raise ShapeMismatch(f"out has {len(given)} matrices, the batch {len(self.leaves)} rows")
        for matrix in given:
            _check_structure(matrix, self.layout)
        return [checked_out(m.data, *leaf) for m, leaf in zip(given, self.leaves)]


def results_of(path: Path, products: Sequence[str], lead: Shape = ()) -> list[Result]:
    """The results of several products of one kernel."""
    return [(SparseResult if p.startswith("csr") else Result)(path, p, lead) for p in products]


def compute(run: Any, arrays: Sequence[np.ndarray], results: Sequence[Result],
            out: tuple | None) -> list[Any]:
    """Run a kernel and return its results, each in its entry of `out` where that is not None.

    Everything is checked before the kernel runs, and it writes into the user's memory wherever the layouts agree.
    """
    if not all(isinstance(a, np.ndarray) for a in arrays):
        from symhess.api.device import device_results

        return device_results(run, arrays, results, out)
    if out is None:
        made = run(arrays, None)
        return [results[0].finished(made)] if len(results) == 1 else taken(results, iter(made))
    targets = [None if o is None else r.targets(o) for r, o in zip(results, out)]
    if not all(isinstance(t, np.ndarray) for given in targets if given is not None for t in given):
        raise UnsupportedOperation("out lies on the device and the arguments do not; pass a device array among them")
    memory = [None if t is None else r.memory(t) for r, t in zip(results, targets)]
    buffers = [b for r, m in zip(results, memory)
               for b in (m if m is not None else [np.empty(shape, dtype) for shape, dtype in r.buffers])]
    ready = iter(_run_into(run, arrays, buffers))
    made = []
    for result, given, into, direct in zip(results, out, targets, memory):
        mine = [next(ready) for _ in result.buffers]
        if into is not None and direct is None:
            for target, value in zip(into, result.split(mine)):
                target[...] = value
        made.append(result.finished(mine) if given is None else given)
    return made


def parts_of(out: Any, count: int = 1) -> tuple | None:
    """`out` as an entry (or None) for each result, or None where all are to be fresh."""
    if out is None:
        return None
    if count == 1:
        return (out,)
    if not isinstance(out, tuple | list) or len(out) != count:
        raise ShapeMismatch(f"out must be a tuple of {count} entries, None where the result is to be fresh, got "
                            f"{f'{len(out)} entries' if isinstance(out, tuple | list) else type(out).__name__}")
    return tuple(out)


def taken(results: Sequence[Result], arrays: Iterator[np.ndarray]) -> list[Any]:
    """The results that are made of the next arrays, one after the other."""
    return [r.finished([next(arrays) for _ in r.buffers]) for r in results]


def _run_into(run: Any, arrays: Sequence[np.ndarray], buffers: list[np.ndarray]) -> list[np.ndarray]:
    """Run a kernel; buffers that share memory with its inputs are written only after it has read them."""
    if not any(np.may_share_memory(b, a) for b in buffers for a in arrays):
        return run(arrays, buffers)
    return filled(buffers, run(arrays, None))


def checked_out(out: Any, shape: Shape, dtype: np.dtype, contiguous: bool = True) -> np.ndarray:
    """An array given to receive a result; ShapeMismatch where it cannot."""
    if not isinstance(out, np.ndarray) and "symhess.cuda.arrays" in sys.modules:
        from symhess.api.device import checked_device_out
        from symhess.cuda.arrays import is_on_device

        if is_on_device(out):
            return checked_device_out(out, shape, dtype)
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
        got = f"{out.dtype} array of shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ShapeMismatch(f"out must be a {dtype} array of shape {shape}, got {got}")
    if not (out.flags.carray if contiguous else out.flags.writeable and out.flags.aligned):
        raise ShapeMismatch(f"out must be {'C-contiguous, ' if contiguous else ''}aligned and writeable")
    return np.asarray(out)  # the memory of a subclass, such as a memmap


def _check_structure(out: Any, layout: CsrLayout) -> None:
    """A CSR array is only written into where its index arrays are those of the Hessian."""
    if getattr(out, "format", None) != "csr" or out.shape != (layout.n, layout.n) or out.nnz != layout.nnz:
        got = f"a {out.format} array of shape {out.shape} with {out.nnz} entries" if hasattr(out, "format") else (
            type(out).__name__)
        raise ShapeMismatch(f"out must be a CSR array of shape {(layout.n, layout.n)} with {layout.nnz} entries, "
                            f"got {got}; pass a result of an earlier call")
    if getattr(out, "symhess_layout", None) is layout:  # of an earlier call, on a device
        return
    known = layout.template  # read-only arrays, which its copies hold: earlier results need not be compared
    same = all(a is b or np.array_equal(a, b) for a, b in
               ((out.indices, known.indices), (out.indptr, known.indptr)))
    if not same:
        raise ShapeMismatch("out has its entries in other places than the Hessian; pass a result of an earlier call")


def _matrix(layout: CsrLayout, values: Any) -> Any:
    """A matrix where its values are."""
    if isinstance(values, np.ndarray | int):
        return spmatrix(layout, values)
    from symhess.api.device import device_matrix

    return device_matrix(layout, values)


def _as_number(a: Any) -> Any:
    """An array of rank 0 as a number; one on a device stays there."""
    return a[()] if isinstance(a, np.ndarray) else a


def _same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.strides == b.strides and a.ctypes.data == b.ctypes.data


def split(flat: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
    """The last axis cut into arrays of the given shapes."""
    lead = tuple(flat.shape[:-1])
    if len(shapes) == 1:
        return [flat.reshape(lead + shapes[0])]
    return [part.reshape(lead + s) for part, s in zip(_parts(flat, shapes), shapes)]


def _split_blocks(flat: np.ndarray, shapes: Sequence[Shape]) -> list[list[np.ndarray]]:
    """H[i][j] of shape (..., *S_i, *S_j) from the (..., n, n) matrix."""
    lead = tuple(flat.shape[:-2])
    if len(shapes) == 1:
        return [[flat.reshape(lead + shapes[0] + shapes[0])]]
    return [[block.reshape(lead + si + sj) for block, sj in zip(_parts(rows, shapes), shapes)]
            for rows, si in zip(_parts(flat, shapes, -2), shapes)]


def _parts(flat: Any, shapes: Sequence[Shape], axis: int = -1) -> list[Any]:
    """One of the last two axes cut into runs of the sizes of the shapes, for arrays of any library."""
    ends = np.cumsum([0, *(math.prod(s) for s in shapes)]).tolist()
    rest = (slice(None),) * (-1 - axis)
    return [flat[(..., slice(first, last), *rest)] for first, last in itertools.pairwise(ends)]
