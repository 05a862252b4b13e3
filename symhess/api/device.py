"""Running programs on a GPU: NumPy arrays in and out by copies, device arrays in and the same kind out without any."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.api.kernels import AroundKernel
from symhess.cuda import driver
from symhess.cuda.arrays import ForeignByCupy, OnDevice, library_of
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
        """`out` are NumPy arrays for arguments that are, `OnDevice` where an argument is."""
        require_device()
        like = next((a for a in arrays if isinstance(a, OnDevice)), None)
        if like is None:
            buffers = [np.empty(*kind) for kind in self.program.kinds] if out is None else list(out)
            self.device.on_host(arrays, buffers)
            return buffers
        if out is None:
            out = [like.fresh(*kind) for kind in self.program.kinds]
        self.device.enqueue([*arrays, *out])
        return [o.given for o in out]


def device_results(run: Any, arrays: Sequence[Any], results: Sequence[Result], out: tuple | None) -> list[Any]:
    """The results of a kernel on device arrays, each in its entry of `out` where that is not None."""
    if out is None:
        made = iter(run(arrays, None))
        return [r.finished([next(made) for _ in r.buffers]) for r in results]
    like = next(a for a in arrays if isinstance(a, OnDevice))
    buffers: list[OnDevice] = []
    written: list[Any] = []
    for r, o in zip(results, out):
        targets = [] if o is None else _targets(r, o, arrays)
        fresh = [like.fresh(shape, dtype) for shape, dtype in r.buffers] if o is None else []
        buffers += fresh + [OnDevice(g if tuple(g.shape) == shape else g.reshape(shape))
                            for g, (shape, _) in zip(targets, r.buffers)]
        written += targets
    made = iter(run(arrays, buffers))
    for g in written:
        library_of(type(g)).written(g)
    found = [[next(made) for _ in r.buffers] for r in results]
    return [r.finished(mine) if o is None else o for r, mine, o in zip(results, found, out)]


def _targets(result: Result, out: Any, arrays: Sequence[Any]) -> list[Any]:
    """The device arrays given to receive a result, checked."""
    targets = result.targets(out)
    if any(isinstance(g, np.ndarray) for g in targets):
        raise UnsupportedOperation("out is a NumPy array and an argument lies on the device; pass a device array")
    if len(targets) != len(result.buffers):
        raise UnsupportedOperation("out of several device arrays for one matrix; use .flat, which has one array")
    given = [OnDevice(g) for g in targets]
    if any(g.overlaps(a) for g in given for a in arrays if isinstance(a, OnDevice)):
        raise UnsupportedOperation("out shares memory with an argument; pass another device array")
    return targets


def checked_device_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """A device array given to receive a result; ShapeMismatch where it cannot."""
    found = OnDevice(out)
    if found.shape != shape or found.dtype != dtype or not library_of(type(out)).takes_results(out):
        raise ShapeMismatch(f"out must be a C-contiguous {dtype} array of shape {shape} on the device, of CuPy, "
                            f"PyTorch (without requires_grad) or Numba, got {found.dtype} of shape {found.shape} in a "
                            f"{type(out).__module__}.{type(out).__name__}")
    return out


def device_matrix(layout: CsrLayout, values: Any) -> Any:
    """A sparse matrix around values on a device, PyTorch's for tensors, else CuPy's; its structure is copied once.

    Raises:
        TargetUnavailable: CuPy is not installed.
    """
    if "torch" in sys.modules and isinstance(values, sys.modules["torch"].Tensor):
        return _tensor(layout, values)
    if importlib.util.find_spec("cupyx") is None:
        raise TargetUnavailable("sparse results on a device are matrices of CuPy's: pip install cupy-cuda13x")
    import cupy
    import cupyx.scipy.sparse

    known = vars(layout).setdefault("on_device", {})
    with values.device if isinstance(values, cupy.ndarray) else contextlib.nullcontext():
        if not isinstance(values, cupy.ndarray):
            driver.join(cupy.cuda.get_current_stream().ptr, OnDevice(values).stream)
            values = ForeignByCupy().adopted(values)  # `cupy.asarray` would have the host wait
        device = cupy.cuda.runtime.getDevice()
        if device not in known:  # the constructor looks at what is in the arrays, and waits for the device to do so
            parts = values, cupy.asarray(layout.indices), cupy.asarray(layout.indptr)
            known[device] = cupyx.scipy.sparse.csr_matrix(parts, shape=(layout.n, layout.n))
            known[device].symhess_layout = layout
        made = copy.copy(known[device])
        made.data = values
    return made


def _tensor(layout: CsrLayout, values: Any) -> Any:
    """A sparse tensor of PyTorch's."""
    torch, known = sys.modules["torch"], vars(layout).setdefault("in_torch", {})
    if values.device not in known:
        known[values.device] = [torch.tensor(a, device=values.device) for a in (layout.indptr, layout.indices)]
    return torch.sparse_csr_tensor(*known[values.device], values, size=(layout.n, layout.n),
                                   check_invariants=False)
