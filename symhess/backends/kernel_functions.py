"""Functions that kernels call, as plain Python: `restricted` compiles them, and Numba where it has to.

Importing a library of such functions imports no compiler.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm


class KernelFunction:
    """A function in Python that is compiled on use."""

    def __init__(self, function: Callable):
        functools.update_wrapper(self, function)
        self.py_func = function

    @functools.cached_property
    def dispatcher(self) -> Any:
        """The function for Numba."""
        import numba

        from symhess.backends import numba_intrinsics  # noqa: F401  before Numba meets one of them

        return numba.njit(error_model="numpy", nogil=True)(self.py_func)

    @property
    def _numba_type_(self) -> Any:
        """What Numba takes it for."""
        return self.dispatcher._numba_type_

    def __call__(self, *args: Any) -> Any:
        return self.dispatcher(*args)


class Instruction:
    """Something that compilers know instead of compiling it; `meaning` says in Python what it does."""

    def __init__(self, meaning: Callable):
        functools.update_wrapper(self, meaning)
        self.meaning = meaning

    @property
    def _numba_type_(self) -> Any:
        """What Numba takes it for: its intrinsic of that name."""
        from symhess.backends.numba_intrinsics import type_of

        return type_of(self.__name__)

    def __call__(self, *args: Any) -> Any:
        return self.meaning(*args)


class Routine:
    """A function of a library in machine code: its symbol, and the kinds of its result and arguments."""

    def __init__(self, symbol: str, result: str, *arguments: str):
        self.symbol, self.result, self.arguments = symbol, result, arguments

    @property
    def _numba_type_(self) -> Any:
        """What Numba takes it for."""
        from numba import types

        kinds = {"double": types.float64, "i32": types.int32, "i64": types.intp}
        return types.ExternalFunction(self.symbol, kinds[self.result](*(kinds[a] for a in self.arguments)))


def link_cython(module: str, name: str, symbol: str) -> None:
    """Make a function that a Cython module exports known to the linker under a symbol of our own."""
    capsule = importlib.import_module(module).__pyx_capi__[name]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    llvm.add_symbol(symbol, pointer_of(capsule, name_of(capsule)))


compiled = KernelFunction
