"""Every traced NumPy function gives what NumPy gives on plain arrays: values, shapes, dtypes, and errors."""

import numpy as np
import pytest
import scipy.linalg
import scipy.special as special

from symhess.graph.evaluate import evaluate
from symhess.graph.node import Graph, input_node
from symhess.graph.verify import verify
from symhess.trace import trace

RNG = np.random.default_rng(7)
V = RNG.uniform(0.2, 0.9, 6)
W = RNG.uniform(0.2, 0.9, 4)
A = RNG.uniform(0.2, 0.9, (3, 4))
B = RNG.uniform(0.2, 0.9, (3, 4))
S = RNG.uniform(-0.9, 0.9, (4, 4))
T = RNG.uniform(-1, 1, (2, 3, 4))
P = S @ S.T + 4 * np.eye(4)


def words(text):
    return text.split()


def leaves(x):
    return [leaf for item in x for leaf in leaves(item)] if isinstance(x, (list, tuple)) else [x]


def run_traced(fn, *arrays, concrete=False):
    inputs = [input_node(f"x{k}", np.shape(a), np.asarray(a).dtype) for k, a in enumerate(arrays)]
    values = dict(zip(inputs, map(np.asarray, arrays)))
    outputs = leaves(trace(fn, tuple(inputs), {}, values if concrete else None).outputs)
    graph = Graph(tuple(inputs), tuple(outputs))
    verify(graph)
    return evaluate(graph, [np.asarray(a) for a in arrays])


def check(fn, *arrays, concrete=False, rtol=1e-12):
    got = run_traced(fn, *arrays, concrete=concrete)
    want = leaves(fn(*[np.array(a) for a in arrays]))
    assert len(got) == len(want)
    for g, w in zip(got, want):
        w = np.asarray(w)
        assert g.shape == w.shape
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=rtol if w.dtype != np.float32 else 1e-5, atol=1e-14)


UNARY = words("""
sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arctanh exp exp2 expm1 log log2 log10 log1p sqrt cbrt
square reciprocal negative positive absolute fabs sign floor ceil trunc rint deg2rad rad2deg degrees radians
conjugate isnan isinf isfinite signbit logical_not sinc fix round nan_to_num real imag angle
""")
BINARY = words("""
add subtract multiply divide true_divide floor_divide power float_power maximum minimum fmax fmin hypot
arctan2 logaddexp logaddexp2 remainder mod fmod copysign heaviside less less_equal greater greater_equal equal
not_equal logical_and logical_or logical_xor isclose
""")


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_unary(name, dtype):
    check(getattr(np, name), A.astype(dtype))
    if dtype == np.float64 and name not in ("arcsin", "arccos", "arctanh", "log", "log2", "log10", "log1p", "sqrt"):
        check(getattr(np, name), 3 * S)


def test_arccosh():
    check(np.arccosh, 1 + A)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_binary(name, dtype):
    f = getattr(np, name)
    check(f, A.astype(dtype), B.astype(dtype))
    check(lambda x: f(x, W), A.astype(dtype))
    check(lambda x: (f(x, 2), f(0.5, x), f(x, 0.3)), A.astype(dtype))
    check(lambda x, y: f(x, y[:, :1]), A.astype(dtype), B)


@pytest.mark.parametrize("name", words("erf erfc expit gammaln digamma xlogy entr ndtr log_ndtr logit log_expit"))
def test_scipy_ufuncs(name):
    f = getattr(special, name)
    check((lambda x: f(x, x)) if f.nin == 2 else f, A, rtol=1e-9)


INTEGERS = np.array([3, -2, 5, 7])


@pytest.mark.parametrize(
    "fn",
    [
        lambda i: i + 1,
        lambda i: i * 0.5,
        lambda i: i / 2,
        lambda i: i // 2,
        lambda i: i % 3,
        lambda i: i**2,
        lambda i: np.sin(i),
        lambda i: np.sum(i),
        lambda i: np.mean(i),
        lambda i: i > 2,
        lambda i: -i,
        lambda i: abs(i),
        lambda i: (i > 2) & (i < 6),
        lambda i: ~(i > 2),
        lambda i: (i > 2) + (i < 6),
        lambda i: np.sum(i > 2),
        lambda i: (i > 2) * 1.5,
        lambda i: np.float32(2) * i,
        lambda i: np.floor(i),
        lambda i: np.square(i),
        lambda i: np.maximum(i, 3),
        lambda i: i.astype(float) / 3,
        lambda i: np.cumsum(i > 2),
        lambda i: i @ i,
        lambda i: np.prod(i),
        lambda i: np.var(i),
        lambda i: V[np.abs(i) % 6],
        lambda i: np.max(i > 2),
        lambda i: divmod(i, 2),
    ],
)
def test_integers_and_booleans(fn):
    check(fn, INTEGERS)


def test_promotion_of_float32():
    x = A.astype(np.float32)
    check(
        lambda x: (
            x + 1,
            x * 2.5,
            x**2,
            x + np.float64(1),
            x * np.arange(4),
            x + np.arange(4, dtype=np.int16),
            x * np.ones(4, np.float32),
            np.where(x > 0.5, x, 0.0),
            np.mean(x),
            np.linalg.norm(x),
        ),
        x,
    )


REDUCTIONS = [np.sum, np.prod, np.max, np.min, np.mean, np.var, np.std, np.ptp, np.any, np.all, np.count_nonzero]


@pytest.mark.parametrize("f", REDUCTIONS, ids=lambda f: f.__name__)
def test_reductions(f):
    check(lambda x: (f(x), f(x, axis=0), f(x, axis=-1, keepdims=True), f(x, axis=(0, 2)), f(x, 1)), T)
    check(lambda x: f(x, keepdims=True), A.astype(np.float32))


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: np.sum(x, axis=0, initial=3.0),
        lambda x: np.prod(x, initial=2.0),
        lambda x: np.max(x, initial=0.8),
        lambda x: np.sum(x, where=x > 0.5),
        lambda x: np.mean(x, axis=1, where=x > 0.3),
        lambda x: np.var(x, ddof=1),
        lambda x: np.std(x, axis=0, ddof=1),
        lambda x: np.max(x, where=x < 0.6, initial=-1.0),
        lambda x: np.var(x, where=x > 0.3),
        lambda x: np.average(x, axis=1, weights=[1.0, 2.0, 3.0, 4.0]),
        lambda x: np.average(x, weights=x),
        lambda x: np.average(x, axis=0, weights=[1, 2, 3], returned=True),
        lambda x: np.nansum(x),
        lambda x: np.nanmean(x, 0),
        lambda x: (np.cumsum(x), np.cumsum(x, 0), np.cumprod(x, axis=1), np.cumprod(x)),
        lambda x: np.add.reduce(x),
        lambda x: np.multiply.reduce(x, axis=1),
        lambda x: np.maximum.reduce(x, axis=None),
        lambda x: np.add.accumulate(x),
        lambda x: np.multiply.outer(x, x[0]),
        lambda x: np.subtract.outer(x[0], x[1]),
        lambda x: np.logical_or.reduce(x > 0.5),
        lambda x: (
            x.sum(1).mean() + x.std() + x.var(0)[1] + x.prod() + x.max(0)[0] + x.min() + x.ptp()
            if hasattr(x, "ptp")
            else x.sum(1).mean() + x.std() + x.var(0)[1] + x.prod() + x.max(0)[0] + x.min() + np.ptp(x)
        ),
    ],
)
def test_reduction_keywords(fn):
    check(fn, A)


KEYS = [
    1,
    -1,
    (1, 2),
    (0, -1),
    slice(None),
    slice(1, None),
    slice(None, None, 2),
    slice(None, None, -1),
    (slice(None), slice(2, 0, -1)),
    (..., 1),
    (1, ...),
    (None, 1),
    (slice(None), None, 2),
    np.array([2, 0, 0]),
    (slice(None), [0, 2]),
    ([0, 1], [2, 3]),
    ([[0], [2]], [1, 3]),
    np.ix_([0, 2], [1, 3]),
    A > 0.5,
    (np.array([True, False, True]), slice(1, 3)),
    (slice(0, 0),),
    np.int64(2),
    (np.int64(1), slice(None)),
    ([True, False, True], 1),
    np.array([], int),
    [[0, 1], [1, 2]],
    (np.array(1), 2),
    (np.array([-1, -2]), -1),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing(key):
    check(lambda x: x[key], A)


@pytest.mark.parametrize(
    "key",
    [
        (0, slice(None), [1, 2]),
        ([0, 1], slice(None), [1, 2]),
        (slice(None), [0, 2], [1, 3]),
        (..., [0, 1], [1, 2]),
        ([1], None, [2]),
        (1, [0, 2], slice(1, None)),
        (0, 1, 2),
        (slice(None), -1),
        (..., None),
        (1, 1, ...),
    ],
    ids=str,
)
def test_indexing_of_rank_three(key):
    check(lambda x: x[key], T)


@pytest.mark.parametrize("key", [7, (0, 9), ([0, 5],), (0, 0, 0), np.array([True, False])], ids=str)
def test_indexing_errors_are_index_errors(key):
    with pytest.raises(IndexError):
        run_traced(lambda x: x[key], A)


MOVEMENT = {
    "reshape": lambda x: (
        x.reshape(4, 3),
        x.reshape(-1),
        np.reshape(x, (2, -1)),
        x.reshape((3, 2, 2)),
        x.reshape(2, 6, order="F"),
        np.ravel(x),
        x.ravel("F"),
        x.flatten(),
    ),
    "transpose": lambda x: (
        x.T,
        np.transpose(x),
        x.transpose(1, 0),
        np.swapaxes(x, 0, 1),
        np.moveaxis(x, 0, -1),
        np.rollaxis(x, 1),
        x.swapaxes(0, 1),
        np.permute_dims(x, (1, 0)),
        x.mT,
    ),
    "flips": lambda x: (
        np.flip(x),
        np.flip(x, 1),
        np.fliplr(x),
        np.flipud(x),
        np.rot90(x),
        np.rot90(x, 2),
        x[::-1, ::-2],
    ),
    "repeat": lambda x: (
        np.roll(x, 1),
        np.roll(x, (1, 2), (0, 1)),
        np.tile(x, 2),
        np.tile(x, (2, 1)),
        np.repeat(x, 2),
        np.repeat(x, [1, 0, 2], axis=0),
        np.resize(x, (2, 7)),
    ),
    "axes": lambda x: (
        np.expand_dims(x, 1),
        np.squeeze(x[:, :1]),
        np.atleast_1d(x[0, 0]),
        np.atleast_2d(x[0]),
        np.atleast_3d(x),
        np.broadcast_to(x, (2, 3, 4)),
        x[None].squeeze(0),
        np.atleast_2d(x[0, 1]),
    ),
    "join": lambda x: (
        np.concatenate([x, x], 1),
        np.concatenate([x, [[1, 2, 3, 4]]]),
        np.stack([x, x * 2], -1),
        np.hstack([x, x]),
        np.vstack([x, x[0]]),
        np.dstack([x, x]),
        np.column_stack([x, x[:, 0]]),
        np.concatenate([x, x], axis=None),
        np.append(x, 3.0),
        np.append(x, x, 0),
        np.block([[x, x], [x, x]]),
        np.hstack([x[0, 0], x[1]]),
        np.stack([x[0, 0], x[1, 1]]),
        np.insert(x, 1, 5.0, axis=1),
        np.insert(x[0], [1, 2], x[1, :2]),
        np.delete(x, 1, 0),
        np.delete(x[0], [0, 2]),
    ),
    "split": lambda x: (
        np.split(x, 2, axis=1),
        np.array_split(x, 2),
        np.split(x[0], [1, 3]),
        np.hsplit(x, 2),
        np.vsplit(x, 3),
    ),
    "pick": lambda x: (
        np.take(x, [0, 2], axis=1),
        x.take([5, 1]),
        np.compress([True, False, True], x, axis=0),
        np.extract(A > 0.5, x),
        np.take_along_axis(x, np.argsort(A, 1), 1),
        np.diagonal(x),
        x.diagonal(1),
        np.diag(x),
        np.diag(x[0]),
        np.diag(x[0], -1),
        np.diagflat(x),
        np.tril(x),
        np.triu(x, 1),
        x[np.triu_indices_from(x)] if x.shape[0] == x.shape[1] else x,
    ),
    "pad": lambda x: (
        np.pad(x, 1),
        np.pad(x, ((1, 0), (0, 2)), constant_values=3.0),
        np.pad(x, 1, mode="edge"),
        np.pad(x[0], 2, mode="reflect"),
        np.pad(x, 1, mode="wrap"),
        np.pad(x, (0, 2), mode="symmetric"),
    ),
    "windows": lambda x: (
        np.lib.stride_tricks.sliding_window_view(x, 2, axis=1),
        np.lib.stride_tricks.sliding_window_view(x[0], 3),
    ),
    "differences": lambda x: (
        np.diff(x),
        np.diff(x, 2, axis=0),
        np.diff(x[0], prepend=1.0, append=x[0, :2]),
        np.ediff1d(x),
        np.ediff1d(x, to_end=9.0),
        np.gradient(x[0]),
        np.gradient(x),
        np.gradient(x, 0.5, axis=1),
        np.gradient(x[0], [0.0, 1.0, 3.0, 3.5]),
        np.gradient(x[0], edge_order=2),
        np.trapezoid(x),
        np.trapezoid(x, dx=0.1, axis=0),
        np.trapezoid(x[0], x=[0.0, 1, 3, 4]),
    ),
    "convolve": lambda x: (
        np.convolve(x[0], x[1]),
        np.convolve(x[0], [1.0, 2, 3], "same"),
        np.convolve(x[0], x[1, :2], "valid"),
        np.convolve([1.0, 2.0], x[0]),
        np.correlate(x[0], x[1]),
        np.correlate(x[0], x[1, :3], "full"),
        np.correlate(x[0, :2], x[1], "same"),
        np.convolve(x[0, :2], x[1], "same"),
        np.correlate(x[0, :2], x[1], "full"),
        np.convolve(x[0], np.ones(2), "same"),
    ),
    "choices": lambda x: (
        np.where(x > 0.5, x, 0),
        np.where(A > 0.5, x, -x),
        np.clip(x, 0.3, 0.6),
        np.clip(x, None, x[0]),
        x.clip(0.4),
        np.select([x < 0.4, x < 0.6], [x, x**2], 7.0),
        np.piecewise(x, [x < 0.5, x >= 0.5], [lambda t: t**2, lambda t: -t]),
        np.piecewise(x, [x < 0.5], [1.0, np.sin]),
        np.choose([0, 1, 1, 0], [x, -x]),
    ),
    "grids": lambda x: (
        np.meshgrid(x[0], x[1]),
        np.meshgrid(x[0], [1.0, 2], indexing="ij"),
        np.vander(x[0], 3),
        np.meshgrid(x[0], x[1], sparse=True),
        np.polyval([1.0, 2, 3], x),
        np.polyval(x[0], 0.5),
        np.vander(x[0], increasing=True),
        np.broadcast_arrays(x, x[0]),
    ),
    "likes": lambda x: (
        np.zeros_like(x) + x,
        np.ones_like(x),
        np.full_like(x, 2),
        np.copy(x),
        x.copy(),
        np.empty_like(x) * 0,
        np.full_like(x, x[0, 0]),
        np.zeros_like(x, dtype=np.float32),
    ),
    "queries": lambda x: x * np.size(x) + np.ndim(x) * np.shape(x)[0] + len(x) + x.ndim * x.size + np.iscomplexobj(x),
    "products": lambda x: (
        np.dot(x, W),
        x @ x.T,
        np.matmul(x, W),
        np.inner(x, x),
        np.outer(x[0], x[1]),
        np.vdot(x, x),
        np.tensordot(x, x, 2),
        np.tensordot(x, T, ([0, 1], [1, 2])),
        np.tensordot(x, S, 1),
        np.kron(x, [[1.0, 2.0]]),
        np.kron(x[0], x[1]),
        np.trace(x),
        np.cross(x[:, :3], x[:, 1:]),
        np.cross(x[0, :3], [1.0, 2, 3]),
        np.dot(x, 2.0),
        np.dot(T, x.T),
        x.dot(W),
        np.trace(x, 1),
        np.vecdot(x, x) if hasattr(np, "vecdot") else np.sum(x * x, -1),
        np.linalg.multi_dot([x, S, W]),
    ),
    "einsum": lambda x: (
        np.einsum("ij,kj->ik", x, x),
        np.einsum("ij,j", x, W),
        np.einsum("ij->ji", x),
        np.einsum("ij", x),
        np.einsum("...j,j->...", x, W),
        np.einsum("ij,ij->", x, x),
        np.einsum("ii->i", x[:, :3]),
        np.einsum("ii", x[:, :3]),
        np.einsum("i,j->ij", x[0], x[1]),
        np.einsum("aij,ij->a", T, x),
        np.einsum("...ij,...ij->...", T, x),
        np.einsum(x, [0, 1], W, [1], [0]),
        np.einsum("ij,j->", x, W),
    ),
}


@pytest.mark.parametrize("name", MOVEMENT)
def test_functions(name):
    check(MOVEMENT[name], A)


@pytest.mark.parametrize("order", [None, 1, 2, 3, np.inf, -np.inf, 0, 0.5])
def test_vector_norms(order):
    check(lambda x: (np.linalg.norm(x, order), np.linalg.norm(x[::-1], order, keepdims=True)), V)
    check(lambda x: np.linalg.norm(x, order, axis=1), A)


@pytest.mark.parametrize("order", [None, "fro", 1, -1, np.inf, -np.inf])
def test_matrix_norms(order):
    check(lambda x: (np.linalg.norm(x, order), np.linalg.norm(x, order, axis=(0, 1), keepdims=True)), S)


def test_linear_algebra():
    check(
        lambda a: (
            np.linalg.det(a),
            np.linalg.slogdet(a),
            np.linalg.inv(a),
            np.linalg.solve(a, W),
            np.linalg.cholesky(a),
            np.linalg.solve(a, a[:, :2]),
            np.linalg.matrix_power(a, 3),
            np.linalg.matrix_power(a, -2),
        ),
        P,
        rtol=1e-9,
    )


def test_scipy_linear_algebra():
    check(
        lambda a: (
            scipy.linalg.cholesky(a, lower=True),
            scipy.linalg.cholesky(a),
            scipy.linalg.solve(a, W),
            scipy.linalg.cho_solve(scipy.linalg.cho_factor(a), W),
            scipy.linalg.det(a),
            scipy.linalg.inv(a),
            scipy.linalg.solve_triangular(a, W, lower=True),
            scipy.linalg.solve_triangular(a, W, trans=1),
            scipy.linalg.solve_triangular(a, W, unit_diagonal=True),
            scipy.linalg.block_diag(a, a[:2]),
            scipy.linalg.toeplitz(a[0]),
            scipy.linalg.toeplitz(a[0], a[1]),
        ),
        P,
        rtol=1e-9,
    )


def test_scipy_special_functions():
    check(
        lambda x: (
            special.logsumexp(x),
            special.logsumexp(x, axis=1, keepdims=True),
            special.softmax(x, axis=0),
            special.logsumexp(x, b=A, axis=0),
            special.log_softmax(x, axis=1),
            special.multigammaln(3 + x[0, 0], 2),
        ),
        A,
        rtol=1e-9,
    )


def test_interp():
    nodes, values = np.array([0.1, 0.4, 0.8]), np.array([1.0, 3.0, -2.0])
    check(lambda x: (np.interp(x, nodes, values), np.interp(x, nodes, values, left=9.0, right=8.0)), A)
    check(lambda f: np.interp(W, nodes, f[:3]), V)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: np.sort(x),
        lambda x: np.sort(x, axis=0),
        lambda x: x[np.argsort(x[:, 0])],
        lambda x: np.median(x),
        lambda x: np.median(x, axis=1),
        lambda x: x[x > 0.5],
        lambda x: np.argmax(x) * x,
        lambda x: x[0, x[0].argmin()],
        lambda x: np.argmax(x, axis=0) * 1.0,
        lambda x: x[np.nonzero(x > 0.5)],
        lambda x: x.flat[np.flatnonzero(x < 0.4)],
        lambda x: np.searchsorted([0.3, 0.6], x),
        lambda x: x[0] if x[0, 0] > x[0, 1] else x[1],
        lambda x: x[0, int(3 * x[0, 0])],
    ],
)
def test_decided_by_values(fn):
    check(fn, A, concrete=True)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: (np.quantile(x, 0.3), np.quantile(x, [0, 0.25, 1], axis=1), np.percentile(x, 40, axis=0)),
        lambda x: np.digitize(x, [0.3, 0.6]),
        lambda x: sum(v * i for (i, _), v in np.ndenumerate(x)),
    ],
)
def test_order_statistics(fn):
    check(fn, A, concrete=True)


def test_segments_and_covariance():
    check(lambda x: (np.add.reduceat(x, [0, 2, 3]), np.bincount([0, 2, 2, 1, 0, 4], weights=x, minlength=7)), V)
    check(lambda x: (np.add.reduceat(x, [1, 2], axis=0), np.add.reduceat(x, [0, 3], axis=1)), A)
    check(
        lambda x: (np.cov(x), np.cov(x, rowvar=False, bias=True), np.cov(x[0], x[1]), np.corrcoef(x), np.cov(x[0])), A
    )


def test_lookup_with_a_traced_index():
    check(lambda i: (V[i % 6], np.take(V, i % 6), A[:, i % 4], V[i - 6]), np.array([3, 1, 5, 0]))
