"""`DeviceProgram`: a program as kernels on a GPU, launched in order on one stream over a workspace of its own."""

from __future__ import annotations

import contextlib
import math
import threading
import time
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from symhess.cuda import linear
from symhess.cuda.names import loaded, shape_of_blocks
from symhess.cuda.source import Launch, Module, memory_of, module
from symhess.cuda.toolkit import is_simulated, numba_cuda, ptx_of, require_device
from symhess.plan.nested import plans_in
from symhess.plan.program import Program
from symhess.plan.schedule import grid_plan
from symhess.plan.steps import Plan
from symhess.plan.storage import allocate

#: most blocks of a grid: the rest is done by the strides of grid loops
MOST_BLOCKS, MOST_SIMULATED = 1 << 14, 2
#: streams for which configured kernels are kept
MOST_STREAMS = 16


class DeviceProgram:
    """A program compiled for a GPU. Plan and source need no device; they are there at once.

    A call enqueues the launches and returns: nothing waits for the device. One call is enqueued at a time, since all
    use one workspace; a call on another stream waits, on the device, for the one before.
    """

    def __init__(self, program: Program, fastmath: bool = False):
        started = time.perf_counter()
        self.fastmath = fastmath
        self.plan: Plan = grid_plan(program)
        self.module: Module = module(self.plan, shape_of_blocks()[1])
        self._functions = loaded("\n".join(self.module.texts.values()))
        self.compile_seconds = time.perf_counter() - started
        self._lock = threading.Lock()
        self._last: tuple[Any, Any] | None = None
        self._streams: dict[int, dict[str, Any]] = {}

    @property
    def source(self) -> str:
        """The kernels, each with a line on what it is for."""
        texts = self.module.texts
        called = lambda l: f"# {l.label}({', '.join(l.arrays)}) by CuPy\n"
        printed = lambda l: f"# {l.label}: {l.points} iterations for {_WHO[l.kind]}\n{texts[l.name]}"
        return "\n".join(printed(l) if l.name in texts else called(l) for l in self.module.launches)

    def signature(self, launch: Launch) -> tuple:
        """The types of a kernel's arguments: flat arrays."""
        import numba
        from numba import types

        return tuple(types.Array(numba.from_dtype(self.module.dtypes[name]), 1, "C") for name in launch.arrays)

    def ptx(self) -> dict[str, str]:
        """The PTX of every kernel by its name; no device is needed."""
        return {l.name: ptx_of(self._functions[l.name], self.signature(l), self.fastmath)
                for l in self._printed}

    @property
    def _printed(self) -> list[Launch]:
        """The launches that have kernels."""
        return [l for l in self.module.launches if l.name in self.module.texts]

    # -- on a device -------------------------------------------------------------------------------------------

    @cached_property
    def _kernels(self) -> dict[str, Any]:
        """The compiled kernels. Raises TargetUnavailable without a device."""
        require_device()
        cuda = numba_cuda()
        if is_simulated():
            return {l.name: cuda.jit(self._functions[l.name]) for l in self._printed}
        return {l.name: cuda.jit(self.signature(l), fastmath=self.fastmath)(self._functions[l.name])
                for l in self._printed if l.name not in self._by_library}

    @cached_property
    def _by_library(self) -> set[str]:
        """The launches that are done by CuPy; of a factorisation nothing where nobody reads its record."""
        if linear.library() is None:
            return set()
        calls = [l for l in self.module.launches if l.call is not None]
        chosen = {l.name for l in calls if linear.is_for_library(l.call)}
        ignoring = {l.name for l in calls if l.name in chosen and l.call.function in linear.WITHOUT_RECORD}
        for l in calls:
            readers = [o.name for o in self.module.launches if o is not l and l.call.target.name in o.arrays]
            if l.call.function == "lu" and ignoring.issuperset(readers):
                chosen.add(l.name)
        return chosen

    @cached_property
    def _memory(self) -> dict[str, Any]:
        """Constants, and the arrays of the workspace: one allocation, in which arrays use places one after another."""
        cuda, out = numba_cuda(), {}
        storages = [(p, allocate(p.root, memory_of(p))) for p in plans_in(self.plan)]
        work = cuda.device_array(max(sum(s.size for _, s in storages), 1), np.uint8)
        start = 0
        for plan, storage in storages:
            out |= {name: cuda.to_device(a if a.size else np.zeros(1, a.dtype)) for name, a in plan.constants.items()}
            for t in memory_of(plan):
                if t.name in storage.places:
                    dtype = self.module.dtypes[t.name]
                    first, size = start + storage.places[t.name].offset, math.prod(t.shape) * t.dtype.itemsize
                    out[t.name] = work[first:first + size].view(dtype) if size else cuda.device_array(1, dtype)
            start += storage.size
        return out

    def __call__(self, inputs: Sequence[Any], outputs: Sequence[Any], stream: Any = 0) -> None:
        """Enqueue everything on a stream; the arrays are flat, on the device, and of the types of the program."""
        names = [t.name for t in (*self.plan.inputs, *self.plan.outputs)]
        with self._lock:
            ready, arrays = self._configured(stream), {**self._memory, **dict(zip(names, (*inputs, *outputs)))}
            self._after_the_last(stream)
            for launch in self.module.launches:
                if launch.name in self._by_library:
                    self._call_library(launch, arrays, stream)
                elif launch.points:
                    _quietly(ready[launch.name], *(arrays[name] for name in launch.arrays))
            self._note(stream)

    def _configured(self, stream: Any) -> dict[str, Any]:
        """The kernels with their grids, on a stream; numba-cuda would warn of every small one."""
        key, kernels = int(getattr(stream, "handle", 0) or 0), self._kernels
        if is_simulated():  # where a kernel keeps the grid that it was given last
            return {l.name: lambda *a, l=l: kernels[l.name][grid_of(l)](*a) for l in self._printed}
        if key not in self._streams:
            if len(self._streams) >= MOST_STREAMS:
                self._streams.clear()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._streams[key] = {l.name: kernels[l.name][(*grid_of(l), stream)]
                                      for l in self._printed if l.name in kernels and l.points}
        return self._streams[key]

    @staticmethod
    def _call_library(launch: Launch, arrays: dict[str, Any], stream: Any) -> None:
        """Do a call by CuPy, on the stream, over the same memory."""
        call, xp = launch.call, linear.library()
        if call.function not in linear.CALLS:  # a factorisation that nobody reads
            return
        given = [as_library_array(xp, arrays[name], a.shape) for name, a in zip(call.sources, call.arguments)]
        out = as_library_array(xp, arrays[call.target.name], call.shape)
        with library_stream(xp, stream):
            linear.CALLS[call.function](xp, *given, out, *call.parameters)

    def _after_the_last(self, stream: Any) -> None:
        """The workspace may still be read by an earlier call, on another stream."""
        if self._last is not None and self._last[0] is not stream:
            self._last[1].wait(stream)

    def _note(self, stream: Any) -> None:
        """Remember when this call is done with the workspace."""
        event = self._last[1] if self._last is not None else numba_cuda().event(timing=False) if not is_simulated() \
            else numba_cuda().event()
        event.record(stream)
        self._last = (stream, event)


def as_library_array(xp: Any, array: Any, shape: tuple[int, ...]) -> Any:
    """A flat device array as one of CuPy's over the same memory."""
    flat = array._ary if is_simulated() else xp.asarray(array)
    return flat[:math.prod(shape)].reshape(shape)


def library_stream(xp: Any, stream: Any) -> Any:
    """A context in which CuPy works on a stream of Numba's."""
    if is_simulated():
        return contextlib.nullcontext()
    handle = int(getattr(stream, "handle", 0) or 0)
    return xp.cuda.ExternalStream(handle) if handle else xp.cuda.Stream.null


_WHO = {"threads": "threads", "blocks": "blocks of threads", "tiles": "tiles", "one": "one thread"}


def grid_of(launch: Launch) -> tuple[Any, Any]:
    """Blocks, and threads of a block."""
    block, tile = shape_of_blocks()
    most = MOST_SIMULATED if is_simulated() else MOST_BLOCKS
    if launch.kind == "threads":
        threads = min(block, 2 if is_simulated() else 32 * -(-launch.points // 32))
        return min(-(-launch.points // threads), most), threads
    if launch.kind == "blocks":
        return min(launch.points, most), block
    return (min(launch.points, most), (tile, tile)) if launch.kind == "tiles" else (1, 1)


def _quietly(launch: Any, *arrays: Any) -> None:
    """Run a kernel; in a simulation NumPy would warn where a device goes on with an infinity or NaN."""
    if not is_simulated():
        launch(*arrays)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        launch(*arrays)
