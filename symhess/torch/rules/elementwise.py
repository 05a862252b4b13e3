"""Rules of operations element by element, and of reductions. At kinks derivatives are those of PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from symhess.torch.rules.table import axis_of, elementwise, enter, rule, shaped
from symhess.trace import Tracer
from symhess.trace import special as special_rules
from symhess.trace.scipy_rules import log_softmax, logsumexp


def times(factor: Any, x: Any) -> Any:
    """factor * x, where a factor of 1 is left out."""
    return x if type(factor) in (int, float) and factor == 1 else factor * x


def softplus(x: Any, beta: float = 1, threshold: float = 20) -> Any:
    return np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta)


def absolute(x: Any) -> Any:
    """The slope at 0 is 0."""
    return x * np.sign(x)


def maximum(x: Any, y: Any) -> Any:
    """Where both are equal the slopes are 1/2."""
    return np.where(x > y, x, np.where(x < y, y, (x + y) / 2)) if x.dtype.kind == "f" else np.maximum(x, y)


def minimum(x: Any, y: Any) -> Any:
    return np.where(x < y, x, np.where(x > y, y, (x + y) / 2)) if x.dtype.kind == "f" else np.minimum(x, y)


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """At a bound that is a number the slope is 0."""
    if min is not None:
        x = maximum(x, min) if isinstance(min, Tracer) else np.where(x <= min, min, x)
    if max is not None:
        x = minimum(x, max) if isinstance(max, Tracer) else np.where(x >= max, max, x)
    return x


def gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + special.erf(x * math.sqrt(0.5)))


def logit(x: Any, eps: float | None = None) -> Any:
    x = x if eps is None else clamp(x, eps, 1 - eps)
    return np.log(x / (1 - x))


def divide(x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return x / y
    return np.floor_divide(x, y) if rounding_mode == "floor" else np.trunc(x / y)


def hardsigmoid(x: Any) -> Any:
    return np.where(x <= -3, 0, np.where(x >= 3, 1, x / 6 + 0.5))


def middle(low: float, high: float, x: Any, inside: Any) -> Any:
    """`inside` between two numbers, the bounds excluded; 0 below and x above."""
    return np.where(x <= low, 0, np.where(x >= high, x, inside))


for _name in ("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "square", "sin", "cos", "tan", "sinh",
              "cosh", "tanh", "sign", "floor", "ceil", "trunc", "deg2rad", "reciprocal"):
    elementwise(**{_name: getattr(np, _name)})
elementwise(
    abs=absolute, neg=np.negative, positive=np.positive, asin=np.arcsin, acos=np.arccos, atan=np.arctan,
    atan2=np.arctan2, asinh=np.arcsinh, acosh=np.arccosh, atanh=np.arctanh, hypot=np.hypot, sgn=np.sign,
    logaddexp=np.logaddexp,
    logaddexp2=np.logaddexp2, erf=special.erf, erfc=special.erfc, erfinv=special.erfinv, lgamma=special.gammaln,
    digamma=special.psi, xlogy=special.xlogy, special_xlog1py=special.xlog1py, special_ndtri=special.ndtri,
    special_log_ndtr=special.log_ndtr, special_entr=special.entr, special_erfcx=special.erfcx, i0=special.i0,
    special_i0e=special.i0e, special_i1=special.i1, special_i1e=special.i1e, sinc=np.sinc, sigmoid=special.expit,
    special_bessel_j0=special.j0, special_bessel_j1=special.j1, copysign=np.copysign, remainder=np.remainder,
    fmod=np.fmod, floor_divide=np.floor_divide, nan_to_num=np.nan_to_num, pow=np.power, logit=logit,
    rsqrt=lambda x: 1 / np.sqrt(x),
    frac=lambda x: x - np.trunc(x),
    round=lambda x, decimals=0: np.round(x, decimals),
    add=lambda x, y, alpha=1: x + times(alpha, y),
    sub=lambda x, y, alpha=1: x - times(alpha, y),
    rsub=lambda x, y, alpha=1: y - times(alpha, x),
    mul=lambda x, y: x * y,
    div=divide,
    lerp=lambda x, y, w: x + w * (y - x),
    addcmul=lambda x, a, b, value=1: x + times(value, a * b),
    addcdiv=lambda x, a, b, value=1: x + times(value, a / b),
    maximum=maximum, minimum=minimum, clamp=clamp, clamp_min=clamp, clamp_max=lambda x, max: clamp(x, None, max),
    fmax=lambda x, y: np.where(np.isnan(y), x, np.where(np.isnan(x), y, maximum(x, y))),
    fmin=lambda x, y: np.where(np.isnan(y), x, np.where(np.isnan(x), y, minimum(x, y))),
    where=lambda c, x, y: np.where(c, x, y),
    masked_fill=lambda x, mask, value: np.where(mask, value, x),
    threshold=lambda x, threshold, value: np.where(x <= threshold, value, x),
    relu=lambda x: np.where(x > 0, x, 0),
    leaky_relu=lambda x, slope=0.01: np.where(x > 0, x, slope * x),
    _prelu_kernel=lambda x, weight: np.where(x > 0, x, weight * x),
    elu=lambda x, alpha=1, scale=1, input_scale=1: np.where(
        x > 0, times(scale, x), scale * alpha * np.expm1(times(input_scale, x))),
    hardtanh=lambda x, low=-1, high=1: np.where(x <= low, low, np.where(x >= high, high, x)),
    hardsigmoid=hardsigmoid,
    hardswish=lambda x: middle(-3, 3, x, x * (x + 3) / 6),
    hardshrink=lambda x, lambd=0.5: np.where(np.abs(x) <= lambd, 0, x),
    softshrink=lambda x, lambd=0.5: np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, 0)),
    silu=lambda x: x * special.expit(x),
    mish=lambda x: x * np.tanh(np.logaddexp(0, x)),
    softplus=softplus, gelu=gelu,
)
elementwise(**{"pow.Scalar": lambda x, y: np.power(x, y)})


@rule("log_sigmoid_forward")
def log_sigmoid(x: Any) -> Any:
    return -np.logaddexp(0, -x), None


enter("eq", lambda outs, x, y: np.equal(x, y))
for _name, _function in {
        "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
        "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite, "signbit": np.signbit,
        "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_not": np.logical_not,
        "logical_xor": np.logical_xor, "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or,
        "bitwise_xor": np.bitwise_xor, "bitwise_not": np.invert, "__and__": np.bitwise_and, "__or__": np.bitwise_or,
        "__xor__": np.bitwise_xor}.items():
    rule(_name)(_function)


# -- reductions ----------------------------------------------------------------------------------------------------


def reduction(names: str, function: Any) -> None:
    """Enter a reduction with arguments `dim=None, keepdim=False`."""
    def reduced(out: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        x = x.astype(float) if out.dtype.is_floating_point and x.dtype.kind != "f" else x
        return function(x, axis=axis_of(dim, x), keepdims=keepdim)

    shaped(names)(reduced)


for _name, _function in {
        "sum": np.sum, "mean": np.mean, "prod": np.prod, "amax": np.max, "amin": np.min, "all": np.all, "any": np.any,
        "nansum": np.nansum, "logsumexp": logsumexp, "max.default": np.max, "min.default": np.min}.items():
    reduction(_name, _function)


rule("std.correction")(lambda x, dim=None, correction=1, keepdim=False: np.sqrt(
    np.var(x, axis=axis_of(dim, x), ddof=1 if correction is None else correction, keepdims=keepdim)))
rule("var.correction")(lambda x, dim=None, correction=1, keepdim=False: np.var(
    x, axis=axis_of(dim, x), ddof=1 if correction is None else correction, keepdims=keepdim))


rule("polygamma")(lambda n, x: special_rules.polygamma(n, x))


@rule("var_mean.correction")
def variance_and_mean(x: Any, dim: Any = None, correction: Any = 1, keepdim: bool = False) -> Any:
    axis = axis_of(dim, x)
    return np.var(x, axis=axis, ddof=1 if correction is None else correction, keepdims=keepdim), \
        np.mean(x, axis=axis, keepdims=keepdim)


@rule("std_mean.correction")
def deviation_and_mean(x: Any, dim: Any = None, correction: Any = 1, keepdim: bool = False) -> Any:
    variance, mean = variance_and_mean(x, dim, correction, keepdim)
    return np.sqrt(variance), mean


@rule("linalg_vector_norm norm")
def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    """Of all elements, or along axes; 0 has the slope 0."""
    axis, ord = axis_of(dim, x), 2 if ord is None else ord
    if ord == math.inf:
        return np.max(absolute(x), axis=axis, keepdims=keepdim)
    if ord == -math.inf:
        return np.min(absolute(x), axis=axis, keepdims=keepdim)
    if ord == 0:
        return np.sum(x != 0, axis=axis, keepdims=keepdim)
    if ord == 1:
        return np.sum(absolute(x), axis=axis, keepdims=keepdim)
    if ord == 2:
        return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdim))
    total = np.sum(np.where(x == 0, 0, np.power(np.abs(x), ord)), axis=axis, keepdims=keepdim)
    return np.where(total == 0, 0, np.power(total, 1 / ord))


rule("cumsum")(lambda x, dim: np.cumsum(x, dim) if x.ndim else x)
rule("cumprod")(lambda x, dim: np.cumprod(x, dim) if x.ndim else x)
rule("logcumsumexp")(lambda x, dim: np.logaddexp.accumulate(x, dim) if x.ndim else x)
rule("_log_softmax")(lambda x, dim, half: log_softmax(x, dim) if x.ndim else x - x)
@rule("_safe_softmax")
def safe_softmax(x: Any, dim: int) -> Any:
    """0 where all elements are -inf."""
    nothing = np.all(x == -math.inf, axis=dim, keepdims=True)
    return np.where(nothing, 0, np.exp(log_softmax(np.where(nothing, 0, x), dim)))


rule("_softmax")(lambda x, dim, half: np.exp(log_softmax(x, dim)) if x.ndim else np.exp(x - x))


def first_extreme(x: Any, axis: int, find: Any = np.max) -> Any:
    """The first position of the largest element along an axis (`np.min`: of the smallest), kept with size 1."""
    n = x.shape[axis]
    along = np.arange(n).reshape([-1 if d == axis % x.ndim else 1 for d in range(x.ndim)])
    reached = x == find(x, axis=axis, keepdims=True)
    return np.minimum(np.min(np.where(reached, along, n), axis=axis, keepdims=True), n - 1)


def chosen(x: Any, positions: Any, axis: int) -> Any:
    """The elements of x at one position along an axis, kept with size 1."""
    along = np.arange(x.shape[axis]).reshape([-1 if d == axis % x.ndim else 1 for d in range(x.ndim)])
    return np.sum(np.where(positions == along, x, 0), axis=axis, keepdims=True)


def _extreme(find: Any) -> Any:
    def value_and_position(x: Any, dim: int, keepdim: bool = False) -> Any:
        if not x.ndim:
            return x, np.zeros((), np.int64)
        positions = first_extreme(x, dim, find)
        values = chosen(x, positions, dim)
        return (values, positions) if keepdim else (np.squeeze(values, dim), np.squeeze(positions, dim))

    return value_and_position


def _position(find: Any) -> Any:
    def position(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        x = np.reshape(x, (-1,)) if dim is None or not x.ndim else x
        found = first_extreme(x, dim or 0, find)
        return found if keepdim and dim is not None else np.squeeze(found, dim or 0)

    return position


rule("argmax")(_position(np.max))
rule("argmin")(_position(np.min))
rule("max.dim")(_extreme(np.max))
rule("min.dim")(_extreme(np.min))
