"""The memory traffic of kernels, counted: sectors of 32 bytes that the instructions of each warp of 32 threads touch.

    python cuda_traffic.py WORKLOAD [SIZE ...]

prints it for the sparse or batched Hessian of a benchmark. A GPU moves whole sectors. What a warp loads comes by way of
a cache, so a sector that several of its instructions read is counted once; every instruction that stores sends its
own. So

    efficiency = bytes that are wanted / bytes of the sectors that are moved

is 1 where neighbouring threads read and write neighbouring places. Blocks of threads run in Python, one statement at a
time, between barriers one thread after the other; what numbers they compute does not matter, their places do.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from symhess.cuda.program import DeviceProgram, grid_of
from symhess.cuda.source import Launch
from symhess.plan.nested import plans_in

SECTOR, WARP = 32, 32
Record = dict[tuple, list[tuple[int, int]]]


class Moved(NamedTuple):
    """Bytes that the threads of some blocks ask for, and those of the sectors that are moved for them."""

    wanted: int = 0
    moved: int = 0

    @property
    def efficiency(self) -> float:
        return self.wanted / self.moved if self.moved else 1.0


class Traffic(NamedTuple):
    """What some blocks of a kernel load and store, by array."""

    loads: dict[str, Moved]
    stores: dict[str, Moved]

    @property
    def loaded(self) -> Moved:
        return total(self.loads.values())

    @property
    def stored(self) -> Moved:
        return total(self.stores.values())


def total(parts: Any) -> Moved:
    """The sum of several."""
    return Moved(*map(sum, zip(*parts))) if parts else Moved()


class Recorded:
    """A flat array that notes which line of a kernel reads and writes which bytes; it holds 1 if it is no constant."""

    def __init__(self, name: str, dtype: np.dtype, values: np.ndarray | None, thread: SimpleNamespace):
        self.name, self.dtype, self.values, self.thread = name, dtype, values, thread

    def note(self, kind: str, k: int) -> None:
        line = sys._getframe(2).f_lineno
        times = self.thread.times
        times[kind, self.name, line] += 1
        key = (kind, self.name, line, times[kind, self.name, line], self.thread.warp)
        self.thread.record[key].append((int(k) * self.dtype.itemsize, self.dtype.itemsize))

    def __getitem__(self, k: int) -> Any:
        self.note("load", k)
        return self.dtype.type(1) if self.values is None else self.values[int(k)]

    def __setitem__(self, k: int, value: Any) -> None:
        self.note("store", k)


def traffic(device: DeviceProgram, launch: Launch, blocks: Sequence[int] = (0,)) -> Traffic:
    """What some blocks of a kernel load and store."""
    thread = SimpleNamespace(times=None, warp=None, record=defaultdict(list))
    constants = {name: a for plan in plans_in(device.plan) for name, a in plan.constants.items()}
    arrays = [Recorded(name, device.module.dtypes[name], constants.get(name), thread) for name in launch.arrays]
    (grid, threads) = grid_of(launch)
    for block in blocks:
        run_block(device.module.texts[launch.name], launch.name, arrays, thread, block, grid, threads)
    return Traffic(*(moved(thread.record, kind) for kind in ("load", "store")))


def run_block(text: str, name: str, arrays: Sequence[Recorded], thread: SimpleNamespace, block: int, grid: int,
              threads: int) -> None:
    """All threads of a block: a barrier is where the others come to run."""
    text = text.replace("cuda.syncthreads()", "yield") + "    yield\n"
    shared: dict[int, np.ndarray] = {}
    running = []
    for t in range(threads):
        known = names(text, block, t, grid, threads, shared)
        exec(compile(text, "kernel", "exec"), known)
        running.append((SimpleNamespace(times=defaultdict(int), warp=(block, t // WARP)), known[name](*arrays)))
    with np.errstate(all="ignore"):
        while running:
            left = []
            for own, generator in running:
                thread.times, thread.warp = own.times, own.warp
                if next(generator, StopIteration) is not StopIteration:
                    left.append((own, generator))
            assert len(left) in (0, len(running)), "a barrier that some threads do not reach"
            running = left


def names(text: str, block: int, t: int, grid: int, threads: int, shared: dict[int, np.ndarray]) -> dict[str, Any]:
    """What a kernel may name; functions of numbers are any that return one."""
    def array(shape: Any, kind: Any) -> np.ndarray:
        return shared.setdefault(sys._getframe(1).f_lineno, np.ones(shape))

    at = lambda k: SimpleNamespace(x=k)
    cuda = SimpleNamespace(grid=lambda d: block * threads + t, gridsize=lambda d: grid * threads, blockIdx=at(block),
                           threadIdx=at(t), gridDim=at(grid), blockDim=at(threads),
                           shared=SimpleNamespace(array=array), atomic=SimpleNamespace(add=added))
    known: dict[str, Any] = {"cuda": cuda, "min": min, "range": range, "nan": np.nan, "inf": np.inf,
                             **dict.fromkeys(("I64", "I32", "U", "U32"), int), "F64": float, "F32": float, "B1": bool}
    known |= {f"BLOCK_{n}": int(n) * threads for n in re.findall(r"BLOCK_(\d+)", text)}
    for name in re.findall(r"(?<![\w.])(math|[A-Za-z_]\w*)[.(]", text):
        known.setdefault(name, Anything())
    return known


class Anything:
    """A function, or a module of functions, of which only the type of the results matters."""

    def __getattr__(self, name: str) -> Callable:
        return self

    def __call__(self, *args: Any) -> Any:
        return args[0] if args else self


def added(array: Recorded, k: int, value: Any) -> None:
    """An atomic addition is noted as a store."""
    array.note("store", k)


def moved(record: Record, kind: str) -> dict[str, Moved]:
    """The bytes by array: of loads every sector once for each warp, of stores once for each instruction."""
    sectors: dict[tuple, set[int]] = defaultdict(set)
    wanted: dict[tuple, set[int]] = defaultdict(set)
    for (what, name, line, times, warp), places in record.items():
        if what != kind:
            continue
        key = (name, warp) if kind == "load" else (name, warp, line, times)
        for place, size in places:
            sectors[key].update(range(place // SECTOR, (place + size - 1) // SECTOR + 1))
            wanted[key].update(range(place, place + size))
    found: dict[str, list[Moved]] = defaultdict(list)
    for key, touched in sectors.items():
        found[key[0]].append(Moved(len(wanted[key]), SECTOR * len(touched)))
    return {name: total(parts) for name, parts in found.items()}


def report(device: DeviceProgram) -> Iterator[str]:
    """A line for each kernel: what a block in the middle of its grid moves for each of its iterations."""
    for launch in device.module.launches:
        if launch.kind not in ("threads", "rows"):
            yield f"{launch.name}: {launch.label}, not looked into"
            continue
        blocks, threads = grid_of(launch)
        block, stride = blocks // 2, blocks * threads
        found = traffic(device, launch, (block,))
        points = sum(min(threads, launch.points - p) for p in range(block * threads, launch.points, stride))
        parts = [f"{what} {m.wanted / points:.0f} of {m.moved / points:.0f} bytes ({m.efficiency:.0%})"
                 for what, m in (("loads", found.loaded), ("stores", found.stored))]
        yield f"{launch.name}: {launch.points} x {', '.join(parts)}"


def main(name: str, *size: str) -> None:
    from examples.benchmarks.workloads import WORKLOADS
    from symhess import hessian_jit

    w = WORKLOADS[name]
    args = w.arguments(*(map(int, size) if size else w.size))
    f = hessian_jit(w.function, argnums=w.argnums, static_argnums=w.indices(args), target="cuda")
    if w.product == "batch":
        path = f._bound_path((args[0][0], *args[1:]), {})[1]
        device = DeviceProgram(path.batched("hessian", len(args[0])))
    else:
        device = f._bound_path(args, {})[1].runner("csr" if w.pattern else "hessian").device
    print("\n".join(report(device)))


if __name__ == "__main__":
    main(*sys.argv[1:])
