"""PyTorch: torch.func on the same source; torch.autograd.functional where control flow or memory ask for it.

On a GPU arguments are moved there once and results stay. Sparse Hessians are coloured or decomposed by hand there,
dense ones computed some columns at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from . import functions
from .translation import InMatrix, sparse_values, translated
from .workloads import Workload, bundle_variables

torch.set_num_threads(1)

#: where arrays are; PyTorch's own default device would be seen by `torch.compile`, which cannot deal with it everywhere
DEVICE = "cpu"
#: columns of a dense Hessian, and elements of a sum, that are computed at a time
BLOCK, ELEMENTS = 1024, 1 << 17


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
        return torch.eye(n, dtype=torch.float64, device=DEVICE)

    def arange(self, n: int) -> torch.Tensor:
        return torch.arange(n, device=DEVICE)

    def pad(self, x: torch.Tensor, widths: Any) -> torch.Tensor:
        return torch.nn.functional.pad(x, [w for pair in reversed(widths) for w in pair])


def tensor(a: np.ndarray) -> torch.Tensor:
    """An array as a tensor: on the CPU of the same memory."""
    return torch.from_numpy(a).to(DEVICE)


def tensors(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arrays as tensors; numbers stay."""
    return tuple(tensor(a) if isinstance(a, np.ndarray) else a for a in arguments)


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


def products(f: Callable[[Any], Any], x: Any) -> Callable[[Any], Any]:
    """Hessian-vector products with all rows of a matrix: forward over reverse mode."""
    return torch.func.vmap(lambda v: torch.func.jvp(torch.func.grad(f), (x,), (v,))[1])


def plain(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """What anybody gets from the function as it is."""
    if workload.product == "batch":
        function, (X, *data) = translated(workload.function, TorchNumpy()), tensors(arguments)
        mapped = torch.func.vmap(torch.func.hessian(lambda x: function(x, *data)))
        return lambda: mapped(X)
    f, x = flat_function(workload, arguments)
    if workload.product == "hvp":
        v = torch.cat([part.ravel() for part in tensors(workload.direction(arguments))])
        return lambda: torch.func.jvp(torch.func.grad(f), (x,), (v,))[1]
    hessian = torch.func.hessian(f)
    return lambda: hessian(x)


def functional(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """The older interface, a row at a time."""
    f, x = flat_function(workload, arguments)
    return lambda: torch.autograd.functional.hessian(f, x)


def blocks(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """Products with some unit vectors at a time, written into one matrix."""
    f, x = flat_function(workload, arguments)
    product, H = products(f, x), x.new_empty((x.numel(), x.numel()))

    def hessian() -> Any:
        for first in range(0, x.numel(), BLOCK):
            rows = min(BLOCK, x.numel() - first)
            units = x.new_zeros((rows, x.numel()))
            units[:, first:first + rows] = torch.eye(rows, dtype=x.dtype, device=DEVICE)
            H[first:first + rows] = product(units)
        return H

    return hessian


def colours(workload: Workload, arguments: tuple[Any, ...], compiled: bool = False) -> Callable[[], Any]:
    """One product per colour of a pattern known by hand, and every value picked from the product that holds it."""
    f, x = flat_function(workload, arguments)
    pattern = workload.pattern(*arguments)
    pick, colour, product = tensor(pattern.picked(x.numel())), tensor(pattern.colours), products(f, x)
    seeds = (colour == torch.arange(1 + int(pattern.colours.max()), device=DEVICE)[:, None]).to(x.dtype)
    values = lambda: product(seeds).ravel()[pick]
    return in_matrix(pattern.structure, torch.compile(values) if compiled else values)


def elements(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """The 12 x 12 Hessian of every observation, mapped, and added up at positions computed before."""
    cameras, points, camera_index, point_index, observed = arguments
    error, pattern = translated(functions.reprojection_error, TorchNumpy()), workload.pattern(*arguments)
    variables = bundle_variables(cameras, camera_index, point_index).astype(np.int32)
    positions = tensor(pattern.positions(variables[:, :, None], variables[:, None, :]).ravel())
    x, variables, observed = tensors((np.concatenate([cameras.ravel(), points.ravel()]), variables, observed))
    term = torch.func.hessian(lambda v, seen: 0.5 * error(v[None, :9], v[None, 9:], seen[None])[0])
    mapped = torch.func.vmap(term, chunk_size=ELEMENTS)

    def values() -> Any:
        found = x.new_zeros(pattern.structure.nnz)
        return found.index_add_(0, positions, mapped(x[variables], observed).ravel())

    return in_matrix(pattern.structure, values)


def compiled(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """The same by `torch.compile`: of rows from the unchanged function, or of the products with all colours."""
    if workload.product == "batch":
        return torch.compile(plain(workload, arguments))
    return colours(workload, arguments, compiled=True)


def in_matrix(structure: Any, values: Callable[[], Any]) -> InMatrix:
    """A call that returns the CSR values of a known structure."""
    return InMatrix(values, lambda: sparse_values(values().cpu().numpy(), structure))


class Waiting:
    """A call that waits for the device."""

    def __init__(self, call: Callable[[], Any]):
        self.call = call
        if hasattr(call, "assembled"):
            self.assembled = call.assembled

    def __call__(self) -> Any:
        found = self.call()
        torch.cuda.synchronize()
        return found


WAYS = {"torch": plain, "torch-functional": functional, "torch-blocks": blocks, "torch-colours": colours,
        "torch-elements": elements, "torch-compiled": compiled, "torch-compiled-colours": compiled}


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """A call that computes the Hessian."""
    call = WAYS[peer.replace("-cuda", "")](workload, arguments)
    return Waiting(call) if DEVICE == "cuda" else call
