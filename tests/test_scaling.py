"""Numbers pulled out of expressions: equal up to a factor means one expression, and nothing that decides changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symhess
from symhess.backends.cpu import compile_program
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.maps import affine_map
from symhess.graph.node import constant, input_node, topological
from symhess.plan.program import Program, whole
from symhess.plan.scaling import scaled_apart
from symhess.primitives import apply, index, reduce_with, sum_over

X, Y, Z = (input_node(name, (5,)) for name in "xyz")
SMALL = input_node("s", (1,))


def n(value):
    return constant(float(value))


def add(*nodes):
    return folded("add", nodes)


def mul(*nodes):
    return folded("mul", nodes)


def folded(op, nodes):
    out = nodes[0]
    for v in nodes[1:]:
        out = apply(op, out, v)
    return out


def sub(a, b):
    return apply("sub", a, b)


def div(a, b):
    return apply("div", a, b)


def neg(a):
    return apply("neg", a)


def base(v):
    """What a scaled node is a multiple of."""
    if v.op.name == "neg":
        return v.args[0]
    return v.args[1] if v.op.name == "mul" and v.args[0].op.name == "constant" and not v.args[0].ndim else v


PAIRS = {
    "quotient by a number": (div(mul(neg(X), Y), n(4)), mul(n(3), Y, X)),
    "difference": (sub(X, Y), mul(n(7), sub(Y, X))),
    "common factor": (sub(mul(n(3), X), mul(n(12), Y)), sub(X, mul(n(4), Y))),
    "negative sum": (sub(neg(X), Y), add(X, Y)),
    "order of factors": (mul(X, mul(Y, Z)), mul(mul(Z, X), Y)),
    "number over": (div(n(3), mul(n(2), X)), div(n(1), X)),
    "number in a sum": (sub(n(4), mul(n(2), X)), sub(mul(n(0.5), X), n(1))),
    "sum": (sum_over(mul(n(-3), X), [0]), sum_over(X, [0])),
    "element": (index(mul(n(2), sub(X, Y)), [affine_map((2,), 1, {0: 2})], (2,)),
                index(sub(Y, X), [affine_map((2,), 1, {0: 2})], (2,))),
    "twice": (add(mul(n(3), X), X), X),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_by_a_factor_is_one(name):
    first, second = PAIRS[name]
    assert first is not second
    a, b = scaled_apart([first, second])
    assert base(a) is base(b)
    known = {v: np.random.default_rng(1).normal(size=v.shape) for v in (X, Y, Z)}
    for before, after in zip(evaluate_nodes([first, second], known), evaluate_nodes([a, b], known)):
        np.testing.assert_allclose(after, before, rtol=1e-14, atol=1e-15)


NUMBERS = st.sampled_from([-3.0, -1.0, 0.5, 0.1, 2.0, 7.0, 1e-3])


def expressions(leaf):
    number = NUMBERS.map(n)
    either = st.one_of(leaf, leaf, number)
    return st.one_of(
        st.builds(add, leaf, either), st.builds(sub, either, leaf), st.builds(mul, leaf, either), leaf.map(neg),
        st.builds(lambda a, c: div(a, c), leaf, number),
        st.builds(lambda a, b: div(a, add(n(2), mul(b, b))), either, leaf),
        st.builds(lambda a, b: apply("where", apply("less", a, b), a, n(0)), leaf, leaf))


@settings(max_examples=150, deadline=None)
@given(st.recursive(st.sampled_from([X, Y, Z, SMALL]), expressions, max_leaves=12), st.integers(0, 100))
def test_values_stay(v, seed):
    rng = np.random.default_rng(seed)
    known = {x: rng.uniform(-2, 2, x.shape) for x in (X, Y, Z, SMALL)}
    (before,), (after,) = evaluate_nodes([v], known), evaluate_nodes(scaled_apart([v]), known)
    size = evaluate_nodes([magnitude(v)], known)[0]
    assert np.all(abs(after - before) <= 1e-14 * (1 + size))


def magnitude(v):
    """The sum of the sizes of all that is added up on the way to v: what rounding errors are relative to."""
    if not v.args:
        return apply("abs", v)
    parts = [magnitude(a) for a in v.args if a.dtype.kind == "f"]
    if v.op.name in ("add", "sub"):
        return add(*parts)
    if v.op.name == "mul":
        return mul(*parts)
    if v.op.name == "div":
        return div(parts[0], div(mul(v.args[1], v.args[1]), parts[1])) if v.args[1].args else div(
            parts[0], apply("abs", v.args[1]))
    return add(*parts) if parts else n(1)


@pytest.mark.parametrize("op", ["floor", "ceil", "trunc", "rint", "sign"])
def test_steps_see_what_was_written(op):
    """49 (1 / 49) is less than 1: a step of a quotient must see the quotient."""
    step = apply(op, div(X, n(49)))
    (after,) = scaled_apart([step])
    assert after is step


def test_conditions_see_what_was_written():
    condition = apply("less", div(X, n(49)), n(1))
    (after,) = scaled_apart([apply("where", condition, mul(n(2), X), n(0))])
    assert condition in topological([after])


@pytest.mark.parametrize("f", [
    lambda x: 1 / (1 - x[0]), lambda x: 1 / (x[0] - 1), lambda x: 1 / (2 * x[1] - 2 * x[0]),
    lambda x: 1 / (x[0] - x[1]), lambda x: np.arctan2(0 * x[0], 1 - x[1]), lambda x: np.sum(1 / (x[::-1] - x)),
    lambda x: np.sum(1 / (3 - 3 * x)),
    lambda x: (x[1] - x[0]) * np.exp(x[0] - x[1]) + 1 / (x[1] - x[0])])
def test_differences_of_equal_numbers_are_positive_zeros(f):
    x = np.ones(2)
    with np.errstate(all="ignore"):
        expected = f(x)
    for mode in ("symbolic", "autograd"):
        assert symhess.hessian_jit(f, mode=mode).value(x) == expected


def test_divisions_by_numbers_are_products():
    source = symhess.hessian_jit(lambda x: np.sum((x[1:] / 0.3 - x[:-1] / 7) ** 4)).source(np.ones(50))
    assert "/" not in source


def test_huge_factors_stay_inside():
    """(c x - c z) y must not become c ((x - z) y), which overflows for a tiny c."""
    v = mul(sub(mul(n(1e-200), X), mul(n(1e-200), Z)), Y)
    known = {X: np.full(5, 1e250), Y: np.full(5, 1e100), Z: np.zeros(5)}
    np.testing.assert_allclose(evaluate_nodes(scaled_apart([v]), known)[0], 1e150)


def pair_energy(first, second):
    def energy(x):
        atoms = x.reshape(-1, 3)
        r2 = np.sum((atoms[first] - atoms[second]) ** 2, axis=1)
        return np.sum(1 / r2**6 - 2 / r2**3)

    return energy


def test_pairs_are_one_loop():
    """Every pair is visited once: nine entries of its own block are stored, six on each diagonal block are added."""
    count = 12
    first, second = np.triu_indices(count, 1)
    x = np.random.default_rng(5).normal(size=(count, 3)).ravel() * 2
    f = symhess.hessian_jit(pair_energy(first, second))
    np.testing.assert_allclose(f(x), pair_hessian(x, count), rtol=1e-10, atol=1e-10)
    stores = [line for line in f.source(x).splitlines() if "put(out0" in line and ", 0.0)" not in line]
    assert len(stores) == 9 + 6 + 6
    assert sum("get(out0" in line for line in stores) == 12


def pair_hessian(x, count):
    """E = s^6 - 2 s^3 with s = 1 / r^2 and q = r^2: E'' = 4 E_qq d d' + 2 E_q I, with the sign of the block."""
    atoms, H = x.reshape(count, 3), np.zeros((count, 3, count, 3))
    for i in range(count):
        for j in range(i):
            d = atoms[i] - atoms[j]
            q = d @ d
            block = 4 * (42 * q**-8 - 24 * q**-5) * np.outer(d, d) + 2 * (-6 * q**-7 + 6 * q**-4) * np.eye(3)
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                H[a, :, b] += sign * block
    return H.reshape(x.size, x.size)


@pytest.mark.parametrize("shape, axes", [((300, 3), (0,)), ((2, 90, 3), (1,)), ((70, 2, 80), (0, 2)), ((5, 300), (0,))])
def test_few_sums_of_many_elements(shape, axes):
    """Each result is a sum in a register, whatever the order in memory; the costly elements are computed once."""
    x = input_node("x", shape)
    costly = apply("exp", apply("sin", x))
    results = [reduce_with(name, costly, axes) for name in ("sum", "max", "min")]
    program = Program((x,), tuple(whole(v) for v in results))
    kernel, outs = compile_program(program), [np.empty(v.shape) for v in results]
    values = np.random.default_rng(0).normal(size=shape)
    kernel.entry(values, *outs)
    for out, combined in zip(outs, (np.sum, np.max, np.min)):
        np.testing.assert_allclose(out, combined(np.exp(np.sin(values)), axis=axes), rtol=1e-13)
    if outs[0].size <= 16:
        assert "get(out" not in kernel.source
        assert kernel.source.count("exp(") == 1
