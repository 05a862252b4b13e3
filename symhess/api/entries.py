"""Direct entries: a call with plain arrays of a signature seen before goes to its kernel in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.api.kernels import CompiledRunner
from symhess.api.results import Result, compute, parts_of

#: entry(arguments, out) -> what the user gets
Entry = Callable[[tuple, Any], Any]
_array, _empty, _shared = np.ndarray, np.empty, np.may_share_memory


def entry_key(products: tuple[str, ...], args: tuple) -> tuple | None:
    """Products, shapes and dtypes, where all arguments are arrays that a kernel takes as they are; else None."""
    if len(args) == 1:
        only = args[0]
        return (products, only.shape, only.dtype) if type(only) is _array and only.flags.carray else None
    key: list[Any] = [products]
    for a in args:
        if type(a) is not _array or not a.flags.carray:
            return None
        key += (a.shape, a.dtype)
    return tuple(key)


def entry_of(run: Any, results: Sequence[Result]) -> Entry:
    """The shortest way from the arguments of a call to the results of a kernel."""
    if type(run) is not CompiledRunner or not all(r.plain for r in results):
        return _through(run, results)
    return _to_one(run, results[0]) if len(results) == 1 else _to_several(run, results)


def _through(run: Any, results: Sequence[Result]) -> Entry:
    """Any runner, any results."""
    count = len(results)
    if count == 1:
        return lambda args, out: compute(run, args, results, None if out is None else (out,))[0]
    return lambda args, out: tuple(compute(run, args, results, parts_of(out, count)))


def _to_one(run: CompiledRunner, result: Result) -> Entry:
    """A kernel that fills one bare array."""
    kernel, otherwise, final = run.entry, _through(run, [result]), result.shape
    ((shape, dtype),) = result.buffers
    as_number, same = result.product == "value", shape == final

    def entry(args: tuple, out: Any) -> Any:
        if out is None:
            made = _empty(shape, dtype)
            kernel(*args, made)
            if as_number:
                return made[()]
            return made if same else made.reshape(final)
        if same and type(out) is _array and out.shape == final and out.dtype == dtype and out.flags.carray and (
                not any(_shared(out, a) for a in args)):
            kernel(*args, out)
            return out
        return otherwise(args, out)

    return entry


def _to_several(run: CompiledRunner, results: Sequence[Result]) -> Entry:
    """A kernel that fills one bare array for each of several products."""
    kernel, otherwise = run.entry, _through(run, results)
    buffers = [b for r in results for b in r.buffers]

    def entry(args: tuple, out: Any) -> tuple:
        if out is not None:
            return otherwise(args, out)
        made = [_empty(shape, dtype) for shape, dtype in buffers]
        kernel(*args, *made)
        return tuple([r.finished((m,)) for r, m in zip(results, made)])

    return entry
