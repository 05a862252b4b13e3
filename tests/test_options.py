"""What cannot be meant is refused when a function is decorated, or where it is called: by name, with the value."""

from pathlib import Path

import numpy as np
import pytest

from symhess import grad, hessian, hessian_jit, hvp, linear_operator, vmap
from symhess.errors import BudgetExceeded, DTypeMismatch, ShapeMismatch

X = np.array([1.0, 2.0])


def square(x):
    return np.sum(x**2)


@pytest.mark.parametrize("options, error, message", [
    ({"mode": "fast"}, ValueError, "mode='fast'; choose one of auto"),
    ({"dtype": "zzz"}, DTypeMismatch, "dtype='zzz'; Hessians are computed in float32 or float64"),
    ({"dtype": np.complex128}, DTypeMismatch, "Hessians are computed in float32 or float64"),
    ({"sparse": "yes"}, TypeError, "sparse='yes'; choose True or False"),
    ({"parallel": 4}, TypeError, "parallel=4; choose True or False"),
    ({"fastmath": {"nnan"}}, TypeError, "fastmath={'nnan'}; choose True or False"),
    ({"cache": 3}, TypeError, "cache=3; choose True, False or a directory"),
    ({"memory_budget": "1GB"}, TypeError, "memory_budget='1GB'; give a number of bytes"),
    ({"memory_budget": True}, TypeError, "memory_budget=True; give a number of bytes"),
    ({"memory_budget": -1}, ValueError, "memory_budget=-1 must be positive"),
    ({"memory_budget": float("nan")}, ValueError, "memory_budget=nan must be positive"),
    ({"argnums": "x"}, TypeError, "argnums must be an integer"),
    ({"argnums": 0.0}, TypeError, "argnums must be an integer"),
    ({"static_argnames": "y"}, ValueError, "static_argnames names 'y', which is no argument of square"),
    ({"static_argnums": 2}, ValueError, "takes 1 positional arguments"),
])
def test_options_are_checked_at_once(options, error, message):
    with pytest.raises(error, match=message):
        hessian_jit(square, **options)


@pytest.mark.parametrize("options", [
    {"memory_budget": 2e9}, {"memory_budget": np.int64(10**9)}, {"sparse": np.bool_(False)}, {"dtype": np.float32},
    {"dtype": "f8"}, {"argnums": np.int64(0)}, {"argnums": [0]}])
def test_options_of_related_types_are_taken(options):
    f = hessian_jit(square, mode="autograd", **options)
    np.testing.assert_array_equal(f.flat(X), 2 * np.eye(2))


def test_a_path_names_the_cache(tmp_path):
    f = hessian_jit(lambda x: np.sum(x**3) + 1, cache=Path(tmp_path))
    np.testing.assert_array_equal(f(X), np.diag(6 * X))
    assert list(tmp_path.glob("symhess_*.o"))


def test_without_arguments_to_differentiate_there_is_a_value_alone():
    f = hessian_jit(square, argnums=(), mode="autograd")
    assert f.value(X) == 5.0
    for product in (f, f.grad, f.flat, f.sparse, f.diagonal, f.sparsity, f.value_grad_hessian, f.explain):
        with pytest.raises(ValueError, match=r"argnums=\(\) names no argument"):
            product(X)


def test_transforms_need_something_to_differentiate():
    for transform in (grad, hessian):
        with pytest.raises(ValueError, match=r"argnums=\(\) names no argument"):
            transform(square, argnums=())(X)


@pytest.mark.parametrize("v, error, message", [
    (np.ma.array([1.0, 2.0], mask=[True, False]), DTypeMismatch, "v is a masked array"),
    (np.ones(3), ShapeMismatch, r"v has shape \(3,\) where arg0 has shape \(2,\)"),
    (np.array([1j, 0]), DTypeMismatch, "v has dtype complex128"),
    (np.array(["a", "b"]), DTypeMismatch, "v has dtype <U1"),
    ([1.0, 2.0], ShapeMismatch, "v has structure"),
])
def test_vectors_that_do_not_fit(v, error, message):
    with pytest.raises(error, match=message):
        hessian_jit(square, mode="autograd").hvp(X, v)


def test_source_knows_the_products():
    f = hessian_jit(lambda x: np.sum(np.sin(x)))
    with pytest.raises(ValueError, match="no product 'nope'; choose one of hessian, csr"):
        f.source(X, product="nope")
    assert f.source(X, product="sparse") == f.source(X, product="csr") != f.source(X, product="grad")
    assert "sin" in f.source(X, product="value_grad_hessian")


class Scaled:
    """Compiled methods whose options name arguments: the instance is not counted."""

    def __init__(self, scale):
        self.scale = scale

    @hessian_jit(static_argnums=1)
    def by_position(self, x, power):
        return self.scale * np.sum(x**power)

    @hessian_jit(static_argnames="power")
    def by_name(self, x, power):
        return self.scale * np.sum(x**power)

    @hessian_jit(static_argnums=2)
    def too_far(self, x, power):
        return self.scale * np.sum(x**power)


@pytest.mark.parametrize("name", ["by_position", "by_name"])
def test_static_arguments_of_methods(name):
    for scale, power in [(2.0, 3), (2.0, 4), (3.0, 3)]:
        method = getattr(Scaled(scale), name)
        for _ in range(2):
            np.testing.assert_allclose(method(X, power), np.diag(scale * power * (power - 1) * X ** (power - 2)))


def test_a_static_position_that_a_method_does_not_have():
    with pytest.raises(ValueError, match=r"static_argnums=\(2,\), but Scaled.too_far takes 2 positional arguments"):
        Scaled(1.0).too_far(X, 3)


@pytest.mark.parametrize("wrapped", [float, np.float64, lambda s: [s], lambda s: complex(s, s)])
def test_signs_of_static_zeros(wrapped):
    f = hessian_jit(lambda x, s: np.copysign(1.0, np.ravel(s)[0].real) * np.sum(x**2), static_argnums=1)
    for sign in (1.0, -1.0, 1.0, -1.0):
        np.testing.assert_array_equal(f(X, wrapped(sign * 0.0)), 2 * sign * np.eye(2))


def test_static_nans_are_one_value():
    calls = []

    @hessian_jit(static_argnums=1)
    def f(x, missing):
        calls.append(missing)
        return np.sum(x**2)

    for _ in range(3):
        np.testing.assert_array_equal(f(X, float("nan")), 2 * np.eye(2))
    assert len(calls) == 1


def test_nothing_to_differentiate_in_empty_containers():
    f = hessian_jit(lambda nothing: 3.0)
    assert f.value(()) == 3.0 and f.grad({}) == {} and f(()) == ()


def test_strategies_have_names():
    with pytest.raises(ValueError, match="strategy='forward'; choose \"forward-over-reverse\""):
        hvp(square, X, X, strategy="forward")


def test_a_linear_operator_refuses_complex_vectors():
    with pytest.raises(DTypeMismatch, match="the vector is complex"):
        linear_operator(square, X) @ (1j * X)


def test_parallel_kernels_without_large_loops_warn_of_nothing(recwarn):
    np.testing.assert_array_equal(hessian_jit(square, parallel=True)(X), 2 * np.eye(2))
    assert not recwarn.list


# -- vmap ----------------------------------------------------------------------------------------------------------

ROWS = np.arange(6.0).reshape(3, 2)


def several(row):
    return {"sum": row[0] + row[1], "pair": (row, 3.0)}


def test_axes_of_results_may_be_nested():
    found = vmap(several, out_axes={"sum": 0, "pair": (-1, None)})(ROWS)
    np.testing.assert_array_equal(found["sum"], ROWS.sum(axis=1))
    np.testing.assert_array_equal(found["pair"][0], ROWS.T)
    assert found["pair"][1] == 3.0
    assert vmap(several)(ROWS)["pair"][1].shape == (3,)


@pytest.mark.parametrize("options, error, message", [
    ({"out_axes": None}, ShapeMismatch, "None in out_axes depends on what is mapped"),
    ({"out_axes": 2}, ShapeMismatch, r"axis 2 of stacked results of shape \(3"),
    ({"out_axes": {"sum": 0}}, ShapeMismatch, "out_axes {'sum': 0} does not fit"),
    ({"out_axes": 0.5}, TypeError, "out_axes consists of integers and None, got 0.5"),
    ({"in_axes": "rows"}, TypeError, "in_axes consists of integers and None, got 'rows'"),
    ({"in_axes": 2}, ShapeMismatch, r"axis 2 of an array of shape \(3, 2\)"),
])
def test_axes_that_cannot_be_meant(options, error, message):
    with pytest.raises(error, match=message):
        vmap(several, **options)(ROWS)


@pytest.mark.parametrize("product", [
    lambda x: hessian_jit(lambda x: np.sum(x) ** 2).sparse(x), lambda x: hessian(square)(x),
    lambda x: hessian_jit(lambda x: np.sum(x) ** 2).sparsity(x), lambda x: hessian_jit(square)(x)
], ids=["sparse", "transform", "sparsity", "dense"])
def test_what_cannot_fit_says_so_before_it_tries(product):
    with pytest.raises(BudgetExceeded, match=r"takes [\d,.e+]+ GB, over the memory budget.*hvp"):
        product(np.ones(2_000_000))


def test_a_small_budget_for_dense_results_leaves_sparse_ones_alone():
    f = hessian_jit(lambda x: np.sum(x) ** 2, memory_budget=1000)
    assert f.sparse(np.ones(30)).nnz == 900 and "dense" in f.explain(np.ones(30))
