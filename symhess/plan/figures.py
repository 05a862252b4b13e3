"""What the steps of a plan cost, counted from their statements: for people, not for decisions."""

from __future__ import annotations

import math

from symhess.plan.loops import Assign, Block, Load, Store
from symhess.plan.nested import NestedCall
from symhess.plan.scalars import statements_of
from symhess.plan.steps import Figures, LibraryCall, LoopNest, Plan, ScalarBlock

#: flops that a call of a mathematical function counts for
FUNCTION = 20


def count(plan: Plan) -> None:
    """The figures of all steps but those that have plans of their own."""
    itemsize = {t.name: t.dtype.itemsize for t in (*plan.inputs, *plan.outputs, *plan.temporaries)}
    itemsize |= {name: a.itemsize for name, a in plan.constants.items()}
    for step in plan.steps:
        if isinstance(step, LoopNest):
            step.figures = of_nest(step, itemsize)
        elif isinstance(step, LibraryCall) and not isinstance(step, NestedCall):
            step.figures = of_call(step)
        elif isinstance(step, ScalarBlock):
            step.figures = of_block(step)


def of_nest(nest: LoopNest, itemsize: dict[str, int]) -> Figures:
    """Every statement times the iterations of the loops around it."""
    total = Figures()
    if not nest.loops:
        total.statements = len(nest.items)
        return total
    stack: list[tuple[object, float]] = [(nest.loops[0], 1)]
    while stack:
        item, times = stack.pop()
        if isinstance(item, Block):
            stack.extend((inner, times * (item.mean or item.size)) for inner in item.body)
            continue
        total.statements += 1
        if isinstance(item, Assign):
            total.flops += times * (FUNCTION if "math." in item.spelling else 1)
        elif isinstance(item, Load):
            total.read += times * itemsize.get(item.array, 8)
        elif isinstance(item, Store):
            total.written += times * itemsize.get(item.array, 8)
    return total


def of_call(call: LibraryCall) -> Figures:
    """Matrix products count exactly, everything else as one pass of rows over columns."""
    size = math.prod(call.shape)
    read = sum(math.prod(a.shape) * a.node.dtype.itemsize for a in call.arguments)
    first = call.arguments[0].shape
    if call.function == "gemm":
        flops = 2 * size * first[1 if call.parameters[0] else 2]
    elif call.function in ("syrk", "weighted_syrk"):
        flops = size * first[2 if call.parameters[0] else 1]
    else:
        flops = max(size, math.prod(first)) * (first[-1] if first else 1)
    return Figures(1, flops, read, size * call.target.dtype.itemsize)


def of_nested(call: NestedCall) -> Figures:
    """One step of every phase, or all branches: how often they run is another matter."""
    total = Figures()
    for body in call.bodies:
        for part in (s.figures for s in body.plan.steps if hasattr(s, "figures")):
            total.statements += part.statements
            total.flops += part.flops
            total.read += part.read
            total.written += part.written
    return total


def of_block(block: ScalarBlock) -> Figures:
    count = statements_of(block.outputs)
    return Figures(count, count, 8 * len(block.leaves), 8 * len(block.outputs))
