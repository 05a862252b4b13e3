"""How writes fill a buffer: what assigns, what adds, what is cleared, and how triangles are mirrored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symhess
from symhess.backends.cpu import compile_program
from symhess.backends.interpreter import run_program
from symhess.backends.plain import mirror, mirror_few, mirror_upper, mirror_upper_few
from symhess.graph.maps import affine_map, table_map
from symhess.graph.node import input_node
from symhess.plan.filling import element_by_element, filled
from symhess.plan.program import Program, Write, verify_program
from symhess.primitives import apply, index
from symhess.structure.hessian import HessianTerm, lower_half
from symhess.structure.term import Term

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
    given = np.random.default_rng(n).normal(size=(2, n, n)).astype(dtype)
    for part, copies in ((np.tril, (mirror, mirror_few)), (np.triu, (mirror_upper, mirror_upper_few))):
        kept = part(given)
        expected = kept + kept.transpose(0, 2, 1) - np.eye(n, dtype=dtype) * given
        for copy in copies:
            matrices = given.copy()
            copy(matrices)
            np.testing.assert_array_equal(matrices, expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.lists(st.lists(st.integers(0, 35), min_size=1, max_size=20), min_size=1, max_size=5),
       st.sampled_from(["", "lower", "upper"]))
def test_any_writes_add_up(n, places, mirrored):
    """Against a loop over all elements; in a mirrored buffer, in the triangle that is mirrored."""
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
    lower = np.tril(expected.T if mirrored == "upper" else expected)
    np.testing.assert_allclose(got, lower + np.tril(lower, -1).T if mirrored else expected, rtol=1e-13)


def part_of(x, size):
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
    assert "fill(out0" not in f.source(x)


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


# -- halves of blocks on the diagonal --------------------------------------------------------------------------------


def network(X, Y):
    """Squares of the outputs of one hidden layer; its weights are the argument."""
    return lambda W: np.sum((np.tanh(X @ W) @ Y) ** 2)


def weights_hessian(W, X, Y):
    """With h = tanh(X W), G = Y Y', r = h G and v' = 1 - h^2, v'' = -2 h v', by the chain rule:

        H[(i, a), (j, b)] = 2 sum_s x_si x_sj (v'_sa G_ab v'_sb + [a = b] r_sa v''_sa)
    """
    h, G = np.tanh(X @ W), Y @ Y.T
    first = 1 - h**2
    curvature = first[:, :, None] * G * first[:, None, :]
    curvature[:, np.arange(len(G)), np.arange(len(G))] += -2 * h * first * (h @ G)
    return 2 * np.einsum("si,sj,sab->iajb", X, X, curvature).reshape(W.size, W.size)


@pytest.mark.parametrize("samples, width, hidden", [(5, 3, 2), (60, 20, 12), (33, 31, 9)])
def test_half_of_a_block_is_enough(samples, width, hidden):
    rng = np.random.default_rng(samples)
    W, X, Y = rng.normal(size=(width, hidden)), rng.normal(size=(samples, width)), rng.normal(size=(hidden, 4))
    f = symhess.hessian_jit(network(X, Y))
    H, expected = f.flat(W), weights_hessian(W, X, Y)
    np.testing.assert_allclose(H, expected, rtol=1e-11, atol=1e-11 * abs(expected).max())
    assert np.array_equal(H, H.T)


def test_half_of_a_block_is_one_product():
    """Rows of the product are pairs i >= j of inputs, its columns pairs of hidden units."""
    rng = np.random.default_rng(0)
    W, X, Y = rng.normal(size=(20, 12)), rng.normal(size=(60, 20)), rng.normal(size=(12, 4))
    assert f"[1, {20 * 21 // 2}, 60]" in symhess.hessian_jit(network(X, Y)).explain(W)


def test_lower_half_leaves_out_what_is_above_the_diagonal():
    terms = [HessianTerm(t, 0, t.rows[0]) for t in (block(6, 4, 4), block(6, 4, 5))]
    half, other = (lower_half(t)[0] for t in terms)
    assert other.term.shape == half.term.shape == (21, 4, 4)
    assert lower_half(half) == []
    for whole, part in zip(terms, (half, other)):
        kept = set(zip(part.row.values().ravel(), part.col.values().ravel()))
        assert {(r, c) for r, c in zip(whole.row.values().ravel(), whole.col.values().ravel()) if r >= c} <= kept
        assert len(kept) == part.row.values().size


def test_many_pairs_are_cut_into_bands_without_a_table(monkeypatch):
    monkeypatch.setattr(symhess.structure.hessian, "MAX_PAIRS", 20)
    whole = HessianTerm(block(12, 4, 5), 0, block(12, 4, 5).rows[0])
    bands = lower_half(whole)
    assert len(bands) == 8 and all(b.row.is_affine and b.col.is_affine for b in bands)
    kept = [p for b in bands for p in zip(b.row.values().ravel(), b.col.values().ravel())]
    everything = set(zip(whole.row.values().ravel(), whole.col.values().ravel()))
    assert len(kept) == len(set(kept)) <= 0.6 * len(everything)
    assert {(r, c) for r, c in everything if r >= c} <= set(kept) <= everything


@pytest.mark.parametrize("limit", [20, 10**6])
def test_hessians_by_bands_are_those_by_pairs(monkeypatch, limit):
    """The network's Hessian, its largest block cut either way, against differences of its gradient."""
    monkeypatch.setattr(symhess.structure.hessian, "MAX_PAIRS", limit)
    monkeypatch.setattr(symhess.plan.distribute, "WORTH_A_LOOK", 0)
    rng = np.random.default_rng(3)
    W, X, Y = rng.normal(size=(20, 12)), rng.normal(size=(60, 20)), rng.normal(size=(12, 4))
    f = network(X, Y)
    found, gradient = symhess.hessian_jit(f)(W).reshape(240, 240), symhess.grad(f)
    for k in (0, 17, 120, 239):
        step = 1e-5 * np.eye(240)[k].reshape(20, 12)
        np.testing.assert_allclose(found[k], (gradient(W + step) - gradient(W - step)).ravel() / 2e-5, atol=1e-7)


def block(n, m, size):
    """row = size i + a, col = size j + b for i, j < n and a, b < m."""
    shape = (n, m, n, m)
    return Term(shape, (), (), (affine_map(shape, 0, {0: size, 1: 1}),), affine_map(shape, 0, {2: size, 3: 1}), FLOAT)


# -- diagonals -------------------------------------------------------------------------------------------------------


def area(z):
    """The area of a graph over a square: a stencil of seven points."""
    dx, dy = z[1:, :-1] - z[:-1, :-1], z[:-1, 1:] - z[:-1, :-1]
    return np.sum(np.sqrt(1 + dx**2 + dy**2))


def area_hessian(z):
    """Cell by cell: f(u, v) = sqrt(1 + u^2 + v^2), f'' = (I - p p') / f with p = (u, v) / f."""
    node, H = np.arange(z.size).reshape(z.shape), np.zeros((z.size, z.size))
    for i, j in np.ndindex(z.shape[0] - 1, z.shape[1] - 1):
        u, v = z[i + 1, j] - z[i, j], z[i, j + 1] - z[i, j]
        f, B = np.sqrt(1 + u * u + v * v), np.array([[-1.0, 1, 0], [-1, 0, 1]])
        at = node[[i, i + 1, i], [j, j, j + 1]]
        H[np.ix_(at, at)] += B.T @ ((np.eye(2) - np.outer((u, v), (u, v)) / f**2) / f) @ B
    return H


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (2, 5), (7, 6), (12, 30)])
def test_stencils_of_seven_points(shape):
    z = np.random.default_rng(3).normal(size=shape)
    S = symhess.hessian_jit(area).sparse(z).toarray()
    np.testing.assert_allclose(S, area_hessian(z), rtol=1e-11, atol=1e-12)
    assert np.array_equal(S, S.T)


def test_a_row_of_the_interior_is_written_by_one_iteration():
    z = np.random.default_rng(3).normal(size=(40, 50))
    f = symhess.hessian_jit(area)
    np.testing.assert_allclose(f.sparse(z).toarray(), area_hessian(z), rtol=1e-11, atol=1e-12)
    body = f.source(z, product="sparse").split("for ")
    interior = max(body, key=lambda loop: loop.count("put(out0"))
    places = sorted(int(line.split(" + ")[-1].split(",")[0]) for line in interior.splitlines() if "put(out0" in line)
    assert places == list(range(places[0], places[0] + 7))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.sampled_from(["square", "exp"]))
def test_chains_of_several_reaches(n, reaches, how):
    """sum_k sum_i g(x_i - x_(i+k)), of exact operations or not: second derivatives g'' in the corners of a square."""
    reaches, x = [k for k in reaches if k < n], np.random.default_rng(n).normal(size=n)
    g, second = {"square": (lambda d: d * d * d, lambda d: 6 * d), "exp": (np.exp, np.exp)}[how]

    def chain(x):
        return sum((np.sum(g(x[:-k] - x[k:])) for k in reaches), 0.0 * np.sum(x))

    expected = np.zeros((n, n))
    for k in reaches:
        for i in range(n - k):
            expected[np.ix_((i, i + k), (i, i + k))] += second(x[i] - x[i + k]) * np.array([[1, -1], [-1, 1]])
    f = symhess.hessian_jit(chain, mode="autograd")
    for H in (f(x), f.sparse(x).toarray()):
        np.testing.assert_allclose(H, expected, rtol=1e-12, atol=1e-12)
        assert np.array_equal(H, H.T)


def test_a_tridiagonal_matrix_has_no_guards():
    """Each end of a diagonal is a run of its own, without tables or selects."""
    x = np.linspace(-1, 1, 30)
    f = symhess.hessian_jit(lambda x: np.sum((x[1:] - x[:-1] ** 2) ** 2 + np.sin(x[:-1])))
    for source in (f.source(x), f.source(x, product="sparse")):
        assert "select(" not in source
        assert "linked(" not in source


def test_a_column_that_begins_on_the_diagonal_has_its_mirror_image():
    x = np.array([0.3, -1.2, 0.7])
    f = symhess.hessian_jit(lambda x: np.sum(x**3) * x[0], mode="autograd")
    H = np.diag(6 * x * x[0])
    H[0] += 3 * x**2
    H[:, 0] += 3 * x**2
    np.testing.assert_allclose(f.sparse(x).toarray(), H, rtol=1e-14)


def test_blocks_of_sums_are_written_in_one_piece():
    """Every diagonal block of a factorisation is the same sum of products, however many entries it has."""
    rng = np.random.default_rng(2)
    U, V, M = rng.normal(size=(9, 6)), rng.normal(size=(8, 6)), rng.normal(size=(9, 8))
    f = symhess.hessian_jit(lambda U, V: 0.5 * np.sum((U @ V.T - M) ** 2), argnums=(0, 1))
    expected = np.zeros((102, 102))
    expected[:54, :54] = np.kron(np.eye(9), V.T @ V)
    expected[54:, 54:] = np.kron(np.eye(8), U.T @ U)
    mixed = np.einsum("jp,iq->ipjq", V, U) + np.einsum("ij,pq->ipjq", U @ V.T - M, np.eye(6))
    expected[:54, 54:] = mixed.reshape(54, 48)
    expected[54:, :54] = expected[:54, 54:].T
    np.testing.assert_allclose(f.flat(U, V), expected, rtol=1e-12, atol=1e-12)
    assert f.source(U, V).count("put(out0") < 10


# -- batches of small matrices ---------------------------------------------------------------------------------------


def chain_hessian(x):
    """The closed form for sum 100 (x_(i+1) - x_i^2)^2."""
    H = np.diag(np.r_[1200 * x[:-1] ** 2 - 400 * x[1:], 0] + np.r_[0, np.full(len(x) - 1, 200.0)])
    return H + np.diag(-400 * x[:-1], 1) + np.diag(-400 * x[:-1], -1)


@pytest.mark.parametrize("n", [2, 4, 8, 9])
def test_rows_of_a_batch_are_written_once(n):
    """Small matrices with their zeros and mirror images in one loop over the rows; larger ones are cleared first."""
    f, rows = symhess.hessian_jit(lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2)), np.random.rand(70, n)
    np.testing.assert_allclose(f.batch(rows), [chain_hessian(x) for x in rows], rtol=1e-12, atol=1e-12)


def test_elements_of_any_writes():
    """Accumulated, mirrored and missing elements of a buffer become one write each."""
    x = input_node("x", (20,))
    writes = [Write(part_of(x, 6), table_map(np.array([0, 4, 5, 4, 8, 0]), (6,))),
              Write(apply("exp", part_of(x, 2)), affine_map((2,), 0, {0: 8}))]
    for mirrored in ("", "lower", "upper"):
        buffer = filled((4, 4), FLOAT, writes, mirrored)
        single = element_by_element(buffer)
        verify_program(Program((x,), (single,)))
        assert len(single.writes) == 16
        assert not (single.zero or single.mirror or any(w.accumulate for w in single.writes))
        values = [np.linspace(-1, 1, 20)]
        expected, got = (run_program(Program((x,), (b,)), values)[0] for b in (buffer, single))
        np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_three_sums_that_overlap_in_part_stay_symmetric():
    """Entries and their mirror images are added up in one order, so the last digits agree."""
    m = np.random.default_rng(4).normal(size=(3, 6, 6))
    rows = [np.array(k) for k in ([0, 1, 2, 3], [1, 2, 3, 4, 5], [0, 1, 3, 5])]

    def overlapping(x):
        return sum(np.sum(np.exp(0.1 * x[r] @ m[k][:len(r), :len(r)] @ x[r])) for k, r in enumerate(rows))

    x = np.random.default_rng(5).normal(size=6)
    for mode in ("auto", "autograd"):
        S = symhess.hessian_jit(overlapping, mode=mode).sparse(x).toarray()
        assert np.array_equal(S, S.T)


def test_groups_of_writes_assign_or_add_together():
    x = input_node("x", (20,))
    first = Write(part_of(x, 4), affine_map((4,), 0, {0: 1}))
    pair = Write(part_of(x, 3), affine_map((3,), 3, {0: 1})), Write(part_of(x, 3), affine_map((3,), 10, {0: 1}))
    buffer = filled((20,), FLOAT, [first, pair])
    assert [w.accumulate for w in buffer.writes if w.position in [p.position for p in pair]] == [True, True]
    values = np.linspace(1, 2, 20)
    expected = np.zeros(20)
    for start, size in ((0, 4), (3, 3), (10, 3)):
        expected[start:start + size] += values[:size]
    np.testing.assert_allclose(run(buffer, x, values)[0], expected, rtol=1e-15)


@pytest.mark.parametrize("mirror", ["", "lower", "upper"])
@pytest.mark.parametrize("band", [1, 3, 256])
def test_what_nothing_writes(mirror, band, monkeypatch):
    monkeypatch.setattr(symhess.plan.filling, "BAND", band)
    written = np.random.default_rng(0).random((2, 7, 7)) < 0.5
    needed = {"": np.ones, "lower": lambda s, d: np.tril(np.ones(s, d)), "upper": lambda s, d: np.triu(np.ones(s, d))}
    for marks in (written, written[0]):
        expected = np.flatnonzero(~marks & needed[mirror](marks.shape, bool))
        assert np.array_equal(symhess.plan.filling._missing(marks, mirror), expected)


@pytest.mark.parametrize("position", [
    affine_map((3, 4), 2, {0: 10, 1: 2}), affine_map((3, 4), 29, {0: -10, 1: 1}), affine_map((), 5, {}),
    affine_map((0, 4), 39, {0: 10, 1: 2}), table_map(np.array([3, 1, 4, 15, 9]), (5,)),
    affine_map((2, 3, 4), 2, {0: 1, 2: -1}) + table_map(np.array([[[11], [5], [8]]]), (2, 3, 4)),
    affine_map((3, 4), 1, {0: 10}) + table_map(np.array([[0, 5, 1, 3]]), (3, 4)), affine_map((2, 0, 4), 2, {0: 1}),
    affine_map((4, 3, 2), 1, {0: 3}) + table_map(np.array([[[0, 5]]]), (4, 3, 2))])
def test_marks_at_the_places_of_a_map(position):
    marks = np.zeros(40, np.uint8)
    symhess.plan.filling.mark(marks, position, 3)
    assert np.array_equal(np.flatnonzero(marks), np.unique(position.values()))
    assert set(marks) <= {0, 3}
    assert symhess.plan.filling.is_marked(marks, position) == bool(position.values().size)
    assert not symhess.plan.filling.is_marked(np.zeros(40, bool), position)


@pytest.mark.parametrize("table, strides", [([0, 5], {0: 10, 1: 1}), ([0, 4], {0: 10, 1: 1}), ([0, 5], {0: 5, 1: 1})])
@pytest.mark.parametrize("counted", [0, 100])
def test_maps_take_places_once(table, strides, counted, monkeypatch):
    monkeypatch.setattr(symhess.plan.filling, "COUNTED", counted)
    position = affine_map((3, 5, 2), 1, strides) + table_map(np.array([[table]]), (3, 5, 2))
    marks, other = np.zeros(100, bool), affine_map((2,), 90, {0: 1})
    assert symhess.plan.filling._taken(marks, [other])
    once = len(np.unique(position.values())) == position.values().size
    assert symhess.plan.filling._taken(marks, [position]) == once
    places = np.concatenate([other.values(), position.values().ravel()] if once else [other.values()])
    assert np.array_equal(np.flatnonzero(marks), np.sort(places))
    assert not symhess.plan.filling._taken(marks, [other])
