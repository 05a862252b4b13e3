"""Curvature of the loss of a module: `symhess.curvature` for its parameters, by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from symhess.curvature import Curvature
from symhess.curvature import gauss_newton as gauss_newton_of
from symhess.torch.capture import capture, scalar
from symhess.torch.functional import outputs_as_tensors
from symhess.torch.kernels import Kernel, arrays_of, kernel_of
from symhess.torch.parameters import Params, chosen_parameters, loss_function, output_of
from symhess.torch.recording import Record, Ref, tensors_in


def curvature(model: torch.nn.Module, loss_fn: Callable, data: Any, target: Any = None, params: Params = None,
              **options: Any) -> Curvature:
    """The Hessian of `loss_fn(model(data), target)` at the model's parameters, without forming it: see `Curvature`.

    Arguments are those of `parameter_hessian`. All numbers are read now; after a step of training call again, which
    compiles nothing.

    Example:
        >>> import torch, symhess.torch
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> c = symhess.torch.curvature(model, torch.nn.MSELoss(), torch.eye(2), torch.zeros(2, 1))
        >>> c.names, float(c.trace())
        (['weight'], 2.0)
    """
    loss = loss_function(model, loss_fn, data, target, params, **options)
    active, given = loss.arrays()
    return Curvature(loss.kernel.function, active, given, names=loss.names)


def gauss_newton(model: torch.nn.Module, loss_fn: Callable, data: Any, target: Any = None,
                 params: Params = None) -> Curvature:
    """The Gauss-Newton matrix of the same loss: the Hessian with the model linearised; see `symhess.curvature`.

    Example:
        >>> import torch, symhess.torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Tanh())
        >>> G = symhess.torch.gauss_newton(model, torch.nn.MSELoss(), torch.eye(2), torch.zeros(2, 1))
        >>> bool(G.bottom(1)[0][0] > -1e-6)
        True
    """
    parameters = chosen_parameters(model, params)
    outputs = capture(lambda: output_of(model, data), list(parameters.values()), list(tensors_in(data)))
    if not isinstance(outputs.outputs, Ref):
        raise TypeError(f"gauss_newton needs a model that returns one tensor, it returned {len(outputs.outputs)}")
    model_kernel, active = kernel_of(outputs, "model", {}), arrays_of(list(parameters.values()))
    given = _data(model_kernel, outputs)
    found = model_kernel.function.value(active, given)
    leaf = outputs_as_tensors(outputs, found, next(iter(parameters.values()))).requires_grad_()
    loss = scalar(capture(lambda: loss_fn(leaf) if target is None else loss_fn(leaf, target), [leaf],
                          list(tensors_in(target))), "the Gauss-Newton matrix")
    loss_kernel = kernel_of(loss, "loss", {})
    of_model, of_loss = _composed(model_kernel, loss_kernel)
    return gauss_newton_of(of_model, of_loss, active, given, _data(loss_kernel, loss), names=list(parameters))


def _data(kernel: Kernel, record: Record) -> tuple:
    return arrays_of([record.outside[k] for k in kernel.data])


def _composed(model: Kernel, loss: Kernel) -> tuple[Callable, Callable]:
    """Both kernels as functions of arrays, the same objects at every call: they are what is compiled."""
    def of_model(params: tuple, model_data: tuple, loss_data: tuple) -> Any:
        return model.returned(params, model_data)

    def of_loss(outputs: Any, model_data: tuple, loss_data: tuple) -> Any:
        return loss.fn((outputs,), loss_data)

    return (model.products.setdefault("model", of_model), loss.products.setdefault("loss", of_loss))
