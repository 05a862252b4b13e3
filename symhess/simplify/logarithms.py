"""Logarithms of what consists of exponentials, taken term by term instead of after overflow or cancellation.

    log(exp(x)) = x,   log(p q) = log p + log q,   log(p/q) = log p - log q,   log(p**c) = c log p
    log(p + q) = logaddexp(log p, log q),   log(1 + exp(x)) = softplus(x)           p, q > 0
    log(sum(p)) = logsumexp(log p),   logsumexp(x - b) = logsumexp(x) - b           b constant along the summed axes
    log(sigmoid(x)) = -softplus(-x),   log(cosh(x)) = logcosh(x),   log(1 - exp(x)) = log1mexp(x)
    log(det A) = log|det A| where det A > 0,   log(ndtr(x)) = log_ndtr(x),   log(gamma(x)) = gammaln(x)
    a log(b): 0 where both are 0,   log(x) - log(y) without cancellation,   log(1 + x) = log1p(x)

One factor of a product may have any sign, and keeps its own log, so that log of a negative number is NaN as before.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from symhess.graph.node import CONSTANT, Node, constant, make, scalar_value
from symhess.primitives import INDEX, RESHAPE, SUM, apply, broadcast_to, reshape, sum_over
from symhess.primitives.linalg import LOGABSDET
from symhess.primitives.logsumexp import logsumexp
from symhess.primitives.rebuild import rebuild
from symhess.simplify.quotients import beside_one, is_constant_along, is_number, negative

#: nested products and sums that are taken apart
DEEPEST = 40
#: functions f with f(x) > 0, and log(f(x)) from x
LOGS: dict[str, Callable[[Node], Node]] = {
    "exp": lambda x: x,
    "exp2": lambda x: apply("mul", constant(math.log(2), x.dtype), x),
    "sigmoid": lambda x: negative(apply("softplus", negative(x))),
    "cosh": lambda x: apply("logcosh", x),
    "sech": lambda x: negative(apply("logcosh", x)),
    "ndtr": lambda x: apply("log_ndtr", x),
    "erfc": lambda x: apply("add", constant(math.log(2), x.dtype),
                            apply("log_ndtr", apply("mul", constant(-math.sqrt(2), x.dtype), x))),
}
POSITIVE = frozenset(LOGS) | {"softplus"}


#: what was found out about nodes, for as long as `remembering` lasts
_known: ContextVar[dict[tuple[Callable, Node], Any] | None] = ContextVar("symhess_logarithms", default=None)


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """Ask every node once, however many paths lead to it: the steps of a recurrence multiply them."""
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def _asked_once(question: Callable[[Node, int], Any]) -> Callable[..., Any]:
    @functools.wraps(question)
    def ask(v: Node, depth: int = 0) -> Any:
        known = _known.get()
        if known is None or depth > DEEPEST:
            return question(v, depth)
        if (question, v) not in known:
            known[question, v] = question(v, depth)
        return known[question, v]

    return ask


@_asked_once
def log_of(v: Node, depth: int = 0) -> Node | None:
    """log(v) through its exponentials, or None where it has none."""
    if depth > DEEPEST:
        return None
    name = v.op.name
    if name in LOGS:
        return LOGS[name](v.args[0])
    rule = _THROUGH.get(name)
    return rule(v, depth + 1) if rule is not None else None


def _plain(v: Node) -> Node:
    """The logarithm of a factor without an exponential."""
    return apply("log", v)


def _factor(v: Node, depth: int) -> tuple[Node, bool]:
    stable = log_of(v, depth)
    return (_plain(v), False) if stable is None else (stable, True)


def _of_product(v: Node, depth: int) -> Node | None:
    """log p + log q, or log p - log q, if one has an exponential and one is surely positive: two negative ones may be
    multiplied, and have no logarithms."""
    if any(a.op is CONSTANT and not (a.attrs.array > 0).all() for a in v.args) or not any(map(is_positive, v.args)):
        return None
    (p, first), (q, second) = (_factor(a, depth) for a in v.args)
    if not (first or second):
        return None
    return apply("add" if v.op.name == "mul" else "sub", p, q)


def _of_sum(v: Node, depth: int) -> Node | None:
    """logaddexp(log p, log q) for positive p and q."""
    logs = [_of_positive(a, depth) for a in v.args]
    if None in logs or all(a.op is CONSTANT for a in v.args):
        return None
    for one, other in (logs, logs[::-1]):
        if is_number(one, 0):
            return apply("softplus", other)
    return apply("logaddexp", *logs)


def _of_positive(v: Node, depth: int) -> Node | None:
    """The log of a positive constant, or of what is surely positive. (Where a term of a sum may be 0, the derivative of
    its logarithm is not wanted.)"""
    if v.op is CONSTANT:
        return apply("log", v) if is_positive(v) else None
    return log_of(v, depth) if is_positive(v) else None


@_asked_once
def is_positive(v: Node, depth: int = 0) -> bool:
    """True where v > 0 for every argument, by its form and up to underflow."""
    name = v.op.name
    if depth > DEEPEST or v.op is CONSTANT:
        return v.op is CONSTANT and bool((v.attrs.array > 0).all())
    if name in POSITIVE:
        return True
    if name in ("mul", "div", "add") or v.op in (SUM, INDEX, RESHAPE):
        return all(is_positive(a, depth + 1) for a in v.args)
    return name == "where" and all(is_positive(a, depth + 1) for a in v.args[1:])


def _of_total(v: Node, depth: int) -> Node | None:
    """logsumexp(log p) for a sum of p, if that is an exponential with positive factors."""
    p = v.args[0]
    if p.op.name not in ("exp", "mul", "div") or not is_positive(p):
        return None
    logs = log_of(p, depth)
    return None if logs is None else shifted(broadcast_to(logs, p.shape), v.attrs)


def _of_weighted_total(v: Node, depth: int) -> Node | None:
    """logsumexp(x + log w) for w . exp(x) with a positive constant w."""
    if len(v.args) != 2 or v.attrs.output or v.attrs.operands[0] != v.attrs.operands[1]:
        return None
    if not all(map(is_positive, v.args)):
        return None
    logs = _of_product(apply("mul", *v.args), depth) if CONSTANT in (a.op for a in v.args) else None
    return None if logs is None else shifted(logs, tuple(range(logs.ndim)))


def shifted(x: Node, axes: tuple[int, ...]) -> Node:
    """logsumexp over `axes`, with shifts that are constant along them taken out."""
    if x.op.name in ("sub", "add"):
        a, b = x.args
        if is_constant_along(b, axes, x.ndim):
            return apply(x.op.name, shifted(_filled(a, x.shape), axes), _without(b, axes, x))
        if x.op.name == "add" and is_constant_along(a, axes, x.ndim):
            return apply("add", shifted(_filled(b, x.shape), axes), _without(a, axes, x))
    return logsumexp(x, axes)


def _filled(a: Node, shape: tuple[int, ...]) -> Node:
    return a if a.shape == shape else broadcast_to(a, shape)


def _without(b: Node, axes: tuple[int, ...], x: Node) -> Node:
    """b with the summed axes dropped, in the shape of the reduced array."""
    kept = tuple(n for d, n in enumerate(x.shape) if d not in axes)
    if b.ndim == 0:
        return b
    return _filled(reshape(b, [n for d, n in enumerate(b.shape) if d not in axes]), kept)


def _moved(v: Node, depth: int) -> Node | None:
    """The log of moved elements; a reshape goes to both sides of a difference, where a shift may cancel."""
    logs = log_of(v.args[0], depth)
    if logs is None:
        return None
    logs = _filled(logs, v.args[0].shape)
    if v.op is RESHAPE and logs.op.name == "sub" and all(a.shape == logs.shape for a in logs.args):
        return apply("sub", *(reshape(a, v.shape) for a in logs.args))
    return rebuild(v, [logs])


def _of_branches(v: Node, depth: int) -> Node | None:
    """where(c, log p, log q)."""
    c, *branches = v.args
    parts = [_factor(b, depth) for b in branches]
    return apply("where", c, *(p for p, _ in parts)) if any(stable for _, stable in parts) else None


def _of_power(v: Node, depth: int) -> Node | None:
    """c log p for positive p."""
    c = scalar_value(v.args[1])
    if c is None or v.args[1].ndim or not is_positive(v.args[0]):
        return None
    logs = log_of(v.args[0], depth)
    return None if logs is None else apply("mul", v.args[1], logs)


def _of_root(v: Node, depth: int) -> Node | None:
    logs = log_of(v.args[0], depth)
    return None if logs is None else apply("mul", constant(0.5, v.dtype), logs)


def _of_expm1(v: Node, depth: int) -> Node:
    """log(exp(x) - 1) = x + log(1 - exp(-x))."""
    (x,) = v.args
    return apply("add", x, apply("log1mexp", negative(x)))


def _of_negative(v: Node, depth: int) -> Node | None:
    """log(1 - exp(x)), which is a negated expm1 by now."""
    (e,) = v.args
    return apply("log1mexp", e.args[0]) if e.op.name == "expm1" else None


def _of_difference(v: Node, depth: int) -> Node | None:
    """log(exp(a) - exp(b)) = a + log(1 - exp(b - a))."""
    p, q = v.args
    if p.op.name != "exp" or q.op.name != "exp":
        return None
    return apply("add", p.args[0], apply("log1mexp", apply("sub", q.args[0], p.args[0])))


def _positive_only(logs: Callable[[Node], Node]) -> Callable[[Node, int], Node]:
    """`logs` where v is not negative, NaN elsewhere."""
    def rule(v: Node, depth: int) -> Node:
        below = apply("less", v, constant(0, v.dtype))
        return apply("where", below, constant(math.nan, v.dtype), logs(v))

    return rule


def _log_abs_det(v: Node) -> Node:
    return make(LOGABSDET, v.args)


def _of_abs(v: Node, depth: int) -> Node | None:
    """log|det A|,  log|gamma(x)|,  and log|p| = log p of exponentials."""
    (inner,) = v.args
    if inner.op.name == "det":
        return _log_abs_det(inner)
    if inner.op.name == "gamma":
        return apply("gammaln", inner.args[0])
    return log_of(inner, depth) if is_positive(inner) else None


_THROUGH: dict[str, Callable[[Node, int], Node | None]] = {
    "mul": _of_product, "div": _of_product, "add": _of_sum, "sub": _of_difference, "pow": _of_power,
    "sqrt": _of_root, "root": _of_root, "where": _of_branches, "index": _moved, "reshape": _moved,
    "sum": _of_total, "contract": _of_weighted_total, "expm1": _of_expm1, "neg": _of_negative, "abs": _of_abs,
    "det": _positive_only(_log_abs_det), "gamma": _positive_only(lambda v: apply("gammaln", v.args[0])),
}


# -- rules ---------------------------------------------------------------------------------------------------------


def _logarithm(node: Node) -> Node | None:
    logs = log_of(node.args[0])
    return None if logs is None else _filled(logs, node.shape)


def _to_base(base: float) -> Callable[[Node], Node | None]:
    def rule(node: Node) -> Node | None:
        logs = _logarithm(node)
        return None if logs is None else apply("mul", constant(1 / math.log(base), node.dtype), logs)

    return rule


def _near_one(node: Node) -> Node | None:
    """log(1 + x) = log1p(x),  log(1 - x) = log1p(-x)."""
    v = node.args[0]
    x = beside_one(v)
    if x is None and v.op.name == "sub" and is_number(v.args[0], 1):
        x = negative(v.args[1])
    return apply("log1p", x) if x is not None else None


def _log1p(node: Node) -> Node | None:
    """log1p(exp(x)) = softplus(x),  log1p(-exp(x)) = log1mexp(x),  log1p(expm1(x)) = x."""
    (v,) = node.args
    if v.op.name == "exp":
        return apply("softplus", v.args[0])
    if v.op.name == "neg" and v.args[0].op.name == "exp":
        return apply("log1mexp", v.args[0].args[0])
    return v.args[0] if v.op.name == "expm1" else None


def _times_log(node: Node) -> Node | None:
    """a log(b) = times_log(a, b);  b**p log(b) = powlog(1, b, p), whose derivatives at 0 are exact."""
    for a, l in (node.args, node.args[::-1]):
        if l.op.name != "log" or (a.op is CONSTANT and bool(np.all(a.attrs.array != 0))):
            continue
        b = l.args[0]
        p = _exponent(a, b)
        if p is not None:
            return apply("powlog", constant(1, b.dtype), b, constant(p, b.dtype))
        return apply("times_log", a, b)
    return None


def _exponent(a: Node, b: Node) -> float | None:
    """p of a = b**p, where p > 0 and not 1."""
    if a.op.name == "mul" and a.args == (b, b):
        return 2.0
    if a.op.name == "sqrt" and a.args[0] is b:
        return 0.5
    if a.op.name == "pow" and a.args[0] is b and a.args[1].ndim == 0:
        p = scalar_value(a.args[1])
        return float(p) if p is not None and p > 0 else None
    return None


def _log_ratio(node: Node) -> Node | None:
    """log(x) - log(y) = log_ratio(x, y)."""
    a, b = node.args
    return apply("log_ratio", a.args[0], b.args[0]) if a.op.name == b.op.name == "log" else None


def _times_log_ratio(node: Node) -> Node | None:
    """p (log p - log q) = p log p - p log q, each 0 at 0."""
    for p, l in (node.args, node.args[::-1]):
        if l.op.name == "log_ratio" and p in l.args:
            x, y = l.args
            return apply("sub", apply("times_log", p, x), apply("times_log", p, y))
    return None


def _dot_log(node: Node) -> Node | None:
    """a . log(b) as a sum of a log(b), unless a is a constant without zeros."""
    if len(node.args) != 2 or node.attrs.output or node.attrs.operands[0] != node.attrs.operands[1]:
        return None
    product = _times_log(apply("mul", *node.args))
    return None if product is None else sum_over(product, range(product.ndim))


RULES = {"log": (_logarithm, _near_one), "log2": (_to_base(2),), "log10": (_to_base(10),), "log1p": (_log1p,),
         "mul": (_times_log, _times_log_ratio), "sub": (_log_ratio,), "contract": (_dot_log,)}
