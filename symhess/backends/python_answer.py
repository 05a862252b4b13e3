"""Calls from Python to a kernel and back without a frame of Python's: results are made in machine code, too.

    answer(*arguments, out=None)     checks the arguments, makes the arrays of the result, and runs the kernel

An answer is made for arguments of certain shapes, dtypes and fixed values, and a guard may have to hold; any other call
goes on to `otherwise`, with the arguments as they came. It reads array objects as `python_entry` does, and calls C
functions of Python's and NumPy's (`c_functions`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from symhess.backends.c_functions import available, functions
from symhess.backends.machine_code import compiled, loaded
from symhess.backends.python_entry import (
    DATA,
    TYPE,
    WORD,
    WRITEABLE_FLAG,
    Array,
    Text,
    built_in,
    expect_array,
    expect_type,
)

#: arguments and arrays of a result that machine code is printed for
MOST = 32
#: the beginning of the names of C functions for containers
CONTAINERS: dict[type, str] = {tuple: "PyTuple", list: "PyList", dict: "PyDict"}
_EQUAL = 2
METH_FASTCALL_KEYWORDS = 0x82
_DECLARATIONS = """declare i32 @memcmp(ptr, ptr, i64)
@symhess_array_type = external global i8"""


class Number(NamedTuple):
    """A number of a Python or NumPy type, which the kernel takes as an array of rank 0."""

    kind: type
    dtype: np.dtype


class Taken(NamedTuple):
    """An argument that the kernel takes, and the place among its inputs."""

    place: int
    what: Array | Number


class Fixed(NamedTuple):
    """An argument that is not handed to the kernel: an array of this content, this number, string, bool or None, or a
    tuple or list of such but arrays."""

    value: Any


class Group(NamedTuple):
    """A tuple, list or dict: what it holds by position or key (a string)."""

    kind: type
    items: tuple[tuple[Any, Any], ...]


class View(NamedTuple):
    """A part of a buffer: strides and offset in bytes."""

    buffer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


class Buffer(NamedTuple):
    """What the kernel fills: an array of this shape, or one number."""

    shape: tuple[int, ...]
    dtype: np.dtype
    number: bool = False


class Holder(NamedTuple):
    """An object whose attribute `data` is the array to fill: of this type, and with these objects as attributes."""

    kind: type
    has: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Call:
    """What an answer does, for arguments of which the last ones have `names`.

    `arguments` are groups of what is taken and what is fixed, `result` of numbers, which stand for buffers, and of
    views of them. `finish` makes something else of the buffers; `guard` and `count` are the addresses of a kernel of
    the first `guarded` inputs that says whether they take the path, and of a count of the calls that did (0 where there
    is none). A result that `finish` makes of one buffer can be given by the caller where `holder` says what it is.
    """

    arguments: Sequence[Taken | Fixed | Group]
    buffers: Sequence[Buffer]
    result: Any
    kernel: int
    names: tuple[str, ...] = ()
    releases: bool = False
    finish: Callable[..., Any] | None = None
    guard: int = 0
    guarded: int = 0
    count: int = 0
    holder: Holder | None = None


def answer(call: Call, otherwise: Callable[..., Any], kept: tuple[Any, ...]) -> Callable[..., Any] | None:
    """The built-in function; it keeps `kept`. None where there is too much for it."""
    if not available():
        return None
    made = _Answer(call)
    text = made.text()
    if len(made.pointers) + len(call.buffers) > MOST:
        return None
    code = loaded(compiled(text, 0, False))
    needed = [code, kept, made.objects]
    return built_in(code.address("answer"), METH_FASTCALL_KEYWORDS, (otherwise, call.finish, needed), needed,
                    b"What a compiled function returns for arguments that it has seen the like of.")


def _at(address: int) -> str:
    return f"inttoptr (i64 {address} to ptr)"


def _dtype(dtype: np.dtype) -> str:
    """The object that NumPy has for all arrays of a dtype, which lives as long as NumPy."""
    return _at(id(np.dtype(dtype.type)))


def _alike() -> str:
    """A function in LLVM IR: True if objects have equal types and content, also of what tuples and lists hold.

    The kept one has copies of lists, so what is the same object has not changed.
    """
    c = {name: _at(address) for name, address in functions().items()}
    walks = [f"""{kind}:
  %{kind}n = call i64 {c[api + '_Size']}(ptr %given)
  %{kind}m = call i64 {c[api + '_Size']}(ptr %kept)
  %{kind}fits = icmp eq i64 %{kind}n, %{kind}m
  br i1 %{kind}fits, label %{kind}next, label %no
{kind}next:
  %{kind}k = phi i64 [ 0, %{kind} ], [ %{kind}more, %{kind}step ]
  %{kind}done = icmp eq i64 %{kind}k, %{kind}n
  br i1 %{kind}done, label %yes, label %{kind}item
{kind}item:
  %{kind}a = call ptr {c[api + '_GetItem']}(ptr %given, i64 %{kind}k)
  %{kind}b = call ptr {c[api + '_GetItem']}(ptr %kept, i64 %{kind}k)
  %{kind}same = icmp eq ptr %{kind}a, %{kind}b
  br i1 %{kind}same, label %{kind}step, label %{kind}look
{kind}look:
  %{kind}holds = call i1 @alike(ptr %{kind}a, ptr %{kind}b)
  br i1 %{kind}holds, label %{kind}step, label %no
{kind}step:
  %{kind}more = add i64 %{kind}k, 1
  br label %{kind}next
""" for kind, api in (("tuple", "PyTuple"), ("list", "PyList"))]
    return f"""define internal i1 @alike(ptr %given, ptr %kept) nounwind {{
  %same = icmp eq ptr %given, %kept
  br i1 %same, label %yes, label %types
types:
  %at = getelementptr i8, ptr %given, i64 {TYPE}
  %keptat = getelementptr i8, ptr %kept, i64 {TYPE}
  %type = load i64, ptr %at
  %kepttype = load i64, ptr %keptat
  %one = icmp eq i64 %type, %kepttype
  br i1 %one, label %kinds, label %no
kinds:
  switch i64 %type, label %no [ i64 {id(tuple)}, label %tuple i64 {id(list)}, label %list
    i64 {id(float)}, label %float i64 {id(int)}, label %plain i64 {id(str)}, label %plain ]
{"".join(walks)}float:
  ; bit by bit: 0.0 == -0.0, and NaN is not itself
  %x = call double {c['PyFloat_AsDouble']}(ptr %given)
  %y = call double {c['PyFloat_AsDouble']}(ptr %kept)
  %xbits = bitcast double %x to i64
  %ybits = bitcast double %y to i64
  %close = icmp eq i64 %xbits, %ybits
  ret i1 %close
plain:
  %status = call i32 {c['PyObject_RichCompareBool']}(ptr %given, ptr %kept, i32 {_EQUAL})
  %equal = icmp eq i32 %status, 1
  ret i1 %equal
yes:
  ret i1 true
no:
  ret i1 false
}}"""


class _Answer(Text):
    """The function of one call in LLVM IR.

    What it owns lies in `held`, a slot for each object; `failed` gives all of it back.
    """

    def __init__(self, call: Call):
        super().__init__()
        self.call = call
        self.globals: list[str] = []
        #: functions that are called, by name
        self.helpers: dict[str, str] = {}
        #: what the code refers to by address
        self.objects: list[Any] = []
        #: memory and bytes of the arrays that the kernel takes, by their places; memory of each buffer of a new result
        self.pointers: dict[int, tuple[str, int]] = {}
        self.data: list[str] = []
        #: objects of lists and dicts, which another thread may let go
        self.borrowed: list[str] = []
        self.held: list[str] = []
        #: one bare array, or what holds it, can be given by the caller
        self.into = len(call.buffers) == 1 and (call.holder is not None or (call.finish is None and call.result == 0))
        self.slots = 0
        #: the slots of the buffers
        self.owners: list[str] = []

    # -- pieces ----------------------------------------------------------------------------------------------------

    def api(self, kind: str, name: str, *arguments: str) -> str:
        """Call a C function."""
        types = ", ".join(a.split()[0] for a in arguments)
        text = f"call {kind} ({types}) {_at(functions()[name])}({', '.join(arguments)})"
        if kind == "void":
            self.lines.append(f"  {text}")
            return ""
        return self.emit(text)

    def table(self, numbers: Sequence[int]) -> str:
        """Constants in memory."""
        name = f"@table{len(self.globals)}"
        content = ", ".join(f"i64 {n}" for n in numbers) or "i64 0"
        self.globals.append(f"{name} = private constant [{max(len(numbers), 1)} x i64] [{content}]")
        return name

    def address(self, thing: Any) -> str:
        """Where an object lies, which the function keeps."""
        self.objects.append(thing)
        return _at(id(thing))

    def hold(self, made: str) -> str:
        """A slot that owns an object; NULL, an error, fails."""
        slot = f"%held{self.slots}"
        self.slots += 1
        self.lines.append(f"  store ptr {made}, ptr {slot}")
        self.demand(f"icmp ne ptr {made}, null", "failed")
        return slot

    def moved(self, slot: str) -> str:
        """The object of a slot, which owns it no longer."""
        value = self.emit(f"load ptr, ptr {slot}")
        self.lines.append(f"  store ptr null, ptr {slot}")
        return value

    def new_array(self, shape: Sequence[int], dtype: np.dtype, strides: Sequence[int] | None = None,
                  data: str = "null") -> str:
        """A new array, or a view of memory."""
        self.api("void", "Py_IncRef", f"ptr {_dtype(dtype)}")  # which the next call takes
        return self.api("ptr", "PyArray_NewFromDescr", f"ptr {_at(id(np.ndarray))}", f"ptr {_dtype(dtype)}",
                        f"i32 {len(shape)}", f"ptr {self.table(shape)}",
                        f"ptr {'null' if strides is None else self.table(strides)}", f"ptr {data}",
                        f"i32 {0 if strides is None else WRITEABLE_FLAG}", "ptr null")

    # -- the function ----------------------------------------------------------------------------------------------

    def text(self) -> str:
        """The module."""
        call = self.call
        self._keywords()
        for k, a in enumerate(call.arguments):
            self._argument(self.emit(f"load ptr, ptr {self.emit(f'getelementptr ptr, ptr %args, i64 {k}')}"), a, False)
        inputs = [self.pointers[k][0] for k in sorted(self.pointers)]
        self.held = [self._borrow(given) for given in self.borrowed] if call.releases else []
        if call.guard:
            self._guard(inputs[:call.guarded])
        outputs = self._buffers()
        status = self._run(call.kernel, [*inputs, *outputs])
        for slot in self.held:
            self.api("void", "Py_DecRef", f"ptr {self.moved(slot)}")
        self.demand(f"icmp eq i32 {status}, 0", "memory")
        if call.count:
            more = self.emit(f"add i64 {self.emit(f'load i64, ptr {_at(call.count)}')}, 1")
            self.lines.append(f"  store i64 {more}, ptr {_at(call.count)}")
        if self.into:
            self.lines.append("  br i1 %absent, label %fresh, label %given")
            self.block("given")
            self.api("void", "Py_IncRef", "ptr %out")
            self.lines.append("  ret ptr %out")
            self.block("fresh")
        self._result()
        self._other_ends()
        head = "define ptr @answer(ptr %self, ptr %args, i64 %count, ptr %names) nounwind {\nentry:"
        slots = [f"  %held{k} = alloca ptr\n  store ptr null, ptr %held{k}" for k in range(self.slots)]
        return "\n".join([_DECLARATIONS, *self.globals, *self.helpers.values(), head, *self.allocas, *slots,
                          "  br label %start", *self.lines, "}"]) + "\n"

    def _keywords(self) -> None:
        """`%out` is what the caller gave to receive the result, `%absent` says that there is nothing."""
        self.block("start")
        names = self.call.names
        count = len(self.call.arguments)
        self.demand(f"icmp eq i64 %count, {count - len(names)}", "wrong")
        if names:
            self.demand("icmp ne ptr %names, null", "wrong")
            size = self.api("i64", "PyTuple_Size", "ptr %names")
            alone = self.emit(f"icmp eq i64 {size}, {len(names)}")
        else:
            alone = self.emit("icmp eq ptr %names, null")
        if self.into:
            self._given_out(alone, count)
        else:
            self.demand(f"icmp eq i1 {alone}, true", "wrong")
        for k, name in enumerate(names):
            self._name(k, name)

    def _given_out(self, alone: str, count: int) -> None:
        before, place = self.current, len(self.call.names)
        self.lines.append(f"  br i1 {alone}, label %known, label %named")
        self.block("named")
        self.demand(f"icmp eq i64 {self.api('i64', 'PyTuple_Size', 'ptr %names')}, {place + 1}", "wrong")
        self._name(place, "out")
        given = self.emit(f"load ptr, ptr {self.emit(f'getelementptr ptr, ptr %args, i64 {count}')}")
        nothing = self.emit(f"icmp eq ptr {given}, {_at(id(None))}")
        chosen = self.emit(f"select i1 {nothing}, ptr null, ptr {given}")
        after = self.current
        self.lines.append("  br label %known")
        self.block("known")
        self.lines.append(f"  %out = phi ptr [ null, %{before} ], [ {chosen}, %{after} ]")
        self.lines.append("  %absent = icmp eq ptr %out, null")

    def _name(self, k: int, name: str) -> None:
        """Leave for `wrong` unless a keyword has this name; names in source are interned."""
        given = self.api("ptr", "PyTuple_GetItem", "ptr %names", f"i64 {k}")
        self.demand(f"icmp eq ptr {given}, {self.address(sys.intern(name))}", "wrong")

    def _argument(self, given: str, a: Taken | Fixed | Group, inside: bool) -> None:
        """Leave for `wrong` unless an object is as expected; `inside` a list or dict nobody else may hold it."""
        if isinstance(a, Group):
            self._group(given, a, inside)
        elif isinstance(a, Fixed):
            self._fixed(given, a.value)
        elif isinstance(a.what, Array):
            data = expect_array(self, given, a.what)
            self.pointers[a.place] = (data, a.what.dtype.itemsize * math.prod(a.what.shape))
            if inside:
                self.borrowed.append(given)
        else:
            self.pointers[a.place] = (self._number(given, a.what), a.what.dtype.itemsize)

    def _group(self, given: str, group: Group, inside: bool) -> None:
        expect_type(self, given, group.kind)
        name = CONTAINERS[group.kind]
        size = self.api("i64", f"{name}_Size", f"ptr {given}")
        self.demand(f"icmp eq i64 {size}, {len(group.items)}", "wrong")
        held = self._held(given, group) if group.kind is dict else (
            self.api("ptr", f"{name}_GetItem", f"ptr {given}", f"i64 {k}") for k, _ in group.items)
        for found, (_, item) in zip(held, group.items):
            self._argument(found, item, inside or group.kind is not tuple)

    def _held(self, given: str, group: Group) -> Iterator[str]:
        """What a dict holds, while it has the keys of the group in their order, which a function may go by."""
        place, key, value = (self.memory(8) for _ in range(3))
        self.lines.append(f"  store i64 0, ptr {place}")
        for wanted, _ in group.items:
            more = self.api("i32", "PyDict_Next", *(f"ptr {p}" for p in (given, place, key, value)))
            self.demand(f"icmp ne i32 {more}, 0", "wrong")
            name = self.emit(f"load ptr, ptr {key}")
            expect_type(self, name, str)
            differs = self.api("i32", "PyUnicode_Compare", f"ptr {name}", f"ptr {self.address(wanted)}")
            self.demand(f"icmp eq i32 {differs}, 0", "wrong")
            yield self.emit(f"load ptr, ptr {value}")

    def _number(self, given: str, number: Number) -> str:
        """A number in memory, in its dtype."""
        expect_type(self, given, number.kind)
        target = {"f4": "float", "f8": "double", "i8": "i64"}[number.dtype.str[1:]]
        if issubclass(number.kind, int | np.integer):
            overflow = self.memory(4)
            value = self.api("i64", "PyLong_AsLongLongAndOverflow", f"ptr {given}", f"ptr {overflow}")
            self.demand(f"icmp eq i32 {self.emit(f'load i32, ptr {overflow}')}, 0", "wrong")
            value = value if target == "i64" else self.emit(f"sitofp i64 {value} to {target}")
        else:
            value = self.api("double", "PyFloat_AsDouble", f"ptr {given}")
            value = value if target == "double" else self.emit(f"fptrunc double {value} to {target}")
        slot = self.memory(8)
        self.lines.append(f"  store {target} {value}, ptr {slot}")
        return slot

    def _fixed(self, given: str, value: Any) -> None:
        if isinstance(value, np.ndarray):
            self.objects.append(value)
            data = expect_array(self, given, Array(value.shape, value.dtype, False))
            differs = self.emit(f"call i32 @memcmp(ptr {data}, ptr {_at(value.ctypes.data)}, i64 {value.nbytes})")
            self.demand(f"icmp eq i32 {differs}, 0", "wrong")
        else:
            if "alike" not in self.helpers:
                self.helpers["alike"] = _alike()
            self.demand(f"call i1 @alike(ptr {given}, ptr {self.address(value)})", "wrong")

    def _borrow(self, given: str) -> str:
        """A slot that owns an object from now on."""
        self.api("void", "Py_IncRef", f"ptr {given}")
        return self.hold(given)

    def _guard(self, inputs: Sequence[str]) -> None:
        """Leave for `wrong` where the path is not for these values."""
        holds = self.memory(8)
        status = self._run(self.call.guard, [*inputs, holds])
        self.demand(f"icmp eq i32 {status}, 0", "memory")
        self.demand(f"icmp ne i8 {self.emit(f'load i8, ptr {holds}')}, 0", "wrong")

    def _run(self, kernel: int, pointers: Sequence[str]) -> str:
        """The status of a kernel."""
        thread = ""
        if self.call.releases:
            thread = self.api("ptr", "PyEval_SaveThread")
        given = ", ".join(f"ptr {p}" for p in pointers)
        status = self.emit(f"call i32 ({', '.join(['ptr'] * len(pointers))}) {_at(kernel)}({given})")
        if self.call.releases:
            self.api("void", "PyEval_RestoreThread", f"ptr {thread}")
        return status

    def _buffers(self) -> list[str]:
        """Memory for the kernel to fill: of new arrays, or of the one that was given."""
        if not self.into:
            self.data = [self._buffer(b) for b in self.call.buffers]
            return self.data
        (buffer,) = self.call.buffers
        self.lines.append("  br i1 %absent, label %make, label %take")
        self.block("take")
        data = expect_array(self, self._filled(), Array(buffer.shape, buffer.dtype, True))
        end = self.emit(f"getelementptr i8, ptr {data}, i64 {buffer.dtype.itemsize * math.prod(buffer.shape)}")
        for pointer, size in self.pointers.values():
            below = self.emit(f"icmp ule ptr {end}, {pointer}")
            above = self.emit(f"icmp ule ptr {self.emit(f'getelementptr i8, ptr {pointer}, i64 {size}')}, {data}")
            self.demand(f"or i1 {below}, {above}", "wrong")
        taken = self.current
        self.lines.append("  br label %run")
        self.block("make")
        self.data = [self._buffer(buffer)]
        after = self.current
        self.lines.append("  br label %run")
        self.block("run")
        return [self.emit(f"phi ptr [ {data}, %{taken} ], [ {self.data[0]}, %{after} ]")]

    def _filled(self) -> str:
        """The array to fill in what the caller gave; it stays alive until the kernel is done."""
        holder = self.call.holder
        if holder is None:
            return "%out"
        expect_type(self, "%out", holder.kind)
        for name, expected in holder.has:
            self.demand(f"icmp eq ptr {self._attribute(name)}, {self.address(expected)}", "wrong")
        return self._attribute("data")

    def _attribute(self, name: str) -> str:
        """An attribute of what the caller gave, held for as long as the call takes."""
        found = self.api("ptr", "PyObject_GetAttr", "ptr %out", f"ptr {self.address(sys.intern(name))}")
        self.held.append(self.hold(found))
        return found

    def _buffer(self, b: Buffer) -> str:
        """Memory for a buffer, whose array has a slot in `owners`."""
        if b.number:
            self.owners.append("")
            return self.memory(b.dtype.itemsize)
        self.owners.append(self.hold(self.new_array(b.shape, b.dtype)))
        return self.read("ptr", self.emit(f"load ptr, ptr {self.owners[-1]}"), DATA)

    def _result(self) -> None:
        """Return what the buffers make."""
        call = self.call
        if call.finish is None:
            self.lines.append(f"  %result = getelementptr i8, ptr {self._tree(call.result)}, i64 0")
        else:
            given = self.memory(WORD * len(call.buffers))
            for k in range(len(call.buffers)):
                place = self.emit(f"getelementptr ptr, ptr {given}, i64 {k}")
                self.lines.append(f"  store ptr {self.emit(f'load ptr, ptr {self.owners[k]}')}, ptr {place}")
            finish = self.api("ptr", "PyTuple_GetItem", "ptr %self", "i64 1")
            made = self.api("ptr", "PyObject_Vectorcall", f"ptr {finish}", f"ptr {given}", f"i64 {len(call.buffers)}",
                            "ptr null")
            self.lines.append(f"  %result = getelementptr i8, ptr {made}, i64 0")
        for owner in filter(None, self.owners):
            self.api("void", "Py_DecRef", f"ptr {self.emit(f'load ptr, ptr {owner}')}")
        self.lines.append("  ret ptr %result")

    def _tree(self, tree: Any) -> str:
        """A new reference to an array, a number, None, or a container of such."""
        if isinstance(tree, Fixed):
            constant = self.address(tree.value)
            self.api("void", "Py_IncRef", f"ptr {constant}")
            return constant
        if isinstance(tree, int):
            b = self.call.buffers[tree]
            if b.number:
                made = self.api("ptr", "PyArray_Scalar", f"ptr {self.data[tree]}", f"ptr {_dtype(b.dtype)}", "ptr null")
                return self.moved(self.hold(made))
            return self.moved(self.owners[tree])
        if isinstance(tree, View):
            owner = self.emit(f"load ptr, ptr {self.owners[tree.buffer]}")
            start = self.emit(f"getelementptr i8, ptr {self.read('ptr', owner, DATA)}, i64 {tree.offset}")
            slot = self.hold(self.new_array(tree.shape, self.call.buffers[tree.buffer].dtype, tree.strides, start))
            self.api("void", "Py_IncRef", f"ptr {owner}")
            made = self.emit(f"load ptr, ptr {slot}")
            done = self.api("i32", "PyArray_SetBaseObject", f"ptr {made}", f"ptr {owner}")
            self.demand(f"icmp eq i32 {done}, 0", "failed")
            return self.moved(slot)
        name = CONTAINERS[tree.kind]
        slot = self.hold(self.api("ptr", f"{name}_New", *([] if tree.kind is dict else [f"i64 {len(tree.items)}"])))
        for key, item in tree.items:
            part = self._tree(item)
            whole = self.emit(f"load ptr, ptr {slot}")
            if tree.kind is not dict:
                self.api("i32", f"{name}_SetItem", f"ptr {whole}", f"i64 {key}", f"ptr {part}")  # which takes the part
                continue
            kept = self.hold(part)
            done = self.api("i32", "PyDict_SetItem", f"ptr {whole}", f"ptr {self.address(key)}", f"ptr {part}")
            self.demand(f"icmp eq i32 {done}, 0", "failed")
            self.api("void", "Py_DecRef", f"ptr {self.moved(kept)}")
        return self.moved(slot)

    def _other_ends(self) -> None:
        self.block("memory")
        self.api("ptr", "PyErr_NoMemory")
        self.lines.append("  br label %failed")
        self.block("failed")
        for k in range(self.slots):
            self.api("void", "Py_DecRef", f"ptr {self.emit(f'load ptr, ptr %held{k}')}")
        self.lines.append("  ret ptr null")
        self.block("wrong")
        for slot in self.held:
            self.api("void", "Py_DecRef", f"ptr {self.emit(f'load ptr, ptr {slot}')}")
        otherwise = self.api("ptr", "PyTuple_GetItem", "ptr %self", "i64 0")
        went = self.emit(f"musttail call ptr (ptr, ptr, i64, ptr) {_at(functions()['PyObject_Vectorcall'])}"
                         f"(ptr {otherwise}, ptr %args, i64 %count, ptr %names)")
        self.lines.append(f"  ret ptr {went}")
