"""`check_hessian`: right Hessians pass, planted errors are found where they are, and doubt is called doubt."""

import math

import numpy as np
import pytest

from symhess import check_hessian, custom_derivative, external, hessian_jit
from symhess.check import extrapolated
from symhess.errors import NonScalarOutput


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@pytest.mark.parametrize("fn, args", [
    (rosenbrock, [np.array([-1.2, 1.0, 0.5, 2.0])]),
    (lambda x: np.sum(np.exp(x)) * np.log(x[0]), [np.array([0.3, 2.0, 5.0])]),
    (lambda x: np.sin(x) * x**2, [0.7]),
    (lambda x: np.sum(x**4), [np.zeros(3)]),
    (lambda x: 1e6 + np.sum(np.cos(x[1:] * x[:-1])), [np.array([3.0, 4.0, 1e-5])]),
    (lambda x: np.sum(x), [np.ones(3)]),
    (lambda x: np.sum(np.sin(x)), [np.ones((2, 2), np.float32)]),
], ids=["rosenbrock", "logarithm", "number", "zero", "offset", "linear", "float32"])
def test_right_hessians_pass(fn, args):
    check = check_hessian(fn, *args)
    n = np.size(args[0])
    assert check and len(check.entries) == n * (n + 1) // 2 and not check.wrong
    assert check.largest_difference < 1e-6


def test_differences_are_of_high_order():
    check = check_hessian(rosenbrock, np.array([-1.2, 1.0, 0.5, 2.0]))
    for e in check.entries:
        assert abs(e.difference - e.hessian) < 1e-8 and e.error < 1e-7
        assert e.names == (f"arg0[{e.row}]", f"arg0[{e.col}]")
        assert e.in_pattern == (abs(e.row - e.col) <= 1)


def test_several_inputs_and_data():
    def f(a, p, scale):
        return scale * np.sum(a**3) * p["w"] * p["v"][1]

    check = check_hessian(f, np.array([1.0, 2.0]), {"w": 2.0, "v": np.array([1.0, 3.0])}, 0.5, argnums=(0, 1))
    assert check and check.size == 5
    assert {e.names[0] for e in check.entries} == {"arg0[0]", "arg0[1]", "arg1['v'][0]", "arg1['v'][1]", "arg1['w']"}


@pytest.mark.parametrize("off", [1e-4, 1e-5])
def test_a_planted_error_is_found_where_it_is(off):
    wrong = custom_derivative(lambda y: np.sin(y), partials=f"{1 + off}*cos(y)")
    check = check_hessian(lambda x: wrong(x[1]) * x[2] + x[0] ** 2 * x[2], np.array([0.4, 1.1, 2.0]))
    assert not check
    assert {(e.row, e.col) for e in check.wrong} == {(1, 1), (2, 1)}
    assert "differs" in str(check) and "2 differ" in str(check)
    assert math.isclose(check.largest_difference, off, rel_tol=0.3)


def test_an_entry_missing_from_the_pattern_is_found():
    wrong = external(lambda v: v * v[::-1] / 2, grad=lambda v: v[::-1], hess=lambda v: 0 * v, elementwise=True)
    check = check_hessian(lambda x: np.sum(wrong(x)) + np.sum(x**2), np.array([1.5, 2.5]))
    assert [(e.row, e.col, e.in_pattern) for e in check.wrong] == [(1, 0, False)]
    assert "outside of the sparsity pattern" in str(check)


def test_doubt_is_called_doubt():
    check = check_hessian(lambda x: np.abs(x[0]) + x[1] ** 3, np.array([0.0, 2.0]))
    assert [(e.row, e.col) for e in check.unsure] == [(0, 0)]
    assert not check.wrong and check
    outside = check_hessian(lambda x: np.sum(np.sqrt(x)), np.zeros(2))
    assert not outside and not outside.wrong and len(outside.unsure) == 3


def test_the_edge_of_a_domain_is_stepped_away_from():
    """Steps of a quarter leave the domain; smaller ones do not."""
    check = check_hessian(lambda x: np.log(x[0]) + np.log(1 - x[0]), np.array([0.9]))
    assert check and check.entries[0].verdict == "agrees"


def test_large_hessians_are_sampled_inside_and_outside_of_the_pattern():
    x = np.linspace(0.5, 1.5, 300)
    check = check_hessian(rosenbrock, x, entries=60)
    inside = [e.in_pattern for e in check.entries]
    assert check and 50 <= len(inside) <= 60 and 20 <= sum(inside) <= 45
    assert check.entries == check_hessian(rosenbrock, x, entries=60).entries
    assert check.entries != check_hessian(rosenbrock, x, entries=60, seed=1).entries


def test_options_of_a_compiled_function_are_kept():
    f = hessian_jit(lambda a, b: np.sum(a * b**3), argnums=1, sparse=True, mode="autograd")
    check = check_hessian(f, np.ones(3), np.array([1.0, 2.0, 3.0]))
    assert check and {e.names[0][:4] for e in check.entries} == {"arg1"}


def test_wrong_calls():
    with pytest.raises(NonScalarOutput):
        check_hessian(lambda x: x**2, np.ones(2))
    with pytest.raises(ValueError, match="rtol=0 must be positive"):
        check_hessian(rosenbrock, np.ones(2), rtol=0)


@pytest.mark.parametrize("function, exact", [(lambda t: np.sin(t) / t, 1.0), (lambda t: np.exp(t * t) + 2, 3.0)])
def test_extrapolation(function, exact):
    steps = [0.5 / 1.5**k for k in range(12)]
    value, error = extrapolated([function(t) for t in steps], [t * t for t in steps], [1e-16] * 12)
    assert abs(value - exact) <= error < 1e-12


def test_extrapolation_leaves_out_what_is_not_finite():
    steps = [0.5 / 1.5**k for k in range(14)]
    values = [math.nan] * 3 + [math.cos(t) for t in steps[3:]]
    value, error = extrapolated(values, [t * t for t in steps], [1e-16] * 14)
    assert abs(value - 1) <= error < 1e-11
