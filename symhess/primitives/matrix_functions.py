"""Matrix exponential, square root and logarithm of stacks of matrices, and their derivatives.

The derivative L of f at A along E stands in f of a block matrix, for every analytic f:

    f([[A, E], [0, A]]) = [[f(A), L(A, E)], [0, f(A)]]            (Mathias 1996)

and its transpose is L(A^T, .). Both are matrix functions again, so derivatives of any order are exact.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from symhess.graph.node import Node
from symhess.primitives.algebra import zeros
from symhess.primitives.linalg import _declare, _each, _folded, _square, transposed
from symhess.primitives.movement import broadcast_to, concatenate, slice_axis


def matrix_function(name: str, a: Node) -> Node:
    """The function called expm, sqrtm or logm in SciPy; NaN where it is not real."""
    _square(a, name)
    return a if a.size == 0 else _folded(FUNCTIONS[name], (a,))


def _along(name: str, a: Node, e: Node) -> Node:
    """L(A, E), from the upper right block of twice the size."""
    n, rank = a.shape[-1], a.ndim
    a, e = (broadcast_to(m, np.broadcast_shapes(a.shape, e.shape)) for m in (a, e))
    above, below = concatenate([a, e], rank - 1), concatenate([zeros(a.shape, a.dtype), a], rank - 1)
    whole = matrix_function(name, concatenate([above, below], rank - 2))
    return slice_axis(slice_axis(whole, rank - 2, 0, 1, n), rank - 1, n, 1, n)


def _jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    return _along(node.op.name, node.args[0], tangents[0])


def _vjp(node: Node, g: Node) -> list[Node]:
    return [_along(node.op.name, transposed(node.args[0]), g)]


def _real(name: str, a: np.ndarray) -> np.ndarray:
    """SciPy's function of one matrix; NaN where the result is complex, or is not found."""
    import scipy.linalg

    a = np.asarray(a, np.float64)
    if not np.all(np.isfinite(a)):
        return np.full(a.shape, np.nan)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = getattr(scipy.linalg, name)(a)
    real = np.abs(np.imag(found)).max() <= 1e-12 * np.abs(found).max()
    return np.real(found) if real else np.full(a.shape, np.nan)


def _entry(name: str) -> Callable:
    function = functools.partial(_real, name)
    return _declare(
        name, lambda args, attrs: (args[0].shape, args[0].dtype),
        lambda arrays, node: _each(function, node.shape[-2:], *arrays), vjp=_vjp, jvp=_jvp,
        batch=lambda node, args, added: matrix_function(name, args[0]))


FUNCTIONS = {name: _entry(name) for name in ("expm", "sqrtm", "logm")}
