"""Functions that only move elements: views through strides, the rest through index tables, all by NumPy itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.errors import ShapeMismatch, UnsupportedOperation
from symhess.graph.node import Node
from symhess.primitives import reshape, transpose
from symhess.trace.functions import finished, implements
from symhess.trace.indexing import moved
from symhess.trace.session import here
from symhess.trace.tracer import Tracer
from symhess.trace.ufuncs import node_of_any, rebuffer


def traced(a: Any) -> Tracer:
    """The argument as a tracer; plain arrays and lists become traced constants."""
    if isinstance(a, Tracer):
        return a
    if getattr(a, "dtype", None) is not None and a.dtype.kind == "c":
        return rebuffer(np.asarray(a))
    return finished(node_of_any(a))


def as_view(function: Callable) -> Callable:
    """The rule of a NumPy function that returns a view of its first argument."""

    def rule(a: Any, *args: Any, **kwargs: Any) -> Any:
        return traced(a).viewed(lambda v: function(v, *args, **kwargs))

    return implements(function)(rule)


def as_movement(function: Callable) -> Callable:
    """The rule of a NumPy function that copies elements of its first argument to other places."""

    def rule(a: Any, *args: Any, **kwargs: Any) -> Any:
        return moved(node_of_any(a), lambda v: function(v, *args, **kwargs))

    return implements(function)(rule)


for _function in (np.swapaxes, np.moveaxis, np.rollaxis, np.squeeze, np.expand_dims, np.flip, np.fliplr, np.flipud,
                  np.rot90, np.broadcast_to, np.diagonal, np.lib.stride_tricks.sliding_window_view,
                  np.permute_dims if hasattr(np, "permute_dims") else np.transpose, np.matrix_transpose):
    as_view(_function)
for _function in (np.roll, np.tile, np.repeat, np.delete, np.resize, np.take_along_axis):
    as_movement(_function)


@implements(np.transpose)
def transposed(a: Any, axes: Any = None) -> Any:
    return traced(a).viewed(lambda v: np.transpose(v, axes))


def _target(size: int, shape: Any) -> tuple[int, ...]:
    """The shape with -1 worked out."""
    shape = tuple(int(n) for n in shape) if np.iterable(shape) else (int(shape),)
    if shape.count(-1) == 1:
        rest = -math.prod(shape)
        if rest and size % rest == 0:
            shape = tuple(size // rest if n == -1 else n for n in shape)
    if math.prod(shape) != size or any(n < 0 for n in shape):
        raise ShapeMismatch(f"cannot reshape array of size {size} into shape {shape}{here()}")
    return shape


def _reshaped(a: Any, shape: Any, order: str = "C") -> Any:
    a = traced(a)
    shape = _target(a.size, shape)
    if order in ("A", "K", "a", "k") and a.ndim > 1 and a.concrete is None:
        raise UnsupportedOperation(f"order={order!r} goes by the layout in memory, which a traced array does not have"
                                   f"{here()}; use order=\"C\" or order=\"F\"")
    order = "F" if order in ("F", "f") else "C"
    rule = (lambda n: _fortran(n, shape)) if order == "F" else (lambda n: reshape(n, shape))
    if 0 in shape or not _reshapes_in_place(a.layout(), shape, order):
        data = a.concrete
        return finished(rule(a.node)) if data is None else rebuffer(data.reshape(shape, order=order).copy())
    return a.viewed(lambda v: np.reshape(v, shape, order=order), rule)


def _reshapes_in_place(layout: np.ndarray, shape: tuple[int, ...], order: str) -> bool:
    """True if NumPy would return a view, False if it would copy."""
    if order == "F":
        layout, shape = layout.T, shape[::-1]
    try:
        layout.reshape(shape, copy=False)
    except ValueError:
        return False
    return True


def _fortran(node: Node, shape: tuple[int, ...]) -> Node:
    """Reshape in Fortran order: transpose, reshape in C order, transpose."""
    backwards = transpose(node, range(node.ndim)[::-1])
    return transpose(reshape(backwards, shape[::-1]), range(len(shape))[::-1])


@implements(np.reshape)
def reshape_(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Any:
    return _reshaped(a, newshape if shape is None else shape, order)


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    a = traced(a)
    if a.concrete is not None and order in ("A", "K", "a", "k"):
        order = "F" if a.concrete.flags.fnc else "C"
    return _reshaped(a, -1, order)


def _at_least(ndim: int, function: Callable) -> Callable:
    def rule(*arrays: Any) -> Any:
        made = [a.viewed(function) if a.ndim < ndim else a for a in map(traced, arrays)]
        return made[0] if len(made) == 1 else tuple(made)

    return implements(function)(rule)


at_least_1d = _at_least(1, np.atleast_1d)
at_least_2d = _at_least(2, np.atleast_2d)
at_least_3d = _at_least(3, np.atleast_3d)


@implements(np.broadcast_arrays)
def broadcast_arrays(*arrays: Any, subok: bool = False) -> tuple:
    shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
    return tuple(np.broadcast_to(traced(a), shape) for a in arrays)


@implements(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    a = traced(a)
    if axis is None:
        a, axis = a.reshape(-1), 0
    if not isinstance(indices, Tracer):
        return moved(a.node, lambda v: np.take(v, indices, axis, mode=mode))
    return a[(slice(None),) * (axis % a.ndim) + (indices,)]



@implements(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    return take(a, np.flatnonzero(condition), axis)


implements(np.extract)(lambda condition, arr: take(arr, np.flatnonzero(condition)))


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    picks = range(len(choices))
    return np.select([np.equal(a, k) for k in picks], [choices[k] for k in picks])


# -- splitting -----------------------------------------------------------------------------------------------------


@implements(np.array_split)
def array_split(a: Any, indices_or_sections: Any, axis: int = 0) -> list:
    a = traced(a)
    cuts = np.array_split(np.arange(a.shape[axis]), indices_or_sections)
    lead = (slice(None),) * (axis % a.ndim)
    return [a[(*lead, slice(int(c[0]), int(c[-1]) + 1) if len(c) else slice(0, 0))] for c in cuts]


@implements(np.split)
def split(a: Any, indices_or_sections: Any, axis: int = 0) -> list:
    a = traced(a)
    if not np.iterable(indices_or_sections) and a.shape[axis] % indices_or_sections:
        raise ValueError(f"array split does not result in an equal division{here()}")
    return array_split(a, indices_or_sections, axis)


def _split_along(axis: int) -> Callable:
    def rule(a: Any, indices_or_sections: Any) -> list:
        a = traced(a)
        return split(a, indices_or_sections, 0 if a.ndim == 1 else axis)

    return rule


hsplit = implements(np.hsplit)(_split_along(1))
implements(np.vsplit)(lambda a, indices_or_sections: split(a, indices_or_sections, 0))
implements(np.dsplit)(lambda a, indices_or_sections: split(a, indices_or_sections, 2))
if hasattr(np, "unstack"):
    implements(np.unstack)(lambda a, /, *, axis=0: tuple(np.moveaxis(a, axis, 0)))


# -- queries, methods and attributes -------------------------------------------------------------------------------

implements(np.shape)(lambda a: tuple(traced(a).shape))
implements(np.ndim)(lambda a: traced(a).ndim)
implements(np.size)(lambda a, axis=None: traced(a).size if axis is None else traced(a).shape[axis])
for _function in (np.array2string, np.array_str, np.array_repr):
    implements(_function)(lambda a, *args, show=_function, **options: show(a.shown(), *args, **options))
implements(np.iscomplexobj)(lambda a: False)
implements(np.isrealobj)(lambda a: True)
implements(np.isreal)(lambda a: np.ones(a.shape, bool))
implements(np.iscomplex)(lambda a: np.zeros(a.shape, bool))
implements(np.real)(lambda a: a)
implements(np.real_if_close)(lambda a, tol=100: a)
implements(np.imag)(lambda a: np.zeros_like(a))
implements(np.may_share_memory, np.shares_memory)(lambda a, b, max_work=None: _memory_of(a) is _memory_of(b))


def _memory_of(a: Any) -> Any:
    return a._owner() if isinstance(a, Tracer) else a


def _flat_arguments(args: tuple) -> Any:
    return args[0] if len(args) == 1 and (args[0] is None or np.iterable(args[0])) else args


def _method_reshape(self: Tracer, *shape: Any, order: str = "C", copy: Any = None) -> Any:
    return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)


def _method_transpose(self: Tracer, *axes: Any) -> Any:
    return np.transpose(self, _flat_arguments(axes) if axes else None)


Tracer.reshape = _method_reshape
Tracer.transpose = _method_transpose
Tracer.flatten = lambda self, order="C": np.ravel(self, order).copy()
Tracer.T = property(lambda self: np.transpose(self))
Tracer.mT = property(lambda self: np.matrix_transpose(self))
Tracer.conj = Tracer.conjugate = lambda self: np.conjugate(self)
Tracer.__contains__ = lambda self, item: bool(np.any(self == item))
Tracer.flags = property(lambda self: self.layout().flags)
Tracer.strides = property(lambda self: tuple(n * self.itemsize for n in self.layout().strides))
Tracer.real = property(lambda self: self)
Tracer.imag = property(lambda self: np.zeros_like(self))
Tracer.flat = property(lambda self: np.ravel(self))
Tracer.compress = lambda self, condition, axis=None, out=None: np.compress(condition, self, axis)
