"""logsumexp: log(sum(exp(v))) over axes, without overflow; its derivative is the softmax.

    u(o) = log sum_r exp(v(o, r))            du/dv(o, r) = exp(v(o, r) - u(o))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from symhess.graph.node import Node, Primitive, constant, make, register
from symhess.primitives.elementwise import apply
from symhess.primitives.reduction import reduce_with, reduced_shape, spread, sum_over


def logsumexp(v: Node, axes: Iterable[int]) -> Node:
    """log(sum(exp(v))) over `axes`, which disappear; v itself where there is nothing to sum."""
    axes = tuple(sorted(axes))
    if all(v.shape[d] == 1 for d in axes):
        return sum_over(v, axes)
    return make(LOGSUMEXP, (v,), axes)


def softmax(node: Node) -> Node:
    """exp(v - u) for the argument v of a logsumexp node u."""
    return apply("exp", apply("sub", node.args[0], spread(node, node)))


def expanded(node: Node, v: Node) -> Node:
    """The elementary operations: m + log(sum(exp(v - m))), m the largest element (0 where that is infinite)."""
    top = reduce_with("max", v, node.attrs)
    zero = constant(0, v.dtype)
    m = apply("where", apply("isfinite", top), top, zero)
    return apply("add", m, apply("log", sum_over(apply("exp", apply("sub", v, spread(m, node))), node.attrs)))


def _evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    v, axes = arrays[0], node.attrs
    top = v.max(axis=axes, keepdims=True)
    m = np.where(np.isfinite(top), top, 0)
    return np.squeeze(m, axes) + np.log(np.exp(v - m).sum(axis=axes))


LOGSUMEXP = register(Primitive(
    "logsumexp", reduced_shape("logsumexp"), _evaluate, family="reduction",
    vjp=lambda node, g: [apply("mul", spread(g, node), softmax(node))],
    jvp=lambda node, t: sum_over(apply("mul", softmax(node), t[0]), node.attrs),
    batch=lambda node, args, added: logsumexp(args[0], [d + 1 for d in node.attrs]),
))
