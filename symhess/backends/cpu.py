"""The CPU backend: a Program becomes one compiled function on arrays.

The printed kernel is compiled by `direct`; what is not in its part of Python, and loops for several threads, by Numba.
"""

from __future__ import annotations

import hashlib
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from symhess.backends import codegen, processors
from symhess.backends.direct import Entry, kernel_entry
from symhess.backends.disk_cache import Choice
from symhess.backends.python_entry import Array
from symhess.backends.straightline import compile_scalars
from symhess.backends.values import Unsupported
from symhess.plan.nested import plans_in
from symhess.plan.options import Options
from symhess.plan.program import Program
from symhess.plan.scalars import block_digest
from symhess.plan.schedule import make_plan
from symhess.plan.steps import Plan, ScalarBlock

#: kernels that do more than this give other threads the interpreter meanwhile, which takes tens of nanoseconds
WORTH_RELEASING = 2000
#: constant arrays by the name under which the linker knows them; the kernels that refer to their memory keep them
_linked: weakref.WeakValueDictionary[str, np.ndarray] = weakref.WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class Kernel:
    """A compiled program: `entry(*inputs, *outputs)` fills the output buffers."""

    entry: Callable[..., None]
    source: str
    plan: Plan
    compile_seconds: float
    options: Options
    #: straight-line code and constant arrays that the kernel uses
    kept: tuple[Any, ...] = ()
    #: the C function int kernel(pointers...) behind it; 0 where there is none
    address: int = 0
    #: whether other Python threads get the interpreter while it runs
    releases: bool = False
    #: why Numba compiled it; empty for kernels that need no Numba
    numba: str = ""


def compile_program(program: Program, options: Options | None = None) -> Kernel:
    """Plan, print and compile a program for C-contiguous arrays of its inputs and outputs."""
    options = options or Options()
    started = time.perf_counter()
    plan = make_plan(program, options.parallel and processors.thread_count() > 1)
    plans = list(plans_in(plan))
    blocks = tuple(compile_block(s, options.cache) for p in plans for s in p.steps if isinstance(s, ScalarBlock))
    linked = {name: link(array) for p in plans for name, array in p.constants.items()}
    symbols, kept = {name: symbol for name, (symbol, _) in linked.items()}, (*blocks, *(a for _, a in linked.values()))
    seconds = lambda: time.perf_counter() - started
    if any(getattr(item, "pieces", 0) for item in plan.root.body):
        from symhess.backends.numba_cpu import shared_entry

        entry, text = shared_entry(plan, symbols, options, kept)
        return Kernel(entry, text, plan, seconds(), options, kept, numba="loops for several threads")
    text = codegen.source(plan, "kernel", symbols)
    try:
        made = direct_entry(text, plan, options, kept)
        return Kernel(made.call, text, plan, seconds(), options, kept, made.address,
                      worth_releasing(plan))
    except Unsupported as problem:
        from symhess.backends.numba_cpu import numba_entry

        entry = numba_entry(text, plan, options, kept)
        return Kernel(entry, text, plan, seconds(), options, kept, numba=str(problem))


def direct_entry(text: str, plan: Plan, options: Options, kept: tuple[Any, ...]) -> Entry:
    """The kernel compiled without Numba's front end. Raises Unsupported for what is not in that part of Python."""
    return kernel_entry(text, arrays_of(plan), bool(options.fastmath), worth_releasing(plan), options.cache, kept)


def arrays_of(plan: Plan) -> list[Array]:
    """What a kernel takes: its inputs, and the outputs that it fills."""
    return [Array(t.shape, t.dtype, k >= len(plan.inputs)) for k, t in enumerate((*plan.inputs, *plan.outputs))]


def worth_releasing(plan: Plan) -> bool:
    """True where a kernel takes so long that other Python threads should get the interpreter."""
    return work_of(plan) > WORTH_RELEASING


def work_of(plan: Plan) -> float:
    """About how many operations and numbers read or written a kernel takes."""
    figures = [s.figures for p in plans_in(plan) for s in p.steps if hasattr(s, "figures")]
    return sum(f.flops + (f.read + f.written) / 8 for f in figures)


def compile_block(block: ScalarBlock, cache: Choice) -> Any:
    """Compile a straight-line block and make it known to the linker."""
    kernel = compile_scalars(block.outputs, block.leaves, cache)
    block.symbol = f"symhess_block_{block_digest(block.outputs, block.leaves)}"
    block.scratch = block.scratch._replace(shape=(kernel.workspace_size,))
    llvm.add_symbol(block.symbol, kernel.address)
    return kernel


def link(array: np.ndarray) -> tuple[str, np.ndarray]:
    """Make a constant array known to the linker: a name that follows from its content, and what has to be kept."""
    head = f"{array.dtype.str}{array.shape}".encode()
    name = "symhess_" + hashlib.blake2b(head + array.tobytes(), digest_size=16).hexdigest()
    known = _linked.get(name)
    if known is None:
        known = _linked[name] = np.array(array, order="C")
        llvm.add_symbol(name, known.ctypes.data)
    return name, known
