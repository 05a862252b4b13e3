"""The CUDA target on an NVIDIA GPU: what runs in the simulator elsewhere, and the libraries that need a device."""

import importlib.util
from itertools import pairwise

import numpy as np
import pytest
from cuda_simulated import CHECKS, STAND_INS, X, on_device, rosenbrock, same
from primitive_cases import cases

from symhess import hessian_jit
from symhess.backends.interpreter import run_program
from symhess.cuda import linear, toolkit
from symhess.errors import ShapeMismatch
from symhess.graph.node import input_node
from symhess.plan.program import Program, whole


def has_device():
    if importlib.util.find_spec("numba_cuda") is None:
        return False
    return not toolkit.is_simulated() and toolkit.numba_cuda().is_available()


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not has_device(), reason="there is no NVIDIA GPU")]
cupy = pytest.importorskip("cupy") if has_device() and importlib.util.find_spec("cupy") else None
needs_cupy = pytest.mark.skipif(cupy is None, reason="CuPy is not installed")


@pytest.mark.parametrize("name", [n for n in CHECKS if n not in STAND_INS])
def test_as_in_the_simulator(name):
    CHECKS[name]()


@needs_cupy
@pytest.mark.parametrize("c", cases(), ids=lambda c: c.name)
def test_primitives_by_libraries(c, monkeypatch):
    monkeypatch.setattr(linear, "LARGE_PRODUCT", 8)
    monkeypatch.setattr(linear, "LARGE_MATRIX", 2)
    nodes = [input_node(f"v{k}", a.shape, a.dtype) for k, a in enumerate(c.arrays)]
    program = Program(tuple(nodes), (whole(c.build(*nodes)),))
    same(on_device(program, list(c.arrays)), run_program(program, c.arrays), 1e-10)


@needs_cupy
def test_an_indefinite_matrix_has_no_factor(monkeypatch):
    monkeypatch.setattr(linear, "LARGE_MATRIX", 2)
    indefinite = np.array([[1.0, 2.0], [2.0, 1.0]])
    f = hessian_jit(lambda t: np.sum(np.linalg.cholesky(t * indefinite)), target="cuda")
    assert np.isnan(f.value(1.0))


def host(a):
    return a.get() if hasattr(a, "get") else a.cpu().numpy()


def kinds():
    """The libraries that are there: their name, an array of them, and the type of results."""
    if cupy is not None:
        yield "cupy", cupy.asarray, cupy.ndarray
    if importlib.util.find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            yield "torch", lambda a: torch.as_tensor(a, device="cuda"), torch.Tensor


@pytest.mark.parametrize("kind", [k[0] for k in kinds()] if has_device() else [])
def test_arrays_of_a_library_in_and_out(kind):
    _, move, made = next(k for k in kinds() if k[0] == kind)
    cpu, device = hessian_jit(rosenbrock), hessian_jit(rosenbrock, target="cuda")
    x = move(X)
    for name in ("value", "grad", "diagonal", "flat", "__call__"):
        found = getattr(device, name)(x)
        assert isinstance(found, made)
        same(host(found), np.asarray(getattr(cpu, name)(X)))
    out = move(np.empty((7, 7)))
    assert device(x, out=out) is out
    same(host(out), cpu(X))
    with pytest.raises(ShapeMismatch):
        device(x, out=move(np.empty((7, 8))))
    same(host(device.hvp(x, x)), cpu.hvp(X, X))
    same(host(device.batch(move(np.stack([X, 2 * X])))), cpu.batch(np.stack([X, 2 * X])))
    blocks = hessian_jit(lambda p: np.sum(p["a"] * p["b"] ** 2), target="cuda")({"a": x, "b": x})
    same(host(blocks["a"]["b"]), np.diag(2 * X))


@needs_cupy
def test_sparse_results_are_matrices_of_cupy():
    import cupyx.scipy.sparse

    cpu, device = hessian_jit(rosenbrock), hessian_jit(rosenbrock, target="cuda")
    first = device.sparse(cupy.asarray(X))
    assert isinstance(first, cupyx.scipy.sparse.csr_matrix)
    same(first.get().toarray(), cpu(X))
    assert device.sparse(cupy.asarray(2 * X), out=first) is first
    same(first.get().toarray(), cpu(2 * X))


@needs_cupy
def test_calls_on_two_streams_take_turns():
    """The workspace is one; what follows on a stream sees what was made on it."""
    device = hessian_jit(lambda x: np.sum(np.exp(np.sin(np.outer(x, x)))), target="cuda")
    points = [np.random.default_rng(k).normal(size=200) for k in range(8)]
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    found = []
    for k, x in enumerate(points):
        with streams[k % 2]:
            found.append(device.grad(cupy.asarray(x)) * 1.0)
    for s in streams:
        s.synchronize()
    cpu = hessian_jit(lambda x: np.sum(np.exp(np.sin(np.outer(x, x)))))
    for x, g in zip(points, found):
        same(g.get(), cpu.grad(x), 1e-11)
    assert all(not np.array_equal(a.get(), b.get()) for a, b in pairwise(found))
