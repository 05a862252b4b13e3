"""SymPy: derivatives and common subexpressions by SymPy, compiled by Numba; elements in a compiled loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import sympy

from .scatter import Indices, shared_variables, triangle_positions
from .translation import Element, InMatrix, ScalarNumpy, element_of, expression, object_array, sparse_values
from .workloads import Workload

LOOP = "for e in range(len(variables)):"


def names(stem: str, n: int) -> list[sympy.Symbol]:
    return [sympy.Symbol(f"{stem}{k}", real=True) for k in range(n)]


def statements(expressions: list[sympy.Expr], targets: list[str]) -> str:
    """Assignments to the targets after those of common subexpressions; powers of integers as products."""
    shared, results = sympy.cse(expressions)
    lines = [f"{name} = {sympy.pycode(value)}" for name, value in shared]
    lines += [f"{target} = {sympy.pycode(value)}" for target, value in zip(targets, results)]
    return "\n".join(lines)


def compiled(*sections: tuple[int, str]) -> Callable[..., Any]:
    """The Numba function `run` of a source text, given as lines of different depths."""
    text = "\n".join("    " * depth + line for depth, lines in sections for line in lines.splitlines())
    space: dict[str, Any] = {"math": math}
    exec(text, space)
    return numba.njit(error_model="numpy", fastmath={"contract", "nsz", "arcp"})(space["run"])


def triangle(f: sympy.Expr, x: list[sympy.Symbol]) -> list[sympy.Expr]:
    """The lower triangle of the Hessian, row by row."""
    gradient = [sympy.diff(f, v) for v in x]
    return [sympy.diff(gradient[i], x[j]) for i in range(len(x)) for j in range(i + 1)]


def whole(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """One straight-line function for all entries of the function as it is."""
    n = workload.variables(arguments)
    x = names("x", n)
    f, rows = expression(workload, arguments, x, sympy), workload.product == "batch"
    place = "H[e, {}, {}]" if rows else "H[{}, {}]"
    targets = [" = ".join(dict.fromkeys((place.format(i, j), place.format(j, i))))
               for i in range(n) for j in range(i + 1)]
    unpack = "".join(f"x{k} = x[e, {k}]\n" if rows else f"x{k} = x[{k}]\n" for k in range(n))
    body = unpack + statements(triangle(f, x), targets)
    run = compiled((0, "def run(x, H):"), *[(1, "for e in range(x.shape[0]):")] * rows, (1 + rows, body))
    point = arguments[0] if rows else arguments[0].ravel()
    H = np.empty((*point.shape[:-1], n, n))
    return InMatrix(lambda: run(point, H), lambda: H)


def elements(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """A loop over the elements that adds the lower triangle of each, and what is above the diagonal."""
    element = element_of(workload, arguments)
    lower = np.tril_indices(element.size)
    x, d = names("x", element.size), names("d", len(element.data))
    f = element.term(ScalarNumpy(sympy), object_array(x, (len(x),)), d)
    count = range(len(lower[0]))
    body = "".join(f"{v} = x[variables[e, {k}]]\n" for k, v in enumerate(x))
    body += "".join(f"{v} = data[{k}, e]\n" for k, v in enumerate(d))
    body += statements(triangle(f, x), [f"h{k}" for k in count])
    if shared_variables(element):
        return _summed(element, lower, body)
    below, above, off, matrix = triangle_positions(element, lower)
    body += "".join(f"\nvalues[below[{k}, e]] += h{k}" + (f"\nvalues[above[{k}, e]] += h{k}" if off[k] else "")
                    for k in count)
    head = "def run(x, variables, data, below, above, values):"
    run = compiled((0, head), (1, "values[:] = 0.0"), (1, LOOP), (2, body))
    values = np.empty(getattr(matrix, "nnz", matrix.size))
    return InMatrix(lambda: run(element.x, element.variables, element.data, below, above, values),
                    lambda: sparse_values(values, matrix))


def _summed(element: Element, lower: Indices, body: str) -> Callable[[], Any]:
    """The sums in registers, where all elements are functions of all variables."""
    count = range(len(lower[0]))
    start, add, end = ("\n".join(pattern.format(k) for k in count)
                       for pattern in ("s{0} = 0.0", "s{0} += h{0}", "values[{0}] = s{0}"))
    run = compiled((0, "def run(x, variables, data, values):"), (1, start), (1, LOOP), (2, body), (2, add), (1, end))
    values, H = np.empty(len(count)), np.empty((element.size,) * 2)

    def evaluate() -> np.ndarray:
        run(element.x, element.variables, element.data, values)
        H[lower] = H[lower[::-1]] = values
        return H

    return evaluate


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """A call that computes the Hessian."""
    return (elements if peer == "sympy-elements" else whole)(workload, arguments)
