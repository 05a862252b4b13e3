"""The cheap algebra of the smart constructors: what an elementwise node simplifies to, or None."""

from __future__ import annotations

import numpy as np

from symhess.graph.node import Node, constant, make, scalar_value
from symhess.primitives.broadcasting import broadcast_shape
from symhess.primitives.elementwise import ELEMENTWISE, apply, expand_to, scale


def zeros(shape: tuple[int, ...], dtype: np.dtype) -> Node:
    """An array of zeros that takes no memory: a broadcast scalar."""
    return expand_to(constant(0, dtype), shape)


def is_zero(node: Node) -> bool:
    """True for a constant zero, a broadcast one included."""
    if node.op.name == "index":
        node = node.args[0]
    return scalar_value(node) == 0


def _uniform(node: Node) -> Node | None:
    """The one number that all elements of a constant are, as a rank-0 node."""
    if node.op.name == "index":
        node = node.args[0]
    c = scalar_value(node)
    return None if c is None else constant(c, node.dtype)


def _in_order(x: Node, y: Node) -> bool:
    """The fixed order of arguments that may trade places: constants, which outlive traces, before what is traced."""
    return order_key(x) <= order_key(y)


def order_key(node: Node) -> tuple[bool, int]:
    """What arguments are sorted by, so that a function traced twice gives the same graph."""
    source = node.args[0] if node.op.name == "index" else node
    return source.op.name != "constant", node.serial


def _full(node: Node, *others: Node) -> Node:
    return expand_to(node, broadcast_shape((node, *others)))


def simplify_add(x: Node, y: Node) -> Node | None:
    """x + 0 = x,  x + x = 2 x,  x + (-y) = x - y; arguments in a fixed order."""
    if is_zero(x):
        return _full(y, x)
    if is_zero(y):
        return _full(x, y)
    if x is y:
        return scale(x, constant(2, x.dtype))
    if y.op.name == "neg":
        return apply("sub", x, y.args[0])
    if x.op.name == "neg":
        return apply("sub", y, x.args[0])
    merged = _merge_selects("add", x, y)
    if merged is not None:
        return merged
    if not _in_order(x, y):
        return make(ELEMENTWISE["add"], (y, x))
    return None


def _merge_selects(op: str, x: Node, y: Node) -> Node | None:
    """where(c, a, 0) + where(c, 0, b) = where(c, a, b)."""
    if x.op.name == "where" and y.op.name == "where" and x.args[0] is y.args[0]:
        c, a, b = x.args
        return apply("where", c, apply(op, a, y.args[1]), apply(op, b, y.args[2]))
    return None


def _has_zero_branch(select: Node) -> bool:
    return scalar_value(select.args[1]) == 0 or scalar_value(select.args[2]) == 0


def simplify_sub(x: Node, y: Node) -> Node | None:
    """x - 0 = x,  0 - y = -y,  x - (-y) = x + y."""
    if is_zero(y):
        return _full(x, y)
    if is_zero(x):
        return _full(apply("neg", y), x)
    if y.op.name == "neg":
        return apply("add", x, y.args[0])
    return None


def simplify_neg(x: Node) -> Node | None:
    """-(-x) = x,  -(a - b) = b - a,  -(c x) = (-c) x,  -where(c, a, 0) = where(c, -a, 0)."""
    if x.op.name == "neg":
        return x.args[0]
    if x.op.name == "sub":
        return apply("sub", x.args[1], x.args[0])
    if x.op.name == "where" and _has_zero_branch(x):
        c, a, b = x.args
        return apply("where", c, *(v if scalar_value(v) == 0 else apply("neg", v) for v in (a, b)))
    if x.op.name == "mul" and scalar_value(x.args[0]) is not None:
        return apply("mul", constant(-scalar_value(x.args[0]), x.dtype), x.args[1])
    return None


def simplify_mul(x: Node, y: Node) -> Node | None:
    """0 x = 0,  1 x = x,  -1 x = -x,  c (d x) = (c d) x,  (-x) y = -(x y),  c where(e, x, 0) = where(e, c x, 0);
    constants first, then a fixed order."""
    cx, cy = scalar_value(x), scalar_value(y)
    if cx is None and cy is not None:
        return apply("mul", y, x)
    if is_zero(x) or is_zero(y):
        return zeros(broadcast_shape((x, y)), x.dtype)
    for a, b in ((x, y), (y, x)):
        if a.ndim and (number := _uniform(a)) is not None:
            return _full(apply("mul", number, b), x, y)
    if cx is not None and x.ndim == 0:
        if cx == 1:
            return y
        if cx == -1:
            return apply("neg", y)
        if y.op.name == "mul" and scalar_value(y.args[0]) is not None:
            return apply("mul", constant(cx * scalar_value(y.args[0]), x.dtype), y.args[1])
        if y.op.name == "neg":
            return apply("mul", constant(-cx, x.dtype), y.args[0])
        return scale(y, x) if y.op.name == "where" and _has_zero_branch(y) else None
    return _hoist_signs_and_scalars(x, y)


def _hoist_signs_and_scalars(x: Node, y: Node) -> Node | None:
    if x.op.name == "neg":
        return apply("neg", apply("mul", x.args[0], y))
    if y.op.name == "neg":
        return apply("neg", apply("mul", x, y.args[0]))
    for a, b in ((x, y), (y, x)):
        if a.op.name == "mul" and scalar_value(a.args[0]) is not None and a.args[0].ndim == 0:
            return apply("mul", a.args[0], apply("mul", a.args[1], b))
    if not _in_order(x, y):
        return make(ELEMENTWISE["mul"], (y, x))
    return None


def simplify_div(x: Node, y: Node) -> Node | None:
    """x / 1 = x,  0 / y = 0,  (-x) / y = -(x / y)."""
    c = scalar_value(y)
    if c == 1 and y.ndim == 0:
        return x
    if is_zero(x):
        return zeros(broadcast_shape((x, y)), x.dtype)
    if x.op.name == "neg":
        return apply("neg", apply("div", x.args[0], y))
    return None


def simplify_pow(x: Node, y: Node) -> Node | None:
    """x**0 = 1,  x**1 = x,  x**2 = x x,  x**-1 = 1/x,  x**0.5 = sqrt(x), for constant exponents."""
    p = scalar_value(y)
    if p is None or y.ndim:
        return None
    if p == 0:
        return expand_to(constant(1, x.dtype), x.shape)
    if p == 1:
        return x
    if p == 2:
        return apply("mul", x, x)
    if p == -1:
        return apply("div", constant(1, x.dtype), x)
    if p == 0.5:
        return apply("sqrt", x)
    return None


def simplify_powlog(k: Node, x: Node, p: Node) -> Node | None:
    """x**p log(x)**0 = x**p."""
    return apply("pow", x, p) if scalar_value(k) == 0 and k.ndim == 0 else None


def simplify_where(c: Node, a: Node, b: Node) -> Node | None:
    """where(c, a, a) = a, and a constant condition chooses."""
    shape = broadcast_shape((c, a, b))
    if a is b:
        return expand_to(a, shape)
    known = scalar_value(c)
    if known is not None:
        return expand_to(a if known else b, shape)
    return None
