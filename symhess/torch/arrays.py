"""PyTorch's tensors in `symhess.functional`: functions captured, tensors as arrays, results as nodes of autograd."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace as changed
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
    """Tensors as the kind of array that results are made of; those of `create_graph=True` have a `grad_fn`.

    `outside` are the tensors that the function took from outside, of which `Given.data` are the arrays.
    """

    def __init__(self, inputs: Sequence[torch.Tensor], kernel: Kernel | None = None, outside: Sequence[Any] = ()):
        self.inputs, self.kernel, self.outside = tuple(inputs), kernel, tuple(map(_tensor, outside))

    def array(self, x: Any, name: str, which: str) -> Any:
        """The memory of a tensor; TypeError for anything else."""
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"{which} of {name} must be a tensor or a tuple of tensors, not {type(x).__name__}")
        return as_array(x)

    def result(self, a: Any) -> torch.Tensor:
        """An array as a tensor on the device of the inputs."""
        return torch.from_numpy(np.asarray(a)).to(self.inputs[0].device)

    def differentiable(self, found: Any, func: Callable, asked: Given, along: Given | None, key: Hashable,
                       again: Callable[[Callable, Any, Any], Any]) -> Any:
        """The results in autograd's graph, as functions of the inputs, of v, and of what the function closed over."""
        assert self.kernel is not None
        leaves, spec = flatten(found)
        vectors = along.given if along else ()
        whole = ("create_graph", key, spec, len(vectors))
        function = self.kernel.products.get(whole)
        if function is None:
            function = self.kernel.products[whole] = Function(_anew(func, asked, along, again))
        return unflatten(spec, list(_Computed.apply(function, leaves, *self.inputs, *vectors, *self.outside)))


def _anew(func: Callable, asked: Given, along: Given | None, again: Callable) -> Callable:
    """(*inputs, *v, *data) -> the results in a row."""
    count, ends = len(asked.arrays), len(asked.arrays) + (len(along.given) if along else 0)
    asked = changed(asked, arrays=(), data=())
    along = along and changed(along, arrays=along.arrays if not along.given else (), given=())

    def anew(*given: Any) -> tuple:
        v = along and along.like(given[count:ends] or along.arrays)
        return tuple(flatten(again(asked.closed(func, given[ends:]), asked.like(given[:count]), v))[0])

    return anew


class Function:
    """A function of arrays, compiled when it is called; its pullbacks are such functions, too."""

    def __init__(self, fn: Callable):
        self.fn, self.compiled = fn, Compiled(fn, "create_graph")
        self._pullbacks: dict[tuple[bool, ...], Function] = {}

    def pullback(self, needed: tuple[bool, ...]) -> Function:
        """(*arguments, *cotangents) -> the cotangents of the arguments that need one."""
        found = self._pullbacks.get(needed)
        if found is None:
            found = self._pullbacks[needed] = Function(self._pulled(needed))
        return found

    def _pulled(self, needed: tuple[bool, ...]) -> Callable:
        places = [k for k, asked in enumerate(needed) if asked]

        def pulled(*arrays: Any) -> tuple:
            given, bars = arrays[:len(needed)], arrays[len(needed):]

            def of_needed(*parts: Any) -> tuple:
                new = dict(zip(places, parts))
                return self.fn(*(new.get(k, a) for k, a in enumerate(given)))

            return inline.vjp(of_needed, tuple(given[k] for k in places), tuple(bars))[1]

        return pulled


class _Computed(torch.autograd.Function):
    """A function of arrays, or its values that are known already, as a node of autograd's graph.

    Its backward pass is such a node, too.
    """

    @staticmethod
    def forward(ctx: Any, function: Function, known: Sequence[Any] | None,
                *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.function = function
        ctx.save_for_backward(*given)
        values = function.compiled(*map(as_array, given)) if known is None else known
        return tuple(map(Tensors(given).result, values))

    @staticmethod
    def backward(ctx: Any, *covectors: torch.Tensor) -> tuple:
        needed = ctx.needs_input_grad[2:]
        pulled = iter(_Computed.apply(ctx.function.pullback(needed), None, *ctx.saved_tensors, *covectors))
        return None, None, *(next(pulled) if asked else None for asked in needed)


def _tensor(t: Any) -> torch.Tensor:
    """Something that a function took from outside; numbers of Python's are such things."""
    return t if isinstance(t, torch.Tensor) else torch.tensor(t, dtype=torch.float64)


def captured(name: str, func: Callable, tensors: tuple, in_tuple: bool) -> tuple[Callable, Given]:
    """A PyTorch function as one of arrays, and the inputs of function `name` of `symhess.functional` for it.

    It runs once; equal records of what it computes give the same function.
    """
    checked(name, tensors, in_tuple, Tensors(tensors))
    call = Call(func, tensors if in_tuple else tensors[0], {})
    kernel, given = call.given()
    kind = Tensors(tensors, kernel, [call.record.outside[k] for k in kernel.data])
    return kernel.of_arrays, changed(given, in_tuple=in_tuple, kind=kind)
