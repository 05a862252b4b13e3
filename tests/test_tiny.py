"""The whole product in a few seconds: one function through every product, transform and report, and one error."""

import numpy as np
import pytest

import symhess
from symhess import hessian_jit
from symhess.errors import NonScalarOutput

X = np.array([-1.2, 1.0, 0.5, 2.0])
V = np.array([1.0, -2.0, 0.5, 3.0])


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def gradient(x):
    g = np.zeros(len(x))
    g[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    g[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return g


def hessian(x):
    H = np.zeros((len(x), len(x)))
    for i in range(len(x) - 1):
        H[i, i] += 1200 * x[i] ** 2 - 400 * x[i + 1] + 2
        H[i + 1, i + 1] += 200
        H[i, i + 1] = H[i + 1, i] = -400 * x[i]
    return H


@pytest.fixture(scope="module")
def f():
    return hessian_jit(rosenbrock)


def test_value_gradient_and_hessian(f):
    np.testing.assert_allclose(f.value(X), rosenbrock(X), rtol=1e-14)
    np.testing.assert_allclose(f.grad(X), gradient(X), rtol=1e-14)
    np.testing.assert_allclose(f(X), hessian(X), rtol=1e-14)


def test_sparse_product_and_batch(f):
    S = f.sparse(X)
    assert S.nnz == 10
    np.testing.assert_allclose(S.toarray(), hessian(X), rtol=1e-14)
    np.testing.assert_allclose(f.hvp(X, V), hessian(X) @ V, rtol=1e-13)
    np.testing.assert_allclose(f.batch(np.stack([X, V])), [hessian(X), hessian(V)], rtol=1e-14)


def test_transforms():
    np.testing.assert_allclose(symhess.hessian(rosenbrock)(X), hessian(X), rtol=1e-13)
    np.testing.assert_allclose(symhess.jacfwd(symhess.grad(rosenbrock))(X), hessian(X), rtol=1e-13)
    np.testing.assert_allclose(symhess.hvp(rosenbrock, X, V), hessian(X) @ V, rtol=1e-13)


def test_explain(f):
    assert "tridiagonal" in f.explain(X)


def test_an_error():
    with pytest.raises(NonScalarOutput, match=r"array of shape \(4,\).*sum it"):
        hessian_jit(lambda x: x**2)(X)
