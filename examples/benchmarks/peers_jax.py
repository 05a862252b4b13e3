"""JAX as well as it can be used: jitted, with sparse Hessians coloured or decomposed by hand.

On a GPU it is the same: the environment says where JAX works.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from . import functions
from .translation import InMatrix, element_of, sparse_values, translated
from .workloads import Pattern, Workload, bundle_variables

#: how many of the colours are evaluated where the time of all is extrapolated
SAMPLED_COLOURS = 4
#: columns of a dense Hessian that are computed at a time
BLOCK = 1024


def for_jax(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same source with `np` standing for `jax.numpy`."""
    return translated(function, jnp)


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
    if any(isinstance(d, int) for d in data):
        return Jitted(jax.hessian(lambda x: f(x, *data)), x)
    return Jitted(jax.hessian(f), x, *data)


def products(f: Callable[..., Any], x: Any, data: tuple[Any, ...], seeds: Any) -> Any:
    """Hessian-vector products with every row of `seeds`, linearised once."""
    _, product = jax.linearize(lambda x: jax.grad(f)(x, *data), x)
    return jax.vmap(product)(seeds)


def blocks(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """Hessian-vector products with some unit vectors at a time: all at once take more memory than a device has."""
    f, x, data = flat_function(workload, arguments)

    def hessian(x: Any, *data: Any) -> Any:
        _, product = jax.linearize(lambda x: jax.grad(f)(x, *data), x)
        unit = lambda k: jnp.zeros_like(x).at[k].set(1)
        return jax.lax.map(lambda k: product(unit(k)), jnp.arange(x.size), batch_size=BLOCK)

    return Jitted(hessian, x, *data)


def seeds_of(pattern: Pattern, colours: int) -> np.ndarray:
    """The sum of the unit vectors of each colour."""
    return (pattern.colours == np.arange(colours)[:, None]).astype(float)


def coloured(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """One product per colour, and every CSR value picked from the product that holds it alone."""
    f, x, data = flat_function(workload, arguments)
    pattern = workload.pattern(*arguments)
    pick = pattern.picked(x.size)

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


class InPattern(InMatrix):
    """A call that returns the CSR values of a known pattern."""

    def __init__(self, pattern: Pattern, values: Callable[[], Any]):
        super().__init__(values, lambda: sparse_values(np.asarray(values()), pattern.structure))


def line_elements(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """The Hessians of all elements, mapped, and added up at positions computed before; one function."""
    element = element_of(workload, arguments)
    positions, matrix = element.positions()
    term = lambda v, d: element.term(jnp, v, d)

    def values(x: Any, variables: Any, data: Any, positions: Any) -> Any:
        blocks = jax.vmap(jax.hessian(term))(x[variables], data.T)
        return jnp.zeros(getattr(matrix, "nnz", matrix.size)).at[positions].add(blocks)

    call = Jitted(values, element.x, element.variables, element.data, positions.transpose(2, 0, 1))
    return InMatrix(call, lambda: sparse_values(np.asarray(call()), matrix))


def by_elements(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    return (bundle_blocks if workload.function is functions.bundle_adjustment else line_elements)(workload, arguments)


#: loops of scalars and what they are as arrays
ARRAYS = {functions.pair_energy_loop: functions.pair_energy, functions.residual_loop: functions.residual_sum}


def arrays(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """The function vectorised by hand."""
    if workload.function is functions.pair_energy_loop:
        arguments = (*arguments, *np.triu_indices(arguments[0].size, 1))
    return dense(dataclasses.replace(workload, function=ARRAYS[workload.function]), arguments)


def pendulum_scan(x: Any, steps: int) -> Any:
    """The steps as a scan over the state."""
    length, friction, h = x[2], x[3], 2.0 / steps

    def rate(state: Any) -> Any:
        return jnp.stack([state[1], -9.81 / length * jnp.sin(state[0]) - friction * state[1]])

    def step(state: Any, _: None) -> Any:
        a = rate(state)
        b = rate(state + h / 2 * a)
        c = rate(state + h / 2 * b)
        return state + h / 6 * (a + 2 * b + 2 * c + rate(state + h * c)), None

    return (jax.lax.scan(step, x[:2], None, length=steps)[0][0] - 0.3) ** 2


def control_scan(u: Any) -> Any:
    """The controls as what is scanned, the cost as part of the state."""
    def step(state: Any, u: Any) -> Any:
        position, speed, cost = state
        position, speed = position + 0.1 * speed, speed + 0.1 * (u - jnp.sin(position))
        return (position, speed, cost + position**2 + 0.1 * speed**2 + 0.5 * u**2), None

    return jax.lax.scan(step, (1.0, 0.0, 0.0), u)[0][2]


def newton_while(x: Any) -> Any:
    """The loop as a while_loop, which has forward mode only."""
    a = 1.0 + jnp.sum(x**2)
    return jax.lax.while_loop(lambda y: jnp.abs(y * y - a) > 1e-10 * a, lambda y: 0.5 * (y + a / y), 0.5 * (1.0 + a))


def rolled(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """Loops as JAX wants them; forward over reverse mode, which is right for scans with as many states as results."""
    if workload.function is functions.newton_square_root:
        return Jitted(jax.jacfwd(jax.jacfwd(newton_while)), arguments[0])
    if workload.function is functions.optimal_control:
        return Jitted(jax.hessian(control_scan), arguments[0])
    x, steps = arguments
    return Jitted(jax.jacfwd(jax.jacfwd(lambda x: pendulum_scan(x, steps))), x)


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


WAYS = {"jax": plain, "jax-blocks": blocks, "jax-colours": colours, "jax-elements": by_elements, "jax-arrays": arrays,
        "jax-loops": rolled}


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """A call that returns the Hessian, compiled code kept in the directory `cache` if one is given."""
    if cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return WAYS[peer.replace("-cuda", "")](workload, arguments)
