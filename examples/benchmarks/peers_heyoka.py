"""heyoka: expressions differentiated symbolically and compiled by LLVM; elements in batches, which it vectorises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import heyoka as hy
import numpy as np

from .scatter import adding
from .translation import InMatrix, ScalarNumpy, element_of, expression, object_array
from .workloads import Workload

#: beyond that many variables a compiled function is kept compact, or LLVM takes minutes
COMPACT = 50


def variables(n: int, stem: str = "x") -> list[Any]:
    return [hy.expression(f"{stem}{k}") for k in range(n)]


def second_derivatives(f: Any, x: list[Any]) -> np.ndarray:
    """The matrix of expressions."""
    return hy.diff_tensors([f], diff_args=x, diff_order=2).hessian(0)


def whole(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """All n^2 entries of the function as it is, equal ones computed once."""
    n = workload.variables(arguments)
    x = variables(n)
    H = second_derivatives(expression(workload, arguments, x, hy), x)
    compiled = hy.cfunc([hy.expression(1.0) * h for h in H.ravel()], vars=x, compact_mode=n > COMPACT)
    if workload.product == "batch":
        inputs, out = np.ascontiguousarray(arguments[0].T), np.empty((n * n, len(arguments[0])))
        return InMatrix(lambda: compiled(inputs=inputs, outputs=out), lambda: out.T.reshape(-1, n, n))
    inputs, out = arguments[0].ravel(), np.empty((n, n))
    flat = out.ravel()
    return InMatrix(lambda: compiled(inputs=inputs, outputs=flat), lambda: out)


def elements(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """The lower triangles of all elements in one batch, then their sum."""
    element = element_of(workload, arguments)
    lower = np.tril_indices(element.size)
    x, data = variables(element.size), [hy.par[k] for k in range(len(element.data))]
    f = element.term(ScalarNumpy(hy), object_array(x, (len(x),)), data)
    H = second_derivatives(f, x)[lower]
    compiled = hy.cfunc([hy.expression(1.0) * h for h in H], vars=x)
    inputs, blocks = element.inputs, np.empty((len(H), len(element.variables)))
    options = {"pars": np.ascontiguousarray(element.data)} if data else {}
    add = adding(element, lower, blocks)

    def evaluate() -> None:
        inputs[:] = element.x[element.variables.T]
        compiled(inputs=inputs, outputs=blocks, **options)
        add()

    return InMatrix(evaluate, add)


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """A call that computes the Hessian."""
    return (elements if peer == "heyoka-elements" else whole)(workload, arguments)
