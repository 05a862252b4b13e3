"""`from_jax`: a function of jax.numpy as an ordinary one of NumPy arrays, which every transform of symhess takes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from symhess.jax.arrays import closed
from symhess.jax.evaluation import outputs_of
from symhess.trace import is_traced
from symhess.trace.tracer import is_python


def from_jax(fun: Callable) -> Callable:
    """The function with NumPy arrays, and traced values, in place of JAX's.

    Args:
        fun: a function written in jax.numpy, of pytrees that JAX knows.

    The result may be given to `symhess.hessian_jit` and every transform, and called in functions written in NumPy.
    Where it meets traced values, `fun` runs once, on JAX's tracers, and its jaxpr is evaluated on them; what is not an
    array among its arguments reaches `fun` as it is. Types are JAX's: without x64 results are float32.

    Example:
        >>> import jax.numpy as jnp, numpy as np, symhess
        >>> f = symhess.jax.from_jax(lambda x: jnp.sum(x**3))
        >>> symhess.hessian(lambda x: f(2 * x))(np.array([1.0, 2.0], np.float32))
        array([[48.,  0.],
               [ 0., 96.]], dtype=float32)
    """
    @functools.wraps(fun)
    def converted(*args: Any, **kwargs: Any) -> Any:
        leaves, treedef = jax.tree_util.tree_flatten(closed((args, kwargs)))
        moving = [k for k, x in enumerate(leaves) if is_traced(x)]
        if not moving:
            return jax.tree_util.tree_map(np.asarray, fun(*closed(args), **closed(kwargs)))
        given = [leaves[k] for k in moving]
        kinds = [jax.ShapeDtypeStruct(x.shape, x.dtype, weak_type=is_python(x)) for x in given]
        jaxpr, returned = jaxpr_of(fun, leaves, treedef, moving, kinds)
        results = outputs_of(jaxpr, converted_inputs(jaxpr, given))
        return jax.tree_util.tree_unflatten(returned, results)

    return converted


def jaxpr_of(fun: Callable, leaves: Sequence[Any], treedef: Any, moving: Sequence[int],
             kinds: Sequence[Any]) -> tuple[ClosedJaxpr, Any]:
    """The jaxpr of a function, and the structure of what it returns.

    Args:
        leaves, treedef: its arguments; those at `moving` are abstract, of the given kinds.

    The function is looked at anew: JAX remembers the jaxprs of functions, so it is given another one each time.
    """
    def flat(*given: Any) -> Any:
        filled = dict(zip(moving, given))
        args, kwargs = jax.tree_util.tree_unflatten(treedef, [filled.get(k, x) for k, x in enumerate(leaves)])
        return fun(*args, **kwargs)

    flat.__name__ = flat.__qualname__ = getattr(fun, "__qualname__", type(fun).__name__)
    flat.__wrapped__ = fun  # type: ignore[attr-defined]  # errors of JAX name its line
    jaxpr, shapes = jax.make_jaxpr(flat, return_shape=True)(*kinds)
    return jaxpr, jax.tree_util.tree_structure(shapes)


def converted_inputs(jaxpr: ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
    """Traced values in the types that JAX gives them: float32 without x64."""
    return [a.astype(v.aval.dtype) if v.aval.dtype.kind == "f" and a.dtype != v.aval.dtype else a
            for a, v in zip(args, jaxpr.jaxpr.invars)]
