"""SciPy functions that are not ufuncs: scipy.linalg and parts of scipy.special."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.errors import UnsupportedOperation
from symhess.graph.node import Node
from symhess.primitives import apply, broadcast_to, cast, reduce_with, reshape, sum_over
from symhess.primitives.logsumexp import logsumexp as log_sum_exp
from symhess.trace import linalg, special
from symhess.trace.functions import finished, unsupported
from symhess.trace.reductions import axes_of, kept
from symhess.trace.shaping import traced
from symhess.trace.tracer import Tracer
from symhess.trace.ufuncs import align, node_of_any


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """m + log sum b exp(a - m), with the largest element m taken out."""
    if return_sign:
        raise UnsupportedOperation("logsumexp(return_sign=True) cannot be traced; use the value without a sign")
    v = _floats(a)
    axes = axes_of(axis, v.ndim)
    result = log_sum_exp(v, axes) if b is None else _weighted(v, b, axes)
    return finished(kept(result, v.shape, axes, bool(keepdims)))


def _weighted(v: Node, b: Any, axes: Any) -> Node:
    largest = _largest(v, axes)
    shape = np.broadcast_shapes(v.shape, np.shape(b))
    parts = apply("mul", *align([node_of_any(b, v.dtype), apply("exp", apply("sub", v, largest))]))
    total = sum_over(broadcast_to(parts, shape), axes)
    return apply("add", apply("log", total), reshape(largest, total.shape))


def _floats(a: Any) -> Node:
    node = node_of_any(a)
    return node if node.dtype.kind == "f" else cast(node, np.float64)


def _largest(v: Node, axes: Any) -> Node:
    """The largest element, its axes kept; finite, so that exp(-inf - -inf) never occurs."""
    largest = kept(reduce_with("max", v, axes), v.shape, axes, True)
    return apply("where", apply("isfinite", largest), largest, node_of_any(0.0, v.dtype))


def log_softmax(x: Any, axis: Any = None) -> Any:
    return traced(x) - logsumexp(x, axis, keepdims=True)


def softmax(x: Any, axis: Any = None) -> Any:
    return np.exp(log_softmax(x, axis))


# -- scipy.linalg --------------------------------------------------------------------------------------------------


def _triangle_of(a: Any, lower: bool) -> Any:
    return np.tril(a) if lower else np.triu(a)


def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False,
                     overwrite_b: bool = False, check_finite: bool = True) -> Any:
    a = _triangle_of(traced(a), lower)
    if unit_diagonal:
        a = a - np.diag(np.diagonal(a)) + np.eye(len(a))
    return linalg.triangular(a, b, lower, trans in (1, 2, "T", "C"))


def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The lower factor, or its transpose; only the named triangle of a is read, as SciPy does."""
    a = traced(a)
    triangle = _triangle_of(a, lower)
    full = triangle + np.swapaxes(triangle, -1, -2) - np.diag(np.diagonal(a))
    factor = np.linalg.cholesky(full)
    return factor if lower else np.swapaxes(factor, -1, -2)


def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple:
    return cholesky(a, lower), lower


def cho_solve(c_and_lower: tuple, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """L L^T x = b, or U^T U x = b."""
    factor, lower = c_and_lower
    first = solve_triangular(factor, b, trans=0 if lower else 1, lower=lower)
    return solve_triangular(factor, first, trans=1 if lower else 0, lower=lower)


def block_diag(*arrays: Any) -> Any:
    """The blocks scattered along the diagonal."""
    parts = [np.atleast_2d(traced(a)) for a in arrays]
    shape = tuple(np.sum([p.shape for p in parts], axis=0))
    total, row, column = None, 0, 0
    for p in parts:
        m, n = p.shape
        padded = np.pad(p, ((row, shape[0] - row - m), (column, shape[1] - column - n)))
        total, row, column = padded if total is None else total + padded, row + m, column + n
    return total


def toeplitz(c: Any, r: Any = None) -> Any:
    c = np.ravel(traced(c))
    r = c if r is None else np.ravel(traced(r))
    values = np.concatenate([c[::-1], r[1:]])
    return values[len(c) - 1 + np.arange(len(r)) - np.arange(len(c))[:, None]]


def rosen(x: Any) -> Any:
    """sum 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2."""
    x = traced(x)
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2, axis=0)


# -- scipy.integrate and scipy.spatial.distance --------------------------------------------------------------------


def simpson(y: Any, x: Any = None, *, dx: float = 1.0, axis: int = -1) -> Any:
    """Linear in y: SciPy's own result for the unit vectors gives the weights."""
    from scipy.integrate import simpson as original

    y = np.moveaxis(traced(y), axis, -1)
    if x is not None and (isinstance(x, Tracer) or np.ndim(x) != 1):
        raise unsupported("simpson with traced or many-dimensional x")
    return y @ original(np.eye(y.shape[-1]), x, dx=dx, axis=0)


def cumulative_trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1, initial: Any = None) -> Any:
    """sum over k < i of h_k (y_k + y_{k+1}) / 2."""
    y = np.moveaxis(traced(y), axis, -1)
    steps = dx if x is None else np.diff(x)
    sums = np.cumsum(steps * (y[..., 1:] + y[..., :-1]) / 2.0, axis=-1)
    if initial is not None:
        sums = np.concatenate([np.full((*sums.shape[:-1], 1), float(initial)), sums], -1)
    return np.moveaxis(sums, -1, axis)


def _lengths(off: Any, metric: str) -> Any:
    """The lengths of the vectors along the last axis; derivative 0 at the zero vector."""
    if metric == "sqeuclidean":
        return np.sum(off * off, axis=-1)
    if metric in ("euclidean", "cityblock"):
        return np.linalg.norm(off, 2 if metric == "euclidean" else 1, axis=-1)
    raise unsupported(f"distances with metric={metric!r}")


def cdist(a: Any, b: Any, metric: str = "euclidean") -> Any:
    return _lengths(traced(a)[:, None, :] - traced(b)[None, :, :], metric)


def pdist(x: Any, metric: str = "euclidean") -> Any:
    x, (rows, columns) = traced(x), np.triu_indices(len(x), 1)
    return _lengths(x[rows] - x[columns], metric)


RULES: dict[str, dict[str, Callable[..., Any]]] = {
    "optimize": {"rosen": rosen},
    "integrate": {"simpson": simpson, "trapezoid": np.trapezoid, "cumulative_trapezoid": cumulative_trapezoid},
    "spatial.distance": {"cdist": cdist, "pdist": pdist},
    "special": {"logsumexp": logsumexp, "softmax": softmax, "log_softmax": log_softmax} | special.RULES,
    "linalg": {
        "solve_triangular": solve_triangular, "cholesky": cholesky, "cho_factor": cho_factor, "cho_solve": cho_solve,
        "inv": lambda a, **options: np.linalg.inv(a), "det": lambda a, **options: np.linalg.det(a),
        "norm": lambda a, ord=None, axis=None, keepdims=False, **options: np.linalg.norm(a, ord, axis, keepdims),
        "block_diag": block_diag, "toeplitz": toeplitz,
    },
}
