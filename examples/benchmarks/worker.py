"""One (workload, peer) in this process: pinned, timed, its Hessian stored for comparison."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import statistics
import sys
import time
from typing import Any


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


def pin(core: int | None) -> None:
    """Keep this process on one core, where the system can."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def imported(name: str) -> float:
    """Seconds to import a module."""
    start = time.perf_counter()
    importlib.import_module(name)
    return time.perf_counter() - start


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
    result = np.asarray(result)
    np.savez(path, dense=result)
    return result.nbytes


class Run:
    """A peer and a workload in this process."""

    def __init__(self, request: Request):
        from .roster import PEERS
        from .workloads import WORKLOADS

        self.request, peer = request, PEERS[request.peer]
        self.import_seconds = imported(peer.library)
        self.make = importlib.import_module(f".{peer.module}", __package__).make
        self.workload, self.keeps = WORKLOADS[request.workload], peer.keeps
        self.arguments = self.workload.arguments(*(self.workload.tiny if request.tiny else self.workload.size))

    def first(self, cache: str = "") -> tuple[Any, float]:
        """A call that returns the Hessian, and the seconds until it did so for the first time."""
        start = time.perf_counter()
        evaluate = self.make(self.request.peer, self.workload, self.arguments, cache or False)
        evaluate()
        return evaluate, time.perf_counter() - start

    def cold(self) -> dict[str, Any]:
        """First Hessian and peak memory, then the steady time in turns with writing as many numbers once."""
        from . import measure

        evaluate, first = self.first()
        share = getattr(evaluate, "extrapolation", 1.0)
        result = evaluate()
        record = {"import_seconds": self.import_seconds, "first_seconds": first, "peak_bytes": measure.peak_memory(),
                  "extrapolation": share, "input_bytes": sum(getattr(a, "nbytes", 8) for a in self.arguments)}
        if share == 1.0:
            record["output_bytes"] = store(self.request.store, evaluate, result)
        calls = [evaluate, measure.writer(record.get("output_bytes", 8) // 8)]
        del result
        steady, write = measure.interleaved(calls, self.request.repeat)
        if self.keeps:
            self.first(self.request.cache)
        return record | {
            "seconds": share * statistics.median(steady),
            "best_seconds": share * min(steady),
            "write_seconds": statistics.median(write),
        }

    def warm(self) -> dict[str, Any]:
        """The first Hessian in a process that finds compiled code on disk."""
        return {"warm_seconds": self.first(self.request.cache)[1]}


def main() -> None:
    """Answer the request in the first argument with one line of JSON."""
    from . import measure

    request = Request(**json.loads(sys.argv[1]))
    pin(request.core)
    measure.limit_address_space(request.address_gigabytes)
    measure.use_clock(request.clock)
    if request.workload == "machine":
        print(json.dumps(measure.machine_limits(request.repeat)))
    else:
        run = Run(request)
        print(json.dumps(run.warm() if request.warm else run.cold()))


if __name__ == "__main__":
    main()
