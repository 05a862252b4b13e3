"""Hessians of the collection's problems by three methods that know nothing of symhess.

* `by_taylor`: second-order Taylor arithmetic (taylor.py), exact, runs every problem: the reference.
* `by_differences`: tenth-order differences of the value alone, in extended precision.
* `by_jax`: jax.hessian in double precision, where JAX is installed.
And, where a problem gives one, its closed form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from problem import Problem, leaves, tree_map
from problems import PROBLEMS, load
from scipy import special
from taylor import namespace, special_namespace, taylor


@functools.cache
def _taylor_problems() -> dict[str, Problem]:
    return load(np=namespace(), special=special_namespace())


def by_taylor(p: Problem, args: Sequence[Any]) -> tuple[float, np.ndarray, np.ndarray]:
    """Value, flat gradient and Hessian over the concatenated inputs."""
    return taylor(_taylor_problems()[p.name].fn, args, p.inputs(args), p.with_inputs)


@functools.cache
def reference(name: str, point: int) -> tuple[float, np.ndarray, np.ndarray]:
    """`by_taylor` at one of a problem's points, computed once."""
    p = PROBLEMS[name]
    return by_taylor(p, p.points()[point])


class _Extended:
    """NumPy whose fresh arrays are in extended precision."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    zeros = staticmethod(functools.partial(np.zeros, dtype=np.longdouble))


@functools.cache
def _extended_problems() -> dict[str, Problem]:
    return load(np=_Extended(), special=special)


#: weights of the tenth-order central second difference: f'' h^2 = w_0 f_0 + sum_k w_k (f_k + f_-k)
WEIGHTS = [np.longdouble(a) / b for a, b in ((-5269, 1800), (5, 3), (-5, 21), (5, 126), (-5, 1008), (1, 3150))]


def by_differences(p: Problem, args: Sequence[Any], step: float = 4e-3, fn: Callable | None = None) -> np.ndarray:
    """H_ij = (q(e_i + e_j) - q(e_i - e_j)) / 4 for the second derivative q(u) along u, by differences of the value."""
    inputs = [np.asarray(x, np.longdouble) for x in p.inputs(args)]
    splits = np.cumsum([x.size for x in inputs])[:-1]
    x0 = np.concatenate([x.ravel() for x in inputs])
    fn = fn or _extended_problems()[p.name].fn
    args = [tree_map(_extended, a) for a in args]

    def value(x: np.ndarray) -> np.longdouble:
        parts = [part.reshape(old.shape) for part, old in zip(np.split(x, splits), inputs)]
        return np.longdouble(fn(*p.with_inputs(args, parts)))

    return _polarised(_second_difference(value, x0, np.longdouble(step)), len(x0))


def _second_difference(value: Callable, x0: np.ndarray, h: np.longdouble) -> Callable[[np.ndarray], np.longdouble]:
    f0 = value(x0)

    def q(u: np.ndarray) -> np.longdouble:
        sides = sum(w * (value(x0 + k * h * u) + value(x0 - k * h * u)) for k, w in enumerate(WEIGHTS[1:], 1))
        return (WEIGHTS[0] * f0 + sides) / h**2
    return q


def _polarised(q: Callable[[np.ndarray], np.longdouble], n: int) -> np.ndarray:
    H = np.zeros((n, n))
    e = np.eye(n, dtype=np.longdouble)
    for i in range(n):
        H[i, i] = q(e[i])
        for j in range(i):
            H[i, j] = H[j, i] = (q(e[i] + e[j]) - q(e[i] - e[j])) / 4
    return H


def _extended(leaf: Any) -> Any:
    return np.asarray(leaf, np.longdouble) if np.asarray(leaf).dtype.kind == "f" else leaf


@functools.cache
def _jax_problems() -> dict[str, Problem]:
    import jax

    jax.config.update("jax_enable_x64", True)
    return load(np=jax.numpy, special=jax.scipy.special)


def by_jax(p: Problem, args: Sequence[Any]) -> np.ndarray:
    """jax.hessian over the flattened inputs."""
    import jax
    import jax.numpy as jnp

    fn = _jax_problems()[p.name].fn
    inputs = [np.asarray(x) for x in p.inputs(args)]
    splits = np.cumsum([x.size for x in inputs])[:-1]

    def flat(x: Any) -> Any:
        parts = [part.reshape(old.shape) for part, old in zip(jnp.split(x, splits), inputs)]
        return fn(*p.with_inputs(args, parts))

    return np.asarray(jax.hessian(flat)(np.concatenate([x.ravel() for x in inputs])))


def error(actual: Any, expected: np.ndarray) -> float:
    """The largest entry of the difference, relative to the largest entry expected (at least to 1e-3)."""
    actual = np.asarray(actual)
    if actual.shape != np.shape(expected):
        raise AssertionError(f"shape {actual.shape} where {np.shape(expected)} is right")
    return float(np.max(np.abs(actual - expected), initial=0.0) / max(1e-3, np.max(np.abs(expected), initial=0.0)))


def assert_close(actual: Any, expected: np.ndarray, tolerance: float = 1e-10) -> None:
    """Fail with the worst entry, also where an entry is not a number."""
    e = error(actual, expected)
    if not e <= tolerance:
        worst = np.unravel_index(np.argmax(np.abs(np.nan_to_num(actual, nan=np.inf) - expected)), np.shape(expected))
        at = tuple(int(k) for k in worst)
        raise AssertionError(f"relative error {e:.2e} > {tolerance:.0e}: entry {at} is {np.asarray(actual)[worst]!r}, "
                             f"not {np.asarray(expected)[worst]!r}")


def assert_pattern(actual: np.ndarray, expected: np.ndarray) -> None:
    """Fail if an entry of the pattern is missing, and if one is superfluous."""
    missing, superfluous = np.argwhere(expected & ~actual), np.argwhere(actual & ~expected)
    if len(missing) or len(superfluous):
        raise AssertionError(f"{len(missing)} entries missing {missing[:5].tolist()}, "
                             f"{len(superfluous)} superfluous {superfluous[:5].tolist()}")


def flat(tree: Any) -> np.ndarray:
    """The concatenated raveled leaves of a pytree."""
    return np.concatenate([np.ravel(leaf) for leaf in leaves(tree)])
