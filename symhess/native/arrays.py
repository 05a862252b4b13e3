"""Arrays of numbers: memory, elementwise loops with broadcasting, reductions and products.

Bodies are Python that Numba compiles for the types it meets; operators in them are those of `operators.py`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_borrowed, impl_ret_new_ref
from numba.core.typing.templates import Signature, signature
from numba.extending import intrinsic, overload, overload_method
from numba.np import arrayobj

from symhess.native.layout import Layout
from symhess.native.number import PLAIN, NumberArray, NumberType, number_array, number_type
from symhess.native.operators import BINARY, COMPARISONS, IN_PLACE

ARGUMENTS = "abc"
#: in-place operator -> the function that does it to an array of numbers
UPDATES: dict[Any, Callable] = {}


def kind_of(*args: types.Type) -> NumberType | None:
    """The number type that is, or is in, one of the types."""
    for a in args:
        inner = a.dtype if isinstance(a, (types.Array, types.List, types.UniTuple)) else a
        inner = kind_of(*a.types) if isinstance(a, types.Tuple) else inner
        inner = kind_of(inner) if isinstance(inner, (types.List, types.BaseTuple)) else inner
        if isinstance(inner, NumberType):
            return inner
    return None


def _new_array(context: Any, builder: ir.IRBuilder, sig: Signature, shape: ir.Value) -> ir.Value:
    made = arrayobj._empty_nd_impl(context, builder, sig.return_type, cgutils.unpack_tuple(builder, shape))
    return impl_ret_new_ref(context, builder, sig.return_type, made._getvalue())


@intrinsic
def empty_like_kind(typing_context, like, shape):
    """An array of the shape for numbers like those of `like`."""
    def lower(context, builder, sig, args):
        return _new_array(context, builder, sig, args[1])

    return signature(number_array(kind_of(like), len(shape)), like, shape), lower


@functools.cache
def empty_of(kind: NumberType) -> Any:
    """A function of a shape that makes an array of numbers."""
    @intrinsic
    def empty(typing_context, shape):
        def lower(context, builder, sig, args):
            return _new_array(context, builder, sig, args[0])

        return signature(number_array(kind, len(shape)), shape), lower

    return empty


@functools.cache
def lifted_constant(layout: Layout) -> Any:
    """A function that makes numbers of a float, or of a tuple of floats."""
    @intrinsic
    def lift(typing_context, x):
        kind = number_type(layout)
        result = types.UniTuple(kind, len(x)) if isinstance(x, types.BaseTuple) else kind

        def lower(context, builder, sig, args):
            return context.cast(builder, args[0], sig.args[0], sig.return_type)

        return signature(result, x), lower

    lift.__name__ = "lift"
    return lift


@intrinsic
def own(typing_context, a):
    """The same array, as an array of numbers again."""
    def lower(context, builder, sig, args):
        return impl_ret_borrowed(context, builder, sig.return_type, args[0])

    return signature(NumberArray(a.dtype, a.ndim, a.layout), a), lower


@intrinsic
def value_of(typing_context, x):
    """The value of a number, or a plain number as it is."""
    def lower(context, builder, sig, args):
        return builder.extract_value(args[0], 0) if isinstance(x, NumberType) else args[0]

    return signature(types.float64 if isinstance(x, NumberType) else x, x), lower


# -- elementwise ---------------------------------------------------------------------------------------------------


def mixes_arrays(args: Sequence[types.Type]) -> bool:
    """True for arrays and scalars, with an array and numbers among them."""
    known = all(isinstance(a, (types.Array, NumberType, *PLAIN)) for a in args)
    return known and kind_of(*args) is not None and any(isinstance(a, types.Array) for a in args)


def elementwise(function: Callable, nargs: int, boolean: bool = False) -> Callable:
    """`function` over arrays of numbers and whatever broadcasts with them, as an implementation for `overload`."""
    def implementation(*args) -> Callable | None:
        if len(args) != nargs or not mixes_arrays(args):
            return None
        return _loop(function, tuple(isinstance(a, types.Array) for a in args),
                     next(k for k, a in enumerate(args) if kind_of(a)), boolean,
                     max(a.ndim for a in args if isinstance(a, types.Array)))

    names = ", ".join(ARGUMENTS[:nargs])
    return eval(f"lambda {names}: implementation({names})", {"implementation": implementation})


@functools.cache
def _loop(function: Callable, arrays: tuple[bool, ...], number: int, boolean: bool, ranks: int) -> Callable:
    """The loop over all elements, as Python source."""
    names = ARGUMENTS[:len(arrays)]
    if ranks == 1:
        return _vector_loop(function, arrays, number, boolean)
    shapes = ", ".join(f"{n}.shape" for n, array in zip(names, arrays) if array)
    made = "np.empty(shape, np.bool_)" if boolean else f"empty_like_kind({names[number]}, shape)"
    lines = [f"def loop({', '.join(names)}):", f"    shape = np.broadcast_shapes({shapes})", f"    out = {made}"]
    lines += [f"    {n}_all = np.broadcast_to({n}, shape)" for n, array in zip(names, arrays) if array]
    elements = ", ".join(f"{n}_all[k]" if array else n for n, array in zip(names, arrays))
    lines += ["    for k in np.ndindex(shape):", f"        out[k] = function({elements})", "    return out"]
    return python(lines, function=function)


def _vector_loop(function: Callable, arrays: tuple[bool, ...], number: int, boolean: bool) -> Callable:
    """The same for vectors, much of which need not be compiled; one of length 1 is repeated."""
    names = ARGUMENTS[:len(arrays)]
    given = [n for n, array in zip(names, arrays) if array]
    made = "np.empty(size, np.bool_)" if boolean else f"empty_like_kind({names[number]}, (size,))"
    lines = [f"def loop({', '.join(names)}):", f"    size = len({given[0]})"]
    for n in given[1:]:
        lines += ["    if size == 1:", f"        size = len({n})"]
    for n in given:
        lines += [f"    {n}_step = 0 if len({n}) == 1 else 1", f"    if {n}_step == 1 and len({n}) != size:",
                  "        raise ValueError('operands could not be broadcast together')"]
    elements = ", ".join(f"{n}[k * {n}_step]" if array else n for n, array in zip(names, arrays))
    return python([*lines, f"    out = {made}", "    for k in range(size):", f"        out[k] = function({elements})",
                   "    return out"], function=function)


def python(lines: Sequence[str], **names: Any) -> Callable:
    """The function `loop` of given source."""
    space = {"np": np, "empty_like_kind": empty_like_kind, **names}
    exec("\n".join(lines), space)
    return space["loop"]


@functools.cache
def _update(function: Callable, array: bool) -> Callable:
    """a[k] = function(a[k], b[k]) for an array a that stays where it is."""
    element, spread = ("b_all[k]", "np.broadcast_to(b, a.shape)") if array else ("b_all", "b")
    return python(["def loop(a, b):", f"    b_all = {spread}", "    for k in np.ndindex(a.shape):",
                      f"        a[k] = function(a[k], {element})", "    return a"], function=function)


def _register_update(in_place: Any, op: Any) -> None:
    def function(a: Any, b: Any) -> Any:
        return in_place(a, b)

    UPDATES[in_place] = function

    @overload(function)
    def update(a, b) -> Callable | None:
        fits = isinstance(b, (types.Array, NumberType, *PLAIN))
        return _update(op, isinstance(b, types.Array)) if fits else None


for _op in (*BINARY, *COMPARISONS, operator.floordiv):
    overload(_op)(elementwise(_op, 2, _op in COMPARISONS))
overload(operator.neg)(elementwise(operator.neg, 1))
for _in_place, _op in IN_PLACE.items():
    _register_update(_in_place, _op)


@overload(operator.floordiv)
def _floor_divide(a, b) -> Callable | None:
    """The integer below a / b, which does not move."""
    if kind_of(a, b) is None or not all(isinstance(x, (NumberType, *PLAIN)) for x in (a, b)):
        return None
    return lambda a, b: np.float64(value_of(a)) // np.float64(value_of(b))


# -- reductions ----------------------------------------------------------------------------------------------------


def _sum_of(a, axis=None):
    """All elements, or those along an axis of a matrix, added from the first to the last."""
    total = a.flat[0] * 0.0
    for k in np.ndindex(a.shape):
        total = total + a[k]
    return total


def _sum_along(a, axis=None):
    """Sums along one axis of a matrix."""
    rows, cols = a.shape
    out = empty_like_kind(a, (cols if axis == 0 or axis == -2 else rows,))
    out[:] = 0.0
    for i in range(rows):
        for j in range(cols):
            k = j if axis == 0 or axis == -2 else i
            out[k] = out[k] + a[i, j]
    return out


def _prod_of(a, axis=None):
    """The product of all elements."""
    total = a.flat[0] * 0.0 + 1.0
    for k in np.ndindex(a.shape):
        total = total * a[k]
    return total


def _place_of(relation: str) -> Callable:
    """The place of the first of the largest (smallest) elements, or of the first NaN."""
    return python(["def loop(a, axis=None):", "    flat = a.ravel()", "    if len(flat) == 0:",
                   "        raise ValueError('the array is empty')", "    best = 0",
                   "    for k in range(1, len(flat)):", "        if flat[best] != flat[best]:", "            break",
                   f"        if flat[k] {relation} flat[best] or flat[k] != flat[k]:", "            best = k",
                   "    return best"])


def _extreme(method: str) -> Callable:
    """The largest (smallest) element; equal ones share the derivative."""
    return python(["def loop(a, axis=None):", f"    flat, best = a.ravel(), a.{method}()",
                   "    found, count = flat[best], 1", "    for k in range(best + 1, len(flat)):",
                   "        if flat[k] == flat[best]:",
                   "            found, count = found + flat[k], count + 1",
                   "    return found if count == 1 else found / count"])


def _mean_of(a, axis=None):
    """The sum of all elements by their number."""
    return a.sum() / a.size


def _cumsum_of(a):
    """Running sums of a vector."""
    out = a.copy()
    for k in range(1, len(a)):
        out[k] = out[k - 1] + a[k]
    return out


def _diff_of(a):
    """Differences of neighbours."""
    return a[1:] - a[:-1]


def _order_of(a):
    """The places of the elements in ascending order; equal ones stay in theirs."""
    values = np.empty(len(a))
    for k in range(len(a)):
        values[k] = value_of(a[k])
    return np.argsort(values, kind="mergesort")


def _sorted_of(a):
    """A sorted copy."""
    order = np.empty(len(a), np.int64)
    order[:] = argsorted(a)
    out = a.copy()
    for k in range(len(a)):
        out[k] = a[order[k]]
    return out


def _dot_of(a, b):
    """Sum of products."""
    if len(a) != len(b):
        raise ValueError("vectors of a product differ in length")
    total = a[0] * b[0] * 0.0
    for k in range(len(a)):
        total = total + a[k] * b[k]
    return total


def _matrix_vector(a, b):
    if a.shape[1] != len(b):
        raise ValueError("matrix and vector of a product do not fit")
    out = empty_like_kind((a[0, 0], b[0]), (a.shape[0],))
    for i in range(a.shape[0]):
        out[i] = product(a[i], b)
    return out


def _vector_matrix(a, b):
    return product(b.T, a)


def _matrix_matrix(a, b):
    if a.shape[1] != b.shape[0]:
        raise ValueError("matrices of a product do not fit")
    out = empty_like_kind((a[0, 0], b[0, 0]), (a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            out[i, j] = product(a[i], b[:, j])
    return out


def product(a: Any, b: Any) -> Any:
    """a @ b where numbers take part."""
    return a @ b


def argsorted(a: Any) -> Any:
    """np.argsort of values."""
    return np.argsort(a)


overload(argsorted)(lambda a: _order_of)
_PRODUCTS = {(1, 1): _dot_of, (2, 1): _matrix_vector, (1, 2): _vector_matrix, (2, 2): _matrix_matrix}


@overload(product)
@overload(operator.matmul)
def _product(a, b) -> Callable | None:
    """The product for the ranks at hand."""
    if kind_of(a, b) is None or not all(isinstance(x, types.Array) for x in (a, b)):
        return None
    return _PRODUCTS.get((a.ndim, b.ndim))


def _outer_of(a, b):
    """a_i b_j."""
    return a.copy().reshape(-1, 1) * b.copy().reshape(1, -1)


def _norm_of(a):
    """The root of the sum of squares."""
    return root((a * a).sum())


def root(x: Any) -> Any:
    """The square root that is flat at 0."""
    return np.sqrt(x)


#: function on one array of numbers -> what NumPy calls it
REDUCTIONS: dict[str, Callable] = {
    "prod": _prod_of, "mean": _mean_of, "argmax": _place_of(">"), "argmin": _place_of("<"),
    "max": _extreme("argmax"), "min": _extreme("argmin"),
}


def _everything(a: types.Type, axis: Any) -> bool:
    """True where a reduction leaves one number."""
    return axis is None or isinstance(axis, (types.NoneType, types.Omitted)) or a.ndim == 1


#: functions of one vector
VECTOR_FUNCTIONS: dict[Any, Callable] = {np.cumsum: _cumsum_of, np.diff: _diff_of, np.argsort: _order_of,
                                         np.sort: _sorted_of, np.linalg.norm: _norm_of}
OUTER = _outer_of


def _sum_method(a, axis=None) -> Callable | None:
    """The sum of all, or along an axis."""
    return _sum_of if _everything(a, axis) else _sum_along if a.ndim == 2 else None


def _whole(body: Callable) -> Callable:
    """A reduction of all elements."""
    return lambda a, axis=None: body if _everything(a, axis) else None


overload_method(NumberArray, "sum")(_sum_method)
for _name, _body in REDUCTIONS.items():
    overload_method(NumberArray, _name)(_whole(_body))


@overload_method(NumberArray, "dot")
def _dot_method(a, b) -> Callable:
    return lambda a, b: product(a, b)


@overload_method(NumberArray, "item")
def _item(a, k=None) -> Callable:
    return (lambda a, k=None: a.flat[0]) if k is None or isinstance(k, types.Omitted) else (
        lambda a, k=None: a.flat[k])


@overload_method(NumberArray, "fill")
def _fill(a, value) -> Callable:
    def fill(a, value):
        a[...] = value

    return fill


@overload_method(NumberArray, "astype")
def _as_type(a, dtype) -> Callable:
    return lambda a, dtype: a.copy()
