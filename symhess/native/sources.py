"""Generator expressions, which Numba does not compile, as list comprehensions, which it does.

The function is found in its source file and compiled anew with that one change. It is used only where compiling the
source without the change gives the very code that the function has.
"""

from __future__ import annotations

import ast
import linecache
import types
from collections.abc import Iterator

Definition = ast.FunctionDef | ast.Lambda


class _Lists(ast.NodeTransformer):
    """[... for ...] in place of (... for ...)."""

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.ListComp:
        """The same comprehension."""
        self.generic_visit(node)
        return ast.copy_location(ast.ListComp(node.elt, node.generators), node)


def without_generators(fn: types.FunctionType) -> types.CodeType:
    """The code of a function with lists in place of generators; its own code where it has none, or no known source."""
    code = fn.__code__
    if not any(c.co_name == "<genexpr>" for c in _inner(code)):
        return code
    for definition in _definitions(code):
        if _same(_compiled(definition, code), code):
            changed = _compiled(ast.fix_missing_locations(_Lists().visit(definition)), code)
            if changed is not None and changed.co_freevars == code.co_freevars:
                return changed
    return code


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    """All code objects inside of one."""
    for c in code.co_consts:
        if isinstance(c, types.CodeType):
            yield c
            yield from _inner(c)


def _definitions(code: types.CodeType) -> Iterator[Definition]:
    """Definitions in the source file that begin where the code does."""
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            if min([node.lineno, *(d.lineno for d in node.decorator_list)]) == code.co_firstlineno:
                node.decorator_list = []
                yield node
        elif isinstance(node, ast.Lambda) and code.co_name == "<lambda>" and node.lineno == code.co_firstlineno:
            yield node


def _compiled(definition: Definition, code: types.CodeType) -> types.CodeType | None:
    """The code of a definition whose free variables are those of `code`."""
    names = [ast.arg(n) for n in code.co_freevars]
    arguments = ast.arguments(posonlyargs=[], args=names, kwonlyargs=[], kw_defaults=[], defaults=[])
    inside = definition if isinstance(definition, ast.FunctionDef) else ast.Expr(definition)
    around = ast.FunctionDef("around", arguments, [inside], [], type_params=[])
    module = ast.fix_missing_locations(ast.Module([around], []))
    outer = next(_inner(compile(module, code.co_filename, "exec", dont_inherit=True)))
    return next((c for c in outer.co_consts if isinstance(c, types.CodeType) and c.co_name == code.co_name), None)


def _same(a: types.CodeType | None, b: types.CodeType) -> bool:
    """True for code that does the same, inner functions included."""
    if a is None or (a.co_code, a.co_names, a.co_varnames, a.co_freevars) != (
            b.co_code, b.co_names, b.co_varnames, b.co_freevars) or len(a.co_consts) != len(b.co_consts):
        return False
    pairs = zip(a.co_consts, b.co_consts)
    return all(_same(x, y) if isinstance(x, types.CodeType) and isinstance(y, types.CodeType) else x == y
               for x, y in pairs)
