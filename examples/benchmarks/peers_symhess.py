"""symhess: the unchanged function, index arrays declared static, results written into one buffer again and again."""

from __future__ import annotations

import importlib.util
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


class OnDevice:
    """A call that leaves its result on the device and waits for it."""

    def __init__(self, call: Callable[[], Any]):
        self.call = call

    def __call__(self) -> Any:
        from numba import cuda

        found = self.call()
        cuda.synchronize()
        return found

    def assembled(self) -> Any:
        """The result in the memory of the host: one vector, where it is a nest of arrays."""
        parts = [getattr(a, "copy_to_host", getattr(a, "get", lambda a=a: a))() for a in leaves(self.call())]
        return parts[0] if len(parts) == 1 else np.concatenate([np.ravel(a) for a in parts])


def leaves(tree: Any) -> list[Any]:
    """The arrays of a nest of tuples and lists."""
    return [a for part in tree for a in leaves(part)] if isinstance(tree, tuple | list) else [tree]


def on_device(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """The same on a GPU: CuPy's arrays in and out, or Numba's where there is no CuPy, which has no sparse matrices."""
    from numba import cuda

    cupy = importlib.import_module("cupy") if importlib.util.find_spec("cupy") else None
    if cupy is None and workload.pattern:
        return OnDevice(symhess_peer(workload, arguments, target="cuda"))
    static, move = workload.indices(arguments), cupy.asarray if cupy else cuda.to_device
    moved = tuple(a if k in static or not isinstance(a, np.ndarray) else move(a) for k, a in enumerate(arguments))
    return OnDevice(symhess_peer(workload, moved, target="cuda"))


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """A call that returns the Hessian, compiled kernels kept in the directory `cache` if one is given."""
    if peer == "symhess-cuda":
        return on_device(workload, arguments)
    return symhess_peer(workload, arguments, cache=cache)
