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
from numba.core.errors import NumbaError

from symhess.native.functions import Converter
from symhess.native.layout import HEAD, Layout
from symhess.native.memory import INNER, inputs, output, read_only

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
    """The function compiled over numbers of one layout.

    `single`: kernel.entry(*arrays, value, gradient, hessian) fills arrays of shapes (), (n,), (n, n), as far as the
    layout goes. Otherwise kernel.entry(*arrays, starts, rows, out) fills a row of `out` with the number that each sweep
    returns, as doubles.
    """

    def __init__(self, call: Call, layout: Layout):
        started = time.perf_counter()
        self.layout, self.call = layout, call
        self.single = layout.same or (layout.order < 2 and call.size <= layout.columns) or layout.order == 0
        with _lock:
            self.source, self.entry = _compiled(call, layout, self.single)
        self.compile_seconds = time.perf_counter() - started

    def sweep(self, arrays: Sequence[np.ndarray], starts: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The numbers that several sweeps return."""
        out = np.empty((len(starts), self.layout.size))
        self.entry(*arrays, starts, rows, out)
        return out


_FLAT = types.float64[::1]
_SINGLE = (types.Array(types.float64, 0, "C"), _FLAT, types.float64[:, ::1])
_SEVERAL = (types.int64[::1], types.float64[:, :, ::1], types.float64[:, ::1])


def _compiled(call: Call, layout: Layout, single: bool) -> tuple[str, Any]:
    """The entry; with lists of constants that may be written into, where they have to be."""
    converter = Converter(layout, lists=False)
    try:
        return _entry(call, layout, single, converter)
    except NumbaError:
        if not converter.has_lists:
            raise
        try:
            return _entry(call, layout, single, Converter(layout, lists=True))
        except NumbaError:
            pass
        raise


def _entry(call: Call, layout: Layout, single: bool, converter: Converter) -> tuple[str, Any]:
    """Seed the inputs, call the function, write what it returns."""
    array, vector, scalar = inputs(layout)
    space = {"array": array, "vector": vector, "scalar": scalar, "read_only": read_only, "write": output(layout),
             "function": converter.convert(call.function), "no_rows": np.zeros((0, 0)), "empty": np.empty,
             "size": layout.size, "unfold": _unfold, "place": layout.row_start, "width": layout.width,
             "order": layout.order, **{name: converter.convert(value) for name, value in call.constants.items()}}
    names = [f"x{k}" for k in range(len(call.arguments))]
    seeds = "0, no_rows" if single else "starts[k], rows[k]"
    called = f"function({call.template.format(*(_leaf(name, a, seeds) for name, a in zip(names, call.arguments)))})"
    last = ["value", "gradient", "hessian"] if single else ["starts", "rows", "out"]
    lines = [f"def entry({', '.join([*names, *last])}):"]
    lines += ["    out = empty(size)", f"    write({called}, out)",
              "    unfold(out, order, place, width, value, gradient, hessian)"] if single else [
              "    for k in range(len(starts)):", f"        write({called}, out[k])"]
    source = "\n".join(lines)
    exec(source, space)
    entry = numba.njit(nogil=True, boundscheck=True, error_model="python")(space["entry"])
    given = [types.Array(numba.from_dtype(a.dtype), len(a.shape), "C") for a in call.arguments]
    entry.compile((*given, *(_SINGLE if single else _SEVERAL)))
    return source, entry


@numba.njit(**INNER)
def _unfold(out: Any, order: Any, place: Any, width: Any, value: Any, gradient: Any, hessian: Any) -> None:
    """Value, gradient, and the symmetric matrix whose rows, cut behind the diagonal, lie one after the other."""
    value[()] = out[0]
    if order == 0:
        return
    for r in range(len(gradient)):
        gradient[r] = out[HEAD + r]
        if order == 2:
            for c in range(r + 1):
                hessian[r, c] = hessian[c, r] = out[place + c]
            place += width * (r // width + 1)


def _leaf(name: str, a: Argument, seeds: str) -> str:
    """The expression of one argument."""
    if a.offset is not None:
        kind = ("scalar", "vector")[len(a.shape)] if len(a.shape) < 2 else "array"
        return f"{kind}({name}, {a.offset}, {seeds})"
    return f"read_only({name})" if a.shape else f"{name}[()]"
