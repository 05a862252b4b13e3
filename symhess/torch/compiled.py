"""`hessian_jit` for PyTorch functions: looked at once for each signature of the arguments."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from symhess.api.arguments import normalized_argnums
from symhess.errors import ShapeMismatch
from symhess.graph.pytrees import flatten, flatten_in_order, static_key, unflatten
from symhess.torch.capture import capture, scalar
from symhess.torch.functional import leaves_of, outputs_as_tensors
from symhess.torch.kernels import Kernel, as_array, as_sparse, as_tensor, kernel_of
from symhess.torch.recording import Record, check_float


class Captured(NamedTuple):
    """The function at one signature: its record, and which argument each value from outside is (by its leaf)."""

    record: Record
    places: dict[int, int]


class Bound(NamedTuple):
    """The arguments of one call."""

    leaves: list[Any]
    spec: Any
    keys: tuple
    active: list[int]
    picked: Any

    def like(self, parts: list[Any]) -> Any:
        """One thing for every differentiated tensor, nested as they are."""
        return unflatten(self.picked, parts)


class CompiledFunction:
    """A PyTorch function with its derivatives, compiled; see `symhess.torch.hessian_jit`. Called, it gives the Hessian.
    """

    def __init__(self, func: Callable, argnums: int | tuple[int, ...], options: dict[str, Any]):
        functools.update_wrapper(self, func)
        self.func, self.argnums, self.options = func, argnums, options
        self._name = getattr(func, "__qualname__", type(func).__name__)
        self._captured: dict[tuple, Captured] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<symhess.torch.hessian_jit {self._name}>"

    # -- arguments ---------------------------------------------------------------------------------------------

    def _bind(self, args: tuple) -> Bound:
        positions = normalized_argnums(self.argnums, len(args))
        leaves, spec, keys = flatten_in_order(args)
        ends = np.cumsum([len(flatten(a)[0]) for a in args])
        active = [leaf for k in positions for leaf in range(ends[k - 1] if k else 0, ends[k])]
        for k in active:
            if not isinstance(leaves[k], torch.Tensor):
                raise TypeError(f"{self._name}: an argument that is differentiated holds a {type(leaves[k]).__name__}; "
                                "give tensors")
            check_float(leaves[k], f"an argument of {self._name} that is differentiated")
        order = args[positions[0]] if isinstance(self.argnums, int) else tuple(args[k] for k in positions)
        return Bound(leaves, spec, keys, active, flatten(order)[1])

    def _call(self, args: tuple) -> tuple[Bound, Kernel, tuple, tuple]:
        """(arguments, kernel, differentiated arrays, data)."""
        bound = self._bind(args)
        key = (bound.spec, bound.keys, *((tuple(x.shape), x.dtype, x.device) if isinstance(x, torch.Tensor) else
                                         static_key(x) for x in bound.leaves))
        with self._lock:
            found = self._captured.get(key)
            if found is None or found.record.facts or found.record.draws:
                found = self._captured[key] = self._capture(bound)
        record, places = found
        kernel = kernel_of(record, self._name, self.options)
        data = tuple(as_array(bound.leaves[places[k]] if k in places else record.outside[k]) for k in kernel.data)
        return bound, kernel, tuple(as_array(bound.leaves[k]) for k in bound.active), data

    def _capture(self, bound: Bound) -> Captured:
        """Run the function on tensors of its own, to know them by identity."""
        leaves = list(bound.leaves)
        numbers = [k for k, x in enumerate(leaves) if isinstance(x, torch.Tensor)]
        for k in numbers:
            (leaves[k],) = leaves_of([leaves[k]]) if k in bound.active else (leaves[k].detach(),)
        data = [k for k in numbers if k not in bound.active]
        args = unflatten(bound.spec, leaves)
        record = capture(lambda: self.func(*args), [leaves[k] for k in bound.active], [leaves[k] for k in data],
                         fold=False)
        own = {id(leaves[k]): k for k in data}
        places = {number: own[id(t)] for number, t in record.outside.items() if id(t) in own}
        return Captured(record, places)

    def _scalar(self, args: tuple) -> tuple[Bound, Kernel, tuple, tuple]:
        found = self._call(args)
        scalar(found[1].record, self._name)
        return found

    def _tensors(self, bound: Bound, parts: Any) -> list[torch.Tensor]:
        return [as_tensor(a, bound.leaves[k]) for a, k in zip(parts, bound.active)]

    # -- products ----------------------------------------------------------------------------------------------

    def __call__(self, *args: Any) -> Any:
        """The Hessian: a tensor, or blocks H[i][j] nested like the differentiated arguments twice."""
        bound, kernel, active, data = self._scalar(args)
        rows = kernel.function(active, data)
        return bound.like([bound.like([as_tensor(b, bound.leaves[k]) for b in row])
                           for row, k in zip(rows, bound.active)])

    def flat(self, *args: Any) -> torch.Tensor:
        """The Hessian as one matrix over the differentiated tensors laid end to end."""
        bound, kernel, active, data = self._scalar(args)
        return as_tensor(kernel.function.flat(active, data), bound.leaves[bound.active[0]])

    def sparse(self, *args: Any) -> torch.Tensor:
        """The same matrix as a tensor of layout `torch.sparse_csr`."""
        bound, kernel, active, data = self._scalar(args)
        return as_sparse(kernel.function.sparse(active, data), bound.leaves[bound.active[0]])

    def value(self, *args: Any) -> Any:
        """What the function returns."""
        bound, kernel, active, data = self._call(args)
        return outputs_as_tensors(kernel.record, kernel.function.value(active, data), bound.leaves[bound.active[0]])

    def grad(self, *args: Any) -> Any:
        """The gradient, nested like the differentiated arguments."""
        bound, kernel, active, data = self._scalar(args)
        return bound.like(self._tensors(bound, kernel.function.grad(active, data)))

    def value_and_grad(self, *args: Any) -> tuple[torch.Tensor, Any]:
        """Both, from one kernel."""
        bound, kernel, active, data = self._scalar(args)
        value, parts = kernel.function.value_and_grad(active, data)
        like = bound.leaves[bound.active[0]]
        return outputs_as_tensors(kernel.record, value, like), bound.like(self._tensors(bound, parts))

    def hvp(self, *args: Any) -> Any:
        """H v without forming H: `f.hvp(*args, v)`, v nested like the differentiated arguments, and so the result."""
        *others, v = args
        bound, kernel, active, data = self._scalar(tuple(others))
        vectors = flatten(v)[0]
        shapes = [bound.leaves[k].shape for k in bound.active]
        if [getattr(t, "shape", None) for t in vectors] != shapes:
            raise ShapeMismatch(f"v has shapes {[tuple(getattr(t, 'shape', ())) for t in vectors]}, what is "
                                f"differentiated has {[tuple(s) for s in shapes]}")
        return bound.like(self._tensors(bound, kernel.function.hvp(active, data, tuple(map(as_array, vectors)))))


def hessian_jit(func: Callable | None = None, *, argnums: int | tuple[int, ...] = 0, **options: Any) -> Any:
    """Compile the Hessian of a PyTorch function that returns one number; also a decorator.

    The function runs once for each signature of its arguments (shapes, dtypes, nesting, values that are no tensors).
    Tensors among the arguments, and tensors that it closes over, are read at every call; which tensors these are, and
    other Python values, are those of the first call. Where control flow depends on values it runs at every call.

    Args:
        func: takes tensors, tuples, lists and dicts of them, and static values.
        argnums: position, or positions, of what is differentiated; other tensors are data.
        options: `parallel`, `cache`, `fastmath`, `memory_budget`, `compile`, `target`, as in
            `symhess.hessian_jit`.

    Example:
        >>> import torch, symhess.torch
        >>> f = symhess.torch.hessian_jit(lambda x, weight: (weight * x**3).sum())
        >>> f(torch.tensor([1.0, 2.0]), torch.tensor(2.0))
        tensor([[12.,  0.],
                [ 0., 24.]])
    """
    if func is None:
        return functools.partial(hessian_jit, argnums=argnums, **options)
    return CompiledFunction(func, argnums, options)
