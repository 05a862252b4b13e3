"""Recurrences along an axis: the linear one, which is closed under differentiation, and running products and extremes.

    recurrence              s_i = b_i + a_i s_{i-1}
    recurrence, transposed  s_i = b_i + a_{i+1} s_{i+1}          its transpose, which runs backwards
    running f               u_i = f(u_{i-1}, v_i)                f = mul, maximum, minimum, logaddexp

The first a is not used (transposed: s_n is b_n). Nothing passes an a that is 0, not even infinity. The derivative of
a running f is a recurrence with a_i = f_1(u_{i-1}, v_i), so it is exact where factors of a product vanish.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from symhess.errors import ShapeMismatch
from symhess.graph.maps import identity_maps
from symhess.graph.node import Node, Primitive, constant, make, register
from symhess.primitives.algebra import is_zero
from symhess.primitives.elementwise import ELEMENTWISE, apply, scale
from symhess.primitives.movement import SCATTER, broadcast_to, concatenate, reshape, scatter, slice_axis
from symhess.primitives.reduction import sum_over

Shape = tuple[int, ...]


class RecurrenceAttrs(NamedTuple):
    """The axis, counted from the last one (-1), and whether the recurrence is the transposed one."""

    axis: int
    transposed: bool


def recurrence(a: Node, b: Node, axis: int, transposed: bool = False) -> Node:
    """The recurrence along `axis` (negative); b may have more leading axes than a."""
    if b.shape[axis] <= 1 or is_zero(b):
        return b
    d, n = axis + b.ndim, b.shape[axis]
    first, end = _extent(b, d)
    first, end = (0, end) if transposed else (first, n)
    if end - first < n:
        part = recurrence(*(slice_axis(v, axis + v.ndim, first, 1, end - first) for v in (a, b)), axis, transposed)
        return _shifted(part, d, first, b.shape)
    return make(RECURRENCE, (a, b), RecurrenceAttrs(axis, transposed))


def _extent(v: Node, axis: int) -> tuple[int, int]:
    """(first, end) along an axis, outside of which v is zero because nothing was put there."""
    if v.op is SCATTER:
        low, high = v.attrs.maps[axis].bounds
        return low, high + 1
    if v.op.name in ("add", "sub") and all(a.shape == v.shape for a in v.args):
        (first, end), (other, last) = (_extent(a, axis) for a in v.args)
        return min(first, other), max(end, last)
    return 0, v.shape[axis]


def running(name: str, v: Node, axis: int) -> Node:
    """The results of the binary primitive `name` so far, along `axis` (not negative)."""
    return v if v.shape[axis] <= 1 else make(RUNNING[name], (v,), axis)


def _infer(args: Sequence[Node], attrs: RecurrenceAttrs) -> tuple[Shape, np.dtype]:
    a, b = args
    lead = b.ndim - a.ndim
    if lead < 0 or b.shape[lead:] != a.shape or not -a.ndim <= attrs.axis < 0 or a.dtype != b.dtype:
        raise ShapeMismatch(f"recurrence of {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)} along {attrs.axis}")
    return b.shape, b.dtype


def _evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    axis, transposed = node.attrs
    a, b = (np.moveaxis(x, axis, 0) for x in arrays)
    out, n = np.array(b), len(b)
    for i in range(n - 2, -1, -1) if transposed else range(1, n):
        by, before = (a[i + 1], out[i + 1]) if transposed else (a[i], out[i - 1])
        out[i] = np.where(by == 0, b[i], b[i] + by * before)
    return np.moveaxis(out, 0, axis)


# -- derivatives -----------------------------------------------------------------------------------------------------


def _earlier(v: Node, axis: int) -> Node:
    """v_{i-1}, and 0 for the first."""
    return _shifted(slice_axis(v, axis, 0, 1, v.shape[axis] - 1), axis, 1, v.shape)


def _later(v: Node, axis: int) -> Node:
    """v_{i+1}, and 0 for the last."""
    return _shifted(slice_axis(v, axis, 1, 1, v.shape[axis] - 1), axis, 0, v.shape)


def _shifted(v: Node, axis: int, by: int, shape: Shape) -> Node:
    maps = list(identity_maps(v.shape))
    maps[axis] = maps[axis].shifted(by)
    return scatter(v, maps, shape)


def drive(node: Node, t: Sequence[Node | None]) -> Node:
    """The b of the recurrence that the tangent solves:  b' + a'_i s_{i-1}  (transposed: b' + a'_{i+1} s_{i+1})."""
    axis, transposed = node.attrs[0] + node.ndim, node.attrs.transposed
    moved, t_b = t
    if moved is None:
        return t_b
    moved = _wide(moved, node.shape)
    part = _later(scale(moved, node), axis) if transposed else scale(moved, _earlier(node, axis))
    return part if t_b is None else apply("add", part, t_b)


def _wide(v: Node, shape: Shape) -> Node:
    return broadcast_to(v, shape) if v.ndim < len(shape) else v


def _vjp(node: Node, g: Node) -> list[Node | None]:
    """g_b = the transposed recurrence of g,  g_a_i = g_b_i s_{i-1}  (transposed: g_b_{i-1} s_i)."""
    axis, transposed = node.attrs
    a, d = node.args[0], node.attrs.axis + node.ndim
    g_b = recurrence(a, g, axis, not transposed)
    g_a = scale(_earlier(g_b, d), node) if transposed else scale(g_b, _earlier(node, d))
    return [sum_over(g_a, range(node.ndim - a.ndim)), g_b]


def _batch(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    a, b = args
    if added[0]:
        lead = b.ndim - added[1] - (a.ndim - 1)
        a = reshape(a, (a.shape[0], *(1,) * lead, *a.shape[1:]))
        shape = (a.shape[0], *node.shape)
        a, b = broadcast_to(a, shape), b if added[1] else broadcast_to(b, shape)
    return recurrence(a, b, *node.attrs)


def _extents(node: Node) -> tuple[int, int, int, int, bool]:
    """(outer, lanes, n, inner, transposed): b is (outer, n, inner), a is (lanes, n, inner)."""
    a, d = node.args[0].shape, node.attrs.axis + node.ndim
    lanes = math.prod(a[:node.attrs.axis])
    return math.prod(node.shape[:d]), lanes, node.shape[d], math.prod(node.shape[d + 1:]), node.attrs.transposed


RECURRENCE = register(Primitive(
    "recurrence", _infer, _evaluate, family="recurrence", vjp=_vjp, batch=_batch,
    jvp=lambda node, t: recurrence(node.args[0], drive(node, t), *node.attrs),
    extra={"kernel": "recurrence", "params": _extents, "flops": lambda node: 3.0 * node.size},
))


# -- running products and extremes -------------------------------------------------------------------------------------


#: e with f(e, v) = v
NEUTRAL = {"mul": 1.0, "maximum": -math.inf, "minimum": math.inf, "logaddexp": -math.inf}


def _step(name: str, node: Node, end: int) -> Node:
    """f(u_{i-1}, v_i) for i < end as one node, of which the derivatives are taken."""
    axis = node.attrs
    first = [1 if d == axis else n for d, n in enumerate(node.shape)]
    start = broadcast_to(constant(NEUTRAL[name], node.dtype), first)
    before = concatenate([start, slice_axis(node, axis, 0, 1, end - 1)], axis)
    return make(ELEMENTWISE[name], (before, slice_axis(node.args[0], axis, 0, 1, end)))


def _running_vjp(name: str, node: Node, g: Node) -> list[Node | None]:
    """g_v = f_2 times the transposed recurrence of g, up to where g ends."""
    axis, end = node.attrs, _extent(g, node.attrs)[1]
    step = _step(name, node, end)
    total = recurrence(step.op.partial(step, 0), slice_axis(g, axis, 0, 1, end), axis - node.ndim, True)
    return [_shifted(scale(total, step.op.partial(step, 1)), axis, 0, node.shape)]


def _running_jvp(name: str, node: Node, t: Sequence[Node]) -> Node:
    step = _step(name, node, node.shape[node.attrs])
    return recurrence(step.op.partial(step, 0), scale(t[0], step.op.partial(step, 1)), node.attrs - node.ndim)


def _folded(node: Node) -> Shape:
    shape, axis = node.shape, node.attrs
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1:])


def _declared(name: str) -> Primitive:
    return register(Primitive(
        f"running_{name}", lambda args, axis: (args[0].shape, args[0].dtype),
        lambda arrays, node: ELEMENTWISE[name].numpy.accumulate(arrays[0], axis=node.attrs), family="recurrence",
        vjp=functools.partial(_running_vjp, name), jvp=functools.partial(_running_jvp, name),
        batch=lambda node, args, added: running(name, args[0], node.attrs + 1),
        extra={"kernel": f"running_{name}", "params": _folded,
               "flops": lambda node: float(node.size * ELEMENTWISE[name].cost)},
    ))


RUNNING = {name: _declared(name) for name in NEUTRAL}


def cumulative_product(v: Node, axis: int) -> Node:
    """Running products along an axis."""
    return running("mul", v, axis)


#: up to this length a product is a tree of multiplications
TREE = 8


def product_over(v: Node, axis: int) -> Node:
    """The product along an axis, exact and differentiable at zeros too; the axis disappears."""
    n = v.shape[axis]
    if n > TREE:
        v = slice_axis(cumulative_product(v, axis), axis, n - 1, 1, 1)
    while v.shape[axis] > 1:
        half, odd = divmod(v.shape[axis], 2)
        pairs = apply("mul", slice_axis(v, axis, 0, 1, half), slice_axis(v, axis, half, 1, half))
        v = concatenate([pairs, slice_axis(v, axis, 2 * half, 1, 1)], axis) if odd else pairs
    shape = [n for d, n in enumerate(v.shape) if d != axis]
    return reshape(v, shape) if v.size else broadcast_to(constant(1, v.dtype), shape)
