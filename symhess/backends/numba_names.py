"""What generated source may refer to where Numba compiles it."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from symhess.backends import memory, numba_intrinsics, plain, threads, vector_numba  # noqa: F401
from symhess.backends.names import libraries_of, library_names

_KINDS = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "I32": np.int32, "B1": np.bool_, "U1": np.uint8,
          "U": numba.uintp, "njit": numba.njit}
BASE: dict[str, Any] = {**_KINDS, **plain.NAMES, **memory.NAMES, **threads.NAMES, **vector_numba.NAMES,
                        "math": math, "np": np, "nan": math.nan, "inf": math.inf}


def names(text: str) -> dict[str, Any]:
    """The names that some generated source needs, and those that any may."""
    return BASE | {name: f for library in libraries_of(text) for name, f in library_names(library).items()}
