"""What kernels move, counted in Python (see cuda_traffic.py): stores of whole sectors, every place once."""

import importlib.util

import numpy as np
import pytest
from cuda_simulated import set_to
from cuda_traffic import traffic

from examples.benchmarks.workloads import WORKLOADS
from symhess import hessian_jit
from symhess.plan import coalescing, merging

pytestmark = pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed")


def device_of(name, *size):
    """The kernels of the sparse Hessian of a benchmark."""
    w = WORKLOADS[name]
    args = w.arguments(*size)
    f = hessian_jit(w.function, argnums=w.argnums, static_argnums=w.indices(args), target="cuda")
    return f._bound_path(args, {})[1].runner("csr").device


def batch_of(points, n, product="hessian", dtype=np.float64):
    """The kernels of a batch of Rosenbrock functions."""
    from symhess.cuda.program import DeviceProgram

    f = hessian_jit(WORKLOADS["rosenbrock_rows"].function, target="cuda", dtype=dtype)
    return DeviceProgram(f._bound_path((np.ones(n, dtype),), {})[1].batched(product, points))


def test_a_batch_reads_and_writes_whole_sectors():
    (launch,) = (device := batch_of(10**6, 4)).module.launches
    found = traffic(device, launch, (0, 1000))
    assert found.stores == {"out0": (512 * 128, 512 * 128)} and found.loads == {"x0": (512 * 32, 512 * 32)}
    with set_to(coalescing, FEWEST=10**9):
        device = batch_of(10**6, 4)
    assert traffic(device, device.module.launches[0]).stored.efficiency == 0.25


@pytest.mark.parametrize("n, dtype, efficiency", [(4, np.float32, 1), (6, np.float64, 0.99), (8, np.float64, 1)])
def test_rows_of_a_batch_in_parts(n, dtype, efficiency):
    (launch,) = (device := batch_of(10**4, n, dtype=dtype)).module.launches
    assert efficiency <= traffic(device, launch).stored.efficiency <= 1


@pytest.mark.parametrize("name, size, stored", [("rosenbrock_1e6", (10**6,), 24), ("minimal_surface", (512,), 56)])
def test_rows_of_a_sparse_hessian_are_stored_together(name, size, stored):
    device = device_of(name, *size)
    found = traffic(device, device.module.launches[0], (100,)).stores["out0"]
    assert found.wanted == 256 * stored and found.efficiency > 0.88  # places at odd multiples of 8: a sector more


@pytest.mark.parametrize("name, size", [("rosenbrock_1e6", (300,)), ("minimal_surface", (20,))])
def test_every_place_is_stored_once(name, size):
    device = device_of(name, *size)
    out = device.plan.outputs[0]
    nests = [l for l in device.module.launches if l.kind in ("threads", "rows") and "out0" in l.arrays]
    plain = [traffic(device, l, range(-(-l.points // 256))).stores["out0"] for l in nests if "atomic" not in l.label]
    assert sum(m.wanted for m in plain) == 8 * out.shape[0]


def test_kernels_that_need_nothing_of_each_other_are_one_launch():
    for name, size in (("rosenbrock_1e6", (1000,)), ("minimal_surface", (40,))):
        assert len(device_of(name, *size).module.launches) == 1
        with set_to(merging, MOST=0):
            assert len(device_of(name, *size).module.launches) > 1
