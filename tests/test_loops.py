"""Structured loops: scan, while_loop, fori_loop, cond and switch against the same functions as unrolled Python loops.

The oracles know nothing of symhess: second-order Taylor arithmetic on the unrolled loop (taylor.py), complex steps,
closed forms, and SymPy on short loops.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sympy
from oracles import assert_close
from taylor import namespace, taylor

import symhess
from symhess import (
    cond,
    custom_derivative,
    external,
    fori_loop,
    grad,
    hessian,
    hessian_jit,
    hvp,
    jacfwd,
    jacrev,
    scan,
    switch,
    vhp,
    vmap,
    while_loop,
)
from symhess.differentiate import gradient
from symhess.errors import (
    ConcretizationError,
    DTypeMismatch,
    InputMutation,
    LeakedTracer,
    ShapeMismatch,
    UnsupportedOperation,
)
from symhess.graph.node import Graph
from symhess.graph.verify import verify
from symhess.structure import tangents

INTERPRETED = {"mode": "autograd"}
BOTH = ("autograd", "auto")
T = namespace()


def exact(unrolled, *args):
    """(value, gradient, Hessian) of an unrolled function of the namespace `np`, by Taylor arithmetic."""
    return taylor(lambda *a: unrolled(T, *a), args, args, lambda _, inputs: inputs)


def check(f, unrolled, *args, mode="autograd", tolerance=1e-11):
    """Value, gradient and Hessian of f against those of the same function without loops."""
    value, slope, curvature = exact(unrolled, *args)
    made = hessian_jit(f, argnums=tuple(range(len(args))), mode=mode)
    found = made.value_grad_hessian(*args)
    assert_close(found[0], np.array(value), tolerance)
    assert_close(np.concatenate([np.ravel(g) for g in found[1]]), slope, tolerance)
    sizes = [np.size(a) for a in args]
    flat = np.block([[np.reshape(b, (m, n)) for b, n in zip(row, sizes)] for row, m in zip(found[2], sizes)])
    assert_close(flat, curvature, tolerance)


def body_of(node):
    """The graph of the last phase, or branch, of a loop or a switch."""
    return list(node.attrs.graphs())[-1][1]


def factors(found):
    """The nodes that tangents are made of."""
    return tuple(f.node for t in found for term in t.terms for f in term.factors)


def loops_in(graph):
    return [n for n in graph.nodes() if n.op.name in ("loop", "switch")]


# -- the functions, with and without loops ---------------------------------------------------------------------------


def logistic(r, x0, steps=7):
    return scan(lambda x, _: (r * x * (1 - x), None), x0, length=steps)[0]


def logistic_unrolled(np, r, x0, steps=7):
    for _ in range(steps):
        x0 = r * x0 * (1 - x0)
    return x0


def pendulum(q, steps=6, h=0.1):
    def force(q):
        return np.stack([q[1], -np.sin(q[0]) - 0.1 * q[1]])

    last, left = scan(lambda q, _: (q + h * force(q + h / 2 * force(q)), q[0] ** 2), q, None, length=steps)
    return np.sum(last**2) + np.sum(left)


def pendulum_unrolled(np, q, steps=6, h=0.1):
    def force(q):
        return np.array([q[1], -np.sin(q[0]) - 0.1 * q[1]])

    total = 0.0
    for _ in range(steps):
        total = total + q[0] ** 2
        q = q + h * force(q + h / 2 * force(q))
    return np.sum(q**2) + total


DATA = np.linspace(-1, 1, 15).reshape(5, 3)


def recurrence(W, h0):
    def step(state, x):
        h, total = state
        h = np.tanh(W @ h + x)
        return (h, total + np.sum(h)), {"square": h * h, "sum": np.sum(h * x)}

    (h, total), ys = scan(step, (h0, 0.0), DATA)
    return np.sum(h) * total + np.sum(ys["square"][1:]) + np.sum(ys["sum"] ** 2)


def recurrence_unrolled(np, W, h0):
    h, total, squares, sums = h0, 0.0, 0.0, 0.0
    for t, x in enumerate(DATA):
        h = np.tanh(W @ h + x)
        total = total + np.sum(h)
        squares = squares + (np.sum(h * h) if t else 0.0)
        sums = sums + np.sum(h * x) ** 2
    return np.sum(h) * total + squares + sums


def far(x, y):
    return np.sum(np.abs(np.cos(y) * x - y)) > 1e-3


def fixed_point(x):
    """As many steps as it takes, which depends on x; the number of steps is part of the state."""
    k, y = while_loop(lambda s: (s[0] < 50) & far(x, s[1]), lambda s: (s[0] + 1, np.cos(s[1]) * x), (0, x))
    return np.sum(y**2) + k * np.sum(x)


def fixed_point_unrolled(np, x):
    start = plain = globals()["np"].array([getattr(v, "v", v) for v in x])
    k, y = 0, x
    while k < 50 and far(start, plain):
        k, y, plain = k + 1, np.cos(y) * x, globals()["np"].cos(plain) * start
    return np.sum(y**2) + k * np.sum(x)


def horner(c, x):
    return fori_loop(1, 4, lambda i, p: p * x + c[i], c[0] * 1.0)


def horner_unrolled(np, c, x):
    return ((c[0] * x + c[1]) * x + c[2]) * x + c[3]


def backwards(x):
    """A scan from the last to the first, whose rows come out in the order of xs."""
    c, ys = scan(lambda c, v: (np.sin(c) * v, c * v), 1.0, x, reverse=True)
    return c + np.sum(ys * np.arange(1.0, len(x) + 1))


def backwards_unrolled(np, x):
    c, total = 1.0, 0.0
    for k in reversed(range(len(x))):
        total = total + c * x[k] * (k + 1)
        c = np.sin(c) * x[k]
    return c + total


def nested(x):
    """A scan in a scan with a branch, over the outer state and the outer x."""
    def outer(c, t):
        last, left = scan(lambda d, s: (np.sin(d) * x[0] + s * t, d), c, np.arange(3.0))
        return last + cond(c > 0, lambda: c * x[1], lambda: -c), np.sum(left)

    c, ys = scan(outer, x[1], np.arange(4.0))
    return c + np.sum(ys)


def nested_unrolled(np, x):
    c, total = x[1], 0.0
    for t in range(4):
        d = c
        for s in range(3):
            total = total + d
            d = np.sin(d) * x[0] + float(s * t)
        c = d + (c * x[1] if c > 0 else -c)
    return c + total


def bounces(x):
    """A while loop in a scan, and a switch in the while loop."""
    def settle(y):
        way = lambda y: switch((np.abs(y) > 4) * 1 + (y > 8), [lambda: y, lambda: y / 2 + x[0], lambda: y / 4], )
        return while_loop(lambda s: np.abs(s) > 4, lambda s: way(s), y)

    return scan(lambda y, v: (settle(y * v), y), x[1], np.array([2.0, 3.0, 5.0, 7.0]))[0]


def bounces_unrolled(np, x):
    y = x[1]
    for v in (2.0, 3.0, 5.0, 7.0):
        y = y * v
        while abs(y) > 4:
            y = y / 4 if y > 8 else y / 2 + x[0]
    return y


CASES = {
    "logistic": (logistic, logistic_unrolled, (2.3, 0.4)),
    "pendulum": (pendulum, pendulum_unrolled, (np.array([0.5, -0.2]),)),
    "recurrence": (recurrence, recurrence_unrolled, (DATA[:3] + 0.3, np.array([0.1, -0.2, 0.3]))),
    "fixed point": (fixed_point, fixed_point_unrolled, (np.array([0.4, 0.7]),)),
    "horner": (horner, horner_unrolled, (np.array([0.5, -1.0, 2.0, 0.3]), 0.7)),
    "backwards": (backwards, backwards_unrolled, (np.array([0.5, 1.5, -0.7, 0.2]),)),
    "nested": (nested, nested_unrolled, (np.array([0.7, 0.3]),)),
    "bounces": (bounces, bounces_unrolled, (np.array([0.7, 0.9]),)),
}


@pytest.mark.parametrize("name", CASES)
def test_loops_agree_with_unrolled_loops(name):
    f, unrolled, args = CASES[name]
    check(f, unrolled, *args)


@pytest.mark.parametrize("name", ["recurrence", "fixed point", "backwards", "nested", "bounces"])
def test_kernels_agree_with_unrolled_loops(name):
    f, unrolled, args = CASES[name]
    check(f, unrolled, *args, mode="auto")


@pytest.mark.parametrize("name", CASES)
def test_plain_numbers_just_run(name):
    f, unrolled, args = CASES[name]
    assert_close(f(*args), np.array(unrolled(np, *args)), 1e-13)


@pytest.mark.parametrize("name", CASES)
def test_graphs_keep_the_rules(name):
    """Those of the function, of its gradient and of its Hessian."""
    f, _, args = CASES[name]
    graph = hessian_jit(f, argnums=tuple(range(len(args))), **INTERPRETED).graph(*args)
    slopes = gradient(graph.outputs[0], graph.inputs)
    columns = factors(tangents(slopes, graph.inputs))
    verify(Graph(graph.inputs, (*graph.outputs, *slopes, *columns)))


@pytest.mark.parametrize("name", CASES)
def test_every_way_to_a_second_derivative(name):
    """Forward and reverse over either, and products with a vector."""
    f, unrolled, args = CASES[name]
    if len(args) > 1:
        f, unrolled, args = (lambda r: logistic(r, 0.4)), (lambda np, r: logistic_unrolled(np, r, 0.4)), (2.3,)
    curvature = exact(unrolled, *args)[2].reshape(2 * np.shape(args[0]))
    for outer, inner in ((jacfwd, jacrev), (jacrev, jacfwd), (jacrev, jacrev), (jacfwd, jacfwd)):
        made = hessian_jit(outer(inner(f)), argnums=(), **INTERPRETED).value(*args)
        assert_close(made, curvature, 1e-10)
    v = np.linspace(1, 2, np.size(args[0])).reshape(np.shape(args[0]))
    for product in (hvp, vhp):
        made = hessian_jit(lambda *a, product=product: product(f)(*a), argnums=(), **INTERPRETED).value(*args, v)
        assert_close(made, np.tensordot(curvature, v, np.ndim(v)), 1e-10)


# -- other oracles -----------------------------------------------------------------------------------------------------


def test_sympy_to_third_order():
    r = sympy.Symbol("r")
    formula = logistic_unrolled(None, r, sympy.Rational(2, 5), 4)
    made = lambda r: logistic(r, 0.4, 4)
    for order in (1, 2, 3, 4):
        made = grad(made)
        expected = float(sympy.diff(formula, r, order).subs(r, sympy.Rational(5, 2)))
        found = hessian_jit(made, argnums=(), **INTERPRETED).value(2.5)
        assert found == pytest.approx(expected, rel=1e-12)


def test_root_of_a_while_loop_to_third_order():
    """The derivatives of the iterates converge to those of the square root."""
    root = lambda a: while_loop(lambda y: abs(y * y - a) > 1e-14 * a, lambda y: (y + a / y) / 2, a)
    found = hessian_jit(lambda a: (root(a), grad(root)(a), grad(grad(root))(a), grad(grad(grad(root)))(a)), argnums=(),
                        **INTERPRETED).value(3.0)
    np.testing.assert_allclose(found, [3**0.5, 0.5 * 3**-0.5, -0.25 * 3**-1.5, 0.375 * 3**-2.5], rtol=1e-9)


def test_gradient_by_a_complex_step():
    q, h = np.array([0.4, -0.3]), 1e-30
    expected = [pendulum_unrolled(np, q + 1j * h * e, 40).imag / h for e in np.eye(2)]
    assert_close(hessian_jit(lambda q: pendulum(q, 40), **INTERPRETED).grad(q), np.array(expected), 1e-13)


def test_linear_recurrence_in_closed_form():
    """|A^T x|^2 has the Hessian 2 (A^T)^T A^T."""
    A = np.array([[0.9, 0.2, 0.0], [-0.1, 0.8, 0.3], [0.0, 0.1, 1.1]])
    f = hessian_jit(lambda x: np.sum(scan(lambda x, _: (A @ x, None), x, length=30)[0] ** 2))
    P = np.linalg.matrix_power(A, 30)
    H = f(np.ones(3))
    assert_close(H, 2 * P.T @ P, 1e-12)
    assert np.array_equal(H, H.T)


def test_powers_by_a_traced_number_of_steps():
    power = hessian_jit(lambda n, x: fori_loop(0, n, lambda i, p: p * x, 1.0), argnums=1)
    assert [power(n, 2.0) for n in (0, 1, 2, 5)] == [0, 0, 2, 160]
    assert [power.grad(n, 2.0) for n in (0, 1, 2, 5)] == [0, 1, 4, 80]


# -- nothing grows with the number of steps ----------------------------------------------------------------------------


@pytest.mark.parametrize("f", [logistic, lambda r, x, steps: pendulum(np.stack([r, x]), steps),
                               lambda r, x, steps: fori_loop(0, steps, lambda i, v: np.sin(v) * r + i, x)])
def test_nodes_do_not_depend_on_the_number_of_steps(f):
    counts = []
    for steps in (10, 10**4):
        graph = hessian_jit(lambda r, x, steps=steps: f(r, x, steps), argnums=(0, 1)).graph(2.0, 0.5)
        slopes = gradient(graph.outputs[0], graph.inputs)
        found = tangents(slopes, graph.inputs)
        whole = Graph(graph.inputs, factors(found))
        bodies = [len(b.nodes()) for g in (graph, whole) for n in loops_in(g) for _, b in n.attrs.graphs()]
        counts.append((len(graph.nodes()), len(Graph(graph.inputs, tuple(slopes)).nodes()), len(whole.nodes()), bodies))
    assert counts[0] == counts[1]


def test_source_does_not_depend_on_the_number_of_steps():
    lines = [len(hessian_jit(lambda r, steps=steps: logistic(r, 0.4, steps)).source(2.0).splitlines())
             for steps in (10, 10**4)]
    assert lines[0] == lines[1]


def test_the_hessian_is_one_loop_over_all_columns():
    graph = hessian_jit(lambda x: recurrence(x[:9].reshape(3, 3), x[9:])).graph(np.ones(12))
    found = tangents(gradient(graph.outputs[0], graph.inputs), graph.inputs)
    loops = loops_in(Graph(graph.inputs, factors(found)))
    assert max(n.shape[0] for n in loops) >= 12 * 12
    assert all(n.attrs.length == len(DATA) and len(n.attrs.phases) <= 2 for n in loops)


def test_states_of_all_columns_keep_the_memory_budget():
    """Columns in chunks, where all at once would keep too much."""
    def f(x):
        return np.sum(scan(lambda c, _: (np.sin(c) * x, None), x, length=50)[0])

    x = np.linspace(0.1, 0.9, 20)
    large, small = (hessian_jit(f, memory_budget=b, **INTERPRETED) for b in (None, 100_000))
    assert "structured Terms" in large.explain(x)
    assert "dense columns in chunks" in small.explain(x)
    assert_close(small(x), large(x), 1e-13)


def test_rows_that_hang_on_no_state_are_computed_at_once():
    """They keep their structure, too: the Hessian is diagonal."""
    def f(x):
        _, ys = scan(lambda c, v: (c + 1, (np.sin(v) * v, v + c)), 0.0, x)
        return np.sum(ys[0]) + np.sum(fori_loop(0, 3, lambda i, s: s + i, 0.0) * x)

    x = np.linspace(0.1, 0.9, 5)
    made = hessian_jit(f, **INTERPRETED)
    assert made.sparsity(x).nnz == 5
    assert_close(made(x), exact(lambda np, x: np.sum(np.sin(x) * x), x)[2], 1e-13)


# -- what a loop consists of -------------------------------------------------------------------------------------------


def test_what_does_not_change_is_computed_outside():
    A = np.eye(2) * 0.5
    graph = hessian_jit(lambda x: np.sum(scan(lambda c, _: (np.sin(c) + A @ np.exp(x), None), x, length=9)[0])).graph(
        np.ones(2))
    (loop,) = loops_in(graph)
    assert {n.op.name for n in body_of(loop).nodes()} == {"input", "sin", "add"}


@pytest.mark.parametrize("looped", [
    lambda x: fori_loop(1, 50, lambda i, c: np.sin(c) * x[i] + x[i - 1], x[0]),
    lambda x: scan(lambda c, i: (np.sin(c) * x[i] + x[i - 1], None), x[0], np.arange(1, 50))[0]])
def test_elements_at_known_places_are_rows(looped):
    """So a step does not touch the whole array, and its cotangent is a row, too."""
    def unrolled(np, x):
        c = x[0]
        for i in range(1, 50):
            c = np.sin(c) * x[i] + x[i - 1]
        return c

    x = np.cos(np.arange(50.0))
    graph = hessian_jit(looped).graph(x)
    slopes = gradient(graph.outputs[0], graph.inputs)
    loops = [loop for g in (graph, Graph(graph.inputs, tuple(slopes))) for loop in loops_in(g)]
    assert {z.size for loop in loops for p in loop.attrs.phases for z in (*p.carry, *loop.attrs.consts)} == {1}
    check(looped, unrolled, x)


@pytest.mark.parametrize("mode", BOTH)
def test_elements_at_places_that_the_states_name(mode):
    def g(x):
        return fori_loop(0, 4, lambda k, s: (s[0] * 2 + 1 - 3 * (s[0] > 0), s[1] * x[s[0]] + x[1]), (0, x[0]))[1]

    def unrolled(np, x):
        k, c = 0, x[0]
        for _ in range(4):
            k, c = k * 2 + 1 - 3 * (k > 0), c * x[k] + x[1]
        return c

    check(g, unrolled, np.array([0.7, 1.3, 0.4]), mode=mode)


def test_what_nobody_asks_for_leaves_the_loop():
    def f(x):
        state, _ = scan(lambda s, _: ({"a": s["a"] * x, "b": np.sin(s["b"])}, np.cos(s["b"])), {"a": x, "b": x},
                        length=4)
        return np.sum(state["a"])

    graph = hessian_jit(f).graph(np.ones(2))
    slopes = gradient(graph.outputs[0], graph.inputs)
    (reverse,) = loops_in(Graph(graph.inputs, tuple(slopes)))
    assert not {"sin", "cos"} & {n.op.name for _, b in reverse.attrs.graphs() for n in b.nodes()}


def test_a_state_that_never_changes_is_a_constant():
    graph = hessian_jit(lambda x: fori_loop(0, 5, lambda i, s: (s[0], s[0] * s[1]), (x, 1.0))[1]).graph(2.0)
    (loop,) = loops_in(graph)
    assert [len(p.carry) for p in loop.attrs.phases] == [1]


def test_equal_loops_are_one():
    f = lambda x: scan(lambda c, _: (np.sin(c) * x, None), x, length=4)[0]
    assert len(loops_in(hessian_jit(lambda x: f(x) * f(x)).graph(2.0))) == 1


def test_value_gradient_and_hessian_share_their_steps():
    """All that goes forward is one loop, also where what goes back starts from its last state."""
    for f, args in ((logistic, (2.3, 0.4)), (pendulum, (np.array([0.5, -0.2]),))):
        made = hessian_jit(f, argnums=tuple(range(len(args))))
        assert made.source(*args, product="value_grad_hessian").count("_t in range") == 1


def test_loops_with_different_states_stay_apart():
    f = hessian_jit(lambda x: fori_loop(0, 5, lambda i, v: np.sin(v), x[0]) + fori_loop(0, 5, lambda i, v: v * v, x[1]))
    assert f.source(np.ones(2), product="value").count("_t in range") == 2
    g = hessian_jit(lambda x: fori_loop(0, 5, lambda i, v: v * x, 1.0) + fori_loop(
        0, 5, lambda i, s: (s[0] * x, s[0] + s[1]), (1.0, 0.0))[1])
    assert g.source(2.0, product="value").count("_t in range") == 1
    assert g.value(2.0) == 2**5 + 31


def test_python_loops_inside_of_a_body_are_rolled():
    def step(c, _):
        return c + sum(np.sin(c[k + 1] - c[k]) for k in range(99)), None

    graph = hessian_jit(lambda x: np.sum(scan(step, x, length=3)[0])).graph(np.ones(100))
    assert len(body_of(loops_in(graph)[0]).nodes()) < 20


def test_graphs_show_the_body():
    lines = str(hessian_jit(logistic, argnums=(0, 1)).graph(2.0, 0.5)).splitlines()
    assert lines[:6] == [
        "%0 = input arg0 : float64[]", "%1 = input arg1 : float64[]", "%2 = loop(%0, %1, length=7) : float64[]",
        "  7 steps, of z0:", "    %0 = input c0 : float64[]", "    %1 = input z0 : float64[]"]
    assert sorted(line.split()[2].split("(")[0] for line in lines[6:-2]) == ["constant", "mul", "mul", "sub"]
    assert lines[-2:] == ["    return %5", "return %2"]


def test_explain_shows_the_loop():
    text = hessian_jit(lambda x: fixed_point(x)).explain(np.array([0.4, 0.7]))
    assert "loop (while)" in text
    assert "as many steps, backwards, of" in text


# -- values of many kinds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", BOTH)
def test_kinds_of_states_and_rows(mode):
    """Integers, truth values, None, nested containers, rows of several shapes."""
    def f(x):
        def step(s, row):
            v, (k, seen) = s["v"], s["k"]
            v = v * row["a"] + row["i"]
            return {"v": v, "k": (k + row["i"], seen | (v[0] > 2.5))}, (v, None, [k, seen])

        xs = {"a": np.stack([x, 2 * x, x * x]), "i": np.array([0, 2, 1])}
        s, (v, nothing, (k, seen)) = scan(step, {"v": x, "k": (0, False)}, xs)
        assert nothing is None
        assert k.dtype == np.int64
        assert seen.dtype == bool
        return s["v"], s["k"], v, k, seen

    x = np.array([1.5, 0.5])
    found = hessian_jit(f, argnums=(), mode=mode).value(x)
    expected = f(x)
    for a, b in zip(symhess.graph.pytrees.flatten(found)[0], symhess.graph.pytrees.flatten(expected)[0]):
        np.testing.assert_allclose(a, b, rtol=1e-14)
        assert np.asarray(a).dtype == np.asarray(b).dtype


@pytest.mark.parametrize("mode", BOTH)
def test_loops_without_steps(mode):
    def f(x):
        c, ys = scan(lambda c, _: (c * x, {"y": c, "n": 1}), x, length=0)
        assert ys["y"].shape == (0,)
        return c**2 + np.sum(ys["y"]) + fori_loop(3, 1, lambda i, v: v * x, x) + while_loop(
            lambda v: v > 1e9, lambda v: v * v, x) ** 3

    assert hessian_jit(f, mode=mode)(2.0) == 2 + 6 * 2.0
    assert f(2.0) == 4 + 2 + 8


def test_one_step():
    assert hessian_jit(lambda x: scan(lambda c, _: (c**3, None), x, length=1)[0], **INTERPRETED)(2.0) == 12


def test_many_steps_of_unknown_number():
    """The memory of the states grows on the way."""
    f = hessian_jit(lambda x, n: while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] + x * s[1] / 1000, x + s[2]),
                                            (0, x, 0.0))[1])
    for n in (3, 31, 32, 33, 700):
        u = 1 + 1.5 / 1000
        expected = 2 * n * u ** (n - 1) / 1000 + 1.5 * n * (n - 1) * u ** (n - 2) / 1e6
        assert f(1.5, n) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("mode", BOTH)
def test_single_precision_is_kept(mode):
    x = np.array([0.5, 1.5], np.float32)
    f = lambda x: np.sum(scan(lambda s, _: ((s[0] * np.sin(x), s[1] + np.sum(s[0])), None), (x, 0.0), length=3)[0][1])
    made = hessian_jit(f, mode=mode)
    assert made(x).dtype == made.grad(x).dtype == np.float32
    np.testing.assert_allclose(made(x), hessian_jit(f, **INTERPRETED)(x.astype(float)), rtol=1e-5)


@pytest.mark.parametrize("mode", BOTH)
def test_complex_states_and_rows(mode):
    def f(x):
        step = lambda z, v: (z * z / 2 + x[0] * v + x[1], z * np.conj(z))
        z, rows = scan(step, x[0] + 0j, np.array([1j, 2.0, 3j]))
        z = while_loop(lambda z: np.abs(z) > 2, lambda z: z / 2, cond(x[0] > 0, lambda: z * 1j, lambda: z))
        return z.real * z.imag + np.sum(rows.real)

    def unrolled(np, x):
        re, im, total = x[0], 0.0, 0.0
        for a, b in ((0.0, 1.0), (2.0, 0.0), (0.0, 3.0)):
            total = total + re * re + im * im
            re, im = (re * re - im * im) / 2 + x[0] * a + x[1], re * im + x[0] * b
        re, im = -im, re
        while (re * re + im * im) > 4:
            re, im = re / 2, im / 2
        return re * im + total

    check(f, unrolled, np.array([0.7, 0.3]), mode=mode)
    assert f(np.array([0.7, 0.3])) == pytest.approx(unrolled(np, np.array([0.7, 0.3])), rel=1e-14)


def test_integer_rows_pick_elements():
    x = np.array([0.7, 0.3])
    f = lambda x: scan(lambda c, i: (c * x[i] + i, None), 1.0, np.array([1, 0, 1]))[0]
    assert_close(hessian_jit(f)(x), exact(lambda np, x: (x[1] + 1) * x[0] * x[1] + 1, x)[2])


def test_weak_numbers_take_the_dtype_of_the_step():
    f = hessian_jit(lambda x: scan(lambda c, v: (c + v, c), 0, x), argnums=(), **INTERPRETED)
    total, rows = f.value(np.array([0.5, 1.5]))
    assert total == 2.0
    np.testing.assert_array_equal(rows, [0, 0.5])
    half = hessian_jit(lambda x: scan(lambda c, v: (c * v, None), 1.0, x)[0], argnums=(), **INTERPRETED)
    assert half.value(np.ones(2, np.float32)).dtype == np.float32


def test_transforms_inside_of_a_body():
    """Gradient descent by a scan over grad, differentiated through."""
    def f(x):
        energy = lambda q: np.sum(np.cos(q) * x)
        return np.sum(scan(lambda q, _: (q - 0.1 * grad(energy)(q), None), x, length=3)[0])

    def unrolled(np, x):
        q = x
        for _ in range(3):
            q = q + 0.1 * np.sin(q) * x
        return np.sum(q)

    check(f, unrolled, np.array([0.7, 0.3]))


def test_a_sequence_of_equal_loops():
    """Python loops over scans: re-rolled or not, the values are the same."""
    def f(x):
        total = 0.0
        for v in x:
            total = total + scan(lambda c, _, v=v: (np.sin(c) * v, None), v, length=3)[0]
        return total

    check(f, lambda np, x: np.sum(np.sin(np.sin(np.sin(x) * x) * x) * x), np.linspace(0.1, 0.9, 12))


def test_bodies_see_the_variable_of_a_loop_as_it_is():
    """Bodies, and functions to be differentiated, that are made in a Python loop and share its variable."""
    f = lambda x: sum(scan(lambda c, _: (np.sin(c) * x[k], None), x[k], length=3)[0] for k in range(3))  # noqa: B023
    g = lambda x: sum(grad(lambda y: y * y * x[k])(x[k]) for k in range(3))  # noqa: B023
    x = np.array([0.3, 0.5, 0.9])
    assert hessian_jit(f, **INTERPRETED).value(x) == pytest.approx(f(x), rel=1e-14)
    assert hessian_jit(g, **INTERPRETED).value(x) == pytest.approx(2 * np.sum(x * x), rel=1e-14)


# -- branches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", BOTH)
def test_cond_takes_one_branch(mode):
    f = hessian_jit(lambda x: cond(x > 1, lambda v: v["a"] ** 3, lambda v: np.sin(v["a"]) * v["b"], {"a": x, "b": 2.0}),
                    mode=mode)
    assert f(2.0) == 12.0
    assert f(0.5) == pytest.approx(-2 * np.sin(0.5), rel=1e-14)
    assert not f._paths or all(not p.guards for paths in f._paths.values() for p in paths)


@pytest.mark.parametrize("k", [-7, 0, 1, 2, 9])
def test_switch_clips_its_index(k):
    f = lambda k, x: switch(k, [np.sin, lambda x: x**3, np.exp], x)
    clipped = min(max(k, 0), 2)
    expected = (-np.sin(2.0), 12.0, np.exp(2.0))[clipped]
    assert hessian_jit(f, argnums=1, **INTERPRETED)(k, 2.0) == pytest.approx(expected, rel=1e-14)
    assert f(k, 2.0) == pytest.approx((np.sin(2.0), 8.0, np.exp(2.0))[clipped])


def test_switch_in_a_kernel():
    f = hessian_jit(lambda k, x: np.sum(switch(k, [np.sin, lambda x: x**3, np.exp, lambda x: x], x)), argnums=1)
    x = np.array([0.5, 2.0])
    for k, expected in ((-1, -np.sin(x)), (1, 6 * x), (2, np.exp(x)), (3, 0 * x)):
        assert_close(f(k, x), np.diag(expected), 1e-14)


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("closed", [False, True])
def test_the_branch_not_taken_leaves_no_nan(mode, closed):
    def f(x):
        if closed:
            return cond(x > 0, lambda: np.sqrt(x), lambda: 0.0) + cond(x > 0, lambda: np.log(x), lambda: x * x)
        return cond(x > 0, np.sqrt, lambda v: 0.0 * v, x) + cond(x > 0, np.log, lambda v: v * v, x)

    made = hessian_jit(f, mode=mode)
    assert made.value_grad_hessian(-1.0) == (1.0, -2.0, 2.0)
    assert made.value_grad_hessian(0.0) == (0.0, 0.0, 2.0)
    assert made(4.0) == -0.25 * 4**-1.5 - 1 / 16


def test_a_batch_of_predicates_leaves_no_nan():
    f = lambda v: cond(v > 0, lambda: np.sqrt(v), lambda: v * v)
    x = np.array([-1.0, 4.0, 0.0])
    expected = [2.0, -0.25 * 4**-1.5, 2.0]
    assert_close(hessian_jit(lambda x: np.sum(vmap(f)(x)), **INTERPRETED)(x), np.diag(expected), 1e-14)
    assert_close(hessian_jit(lambda x: vmap(hessian(f))(x), argnums=(), **INTERPRETED).value(x), np.array(expected))
    assert_close(hessian_jit(f, **INTERPRETED).batch(x), np.array(expected))


def test_a_while_loop_that_does_not_run_leaves_no_nan():
    f = hessian_jit(lambda x: while_loop(lambda v: v > 5, lambda v: v * np.sqrt(x - 5), x) ** 2)
    assert f.value_grad_hessian(-1.0) == (1.0, -2.0, 2.0)


def test_branches_of_plain_numbers_are_called():
    seen = []
    note = lambda name: lambda *a: seen.append(name) or 1.0
    assert cond(True, note("true"), note("false")) == 1.0
    assert cond(np.float64(0), note("true"), note("false")) == 1.0
    switch(np.int32(1), [note("zero"), note("one")], 5)
    assert seen == ["true", "false", "one"]


# -- batches -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pendulum", "fixed point", "backwards", "nested", "bounces"])
def test_batches_equal_single_calls(name):
    f, _, (x,) = CASES[name]
    rows = np.stack([x, 0.9 * x, 1.1 * x + 0.05, -x])
    single = hessian_jit(f, **INTERPRETED)
    expected = np.stack([single(row) for row in rows])
    assert_close(single.batch(rows), expected, 1e-11)
    mapped = hessian_jit(lambda rows: vmap(f)(rows), argnums=(), **INTERPRETED)
    assert_close(mapped.value(rows), np.stack([single.value(row) for row in rows]), 1e-12)
    diagonal = hessian_jit(lambda rows: np.sum(vmap(f)(rows)), **INTERPRETED)(rows)
    assert_close(np.stack([diagonal[k, :, k] for k in range(4)]), expected, 1e-11)


def test_a_batch_in_a_kernel():
    """While loops of different lengths, over a batch."""
    f = hessian_jit(lambda a: while_loop(lambda y: abs(y * y - a) > 1e-14 * a, lambda y: (y + a / y) / 2, a))
    a = np.array([2.0, 9.0, 1e4, 0.3])
    assert_close(f.batch(a), -0.25 * a**-1.5, 1e-8)


def test_mapped_bounds():
    f = vmap(hessian(lambda x, n: fori_loop(0, n, lambda i, v: v * x, 1.0)), in_axes=(None, 0))
    found = hessian_jit(f, argnums=(), **INTERPRETED).value(2.0, np.array([0, 1, 2, 5]))
    np.testing.assert_array_equal(found, [0, 0, 2, 160])


# -- options and surroundings ------------------------------------------------------------------------------------------


def test_sparse_and_diagonal():
    x = np.linspace(0.2, 0.8, 4)
    f = hessian_jit(lambda x: pendulum(x[:2]) + np.sum(x[2:] ** 3), **INTERPRETED)
    H = np.zeros((4, 4))
    H[:2, :2] = exact(pendulum_unrolled, x[:2])[2]
    H[2:, 2:] = np.diag(6 * x[2:])
    sparse = f.sparse(x)
    assert sparse.nnz == 6
    assert_close(sparse.toarray(), H, 1e-12)
    assert_close(f.diagonal(x), np.diag(H), 1e-12)


def test_hvp_in_a_kernel():
    q, v = np.array([0.5, -0.2]), np.array([1.0, 2.0])
    assert_close(hessian_jit(pendulum, mode="symbolic").hvp(q, v), exact(pendulum_unrolled, q)[2] @ v, 1e-12)


def test_threads_give_the_same():
    q = np.array([0.5, -0.2])
    assert_close(hessian_jit(pendulum, parallel=True)(q), exact(pendulum_unrolled, q)[2], 1e-12)


def test_kernels_on_disk(tmp_path):
    found = [hessian_jit(fixed_point, cache=str(tmp_path))(np.array([0.4, 0.7])) for _ in range(2)]
    assert len(list(tmp_path.glob("symhess_*.o"))) == 1
    assert np.array_equal(*found)
    assert_close(found[0], exact(fixed_point_unrolled, np.array([0.4, 0.7]))[2], 1e-12)


decorated = hessian_jit(pendulum, **INTERPRETED)


def test_pickles():
    again = pickle.loads(pickle.dumps(decorated))
    assert np.array_equal(again(np.ones(2)), decorated(np.ones(2)))


def test_rules_of_your_own_inside_of_a_body():
    soft = custom_derivative(partials="sigmoid(x)")(lambda x: np.logaddexp(0, x))
    f = lambda x: np.sum(scan(lambda c, _: (soft(c) * x, None), x, length=3)[0])

    def unrolled(np, x):
        c = x
        for _ in range(3):
            c = np.logaddexp(0, c) * x
        return np.sum(c)

    for mode in BOTH:
        check(f, unrolled, np.array([0.7, 0.3]), mode=mode)


def test_external_code_inside_of_a_body():
    """The loop is then run by the interpreter, before the kernel."""
    sine = external(lambda v: float(np.sin(v)), grad=lambda v: np.cos(v), hess=lambda v: -np.sin(v))
    f = hessian_jit(lambda x: scan(lambda c, _: (sine(c) * x[0], None), x[1], length=3)[0])
    x = np.array([0.7, 0.3])
    assert_close(f(x), exact(lambda np, x: np.sin(np.sin(np.sin(x[1]) * x[0]) * x[0]) * x[0], x)[2], 1e-12)
    assert "before the kernel" in f.explain(x)


def test_stable_forms_are_found_inside_of_a_body():
    f = hessian_jit(lambda x: scan(lambda c, _: (np.log(1 + np.exp(c * x)), None), x, length=2)[0], **INTERPRETED)
    assert f(800.0) == pytest.approx(4800, rel=1e-12)


def test_no_formulas():
    with pytest.raises(UnsupportedOperation, match="loop has no SymPy formula"):
        hessian_jit(logistic, argnums=(0, 1)).sympy(2.0, 0.5)


# -- errors ------------------------------------------------------------------------------------------------------------

X = np.array([0.7, 0.3])
WRONG = {
    "shape of a carry": (ShapeMismatch, r"carry\['v'\] has shape \(2,\), but .* returns shape \(1,\)",
                         lambda x: scan(lambda c, _: ({"v": c["v"][:1]}, None), {"v": x}, length=3)[0]["v"]),
    "dtype of a carry": (DTypeMismatch, r"carry\[1\] has dtype float64, but .* returns bool",
                         lambda x: while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] > 0), (0, x))[1] * x),
    "structure of a carry": (ShapeMismatch, "carry of the structure",
                             lambda x: fori_loop(0, 3, lambda i, c: (c, c), x)),
    "no pair": (ShapeMismatch, r"must return a pair \(carry, y\)", lambda x: scan(lambda c, _: c, x, length=3)[0]),
    "no length": (ShapeMismatch, "without xs it needs length=", lambda x: scan(lambda c, _: (c, None), x)[0]),
    "different lengths": (ShapeMismatch, r"different numbers of steps, 2 by xs\[0\], 3 by xs\[1\]",
                          lambda x: scan(lambda c, v: (c, None), x, (x, np.ones(3)))[0]),
    "wrong length": (ShapeMismatch, "2 by xs, 5 by length", lambda x: scan(lambda c, v: (c, None), x, x, length=5)[0]),
    "negative length": (ShapeMismatch, "length=-1", lambda x: scan(lambda c, v: (c, None), x, length=-1)[0]),
    "number as xs": (ShapeMismatch, "xs is a number", lambda x: scan(lambda c, v: (c, None), x, 3.0)[0]),
    "several predicates": (ShapeMismatch, r"one truth value, it has shape \(2,\)",
                           lambda x: cond(x > 0, np.sin, np.cos, x)),
    "several conditions": (ShapeMismatch, "must return one truth value",
                           lambda x: while_loop(lambda c: c < 3, lambda c: c * 2, x)),
    "shapes of branches": (ShapeMismatch, r"result\['a'\] has shape \(2,\) in .* and \(\) in",
                           lambda x: cond(x[0] > 0, lambda: {"a": x[0]}, lambda: {"a": x})["a"]),
    "dtypes of branches": (DTypeMismatch, "dtypes int64, float64 in the branches",
                           lambda x: cond(x[0] > 0, lambda: x, lambda: (x > 0).astype(int)) * x),
    "structures of branches": (ShapeMismatch, "branches must return the same structure",
                               lambda x: cond(x[0] > 0, lambda: x, lambda: (x, x))),
    "a bound that is no integer": (DTypeMismatch, "must be one integer, not 2.5",
                                   lambda x: fori_loop(0, 2.5, lambda i, c: c, x)),
    "a traced bound that is no integer": (DTypeMismatch, "must be one integer, not float64",
                                          lambda x: fori_loop(0, x[0], lambda i, c: c, x)),
    "an index that is no integer": (DTypeMismatch, "index of switch must be an integer",
                                    lambda x: switch(x[0], [np.sin, np.cos], x)),
    "a string in a carry": (DTypeMismatch, r"carry\[1\] is a str",
                            lambda x: fori_loop(0, 2, lambda i, c: c, (x, "a"))[0]),
    "a string from a step": (DTypeMismatch, "is a str, not a number",
                             lambda x: scan(lambda c, _: (c, "a"), x, length=2)[0]),
    "if on a carry": (ConcretizationError, r"choose by symhess.cond",
                      lambda x: scan(lambda c, _: (c if c[0] > 0 else -c, None), x, length=2)[0]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_raises(name):
    error, message, f = WRONG[name]
    with pytest.raises(error, match=message):
        hessian_jit(lambda x: np.sum(f(x)), **INTERPRETED)(X)


@pytest.mark.parametrize("name", ["shape of a carry", "dtype of a carry", "structure of a carry", "no pair",
                                  "no length", "different lengths", "wrong length", "several predicates",
                                  "several conditions",
                                  "a bound that is no integer", "an index that is no integer"])
def test_what_raises_for_plain_numbers(name):
    error, message, f = WRONG[name]
    with pytest.raises(error, match=message):
        f(X)


def test_a_switch_without_branches():
    with pytest.raises(ValueError, match="at least one branch"):
        switch(0, [])


def test_values_do_not_leave_a_body():
    kept = []
    with pytest.raises(LeakedTracer):
        hessian_jit(lambda x: (scan(lambda c, _: (kept.append(c) or c, None), x, length=2), kept[0] * 2)[1])(2.0)


def _writing(x):
    out = np.zeros(3)

    def body(i, c):
        out[0] = c
        return c * x[0]

    return fori_loop(0, 3, body, x[1]) + out[0]


def _writing_in_a_branch(x):
    out = np.zeros(2)
    cond(x[0] > 0, lambda: out.__setitem__(0, x[1]) or 0.0, lambda: 0.0)
    return out[0] ** 2


def _writing_in_a_gradient(x):
    out = np.zeros(2) * x
    return grad(lambda y: (out.__setitem__(0, y), y**2)[1])(x[0]) + out[0]


@pytest.mark.parametrize("f", [_writing, _writing_in_a_branch, _writing_in_a_gradient])
def test_arrays_outside_of_a_body_are_not_written_into(f):
    with pytest.raises(InputMutation, match="writes into an array of the function around it"):
        hessian_jit(f, **INTERPRETED)(X)


def test_states_without_elements():
    f = lambda x: scan(lambda c, _: ((c[0] * x[0], c[1] * 2), None), (x[1], np.zeros(0)), length=3)[0][0]
    assert_close(hessian_jit(f)(X), exact(lambda np, x: x[1] * x[0] ** 3, X)[2])


def test_the_error_shows_the_line():
    with pytest.raises(ShapeMismatch, match=r"test_loops\.py:\d+ in "):
        hessian_jit(lambda x: scan(lambda c, _: (c[:1], None), x, length=3)[0])(X)
