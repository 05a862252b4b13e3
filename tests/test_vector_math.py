"""The functions that vectorise: against mpmath to 2 ulp, at the edges, and scalar against vector code bit for bit."""

from __future__ import annotations

import functools
import math

import mpmath
import numba
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import symhess as sh
from symhess.backends import vector_math, vector_numba
from symhess.errors import SymhessWarning

pytestmark = pytest.mark.skipif(not vector_math.supported(), reason="no fused multiply-add: kernels call libm")
NAMES = sorted(vector_math.FORMULAS)
#: functions of one number that promise 2 ulp for every double
ONE = [name for name in NAMES if len(vector_math.parameters(name)) == 1]
ULPS = 2.0
#: a logarithm that is multiplied, or added to something of the other sign, keeps its own accuracy only
PRODUCTS = {"xlogy": 3.0, "times_log": 3.0, "entr": 3.0}
EDGES = [0.0, 5e-324, 2.2250738585072014e-308, 1e-300, 1e-17, 2e-9, 0.5, 1.0, 2.0, 22.0, 40.0, 354.9, 708.4,
         709.782712893384, 709.79, 710.4758, 710.48, 745.13, 745.14, 1e5, 1e9, 2.0**40, 2.0**40 + 1, 1e22,
         1.7976931348623157e308, math.inf, math.nan]
#: intervals on which functions are sampled densely
GRIDS = {"exp": [(-746, 710), (-1, 1)], "expm1": [(-40, 710), (-1, 1)],
         "inverse_expm1": [(1e-9, 3), (-40, -1e-9), (1, 746)], "log": [(1e-9, 3), (0.9, 1.1), (1e-320, 1e-308)],
         "entr": [(1e-9, 5)],
         "log1p": [(-0.9999, 3), (-1e-3, 1e-3), (1, 1e8)], "atan": [(-3, 3), (-100, 100)], "tanh": [(-1, 1), (-23, 23)],
         "sinh": [(-2, 2), (-711, 711)], "cosh": [(-2, 2), (-711, 711)]}
GRIDS |= {name: [(-7, 7), (-1e6, 1e6), (-1e12, 1e12), (-1e18, 1e18)] for name in ("sin", "cos", "tan")}
GRIDS |= {name: [(-4, 4), (-746, 746)] for name in ("sigmoid", "softplus", "sech")}
#: what mpmath does not call as NumPy does
EXACT = {"sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
         "inverse_expm1": lambda x: 1 / mpmath.expm1(x), "entr": lambda x: -x * mpmath.log(x), "pow": mpmath.power,
         "logaddexp": lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)), "xlogy": lambda x, y: x * mpmath.log(y),
         "times_log": lambda x, y: x * mpmath.log(y)}


@functools.cache
def scalar(name):
    return vector_math.machine_code(name)


@functools.cache
def looped(name, dtype=np.float64):
    """The function over arrays, compiled by Numba as kernels are."""
    function = vector_numba.NAMES[f"v{name}"]
    two = len(vector_math.parameters(name)) == 2

    @numba.njit(error_model="numpy")
    def loop(x, y, out):
        for i in range(x.size):
            out[i] = function(x[i], y[i]) if two else function(x[i])

    @numba.njit(error_model="numpy")
    def loop_of_one(x, y, out):
        for i in range(x.size):
            out[i] = function(x[i])

    def apply(x, y=None):
        x, out = np.ascontiguousarray(x, dtype), np.empty(len(x), dtype)
        apply.loop(x, x if y is None else np.ascontiguousarray(y, dtype), out)
        return out

    apply.loop = loop if two else loop_of_one
    return apply


def exact(name, *args):
    """The function of exact numbers, to 300 bits."""
    with mpmath.workprec(300):
        return EXACT.get(name, getattr(mpmath, name, None))(*map(mpmath.mpf, args))


def ulps(name, value, *args):
    """The distance to the exact value in units in its last place (those of the smallest double near 0)."""
    true = exact(name, *args)
    if abs(true) >= mpmath.mpf(2) ** 1024 * (1 - mpmath.mpf(2) ** -54):
        return 0.0 if value == math.copysign(math.inf, true) else math.inf
    with mpmath.workprec(300):
        return float(abs(mpmath.mpf(value) - true) / math.ulp(float(true)))


def agrees(name, value, *args):
    """True within the bound, or for the same infinity, NaN or signed zero as NumPy."""
    true = vector_math.reference(name, *args)
    if math.isnan(true) or math.isnan(value):
        return math.isnan(true) and math.isnan(value)
    if all(math.isfinite(a) and a != 0 for a in args) and math.isfinite(true):
        return ulps(name, value, *args) <= PRODUCTS.get(name, ULPS)
    return true == value and math.copysign(1, true) == math.copysign(1, value)


@pytest.mark.parametrize("name", [name for name in ONE if vector_math.FORMULAS[name].spelling.startswith("math.")])
def test_edges(name):
    for x in EDGES + [-x for x in EDGES]:
        assert agrees(name, scalar(name)(x), x), (x, scalar(name)(x))


@pytest.mark.parametrize("name, x, expected", [
    ("sigmoid", 800.0, 1.0), ("sigmoid", -800.0, 0.0), ("sigmoid", math.inf, 1.0), ("sigmoid", -math.inf, 0.0),
    ("softplus", 800.0, 800.0), ("softplus", -800.0, 0.0), ("softplus", math.inf, math.inf),
    ("softplus", -math.inf, 0.0), ("sech", math.inf, 0.0), ("sech", -800.0, 0.0), ("inverse_expm1", 0.0, math.inf),
    ("inverse_expm1", -math.inf, -1.0), ("inverse_expm1", math.inf, 0.0), ("entr", 0.0, 0.0),
    ("entr", -1.0, -math.inf), ("entr", math.inf, -math.inf)])
def test_edges_of_compositions(name, x, expected):
    assert scalar(name)(x) == expected
    assert math.isnan(scalar(name)(math.nan))


@pytest.mark.parametrize("name", ONE)
def test_dense_grids(name):
    for low, high in GRIDS[name]:
        x = np.linspace(low, high, 601)
        worst = max((ulps(name, v, p), p) for v, p in zip(looped(name)(x).tolist(), x.tolist()))
        assert worst[0] <= PRODUCTS.get(name, ULPS), worst


@pytest.mark.parametrize("name", [name for name in ONE if vector_math.FORMULAS[name].spelling.startswith("math.")])
@settings(max_examples=200, deadline=None)
@given(x=st.floats(allow_nan=True, allow_infinity=True))
def test_any_double(name, x):
    assert agrees(name, scalar(name)(x), x), scalar(name)(x)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@settings(max_examples=100, deadline=None)
@given(n=st.integers(-2**40, 2**40))
def test_close_to_multiples_of_a_quarter_turn(name, n):
    with mpmath.workprec(300):
        x = float(n * mpmath.pi / 2)
    assume(x)
    assert ulps(name, scalar(name)(x), x) <= ULPS


@settings(max_examples=500, deadline=None)
@given(x=st.floats(min_value=0, exclude_min=True, allow_infinity=False), y=st.floats(-1e6, 1e6))
def test_pow_of_positive_numbers(x, y):
    assume(abs(y * math.log2(x)) < 1e6)
    assert agrees("pow", scalar("pow")(x, y), x, y), scalar("pow")(x, y)


@settings(max_examples=300, deadline=None)
@given(x=st.floats(0.5, 2), scale=st.floats(-700, 700))
def test_pow_over_the_whole_range_of_results(x, scale):
    assume(abs(math.log(x)) > 1e-9)
    y = scale / math.log(x)
    assert ulps("pow", scalar("pow")(x, y), x, y) <= ULPS


def test_pow_at_the_edges_is_that_of_libm():
    values = [0.0, 1.0, 2.0, 3.0, 0.5, 1e-320, 1e308, math.inf, math.nan]
    for x in values + [-v for v in values]:
        for y in values + [-v for v in values]:
            assert agrees("pow", scalar("pow")(x, y), x, y), (x, y)


@settings(max_examples=200, deadline=None)
@given(x=st.floats(-700, 700), y=st.floats(-700, 700))
def test_logaddexp(x, y):
    true = exact("logaddexp", x, y)
    assert abs(scalar("logaddexp")(x, y) - float(true)) <= 2 * math.ulp(max(abs(x), abs(y), 1.0))


@pytest.mark.parametrize("name", ["xlogy", "times_log"])
@settings(max_examples=200, deadline=None)
@given(x=st.floats(-1e3, 1e3), y=st.floats(1e-9, 1e9))
def test_products_with_logarithms(name, x, y):
    assume(abs(x) > 1e-200)
    assert agrees(name, scalar(name)(x, y), x, y)


def test_logarithms_times_nothing():
    assert scalar("xlogy")(0.0, 0.0) == scalar("times_log")(0.0, 0.0) == scalar("xlogy")(0.0, -1.0) == 0.0
    assert math.isnan(scalar("xlogy")(0.0, math.nan)) and math.isnan(scalar("times_log")(0.0, -1.0))
    assert scalar("logaddexp")(math.inf, math.inf) == math.inf and scalar("logaddexp")(-math.inf, 1.0) == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_scalar_and_vector_code_agree_bit_for_bit(name):
    bits = np.random.default_rng(3).integers(0, 2**64, 4000, np.uint64, endpoint=False)
    x = np.concatenate([bits.view(np.float64), EDGES, np.negative(EDGES), np.linspace(-30, 30, 501)])
    arguments = [x, x[::-1]][:len(vector_math.parameters(name))]
    expected = [scalar(name)(*v) for v in zip(*(a.tolist() for a in arguments))]
    np.testing.assert_array_equal(looped(name)(*arguments), expected)


@pytest.mark.parametrize("name", NAMES)
def test_loops_are_vectorised(name):
    apply = looped(name)
    apply(np.ones(3), np.ones(3))
    (text,) = apply.loop.inspect_llvm().values()
    assert "vector.body" in text and f"call double @symhess_{name}_f64" not in text


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_rounded_from_float64(name):
    x = np.linspace(-50, 50, 999, dtype=np.float32)
    with np.errstate(over="ignore"):
        expected = looped(name)(x.astype(np.float64), x[::-1].astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(looped(name, np.float32)(x, x[::-1]), expected)


def test_spelling():
    assert vector_math.spelled("math.exp({0})") == "vexp({0})"
    assert vector_math.spelled("math.erf({0}) + exp({0})") == "math.erf({0}) + exp({0})"
    assert vector_math.spelled("(-softplus(-{0}))") == "(-vsoftplus(-{0}))"


def test_short_loops_call_libm():
    f = sh.hessian_jit(lambda x: np.sum(np.exp(x)))
    assert "vexp(" in f.source(np.ones(200)) and "vexp(" not in f.source(np.ones(8))


def test_without_a_fused_multiply_add_kernels_call_libm(monkeypatch):
    monkeypatch.setattr(vector_math, "supported", lambda: False)
    vector_math.usable.cache_clear()
    try:
        assert vector_math.spelled("math.exp({0})") == "math.exp({0})"
        assert vector_math.definition("exp", "double") is None
    finally:
        vector_math.usable.cache_clear()


def test_definitions_of_several_functions_are_one_module():
    pairs = [("sin", "double"), ("cos", "double"), ("sin", "float"), ("pow", "double")]
    text = vector_math.definitions(pairs)
    assert all(text.count(f"define internal {k} @{vector_math.symbol(n, k)}(") == 1 for n, k in pairs)
    assert text.count("declare double @llvm.fma.f64") == 1
    assert vector_math.definition("gamma", "double") is None and vector_math.definition("sin", "half") is None


def test_a_function_that_disagrees_is_not_used(monkeypatch):
    wrong = vector_math.FORMULAS["exp"].__class__(lambda w, x: x + 1.0, "math.exp", np.exp, [(0.0,), (1.0,)])
    monkeypatch.setitem(vector_math.FORMULAS, "exp", wrong)
    vector_math.usable.cache_clear(), vector_math._parts.cache_clear()
    try:
        with pytest.warns(SymhessWarning, match="kernels call libm"):
            assert vector_math.spelled("math.exp({0})") == "math.exp({0})"
    finally:
        vector_math.usable.cache_clear(), vector_math._parts.cache_clear()
