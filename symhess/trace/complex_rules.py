"""NumPy's functions of complex arrays: which of them can be traced, and how each follows from its real parts.

The table is an allow-list. Functions that are linear in an argument are applied to real and imaginary parts alone,
products to all pairs of parts, linear systems to the real matrix [[A, -B], [B, A]] of A + i B; what is not in the
table is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.errors import UnsupportedOperation
from symhess.primitives import apply, sum_over
from symhess.trace.complex_tracer import REMEDY, ComplexTracer, as_complex, is_complex, pair, parts
from symhess.trace.complex_ufuncs import conjugate, product_of
from symhess.trace.functions import FUNCTIONS, IN_PLACE, call, finished, unsupported
from symhess.trace.reductions import axes_of, kept
from symhess.trace.session import here

Rule = Callable[..., Any]
#: function -> its rule for complex arguments
RULES: dict[Callable, Rule] = {}
#: functions that are linear in the arguments at these places, taken together
LINEAR: dict[tuple[int, ...], Sequence[Callable]] = {
    (0,): (np.sum, np.mean, np.cumsum, np.average, np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis,
           np.rollaxis, np.squeeze, np.expand_dims, np.flip, np.fliplr, np.flipud, np.rot90, np.broadcast_to,
           np.diagonal, np.lib.stride_tricks.sliding_window_view, np.matrix_transpose, np.roll, np.tile, np.repeat,
           np.delete, np.resize, np.take_along_axis, np.take, np.compress, np.concatenate, np.stack, np.hstack,
           np.vstack, np.dstack, np.column_stack, np.block, np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit,
           np.copy, np.diff, np.gradient, np.trapezoid, np.pad, np.diag, np.diagflat, np.tril, np.triu, np.trace,
           np.round, np.nan_to_num, np.fft.fftshift, np.fft.ifftshift),
    (0, 1): (np.append, np.fill_diagonal, np.copyto),
    (0, 2): (np.insert, np.put),
    (1,): (np.extract,),
    (1, 2): (np.where, np.select),
    (2,): (np.interp,),
    tuple(range(32)): (np.broadcast_arrays, np.meshgrid, np.atleast_1d, np.atleast_2d, np.atleast_3d),
}
#: functions whose rule is made of operations that take complex numbers too, and of shapes
COMPOSED = (np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.polyval, np.vander, np.isclose,
            np.allclose, np.array_equal, np.linalg.matrix_power, np.linalg.matmul, np.linalg.outer, np.linalg.trace,
            np.linalg.cross, np.linalg.tensordot, np.linalg.diagonal, np.linalg.matrix_transpose, np.array2string,
            np.array_str, np.array_repr, np.may_share_memory, np.shares_memory)
#: function -> which of its factors is conjugated
PRODUCTS: dict[Callable, int | None] = {
    np.dot: None, np.inner: None, np.outer: None, np.tensordot: None, np.kron: None, np.cross: None, np.convolve: None,
    np.vdot: 0, np.correlate: 1,
}


def implements(*functions: Callable) -> Callable[[Rule], Rule]:
    """Enter a rule for complex arguments."""
    def enter(rule: Rule) -> Rule:
        for f in functions:
            RULES[f] = rule
        return rule

    return enter


def complex_call(function: Callable, args: tuple, kwargs: dict) -> Any:
    """The function of complex arguments by its rule here."""
    rule = RULES.get(function)
    name = getattr(function, "__name__", str(function))
    if rule is None:
        raise unsupported(f"{name} of complex numbers")
    if function in IN_PLACE and not isinstance(args[0], ComplexTracer) and function in (
            np.copyto, np.put, np.fill_diagonal):
        raise UnsupportedOperation(f"{name} cannot write complex numbers into a real array{here()}; {REMEDY}")
    return rule(*args, **kwargs)


def _linear(function: Callable, places: tuple[int, ...]) -> Rule:
    def rule(*args: Any, **kwargs: Any) -> Any:
        split = [_of_one_shape(a) if k in places else (a, a) for k, a in enumerate(args)]
        return pair(*(call(function, *chosen, **kwargs) for chosen in zip(*split)))

    return rule


def _of_one_shape(x: Any) -> tuple[Any, Any]:
    """Both parts, the imaginary one of a real array as an array of zeros."""
    if isinstance(x, (list, tuple)):
        found = [_of_one_shape(i) for i in x]
        return [r for r, _ in found], [i for _, i in found]
    re, im = parts(x)
    return re, np.zeros(re.shape, re.dtype) if type(im) is float and np.ndim(re) else im


def _product(function: Callable, conjugated: int | None) -> Rule:
    def rule(a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
        factors = [conjugate(f) if k == conjugated else f for k, f in enumerate((a, b))]
        return product_of(lambda x, y: call(function, x, y, *args, **kwargs), *factors)

    return rule


for _places, _functions in LINEAR.items():
    for _function in _functions:
        RULES[_function] = _linear(_function, _places)
for _function, _conjugated in PRODUCTS.items():
    RULES[_function] = _product(_function, _conjugated)
for _function in COMPOSED:
    RULES[_function] = FUNCTIONS[_function]
for _function in (np.any, np.all, np.count_nonzero):
    RULES[_function] = functools.partial(
        lambda function, a, *args, **kwargs: call(function, np.not_equal(a, 0), *args, **kwargs), _function)

RULES[np.real] = lambda z: z.real
RULES[np.imag] = lambda z: z.imag
RULES[np.iscomplexobj], RULES[np.isrealobj] = lambda x: True, lambda x: False
RULES[np.isreal], RULES[np.iscomplex] = lambda z: np.equal(z.imag, 0), lambda z: np.not_equal(z.imag, 0)
RULES[np.linalg.multi_dot] = lambda arrays: functools.reduce(np.dot, arrays)
RULES[np.linalg.vecdot] = lambda a, b, /, *, axis=-1: np.sum(np.multiply(np.conjugate(a), b), axis)


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    found = np.arctan2(z.imag, z.real)
    return np.degrees(found) if deg else found


@implements(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: bool = True,
              shape: Any = None) -> Any:
    z = as_complex(fill_value)
    made = np.broadcast_to(z, np.shape(a) if shape is None else shape).copy()
    return made if is_complex(a) or dtype is not None else made.real


@implements(np.var)
def var(a: Any, *args: Any, **kwargs: Any) -> Any:
    return call(np.var, a.real, *args, **kwargs) + call(np.var, a.imag, *args, **kwargs)


implements(np.std)(lambda a, *args, **kwargs: finished(apply("root", var(a, *args, **kwargs).node)))


@implements(np.prod)
def prod(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Halves multiplied with each other, log2(n) times."""
    z = as_complex(a)
    axes = axes_of(axis, z.ndim)
    rest = [n for d, n in enumerate(z.shape) if d not in axes]
    z = np.moveaxis(z, axes, range(len(axes))).reshape(-1, *rest)
    while len(z) > 1:
        half = len(z) // 2
        z = np.concatenate([z[:half] * z[half:2 * half], z[2 * half:]])
    made = z[0] if len(z) else np.ones_like(z, shape=rest)
    return np.expand_dims(made, axes) if keepdims else made


@implements(np.einsum)
def einsum(subscripts: Any, *operands: Any, **options: Any) -> Any:
    if not isinstance(subscripts, str):
        raise unsupported("einsum with sublists of complex numbers")
    return product_of(lambda *factors: call(np.einsum, subscripts, *factors), *operands)


# -- linear algebra ------------------------------------------------------------------------------------------------


def embedded(a: Any) -> Any:
    """The real matrices [[A, -B], [B, A]] of A + i B."""
    a = as_complex(a)
    return np.concatenate([np.concatenate([a.re, -a.im], -1), np.concatenate([a.im, a.re], -1)], -2)


def _upper_and_lower(x: Any, axis: int) -> ComplexTracer:
    """The complex array whose real parts stand above (before) its imaginary parts."""
    half = x.shape[axis] // 2
    x = np.moveaxis(x, axis, 0)
    return pair(np.moveaxis(x[:half], 0, axis), np.moveaxis(x[half:], 0, axis))


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    b = as_complex(b)
    axis = -1 if b.ndim == 1 else -2
    return _upper_and_lower(np.linalg.solve(embedded(a), np.concatenate([b.re, b.im], axis)), axis)


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    n = np.shape(a)[-1]
    return _upper_and_lower(np.linalg.inv(embedded(a))[..., :n], -2)


@implements(np.linalg.det)
def det(a: Any) -> Any:
    """Expansion along the first row, up to 3 x 3."""
    n = np.shape(a)[-1]
    if n > 3:
        raise unsupported("linalg.det of complex matrices larger than 3 x 3")
    if n < 2:
        return a[..., 0, 0]
    others = [[k for k in range(n) if k != j] for j in range(n)]
    terms = [(-1.0) ** j * a[..., 0, j] * det(a[..., 1:, :][..., cols]) for j, cols in enumerate(others)]
    return functools.reduce(np.add, terms)


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of the moduli, or of all parts where squares are added up: flat at 0."""
    rank = x.ndim if axis is None else np.size(axis)
    if not (ord is None or (ord == "fro" and rank == 2) or (ord == 2 and rank == 1)):
        if rank == 2 and ord in (2, -2, "nuc"):
            raise unsupported(f"linalg.norm with ord={ord!r} of a complex matrix")
        return np.linalg.norm(np.abs(x), ord, axis, keepdims)
    axes = axes_of(axis, x.ndim)
    squares = (x.re * x.re + x.im * x.im).node
    return finished(kept(apply("root", sum_over(squares, axes)), x.shape, axes, keepdims))


# -- cmath ---------------------------------------------------------------------------------------------------------


def _of_complex(function: Rule) -> Rule:
    """The function of complex numbers, also where the argument is real."""
    return lambda z: function(as_complex(z))


def _log(z: Any, base: Any = None) -> Any:
    return np.log(as_complex(z)) if base is None else np.log(as_complex(z)) / np.log(as_complex(base))


#: functions of cmath
CMATH: dict[str, Rule] = {
    name: _of_complex(getattr(np, name)) for name in (
        "exp", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "isfinite", "isnan", "isinf")
} | {
    "log": _log, "phase": _of_complex(angle), "polar": lambda z: (np.abs(z), angle(as_complex(z))),
    "rect": lambda r, phi: pair(r * np.cos(phi), r * np.sin(phi)),
}
