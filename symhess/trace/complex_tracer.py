"""Complex intermediates of real functions: two traced real arrays, of the real and of the imaginary parts.

A `ComplexTracer` has no node: what is not written for it (`symhess.trace.complex_rules`) asks for one, and is refused
with the user's line. Views, assignments and buffers are those of the parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.errors import DTypeMismatch, UnsupportedOperation
from symhess.graph.node import Node
from symhess.trace.session import Session, here, mark
from symhess.trace.shaping import traced
from symhess.trace.tracer import Tracer, View, buffer, slow_binary
from symhess.trace.ufuncs import common_dtype

REMEDY = "take .real, .imag, np.abs(...) or np.angle(...) first"
#: dtype of the parts -> dtype of the number
_WHOLE = {np.dtype(np.float32): np.dtype(np.complex64), np.dtype(np.float64): np.dtype(np.complex128)}


class ComplexTracer(Tracer):
    """A complex array or number while a function is traced: re + i im, both traced, of one shape and dtype."""

    def __init__(self, re: Tracer, im: Tracer):
        super().__init__(None, re._session)
        self.re, self.im = re, im

    @property
    def node(self) -> Node:
        """There is none: the refusal of every operation that has no rule for complex numbers."""
        raise UnsupportedOperation(f"an operation on complex numbers ({self.dtype}{list(self.shape)}) cannot be "
                                   f"traced{here()}; {REMEDY}")

    @property
    def concrete(self) -> np.ndarray | None:
        """A copy of the contents while no traced value is in them, else None."""
        re, im = self.re.concrete, self.im.concrete
        return None if re is None or im is None else re + 1j * im

    def viewed(self, view: View, rule: Callable[[Node], Node] | None = None) -> Any:
        """The array under a NumPy operation that returns a view."""
        return pair(self.re.viewed(view, rule), self.im.viewed(view, rule))

    def layout(self) -> np.ndarray:
        return self.re.layout()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.re.shape

    @property
    def ndim(self) -> int:
        return self.re.ndim

    @property
    def size(self) -> int:
        return self.re.size

    @property
    def dtype(self) -> np.dtype:
        return _WHOLE[self.re.dtype]

    @property
    def real(self) -> Tracer:
        """The real parts, which can be written into."""
        return self.re

    @real.setter
    def real(self, value: Any) -> None:
        self.re[...] = value

    @property
    def imag(self) -> Tracer:
        """The imaginary parts, which can be written into."""
        return self.im

    @imag.setter
    def imag(self, value: Any) -> None:
        self.im[...] = value

    def copy(self, order: str = "C") -> ComplexTracer:
        return ComplexTracer(self.re.copy(), self.im.copy())

    def __getitem__(self, key: Any) -> Any:
        mark()
        return pair(self.re[key], self.im[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        mark()
        re, im = parts(value)
        self.re[key] = re
        self.im[key] = im

    def __bool__(self) -> bool:
        return bool(self != 0)

    def __int__(self) -> int:
        raise TypeError("int() argument must be a real number, not 'complex'")

    def __float__(self) -> float:
        raise TypeError("float() argument must be a real number, not 'complex'")

    def __complex__(self) -> complex:
        if self.concrete is not None:
            return complex(self.concrete)
        raise UnsupportedOperation(f"complex() would cut a traced number off{here()}; leave it out")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.concrete is not None:
            return np.array(self.concrete, dtype=dtype)
        return self.re.__array__()

    def __repr__(self) -> str:
        return f"traced({self.dtype}{list(self.shape)})" if self.concrete is None else f"traced({self.concrete!r})"

    def __format__(self, spec: str) -> str:
        return repr(self) if self.concrete is None else format(self.concrete, spec)


def pair(re: Any, im: Any) -> Any:
    """re + i im as a traced value, broadcast to one shape and floating type; sequences pair by pair."""
    if isinstance(re, (tuple, list)):
        return type(re)(map(pair, re, im))
    if re is None:
        return None
    dtype = common_dtype(re, im)
    re, im = traced(re), traced(im)
    if dtype.kind != "f":
        dtype = np.dtype(np.float64)
    if re.shape != im.shape:
        re, im = np.broadcast_arrays(re, im)
    return ComplexTracer(*(v if v.dtype == dtype else v.astype(dtype) for v in (re, im)))


def is_complex(x: Any) -> bool:
    """True for complex numbers, arrays and traced values, and sequences with one of them."""
    if isinstance(x, (list, tuple)):
        return any(map(is_complex, x))
    return isinstance(x, (ComplexTracer, complex)) or (isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "c")


def parts(x: Any) -> tuple[Any, Any]:
    """The real and the imaginary part; real values have the imaginary part 0, which folds away."""
    if isinstance(x, (list, tuple)):
        found = [parts(i) for i in x]
        return type(x)(r for r, _ in found), type(x)(i for _, i in found)
    if isinstance(x, ComplexTracer):
        return x.re, x.im
    if isinstance(x, complex):
        return (x.real, x.imag) if type(x) is complex else (np.float64(x.real), np.float64(x.imag))
    if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "c":
        if x.dtype.itemsize > 16:
            raise DTypeMismatch(f"arrays of dtype {x.dtype} cannot be traced{here()}: use complex128")
        plain = np.asarray(x)
        return np.ascontiguousarray(plain.real).reshape(x.shape), np.ascontiguousarray(plain.imag).reshape(x.shape)
    return x, 0.0


def complex_buffer(data: np.ndarray, session: Session) -> Any:
    """A complex array that traced values may be written into."""
    re, im = parts(data)
    return ComplexTracer(buffer(np.array(re), session), buffer(np.array(im), session))


def as_complex(x: Any) -> ComplexTracer:
    """A traced complex value; what is real gets imaginary parts of 0."""
    if isinstance(x, ComplexTracer):
        return x
    re, im = parts(x)
    return pair(re, np.zeros(re.shape, re.dtype) if np.ndim(re) else im)


for _name, _ufunc in (
    ("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("truediv", np.divide), ("pow", np.power),
    ("eq", np.equal), ("ne", np.not_equal), ("lt", np.less), ("le", np.less_equal), ("gt", np.greater),
    ("ge", np.greater_equal), ("mod", np.remainder),
):
    setattr(ComplexTracer, f"__{_name}__", slow_binary(_ufunc, False))
    setattr(ComplexTracer, f"__r{_name}__", slow_binary(_ufunc, True))
