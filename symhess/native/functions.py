"""User functions made ready for Numba: a copy with the same code, whose globals and closure name our functions.

    np, math, scipy.special --> modules with our functions in them          abs, min, float, ... --> our functions
    any other Python function --> a compiled copy of it, made in the same way

The user's functions and modules are left as they are.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable
from typing import Any

import numba
from numba.core.dispatcher import Dispatcher

from symhess.native.layout import Layout
from symhess.native.namespace import stand_ins
from symhess.native.rewrite import NativeCompiler

#: packages whose Python functions are Numba's to know, or nobody's
LIBRARIES = ("numpy", "scipy", "numba", "math", "builtins", "operator", "functools", "itertools", "symhess")

#: as Python has it: bounds are checked, a division by zero raises
OPTIONS = {"pipeline_class": NativeCompiler, "boundscheck": True, "error_model": "python", "nogil": True,
           "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class Shadow(types.ModuleType):
    """A module whose attributes are converted when they are asked for."""

    def __init__(self, module: types.ModuleType, converted: Callable[[Any], Any]):
        super().__init__(module.__name__)
        self.__dict__.update(_module=module, _converted=converted)

    def __getattr__(self, name: str) -> Any:
        value = self._converted(getattr(self._module, name))
        self.__dict__[name] = value
        return value


class Converter:
    """Makes compiled copies of functions, for numbers of one layout; each function is copied once."""

    def __init__(self, layout: Layout):
        self.replaced = stand_ins(layout)
        self.made: dict[int, Any] = {}
        self.kept: list[Any] = []

    def convert(self, value: Any) -> Any:
        """What stands for a value that user code refers to."""
        if id(value) in self.made:
            return self.made[id(value)]
        try:
            found = self.replaced.get(value)
        except TypeError:  # not hashable
            found = None
        if found is not None:
            return found
        if isinstance(value, types.ModuleType):
            return self._remember(value, Shadow(value, self.convert))
        if isinstance(value, Dispatcher):
            return self.convert(value.py_func)
        if isinstance(value, types.FunctionType) and (value.__module__ or "").split(".")[0] not in LIBRARIES:
            return self.function(value)
        if isinstance(value, list) and value and all(type(v) in (int, float, bool) for v in value):
            return self._remember(value, tuple(value))
        return value

    def _remember(self, value: Any, made: Any) -> Any:
        self.kept.append(value)
        self.made[id(value)] = made
        return made

    def function(self, fn: types.FunctionType) -> Any:
        """The compiled copy of a function, which may call itself."""
        cells = tuple(types.CellType() for _ in fn.__closure__ or ())
        space = {"__builtins__": builtins, "__name__": fn.__module__}
        copy = types.FunctionType(fn.__code__, space, fn.__name__, fn.__defaults__, cells)
        copy.__kwdefaults__, copy.__module__, copy.__qualname__ = fn.__kwdefaults__, fn.__module__, fn.__qualname__
        made = numba.njit(**OPTIONS)(copy)
        self._remember(fn, made)
        for name in names_in(fn.__code__):
            if name in fn.__globals__:
                space[name] = self.convert(fn.__globals__[name])
            elif hasattr(builtins, name):
                space[name] = self.convert(getattr(builtins, name))
        for cell, old in zip(cells, fn.__closure__ or ()):
            cell.cell_contents = self.convert(old.cell_contents)
        return made


def names_in(code: types.CodeType) -> set[str]:
    """Every name that a code object, or one inside of it, may look up."""
    return set(code.co_names).union(*(names_in(c) for c in code.co_consts if isinstance(c, types.CodeType)), ())
