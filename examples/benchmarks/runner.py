"""Runs every (workload, peer) in a process of its own, under limits, and compares the Hessians."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from .worker import Request
from .workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[2]

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_ENABLE_X64": "1",
    "JAX_PLATFORMS": "cpu",
}


@dataclasses.dataclass(frozen=True)
class Limits:
    """When a process is stopped."""

    seconds: float = 300.0
    gigabytes: float = 8.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the runs have in common."""

    tiny: bool = False
    repeat: int = 7
    core: int | None = None
    limits: Limits = Limits()


def resident_bytes(pid: int) -> int:
    """The memory that a process holds; 0 where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def watch(process: subprocess.Popen[bytes], limits: Limits) -> str | None:
    """Wait for the end of a process; kill it and say why when it breaks a limit."""
    deadline = time.monotonic() + limits.seconds
    while True:
        try:
            process.wait(timeout=0.1)
            return None
        except subprocess.TimeoutExpired:
            reason = None
            if time.monotonic() > deadline:
                reason = f"over {limits.seconds:g} s"
            elif resident_bytes(process.pid) > limits.gigabytes * 1e9:
                reason = f"over {limits.gigabytes:g} GB"
        if reason:
            process.kill()
            process.wait()
            return reason


def in_own_process(request: Request, limits: Limits) -> dict[str, Any]:
    """The worker's answer, or {"error": ...}."""
    command = [sys.executable, "-m", f"{__package__}.worker", json.dumps(dataclasses.asdict(request))]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **ONE_THREAD}, stdout=out, stderr=err)
        reason = watch(process, limits)
        out.seek(0), err.seek(0)
        answer, complaint = out.read().splitlines(), err.read().strip().splitlines()
    if reason or process.returncode:
        return {"error": reason or (complaint or [f"exit status {process.returncode}"])[-1]}
    return json.loads(answer[-1])


def load(path: Path) -> Any:
    """A stored Hessian; None where the run left none."""
    if not path.exists():
        return None
    with np.load(path) as stored:
        if "dense" in stored:
            return stored["dense"]
        parts = stored["data"], stored["indices"], stored["indptr"]
        return scipy.sparse.csr_array(parts, shape=tuple(stored["shape"]))


def relative_difference(H: Any, reference: Any) -> float:
    """max |H - R| / max |R|."""
    return float(abs(H - reference).max() / abs(reference).max())


def compare(records: list[dict[str, Any]], folder: Path) -> None:
    """Add to every record its difference from JAX, or from the floor where JAX has not run; symhess to itself never."""
    stored = {record["peer"]: load(folder / f"{record['peer']}.npz") for record in records if "error" not in record}
    for record in records:
        others = [p for p in ("jax", "floor", "symhess") if stored.get(p) is not None and p != record["peer"]]
        if others and stored.get(record["peer"]) is not None:
            record["against"] = others[0]
            record["difference"] = relative_difference(stored[record["peer"]], stored[others[0]])


def peers_of(workload: str, chosen: Iterable[str]) -> list[str]:
    """The peers of a workload among the chosen ones; a chosen `jax` includes its variants."""
    chosen = set(chosen)
    return [p for p in ("symhess", *WORKLOADS[workload].peers) if p in chosen or p.split("-")[0] in chosen]


def run_workload(name: str, peers: Iterable[str], settings: Settings) -> list[dict[str, Any]]:
    """One record per peer."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, records = Path(scratch), []
        for peer in peers_of(name, peers):
            store = str(folder / f"{peer}.npz")
            request = Request(name, peer, settings.tiny, settings.repeat, settings.core, store)
            records.append({"workload": name, "peer": peer} | in_own_process(request, settings.limits))
        compare(records, folder)
        return records


def machine_limits(settings: Settings) -> dict[str, Any]:
    """Bandwidth and arithmetic rate of the core that the runs are pinned to."""
    return in_own_process(Request("machine", "", True, settings.repeat, settings.core, ""), settings.limits)


def run_all(workloads: Iterable[str], peers: Iterable[str], settings: Settings) -> Iterator[list[dict[str, Any]]]:
    """The records of one workload after the other."""
    for name in workloads:
        yield run_workload(name, peers, settings)
