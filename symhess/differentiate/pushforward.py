"""Forward mode on graphs: push tangents of the inputs through to the outputs.

    udot = sum_i (du/dv_i) vdot_i
"""

from __future__ import annotations

from collections.abc import Sequence

from symhess.errors import NotDifferentiable
from symhess.graph.node import Node, topological
from symhess.primitives import zeros


def pushforward(outputs: Sequence[Node], tangents: dict[Node, Node]) -> list[Node]:
    """Directional derivatives of `outputs`; `tangents` gives the direction of each moving node (inputs, usually)."""
    dot: dict[Node, Node] = dict(tangents)
    for node in topological(outputs):
        if node in dot or not node.args or node.dtype.kind != "f":
            continue
        moving = [dot.get(a) for a in node.args]
        if all(t is None for t in moving):
            continue
        if node.op.jvp is None:
            raise NotDifferentiable(f"{node.op.name} has no forward derivative rule")
        dot[node] = node.op.jvp(node, moving)
    return [dot.get(o, zeros(o.shape, o.dtype)) for o in outputs]
