"""Statements of kernels as lines of Python: `where(array, position)` says which element of which array is meant.

Positions are made unsigned: Numba asks of every other one whether it counts from the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from symhess.backends import codegen
from symhess.backends.codegen import INDENT, TYPE_NAMES
from symhess.cuda import rows
from symhess.plan.affine import Linear
from symhess.plan.coalescing import Row
from symhess.plan.grid import Combine, Grid, Shared
from symhess.plan.loops import Block, Load, Store

Where = Callable[[str, Linear], tuple[str, str]]


def line(s: object, where: Where) -> str:
    """One line of a kernel."""
    if isinstance(s, Load):
        array, at = where(s.array, s.position)
        return f"{s.name} = I64({array}[U({at})])" if s.integer else f"{s.name} = {array}[U({at})]"
    if isinstance(s, Combine):
        return f"{s.name} = block_{s.function}_{TYPE_NAMES[s.dtype.name]}({s.name})"
    if isinstance(s, Store):
        array, at = where(s.array, s.position)
        place = f"{array}[U({at})]"
        return {"=": f"{place} = {s.operand}", "+=": f"{place} += {s.operand}",
                "max": f"{place} = maximum({place}, {s.operand})",
                "min": f"{place} = minimum({place}, {s.operand})",
                "atomic": f"cuda.atomic.add({array}, U({at}), {s.operand})"}[s.how]
    return codegen.statement(s)


#: where a thread begins in a loop that threads or blocks share, and how far its iterations are apart
_STRIDES = {"threads": ("cuda.grid(1)", "cuda.gridsize(1)"), "blocks": ("cuda.blockIdx.x", "cuda.gridDim.x"),
            "shared": ("cuda.threadIdx.x", "cuda.blockDim.x")}


def strided(variable: str, stop: str, who: str) -> tuple[str, str, str]:
    """The first two lines of a shared loop, and the last one of its body.

    Numba counts the iterations of a `range` before it begins, which for a stride that is not known is a division.
    """
    first, step = _STRIDES[who]
    return f"{variable} = {first}", f"while {variable} < {stop}:", f"{variable} += {step}"


def ends(loop: Block) -> Sequence[str]:
    """The lines before the body of a loop, and the last one of its body."""
    stop = str(loop.size) if loop.limit is None else f"min({loop.size}, {loop.limit})"
    if rows.rows_in(loop):
        return rows.ends(loop)
    if isinstance(loop, Grid):
        return strided(loop.variable, stop, "blocks" if loop.blocks else "threads")
    if isinstance(loop, Shared):
        return strided(loop.variable, stop, "shared")
    return f"for {loop.variable} in range({stop}):", "" if loop.body else "pass"


def loops(items: Iterable, where: Where, around: Block | None = None) -> Iterator[str]:
    """Statements and loops, indented by depth."""
    for item in items:
        if isinstance(item, Block):
            *head, last = ends(item)
            yield from head
            yield from indented([*loops(item.body, where, item), *([last] if last else [])])
        elif isinstance(item, Row):
            yield from rows.stored(item, around)
        else:
            who = guard(item, around) if isinstance(item, Store) and isinstance(around, Grid) else ""
            yield from [f"if {who}:"] if who else []
            yield (INDENT if who else "") + line(item, where)


def guard(s: Store, grid: Grid) -> str:
    """The threads of a loop that store: all of them (""), one of a block, or those that have an iteration."""
    if grid.blocks:
        return "cuda.threadIdx.x == 0"
    return rows.own(grid) if rows.rows_in(grid) else ""


def indented(lines: Iterable[str], by: int = 1) -> Iterator[str]:
    """Lines further to the right."""
    return (INDENT * by + text for text in lines)
