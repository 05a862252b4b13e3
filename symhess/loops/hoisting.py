"""What a step of a loop computes from its number, and from what it is given, is computed for all steps before the loop.

Steps wait for each other; what does not hang on their states can run in vectors. It costs memory, so only functions
that take long are worth it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from symhess.graph.node import Node, bodies, input_node, make, topological
from symhess.loops.looping import canonical, mapped, reach, trimmed
from symhess.primitives import Elementwise
from symhess.primitives.control import STEP, Loop
from symhess.primitives.rebuild import rewritten, substituted

#: steps from which loops run in vectors
LEAST_STEPS = 16
#: the cost of an operation that takes long, and elements of all steps that are kept
LONG, MOST_ELEMENTS = 20, 1 << 18


def hoisted(outputs: Sequence[Node]) -> list[Node]:
    """The same expressions, loops with shorter steps."""
    return rewritten(outputs, lambda node: _hoisted(node) if node.op.name == "loop" else node)


def _hoisted(node: Node) -> Node:
    loop = node.attrs
    if loop.length is None or loop.length < LEAST_STEPS or len(loop.phases) != 1:
        return node
    found = _long(loop)
    if not found:
        return node
    values = dict(zip(loop.slots, node.args))
    slots = {e: input_node("before", e.shape, e.dtype) for e in found}
    values |= dict(zip(slots.values(), mapped(loop, found, values)))
    made = replace(loop.mapped(lambda expressions: substituted(expressions, slots)),
                   xs=loop.xs + tuple(slots.values()))
    shorter, args = canonical(trimmed(made), values)
    return make(node.op, args, shorter)


def _long(loop: Loop) -> list[Node]:
    """The largest expressions that hang on no state, but on the step, and take long."""
    order = topological(loop.expressions)
    below = reach(loop.expressions, (*loop.phases[0].carry, *loop.xs, STEP))
    states = (1 << len(loop.phases[0].carry)) - 1
    worth: dict[Node, bool] = {}
    for n in order:
        own = isinstance(n.op, Elementwise) and n.op.cost >= LONG and below[n] != 0
        worth[n] = own or any(worth[a] for a in n.args)
    ends = {a: None for n in order if below[n] & states for a in n.args if not below[a] & states}
    return [e for e in ends if worth[e] and math.prod(e.shape) * (loop.length or 0) <= MOST_ELEMENTS
            and not any(bodies(n) or n.op.batch is None for n in topological([e]) if n.args)]
