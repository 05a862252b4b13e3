"""Elementwise primitives: one line each, with a SymPy expression from which the derivatives follow.

    u(e) = f(v_1(e), ..., v_k(e))            du/dv_i (e) = f_i(v_1(e), ..., v_k(e))

Arguments have the rank of the result, with size-1 axes broadcast, or rank 0. They share one dtype.
In every expression the arguments are called x, y, z. `partials` may give the derivatives as expressions over
primitives (u is the result itself); where one is left out, SymPy differentiates `sympy` on first use.
The tests hold each given partial against SymPy's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symhess.errors import DTypeMismatch, NotDifferentiable, ShapeMismatch
from symhess.graph.node import CONSTANT, Node, Primitive, constant, make, register, scalar_value
from symhess.primitives.broadcasting import broadcast_shape, insert_leading, narrow, shrink_to

ARGUMENT_NAMES = ("x", "y", "z")
#: a derivative that is zero almost everywhere
ZERO = "0"


@dataclass(frozen=True, eq=False)
class Elementwise(Primitive):
    """A primitive that acts element by element; `kernel` is its spelling in generated code."""

    sympy: str = ""
    numpy: Callable[..., np.ndarray] = np.add
    kernel: str = ""
    partials: tuple[str | None, ...] | None = None
    domain: tuple[tuple[float, float], ...] = ()
    nargs: int = 1
    cost: int = 1
    simplify: Callable[..., Node | None] | None = None

    def partial(self, node: Node, i: int) -> Node:
        """The graph of du/dv_i at the arguments of `node`."""
        if self.partials is not None and self.partials[i] is not None:
            return _evaluate_expression(self.partials[i], node)
        from symhess.primitives.sympy_rules import partial_by_sympy

        return partial_by_sympy(self, i, node)


ELEMENTWISE: dict[str, Elementwise] = {}


def elementwise(name: str, sympy: str, *, numpy: Callable, kernel: str, partials: Sequence[str | None] | None = None,
                domain: Any = (-2.0, 2.0), result: str = "same", cost: int = 1, doc: str = "",
                simplify: Callable[..., Node | None] | None = None, nargs: int | None = None) -> Elementwise:
    """Declare an elementwise primitive; this line is all that a new function needs.

    `kernel` is a format string over the arguments ({0}, {1}) for generated Numba code, `domain` an interval (or one
    per argument) on which the sweep in the tests samples, `result` "same" or "bool", `cost` in flops, roughly.
    """
    n = nargs if nargs is not None else max(i + 1 for i in range(3) if f"{{{i}}}" in kernel)
    intervals = domain if isinstance(domain[0], tuple) else (domain,) * n
    primitive = Elementwise(
        name, functools.partial(_infer, name, n, result), lambda arrays, node: numpy(*arrays), vjp=_vjp, jvp=_jvp,
        batch=_batch, family="elementwise", doc=doc, sympy=sympy, numpy=numpy, kernel=kernel,
        partials=None if partials is None else tuple(partials), domain=intervals, nargs=n, cost=cost,
        simplify=simplify)
    ELEMENTWISE[name] = primitive
    register(primitive)
    return primitive


def apply(op: Elementwise | str, *args: Node) -> Node:
    """The node op(args) after the cheap algebra: constants folded, broadcasts left to the operation."""
    op = ELEMENTWISE[op] if isinstance(op, str) else op
    shape: tuple[int, ...] = ()
    if args[0].shape or args[-1].shape or (len(args) == 3 and args[1].shape):  # numbers have nothing to broadcast
        shape = broadcast_shape(args)
        args = tuple(narrow(a, shape, [b for b in args if b is not a]) for a in args)
        if broadcast_shape(args) != shape:  # all of them repeat values along one axis: compute once, repeat the result
            return expand_to(apply(op, *args), shape)
    if args[0].op is CONSTANT and all(a.op is CONSTANT for a in args):
        with np.errstate(all="ignore"):
            return constant(op.evaluate([a.attrs.array for a in args], None), op.infer(args, None)[1])
    if op.simplify is not None:
        simpler = op.simplify(*args)
        if simpler is not None and simpler.shape == shape:
            return simpler
    return make(op, args)


def _infer(name: str, nargs: int, result: str, args: Sequence[Node], attrs: Any) -> tuple[tuple[int, ...], Any]:
    if len(args) != nargs:
        raise ShapeMismatch(f"{name} takes {nargs} arguments, not {len(args)}")
    typed = args[1:] if name == "where" else args
    same = len(typed) <= 2 and typed[0].dtype is typed[-1].dtype
    if (not same and len({a.dtype for a in typed}) > 1) or (name == "where" and args[0].dtype != np.bool_):
        raise DTypeMismatch(f"{name} got arguments of dtypes {', '.join(str(a.dtype) for a in args)}")
    return broadcast_shape(args), np.dtype(bool) if result == "bool" else typed[0].dtype


def _vjp(node: Node, g: Node) -> list[Node | None]:
    """g_i = sum over broadcast axes of  g * du/dv_i."""
    return [_pull(node, i, a, g) for i, a in enumerate(node.args)]


def _pull(node: Node, i: int, arg: Node, g: Node) -> Node | None:
    if arg.dtype.kind != "f" or node.dtype.kind != "f" or arg.op.name == "constant":
        return None
    if node.op.name == "where":
        return shrink_to(select_branch(node, i, g), arg.shape)
    d = node.op.partial(node, i)
    return None if scalar_value(d) == 0 else shrink_to(scale(g, d), arg.shape)


def select_branch(node: Node, i: int, t: Node) -> Node:
    """where(c, t, 0) for the first branch, where(c, 0, t) for the second; not folded, so that `scale` sees it."""
    c, zero = node.args[0], constant(0, t.dtype)
    number = scalar_value(t.args[0] if t.op.name == "index" else t)
    if c.op.name == "constant" and c.size > 1 and number and t.shape in ((), c.shape):
        one = constant(number, t.dtype)
        return make(node.op, (c, one, zero) if i == 1 else (c, zero, one))
    return apply("where", c, *((t, zero) if i == 1 else (zero, t)))


def scale(t: Node, d: Node) -> Node:
    """t * d with every select of t against zero kept outermost, so that 0 * inf never occurs."""
    for a, b in ((t, d), (d, t)):
        select = select_against_zero(a)
        if select is not None:
            c, kept, first = select
            zero, scaled = constant(0, a.dtype), scale(kept, b)
            return apply("where", c, *((scaled, zero) if first else (zero, scaled)))
    for a, b in ((t, d), (d, t)):
        if a.op.name == "scatter" and a.args[0].size < a.size and b.shape == a.shape and _may_be_infinite(b):
            return _scaled_scatter(a, b)
    return apply("mul", t, d)


def _scaled_scatter(t: Node, d: Node) -> Node:
    """scatter(v) * d = scatter(v * d there), so that d is not asked where nothing is scattered to."""
    from symhess.primitives.movement import index, scatter

    (v,) = t.args
    return scatter(scale(v, index(d, t.attrs.maps, v.shape)), t.attrs.maps, t.shape)


def _may_be_infinite(d: Node) -> bool:
    """True for quotients and powers, and products with them."""
    if d.op.name in ("mul", "neg"):
        return any(map(_may_be_infinite, d.args))
    return d.op.name in ("div", "safe_div") or (d.op.name == "pow" and not (scalar_value(d.args[1]) or -1) >= 0)


def select_against_zero(t: Node) -> tuple[Node, Node, bool] | None:
    """(c, a, True) for where(c, a, 0), (c, a, False) for where(c, 0, a), also below an index or a reshape.

    A boolean turned into a number is where(c, 1, 0).
    """
    moves = []
    while t.op.name in ("index", "reshape"):
        moves.append(t)
        t = t.args[0]
    if t.op.name == "cast" and t.args[0].dtype == np.bool_:
        return _moved(t.args[0], moves), constant(1, t.dtype), True
    if t.op.name != "where" or 0 not in (scalar_value(t.args[1]), scalar_value(t.args[2])):
        return None
    first = scalar_value(t.args[2]) == 0
    return _moved(t.args[0], moves), _moved(t.args[1 if first else 2], moves), first


def _moved(v: Node, moves: Sequence[Node]) -> Node:
    """v after the same movements as in `moves`, the last one first."""
    from symhess.primitives.movement import index, reshape

    for m in reversed(moves):
        v = expand_to(v, m.args[0].shape)
        v = index(v, m.attrs.maps, m.shape) if m.op.name == "index" else reshape(v, m.shape)
    return v


def _jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    """t = sum_i t_i * du/dv_i."""
    total: Node | None = None
    for i, t in enumerate(tangents):
        if t is None:
            continue
        if node.op.name == "where":
            part = select_branch(node, i, t)
        else:
            part = scale(t, node.op.partial(node, i))
        total = part if total is None else apply("add", total, part)
    if total is None:
        raise NotDifferentiable(f"{node.op.name} has no moving argument")
    return expand_to(total, node.shape)


def expand_to(t: Node, shape: tuple[int, ...]) -> Node:
    from symhess.primitives.movement import broadcast_to

    return t if t.shape == shape else broadcast_to(t, shape)


def _batch(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    from symhess.primitives.movement import reshape

    def align(a: Node, moved: bool) -> Node:
        if not moved:
            return insert_leading(a)
        return reshape(a, (*a.shape, *(1,) * node.ndim)) if a.ndim == 1 < node.ndim + 1 else a

    return apply(node.op, *(align(a, b) for a, b in zip(args, added)))


@functools.cache
def _compiled_expression(text: str) -> Any:
    return compile(text, f"<partial {text}>", "eval")


def _evaluate_expression(text: str, node: Node) -> Node:
    """Evaluate a partial such as "1 - u*u" with graph-building operators and functions."""
    if text == ZERO:
        return constant(0, node.dtype)
    return evaluate_expression(text, {**dict(zip(ARGUMENT_NAMES, node.args)), "u": node}, node.args[-1].dtype)


def evaluate_expression(text: str, nodes: dict[str, Node], dtype: np.dtype) -> Node:
    """The node of a formula over named nodes, with every declared primitive as a function; numbers take the dtype."""
    names = _Names((name, Expression(node)) for name, node in nodes.items())
    names.dtype = dtype
    value = eval(_compiled_expression(text), {"__builtins__": {}}, names)
    return value.node if isinstance(value, Expression) else constant(value, dtype)


class Expression:
    """A node with Python's operators, for writing derivative rules as formulas."""

    __slots__ = ("node",)

    def __init__(self, node: Node):
        self.node = node

    def _with(self, op: str, other: Any, swapped: bool = False) -> Expression:
        right = other.node if isinstance(other, Expression) else constant(other, self.node.dtype)
        return Expression(apply(op, *((right, self.node) if swapped else (self.node, right))))

    def __add__(self, o: Any) -> Expression:
        return self._with("add", o)

    def __radd__(self, o: Any) -> Expression:
        return self._with("add", o, True)

    def __sub__(self, o: Any) -> Expression:
        return self._with("sub", o)

    def __rsub__(self, o: Any) -> Expression:
        return self._with("sub", o, True)

    def __mul__(self, o: Any) -> Expression:
        return self._with("mul", o)

    def __rmul__(self, o: Any) -> Expression:
        return self._with("mul", o, True)

    def __truediv__(self, o: Any) -> Expression:
        return self._with("div", o)

    def __rtruediv__(self, o: Any) -> Expression:
        return self._with("div", o, True)

    def __pow__(self, o: Any) -> Expression:
        return self._with("pow", o)

    def __neg__(self) -> Expression:
        return Expression(apply("neg", self.node))


def call(name: str, dtype: np.dtype, *args: Any) -> Expression:
    """Apply a primitive to Expressions and numbers, which take the given dtype."""
    return Expression(apply(name, *(a.node if isinstance(a, Expression) else constant(a, dtype) for a in args)))


def safe_div(a: Expression | float, b: Expression) -> Expression:
    """a / b, and 0 where b = 0."""
    zero = constant(0, b.node.dtype)
    at_zero = apply("equal", b.node, zero)
    return Expression(apply("where", at_zero, zero, (a / b).node))


class _Names(dict):
    """The names in a derivative expression: its arguments, and every declared primitive as a function."""

    dtype: np.dtype

    def __missing__(self, name: str) -> Callable[..., Expression]:
        if name == "safe_div":
            return safe_div
        if name not in ELEMENTWISE:
            raise KeyError(name)
        return functools.partial(call, name, self.dtype)
