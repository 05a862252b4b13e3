"""A compiler for a small part of Python: generated kernels, and the functions that they call, to LLVM IR text.

The part: numbers, memory and contiguous arrays; assignments, loops over `range`, `while`, `if`, `return`; arithmetic,
comparisons, indexing, and calls of what `restricted_calls` knows or of functions that are themselves in the part. Each
variable has one type. What is outside raises `Unsupported`, and Numba compiles the function instead.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import textwrap
import types
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from symhess.backends.disk_cache import digest_of
from symhess.backends.instructions import Instructions, llvm_type
from symhess.backends.values import (
    ELEMENT,
    NOTHING,
    Items,
    Memory,
    Number,
    Static,
    Unsupported,
    Value,
    View,
    as_constant,
    boolean,
    integer,
)

_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
              ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^"}
_RELATIONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


@dataclass
class Module:
    """Functions and declarations of one module, each once."""

    flags: str = ""
    declared: dict[str, str] = field(default_factory=dict)
    functions: dict[Any, tuple[str, Value]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    definitions: dict[str, str] = field(default_factory=dict)
    #: bitcode of functions that Numba compiled, by the symbol of each
    linked: dict[str, bytes] = field(default_factory=dict)

    def text(self) -> str:
        """The module; what is defined is not declared."""
        declared = [text for symbol, text in self.declared.items() if symbol not in self.definitions]
        return "\n".join([*declared, *self.definitions.values(), *self.texts])


@dataclass
class Variable:
    """Where a variable lives, an array with one slot more per axis."""

    slot: str
    like: Number | Memory | View
    extents: tuple[str, ...] = ()


class Compiler:
    """Compiles the statements of one function."""

    def __init__(self, module: Module, names: Callable[[str], Any], keeps: frozenset[str] = frozenset(),
                 fixed: frozenset[str] = frozenset()):
        self.module, self.names = module, names
        #: variables that are assigned once: a constant stays one
        self.fixed = fixed
        #: in kernels whose arrays grow: their names. Such a kernel says itself when memory is given back
        self.keeps = keeps
        self.code = Instructions(module.declared, module.flags)
        self.variables: dict[str, Variable | Value] = {}
        self.loops: list[tuple[str, str]] = []
        self.result: Value | None = None
        self.result_slot = ""
        self.leave = self.code.label()
        self.owned: list[str] = []

    # -- statements --------------------------------------------------------------------------------------------------

    def block(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            if self.code.closed:
                return
            self.statement(statement)

    def statement(self, s: ast.stmt) -> None:
        method = getattr(self, f"on_{type(s).__name__.lower()}", None)
        if method is None:
            raise Unsupported(ast.unparse(s))
        method(s)

    def on_expr(self, s: ast.Expr) -> None:
        if not isinstance(s.value, ast.Constant):
            self.value(s.value)

    def on_pass(self, s: ast.Pass) -> None:
        """Nothing."""

    def on_assign(self, s: ast.Assign) -> None:
        (target,) = s.targets
        self.assign(target, self.value(s.value))

    def on_augassign(self, s: ast.AugAssign) -> None:
        old = self.value(s.target)
        self.assign(s.target, self.binary(s.op, old, self.value(s.value)))

    def assign(self, target: ast.expr, value: Value) -> None:
        """Give a name, an element, or each of several targets its value."""
        if isinstance(target, ast.Tuple):
            for t, v in zip(target.elts, items_of(value), strict=True):
                self.assign(t, v)
        elif isinstance(target, ast.Subscript):
            self.put(target, value)
        elif isinstance(value, Number) and value.constant is not None and target.id in self.fixed:
            self.variables[target.id] = value
        elif isinstance(value, (Number, Memory)):
            self.assign_variable(target.id, value)
        elif target.id in self.keeps:
            self.assign_array(target.id, value)
        elif target.id in self.variables and self.variables[target.id] != value:
            raise Unsupported(f"another array or object for {target.id}")
        else:
            self.variables[target.id] = value

    def assign_variable(self, name: str, value: Number | Memory) -> None:
        """A number or a pointer for a variable of that type."""
        kind = "ptr" if isinstance(value, Memory) else llvm_type(value.kind)
        known = self.variables.get(name)
        if known is None:
            known = self.variables[name] = Variable(self.code.slot(kind), value)
        if not isinstance(known, Variable) or not same_type(known.like, value):
            raise Unsupported(f"{name} changes its type")
        self.code.line(f"store {kind} {value.text}, ptr {known.slot}")

    def assign_array(self, name: str, value: View) -> None:
        """An array that is another one later."""
        known = self.variables.get(name)
        if known is None:
            extents = tuple(self.code.slot("i64") for _ in value.shape)
            known = self.variables[name] = Variable(self.code.slot("ptr"), value, extents)
        self.code.line(f"store ptr {value.memory.text}, ptr {known.slot}")
        for n, slot in zip(value.shape, known.extents, strict=True):
            self.code.line(f"store i64 {n.text}, ptr {slot}")

    def put(self, target: ast.Subscript, value: Value) -> None:
        """array[i, j] = number, or for all elements of array[:] or array[i]."""
        array = self.value(target.value)
        index = target.slice
        if not isinstance(array, View) or not isinstance(value, Number):
            raise Unsupported(ast.unparse(target))
        whole = isinstance(index, ast.Slice) and index.lower is index.upper is index.step is None
        indices = [] if whole else self.indices(index, array)
        if len(indices) == len(array.shape):
            self.code.store(array.memory, self.code.position(array, indices), value)
            return
        part = self.element(array, indices)
        self.loop(self.code.size(part), lambda i: self.code.store(part.memory, i, value))

    def on_for(self, s: ast.For) -> None:
        """for name in range(...)"""
        call = s.iter
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range") or s.orelse:
            raise Unsupported(ast.unparse(s.iter))
        bounds = [self.code.converted(self.number(a), "i64") for a in call.args]
        start, stop, step = {1: lambda n: (integer(0), n, integer(1)), 2: lambda a, b: (a, b, integer(1)),
                             3: lambda a, b, c: (a, b, c)}[len(bounds)](*bounds)
        if not step.constant:
            raise Unsupported("a loop of an unknown step")

        def body(i: Number) -> None:
            self.assign_variable(s.target.id, i)
            self.block(s.body)

        self.loop(stop, body, start, step.constant)

    def loop(self, stop: Number, body: Callable[[Number], None], start: Number | None = None, step: int = 1) -> None:
        """body(i) for every i from start to before stop."""
        code = self.code
        head, inside, onward, after = (code.label() for _ in range(4))
        counter = code.slot("i64")
        code.line(f"store i64 {(start or integer(0)).text}, ptr {counter}")
        code.begin(head)
        i = Number("i64", code.emit(f"load i64, ptr {counter}"))
        code.branch(code.compared("<" if step > 0 else ">", i, stop), inside, after)
        code.begin(inside)
        self.loops.append((onward, after))
        body(i)
        self.loops.pop()
        code.begin(onward)
        again = Number("i64", code.emit(f"load i64, ptr {counter}"))
        code.line(f"store i64 {code.arithmetic('+', again, integer(step)).text}, ptr {counter}")
        code.jump(head)
        code.begin(after)

    def on_while(self, s: ast.While) -> None:
        """while test: body"""
        head, inside, after = (self.code.label() for _ in range(3))
        self.code.begin(head)
        self.code.branch(self.code.truth(self.number(s.test)), inside, after)
        self.code.begin(inside)
        self.loops.append((head, after))
        self.block(s.body)
        self.loops.pop()
        self.code.jump(head)
        self.code.begin(after)

    def on_if(self, s: ast.If) -> None:
        """if test: body, else: orelse; only the branch of a known condition exists."""
        condition = self.code.truth(self.number(s.test))
        if condition.constant is not None:
            self.block(s.body if condition.constant else s.orelse)
            return
        yes, no, after = (self.code.label() for _ in range(3))
        self.code.branch(condition, yes, no)
        self.code.begin(yes)
        self.block(s.body)
        ended = self.code.closed
        self.code.jump(after)
        self.code.begin_at(no)
        self.block(s.orelse)
        ended &= self.code.closed
        if ended:
            return
        self.code.begin(after)

    def on_break(self, s: ast.Break) -> None:
        self.code.jump(self.loops[-1][1])

    def on_continue(self, s: ast.Continue) -> None:
        self.code.jump(self.loops[-1][0])

    def on_return(self, s: ast.Return) -> None:
        """The result, and on to the end of the function."""
        value = self.value(s.value) if s.value is not None else NOTHING
        if not isinstance(value, Number) and value != NOTHING:
            raise Unsupported("a result that is not a number")
        if self.result is None:
            self.result = value
            if isinstance(value, Number):
                self.result_slot = self.code.slot(llvm_type(value.kind))
        if isinstance(value, Number):
            if not isinstance(self.result, Number) or value.kind != self.result.kind:
                raise Unsupported("results of several types")
            self.code.line(f"store {llvm_type(value.kind)} {value.text}, ptr {self.result_slot}")
        elif self.result != NOTHING:
            raise Unsupported("results of several types")
        self.code.jump(self.leave)

    # -- expressions -------------------------------------------------------------------------------------------------

    def value(self, e: ast.expr) -> Value:
        method = getattr(self, f"of_{type(e).__name__.lower()}", None)
        if method is None:
            raise Unsupported(ast.unparse(e))
        return method(e)

    def number(self, e: ast.expr) -> Number:
        found = self.value(e)
        if not isinstance(found, Number):
            raise Unsupported(f"{ast.unparse(e)} as a number")
        return found

    def of_constant(self, e: ast.Constant) -> Value:
        return as_constant(e.value)

    def of_tuple(self, e: ast.Tuple) -> Value:
        return Items(tuple(map(self.value, e.elts)))

    def of_name(self, e: ast.Name) -> Value:
        """A variable, or what the name means around the function."""
        known = self.variables.get(e.id)
        if known is None:
            return as_constant(self.names(e.id))
        if not isinstance(known, Variable):
            return known
        if isinstance(known.like, View):
            m = known.like.memory
            memory = Memory(m.element, self.code.emit(f"load ptr, ptr {known.slot}"), m.boolean)
            return View(memory, tuple(Number("i64", self.code.emit(f"load i64, ptr {n}")) for n in known.extents))
        if isinstance(known.like, Memory):
            text = self.code.emit(f"load ptr, ptr {known.slot}")
            return Memory(known.like.element, text, known.like.boolean)
        return Number(known.like.kind, self.code.emit(f"load {llvm_type(known.like.kind)}, ptr {known.slot}"))

    def of_binop(self, e: ast.BinOp) -> Value:
        return self.binary(e.op, self.value(e.left), self.value(e.right))

    def binary(self, operator: ast.operator, a: Value, b: Value) -> Value:
        """The value of `a <operator> b`."""
        from symhess.backends.restricted_calls import power

        if not isinstance(a, Number) or not isinstance(b, Number):
            raise Unsupported("arithmetic of something else than numbers")
        if isinstance(operator, ast.Pow):
            return power(self.code, a, b)
        return self.code.arithmetic(_OPERATORS[type(operator)], a, b)

    def of_unaryop(self, e: ast.UnaryOp) -> Value:
        """-x, not x"""
        x = self.number(e.operand)
        if isinstance(e.op, ast.USub):
            return self.code.negated(x)
        if isinstance(e.op, ast.Not):
            t = self.code.truth(x)
            return boolean(not t.constant) if t.constant is not None else Number(
                "i1", self.code.emit(f"xor i1 {t.text}, true"))
        raise Unsupported(ast.unparse(e))

    def of_compare(self, e: ast.Compare) -> Value:
        """a < b <= c, every comparison made."""
        found: Number | None = None
        left = self.number(e.left)
        for operator, expression in zip(e.ops, e.comparators):
            if type(operator) not in _RELATIONS:
                raise Unsupported(ast.unparse(e))
            right = self.number(expression)
            one = self.code.compared(_RELATIONS[type(operator)], left, right)
            found = one if found is None else self.code.bitwise("and", found, one)
            left = right
        return found

    def of_boolop(self, e: ast.BoolOp) -> Value:
        """Later operands are only looked at where they matter."""
        slot, after = self.code.slot("i1"), self.code.label()
        for k, part in enumerate(e.values):
            t = self.code.truth(self.number(part))
            self.code.line(f"store i1 {t.text}, ptr {slot}")
            if k + 1 < len(e.values):
                more = self.code.label()
                self.code.branch(t, *((more, after) if isinstance(e.op, ast.And) else (after, more)))
                self.code.begin(more)
        self.code.begin(after)
        return Number("i1", self.code.emit(f"load i1, ptr {slot}"))

    def of_ifexp(self, e: ast.IfExp) -> Value:
        """a if test else b, only one of which is evaluated."""
        condition = self.code.truth(self.number(e.test))
        if condition.constant is not None:
            return self.value(e.body if condition.constant else e.orelse)
        code = self.code
        yes, no, after = (code.label() for _ in range(3))
        code.branch(condition, yes, no)
        parts = []
        for label, expression in ((yes, e.body), (no, e.orelse)):
            code.begin_at(label)
            found = self.value(expression)
            numbers = found.values if isinstance(found, Items) else (found,)
            if not all(isinstance(x, Number) for x in numbers):
                raise Unsupported(ast.unparse(e))
            parts.append([(x.kind, code.slot(llvm_type(x.kind))) for x in numbers])
            for x, (kind, slot) in zip(numbers, parts[-1]):
                code.line(f"store {llvm_type(kind)} {x.text}, ptr {slot}")
            code.jump(after)
        code.begin_at(after)
        chosen = [code.selected(condition, *(Number(k, code.emit(f"load {llvm_type(k)}, ptr {s}")) for k, s in pair))
                  for pair in zip(*parts, strict=True)]
        return Items(tuple(chosen)) if isinstance(e.body, ast.Tuple) else chosen[0]

    def of_attribute(self, e: ast.Attribute) -> Value:
        """What is known of an array, a member of a module, or a method."""
        owner = self.value(e.value)
        if isinstance(owner, Static) and isinstance(owner.value, types.ModuleType):
            return as_constant(getattr(owner.value, e.attr))
        if isinstance(owner, Static) and isinstance(owner.value, np.ndarray):
            owner = self.constant_array(owner.value)
        if isinstance(owner, View) and e.attr == "shape":
            return Items(owner.shape)
        if isinstance(owner, View) and e.attr == "size":
            return self.code.size(owner)
        if isinstance(owner, View) and e.attr == "dtype":
            return Static(np.dtype(next(n for n, t in ELEMENT.items() if t == owner.memory.element)))
        if isinstance(owner, View):
            return Static((owner, e.attr))
        raise Unsupported(ast.unparse(e))

    def of_subscript(self, e: ast.Subscript) -> Value:
        """An element, a part of an array, an item of a tuple."""
        owner = self.value(e.value)
        if isinstance(owner, Static) and isinstance(owner.value, np.ndarray):
            owner = self.constant_array(owner.value)
        if isinstance(owner, Items):
            k = self.number(e.slice).constant
            if k is None:
                raise Unsupported("an unknown item of a tuple")
            return owner.values[k]
        if not isinstance(owner, View):
            raise Unsupported(ast.unparse(e))
        if isinstance(e.slice, ast.Slice) or (isinstance(e.slice, ast.Tuple) and any(
                isinstance(i, ast.Slice) for i in e.slice.elts)):
            return self.sliced(owner, e.slice)
        return self.element(owner, self.indices(e.slice, owner))

    def element(self, array: View, indices: list[Number]) -> Value:
        """A number, or the part of an array at the leading indices."""
        position = self.code.position(array, indices)
        if len(indices) == len(array.shape):
            return self.code.load(array.memory, position)
        m = array.memory
        part = Memory(m.element, self.code.address(m, position), m.boolean)
        return View(part, array.shape[len(indices):])

    def sliced(self, array: View, index: ast.expr) -> View:
        """array[a:b] or array[i, a:b]: the rows stay contiguous."""
        *leading, last = index.elts if isinstance(index, ast.Tuple) else [index]
        if leading:
            array = self.element(array, [self.index_number(i, array, k) for k, i in enumerate(leading)])
        if not isinstance(last, ast.Slice) or last.step is not None or not isinstance(array, View):
            raise Unsupported(ast.unparse(index))
        start = self.number(last.lower) if last.lower is not None else integer(0)
        stop = self.number(last.upper) if last.upper is not None else array.shape[0]
        rows = self.code.arithmetic("-", stop, start)
        m = array.memory
        part = Memory(m.element, self.code.address(m, self.code.position(array, [start])), m.boolean)
        return View(part, (rows, *array.shape[1:]))

    def indices(self, e: ast.expr, array: View) -> list[Number]:
        parts = e.elts if isinstance(e, ast.Tuple) else [e]
        return [self.index_number(p, array, k) for k, p in enumerate(parts)]

    def index_number(self, e: ast.expr, array: View, axis: int) -> Number:
        """A whole number as an index along an axis; constants count from the end where they are negative."""
        i = self.number(e)
        if i.kind not in ("i64", "u64", "i1"):
            raise Unsupported("an index that is not whole")
        if i.constant is not None and i.constant < 0:
            return self.code.arithmetic("+", array.shape[axis], i)
        return i

    def constant_array(self, array: np.ndarray) -> View:
        """A table of numbers in the module."""
        name = "table_" + digest_of(array.dtype.str.encode() + array.tobytes())
        kind = ELEMENT[array.dtype.name]
        elements = ", ".join(f"{kind} {as_constant(x).text}" for x in array.ravel())
        self.module.definitions[name] = f"@{name} = private unnamed_addr constant [{array.size} x {kind}] [{elements}]"
        return View(Memory(kind, f"@{name}"), tuple(map(integer, array.shape)))

    # -- calls -------------------------------------------------------------------------------------------------------

    def of_call(self, e: ast.Call) -> Value:
        """The value of a call with positional arguments."""
        from symhess.backends.restricted_calls import called

        if e.keywords or any(isinstance(a, ast.Starred) for a in e.args):
            raise Unsupported(ast.unparse(e))
        function = self.value(e.func)
        if not isinstance(function, Static):
            raise Unsupported(ast.unparse(e))
        return called(self, function.value, [self.value(a) for a in e.args])

    # -- functions ---------------------------------------------------------------------------------------------------

    def finished(self, name: str, parameters: str, attributes: str) -> str:
        """The text of the function."""
        self.code.begin(self.leave)
        for pointer in self.owned:
            held = self.code.emit(f"load ptr, ptr {pointer}")
            self.code.call("free", "void", ("ptr", held), attributes="nounwind")
        result = self.result if isinstance(self.result, Number) else None
        kind = llvm_type(result.kind) if result else "void"
        if result:
            self.code.line(f"ret {kind} {self.code.emit(f'load {kind}, ptr {self.result_slot}')}")
        else:
            self.code.line("ret void")
        head = f"define {attributes} {kind} @{name}(ptr %status{', ' + parameters if parameters else ''}) nounwind {{"
        return "\n".join([head, *self.code.slots, *self.code.lines, "}"]) + "\n"


def same_type(a: Number | Memory, b: Number | Memory) -> bool:
    """True if both may be values of one variable."""
    if isinstance(a, Number) and isinstance(b, Number):
        return a.kind == b.kind
    return isinstance(a, Memory) and isinstance(b, Memory) and (a.element, a.boolean) == (b.element, b.boolean)


def items_of(value: Value) -> tuple[Value, ...]:
    """What a tuple holds."""
    if not isinstance(value, Items):
        raise Unsupported("several values from one")
    return value.values


@functools.cache
def assigned_once(node: ast.FunctionDef) -> frozenset[str]:
    """The variables of a function that have one value, be it that of a parameter."""
    stored = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    values = Counter([*stored, *(a.arg for a in node.args.args)])
    return frozenset(name for name, count in values.items() if count == 1)


@functools.cache
def definition_of(function: Callable) -> tuple[ast.FunctionDef, Callable[[str], Any]]:
    """The syntax of a function and what the names in it mean."""
    source = textwrap.dedent(inspect.getsource(function))
    try:
        (node,) = ast.parse(source).body
    except (SyntaxError, ValueError) as problem:
        raise Unsupported("a function without a statement of its own") from problem
    if not isinstance(node, ast.FunctionDef):
        raise Unsupported("a function without a name")
    free = inspect.getclosurevars(function).nonlocals
    known = {**vars(builtins), **function.__globals__, **free}
    return node, known.__getitem__


