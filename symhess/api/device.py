"""Running programs on a GPU: NumPy arrays in and out by copies, device arrays in and the same kind out without any."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.cuda.arrays import OnDevice, stream_of
from symhess.cuda.program import DeviceProgram
from symhess.cuda.toolkit import is_simulated, numba_cuda, require_device
from symhess.errors import ShapeMismatch, TargetUnavailable, UnsupportedOperation
from symhess.plan.assembly import CsrLayout
from symhess.plan.program import Program

if TYPE_CHECKING:
    from symhess.api.arguments import Options
    from symhess.api.results import Result


class DeviceRunner:
    """Runs a program through its kernels on a GPU; called like the other runners."""

    def __init__(self, program: Program, options: Options):
        self.program = program
        self.device = DeviceProgram(program, bool(options.fastmath))
        self._lock = threading.Lock()

    @property
    def compile_seconds(self) -> float:
        return self.device.compile_seconds

    @property
    def source(self) -> str:
        return self.device.source

    @property
    def plan(self) -> Any:
        return self.device.plan

    @property
    def ptx(self) -> str:
        """The PTX of all kernels."""
        return "\n".join(self.device.ptx().values())

    def __call__(self, arrays: Sequence[Any], out: Sequence[Any] | None) -> list[Any]:
        require_device()
        if not any(isinstance(a, OnDevice) for a in arrays):
            buffers = [np.empty(b.shape, b.dtype) for b in self.program.outputs] if out is None else list(out)
            self._through_copies(arrays, buffers)
            return buffers
        given = [a for a in arrays if isinstance(a, OnDevice)]
        stream, like = stream_of(given), given[0]
        fresh = lambda b: like.library.empty(b.shape, b.dtype, like.given)
        buffers = [fresh(b) for b in self.program.outputs] if out is None else out
        self.device([_flat(a, stream) for a in arrays], [OnDevice(b).flat for b in buffers], stream)
        return list(buffers)

    @cached_property
    def _mine(self) -> tuple[list[Any], list[Any], Any]:
        """Arrays on the device for what comes from the host and goes back to it, and a stream."""
        cuda = numba_cuda()
        ends = ([(x.size, x.dtype) for x in self.program.inputs],
                [(int(np.prod(b.shape)), b.dtype) for b in self.program.outputs])
        made = [[cuda.device_array(max(size, 1), dtype) for size, dtype in end] for end in ends]
        return made[0], made[1], 0 if is_simulated() else cuda.stream()

    def _through_copies(self, arrays: Sequence[np.ndarray], buffers: Sequence[np.ndarray]) -> None:
        """Copy arrays to the device, run there, copy the results back, and wait for them."""
        with self._lock:
            inputs, outputs, stream = self._mine
            for mine, a in zip(inputs, arrays):
                if a.size:
                    mine.copy_to_device(a.reshape(-1), stream=stream)
            self.device(inputs, outputs, stream)
            for mine, b in zip(outputs, buffers):
                if b.size:
                    mine.copy_to_host(b.reshape(-1), stream=stream)
            if stream:
                stream.synchronize()


def _flat(a: Any, stream: Any) -> Any:
    """An argument on the device, whole."""
    return a.flat if isinstance(a, OnDevice) else numba_cuda().to_device(
        np.ascontiguousarray(a).reshape(-1) if a.size else np.zeros(1, a.dtype), stream=stream)


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
    found = [[next(made) for _ in r.buffers] for r in results]
    return [r.finished(mine) if o is None else o for r, mine, o in zip(results, found, out)]


def checked_device_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """A device array given to receive a result; ShapeMismatch where it cannot."""
    found = OnDevice(out)
    if found.shape != shape or found.dtype != dtype or found.given is not out:
        raise ShapeMismatch(f"out must be a C-contiguous {dtype} array of shape {shape} on the device, "
                            f"got {found.dtype} of shape {found.shape}")
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
    device = cupy.cuda.runtime.getDevice()
    if device not in known:
        known[device] = cupy.asarray(layout.indices), cupy.asarray(layout.indptr)
    made = cupyx.scipy.sparse.csr_matrix((cupy.asarray(values), *known[device]), shape=(layout.n, layout.n))
    made.symhess_layout = layout
    return made
