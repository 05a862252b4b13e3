"""Arrays that the traced function finds outside itself: plain, but tracers may index them and go into copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.errors import InputMutation
from symhess.trace.functions import call, tracers_in
from symhess.trace.session import current_session, here, mark
from symhess.trace.shaping import traced
from symhess.trace.tracer import Tracer
from symhess.trace.ufuncs import rebuffer


class Captured(np.ndarray):
    """A view of a user's array. What is computed from it is fresh memory, which traced values may be written into."""

    __array_priority__ = 500.0

    def __getitem__(self, key: Any) -> Any:
        if current_session() is not None and any(True for _ in tracers_in(key)):
            mark()
            return traced(self)[key]
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if current_session() is not None and any(t.concrete is None for t in tracers_in(value)):
            mark()
            raise InputMutation(f"{current_session().name} writes a traced value into an array from outside{here()}; "
                                "make a copy first: a = a.copy()")
        super().__setitem__(key, value)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        mark()
        if any(isinstance(i, Tracer) for i in (*inputs, *(options.get("out") or ()))):
            return Tracer.__array_ufunc__(None, ufunc, method, *inputs, **options)
        out = options.pop("out", None)
        if out is not None:
            options["out"] = tuple(map(bare, out))
        result = getattr(ufunc, method)(*map(bare, inputs), **options)
        return fresh(result) if out is None else out[0] if len(out) == 1 else out

    def __array_function__(self, function: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
        mark()
        if any(True for _ in tracers_in((args, kwargs))):
            return call(function, *args, **kwargs)
        result = function(*map(bare, args), **{k: bare(v) for k, v in kwargs.items()})
        if isinstance(result, np.ndarray) and np.may_share_memory(result, self):
            return result.view(Captured)
        return fresh(result)


def bare(x: Any) -> Any:
    """The argument with captured arrays as ordinary ones."""
    if isinstance(x, Captured):
        return x.view(np.ndarray)
    if type(x) in (list, tuple):
        return type(x)(map(bare, x))
    return x


def fresh(result: Any) -> Any:
    return result if current_session() is None else rebuffer(result)


def _computed(name: str) -> Callable:
    """The array method, whose result is memory of its own."""
    original = getattr(np.ndarray, name)

    def run(self: Captured, *args: Any, **kwargs: Any) -> Any:
        if any(t.concrete is None for t in tracers_in((args, kwargs))):
            mark()
            return getattr(traced(self), name)(*args, **kwargs)
        args = tuple(map(released, args))
        return fresh(original(self.view(np.ndarray), *args, **kwargs))

    return run


for _name in ("copy", "astype", "flatten", "repeat", "take", "cumsum", "cumprod", "sum", "mean", "prod", "max", "min",
              "std", "var", "clip", "round", "compress", "argsort", "dot", "conj", "searchsorted", "choose"):
    setattr(Captured, _name, _computed(_name))


def captured(array: np.ndarray) -> np.ndarray:
    """The array as the traced function sees it; arrays that cannot be traced stay what they are."""
    traceable = array.dtype.itemsize <= (16 if array.dtype.kind == "c" else 8) and array.dtype.kind in "fiubc"
    return array.view(Captured) if traceable else array


def released(value: Any) -> Any:
    """A value as the outside sees it: buffers of plain numbers and captured arrays become ordinary arrays."""
    if isinstance(value, Tracer):
        data = value.concrete
        return value if data is None else data
    return bare(value) if isinstance(value, Captured) else value
