"""Constant sparse matrices times traced arrays: gathers, products and a scatter, which keep the sparsity."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.errors import ShapeMismatch
from symhess.graph.maps import identity_maps, table_map
from symhess.primitives import scatter
from symhess.trace.session import here, mark
from symhess.trace.tracer import Tracer, wrap


def product(matrix: Any, x: Tracer) -> Tracer:
    """(A x)_i = sum over the entries (i, j, a) of a x_j."""
    mark()
    if not 1 <= x.ndim <= 2 or x.shape[0] != matrix.shape[1]:
        raise ShapeMismatch(f"a sparse matrix of shape {matrix.shape} cannot multiply shape {x.shape}{here()}")
    entries = matrix.tocoo()
    values = entries.data.reshape(-1, *(1,) * (x.ndim - 1))
    parts = (x[np.asarray(entries.col, np.int64)] * values).node
    maps = [table_map(np.asarray(entries.row).reshape(values.shape), parts.shape), *identity_maps(parts.shape)[1:]]
    return wrap(scatter(parts, maps, (matrix.shape[0], *x.shape[1:])), x)


#: methods whose result is another sparse matrix, which has to multiply traced arrays too
_MATRICES = ("transpose", "tocsr", "tocsc", "copy", "multiply", "__getitem__", "__neg__", "__add__", "__sub__",
             "_mul_scalar")


def _from_left(matrix: Any, x: Tracer) -> Tracer:
    """x A = (A^T x^T)^T."""
    return product(matrix.transpose(), x.T).T


def _multiplying(cls: type, name: str, rule: Callable[[Any, Tracer], Any]) -> Callable:
    """The operator method `name`, by `rule` where the other operand is traced."""
    original = getattr(cls, name)

    @functools.wraps(original)
    def method(self: Any, other: Any) -> Any:
        return rule(self, other) if isinstance(other, Tracer) and other.ndim else original(self, other)

    return method


def _staying(cls: type, name: str) -> Callable:
    """The method `name`, with a sparse result able to multiply traced arrays."""
    original = getattr(cls, name)

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        return sparse_operand(result) if hasattr(result, "tocoo") else result

    return method


@functools.cache
def _operand_class(cls: type) -> type:
    body = {name: _staying(cls, name) for name in _MATRICES if hasattr(cls, name)}
    products = {"__matmul__": product, "__rmatmul__": _from_left, "dot": product}
    if cls.__name__.endswith("matrix"):  # where * is the matrix product
        products |= {"__mul__": product, "__rmul__": _from_left}
    body |= {name: _multiplying(cls, name, rule) for name, rule in products.items()}
    return type(cls.__name__, (cls,), {**body, "__module__": cls.__module__, "is_operand": True})


def makers(module: Any) -> dict[str, Callable]:
    """What makes sparse matrices in scipy.sparse, with results able to multiply traced arrays."""
    found: dict[str, Callable] = {}
    for name in module.__all__:
        thing = getattr(module, name)
        if isinstance(thing, type) and hasattr(thing, "tocoo"):
            found[name] = _operand_class(thing)
        elif isinstance(thing, types.FunctionType):
            found[name] = _making(thing)
    return found


def _making(function: Callable) -> Callable:
    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        return sparse_operand(made) if hasattr(made, "tocoo") else made

    return make


def sparse_operand(matrix: Any) -> Any:
    """The same matrix (its arrays are shared), able to multiply traced arrays."""
    if hasattr(matrix, "is_operand"):
        return matrix
    made = object.__new__(type(matrix))
    made.__dict__.update(matrix.__dict__)
    made.__class__ = _operand_class(type(matrix))
    return made
