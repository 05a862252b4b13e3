"""Long runs of places are written by squares turned in registers: the same bits as one by one, for every length."""

from __future__ import annotations

import re

import numpy as np
import pytest

from symhess import hessian_jit
from symhess.backends import processors
from symhess.backends.cpu import compile_program
from symhess.backends.interpreter import run_program
from symhess.backends.plain import interleave
from symhess.backends.squares import SQUARE, beyond_squares, interleaved
from symhess.graph.maps import affine_map, constant_map, identity_maps, table_map
from symhess.graph.node import constant, input_node
from symhess.plan import schedule
from symhess.plan import threads as plan_threads
from symhess.plan.options import Options
from symhess.plan.program import Buffer, Program, Write
from symhess.primitives import apply, index, sum_over

RNG = np.random.default_rng(11)


def run(program, arrays, **options):
    kernel = compile_program(program, Options(**options))
    outputs = [np.full(b.shape, 77, b.dtype) for b in program.outputs]
    kernel.entry(*arrays, *outputs)
    return kernel, outputs


def column(x, k):
    """Element k of every row."""
    n = x.shape[0]
    return index(x, (identity_maps((n,))[0], constant_map((n,), k)), (n,))


def run_of(x, width, shift=0):
    """A run of `width` places for every row of x: functions of the row, the same ones twice, and numbers."""
    n, dtype = x.shape[0], x.dtype
    a, b = column(x, 0), column(x, 1)
    number = index(constant(np.full(1, 2.5, dtype)), (constant_map((n,), 0),), (n,))
    values = [apply("mul", a, b), apply("exp", apply("sub", a, b)), number, apply("add", a, b)]
    return [Write(values[j * j % 4], affine_map((n,), shift + j, {0: width})) for j in range(width)]


@pytest.mark.parametrize("n", [23, 24, 25, 63, 64, 1001])
@pytest.mark.parametrize("width", [8, 9, 12, 15, 16, 25])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_same_bits_as_one_by_one(n, width, dtype, monkeypatch):
    x = input_node("x", (n, 2), dtype)
    program = Program((x,), (Buffer((n, width), np.dtype(dtype), tuple(run_of(x, width))),))
    arrays = [RNG.normal(size=(n, 2)).astype(dtype)]
    kernel, (out,) = run(program, arrays)
    assert ("interleave(" in kernel.source) == (n >= 24 and width > 8)
    monkeypatch.setattr(schedule, "interleaved", lambda *_: [])
    plain, (expected,) = run(program, arrays)
    assert "interleave(" not in plain.source
    assert out.tobytes() == expected.tobytes()
    np.testing.assert_allclose(out, run_program(program, arrays)[0], rtol=1e-5 if dtype == np.float32 else 1e-14)


def test_what_is_written_beside_a_run():
    """Short runs stay in the loop, places of a table are stored one by one, sums keep a loop from being repeated."""
    n = 101
    x = input_node("x", (n, 2))
    product = apply("mul", column(x, 0), column(x, 1))
    places = table_map(RNG.permutation(3 * n)[:n], (n,))
    table = Buffer((3 * n,), np.dtype(float), (Write(product, places),), zero=True)
    short = Buffer((n, 2), np.dtype(float), tuple(run_of(x, 2)))
    long = Buffer((n, 11), np.dtype(float), tuple(run_of(x, 11)))
    both = Buffer((2, n, 9), np.dtype(float), (*run_of(x, 9), *run_of(x, 9, 9 * n)))
    total = sum_over(product, [0])
    added = Buffer((), np.dtype(float), (Write(total, constant_map((), 0)),))
    for outputs, runs in (((table, long), 1), ((short, long, table), 1), ((both, short), 2), ((long, added), 1)):
        program, arrays = Program((x,), outputs), [RNG.normal(size=(n, 2))]
        kernel, found = run(program, arrays)
        for got, true in zip(found, run_program(program, arrays)):
            np.testing.assert_allclose(got, true, rtol=1e-13)
        if added not in outputs:
            assert kernel.source.count("interleave(") == runs
    assert len(re.findall(r"accumulate\(", kernel.source)) == 1


def test_threads_write_the_same_bits(monkeypatch):
    monkeypatch.setattr(processors, "thread_count", lambda: 2)
    for name in ("LEAST_KERNEL", "LEAST_LOOP"):
        monkeypatch.setattr(plan_threads, name, 0.0)
    n = 1003
    x = input_node("x", (n, 2))
    program = Program((x,), (Buffer((n, 19), np.dtype(float), tuple(run_of(x, 19))),))
    arrays = [RNG.normal(size=(n, 2))]
    shared, (out,) = run(program, arrays, parallel=True)
    assert "claim(" in shared.source and "interleave(" in shared.source
    assert out.tobytes() == run(program, arrays)[1][0].tobytes()


def test_a_batch_of_small_matrices_is_stored_by_vectors():
    f = hessian_jit(lambda x: np.sum(np.exp(x[1:] * x[:-1])))
    points = RNG.normal(size=(67, 4))
    np.testing.assert_allclose(f.batch(points), [f(x) for x in points], rtol=1e-13)


@pytest.mark.parametrize("count", [9, 11, 12, 16, 20, 31])
def test_squares_reach_every_place_of_a_run(count):
    """Each element is stored, most once; and what `interleave` says in Python is that."""
    rows = [np.arange(SQUARE) + 100 * j for j in range(count)]
    shuffle = lambda a, b, lanes: np.concatenate([a, b])[lanes]
    out = np.full((SQUARE, count), -1)
    for p, j, vector in interleaved(shuffle, rows):
        out[p, j:j + SQUARE] = vector
    for j in beyond_squares(count):
        out[:, j] = rows[j]
    assert np.array_equal(out, np.stack(rows, axis=1))
    said = np.full(SQUARE * count + 3, -1)
    interleave(said, 3, rows)
    assert np.array_equal(said[3:], out.ravel()) and (said[:3] == -1).all()
