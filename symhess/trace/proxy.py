"""Runs the user's functions with the namespaces of `symhess.trace.namespace` in place of numpy, math and built-ins.

Functions are made anew over a patched copy of their globals, helper functions, methods and closures included, each
when something that uses it is: the user's modules, functions and objects stay untouched, and other threads see nothing.
"""

from __future__ import annotations

import abc
import functools
import inspect
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from symhess.trace.captured import Captured, captured, released
from symhess.trace.distributions import Distribution
from symhess.trace.namespace import BUILTINS, SCIPY_PARTS, STAND_INS, scipy_namespace, statistics_namespace
from symhess.trace.sparse import sparse_operand
from symhess.trace.tracer import Tracer

_STANDARD = tuple(os.path.join(sysconfig.get_path(p), "") for p in ("stdlib", "platstdlib")) + ("<frozen", "<__array_")
_PACKAGES = tuple(os.path.join(os.sep, folder, "") for folder in ("site-packages", "dist-packages"))
_TESTS = os.path.join(os.sep, "tests", "")
_OWN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
#: Python code of NumPy that is traced like the user's, where it is reached
_OPEN = tuple(os.path.join(os.path.dirname(np.__file__), part, "") for part in ("_core", "lib", "polynomial"))
_PLAIN = frozenset((int, float, bool, str, bytes, complex, type(None), np.float64, Captured, Tracer, range))
_UNSET = object()
_METACLASSES = (type, abc.ABCMeta)
_SCIPY = ("scipy", "scipy.spatial", *(f"scipy.{part}" for part in SCIPY_PARTS))


@functools.lru_cache(maxsize=4096)
def library_of(path: str) -> str | None:
    """The installed package that a file belongs to, "" for the standard library and symhess, None for the user's.

    The tests that a package brings along are code of its users.
    """
    if _TESTS in path:
        return None
    for folder in _PACKAGES:
        if folder in path:
            return path.rpartition(folder)[2].split(os.sep)[0]
    return "" if path.startswith((_OWN, *_STANDARD)) else None


def names_used(code: types.CodeType) -> Iterator[str]:
    """The global names that a function and the functions defined in it may read."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from names_used(constant)


class Rewriter:
    """The stand-ins of one trace; every original is replaced once."""

    def __init__(self, fn: Callable) -> None:
        code = getattr(inspect.unwrap(getattr(fn, "func", fn)), "__code__", None)
        self._home = library_of(code.co_filename) if code is not None else None
        self._made: dict[int, tuple[Any, Any]] = {}
        self._globals: dict[int, tuple[dict, dict, dict]] = {}
        self._copies: set[int] = set()
        self._cells: dict[int, tuple[types.CellType, types.CellType, list]] = {}
        self._busy: set[int] = set()
        self._states: list[dict] = []
        self._lists: list[tuple[list, list, int]] = []
        self._slotted: list[tuple[Any, Any, list[str]]] = []
        self._attributes: dict[type, frozenset[str]] = {}
        self._classes: dict[type, type | None] = {}
        self.originals: dict[type, type] = {}

    def replace(self, value: Any) -> Any:
        """What the traced function should see instead of `value`; most values stay what they are."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        found = STAND_INS.get(id(value)) or self._made.get(id(value))
        if found is not None:
            return found[1]
        rule = _RULES.get(kind)
        if rule is not None:
            return rule(self, value)
        if hasattr(value, "py_func") and isinstance(value.py_func, types.FunctionType):
            return self.replace(value.py_func)
        if isinstance(value, type):
            return self._library_function(value) if value.__module__.startswith("scipy.sparse.") else self.class_(value)
        if kind.__module__.startswith("scipy.stats."):
            return self._distribution(value)
        if kind.__module__.startswith("scipy.sparse.") and hasattr(value, "tocoo"):
            return self._note(value, sparse_operand(value))
        return self.shadow(value) if self._is_users_class(kind) else value

    def _is_users(self, path: str | None) -> bool:
        """True for files outside the installed packages, those of the package that the traced function is from, and
        NumPy's own functions in Python."""
        library = "" if path is None else library_of(path)
        return library is None or (library == "numpy" and path.startswith(_OPEN)) or (
            library == self._home and library not in ("", "numpy", "scipy"))

    def _is_users_class(self, cls: type) -> bool:
        module = sys.modules.get(cls.__module__)
        return cls.__module__ == "__main__" or self._is_users(getattr(module, "__file__", None))

    def _note(self, original: Any, made: Any) -> Any:
        self._made[id(original)] = (original, made)
        self._made[id(made)] = (made, made)
        return made

    # -- functions --------------------------------------------------------------------------------------

    def function(self, fn: types.FunctionType) -> Callable:
        """The same code over patched globals, closure and defaults."""
        if id(fn.__globals__) in self._copies:
            return fn  # made by a function that has been rewritten: its variables are the ones in use
        if not self._is_users(fn.__code__.co_filename):
            return self._library_function(fn)
        cells = None if fn.__closure__ is None else tuple(map(self._cell, fn.__closure__, fn.__code__.co_freevars))
        made = self._note(fn, types.FunctionType(fn.__code__, self.scope(fn.__globals__), fn.__name__, None, cells))
        for cell, name in zip(fn.__closure__ or (), fn.__code__.co_freevars):
            if name != "__class__":
                self._fill(cell)
        self._patch(fn.__globals__, fn.__code__)
        made.__defaults__ = fn.__defaults__ and tuple(map(self.replace, fn.__defaults__))
        made.__kwdefaults__ = fn.__kwdefaults__ and {k: self.replace(v) for k, v in fn.__kwdefaults__.items()}
        made.__dict__.update(fn.__dict__)
        made.__module__, made.__qualname__, made.__doc__ = fn.__module__, fn.__qualname__, fn.__doc__
        return made

    def _cell(self, original: types.CellType, name: str) -> types.CellType:
        """The cell that stands for a captured variable in every rewritten function that shares it."""
        if name == "__class__":  # super() must look behind the rewritten class
            cell = types.CellType(original.cell_contents)
            self._cells[id(cell)] = (types.CellType(), cell, [original.cell_contents])
            return cell
        if id(original) not in self._cells:
            self._cells[id(original)] = (original, types.CellType(), [])
        return self._cells[id(original)][1]

    def _fill(self, original: types.CellType) -> None:
        _, cell, placed = self._cells[id(original)]
        if not placed:
            placed.append(_UNSET)
            value = _contents(original)
            if value is not _UNSET:
                placed[0] = cell.cell_contents = self.replace(value)

    def _library_function(self, fn: Callable) -> Callable:
        module = fn.__module__ or ""
        if module.startswith("scipy."):
            for name in _SCIPY[1:]:
                if module.startswith(name) and name in sys.modules:
                    scipy_namespace(name)
            return STAND_INS.get(id(fn), (fn, fn))[1]
        return getattr(statistics_namespace(), fn.__name__) if module == "statistics" else fn

    def _distribution(self, value: Any) -> Any:
        """A distribution of scipy.stats, or one frozen with its parameters."""
        stats = scipy_namespace("scipy.stats")
        if hasattr(value, "dist") and isinstance(getattr(stats, value.dist.name, None), Distribution):
            return self._note(value, getattr(stats, value.dist.name)(*value.args, **value.kwds))
        if type(value).__name__ == "multivariate_normal_frozen":
            return self._note(value, stats.multivariate_normal(value.mean, value.cov))
        return STAND_INS.get(id(value), (value, value))[1]

    def scope(self, original: dict) -> dict:
        """The patched copy of a module's globals."""
        found = self._globals.get(id(original))
        if found is None:
            copy = dict(original)
            copy["__builtins__"] = BUILTINS
            self._copies.add(id(copy))
            found = self._globals[id(original)] = (original, copy, {})
        return found[1]

    def _patch(self, original: dict, code: types.CodeType) -> None:
        """Replace the globals that the code mentions, those that were not looked at before."""
        _, scope, placed = self._globals[id(original)]
        for name in names_used(code):
            if name in scope and name not in placed:
                placed[name] = scope[name]
                placed[name] = scope[name] = self.replace(scope[name])

    def publish(self) -> None:
        """Carry assignments to global and captured variables (`global n; n += 1`) over to the user's own."""
        for original, scope, placed in self._globals.values():
            for name, value in scope.items():
                if value is not placed.get(name, original.get(name, _UNSET)) and name != "__builtins__":
                    original[name] = released(value)
        for original, cell, placed in self._cells.values():
            value = _contents(cell)
            if value is not placed[0]:
                original.cell_contents = released(value)
        self._publish_objects()

    def _publish_objects(self) -> None:
        """What was appended to lists, and set on objects and classes, goes to the originals."""
        for original, made, size in self._lists:
            original.extend(released(self.restored(v)) for v in made[size:])
        for value, made, slots in self._slotted:
            for name in slots:
                if getattr(made, name) is not getattr(value, name):
                    object.__setattr__(value, name, released(getattr(made, name)))
        for made, names in self._attributes.items():
            for name, value in vars(made).items():
                if name not in names:
                    setattr(self.originals[made], name, released(value))
        for state in self._states:
            state.update((k, released(v)) for k, v in state.items() if isinstance(v, (Tracer, Captured)))

    # -- objects ----------------------------------------------------------------------------------------

    def method(self, bound: types.MethodType) -> Callable:
        function, owner = self.replace(bound.__func__), self.replace(bound.__self__)
        if function is bound.__func__:  # a stand-in has methods of its own
            return bound if owner is bound.__self__ else getattr(owner, bound.__name__)
        return types.MethodType(function, owner)

    def partial(self, given: functools.partial) -> functools.partial:
        return functools.partial(self.replace(given.func), *map(self.replace, given.args),
                                 **{k: self.replace(v) for k, v in given.keywords.items()})

    def container(self, items: Any) -> Any:
        """A list, tuple or dict with something in it that is replaced; any other is left as it is."""
        if not items or len(items) > 100 or id(items) in self._busy:
            return items
        values = list(items.values() if isinstance(items, dict) else items)
        self._busy.add(id(items))  # a list may hold itself
        replaced = list(map(self.replace, values))
        self._busy.discard(id(items))
        if all(new is old for new, old in zip(replaced, values)):
            return items
        if isinstance(items, dict):
            return self._note(items, dict(zip(items, replaced)))
        if isinstance(items, list):
            self._lists.append((items, replaced, len(items)))
        return self._note(items, replaced if isinstance(items, list) else tuple(replaced))

    def shadow(self, value: Any) -> Any:
        """An object sharing the state (`__dict__`) of `value` whose methods are rewritten."""
        shadow_class = self.class_(type(value))
        if shadow_class is type(value):
            return value
        try:
            made = object.__new__(shadow_class)
        except TypeError:  # not a plain Python object: the protocols alone have to do
            return value
        if hasattr(value, "__dict__"):
            object.__setattr__(made, "__dict__", value.__dict__)
            self._states.append(value.__dict__)
        slots = [n for base in type(value).__mro__ for n, d in vars(base).items()
                 if isinstance(d, types.MemberDescriptorType) and hasattr(value, n)]
        for name in slots:
            object.__setattr__(made, name, getattr(value, name))
        self._slotted.append((value, made, slots))
        return self._note(value, made)

    def class_(self, cls: type) -> type:
        """A subclass of a user's class with rewritten methods, or the class itself where that cannot be had."""
        if cls not in self._classes:
            self._classes[cls] = None  # while it is being made, its methods see the class itself
            self._classes[cls] = self._shadow_class(cls)
        return self._classes[cls] or cls

    def _shadow_class(self, cls: type) -> type | None:
        if not self._is_users_class(cls) or issubclass(cls, (BaseException, tuple, type)) or cls in self.originals \
                or type(cls) not in _METACLASSES or getattr(cls, "__array_ufunc__", None) is not None:
            return None
        bases = [shadow for shadow in map(self.class_, cls.__bases__) if shadow in self.originals]
        body = {n: m for n, m in ((n, self._member(a)) for n, a in vars(cls).items()) if m is not None}
        if not body and not bases:
            return None
        rewritten = {n for base in bases for c in base.__mro__ if c in self.originals for n in vars(c)}
        body |= {n: a for n, a in vars(cls).items() if n in rewritten and n not in body}  # what cls itself overrides
        body |= {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__,
                 "__getattribute__": self._attribute_of(cls)}
        try:
            made = type(cls)(cls.__name__, (*bases, cls), body)
        except Exception:  # an __init_subclass__ that does not take another subclass
            return None
        self.originals[made], self._attributes[made] = cls, frozenset(vars(made))
        self._introduce(cls, made)
        return made

    def _introduce(self, cls: type, made: type) -> None:
        """Put a finished class where its own methods had to be given the original."""
        for _, cell, placed in self._cells.values():
            if _contents(cell) is cls:
                cell.cell_contents = placed[0] = made
        for _, scope, placed in self._globals.values():
            for name in [n for n, value in placed.items() if value is cls]:
                scope[name] = placed[name] = made

    def restored(self, value: Any) -> Any:
        """An object made while tracing, given back its own class."""
        if type(value) in self.originals:
            object.__setattr__(value, "__class__", self.originals[type(value)])
        return value

    def _member(self, attribute: Any) -> Any:
        if isinstance(attribute, types.FunctionType):
            return self.replace(attribute)
        if isinstance(attribute, (staticmethod, classmethod)):
            return type(attribute)(self.replace(attribute.__func__))
        if isinstance(attribute, property):
            return property(*(f and self.replace(f) for f in (attribute.fget, attribute.fset, attribute.fdel)))
        return None

    def _attribute_of(self, cls: type) -> Callable:
        def __getattribute__(obj: Any, name: str) -> Any:
            value = cls.__getattribute__(obj, name)
            return value if name.startswith("__") else self.replace(value)

        return __getattribute__

    def module(self, module: types.ModuleType) -> Any:
        """numpy, math and scipy have stand-ins; a user's module is viewed through one that rewrites its functions."""
        name = module.__name__
        if name in _SCIPY:
            return scipy_namespace(name)
        if name == "statistics":
            return statistics_namespace()
        if not self._is_users(getattr(module, "__file__", None)):
            return module
        view = types.ModuleType(name)
        vars(view)["__getattr__"] = lambda attribute: self.replace(getattr(module, attribute))
        return self._note(module, view)


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _UNSET


_RULES: dict[type, Callable[[Rewriter, Any], Any]] = {
    types.FunctionType: Rewriter.function,
    types.MethodType: Rewriter.method,
    functools.partial: Rewriter.partial,
    types.ModuleType: Rewriter.module,
    np.ndarray: lambda self, a: self._note(a, captured(a)),
    list: Rewriter.container,
    tuple: Rewriter.container,
    dict: Rewriter.container,
    type(functools.lru_cache(lambda: 0)): lambda self, f: self.replace(f.__wrapped__),
}
