"""Running programs on a GPU: NumPy arrays in and out by copies, device arrays in and the same kind out without any."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.api.kernels import AroundKernel
from symhess.cuda.arrays import OnDevice
from symhess.cuda.program import DeviceProgram
from symhess.cuda.toolkit import require_device
from symhess.errors import ShapeMismatch, TargetUnavailable, UnsupportedOperation
from symhess.plan.assembly import CsrLayout
from symhess.plan.program import Program

if TYPE_CHECKING:
    from symhess.api.arguments import Options
    from symhess.api.results import Result


class DeviceRunner(AroundKernel):
    """Runs a program through its kernels on a GPU."""

    def __init__(self, program: Program, options: Options):
        self.program = program
        self.inner = self.device = DeviceProgram(program, bool(options.fastmath))

    @property
    def ptx(self) -> str:
        """The PTX of all kernels."""
        return "\n".join(self.device.ptx().values())

    def __call__(self, arrays: Sequence[Any], out: Sequence[Any] | None) -> list[Any]:
        require_device()
        like = next((a for a in arrays if isinstance(a, OnDevice)), None)
        if like is None:
            buffers = [np.empty(*kind) for kind in self.program.kinds] if out is None else list(out)
            self.device.on_host(arrays, buffers)
            return buffers
        if out is None:
            out = [like.library.empty(*kind, like.given) for kind in self.program.kinds]
        self.device.enqueue([*arrays, *map(OnDevice, out)])
        return list(out)


def device_results(run: Any, arrays: Sequence[Any], results: Sequence[Result], out: tuple | None) -> list[Any]:
    """The results of a kernel on device arrays, each in its entry of `out` where that is not None."""
    if out is None:
        made = iter(run(arrays, None))
        return [r.finished([next(made) for _ in r.buffers]) for r in results]
    targets = [None if o is None else r.targets(o) for r, o in zip(results, out)]
    like = next(a for a in arrays if isinstance(a, OnDevice))
    buffers = []
    for r, given in zip(results, targets):
        if given is not None and len(given) != len(r.buffers):
            raise UnsupportedOperation("out of several device arrays for one matrix; use .flat, which has one array")
        fresh = [like.library.empty(shape, dtype, like.given) for shape, dtype in r.buffers]
        buffers += fresh if given is None else [g.reshape(shape) for g, (shape, _) in zip(given, r.buffers)]
    used = [OnDevice(b) for b in buffers]
    if any(b.overlaps(a) for b in used for a in arrays if isinstance(a, OnDevice)):
        raise UnsupportedOperation("out shares memory with an argument; pass another device array")
    made = iter(run(arrays, buffers))
    for g in (g for given in targets if given is not None for g in given):
        OnDevice(g).library.written(g)
    found = [[next(made) for _ in r.buffers] for r in results]
    return [r.finished(mine) if o is None else o for r, mine, o in zip(results, found, out)]


def checked_device_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """A device array given to receive a result; ShapeMismatch where it cannot."""
    found = OnDevice(out)
    if found.shape != shape or found.dtype != dtype or not found.takes_results:
        raise ShapeMismatch(f"out must be a C-contiguous {dtype} array of shape {shape} on the device, of CuPy, "
                            f"PyTorch (without requires_grad) or Numba, got {found.dtype} of shape {found.shape} in a "
                            f"{type(out).__module__}.{type(out).__name__}")
    return out


def device_matrix(layout: CsrLayout, values: Any) -> Any:
    """A sparse matrix of CuPy's around values on a device; its structure is copied there once.

    Raises:
        TargetUnavailable: CuPy is not installed.
    """
    if importlib.util.find_spec("cupyx") is None:
        raise TargetUnavailable("sparse results on a device are matrices of CuPy's: pip install cupy-cuda13x")
    import cupy
    import cupyx.scipy.sparse

    known = vars(layout).setdefault("on_device", {})
    with values.device if isinstance(values, cupy.ndarray) else contextlib.nullcontext():
        values, device = cupy.asarray(values), cupy.cuda.runtime.getDevice()
        if device not in known:  # the constructor looks at what is in the arrays, and waits for the device to do so
            parts = values, cupy.asarray(layout.indices), cupy.asarray(layout.indptr)
            known[device] = cupyx.scipy.sparse.csr_matrix(parts, shape=(layout.n, layout.n))
            known[device].symhess_layout = layout
        made = copy.copy(known[device])
        made.data = values
    return made
