"""Places where a traced function could mean something else than the same NumPy code: text, aliases, constants, NaN."""

import contextlib
import math
import warnings

import numpy as np
import pytest
import scipy
import scipy.spatial.distance
import scipy.stats
from oracles import assert_close

from symhess import grad, hessian, hessian_jit
from symhess.errors import NonScalarOutput, ShapeMismatch, SymhessWarning

X = np.array([1.3, 0.7, 2.1])
NORMAL = scipy.stats.multivariate_normal([0.0, 1.0, 0.5], np.eye(3) + 0.3)
HOLE = np.array([1.0, np.nan, 2.0])


def compiled_like(f, *points):
    """The Hessian object, checked against the values of the function itself."""
    h = hessian_jit(f, mode="autograd")
    for x in points:
        given = x.copy()
        np.testing.assert_allclose(h.value(given), f(x.copy()), rtol=1e-14)
        np.testing.assert_array_equal(given, x)
    return h


# -- aliases -------------------------------------------------------------------------------------------------------


def view_of_an_input(x):
    v = x[:1]
    x *= 2
    return np.sum(v**2) + np.sum(x)


def alias_in_a_loop(x):
    for row in (x, x.reshape(3, 1), x[::-1]):
        row *= x[1]
    return np.sum(x**2)


def out_is_an_input(x):
    y = x[1:]
    np.multiply(x, x, out=x)
    return np.sum(y)


def helper_that_scales(x):
    def scale(v):
        v /= 2

    scale(x)
    return np.sum(x**3)


@pytest.mark.parametrize(("f", "expected"), [
    (view_of_an_input, np.diag([8.0, 0, 0])),
    (out_is_an_input, np.diag([0, 2.0, 2.0])),
    (helper_that_scales, np.diag(6 * X / 8)),
])
def test_in_place_operators_reach_every_alias(f, expected):
    assert_close(compiled_like(f, X)(X), expected)


def test_repeated_aliases():
    compiled_like(alias_in_a_loop, X, 2 * X)


# -- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [lambda v: f"{v}", str, lambda v: f"{v:.17g}", "{}".format, "{0:.3f}".format,
                                  lambda v: f"{v!s}", lambda v: " ".join(map(str, [v])), np.array2string])
def test_text_read_as_a_number_follows_the_input(text):
    compiled_like(lambda x: float(text(x[0])) * x[1], X, -X, 2 * X)


def test_all_digits_keep_the_derivative():
    h = compiled_like(lambda x: float(str(x[0])) * float(f"{x[0]}"), X)
    assert_close(h(X), np.diag([2.0, 0, 0]))


def test_print_ties_nothing_to_the_call(capsys):
    def f(x):
        print("x is", x, x[0])
        return x[0] ** 2

    h = compiled_like(f, X, 2 * X)
    assert not h._bound_path((X,), {})[1].guards
    assert "traced(" in capsys.readouterr().out


# -- what is returned ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [0, 3, 0.0, np.int64(2), np.float32(1.5)])
def test_a_plain_number_has_no_curvature(nothing):
    f = compiled_like(lambda x: nothing if x[0] < 0 else x[0] ** 2, X, -X)
    value, gradient, hess = f.value_grad_hessian(-X)
    assert value == nothing and not gradient.any() and not hess.any() and hess.dtype == np.float64
    assert hessian_jit(lambda x: nothing)(X.astype(np.float32)).dtype == np.float32
    assert not grad(lambda x: nothing)(X).any() and not hessian(lambda x: nothing)(X).any()


@pytest.mark.parametrize("f", [lambda x: {"a": x[0] ** 2}, lambda x: [x[0] ** 2], lambda x: (x[0] ** 2,)])
def test_containers_are_not_numbers(f):
    with pytest.raises(NonScalarOutput, match="with one entry; return the entry itself"):
        hessian_jit(f)(X)


def test_true_is_not_a_number():
    with pytest.raises(NonScalarOutput, match="bool"):
        hessian_jit(lambda x: x[0] > 1)(X)


# -- names of modules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [
    lambda x: scipy.special.erf(x[0]) * x[1],
    lambda x: scipy.stats.norm(x[0], x[1]).logpdf(x[2]),
    lambda x: scipy.stats.gamma(a=2.0, scale=x[1]).logpdf(x[0]),
    lambda x: np.sum(scipy.spatial.distance.cdist(x[:, None], x[::-1, None] + 1) ** 2),
    lambda x: scipy.linalg.norm(x) ** 3, lambda x: NORMAL.logpdf(x) * x[0], lambda x: NORMAL.pdf(x[None] + 1).sum(),
    lambda x: scipy.stats.multivariate_normal(x[:2], np.eye(2) + np.outer(x[1:], x[1:])).logpdf([0.3, 0.2]),
    lambda x: scipy.special.logsumexp(x * x),
])
def test_dotted_paths(f):
    h = compiled_like(f, X)
    step = 1e-5
    differences = [(h.grad(X + step * e) - h.grad(X - step * e)) / (2 * step) for e in np.eye(3)]
    assert_close(h(X), np.array(differences), 1e-8)


# -- shapes and constants ------------------------------------------------------------------------------------------


def test_shape_errors_name_the_users_line():
    def f(x):
        return np.sum(x + np.ones(4))

    with pytest.raises(ShapeMismatch, match=r"\(3,\) \(4,\) at .*test_meaning\.py:\d+ in f: `return np\.sum"):
        hessian_jit(f)(X)


@pytest.mark.parametrize("f", [
    lambda x: np.sum(HOLE * x), lambda x: np.dot(x, HOLE), lambda x: x[0] ** 2 + HOLE[1],
    lambda x: np.exp(x[1] * HOLE[1]), lambda x: np.mean(np.stack([x, HOLE])),
    lambda x: np.sum(np.concatenate([HOLE, x]) ** 2),
])
def test_a_constant_nan_that_reaches_the_value_is_told(f):
    with pytest.warns(SymhessWarning, match=r"the value is NaN for every input.*test_meaning"):
        assert np.isnan(hessian_jit(f, mode="autograd").value(X))


@pytest.mark.parametrize("f", [
    lambda x: np.nansum(HOLE * x), lambda x: np.sum(np.where(np.isnan(HOLE), 0.0, HOLE) * x), lambda x: (HOLE * x)[0],
    lambda x: np.sum(x[~np.isnan(HOLE)] ** 2), lambda x: np.fmax(HOLE[1], x[0]), lambda x: x[0] ** 2 + (HOLE[1] > x[1]),
    lambda x: np.nan if x[0] < 5 else x[0] ** 2, lambda x: np.sum(x[np.nan_to_num(HOLE).astype(int)]),
])
def test_a_constant_nan_that_need_not_reach_the_value_is_not(f):
    with warnings.catch_warnings():
        warnings.simplefilter("error", SymhessWarning)
        hessian_jit(f, mode="autograd").value(X)


# -- exceptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("f", "kind"), [
    (lambda v: math.log(v), ValueError), (lambda v: math.sqrt(v), ValueError), (lambda v: math.acos(v), ValueError),
    (lambda v: math.atanh(v), ValueError), (lambda v: math.log1p(v), ValueError),
    (lambda v: math.pow(v, 0.5), ValueError),
    (lambda v: math.exp(-500 * v), OverflowError), (lambda v: math.cosh(500 * v), OverflowError),
    (lambda v: math.gamma(v + 0.0), ValueError), (lambda v: math.lgamma(v), ValueError),
    (lambda v: math.fmod(v, v + 2), ValueError), (lambda v: math.pow(v + 2, -1), ValueError),
    (lambda v: math.gamma(-100 * v), OverflowError),
])
def test_math_raises_within_try_as_python_does(f, kind):
    with pytest.raises(kind) as python:
        f(-2.0)

    def guarded(x):
        try:
            return f(x[0])
        except (ValueError, OverflowError) as error:
            assert type(error) is kind and str(error) == str(python.value)
            return x[1] ** 2

    assert hessian_jit(guarded, mode="autograd")(np.array([-2.0, 1.0]))[1, 1] == 2.0


def test_infinite_arguments_do_not_raise():
    def f(x):
        with contextlib.suppress(ValueError):
            return math.log(x[0]) + x[1] ** 2
        return x[1]

    h = compiled_like(f, np.array([np.inf, 1.0]), np.array([2.0, 1.0]), np.array([-2.0, 1.0]))
    assert h(np.array([-2.0, 1.0]))[1, 1] == 0.0


def ratio(p, q):
    try:
        return p / q
    except ZeroDivisionError:
        return 7.0


@pytest.mark.parametrize("f", [
    lambda x: ratio(*x.tolist()[:2]), lambda x: ratio(float(x[0]), float(x[1])),
    lambda x: ratio(x[0].item(), 2 * float(x[1])), lambda x: ratio(3, -abs(float(x[1])) * 1),
    lambda x: ratio(math.sqrt(x[0]), math.sin(x[1])), lambda x: ratio(x[0], x[1]), lambda x: ratio(float(x[0]), x[1]),
    lambda x: ratio(float(x[0]), np.float64(1) * float(x[1])), lambda x: ratio(x[0], float(x[1])),
])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_of_python_raise_where_they_are_divided_by_zero(f):
    at_zero, beside = np.array([1.3, 0.0]), np.array([1.3, 0.5])
    h = hessian_jit(f, mode="autograd")
    assert h.value(at_zero) == f(at_zero)
    np.testing.assert_allclose(h.value(beside), f(beside))
    if f(at_zero) == 7.0:
        assert not h(at_zero).any()
