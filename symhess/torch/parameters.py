"""Derivatives of a loss with respect to the parameters of a module."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from symhess.curvature import Curvature
from symhess.curvature.progress import Progress
from symhess.errors import BudgetExceeded, ConcretizationError, ShapeMismatch
from symhess.torch.capture import capture, scalar
from symhess.torch.kernels import Kernel, arrays_of, as_array, as_tensor, kernel_of
from symhess.torch.recording import check_float, tensors_in

Params = Iterable[str] | Callable[[str, torch.nn.Parameter], bool] | None


def chosen_parameters(model: torch.nn.Module, params: Params) -> dict[str, torch.nn.Parameter]:
    """Name -> parameter: those that require gradients, or those whose names, or patterns of names, are given.

    A parameter with several names is there once, under the first of them that was asked for.
    """
    every = dict(model.named_parameters(remove_duplicate=False))
    if params is None:
        wanted = [n for n, p in every.items() if p.requires_grad]
    elif callable(params):
        wanted = [n for n, p in every.items() if params(n, p)]
    else:
        wanted = [n for pattern in ([params] if isinstance(params, str) else params) for n in _matching(pattern, every)]
    found: dict[int, tuple[str, torch.nn.Parameter]] = {}
    for n in wanted:
        check_float(every[n], f"parameter {n}")
        found.setdefault(id(every[n]), (n, every[n]))
    if not found:
        raise ValueError("no parameter to differentiate: none requires gradients, or params selects none of "
                         f"{', '.join(every) or 'none'}")
    return dict(found.values())


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a name or a regular expression stands for."""
    names = list(names)
    found = [pattern] if pattern in names else [n for n in names if re.fullmatch(pattern, n)]
    if not found:
        raise ValueError(f"params names {pattern!r}, which is no parameter; there are {', '.join(names)}")
    return found


def output_of(model: Callable, data: Any) -> Any:
    """model(data): tuples are several arguments, dicts are arguments by name."""
    if isinstance(data, tuple | list):
        return model(*data)
    return model(**data) if isinstance(data, dict) else model(data)


class LossFunction:
    """The loss of a model as a compiled function of its parameters; see `loss_function`.

    Attributes:
        parameters: name -> the model's own parameter, in the order of rows of the Hessian.
        names: their names.
        kernel: what was compiled; `kernel.function(params, data)` is a HessianFunction of two tuples of arrays.
    """

    def __init__(self, model: torch.nn.Module, loss_fn: Callable, data: Any, target: Any, params: Params,
                 options: dict[str, Any], fold: bool = False):
        self.model, self.loss_fn, self.options, self._fold = model, loss_fn, options, fold
        self.parameters = chosen_parameters(model, params)
        self.names = tuple(self.parameters)
        self.update(data, target)

    def update(self, data: Any, target: Any = None) -> None:
        """Other data: the model runs once on them; what is compiled for their shapes is used again."""
        self._given = data, target

        def run() -> Any:
            output = output_of(self.model, data)
            return self.loss_fn(output) if target is None else self.loss_fn(output, target)

        self.record = scalar(capture(run, list(self.parameters.values()), list(tensors_in(data, target)), self._fold),
                             "the Hessian of a loss")

    # -- arrays ------------------------------------------------------------------------------------------------

    @property
    def kernel(self) -> Kernel:
        if self.record.facts and not self._fold:
            self.update(*self._given)  # what depends on values is looked at anew
        return kernel_of(self.record, getattr(self.loss_fn, "__name__", type(self.loss_fn).__name__), self.options)

    def arrays(self, params: Any = None) -> tuple[tuple, tuple]:
        """(parameters, data) as the arrays that `kernel.function` takes, of the memory of the tensors as it is now."""
        return self._call(params)[1:]

    def _call(self, params: Any) -> tuple[Kernel, tuple, tuple]:
        kernel = self.kernel
        given = self._values(params)
        return kernel, arrays_of(given), arrays_of([self.record.outside[k] for k in kernel.data])

    def _values(self, params: Any) -> list[torch.Tensor]:
        if params is None:
            return list(self.parameters.values())
        if self.record.facts:
            what, where = self.record.facts[0]
            raise ConcretizationError(f"other parameters than the model's own were given, but {what} decides what is "
                                      f"computed{where}; load them into the model first")
        return self._like_parameters(params, "params")

    def _like_parameters(self, given: Any, what: str) -> list[torch.Tensor]:
        """A dict by name, a sequence, or one flat tensor, as a list of tensors like the parameters."""
        shapes = [p.shape for p in self.parameters.values()]
        if isinstance(given, torch.Tensor | np.ndarray):
            flat = torch.as_tensor(given)
            if flat.ndim != 1 or flat.numel() != self.size:
                raise ShapeMismatch(f"{what} has shape {tuple(flat.shape)}; give a flat one of {self.size} elements, "
                                    "or one entry for each parameter")
            return [part.reshape(s) for part, s in zip(flat.split([s.numel() for s in shapes]), shapes)]
        if isinstance(given, dict):
            missing = [n for n in self.names if n not in given]
            if missing or len(given) != len(self.names):
                raise ShapeMismatch(f"{what} has the names {list(given)}; give {list(self.names)}")
        parts = [torch.as_tensor(p) for p in (map(given.get, self.names) if isinstance(given, dict) else given)]
        if [p.shape for p in parts] != shapes:
            raise ShapeMismatch(f"{what} has shapes {[tuple(p.shape) for p in parts]}, the parameters have "
                                f"{[tuple(s) for s in shapes]}")
        return parts

    @property
    def size(self) -> int:
        """The number of parameters in all."""
        return sum(p.numel() for p in self.parameters.values())

    # -- products ----------------------------------------------------------------------------------------------

    def value(self, params: Any = None) -> torch.Tensor:
        """The loss, of the model's parameters or of others (a dict by name, a sequence, or one flat tensor)."""
        kernel, active, data = self._call(params)
        return self._number(kernel.function.value(active, data))

    def gradient(self, params: Any = None) -> dict[str, torch.Tensor]:
        """Name -> gradient."""
        kernel, active, data = self._call(params)
        return self._named(kernel.function.grad(active, data))

    def value_and_gradient(self, params: Any = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Both, from one kernel."""
        kernel, active, data = self._call(params)
        value, parts = kernel.function.value_and_grad(active, data)
        return self._number(value), self._named(parts)

    def hvp(self, v: Any, params: Any = None) -> Any:
        """H v: a flat tensor for a flat v, else name -> part."""
        kernel, active, data = self._call(params)
        vectors = tuple(as_array(t) for t in self._like_parameters(v, "v"))
        moved = kernel.function.hvp(active, data, vectors)
        if isinstance(v, torch.Tensor):
            return torch.cat([t.reshape(-1) for t in self._named(moved).values()])
        return self._named(moved)

    def hessian(self, params: Any = None, blocks: bool = True, progress: Progress = False) -> Any:
        """H[name_i][name_j] of shape p_i.shape + p_j.shape, or one matrix with `blocks=False`.

        With `progress` (True for a bar, or a function of the steps done and those in all) it is computed in bands of
        rows, by `Curvature.hessian`.
        """
        kernel, active, data = self._call(params)
        like = next(iter(self.parameters.values()))
        try:
            if progress is not False:
                found = Curvature(kernel.function, active, data, names=self.names).hessian(None, blocks, progress)
                rows = [row.values() for row in found.values()] if blocks else found
            else:
                rows = kernel.function(active, data) if blocks else kernel.function.flat(active, data)
            return {n: self._named(row) for n, row in zip(self.names, rows)} if blocks else as_tensor(rows, like)
        except BudgetExceeded as problem:
            raise BudgetExceeded(f"the Hessian of {self.size:,} parameters does not fit: raise memory_budget=, choose "
                                 "params=, or take symhess.torch.curvature(...), which has its blocks, products and "
                                 "spectrum, and streams it to a file") from problem

    def _named(self, parts: Any) -> dict[str, torch.Tensor]:
        return {n: as_tensor(a, p) for (n, p), a in zip(self.parameters.items(), parts)}

    def _number(self, value: Any) -> torch.Tensor:
        return as_tensor(value, next(iter(self.parameters.values())))


def loss_function(model: torch.nn.Module, loss_fn: Callable, data: Any, target: Any = None, params: Params = None,
                  **options: Any) -> LossFunction:
    """The loss of a model on given data, as a function of its parameters, captured once.

    Every product reads parameters, buffers and data anew, so steps of an optimiser are seen. The Python code of the
    model is not run again: after other changes of it (`model.eval()`, other modules), and for other data, call
    `update(data, target)`, which also draws the masks of dropout. Arguments are those of `parameter_hessian`.

    Example:
        >>> import torch, symhess.torch
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> loss = symhess.torch.loss_function(model, torch.nn.MSELoss(), torch.eye(2), torch.zeros(2, 1))
        >>> loss.hvp({"weight": torch.tensor([[1.0, 2.0]])})
        {'weight': tensor([[1., 2.]])}
    """
    return LossFunction(model, loss_fn, data, target, params, options)


def parameter_hessian(model: torch.nn.Module, loss_fn: Callable, data: Any, target: Any = None, params: Params = None,
                      blocks: bool = True, progress: Progress = False, **options: Any) -> Any:
    """The Hessian of `loss_fn(model(data), target)` with respect to the parameters of the model.

    The model runs as it is (its mode, buffers and frozen parameters count) and stays as it is: running statistics are
    not updated, gradients are not touched. It runs once at every call; what it computes is compiled once.

    Args:
        model: a module whose parameters are float32 or float64.
        loss_fn: takes what the model returns and the target, and returns one number.
        data: what the model is called with: a tensor, a tuple of arguments, or a dict of arguments by name.
        target: the second argument of `loss_fn`; None where it takes one.
        params: names of parameters, regular expressions that match whole names, or a function of (name, parameter);
            by default all parameters that require gradients. A shared parameter is there once.
        blocks: False for one matrix over the parameters laid end to end.
        progress: True for a bar on standard error, or a function that is called with (bands of rows done, bands in
            all). The Hessian is then computed in bands of rows, as by `symhess.torch.curvature(...).hessian()`.
        options: `parallel`, `cache`, `fastmath`, `memory_budget`, `compile`, as in `symhess.hessian_jit`.

    Returns:
        Nested dicts `H[name_i][name_j]` of tensors of shape p_i.shape + p_j.shape, or one matrix.

    Raises:
        BudgetExceeded: the Hessian is larger than `memory_budget`; `symhess.torch.curvature` has it in pieces.
        NonScalarOutput: the loss is not one floating number.
        UnsupportedOperation: an operation has no rule; it is named, with the user's line.
        ValueError: `params` names or selects no parameter.

    Example:
        >>> import torch, symhess.torch
        >>> model = torch.nn.Linear(2, 1)
        >>> H = symhess.torch.parameter_hessian(model, torch.nn.MSELoss(), torch.eye(2), torch.zeros(2, 1))
        >>> H["weight"]["bias"].shape, H["bias"]["bias"]
        (torch.Size([1, 2, 1]), tensor([[2.]]))
    """
    return LossFunction(model, loss_fn, data, target, params, options, fold=True).hessian(None, blocks, progress)


def parameter_gradient(model: torch.nn.Module, loss_fn: Callable, data: Any, target: Any = None, params: Params = None,
                       **options: Any) -> dict[str, torch.Tensor]:
    """Name -> gradient of `loss_fn(model(data), target)`; arguments are those of `parameter_hessian`.

    Example:
        >>> import torch, symhess.torch
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> symhess.torch.parameter_gradient(model, lambda out: out.sum(), torch.eye(2))
        {'weight': tensor([[1., 1.]])}
    """
    return LossFunction(model, loss_fn, data, target, params, options, fold=True).gradient()


def parameter_hvp(model: torch.nn.Module, loss_fn: Callable, data: Any, target: Any = None, *, v: Any,
                  params: Params = None, **options: Any) -> Any:
    """The product of the Hessian with v, a dict by name or one flat tensor; see `parameter_hessian`.

    Example:
        >>> import torch, symhess.torch
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> symhess.torch.parameter_hvp(model, torch.nn.MSELoss(), torch.eye(2), torch.zeros(2, 1), v=torch.ones(2))
        tensor([1., 1.])
    """
    return LossFunction(model, loss_fn, data, target, params, options, fold=True).hvp(v)
