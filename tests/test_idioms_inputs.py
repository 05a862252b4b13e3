"""Every kind of array as input, captured, or refused; tracing in several threads, and what other threads see of it."""

import builtins
import fractions
import itertools
import math
import threading

import numpy as np
import pytest
from oracles import assert_close

from symhess import hessian_jit
from symhess.errors import DTypeMismatch, SymhessError


def cubes(x):
    """H = diag(6 x) + 2."""
    out = np.empty_like(x)
    out[...] = x
    return np.sum(out**3) + np.sum(x) ** 2


def expected(x):
    flat = np.asarray(x, float).ravel()
    return (np.diag(6 * flat) + 2).reshape(np.shape(x) * 2)


# -- layouts, dtypes, shapes ---------------------------------------------------------------------------------------

SHAPES = [(), (1,), (3,), (0,), (1, 1), (2, 3), (3, 1, 2), (0, 3), (2, 0)]
DTYPES = ["f8", "f4", "f2", "i8", "i4", "u1", "?", ">f8", "longdouble"]


class Subclass(np.ndarray):
    """An array type of the user's."""


def read_only(a):
    a = np.array(a)
    a.flags.writeable = False
    return a


def backwards(a):
    """The same numbers, the last one first in memory."""
    ends = (slice(None, None, -1),) * a.ndim
    return a[ends].copy()[ends]


def every_other(a):
    """The same numbers, not next to each other in memory."""
    if not a.ndim:
        return a
    wide = np.zeros((2 * a.shape[0], *a.shape[1:]), a.dtype)
    wide[::2] = a
    return wide[::2]


LAYOUTS = {
    "C": np.array, "F": lambda a: np.array(a, order="F"), "reversed": backwards,
    "strided": every_other, "transposed": lambda a: np.array(a.T, order="C").T, "read-only": read_only,
    "subclass": lambda a: a.view(Subclass), "unaligned": lambda a: np.frombuffer(
        b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
}


def sample(shape, dtype):
    a = np.asarray(0.25 + np.arange(math.prod(shape)).reshape(shape) % 5)
    return np.asarray(np.floor(a) if np.dtype(dtype).kind in "iub" else a).astype(dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    f = hessian_jit(cubes, mode="autograd")
    for shape, dtype in itertools.product(SHAPES, DTYPES):
        base = sample(shape, dtype)
        x = LAYOUTS[layout](base)
        before = x.copy()
        value, gradient, hess = f.value_grad_hessian(x)
        assert gradient.shape == shape and hess.shape == shape * 2
        narrow = np.dtype(dtype) in (np.float32, np.float16)
        assert hess.dtype == gradient.dtype == (np.float32 if narrow else np.float64)
        np.testing.assert_allclose(float(value), float(cubes(base.astype(float))), rtol=1e-3 if dtype == "f2" else 1e-6)
        np.testing.assert_allclose(hess, expected(base), rtol=1e-3 if narrow else 1e-14)
        np.testing.assert_array_equal(x, before)


def test_memory_mapped(tmp_path):
    mapped = np.memmap(tmp_path / "x", np.float64, "w+", shape=(4,))
    mapped[:] = [1, 2, 3, 4]
    assert_close(hessian_jit(cubes, mode="autograd")(mapped), expected(mapped))
    assert_close(hessian_jit(lambda x: np.sum(mapped * x**2), mode="autograd")(np.ones(4)), 2 * np.diag(mapped))


@pytest.mark.parametrize("number", [2, 2.0, np.float64(2), np.float32(2), np.int8(2), True, fractions.Fraction(2)])
def test_numbers(number):
    if isinstance(number, fractions.Fraction):
        with pytest.raises(DTypeMismatch, match="object"):
            hessian_jit(lambda x: x**3)(number)
        return
    h = hessian_jit(lambda x: x**3, mode="autograd")(number)
    assert np.ndim(h) == 0 and h == 6 * float(number)


def test_data_arguments_of_every_layout():
    f = hessian_jit(lambda x, w: np.sum(w * x**2) if w.ndim else w * np.sum(x**2), mode="autograd")
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    for w in (np.ones((2, 2)), np.asfortranarray(np.eye(2)), np.arange(8.0).reshape(2, 4)[:, ::2], 3, 2.5, np.array(2),
              np.ones((2, 2), bool), np.ones(2, np.int32), read_only(np.ones((2, 2)))):
        assert_close(f(x, w), np.diag(np.broadcast_to(2.0 * w, (2, 2)).ravel()).reshape(2, 2, 2, 2))


# -- what is refused -----------------------------------------------------------------------------------------------

REFUSED = {
    "masked": np.ma.array([1.0, 2.0], mask=[0, 1]), "structured": np.zeros(2, [("a", float)]),
    "record": np.rec.array([(1.0,)], dtype=[("a", float)]), "object": np.array([1.0, 2.0], object),
    "None inside": np.array([1.0, None]), "text": np.array(["1.0"]), "bytes": np.array([b"1"]),
    "dates": np.array(["2020-01-01"], "M8[D]"), "complex": np.ones(2, complex), "matrix": np.asmatrix([[1.0, 2.0]]),
    "None": None, "str": "1.0",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_inputs(kind):
    with pytest.raises(DTypeMismatch, match="pass"):
        hessian_jit(cubes)(REFUSED[kind])


@pytest.mark.parametrize("kind", ["masked", "structured", "object", "None inside", "text", "dates"])
def test_refused_constants(kind):
    constant = REFUSED[kind]
    with pytest.raises(SymhessError, match=r"test_idioms_inputs\.py:\d+ in <lambda>"):
        hessian_jit(lambda x: np.sum(constant * x), mode="autograd")(np.ones(len(constant)))


@pytest.mark.parametrize("make", [np.asfortranarray, every_other, read_only, lambda a: a.view(Subclass),
                                  lambda a: a.astype(">f8"), lambda a: a.astype(np.float16),
                                  lambda a: a.astype(np.uint8)])
def test_constants_of_every_layout(make):
    w = make(np.array([[1.0, 2.0], [3.0, 4.0]]))
    f = hessian_jit(lambda x: np.sum(w * x**2) + np.sum((w @ x) ** 2) + w[0, 1] * x[0, 0] ** 2, mode="autograd")
    dense = np.asarray(w, float)
    H = np.kron(2 * dense.T @ dense, np.eye(2)) + np.diag(2 * dense.ravel())
    H[0, 0] += 2 * dense[0, 1]
    assert_close(f(np.ones((2, 2))).reshape(4, 4), H)


# -- threads -------------------------------------------------------------------------------------------------------


def in_threads(count, work):
    """Run work(k) in `count` threads that start together; raise what one of them raised."""
    failures, barrier = [], threading.Barrier(count)

    def run(k):
        barrier.wait()
        try:
            work(k)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


def test_captured_arrays_change_between_concurrent_traces():
    """Every trace reads its array once, when it runs: as it is then, whole."""
    weights = [np.full(100, float(k)) for k in range(4)]

    def work(k):
        for n in range(5):
            weights[k][:] = 10 * k + n
            f = hessian_jit(lambda x: np.sum(weights[k] * x**2), mode="autograd")
            first = f.diagonal(np.ones(100))
            weights[k][:] = -1.0
            np.testing.assert_array_equal(first, np.full(100, 2.0 * (10 * k + n)))
            np.testing.assert_array_equal(f.diagonal(np.ones(100)), first)

    in_threads(4, work)


def test_an_array_that_changes_during_its_trace_is_read_as_it_is_at_each_use():
    w = np.ones(100)

    def f(x):
        first = np.sum(w * x**2)
        w[:] = 3.0
        return first + np.sum(w * x**3)

    np.testing.assert_array_equal(hessian_jit(f, mode="autograd").diagonal(np.ones(100)), np.full(100, 2.0 + 18.0))


def slow(x, started, proceed):
    """Traced while another thread looks around."""
    y = np.zeros(3)
    y[0] = x[0] ** 2
    started.set()
    assert proceed.wait(10)
    y[1] = math.sin(x[1]) * max(x[0], 0.1)
    return np.sum(y) * float(x[2])


def test_other_threads_see_nothing_of_a_trace():
    started, proceed, seen = threading.Event(), threading.Event(), {}

    def traces():
        f = hessian_jit(lambda x: slow(x, started, proceed), mode="autograd")
        seen["hessian"] = f(np.array([0.5, 0.2, 2.0]))

    def looks():
        assert started.wait(10)
        try:
            made = np.zeros(3)
            made[0] = 1.0
            seen["types"] = [type(made), type(np.array([1.0])), type(math.sin(0.5)), type(max(1.0, 2.0)),
                             type(float("2"))]
            seen["same"] = [slow.__globals__["np"] is np, np.zeros.__module__, isinstance(1.0, float),
                            math.sin is builtins.__import__("math").sin, float is builtins.float]
            proceed.set()
            seen["value"] = slow(np.array([0.5, 0.2, 2.0]), threading.Event(), proceed)
        finally:
            proceed.set()

    in_threads(2, lambda k: (traces, looks)[k]())
    assert seen["types"] == [np.ndarray, np.ndarray, float, float, float]
    assert seen["same"] == [True, "numpy", True, True, True]
    np.testing.assert_allclose(seen["value"], 2 * (0.25 + math.sin(0.2) * 0.5))
    assert seen["hessian"].shape == (3, 3) and seen["hessian"][0, 0] == 4.0


def test_a_trace_in_one_thread_and_plain_calls_in_others():
    f = hessian_jit(cubes, mode="autograd")

    def work(k):
        for n in range(20):
            x = np.arange(1.0, 3.0 + (k + n) % 3)
            if k % 2:
                assert type(cubes(x)) is np.float64
            else:
                assert_close(f(x), expected(x))

    in_threads(4, work)
