"""`symhess.functional`: signatures, shapes, dtypes, errors and strategies of `torch.autograd.functional`, on arrays.

Oracles: closed forms, differences of values, and PyTorch itself where it is installed.
"""

import functools
import gc
import inspect
import pickle
import re
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from differences import derivatives

import symhess
from symhess import functional
from symhess.errors import DTypeMismatch, IndependentInput, NonScalarOutput, ShapeMismatch
from symhess.functional import hessian, hvp, jacobian, jvp, points, vhp, vjp
from symhess.graph.pytrees import flatten

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(2, 3)), RNG.normal(size=3)
WAYS = [(False, "reverse-mode"), (True, "reverse-mode"), (True, "forward-mode"), ("rows", "reverse-mode"),
        ("rows", "forward-mode")]


def pow_reducer(x):
    return x.pow(3).sum()


def pow_adder_reducer(x, y):
    return (2 * x.pow(2) + 3 * y.pow(2)).sum()


def exp_reducer(x):
    return x.exp().sum(dim=1)


def exp_adder(x, y):
    return 2 * x.exp() + 3 * y


def adder(x, y):
    return 2 * x + 3 * y


def coupled(x, y):
    return np.sum(np.sin(x) * y) + np.sum(x[0] * x[1] ** 2) * np.exp(y[0])


def two_outputs(x, y):
    return x @ y, np.sum(x) * y


def only_first(x, y):
    return (x**2).sum()


def linear_in_second(x, y):
    return (x**2).sum() + y.sum()


def hessian_by_differences(f, x):
    return derivatives(f, x, True)[2]


def jacobian_by_differences(f, x):
    """One row for each element of f(x), one column for each of x."""
    count = np.size(f(x))
    return np.stack([derivatives(lambda z, k=k: np.ravel(f(z))[k], x, True)[1] for k in range(count)])


# -- the examples of the documentation ---------------------------------------------------------------------------------


def test_documented_examples_of_hessian():
    x = RNG.random((2, 2))
    found = hessian(pow_reducer, x)
    assert found.shape == (2, 2, 2, 2)
    np.testing.assert_allclose(found.reshape(4, 4), np.diag(6 * x.ravel()), rtol=1e-15)
    blocks = hessian(pow_adder_reducer, (X[0], Y))
    assert isinstance(blocks, tuple) and all(isinstance(row, tuple) for row in blocks)
    for i, row in enumerate(blocks):
        for j, block in enumerate(row):
            np.testing.assert_array_equal(block, np.eye(3) * (4, 6)[i] * (i == j))


def test_documented_examples_of_jacobian():
    x = RNG.random((2, 2))
    expected = np.zeros((2, 2, 2))
    expected[[0, 1], [0, 1]] = np.exp(x)
    np.testing.assert_allclose(jacobian(exp_reducer, x), expected, rtol=1e-14)
    first, second = jacobian(exp_adder, (X[0], Y))
    np.testing.assert_allclose(first, np.diag(2 * np.exp(X[0])), rtol=1e-14)
    np.testing.assert_array_equal(second, 3 * np.eye(3))


def test_documented_examples_of_products():
    x, v = RNG.random((2, 2)), RNG.random((2, 2))
    value, product = hvp(pow_reducer, x, v)
    np.testing.assert_allclose(value, np.sum(x**3), rtol=1e-15)
    np.testing.assert_allclose(product, 6 * x * v, rtol=1e-15)
    value, (first, second) = hvp(pow_adder_reducer, (X[0], Y), (np.zeros(3), np.ones(3)))
    np.testing.assert_array_equal(first, np.zeros(3))
    np.testing.assert_array_equal(second, 6 * np.ones(3))
    x = RNG.random((4, 4))
    outputs, product = vjp(exp_reducer, x, np.ones(4))
    np.testing.assert_allclose(outputs, np.exp(x).sum(1), rtol=1e-15)
    np.testing.assert_allclose(product, np.exp(x), rtol=1e-15)
    outputs, product = jvp(exp_reducer, x, np.ones((4, 4)))
    np.testing.assert_allclose(product, np.exp(x).sum(1), rtol=1e-15)
    outputs, product = vjp(adder, (X[0], Y), np.ones(3))
    np.testing.assert_array_equal(np.stack(product), [[2, 2, 2], [3, 3, 3]])
    outputs, product = jvp(adder, (X[0], Y), (np.ones(3), np.ones(3)))
    np.testing.assert_array_equal(product, [5, 5, 5])


# -- shapes, strategies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectorize, strategy", WAYS)
def test_hessian_by_every_strategy(vectorize, strategy):
    found = hessian(coupled, (X, Y), vectorize=vectorize, outer_jacobian_strategy=strategy)
    flat = hessian_by_differences(lambda z: coupled(z[:6].reshape(2, 3), z[6:]), np.concatenate([X.ravel(), Y]))
    for i, rows in enumerate((slice(0, 6), slice(6, 9))):
        for j, columns in enumerate((slice(0, 6), slice(6, 9))):
            assert found[i][j].shape == (X, Y)[i].shape + (X, Y)[j].shape
            np.testing.assert_allclose(found[i][j].reshape(flat[rows, columns].shape), flat[rows, columns], atol=1e-9)


@pytest.mark.parametrize("vectorize, strategy", WAYS)
def test_jacobian_by_every_strategy(vectorize, strategy):
    found = jacobian(two_outputs, (X, Y), vectorize=vectorize, strategy=strategy)
    at = np.concatenate([X.ravel(), Y])
    for k, (out, shape) in enumerate(zip(found, ((2,), (3,)))):
        flat = jacobian_by_differences(lambda z, k=k: two_outputs(z[:6].reshape(2, 3), z[6:])[k], at)
        assert out[0].shape == (*shape, 2, 3) and out[1].shape == (*shape, 3)
        np.testing.assert_allclose(out[0].reshape(-1, 6), flat[:, :6], atol=1e-11)
        np.testing.assert_allclose(out[1].reshape(-1, 3), flat[:, 6:], atol=1e-11)


def evaluations(monkeypatch):
    """The keys of what is evaluated, in order."""
    keys = []
    plain = points.NumericPoint.evaluate
    monkeypatch.setattr(points.NumericPoint, "evaluate",
                        lambda self, key, *rest: (keys.append(key), plain(self, key, *rest))[1])
    return keys


def test_strategies_are_what_they_say(monkeypatch):
    keys = evaluations(monkeypatch)
    hessian(coupled, (X, Y))
    assert keys == []  # the structured compiler
    hessian(coupled, (X, Y), vectorize=True)
    assert keys == [("hessian", True, "reverse-mode")]
    keys.clear()
    hessian(coupled, (X, Y), vectorize="rows")
    assert len(keys) == X.size + Y.size and {k[1] for k in keys} == {"row"}
    keys.clear()
    jacobian(two_outputs, (X, Y), vectorize="rows")
    assert len(keys) == 5  # outputs
    keys.clear()
    jacobian(two_outputs, (X, Y), vectorize="rows", strategy="forward-mode")
    assert len(keys) == 9 and {k[1] for k in keys} == {"column"}


@pytest.mark.parametrize("in_tuple", [False, True])
@pytest.mark.parametrize("out_tuple", [False, True])
def test_nesting_of_jacobians(in_tuple, out_tuple):
    inputs = (Y,) if in_tuple else Y
    found = jacobian(lambda y: (np.sin(y),) if out_tuple else np.sin(y), inputs)
    for wrapped in (out_tuple, in_tuple):
        if wrapped:
            assert isinstance(found, tuple) and len(found) == 1
            (found,) = found
    np.testing.assert_allclose(found, np.diag(np.cos(Y)), rtol=1e-15)


def test_a_tuple_with_one_input():
    found = hessian(lambda y: (y**3).sum(), (Y,))
    np.testing.assert_allclose(found[0][0], np.diag(6 * Y), rtol=1e-15)
    assert isinstance(found, tuple) and isinstance(found[0], tuple)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_single_element_in_any_shape(shape):
    f = lambda y: np.reshape((y**3).sum(), shape)
    np.testing.assert_allclose(hessian(f, Y), np.diag(6 * Y), rtol=1e-15)
    for product in (hvp, vhp):
        value, moved = product(f, Y, np.ones(3))
        assert np.shape(value) == shape
        np.testing.assert_allclose(moved, 6 * Y, rtol=1e-15)


@pytest.mark.parametrize("vectorize, strategy", WAYS)
def test_scalar_and_empty_inputs(vectorize, strategy):
    zero = np.array(2.0)
    np.testing.assert_allclose(hessian(lambda x: x**3, zero, vectorize=vectorize, outer_jacobian_strategy=strategy), 12)
    empty = np.zeros((0, 2))
    found = hessian(lambda x, y: (x**2).sum() + (y**2).sum(), (empty, Y), vectorize=vectorize,
                    outer_jacobian_strategy=strategy)
    assert found[0][0].shape == (0, 2, 0, 2) and found[0][1].shape == (0, 2, 3)
    np.testing.assert_array_equal(found[1][1], 2 * np.eye(3))
    assert jacobian(lambda x: x * 2, empty, vectorize=vectorize, strategy=strategy).shape == (0, 2, 0, 2)


def test_dtype_is_that_of_input_i():
    x, y = X[0].astype(np.float32), Y
    found = hessian(lambda x, y: (x * y).sum() + (x**3).sum(), (x, y))
    assert [[b.dtype.name for b in row] for row in found] == [["float32", "float32"], ["float64", "float64"]]
    one, two = jacobian(lambda x, y: x * y, (x, y))
    assert (one.dtype.name, two.dtype.name) == ("float32", "float64")
    one, two = jacobian(lambda x, y: x * y, (x, y), vectorize=True, strategy="forward-mode")
    assert (one.dtype.name, two.dtype.name) == ("float64", "float64")  # that of the output
    value, product = vjp(lambda x: x * 2, x, np.ones(3))
    assert value.dtype == product.dtype == np.float32


def test_layouts_of_inputs():
    wide = RNG.normal(size=(3, 4))
    for x in (np.asfortranarray(wide), wide.T, wide[:, ::2], np.broadcast_to(Y, (2, 3))):
        np.testing.assert_allclose(np.diagonal(hessian(pow_reducer, x).reshape(x.size, x.size)), 6 * x.ravel(),
                                   rtol=1e-15)


# -- v -----------------------------------------------------------------------------------------------------------------


def test_products_along_v():
    v = (RNG.normal(size=X.shape), RNG.normal(size=Y.shape))
    H = hessian(coupled, (X, Y))
    expected = [sum(np.tensordot(H[i][j], v[j], v[j].ndim) for j in range(2)) for i in range(2)]
    for product in (hvp, vhp):
        value, found = product(coupled, (X, Y), v)
        np.testing.assert_allclose(value, coupled(X, Y), rtol=1e-14)
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_v_may_be_left_out_for_a_single_element():
    x = np.array([1.5])
    np.testing.assert_allclose(hvp(lambda x: (x**3).sum(), x)[1], 6 * x)
    np.testing.assert_allclose(vhp(lambda x: (x**3).sum(), x)[1], 6 * x)
    np.testing.assert_allclose(jvp(lambda x: x**3, x)[1], 3 * x**2)
    np.testing.assert_allclose(vjp(lambda y: (y**3).sum(), Y)[1], 3 * Y**2)


@pytest.mark.parametrize("product", [hvp, vhp, jvp])
def test_v_left_out_for_more_elements(product):
    with pytest.raises(RuntimeError, match="one array with one element"):
        product(pow_reducer, X)
    with pytest.raises(RuntimeError, match="left out"):
        product(lambda x, y: (x * y).sum(), (np.ones(1), np.ones(1)))


@pytest.mark.parametrize("product", [hvp, vhp, jvp])
def test_v_of_another_size(product):
    with pytest.raises(RuntimeError, match=r"shape \(3,\), the inputs \(2, 3\)"):
        product(pow_reducer, X, Y)
    with pytest.raises(ShapeMismatch, match="2 parts, the inputs 1"):
        product(pow_reducer, X, (X, X))
    with pytest.raises(TypeError, match="list"):
        product(pow_reducer, X, [1.0])


def test_v_of_vjp_is_like_the_outputs():
    with pytest.raises(RuntimeError, match=r"shape \(3,\), the outputs \(2,\)"):
        vjp(exp_reducer, X, Y)
    with pytest.raises(RuntimeError, match="left out"):
        vjp(exp_reducer, X)
    outputs, product = vjp(two_outputs, (X, Y), (np.ones(2), np.zeros(3)))
    assert isinstance(outputs, tuple) and isinstance(product, tuple)
    np.testing.assert_allclose(product[1], X.sum(0), rtol=1e-14)


# -- errors ------------------------------------------------------------------------------------------------------------

EVERY = [hessian, jacobian, hvp, vhp, jvp, vjp]


@pytest.mark.parametrize("function", EVERY)
def test_inputs_that_are_no_arrays(function):
    with pytest.raises(TypeError, match=rf"input of {function.__name__} must be an array or a tuple.*float"):
        function(pow_reducer, 3.0)
    with pytest.raises(TypeError, match=r"index 1 of .* not int"):
        function(coupled, (X, 3))
    with pytest.raises(TypeError, match="list"):
        function(pow_reducer, [1.0, 2.0])
    with pytest.raises(TypeError, match="empty"):
        function(lambda: 1.0, ())
    with pytest.raises(DTypeMismatch, match="int64"):
        function(pow_reducer, np.arange(3))


@pytest.mark.parametrize("function", [hessian, hvp, vhp])
def test_functions_that_return_more_than_one_element(function):
    with pytest.raises(RuntimeError, match=r"one element, it returned an array of shape \(2, 3\)"):
        function(lambda x: x * 2, X)
    with pytest.raises(RuntimeError, match="tuple"):
        function(lambda x: (x.sum(), x.sum()), X)


@pytest.mark.parametrize("function", [hessian, hvp, vhp, *(
    functools.partial(hessian, vectorize=way, outer_jacobian_strategy=strategy)
    for way in (True, "rows") for strategy in ("reverse-mode", "forward-mode"))])
@pytest.mark.parametrize("func", [lambda x: (x > 1).all(), lambda x: np.sum(x > 1), lambda x: x.astype(int).sum()])
def test_functions_that_return_integers_or_booleans(function, func):
    at = (X, X) if function in (hvp, vhp) else (X,)
    with pytest.raises(NonScalarOutput, match=r"returned a value of dtype (bool|int64), not a float"):
        function(func, *at)
    with pytest.raises(NonScalarOutput, match=r"returned a value of dtype (bool|int64), not a float"):
        symhess.grad(lambda x: np.sum(x) * np.sum(symhess.hessian(func)(x)))(X)


@pytest.mark.parametrize("function", EVERY)
def test_functions_that_return_something_else(function):
    with pytest.raises(TypeError, match="returned a str"):
        function(lambda x: "no", X)
    with pytest.raises(NonScalarOutput, match="tuple with a list"):
        function(lambda x: (x.sum(), [x]), X)


def test_combinations_that_do_not_go_together():
    with pytest.raises(NotImplementedError, match="needs vectorize"):
        hessian(pow_reducer, X, outer_jacobian_strategy="forward-mode")
    with pytest.raises(NotImplementedError, match="create_graph"):
        jacobian(exp_reducer, X, create_graph=True, vectorize=True, strategy="forward-mode")
    with pytest.raises(RuntimeError, match="strict=True and vectorize=True"):
        hessian(pow_reducer, X, strict=True, vectorize=True)
    with pytest.raises(ValueError, match="sideways"):
        jacobian(exp_reducer, X, strategy="sideways")
    with pytest.raises(ValueError, match="columns"):
        jacobian(exp_reducer, X, vectorize="columns")


# -- strict ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", EVERY)
def test_strict_raises_where_an_input_has_no_influence(function):
    extra = {hvp: ((X, Y),), vhp: ((X, Y),), jvp: ((X, Y),)}.get(function, ())
    with pytest.raises(RuntimeError, match="input 1"):
        function(only_first, (X, Y), *extra, strict=True)
    with pytest.raises(IndependentInput):
        function(lambda x, y: (symhess.stop_gradient(x) * y).sum(), (Y, Y), *(((Y, Y),) if extra else ()), strict=True)


@pytest.mark.parametrize("function", EVERY)
def test_strict_raises_only_there(function):
    extra = {hvp: ((X, Y),), vhp: ((X, Y),), jvp: ((X, Y),)}.get(function, ())
    loose, strict = (function(linear_in_second, (X, Y), *extra, strict=s) for s in (False, True))
    for a, b in zip(flatten(loose)[0], flatten(strict)[0]):
        np.testing.assert_array_equal(a, b)


def test_without_strict_the_derivatives_are_zeros():
    found = hessian(only_first, (X, Y))
    for i, j in ((0, 1), (1, 0), (1, 1)):
        assert not found[i][j].any() and found[i][j].shape == (X, Y)[i].shape + (X, Y)[j].shape
    assert not jacobian(only_first, (X, Y))[1].any()
    assert not hessian(lambda x: np.float64(3.0), X).any()


# -- create_graph ------------------------------------------------------------------------------------------------------


def test_results_that_can_be_differentiated_again():
    H = hessian(pow_reducer, Y, create_graph=True)
    assert isinstance(H, functional.Differentiable)
    np.testing.assert_array_equal(H, hessian(pow_reducer, Y))
    third = symhess.jacrev(H.function)(Y)
    expected = np.zeros((3, 3, 3))
    expected[range(3), range(3), range(3)] = 6
    np.testing.assert_array_equal(third, expected)
    np.testing.assert_array_equal(H.function(2 * Y), 2 * np.asarray(H))


def test_every_function_has_results_that_can_be_differentiated_again():
    J = jacobian(two_outputs, (X, Y), create_graph=True)
    np.testing.assert_allclose(symhess.grad(lambda x: np.sum(J[1][1].function(x, Y)))(X), np.full((2, 3), 3.0))
    for product in (hvp, vhp):
        value, (_, second) = product(coupled, (X, Y), (X, Y), create_graph=True)
        np.testing.assert_allclose(value.function(X, Y), coupled(X, Y), rtol=1e-14)
        np.testing.assert_allclose(symhess.grad(lambda y, f=second.function: f(X, y).sum())(Y),
                                   derivatives(lambda y: hvp(coupled, (X, y), (X, Y))[1][1].sum(), Y, False)[1],
                                   rtol=1e-7)
    for product, v in ((jvp, X), (vjp, Y[:2])):
        outputs, moved = product(exp_reducer, X, v, create_graph=True)
        np.testing.assert_array_equal(outputs.function(X), outputs)
        np.testing.assert_array_equal(moved.function(X), moved)


def test_inside_another_transform():
    np.testing.assert_allclose(symhess.grad(lambda x: hessian(pow_reducer, x).sum())(Y), np.full(3, 6.0))
    for vectorize, strategy in WAYS:
        f = lambda x, v=vectorize, s=strategy: hessian(coupled, (x, Y), vectorize=v,
                                                       outer_jacobian_strategy=s)[0][1].sum()
        np.testing.assert_allclose(symhess.grad(f)(X), symhess.grad(lambda x: hessian(coupled, (x, Y))[0][1].sum())(X),
                                   rtol=1e-12)
    by_hand = symhess.jacrev(symhess.grad(lambda x: jvp(pow_reducer, x, np.ones(3))[1]))(Y)
    np.testing.assert_allclose(by_hand, 6 * np.eye(3))


def test_what_is_computed_from_a_differentiable_result_is_an_array():
    H = hessian(pow_reducer, Y, create_graph=True)
    for made in (H + 1, H[0], H @ Y, np.exp(H), pickle.loads(pickle.dumps(H)), np.array(H)):
        assert type(made) is np.ndarray
    assert isinstance(H.sum(), np.float64)


# -- eager -------------------------------------------------------------------------------------------------------------


def test_data_may_change_between_calls():
    w = np.ones(3)
    f = lambda x: (w * x**2).sum()
    np.testing.assert_array_equal(hessian(f, Y), 2 * np.eye(3))
    w[:] = [1, 2, 3]
    np.testing.assert_array_equal(hessian(f, Y), np.diag([2.0, 4, 6]))


def test_branches_are_taken_anew():
    f = lambda x: (x**2).sum() if x[0] > 0 else (x**3).sum()
    for sign in (1, -1, 1, -1):
        x = np.array([sign * 2.0, 1])
        np.testing.assert_allclose(hessian(f, x), 2 * np.eye(2) if sign > 0 else np.diag(6 * x))


def test_what_was_compiled_is_used_again(monkeypatch):
    f = lambda x: np.sum(np.cos(x) * x)
    hessian(f, Y), hvp(f, Y, Y)
    compiled = []
    plain = points.kernels.runner
    monkeypatch.setattr(points.kernels, "runner", lambda *a: (compiled.append(a), plain(*a))[1])
    monkeypatch.setattr(symhess.api.pipeline, "runner", lambda *a: (compiled.append(a), plain(*a))[1])
    found = hessian(f, 2 * Y)
    hvp(f, 2 * Y, Y)
    assert compiled == []
    np.testing.assert_allclose(found, np.diag(-2 * np.sin(2 * Y) - 2 * Y * np.cos(2 * Y)), rtol=1e-13)


def test_functions_are_not_kept_alive():
    f = lambda x: (x**2).sum()
    hessian(f, Y)
    gone = weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None


def test_callables_that_cannot_be_looked_up():
    class Model:
        __hash__ = None

        def __init__(self, power):
            self.power = power

        def __call__(self, x):
            return (x**self.power).sum()

    model = Model(3)
    np.testing.assert_allclose(hessian(model, Y), np.diag(6 * Y))
    model.power = 2
    np.testing.assert_allclose(hessian(model, Y), 2 * np.eye(3))
    np.testing.assert_allclose(hessian(model.__call__, Y), 2 * np.eye(3))


def test_from_several_threads():
    f = lambda x, y: np.sum(np.exp(x[0] * y) + x[1])
    expected, wrong = hessian(f, (X, Y)), []

    def work():
        for _ in range(5):
            g = hessian(f, (X, Y))
            if not all(np.array_equal(a, b) for r, s in zip(g, expected) for a, b in zip(r, s)):
                wrong.append(g)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


# -- PyTorch itself ----------------------------------------------------------------------------------------------------


def test_signatures_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    for ours in EVERY:
        theirs = inspect.signature(getattr(torch.autograd.functional, ours.__name__)).parameters
        assert [(p.name, p.default) for p in inspect.signature(ours).parameters.values()] == [
            (p.name, p.default) for p in theirs.values()]


CASES = {
    "one tensor": (pow_reducer, (X,), False), "two tensors": (pow_adder_reducer, (X, X + 1), True),
    "coupled": (lambda x, y: (x.sin() * y.exp()).sum() * x.pow(2).sum(), (X, Y), True),
    "no influence": (lambda x, y: x.pow(2).sum(), (X, Y), True), "a tuple of one": (pow_reducer, (X,), True)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("vectorize, strategy", WAYS[:3])
def test_hessians_agree_with_pytorch(name, vectorize, strategy):
    torch = pytest.importorskip("torch")
    func, arrays, in_tuple = CASES[name]
    theirs = torch.autograd.functional.hessian(func, _torch(torch, arrays, in_tuple), vectorize=vectorize,
                                               outer_jacobian_strategy=strategy)
    inputs = arrays if in_tuple else arrays[0]
    _same(hessian(func, inputs, vectorize=vectorize, outer_jacobian_strategy=strategy), theirs)


@pytest.mark.parametrize("name", CASES)
def test_products_agree_with_pytorch(name):
    torch = pytest.importorskip("torch")
    func, arrays, in_tuple = CASES[name]
    inputs, given = arrays if in_tuple else arrays[0], _torch(torch, arrays, in_tuple)
    for ours in (hvp, vhp, jvp, vjp):
        v = None if ours is vjp else inputs
        theirs = getattr(torch.autograd.functional, ours.__name__)(func, given, None if v is None else given)
        _same(ours(func, inputs, v), theirs)


@pytest.mark.parametrize("vectorize, strategy", WAYS[:3])
def test_jacobians_agree_with_pytorch(vectorize, strategy):
    torch = pytest.importorskip("torch")
    for func, arrays, in_tuple in ((exp_reducer, (X,), False), (exp_adder, (X, Y), True),
                                   (lambda x, y: (x.exp(), (x * y).sum(dim=0)), (X, Y), True)):
        theirs = torch.autograd.functional.jacobian(func, _torch(torch, arrays, in_tuple), vectorize=vectorize,
                                                    strategy=strategy)
        _same(jacobian(func, arrays if in_tuple else arrays[0], vectorize=vectorize, strategy=strategy), theirs)


def _torch(torch, arrays, in_tuple):
    made = tuple(map(torch.tensor, arrays))
    return made if in_tuple else made[0]


def _same(ours, theirs):
    if isinstance(ours, tuple):  # by forward mode PyTorch gives lists
        assert isinstance(theirs, tuple | list)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            _same(a, b)
        return
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


# -- the documented features -------------------------------------------------------------------------------------------


def test_every_feature_of_the_table_has_the_tests_that_it_names():
    root = Path(__file__).parent
    text = (root.parent / "docs" / "functional.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    there = set(re.findall(r"^def (test_\w+)", (root / "test_functional.py").read_text()
                           + (root / "test_functional_torch.py").read_text()
                           + (root / "test_positions.py").read_text(), flags=re.M))
    assert len(named) > 20 and named <= there
