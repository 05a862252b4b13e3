"""`CompiledKernel`: the machine code behind a product, for C code, solvers and functions compiled by Numba."""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from symhess.api.kernels import CompiledRunner
from symhess.errors import UnsupportedOperation

_C_TYPES = {"float64": "double", "float32": "float", "int64": "int64_t", "int32": "int32_t", "bool": "uint8_t"}


class KernelArray(NamedTuple):
    """An array that a kernel reads or fills, C-contiguous: its name, shape and dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype.name}{list(self.shape)}"


class CompiledKernel:
    """The compiled kernel of one product; see `HessianFunction.kernel`.

    `inputs` and `outputs` describe the arrays it takes, in this order. The machine code stays in memory as long as this
    object, its `c_function` or its `numba_function` lives. It holds no lock of Python's and keeps no state: any number
    of threads may call it at once.
    """

    def __init__(self, runner: CompiledRunner, names: Sequence[str], results: Sequence[str], product: str):
        plan, self._kernel, self.product = runner.plan, runner.kernel, product
        if len(results) != len(plan.outputs):
            results = [f"out{k}" for k in range(len(plan.outputs))]
        self.inputs, self.outputs = ([KernelArray(re.sub(r"\W", "_", name), t.shape, t.dtype)
                                      for name, t in zip(given, targets, strict=True)]
                                     for given, targets in ((names, plan.inputs), (results, plan.outputs)))

    def __repr__(self) -> str:
        arrays = ", ".join(map(str, [*self.inputs, *self.outputs]))
        return f"<kernel {self.product}({arrays}) at {self.address:#x}>"

    @property
    def address(self) -> int:
        """The address of the C function `declaration`; it returns 0, or 1 where there was no memory."""
        return self._kernel.address

    @property
    def declaration(self) -> str:
        """The C function at `address`."""
        parts = [f"const {_C_TYPES[a.dtype.name]} *{a.name}" for a in self.inputs]
        parts += [f"{_C_TYPES[a.dtype.name]} *{a.name}" for a in self.outputs]
        return f"int kernel({', '.join(parts)});"

    def __call__(self, *arrays: np.ndarray) -> None:
        """Fill the outputs. Raises TypeError for arrays of another shape, dtype or layout."""
        self._kernel.entry(*arrays)

    @functools.cached_property
    def c_function(self) -> Any:
        """The C function for ctypes, which gives other threads the interpreter while it runs."""
        count = len(self.inputs) + len(self.outputs)
        function = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * count)(self.address)
        function.kernel = self._kernel
        return function

    @functools.cached_property
    def numba_function(self) -> Callable[..., None]:
        """The kernel as a function for code compiled by Numba, called with the same arrays; it checks their shapes."""
        return _for_numba(self._kernel, [*self.inputs, *self.outputs])


def _for_numba(kernel: Any, arrays: Sequence[KernelArray]) -> Callable[..., None]:
    import llvmlite.binding as llvm
    import numba
    from numba import types

    symbol = f"symhess_kernel_{kernel.address:x}"
    llvm.add_symbol(symbol, kernel.address)
    routine = types.ExternalFunction(symbol, types.int32(*[types.voidptr] * len(arrays)))
    names = [f"a{k}" for k in range(len(arrays))]
    sizes = " or ".join(f"{n}.shape != {a.shape!r}" for n, a in zip(names, arrays))
    text = (f"def kernel({', '.join(names)}):\n"
            f"    if {sizes}:\n"
            "        raise ValueError('a kernel was called with arrays of other shapes')\n"
            f"    if routine({', '.join(f'{n}.ctypes' for n in names)}):\n"
            "        raise MemoryError\n")
    namespace: dict[str, Any] = {"routine": routine}
    exec(text, namespace)
    signature = tuple(types.Array(numba.from_dtype(a.dtype), len(a.shape), "C") for a in arrays)
    made = numba.njit([types.void(*signature)], nogil=True)(namespace["kernel"])
    made.kernel = kernel
    return made


def raw_kernel(runner: Any, names: Sequence[str], results: Sequence[str], product: str) -> CompiledKernel:
    """The machine code of a runner. Raises UnsupportedOperation where a product is more than one kernel."""
    if hasattr(runner, "device"):
        raise UnsupportedOperation(f"kernel: {product} is computed by kernels on a GPU, so there is no C function; use "
                                   'target="cpu"')
    if not isinstance(runner, CompiledRunner):
        what = "is interpreted" if runner.plan is None else "takes several kernels, or calls Python code"
        raise UnsupportedOperation(f"kernel: {product} {what} here (explain says why), so there is no one C function; "
                                   "call the method instead")
    if not runner.kernel.address:
        raise UnsupportedOperation(f"kernel: {product} was compiled by Numba ({runner.kernel.numba}), so there is no C "
                                   "function; ask for it without parallel=True")
    return CompiledKernel(runner, names, results, product)


