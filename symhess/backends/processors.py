"""How many processors there are for this process."""

from __future__ import annotations

import os

#: threads beyond this many are not used
MOST = 64


def thread_count() -> int:
    """As many threads as there are processors for this process."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MOST)
