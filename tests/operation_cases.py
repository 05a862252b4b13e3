"""Snippets of NumPy, one operation each: what tracing has to support, and what it has to refuse by name.

A snippet is an expression in a vector `x` of six numbers between 0.3 and 1, with names from `NAMES`.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
import operator
import statistics
from typing import Any

import numpy as np
from scipy import special

X = np.array([0.344, 0.827, 0.546, 0.935, 0.427, 0.763])
M = np.arange(36.0).reshape(6, 6) / 36
XP, FP = np.array([0.0, 0.25, 0.6, 1.0]), np.array([1.0, 3.0, 2.0, 5.0])


def assigned(x: Any, key: Any) -> Any:
    y = np.zeros(x.shape)
    y[key] = x[key] * x.ravel()[0]
    return y


def added(x: Any, key: Any) -> Any:
    y = np.ones(x.shape)
    y[key] += x[key]
    y += x
    return y


def subtracted(x: Any, key: Any) -> Any:
    y = np.ones(x.shape)
    y[key] -= x[key]
    y -= x
    return y


def divided(x: Any, key: Any) -> Any:
    y = x * x
    y[key] /= x[0]
    y /= x
    return y


def add_at(x: Any) -> Any:
    y = np.zeros(3)
    np.add.at(y, [0, 1, 1], x[:3])
    return y


MODULES = {m.__name__: m for m in (copy, functools, itertools, math, operator, statistics)}
NAMES = globals() | MODULES | {"special": special}

#: the rows of a census of published functions, most frequent first
CENSUS = '''
x * [1, 2, 3, 4, 5, 6] * x[0]
x + x[0] + 1
1 - x - x[1]
np.sum(x * x)
x**2
x[2] * x[-1]
len(x) * x
np.dot(x, x) + M @ x @ x
x / x[0] + 1 / x
x ** x[0]
x[[0, 2, 2]]
x.reshape(2, 3) @ x[:3]
assigned(x, 2)
x.reshape(2, 3)[1, 2], x.reshape(2, 3)[0, :], x[:, None] * x[None]
np.ravel(x.reshape(2, 3)), x.reshape(2, 3).flatten()
np.exp(x)
np.sin(x)
np.cos(x)
x[1:-1]
-x
[v * v for v in x], (lambda a, b, *c: a * b)(*x)
np.array([x[0], x[1]**2])
np.array(x) * x
np.sqrt(x)
abs(x - 0.6)
added(x, 1)
assigned(x.reshape(2, 3), (1, 2))
assigned(x, slice(1, 4))
np.log(x)
np.prod(x)
np.ndim(x) * x
np.stack([x, x**2])
np.concatenate((x, x))
assigned(x, slice(None, None, 2))
x[::2]
x if x[0] > 0.1 else -x
(x > 0.5) * x, (x < 0.5) * x, (x != 0.5) * x
np.where(x > 0.5, x, x**2)
x.reshape(2, 3).T
float(x[0]) * x[1], int(x[3] * 5) * x
np.roll(x, 2)
subtracted(x, 1)
np.diag(x)
np.arctan(x)
np.sign(x - 0.6) * x
np.floor(x * 3) * x
(x == 0.5) * x, (x >= 0.5) * x, (x <= 0.5) * x
np.atleast_1d(x[0]), np.atleast_2d(x)
np.zeros_like(x) + x
assigned(x, [0, 3])
np.tan(x)
np.arctan2(x, x[0])
np.max(x)
np.pad(x, (1, 2))
np.convolve(x, [1, 2.0])
np.zeros(2, dtype=np.result_type(x)) + x[:2]
x[0].item() * x[1].item()
np.size(x) * x
add_at(x)
np.reciprocal(x)
np.column_stack((x, x**2))
np.modf(x * 3)
x[int(x[3] * 5)] * x[0]
x.reshape(2, 3)[[0, 1], [2, 0]], assigned(x.reshape(2, 3), ([0, 1], [2, 0]))
np.outer(x, x)[np.triu_indices_from(np.outer(x, x))]
x[x > 0.5]
assigned(x, x > 0.5)
~(x > 0.5) * x
np.fmod(x * 3, 0.8)
((x > 0.1) & (x < 0.6)) * x
np.tanh(x)
np.cosh(x)
np.log10(x)
divided(x, 1)
np.cumsum(x)
np.arccos(x)
np.shape(x)[0] * x
np.repeat(x, 2)
np.tril(np.outer(x, x))
x.copy() * x
special.erf(x)
special.erfc(x)
x[::-1]
np.maximum(x, 0.5)
np.minimum(x, x[0])
np.clip(x, 0.4, 0.7)
np.outer(x, x)
np.vstack((x, x))
np.broadcast_to(x, (2, 6))
np.arcsin(x)
'''.strip().splitlines()

#: the rest of NumPy, of Python's numbers and of the standard library that functions are written with
EVERYDAY = '''
np.interp(x, XP, FP)
np.interp(x, XP, x[:4])
np.interp(0.33, x[[0,2,1]], x[:3])
np.interp(x, [0.,.5,1.], [1.,2.,0.], left=-1, right=7)
np.interp(x*3, XP, FP, period=1.0)
np.trapezoid(x)
np.trapezoid(x, dx=0.1)
np.trapezoid(x[:3], x[[0,2,1]])
np.trapezoid(x.reshape(2,3), axis=0)
np.gradient(x)
np.gradient(x, 0.5)
np.gradient(x, np.array([0,.1,.3,.6,1,1.5]))
np.gradient(x, np.cumsum(x))
np.gradient(x.reshape(2,3))
np.gradient(x, edge_order=2)
np.gradient(x, x[0])
np.cross(x[:3], x[3:])
np.cross(x[:2], x[2:4])
np.cross(x.reshape(2,3), [1.,2,3])
np.polyval(x, 1.3)
np.polyval([1.,2,3], x)
np.polyval(np.array([1.,2,3]), x)
np.poly1d([1.,2,3])(x)
np.polynomial.polynomial.polyval(x, [1.,2,3])
np.polynomial.polynomial.polyval(0.5, x)
np.polynomial.Polynomial([1,2,3])(x)
np.polynomial.legendre.legval(x, [1.,2,3])
np.polynomial.chebyshev.chebval(x, [1.,2,3])
np.polynomial.hermite.hermval(x, [1.,2,3])
np.polyder(x)
np.polyint(x)
np.polymul(x, [1.,2])
np.polyadd(x, [1.,2])
np.polysub(x, [1.,2])
np.unwrap(x*9)
np.convolve(x, [1.,2,3])
np.convolve(x, [1.,2,3], 'same')
np.convolve(x, [1.,2,3], mode='valid')
np.convolve(x[:2], x)
np.convolve(x[:2], x, 'same')
np.convolve(x[:3], x, 'valid')
np.convolve(x, x[:4], 'same')
np.correlate(x, [1.,2,3])
np.correlate(x, [1.,2,3], 'full')
np.correlate([1.,2,3], x, 'same')
np.correlate([1.,2,3,4], x, 'full')
np.einsum('i,i', x, x)
np.einsum('i,i->i', x, x)
np.einsum('i,j->ij', x, x)
np.einsum('ij,j', M, x)
np.einsum('ij->ji', x.reshape(2,3))
np.einsum('ii', np.outer(x,x))
np.einsum('ii->i', np.outer(x,x))
np.einsum('...i,...i->...', x.reshape(2,3), x.reshape(2,3))
np.einsum('ij,jk,kl->il', x.reshape(2,3), x.reshape(3,2), x.reshape(2,3))
np.einsum('i->', x)
np.einsum(x, [0], x, [1], [1,0])
np.einsum('ij,kj->ik', x.reshape(2,3), x.reshape(2,3), optimize=True)
np.einsum('ba', x.reshape(2,3))
np.add.outer(x, x)
np.multiply.outer(x[:2], x[2:])
np.subtract.outer(x, [1.,2.])
np.add.reduce(x)
np.multiply.reduce(x)
np.maximum.reduce(x)
np.minimum.reduce([x[:3], x[3:]])
np.add.reduce([x, x*2])
np.logaddexp.reduce(x)
np.logaddexp.accumulate(x)
np.maximum.accumulate(x)
np.minimum.accumulate(x.reshape(2,3), axis=1)
np.subtract.reduce(x)
np.divide.reduce(x)
np.hypot.reduce(x)
np.add.accumulate(x)
np.multiply.accumulate(x)
np.subtract.accumulate(x)
np.add.reduceat(x, [0,2,4])
np.add.reduceat(x, [0,3,1])
np.maximum.reduceat(x, [0,2,4])
np.multiply.reduceat(x, [0,2,4])
round(x[0]*10)
round(x[1], 1)
pow(x[0], 3)
pow(2, x[0])
2 ** x
2.5 ** x[0]
(-1.0) ** np.arange(6) * x
x ** -2
x ** 0
x ** 0.5
x ** np.array([1,2,3,0,1,2])
x ** x
divmod(x[0]*10, 3)
divmod(1., x[0])
x*10 // 3
x*10 % 3
-x*10 % 3
7 // x[0]
7 % x
int(x[0]*10) * x
float(x[0]) * x
[1,2,3][int(x[3]*3)] * x
bool(x[0]) * x
abs(-x)
math.fsum(x)
math.fsum(v*v for v in x)
math.prod(x)
math.prod([x[0], 2, x[1]], start=3)
math.hypot(x[0], x[1], x[2])
math.hypot(*x)
math.hypot(x[0])
math.dist(x[:3], x[3:])
math.dist([x[0], 1], [2, x[1]])
math.floor(x[0]*10)*x
math.ceil(x[0]*10)*x
math.trunc(x[0]*10)*x
math.gamma(x[0])
math.lgamma(x[0])
math.erf(x[0])+math.erfc(x[1])
math.copysign(x[0], -1)
math.fmod(x[0]*10, 3)
math.remainder(x[0]*10, 3)
math.modf(x[0]*10)
math.ldexp(x[0], 3)
math.log(x[0], 10)
math.log(x[0], x[1])
math.log2(x[0])+math.log10(x[1])+math.log1p(x[2])
math.exp(x[0])+math.expm1(x[1])
math.sqrt(x[0])
math.cbrt(x[0])
math.isqrt(int(x[0]*100))*x
math.isclose(x[0], 0.3)*x
math.isnan(x[0]), math.isinf(x[1]), math.isfinite(x[1])
math.comb(5, 2)*x
math.factorial(3)*x
math.pow(x[0], x[1])
math.atan2(x[0], x[1])
math.sinh(x[0])+math.cosh(x[1])+math.tanh(x[2])+math.asinh(x[0])+math.acosh(x[0]+1)+math.atanh(x[1])
math.degrees(x[0])+math.radians(x[1])
math.ulp(1.0)*x
math.nextafter(1.0, 2.0)*x
statistics.mean(x)
statistics.mean([x[0], x[1]])
statistics.fmean(x)
statistics.variance(list(x))
statistics.pvariance(list(x))
statistics.stdev(list(x))
statistics.median(list(x))
statistics.harmonic_mean(list(x))
statistics.geometric_mean(list(x))
list(itertools.accumulate(x))
list(itertools.accumulate(x, operator.mul))
functools.reduce(lambda a, b: a * b, x)
functools.reduce(operator.add, x, 0.0)
sum(v**2 for v in x)
sum(x, 3.0)
sum([x[:3], x[3:]])
sorted(x)
sorted(x, reverse=True)[:2]
sorted(x, key=lambda v: -v)
max(x, key=lambda v: -v)
min(x, key=lambda v: (v-.5)**2)
max(x[0], x[1])
max(0, x[0], 0.31)
min(list(x))
max(x, default=0)
max((v*v for v in x), default=0)
[v for v in reversed(x)]
list(map(lambda a, b: a*b, x[:3], x[3:]))
list(filter(lambda v: v > 0.45, x))
[a*b for a, b in zip(x, x[1:])]
[i*v for i, v in enumerate(x)]
any(v > 0.8 for v in x) * x
all(v > 0 for v in x) * x
operator.add(x[0], x[1])
operator.itemgetter(2)(x)
operator.itemgetter(2, 3)(x)
operator.mul(x, x)
operator.pow(x, 2), operator.neg(x), operator.truediv(1, x), operator.abs(-x)
operator.matmul(x, x)
copy.deepcopy(x)
copy.copy(x)
[copy.deepcopy([x[0], x[1]])]
f"{x[0]:.3f}" and x
str(x) and repr(x) and x
"%s" % x[0] and x
"{}".format(x[0]) and x
x if x is not None else 0
x if x.any() else 0
x if np.all(x > 0) else 0
x if (x > 0).all() else 0
x if np.isclose(x[0], 0.3) else -x
x if np.allclose(x, x) else -x
np.array_equal(x, x) * x
np.array_equiv(x, x) * x
np.lexsort((x, x))*x
x[np.lexsort((x,))]
np.searchsorted(XP, x)*x
np.searchsorted(np.sort(x), 0.6)*x
np.searchsorted(x[[0,2,1]], [0.4, 0.6])
np.unique(x)
np.unique(np.round(x))
np.unique(x, return_index=True)[1]*x
np.median(x)
np.median(x.reshape(2,3), axis=0)
np.quantile(x, 0.3)
np.quantile(x, [0.25, 0.75])
np.quantile(x, 0.3, method='lower')
np.quantile(x, 0.3, method='nearest')
np.quantile(x, 0.3, method='hazen')
np.quantile(x.reshape(2,3), 0.3, axis=1, keepdims=True)
np.percentile(x, 40)
np.percentile(x.reshape(2,3), [40,60], axis=0)
np.nanmedian(x)
np.nanquantile(x, .3)
np.nanpercentile(x, 30)
np.partition(x, 2)[:3].sum()
np.partition(x, 2)[2]
np.argpartition(x, 2)[2]*x
x[np.argpartition(x, 2)[:2]].sum()
np.sort(x)[::-1]
np.sort(x.reshape(2,3), axis=0)
np.argsort(x)[::-1]*x
x[np.argsort(-x)]
np.nanmax(x)
np.nanmin(x)
np.nansum(x)
np.nanmean(x)
np.nanprod(x)
np.nanstd(x)
np.nanvar(x)
np.nanargmax(x)*x
np.nancumsum(x)
np.nancumprod(x)
np.max(x), np.min(x), np.ptp(x)
np.argmax(x)*x
np.argmin(x)*x
np.median(x, keepdims=True)
np.average(x, weights=[1,2,3,4,5,6])
np.average(x, weights=x)
np.digitize(x, [0.,.35,.6])*x
np.bincount([0,1,1,2,0,1], weights=x)
np.cov(x.reshape(2,3))
np.corrcoef(x.reshape(2,3))
np.diff(x, n=2)
np.ediff1d(x)
np.fromfunction(lambda i, j: x[0]*i + j, (2,3))
np.apply_along_axis(np.sum, 0, x.reshape(2,3))
np.apply_along_axis(lambda v: v**2, 1, x.reshape(2,3))
np.apply_over_axes(np.sum, x.reshape(2,3), [0])
np.vectorize(lambda t: t**2 if t > 0.5 else t)(x)
np.vectorize(lambda a, b: a*b, otypes=[float])(x, 2.0)
np.vectorize(lambda a, b: a@b, signature='(n),(n)->()')(x.reshape(2,3), x.reshape(2,3))
np.vectorize(lambda a, k=2: a*k)(x, k=3)
np.frompyfunc(lambda a: a*a, 1, 1)(x).astype(float)
np.piecewise(x, [x<0.5, x>=0.5], [lambda v: v**2, lambda v: v**3])
np.piecewise(x, [x<0.5], [1.0, lambda v: v])
np.piecewise(x[0], [x[0]<0.5], [lambda v: v**2, 3])
np.select([x<0.4, x>0.7], [x**2, x**3], default=0.5)
np.select([x<0.4, x>0.7], [x**2, 1.0])
np.choose([0,1,0,1,0,1], [x, x**2])
np.choose((x>0.5).astype(int), [x, x**2])
np.where(x>0.5)[0]*1.0
np.where(x>0.5, x, 0)
x[x>0.5]
x[(x>0.5) & (x<0.85)]
x[~(x>0.5)]
np.compress(x>0.5, x)
np.extract(x>0.5, x)
np.argwhere(x>0.5)*1.
np.flatnonzero(x>0.5)*x[0]
np.count_nonzero(x>0.5)*x
(x>0.5).sum()*x
(x>0.5).mean()*x
np.nonzero(x>0.5)[0].size*x
np.isin(np.arange(6), [1,2])*x
np.isin(x, [0.3])*x
np.logical_and(x>0.1, x<0.5)*x
np.any(x>0.5)*x
x.cumsum().cumprod()
x.clip(0.4, 0.6), x.clip(min=0.4), np.clip(x, None, 0.6)
x.sum(), x.mean(), x.std(), x.var(ddof=1), x.prod(), x.max(), x.min()
x.dot(x), x @ x, x.T @ x, np.vdot(x,x), np.inner(x,x)
x.reshape(2,-1).T.ravel(), x.flatten(), x.squeeze(), x[None,:].squeeze(0)
x.astype(np.float32).astype(float)*0 + x
x.tolist()
x.item(0)*x.item(1)
x.take([0,1]), np.take(x, [[0,1],[2,3]]), x.repeat(2), np.tile(x,2), np.roll(x,1)
x.nonzero()[0]*1., x.argsort()*1., x.argmax()*1.
x.swapaxes(0,0), x.copy(), x.view(), x.round(0)
x.trace() if x.ndim == 2 else x
x.real, x.imag, x.conj()
x.flat[2], x.flat[1:3]
[v for v in x.flat]
x.shape[0]*x, len(x)*x, x.size*x, x.ndim*x, x.itemsize*x, x.nbytes*x
np.shape(x)[0]*x, np.ndim(x)*x, np.size(x)*x
x.dtype.kind == 'f' and x
np.isscalar(x[0])*x
np.iterable(x)*x
hasattr(x, '__len__')*x
isinstance(x, np.ndarray)*x
isinstance(x[0], (int, float))*x
isinstance(x[0], np.floating)*x
callable(x)*x, type(x).__name__ and x
type(x) is np.ndarray and x
type(x) == np.ndarray and x
type(x[0]) in (float, np.float64) and x
issubclass(type(x[0]), float) and x
np.issubdtype(x.dtype, np.floating)*x
np.finfo(x.dtype).eps*x
np.result_type(x, 1.0) == float and x
np.sign(x-.5)*x, np.heaviside(x-.5, .5)*x, np.floor(x*3)*x
np.outer(x,x), np.kron(x,[1,2]), np.diag(x), np.diag(np.outer(x,x)), np.tri(6)*x, np.vander(x[:3])
np.linspace(0, x[0], 4), np.linspace(x[0], x[1], 4), np.logspace(0, x[0], 3), np.geomspace(1, x[0], 3)
np.arange(x[0], 2, 0.5)
np.arange(3)*x[0]
np.full(3, x[0]), np.full_like(x, x[0]), np.ones_like(x)*x[0]
np.meshgrid(x[:2], x[2:])
np.stack([x,x])
np.vstack((x,x))
np.hstack((x,1.0))
np.concatenate([x, [1.0]])
np.column_stack([x,x])
np.dstack([x,x])
np.append(x, 3.0)
np.block([[x.reshape(2,3)],[x.reshape(2,3)]])
np.insert(x, 2, 5.0)
np.delete(x, 1)
np.pad(x, 2)
np.pad(x, (1,2), mode='edge')
np.pad(x, 1, mode='wrap')
np.pad(x, 1, mode='reflect')
np.pad(x, 2, mode='linear_ramp')
np.pad(x, 2, mode='mean')
np.pad(x, 2, constant_values=x[0])
np.split(x, 3), np.array_split(x, 4), np.hsplit(x.reshape(2,3),3), np.vsplit(x.reshape(2,3),2)
np.trim_zeros(x)
np.flip(x)
np.flipud(x)
np.rot90(x.reshape(2,3))
np.moveaxis(x.reshape(2,3),0,1)
np.rollaxis(x.reshape(2,3),1)
np.ravel_multi_index(([0],[1]),(2,3))*x
np.unravel_index(3,(2,3))[0]*x
np.indices((2,3))*x[0]
np.ix_([0,1],[1,2]) and x.reshape(2,3)[np.ix_([0,1],[1,2])]
np.tril(np.outer(x,x)), np.triu(np.outer(x,x),1), np.outer(x,x)[np.triu_indices(6,1)]
np.take_along_axis(x, np.array([2,1]), 0)
np.lib.stride_tricks.sliding_window_view(x, 3)
np.i0(x), np.sinc(x)
np.nan_to_num(x), np.real_if_close(x), np.copysign(x, -1), np.nextafter(1.,2.)*x
np.ldexp(x, 2)
np.modf(x*3), np.fmod(x*3, 1), np.divmod(x*3, 1)
np.gcd(4, 6)*x, np.lcm(4,6)*x
np.maximum(x, 0.5), np.fmax(x, 0.5), np.maximum(x[0], x[1])
np.cbrt(x), np.exp2(x), np.logaddexp2(x, .3), np.hypot(x, 2), np.deg2rad(x), np.log1p(x)
np.emath.sqrt(x), np.emath.log(x), np.emath.power(x, 2)
np.bitwise_and((x>.4).astype(int), 1)*x
np.array([x[0], x[1]]).astype(int)*x[:2]
np.random.default_rng(0).normal(size=6)*x
np.asarray_chkfinite(x), np.ascontiguousarray(x), np.asfortranarray(x), np.require(x), np.asanyarray(x)
np.broadcast_to(x, (2,6)), np.broadcast_arrays(x, np.ones((2,1)))
np.squeeze(x[None]), np.expand_dims(x, 0), np.atleast_2d(x), np.atleast_3d(x)
np.positive(x), np.negative(x), np.square(x), np.reciprocal(x), np.fabs(x), np.absolute(x)
np.cumulative_sum(x), np.cumulative_prod(x), np.cumulative_sum(x, include_initial=True)
np.vecdot(x, x), np.linalg.vecdot(x, x), np.matvec(M, x) if hasattr(np,'matvec') else x
np.linalg.norm(x)
np.linalg.norm(x, 1)
np.linalg.norm(x, np.inf)
np.linalg.norm(x, 3)
np.linalg.norm(x.reshape(2,3), axis=1)
np.linalg.norm(x.reshape(2,3), 'fro')
np.trace(np.outer(x,x)), np.tensordot(x.reshape(2,3), x.reshape(3,2), 1), np.linalg.multi_dot([x, M, x])
np.sum(x, where=[True]*3+[False]*3)
np.sum(x, initial=2.0)
np.sum(x.reshape(2,3), axis=-1, keepdims=True)
np.mean(x, dtype=float)
np.max(x, initial=0.85)
np.prod(x, where=x>0.5)
np.mean(x, where=x>0.5)
np.std(x.reshape(2,3), axis=1, ddof=1)
np.may_share_memory(x, x) and x
np.matrix([[1.,2],[3,4]])*x[0]
np.array([[x[0], 0], [0, x[1]]], dtype=float)
np.array((x[0], x[1]))
np.array([x, x])
np.array([x[:2], [1,2]])
np.array([np.array([x[0]]), np.array([x[1]])])
np.array([[*x[:3]], [*x[3:]]])
np.array(list(map(lambda v: v*2, x)))
np.array([*x, 1.0])
np.fromiter((v for v in x), float)
np.array({0: x[0]}[0])
np.identity(6) @ x
np.eye(6)*x
np.frexp(5*x)[0]
math.frexp(x[0])[0] * math.frexp(9*x[1])[1]
np.histogram(x, 2, (0, 1))
np.histogram(x, 4, weights=x**2)
np.histogram(x, [0.0, 0.4, 0.9], density=True)[0]
np.histogram_bin_edges(x, 3)
np.polyfit([0., 1, 2, 3, 4, 5], x, 2)
np.polyfit(np.arange(6), x, 1, w=[1, 2, 1, 2, 1, 2])
np.poly(x[:3])
np.unravel_index((5*x[0]).astype(int), (2, 3))[1] * x
np.ravel_multi_index(((2*x[:2]).astype(int), np.array([0, 1])), (2, 3)) * x[0]
len(set(x)) * x[0]**2
{v: v**2 for v in x}[x[1]]
'''.strip().splitlines()

#: what has no derivative, or no rule: a snippet and the name that the message has to hold
REFUSED = {
    "np.spacing(x)": "spacing",
    "np.nextafter(x, 1.0)": "nextafter",
    "np.histogram(x, bins='auto')": "histogram",
    "np.linalg.eigvals(np.outer(x, x))": "linalg.eig",
    "np.power.reduce(x)": "power.reduce",
    "np.roots(x)": "roots",
    "np.unique(x.reshape(2, 3), axis=0)": "unique along an axis",
    "np.quantile(x, 0.5, weights=x, method='inverted_cdf')": "quantile with weights",
    "x.reshape(2, 3).ravel('K')": "order='K'",
    "x.view(np.int64)": "view",
    "'%f' % x[0]": "float\\(\\)",
    "np.lib.stride_tricks.as_strided(x, (3, 2), (16, 8))": "plain array",
    "np.random.default_rng(0).permutation(x)": "plain array",
    "np.sqrt(x, where=x > 0.5)": "where",
    "np.exp(x, out=M[0])": "out=",
}
