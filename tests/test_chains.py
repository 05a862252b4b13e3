"""Chains: Python loops that hand a state on become loops of the graph; values and derivatives stay what they were.

Functions take the namespace that stands for `np`, so that the oracle, Taylor arithmetic on the Python code itself, runs
the same program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import assert_close
from taylor import namespace, taylor

from symhess import hessian_jit
from symhess.chains import rerolled, rolled
from symhess.chains.spine import periods
from symhess.differentiate import gradient
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.node import Graph, bodies, input_node, topological
from symhess.graph.verify import verify
from symhess.loops.joining import joined
from symhess.simplify import reroll
from symhess.trace import trace

DATA = np.random.default_rng(3).normal(size=400)
POINT = np.array([0.3, 0.2, 0.15, 0.4])


def pendulum(m, p, steps):
    q, v, h = p[0], p[1], 0.05
    force = lambda q, v: -p[2] * v - p[3] * m.sin(q)
    for _ in range(steps):
        k1, l1 = v, force(q, v)
        k2, l2 = v + h / 2 * l1, force(q + h / 2 * k1, v + h / 2 * l1)
        k3, l3 = v + h / 2 * l2, force(q + h / 2 * k2, v + h / 2 * l2)
        k4, l4 = v + h * l3, force(q + h * k3, v + h * l3)
        q, v = q + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), v + h / 6 * (l1 + 2 * l2 + 2 * l3 + l4)
    return q**2 + 0.5 * v**2


def pendulum_in_arrays(m, p, steps):
    y, h = p[:2], 0.05
    rate = lambda y: m.stack([y[1], -p[2] * y[1] - p[3] * m.sin(y[0])])
    for _ in range(steps):
        a = rate(y)
        y = y + h * rate(y + h / 2 * a)
    return m.sum(y**2)


def steered(m, u, steps):
    x, v, cost, h = 1.0, 0.0, 0.0, 0.1
    for k in range(steps):
        x, v = x + h * v, v + h * (u[k % 4] * (1 + 0.01 * k) - m.sin(x) - 0.1 * v)
        cost = cost + h * (x**2 + 0.1 * v**2 + 0.05 * u[k % 4]**2)
    return cost + 10 * (x**2 + v**2)


def garch(m, p, steps):
    variance, total = p[1] / (1 - p[2] - p[3]), 0.0
    for t in range(steps):
        e = DATA[t] - p[0]
        total = total + 0.5 * (m.log(variance) + e * e / variance)
        variance = p[1] + p[2] * e * e + p[3] * variance
    return total


def kalman(m, p, steps):
    q, r, mean, spread, total = m.exp(p[0]), m.exp(p[1]), p[2], 1.0, 0.0
    for t in range(steps):
        spread, mean = spread * p[3]**2 + q, p[3] * mean
        s = spread + r
        gain, e = spread / s, DATA[t] - mean
        total = total + 0.5 * (m.log(s) + e * e / s)
        mean, spread = mean + gain * e, (1 - gain) * spread
    return total


def three_lags(m, p, steps):
    y = [0.1 * p[3], 0.2, 0.3]
    for t in range(steps):
        y.append(p[0] * y[-1] + p[1] * m.tanh(y[-2]) + p[2] * y[-3] + DATA[t])
    return sum((v - 0.5)**2 for v in y)


def filled_in_place(m, p, steps):
    x = m.zeros((steps + 1, 2))
    x[0] = p[:2]
    for k in range(steps):
        x[k + 1] = x[k] + 0.1 * m.sin(x[k][::-1]) * p[2] + 0.01 * DATA[k]
    return m.sum((x - p[3])**2)


def steps_in_steps(m, p, steps):
    x, v, total = p[0], p[1], 0.0
    for _ in range(steps):
        for _ in range(5):
            v = v - 0.05 * m.sin(x) * p[2]
            x = x + 0.05 * v
        v = v * p[3]
        total = total + x * x
    return total


def elements_in_steps(m, p, steps):
    count = 9
    x, v = [p[0] * (i + 2) + 0.1 * (i + 2)**2 for i in range(count)], [p[1] * (i + 2) for i in range(count)]
    for _ in range(steps):
        for i in range(count):
            a = 0.0
            for j in range(count):
                if i != j:
                    a = a + (x[j] - x[i]) / (1 + (x[j] - x[i])**2) * p[2]
            v[i] = v[i] + 0.01 * a
        for i in range(count):
            x[i] = x[i] + 0.01 * v[i]
    return sum(xi * xi for xi in x) * p[3]


def steps_in_elements(m, p, steps):
    total = 0.0
    for k in range(2, 14):
        x = p[0] * (k + 0.5) * 0.1 + 0.3
        for t in range(steps):
            x = x + 0.05 * m.sin(p[1] * x + p[2] * (t + 1) * 0.1)
        total = total + (x - p[3] * k)**2
    return total


def diffusion(m, p, steps):
    """Cell by cell, between two cells that stay: told apart by their distance from these, cells have no classes."""
    u = [p[0] * i * 0.01 + p[1] * m.sin(0.3 * i) for i in range(1, 25)]
    for _ in range(steps):
        u = [u[0], *(u[i] + p[2] * (u[i + 1] - 2 * u[i] + u[i - 1]) + 0.01 * p[3] * u[i]**2
                     for i in range(1, len(u) - 1)), u[-1]]
    return sum(v * v for v in u)


def product(m, p, steps):
    r = 1.0
    for t in range(10 * steps):
        r = r * (1 + 0.01 * m.cos(p[t % 4] * (t + 1)))
    return r


def interrupted(m, p, steps):
    x = p[0]
    for t in range(2 * steps):
        x = x + 0.1 * m.sin(p[1] * x) * p[2]
        if t == steps:
            x = m.exp(-x) + p[3]
    return x * x


def matrix_state(m, p, steps):
    a = m.stack([m.stack([p[0], p[1]]), m.stack([-p[1], p[2]])])
    y = m.stack([m.stack([p[3], p[0]]), m.stack([p[1], p[3]])])
    for _ in range(steps):
        y = m.tanh(a @ y + 0.1 * y)
    return m.sum(y * y)


#: function -> the number of steps at which it is tried, and of loops that should come of it
CHAINS: dict[Callable, tuple[int, int]] = {
    pendulum: (24, 1), pendulum_in_arrays: (30, 1), steered: (40, 1), garch: (150, 1), kalman: (60, 2),
    three_lags: (40, 1), filled_in_place: (24, 1), steps_in_steps: (24, 1), elements_in_steps: (20, 1),
    steps_in_elements: (40, 1), diffusion: (30, 1), product: (40, 1), interrupted: (60, 2), matrix_state: (30, 1)}


def traced(function: Callable, steps: int) -> tuple[Any, Any]:
    x = input_node("p", (4,))
    return x, trace(lambda p: function(np, p, steps), (x,)).outputs


def loops(outputs: list[Any]) -> int:
    return sum(n.op.name == "loop" for n in topological(outputs))


def assert_agrees(function: Callable, steps: int, mode: str, tolerance: float = 1e-10) -> Any:
    """Value, gradient and Hessian of the compiled or interpreted function against Taylor arithmetic."""
    f = hessian_jit(lambda p: function(np, p, steps), mode=mode)
    expected = taylor(lambda p: function(namespace(), p, steps), [POINT], [POINT], lambda args, inputs: tuple(inputs))
    for part, right in zip(f.value_grad_hessian(POINT), expected):
        assert_close(part, np.asarray(right), tolerance)
    return f


@pytest.mark.parametrize("function", CHAINS)
def test_value_gradient_and_hessian(function):
    f = assert_agrees(function, CHAINS[function][0], "autograd")
    assert "rolled into a loop" in f.explain(POINT)


@pytest.mark.parametrize("function", [pendulum, steered, three_lags])
def test_kernels(function):
    assert_agrees(function, CHAINS[function][0], "symbolic")


@pytest.mark.parametrize("function", CHAINS)
def test_graphs_do_not_grow_with_the_number_of_steps(function):
    steps, expected = CHAINS[function]
    counts = []
    for n in (steps, steps + 20):
        x, out = traced(function, n)
        new = rerolled([out], [x]).outputs
        verify(Graph((x,), tuple(new)))
        assert loops(new) == expected
        inside = sum(len(body.nodes()) for node in topological(new) for _, body in bodies(node))
        counts.append(len(topological(new)) + inside)
        known = {x: POINT}
        assert_close(evaluate_nodes(new, known)[0], evaluate_nodes([out], known)[0], 1e-11)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("function, steps", [(elements_in_steps, 20), (diffusion, 30)])
def test_steps_of_elements_are_steps_of_arrays(function, steps):
    """A step is a loop over pairs or cells, not hundreds of operations on numbers."""
    x, out = traced(function, steps)
    (loop,) = [n for n in topological(rerolled([out], [x]).outputs) if n.op.name == "loop"]
    ((_, body),) = bodies(loop)
    assert sum(v.op.family == "elementwise" and not v.ndim for v in body.nodes()) < 20
    assert sum(n.size for n in loop.attrs.phases[0].carry) < 50


def test_elements_of_steps_are_an_array():
    """Twelve trajectories are one loop over an array."""
    x, out = traced(steps_in_elements, 40)
    (loop,) = [n for n in topological(rerolled([out], [x]).outputs) if n.op.name == "loop"]
    assert [z.shape for z in loop.attrs.phases[0].carry] == [(12,)]


@pytest.mark.parametrize("function", [
    lambda m, x, n: sum(m.sin(x[k % 4] * x[(k + 1) % 4] * k) for k in range(n)),
    lambda m, x, n: sum(sum(m.exp(x[i % 4] * j) for j in range(i)) ** 2 for i in range(n)),
])
def test_loops_over_elements_stay_arrays(function):
    x, out = traced(function, 60)
    assert loops(rerolled([out], [x]).outputs) == 0


def test_only_what_the_state_needs_is_in_the_loop():
    """Costs and data are array operations beside it."""
    x, out = traced(steered, 80)
    (loop,) = [n for n in topological(rerolled([out], [x]).outputs) if n.op.name == "loop"]
    assert [z.shape for z in loop.attrs.phases[0].carry] == [(), ()]
    assert len(loop.attrs.xs) == 1


@pytest.mark.parametrize("function", [pendulum, steered, kalman, matrix_state])
def test_steps_are_not_repeated_before_going_back(function):
    """The gradient starts from the last state; value, gradient and their loops pass over the steps once each way."""
    x, out = traced(function, CHAINS[function][0])
    new = rerolled([out], [x]).outputs
    separate = [*new, *gradient(new[0], [x])]
    together = joined(separate)
    verify(Graph((x,), tuple(together)))
    ways = [p.reverse for n in topological(together) if n.op.name == "loop" for p in n.attrs.phases]
    assert sorted(ways) == [False] * loops(new) + [True] * loops(new)
    for got, expected in zip(evaluate_nodes(together, {x: POINT}), evaluate_nodes(separate, {x: POINT})):
        assert_close(got, expected, 1e-13)


@pytest.mark.parametrize("steps", [6, 12])
def test_short_chains_stay_as_they_are(steps):
    f = hessian_jit(lambda p: pendulum(np, p, steps), mode="autograd")
    assert "short, so it is not rolled" in f.explain(POINT)
    _x, out = traced(pendulum, steps)
    assert rolled([out]).outputs == [out]


def test_what_has_no_period_is_returned_as_it_is():
    rng = np.random.default_rng(0)

    def wild(m, p, steps):
        x = p[0]
        for _ in range(steps):
            x = (m.sin, m.exp, m.tanh, lambda v: v * p[1], lambda v: v + p[2])[rng.integers(5)](x) * 0.5
        return x

    _x, out = traced(wild, 300)
    assert rolled([out]).outputs == [out]


@given(st.integers(1, 9), st.integers(5, 40), st.integers(0, 20), st.integers(0, 2**31))
def test_periods_of_sequences(lag, repeats, before, seed):
    rng = np.random.default_rng(seed)
    block = rng.permutation(100)[:lag]
    codes = np.concatenate([100 + np.arange(before), np.tile(block, repeats), 200 + np.arange(5)])
    found = periods(codes, codes)[0]
    assert found.lag == lag
    assert found.first == before
    assert found.last == before + lag * repeats - 1


def halfway(m, p, n):
    """Nobody reads the speed after the last step."""
    x, v = p[0], p[1]
    for _ in range(n):
        x, v = x + 0.1 * (v - 0.05 * p[2] * m.sin(x)), v - 0.1 * p[2] * m.sin(x + 0.05 * v) * p[3]
    return x**2


def compounded(m, p, n):
    """One operation a step."""
    wealth = 1.0
    for k in range(n):
        wealth = wealth * (1 + 0.1 * p[k % 4] * round(DATA[k], 1))
    return -m.log(wealth)


def steered_vehicle(m, p, n):
    """A heading that is a running sum, and a place that is one of functions of the heading."""
    x, y, heading, cost = 0.0, 0.0, p[0], 0.0
    for k in range(n):
        x, y = x + 0.1 * p[1] * m.cos(heading), y + 0.1 * p[2] * m.sin(heading)
        heading = heading + 0.1 * p[3] * round(DATA[k % 40], 1)
        cost = cost + (x - 1) ** 2 + (y - 2) ** 2
    return cost


@pytest.mark.parametrize("function", [compounded, steered_vehicle])
def test_many_steps_of_one_operation_are_loops(function):
    f = assert_agrees(function, 80, "autograd")
    assert f.explain(POINT).count("rolled into a loop") > 0
    assert len(f.graph(POINT).nodes()) < 100


@pytest.mark.parametrize("n, expected", [(12, 0), (24, 1)])
def test_few_steps_with_variables_of_their_own_are_a_loop(n, expected):
    """Growth by a rate for each step: derivatives by all pairs of rates, one operation a step."""
    def growth(m, r):
        wealth = 1.0
        for k in range(n):
            wealth = wealth * (1 + DATA[k] * r[k])
        return wealth + wealth**2

    f, r = hessian_jit(lambda r: growth(np, r), mode="autograd"), np.linspace(0.1, 0.3, n)
    exact = taylor(lambda r: growth(namespace(), r), [r], [r], lambda args, inputs: tuple(inputs))
    assert_close(f(r), np.asarray(exact[2]), 1e-11)
    assert loops(f.graph(r).nodes()) == expected


def cell(m, p, n):
    """Few steps of a recurrent network, each of many operations on small arrays."""
    weights = np.cos(np.arange(128.0)).reshape(16, 8) / 2
    h, c, cost = m.stack([p[0], p[1], p[2], p[3]]), 0.1 * m.stack([p[3], p[2], p[1], p[0]]), 0.0
    sigmoid = lambda v: 1 / (1 + m.exp(-v))
    for k in range(n):
        a = weights[:, :4] @ h * p[1] + weights[:, 4:] @ DATA[4 * k:4 * k + 4]
        c = sigmoid(a[:4]) * c + sigmoid(a[4:8]) * m.tanh(a[12:])
        h = sigmoid(a[8:12]) * m.tanh(c)
        cost = cost + m.sum((h - DATA[k]) ** 2)
    return cost


@pytest.mark.parametrize("steps, expected", [(3, 0), (10, 1)])
def test_few_steps_of_many_operations_are_a_loop(steps, expected):
    f = assert_agrees(cell, steps, "autograd")
    assert loops(f.graph(POINT).nodes()) == expected


@pytest.mark.parametrize("size, expected", [(8, 1), (65, 0)])
def test_few_steps_with_large_arrays_of_their_own_stay(size, expected):
    """Layers of a wide network: to stack their weights would take time."""
    x = input_node("x", (10, size, size))

    def layers(x):
        h = np.ones(size)
        for k in range(10):
            for g in (np.tanh, np.sin, np.cos, np.exp):
                h = h + 0.1 * g(h) * np.tanh(x[k] @ h)
        return np.sum(h)

    assert loops(rolled([trace(layers, (x,)).outputs]).outputs) == expected


def test_the_last_step_may_lack_what_nobody_reads():
    f = assert_agrees(halfway, 40, "symbolic")
    assert "a chain of 40 equal steps" in f.explain(POINT)
    (loop,) = [n for n in f.graph(POINT).nodes() if n.op.name == "loop"]
    assert loop.attrs.length == 40


# -- random recurrences ----------------------------------------------------------------------------------------------

OPERATIONS = ("add", "sub", "mul", "sin", "tanh", "data", "parameter", "constant", "lag", "first", "row")


@st.composite
def recurrences(draw):
    """A recurrence of one to three states, with data, parameters, an own first step and longer memory, as a recipe."""
    count = draw(st.integers(1, 3))
    recipe = [draw(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 99)), min_size=2, max_size=6))
              for _ in range(count)]
    return recipe, draw(st.integers(17, 30)), draw(st.sampled_from([(), (3,)])), draw(st.booleans())


def run(recipe, steps, shape, costs, m, p):
    """The recurrence over the namespace m."""
    states = [[m.sin(p[k] * (np.ones(shape) if shape else 1.0) + 0.1 * k)] for k in range(len(recipe))]
    total = 0.0
    for t in range(steps):
        new = [functools.partial(advanced, m, p, states, t)(k, recipe[k]) for k in range(len(recipe))]
        for own, value in zip(states, new):
            own.append(value)
        if costs:
            total = total + m.sum(states[0][-1] * states[-1][-1])
    return total + sum(m.sum(own[-1]**2) for own in states)


def advanced(m, p, states, t, k, operations):
    """One state after step t."""
    value = 0.7 * states[k][-1]
    for what, number in operations:
        other = states[number % len(states)][-1]
        if what in ("add", "sub", "mul"):
            value = {"add": value + other, "sub": value - 0.3 * other, "mul": value * other}[what]
        elif what in ("sin", "tanh"):
            value = getattr(m, what)(value)
        elif what == "data":
            value = value + round(DATA[t + number], 1)
        elif what == "parameter":
            value = value * p[number % 4]
        elif what == "constant":
            value = 0.1 * (number % 3) * value + 0.2
        elif what == "lag":
            value = value + 0.1 * states[number % len(states)][-1 - min(t, 1 + number % 3)]
        elif what == "first" and t == number % 3:
            value = value * 2 + p[0]
        elif what == "row" and getattr(value, "shape", ()):
            value = value * value[number % 3] + value[::-1]
    return m.tanh(value)


@settings(max_examples=15, deadline=None)
@given(recurrences())
def test_random_recurrences(found):
    recipe, steps, shape, costs = found
    fn = lambda m, p, n: run(recipe, n, shape, costs, m, p)
    assert_agrees(fn, steps, "autograd", 1e-9)


@settings(max_examples=15, deadline=None)
@given(recurrences())
def test_random_recurrences_as_graphs(found):
    """Longer ones, at the level of the graph: chains found after elements, and without looking for elements first."""
    recipe, steps, shape, costs = found
    x, out = traced(lambda m, p, n: run(recipe, n, shape, costs, m, p), 3 * steps)
    expected = evaluate_nodes([out], {x: POINT})[0]
    for new in (rerolled([out], [x]).outputs, rolled([out]).outputs, rolled(reroll([out], [x])).outputs):
        verify(Graph((x,), tuple(new)))
        assert_close(evaluate_nodes(new, {x: POINT})[0], expected, 1e-10)
