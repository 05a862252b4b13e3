"""A user function compiled for one signature and one layout of numbers: the loop over sweeps through it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba.core import types

from symhess.native.functions import Converter
from symhess.native.layout import Layout
from symhess.native.memory import inputs, output

_lock = threading.RLock()


@dataclass(frozen=True)
class Argument:
    """One leaf of the arguments: an array that is differentiated from a flat position on, or data."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None


@dataclass(frozen=True)
class Call:
    """How the function is called: `template` is Python source over leaves {0}, {1}, ... and named constants."""

    function: Callable
    arguments: tuple[Argument, ...]
    template: str
    constants: dict[str, Any]

    @property
    def size(self) -> int:
        """The number of variables."""
        return sum(int(np.prod(a.shape)) for a in self.arguments if a.offset is not None)


class Kernel:
    """One compiled sweep: `kernel(arrays, starts, rows)` gives the numbers that the function returns, as doubles."""

    def __init__(self, call: Call, layout: Layout):
        started = time.perf_counter()
        self.layout = layout
        with _lock:
            self.source, self.entry = _compiled(call, layout)
        self.compile_seconds = time.perf_counter() - started

    def __call__(self, arrays: Sequence[np.ndarray], starts: np.ndarray, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(starts), self.layout.size))
        self.entry(*arrays, starts, rows, out)
        return out


def _compiled(call: Call, layout: Layout) -> tuple[str, Any]:
    """The loop over sweeps: seed the inputs, call the function, write what it returns."""
    converter = Converter(layout)
    array, scalar = inputs(layout)
    space = {"array": array, "scalar": scalar, "write": output(layout), "function": converter.convert(call.function),
             **{name: converter.convert(value) for name, value in call.constants.items()}}
    names = [f"x{k}" for k in range(len(call.arguments))]
    leaves = [_leaf(name, a) for name, a in zip(names, call.arguments)]
    lines = [f"def entry({', '.join([*names, 'starts', 'rows', 'out'])}):", "    for k in range(len(starts)):",
             f"        write(function({call.template.format(*leaves)}), out[k])"]
    source = "\n".join(lines)
    exec(source, space)
    entry = numba.njit(nogil=True, boundscheck=True, error_model="python")(space["entry"])
    given = [types.Array(numba.from_dtype(a.dtype), len(a.shape), "C", readonly=True) for a in call.arguments]
    entry.compile((*given, types.int64[::1], types.float64[:, :, ::1], types.float64[:, ::1]))
    return source, entry


def _leaf(name: str, a: Argument) -> str:
    """The expression of one argument."""
    if a.offset is not None:
        return f"{'array' if a.shape else 'scalar'}({name}, {a.offset}, starts[k], rows[k])"
    return name if a.shape else f"{name}[()]"
