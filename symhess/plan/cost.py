"""The cost model: flops and bytes of graphs, and the choice between structured Terms and dense columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from symhess.graph.node import Node, topological
from symhess.primitives import Elementwise
from symhess.primitives.contraction import label_sizes, subscripts
from symhess.primitives.control import Loop, Switch

#: a dense column costs more than its flops say (it is computed chunk by chunk), so structure is preferred up to here
PREFERENCE = 1.5
#: steps that a loop counts for where their number is found at run time
GUESSED_STEPS = 64


@dataclass(frozen=True)
class Cost:
    """Rough work of evaluating a graph once: floating-point operations, and elements of all intermediate results."""

    flops: float
    elements: float
    #: those that loops keep for all steps
    kept: float = 0.0


def cost_of(outputs: Sequence[Node]) -> Cost:
    """The cost of a graph, each node counted once, movement free."""
    flops = elements = kept = 0.0
    for node in topological(outputs):
        work = _flops(node)
        flops += work
        elements += node.size if work else 0
        kept += _kept(node.attrs) if isinstance(node.attrs, Loop) else 0
    return Cost(flops, elements + kept, kept)


def _flops(node: Node) -> float:
    if isinstance(node.op, Elementwise):
        return node.size * node.op.cost
    if node.op.name == "contract":
        return contraction_flops(node)
    if node.op.family == "library":
        return _product_flops(node)
    if node.op.family == "reduction":
        return node.args[0].size
    if node.op.family == "control":
        return _body_flops(node.attrs)
    if "flops" in node.op.extra:
        return node.op.extra["flops"](node)
    if node.op.family == "linalg":
        a = node.args[0]
        return 2.0 * a.size * (a.shape[-1] if a.ndim else 1) + node.size * (a.shape[-1] if a.ndim else 1)
    return 0.0


def _kept(loop: Loop) -> int:
    """Elements of the states that a loop keeps for its later phases."""
    return _steps(loop) * sum(z.size for p in loop.phases[:-1] for z in p.carry)


def _steps(loop: Loop) -> int:
    return GUESSED_STEPS if loop.length is None else loop.length


def _body_flops(body: Loop | Switch) -> float:
    """All steps of a loop, the dearest branch of a switch."""
    if isinstance(body, Loop):
        return _steps(body) * cost_of(body.expressions).flops
    return max(cost_of(b).flops for b in body.branches)


def _product_flops(node: Node) -> float:
    """2 b m n k for a matrix product, half of it for a symmetric one."""
    half = 0.5 if "syrk" in node.op.name else 1.0
    rows = node.shape[-1] if "syrk" in node.op.name else node.shape[1]
    return half * 2.0 * node.args[0].size * node.size / max(node.shape[0] * rows, 1)


def contraction_flops(node: Node) -> float:
    """Multiply-adds of a contraction along the best pairwise order found."""
    sizes = label_sizes(node)
    if len(node.args) <= 2:
        return 2.0 * math.prod(sizes.values())
    import opt_einsum

    _, info = opt_einsum.contract_path(subscripts(node.attrs), *(a.shape for a in node.args), shapes=True,
                                       optimize="auto")
    return float(info.opt_cost)


def structure_pays(terms: Cost, column: Cost, n: int) -> bool:
    """True if evaluating the Terms is estimated no dearer than n dense columns."""
    return terms.flops <= PREFERENCE * n * max(column.flops, 1.0)
