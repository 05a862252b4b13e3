"""Arrays of the host on their way to a device and back, through page-locked memory where they are small.

Copies from and to page-locked memory are steps as launches are, so a call on NumPy arrays is one graph: one copy in for
all small arguments, the kernels, one copy out for all small results. Large arrays are copied by the driver, which
cuts them into pieces: a second copy on the host would cost more than the graph saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from symhess.cuda import driver
from symhess.cuda.graphs import Addresses, Step
from symhess.cuda.toolkit import numba_cuda

if TYPE_CHECKING:
    from symhess.cuda.launching import Loaded

#: bytes up to which an array goes through page-locked memory
SMALL = 1 << 18
#: arrays begin at multiples of this many bytes
ALIGNMENT = 256


class Staging:
    """Memory on the device, and page-locked memory, for arguments and results of fixed sizes."""

    def __init__(self, loaded: Loaded, ends: Sequence[tuple[int, np.dtype]], inputs: int):
        sizes = [n * dtype.itemsize for n, dtype in ends]
        order = sorted(range(len(ends)), key=lambda k: (k >= inputs, sizes[k] > SMALL, k))
        starts: dict[int, int] = {}
        regions: dict[bool, tuple[int, int]] = {}
        end = 0
        for k in order:
            starts[k] = end
            end += -(-sizes[k] // ALIGNMENT) * ALIGNMENT
            if sizes[k] <= SMALL:
                first = regions.get(k >= inputs, (starts[k], 0))[0]
                regions[k >= inputs] = first, end
        base = loaded.allocate(end)
        driver.entry("cuMemsetD8Async")(base, 0, max(end, 1), loaded.stream)  # what is between arrays is copied, too
        self.addresses: Addresses = tuple(base + starts[k] for k in range(len(ends)))
        #: the small arrays in page-locked memory, None for large ones
        self.views: list[np.ndarray | None] = [None] * len(ends)
        before: list[Step] = []
        after: list[Step] = []
        for back, (first, last) in regions.items():
            host = numba_cuda().pinned_array(max(last - first, 1), np.uint8)
            loaded.memory.append(host)
            for k in order:
                if (k >= inputs) == back and sizes[k] <= SMALL:
                    self.views[k] = host[starts[k] - first:starts[k] - first + sizes[k]].view(ends[k][1])
            if last > first:
                copy = _copy_out if back else _copy_in
                (after if back else before).append(copy(base + first, host, last - first))
        self.inputs = inputs
        self.sections = loaded.sectioned([*before, *loaded.steps, *after])

    def fetch(self, arrays: Sequence[np.ndarray], stream: int) -> None:
        """Take arguments in: small ones into page-locked memory, large ones to the device."""
        for k, a in enumerate(arrays):
            view = self.views[k]
            if view is not None:
                view[...] = a.reshape(-1)
            else:
                driver.entry("cuMemcpyHtoDAsync")(self.addresses[k], a.ctypes.data, a.nbytes, stream)

    def bring(self, buffers: Sequence[np.ndarray], stream: int) -> None:
        """Enqueue the copies of large results."""
        for k, b in enumerate(buffers, self.inputs):
            if self.views[k] is None:
                driver.entry("cuMemcpyDtoHAsync")(b.ctypes.data, self.addresses[k], b.nbytes, stream)

    def hand_over(self, buffers: Sequence[np.ndarray]) -> None:
        """Copy small results, which have come, into the buffers."""
        for k, b in enumerate(buffers, self.inputs):
            view = self.views[k]
            if view is not None:
                b.reshape(-1)[...] = view


def _copy_in(address: int, host: np.ndarray, size: int) -> Step:
    copy = driver.bindings().cuMemcpyHtoDAsync
    return Step(lambda handle: copy(address, host.ctypes.data, size, handle), (), "cuMemcpyHtoDAsync")


def _copy_out(address: int, host: np.ndarray, size: int) -> Step:
    copy = driver.bindings().cuMemcpyDtoHAsync
    return Step(lambda handle: copy(host.ctypes.data, address, size, handle), (), "cuMemcpyDtoHAsync")
