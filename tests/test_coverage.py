"""Every operation that published functions use: the Hessian of a snippet against differences of its value."""

import numpy as np
import pytest
from coverage_census import ROWS, X
from oracles import _polarised, _second_difference, assert_close
from published import fresh

from symhess import hessian_jit


class Extended:
    """NumPy whose fresh arrays are in extended precision."""

    def __getattr__(self, name):
        made = getattr(np, name)
        if name not in ("zeros", "ones", "empty", "eye"):
            return made
        return lambda shape, dtype=float: made(shape, dtype=np.longdouble)


@pytest.fixture(scope="module")
def extended():
    """The rows by name, computing in extended precision."""
    module = fresh("coverage_census")
    module.np = Extended()
    return module.ROWS


def by_differences(name, extended):
    """The Hessian at X by tenth-order differences of the value, in double precision where NumPy has no other."""
    x0 = X.astype(np.longdouble)
    try:
        return _polarised(_second_difference(lambda x: np.longdouble(extended[name].fn(x)), x0, np.longdouble(2e-3)), 6)
    except TypeError:
        double = lambda x: np.longdouble(ROWS[name].fn(x.astype(float)))
        return _polarised(_second_difference(double, x0, np.longdouble(8e-3)), 6)


@pytest.mark.parametrize("name", ROWS)
def test_hessian(name, extended):
    f = hessian_jit(ROWS[name].fn, mode="autograd")
    np.testing.assert_allclose(f.value(X), float(ROWS[name].fn(X.copy())), rtol=1e-12)
    expected = by_differences(name, extended)
    for _ in range(2):
        assert_close(f(X), expected, 2e-9)


def test_every_operation_of_the_count_is_there():
    assert len(ROWS) >= 150 and all(0 < r.share <= 100 for r in ROWS.values())


def test_the_oracle_sees_a_wrong_hessian(extended):
    expected = by_differences("x**2", extended)
    assert_close(2 * np.eye(6), expected, 1e-12)
    with pytest.raises(AssertionError):
        assert_close(2.00000001 * np.eye(6), expected, 2e-9)
