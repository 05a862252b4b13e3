"""Straight-line kernels against the interpreter, plain Python mathematics and threads."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from symhess.backends.straightline import CHUNK, compile_scalars
from symhess.errors import UnsupportedOperation
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.node import PRIMITIVES, constant, input_node
from symhess.primitives import ELEMENTWISE, apply, cast, element, sum_over
from symhess.primitives.elementwise import elementwise

DTYPES = [np.float64, np.float32]
FLOATING = [name for name, op in ELEMENTWISE.items() if not name.startswith("logical")]


def leaves_of(x, number=0):
    """All elements of a vector input, as leaves."""
    return [(element(x, (k,)), number, k) for k in range(x.size)]


def sampled(op, count, dtype):
    """One column of samples per argument, inside the declared domain."""
    rng = np.random.default_rng(3)
    return [(rng.integers(low, high, count, endpoint=True) if isinstance(low, int) else rng.uniform(low, high, count))
            .astype(dtype) for low, high in op.domain]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FLOATING)
def test_every_primitive_agrees_with_numpy(name, dtype):
    op, count = ELEMENTWISE[name], 9
    columns = sampled(op, count, dtype)
    inputs = [input_node(f"a{k}", (count,), dtype) for k in range(op.nargs)]
    leaves = [leaf for k, x in enumerate(inputs) for leaf in leaves_of(x, k)]
    rows = list(zip(*(leaves[k * count:(k + 1) * count] for k in range(op.nargs))))
    if name == "where":
        columns[0] = (columns[0] - 0.5).astype(dtype)
        outputs = [apply(op, apply("less", r[0][0], constant(0, dtype)), r[1][0], r[2][0]) for r in rows]
        expected = np.where(columns[0] < 0, columns[1], columns[2])
    else:
        outputs = [apply(op, *(leaf[0] for leaf in r)) for r in rows]
        expected = op.numpy(*columns)
    kernel = compile_scalars(outputs, leaves)
    tolerance = 4e-16 if dtype == np.float64 else 4e-7
    assert kernel.dtype == outputs[0].dtype
    np.testing.assert_allclose(kernel(columns), expected, rtol=8 * tolerance, atol=tolerance)


SPECIAL = [0.0, -0.0, 1.0, -1.5, 2.5, math.inf, -math.inf, math.nan, 1e300, 5e-324]


@pytest.mark.parametrize("name", ["maximum", "minimum", "sign", "sigmoid", "softplus", "logaddexp", "remainder",
                                  "isnan", "isfinite", "abs", "floor", "rint", "equal", "not_equal", "less",
                                  "copysign", "hypot", "fmod"])
def test_special_values_follow_numpy(name):
    op = ELEMENTWISE[name]
    grid = [c.ravel() for c in np.meshgrid(*[np.array(SPECIAL)] * op.nargs)]
    inputs = [input_node(f"a{k}", g.shape) for k, g in enumerate(grid)]
    leaves = [leaf for k, x in enumerate(inputs) for leaf in leaves_of(x, k)]
    outputs = [apply(op, *(element(x, (i,)) for x in inputs)) for i in range(grid[0].size)]
    with np.errstate(all="ignore"):
        expected = op.numpy(*grid)
    np.testing.assert_allclose(compile_scalars(outputs, leaves)(grid), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("power", [-32, -3, -1.5, 0.3, 3, 5, 7, 32, 33, 2.5])
def test_constant_powers(power):
    values = np.array([0.3, 1.7, 2.9])
    x = input_node("x", (3,))
    outputs = [apply("pow", element(x, (k,)), constant(float(power))) for k in range(3)]
    got = compile_scalars(outputs, leaves_of(x))([values])
    np.testing.assert_allclose(got, [v ** power for v in values], rtol=5e-15)


def test_logic_and_casts():
    x = input_node("x", (2,))
    a, b = (element(x, (k,)) for k in range(2))
    low, high = apply("less", a, constant(0.0)), apply("greater", b, constant(1.0))
    chosen = [apply("logical_and", low, high), apply("logical_or", low, high), apply("logical_xor", low, high),
              apply("logical_not", low)]
    kernel = compile_scalars([cast(c, np.float64) for c in chosen], leaves_of(x))
    for p, q in [(-1.0, 0.0), (-1.0, 2.0), (1.0, 0.0), (1.0, 2.0)]:
        l, h = p < 0, q > 1
        assert kernel([np.array([p, q])]).tolist() == [l and h, l or h, l != h, not l]
    single = compile_scalars([cast(a, np.float32)], leaves_of(x))
    assert single([np.array([1 / 3, 0.0])])[0] == np.float32(1 / 3)


def test_leaves_of_two_dtypes_and_outputs_that_need_no_statement():
    x, y = input_node("x", (2,)), input_node("y", (2,), np.float32)
    mixed = apply("mul", element(x, (1,)), cast(element(y, (0,)), np.float64))
    outputs = [element(x, (1,)), mixed, constant(7.0), mixed]
    kernel = compile_scalars(outputs, leaves_of(x) + leaves_of(y, 1))
    assert kernel([np.array([2.0, 3.0]), np.array([0.5, 1.0], np.float32)]).tolist() == [3.0, 1.5, 7.0, 1.5]
    assert kernel.statements == 2


def chain(n):
    """x_0, then n steps of y <- sin(y) * x_k + y, plain statements in a row, and every tenth y kept."""
    x = input_node("x", (17,))
    y, kept = element(x, (0,)), []
    for k in range(n):
        y = apply("add", apply("mul", apply("sin", y), element(x, (k % 17,))), y)
        if k % 10 == 0:
            kept.append(y)
    return x, [*kept, apply("sub", y, kept[0])]


def chain_in_python(values, n):
    y, kept = values[0], []
    for k in range(n):
        y = math.sin(y) * values[k % 17] + y
        if k % 10 == 0:
            kept.append(y)
    return [*kept, y - kept[0]]


@pytest.mark.parametrize("n", [3, 200, 1500])
def test_long_chains_across_chunks(n):
    values = np.random.default_rng(0).uniform(-1, 1, 17)
    x, outputs = chain(n)
    got = compile_scalars(outputs, leaves_of(x))([values])
    np.testing.assert_allclose(got, chain_in_python(values.tolist(), n), rtol=1e-10)


def test_values_that_live_long_keep_their_slots():
    rng = np.random.default_rng(5)
    x = input_node("x", (40,))
    pool = [element(x, (k,)) for k in range(40)]
    for _ in range(4000):
        i, j = rng.integers(0, len(pool), 2)
        op = ["add", "mul", "sub", "maximum"][rng.integers(4)]
        pool.append(apply(op, apply("tanh", pool[i]), pool[j]))
    outputs = [pool[k] for k in rng.integers(40, len(pool), 300)]
    values = rng.uniform(-1, 1, 40)
    kernel = compile_scalars(outputs, leaves_of(x))
    np.testing.assert_allclose(kernel([values]), evaluate_nodes(outputs, {x: values}), rtol=1e-9)
    assert 0 < kernel.workspace_size < kernel.statements


def test_size_is_linear_and_a_chain_needs_few_slots():
    workspaces = set()
    for n in (1000, 2000, 4000):
        x, outputs = chain(n)
        kernel = compile_scalars(outputs[-1:], leaves_of(x))
        assert 3 * n <= kernel.statements <= 3 * n + 1
        assert kernel.chunks == math.ceil(kernel.statements / CHUNK)
        workspaces.add(kernel.workspace_size)
    assert len(workspaces) == 1


def test_threads_share_one_kernel():
    x, outputs = chain(800)
    kernel = compile_scalars(outputs, leaves_of(x))
    inputs = [np.random.default_rng(k).uniform(-1, 1, 17) for k in range(4)]
    alone = [kernel([v]) for v in inputs]
    wrong = []

    def work(k):
        for _ in range(50):
            if not np.array_equal(kernel([inputs[k]]), alone[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.fixture
def declare():
    """Declares elementwise primitives that are forgotten after the test."""
    names = []

    def declared(name, *args, **kwargs):
        names.append(name)
        return elementwise(name, *args, **kwargs)

    yield declared
    for name in names:
        del ELEMENTWISE[name], PRIMITIVES[name]


def test_a_primitive_without_a_table_entry_is_compiled_by_numba(declare):
    op = declare("double_for_this_test", "2*x", numpy=lambda x: 2 * x, kernel="(sigmoid({0}*0) * 4 * {0})")
    test = declare("big_for_this_test", "x > 1", numpy=lambda x: x > 1, kernel="({0} > 1)", result="bool")
    x = input_node("x", (2,))
    a, b = (element(x, (k,)) for k in range(2))
    outputs = [apply(op, a), apply("where", apply(test, b), a, b)]
    assert compile_scalars(outputs, leaves_of(x))([np.array([1.25, 3.0])]).tolist() == [2.5, 1.25]


def test_what_is_not_scalar_code_is_refused():
    x, k = input_node("x", (3,)), input_node("k", (2,), np.int64)
    a = element(x, (0,))
    for outputs, leaves in [([sum_over(x, (0,))], []), ([apply("sin", x)], []), ([a], []),
                            ([element(k, (0,))], leaves_of(k)), ([a, cast(a, np.float32)], leaves_of(x)),
                            ([cast(apply("less", a, a), np.int64)], leaves_of(x))]:
        with pytest.raises(UnsupportedOperation):
            compile_scalars(outputs, leaves)
