"""Bands of nests, line by line: the same bits as one nest after the other, with blocks of temporaries only."""

from __future__ import annotations

import numpy as np
import pytest

from symhess import hessian_jit
from symhess.backends import processors
from symhess.backends.cpu import compile_program
from symhess.backends.interpreter import run_program
from symhess.graph.maps import affine_map
from symhess.graph.node import input_node
from symhess.plan import schedule, tiling
from symhess.plan import threads as plan_threads
from symhess.plan.options import Options
from symhess.plan.program import Buffer, Program, Write, whole
from symhess.plan.steps import LoopNest
from symhess.primitives import apply, matmul, slice_axis

RNG = np.random.default_rng(5)


@pytest.fixture(params=[1, 1200])
def short(request, monkeypatch):
    """Bands of small arrays, with few lines in a block."""
    monkeypatch.setattr(tiling, "SMALL", 0)
    monkeypatch.setattr(tiling, "BLOCK", request.param)
    monkeypatch.setattr(tiling, "AGAIN", 100)


def costly(x):
    """Correctly rounded, and worth keeping."""
    return apply("div", apply("sqrt", apply("add", x, apply("mul", x, x))), apply("sub", x, apply("sqrt", x)))


def shifted(x, *by):
    """Elements [by: by + n - 2] along each axis."""
    for axis, b in enumerate(by):
        x = slice_axis(x, axis, b, 1, x.shape[axis] - 2)
    return x


def stencil(t):
    """What several places of t say together."""
    parts = [shifted(t, a, *(b,) * (t.ndim - 1)) for a, b in ((0, 1), (1, 0), (2, 2), (1, 1))]
    total = parts[0]
    for p in parts[1:]:
        total = apply("sub", apply("mul", total, p), p)
    return total


def program_of(x, *values):
    return Program((x,), tuple(map(whole, values)))


def run(program, arrays, **options):
    kernel = compile_program(program, Options(**options))
    outputs = [np.full(b.shape, 77, b.dtype) for b in program.outputs]
    kernel.entry(*arrays, *outputs)
    return kernel, outputs


def both_ways(program, arrays, monkeypatch, **options):
    """The plan in bands, after its results were held against those of one nest after the other, bit by bit."""
    found = [run(program, arrays, **options)]
    monkeypatch.setattr(schedule, "tile", lambda plan, calls: None)
    found.append(run(program, arrays, **options))
    for one, other in zip(found[0][1], found[1][1]):
        assert one.tobytes() == other.tobytes()
    for got, true in zip(found[0][1], run_program(program, arrays)):
        np.testing.assert_allclose(got, true, rtol=1e-5 if got.dtype == np.float32 else 1e-13)
    assert found[1][0].plan.temporaries
    return found[0][0]


@pytest.mark.parametrize("shape", [(19, 30), (100, 5), (61, 64), (23, 6, 7)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_reader_and_its_maker(short, shape, dtype, monkeypatch):
    x = input_node("x", shape, dtype)
    kernel = both_ways(program_of(x, stencil(costly(x))), [RNG.random(shape).astype(dtype)], monkeypatch)
    maker, reader = (s for s in kernel.plan.steps if isinstance(s, LoopNest))
    assert maker.lines == reader.lines > 0 and reader.makers == [maker]
    assert not kernel.plan.temporaries and "lines at a time" in str(kernel.plan)
    (block,) = kernel.plan.rows
    assert block.shape == ((reader.lines + 2) * np.prod(shape[1:]),)


def test_makers_of_makers_run_more_lines(short, monkeypatch):
    x = input_node("x", (37, 21))
    program = program_of(x, stencil(costly(stencil(costly(x)))))
    kernel = both_ways(program, [RNG.random((37, 21))], monkeypatch)
    nests = [s for s in kernel.plan.steps if isinstance(s, LoopNest)]
    assert len(nests) == 3 and len(nests[-1].makers) == 2 and not kernel.plan.temporaries
    first, second = kernel.plan.rows
    lines = nests[-1].lines
    assert sorted((first.shape[0] // 21, second.shape[0] // 19)) == [lines + 2, lines + 4]


def test_what_others_read_stays_whole(short, monkeypatch):
    """A product of matrices, and a nest that goes along the other axis."""
    x = input_node("x", (40, 40))
    t = costly(x)
    kernel = both_ways(program_of(x, stencil(t), matmul(t, t)), [RNG.random((40, 40))], monkeypatch)
    assert not any(getattr(s, "lines", 0) for s in kernel.plan.steps)


def test_threads_share_blocks(short, monkeypatch):
    monkeypatch.setattr(processors, "thread_count", lambda: 2)
    for name in ("LEAST_KERNEL", "LEAST_LOOP"):
        monkeypatch.setattr(plan_threads, name, 0.0)
    x = input_node("x", (200, 24))
    kernel = both_ways(program_of(x, stencil(costly(x))), [RNG.random((200, 24))], monkeypatch, parallel=True)
    assert "claim(" in kernel.source
    assert kernel.plan.steps[-1].parallel == (kernel.plan.steps[-1].loops[0].parent.size >= 16)


@pytest.mark.parametrize("first", [0, 1, 60])
def test_products_of_matrices_take_part_by_rows(short, first):
    """Two products of one temporary; one is assigned, the other one is added to elements of the same rows, or of the
    next ones, which then have to be assigned before."""
    m, k, n, h = 90, 50, 60, 30
    x, u, v = input_node("x", (m, k)), input_node("u", (k, n)), input_node("v", (k, h))
    t, rows = costly(x), m if first < n else m - 1
    assigned = Write(apply("sqrt", apply("abs", matmul(t, u))), affine_map((m, n), 0, {0: n, 1: 1}))
    product = slice_axis(matmul(t, v), 0, 0, 1, rows)
    added = Write(apply("neg", product), affine_map((rows, h), first, {0: n, 1: 2}), accumulate=True)
    program = Program((x, u, v), (Buffer((m, n), np.dtype(float), (assigned, added)),))
    arrays = [RNG.random(i.shape) for i in (x, u, v)]
    kernel, (out,) = run(program, arrays)
    np.testing.assert_allclose(out, run_program(program, arrays)[0], rtol=1e-12)
    found = [type(s).__name__ for s in kernel.plan.steps if getattr(s, "lines", 0)]
    together = ["LoopNest", "LibraryCall", "LibraryCall", "LoopNest", "LoopNest"]
    assert (found == together) == (first < n) and bool(kernel.plan.temporaries) == (first >= n)


def test_what_is_added_between_keeps_two_results_apart(short):
    """Results that are added to before the last reader runs are not assigned together with it."""
    x, w = input_node("x", (90, 6)), input_node("w", (90,))
    t = costly(x)
    assigned = Write(apply("neg", shifted(t, 1, 0)), affine_map((88, 4), 0, {0: 4, 1: 1}))
    added = Write(apply("mul", w, w), affine_map((90,), 0, {0: 3}), accumulate=True)
    program = Program((x, w), (Buffer((88, 4), np.dtype(float), (assigned, added)), whole(stencil(t))))
    arrays = [RNG.random((90, 6)), RNG.random(90)]
    _, found = run(program, arrays)
    for got, true in zip(found, run_program(program, arrays)):
        np.testing.assert_allclose(got, true, rtol=1e-13)


def test_results_that_read_the_same_go_together(short, monkeypatch):
    x = input_node("x", (40, 30))
    t = costly(x)
    kernel = both_ways(program_of(x, shifted(t, 2, 2), stencil(t)), [RNG.random((40, 30))], monkeypatch)
    assert not kernel.plan.temporaries


def area(z):
    dx, dy = z[1:, :-1] - z[:-1, :-1], z[:-1, 1:] - z[:-1, :-1]
    return np.sum(np.sqrt(1 + dx**2 + dy**2))


def chain(u):
    return np.sum(np.sqrt(1 + (u[1:] - u[:-1]) ** 2) * np.exp(u[1:] * u[:-1]))


def folded(z):
    return np.sum(np.exp((z[1:, :-1] - z[:-1, :-1]) * z[:-1, 1:]) * np.tanh(z[1:, 1:]))


CASES = [(area, (150, 140)), (folded, (120, 130)), (chain, (4001,)), (chain, (1537,))]


@pytest.mark.parametrize(("f", "shape"), CASES)
def test_small_nests_compute_again_what_is_no_longer_whole(f, shape, monkeypatch):
    """At the ends and edges of a box other nests read the same temporaries: they get the same bits by themselves."""
    monkeypatch.setattr(tiling, "SMALL", 0)
    monkeypatch.setattr(schedule, "AGAIN", 4)
    z = RNG.random(shape)
    found = hessian_jit(f).sparse(z)
    report = hessian_jit(f, sparse=True).explain(z)
    assert "0 temporaries" in report and "lines at a time" in report
    monkeypatch.setattr(schedule, "tile", lambda plan, calls: None)
    monkeypatch.setattr(schedule, "AGAIN", np.inf)
    g = hessian_jit(lambda z: f(z))
    expected = g.sparse(z)
    assert "0 temporaries" not in hessian_jit(f, sparse=True).explain(z)
    assert np.array_equal(found.data, expected.data) and np.array_equal(found.indices, expected.indices)
    assert (found != found.T).nnz == 0


def test_small_nests_read_what_is_no_elementwise_value(monkeypatch):
    """A value below which something is summed up where it is read could come out differently."""
    monkeypatch.setattr(tiling, "SMALL", 0)
    z = RNG.random((150, 140, 3))
    f = hessian_jit(lambda z: np.sum(np.sqrt(1 + (np.sum(z[1:] * z[:-1], axis=2)) ** 2)), sparse=True)
    assert (f(z) != f(z).T).nnz == 0
    assert "lines at a time" not in f.explain(z)
