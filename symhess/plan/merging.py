"""Kernels that need nothing of each other, as the interior and the boundary of a grid, in one launch.

    kernel 1: for p < m: ...;   kernel 2: for p < n: ...      becomes      kernel 1: for p < m: ...; for p < n: ...

A launch takes as long as some hundred thousand numbers are stored in. The threads of the long loop do the short one,
too; in a grid of many blocks those that begin first do, while others still work on the long one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from symhess.plan.affine import variable
from symhess.plan.grid import Grid, Kernel
from symhess.plan.loops import Block, Load, Store, literal
from symhess.plan.steps import Fill, Plan
from symhess.plan.storage import statements

#: statements of a kernel beyond which others are not added to it
MOST = 400


class Clearing(Store):
    """A store that goes to every place of an array, so to those of others, too."""


def merge(plan: Plan) -> None:
    """Put kernels of a plan that follow each other together, and fills with them."""
    body: list = []
    for item in plan.root.body:
        before, after = (as_kernel(body[-1]) if body else None), as_kernel(item)
        if can_follow(after, before):
            body[-1] = Kernel(body=[*before.body, *after.body], parent=plan.root)
        else:
            body.append(item)
    plan.root.body = body


def as_kernel(item: object) -> object:
    """A fill as a kernel; others as they are."""
    if not isinstance(item, Fill):
        return item
    target, p = item.target, f"p_{item.target.name}"
    grid = Grid(p, math.prod(target.shape), 1)
    grid.body.append(Clearing(target.name, variable(p), literal(item.value, target.dtype)))
    return Kernel(body=[grid])


def grids(kernel: Kernel) -> list[Grid]:
    """The grid loops of a kernel."""
    return [b for b in kernel.body if isinstance(b, Grid)]


def can_follow(item: object, before: object) -> bool:
    """True where two kernels for threads can run at once: neither touches what the other stores, but for plain stores,
    which never go to one place twice."""
    if not (isinstance(item, Kernel) and isinstance(before, Kernel)):
        return False
    if any(g.blocks for g in (*grids(item), *grids(before))):
        return False
    if sum(1 for k in (item, before) for _ in statements(k)) > MOST:
        return False
    first, second = accesses(before), accesses(item)
    loads, plain, adding = zip(first, second)
    stores = [a | b for a, b in zip(plain, adding)]
    return (loads[0].isdisjoint(stores[1]) and loads[1].isdisjoint(stores[0])
            and adding[0].isdisjoint(stores[1]) and adding[1].isdisjoint(stores[0]))


def accesses(block: Block) -> Sequence[set[str]]:
    """The arrays that a block loads from, stores to, and adds to or clears."""
    loads, plain, adding = set(), set(), set()
    for s in statements(block):
        if isinstance(s, Load):
            loads.add(s.array)
        elif isinstance(s, Store):
            (plain if s.how == "=" and not isinstance(s, Clearing) else adding).add(s.array)
    return loads, plain, adding
