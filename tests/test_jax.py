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
