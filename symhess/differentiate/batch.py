"""Batching: the same expressions for every entry of a new leading axis."""

from __future__ import annotations

from collections.abc import Sequence

from symhess.errors import UnsupportedOperation
from symhess.graph.node import Node, topological
from symhess.primitives import broadcast_to


def batch(outputs: Sequence[Node], mapping: dict[Node, Node], size: int) -> list[Node]:
    """Rebuild `outputs` with the nodes in `mapping` replaced by nodes that have one more, leading, axis of `size`.

    Every output gets the leading axis, also one that does not depend on the mapping.
    """
    new: dict[Node, Node] = dict(mapping)
    for node in topological(outputs):
        if node in new or not any(a in new for a in node.args):
            continue
        if node.op.batch is None:
            raise UnsupportedOperation(f"{node.op.name} cannot be batched")
        new[node] = node.op.batch(node, [new.get(a, a) for a in node.args], [a in new for a in node.args])
    return [new[o] if o in new else broadcast_to(o, (size, *o.shape)) for o in outputs]
