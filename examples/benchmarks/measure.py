"""Times, memory and the machine's physical limits."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .clocks import now

#: seconds of a call that is not tried three times per round
SLOW = 0.1


def seconds(call: Callable[[], Any], times: int = 1) -> float:
    """Seconds per call, over a loop of `times` calls."""
    start = now()
    for _ in range(times):
        call()
    return (now() - start) / times


def calls_lasting(call: Callable[[], Any], at_least: float) -> int:
    """How many calls in a row take `at_least` seconds."""
    times = 1
    while (per_call := seconds(call, times)) * times < at_least / 4:
        times *= 4
    return max(1, round(at_least / per_call))


def settled(call: Callable[[], Any], calls: int = 8, budget: float = 0.5) -> float:
    """Seconds of a call after the first few, in which a compiler may wait and see, and compile what comes again."""
    taken = [seconds(call)]
    while len(taken) < calls and sum(taken) < budget:
        taken.append(seconds(call))
    return min(taken)


def best_of(loops: int, call: Callable[[], Any], times: int) -> float:
    """Seconds per call in the fastest of a few loops: what disturbs a loop only ever slows it down."""
    return min(seconds(call, times) for _ in range(loops))


def interleaved(calls: Sequence[Callable[[], Any]], repeat: int, at_least: float = 0.01,
                budget: float = 4.0) -> list[list[float]]:
    """`repeat` times per call of each, taken in turns so that they share the machine's better and worse moments.

    Slow calls are repeated less: after `budget` seconds two rounds are enough.
    """
    loops = [(1, 1) if settled(call) > SLOW else (3, calls_lasting(call, at_least)) for call in calls]
    rounds: list[list[float]] = []
    start = time.perf_counter()
    while len(rounds) < repeat and (len(rounds) < 2 or time.perf_counter() - start < budget):
        rounds.append([best_of(tries, call, times) for call, (tries, times) in zip(calls, loops)])
    return [list(times) for times in zip(*rounds)]


def writer(size: int) -> Callable[[], Any]:
    """A call that writes that many bytes of float64 once, into memory that is already mapped."""
    buffer = np.ones(size // 8)
    return lambda: buffer.fill(2.0)


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would report the parent's size where that was larger at the fork
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def machine_limits(repeat: int = 5, mebibytes: int = 512, n: int = 1024) -> dict[str, float]:
    """Bandwidth of writing to main memory, and the rate of a matrix product, on this core."""
    entries = mebibytes * 2**20 // 8
    A, C = np.ones((n, n)), np.empty((n, n))
    write, product = interleaved([writer(8 * entries), lambda: np.matmul(A, A, out=C)], repeat)
    return {
        "write_gigabytes_per_second": 8e-9 * entries / statistics.median(write),
        "dgemm_gigaflops": 2e-9 * n**3 / statistics.median(product),
    }
