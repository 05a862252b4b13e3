"""MindSpore's spelling of transforms: `grad_position`, `has_aux`, and Hessians by every composition of Jacobians.

Oracles: closed forms of a dense layer and of sines, and differences of values.
"""

import itertools

import numpy as np
import pytest
from differences import derivatives

import symhess
from symhess import grad, hvp, jacfwd, jacrev, jvp, value_and_grad, vhp, vjp

RNG = np.random.default_rng(12)
WEIGHT, X, BIAS = RNG.normal(size=(3, 4)), RNG.normal(size=4), RNG.normal(size=3)
TRANSFORMS = [grad, value_and_grad, jacfwd, jacrev]
JACOBIANS = [jacfwd, jacrev]
PAIRS = list(itertools.product(JACOBIANS, JACOBIANS))
ACTIVATIONS = {"tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), "relu": lambda z: np.maximum(z, 0),
               "softplus": lambda z: np.logaddexp(z, 0)}


def dense(activation):
    return lambda weight, x, bias: activation(weight @ x + bias)


def summed_dense(activation):
    return lambda weight, x, bias: np.sum(activation(weight @ x + bias) * np.arange(1.0, 4))


def several(x, y, z):
    return x**2 + y**2 + z**2, x * y * z


def by_differences(f, arguments, position):
    """The Jacobian of f's raveled output with respect to one raveled argument."""
    at = arguments[position]
    call = lambda v: np.ravel(f(*arguments[:position], v.reshape(at.shape), *arguments[position + 1:]))
    return np.stack([derivatives(lambda v, k=k: call(v)[k], at.ravel(), True)[1] for k in range(call(at.ravel()).size)])


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_jacobians_of_a_dense_layer_for_each_position_and_all(jacobian, activation):
    f, arguments = dense(ACTIVATIONS[activation]), (WEIGHT, X, BIAS)
    together = jacobian(f, grad_position=(0, 1, 2))(*arguments)
    assert isinstance(together, tuple) and len(together) == 3
    for position, argument in enumerate(arguments):
        alone = jacobian(f, grad_position=position)(*arguments)
        assert alone.shape == (3, *argument.shape)
        np.testing.assert_allclose(alone.reshape(3, -1), by_differences(f, arguments, position), atol=1e-11)
        np.testing.assert_allclose(together[position], alone, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("outer, inner", PAIRS)
def test_four_compositions_give_the_hessian_of_a_dense_layer(outer, inner):
    f, arguments, positions = summed_dense(np.tanh), (WEIGHT, X, BIAS), (0, 1, 2)
    blocks = outer(inner(f, grad_position=positions), grad_position=positions)(*arguments)
    split = np.cumsum([WEIGHT.size, X.size])
    flat = lambda z: f(z[:12].reshape(3, 4), z[12:16], z[16:])
    expected = derivatives(flat, np.concatenate([a.ravel() for a in arguments]), True)[2]
    rows = [np.split(r, split, axis=1) for r in np.split(expected, split)]
    for i, j in itertools.product(range(3), range(3)):
        assert blocks[i][j].shape == arguments[i].shape + arguments[j].shape
        np.testing.assert_allclose(blocks[i][j].reshape(rows[i][j].shape), rows[i][j], atol=1e-9)
    for k in range(3):
        alone = outer(inner(f, grad_position=k), grad_position=k)(*arguments)
        np.testing.assert_allclose(alone, blocks[k][k], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("outer, inner", PAIRS)
def test_four_compositions_of_a_sum_of_sines(outer, inner):
    found = outer(inner(lambda x: np.sin(x).sum()))(X)
    np.testing.assert_allclose(found, np.diag(-np.sin(X)), rtol=1e-14)


@pytest.mark.parametrize("strategy", ["forward-over-reverse", "reverse-over-reverse"])
def test_products_with_the_hessian_by_two_strategies(strategy):
    v = RNG.normal(size=4)
    np.testing.assert_allclose(hvp(lambda x: np.sin(x).sum(), X, v, strategy=strategy), -np.sin(X) * v, rtol=1e-14)
    f = summed_dense(np.tanh)
    H = symhess.hessian(f)(WEIGHT, X, BIAS)
    np.testing.assert_allclose(hvp(f, WEIGHT, X, BIAS, WEIGHT, strategy=strategy), np.tensordot(H, WEIGHT, 2),
                               rtol=1e-12)
    np.testing.assert_allclose(vhp(f, WEIGHT, X, BIAS, WEIGHT), np.tensordot(H, WEIGHT, 2), rtol=1e-12)


def test_jvp_and_vjp():
    f, v = dense(np.tanh), (RNG.normal(size=(3, 4)), RNG.normal(size=4), RNG.normal(size=3))
    slope = 1 - np.tanh(WEIGHT @ X + BIAS)**2
    outputs, moved = jvp(f, (WEIGHT, X, BIAS), v)
    np.testing.assert_allclose(outputs, np.tanh(WEIGHT @ X + BIAS), rtol=1e-14)
    np.testing.assert_allclose(moved, slope * (v[0] @ X + WEIGHT @ v[1] + v[2]), rtol=1e-13)
    outputs, pullback = vjp(f, WEIGHT, X, BIAS)
    for found, expected in zip(pullback(v[2]), (np.outer(slope * v[2], X), WEIGHT.T @ (slope * v[2]), slope * v[2])):
        np.testing.assert_allclose(found, expected, rtol=1e-13)
    np.testing.assert_allclose(jvp(np.sin, X, X)[1], np.cos(X) * X, rtol=1e-14)


# -- has_aux -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_auxiliary_outputs_of_jacobians(jacobian):
    x = np.array([[1.0, 2], [3, 4]])
    found, aux = jacobian(several, grad_position=0, has_aux=True)(x, x, np.ones((2, 2)))
    np.testing.assert_array_equal(found.reshape(4, 4), np.diag([2.0, 4, 6, 8]))
    np.testing.assert_array_equal(aux, [[1, 4], [9, 16]])
    found, aux = jacobian(lambda x: (x**2, x, "told"), has_aux=True)(X)
    assert isinstance(aux, tuple) and aux[1] == "told"
    np.testing.assert_array_equal(aux[0], X)
    np.testing.assert_allclose(found, np.diag(2 * X))


def test_auxiliary_outputs_of_gradients():
    f = lambda x, y: (np.sum(x * y**2), x + y)
    g, aux = grad(f, grad_position=(0, 1), has_aux=True)(X, 2 * X)
    np.testing.assert_allclose(g[0], 4 * X**2)
    np.testing.assert_allclose(g[1], 4 * X**2)
    np.testing.assert_allclose(aux, 3 * X)
    (value, aux), g = value_and_grad(f, grad_position=1, has_aux=True)(X, 2 * X)
    np.testing.assert_allclose(value, np.sum(4 * X**3))
    np.testing.assert_allclose(g, 4 * X**2)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_auxiliary_output_that_is_missing(transform):
    with pytest.raises(ValueError, match=r"\(output, aux\)"):
        transform(lambda x: x.sum(), has_aux=True)(X)
    with pytest.raises(TypeError, match="has_aux"):
        transform(lambda x: x.sum(), has_aux=1)


# -- grad_position -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_positions_are_another_spelling_of_argnums(transform):
    f = lambda x, y, z: np.sum(x * y * z**2)
    for positions in (1, (0, 2), (2, 0)):
        for a, b in zip(transform(f, grad_position=positions)(X, X, X), transform(f, argnums=positions)(X, X, X)):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_single_position_in_a_tuple_gives_no_tuple(transform):
    f = lambda x, y: np.sum(x * y)
    for a, b in zip(transform(f, grad_position=(1,))(X, 2 * X), transform(f, 1)(X, 2 * X)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_outputs_stand_outside_of_inputs(jacobian):
    found = jacobian(several, grad_position=(0, 2))(X, X, X)
    assert len(found) == 2 and len(found[0]) == 2
    np.testing.assert_allclose(found[1][1], np.diag(X * X))
    found = jacobian(several, grad_position=1)(X, X, X)
    assert isinstance(found, tuple) and found[0].shape == found[1].shape == (4, 4)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("wrong", [-1, (0, -2), (1, 1), (), (0, 0)])
def test_positions_that_cannot_be_meant(transform, wrong):
    with pytest.raises(ValueError, match="grad_position"):
        transform(lambda x, y: x.sum(), grad_position=wrong)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_positions_that_are_out_of_range(transform):
    for wrong in (2, (0, 5)):
        with pytest.raises(ValueError, match="2 positional arguments"):
            transform(lambda x, y: np.sum(x * y), grad_position=wrong)(X, X)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("wrong", [1.0, "0", [0, 1], (0, 1.5), (0, "1"), {0}])
def test_positions_of_another_type(transform, wrong):
    with pytest.raises(TypeError, match="grad_position"):
        transform(lambda x, y: x.sum(), grad_position=wrong)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_both_spellings_at_once(transform):
    with pytest.raises(TypeError, match="twice"):
        transform(lambda x, y: x.sum(), argnums=0, grad_position=0)
