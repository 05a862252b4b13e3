"""Sums over pairs: index tables that walk in runs become loops over plain indices, whatever the order of the pairs."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symhess.plan.runs
from symhess import hessian_jit
from symhess.plan.runs import LEAST, SHORTEST, Runs, common_runs

RNG = np.random.default_rng(8)


def energy(x, first, second):
    return np.sum(np.exp(-((x[first] - x[second]) ** 2)))


def energy_loop(x):
    total = 0.0
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            total += np.exp(-((x[i] - x[j]) ** 2))
    return total


def closed_form(x, first, second, weights=1.0):
    """(4 d^2 - 2) exp(-d^2), added on the diagonal and subtracted off it, pair by pair."""
    d = x[first] - x[second]
    h, H = weights * (4 * d**2 - 2) * np.exp(-(d**2)), np.zeros((len(x), len(x)))
    for rows, columns, sign in ((first, first, 1), (second, second, 1), (first, second, -1), (second, first, -1)):
        np.add.at(H, (rows, columns), sign * h)
    return H


def pairs_of(case, n=40):
    first, second = np.triu_indices(n, 1)
    order = RNG.permutation(len(first))
    swapped = RNG.random(len(first)) < 0.5
    near = second - first < 15
    return {
        "rows": (first, second),
        "columns": np.tril_indices(n, -1),
        "backwards": (first[::-1], second[::-1]),
        "both ways": np.nonzero(~np.eye(n, dtype=bool)),
        "with loops": np.nonzero(np.ones((n, n), bool)),
        "band": (first[near], second[near]),
        "every other": np.array([(i, j) for i in range(n) for j in range(i + 1, n, 2)]).T,
        "skipped": (first[order[:200]][np.argsort(order[:200])], second[np.sort(order[:200])]),
        "shuffled": (first[order], second[order]),
        "swapped": (np.where(swapped, first, second), np.where(swapped, second, first)),
        "repeated": (np.repeat(first, 2), np.repeat(second, 2)),
        "twice": (np.tile(first, 2), np.tile(second, 2)),
        "few": (first[:12], second[:12]),
    }[case]


CASES = ["rows", "columns", "backwards", "both ways", "with loops", "band", "every other", "skipped", "shuffled",
         "swapped", "repeated", "twice", "few"]


@pytest.mark.parametrize("case", CASES)
def test_hessians_of_sums_over_pairs(case):
    """Dense, sparse, lower halves of both, and with its gradient, against the closed form."""
    first, second = pairs_of(case)
    x = RNG.uniform(0, 4, 40)
    f = hessian_jit(energy, static_argnums=(1, 2))
    expected = closed_form(x, first, second)
    value, slope, H = f.value_grad_hessian(x, first, second)
    d = x[first] - x[second]
    gradient = np.zeros(40)
    np.add.at(gradient, first, -2 * d * np.exp(-(d**2)))
    np.add.at(gradient, second, 2 * d * np.exp(-(d**2)))
    np.testing.assert_allclose(value, np.exp(-(d**2)).sum(), rtol=1e-13)
    np.testing.assert_allclose(slope, gradient, rtol=1e-12, atol=1e-12)
    for found in (H, f(x, first, second), f.sparse(x, first, second).toarray()):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(f.diagonal(x, first, second), expected.diagonal(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", ["rows", "columns", "band"])
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 2e-4)])
def test_pairs_with_data_of_their_own(case, dtype, tolerance):
    """What belongs to a pair is read in the order of the pairs."""
    first, second = pairs_of(case)
    x, w = RNG.uniform(0, 4, 40).astype(dtype), RNG.uniform(1, 2, len(first)).astype(dtype)
    f = hessian_jit(lambda x, w: np.sum(w * np.exp(-((x[first] - x[second]) ** 2))))
    expected = closed_form(x.astype(float), first, second, w.astype(float))
    np.testing.assert_allclose(f(x, w), expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("case, tables", [("rows", 0), ("columns", 0), ("every other", 1), ("shuffled", 3)])
def test_regular_pairs_need_no_tables(case, tables):
    first, second = pairs_of(case)
    source = hessian_jit(energy, static_argnums=(1, 2)).source(np.ones(40), first, second)
    assert source.count("linked(") == tables


def test_loops_compile_to_the_kernel_of_arrays():
    first, second = pairs_of("rows")
    loop, arrays = hessian_jit(energy_loop), hessian_jit(energy, static_argnums=(1, 2))
    assert loop.source(np.ones(40)) == arrays.source(np.ones(40), first, second)


def test_kernels_of_pairs_do_not_grow():
    """As many lines for 1000 variables as for 100, and no memory but for the sums on the diagonal."""
    sources = [hessian_jit(energy, static_argnums=(1, 2)).source(np.ones(n), *np.triu_indices(n, 1))
               for n in (100, 1000)]
    assert len(sources[0].splitlines()) == len(sources[1].splitlines())
    assert [int(re.search(r"np.empty\((\d+)", s)[1]) <= 9 * n + 128 for s, n in zip(sources, (100, 1000))]


def test_entries_on_the_diagonal_are_summed_in_registers_and_written_once():
    """One addition per run for the first of each pair, one per pair for the second, to sums that lie side by side."""
    source = hessian_jit(energy_loop).source(np.ones(40))
    writes = [line.split("put(")[1] for line in source.splitlines() if "put(out0" in line]
    added = [line for line in source.splitlines() if re.search(r"put\((\w+), (.*), get\(\1, \2\) \+", line)]
    assert len(writes) == 2 and not any("get(out0" in w for w in writes)
    assert len(added) == 2 and source.count("accumulate(") == 1


def atoms(x, first, second):
    p = x.reshape(-1, 3)
    d = p[first] - p[second]
    return np.sum(np.sum(d**2, axis=1) ** -3)


@pytest.mark.parametrize("case", ["rows", "columns", "shuffled"])
def test_blocks_of_pairs_of_points(case):
    """r^-6 has the second derivatives 48 r^-10 d d^T - 6 r^-8 I."""
    first, second = pairs_of(case, 30)
    x = RNG.uniform(0, 9, 90)
    p, H = x.reshape(-1, 3), np.zeros((30, 3, 30, 3))
    for i, j in zip(first, second):
        d = p[i] - p[j]
        block = 48 * np.outer(d, d) / (d @ d) ** 5 - 6 * np.eye(3) / (d @ d) ** 4
        for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            H[a, :, b] += sign * block
    H = H.reshape(90, 90)
    f = hessian_jit(functools.partial(atoms, first=first, second=second))
    for found in (f(x), f.sparse(x).toarray()):
        np.testing.assert_allclose(found, H, rtol=1e-11, atol=1e-11 * np.abs(H).max())
        np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("n", [300, 420])
def test_pairs_shared_by_threads(n):
    first, second = np.triu_indices(n, 1)
    x = np.linspace(0, 30, n)
    found = hessian_jit(lambda x: energy(x, first, second), parallel=True)(x)
    np.testing.assert_allclose(found, closed_form(x, first, second), rtol=1e-11, atol=1e-11)


# -- runs ----------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_runs_say_what_tables_say(data):
    """first(r) + step t is the table, for tables made of runs, and None is said of one that is not."""
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=3, max_size=12))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    tables = [np.concatenate([rng.integers(0, 50) + step * np.arange(k) for k in sizes]) for step in (0, 1, -2)]
    runs = Runs(starts, np.array(sizes))
    for table, step in zip(tables, (0, 1, -2)):
        if max(sizes) > 1:
            first, found = runs.along(table)
            assert found == step
            np.testing.assert_array_equal(np.repeat(first.values(), sizes) + step * places(sizes), table)
    if max(sizes) > 2:
        longest = int(starts[np.argmax(sizes)])
        broken = tables[0].copy()
        broken[longest + 2] += 1
        assert runs.along(broken) is None


def places(sizes):
    return np.concatenate([np.arange(k) for k in sizes])


def test_runs_are_those_of_all_tables():
    first, second = np.triu_indices(30, 1)
    runs = common_runs([first, second])
    np.testing.assert_array_equal(runs.sizes, np.arange(29, 0, -1))
    np.testing.assert_array_equal(runs.starts, np.searchsorted(first, np.arange(29)))
    assert common_runs([]) is None
    assert common_runs([first, RNG.permutation(second)]) is None
    assert common_runs([np.repeat(np.arange(40), SHORTEST - 1)]) is None
    assert common_runs([np.repeat(np.arange(40), SHORTEST)]) is not None
    assert common_runs([np.repeat(np.arange(2), LEAST // 2 - 1)]) is None


def test_sums_for_each_entry_of_a_run(monkeypatch):
    monkeypatch.setattr(symhess.plan.runs, "LEAST", 4)
    monkeypatch.setattr(symhess.plan.runs, "SHORTEST", 2)
    places = np.array([0] * 5 + list(range(18)))

    def f(x):
        differences = np.sin(x)[places][:, None] - np.sin(x)[None, :]
        return np.sum(np.triu(differences, -1) ** 2) + np.mean(differences**3)

    x = np.linspace(0.2, 1.5, 23)
    np.testing.assert_allclose(hessian_jit(f)(x), hessian_jit(f, mode="autograd")(x), rtol=1e-11, atol=1e-11)
