"""A program on one device: its memory, the arguments of its kernels packed once, and what a call enqueues.

numba-cuda compiles and loads the kernels. Launched by it, each would have all its arguments packed anew, in Python,
with an array object of numba-cuda's around every address, which takes longer than a small kernel runs. So the arguments
lie packed in memory, as numba-cuda's kernels take them, and a call writes the addresses that have changed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from symhess.cuda import driver, linear
from symhess.cuda.graphs import Addresses, Section, Step, runs
from symhess.cuda.source import Launch, memory_of
from symhess.cuda.staging import SMALL, Staging
from symhess.cuda.toolkit import numba_cuda
from symhess.errors import DeviceFailure, TargetUnavailable, UnsupportedOperation
from symhess.plan.nested import plans_in
from symhess.plan.steps import LibraryCall

if TYPE_CHECKING:
    from symhess.cuda.program import DeviceProgram

#: a kernel takes an array as seven words: two references of none, elements, bytes of one, address, shape, stride
WORDS, ELEMENTS, ADDRESS = 7, 2, 4
#: arrays begin at multiples of this many bytes
ALIGNMENT = 256
#: programs in graphs of the user's keep their memory as long as the process runs: nothing says when such a graph ends
_KEPT: list[Loaded] = []


class Loaded:
    """A program on the device whose context is current. Calls take turns: they use one workspace."""

    def __init__(self, program: DeviceProgram):
        self.program, self.module = program, program.module
        self.device = numba_cuda().get_current_device().id
        #: everything on the device, kept until the last call is done, by its event
        self.memory: list[Any] = []
        self.stream, self._done = driver.new_stream(self), driver.new_event(self, self.memory)
        self._last: int | None = None
        self._uploads: dict[int, tuple[int, bytes]] = {}
        ends = [*program.plan.inputs, *program.plan.outputs]
        self.operands = {t.name: k for k, t in enumerate(ends)}
        self.sizes = [size for size, _ in program.ends]
        self._allocate()
        self._current: Addresses = ()
        self.steps = [self._step(l) for l in self.module.launches if l.points or l.name in program._by_library]
        self.sections = self.sectioned(self.steps)

    # -- memory ------------------------------------------------------------------------------------------------

    def _allocate(self) -> None:
        """One allocation for constants and workspace, in which arrays use places one after another."""
        places: dict[str, tuple[int, int]] = {}
        constants = {n: np.ascontiguousarray(a) for p in plans_in(self.program.plan) for n, a in p.constants.items()}
        end = 0
        for name, a in constants.items():
            places[name] = end, a.size
            end += -(-a.nbytes // ALIGNMENT) * ALIGNMENT
        fixed = np.zeros(end, np.uint8)
        for name, a in constants.items():
            start = places[name][0]
            fixed[start:start + a.nbytes] = a.reshape(-1).view(np.uint8)
        lanes = self.module.lanes
        for plan, storage in self.module.storages(self.program.plan):
            for t in memory_of(plan):
                if t.name in storage.places:
                    size = math.prod(t.shape) * t.dtype.itemsize // self.module.dtypes[t.name].itemsize
                    places[t.name] = end + storage.places[t.name].offset * lanes, size * lanes
            end += -(-storage.size * lanes // ALIGNMENT) * ALIGNMENT
        base = self.allocate(end)
        if fixed.size:
            driver.entry("cuMemcpyHtoDAsync")(base, fixed.ctypes.data, fixed.size, self.stream)
            driver.entry("cuStreamSynchronize")(self.stream)
        self.rows = {name: k for k, name in enumerate([*self.operands, *places, *self.module.windows])}
        self.words = np.zeros((len(self.rows), WORDS), np.int64)
        moving = []  # parts of operands
        for name, k in self.rows.items():
            item = self.module.dtypes[name].itemsize
            if name in self.operands:
                address, size = 0, self.sizes[k]
            elif name in places:
                address, size = base + places[name][0], places[name][1]
            else:
                array, start, size = self.module.windows[name]
                address = start * item + (base + places[array][0] if array in places else 0)
                moving += [(k, self.operands[array], start * item)] if array in self.operands else []
            self.words[k, ELEMENTS:] = size, item, address, size, item
        self.moving = np.array(moving, np.int64).reshape(-1, 3).T

    def allocate(self, size: int) -> int:
        """The address of new memory on the device.

        Raises:
            DeviceFailure: there is not so much.
        """
        from numba.cuda.cudadrv.driver import CudaAPIError

        try:
            self.memory.append(numba_cuda().device_array(max(size, 1), np.uint8))
        except CudaAPIError as problem:
            raise DeviceFailure(f"{size:,} bytes of memory for arguments and temporaries were refused on device "
                                f"{self.device}: {problem}; ask for less at once (fewer points in a batch, a smaller "
                                "memory_budget), or free what other functions and libraries hold") from problem
        return self.memory[-1].device_ctypes_pointer.value

    def point(self, addresses: Addresses) -> None:
        """Write the addresses of the operands into the arguments of all kernels."""
        if addresses != self._current:
            self.words[:len(addresses), ADDRESS] = addresses
            rows, operands, offsets = self.moving
            self.words[rows, ADDRESS] = self.words[operands, ADDRESS] + offsets
            self._current = addresses

    def touched(self, names: Sequence[str]) -> tuple[int, ...]:
        """The numbers of the operands among some arrays and parts of arrays."""
        whole = (self.module.windows[n].array if n in self.module.windows else n for n in names)
        return tuple(self.operands[n] for n in whole if n in self.operands)

    # -- steps -------------------------------------------------------------------------------------------------

    def _step(self, launch: Launch) -> Step | LibraryStep:
        """What a launch enqueues."""
        program = self.program
        if launch.call is not None and launch.name in program._by_library:
            return LibraryStep(self, launch)
        function = driver.bindings().CUfunction(program.handle_of(launch))
        check_arguments(int(function), WORDS * len(launch.arrays))
        blocks, threads = ((size if isinstance(size, tuple) else (size,)) for size in program.grid_of(launch))
        grid = (*blocks, 1, 1)[:3], (*threads, 1, 1)[:3]
        name = "cuLaunchCooperativeKernel" if launch.kind == "grid" else "cuLaunchKernel"
        enqueue = _kernel(name, function, *grid, [self.words[self.rows[name]] for name in launch.taken])
        return Step(enqueue, self.touched(launch.taken), name)

    def sectioned(self, steps: Sequence[Step | LibraryStep]) -> list[Section | LibraryStep]:
        """Steps as what is enqueued together."""
        found: list[Section | LibraryStep] = []
        for run, graphed in runs([isinstance(s, Step) for s in steps]):
            here = [steps[k] for k in run]
            together = [s for s in here if isinstance(s, Step)]
            found += [Section(together, graphed, self.point, self.stream)] if together else [
                s for s in here if isinstance(s, LibraryStep)]
        return found

    # -- calls -------------------------------------------------------------------------------------------------

    def enqueue(self, operands: Sequence[Any], stream: int, others: Sequence[int] = ()) -> None:
        """Everything on a stream, for operands that are addresses on the device or arrays of the host.

        It comes after what is on the streams `others` already, and before what will be.
        """
        if driver.is_capturing(stream):
            self._within_a_graph(operands, stream, others)
            return
        for other in others:
            driver.join(stream, other)
        with self._turn(stream):
            self.run(self.sections, self._addresses(operands, stream), stream)
        for other in others:
            driver.entry("cuStreamWaitEvent")(other, self._done, 0)

    @contextlib.contextmanager
    def _turn(self, stream: int) -> Any:
        """Everything that uses the workspace, after the call before and, if it is on another stream, before the next.

        A stream that was destroyed keeps its handle until its work is done, so another one has another handle.
        """
        if self._last not in (None, stream) or stream == driver.PER_THREAD:
            driver.entry("cuStreamWaitEvent")(stream, self._done, 0)
        try:
            yield
        finally:  # also of a call that failed half-way
            driver.entry("cuEventRecord")(self._done, stream)
            self._last = stream

    def run(self, sections: Sequence[Section | LibraryStep], addresses: Addresses, stream: int) -> None:
        """Enqueue sections on a stream."""
        for section in sections:
            section(addresses, stream)

    def _addresses(self, operands: Sequence[Any], stream: int) -> Addresses:
        return tuple([a if type(a) is int else self._uploaded(k, a, stream) for k, a in enumerate(operands)])

    def _uploaded(self, k: int, array: np.ndarray, stream: int) -> int:
        """The address of a copy of an argument that comes from the host; nothing small is copied that is there already.

        The driver reads pageable memory before it returns, so that an array may change afterwards. It reads other
        memory when the stream comes to it: that is waited for.
        """
        address, held = self._uploads.get(k) or (self.allocate(array.nbytes), b"")
        given = array.tobytes() if array.nbytes <= SMALL else b""
        if array.nbytes and (not given or held != given):
            self._uploads[k] = address, b""
            source = np.frombuffer(given, np.uint8) if given else array
            driver.entry("cuMemcpyHtoDAsync")(address, source.ctypes.data, array.nbytes, stream)
            if not driver.is_pageable(source.ctypes.data):
                driver.entry("cuStreamSynchronize")(stream)
        self._uploads[k] = address, given
        return address

    def _within_a_graph(self, operands: Sequence[Any], stream: int, others: Sequence[int]) -> None:
        """Into a graph that the user captures. Nothing orders its launches and calls of this program but the user."""
        if any(type(a) is not int for a in operands):
            raise UnsupportedOperation("a NumPy array or a number beside device arrays cannot be captured in a CUDA "
                                       "graph; move it to the device before")
        if any(isinstance(s, LibraryStep) for s in self.steps):
            raise UnsupportedOperation("a plan that calls cuBLAS or cuSOLVER by way of CuPy cannot be captured in a "
                                       "CUDA graph: what it makes on the way would be freed before the graph runs; "
                                       "call it outside of the capture")
        if others:
            raise UnsupportedOperation("arrays that several streams work on cannot be captured in a CUDA graph; make "
                                       "them, and capture, on one stream")
        if self not in _KEPT:
            _KEPT.append(self)
        for section in self.sections:
            if isinstance(section, Section):
                section.one_by_one(tuple(operands), driver.bindings().CUstream(stream))

    @cached_property
    def staging(self) -> Staging:
        """Where arrays of the host go through."""
        return Staging(self, self.program.ends, len(self.program.plan.inputs))

    def on_host(self, arrays: Sequence[np.ndarray], buffers: Sequence[np.ndarray]) -> None:
        """From arrays of the host into buffers of the host, on a stream of its own; returns when they are filled."""
        staging, stream = self.staging, self.stream
        with self._turn(stream):
            staging.fetch(arrays, stream)
            self.run(staging.sections, staging.addresses, stream)
            staging.bring(buffers, stream)
        driver.entry("cuStreamSynchronize")(stream)
        staging.hand_over(buffers)


class LibraryStep:
    """A call of CuPy's, on a stream, over the memory of a program."""

    def __init__(self, loaded: Loaded, launch: Launch):
        call: LibraryCall = launch.call
        self.loaded, self.xp = loaded, linear.library()
        taken = dict(zip(launch.arrays, launch.taken))
        self.function = linear.CALLS.get(call.function)  # None of a factorisation that nobody reads
        self.parameters = call.parameters
        self.names = [taken[name] for name in (*call.sources, call.target.name)]
        self.shapes = [*(a.shape for a in call.arguments), call.shape]
        self.fixed = [None if loaded.touched([name]) else self.array(name, shape)
                      for name, shape in zip(self.names, self.shapes)]

    def __call__(self, addresses: Addresses, stream: int) -> None:
        """Make the call."""
        if self.function is None:
            return
        self.loaded.point(addresses)
        arrays = [self.array(name, shape) if a is None else a
                  for a, name, shape in zip(self.fixed, self.names, self.shapes)]
        with library_stream(self.xp, stream):
            self.function(self.xp, *arrays, *self.parameters)

    def array(self, name: str, shape: tuple[int, ...]) -> Any:
        """An array of the program as one of CuPy's; made from its address, so that CuPy waits for nothing.

        It names no owner: it lives no longer than this step, which would live forever if it owned itself that way.
        """
        memory, dtype = self.xp.cuda.UnownedMemory, self.loaded.module.dtypes[name]
        address, size = int(self.loaded.words[self.loaded.rows[name], ADDRESS]), math.prod(shape) * dtype.itemsize
        pointer = self.xp.cuda.MemoryPointer(memory(address, size, None, self.loaded.device), 0)
        return self.xp.ndarray(shape, dtype, pointer)


@contextlib.contextmanager
def library_stream(xp: Any, stream: int) -> Any:
    """A context in which CuPy works on a stream, and does not wait for the device to look whether a call failed."""
    import cupyx  # type: ignore[import-not-found]

    made = {driver.LEGACY: xp.cuda.Stream.null, driver.PER_THREAD: xp.cuda.Stream.ptds}.get(stream)
    if made is None and hasattr(xp.cuda.Stream, "from_external"):  # since CuPy 14, in place of ExternalStream
        made = xp.cuda.Stream.from_external(_Stream(stream))
    with made or xp.cuda.ExternalStream(stream), cupyx.errstate(linalg="ignore"):
        yield


class _Stream(NamedTuple):
    """A stream by NVIDIA's protocol."""

    handle: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle


def check_arguments(kernel: int, words: int) -> None:
    """TargetUnavailable where numba-cuda made a kernel that takes something else than so many words."""
    bindings = driver.bindings()
    try:
        last, beyond = (bindings.cuKernelGetParamInfo(bindings.CUkernel(kernel), words - k) for k in (1, 0))
    except (AttributeError, RuntimeError):  # bindings, or a driver, from before CUDA 12.4
        return
    if last[0] or last[2] != np.dtype(np.int64).itemsize or not beyond[0]:
        raise TargetUnavailable("this version of numba-cuda hands arrays to kernels in a way that is not known: "
                                'pip install "numba-cuda==0.30.*"')


def _kernel(name: str, function: Any, grid: Sequence[int], block: Sequence[int],
            arrays: Sequence[np.ndarray]) -> Callable:
    """The launch of a kernel whose arguments are the words of some arrays, read when it is enqueued."""
    launch = getattr(driver.bindings(), name)
    extra = (0,) if name == "cuLaunchKernel" else ()
    addresses = [a.ctypes.data + a.itemsize * k for a in arrays for k in range(WORDS)]
    parameters = np.array(addresses, np.uintp)  # kept by the function
    where = parameters.ctypes.data

    def enqueue(handle: Any, kept: Any = parameters) -> Any:
        return launch(function, *grid, *block, 0, handle, where, *extra)

    return enqueue
