"""Roots and powers of squares, which are smooth, or have the kink of |x|, where the chain rule says 0 * inf.

    sqrt(x x) = |x|,   (x x)**p = |x|**(2 p),   |x| |x| = x x,   |x|**(2 k) = x**(2 k)
    sqrt(s) = root(s),   root(s) root(s) = s,   s**p = root(s)**(2 p) for p >= 1        s a sum of squares
    sqrt(x) sqrt(x) = x where x >= 0,   hypot(x, y)**2 = x x + y y

root(s) is sqrt(s) with derivative 0 where s = 0, as that of a norm.
"""

from __future__ import annotations

from symhess.graph.node import Node, constant, scalar_value
from symhess.primitives import CONTRACT, INDEX, RESHAPE, SUM, apply
from symhess.primitives.rebuild import rebuild

#: nodes that are looked at to find out whether an expression is a sum of squares
MOST_VISITED = 200


def is_square(v: Node) -> bool:
    """x x, or an even power of x."""
    if v.op.name == "mul":
        return v.args[0] is v.args[1]
    return v.op.name == "pow" and (scalar_value(v.args[1]) or 1) % 2 == 0 and scalar_value(v.args[1]) > 0


def is_sum_of_squares(v: Node) -> bool:
    """True for sums, positive multiples and moved elements of squares: their gradient is 0 where they are."""
    stack, visited = [v], 0
    while stack:
        visited += 1
        if visited > MOST_VISITED:
            return False
        top = stack.pop()
        if is_square(top) or _is_self_product(top):
            continue
        below = _summands(top)
        if below is None:
            return False
        stack += below
    return True


def _summands(v: Node) -> list[Node] | None:
    """Whatever has to be a sum of squares for v to be one."""
    if v.op in (SUM, INDEX, RESHAPE):
        return [v.args[0]]
    if v.op.name == "add":
        return list(v.args)
    number = scalar_value(v.args[0 if v.op.name == "mul" else 1]) if v.op.name in ("mul", "div") else None
    return [v.args[1 if v.op.name == "mul" else 0]] if number is not None and number > 0 else None


def _is_self_product(v: Node) -> bool:
    """x . x, over all labels or some."""
    return v.op is CONTRACT and len(v.args) == 2 and v.args[0] is v.args[1] and \
        v.attrs.operands[0] == v.attrs.operands[1]


def _root(node: Node) -> Node | None:
    """sqrt(x x) = |x|,  sqrt(x**(2 k)) = |x|**k,  sqrt(s) = root(s)."""
    (s,) = node.args
    if is_square(s):
        size = apply("abs", s.args[0])
        return size if s.op.name == "mul" else _power_of(size, scalar_value(s.args[1]) / 2)
    return apply("root", s) if is_sum_of_squares(s) else None


def _power_of(x: Node, p: float) -> Node:
    return apply("pow", x, constant(p, x.dtype))


def _product(node: Node) -> Node | None:
    return _squared(node.args[0]) if node.args[0] is node.args[1] else None


def _squared(u: Node) -> Node | None:
    """|x| |x| = x x,  root(s) root(s) = s,  hypot(x, y)**2 = x x + y y,  sqrt(x) sqrt(x) = x where x >= 0; the same
    of moved elements."""
    if u.op in (INDEX, RESHAPE):
        square = _squared(u.args[0])
        return None if square is None else rebuild(u, [square])
    if u.op.name == "abs":
        return apply("mul", u.args[0], u.args[0])
    if u.op.name == "root":
        return u.args[0]
    if u.op.name == "hypot":
        x, y = u.args
        return apply("add", apply("mul", x, x), apply("mul", y, y))
    if u.op.name == "sqrt":
        (x,) = u.args
        return apply("where", apply("less", x, constant(0, x.dtype)), constant(float("nan"), x.dtype), x)
    return None


def _power(node: Node) -> Node | None:
    """Powers of |x|, roots and squares, for constant exponents."""
    u, p = node.args[0], scalar_value(node.args[1])
    if p is None or node.args[1].ndim:
        return None
    even = p > 0 and p % 2 == 0
    if even and u.op.name == "abs":
        return _power_of(u.args[0], p)
    square = _squared(u) if even else None
    if square is not None:
        return _power_of(square, p / 2)
    if u.op.name == "mul" and is_square(u):
        return _power_of(apply("abs", u.args[0]), 2 * p)
    if p > 1 and p % 1 and is_sum_of_squares(u):
        return _power_of(apply("root", u), 2 * p)
    return None


RULES = {"sqrt": (_root,), "mul": (_product,), "pow": (_power,)}
