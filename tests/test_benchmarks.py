"""The benchmark harness at tiny sizes: its functions, floors, patterns, processes, limits and tables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from oracles import WEIGHTS, assert_close, by_differences
from problem import Problem
from taylor import namespace, taylor

import symhess
from examples.benchmarks import __main__ as command
from examples.benchmarks import control_flow, control_flow_functions, floors, loops, report, scaling
from examples.benchmarks.roster import LARGE, PEERS, Peer, installed, libraries, peers_of, reference_of
from examples.benchmarks.runner import ROOT, Limits, Settings, machine_limits, run_workload
from examples.benchmarks.workloads import WORKLOADS
from symhess import hessian_jit

#: one dense and one sparse workload; the full list runs in the benchmark itself
THROUGH_PROCESSES = ("rosenbrock_10", "rosenbrock_1e5")
SPARSE = [name for name, w in WORKLOADS.items() if w.pattern]
#: peers against symhess in mode "autograd": `python -c COMPARISON peer:workload ...`
COMPARISON = """
import importlib, json, sys
from examples.benchmarks import peers_symhess
from examples.benchmarks.roster import PEERS
from examples.benchmarks.runner import relative_difference
from examples.benchmarks.workloads import WORKLOADS

def twice(evaluate):
    evaluate()
    result = evaluate()
    return evaluate.assembled() if hasattr(evaluate, "assembled") else result

differences = {}
for pair in sys.argv[1:]:
    peer, name = pair.split(":")
    workload = WORKLOADS[name]
    arguments = workload.arguments(*workload.tiny)
    H = twice(peers_symhess.symhess_peer(workload, arguments, mode="autograd"))
    module = importlib.import_module("examples.benchmarks." + PEERS[peer].module)
    differences[pair] = relative_difference(twice(module.make(peer, workload, arguments)), H)
print(json.dumps(differences))
"""
#: what is compared of every library; the suite itself compares all it runs
COMPARED = {
    "asdex": ("minimal_surface",), "autograd": ("planar_arm", "newton_root"),
    "casadi": ("planar_arm", "decay_rows", "mixture", "power_flow"),
    "casadi-c": ("decay_rows", "optimal_control"),
    "casadi-map": ("pendulum_200", "optimal_control", "bundle_adjustment"),
    "heyoka": ("planar_arm", "decay_rows"), "heyoka-elements": ("rosenbrock_1e6", "bundle_adjustment", "residuals"),
    "jax": ("rosenbrock_rows", "mlp_product"), "jax-colours": ("rosenbrock_1e6",), "jax-elements": ("power_flow",),
    "jax-arrays": ("pairs_40",), "jax-loops": ("pendulum_200", "newton_root"),
    "symengine": ("planar_arm", "decay_rows"), "sympy": ("planar_arm", "decay_rows"),
    "sympy-elements": ("minimal_surface", "residuals"),
    "torch": ("planar_arm", "decay_rows", "mlp_product", "gaussian_process"),
    "torch-functional": ("newton_root", "cnn_6x6"),
    # what runs on a GPU, here on the CPU
    "jax-cuda": ("rosenbrock_rows",), "jax-cuda-blocks": ("cnn_12x12",), "jax-cuda-colours": ("minimal_surface_4096",),
    "jax-cuda-elements": ("bundle_adjustment_1e6",), "torch-cuda": ("rosenbrock_rows",),
    "torch-cuda-blocks": ("cnn_12x12",), "torch-cuda-colours": ("rosenbrock_1e7", "minimal_surface_4096"),
    "torch-cuda-elements": ("bundle_adjustment_1e6",),
}
#: `torch.compile` takes half a minute
NOT_COMPARED = {"torch-cuda-compiled", "torch-cuda-compiled-colours"}
LIBRARIES = [name for name in libraries() if name not in ("symhess", "floor")]


def compared(pairs, **environment):
    """The relative difference of each peer:workload from symhess."""
    done = subprocess.run([sys.executable, "-c", COMPARISON, *pairs], cwd=ROOT, capture_output=True, text=True,
                          timeout=300, env={**os.environ, "JAX_ENABLE_X64": "1", **environment}, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tiny(name):
    workload = WORKLOADS[name]
    return workload, workload.arguments(*workload.tiny)


def expected(workload, arguments):
    """The Hessian by differences of the value."""
    problem = Problem(workload.function, arguments, workload.argnums)
    return by_differences(problem, arguments, fn=workload.function)


def as_dense(H):
    return H.toarray() if hasattr(H, "toarray") else H


@pytest.mark.parametrize("name", loops.WORKLOADS)
def test_workloads_of_loops(name):
    """The curvature along a direction, after a few steps, by differences of what the loops give for plain numbers."""
    w = loops.WORKLOADS[name]
    m = SimpleNamespace(np=np, scan=symhess.scan, while_loop=symhess.while_loop, cond=symhess.cond)
    x, u = loops.point(w.size), np.cos(np.arange(w.size))
    made = u @ symhess.hessian_jit(lambda x: w.function(m, x, 5), mode="autograd").hvp(x, u)
    h, x, u = np.longdouble(2e-3), x.astype(np.longdouble), u.astype(np.longdouble)
    values = [w.function(m, x + k * h * u, 5) for k in range(-5, 6)]
    assert_close(made, sum(WEIGHTS[abs(k)] * v for k, v in zip(range(-5, 6), values)) / h**2, 1e-9)


def test_floors_agree_with_symhess():
    """All of them, interpreted."""
    found = compared([f"floor:{name}" for name in PEERS["floor"].workloads], NUMBA_DISABLE_JIT="1")
    assert len(found) == len(WORKLOADS) - 1 - len(LARGE), "bundle adjustment has no floor, nor what is for a GPU"
    for pair, difference in found.items():
        assert difference < (1e-5 if pair == "floor:cnn_12x12" else 1e-12), pair


@pytest.mark.parametrize("library", LIBRARIES)
def test_peers_agree_with_symhess(library):
    ways = [name for name in PEERS if name.split("-")[0] == library and name not in NOT_COMPARED]
    if not installed(library):
        pytest.skip(f"{library} is not installed")
    if library == "casadi" and not (shutil.which("gcc") or shutil.which("cc")):
        ways = ["casadi"]
    for pair, difference in compared([f"{way}:{name}" for way in ways for name in COMPARED[way]]).items():
        assert difference < (1e-6 if "cnn_12x12" in pair else 1e-11), pair


@pytest.mark.parametrize("name", ("lennard_jones", "minimal_surface", "mlp"))
def test_floors_compute_the_hessian(name):
    workload, arguments = tiny(name)
    evaluate = floors.FLOORS[name](workload, arguments)
    evaluate()
    assert_close(as_dense(evaluate()), expected(workload, arguments), 1e-9)


@pytest.mark.parametrize("name", ("bundle_adjustment", "mlp", "lennard_jones", "factorisation"))
def test_symhess_peer_computes_the_hessian(name):
    from examples.benchmarks.peers_symhess import symhess_peer

    workload, arguments = tiny(name)
    evaluate = symhess_peer(workload, arguments, mode="auto" if name == "lennard_jones" else "autograd")
    first, again = evaluate(), evaluate()
    assert again is first, "the buffer is used again"
    assert_close(as_dense(again), expected(workload, arguments), 1e-9)


@pytest.mark.parametrize("name", SPARSE)
def test_patterns_and_colours(name):
    workload, arguments = tiny(name)
    pattern = workload.pattern(*arguments)
    H = expected(workload, arguments)
    n = len(H)
    assert np.max(np.abs(H[~pattern.structure.toarray().astype(bool)])) < 1e-9 * np.max(np.abs(H))
    rows, columns = pattern.rows, pattern.structure.indices
    colour = pattern.colours[columns]
    in_row = np.zeros((n, 1 + colour.max()), int)
    np.add.at(in_row, (rows, colour), 1)
    alone = np.zeros((n, n), bool)
    alone[rows, columns] = in_row[rows, colour] == 1
    assert np.all((alone | alone.T)[rows, columns]), "a product holds neither an entry nor its transpose alone"
    if name in PEERS["jax-colours"].workloads and name != "bundle_adjustment":
        assert np.all(alone[rows, columns]), "the JAX peer picks every entry from its own row"
    assert pattern.structure.shape == (n, n)
    assert np.array_equal(pattern.positions(rows, columns), np.arange(pattern.structure.nnz))


def tables(text):
    """The cells of the tables of a Markdown text."""
    blocks = [block for block in text.split("\n\n") if block.lstrip().startswith("|")]
    return [[line.split("|")[1:-1] for line in block.strip().splitlines()] for block in blocks]


def test_command_line(tmp_path):
    files = tmp_path / "out.json", tmp_path / "out.md"
    command = [sys.executable, "-m", "examples.benchmarks", "--tiny", "--repeat", "1", "--peers", "symhess,floor",
               "--workloads", ",".join(THROUGH_PROCESSES), "--json", files[0], "--markdown", files[1]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(files[0].read_text())
    assert [(r["workload"], r["peer"]) for r in found["records"]] == [
        (w, p) for w in THROUGH_PROCESSES for p in ("symhess", "floor")]
    for record in found["records"]:
        assert record["difference"] < 1e-12
        assert min(record[k] for k in ("import_seconds", "first_seconds", "seconds", "write_seconds")) > 0
        assert record["peak_bytes"] > 10e6
        assert (record["warm_seconds"] > 0) if record["peer"] == "symhess" else "warm_seconds" not in record
    assert found["machine"]["write_gigabytes_per_second"] > 0
    overview, table = tables(files[1].read_text())
    assert [cell.strip() for cell in overview[0]] == list(report.OVERVIEW)
    assert len(overview) == 2 + 2 and all(len(line) == len(report.OVERVIEW) for line in overview)
    assert [cell.strip() for cell in table[0]] == list(report.COLUMNS)
    assert len(table) == 2 + 4
    assert all(len(line) == len(report.COLUMNS) for line in table)


def test_scaling(tmp_path):
    files = tmp_path / "curves.png", tmp_path / "out.json"
    command = [sys.executable, "-m", "examples.benchmarks.scaling", "--largest", "1000", "--workloads",
               "rosenbrock_1e6", "--threaded", "rosenbrock_10", "--plot", files[0], "--json", files[1]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert files[0].read_bytes().startswith(b"\x89PNG")
    found = json.loads(files[1].read_text())
    (point,), (threads,) = found["curves"], found["threads"]
    assert (point["variables"], point["entries"]) == (1000, 2998) and min(threads["one"], threads["two"]) > 0


@pytest.mark.parametrize("name", scaling.SIZES)
def test_sizes_of_scaling(name):
    for n in (10**3, 10**4):
        arguments = WORKLOADS[name].arguments(*scaling.SIZES[name](n))
        assert 0.7 * n < WORKLOADS[name].variables(arguments) < 1.3 * n


def test_limits_stop_a_process():
    settings = Settings(tiny=True, repeat=1, limits=Limits(seconds=0.01))
    (record,) = run_workload("rosenbrock_10", ["floor"], settings)
    assert record["error"] == "over 0.01 s"
    settings = Settings(tiny=True, repeat=1, limits=Limits(gigabytes=1e-3))
    assert machine_limits(settings)["error"] == "over 0.001 GB"


def test_errors_and_extrapolations_are_told_in_the_table():
    failed = {"workload": "mlp", "peer": "symhess", "error": "over 8 GB"}
    good = {"workload": "mlp", "peer": "jax-colours", "import_seconds": 0.25, "first_seconds": 1.5, "seconds": 2e-3,
            "write_seconds": 1e-3, "peak_bytes": 10**8, "extrapolation": 20.0}
    bad_row, good_row = report.rows([failed, good])
    assert bad_row[3] == "over 8 GB"
    assert good_row[6:10] == ("2 ms (extrapolated)", "", "", "100 MB")
    assert len(bad_row) == len(good_row) == len(report.COLUMNS)


def test_the_summary_has_a_line_for_each_pair():
    ours = {"workload": "mlp", "peer": "symhess", "first_seconds": 1.5, "seconds": 2e-3, "peak_bytes": 10**8,
            "difference": 3e-15}
    theirs = {**ours, "peer": "jax", "seconds": 5e-2, "first_seconds": 0.25, "peak_bytes": 2 * 10**8}
    lines = report.summary([[ours, theirs], [ours, {**theirs, "error": "over 8 GB"}]]).splitlines()
    assert len(lines) == 3 and all(line.count("|") == len(report.SUMMARY) + 1 for line in lines)
    assert [c.strip() for c in lines[2].split("|")[2:-1]] == [
        "2 ms", "50 ms", "25.0", "1.5 s", "250 ms", "100 / 200 MB", "3e-15"]


def test_documents_are_filled_between_their_marks():
    text = "a\n<!-- begin t -->\nold\n<!-- end t -->\nb\n"
    assert report.filled(text, {"t": "new\n"}) == "a\n<!-- begin t -->\n\nnew\n\n<!-- end t -->\nb\n"
    document = (ROOT / "docs" / "performance.md").read_text()
    assert all(f"<!-- {mark} {name} -->" in document for mark in ("begin", "end") for name in ("overview", "records"))


def test_the_write_ratio_is_that_of_the_largest_chain():
    records = [{"workload": "rosenbrock_1e6", "peer": "symhess", "output_bytes": 8 * 2_999_998, "seconds": 3e-3,
                "write_seconds": 2e-3}]
    assert "2,999,998 CSR values take 1.50 times" in report.write_ratio_text(records)
    assert report.write_ratio_text([{**records[0], "error": "over 8 GB"}]) == ""


def test_peers_are_chosen_with_their_variants():
    assert peers_of("bundle_adjustment", ["jax", "symhess"]) == ["symhess", "jax-colours", "jax-elements"]
    assert peers_of("bundle_adjustment", ["floor"]) == []
    assert peers_of("minimal_surface", ["floor"]) == reference_of("minimal_surface") == ["floor"]
    assert set().union(*(peer.workloads for peer in PEERS.values())) == set(WORKLOADS)


def test_new_records_take_the_place_of_earlier_ones():
    old = [{"workload": w, "peer": p, "seconds": 1.0} for w in ("mlp", "logistic") for p in ("floor", "symhess")]
    groups = command.merged(old, [{"workload": "mlp", "peer": "symhess", "seconds": 2.0}])
    assert [[(r["workload"], r["peer"], r["seconds"]) for r in group] for group in groups] == [
        [("logistic", "symhess", 1.0), ("logistic", "floor", 1.0)], [("mlp", "symhess", 2.0), ("mlp", "floor", 1.0)]]


def test_the_overview_has_the_floor_the_best_peers_and_the_limit():
    machine = {"write_gigabytes_per_second": 10.0, "dgemm_gigaflops": 50.0}
    common = {"workload": "logistic", "first_seconds": 1.0, "peak_bytes": 10**8, "output_bytes": 720_000,
              "machine": machine, "difference": 1e-15}
    records = [common | {"peer": "symhess", "seconds": 3e-2, "warm_seconds": 0.2},
               common | {"peer": "floor", "seconds": 2.5e-2}, common | {"peer": "jax", "seconds": 6e-2},
               common | {"peer": "jax-colours", "seconds": 4.5e-2},
               common | {"peer": "jax-elements", "seconds": 1e-9, "difference": 0.1}]
    (line,) = tables(report.overview([records]))[0][2:]
    assert [cell.strip() for cell in line[1:]] == ["30 ms", "1.2", "jax-colours 45 ms", "1.5", "jax 60 ms", "2", "1 s",
                                                   "200 ms", "18.1 ms", "1.66", "100 MB", "1e-15"]


def test_a_peer_that_is_not_installed_is_skipped(monkeypatch):
    monkeypatch.setitem(PEERS, "absent", Peer("no_such_library", "peers_jax", ("mlp",)))
    assert not installed("absent")
    (record,) = run_workload("mlp", ["absent"], Settings(tiny=True))
    assert record["error"] == "no_such_library is not installed"


@pytest.mark.parametrize("name", ("trimmed_mean", "monte_carlo"))
def test_functions_with_control_flow(name):
    make, x = getattr(control_flow_functions, name), control_flow.points_of(name, 1)[0]
    exact = taylor(make(namespace()), (x,), (x,), lambda args, new: tuple(new))[2]
    for mode in ("autograd", "native"):
        assert_close(hessian_jit(make(np), mode=mode)(x), exact, 1e-11)


def test_the_table_of_control_flow():
    found = dict.fromkeys(("interpreted", "compiled", "native", "native first"), 2e-3) | {"difference": 1e-15}
    line = control_flow.line("newton_root", found)
    assert len(line) == len(control_flow.COLUMNS)
    assert line[1:5] == ["2 ms", "2 ms", "2 ms", "-"]
