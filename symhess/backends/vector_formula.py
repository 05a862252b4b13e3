"""Formulas as LLVM IR: operators on `Real`, `Whole` and `Test` append instructions to the function being written.

    w = Function("double @f(double %x)")          define ... double @f(double %x) { %v1 = fmul ...; ret double %v1 }
    x = w.real("%x")
    text = w.text(x * x + 1)

Nothing branches, so a loop around an inlined function vectorises. Instructions carry no fast-math flags: sums and
products round where they stand, whatever the caller allows in code of its own.

What a formula cannot do it returns as NaN, and `Function.rest` asks libm where that is so: in a function of its own,
not inlined, which the vectoriser replaces by one that looks at all lanes at once (attribute
vector-function-abi-variant).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

#: what the optimiser may know of every function
ATTRIBUTES = "alwaysinline nounwind readnone"


def number(value: float) -> str:
    """A double literal, bit for bit."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def bits_of(value: float) -> int:
    """The bits of a double as a whole number."""
    return struct.unpack("<q", struct.pack("<d", value))[0]


class Function:
    """The instructions of one function of doubles, and what they call."""

    def __init__(self, head: str):
        self.head, self.lines, self.declarations = head, [], set()
        self.helpers: dict[str, str] = {}

    def emit(self, text: str) -> str:
        """Append an instruction; the name of its result."""
        self.lines.append(f"%v{len(self.lines)} = {text}")
        return f"%v{len(self.lines) - 1}"

    def real(self, value: Real | float | str) -> Real:
        """An operand: a number, a parameter such as "%x", or what is one already."""
        if isinstance(value, Real):
            return value
        return Real(self, value if isinstance(value, str) else number(value))

    def call(self, symbol: str, *args: Real | float) -> Real:
        """Call a function of doubles."""
        operands = [f"double {self.real(a).operand}" for a in args]
        self.declare(symbol, len(args))
        return Real(self, self.emit(f"call double @{symbol}({', '.join(operands)})"))

    def declare(self, symbol: str, arity: int) -> None:
        """A function of doubles that is defined elsewhere."""
        self.declarations.add(f"declare double @{symbol}({', '.join(['double'] * arity)}) nounwind readnone")

    def fma(self, a: Real | float, b: Real | float, c: Real | float) -> Real:
        """a b + c, rounded once."""
        return self.call("llvm.fma.f64", a, b, c)

    def polynomial(self, x: Real, coefficients: Sequence[float]) -> Real:
        """sum_k c_k x^k by Horner's rule."""
        total: Real | float = coefficients[-1]
        for c in coefficients[-2::-1]:
            total = self.fma(total, x, c)
        return self.real(total)

    def where(self, test: Test, a: Real | float, b: Real | float) -> Real:
        """a where the test holds, else b."""
        return Real(self, self.emit(f"select i1 {test.operand}, double {self.real(a).operand}, "
                                    f"double {self.real(b).operand}"))

    def rest(self, name: str, args: Sequence[Real], value: Real) -> Real:
        """`value`, and what libm says where that is NaN."""
        symbol = f"symhess_{name}_rest"
        arguments = ", ".join(f"double {a.operand}" for a in (*args, value))
        self.helpers |= rest_functions(name, len(args))
        self.declare(name, len(args))
        return Real(self, self.emit(f"call double @{symbol}({arguments})"))

    def text(self, result: Real) -> str:
        """The definition."""
        body = "\n".join([*self.lines, f"ret double {result.operand}"])
        return f"define internal {self.head} {ATTRIBUTES} {{\n{body}\n}}\n"


#: the numbers of lanes for which there is vector code that asks libm
WIDTHS = (2, 4, 8)


def rest_functions(name: str, arity: int) -> dict[str, str]:
    """The function that asks libm where its last argument is NaN, for one number and for vectors, by their symbols."""
    symbol, names = f"symhess_{name}_rest", ["%x", "%y"][:arity]
    parameters = ", ".join(f"double {p}" for p in names)
    variants = ",".join(f"_ZGV_LLVM_N{n}{'v' * (arity + 1)}_{symbol}({symbol}_{n})" for n in WIDTHS)
    one = f"""define weak_odr double @{symbol}({parameters}, double %value) noinline nounwind readnone \
"vector-function-abi-variant"="{variants}" {{
%missing = fcmp uno double %value, %value
br i1 %missing, label %ask, label %done
ask:
%asked = call double @{name}({parameters})
ret double %asked
done:
ret double %value
}}
"""
    return {symbol: one} | {f"{symbol}_{n}": _rest_of_vector(symbol, names, n) for n in WIDTHS}


def _rest_of_vector(symbol: str, names: Sequence[str], width: int) -> str:
    """The same for a vector: one test of all lanes, then lane by lane."""
    kind = f"<{width} x double>"
    lines, value = [], "%value"
    for k in range(width):
        taken = [*names, "%value"]
        lines += [f"{p}{k} = extractelement {kind} {p}, i64 {k}" for p in taken]
        lines.append(f"%asked{k} = call double @{symbol}({', '.join(f'double {p}{k}' for p in taken)})")
        lines.append(f"%filled{k} = insertelement {kind} {value}, double %asked{k}, i64 {k}")
        value = f"%filled{k}"
    body = "\n".join(lines)
    parameters = ", ".join(f"{kind} {p}" for p in (*names, "%value"))
    return f"""define weak_odr {kind} @{symbol}_{width}({parameters}) noinline nounwind readnone {{
%missing = fcmp uno {kind} %value, %value
%lanes = bitcast <{width} x i1> %missing to i{width}
%any = icmp ne i{width} %lanes, 0
br i1 %any, label %ask, label %done
ask:
{body}
ret {kind} {value}
done:
ret {kind} %value
}}
"""


@dataclass(frozen=True)
class Operand:
    """A value of a function that is being written."""

    w: Function
    operand: str


class Real(Operand):
    """A double."""

    def _with(self, op: str, a: Real | float, b: Real | float) -> Real:
        return Real(self.w, self.w.emit(f"{op} double {self.w.real(a).operand}, {self.w.real(b).operand}"))

    def _test(self, relation: str, other: Real | float) -> Test:
        return Test(self.w, self.w.emit(f"fcmp {relation} double {self.operand}, {self.w.real(other).operand}"))

    def __add__(self, o: Real | float) -> Real:
        return self._with("fadd", self, o)

    def __radd__(self, o: float) -> Real:
        return self._with("fadd", o, self)

    def __sub__(self, o: Real | float) -> Real:
        return self._with("fsub", self, o)

    def __rsub__(self, o: float) -> Real:
        return self._with("fsub", o, self)

    def __mul__(self, o: Real | float) -> Real:
        return self._with("fmul", self, o)

    def __truediv__(self, o: Real | float) -> Real:
        return self._with("fdiv", self, o)

    def __rtruediv__(self, o: float) -> Real:
        return self._with("fdiv", o, self)

    def __neg__(self) -> Real:
        return Real(self.w, self.w.emit(f"fneg double {self.operand}"))

    def __abs__(self) -> Real:
        return self.w.call("llvm.fabs.f64", self)

    def __lt__(self, o: Real | float) -> Test:
        return self._test("olt", o)

    def __gt__(self, o: Real | float) -> Test:
        return self._test("ogt", o)

    def equals(self, o: Real | float) -> Test:
        """Equality, false for NaN."""
        return self._test("oeq", o)

    def clipped(self, low: float, high: float) -> Real:
        """Between low and high; NaN stays NaN."""
        below = self.w.where(self > high, high, self)
        return self.w.where(below < low, low, below)

    def signed(self, o: Real) -> Real:
        """The size of this with the sign of the other."""
        return self.w.call("llvm.copysign.f64", self, o)

    def bits(self) -> Whole:
        return Whole(self.w, self.w.emit(f"bitcast double {self.operand} to i64"))


class Whole(Operand):
    """A 64-bit integer, modulo 2^64."""

    def _with(self, op: str, o: Whole | int) -> Whole:
        other = o.operand if isinstance(o, Whole) else o
        return Whole(self.w, self.w.emit(f"{op} i64 {self.operand}, {other}"))

    def __add__(self, o: Whole | int) -> Whole:
        return self._with("add", o)

    def __sub__(self, o: Whole | int) -> Whole:
        return self._with("sub", o)

    def __rsub__(self, o: int) -> Whole:
        return Whole(self.w, self.w.emit(f"sub i64 {o}, {self.operand}"))

    def __and__(self, o: Whole | int) -> Whole:
        return self._with("and", o)

    def __or__(self, o: Whole | int) -> Whole:
        return self._with("or", o)

    def __xor__(self, o: Whole | int) -> Whole:
        return self._with("xor", o)

    def __lshift__(self, o: int) -> Whole:
        return self._with("shl", o)

    def __rshift__(self, o: int) -> Whole:
        return self._with("lshr", o)

    def equals(self, o: int) -> Test:
        return Test(self.w, self.w.emit(f"icmp eq i64 {self.operand}, {o}"))

    def real(self) -> Real:
        """The double of these bits."""
        return Real(self.w, self.w.emit(f"bitcast i64 {self.operand} to double"))


class Test(Operand):
    """A condition."""

    def __and__(self, o: Test) -> Test:
        return Test(self.w, self.w.emit(f"and i1 {self.operand}, {o.operand}"))

    def __or__(self, o: Test) -> Test:
        return Test(self.w, self.w.emit(f"or i1 {self.operand}, {o.operand}"))
