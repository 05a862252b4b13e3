"""The table of rules: ATen operation -> NumPy code on traced arrays.

A rule has the name of an operation, or `name.overload`, and takes the operation's arguments in their order. In-place
operations have the rule of the operation that returns its result. What concerns memory and dtypes is left out of the
arguments: results are cast to what PyTorch gave.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from symhess.torch.recording import name_of
from symhess.trace import Tracer

#: name of an operation -> rule(outs, *args, **kwargs), where outs are shape and dtype of each result
RULES: dict[str, Callable] = {}
#: arguments that say where and how a result is stored
STORAGE = frozenset(("dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "copy", "out"))


#: overloads that mean something else than the operation of their name
FOREIGN = frozenset(("dtype", "reduce", "value_reduce", "reduce_two"))


def enter(names: str, rule: Callable) -> None:
    """Put a rule into the table under names set apart by spaces."""
    for name in names.split():
        RULES[name] = rule


def rule(names: str) -> Callable[[Callable], Callable]:
    """Enter a function of the operation's arguments."""
    def put(function: Callable) -> Callable:
        enter(names, lambda outs, *args, **kwargs: function(*args, **_meant(kwargs)))
        return function

    return put


def shaped(names: str) -> Callable[[Callable], Callable]:
    """Enter a function that is told shape and dtype of the first result before the arguments."""
    def put(function: Callable) -> Callable:
        enter(names, lambda outs, *args, **kwargs: function(outs[0], *args, **_meant(kwargs)))
        return function

    return put


def elementwise(**functions: Callable) -> None:
    """Enter functions of one element of each argument, which are computed in the dtype of the result."""
    for name, function in functions.items():
        enter(name, functools.partial(_in_dtype_of_result, function))


def _in_dtype_of_result(function: Callable, outs: list, *args: Any, **kwargs: Any) -> Any:
    dtype = outs[0].dtype
    if dtype.is_floating_point:
        wanted = np.float32 if dtype is torch.float32 else np.float64
        args = tuple(cast(a, wanted) for a in args)
    return function(*args, **_meant(kwargs))


def cast(x: Any, dtype: Any) -> Any:
    """The array in another dtype; numbers stay, and so do truth values, which choose."""
    if not isinstance(x, Tracer | np.ndarray) or x.dtype == dtype or x.dtype == np.bool_:
        return x
    return x.astype(dtype)


def _meant(kwargs: dict) -> dict:
    return {k: v for k, v in kwargs.items() if k not in STORAGE}


@functools.lru_cache(maxsize=4096)
def find_rule(op: Any) -> Callable | None:
    """The rule of an operation, or None."""
    if op.namespace != "aten" or op._overloadname in FOREIGN:
        return None
    name = name_of(op)
    return RULES.get(f"{name}.{op._overloadname}") or RULES.get(name)


def constant_of(x: Any) -> np.ndarray | None:
    """The numbers of an array that depends on no input, else None."""
    from symhess.trace.session import known

    if not isinstance(x, Tracer):
        return np.asarray(x)
    if x.concrete is not None:
        return x.concrete
    return np.asarray(x) if known(x.node) else None


def axis_of(dim: Any, x: Any) -> Any:
    """NumPy's axis: None and empty lists mean all axes, and so does any axis of a number."""
    if dim is None or (isinstance(dim, list | tuple) and not dim) or not x.ndim:
        return None
    return tuple(dim) if isinstance(dim, list | tuple) else dim
