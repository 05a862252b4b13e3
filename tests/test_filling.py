"""How writes fill a buffer: what assigns, what adds, what is cleared, and how triangles are mirrored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symhess
from symhess.backends.interpreter import run_program
from symhess.backends.numba_cpu import compile_program
from symhess.backends.support_mirror import mirror, mirror_few
from symhess.graph.maps import affine_map, table_map
from symhess.graph.node import input_node
from symhess.plan.filling import filled
from symhess.plan.program import Program, Write, verify_program
from symhess.primitives import apply

FLOAT = np.dtype(float)


def run(buffer, x, values):
    """The buffer by the interpreter and by the kernel, which must agree."""
    program = Program((x,), (buffer,))
    verify_program(program)
    kernel, out = compile_program(program), np.full(buffer.shape, 77.0)
    kernel.entry(values, out)
    np.testing.assert_allclose(out, run_program(program, [values])[0], rtol=1e-13)
    return out, kernel


@pytest.mark.parametrize("n", [*range(40), 63, 64, 65, 70, 127, 128, 136, 200])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_triangles_are_mirrored(n, dtype):
    matrices = np.random.default_rng(n).normal(size=(2, n, n)).astype(dtype)
    expected = np.tril(matrices) + np.tril(matrices, -1).transpose(0, 2, 1)
    few = matrices.copy()
    mirror(matrices)
    mirror_few(few)
    np.testing.assert_array_equal(matrices, expected)
    np.testing.assert_array_equal(few, expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.lists(st.lists(st.integers(0, 35), min_size=1, max_size=20), min_size=1, max_size=5),
       st.booleans())
def test_any_writes_add_up(n, places, mirrored):
    """Against a loop over all elements; in a mirrored buffer, on and below the diagonal."""
    x, expected = input_node("x", (20,)), np.zeros(n * n)
    values = np.random.default_rng(0).normal(size=20)
    writes = []
    for chosen in places:
        at = np.array(chosen) % (n * n)
        writes.append(Write(apply("mul", part_of(x, len(at)), part_of(x, len(at))), table_map(at, at.shape)))
        for e, position in enumerate(at):
            expected[position] += values[e] ** 2
    buffer = filled((n, n), FLOAT, writes, mirrored)
    verify_program(Program((x,), (buffer,)))
    (got,) = run_program(Program((x,), (buffer,)), [values])
    expected = expected.reshape(n, n)
    np.testing.assert_allclose(np.tril(got), np.tril(expected), rtol=1e-13)
    np.testing.assert_allclose(got, np.tril(expected) + np.tril(expected, -1).T if mirrored else expected, rtol=1e-13)


def part_of(x, size):
    from symhess.primitives import index

    return index(x, [affine_map((size,), 0, {0: 1})], (size,))


def test_equal_places_are_one_write():
    x = input_node("x", (50,))
    diagonal = affine_map((50,), 0, {0: 51})
    buffer = filled((50, 50), FLOAT, [Write(apply("sin", x), diagonal), Write(apply("exp", x), diagonal)])
    (write,) = buffer.writes
    assert not write.accumulate
    values = np.linspace(-1, 1, 50)
    np.testing.assert_allclose(run(buffer, x, values)[0], np.diag(np.sin(values) + np.exp(values)), rtol=1e-14)


def test_little_is_cleared_place_by_place():
    """The first twenty places collide, the others are reached once."""
    x = input_node("x", (400,))
    table = np.concatenate([np.arange(20) // 2, np.arange(20, 400)])
    buffer = filled((400,), FLOAT, [Write(apply("exp", part_of(x, 380)), affine_map((380,), 20, {0: 1})),
                                    Write(part_of(x, 20), table_map(table[:20], (20,)))])
    assert not buffer.zero
    values = np.linspace(0, 1, 400)
    out, kernel = run(buffer, x, values)
    np.testing.assert_allclose(out[:10], values[0:20:2] + values[1:20:2])
    np.testing.assert_array_equal(out[10:20], 0)
    assert "fill(" not in kernel.source


def pairs(n):
    """A function of all pairs of n atoms in space, whose blocks meet on the diagonal alone."""
    first, second = np.triu_indices(n, 1)

    def energy(x):
        atoms = x.reshape(-1, 3)
        return np.sum(np.exp(-np.sum((atoms[first] - atoms[second]) ** 2, axis=1)))

    return energy


def test_blocks_of_pairs_are_stored_once():
    """Only the blocks on the diagonal are sums over several pairs, so only they are cleared and added to."""
    n = 30
    x = np.random.default_rng(1).normal(size=3 * n)
    f = symhess.hessian_jit(pairs(n))
    np.testing.assert_allclose(f(x), closed_form(x, n), rtol=1e-11, atol=1e-13)
    assert "fill(" not in f.source(x)


def closed_form(x, n):
    """sum over pairs of e^(-|d|^2) (4 d d' - 2 I), on the diagonal blocks, and its negative on the others."""
    atoms, H = x.reshape(n, 3), np.zeros((n, 3, n, 3))
    for i in range(n):
        for j in range(i):
            d = atoms[i] - atoms[j]
            block = np.exp(-d @ d) * (4 * np.outer(d, d) - 2 * np.eye(3))
            H[i, :, i] += block
            H[j, :, j] += block
            H[i, :, j] -= block
            H[j, :, i] -= block
    return H.reshape(3 * n, 3 * n)


def test_tables_that_differ_by_an_affine_map_are_one():
    x, table = input_node("x", (60,)), np.random.default_rng(2).permutation(60)
    writes = [Write(apply("exp", x), table_map(7 * table + k, (60,))) for k in range(5)]
    program = Program((x,), (filled((60 * 7 + 5,), FLOAT, writes),))
    assert len(compile_program(program).plan.constants) == 1
    values = np.linspace(0, 1, 60)
    out, _ = run(program.outputs[0], x, values)
    np.testing.assert_allclose(out[7 * table + 3], np.exp(values))


def test_runs_of_places_are_stored_from_the_loop_itself():
    """A tridiagonal matrix: the three values of a row lie side by side, which vectorises without a detour."""
    x = np.linspace(-1, 1, 200)
    f = symhess.hessian_jit(lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2))
    H = f.sparse(x).toarray()
    diagonal = np.r_[1200 * x[:-1] ** 2 - 400 * x[1:], 0] + np.r_[0, np.full(199, 200.0)]
    np.testing.assert_allclose(H, np.diag(diagonal) + np.diag(-400 * x[:-1], 1) + np.diag(-400 * x[:-1], -1))
    assert "one_by_one" not in f.source(x, product="sparse")
