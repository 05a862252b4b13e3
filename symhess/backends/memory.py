"""Typed memory for generated kernels: bare pointers that LLVM knows not to overlap.

    m = memory(array, k, n)       the data of a contiguous array, alias class k of n
    get(m, i), put(m, i, v)       one element
    view(m, shape)                a contiguous array over the same memory, for library calls

Two memories of different alias classes never overlap, so loops over many arrays vectorise without run-time checks,
and pointers carry no reference counts; the owner has to outlive them (`keep`).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing import signature
from numba.extending import intrinsic, register_model
from numba.np import arrayobj

from symhess.plan.storage import ALIGNMENT

#: Linux's number for the advice, and its smallest pages
MADV_HUGEPAGE, PAGE = 14, 4096


class Memory(types.Type):
    """A pointer to elements of one dtype, in one of several alias classes."""

    def __init__(self, dtype: types.Type, alias: int, classes: int):
        self.dtype, self.alias, self.classes = dtype, alias, classes
        super().__init__(name=f"Memory({dtype}, {alias}, {classes})")


register_model(Memory)(models.PointerModel)


def _literals(*args: Any) -> bool:
    return all(isinstance(a, types.IntegerLiteral) for a in args)


@intrinsic
def memory(typing_context, array, alias, classes):
    """The data of a C-contiguous array."""
    if not _literals(alias, classes):
        return None

    def codegen(context, builder, sig, args):
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return signature(Memory(array.dtype, alias.literal_value, classes.literal_value), array, alias, classes), codegen


@intrinsic
def part(typing_context, array, offset, kind, alias, classes):
    """The memory that begins `offset` bytes after the first aligned one of an array of bytes, as elements of `kind`."""
    if not _literals(alias, classes):
        return None
    result = Memory(kind.dtype, alias.literal_value, classes.literal_value)

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        word = args[1].type
        gap = builder.and_(builder.neg(builder.ptrtoint(data, word)), word(ALIGNMENT - 1))
        return builder.bitcast(builder.gep(data, [builder.add(gap, args[1])]), context.get_value_type(result))

    return signature(result, array, types.intp, kind, alias, classes), codegen


@intrinsic
def linked(typing_context, name, kind, alias, classes):
    """The memory that the linker knows under a literal name, as elements of the type `kind`."""
    if not isinstance(name, types.StringLiteral) or not _literals(alias, classes):
        return None
    result, text = Memory(kind.dtype, alias.literal_value, classes.literal_value), name.literal_value

    def codegen(context, builder, sig, args):
        found = builder.module.globals.get(text)
        if found is None:
            found = ir.GlobalVariable(builder.module, ir.IntType(8), text)
            found.linkage = "external"
        return builder.bitcast(found, context.get_value_type(result))

    return signature(result, name, kind, alias, classes), codegen


@intrinsic
def at(typing_context, m, position):
    """The memory from element m[position] on."""
    if not isinstance(m, Memory):
        return None
    return signature(m, m, types.intp), lambda context, builder, sig, args: builder.gep(*args[:1], [args[1]])


@intrinsic
def copy(typing_context, m, source, count):
    """The first `count` elements of m become those of the source, of the same type."""
    if not isinstance(m, Memory) or not isinstance(source, Memory):
        return None

    def codegen(context, builder, sig, args):
        cgutils.raw_memcpy(builder, args[0], args[1], args[2], context.get_abi_sizeof(args[0].type.pointee))
        return context.get_dummy_value()

    return signature(types.none, m, source, types.intp), codegen


@intrinsic
def huge_pages(typing_context, array):
    """Ask for huge pages: the system clears a large array when it is first touched, 4 kB at a time is slow."""

    def codegen(context, builder, sig, args):
        made = context.make_array(sig.args[0])(context, builder, args[0])
        word = made.nitems.type
        start = builder.ptrtoint(made.data, word)
        gap = builder.and_(builder.neg(start), word(PAGE - 1))
        kind = ir.FunctionType(ir.IntType(32), [word, word, ir.IntType(32)])
        advise = cgutils.get_or_insert_function(builder.module, kind, "madvise")
        builder.call(advise, [builder.add(start, gap), builder.sub(made.nitems, gap), ir.IntType(32)(MADV_HUGEPAGE)])
        return context.get_dummy_value()

    return signature(types.none, array), codegen


@intrinsic
def keep(typing_context, array):
    """Nothing: its use keeps an array alive up to here."""
    return signature(types.none, array), lambda context, builder, sig, args: context.get_dummy_value()


def _scopes(module: ir.Module, m: Memory) -> tuple[Any, Any]:
    """LLVM's alias scope of a memory, and the scopes of all the others."""
    cache = module.__dict__.setdefault("symhess_scopes", {})
    if m.classes not in cache:
        domain = module.add_metadata([ir.MetaDataString(module, f"symhess {m.classes}")])
        own = [module.add_metadata([ir.MetaDataString(module, f"class {k}"), domain]) for k in range(m.classes)]
        cache[m.classes] = (own, {})
    own, lists = cache[m.classes]
    if m.alias not in lists:
        others = [s for k, s in enumerate(own) if k != m.alias]
        lists[m.alias] = (module.add_metadata([own[m.alias]]), module.add_metadata(others))
    return lists[m.alias]


def _marked(builder, m: Memory, access):
    """Tell LLVM what a load or store may overlap."""
    scope, others = _scopes(builder.module, m)
    access.set_metadata("alias.scope", scope)
    access.set_metadata("noalias", others)


@intrinsic
def get(typing_context, m, position):
    """m[position]"""
    if not isinstance(m, Memory):
        return None

    def codegen(context, builder, sig, args):
        pointer, i = args
        loaded = builder.load(builder.gep(pointer, [i], inbounds=True))
        _marked(builder, m, loaded)
        return context.data_model_manager[m.dtype].from_data(builder, loaded)

    return signature(m.dtype, m, types.intp), codegen


@intrinsic
def put(typing_context, m, position, value):
    """m[position] = value"""
    if not isinstance(m, Memory):
        return None

    def codegen(context, builder, sig, args):
        pointer, i, v = args
        data = context.data_model_manager[m.dtype].as_data(builder, v)
        stored = builder.store(data, builder.gep(pointer, [i], inbounds=True))
        _marked(builder, m, stored)
        return context.get_dummy_value()

    return signature(types.none, m, types.intp, m.dtype), codegen


@intrinsic
def fill(typing_context, m, count, value):
    """The first `count` elements become `value`."""
    if not isinstance(m, Memory):
        return None

    def codegen(context, builder, sig, args):
        pointer, n, v = args
        data = context.data_model_manager[m.dtype].as_data(builder, v)
        with cgutils.for_range(builder, n) as loop:
            _marked(builder, m, builder.store(data, builder.gep(pointer, [loop.index], inbounds=True)))
        return context.get_dummy_value()

    return signature(types.none, m, types.intp, m.dtype), codegen


@intrinsic
def view(typing_context, m, shape):
    """A C-contiguous array over the memory."""
    if not isinstance(m, Memory):
        return None
    result = types.Array(m.dtype, len(shape), "C")

    def codegen(context, builder, sig, args):
        out = context.make_array(result)(context, builder)
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(m.dtype)))
        sizes = [context.cast(builder, s, t, types.intp)
                 for s, t in zip(cgutils.unpack_tuple(builder, args[1]), sig.args[1])]
        strides, step = [], itemsize
        for s in reversed(sizes):
            strides.insert(0, step)
            step = builder.mul(step, s)
        arrayobj.populate_array(out, data=args[0], shape=sizes, strides=strides, itemsize=itemsize, meminfo=None)
        return out._getvalue()

    return signature(result, m, shape), codegen


@intrinsic
def run_block(typing_context, name, arrays, out, workspace):
    """Call a straight-line kernel that the linker knows: void f(arrays, out, workspace)."""
    if not isinstance(name, types.StringLiteral):
        return None

    def codegen(context, builder, sig, args):
        pointers = cgutils.unpack_tuple(builder, args[1])
        table = cgutils.alloca_once(builder, cgutils.voidptr_t, size=max(len(pointers), 1))
        for k, p in enumerate(pointers):
            builder.store(builder.bitcast(p, cgutils.voidptr_t), cgutils.gep_inbounds(builder, table, k))
        call = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t] * 3)
        function = cgutils.get_or_insert_function(builder.module, call, name.literal_value)
        builder.call(function, [builder.bitcast(p, cgutils.voidptr_t) for p in (table, args[2], args[3])])
        return context.get_dummy_value()

    return signature(types.none, name, arrays, out, workspace), codegen


@intrinsic
def steps(typing_context, n):
    """n, unknown to LLVM: it unrolls loops of a known short length completely, which costs compile time."""

    def codegen(context, builder, sig, args):
        word = args[0].type
        same = ir.InlineAsm(ir.FunctionType(word, [word]), "", "=r,0", side_effect=False)
        return builder.call(same, [args[0]])

    return signature(types.intp, types.intp), codegen


@intrinsic
def one_by_one(typing_context):
    """Nothing, but LLVM does not vectorise a loop with it."""

    def codegen(context, builder, sig, args):
        builder.call(ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "", side_effect=True), [])
        return context.get_dummy_value()

    return signature(types.none), codegen


NAMES = {"memory": memory, "part": part, "linked": linked, "keep": keep, "at": at, "copy": copy,
         "get": get, "put": put, "fill": fill,
         "view": view, "run_block": run_block, "steps": steps,
         "one_by_one": one_by_one, "huge_pages": huge_pages}
