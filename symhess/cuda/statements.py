"""Statements of kernels as lines of Python: `where(array, position)` says which element of which array is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from symhess.backends import codegen
from symhess.backends.codegen import INDENT, TYPE_NAMES
from symhess.plan.affine import Linear
from symhess.plan.grid import Combine, Grid, Shared
from symhess.plan.loops import Block, Load, Store

Where = Callable[[str, Linear], tuple[str, str]]


def line(s: object, where: Where) -> str:
    """One line of a kernel."""
    if isinstance(s, Load):
        array, at = where(s.array, s.position)
        return f"{s.name} = I64({array}[{at}])" if s.integer else f"{s.name} = {array}[{at}]"
    if isinstance(s, Combine):
        return f"{s.name} = block_{s.function}_{TYPE_NAMES[s.dtype.name]}({s.name})"
    if isinstance(s, Store):
        array, at = where(s.array, s.position)
        place = f"{array}[{at}]"
        return {"=": f"{place} = {s.operand}", "+=": f"{place} += {s.operand}",
                "max": f"{place} = maximum({place}, {s.operand})",
                "min": f"{place} = minimum({place}, {s.operand})",
                "atomic": f"cuda.atomic.add({array}, {at}, {s.operand})"}[s.how]
    return codegen.statement(s)


def loop_head(loop: Block) -> str:
    """The first line of a loop."""
    stop = str(loop.size) if loop.limit is None else f"min({loop.size}, {loop.limit})"
    if isinstance(loop, Grid):
        first, step = ("cuda.blockIdx.x", "cuda.gridDim.x") if loop.blocks else ("cuda.grid(1)", "cuda.gridsize(1)")
        return f"for {loop.variable} in range({first}, {stop}, {step}):"
    if isinstance(loop, Shared):
        return f"for {loop.variable} in range(cuda.threadIdx.x, {stop}, cuda.blockDim.x):"
    return f"for {loop.variable} in range({stop}):"


def loops(items: Iterable, where: Where, guarded: bool = False) -> Iterator[str]:
    """Statements and loops, indented by depth; what a block of threads stores, one of them stores."""
    for item in items:
        if isinstance(item, Block):
            yield loop_head(item)
            inner = loops(item.body, where, isinstance(item, Grid) and item.blocks)
            yield from indented(inner if item.body else ["pass"])
        elif guarded and isinstance(item, Store):
            yield "if cuda.threadIdx.x == 0:"
            yield INDENT + line(item, where)
        else:
            yield line(item, where)


def indented(lines: Iterable[str], by: int = 1) -> Iterator[str]:
    """Lines further to the right."""
    return (INDENT * by + text for text in lines)
