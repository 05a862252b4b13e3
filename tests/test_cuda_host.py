"""How the CUDA target calls the driver: launches and graphs, streams, copies, arrays of other libraries.

The checks (cuda_host.py) run on an emulated driver, and on the driver of a GPU where there is one; in a process of
their own, which has one driver for all its life.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from symhess.errors import DTypeMismatch
from symhess.plan.assembly import CsrLayout

HERE = Path(__file__).parent
CAN_RUN = importlib.util.find_spec("numba_cuda") is not None
if CAN_RUN:
    from cuda_host import CHECKS
    from test_cuda import can_compile

    from symhess.cuda import toolkit
    CAN_RUN = can_compile()
else:
    CHECKS = {}


def emulated():
    """The arguments that run a program on the emulated driver; None where there is none."""
    if not CAN_RUN or importlib.util.find_spec("emulated_driver") is None:
        return None
    import emulated_driver

    return ["-m", "emulated_driver"] if emulated_driver.can_run() else None


def on_a_device():
    """The arguments that run a program on a GPU; None where there is none."""
    return [] if CAN_RUN and not toolkit.is_simulated() and toolkit.numba_cuda().is_available() else None


def results(command, folder):
    """What every check said."""
    if command is None:
        pytest.skip("there is no such driver, or no NVVM")
    path = os.pathsep.join([str(HERE.parent), str(HERE)])
    written = folder / "results"
    done = subprocess.run([sys.executable, *command, str(HERE / "cuda_host.py"), str(written)],
                          env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name: problem for name, problem, _ in map(json.loads, written.read_text().splitlines())}


@pytest.fixture(scope="module")
def said_by_the_emulated_driver(tmp_path_factory):
    return results(emulated(), tmp_path_factory.mktemp("emulated"))


@pytest.fixture(scope="module")
def said_by_a_device(tmp_path_factory):
    return results(on_a_device(), tmp_path_factory.mktemp("device"))


@pytest.mark.parametrize("name", CHECKS)
def test_on_the_emulated_driver(said_by_the_emulated_driver, name):
    assert not said_by_the_emulated_driver[name], said_by_the_emulated_driver[name]


@pytest.mark.gpu
@pytest.mark.parametrize("name", CHECKS)
def test_on_a_device(said_by_a_device, name):
    assert not said_by_a_device[name], said_by_a_device[name]


# -- what does not need a device -----------------------------------------------------------------------------------

needs_numba_cuda = pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is missing")


@needs_numba_cuda
def test_what_is_asked_of_pytorch():
    """With tensors on the CPU: all but the current stream and the number of the device."""
    torch = pytest.importorskip("torch")
    from symhess.cuda.arrays import TorchArrays, is_on_device, library_of

    library, x = library_of(torch.Tensor), torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
    assert isinstance(library, TorchArrays) and isinstance(library_of(torch.nn.Parameter), TorchArrays)
    assert not is_on_device(x)
    turned = library.adopted(x.T)
    assert turned.is_contiguous() and library.facts(turned)[:3] == ((3, 2), np.dtype(float), turned.data_ptr())
    assert library.adopted(x).data_ptr() == x.data_ptr() and library.row(x, 1).data_ptr() == x[1].data_ptr()
    negative = torch.imag(torch.conj(torch.ones(3, dtype=torch.complex128) * 2j))
    assert negative.is_neg() and np.array_equal(library.adopted(negative).numpy(), [-2.0, -2.0, -2.0])
    for dtype in (np.float64, np.float32, np.int64, np.bool_):
        cast = library.cast(x, np.dtype(dtype))
        assert library.facts(cast)[1] == dtype and library.empty((2,), np.dtype(dtype), x).shape == (2,)
        assert np.array_equal(library.to_host(cast), x.numpy().astype(dtype))
    assert library.takes_results(x) and not library.takes_results(x.T)
    assert not library.takes_results(x.clone().requires_grad_())
    before = x._version
    library.written(x)
    assert x._version == before + 1
    with pytest.raises(DTypeMismatch, match="layout"):
        library.adopted(x.to_sparse())
    with pytest.raises(DTypeMismatch, match="bfloat16"):
        library.facts(x.to(torch.bfloat16))


@needs_numba_cuda
def test_a_sparse_matrix_of_pytorch():
    torch = pytest.importorskip("torch")
    from symhess.api.device import device_matrix

    indptr, indices = np.array([0, 2, 3, 5], np.int32), np.array([0, 2, 1, 0, 2], np.int32)
    layout = CsrLayout(3, indptr, indices, None)
    values = torch.arange(1.0, 6.0, dtype=torch.float64)
    made = device_matrix(layout, values)
    assert made.values().data_ptr() == values.data_ptr()
    assert np.array_equal(made.to_dense().numpy(), [[1, 0, 2], [0, 3, 0], [4, 0, 5]])
    assert device_matrix(layout, 2 * values).crow_indices().data_ptr() == made.crow_indices().data_ptr()


@needs_numba_cuda
def test_what_is_asked_of_cupy():
    """With arrays at made-up addresses: nothing looks at their elements."""
    cupy = pytest.importorskip("cupy")
    from symhess.cuda.arrays import CupyArrays, library_of

    def array(shape, strides=None):
        memory = cupy.cuda.UnownedMemory(1 << 20, 1 << 10, None, 0)
        return cupy.ndarray(shape, np.float64, cupy.cuda.MemoryPointer(memory, 0), strides)

    library = library_of(cupy.ndarray)
    assert isinstance(library, CupyArrays)
    for x in (array((2, 3)), array(())):
        assert library.adopted(x) is x and library.facts(x) == (x.shape, np.dtype(float), 1 << 20, 0)
    assert library.takes_results(array((2, 3))) and not library.takes_results(array((2, 3), (8, 16)))
    assert library.facts(library.row(array((2, 3)), 1)) == ((3,), np.dtype(float), (1 << 20) + 24, 0)
    assert (cupy.cuda.Stream.null.ptr, cupy.cuda.Stream.ptds.ptr) == (0, 2)
