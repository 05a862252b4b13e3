"""The interpreter: evaluates a graph with NumPy, node by node. The reference for every compiled kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symhess.errors import ShapeMismatch
from symhess.graph.node import CONSTANT, INPUT, Graph, Node, topological


def evaluate(graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Values of `graph.outputs` for the given input arrays, in order."""
    if len(arrays) != len(graph.inputs):
        raise ShapeMismatch(f"the graph has {len(graph.inputs)} inputs, {len(arrays)} arrays were given")
    return evaluate_nodes(graph.outputs, dict(zip(graph.inputs, arrays)))


def evaluate_nodes(outputs: Sequence[Node], known: dict[Node, np.ndarray]) -> list[np.ndarray]:
    """Values of `outputs`, given the values of some nodes (all inputs among them)."""
    values = dict(known)
    order = topological(outputs)
    uses: dict[Node, int] = {}
    for node in order:
        for a in node.args:
            uses[a] = uses.get(a, 0) + 1
    for out in outputs:
        uses[out] = uses.get(out, 0) + 1
    with np.errstate(all="ignore"):
        for node in order:
            if node in values:
                continue
            values[node] = _value(node, values)
            for a in node.args:
                uses[a] -= 1
                if uses[a] == 0 and a.op is not INPUT:
                    del values[a]
    return [np.asarray(values[o]) for o in outputs]


class Tape:
    """Expressions in the order of their evaluation, for those that are evaluated again and again."""

    def __init__(self, outputs: Sequence[Node]):
        self.outputs = list(outputs)
        order = topological(outputs)
        self.constants = {n: n.attrs.array for n in order if n.op is CONSTANT}
        self.steps = [n for n in order if n.op is not CONSTANT and n.op is not INPUT]

    def __call__(self, known: dict[Node, np.ndarray]) -> list[np.ndarray]:
        """Values of the expressions for those of their inputs."""
        values = {**self.constants, **known}
        with np.errstate(all="ignore"):
            for node in self.steps:
                values[node] = _value(node, values)
        return [values[o] for o in self.outputs]


def _value(node: Node, values: dict[Node, np.ndarray]) -> np.ndarray:
    if node.op is CONSTANT:
        return node.attrs.array
    result = np.asarray(node.op.evaluate([values[a] for a in node.args], node))
    if result.shape != node.shape:
        raise ShapeMismatch(f"{node!r} evaluated to shape {result.shape}")
    return result if result.dtype == node.dtype else result.astype(node.dtype)
