"""Kernels called from Python in tens of nanoseconds: a built-in function in machine code beside the kernel.

    entry(*arrays)      checks type, dtype, shape and layout of every array, and runs the kernel on their memory
    attempt(*arrays)    the same, but gives NotImplemented for other arrays, or where outputs share memory with inputs

It reads the memory of array objects as NumPy's C headers describe it. Where that does not hold (`layout_holds`), the
same is done by ctypes, ten times slower.
"""

from __future__ import annotations

import ctypes
import functools
import math
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
READABLE, WRITEABLE = 0x101, 0x501
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
    for name, thing in (("array_type", np.ndarray), ("none", None), ("NotImplemented", NotImplemented),
                        ("TypeError", TypeError)):
        llvm.add_symbol(f"symhess_{name}", id(thing))


_DECLARATIONS = """
declare ptr @symhess_PyEval_SaveThread()
declare void @symhess_PyEval_RestoreThread(ptr)
declare void @symhess_PyErr_SetString(ptr, ptr)
declare ptr @symhess_PyErr_NoMemory()
@symhess_array_type = external global i8
@symhess_none = external global i8
@symhess_NotImplemented = external global i8
@symhess_TypeError = external global i8
"""


def mismatch(arrays: Sequence[Array]) -> str:
    """What is said to who calls a kernel with other arrays."""
    return f"a kernel of ({', '.join(map(str, arrays))}) was called with other arrays"


def builtin_text(arrays: Sequence[Array], releases: bool) -> str:
    """Both functions in LLVM IR; `releases` gives other Python threads the interpreter meanwhile."""
    text = mismatch(arrays).encode() + b"\0"
    escaped = "".join(chr(b) if 32 <= b < 127 and b not in (34, 92) else f"\\{b:02X}" for b in text)
    raised = ["  call void @symhess_PyErr_SetString(ptr @symhess_TypeError, ptr @message)", "  ret ptr null"]
    refused = [*_counted("symhess_NotImplemented"), "  ret ptr @symhess_NotImplemented"]
    return "\n".join([_DECLARATIONS, f'@message = private constant [{len(text)} x i8] c"{escaped}"',
                      *_function("call", arrays, releases, raised, []),
                      *_function("attempt", arrays, releases, refused, _apart(arrays))]) + "\n"


def _function(name: str, arrays: Sequence[Array], releases: bool, otherwise: list[str], more: list[str]) -> list[str]:
    """A function that runs the kernel where all arrays are as they have to be, and the checks `more` hold."""
    lines = [f"define ptr @{name}(ptr %self, ptr %args, i64 %count) nounwind {{",
             f"  %right = icmp eq i64 %count, {len(arrays)}", "  br i1 %right, label %array0, label %wrong"]
    for k, a in enumerate(arrays):
        lines += _checks(k, a)
    lines += [f"array{len(arrays)}:", *more]
    if releases:
        lines.append("  %thread = call ptr @symhess_PyEval_SaveThread()")
    lines.append(f"  %status = call i32 @kernel({', '.join(f'ptr %data{k}' for k in range(len(arrays)))})")
    if releases:
        lines.append("  call void @symhess_PyEval_RestoreThread(ptr %thread)")
    return [*lines, "  %good = icmp eq i32 %status, 0", "  br i1 %good, label %done, label %memory",
            "done:", *_counted("symhess_none"), "  ret ptr @symhess_none",
            "memory:", "  %raised = call ptr @symhess_PyErr_NoMemory()", "  ret ptr null", "wrong:", *otherwise, "}"]


def _apart(arrays: Sequence[Array]) -> list[str]:
    """Leave for `wrong` where an output shares memory with an input or another output."""
    lines = []
    ends = {k: f"%end{k}" for k in range(len(arrays))}
    for k, a in enumerate(arrays):
        lines.append(f"  {ends[k]} = getelementptr i8, ptr %data{k}, i64 {a.dtype.itemsize * math.prod(a.shape)}")
    pairs = [(o, i) for o, b in enumerate(arrays) if b.written for i in range(o)]
    for n, (o, i) in enumerate(pairs):
        lines += [f"  %below{n} = icmp ule ptr {ends[o]}, %data{i}", f"  %above{n} = icmp ule ptr {ends[i]}, %data{o}",
                  f"  %apart{n} = or i1 %below{n}, %above{n}", f"  br i1 %apart{n}, label %free{n}, label %wrong",
                  f"free{n}:"]
    return lines


def _counted(symbol: str) -> list[str]:
    """One more reference to a constant of Python's, where it counts them."""
    if sys.version_info >= (3, 12):
        return []
    return [f"  %held_{symbol} = load i64, ptr @{symbol}", f"  %more_{symbol} = add i64 %held_{symbol}, 1",
            f"  store i64 %more_{symbol}, ptr @{symbol}"]


def _checks(k: int, a: Array) -> list[str]:
    """Leave for `wrong` unless argument k is such an array; %data<k> is its memory."""
    lines = [f"array{k}:", f"  %slot{k} = getelementptr ptr, ptr %args, i64 {k}", f"  %o{k} = load ptr, ptr %slot{k}"]
    count = 0

    def read(kind: str, base: str, offset: int) -> str:
        nonlocal count
        count += 1
        lines.append(f"  %p{k}_{count} = getelementptr i8, ptr {base}, i64 {offset}")
        lines.append(f"  %v{k}_{count} = load {kind}, ptr %p{k}_{count}")
        return f"%v{k}_{count}"

    def demand(condition: str) -> None:
        nonlocal count
        count += 1
        lines.append(f"  %c{k}_{count} = {condition}")
        lines.append(f"  br i1 %c{k}_{count}, label %ok{k}_{count}, label %wrong")
        lines.append(f"ok{k}_{count}:")

    demand(f"icmp eq ptr {read('ptr', f'%o{k}', TYPE)}, @symhess_array_type")
    demand(f"icmp eq i32 {read('i32', f'%o{k}', RANK)}, {len(a.shape)}")
    needed = WRITEABLE if a.written else READABLE
    flags = read("i32", f"%o{k}", FLAGS)
    lines.append(f"  %f{k} = and i32 {flags}, {needed}")
    demand(f"icmp eq i32 %f{k}, {needed}")
    dtype = read("ptr", f"%o{k}", DTYPE)
    demand(f"icmp eq i8 {read('i8', dtype, KIND)}, {ord(a.dtype.kind)}")
    demand(f"icmp eq i64 {read('i64', dtype, SIZE)}, {a.dtype.itemsize}")
    demand(f"icmp eq i8 {read('i8', dtype, ORDER)}, {ord(a.dtype.byteorder)}")
    if a.shape:
        extents = read("ptr", f"%o{k}", EXTENTS)
        for axis, n in enumerate(a.shape):
            demand(f"icmp eq i64 {read('i64', extents, WORD * axis)}, {n}")
    data = read("ptr", f"%o{k}", DATA)
    lines += [f"  %data{k} = getelementptr i8, ptr {data}, i64 0", f"  br label %array{k + 1}"]
    return lines


def builtin(address: int, owner: Any) -> Callable[..., Any]:
    """A Python function that runs machine code; it keeps the owner of the code."""
    method = _Method(b"kernel", address, METH_FASTCALL, b"A compiled kernel: called with arrays, it fills the outputs.")
    owner.kept.append(method)
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
