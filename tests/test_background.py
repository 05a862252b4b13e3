"""`compile="background"`: answers at once, from the interpreter, then from the kernel that a thread compiled."""

import threading

import numpy as np
import pytest

from symhess import hessian_jit
from symhess.api import kernels
from symhess.errors import SymhessWarning

X = np.array([0.3, -1.2, 0.7])


def cubes(x):
    return np.sum(x**3) * x[0]


def exact(x):
    H = np.diag(6 * x * x[0])
    H[0] += 3 * x**2
    H[:, 0] += 3 * x**2
    return H


@pytest.fixture
def gate(monkeypatch):
    """Compilation waits for this event; `gate.count` counts compilations."""
    event, real = threading.Event(), kernels.CompiledRunner
    event.count, event.entered = 0, threading.Event()

    def slow(*args):
        event.count += 1
        event.entered.set()
        assert event.wait(60)
        return real(*args)

    monkeypatch.setattr(kernels, "CompiledRunner", slow)
    yield event
    event.set()
    finish()


def finish():
    for t in threading.enumerate():
        if t.name.startswith("symhess "):
            t.join()


def test_answers_before_and_after_the_kernel_is_there(gate):
    f = hessian_jit(cubes, compile="background")
    for _ in range(3):
        np.testing.assert_allclose(f(X), exact(X), rtol=1e-14)
    assert gate.entered.wait(60)  # the thread may take longer to begin than the interpreter to answer
    assert gate.count == 1 and not f._entries
    gate.set()
    finish()
    np.testing.assert_allclose(f(X), exact(X), rtol=1e-14)
    assert gate.count == 1 and f._entries and "compiled" not in f.source(X) and f.source(X).startswith("def kernel")


def test_other_products_and_sparse_results(gate):
    f = hessian_jit(cubes, compile="background")
    value, g, H = f.value_grad_hessian(X)
    np.testing.assert_allclose(H, exact(X), rtol=1e-14)
    np.testing.assert_allclose(f.sparse(X).toarray(), exact(X), rtol=1e-14)
    np.testing.assert_allclose(f.hvp(X, X), exact(X) @ X, rtol=1e-14)
    gate.set()
    finish()
    again = f.value_grad_hessian(X)
    for a, b in zip(again, (value, g, H)):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_dense_columns(gate):
    A = np.random.default_rng(0).normal(size=(40, 40))

    def logs(x):
        return np.linalg.slogdet(A @ A.T + np.outer(x, x))[1]

    f = hessian_jit(logs, compile="background")
    x = np.linspace(-1, 1, 40)
    first = f(x)
    gate.set()
    finish()
    np.testing.assert_allclose(f(x), first, rtol=1e-9, atol=1e-12)


def test_a_failure_is_told_once_and_the_interpreter_goes_on(monkeypatch):
    def broken(*args):
        raise RuntimeError("no compiler today")

    monkeypatch.setattr(kernels, "CompiledRunner", broken)
    f = hessian_jit(cubes, compile="background")
    with pytest.warns(SymhessWarning, match="no compiler today.*stays interpreted"):
        f(X)
        finish()
    np.testing.assert_allclose(f(X), exact(X), rtol=1e-14)


def test_the_option_is_checked():
    with pytest.raises(ValueError, match="compile='later'; choose one of now, background"):
        hessian_jit(cubes, compile="later")
