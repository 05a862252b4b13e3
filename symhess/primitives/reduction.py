"""Reductions: sum, largest and smallest element, cumulative sum.

    sum      u(o) = sum_r v(o, r)
    max      u(o) = max_r v(o, r); at ties the derivative is shared equally
    cumsum   u(.., i, ..) = sum_{k <= i} v(.., k, ..)        (k >= i if reverse)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from symhess.errors import DTypeMismatch, ShapeMismatch
from symhess.graph.node import Node, Primitive, constant, make, register
from symhess.primitives.algebra import is_zero, zeros
from symhess.primitives.elementwise import apply
from symhess.primitives.movement import (
    INDEX,
    broadcast_to,
    compressed_axes,
    reshape,
    take_axes_once,
)

Shape = tuple[int, ...]


def sum_over(v: Node, axes: Iterable[int]) -> Node:
    """Sum over `axes`, which disappear. Repeated values are multiplied, not added up; size-1 axes cost nothing."""
    axes = tuple(sorted(axes))
    if not axes:
        return v
    shape = tuple(n for d, n in enumerate(v.shape) if d not in axes)
    if is_zero(v) or v.size == 0:
        return zeros(shape, v.dtype)
    single = [d for d in axes if v.shape[d] == 1]
    if single:
        kept = reshape(v, [n for d, n in enumerate(v.shape) if d not in single])
        return sum_over(kept, [d - sum(s < d for s in single) for d in axes if d not in single])
    if v.op is INDEX:
        repeated = [d for d in compressed_axes(v) if d in axes]
        if repeated:
            count = constant(math.prod(v.shape[d] for d in repeated), v.dtype)
            return apply("mul", count, sum_over(take_axes_once(v, repeated), axes))
    if v.op.name == "neg":
        return apply("neg", sum_over(v.args[0], axes))
    if v.op.name == "mul" and v.args[0].op.name == "constant" and v.args[0].ndim == 0:
        return apply("mul", v.args[0], sum_over(v.args[1], axes))
    if v.op is SUM:
        kept = [d for d in range(v.args[0].ndim) if d not in v.attrs]
        return sum_over(v.args[0], [*v.attrs, *(kept[d] for d in axes)])
    return make(SUM, (v,), axes)


def reduced_shape(name: str) -> Callable[[Sequence[Node], tuple[int, ...]], tuple[Shape, np.dtype]]:
    """The shape rule of a reduction: the axes disappear."""
    def infer(args: Sequence[Node], axes: tuple[int, ...]) -> tuple[Shape, np.dtype]:
        (v,) = args
        if any(not 0 <= d < v.ndim for d in axes):
            raise ShapeMismatch(f"{name} over axes {axes} of an array of shape {v.shape}")
        if v.dtype == np.bool_:
            raise DTypeMismatch(f"{name} of booleans: cast them first")
        return tuple(n for d, n in enumerate(v.shape) if d not in axes), v.dtype

    return infer


def spread(g: Node, node: Node) -> Node:
    """Repeat a reduced array along the reduced axes (attrs of `node`), to the shape of its argument."""
    v, axes = node.args[0], node.attrs
    kept = [1 if d in axes else n for d, n in enumerate(v.shape)]
    return broadcast_to(reshape(g, kept), v.shape)


def _shifted_axes(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    return reduce_with(node.op.name, args[0], [d + 1 for d in node.attrs])


SUM = register(Primitive(
    "sum", reduced_shape("sum"), lambda arrays, node: arrays[0].sum(axis=node.attrs), family="reduction",
    vjp=lambda node, g: [spread(g, node)],
    jvp=lambda node, t: sum_over(t[0], node.attrs),
    batch=_shifted_axes,
))


# -- largest and smallest ------------------------------------------------------------------------------------------


def reduce_with(name: str, v: Node, axes: Iterable[int]) -> Node:
    """The reduction called sum, max or min over `axes`."""
    if name == "sum":
        return sum_over(v, axes)
    axes = tuple(sorted(axes))
    if not axes:
        return v
    if any(v.shape[d] == 0 for d in axes):
        raise ShapeMismatch(f"{name} over an axis of size 0 has no value")
    return make(MAX if name == "max" else MIN, (v,), axes)


def _ties(node: Node) -> tuple[Node, Node]:
    """Where the extreme value is taken, and one over the number of such places."""
    v = node.args[0]
    at = apply("equal", v, spread(node, node))
    one, zero = constant(1, v.dtype), constant(0, v.dtype)
    count = sum_over(apply("where", at, one, zero), node.attrs)
    return at, apply("div", one, count)


def _extreme_vjp(node: Node, g: Node) -> list[Node | None]:
    at, share = _ties(node)
    each = spread(apply("mul", g, share), node)
    return [apply("where", at, each, constant(0, g.dtype))]


def _extreme_jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    at, share = _ties(node)
    moved = sum_over(apply("where", at, tangents[0], constant(0, node.dtype)), node.attrs)
    return apply("mul", moved, share)


MAX = register(Primitive("max", reduced_shape("max"), lambda arrays, node: arrays[0].max(axis=node.attrs),
                         family="reduction", vjp=_extreme_vjp, jvp=_extreme_jvp, batch=_shifted_axes))
MIN = register(Primitive("min", reduced_shape("min"), lambda arrays, node: arrays[0].min(axis=node.attrs),
                         family="reduction", vjp=_extreme_vjp, jvp=_extreme_jvp, batch=_shifted_axes))


# -- cumulative sum ------------------------------------------------------------------------------------------------


class CumsumAttrs(NamedTuple):
    """The axis along which is summed, and whether from its end."""

    axis: int
    reverse: bool


def cumsum(v: Node, axis: int, reverse: bool = False) -> Node:
    """Running sums along an axis, from the end if `reverse`."""
    if v.shape[axis] <= 1:
        return v
    return make(CUMSUM, (v,), CumsumAttrs(axis, reverse))


def _cumsum_evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    axis, reverse = node.attrs
    if not reverse:
        return np.cumsum(arrays[0], axis=axis)
    return np.flip(np.cumsum(np.flip(arrays[0], axis), axis=axis), axis)


CUMSUM = register(Primitive(
    "cumsum", lambda args, a: (args[0].shape, args[0].dtype), _cumsum_evaluate, family="reduction",
    vjp=lambda node, g: [cumsum(g, node.attrs.axis, not node.attrs.reverse)],
    jvp=lambda node, t: cumsum(t[0], *node.attrs),
    batch=lambda node, args, added: cumsum(args[0], node.attrs.axis + 1, node.attrs.reverse),
))
