"""Idioms of Python and NumPy where a traced value is asked what it is, aliased, stored, reordered or passed around."""

import bisect
import collections
import contextlib
import functools
import heapq
import itertools
import math
import numbers
import operator
import random
import statistics

import numpy as np
import pytest
from oracles import _polarised, _second_difference, assert_close

from symhess import hessian_jit

X = np.array([0.313, 1.427, -0.568, 2.184])
IDIOMS = {}
GG = 0.0


def idiom(fn):
    IDIOMS[fn.__name__] = fn
    return fn


@idiom
def single_dispatch(x):
    @functools.singledispatch
    def g(v):
        return v * 0 + 1.0

    @g.register
    def _(v: np.ndarray):
        return np.sum(v**2)

    @g.register
    def _(v: float):
        return v**3

    return g(x) * 2 + g(x[0])


@idiom
def match_class(x):
    match x:
        case np.ndarray():
            y = np.sum(x**2)
        case _:
            y = 0.0
    match x[0]:
        case float():
            y = y * x[1]
        case _:
            y = y * 0
    return y


@idiom
def match_seq(x):
    match list(x):
        case [a, b, *r]:
            return a * b**2 + sum(r)
        case _:
            return 0.0


@idiom
def sum_bool(x):
    return sum(x > 0.5) * x[0] ** 2


@idiom
def slice_traced(x):
    return np.sum(x[x.argmax() :] ** 2) + np.sum(x[: np.argmin(x)] ** 3)


@idiom
def reversed_list(x):
    return sum(k * v**2 for k, v in enumerate(reversed(x)))


@idiom
def zipiter(x):
    return sum(a * b for a, b in zip(*[iter(x)] * 2))


@idiom
def argmaxpy(x):
    return x[max(range(len(x)), key=lambda i: x[i])] ** 3


@idiom
def sortedkey(x):
    return x[sorted(range(len(x)), key=x.__getitem__)[0]] ** 3


@idiom
def fromfunction(x):
    return np.sum(np.fromfunction(lambda i, j: x[i] * x[j] ** 2, (4, 4), dtype=int))


@idiom
def mgrid(x):
    return np.sum(np.mgrid[:4, :4][0] * x**2)


@idiom
def is_close(x):
    return x[0] ** 2 if math.isclose(x[0], 0.3, rel_tol=0.5) else x[1]


@idiom
def contained(x):
    return x[0] ** 2 if x[0] not in (0.31, 2) else x[1]


@idiom
def contained_in_array(x):
    return x[0] ** 2 if x[0] in x else x[1]


@idiom
def list_index(x):
    return x[list(x).index(x[1])] ** 2 * list(x).count(x[0])


@idiom
def is_integer(x):
    return x[0] ** 2 if not float(x[0]).is_integer() else x[1]


@idiom
def is_integer2(x):
    return x[0] ** 2 if not x[0].is_integer() else x[1]


@idiom
def np64(x):
    return np.float64(x[0]) ** 2 * np.int64(x[1]) + np.float32(2) * x[2]


@idiom
def isinst(x):
    return (
        x[0] ** 2
        if isinstance(x[0], (int, float))
        and isinstance(x, np.ndarray)
        and isinstance(x[0], numbers.Real)
        and isinstance(x[0], np.floating)
        else x[1]
    )


@idiom
def abstract_classes(x):
    return (
        x[0] ** 2 if isinstance(x, collections.abc.Iterable) and not isinstance(x, collections.abc.Sequence) else x[1]
    )


@idiom
def type_of(x):
    return x[0] ** 2 if type(x) is np.ndarray and type(x[0]) is np.float64 and type(x).__name__ == "ndarray" else x[1]


@idiom
def cls(x):
    return x[0] ** 2 if x.__class__ is np.ndarray else x[1]


@idiom
def cls2(x):
    return x[0] ** 2 if x.__class__.__name__ == "ndarray" else x[1]


@idiom
def issubdtype(x):
    return x[0] ** 2 if np.issubdtype(x.dtype, np.floating) else x[1]


@idiom
def has_attribute(x):
    return x[0] ** 2 if hasattr(x, "__len__") and not hasattr(x[0], "__len__") else x[1]


@idiom
def hasattr2(x):
    return (
        x[0] ** 2
        if hasattr(x, "shape") and hasattr(x[0], "shape") and hasattr(x, "dtype") and hasattr(x, "tobytes")
        else x[1]
    )


@idiom
def hasiter(x):
    return x[0] ** 2 if hasattr(x, "__iter__") and not hasattr(float(x[0]), "__iter__") else x[1]


@idiom
def iterable(x):
    return x[0] ** 2 if np.iterable(x) and not np.iterable(x[0]) else x[1]


@idiom
def tryfloat(x):
    return (lambda v: v**2)(float(x[0]))


@idiom
def try_len(x):
    try:
        len(x[0])
        return x[1]
    except TypeError:
        return x[0] ** 2


@idiom
def try_iter(x):
    try:
        iter(x[0])
        return x[1]
    except TypeError:
        return x[0] ** 2


@idiom
def argwhere(x):
    return np.sum(x[np.argwhere(x > 0.5)] ** 2) * np.count_nonzero(x > 0)


@idiom
def exact_sum(x):
    return math.fsum(v**2 for v in x) * math.prod(v for v in x)


@idiom
def heap(x):
    return heapq.nsmallest(2, x)[1] ** 2 + heapq.nlargest(1, list(x))[0] ** 3


@idiom
def heap2(x):
    h = list(x)
    heapq.heapify(h)
    a = heapq.heappop(h)
    heapq.heappush(h, a * 2)
    return h[0] ** 2 + a


@idiom
def bis(x):
    l = sorted(x)
    return l[bisect.bisect(l, 0.5)] ** 2


@idiom
def stat(x):
    return statistics.mean(x) ** 2 + statistics.median(x) * x[0] + statistics.pvariance(list(x)) + statistics.stdev(x)


@idiom
def accum(x):
    return sum(itertools.accumulate(x, lambda a, b: a * b + 1))


@idiom
def starmap(x):
    return sum(map(operator.mul, x, x[1:]))


@idiom
def reduced(x):
    return functools.reduce(operator.add, (v * v for v in x))


@idiom
def chained(x):
    return sum(v**2 for v in itertools.chain(x[:2], x[1:]))


@idiom
def groupby(x):
    return sum(sum(g) ** 2 for k, g in itertools.groupby(x, key=lambda v: v > 0))


@idiom
def Counter(x):
    return sum(v**2 * c for v, c in collections.Counter(list(x) + [x[0]]).items())


@idiom
def generator(x):
    def g():
        s = 0
        for v in x:
            yield s
            s += v * v
        yield s

    return list(g())[-1]


@idiom
def gen_send(x):
    def g():
        tot = 0.0
        while True:
            v = yield tot
            if v is None:
                return
            tot += v * v

    c = g()
    next(c)
    for v in x:
        r = c.send(v)
    return r * x[0]


@idiom
def double_ended(x):
    d = collections.deque(x, maxlen=3)
    d.rotate(1)
    d.append(x[0] ** 2)
    return sum(a * b for a, b in zip(d, x))


@idiom
def ordereddict(x):
    d = collections.OrderedDict(a=x[0], b=x[1])
    d.move_to_end("a")
    return next(iter(d.values())) ** 2 * d["a"]


@idiom
def default_dict(x):
    d = collections.defaultdict(float)
    for k, v in enumerate(x):
        d[k % 2] += v * v
    return d[0] * d[1]


@idiom
def chainmap(x):
    return collections.ChainMap({"a": x[0]}, {"b": x[1]})["b"] ** 2


@idiom
def ternary_chain(x):
    return x[0] ** 2 if 0 < x[0] < x[1] < 3 else x[2]


@idiom
def andor(x):
    return (x[0] and x[1] ** 2) + (0 or x[2] ** 2)


@idiom
def walrus(x):
    return y**2 if (y := x[0] * x[1]) > 0.1 else y


@idiom
def del_(x):
    a = list(x)
    del a[0]
    a.insert(1, x[0] ** 2)
    a.reverse()
    a.extend(x[:1])
    a.pop()
    return sum(k * v * v for k, v in enumerate(a))


@idiom
def swap(x):
    a = x.copy()
    a[0], a[1] = a[1], a[0]
    return a[0] ** 2 * a[1]


@idiom
def swaprows(x):
    A = np.outer(x, x)
    A[[0, 1]] = A[[1, 0]]
    return A[0] @ x


@idiom
def swapviews(x):
    A = np.outer(x, x)
    A[0], A[1] = A[1].copy(), A[0].copy()
    return A[0] @ x


@idiom
def swapviews_bug(x):
    A = np.outer(x, x)
    A[0], A[1] = A[1], A[0]
    return A[0] @ x + A[1] @ x * 2


@idiom
def augassign_slice_alias(x):
    a = np.concatenate([x, x])
    a[1:] += a[:-1]
    return np.sum(a**2)


@idiom
def inplace_roll(x):
    a = x * 1
    a[1:] = a[:-1]
    return np.sum(a**2 * np.arange(4))


@idiom
def inplace_reverse(x):
    a = x * 1
    a[:] = a[::-1]
    return np.sum(a**2 * np.arange(4))


@idiom
def out_alias(x):
    a = x * 1
    np.add(a[1:], a[:-1], out=a[1:])
    return np.sum(a**2 * np.arange(4))


@idiom
def cumulative_out(x):
    a = np.empty(4)
    np.cumsum(x, out=a)
    return a @ a


@idiom
def nditer_w(x):
    a = x.copy()
    with np.nditer(a, op_flags=["readwrite"]) as it:
        for v in it:
            v[...] = v * v + 1
    return a @ x


@idiom
def flat_w(x):
    A = np.outer(x, x)
    A.flat[::5] = x
    A.flat[1] *= 3
    return np.sum(A**2)


@idiom
def diag_w(x):
    A = np.outer(x, x)
    np.fill_diagonal(A, x**3)
    A[np.diag_indices(4)] += 1
    return np.sum(A * A)


@idiom
def einsum_view(x):
    A = np.outer(x, x)
    d = np.einsum("ii->i", A)
    d *= 2
    return np.sum(A**2)


@idiom
def reshape_nocopy(x):
    A = np.outer(x, x)
    B = A.T.reshape(-1)
    B[0] = 5
    return np.sum(A**2) + B[1] ** 2


@idiom
def ravel_view(x):
    A = np.outer(x, x)
    A.ravel()[3] = 7 * x[0]
    A.T.ravel()[3] = 9
    return np.sum(A**2)


@idiom
def masked_inplace(x):
    a = x**2
    a[x < 0] *= -1
    a[a > 1] = np.sqrt(a[a > 1])
    return a @ x


@idiom
def where_in_place(x):
    a = x**2
    np.multiply(a, 3, out=a, where=x > 0)
    return a @ x


@idiom
def putmask(x):
    a = x**2
    np.putmask(a, x > 0.5, x)
    np.place(a, x < 0, [7.0])
    return a @ x


@idiom
def bool_arith(x):
    return np.sum((x > 0) * x**2 - (x < 0) * x + (~(x > 0)) * x**3)


@idiom
def bool_index2(x):
    A = np.outer(x, x)
    return np.sum(A[x > 0][:, x < 2] ** 2)


@idiom
def int_div(x):
    return (x[0] * 10 // 2) * x[1] ** 2 + divmod(x[3] * 3, 2)[1] * x[0]


@idiom
def neg_mod(x):
    return (x[2] % 1.0) ** 2 + math.fmod(x[2], 0.3) * x[0] + np.mod(x, 0.7) @ x


@idiom
def power_neg(x):
    return np.sum(np.abs(x) ** 2.5) + x[2] ** 3 + x[2] ** 2 + (-2.0) ** 2 * x[0] + 2 ** x[1] + np.sum(np.power(2.0, x))


@idiom
def classes(x):
    class P:
        __slots__ = ("v",)

        def __init__(s, v):
            s.v = v

        def __add__(s, o):
            return P(s.v + (o.v if isinstance(o, P) else o))

        __radd__ = __add__

        def __mul__(s, o):
            return P(s.v * (o.v if isinstance(o, P) else o))

        def __lt__(s, o):
            return s.v < o.v

        def __getitem__(s, k):
            return s.v[k]

    ps = [P(v) for v in x]
    return sum(ps[1:], ps[0]).v * min(ps).v * max(ps, key=lambda p: p.v).v


@idiom
def prop_cached(x):
    class A:
        def __init__(s, x):
            s.x = x

        @functools.cached_property
        def n2(s):
            return s.x @ s.x

        @property
        def first(s):
            return s.x[0]

        @classmethod
        def make(c, x):
            return c(x * 2)

    a = A.make(x)
    return a.n2 * a.first + a.n2


@idiom
def nonloc(x):
    c = 0.0

    def add(v):
        nonlocal c
        c += v * v

    for v in x:
        add(v)
    return c * x[0]


@idiom
def decor(x):
    def twice(f):
        @functools.wraps(f)
        def g(*a, **k):
            return f(f(*a, **k))

        return g

    @twice
    def sq(v, *, p=2):
        return v**p

    return sq(x[0]) * sq(x[1])


@idiom
def contexts(x):
    @contextlib.contextmanager
    def c(v):
        yield v * v

    with c(x[0]) as a, c(x[1]) as b:
        return a * b


@idiom
def exc_else(x):
    try:
        y = x[0] ** 2
    except Exception:
        y = 0
    else:
        y = y * x[1]
    finally:
        del x
    return y


@idiom
def lambda_default(x):
    fs = [lambda v, k=k: v**k for k in range(4)]
    return sum(f(x[1]) for f in fs)


@idiom
def late_binding(x):
    fs = [lambda v: v**k for k in range(4)]  # noqa: B023
    return sum(f(x[1]) for f in fs)


@idiom
def np_vect_sig(x):
    f = np.vectorize(lambda a, b: a @ b, signature="(n),(n)->()")
    return f(np.outer(x, x), x).sum()


@idiom
def from_python_function(x):
    return np.frompyfunc(lambda a, b: a * b**2, 2, 1)(x, x[::-1]).sum()


@idiom
def ufunc_methods(x):
    return (
        np.multiply.accumulate(x) @ x
        + np.add.reduceat(x**2, [0, 2]) @ x[:2]
        + np.maximum.accumulate(x) @ x
        + np.multiply.outer(x, x)[1, 2]
    )


@idiom
def lexs(x):
    return x[np.lexsort((x, x > 0))] @ np.arange(4) ** 2 * x[0]


@idiom
def percent(x):
    return np.percentile(x, [25, 75]) @ x[:2] + np.ptp(x) * np.median(x)


@idiom
def rnd(x):
    random.seed(3)
    r = random.Random(1)
    return sum(v * r.random() for v in x) ** 2 + random.gauss(x[0], 1) ** 2


@idiom
def rng_choice(x):
    g = np.random.default_rng(1)
    return np.sum(x[g.choice(4, 3)] ** 2) + np.sum(g.normal(size=4) * x) ** 2


@idiom
def interpolate(x):
    return np.interp(x, [-1, 0, 1, 3], [0, 1, 4, 2]) @ x


@idiom
def keywords(x):
    return (
        np.sum(a=x**2, axis=None, keepdims=True).ravel()[0]
        + np.mean(x**2, dtype=np.float64) * np.clip(x, a_min=0, a_max=None) @ x
    )


@idiom
def starred(x):
    def f(a, /, b, *c, d=2, **e):
        return a * b * sum(c) * d * e.get("z", 1)

    return f(x[0], x[1], *x[2:], z=x[3])


@idiom
def strformat_branch(x):
    return x[0] ** 2 if f"{x[0]:.1f}" == "0.3" else x[1]


@idiom
def round2(x):
    return round(x[0], 1) * x[1] ** 2 + np.round(x, 1) @ x**2


@idiom
def hexf(x):
    return float.fromhex(1.5.hex()) * x[0] ** 2


@idiom
def complexabs(x):
    return abs(complex(x[0], x[1])) ** 3


@idiom
def nan_cmp(x):
    return np.nanmax(np.where(x > 0, x, np.nan)) ** 2 + np.nanmean(np.where(x > 0, x**2, np.nan))


@idiom
def chooser(x):
    return (
        np.choose([0, 1, 0, 1], [x**2, x**3]) @ x
        + np.select([x > 1, x > 0], [x**2, x], 0) @ x
        + np.piecewise(x, [x < 0], [lambda v: -(v**2), lambda v: v]) @ x
    )


@idiom
def seterr(x):
    old = np.seterr(all="ignore")
    y = np.log(np.abs(x)).sum()
    np.seterr(**old)
    return y * x[0]


@idiom
def argpart(x):
    return x[np.argpartition(x, 2)[:2]].sum() ** 2


@idiom
def triangles(x):
    return np.outer(x, x)[np.triu_indices(4, 1)] @ np.arange(6.0) ** 2 * x[0] + np.trace(np.tril(np.outer(x, x)))


@idiom
def globals_(x):
    global GG
    GG = x[0] ** 2
    return GG * x[1]


@idiom
def eval_(x):
    return eval("x[0]**2*x[1]")


@idiom
def exec_(x):
    ns = {"x": x, "np": np}
    exec("y=np.sum(x**3)", ns)
    return ns["y"]


@idiom
def locals_(x):
    a = x[0] ** 2
    return locals()["a"] * x[1]


@idiom
def getattr_np(x):
    return np.sin(x).sum() * math.exp(x[0]) + x.sum() ** 2


@idiom
def dyn_op(x):
    return {"+": operator.add, "*": operator.mul}["*"](x[0], x[1]) ** 2


@idiom
def methodcaller(x):
    return operator.methodcaller("sum")(x) ** 2 * operator.itemgetter(0, 1)(x)[1] * operator.attrgetter("size")(x)


@idiom
def map_filter(x):
    return sum(map(lambda a, b: a * b**2, x, x[::-1])) + sum(filter(lambda v: v > 0, x)) ** 2 + sum(filter(None, x))


def check(fn):
    """The Hessian at X, twice, against tenth-order differences of the value in double precision."""
    f = hessian_jit(fn, mode="autograd")
    np.testing.assert_allclose(f.value(X), fn(X.copy()), rtol=1e-12)
    value = lambda x: np.longdouble(fn(np.asarray(x, float)))
    expected = _polarised(_second_difference(value, X.astype(np.longdouble), np.longdouble(2e-3)), 4)
    for _ in range(2):
        assert_close(f(X), expected, 2e-8)


@pytest.mark.parametrize("name", IDIOMS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_idiom(name):
    check(IDIOMS[name])


def test_count():
    assert len(IDIOMS) >= 100
