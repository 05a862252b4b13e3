"""Elements that belong to an iteration of a grid: a team of threads does not wait for what each has for itself.

An access array[c p + r] with 0 <= r < c, in a loop over p, belongs to p. In all loops iteration p is run by the same
thread. So where all accesses to an array belong to iterations, with one c, no thread reads what another one writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from symhess.plan.affine import Linear
from symhess.plan.grid import Grid, Kernel
from symhess.plan.loops import Assign, Block, Load, Store
from symhess.plan.storage import statements

#: how many elements each iteration has; FIRST: all are those of the first one; None: they are nobody's
Owner = int | None
FIRST = 0


class Access(NamedTuple):
    """An array that is read or written, and whose elements these are."""

    array: str
    writes: bool
    owner: Owner = None


def accesses(kernel: Kernel) -> Iterator[Access]:
    """What a kernel reads and writes."""
    grid = kernel.grid
    found = [*statements(kernel)]
    parts = {s.name: s.part for s in found if isinstance(s, Assign) and s.part is not None}
    sizes = {b.variable: b.size for b in blocks(grid)}
    inside = set(map(id, statements(grid)))
    for s in found:
        if isinstance(s, Load | Store):
            shared = grid.blocks or id(s) not in inside
            whose = None if shared else owner(s.position, grid, parts, sizes)
            if isinstance(s, Load) or s.how != "=":
                yield Access(s.array, False, whose)
            if isinstance(s, Store):
                yield Access(s.array, True, whose if s.how != "atomic" else None)


def blocks(block: Block) -> Iterator[Block]:
    """The loops inside of a block."""
    for b in block.body:
        if isinstance(b, Block):
            yield b
            yield from blocks(b)


def owner(position: Linear, grid: Grid, parts: dict[str, tuple[str, int, Linear]], sizes: dict[str, int]) -> Owner:
    """Whose element a position is."""
    if grid.size == 1:
        return FIRST
    factors = dict(position.terms)
    for q, (kind, divisor, of) in reversed(parts.items()):  # what was divided last is put together first
        r = next((r for r, part in parts.items() if part == ("%", divisor, of)), None)
        if kind == "//" and q in factors and r in factors and factors[q] == divisor * factors[r]:
            factor = factors.pop(r)
            del factors[q]
            for v, k in of.terms:
                factors[v] = factors.get(v, 0) + k * factor
            position = Linear(position.offset + factor * of.offset)
    each = factors.pop(grid.variable, 0)
    low = high = position.offset
    for v, k in factors.items():
        if v not in sizes:
            return None
        low, high = low + min(0, k * (sizes[v] - 1)), high + max(0, k * (sizes[v] - 1))
    return each if low >= 0 and high < each else None
