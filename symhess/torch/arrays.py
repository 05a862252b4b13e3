"""PyTorch's tensors in `symhess.functional`: functions captured, tensors as arrays, results as nodes of autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from symhess.api import inline
from symhess.api.transforms import Compiled
from symhess.functional.arguments import Arrays, Given, checked
from symhess.graph.pytrees import flatten, unflatten
from symhess.torch.functional import Call
from symhess.torch.kernels import Kernel, as_array


class Tensors(Arrays):
    """Tensors as the kind of array that results are made of; those of `create_graph=True` have a `grad_fn`."""

    def __init__(self, inputs: Sequence[torch.Tensor]):
        self.inputs = tuple(inputs)

    def array(self, x: Any, name: str, which: str) -> Any:
        """The memory of a tensor; TypeError for anything else."""
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"{which} of {name} must be a tensor or a tuple of tensors, not {type(x).__name__}")
        return as_array(x)

    def result(self, a: Any) -> torch.Tensor:
        """An array as a tensor on the device of the inputs."""
        return torch.from_numpy(np.asarray(a)).to(self.inputs[0].device)

    def differentiable(self, found: Any, again: Callable) -> Any:
        """The results as functions of the inputs in autograd's graph."""
        spec = flatten(found)[1]
        flat = Compiled(lambda *inputs: tuple(flatten(again(*inputs))[0]), "create_graph")
        return unflatten(spec, list(_Computed.apply(flat, *self.inputs)))


class _Computed(torch.autograd.Function):
    """A compiled function of arrays as a node of autograd's graph; its backward pass is such a node, too."""

    @staticmethod
    def forward(ctx: Any, function: Callable, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.function = function
        ctx.save_for_backward(*inputs)
        kind = Tensors(inputs)
        return tuple(kind.result(a) for a in function(*map(as_array, inputs)))

    @staticmethod
    def backward(ctx: Any, *covectors: torch.Tensor) -> tuple:
        inputs = ctx.saved_tensors
        count = len(inputs)

        def pulled(*arrays: Any) -> tuple:
            return inline.vjp(ctx.function, arrays[:count], tuple(arrays[count:]))[1]

        return None, *_Computed.apply(Compiled(pulled, "pullback"), *inputs, *covectors)


def as_returned(kernel: Kernel, active: tuple, data: tuple) -> Any:
    """What the captured function returned, in the shape that it had: kernels give a single element without one."""
    out, ref = kernel.fn(active, data), kernel.record.outputs
    return out if isinstance(out, tuple) else out.reshape(kernel.record.metas[ref.number].shape)


def captured(name: str, func: Callable, tensors: tuple, in_tuple: bool) -> tuple[Callable, Given]:
    """A PyTorch function as one of arrays, and the inputs of function `name` of `symhess.functional` for it.

    It runs once; equal records of what it computes give the same function.
    """
    kind = Tensors(tensors)
    arrays = checked(name, tensors, in_tuple, kind)
    call = Call(func, tensors if in_tuple else tensors[0], {})
    kernel, active, data = call.kernel()
    count = len(active)

    def of_arrays(*given: Any) -> Any:
        return as_returned(kernel, given[:count], given[count:])

    return kernel.products.setdefault("of arrays", of_arrays), Given(arrays, in_tuple, kind=kind, data=data)
