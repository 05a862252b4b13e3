"""Kernels called from Python in tens of nanoseconds: a built-in function in machine code beside the kernel.

    entry(*arrays)      checks type, dtype, shape and layout of every array, and runs the kernel on their memory

It reads the memory of array objects as NumPy's C headers describe it. Where that does not hold (`layout_holds`), the
same is done by ctypes, ten times slower.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np

WORD = 8
#: where an array object holds its memory, rank, extents, dtype and flags; where a dtype holds kind, byte order and size
DATA, RANK, EXTENTS, DTYPE, FLAGS = 16, 24, 32, 56, 64
KIND, ORDER, SIZE = 24, 26, 40
#: NumPy's flags: C_CONTIGUOUS, ALIGNED, WRITEABLE
WRITEABLE_FLAG = 0x400
READABLE, WRITEABLE = 0x101, 0x101 | WRITEABLE_FLAG
#: the object's type, behind its reference count
TYPE = 8


class Array(NamedTuple):
    """An array that a kernel takes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    written: bool

    def __str__(self) -> str:
        return f"{self.dtype.name}{list(self.shape)}"


class _Method(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int),
                ("doc", ctypes.c_char_p)]


METH_FASTCALL = 0x80


@functools.cache
def layout_holds() -> bool:
    """True if array objects of this process lie in memory as described above."""
    if ctypes.sizeof(ctypes.c_void_p) != WORD or sys.implementation.name != "cpython" or (
            hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled()):
        return False
    word, number, byte = ctypes.c_ssize_t.from_address, ctypes.c_int.from_address, ctypes.c_char.from_address
    for a in (np.zeros((3, 2)), np.zeros(4, np.float32)[::2], np.zeros((), np.int64), np.zeros((2, 0), bool)):
        at = id(a)
        if sys.getsizeof(a.dtype) < SIZE + WORD or word(at + TYPE).value != id(np.ndarray):
            return False
        if word(at + DATA).value != a.ctypes.data or number(at + RANK).value != a.ndim:
            return False
        extents = word(at + EXTENTS).value
        if a.ndim and [word(extents + WORD * k).value for k in range(a.ndim)] != list(a.shape):
            return False
        dtype = word(at + DTYPE).value
        if dtype != id(a.dtype) or word(dtype + SIZE).value != a.dtype.itemsize or (
                [byte(dtype + k).value.decode() for k in (KIND, ORDER)] != [a.dtype.kind, a.dtype.byteorder]):
            return False
        flags = number(at + FLAGS).value
        if bool(flags & 1) != a.flags.c_contiguous or bool(flags & 0x400) != a.flags.writeable or (
                bool(flags & 0x100) != a.flags.aligned):
            return False
    return True


def link_python() -> None:
    """Make what built-in functions need of Python and NumPy known to the linker."""
    api = ctypes.pythonapi
    for name in ("PyEval_SaveThread", "PyEval_RestoreThread", "PyErr_SetString", "PyErr_NoMemory"):
        llvm.add_symbol(f"symhess_{name}", ctypes.cast(getattr(api, name), ctypes.c_void_p).value)
    for name, thing in (("array_type", np.ndarray), ("none", None), ("TypeError", TypeError)):
        llvm.add_symbol(f"symhess_{name}", id(thing))


_DECLARATIONS = """
declare ptr @symhess_PyEval_SaveThread()
declare void @symhess_PyEval_RestoreThread(ptr)
declare void @symhess_PyErr_SetString(ptr, ptr)
declare ptr @symhess_PyErr_NoMemory()
@symhess_array_type = external global i8
@symhess_none = external global i8
@symhess_TypeError = external global i8
"""


def mismatch(arrays: Sequence[Array]) -> str:
    """What is said to who calls a kernel with other arrays."""
    return f"a kernel of ({', '.join(map(str, arrays))}) was called with other arrays"


def builtin_text(arrays: Sequence[Array], releases: bool) -> str:
    """The function in LLVM IR; `releases` gives other Python threads the interpreter meanwhile."""
    message = mismatch(arrays).encode() + b"\0"
    escaped = "".join(chr(b) if 32 <= b < 127 and b not in (34, 92) else f"\\{b:02X}" for b in message)
    text = Text()
    text.demand(f"icmp eq i64 %count, {len(arrays)}", "wrong")
    pointers = []
    for k, a in enumerate(arrays):
        slot = text.emit(f"getelementptr ptr, ptr %args, i64 {k}")
        pointers.append(expect_array(text, text.emit(f"load ptr, ptr {slot}"), a))
    if releases:
        text.lines.append("  %thread = call ptr @symhess_PyEval_SaveThread()")
    text.lines.append(f"  %status = call i32 @kernel({', '.join(f'ptr {p}' for p in pointers)})")
    if releases:
        text.lines.append("  call void @symhess_PyEval_RestoreThread(ptr %thread)")
    text.demand("icmp eq i32 %status, 0", "memory")
    text.lines += [*_counted("symhess_none"), "  ret ptr @symhess_none",
                   "memory:", "  %raised = call ptr @symhess_PyErr_NoMemory()", "  ret ptr null", "wrong:",
                   "  call void @symhess_PyErr_SetString(ptr @symhess_TypeError, ptr @message)", "  ret ptr null", "}"]
    return "\n".join([_DECLARATIONS, f'@message = private constant [{len(message)} x i8] c"{escaped}"',
                      "define ptr @call(ptr %self, ptr %args, i64 %count) nounwind {", "start:", *text.lines]) + "\n"


class Text:
    """LLVM IR of a function, line by line; `current` is the label of the block that is being written."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.allocas: list[str] = []
        self.current = "start"
        self.count = 0

    def emit(self, operation: str) -> str:
        """The name of a result."""
        self.count += 1
        self.lines.append(f"  %v{self.count} = {operation}")
        return f"%v{self.count}"

    def block(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.current = label

    def demand(self, condition: str, failure: str) -> None:
        """Leave for the label `failure` where a condition does not hold."""
        name = self.emit(condition)
        self.lines.append(f"  br i1 {name}, label %ok{self.count}, label %{failure}")
        self.block(f"ok{self.count}")

    def read(self, kind: str, base: str, offset: int) -> str:
        """What lies in memory some bytes behind an address."""
        return self.emit(f"load {kind}, ptr {self.emit(f'getelementptr i8, ptr {base}, i64 {offset}')}")

    def memory(self, size: int) -> str:
        """Bytes on the stack."""
        name = f"%memory{len(self.allocas)}"
        self.allocas.append(f"  {name} = alloca [{size} x i8], align 16")
        return name

    def all_equal(self, pairs: Sequence[tuple[str, str, int]]) -> str:
        """The condition that values of integer types equal numbers."""
        differ = ""
        for kind, value, number in pairs:
            wide = self.emit(f"xor {kind} {value}, {number}")
            wide = wide if kind == "i64" else self.emit(f"zext {kind} {wide} to i64")
            differ = self.emit(f"or i64 {differ}, {wide}") if differ else wide
        return f"icmp eq i64 {differ}, 0"


def expect_type(text: Text, given: str, kind: type) -> None:
    """Leave for `wrong` unless an object has exactly this type, by its address."""
    text.demand(f"icmp eq ptr {text.read('ptr', given, TYPE)}, inttoptr (i64 {id(kind)} to ptr)", "wrong")


def expect_array(text: Text, given: str, a: Array) -> str:
    """The memory of an object; leave for `wrong` unless it is such an array."""
    text.demand(f"icmp eq ptr {text.read('ptr', given, TYPE)}, @symhess_array_type", "wrong")
    needed = WRITEABLE if a.written else READABLE
    flags = text.emit(f"and i32 {text.read('i32', given, FLAGS)}, {needed}")
    dtype = text.read("ptr", given, DTYPE)
    text.demand(text.all_equal([("i32", text.read("i32", given, RANK), len(a.shape)), ("i32", flags, needed),
                                ("i8", text.read("i8", dtype, KIND), ord(a.dtype.kind)),
                                ("i8", text.read("i8", dtype, ORDER), ord(a.dtype.byteorder)),
                                ("i64", text.read("i64", dtype, SIZE), a.dtype.itemsize)]), "wrong")
    if a.shape:
        extents = text.read("ptr", given, EXTENTS)
        text.demand(text.all_equal([("i64", text.read("i64", extents, WORD * axis), n)
                                    for axis, n in enumerate(a.shape)]), "wrong")
    return text.read("ptr", given, DATA)


def _counted(symbol: str) -> list[str]:
    """One more reference to a constant of Python's, where it counts them."""
    if sys.version_info >= (3, 12):
        return []
    return [f"  %held_{symbol} = load i64, ptr @{symbol}", f"  %more_{symbol} = add i64 %held_{symbol}, 1",
            f"  store i64 %more_{symbol}, ptr @{symbol}"]


def builtin(address: int, owner: Any) -> Callable[..., Any]:
    """A Python function that runs machine code; it keeps the owner of the code."""
    return built_in(address, METH_FASTCALL, owner, owner.kept,
                    b"A compiled kernel: called with arrays, it fills the outputs.")


def built_in(address: int, flags: int, owner: Any, kept: list[Any], doc: bytes) -> Callable[..., Any]:
    """A built-in function, whose machine code sees `owner`; `kept`, which that keeps, gets what the function needs."""
    method = _Method(b"kernel", address, flags, doc)
    kept.append(method)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return make(ctypes.addressof(method), owner, None)


def by_ctypes(address: int, arrays: Sequence[Array], owner: Any) -> Callable[..., None]:
    """The same, without a look into array objects."""
    function = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * len(arrays))(address)

    def kernel(*given: np.ndarray) -> None:
        right = len(given) == len(arrays) and all(
            type(x) is np.ndarray and x.shape == a.shape and x.dtype == a.dtype and x.flags.c_contiguous
            and x.flags.aligned and (x.flags.writeable or not a.written) for x, a in zip(given, arrays))
        if not right:
            raise TypeError(mismatch(arrays))
        if function(*(x.ctypes.data for x in given)):
            raise MemoryError

    kernel.owner = owner
    return kernel
