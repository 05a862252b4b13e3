"""The JAX front end: values, gradients and Hessians of functions written in jax.numpy against JAX's own."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import symhess.jax  # noqa: E402
from tests.jax_cases import CASES  # noqa: E402

#: XLA compiles the oracle, which runs once
QUICK = {"xla_backend_optimization_level": 0}


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_jax(name: str):
    function, point = CASES[name]

    def f(x):
        out = jax.numpy.asarray(function(x))
        weights = np.cos(np.arange(out.size)).reshape(out.shape) + 1.5
        return jax.numpy.sum(weights * out)

    gradient = jax.jacfwd(f) if name.startswith("forward") else jax.grad(f)
    expected = jax.jit(lambda x: (f(x), gradient(x), jax.jacfwd(gradient)(x)), compiler_options=QUICK)(point)
    found = symhess.jax.hessian_jit(f, mode="autograd").value_grad_hessian(point)
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
