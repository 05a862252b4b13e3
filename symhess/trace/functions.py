"""The table of NumPy functions that can be traced, and NumPy's entry into it (`__array_function__`)."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from symhess.errors import UnsupportedOperation
from symhess.graph.node import Node
from symhess.trace.refusals import INSTEAD, OTHERWISE
from symhess.trace.session import current_session, here, mark
from symhess.trace.tracer import Tracer
from symhess.trace.ufuncs import into, rebuffer

#: NumPy or SciPy function -> the same function on tracers
FUNCTIONS: dict[Callable, Callable] = {}


def implements(*functions: Callable) -> Callable[[Callable], Callable]:
    """Enter a rule for NumPy functions; nodes in its result become tracers."""

    def enter(rule: Callable) -> Callable:
        @functools.wraps(rule)
        def traced(*args: Any, **kwargs: Any) -> Any:
            return finished(rule(*args, **kwargs))

        for function in functions:
            FUNCTIONS[function] = traced
        return traced

    return enter


def finished(result: Any) -> Any:
    """Nodes, also within lists and tuples, as tracers."""
    if isinstance(result, Node):
        return Tracer(result, current_session())
    if isinstance(result, (list, tuple)):
        made = [finished(r) for r in result]
        return type(result)(*made) if hasattr(result, "_fields") else type(result)(made)
    return result


def unsupported(name: str) -> UnsupportedOperation:
    """The error for a function without a rule, naming the nearest one that has one."""
    from symhess.trace.ufuncs import COMPOSED, SAME

    what = f"numpy function {name} cannot be traced{here()}"
    if name in INSTEAD:
        return UnsupportedOperation(f"{what}; nearest supported: {INSTEAD[name]}")
    names = sorted({f.__name__ for f in FUNCTIONS} | set(COMPOSED) | set(SAME))
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.7)
    return UnsupportedOperation(f"{what}; nearest supported: {', '.join(near) or f'array operations, or {OTHERWISE}'}")


def tracers_in(x: Any) -> Iterable[Tracer]:
    """The tracers in an argument, within lists, tuples and dicts too."""
    if isinstance(x, Tracer):
        yield x
    elif isinstance(x, (list, tuple)):
        for item in x:
            yield from tracers_in(item)
    elif isinstance(x, dict):
        yield from tracers_in(list(x.values()))


def plain(x: Any) -> Any:
    """The argument with buffers that hold only numbers replaced by their arrays."""
    if isinstance(x, Tracer):
        return x.concrete
    if isinstance(x, (list, tuple)) and not hasattr(x, "_fields"):
        return type(x)(map(plain, x))
    return x


def call(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """function(*args, **kwargs) by NumPy itself where all is known, by its rule where something is traced."""
    if _is_complex(function, args, kwargs):
        return _complex_call(function, args, kwargs)
    if function not in IN_PLACE:
        if all(t.concrete is not None for t in tracers_in((args, kwargs))):
            return _by_numpy(function, args, kwargs)
        args, kwargs, out = _without_out(function, args, kwargs)
        if out is not None:
            return into(out, call(function, *args, **kwargs))
        args, kwargs = tuple(map(_known, args)), {k: _known(v) for k, v in kwargs.items()}
    rule = FUNCTIONS.get(function)
    return _by_source(function, args, kwargs) if rule is None else rule(*args, **kwargs)


def _is_complex(function: Callable, args: tuple, kwargs: dict) -> bool:
    """True if complex numbers are traced, or meet traced values, in this call."""
    from symhess.trace.complex_tracer import is_complex

    given = (*args, *(v for k, v in kwargs.items() if k != "dtype"))
    return is_complex(given) and (function in IN_PLACE or any(t.concrete is None for t in tracers_in(given)))


def _complex_call(function: Callable, args: tuple, kwargs: dict) -> Any:
    from symhess.trace.complex_rules import complex_call

    if function not in IN_PLACE:
        args, kwargs, out = _without_out(function, args, kwargs)
        if out is not None:
            return into(out, complex_call(function, args, kwargs))
    return complex_call(function, args, kwargs)


def _without_out(function: Callable, args: tuple, kwargs: dict) -> tuple[tuple, dict, Any]:
    """The arguments, and apart from them the array that the result is to be written into."""
    place = _place_of_out(function)
    if place is not None and len(args) > place:
        return (*args[:place], None, *args[place + 1:]), kwargs, args[place]
    return args, {k: v for k, v in kwargs.items() if k != "out"}, kwargs.get("out")


def _by_numpy(function: Callable, args: tuple, kwargs: dict) -> Any:
    """NumPy's own result for plain numbers, written into the buffer that is given as `out`."""
    result = function(*map(plain, args), **{k: plain(v) for k, v in kwargs.items()})
    out = kwargs.get("out")
    if isinstance(out, Tracer):
        out._memory().version += 1
        return out
    return rebuffer(result)


def _known(x: Any) -> Any:
    """A buffer of plain numbers as an array; everything else, sequences with traced values in them too, as it is."""
    return x.concrete if isinstance(x, Tracer) and x.concrete is not None else x


@functools.cache
def _place_of_out(function: Callable) -> int | None:
    """Which positional argument of a NumPy function is `out`."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    places = [k for k, p in enumerate(parameters) if p.name == "out" and p.kind is p.POSITIONAL_OR_KEYWORD]
    return places[0] if places else None


def _by_source(function: Callable, args: tuple, kwargs: dict) -> Any:
    """Trace through NumPy's own Python code, for functions that are known to be fit for it."""
    name = getattr(function, "__name__", str(function))
    if name not in SOURCED:
        raise unsupported(name)
    try:
        return current_session().rewriter.replace(function._implementation)(*args, **kwargs)
    except UnsupportedOperation as error:
        raise unsupported(name) from error


#: functions that are traced through NumPy's own Python code: it holds nothing but operations that have rules
SOURCED = frozenset((
    "apply_over_axes", "cumulative_prod", "cumulative_sum", "geomspace", "intersect1d", "isneginf", "isposinf",
    "log", "log10", "log2", "logn", "logspace", "pad", "polyadd", "polyder", "polyint", "polysub", "power",
    "put_along_axis", "setdiff1d", "setxor1d", "sqrt", "trim_zeros", "union1d", "unique_all", "unique_counts",
    "unique_inverse", "unique_values", "unwrap", "arccos", "arcsin", "arctanh", "fftshift", "ifftshift", "ix_"))


#: functions that change or view an argument, and so must see the buffer itself
IN_PLACE: set[Callable] = set()


def array_function(self: Tracer, function: Callable, kinds: Any, args: tuple, kwargs: dict) -> Any:
    """NumPy's entry for functions that meet a tracer."""
    mark()
    return call(function, *args, **kwargs)


Tracer.__array_function__ = array_function


def method(name: str, function: Callable) -> None:
    """Make `function` the method `name` of tracers."""

    def run(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        mark()
        if kwargs and (other := self._session.keywords):
            kwargs = {other.get(k, k): v for k, v in kwargs.items()}
        return call(function, self, *args, **kwargs)

    run.__name__ = name
    setattr(Tracer, name, run)


for _name, _function in {
    "sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min, "std": np.std, "var": np.var,
    "dot": np.dot, "any": np.any, "all": np.all, "argmax": np.argmax, "argmin": np.argmin, "argsort": np.argsort,
    "clip": np.clip, "cumsum": np.cumsum, "cumprod": np.cumprod, "diagonal": np.diagonal, "trace": np.trace,
    "repeat": np.repeat, "take": np.take, "ptp": np.ptp, "swapaxes": np.swapaxes, "squeeze": np.squeeze,
    "round": np.round, "nonzero": np.nonzero, "choose": np.choose,
    "searchsorted": np.searchsorted, "ravel": np.ravel, "argpartition": np.argpartition, "put": np.put,
}.items():
    method(_name, _function)
