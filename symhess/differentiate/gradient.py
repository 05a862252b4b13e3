"""Reverse mode on graphs: pull a cotangent of the output back to the inputs.

    vbar_i = sum over users u of v_i  of  (du/dv_i)^T ubar
"""

from __future__ import annotations

from collections.abc import Sequence

from symhess.errors import NonScalarOutput, NotDifferentiable
from symhess.graph.node import Node, constant, depends_on, topological
from symhess.primitives import Elementwise, apply, zeros
from symhess.primitives.elementwise import ZERO


def gradient(output: Node, inputs: Sequence[Node]) -> list[Node]:
    """Gradient nodes of a rank-0 `output`, one per input, each of the input's shape."""
    if output.ndim:
        raise NonScalarOutput(f"a gradient needs a function with one number as output, not shape {output.shape}")
    return pullback([output], [constant(1, output.dtype)], inputs)


def pullback(outputs: Sequence[Node], cotangents: Sequence[Node | None], inputs: Sequence[Node]) -> list[Node]:
    """sum_k (d outputs[k] / d inputs)^T cotangents[k], one node per input; zeros where nothing flows."""
    order = topological(outputs)
    active = depends_on(order, inputs, _passes_derivatives)
    bar: dict[Node, Node] = {}
    for out, g in zip(outputs, cotangents):
        if g is not None and out in active:
            _accumulate(bar, out, g)
    for node in reversed(order):
        g = bar.get(node)
        if g is None or not node.args or node in inputs:
            continue
        if node.op.vjp is None:
            raise NotDifferentiable(f"{node.op.name} has no derivative rule{_where(node)}")
        for arg, part in zip(node.args, _contributions(node, g, active)):
            if part is not None and arg in active:
                _accumulate(bar, arg, part)
    return [bar.get(x, zeros(x.shape, x.dtype)) for x in inputs]


def _passes_derivatives(node: Node) -> bool:
    """False for integers, truth values, and functions that are flat wherever they have a derivative."""
    flat = isinstance(node.op, Elementwise) and node.op.partials is not None and all(
        p == ZERO for p in node.op.partials)
    return node.dtype.kind == "f" and not flat


def _contributions(node: Node, g: Node, active: set[Node]) -> Sequence[Node | None]:
    for k, reason in node.op.extra.get("refused", {}).items():
        if node.args[k] in active:
            raise NotDifferentiable(reason + _where(node))
    if any(a in active for a in node.args) and node.dtype.kind == "f":
        pull = node.op.extra.get("pullback")
        return node.op.vjp(node, g) if pull is None else pull(node, g, [a in active for a in node.args])
    return [None] * len(node.args)


def _accumulate(bar: dict[Node, Node], node: Node, part: Node) -> None:
    bar[node] = apply("add", bar[node], part) if node in bar else part


def _where(node: Node) -> str:
    return f" ({node.source})" if node.source else ""
