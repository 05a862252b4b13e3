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

#: what has to be imported before a peer can start
LIBRARIES = {"symhess": "symhess", "jax": "jax.numpy", "floor": "numba"}


@dataclasses.dataclass(frozen=True)
class Request:
    """What to run, and where to leave the Hessian."""

    workload: str
    peer: str
    tiny: bool
    repeat: int
    core: int | None
    store: str


def pin(core: int | None) -> None:
    """Keep this process on one core, where the system can."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def imported(name: str) -> float:
    """Seconds to import a module."""
    start = time.perf_counter()
    importlib.import_module(name)
    return time.perf_counter() - start


def store(path: str, result: Any) -> int:
    """Save a dense or CSR Hessian; returns how many entries it holds."""
    import numpy as np
    import scipy.sparse

    if hasattr(result, "assembled"):
        result = result.assembled()
    if scipy.sparse.issparse(result):
        np.savez(path, data=result.data, indices=result.indices, indptr=result.indptr, shape=result.shape)
        return result.nnz
    np.savez(path, dense=np.asarray(result))
    return np.size(result)


def run(request: Request) -> dict[str, Any]:
    """Import, first Hessian, peak memory, then the steady time in turns with writing as many numbers once."""
    library = request.peer.split("-")[0]
    import_seconds = imported(LIBRARIES[library])
    from . import measure
    from .workloads import WORKLOADS

    peers = importlib.import_module(f".peers_{library}" if library != "floor" else ".floors", __package__).PEERS
    workload = WORKLOADS[request.workload]
    arguments = workload.arguments(*(workload.tiny if request.tiny else workload.size))
    start = time.perf_counter()
    evaluate = peers[request.peer](workload, arguments)
    result = evaluate()
    first = time.perf_counter() - start
    share = getattr(evaluate, "extrapolation", 1.0)
    again = evaluate()
    peak = measure.peak_memory()
    record = {"import_seconds": import_seconds, "first_seconds": first, "peak_bytes": peak, "extrapolation": share}
    if share == 1.0:
        record["entries"] = store(request.store, evaluate if hasattr(evaluate, "assembled") else again)
    calls = [evaluate, measure.writer(record.get("entries", 1))]
    del result, again
    steady, write = measure.interleaved(calls, request.repeat)
    return record | {
        "seconds": share * statistics.median(steady),
        "best_seconds": share * min(steady),
        "write_seconds": statistics.median(write),
    }


def main() -> None:
    """Answer the request in the first argument with one line of JSON."""
    request = json.loads(sys.argv[1])
    pin(request["core"])
    if request["workload"] == "machine":
        from .measure import machine_limits

        print(json.dumps(machine_limits(request["repeat"])))
    else:
        print(json.dumps(run(Request(**request))))


if __name__ == "__main__":
    main()
