"""The clock in use and the limit of memory: what a worker needs before it imports anything large."""

from __future__ import annotations

import resource
import time


def processor() -> float:
    """Seconds of this process and of those that it has started and waited for, such as a C compiler."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


CLOCKS = {"wall": time.perf_counter, "cpu": processor}
_used = [time.perf_counter]


def use_clock(name: str) -> None:
    """Measure by the clock of that name from now on."""
    _used[0] = CLOCKS[name]


def now() -> float:
    """Seconds of the clock in use."""
    return _used[0]()


def limit_address_space(gigabytes: float) -> None:
    """A last resort against a process that grows faster than it is watched; where the system has such limits."""
    if gigabytes and hasattr(resource, "RLIMIT_AS"):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (int(gigabytes * 1e9), hard))
