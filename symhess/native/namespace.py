"""What stands for NumPy's, Python's and SciPy's functions in user code that is compiled over numbers.

A function of the same meaning as a primitive becomes that primitive on numbers; a few others are written out. On plain
numbers and arrays each is what it was.
"""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import Signature
from numba.extending import overload
from scipy import special

from symhess.errors import UnsupportedOperation
from symhess.native import arrays
from symhess.native.arrays import elementwise, empty_like_kind, empty_of, kind_of, value_of
from symhess.native.integers import OVERFLOW, delegated
from symhess.native.layout import Layout
from symhess.native.number import PLAIN, NumberArray, NumberType, number_type
from symhess.native.operators import lower_primitive, primitive_template, register
from symhess.native.rules import kernel
from symhess.primitives import ELEMENTWISE

#: function of NumPy or math -> primitive, where the names differ
RENAMED = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh",
           "acosh": "arccosh", "atanh": "arctanh", "fabs": "abs", "absolute": "abs", "power": "pow", "pow": "pow",
           "float_power": "pow", "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div",
           "true_divide": "div", "negative": "neg", "mod": "remainder", "lgamma": "gammaln", "expit": "sigmoid",
           "psi": "digamma", "loggamma": "gammaln"}
#: primitives that give truth values or are no functions of numbers
_OTHERS = {"where", "isnan", "isfinite", "root", "remainder_"}
STAND_INS: dict[Any, Any] = {}


def primitive_stand_in(name: str, original: Any, plain: Any) -> Callable:
    """A function that is a primitive on numbers, a loop over it on arrays of them, `plain` on everything else."""
    nargs = ELEMENTWISE[name].nargs

    def function(*args: Any) -> Any:
        return original(*args)

    function.__name__ = f"native_{getattr(original, '__name__', name)}"
    over = lambda *args: original(*args)
    over = types_function(nargs)
    overload(over)(elementwise(function, nargs))
    target = lambda args: over if arrays.mixes_arrays(args) else plain
    base = primitive_template(name, nargs)

    class Template(base):
        """Numbers, arrays of numbers, anything else."""

        def generic(self, args: tuple, kws: dict) -> Signature | None:
            return super().generic(args, kws) or self.context.resolve_function_type(target(args), args, kws)

    register(function, Template)

    @lower_builtin(function, types.VarArg(types.Any))
    def lower(context: Any, builder: ir.IRBuilder, sig: Signature, args: Sequence[ir.Value]) -> ir.Value:
        if isinstance(sig.return_type, NumberType):
            return lower_primitive(name)(context, builder, sig, args)
        return delegated(context, builder, target(sig.args), sig, args)

    return function


def types_function(nargs: int) -> Callable:
    """A fresh function of so many arguments, to be given meanings by `overload`."""
    names = ", ".join(arrays.ARGUMENTS[:nargs])
    return eval(f"lambda {names}: None")


def stand_in(*originals: Any) -> Callable:
    """Decorator: typed implementations of functions, which may return None for what the original does itself."""
    def enter(implementation: Callable) -> Callable:
        for original in originals:
            function = eval("lambda *args, **kwargs: None")
            function.__name__ = f"native_{getattr(original, '__name__', 'function')}"
            overload(function, strict=False)(implementation)
            STAND_INS[original] = function
        return implementation

    return enter


def _enter_primitives() -> None:
    for module in (np, math, special):
        for attribute in dir(module):
            original, name = getattr(module, attribute), RENAMED.get(attribute, attribute)
            if name not in ELEMENTWISE or name in _OTHERS or not callable(original) or original in STAND_INS:
                continue
            if name.startswith(("logical", "less", "greater", "equal", "not_equal")):
                continue
            plain = kernel(name) if module is special else original
            STAND_INS[original] = primitive_stand_in(name, original, plain)
    STAND_INS[abs] = primitive_stand_in("abs", abs, abs)
    STAND_INS[pow] = primitive_stand_in("pow", pow, pow)


_enter_primitives()
_ROOT = primitive_stand_in("root", np.sqrt, np.sqrt)
_SQRT = STAND_INS[np.sqrt]
overload(arrays.root)(lambda x: lambda x: _ROOT(x))


def given(x: Any) -> bool:
    """True for an argument that the call has, and that is not None."""
    return x is not None and not isinstance(x, (types.Omitted, types.NoneType))


# -- Python's own --------------------------------------------------------------------------------------------------


@stand_in(float, np.float64)
def _float(x=0.0) -> Callable:
    if isinstance(x, NumberType):
        return lambda x=0.0: x
    return lambda x=0.0: builtin_float(x)


builtin_float, builtin_int, builtin_bool = builtins.float, builtins.int, builtins.bool


@stand_in(int)
def _int(x=0) -> Callable:
    if not isinstance(x, (NumberType, types.Float)):
        return lambda x=0: builtin_int(x)

    def whole(x=0):
        return checked_integer(value_of(x))

    return whole


def _checked(v):
    """int(v); ValueError and OverflowError as in Python."""
    if v != v:
        raise ValueError("cannot convert float NaN to integer")
    if abs(v) == math.inf:
        raise OverflowError("cannot convert float infinity to integer")
    if abs(v) >= 9.2e18:
        raise UnsupportedOperation(OVERFLOW)
    return builtin_int(v)


def checked_integer(v: float) -> int:
    """int(v) in compiled code."""
    return builtin_int(v)


@overload(checked_integer)
def _checked_integer(v) -> Callable:
    return _checked


def _rounding(name: str) -> Callable:
    """math.floor and its kin, which give integers."""
    rounding = getattr(np, name)

    def implementation(x) -> Callable | None:
        return (lambda x: checked_integer(rounding(builtin_float(value_of(x))))) if isinstance(
            x, (NumberType, *PLAIN)) else None

    return implementation


for _name in ("floor", "ceil", "trunc"):
    STAND_INS.pop(getattr(math, _name), None)
    stand_in(getattr(math, _name))(_rounding(_name))


@stand_in(bool)
def _bool(x=False) -> Callable:
    return lambda x=False: builtin_bool(x)


@stand_in(round)
def _round(x, digits=None) -> Callable:
    if not given(digits):
        return lambda x, digits=None: checked_integer(np.rint(builtin_float(value_of(x))))
    if isinstance(x, NumberType):
        return lambda x, digits=None: round(value_of(x), digits)
    return lambda x, digits=None: round(x, digits)


def _choose(relation: str) -> Callable:
    """Python's max and min: the first of equal ones."""
    def implementation(*args) -> Callable | None:
        if len(args) == 1 and not isinstance(args[0], types.BaseTuple):
            lines = ["def loop(*args):", "    items = args[0]", "    if len(items) == 0:",
                     "        raise ValueError('iterable argument is empty')", "    best = items[0]",
                     "    for k in range(1, len(items)):", f"        if items[k] {relation} best:",
                     "            best = items[k]", "    return best"]
            return arrays.python(lines)
        count, source = (len(args[0]), "args[0]") if len(args) == 1 else (len(args), "args")
        lines = ["def loop(*args):", f"    items = {source}", "    best = items[0]"]
        for k in range(1, count):
            lines += [f"    if items[{k}] {relation} best:", f"        best = items[{k}]"]
        return arrays.python([*lines, "    return best"])

    return implementation


stand_in(max)(_choose(">"))
stand_in(min)(_choose("<"))


@stand_in(any)
def _any(items) -> Callable:
    def found(items):
        result = False
        for item in items:
            if item:
                result = True
        return result

    return found


@stand_in(all)
def _all(items) -> Callable:
    def held(items):
        result = True
        for item in items:
            if not item:
                result = False
        return result

    return held


@stand_in(sum)
def _sum(items, start=0) -> Callable:
    def add(items, start=0):
        total = start
        for item in items:
            total = total + item
        return total

    return add


# -- NumPy on arrays of numbers ------------------------------------------------------------------------------------


def _of_array(original: Any, name: str) -> None:
    """np.name(a, axis) as the method of an array of numbers, or of what np.array makes of a list."""
    space = {"plain": original, "as_array": STAND_INS[np.array]}

    def implementation(a, axis=None) -> Callable:
        if kind_of(a) is None:
            text = "lambda a, axis=None: plain(a, axis)" if given(axis) else "lambda a, axis=None: plain(a)"
        else:
            array = "a" if isinstance(a, NumberArray) else "as_array(a)"
            text = f"lambda a, axis=None: {array}.{name}({'axis' if given(axis) else ''})"
        return eval(text, space)

    stand_in(original)(implementation)


@stand_in(np.array, np.asarray, np.asanyarray)
def _array(items, dtype=None) -> Callable | None:
    if kind_of(items) is None:
        return _plain_array(items, dtype)
    if isinstance(items, NumberArray):
        return lambda items, dtype=None: items.copy()
    if isinstance(items, types.BaseTuple):
        return _array_of_tuple(items)
    inner = items.dtype
    if isinstance(inner, types.List):
        def nested(items, dtype=None):
            out = empty_like_kind(items[0][0], (len(items), len(items[0])))
            for i in range(len(items)):
                if len(items[i]) != len(items[0]):
                    raise ValueError("the rows of an array differ in length")
                for j in range(len(items[0])):
                    out[i, j] = items[i][j]
            return out

        return nested

    def flat(items, dtype=None):
        out = empty_like_kind(items[0], (len(items),))
        for k in range(len(items)):
            out[k] = items[k]
        return out

    return flat


def _plain_array(items: types.Type, dtype: Any) -> Callable:
    """np.array of what holds no numbers."""
    text = "np.array(items)" if not isinstance(items, types.Array) else "items.copy()"
    if given(dtype):
        text += ".astype(np.float64)" if _is_float(dtype) else f".astype({_plain_dtype(dtype).lstrip(', ')})"
    return eval(f"lambda items, dtype=None: {text}", {"np": np, **_KINDS})


def _array_of_tuple(items: types.BaseTuple) -> Callable:
    count = len(items)
    nested = all(isinstance(t, types.BaseTuple) for t in items)
    lines = ["def loop(items, dtype=None):"]
    if nested:
        lines.append(f"    out = empty_like_kind(items, ({count}, {len(items[0])}))")
        lines += [f"    out[{i}, {j}] = items[{i}][{j}]" for i in range(count) for j in range(len(items[i]))]
    else:
        lines.append(f"    out = empty_like_kind(items, ({count},))")
        lines += [f"    out[{k}] = items[{k}]" for k in range(count)]
    return arrays.python([*lines, "    return out"])


for _name in ("sum", *arrays.REDUCTIONS):
    _of_array(getattr(np, _name), _name)


def _vector_function(original: Any, body: Callable) -> None:
    """A function of one vector."""
    def implementation(a) -> Callable:
        if kind_of(a) is None:
            return eval("lambda a: plain(a)", {"plain": original})
        return eval("lambda a: body(a)", {"body": made}) if isinstance(a, NumberArray) else None

    made = types_function(1)
    overload(made)(lambda a: body)
    stand_in(original)(implementation)


for _original, _body in arrays.VECTOR_FUNCTIONS.items():
    _vector_function(_original, _body)


@stand_in(np.dot, np.matmul, np.inner, np.vdot)
def _dot(a, b) -> Callable:
    if kind_of(a, b) is None:
        return lambda a, b: np.dot(a, b)
    scalar = not all(isinstance(x, types.Array) for x in (a, b))
    return (lambda a, b: a * b) if scalar else (lambda a, b: arrays.product(a, b))


@stand_in(np.outer)
def _outer(a, b) -> Callable:
    if kind_of(a, b) is None:
        return lambda a, b: np.outer(a, b)
    return arrays.OUTER


@stand_in(np.square)
def _square(x) -> Callable:
    return lambda x: x * x


@stand_in(np.reciprocal)
def _reciprocal(x) -> Callable:
    return lambda x: 1.0 / x


@stand_in(np.clip)
def _clip(x, low, high) -> Callable:
    least, most = STAND_INS[np.minimum], STAND_INS[np.maximum]
    return lambda x, low, high: least(most(x, low), high)


for _originals, _factor in (((np.deg2rad, np.radians, math.radians), math.pi / 180),
                            ((np.rad2deg, np.degrees, math.degrees), 180 / math.pi)):
    stand_in(*_originals)(eval("lambda x: lambda x: x * factor", {"factor": _factor}))


def _predicate(original: Any) -> None:
    """isnan and its kin: of the value."""
    def implementation(x) -> Callable | None:
        if isinstance(x, NumberArray):
            return lambda x: over(x)
        return lambda x: original(value_of(x)) if isinstance(x, (NumberType, *PLAIN)) else original(x)

    scalar = types_function(1)
    overload(scalar)(lambda a: lambda a: original(value_of(a)))
    over = types_function(1)
    overload(over)(elementwise(scalar, 1, boolean=True))
    stand_in(original)(implementation)


for _original in (np.isnan, np.isfinite, np.isinf, math.isnan, math.isfinite, math.isinf):
    _predicate(_original)


def _select(a, b, c):
    """b where a holds, else c."""
    chosen = c
    if a:
        chosen = b
    return chosen


_scalar_where, _array_where = types_function(3), types_function(3)
overload(_scalar_where)(lambda a, b, c: _select)
overload(_array_where)(elementwise(_scalar_where, 3))


@stand_in(np.where)
def _where(c, a, b) -> Callable:
    if kind_of(a, b) is None:
        return lambda c, a, b: np.where(c, a, b)
    if any(isinstance(x, types.Array) for x in (c, a, b)):
        return lambda c, a, b: _array_where(c, a, b)
    return lambda c, a, b: _scalar_where(c, a, b)


@stand_in(np.concatenate, np.hstack)
def _concatenate(parts) -> Callable:
    if kind_of(*(parts.types if isinstance(parts, types.BaseTuple) else (parts,))) is None:
        return lambda parts: np.concatenate(parts)
    return lambda parts: arrays.own(np.concatenate(parts))


@stand_in(np.copy)
def _copy(a) -> Callable:
    return lambda a: a.copy()


@stand_in(math.log)
def _log(x, base=None) -> Callable:
    log = STAND_INS[np.log]
    return (lambda x, base=None: log(x) / log(base)) if given(base) else (lambda x, base=None: log(x))


# -- arrays to be filled -------------------------------------------------------------------------------------------


def _is_float(dtype: Any) -> bool:
    """True for a dtype argument that asks for floats: numbers may be written there."""
    if not given(dtype):
        return True
    if isinstance(dtype, types.Function):
        return dtype.key[0] is STAND_INS[float]
    return isinstance(getattr(dtype, "dtype", None), types.Float)


@functools.cache
def stand_ins(layout: Layout) -> dict[Any, Any]:
    """Everything that is replaced, for numbers of one layout: arrays made for floats hold numbers."""
    empty, found = empty_of(number_type(layout)), dict(STAND_INS)

    def maker(original: Any, like: bool) -> None:
        fill = {"ones": 1.0, "ones_like": 1.0}.get(original.__name__, 0.0)
        plain = {"original": original, "empty": empty, "fill": fill, **_KINDS}

        def implementation(shape, dtype=None) -> Callable:
            if not _is_float(dtype) or (like and not given(dtype) and not isinstance(shape.dtype, (
                    types.Float, NumberType))):
                kind = _plain_dtype(dtype)
                return eval(f"lambda shape, dtype=None: original(shape{kind})", plain)
            return arrays.python(["def loop(shape, dtype=None):", f"    out = empty({_shape_text(shape, like)})",
                                     "    out[...] = fill", "    return out"], **plain)

        function = types_function(0)
        function.__name__ = f"native_{original.__name__}"
        overload(function, strict=False)(implementation)
        found[original] = function

    full = types_function(0)

    @overload(full, strict=False)
    def _full(shape, value, dtype=None) -> Callable:
        if not isinstance(value, (types.Float, NumberType)) or not _is_float(dtype):
            return lambda shape, value, dtype=None: np.full(shape, value)
        return arrays.python(["def loop(shape, value, dtype=None):", f"    out = empty({_shape_text(shape, False)})",
                              "    out[...] = value", "    return out"], empty=empty)

    full.__name__, found[np.full] = "native_full", full
    for original in (np.zeros, np.empty, np.ones):
        maker(original, False)
    for original in (np.zeros_like, np.empty_like, np.ones_like):
        maker(original, True)
    return found


def _shape_text(shape: Any, like: bool) -> str:
    if like:
        return "shape.shape"
    return "(shape,)" if isinstance(shape, types.Integer) else "shape"


_KINDS = {"kinds_i": np.int64, "kinds_b": np.bool_}


def _plain_dtype(dtype: Any) -> str:
    """The rest of a call that makes integers or truth values."""
    if not given(dtype):
        return ""
    boolean = dtype.key[0] is STAND_INS[bool] if isinstance(dtype, types.Function) else (
        getattr(dtype, "dtype", None) == types.boolean)
    return ", kinds_b" if boolean else ", kinds_i"
