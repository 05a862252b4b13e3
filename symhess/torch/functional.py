"""Derivatives of PyTorch functions, by their names in `torch.autograd.functional`.

Products and Jacobians are those of `symhess.functional`, for the function that was captured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from symhess import functional
from symhess.errors import ShapeMismatch
from symhess.functional.arguments import Given
from symhess.torch.capture import capture, scalar
from symhess.torch.kernels import Kernel, arrays_of, as_sparse, as_tensor, kernel_of
from symhess.torch.recording import Record, Ref, check_float


class Inputs:
    """One tensor, a tuple of tensors, or a dict of them, which the function takes as its one argument."""

    def __init__(self, given: Any, what: str = "inputs"):
        self.given = given
        if isinstance(given, torch.Tensor):
            self.tensors = [given]
        elif isinstance(given, dict):
            self.tensors = list(given.values())
        elif isinstance(given, tuple | list):
            self.tensors = list(given)
        else:
            raise TypeError(f"{what} is a {type(given).__name__}; give a tensor, or a tuple or dict of tensors")
        for k, t in enumerate(self.tensors):
            if not isinstance(t, torch.Tensor):
                raise TypeError(f"part {k} of {what} is a {type(t).__name__}; give tensors")
            check_float(t, f"part {k} of {what}")

    def like(self, parts: Sequence[Any]) -> Any:
        """One thing for every tensor, nested like the inputs."""
        if isinstance(self.given, torch.Tensor):
            return parts[0]
        return dict(zip(self.given, parts)) if isinstance(self.given, dict) else tuple(parts)

    def call(self, func: Callable, tensors: Sequence[torch.Tensor]) -> Any:
        nested = self.like(tensors)
        return func(*nested) if isinstance(nested, tuple) else func(nested)

    def arrays(self) -> tuple:
        return arrays_of(self.tensors)

    def vectors(self, v: Any) -> tuple:
        """v, which is nested like the inputs, as arrays; ShapeMismatch where it is nested otherwise."""
        if isinstance(self.given, dict) and isinstance(v, dict):
            if v.keys() != self.given.keys():
                raise ShapeMismatch(f"v has the keys {list(v)}, the inputs have {list(self.given)}")
            v = {k: v[k] for k in self.given}
        return Inputs(v, "v").arrays()


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

    def given(self) -> tuple[Kernel, Given]:
        """The kernel, and the inputs of its `of_arrays` as `symhess.functional` takes them."""
        kernel, active, data = self.kernel()
        return kernel, Given(active, True, data=data, settled=True, options=self.options)

    def output(self, value: Any) -> Any:
        """The value of the function as tensors."""
        return outputs_as_tensors(self.record, value, self.inputs.tensors[0])

    def parts(self, arrays: Sequence[Any]) -> Any:
        """One array for each input as tensors, nested like the inputs."""
        return self.inputs.like(list(map(as_tensor, arrays, self.inputs.tensors)))


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
        options: `parallel`, `cache`, `fastmath`, `memory_budget`, `compile`, `target`, as in
            `symhess.hessian_jit`.

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
    rows = [[as_tensor(b, x) for b in row] for x, row in zip(call.inputs.tensors, H)]
    return call.inputs.like([call.inputs.like(row) for row in rows])


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
    return call.parts(kernel.function.grad(active, data))


def hvp(func: Callable, inputs: Any, v: Any, **options: Any) -> tuple[torch.Tensor, Any]:
    """(value, H v): the product of the Hessian with v, which is nested like the inputs, without forming H.

    Arguments, options and errors are those of `hessian`; ShapeMismatch for a v that does not fit.

    Example:
        >>> import torch, symhess.torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
        >>> symhess.torch.hvp(lambda x: (x**3).sum(), x, v)
        (tensor(9.), tensor([6., 0.]))
    """
    return _second_product("hvp", func, inputs, v, options)


def vhp(func: Callable, inputs: Any, v: Any, **options: Any) -> tuple[torch.Tensor, Any]:
    """(value, v H): equal to `hvp`, since the Hessian is symmetric.

    Example:
        >>> import torch, symhess.torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
        >>> symhess.torch.vhp(lambda x: (x**3).sum(), x, v)[1]
        tensor([6., 0.])
    """
    return _second_product("vhp", func, inputs, v, options)


def _second_product(name: str, func: Callable, inputs: Any, v: Any, options: dict[str, Any]) -> tuple:
    call = Call(func, inputs, options)
    scalar(call.record, name)
    kernel, given = call.given()
    value, moved = functional.hvp(kernel.of_arrays, given, call.inputs.vectors(v))
    return call.output(value), call.parts(moved)


# -- functions with tensors as results -----------------------------------------------------------------------------


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
    kernel, given = call.given()
    rows = functional.jacobian(kernel.of_arrays, given)
    return call.parts(rows) if isinstance(call.record.outputs, Ref) else tuple(map(call.parts, rows))


def jvp(func: Callable, inputs: Any, v: Any, **options: Any) -> tuple[Any, Any]:
    """(outputs, J v), for v nested like the inputs; arguments, options and errors are those of `jacobian`.

    Example:
        >>> import torch, symhess.torch
        >>> x, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
        >>> symhess.torch.jvp(lambda x: x * x[0], x, v)
        (tensor([1., 2.]), tensor([2., 2.]))
    """
    call = Call(func, inputs, options)
    kernel, given = call.given()
    value, moved = functional.jvp(kernel.of_arrays, given, call.inputs.vectors(v))
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
    kernel, given = call.given()
    value, pulled = functional.vjp(kernel.of_arrays, given, Inputs(v, "v").arrays())
    return call.output(value), call.parts(pulled)
