"""Generator expressions, which Numba does not compile, as list comprehensions, which it does.

The module of the function is compiled anew with that one change. The result is used only where compiling it without the
change gives the very code that the function has.
"""

from __future__ import annotations

import ast
import linecache
import types
from collections.abc import Iterator


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
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
        before = _functions(tree, code)
        after = _functions(ast.fix_missing_locations(_Lists().visit(tree)), code)
    except (SyntaxError, ValueError):
        return code
    same = [new for old, new in zip(before, after) if _same(old, code) and new.co_freevars == code.co_freevars]
    return same[0] if same and len(before) == len(after) else code


def _functions(tree: ast.Module, code: types.CodeType) -> list[types.CodeType]:
    """The functions of a module, comprehensions left out, that begin where `code` does, in order."""
    module = compile(tree, code.co_filename, "exec", dont_inherit=True)
    return [c for c in _inner(module) if c.co_name == code.co_name and c.co_firstlineno == code.co_firstlineno]


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    """All code objects inside of one."""
    for c in code.co_consts:
        if isinstance(c, types.CodeType):
            yield c
            yield from _inner(c)


def _same(a: types.CodeType | None, b: types.CodeType) -> bool:
    """True for code that does the same, inner functions included."""
    if a is None or (a.co_code, a.co_names, a.co_varnames, a.co_freevars) != (
            b.co_code, b.co_names, b.co_varnames, b.co_freevars) or len(a.co_consts) != len(b.co_consts):
        return False
    pairs = zip(a.co_consts, b.co_consts)
    return all(_same(x, y) if isinstance(x, types.CodeType) and isinstance(y, types.CodeType) else x == y
               for x, y in pairs)
