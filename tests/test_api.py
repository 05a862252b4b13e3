"""The compiled object: conventions of shapes and dtypes, every option, every product, arguments of every kind."""

import collections
import copy
import dataclasses
import functools
import itertools
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from symhess import HessianFunction, hessian_jit
from symhess.errors import BudgetExceeded, ShapeMismatch
from symhess.graph.pytrees import flatten

X = np.linspace(0.4, 1.3, 4)
V = np.array([1.0, -2.0, 0.5, 3.0])
Pair = collections.namedtuple("Pair", "first second")


@dataclasses.dataclass
class Params:
    weight: np.ndarray
    scale: float
    label: str | None = None


def cubes(x):
    return np.sum(x**3)


def chain(x):
    return np.sum(np.exp(x[1:] * x[:-1]))


def chain_hessian(x):
    H = np.zeros((len(x), len(x)))
    for i in range(len(x) - 1):
        a, b = x[i], x[i + 1]
        H[i, i] += b * b * np.exp(a * b)
        H[i + 1, i + 1] += a * a * np.exp(a * b)
        H[i, i + 1] = H[i + 1, i] = (1 + a * b) * np.exp(a * b)
    return H


def chain_gradient(x):
    e = np.exp(x[1:] * x[:-1])
    return np.concatenate([x[1:] * e, [0]]) + np.concatenate([[0], x[:-1] * e])


@hessian_jit(mode="autograd")
def decorated(x, power=3):
    return np.sum(x**power)


def interpreted(fn=chain, **options):
    return hessian_jit(fn, mode="autograd", **options)


def close(actual, expected, rtol=1e-11):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=1e-12)


def counted(fn):
    """fn, and the list of shapes that it was traced with."""
    seen = []

    @functools.wraps(fn)
    def counting(*args, **kwargs):
        seen.append([np.shape(leaf) for leaf in flatten((args, kwargs))[0]])
        return fn(*args, **kwargs)

    return counting, seen


# -- every product -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["auto", "symbolic", "autograd"])
def f(request):
    return hessian_jit(chain, mode=request.param)


def test_products(f):
    H, g = chain_hessian(X), chain_gradient(X)
    close(f(X), H)
    close(f.flat(X), H)
    close(f.value(X), chain(X))
    close(f.grad(X), g)
    close(f.hvp(X, V), H @ V)
    close(f.diagonal(X), np.diag(H))
    value, gradient = f.value_and_grad(X)
    close(value, chain(X))
    close(gradient, g)
    value, gradient, hess = f.value_grad_hessian(X)
    close(value, chain(X))
    close(gradient, g)
    close(hess, H)
    for triangle, expected in (("both", H), ("lower", np.tril(H))):
        S = f.sparse(X, triangle=triangle)
        assert isinstance(S, scipy.sparse.csr_array)
        close(S.toarray(), expected)
    assert np.array_equal(f.sparsity(X).toarray(), H != 0)
    assert f.sparsity(X).dtype == bool


def test_batches(f):
    points = np.stack([X, V, -X])
    close(f.batch(points), [chain_hessian(p) for p in points])
    close(f.batch(points, product="value"), [chain(p) for p in points])
    close(f.batch(points, product="grad"), [chain_gradient(p) for p in points])
    close(f.batch(points, product="diagonal"), [np.diag(chain_hessian(p)) for p in points])


def test_out_receives_every_product(f):
    n = len(X)
    H, g = chain_hessian(X), chain_gradient(X)
    for run, shape, expected in (
        (lambda out: f(X, out=out), (n, n), H), (lambda out: f.flat(X, out=out), (n, n), H),
        (lambda out: f.grad(X, out=out), (n,), g), (lambda out: f.hvp(X, V, out=out), (n,), H @ V),
        (lambda out: f.diagonal(X, out=out), (n,), np.diag(H)),
        (lambda out: f.batch(np.stack([X, X]), out=out), (2, n, n), [H, H]),
    ):
        out = np.full(shape, np.nan)
        result = run(out)
        close(out, expected)
        assert np.shares_memory(result, out)


def test_sparse_out_is_refilled(f):
    S = f.sparse(X)
    assert f.sparse(V / 4, out=S) is S
    close(S.toarray(), chain_hessian(V / 4))


def test_outputs_may_overlap_inputs(f):
    x = X.copy()
    assert f.grad(x, out=x) is x
    close(x, chain_gradient(X))
    memory = np.empty((4, 4))
    memory[1] = X
    close(f(memory[1], out=memory), chain_hessian(X))


def test_results_are_not_reused(f):
    first = f(X)
    kept = first.copy()
    second = f(V / 4)
    assert not np.shares_memory(first, second)
    assert np.array_equal(first, kept)
    S = f.sparse(X)
    data = S.data.copy()
    f.sparse(V / 4)
    assert np.array_equal(S.data, data)


def test_both_triangles_are_equal_to_the_bit(f):
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = rng.normal(size=4)
        assert np.array_equal(f(x), f(x).T)
        S = f.sparse(x).toarray()
        assert np.array_equal(S, S.T)


def test_a_sparse_result_cannot_damage_later_ones():
    f = interpreted()
    S = f.sparse(np.zeros(4))
    with pytest.raises(ValueError, match="read-only"):
        S.eliminate_zeros()
    S.copy().eliminate_zeros()
    close(f.sparse(X).toarray(), chain_hessian(X))
    assert f.sparse(X).nnz == 10


def test_sparse_results_work_with_scipy(f):
    import scipy.sparse.linalg

    S = f.sparse(X) + 30 * scipy.sparse.eye_array(4)
    close(scipy.sparse.linalg.spsolve(S.tocsc(), V), np.linalg.solve(chain_hessian(X) + 30 * np.eye(4), V))
    R = f.sparse(X)
    close(R @ V, chain_hessian(X) @ V)
    close(R.T.toarray(), chain_hessian(X))
    close((R * 2).toarray(), 2 * chain_hessian(X))
    close(R[1:3].toarray(), chain_hessian(X)[1:3])
    close(scipy.sparse.linalg.splu((R + 30 * scipy.sparse.eye_array(4)).tocsc()).solve(V),
          np.linalg.solve(chain_hessian(X) + 30 * np.eye(4), V))


def test_reports():
    f = hessian_jit(chain)
    assert "chain" in f.explain(X) and "tridiagonal" in f.explain(X)
    assert "exp" in str(f.graph(X))
    assert "exp" in f.source(X)
    assert "exp" in f.source(X, product="grad")
    found = f.sympy(X[:2])
    a, b = found.symbols
    at = {a: 0.3, b: 0.7}
    close(np.array(found.hessian.subs(at), float), chain_hessian(np.array([0.3, 0.7])))
    close(np.array(found.gradient.subs(at), float).ravel(), chain_gradient(np.array([0.3, 0.7])))
    assert repr(f) == "<hessian_jit chain>"


# -- structures of arguments -------------------------------------------------------------------------------------------


def bilinear(a, b):
    """sum_ij sin(a_i) b_j^2: everything couples."""
    return np.sum(np.sin(a)) * np.sum(b**2)


A2, B3 = np.array([0.3, 1.1]), np.array([0.5, -1.0, 2.0])


def bilinear_blocks(a, b):
    s, q = np.sum(np.sin(a)), np.sum(b**2)
    cross = np.outer(np.cos(a), 2 * b)
    return {"aa": np.diag(-np.sin(a)) * q, "ab": cross, "ba": cross.T, "bb": 2 * s * np.eye(len(b))}


STRUCTURES = {
    "dict": ({"a": A2, "b": B3}, lambda p: bilinear(p["a"], p["b"]), lambda H, i, j: H["ab"[i]]["ab"[j]]),
    "dict, keys in another order": ({"b": B3, "a": A2}, lambda p: bilinear(p["a"], p["b"]),
                                    lambda H, i, j: H["ab"[i]]["ab"[j]]),
    "list": ([A2, B3], lambda p: bilinear(*p), lambda H, i, j: H[i][j]),
    "tuple": ((A2, B3), lambda p: bilinear(*p), lambda H, i, j: H[i][j]),
    "named tuple": (Pair(A2, B3), lambda p: bilinear(p.first, p.second), lambda H, i, j: H[i][j]),
    "nested": ({"u": [A2], "w": Pair({"z": B3}, None)}, lambda p: bilinear(p["u"][0], p["w"].first["z"]),
               lambda H, i, j: (H["u"][0], H["w"].first["z"])[i]["uw"[j]][0 if j == 0 else "first"] if j == 0 else
               (H["u"][0], H["w"].first["z"])[i]["w"].first["z"]),
    "dataclass": (Params(A2, B3), lambda p: bilinear(p.weight, p.scale),
                  lambda H, i, j: getattr(getattr(H, ("weight", "scale")[i]), ("weight", "scale")[j])),
    "with None": ({"a": A2, "b": B3, "c": None}, lambda p: bilinear(p["a"], p["b"]),
                  lambda H, i, j: H["ab"[i]]["ab"[j]]),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_blocks_of_nested_inputs(name):
    tree, fn, block = STRUCTURES[name]
    f = interpreted(fn)
    H, expected = f(tree), bilinear_blocks(A2, B3)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        close(block(H, i, j), expected["ab"[i] + "ab"[j]])
    assert type(H) is type(tree)
    whole = np.block([[expected["aa"], expected["ab"]], [expected["ba"], expected["bb"]]])
    close(f.flat(tree), whole)
    close(f.sparse(tree).toarray(), whole)
    gradient = f.grad(tree)
    assert type(gradient) is type(tree)
    close(np.concatenate(flatten(gradient)[0]), [*np.cos(A2) * np.sum(B3**2), *2 * B3 * np.sum(np.sin(A2))])
    product = f.hvp(tree, tree)
    close(np.concatenate(flatten(product)[0]), whole @ np.concatenate([A2, B3]))
    close(np.concatenate(flatten(f.diagonal(tree))[0]), np.diag(whole))
    _, g, H2 = f.value_grad_hessian(tree)
    assert [np.array_equal(a, b) for a, b in zip(flatten(H2)[0], flatten(H)[0])] == [True] * 4
    assert len(flatten(g)[0]) == 2


def test_none_stays_where_it_was():
    f = interpreted(lambda p: bilinear(p["a"], p["b"]))
    tree = {"a": A2, "b": B3, "c": None}
    assert f.grad(tree)["c"] is None
    assert f(tree)["c"] is None and f(tree)["a"]["c"] is None


def test_nested_out():
    f = interpreted(lambda p: bilinear(p["a"], p["b"]))
    tree = {"a": A2, "b": B3}
    out = {i: {j: np.empty((m, n)) for j, n in (("a", 2), ("b", 3))} for i, m in (("a", 2), ("b", 3))}
    assert f(tree, out=out) is out
    close(out["b"]["a"], bilinear_blocks(A2, B3)["ba"])
    slots = {"a": np.empty(2), "b": np.empty(3)}
    f.grad(tree, out=slots)
    close(slots["b"], 2 * B3 * np.sum(np.sin(A2)))


@pytest.mark.parametrize("argnums, pick", [(0, (0,)), (1, (1,)), (-1, (1,)), ((0,), (0,)), ((0, 1), (0, 1)),
                                           ((1, 0), (1, 0)), ([1, 0], (1, 0)), ((-2, -1), (0, 1)),
                                           (np.int64(1), (1,))])
def test_argnums(argnums, pick):
    f, expected = interpreted(bilinear, argnums=argnums), bilinear_blocks(A2, B3)
    H = f(A2, B3)
    gradients = [np.cos(A2) * np.sum(B3**2), 2 * B3 * np.sum(np.sin(A2))]
    if np.ndim(argnums) == 0:
        (k,) = pick
        close(H, expected["ab"[k] * 2])
        close(f.grad(A2, B3), gradients[k])
        close(f.hvp(A2, B3, (A2, B3)[k]), H @ (A2, B3)[k])
        return
    for row, i in zip(H, pick):
        for block, j in zip(row, pick):
            close(block, expected["ab"[i] + "ab"[j]])
    whole = np.block([[expected["ab"[i] + "ab"[j]] for j in pick] for i in pick])
    close(f.flat(A2, B3), whole)
    close(f.sparse(A2, B3).toarray(), whole)
    for g, i in zip(f.grad(A2, B3), pick):
        close(g, gradients[i])
    v = tuple((A2, B3)[i] for i in pick)
    close(np.concatenate(f.hvp(A2, B3, v)), whole @ np.concatenate(v))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2, 1, 2), (0,), (0, 3), (3, 0)])
@pytest.mark.parametrize("mode", ["auto", "autograd"])
def test_shapes(shape, mode):
    x = np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape)
    f = hessian_jit(cubes, mode=mode)
    H = f(x)
    assert H.shape == shape + shape and H.dtype == float
    close(H.reshape(x.size, x.size), np.diag(6 * x.ravel()))
    assert f.grad(x).shape == shape
    close(f.grad(x), 3 * x**2)
    close(f.hvp(x, x), 6 * x * x)
    close(f.diagonal(x), 6 * x)
    close(f.sparse(x).toarray(), np.diag(6 * x.ravel()))
    close(f.batch(np.stack([x, 2 * x])).reshape(2, x.size, x.size), [np.diag(6 * x.ravel()), np.diag(12 * x.ravel())])
    assert f.value_grad_hessian(x)[2].shape == shape + shape
    assert isinstance(f.explain(x), str)


def test_an_empty_leaf_among_others():
    f = interpreted(lambda p: np.sum(p["a"] ** 2) + np.sum(p["b"] ** 3))
    H = f({"a": np.zeros(0), "b": X})
    assert H["a"]["a"].shape == (0, 0) and H["a"]["b"].shape == (0, 4) and H["b"]["a"].shape == (4, 0)
    close(H["b"]["b"], np.diag(6 * X))


def test_unused_inputs_have_zero_blocks():
    H = hessian_jit(lambda p: cubes(p["a"]))({"a": X, "b": np.ones(2)})
    assert not H["b"]["b"].any() and not H["a"]["b"].any()
    assert not hessian_jit(lambda x: 3.5)(X).any()
    assert hessian_jit(lambda x: np.sum(x)).sparse(X).nnz == 0


# -- numbers and arrays of every kind ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value, dtype", [
    (2, float), (2.0, float), (True, float), (np.int32(2), float), (np.float32(2), np.float32), (np.float64(2), float),
    (np.float16(2), np.float32), (np.array(2), float), (np.longdouble(2), float), (np.uint8(2), float),
])
def test_numbers(value, dtype):
    f = interpreted(lambda x: x**3)
    assert f(value).dtype == dtype and f(value).shape == ()
    close(f(value), 6 * float(value))
    assert f.value(value).dtype == dtype


@pytest.mark.parametrize("dtype, kept", [(np.float32, np.float32), (np.float64, np.float64), (np.int64, np.float64),
                                         (np.int8, np.float64), (bool, np.float64), (np.float16, np.float32),
                                         (">f8", np.float64), (">f4", np.float32), (np.longdouble, np.float64)])
def test_dtypes(dtype, kept):
    f = interpreted()
    x = np.array([1, 0, 1, 1]).astype(dtype)
    for result in (f(x), f.grad(x), f.hvp(x, x), f.diagonal(x), f.sparse(x), f.batch(x[None])):
        assert result.dtype == kept
    close(f(x), chain_hessian(np.asarray(x, float)), 1e-5)
    close(hessian_jit(chain)(x), f(x), 1e-6)


@pytest.mark.parametrize("wanted", [np.float32, np.float64, "float32"])
def test_dtype_option(wanted):
    for x in (X, X.astype(np.float32), np.arange(4)):
        H = hessian_jit(chain, dtype=wanted)(x)
        assert H.dtype == np.dtype(wanted)
        close(H, chain_hessian(np.asarray(x, float)), 1e-4)


def test_python_floats_beside_float32_stay_narrow():
    f = interpreted(lambda x, s: s * cubes(x))
    assert f(X.astype(np.float32), 2.0).dtype == np.float32
    assert f(X, np.float32(2)).dtype == np.float64


def test_memory_layouts():
    f = hessian_jit(lambda x: np.sum(np.exp(x[1:] * x[:-1])))
    grid = np.linspace(0.1, 1.2, 12).reshape(3, 4)
    expected = f(grid)
    unaligned = np.frombuffer(bytes(1) + grid.tobytes(), np.uint8)[1:].view(float).reshape(3, 4)
    read_only = grid.copy()
    read_only.flags.writeable = False
    strided = np.repeat(np.repeat(grid, 2, 0), 3, 1)[::2, ::3]
    for x in (np.asfortranarray(grid), unaligned, read_only, strided, grid[::-1][::-1], grid.astype(">f8")):
        assert np.array_equal(f(x), expected)
        assert np.array_equal(f(grid), expected)
        assert np.array_equal(f.sparse(x).toarray(), f.sparse(grid).toarray())
    x = np.asfortranarray(grid)
    close(f.hvp(x, np.asfortranarray(x)), f.hvp(grid, grid))
    assert np.array_equal(f.grad(x), f.grad(grid))


def test_memory_mapped_input(tmp_path):
    mapped = np.memmap(tmp_path / "x.bin", float, "w+", shape=(4,))
    mapped[:] = X
    f = hessian_jit(chain)
    close(f(mapped), chain_hessian(X))
    assert type(f(mapped)) is np.ndarray


def test_inputs_are_left_alone():
    x, v = X.copy(), V.copy()
    f = hessian_jit(chain)
    f(x), f.value_grad_hessian(x), f.hvp(x, v), f.sparse(x), f.batch(np.stack([x, v]))
    assert np.array_equal(x, X) and np.array_equal(v, V)


def test_mixed_dtypes_of_inputs():
    f = interpreted(bilinear, argnums=(0, 1))
    H = f(A2.astype(np.float32), B3)
    close(np.block([list(row) for row in H]), np.block([[bilinear_blocks(A2, B3)[i + j] for j in "ab"] for i in "ab"]),
          1e-6)
    compiled = hessian_jit(bilinear, argnums=(0, 1))
    close(compiled.flat(A2.astype(np.float32), B3), f.flat(A2.astype(np.float32), B3), 1e-6)
    ga, gb = compiled.grad(A2.astype(np.float32), B3)
    assert (ga.dtype, gb.dtype) == (np.float32, np.float64)


# -- data, static arguments, recompilation -----------------------------------------------------------------------------


def weighted(x, w, power=3, *, shift=0.0):
    return np.sum(w * (x + shift) ** power)


def test_data_may_change_without_recompiling():
    fn, seen = counted(weighted)
    f = interpreted(fn)
    for w, shift in ((V, 0.5), (X, -1.0), (np.zeros(4), 2.0)):
        close(f(X, w, shift=shift), np.diag(6 * w * (X + shift)))
        close(f(X, shift=shift, w=w), np.diag(6 * w * (X + shift)))
    assert len(seen) == 2  # by position and by keyword


def test_each_signature_is_traced_once():
    fn, seen = counted(chain)
    f = interpreted(fn)
    for _ in range(2):
        for x in (X, X[:3], X.astype(np.float32), X.reshape(2, 2)):
            f(x), f.grad(x), f.value(x), f.sparse(x), f.hvp(x, x), f.diagonal(x), f.value_grad_hessian(x)
    assert len(seen) == 4
    f.batch(np.stack([X, X]))
    f.batch(np.stack([X, X, X]))
    assert len(seen) == 4
    f(np.arange(4))
    assert len(seen) == 4  # promoted to what was traced already


def test_data_shape_makes_a_signature():
    fn, seen = counted(weighted)
    f = interpreted(fn)
    f(X, V), f(X, V[:1]), f(X, 2.0), f(X, 3.0), f(X, V[None])
    assert len(seen) == 4


@pytest.mark.parametrize("options, calls", [
    ({"static_argnums": 2}, [((X, V, 2), {}), ((X, V, 4), {})]),
    ({"static_argnums": (2,)}, [((X, V, 2), {}), ((X, V), {"power": 4})]),
    ({"static_argnames": "power"}, [((X, V), {"power": 2}), ((X, V, 4), {})]),
    ({"static_argnames": ("power", "shift")}, [((X, V), {"power": 2, "shift": 0.0}), ((X, V, 4), {"shift": 0.0})]),
    ({"static_argnums": -1}, [((X, V, 2), {}), ((X, V, 4), {})]),
])
def test_static_arguments(options, calls):
    def fn(x, w, power=3, shift=0.0):
        assert type(power) is int or options == {"static_argnums": -1}
        return weighted(x, w, power, shift=shift)

    if options == {"static_argnums": -1}:
        fn = lambda x, w, power: weighted(x, w, power)
    fn, seen = counted(fn)
    f = interpreted(fn, **options)
    for _ in range(2):
        for args, kwargs in calls:
            p = kwargs.get("power", args[2] if len(args) > 2 else None)
            close(f(*args, **kwargs), np.diag(p * (p - 1) * V * X ** (p - 2)))
    assert len(seen) == 2


def test_static_values_of_any_kind():
    fn, seen = counted(lambda x, how, config: np.sum(how(x)) * config["k"] * len(config["name"]))
    f = interpreted(fn, static_argnums=(1, 2))
    close(f(X, np.exp, {"k": 2, "name": "ab"}), 4 * np.diag(np.exp(X)))
    close(f(X, np.sin, {"k": 2, "name": "ab"}), -4 * np.diag(np.sin(X)))
    close(f(X, np.exp, {"k": 2, "name": "abc"}), 6 * np.diag(np.exp(X)))
    close(f(X, np.exp, {"k": 2, "name": "ab"}), 4 * np.diag(np.exp(X)))
    assert len(seen) == 3


def test_static_arrays_are_told_apart_by_content():
    f = interpreted(lambda x, w: np.sum(w * x**3), static_argnums=1)
    w = V.copy()
    close(f(X, w), np.diag(6 * V * X))
    w[0] = 7.0
    close(f(X, w), np.diag(6 * w * X))


def test_strings_and_callables_among_data():
    f = interpreted(lambda x, kind: np.sum(np.sin(x)) if kind == "sine" else np.sum(np.exp(x)))
    close(f(X, "sine"), -np.diag(np.sin(X)))
    close(f(X, "other"), np.diag(np.exp(X)))
    close(f(X, kind="sine"), -np.diag(np.sin(X)))


def test_captured_arrays_are_read_once():
    w = V.copy()
    f = interpreted(lambda x: np.sum(w * x**3))
    close(f(X), np.diag(6 * V * X))
    w[:] = 0
    close(f(X), np.diag(6 * V * X))
    close(f.grad(X), 3 * V * X**2)


# -- options -----------------------------------------------------------------------------------------------------------


def test_sparse_option():
    f = hessian_jit(chain, sparse=True)
    assert isinstance(f(X), scipy.sparse.csr_array)
    close(f(X).toarray(), chain_hessian(X))
    close(f.value_grad_hessian(X)[2].toarray(), chain_hessian(X))
    close(f.flat(X), chain_hessian(X))
    S = f(X)
    assert f(V / 4, out=S) is S


@pytest.mark.parametrize("options", [{"parallel": True}, {"fastmath": True}, {"parallel": True, "fastmath": True}])
def test_backend_options(options):
    x = np.linspace(-1, 1, 50)
    f = hessian_jit(chain, **options)
    close(f(x), chain_hessian(x))
    close(f.sparse(x).toarray(), chain_hessian(x))


def test_cache_directory(tmp_path):
    script = Path(tmp_path, "cached.py")
    script.write_text("import sys\nimport numpy as np\nfrom symhess import hessian_jit\n"
                      "f = hessian_jit(lambda x: np.sum(np.exp(x[1:] * x[:-1])), cache=sys.argv[1])\n"
                      "print(f(np.linspace(0.4, 1.3, 4)).sum())\n")
    kept = tmp_path / "kernels"
    outputs = [run_python(str(script), str(kept)) for _ in range(2)]
    assert outputs[0] == outputs[1]
    close(float(outputs[0]), chain_hessian(X).sum())
    assert any(kept.rglob("*"))


def run_python(*command, **environment):
    import os

    root = Path(__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", **environment}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_memory_budget():
    f = interpreted(memory_budget=1000)
    close(f(X), chain_hessian(X))
    big = np.linspace(0, 1, 200)
    with pytest.raises(BudgetExceeded, match=r"200 variables.*\.sparse.*\.hvp.*memory_budget"):
        f(big)
    assert f.sparse(big).nnz == 598
    close(f.hvp(big, np.ones(200)), chain_hessian(big) @ np.ones(200))
    close(f(X), chain_hessian(X))


def test_decorator_with_and_without_arguments():
    @hessian_jit
    def plain(x):
        """Sum of cubes."""
        return cubes(x)

    assert isinstance(plain, HessianFunction) and isinstance(decorated, HessianFunction)
    assert plain.__name__ == "plain" and plain.__doc__ == "Sum of cubes."
    close(plain(X), np.diag(6 * X))
    close(decorated(X), np.diag(6 * X))


# -- what is decorated -------------------------------------------------------------------------------------------------


class Model:
    traces = 0

    def __init__(self, w):
        self.w = w

    @hessian_jit(mode="autograd")
    def loss(self, x, y=0.0):
        type(self).traces += 1
        return np.sum(self.w * (x - y) ** 3)

    @staticmethod
    @hessian_jit(mode="autograd")
    def fixed(x):
        return cubes(x)


def test_methods():
    one, two = Model(V), Model(X)
    for _ in range(2):
        close(one.loss(X), np.diag(6 * V * X))
        close(two.loss(X), np.diag(6 * X * X))
        close(one.loss.grad(X), 3 * V * X**2)
        close(one.loss(X, y=1.0), np.diag(6 * V * (X - 1)))
    assert Model.traces == 3
    close(Model.fixed(X), np.diag(6 * X))
    close(one.fixed(X), np.diag(6 * X))


def test_instances_can_be_collected_and_copied():
    import gc
    import weakref

    one = Model(V)
    one.loss(X)
    other = copy.copy(one)
    other.w = X
    close(other.loss(X), np.diag(6 * X * X))
    close(pickle.loads(pickle.dumps(one)).loss(X), np.diag(6 * V * X))
    close(pickle.loads(pickle.dumps(one.loss))(X), np.diag(6 * V * X))
    watch = weakref.ref(one)
    del one
    gc.collect()
    assert watch() is None


def test_partials_lambdas_and_callables():
    class Callable:
        def __call__(self, x):
            return cubes(x)

    for fn in (functools.partial(weighted, w=V), functools.partial(lambda w, x: weighted(x, w), V)):
        close(interpreted(fn)(X), np.diag(6 * V * X))
    close(interpreted(lambda x: cubes(x))(X), np.diag(6 * X))
    close(interpreted(Callable())(X), np.diag(6 * X))
    close(interpreted(np.sum)(X), np.zeros((4, 4)))


def test_a_compiled_function_may_be_compiled_again():
    again = hessian_jit(decorated.fn, sparse=True, mode="autograd")
    assert scipy.sparse.issparse(again(X))
    close(interpreted(lambda x: np.sum(decorated(x)))(X), np.zeros((4, 4)))
    wrapped = hessian_jit(decorated, sparse=True)
    assert wrapped.options.sparse and not decorated.options.sparse


def in_another_process(f, x):
    return f(x), f.sparse(x).toarray()


def test_pickling():
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    f = interpreted(chain)
    f(X)
    g = pickle.loads(pickle.dumps(f))
    assert g.options == f.options
    close(g(X), chain_hessian(X))
    close(copy.copy(f)(X), chain_hessian(X))
    close(copy.deepcopy(f)(X), chain_hessian(X))


def test_multiprocessing_by_spawning():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        dense, sparse = pool.apply(in_another_process, (interpreted(chain), X))
        close(dense, chain_hessian(X))
        close(sparse, chain_hessian(X))
        close(pool.apply(in_another_process, (decorated, X))[0], np.diag(6 * X))


# -- reports -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word, fn, x", [
    ("structure: diagonal;", cubes, X),
    ("structure: tridiagonal;", chain, X),
    ("structure: dense;", lambda x: np.sum(x) ** 3, X),
    ("block diagonal, 3 blocks", lambda x: np.sum(np.sum(x, axis=1) ** 3), np.ones((3, 4))),
    ("arrowhead", lambda x: np.sum(np.sin(x[0] * x[1:])), np.ones(9)),
    ("structure: zero;", np.sum, X),
    ("banded", lambda x: np.sum(np.exp(x[2:] * x[1:-1] * x[:-2])), np.ones(40)),
    ("block arg0['a'] x arg0['a'] [2, 2]: diagonal", lambda p: np.sum(np.sin(p["a"])) + np.sum(p["b"]) ** 3,
     {"a": A2, "b": B3}),
])
def test_explain_names_the_structure(word, fn, x):
    assert word in interpreted(fn).explain(x)


def test_explain_says_what_was_chosen_and_how_long_it_took():
    text = hessian_jit(chain).explain(X)
    for part in ("4 variables", "10 of 16 entries", "chosen: structured Terms", "Mflop", "plan:", "times: trace"):
        assert part in text
    assert "interpreted" in interpreted().explain(X)


def test_explain_shows_guards():
    f = hessian_jit(lambda x: np.sum(x**3) if x[0] > 0 else np.sum(x**2))
    assert "guards" in f.explain(X) and "True" in f.explain(X)


def test_debug_levels_print_more_and_more(monkeypatch, capsys):
    texts = []
    for level in range(6):
        monkeypatch.setenv("SYMHESS_DEBUG", str(level))
        close(hessian_jit(chain)(X), chain_hessian(X))
        texts.append(capsys.readouterr().err)
    titles = ["hessian: passes", "structure", "traced graph", "gradient graph", "source"]
    for level, text in enumerate(texts):
        assert [f"-- symhess: {t}" in text for t in titles] == [k < level for k in range(5)]
    assert texts[0] == "" and all(len(a) < len(b) for a, b in itertools.pairwise(texts))


def test_debug_level_of_a_process():
    code = "import numpy as np, symhess; symhess.hessian_jit(lambda x: np.sum(x**3), mode='autograd')(np.ones(5))"
    assert "structure" in run_python("-c", code, SYMHESS_DEBUG="2")
    assert run_python("-c", code, SYMHESS_DEBUG="none of these") == ""


def test_wrong_out_is_refused():
    f = interpreted()
    read_only = np.zeros((4, 4))
    read_only.flags.writeable = False
    for out in (np.zeros((3, 3)), np.zeros((4, 4), np.float32), np.zeros((4, 4), order="F"), np.zeros((8, 4))[::2],
                read_only, [[0.0] * 4] * 4, np.zeros((4, 4), ">f8")):
        with pytest.raises(ShapeMismatch, match="out"):
            f(X, out=out)
    for wrong in (scipy.sparse.csr_array((4, 4)), f.sparse(X).tocsc(), np.zeros((4, 4)), f.sparse(X, triangle="lower"),
                  scipy.sparse.csr_array(np.fliplr(chain_hessian(X)))):
        with pytest.raises(ShapeMismatch, match="out"):
            f.sparse(X, out=wrong)
    for out in (np.zeros(3), (np.zeros(4), np.zeros(4)), np.zeros(4, np.float32)):
        with pytest.raises(ShapeMismatch, match="out"):
            f.grad(X, out=out)
        with pytest.raises(ShapeMismatch, match="out"):
            f.hvp(X, V, out=out)
        with pytest.raises(ShapeMismatch, match="out"):
            f.diagonal(X, out=out)
    with pytest.raises(ShapeMismatch, match="out"):
        f.batch(np.stack([X, V]), out=np.zeros((3, 4, 4)))
