"""The CUDA target on a driver that interprets PTX: numba-cuda's own host code, and the kernels as they are compiled.

The driver takes the place of the machine's when it is loaded, so its checks (cuda_emulated.py) run in a process of
their own. A check fails where a result is wrong, and where the driver found something.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda")
import emulated_driver
from cuda_emulated import CHECKS

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.skipif(not emulated_driver.can_run(), reason="there is no gcc"),
    pytest.mark.skipif(importlib.util.find_spec("nvidia") is None, reason="NVVM is not installed")]


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """What every check said."""
    results = tmp_path_factory.mktemp("emulated") / "results"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    done = subprocess.run([sys.executable, str(HERE / "cuda_emulated.py"), str(results)], env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name: problem for name, problem, _ in map(json.loads, results.read_text().splitlines())}


@pytest.mark.parametrize("name", CHECKS)
def test_on_the_emulated_driver(emulated, name):
    assert not emulated[name], emulated[name]
