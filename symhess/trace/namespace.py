"""What a traced function sees as `numpy`, `math` and the built-in functions.

NumPy's protocols reach most calls, but not np.zeros, np.array([x[0], ...]), math.sin, float(x) or isinstance(x, ...).
The namespaces here differ from the real ones in just those; they are stateless and never put in anybody's module.
"""

from __future__ import annotations

import builtins
import cmath
import functools
import math
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from symhess.trace import construction, fourier, scipy_linalg
from symhess.trace.captured import Captured
from symhess.trace.complex_rules import CMATH
from symhess.trace.complex_rules import RULES as COMPLEX_RULES
from symhess.trace.construction import array, converted, full
from symhess.trace.functions import FUNCTIONS, IN_PLACE, call, plain, tracers_in, unsupported
from symhess.trace.mapping import FromPython, nditer, vectorize
from symhess.trace.raising import raising
from symhess.trace.scalar_statistics import STATISTICS
from symhess.trace.scalars import MATH
from symhess.trace.session import current_session, mark
from symhess.trace.shaping import traced
from symhess.trace.tracer import Text, Tracer, buffer, is_python, python_number
from symhess.trace.ufunc_methods import UFUNC_METHODS
from symhess.trace.ufuncs import array_ufunc, call_ufunc

#: id of an original object -> (the original, its stand-in)
STAND_INS: dict[int, tuple[Any, Any]] = {}


def stand_in(original: Any, replacement: Any) -> Any:
    STAND_INS[id(original)] = (original, replacement)
    return replacement


def has_tracers(args: tuple, kwargs: dict) -> bool:
    for a in args:
        if isinstance(a, Tracer) or (type(a) in (list, tuple, dict) and any(True for _ in tracers_in(a))):
            return True
    return bool(kwargs) and any(True for _ in tracers_in(kwargs))


# -- numpy ---------------------------------------------------------------------------------------------------------


def routed(function: Callable) -> Callable:
    """The function, going to its rule where an argument holds a traced value, lists of them included."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if current_session() is None or not has_tracers(args, kwargs):
            return function(*args, **kwargs)
        mark()
        return call(function, *args, **kwargs)

    return run


class RoutedUfunc:
    """A ufunc that also takes lists of traced values."""

    def __init__(self, ufunc: np.ufunc):
        self._ufunc = ufunc
        self.__name__ = ufunc.__name__
        self.__doc__ = ufunc.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_session() is not None and has_tracers(args, kwargs):
            mark()
            return call_ufunc(self._ufunc, args, **kwargs)
        return self._ufunc(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._ufunc, name)
        return functools.partial(self._method, name, found) if name in UFUNC_METHODS else found

    def _method(self, name: str, original: Callable, *args: Any, **kwargs: Any) -> Any:
        if current_session() is None or not has_tracers(args, kwargs):
            return original(*args, **kwargs)
        mark()
        return array_ufunc(None, self._ufunc, name, *args, **kwargs)

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        return NotImplemented


def creator(function: Callable) -> Callable:
    """A function that makes an array, which traced values may later be written into."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        session = current_session()
        if session is None:
            return function(*args, **kwargs)
        if function in FUNCTIONS and has_tracers(args, kwargs):
            mark()
            return call(function, *args, **kwargs)
        return buffer(function(*map(plain_or_same, args), **kwargs), session)

    return run


def plain_or_same(x: Any) -> Any:
    return plain(x) if isinstance(x, Tracer) and x.concrete is not None else x


def _as_array(at_least: int = 0, fresh: bool = False, original: Callable = np.asarray) -> Callable:
    """np.asarray and its kin: lists become buffers, arrays stay what they are."""

    @functools.wraps(original)
    def run(a: Any, dtype: Any = None, order: Any = None, **options: Any) -> Any:
        if current_session() is None or not isinstance(a, (Tracer, Captured, list, tuple)):
            return original(a, dtype=dtype, order=order, **options) if order else original(a, dtype=dtype, **options)
        mark()
        if isinstance(a, Captured):
            return a if dtype is None or a.dtype == dtype else array(a, dtype)
        made = converted(a, dtype) if isinstance(a, Tracer) else array(a, dtype)
        return np.atleast_1d(made) if at_least and not made.ndim else made

    return run


def _array(object: Any, dtype: Any = None, **options: Any) -> Any:
    if current_session() is None:
        return np.array(object, dtype=dtype, **options)
    mark()
    return array(object, dtype, **options)


def _full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", **options: Any) -> Any:
    if current_session() is None:
        return np.full(shape, fill_value, dtype, order, **options)
    mark()
    return full(shape, fill_value, dtype)


def _from_iterable(iter: Any, dtype: Any, count: int = -1, **options: Any) -> Any:
    items = list(iter)
    if not any(True for _ in tracers_in(items)):
        return np.fromiter(items, dtype, count, **options)
    mark()
    return array(items if count < 0 else items[:count], dtype)


def _is_scalar(element: Any) -> bool:
    return element.ndim == 0 if isinstance(element, Tracer) else np.isscalar(element)


def _enumerated(arr: Any) -> Any:
    if not isinstance(arr, Tracer):
        return np.ndenumerate(arr)
    return ((place, arr[place] if place else arr) for place in np.ndindex(*arr.shape))


class Joiner:
    """np.r_ and np.c_ for traced parts."""

    def __init__(self, original: Any, join: Callable):
        self._original, self._join = original, join

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if not any(True for _ in tracers_in(list(parts))):
            return self._original[key]
        if any(isinstance(p, str) for p in parts):
            raise unsupported("r_ with a string")
        mark()
        return self._join([np.r_[p] if isinstance(p, slice) else traced(p) for p in parts])


class _NumberType(type):
    """A number type that leaves traced numbers traced, and otherwise is the real type."""

    def __call__(cls, *args: Any) -> Any:
        if len(args) == 2 and any(isinstance(a, Tracer) for a in args):  # complex(re, im)
            args = (args[0] + 1j * args[1],)
        given = args[0].origin if args and isinstance(args[0], Text) else args[0] if args else None
        if not isinstance(given, Tracer):
            return cls.original(*args)
        made = _converted_number(given, cls.dtype)
        return python_number(made) if cls.original is float else made

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, cls.original)

    def __subclasscheck__(cls, c: type) -> bool:
        return issubclass(c, cls.original)

    def __eq__(cls, other: Any) -> bool:
        return other is cls or other is cls.original

    def __hash__(cls) -> int:
        return hash(cls.original)


def _converted_number(x: Tracer, dtype: np.dtype) -> Any:
    mark()
    if x.concrete is not None:
        return dtype.type(x.concrete)
    if dtype in (np.float64, np.complex128) and x.size != 1 and x.ndim:
        raise TypeError("only length-1 arrays can be converted to Python scalars")
    return converted(x.reshape(()) if x.size == 1 else x, dtype)


def number_type(original: type) -> type:
    return _NumberType(original.__name__, (original,), {"original": original, "dtype": np.dtype(original),
                                                        "__doc__": original.__doc__})


FLOAT, COMPLEX = stand_in(float, number_type(float)), stand_in(complex, number_type(complex))


class _TypeType(type):
    """`type`, which gives traced values the types that NumPy would give them."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if len(args) == 1 and isinstance(args[0], Tracer):
            kind = np.ndarray if args[0].ndim else args[0].dtype.type
            return STAND_INS.get(id(kind), (kind, kind))[1]
        return type(*args, **options)

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, type)

    def __subclasscheck__(cls, c: type) -> bool:
        return issubclass(c, type)


TYPE = stand_in(type, _TypeType("type", (type,), {}))
CREATORS = (np.zeros, np.ones, np.empty, np.eye, np.identity, np.arange, np.linspace, np.zeros_like, np.ones_like,
            np.empty_like, np.full_like, np.copy, np.logspace, np.geomspace, np.tri, np.diag)


def _overrides() -> dict[str, Any]:
    """The names that differ from the real numpy."""
    names: dict[str, Any] = {f.__name__: creator(f) for f in CREATORS}
    names |= {"array": _array, "full": _full, "fromiter": _from_iterable, "isscalar": _is_scalar,
              "ndenumerate": _enumerated,
              "vectorize": vectorize, "frompyfunc": FromPython, "nditer": nditer,
              "require": _as_array(original=np.require),
              "asarray": _as_array(), "asanyarray": _as_array(original=np.asanyarray),
              "ascontiguousarray": _as_array(1, original=np.ascontiguousarray),
              "asfortranarray": _as_array(original=np.asfortranarray),
              "asarray_chkfinite": _as_array(original=np.asarray_chkfinite),
              "r_": Joiner(np.r_, construction.hstack), "c_": Joiner(np.c_, construction.column_stack),
              **{t.__name__: number_type(t) for t in (np.float64, np.float32, np.complex128, np.complex64, np.int64)}}
    names |= {"double": names["float64"], "int_": names["int64"], "intp": names["int64"]}
    return names


def _namespace(module: types.ModuleType, overrides: dict[str, Any]) -> types.ModuleType:
    """A stand-in for a module: dispatched functions and ufuncs routed, `overrides` replaced, the rest as it is."""
    made = types.ModuleType(module.__name__, module.__doc__)
    contents = dict(vars(module))
    for name, value in vars(module).items():
        if name in overrides:
            contents[name] = stand_in(value, overrides[name])
        elif isinstance(value, np.ufunc):
            contents[name] = stand_in(value, RoutedUfunc(value))
        elif type(value) is type(np.sum) or (isinstance(value, types.FunctionType) and value in FUNCTIONS):
            contents[name] = stand_in(value, routed(value))
    contents["__getattr__"] = functools.partial(getattr, module)
    vars(made).update(contents)
    return stand_in(module, made)


LINALG = _namespace(np.linalg, {})
FOURIER = _namespace(np.fft, {})
STRIDES = _namespace(np.lib.stride_tricks, {})
LIB = _namespace(np.lib, {"stride_tricks": STRIDES})
POLYNOMIAL = types.ModuleType(np.polynomial.__name__)
vars(POLYNOMIAL)["__getattr__"] = lambda name: rewritten(getattr(np.polynomial, name))
NUMPY = _namespace(np, {**_overrides(), "linalg": LINALG, "fft": FOURIER, "lib": LIB, "polynomial": POLYNOMIAL})
IN_PLACE.update((np.fill_diagonal, np.put, np.copyto, np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis,
                 np.rollaxis, np.squeeze, np.expand_dims, np.diagonal, np.atleast_1d, np.atleast_2d, np.atleast_3d,
                 np.split, np.array_split, np.flip, np.fliplr, np.flipud, np.rot90))

# -- math ----------------------------------------------------------------------------------------------------------


def _math_function(original: Callable, rule: Callable) -> Callable:
    @functools.wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        args = tuple(map(listed, args))
        if not has_tracers(args, kwargs):
            return original(*args, **kwargs)
        mark()
        return rule(*args, **kwargs)

    return stand_in(original, run)


def listed(x: Any) -> Any:
    """The items of an iterator, which looking for traced values would use up."""
    return list(x) if isinstance(x, Iterator) else x


def _with_rules(module: types.ModuleType, rules: dict[str, Callable]) -> types.ModuleType:
    """The stand-in for a module of functions of numbers."""
    made = types.ModuleType(module.__name__, module.__doc__)
    replaced = {name: _math_function(getattr(module, name), rule) for name, rule in rules.items()
                if hasattr(module, name)}
    vars(made).update({**vars(module), **replaced})
    return stand_in(module, made)


MATHEMATICS = _with_rules(math, {name: raising(name, rule) for name, rule in MATH.items()})
CMATHEMATICS = _with_rules(cmath, CMATH)


@functools.cache
def statistics_namespace() -> types.ModuleType:
    """The stand-in for Python's statistics, made when the user has imported it."""
    return _with_rules(sys.modules["statistics"], STATISTICS)

# -- scipy, where the user has imported it --------------------------------------------------------------------------


SCIPY_PARTS = ("fft", "integrate", "linalg", "optimize", "signal", "sparse", "spatial.distance", "special",
               "stats")


def scipy_namespace(name: str) -> types.ModuleType:
    """The stand-in for scipy or one of its parts, made anew when the user has imported another part."""
    return _scipy(name, tuple(p for p in SCIPY_PARTS if f"scipy.{p}" in sys.modules))


@functools.cache
def _scipy(name: str, loaded: tuple[str, ...]) -> types.ModuleType:
    from symhess.trace.distributions import distributions
    from symhess.trace.scipy_rules import RULES
    from symhess.trace.sparse import makers

    module, part = sys.modules[name], name.partition(".")[2]
    rules, complex_rules = RULES.get(part, {}), fourier.SCIPY.get(part, {})
    rules = rules | (scipy_linalg.RULES if part == "linalg" else complex_rules)
    complex_rules = scipy_linalg.COMPLEX if part == "linalg" else complex_rules
    COMPLEX_RULES.update({getattr(module, f): rule for f, rule in complex_rules.items()})
    replaced = {f: routed_rule(getattr(module, f), rule) for f, rule in rules.items()
                if hasattr(module, f)}
    if part == "stats":
        replaced |= distributions(module)
    if part == "sparse":
        replaced |= {f: stand_in(getattr(module, f), made) for f, made in makers(module).items()}
    if not part:
        replaced |= {p: _scipy(f"scipy.{p}", loaded) for p in loaded if "." not in p}
        if "spatial.distance" in loaded:
            replaced["spatial"] = _scipy("scipy.spatial", loaded)
    if part == "spatial":
        replaced["distance"] = _scipy("scipy.spatial.distance", loaded)
    return _namespace(module, replaced)


def routed_rule(function: Callable, rule: Callable) -> Callable:
    FUNCTIONS[function] = rule
    return routed(function)


# -- built-in functions --------------------------------------------------------------------------------------------


def _extreme(original: Callable, ufunc: np.ufunc) -> Callable:
    @functools.wraps(original)
    def run(*args: Any, **options: Any) -> Any:
        items = list(args[0]) if len(args) == 1 else args
        if options or len(items) < 1 or not any(isinstance(i, Tracer) for i in items):
            return original(*((items,) if len(args) == 1 else args), **options)
        mark()
        found = functools.reduce(lambda a, b: call_ufunc(ufunc, (a, b)), items)
        return python_number(found) if all(map(is_python, items)) else found

    return stand_in(original, run)


def _isinstance(x: Any, kinds: Any) -> bool:
    if isinstance(x, kinds):
        return True
    session = current_session()
    if session is not None and session.rewriter.originals:
        kinds = _unshadowed(kinds, session.rewriter.originals)
        if isinstance(x, kinds):
            return True
    return isinstance(x, Tracer) and issubclass(np.ndarray if x.ndim else x.dtype.type, kinds)


def _unshadowed(kinds: Any, originals: dict[type, type]) -> Any:
    """The kinds that isinstance was asked about, rewritten classes replaced by the user's own."""
    if isinstance(kinds, tuple):
        return tuple(_unshadowed(k, originals) for k in kinds)
    return originals.get(kinds, kinds) if isinstance(kinds, type) else kinds


def rewritten(value: Any) -> Any:
    """What the running trace puts in the place of a module or a function."""
    session = current_session()
    return value if session is None else session.rewriter.replace(value)


def _import(name: str, *args: Any, **kwargs: Any) -> Any:
    return rewritten(builtins.__import__(name, *args, **kwargs))


def _hasattr(x: Any, name: str) -> bool:
    """hasattr(), which sees the attributes that NumPy's arrays and numbers have."""
    return hasattr(x.__class__ if isinstance(x, Tracer) else x, name)


def _print(*items: Any, **options: Any) -> None:
    """print(), which describes traced values: their numbers would tie the trace to this call."""
    print(*(repr(i) if isinstance(i, Tracer) else i for i in items), **options)


BUILTINS = {**vars(builtins), "float": FLOAT, "complex": COMPLEX, "max": _extreme(max, np.maximum),
            "min": _extreme(min, np.minimum), "isinstance": stand_in(isinstance, _isinstance), "type": TYPE,
            "__import__": _import, "print": stand_in(print, _print), "hasattr": stand_in(hasattr, _hasattr)}

Tracer.__array_namespace__ = lambda self, *, api_version=None: NUMPY
