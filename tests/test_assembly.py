"""Assembly: dense, diagonal and CSR buffers against the plain sum of the Terms, on grids and stencils of every size."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symhess.backends.interpreter import run_program
from symhess.differentiate import gradient
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.maps import axis_map, constant_map
from symhess.graph.node import constant, input_node
from symhess.plan.assembly import csr_layout, dense_buffer, diagonal_buffer, spmatrix
from symhess.plan.cost import Cost, cost_of, structure_pays
from symhess.plan.program import Program, verify_program
from symhess.primitives import apply, einsum, gather_axis, index, reshape, sum_over
from symhess.structure import coefficient
from symhess.structure.hessian import hessian_terms, lower_triangle

FLOAT = np.dtype(float)


def mul(*nodes):
    out = nodes[0]
    for n in nodes[1:]:
        out = apply("mul", out, n)
    return out


def total(v):
    return sum_over(v, range(v.ndim))


def part(x, *starts_and_sizes):
    """A box of x: one (start, size) per axis."""
    shape = tuple(n for _, n in starts_and_sizes)
    return index(x, [axis_map(shape, d).shifted(s) for d, (s, _) in enumerate(starts_and_sizes)], shape)


def added(parts):
    out = constant(0.0)
    for p in parts:
        out = apply("add", out, p)
    return out


def stencil(n, *offsets):
    """sum_k sin(x[k] x[k + o_1] x[k + o_2] ..) for every k for which all of these exist."""
    x = input_node("x", (n,))
    reach = max(offsets)
    if reach >= n:
        return [x], mul(total(x), total(x))
    return [x], total(apply("sin", mul(part(x, (0, n - reach)), *(part(x, (o, n - reach)) for o in offsets))))


def several_stencils(n, *reaches):
    """Slices of different lengths, all with their own boundary."""
    x = input_node("x", (n,))
    parts = [total(apply("exp", mul(part(x, (r, n - r)), part(x, (0, n - r))))) for r in reaches if r < n]
    return [x], added([*parts, total(apply("sin", x))])


def grid(m, n):
    """Area of a surface over a grid: couples each point with its eight neighbours."""
    x = input_node("u", (m, n))
    if min(m, n) < 2:
        return [x], total(apply("exp", mul(x, x)))
    corner = lambda i, j: part(x, (i, m - 1), (j, n - 1))
    a, b = apply("sub", corner(1, 1), corner(0, 0)), apply("sub", corner(1, 0), corner(0, 1))
    return [x], total(apply("sqrt", added([constant(1.0), mul(a, a), mul(b, b)])))


def five_points(m, n):
    """Smoothness along each axis apart: slices of different shapes."""
    x = input_node("u", (m, n))
    parts = [total(apply("exp", mul(x, x)))]
    if m > 1:
        parts.append(total(apply("sin", mul(part(x, (1, m - 1), (0, n)), part(x, (0, m - 1), (0, n))))))
    if n > 1:
        parts.append(total(apply("cos", mul(part(x, (0, m), (1, n - 1)), part(x, (0, m), (0, n - 1))))))
    return [x], added(parts)


def cube(m, n, k):
    x = input_node("u", (m, n, k))
    inner = [part(x, (i, m - 1), (j, n - 1), (l, k - 1)) for i, j, l in itertools.product((0, 1), repeat=3)]
    return [x], total(apply("sin", added(inner))) if min(m, n, k) > 1 else total(apply("sin", x))


def gathers(n, count):
    """Entries collide: every pair of gathered places, places repeated."""
    x = input_node("x", (n,))
    rng = np.random.default_rng(count)
    a, b = (gather_axis(x, 0, rng.integers(0, n, count)) for _ in range(2))
    return [x], total(apply("sin", mul(a, b, b)))


def dense_block(n, m):
    x = input_node("x", (n,))
    A = np.random.default_rng(n).normal(size=(m, n))
    return [x], total(apply("sin", einsum("ij,j->i", constant(A), x)))


def several_inputs(m, n):
    """A diagonal input, a dense one, a scalar, and products of all of them."""
    x, y, z = input_node("x", (m,)), input_node("y", (n, 2)), input_node("z", ())
    cross = mul(reshape(apply("sin", x), (m, 1)), reshape(sum_over(y, (1,)), (1, n)))
    return [x, y, z], added([total(cross), mul(z, total(apply("exp", x))), mul(z, z, total(mul(y, y)))])


def linked_inputs(n):
    """Two inputs coupled along a shifted diagonal."""
    x, y = input_node("x", (n,)), input_node("y", (n + 2,))
    return [x, y], total(apply("sin", mul(x, part(y, (1, n)))))


def linear(n):
    x = input_node("x", (n,))
    return [x], total(x)


def columns(m, n):
    """Couples along one axis only: many diagonals at a distance."""
    x = input_node("x", (m, n))
    return [x], total(apply("sin", mul(part(x, (0, max(m - 2, 1)), (0, n)), part(x, (min(2, m - 1), max(m - 2, 1)),
                                                                              (0, n)))))


def every_other(n):
    x = input_node("x", (n,))
    half = n // 2
    take = lambda s: index(x, [axis_map((half,), 0).scaled(2).shifted(s)], (half,))
    return [x], total(apply("sin", mul(take(0), take(1)))) if half else total(x)


def mirrored(n):
    x = input_node("x", (n,))
    return [x], total(apply("sin", mul(x, index(x, [axis_map((n,), 0).scaled(-1).shifted(n - 1)], (n,)))))


SIZES = [1, 2, 3, 4, 5, 7, 20]
GRIDS = [(1, 1), (1, 2), (1, 5), (4, 1), (2, 2), (2, 3), (3, 2), (3, 3), (3, 5), (5, 4), (7, 6)]
CASES = {
    **{f"tridiagonal {n}": stencil(n, 1) for n in SIZES},
    **{f"stencil 1, 3 of {n}": stencil(n, 1, 3) for n in SIZES},
    **{f"stencil 5 of {n}": stencil(n, 5) for n in SIZES},
    **{f"stencils 1, 2, 6 of {n}": several_stencils(n, 1, 2, 6) for n in SIZES},
    **{f"grid {m} x {n}": grid(m, n) for m, n in GRIDS},
    **{f"five points {m} x {n}": five_points(m, n) for m, n in GRIDS},
    **{f"cube {m} x {n} x {k}": cube(m, n, k) for m, n, k in ((2, 2, 2), (3, 2, 4), (1, 3, 3), (4, 4, 3))},
    **{f"{k} gathers of {n}": gathers(n, k) for n, k in ((1, 4), (3, 10), (8, 5), (8, 40))},
    **{f"dense {n}": dense_block(n, m) for n, m in ((1, 1), (2, 5), (6, 3))},
    **{f"inputs {m}, {n} x 2, 1": several_inputs(m, n) for m, n in ((1, 1), (2, 3), (5, 2))},
    **{f"linked {n}": linked_inputs(n) for n in (1, 2, 6)},
    **{f"columns {m} x {n}": columns(m, n) for m, n in ((1, 3), (2, 2), (3, 4), (6, 3))},
    **{f"every other of {n}": every_other(n) for n in (1, 2, 5, 8)},
    **{f"mirrored {n}": mirrored(n) for n in (1, 2, 3, 6, 7)},
    "linear": linear(3),
    "empty": linear(0),
}


def known_for(inputs):
    rng = np.random.default_rng(len(inputs))
    return {x: rng.uniform(0.2, 1.0, x.shape) for x in inputs}


def summed(terms, n, known):
    """The sum of all Terms of the Hessian, entry by entry."""
    H = np.zeros((n, n))
    for t, value in zip(terms, evaluate_nodes([coefficient(t.term) for t in terms], known)):
        np.add.at(H, (t.row.values(), t.col.values()), value)
    return H


def compiled(buffer, inputs, known):
    program = Program(tuple(inputs), (buffer,))
    verify_program(program)
    return run_program(program, [known[x] for x in inputs])[0]


@pytest.mark.parametrize("name", CASES)
def test_every_buffer_holds_the_hessian(name):
    inputs, out = CASES[name]
    known, n = known_for(inputs), sum(x.size for x in inputs)
    terms = hessian_terms(gradient(out, inputs), inputs)
    expected = summed(terms, n, known)
    np.testing.assert_allclose(expected, expected.T, rtol=1e-10, atol=1e-12)
    loose, strict = (lower_triangle(terms, inputs, filtered) for filtered in (False, True))
    H = compiled(dense_buffer(loose, inputs, FLOAT), inputs, known)
    np.testing.assert_allclose(H, expected, rtol=1e-10, atol=1e-12)
    assert np.array_equal(H, H.T)
    np.testing.assert_allclose(compiled(diagonal_buffer(loose, n, FLOAT), inputs, known), np.diag(expected),
                               rtol=1e-10, atol=1e-12)
    both, lower = (csr_layout(strict, inputs, FLOAT, half) for half in (False, True))
    S, L = (spmatrix(layout, compiled(layout.buffer, inputs, known)) for layout in (both, lower))
    S.check_format(full_check=True)
    assert S.has_sorted_indices
    np.testing.assert_allclose(S.toarray(), expected, rtol=1e-10, atol=1e-12)
    assert np.array_equal(S.toarray(), S.toarray().T)
    np.testing.assert_allclose(L.toarray(), np.tril(expected), rtol=1e-10, atol=1e-12)
    stored = np.zeros((n, n), bool)
    stored[np.repeat(np.arange(n), np.diff(both.indptr)), both.indices] = True
    assert len(both.indices) == stored.sum()
    assert stored[np.abs(expected) > 1e-12].all()
    assert np.array_equal(np.tril(stored)[np.repeat(np.arange(n), np.diff(lower.indptr)), lower.indices],
                          np.ones(lower.nnz, bool))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1,
                                                      max_size=3))
def test_random_stencils_on_random_grids(m, n, offsets):
    """sum of sin(u[i, j] u[i + di, j + dj]) over all places where both exist, for several offsets."""
    x = input_node("u", (m, n))
    parts = [total(apply("exp", x))]
    for di, dj in offsets:
        box = [(max(0, -di), m - abs(di)), (max(0, -dj), n - abs(dj))]
        if all(size > 0 for _, size in box):
            other = [(s + d, size) for (s, size), d in zip(box, (di, dj))]
            parts.append(total(apply("sin", mul(part(x, *box), part(x, *other)))))
    known, size = known_for([x]), m * n
    terms = hessian_terms(gradient(added(parts), [x]), [x])
    expected = summed(terms, size, known)
    strict = lower_triangle(terms, [x], True)
    np.testing.assert_allclose(compiled(dense_buffer(strict, [x], FLOAT), [x], known), expected, atol=1e-11)
    for lower in (False, True):
        layout = csr_layout(strict, [x], FLOAT, lower)
        S = spmatrix(layout, compiled(layout.buffer, [x], known)).toarray()
        np.testing.assert_allclose(S, np.tril(expected) if lower else expected, atol=1e-11)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("build", [lambda n: stencil(n, 1), lambda n: stencil(n, 1, 3),
                                   lambda n: grid(n // 20, 20), lambda n: five_points(n // 20, 20)])
def test_the_interior_is_affine(build, lower):
    """All but a thin boundary is written by plain writes at affine positions."""
    inputs, out = build(4000)
    strict = lower_triangle(hessian_terms(gradient(out, inputs), inputs), inputs, True)
    layout = csr_layout(strict, inputs, FLOAT, lower)
    affine = sum(w.value.size for w in layout.buffer.writes if w.position.is_affine and not w.accumulate)
    listed = sum(w.value.size for w in layout.buffer.writes if not w.position.is_affine)
    assert not layout.buffer.zero
    assert affine >= 0.8 * layout.nnz
    assert listed <= 0.2 * layout.nnz
    assert affine + listed == layout.nnz


def test_collisions_clear_the_buffer_and_accumulate():
    inputs, out = gathers(8, 40)
    terms = lower_triangle(hessian_terms(gradient(out, inputs), inputs), inputs, False)
    buffer = dense_buffer(terms, inputs, FLOAT)
    assert buffer.zero
    assert any(w.accumulate for w in buffer.writes)


def test_a_full_diagonal_needs_no_clearing():
    x = input_node("x", (6,))
    terms = lower_triangle(hessian_terms(gradient(total(apply("sin", x)), [x]), [x]), [x], False)
    buffer = diagonal_buffer(terms, 6, FLOAT)
    assert not buffer.zero
    assert not any(w.accumulate for w in buffer.writes)


def test_verifier_rejects_what_does_not_fit():
    from dataclasses import replace

    from symhess.errors import GraphError

    inputs, out = stencil(5, 1)
    layout = csr_layout(lower_triangle(hessian_terms(gradient(out, inputs), inputs), inputs, True), inputs, FLOAT, True)
    good = layout.buffer
    moved = tuple(replace(w, position=w.position.shifted(1)) for w in good.writes)
    for bad in (replace(good, writes=moved), replace(good, writes=good.writes[1:]),
                replace(good, writes=(*good.writes, replace(good.writes[0], position=constant_map(
                    good.writes[0].value.shape))))):
        with pytest.raises(GraphError):
            verify_program(Program(tuple(inputs), (bad,)))


# -- the cost model --------------------------------------------------------------------------------------------------


def test_costs_count_each_node_once():
    x = input_node("x", (10,))
    s = apply("sin", x)
    assert cost_of([mul(s, s)]).flops == cost_of([s]).flops + 10
    A, B = constant(np.ones((3, 4))), input_node("B", (4, 5))
    assert cost_of([einsum("ij,jk->ik", A, B)]).flops == 2 * 3 * 4 * 5


def test_a_chain_of_matrices_is_costed_along_its_best_order():
    a, b, v = input_node("a", (50, 50)), input_node("b", (50, 50)), input_node("v", (50,))
    chain = einsum("ij,jk,k->i", a, b, v)
    assert cost_of([chain]).flops < 2 * 50**3


def test_structure_pays_until_it_costs_more_than_columns():
    column = Cost(100.0, 10.0)
    assert structure_pays(Cost(1000.0, 1.0), column, 10)
    assert not structure_pays(Cost(10_000.0, 1.0), column, 10)
    assert structure_pays(Cost(0.0, 0.0), Cost(0.0, 0.0), 0)
