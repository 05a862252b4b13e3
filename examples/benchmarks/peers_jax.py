"""JAX as well as it can be used: jitted, with sparse Hessians coloured or decomposed by hand."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.flatten_util import ravel_pytree

from . import functions
from .workloads import Pattern, Workload, bundle_variables

#: how many of the colours are evaluated where the time of all is extrapolated
SAMPLED_COLOURS = 4


def for_jax(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same source with `np` standing for `jax.numpy`, in the function and in those that it calls."""
    names = {**vars(functions), "np": jnp}
    for name, value in vars(functions).items():
        if isinstance(value, types.FunctionType):
            names[name] = types.FunctionType(value.__code__, names, name, value.__defaults__)
    return names[function.__name__]


class Jitted:
    """A jitted function of device arrays, called until its result is there."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, times: float = 1):
        self.function, self.arguments = jax.jit(function), jax.device_put(arguments)
        self.extrapolation = times  # the call is that part of the work of a whole Hessian

    def __call__(self) -> Any:
        return jax.block_until_ready(self.function(*self.arguments))


def flat_function(workload: Workload, arguments: tuple[Any, ...]) -> tuple[Callable[..., Any], Any, tuple[Any, ...]]:
    """f(x, *data) of one flat x, with that x and the data."""
    function, k = for_jax(workload.function), workload.inputs
    x, unravel = ravel_pytree(arguments[:k])
    return lambda x, *data: function(*unravel(x), *data), x, arguments[k:]


def dense(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """jax.hessian of the function of one flat vector."""
    f, x, data = flat_function(workload, arguments)
    return Jitted(jax.hessian(f), x, *data)


def products(f: Callable[..., Any], x: Any, data: tuple[Any, ...], seeds: Any) -> Any:
    """Hessian-vector products with every row of `seeds`, linearised once."""
    _, product = jax.linearize(lambda x: jax.grad(f)(x, *data), x)
    return jax.vmap(product)(seeds)


def seeds_of(pattern: Pattern, colours: int) -> np.ndarray:
    """The sum of the unit vectors of each colour."""
    return (pattern.colours == np.arange(colours)[:, None]).astype(float)


def coloured(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """One product per colour, and every CSR value picked from the product that holds it alone."""
    f, x, data = flat_function(workload, arguments)
    pattern = workload.pattern(*arguments)
    pick = pattern.colours[pattern.structure.indices] * x.size + pattern.rows

    def values(x: Any, data: tuple[Any, ...], seeds: Any, pick: Any) -> Any:
        return products(f, x, data, seeds).ravel()[pick]

    return InPattern(pattern, Jitted(values, x, data, seeds_of(pattern, 1 + pattern.colours.max()), pick))


def some_colours(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """The products of a few colours, where all would take too long."""
    f, x, data = flat_function(workload, arguments)
    pattern = workload.pattern(*arguments)
    colours = 1 + pattern.colours.max()
    sampled = min(SAMPLED_COLOURS, colours)
    return Jitted(lambda *a: products(f, *a), x, data, seeds_of(pattern, sampled), times=colours / sampled)


def bundle_blocks(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """The 12 x 12 Hessian of every observation, added up at positions computed before.

    Forward over forward mode with the observations as the last axis, and a second jitted function for the sum:
    together four times faster than jax.hessian on the first axis in one jitted function.
    """
    cameras, points, camera_index, point_index, observed = arguments
    error, pattern = for_jax(functions.reprojection_error), workload.pattern(*arguments)
    variables = bundle_variables(cameras, camera_index, point_index).T
    positions = jnp.asarray(pattern.positions(variables[:, None], variables[None]))

    def element(block: Any, observed: Any) -> Any:
        return 0.5 * error(block[None, :9], block[None, 9:], observed[None])[0]

    def blocks(x: Any, variables: Any, observed: Any) -> Any:
        return jax.vmap(jax.jacfwd(jax.jacfwd(element)), in_axes=-1, out_axes=-1)(x[variables], observed)

    x = np.concatenate([cameras.ravel(), points.ravel()])
    added = jax.jit(lambda blocks, positions: jnp.zeros(pattern.structure.nnz).at[positions].add(blocks))
    evaluate = Jitted(blocks, x, variables, observed.T)
    return InPattern(pattern, lambda: jax.block_until_ready(added(evaluate(), positions)))


class InPattern:
    """A call that returns the CSR values of a known pattern."""

    extrapolation = 1.0

    def __init__(self, pattern: Pattern, values: Callable[[], Any]):
        self.structure, self.values = pattern.structure, values

    def __call__(self) -> Any:
        return self.values()

    def assembled(self) -> scipy.sparse.csr_array:
        """The values in their matrix."""
        data = np.asarray(self.values())
        return scipy.sparse.csr_array((data, self.structure.indices, self.structure.indptr), self.structure.shape)


def rows(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """jax.hessian, mapped over the rows of the first argument."""
    X, *data = arguments
    function = for_jax(workload.function)
    return Jitted(lambda X, *data: jax.vmap(jax.hessian(lambda x: function(x, *data)))(X), X, *data)


def product(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """Forward over reverse mode."""
    k, function = workload.inputs, for_jax(workload.function)

    def apply(primals: Any, tangents: Any, *data: Any) -> Any:
        gradient = jax.grad(lambda *w: function(*w, *data), argnums=tuple(range(k)))
        return ravel_pytree(jax.jvp(gradient, primals, tangents)[1])[0]

    return Jitted(apply, arguments[:k], workload.direction(arguments), *arguments[k:])


def plain(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """What anybody gets from the function as it is."""
    if workload.product == "hvp":
        return product(workload, arguments)
    return (rows if workload.product == "batch" else dense)(workload, arguments)


def colours(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """Products with the colours of a pattern known by hand; a part of them where there are very many."""
    return (some_colours if workload.function is functions.bundle_adjustment else coloured)(workload, arguments)


WAYS = {"jax": plain, "jax-colours": colours, "jax-elements": bundle_blocks}


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """A call that returns the Hessian, compiled code kept in the directory `cache` if one is given."""
    if cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return WAYS[peer](workload, arguments)
