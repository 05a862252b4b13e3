"""Second-order Taylor arithmetic on NumPy object arrays: the exact oracle, independent of graphs and of symhess.

    J = (v, g, H):   the value of one scalar, its gradient and its Hessian in all differentiated inputs
    phi(a):     g = phi' a.g,            H = phi' a.H + phi'' a.g a.g^T
    phi(a, b):  g = p_a a.g + p_b b.g,   H = p_a a.H + p_b b.H + p_aa a.g a.g^T + p_ab (a.g b.g^T + b.g a.g^T) + ...

`Namespace` stands in for the name `np` of a user function: elementwise functions come from the tables below, the few
functions of `np.linalg` from textbook algorithms, and everything else from NumPy, which does its movement, sums and
products on arrays of objects through their Python operators.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import special as scipy_special

TANH = (np.tanh, lambda x: 1 - np.tanh(x)**2, lambda x: -2 * np.tanh(x) * (1 - np.tanh(x)**2))
LN2, LN10, PI = np.log(2.0), np.log(10.0), np.pi


def _sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


#: function, first and second derivative
UNARY: dict[str, tuple[Callable, Callable, Callable]] = {
    "exp": (np.exp, np.exp, np.exp),
    "expm1": (np.expm1, np.exp, np.exp),
    "exp2": (np.exp2, lambda x: LN2 * np.exp2(x), lambda x: LN2**2 * np.exp2(x)),
    "log": (np.log, lambda x: 1 / x, lambda x: -1 / x**2),
    "log1p": (np.log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x)**2),
    "log2": (np.log2, lambda x: 1 / (x * LN2), lambda x: -1 / (x**2 * LN2)),
    "log10": (np.log10, lambda x: 1 / (x * LN10), lambda x: -1 / (x**2 * LN10)),
    "sqrt": (np.sqrt, lambda x: x**-0.5 / 2, lambda x: -(x**-1.5) / 4),
    "cbrt": (np.cbrt, lambda x: np.cbrt(x)**-2 / 3, lambda x: -2 * np.cbrt(x)**-5 / 9),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3),
    "square": (np.square, lambda x: 2 * x, lambda x: 2.0),
    "sin": (np.sin, np.cos, lambda x: -np.sin(x)),
    "cos": (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)),
    "tan": (np.tan, lambda x: np.cos(x)**-2, lambda x: 2 * np.tan(x) * np.cos(x)**-2),
    "arcsin": (np.arcsin, lambda x: (1 - x * x)**-0.5, lambda x: x * (1 - x * x)**-1.5),
    "arccos": (np.arccos, lambda x: -((1 - x * x)**-0.5), lambda x: -x * (1 - x * x)**-1.5),
    "arctan": (np.arctan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x)**2),
    "sinh": (np.sinh, np.cosh, np.sinh),
    "cosh": (np.cosh, np.sinh, np.cosh),
    "tanh": TANH,
    "arcsinh": (np.arcsinh, lambda x: (1 + x * x)**-0.5, lambda x: -x * (1 + x * x)**-1.5),
    "arccosh": (np.arccosh, lambda x: (x * x - 1)**-0.5, lambda x: -x * (x * x - 1)**-1.5),
    "arctanh": (np.arctanh, lambda x: 1 / (1 - x * x), lambda x: 2 * x / (1 - x * x)**2),
    "sign": (np.sign, lambda x: 0.0, lambda x: 0.0),
    "abs": (np.abs, np.sign, lambda x: 0.0),
}
SPECIAL: dict[str, tuple[Callable, Callable, Callable]] = {
    "erf": (scipy_special.erf, lambda x: 2 / PI**0.5 * np.exp(-x * x), lambda x: -4 * x / PI**0.5 * np.exp(-x * x)),
    "erfc": (scipy_special.erfc, lambda x: -2 / PI**0.5 * np.exp(-x * x), lambda x: 4 * x / PI**0.5 * np.exp(-x * x)),
    "gammaln": (scipy_special.gammaln, scipy_special.digamma, functools.partial(scipy_special.polygamma, 1)),
    "expit": (scipy_special.expit, lambda x: _sigmoid(x) * _sigmoid(-x),
              lambda x: _sigmoid(x) * _sigmoid(-x) * (1 - 2 * _sigmoid(x))),
}
#: function, (p_a, p_b), (p_aa, p_ab, p_bb)
BINARY: dict[str, tuple[Callable, Callable, Callable]] = {
    "mul": (operator.mul, lambda a, b: (b, a), lambda a, b: (0.0, 1.0, 0.0)),
    "div": (operator.truediv, lambda a, b: (1 / b, -a / b**2), lambda a, b: (0.0, -1 / b**2, 2 * a / b**3)),
    "logaddexp": (np.logaddexp, lambda a, b: (_sigmoid(a - b), _sigmoid(b - a)),
                  lambda a, b: tuple(s * _sigmoid(a - b) * _sigmoid(b - a) for s in (1, -1, 1))),
    "arctan2": (np.arctan2, lambda a, b: (b / (a * a + b * b), -a / (a * a + b * b)),
                lambda a, b: tuple(t / (a * a + b * b)**2 for t in (-2 * a * b, a * a - b * b, 2 * a * b))),
    "hypot": (np.hypot, lambda a, b: (a / np.hypot(a, b), b / np.hypot(a, b)),
              lambda a, b: tuple(t / np.hypot(a, b)**3 for t in (b * b, -a * b, a * a))),
}


def _with_scalars(method: Callable[[Jet, Any], Any]) -> Callable[[Jet, Any], Any]:
    """Leave an operation with an array to the array, which applies it element by element."""
    @functools.wraps(method)
    def defer(self: Jet, other: Any) -> Any:
        return NotImplemented if isinstance(other, np.ndarray) else method(self, other)
    return defer


class Jet:
    """One scalar with its gradient and Hessian."""

    __slots__ = ("g", "h", "v")

    def __init__(self, v: float, g: np.ndarray, h: np.ndarray):
        self.v, self.g, self.h = np.float64(v), g, h

    def unary(self, value: float, d1: float, d2: float) -> Jet:
        return Jet(value, d1 * self.g, d1 * self.h + d2 * np.outer(self.g, self.g))

    def binary(self, name: str, other: Any, swapped: bool = False) -> Jet:
        f, first, second = BINARY[name]
        if not isinstance(other, Jet):
            other = Jet(float(other), np.zeros_like(self.g), np.zeros_like(self.h))
        a, b = (other, self) if swapped else (self, other)
        (pa, pb), (paa, pab, pbb) = first(a.v, b.v), second(a.v, b.v)
        cross = np.outer(a.g, b.g)
        curved = paa * np.outer(a.g, a.g) + pab * (cross + cross.T) + pbb * np.outer(b.g, b.g)
        return Jet(f(a.v, b.v), pa * a.g + pb * b.g, pa * a.h + pb * b.h + curved)

    @_with_scalars
    def __add__(self, o: Any) -> Jet:
        if isinstance(o, Jet):
            return Jet(self.v + o.v, self.g + o.g, self.h + o.h)
        return Jet(self.v + float(o), self.g, self.h)

    def __neg__(self) -> Jet:
        return Jet(-self.v, -self.g, -self.h)

    @_with_scalars
    def __sub__(self, o: Any) -> Jet:
        return self + -o

    @_with_scalars
    def __rsub__(self, o: Any) -> Jet:
        return -self + o

    @_with_scalars
    def __mul__(self, o: Any) -> Jet:
        if isinstance(o, Jet):
            return self.binary("mul", o)
        return Jet(self.v * float(o), self.g * float(o), self.h * float(o))

    @_with_scalars
    def __truediv__(self, o: Any) -> Jet:
        return self.binary("div", o) if isinstance(o, Jet) else self * (1 / float(o))

    @_with_scalars
    def __rtruediv__(self, o: Any) -> Jet:
        return self.binary("div", o, swapped=True)

    @_with_scalars
    def __pow__(self, p: Any) -> Jet:
        if isinstance(p, Jet):
            return _exp(p * _log(self))
        d2 = 0.0 if p in (0, 1) else p * (p - 1) * self.v**(p - 2.0)
        return self.unary(self.v**p, 0.0 if p == 0 else p * self.v**(p - 1.0), d2)

    @_with_scalars
    def __rpow__(self, base: Any) -> Jet:
        return _exp(self * np.log(float(base)))

    def __abs__(self) -> Jet:
        return self.unary(abs(self.v), np.sign(self.v), 0.0)

    @_with_scalars
    def __floordiv__(self, o: Any) -> float:
        return np.floor(self.v / _value(o))

    @_with_scalars
    def __rfloordiv__(self, o: Any) -> float:
        return np.floor(o / self.v)

    @_with_scalars
    def __mod__(self, o: Any) -> Jet:
        return self - o * (self // o)

    def __round__(self, digits: int | None = None) -> float:
        return int(np.rint(self.v)) if digits is None else np.round(self.v, digits)

    def __bool__(self) -> bool:
        return bool(self.v != 0)

    def __format__(self, spec: str) -> str:
        return format(self.v, spec)

    def __int__(self) -> int:
        return int(self.v)

    def __floor__(self) -> int:
        return int(np.floor(self.v))

    def __ceil__(self) -> int:
        return int(np.ceil(self.v))

    __trunc__ = __int__

    @_with_scalars
    def __lt__(self, o: Any) -> bool:
        return self.v < _value(o)

    @_with_scalars
    def __le__(self, o: Any) -> bool:
        return self.v <= _value(o)

    @_with_scalars
    def __gt__(self, o: Any) -> bool:
        return self.v > _value(o)

    @_with_scalars
    def __ge__(self, o: Any) -> bool:
        return self.v >= _value(o)

    @_with_scalars
    def __eq__(self, o: Any) -> bool:
        return self.v == _value(o)

    __radd__, __rmul__, __hash__ = __add__, __mul__, None


def _value(x: Any) -> float:
    return x.v if isinstance(x, Jet) else x


def _scalar_unary(table: dict, name: str, x: Any) -> Any:
    f, d1, d2 = table[name]
    return x.unary(f(x.v), d1(x.v), d2(x.v)) if isinstance(x, Jet) else f(x)


def _scalar_binary(name: str, a: Any, b: Any) -> Any:
    if isinstance(a, Jet):
        return a.binary(name, b)
    return b.binary(name, a, swapped=True) if isinstance(b, Jet) else BINARY[name][0](a, b)


_exp = functools.partial(_scalar_unary, UNARY, "exp")
_log = functools.partial(_scalar_unary, UNARY, "log")


def _elementwise(scalar: Callable, nargs: int) -> Callable:
    """The function over object arrays; 0-d results come out as scalars."""
    return np.frompyfunc(scalar, nargs, 1)


class Linalg:
    """The part of np.linalg that the problems use, on object matrices."""

    @staticmethod
    def norm(x: Any, axis: int | None = None) -> Any:
        return namespace().sqrt(np.sum(np.asarray(x, object)**2, axis=axis))

    @staticmethod
    def cholesky(A: np.ndarray) -> np.ndarray:
        L = np.zeros(A.shape, object)
        for j in range(len(A)):
            L[j, j] = _scalar_unary(UNARY, "sqrt", A[j, j] - L[j, :j] @ L[j, :j] if j else A[j, j])
            for i in range(j + 1, len(A)):
                L[i, j] = (A[i, j] - (L[i, :j] @ L[j, :j] if j else 0.0)) / L[j, j]
        return L

    @staticmethod
    def _eliminate(A: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Gaussian elimination with partial pivoting: the triangle, the right-hand sides, the sign of the swaps."""
        A, B, sign = np.array(A, object), np.array(B, object), 1.0
        for k in range(len(A)):
            p = k + int(np.argmax([abs(_value(a)) for a in A[k:, k]]))
            if p != k:
                A[[k, p]], B[[k, p]], sign = A[[p, k]], B[[p, k]], -sign
            for i in range(k + 1, len(A)):
                factor = A[i, k] / A[k, k]
                A[i], B[i] = A[i] - factor * A[k], B[i] - factor * B[k]
        return A, B, sign

    @classmethod
    def solve(cls, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        U, C, _ = cls._eliminate(A, B)
        X = np.zeros(C.shape, object)
        for i in reversed(range(len(U))):
            X[i] = (C[i] - (U[i, i + 1:] @ X[i + 1:] if i + 1 < len(U) else 0.0)) / U[i, i]
        return X

    @classmethod
    def inv(cls, A: np.ndarray) -> np.ndarray:
        return cls.solve(A, np.eye(len(A)))

    @classmethod
    def det(cls, A: np.ndarray) -> Any:
        U, _, sign = cls._eliminate(A, np.zeros(len(A)))
        return sign * np.prod(np.diag(U))

    @classmethod
    def slogdet(cls, A: np.ndarray) -> tuple[float, Any]:
        d = cls.det(A)
        return np.sign(_value(d)), _log(abs(d))


def _object_buffer(shape: Any, *_: Any, **__: Any) -> np.ndarray:
    return np.full(shape, 0.0, object)


@functools.cache
def namespace() -> Any:
    """What stands in for `np`."""
    own: dict[str, Any] = {name: _elementwise(functools.partial(_scalar_unary, UNARY, name), 1) for name in UNARY}
    own |= {n: _elementwise(functools.partial(_scalar_binary, n), 2) for n in ("logaddexp", "arctan2", "hypot")}
    own |= {"absolute": own["abs"], "zeros": _object_buffer, "empty": _object_buffer, "linalg": Linalg}
    own["zeros_like"] = own["empty_like"] = lambda x: _object_buffer(np.shape(x))
    own["var"] = lambda x: np.mean((x - np.mean(x))**2)
    return _Fallback(own, np)


@functools.cache
def special_namespace() -> Any:
    """What stands in for `scipy.special`."""
    return _Fallback({n: _elementwise(functools.partial(_scalar_unary, SPECIAL, n), 1) for n in SPECIAL}, None)


class _Fallback:
    """Attributes of `own`, and of `other` where it has none."""

    def __init__(self, own: dict[str, Any], other: Any):
        self.__dict__.update(own)
        self._other = other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._other, name)


def jets(inputs: Sequence[Any]) -> list[Any]:
    """The inputs as arrays of independent variables, numbered through; a number becomes one Jet."""
    n = sum(np.size(x) for x in inputs)
    unit, zero = np.eye(n), np.zeros((n, n))
    out, k = [], 0
    for x in inputs:
        array = np.empty(np.shape(x), object)
        for index in np.ndindex(array.shape):
            array[index] = Jet(float(np.asarray(x)[index]), unit[k], zero)
            k += 1
        out.append(array if array.ndim else array[()])
    return out


def taylor(fn: Callable[..., Any], args: Sequence[Any], inputs: Sequence[Any],
           with_inputs: Callable[..., tuple]) -> tuple[float, np.ndarray, np.ndarray]:
    """Value, gradient and Hessian of a function whose `np` is `namespace()`."""
    with np.errstate(all="ignore"):
        result = fn(*with_inputs(args, jets(inputs)))
    result = result.item() if isinstance(result, np.ndarray) else result
    return result.v, result.g, result.h
