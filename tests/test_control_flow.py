"""Control flow that depends on values: exact for the path taken, interpreted or compiled, alone or in many threads."""

import importlib
import math
import threading
import warnings

import control_flow_cases
import numpy as np
import pytest
from control_flow_cases import CASES
from oracles import assert_close
from taylor import namespace, taylor

from symhess import hessian_jit
from symhess.errors import ConcretizationError, ShapeMismatch

#: cases that are also compiled: a few of each kind
COMPILED = ("if_elif_else", "newton_square_root", "adaptive_runge_kutta", "sort", "math_domain",
            "index_by_int", "integer_on_a_branch", "boolean_mask")


class ExactMath:
    """`math` on Taylor arithmetic, raising where Python does."""

    def __getattr__(self, name):
        if name in ("floor", "ceil", "factorial"):
            return getattr(math, name)

        def run(x):
            getattr(math, name)(x.v)  # raises
            return getattr(namespace(), name)(x)

        return run


def exact_cholesky(A):
    np.linalg.cholesky(np.array([[getattr(a, "v", a) for a in row] for row in A], float))
    return namespace().linalg.cholesky(A)


def exact_solve(A, b):
    np.linalg.solve(np.array([[getattr(a, "v", a) for a in row] for row in A], float), np.zeros(len(b)))
    return namespace().linalg.solve(A, b)


class ExactLinalg:
    """`np.linalg` on Taylor arithmetic, raising where NumPy does."""

    LinAlgError = np.linalg.LinAlgError
    cholesky, solve = staticmethod(exact_cholesky), staticmethod(exact_solve)


class ExactNumPy:
    linalg = ExactLinalg

    def __getattr__(self, name):
        return getattr(namespace(), name)


def by_taylor():
    """The cases, their libraries replaced by ones that compute with second-order Taylor arithmetic."""
    spec = importlib.util.find_spec("control_flow_cases")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(np=ExactNumPy(), math=ExactMath(), float=lambda v: float(v) if isinstance(v, str) else v)
    return module.CASES


EXACT = by_taylor()


def reference(name, x):
    """Value, gradient and Hessian of the path that x takes."""
    result = []

    def run(v):
        result.append(EXACT[name].fn(v))
        found = result[-1].item() if isinstance(result[-1], np.ndarray) else result[-1]
        return found if hasattr(found, "g") else 0.0 * v[0] + found

    return taylor(run, (x,), [x], lambda args, inputs: tuple(inputs))


def check(f, name, x):
    value, gradient, hessian = reference(name, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        np.testing.assert_allclose(float(CASES[name].fn(x.copy())), value, rtol=1e-12)
        got = f.value_grad_hessian(x)
    np.testing.assert_allclose(got[0], value, rtol=1e-11)
    assert_close(got[1], gradient, 1e-10)
    assert_close(got[2], hessian, 1e-10)


@pytest.mark.parametrize("name", CASES)
def test_paths(name):
    f = hessian_jit(CASES[name].fn, mode="autograd")
    for _ in range(2):  # the second time every path is there already
        for x in CASES[name].points:
            check(f, name, x)
    paths = [p for found in f._paths.values() for p in found]
    assert 1 <= len(paths) <= len(CASES[name].points)


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_paths(name):
    f = hessian_jit(CASES[name].fn)
    for _ in range(5):  # interpreted, then compiled; guards are compiled from the third run on
        for x in CASES[name].points:
            check(f, name, x)


def test_the_second_run_of_a_path_is_compiled():
    f = hessian_jit(CASES["if_elif_else"].fn)
    x = np.array([1.2, 0.5])
    f(x)
    (path,) = f._paths[next(iter(f._paths))]
    assert path.runner("hessian").plan is None
    f(x * 1.01)
    assert path.runner("hessian").plan is not None


def test_threads_on_different_paths():
    name = "adaptive_simpson"
    f = hessian_jit(CASES[name].fn, mode="autograd")
    points = [*CASES[name].points, np.array([0.1, 0.2])]
    expected = [reference(name, x)[2] for x in points]
    failures, barrier = [], threading.Barrier(6)

    def work(k):
        barrier.wait()
        for n in range(4):
            j = (k + n) % len(points)
            try:
                assert_close(f(points[j]), expected[j], 1e-10)
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert sum(len(p) for p in f._paths.values()) == len(points)


@pytest.mark.parametrize("name", ["if_elif_else", "trimmed_mean", "recursion"])
def test_every_product_follows_the_path(name):
    f = hessian_jit(CASES[name].fn, mode="autograd")
    points = CASES[name].points
    for x in points:
        value, gradient, hessian = reference(name, x)
        v = np.cos(np.arange(len(x)))
        np.testing.assert_allclose(f.value(x), value, rtol=1e-11)
        assert_close(f.grad(x), gradient)
        assert_close(f.hvp(x, v), hessian @ v)
        assert_close(f.diagonal(x), np.diag(hessian))
        assert_close(f.sparse(x).toarray(), hessian)
        assert_close(f.flat(x), hessian)
    assert_close(f.batch(np.stack(points)), np.stack([reference(name, x)[2] for x in points]))


def test_threads_compile_different_paths():
    name = "if_elif_else"
    f, points = hessian_jit(CASES[name].fn), CASES[name].points
    expected, failures = [reference(name, x)[2] for x in points], []

    def work(k):
        for n in range(6):
            j = (k + n) % len(points)
            error = np.max(np.abs(f(points[j]) - expected[j]))
            if not error < 1e-12:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_more_paths_than_are_kept():
    f = hessian_jit(lambda x: x[0] ** 2 * int(x[0]), mode="autograd")
    for k in (*range(1, 80), 1, 79, 40):
        assert f(np.array([k + 0.5])) == 2.0 * k
    (paths,) = f._paths.values()
    assert len(paths) == 64


def test_nan_takes_the_branch_that_python_takes():
    def f(x):
        return x[1] ** 2 if x[0] > 0 else x[1] ** 3

    h = hessian_jit(f, mode="autograd")
    for first in (1.0, np.nan, -1.0, np.nan, 1.0):
        x = np.array([first, 2.0])
        assert h.value(x) == f(x) and h(x)[1, 1] == (2.0 if first > 0 else 12.0)


def test_ties_are_a_path_of_their_own():
    f = hessian_jit(lambda x: np.sort(x)[0] ** 2 + 3 * np.sort(x)[1] ** 2, mode="autograd")
    for x in ([1.0, 2.0], [1.0, 1.0], [2.0, 1.0], [1.0, 1.0], [1.0, 2.0]):
        order = np.argsort(x, kind="stable")
        assert_close(f(np.array(x)), np.diag(np.array([2.0, 6.0])[np.argsort(order)]))


def test_symbolic_mode_names_the_line():
    f = hessian_jit(control_flow_cases.newton_square_root, mode="symbolic")
    with pytest.raises(ConcretizationError, match=r"control_flow_cases\.py:\d+ in newton_square_root"):
        f(np.array([2.0, 0.5]))


def test_domain_errors_outside_of_try_are_nan():
    f = hessian_jit(lambda x: math.log(x[0]), mode="autograd")
    assert np.isnan(f.value(np.array([-1.0])))
    assert not f._bound_path((np.array([-1.0]),), {})[1].guards


def test_explain_shows_guards_lines_runs_and_cost():
    f = hessian_jit(CASES["newton_square_root"].fn, mode="autograd")
    for x in (*CASES["newton_square_root"].points, CASES["newton_square_root"].points[0]):
        f(x)
    text = f.explain(CASES["newton_square_root"].points[0])
    assert "guards: this path holds where these" in text and "(taken 3 times)" in text
    assert "while abs(r * r - a) > 1e-10 * a" in text and "control_flow_cases.py" in text
    x, r, steps = CASES["newton_square_root"].points[0], 1.5, 0
    while abs(r * r - x[0]) > 1e-10 * x[0]:
        r, steps = 0.5 * (r + x[0] / r), steps + 1
    (repeated,) = [line for line in text.splitlines() if "a branch (if, while, and, or) is True at" in line][:1]
    assert repeated.endswith(f", {steps} times")
    (cost,) = [line for line in text.splitlines() if "checked before every call" in line]
    assert int(cost.split()[4]) > 20 and "interpreted" in cost
    assert "paths: 3 kept, at most 64" in text and text.count(": taken 1 times, leaves it: a branch") == 2
    assert "guards" not in hessian_jit(lambda x: x[0] ** 2, mode="autograd").explain(np.ones(1))


def test_explain_says_when_guards_are_compiled():
    f = hessian_jit(CASES["index_by_int"].fn)
    x = CASES["index_by_int"].points[0]
    for _ in range(5):
        f.value(x)
    assert any("checked before every call" in s and s.endswith("compiled") for s in f.explain(x).splitlines())


@pytest.mark.parametrize("why", ["a branch", "int()", "an order", "the place of an extreme", "the text"])
def test_guards_say_what_they_are_for(why):
    def f(x):
        y = x[np.argmax(x)] * len(f"{x[0]:.2f}") * np.sort(x)[0]
        return y * [1.0, 2.0, 3.0][int(x[1])] if x[0] > 0 else y

    assert f"  {why}" in hessian_jit(f, mode="autograd").explain(np.array([0.5, 1.5]))


def test_count():
    assert len(CASES) >= 50


@pytest.mark.parametrize("mode", ["auto", "autograd"])
def test_sparse_batch_with_other_entries_on_every_path(mode):
    """Every matrix of the list has the entries of its own row's path in their places."""
    def f(x):
        if x[0] > 0:
            return x[0] ** 2
        return 3 * x[1] ** 2 * x[2] if x[1] > 0 else x[2] ** 3

    rows = np.array([[1.0, 1.0, 2.0], [-1.0, 2.0, 3.0], [-1.0, -1.0, 2.0]])
    expected = np.zeros((3, 3, 3))
    expected[0, 0, 0] = 2
    expected[1, 1:, 1:] = [[18, 12], [12, 0]]
    expected[2, 2, 2] = 12
    compiled = hessian_jit(f, mode=mode)
    made = compiled.batch(rows, product="sparse")
    assert_close(np.stack([m.toarray() for m in made]), expected)
    again = compiled.batch(rows[::-1].copy(), product="sparse")
    assert_close(np.stack([m.toarray() for m in again]), expected[::-1])


def test_sparse_batch_that_turns_to_native_code():
    """Rows before and after the change to native code are in one batch, whose structures differ."""
    def f(x):
        steps, a = 0, x[0]
        while a > 1:
            a, steps = a / 2, steps + 1
        return a * x[1] ** 2 + steps * x[2] ** 2

    rows = np.stack([[1.5 * 2.0**k, 2.0, 1.0] for k in range(9)])
    made = hessian_jit(f).batch(rows, product="sparse")
    slopes = np.array([0.5 ** (k + 1) for k in range(9)])
    expected = np.zeros((9, 3, 3))
    expected[:, 0, 1] = expected[:, 1, 0] = 4 * slopes
    expected[:, 1, 1], expected[:, 2, 2] = 1.5, 2 * np.arange(1, 10)
    assert_close(np.stack([m.toarray() for m in made]), expected)


def test_values_of_a_batch_in_a_dtype_that_holds_them_all():
    """A path that returns an integer does not truncate the rows of the others; other shapes are refused."""
    f = hessian_jit(lambda x: x[0] * 1.5 if x[0] > 0 else 3)
    assert f.batch(np.array([[-1.0], [1.0]]), product="value").tolist() == [3.0, 1.5]
    g = hessian_jit(lambda x: x * 2 if x[0] > 0 else x[0])
    with pytest.raises(ShapeMismatch, match="row 1 takes a path"):
        g.batch(np.array([[-1.0, 1.0], [1.0, 1.0]]), product="value")


@pytest.mark.parametrize("spec", ["", ".17g", " .17G", ".16e", "+.20e"])
def test_text_of_all_digits_keeps_the_derivative(spec):
    """A number that went through text without loss is itself; rounded text is a constant."""
    f = hessian_jit(lambda x: float(format(x[0], spec)) ** 3 * x[1] + float(f"{x[1]:.2f}") ** 2, mode="autograd")
    assert_close(f(np.array([0.7, 2.0])), [[6 * 0.7 * 2, 3 * 0.49], [3 * 0.49, 0]])
