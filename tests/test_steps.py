"""Second derivatives of recurrences with something given to every step: optimal control, filters, time series.

The oracle is second-order Taylor arithmetic on the function with a Python loop in place of `scan` (taylor.py). How much
is computed is counted: Terms, kinds of nodes, steps of kernels. Never by time.
"""

from __future__ import annotations

import numpy as np
import pytest
from oracles import assert_close
from taylor import namespace, taylor

from symhess import hessian_jit, jacfwd, scan
from symhess.differentiate import gradient
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.node import topological
from symhess.loops.hoisting import hoisted
from symhess.structure import coefficient, tangents
from symhess.structure.hessian import hessian_terms, lower_triangle

T = namespace()


def unrolled(step, first, xs, length=None, reverse=False):
    """What scan does, as a Python loop over the namespace of Taylor arithmetic."""
    state, rows = first, {}
    count = length if xs is None else len(xs[0] if isinstance(xs, tuple) else xs)
    for t in reversed(range(count)) if reverse else range(count):
        given = tuple(x[t] for x in xs) if isinstance(xs, tuple) else xs if xs is None else xs[t]
        state, rows[t] = step(state, given)
    left = [rows[t] for t in range(count)]
    return state, None if left[0] is None else T.stack(left)


def swing(np, q, u):
    """One step of an oscillator, its state two numbers."""
    return q[0] + 0.2 * q[1], q[1] + 0.2 * (u - np.sin(q[0]) + 0.1 * q[0] * q[1])


def running(np, scan, u):
    """States as rows, costs outside of the loop."""
    _, p = scan(lambda q, v: (swing(np, q, v), q[0]), (1.0, 0.3), u)
    return np.sum(p**2) + np.sum(np.cos(p)) + 0.5 * np.sum(u**2)


def terminal(np, scan, u):
    q, _ = scan(lambda q, v: (swing(np, q, v), None), (1.0, 0.3), u)
    return (q[0] - 0.7) ** 2 + q[0] * q[1]


def carried(np, scan, u):
    """The cost is part of the state."""
    step = lambda s, v: ((*swing(np, s, v), s[2] + s[0] ** 2 + 0.3 * v**2 * s[1]), None)
    q, _ = scan(step, (1.0, 0.3, 0.0), u)
    return q[2] + q[0] ** 4


def start(np, scan, q, u):
    """The first state is a variable, before the controls in the order of the variables."""
    q, p = scan(lambda q, v: (swing(np, q, v), q[0] * q[1]), (q[0], q[1]), u)
    return np.sum(p) + q[0] ** 2 * q[1]


def start_after(np, scan, u, q):
    return start(np, scan, q, u)


def shared(np, scan, u, p):
    """Parameters of all steps, in the steps, in the costs of rows, and at the end."""
    step = lambda q, v: (swing(np, (q[0] * p[0], q[1]), v * p[1]), p[2] * q[1] ** 2)
    q, rows = scan(step, (1.0, p[1]), u)
    return np.sum(rows * p[0]) + p[2] * np.sin(q[0] * q[1])


def vectors(np, scan, s, U, p):
    """A state of three numbers in a vector, two controls and data for every step, parameters."""
    D = np.array([[0.3, -0.2, 0.5], [0.1, 0.9, 0.2], [0.7, 0.1, -0.4], [0.2, 0.2, 0.2], [-0.5, 0.6, 0.1]])

    def step(s, given):
        v, d = given
        new = s + 0.3 * np.sin(np.array([s[1], s[2] * p[0], s[0]])) * d + np.array([v[0], v[0] * v[1], p[1] * v[1]])
        return new, s * v[0]

    last, rows = scan(step, s, (U, D))
    return np.sum(rows**2) + np.sum(last**2) + np.sum(U**2) * p[0]


def backwards(np, scan, u, q):
    """Steps from the last one to the first one."""
    q, p = scan(lambda q, v: (swing(np, q, v), q[0] * v), (q[0], q[1]), u, reverse=True)
    return np.sum(p**2) + q[0] * q[1]


def turned(np, scan, u):
    """Variables in the other order than the steps."""
    _, p = scan(lambda q, v: (swing(np, q, v), q[0]), (1.0, 0.3), u[::-1])
    return np.sum(p**2)


def repeated(np, scan, u):
    """Variables that several steps are given."""
    _, p = scan(lambda q, v: (swing(np, q, v), q[0]), (1.0, 0.3), np.array([u[0], u[1], u[0], u[2], u[1] * u[2]]))
    return np.sum(p**2)


def mixed(np, scan, u):
    """Costs of states and controls together, outside of the loop; only some of the rows."""
    _, p = scan(lambda q, v: (swing(np, q, v), q[0]), (1.0, 0.3), u)
    return np.sum(p * u**2) + np.sum(p[1:] * p[1:] * u[1:]) + np.sum(p[:3] ** 3)


def across(np, scan, u):
    """Costs that hang on the states of several steps: nothing that belongs to one."""
    q, p = scan(lambda q, v: (swing(np, q, v), q[0]), (1.0, 0.3), u)
    return np.sum(p) ** 2 + np.sum((p[1:] - p[:-1]) ** 2 * p[:-1]) + np.sum(p * q[1]) + np.sum(p[::-1] * p * u)


def linear(np, scan, u, q):
    """Linear steps: their gradient does not need the states."""
    step = lambda q, v: ((q[0] + 0.2 * q[1], 0.9 * q[1] + 0.2 * v), q[0])
    q, p = scan(step, (q[0], q[1]), u)
    return np.sum(np.exp(p)) + q[0] ** 2


def twice(np, scan, u):
    """The rows of one loop are given to the next one."""
    _, p = scan(lambda q, v: (swing(np, q, v), q[0]), (1.0, 0.3), u)
    q, r = scan(lambda q, v: (np.sin(q * v), q), 0.4, p)
    return np.sum(r**2) + q * np.sum(p)


def in_a_row(np, scan, p):
    """The same with a parameter of both loops."""
    last, r = scan(lambda s, _: (np.tanh(s + 0.7 * p[1] * s), s), p[0], None, 4)
    q, _ = scan(lambda s, v: (np.tanh(0.7 * p[1] * s + v), None), 0.5 * p[0], r[:-1])
    return q**2 + last**2


def two_controls(np, scan, u, v):
    """Two arrays of controls."""
    step = lambda q, given: (swing(np, (q[0], q[1] * given[1]), given[0]), q[0] * given[1])
    q, p = scan(step, (1.0, 0.3), (u, v))
    return np.sum(p**2) + q[0] ** 2


def selected(np, scan, u):
    """A step that is not the same everywhere, and a square root where it has no derivative."""
    def step(q, v):
        return np.where(q > 0.5, np.sqrt(np.where(q > 0.5, q - 0.5, 1.0)), q * v), q * v
    q, p = scan(step, 0.9, u)
    return np.sum(p**2) + q**2


def one_step(np, scan, u):
    q, p = scan(lambda q, v: (np.sin(q * v), q * v), 0.9, u[:1])
    return np.sum(p**2) + q**2 * u[2]


U, Q, P = np.array([0.4, -0.3, 0.8, 0.2, -0.6]), np.array([0.7, 0.2]), np.array([0.9, 1.2, 0.4])
CASES = {f.__name__: (f, args) for f, args in (
    (running, (U,)), (terminal, (U,)), (carried, (U,)), (start, (Q, U)), (start_after, (U, Q)), (shared, (U, P)),
    (vectors, (P, np.stack([U, U[::-1]], 1), Q)), (backwards, (U, Q)), (turned, (U,)), (repeated, (U[:3],)),
    (mixed, (U,)), (across, (U,)), (linear, (U, Q)), (twice, (U,)), (in_a_row, (P,)), (two_controls, (U, 1 + U[::-1])),
    (selected, (U,)), (one_step, (U,)),
)}


def exact(f, args):
    """(value, gradient, Hessian)."""
    return taylor(lambda *a: f(T, unrolled, *a), args, args, lambda _, inputs: inputs)


def traced(f, args, **options):
    """The function with loops, its arguments in one vector."""
    sizes = np.cumsum([0, *(np.size(a) for a in args)])

    def flat(x):
        return f(np, scan, *(x[i:j].reshape(np.shape(a)) for i, j, a in zip(sizes, sizes[1:], args)))

    return hessian_jit(flat, **options), np.concatenate([np.ravel(a) for a in args])


@pytest.mark.parametrize("mode", ["autograd", "auto"])
@pytest.mark.parametrize("name", CASES)
def test_hessians(name, mode):
    f, args = CASES[name]
    value, slope, curvature = exact(f, args)
    made, x = traced(f, args, mode=mode)
    found = made.value_grad_hessian(x)
    assert_close(found[0], np.array(value), 1e-12)
    assert_close(found[1], slope, 1e-12)
    assert_close(found[2], curvature, 1e-11)
    assert_close(made(x), curvature, 1e-11)


@pytest.mark.parametrize("name", CASES)
def test_other_products(name):
    """Sparse Hessians and their patterns, diagonals, batches, products with a vector."""
    f, args = CASES[name]
    curvature = exact(f, args)[2]
    made, x = traced(f, args)
    assert_close(made.sparse(x).toarray(), curvature, 1e-11)
    assert not curvature[~made.sparsity(x).toarray()].any()
    assert_close(made.diagonal(x), np.diag(curvature), 1e-11)
    assert_close(made.hvp(x, np.cos(x)), curvature @ np.cos(x), 1e-11)
    assert_close(made.batch(np.stack([x, x])), np.stack([curvature, curvature]), 1e-11)


@pytest.mark.parametrize("name", CASES)
def test_both_triangles(name):
    """The Terms are those of the whole Jacobian of the gradient, whatever a Hessian needs of it."""
    f, args = CASES[name]
    made, x = traced(f, args)
    graph = made.graph(x)
    (jacobian,) = tangents(gradient(graph.outputs[0], graph.inputs), graph.inputs)
    assert_close(jacobian.dense(len(x), {graph.inputs[0]: x}), exact(f, args)[2], 1e-11)


@pytest.mark.parametrize("name", ["running", "shared"])
def test_third_derivatives(name):
    f, args = CASES[name]
    made, x = traced(f, args)
    step, direction = 1e-5, np.cos(np.arange(len(x)))
    third = hessian_jit(jacfwd(made), argnums=(), mode="autograd").value(x)
    difference = (exact_at(f, args, x + step * direction) - exact_at(f, args, x - step * direction)) / (2 * step)
    assert_close(np.asarray(third) @ direction, difference, 1e-7)


def exact_at(f, args, x):
    """The Hessian with other numbers in the arguments."""
    parts = np.split(x, np.cumsum([np.size(a) for a in args])[:-1])
    return exact(f, [p.reshape(np.shape(a)) for p, a in zip(parts, args)])[2]


# -- how much is computed ----------------------------------------------------------------------------------------------


def computed(f, args):
    """The nodes of the lower triangle, and those of one kind."""
    made, x = traced(f, args)
    graph = made.graph(x)
    terms = hessian_terms(gradient(graph.outputs[0], graph.inputs), graph.inputs)
    lower = lower_triangle(terms, graph.inputs, filtered=False)
    nodes = topological([coefficient(t.term) for t in lower])
    return nodes, lambda name: [n for n in nodes if n.op.name == name]


def states_of(loops):
    """The shapes of all that loops hand on from step to step."""
    return {z.shape for n in loops for p in n.attrs.phases for z in p.carry}


@pytest.mark.parametrize("name", ["running", "terminal", "carried", "start", "start_after", "backwards"])
def test_each_pair_of_steps_is_met_once(name):
    """One triangle of a semiseparable matrix, and numbers that go from step to step: no derivative by each control."""
    _, of = computed(*CASES[name])
    assert len(of("semiseparable")) == 1
    assert states_of(of("loop")) == {()}


def test_the_number_of_steps_changes_nothing():
    counts = set()
    for n in (20, 50, 400):
        nodes, of = computed(running, (np.linspace(-0.5, 0.5, n),))
        counts.add((len(nodes), len(of("loop")), len(of("semiseparable"))))
    assert len(counts) == 1


def test_few_parameters_need_no_pairs():
    """Nothing but numbers is handed on, forwards or backwards, where no step is given a variable."""
    def f(np, scan, x):
        q, rows = scan(lambda q, _: (swing(np, (q[0] * x[2], q[1]), x[3]), x[2] * q[1] ** 2), (x[0], x[1]), None, 30)
        return np.sum(rows) + q[0] * q[1]

    _, of = computed(f, (np.array([1.0, 0.3, 0.9, 1.2]),))
    assert not of("semiseparable")
    assert states_of(of("loop")) == {()}


def smoothed(np, scan, p):
    """A moving average, whose cost is outside of the loop, where the steps of a linear one are not seen again."""
    data = np.cos(np.arange(60.0) ** 2)
    _, rows = scan(lambda s, d: (p[0] * s + (1 - p[0]) * d, s), p[1], data)
    return np.sum((rows - data) ** 2)


def volatility(np, scan, p):
    data = np.cos(np.arange(60.0) ** 2)
    _, h = scan(lambda h, d: (p[0] + p[1] * d**2 + p[2] * h, h), 0.5, data)
    return np.sum(np.log(h) + data**2 / h)


@pytest.mark.parametrize("f, p", [(smoothed, [0.3, 0.2]), (volatility, [0.1, 0.15, 0.7])])
def test_costs_by_few_parameters_need_no_pairs(f, p):
    """What a gradient's steps are given hangs on few numbers: these columns go with the steps."""
    _, of = computed(f, (np.array(p),))
    assert not of("semiseparable")
    made, x = traced(f, (np.array(p),))
    assert_close(made(x), exact(f, (np.array(p),))[2], 1e-10)


def test_more_states_than_pay_have_dense_tangents():
    A = np.linspace(-1, 1, 169).reshape(13, 13)
    _, of = computed(lambda np, scan, s: np.sum(scan(lambda s, _: (np.sin(A @ s), None), s, None, 4)[0]),
                         (np.linspace(0, 1, 13),))
    assert states_of(of("loop")) >= {(13, 13)}
    assert hessian_jit(lambda s: np.sum(scan(lambda s, _: (np.sin(A @ s), None), s, None, 4)[0]))(
        np.linspace(0, 1, 13)).shape == (13, 13)


# -- before the loop ---------------------------------------------------------------------------------------------------


def operations_of(node):
    """The names of what the steps of a loop do."""
    return {n.op.name for _, body in node.attrs.graphs() for n in body.nodes()}


@pytest.mark.parametrize("reverse", [False, True])
def test_what_takes_long_and_hangs_on_no_state_is_done_before(reverse):
    x = np.linspace(0.1, 2, 20)

    def f(x):
        step = lambda s, v: (np.sin(s) + np.exp(v * x[0]) * s, s * (v + 1))
        q, p = scan(step, 0.3, x, reverse=reverse)
        return np.sum(p) + q

    graph = hessian_jit(f).graph(x)
    (made,) = hoisted(graph.outputs)
    (before,), (after,) = ([n for n in topological([e]) if n.op.name == "loop"] for e in (graph.outputs[0], made))
    assert {"sin", "exp"} <= operations_of(before)
    assert operations_of(after) & {"sin", "exp", "add"} == {"sin", "add"}
    assert len(after.attrs.xs) == len(before.attrs.xs) + 1
    assert_close(*(evaluate_nodes([e], {graph.inputs[0]: x})[0] for e in (made, graph.outputs[0])), 1e-14)


def test_what_is_cheap_or_short_stays():
    for steps, what in ((20, lambda v: v * v + 1), (4, np.exp)):
        x = np.linspace(0.1, 2, steps)
        graph = hessian_jit(lambda x, what=what: scan(lambda s, v: (np.sin(s) + what(v), None), 0.3, x)[0]).graph(x)
        assert hoisted(graph.outputs) == list(graph.outputs)
