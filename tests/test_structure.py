"""Structured tangents: every rule against differences of plain NumPy code, joins and Terms against brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symhess.differentiate import gradient
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.maps import IndexMap, affine_map, axis_map, constant_map, identity_maps, table_map
from symhess.graph.node import constant, input_node, topological
from symhess.primitives import (
    apply,
    broadcast_to,
    cast,
    cho_solve,
    cholesky,
    concatenate,
    cumsum,
    dft,
    einsum,
    gather_axis,
    index,
    inv,
    recurrence,
    reduce_with,
    reshape,
    running,
    scatter,
    slice_axis,
    slogdet,
    solve,
    stack,
    sum_over,
    transpose,
    triangular_solve,
)
from symhess.structure import Tangent, Term, tangents, within_columns
from symhess.structure.csr import as_bool_csr, csr_structure
from symhess.structure.hessian import HessianTerm, hessian_terms, lower_triangle, offsets_of, on_diagonal
from symhess.structure.join import join
from symhess.structure.propagate import RULES
from symhess.structure.term import Factor, identity_term, merged, multiplied, normalized, without_zeros

RNG = np.random.default_rng(7)
B = RNG.normal(size=(3, 4))
TARGETS = np.array([4, 1, 1, 0])


def differences(fn, arrays, step=4e-3):
    """The Jacobian of a NumPy function by eighth-order central differences, shape (*out, number of inputs)."""
    weights = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
    columns = []
    for k, a in enumerate(arrays):
        for position in np.ndindex(a.shape):
            def moved(by, k=k, position=position):
                changed = [x.copy() for x in arrays]
                changed[k][position] += by
                return np.asarray(fn(*changed), float)

            columns.append(sum(w * (moved(i * step) - moved(-i * step)) for i, w in enumerate(weights, 1)) / step)
    return np.stack(columns, axis=-1)


def same_jacobian(node, inputs, arrays, fn, tolerance=1e-8):
    (tangent,) = tangents([node], inputs)
    known = dict(zip(inputs, arrays))
    np.testing.assert_allclose(evaluate_nodes([node], known)[0], fn(*arrays), rtol=1e-12, atol=1e-13)
    expected = differences(fn, arrays)
    found = tangent.dense(sum(a.size for a in arrays), known)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def spd(x):
    return x @ x.T + 3 * np.eye(len(x))


def spd_node(x):
    return apply("add", einsum("ik,jk->ij", x, x), constant(3 * np.eye(x.shape[0])))


def scattered(x):
    out = np.zeros((5, x.shape[1]))
    np.add.at(out, TARGETS, x)
    return out


def scatter_node(x):
    return scatter(x, (table_map(TARGETS[:, None], x.shape), axis_map(x.shape, 1)), (5, x.shape[1]))


def product_node(x):
    return einsum("ij,i->j", constant(B), apply("sin", x))


def rows_node(*rows):
    return concatenate([reshape(r, (1, *r.shape)) for r in rows], 0)


def columns_node(x):
    return einsum("i,j->ij", product_node(x), constant(np.array([1.0, 2.0, 3.0])))


def recurred(a, b):
    """s_i = b_i + a_i s_{i-1} along the first axis."""
    out = [b[0]]
    for by, new in zip(a[1:], b[1:]):
        out.append(new + by * out[-1])
    return np.array(out)


#: name -> (shapes of the inputs, graph, NumPy code)
CASES = {
    "elementwise": ([(4,), (4,)], lambda x, y: apply("mul", apply("sin", x), apply("exp", y)),
                    lambda x, y: np.sin(x) * np.exp(y)),
    "elementwise, outer": ([(3, 1), (1, 4)], lambda x, y: apply("hypot", x, y), np.hypot),
    "elementwise, rank 0": ([(), (2, 3)], lambda x, y: apply("mul", x, apply("cos", y)), lambda x, y: x * np.cos(y)),
    "elementwise, both the same": ([(3,)], lambda x: apply("mul", x, apply("mul", x, x)), lambda x: x**3),
    "dft": ([(2, 5, 2)], lambda x: dft(apply("sin", x)),
            lambda x: np.fft.fft(np.sin(x) @ [1, 1j])[..., None].view(float)),
    "broadcast": ([(3, 1)], lambda x: apply("exp", broadcast_to(x, (2, 3, 4))),
                  lambda x: np.exp(np.broadcast_to(x, (2, 3, 4)))),
    "where": ([(4,), (4,)], lambda x, y: apply("where", constant(np.array([1, 0, 0, 1], bool)), apply("exp", x),
                                               apply("mul", x, y)),
              lambda x, y: np.where([1, 0, 0, 1], np.exp(x), x * y)),
    "where, moving condition": ([(5,)], lambda x: apply("where", apply("less", x, constant(10.0)), apply("sin", x), x),
                                np.sin),
    "index, transpose": ([(3, 4)], lambda x: apply("sin", transpose(x, (1, 0))), lambda x: np.sin(x.T)),
    "index, slice": ([(9,)], lambda x: apply("mul", slice_axis(x, 0, 1, 2, 4), slice_axis(x, 0, 8, -2, 4)),
                     lambda x: x[1:9:2] * x[8:0:-2]),
    "index, gather": ([(5, 2)], lambda x: apply("exp", gather_axis(x, 0, np.array([3, 3, 0, 4]))),
                      lambda x: np.exp(x[[3, 3, 0, 4]])),
    "index, diagonal": ([(4, 4)], lambda x: index(apply("sin", x), [axis_map((4,), 0)] * 2, (4,)),
                        lambda x: np.diag(np.sin(x))),
    "index of a diagonal matrix": ([(4,)], lambda x: index(scatter(x, [axis_map((4,), 0)] * 2, (4, 4)),
                                                           [axis_map((4,), 0).scaled(-1).shifted(3),
                                                            constant_map((4,), 2)], (4,)),
                                   lambda x: np.diag(x)[::-1, 2]),
    "index of a gather": ([(6,)], lambda x: gather_axis(apply("sin", gather_axis(x, 0, TARGETS)), 0,
                                                        np.array([2, 0, 2])),
                          lambda x: np.sin(x[TARGETS])[[2, 0, 2]]),
    "index, element": ([(3, 2)], lambda x: index(apply("exp", x), [constant_map((), 2), constant_map((), 1)], ()),
                       lambda x: np.exp(x[2, 1])),
    "scatter": ([(4, 2)], lambda x: scatter_node(apply("sin", x)), lambda x: scattered(np.sin(x))),
    "scatter, pad": ([(3,)], lambda x: scatter(apply("exp", x), [axis_map((3,), 0).scaled(2).shifted(1)], (8,)),
                     lambda x: np.insert(np.zeros(5), [1, 2, 3], np.exp(x))),
    "concatenate": ([(2, 3), (2, 1)], lambda x, y: apply("sin", concatenate([x, y, x], 1)),
                    lambda x, y: np.sin(np.concatenate([x, y, x], 1))),
    "stack": ([(3,)], lambda x: stack([index(x, [constant_map((), k)], ()) for k in (2, 0, 0)] + [sum_over(x, [0])]),
              lambda x: np.array([x[2], x[0], x[0], x.sum()])),
    "reshape, split": ([(12,)], lambda x: apply("sin", reshape(x, (3, 2, 2))), lambda x: np.sin(x.reshape(3, 2, 2))),
    "reshape, join": ([(2, 3, 2)], lambda x: reshape(transpose(apply("sin", x), (2, 0, 1)), (4, 3)),
                      lambda x: np.sin(x).transpose(2, 0, 1).reshape(4, 3)),
    "reshape, regroup": ([(4, 6)], lambda x: reshape(apply("sin", x), (3, 8)), lambda x: np.sin(x).reshape(3, 8)),
    "reshape, of a slice": ([(7,)], lambda x: reshape(slice_axis(apply("sin", x), 0, 6, -1, 6), (2, 1, 3)),
                            lambda x: np.sin(x)[6:0:-1].reshape(2, 1, 3)),
    "reshape, of a gather": ([(4,)], lambda x: reshape(gather_axis(x, 0, np.array([1, 1, 3, 0])), (2, 2)),
                             lambda x: x[[1, 1, 3, 0]].reshape(2, 2)),
    "sum": ([(2, 3, 2)], lambda x: sum_over(apply("sin", x), (0, 2)), lambda x: np.sin(x).sum(axis=(0, 2))),
    "sum of an outer product": ([(3, 1), (1, 2)], lambda x, y: sum_over(apply("hypot", x, y), (1,)),
                                lambda x, y: np.hypot(x, y).sum(axis=1)),
    "contract": ([(4,)], lambda x: einsum("ij,j->i", constant(B), apply("sin", x)), lambda x: B @ np.sin(x)),
    "contract, both moving": ([(2, 3), (3, 2)], lambda x, y: einsum("ik,kj->ij", apply("sin", x), y),
                              lambda x, y: np.sin(x) @ y),
    "contract, Gram": ([(3, 4)], lambda x: einsum("ik,jk->ij", x, x), lambda x: x @ x.T),
    "contract, trace": ([(3, 3)], lambda x: einsum("ij,ji->", x, apply("exp", x)), lambda x: np.trace(x @ np.exp(x))),
    "contract, three": ([(2,), (2, 3), (3,)], lambda x, y, z: einsum("i,ij,j->", x, y, z), lambda x, y, z: x @ y @ z),
    "contract, batch": ([(2, 3, 2), (2, 2)], lambda x, y: einsum("bij,bj->bi", x, apply("sin", y)),
                        lambda x, y: np.einsum("bij,bj->bi", x, np.sin(y))),
    "contract, a gather": ([(5,)], lambda x: einsum("ij,j->i", constant(B), gather_axis(x, 0, TARGETS)),
                           lambda x: B @ x[TARGETS]),
    "contract, incidence": ([(6,)], lambda x: apply("sin", einsum("ij,j->i", constant(np.eye(5, 6, 1) - np.eye(5, 6)),
                                                                  x)), lambda x: np.sin(np.diff(x))),
    "cumsum": ([(3, 4)], lambda x: cumsum(apply("sin", x), 1), lambda x: np.cumsum(np.sin(x), 1)),
    "cumsum, reverse": ([(4, 2)], lambda x: cumsum(apply("exp", x), 0, True),
                        lambda x: np.cumsum(np.exp(x)[::-1], 0)[::-1]),
    "cumsum of a slice": ([(6,)], lambda x: cumsum(slice_axis(x, 0, 5, -2, 3), 0), lambda x: np.cumsum(x[5:0:-2])),
    "cumsum of a dense product": ([(3,)], lambda x: cumsum(slice_axis(product_node(x), 0, 3, -1, 3), 0),
                                  lambda x: np.cumsum((B.T @ np.sin(x))[3:0:-1])),
    "recurrence": ([(4,), (4,)], lambda x, y: recurrence(apply("sin", x), apply("exp", y), -1),
                   lambda x, y: recurred(np.sin(x), np.exp(y))),
    "recurrence, transposed": ([(4,), (4,)], lambda x, y: recurrence(x, apply("exp", y), -1, True),
                               lambda x, y: recurred(np.roll(x, -1)[::-1], np.exp(y)[::-1])[::-1]),
    "recurrence, lanes": ([(2, 4), (3, 2, 4)], lambda x, y: recurrence(x, apply("sin", y), -1),
                          lambda x, y: np.array([[recurred(a, b) for a, b in zip(x, block)] for block in np.sin(y)])),
    "recurrence, first axis, dense": ([(3,)], lambda x: recurrence(constant(B.T), columns_node(x), -2),
                                      lambda x: recurred(B.T, np.outer(B.T @ np.sin(x), [1, 2, 3]))),
    "recurrence, part of it moves": ([(3,)], lambda x: recurrence(
        constant(B[0]), scatter(slice_axis(product_node(x), 0, 0, 1, 2), [axis_map((2,), 0).shifted(1)], (4,)), -1),
        lambda x: recurred(B[0], [0, *(B.T @ np.sin(x))[:2], 0])),
    "running product": ([(3, 4)], lambda x: running("mul", apply("sin", x), 1), lambda x: np.cumprod(np.sin(x), 1)),
    "running product, from the last row on": (
        [(4,)], lambda x: running("mul", rows_node(apply("sin", x), apply("exp", x)), 0),
        lambda x: np.cumprod([np.sin(x), np.exp(x)], 0)),
    "recurrence, one row moves": ([(3,)], lambda x: recurrence(rows_node(x, apply("sin", x), x), scatter(
        apply("exp", x), [constant_map((3,), 1), axis_map((3,), 0)], (3, 3)), -2, True),
        lambda x: np.array([np.sin(x) * np.exp(x), np.exp(x), 0 * x])),
    "running maximum": ([(5, 2)], lambda x: running("maximum", apply("sin", x), 0),
                        lambda x: np.maximum.accumulate(np.sin(x), 0)),
    "running minimum, dense": ([(3,)], lambda x: running("minimum", product_node(x), 0),
                               lambda x: np.minimum.accumulate(B.T @ np.sin(x))),
    "running logaddexp": ([(5,)], lambda x: running("logaddexp", x, 0), np.logaddexp.accumulate),
    "max, by its jvp graph": ([(3, 4)], lambda x: reduce_with("max", apply("sin", x), (1,)),
                              lambda x: np.sin(x).max(axis=1)),
    "solve": ([(3, 3), (3,)], lambda x, b: solve(spd_node(x), b), lambda x, b: np.linalg.solve(spd(x), b)),
    "inv": ([(3, 3)], lambda x: inv(spd_node(x)), lambda x: np.linalg.inv(spd(x))),
    "cholesky": ([(3, 3)], lambda x: cholesky(spd_node(x)), lambda x: np.linalg.cholesky(spd(x))),
    "slogdet": ([(4, 4)], lambda x: slogdet(spd_node(x))[1], lambda x: np.linalg.slogdet(spd(x))[1]),
    "triangular solve": ([(3, 3), (3,)], lambda x, b: triangular_solve(cholesky(spd_node(x)), b),
                         lambda x, b: np.linalg.solve(np.linalg.cholesky(spd(x)), b)),
    "cho_solve": ([(4, 4), (4,)], lambda x, b: cho_solve(cholesky(spd_node(x)), b),
                  lambda x, b: np.linalg.solve(spd(x), b)),
    "solve, few columns move": ([(2,)], lambda x: solve(constant(spd(B)), scatter(x, [axis_map((2,), 0)], (3,))),
                                lambda x: np.linalg.solve(spd(B), [*x, 0])),
}


@pytest.mark.parametrize("name", CASES)
def test_rule(name):
    shapes, graph, fn = CASES[name]
    inputs = [input_node(f"x{k}", s) for k, s in enumerate(shapes)]
    arrays = [np.random.default_rng(k).normal(size=s) for k, s in enumerate(shapes)]
    same_jacobian(graph(*inputs), inputs, arrays, fn)


def test_every_rule_has_a_case():
    used = set()
    for shapes, graph, _ in CASES.values():
        used |= {n.op.name for n in topological([graph(*(input_node("x", s) for s in shapes))])}
    assert used >= set(RULES) - {"cast"}


def test_cast_keeps_the_derivative():
    x = input_node("x", (3,), np.float32)
    (tangent,) = tangents([apply("sin", cast(x, np.float64))], [x])
    at = np.array([0.5, 1.0, -2.0], np.float32)
    np.testing.assert_allclose(tangent.dense(3, {x: at}), np.diag(np.cos(at.astype(float))), rtol=1e-7)
    assert all(t.dtype == np.float64 for t in tangent.terms)


def test_integer_results_have_no_tangent():
    x = input_node("x", (3,))
    (tangent,) = tangents([cast(apply("floor", x), np.int64)], [x])
    assert tangent.terms == ()


def test_empty_inputs():
    x, y = input_node("x", (0,)), input_node("y", (2,))
    out = concatenate([apply("sin", x), apply("sin", y)], 0)
    (tangent,) = tangents([out], [x, y])
    at = np.array([0.1, 0.7])
    np.testing.assert_allclose(tangent.dense(2, {x: np.zeros(0), y: at}), np.diag(np.cos(at)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_masks_keep_the_untaken_branch_out(bad):
    """0 * inf must not occur: log at 0, 1/x at 0, and whatever overflows stay behind their masks."""
    x = input_node("x", (4,))
    positive = apply("greater", x, constant(0.0))
    safe = apply("where", positive, apply("log", x), apply("mul", x, x))
    total = sum_over(apply("mul", safe, gather_axis(safe, 0, np.array([1, 2, 3, 0]))), (0,))
    at = np.array([0.0, 2.0, -1.0, 0.5])
    terms = hessian_terms(gradient(total, [x]), [x])
    H = Tangent((4,), tuple(t.term for t in terms)).dense(4, {x: at})
    value = lambda z: np.where(at > 0, np.log(np.where(at > 0, z, 1)), z * z)
    first = np.where(at > 0, 1 / np.where(at > 0, at, 1), 2 * at)
    second = np.where(at > 0, -1 / np.where(at > 0, at, 1) ** 2, 2.0)
    v, expected = value(at), np.zeros((4, 4))
    for i, j in zip(range(4), (1, 2, 3, 0)):
        expected[i, j] += first[i] * first[j]
        expected[j, i] += first[i] * first[j]
        expected[i, i] += second[i] * v[j]
        expected[j, j] += second[j] * v[i]
    np.testing.assert_allclose(H, expected, rtol=1e-13)
    away = apply("where", constant(np.array([True, False, True, False])), x, constant(bad))
    (moved,) = tangents([apply("where", constant(np.array([True, False, True, False])), apply("mul", away, x), x)], [x])
    np.testing.assert_allclose(moved.dense(4, {x: at}), np.diag([0.0, 1.0, -2.0, 1.0]))


# -- joins -----------------------------------------------------------------------------------------------------------


@st.composite
def index_maps(draw, shape, size):
    """A map from a box into range(size): constant, affine with either sign, a table on some axes, or a mixture."""
    kind = draw(st.sampled_from(["constant", "axis", "affine", "table", "wide table"]))
    if kind == "constant" or not shape:
        return constant_map(shape, draw(st.integers(0, size - 1)))
    if kind == "axis":
        fitting = [d for d, n in enumerate(shape) if n <= size]
        if fitting:
            return axis_map(shape, draw(st.sampled_from(fitting)))
    if kind in ("table", "wide table"):
        on = [draw(st.booleans()) or kind == "wide table" for _ in shape]
        box = tuple(n if used else 1 for n, used in zip(shape, on))
        values = draw(st.lists(st.integers(0, size - 1), min_size=int(np.prod(box)), max_size=int(np.prod(box))))
        return table_map(np.array(values).reshape(box), shape)
    strides = {d: draw(st.integers(-3, 3)) for d in range(len(shape))}
    m = affine_map(shape, 0, strides)
    low, high = m.bounds
    if high - low >= size:
        return constant_map(shape, draw(st.integers(0, size - 1)))
    return m.shifted(draw(st.integers(-low, size - 1 - high)))


@st.composite
def joins(draw):
    rank = draw(st.integers(1, 3))
    sizes = tuple(draw(st.integers(1, 7)) for _ in range(rank))
    boxes = [tuple(draw(st.lists(st.integers(1, 5), min_size=0, max_size=3))) for _ in range(2)]
    sides = [[draw(index_maps(box, n)) for n in sizes] for box in boxes]
    return sides[0], boxes[0], sides[1], boxes[1], sizes


@settings(max_examples=400, deadline=None)
@given(joins())
def test_join_finds_every_pair_once(case):
    rows, left, maps, right, sizes = case
    targets = lambda ms, box: {e: tuple(int(m.values()[e]) for m in ms) for e in np.ndindex(*box)}
    ours, theirs = targets(rows, left), targets(maps, right)
    expected = sorted((e, f) for e in ours for f in theirs if ours[e] == theirs[f])
    found = join(rows, left, maps, right, sizes)
    if found is None:
        assert expected == []
        return
    pairs = [(tuple(int(m.values()[p]) for m in found.left), tuple(int(m.values()[p]) for m in found.right))
             for p in np.ndindex(*found.shape)]
    assert sorted(pairs) == expected


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_joins_of_slices_stay_affine(n):
    """Diagonals met by slices and flips are found by arithmetic, not listed."""
    found = join([axis_map((n,), 0)], (n,), [axis_map((n + 1,), 0).scaled(-2).shifted(2 * n)], (n + 1,), [2 * n + 1])
    assert found is not None
    assert all(m.is_affine for m in (*found.left, *found.right))


# -- Terms -----------------------------------------------------------------------------------------------------------


@st.composite
def terms(draw, rank=2):
    """A Term with random factors over random axes (masks and constants with zeros among them), and its sizes."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    sums = tuple(draw(st.lists(st.integers(1, 3), max_size=1)))
    sizes = (3, 4)
    rows = tuple(draw(index_maps(shape, n)) for n in sizes[:rank])
    cols = draw(index_maps(shape, 6))
    return Term(shape, draw(factors(shape, sums)), sums, rows, cols, np.dtype(float))


@st.composite
def factors(draw, shape, sums):
    labels = [*range(len(shape)), *range(-1, -len(sums) - 1, -1)]
    found = []
    for _ in range(draw(st.integers(0, 3))):
        axes = tuple(draw(st.permutations(labels))[:draw(st.integers(1, len(labels)))])
        box = tuple(shape[a] if a >= 0 else sums[-a - 1] for a in axes)
        values = np.array(draw(st.lists(st.integers(-2, 2), min_size=int(np.prod(box)), max_size=int(np.prod(box)))))
        mask = draw(st.booleans()) and all(a >= 0 for a in axes)
        values = values.reshape(box) > -1 if mask else values.reshape(box).astype(float)
        keep = [k for k, n in enumerate(box) if n != 1]
        if keep:
            found.append(Factor(constant(values.reshape([box[k] for k in keep])), tuple(axes[k] for k in keep)))
    return tuple(found)


def dense_of(ts, shape=(3, 4), n=6):
    """J by definition: loop over all entries and all summed positions."""
    out = np.zeros((*shape, n))
    for t in ts:
        values = [(f.node.attrs.array if f.node.op.name == "constant" else evaluate_nodes([f.node], {})[0], f.axes)
                  for f in t.factors]
        for e in np.ndindex(*t.shape):
            place = tuple(int(m.values()[e]) for m in (*t.rows, t.cols))
            for s in np.ndindex(*t.sums):
                at = lambda a, e=e, s=s: e[a] if a >= 0 else s[-a - 1]
                out[place] += np.prod([float(v[tuple(at(a) for a in axes)]) for v, axes in values])
    return out


@settings(max_examples=150, deadline=None)
@given(terms())
def test_normalized_keeps_the_jacobian(t):
    np.testing.assert_allclose(dense_of([normalized(t)]), dense_of([t]), atol=1e-12)
    np.testing.assert_allclose(Tangent((3, 4), (normalized(t),)).dense(6, {}), dense_of([t]), atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(terms(), st.sampled_from([0.0, 0.5, 0.75]), st.integers(1, 2))
def test_without_zeros_keeps_the_jacobian(t, share, rank):
    slim = without_zeros(normalized(t), share, rank)
    np.testing.assert_allclose(Tangent((3, 4), (slim,)).dense(6, {}), dense_of([t]), atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(terms(), st.integers(0, 5), st.integers(0, 5))
def test_within_columns_cuts_columns(t, first, width):
    expected = dense_of([t])
    expected[..., :first] = 0
    expected[..., first + width:] = 0
    part = within_columns(normalized(t), first, first + width)
    found = np.zeros((3, 4, 6)) if part is None else Tangent((3, 4), (part,)).dense(6, {})
    np.testing.assert_allclose(found, expected, atol=1e-12)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_merged_keeps_the_sum(data):
    """Terms over the same places, some with common factors and some repeated, add up."""
    base = data.draw(terms())
    group = [base]
    for _ in range(data.draw(st.integers(1, 3))):
        extra = data.draw(factors(base.shape, base.sums))
        shared = base.factors[:data.draw(st.integers(0, len(base.factors)))]
        repeated = shared * data.draw(st.integers(1, 2))
        group.append(Term(base.shape, (*repeated, *extra), base.sums, base.rows, base.cols, base.dtype))
    group = [normalized(t) for t in group]
    found = merged(group)
    assert len(found) <= len(group)
    np.testing.assert_allclose(Tangent((3, 4), found).dense(6, {}), dense_of(group), atol=1e-9)


def test_merged_factors_out_squares():
    """a a b + a c: only one a is common."""
    x = input_node("x", (3,))
    a, b, c = (apply(f, x) for f in ("sin", "exp", "cos"))
    base = identity_term(x, 0)
    first = multiplied(multiplied(multiplied(base, a, [0]), a, [0]), b, [0])
    second = multiplied(multiplied(base, a, [0]), c, [0])
    at = np.array([0.3, -1.0, 2.0])
    for order in ([first, second], [second, first]):
        (t,) = merged(order)
        expected = np.sin(at) ** 2 * np.exp(at) + np.sin(at) * np.cos(at)
        np.testing.assert_allclose(Tangent((3,), (t,)).dense(3, {x: at}), np.diag(expected), rtol=1e-13)


# -- Hessians --------------------------------------------------------------------------------------------------------


def part(x, start, stop):
    """x[start:stop] for bounds counted from either end."""
    first, last = start % x.shape[0], stop if stop > 0 else x.shape[0] + stop
    return slice_axis(x, 0, first, 1, last - first)


def rosenbrock(n):
    x = input_node("x", (n,))
    a, b = part(x, 1, 0), part(x, 0, -1)
    bend = apply("sub", a, apply("mul", b, b))
    flat = apply("sub", constant(1.0), b)
    total = apply("add", apply("mul", constant(100.0), apply("mul", bend, bend)), apply("mul", flat, flat))
    return x, sum_over(total, (0,))


def minimal_surface(m, n):
    x = input_node("u", (m, n))
    shape = (m - 1, n - 1)
    corner = lambda i, j: index(x, [axis_map(shape, 0).shifted(i), axis_map(shape, 1).shifted(j)], shape)
    a, b = apply("sub", corner(1, 1), corner(0, 0)), apply("sub", corner(1, 0), corner(0, 1))
    area = apply("add", constant(1.0), apply("add", apply("mul", a, a), apply("mul", b, b)))
    return x, sum_over(apply("sqrt", area), (0, 1))


def size_of_hessian(x, out):
    found = hessian_terms(gradient(out, [x]), [x])
    lower = lower_triangle(found, [x], filtered=True)
    nodes = topological([f.node for t in found for f in t.term.factors])
    affine = all(m.is_affine for t in lower for m in (t.row, t.col))
    return len(found), len(lower), len(nodes), affine


def test_chained_rosenbrock_is_the_same_at_every_size():
    sizes = {size_of_hessian(*rosenbrock(n)) for n in (100, 1000, 10**5, 10**6)}
    assert len(sizes) == 1
    assert sizes.pop()[3]


def test_minimal_surface_is_the_same_at_every_size():
    sizes = {size_of_hessian(*minimal_surface(k, k + 1)) for k in (10, 30, 300, 1000)}
    assert len(sizes) == 1
    assert sizes.pop()[3]


def scalar_functions():
    """Functions of one number with exact Hessian patterns, as (inputs, output, NumPy code)."""
    x, y, m = input_node("x", (7,)), input_node("y", (3,)), input_node("m", (3, 4))
    D, z = np.eye(10, 11, 1) - np.eye(10, 11), input_node("z", (11,))
    picks = np.array([0, 3, 3, 6, 1])
    sine = lambda v: apply("sin", v)
    total = lambda v: sum_over(v, range(v.ndim))
    mul = lambda a, b: apply("mul", a, b)
    return {
        "chain": ([x], total(sine(mul(part(x, 1, 0), part(x, 0, -1)))), lambda x: np.sum(np.sin(x[1:] * x[:-1]))),
        "reversed": ([x], total(sine(mul(x, slice_axis(x, 0, 6, -1, 7)))), lambda x: np.sum(np.sin(x * x[::-1]))),
        "gather": ([x], total(sine(mul(gather_axis(x, 0, picks), part(x, 1, 6)))),
                   lambda x: np.sum(np.sin(x[picks] * x[1:6]))),
        "outer": ([x, y], total(sine(mul(reshape(x, (7, 1)), reshape(y, (1, 3))))),
                  lambda x, y: np.sum(np.sin(np.outer(x, y)))),
        "apart": ([y, x], apply("add", total(sine(y)), mul(total(x), total(x))),
                  lambda y, x: np.sum(np.sin(y)) + np.sum(x) ** 2),
        "differences": ([z], total(sine(einsum("ij,j->i", constant(D), z))), lambda z: np.sum(np.sin(D @ z))),
        "rows": ([m], total(mul(sum_over(sine(m), (1,)), sum_over(m, (1,)))),
                 lambda m: np.sum(np.sin(m).sum(1) * m.sum(1))),
        "blocks": ([m, y], total(mul(y, sine(sum_over(m, (1,))))), lambda m, y: np.sum(y * np.sin(m.sum(1)))),
        "running": ([x], total(sine(cumsum(x, 0))), lambda x: np.sum(np.sin(np.cumsum(x)))),
        "wide stencil": ([x], total(sine(mul(part(x, 5, 0), part(x, 0, 2)))),
                         lambda x: np.sum(np.sin(x[5:] * x[:2]))),
        "linear": ([x], total(x), np.sum),
        "one entry": ([x], sine(index(x, [constant_map((), 4)], ())), lambda x: np.sin(x[4])),
    }


FUNCTIONS = scalar_functions()


def second_differences(fn, arrays):
    """The Hessian: eighth-order differences of eighth-order differences."""
    sizes = [a.size for a in arrays]
    parts = lambda z: [p.reshape(a.shape) for p, a in zip(np.split(z, np.cumsum(sizes)[:-1]), arrays)]
    first = lambda z: differences(lambda w: fn(*parts(w)), [z])
    return differences(first, [np.concatenate([a.ravel() for a in arrays])])


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_lower_triangle_and_pattern_are_exact(name, filtered):
    inputs, out, fn = FUNCTIONS[name]
    arrays = [np.random.default_rng(len(name) + k).normal(size=x.shape) for k, x in enumerate(inputs)]
    known, n = dict(zip(inputs, arrays)), sum(x.size for x in inputs)
    expected = second_differences(fn, arrays)
    all_terms = hessian_terms(gradient(out, inputs), inputs)
    found = np.zeros((n, n))
    for t in all_terms:
        found += Tangent((n,), (Term(t.term.shape, t.term.factors, t.term.sums, (t.row,), t.col, t.term.dtype),)) \
            .dense(n, known)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    lower = lower_triangle(all_terms, inputs, filtered)
    below = np.zeros((n, n))
    for t in lower:
        flat = Term(t.term.shape, t.term.factors, t.term.sums, (t.row,), t.col, t.term.dtype)
        below += Tangent((n,), (flat,)).dense(n, known)
    np.testing.assert_allclose(np.tril(below), np.tril(expected), atol=1e-7)
    if filtered:
        assert not np.triu(below, 1).any()
        pattern_found = as_bool_csr(csr_structure(lower, n, False)).toarray()
        assert np.array_equal(pattern_found, np.abs(expected) > 1e-7)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_on_diagonal_takes_the_diagonal(name):
    inputs, out, fn = FUNCTIONS[name]
    arrays = [np.random.default_rng(k).normal(size=x.shape) for k, x in enumerate(inputs)]
    known, n = dict(zip(inputs, arrays)), sum(x.size for x in inputs)
    found = np.zeros((n, n))
    for t in lower_triangle(hessian_terms(gradient(out, inputs), inputs), inputs, False):
        on = on_diagonal(t)
        assert np.array_equal(on.row.values(), on.col.values())
        flat = Term(on.term.shape, on.term.factors, on.term.sums, (on.row,), on.col, on.term.dtype)
        found += Tangent((n,), (flat,)).dense(n, known)
    np.testing.assert_allclose(found, np.diag(np.diag(second_differences(fn, arrays))), atol=1e-7)


def test_on_diagonal_of_a_term_with_an_axis_of_one_entry():
    box, numbers = (3, 1, 3), np.arange(9.0).reshape(3, 1, 3)
    term = multiplied(Term(box, (), (), (axis_map(box, 0),), axis_map(box, 2), np.dtype(float)), constant(numbers),
                      identity_maps(box))
    on = on_diagonal(HessianTerm(term, 0, term.rows[0]))
    found = Tangent((3,), (Term(on.term.shape, on.term.factors, on.term.sums, (on.row,), on.col, on.term.dtype),))
    assert np.array_equal(found.dense(3, {}), np.diag([0.0, 4.0, 8.0]))


def test_offsets_follow_the_inputs():
    inputs = [input_node("x", s) for s in ((2, 3), (), (0,), (4,))]
    assert offsets_of(inputs) == [0, 6, 7, 7]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_random_movement_chains(data):
    """Compositions of slices, flips, gathers, reshapes and sums, as users nest them."""
    x = input_node("x", (2, 6))
    at = np.random.default_rng(3).normal(size=(2, 6))
    node, steps = x, []
    for _ in range(data.draw(st.integers(1, 5))):
        kind = data.draw(st.sampled_from(["flip", "gather", "reshape", "transpose", "sine", "shift"]))
        if kind == "flip" and node.ndim and node.shape[0] > 1:
            node = slice_axis(node, 0, node.shape[0] - 1, -1, node.shape[0])
            steps.append(lambda a: a[::-1])
        elif kind == "gather" and node.ndim:
            picks = np.array(data.draw(st.lists(st.integers(0, node.shape[-1] - 1), min_size=1, max_size=4)))
            node = gather_axis(node, node.ndim - 1, picks)
            steps.append(lambda a, picks=picks: a[..., picks])
        elif kind == "reshape":
            shape = data.draw(st.sampled_from(shapes_of(node.size)))
            node = reshape(node, shape)
            steps.append(lambda a, shape=shape: a.reshape(shape))
        elif kind == "transpose" and node.ndim > 1:
            node = transpose(node, range(node.ndim)[::-1])
            steps.append(lambda a: a.T)
        elif kind == "shift" and node.ndim and node.shape[0] > 1:
            node = apply("mul", slice_axis(node, 0, 1, 1, node.shape[0] - 1),
                         slice_axis(node, 0, 0, 1, node.shape[0] - 1))
            steps.append(lambda a: a[1:] * a[:-1])
        else:
            node = apply("sin", node)
            steps.append(np.sin)

    def fn(a):
        for step in steps:
            a = step(a)
        return a

    same_jacobian(node, [x], [at], fn, 1e-6)


def shapes_of(size):
    """Every shape of up to three axes with so many elements."""
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    pairs = [(d, size // d) for d in divisors]
    triples = [(a, b, size // (a * b)) for a, b in itertools.product(divisors, divisors) if size % (a * b) == 0]
    return [(size,), *pairs, *triples]


def test_index_maps_with_a_table_and_strides_stay_consistent():
    m = table_map(np.array([[0], [5], [1]]), (3, 4)) + axis_map((3, 4), 1).scaled(2)
    assert isinstance(m, IndexMap)
    np.testing.assert_array_equal(m.values(), np.array([[0], [5], [1]]) + 2 * np.arange(4))
    np.testing.assert_array_equal(m.compose(identity_maps((3, 4))[::1], (3, 4)).values(), m.values())
