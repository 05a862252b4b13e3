"""A kernel that writes, to find how fast a device does that. A module of its own, which imports numba-cuda."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from .device import is_simulated

THREADS = 256


def written(out, value):  # type: ignore[no-untyped-def]
    """One element for each thread."""
    k = cuda.grid(1)
    if k < out.size:
        out[k] = value


def writer(size: int) -> Callable[[], Any]:
    """A call that writes that many bytes of float64 on the device once, and waits for them."""
    kernel = cuda.jit(written) if is_simulated() else cuda.jit("void(float64[::1], float64)")(written)
    buffer = cuda.device_array(max(size // 8, 1), np.float64)
    configured = kernel[(buffer.size + THREADS - 1) // THREADS, THREADS]

    def write() -> None:
        configured(buffer, 2.0)
        cuda.synchronize()

    return write
