"""What a machine has of CUDA: the package, the compiler, the driver, a device, or the simulator in place of them."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import subprocess
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from symhess.cuda import driver
from symhess.errors import TargetUnavailable

INSTALL = 'pip install "symhess[cuda]"'
#: the compute capability that code is compiled for where no device says another
CAPABILITY = (8, 0)
#: the parts of the compiler, as messages about missing ones name them
PARTS = ("nvrtc", "nvvm", "libdevice")


@functools.cache
def numba_cuda() -> Any:
    """The module `numba.cuda` of the package numba-cuda.

    Raises:
        TargetUnavailable: the package is not installed.
    """
    if importlib.util.find_spec("numba_cuda") is None:
        raise TargetUnavailable(f'target="cuda" needs the package numba-cuda, which is not installed: {INSTALL}')
    from numba import cuda

    return cuda


@functools.cache
def is_simulated() -> bool:
    """True where NUMBA_ENABLE_CUDASIM=1 makes NumPy arrays and Python threads of everything."""
    from numba.core import config

    numba_cuda()
    return bool(config.ENABLE_CUDASIM) or os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


@contextlib.contextmanager
def missing_parts_named() -> Iterator[None]:
    """A context in which kernels are compiled; TargetUnavailable where the compiler is not installed."""
    try:
        yield
    except (ImportError, OSError, RuntimeError) as problem:
        part = next((part for part in PARTS if part in str(problem).lower()), None)
        absent = not isinstance(problem, RuntimeError) or "NotFound" in type(problem).__name__
        if part is None or not (absent or "Missing" in str(problem)):
            raise
        raise _without(part) from problem


def _without(part: str) -> TargetUnavailable:
    return TargetUnavailable(f"compiling kernels needs NVVM and NVRTC, and {part} was not found: {INSTALL}, or "
                             "pip install nvidia-nvvm nvidia-cuda-nvrtc")


@functools.cache
def require_device() -> None:
    """Nothing, where kernels can run.

    Raises:
        TargetUnavailable: the package, the driver, a device or the compiler is missing; the message says which.
    """
    cuda = numba_cuda()
    if is_simulated():
        return
    with missing_parts_named():
        found, problem = cuda.is_available(), cuda.cuda_error()
    if not found and not problem:  # the driver has a device
        raise _without("nvvm")
    if not found:
        reason = " ".join(str(problem).split())
        raise TargetUnavailable(f'target="cuda" needs an NVIDIA GPU and its driver: {reason} (.source(...) and '
                                'target="ptx" in it need none, and NUMBA_ENABLE_CUDASIM=1 simulates one)')


#: the numbers of devices by the handles of their contexts
_devices: dict[int, int] = {}


@contextlib.contextmanager
def on_device(number: int | None) -> Iterator[int]:
    """A context in which a device, by its number, is the current one of this thread; None for the one that is."""
    if is_simulated():
        yield 0
        return
    here = driver.current_context()
    if not here and number is None:  # the first one becomes the current one and stays it, as in other libraries
        numba_cuda().current_context()
        here = driver.current_context()
    if here and here not in _devices:
        _devices[here] = numba_cuda().current_context().device.id
    known = _devices.get(here)
    if known is not None and number in (None, known):
        yield known
    else:
        with numba_cuda().gpus[number]:
            yield number or 0


def capability() -> tuple[int, int]:
    """The compute capability of the device, or the one that code is compiled for without."""
    cuda = numba_cuda()
    return cuda.get_current_device().compute_capability if not is_simulated() and cuda.is_available() else CAPABILITY


def ptx_of(function: Any, signature: tuple, fastmath: bool = False) -> str:
    """The PTX of a kernel; no device is needed.

    Raises:
        TargetUnavailable: there is no NVVM to compile with, or no NVRTC, which knows the architectures.
    """
    cuda = numba_cuda()
    if is_simulated():
        raise TargetUnavailable("the CUDA simulator compiles nothing; unset NUMBA_ENABLE_CUDASIM for PTX")
    with missing_parts_named(), _some_device():
        return cuda.compile_ptx(function, signature, cc=capability(), fastmath=fastmath)[0]


@contextlib.contextmanager
def _some_device() -> Iterator[None]:
    """Where there is no device, numba-cuda is told of one: it asks for its capability when it compiles functions that
    kernels call, whatever capability the kernels are compiled for."""
    if numba_cuda().is_available():
        yield
        return
    from numba.cuda import dispatcher

    known = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: types.SimpleNamespace(compute_capability=CAPABILITY)
    try:
        yield
    finally:
        dispatcher.get_current_device = known


class Resources(NamedTuple):
    """What a kernel takes of a multiprocessor, as ptxas says: registers, and bytes that are spilled and shared."""

    registers: int
    spilled: int
    shared: int


def assembler() -> str | None:
    """The path of ptxas: on PATH, or in the wheels nvidia-cuda-nvcc and triton."""
    found = shutil.which("ptxas")
    for package, place in (("nvidia", "cu13/bin"), ("nvidia", "cuda_nvcc/bin"), ("triton", "backends/nvidia/bin")):
        spec = None if found else importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder) / place / "ptxas"
            found = str(path) if path.exists() else found
    return found


def resources_of(ptx: str) -> Resources:
    """Assemble PTX and read what the kernel takes.

    Raises:
        TargetUnavailable: there is no ptxas, or only one that is older than the compiler.
        RuntimeError: it refuses the code.
    """
    ptxas = assembler()
    if ptxas is None:
        raise TargetUnavailable("registers are counted by ptxas, which was not found: pip install nvidia-cuda-nvcc")
    major, minor = CAPABILITY
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        done = subprocess.run([ptxas, "-v", f"-arch=sm_{major}{minor}", str(source), "-o", str(source) + ".cubin"],
                              capture_output=True, text=True)
    if "Unsupported .version" in done.stderr:
        raise TargetUnavailable(f"registers are counted by ptxas, and {ptxas} is older than the compiler: "
                                "pip install --upgrade nvidia-cuda-nvcc")
    if done.returncode:
        raise RuntimeError(f"ptxas refused a kernel: {done.stderr.strip()}")
    return Resources(*(_number(done.stderr, before) for before in (" registers", " bytes spill stores", " bytes smem")))


def _number(text: str, before: str) -> int:
    """The number in front of some words; 0 where they are missing."""
    head, found, _ = text.partition(before)
    return int(head.split()[-1]) if found else 0
