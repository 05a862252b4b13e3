"""The objective functions that come with SciPy: its root-finding collection, and what its own tests minimise."""

import warnings

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from oracles import _polarised, _second_difference, assert_close

from symhess import hessian_jit

_tstutils = pytest.importorskip("scipy.optimize._tstutils")
constrained = pytest.importorskip("scipy.optimize.tests.test_minimize_constrained")
optimize = pytest.importorskip("scipy.optimize.tests.test_optimize")
least_squares = pytest.importorskip("scipy.optimize.tests.test_least_squares")
spectral = pytest.importorskip("scipy.optimize.tests.test__spectral")
nonlin = pytest.importorskip("scipy.optimize.tests.test_nonlin")
shgo = pytest.importorskip("scipy.optimize.tests.test__shgo")
basinhopping = pytest.importorskip("scipy.optimize.tests.test__basinhopping")
strategies = pytest.importorskip("scipy.optimize.tests.test_hessian_update_strategy")

RNG = np.random.default_rng(7)


def differences(fn, x, step=None):
    """Tenth-order differences of the value, in extended precision where the function keeps it."""
    x = np.atleast_1d(np.asarray(x, np.longdouble))
    step = np.longdouble(2e-3) * np.maximum(np.max(np.abs(x)), 0.01) if step is None else step
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _polarised(_second_difference(lambda v: np.longdouble(fn(v)), x, step), len(x))


# -- the roots -----------------------------------------------------------------------------------------------------

ROOTS = [row for kind in ("original", "aps", "chandrupatla") for row in _tstutils.get_tests(kind)]


#: where a derivative that SciPy gives is not that of its function (a sign, a factor, a missing branch)
WRONG = ("aps.02", "aps.09", "aps.10", "aps.15")


def inside(row):
    """A point between the ends of the bracket."""
    low, high = row.get("bracket") or [row["x0"]] * 2
    return float(0.37 * low + 0.63 * high)


def is_function(row):
    """All but one, which answers at random and remembers."""
    return row["f"].__name__ != "f6"


@pytest.mark.parametrize("row", list(filter(is_function, ROOTS)), ids=lambda row: str(row.get("ID")))
def test_roots(row):
    f, args, x = row["f"], row.get("args", ()), inside(row)
    value, slope, curvature = hessian_jit(f, mode="autograd").value_grad_hessian(x, *args)
    np.testing.assert_allclose(value, f(x, *args), rtol=1e-13, atol=1e-13)
    assert_close([[curvature]], differences(lambda v: f(v[0], *args), [x]), 1e-9)
    if row.get("fprime") and not row["ID"].startswith(WRONG):
        np.testing.assert_allclose(slope, row["fprime"](x, *args), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(curvature, row["fprime2"](x, *args), rtol=1e-9, atol=1e-9)


def test_there_are_as_many_as_scipy_brings():
    assert len(ROOTS) >= 205


# -- with closed forms ---------------------------------------------------------------------------------------------


def entropy():
    problem = optimize.CheckOptimize()
    problem.setup_method()
    return problem


ELEC, ENTROPY, ROSENBROCK = constrained.Elec(n_electrons=4), entropy(), strategies.Rosenbrock(5)
CLOSED = {
    "rosen": (scipy.optimize.rosen, scipy.optimize.rosen_der, scipy.optimize.rosen_hess, RNG.normal(size=6)),
    "elec": (ELEC.fun, ELEC.grad, ELEC.hess, ELEC.x0),
    "entropy": (ENTROPY.func, ENTROPY.grad, ENTROPY.hess, np.array([0.2, -0.4, 0.7])),
    "himmelblau": (optimize.himmelblau, optimize.himmelblau_grad, optimize.himmelblau_hess, np.array([-0.27, -0.9])),
    "rosenbrock of the strategies": (ROSENBROCK.fun, ROSENBROCK.grad, ROSENBROCK.hess, RNG.normal(size=5)),
} | {name: (p.fun, p.grad, p.hess, np.array([0.3, 0.8])) for name, p in (
    ("maratos", constrained.Maratos()), ("hyperbolic", constrained.HyperbolicIneq()),
    ("rosenbrock in a ball", constrained.IneqRosenbrock()))}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name):
    fun, gradient, hess, x = CLOSED[name]
    got = hessian_jit(fun, mode="autograd").value_grad_hessian(x)
    np.testing.assert_allclose(got[0], fun(x), rtol=1e-13)
    assert_close(got[1], gradient(x), 1e-11)
    if name != "entropy":  # the closed form there is not the derivative of the gradient
        assert_close(got[2], hess(x), 1e-11)
    assert_close(got[2], differences(fun, x), 1e-9)


# -- without -------------------------------------------------------------------------------------------------------


def squares(residuals, *args):
    """Half the sum of squares, as least_squares minimises it."""
    return lambda x: 0.5 * np.sum(np.asarray(residuals(x, *args)) ** 2)


FITTING, BROYDEN = least_squares.ExponentialFittingProblem(1, 0.1, 0.1, rng=0), least_squares.BroydenTridiagonal(n=8)
OTHERS = {
    "fun_trivial": (lambda x: least_squares.fun_trivial(x[0], 2.0), [1.3]),
    "fun_rosenbrock": (squares(least_squares.Fun_Rosenbrock()), [-1.2, 1.0]),
    "fun_bvp": (squares(least_squares.fun_bvp), RNG.normal(size=9)),
    "broyden": (squares(BROYDEN.fun), BROYDEN.x0),
    "fitting": (squares(FITTING.fun), [0.3, -0.2]),
    "cubic_soft_l1": (lambda x: np.sum(least_squares.cubic_soft_l1(FITTING.fun(x) ** 2)[0]), [0.3, -0.2]),
    "func1d": (lambda x: basinhopping.func1d(x[0])[0], [0.4]),
    "func2d": (lambda x: basinhopping.func2d(x)[0], [0.4, -0.3]),
    "func2d_nograd": (basinhopping.func2d_nograd, [0.4, -0.3]),
    "func2d_easyderiv": (lambda x: basinhopping.func2d_easyderiv(x)[0], [0.4, -0.3]),
    "structure 1": (shgo.test1_1.f, [0.3, 0.4]),
    "structure 2": (lambda x: shgo.test2_1.f(x[0]), [17.0]),
    "structure 3": (shgo.test3_1.f, [3.0, 4.0]),
    "structure 4": (shgo.test4_1.f, RNG.normal(size=7)),
    "structure 5": (shgo.test5_1.f, [312.0, 204.0]),
    "structure S": (shgo.test_s.f, RNG.normal(size=4)),
    "Lennard-Jones": (lambda x: shgo.testLJ.f(x, 9), np.arange(9.0) ** 1.5 % 2.3),
    "nonlin 3": (squares(nonlin.F3), [1.0, 2.0, 3.0]),
    "nonlin 4": (squares(nonlin.F4_powell), [-1.0, -2.0]),
    "nonlin 5": (squares(nonlin.F5), [2.0, 0.5, 2.0, 0.7]),
    "nonlin 6": (squares(nonlin.F6), [-0.5, 1.4]),
} | {f"spectral {k}": (squares(getattr(spectral, f"F_{k}"), 6), 1.1 * getattr(spectral, f"x0_{k}")(6))
     for k in (1, 2, 4, 6, 7, 9, 10)}


@pytest.mark.parametrize("name", OTHERS)
def test_without_closed_forms(name):
    fun, x = OTHERS[name]
    x = np.array(x, float)
    got = hessian_jit(fun, mode="autograd").value_grad_hessian(x)
    np.testing.assert_allclose(got[0], fun(x.copy()), rtol=1e-12)
    assert_close(got[2], differences(lambda v: fun(v.astype(float)), x, np.longdouble(8e-3)), 1e-8)


# -- densities -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["norm", "expon", "gamma", "beta", "t", "cauchy", "logistic", "poisson", "uniform"])
def test_likelihoods_of_frozen_distributions(law):
    shapes = {"gamma": (2.5,), "beta": (2.0, 3.0), "t": (5.0,), "poisson": (3.0,)}.get(law, ())
    frozen = getattr(scipy.stats, law)(*shapes)
    density = frozen.logpmf if law == "poisson" else frozen.logpdf
    points = np.array([1.0, 2.0, 4.0]) if law == "poisson" else np.array([0.3, 0.5, 0.7])
    if law == "poisson":
        f = hessian_jit(lambda m: np.sum(scipy.stats.poisson(m[0]).logpmf(points)), mode="autograd")
        assert_close(f(np.array([3.0])), [[-np.sum(points) / 9]], 1e-12)
        return
    f = hessian_jit(lambda x: np.sum(density(x)), mode="autograd")
    np.testing.assert_allclose(f.value(points), np.sum(density(points)), rtol=1e-12)
    assert_close(f(points), differences(lambda v: np.sum(density(v.astype(float))), points, np.longdouble(8e-3)), 1e-8)
