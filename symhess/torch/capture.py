"""Capture: run a PyTorch function once and get its Record, everything left as it was."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from symhess.errors import InputMutation, NonScalarOutput, UnsupportedOperation
from symhess.torch.places import place
from symhess.torch.recording import Record, Recorder, Ref, tensors_in
from symhess.torch.replay import has_rule

#: what is switched off while a function runs is switched off for all threads
_one_at_a_time = threading.RLock()
_DATA = torch.Tensor.data.__get__
_NUMBERS = {torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__, torch.Tensor.__dlpack__}


class Attributes(TorchFunctionMode):
    """Sees what does not reach the dispatcher as what it is: `.data`, and tensors that become arrays or lists."""

    def __init__(self, recorder: Recorder):
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func in _NUMBERS:
            self.recorder.fact("the numbers of a tensor as an array or a list")
        self.recorder.stopping = func == _DATA
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.recorder.stopping = False


@contextlib.contextmanager
def differentiable(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """A context in which these tensors require gradients, as autograd within the function may need."""
    frozen = [t for t in tensors if not t.requires_grad]
    for t in frozen:
        t.requires_grad_(True)
    try:
        yield
    finally:
        for t in frozen:
            t.requires_grad_(False)


@contextlib.contextmanager
def plain_operations() -> Iterator[None]:
    """A context in which attention and recurrent cells consist of operations, instead of being one."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def capture(run: Callable[[], Any], active: Sequence[torch.Tensor], varying: Sequence[torch.Tensor] = (),
            fold: bool = True) -> Record:
    """The record of `run()` with `active` as the tensors that are differentiated.

    `varying` are tensors that may change from call to call; `fold` as for `Recorder`.

    Raises:
        UnsupportedOperation, InputMutation: see `Recorder`.
    """
    if any(isinstance(m, Recorder) for m in torch.utils._python_dispatch._get_current_dispatch_mode_stack()):
        raise UnsupportedOperation("functions of symhess.torch cannot be used within a function that symhess.torch "
                                   f"looks at{place()}; use those of torch.func there")
    recorder = Recorder(active, has_rule, fold)
    try:
        with _one_at_a_time, plain_operations(), torch.inference_mode(False), torch.enable_grad(), \
                differentiable(active), Attributes(recorder), recorder:
            result = run()
    except RuntimeError as problem:
        if "leaf Variable" in str(problem) and "in-place" in str(problem):
            raise InputMutation("the function writes into a tensor that is differentiated; make a copy first: "
                                "x = x.clone()") from problem
        raise
    finally:
        recorder.restore()
    record = recorder.record
    recorder.look_for_custom_functions(tuple(tensors_in(result)))
    record.outputs = recorder.ref(_checked(result))
    record.varying = {k for k in map(recorder.number, varying) if k is not None}
    return record


def _checked(result: Any) -> Any:
    """A tensor, or a tuple of tensors."""
    if isinstance(result, torch.Tensor):
        return result
    if isinstance(result, tuple | list) and result and all(isinstance(t, torch.Tensor) for t in result):
        return tuple(result)
    raise NonScalarOutput(f"the function returned a {type(result).__name__}; return a tensor")


def scalar(record: Record, what: str) -> Record:
    """The record, if it has one number as its output."""
    if not isinstance(record.outputs, Ref):
        raise NonScalarOutput(f"{what} needs a function that returns one tensor, it returned {len(record.outputs)}")
    meta = record.metas[record.outputs.number]
    count = torch.Size(meta.shape).numel()
    if count != 1 or not meta.dtype.is_floating_point:
        raise NonScalarOutput(f"{what} needs a function that returns one floating number, it returned a tensor of "
                              f"shape {meta.shape} and dtype {meta.dtype}; reduce it, with .sum() or .mean()")
    return record
