"""Kernels compiled by Numba: those with loops for several threads, and what `restricted` does not compile."""

from __future__ import annotations

import itertools
import linecache
import weakref
from collections.abc import Callable
from typing import Any

import numba
from numba import types

from symhess.backends import sharing, threads
from symhess.backends.numba_cache import cached_entry
from symhess.backends.numba_names import names
from symhess.backends.pipeline import KernelCompiler
from symhess.plan.options import Options
from symhess.plan.steps import Plan

#: the arguments that kernels for several threads have before the arrays: thread, meeting, work
COMMON = (types.intp, types.int64[::1], types.uint8[::1])
_numbers = itertools.count()
#: what kernels use, kept as long as they live
_kept: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()


def numba_entry(text: str, plan: Plan, options: Options, kept: tuple[Any, ...],
                before: tuple[types.Type, ...] = ()) -> Callable[..., None]:
    """The kernel compiled by Numba, from disk where it is there; arguments of the types `before` precede the arrays."""
    given, types_of_arguments = flags(options), (*before, *signature(plan))
    entry = cached_entry(text, given, types_of_arguments, options.cache) if options.cache else None
    if entry is None:
        entry = numba.njit(pipeline_class=KernelCompiler, **given)(load(text))
        entry.compile(types_of_arguments)
    _kept.setdefault(entry, []).extend(kept)
    return entry


def shared_entry(plan: Plan, symbols: dict[str, str], options: Options,
                 kept: tuple[Any, ...]) -> tuple[Callable[..., None], str]:
    """A kernel that several threads run together, and its source."""
    threads.link()
    text, *sizes = sharing.source(plan, "kernel", symbols)
    return threads.SharedEntry(numba_entry(text, plan, options, kept, COMMON), *sizes), text


def flags(options: Options) -> dict[str, Any]:
    """Arguments of njit."""
    fast = {"contract", "reassoc", "nsz", "arcp", "afn"} if options.fastmath else False
    return {"nogil": True, "error_model": "numpy", "fastmath": fast}


def load(text: str) -> Callable[..., None]:
    """Execute generated source; linecache lets tracebacks and Numba show it."""
    filename = f"<symhess kernel {next(_numbers)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    namespace = names(text)
    exec(compile(text, filename, "exec"), namespace)
    return namespace["kernel"]


def signature(plan: Plan) -> tuple[types.Type, ...]:
    """C-contiguous arrays: the inputs, then the outputs."""
    return tuple(types.Array(numba.from_dtype(t.dtype), len(t.shape), "C") for t in (*plan.inputs, *plan.outputs))
