"""Making arrays out of traced values: np.array of nested lists, joining, copies, constants shaped like a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symhess.errors import ShapeMismatch, UnsupportedOperation
from symhess.graph.node import Node
from symhess.primitives import broadcast_to, concatenate, reshape, stack
from symhess.trace.functions import implements, tracers_in
from symhess.trace.session import current_session, graph_dtype, here, mark
from symhess.trace.shaping import at_least_1d, at_least_2d, at_least_3d, traced
from symhess.trace.tracer import Tracer, buffer, python_number, wrap
from symhess.trace.ufuncs import node_of_any, promotion_type


def array(x: Any, dtype: Any = None, copy: Any = True, order: Any = None, subok: bool = False, ndmin: int = 0,
          like: Any = None) -> Any:
    """np.array: a copy of an array, or one array from nested lists of numbers and traced values."""
    if isinstance(x, Tracer):
        made = converted(x, dtype) if not copy else converted(x, dtype, fresh=True)
    elif any(True for _ in tracers_in(x)):
        made = _from_nested(x, dtype) if not _wants_complex(x, dtype) else complex_array(x, dtype)
    else:
        made = buffer(np.array(x, dtype=dtype), current_session())
    while made.ndim < ndmin:
        made = made[None]
    return made


def converted(x: Tracer, dtype: Any = None, fresh: bool = False) -> Tracer:
    """The tracer with another element type; itself if nothing changes and no fresh copy is wanted."""
    mark()
    dtype = x.dtype if dtype is None else np.dtype(dtype)
    if dtype == x.dtype and not fresh:
        return x
    if dtype.kind == "c":
        return complex_array(x, dtype, fresh)
    data = x.concrete
    if data is not None:
        return buffer(data.astype(dtype), current_session() or x._session)
    from symhess.trace.assignment import cast_for_write

    return wrap(cast_for_write(x.node, graph_dtype(dtype)), x)


def _from_nested(x: Any, dtype: Any) -> Tracer:
    """Collect the leaves and their positions; rank-0 leaves are stacked, arrays are concatenated."""
    leaves: list[Any] = []
    shape = _collect(_evened(x), leaves)
    inner = np.shape(leaves[0])
    if any(np.shape(leaf) != inner for leaf in leaves):
        raise ValueError(f"setting an array element with a sequence: the parts have shapes "
                         f"{sorted({np.shape(leaf) for leaf in leaves})}{here()}")
    if dtype is None:
        dtype = np.result_type(*{promotion_type(leaf) for leaf in leaves})
    nodes = [node_of_any(leaf, dtype) for leaf in leaves]
    session = current_session()
    if not inner:
        return Tracer(reshape(stack(nodes), shape), session)
    joined = concatenate([reshape(n, (1, *inner)) for n in nodes], 0)
    return Tracer(reshape(joined, (*shape, *inner)), session)


def _wants_complex(x: Any, dtype: Any) -> bool:
    from symhess.trace.complex_tracer import is_complex

    return is_complex(x) or (dtype is not None and np.dtype(dtype).kind == "c")


def complex_array(x: Any, dtype: Any, fresh: bool = True) -> Any:
    """Nested lists, or an array, as complex numbers: the same of both parts."""
    from symhess.trace.complex_tracer import pair, parts

    real = None if dtype is None else np.zeros(1, dtype).real.dtype
    re, im = parts(x)
    if type(im) is float:
        return pair(converted(re, real, fresh), np.zeros(re.shape, real))
    return pair(*(converted(v, real, fresh) if isinstance(v, Tracer) else _from_nested(v, real) for v in (re, im)))


def _evened(x: Any) -> Any:
    """Lists that stand beside arrays, at any depth, turned into arrays."""
    if not isinstance(x, (list, tuple)):
        return x
    items = [_evened(i) for i in x]
    if any(isinstance(i, list) for i in items) and any(np.ndim(i) for i in items if not isinstance(i, list)):
        return [array(i) if isinstance(i, list) else i for i in items]
    return items


def _collect(x: Any, leaves: list[Any]) -> tuple[int, ...]:
    """Append the leaves of nested lists in order; the shape of the nesting."""
    if not isinstance(x, (list, tuple)):
        leaves.append(x.concrete[()] if isinstance(x, Tracer) and x.concrete is not None else x)
        return ()
    shapes = {_collect(item, leaves) for item in x}
    if len(shapes) > 1:
        raise ValueError(f"setting an array element with a sequence: rows of unequal shapes "
                         f"{sorted(shapes)}{here()}")
    return (len(x), *(shapes.pop() if shapes else ()))


# -- joining -------------------------------------------------------------------------------------------------------


def _common(arrays: Sequence[Any], dtype: Any = None) -> list[Node]:
    arrays = [traced(a) for a in arrays]
    dtype = np.result_type(*(promotion_type(a) for a in arrays)) if dtype is None else dtype
    return [node_of_any(a, dtype) for a in arrays]


@implements(np.concatenate)
def concatenate_(arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind",
                 ) -> Any:
    nodes = _common(arrays, dtype)
    if axis is None:
        nodes, axis = [reshape(n, (n.size,)) for n in nodes], 0
    if len({n.ndim for n in nodes}) > 1 or not nodes[0].ndim:
        raise ShapeMismatch(f"all the input array dimensions must match, got {[n.ndim for n in nodes]}{here()}")
    axis = np.lib.array_utils.normalize_axis_index(axis, nodes[0].ndim)
    if len({n.shape[:axis] + n.shape[axis + 1:] for n in nodes}) > 1:
        raise ShapeMismatch(f"all the input array dimensions except for the concatenation axis must match exactly, "
                            f"got shapes {[n.shape for n in nodes]}{here()}")
    return joined(nodes, axis)


def joined(nodes: Sequence[Node], axis: int) -> Node:
    """Concatenation; vectors of length one are stacked, which keeps scalar code scalar."""
    if all(n.shape == (1,) for n in nodes):
        return stack([reshape(n, ()) for n in nodes])
    return concatenate(nodes, axis)


@implements(np.stack)
def stack_(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    nodes = _common(arrays, dtype)
    if len({n.shape for n in nodes}) > 1:
        raise ShapeMismatch(f"all input arrays must have the same shape, got {[n.shape for n in nodes]}{here()}")
    if not nodes[0].ndim:
        return stack(nodes)
    axis = np.lib.array_utils.normalize_axis_index(axis, nodes[0].ndim + 1)
    return concatenate([reshape(n, (*n.shape[:axis], 1, *n.shape[axis:])) for n in nodes], axis)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    parts = list(map(at_least_1d, tup))
    return concatenate_(parts, 0 if parts[0].ndim == 1 else 1, dtype=dtype)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    return concatenate_(list(map(at_least_2d, tup)), 0, dtype=dtype)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    return concatenate_(list(map(at_least_3d, tup)), 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    parts = [traced(a) for a in tup]
    return concatenate_([at_least_2d(a).T if a.ndim < 2 else a for a in parts], 1)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    return concatenate_((arr, values), axis)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """Found by inserting position numbers: negative ones stand for the inserted values."""
    a, v = traced(arr), traced(values)
    if axis is None:
        a, axis = a.reshape(-1), 0
    places = np.arange(a.size).reshape(a.shape)
    numbers = -1 - np.arange(v.size).reshape(v.shape)
    where = np.insert(places, obj, numbers, axis)
    pool = concatenate_((a.reshape(-1), v.reshape(-1)))
    return pool[np.where(where < 0, a.size - 1 - where, where)]


@implements(np.block)
def block(arrays: Any) -> Any:
    depth = _depth(arrays)
    rank = max(depth, *(np.ndim(leaf) for leaf in _leaves(arrays)))

    def join(x: Any, level: int) -> Any:
        if not isinstance(x, list):
            x = traced(x)
            return x.reshape((1,) * (rank - x.ndim) + x.shape)
        return concatenate_([join(i, level - 1) for i in x], rank - level)

    return join(arrays, depth)


def _depth(x: Any) -> int:
    return 1 + max(map(_depth, x)) if isinstance(x, list) else 0


def _leaves(x: Any) -> list:
    return [leaf for i in x for leaf in _leaves(i)] if isinstance(x, list) else [x]


# -- copies and constants ------------------------------------------------------------------------------------------


@implements(np.copy)
def copy(a: Any, order: Any = "K", subok: bool = False) -> Any:
    return converted(a, fresh=True)


def _filled_like(value: Any) -> Any:
    def rule(a: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, *,
             device: Any = None) -> Any:
        return full_like(a, value, dtype, shape=shape)

    return rule


@implements(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, *,
              device: Any = None) -> Any:
    return full(np.shape(a) if shape is None else shape, fill_value, promotion_of(a) if dtype is None else dtype)


def promotion_of(a: Any) -> np.dtype:
    return a.dtype if isinstance(a, Tracer) else np.asarray(a).dtype


zeros_like = implements(np.zeros_like, np.empty_like)(_filled_like(0))
ones_like = implements(np.ones_like)(_filled_like(1))


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None,
         like: Any = None) -> Any:
    """np.full, also with a traced fill value."""
    shape = tuple(int(n) for n in shape) if np.iterable(shape) else (int(shape),)
    if _wants_complex(fill_value, dtype) and isinstance(fill_value, Tracer):
        return np.broadcast_to(complex_array(fill_value, dtype), shape).copy()
    if not isinstance(fill_value, Tracer):
        return buffer(np.full(shape, fill_value, dtype), current_session())
    return wrap(broadcast_to(node_of_any(fill_value, dtype), shape), fill_value)


@implements(np.arange)
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: Any = None) -> Any:
    """start + k step for k < (stop - start) / step; how many there are is decided by this call."""
    start, stop = (0, start) if stop is None else (start, stop)
    count = int(np.ceil(traced((stop - start) / step)))
    return converted(traced(start + step * np.arange(max(count, 0))), dtype)


@implements(np.linspace)
def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
             axis: int = 0, *, device: Any = None) -> Any:
    """start + k (stop - start) / (num - 1)."""
    step = (stop - traced(start)) / max(num - endpoint, 1)
    places = np.arange(num).reshape([-1] + [1] * step.ndim)
    made = np.moveaxis(converted(start + places * step, dtype), 0, axis)
    return (made, step) if retstep else made


def _astype(self: Tracer, dtype: Any, order: Any = "K", casting: str = "unsafe", subok: bool = True,
            copy: bool = True) -> Any:
    return converted(self, dtype, fresh=copy)


implements(np.astype)(lambda a, dtype, /, *, copy=True, device=None: converted(a, dtype, fresh=copy))
implements(np.result_type)(lambda *args: np.result_type(*map(promotion_or_type, args)))
implements(np.common_type)(lambda *arrays: np.result_type(np.float32, *map(promotion_or_type, arrays)).type)
implements(np.can_cast)(lambda a, to, casting="safe": np.can_cast(promotion_or_type(a), to, casting))
implements(np.min_scalar_type)(lambda a: a.dtype)


def promotion_or_type(x: Any) -> Any:
    return x.dtype if isinstance(x, Tracer) else x


def _item(self: Tracer, *index: Any) -> Any:
    if not index:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return python_number(self.reshape(()))
    return self.reshape(-1)[index[0]] if len(index) == 1 and not isinstance(index[0], tuple) else self[index]


def _to_list(self: Tracer) -> Any:
    return [part.tolist() if isinstance(part, Tracer) else part for part in self] if self.ndim else self.item()


def _fill(self: Tracer, value: Any) -> None:
    self[...] = value


def _view(self: Tracer, dtype: Any = None, type: Any = None) -> Any:
    mark()
    if dtype is not None and dtype is not np.ndarray and np.dtype(dtype) != self.dtype:
        raise UnsupportedOperation(f"view(dtype) reads the bytes of a traced array{here()}; use astype")
    return self[...]

def _is_integer(self: Tracer) -> bool:
    return bool(np.floor(self) == self)


def _rounded(self: Tracer, digits: int | None = None) -> Any:
    return int(np.rint(self)) if digits is None else np.round(self, digits)


Tracer.__round__ = _rounded
Tracer.__trunc__ = lambda self: int(self)
Tracer.__floor__ = lambda self: int(np.floor(self))
Tracer.__ceil__ = lambda self: int(np.ceil(self))
Tracer.astype = _astype
Tracer.copy = lambda self, order="C": converted(self, fresh=True)
Tracer.item = _item
Tracer.is_integer = _is_integer
Tracer.tolist = _to_list
Tracer.fill = _fill
Tracer.view = _view
