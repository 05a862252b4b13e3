"""Delicate points: the table of examples/benchmarks/numerics.py, and that rewrites keep what was right."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from examples.benchmarks import numerics
from symhess import hessian_jit

ROWS = [row for rows in numerics.ROWS.values() for row in rows]
#: one kernel for all of a section's smooth rows would hide which one is wrong: these are compiled alone
COMPILED = ("norm(x)**2 at 0", "1/cosh(x), x = 800", "x**y at (0, 2)", "log_ndtr(-1e5)", "softmax with a shift",
            "cross entropy, y = 0, p = 0", "log(1 - exp(-x)), x = 1e-10", "sum of logs of some")


def hessian_of(row: numerics.Row, mode: str):
    return hessian_jit(lambda x: row.function(np, scipy.special, x), mode=mode)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_value_gradient_and_hessian_are_right(row):
    found = hessian_of(row, "autograd").value_grad_hessian(np.array(row.at, float))
    assert numerics.verdict(numerics.Closed(*found), numerics.truth(row)) == "right"


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_kernels_say_the_same(name):
    (row,) = [row for row in ROWS if row.name == name]
    found = hessian_of(row, "symbolic").value_grad_hessian(np.array(row.at, float))
    assert numerics.verdict(numerics.Closed(*found), numerics.truth(row)) == "right"


#: at s = 0 the untaken branch is infinite, in factors with more axes than the condition
UNTAKEN = {
    "matrix": lambda y, s, B: np.sum(np.where(s > 0, (B / s[:, None]) @ y, 0.0) ** 2),
    "broadcast": lambda y, s, B: np.sum(np.where(s[:, None] > 0, (B / s[:, None]) * y, 0.0) ** 2),
    "sum of exponentials": lambda y, s, B: np.sum(np.where(s > 0, np.sum(np.exp(B * y) / s[:, None], 1), 0.0) ** 2),
    "two products": lambda y, s, B: np.sum(np.where(s > 0, (B / s[:, None]) @ y, 0.0)
                                           * np.where(s > 0, (B / s[:, None] ** 2) @ y**2, 0.0)),
    "missing rows": lambda y, s, B: np.sum(np.where(s > 0, np.where(s > 0, 1.0, np.nan)[:, None] * B @ y, 0.0) ** 2),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("mode", ["autograd", "symbolic"])
@pytest.mark.parametrize("name", UNTAKEN)
def test_factors_with_more_axes_than_a_condition(name, mode):
    """Rows that are not taken do not matter: the same as without them."""
    rng = np.random.default_rng(0)
    B, s, y = rng.normal(size=(4, 3)), np.array([1.0, 0, 2, 0]), rng.normal(size=3)
    found = hessian_jit(UNTAKEN[name], mode=mode).value_grad_hessian(y, s, B)
    expected = hessian_jit(UNTAKEN[name], mode="autograd").value_grad_hessian(y, s[::2], B[::2])
    for part, right in zip(found, expected):
        np.testing.assert_allclose(part, right, rtol=1e-12)


def test_the_table_sees_planted_faults():
    expected = numerics.Closed(1.0, [2.0, np.inf], [[1.0, 0.0], [0.0, 3.0]])
    assert numerics.verdict(expected, expected) == "right"
    assert numerics.verdict(expected._replace(value=1 + 1e-9), expected) == "value off 1e-09"
    assert numerics.verdict(expected._replace(gradient=[2.0, np.nan]), expected) == "gradient nan"
    assert numerics.verdict(expected._replace(gradient=[2.0, -np.inf]), expected) == "gradient inf"
    assert numerics.verdict(expected._replace(hessian=[[1.0, 1e-8], [0.0, 3.0]]), expected) == "Hessian off 3e-09"


KEPT = {
    "square of a negative number times an exponential": (
        lambda x: np.log((x[0] * np.exp(x[1])) ** 2), lambda x: 2 * np.log(np.abs(x[0])) + 2 * x[1], [-0.7, 0.3]),
    "two negative factors": (
        lambda x: np.log((x[0] * np.exp(x[1])) * (x[0] / np.exp(x[1]))), lambda x: np.log(x[0] * x[0]), [-0.7, 0.3]),
    "even power of a negative number": (
        lambda x: np.log((x[0] * np.exp(x[1])) ** 4), lambda x: 4 * np.log(np.abs(x[0])) + 4 * x[1], [-0.7, 0.3]),
    "a term of a sum that is 0": (
        lambda x: np.log(1 + x[0] ** 2 * np.exp(x[1])), lambda x: np.log1p(x[0] ** 2 * (1 + x[1] + x[1] ** 2 / 2)),
        [0.0, 0.0]),
    "a weight that is negative": (
        lambda x: np.log(x[0] * np.exp(x[1]) + 3 * np.exp(x[2])),
        lambda x: np.log(x[0] * np.expm1(x[1]) + x[0] + 3 * np.expm1(x[2]) + 3), [-0.5, 0.1, 0.2]),
}


@pytest.mark.parametrize("name", KEPT)
def test_rewrites_keep_what_was_right(name):
    """The same function in a form without a rule, or with another."""
    function, other, x = KEPT[name]
    found = hessian_jit(function, mode="autograd").value_grad_hessian(np.array(x))
    expected = hessian_jit(other, mode="autograd").value_grad_hessian(np.array(x))
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found[0], function(np.array(x)), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("function", [
    lambda x: np.log(x[0] * np.exp(x[1])), lambda x: x[0] * np.log(x[0]),
    lambda x: np.log(x[0]) - np.log(x[0] - 1), lambda x: np.sqrt(x[0]) ** 2, lambda x: np.log(np.exp(x[1]) - 1 + x[0]),
    lambda x: np.log(np.linalg.det(x[0] * np.eye(5))),
])
def test_a_logarithm_of_a_negative_number_stays_nan(function):
    x = np.array([-0.5, 0.1])
    with np.errstate(invalid="ignore"):
        assert np.isnan(function(x))
    assert np.isnan(hessian_jit(function, mode="autograd").value(x))


@pytest.mark.parametrize("x", [np.array([1.0, np.nan]), np.array([np.inf, 1.0]), np.array([-np.inf, 1.0])])
def test_infinities_and_nan_propagate_as_in_numpy(x):
    """Where NumPy gives a number or an infinity, so does the rewritten form; NaN of NaN."""
    for function in (lambda x: np.sqrt(x @ x), lambda x: np.sqrt(np.sum(x**2)) ** 2,
                     lambda x: np.log(np.sum(np.exp(x))), lambda x: np.log1p(np.exp(x[0])) + x[1],
                     lambda x: 1 / np.cosh(x[0]) + x[1],
                     lambda x: 1 / (1 + np.exp(-x[0])) + x[1], lambda x: np.abs(x[0]) ** 2 + x[1]):
        with np.errstate(all="ignore"):
            expected = function(x)
        np.testing.assert_array_equal(hessian_jit(function, mode="autograd").value(x), expected)


WHOLE = {"//": lambda n, k: n // k, "%": lambda n, k: n % k, "divmod": lambda n, k: sum(divmod(n, k)), "fmod": np.fmod}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("mode", ["autograd", "symbolic"])
@pytest.mark.parametrize("name", WHOLE)
def test_divisions_of_whole_numbers_are_whole(name, mode):
    """Numbers that no float64 holds, negative ones, and division by zero, which gives 0 as in NumPy."""
    n = np.array([7, -7, 7, -7, 0, 5, 2**60 + 5, -(2**60) - 3, 2**62 + 1, -(2**63), 9])
    k = np.array([2, 2, -2, -2, 3, 0, 1000003, 7, -(2**61) + 1, -1, 1])
    right = WHOLE[name](n, k)
    f = hessian_jit(lambda x, n, k, right: np.sum(x * (WHOLE[name](n, k) == right)), mode=mode)
    assert f.grad(np.ones(n.size), n, k, right).tolist() == [1.0] * n.size
    assert f.grad(np.ones(n.size), n, k, right + 1).tolist() == [0.0] * n.size


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("mode", ["autograd", "symbolic"])
def test_floors_of_quotients_at_the_ends(mode):
    """By zero, by infinities of either sign, and of infinities."""
    ends = np.array([-np.inf, -2.5, -0.0, 0.0, 2.5, np.inf, np.nan])
    x, y = (a.ravel() for a in np.meshgrid(ends, ends))
    for k in range(x.size):
        f = hessian_jit(lambda x, y: x // y, mode=mode)
        np.testing.assert_array_equal(f.value(x[k], y[k]), x[k] // y[k])
    assert hessian_jit(lambda x: np.sum(x**2 // x[::-1]), mode=mode).grad(np.array([2.5, 0.7])).tolist() == [0.0, 0.0]
