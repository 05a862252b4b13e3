"""Rewrites to stable forms, before differentiation: the same mathematics without overflow, cancellation or 0/0.

    logarithms   log(sum(exp(x))) = logsumexp(x) and its like, see `logarithms`
    quotients    1/(1 + exp(-x)) = sigmoid(x) and its like, see `quotients`
    roots        sqrt(x*x) = |x|, norm(x)**2 = sum(x*x) and their like, see `roots`
    (a - b) + b = a,   a + (b - a) = b,   (a + b) - b = a,   (a - b) - (c - b) = a - c

The last line, together with logsumexp(x - b) = logsumexp(x) - b, undoes the usual shift by the maximum, whose
derivative would otherwise have to cancel numerically. No rule changes a value that was finite by more than rounding,
nor turns a NaN of a bad argument (log of a negative number) into a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symhess.graph.node import Node
from symhess.primitives.rebuild import rewritten
from symhess.simplify import logarithms, quotients, roots

Rule = Callable[[Node], Node | None]
#: rules that follow each other at one node
MOST_STEPS = 8


def stabilised(outputs: Sequence[Node]) -> list[Node]:
    """The outputs with every rule applied, bottom-up."""
    with logarithms.remembering():
        return rewritten(outputs, settled)


def settled(node: Node) -> Node:
    """The node after the first rule that fits, and the first that fits what came out, and so on."""
    for _ in range(MOST_STEPS):
        better = next((b for rule in RULES.get(node.op.name, ()) if (b := rule(node)) is not None), None)
        if better is None or better is node:
            return node
        node = better
    return node


def _cancelled_sum(node: Node) -> Node | None:
    """(a - b) + b = a,  b + (a - b) = a."""
    for difference, b in (node.args, node.args[::-1]):
        if difference.op.name == "sub" and difference.args[1] is b and difference.args[0].shape == node.shape:
            return difference.args[0]
    return None


def _cancelled_difference(node: Node) -> Node | None:
    """(a + b) - b = a,  (a - b) - (c - b) = a - c."""
    x, b = node.args
    if x.op.name == "add" and b in x.args:
        a = x.args[1] if x.args[0] is b else x.args[0]
        return a if a.shape == node.shape else None
    if x.op.name == b.op.name == "sub" and x.args[1] is b.args[1]:
        return quotients.of_shape("sub", node.shape, x.args[0], b.args[0])
    return None


RULES: dict[str, tuple[Rule, ...]] = {
    name: tuple(rule for table in (logarithms.RULES, quotients.RULES, roots.RULES,
                                   {"add": (_cancelled_sum,), "sub": (_cancelled_difference,)})
                for rule in table.get(name, ()))
    for name in {*logarithms.RULES, *quotients.RULES, *roots.RULES, "add", "sub"}
}
