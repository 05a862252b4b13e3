"""Simplification inside of loops and branches: their bodies are graphs of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symhess.graph.node import Node, bodies, make, rewrite, topological
from symhess.primitives.control import used_inputs
from symhess.primitives.rebuild import with_args

#: from expressions and their inputs to the same values
Simplify = Callable[[list[Node], list[Node]], list[Node]]


def with_bodies(outputs: Sequence[Node], simplify: Simplify) -> list[Node]:
    """The outputs with `simplify` applied to all bodies in them, inner ones first."""
    def inside(expressions: Sequence[Node]) -> list[Node]:
        return with_bodies(simplify(list(expressions), used_inputs(expressions)), simplify)

    def rule(node: Node, args: tuple[Node, ...]) -> Node:
        if bodies(node):
            return make(node.op, args, node.attrs.mapped(inside))
        return with_args(node, args)

    return rewrite(outputs, rule) if any(bodies(n) for n in topological(outputs)) else list(outputs)
