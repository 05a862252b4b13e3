"""The JAX front end: values, gradients and Hessians of functions written in jax.numpy against JAX's own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import symhess.jax  # noqa: E402
from tests.jax_cases import GROUPS  # noqa: E402

#: XLA compiles the oracle, which runs once
QUICK = {"xla_backend_optimization_level": 0}


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def scalar(function: Callable) -> Callable:
    """A sum of the results with weights that tell them apart."""
    def f(x: Any) -> Any:
        out = jax.numpy.asarray(function(x))
        weights = np.cos(np.arange(out.size)).reshape(out.shape) + 1.5
        return jax.numpy.sum(weights * out)

    return f


@functools.cache
def expected(group: str) -> dict[str, tuple]:
    """(value, gradient, Hessian) of the functions of a group by JAX: one compilation for all of them."""
    def derivatives(f: Callable, x: Any) -> tuple:
        gradient = jax.jacfwd(f) if group == "forward" else jax.grad(f)
        return f(x), gradient(x), jax.jacfwd(gradient)(x)

    functions = {name: scalar(f) for name, (f, _) in GROUPS[group].items()}
    points = {name: point for name, (_, point) in GROUPS[group].items()}
    run = jax.jit(lambda points: {name: derivatives(f, points[name]) for name, f in functions.items()},
                  compiler_options=QUICK)
    return run(points)


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, cases in GROUPS.items() for name in cases])
def test_derivatives_are_those_of_jax(group: str, name: str):
    function, point = GROUPS[group][name]
    found = symhess.jax.hessian_jit(scalar(function), mode="autograd").value_grad_hessian(point)
    for ours, theirs in zip(found, expected(group)[name]):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


#: LU factors are used as they are there
WITHOUT_LU = ("expm",)


@pytest.mark.parametrize(("group", "name"), [
    (group, name) for group in ("movement", "indexing", "reductions", "contractions", "algebra", "control")
    for name in GROUPS[group] if name not in WITHOUT_LU])
def test_what_jax_differentiates_within_a_function(group: str, name: str):
    """The gradient of w . grad f is H w: transposes and tangents of all primitives are met."""
    (function, point), (_, gradient, H) = GROUPS[group][name], expected(group)[name]
    w, f = np.cos(np.arange(point.size)).reshape(point.shape), scalar(function)
    compiled = symhess.jax.hessian_jit(lambda x: jax.numpy.sum(w * jax.grad(f)(x)), mode="autograd")
    value, product = compiled.value_and_grad(point)
    np.testing.assert_allclose(value, np.sum(w * gradient), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(product, np.tensordot(w, np.asarray(H), w.ndim), rtol=1e-8, atol=1e-8)


def test_a_tangent_of_pooling():
    image = np.cos(np.arange(16.0)).reshape(1, 4, 4, 1)

    def f(x: Any) -> Any:
        pool = lambda y: jax.lax.reduce_window(y, -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")
        return jax.numpy.sum(jax.jvp(pool, (x,), (x**2,))[1])

    np.testing.assert_allclose(symhess.jax.hessian(f)(image), jax.hessian(f)(image), atol=1e-12)
