"""What generated source may refer to; libraries are imported when a kernel first calls something of theirs.

SciPy's compiled functions take longer to import than most kernels to compile.
"""

from __future__ import annotations

import builtins
import importlib
import re
from typing import Any

import numba
import numpy as np

from symhess.backends import memory, support, threads, vector_numba

#: module -> the functions that kernels call in it; any other function is one of `support_special`
LIBRARIES = {
    "support_blas": ("gemm", "syrk", "weighted_syrk"),
    "support_linalg": ("cholesky", "lu", "solve", "triangular_solve", "inv", "det", "logabsdet", "detsign", "take",
                       "put_add"),
    "support_decompositions": ("eigh", "svd", "qr", "pinv", "eigenvalues", "singular_values"),
    "support_fourier": ("dft",),
    "support_recurrences": ("recurrence", "running_mul", "running_maximum", "running_minimum", "running_logaddexp"),
    "support_matrix_functions": ("expm", "sqrtm", "logm"),
}
SPECIAL = "support_special"
_PLACES = {name: library for library, names in LIBRARIES.items() for name in names}
_KINDS = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "I32": np.int32, "B1": np.bool_, "U1": np.uint8,
          "U": numba.uintp, "njit": numba.njit}
BASE: dict[str, Any] = {**_KINDS, **memory.NAMES, **support.NAMES, **threads.NAMES, **vector_numba.NAMES}
_CALLED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\(")
_DEFINED = re.compile(r"^def (\w+)\(", re.M)


def names(text: str) -> dict[str, Any]:
    """The names that some generated source needs, and those that any may."""
    return BASE | {name: f for library in libraries_of(text) for name, f in library_names(library).items()}


def libraries_of(text: str) -> list[str]:
    """The modules of which the source calls something."""
    called = dict.fromkeys(_CALLED.findall(text))
    known = {*BASE, *dir(builtins), *_DEFINED.findall(text)}
    return list(dict.fromkeys(_PLACES.get(name, SPECIAL) for name in called if name not in known))


def library_names(library: str) -> dict[str, Any]:
    """The functions of a module, imported now."""
    return importlib.import_module(f"symhess.backends.{library}").NAMES
