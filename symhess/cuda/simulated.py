"""A program in Numba's CUDA simulator: NumPy arrays in place of memory, threads of Python's in place of a device."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.cuda import linear
from symhess.cuda.source import memory_of
from symhess.cuda.toolkit import numba_cuda
from symhess.plan.steps import LibraryCall

if TYPE_CHECKING:
    from symhess.cuda.program import DeviceProgram


class Simulated:
    """What `Loaded` is on a device; operands are the simulator's device arrays, flat, or arrays of the host."""

    def __init__(self, program: DeviceProgram):
        self.program, self.module = program, program.module
        self.names = [t.name for t in (*program.plan.inputs, *program.plan.outputs)]
        self.memory: dict[str, Any] = {}
        cuda = numba_cuda()
        lanes = self.module.lanes
        for plan, storage in self.module.storages(program.plan):
            self.memory |= {name: cuda.to_device(filled(a)) for name, a in plan.constants.items()}
            work = cuda.device_array(max(storage.size * lanes, 1), np.uint8)
            for t in memory_of(plan):
                if t.name in storage.places:
                    dtype, size = self.module.dtypes[t.name], math.prod(t.shape) * t.dtype.itemsize * lanes
                    first = storage.places[t.name].offset * lanes
                    self.memory[t.name] = work[first:first + size].view(dtype) if size else cuda.device_array(1, dtype)

    def enqueue(self, operands: Sequence[Any], stream: int = 0, others: Sequence[int] = ()) -> None:
        """Run everything."""
        given = [numba_cuda().to_device(filled(a)) if isinstance(a, np.ndarray) else a for a in operands]
        arrays = self.memory | dict(zip(self.names, given))
        arrays |= {name: arrays[w.array][w.start:w.start + w.size] for name, w in self.module.windows.items()}
        for launch in self.module.launches:
            if launch.call is not None and launch.name in self.program._by_library:
                taken = dict(zip(launch.arrays, (arrays[name] for name in launch.taken)))
                self._call_library(launch.call, taken)
            elif launch.points:
                with warnings.catch_warnings():  # NumPy would warn where a device goes on with an infinity or NaN
                    warnings.simplefilter("ignore", RuntimeWarning)
                    kernel = self.program._kernels[launch.name][self.program.grid_of(launch)]
                    kernel(*(arrays[name] for name in launch.taken))

    @staticmethod
    def _call_library(call: LibraryCall, arrays: dict[str, Any]) -> None:
        """Do a call by what stands for CuPy, over the same memory."""
        xp = linear.library()
        if call.function not in linear.CALLS:  # a factorisation that nobody reads
            return
        shapes = [*(a.shape for a in call.arguments), call.shape]
        given = [arrays[name]._ary[:math.prod(shape)].reshape(shape)
                 for name, shape in zip([*call.sources, call.target.name], shapes)]
        linear.CALLS[call.function](xp, *given, *call.parameters)

    def on_host(self, arrays: Sequence[np.ndarray], buffers: Sequence[np.ndarray]) -> None:
        """From arrays of the host into buffers of the host."""
        cuda = numba_cuda()
        results = [cuda.device_array(max(b.size, 1), b.dtype) for b in buffers]
        self.enqueue([*arrays, *results])
        for made, b in zip(results, buffers):
            b.reshape(-1)[...] = made.copy_to_host()[:b.size]


def filled(a: np.ndarray) -> np.ndarray:
    """The elements of an array in one row; one element in place of none, which the simulator has no array for."""
    return np.ascontiguousarray(a).reshape(-1) if a.size else np.zeros(1, a.dtype)
