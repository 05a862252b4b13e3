"""Where kernels are kept on disk, under names that follow from all they depend on, in files written whole or not."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import llvmlite.binding as llvm

Choice = bool | str | os.PathLike


def cache_directory(choice: Choice) -> Path:
    """The directory that the option asks for: a path, or for True the user's cache directory."""
    if not isinstance(choice, bool):
        return Path(choice)
    if "SYMHESS_CACHE_DIR" in os.environ:
        return Path(os.environ["SYMHESS_CACHE_DIR"])
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(base) / "symhess"


def digest(text: str) -> str:
    """Names a module after its source, the versions of what compiled it, and the processor."""
    parts = [text, *(version(p) for p in ("numba", "llvmlite", "numpy", "scipy")), _own_sources(), sys.version,
             llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    return digest_of("\0".join(parts).encode())


@functools.cache
def version(package: str) -> str:
    """The version of an installed package, from the name of the folder that describes it: `importlib.metadata` takes
    longer to import and to read what is in there than all else that finds a kernel on disk."""
    spec = find_spec(package)
    home = Path(spec.origin).parents[1] if spec is not None and spec.origin else Path()
    found = [path.stem for path in home.glob(f"{package}-*.dist-info")]
    if len(found) == 1:
        return found[0].removeprefix(f"{package}-")
    from importlib import metadata

    return metadata.version(package)


@functools.cache
def _own_sources() -> str:
    """A fingerprint of what compiles kernels and of the functions that they call."""
    here = Path(__file__).parent
    return digest_of(b"".join(p.read_bytes() for p in sorted(here.glob("*.py"))))


def digest_of(content: bytes) -> str:
    """A fingerprint of some bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def write(path: Path, content: bytes) -> None:
    """Write a file so that no other process ever sees half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
