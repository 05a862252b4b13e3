"""explain(): what was found and what was chosen, for a person; and the formulas of small functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symhess.api.calls import calls_of
from symhess.api.function import MAX_PATHS
from symhess.api.pipeline import COMPILE_GUARDS_AFTER, Path
from symhess.graph.node import Node
from symhess.primitives.sympy_export import graph_to_sympy

#: sides of the text picture, and how many Terms and plan steps are listed
PICTURE, LISTED = 32, 12


def explain(name: str, path: Path, run: Any, paths: Sequence[Path]) -> str:
    """The report behind `f.explain(x)`; `paths` are all that are kept for these shapes and dtypes."""
    parts = [_head(name, path), _structure(path), _picture(path), _terms(path), _listed(path), _choice(path),
             _chains(path), _plan(run), _launches(run), _calls(run), _remarks(path), _guards(path),
             _others(path, paths), _times(path, run)]
    return "\n".join(p for p in parts if p)


def _head(name: str, path: Path) -> str:
    inputs = ", ".join(f"{x.name} {x.dtype}{list(x.shape)}" for x in path.signature.active)
    return f"Hessian of {name}: {path.size:,} variables ({inputs}), {path.dtype}"


def _structure(path: Path) -> str:
    pattern, n = path.sparsity, path.size
    share = pattern.nnz / max(n * n, 1)
    lines = [f"structure: {describe(pattern)}; {pattern.nnz:,} of {n * n:,} entries can be non-zero ({share:.2%})"]
    leaves = path.signature.active
    if len(leaves) > 1:
        ends = np.cumsum([0] + [int(np.prod(x.shape)) for x in leaves])
        for i, a in enumerate(leaves):
            for j, b in enumerate(leaves[:i + 1]):
                block = pattern[ends[i]:ends[i + 1], ends[j]:ends[j + 1]]
                lines.append(f"  block {a.name} x {b.name} {list(block.shape)}: {describe(block)}")
    return "\n".join(lines)


def describe(pattern: Any) -> str:
    """The structure of a sparsity pattern in words."""
    rows, cols = pattern.tocoo().coords
    m, n = pattern.shape
    if not len(rows):
        return "zero"
    if len(rows) == m * n:
        return "dense"
    gap = np.unique(rows.astype(np.int64) - cols)
    width = int(np.abs(gap).max())
    if width == 0:
        return "diagonal" if len(rows) == n else f"diagonal with {len(rows)} of {n} entries"
    if gap.tolist() == [-1, 0, 1]:
        return "tridiagonal"
    blocks, in_order = _independent_blocks(pattern)
    if blocks > 1 and in_order:
        return f"block diagonal, {blocks:,} blocks"
    if len(gap) <= 64 and 2 * width < max(m, n) and len(gap) * max(m, n) <= 4 * len(rows):
        return f"banded, {len(gap)} diagonals within {width}"
    if blocks > 1:
        return f"{blocks:,} independent blocks, interleaved"
    full = int((np.diff(pattern.indptr) == n).sum())
    if m == n and 0 < full <= m // 4 and len(rows) <= m + 2 * full * n:
        return f"arrowhead, {full} full rows"
    if 2 * len(rows) > m * n:
        return f"dense but for {m * n - len(rows):,} entries"
    return f"sparse, at most {int(np.diff(pattern.indptr).max())} entries a row"


def _independent_blocks(pattern: Any) -> tuple[int, bool]:
    """How many groups of variables do not meet, and whether each group is a run of neighbours."""
    if pattern.shape[0] != pattern.shape[1]:
        return 1, True
    from scipy.sparse.csgraph import connected_components

    count, label = connected_components(pattern, directed=False)
    return int(count), bool(np.all(np.diff(label) >= 0))


def _picture(path: Path) -> str:
    """A small text picture of the pattern; each character covers a square of entries."""
    n = path.size
    if n == 0:
        return ""
    side = min(n, PICTURE)
    rows, cols = path.sparsity.tocoo().coords
    grid = np.zeros((side, side), dtype=np.int64)
    np.add.at(grid, (rows.astype(np.int64) * side // n, cols.astype(np.int64) * side // n), 1)
    cell = (n / side) ** 2
    mark = lambda count: "." if not count else "#" if count >= 0.75 * cell else "+" if count >= 0.2 * cell else ":"
    return "\n".join("  " + "".join(mark(c) for c in row) for row in grid)


def _terms(path: Path) -> str:
    terms = path.lower
    lines = [f"Terms: {len(terms)} on or below the diagonal, of {len(path.terms)}"]
    lines += [f"  {t.term}"[:200] for t in terms[:LISTED]]
    return "\n".join(lines + ([f"  ... and {len(terms) - LISTED} more"] if len(terms) > LISTED else []))


def _choice(path: Path) -> str:
    return f"chosen: {path.choice.reason}"


def _chains(path: Path) -> str:
    """What became of the recurrences in the user's loops."""
    return "\n".join(f"chain: {t}" for t in path.rolled.told)


def _listed(path: Path) -> str:
    """The tangents whose Terms became one, those of most Terms first."""
    found = sorted(path.account.listed, key=lambda l: -l.terms)
    if not found or path.unstructured:
        return ""
    most = found[0]
    what = "all there can be" if most.dense else "no more than the Terms had"
    return (f"listed: {len(found)} tangents of many small Terms continue as one Term each; one had {most.terms} for "
            f"{most.entries:,} entries, {what}{f' ({most.source})' if most.source else ''}")


def _plan(run: Any) -> str:
    if run.plan is None:
        return "plan: interpreted with NumPy, node by node (autograd mode)"
    lines = str(run.plan).splitlines()
    more = [f"  ... and {len(lines) - 4 * LISTED} more steps"] if len(lines) > 4 * LISTED else []
    return "\n".join(["plan:", *("  " + line for line in lines[:4 * LISTED]), *more])


def _launches(run: Any) -> str:
    """What a call enqueues on a device."""
    device = getattr(getattr(run, "inner", run), "device", None) or getattr(run, "device", None)
    return "" if device is None else device.report


def _calls(run: Any) -> str:
    found = calls_of(run)
    if not found:
        return ""
    when = "while the graph is interpreted" if run.plan is None else (
        "before the kernel, which takes their values as inputs and so stays free of Python")
    lines = [f"Python code: {len(found)} calls, {when}"]
    for n in found[:LISTED]:
        lines.append(f"  {n.op.name} -> {n.dtype}{list(n.shape)}{f' ({n.source})' if n.source else ''}")
    return "\n".join(lines)


def _remarks(path: Path) -> str:
    refused = [f"paths do not settle, but native mode is not possible: {path.native_refusal}"] if (
        path.native_refusal) else []
    return "\n".join(f"note: {r}" for r in [*path.traced.remarks, *refused])


def _guards(path: Path) -> str:
    if not path.guards:
        return ""
    operations, flops = path.guard_cost
    lines = path.branches()
    more = [f"  ... and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    how = "compiled" if path.guards_compiled else f"interpreted for the first {COMPILE_GUARDS_AFTER} times"
    return "\n".join([
        f"guards: this path holds where these {len(path.guards)} outcomes repeat (taken {path.runs + 1} times)",
        *(f"  {line}" for line in lines[:LISTED]), *more,
        f"  checked before every call: {operations} operations, about {flops:,.0f} flop, {how}"])


def _others(path: Path, paths: Sequence[Path]) -> str:
    """The other paths, and where each leaves this one."""
    if not path.guards:
        return ""
    mine = path.branches()
    lines = [f"paths: {len(paths)} kept, at most {MAX_PATHS}, checked in this order"]
    for k, other in enumerate(paths[:LISTED], start=1):
        theirs = other.branches()
        leaves = next((b for a, b in zip(mine, theirs) if a != b), "after the same beginning")
        which = "this one" if other is path else f"leaves it: {leaves}"
        lines.append(f"  {k}: taken {other.runs + 1} times, {which}")
    return "\n".join(lines + ([f"  ... and {len(paths) - LISTED} more"] if len(paths) > LISTED else []))


def _times(path: Path, run: Any) -> str:
    parts = [f"{k} {v:.3f} s" for k, v in path.seconds.items()]
    numba = getattr(getattr(run, "kernel", None), "numba", "")
    by = f", compiled by Numba ({numba})" if numba else ""
    told = "times: " + ", ".join([*parts, f"kernel {run.compile_seconds:.3f} s{by}"])
    if getattr(run, "code", None) is None:
        return told
    from symhess.api.answers import obstacle  # which needs what compiles kernels

    return "\n".join(filter(None, [told, obstacle()]))


@dataclass(frozen=True)
class Formulas:
    """SymPy expressions of a function's value, gradient and Hessian, and the symbols they are in."""

    symbols: Any
    value: Any
    gradient: Any
    hessian: Any

    def _repr_latex_(self) -> str:
        import sympy

        return f"$${sympy.latex(self.hessian)}$$"


def formulas(path: Path) -> Formulas:
    """The formulas behind `f.sympy(x)`; for functions of few variables."""
    import sympy

    path = path.unrolled()
    names = {x: leaf.name for x, leaf in zip(path.active, path.signature.active)}
    names.update({x: x.attrs.name for x in path.inputs if x not in names})
    hess = path.dense_nodes()
    found = graph_to_sympy([path.output, *path.gradient, *hess, *path.active], names)
    found = _renamed(found, path, names)
    k = len(path.gradient)
    value, grads, rows, symbols = found[0], found[1:1 + k], found[1 + k:1 + 2 * k], found[1 + 2 * k:]
    flat = lambda parts: [e for p in parts for e in _elements(p)]
    n = path.size
    matrix = sympy.Matrix(n, n, flat(rows))
    return Formulas(sympy.Matrix(flat(symbols)), value, sympy.Matrix(flat(grads)), matrix)


def _renamed(found: list[Any], path: Path, names: dict[Node, str]) -> list[Any]:
    """The user's own symbols, where the function was made from an expression."""
    if path.symbols is None:
        return found
    inputs = graph_to_sympy(path.inputs, names)
    return [e.xreplace(dict(zip([s for x in inputs for s in _elements(x)], path.symbols))) for e in found]


def _elements(value: Any) -> list[Any]:
    if hasattr(value, "shape") and value.shape != ():
        return list(np.array(value.tolist(), dtype=object).ravel())
    return [value]
