"""The sweep over every registered primitive: values, first and second derivatives, shapes, dtypes, batching.

Elementwise primitives are held against mpmath, which evaluates and differentiates their declared SymPy formulas with
40 digits; all others against NumPy, differences, and the identity <g, J t> = <J' g, t>.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import itertools
import threading

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from primitive_cases import along, cases, inputs_of, value

from symhess.differentiate import batch, gradient, pullback, pushforward
from symhess.errors import DTypeMismatch, NotDifferentiable, ShapeMismatch
from symhess.graph import node as node_module
from symhess.graph.node import PRIMITIVES, Graph, Node, constant, input_node, topological
from symhess.graph.verify import verify
from symhess.primitives import ELEMENTWISE, Elementwise, apply, broadcast_to, scale, sum_over
from symhess.primitives.elementwise import ARGUMENT_NAMES, _compiled_expression, _evaluate_expression, elementwise
from symhess.primitives.sympy_rules import arguments, derivative, formula

CASES = {c.name: c for c in cases()}
#: bool arguments, no formula that SymPy can evaluate, or a derivative that is not the formula's
LOGICAL = ("logical_and", "logical_or", "logical_xor", "logical_not")
OTHERS = ("where", "isnan", "isfinite", "stop_gradient")
FLOATING = [op for op in ELEMENTWISE.values() if op.name not in (*LOGICAL, *OTHERS)]
SMOOTH = [op for op in FLOATING if PRIMITIVES[op.name].infer([input_node("x", ())] * op.nargs, None)[1] == np.float64]
ids = {"ids": lambda op: getattr(op, "name", str(op))}
POINTS = 3


def is_fixed(op: Elementwise, i: int) -> bool:
    """True for arguments that are constants to every derivative (orders of Bessel functions, and the like)."""
    return op.partials is not None and op.partials[i] is None


def sample(op: Elementwise, shape: tuple[int, ...], seed: int = 0, dtype: type = np.float64) -> list[np.ndarray]:
    rng = np.random.default_rng([seed, *op.name.encode()])
    arrays = []
    for i, (low, high) in enumerate(op.domain):
        if op.name in LOGICAL or (op.name == "where" and i == 0):
            arrays.append(rng.random(shape) < 0.5)
        elif isinstance(low, int):
            arrays.append(rng.integers(low, high, shape, endpoint=True).astype(dtype))
        else:
            arrays.append(rng.uniform(low, high, shape).astype(dtype))
    return arrays


def number(p: float) -> sympy.Number:
    return sympy.Integer(int(p)) if float(p).is_integer() else sympy.Float(p, 40)


@functools.cache
def exact(op: Elementwise, fixed: tuple[float | None, ...]):
    """The declared formula as an mpmath function of all arguments but the fixed ones, which are filled in."""
    symbols = arguments(op.nargs)
    e = formula(op, *(s if p is None else number(p) for s, p in zip(symbols, fixed)))
    return sympy.lambdify([s for s, p in zip(symbols, fixed) if p is None], e.doit(), "mpmath")


def exact_at(op: Elementwise, point: list[float], degree: tuple[int, ...] = ()) -> float:
    """The formula at a point, differentiated `degree` times by each argument that is not fixed."""
    function = exact(op, tuple(p if is_fixed(op, i) else None for i, p in enumerate(point)))
    free = [mpmath.mpf(p) for i, p in enumerate(point) if not is_fixed(op, i)]
    with mpmath.workdps(40):
        return float(mpmath.diff(function, tuple(free), degree) if any(degree) else function(*free))


def at_point(op: Elementwise, point: list[float]) -> tuple[Node, list[Node], dict[Node, np.ndarray]]:
    """The rank-0 node at a point, with the inputs that are free."""
    args = [constant(p) if is_fixed(op, i) else input_node("x", ()) for i, p in enumerate(point)]
    free = [a for i, a in enumerate(args) if not is_fixed(op, i)]
    return apply(op, *args), free, dict(zip(free, (np.float64(p) for i, p in enumerate(point) if not is_fixed(op, i))))


def evaluated(nodes: list[Node], known: dict[Node, np.ndarray]) -> list[float]:
    return [float(v) for v in value(nodes, list(known), list(known.values()))]


# -- elementwise: values and derivatives -----------------------------------------------------------------------------


@pytest.mark.parametrize("op", FLOATING, **ids)
def test_values_and_derivatives_equal_those_of_the_formula(op: Elementwise) -> None:
    for point in np.array(sample(op, (POINTS,))).T.tolist():
        node, free, known = at_point(op, point)
        assert evaluated([node], known)[0] == pytest.approx(exact_at(op, point), rel=1e-13, abs=1e-15)
        if node.dtype != np.float64:
            continue
        first = gradient(node, free)
        units = np.eye(len(free), dtype=int)
        expected = [exact_at(op, point, tuple(e)) for e in units.tolist()]
        np.testing.assert_allclose(evaluated(first, known), expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(
            [evaluated(pushforward([node], {x: constant(1.0)}), known)[0] for x in free], expected, 1e-12, 1e-14)
        for k, x in enumerate(free):
            expected = [exact_at(op, point, tuple(e + units[k])) for e in units]
            np.testing.assert_allclose(evaluated(gradient(first[k], free), known), expected, 1e-11, 1e-13)
            np.testing.assert_allclose(evaluated(pushforward(first, {x: constant(1.0)}), known), expected, 1e-11, 1e-13)


def partials() -> list[tuple[Elementwise, int]]:
    """The derivatives that are declared, and that SymPy finds too."""
    return [(op, i) for op in SMOOTH for i in range(op.nargs) if op.partials and op.partials[i] is not None]


@pytest.mark.parametrize(("op", "i"), partials(), **ids)
def test_declared_partials_equal_those_of_sympy(op: Elementwise, i: int) -> None:
    symbols = arguments(op.nargs)
    for point in np.array(sample(op, (POINTS,), seed=1)).T.tolist():
        fixed = {s: number(p) for k, (s, p) in enumerate(zip(symbols, point)) if is_fixed(op, k)}
        if fixed:
            found = sympy.diff(formula(op, *(fixed.get(s, s) for s in symbols)).doit(), symbols[i])
        else:
            found = derivative(op, i).subs(sympy.Symbol("u", real=True), formula(op, *symbols))
        found = found.replace(sympy.DiracDelta, lambda *_: sympy.S.Zero)
        expected = found.evalf(30, subs={s: sympy.Float(p, 40) for s, p in zip(symbols, point)})
        args = [input_node("x", ()) for _ in point]
        partial = op.partial(apply(op, *args), i)
        assert float(value(partial, args, point)) == pytest.approx(float(expected), rel=1e-12, abs=1e-14)


def test_a_wrong_derivative_is_caught() -> None:
    """The sweep above fails for a primitive that is declared with a derivative off by 1e-9."""
    good = ELEMENTWISE["sin"]
    planted = dataclasses.replace(good, partials=("1.000000001*cos(x)",))
    ELEMENTWISE["sin"], PRIMITIVES["sin"] = planted, planted
    try:
        with pytest.raises(AssertionError):
            test_values_and_derivatives_equal_those_of_the_formula(planted)
        with pytest.raises(AssertionError):
            test_declared_partials_equal_those_of_sympy(planted, 0)
    finally:
        ELEMENTWISE["sin"], PRIMITIVES["sin"] = good, good


@pytest.mark.parametrize("op", [op for op in ELEMENTWISE.values() if op.partials], **ids)
def test_every_partial_is_an_expression_over_primitives(op: Elementwise) -> None:
    args = inputs_of(sample(op, ()))
    known = {*ARGUMENT_NAMES[:op.nargs], "u", "safe_div", *ELEMENTWISE}
    assert len(op.partials) == op.nargs
    for text in op.partials:
        if text is not None:
            assert set(_compiled_expression(text).co_names) <= known
            assert _evaluate_expression(text, apply(op, *args)).op.name in PRIMITIVES


def test_orders_are_constants_to_every_derivative() -> None:
    n, x = input_node("n", ()), input_node("x", ())
    with pytest.raises(NotDifferentiable, match=r"polygamma.*argument x"):
        gradient(apply("polygamma", n, x), [n])


# -- elementwise: shapes, dtypes, layouts, batching ------------------------------------------------------------------


@pytest.mark.parametrize("op", ELEMENTWISE.values(), **ids)
def test_shapes_dtypes_and_layouts(op: Elementwise) -> None:
    patterns = [[(3, 1), (1, 4), (3, 4)], [(), (2, 3), ()], [(1, 1), (1, 1), (1, 1)], [(2, 0), (2, 0), (2, 1)],
                [(), (), ()], [(1,), (5,), (1,)]]
    for pattern, dtype in itertools.product(patterns, (np.float64, np.float32)):
        shapes = pattern[:op.nargs] if op.nargs > 1 else pattern[-1:]
        arrays = [sample(op, s, k, dtype)[k] for k, s in enumerate(shapes)]
        with np.errstate(all="ignore"):
            expected = np.asarray(op.numpy(*arrays))
        inputs = inputs_of(arrays)
        node = apply(op, *inputs)
        strided = [_strided(a) for a in arrays]
        for given_arrays in (arrays, [np.array(a, order="F") for a in arrays], strided):
            found = value(node, inputs, given_arrays)
            assert found.shape == node.shape == expected.shape
            assert found.dtype == node.dtype == (dtype if node.dtype.kind == "f" else np.bool_)
            np.testing.assert_array_equal(found, expected.astype(node.dtype))


def _strided(a: np.ndarray) -> np.ndarray:
    """The same numbers, every other one of a larger array."""
    wide = np.repeat(a, 2, axis=-1) if a.ndim else a
    return wide[..., ::2] if a.ndim else wide


@pytest.mark.parametrize("op", ELEMENTWISE.values(), **ids)
def test_batching_elementwise_equals_a_loop(op: Elementwise) -> None:
    shapes = [(2, 3), (2, 1), ()]
    _check_batch(lambda *args: apply(op, *args), [sample(op, s, k)[k] for k, s in zip(range(op.nargs), shapes)],
                 [sample(op, (4, *s), k)[k] for k, s in zip(range(op.nargs), shapes)], exactly=True)


def _check_batch(build, single: list[np.ndarray], several: list[np.ndarray], exactly: bool = False) -> None:
    """batch() over every choice of arguments with a leading axis, against one evaluation per entry of it."""
    inputs, wide = inputs_of(single), inputs_of(several)
    node = build(*inputs)
    for choice in itertools.product((False, True), repeat=len(inputs)):
        mapping = {x: w for x, w, b in zip(inputs, wide, choice) if b}
        (batched,) = batch([node], mapping, 4)
        verify(Graph(tuple(x for x in (*inputs, *wide)), (batched,)))
        found = value(batched, [*inputs, *wide], [*single, *several])
        for k in range(4):
            expected = value(node, inputs, [w[k] if b else s for s, w, b in zip(single, several, choice)])
            np.testing.assert_allclose(found[k], expected, 0 if exactly else 1e-9, 0 if exactly else 1e-11)


def test_dtypes_do_not_mix() -> None:
    with pytest.raises(DTypeMismatch, match="float32"):
        apply("add", input_node("x", (2,)), input_node("y", (2,), np.float32))
    with pytest.raises(ShapeMismatch, match=r"\(2,\).*\(3,\)"):
        apply("add", input_node("x", (2,)), input_node("y", (3,)))


# -- all other primitives --------------------------------------------------------------------------------------------


def test_every_primitive_is_covered() -> None:
    """A newly declared primitive needs a case here (elementwise ones are swept over by their declaration)."""
    covered = {n.op.name for c in CASES.values() for n in topological([c.build(*inputs_of(c.arrays))])}
    declared = {p.name for p in PRIMITIVES.values() if p.family not in ("leaf", "library")}
    assert declared <= covered | set(ELEMENTWISE)


@pytest.mark.parametrize("name", CASES)
def test_value_and_verifier(name: str) -> None:
    c = CASES[name]
    inputs = inputs_of(c.arrays)
    node = c.build(*inputs)
    verify(Graph(tuple(inputs), (node,)))
    for arrays in (c.arrays, [np.array(a, order="F") for a in c.arrays], [_strided(a) for a in c.arrays]):
        np.testing.assert_allclose(value(node, inputs, arrays), c.numpy(*c.arrays), 1e-11, 1e-12)


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.moving])
def test_first_derivatives(name: str) -> None:
    """jvp equals differences, and vjp is its transpose."""
    c = CASES[name]
    rng = np.random.default_rng(3)
    inputs = inputs_of(c.arrays)
    node = c.build(*inputs)
    for subset in itertools.product((False, True), repeat=len(c.moving)):
        moving = [k for k, b in zip(c.moving, subset) if b]
        directions = {k: rng.normal(size=c.arrays[k].shape) for k in moving}
        dots = {inputs[k]: constant(t) for k, t in directions.items()}
        pushed = value(pushforward([node], dots)[0], inputs, c.arrays)

        def moved(t: float, directions=directions) -> np.ndarray:
            return c.numpy(*(a + t * directions[k] if k in directions else a for k, a in enumerate(c.arrays)))

        np.testing.assert_allclose(pushed, along(moved), rtol=1e-8, atol=1e-9)
        g = rng.normal(size=node.shape)
        pulled = value(pullback([node], [constant(g)], [inputs[k] for k in moving]), inputs, c.arrays)
        products = sum(np.sum(p * directions[k]) for p, k in zip(pulled, moving))
        assert np.sum(g * pushed) == pytest.approx(products, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.moving])
def test_second_derivatives(name: str) -> None:
    """Of the squares of all elements: forward over reverse equals reverse over reverse and differences."""
    c = CASES[name]
    rng = np.random.default_rng(4)
    inputs = inputs_of(c.arrays)
    node = c.build(*inputs)
    moving = [inputs[k] for k in c.moving]
    weights = constant(rng.normal(size=node.shape))
    first = gradient(sum_over(apply("mul", weights, apply("mul", node, node)), range(node.ndim)), moving)
    directions = [rng.normal(size=x.shape) for x in moving]
    forward = pushforward(first, {x: constant(d) for x, d in zip(moving, directions)})
    reverse = pullback(first, [constant(d) for d in directions], moving)

    def moved(t: float) -> np.ndarray:
        arrays = list(c.arrays)
        for k, d in zip(c.moving, directions):
            arrays[k] = arrays[k] + t * d
        return np.concatenate([v.ravel() for v in value(first, inputs, arrays)])

    found = np.concatenate([v.ravel() for v in value(forward, inputs, c.arrays)])
    scale_ = max(1.0, np.abs(found).max())
    np.testing.assert_allclose(found / scale_, along(moved) / scale_, rtol=1e-7, atol=1e-9)
    for a, b in zip(value(forward, inputs, c.arrays), value(reverse, inputs, c.arrays)):
        np.testing.assert_allclose(a / scale_, b / scale_, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_batching_equals_a_loop(name: str) -> None:
    c = CASES[name]
    rng = np.random.default_rng(5)

    def shaken(a: np.ndarray, k: int) -> np.ndarray:
        return a + 0.1 * rng.normal(size=a.shape) if a.dtype.kind == "f" else np.roll(a, k)

    several = [np.stack([shaken(a, k) for k in range(4)]) for a in c.arrays]
    _check_batch(c.build, list(c.arrays), several)


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if all(a.dtype == np.float64 for a in c.arrays)])
def test_float32_is_kept(name: str) -> None:
    c = CASES[name]
    if name == "cast":
        return
    arrays = [a.astype(np.float32) for a in c.arrays]
    inputs = inputs_of(arrays)
    node = c.build(*inputs)
    found = value(node, inputs, arrays)
    assert node.dtype == found.dtype == np.float32
    np.testing.assert_allclose(found, c.numpy(*c.arrays), rtol=2e-3, atol=2e-4)
    if c.moving:
        pulled = pullback([node], [constant(np.ones(node.shape, np.float32))], [inputs[k] for k in c.moving])
        assert {g.dtype for g in pulled} == {np.dtype(np.float32)}


# -- the cheap algebra -----------------------------------------------------------------------------------------------

_LEAVES = ("x", "y", "w", "zero", "one", "two")
_BINARY = ("add", "sub", "mul", "div", "maximum", "pow")
_trees = st.recursive(st.sampled_from(_LEAVES), lambda inner: st.one_of(
    st.tuples(st.sampled_from(_BINARY), inner, inner), st.tuples(st.sampled_from(("neg", "abs", "sin")), inner),
    st.tuples(st.just("where"), inner, inner, inner)), max_leaves=10)


def _built(tree, leaves: dict[str, object], combine):
    if isinstance(tree, str):
        return leaves[tree]
    return combine(tree[0], *(_built(t, leaves, combine) for t in tree[1:]))


@settings(max_examples=300, deadline=None)
@given(_trees)
def test_simplifications_keep_values(tree) -> None:
    """The nodes of random expressions, with constants 0, 1, 2 and broadcasts, against NumPy without any algebra."""
    arrays = [np.array([[0.3, 1.7, 0.9]]), np.array([[1.3], [0.6]]), np.float64(0.8)]
    inputs = inputs_of(arrays)
    numbers = {"zero": 0.0, "one": 1.0, "two": 2.0}
    node = _built(tree, dict(zip("xyw", inputs)) | {k: constant(v) for k, v in numbers.items()}, _applied)
    with np.errstate(all="ignore"):
        expected = _built(tree, dict(zip("xyw", arrays)) | numbers, _computed)
    found = value(node, inputs, arrays)
    assert found.shape == np.shape(expected)
    usual = np.isfinite(expected)  # 0 * (1/0) is 0 in a derivative's algebra, NaN in NumPy's
    np.testing.assert_allclose(found[usual], np.asarray(expected)[usual], rtol=1e-11, atol=1e-12)


def _applied(name: str, *args: Node) -> Node:
    if name == "where":
        return apply("where", apply("less", args[0], args[1]), *args[1:])
    return apply("pow", apply("abs", args[0]), args[1]) if name == "pow" else apply(name, *args)


def _computed(name: str, *args: np.ndarray) -> np.ndarray:
    if name == "where":
        return np.where(args[0] < args[1], *args[1:])
    return np.power(np.abs(args[0]), args[1]) if name == "pow" else ELEMENTWISE[name].numpy(*args)


@pytest.mark.parametrize("fn", ["log", "sqrt", "div"])
def test_the_branch_not_taken_leaves_no_nan(fn: str) -> None:
    """where(x > 0, f(x), 0) has the derivatives 0 where x = 0, though those of f are infinite."""
    x = input_node("x", (3,))
    zero = constant(0.0)
    inner = apply("div", constant(1.0), x) if fn == "div" else apply(fn, x)
    f = apply("where", apply("less", zero, x), apply("mul", inner, inner), zero)
    (first,) = gradient(sum_over(f, [0]), [x])
    second = pushforward([first], {x: constant(np.ones(3))})[0]
    third = gradient(sum_over(apply("mul", second, constant(np.arange(3.0))), [0]), [x])[0]
    for node in (first, second, third):
        found = value(node, [x], [np.array([0.0, 2.0, 0.0])])
        assert found[0] == found[2] == 0 and np.isfinite(found[1])


def test_scale_keeps_selects_outermost() -> None:
    x = input_node("x", ())
    condition, zero = apply("less", constant(0.0), x), constant(0.0)
    selected = apply("where", condition, x, zero)
    infinite = apply("div", constant(1.0), x)
    for node in (scale(selected, infinite), scale(infinite, selected), scale(apply("where", condition, zero, x), zero)):
        assert value(node, [x], [np.float64(0)]) == 0


def test_operations_on_repeated_values_run_once() -> None:
    """Both arguments repeat values along the same axis: the sum is of the single values, repeated after."""
    row, column = input_node("r", (3,)), input_node("c", (1, 3))
    node = apply("add", broadcast_to(row, (4, 3)), broadcast_to(column, (4, 3)))
    assert node.shape == (4, 3)
    assert max(n.size for n in topological([node]) if n.op.family == "elementwise") == 3
    np.testing.assert_array_equal(value(node, [row, column], [np.arange(3.0), np.ones((1, 3))]),
                                  np.broadcast_to(np.arange(3.0) + 1, (4, 3)))


def test_a_formula_is_enough_to_declare_a_function() -> None:
    """SymPy's derivative, with the function itself reused as u."""
    op = elementwise("bump", "exp(-x**2)", numpy=lambda x: np.exp(-x * x), kernel="math.exp(-{0}*{0})")
    try:
        test_values_and_derivatives_equal_those_of_the_formula(op)
        x = input_node("x", ())
        node = apply(op, x)
        assert {n.op.name for n in topological(gradient(node, [x]))} == {"input", "constant", "mul", "bump"}
    finally:
        del ELEMENTWISE["bump"], PRIMITIVES["bump"]


def test_selects_stay_outermost_through_movement() -> None:
    """where(s > 0, sum(log(x)), 0) at x = 0: the select is inside a broadcast where the logarithm is reached."""
    x, s = input_node("x", (3,)), input_node("s", ())
    zero = constant(0.0)
    f = apply("where", apply("less", zero, s), sum_over(apply("log", x), [0]), zero)
    (first,) = gradient(apply("mul", constant(3.0), apply("neg", f)), [x])
    np.testing.assert_array_equal(value(first, [x, s], [np.zeros(3), np.float64(-1)]), np.zeros(3))
    np.testing.assert_array_equal(value(first, [x, s], [np.full(3, 0.5), np.float64(1)]), np.full(3, -6.0))


def test_nodes_that_nobody_needs_are_forgotten():
    """The table of living nodes grows and shrinks with the graphs that there are."""
    x = input_node("x", (3,))
    gc.collect()
    before = len(node_module._interned)
    graph = [apply("sin", apply("mul", constant(float(k) + 0.123), x)) for k in range(100)]
    assert len(node_module._interned) == before + 300
    assert apply("sin", apply("mul", constant(7.123), x)) is graph[7]
    del graph
    gc.collect()
    assert len(node_module._interned) == before


def test_threads_make_one_node_of_equal_ones():
    """While nodes are made and die in several threads, equal ones that live at once are one object."""
    x, found = input_node("x", ()), [[] for _ in range(4)]
    start = threading.Barrier(4)

    def work(mine):
        start.wait()
        for k in range(400):
            mine.append(apply("sin", apply("add", constant(k + 0.5), x)))
            apply("cos", apply("add", constant(k + 0.25), x))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in found]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(a is b for mine in found[1:] for a, b in zip(mine, found[0]))
