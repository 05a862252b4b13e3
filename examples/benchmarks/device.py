"""A GPU as the benchmarks see it: which one it is, how fast it writes, and what a library holds of its memory.

Libraries other than symhess may be tried on the CPU in its place (`device="cpu"`), symhess in Numba's simulator.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
from collections.abc import Callable
from typing import Any

from .clocks import now

#: the environment of a process that uses a GPU
ENVIRONMENT = {"JAX_ENABLE_X64": "1", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
#: bytes that are written to find the bandwidth: more than any cache holds
WRITTEN, WRITTEN_TINY = 2**30, 2**10


def environment(device: str) -> dict[str, str]:
    """What a worker needs to put JAX on a device."""
    return {**ENVIRONMENT, "JAX_PLATFORMS": device}


def select(library: str, device: str) -> None:
    """Make a library work on the device from now on; JAX is told by the environment."""
    if library == "torch":
        from . import peers_torch

        peers_torch.DEVICE = device


def is_simulated() -> bool:
    """True where Numba's simulator stands for a device."""
    from numba.core import config

    return bool(config.ENABLE_CUDASIM)


def writer(size: int) -> Callable[[], Any]:
    """A call that writes that many bytes of float64 on the device once, by a kernel, and waits for them."""
    from . import device_writer

    return device_writer.writer(size)


def limits(repeat: int, tiny: bool) -> dict[str, Any]:
    """What was measured on, and its bandwidth of writing, by a kernel that writes a gibibyte; the median counts."""
    size = WRITTEN_TINY if tiny else WRITTEN
    write, taken = writer(size), []
    write()
    for _ in range(2 if tiny else max(repeat, 7)):
        start = now()
        write()
        taken.append(now() - start)
    return {"write_gigabytes_per_second": 1e-9 * size / statistics.median(taken), **description()}


def description() -> dict[str, Any]:
    """The device, the driver, and the versions of what is used."""
    return {"device": _device(), "driver": _driver(), "libraries": versions()}


def _device() -> str:
    from numba import cuda

    if is_simulated():
        return "Numba's simulator"
    device = cuda.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else device.name
    major, minor = device.compute_capability
    total = cuda.current_context().get_memory_info().total
    return (f"{name}, compute capability {major}.{minor}, {total / 1e9:.0f} GB, "
            f"{device.MULTIPROCESSOR_COUNT} multiprocessors")


def _driver() -> str:
    """The newest CUDA that the driver takes, and its own version where NVIDIA's library tells."""
    if is_simulated():
        return "none"
    from numba.cuda.cudadrv import driver

    major, minor = driver.driver.get_version()
    found = f"CUDA {major}.{minor}"
    if importlib.util.find_spec("pynvml"):
        import pynvml

        try:
            pynvml.nvmlInit()
            version = pynvml.nvmlSystemGetDriverVersion()
            found = f"{version.decode() if isinstance(version, bytes) else version}, {found}"
        except pynvml.NVMLError:  # a driver without it
            pass
    return found


def versions() -> dict[str, str]:
    """Of Python's packages that take part on a GPU."""
    import importlib.metadata

    found = {"python": sys.version.split()[0]}
    for package in ("numpy", "numba", "numba-cuda", "cupy-cuda13x", "cupy-cuda12x", "nvidia-cuda-nvrtc", "jax",
                    "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "torch"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


class Memory:
    """What a library takes of a device's memory, from when this is made; the largest amount, as far as it tells."""

    def __init__(self, library: str):
        self.library = library
        self._free = self._now() if library == "symhess" and not is_simulated() else 0

    @staticmethod
    def _now() -> int:
        from numba import cuda

        return int(cuda.current_context().get_memory_info().free)

    def peak(self) -> int | None:
        """Bytes: allocated at the same time, by JAX's and PyTorch's account; held at last, of arrays, workspace and
        code, for symhess, which gives nothing back meanwhile. None where nobody knows."""
        if self.library == "symhess":
            return None if is_simulated() else self._free - self._now()
        if self.library == "torch":
            import torch

            return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
        import jax

        told = jax.local_devices()[0].memory_stats()
        return int(told["peak_bytes_in_use"]) if told else None
