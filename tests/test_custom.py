"""Functions with derivative rules of their own, against closed forms and differences of their values."""

from __future__ import annotations

import dataclasses
import math
import pickle
import threading

import numpy as np
import pytest
import scipy.interpolate
import scipy.optimize
import scipy.sparse
from primitive_cases import along

import symhess
from symhess import checkpoint, custom_derivative, external, hessian_jit, implicit_function, stop_gradient
from symhess.api.columns import ColumnsRunner
from symhess.errors import (
    ConcretizationError,
    DTypeMismatch,
    NonScalarOutput,
    NotConverged,
    NotDifferentiable,
    ShapeMismatch,
)
from symhess.graph.node import Graph
from symhess.graph.verify import verify

X = np.array([0.3, -1.2, 2.0])
RNG = np.random.default_rng(11)


def interpreted(fn, **options):
    return hessian_jit(fn, mode="autograd", **options)


def uncompiled(transform):
    """A transform whose result is interpreted."""
    return lambda fn, *args, **options: interpreted(transform(fn, *args, **options), argnums=()).value


grad, hessian, hvp, jacfwd, jacrev, value_and_grad, vmap = map(uncompiled, (
    symhess.grad, symhess.hessian, symhess.hvp, symhess.jacfwd, symhess.jacrev, symhess.value_and_grad, symhess.vmap))


def jvp(fn, primals, tangents):
    return interpreted(symhess.jvp(fn), argnums=()).value(primals, tangents)


def close(got, want, tol=1e-12):
    np.testing.assert_allclose(got, want, rtol=tol, atol=tol)


# -- custom derivatives ----------------------------------------------------------------------------------------------


@custom_derivative(partials="tanh(x)")
def logcosh(x):
    return np.abs(x) + np.log1p(np.exp(-2 * np.abs(x))) - math.log(2)


def test_a_rule_replaces_the_derivative_at_every_order():
    f = lambda x: np.sum(logcosh(x))
    close(grad(f)(X), np.tanh(X))
    close(hessian(f)(X), np.diag(1 / np.cosh(X) ** 2))
    third = grad(lambda x: np.sum(hessian_jit(f).diagonal(x)))
    close(third(X), -2 * np.tanh(X) / np.cosh(X) ** 2)
    close(interpreted(f)(np.array([0.0, 900.0])), [[1, 0], [0, 0]])  # the value's own derivative is 0 at 0


def test_elementwise_rules_keep_the_structure():
    f = hessian_jit(lambda x: np.sum(logcosh(x[1:] - x[:-1])))
    assert f.sparsity(np.zeros(20)).nnz == 3 * 20 - 2
    x = np.linspace(0, 1, 20) ** 2
    d = np.diff(x)
    first, second = np.tanh(d), 1 / np.cosh(d) ** 2
    close(f.grad(x), np.concatenate([[0], first]) - np.concatenate([first, [0]]))
    off = np.diag(second, 1)
    close(f(x), np.diag(np.append(second, 0) + np.append(0, second)) - off - off.T)
    close(f.sparse(x).toarray(), f(x))


def test_a_wrong_rule_gives_the_wrong_hessian():
    """So the rule is what is used: this one is off by a factor, and in one entry."""
    wrong = custom_derivative(lambda x: np.sin(x), partials="3*cos(x)")
    close(interpreted(lambda x: np.sum(wrong(x)))(X), np.diag(-3 * np.sin(X)))
    assert abs(interpreted(lambda x: np.sum(wrong(x)))(X) - np.diag(-np.sin(X))).max() > 0.5
    right = custom_derivative(lambda x: np.sin(x), partials="cos(x)")
    close(interpreted(lambda x: np.sum(right(x)))(X), np.diag(-np.sin(X)))


def product(x, y):
    return np.exp(x) * y


def product_jvp(primals, tangents):
    (x, y), (tx, ty) = primals, tangents
    return product(x, y), np.exp(x) * (y * tx + ty)


RULES = {
    "jvp": {"jvp": product_jvp},
    "formulas": {"partials": ("u", "exp(x)")},
    "functions": {"partials": (lambda x, y: np.exp(x) * y, lambda x, y: np.exp(x))},
    "jacobians": {"jacobians": (lambda x, y: np.diag(np.exp(x) * y), lambda x, y: np.diag(np.exp(x)))},
    "vjp": {"vjp": (lambda x, y: (product(x, y), (np.exp(x), y)), lambda res, g: (g * res[0] * res[1], g * res[0]))},
}


@pytest.mark.parametrize("rule", RULES)
def test_every_kind_of_rule(rule):
    f = custom_derivative(product, **RULES[rule])
    y = np.array([1.5, 0.2, -0.7])
    g = interpreted(lambda x, y: np.sum(f(x, y) ** 2), argnums=(0, 1))
    e = np.exp(2 * X)
    close(g.grad(X, y), [2 * e * y**2, 2 * e * y])
    H = g(X, y)
    close(H[0][0], np.diag(4 * e * y**2))
    close(H[0][1], np.diag(4 * e * y))
    close(H[1][1], np.diag(2 * e))
    close(jacfwd(f)(X, y), jacrev(f)(X, y))
    close(jvp(f, (X, y), (y, X))[1], np.exp(X) * (y * y + X))
    close(vmap(grad(lambda x, y: f(x, y)), (0, None))(X, 2.0), 2 * np.exp(X)) if rule != "jacobians" else None


def test_rules_may_call_the_function():
    f = custom_derivative(lambda x: np.exp(-x))

    @f.defjvp
    def rule(primals, tangents):
        return f(primals[0]), -f(primals[0]) * tangents[0]

    close(grad(grad(grad(lambda x: f(x))))(0.7), -math.exp(-0.7))
    graph = hessian_jit(lambda x: np.sum(f(x))).graph(X)
    assert [n.op.name for n in graph.nodes()] == ["input", "custom.<lambda>", "sum"]
    verify(Graph(graph.inputs, graph.outputs))


def test_jacobians_of_matrices():
    """y = A b: dy_i/dA_jk = delta_ij b_k."""
    f = custom_derivative(lambda A, b: A @ b)
    f.defjacobians(lambda A, b: np.eye(2)[:, :, None] * b, lambda A, b: A)
    A, b = RNG.normal(size=(2, 3)), RNG.normal(size=3)
    g = interpreted(lambda A, b: np.sum(f(A, b) ** 2) / 2, argnums=(0, 1))
    H = g(A, b)
    close(g.grad(A, b)[0], np.outer(A @ b, b))
    close(H[0][0], np.einsum("ij,k,l->ikjl", np.eye(2), b, b))
    close(H[0][1], np.einsum("i,kl->ikl", A @ b, np.eye(3)) + np.einsum("k,il->ikl", b, A))
    close(H[1][1], A.T @ A)


def test_pytrees_and_several_outputs():
    def polar(p):
        return {"x": p["r"] * np.cos(p["t"]), "y": p["r"] * np.sin(p["t"])}

    f = custom_derivative(polar)

    @f.defjvp
    def rule(primals, tangents):
        (p,), (d,) = primals, tangents
        c, s = np.cos(p["t"]), np.sin(p["t"])
        return polar(p), {"x": c * d["r"] - p["r"] * s * d["t"], "y": s * d["r"] + p["r"] * c * d["t"]}

    def loss(p):
        q = f(p)
        return np.sum(q["x"] ** 2 * q["y"])

    H = interpreted(loss)({"r": 2.0, "t": 0.4})
    r, c, s = 2.0, math.cos(0.4), math.sin(0.4)  # loss = r^3 c^2 s
    close(H["r"]["r"], 6 * r * c * c * s)
    close(H["r"]["t"], 3 * r**2 * (c**3 - 2 * c * s * s))
    close(H["t"]["t"], r**3 * (-7 * c * c * s + 2 * s**3))


def test_loops_over_scalars_are_rolled():
    def total(x):
        t = 0.0
        for i in range(len(x) - 1):
            t += logcosh(x[i + 1] - x[i])
        return t

    f, x = hessian_jit(total), np.linspace(0, 1, 30) ** 2
    assert sum(n.op.name == "custom.logcosh" for n in f.graph(x).nodes()) == 1
    assert f.sparsity(x).nnz == 88
    close(interpreted(total)(x), interpreted(lambda x: np.sum(logcosh(np.diff(x))))(x))


def test_batches():
    f, rows = hessian_jit(lambda x, a: np.sum(a * logcosh(x)), mode="autograd"), np.stack([X, 2 * X])
    close(f.batch(rows, 3.0), [3 * np.diag(1 / np.cosh(r) ** 2) for r in rows])
    scaled = custom_derivative(lambda x, a: a * np.sum(x**2), vjp=(
        lambda x, a: (a * np.sum(x**2), (x, a)), lambda res, g: (2 * g * res[1] * res[0], g * np.sum(res[0] ** 2))))
    close(vmap(grad(lambda x, a: scaled(x, a)), (0, None))(rows, 3.0), 6 * rows)
    close(grad(lambda a: np.sum(vmap(scaled, (0, None))(rows, a)))(3.0), np.sum(rows**2))


def test_arguments_without_a_derivative():
    f = custom_derivative(lambda x, n, w: w * x**n, partials=("n*w*x**(n - 1)", None, None))
    close(grad(lambda x: np.sum(f(x, 3, 2.0)))(X), 6 * X**2)
    with pytest.raises(NotDifferentiable, match="argument 2, which depends on a differentiated value"):
        grad(lambda x: np.sum(f(x, 3, x)))(X)
    with pytest.raises(NotDifferentiable, match="argument 2"):
        jvp(lambda x: f(x, 3, x), (X,), (X,))
    close(grad(lambda x: np.sum(f(x, 3, stop_gradient(x))))(X), 3 * X**3)
    close(grad(lambda x: np.sum(f(x, 3, np.floor(x))))(X), 3 * np.floor(X) * X**2)
    g = custom_derivative(lambda x, *, scale: scale * x, partials=("0",), nondiff_argnums=0)
    with pytest.raises(NotDifferentiable, match="argument 0"):
        grad(lambda x: g(x, scale=2.0))(1.0)
    with pytest.raises(NotDifferentiable, match="keyword argument"):
        grad(lambda x: g(1.0, scale=x))(1.0)


def test_traced_values_from_outside():
    def loss(x, a):
        return np.sum(custom_derivative(lambda x: a * x**2, partials=lambda x: 2.0 * x)(x))

    with pytest.raises(NotDifferentiable, match="uses a traced value of the function around it"):
        grad(loss, 1)(X, 2.0)
    assert interpreted(loss).value(X, 2.0) == 2 * np.sum(X**2)


def test_values_that_branch():
    f = custom_derivative(lambda x: x**2 if x > 0 else -x, partials="where(less(0, x), 2*x, -1)")
    g = interpreted(lambda x: f(x[0]) * x[1])
    close(g(np.array([3.0, 1.0])), [[2, 6], [6, 0]])
    close(g(np.array([-3.0, 1.0])), [[0, -1], [-1, 0]])
    with pytest.raises(ConcretizationError):
        branching = custom_derivative(lambda x: x, partials=lambda x: 1.0 if x > 0 else 2.0)
        grad(lambda x: branching(x))(1.0)


def test_clipped_gradients_have_reverse_mode_only():
    f = custom_derivative(lambda x: x, vjp=(lambda x: (x, None), lambda _, g: (np.clip(g, -1, 1),)))
    close(grad(lambda x: np.sum(f(x) * np.array([0.5, 3.0, -2.0])))(X), [0.5, 1, -1])
    with pytest.raises(NotDifferentiable, match="not linear in the cotangents"):
        jacfwd(lambda x: f(x))(X)


def test_selects_stay_outermost():
    """0 * inf in the untaken branch of a rule."""
    f = custom_derivative(lambda x: np.sqrt(np.maximum(x, 0)), partials=lambda x: np.where(x > 0, 0.5 / np.sqrt(x), 0))
    close(interpreted(lambda x: np.sum(f(x)))(np.array([0.0, 4.0])), [[0, 0], [0, -1 / 32]])


@dataclasses.dataclass
class Spring:
    stiffness: float

    @custom_derivative
    def energy(self, x):
        return self.stiffness * x**2 / 2

    energy.defjvp(lambda primals, tangents: (primals[0].stiffness * primals[1] ** 2 / 2,
                                             primals[0].stiffness * primals[1] * tangents[1]))


def test_methods_dtypes_and_plain_calls():
    spring = Spring(3.0)
    close(interpreted(lambda x: np.sum(spring.energy(x)))(X), 3 * np.eye(3))
    assert spring.energy(2.0) == 6.0
    H = interpreted(lambda x: np.sum(logcosh(x)) * 2.0)(X.astype(np.float32))
    assert H.dtype == np.float32
    scaled = custom_derivative(lambda x, a: a * x, partials=("a", "x"))
    assert interpreted(lambda x: np.sum(scaled(x, 2.0) ** 2))(X.astype(np.float32)).dtype == np.float32
    assert type(logcosh(1.0)) is np.float64
    close(interpreted(lambda x: x @ logcosh(np.ones(3)))(X), np.zeros((3, 3)))


@pytest.mark.parametrize(("rule", "error", "words"), [
    ({}, NotDifferentiable, "no derivative rule yet"),
    ({"jvp": lambda p, t: t[0]}, ShapeMismatch, r"must return \(output, tangent\)"),
    ({"jvp": lambda p, t: (p[0], (t[0], t[0]))}, ShapeMismatch, "tangent of structure"),
    ({"jvp": lambda p, t: (p[0], np.ones(7))}, ShapeMismatch, r"tangent of shape \(7,\)"),
    ({"jvp": lambda p, t: (p[0], t[0] ** 2)}, NotDifferentiable, "not linear in the tangents"),
    ({"partials": lambda x: np.ones(7)}, ShapeMismatch, "elementwise"),
    ({"partials": "cos(w)"}, NotDifferentiable, "cannot be read"),
    ({"jacobians": lambda x: np.ones(3)}, ShapeMismatch, r"\(3, 3\)"),
    ({"vjp": (lambda x: x, lambda r, g: (g,))}, ShapeMismatch, r"\(output, residuals\)"),
    ({"vjp": (lambda x: (x, None), lambda r, g: (g, g))}, ShapeMismatch, "tuple of 1 cotangents"),
    ({"vjp": (lambda x: (x, None), lambda r, g: ((g, g),))}, ShapeMismatch, "2 arrays for argument 0"),
])
def test_rules_that_do_not_fit(rule, error, words):
    f = custom_derivative(lambda x: np.cos(x), **rule)
    with pytest.raises(error, match=words):
        interpreted(lambda x: np.sum(f(x)))(X)


def test_sums_are_not_elementwise():
    f = custom_derivative(lambda x: np.sum(x), partials="1")
    with pytest.raises(ShapeMismatch, match="give jacobians"):
        grad(f)(X)
    two = custom_derivative(lambda x: (x, x), partials="1")
    with pytest.raises(NonScalarOutput, match="jvp rule"):
        grad(lambda x: np.sum(two(x)[0]))(X)
    with pytest.raises(TypeError, match="one of jvp"):
        custom_derivative(np.sin, partials="cos(x)", jvp=product_jvp)


# -- hints -----------------------------------------------------------------------------------------------------------


def test_stop_gradient():
    f = hessian_jit(lambda x: np.sum(stop_gradient({"a": x, "n": 3})["a"] * x**2) + x[0] * stop_gradient(x[1]))
    close(f(X), np.diag(2 * X))
    assert f.sparsity(X).nnz == 3
    close(f.grad(X), 2 * X**2 + [X[1], 0, 0])
    close(f.value(X), np.sum(X**3) + X[0] * X[1])
    assert stop_gradient(X) is X
    close(jacfwd(lambda x: stop_gradient(x))(X), np.zeros((3, 3)))
    close(f.batch(np.stack([X, X])), [np.diag(2 * X)] * 2)


def test_checkpoint_changes_nothing_and_says_so():
    f = interpreted(lambda x: np.sum(checkpoint(lambda y: np.sin(y) ** 2)(x)))
    close(f(X), np.diag(2 * np.cos(2 * X)))
    assert "note: checkpoint(<lambda>): no effect" in f.explain(X)
    assert checkpoint(math.sin)(1.0) == math.sin(1.0)


# -- implicit functions ----------------------------------------------------------------------------------------------


def kepler(M, e, E):
    return E - e * np.sin(E) - M


MEAN = np.linspace(0.1, 3.0, 5)


def halley(M, e, E):
    return scipy.optimize.newton(kepler_of(M, e), E, tol=1e-14)


def kepler_of(M, e):
    return lambda E: E - e * np.sin(E) - M


@pytest.mark.parametrize("solver", [None, halley])
@pytest.mark.parametrize("mode", ["autograd", "auto"])
def test_kepler(solver, mode):
    """E - e sin E = M:  E_M = 1/(1 - e cos E),  E_e = sin E E_M,  E_MM = -e sin E E_M^3."""
    anomaly = implicit_function(kepler, solver=solver)
    f = hessian_jit(lambda M, e: np.sum(anomaly(M, e, y0=M)), argnums=(0, 1), mode=mode)
    E, e = anomaly(MEAN, 0.3, y0=MEAN), 0.3
    close(E - e * np.sin(E), MEAN)
    d = 1 / (1 - e * np.cos(E))
    close(f.grad(MEAN, e)[0], d)
    close(f.grad(MEAN, e)[1], np.sum(np.sin(E) * d))
    H = f(MEAN, e)
    close(H[0][0], np.diag(-e * np.sin(E) * d**3))
    close(H[0][1], np.cos(E) * d**2 - e * np.sin(E) ** 2 * d**3)
    close(H[1][1], np.sum(2 * np.sin(E) * np.cos(E) * d**2 - e * np.sin(E) ** 3 * d**3))
    assert f.sparsity(MEAN, e).nnz == 5 + 2 * 5 + 1


def test_iterations_are_not_differentiated():
    calls = []

    def solver(x, y0):
        calls.append(type(x))
        return x ** (1 / 3)

    root = implicit_function(lambda x, y: y**3 - x, solver=solver, y0=1.0)
    f = hessian_jit(lambda x: root(x))
    close(f(8.0), -2 / 9 * 8 ** (-5 / 3))
    first = len(calls)
    close(f(27.0), -2 / 9 * 27 ** (-5 / 3))
    assert len(calls) == first + 1
    assert set(calls) == {np.float64}
    close(grad(grad(grad(lambda x: root(x))))(8.0), 10 / 27 * 8 ** (-8 / 3))


@pytest.mark.parametrize("n", [2, 5])
def test_coupled_equations(n):
    """A y + y^3 = b x: differences of the solution, and both modes of the Jacobian."""
    A, b = 3 * np.eye(n) + 0.3 * RNG.normal(size=(n, n)), RNG.normal(size=(n, 2))
    y = implicit_function(lambda x, y: A @ y + y**3 - b @ x, y0=np.zeros(n))
    x = np.array([0.7, -0.4])
    J = jacfwd(lambda x: y(x))(x)
    close(J, np.linalg.solve(A + np.diag(3 * y(x) ** 2), b))
    close(jacrev(lambda x: y(x))(x), J)
    H = interpreted(lambda x: np.sum(np.sin(y(x))))
    direction = np.array([0.6, 0.8])
    close(H(x) @ direction, along(lambda t: H.grad(x + t * direction)), 1e-9)
    close(H.grad(x) @ direction, along(lambda t: np.sum(np.sin(y(x + t * direction)))), 1e-9)
    close(H.hvp(x, x), H(x) @ x)
    close(hvp(lambda x: np.sum(np.sin(y(x))), strategy="reverse-over-reverse")(x, x), H(x) @ x)
    close(H.batch(np.stack([x, -x])), [H(x), H(-x)])
    close(vmap(y)(np.stack([x, -x])), [y(x), y(-x)])
    close(jacrev(vmap(y))(np.stack([x, -x]))[1, :, 1], jacfwd(lambda x: y(x))(-x))


def test_ridge_hyperparameters():
    """w = S^-1 X'y with S = X'X + l I:  w' = -S^-1 w,  w'' = 2 S^-2 w."""
    A, b, B, c = RNG.normal(size=(20, 6)), RNG.normal(size=20), RNG.normal(size=(9, 6)), RNG.normal(size=9)
    ridge = implicit_function(argmin=lambda l, w: np.sum((A @ w - b) ** 2) + l * np.sum(w**2), y0=np.zeros(6))
    S = A.T @ A + 0.8 * np.eye(6)
    w = np.linalg.solve(S, A.T @ b)
    d = -np.linalg.solve(S, w)
    dd = -2 * np.linalg.solve(S, d)
    r = B @ w - c
    validation = lambda l: np.sum((B @ ridge(l) - c) ** 2)
    value, first = value_and_grad(validation)(0.8)
    close([value, first], [r @ r, 2 * r @ B @ d])
    close(interpreted(validation)(0.8), 2 * (B @ d) @ (B @ d) + 2 * r @ B @ dd)


def test_minimum_in_closed_form_with_pytrees_and_data():
    """argmin sum(exp(y)) - x y = log x, and the mean of weighted data."""
    g = lambda x, data, y: np.sum(np.exp(y["log"])) - x @ y["log"] + np.sum(data * (y["mean"] - x[0]) ** 2)
    point = implicit_function(argmin=g, y0={"log": np.zeros(3), "mean": 0.0})
    x = np.array([0.5, 1.5, 3.0])
    f = interpreted(lambda x, data: np.sum(point(x, data)["log"]) + point(x, data)["mean"] ** 2)
    close(f(x, np.ones(4)), np.diag(-1 / x**2) + np.diag([2.0, 0, 0]), 1e-10)
    assert point(x, np.ones(4))["log"].shape == (3,)


def test_solvers_from_scipy():
    def rosenbrock(a, y):
        return (a - y[0]) ** 2 + 100 * (y[1] - y[0] ** 2) ** 2

    def solver(a, y0):
        return scipy.optimize.minimize(lambda y: rosenbrock(a, y), y0, method="BFGS", options={"gtol": 1e-9}).x

    start = np.array([-1.0, 1.0])
    newton = implicit_function(argmin=rosenbrock, y0=start)
    close(newton(1.5), [1.5, 2.25], 1e-9)
    close(jacfwd(lambda a: newton(a))(1.5), [1, 3], 1e-9)
    close(hessian(lambda a: newton(a))(1.5), [0, 2], 1e-9)
    close(jacfwd(lambda a: implicit_function(argmin=rosenbrock, solver=solver, y0=start)(a))(1.5), [1, 3], 1e-5)
    close(implicit_function(lambda x, y: np.arctan(y) - x, y0=20.0)(0.3), math.tan(0.3))


def test_what_an_equation_may_use():
    """Traced values from outside, branches, starting points that are traced."""
    f = interpreted(lambda x: implicit_function(lambda y: y**3 - x[0] * x[1], y0=1.0)())
    a, b = 2.0, 4.0
    close(f.grad(np.array([a, b])), [b / (3 * 4), a / (3 * 4)])
    close(f(np.array([a, b]))[0, 1], 1 / 12 - 2 / 9 * (a * b) ** (-5 / 3) * a * b)
    solver = lambda x, y0: x**2 if x > 0 else -x
    branch = implicit_function(lambda x, y: y - x**2 if x > 0 else y + x, solver=solver, y0=0.0)
    g = interpreted(lambda x: branch(x) * x)
    close([g(2.0), g(-2.0)], [12, -2])
    close(grad(lambda x: implicit_function(lambda x, y: y**2 - x, y0=1.0)(x, y0=x))(4.0), 0.25)
    guess = implicit_function(lambda x, y: y**2 - x, solver=lambda x, y0: math.sqrt(x))
    close(grad(lambda x: guess(x))(4.0), 0.25)
    with pytest.raises(ConcretizationError, match="y0="):
        vmap(lambda x: guess(x))(X)


def test_singular_equations_are_not_finite():
    root = implicit_function(lambda x, y: y**3 - x, solver=lambda x, y0: np.cbrt(x), y0=0.0)
    assert not np.isfinite(grad(lambda x: root(x))(0.0))
    A = np.ones((4, 4))
    line = implicit_function(lambda x, y: A @ y - x, solver=lambda x, y0: y0, y0=np.zeros(4))
    assert np.isnan(jacfwd(lambda x: line(x))(np.ones(4))).all()


def test_single_precision():
    root = implicit_function(lambda x, y: y**2 - x, y0=np.ones(2, np.float32))
    H = interpreted(lambda x: np.sum(root(x)))(np.array([4.0, 9.0], np.float32))
    assert H.dtype == np.float32
    close(H, np.diag([-1 / 32, -1 / 108]), 1e-6)


@pytest.mark.parametrize(("build", "error", "words"), [
    (lambda: implicit_function(lambda x, y: np.append(y, x), y0=np.zeros(2)), ShapeMismatch,
     "3 equations .* 2 unknowns"),
    (lambda: implicit_function(lambda x, y: y**2 + x**2 + 1, y0=1.0), NotConverged, "without a solution"),
    (lambda: implicit_function(lambda x, y: y - x), TypeError, "starting point"),
    (lambda: implicit_function(argmin=lambda x, y: y - x, y0=np.zeros(2)), NonScalarOutput, "one number"),
    (lambda: implicit_function(lambda x, y: y - x, solver=lambda x, y0: np.ones(3), y0=1.0), ShapeMismatch, "answer"),
    (lambda: implicit_function(lambda x, y: y - x, solver=lambda x, y0: 1j, y0=1.0), DTypeMismatch, "complex"),
    (lambda: implicit_function(lambda x, y: y - x, solver=lambda x, y0: scipy.optimize.OptimizeResult(x=x), y0=1.0),
     DTypeMismatch, r"return its \.x"),
    (lambda: implicit_function(lambda x, y: y - x, solver=lambda x, y0: 1 // 0, y0=1.0), ZeroDivisionError, "by zero"),
    (lambda: implicit_function(), TypeError, "either a residual"),
])
def test_implicit_functions_that_do_not_fit(build, error, words):
    with pytest.raises(error, match=words):
        interpreted(lambda x: np.sum(build()(x)) ** 3)(0.5)


# -- external code ---------------------------------------------------------------------------------------------------

KNOTS = np.linspace(0, 4, 9)
SPLINE = scipy.interpolate.CubicSpline(KNOTS, np.sin(KNOTS))
table = external(lambda x: SPLINE(x), grad=lambda x: SPLINE(x, 1), hess=lambda x: SPLINE(x, 2), elementwise=True)


@pytest.mark.parametrize("mode", ["autograd", "auto"])
def test_tables(mode):
    f = hessian_jit(lambda x: np.sum(table(x**2) * x), mode=mode)
    x = np.array([0.3, 1.1, 1.9])
    t, first, second = SPLINE(x * x), SPLINE(x * x, 1), SPLINE(x * x, 2)
    value, gradient, H = f.value_grad_hessian(x)
    close(value, np.sum(t * x))
    close(gradient, t + 2 * x * x * first)
    close(H, np.diag(6 * x * first + 4 * x**3 * second))
    assert f.sparsity(x).nnz == 3
    close(f.batch(np.stack([x, x / 2]))[1], f(x / 2))
    close(f.diagonal(x), np.diag(H))


def quadratic(calls):
    """x'Ax/2 + x'Bp with its derivatives, noting what is called."""
    A, B = np.array([[2.0, 1.0], [1.0, 3.0]]), np.arange(6.0).reshape(2, 3)

    def note(name, value):
        calls.append(name)
        return value

    return A, B, external(
        lambda x, p: note("value", x @ A @ x / 2 + x @ B @ p), grad=lambda x, p: note("grad", (A @ x + B @ p, B.T @ x)),
        hess=lambda x, p: note("hess", ((A, B), (B.T, np.zeros((3, 3))))))


def test_several_arguments_and_how_often_they_are_called():
    calls = []
    A, B, f = quadratic(calls)
    g = hessian_jit(lambda x, p: f(x, p) ** 2, argnums=(0, 1))
    x, p = np.array([1.0, -2.0]), np.array([0.5, 0.0, 1.0])
    H = g(x, p)
    assert sorted(calls) == ["grad", "hess", "value"]
    v, dx, dp = x @ A @ x / 2 + x @ B @ p, A @ x + B @ p, B.T @ x
    close(H[0][0], 2 * v * A + 2 * np.outer(dx, dx))
    close(H[0][1], 2 * v * B + 2 * np.outer(dx, dp))
    close(H[1][1], 2 * np.outer(dp, dp))
    calls.clear()
    g.value(x, p)
    assert calls == ["value"]
    assert "Python code: 3 calls, before the kernel" in g.explain(x, p)


def test_calls_that_need_each_other():
    double = external(lambda x: 2 * x, grad=lambda x: 2.0, hess=lambda x: 0.0)
    square = external(lambda x: x * x, grad=lambda x: 2 * x, hess=lambda x: 2.0)
    f = hessian_jit(lambda x: square(double(x[0]) + x[1]) * x[1])
    plain = lambda x: (2 * x[0] + x[1]) ** 2 * x[1]
    x = np.array([0.7, 1.3])
    close(f(x), hessian(plain)(x))
    close(f.value(x), plain(x))


def test_chunks_of_columns_share_the_calls():
    calls, n = [], 40
    W = RNG.normal(size=(n, n)) / n
    inner = lambda x: np.tanh(W @ np.tanh(W @ x))

    def value(x):
        calls.append(len(x))
        return np.tanh(x).sum()

    f = external(value, grad=lambda x: 1 / np.cosh(x) ** 2, hvp=lambda x, v: -2 * np.tanh(x) / np.cosh(x) ** 2 * v)
    x = RNG.normal(size=n)
    path = interpreted(lambda x: f(inner(x)) ** 2, memory_budget=8 * n * n + 60_000)._bound_path((x,), {})[1]
    run = ColumnsRunner(path.inputs, path.gradient, path.active, path.options)
    assert run.size < n / 2
    close(run([x], None)[0], interpreted(lambda x: np.sum(np.tanh(inner(x))) ** 2)(x))
    assert calls == [n]


def test_vector_valued_code():
    f = external(lambda x: np.array([x[0] * x[1], x[0] ** 3]), shape=2,
                 grad=lambda x: np.array([[x[1], x[0]], [3 * x[0] ** 2, 0]]),
                 hess=lambda x: np.array([[[0, 1], [1, 0]], [[6 * x[0], 0], [0, 0]]]))
    x = np.array([2.0, 5.0])
    close(jacfwd(lambda x: f(x))(x), [[5, 2], [12, 0]])
    close(jacrev(lambda x: f(x))(x), [[5, 2], [12, 0]])
    close(hessian(lambda x: f(x))(x), [[[0, 1], [1, 0]], [[12, 0], [0, 0]]])
    close(vmap(grad(lambda x: f(x) @ np.array([1.0, 2.0])))(np.stack([x, -x])), [[29, 2], [19, -2]])


def test_products_with_the_hessian():
    A = np.array([[2.0, 1.0, 0], [1.0, 3.0, 0.5], [0, 0.5, 1.0]])
    f = external(lambda x: x @ A @ x / 2, grad=lambda x: A @ x, hvp=lambda x, v: A @ v)
    g = interpreted(lambda x: np.exp(f(x) / 10))
    e = math.exp(X @ A @ X / 20) / 10
    close(g(X), e * A + e / 10 * np.outer(A @ X, A @ X))
    close(g.hvp(X, X), g(X) @ X)
    with pytest.raises(NotDifferentiable, match="third derivative"):
        grad(lambda x: np.sum(hessian(lambda x: f(x))(x)))(X)


@pytest.mark.parametrize("as_sparse", [True, False])
def test_sparsity(as_sparse):
    def chain(x):
        H = np.diag(np.append(2.0, np.full(3, 2.0))) - np.eye(4, k=1) - np.eye(4, k=-1)
        return scipy.sparse.csr_array(H) if as_sparse else H

    pattern = abs(chain(None)) > 0
    K = scipy.sparse.csr_array(chain(None)).toarray()
    f = external(lambda x: x @ K @ x / 2, grad=lambda x: K @ x, hess=chain, sparsity=pattern)
    g = interpreted(lambda x: 3 * f(np.exp(x)))
    x = np.linspace(0, 1, 4)
    e = np.exp(x)
    assert g.sparsity(x).nnz == 10
    close(g.sparse(x).toarray(), 3 * (np.outer(e, e) * K + np.diag(e * (K @ e))))
    wrong = external(lambda x: 0.0, grad=lambda x: x, hess=chain, sparsity=np.eye(4))
    with pytest.raises(ShapeMismatch, match=r"entry at \(0, 1\), outside"):
        interpreted(lambda x: wrong(x))(x)


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"grad": lambda x: x[:2], "hess": np.diag}, ShapeMismatch, r"grad returned shape \(2,\), expected \(3,\)"),
    ({"grad": lambda x: 1j * x, "hess": np.diag}, DTypeMismatch, "grad returned dtype complex"),
    ({"grad": lambda x: (x, x), "hess": np.diag}, ShapeMismatch, "grad returned 2 arrays, expected 1"),
    ({"grad": lambda x: x, "hess": lambda x: np.eye(2)}, ShapeMismatch, r"hess returned shape \(2, 2\)"),
    ({"grad": lambda x: x}, NotDifferentiable, "no second derivative"),
    ({}, NotDifferentiable, "no derivative"),
    ({"grad": lambda x: x, "hess": lambda x: {}["missing"]}, KeyError, "missing"),
    ({"grad": lambda x: x, "hess": lambda x: x, "sparsity": np.eye(2)}, ShapeMismatch, "sparsity is of 2 variables"),
    ({"nondiff_argnums": 0}, NotDifferentiable, "argument 0"),
    ({"hess": abs, "hvp": abs}, TypeError, "not both"),
    ({"dtype": int}, DTypeMismatch, "float64 or float32"),
])
@pytest.mark.parametrize("mode", ["autograd", "auto"])
def test_external_code_that_does_not_fit(options, error, words, mode):
    with pytest.raises(error, match=words):
        f = external(lambda x: np.sum(x), **options)
        hessian_jit(lambda x: f(x) * x[0], mode=mode)(X)


def test_code_may_write_into_what_it_gets():
    def value(x):
        x[:] = 0
        return 1.0

    f, x = external(value), X.copy()
    assert interpreted(lambda x: f(x) * np.sum(x)).value(x) == np.sum(X)
    assert np.array_equal(x, X)


def test_two_threads():
    running = []

    def value(x):
        running.append(threading.get_ident())
        assert len(running) == 1, "called by two threads at once"
        result = float(np.sum(x**3))
        running.pop()
        return result

    f = external(value, grad=lambda x: 3 * x**2, hess=lambda x: np.diag(6 * x))
    root = implicit_function(lambda x, y: y**3 - x, y0=np.ones(3))
    g = hessian_jit(lambda x: f(x) + np.sum(root(logcosh(x) + 1)))
    expected = {k: g(X * k) for k in (1.0, 2.0)}
    failures = []

    def work(k):
        for _ in range(30):
            if not np.array_equal(g(X * k), expected[k]):
                failures.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in expected]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_kernels_on_disk_know_nothing_of_the_code(tmp_path):
    """Two functions with the same graph share a kernel on disk, not their values."""
    for k in (2.0, 5.0):
        f = external(lambda x, k=k: float(k * x[0]), grad=lambda x, k=k: np.array([k, 0, 0]),
                     hess=lambda x: np.zeros((3, 3)))
        g = hessian_jit(lambda x, f=f: f(x) ** 2, cache=str(tmp_path))
        close(g(X), np.diag([2 * k * k, 0, 0]))
    assert len(list(tmp_path.glob("symhess_*.o"))) == 1


cube = external(lambda x: x**3, grad=lambda x: 3 * x**2, hess=lambda x: 6 * x, elementwise=True)


def _residual(x, y):
    return y**3 - x


def test_pickling():
    assert pickle.loads(pickle.dumps(logcosh)) is logcosh
    root = pickle.loads(pickle.dumps(implicit_function(_residual, y0=1.0)))
    close(root(8.0), 2)
    made = pickle.loads(pickle.dumps(external(math.sin, grad=math.cos)))
    close(grad(lambda x: made(x))(0.3), math.cos(0.3))
    rule = pickle.loads(pickle.dumps(custom_derivative(product, jvp=product_jvp)))
    close(grad(lambda x: rule(x, 2.0))(0.3), 2 * math.exp(0.3))
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(cube)
