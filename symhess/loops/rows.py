"""What a step takes from a constant at a place that is known beforehand becomes its x: `c[i]` in step i.

Taken from a constant, the cotangent of one element would be added into an array of the size of the constant, in every
step; as an x it is a row that the step leaves behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from symhess.differentiate import batch
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.node import CONSTANT, Node, constant, input_node, topological
from symhess.loops.looping import Values
from symhess.primitives import TAKE, take, transpose
from symhess.primitives.control import STEP, Loop
from symhess.primitives.rebuild import substituted


def with_rows(loop: Loop, values: Values) -> tuple[Loop, Values]:
    """The loop, and its arguments, with what its steps take from constants in their order as xs."""
    places = {x: values[x].attrs.array for x in loop.xs if values[x].op is CONSTANT} | {STEP: np.arange(loop.length)}
    order, known = topological(loop.expressions), set(places)
    for n in order:
        if n.op is CONSTANT or (n.args and all(a in known for a in n.args)):
            known.add(n)
    found = [n for n in order if n.op is TAKE and n.args[0] in loop.consts and n.args[1] in known]
    if not found or not loop.length:
        return loop, values
    made = {n: input_node("x", n.shape, n.dtype) for n in found}
    indices = _indices(found, places, loop.length)
    rows = {made[n]: _rows(n, values[n.args[0]], index) for n, index in zip(found, indices)}
    changed = loop.mapped(lambda expressions: substituted(expressions, made))
    return replace(changed, xs=loop.xs + tuple(rows)), values | rows


def _indices(found: Sequence[Node], places: dict[Node, np.ndarray], length: int) -> list[np.ndarray]:
    """The places in all steps."""
    stacked = {s: input_node("steps", a.shape, s.dtype) for s, a in places.items()}
    known = {stacked[s]: a for s, a in places.items()}
    return evaluate_nodes(batch([n.args[1] for n in found], stacked, length), known)


def _rows(node: Node, source: Node, index: np.ndarray) -> Node:
    """What is taken in all steps, the axis of the steps first."""
    axis = node.attrs
    taken = take(source, constant(index), axis)
    return transpose(taken, [axis, *(d for d in range(taken.ndim) if d != axis)])
