"""symhess: the unchanged function, index arrays declared static, results written into one buffer again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import symhess

from .workloads import Workload


class Flat:
    """A call whose result is a nest of arrays, laid end to end where it is compared."""

    def __init__(self, call: Callable[[], Any]):
        self.call = call

    def __call__(self) -> Any:
        return self.call()

    def assembled(self) -> np.ndarray:
        """One vector."""
        return np.concatenate([np.ravel(part) for part in self.call()])


def symhess_peer(workload: Workload, arguments: tuple[Any, ...], **options: Any) -> Callable[[], Any]:
    """A call that returns the Hessian; the first one traces, compiles and allocates. Options of `hessian_jit`."""
    static = workload.indices(arguments)
    f = symhess.hessian_jit(workload.function, argnums=workload.argnums, static_argnums=static, **options)
    product, point = f.sparse if workload.pattern else f.flat, arguments
    if workload.product == "batch":
        product = f.batch
    elif workload.product == "hvp":
        product, point = f.hvp, (*arguments, workload.direction(arguments))
    buffers: list[Any] = []

    def evaluate() -> Any:
        if buffers:
            return product(*point, out=buffers[0])
        buffers.append(product(*point))
        return buffers[0]

    return Flat(evaluate) if workload.product == "hvp" else evaluate


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """A call that returns the Hessian, compiled kernels kept in the directory `cache` if one is given."""
    return symhess_peer(workload, arguments, cache=cache)
