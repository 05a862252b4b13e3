"""Calls that machine code answers: no Python frame, nothing leaked, and for all other calls what Python would do."""

import copy
import functools
import gc
import inspect
import pickle
import sys
import threading
import traceback
import weakref

import numpy as np
import pytest

from symhess import HessianFunction, grad, hessian_jit, jacfwd, jvp
from symhess.api import answers, frameless
from symhess.backends import c_functions, python_answer
from symhess.backends.python_answer import Buffer, Call, Fixed, Group, Number, Taken
from symhess.backends.python_entry import Array
from symhess.errors import DTypeMismatch, ShapeMismatch

X, D = np.array([0.3, -1.2, 0.7]), np.array([1.0, 2.0, 3.0])


def cubes(x, d):
    return np.sum(d * x**3) * x[0]


def exact(x, d):
    H = np.diag(6 * d * x * x[0])
    H[0] += 3 * d * x**2
    H[:, 0] += 3 * d * x**2
    return H


def gradient(x, d):
    return 3 * d * x**2 * x[0] + np.eye(3)[0] * np.sum(d * x**3)


def frames(call):
    """The Python functions that a call enters."""
    entered = []
    sys.setprofile(lambda frame, event, _: entered.append(frame.f_code.co_name) if event == "call" else None)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entered[1:]  # `call` itself


def known(call, times=2):
    """A call that machine code answers."""
    for _ in range(times):
        call()
    return call


def newton_root(x):
    a = 1.0 + np.sum(x**2)
    y = a
    while abs(y * y - a) > 1e-10 * a:
        y = 0.5 * (y + a / y)
    return y


def pairs(x, i, j):
    return np.sum((x[i] - x[j]) ** 4)


I, J = np.array([0, 1]), np.array([1, 2])
F = hessian_jit(cubes)
BOTH = hessian_jit(cubes, argnums=(0, 1))
SCALED = hessian_jit(lambda x, a: a * np.sum(x**3))
STATIC = hessian_jit(pairs, static_argnums=(1, 2))
ROOT = hessian_jit(newton_root)
TREE = hessian_jit(lambda p: np.sum(p["w"] * p["layers"][0] ** 2) + p["layers"][1] * np.sum(p["w"] ** 3))
P = {"layers": (X, 2.0), "w": D}
ROWS = hessian_jit(lambda x: np.sum(x[0] * x[1] ** 2))
JACOBIAN, GRADIENT = jacfwd(lambda x: x * x[0]), grad(lambda x: np.sum(x**3))
PUSH = jvp(lambda x, y: np.sum(x**3 * y))
H, POINTS = np.empty((3, 3)), np.arange(12.0).reshape(4, 3)
CALLS = {
    "hessian": lambda: F(X, D), "out": lambda: F(X, D, out=H), "no out": lambda: F(X, D, out=None),
    "star": lambda: F(*(X, D), out=H), "flat": lambda: F.flat(X, D), "value": lambda: F.value(X, D),
    "grad": lambda: F.grad(X, D), "hvp": lambda: F.hvp(X, D, X), "diagonal": lambda: F.diagonal(X, D),
    "value and grad": lambda: F.value_and_grad(X, D), "all three": lambda: F.value_grad_hessian(X, D),
    "two inputs": lambda: BOTH(X, D), "two gradients": lambda: BOTH.grad(X, D), "a float": lambda: SCALED(X, 2.5),
    "static arrays": lambda: STATIC(X, I, J), "guards": lambda: ROOT(X),
    "guards and a vector": lambda: ROOT.hvp(X, D), "an integer": lambda: SCALED(X, 2),
    "a scalar": lambda: SCALED(X, np.float64(2.5)), "a keyword": lambda: F(X, d=D), "a float by name":
    lambda: SCALED(X, a=2.5), "keyword and out": lambda: F(X, d=D, out=H), "hvp by name": lambda: F.hvp(X, X, d=D),
    "static by name": lambda: STATIC(X, j=J, i=I), "dict": lambda: TREE(P), "gradient in a dict": lambda: TREE.grad(P),
    "value of a dict": lambda: TREE.value(P), "list": lambda: ROWS([X, D]), "jacfwd": lambda: JACOBIAN(X),
    "grad transform": lambda: GRADIENT(X), "jvp transform": lambda: PUSH((X, D), (D, X)),
    "batch": lambda: F.batch(POINTS, D), "batch of values": lambda: F.batch(POINTS, D, product="value"),
    "batch of products": lambda: F.batch(POINTS, D, POINTS, product="hvp"),
    "batch of all": lambda: BOTH.batch(POINTS, POINTS, product="value_grad_hessian"),
}


@pytest.mark.parametrize("name", CALLS)
def test_known_calls_have_no_frame(name):
    assert frames(known(CALLS[name], 8)) == []


def test_the_count_of_frames_sees_them():
    assert "_hessian" in frames(lambda: F(np.array([1, 2, 3]), D))


def test_sparse_results_take_one_function():
    f = hessian_jit(cubes)
    assert frames(known(lambda: f.sparse(X, D)))[0] == "finish"
    np.testing.assert_allclose(f.sparse(X, D).toarray(), exact(X, D), rtol=1e-14)


@pytest.mark.parametrize("product, options", [("sparse", {}), ("__call__", {"sparse": True})])
def test_sparse_results_that_are_given_take_none(product, options):
    f = hessian_jit(cubes, **options)
    call = f if product == "__call__" else f.sparse
    made = call(X, D)
    assert frames(known(lambda: call(X, D, out=made))) == []
    assert call(X + 1, D, out=made) is made
    np.testing.assert_allclose(made.toarray(), exact(X + 1, D), rtol=1e-14)


@pytest.mark.parametrize("n", range(3))
def test_results_of_nested_arguments(n):
    x, d, a = X + n, D - n, 2 + n
    close = functools.partial(np.testing.assert_allclose, rtol=1e-13, atol=1e-13)
    for _ in range(3):
        p = {"w": d, "layers": (x, float(a))}
        made = TREE(p)
        assert list(made) == list(made["w"]) and type(made["w"]["layers"]) is tuple
        close(made["w"]["w"], np.diag(6 * a * d))
        close(made["w"]["layers"][0], np.diag(2 * x))
        close(made["layers"][1]["w"], 3 * d**2)
        close(made["layers"][1]["layers"][1], 0)
        close(TREE.grad(p)["layers"][1], np.sum(d**3))
        assert np.isclose(TREE.value(p), np.sum(d * x**2) + a * np.sum(d**3), rtol=1e-14)
        rows = ROWS([x, d])
        assert type(rows) is type(rows[0]) is list
        close(rows[1][0], np.diag(2 * d))
        close(SCALED(x, a), np.diag(6 * a * x))
        close(SCALED(x, np.int64(a)), np.diag(6 * a * x))
        close(SCALED(x, np.float32(a)), np.diag(6 * a * x))
        close(F(x, d=d), exact(x, d))
        close(F.hvp(x, x, d=d), exact(x, d) @ x)
        close(STATIC(x, j=J, i=I), STATIC(x, I, J))
        close(JACOBIAN(x), np.eye(3) * x[0] + np.outer(x, [1, 0, 0]))
        value, moved = PUSH((x, d), (d, x))
        close([value, moved], [np.sum(x**3 * d), np.sum(3 * x**2 * d * d + x**4)])


def test_other_nesting_has_what_python_says():
    f = hessian_jit(lambda p: np.sum(p["a"] ** 3) * p["b"][0])
    known(lambda: f({"a": X, "b": [2.0]}), 4)
    others = [{"a": X}, {"a": X, "b": [2.0], "c": X}, {"a": X, "b": (2.0,)}, {"a": X, "b": [2.0, 1.0]},
              {"a": X, "b": []}, {"a": X, "b": 2.0}, [X, 2.0], {"b": [2], "a": X}, {"a": X, "b": [True]},
              {"a": X, "c": [2.0]}, {}, None, {"a": X[:2], "b": [2.0]}, {"a": X, "b": [None]},
              {"a": "x", "b": [2.0]}, {"a": X, "b": [10**30]}]
    for p in others:
        expected = outcome(lambda p: [str(flat(hessian_jit(f.fn)(p)))], p)
        for _ in range(3):
            assert outcome(lambda p: [str(flat(f(p)))], p) == expected


def test_batches():
    points, out = POINTS - 3, np.empty((4, 3, 3))
    for _ in range(3):
        for made in (F.batch(points, D), F.batch(points, d=D), F.batch(points, D, product="hessian"),
                     F.batch(points, D, product="flat"), F.batch(points, D, out=out)):
            np.testing.assert_allclose(made, [exact(x, D) for x in points], rtol=1e-13)
        np.testing.assert_allclose(F.batch(points, D, product="value"), [cubes(x, D) for x in points], rtol=1e-13)
        np.testing.assert_allclose(F.batch(points, D, points, product="hvp"),
                                   [exact(x, D) @ x for x in points], rtol=1e-13)
        for S, x in zip(F.batch(points, D, product="sparse"), points, strict=True):
            np.testing.assert_allclose(S.toarray(), exact(x, D), rtol=1e-13)
        _, gradients = F.batch(points, D, product="value_and_grad")
        np.testing.assert_allclose(gradients, [gradient(x, D) for x in points], rtol=1e-13)
        (xx, _), (dx, dd) = BOTH.batch(points, points)
        np.testing.assert_allclose(xx, [exact(x, x) for x in points], rtol=1e-13)
        assert dd.shape == dx.shape == (4, 3, 3) and not dd.any()
        with pytest.raises(ValueError, match="no product"):
            F.batch(points, D, product="text")
        with pytest.raises(ShapeMismatch):
            F.batch(points[:0], D)
        assert F.batch(points[:2], D).shape == (2, 3, 3)


def flat(result):
    """Arrays of nested containers in the order of their keys."""
    if isinstance(result, dict | list | tuple):
        parts = [result[k] for k in sorted(result)] if isinstance(result, dict) else result
        return [x for part in parts for x in flat(part)]
    return [np.asarray(result).tolist()]


def test_lists_that_change_while_a_kernel_runs():
    """What a kernel without the interpreter's lock reads stays in memory."""
    n = 400
    f = hessian_jit(lambda p: np.sum(np.sin(p[0]) * p[1] ** 3))
    p, stop = [np.full(n, 0.5), np.full(n, 2.0)], threading.Event()
    expected = known(lambda: f(p), 3)()[0][0]
    assert frames(lambda: f(p)) == []

    def change():
        while not stop.is_set():
            p[0] = np.full(n, 0.5)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            np.testing.assert_array_equal(f(p)[0][0], expected)
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("n", range(3))
def test_results(n):
    x, d = X + n, D - n
    close = functools.partial(np.testing.assert_allclose, rtol=1e-13, atol=1e-13)
    H, g, v = exact(x, d), gradient(x, d), cubes(x, d)
    for _ in range(3):
        close(F(x, d), H)
        close(F.value(x, d), v)
        close(F.grad(x, d), g)
        close(F.hvp(x, d, d), H @ d)
        close(F.diagonal(x, d), H.diagonal())
        for made, expected in zip(F.value_grad_hessian(x, d), (v, g, H), strict=True):
            close(made, expected)
        (xx, xd), (dx, dd) = BOTH(x, d)
        close(xx, H)
        close(xd, dx.T)
        close(xd[0, 1], 3 * 0 + x[1] ** 3)
        close(dd, 0)
        close(BOTH.grad(x, d)[1], x**3 * x[0])
        close(SCALED(x, 2.5 + n), np.diag(6 * (2.5 + n) * x))
        a = 1 + x @ x
        root = np.eye(3) / a**0.5 - np.outer(x, x) / a**1.5
        np.testing.assert_allclose(ROOT(x), root, atol=1e-7)
        np.testing.assert_allclose(ROOT.hvp(x, d), root @ d, atol=1e-6)


def test_results_look_like_those_of_python():
    """Types, layout and ownership are those of the first call, which Python answers."""
    f, both = hessian_jit(cubes), hessian_jit(cubes, argnums=(0, 1))
    for call in (lambda: f(X, D), lambda: f.value(X, D), lambda: f.value_grad_hessian(X, D), lambda: both(X, D),
                 lambda: both.value_and_grad(X, D)):
        first = leaves(call())
        assert frames(known(call)) == []
        for a, b in zip(leaves(call()), first, strict=True):
            assert type(a) is type(b) and a.dtype is b.dtype and a.shape == b.shape
            np.testing.assert_array_equal(a, b)
            if isinstance(a, np.ndarray):
                assert a.flags.writeable and a.flags.aligned and a.strides == b.strides
                assert a.flags.c_contiguous == b.flags.c_contiguous
    blocks = both(X, D)
    assert blocks[1][0].base is blocks[0][0].base and blocks[0][0].base.flags.owndata
    again = both(X + 1, D, out=blocks)
    assert again is blocks
    np.testing.assert_allclose(blocks[0][0], exact(X + 1, D), rtol=1e-13)


def leaves(result):
    return [leaf for part in result for leaf in leaves(part)] if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (2, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_and_dtypes(shape, dtype):
    f = hessian_jit(lambda x: np.sum(x**3) + 0 * np.sum(x))
    x = (np.arange(np.prod(shape, dtype=int)) + 1).reshape(shape).astype(dtype)
    expected = np.diag(6 * x.ravel()).reshape(shape * 2)
    for _ in range(3):
        made = f(x)
        assert made.dtype == dtype and made.shape == shape * 2
        np.testing.assert_array_equal(made, expected)
        assert f.value(x).dtype == dtype and f.value(x) == np.sum(x**3)
        np.testing.assert_array_equal(f.grad(x), 3 * x**2)
    assert frames(lambda: f(x)) == frames(lambda: f.grad(x)) == []


WRONG = {
    "shape": X[:2], "rank": X[None], "float32": X.astype(np.float32), "integers": np.array([1, 2, 3]),
    "byte order": X.astype(">f8"), "strided": np.array([0.3, 0, -1.2, 0, 0.7])[::2], "list": X.tolist(),
    "masked": np.ma.array(X), "none": None, "text": "abc", "complex": X + 1j,
    "misaligned": np.frombuffer(b"x" + X.tobytes(), np.uint8)[1:].view(float), "memmap": X.view(np.memmap),
    "read-only": np.broadcast_to(0.5, (3,)), "not there": (), "object": object(),
}


def outcome(call, *args, **kwargs):
    """What comes out of a call, or which error."""
    try:
        return np.asarray(call(*args, **kwargs)).tolist()
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("name", WRONG)
def test_other_arguments_have_what_python_says(name):
    x = WRONG[name]
    args = x if isinstance(x, tuple) else (x,)
    fresh, f = hessian_jit(cubes), hessian_jit(cubes)
    known(lambda: f(X, D))
    known(lambda: f.value(X, D))
    for method in ("__call__", "value"):
        for given in ((*args, D), args, (*args, D, D)):
            expected = outcome(getattr(fresh, method), *given)
            for _ in range(2):
                assert outcome(getattr(f, method), *given) == expected
    np.testing.assert_allclose(f(X, D), exact(X, D), rtol=1e-14)


def test_keywords():
    f = hessian_jit(cubes)
    known(lambda: f(X, D))
    for made in (f(X, d=D), f(X, d=D, out=None), f(X, d=D), f(X, D)):
        np.testing.assert_allclose(made, exact(X, D), rtol=1e-14)
    with pytest.raises(TypeError, match="other"):
        f(X, D, other=1)
    with pytest.raises(TypeError):
        f(X, D, out=None, other=1)


def test_out():
    f = hessian_jit(cubes)
    out = np.full((3, 3), 7.0)
    known(lambda: f(X, D))
    assert f(X, D, out=out) is out
    np.testing.assert_allclose(out, exact(X, D), rtol=1e-14)
    frozen = np.zeros((3, 3))
    frozen.flags.writeable = False
    for bad in (np.empty((3, 2)), np.empty((3, 3), np.float32), np.empty(9), frozen, np.empty((3, 6))[:, ::2], [1], 3):
        before = np.array(bad)
        with pytest.raises(ShapeMismatch):
            f(X, D, out=bad)
        assert np.shape(before) == np.shape(bad)
    value = np.empty(())
    known(lambda: f.value(X, D))
    assert f.value(X, D, out=value) is value and np.isclose(value, cubes(X, D), rtol=1e-14)


def test_out_that_shares_memory_with_arguments():
    whole = np.arange(1.0, 10.0)
    f = hessian_jit(cubes)
    expected = known(lambda: f(whole[:3].copy(), whole[4:7].copy()))()
    out = whole.reshape(3, 3)
    assert f(whole[:3], whole[4:7], out=out) is out
    np.testing.assert_array_equal(out, expected)


def leaks(call, times, held):
    """True if references or blocks of memory come or go with calls, not once but each time that it is looked for."""
    def looks_so():
        gc.collect()
        counts, blocks = [sys.getrefcount(a) for a in held], sys.getallocatedblocks()
        for _ in range(times):
            call()
        gc.collect()
        # one for each call would be 20 times that
        return sys.getallocatedblocks() - blocks >= max(150, times // 20) or (
            np.abs(np.subtract([sys.getrefcount(a) for a in held], counts)).max() >= 20)
    return all(looks_so() for _ in range(3))


def test_nothing_is_leaked():
    calls = [*CALLS.values(), lambda: F(np.array([1, 2, 3]), D), lambda: outcome(F, X, D, out=3)]
    for call in calls:
        known(call, 8)
    held = [X, D, I, J, H, F, BOTH, None, np.dtype(float), np.ndarray, "out", 2.5]
    for call in calls:
        assert not leaks(call, 20_000 if call in CALLS.values() else 200, held)


def test_leaks_are_found():
    kept = []
    assert leaks(lambda: kept.append([1]), 200, [X]) and leaks(lambda: kept.append(X), 200, [X])
    assert leaks(kept.pop, 100, [X]) and not leaks(lambda: [1], 200, [X])


def test_functions_can_be_collected():
    f = hessian_jit(cubes)
    known(functools.partial(f, X, D))
    method, made = f.value, known(functools.partial(f.value, X, D))()
    watch, targets = weakref.ref(f), [weakref.ref(t) for t in (f._targets[-1], method._targets[-1])]
    del f
    gc.collect()
    assert watch() is not None and method(X, D) == made  # a method keeps its object, as all do
    del method
    gc.collect()
    assert watch() is None and [t() for t in targets] == [None, None]


def test_what_is_taken_out_goes_on_working():
    f = hessian_jit(cubes)
    known(functools.partial(f, X, D))
    target = f.func
    del f
    gc.collect()
    np.testing.assert_allclose(target(X, D), exact(X, D), rtol=1e-14)
    np.testing.assert_allclose(target(X[:2], D[:2]), hessian_jit(cubes)(X[:2], D[:2]))


def test_threads_meet_at_the_first_call():
    f = hessian_jit(lambda x, d: np.sum(np.sin(x) * d) * np.sum(x**2))
    start, found = threading.Barrier(8), {}
    shapes = [3, 4, 5, 3, 4, 5, 3, 4]

    def work(k):
        x = np.arange(1.0, shapes[k] + 1)
        start.wait()
        found[k] = [f(x, x) for _ in range(200)] + [f.grad(x, x) for _ in range(200)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for k, results in found.items():
        x = np.arange(1.0, shapes[k] + 1)
        fresh = hessian_jit(lambda x, d: np.sum(np.sin(x) * d) * np.sum(x**2))
        for made, expected in ((results[:200], fresh(x, x)), (results[200:], fresh.grad(x, x))):
            assert all(np.array_equal(m, expected) for m in made)


def test_shapes_in_turn():
    """More shapes than are asked one after the other."""
    f = hessian_jit(lambda x: np.sum(x**3))
    for _ in range(3):
        for n in range(1, 2 * frameless.CHAIN):
            x = np.arange(1.0, n + 1)
            np.testing.assert_array_equal(f(x), np.diag(6 * x))
    assert len(f._targets) == 2 * frameless.CHAIN


def test_there_are_not_ever_more_targets(monkeypatch):
    monkeypatch.setattr(frameless, "MOST", 3)
    f = hessian_jit(lambda x: np.sum(x**3))
    for n in range(1, 8):
        x = np.arange(1.0, n + 1)
        for _ in range(3):
            np.testing.assert_array_equal(f(x), np.diag(6 * x))
    assert len(f._targets) == 4


def test_paths():
    def absolute(x):
        return np.sum(x**2) if x[0] > 0 else -np.sum(x**3)

    f = hessian_jit(absolute)
    up, down = X, -X
    for _ in range(6):
        np.testing.assert_array_equal(f(up), 2 * np.eye(3))
        np.testing.assert_array_equal(f(down), np.diag(-6 * down))
    assert frames(lambda: (f(up), f(down))) == []
    (paths,) = f._paths.values()
    before = [p.runs for p in paths]
    f(up)
    assert [p.runs for p in paths] == [before[0] + 1, before[1]]
    nan = np.array([np.nan, 1.0, 1.0])
    np.testing.assert_array_equal(f(nan), np.diag(-6 * nan))
    g = hessian_jit(lambda x: newton_root(x) * 2)
    for x in np.random.default_rng(0).normal(size=(40, 3)) * 3:
        a = 1 + x @ x
        np.testing.assert_allclose(g(x), 2 * (np.eye(3) / a**0.5 - np.outer(x, x) / a**1.5), rtol=1e-7, atol=1e-8)


def test_static_arrays_are_compared_by_content():
    i, j = I.copy(), J.copy()
    f = hessian_jit(pairs, static_argnums=(1, 2))
    known(lambda: f(X, i, j))
    np.testing.assert_array_equal(f(X, i, j), f(X, I.copy(), J.copy()))
    assert frames(lambda: f(X, I, J)) == []
    assert len(f._paths) == 1
    i[0], j[0] = 2, 0
    made = known(lambda: f(X, i, j))()
    np.testing.assert_array_equal(made, hessian_jit(pairs, static_argnums=(1, 2))(X, i, j))
    assert not np.array_equal(made, f(X, I, J)) and len(f._paths) == 2
    for other in (i.astype(np.int32), i.astype(float).astype(np.int16)):
        np.testing.assert_array_equal(f(X, other, j), made)
    np.testing.assert_array_equal(f(X, np.stack([i, i], 1)[:, 0], j), made)


def test_static_values_are_told_apart():
    seen = []

    def scaled(x, how):
        seen.append(how)
        return np.sum(x**3) * (float(how) if isinstance(how, int | float) else len(str(how)))

    f = hessian_jit(scaled, static_argnums=1)
    kinds = [2, 2.0, True, 1, 1.0, 0.0, -0.0, 0, False, "2", "no", None, 10**20, 0.1 + 0.2, 0.3]
    for _ in range(3):
        for how in kinds:
            expected = np.diag(6 * X) * (float(how) if isinstance(how, int | float) else len(str(how)))
            np.testing.assert_allclose(f(X, how), expected, rtol=1e-14)
    assert [repr(s) for s in seen] == [repr(k) for k in kinds]
    np.testing.assert_array_equal(f(X, "".join(["n", "o"])), np.diag(12 * X))
    np.testing.assert_allclose(f(X, int("1" + "0" * 20)), np.diag(6e20 * X))
    assert len(seen) == len(kinds)


@pytest.mark.parametrize("kind", [float, lambda text: [float(text)]])
def test_static_arrays_of_objects_are_told_apart_where_addresses_come_again(kind):
    f = hessian_jit(lambda x, s: np.sum(x**3) * np.sum(s[0]), static_argnums=1)
    s, rest = np.array([None]), []
    s[0] = kind("2.5")
    for k in range(3, 203):
        made, at = np.sum(s[0]), id(s[0])
        assert np.isclose(f.value(X, s), made * np.sum(X**3))
        s[0] = None
        rest = [kind(str(k)) for _ in range(5)]
        s[0] = next((a for a in rest if id(a) == at), rest[0])


def test_static_nans_are_told_apart():
    f = hessian_jit(lambda x, s: np.sum(x**3) * np.copysign(1.0, s), static_argnums=1)
    for _ in range(3):
        for s in (np.nan, -np.nan, 0.0, -0.0):
            assert np.isclose(f.value(X, s), np.copysign(1.0, s) * np.sum(X**3))


def test_subclasses_of_arrays_receive_results(tmp_path):
    f = hessian_jit(cubes)
    out, slope = (np.memmap(tmp_path / name, float, "w+", shape=shape) for name, shape in (("H", (3, 3)), ("g", 3)))
    for _ in range(3):
        out[...] = 0
        assert f(X, D, out=out) is out
        np.testing.assert_allclose(out, exact(X, D), rtol=1e-14)
        assert f.value_grad_hessian(X, D, out=(None, slope, None))[1] is slope
        np.testing.assert_allclose(slope, gradient(X, D), rtol=1e-14)


def test_static_lists_are_told_apart():
    seen = []

    def count(x, edges):
        seen.append(repr(edges))
        return np.sum(x**3) * (1 + len(str(edges)))

    f = hessian_jit(count, static_argnums=1)
    kinds = [[(0, 1), (1, 2)], ((0, 1), (1, 2)), [[0, 1], [1, 2]], [(0, 1), (1, 2, 3)], [(0, 1)], [(0.0, 1), (1, 2)],
             [(-0.0, 1), (1, 2)], [(False, True), (1, 2)], [(0, "1"), (1, 2)], [(None, 1), (1, 2)], ([0], [1]), [[]],
             [("a",), {"b": 1}], [10**20, float("nan")], [(np.float64(0), 1)]]
    for again in range(4):
        for edges in kinds:
            made = copy.deepcopy(edges) if again % 2 else edges
            np.testing.assert_allclose(f(X, made), np.diag(6 * (1 + len(str(edges))) * X), rtol=1e-14)
    assert seen == list(map(repr, kinds))


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("pair", [list, tuple])
def test_static_lists_that_change(kind, pair):
    f = hessian_jit(lambda x, edges: sum((x[i] - x[j]) ** 4 for part in edges for i, j in part), static_argnums=1)
    edges = kind([[pair((0, 1))], [pair((1, 2))]])
    for ends in ((0, 1), (0, 2), (1, 2)):
        edges[0][0] = pair(ends)
        d = np.array([[1.0, -1.0]])
        expected = np.zeros((3, 3))
        for i, j in (ends, (1, 2)):
            expected[np.ix_((i, j), (i, j))] += 12 * (X[i] - X[j]) ** 2 * d.T @ d
        for _ in range(3):
            np.testing.assert_allclose(f(X, edges), expected, rtol=1e-14)
    assert frames(lambda: f(X, edges)) == []
    assert len(f._paths) == 3


def test_answers_for_long_static_lists_are_short():
    def lines(count):
        edges = [(k, k + 1) for k in range(count)]
        arguments = answers.arguments_of(("flat",), (X, edges), {}, [X], frozenset(range(1, 1 + 2 * count)), {})
        call = Call(arguments, [Buffer((3, 3), np.dtype(float))], 0, 1)
        return len(python_answer._Answer(call).text().splitlines())

    assert lines(3) == lines(300)


@pytest.mark.parametrize("how", [np.array(["a", "bc"]), np.array([object()]), np.array([3], "m8[s]")])
def test_static_arrays_of_other_kinds(how):
    f = hessian_jit(lambda x, s: np.sum(x**3) * len(s), static_argnums=1)
    for _ in range(4):
        np.testing.assert_array_equal(f(X, how), np.diag(6 * len(how) * X))


def test_errors_come_with_their_traceback():
    def f(x, d):
        if x.shape != (3,):
            raise KeyError("no such shape")
        return cubes(x, d)

    g = hessian_jit(f)
    known(lambda: g(X, D))
    with pytest.raises(KeyError, match="no such shape") as caught:
        g(X[:2], D)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[0] == "test_errors_come_with_their_traceback" and "_hessian" in names and names[-1] == "f"
    with pytest.raises(DTypeMismatch):
        g(X + 1j, D)
    np.testing.assert_allclose(g(X, D), exact(X, D), rtol=1e-14)


def test_recursion():
    def power(x):
        return x[0] ** 2 if len(x) == 1 else x[-1] * f.value(x[:-1])

    f = hessian_jit(power)
    for _ in range(3):
        for n in (3, 2, 1):
            np.testing.assert_allclose(f.value(X[:n]), power(X[:n].tolist()) if n == 1 else X[0]**2 * X[1:n].prod())
    endless = hessian_jit(lambda x: np.sum(endless(x)))
    with pytest.raises(RecursionError):
        endless(X)


def test_it_looks_like_a_function():
    assert not inspect.isclass(F) and callable(F) and F.__wrapped__ is cubes and F.__name__ == "cubes"
    assert list(inspect.signature(F).parameters) == ["x", "d"]
    assert repr(F) == "<hessian_jit cubes>" and "HessianFunction.value" in repr(F.value)
    assert F.value is F.value and F.value == HessianFunction.value.__get__(F) and F.value != F.grad
    assert F.value != BOTH.value and hash(F.value) == hash(F.value) and F.value.__self__ is F
    assert F.value.__doc__ == HessianFunction.value.__doc__ and F.value.__name__ == "value"
    assert "self" not in inspect.signature(F.value).parameters and "out" in inspect.signature(F.value).parameters
    assert inspect.isfunction(HessianFunction.value)
    np.testing.assert_array_equal(functools.partial(F, X)(D), F(X, D))
    np.testing.assert_array_equal(functools.partial(F)(X, D, out=H), F(X, D))
    np.testing.assert_array_equal(functools.partial(F.grad, X)(D), F.grad(X, D))


def test_transforms_are_no_methods():
    class Holder:
        slope = GRADIENT

    known(lambda: GRADIENT(X))
    np.testing.assert_allclose(Holder().slope(X), 3 * X**2, rtol=1e-14)
    assert list(inspect.signature(GRADIENT).parameters) == ["args", "kwargs"] and "grad" in repr(GRADIENT)
    np.testing.assert_allclose(copy.copy(GRADIENT)(X), 3 * X**2, rtol=1e-14)
    np.testing.assert_allclose(jacfwd(GRADIENT)(X), np.diag(6 * X), rtol=1e-14)


def test_copies():
    for made in (copy.copy(F), copy.deepcopy(F), pickle.loads(pickle.dumps(hessian_jit(cubes))).value.__self__):
        np.testing.assert_allclose(made(X, D), exact(X, D), rtol=1e-14)
    assert np.isclose(pickle.loads(pickle.dumps(hessian_jit(cubes).value))(X, D), cubes(X, D))


def test_compiling_again_what_is_compiled():
    f = hessian_jit(cubes)
    known(lambda: f.value(X, D))
    again = hessian_jit(f, argnums=1)
    assert again.value is not f.value and again.value.__self__ is again


def test_subclasses_have_methods_of_their_own():
    class Twice(HessianFunction):
        def __call__(self, *args, **kwargs):
            return 2 * super().__call__(*args, **kwargs)

        def value(self, *args, **kwargs):
            return 2 * super().value(*args, **kwargs)

    f = Twice(cubes, F.options)
    for _ in range(3):
        np.testing.assert_allclose(f(X, D), 2 * exact(X, D), rtol=1e-14)
        assert np.isclose(f.value(X, D), 2 * cubes(X, D))
    assert "value" not in vars(f)


def test_attributes_of_the_function_do_not_hide_methods():
    def f(x):
        return np.sum(x**3)

    f.value = f.note = 3
    g = hessian_jit(f)
    assert np.isclose(g.value(X), np.sum(X**3)) and g.note == 3


def test_without_a_look_into_objects(monkeypatch):
    monkeypatch.setattr(python_answer, "available", lambda: False)
    f = hessian_jit(cubes)
    for _ in range(4):
        np.testing.assert_allclose(f(X, D), exact(X, D), rtol=1e-14)
        assert np.isclose(f.value(X, D), cubes(X, D))
    assert f._targets == [f._general] and frames(lambda: f(X, D))
    assert "calls: through Python" not in f.explain(X, D)
    monkeypatch.setattr(answers, "available", lambda: False)
    assert "calls: through Python" in f.explain(X, D)


def test_it_is_available_here():
    assert c_functions.available()


def kernel_that_fails():
    from symhess.backends.machine_code import compiled, loaded

    code = loaded(compiled("define i32 @kernel(ptr %a, ptr %b) {\n ret i32 1\n}\n", 0, False))
    return code, code.address("kernel")


@pytest.mark.parametrize("result, buffers", [(0, [Buffer((3, 3), np.dtype(float))]),
                                             (Group(tuple, ((0, 0),)), [Buffer((3, 3), np.dtype(float))])])
def test_no_memory(result, buffers):
    code, address = kernel_that_fails()
    call = Call([Taken(0, Array((3,), np.dtype(float), False))], buffers, result, address)
    f = python_answer.answer(call, print, (code,))
    blocks = sys.getallocatedblocks()
    for _ in range(1000):
        assert outcome(f, X) == (MemoryError, "")
    assert sys.getallocatedblocks() - blocks < 100


def test_an_error_of_the_last_step_is_raised():
    def finish(made):
        raise KeyError("finish")

    run = hessian_jit(lambda x: np.sum(x**3)).kernel(X)._kernel
    call = Call([Taken(0, Array((3,), np.dtype(float), False))], [Buffer((3, 3), np.dtype(float))], None, run.address,
                finish=finish)
    f = python_answer.answer(call, print, (run,))
    with pytest.raises(KeyError, match="finish"):
        f(X)


def test_too_many_arguments_are_left_to_python():
    n = python_answer.MOST
    call = Call([Taken(k, Number(float, np.dtype(float))) for k in range(n)], [Buffer((), np.dtype(float))], 0, 1)
    assert python_answer.answer(call, print, ()) is None
    f = hessian_jit(lambda x, *more: np.sum(x**3) * sum(more))
    for _ in range(3):
        np.testing.assert_allclose(f(X, *[2.0] * n), np.diag(12 * n * X), rtol=1e-14)


def test_fixed_values_are_kept():
    """An answer compares with what it holds itself."""
    run = hessian_jit(lambda x: np.sum(x**3)).kernel(X)._kernel
    text = "".join(["what", "ever"])
    arguments = [Taken(0, Array((3,), np.dtype(float), False)), Fixed(text)]
    call = Call(arguments, [Buffer((3, 3), np.dtype(float))], 0, run.address)
    f = python_answer.answer(call, lambda *args: "otherwise", (run,))
    np.testing.assert_array_equal(f(X, "what" + "ever"), np.diag(6 * X))
    assert f(X, "what") == f(X, 3) == f(X) == "otherwise"


@pytest.mark.parametrize("calls", [0, 3])
def test_sparse_results_are_written_again(calls):
    f = hessian_jit(cubes)
    S = f.sparse(X, D)
    for _ in range(calls):  # then machine code looks at what is given
        f.sparse(X, D, out=S)
    assert f.sparse(X + 1, D, out=S) is S
    np.testing.assert_allclose(S.toarray(), exact(X + 1, D), rtol=1e-14)
    overlapping, other = S.copy(), S.copy()
    overlapping.indices, overlapping.indptr = S.indices, S.indptr
    overlapping.data = np.concatenate([X, np.zeros(S.nnz - 3)])
    expected = f.sparse(overlapping.data[:3].copy(), D).toarray()
    f.sparse(overlapping.data[:3], D, out=overlapping)
    np.testing.assert_array_equal(overlapping.toarray(), expected)
    other.data = other.data.astype(np.float32)
    with pytest.raises(ShapeMismatch):
        f.sparse(X, D, out=other)
    other = S.copy()
    other.indices = other.indices[::-1].copy()
    with pytest.raises(ShapeMismatch, match="other places"):
        f.sparse(X, D, out=other)
    other = S.copy()
    other.indices, other.indptr, other._shape = S.indices, S.indptr, (3, 4)
    for wrong in (other, S.tocsc(), S.toarray(), 3):
        with pytest.raises(ShapeMismatch, match="CSR"):
            f.sparse(X, D, out=wrong)
    del S.data
    with pytest.raises(AttributeError, match="data"):
        f.sparse(X, D, out=S)


def test_what_a_sparse_result_holds_is_given_back():
    f = hessian_jit(cubes)
    S = f.sparse(X, D)
    known(lambda: f.sparse(X, D, out=S))
    parts = (S, S.data, S.indices, S.indptr, S._shape)
    before = [sys.getrefcount(p) for p in parts]
    for _ in range(10):
        f.sparse(X, D, out=S)
        f.sparse(S.data[:3], D, out=S)
    assert [sys.getrefcount(p) for p in parts] == before


@pytest.mark.parametrize("product", ["__call__", "diagonal", "grad"])
def test_the_only_array_of_a_nested_argument_keeps_its_axes(product):
    f, x = hessian_jit(lambda p: np.sum(p["a"] ** 3)), np.arange(6.0).reshape(2, 3)
    call = getattr(f, product)
    first = call({"a": x})
    for _ in range(4):
        again = call({"a": x})
        np.testing.assert_equal(again, first)


@pytest.mark.parametrize("product", ["__call__", "grad", "diagonal", "hvp", "value_grad_hessian"])
@pytest.mark.parametrize("p", [(X, None), {"a": (X, None), "b": [D]}, [None, X], {"a": {}, "b": X}, ((), X)])
def test_empty_parts_of_arguments_are_in_results(p, product):
    def f(p):
        leaves = flat_arrays(p)
        return sum(np.sum(x**3) for x in leaves) * leaves[0][0]

    g = hessian_jit(f)
    given = (p, p) if product == "hvp" else (p,)
    first = getattr(g, product)(*given)
    for _ in range(4):
        assert repr(getattr(g, product)(*given)) == repr(first)
    assert frames(lambda: getattr(g, product)(*given)) == []


def flat_arrays(p):
    if isinstance(p, dict | list | tuple):
        return [x for part in (p.values() if isinstance(p, dict) else p) for x in flat_arrays(part)]
    return [] if p is None else [p]


def test_dicts_are_taken_in_the_order_of_their_keys():
    """Structures are equal whatever the order, functions may not be; answers in machine code hold to it, too."""
    weighted = lambda p, rest: sum((k + 1) * v**2 for k, v in enumerate(p.values())) * sum(
        (k + 1) * s for k, s in enumerate(rest["inner"].values()))
    f = hessian_jit(weighted)
    ba, vu = {"b": 1.0, "a": 2.0}, {"v": 2.0, "u": 1.0}
    for _ in range(4):
        for p, inner in ((ba, vu), (dict(sorted(ba.items())), vu), (ba, dict(sorted(vu.items())))):
            rest = {"inner": inner}
            assert f.value(p, rest) == weighted(p, rest)
            H = f(p, rest)
            assert list(f.grad(p, rest)) == list(H) == list(H["a"]) == list(p)
            assert np.array_equal(f.flat(p, rest), np.diag([H["a"]["a"], H["b"]["b"]]))
