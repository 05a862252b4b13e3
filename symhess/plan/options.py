"""Options of the compiled backends."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How a program is compiled.

    parallel   threads share loops with enough work
    fastmath   let LLVM reorder and contract floating-point arithmetic (NaN and inf are kept)
    cache      True, or a directory: keep generated modules and their machine code on disk
    """

    parallel: bool = False
    fastmath: bool = False
    cache: bool | str | os.PathLike = False
