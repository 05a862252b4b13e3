"""Readable printing of graphs: one line per node, in evaluation order, deterministic."""

from __future__ import annotations

from symhess.graph.node import CONSTANT, INPUT, Graph, Node, bodies


def format_graph(graph: Graph) -> str:
    """The graph as text: `%3 = mul(%1, %2) : float64[5]`, inputs first, outputs last."""
    names: dict[Node, str] = {}
    lines = []
    for node in [*graph.inputs, *(n for n in graph.nodes() if n.op is not INPUT)]:
        names[node] = f"%{len(names)}"
        lines.append(f"{names[node]} = {format_node(node, names)}")
        for heading, body in bodies(node):
            lines += [f"  {heading}:", *(f"    {line}" for line in format_graph(body).splitlines())]
    lines.append("return " + ", ".join(names[o] for o in graph.outputs))
    return "\n".join(lines)


def format_node(node: Node, names: dict[Node, str]) -> str:
    """One line: what the node computes from its arguments' names, then its dtype and shape."""
    kind = f"{node.dtype}{list(node.shape)}"
    if node.op is INPUT:
        return f"input {node.attrs.name} : {kind}"
    if node.op is CONSTANT:
        text = repr(node.attrs.array.item()) if node.size == 1 else f"#{node.attrs.digest.hex()[:8]}"
        return f"constant {text} : {kind}"
    parts = [names[a] for a in node.args]
    if node.attrs is not None:
        parts.append(format_attrs(node.attrs))
    return f"{node.op.name}({', '.join(parts)}) : {kind}"


def format_attrs(attrs: object) -> str:
    if hasattr(attrs, "_fields"):
        return ", ".join(f"{k}={getattr(attrs, k)}" for k in attrs._fields)
    return str(attrs)
