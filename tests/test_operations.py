"""Every NumPy operation in the tables is right in value, type and Hessian, or refused with its name."""

import numpy as np
import operation_cases as cases
import pytest
from oracles import _second_difference
from test_trace import leaves, run_traced

from symhess import hessian_jit
from symhess.errors import SymhessError


def function(snippet):
    return eval(f"lambda x: ({snippet})", cases.NAMES)


def as_number(result):
    """One number out of everything that a snippet returns, with different weights and curvature."""
    total = 0.0
    for k, part in enumerate(leaves(result)):
        part = np.asarray(part) * 1.0
        weight = 1 + 0.1 * np.cos(np.arange(part.size) + k).reshape(part.shape)
        total = total + np.sum(weight * part + 0.3 * part * part)
    return total


#: directions along which curvature is compared: a wrong entry of the Hessian shows in every one of them
DIRECTIONS = np.random.default_rng(3).uniform(0.3, 1, (4, 6)) * [1, -1, 1, 1, -1, -1]


def check_hessian(fn, x):
    """u H u against tenth-order differences of the value along u, in double precision: good to about 1e-8."""
    f = hessian_jit(lambda x: as_number(fn(x)), mode="autograd")
    np.testing.assert_allclose(f.value(x), as_number(fn(x.copy())), rtol=1e-12)
    H = f(x)
    assert np.array_equal(H, H.T)
    curvature = _second_difference(lambda y: as_number(fn(np.asarray(y, float))), x, np.longdouble(1e-3))
    expected = np.array([float(curvature(u)) for u in DIRECTIONS])
    np.testing.assert_allclose(np.einsum("ki,ij,kj->k", DIRECTIONS, H, DIRECTIONS), expected, rtol=1e-6,
                               atol=1e-6 * max(1.0, np.abs(H).max()))


def check_result(fn, x):
    """Values, shapes and dtypes; NumPy may return a Python number where the trace has an array of rank 0."""
    got, want = run_traced(fn, x, concrete=True), [np.asarray(w) for w in leaves(fn(x.copy()))]
    assert [g.shape for g in got] == [w.shape for w in want]
    assert [g.dtype for g in got] == [w.dtype for w in want]
    for g, w in zip(got, want):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("snippet", cases.CENSUS + cases.EVERYDAY)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning")
def test_supported(snippet):
    fn = function(snippet)
    check_result(fn, cases.X)
    check_hessian(fn, cases.X)


@pytest.mark.parametrize("snippet", cases.REFUSED)
def test_refused(snippet):
    with pytest.raises(SymhessError, match=cases.REFUSED[snippet]) as caught:
        hessian_jit(lambda x: as_number(function(snippet)(x)), mode="autograd")(cases.X)
    assert "test_operations.py" in str(caught.value) or "<string>" in str(caught.value)


def test_counts():
    assert len(cases.CENSUS) >= 90 and len(set(cases.EVERYDAY)) >= 350
    print(f"{len(cases.CENSUS) + len(cases.EVERYDAY)} supported, {len(cases.REFUSED)} refused")
