"""A driver of CUDA's that interprets PTX on the CPU, so that programs for a GPU run where there is none.

    python -m emulated_driver program.py [arguments]
    python -m emulated_driver -m pytest -m gpu tests/test_cuda_device.py

with this folder's parent on PYTHONPATH, or `emulated_driver.install()` before anything asks for a driver. What is true
then: the host code of numba-cuda and cuda-bindings, and the PTX of kernels, in the arithmetic of their types. What is
not: machine code, time, and how blocks and warps run beside each other; here they run one after another.

It is strict where a device is lenient, and says what it finds by `reports()`:

* accesses out of bounds, of freed memory, of memory that nobody wrote, at addresses that are not aligned;
* races: two threads of a launch touch the same byte, one of them writes, and no barrier stands between;
* barriers that not all threads of a block come to;
* streams are as late as they may be, so work that does not wait for what it needs does not find it.

EMULATED_DRIVER_LOG=1 prints findings as they come; EMULATED_DRIVER_CAPABILITY=9.0 is another compute capability than
8.0. An entry point that is missing is a finding, too.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FLAGS = ["-O2", "-g", "-march=native", "-std=gnu11", "-fPIC", "-shared", "-Wl,-soname,libcuda.so.1",
         "-fvisibility=hidden", "-fno-strict-aliasing", "-fwrapv", "-ffp-contract=off", "-frounding-math"]


def can_run() -> bool:
    """True where there is a C compiler for the driver and numba-cuda to use it."""
    return sys.platform == "linux" and bool(shutil.which("gcc")) and importlib.util.find_spec("numba_cuda") is not None


@functools.cache
def library() -> Path:
    """The compiled driver: in a folder for temporary files, by what it was made of."""
    sources = sorted(HERE.glob("*.[ch]"))
    made_of = hashlib.sha256(b"".join(path.read_bytes() for path in sources) + repr(FLAGS).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"emulated-driver-{os.getuid()}-{made_of}"
    path = folder / "libcuda.so.1"
    if not path.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        new = folder / f"{os.getpid()}.so"
        compiled = [str(path) for path in sources if path.suffix == ".c"]
        subprocess.run(["gcc", *FLAGS, *compiled, "-o", str(new), "-lm", "-lpthread"], check=True)
        new.rename(path)
    return path


@functools.cache
def install() -> ctypes.CDLL:
    """Make this process use the driver: who opens libcuda.so.1 from now on is given the one that is open already."""
    driver = ctypes.CDLL(str(library()), mode=ctypes.RTLD_GLOBAL)
    driver.emulated_reports.restype = ctypes.c_char_p
    driver.emulated_instructions.restype = ctypes.c_uint64
    from numba.cuda.cudadrv.driver import _Linker

    _Linker.complete = _linked_to_ptx
    return driver


def reports() -> list[str]:
    """What was found since the last time."""
    return install().emulated_reports().decode().splitlines()


def instructions() -> int:
    """How many instructions of PTX have been interpreted."""
    return install().emulated_instructions()


def _linked_to_ptx(linker: Any) -> Any:
    """What numba-cuda loads in place of machine code: the PTX that NVIDIA's linker optimised, or that it was given."""
    from cuda.core import ObjectCode

    # CUDA's device runtime is machine code; what kernels call of it is part of the driver
    linker._object_codes = [code for code in linker._object_codes if code.code_type != "library"]
    if linker._has_ltoir:
        return ObjectCode.from_ptx(linker.get_linked_ptx())
    linker.linker, linker._complete, linker._info_log, linker._error_log = linker, True, "", ""
    return ObjectCode.from_ptx(b"\n".join(code.code for code in linker._object_codes))
