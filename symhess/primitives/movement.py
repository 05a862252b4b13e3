"""Movement: index (gather by index maps), scatter (its adjoint), reshape, stack, and the dynamic take and put.

    index    u(e) = v(m_1(e), ..., m_k(e))               slices, transposes, broadcasts, flips, gathers, windows
    scatter  u(m(e)) += v(e)                             pads, concatenations, scatter-adds
    reshape  the same elements in C order
    stack    u = (v_1, ..., v_n) of rank-0 nodes
    take     u = v[i] along an axis, i an integer node   (indices known only at run time)
    put      u[i] += v along an axis                     (its adjoint)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from symhess.errors import ShapeMismatch
from symhess.graph.maps import (
    IndexMap,
    axis_map,
    constant_map,
    identity_maps,
    ravel_maps,
    table_map,
    unravel_map,
)
from symhess.graph.node import Node, Primitive, constant, make, register

Shape = tuple[int, ...]


class IndexAttrs(NamedTuple):
    """One map per axis of the argument, over the box of the result."""

    maps: tuple[IndexMap, ...]
    shape: Shape


class ScatterAttrs(NamedTuple):
    """One map per axis of the result, over the box of the argument."""

    maps: tuple[IndexMap, ...]
    shape: Shape


# -- index ---------------------------------------------------------------------------------------------------------


def index(v: Node, maps: Sequence[IndexMap], shape: Sequence[int]) -> Node:
    """u(e) = v(maps(e)) over the box `shape`; nested movement is composed, the identity disappears."""
    maps, shape = tuple(maps), tuple(int(n) for n in shape)
    if shape == v.shape and all(m.is_axis(d, n) for d, (m, n) in enumerate(zip(maps, v.shape))):
        return v
    if v.op is INDEX:
        inner = v.attrs.maps
        return index(v.args[0], [m.compose(maps, shape) for m in inner], shape)
    if v.op is STACK and all(m.is_constant for m in maps):
        return broadcast_to(v.args[maps[0].offset], shape)
    if v.op.name == "constant" and math.prod(shape) <= max(v.size, 64):
        return constant(v.attrs.array[tuple(m.compact for m in maps)] if maps else
                        np.broadcast_to(v.attrs.array, shape)) if _dense_enough(maps, shape) else \
            make(INDEX, (v,), IndexAttrs(maps, shape))
    if v.op is SCATTER:
        through = _index_of_scatter(v, maps, shape)
        if through is not None:
            return through
    return make(INDEX, (v,), IndexAttrs(maps, shape))


def _dense_enough(maps: tuple[IndexMap, ...], shape: Shape) -> bool:
    """Fold an index of a constant only where it does not repeat values."""
    depends = frozenset().union(*(m.depends for m in maps)) if maps else frozenset()
    return all(n == 1 or d in depends for d, n in enumerate(shape))


def _index_of_scatter(v: Node, maps: tuple[IndexMap, ...], shape: Shape) -> Node | None:
    """A slice that lies wholly inside, or wholly outside, the box that a pad wrote."""
    if not all(m.is_affine for m in maps) or not _is_unit_pad(v.attrs.maps):
        return None
    source = v.args[0]
    inside = []
    for m, put, n in zip(maps, v.attrs.maps, source.shape):
        low, high = m.bounds
        if high < put.offset or low >= put.offset + n:
            return broadcast_to(constant(0, v.dtype), shape)
        inside.append(low >= put.offset and high < put.offset + n)
    if not all(inside):
        return None
    return index(source, [m.shifted(-put.offset) for m, put in zip(maps, v.attrs.maps)], shape)


def _is_unit_pad(maps: tuple[IndexMap, ...]) -> bool:
    """True if maps[d](e) = offset_d + e_d: the scatter is a pad with zeros."""
    return all(m.is_affine and len(m.shape) == len(maps) and m.shifted(-m.offset).is_axis(d)
               for d, m in enumerate(maps))


def _index_infer(args: Sequence[Node], a: IndexAttrs) -> tuple[Shape, np.dtype]:
    (v,) = args
    if len(a.maps) != v.ndim:
        raise ShapeMismatch(f"index of a rank-{v.ndim} array needs {v.ndim} maps, got {len(a.maps)}")
    for m, n in zip(a.maps, v.shape):
        low, high = m.bounds
        if m.shape != a.shape or low < 0 or high >= n:
            raise ShapeMismatch(f"index map {m} over {m.shape} does not fit axis of size {n}, box {a.shape}")
    return a.shape, v.dtype


def _index_evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    maps = node.attrs.maps
    if 0 in node.shape:
        return np.empty(node.shape, node.dtype)
    picked = arrays[0][tuple(m.compact for m in maps)] if maps else arrays[0]
    return np.broadcast_to(picked, node.shape)


def _index_batch(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    size = args[0].shape[0]
    shape = (size, *node.shape)
    maps = (axis_map(shape, 0), *(m.inserted(0, size) for m in node.attrs.maps))
    return index(args[0], maps, shape)


INDEX = register(Primitive(
    "index", _index_infer, _index_evaluate, family="movement",
    vjp=lambda node, g: [scatter(g, node.attrs.maps, node.args[0].shape)],
    jvp=lambda node, t: index(t[0], node.attrs.maps, node.shape),
    batch=_index_batch,
))


def compressed_axes(node: Node) -> list[int]:
    """The axes of an index node along which it only repeats values."""
    depends = frozenset().union(*(m.depends for m in node.attrs.maps)) if node.attrs.maps else frozenset()
    return [d for d, n in enumerate(node.shape) if n > 1 and d not in depends]


def take_axes_once(node: Node, axes: Sequence[int]) -> Node:
    """An index node with the repeating `axes` shortened to size 1."""
    shape = tuple(1 if d in axes else n for d, n in enumerate(node.shape))
    maps = [IndexMap(shape, m.offset, m.strides, m.table) for m in node.attrs.maps]
    return index(node.args[0], maps, shape)


def broadcast_to(v: Node, shape: Sequence[int]) -> Node:
    """NumPy's broadcast_to: leading axes are added, size-1 axes repeated."""
    shape = tuple(shape)
    if v.shape == shape:
        return v
    lead = len(shape) - v.ndim
    if lead < 0 or any(n not in (1, shape[lead + d]) for d, n in enumerate(v.shape)):
        raise ShapeMismatch(f"cannot broadcast an array of shape {v.shape} to {shape}")
    maps = [constant_map(shape) if n == 1 else axis_map(shape, lead + d) for d, n in enumerate(v.shape)]
    return index(v, maps, shape)


def transpose(v: Node, axes: Sequence[int]) -> Node:
    """The array with its axes reordered: new axis k is old axis axes[k]."""
    if list(axes) == list(range(v.ndim)):
        return v
    shape = tuple(v.shape[a] for a in axes)
    maps = [axis_map(shape, list(axes).index(d)) for d in range(v.ndim)]
    return index(v, maps, shape)


def slice_axis(v: Node, axis: int, start: int, step: int, size: int) -> Node:
    """v[..., start : start + step*size : step, ...]."""
    shape = tuple(size if d == axis else n for d, n in enumerate(v.shape))
    maps = list(identity_maps(shape))
    maps[axis] = maps[axis].scaled(step).shifted(start)
    return index(v, maps, shape)


def gather_axis(v: Node, axis: int, positions: np.ndarray) -> Node:
    """v[..., positions, ...] with a constant 1-D integer array."""
    shape = tuple(len(positions) if d == axis else n for d, n in enumerate(v.shape))
    maps = list(identity_maps(shape))
    column = np.asarray(positions).reshape([-1 if d == axis else 1 for d in range(v.ndim)])
    maps[axis] = table_map(column, shape)
    return index(v, maps, shape)


# -- scatter -------------------------------------------------------------------------------------------------------


def scatter(v: Node, maps: Sequence[IndexMap], shape: Sequence[int]) -> Node:
    """An array of zeros of `shape` into which v(e) is added at maps(e); repeated targets are summed first."""
    from symhess.primitives.algebra import is_zero, zeros
    from symhess.primitives.reduction import sum_over

    maps, shape = tuple(maps), tuple(int(n) for n in shape)
    if is_zero(v) or v.size == 0:
        return zeros(shape, v.dtype)
    depends = frozenset().union(*(m.depends for m in maps)) if maps else frozenset()
    idle = [d for d in range(v.ndim) if d not in depends]
    if idle:
        return scatter(sum_over(v, idle), [m.dropped(idle) for m in maps], shape)
    inverse = _as_permutation(maps, v.shape, shape)
    if inverse is not None:
        return index(v, inverse, shape)
    if v.op is SCATTER:
        return scatter(v.args[0], [m.compose(v.attrs.maps, v.args[0].shape) for m in maps], shape)
    return make(SCATTER, (v,), ScatterAttrs(maps, shape))


def _as_permutation(maps: tuple[IndexMap, ...], box: Shape, shape: Shape) -> list[IndexMap] | None:
    """The inverse index maps where the scatter fills `shape` exactly once by permuting and flipping axes."""
    inverse: list[IndexMap | None] = [None] * len(box)
    for a, m in enumerate(maps):
        if m.is_constant and shape[a] == 1:
            continue
        d = m.single_axis
        if d is None or abs(m.strides[d]) != 1 or box[d] != shape[a] or inverse[d] is not None:
            return None
        step = m.strides[d]
        inverse[d] = axis_map(shape, a).scaled(step).shifted(-m.offset * step)
    if any(m is None for m in inverse):
        return None
    return inverse


def _scatter_infer(args: Sequence[Node], a: ScatterAttrs) -> tuple[Shape, np.dtype]:
    (v,) = args
    if len(a.maps) != len(a.shape):
        raise ShapeMismatch(f"scatter into shape {a.shape} needs {len(a.shape)} maps, got {len(a.maps)}")
    for m, n in zip(a.maps, a.shape):
        low, high = m.bounds
        if m.shape != v.shape or low < 0 or high >= n:
            raise ShapeMismatch(f"scatter map {m} over {m.shape} does not fit axis of size {n}, box {v.shape}")
    return a.shape, v.dtype


def _scatter_evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    out = np.zeros(node.shape, node.dtype)
    np.add.at(out, tuple(m.values() for m in node.attrs.maps), arrays[0])
    return out


def _scatter_batch(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    v = args[0]
    maps = (axis_map(v.shape, 0), *(m.inserted(0, v.shape[0]) for m in node.attrs.maps))
    return scatter(v, maps, (v.shape[0], *node.shape))


SCATTER = register(Primitive(
    "scatter", _scatter_infer, _scatter_evaluate, family="movement",
    vjp=lambda node, g: [index(g, node.attrs.maps, node.args[0].shape)],
    jvp=lambda node, t: scatter(t[0], node.attrs.maps, node.shape),
    batch=_scatter_batch,
))


def concatenate(parts: Sequence[Node], axis: int) -> Node:
    """The parts one after the other along `axis`: a sum of pads."""
    from symhess.primitives.elementwise import apply

    total = sum(p.shape[axis] for p in parts)
    shape = tuple(total if d == axis else n for d, n in enumerate(parts[0].shape))
    out, start = None, 0
    for p in parts:
        if p.size:
            maps = list(identity_maps(p.shape))
            maps[axis] = maps[axis].shifted(start)
            piece = scatter(p, maps, shape)
            out = piece if out is None else apply("add", out, piece)
        start += p.shape[axis]
    return broadcast_to(constant(0, parts[0].dtype), shape) if out is None else out


# -- reshape -------------------------------------------------------------------------------------------------------


def reshape(v: Node, shape: Sequence[int]) -> Node:
    """The same elements in C order under another shape."""
    shape = tuple(int(n) for n in shape)
    if v.shape == shape:
        return v
    if v.op is RESHAPE:
        return reshape(v.args[0], shape)
    if v.op.name == "constant":
        return constant(v.attrs.array.reshape(shape))
    if v.op is INDEX:
        moved = _reshape_of_index(v, shape)
        if moved is not None:
            return moved
    if v.size == 1 and not shape:
        return index(v, [constant_map(())] * v.ndim, ())
    if v.ndim == 0:
        return broadcast_to(v, shape)
    return make(RESHAPE, (v,), shape)


def _reshape_of_index(v: Node, shape: Shape) -> Node | None:
    """Index maps over a box that only gains or loses size-1 axes stay index maps."""
    if [n for n in v.shape if n != 1] != [n for n in shape if n != 1]:
        return None
    source = [d for d, n in enumerate(v.shape) if n != 1]
    coordinates = [constant_map(shape) for _ in v.shape]
    for d, k in zip(source, [k for k, n in enumerate(shape) if n != 1]):
        coordinates[d] = axis_map(shape, k)
    return index(v.args[0], [m.compose(coordinates, shape) for m in v.attrs.maps], shape)


def reshape_maps(old: Shape, new: Shape) -> tuple[IndexMap, ...]:
    """Coordinates in the old shape of each element of the new shape (u(e) = v(maps(e)))."""
    return unravel_map(ravel_maps(identity_maps(new), new, new), old)


def _reshape_infer(args: Sequence[Node], shape: Shape) -> tuple[Shape, np.dtype]:
    (v,) = args
    if math.prod(shape) != v.size:
        raise ShapeMismatch(f"cannot reshape an array of shape {v.shape} into {shape}")
    return shape, v.dtype


RESHAPE = register(Primitive(
    "reshape", _reshape_infer, lambda arrays, node: arrays[0].reshape(node.shape), family="movement",
    vjp=lambda node, g: [reshape(g, node.args[0].shape)],
    jvp=lambda node, t: reshape(t[0], node.shape),
    batch=lambda node, args, added: reshape(args[0], (args[0].shape[0], *node.shape)),
))


# -- stack ---------------------------------------------------------------------------------------------------------


def stack(scalars: Sequence[Node]) -> Node:
    """A vector from rank-0 nodes."""
    scalars = list(scalars)
    if all(s.op.name == "constant" for s in scalars):
        return constant(np.array([s.attrs.array for s in scalars]))
    return make(STACK, scalars)


def element(v: Node, position: Sequence[int]) -> Node:
    """The rank-0 node v[position]."""
    return index(v, [_fixed(p) for p in position], ())


@functools.lru_cache(maxsize=1 << 16)
def _fixed(position: int) -> IndexMap:
    """The map of rank 0 with this value; shared, because scalar code asks for the same few very often."""
    return constant_map((), position)


def _stack_infer(args: Sequence[Node], attrs: Any) -> tuple[Shape, np.dtype]:
    if any(a.ndim for a in args) or len({a.dtype for a in args}) != 1:
        raise ShapeMismatch("stack takes rank-0 nodes of one dtype")
    return (len(args),), args[0].dtype


def _stack_jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    zero = constant(0, node.dtype)
    return stack([zero if t is None else t for t in tangents])


def _stack_batch(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    size = next(a.shape[0] for a, b in zip(args, added) if b)
    columns = [reshape(a if b else broadcast_to(a, (size,)), (size, 1)) for a, b in zip(args, added)]
    return concatenate(columns, 1)


STACK = register(Primitive(
    "stack", _stack_infer, lambda arrays, node: np.array(arrays, node.dtype), family="movement",
    vjp=lambda node, g: [element(g, (k,)) for k in range(len(node.args))],
    jvp=_stack_jvp, batch=_stack_batch,
))
