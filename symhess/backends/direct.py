"""Kernels without Numba's front end: the printed text is compiled to machine code by `restricted`, in milliseconds.

    i32 kernel(ptr arrays...)        0, or 1 where there is no memory
    ptr call(self, args, count)      the same for Python

Every array of a kernel is a `noalias` argument of the function that holds its statements, so LLVM knows that they do
not overlap.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from symhess.backends.codegen import TYPE_NAMES
from symhess.backends.disk_cache import Choice, digest
from symhess.backends.machine_code import Loaded, compiled, loaded
from symhess.backends.names import libraries_of, library_names
from symhess.backends.object_cache import Kept, cached
from symhess.backends.python_entry import Array, builtin, builtin_text, by_ctypes, layout_holds, link_python
from symhess.backends.restricted import Compiler, Module
from symhess.backends.restricted_calls import Names
from symhess.backends.spelling import LIBM, in_libm
from symhess.backends.values import ELEMENT, Memory

#: workspaces up to this many bytes lie on the stack
ON_STACK = 16384
#: element types by their names in generated source
TYPES = {name: dtype for dtype, name in TYPE_NAMES.items()}
#: Linux's number for the request for huge pages, and its smallest pages
MADV_HUGEPAGE, PAGE = 14, 4096
FAST = "contract reassoc nsz arcp afn "


class Place(NamedTuple):
    """An array of the kernel: where its memory comes from, the kind of its elements, and its alias class."""

    name: str
    source: str
    offset: int
    memory: Memory
    alias: int


class Owner:
    """Keeps machine code in memory, and whatever its entries need, as long as one of them lives."""

    def __init__(self, code: Loaded, blocks: tuple[Any, ...]):
        self.code, self.blocks = code, blocks
        self.kept: list[Any] = []


class Entry(NamedTuple):
    """A kernel as a Python function (see `python_entry`), and the address of the C function behind it."""

    call: Callable[..., None]
    address: int


def kernel_text(text: str, arrays: Sequence[Array], fast: bool, releases: bool) -> tuple[str, tuple[bytes, ...]]:
    """The module of a kernel in LLVM IR, and bitcode to link. Raises Unsupported where Numba has to compile it."""
    (definition,) = ast.parse(text).body
    module = Module(FAST if fast else "")
    kinds = {a.arg: x.dtype.name for a, x in zip(definition.args.args, arrays, strict=True)}
    places, size, huge, rest = _declared(definition.body, kinds)
    grown = frozenset(re.findall(r"\bkeep\((\w+)\)", text)) - {"work"}
    compiler = Compiler(module, Names(text), grown)
    first: dict[int, Place] = {}
    for p in places:
        start = first.setdefault(p.alias, p)
        base = f"%c{p.alias}"
        pointer = base if start.offset == p.offset else compiler.code.emit(
            f"getelementptr i8, ptr {base}, i64 {p.offset - start.offset}")
        compiler.assign(ast.Name(p.name), Memory(p.memory.element, pointer, p.memory.boolean))
    compiler.block(rest)
    parameters = ", ".join(f"ptr noalias %c{k}" for k in first)
    module.texts.append(compiler.finished("body", parameters, "internal"))
    module.texts.append(_kernel(module, list(kinds), list(first.values()), size, huge))
    if layout_holds():
        module.texts.append(builtin_text(arrays, releases))
    return module.text(), tuple(module.linked.values())


def _declared(body: Sequence[ast.stmt], kinds: dict[str, str]) -> tuple[list[Place], int, bool, Sequence[ast.stmt]]:
    """The arrays that the first statements declare, the size of the workspace, whether it is to lie in huge pages, and
    the other statements."""
    places: list[Place] = []
    size, huge = 0, False
    for k, s in enumerate(body):
        call = s.value if isinstance(s, (ast.Assign, ast.Expr)) else None
        function = getattr(call.func, "id", getattr(call.func, "attr", "")) if isinstance(call, ast.Call) else ""
        if function == "huge_pages":
            huge = True
        elif function == "empty" and s.targets[0].id == "work":
            size = call.args[0].value
        elif function in ("memory", "linked", "part"):
            places.append(_place(s.targets[0].id, function, call.args, kinds))
        else:
            return places, size, huge, body[k:-1] if size else body[k:]  # the last one keeps the workspace alive
    return places, size, huge, []


def _place(name: str, function: str, args: Sequence[ast.expr], kinds: dict[str, str]) -> Place:
    alias = args[-2].value
    if function == "memory":
        return Place(name, f"%{args[0].id}", 0, _memory(kinds[args[0].id]), alias)
    if function == "linked":
        return Place(name, f"@{args[0].value}", 0, _memory(TYPES[args[1].id]), alias)
    return Place(name, "%work", args[1].value, _memory(TYPES[args[2].id]), alias)


def _memory(dtype: str) -> Memory:
    return Memory(ELEMENT[dtype], "", dtype == "bool")


def _kernel(module: Module, parameters: Sequence[str], places: Sequence[Place], size: int, huge: bool) -> str:
    """The function that other code calls: it finds the memory of all arrays, and runs the body."""
    lines = ["  %status = alloca i32", "  store i32 0, ptr %status"]
    if 0 < size <= ON_STACK:
        lines.append(f"  %work = alloca [{size} x i8], align 64")
    elif size:
        module.declared["malloc"] = "declare noalias ptr @malloc(i64) nounwind"
        module.declared["free"] = "declare void @free(ptr) nounwind"
        lines += [f"  %raw = call ptr @malloc(i64 {size + 64})", "  %none = icmp eq ptr %raw, null",
                  "  br i1 %none, label %full, label %have", "full:", "  ret i32 1", "have:",
                  "  %number = ptrtoint ptr %raw to i64", "  %above = add i64 %number, 63",
                  "  %even = and i64 %above, -64", "  %gap = sub i64 %even, %number",
                  "  %work = getelementptr i8, ptr %raw, i64 %gap"]
        if huge:
            module.declared["madvise"] = "declare i32 @madvise(i64, i64, i32) nounwind"
            lines += [f"  %page = add i64 %number, {PAGE - 1}", f"  %first = and i64 %page, {-PAGE}",
                      f"  %advised = call i32 @madvise(i64 %first, i64 {size - PAGE}, i32 {MADV_HUGEPAGE})"]
    arguments = ["ptr %status"]
    for p in places:
        source = p.source
        if source.startswith("@"):
            module.declared[source] = f"{source} = external global i8"
        elif p.offset:
            lines.append(f"  %c{p.alias} = getelementptr i8, ptr {source}, i64 {p.offset}")
            source = f"%c{p.alias}"
        arguments.append(f"ptr {source}")
    lines.append(f"  call void @body({', '.join(arguments)})")
    if size > ON_STACK:
        lines.append("  call void @free(ptr %raw)")
    lines += ["  %result = load i32, ptr %status", "  ret i32 %result"]
    # vectors that do not fit into registers lie on cache lines of their own
    head = f"define i32 @kernel({', '.join(f'ptr %{p}' for p in parameters)}) nounwind alignstack(64) {{"
    return "\n".join([head, *lines, "}"]) + "\n"


def kernel_entry(text: str, arrays: Sequence[Array], fast: bool, releases: bool, cache: Choice,
                 blocks: tuple[Any, ...] = ()) -> Entry:
    """The kernel as a Python function of arrays, compiled or from disk; it keeps `blocks`. Raises Unsupported."""
    link_python()
    for library in libraries_of(text):
        library_names(library)

    def make() -> Kept:
        module, linked = kernel_text(text, arrays, fast, releases)
        libm = tuple(sorted(set(re.findall(r"^declare .* @(\w+)\(", module, re.M)) & LIBM))
        return Kept(compiled(module, 2, True, linked), libm, bool(linked))

    name = digest("\n".join([text, *map(str, arrays), str(fast), str(releases)]))
    kept = cached(name, cache, make) if cache else make()
    for symbol in kept.libm:
        in_libm(symbol)
    if kept.numba:
        from symhess.backends.bridge import start_numba

        start_numba()
    return entry_of(loaded(kept.code), arrays, blocks)


def entry_of(code: Loaded, arrays: Sequence[Array], blocks: tuple[Any, ...] = ()) -> Entry:
    """What runs the machine code."""
    owner, address = Owner(code, blocks), code.address("kernel")
    if not layout_holds():
        return Entry(by_ctypes(address, arrays, owner), address)
    return Entry(builtin(code.address("call"), owner), address)
