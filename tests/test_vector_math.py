"""The functions that vectorise: against mpmath to 2 ulp, at the edges, and scalar against vector code bit for bit."""

from __future__ import annotations

import functools
import math

import mpmath
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symhess as sh
from symhess.backends import vector_math, vector_numba
from symhess.errors import SymhessWarning

pytestmark = pytest.mark.skipif(not vector_math.supported(), reason="no fused multiply-add: kernels call libm")
NAMES = sorted(vector_math.FORMULAS)
#: the bound that the functions promise
ULPS = 2.0
EDGES = [0.0, 5e-324, 2.2250738585072014e-308, 1e-300, 1e-17, 0.5, 1.0, 2.0, 708.4, 709.782712893384, 709.79, 745.13,
         745.14, 1e5, 1e9, 1.0e22, 1.7976931348623157e308, math.inf, math.nan]
#: the arguments on which each function is sampled densely
GRIDS = {"exp": (-746.0, 710.0)}


@functools.cache
def scalar(name):
    return vector_math.machine_code(name)


@functools.cache
def looped(name, dtype=np.float64):
    """The function over arrays, compiled by Numba as kernels are."""
    function = vector_numba.NAMES[f"v{name}"]

    @numba.njit(error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    def apply(x):
        out = np.empty(len(x), dtype)
        loop(np.ascontiguousarray(x, dtype), out)
        return out

    apply.loop = loop
    return apply


def exact(name, x):
    """f(x) to 200 bits."""
    with mpmath.workprec(200):
        return getattr(mpmath, name)(mpmath.mpf(x))


def ulps(value, name, x):
    """The distance to the exact value in units in the last place of that (of the smallest double near 0)."""
    true = exact(name, x)
    if abs(true) >= mpmath.mpf(2) ** 1024 * (1 - mpmath.mpf(2) ** -54):
        return 0.0 if value == math.copysign(math.inf, true) else math.inf
    with mpmath.workprec(200):
        return float(abs(mpmath.mpf(value) - true) / math.ulp(float(true)))


def agrees(name, x, value):
    """True within the bound, or for the same infinity, NaN or signed zero as libm."""
    if math.isfinite(x) and x != 0 and not math.isnan(value):
        return ulps(value, name, x) <= ULPS
    true = vector_math.reference(name, x)
    same = true == value and math.copysign(1, true) == math.copysign(1, value)
    return same or (math.isnan(true) and math.isnan(value))


@pytest.mark.parametrize("name", NAMES)
def test_edges(name):
    for x in EDGES + [-x for x in EDGES]:
        assert agrees(name, x, scalar(name)(x)), (x, scalar(name)(x))


@pytest.mark.parametrize("name", NAMES)
def test_dense_grid(name):
    low, high = GRIDS[name]
    x = np.linspace(low, high, 2001)
    worst = max(zip(map(ulps, looped(name)(x).tolist(), [name] * x.size, x.tolist()), x))
    assert worst[0] <= ULPS, worst


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=300, deadline=None)
@given(x=st.floats(allow_nan=True, allow_infinity=True))
def test_any_double(name, x):
    assert agrees(name, x, scalar(name)(x)), scalar(name)(x)


@pytest.mark.parametrize("name", NAMES)
def test_scalar_and_vector_code_agree_bit_for_bit(name):
    bits = np.random.default_rng(3).integers(0, 2**64, 4000, np.uint64, endpoint=False)
    x = np.concatenate([bits.view(np.float64), EDGES, np.negative(EDGES), np.linspace(*GRIDS[name], 500)])
    expected = [scalar(name)(v) for v in x.tolist()]
    np.testing.assert_array_equal(looped(name)(x), expected)


@pytest.mark.parametrize("name", NAMES)
def test_loops_are_vectorised(name):
    apply = looped(name)
    apply(np.ones(3))
    (text,) = apply.loop.inspect_llvm().values()
    assert "x double>" in text and f"call double @{name}" not in text


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_rounded_from_float64(name):
    x = np.linspace(*GRIDS[name], 999, dtype=np.float32)
    with np.errstate(over="ignore"):
        expected = looped(name)(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(looped(name, np.float32)(x), expected)


def test_spelling():
    assert vector_math.spelled("math.exp({0})") == "vexp({0})"
    assert vector_math.spelled("math.erf({0}) + exp({0})") == "math.erf({0}) + exp({0})"


def test_short_loops_call_libm():
    f = sh.hessian_jit(lambda x: np.sum(np.exp(x)))
    assert "vexp(" in f.source(np.ones(200)) and "vexp(" not in f.source(np.ones(8))


def test_a_function_that_disagrees_is_not_used(monkeypatch):
    monkeypatch.setitem(vector_math.FORMULAS, "exp", (lambda w, x: x + 1.0, [(0.0,), (1.0,)]))
    vector_math.usable.cache_clear()
    try:
        with pytest.warns(SymhessWarning, match="kernels call libm"):
            assert vector_math.spelled("math.exp({0})") == "math.exp({0})"
    finally:
        vector_math.usable.cache_clear()
