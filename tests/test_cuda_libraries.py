"""CuPy and PyTorch themselves on a GPU: streams, graphs of the user's, arrays of both, several devices."""

import numpy as np
import pytest
from cuda_simulated import X, rosenbrock, same
from test_cuda_device import cupy, has_device, host, kinds, needs_cupy

from symhess import hessian_jit
from symhess.cuda import toolkit
from symhess.errors import UnsupportedOperation

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not has_device(), reason="there is no NVIDIA GPU")]
LIBRARIES = {name: move for name, move, _ in kinds()} if has_device() else {}
each_library = pytest.mark.parametrize("library", LIBRARIES)
needs_torch = pytest.mark.skipif("torch" not in LIBRARIES, reason="PyTorch has no CUDA device")


def weighted(x, a):
    return np.sum(a * np.sin(x) ** 2) * np.sum(x)


@each_library
def test_arrays_are_converted_on_the_device(library):
    move, cpu, device = LIBRARIES[library], hessian_jit(weighted), hessian_jit(weighted, target="cuda")
    m = np.random.default_rng(3).normal(size=(3, 4))
    for _ in range(3):
        same(host(device(move(m.T.copy()).T, move(m))), cpu(m, m))
    same(host(device(move(np.arange(4)), move(np.array([True, False, True, True])))),
         cpu(np.arange(4), np.array([True, False, True, True])))
    number = hessian_jit(lambda x, a: a * np.sin(x) ** 2, target="cuda").grad(move(np.array(0.3)), 2.0)
    assert number.shape == ()
    same(host(number), 4 * np.sin(0.3) * np.cos(0.3))


@each_library
def test_graphs_are_replayed(library):
    """A loop whose results are given up, as an optimiser's: their memory comes again."""
    move, cpu, device = LIBRARIES[library], hessian_jit(rosenbrock), hessian_jit(rosenbrock, target="cuda")
    for k in range(12):
        same(host(device(move(X * k))), cpu(X * k))
    run = device._bound_path((X,), {})[1].runner("hessian").device
    (loaded,) = run._loaded.values()
    assert any(section.graphs for section in loaded.sections)


@needs_cupy
@needs_torch
def test_arrays_of_both_on_their_streams():
    import torch

    cpu, device = hessian_jit(weighted), hessian_jit(weighted, target="cuda")
    theirs, ours = torch.cuda.Stream(), cupy.cuda.Stream(non_blocking=True)
    for k in range(6):
        with torch.cuda.stream(theirs):
            a = torch.as_tensor(X, device="cuda") * k
            with ours:
                H = device(cupy.asarray(X), a)
            a += 1  # after the call has read it
        with ours:
            same(H.get(), cpu(X, X * k))


@needs_torch
def test_captured_by_pytorch():
    import torch

    cpu, device = hessian_jit(rosenbrock), hessian_jit(rosenbrock, target="cuda")
    x, H = LIBRARIES["torch"](X), LIBRARIES["torch"](np.zeros((7, 7)))
    device(x, out=H)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        device(x, out=H)
        g = H * 2.0
    for k in range(3):
        x.copy_(LIBRARIES["torch"](X * k))
        graph.replay()
        same(host(H), cpu(X * k))
        same(host(g), 2 * cpu(X * k))


@needs_cupy
def test_captured_by_cupy():
    cpu, device = hessian_jit(rosenbrock), hessian_jit(rosenbrock, target="cuda")
    x, H = cupy.asarray(X), cupy.zeros((7, 7))
    device(x, out=H)
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        device(x, out=H)
        graph = stream.end_capture()
        for k in range(3):
            x[...] = cupy.asarray(X * k)
            graph.launch(stream)
            same(H.get(), cpu(X * k))


@needs_torch
def test_sparse_tensors():
    cpu, device = hessian_jit(rosenbrock), hessian_jit(rosenbrock, target="cuda")
    for k in (1, 2):
        found = device.sparse(LIBRARIES["torch"](X * k))
        assert found.is_cuda
        same(host(found.to_dense()), cpu(X * k))


@needs_torch
def test_on_every_device():
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device")
    cpu, device = hessian_jit(weighted), hessian_jit(weighted, target="cuda")
    xs = [torch.as_tensor(X, device=f"cuda:{k}") for k in range(torch.cuda.device_count())]
    for _ in range(3):
        for k, x in enumerate(xs):
            H = device(x, 2.0)
            assert H.device == x.device
            same(host(H), cpu(X, 2.0))
            with toolkit.numba_cuda().gpus[k]:
                same(device(X, 2.0), cpu(X, 2.0))
    with pytest.raises(UnsupportedOperation, match="on one device"):
        device(xs[0], xs[1])
