"""Machine code on disk as bytes, each file sealed with a fingerprint, the directory bounded in size.

    directory/symhess_<digest>.o        32 hexadecimal digits that follow from the rest, what loading needs, object code

The name follows from all that the code depends on. A directory that cannot be written, or a file that cannot be read,
costs a warning and a compilation, never a result.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from symhess.backends.disk_cache import Choice, cache_directory, digest_of, write
from symhess.errors import SymhessWarning

#: the files of a cache together take at most this many bytes; SYMHESS_CACHE_SIZE overrides it
LARGEST = 512 * 2**20
SEAL = 32


class Kept(NamedTuple):
    """Object code, the functions of the C library that it calls, and whether it needs Numba's runtime."""

    code: bytes
    libm: tuple[str, ...]
    numba: bool


def cached(name: str, choice: Choice, make: Callable[[], Kept]) -> Kept:
    """What is kept under a name, or what `make` gives, which is kept from then on."""
    path = cache_directory(choice) / f"symhess_{name}.o"
    found = _read(path)
    if found is not None:
        return found
    made = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, _packed(made))
        _shrink(path.parent)
    except OSError as problem:
        warnings.warn(f"kernel cache {path.parent} cannot be used ({problem!r}): compiled in memory", SymhessWarning,
                      stacklevel=2)
    return made


def _packed(kept: Kept) -> bytes:
    head = json.dumps({"libm": kept.libm, "numba": kept.numba}).encode()
    body = len(head).to_bytes(4, "little") + head + kept.code
    return digest_of(body).encode() + body


def _read(path: Path) -> Kept | None:
    """What a file holds; None where there is none, or (with a warning) where it is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as problem:
        if path.parent.is_dir():
            warnings.warn(f"kernel cache {path} cannot be read ({problem!r}): compiled anew", SymhessWarning,
                          stacklevel=3)
        return None
    seal, body = content[:SEAL], content[SEAL:]
    if digest_of(body).encode() != seal:
        warnings.warn(f"kernel cache {path} is damaged: compiled anew", SymhessWarning, stacklevel=3)
        return None
    size = int.from_bytes(body[:4], "little")
    head = json.loads(body[4:4 + size])
    with contextlib.suppress(OSError):  # a directory that can only be read
        os.utime(path)
    return Kept(body[4 + size:], tuple(head["libm"]), head["numba"])


def _shrink(directory: Path) -> None:
    """Remove the files that were not used for longest, until the others fit."""
    limit = int(os.environ.get("SYMHESS_CACHE_SIZE", LARGEST))
    files = []
    for path in directory.glob("symhess_*"):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        files.append((state.st_mtime, state.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files)[:-1]:
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= size


def clear(choice: Choice) -> int:
    """Remove all kernels from a directory; how many files that were."""
    directory = cache_directory(choice)
    removed = 0
    for path in [*directory.glob("symhess_*"), *directory.glob("__pycache__/symhess_*")]:
        path.unlink(missing_ok=True)
        removed += 1
    return removed
