"""The functions of control_flow_functions.py in JAX: structured loops where the count depends on values, arrays where
not, JAX's own sort and solver. `while_loop` has no reverse mode, so it is differentiated forward over forward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

jax.config.update("jax_enable_x64", True)


def newton_root(x: Any) -> Any:
    """A `while_loop`."""
    a = x[0] * x[1] + 1.0
    return lax.while_loop(lambda y: jnp.abs(y * y - a) > 1e-12 * a, lambda y: 0.5 * (y + a / y), a)


def bisection(x: Any) -> Any:
    """A `while_loop` over the bracket, then unrolled Newton steps."""
    def halve(bracket: Any) -> Any:
        low, high = bracket
        middle = 0.5 * (low + high)
        above = middle**3 + middle > x[0] * x[1]
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    y, _ = lax.while_loop(lambda b: b[1] - b[0] > 1e-9, halve, (jnp.zeros(()), jnp.full((), 10.0)))
    for _ in range(3):
        y = y - (y * y * y + y - x[0] * x[1]) / (3 * y * y + 1)
    return y * x[2]


def adaptive_ode(x: Any) -> Any:
    """A `while_loop` over steps, accepted or not."""
    def rate(t: Any, y: Any) -> Any:
        return x[0] * y * (1 - y / x[1]) + x[3] * jnp.sin(x[2] * t)

    def step(state: Any) -> Any:
        t, y, h, k1 = state
        h = jnp.where(t + h > 2.0, 2.0 - t, h)
        k2 = rate(t + 0.5 * h, y + 0.5 * h * k1)
        k3 = rate(t + 0.75 * h, y + 0.75 * h * k2)
        new = y + h * (2 * k1 + 3 * k2 + 4 * k3) / 9
        k4 = rate(t + h, new)
        error = jnp.abs(h * (-5 * k1 / 72 + k2 / 12 + k3 / 9 - k4 / 8))
        good = error < 1e-5
        t, y, k1 = jnp.where(good, t + h, t), jnp.where(good, new, y), jnp.where(good, k4, k1)
        return t, y, jnp.where(error > 1e-5, 0.5 * h, jnp.where(error < 2e-6, 1.5 * h, h)), k1

    t, y, h = jnp.zeros(()), jnp.full((), 0.1), jnp.full((), 0.1)
    return lax.while_loop(lambda s: s[0] < 2.0, step, (t, y, h, rate(t, y)))[1]


def piecewise(x: Any) -> Any:
    """Selects over the array."""
    r = x * x[0] - 1.0
    s = jnp.abs(r)
    far = 0.625 + 0.5 * jnp.log(jnp.where(s < 1.5, 1.5, s) / 1.5)
    return jnp.sum(jnp.where(s < 0.5, 0.5 * r * r, jnp.where(s < 1.5, 0.5 * (s - 0.25), far))) ** 2


def trimmed_mean(x: Any) -> Any:
    """The array, sorted."""
    return jnp.mean(jnp.sort(x * x * x[0])[2:-2])


def pivoted_least_squares(x: Any) -> Any:
    """`jnp.linalg.solve`, which pivots."""
    k = jnp.arange(6.0)
    basis = (x[0] * k + x[1])[:, None] ** jnp.arange(4)
    c = jnp.linalg.solve(basis.T @ basis, basis.T @ (x[2] / (1 + k)))
    return c[0] * c[1] + c[2] * x[0]


def recursive(x: Any) -> Any:
    """Levels of the tree as arrays, with selects where it is cut."""
    def tree(t: Any, depth: int) -> Any:
        if depth == 0:
            return t * t
        both = tree(jnp.concatenate([0.8 * t, 0.4 * t]), depth - 1)
        left, right = both[:len(t)], both[len(t):]
        return jnp.where(jnp.abs(t) < 0.05, t * t, 0.5 * left + jnp.sin(right))

    return tree((x[0] * x[1])[None], 6)[0] * x[2]


def uniforms(count: int) -> np.ndarray:
    """The generator of the NumPy code; its numbers do not depend on x."""
    state, out = 12345, []
    for _ in range(count):
        state = (1103515245 * state + 12345) % 2147483648
        out.append(2.0 * (state / 2147483648) - 1.0)
    return np.array(out)


def monte_carlo(x: Any) -> Any:
    """All walks at once, a `scan` over time."""
    u = uniforms(200).reshape(20, 10)

    def step(state: Any, now: Any) -> Any:
        s, alive = state
        s = jnp.where(alive, s * jnp.exp(x[1] * now - 0.1 * x[2]), s)
        return (s, alive & (s > 0.6)), None

    (s, alive), _ = lax.scan(step, (jnp.broadcast_to(x[0], 20), jnp.full(20, True)), u.T)
    return jnp.sum(jnp.where(alive & (s > 1.0), (s - 1.0) ** 2, 0.0)) / 20


#: those with a loop that has no reverse mode
FORWARD_ONLY = {"newton_root", "bisection", "adaptive_ode"}


def hessian_of(name: str) -> Callable:
    """The compiled Hessian."""
    f = globals()[name]
    return jax.jit(jax.jacfwd(jax.jacfwd(f)) if name in FORWARD_ONLY else jax.hessian(f))
