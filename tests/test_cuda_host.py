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

import pytest

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
