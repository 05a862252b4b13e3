"""Re-rolling: Python loops keep their values and derivatives; graph size no longer grows with the trip count."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from symhess import hessian_jit
from symhess.differentiate import gradient
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.node import Graph, constant, input_node, topological
from symhess.graph.verify import verify
from symhess.primitives import apply, cast, contract, element, index, scatter, stack, sum_over
from symhess.simplify import reroll
from symhess.trace import trace

SIZES = (24, 60, 120)


def pairs(x):
    s = 0.0
    for i in range(len(x)):
        for j in range(i):
            s += np.sin(x[i] * x[j]) / (1 + (x[i] - x[j]) ** 2)
    return s


def lennard_jones(x):
    m, energy = len(x) // 3, 0.0
    p = x.reshape(m, 3)
    for i in range(m):
        for j in range(i + 1, m):
            d = p[i] - p[j]
            r2 = d @ d
            energy += 1 / r2 ** 6 - 1 / r2 ** 3
    return energy


def lennard_jones_by_coordinates(x):
    energy = 0.0
    for i in range(0, len(x), 3):
        for j in range(0, i, 3):
            r2 = 0.0
            for c in range(3):
                r2 += (x[i + c] - x[j + c]) ** 2
            energy += 4 * (r2 ** -6 - r2 ** -3)
    return energy


def rosenbrock(x):
    s = 0.0
    for i in range(len(x) - 1):
        s += 100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
    return s


def residuals(x):
    r = np.zeros(len(x))
    r[0] = x[0] - 1
    for i in range(1, len(x)):
        r[i] = x[i] * x[i - 1] - np.cos(0.1 * i)
    return np.sum(r ** 2)


def edges(x):
    rng, s = np.random.default_rng(2), 0.0
    for _ in range(4 * len(x)):
        i, j = rng.integers(0, len(x), 2)
        s -= rng.random() * (x[i] - x[j]) ** 2 * np.exp(x[i])
    return s


def observations(x):
    data = np.random.default_rng(1).normal(size=(3 * len(x), 4))
    s = 0.0
    for row in data:
        s += np.log(1 + np.exp(-(row @ x[:4]))) + 0.1 * np.sum((row - x[:4]) ** 2)
    return s + np.sum(x ** 2)


def rows_of_an_input(x):
    m = x.reshape(-1, 4)
    weights = np.array([1.0, -2.0, 0.5, 3.0])
    return sum(np.tanh(m[i] @ weights) * m[i, 2] for i in range(len(m)))


def sums_within_sums(x):
    t = 0.0
    for i in range(len(x)):
        s = 0.0
        for j in range(i):
            s += np.exp(x[i] * x[j])
        t += np.log(1 + s)
    return t


def matrix_vector(x):
    a, t = np.random.default_rng(2).normal(size=(len(x), len(x))), 0.0
    for i in range(len(x)):
        s = 0.0
        for j in range(len(x)):
            s += a[i, j] * x[j]
        t += s ** 2
    return t


def minimal_surface(x):
    u, area = x.reshape(-1, 6), 0.0
    for i in range(len(u) - 1):
        for j in range(5):
            area += np.sqrt(1 + (u[i + 1, j] - u[i, j]) ** 2 + (u[i, j + 1] - u[i, j]) ** 2)
    return area


def smoothing_in_place(x):
    v = np.zeros_like(x)
    for i in range(1, len(x) - 1):
        v[i] = (x[i - 1] + x[i] + x[i + 1]) / 3
    return np.sum(v[1:] * v[:-1] ** 2)


def five_point_stencil(x):
    u = x.reshape(-1, 6)
    r = np.zeros(u.shape)
    for i in range(1, len(u) - 1):
        for j in range(1, 5):
            r[i, j] = u[i + 1, j] + u[i - 1, j] + u[i, j + 1] + u[i, j - 1] - 4 * u[i, j] - np.exp(u[i, j])
    return np.sum(r ** 2)


def matrix_product(x):
    m, b = x.reshape(-1, 6), np.random.default_rng(0).normal(size=(6, 7))
    c = np.zeros((len(m), 7))
    for i in range(len(m)):
        for j in range(7):
            for k in range(6):
                c[i, j] += m[i, k] * b[k, j]
    return np.sum(np.sin(c))


def bond_angles(x):
    p, energy = x.reshape(-1, 3), 0.0
    for i in range(len(p) - 2):
        a, b = p[i] - p[i + 1], p[i + 2] - p[i + 1]
        energy += np.arccos(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b))) ** 2
        energy += np.linalg.norm(np.cross(a, b))
    return energy


def list_of_terms(x):
    return np.sum(np.array([np.where(x[i] > 1, x[i] ** 3, -x[i]) for i in range(len(x))]) * x[::-1])


def several_loops(x):
    scale, s = np.exp(x[0]), 0.0
    for i in range(len(x)):
        s += scale * np.maximum(x[i], x[-1 - i])
    for i in range(0, len(x), 2):
        s -= x[i] ** 1.5 + x[i] ** 2.5 * x[1]
    return s * pairs(x[:len(x) // 2]) + np.dot(x, x)


def vectors_in_a_buffer(x):
    p = x.reshape(-1, 3)
    force = np.zeros((len(p), 3))
    for i in range(len(p) - 1):
        d = p[i + 1] - p[i]
        force[i] += d / (d @ d)
        force[i + 1] -= d / (d @ d)
    return np.sum(force ** 2)


LOOPS = [pairs, lennard_jones, lennard_jones_by_coordinates, rosenbrock, residuals, edges, observations,
         rows_of_an_input, sums_within_sums, matrix_vector, minimal_surface, smoothing_in_place, five_point_stencil,
         matrix_product, bond_angles, list_of_terms, several_loops, vectors_in_a_buffer]


def sum_of_elements(x):
    total = 0.0
    for i in range(len(x) - 1, -1, -1):
        total = total + x[i] if i % 2 else total - x[i]
    return total


def traced(loop, n):
    x = input_node("x", (n,))
    return x, trace(loop, (x,)).outputs


def assert_same_function(old, new, inputs, arrays, tolerance=1e-12):
    """Values equal, gradients of their sums equal, and the new graph well-formed."""
    verify(Graph(tuple(inputs), tuple(new)))
    known = dict(zip(inputs, arrays))
    for got, expected in zip(evaluate_nodes(new, known), evaluate_nodes(old, known)):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    for before, after in zip(old, new):
        total = [o if o.ndim == 0 else sum_over(o, range(o.ndim)) for o in (before, after)]
        pulled = [evaluate_nodes(gradient(t, inputs), known) for t in total]
        for got, expected in zip(pulled[1], pulled[0]):
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("loop", LOOPS)
def test_loops_keep_value_and_gradient(loop):
    for n in SIZES[:2]:
        x, out = traced(loop, n)
        values = np.random.default_rng(0).uniform(0.5, 1.5, n)
        new = reroll([out], [x])
        assert_same_function([out], new, [x], [values])
        np.testing.assert_allclose(evaluate_nodes(new, {x: values})[0], loop(values), rtol=1e-12)


@pytest.mark.parametrize("loop", LOOPS)
def test_node_counts_do_not_grow_with_the_trip_count(loop):
    counts = []
    for n in SIZES:
        x, out = traced(loop, n)
        counts.append(len(topological(reroll([out], [x]))))
    assert counts[1] == counts[2] <= 80
    assert counts[2] < len(topological([out])) / 5


def test_affine_patterns_are_recognised():
    x, out = traced(rosenbrock, 50)
    maps = [m for node in topological(reroll([out], [x])) if node.op.name == "index" for m in node.attrs.maps]
    assert maps and all(m.is_affine for m in maps)


@pytest.mark.parametrize("loop, vectorised", [
    (minimal_surface, lambda u: np.sum(np.sqrt(1 + (u[1:, :-1] - u[:-1, :-1]) ** 2 + (u[:-1, 1:] - u[:-1, :-1]) ** 2))),
    (matrix_product, lambda m: np.sum(np.sin(np.sum(
        m[:, None, :] * np.random.default_rng(0).normal(size=(6, 7)).T[None], axis=2)))),
])
def test_nested_loops_become_what_one_would_have_written(loop, vectorised):
    """The same operations on the same shapes as in vectorised code, and no index tables."""
    x, out = traced(loop, 48)
    written = trace(lambda x: vectorised(x.reshape(-1, 6)), (x,)).outputs
    arithmetic = [sorted((n.op.name, n.shape) for n in topological([o]) if n.op.family != "movement" and n.args)
                  for o in (reroll([out], [x])[0], written)]
    assert arithmetic[0] == arithmetic[1]
    assert all(m.is_affine for n in topological(reroll([out], [x])) if n.op.name == "index" for m in n.attrs.maps)


def flow_loop(x, lines):
    """Ends of lines, some of them met before, in products that forget which came first."""
    n, total = len(x) // 2, 0.0
    for (i, j), w in zip(lines, weights(lines)):
        u, v = x[n + i], x[n + j]
        total += (w * u ** 2 - u * v * np.cos(x[i] - x[j]) + np.maximum(u, 0.5 * v)) ** 2
    return total


def flow_arrays(x, lines):
    n, (i, j) = len(x) // 2, lines.T
    u, v = x[n + i], x[n + j]
    return np.sum((weights(lines) * u ** 2 - u * v * np.cos(x[i] - x[j]) + np.maximum(u, 0.5 * v)) ** 2)


def weights(lines):
    return np.linspace(1.1, 1.9, len(lines))


def lines_of(case, buses, count):
    rng = np.random.default_rng(3)
    lines = rng.permutation(np.argwhere(np.tri(buses, k=-1)))[:count]
    lines = rng.permuted(lines, axis=1)
    if case == "ring":
        return np.stack([np.arange(buses), (np.arange(buses) + 1) % buses], axis=1)
    if case == "both ways":
        return np.concatenate([lines, lines[::-1, ::-1]])
    if case == "parallel":
        return np.concatenate([lines, lines[::2], lines[1::3]])
    if case == "loops":
        return np.concatenate([lines, np.repeat(np.arange(buses), 2).reshape(-1, 2)])[rng.permutation(count + buses)]
    return lines


@pytest.mark.parametrize("case", ["ring", "random", "parallel"])
def test_loops_over_lines_become_what_one_would_have_written(case):
    """The same operations and as many gathers as in vectorised code, whichever ends were met before."""
    lines = lines_of(case, 40, 70)
    found = []
    for form in (flow_loop, flow_arrays):
        x, out = traced(functools.partial(form, lines=lines), 80)
        nodes = topological(reroll([out], [x]))
        found.append(sorted((n.op.name, n.shape) for n in nodes if n.op.name != "constant"))
    assert found[0] == found[1]


@pytest.mark.parametrize("case", ["ring", "random", "both ways", "parallel", "loops"])
def test_hessians_of_loops_over_lines(case):
    """Held against SymPy's derivatives of one line, added up by NumPy."""
    lines = lines_of(case, 12, 30)
    w, a, b, u, v = z = sympy.symbols("w a b u v")
    smooth = (w * u ** 2 - u * v * sympy.cos(a - b) + u) ** 2  # u > v / 2 everywhere
    local = sympy.lambdify(z, sympy.hessian(smooth, z[1:]))
    x = np.concatenate([np.linspace(-1, 1, 12), np.linspace(1.0, 1.5, 12)])
    places = np.concatenate([lines, 12 + lines], axis=1)
    expected = np.zeros((24, 24))
    for p, weight in zip(places, weights(lines)):
        np.add.at(expected, np.ix_(p, p), np.array(local(weight, *x[p]), float))
    for form in (flow_loop, flow_arrays):
        found = hessian_jit(functools.partial(form, lines=lines))(x)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_cheap_operations_read_very_often_are_done_once():
    x, out = traced(lambda x: sum(np.sin((1 + x[i]) * (1 + x[j])) for i in range(40) for j in range(i)), 40)
    sums = [n for n in topological(reroll([out], [x])) if n.op.name == "add"]
    assert [n.size for n in sums] == [40]


def test_a_vectorised_graph_is_returned_as_it_is():
    def smooth(x):
        y = x
        for k in range(30):
            y = np.tanh(y * (k + 1.0)) + x[::-1]
        return np.sum(y)

    x, out = traced(smooth, 1000)
    assert reroll([out], [x])[0] is out


def test_a_long_chain_is_returned_as_it_is():
    def step(x):
        y, kept = x[0], 0.0
        for k in range(2000):
            y = y + 0.1 * np.sin(y) * x[k % 7]
            kept += y ** 2
            if k % 3 == 0:
                kept = kept * 0.5
        return kept

    x, out = traced(step, 7)
    new = reroll([out], [x])
    assert_same_function([out], new, [x], [np.linspace(0.1, 0.7, 7)], 1e-9)
    assert len(topological(new)) <= len(topological([out]))


def test_exponents_stay_apart():
    x, out = traced(lambda x: sum(x[i] ** 3 for i in range(40)) + sum(x[i] ** 4 for i in range(40)), 40)
    powers = [node for node in topological(reroll([out], [x])) if node.op.name == "pow"]
    assert sorted(float(node.args[1].attrs.array) for node in powers) == [3.0, 4.0]


def test_loops_over_different_arrays_do_not_mix():
    x, y = input_node("x", (30,)), input_node("y", (30,))
    u, v = apply("exp", x), apply("exp", apply("mul", constant(2.0), y))
    total = constant(0.0)
    for source in (u, v, x, y):
        for k in range(30):
            total = apply("add", total, apply("sin", element(source, (k,))))
    new = reroll([total], [x, y])
    rng = np.random.default_rng(1)
    assert_same_function([total], new, [x, y], [rng.normal(size=30), rng.normal(size=30)])
    assert not any(node.op.name in ("stack", "scatter") for node in topological(new))


def test_several_outputs_and_dtypes():
    x, y = input_node("x", (40,)), input_node("y", (40,), np.float32)
    first = [apply("mul", element(x, (k,)), cast(element(y, (39 - k,)), np.float64)) for k in range(40)]
    outputs = [stack(first), first[3], stack([apply("exp", element(y, (k,))) for k in range(40)])]
    new = reroll(outputs, [x, y])
    assert [o.dtype for o in new] == [o.dtype for o in outputs]
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=40), rng.normal(size=40).astype(np.float32)]
    for got, expected in zip(evaluate_nodes(new, dict(zip([x, y], arrays))),
                             evaluate_nodes(outputs, dict(zip([x, y], arrays)))):
        assert np.array_equal(got, expected)
    assert len(topological(new)) < 15


def test_sum_of_scattered_scalars_is_one_scatter():
    from symhess.graph.maps import constant_map

    x = input_node("x", (50,))
    total = None
    for k in range(50):
        part = scatter(apply("sin", element(x, (k,))), [constant_map((), (7 * k) % 20)], (20,))
        total = part if total is None else apply("add", total, part)
    new = reroll([total], [x])
    values = np.random.default_rng(0).normal(size=50)
    assert_same_function([total], new, [x], [values])
    assert sorted(node.op.name for node in topological(new)) == ["input", "scatter", "sin"]
    expected = np.zeros(20)
    np.add.at(expected, 7 * np.arange(50) % 20, np.sin(values))
    np.testing.assert_allclose(evaluate_nodes(new, {x: values})[0], expected, rtol=1e-14)


# -- random expressions --------------------------------------------------------------------------------------------


def random_outputs(draw, x, matrix):
    """Loops over random expressions of elements and rows, with random constants, shared parts and boundary cases."""
    rng = np.random.default_rng(draw(st.integers(0, 2 ** 32 - 1)))
    scalars = [element(x, (k,)) for k in range(x.size)]
    rows = [index(matrix, _row_maps(i, matrix.shape[1]), (matrix.shape[1],)) for i in range(matrix.shape[0])]
    loops = draw(st.lists(st.tuples(st.integers(9, 24), st.lists(st.sampled_from(STEPS), min_size=1, max_size=6)),
                          min_size=2, max_size=4))
    totals = []
    for trips, steps in loops:
        kept = []
        choices = rng.integers(0, 1000, 3 * len(steps)).tolist()
        for i in range(trips):
            kept.append(_iteration(i, steps, choices, scalars, rows, kept, rng))
        totals.append(kept)
        scalars = scalars + kept[:draw(st.integers(0, trips))]
    outputs = [stack(kept) for kept in totals]
    total = totals[0][0]
    for kept in totals:
        for k, v in enumerate(kept):
            total = apply("sub" if k % draw(st.integers(2, 5)) == 0 else "add", total, v)
    return [*outputs, total]


STEPS = ["add", "sub", "mul", "maximum", "sin", "constant", "neg", "row", "dot", "boundary", "where"]


def _row_maps(i, width):
    from symhess.graph.maps import axis_map, constant_map

    return [constant_map((width,), i), axis_map((width,), 0)]


def _iteration(i, steps, choices, scalars, rows, kept, rng):
    value, row = scalars[i % len(scalars)], rows[i % len(rows)]
    for k, step in enumerate(steps):
        other = scalars[(i * (1 + choices[k] % 2) + choices[k]) % len(scalars)]
        if step in ("add", "sub", "mul", "maximum"):
            value = apply(step, value, other)
        elif step in ("sin", "neg"):
            value = apply(step, value)
        elif step == "constant":
            value = apply("mul", constant(float(rng.integers(1, 4))), value)
        elif step == "row":
            row = apply("mul", apply("add", row, rows[(i + choices[k]) % len(rows)]), value)
        elif step == "dot":
            value = apply("sin", contract([(row, (0,)), (rows[choices[k] % len(rows)], (0,))], (), {0: row.size}))
        elif step == "boundary":
            value = value if i == 0 else apply("add", value, kept[-1] if choices[k] % 4 == 0 else other)
        elif step == "where":
            value = apply("where", apply("less", value, other), value, apply("mul", other, other))
    return value


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_loops_keep_value_and_gradient(data):
    x, matrix = input_node("x", (11,)), input_node("m", (10, 3))
    outputs = random_outputs(data.draw, x, matrix)
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0.2, 1.2, 11), rng.uniform(-1, 1, (10, 3))]
    assert_same_function(outputs, reroll(outputs, [x, matrix]), [x, matrix], arrays, 1e-9)


def test_a_sum_of_elements_is_a_sum_of_an_array():
    """Nothing is done to the elements, so no class of operations has members."""
    x, out = traced(sum_of_elements, 400)
    new = reroll([out], [x])
    assert len(topological(new)) < 10
    assert_same_function([out], new, [x], [np.random.default_rng(0).normal(size=400)])
