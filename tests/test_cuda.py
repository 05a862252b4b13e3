"""The CUDA target without a GPU: in Numba's simulator, and compiled to PTX; with one, all of it on the device.

The simulator replaces numba.cuda when it is imported, so its checks (cuda_simulated.py) run in a process of their own.
"""

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
from cuda_simulated import CHECKS, set_to
from test_primitives import sample

from examples.benchmarks import functions
from symhess import cond, hessian_jit, scan, while_loop
from symhess.api.kernels import runner
from symhess.cuda import tiles, toolkit
from symhess.cuda.program import DeviceProgram
from symhess.errors import TargetUnavailable, UnsupportedOperation
from symhess.graph.node import input_node
from symhess.loops.semiseparable import semiseparable
from symhess.plan import coalescing, contraction, grid, segments
from symhess.plan.program import Program, whole
from symhess.primitives import apply
from symhess.primitives.elementwise import ELEMENTWISE

HERE = Path(__file__).parent
INSTALLED = importlib.util.find_spec("numba_cuda") is not None
needs_numba_cuda = pytest.mark.skipif(not INSTALLED, reason="numba-cuda is not installed")


@functools.cache
def can_compile() -> bool:
    """True where there is NVVM."""
    from numba import cuda, float64

    try:
        toolkit.ptx_of(lambda x: None, (float64[::1],))
    except TargetUnavailable:
        return False
    return cuda is not None


needs_nvvm = pytest.mark.skipif(not INSTALLED or not can_compile(), reason="NVVM or NVRTC is not installed")


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """What every check in the simulator said; of several workers the first one runs them."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "cuda"
    try:
        folder.mkdir()
    except FileExistsError:
        wait_for(folder / "results")
    else:
        simulate(folder / "unfinished")
        (folder / "unfinished").rename(folder / "results")
    lines = (folder / "results").read_text().splitlines()
    return {name: problem for name, problem, _ in map(json.loads, lines)}


def wait_for(path, seconds=1200):
    for _ in range(10 * seconds):
        if path.exists():
            return
        time.sleep(0.1)
    raise TimeoutError(f"{path} was not written")


def simulate(results):
    path = os.pathsep.join([str(HERE.parent), str(HERE)])
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, str(HERE / "cuda_simulated.py"), str(results)], env=environment,
                          capture_output=True, text=True)
    if done.returncode:
        results.write_text("\n".join(json.dumps([name, done.stderr, 0]) for name in CHECKS))


@needs_numba_cuda
@pytest.mark.parametrize("name", CHECKS)
def test_in_the_simulator(simulated, name):
    assert not simulated[name], simulated[name]


# -- PTX -----------------------------------------------------------------------------------------------------------


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)


X = np.random.default_rng(1).normal(size=9)
MATRIX = np.random.default_rng(2).normal(size=(7, 9))
TABLE = np.array([0, 3, 3, 1, 0, 3])


def square(x):
    return np.outer(x, x) + np.diag(np.exp(x))


def stepped(x):
    return np.sum(scan(lambda c, u: (np.sin(c) * u + x[0], c[1]), x, np.linspace(0.1, 1, 6).astype(x.dtype))[1])


#: what is compiled: a function, its argument, a product, and what the kernels must be for
KINDS = {
    "loop nest": (rosenbrock, X, "grad", "loop nest"),
    "fill": (lambda x: np.sum(x**3), X, "hessian", "fill"),
    "mirror": (rosenbrock, X, "hessian", "mirror:"),
    "mirror by tiles": (rosenbrock, X, "hessian", "mirror by tiles"),
    "atomic additions": (lambda x: np.sum(np.sin(x[TABLE] * np.arange(6.0)) * x[TABLE][::-1]), X, "grad", "atomic.add"),
    "numbers that meet": (lambda x: np.sum(np.sin(x[TABLE] * np.arange(6.0)) * x[TABLE][::-1]), X, "grad", "for q"),
    "sparse": (rosenbrock, X, "sparse", "loop nest"),
    "rows stored together": (rosenbrock, X, "sparse", "rowsF64"),
    "reduction by blocks": (lambda x: np.sum(np.exp(x)), np.linspace(0, 1, 80), "value", "block_accumulate_F64"),
    "reduction by several blocks": (lambda x: np.max(np.outer(x, x)), X, "value", "part0"),
    "gemm by tiles": (lambda x: np.sum(np.sin(np.sin(x * MATRIX.T) @ MATRIX)), np.array(0.7), "value", "gemm by tiles"),
    "weighted product by tiles": (lambda x: np.sum(np.sin(MATRIX @ x)), X, "hessian", "weighted_syrk by tiles"),
    "cholesky": (lambda x: np.sum(np.linalg.cholesky(square(x))), X, "value", "cholesky("),
    "solve": (lambda x: x @ np.linalg.solve(square(x), x), X, "value", "solve_record("),
    "triangular solve": (lambda x: x @ scipy.linalg.solve_triangular(square(x), x), X, "value", "triangle("),
    "inverse": (lambda x: np.sum(np.linalg.inv(square(x))), X, "value", "unit_columns("),
    "determinant": (lambda x: np.linalg.det(square(x)), X, "value", "determinant("),
    "eigenvalues": (lambda x: np.sum(np.linalg.eigvalsh(square(x)) ** 2), X, "value", "eigh("),
    "singular values": (lambda x: np.sum(np.linalg.svd(square(x), compute_uv=False) ** 3), X, "value", "svd("),
    "QR": (lambda x: np.sum(np.linalg.qr(square(x))[1] ** 2), X, "value", "qr("),
    "pseudoinverse": (lambda x: np.sum(np.linalg.pinv(square(x))), X, "value", "pinv("),
    **{name: (lambda x, name=name: np.sum(getattr(scipy.linalg, name)(square(x))), X, "value", f"{name}(")
       for name in ("expm", "sqrtm", "logm")},
    "Fourier transform": (lambda x: np.sum(np.abs(np.fft.fft(x)) ** 4), X, "value", "dft("),
    "running sum": (lambda x: np.sum(np.cumsum(x)**2), X, "value", "running_accumulate_line"),
    "running product": (lambda x: np.sum(np.cumprod(x)), X, "grad", "recurrence_line"),
    "loop of a thread": (lambda x: stepped(x[:3]), X, "hessian", "loop of 6 steps: one thread"),
    "loop of a block": (stepped, X, "hessian", "loop of 6 steps: one block of threads"),
    "loop of all blocks": (stepped, np.linspace(-1, 1, 200), "hessian", "loop of 6 steps: all blocks together"),
}


def compiled(fn, x, product):
    """The kernels of a product with large arrays' ways for small ones, and the PTX of each."""
    with (set_to(contraction, SMALL_PRODUCT=8, SMALL_MATRIX=8), set_to(tiles, WORTH_TILES=8),
          set_to(grid, BLOCK_ELEMENTS=8 if x.size < 80 else 4096)):
        f = hessian_jit(fn, target="cuda")
        run = f._bound_path((x,), {})[1].runner({"sparse": "csr"}.get(product, product))
        return run.source, run.device.ptx(), f.source(x, product=product)


@needs_nvvm
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_kernel_compiles_to_ptx(kind):
    fn, x, product, expected = KINDS[kind]
    with (set_to(tiles, WORTH_MIRRORING=4 if "tiles" in kind else 32),
          set_to(coalescing, FEWEST=1 if kind == "rows stored together" else 256),
          set_to(segments, MOST=0 if kind == "atomic additions" else 1 << 24)):
        source, ptx, again = compiled(fn, x, product)
    assert expected in source and again == source
    texts = dict(re.findall(r"^def (\w+)(.*?)(?=^# |\Z)", source, re.M | re.S))
    assert set(texts) == set(ptx)
    for name, text in texts.items():
        assert ".visible .entry" in ptx[name]
        assert (".shared" in ptx[name]) == ("cuda.shared" in text or "block_" in text)
        assert ("global.add.f64" in ptx[name]) == ("cuda.atomic.add" in text)


#: functions with loops, and a point
BATCHES = {
    "scan": (lambda x: stepped(x[:3]), X[:3]),
    "while": (lambda x: while_loop(lambda c: c < 4.0, lambda c: c * c + x[0] * x[1], np.exp(x[0])), X[:2]),
    "switch": (lambda x: cond(x[0] > 0, lambda v: np.sum(v**3), lambda v: np.sum(np.exp(v)) * v[0], x), X[:3]),
}


@needs_nvvm
@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_thread_for_each_point_of_a_batch_compiles_to_ptx(name, dtype):
    """States of a few numbers are in registers: nothing is spilled, and no loop makes windows of arrays."""
    fn, x = BATCHES[name]
    path = hessian_jit(fn, target="cuda", dtype=dtype)._bound_path((x,), {})[1]
    run = runner(path.batched("value+grad", 1000), path.options)
    assert re.search("# .*: one thread for each of 1000 points", run.source)
    (text,) = run.device.ptx().values()
    assert ".visible .entry" in text and run.device.module.lanes == 1024
    if toolkit.assembler() is not None:
        try:
            assert toolkit.resources_of(text).spilled == 0
        except TargetUnavailable as older:
            pytest.skip(str(older))


def test_threads_of_a_batch_keep_no_more_than_what_steps_hand_on():
    """Of 200 time steps, two states and two adjoints; what the steps compute of them is computed in the steps."""
    path = hessian_jit(functions.pendulum, static_argnums=(1,), target="cuda")._bound_path((np.ones(4), 200), {})[1]
    device = runner(path.batched("hessian", 1000), path.options).device
    of_one = sum(storage.size for _, storage in device.module.storages(device.plan))
    assert 4 * 200 * 8 <= of_one < 4.5 * 200 * 8


@pytest.mark.parametrize("points, by_threads", [(100, False), (10_000, True)])
def test_few_points_with_much_to_do_beside_a_loop_are_batched_as_arrays(points, by_threads):
    def f(x):
        last, _ = scan(lambda c, _: (np.sin(c) * x[0], None), x[1], length=3)
        return np.sum(np.tanh(np.ones((300, 4)) @ x) ** 2) + last

    path = hessian_jit(f, target="cuda")._bound_path((np.ones(4),), {})[1]
    launches = runner(path.batched("value+grad", points), path.options).device.module.launches
    assert ({l.kind for l in launches} == {"points"}) == by_threads


@needs_nvvm
def test_functions_of_a_size_compile_to_ptx():
    inputs = [input_node(f"v{k}", s, np.float64) for k, s in enumerate(((4, 3, 3), (4, 3, 2), (4, 5, 3)))]
    device = DeviceProgram(Program(tuple(inputs), (whole(semiseparable(*inputs)),)))
    assert "semiseparable_3" in device.source and ".visible .entry" in "".join(device.ptx().values())


@needs_nvvm
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_function_compiles_to_ptx(dtype):
    values = []
    for op in ELEMENTWISE.values():
        nodes = [input_node(f"v{k}", (5,), a.dtype) for k, a in enumerate(sample(op, (5,), 3, dtype))]
        values.append(apply(op, *nodes))
    parts = [values[k::6] for k in range(6)]
    for part in parts:
        program = Program(tuple(x for v in part for x in v.args), tuple(map(whole, part)))
        (text,) = DeviceProgram(program).ptx().values()
        assert ".visible .entry" in text


@needs_nvvm
@pytest.mark.skipif(toolkit.assembler() is None, reason="there is no ptxas")
@pytest.mark.parametrize("kind", ["loop nest", "reduction by blocks", "gemm by tiles", "mirror by tiles", "solve",
                                  "rows stored together", "numbers that meet"])
def test_kernels_spill_nothing(kind):
    fn, x, product, _ = KINDS[kind]
    with set_to(coalescing, FEWEST=1 if kind == "rows stored together" else 256):
        _, ptx, _ = compiled(fn, x, product)
    for text in ptx.values():
        try:
            resources = toolkit.resources_of(text)
        except TargetUnavailable as older:
            pytest.skip(str(older))
        assert 8 < resources.registers <= 255 and resources.spilled == 0


@needs_nvvm
def test_source_of_another_target():
    f = hessian_jit(rosenbrock)
    text = f.source(X, target="cuda")
    assert "cuda.grid(1)" in text and "cuda.grid" not in f.source(X)
    assert text == hessian_jit(rosenbrock, target="cuda").source(X)
    assert f.source(X, target="ptx").count(".visible .entry") == text.count("def kernel")
    with pytest.raises(ValueError, match="choose one of cpu, cuda, ptx"):
        f.source(X, target="rocm")


# -- without a device ----------------------------------------------------------------------------------------------


@needs_numba_cuda
@pytest.mark.skipif(INSTALLED and toolkit.numba_cuda().is_available(), reason="there is a GPU")
def test_a_missing_driver_is_named():
    f = hessian_jit(rosenbrock, target="cuda")
    with pytest.raises(TargetUnavailable, match=r"needs an NVIDIA GPU and its driver: .*driver"):
        f(X)
    assert "def kernel0" in f.source(X)


@needs_numba_cuda
@pytest.mark.skipif(INSTALLED and toolkit.numba_cuda().is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_front_ends_take_the_target(name):
    """Where there is a device, `pytest -m gpu` runs their own tests on it."""
    pytest.importorskip(name)
    front_end = importlib.import_module(f"symhess.{name}")
    x = importlib.import_module(name).ones(3) if name == "torch" else np.ones(3)
    with pytest.raises(TargetUnavailable, match="needs an NVIDIA GPU"):
        front_end.hessian_jit(lambda x: (x**3).sum(), target="cuda")(x)
    with pytest.raises(ValueError, match="choose one of cpu, cuda"):
        front_end.hessian_jit(lambda x: (x**3).sum(), target="gpu")(x)
    if name == "torch":
        with pytest.raises(TargetUnavailable, match="needs an NVIDIA GPU"):
            front_end.hessian(lambda x: (x**3).sum(), x, target="cuda")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    toolkit.numba_cuda.cache_clear()
    toolkit.require_device.cache_clear()
    try:
        with pytest.raises(TargetUnavailable, match=r'numba-cuda, which is not installed: pip install "symhess\[cuda'):
            toolkit.require_device()
    finally:
        toolkit.numba_cuda.cache_clear()


@needs_numba_cuda
@pytest.mark.parametrize("part", ["nvvm", "nvrtc"])
def test_a_missing_compiler_is_named(monkeypatch, part):
    """Beside a device numba-cuda says so by an exception of its bindings, or by finding no device."""
    from cuda.pathfinder import DynamicLibNotFoundError

    def missing(*args, **kwargs):
        raise DynamicLibNotFoundError(f'Failure finding "lib{part}.so"')

    cuda, asked = toolkit.numba_cuda(), toolkit.require_device.__wrapped__
    monkeypatch.setattr(cuda, "compile_ptx", missing)
    with pytest.raises(TargetUnavailable, match=rf"{part} was not found: pip install \"symhess\[cuda"):
        toolkit.ptx_of(lambda x: None, ())
    monkeypatch.setattr(cuda, "is_available", missing)
    with pytest.raises(TargetUnavailable, match=f"{part} was not found"):
        asked()
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    monkeypatch.setattr(cuda, "cuda_error", lambda: None)
    with pytest.raises(TargetUnavailable, match="nvvm was not found"):
        asked()


def test_other_failures_of_the_compiler_stay_what_they_are():
    with pytest.raises(RuntimeError, match="NVVM_ERROR") as raised, toolkit.missing_parts_named():
        raise RuntimeError("NVVM_ERROR_COMPILATION")
    assert not isinstance(raised.value, TargetUnavailable)


@needs_numba_cuda
def test_there_is_no_c_function_of_kernels_on_a_gpu():
    f = hessian_jit(rosenbrock, target="cuda")
    with pytest.raises(UnsupportedOperation, match=r'kernels on a GPU.*use target="cpu"'):
        f.kernel(X)


@pytest.mark.parametrize("option, value", [("mode", "native"), ("mode", "autograd"), ("parallel", True),
                                           ("cache", True), ("compile", "background")])
def test_options_of_the_cpu_are_refused(option, value):
    with pytest.raises(ValueError, match=f"{option}=.*is for the CPU"):
        hessian_jit(rosenbrock, target="cuda", **{option: value})


def test_unknown_targets_are_refused():
    with pytest.raises(ValueError, match="choose one of cpu, cuda"):
        hessian_jit(rosenbrock, target="gpu")


def test_nothing_of_cuda_is_imported_without_being_asked_for():
    code = ("import sys, numpy as np; from symhess import hessian_jit; hessian_jit(lambda x: np.sum(x**3))(np.ones(2));"
            "assert not [m for m in sys.modules if m.startswith(('numba_cuda', 'numba.cuda', 'symhess.cuda'))]")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_assembler_that_is_older_than_the_compiler(tmp_path, monkeypatch):
    old = tmp_path / "ptxas"
    said = "ptxas kernel.ptx, line 9; fatal   : Unsupported .version 9.5; current version is '9.0'"
    old.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    old.chmod(0o755)
    monkeypatch.setattr(toolkit, "assembler", lambda: str(old))
    with pytest.raises(TargetUnavailable, match="older than the compiler"):
        toolkit.resources_of(".version 9.5")
