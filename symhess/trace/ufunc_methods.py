"""The methods of ufuncs on traced arrays: reduce, accumulate, outer, at, reduceat."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.errors import UnsupportedOperation
from symhess.graph.maps import all_different, identity_maps, table_map
from symhess.primitives import RUNNING, running, scatter
from symhess.trace import reductions
from symhess.trace.complex_tracer import is_complex
from symhess.trace.construction import concatenate_, stack_
from symhess.trace.functions import finished, unsupported
from symhess.trace.session import here
from symhess.trace.shaping import traced
from symhess.trace.tracer import Tracer

NO_VALUE = np._NoValue
_REDUCE = {"add": reductions.sum, "multiply": reductions.prod, "maximum": reductions.max, "minimum": reductions.min,
           "logical_and": reductions.all, "logical_or": reductions.any}
_ACCUMULATE = {"add": reductions.cumsum_, "multiply": reductions.cumprod}
_COMPLEX = {"add": np.sum, "multiply": np.prod}
#: f(f(a, b), c) = f(a, f(b, c)): a running result takes log2(n) steps
_ASSOCIATIVE = frozenset(("maximum", "minimum", "fmax", "fmin", "logaddexp", "logaddexp2", "hypot", "logical_and",
                          "logical_or", "logical_xor"))


def _of_complex(ufunc: np.ufunc, table: dict[str, Callable]) -> Callable:
    if ufunc.__name__ not in table:
        raise unsupported(f"{ufunc.__name__} along an axis of complex numbers")
    return table[ufunc.__name__]


def _reduce(ufunc: np.ufunc, a: Any, axis: Any = 0, dtype: Any = None, keepdims: bool = False,
            initial: Any = NO_VALUE, where: Any = True) -> Any:
    rule = _REDUCE.get(ufunc.__name__)
    if is_complex(a):
        return _of_complex(ufunc, _COMPLEX)(a, axis=axis, keepdims=keepdims)
    given = {} if initial is NO_VALUE or initial is None else {"initial": initial}
    if rule is None:
        if where is not True or ufunc.nin != 2 or ufunc.nout != 1 or ufunc is np.power:  # NumPy has its own idea of it
            raise unsupported(f"{ufunc.__name__}.reduce")
        return fold(ufunc, a, axis, keepdims, **given)
    given |= {} if dtype is None else {"dtype": dtype}
    return rule(a, axis=axis, keepdims=keepdims, where=where, **given)


def fold(function: Callable, a: Any, axis: Any, keepdims: bool, initial: Any = NO_VALUE) -> Any:
    """f(f(f(a_0, a_1), a_2), ...) along one axis after the other."""
    a = traced(a)
    axes = reductions.axes_of(axis, a.ndim)
    for d in sorted(axes, reverse=True):
        lanes = list(np.moveaxis(a, d, 0))
        lanes = lanes if initial is NO_VALUE else [initial, *lanes]
        if not lanes:
            raise ValueError(f"zero-size array to reduction operation which has no identity{here()}")
        a, initial = functools.reduce(function, lanes), NO_VALUE
    return np.expand_dims(a, tuple(axes)) if keepdims else a


def _accumulate(ufunc: np.ufunc, a: Any, axis: int = 0, dtype: Any = None) -> Any:
    rule = _ACCUMULATE.get(ufunc.__name__)
    if is_complex(a):
        return _of_complex(ufunc, {"add": np.cumsum})(a, axis=axis)
    if rule is not None:
        return rule(a, axis=axis, dtype=dtype)
    a = traced(a)
    if ufunc.__name__ in RUNNING and a.dtype != np.bool_:
        return finished(running(ufunc.__name__, a.node, reductions.one_axis(axis, a.ndim)))
    lanes = np.moveaxis(a, axis, 0)
    results = _doubled(ufunc, lanes) if ufunc.__name__ in _ASSOCIATIVE else one_by_one(ufunc, lanes)
    return np.moveaxis(results, 0, axis)


def _doubled(ufunc: np.ufunc, lanes: Tracer) -> Any:
    """Combine every element with the one 1, 2, 4, ... places before it."""
    step = 1
    while step < lanes.shape[0]:
        lanes = concatenate_([lanes[:step], ufunc(lanes[:-step], lanes[step:])], 0)
        step *= 2
    return lanes


def one_by_one(function: Callable, lanes: Tracer) -> Any:
    """The running results a_0, f(a_0, a_1), f(f(a_0, a_1), a_2), ... along the first axis."""
    made: list = []
    for lane in lanes:
        made.append(function(made[-1], lane) if made else lane)
    return stack_(made) if made else lanes


def _outer(ufunc: np.ufunc, a: Any, b: Any, **options: Any) -> Any:
    a, b = traced(a), traced(b)
    return ufunc(a.reshape(a.shape + (1,) * b.ndim), b, **options)


def _at(ufunc: np.ufunc, a: Any, indices: Any, b: Any = None) -> None:
    """ufunc.at: repeated indices count every time, so additions become a scatter of all of them."""
    from symhess.trace.assignment import scattered

    if not isinstance(a, Tracer):
        raise UnsupportedOperation(f"{ufunc.__name__}.at cannot write a traced value into a plain array{here()}; make "
                                   "the array with np.zeros inside the traced function")
    if ufunc is np.add or ufunc is np.subtract:
        total = scattered(a, indices, b)
        a[...] = a + total if ufunc is np.add else a - total
        return
    cells = np.arange(a.size).reshape(a.shape)[indices]
    if all_different(cells):
        a[indices] = ufunc(a[indices]) if b is None else ufunc(a[indices], b)
    elif ufunc.nin == 2:
        flat, b = a.reshape(-1), np.broadcast_to(traced(b), cells.shape).reshape(-1)
        for k, cell in enumerate(cells.reshape(-1).tolist()):
            flat[cell] = ufunc(flat[cell], b[k])
        a[...] = flat.reshape(a.shape)
    else:
        raise unsupported(f"{ufunc.__name__}.at with repeated indices")


def _reduceat(ufunc: np.ufunc, a: Any, indices: Any, axis: int = 0, dtype: Any = None) -> Any:
    """The segments a[i_k : i_{k+1}] reduced, a[i_k] where a segment is empty."""
    starts = np.asarray(indices)
    v = np.moveaxis(traced(a) if dtype is None else traced(a).astype(dtype), axis, 0)
    if ufunc is np.add and np.all(np.diff(starts) > 0):
        total = _segment_sums(v[int(starts[0]):], starts - starts[0])
    else:
        ends = [*starts[1:].tolist(), v.shape[0]]
        total = stack_([_reduce(ufunc, v[i:j]) if i < j else v[i] for i, j in zip(starts.tolist(), ends)])
    return np.moveaxis(total, 0, axis)


def _segment_sums(v: Tracer, starts: np.ndarray) -> Any:
    """Sums of the segments that start at increasing places: a scatter of every element to its segment."""
    segment = np.searchsorted(starts, np.arange(v.shape[0]), side="right") - 1
    maps = list(identity_maps(v.shape))
    maps[0] = table_map(np.broadcast_to(segment.reshape(-1, *(1,) * (v.ndim - 1)), v.shape), v.shape)
    return finished(scatter(v.node, maps, (len(starts), *v.shape[1:])))


UFUNC_METHODS = {"reduce": _reduce, "accumulate": _accumulate, "outer": _outer, "at": _at, "reduceat": _reduceat}
