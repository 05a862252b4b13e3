"""Tracing ordinary Python: assignments, helpers, closures, methods, built-ins; errors; threads; no side effects."""

import dataclasses
import functools
import math
import threading
from collections import namedtuple
from functools import partial
from math import exp as exponential
from math import sqrt

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.sparse
import scipy.special
import scipy.stats
from numpy import array, cos, zeros
from numpy.linalg import norm
from scipy.spatial.distance import cdist, pdist
from test_trace import check, run_traced

from symhess import hessian_jit
from symhess.errors import (
    ConcretizationError,
    DTypeMismatch,
    InputMutation,
    LeakedTracer,
    ShapeMismatch,
    UnsupportedOperation,
)
from symhess.graph.node import input_node
from symhess.trace import is_traced, node_of, trace, wrap

X = np.array([0.3, 0.8, 0.5, 0.9, 0.4, 0.7])
M = X.reshape(2, 3)
TABLE = np.arange(12.0).reshape(3, 4)
COUNTER = 0
LAYERS = [np.tanh, lambda v: v * 2, lambda v: np.array([v[0], v[1]])]


def helper(v, n=3):
    out = zeros(n)
    for k in range(n):
        out[k] = exponential(v[k]) * math.sin(v[k - 1]) + sqrt(v[k])
    return out


def recursive(v, depth):
    return np.array([v.sum(), depth]) if depth == 0 else recursive(v * 2, depth - 1) + np.zeros(2)


def counts(v):
    global COUNTER
    COUNTER += 1
    return v * COUNTER


class Model:
    scale = 2.0

    def __init__(self):
        self.calls = 0
        self.bias = np.ones(3)
        self.inner = None

    def loss(self, x):
        self.calls += 1
        return self.regular(x) + self.static(x) + self.weight + (0 if self.inner is None else self.inner(x))

    def regular(self, x):
        out = np.empty_like(x)
        out[:] = x
        out[1] *= float(x[0])
        return math.sqrt(out[1]) * self.scale

    @staticmethod
    def static(x):
        return max(x[0], x[1], 0.1)

    @property
    def weight(self):
        return np.array([self.bias[0], 2.0]).sum()

    def __call__(self, x):
        return np.full(2, x[0]).sum()


@dataclasses.dataclass
class Point:
    a: object
    b: object

    def length(self):
        return math.hypot(self.a, self.b) if isinstance(self, Point) else None

    @classmethod
    def of(cls, x):
        return cls(x[0], math.exp(x[1]))


class Child(Model):
    def regular(self, x):
        return super().regular(x * x) + math.exp(x[0])


# -- assignment ----------------------------------------------------------------------------------------------------


def loop_writes(x):
    out = np.zeros(len(x) - 1)
    for i in range(len(out)):
        out[i] = x[i + 1] - x[i] ** 2
    return out


def chain(x):
    y = np.empty(50)
    y[0] = x[0]
    for i in range(49):
        y[i + 1] = y[i] + 0.1 * np.sin(y[i])
    return y


def slices(x):
    out = np.zeros((4, 6))
    out[0] = x
    out[1:3, ::2] = x[:3]
    out[-1, 1:-1] += x[2:]
    out[2] *= 3
    out[:, 0] = 7
    return out


def views(x):
    out = np.zeros((2, 3))
    row, column, flipped, flat = out[0], out[:, 1], out[::-1], out.reshape(-1)
    row[1] = x[0]
    column += x[1]
    flipped[0, 0] = x[2]
    flat[2] = x[3]
    out.T[2, 1] = x[4]
    seen = row.copy()
    row[:] = 5
    return out, seen, row, column, flipped, flat


def aliases(x):
    y = x * 2
    z = y
    z += 1
    part = y[1:3]
    y[1] = x[0]
    part[1] = 9
    return y, part, z


def fancy(x):
    y = x * 1.0
    y[[0, 2]] = x[1]
    y[np.array([True, False, False, True, False, False])] += 2
    y[[4, 4]] = [x[0], x[2]]
    y[..., -1] = 3
    y[y > 1] = 0
    return y


def mixed_pieces(x):
    out = np.arange(20.0).reshape(4, 5)
    out[1:3, 1:3] = np.outer(x[:2], x[1:3])
    out[2, 2] = x[0]
    out[0, 4] = 11
    out[3] = np.array([x[0], 0, x[1], 0, x[2]])
    return out, out[1], out[:, 2], out[1:, 1:]


def accumulate(x):
    total, norms = np.zeros(3), np.zeros(())
    for k in range(3):
        total += x[k : k + 3] * k
        norms += x[k]
    out = np.zeros(4)
    np.add.at(out, [0, 1, 1, 3], x[:4])
    np.subtract.at(out, [0, 0], x[0])
    return total, norms, out


def outputs(x):
    b, c = np.empty(6), np.zeros(6)
    np.multiply(x, 2, out=b)
    np.sin(b, b)
    np.add(x, 1, out=c[...])
    return b, c, np.linspace(x[0], x[1], 5), np.linspace(0, x[0], 4, endpoint=False)


def integer_buffer(x):
    out = np.zeros(3, dtype=int)
    out[0] = 5.7 + x[0]
    out[1] = -3.9 - x[1]
    return out


def diagonal_writes(x):
    a = np.eye(3)
    a[np.arange(3), np.arange(3)] = x[:3]
    a[np.triu_indices(3, 1)] = x[3:]
    np.fill_diagonal(a[:, ::-1], x[0])
    b = np.zeros_like(a)
    np.copyto(b, a)
    b.fill(x[1])
    return a, b, a @ b


def arithmetic_of_constants(x):
    y = np.zeros(3) + 1.0
    y[0] = x[0]
    z = np.linspace(0, 1, 3)
    z[-1] = x[1]
    w = TABLE.copy()
    w[0] *= x[2]
    u = (TABLE * 2)[:2]
    u[0, 0] = x[3]
    return y, z, w, u, TABLE.T[1] + x[0]


@pytest.mark.parametrize(
    "fn",
    [
        loop_writes,
        chain,
        slices,
        views,
        aliases,
        fancy,
        mixed_pieces,
        accumulate,
        outputs,
        integer_buffer,
        diagonal_writes,
        arithmetic_of_constants,
    ],
    ids=lambda f: f.__name__,
)
def test_assignment(fn):
    check(fn, X)


def test_scalar_read_after_write_is_the_scalar():
    def same(x):
        out = np.zeros(3)
        value = x[0] * 2
        out[1] = value
        assert node_of(out[1]) is node_of(value)
        return out.sum()

    run_traced(same, X)


def test_untouched_buffers_are_plain_arrays():
    def plain(x):
        index = np.zeros(2, dtype=int)
        index[1] = 3
        assert index[1] == 3 and float(index.sum()) == 3.0 and list(range(index[1])) == [0, 1, 2]
        assert isinstance(index, np.ndarray) and np.asarray(index).dtype == int and TABLE[index[:1]].shape == (1, 4)
        return x[index]

    check(plain, X)


# -- ordinary Python -----------------------------------------------------------------------------------------------


IDIOMS = {
    "helper": helper,
    "partial": partial(helper, n=2),
    "recursion": lambda x: recursive(x, 2),
    "array of values": lambda x: np.array([[x[0], 1], [2.5, x[1]]]) @ array([x[2], x[3]]),
    "array of rows": lambda x: np.array([x[:2], x[2:4]]),
    "asarray": lambda x: np.asarray(x) + np.asarray([x[0]] * 6),
    "lists": lambda x: (
        np.sum([x[0], x[1]]) + norm([x[0], 2.0]) + np.sin([x[0], x[1]])[0] + np.dot([x[0], 1], [x[1], 2])
    ),
    "full": lambda x: np.full((2, 2), x[0]),
    "r_": lambda x: np.r_[x[0], x[1:3], 4.0, 0:2],
    "c_": lambda x: np.c_[x[:3], x[3:]],
    "vectorize": lambda x: np.vectorize(lambda t, c: t * c)(x, 3.0),
    "math": lambda x: (
        math.hypot(x[0], x[1])
        + math.atan2(x[0], x[1])
        + math.pow(x[0], 2)
        + math.log(x[0], 3)
        + math.fsum([x[0], x[1]])
        + math.prod([x[0], x[2]])
        + math.pi
        + math.dist(x[:2], x[2:4])
        + math.fabs(-x[0])
        + math.degrees(x[1])
    ),
    "float": lambda x: float(x[0]) * 2 + np.float64(x[1]) + float("2") + x.item(2),
    "max and min": lambda x: max(x[0], x[1], 0.3) + min(x) + max([x[2], x[3]]) + max(3, 4) + min([5, 6]),
    "sum, abs, pow, round": lambda x: sum(x) + abs(-x[0]) + pow(x[0], 2) + sum(v * v for v in x) + divmod(x[0], 0.2)[1],
    "unpack": lambda x: (lambda a, b, *rest: a * b + sum(rest))(*x),
    "zip": lambda x: [a * b for a, b in zip(x, x[:4])],
    "enumerate": lambda x: sum(i * v for i, v in enumerate(x)),
    "isinstance": lambda x: (
        x[0] if isinstance(x, np.ndarray) and isinstance(x[0], float) and np.isscalar(x[0]) else 0.0
    ),
    "imported ufunc": lambda x: cos(x),
    "table": lambda x: LAYERS[2](LAYERS[1](x)),
    "scipy": lambda x: scipy.special.expit(x) + scipy.special.logsumexp([x[0], x[1]]),
    "lambda default": lambda x, s=sqrt: s(x[0]),
    "sorted keys": lambda x: sum({"b": x[1], "a": x[0]}[k] for k in sorted(["b", "a"])),
    "axis tuple": lambda x: x.reshape(2, 3).sum(axis=(0, 1)),
    "astype": lambda x: x.astype(float).astype(np.float32) * np.float32(2),
    "dtype": lambda x: (
        np.zeros(2, dtype=x.dtype) + np.zeros(2, dtype=np.float64) + np.ones(2, float) * x[0] * np.finfo(float).max
    ),
    "fromiter": lambda x: np.fromiter((v * 2 for v in x), dtype=float),
    "tolist": lambda x: np.array(x.tolist()) * 2,
    "poly": lambda x: np.polyval([x[0], x[1]], 2.0),
    "outer product": lambda x: np.multiply.outer(x, x).trace(),
    "copy": lambda x: functools.reduce(lambda a, b: a + b, list(x.copy())),
    "matrix": lambda x: x[:3] @ TABLE,
    "left": lambda x: (
        TABLE @ x[:4] + TABLE.dot(x[:4]) + (TABLE * x[0]).sum() + TABLE.mean() * x[1] + np.float64(3) * x[0]
    ),
}


@pytest.mark.parametrize("name", IDIOMS)
def test_idioms(name):
    check(IDIOMS[name], X)


def test_sparse_matrices_made_in_the_function():
    from scipy.sparse import csr_array, diags

    def energy(x):
        n = len(x)
        second = diags([np.ones(n - 1), -2 * np.ones(n), np.ones(n - 1)], [-1, 0, 1])
        picked = csr_array((np.ones(2), ([0, 1], [1, 2])), shape=(2, n)) @ x
        blocks = scipy.sparse.kron(scipy.sparse.eye(2), [[1, 2], [3, 4]])
        return (second @ x) @ x + np.sum((blocks @ x) ** 3) + picked.prod()

    x = np.array([0.5, -1.0, 2.0, 0.7])
    f = hessian_jit(energy, mode="autograd")
    np.testing.assert_allclose(f.value(x), energy(x), rtol=1e-13)
    step = 1e-5 * np.eye(4)
    differences = [(f.grad(x + e) - f.grad(x - e)) / 2e-5 for e in step]
    np.testing.assert_allclose(f(x), differences, atol=1e-7)
    np.testing.assert_allclose(f.grad(x), [(energy(x + e) - energy(x - e)) / 2e-5 for e in step], atol=1e-7)


@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix", "coo_array", "dia_matrix"])
def test_sparse_matrices(kind):
    matrix = getattr(scipy.sparse, kind)(scipy.sparse.random(4, 6, 0.5, random_state=1))
    check(
        lambda x: (
            matrix @ x,
            matrix.dot(x),
            (matrix @ np.outer(x, x[:2])),
            x[:4] @ matrix,
            matrix.T @ x[:4],
            2 * matrix.tocsr()[:2] @ x,
        ),
        X,
    )
    check(lambda x: (matrix @ np.ones(6)) * x[0], X)
    if kind.endswith("matrix"):
        check(lambda x: matrix * x, X)


CONTINUOUS = {
    "norm": (),
    "expon": (),
    "gamma": (2.5,),
    "invgamma": (2.5,),
    "beta": (2.0, 3.0),
    "chi2": (4.0,),
    "t": (5.0,),
    "cauchy": (),
    "logistic": (),
    "laplace": (),
    "lognorm": (0.7,),
    "weibull_min": (1.5,),
    "gumbel_r": (),
    "halfnorm": (),
    "rayleigh": (),
    "pareto": (2.0,),
    "uniform": (),
}
DISCRETE = {"poisson": (1.5,), "bernoulli": (0.3,), "binom": (7, 0.3), "nbinom": (4, 0.6), "geom": (0.4,)}
FROZEN = scipy.stats.norm(0.2, 2.0)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities(name):
    law, shapes = getattr(scipy.stats, name), CONTINUOUS[name]
    check(lambda x: (law.logpdf(x, *shapes), law.pdf(x - 0.5, *shapes, loc=0.1, scale=x[0])), X + 0.2, rtol=1e-9)
    if name in ("norm", "logistic", "expon", "cauchy", "gumbel_r", "lognorm", "weibull_min", "rayleigh", "uniform"):
        check(lambda x: (law.cdf(x, *shapes), law.sf(x, *shapes, scale=1.5), law.logcdf(x, *shapes)), X, rtol=1e-9)


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities(name):
    law, shapes = getattr(scipy.stats, name), DISCRETE[name]
    check(
        lambda x: (
            law.logpmf([0, 1, 1, 1], *shapes) * x[0],
            law.logpmf(1, *shapes[:-1], x),
            law.pmf(1, *shapes[:-1], x),
        ),
        X,
        rtol=1e-9,
    )


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities_outside_of_the_support(name):
    """No probability outside of the support or between the integers; points may be a list."""
    law, shapes = getattr(scipy.stats, name), DISCRETE[name]
    points = [-1, 0, 0.5, 1, 2, 2.5, 99]
    check(lambda x: law.pmf(points, *shapes[:-1], x[0]), X, rtol=1e-9)
    made = hessian_jit(lambda p: law.logpmf(points, *shapes[:-1], p), mode="autograd")
    np.testing.assert_allclose(made.value(0.4), law.logpmf(points, *shapes[:-1], 0.4), rtol=1e-12)


def test_parameters_that_no_law_has():
    """NaN as from SciPy where scale or shape are not positive, also where the formula itself would give a number."""
    for f in (lambda p: scipy.stats.norm.cdf(1.0, 0.0, p), lambda p: scipy.stats.expon.cdf(1.0, 0.0, p),
              lambda p: scipy.stats.norm.logcdf(1.0, 0.0, p), lambda p: scipy.stats.norm.sf(1.0, 0.0, p),
              lambda p: scipy.stats.gamma.logpdf(1.0, p), lambda p: scipy.stats.beta.logpdf(0.5, p, 2.0)):
        made = hessian_jit(f, mode="autograd")
        assert np.isnan(f(-1.5)) and np.isnan(made.value(-1.5))
        np.testing.assert_allclose(made.value(1.5), f(1.5), rtol=1e-12)


def test_lists_of_traced_parameters():
    norm, many = scipy.stats.norm, scipy.stats.multivariate_normal
    check(lambda x: norm.logpdf([1.0, 2.0], loc=[x[0], x[1]], scale=[x[1], x[2]]), X[:3], rtol=1e-9)
    check(lambda x: norm.cdf([1.0, 2.0], x[0], x[1]) + norm.logcdf((0.1, 0.2), [x[0], 0.0]), X[:3], rtol=1e-9)
    check(lambda x: many.logpdf([[1, 2], [3, 4.0]], mean=[x[0], x[1]], cov=[[x[1] + 2, 0.1], [0.1, x[2]]]), X[:3],
          rtol=1e-9)


def test_frozen_and_multivariate_laws():
    cov = np.array([[2.0, 0.3], [0.3, 1.0]])
    law = scipy.stats.multivariate_normal
    check(lambda x: (FROZEN.logpdf(x), scipy.stats.norm(x[0], 2.0).logpdf(x), FROZEN.mean() * x), X, rtol=1e-9)
    check(
        lambda x: (law.logpdf(x[:2], x[2:4], cov), law.logpdf(x.reshape(3, 2), cov=cov * x[0]), law.pdf(x[:2])),
        X,
        rtol=1e-9,
    )


def test_functions_of_scipy_itself():
    points = TABLE[:, :3] + 0.5
    check(
        lambda x: (scipy.integrate.simpson(x, dx=0.1), scipy.integrate.simpson(x[:5]), scipy.integrate.trapezoid(x)), X
    )
    check(lambda x: scipy.integrate.cumulative_trapezoid(x, initial=0), X)
    check(lambda x: (cdist(x.reshape(2, 3), points), pdist(x.reshape(3, 2), "sqeuclidean"), pdist(x[:, None])), X)
    check(scipy.optimize.rosen, X)
    check(lambda x: scipy.optimize.rosen(x) * x[0], X)


def test_import_inside_the_function():
    def inside(x):
        import math as m

        import numpy as q
        import scipy.special as special
        from numpy import empty

        out = empty(2)
        out[0], out[1] = m.sin(x[0]), special.logsumexp(x)
        return out + q.array([x[0], 1.0])

    check(inside, X)


def test_closures_and_nonlocal():
    def outer():
        calls, factor = 0, np.array([1.0, 2.0])

        def fact(n):
            return 1 if n < 2 else n * fact(n - 1)

        def f(x):
            nonlocal calls
            calls += 1
            return np.array([x[0], x[1]]) * factor * fact(4)

        return f, lambda: calls

    f, calls = outer()
    check(f, X)
    assert calls() == 2


def test_global_counter_is_updated():
    before = COUNTER
    run_traced(counts, X)
    assert before + 1 == COUNTER


@pytest.mark.parametrize("cls", [Model, Child])
def test_methods(cls):
    model = cls()
    check(model.loss, X)
    assert model.calls == 2
    model.inner = Model()
    check(model.loss, X)
    check(model, X)
    check(lambda x: model.loss(x) + model(x), X)
    assert type(model) is cls and type(model.inner) is Model and model.calls == 6


def test_objects_made_while_tracing():
    check(lambda x: Point(x[0], x[1]).length() + Point.of(x).length() + Child().loss(x), X)
    assert type(trace(lambda x: Point(x, 1.0), (input_node("x", ()),), {}).outputs) is Point
    known = Point(1.0, 2.0)
    check(lambda x: x if isinstance(known, Point) and isinstance(Point(x, 1), Point | int) else -x, X)


class Slotted:
    __slots__ = ("__calls", "factor")
    made = 0

    def __init__(self, factor):
        self.factor, self.__calls = factor, 0

    def __call__(self, x):
        Slotted.made += 1
        self.__calls += 1
        out = np.zeros(2)
        out[0] = x[0] * self.factor
        return out

    @property
    def calls(self):
        return self.__calls


class Chain:
    def __init__(self, *steps):
        self.steps, self.seen, self.last = list(steps), [], None

    def __call__(self, x):
        self.seen.append("called")
        self.last = np.zeros(3)
        for step in self.steps:
            x = step(x)
        return x


@functools.lru_cache
def cached_matrix(n):
    return np.eye(n) + math.sqrt(n)


def test_objects_in_lists_slots_and_class_attributes():
    first = Slotted(2.0)
    net = Chain(first, [np.tanh, first][0], lambda v: np.array([v[0], 1.0]), np.sum)
    net.steps.append(abs)
    before = Slotted.made
    check(net, X)
    assert (Slotted.made, first.calls) == (before + 2, 2)
    assert net.seen == ["called"] * 2 and type(net.last) is np.ndarray
    check(lambda x: net(x) + cached_matrix(6) @ x, X)


def test_lists_that_hold_themselves():
    loop = [helper]
    loop.append(loop)
    check(lambda x: loop[0](x) * len(loop), X)


def test_compiled_helpers_are_traced_through_their_source():
    numba = pytest.importorskip("numba")

    @numba.njit
    def compiled(x):
        out = np.zeros(2)
        for i in range(2):
            out[i] = math.sin(x[i])
        return out

    check(lambda x: compiled(x) * 2, X)
    check(compiled, X)


def test_pytrees_of_arguments_and_results():
    Pair = namedtuple("Pair", "a b")

    @dataclasses.dataclass(frozen=True)
    class Parameters:
        weight: object
        name: str
        pair: tuple

    w, v, b = (input_node(n, (3,)) for n in "wvb")
    given = Parameters(w, "first", (v, {"b": b, "k": 2.0}))

    def fn(p, *, extra):
        assert p.name == "first" and is_traced(p.weight)
        return {
            "p": Parameters(p.weight * 2, "out", ()),
            "pair": Pair(p.pair[0] + p.pair[1]["b"], None),
            "n": 3,
            "x": extra.a,
            "constant": np.zeros(2),
            "list": [p.pair[1]["k"], "text"],
        }

    got = trace(fn, (given,), {"extra": Pair(w, 1)}).outputs
    assert got["p"].weight.shape == (3,) and got["p"].name == "out" and isinstance(got["p"], Parameters)
    assert isinstance(got["pair"], Pair) and got["pair"].b is None and got["x"] is w
    assert got["n"].shape == () and got["constant"].shape == (2,) and got["list"][1] == "text"


def test_nested_traces_share_nodes():
    x = input_node("x", (3,))

    def outer(v):
        inner = trace(lambda u: np.sum(np.array([u[0], v[1]]) * 2), (node_of(v),), {})
        return wrap(inner.outputs, v) * v

    graph = trace(outer, (x,), {}).outputs
    assert graph is trace(lambda v: np.array([v[0], v[1]]).sum() * v * 2, (x,), {}).outputs or graph.shape == (3,)


def test_guards_of_nested_traces_reach_the_outer_one():
    x = input_node("x", ())

    def outer(v):
        return wrap(trace(lambda u: u * 2 if u > 1 else u, (node_of(v),), {}).outputs, v) + 1

    assert [g.outcome for g in trace(outer, (x,), {}, {x: np.array(3.0)}).guards] == [True]


# -- branches ------------------------------------------------------------------------------------------------------


def newton(x):
    guess, steps = x[0], 0
    while abs(guess * guess - x[1]) > 1e-9:
        guess, steps = 0.5 * (guess + x[1] / guess), steps + 1
    return guess + steps


def test_branches_follow_the_concrete_values():
    check(newton, X, concrete=True)
    check(lambda x: x[0] if x[0] > 0.5 and x[1] < 1 else x[1] ** 2, X, concrete=True)
    check(lambda x: x[: int(10 * x[0])].sum() * round(3 * x[1]), X, concrete=True)
    check(lambda x: x * len(f"{x[0]:.3f} {x}") * float(f"{x[1]:.2f}"), X, concrete=True)
    check(lambda x: X[math.floor(5 * x[0])] + math.ceil(x[0]), X, concrete=True)
    check(lambda x: sorted(x, reverse=True)[0], X, concrete=True)


def test_guards_name_node_outcome_and_line():
    x = input_node("x", ())
    guards = trace(lambda v: v if v > 0 else -v, (x,), {}, {x: np.array(-1.0)}).guards
    assert len(guards) == 1 and guards[0].outcome is False and guards[0].node.op.name == "greater"
    assert "test_trace_code.py" in guards[0].source


def test_constants_need_no_values():
    check(lambda x: x if (x * 0).sum() == 0 and np.zeros(3).any() == 0 else -x, X)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x if x[0] > 0 else -x,
        lambda x: x[: int(x[0])],
        lambda x: np.sort(x),
        lambda x: x[x > 0.5],
        lambda x: range(x.astype(int)[0]),
    ],
)
def test_branches_without_values_are_errors(fn):
    with pytest.raises(ConcretizationError, match=r"test_trace_code\.py:\d+ in <lambda>"):
        run_traced(fn, X)


# -- errors --------------------------------------------------------------------------------------------------------


def test_writing_into_an_input():
    def spoil(x):
        x[0] = 1.0
        return x

    def spoil_view(x):
        x.reshape(2, 3)[0, 0] = 1.0
        return x

    for fn in (spoil, spoil_view):
        with pytest.raises(InputMutation, match=r"x = x\.copy\(\)"):
            run_traced(fn, X)
    with pytest.raises(InputMutation, match="outside"):
        run_traced(lambda x: TABLE.__setitem__((0, 0), x[0]), X)
    assert TABLE[0, 0] == 0.0


def test_in_place_operators_change_a_copy_of_inputs():
    def augmented(x):
        y, part, whole = x, x[1:3], x.reshape(2, 3)
        x += 1
        x *= y
        whole -= 0.5
        np.multiply(x, part[0], out=x)
        return x, y, part, whole

    given = X.copy()
    got = run_traced(augmented, given)
    np.testing.assert_array_equal(given, X)
    for a, b in zip(got, augmented(given), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-15)


def test_in_place_operators_on_parts_of_inputs_are_refused():
    def part(x):
        x[1:] *= 2
        return x

    with pytest.raises(InputMutation):
        run_traced(part, X)


def test_leaks_are_named():
    kept = []
    run_traced(lambda x: kept.append(x * 2) or x, X)
    with pytest.raises(LeakedTracer, match="lambda"):
        kept[0] + 1
    with pytest.raises(LeakedTracer):
        kept[0][0]
    assert "has returned" in repr(kept[0])


def test_unsupported_functions_are_named():
    with pytest.raises(UnsupportedOperation, match=r"eig.*test_trace_code.*nearest supported"):
        run_traced(lambda x: np.linalg.eigvals(x.reshape(2, 3)), X)
    with pytest.raises(UnsupportedOperation, match="nextafter"):
        run_traced(lambda x: np.nextafter(x, 1.0), X)


def test_wrong_types_and_shapes():
    for fn in (lambda x: x * 1j, lambda x: x + np.array(["a"]), lambda x: x * np.array([1, None, 2, 3, 4, 5])):
        with pytest.raises((DTypeMismatch, TypeError)):
            run_traced(fn, X)
    with pytest.raises(DTypeMismatch):
        run_traced(_add_in_place, np.arange(3))
    for fn in (
        lambda x: x + np.zeros(4),
        lambda x: x @ np.zeros(4),
        lambda x: x.reshape(4, 2),
        lambda x: np.concatenate([x, x[None]]),
        lambda x: _write_wrong_shape(x),
    ):
        with pytest.raises((ShapeMismatch, ValueError)):
            run_traced(fn, X)
    with pytest.raises(IndexError):
        run_traced(lambda x: x[9], X)
    with pytest.raises(TypeError):
        run_traced(lambda x: len(x[0]), X)


def _add_in_place(i):
    j = i * 2
    j += 0.5
    return j


def _write_wrong_shape(x):
    out = np.zeros(3)
    out[:] = x
    return out


# -- isolation -----------------------------------------------------------------------------------------------------


def test_nothing_leaks_into_the_users_module():
    before = dict(globals())
    model = Model()
    run_traced(lambda x: helper(x).sum() + model.loss(x) + LAYERS[1](x)[0], X)
    after = dict(globals())
    assert {k for k in after if after[k] is not before.get(k)} <= {"COUNTER"}
    assert isinstance(np.zeros(2), np.ndarray) and math.sin(0.0) == 0.0 and max(1, 2) == 2 and isinstance(1.0, float)
    assert type(model.bias) is np.ndarray and type(helper(X)) is np.ndarray


def test_threads_trace_at_once():
    results, barrier = {}, threading.Barrier(4)

    def work(k):
        barrier.wait()
        for _ in range(5):
            results[k] = run_traced(lambda x: helper(x * k) + loop_writes(x)[:3], X)[0]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(1, 5):
        np.testing.assert_allclose(results[k], helper(X * k) + loop_writes(X)[:3])


def test_the_same_trace_gives_the_same_node():
    x = input_node("x", (6,))
    assert trace(loop_writes, (x,), {}).outputs is trace(loop_writes, (x,), {}).outputs


def test_array_api_namespace():
    def standard(x):
        xp = x.__array_namespace__()
        return xp.sum(xp.exp(x) * xp.asarray(2.0)) + xp.max(xp.concat([x, xp.zeros(2)])) + xp.linalg.vector_norm(x)

    check(standard, X)
