"""SymEngine: derivatives in C++, common subexpressions, compiled by LLVM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import symengine

from .translation import expression
from .workloads import Workload


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """All entries of the function as it is, for one point or for all rows."""
    n = workload.variables(arguments)
    x = [symengine.Symbol(f"x{k}") for k in range(n)]
    f = expression(workload, arguments, x, symengine)
    gradient = [symengine.diff(f, v) for v in x]
    H = symengine.Matrix(n, n, [symengine.diff(g, v) for g in gradient for v in x])
    compiled = symengine.Lambdify(x, H, backend="llvm", cse=True)
    point = arguments[0] if workload.product == "batch" else arguments[0].ravel()
    out = np.empty((*point.shape[:-1], n, n))
    return lambda: compiled(point, out=out)
