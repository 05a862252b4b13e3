"""Elementwise primitives in LLVM IR: instructions, intrinsics, calls of libm, short compositions of these.

A primitive that no table names is compiled once from its own kernel spelling by Numba and called by address, so a
new function needs nothing here.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import llvmlite.binding as llvm

from symhess.errors import UnsupportedOperation
from symhess.graph.node import Node, scalar_value

#: what LLVM calls the element types that scalar code may hold
LLVM_TYPE = {"float64": "double", "float32": "float", "bool": "i1"}
#: every function called is pure, which lets the code generator pair sin with cos
DECLARATIONS = "nounwind readnone"

ARITHMETIC = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
RELATION = {"less": "olt", "less_equal": "ole", "greater": "ogt", "greater_equal": "oge", "equal": "oeq",
             "not_equal": "une"}
LOGIC = {"logical_and": "and", "logical_or": "or", "logical_xor": "xor"}
INTRINSIC = {"sqrt": "sqrt", "root": "sqrt", "abs": "fabs", "floor": "floor", "ceil": "ceil", "trunc": "trunc",
              "rint": "rint", "copysign": "copysign"}
_LIBM = {name: name for name in ("cbrt", "hypot", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin",
                                 "cos", "tan", "sinh", "cosh", "tanh", "fmod", "pow", "erf", "erfc")}
_LIBM |= {"arc" + name: "a" + name for name in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")}
#: the symbols of the C library that code may call
LIBM = frozenset(name + suffix for name in (*_LIBM.values(), "tgamma", "lgamma") for suffix in ("", "f"))
#: constant integer exponents up to this size are multiplied out
MOST_MULTIPLIED = 32


class Writer(Protocol):
    """What appends instructions: a chunk of straight-line code."""

    def emit(self, text: str) -> str: ...

    def call(self, symbol: str, result: str, *args: tuple[str, str]) -> str: ...


def literal(value: Any, kind: str) -> str:
    """A constant operand, bit for bit."""
    if kind == "i1":
        return "true" if value else "false"
    return f"0x{struct.unpack('<Q', struct.pack('<d', float(value)))[0]:016X}"


def spell(w: Writer, node: Node, args: Sequence[str]) -> str:
    """Append the instructions of one node with operands `args`; the operand that holds its value."""
    if node.op.name == "cast":
        return _cast(w, node, args[0])
    if node.op.name == "where":
        return _select(w, *args, LLVM_TYPE[node.dtype.name])
    dtype = node.args[0].dtype.name
    if node.op.name in LOGIC or node.op.name == "logical_not":
        if dtype != "bool":
            raise UnsupportedOperation(f"{node.op.name} of {dtype} in scalar code: compare with 0 first")
        return w.emit(f"{LOGIC[node.op.name]} i1 {args[0]}, {args[1]}" if node.op.name in LOGIC
                      else f"xor i1 {args[0]}, true")
    if dtype == "bool":
        raise UnsupportedOperation(f"{node.op.name} of booleans in scalar code: cast them to float first")
    exponent = scalar_value(node.args[1]) if node.op.name == "pow" else None
    if exponent is not None and float(exponent).is_integer() and abs(exponent) <= MOST_MULTIPLIED:
        return integer_power(Formula(w, LLVM_TYPE[dtype]), args[0], int(exponent))
    return Formula(w, LLVM_TYPE[dtype]).apply(node.op.name, *args, node=node)


def _cast(w: Writer, node: Node, x: str) -> str:
    """Between float64, float32 and bool (which is x != 0)."""
    old, new = LLVM_TYPE[node.args[0].dtype.name], LLVM_TYPE[node.dtype.name]
    if new == "i1":
        return w.emit(f"fcmp une {old} {x}, {literal(0, old)}")
    instruction = {"i1": "uitofp", "float": "fpext", "double": "fptrunc"}[old]
    return w.emit(f"{instruction} {old} {x} to {new}")


def _select(w: Writer, c: str, a: str, b: str, kind: str) -> str:
    return w.emit(f"select i1 {c}, {kind} {a}, {kind} {b}")


class Formula:
    """Writes formulas over operands of one floating type."""

    def __init__(self, w: Writer, kind: str, flags: str = ""):
        self.w, self.kind, self.flags = w, kind, flags

    def number(self, value: float) -> str:
        """A literal of the formula's type (log 2 must be rounded to it first)."""
        rounded = struct.unpack("<f", struct.pack("<f", value))[0] if self.kind == "float" else value
        return literal(rounded, self.kind)

    def compare(self, relation: str, x: str, y: str) -> str:
        return self.w.emit(f"fcmp {relation} {self.kind} {x}, {y}")

    def choose(self, c: str, a: str, b: str) -> str:
        return _select(self.w, c, a, b, self.kind)

    def apply(self, name: str, *args: str, node: Node | None = None) -> str:
        """The primitive called `name` of operands; what no table names is compiled from the declaration of `node`."""
        kind, typed = self.kind, [(self.kind, a) for a in args]
        if name in ARITHMETIC:
            return self.w.emit(f"{ARITHMETIC[name]} {self.flags}{kind} {args[0]}, {args[1]}")
        if name == "neg":
            return self.w.emit(f"fneg {kind} {args[0]}")
        if name in RELATION:
            return self.compare(RELATION[name], *args)
        if name in INTRINSIC:
            return self.w.call(f"llvm.{INTRINSIC[name]}.{'f64' if kind == 'double' else 'f32'}", kind, *typed)
        if name in _COMPOSED:
            return _COMPOSED[name](self, *args)
        if name in _LIBM:
            symbol = _LIBM[name] + ("f" if kind == "float" else "")
            if in_libm(symbol):
                return self.w.call(symbol, kind, *typed)
        if node is None or not getattr(node.op, "kernel", ""):
            raise UnsupportedOperation(f"scalar code for {name} needs a kernel spelling in its declaration")
        return self.by_numba(node, typed)

    def by_numba(self, node: Node, typed: Sequence[tuple[str, str]]) -> str:
        """Call the function that Numba compiled; it returns a bool as a byte."""
        symbol = _numba_symbol(node.op, self.kind, node.dtype.name == "bool")
        if node.dtype.name != "bool":
            return self.w.call(symbol, self.kind, *typed)
        return self.w.emit(f"trunc i8 {self.w.call(symbol, 'i8', *typed)} to i1")


# -- compositions --------------------------------------------------------------------------------------------------


def integer_power(f: Formula, x: str, n: int) -> str:
    """x**n by repeated squaring, 1/x**-n for negative n."""
    power, square, k = None, x, abs(n)
    while k:
        if k & 1:
            power = square if power is None else f.apply("mul", power, square)
        k >>= 1
        if k:
            square = f.apply("mul", square, square)
    power = f.number(1) if power is None else power
    return f.apply("div", f.number(1), power) if n < 0 else power


def _extreme(relation: str) -> Callable[[Formula, str, str], str]:
    """x where x `relation` y or x is NaN, else y: NumPy's rule."""

    def write(f: Formula, x: str, y: str) -> str:
        first = f.w.emit(f"or i1 {f.compare(relation, x, y)}, {f.compare('uno', x, x)}")
        return f.choose(first, x, y)

    return write


def _sign(f: Formula, x: str) -> str:
    """-1, 0, 1, or NaN."""
    zero = f.number(0)
    below = f.choose(f.compare("olt", x, zero), f.number(-1), f.choose(f.compare("oeq", x, zero), zero, x))
    return f.choose(f.compare("ogt", x, zero), f.number(1), below)


def _side(f: Formula, x: str) -> str:
    """-1 below 0, else 1."""
    return f.choose(f.compare("olt", x, f.number(0)), f.number(-1), f.number(1))


def _decay(f: Formula, x: str) -> str:
    """exp(-|x|)."""
    return f.apply("exp", f.apply("neg", f.apply("abs", x)))


def _sigmoid(f: Formula, x: str) -> str:
    """exp(min(x, 0)) / (1 + exp(-|x|)); one of the exponentials is 1."""
    decay, zero = _decay(f, x), f.number(0)
    above = f.choose(f.compare("olt", x, zero), decay, f.number(1))
    return f.apply("div", above, f.apply("add", f.number(1), decay))


def _softplus(f: Formula, x: str) -> str:
    """max(x, 0) + log1p(exp(-|x|))."""
    return f.apply("add", f.apply("maximum", x, f.number(0)), f.apply("log1p", _decay(f, x)))


def _logaddexp(f: Formula, x: str, y: str) -> str:
    """max(x, y) + log1p(exp(-|x - y|)); x + log 2 where x = y, infinities included."""
    rest = f.apply("log1p", _decay(f, f.apply("sub", x, y)))
    apart = f.apply("add", f.apply("maximum", x, y), rest)
    return f.choose(f.compare("oeq", x, y), f.apply("add", x, f.number(math.log(2.0))), apart)


def _remainder(f: Formula, x: str, y: str) -> str:
    """fmod(x, y), moved by y where its sign differs from that of y; a zero takes the sign of y."""
    m, zero = f.apply("fmod", x, y), f.number(0)
    differs = f.w.emit(f"xor i1 {f.compare('olt', m, zero)}, {f.compare('olt', y, zero)}")
    moved = f.choose(differs, f.apply("add", m, y), m)
    return f.choose(f.compare("oeq", m, zero), f.apply("copysign", zero, y), moved)


_COMPOSED: dict[str, Callable[..., str]] = {
    "maximum": _extreme("oge"), "minimum": _extreme("ole"), "sign": _sign, "side": _side, "sigmoid": _sigmoid,
    "softplus": _softplus, "logaddexp": _logaddexp, "remainder": _remainder,
    "isnan": lambda f, x: f.compare("uno", x, x),
    "isfinite": lambda f, x: f.compare("olt", f.apply("abs", x), f.number(math.inf)),
}


# -- functions by address ------------------------------------------------------------------------------------------


@functools.cache
def in_libm(symbol: str) -> bool:
    """True if compiled code can call libm's `symbol`; registers it where the process does not export it."""
    if llvm.address_of_symbol(symbol):
        return True
    library = ctypes.util.find_library("m")
    function = getattr(ctypes.CDLL(library), symbol, None) if library else None
    if function is not None:
        llvm.add_symbol(symbol, ctypes.cast(function, ctypes.c_void_p).value)
    return function is not None


#: keeps the code behind registered symbols alive
_compiled: dict[str, Any] = {}


@functools.cache
def _numba_symbol(op: Any, kind: str, is_bool: bool) -> str:
    """The symbol of a primitive compiled by Numba from its kernel spelling."""
    import numba

    from symhess.backends.numba_names import names as known

    names = ["x", "y", "z"][:op.nargs]
    function = eval(f"lambda {', '.join(names)}: {op.kernel.format(*names)}", known(op.kernel))
    number = {"double": numba.float64, "float": numba.float32}[kind]
    symbol = f"symhess.{op.name}.{kind}"
    signature = (numba.boolean if is_bool else number)(*[number] * op.nargs)
    _compiled[symbol] = numba.cfunc(signature, error_model="numpy")(function)
    llvm.add_symbol(symbol, _compiled[symbol].address)
    return symbol
