"""One (workload, peer) in this process: pinned, or on a GPU, timed, its Hessian stored for comparison."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import statistics
import sys
from collections.abc import Iterator
from typing import Any

from . import device
from .clocks import limit_address_space, now, use_clock


@dataclasses.dataclass(frozen=True)
class Request:
    """What to run, where to leave the Hessian, and where compiled code may be kept."""

    workload: str
    peer: str
    tiny: bool
    repeat: int
    core: int | None
    store: str
    cache: str = ""
    #: only the first call, with compiled code from an earlier process
    warm: bool = False
    address_gigabytes: float = 0.0
    clock: str = "wall"
    #: the library to import first, the module of this package with the peer, and whether that keeps compiled code
    library: str = ""
    module: str = ""
    keeps: bool = False
    #: "" for the CPU; "cuda", or what stands for it where there is none
    device: str = ""


def pin(core: int | None) -> None:
    """Keep this process on one core, where the system can."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def imported(name: str) -> float:
    """Seconds to import a module."""
    start = now()
    importlib.import_module(name)
    return now() - start


def store(path: str, evaluate: Any, result: Any) -> int:
    """Save a dense or CSR Hessian; returns how many bytes of values it holds."""
    import numpy as np
    import scipy.sparse

    if hasattr(evaluate, "assembled"):
        result = evaluate.assembled()
    if scipy.sparse.issparse(result):
        result = result.tocsr()
        np.savez(path, data=result.data, indices=result.indices, indptr=result.indptr, shape=result.shape)
        return result.data.nbytes
    result = np.asarray(result.cpu() if hasattr(result, "cpu") else result)
    np.savez(path, dense=result)
    return result.nbytes


class Run:
    """A peer and a workload in this process."""

    def __init__(self, request: Request):
        self.request, self.import_seconds = request, imported(request.library)
        if request.device:
            device.select(request.library, request.device)
        from .workloads import WORKLOADS

        self.make = importlib.import_module(f".{request.module}", __package__).make
        self.workload = WORKLOADS[request.workload]
        self.arguments = self.workload.arguments(*(self.workload.tiny if request.tiny else self.workload.size))

    def first(self, cache: str = "") -> tuple[Any, float]:
        """A call that returns the Hessian, and the seconds until it did so for the first time."""
        start = now()
        evaluate = self.make(self.request.peer, self.workload, self.arguments, cache or False)
        evaluate()
        return evaluate, now() - start

    def cold(self) -> Iterator[dict[str, Any]]:
        """First Hessian, peak memory and the second call; then the steady time in turns with writing the result once.

        The last record counts. Compiled code is kept at the end, for the warm process.
        """
        from . import measure

        memory = device.Memory(self.request.library) if self.request.device else None
        evaluate, first = self.first()
        share = getattr(evaluate, "extrapolation", 1.0)
        start = now()
        result = evaluate()
        second = share * (now() - start)
        record = {"import_seconds": self.import_seconds, "first_seconds": first, "peak_bytes": measure.peak_memory(),
                  "extrapolation": share, "input_bytes": sum(getattr(a, "nbytes", 8) for a in self.arguments)}
        if memory is not None:
            record["device_bytes"] = memory.peak()
        if share == 1.0:
            record["output_bytes"] = store(self.request.store, evaluate, result)
        yield record | {"seconds": second, "rounds": 0}
        del result
        if memory is None or self.request.library == "symhess":
            writer = device.writer if memory is not None else measure.writer
            write = writer(record.get("output_bytes", 8))
            steady, writes = measure.interleaved([evaluate, write], self.request.repeat)
            record["write_seconds"] = statistics.median(writes)
        else:
            (steady,) = measure.interleaved([evaluate], self.request.repeat)
        yield record | {
            "seconds": share * statistics.median(steady),
            "best_seconds": share * min(steady),
            "rounds": len(steady),
        }
        if self.request.keeps:
            self.first(self.request.cache)

    def warm(self) -> Iterator[dict[str, Any]]:
        """The first Hessian in a process that finds compiled code on disk."""
        yield {"warm_seconds": self.first(self.request.cache)[1]}


def main() -> None:
    """Answer the request in the first argument with lines of JSON, of which the last one counts."""
    request = Request(**json.loads(sys.argv[1]))
    if not request.device:  # a GPU's driver takes more addresses than there is memory
        pin(request.core)
        limit_address_space(request.address_gigabytes)
    use_clock(request.clock)
    if request.workload == "machine":
        from . import measure

        print(json.dumps(device.limits(request.repeat, request.tiny) if request.device
                         else measure.machine_limits(request.repeat)))
    else:
        run = Run(request)
        for record in run.warm() if request.warm else run.cold():
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
