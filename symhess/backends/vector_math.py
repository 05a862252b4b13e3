"""Mathematical functions that vectorise: branch-free formulas in LLVM IR, at most 2 ulp from the exact value.

In a kernel's text `vexp(x)` is exp(x) by these formulas, `math.exp(x)` the call of libm; `spelled` turns one into the
other. `definition` gives the IR of a function: symhess_exp_f64, symhess_exp_f32. Every function is a formula of
doubles that is right for every double: infinities, NaN, signed zeros, subnormals. Scalar and vector code round alike.
The formula for float32 is that for float64, rounded.

The formulas (`vector_functions`) need a fused multiply-add; where the processor has none, or a function does not agree
with NumPy when it is first asked for, kernels keep calling libm.
"""

from __future__ import annotations

import ctypes
import functools
import math
import platform
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np

from symhess.backends import vector_functions as f
from symhess.backends.machine_code import compiled, loaded
from symhess.backends.vector_formula import ATTRIBUTES, Function, Real
from symhess.errors import SymhessWarning


@dataclass(frozen=True)
class Formula:
    """A function: its formula, how kernels spell it otherwise, and points at which it is held against `reference`."""

    write: Callable[..., Real]
    spelling: str
    reference: Callable[..., float]
    points: Sequence[tuple[float, ...]]


def _of_libm(write: Callable[..., Real], *points: float | tuple[float, ...]) -> Formula:
    name = write.__name__.rstrip("_")
    reference = np.float_power if name == "pow" else getattr(np, name)  # np.power takes other ways at some exponents
    return Formula(write, f"math.{name}", reference, [p if isinstance(p, tuple) else (p,) for p in points])


def _composed(write: Callable[..., Real], reference: Callable[..., float], *points: tuple[float, ...]) -> Formula:
    return Formula(write, write.__name__, reference, points)


_ANGLES = (0.0, 1.0, -2.5, 11.0, 1e9, -1e300, math.inf)
_SIZES = (0.0, 1e-5, -0.4, 3.0, -40.0, 800.0)
FORMULAS: dict[str, Formula] = {
    "exp": _of_libm(f.exp, 0.0, 1.0, -3.7, 88.8, -745.0, 710.0, -math.inf),
    "expm1": _of_libm(f.expm1, *_SIZES),
    "log": _of_libm(f.log, 0.0, 1.0, 0.3, 7.0, 5e-324, 1e308, math.inf, -1.0),
    "log1p": _of_libm(f.log1p, -1.0, *_SIZES, 1e308, math.inf),
    "pow": _of_libm(f.pow_, (2.0, 0.5), (0.7, -31.4), (3.0, 600.0), (1e-308, 0.9), (-2.0, 3.0), (0.0, -1.0)),
    "sin": _of_libm(f.sin, *_ANGLES), "cos": _of_libm(f.cos, *_ANGLES), "tan": _of_libm(f.tan, *_ANGLES),
    "atan": _of_libm(f.atan, *_SIZES, -1.0, 2.6, math.inf),
    "sinh": _of_libm(f.sinh, *_SIZES), "cosh": _of_libm(f.cosh, *_SIZES), "tanh": _of_libm(f.tanh, *_SIZES),
    "sigmoid": _composed(f.sigmoid, lambda x: 1 / (1 + np.exp(-x)), (0.0,), (2.0,), (-30.0,)),
    "softplus": _composed(f.softplus, lambda x: np.logaddexp(0, x), (0.0,), (2.0,), (-30.0,)),
    "logaddexp": _composed(f.logaddexp, np.logaddexp, (0.5, 2.0), (1.0, 1.0)),
    "sech": _composed(f.sech, lambda x: 1 / np.cosh(x), (0.0,), (2.0,), (-30.0,)),
    "inverse_expm1": _composed(f.inverse_expm1, lambda x: 1 / np.expm1(x), (1e-5,), (2.0,), (-30.0,)),
    "entr": _composed(f.entr, lambda x: -x * np.log(x), (0.5,), (3.0,)),
    "xlogy": _composed(f.xlogy, lambda x, y: x * np.log(y), (0.5, 3.0), (0.0, 2.0)),
    "times_log": _composed(f.times_log, lambda x, y: x * np.log(y), (0.5, 3.0), (0.0, 2.0)),
}
#: spelling -> name
_SPELLINGS = {formula.spelling: name for name, formula in FORMULAS.items()}
_SUFFIX = {"double": "f64", "float": "f32"}


def symbol(name: str, kind: str) -> str:
    """The name under which the IR of a function defines it."""
    return f"symhess_{name}_{_SUFFIX[kind]}"


def definition(name: str, kind: str) -> str | None:
    """The IR of a function of `kind` ("double" or "float") with all it needs; None if there is none here."""
    return definitions([(name, kind)]) if name in FORMULAS and kind in _SUFFIX and usable(name) else None


def definitions(wanted: Iterable[tuple[str, str]]) -> str:
    """The IR of several (name, kind), each function and each declaration in it once."""
    found: dict[str, str] = {}
    for name, kind in wanted:
        found |= _parts(name, kind)
    return "\n".join(found.values())


@functools.cache
def _parts(name: str, kind: str) -> dict[str, str]:
    """Declarations and definitions by their symbols."""
    names = parameters(name)
    w = Function(f"double @{symbol(name, 'double')}({', '.join(f'double {p}' for p in names)})")
    text = w.text(FORMULAS[name].write(w, *map(w.real, names)))
    known = {d: d for d in sorted(w.declarations)} | w.helpers | {symbol(name, "double"): text}
    return known if kind == "double" else known | {symbol(name, kind): _rounded(name)}


def parameters(name: str) -> list[str]:
    """The names of the arguments in IR."""
    return ["%x", "%y"][:len(FORMULAS[name].points[0])]


def _rounded(name: str) -> str:
    """The function of floats: that of doubles, rounded."""
    names = parameters(name)
    lines = [f"{p}d = fpext float {p} to double" for p in names]
    lines.append(f"%v = call double @{symbol(name, 'double')}({', '.join(f'double {p}d' for p in names)})")
    lines.append("%r = fptrunc double %v to float")
    head = f"float @{symbol(name, 'float')}({', '.join(f'float {p}' for p in names)})"
    return f"define internal {head} {ATTRIBUTES} {{\n" + "\n".join(lines) + "\nret float %r\n}\n"


# -- where they are used -------------------------------------------------------------------------------------------

_CALLS = re.compile(r"(?<![\w.])(?:math\.)?\w+(?=\()")


def spelled(kernel: str) -> str:
    """A kernel spelling with every function that vectorises in its vector form: math.exp(x) -> vexp(x)."""
    def replaced(match: re.Match) -> str:
        name = _SPELLINGS.get(match[0])
        return f"v{name}" if name is not None and usable(name) else match[0]

    return _CALLS.sub(replaced, kernel)


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
    function, points = machine_code(name), FORMULAS[name].points
    wrong = next((p for p in points if not _close(function(*p), reference(name, *p))), None)
    if wrong is not None:
        warnings.warn(f"{name}{wrong} by symhess's formula is {function(*wrong)!r}, not {reference(name, *wrong)!r}: "
                      "kernels call libm for it", SymhessWarning, stacklevel=2)
    return wrong is None


def machine_code(name: str) -> Callable[..., float]:
    """The function compiled on its own, for tests and for the check on first use."""
    names = parameters(name)
    arguments = ", ".join(f"double {p}" for p in names)
    kernel = (f"define double @kernel({arguments}) {{\n%r = call double @{symbol(name, 'double')}({arguments})\n"
              "ret double %r\n}\n")
    code = loaded(compiled(definitions([(name, "double")]) + kernel, 1, False))
    call = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * len(names))(code.address("kernel"))
    call.code = code
    return call


def reference(name: str, *args: float) -> float:
    """What NumPy says."""
    with np.errstate(all="ignore"):
        return float(FORMULAS[name].reference(*args))


def _close(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 4 * math.ulp(b)
