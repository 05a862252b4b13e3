"""Mathematical functions that vectorise: branch-free formulas in LLVM IR, at most 2 ulp from the exact value.

In a kernel's text `vexp(x)` is exp(x) by these formulas, `math.exp(x)` the call of libm; `spelled` turns one into the
other. `definition` gives the IR of a function: symhess_exp_f64, symhess_exp_f32. Every function is a formula of
doubles that is right for every double: infinities, NaN, signed zeros, subnormals. Scalar and vector code round alike.
The formula for float32 is that for float64, rounded.

Polynomials are minimax fits (Remez). The formulas need a fused multiply-add; where the processor has none, or a
function does not agree with libm when it is first asked for, kernels keep calling libm.
"""

from __future__ import annotations

import ctypes
import functools
import math
import platform
import re
import warnings
from collections.abc import Callable, Sequence

import llvmlite.binding as llvm

from symhess.backends.straightline import compile_ir
from symhess.backends.vector_formula import Function, Real, Whole, bits_of
from symhess.errors import SymhessWarning

#: 1.5 * 2^52: x + MAGIC has round(x) in its lowest bits
MAGIC = 6755399441055744.0
LOG2_E = 1.4426950408889634
#: log 2 = LOG2 + LOG2_REST to 106 bits
LOG2, LOG2_REST = 0.6931471805599453, 2.3190468138462996e-17
ONE = bits_of(1.0)
#: (exp(r) - 1 - r) / r^2 on |r| <= log(2)/2
EXP = (0.5000000000000008, 0.16666666666666458, 0.04166666666655196, 0.008333333333475534, 0.0013888888938600403,
       0.00019841269534209003, 2.4801497768905838e-05, 2.755757023173775e-06, 2.762873476036242e-07,
       2.500316665457814e-08)


# -- the functions -------------------------------------------------------------------------------------------------


def exponent_and_rest(w: Function, x: Real) -> tuple[Whole, Real, Real]:
    """k in the lowest bits of a word, k, and r = x - k log 2 with |r| <= log(2)/2."""
    shifted = w.fma(x, LOG2_E, MAGIC)
    k = shifted - MAGIC
    return shifted.bits(), k, w.fma(k, -LOG2_REST, w.fma(k, -LOG2, x))


def exp(w: Function, x: Real) -> Real:
    """exp(x) = 2^k exp(r), x = k log 2 + r; 2^k in two steps, for it may be beyond the range of doubles."""
    bits, _, r = exponent_and_rest(w, x.clipped(-1000.0, 1000.0))
    value = w.fma(r * r, w.polynomial(r, EXP), r) + 1.0
    half = bits >> 1
    for part in (half, bits - half):
        value = value * ((part << 52) + ONE).real()
    return value


#: name -> (formula, arguments at which it is held against libm on first use)
FORMULAS: dict[str, tuple[Callable[..., Real], Sequence[tuple[float, ...]]]] = {
    "exp": (exp, [(0.0,), (1.0,), (-3.7,), (88.8,), (-745.0,), (710.0,), (-math.inf,)]),
}
#: what kernels spell otherwise than math.<name>, in terms of the functions above
COMPOSED: dict[str, tuple[str, ...]] = {}

_SUFFIX = {"double": "f64", "float": "f32"}


def symbol(name: str, kind: str) -> str:
    """The name under which the IR of a function defines it."""
    return f"symhess_{name}_{_SUFFIX[kind]}"


@functools.cache
def definition(name: str, kind: str) -> str | None:
    """The IR of a function of `kind` ("double" or "float"), its helpers and declarations; None if there is none here.

    Lines that begin with "declare" may stand in several definitions: a module takes each once.
    """
    if name not in FORMULAS or kind not in _SUFFIX or not usable(name):
        return None
    return _double(name) if kind == "double" else _double(name) + _rounded(name)


def _parameters(name: str) -> list[str]:
    return ["%x", "%y"][:len(FORMULAS[name][1][0])]


def _double(name: str) -> str:
    names = _parameters(name)
    w = Function(f"double @{symbol(name, 'double')}({', '.join(f'double {p}' for p in names)})")
    return w.text(FORMULAS[name][0](w, *map(w.real, names)))


def _rounded(name: str) -> str:
    """The function of floats: that of doubles, rounded."""
    names = _parameters(name)
    lines = [f"{p}d = fpext float {p} to double" for p in names]
    lines.append(f"%v = call double @{symbol(name, 'double')}({', '.join(f'double {p}d' for p in names)})")
    lines.append("%r = fptrunc double %v to float")
    head = f"float @{symbol(name, 'float')}({', '.join(f'float {p}' for p in names)})"
    return f"define internal {head} alwaysinline nounwind readnone {{\n" + "\n".join(lines) + "\nret float %r\n}\n"


# -- where they are used -------------------------------------------------------------------------------------------

_LIBM = re.compile(r"\bmath\.(\w+)\(|(?<![\w.])(\w+)\(")


def spelled(kernel: str) -> str:
    """A kernel spelling with every function that vectorises in its vector form: math.exp(x) -> vexp(x)."""
    def replaced(match: re.Match) -> str:
        name = match[1] or match[2]
        known = name in FORMULAS if match[1] else name in COMPOSED
        return f"v{name}(" if known and all(map(usable, COMPOSED.get(name, (name,)))) else match[0]

    return _LIBM.sub(replaced, kernel)


@functools.cache
def supported() -> bool:
    """True where the processor has a fused multiply-add and vectors of doubles."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    features = llvm.get_host_cpu_features()
    return bool(features.get("fma") and features.get("avx2"))


@functools.cache
def usable(name: str) -> bool:
    """True for a function that agrees with libm on this machine; one that does not is reported once."""
    if not supported():
        return False
    function, points = machine_code(name), FORMULAS[name][1]
    wrong = next((p for p in points if not _close(function(*p), reference(name, *p))), None)
    if wrong is not None:
        warnings.warn(f"{name}{wrong} by symhess's formula is {function(*wrong)!r}, not {reference(name, *wrong)!r}: "
                      "kernels call libm for it", SymhessWarning, stacklevel=2)
    return wrong is None


def machine_code(name: str) -> Callable[..., float]:
    """The function compiled on its own, for tests and for the check on first use."""
    names = _parameters(name)
    arguments = ", ".join(f"double {p}" for p in names)
    kernel = (f"define double @kernel({arguments}) {{\n%r = call double @{symbol(name, 'double')}({arguments})\n"
              "ret double %r\n}\n")
    engine, address = compile_ir(_double(name) + kernel)
    call = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * len(names))(address)
    call.engine = engine
    return call


def reference(name: str, *args: float) -> float:
    """What libm says; infinite where Python raises OverflowError."""
    try:
        return getattr(math, name)(*args)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _close(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 4 * math.ulp(b)
