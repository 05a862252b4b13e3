"""The JAX front end as its users meet it: conventions, types, what may change between calls, errors, structure."""

from __future__ import annotations

import doctest
import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special

import symhess
from symhess.errors import (
    AuxiliaryMissing,
    DTypeMismatch,
    NonScalarOutput,
    ShapeMismatch,
    UnsupportedOperation,
)
from symhess.graph.node import topological

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax import lax, nn  # noqa: E402
from jax.scipy.sparse.linalg import cg  # noqa: E402

import symhess.jax  # noqa: E402
from symhess.jax.control import inner_jaxprs  # noqa: E402
from symhess.jax.library import LIBRARY, inner_of, library_rule  # noqa: E402
from symhess.jax.places import is_library  # noqa: E402
from symhess.jax.table import RULES  # noqa: E402
from tests.jax_cases import CASES, GROUPS  # noqa: E402
from tests.jax_models import MODELS  # noqa: E402
from tests.test_jax import scalar  # noqa: E402

x3 = np.array([0.4, 1.1, -0.7])


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def close(ours: Any, theirs: Any, tolerance: float = 1e-10) -> None:
    """Equal nesting, shapes and numbers."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def dense(params: dict, inputs: Any, power: int) -> tuple:
    hidden = jnp.tanh(inputs @ params["w"] + params["b"][0])
    return jnp.sum(hidden**power), {"hidden": hidden, "count": inputs.shape[0]}


def number(params: dict, inputs: Any) -> Any:
    return dense(params, inputs, 2)[0]


PARAMS = {"w": np.array([[0.1, 0.4], [0.3, -0.2], [0.8, 0.5]]), "b": (np.array([0.2, -0.1]),)}
INPUTS = np.array([[1.0, 0.2, -0.4], [0.3, 0.9, 0.1]])


# -- conventions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argnums", [0, 1, -1, (0,), (1, 0)])
@pytest.mark.parametrize("name", ["hessian", "grad", "value_and_grad", "jacfwd", "jacrev"])
def test_results_are_nested_as_those_of_jax(name: str, argnums: Any):
    ours, theirs = (getattr(m, name)(number, argnums=argnums)(PARAMS, INPUTS) for m in (symhess.jax, jax))
    close(ours, theirs)


@pytest.mark.parametrize("name", ["hessian", "grad", "value_and_grad", "jacfwd", "jacrev"])
def test_auxiliary_output(name: str):
    ours, theirs = (getattr(m, name)(dense, has_aux=True)(PARAMS, INPUTS, 3) for m in (symhess.jax, jax))
    close(ours, theirs)


@pytest.mark.parametrize("name", ["hessian", "jacfwd", "jacrev"])
def test_outputs_may_be_nested(name: str):
    def outputs(x: Any) -> dict:
        return {"sum": jnp.sum(x**3), "each": (x**2 * x[0], jnp.sin(x[:2]))}

    close(getattr(symhess.jax, name)(outputs)(x3), getattr(jax, name)(outputs)(x3))


def test_products_with_a_vector():
    v = jax.tree.map(np.cos, PARAMS)
    flat = symhess.jax.hvp(number)(PARAMS, INPUTS, v)
    close(flat, jax.jvp(lambda p: jax.grad(number)(p, INPUTS), (PARAMS,), (v,))[1])


def test_arrays_of_jax_give_arrays_of_jax_and_those_of_numpy_numpys():
    f = lambda x: jnp.sum(x**3)
    for transform in (symhess.jax.hessian, symhess.jax.grad, symhess.jax.hessian_jit):
        assert isinstance(transform(f)(jnp.asarray(x3)), jax.Array)
        assert isinstance(transform(f)(x3), np.ndarray)
    compiled = symhess.jax.hessian_jit(f)
    assert all(isinstance(r, jax.Array) for r in compiled.value_grad_hessian(jnp.asarray(x3)))
    assert isinstance(compiled.batch(jnp.stack([x3, x3])), jax.Array)
    assert compiled.sparse(jnp.asarray(x3)).nnz == 3
    assert "diagonal" in compiled.explain(jnp.asarray(x3))


def test_containers_that_only_jax_knows():
    @jax.tree_util.register_pytree_node_class
    class Pair:
        def __init__(self, a: Any, b: Any, name: str):
            self.a, self.b, self.name = a, b, name

        def tree_flatten(self) -> tuple:
            return (self.a, self.b), self.name

        @classmethod
        def tree_unflatten(cls, name: str, parts: tuple) -> Pair:
            return cls(*parts, name)

    f = lambda p: jnp.sum(p.a**2 * p.b) * len(p.name)
    point = Pair(x3, np.float64(2.0), "two")
    close(symhess.jax.hessian(f)(point), jax.hessian(f)(point))
    close(symhess.jax.grad(f)(point), jax.grad(f)(point))
    compiled = symhess.jax.hessian_jit(f)
    close(compiled.value_grad_hessian(point), (f(point), jax.grad(f)(point), jax.hessian(f)(point)))
    close(compiled.hvp(point, point), jax.jvp(jax.grad(f), (point,), (point,))[1])


def test_numbers_that_are_not_differentiated_reach_the_function_as_they_are():
    f = lambda x, n, scale: scale * jnp.sum(x.reshape(n, -1) ** n)
    close(symhess.jax.hessian(f)(x3, 3, 0.5), jax.hessian(f)(x3, 3, 0.5))


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
def test_keys_of_random_numbers_may_be_arguments(make: Callable):
    f = lambda x, key: jnp.sum(x**3 * jax.random.normal(key, x.shape))
    ours = symhess.jax.hessian(f)
    for seed in (0, 1):
        close(ours(x3, make(seed)), np.asarray(jax.hessian(f)(x3, make(seed))))
    if make is jax.random.key:
        compiled = symhess.jax.hessian_jit(f)
        for seed in (2, 3, 2, 4):
            close(compiled(x3, make(seed)), jax.hessian(f)(x3, make(seed)))


def test_whole_numbers_may_be_data():
    f = lambda x, places: jnp.sum(x[places] ** 2 * x)
    for transform in (symhess.jax.hessian, symhess.jax.hessian_jit):
        compiled = transform(f)
        for places in (np.array([0, 2, 2]), np.array([1, 1, 0])):
            close(compiled(x3, places), np.asarray(jax.hessian(f)(x3, places)))


def test_from_jax_composes_with_numpy_code():
    f = symhess.jax.from_jax(lambda p, x: jnp.sum(nn.softplus(p["w"] * x)))
    outer = lambda w: np.sum(w**2) * f({"w": 2 * w}, x3)
    reference = lambda w: jnp.sum(w**2) * jnp.sum(nn.softplus(2 * w * x3))
    close(symhess.hessian(outer)(x3), jax.hessian(reference)(x3))
    close(symhess.grad(lambda w: symhess.jax.grad(reference)(w).sum())(x3), jax.hessian(reference)(x3).sum(0))
    assert type(f({"w": x3}, x3)) is np.ndarray


# -- types ---------------------------------------------------------------------------------------------------------


def test_without_x64_all_is_float32_as_in_jax():
    f = lambda x: jnp.sum(x**3) + jnp.sum(jnp.where(x > 0, jnp.arange(3.0) * x, x**2))
    with jax.enable_x64(False):
        for given in (x3, x3.astype(np.float32), jnp.asarray(x3)):
            for ours, theirs in zip(symhess.jax.hessian_jit(f).value_grad_hessian(given),
                                    (f(jnp.asarray(x3)), jax.grad(f)(x3), jax.hessian(f)(x3))):
                assert ours.dtype == theirs.dtype == np.float32
                np.testing.assert_allclose(ours, theirs, rtol=1e-6)
            assert symhess.jax.hessian(f)(given).dtype == np.float32


def test_float32_stays_float32_with_x64():
    f = lambda x: jnp.sum(2.0 * x**3 * np.float32(0.5) + nn.softplus(x) * 3)
    x = x3.astype(np.float32)
    H = symhess.jax.hessian(f)(x)
    assert H.dtype == jax.hessian(f)(x).dtype == np.float32
    np.testing.assert_allclose(H, jax.hessian(f)(x), rtol=1e-5, atol=1e-6)


def test_python_numbers_are_weakly_typed():
    f = lambda a, x: jnp.sum(a**2 * x)
    H, theirs = symhess.jax.hessian(f)(1.5, x3.astype(np.float32)), jax.hessian(f)(1.5, x3.astype(np.float32))
    np.testing.assert_allclose(H, theirs, rtol=1e-6)


# -- what may change -----------------------------------------------------------------------------------------------


def test_python_numbers_of_a_compiled_function_are_weakly_typed():
    f = lambda x, s: jnp.sum(s * x**3)
    for s in (2.0, 2, np.float64(2), np.int8(2)):
        x = np.ones(3, np.float32)
        assert symhess.jax.hessian_jit(f).value(x, s).dtype == f(x, s).dtype


class Energy:
    scale = 2.0

    @functools.partial(jax.jit, static_argnums=0)
    def of(self, x: Any) -> Any:
        return jnp.sum(self.scale * x**3)

    def __call__(self, x: Any) -> Any:
        return self.of(x)


def energy(x: Any) -> Any:
    return jnp.sum(jnp.sin(x) * x**2)


@jax.custom_jvp
def softplus(x: Any) -> Any:
    return jnp.log1p(jnp.exp(x))


softplus.defjvp(lambda primals, tangents: (softplus(*primals), nn.sigmoid(*primals) * tangents[0]))

#: name -> (function that JAX has transformed before, its arguments)
TRANSFORMED: dict[str, tuple] = {
    "jit": (jax.jit(energy), x3), "jit of jit": (jax.jit(jax.jit(energy)), x3), "a method": (Energy().of, x3),
    "an object": (Energy(), x3), "a part": (functools.partial(jax.jit(lambda a, x: a * energy(x)), 2.0), x3),
    "static": (jax.jit(lambda x, n: jnp.sum(x**n), static_argnums=1), x3, 3),
    "a dict": (jax.jit(lambda p: jnp.sum(p["b"] ** 3) * p["a"]), {"b": x3, "a": 2.0}),
    "checkpoint": (jax.checkpoint(energy), x3), "named_call": (jax.named_call(energy, name="named"), x3),
    "custom_jvp": (softplus, 0.3), "vmap of custom_jvp": (lambda x: jnp.sum(jax.vmap(softplus)(x)), x3),
    "vmap along None": (lambda x: jnp.sum(jax.vmap(lambda t, s: jnp.sin(t) * s, in_axes=(0, None))(x, 2.0)), x3),
    "vmap of jit of checkpoint": (lambda x: jnp.sum(jax.vmap(jax.jit(jax.checkpoint(softplus)))(x)), x3),
    "grad": (lambda x: jnp.sum(jax.grad(energy)(x) ** 2), x3), "jvp": (lambda x: jax.jvp(energy, (x,), (x,))[1], x3),
    "vjp": (lambda x: jnp.sum(jax.vjp(energy, x)[1](1.0)[0] ** 2), x3),
    "linearize": (lambda x: jax.linearize(energy, x)[1](x), x3),
    "hessian": (lambda x: jnp.sum(jax.hessian(energy)(x) ** 2), x3),
    "jit of vmap of grad": (lambda x: jnp.sum(jax.jit(jax.vmap(jax.grad(softplus)))(x) ** 2), x3),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_functions_may_be_transformed_by_jax_before(name: str):
    fun, *args = TRANSFORMED[name]
    close(symhess.jax.hessian(fun)(*args), jax.hessian(fun)(*args))
    close(symhess.jax.grad(fun)(*args), jax.grad(fun)(*args))
    if name != "static":
        close(symhess.jax.hessian_jit(fun, mode="autograd")(*args), jax.hessian(fun)(*args))
        close(symhess.hvp(symhess.jax.from_jax(fun))(*args, *args), symhess.jax.hvp(fun)(*args, *args))


def test_batches_of_what_jax_has_transformed():
    rows = np.stack([x3, 2 * x3])
    close(symhess.jax.hessian_jit(jax.jit(energy)).batch(rows), jax.vmap(jax.hessian(energy))(rows))
    by_row = symhess.vmap(symhess.jax.from_jax(jax.jit(jax.grad(energy))))
    close(by_row(rows), jax.vmap(jax.grad(energy))(rows))


def test_what_the_function_closes_over_may_change():
    data = {"w": jnp.ones(3), "k": jnp.array([0, 1]), "power": 2}
    f = lambda x: jnp.sum((data["w"] * x)[data["k"]] ** data["power"])
    hessian = symhess.jax.hessian(f)
    for change in ({}, {"w": 2 * jnp.arange(3.0) + 1}, {"k": jnp.array([1, 2])}, {"power": 3}, {"w": jnp.ones(3)}):
        data.update(change)
        close(hessian(x3), np.asarray(jax.hessian(lambda x: f(x))(x3)))


def test_other_arrays_are_no_reason_to_compile_anew():
    data = {"w": jnp.ones(3)}
    hessian = symhess.jax.hessian(lambda x, y: jnp.sum(data["w"] * x**2 * y))
    for k in range(3):
        data["w"] = jnp.full(3, 1.0 + k)
        np.testing.assert_allclose(hessian(x3, np.full(3, 2.0)), np.eye(3) * 4 * (1 + k))
    assert len(hessian._kernels) == 1


def test_a_compiled_function_reads_closures_once():
    data = {"w": jnp.ones(3)}
    f = symhess.jax.hessian_jit(lambda x: jnp.sum(data["w"] * x**2))
    before = f(x3)
    data["w"] = 2 * data["w"]
    close(f(x3), before)


def test_an_order_that_changes_is_traced_anew():
    f = lambda x: jnp.sort(x)[0] ** 2 * x[jnp.argmax(x)]
    ours = symhess.jax.hessian_jit(f)
    for x in (x3, x3[::-1], -x3):
        close(ours(np.ascontiguousarray(x)), np.asarray(jax.hessian(f)(x)))


def test_examples_in_docstrings_hold():
    for name in symhess.jax.__all__:
        found = doctest.DocTestFinder(recurse=False).find(getattr(symhess.jax, name), name, globs={})
        assert found and found[0].examples, f"{name} has no example"
        with jax.enable_x64(False):
            report: list[str] = []
            assert doctest.DocTestRunner().run(found[0], out=report.append).failed == 0, "".join(report)


def test_only_so_many_kernels_are_kept():
    data = {"power": 0}
    gradient = symhess.jax.grad(lambda x: jnp.sum(x ** data["power"]))
    for power in range(2, 4 + symhess.jax.transforms.KEPT):
        data["power"] = power
        gradient(np.ones(1))
    assert len(gradient._kernels) == symhess.jax.transforms.KEPT


# -- kinks ---------------------------------------------------------------------------------------------------------

SLOPES: dict[str, tuple[Callable, float]] = {
    "abs": (jnp.abs, 1.0), "relu": (nn.relu, 0.0), "maximum": (lambda x: jnp.maximum(x, 0), 0.5),
    "minimum": (lambda x: jnp.minimum(x, 0), 0.5), "clip": (lambda x: jnp.clip(x, 0, 1), 0.5), "sign": (jnp.sign, 0.0),
    "where": (lambda x: jnp.where(x > 0, x, 0), 0.0), "relu6": (nn.relu6, 0.0), "elu": (nn.elu, 1.0),
    "max of a tie": (lambda x: jnp.max(jnp.stack([x, 2 * x])), 1.5), "leaky_relu": (nn.leaky_relu, 1.0),
    "softplus": (nn.softplus, 0.5), "logaddexp": (lambda x: jnp.logaddexp(x, 0), 0.5), "sinc": (jnp.sinc, 0.0),
}


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_at_zero_are_those_of_jax(name: str):
    f, slope = SLOPES[name]
    assert float(symhess.jax.grad(f)(0.0)) == float(jax.grad(f)(0.0)) == slope


def test_second_derivatives_are_exact_far_out():
    x = np.array([800.0, -800.0, 0.0])
    for f, expected in ((nn.softplus, [0, 0, 0.25]), (nn.log_sigmoid, [0, 0, -0.25]), (nn.sigmoid, [0, 0, 0])):
        total = lambda x, f=f: jnp.sum(f(x))
        np.testing.assert_allclose(np.diag(symhess.jax.hessian(total)(x)), expected)
    H = symhess.jax.hessian(lambda x: nn.logsumexp(x))(x)
    assert np.isfinite(H).all()


def test_a_norm_is_flat_at_zero_where_jax_gives_nan():
    f = lambda x: jnp.linalg.norm(x) ** 3
    assert np.isnan(jax.hessian(f)(np.zeros(2))).all()
    np.testing.assert_array_equal(symhess.jax.hessian(f)(np.zeros(2)), np.zeros((2, 2)))


# -- rules of users ------------------------------------------------------------------------------------------------


def test_a_straight_through_estimator_is_heeded():
    @jax.custom_vjp
    def rounded(x: Any) -> Any:
        return jnp.round(x)

    rounded.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))
    f = lambda x: jnp.sum(rounded(x) * jnp.arange(3.0))
    close(symhess.jax.grad(f)(x3), jax.grad(f)(x3))


def test_a_rule_with_whole_numbers_and_several_results():
    @jax.custom_jvp
    def powers(x: Any, n: Any) -> tuple:
        return x**2 * n, x**3

    @powers.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple:
        (x, n), (dx, _) = primals, tangents
        return powers(x, n), (2 * x * n * dx, 3 * x**2 * dx)

    f = lambda x: sum(jnp.sum(p * jnp.sin(x)) for p in powers(x, jnp.arange(3)))
    close(symhess.jax.hessian(f)(x3), np.asarray(jax.hessian(f)(x3)))


def test_a_rule_may_change_and_arguments_may_be_the_same():
    data = {"scale": 2.0}

    @jax.custom_jvp
    def product(x: Any, y: Any) -> tuple:
        return x * y, x + y

    @product.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple:
        (x, y), (dx, dy) = primals, tangents
        return product(x, y), (data["scale"] * (x * dy + y * dx), dx + dy)

    f = lambda x: jnp.sum(product(x, x)[0])
    gradient = symhess.jax.grad(f)
    for scale in (2.0, 3.0):
        data["scale"] = scale
        close(gradient(x3), 2 * scale * x3)


def test_a_solver_for_a_known_matrix_is_an_exact_solution():
    A = np.array([[3.0, 1.0], [1.0, 2.0]])
    f = lambda x: jnp.sum(cg(lambda v: jnp.asarray(A) @ v, x**2)[0])
    np.testing.assert_allclose(symhess.jax.hessian(f)(x3[:2]), np.diag(2 * np.linalg.solve(A, np.ones(2))))


# -- errors --------------------------------------------------------------------------------------------------------


def line_of(function: Callable, text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(k for k, line in enumerate(lines) if text in line)


def test_a_primitive_without_a_rule_is_named_with_the_line():
    def f(x: Any) -> Any:
        y = x**2
        return jnp.sum(lax.population_count(y.astype(int)) * y)

    with pytest.raises(UnsupportedOperation, match="lax primitive population_count has no rule") as told:
        symhess.jax.hessian(f)(x3)
    assert f"test_jax_functions.py:{line_of(f, 'population_count')} in f" in str(told.value)


def test_other_errors_name_the_line_of_the_user():
    def f(x: Any) -> Any:
        return jnp.sum(jnp.linalg.svd(jnp.outer(x, x)[:2])[2])

    with pytest.raises(UnsupportedOperation, match="full_matrices") as told:
        symhess.jax.hessian_jit(f)(x3)
    assert f"test_jax_functions.py:{line_of(f, 'svd')} in f" in str(told.value)


REFUSED: dict[str, tuple[Callable, Any, type, str]] = {
    "complex numbers": (lambda x: jnp.sum(jnp.abs(jnp.fft.fft(x))), x3, UnsupportedOperation, "complex numbers"),
    "a complex product": (lambda x: jnp.abs(jnp.sum(x * 1j)), x3, UnsupportedOperation, "complex numbers"),
    "bfloat16": (lambda x: jnp.sum(x.astype(jnp.bfloat16)).astype(float), x3, DTypeMismatch, "bfloat16"),
    "whole numbers": (lambda x: jnp.sum(x**2), np.arange(3), DTypeMismatch, "int64"),
    "a Python integer": (lambda x: x**2.0, 2, DTypeMismatch, "int64"),
    "random numbers from the input": (lambda x: jax.random.normal(jax.random.key(x[0].astype(int))) * x[1], x3,
                                      UnsupportedOperation, "random_seed needs a key that is known"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_clearly(name: str):
    f, x, kind, said = REFUSED[name]
    with pytest.raises(kind, match=said):
        symhess.jax.hessian(f)(x)


def test_errors_of_conventions():
    with pytest.raises(NonScalarOutput, match=r"float64\[3\]"):
        symhess.jax.grad(lambda x: x**2)(x3)
    with pytest.raises(AuxiliaryMissing, match="output, aux"):
        symhess.jax.hessian(lambda x: jnp.sum(x), has_aux=True)(x3)
    with pytest.raises(ShapeMismatch, match=r"\(2,\)"):
        symhess.jax.hvp(lambda x: jnp.sum(x**3))(x3, x3[:2])
    with pytest.raises(ShapeMismatch, match="structure"):
        symhess.jax.hvp(lambda x: jnp.sum(x**3))(x3, (x3,))
    with pytest.raises(ValueError, match="argnums=2"):
        symhess.jax.hessian(lambda x: jnp.sum(x), argnums=2)(x3)
    with pytest.raises(TypeError, match="needs a function"):
        symhess.jax.hessian(x3)


def test_transforms_of_jax_are_refused_around_ours():
    with pytest.raises(UnsupportedOperation, match="within a transform of JAX"):
        jax.jit(symhess.jax.hessian(lambda x: jnp.sum(x**3)))(x3)


def test_branches_on_values_are_refused_by_jax_itself():
    def f(x: Any) -> Any:
        return x[0] ** 2 if x[0] > 0 else x[1]

    for transform in (symhess.jax.hessian, symhess.jax.hessian_jit):
        with pytest.raises(jax.errors.TracerBoolConversionError, match=r"f at .*test_jax_functions\.py"):
            transform(f)(x3)


# -- structure -----------------------------------------------------------------------------------------------------

X = np.random.default_rng(1).normal(size=(20, 4))
Y = (X[:, 0] > 0) * 1.0
WAVE = np.sin(np.arange(50.0))
ENDS = (np.array([0, 1, 2, 5]), np.array([1, 2, 3, 7]))


def pendulum(scan: Callable, sin: Callable, total: Callable) -> Callable:
    def f(u: Any) -> Any:
        step = lambda s, v: ((s[0] + 0.1 * s[1], s[1] - 0.1 * sin(s[0]) + 0.1 * v), s[0])
        return total(scan(step, (1.0, 0.0), u)[1] ** 2)

    return f


#: the same function twice: in jax.numpy and in NumPy
SPELLINGS: dict[str, tuple[Callable, Callable, np.ndarray]] = {
    "chained Rosenbrock": (lambda x: jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2),
                           lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), WAVE),
    "logistic regression": (lambda w: jnp.sum(nn.softplus(X @ w) - Y * (X @ w)) + 0.1 * jnp.sum(w**2),
                            lambda w: np.sum(np.logaddexp(0, X @ w) - Y * (X @ w)) + 0.1 * np.sum(w**2), X[0]),
    "log-sum-exp": (lambda w: nn.logsumexp(X @ w), lambda w: scipy.special.logsumexp(X @ w), X[0]),
    "softmax": (lambda w: jnp.sum(nn.softmax(w)[:, 1] ** 2),
                lambda w: np.sum(scipy.special.softmax(w, axis=-1)[:, 1] ** 2), X),
    "distances": (lambda w: jnp.sum(jnp.linalg.norm(w[1:] - w[:-1], axis=1)),
                  lambda w: np.sum(np.linalg.norm(w[1:] - w[:-1], axis=1)), X),
    "springs": (lambda w: jnp.sum((w[ENDS[0]] - w[ENDS[1]]) ** 2),
                lambda w: np.sum((w[ENDS[0]] - w[ENDS[1]]) ** 2), X[:8, 0]),
    "stencil": (lambda u: jnp.sum(jnp.diff(u, axis=0) ** 2) + jnp.sum((jnp.pad(u, 1)[2:, 1:-1] - u) ** 4),
                lambda u: np.sum(np.diff(u, axis=0) ** 2) + np.sum((np.pad(u, 1)[2:, 1:-1] - u) ** 4), X[:8]),
    "pendulum": (pendulum(lax.scan, jnp.sin, jnp.sum), pendulum(symhess.scan, np.sin, np.sum), X[:, 0]),
    "fori_loop": (lambda x: lax.fori_loop(0, 20, lambda i, s: s * jnp.cos(x[i]) + x[i], 0.0),
                  lambda x: symhess.fori_loop(0, 20, lambda i, s: s * np.cos(x[i]) + x[i], 0.0), X[:, 0]),
    "two layers": (lambda w: jnp.sum((jnp.tanh(X @ w[:12].reshape(4, 3)) @ w[12:] - Y) ** 2),
                   lambda w: np.sum((np.tanh(X @ w[:12].reshape(4, 3)) @ w[12:] - Y) ** 2), np.cos(np.arange(15.0))),
    "Gaussian process": (
        lambda w: _gaussian_process(jnp, w), lambda w: _gaussian_process(np, w), X[0, :3]),
}


def _gaussian_process(xp: Any, w: Any) -> Any:
    k = xp.exp(w[0] - ((X[:, None] - X[None]) ** 2).sum(-1) * xp.exp(w[1])) + np.eye(20) * xp.exp(w[2])
    return xp.linalg.slogdet(k)[1] + Y @ xp.linalg.solve(k, Y)


@pytest.mark.parametrize("name", SPELLINGS)
def test_structure_is_that_of_the_numpy_spelling(name: str):
    ours, numpys, x = SPELLINGS[name]
    f, g = symhess.jax.hessian_jit(ours), symhess.hessian_jit(numpys)
    paths = [h._bound_path((x,), {})[1] for h in (f, g)]
    assert len(paths[0].lower) == len(paths[1].lower)
    assert (paths[0].sparsity != paths[1].sparsity).nnz == 0
    assert len(topological(paths[0].gradient)) <= len(topological(paths[1].gradient))
    np.testing.assert_allclose(f(x), g(x), rtol=1e-12, atol=1e-12)


def test_a_convolutional_network_is_sparse_where_it_can_be():
    """Images that do not share weights: one block for each of them."""
    kernel = np.arange(9.0).reshape(3, 3, 1, 1) / 9

    def f(images: Any) -> Any:
        h = lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jnp.sum(nn.softplus(h))

    images = np.linspace(-1, 1, 72).reshape(2, 6, 6, 1)
    H = symhess.jax.hessian_jit(f).sparse(images)
    dense = np.asarray(jax.hessian(f)(images)).reshape(72, 72)
    np.testing.assert_allclose(H.toarray(), dense, rtol=1e-10, atol=1e-12)
    assert H.nnz < 72 * 25 and not H.toarray()[:36, 36:].any()


# -- the table of rules --------------------------------------------------------------------------------------------


def equations(jaxpr: Any) -> Iterator[Any]:
    """The equations of a jaxpr, those in the parameters of others included."""
    for e in jaxpr.eqns:
        yield e
        for inner in inner_jaxprs(e.params):
            yield from equations(inner.jaxpr)


def test_every_rule_is_met_by_a_test_and_every_function_of_the_library_recognised():
    used, recognised = {"select_and_gather_add"}, set()  # a tangent of pooling has a test of its own
    inner = [(jax.grad(scalar(f)), point) for group in ("movement", "contractions")
             for f, point in GROUPS[group].values()]
    for f, point in (*CASES.values(), *MODELS.values(), *inner):
        for e in equations(jax.make_jaxpr(f)(point).jaxpr):
            used.add(e.primitive.name)
            body = inner_of(e)
            if body is not None and is_library(body.debug_info.func_filename) and library_rule(e) is not None:
                recognised.add(body.debug_info.func_name)
    assert set(RULES) <= used
    assert set(LIBRARY) <= recognised


def test_no_file_of_the_package_imports_jax_but_those_of_the_front_end():
    root = Path(symhess.__file__).parent
    found = [p for p in root.rglob("*.py") if "import jax" in p.read_text() and p.parent.name != "jax"]
    assert not found
