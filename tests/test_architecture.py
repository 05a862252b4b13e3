"""The house keeps its own rules: who imports whom, how long things are, that nothing stands twice."""

from __future__ import annotations

import ast
import io
import re
import statistics
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "symhess"
FILES = sorted(PACKAGE.rglob("*.py"))
#: on demand: an import inside a function, of something that stands higher in the table
ON_DEMAND = "(on demand)"
MODULE_LINES, FUNCTION_LINES, MEDIAN_LINES, REPEATED_LINES, UNDOCUMENTED_LINES = 700, 60, 12, 6, 6
#: functions that these decorate have their types from Numba, or their meaning from the NumPy function that they are
NUMBA = {"njit", "intrinsic", "compiled"}
RULES = {"implements"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module_of(path: Path) -> str:
    """`symhess.plan.loops` of symhess/plan/loops.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(module: str) -> str:
    """The row of the table that a module belongs to: its package, or itself where it stands right in symhess/."""
    return module.split(".")[1] if "." in module else "symhess"


# -- imports -------------------------------------------------------------------------------------------------------


def table() -> dict[str, list[str]]:
    """The import table of docs/architecture.md: part -> the parts that it may import."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", text, flags=re.M)
    return {part: [w.strip().replace("`", "") for w in allowed.split(",") if w.strip() != "nothing"]
            for part, allowed in rows}


def imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [a.name for a in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"symhess.{a.name}" for a in node.names] if node.module == "symhess" else [node.module or "."]
    return []


def imports(source: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """(part of symhess, line, inside a function) of every import of symhess, wherever it stands."""
    stack: list[tuple[ast.AST, bool]] = [(source, False)]
    while stack:
        node, inside = stack.pop()
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for module in imported_modules(node):
            if module.split(".")[0] == "symhess":
                yield part_of(module), node.lineno, inside
        stack += [(child, inside) for child in ast.iter_child_nodes(node)]


def import_violations(part: str, source: ast.Module, allowed: dict[str, list[str]]) -> list[str]:
    mine, found = allowed.get(part, []), []
    for other, line, inside in imports(source):
        permitted = other in mine or (inside and f"{other} {ON_DEMAND}" in mine)
        if other != part and not permitted:
            found.append(f"line {line}: {part} imports {other}")
    return found


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_follow_the_table(path: Path):
    part = part_of(module_of(path))
    assert part in table(), f"docs/architecture.md has no row for {part}"
    assert not import_violations(part, tree(path), table()), "see the import table of docs/architecture.md"


def test_the_table_is_about_what_exists():
    assert set(table()) == {part_of(module_of(p)) for p in FILES}
    assert {w.removesuffix(f" {ON_DEMAND}") for allowed in table().values() for w in allowed} <= set(table())


def test_the_table_has_no_cycle():
    """Taking away, again and again, the parts that import nothing else leaves nothing."""
    left = {part: {w for w in allowed if ON_DEMAND not in w} for part, allowed in table().items()}
    while bottom := {part for part, allowed in left.items() if not allowed}:
        left = {part: allowed - bottom for part, allowed in left.items() if part not in bottom}
    assert not left


def test_the_import_check_sees_planted_faults():
    allowed = {"trace": ["graph", f"api {ON_DEMAND}"], "graph": []}
    planted = ["import symhess.plan", "def f():", "    from symhess.structure.term import Term",
               "    from symhess import api", "from symhess import api"]
    found = import_violations("trace", ast.parse("\n".join(planted)), allowed)
    assert sorted(found) == ["line 1: trace imports plan", "line 3: trace imports structure",
                             "line 5: trace imports api"]


# -- sizes ---------------------------------------------------------------------------------------------------------


def functions(source: ast.Module) -> Iterator[ast.FunctionDef]:
    return (n for n in ast.walk(source) if isinstance(n, ast.FunctionDef))


def length(f: ast.FunctionDef) -> int:
    """Lines from `def` to the end, the docstring not counted."""
    doc = f.body[0].end_lineno - f.body[0].lineno + 1 if ast.get_docstring(f) else 0
    return f.end_lineno - f.lineno + 1 - doc


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_modules_are_short_and_say_what_they_are(path: Path):
    assert ast.get_docstring(tree(path))
    assert len(path.read_text().splitlines()) <= MODULE_LINES


def test_functions_are_short():
    lengths = {f"{module_of(p)}.{f.name}": length(f) for p in FILES for f in functions(tree(p))}
    assert statistics.median(lengths.values()) < MEDIAN_LINES
    assert not {name: n for name, n in lengths.items() if n > FUNCTION_LINES}


# -- the public face of every module -------------------------------------------------------------------------------


def decorators(f: ast.FunctionDef) -> set[str]:
    return {n.id for d in f.decorator_list for n in ast.walk(d) if isinstance(n, ast.Name)}


def public(source: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Public functions and classes of a module, and the public methods of public classes."""
    for node in source.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from ((f"{node.name}.{m.name}", m) for m in node.body
                            if isinstance(m, ast.FunctionDef) and not m.name.startswith("_"))


def unannotated(f: ast.FunctionDef) -> list[str]:
    a = f.args
    named = [x for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x is not None]
    missing = [x.arg for x in named if x.annotation is None and x.arg not in ("self", "cls")]
    return missing + ([] if f.returns is not None else ["return"])


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_public_functions_have_types(path: Path):
    found = {name: unannotated(f) for name, f in public(tree(path))
             if isinstance(f, ast.FunctionDef) and not decorators(f) & NUMBA}
    assert not {name: missing for name, missing in found.items() if missing}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_public_names_say_what_they_are(path: Path):
    """Every class; every function longer than a glance, unless a decorator names the NumPy function that it is."""
    found = [name for name, node in public(tree(path)) if not ast.get_docstring(node)
             and (isinstance(node, ast.ClassDef) or length(node) > UNDOCUMENTED_LINES)
             and not (isinstance(node, ast.FunctionDef) and decorators(node) & RULES)]
    assert not found


def test_every_error_is_raised_somewhere():
    """`SymhessError` is the base of the others, and the one not to be raised."""
    declared = {n.name for n in tree(PACKAGE / "errors.py").body if isinstance(n, ast.ClassDef)} - {"SymhessError"}
    used = {n.id for p in FILES if p.name != "errors.py" for n in ast.walk(tree(p)) if isinstance(n, ast.Name)}
    assert declared <= used


# -- nothing stands twice ------------------------------------------------------------------------------------------


def code_lines(text: str) -> list[tuple[int, str]]:
    """(number, text) of the lines that do something: no imports, docstrings, comments or blank lines."""
    source, skipped = ast.parse(text), set()
    for node in ast.walk(source):
        said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if said or isinstance(node, ast.Import | ast.ImportFrom):
            skipped |= set(range(node.lineno, node.end_lineno + 1))
    lines: dict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT and token.string.strip() and token.start[0] not in skipped:
            lines[token.start[0]].append(token.string)
    return [(n, " ".join(words)) for n, words in sorted(lines.items())]


def repeated(texts: dict[str, str]) -> list[str]:
    """Places where a run of REPEATED_LINES lines of code stands that has stood somewhere before."""
    seen: dict[tuple[str, ...], str] = {}
    found = []
    for name, text in texts.items():
        lines = code_lines(text)
        for k in range(len(lines) - REPEATED_LINES + 1):
            run = tuple(words for _, words in lines[k:k + REPEATED_LINES])
            place = f"{name}:{lines[k][0]}"
            if run in seen:
                found.append(f"{place} repeats {seen[run]}")
            seen.setdefault(run, place)
    return found


def test_no_block_stands_twice():
    found = repeated({module_of(p): p.read_text() for p in FILES})
    assert not found


def test_the_repetition_check_sees_a_planted_block():
    block = "\n".join(f"x{k} = f({k})" for k in range(REPEATED_LINES))
    spaced = block.replace("\n", "  # a remark\n\n")
    assert repeated({"a": block, "b": "import os\n" + spaced}) == ["b:2 repeats a:1"]
    assert not repeated({"a": block, "b": block.replace("x0", "y0")})


# -- style ---------------------------------------------------------------------------------------------------------


def test_ruff_is_content():
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
