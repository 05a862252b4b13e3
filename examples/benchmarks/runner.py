"""Runs every (workload, peer) in a process of its own, under limits, and compares the Hessians."""

from __future__ import annotations

import compileall
import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from . import device
from .roster import PEERS, missing, peers_of
from .worker import Request

ROOT = Path(__file__).resolve().parents[2]
#: a process is not started with less time
LEAST_SECONDS = 5.0

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
    """When a process is stopped; of address space it may take as much more as libraries reserve and do not use."""

    seconds: float = 60.0
    gigabytes: float = 8.0
    reserved_gigabytes: float = 12.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the runs have in common."""

    tiny: bool = False
    repeat: int = 7
    core: int | None = None
    limits: Limits = Limits()
    clock: str = "wall"
    #: where peers of a GPU run: "cuda", or what stands for it where there is none
    device: str = "cuda"
    #: when all is to be done, on Python's monotonic clock
    deadline: float | None = None

    @property
    def left(self) -> float:
        """Seconds until then."""
        return math.inf if self.deadline is None else self.deadline - time.monotonic()

    def until(self, deadline: float) -> Settings:
        """The same with that deadline."""
        return dataclasses.replace(self, deadline=deadline)

    def share(self, rows: int) -> Settings:
        """The same with a deadline for one row, when that many are still to come."""
        return self if self.deadline is None else self.until(time.monotonic() + self.left / rows)


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
            stop(process)
            return reason


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it has started, such as a C compiler."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def in_own_process(request: Request, limits: Limits) -> dict[str, Any]:
    """The worker's answer, or {"error": ...}."""
    environment = device.environment(request.device) if request.device else ONE_THREAD
    return ask("worker", json.dumps(dataclasses.asdict(request)), limits, environment)


def ask(module: str, question: str, limits: Limits, environment: Mapping[str, str] = ONE_THREAD) -> dict[str, Any]:
    """The line of JSON that a module of this package prints last, run in its own process; or {"error": ...}.

    A process that is stopped after it has printed something has an answer, and says by what.
    """
    command = [sys.executable, "-m", f"{__package__}.{module}", question]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=err,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        reason = watch(process, limits)
        out.seek(0), err.seek(0)
        answer, complaint = out.read().splitlines(), err.read().strip().splitlines()
    if (reason or process.returncode) and not answer:
        return {"error": reason or failure(complaint, process.returncode)}
    return json.loads(answer[-1]) | ({"stopped": reason or failure(complaint, process.returncode)}
                                     if reason or process.returncode else {})


def failure(complaint: list[str], status: int) -> str:
    """The exception in the last lines of what a process wrote to stderr, kept short."""
    exceptions = [line for line in complaint if re.match(r"[\w.]*(Error|Exception|Invalid\w*)\b", line)]
    text = (exceptions or complaint or [f"exit status {status}"])[-1]
    return text if len(text) <= 100 else text[:97] + "..."


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
    if scipy.sparse.issparse(H) != scipy.sparse.issparse(reference):
        H, reference = (A.toarray() if scipy.sparse.issparse(A) else A for A in (H, reference))
    return float(abs(H - reference).max() / abs(reference).max())


def compare(records: list[dict[str, Any]], folder: Path) -> None:
    """Add to every record its difference from the floor, or from the first other peer that is there.

    One Hessian is in memory beside the reference at a time.
    """
    there = [r["peer"] for r in records if "error" not in r and (folder / f"{r['peer']}.npz").exists()]
    order = sorted(there, key=lambda peer: (peer == "symhess", list(PEERS).index(peer) if peer != "floor" else -1))
    for reference in order[:2]:
        stored = load(folder / f"{reference}.npz")
        for record in records:
            if record["peer"] in there and record["peer"] != reference and "difference" not in record:
                record["against"] = reference
                record["difference"] = relative_difference(load(folder / f"{record['peer']}.npz"), stored)


def run_peer(name: str, peer: str, settings: Settings, folder: Path) -> dict[str, Any]:
    """The record of one peer: a cold process, and a warm one where it keeps compiled code."""
    record: dict[str, Any] = {"workload": name, "peer": peer}
    if lacking := missing(peer):
        return record | {"error": f"{lacking} is not installed"}
    if settings.left < LEAST_SECONDS:
        return record | {"error": "no time left"}
    limits = dataclasses.replace(settings.limits, seconds=min(settings.limits.seconds, settings.left))
    request = Request(name, peer, settings.tiny, settings.repeat, settings.core, str(folder / f"{peer}.npz"),
                      str(folder / f"{peer}-cache"), address_gigabytes=limits.gigabytes + limits.reserved_gigabytes,
                      clock=settings.clock, library=PEERS[peer].library, module=PEERS[peer].module,
                      keeps=PEERS[peer].keeps, device=settings.device if PEERS[peer].on_device else "")
    record |= in_own_process(request, limits)
    if PEERS[peer].keeps and not {"error", "stopped"} & record.keys():
        warm = in_own_process(dataclasses.replace(request, warm=True), limits)
        record |= {"warm_error": warm["error"]} if "error" in warm else warm
    return record


def run_workload(name: str, peers: Iterable[str], settings: Settings) -> list[dict[str, Any]]:
    """One record per peer."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        records = [run_peer(name, peer, settings, folder) for peer in peers_of(name, peers)]
        compare(records, folder)
        return records


def machine_limits(settings: Settings) -> dict[str, Any]:
    """Bandwidth and arithmetic rate of the core that the runs are pinned to."""
    request = Request("machine", "", True, settings.repeat, settings.core, "", clock=settings.clock)
    return in_own_process(request, settings.limits)


def device_limits(settings: Settings) -> dict[str, Any]:
    """What GPU there is, and its bandwidth; {"error": ...} where there is none."""
    request = Request("machine", "", settings.tiny, settings.repeat, None, "", device=settings.device)
    return in_own_process(request, settings.limits)


def compile_bytecode() -> None:
    """Python's bytecode of symhess and of the benchmarks on disk, as that of the installed peers is."""
    for package in ("symhess", "examples"):
        compileall.compile_dir(ROOT / package, quiet=2)


def run_all(chosen: Mapping[str, Iterable[str]], settings: Settings) -> Iterator[list[dict[str, Any]]]:
    """The records of one workload after the other, of the peers chosen for it."""
    compile_bytecode()
    for done, (name, peers) in enumerate(chosen.items()):
        yield run_workload(name, peers, settings.share(len(chosen) - done))
