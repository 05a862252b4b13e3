"""Reductions of tall arrays turned around, so that each result is a sum in a register.

    u(j) = sum_i v(i, j)    for few j and many i, as    u(j) = sum_i v'(j, i)    with v' the transpose of v

In the order of memory every iteration would add to all results in turn, which keeps the loop that computes v from
being vectorised. Where v is costly it is kept, and read along its columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from symhess.graph.node import Node, make, rewrite
from symhess.plan.loops import COMBINE, is_running
from symhess.primitives import transpose

#: at most so many results, each of at least so many elements
FEW, MANY = 16, 64


def turned(outputs: Sequence[Node]) -> list[Node]:
    """The same values, reductions to few numbers along the last axes."""
    return rewrite(outputs, _turned)


def _turned(node: Node, args: tuple[Node, ...]) -> Node | None:
    if node.op.name not in COMBINE or is_running(node) or not 1 < node.size <= FEW:
        return None
    (a,) = args
    if math.prod(a.shape[d] for d in node.attrs) < MANY:
        return None
    kept = [d for d in range(a.ndim) if d not in node.attrs]
    return make(node.op, (transpose(a, [*kept, *sorted(node.attrs)]),), tuple(range(len(kept), a.ndim)))
