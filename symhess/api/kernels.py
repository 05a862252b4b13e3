"""Running programs: one callable per program, interpreted or compiled, with its output buffers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from symhess.api.arguments import Options
from symhess.api.calls import Calls, separated
from symhess.backends.interpreter import run_program
from symhess.loops.hoisting import hoisted
from symhess.loops.joining import joined
from symhess.loops.sinking import sunk
from symhess.plan.program import Program, with_values
from symhess.rules import expanded


class InterpretedRunner:
    """Runs a program with the NumPy interpreter (autograd mode, and the reference)."""

    def __init__(self, program: Program):
        self.program = with_values(program, expanded(program.roots()))
        self.compile_seconds = 0.0
        self.plan: Any = None

    @property
    def source(self) -> str:
        from symhess.graph.node import Graph

        return str(Graph(self.program.inputs, tuple(self.program.roots())))

    def __call__(self, arrays: Sequence[np.ndarray], out: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        results = run_program(self.program, list(arrays))
        return results if out is None else filled(out, results)


def filled(out: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Arrays given to receive results, with the results in them."""
    for target, value in zip(out, made):
        target[...] = value
    return list(out)


class CompiledRunner:
    """Runs a program through its compiled kernel."""

    #: `entry(*arrays, *buffers)` is all that a call needs
    direct = True

    def __init__(self, program: Program, options: Options):
        from symhess.backends.cpu import compile_program
        from symhess.plan.options import Options as BackendOptions

        start = time.perf_counter()
        self.program = program
        self.kernel = compile_program(program, BackendOptions(parallel=options.parallel, fastmath=options.fastmath,
                                                              cache=options.cache))
        self.entry = self.kernel.entry
        #: the kernel where it has an address
        self.code = self.kernel if self.kernel.address else None
        self.shapes = [(b.shape, b.dtype) for b in program.outputs]
        self.compile_seconds = time.perf_counter() - start

    @property
    def source(self) -> str:
        return self.kernel.source

    @property
    def plan(self) -> Any:
        return self.kernel.plan

    def __call__(self, arrays: Sequence[np.ndarray], out: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        buffers = [np.empty(s, d) for s, d in self.shapes] if out is None else list(out)
        self.entry(*arrays, *buffers)
        return buffers


class AroundKernel:
    """A runner that does something before another one runs, or runs it several times."""

    inner: Any

    @property
    def compile_seconds(self) -> float:
        return self.inner.compile_seconds

    @property
    def source(self) -> str:
        return self.inner.source

    @property
    def plan(self) -> Any:
        return self.inner.plan


class CallingRunner(AroundKernel):
    """Makes the Python calls that a kernel needs, then runs it."""

    def __init__(self, calls: Calls, inner: Any):
        self.calls, self.inner, self.program = calls, inner, inner.program

    def __call__(self, arrays: Sequence[np.ndarray], out: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        return self.inner([*arrays, *self.calls([np.asarray(a) for a in arrays])], out)


def _compiled(program: Program, options: Options) -> Any:
    if options.target == "cpu":
        return CompiledRunner(program, options)
    from symhess.api.device import DeviceRunner

    return DeviceRunner(program, options)


def runner(program: Program, options: Options) -> Any:
    """The runner that `options.mode` and `options.target` ask for."""
    roots = joined(program.roots())
    program = with_values(program, sunk(roots) if program.points else hoisted(roots))
    if options.mode == "autograd":
        return InterpretedRunner(program)
    calls, rest = separated(program, program.inputs, lambda p: CompiledRunner(p, options))
    kernel = _compiled(rest, options)
    return CallingRunner(calls, kernel) if calls.levels else kernel
