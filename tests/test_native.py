"""Native mode: functions with loops and branches, compiled over second-order numbers.

Oracles: second-order Taylor arithmetic on objects (taylor.py), closed forms, tenth-order differences of the value.
"""

from __future__ import annotations

import functools
import math
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracles import WEIGHTS, assert_close
from taylor import namespace, taylor

from examples.benchmarks.control_flow_functions import bisection, trimmed_mean
from symhess import hessian_jit
from symhess.errors import BudgetExceeded, NonScalarOutput, ShapeMismatch, UnsupportedOperation

native = functools.partial(hessian_jit, mode="native")
X3 = np.array([0.5, 1.5, 2.5])


def exact(make: Callable[[Any], Callable], *inputs: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """Value, gradient and Hessian of make(np) by Taylor arithmetic."""
    return taylor(make(namespace()), inputs, inputs, lambda args, new: tuple(new))


def check(make: Callable[[Any], Callable], x: np.ndarray, tolerance: float = 1e-12) -> Any:
    """Compare value, gradient and Hessian in native mode with Taylor arithmetic; the compiled function."""
    f = native(make(np))
    for found, expected in zip(f.value_grad_hessian(x), exact(make, x)):
        assert_close(found, expected, tolerance)
    return f


# -- programs ------------------------------------------------------------------------------------------------------


def newton(np: Any) -> Callable:
    def f(x):
        a = x[0] * x[1] + x[2] ** 2
        y = a
        while abs(y * y - a) > 1e-13 * a:
            y = 0.5 * (y + a / y)
        return y ** 3
    return f


def adaptive(np: Any) -> Callable:
    """Heun's method with an error estimate that chooses the step."""
    def slope(t, y, x):
        return x[0] * y * (1 - y / x[1]) + 0.1 * np.sin(x[2] * t)

    def f(x):
        t, y, h = 0.0, 0.5 * x[1] / x[1], 0.1
        while t < 2.0:
            if t + h > 2.0:
                h = 2.0 - t
            k1 = slope(t, y, x)
            k2 = slope(t + h, y + h * k1, x)
            error = abs(0.5 * h * (k2 - k1))
            if error < 1e-3:
                t, y = t + h, y + 0.5 * h * (k1 + k2)
            h = h * 0.8 if error > 5e-4 else h * 1.25
        return y
    return f


def robust(np: Any) -> Callable:
    """A loss in pieces that `if` tells apart."""
    def f(x):
        total = 0.0
        for i in range(len(x)):
            r = x[i] - 1.0
            if abs(r) < 0.7:
                total += r * r / 2
            elif r > 0:
                total += 0.7 * (r - 0.35)
            else:
                total -= 0.7 * r * x[0]
        return total * total
    return f


def pivoted(np: Any) -> Callable:
    """The solution of a 3 x 3 system by elimination with pivoting, in buffers."""
    def f(x):
        A, b = np.zeros((3, 3)), np.zeros(3)
        for i in range(3):
            for j in range(3):
                A[i, j] = 1.0 / (1 + i + j * x[0]) + x[2] * (i == j)
            b[i] = x[1] ** i
        for k in range(3):
            p = k
            for i in range(k + 1, 3):
                if abs(A[i, k]) > abs(A[p, k]):
                    p = i
            for j in range(3):
                A[k, j], A[p, j] = A[p, j], A[k, j]
            b[k], b[p] = b[p], b[k]
            for i in range(k + 1, 3):
                factor = A[i, k] / A[k, k]
                for j in range(k, 3):
                    A[i, j] -= factor * A[k, j]
                b[i] -= factor * b[k]
        for k in range(2, -1, -1):
            for j in range(k + 1, 3):
                b[k] -= A[k, j] * b[j]
            b[k] /= A[k, k]
        return b[0] * b[1] + b[2]
    return f


def recursive(np: Any) -> Callable:
    def tree(t, k):
        if k < 2:
            return t * t * k + 1.0
        return 0.5 * tree(t, k - 1) + np.sin(tree(t, k - 2))

    def f(x):
        return tree(x[0] * x[1], 7) * x[2]
    return f


def monte_carlo(np: Any) -> Callable:
    """An average over random walks; the generator is in the code."""
    def f(x):
        state, total = 12345, 0.0
        for _ in range(20):
            s = x[0] * 1.0
            for _ in range(5):
                state = (1103515245 * state + 12345) % 2147483648
                u = state / 2147483648 - 0.5
                s = s * np.exp(x[1] * u - x[2] * x[2] / 50)
            if s > 0.4:
                total += s
        return total / 20
    return f


PROGRAMS = [newton, bisection, adaptive, robust, trimmed_mean, pivoted, recursive, monte_carlo]


@pytest.mark.parametrize("make", PROGRAMS, ids=lambda m: m.__name__)
def test_programs(make: Callable):
    start = np.linspace(0.5, 2.5, 7) if make is trimmed_mean else X3
    f, x = check(make, start), start[::-1].copy()  # other branches, the same code
    assert_close(f(x), exact(make, x)[2], 1e-11)


def test_programs_agree_with_differences_of_their_values():
    """An oracle that knows nothing of derivatives."""
    f, x = adaptive(np), X3.astype(np.longdouble)
    step, u = np.longdouble(2e-3), np.array([1.0, -1.0, 0.5], np.longdouble)
    sides = sum(w * (f(x + k * step * u) + f(x - k * step * u)) for k, w in enumerate(WEIGHTS[1:], 1))
    along = WEIGHTS[0] * f(x) + sides
    v = u.astype(float)
    assert_close(v @ native(f)(X3) @ v, float(along / step**2), 1e-8)


def test_the_root_found_by_newton_has_the_derivatives_of_the_root():
    f = native(lambda x: newton_sqrt(x[0] * x[1]))
    a, b = 2.0, 3.5
    root = math.sqrt(a * b)
    expected = np.array([[-b * b, a * b], [a * b, -a * a]]) / (4 * root**3)
    assert_close(f(np.array([a, b])), expected, 1e-12)


def newton_sqrt(a):
    y = 1.0
    while abs(y * y - a) > 1e-15 * a:
        y, before = 0.5 * (y + a / y), y
        if y == before:
            break
    return y


# -- sizes and products --------------------------------------------------------------------------------------------


def coupled(np: Any) -> Callable:
    def f(x):
        total = 0.0
        for i in range(len(x)):
            t = x[i] * x[(i * 7 + 3) % len(x)]
            while t > 1.0:
                t = t / 2
            total += np.exp(t) * x[i] - x[0] / (2 + x[i])
        return total
    return f


@pytest.mark.parametrize("n", [1, 2, 4, 5, 9, 12, 13, 20, 30, 100])
def test_any_number_of_variables(n: int):
    x = np.random.default_rng(n).uniform(0.5, 2.0, n)
    f = native(coupled(np))
    value, gradient, hessian = exact(coupled, x)
    assert_close(f(x), hessian, 1e-12)
    if n in (1, 12, 30):
        v = np.cos(np.arange(n))
        assert_close(f.grad(x), gradient)
        assert_close(f.hvp(x, v), hessian @ v)
        assert_close(f.diagonal(x), hessian.diagonal())
        assert f.value(x) == pytest.approx(value, rel=1e-14)


def test_products_agree_and_fill_out():
    f, x = native(robust(np)), X3
    _, gradient, hessian = exact(robust, x)
    out, g = np.empty((3, 3)), np.empty(3)
    assert f(x, out=out) is out
    assert_close(out, hessian)
    assert f.value_grad_hessian(x, out=(None, g, out))[1] is g
    assert_close(g, gradient)
    assert np.array_equal(f.sparse(x).toarray(), f(x))
    assert np.array_equal(f.sparse(x, triangle="lower").toarray(), np.tril(f(x)))
    assert np.array_equal(f(x), f(x).T)
    assert f.sparsity(x).nnz == 9
    batch = np.stack([x, 2 * x, -x])
    assert np.array_equal(f.batch(batch), np.stack([f(row) for row in batch]))
    assert np.array_equal(f.batch(batch, product="grad"), np.stack([f.grad(row) for row in batch]))
    assert np.array_equal(f.batch(batch, batch, product="hvp"), np.stack([f.hvp(row, row) for row in batch]))
    with pytest.raises(ShapeMismatch):
        f(x, out=np.empty((2, 2)))


def two_inputs(np: Any) -> Callable:
    def f(a, B, c):
        total = 0.0
        for i in range(B.shape[0]):
            for j in range(B.shape[1]):
                if B[i, j] > 0:
                    total += a[i] * B[i, j] ** 2 * c
                else:
                    total -= np.cos(a[i] * c) / B[i, j]
        return total
    return f


def test_several_inputs_of_different_shapes():
    a, B, c = X3[:2], np.array([[0.5, -1.0, 2.0], [-0.3, 0.7, 1.1]]), 0.7
    f = native(two_inputs(np), argnums=(0, 1, 2))
    _, gradient, hessian = exact(two_inputs, a, B, c)
    assert_close(f.flat(a, B, c), hessian)
    assert_close(np.concatenate([np.ravel(g) for g in f.grad(a, B, c)]), gradient)
    assert f(a, B, c)[1][2].shape == (2, 3)
    partial = native(two_inputs(np), argnums=1)(a, B, c)  # a and c are data
    assert_close(partial.reshape(6, 6), hessian[2:8, 2:8])
    swapped = native(two_inputs(np), argnums=(1, 0))(a, B, c)
    assert_close(swapped[1][0], hessian[:2, 2:8].reshape(2, 2, 3))


def test_scalars_and_data():
    @functools.partial(native, argnums=0)
    def f(x, table, k, weights, flag=True):
        total = x
        for w in weights:
            if flag:
                total = total * (w + table[k]) + x ** k
        return total

    table = np.arange(5.0)
    # ((x (1 + 2) + x^2) (2 + 2)) + x^2 = 12 x + 5 x^2
    assert f(1.5, table, 2, (1.0, 2.0)) == 10.0
    assert f.grad(1.5, table, 2, (1.0, 2.0)) == 12 + 15.0
    assert f.value(1.5, table, 2, (1.0, 2.0), flag=False) == 1.5


def test_single_precision():
    x = X3.astype(np.float32)
    value, gradient, hessian = native(newton(np)).value_grad_hessian(x)
    assert value.dtype == gradient.dtype == hessian.dtype == np.float32
    assert_close(hessian, exact(newton, x.astype(float))[2], 1e-6)


# -- the language --------------------------------------------------------------------------------------------------


def mathematics(x):
    a, b, c = x
    return (math.exp(a) + math.log(b) + math.log(c, 2) + math.sqrt(b) + math.atan2(a, b) + math.hypot(a, c) + a % b
            + math.erf(a) + math.gamma(b) + math.lgamma(c) + a // b + math.pow(a, b) + a ** b + 2 ** a + b ** 2
            + b ** -1 + b ** 0.5 + math.floor(c) * a + round(b * 1.3) * a + abs(-a) + max(a, b, c) + math.tanh(a)
            + math.cosh(b) + math.asinh(c) + math.fabs(a) + math.copysign(a, -b) + math.expm1(a) + math.log1p(b) + +b
            + math.fmod(c, a) + float(a) + int(c) * a + math.cbrt(a) + pow(a, 3) + min(b, c) ** 2 + divided(a, b))


def divided(a, b):
    return 1 / (1 + a / b)


def numpy_functions(x):
    a = np.array([x[0], x[1] ** 2, 1.0])
    M = np.array([[x[0], 1.0], [2.0, x[2]]])
    v = M @ a[:2]
    b = a.copy()
    b[1:] *= 2.0
    b -= np.sin(a)
    return (np.sum(np.where(a > 0.9, a, a * a)) + v[0] * v[1] + np.linalg.norm(x) + np.dot(a, b) + b.mean()
            + np.sqrt(np.abs(b)).sum() + np.max(b) + np.maximum(a, b).sum() + x[np.argmin(b)] + np.prod(x))


@pytest.mark.parametrize("f", [mathematics, numpy_functions])
def test_functions_agree_with_traced_ones(f: Callable):
    found = native(f).value_grad_hessian(X3)
    for mine, traced in zip(found, hessian_jit(f, mode="autograd").value_grad_hessian(X3)):
        assert_close(mine, traced, 1e-12)


@pytest.mark.parametrize(("f", "slope", "curvature"), [
    (lambda x: abs(x), 1.0, 0.0), (lambda x: np.maximum(x, 0), 0.5, 0.0), (lambda x: np.minimum(x, 0), 0.5, 0.0),
    (lambda x: np.sign(x) + x, 1.0, 0.0), (lambda x: x ** 3, 0.0, 0.0), (lambda x: np.where(x > 0, x, 0.0), 0.0, 0.0),
    (lambda x: x ** 2 if x >= 0 else -x, 0.0, 2.0), (lambda x: np.maximum(x, 0) ** 2, 0.0, 0.5),
    (lambda x: abs(x) * x, 0.0, 2.0),
], ids=["abs", "maximum", "minimum", "sign", "power", "where", "branch", "relu squared", "abs times x"])
def test_conventions_at_kinks(f: Callable, slope: float, curvature: float):
    _, first, second = native(f).value_grad_hessian(0.0)
    assert (first, second) == (slope, curvature)


def test_infinite_derivatives_stay_where_they_belong():
    """sqrt is infinitely steep at 0; what does not move with x[1], a buffer of zeros included, is not touched."""
    def f(x):
        buffer = np.zeros(2)
        return x[0] ** 2 + math.sqrt(x[1]) + math.sqrt(buffer[0]) * x[0]

    value, gradient, hessian = native(f).value_grad_hessian(np.array([3.0, 0.0]))
    assert value == 9.0
    assert gradient.tolist() == [6.0, math.inf]
    assert hessian.tolist() == [[2.0, 0.0], [0.0, -math.inf]]


def test_the_branch_not_taken_does_not_matter():
    f = native(lambda x: np.where(x[0] > 0, np.sqrt(x[0]), 0.0) + np.maximum(x[1], np.log(x[0])))
    _, gradient, hessian = f.value_grad_hessian(np.array([0.0, 1.0]))
    assert gradient.tolist() == [0.0, 1.0]
    assert not hessian.any()


def closure_over(scale: float, table: np.ndarray) -> Callable:
    def f(x):
        def inner(t):
            return t * scale
        total = 0.0
        for i, xi in enumerate(x):
            total += inner(xi) ** table[i]
        return total
    return f


def test_closures_are_read():
    f = native(closure_over(2.0, np.array([1, 2, 3])))
    assert_close(f(X3), np.diag([0.0, 8.0, 6 * 8 * 2.5]))


def lists(x):
    y = [0.0] * 3
    for i in range(3):
        y[i] = x[i] ** 2
    z, squares = [1.0, 2.0], []
    z.append(x[0])
    for xi in x:
        squares.append(xi * xi)
    w = np.array([1.0, 2.0])
    w[0] = x[1]
    return y[0] * y[1] * z[2] + w[0] * w[1] * z[0] + sum(squares) * squares[0] + sum([xi ** 3 for xi in x])


def movements(x):
    edges = [(0, 1), (1, 2)]
    total = x.reshape(3, 1).T[0, 1] * x.ravel()[0] + np.sum(x[::2]) ** 2 + np.full(2, x[0]).sum() * x.flatten()[1]
    for i, j in edges:
        total += (x[i] - x[j]) ** 4
    return total + np.sum(x[x > 1.0] ** 2) + (np.concatenate((x[1:], x * x)) ** 2).sum() + np.sort(-x)[0] ** 3


def optional(x):
    best = None
    for xi in x:
        if best is None or xi > best:
            best = xi
    a, (b, c) = x[0], (x[1], x[2])
    a += b
    return best ** 2 * a * b * c if not (a < 0 or b < 0) else -a


def generators(x):
    c = 2.0

    def inner(items):
        return sum(a * a * c for a in items)

    total = inner(x) + sum(c * np.exp(-xi) ** k for k, xi in enumerate(x, start=1)) + max(xi * x[0] for xi in x)
    pairs = sum(x[j] * x[j + 1] for i in range(2) for j in range(i, 2) if i != j + 1)
    return total * pairs if any(xi > 2 for xi in x) and all(xi > 0 for xi in x) else -total


@pytest.mark.parametrize("f", [lists, movements, optional, generators])
def test_idioms_agree_with_traced_ones(f: Callable):
    assert_close(native(f)(X3), hessian_jit(f, mode="autograd")(X3), 1e-12)


def test_ties_share_the_derivative():
    x = np.array([1.0, 1.0, 0.0])
    for f in (np.max, lambda x: np.maximum(x[0], x[1])):
        assert native(f).grad(x).tolist() == [0.5, 0.5, 0.0]
    assert native(lambda x: max(x[0], x[1])).grad(x).tolist() == [1.0, 0.0, 0.0]


# -- Python's meaning ----------------------------------------------------------------------------------------------


def never_assigned(x):
    for _ in range(int(x[0])):
        y = x[1]
    return y


@pytest.mark.parametrize(("f", "error"), [
    (lambda x: x[3], IndexError), (lambda x: x[0] / (len(x) - 3) + 1 // (len(x) - 3), ZeroDivisionError),
    (lambda x: failing(x[0]), ValueError), (never_assigned, UnboundLocalError),
    (lambda x: overflowing(3037000500) * x[0], UnsupportedOperation),
    (lambda x: int(x[0] * 1e30) * x[1], UnsupportedOperation), (lambda x: int(x[0] / 0.0) * x[1], OverflowError),
], ids=["bounds", "integer division", "raised", "no value", "large integers", "large int()", "infinite int()"])
def test_errors_at_run_time(f: Callable, error: type):
    with pytest.raises(error):
        native(f)(X3)


def failing(t):
    if t > 0:
        raise ValueError("the argument is positive")
    return t


def overflowing(k):
    for _ in range(3):
        k = k * k
    return k % 1000


def test_negative_indices_and_integers_of_python():
    f = native(lambda x: x[-1] ** 2 * (-7 // 2) + x[0] * (-7 % 3))
    assert_close(f(X3), np.diag([0.0, 0.0, -8.0]))


# -- refusals ------------------------------------------------------------------------------------------------------


def writes(x):
    x[0] = 1.0
    return x[0]


def next_of(x):
    def squares():
        for xi in x:
            yield xi * xi

    return sum(squares())


def caught(x):
    try:
        return math.log(x[0] - 1)
    except Exception:
        return x[0]


def by_keyword(x):
    def term(v, power=2, shift=1.0):
        return (v - shift) ** power

    return term(x[0], shift=x[1])


def opens(x):
    with open("file"):
        return x[0]


@pytest.mark.parametrize(("f", "words"), [
    (lambda x: np.fft.fft(x)[0], "fft"), (next_of, "yield"), (opens, "with"), (caught, "try"),
    (by_keyword, "keyword"), (writes, "setitem"),
    (lambda x: x[0] * np.random.rand(), "random"),
    (lambda x: np.linalg.eigvals(np.outer(x, x))[0], "eigvals"), (lambda x: x[0] ** 2 + undefined, "undefined"),  # noqa: F821
], ids=["fft", "generator", "with", "try", "keyword", "writes", "random", "eigvals", "undefined"])
def test_what_numba_cannot_compile_is_refused(f: Callable, words: str):
    with pytest.raises(UnsupportedOperation, match='use mode="auto"') as refusal:
        native(f)(X3)
    assert words in str(refusal.value)
    assert "test_native.py:" in str(refusal.value)


def test_values_other_than_those_of_python_are_refused(monkeypatch: pytest.MonkeyPatch):
    from symhess.native import sweeps

    right = sweeps.hessian_of
    monkeypatch.setattr(sweeps, "hessian_of", lambda *args: (right(*args)[0] + 1e-3, *right(*args)[1:]))
    with pytest.raises(UnsupportedOperation, match="where Python gives"):
        native(lambda x: x[0] * x[1])(X3)


def test_other_refusals():
    with pytest.raises(NonScalarOutput, match="2 values"):
        native(lambda x: (x[0], x[1]))(X3)
    with pytest.raises(NonScalarOutput, match="array of 1 dim"):
        native(lambda x: x * 2)(X3)
    with pytest.raises(NonScalarOutput, match="int64"):
        native(lambda x: len(x))(X3)
    with pytest.raises(UnsupportedOperation, match="dict"):
        native(lambda x, d: x[0] * d["a"])(X3, {"a": 1.0})
    with pytest.raises(UnsupportedOperation, match="no graph"):
        native(robust(np)).graph(X3)
    with pytest.raises(BudgetExceeded):
        native(coupled(np), memory_budget=1000)(np.ones(50))


# -- choice --------------------------------------------------------------------------------------------------------


def steps(x):
    y, count = x[0], 0
    while y < 100 * x[1]:
        y = 1.01 * y + x[2]
        count += 1
    return y * y * x[1]


def test_auto_turns_native_where_paths_do_not_settle():
    f, reference = hessian_jit(steps), hessian_jit(steps, mode="autograd")
    points = [X3 + [0, 5.0 * k, 0] for k in range(7)]
    assert "mode: native" not in f.explain(points[0])
    for x in points:
        assert_close(f(x), reference(x), 1e-12)
    text = f.explain(points[0])
    assert "mode: native" in text
    assert "control flow took 4 paths" in text
    assert "compiled in hessian kernel" in text
    assert len(f.graph(points[0]).inputs) == 1


def test_auto_stays_where_paths_settle():
    f = hessian_jit(robust(np))
    signs = [X3, -X3, X3 - 1, X3 * 0.2]
    for x in signs * 5:
        assert_close(f(x), exact(robust, x)[2])
    assert "mode: native" not in f.explain(X3)


def test_auto_goes_on_tracing_what_numba_cannot_compile():
    f = hessian_jit(lambda x: steps(x) + len(str(type(x))) * 0)
    points = [X3 + [0, 5.0 * k, 0] for k in range(7)]
    for x in points:
        assert_close(f(x), hessian_jit(steps, mode="autograd")(x), 1e-12)
    assert "native mode is not possible" in f.explain(points[0])


def test_auto_computes_large_integers_in_python():
    def f(x):
        k = 3
        while k < 10 * x[0] + 1e20 * (x[1] > 5):
            k = k * 3
        return x[0] ** 2 * (k % 7)

    compiled, points = hessian_jit(f), [np.array([10.0 ** k, 1.0]) for k in range(7)]
    for x in points:
        compiled(x)
    assert "mode: native" in compiled.explain(points[0])
    large = np.array([1.0, 6.0])
    assert compiled(large)[0, 0] == 2 * (3**42 % 7)


# -- the object ----------------------------------------------------------------------------------------------------


module_level = native(steps)


def test_pickled_and_called_from_threads():
    f = pickle.loads(pickle.dumps(native(steps)))
    expected, found = module_level(X3), []
    threads = [threading.Thread(target=lambda: found.append(f(X3))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(np.array_equal(h, expected) for h in found)
    assert len(found) == 4
