"""`DeviceProgram`: a program as kernels for a GPU, in order on one stream, over a workspace for each device."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from symhess.cuda import driver, linear, points
from symhess.cuda.arrays import OnDevice
from symhess.cuda.graphs import SWITCH, is_off, runs
from symhess.cuda.launching import Loaded
from symhess.cuda.names import loaded, shape_of_blocks
from symhess.cuda.simulated import Simulated
from symhess.cuda.source import Launch, Module, module
from symhess.cuda.toolkit import is_simulated, missing_parts_named, numba_cuda, on_device, ptx_of, require_device
from symhess.errors import UnsupportedOperation
from symhess.plan.program import Program
from symhess.plan.schedule import grid_plan, point_plan
from symhess.plan.steps import Plan

#: runs of launches that a report lists
LISTED = 12
#: most blocks of a grid: the rest is done by the strides of grid loops
MOST_BLOCKS, MOST_SIMULATED = 1 << 14, 2


def grid_of(launch: Launch) -> tuple[Any, Any]:
    """Blocks, and threads of a block; of a team of all blocks as many as would have something to do."""
    block, tile = shape_of_blocks()
    most = MOST_SIMULATED if is_simulated() else MOST_BLOCKS
    if launch.kind == "threads":
        threads = min(block, 2 if is_simulated() else 32 * -(-launch.points // 32))
        return min(-(-launch.points // threads), most), threads
    if launch.kind == "rows":
        return min(-(-launch.points // block), most), block
    if launch.kind == "points":
        threads = points.width(launch.threads)
        return launch.threads // threads, threads
    if launch.kind == "grid":
        return -(-launch.points // block), block
    if launch.kind in ("blocks", "block"):
        return min(launch.points, most) if launch.kind == "blocks" else 1, block
    return (min(launch.points, most), (tile, tile)) if launch.kind == "tiles" else (1, 1)


class DeviceProgram:
    """A program compiled for a GPU. Plan and source need no device; they are there at once.

    It is loaded on every device that a call has its arrays on. A call enqueues its launches and returns: nothing waits
    for the device. One call is enqueued at a time, since all on a device use one workspace; a call on another stream
    waits, on the device, for the one before.
    """

    def __init__(self, program: Program, fastmath: bool = False):
        started = time.perf_counter()
        self.fastmath = fastmath
        rows = {k for k, x in enumerate(program.inputs) if x in program.rows}
        if program.points:
            self.plan: Plan = point_plan(program)
            self.module: Module = points.module(self.plan, program.points, rows)
        else:
            self.plan = grid_plan(program)
            self.module = module(self.plan, shape_of_blocks()[1])
        #: elements and types of all arguments and results
        shared = lambda k: k < len(program.inputs) and k not in rows
        self.ends = [(math.prod(t.shape) * (1 if shared(k) else max(program.points, 1)), t.dtype)
                     for k, t in enumerate((*self.plan.inputs, *self.plan.outputs))]
        self._functions = loaded("\n".join(self.module.texts.values()))
        self.compile_seconds = time.perf_counter() - started
        self._lock = threading.Lock()
        self._loaded: dict[int, Loaded | Simulated] = {}

    @property
    def source(self) -> str:
        """The kernels, each with a line on what it is for and who runs it."""
        texts = self.module.texts
        called = lambda l: f"# {l.label}({', '.join(l.arrays)}) by CuPy\n"
        printed = lambda l: f"# {l.label}: {_WHO[l.kind].format(l.points)}\n{texts[l.name]}"
        return "\n".join(printed(l) if l.name in texts else called(l) for l in self._distinct)

    @property
    def report(self) -> str:
        """What a call enqueues, for a person."""
        launches = [l for l in self.module.launches if l.points or l.name in self._by_library]
        told = []
        for run, graphed in runs([l.name not in self._by_library for l in launches]):
            kernels = f"{len(run)} kernel{'s' if len(run) > 1 else ''}"
            told.append(f"{launches[run[0]].label} by CuPy" if launches[run[0]].name in self._by_library else
                        f"{kernels}, replayed as a CUDA graph when the same arrays come again" if graphed else
                        f"{kernels} one by one")
        more = [f"{len(told) - LISTED} times more of such"] if len(told) > LISTED else []
        return "launches: " + (", then ".join(told[:LISTED] + more) or "none") + (
            f" ({SWITCH}=0: no graphs)" if is_off() else "")

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
        return [l for l in self._distinct if l.name in self.module.texts]

    @property
    def _distinct(self) -> list[Launch]:
        """The launches, each kernel once."""
        return list({l.name: l for l in reversed(self.module.launches)}.values())[::-1]

    # -- on a device -------------------------------------------------------------------------------------------

    @cached_property
    def _kernels(self) -> dict[str, Any]:
        """The compiled kernels. Raises TargetUnavailable without a device."""
        require_device()
        cuda, started = numba_cuda(), time.perf_counter()
        if is_simulated():
            return {l.name: cuda.jit(self._functions[l.name]) for l in self._printed}
        with missing_parts_named():
            made = {l.name: cuda.jit(self.signature(l), fastmath=self.fastmath)(self._functions[l.name])
                    for l in self._printed if l.name not in self._by_library}
        self.compile_seconds += time.perf_counter() - started
        return made

    def handle_of(self, launch: Launch) -> int:
        """The driver's handle of a kernel, loaded into the current context."""
        (kernel,) = self._kernels[launch.name].overloads.values()
        kernel.bind()
        return int(kernel._codelibrary.get_cufunc().handle)

    def grid_of(self, launch: Launch) -> tuple[Any, Any]:
        """Blocks, and threads of a block: of blocks that wait for each other no more than the device holds at once."""
        blocks, threads = grid_of(launch)
        if launch.kind != "grid":
            return blocks, threads
        if is_simulated():
            return 1, threads
        (kernel,) = self._kernels[launch.name].overloads.values()
        return min(blocks, kernel.max_cooperative_grid_blocks(threads)), threads

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

    def __call__(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Enqueue everything on the stream of the first array; the arrays are on one device, and of the right types."""
        self.enqueue([OnDevice(a) for a in (*inputs, *outputs)])

    def enqueue(self, operands: Sequence[OnDevice | np.ndarray]) -> None:
        """Enqueue everything for arrays of which some are on a device, on the stream of the first of these.

        Raises:
            UnsupportedOperation: the arrays are on different devices, or cannot be captured in a graph of the user's.
        """
        given = [a for a in operands if isinstance(a, OnDevice)]
        device, stream = given[0].device, given[0].stream
        if any(a.device != device for a in given):
            raise UnsupportedOperation("the arguments and results of a call have to be on one device, got arrays on "
                                       f"{', '.join(str(d) for d in sorted({a.device for a in given}))}")
        others = {s for a in given for s in a.streams if s != stream}
        taken = [a.operand if isinstance(a, OnDevice) else a for a in operands]
        require_device()
        with self._lock, on_device(device) as number:
            if number not in self._loaded and not is_simulated() and driver.is_capturing(stream):
                raise UnsupportedOperation("a function that was not called yet cannot be captured in a CUDA graph: its "
                                           "kernels have to be compiled and loaded; call it once before")
            self._loaded_on(number).enqueue(taken, stream, others)

    def on_host(self, arrays: Sequence[np.ndarray], buffers: Sequence[np.ndarray]) -> None:
        """Evaluate for arrays of the host on the current device, and wait for the results in `buffers`."""
        require_device()
        with self._lock, on_device(None) as number:
            self._loaded_on(number).on_host(arrays, buffers)

    def _loaded_on(self, number: int) -> Loaded | Simulated:
        """The program as it is loaded on the current device, of this number."""
        found = self._loaded.get(number)
        if found is None:
            found = self._loaded[number] = Simulated(self) if is_simulated() else Loaded(self)
        return found


#: who runs the iterations of a launch
_WHO = {"threads": "{} iterations for threads", "rows": "{} iterations for threads",
        "blocks": "{} iterations for blocks of threads",
        "tiles": "{} iterations for tiles", "one": "one thread", "block": "one block of threads",
        "grid": "all blocks together", "points": "one thread for each of {} points"}
