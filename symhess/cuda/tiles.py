"""Kernels that move square tiles through the memory that the threads of a block share: products, mirrored triangles.

A block of TILE x TILE threads (TILE and PADDED = TILE + 1 are names in the kernel's module) works on one tile after the
other. A padded row keeps threads that read a column out of each other's way.
"""

from __future__ import annotations

from symhess.cuda.calls import products
from symhess.plan.steps import LibraryCall, Mirror

#: multiplications per matrix from which a product goes through tiles
WORTH_TILES = 512
#: rows from which a triangle is mirrored through tiles
WORTH_MIRRORING = 32


def product(call: LibraryCall, name: str, kind: str, tile: int) -> tuple[str, int, list[str]]:
    """The text of a kernel of a matrix product, its tiles, and its arrays.

    Of a symmetric product the tiles on and below the diagonal are computed, and each element is stored to both places.
    """
    (stack, m, n, k), turned_a, turned_b = products(call)
    symmetric = call.function != "gemm"
    a, out = call.sources[0], call.target.name
    b = a if symmetric else call.sources[1]
    arrays = list(dict.fromkeys([*call.sources, out]))
    rows, columns = -(-m // tile), -(-n // tile)
    weight = f" * {call.sources[1]}[s * {k} + k]" if call.function == "weighted_syrk" else ""
    # threads with neighbouring x read neighbouring places, whichever way an operand is stored
    left = ("i0 + x", "k0 + y", "y, x") if turned_a else ("i0 + y", "k0 + x", "x, y")
    right = ("j0 + y", "k0 + x", "x, y") if turned_b else ("j0 + x", "k0 + y", "y, x")
    at_a = f"s * {m * k} + " + (f"k * {m} + i" if turned_a else f"i * {k} + k")
    at_b = f"s * {n * k} + " + (f"j * {k} + k" if turned_b else f"k * {n} + j")
    lines = [
        f"def {name}({', '.join(arrays)}):",
        f"    left = cuda.shared.array((TILE, PADDED), {kind})",
        f"    right = cuda.shared.array((TILE, PADDED), {kind})",
        "    x = I64(cuda.threadIdx.x)",
        "    y = I64(cuda.threadIdx.y)",
        f"    for p in range(cuda.blockIdx.x, {stack * rows * columns}, cuda.gridDim.x):",
        f"        s = p // {rows * columns}",
        f"        i0 = p // {columns} % {rows} * TILE",
        f"        j0 = p % {columns} * TILE",
        *(["        if j0 > i0:", "            continue"] if symmetric else []),
        f"        total = {kind}(0)",
        f"        for step in range({-(-k // tile)}):",
        "            k0 = step * TILE",
        *_loaded("left", a, left, m, k, at_a, kind, "", "i"),
        *_loaded("right", b, right, n, k, at_b, kind, weight, "j"),
        "            cuda.syncthreads()",
        "            for k in range(TILE):",
        "                total += left[k, y] * right[k, x]",
        "            cuda.syncthreads()",
        "        i = i0 + y",
        "        j = j0 + x",
        *([f"        if i < {m} and j <= i:", f"            {out}[s * {m * n} + i * {n} + j] = total",
           f"            {out}[s * {m * n} + j * {n} + i] = total"] if symmetric else
          [f"        if i < {m} and j < {n}:", f"            {out}[s * {m * n} + i * {n} + j] = total"])]
    return "\n".join(lines) + "\n", stack * rows * columns, arrays


def _loaded(tile: str, array: str, ways: tuple[str, str, str], size: int, summed: int, at: str, kind: str,
            factor: str, axis: str) -> list[str]:
    """The statements in which every thread loads one element of an operand; zero outside of it."""
    outer, inner, place = ways
    return [f"            {axis} = {outer}", f"            k = {inner}", f"            v = {kind}(0)",
            f"            if {axis} < {size} and k < {summed}:", f"                v = {array}[{at}]{factor}",
            f"            {tile}[{place}] = v"]


def mirror(step: Mirror, size: int, name: str, kind: str, tile: int) -> tuple[str, int]:
    """The text of a kernel that mirrors one triangle of each of a stack of matrices, and its tiles."""
    n, c = step.target.shape[-1], step.target.name
    other, last = (">", "i0 + x") if step.triangle == "lower" else ("<", "j0 + y")
    across, stack = -(-n // tile), size // (n * n)
    text = f"""def {name}({c}):
    square = cuda.shared.array((TILE, PADDED), {kind})
    x = I64(cuda.threadIdx.x)
    y = I64(cuda.threadIdx.y)
    for p in range(cuda.blockIdx.x, {stack * across * across}, cuda.gridDim.x):
        first = p // {across * across} * {n * n}
        i0 = p // {across} % {across} * TILE
        j0 = p % {across} * TILE
        if j0 {other} i0:
            continue
        if i0 + y < {n} and j0 + x < {n}:
            square[y, x] = {c}[first + (i0 + y) * {n} + j0 + x]
        cuda.syncthreads()
        if i0 + x {other} j0 + y and {last} < {n}:
            {c}[first + (j0 + y) * {n} + i0 + x] = square[x, y]
        cuda.syncthreads()
"""
    return text, stack * across * across
