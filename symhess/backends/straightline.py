"""Straight-line kernels: thousands of scalar statements as LLVM IR, compiled in milliseconds, called by address.

    void kernel(const T_k **arrays, T *out, double *workspace)        out[j] = value of output j

`arrays[k]` points at the first element of array k (C order, the element type of its leaves), `out` at one element
per output, `workspace` at `workspace_size` doubles that belong to the call alone: with a workspace and an output of
its own, every thread may call the kernel at once. Arrays and `out` must not overlap.

The statements are cut into functions of about 256, whose compile time is linear in their number; a value that
outlives its function waits in a workspace slot, handed out by linear scan. No optimisation passes run: the graph
has no common subexpressions left, and register allocation is all that is wanted.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from symhess.backends.disk_cache import Choice, digest
from symhess.backends.machine_code import Loaded, compiled, loaded
from symhess.backends.object_cache import Kept, cached
from symhess.backends.spelling import DECLARATIONS, LLVM_TYPE, literal, spell
from symhess.errors import UnsupportedOperation
from symhess.graph.node import CONSTANT, Node, topological

Leaf = tuple[Node, int, int]

#: statements per function: fewer cost calls and slots, more cost register allocation time
CHUNK = 256
_MEMORY_TYPE = {"double": "double", "float": "float", "i1": "i8"}
_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


@dataclass(frozen=True)
class ScalarKernel:
    """A compiled straight-line kernel; it owns the machine code behind `address`."""

    address: int
    workspace_size: int
    dtype: np.dtype
    outputs: int
    statements: int
    chunks: int
    compile_seconds: float
    ctypes: Any = field(repr=False)
    code: Loaded = field(repr=False)

    def __call__(self, arrays: Sequence[np.ndarray], out: np.ndarray | None = None) -> np.ndarray:
        """Values of the outputs for C-contiguous `arrays`; for people and tests, fast callers use the address."""
        out = np.empty(self.outputs, self.dtype) if out is None else out
        workspace = np.empty(self.workspace_size)
        pointers = (ctypes.c_void_p * max(len(arrays), 1))(*(a.ctypes.data for a in arrays))
        self.ctypes(ctypes.addressof(pointers), out.ctypes.data, workspace.ctypes.data)
        return out


def compile_scalars(outputs: Sequence[Node], leaves: Sequence[Leaf], cache: Choice = False) -> ScalarKernel:
    """Compile rank-0 elementwise `outputs` over `leaves`, each (node, number of its array, flat position in it).

    Raises UnsupportedOperation for anything but elementwise operations on float64, float32 and bool.
    """
    start = time.perf_counter()
    order = _statements(outputs, {node for node, _, _ in leaves})
    dtype = _output_dtype(outputs)
    source, workspace_size, chunks = _module(order, outputs, leaves)
    make = lambda: Kept(compiled(source, 1, False), (), False)
    code = loaded((cached(digest(source), cache, make) if cache else make()).code)
    address = code.address("kernel")
    return ScalarKernel(address, workspace_size, dtype, len(outputs), len(order), chunks,
                        time.perf_counter() - start, _SIGNATURE(address), code)


def _output_dtype(outputs: Sequence[Node]) -> np.dtype:
    dtypes = {o.dtype for o in outputs}
    if len(dtypes) > 1:
        raise UnsupportedOperation(f"outputs of one scalar kernel need one dtype, not {sorted(map(str, dtypes))}: "
                                   "compile one kernel per dtype")
    for o in outputs:
        _check_dtype(o)
    return dtypes.pop() if dtypes else np.dtype(float)


# -- what to compute, and where values wait ------------------------------------------------------------------------


def _statements(outputs: Sequence[Node], leaves: set[Node]) -> list[Node]:
    """The elementwise nodes between the leaves and the outputs, arguments first."""
    order = topological(outputs, lambda node: () if node in leaves else node.args)
    inner = [node for node in order if node not in leaves]
    for node in inner:
        _check(node)
    return [node for node in inner if node.op is not CONSTANT]


def _check_dtype(node: Node) -> None:
    if node.ndim or node.dtype.name not in LLVM_TYPE:
        raise UnsupportedOperation(f"straight-line code holds float64, float32 and bool scalars, not {node!r}")


def _check(node: Node) -> None:
    _check_dtype(node)
    if node.op is not CONSTANT and node.op.family != "elementwise":
        raise UnsupportedOperation(f"straight-line code has no {node.op.name}: {node!r} is neither elementwise nor "
                                   "one of the given leaves")


@dataclass
class _Slots:
    """Workspace slots by linear scan: one for each value that is used after its own chunk, free after its last."""

    of: dict[Node, int]
    size: int


def _allocate(chunks: Sequence[Sequence[Node]]) -> _Slots:
    last: dict[Node, int] = {}
    for c, chunk in enumerate(chunks):
        for node in chunk:
            for a in node.args:
                last[a] = c
    slots, free, expiring = _Slots({}, 0), [], [[] for _ in chunks]
    for c, chunk in enumerate(chunks):
        for node in chunk:
            if last.get(node, c) > c:
                if not free:
                    free.append(slots.size)
                    slots.size += 1
                slots.of[node] = free.pop()
                expiring[last[node]].append(slots.of[node])
        free.extend(expiring[c])
    return slots


# -- the module ----------------------------------------------------------------------------------------------------


def _module(order: list[Node], outputs: Sequence[Node], leaves: Sequence[Leaf]) -> tuple[str, int, int]:
    """The IR text, the size of the workspace and the number of chunks."""
    chunks = [order[i:i + CHUNK] for i in range(0, len(order), CHUNK)]
    slots = _allocate(chunks)
    places: dict[Node, list[int]] = {}
    for k, o in enumerate(outputs):
        places.setdefault(o, []).append(k)
    computed, where = set(order), {node: (array, position) for node, array, position in leaves}
    copied = [o for o in places if o not in computed]
    declarations: set[str] = set()
    functions = []
    for number, chunk in enumerate([*chunks, *(copied[i:i + CHUNK] for i in range(0, len(copied), CHUNK))]):
        body = _Body(slots.of, where, declarations)
        for node in chunk:
            body.statement(node, places.get(node, ()), node in computed)
        functions.append(_function(f"chunk{number}", body.lines))
    calls = [f"call void @chunk{k}({_ARGUMENTS})" for k in range(len(functions))]
    entry = f"define void @kernel({_ARGUMENTS}) nounwind {{\n" + "\n".join([*calls, "ret void"]) + "\n}\n"
    return "\n".join([*sorted(declarations), *functions, entry]), slots.size, len(functions)


_ARGUMENTS = "ptr %arrays, ptr %out, ptr %workspace"


def _function(name: str, lines: list[str]) -> str:
    return f"define internal void @{name}({_ARGUMENTS}) noinline nounwind {{\n" + "\n".join(lines) + "\nret void\n}\n"


class _Body:
    """The statements of one chunk: loads what it needs when it first needs it, stores what others need."""

    def __init__(self, slots: dict[Node, int], where: dict[Node, tuple[int, int]], declarations: set[str]):
        self.lines: list[str] = []
        self.slots, self.where, self.declarations = slots, where, declarations
        self.names: dict[Node, str] = {}
        self.bases: dict[int, str] = {}
        self.count = 0

    def emit(self, text: str) -> str:
        """Append an instruction and name its result."""
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"{name} = {text}")
        return name

    def call(self, symbol: str, result: str, *args: tuple[str, str]) -> str:
        """Call an external function of (type, value) arguments."""
        types = ", ".join(t for t, _ in args)
        self.declarations.add(f"declare {result} @{symbol}({types}) {DECLARATIONS}")
        return self.emit(f"call {result} @{symbol}({', '.join(f'{t} {v}' for t, v in args)})")

    def statement(self, node: Node, places: Sequence[int], computed: bool) -> None:
        if computed:
            self.names[node] = spell(self, node, [self.value(a) for a in node.args])
        if node in self.slots:
            self.store(node, "%workspace", self.slots[node], "double")
        for k in places:
            self.store(node, "%out", k, _MEMORY_TYPE[LLVM_TYPE[node.dtype.name]])

    def value(self, node: Node) -> str:
        """The operand that stands for a node here."""
        if node.op is CONSTANT:
            return literal(node.attrs.array[()], LLVM_TYPE[node.dtype.name])
        if node not in self.names:
            array, position = self.where.get(node, (None, 0))
            if array is None:
                self.names[node] = self.load(node, "%workspace", self.slots[node], "double")
            else:
                self.names[node] = self.load(node, self.base(array), position, _leaf_type(node))
        return self.names[node]

    def base(self, array: int) -> str:
        if array not in self.bases:
            pointer = self.emit(f"getelementptr ptr, ptr %arrays, i64 {array}")
            self.bases[array] = self.emit(f"load ptr, ptr {pointer}")
        return self.bases[array]

    def load(self, node: Node, base: str, position: int, stride: str) -> str:
        kind = LLVM_TYPE[node.dtype.name]
        pointer = self.emit(f"getelementptr {stride}, ptr {base}, i64 {position}")
        loaded = self.emit(f"load {_MEMORY_TYPE[kind]}, ptr {pointer}")
        return self.emit(f"trunc i8 {loaded} to i1") if kind == "i1" else loaded

    def store(self, node: Node, base: str, position: int, stride: str) -> None:
        kind, value = LLVM_TYPE[node.dtype.name], self.value(node)
        if kind == "i1":
            value = self.emit(f"zext i1 {value} to i8")
        pointer = self.emit(f"getelementptr {stride}, ptr {base}, i64 {position}")
        self.lines.append(f"store {_MEMORY_TYPE[kind]} {value}, ptr {pointer}")


def _leaf_type(node: Node) -> str:
    if node.dtype.name not in LLVM_TYPE:
        raise UnsupportedOperation(f"leaves of straight-line code are float64, float32 or bool, not {node!r}")
    return _MEMORY_TYPE[LLVM_TYPE[node.dtype.name]]
