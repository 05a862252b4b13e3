"""What is said about code that cannot be traced: the operation, the user's file and line, what to write instead."""

import contextlib
import json
import pickle

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.stats

from symhess import hessian_jit
from symhess.errors import SymhessError

X = np.array([0.4, 1.3, 0.7, 2.2])
MASKED = np.ma.array([1.0, 2.0, 3.0, 4.0], mask=[0, 1, 0, 0])
OBJECTS, MATRIX = np.array([1.0, 2.0, None, 3.0], object), np.asmatrix(np.eye(4))
RECORDS = np.zeros(4, [("p", float), ("q", float)])


def structured_buffer(x):
    a = RECORDS.copy()
    a["p"] = x
    return np.sum(a["p"])


def percent_format(x):
    return "%.3f" % x[0]  # noqa: UP031


#: a function, the name of the operation, and a word of the advice
REFUSED = {
    "nextafter": (lambda x: np.nextafter(x, 1.0), "numpy function nextafter", "finfo"),
    "spacing": (lambda x: np.spacing(x), "numpy function spacing", "finfo"),
    "histogram2d": (lambda x: np.histogram2d(x, x)[0], "numpy function histogram2d", "np.digitize"),
    "histogram by name": (lambda x: np.histogram(x, "auto")[0], "histogram with bins='auto'", "histogram"),
    "roots": (lambda x: np.roots(x), "numpy function roots", "implicit_function"),
    "savetxt": (lambda x: np.savetxt("nowhere", x), "numpy function savetxt", "outside"),
    "packbits": (lambda x: np.packbits(x > 1), "numpy function packbits", "arithmetic"),
    "unique rows": (lambda x: np.unique(x.reshape(2, 2), axis=0), "unique along an axis", "unique"),
    "quad": (lambda x: scipy.integrate.quad(lambda t: t * x[0], 0, 1)[0], "scipy.integrate.quad", "np.trapezoid"),
    "solve_ivp": (lambda x: scipy.integrate.solve_ivp(lambda t, y: -x[0] * y, (0, 1), [1.0]).y, "solve_ivp", "steps"),
    "odeint": (lambda x: scipy.integrate.odeint(lambda y, t: -x[0] * y, 1.0, [0, 1]), "odeint", "loop of your own"),
    "minimize": (lambda x: scipy.optimize.minimize(lambda t: (t[0] - x[0]) ** 2, [0.0]).fun, "scipy.optimize.minimize",
                 "implicit_function"),
    "brentq": (lambda x: scipy.optimize.brentq(lambda t: t - x[0], -5, 5), "scipy.optimize.brentq",
               "implicit_function"),
    "least_squares": (lambda x: scipy.optimize.least_squares(lambda t: t - x, X).cost, "least_squares",
                      "implicit_function"),
    "CubicSpline": (lambda x: scipy.interpolate.CubicSpline([0, 1, 2, 3], x)(0.5), "CubicSpline", "matrix of basis"),
    "RegularGridInterpolator": (lambda x: scipy.interpolate.RegularGridInterpolator(([0, 1.0],), [0.0, 1])(x[:1]),
                                "RegularGridInterpolator", "np.interp"),
    "gaussian_filter": (lambda x: scipy.ndimage.gaussian_filter(x, 1.0), "scipy.ndimage", "np.convolve"),
    "lfilter": (lambda x: scipy.signal.lfilter([1.0], [1.0, 0.5], x), "lfilter", "np.convolve"),
    "kstest": (lambda x: scipy.stats.skewtest(np.tile(x, 3)).statistic, "skewtest", "density"),
    "random scale": (lambda x: np.random.default_rng(0).normal(x[0], 1.0), "plain array", "NumPy function"),
    "random permutation": (lambda x: np.random.default_rng(0).permutation(x), "plain array", "NumPy function"),
    "masked constant": (lambda x: np.sum(MASKED * x), "numpy.ma.core.MaskedArray", "np.where"),
    "masked_where": (lambda x: np.ma.masked_where(x > 1, x).sum(), "numpy.ma.core.masked_where", "np.where"),
    "object constant": (lambda x: np.sum(OBJECTS * x), "dtype object", "float64"),
    "matrix constant": (lambda x: np.sum(MATRIX * x), "np.matrix", "np.asarray, and @"),
    "matrix of x": (lambda x: np.sum(np.matrix(x)), "numpy.matrixlib", "symhess.external"),
    "records": (structured_buffer, "plain array", "np.zeros"),
    "float16": (lambda x: x.astype(np.float16).sum(), "float16", "float32"),
    "bytes": (lambda x: len(x.tobytes()), "'tobytes'", "function of NumPy"),
    "view of bits": (lambda x: x.view(np.int64).sum(), "view", "astype"),
    "percent format": (percent_format, r"float\(\)", "f-string"),
    "as_strided": (lambda x: np.lib.stride_tricks.as_strided(x, (2, 2), (8, 8)).sum(), "as_strided", "external"),
    "reduce": (lambda x: np.power.reduce(x), "power.reduce", "add.reduce"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_refused(name):
    f, operation, advice = REFUSED[name]
    with pytest.raises((SymhessError, AttributeError), match=operation) as caught:
        hessian_jit(f, mode="autograd")(X)
    text = str(caught.value)
    assert "test_messages.py:" in text, "the user's file and line"
    assert advice in text, "what to write instead"


def test_the_line_is_that_of_the_operation():
    def helper(v):
        return np.nextafter(v, 0.0)

    def f(x):
        y = x * 2
        return np.sum(helper(y))

    line = helper.__code__.co_firstlineno + 1
    with pytest.raises(SymhessError, match=rf"test_messages\.py:{line} in helper: `return np\.nextafter\(v, 0\.0\)`"):
        hessian_jit(f)(X)


@pytest.mark.parametrize("encode", [json.dumps, pickle.dumps])
def test_encoders_of_the_standard_library_refuse_themselves(encode):
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        hessian_jit(lambda x: len(encode(x.tolist())), mode="autograd")(X)


def test_what_works_without_the_traced_value_works():
    def f(x):
        root = scipy.optimize.brentq(lambda t: t**2 - 2, 0, 2)
        area = scipy.integrate.quad(np.cos, 0, 1)[0]
        draws = np.random.default_rng(0).normal(size=4)
        fitted = scipy.interpolate.CubicSpline([0, 1, 2, 3], X)(0.5)
        return root * x[0] ** 2 + area * x[1] ** 2 + fitted * x[2] ** 2 + np.sum((x + draws) ** 2)

    H = hessian_jit(f, mode="autograd")(X)
    expected = 2 + 2 * np.array([2**0.5, np.sin(1), float(scipy.interpolate.CubicSpline(range(4), X)(0.5)), 0])
    np.testing.assert_allclose(H, np.diag(expected), rtol=1e-9)


def test_an_error_of_the_users_own_stays():
    class Mine(ValueError):
        pass

    def f(x):
        try:
            np.nextafter(x, 1.0)
        except TypeError:
            with contextlib.suppress(KeyError):
                raise Mine("of the user") from None
        return x[0]

    with pytest.raises(Mine, match="of the user"):
        hessian_jit(f, mode="autograd")(X)
