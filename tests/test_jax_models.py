"""The JAX front end on whole models, compiled: Hessians in their nesting, sparse ones, products with vectors."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import symhess.jax  # noqa: E402
from tests.jax_models import MODELS  # noqa: E402
from tests.test_jax import QUICK  # noqa: E402


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", MODELS)
def test_models_have_the_hessians_that_jax_computes(name: str):
    model, point = MODELS[name]
    tolerance = 1e-4 if name == "mixed_precision" else 1e-8
    value, gradient, H = symhess.jax.hessian_jit(model).value_grad_hessian(point)
    expected = jax.jit(lambda p: (model(p), jax.grad(model)(p), jax.hessian(model)(p)), compiler_options=QUICK)(point)
    assert jax.tree.structure((value, gradient, H)) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves((value, gradient, H)), jax.tree.leaves(expected)):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
