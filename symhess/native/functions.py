"""User functions made ready for Numba: a copy with the same code, whose globals and closure name our functions.

    np, math, scipy.special --> modules with our functions in them          abs, min, float, ... --> our functions
    any other Python function --> a compiled copy of it, made in the same way

The user's functions and modules are left as they are.
"""

from __future__ import annotations

import builtins
import dis
import os
import types
from collections.abc import Callable
from typing import Any

import numba
from numba.core.dispatcher import Dispatcher

from symhess.errors import UnsupportedOperation
from symhess.native.layout import Layout
from symhess.native.namespace import stand_ins
from symhess.native.rewrite import compiler
from symhess.native.sources import without_generators

#: packages whose Python functions are Numba's to know, or nobody's
LIBRARIES = ("numpy", "scipy", "numba", "math", "builtins", "operator", "functools", "itertools", "symhess")

#: modules whose functions do not depend on their arguments alone
RANDOM = ("random", "numpy.random", "time", "secrets")
#: as Python has it: bounds are checked, a division by zero raises
OPTIONS = {"boundscheck": True, "error_model": "python", "nogil": True,
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
    """Makes compiled copies of functions, for numbers of one layout; each function is copied once.

    `lists`: lists of constant floats hold numbers.
    """

    def __init__(self, layout: Layout, lists: bool):
        self.replaced, self.compiler = stand_ins(layout), compiler(layout if lists else None)
        self.has_lists, self.place = False, ""
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
            if value.__name__ in RANDOM:
                raise UnsupportedOperation(f'{value.__name__} is not compiled in mode="native" (function at '
                                           f'{self.place}), where every call would draw other numbers; pass the '
                                           'numbers as an argument, or use mode="auto", which traces the function')
            return self._remember(value, Shadow(value, self.convert))
        if isinstance(value, Dispatcher):
            return self.convert(value.py_func)
        if isinstance(value, types.FunctionType) and (value.__module__ or "").split(".")[0] not in LIBRARIES:
            return self.function(value)
        return self._remember(value, _as_tuple(value)) if isinstance(value, list) and _plain(value) else value

    def _remember(self, value: Any, made: Any) -> Any:
        self.kept.append(value)
        self.made[id(value)] = made
        return made

    def function(self, fn: types.FunctionType) -> Any:
        """The compiled copy of a function, which may call itself."""
        code = without_generators(fn)
        self.place = self.place or f"{os.path.relpath(code.co_filename)}:{code.co_firstlineno}"
        _check_exceptions(code)
        cells = tuple(types.CellType() for _ in fn.__closure__ or ())
        space = {"__builtins__": builtins, "__name__": fn.__module__}
        copy = types.FunctionType(code, space, fn.__name__, fn.__defaults__, cells)
        copy.__kwdefaults__, copy.__module__, copy.__qualname__ = fn.__kwdefaults__, fn.__module__, fn.__qualname__
        self.has_lists |= builds_lists(code)
        made = numba.njit(pipeline_class=self.compiler, **OPTIONS)(copy)
        self._remember(fn, made)
        for name in names_in(code):
            if name in fn.__globals__:
                space[name] = self.convert(fn.__globals__[name])
            elif hasattr(builtins, name):
                space[name] = self.convert(getattr(builtins, name))
        for cell, old in zip(cells, fn.__closure__ or ()):
            cell.cell_contents = self.convert(old.cell_contents)
        return made


def _plain(value: Any) -> bool:
    """True for numbers, and lists and tuples of them."""
    return all(map(_plain, value)) if isinstance(value, list | tuple) else type(value) in (int, float, bool)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list | tuple) else value


def _check_exceptions(code: types.CodeType) -> None:
    """UnsupportedOperation for `try`: where Python's arithmetic raises, compiled arithmetic gives NaN."""
    for i in dis.get_instructions(code):
        if i.opname == "PUSH_EXC_INFO":
            line = i.positions.lineno if i.positions and i.positions.lineno else code.co_firstlineno
            raise UnsupportedOperation(f'{code.co_name}: `try` and `with` are not compiled in mode="native" '
                                       f'({os.path.relpath(code.co_filename)}:{line}): arithmetic raises nothing '
                                       'there; use mode="auto", which traces the function')


def builds_lists(code: types.CodeType) -> bool:
    """True where a code object, or one inside of it, makes a list that is written out."""
    return any(i.opname == "BUILD_LIST" for i in dis.get_instructions(code)) or any(
        builds_lists(c) for c in code.co_consts if isinstance(c, types.CodeType))


def names_in(code: types.CodeType) -> set[str]:
    """Every name that a code object, or one inside of it, may look up."""
    return set(code.co_names).union(*(names_in(c) for c in code.co_consts if isinstance(c, types.CodeType)), ())
