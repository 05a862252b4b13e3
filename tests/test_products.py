"""Products of the compiled object beyond the plain call: `out` for everything, batches of everything, dense columns."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from on_a_gpu import equal_to_the_bit
from oracles import assert_close, by_differences
from problem import Problem

from symhess import hessian_jit
from symhess.api import columns, pipeline
from symhess.errors import BudgetExceeded, ShapeMismatch
from symhess.graph.pytrees import flatten

X = np.linspace(0.4, 1.3, 4)
TREE = {"a": np.array([0.3, 1.1]), "b": np.array([[0.5, -1.0, 2.0]])}
ROWS = {"a": np.array([[0.3, 1.1], [0.2, -0.7], [1.0, 2.0]]), "b": np.linspace(-1, 1, 9).reshape(3, 1, 3)}


def chain(x):
    return np.sum(np.exp(x[1:] * x[:-1]))


def coupled(p):
    return np.sum(np.sin(p["a"])) * np.sum(p["b"] ** 2) + p["b"][0, 0] ** 3


def empty_like(result):
    """Arrays filled with NaN in the nesting of a result, one by one in memory."""
    if scipy.sparse.issparse(result):
        made = result.copy()
        made.data[:] = np.nan
        return made
    if isinstance(result, dict):
        return {k: empty_like(v) for k, v in result.items()}
    if isinstance(result, tuple | list):
        return type(result)(map(empty_like, result))
    return np.full(np.shape(result), np.nan, np.asarray(result).dtype)


def equal(a, b):
    if scipy.sparse.issparse(a):
        return np.array_equal(a.toarray(), b.toarray())
    if isinstance(a, list) and scipy.sparse.issparse(a[0]):
        return all(map(equal, a, b))
    return all(map(np.array_equal, flatten(a)[0], flatten(b)[0]))


# -- out ---------------------------------------------------------------------------------------------------------------


PRODUCTS = ["__call__", "flat", "sparse", "diagonal", "value", "grad", "value_and_grad", "value_grad_hessian", "hvp"]


@pytest.mark.parametrize("mode", ["auto", "autograd"])
@pytest.mark.parametrize("fn, args", [(chain, X), (coupled, TREE)], ids=["array", "nested"])
def test_out_of_every_product(fn, args, mode):
    f = hessian_jit(fn, mode=mode)
    for product in PRODUCTS:
        given = (args, args) if product == "hvp" else (args,)
        expected = getattr(f, product)(*given)
        earlier = (None, *expected[1:]) if isinstance(expected, tuple) else expected
        for out in (empty_like(expected), earlier):
            if isinstance(out, np.float64):
                continue
            result = getattr(f, product)(*given, out=out)
            given_back = result[1:] if isinstance(out, tuple) else result
            assert flatten(given_back)[0][0] is flatten(out)[0][-len(flatten(given_back)[0])]
            assert equal(result, getattr(f, product)(*given)), product


def test_earlier_blocks_are_written_by_the_kernel_itself():
    f = hessian_jit(coupled, mode="autograd")
    H = f(TREE)
    memory = H["a"]["a"].base
    seen = []
    path = f._bound_path((TREE,), {})[1]
    run = path.runner("hessian")
    path._products["hessian"] = lambda arrays, out: seen.append(out) or run(arrays, out)
    f._entries.clear()
    f(TREE, out=H)
    assert seen[0][0] is memory or seen[0][0].base is memory


def test_parts_of_out_may_be_left_out():
    f = hessian_jit(chain, mode="autograd")
    g = np.empty(4)
    value, gradient, H = f.value_grad_hessian(X, out=(None, g, None))
    assert gradient is g and isinstance(value, np.float64)
    assert np.array_equal(H, f(X)) and np.array_equal(g, f.grad(X))
    for wrong in (g, (g,), (None, None, g), (None, g[:3], None), (None, [g], None), 3.0):
        with pytest.raises(ShapeMismatch, match="out"):
            f.value_grad_hessian(X, out=wrong)


def test_out_of_functions_that_return_arrays():
    f = hessian_jit(lambda x: {"squares": x**2, "positive": x > 1, "name": "n"}, mode="autograd")
    out = {"squares": np.empty(4), "positive": np.empty(4, bool), "name": None}
    with pytest.raises(ShapeMismatch, match="structure"):
        f.value(X, out=out)
    out["name"] = "n"
    f.value(X, out=out)
    assert np.array_equal(out["squares"], X**2) and np.array_equal(out["positive"], X > 1)


def test_nothing_is_written_when_a_part_of_out_is_wrong():
    f = hessian_jit(coupled, mode="autograd")
    out = (None, {"a": np.zeros(2), "b": np.zeros((1, 3))}, {i: {j: np.zeros(1) for j in "ab"} for i in "ab"})
    with pytest.raises(ShapeMismatch, match="out"):
        f.value_grad_hessian(TREE, out=out)
    assert not out[1]["a"].any() and not out[1]["b"].any()
    same = np.zeros(2)
    with pytest.raises(ShapeMismatch, match="two places"):
        hessian_jit(lambda p: np.sum(p[0] * p[1]), mode="autograd").grad([X[:2], X[:2]], out=[same, same])


def test_nested_out_may_lie_anywhere():
    f = hessian_jit(coupled, mode="autograd")
    H = f(TREE)
    out = {i: {j: np.empty(np.shape(H[i][j])[::-1]).T for j in "ab"} for i in "ab"}
    assert equal(f(TREE, out=out), H)


# -- batches -----------------------------------------------------------------------------------------------------------


def guarded(p):
    return coupled(p) if p["a"][0] > 0.25 else np.sum(p["a"] ** 4) * p["b"][0, 1]


BATCHED = {"hessian": "__call__", "sparse": "sparse", "flat": "flat", "diagonal": "diagonal", "value": "value",
           "grad": "grad", "value_and_grad": "value_and_grad", "value_grad_hessian": "value_grad_hessian", "hvp": "hvp"}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("fn", [coupled, guarded])
def test_batch_of_every_product(fn, sparse):
    f = hessian_jit(fn, mode="autograd", sparse=sparse)
    if fn is guarded:  # patterns differ from path to path
        products = [p for p in BATCHED if p != "sparse" and not (sparse and "hessian" in p)]
    else:
        products = list(BATCHED)
    for product in products:
        given = (ROWS, ROWS) if product == "hvp" else (ROWS,)
        batch = f.batch(*given, product=product)
        for k in range(3):
            single = getattr(f, BATCHED[product])(*[{name: v[k] for name, v in g.items()} for g in given])
            mine = batch[k] if scipy.sparse.issparse(single) else _row_of(batch, k)
            for a, b in zip(_numbers(mine), _numbers(single), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
        out = empty_like(batch)
        f.batch(*given, product=product, out=out)
        assert all(map(np.array_equal, _numbers(out), _numbers(batch)))


def _row_of(batch, k):
    if isinstance(batch, tuple):
        return tuple(_row_of(b, k) for b in batch)
    if isinstance(batch, list):
        return batch[k]
    return {n: _row_of(b, k) for n, b in batch.items()} if isinstance(batch, dict) else batch[k]


def _numbers(result):
    return [leaf.toarray() if scipy.sparse.issparse(leaf) else np.asarray(leaf) for leaf in flatten(result)[0]]


def test_wrong_batches():
    f = hessian_jit(chain, mode="autograd")
    rows = np.stack([X, 2 * X])
    with pytest.raises(ValueError, match=r"no product 'hess'; choose one of .*value_grad_hessian"):
        f.batch(rows, product="hess")
    with pytest.raises(ShapeMismatch, match=r"v has shape \(4,\) where arg0 has shape \(2, 4\)"):
        f.batch(rows, X, product="hvp")
    with pytest.raises(BudgetExceeded, match="a batch of 1,000 dense Hessians of 4 variables"):
        hessian_jit(chain, mode="autograd", memory_budget=10_000).batch(np.ones((1000, 4)))


# -- dense columns -----------------------------------------------------------------------------------------------------


@pytest.fixture
def by_columns(monkeypatch):
    """The cost model prefers dense columns, a few at a time."""
    monkeypatch.setattr(pipeline, "structure_pays", lambda *_: False)
    monkeypatch.setattr(columns, "CACHE_BYTES", 1)


@pytest.mark.parametrize("mode", ["auto", "autograd"])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 21])
def test_columns_are_the_hessian(by_columns, mode, n):
    x = np.linspace(-1, 1, n)
    fn = lambda x: np.sum(np.tanh(x[:, None] * x)) + np.sum(x[1:] * x[:-1] ** 2)
    f = hessian_jit(fn, mode=mode)
    H = f(x)
    assert not f._bound_path((x,), {})[1].choice.structured
    assert_close(H, by_differences(Problem(fn, (x,)), (x,), fn=fn), 1e-9)
    assert np.array_equal(H, H.T)
    value, gradient, again = f.value_grad_hessian(x)
    assert equal_to_the_bit(again, H)
    assert_close(value, fn(x))
    assert_close(gradient, f.grad(x))
    assert_close(f.batch(np.stack([x, x / 2]))[1], f(x / 2))
    assert "dense columns" in f.explain(x)


def test_columns_keep_the_budget(by_columns):
    """Beside the result, no more than what is left of the budget is in use at any time."""
    x = np.linspace(-1, 1, 300)
    budget = 2 * 8 * 300**2
    f = hessian_jit(lambda x: np.sum(np.sin(np.cumsum(x)) ** 2), mode="autograd", memory_budget=budget)
    f(x)
    tracemalloc.start()
    f(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= budget


# -- calls that go to their kernel in one step -----------------------------------------------------------------------


def weighted(x, index, scale):
    return scale * np.sum(x[index] ** 3)


def exactly(x, index, scale):
    H = np.zeros((len(x), len(x)))
    np.add.at(H, (index, index), 6 * scale * x[index])
    return H


def test_static_arrays_are_read_anew_in_every_call():
    """Also where one was changed in place since the last call."""
    f, x, index = hessian_jit(weighted, static_argnums=1), np.array([1.0, 2.0, 3.0]), np.array([0, 1])
    for change in (0, 2, 1, 0):
        index[0] = change
        for scale in (2.0, 0.5, np.array(1.5)):
            for _ in range(2):
                np.testing.assert_allclose(f(x, index, scale), exactly(x, index, scale), rtol=1e-14)
                np.testing.assert_allclose(f.grad(x, index, scale), exactly(x, index, scale) @ x / 2, rtol=1e-14)
                np.testing.assert_allclose(f.hvp(x, index, scale, x), exactly(x, index, scale) @ x, rtol=1e-14)


def test_values_of_the_same_hash_are_told_apart():
    f = hessian_jit(lambda x, n: np.sum(x**3) * (2 if n is True else n), static_argnums=1)
    x = np.array([1.0, 2.0])
    for n, factor in ((1, 1), (True, 2), (1.0, 1), (0, 0), (False, 0), (1, 1), (True, 2)):
        np.testing.assert_allclose(f(x, n), np.diag(6 * factor * x), rtol=1e-14)


@pytest.mark.parametrize("static", [(), 1, -1])
def test_a_lone_static_argument(static):
    f = hessian_jit(lambda x, y: np.sum(x) * np.sum(y) ** 2, static_argnums=static)
    for y in (np.ones(2), np.array([2.0, 3.0]), np.ones(2)):
        assert f.value(np.ones(3), y) == 3 * y.sum() ** 2
    g = hessian_jit(lambda y: np.sum(y) ** 2, argnums=(), static_argnums=0)
    for y in (np.ones(2), np.array([2.0, 3.0]), np.ones(2)):
        assert g.value(y) == y.sum() ** 2


def test_numbers_beside_arrays_keep_their_dtype():
    f = hessian_jit(lambda x, s: s * np.sum(x**3))
    for dtype in (np.float32, np.float64):
        x = np.array([1.0, 2.0], dtype)
        for s in (0.1, 0.3, 0.1):
            H = f(x, s)
            assert H.dtype == dtype
            np.testing.assert_allclose(H, np.diag(6 * s * x), rtol=1e-6)


@pytest.mark.parametrize("layout", [
    lambda x: x[::-1][::-1], lambda x: np.asfortranarray(np.stack([x, x]))[0], lambda x: x.astype(">f8"),
    lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float64), lambda x: x.view(np.memmap)],
    ids=["reversed", "strided", "big-endian", "unaligned", "memmap"])
def test_arrays_that_kernels_do_not_take_as_they_are(layout):
    f, x = hessian_jit(lambda x: np.sum(x**3)), np.array([1.0, 2.0, 3.0])
    for _ in range(2):
        np.testing.assert_allclose(f(x), np.diag(6 * x), rtol=1e-14)
        np.testing.assert_allclose(f(layout(x)), np.diag(6 * x), rtol=1e-14)
    read_only = x.copy()
    read_only.flags.writeable = False
    np.testing.assert_allclose(f(read_only), np.diag(6 * x), rtol=1e-14)


def test_out_that_overlaps_an_input():
    f = hessian_jit(lambda x: np.sum(x**3) * x[0])
    memory = np.arange(1.0, 10.0)
    expected = f(memory[:3].copy())
    for _ in range(2):
        memory[:] = np.arange(1.0, 10.0)
        out = memory.reshape(3, 3)
        assert f(memory[:3], out=out) is out
        np.testing.assert_array_equal(out, expected)


def three_ways(x):
    if x[0] > 0:
        return x[0] ** 2 * x[1]
    return x[1] ** 3 if x[1] > 0 else np.sin(x[0]) * x[1]


WAYS = [(np.array([1.0, 2.0]), np.array([[4.0, 2.0], [2.0, 0.0]])), (np.array([-1.0, 2.0]), np.diag([0.0, 12.0])),
        (np.array([-1.0, -2.0]), np.array([[-2 * np.sin(1.0), np.cos(1.0)], [np.cos(1.0), 0.0]]))]


def test_calls_on_changing_paths():
    """Interpreted at first, then behind a kernel of the guards, on whatever path the values lead to."""
    f = hessian_jit(three_ways)
    for _ in range(6):
        for x, H in WAYS:
            np.testing.assert_allclose(f(x), H, rtol=1e-14, atol=1e-15)
            np.testing.assert_allclose(f.hvp(x, np.array([0.5, 2.0])), H @ [0.5, 2.0], rtol=1e-14, atol=1e-15)
            np.testing.assert_allclose(f.value(x), three_ways(x), rtol=1e-14)
            out = np.full((2, 2), np.nan)
            assert f(x, out=out) is out
            np.testing.assert_allclose(out, H, rtol=1e-14, atol=1e-15)
    assert f.explain(WAYS[0][0]).count("taken") >= 3


def test_a_path_that_appears_late():
    f = hessian_jit(three_ways)
    for x, H in [WAYS[0]] * 8 + [WAYS[1]] * 8 + [WAYS[2], WAYS[0], WAYS[1], WAYS[2]] * 6:
        np.testing.assert_allclose(f(x), H, rtol=1e-14, atol=1e-15)


def test_guards_on_data_and_static_arguments():
    f = hessian_jit(lambda x, s, n: np.sum(x**3) * s if s > 1 else np.sum(x**2) * n, static_argnums=2)
    x = np.array([1.0, 2.0])
    for s, n in [(2.0, 1), (0.5, 1), (0.5, 3), (2.0, 3)] * 7:
        np.testing.assert_allclose(f(x, s, n), np.diag(6 * x * s if s > 1 else [2.0 * n] * 2), rtol=1e-14)
