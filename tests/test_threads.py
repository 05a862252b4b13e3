"""Kernels that several threads run at once: right with any number of threads, from any thread, after any accident."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from oracles import assert_close
from problems import PROBLEMS

from symhess import hessian_jit
from symhess.backends import processors, threads
from symhess.backends.cpu import compile_program
from symhess.backends.interpreter import run_program
from symhess.graph.maps import affine_map
from symhess.graph.node import input_node
from symhess.plan import threads as plan_threads
from symhess.plan.options import Options
from symhess.plan.program import Buffer, Program, Write, whole
from symhess.primitives import apply, matmul, reduce_with, sum_over, transpose

RNG = np.random.default_rng(7)


@pytest.fixture(params=[2, 3])
def crew(request, monkeypatch):
    """As many threads, and loops of any length are shared."""
    monkeypatch.setattr(processors, "thread_count", lambda: request.param)
    monkeypatch.setattr(plan_threads, "LEAST_KERNEL", 0.0)
    monkeypatch.setattr(plan_threads, "LEAST_LOOP", 0.0)
    monkeypatch.setattr(plan_threads, "LEAST_ITERATIONS", 2)
    monkeypatch.setattr(plan_threads, "PIECE", 1e-9)
    return request.param


def run_shared(program, arrays):
    """The kernel for several threads against the interpreter, several times over."""
    kernel = compile_program(program, Options(parallel=True))
    assert "claim(" in kernel.source
    expected = run_program(program, arrays)
    for _ in range(5):
        outputs = [np.full(b.shape, 77, b.dtype) for b in program.outputs]
        kernel.entry(*arrays, *outputs)
        for got, true in zip(outputs, expected):
            np.testing.assert_allclose(got, true, rtol=1e-5 if got.dtype == np.float32 else 1e-12)
    return kernel


def program_of(inputs, *values):
    return Program(tuple(inputs), tuple(whole(v) for v in values))


def test_sums_and_movements(crew):
    x = input_node("x", (300, 50))
    value = apply("exp", apply("mul", x, x))
    kernel = run_shared(program_of([x], value, sum_over(value, [1]), sum_over(value, [0, 1]), sum_over(value, [0]),
                                   transpose(value, (1, 0))), [RNG.random((300, 50))])
    assert "parallel loop nest" in str(kernel.plan)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_whole_reductions(crew, dtype):
    x = input_node("x", (1001,), dtype)
    total, most = sum_over(x, [0]), reduce_with("max", x, [0])
    scaled = apply("mul", x, apply("add", total, most))
    run_shared(program_of([x], total, most, scaled, sum_over(scaled, [0])), [(100 * RNG.random(1001)).astype(dtype)])


def test_one_loop_reads_what_another_wrote_elsewhere(crew):
    x = input_node("x", (64, 64))
    y = apply("sin", x)
    run_shared(program_of([x], matmul(transpose(y, (1, 0)), y), sum_over(matmul(y, y), [0])), [RNG.random((64, 64))])


def test_writes_that_collide_are_one_threads_work(crew):
    x = input_node("x", (200,))
    twice = [Write(x, affine_map((200,), k, {0: 1}), True) for k in (0, 1)]
    same = Write(apply("exp", x), affine_map((200,), 3, {}), True)
    program = Program((x,), (Buffer((201,), np.dtype(float), (*twice, same), zero=True), whole(apply("exp", x))))
    kernel = run_shared(program, [RNG.random(200)])
    assert "if thread == 0" in kernel.source


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_pieces_add_to_copies_of_small_arrays(crew, dtype):
    x = input_node("x", (800, 500), dtype)
    twice = apply("mul", x, x)
    kernel = run_shared(program_of([x], sum_over(twice, [0]), sum_over(twice, [1]), twice),
                        [(100 * RNG.random((800, 500))).astype(dtype)])
    assert "_p = at(copies" in kernel.source


def test_short_outer_loops_are_not_what_is_cut(crew, monkeypatch):
    monkeypatch.setattr(plan_threads, "LEAST_ITERATIONS", 16)
    x = input_node("x", (3, 500))
    kernel = run_shared(program_of([x], apply("exp", x)), [RNG.random((3, 500))])
    assert "range(first(500, p0" in kernel.source and "range(3)" in kernel.source


@pytest.mark.parametrize("name", ["chained_rosenbrock", "broyden_tridiagonal", "trigonometric_pairs",
                                  "bundle_adjustment", "untaken_branches", "softmax_regression", "optimal_control"])
def test_problems(crew, name):
    p = PROBLEMS[name]
    alone, shared = (hessian_jit(p.fn, argnums=p.argnums, parallel=parallel) for parallel in (False, True))
    for a, b in zip(tree(alone(*p.args)), tree(shared(*p.args)), strict=True):
        assert_close(b, a, 1e-10)


def tree(x):
    return [v for part in x for v in tree(part)] if isinstance(x, tuple | list) else [
        v for k in sorted(x) for v in tree(x[k])] if isinstance(x, dict) else [np.asarray(x)]


def test_batches_and_sparse_results(crew):
    f = hessian_jit(lambda x: np.sum(np.exp(x[1:] * x[:-1])), parallel=True)
    g = hessian_jit(lambda x: np.sum(np.exp(x[1:] * x[:-1])))
    x = RNG.random((40, 30))
    np.testing.assert_allclose(f.batch(x), g.batch(x), rtol=1e-13)
    np.testing.assert_allclose(f.sparse(x[0]).toarray(), g.sparse(x[0]).toarray(), rtol=1e-13)


def test_rows_of_staged_stores_belong_to_each_thread(crew):
    n = 3000
    f = lambda u: np.sum(np.sqrt(1 + (u[1:] - u[:-1]) ** 2) * np.exp(u[1:] * u[:-1]))
    x = RNG.random(n)
    np.testing.assert_allclose(hessian_jit(f, parallel=True).sparse(x).data, hessian_jit(f).sparse(x).data, rtol=1e-13)


def test_small_problems_are_left_to_one_thread(monkeypatch):
    monkeypatch.setattr(processors, "thread_count", lambda: 2)
    f = hessian_jit(lambda x: np.sum(np.exp(x[1:] * x[:-1])), parallel=True)
    assert "claim(" not in f.source(np.ones(500), product="csr")
    assert "claim(" in f.source(np.ones(1_000_000), product="csr")


def test_workspaces_are_kept_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(threads, "MOST_KEPT", 1000)
    team = threads.Team()
    kept = team.workspace(800)
    assert team.workspace(500) is kept and team.workspace(2000).size == 2000 and team.workspace(800) is kept


def test_calls_from_several_threads_at_once(crew):
    functions = [hessian_jit(lambda x, k=k: np.sum(np.exp(k * x[1:] * x[:-1])), parallel=True) for k in (1, 2)]
    x = RNG.random(2000)
    expected = [f.sparse(x).data for f in functions]

    def call(k):
        np.testing.assert_array_equal(functions[k % 2].sparse(x).data, expected[k % 2])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(200)))


@numba.njit(nogil=True)
def first_half(thread, meeting, seen):
    """Two stages of 1000 pieces; each counts the pieces that it gets, the second one those of the first, too."""
    for stage in range(2):
        if thread == 0:
            begin(meeting, stage)
        else:
            join(meeting, stage)
        while True:
            p = claim(meeting, stage)
            if p >= 1000:
                break
            seen[stage, p] += 1 if stage == 0 else 1 + seen[0, 999 - p]
            finish(meeting, stage)
        if thread == 0:
            complete(meeting, stage, 1000)


begin, join, claim, finish, complete = (threads.NAMES[n] for n in ("begin", "join", "claim", "finish", "complete"))


def meeting_of(stages):
    threads.link()
    return np.zeros(2 * threads.LINE * (stages + 1), np.int64)


def test_every_piece_is_done_once_and_stages_follow_each_other():
    team = threads.Team()
    for _ in range(50):
        meeting, seen = meeting_of(2), np.zeros((2, 1000), np.int64)
        team.run(lambda thread, m=meeting, s=seen: first_half(thread, m, s), 4, meeting)
        assert (seen[0] == 1).all() and (seen[1] == 2).all()


def test_an_interruption_leaves_nobody_waiting():
    team, meeting, left = threads.Team(), meeting_of(1), threading.Event()

    @numba.njit(nogil=True)
    def wait(meeting):
        join(meeting, 0)

    def job(thread):
        if thread == 0:
            time.sleep(0.1)
            raise KeyboardInterrupt
        wait(meeting)
        left.set()

    with pytest.raises(KeyboardInterrupt):
        team.run(job, 2, meeting)
    assert left.wait(10)
    done = []
    team.run(done.append, 2, meeting_of(1))
    assert 0 in done


def test_who_comes_late_leaves_at_once():
    call = threads.Call(lambda thread: pytest.fail("the call is over"))
    call.close()
    call.help(1)


@pytest.mark.skipif(not hasattr(sys, "getswitchinterval") or sys.platform == "win32", reason="processes are forked")
def test_a_forked_process_has_threads_of_its_own():
    script = ("import os, numpy as np\nfrom symhess.backends import processors\n"
              "processors.thread_count = lambda: 2\nfrom symhess import hessian_jit\n"
              "f = hessian_jit(lambda x: np.sum(np.exp(x[1:] * x[:-1])), parallel=True)\nx = np.ones(300_000)\n"
              "expected = f.sparse(x).data\nassert 'claim(' in f.source(x, product='csr')\npid = os.fork()\n"
              "if not pid:\n    os._exit(not np.array_equal(f.sparse(x).data, expected))\n"
              "print(os.waitpid(pid, 0)[1])\n")
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100)
    assert found.stdout.strip() == "0"
