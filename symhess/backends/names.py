"""What generated source may refer to; libraries are imported when a kernel first calls something of theirs.

SciPy's compiled functions take longer to import than most kernels to compile.
"""

from __future__ import annotations

import builtins
import importlib
import re
from typing import Any

from symhess.backends import plain, vector_math

#: module -> the functions that kernels call in it; any other function is one of `support_special`
LIBRARIES = {
    "support_blas": ("gemm", "syrk", "weighted_syrk"),
    "support_linalg": ("cholesky", "lu", "solve", "triangular_solve", "inv", "det", "logabsdet", "detsign", "take",
                       "put_add"),
    "support_decompositions": ("eigh", "svd", "qr", "pinv", "eigenvalues", "singular_values"),
    "support_fourier": ("dft",),
    "support_recurrences": ("recurrence", "semiseparable", "running_mul", "running_maximum", "running_minimum",
                            "running_logaddexp"),
    "support_matrix_functions": ("expm", "sqrtm", "logm"),
}
SPECIAL = "support_special"
_PLACES = {name: library for library, names in LIBRARIES.items() for name in names}
_CALLED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\(")
_DEFINED = re.compile(r"^def (\w+)\(", re.M)
#: what compilers know, and Python's own functions
KNOWN = frozenset((
    "F64", "F32", "I64", "I32", "B1", "U1", "U", "njit", "memory", "part", "linked", "keep", "at", "copy", "get", "put",
    "fill", "view", "run_block", "steps", "one_by_one", "huge_pages", "begin", "join", "claim", "finish", "complete",
    "first", "send", "receive", *plain.NAMES, *(f"v{name}" for name in vector_math.FORMULAS), *vars(builtins)))


def libraries_of(text: str) -> list[str]:
    """The modules of which the source calls something."""
    called = dict.fromkeys(_CALLED.findall(text))
    known = KNOWN.union(_DEFINED.findall(text))
    return list(dict.fromkeys(_PLACES.get(name, SPECIAL) for name in called if name not in known))


def library_names(library: str) -> dict[str, Any]:
    """The functions of a module, imported now."""
    return importlib.import_module(f"symhess.backends.{library}").NAMES
