"""Rewrites to stable forms, before differentiation: the same mathematics without overflow or cancellation.

    log(sum(exp(x)))        = logsumexp(x)
    logsumexp(x - b)        = logsumexp(x) - b          b constant along the summed axes
    (a - b) + b = a,   a + (b - a) = b,   (a + b) - b = a
    log(1 + exp(x))         = softplus(x)               log1p(exp(x)) likewise

The second rule undoes the usual shift by the maximum, whose derivative would otherwise have to cancel numerically.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symhess.graph.node import Node, rewrite, scalar_value
from symhess.primitives import SUM, apply, broadcast_to, reshape
from symhess.primitives.logsumexp import logsumexp
from symhess.primitives.movement import INDEX
from symhess.primitives.rebuild import rebuild


def stabilised(outputs: Sequence[Node]) -> list[Node]:
    """The outputs with every rule applied, bottom-up."""
    def rule(node: Node, args: tuple[Node, ...]) -> Node:
        new = node if args == node.args else rebuild(node, args)
        for simplify in RULES.get(new.op.name, ()):
            better = simplify(new)
            if better is not None:
                return better
        return new

    return rewrite(outputs, rule)


def _log_of_sum(node: Node) -> Node | None:
    """log(sum(exp(x))) = logsumexp(x), seen through size-1 axes; log(1 + exp(x)) = softplus(x)."""
    inner = node.args[0]
    if inner.op.name == "add":
        for one, e in (inner.args, inner.args[::-1]):
            if scalar_value(one) == 1 and e.op.name == "exp":
                return apply("softplus", e.args[0])
    kept = inner.shape
    while inner.op.name == "reshape" or _is_size_one_reshape(inner):
        inner = inner.args[0]
    if inner.op is SUM and inner.args[0].op.name == "exp" and inner.size == node.size:
        return reshape(_shifted(inner.args[0].args[0], inner.attrs), kept)
    return None


def _is_size_one_reshape(node: Node) -> bool:
    """An index node that only adds or drops size-1 axes."""
    return node.op is INDEX and node.size == node.args[0].size and \
        [n for n in node.shape if n != 1] == [n for n in node.args[0].shape if n != 1] and \
        all(m.is_affine and m.offset == 0 for m in node.attrs.maps) and node.size > 1


def _shifted(x: Node, axes: tuple[int, ...]) -> Node:
    """logsumexp over `axes`, with shifts that are constant along them taken out."""
    if x.op.name in ("sub", "add"):
        a, b = x.args
        if _is_constant_along(b, axes, x.ndim):
            return apply(x.op.name, _shifted(_filled(a, x.shape), axes), _without(b, axes, x))
        if x.op.name == "add" and _is_constant_along(a, axes, x.ndim):
            return apply("add", _shifted(_filled(b, x.shape), axes), _without(a, axes, x))
    return logsumexp(x, axes)


def _is_constant_along(b: Node, axes: tuple[int, ...], rank: int) -> bool:
    return b.ndim == 0 or (b.ndim == rank and all(b.shape[d] == 1 for d in axes))


def _filled(a: Node, shape: tuple[int, ...]) -> Node:
    return a if a.shape == shape else broadcast_to(a, shape)


def _without(b: Node, axes: tuple[int, ...], x: Node) -> Node:
    """b with the summed axes dropped, in the shape of the reduced array."""
    kept = tuple(n for d, n in enumerate(x.shape) if d not in axes)
    if b.ndim == 0:
        return b
    return _filled(reshape(b, [n for d, n in enumerate(b.shape) if d not in axes]), kept)


def _cancelled_sum(node: Node) -> Node | None:
    """(a - b) + b = a,  b + (a - b) = a."""
    for difference, b in (node.args, node.args[::-1]):
        if difference.op.name == "sub" and difference.args[1] is b and difference.args[0].shape == node.shape:
            return difference.args[0]
    return None


def _cancelled_difference(node: Node) -> Node | None:
    """(a + b) - b = a."""
    x, b = node.args
    if x.op.name == "add" and b in x.args:
        a = x.args[1] if x.args[0] is b else x.args[0]
        return a if a.shape == node.shape else None
    return None


def _softplus_of_log1p(node: Node) -> Node | None:
    """log1p(exp(x)) = softplus(x)."""
    return apply("softplus", node.args[0].args[0]) if node.args[0].op.name == "exp" else None


RULES: dict[str, tuple[Callable[[Node], Node | None], ...]] = {
    "log": (_log_of_sum,), "log1p": (_softplus_of_log1p,), "add": (_cancelled_sum,), "sub": (_cancelled_difference,),
}

