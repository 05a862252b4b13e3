"""What published objective functions contain, operation by operation: a snippet each, and how often it was counted.

The shares are per cent of 2,377 published objective, likelihood, residual and constraint functions in which the
operation touches a value that depends on x; 0.5 stands for what was seen in less than one per cent. A snippet is a
function of a vector of six numbers in (0, 1). Libraries are reached through `np`, `math` and `special` of this module.
"""

import collections
import contextlib
import copy
import dataclasses
import functools
import itertools
import math
import operator
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import special

X = np.array([0.31, 0.83, 0.47, 0.92, 0.38, 0.74])
TABLE = np.arange(12.0).reshape(3, 4) / 7 + 0.2
INDEX = np.array([0, 2, 2, 5])
ROWS = {}
RARE = 0.5


class Row(NamedTuple):
    """An operation, in how many per cent of the functions it occurs, and a function that uses it."""

    operation: str
    share: float
    fn: Callable[[Any], Any]


def rows(*given):
    """Declare rows: the operation, its share and a function."""
    for operation, share, fn in given:
        assert operation not in ROWS
        ROWS[operation] = Row(operation, share, fn)


def row(operation, share):
    def declare(fn):
        rows((operation, share, fn))
        return fn

    return declare


# -- half of the functions need nothing else -------------------------------------------------------------------------

rows(
    ("multiply", 93, lambda x: x[0] * x[1] * 3.0 * x[2]),
    ("add", 88, lambda x: (x[0] + x[1] + 2.0) ** 3),
    ("subtract", 72, lambda x: (x[0] - x[1] - 2.0) ** 3),
    ("sum", 60, lambda x: np.sum(x * x[0]) + x.sum() ** 2),
    ("x**2", 58, lambda x: np.sum(x**2)),
    ("x[int]", 49, lambda x: x[0] * x[-1] * x[3]),
    ("len(x)", 41, lambda x: np.sum(x**2) / len(x)),
    ("dot, matmul, @", 34, lambda x: x @ x + np.dot(x[:4], TABLE[0]) ** 2 + np.matmul(TABLE, x[:4]) @ x[:3]),
    ("divide", 30, lambda x: x[0] / x[1] + 1 / x[2] + x[3] / 2),
    ("power", 25, lambda x: x[0] ** 1.5 + x[1] ** x[2] + 2 ** x[3] + np.power(x[4], 3)),
    ("x[int array]", 24, lambda x: np.sum(x[INDEX] ** 3) + np.prod(x[[1, 3]])),
    ("reshape", 24, lambda x: np.sum(x.reshape(2, 3) @ x[:3]) ** 2 + np.reshape(x, (3, -1))[2, 1] ** 3),
    ("x[i,j], x[i,:], newaxis", 23, lambda x: (x[:, None] * x[None, :])[1, 2] ** 2 + np.sum(np.outer(x, x)[2, :] ** 2)),
    ("ravel, flatten", 23, lambda x: np.sum(x.reshape(2, 3).T.ravel()[:4] ** 3) + x.reshape(3, 2).flatten()[2] ** 2),
    ("exp", 21, lambda x: np.exp(x[0] * x[1]) + math.exp(-x[2])),
    ("sin", 19, lambda x: np.sum(np.sin(x * x[0])) + math.sin(x[1])),
    ("cos", 17, lambda x: np.sum(np.cos(x * x[0])) + math.cos(x[1])),
    ("x[slice]", 17, lambda x: np.sum((x[1:] - x[:-1] ** 2) ** 2) + np.sum(x[:3] ** 3)),
    ("negative", 16, lambda x: np.exp(-x[0] * -x[1]) + np.sum((-x) ** 3)),
    ("iterate, unpack", 10,
     lambda x: functools.reduce(operator.mul, iter(x)) + (lambda a, b, *c: a * b + c[0] ** 2)(*x)),
    ("np.array([x, ...])", 9, lambda x: np.sum(np.array([x[0] * x[1], 1.0, x[2] ** 2]) ** 2)),
)


@row("a[int] = x", 23)
def _(x):
    a = np.zeros(3)
    a[0] = x[0] * x[1]
    a[1] = x[2] ** 2
    a[-1] = a[0] * a[1]
    return np.sum(a**2)


# -- eight of ten ----------------------------------------------------------------------------------------------------

rows(
    ("np.array(x)", 13, lambda x: np.sum(np.array(x) ** 3) + np.asarray(x)[0] ** 2),
    ("sqrt", 14, lambda x: np.sqrt(x[0] ** 2 + x[1]) + math.sqrt(x[2])),
    ("abs", 12, lambda x: abs(x[0] - x[1]) ** 3 + np.abs(x[2] - 1) * x[3] + math.fabs(x[4]) ** 2),
    ("log", 4, lambda x: np.log(x[0] * x[1]) + math.log(x[2])),
    ("prod", 3, lambda x: np.prod(x) + math.prod(x)),
    ("np.ndim", 3, lambda x: np.ndim(x) * x[0] ** 2 + np.ndim(x[0]) + x.ndim * x[1] ** 2),
)


@row("in-place +=", 7)
def _(x):
    total, a = 0.0, x * 1.0
    for v in x:
        total += v * v
    a += x[0] * x
    return total + np.sum(a**2)


@row("a[i,j] = x", 5)
def _(x):
    a = np.eye(3)
    for i in range(3):
        for j in range(i):
            a[i, j] = a[j, i] = x[i] * x[j + 3]
    return np.sum(a @ a)


@row("a[slice] = x", 4)
def _(x):
    a = np.empty(8)
    a[:2] = 1.0
    a[2:] = x**2
    a[3:5] = a[4:6] * x[:2]
    return np.sum(a**2)


# -- nine of ten -----------------------------------------------------------------------------------------------------

rows(
    ("stack", 2, lambda x: np.sum(np.stack([x, x**2], axis=1) @ np.array([1.0, 2.0])) * x[0]),
    ("concatenate", 2, lambda x: np.sum(np.concatenate([x[:2] ** 2, [1.0], x[3:]]) ** 2)),
    ("x[::k]", 2, lambda x: np.sum(x[::2] ** 2 * x[1::2])),
    ("bool(x) in an if", 5, lambda x: x[0] ** 2 if bool(x[0] > 0.1) else x[1]),
    (">", 5, lambda x: np.sum((x > 0.4) * x**3)),
    ("<", 5, lambda x: np.sum((x < 0.4) * x**3)),
    ("!=", 3, lambda x: np.sum((x != x[0]) * x**2)),
    ("where", 2, lambda x: np.sum(np.where(x > 0.5, x**2, np.sin(x)))),
    (".T", 2, lambda x: np.sum((x.reshape(2, 3).T @ x[:2]) ** 2)),
    ("float(x), int(x)", 1, lambda x: float(x[0]) ** 2 * x[1] + int(10 * x[2]) * x[3] ** 2),
    ("roll", 1, lambda x: np.sum(x * np.roll(x, 1) ** 2)),
    ("diag", 1, lambda x: np.sum(np.diag(x[:3]) @ x[3:]) + np.sum(np.diag(np.outer(x, x)) ** 2)),
    ("arctan", 1, lambda x: np.arctan(x[0] * x[1]) + math.atan(x[2])),
    ("sign", 1, lambda x: np.sum(np.sign(x - 0.5) * x**2)),
)


@row("a[::k] = x", 2)
def _(x):
    a = np.ones(6)
    a[::2] = x[:3] ** 2
    a[::-3] = x[4:]
    return np.prod(a)


@row("-=", 4)
def _(x):
    a = x**2
    a -= x[0]
    a[1:] -= a[:-1]
    s = x[1]
    s -= x[2] ** 3
    return np.sum(a**2) * s


# -- 95 of 100 -------------------------------------------------------------------------------------------------------

rows(
    ("floor", 1, lambda x: np.sum(x**2 * np.floor(4 * x)) + math.floor(4 * x[0]) * x[1] ** 2),
    ("==", 1, lambda x: np.sum((x == x[0]) * x**2) + (x[0] == 1.0)),
    (">=", 1, lambda x: np.sum((x >= 0.4) * x**3)),
    ("<=", 1, lambda x: np.sum((x <= 0.4) * x**3)),
    ("atleast_1d, atleast_2d", 1, lambda x: np.atleast_1d(x[0])[0] ** 2 + np.sum(np.atleast_2d(x) @ x) ** 2),
    ("tan", 1, lambda x: np.tan(x[0] * x[1]) + math.tan(x[2])),
    ("arctan2", 1, lambda x: np.arctan2(x[0], x[1]) + math.atan2(x[2], x[3])),
    ("max", 1, lambda x: np.max(x) ** 2 + x.max() * x[0] + max(x[0], x[1]) ** 3 + max(x) * x[2]),
    ("pad", 1, lambda x: np.sum(np.pad(x, 2)[1:-1] ** 2 * np.pad(x, (1, 1), mode="edge"))),
    ("convolve", 1, lambda x: np.sum(np.convolve(x, x[:3]) ** 2) + np.sum(np.convolve(x, [1.0, -2, 1], "valid") ** 2)),
    ("result_type", 1, lambda x: np.sum(np.ones(6, np.result_type(x, float)) * x**2)),
    (".item()", 1, lambda x: x[:1].item() ** 2 * x.item(2)),
    ("np.size", 1, lambda x: np.size(x) * x[0] ** 2 + x.size),
)


@row("zeros_like", 1)
def _(x):
    a, b = np.zeros_like(x), np.ones_like(x)
    a[1:] = x[:-1] * b[1:]
    return np.sum(a**3)


@row("a[int array] = x", 1)
def _(x):
    a = np.zeros(8)
    a[[1, 5, 6]] = x[:3] ** 2
    a[INDEX] = x[0] * x[3]
    return np.sum(a**2)


@row("np.add.at", 1)
def _(x):
    a = np.zeros(6)
    np.add.at(a, INDEX, x[:4] ** 2)
    return np.sum(a**2)


# -- 99 of 100 -------------------------------------------------------------------------------------------------------

rows(
    ("reciprocal", RARE, lambda x: np.sum(np.reciprocal(x) * x[0])),
    ("column_stack", RARE, lambda x: np.sum(np.column_stack([x, x**2]) @ x[:2])),
    ("modf", RARE, lambda x: np.modf(4 * x)[0] @ x + np.modf(4 * x)[1] @ x**2),
    ("index computed from x", 3, lambda x: x[int(5 * x[1])] ** 2 + TABLE[np.argmax(x[:3])] @ x[:4] ** 2),
    ("n-d fancy read", RARE, lambda x: np.sum(np.outer(x, x)[[0, 1, 4], [2, 2, 0]] ** 2)),
    ("triu_indices_from", RARE, lambda x: np.sum(np.outer(x, x)[np.triu_indices_from(np.outer(x, x), 1)] ** 2)),
    ("x[mask]", 3, lambda x: np.sum(x[x > 0.4] ** 3) + np.prod(x[TABLE[0, :1].repeat(6) < 1])),
    ("~", RARE, lambda x: np.sum(x[~(x > 0.4)] ** 3)),
    ("fmod", 3, lambda x: np.sum(np.fmod(7 * x, 1.0) * x) + math.fmod(5 * x[0], 1) ** 2 + np.sum((3 * x % 1.0) ** 2)),
    ("&", RARE, lambda x: np.sum(((x > 0.35) & (x < 0.8) | (x > 0.9)) * x**3)),
    ("tanh", RARE, lambda x: np.sum(np.tanh(x * x[0])) + math.tanh(x[1])),
    ("cosh", RARE, lambda x: np.sum(np.cosh(x * x[0])) + math.cosh(x[1])),
)


@row("n-d fancy write", RARE)
def _(x):
    a = np.zeros((3, 3))
    a[[0, 1, 2], [2, 0, 1]] = x[:3] ** 2
    a[np.triu_indices(3, 1)] += x[3:]
    a[np.ix_([0, 2], [1, 2])] *= x[0]
    return np.sum(a @ a)


@row("a[mask] = x", RARE)
def _(x):
    a = x**2
    a[x > 0.8] = x[0]
    a[a < 0.2] *= 2
    return np.sum(a**2)


# -- the rest --------------------------------------------------------------------------------------------------------

rows(
    ("log10", RARE, lambda x: np.sum(np.log10(x) * x[0]) + math.log10(x[1])),
    ("cumsum", RARE, lambda x: np.sum(np.cumsum(x) ** 3) + x.cumsum()[2] ** 2),
    ("arccos", RARE, lambda x: np.arccos(x[0] * x[1]) + math.acos(x[2])),
    ("np.shape", RARE, lambda x: np.shape(x)[0] * x[0] ** 2 + x.shape[0]),
    ("repeat", RARE, lambda x: np.sum(np.repeat(x, 2) ** 2 * np.arange(12)) * x[0]),
    ("tril", RARE, lambda x: np.sum(np.tril(np.outer(x, x)) ** 2) + np.sum(np.triu(np.outer(x, x), 1))),
    (".copy", RARE, lambda x: np.sum(x.copy() ** 3) + copy.deepcopy(x)[0] ** 2),
    ("erf", RARE, lambda x: math.erf(x[0]) + np.sum(special.erf(x * x[0]))),
    ("erfc", RARE, lambda x: math.erfc(x[0]) + np.sum(special.erfc(x * x[0]))),
    ("x[::-1]", RARE, lambda x: np.sum(x[::-1] * x**2)),
    ("maximum", RARE, lambda x: np.sum(np.maximum(x, 0.5) ** 2) + np.sum(np.maximum(x, x[::-1]) ** 3)),
    ("minimum", RARE, lambda x: np.sum(np.minimum(x, 0.5) ** 2)),
    ("clip", RARE, lambda x: np.sum(np.clip(x, 0.35, 0.8) ** 2) + np.sum(x.clip(0, 0.5) ** 3)),
    ("outer", RARE, lambda x: np.sum(np.outer(x, x[:2]) ** 2)),
    ("vstack", RARE, lambda x: np.sum(np.vstack([x, x**2]) ** 2)),
    ("broadcast_to", RARE, lambda x: np.sum(np.broadcast_to(x, (2, 6)) * np.outer(x[:2], x))),
    ("arcsin", RARE, lambda x: np.arcsin(x[0] * x[1]) + math.asin(x[2])),
    ("mean", RARE, lambda x: np.mean(x) ** 2 + x.reshape(2, 3).mean(axis=0) @ x[:3]),
    ("var, std", RARE, lambda x: np.var(x) + np.std(x, ddof=1) * x[0] + x.std()),
    ("min", RARE, lambda x: np.min(x) ** 2 + x.min() * x[1] + min(x[0], 0.5) ** 3),
    ("argmin, argmax", RARE, lambda x: x[np.argmin(x)] ** 2 + x.argmax() * x[0] ** 2),
    ("sort, argsort", RARE, lambda x: np.sort(x) @ np.arange(6) * x[0] + np.sum(x[np.argsort(x)[:2]] ** 3)),
    ("median, percentile", RARE, lambda x: np.median(x) ** 2 + np.percentile(x, 30) ** 2 + np.quantile(x, 0.8) * x[0]),
    ("partition", RARE, lambda x: np.sum(np.partition(x, 2)[:3] ** 2)),
    ("unique", RARE, lambda x: np.sum(np.unique(np.concatenate([x, x])) ** 3)),
    ("searchsorted, digitize", RARE,
     lambda x: np.sum(x**2 * np.digitize(x, [0.4, 0.8])) + np.searchsorted([0.4, 0.8], x) @ x**2),
    ("histogram", RARE,
     lambda x: np.histogram(x, 3, (0, 1))[0] @ x[:3] ** 2 + np.histogram(x, [0.2, 0.5, 1.0], weights=x**2)[0] @ x[:2]
               + np.sum(np.histogram(x[:5] ** 2, bins=2, density=True)[0] ** 2)),
    ("bincount", RARE, lambda x: np.sum(np.bincount(INDEX, weights=x[:4] ** 2) ** 2)),
    ("any, all", RARE, lambda x: x[0] ** 2 * np.any(x > 0.9) + x[1] ** 2 * np.all(x > 0)),
    ("nonzero, flatnonzero", RARE, lambda x: np.sum(x[np.nonzero(x > 0.5)] ** 2) + len(np.flatnonzero(x > 0.5))),
    ("isnan, isfinite", RARE, lambda x: np.sum(np.where(np.isnan(x), 0.0, x**2)) + np.isfinite(x).sum() * x[0] ** 2),
    ("nan_to_num, nansum", RARE, lambda x: np.sum(np.nan_to_num(x) ** 2) + np.nansum(x) ** 3),
    ("expm1, log1p", RARE, lambda x: np.sum(np.expm1(x * x[0]) + np.log1p(x * x[1])) + math.expm1(x[2])),
    ("exp2, log2", RARE, lambda x: np.sum(np.exp2(x * x[0])) + np.log2(x[1]) * x[2]),
    ("cbrt, square", RARE, lambda x: np.sum(np.cbrt(x) * np.square(x[0]))),
    ("hypot", RARE,
     lambda x: np.hypot(x[0], x[1]) + math.hypot(x[2], x[3], x[4]) + math.dist([x[0], 1.0], [x[5], x[2]])),
    ("sinh, arcsinh", RARE, lambda x: np.sinh(x[0] * x[1]) + np.arcsinh(x[2]) + math.asinh(x[3]) + math.sinh(x[4])),
    ("arccosh, arctanh", RARE, lambda x: np.arccosh(1 + x[0] * x[1]) + np.arctanh(x[2] / 2) + math.atanh(x[3] / 2)),
    ("logaddexp", RARE, lambda x: np.logaddexp(x[0], x[1] * 2) + np.logaddexp2(x[2], x[3])),
    ("sinc, heaviside", RARE, lambda x: np.sum(np.sinc(x)) + np.sum(np.heaviside(x - 0.5, 0.5) * x**2)),
    ("ceil, trunc, rint, round", RARE,
     lambda x: np.sum(x**2 * (np.ceil(2.5 * x) + np.trunc(2.5 * x) + np.rint(2.5 * x))) + round(x[0], 1) * x[1] ** 2),
    ("floor_divide, divmod", RARE, lambda x: np.sum(x**2 * (7 * x // 2)) + divmod(7 * x[0], 2.0)[1] ** 2),
    ("degrees, radians", RARE, lambda x: np.sin(np.radians(90 * x[0])) * np.rad2deg(x[1]) + math.radians(x[2]) ** 2),
    ("copysign, fmax", RARE,
     lambda x: np.copysign(x[0] ** 2, -1.0) + np.fmax(x[1], x[2]) ** 2 + np.fmin(x[1], 0.5) ** 2),
    ("diff, ediff1d", RARE, lambda x: np.sum(np.diff(x) ** 3) + np.sum(np.diff(x, 2) ** 2) + np.ediff1d(x)[1] ** 2),
    ("gradient", RARE, lambda x: np.sum(np.gradient(x) ** 2) + np.sum(np.gradient(x, 0.5, edge_order=2) ** 3)),
    ("trapezoid", RARE, lambda x: np.trapezoid(x**2, dx=0.1) + np.trapezoid(x[:4] ** 3, TABLE[1])),
    ("cumprod", RARE, lambda x: np.sum(np.cumprod(x)) + x.cumprod()[2] ** 2),
    ("cross", RARE, lambda x: np.sum(np.cross(x[:3], x[3:]) ** 2)),
    ("inner, vdot, tensordot", RARE, lambda x: np.inner(x, x) * np.vdot(x[:2], x[2:4]) + np.tensordot(
        x.reshape(2, 3), x.reshape(3, 2), 1)[0, 1]),
    ("einsum", RARE,
     lambda x: np.einsum("i,ij,j", x[:3], TABLE, x[:4]) + np.einsum("ij,kj->ik", *[x.reshape(2, 3)] * 2)[0, 1]),
    ("kron, trace", RARE, lambda x: np.sum(np.kron(x[:2], x[2:]) ** 2) + np.trace(np.outer(x, x**2))),
    ("linalg.norm", 2,
     lambda x: np.linalg.norm(x) + np.linalg.norm(x.reshape(2, 3), axis=0) @ x[:3] + np.linalg.norm(x, 1) ** 2),
    ("linalg.solve, inv, det", 2,
     lambda x: np.linalg.solve(np.eye(3) + np.outer(x[:3], x[:3]), x[3:]) @ x[:3] + np.linalg.inv(np.diag(x[:2])
               + 1)[0, 1] + np.linalg.det(np.outer(x[:2], x[2:4]) + np.eye(2))),
    ("linalg.slogdet, cholesky", 2,
     lambda x: np.linalg.slogdet(np.eye(3) + np.outer(x[:3], x[:3]))[1] + np.sum(np.linalg.cholesky(np.eye(2)
               + np.outer(x[:2], x[:2])) ** 3)),
    ("polyval", RARE, lambda x: np.polyval(x[:3], x[3]) + np.polyval([1.0, 2, 3], x[4])),
    ("interp", RARE,
     lambda x: np.interp(x[0], [0, 0.5, 1.0], [1.0, 3, 2]) * x[1] + np.interp(0.3, [0, 1.0], x[:2]) ** 2),
    ("meshgrid", RARE, lambda x: np.sum(np.multiply(*np.meshgrid(x[:2], x[2:])) ** 2)),
    ("tile", RARE, lambda x: np.sum(np.tile(x, 2) ** 2 * np.arange(12)) * x[0]),
    ("hstack, dstack, block", RARE,
     lambda x: np.sum(np.hstack([x, x[:2] ** 2]) ** 2) + np.sum(np.dstack([x, x]) ** 2)
               + np.sum(np.block([[x[:1], x[1:3]], [x[3:]]]) ** 3)),
    ("split", RARE, lambda x: math.prod(np.sum(p) for p in np.split(x, 3)) + np.array_split(x, 4)[0] @ x[:2]),
    ("squeeze, expand_dims", RARE, lambda x: np.sum(np.expand_dims(x, 1) * np.squeeze(x[None])) ** 2),
    ("transpose, swapaxes", RARE,
     lambda x: np.sum(np.transpose(x.reshape(1, 2, 3), (2, 0, 1))[1] ** 2)
               + np.sum(np.swapaxes(x.reshape(2, 3), 0, 1)[0] ** 3)),
    ("moveaxis, flip", RARE, lambda x: np.moveaxis(x.reshape(1, 2, 3), 2, 0)[2, 0, 1] ** 3 + np.flip(x)[0] ** 2),
    ("take, choose, select", RARE,
     lambda x: np.sum(np.take(x, INDEX) ** 2) + np.sum(np.select([x < 0.4, x < 0.8], [x, x**2], x**3))),
    ("piecewise", RARE, lambda x: np.sum(np.piecewise(x, [x < 0.5, x >= 0.5], [lambda v: v**2, lambda v: v**3]))),
    ("r_, c_", RARE, lambda x: np.sum(np.r_[x, 1.0, x[0] ** 2] ** 2) + np.sum(np.c_[x, x**2] @ x[:2])),
    ("vectorize", RARE, lambda x: np.sum(np.vectorize(lambda v: v**3 if v > 0.5 else v)(x))),
    ("apply_along_axis", RARE, lambda x: np.sum(np.apply_along_axis(lambda v: v[0] * v[1] ** 2, 0, x.reshape(2, 3)))),
    ("fromiter, ndenumerate", RARE,
     lambda x: np.sum(np.fromiter((v**2 for v in x), float) ** 2) + sum((i[0]
               + 1) * v**3 for i, v in np.ndenumerate(x))),
    ("tolist", RARE, lambda x: sum(v**3 for v in x.tolist())),
    ("astype", RARE, lambda x: np.sum(x.astype(float) ** 2) + np.sum((5 * x).astype(int) * x**2)),
    ("ptp, average", RARE, lambda x: np.ptp(x) ** 2 + np.average(x**2, weights=np.arange(1, 7)) * x[0]),
    ("cov, corrcoef", RARE, lambda x: np.cov(x[:3], x[3:])[0, 1] + np.corrcoef(x[:3], x[3:])[0, 1] * x[0]),
    ("special.gammaln, digamma", RARE, lambda x: np.sum(special.gammaln(1 + x)) + special.digamma(2 + x[0])),
    ("special.expit, logsumexp", RARE, lambda x: np.sum(special.expit(x * x[0])) + special.logsumexp(2 * x)),
    ("special.xlogy, betaln", RARE, lambda x: special.xlogy(x[0], x[1]) + special.betaln(1 + x[2], 2 + x[3])),
)


@row("/=", RARE)
def _(x):
    a = x**2
    a /= np.sum(x)
    a *= 3
    a **= 2
    return np.sum(a)


@row("fill, put, copyto", RARE)
def _(x):
    a, b = np.empty(6), np.zeros(6)
    a.fill(2.0)
    np.put(a, [0, 3], x[:2])
    np.copyto(b, x**2)
    np.fill_diagonal(c := np.zeros((3, 3)), x[:3])
    return np.sum(a**2 * b) + np.sum(c @ c)


# -- Python around it ------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Model:
    """An objective with a parameter and a counter."""

    scale: float = 2.0
    nfev: int = 0

    def __call__(self, x):
        self.nfev += 1
        return self.scale * np.sum(x**3)

    def residuals(self, x):
        return [self.scale * v - 1 for v in x]


Pair = collections.namedtuple("Pair", "a b")
MODEL, SPACE = Model(), types.SimpleNamespace(weight=3.0)

rows(
    ("range, enumerate, zip", 9, lambda x: sum(k * a * b for k, (a, b) in enumerate(zip(x, x[2:]))) + sum(
        x[i] ** 2 for i in range(3))),
    ("comprehensions", 9,
     lambda x: sum([v**2 for v in x if v > 0.3]) + sum({k: v**3 for k, v in enumerate(x)}.values())),
    ("nested functions", 5, lambda x: (lambda f: f(x[0]) * f(x[1]))(lambda v: v**2 + x[2])),
    ("functools.partial", 1, lambda x: functools.partial(lambda a, b, c: a * b**2 + c, x[0], c=x[1] ** 2)(x[2])),
    ("bound methods", 3, lambda x: sum(r**2 for r in MODEL.residuals(x)) + (lambda f: f(x))(x.sum.__self__.dot)),
    ("side effects on attributes", 2, lambda x: MODEL(x)),
    ("builtin sum, abs, max", 5, lambda x: sum(x) ** 2 + sum(abs(v - 0.5) * v for v in x) + max(x[0], x[1]) ** 2),
    ("f-strings of values", 1, lambda x: x[0] ** 2 * len(f"{x[0]:.3f}")),
    ("namedtuple, SimpleNamespace", 1, lambda x: Pair(x[0], x[1]).a ** 2 * SPACE.weight * Pair(*x[:2]).b),
    ("itertools", 1, lambda x: sum(a * b for a, b in itertools.combinations(x, 2)) + list(itertools.accumulate(
        x, operator.mul))[-1]),
)


@row("try/except", 1)
def _(x):
    try:
        value = x[6]
    except IndexError:
        value = x[0] ** 2
    with contextlib.suppress(ZeroDivisionError):
        value = value * x[1] / len(x)
    return value


@row("while on a value", 3)
def _(x):
    s, n = x[0], 0
    while s < 3:
        s, n = s * s + x[1] + 0.5, n + 1
    return s * n


@row("recursion", 1)
def _(x):
    def horner(c):
        return c[0] if len(c) == 1 else c[0] + x[0] * horner(c[1:])

    return horner(list(x))


@row("Python lists as arrays", 5)
def _(x):
    f = [0.0] * 4
    for i in range(3):
        f[i] += x[i] ** 2 - x[i + 1]
    f.append(x[0] * x[5])
    return sum(v * v for v in f)
