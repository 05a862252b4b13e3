"""Functions written in jax.numpy, by the primitives of lax that they consist of: (function, point)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, nn
from jax.ad_checkpoint import checkpoint_name
from jax.scipy import linalg, special, stats
from jax.scipy.sparse.linalg import cg
from jax.sharding import SingleDeviceSharding

V = np.array([0.31, 0.72, 0.45, 0.63])
W = np.array([1.4, -0.8, 2.3, 0.9])
M = np.array([[0.5, 1.2, 0.3], [0.9, 0.4, 1.1]])
A = np.array([[2.0, 0.3, 0.1], [0.4, 1.7, 0.2], [0.5, 0.1, 2.2]])
S = A @ A.T
IMAGE = np.linspace(-0.9, 1.1, 36).reshape(1, 6, 6, 1) ** 2 + 0.1 * np.sin(np.arange(36.0)).reshape(1, 6, 6, 1)
ROW = np.array([2, 0, 1, 2])

Case = tuple[Callable, np.ndarray]


def symmetric(a: Any) -> Any:
    """The symmetric part of a matrix: derivatives of what reads one triangle are a matter of convention."""
    return (a + a.T) / 2


ELEMENTWISE: dict[str, Case] = {
    "neg": (lambda x: -x * x, V), "sign": (lambda x: jnp.sign(x) * x**2, W), "abs": (jnp.abs, W),
    "floor": (lambda x: jnp.floor(3 * x) * x**2, V), "ceil": (lambda x: jnp.ceil(3 * x) * x**2, V),
    "round": (lambda x: jnp.round(3 * x) * x**2, V), "trunc": (lambda x: jnp.trunc(3 * x) * x**2, W),
    "round away": (lambda x: lax.round(3 * x, lax.RoundingMethod.AWAY_FROM_ZERO) * x**2, W), "sqrt": (jnp.sqrt, V),
    "rsqrt": (lax.rsqrt, V), "cbrt": (jnp.cbrt, V), "square": (jnp.square, V), "integer_pow": (lambda x: x**5, W),
    "integer_pow -2": (lambda x: x**-2, W), "reciprocal": (jnp.reciprocal, W), "pow": (lambda x: x**x, V),
    "pow of number": (lambda x: 2.5**x, V), "float_power": (lambda x: x**1.5, V), "exp": (jnp.exp, V),
    "exp2": (jnp.exp2, V), "expm1": (jnp.expm1, V), "log": (jnp.log, V), "log2": (jnp.log2, V),
    "log1p": (jnp.log1p, V), "logistic": (nn.sigmoid, W), "log_sigmoid": (nn.log_sigmoid, W), "sin": (jnp.sin, W),
    "cos": (jnp.cos, W), "tan": (jnp.tan, V), "asin": (jnp.arcsin, V), "acos": (jnp.arccos, V),
    "atan": (jnp.arctan, W), "atan2": (lambda x: jnp.arctan2(x[0], x[1:]), W), "sinh": (jnp.sinh, W),
    "cosh": (jnp.cosh, W), "tanh": (jnp.tanh, W), "asinh": (jnp.arcsinh, W),
    "acosh": (lambda x: jnp.arccosh(1 + x), V), "atanh": (jnp.arctanh, V),
    "add, sub, mul, div": (lambda x: (x[0] + x[1] - x[2]) * x / (1 + x[3]), V),
    "rem": (lambda x: lax.rem(x, 0.4) * x, W), "mod": (lambda x: (x % 0.4) * x, W),
    "floor_divide": (lambda x: (x // 0.4) * x**2, W), "divmod": (lambda x: divmod(x, 0.4)[1] ** 2, W),
    "max, min": (lambda x: jnp.maximum(x, 0.5) * jnp.minimum(x, x[::-1]), V),
    "clamp": (lambda x: lax.clamp(0.4, x, 0.65) ** 2, V), "clip": (lambda x: jnp.clip(x, 0.4, 0.65) ** 2, V),
    "comparisons": (lambda x: jnp.where((x > 0.5) & ~(x >= 0.7) | (x < 0.4) ^ (x <= 0.2), x**2, x**3), V),
    "eq, ne": (lambda x: jnp.where(x == x[0], x**2, 0) + jnp.where(x != x[0], x**3, 0), V),
    "select_n of numbers": (lambda x: lax.select_n(jnp.array([0, 1, 2, 1]), x, x**2, x**3), V),
    "select_n at run time": (lambda x: lax.select_n((3 * x).astype(jnp.int32), x, x**2, x**3), V),
    "is_finite": (lambda x: jnp.where(jnp.isfinite(x), x**2, 0.0), V),
    "isnan, nan_to_num": (lambda x: jnp.nan_to_num(x) ** 2 + jnp.where(jnp.isnan(x), 0, x), V),
    "convert_element_type": (lambda x: (x > 0.5).astype(float) * x**2 + x.astype(int) * x, W),
    "copysign": (lambda x: jnp.copysign(x, jnp.array([1.0, 1.0, -1.0, -1.0])) ** 3, W),
    "frexp, ldexp": (lambda x: jnp.frexp(3 * x)[0] ** 2 + jnp.ldexp(x, 2) ** 2, W),
    "modf": (lambda x: jnp.modf(3 * x)[0] ** 2, W),
    "the same again": (lambda x: checkpoint_name(lax.optimization_barrier(jax.device_put(x)) ** 2, "a"), V),
    "sharding": (lambda x: lax.with_sharding_constraint(x, SingleDeviceSharding(jax.devices()[0])) ** 2, V),
    "vmapped logaddexp": (lambda x: jax.vmap(jnp.logaddexp, (0, None))(x[:3], x[1:]), V),
    "vmapped logaddexp, last axis": (lambda a: jax.vmap(jnp.logaddexp, (1, None), 1)(a, a[0]), A),
    "vmapped hypot of numbers": (lambda x: jax.vmap(lambda a, b: jnp.hypot(a, b))(x, x[::-1]), V),
    "hypot": (lambda x: jnp.hypot(x, x[::-1]), V), "logaddexp": (lambda x: jnp.logaddexp(x, 0.5), W),
    "logaddexp2": (lambda x: jnp.logaddexp2(x, x[::-1]), W), "sinc": (lambda x: jnp.sinc(x) * x, V),
    "heaviside": (lambda x: jnp.heaviside(x, 0.5) * x**2, W),
    "stop_gradient": (lambda x: lax.stop_gradient(x) * x**2, V),
    "reduce_precision": (lambda x: lax.reduce_precision(x, 11, 52) ** 3, V),
    "xor of numbers": (lambda x: x * (jnp.arange(4) ^ 1) ** 2 * x, V),
    "shifts of numbers": (lambda x: x**2 * ((jnp.arange(4) << 2) >> 1), V),
    "modular integers": (lambda x: x**2 * (jnp.floor(x).astype(jnp.uint8) - jnp.uint8(3)), V),
    "integer division": (lambda x: x**2 * lax.div((10 * x).astype(int), 3), W),
}

SPECIAL: dict[str, Case] = {
    "erf": (special.erf, W), "erfc": (special.erfc, W), "erf_inv": (special.erfinv, V),
    "lgamma": (special.gammaln, V), "digamma": (special.digamma, V),
    "polygamma": (lambda x: special.polygamma(2, x), V), "gamma": (special.gamma, V),
    "zeta": (lambda x: special.zeta(3.0, 1 + x), V), "igamma": (lambda x: special.gammainc(1.5, x), V),
    "igammac": (lambda x: special.gammaincc(1.5, x), V), "betainc": (lambda x: special.betainc(1.5, 0.7, x), V),
    "betaln": (lambda x: special.betaln(x, x[::-1]), V), "bessel_i0e": (special.i0e, V),
    "bessel_i1e": (special.i1e, V), "i0": (special.i0, V), "i1": (special.i1, V),
    "xlogy": (lambda x: special.xlogy(x, x[::-1]), V), "xlog1py": (lambda x: special.xlog1py(x, x[::-1]), V),
    "entr": (special.entr, V), "logit": (special.logit, V), "expit": (special.expit, W), "ndtr": (special.ndtr, W),
    "log_ndtr": (special.log_ndtr, W), "ndtri": (special.ndtri, V),
    "rel_entr": (lambda x: special.rel_entr(x, x[::-1]), V), "kl_div": (lambda x: special.kl_div(x, x[::-1]), V),
    "expi": (special.expi, V), "multigammaln": (lambda x: special.multigammaln(2 + x, 2), V),
    "logsumexp": (lambda x: special.logsumexp(x * W, b=jnp.array([1.0, 2.0, 1.0, 0.5])), V),
    "norm.logpdf": (lambda x: stats.norm.logpdf(W, x, x[::-1]), V),
    "gamma.logpdf": (lambda x: stats.gamma.logpdf(V, 1 + x), V),
    "beta.logpdf": (lambda x: stats.beta.logpdf(V, 1 + x, 2 + x), V),
    "t.logpdf": (lambda x: stats.t.logpdf(W, 3.0, x), V),
    "poisson.logpmf": (lambda x: stats.poisson.logpmf(jnp.array([1, 0, 3, 2]), x), V),
    "norm.logcdf": (lambda x: stats.norm.logcdf(x), W), "laplace.logpdf": (lambda x: stats.laplace.logpdf(W, x), V),
    "multivariate_normal.logpdf": (lambda s: stats.multivariate_normal.logpdf(V[:3], W[:3], s), S),
}

NETWORKS: dict[str, Case] = {
    "relu": (lambda x: nn.relu(x) ** 3, W), "relu6": (lambda x: nn.relu6(3 * x) ** 2, W), "elu": (nn.elu, W),
    "selu": (nn.selu, W), "celu": (nn.celu, W), "gelu": (nn.gelu, W),
    "exact gelu": (lambda x: nn.gelu(x, approximate=False), W), "silu": (nn.silu, W), "softplus": (nn.softplus, W),
    "softmax": (nn.softmax, W), "log_softmax": (nn.log_softmax, W),
    "leaky_relu": (lambda x: nn.leaky_relu(x) ** 2, W), "hard_tanh": (lambda x: nn.hard_tanh(x) ** 2, W),
    "glu": (nn.glu, W), "one_hot": (lambda x: nn.one_hot(ROW, 3) @ x[:3] ** 2, V), "standardize": (nn.standardize, V),
    "mish": (nn.mish, W), "squareplus": (nn.squareplus, W), "soft_sign": (nn.soft_sign, W),
    "hard_swish": (nn.hard_swish, W),
}

MOVEMENT: dict[str, Case] = {
    "broadcast_in_dim": (lambda x: jnp.broadcast_to(x[:, None], (4, 3)) ** 2, V),
    "reshape": (lambda m: m.reshape(3, 2) ** 2, M),
    "reshape, Fortran": (lambda m: jnp.ravel(m, order="F") * jnp.arange(6) * m.ravel(), M),
    "squeeze, expand_dims": (lambda x: jnp.squeeze(jnp.expand_dims(x, (0, 2))) ** 2, V),
    "transpose": (lambda m: m.T @ m, M), "rev": (lambda x: x[::-1] * x, V), "flip": (lambda m: jnp.flip(m) * m, M),
    "concatenate": (lambda x: jnp.concatenate([x, x[:2] ** 2, W]), V),
    "stack": (lambda x: jnp.stack([x, x**2], 1) * x[:, None], V),
    "split": (lambda x: jnp.split(x, [1])[1] * jnp.split(x, 4)[0], V),
    "pad": (lambda x: jnp.pad(x, (2, 1)) * jnp.arange(7) * jnp.pad(x, (1, 2)), V),
    "pad, cut and spread": (lambda x: lax.pad(x, x[0], [(-1, 3, 2)]) ** 2, V),
    "pad, all cut off": (lambda x: lax.pad(x, 2.0, [(-5, 7, 0)]) * jnp.sum(x**2), V),
    "pad, reflect": (lambda x: jnp.pad(x, 2, mode="reflect") ** 2, V), "slice": (lambda x: x[1:4:2] * x[0:2], V),
    "iota": (lambda x: x**2 * jnp.arange(4), V), "roll": (lambda x: jnp.roll(x, 1) * x, V),
    "tile": (lambda x: jnp.tile(x, 2) ** 2, V), "repeat": (lambda x: jnp.repeat(x, 2) ** 3, V),
    "triu": (lambda a: jnp.triu(a) @ a, A), "diag": (lambda x: jnp.diag(x) @ jnp.outer(x, x), V),
    "diagonal": (lambda a: jnp.diagonal(a) * jnp.diagonal(a, 0) ** 2, A),
    "meshgrid": (lambda x: jnp.meshgrid(x, x)[0] * jnp.meshgrid(x, x)[1], V), "copy": (lambda x: jnp.copy(x) ** 2, V),
    "empty": (lambda x: jnp.concatenate([jnp.zeros((0,)), x]) ** 2, V),
}

INDEXING: dict[str, Case] = {
    "element": (lambda x: x[2] * x, V), "negative element": (lambda x: x[-1] * x, V),
    "take": (lambda x: jnp.take(x, ROW) ** 2 * x, V), "array of places": (lambda x: x[ROW] * x, V),
    "array of places in rows": (lambda a: a[ROW] ** 2, A),
    "array of places in columns": (lambda a: a[:, ROW] ** 2, A),
    "pairs of places": (lambda a: a[ROW, ROW[::-1]] ** 2, A), "places and a slice": (lambda a: a[ROW, 1:] ** 2, A),
    "mask": (lambda x: x[np.array([True, False, True, True])] ** 2, V),
    "take_along_axis": (lambda a: jnp.take_along_axis(a, jnp.argsort(a, 1), 1) ** 2 * a, A),
    "take, clip": (lambda x: jnp.take(x, jnp.array([7, -9, 1]), mode="clip") ** 2, V),
    "take, wrap": (lambda x: jnp.take(x, jnp.array([7, -9, 1]), mode="wrap") ** 2, V),
    "take, fill": (lambda x: jnp.take(x, jnp.array([7, 1, 2]), mode="fill", fill_value=2.0) ** 2, V),
    "at run time": (lambda x: x[(4 * x).astype(int)] * x, V),
    "rows at run time": (lambda a: a[a[0].astype(int)] ** 2, A),
    "one row at run time": (lambda a: a[a[0, 0].astype(int) - 1] ** 2 * a, A),
    "columns at run time": (lambda a: a[:, a[0].astype(int)] ** 2, A),
    "pairs at run time": (lambda a: a[ROW[:3], a[0].astype(int)] ** 2, A),
    "both at run time": (lambda a: a[a[0].astype(int), a[:, 0].astype(int)] ** 2, A),
    "out of range at run time": (lambda x: x.at[(9 * x).astype(int)].get(mode="fill", fill_value=1.0) ** 2 * x, V),
    "dynamic_slice": (lambda x: lax.dynamic_slice(x, (1,), (2,)) ** 2, V),
    "dynamic_slice at run time": (lambda x: lax.dynamic_slice(x, (x[1].astype(int) + 5,), (3,)) ** 2 * x[:3], V),
    "dynamic_slice of rows": (lambda a: lax.dynamic_slice(a, (a[0, 1].astype(int), 1), (2, 2)) ** 2, A),
    "dynamic_index": (lambda a: lax.dynamic_index_in_dim(a, a[0, 0].astype(int), 1) ** 2, A),
    "dynamic_update_slice": (lambda x: lax.dynamic_update_slice(x, x[:2] ** 2, (1,)) * x, V),
    "dynamic_update_slice at run time": (lambda x: lax.dynamic_update_slice(x, x[:2] ** 2,
        (x[0].astype(int) + 1,)) * x, V),
    "dynamic_update_slice of a block": (lambda a: lax.dynamic_update_slice(a, a[:2, :2] ** 2, (1, a[0,
        0].astype(int))) * a, A),
    "at set": (lambda x: x.at[1].set(x[0] ** 2) * x, V), "at set slice": (lambda x: x.at[1:3].set(2.0) ** 2 * x, V),
    "at set places": (lambda x: x.at[np.array([0, 3])].set(x[1:3] ** 2) * x, V),
    "at set, repeated": (lambda x: jnp.zeros(4).at[np.array([1, 1])].set(x[0] ** 2) * x, V),
    "at set at run time": (lambda x: x.at[(4 * x).astype(int)].set(x**2) * x, V),
    "at set one at run time": (lambda x: jnp.ones(4).at[(4 * x[0]).astype(int)].set(x[1] ** 2) * x, V),
    "at set row": (lambda a: a.at[1].set(a[0] ** 2) @ a, A),
    "at set out of range": (lambda x: x.at[9].set(5.0) ** 2, V), "at add": (lambda x: x.at[ROW].add(x**2) ** 2, V),
    "at add to numbers": (lambda x: jnp.zeros(3).at[ROW].add(x) ** 2, V),
    "at add numbers": (lambda x: x.at[ROW].add(W) ** 2, V),
    "at add dropped": (lambda x: x.at[np.array([1, 9])].add(x[:2], mode="drop") ** 2, V),
    "at add at run time": (lambda x: x.at[(4 * x).astype(int)].add(x**2) * x, V),
    "at add rows": (lambda a: a.at[ROW[:3]].add(a**2) * a, A),
    "at add clipped": (lambda x: x.at[np.array([1, 9])].add(x[:2], mode="clip") ** 2, V),
    "at subtract": (lambda x: x.at[ROW].subtract(x**2) ** 2, V),
    "at multiply": (lambda x: x.at[ROW[1:]].multiply(x[1:] ** 2, unique_indices=True) ** 2, V),
    "at min": (lambda x: x.at[ROW].min(x[::-1]) ** 2, V), "at max": (lambda x: x.at[ROW].max(x[::-1]) ** 2, V),
    "segment_sum": (lambda x: jax.ops.segment_sum(x, ROW, 3) ** 2, V),
    "vmapped gather": (lambda a: jax.vmap(lambda r, i: r[i] ** 2)(a, ROW[:3]), A),
    "vmapped scatter": (lambda a: jax.vmap(lambda r, i: r.at[i].set(r[0] ** 2))(a, ROW[:3]) * a, A),
    "vmapped dynamic_slice": (lambda a: jax.vmap(lambda r, i: lax.dynamic_slice(r, (i,), (2,)) ** 2)(a, ROW[:3]), A),
}

REDUCTIONS: dict[str, Case] = {
    "sum": (lambda m: jnp.sum(m**2, 0) * jnp.sum(m), M), "mean": (lambda m: jnp.mean(m, 1, keepdims=True) * m, M),
    "prod": (lambda m: jnp.prod(m, 1), M), "max": (lambda m: jnp.max(m, 0) ** 2, M),
    "min": (lambda m: jnp.min(m, 1) ** 2, M),
    "all, any": (lambda m: jnp.where(jnp.all(m > 0.2, 0) & jnp.any(m > 1, 0), m**2, m**3), M),
    "xor": (lambda m: jnp.where(lax.reduce_xor(m > 0.6, (0,)), m**2, m**3), M),
    "argmax, argmin": (lambda m: m[jnp.argmax(m[:, 0]), jnp.argmin(m[0])] * m, M),
    "var": (lambda m: jnp.var(m, 0), M), "std": (lambda m: jnp.std(m, 1, ddof=1), M),
    "norm": (lambda m: jnp.linalg.norm(m, axis=1), M), "median": (jnp.median, V),
    "quantile": (lambda x: jnp.quantile(x, 0.4) ** 2, V), "cumsum": (lambda x: jnp.cumsum(x**2) * x, V),
    "cumsum, reversed": (lambda x: lax.cumsum(x**2, reverse=True) * x, V), "cumprod": (jnp.cumprod, V),
    "cummax": (lambda x: lax.cummax(x) ** 2, V), "cummin": (lambda x: lax.cummin(x, reverse=True) ** 2, V),
    "cumlogsumexp": (lax.cumlogsumexp, W), "sort": (lambda x: jnp.sort(x) ** jnp.arange(1, 5), V),
    "argsort": (lambda x: x[jnp.argsort(-x)] * x, V),
    "sort by two keys": (lambda x: lax.sort((jnp.array([1.0, 0.0, 1.0, 0.0]) + 0 * x, x, x**2), num_keys=2)[2] * x, V),
    "top_k": (lambda x: lax.top_k(x, 2)[0] ** 2, V),
    "searchsorted": (lambda x: jnp.searchsorted(jnp.array([0.4, 0.6]), x) * x**2, V),
    "interp": (lambda x: jnp.interp(x, jnp.array([0.0, 0.5, 1.0]), x[:3]) ** 2, V),
    "interp of known values": (lambda x: jnp.interp(x, jnp.array([0.0, 0.5, 1.0]), jnp.array([0.0, 0.3,
        1.0])) ** 2 * x, V),
    "interp with ends": (lambda x: jnp.interp(2 * x, jnp.array([0.0, 0.5, 1.0]), x[:3], left=2.0, right=3.0) ** 2, V),
    "interp, extrapolated": (lambda x: jnp.interp(2 * x, jnp.array([0.0, 0.5, 1.0]), x[:3], left="extrapolate",
        right="extrapolate") ** 2, V),
    "interp, periodic": (lambda x: jnp.interp(3 * x, jnp.array([0.0, 0.5, 0.9]), x[:3], period=1.0) ** 2, V),
    "searchsorted from the right": (lambda x: jnp.searchsorted(jnp.array([0.4, 0.63]), x, side="right") * x**2, V),
    "vmapped searchsorted": (lambda a: jax.vmap(jnp.searchsorted)(jnp.sort(a, 1), a) * a**2, A),
    "vmapped interp": (lambda a: jax.vmap(jnp.interp, (0, None, 0))(a, jnp.array([0.0, 0.5, 3.0]), a) ** 2, A),
    "digitize": (lambda x: jnp.digitize(x, jnp.array([0.4, 0.6])) * x**2, V),
    "diff": (lambda x: jnp.diff(x, 2) ** 2, V), "trapezoid": (lambda x: jnp.trapezoid(x**2, x), V),
    "histogram-like": (lambda x: jnp.bincount(ROW, x, length=3) ** 2, V), "polyval": (lambda x: jnp.polyval(x, x), V),
    "nansum": (lambda x: jnp.nansum(x**2), V), "ptp": (lambda x: jnp.ptp(x) ** 2, V),
    "count_nonzero": (lambda x: jnp.count_nonzero(x > 0.5) * x**2, V),
    "logsumexp along": (lambda m: nn.logsumexp(m, 1), M),
}

CONTRACTIONS: dict[str, Case] = {
    "dot": (lambda x: jnp.dot(x, W) * x, V), "matvec": (lambda a: a @ W[:3] * (a @ a[0]), A),
    "matmul": (lambda a: a @ a.T @ a, A),
    "batched matmul": (lambda m: jnp.matmul(m.reshape(2, 3, 1), m.reshape(2, 1, 3)), M),
    "einsum": (lambda a: jnp.einsum("ij,jk,ki->i", a, a, a), A),
    "tensordot": (lambda m: jnp.tensordot(m, m, ((0, 1), (0, 1))) * m, M), "outer": (lambda x: jnp.outer(x, x**2), V),
    "kron": (lambda m: jnp.kron(m, m), M), "vdot, inner": (lambda x: jnp.vdot(x, x) * jnp.inner(x, W), V),
    "cross": (lambda m: jnp.cross(m[0], m[1]), M),
    "preferred type": (lambda a: lax.dot_general(a, a, (((1,), (0,)), ((), ())),
        preferred_element_type=jnp.float64), A),
    "trace": (lambda a: jnp.trace(a @ a) * a, A), "convolve": (lambda x: jnp.convolve(x, x[:2] ** 2), V),
    "correlate": (lambda x: jnp.correlate(x, x[:2], mode="same"), V),
    "conv NHWC": (lambda i: lax.conv_general_dilated(i, jnp.arange(8.0).reshape(2, 2, 1, 2) * i[0, 0, 0, 0], (1,
        2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) ** 2, IMAGE),
    "conv, dilated": (lambda i: lax.conv_general_dilated(i, jnp.arange(4.0).reshape(2, 2, 1, 1), (1, 1), [(2, 0),
        (1, 1)], (2, 1), (1, 2), ("NHWC", "HWIO", "NHWC")) ** 2, IMAGE),
    "conv, groups": (lambda x: lax.conv_general_dilated(x.reshape(1, 2, 2), jnp.arange(8.0).reshape(4, 1,
        2) * x[0], (1,), [(1, 0)], feature_group_count=2) ** 2, V),
    "conv, groups of images": (lambda x: lax.conv_general_dilated(x.reshape(4, 1, 1), jnp.arange(2.0).reshape(2, 1,
        1) + x[0], (1,), "VALID", batch_group_count=2) ** 2, V),
    "conv in one dimension": (lambda x: lax.conv(x.reshape(1, 1, 4), x[:3].reshape(1, 1, 3), (1,), "SAME"), V),
    "max pool": (lambda i: lax.reduce_window(i, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME") ** 2, IMAGE),
    "min pool": (lambda i: lax.reduce_window(i, jnp.inf, lax.min, (1, 3, 3, 1), (1, 2, 2, 1), "VALID") ** 2, IMAGE),
    "average pool": (lambda i: lax.reduce_window(i**2, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") ** 2, IMAGE),
}

ALGEBRA: dict[str, Case] = {
    "cholesky": (lambda a: jnp.linalg.cholesky(symmetric(a)), S),
    "triangular_solve": (lambda a: linalg.solve_triangular(a, a[0], lower=True), A),
    "triangular_solve, transposed": (lambda a: linalg.solve_triangular(a, a, trans=1), A),
    "triangular_solve, right": (lambda a: lax.linalg.triangular_solve(a, a, left_side=False, lower=True,
        unit_diagonal=True), A),
    "cho_solve": (lambda a: linalg.cho_solve(linalg.cho_factor(symmetric(a), lower=True), a[0]), S),
    "solve": (lambda a: jnp.linalg.solve(a, a[0]), A), "solve matrices": (lambda a: jnp.linalg.solve(a, a.T), A),
    "inv": (jnp.linalg.inv, A), "det": (jnp.linalg.det, A), "slogdet": (lambda a: jnp.linalg.slogdet(a)[1], A),
    "eigh": (lambda a: jnp.linalg.eigh(symmetric(a))[0] ** 2, S),
    "eigh vectors": (lambda a: jnp.linalg.eigh(symmetric(a))[1] ** 2, S),
    "svd": (lambda m: jnp.linalg.svd(m, compute_uv=False) ** 3, M),
    "svd vectors": (lambda a: jnp.linalg.svd(a, full_matrices=False)[0] ** 2, A),
    "qr": (lambda a: jnp.linalg.qr(a)[1], A), "pinv": (jnp.linalg.pinv, A),
    "matrix_power": (lambda a: jnp.linalg.matrix_power(a, 3), A),
    "multi_dot": (lambda a: jnp.linalg.multi_dot([a, a.T, a]), A),
    "tridiagonal_solve": (lambda x: lax.linalg.tridiagonal_solve(x / 9, 1 + x, x / 7, x[:, None] ** 2), V),
    "conjugate gradients": (lambda s: cg(lambda v: symmetric(s) @ v, s[0])[0], S),
    "vmapped solve": (lambda a: jax.vmap(jnp.linalg.solve)(jnp.stack([a, a.T]), a[:2]), A),
    "vmapped solve of one matrix": (lambda a: jax.vmap(jnp.linalg.solve, (None, 0))(a, a**2), A),
    "vmapped inv, det": (lambda a: jax.vmap(jnp.linalg.inv)(jnp.stack([a,
        a.T])) * jax.vmap(jnp.linalg.det)(a[None] ** 2), A),
    "vmapped slogdet": (lambda a: jax.vmap(jnp.linalg.slogdet)(jnp.stack([a, a.T @ a]))[1], A),
    "batches of slogdet": (lambda a: jnp.linalg.slogdet(jnp.stack([a, a.T @ a]))[1], A),
    "general solve": (lambda a: linalg.solve(a, a[0]), A), "expm": (lambda a: linalg.expm(0.1 * a), A),
    "nuclear norm": (lambda m: jnp.linalg.norm(m, "nuc"), M),
    "symmetric solve": (lambda a: linalg.solve(symmetric(a), a[0], assume_a="pos"), S),
}


def _newton(x: Any) -> Any:
    """The square root of a number by a while loop."""
    return lax.while_loop(lambda s: jnp.abs(s[0] ** 2 - s[1]) > 1e-12, lambda s: ((s[0] + s[1] / s[0]) / 2, s[1]),
                          (x[0], x[1]))[0]


@jax.custom_jvp
def _custom_jvp(x: Any, y: Any) -> Any:
    return jnp.sin(x) * y


@_custom_jvp.defjvp
def _custom_jvp_rule(primals: tuple, tangents: tuple) -> tuple:
    """Not the derivative: a rule that is ignored would be seen."""
    (x, y), (dx, dy) = primals, tangents
    return _custom_jvp(x, y), 2 * (jnp.cos(x) * y * dx + jnp.sin(x) * dy)


@jax.custom_vjp
def _custom_vjp(x: Any) -> Any:
    return jnp.sin(x)


_custom_vjp.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))

CONTROL: dict[str, Case] = {
    "jit": (jax.jit(lambda x: jnp.sin(x) * x), V),
    "jit in jit": (lambda x: jax.jit(lambda y: jax.jit(jnp.exp)(y) * x)(x), V),
    "checkpoint": (jax.checkpoint(lambda x: jnp.sin(x) * x), V),
    "cond": (lambda x: lax.cond(x[0] > 0.2, jnp.sin, jnp.cos, x) ** 2, V),
    "cond, other branch": (lambda x: lax.cond(x[0] > 0.9, jnp.sin, lambda y: jnp.cos(y) * x[1], x) ** 2, V),
    "switch": (lambda x: lax.switch((4 * x[0]).astype(int), [jnp.sin, jnp.cos, jnp.exp], x), V),
    "switch by a number": (lambda x: lax.switch(7, [jnp.sin, jnp.cos, jnp.exp], x), V),
    "scan": (lambda x: lax.scan(lambda c, y: (c * y + x[0], c**2), x[1], x)[1], V),
    "scan, reversed": (lambda x: lax.scan(lambda c, y: (c * jnp.sin(y), c + y), x[1], x, reverse=True)[1], V),
    "scan of a tree": (lambda x: lax.scan(lambda c, y: ({"a": c["a"] * y["b"], "n": c["n"] + 1},
        c["n"] * y["b"] ** 2), {"a": x[0], "n": 0}, {"b": x})[1], V),
    "scan with a counter": (lambda x: lax.scan(lambda c, _: ((c[0] + 1, c[1] * x[c[0]]), c[1]), (0, x[0]), None,
        length=3)[1], V),
    "map": (lambda x: lax.map(lambda y: jnp.sin(y) * x[0], x), V),
    "fori_loop": (lambda x: lax.fori_loop(0, 4, lambda i, y: y * x[i] + i, x[0]), V),
    "fori_loop with a store": (lambda x: lax.fori_loop(1, 4, lambda i, y: y.at[i].set(y[i - 1] * x[i]), x), V),
    "associative_scan": (lambda x: lax.associative_scan(jnp.multiply, x), V),
    "vmap": (lambda a: jax.vmap(lambda r: jnp.sin(r[0]) * r)(a), A),
    "grad inside": (lambda x: jax.grad(lambda y: jnp.sum(jnp.sin(y) * y))(x), V),
    "hessian inside": (lambda x: jax.hessian(lambda y: jnp.prod(y))(x) @ x, V),
    "jvp inside": (lambda x: jax.jvp(jnp.sin, (x,), (x,))[1], V),
    "custom_jvp": (lambda x: _custom_jvp(x, x[::-1]) + x**3, V), "custom_vjp": (lambda x: _custom_vjp(x) ** 2 * x, V),
    "custom_jvp in a loop": (lambda x: lax.scan(lambda c, y: (c + y, _custom_jvp(y, x[0])), x[0], x)[1], V),
    "vmapped custom_jvp": (lambda x: jax.vmap(_custom_jvp, (0, None))(x, x[0]), V),
    "vmapped custom_vjp": (lambda x: jax.vmap(_custom_vjp)(x) ** 2, V),
    "vmapped cond": (lambda x: jax.vmap(lambda y: lax.cond(y > 0.5, jnp.sin, jnp.cos, y))(x), V),
    "vmapped scan": (lambda a: jax.vmap(lambda r: lax.scan(lambda c, y: (c * y, c), r[0], r)[1])(a), A),
    "vmapped fori_loop": (lambda x: jax.vmap(lambda y: lax.fori_loop(0, 3, lambda i, z: z * y + i, y))(x), V),
    "random numbers": (lambda x: x**2 * jax.random.normal(jax.random.key(3), (4,)), V),
    "random numbers in a loop": (lambda x: lax.scan(lambda c, k: (c * x[0] + jax.random.normal(k), c), x[1],
        jax.random.split(jax.random.key(0), 3))[1], V),
    "dropout": (lambda x: jnp.where(jax.random.bernoulli(jax.random.PRNGKey(1), 0.5, (4,)), x, 0) ** 2, V),
    "constants of JAX": (lambda x: jnp.asarray(W) * x**2, V),
    "print": (lambda x: (jax.debug.print("{}", x), x**2)[1], V),
}

#: those that JAX itself does not differentiate in reverse: the oracle is forward mode
FORWARD: dict[str, Case] = {
    "while": (_newton, V[:2]),
    "fori_loop with a bound": (lambda x: lax.fori_loop(0, (9 * x[0]).astype(int), lambda i, y: y * x[1] + i, x[0]), V),
}

GROUPS = {"elementwise": ELEMENTWISE, "special": SPECIAL, "networks": NETWORKS, "movement": MOVEMENT,
          "indexing": INDEXING, "reductions": REDUCTIONS, "contractions": CONTRACTIONS, "algebra": ALGEBRA,
          "control": CONTROL, "forward": FORWARD}
CASES = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}
