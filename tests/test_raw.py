"""Kernels as C functions, in code compiled by Numba, and their built-in functions: what they check."""

import ctypes
import gc
import sys
import threading

import numpy as np
import pytest

from symhess import hessian_jit
from symhess.backends import direct, python_answer, python_entry
from symhess.backends.python_entry import Array
from symhess.errors import UnsupportedOperation

X, D = np.array([0.3, -1.2, 0.7]), np.array([1.0, 2.0, 3.0])


@hessian_jit
def f(x, d):
    return np.sum(np.exp(x) * x[0] * d)


def exact(x, d):
    H = np.diag(np.exp(x) * x[0] * d)
    H[0] += np.exp(x) * d
    H[:, 0] += np.exp(x) * d
    return H


def test_the_c_function():
    k = f.kernel(X, D)
    assert k.declaration == "int kernel(const double *arg0, const double *arg1, double *hessian);"
    assert [str(a) for a in k.inputs] == ["arg0: float64[3]", "arg1: float64[3]"]
    H = np.empty((3, 3))
    call = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3)(k.address)
    assert call(X.ctypes.data, D.ctypes.data, H.ctypes.data) == 0
    np.testing.assert_allclose(H, exact(X, D), rtol=1e-14)


def test_functions_keep_the_machine_code():
    g = hessian_jit(lambda x: np.sum(x**4))
    function = g.kernel(X).c_function
    del g
    gc.collect()
    H = np.empty((3, 3))
    assert function(X.ctypes.data, H.ctypes.data) == 0
    np.testing.assert_allclose(H, np.diag(12 * X**2), rtol=1e-14)


def test_code_compiled_by_numba_calls_kernels():
    import numba

    kernel = f.kernel(X, D, product="value_grad_hessian").numba_function

    @numba.njit
    def newton_decrement(x, d):
        value, g, H = np.empty(()), np.empty(3), np.empty((3, 3))
        kernel(x, d, value, g, H)
        return g @ np.linalg.solve(H, g)

    g = np.exp(X) * X[0] * D + np.eye(3)[0] * (np.exp(X) * D).sum()
    assert np.isclose(newton_decrement(X, D), g @ np.linalg.solve(exact(X, D), g))
    with pytest.raises(ValueError, match="other shapes"):
        newton_decrement(X[:2].copy(), D)


@pytest.mark.parametrize("product, count", [("grad", 1), ("hvp", 1), ("sparse", 1), ("value_and_grad", 2),
                                            ("diagonal", 1)])
def test_every_product_has_a_kernel(product, count):
    k = f.kernel(X, D, product=product)
    assert len(k.outputs) == count and len(k.inputs) == (3 if product == "hvp" else 2)
    outs = [np.empty(a.shape) for a in k.outputs]
    k(X, D, *([X] if product == "hvp" else []), *outs)
    H = exact(X, D)
    expected = {"hvp": H @ X, "diagonal": np.diag(H), "sparse": H[H != 0]}.get(
        product, np.exp(X) * X[0] * D + np.eye(3)[0] * (np.exp(X) * D).sum())
    np.testing.assert_allclose(outs[-1], expected, rtol=1e-14)


def test_what_is_no_single_kernel_is_refused():
    with pytest.raises(ValueError, match="no product 'hess'"):
        f.kernel(X, D, product="hess")
    with pytest.raises(UnsupportedOperation, match="interpreted"):
        hessian_jit(lambda x: np.sum(x**3), mode="autograd").kernel(X)
    big = hessian_jit(lambda x: np.sum(np.exp(x)), parallel=True)
    with pytest.raises(UnsupportedOperation, match="several threads"):
        big.kernel(np.ones(2_000_000), product="diagonal")


WRONG = {
    "shape": (X[:2], None), "rank": (X[None], None), "dtype": (X.astype(np.float32), None),
    "byte order": (X.astype(">f8"), None), "strided": (np.zeros(6)[::2], None), "no array": ([1.0, 2.0, 3.0], None),
    "subclass": (np.ma.array(X), None), "misaligned": (np.frombuffer(b"x" * 25, np.uint8)[1:].view(float), None),
    "output shape": (X, np.empty((3, 2))), "output dtype": (X, np.empty((3, 3), int)),
    "read-only output": (X, np.broadcast_to(0.0, (3, 3))), "none": (None, None),
}


@pytest.mark.parametrize("name", WRONG)
def test_kernels_refuse_other_arrays(name):
    k = f.kernel(X, D)
    x, out = WRONG[name]
    with pytest.raises(TypeError, match=r"a kernel of \(float64\[3\], float64\[3\], float64\[3, 3\]\) was called with"):
        k(x, D, np.empty((3, 3)) if out is None else out)
    for arguments in ((), (X,), (X, D), (X, D, np.empty((3, 3)), X)):
        with pytest.raises(TypeError, match="was called with"):
            k(*arguments)


def test_references_are_counted():
    k, H = f.kernel(X, D), np.empty((3, 3))
    held = [X, D, H, None]
    before = [sys.getrefcount(a) for a in held]
    for _ in range(1000):
        k(X, D, H)
    after = [sys.getrefcount(a) for a in held]
    assert np.abs(np.subtract(before, after)).max() < 100


def test_by_ctypes_alone(monkeypatch):
    """Where array objects do not lie in memory as expected, the same checks and results."""
    monkeypatch.setattr(python_entry, "layout_holds", lambda: False)
    monkeypatch.setattr(direct, "layout_holds", lambda: False)
    monkeypatch.setattr(python_answer, "available", lambda: False)
    g = hessian_jit(lambda x: np.sum(x**4))
    np.testing.assert_allclose(g(X), np.diag(12 * X**2), rtol=1e-14)
    np.testing.assert_allclose(g(X), np.diag(12 * X**2), rtol=1e-14)
    k = g.kernel(X)
    for x in (X[:2], X.astype(np.float32), np.zeros(6)[::2], [1.0, 2.0, 3.0]):
        with pytest.raises(TypeError, match="was called with other arrays"):
            k(x, np.empty((3, 3)))


def test_the_layout_of_arrays_is_known_here():
    assert python_entry.layout_holds()


def test_many_threads_at_once():
    n = 400
    g = hessian_jit(lambda x: np.sum(np.sin(x[1:]) * x[:-1] ** 3))
    points = np.random.default_rng(0).normal(size=(16, n))
    expected = [g(p) for p in points]
    found = [None] * len(points)

    def work(k):
        for _ in range(20):
            found[k] = g(points[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(points))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b)


def test_no_memory_raises():
    """A kernel whose workspace cannot be had: the status becomes a MemoryError."""
    text = """def kernel(x0_nd, out0_nd):
    work = np.empty(4611686018427387904, U1)
    x0 = memory(x0_nd, 0, 3)
    out0 = memory(out0_nd, 1, 3)
    t0 = part(work, 0, F64, 2, 3)
    for i1 in range(100):
        put(t0, I64(get(x0, i1)), get(x0, i1))
    for i2 in range(100):
        put(out0, i2, get(t0, I64(get(x0, 99 - i2))))
    keep(work)
"""
    arrays = [Array((100,), np.dtype(float), written) for written in (False, True)]
    entry = direct.kernel_entry(text, arrays, False, False, False)
    x, out = np.zeros(100), np.ones(100)
    with pytest.raises(MemoryError):
        entry.call(x, out)
    assert np.all(out == 1)
