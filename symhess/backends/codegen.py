"""Prints a plan as the source of one Numba function."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from symhess.plan.affine import Linear
from symhess.plan.loops import Assign, Block, Load, Store, Target
from symhess.plan.steps import Fill, LibraryCall, Mirror, Plan, ScalarBlock

#: the name of each element type in generated source
TYPE_NAMES = {"float64": "F64", "float32": "F32", "int64": "I64", "int32": "I32", "bool": "B1"}
INDENT = "    "
#: temporaries begin at multiples of this many bytes
ALIGNMENT = 64


def source(plan: Plan, name: str, symbols: dict[str, str]) -> str:
    """The text of the kernel; `symbols` gives the linker's name of each constant array."""
    ends = (*plan.inputs, *plan.outputs)
    temporaries = [*plan.temporaries, *(Target(f"w_{s.target.name}", (s.workspace,), np.dtype(float))
                                        for s in plan.steps if isinstance(s, ScalarBlock))]
    classes = len(ends) + len(plan.constants) + len(temporaries)
    lines = [f"def {name}({', '.join(f'{t.name}_nd' for t in ends)}):"]
    lines += [f"    {t.name} = memory({t.name}_nd, {k}, {classes})" for k, t in enumerate(ends)]
    for k, (constant, array) in enumerate(plan.constants.items(), len(ends)):
        kind = TYPE_NAMES[array.dtype.name]
        lines.append(f"    {constant} = linked({symbols[constant]!r}, {kind}, {k}, {classes})")
    offset, parts = 0, []
    for k, t in enumerate(temporaries, len(ends) + len(plan.constants)):
        parts.append(f"    {t.name} = part(work, {offset}, {TYPE_NAMES[t.dtype.name]}, {k}, {classes})")
        offset += -(-size(t) * t.dtype.itemsize // ALIGNMENT) * ALIGNMENT
    if parts:
        lines += [f"    work = np.empty({offset}, U1)", *parts]
    lines += block(plan.root)
    if parts:
        lines.append("    keep(work)")
    return "\n".join(lines) + "\n"


def size(t: Target) -> int:
    return int(np.prod(t.shape, dtype=np.int64))


def block(root: Block) -> list[str]:
    """The statements of a block and of the loops inside it, indented by depth."""
    lines: list[str] = []
    stack: list[Iterable] = [iter(root.body)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
            continue
        margin = INDENT * len(stack)
        if isinstance(item, Block):
            loop = "prange" if item.parallel else "range"
            lines.append(f"{margin}for {item.variable} in {loop}({item.size}):")
            if not item.body:
                lines.append(f"{margin}{INDENT}pass")
            stack.append(iter(item.body))
        else:
            lines.append(margin + statement(item))
    return lines


def place(array: str, position: Linear) -> str:
    return f"get({array}, {position})"


def statement(s: Assign | Load | Store | Fill | LibraryCall | Mirror) -> str:
    """One line of source."""
    if isinstance(s, Assign):
        value = s.spelling.format(*s.operands)
        return f"{s.name} = {value if s.dtype is None else f'{TYPE_NAMES[s.dtype.name]}({value})'}"
    if isinstance(s, Load):
        return f"{s.name} = {f'I64({place(s.array, s.position)})' if s.integer else place(s.array, s.position)}"
    if isinstance(s, Store):
        return store(s)
    if isinstance(s, Fill):
        value = {"inf": "inf", "-inf": "-inf"}.get(str(s.value), repr(s.value))
        return f"fill({s.target.name}, {size(s.target)}, {value})"
    if isinstance(s, Mirror):
        n = s.target.shape[-1]
        return f"mirror(view({s.target.name}, {(size(s.target) // max(n * n, 1), n, n)!r}))"
    if isinstance(s, ScalarBlock):
        sources = "".join(f"{name}, " for name in s.sources)
        return f"run_block({s.symbol!r}, ({sources}), {s.target.name}, w_{s.target.name})"
    arrays = [f"view({name}, {a.shape!r})" for name, a in zip(s.sources, s.arguments)]
    arrays.append(f"view({s.target.name}, {s.shape!r})")
    return f"{s.function}({', '.join([*arrays, *map(repr, s.parameters)])})"


def store(s: Store) -> str:
    old = place(s.array, s.position)
    value = {"=": s.operand, "+=": f"{old} + {s.operand}", "max": f"maximum({old}, {s.operand})",
             "min": f"minimum({old}, {s.operand})"}[s.how]
    return f"put({s.array}, {s.position}, {value})"
