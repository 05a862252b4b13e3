"""A function in LLVM IR text as it grows: blocks, variables in memory of their own, arithmetic, conversions.

Variables live in stack slots; LLVM's first pass turns them into registers.
"""

from __future__ import annotations

from symhess.backends.spelling import DECLARATIONS
from symhess.backends.values import (
    BYTES,
    Memory,
    Number,
    Unsupported,
    View,
    as_constant,
    boolean,
    common_kind,
    integer,
    number_kind,
    real,
)

#: LLVM's type for each kind of number
TYPE = {"u64": "i64"}
_ARITHMETIC = {"+": ("fadd", "add nsw"), "-": ("fsub", "sub nsw"), "*": ("fmul", "mul nsw"), "/": ("fdiv", "")}
_BITWISE = {"&": "and", "|": "or", "^": "xor"}
_RELATION = {"<": ("olt", "slt", "ult"), "<=": ("ole", "sle", "ule"), ">": ("ogt", "sgt", "ugt"),
             ">=": ("oge", "sge", "uge"), "==": ("oeq", "eq", "eq"), "!=": ("une", "ne", "ne")}


def llvm_type(kind: str) -> str:
    """The type in IR of a kind of number."""
    return TYPE.get(kind, kind)


class Instructions:
    """Lines of one function; `declared` collects what the module has to declare."""

    def __init__(self, declared: dict[str, str], flags: str = ""):
        self.lines: list[str] = []
        self.slots: list[str] = []
        self.declared, self.flags = declared, flags
        self.count = 0
        self.closed = False

    # -- lines and blocks --------------------------------------------------------------------------------------------

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def line(self, text: str) -> None:
        """An instruction without a result; nothing follows the end of a block."""
        if not self.closed:
            self.lines.append("  " + text)

    def emit(self, text: str) -> str:
        """An instruction with a result."""
        name = "%" + self.fresh("v")
        self.line(f"{name} = {text}")
        return name

    def label(self) -> str:
        return self.fresh("b")

    def begin(self, label: str) -> None:
        """Start a block; control that reaches this place enters it."""
        self.jump(label)
        self.begin_at(label)

    def begin_at(self, label: str) -> None:
        """Start a block that only branches reach."""
        self.lines.append(f"{label}:")
        self.closed = False

    def jump(self, label: str) -> None:
        self.line(f"br label %{label}")
        self.closed = True

    def branch(self, condition: Number, yes: str, no: str) -> None:
        self.line(f"br i1 {condition.text}, label %{yes}, label %{no}")
        self.closed = True

    def slot(self, kind: str) -> str:
        """Memory of one number for the time of the function."""
        name = "%" + self.fresh("s")
        self.slots.append(f"  {name} = alloca {kind}")
        return name

    def call(self, symbol: str, result: str, *args: tuple[str, str], attributes: str = DECLARATIONS) -> str:
        """Call an external function of (type, operand) arguments."""
        types = ", ".join(t for t, _ in args)
        self.declared.setdefault(symbol, f"declare {result} @{symbol}({types}) {attributes}")
        text = f"call {result} @{symbol}({', '.join(f'{t} {v}' for t, v in args)})"
        if result == "void":
            self.line(text)
            return ""
        return self.emit(text)

    # -- numbers -----------------------------------------------------------------------------------------------------

    def converted(self, x: Number, kind: str) -> Number:
        """The number as another kind."""
        if x.kind == kind:
            return x
        if x.constant is not None and kind in ("double", "float"):
            return real(float(x.constant), kind)
        if x.constant is not None and kind == "i64":
            return integer(int(x.constant))
        if kind == "i1":
            return self.truth(x)
        if {x.kind, kind} == {"i64", "u64"}:
            return Number(kind, x.text)
        names = {("i1", "i64"): "zext", ("i1", "u64"): "zext", ("float", "double"): "fpext",
                 ("double", "float"): "fptrunc", ("i1", "double"): "uitofp", ("i1", "float"): "uitofp",
                 ("i64", "double"): "sitofp", ("i64", "float"): "sitofp", ("u64", "double"): "uitofp",
                 ("double", "i64"): "fptosi", ("float", "i64"): "fptosi"}
        if (x.kind, kind) not in names:
            raise Unsupported(f"{x.kind} to {kind}")
        return Number(kind, self.emit(f"{names[x.kind, kind]} {llvm_type(x.kind)} {x.text} to {llvm_type(kind)}"))

    def truth(self, x: Number) -> Number:
        """x != 0"""
        if x.kind == "i1":
            return x
        if x.constant is not None:
            return boolean(bool(x.constant))
        return self.compared("!=", x, self.converted(integer(0), x.kind))

    def pair(self, a: Number, b: Number) -> tuple[Number, Number, str]:
        kind = common_kind(a.kind, b.kind)
        return self.converted(a, kind), self.converted(b, kind), kind

    def arithmetic(self, operator: str, a: Number, b: Number) -> Number:
        """a + b and so on, by Numba's rules."""
        if operator in _BITWISE:
            return self.bitwise(_BITWISE[operator], a, b)
        if operator in ("//", "%"):
            return self.divided(operator, a, b)
        if operator == "/" and common_kind(a.kind, b.kind) in ("i64", "u64"):
            a, b = self.converted(a, "double"), self.converted(b, "double")
        a, b, kind = self.pair(a, b)
        if kind in ("i64", "u64"):
            if a.constant is not None and b.constant is not None:
                return as_constant({"+": int.__add__, "-": int.__sub__, "*": int.__mul__}[operator](
                    a.constant, b.constant))
            return Number(kind, self.emit(f"{_ARITHMETIC[operator][1]} i64 {a.text}, {b.text}"))
        return Number(kind, self.emit(f"{_ARITHMETIC[operator][0]} {self.flags}{kind} {a.text}, {b.text}"))

    def bitwise(self, name: str, a: Number, b: Number) -> Number:
        """a & b and so on, of truth values and whole numbers."""
        if a.kind == b.kind == "i1":
            return Number("i1", self.emit(f"{name} i1 {a.text}, {b.text}"))
        a, b, kind = self.pair(a, b)
        if kind not in ("i64", "u64"):
            raise Unsupported(f"{name} of {kind}")
        return Number(kind, self.emit(f"{name} i64 {a.text}, {b.text}"))

    def divided(self, operator: str, a: Number, b: Number) -> Number:
        """Whole division and its remainder, rounded down."""
        a, b, kind = self.pair(a, b)
        if kind == "u64":
            return Number(kind, self.emit(f"{'udiv' if operator == '//' else 'urem'} i64 {a.text}, {b.text}"))
        if kind != "i64" or b.constant == 0:
            raise Unsupported("division of reals rounded down, or by 0")
        if a.constant is not None and b.constant:
            return integer(a.constant // b.constant if operator == "//" else a.constant % b.constant)
        if b.constant is None:  # a divisor of 0 would end the program
            b = self.selected(self.compared("==", b, integer(0)), integer(1), b)
        quotient = self.emit(f"sdiv i64 {a.text}, {b.text}")
        rest = self.emit(f"srem i64 {a.text}, {b.text}")
        odd = self.emit(f"icmp ne i64 {rest}, 0")
        apart = self.emit(f"icmp slt i64 {self.emit(f'xor i64 {a.text}, {b.text}')}, 0")
        down = self.emit(f"and i1 {odd}, {apart}")
        if operator == "//":
            return Number("i64", self.emit(f"sub i64 {quotient}, {self.emit(f'zext i1 {down} to i64')}"))
        moved = self.emit(f"add i64 {rest}, {b.text}")
        return Number("i64", self.emit(f"select i1 {down}, i64 {moved}, i64 {rest}"))

    def compared(self, relation: str, a: Number, b: Number) -> Number:
        """a < b and so on."""
        real_name, signed, unsigned = _RELATION[relation]
        if a.kind == b.kind == "i1":
            return Number("i1", self.emit(f"icmp {unsigned} i1 {a.text}, {b.text}"))
        a, b, kind = self.pair(a, b)
        if a.constant is not None and b.constant is not None and kind == "i64":
            return boolean(eval(f"{a.constant} {relation} {b.constant}"))
        if kind in ("double", "float"):
            return Number("i1", self.emit(f"fcmp {real_name} {kind} {a.text}, {b.text}"))
        return Number("i1", self.emit(f"icmp {signed if kind == 'i64' else unsigned} i64 {a.text}, {b.text}"))

    def negated(self, x: Number) -> Number:
        if x.constant is not None:
            return as_constant(-x.constant) if x.kind != "float" else real(-x.constant, "float")
        if x.kind in ("double", "float"):
            return Number(x.kind, self.emit(f"fneg {x.kind} {x.text}"))
        return self.arithmetic("-", integer(0), x)

    def selected(self, condition: Number, a: Number, b: Number) -> Number:
        """a where the condition holds, else b."""
        if not a.kind == b.kind == "i1":
            a, b, _ = self.pair(a, b)
        c = self.truth(condition).text
        return Number(a.kind, self.emit(f"select i1 {c}, {llvm_type(a.kind)} {a.text}, {llvm_type(b.kind)} {b.text}"))

    # -- memory ------------------------------------------------------------------------------------------------------

    def address(self, m: Memory, position: Number) -> str:
        """Where an element lies."""
        if position.constant == 0:
            return m.text
        at = self.converted(position, "i64").text
        return self.emit(f"getelementptr inbounds {m.element}, ptr {m.text}, i64 {at}")

    def load(self, m: Memory, position: Number) -> Number:
        """An element as a number."""
        kind = number_kind(m)
        loaded = self.emit(f"load {m.element}, ptr {self.address(m, position)}, align {BYTES[m.element]}")
        if kind == "i1":
            return Number("i1", self.emit(f"icmp ne i8 {loaded}, 0"))
        return Number(kind, self.emit(f"sext i32 {loaded} to i64") if m.element == "i32" else loaded)

    def store(self, m: Memory, position: Number, x: Number) -> None:
        """Put a number into an element."""
        x = self.converted(x, number_kind(m))
        text = x.text
        if m.element == "i8":
            text = self.emit(f"zext i1 {text} to i8")
        elif m.element == "i32":
            text = self.emit(f"trunc i64 {text} to i32")
        self.line(f"store {m.element} {text}, ptr {self.address(m, position)}, align {BYTES[m.element]}")

    def size(self, view: View) -> Number:
        """How many elements an array has."""
        total = integer(1)
        for n in view.shape:
            total = self.arithmetic("*", total, n)
        return total

    def position(self, view: View, indices: list[Number]) -> Number:
        """The flat position of the first element at the leading indices."""
        total = integer(0)
        for axis, n in enumerate(view.shape):
            total = self.arithmetic("*", total, n)
            if axis < len(indices):
                total = self.arithmetic("+", total, self.converted(indices[axis], "i64"))
        return total
