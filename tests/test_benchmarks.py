"""The benchmark harness at tiny sizes: its functions, floors, patterns, processes, limits and tables."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from oracles import WEIGHTS, assert_close, by_differences
from problem import Problem
from taylor import namespace, taylor

import symhess
from examples.benchmarks import control_flow, control_flow_functions, floors, loops, report
from examples.benchmarks.runner import ROOT, Limits, Settings, machine_limits, peers_of, run_workload
from examples.benchmarks.workloads import WORKLOADS
from symhess import hessian_jit

#: one dense and one sparse workload; the full list runs in the benchmark itself
THROUGH_PROCESSES = ("rosenbrock_10", "minimal_surface")
WITH_FLOOR = [name for name, w in WORKLOADS.items() if "floor" in w.peers]
SPARSE = [name for name, w in WORKLOADS.items() if w.pattern]


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


@pytest.mark.parametrize("name", WITH_FLOOR)
def test_floors_compute_the_hessian(name):
    workload, arguments = tiny(name)
    evaluate = floors.floor_peer(workload, arguments)
    evaluate()
    assert_close(as_dense(evaluate()), expected(workload, arguments), 1e-9)


@pytest.mark.parametrize("name", ("bundle_adjustment", "mlp", "lennard_jones", "factorisation"))
def test_symhess_peer_computes_the_hessian(name):
    from examples.benchmarks.peers_symhess import symhess_peer

    workload, arguments = tiny(name)
    evaluate = symhess_peer(workload, arguments)
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
    if name != "bundle_adjustment":
        assert np.all(alone[rows, columns]), "the JAX peer picks every entry from its own row"
    assert pattern.structure.shape == (n, n)
    assert np.array_equal(pattern.positions(rows, columns), np.arange(pattern.structure.nnz))


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
    assert found["machine"]["write_gigabytes_per_second"] > 0
    table = [line.split("|")[1:-1] for line in files[1].read_text().splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in table[0]] == list(report.COLUMNS)
    assert len(table) == 2 + 4
    assert all(len(line) == len(report.COLUMNS) for line in table)


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
    assert bad_row[2] == "over 8 GB"
    assert good_row[4:8] == ("2 ms (extrapolated)", "", "", "100 MB")
    assert len(bad_row) == len(good_row) == len(report.COLUMNS)


def test_the_summary_has_a_line_for_each_pair():
    ours = {"workload": "mlp", "peer": "symhess", "first_seconds": 1.5, "seconds": 2e-3, "peak_bytes": 10**8,
            "difference": 3e-15}
    theirs = {**ours, "peer": "jax", "seconds": 5e-2, "first_seconds": 0.25, "peak_bytes": 2 * 10**8}
    lines = report.summary([[ours, theirs], [ours, {**theirs, "error": "over 8 GB"}]]).splitlines()
    assert len(lines) == 3 and all(line.count("|") == len(report.SUMMARY) + 1 for line in lines)
    assert [c.strip() for c in lines[2].split("|")[2:-1]] == [
        "2 ms", "50 ms", "25.0", "1.5 s", "250 ms", "100 / 200 MB", "3e-15"]


def test_the_write_ratio_is_that_of_the_largest_chain():
    records = [{"workload": "rosenbrock_1e6", "peer": "symhess", "entries": 2_999_998, "seconds": 3e-3,
                "write_seconds": 2e-3}]
    assert "2,999,998 CSR values take 1.50 times" in report.write_ratio_text(records)
    assert report.write_ratio_text([{**records[0], "error": "over 8 GB"}]) == ""


def test_peers_are_chosen_with_their_variants():
    assert peers_of("bundle_adjustment", ["jax", "symhess"]) == ["symhess", "jax", "jax-colours"]
    assert peers_of("bundle_adjustment", ["floor"]) == []


def test_jax_gets_the_same_functions():
    pytest.importorskip("jax")
    command = [sys.executable, "-m", "examples.benchmarks", "--tiny", "--repeat", "1", "--peers", "jax,floor",
               "--workloads", "minimal_surface,factorisation"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    differences = [float(line.split("|")[-2].split()[0]) for line in done.stdout.splitlines() if " from " in line]
    assert len(differences) == 4
    assert max(differences) < 1e-12


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
