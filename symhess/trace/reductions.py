"""Sums, products, extremes and moments along axes, with NumPy's keywords."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.errors import ShapeMismatch
from symhess.graph.node import Node, constant
from symhess.primitives import (
    apply,
    broadcast_to,
    cast,
    cumsum,
    cumulative_product,
    product_over,
    reduce_with,
    reshape,
    sum_over,
)
from symhess.trace.functions import implements
from symhess.trace.session import BOOL, here
from symhess.trace.ufuncs import align, node_of_any, truth

NO_VALUE = np._NoValue
FLOAT64 = np.dtype(np.float64)


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes meant by axis=, counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    return np.lib.array_utils.normalize_axis_tuple(axis, ndim)


def one_axis(axis: int, ndim: int) -> int:
    return axes_of(int(axis), ndim)[0]


def kept(node: Node, shape: Sequence[int], axes: Sequence[int], keepdims: Any) -> Node:
    """The reduced array, with size-1 axes put back where asked for."""
    if keepdims is True or keepdims is np.True_:
        return reshape(node, [1 if d in axes else n for d, n in enumerate(shape)])
    return node


def masked(v: Node, where: Any, neutral: float) -> Node:
    """v where the mask is true, the neutral element elsewhere."""
    if where is True or where is NO_VALUE:
        return v
    shape = np.broadcast_shapes(v.shape, np.shape(where))
    mask, v, zero = align([truth(node_of_any(where)), v, constant(neutral, v.dtype)])
    return broadcast_to(apply("where", mask, v, zero), shape)


def _as_number(a: Any, dtype: Any) -> Node:
    """The operand of a sum or product: booleans count as integers."""
    node = node_of_any(a)
    if dtype is not None:
        return cast(node, dtype)
    return cast(node, np.int64) if node.dtype == BOOL else node


@implements(np.sum)
def sum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = NO_VALUE,
        where: Any = True) -> Any:
    v = masked(_as_number(a, dtype), where, 0)
    axes = axes_of(axis, v.ndim)
    result = kept(sum_over(v, axes), v.shape, axes, keepdims)
    if initial is not NO_VALUE:
        result = apply("add", result, node_of_any(initial, result.dtype))
    return result


def product_along(v: Node, axes: Sequence[int]) -> Node:
    for axis in sorted(axes, reverse=True):
        v = product_over(v, axis)
    return v


@implements(np.prod)
def prod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = NO_VALUE,
         where: Any = True) -> Any:
    v = masked(_as_number(a, dtype), where, 1)
    axes = axes_of(axis, v.ndim)
    result = kept(product_along(v, axes), v.shape, axes, keepdims)
    if initial is not NO_VALUE:
        result = apply("mul", node_of_any(initial, result.dtype), result)
    return result


def extreme(name: str, ufunc: str, lowest: float) -> Callable:
    """The rule of np.max or np.min; `lowest` stands in for elements that `where` leaves out."""
    def rule(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = NO_VALUE,
             where: Any = True) -> Any:
        v = node_of_any(a)
        if v.dtype == BOOL:
            return cast(rule(cast(v, np.int64), axis, out, keepdims), bool)
        v = masked(v, where, initial if initial is not NO_VALUE else lowest)
        axes = axes_of(axis, v.ndim)
        if initial is NO_VALUE or v.size:
            if 0 in [v.shape[d] for d in axes]:
                raise ValueError(f"zero-size array to reduction operation {ufunc} which has no identity{here()}")
            result = kept(reduce_with(name, v, axes), v.shape, axes, keepdims)
        else:
            return broadcast_to(node_of_any(initial, v.dtype), kept(sum_over(v, axes), v.shape, axes, keepdims).shape)
        if initial is not NO_VALUE:
            result = apply(ufunc, result, node_of_any(initial, result.dtype))
        return result

    return rule


max = implements(np.max, np.amax)(extreme("max", "maximum", -np.inf))
min = implements(np.min, np.amin)(extreme("min", "minimum", np.inf))


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    return max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims)


def _floats(a: Any, dtype: Any = None) -> Node:
    node = node_of_any(a)
    return cast(node, dtype if dtype is not None else node.dtype if node.dtype.kind == "f" else FLOAT64)


def _count(v: Node, axes: Sequence[int], where: Any) -> Node:
    """How many elements go into each reduced one."""
    if where is True or where is NO_VALUE:
        return constant(math.prod(v.shape[d] for d in axes), v.dtype)
    mask = broadcast_to(align([truth(node_of_any(where)), v])[0], v.shape)
    return sum_over(cast(mask, v.dtype), axes)


@implements(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *,
         where: Any = True) -> Any:
    v = _floats(a, dtype)
    axes = axes_of(axis, v.ndim)
    total = sum_over(masked(v, where, 0), axes)
    return kept(apply("div", total, _count(v, axes, where)), v.shape, axes, keepdims)


@implements(np.var)
def var(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
        where: Any = True, mean: Any = NO_VALUE, correction: Any = NO_VALUE) -> Any:
    """sum (a - mean)^2 / (count - ddof)."""
    v = _floats(a, dtype)
    axes = axes_of(axis, v.ndim)
    ddof = ddof if correction is NO_VALUE else correction
    count = _count(v, axes, where)
    if mean is NO_VALUE:
        center = kept(apply("div", sum_over(masked(v, where, 0), axes), count), v.shape, axes, True)
    else:
        center = node_of_any(mean, v.dtype)
    off = masked(apply("sub", v, align([v, center])[1]), where, 0)
    result = apply("div", sum_over(apply("mul", off, off), axes), apply("sub", count, constant(ddof, v.dtype)))
    return kept(result, v.shape, axes, keepdims)


def guarded_root(v: Node, root: Callable[[Node], Node]) -> Node:
    """root(v), with derivative 0 where v = 0: the root itself is never taken of 0 there."""
    zero, one = constant(0, v.dtype), constant(1, v.dtype)
    at_zero = apply("equal", v, zero)
    return apply("where", at_zero, zero, root(apply("where", at_zero, one, v)))


@implements(np.std)
def std(a: Any, *args: Any, **kwargs: Any) -> Any:
    return apply("root", var(a, *args, **kwargs).node)


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    """sum w a / sum w."""
    v = _floats(a)
    axes = axes_of(axis, v.ndim)
    w = constant(1, v.dtype) if weights is None else _weights(node_of_any(weights, v.dtype), v, axes)
    w = broadcast_to(w, v.shape)
    scale = kept(sum_over(w, axes), v.shape, axes, keepdims)
    result = apply("div", kept(sum_over(apply("mul", v, w), axes), v.shape, axes, keepdims), scale)
    return (result, scale) if returned else result


def _weights(w: Node, v: Node, axes: Sequence[int]) -> Node:
    if w.shape == v.shape:
        return w
    if w.shape != tuple(v.shape[d] for d in axes):
        raise ShapeMismatch(f"weights of shape {w.shape} do not fit an array of shape {v.shape} over axes "
                            f"{tuple(axes)}{here()}")
    return reshape(w, [n if d in axes else 1 for d, n in enumerate(v.shape)])


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    v = cast(truth(node_of_any(a)), np.int64)
    axes = axes_of(axis, v.ndim)
    return kept(sum_over(v, axes), v.shape, axes, keepdims)


def _quantified(name: str) -> Callable:
    def rule(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
        v = cast(truth(node_of_any(a)), np.int64)
        v = masked(v, where, 1 if name == "min" else 0)
        axes = axes_of(axis, v.ndim)
        if 0 in [v.shape[d] for d in axes]:
            return broadcast_to(constant(name == "min"), kept(sum_over(v, axes), v.shape, axes, keepdims).shape)
        return cast(kept(reduce_with(name, v, axes), v.shape, axes, keepdims), bool)

    return rule


all = implements(np.all)(_quantified("min"))
any = implements(np.any)(_quantified("max"))


# -- running sums and products -------------------------------------------------------------------------------------


def _running(operation: Callable[[Node, int], Node]) -> Callable:
    def rule(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        v = _as_number(a, dtype)
        if axis is None:
            v, axis = reshape(v, (v.size,)), 0
        return operation(v, one_axis(axis, v.ndim))

    return rule


cumsum_ = implements(np.cumsum)(_running(cumsum))
cumprod = implements(np.cumprod)(_running(cumulative_product))
