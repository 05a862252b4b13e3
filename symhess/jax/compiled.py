"""`hessian_jit` for functions written in jax.numpy: a HessianFunction that takes arrays of JAX, too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.tree_util import tree_flatten, tree_unflatten

from symhess import api
from symhess.api.function import HessianFunction
from symhess.jax.arrays import as_jax, as_numpy, closed, is_foreign, is_wide, opened
from symhess.jax.capture import from_jax


class JaxHessianFunction(HessianFunction):
    """A `symhess.HessianFunction` of a function written in jax.numpy.

    Arrays of JAX among the arguments give arrays of JAX; sparse results are SciPy's.
    """

    def __repr__(self) -> str:
        return f"<symhess.jax hessian_jit {self.__name__}>"


def _converting(name: str, arrays: bool) -> Callable:
    """A method of HessianFunction that takes what JAX takes, and with `arrays` returns what it would return."""
    original = getattr(HessianFunction, name)

    @functools.wraps(original)
    def method(self: JaxHessianFunction, *args: Any, **kwargs: Any) -> Any:
        wide = is_wide()
        if wide and not kwargs and all(type(a) is np.ndarray for a in args):
            return original(self, *args)
        out = {"out": kwargs.pop("out")} if "out" in kwargs else {}
        leaves, treedef = tree_flatten((args, kwargs))
        numpys = [as_numpy(x, wide) for x in leaves]
        given, named = tree_unflatten(treedef, numpys)
        foreign = is_foreign(treedef, (given, named))
        if foreign:
            given, named = map(opened, given), {k: opened(v) for k, v in named.items()}
        result = original(self, *given, **named, **out)
        result = closed(result) if foreign else result
        return as_jax(result) if arrays and not out and any(isinstance(x, jax.Array) for x in leaves) else result

    return method


for _name in ("__call__", "flat", "diagonal", "value", "grad", "value_and_grad", "value_grad_hessian", "hvp", "batch"):
    setattr(JaxHessianFunction, _name, _converting(_name, True))
for _name in ("sparse", "sparsity", "explain", "graph", "source", "kernel", "sympy"):
    setattr(JaxHessianFunction, _name, _converting(_name, False))


def hessian_jit(fun: Callable | None = None, **options: Any) -> Any:
    """Compile the Hessian of a function written in jax.numpy that returns one number.

    Options, products and errors are those of `symhess.hessian_jit`. The function is looked at once for every signature,
    as by `jax.jit`: what it closes over is read then.

    Example:
        >>> import jax.numpy as jnp, numpy as np, symhess
        >>> @symhess.jax.hessian_jit
        ... def f(x):
        ...     return jnp.sum(100 * (x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)
        >>> f(np.ones(2, np.float32))
        array([[ 802., -400.],
               [-400.,  200.]], dtype=float32)
        >>> f.sparse(np.ones(1000, np.float32)).nnz
        2998
    """
    if fun is None:
        return functools.partial(hessian_jit, **options)
    made = api.function.hessian_jit(from_jax(fun), **options)
    return JaxHessianFunction(made.fn, made._given)
