"""Writing into traced arrays, and keys that themselves depend on the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from symhess.errors import DTypeMismatch, ShapeMismatch
from symhess.graph.node import Node
from symhess.primitives import apply, broadcast_to, cast, reshape
from symhess.trace.lookup import look_up
from symhess.trace.session import current_session, here, known
from symhess.trace.tracer import Tracer, wrap

_REMEDY = ("use np.where, or let the function be retraced for every outcome (mode=\"auto\")")


def plain_key(key: Any, array: Tracer) -> tuple[Any, bool]:
    """The key with traced parts replaced by their values where these are constants; True if some are not."""
    items = key if type(key) is tuple else (key,)
    if not any(isinstance(k, (Tracer, list)) for k in items):
        return key, False
    plain = [_plain(k) for k in items]
    dynamic = any(isinstance(k, Tracer) for k in plain)
    return (tuple(plain) if type(key) is tuple else plain[0]), dynamic


def _plain(k: Any) -> Any:
    if isinstance(k, list) and any(isinstance(i, Tracer) for i in k):
        from symhess.trace.construction import array

        k = array(k)
    if not isinstance(k, Tracer):
        return k
    data = k.concrete
    if data is None and known(k.node):
        data = np.asarray(k)
    if data is None:
        return k
    return int(data) if data.ndim == 0 and data.dtype.kind == "i" else data


def dynamic_item(array: Tracer, key: Any) -> Any:
    """array[key] where (part of) the key depends on the inputs: integers are looked up at run time, masks decided."""
    items = key if type(key) is tuple else (key,)
    moving = [d for d, k in enumerate(items) if isinstance(k, Tracer)]
    if len(moving) == 1 and items[moving[0]].dtype.kind == "i" and not any(k is None or k is Ellipsis for k in items):
        nodes = [k.node if isinstance(k, Tracer) else k for k in items]
        found = look_up(array.node, nodes, moving[0])
        if found is not None:
            return wrap(found, array)
    return array[decided_key(key)]


def decided_key(key: Any) -> Any:
    """The key with every traced part replaced by its value for this call, guarded."""
    def decide(k: Any) -> Any:
        if not isinstance(k, Tracer):
            return k
        if k.dtype.kind == "f":
            raise IndexError("arrays used as indices must be of integer (or boolean) type")
        value = (current_session() or k._session).decide_array(k.node, "an index", _REMEDY)
        return int(value) if value.ndim == 0 and value.dtype.kind == "i" else value

    return tuple(map(decide, key)) if type(key) is tuple else decide(key)


def assign(array: Tracer, key: Any, value: Any) -> None:
    """array[key] = value."""
    from symhess.trace.ufuncs import as_operand

    key, dynamic = plain_key(key, array)
    memory = array._memory()
    value = as_operand(value)
    if dynamic:
        if isinstance(key, Tracer) and key.dtype.kind == "b" and key.shape == array.shape and not np.ndim(value):
            overwrite(array, _select(key, value, array))
            return
        key = decided_key(key)
    plain = value.concrete if isinstance(value, Tracer) else np.asarray(value)
    if plain is not None and memory.concrete:
        array.concrete[key] = plain
        memory.version += 1
        return
    cells = array.cells()[key]
    if plain is not None:
        memory.write_numbers(cells, plain)
    else:
        _write(array, memory, cells, value.node)


def _select(mask: Tracer, value: Any, array: Tracer) -> Tracer:
    from symhess.trace.ufuncs import select

    return select(mask, value, array, dtype=array.dtype)


def _write(array: Tracer, memory: Any, cells: Any, node: Node) -> None:
    node = fitted(cast_for_write(node, memory.dtype), np.shape(cells))
    if array._root is None and np.shape(cells) == memory.shape and cells is not None and node.ndim \
            and np.array_equal(cells, memory.shadow):
        memory.replace(node)
    else:
        memory.write(cells, node)


def cast_for_write(node: Node, dtype: np.dtype) -> Node:
    """The value as the array stores it: floats are cut to integers where NumPy would do so."""
    if node.dtype.kind == "f" and dtype.kind in "iu":
        node = apply("trunc", node)
    return cast(node, dtype)


def fitted(node: Node, shape: tuple[int, ...]) -> Node:
    """The value broadcast to the part that it is written into; extra leading axes of size 1 are dropped."""
    extra = node.ndim - len(shape)
    if extra > 0 and all(n == 1 for n in node.shape[:extra]):
        node = reshape(node, node.shape[extra:])
    try:
        return broadcast_to(node, shape)
    except ShapeMismatch:
        raise ShapeMismatch(f"could not broadcast input array from shape {node.shape} into shape {shape}{here()}") \
            from None


def overwrite(array: Tracer, result: Tracer) -> Tracer:
    """All of `array` takes the value `result` (in-place operators)."""
    if result.shape != array.shape:
        raise ShapeMismatch(f"non-broadcastable output operand with shape {array.shape} doesn't match the broadcast "
                            f"shape {result.shape}{here()}")
    if not np.can_cast(result.dtype, array.dtype, casting="same_kind"):
        raise DTypeMismatch(f"cannot cast the result of an in-place operation from {result.dtype} to "
                            f"{array.dtype}{here()}; write x = x + y instead of x += y")
    array.thaw()
    array[...] = result
    return array


def scattered(array: Tracer, indices: object, values: object) -> Tracer:
    """Zeros shaped as `array`, with `values` added at `indices`, repeated ones every time."""
    from symhess.graph.maps import table_map
    from symhess.primitives import scatter
    from symhess.trace.indexing import coordinates
    from symhess.trace.ufuncs import node_of_any

    key, dynamic = plain_key(indices, array)
    key = decided_key(key) if dynamic else key
    places = [np.asarray(c[key]) for c in coordinates(array.shape)]
    box = places[0].shape
    node = fitted(cast_for_write(node_of_any(values), array.dtype), box)
    return wrap(scatter(node, [table_map(p, box) for p in places], array.shape), array)
