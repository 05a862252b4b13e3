"""The benchmarks of a GPU at tiny sizes: symhess in Numba's simulator, other libraries on the CPU."""

import importlib.util
import json
import os
import subprocess
import sys
import time

import emulated_driver
import pytest

from examples.benchmarks import report, runner
from examples.benchmarks.cuda import failed
from examples.benchmarks.roster import ON_DEVICE, PEERS, installed, libraries, peers_of, reference_of
from examples.benchmarks.runner import ROOT, Limits, Settings, run_all, run_peer
from examples.benchmarks.workloads import WORKLOADS

INSTALLED = importlib.util.find_spec("numba_cuda") is not None
needs_numba_cuda = pytest.mark.skipif(not INSTALLED, reason="numba-cuda is not installed")
SIMULATED = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}


def tables(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


@needs_numba_cuda
def test_everything_into_a_folder(tmp_path):
    """The one command that a machine with a GPU is for: what it writes, and that its parts keep to their limits."""
    command = [sys.executable, "-m", "examples.benchmarks.cuda", "--out", tmp_path, "--tiny", "--repeat", "1",
               "--device", "cpu", "--workloads", "rosenbrock_rows", "minimal_surface", "--peers", "symhess-cuda",
               "jax-cuda", "--select", "tests/test_tiny.py", "--processes", "1"]
    done = subprocess.run(command, cwd=ROOT, env=SIMULATED, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["benchmarks.json", "benchmarks.md", "device.txt", "tests.txt"]
    assert (tmp_path / "device.txt").read_text().startswith("Numba's simulator; driver none; python 3")
    found = json.loads((tmp_path / "benchmarks.json").read_text())
    assert [(r["workload"], r["peer"]) for r in found["records"]] == [
        (name, peer) for name in ("rosenbrock_rows", "minimal_surface") for peer in peers_of(name, ["symhess-cuda",
                                                                                                    "jax-cuda"])]
    ours = [r for r in found["records"] if r["peer"] == "symhess-cuda"]
    for record in ours:
        assert min(record[k] for k in ("first_seconds", "seconds", "write_seconds", "output_bytes")) > 0
        if installed("jax-cuda"):
            assert record["difference"] < 1e-14 and record["against"].startswith("jax-cuda")
    for machine in (found["machine"], found["machine at the end"]):
        assert machine["write_gigabytes_per_second"] > 0
    table = tables((tmp_path / "benchmarks.md").read_text())
    assert table[0] == list(report.ON_DEVICE) and len(table) == 2 + len(found["records"])
    assert "5 passed" in (tmp_path / "tests.txt").read_text()


@needs_numba_cuda
@pytest.mark.skipif(not emulated_driver.can_run(), reason="there is no gcc")
@pytest.mark.skipif(importlib.util.find_spec("nvidia") is None, reason="NVVM is not installed")
def test_on_the_emulated_driver(tmp_path):
    """What the simulator has not: numba-cuda's own host code, and memory that is counted."""
    (tmp_path / "sitecustomize.py").write_text("import emulated_driver; emulated_driver.install()")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-m", "examples.benchmarks.cuda", "--out", tmp_path / "out", "--tiny", "--repeat", "1",
               "--workloads", "rosenbrock_rows", "rosenbrock_1e7", "--peers", "symhess-cuda", "--tests", "0"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out" / "benchmarks.json").read_text())
    assert found["machine"]["device"].startswith("PTX interpreter, compute capability 8.0")
    assert found["machine"]["driver"].startswith("CUDA ")
    for record in found["records"]:
        assert record["seconds"] > 0 and record["device_bytes"] > record["output_bytes"] > 0


@needs_numba_cuda
def test_no_device_is_told():
    """Without a GPU, or a simulator of one, the command says what is missing."""
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    command = [sys.executable, "-m", "examples.benchmarks", "--target", "cuda", "--tiny", "--peers", "symhess-cuda"]
    done = subprocess.run(command, cwd=ROOT, env={**environment, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 1 and done.stdout.startswith("No device: ")


def test_rows_share_the_time_that_is_left(monkeypatch):
    """What one row leaves goes to the rest; nothing is started where there is no time."""
    given = []
    monkeypatch.setattr(runner, "compile_bytecode", lambda: None)
    monkeypatch.setattr(runner, "run_workload", lambda name, peers, settings: given.append(settings.left) or [])
    list(run_all(dict.fromkeys("abcd", ()), Settings().until(time.monotonic() + 100)))
    assert [round(seconds) for seconds in given] == [25, 33, 50, 100]
    late = run_peer("mlp", "floor", Settings(limits=Limits(seconds=50)).until(time.monotonic() + 1), ROOT)
    assert late["error"] == "no time left"


def test_peers_of_a_gpu():
    assert libraries(on_device=True) == ("symhess-cuda", "jax-cuda", "torch-cuda")
    assert not any("cuda" in name for name in libraries())
    assert peers_of("bundle_adjustment_1e6", libraries(True)) == [
        "symhess-cuda", "jax-cuda-elements", "torch-cuda-elements"]
    assert peers_of("rosenbrock_rows", ["jax", "torch"]) == ["jax"] and peers_of("rosenbrock_rows", ["jax-cuda"]) == [
        "jax-cuda"]
    for name in ON_DEVICE:
        assert {peer.split("-")[0] for peer in peers_of(name, libraries(True))} == {"symhess", "jax", "torch"}
    for name in WORKLOADS:
        assert not any(PEERS[peer].on_device for peer in reference_of(name))


def test_the_table_of_a_gpu():
    machine = {"write_gigabytes_per_second": 1000.0, "device": "a GPU, 80 GB", "driver": "CUDA 13.0",
               "libraries": {"numpy": "2.4"}}
    common = {"workload": "minimal_surface_4096", "machine": machine, "import_seconds": 0.5, "first_seconds": 2.0,
              "extrapolation": 1.0, "rounds": 7, "output_bytes": 10**9, "peak_bytes": 2 * 10**9, "difference": 1e-15,
              "against": "jax-cuda"}
    ours = common | {"peer": "symhess-cuda", "seconds": 1.5e-3, "device_bytes": 3 * 10**9}
    theirs = common | {"peer": "jax-cuda-colours", "seconds": 6e-3, "device_bytes": None, "stopped": "over 100 s"}
    out = {"workload": "minimal_surface_4096", "peer": "torch-cuda-colours", "error": "OutOfMemoryError: 80 | 90"}
    lines = tables(report.device_markdown([[ours, theirs, out]]))[2:]
    assert lines[0][1:] == ["symhess-cuda", "unchanged", "500 ms", "2 s", "1.5 ms", "1", "1 ms", "1.5", "1,000 MB",
                            "3,000 MB", "2,000 MB", "1.0e-15 from jax-cuda"]
    assert lines[1][5:7] == ["6 ms; over 100 s", "4"] and lines[1][10] == ""
    assert lines[2][3] == "OutOfMemoryError: 80 / 90" and len(lines[2]) == len(report.ON_DEVICE)
    assert report.device_text(machine) == ("a GPU, 80 GB; driver CUDA 13.0; numpy 2.4. A kernel writes 1,000 GB/s.\n")
    assert failed(out) and failed(ours | {"difference": 0.1}) and not failed(ours)
