"""Grid loops whose threads store rows together: each puts its row into memory that the block shares, and all threads
move the rows from there, each one element after the other, so that neighbouring threads store to neighbouring places.

All threads of a block go through the loop together, for they wait for each other. Those beyond the last iteration
compute that one again, and store nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from symhess.backends.codegen import INDENT, TYPE_NAMES
from symhess.plan.affine import Linear
from symhess.plan.coalescing import Row
from symhess.plan.grid import Grid, Kernel
from symhess.plan.loops import Block


def pitch(row: Row) -> int:
    """Elements from one row to the next in shared memory: an odd number keeps threads out of each other's way."""
    return len(row.sources) | 1


def rows_in(block: Block) -> list[Row]:
    """The rows that a loop stores."""
    return [s for s in block.body if isinstance(s, Row)]


def declared(kernel: Kernel) -> Iterator[str]:
    """The shared memory of a kernel: rows of each type of element, and where they begin; BLOCK_n stands for n elements
    for each thread of a block."""
    found = [(row, b) for b in kernel.body if isinstance(b, Grid) for row in rows_in(b)]
    longest: dict[str, int] = {}
    for row, _ in found:
        kind = TYPE_NAMES[row.dtype.name]
        longest[kind] = max(longest.get(kind, 0), pitch(row))
    for kind, elements in longest.items():
        yield f"rows{kind} = cuda.shared.array(BLOCK_{elements}, {kind})"
    if any(along(row, grid) is None for row, grid in found):
        yield "places = cuda.shared.array(BLOCK_1, I64)"
    if found:
        yield "thread = I64(cuda.threadIdx.x)"


def ends(grid: Grid) -> list[str]:
    """The lines before the body of a loop of a block and the first one of it, and the last one."""
    return ["first = I64(cuda.blockIdx.x) * BLOCK_1",
            f"while first < {grid.size}:",
            f"{INDENT}{grid.variable} = min(first + thread, {grid.size - 1})",
            "first += cuda.gridDim.x * BLOCK_1"]


def own(grid: Grid) -> str:
    """True for the threads that have an iteration of their own."""
    return f"first + thread < {grid.size}"


def along(row: Row, grid: Grid) -> Linear | None:
    """Where a row begins, if rows of neighbouring threads follow each other, each as long as the step between them."""
    return row.position if row.position.terms == ((grid.variable, len(row.sources)),) else None


def stored(row: Row, grid: Grid) -> Iterator[str]:
    """The statements that store the rows of a block."""
    n, step, kind = len(row.sources), pitch(row), TYPE_NAMES[row.dtype.name]
    rows = f"rows{kind}"
    for k, source in enumerate(row.sources):
        yield f"{rows}[U(thread * {step} + {k})] = {source}"
    whole = along(row, grid)
    if whole is None:
        yield f"places[U(thread)] = {row.position} - {n} * thread"
    yield "cuda.syncthreads()"
    yield f"for k in range({n}):"
    yield f"{INDENT}at = k * BLOCK_1 + thread"
    yield f"{INDENT}if at < {n} * ({grid.size} - first):"
    inner = INDENT * 2
    if whole is None or step != n:
        yield f"{inner}row = I64(U32(at) // U32({n}))"
    element = f"{rows}[U(at{' + row' if step != n else ''})]"
    place = "places[U(row)] + at" if whole is None else f"{n} * first + {whole.offset} + at"
    yield f"{inner}{row.array}[U({place})] = {element}"
    yield "cuda.syncthreads()"
