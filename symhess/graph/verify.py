"""The verifier: checks the rules that every graph keeps, between passes and in tests."""

from __future__ import annotations

import numpy as np

from symhess.errors import GraphError
from symhess.graph.node import INPUT, PRIMITIVES, Graph, bodies, make

DTYPES = frozenset(np.dtype(t) for t in ("float32", "float64", "int64", "bool"))


def verify(graph: Graph) -> None:
    """Raise GraphError unless every node is registered, interned, well-typed and reachable inputs are declared."""
    declared = set(graph.inputs)
    if len(declared) != len(graph.inputs):
        raise GraphError("an input is declared twice")
    for node in graph.nodes():
        for _, body in bodies(node):
            verify(body)
        if PRIMITIVES.get(node.op.name) is not node.op and "operation" not in node.op.extra:
            raise GraphError(f"{node!r} uses an unregistered primitive")
        if node.dtype not in DTYPES:
            raise GraphError(f"{node!r} has dtype {node.dtype}")
        shape, dtype = node.op.infer(node.args, node.attrs)
        if tuple(shape) != node.shape or np.dtype(dtype) != node.dtype:
            raise GraphError(f"{node!r} should be {np.dtype(dtype)}{list(shape)}")
        if node.op is INPUT and node not in declared:
            raise GraphError(f"{node!r} is used but not declared as an input")
        if make(node.op, node.args, node.attrs) is not node:
            raise GraphError(f"{node!r} is not interned")
