"""Derivatives of PyTorch functions, as `torch.autograd.functional` spells them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from symhess.api import transforms
from symhess.errors import ShapeMismatch
from symhess.torch.capture import capture, scalar
from symhess.torch.kernels import Kernel, arrays_of, as_array, as_sparse, as_tensor, kernel_of
from symhess.torch.recording import Record, Ref, check_float


class Inputs:
    """One tensor, a tuple of tensors, or a dict of them, which the function takes as its one argument."""

    def __init__(self, given: Any):
        self.given = given
        if isinstance(given, torch.Tensor):
            self.tensors = [given]
        elif isinstance(given, dict):
            self.tensors = list(given.values())
        elif isinstance(given, tuple | list):
            self.tensors = list(given)
        else:
            raise TypeError(f"inputs is a {type(given).__name__}; give a tensor, or a tuple or dict of tensors")
        for k, t in enumerate(self.tensors):
            if not isinstance(t, torch.Tensor):
                raise TypeError(f"input {k} is a {type(t).__name__}; give tensors")
            check_float(t, f"input {k}")

    def like(self, parts: Sequence[Any]) -> Any:
        """One thing for every tensor, nested like the inputs."""
        if isinstance(self.given, torch.Tensor):
            return parts[0]
        return dict(zip(self.given, parts)) if isinstance(self.given, dict) else tuple(parts)

    def call(self, func: Callable, tensors: Sequence[torch.Tensor]) -> Any:
        nested = self.like(tensors)
        return func(*nested) if isinstance(nested, tuple) else func(nested)

    def vectors(self, v: Any) -> list[torch.Tensor]:
        """v, which is nested like the inputs, as a list; ShapeMismatch where it does not fit."""
        parts = Inputs(v).tensors
        if [t.shape for t in parts] != [t.shape for t in self.tensors]:
            raise ShapeMismatch(f"v has shapes {[tuple(t.shape) for t in parts]}, the inputs have "
                                f"{[tuple(t.shape) for t in self.tensors]}")
        return parts


def leaves_of(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Tensors of the same memory that require gradients."""
    with torch.inference_mode(False):
        return [(t.clone() if t.is_inference() else t.detach()).requires_grad_() for t in tensors]


class Call:
    """A function captured at its inputs: the kernel and the arrays to call it with."""

    def __init__(self, func: Callable, inputs: Any, options: dict[str, Any]):
        self.inputs = Inputs(inputs)
        leaves = leaves_of(self.inputs.tensors)
        self.record = capture(lambda: self.inputs.call(func, leaves), leaves)
        self.name = getattr(func, "__qualname__", type(func).__name__)
        self.options = options

    def kernel(self) -> tuple[Kernel, tuple, tuple]:
        """(kernel, differentiated arrays, data)."""
        kernel = kernel_of(self.record, self.name, self.options)
        outside = self.record.outside
        return kernel, arrays_of([outside[k] for k in self.record.active]), arrays_of([outside[k] for k in kernel.data])

    def one_number(self, what: str) -> tuple[Kernel, tuple, tuple]:
        scalar(self.record, what)
        return self.kernel()

    def output(self, value: Any) -> Any:
        """The value of the function as tensors."""
        return outputs_as_tensors(self.record, value, self.inputs.tensors[0])

    def block(self, a: Any, i: int) -> torch.Tensor:
        return as_tensor(a, self.inputs.tensors[i])


def outputs_as_tensors(record: Record, value: Any, like: torch.Tensor) -> Any:
    """What the function returned, in the shapes and dtypes that it has in PyTorch."""
    def one(ref: Any, a: Any) -> torch.Tensor:
        meta = record.metas[ref.number]
        return torch.from_numpy(np.asarray(a).reshape(meta.shape)).to(device=like.device, dtype=meta.dtype)

    many = not isinstance(record.outputs, Ref)
    return tuple(map(one, record.outputs, value)) if many else one(record.outputs, value)


def hessian(func: Callable, inputs: Any, **options: Any) -> Any:
    """The Hessian of a PyTorch function that returns one number.

    Args:
        func: a function of tensors that returns a tensor with one element. It runs at every call, so its control flow
            and the tensors that it closes over are what they are then; what it computes is compiled once.
        inputs: a tensor, a tuple of tensors, or a dict of tensors, all float32 or float64.
        options: `parallel`, `cache`, `fastmath`, `memory_budget`, `compile`, as in `symhess.hessian_jit`.

    Returns:
        A tensor of shape x.shape + x.shape for one input x, else blocks `H[i][j]` of shape x_i.shape + x_j.shape,
        nested like the inputs twice, in the dtype and on the device of x_i.

    Raises:
        NonScalarOutput: the function returns something else than one floating number.
        UnsupportedOperation: an operation has no rule; it is named, with the user's line.
        InputMutation: the function writes into its inputs.
        DTypeMismatch: an input is neither float32 nor float64.

    Example:
        >>> import torch, symhess.torch
        >>> symhess.torch.hessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    call = Call(func, inputs, options)
    kernel, active, data = call.one_number("hessian")
    H = kernel.function(active, data)
    return call.inputs.like([call.inputs.like([call.block(b, i) for b in row]) for i, row in enumerate(H)])


def sparse_hessian(func: Callable, inputs: Any, **options: Any) -> torch.Tensor:
    """The Hessian over the inputs laid end to end, as a tensor of layout `torch.sparse_csr`.

    Its pattern is found in the function; nothing is stored, or computed, where the Hessian is zero for every input.
    Arguments, options and errors are those of `hessian`.

    Example:
        >>> import torch, symhess.torch
        >>> H = symhess.torch.sparse_hessian(lambda x: (x[1:] * x[:-1]).sum(), torch.ones(100_000))
        >>> H.shape, H.layout, len(H.values())
        (torch.Size([100000, 100000]), torch.sparse_csr, 199998)
    """
    call = Call(func, inputs, options)
    kernel, active, data = call.one_number("sparse_hessian")
    return as_sparse(kernel.function.sparse(active, data), call.inputs.tensors[0])


def gradient(func: Callable, inputs: Any, **options: Any) -> Any:
    """The gradient of a PyTorch function that returns one number, nested like the inputs.

    Arguments, options and errors are those of `hessian`.

    Example:
        >>> import torch, symhess.torch
        >>> symhess.torch.gradient(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
        tensor([ 3., 12.])
    """
    call = Call(func, inputs, options)
    kernel, active, data = call.one_number("gradient")
    return call.inputs.like([call.block(g, i) for i, g in enumerate(kernel.function.grad(active, data))])


def hvp(func: Callable, inputs: Any, v: Any, **options: Any) -> tuple[torch.Tensor, Any]:
    """(value, H v): the product of the Hessian with v, which is nested like the inputs, without forming H.

    Arguments, options and errors are those of `hessian`; ShapeMismatch for a v that does not fit.

    Example:
        >>> import torch, symhess.torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
        >>> symhess.torch.hvp(lambda x: (x**3).sum(), x, v)
        (tensor(9.), tensor([6., 0.]))
    """
    call = Call(func, inputs, options)
    vectors = arrays_of(call.inputs.vectors(v))
    kernel, active, data = call.one_number("hvp")
    moved = kernel.function.hvp(active, data, vectors)
    value = call.output(kernel.function.value(active, data))
    return value, call.inputs.like([call.block(m, i) for i, m in enumerate(moved)])


def vhp(func: Callable, inputs: Any, v: Any, **options: Any) -> tuple[torch.Tensor, Any]:
    """(value, v H): equal to `hvp`, since the Hessian is symmetric.

    Example:
        >>> import torch, symhess.torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
        >>> symhess.torch.vhp(lambda x: (x**3).sum(), x, v)[1]
        tensor([6., 0.])
    """
    return hvp(func, inputs, v, **options)


# -- functions with tensors as results -----------------------------------------------------------------------------


def _transformed(kernel: Kernel, name: str) -> Any:
    """A transform of the kernel's function, made once."""
    found = kernel.products.get(name)
    if found is None:
        fn = kernel.fn
        made = {
            "jacobian": lambda: transforms.jacfwd(fn),
            "jvp": lambda: transforms.Compiled(
                lambda active, data, moves: transforms.jvp(lambda a: fn(a, data), (active,), (moves,)), "jvp"),
            "vjp": lambda: transforms.Compiled(
                lambda active, data, covectors: _pulled(fn, active, data, covectors), "vjp"),
        }
        found = kernel.products[name] = made[name]()
    return found


def _pulled(fn: Callable, active: tuple, data: tuple, covectors: Any) -> Any:
    from symhess.api import inline

    value, pulled, _ = inline.vjp(lambda a: fn(a, data), (active,), covectors)
    return value, pulled[0]


def jacobian(func: Callable, inputs: Any, **options: Any) -> Any:
    """The Jacobian of a PyTorch function that returns a tensor, or a tuple of tensors.

    Returns:
        A tensor of shape out.shape + x.shape for one output and one input; several inputs give something nested like
        them, several outputs a tuple of such.

    Arguments, options and errors are those of `hessian`.

    Example:
        >>> import torch, symhess.torch
        >>> symhess.torch.jacobian(lambda x: x * x[0], torch.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [2., 1.]])
    """
    call = Call(func, inputs, options)
    kernel, active, data = call.kernel()
    found = _transformed(kernel, "jacobian")(active, data)

    def one(ref: Any, blocks: Sequence[Any]) -> Any:
        shape = call.record.metas[ref.number].shape
        return call.inputs.like([call.block(np.reshape(b, (*shape, *t.shape)), i)
                                 for i, (b, t) in enumerate(zip(blocks, call.inputs.tensors))])

    outputs = call.record.outputs
    return one(outputs, found) if isinstance(outputs, Ref) else tuple(map(one, outputs, found))


def jvp(func: Callable, inputs: Any, v: Any, **options: Any) -> tuple[Any, Any]:
    """(outputs, J v), for v nested like the inputs; arguments, options and errors are those of `jacobian`.

    Example:
        >>> import torch, symhess.torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
        >>> symhess.torch.jvp(lambda x: x * x[0], x, v)
        (tensor([1., 2.]), tensor([2., 2.]))
    """
    call = Call(func, inputs, options)
    kernel, active, data = call.kernel()
    value, moved = _transformed(kernel, "jvp")(active, data, arrays_of(call.inputs.vectors(v)))
    return call.output(value), call.output(moved)


def vjp(func: Callable, inputs: Any, v: Any, **options: Any) -> tuple[Any, Any]:
    """(outputs, v J), for v nested like the outputs; arguments, options and errors are those of `jacobian`.

    Example:
        >>> import torch, symhess.torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
        >>> symhess.torch.vjp(lambda x: x * x[0], x, v)
        (tensor([1., 2.]), tensor([2., 0.]))
    """
    call = Call(func, inputs, options)
    kernel, active, data = call.kernel()
    many = not isinstance(call.record.outputs, Ref)
    refs = call.record.outputs if many else (call.record.outputs,)
    given = list(v) if isinstance(v, tuple | list) else [v]
    shapes = [call.record.metas[r.number].shape for r in refs]
    if [tuple(t.shape) for t in given] != shapes:
        raise ShapeMismatch(f"v has shapes {[tuple(t.shape) for t in given]}, the outputs have {shapes}")
    covectors = [as_array(t) for t in given]
    single = covectors[0].reshape(()) if covectors[0].size == 1 else covectors[0]
    value, pulled = _transformed(kernel, "vjp")(active, data, tuple(covectors) if many else single)
    return call.output(value), call.inputs.like([call.block(p, i) for i, p in enumerate(pulled)])
