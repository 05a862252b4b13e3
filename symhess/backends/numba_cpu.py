"""The Numba CPU backend: a Program becomes one compiled function on arrays."""

from __future__ import annotations

import hashlib
import itertools
import linecache
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import types

from symhess.backends import codegen, sharing, threads
from symhess.backends.disk_cache import cached_entry
from symhess.backends.names import names
from symhess.backends.pipeline import KernelCompiler
from symhess.backends.straightline import ScalarKernel, compile_scalars
from symhess.plan.nested import plans_in
from symhess.plan.options import Options
from symhess.plan.program import Program
from symhess.plan.scalars import block_digest
from symhess.plan.schedule import make_plan
from symhess.plan.steps import Plan, ScalarBlock

#: the arguments that kernels for several threads have before the arrays: thread, meeting, work
COMMON = (types.intp, types.int64[::1], types.uint8[::1])
_numbers = itertools.count()
#: constant arrays by the name under which the linker knows them; compiled code refers to their memory
_linked: dict[str, np.ndarray] = {}
#: straight-line code that kernels call, kept as long as they live
_blocks: weakref.WeakKeyDictionary[Any, list[ScalarKernel]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Kernel:
    """A compiled program: `entry(*inputs, *outputs)` fills the output buffers."""

    entry: Callable[..., None]
    source: str
    plan: Plan
    compile_seconds: float
    options: Options


def compile_program(program: Program, options: Options | None = None) -> Kernel:
    """Plan, print and compile a program for C-contiguous arrays of its inputs and outputs."""
    options = options or Options()
    started = time.perf_counter()
    plan = make_plan(program, options.parallel and threads.thread_count() > 1)
    plans = list(plans_in(plan))
    blocks = [compile_block(s) for p in plans for s in p.steps if isinstance(s, ScalarBlock)]
    symbols = {name: link(array) for p in plans for name, array in p.constants.items()}
    if any(getattr(item, "pieces", 0) for item in plan.root.body):
        threads.link()
        text, *sizes = sharing.source(plan, "kernel", symbols)
        entry = threads.SharedEntry(compiled(text, (*COMMON, *signature(plan)), options), *sizes)
    else:
        text = codegen.source(plan, "kernel", symbols)
        entry = compiled(text, signature(plan), options)
    _blocks.setdefault(entry, []).extend(blocks)
    return Kernel(entry, text, plan, time.perf_counter() - started, options)


def compiled(text: str, types_of_arguments: tuple[types.Type, ...], options: Options) -> Callable[..., None]:
    """Machine code of some source, from disk where it is there."""
    given = flags(options)
    entry = cached_entry(text, given, types_of_arguments, options.cache) if options.cache else None
    if entry is None:
        entry = numba.njit(pipeline_class=KernelCompiler, **given)(load(text))
        entry.compile(types_of_arguments)
    return entry


def flags(options: Options) -> dict[str, Any]:
    """Arguments of njit."""
    fast = {"contract", "reassoc", "nsz", "arcp", "afn"} if options.fastmath else False
    return {"nogil": True, "error_model": "numpy", "fastmath": fast}


def compile_block(block: ScalarBlock) -> ScalarKernel:
    """Compile a straight-line block and make it known to the linker."""
    kernel = compile_scalars(block.outputs, block.leaves)
    block.symbol = f"symhess_block_{block_digest(block.outputs, block.leaves)}"
    block.scratch = block.scratch._replace(shape=(kernel.workspace_size,))
    llvm.add_symbol(block.symbol, kernel.address)
    return kernel


def link(array: np.ndarray) -> str:
    """Make a constant array known to the linker; the name follows from its content."""
    head = f"{array.dtype.str}{array.shape}".encode()
    name = "symhess_" + hashlib.blake2b(head + array.tobytes(), digest_size=16).hexdigest()
    if name not in _linked:
        _linked[name] = np.ascontiguousarray(array)
        llvm.add_symbol(name, _linked[name].ctypes.data)
    return name


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
