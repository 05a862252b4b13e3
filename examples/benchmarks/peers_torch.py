"""PyTorch: torch.func on the same source; torch.autograd.functional where control flow or memory ask for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .translation import translated
from .workloads import Workload

torch.set_num_threads(1)


class Linalg:
    """What the functions use of np.linalg."""

    solve, slogdet = staticmethod(torch.linalg.solve), staticmethod(torch.linalg.slogdet)


class TorchNumpy:
    """The NumPy functions whose names, arguments or types are others in PyTorch; the rest is PyTorch's."""

    linalg = Linalg

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def logaddexp(self, a: float, b: torch.Tensor) -> torch.Tensor:
        return torch.logaddexp(torch.full_like(b, a), b)

    def stack(self, arrays: Any, axis: int = 0) -> torch.Tensor:
        return torch.stack(list(arrays), dim=axis)

    def cumsum(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cumsum(x, 0)

    def eye(self, n: int) -> torch.Tensor:
        return torch.eye(n, dtype=torch.float64)

    def pad(self, x: torch.Tensor, widths: Any) -> torch.Tensor:
        return torch.nn.functional.pad(x, [w for pair in reversed(widths) for w in pair])


def tensors(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arrays as tensors of the same memory; numbers stay."""
    return tuple(torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments)


def flat_function(workload: Workload, arguments: tuple[Any, ...]) -> tuple[Callable[[Any], Any], Any]:
    """f(x) of one flat tensor, and that tensor."""
    function, given, k = translated(workload.function, TorchNumpy()), tensors(arguments), workload.inputs
    if k == 1:
        return lambda x: function(x.reshape(given[0].shape), *given[1:]), given[0].ravel()
    shapes, sizes = [a.shape for a in given[:k]], [a.numel() for a in given[:k]]

    def flat(x: Any) -> Any:
        parts = [part.reshape(shape) for part, shape in zip(torch.split(x, sizes), shapes)]
        return function(*parts, *given[k:])

    return flat, torch.cat([a.ravel() for a in given[:k]])


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """A call that computes the Hessian."""
    if workload.product == "batch":
        function, (X, *data) = translated(workload.function, TorchNumpy()), tensors(arguments)
        mapped = torch.func.vmap(torch.func.hessian(lambda x: function(x, *data)))
        return lambda: mapped(X)
    f, x = flat_function(workload, arguments)
    if workload.product == "hvp":
        v = torch.cat([part.ravel() for part in tensors(workload.direction(arguments))])
        return lambda: torch.func.jvp(torch.func.grad(f), (x,), (v,))[1]
    if peer == "torch-functional":
        return lambda: torch.autograd.functional.hessian(f, x)
    hessian = torch.func.hessian(f)
    return lambda: hessian(x)
