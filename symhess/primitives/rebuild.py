"""Making a node again with other arguments, through the smart constructors, so that it simplifies anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symhess.graph.node import Node, make, rewrite
from symhess.primitives.casting import cast
from symhess.primitives.contraction import contract, label_sizes
from symhess.primitives.elementwise import Elementwise, apply
from symhess.primitives.logsumexp import logsumexp
from symhess.primitives.movement import index, reshape, scatter, stack
from symhess.primitives.reduction import cumsum, reduce_with

_CONSTRUCTORS: dict[str, Callable[[Node, Sequence[Node]], Node]] = {
    "index": lambda node, args: index(args[0], node.attrs.maps, node.shape),
    "scatter": lambda node, args: scatter(args[0], node.attrs.maps, node.shape),
    "reshape": lambda node, args: reshape(args[0], node.shape),
    "stack": lambda node, args: stack(args),
    "cast": lambda node, args: cast(args[0], node.dtype),
    "sum": lambda node, args: reduce_with("sum", args[0], node.attrs),
    "max": lambda node, args: reduce_with("max", args[0], node.attrs),
    "min": lambda node, args: reduce_with("min", args[0], node.attrs),
    "logsumexp": lambda node, args: logsumexp(args[0], node.attrs),
    "cumsum": lambda node, args: cumsum(args[0], *node.attrs),
    "contract": lambda node, args: contract(list(zip(args, node.attrs.operands)), node.attrs.output,
                                            label_sizes(node)),
}


def rebuild(node: Node, args: Sequence[Node]) -> Node:
    """The operation of `node` on other arguments of the same shapes."""
    if isinstance(node.op, Elementwise):
        return apply(node.op, *args)
    constructor = _CONSTRUCTORS.get(node.op.name)
    return constructor(node, args) if constructor is not None else make(node.op, args, node.attrs)


def with_args(node: Node, args: tuple[Node, ...]) -> Node:
    """The node itself where these are its arguments, else its operation on them."""
    return node if args == node.args else rebuild(node, args)


def rewritten(outputs: Sequence[Node], change: Callable[[Node], Node]) -> list[Node]:
    """The same expressions with every node changed, after its arguments were."""
    return rewrite(outputs, lambda node, args: change(with_args(node, args)))


def substituted(outputs: Sequence[Node], mapping: dict[Node, Any]) -> list[Node]:
    """The same expressions with some nodes replaced, simplified on the way."""
    return rewrite(outputs, with_args, mapping)
