"""Fewer runs of Python's cycle collector while graphs grow.

Every new node counts as one more object that might be part of a cycle, so the collector walks all of them again and
again, and finds none. While a stage runs, it waits for many more of them.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

#: new objects before the collector looks for cycles among them
PATIENCE = 3_000_000

_lock = threading.Lock()
_stages = 0
_before: tuple[int, int, int] = gc.get_threshold()


@contextlib.contextmanager
def patient_collector() -> Iterator[None]:
    """The collector waits, until the last of the stages that run at once, in any thread, is done."""
    global _stages, _before
    with _lock:
        if not _stages:
            _before = gc.get_threshold()
            if 0 < _before[0] < PATIENCE:
                gc.set_threshold(PATIENCE, *_before[1:])
        _stages += 1
    try:
        yield
    finally:
        with _lock:
            _stages -= 1
            if not _stages:
                gc.set_threshold(*_before)
