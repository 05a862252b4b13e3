"""What Numba's compiler is told differently about user code: one pass over its intermediate form, before types.

Python's integers are unbounded, Numba's wrap around: operators on integers become calls that notice an overflow. Arrays
may be unpacked (`a, b = x`). A list of constants may be there to be written into. A variable that has no value yet,
where a loop that assigns it runs zero times, raises.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from numba.core import ir
from numba.core.analysis import compute_cfg_from_blocks
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.errors import UnsupportedError
from numba.core.ir_utils import build_definitions, get_definition, guard
from numba.core.untyped_passes import InlineClosureLikes, WithLifting

from symhess.native.arrays import lifted_constant
from symhess.native.integers import CHECKED, has_value, unpacker
from symhess.native.layout import Layout


@functools.cache
def compiler(layout: Layout | None) -> type[CompilerBase]:
    """Numba's compiler with the pass of this module; given a layout, lists of constant floats hold its numbers."""
    @register_pass(mutates_CFG=False, analysis_only=False)
    class PythonMeanings(FunctionPass):
        """Replaces operators and unpacking by calls, and adds checks."""

        _name = "symhess_python_meanings"

        def __init__(self) -> None:
            FunctionPass.__init__(self)

        def run_pass(self, state: Any) -> bool:
            """Change the function's blocks in place; True because that changes it."""
            _rewrite(state, layout)
            return True

    @register_pass(mutates_CFG=False, analysis_only=True)
    class InnerCalls(FunctionPass):
        """Refuses what the inlining of inner functions would get wrong."""

        _name = "symhess_inner_calls"

        def __init__(self) -> None:
            FunctionPass.__init__(self)

        def run_pass(self, state: Any) -> bool:
            """Nothing is changed."""
            _check_inner_calls(state.func_ir)
            return False

    class NativeCompiler(CompilerBase):
        """The nopython pipeline, with closures inlined before the pass."""

        def define_pipelines(self) -> list[Any]:
            """One pipeline."""
            passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
            passes.add_pass_after(InnerCalls, WithLifting)
            passes.add_pass_after(PythonMeanings, InlineClosureLikes)
            passes.finalize()
            return [passes]

    return NativeCompiler


def _check_inner_calls(function: ir.FunctionIR) -> None:
    """Numba inlines inner functions by position and drops keywords."""
    for block in function.blocks.values():
        for call in block.find_exprs("call"):
            made = guard(get_definition, function, call.func) if call.kws else None
            if isinstance(made, ir.Expr) and made.op == "make_function":
                raise UnsupportedError("a call of an inner function by keyword, pass its arguments by position",
                                       loc=call.loc)


def _rewrite(state: Any, layout: Layout | None) -> None:
    blocks = state.func_ir.blocks
    _check_values(blocks)
    constants = _constant_floats(blocks) if layout else set()
    for block in blocks.values():
        block.body = list(_rewritten(block, constants, lifted_constant(layout) if layout else None))
    state.typingctx.refresh()  # functions may have been made just now
    state.targetctx.refresh()
    state.func_ir._definitions = build_definitions(blocks)


# -- calls in place of expressions ---------------------------------------------------------------------------------


def _constant_floats(blocks: dict[int, ir.Block]) -> set[str]:
    """Temporaries that hold a float, or a tuple of floats, and go into a list."""
    assigned = [s for block in blocks.values() for s in block.body if isinstance(s, ir.Assign)]
    lists = {s.target.name for s in assigned if isinstance(s.value, ir.Expr) and s.value.op == "build_list"}
    extends = {s.target.name for s in assigned if isinstance(s.value, ir.Expr) and s.value.op == "getattr"
               and s.value.attr in ("extend", "append") and s.value.value.name in lists}
    used = {v.name for s in assigned if isinstance(s.value, ir.Expr) for v in (
        s.value.items if s.value.op == "build_list" else
        s.value.args if s.value.op == "call" and s.value.func.name in extends else ())}
    floats = lambda v: type(v) is float or (type(v) is tuple and v and all(type(e) is float for e in v))
    return {s.target.name for s in assigned if isinstance(s.value, ir.Const) and floats(s.value.value)} & used


def _rewritten(block: ir.Block, constants: set[str], lift: Any) -> Iterator[ir.Stmt]:
    for statement in block.body:
        if isinstance(statement, ir.Assign) and statement.target.name in constants:
            plain = block.scope.redefine("$symhess_constant", statement.loc)
            yield ir.Assign(statement.value, plain, statement.loc)
            yield from _called(block, lift, (plain,), statement.target, statement.loc)
            continue
        if isinstance(statement, ir.Assign) and isinstance(statement.value, ir.Expr):
            _by_position(statement.value)
            found = _replacement(statement.value)
            if found is not None:
                yield from _called(block, *found, statement.target, statement.loc)
                continue
        yield statement


def _by_position(e: ir.Expr) -> None:
    """enumerate(x, start=1) as enumerate(x, 1): the only function that Numba takes so and that has a name for it."""
    if e.op == "call" and len(e.args) == 1 and [name for name, _ in e.kws] == ["start"]:
        e.args, e.kws = [*e.args, e.kws[0][1]], ()


def _replacement(e: ir.Expr) -> tuple[Any, tuple] | None:
    """The function that is called instead of an expression, and its arguments."""
    if e.op in ("binop", "inplace_binop") and e.fn in CHECKED:
        return CHECKED[e.fn], (e.lhs, e.rhs)
    if e.op == "exhaust_iter":
        return unpacker(e.count), (e.value,)
    return None


def _called(block: ir.Block, function: Any, args: tuple, target: ir.Var, loc: ir.Loc) -> list[ir.Stmt]:
    """target = function(*args)."""
    name = block.scope.redefine(f"$symhess_{function.__name__}", loc)
    return [ir.Assign(ir.Global(function.__name__, function, loc), name, loc),
            ir.Assign(ir.Expr.call(name, args, (), loc), target, loc)]


# -- variables without a value -------------------------------------------------------------------------------------


def _check_values(blocks: dict[int, ir.Block]) -> None:
    """A flag for each variable that may be read before it is assigned, and a check of it at such reads."""
    surely = _assigned_at_start(blocks)
    doubtful = {name for label, block in blocks.items() for _, names in _reads(block, surely[label]) for name in names}
    if not doubtful:
        return
    first = blocks[min(blocks)]
    flags = {name: first.scope.redefine(f"$symhess_has_{name}", first.loc) for name in doubtful}
    for label, block in blocks.items():
        body: list[ir.Stmt] = []
        for statement, names in list(_reads(block, surely[label])):
            for name in sorted(names):
                ignored = block.scope.redefine("$symhess_checked", statement.loc)
                body += _called(block, has_value(name), (flags[name],), ignored, statement.loc)
            body.append(statement)
            if isinstance(statement, ir.Assign) and statement.target.name in flags:
                body.append(_set(flags[statement.target.name], True, statement.loc))
        block.body = body
    first.body[:0] = [_set(flag, False, first.loc) for flag in flags.values()]


def _set(flag: ir.Var, value: bool, loc: ir.Loc) -> ir.Assign:
    return ir.Assign(ir.Const(value, loc), flag, loc)


def _assigned_at_start(blocks: dict[int, ir.Block]) -> dict[int, set[str]]:
    """The variables that have a value whenever a block is entered: the largest solution of the flow equations."""
    graph = compute_cfg_from_blocks(blocks)
    made = {label: {s.target.name for s in block.body if isinstance(s, ir.Assign)} for label, block in blocks.items()}
    everything, entry = set().union(*made.values()), graph.entry_point()
    start = {label: set() if label == entry else set(everything) for label in blocks}
    changed = True
    while changed:
        changed = False
        for label in blocks:
            before = [start[p] | made[p] for p, _ in graph.predecessors(label)]
            found = set.intersection(*before) if before and label != entry else start[label]
            changed |= found != start[label]
            start[label] = found
    return start


def _reads(block: ir.Block, assigned: set[str]) -> Iterator[tuple[ir.Stmt, set[str]]]:
    """Every statement with the user's variables that it reads and that may have no value there."""
    known = set(assigned)
    for statement in block.body:
        read = statement.value if isinstance(statement, ir.Assign) else statement
        variables = [read] if isinstance(read, ir.Var) else read.list_vars() if hasattr(read, "list_vars") else []
        yield statement, {v.name for v in variables if v.name not in known and not v.name.startswith("$")}
        if isinstance(statement, ir.Assign):
            known.add(statement.target.name)
