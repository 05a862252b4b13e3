"""Matrices with empty blocks: cleared and mirrored tile by tile, right wherever blocks begin and end."""

from __future__ import annotations

import numpy as np
import pytest

from symhess import hessian_jit
from symhess.backends import plain, processors
from symhess.backends.cpu import compile_program
from symhess.graph.maps import affine_map
from symhess.graph.node import input_node
from symhess.plan import threads as plan_threads
from symhess.plan.options import Options
from symhess.plan.program import Buffer, Program, Write
from symhess.plan.tiles import EMPTY, MIXED, TILE, WHOLE, tile_states

RNG = np.random.default_rng(3)


def block(rows, columns, at, n, triangle, accumulate=False):
    """A write of an input into a block of the lower triangle, or of its transpose into the upper one."""
    x = input_node(f"x{at}", (rows, columns))
    strides = {0: n, 1: 1} if triangle == "lower" else {0: 1, 1: n}
    i, j = at
    return x, Write(x, affine_map((rows, columns), i * strides[0] + j * strides[1], strides), accumulate)


def matrix(n, triangle):
    """A block below the diagonal, overlapped by one that is added, and a line of the diagonal."""
    blocks = [block(n // 2, n // 3, (n // 2, 5), n, triangle), block(3, n // 2, (n - 3, 0), n, triangle, True)]
    d = input_node("d", (n,))
    writes = [w for _, w in blocks] + [Write(d, affine_map((n,), 0, {0: n + 1}))]
    return Program((*(x for x, _ in blocks), d), (Buffer((n, n), np.dtype(float), tuple(writes), True, triangle),))


def expected(n, arrays):
    out = np.zeros((n, n))
    out[n // 2:n // 2 * 2, 5:5 + n // 3] = arrays[0]
    out[n - 3:, :n // 2] += arrays[1]
    out += np.diag(arrays[2])
    return np.tril(out) + np.tril(out, -1).T


@pytest.mark.parametrize("n", [512, 513, 520, 577, 640, 703])
@pytest.mark.parametrize("triangle", ["lower", "upper"])
@pytest.mark.parametrize("threads", [1, 2])
def test_everything_is_cleared_or_mirrored(n, triangle, threads, monkeypatch):
    monkeypatch.setattr(processors, "thread_count", lambda: threads)
    for name in ("LEAST_KERNEL", "LEAST_LOOP"):
        monkeypatch.setattr(plan_threads, name, 0.0)
    program = matrix(n, triangle)
    kernel = compile_program(program, Options(parallel=threads > 1))
    assert "mirror_tiles(" in kernel.source and "clear_tiles(" in kernel.source
    assert ("claim(" in kernel.source) == (threads > 1)
    arrays = [RNG.random(x.shape) for x in program.inputs]
    out = np.full((n, n), 77.0)
    kernel.entry(*arrays, out)
    assert np.array_equal(out, expected(n, arrays))


@pytest.mark.parametrize("n", [513, 516, 519, 520])
@pytest.mark.parametrize("triangle", ["lower", "upper"])
def test_tiles_beside_an_empty_one_on_the_diagonal_are_mirrored(n, triangle):
    first = n // TILE * TILE
    x, write = block(n - first, TILE, (first, first - TILE), n, triangle)
    kernel = compile_program(Program((x,), (Buffer((n, n), np.dtype(float), (write,), True, triangle),)), Options())
    assert "mirror_tiles(" in kernel.source
    a, out = RNG.random(x.shape), np.full((n, n), np.nan)
    kernel.entry(a, out)
    expected = np.zeros((n, n))
    expected[first:, first - TILE:first] = a
    assert np.array_equal(out, expected + expected.T)


@pytest.mark.parametrize("triangle", ["lower", "upper"])
def test_what_is_mirrored_stays_as_it_is_meanwhile(triangle, monkeypatch):
    """Other threads read it at any time: squares of theirs may overlap with the last ones of a row."""
    n = 2 * TILE + 5
    c = RNG.random((1, n, n))
    own = (np.tril if triangle == "lower" else np.triu)(np.ones((n, n), bool))
    before, whole = c[0, own], plain._put

    def put(c, at, rows):
        whole(c, at, rows)
        assert np.array_equal(c[0, own], before)

    monkeypatch.setattr(plain, "_put", put)
    plain.mirror_tiles(c, triangle == "upper", np.ones((3, 3), np.int32), 0, 3)
    assert np.array_equal(c[0], c[0].T) and np.array_equal(c[0, own], before)


def test_states_say_what_a_tile_holds():
    n = 8 * TILE + 10
    _, write = block(3 * TILE, TILE + 1, (5 * TILE, TILE), n, "lower")
    states = tile_states(Buffer((n, n), np.dtype(float), (write,), True, "lower"))
    true = np.full((9, 9), EMPTY)
    true[5:8, 1], true[5:8, 2] = WHOLE, MIXED
    assert np.array_equal(states, true)
    _, turned = block(3 * TILE, TILE + 1, (5 * TILE, TILE), n, "upper")
    assert np.array_equal(tile_states(Buffer((n, n), np.dtype(float), (turned,), True, "upper")), true)


def test_small_matrices_and_full_ones_are_treated_as_a_whole():
    _, write = block(4, 4, (100, 0), 200, "lower")
    assert tile_states(Buffer((200, 200), np.dtype(float), (write,), True, "lower")) is None
    n = 9 * TILE
    d = input_node("d", (n - 1, n))
    mixed = Write(d, affine_map((n - 1, n), n, {0: n, 1: 1}), True)
    assert tile_states(Buffer((n, n), np.dtype(float), (mixed,), True, "lower")) is None


def test_a_hessian_of_independent_parts():
    """f = sum of s^4 over parts with the sums s: 12 s^2 within a part, 0 elsewhere."""
    x = RNG.random((5, 130))
    f = hessian_jit(lambda x: np.sum(np.sum(x, axis=1) ** 4))
    out = np.full((650, 650), 77.0)
    f.flat(x, out=out)
    true = np.kron(np.diag(12 * np.sum(x, axis=1) ** 2), np.ones((130, 130)))
    np.testing.assert_allclose(out, true, rtol=1e-13)
    assert "where it is not empty" in f.explain(x)
