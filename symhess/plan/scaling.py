"""Numbers pulled out of products, quotients and sums, so that expressions which differ by a factor are one.

    v = c b        (-2 x) y / 4 = -0.5 (x y)        3 x - 12 y = 3 (x - 4 y)        -a - b = -(a + b)

Derivatives of one function are full of such pairs, and of products in different order, which are one, too. A division
by a number is a multiplication. Results may change in the last digit, so what decides something (comparisons, rounding,
steps of loops) is left as it was written. A difference keeps the order in which it was written first: at a = b, a - b
and -(b - a) are zeros of different signs, and their inverses infinities of different signs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from symhess.graph.node import CONSTANT, Node, constant, make, scalar_value, topological
from symhess.primitives import apply, index, sum_over

#: larger graphs are scalar code, which is taken as it is
MOST_NODES = 20_000
#: factors beyond these, or their inverses, stay where they are: products must not overflow before they are scaled
LARGEST = 2.0**40
#: products of more factors are told apart by the order of these
MOST_FACTORS = 8
#: operations whose results jump
STEPS = frozenset(("sign", "side", "floor", "ceil", "trunc", "rint", "remainder", "fmod", "copysign"))


class Scaled(NamedTuple):
    """A node as a number times another one."""

    factor: float
    base: Node

    def node(self) -> Node:
        """The product."""
        if self.factor == 1:
            return self.base
        return apply("neg", self.base) if self.factor == -1 else \
            apply("mul", constant(self.factor, self.base.dtype), self.base)


def scaled_apart(outputs: Sequence[Node]) -> list[Node]:
    """The same values up to rounding, with fewer different expressions."""
    order = topological(outputs)
    if len(order) > MOST_NODES:
        return list(outputs)
    strict = deciding(order)
    known: dict[Node, Scaled] = {}
    products: dict[tuple, Node] = {}
    differences: dict[Node, Scaled] = {}
    for v in order:
        if v in strict:
            known[v] = Scaled(1.0, v)
            continue
        found = _scaled(v, [known[a] for a in v.args])
        if v.op.name in ("add", "sub") and found.base.op.name in ("add", "sub"):
            turned = differences.setdefault(found.base, _as_written(found))
            found = Scaled(found.factor * turned.factor, turned.base)
        known[v] = found._replace(base=products.setdefault(_factors(found.base), found.base))
    return [known[v].node() for v in outputs]


def _factors(v: Node) -> tuple:
    """What makes products equal: shape, type, and the factors in whatever order."""
    found, stack = [], [v]
    while stack and len(found) < MOST_FACTORS:
        a = stack.pop()
        if a.op.name == "mul" and a.shape == v.shape:
            stack += a.args
        else:
            found.append(a.serial)
    return v.shape, tuple(sorted(found)), tuple(a.serial for a in stack)


def deciding(order: Sequence[Node]) -> set[Node]:
    """The nodes on which a comparison, a step or the course of a loop depends."""
    found: set[Node] = set()
    for v in reversed(order):
        if v in found or v.dtype.kind != "f" or v.op.name in STEPS or v.op.family in ("control", "dynamic"):
            found.update(v.args)
    return found


def _scaled(v: Node, args: list[Scaled]) -> Scaled:
    rule = RULES.get(v.op.name) if v.dtype.kind == "f" and v.op is not CONSTANT else None
    found = rule(v, args) if rule else None
    if found is not None and found.base.shape == v.shape and 1 / LARGEST <= abs(found.factor) <= LARGEST:
        return found
    new = tuple(a.node() for a in args)
    return Scaled(1.0, v if new == v.args else make(v.op, new, v.attrs))


def _apart(v: Node, a: Scaled) -> Scaled:
    """An argument of v, its factor left in it where it has fewer elements than v: it is scaled once there."""
    return a if a.base.size == v.size or abs(a.factor) == 1 else Scaled(1.0, a.node())


def _number(a: Scaled) -> float | None:
    """The number that a rank-0 argument is."""
    c = scalar_value(a.base) if not a.base.ndim else None
    return None if c is None else a.factor * float(c)


def _neg(v: Node, args: list[Scaled]) -> Scaled:
    """-(c b) = (-c) b."""
    return Scaled(-args[0].factor, args[0].base)


def _mul(v: Node, args: list[Scaled]) -> Scaled:
    """k (c b) = (k c) b,  (c a) (d b) = (c d) (a b)."""
    for k, other in (args, args[::-1]):
        if (number := _number(k)) is not None:
            return Scaled(number * other.factor, other.base)
    x, y = (_apart(v, a) for a in args)
    return Scaled(x.factor * y.factor, apply("mul", x.base, y.base))


def _div(v: Node, args: list[Scaled]) -> Scaled | None:
    """(c b) / k = (c / k) b,  k / (c b) = (k / c) (1 / b),  (c a) / (d b) = (c / d) (a / b)."""
    above, below = _number(args[0]), _number(args[1])
    if below is not None:
        return Scaled(args[0].factor / below, args[0].base) if below else None
    x, y = (_apart(v, a) for a in args)
    if above is not None:
        return Scaled(above / y.factor, apply("div", constant(1, v.dtype), y.base))
    return Scaled(x.factor / y.factor, apply("div", x.base, y.base))


def _sum_of_two(v: Node, args: list[Scaled]) -> Scaled | None:
    """c a + d b = c (a + (d / c) b) where d / c is a number of the same type, or the other way round.

    The factor that is pulled out is that of the argument made first; numbers are multiples of 1.
    """
    x, y = args if v.op.name == "add" else (args[0], Scaled(-args[1].factor, args[1].base))
    if x.base is y.base:
        return Scaled(x.factor + y.factor, x.base) if x.factor + y.factor else None
    numbers = [_number(a) for a in (x, y)]
    if numbers[0] is not None:
        x, y, numbers = y, x, numbers[::-1]
    if numbers[1] is not None:
        y = Scaled(numbers[1], constant(1, v.dtype))
    elif x.base.serial > y.base.serial:
        x, y = y, x
    if not y.factor or x.base.size < v.size:
        return None
    ratio = _exact_ratio(y.factor, x.factor, v.dtype)
    if ratio is None and numbers[1] is None and y.base.size == v.size:
        ratio = _exact_ratio(x.factor, y.factor, v.dtype)
        x, y = (x, y) if ratio is None else (y, x)
    if ratio is None:
        x, ratio = Scaled(float(np.sign(x.factor)), Scaled(abs(x.factor), x.base).node()), \
            float(np.sign(x.factor)) * y.factor
    if numbers[1] is not None:
        return Scaled(x.factor, apply("add", constant(ratio, v.dtype), x.base))
    other = Scaled(abs(ratio), y.base).node()
    return Scaled(x.factor, apply("add" if ratio > 0 else "sub", x.base, other))


def _as_written(v: Scaled) -> Scaled:
    """What stands for the base of c (a - b): b - a, with the factor -1, where c is negative."""
    if v.factor > 0:
        return Scaled(1.0, v.base)
    a, b = v.base.args
    if v.base.op.name == "sub":
        return Scaled(-1.0, apply("sub", b, a))
    k = scalar_value(a)
    return Scaled(1.0, v.base) if k is None else Scaled(-1.0, apply("sub", constant(-k, a.dtype), b))


def _exact_ratio(a: float, b: float, dtype: np.dtype) -> float | None:
    """a / b where that is a number of the type, exactly, and none that could overflow what it multiplies."""
    ratio = a / b
    rounded = float(dtype.type(ratio))
    if not 1 / LARGEST <= abs(ratio) <= LARGEST:
        return None
    (r, over), (n, d), (p, q) = (x.as_integer_ratio() for x in (rounded, b, a))
    return ratio if r * n * q == p * over * d else None


def _index(v: Node, args: list[Scaled]) -> Scaled:
    """(c b)[m] = c b[m], unless that is more elements."""
    a = args[0] if v.size <= args[0].base.size else Scaled(1.0, args[0].node())
    return Scaled(a.factor, index(a.base, v.attrs.maps, v.shape))


def _sum(v: Node, args: list[Scaled]) -> Scaled:
    """sum c b = c sum b."""
    return Scaled(args[0].factor, sum_over(args[0].base, v.attrs))


RULES: dict[str, Callable[[Node, list[Scaled]], Scaled | None]] = {
    "neg": _neg, "mul": _mul, "div": _div, "add": _sum_of_two, "sub": _sum_of_two, "index": _index, "sum": _sum}
