"""Small whole programs: linear algebra by hand, dynamic programming, statistics, classes of the user's, records."""

import abc
import dataclasses
import enum
import functools
import logging
import typing

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.special
import scipy.stats
from test_idioms_python import check

PROGRAMS = {}


def program(fn):
    PROGRAMS[fn.__name__] = fn
    return fn


A0 = np.arange(16.0).reshape(4, 4) / 7
log = logging.getLogger("x")


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Flag(enum.IntFlag):
    A = 1
    B = 2


@program
def enums(x):
    return x[Color.RED.value] ** 2 * (Flag.A | Flag.B) + {Color.RED: x[0] ** 2}[Color.RED]


@program
def nt(x):
    class P(typing.NamedTuple):
        a: object
        b: object = 2

        def n(self):
            return self.a * self.b

    p = P(x[0])
    return p._replace(b=x[1]).n() ** 2


@program
def dc(x):
    @dataclasses.dataclass
    class S:
        x: np.ndarray
        k: float = 2.0
        y: object = dataclasses.field(init=False)

        def __post_init__(self):
            self.y = self.x * self.k

        def f(self):
            return self.y @ self.y

    s = S(x)
    t2 = dataclasses.replace(s, k=3.0)
    return s.f() * t2.f() + dataclasses.astuple(s)[1]


@program
def abcs(x):
    class B(abc.ABC):
        @abc.abstractmethod
        def f(self, x): ...
        def __call__(self, x):
            return self.f(x) ** 2

    class C(B):
        def f(self, x):
            return x @ x

    return C()(x)


@program
def mixin(x):
    class M:
        def g(self):
            return super().g() * 2

    class Bs:
        def __init__(self, x):
            self.x = x

        def g(self):
            return self.x @ self.x

    class D(M, Bs):
        pass

    return D(x).g() * x[0]


@program
def desc(x):
    class Desc:
        def __get__(s, o, t=None):
            return o.x[0] ** 2

    class K:
        d = Desc()

        def __init__(s, x):
            s.x = x

        def __getattr__(s, n):
            return s.x[int(n[1:])]

    k = K(x)
    return k.d * k.x1 * k._2


@program
def oper(x):
    class V:
        def __init__(s, v):
            s.v = v

        def __matmul__(s, o):
            return s.v @ o.v

        def __neg__(s):
            return V(-s.v)

        def __pow__(s, p):
            return V(s.v**p)

        def __iadd__(s, o):
            s.v = s.v + o
            return s

        def __call__(s, i):
            return s.v[i]

        def __len__(s):
            return len(s.v)

        def __iter__(s):
            return iter(s.v)

        def __contains__(s, i):
            return i in s.v

        def __eq__(s, o):
            return np.all(s.v == o.v)

        def __hash__(s):
            return 1

        def __bool__(s):
            return bool(s.v[0] > 0)

    v = V(x)
    v += 1.0
    return ((-v) @ (v**2)) * v(1) * len(v) + sum(v) + (v == v) + (1 if v else 0)


@program
def logs(x):
    log.debug("x=%s", x)
    log.info("%s", x[0])
    return x @ x


@program
def asserts(x):
    assert x.shape == (4,), x.shape
    assert np.all(np.isfinite(x))
    assert x.dtype == np.float64
    assert x.ndim == 1 and x.size == 4
    return x @ x


@program
def allclose(x):
    return x @ x if np.allclose(x, x + 1e-12) and not np.array_equal(x, x + 1) else x[0]


@program
def pen(x):
    return x @ x + 1e3 * max(0, x[0] - 5) ** 2 + 1e3 * max(0.0, 1 - x[0]) ** 2


@program
def soft(x):
    z = np.concatenate([x, [0.0]])
    z -= z.max()
    p = np.exp(z)
    p /= p.sum()
    return -np.log(p[0]) + p @ np.arange(5)


@program
def relu(x):
    h = A0 @ x
    h[h < 0] = 0
    return np.sum(h**3)


@program
def leaky(x):
    h = A0 @ x - 1
    return np.sum(np.where(h > 0, h, 0.1 * h) ** 2)


@program
def conv(x):
    out = np.zeros(3)
    for i in range(3):
        for j in range(2):
            out[i] += x[i + j] * [0.5, -1][j]
    return out @ out


@program
def lu(x):
    A = np.outer(x, x) + 3 * np.eye(4)
    n = 4
    for k in range(n):
        for i in range(k + 1, n):
            A[i, k] /= A[k, k]
            for j in range(k + 1, n):
                A[i, j] -= A[i, k] * A[k, j]
    return np.log(np.prod(np.diag(A)))


@program
def gs(x):
    V = np.outer(x, x) + np.diag([1.0, 2, 3, 4])
    Q = []
    for v in V.T:
        w = v.copy()
        for q in Q:
            w = w - (q @ v) * q
        Q.append(w / np.sqrt(w @ w))
    return np.array(Q)[1] @ x


@program
def power_iter(x):
    A = np.outer(x, x) + np.diag([1.0, 2, 3, 9])
    v = np.ones(4)
    for _ in range(15):
        v = A @ v
        v /= np.linalg.norm(v)
    return v @ A @ v


@program
def cholfac(x):
    c = scipy.linalg.cho_factor(np.outer(x, x) + 3 * np.eye(4))
    return x @ scipy.linalg.cho_solve(c, x)


@program
def expm_series(x):
    A = np.outer(x, x) * 0.1
    T = np.eye(4)
    S = np.eye(4)
    for k in range(1, 12):
        T = T @ A / k
        S = S + T
    return np.trace(S)


@program
def thomas(x):
    n = 4
    a = np.full(n, -1.0)
    b = 2 + x**2
    c = np.full(n, -1.0)
    d = x.copy()
    for i in range(1, n):
        w = a[i] / b[i - 1]
        b[i] -= w * c[i - 1]
        d[i] -= w * d[i - 1]
    y = np.empty(n)
    y[-1] = d[-1] / b[-1]
    for i in range(n - 2, -1, -1):
        y[i] = (d[i] - c[i] * y[i + 1]) / b[i]
    return y @ y


@program
def dp(x):
    D = np.zeros((5, 5))
    D[0, 1:] = np.inf
    D[1:, 0] = np.inf
    y = [0.5, 1.0, 0.2, 2.0]
    for i in range(1, 5):
        for j in range(1, 5):
            D[i, j] = abs(x[i - 1] - y[j - 1]) ** 2 + min(D[i - 1, j], D[i, j - 1], D[i - 1, j - 1])
    return D[4, 4]


@program
def viterbi(x):
    s = np.zeros(2)
    for v in x:
        s = np.max(s[:, None] + np.array([[0.1, 0.5], [0.4, 0.2]]), axis=0) - (v - np.array([0.0, 1.0])) ** 2
    return np.max(s)


@program
def softmin(x):
    s = np.zeros(2)
    for v in x:
        s = (
            np.log(np.exp(s[:, None] + np.array([[0.1, 0.5], [0.4, 0.2]])).sum(axis=0))
            - (v - np.array([0.0, 1.0])) ** 2
        )
    return np.log(np.exp(s).sum())


@program
def kmeans(x):
    c = np.array([0.0, 2.0])
    for _ in range(3):
        l = np.argmin(np.abs(x[:, None] - c), axis=1)
        c = np.array([x[l == k].mean() if np.any(l == k) else c[k] for k in range(2)])
    return np.sum((x - c[l]) ** 2) * c[0]


@program
def isotonic(x):
    blocks = []
    for v in x:
        blocks.append([v, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            b = blocks.pop()
            a = blocks.pop()
            blocks.append([(a[0] * a[1] + b[0] * b[1]) / (a[1] + b[1]), a[1] + b[1]])
    return sum(w * m**2 for m, w in blocks)


@program
def rank(x):
    return np.sum(np.argsort(np.argsort(x)) * x**2)


@program
def gini(x):
    s = np.sort(np.abs(x))
    n = len(s)
    return (2 * np.arange(1, n + 1) @ s / (n * s.sum())) - (n + 1) / n


@program
def softsort_topk(x):
    return np.sum(x[np.argsort(-x)[:2]] ** 3)


@program
def hist_ent(x):
    p = np.bincount(np.digitize(x, [0, 1, 2]), minlength=4) / 4
    return -np.sum(p[p > 0] * np.log(p[p > 0])) * x[0] ** 2


@program
def trapz2(x):
    return np.trapezoid(x**2, [0, 1, 2, 4.0]) + scipy.integrate.simpson(x**2, dx=0.5)


@program
def spec(x):
    return (
        scipy.special.gammaln(np.abs(x) + 1).sum() * scipy.special.expit(x[0])
        + scipy.special.erf(x) @ x
        + scipy.special.logsumexp(x) ** 2
    )


@program
def stats_(x):
    return scipy.stats.norm.logpdf(x, loc=x[0], scale=np.exp(x[1])).sum() + scipy.stats.multivariate_normal.logpdf(
        x[:2], mean=np.zeros(2), cov=np.eye(2) + np.outer(x[2:], x[2:])
    )


@program
def mvn(x):
    return scipy.stats.multivariate_normal(mean=[0, 0], cov=[[2, 0.3], [0.3, 1]]).logpdf(x[:2]) * x[3]


@program
def rotation(x):
    c, s = np.cos(x[0]), np.sin(x[0])
    R = np.array([[c, -s], [s, c]])
    return (R @ x[1:3])[0] ** 2 * (R.T @ R)[0, 0]


@program
def blocks_(x):
    M = np.block([[np.outer(x[:2], x[:2]), np.zeros((2, 2))], [np.eye(2), np.diag(x[2:])]])
    return np.sum(M @ M)


@program
def tensordots(x):
    T = np.einsum("i,j,k->ijk", x, x, x)
    return T[1, 2, 3] + np.tensordot(T, T, 3) * 0.01 + T.transpose(2, 0, 1).reshape(4, -1)[1].sum()


@program
def cum(x):
    return np.cumsum(x[::-1])[::-1] @ x + np.diff(x, prepend=0, append=1) @ np.arange(5.0) * x[0]


@program
def strided(x):
    w = np.lib.stride_tricks.sliding_window_view(x, 2)
    return np.sum(w.prod(axis=1) ** 2)


@program
def polys(x):
    p = np.poly1d([1, 2, 3])
    q = np.polynomial.Polynomial([1, 2, 3])
    return (
        p(x[0]) * q(x[1]) + np.polynomial.polynomial.polyval(x[0], x) + np.polynomial.chebyshev.chebval(x[1], [1, 2, 3])
    )


@program
def legendre(x):
    return np.polynomial.legendre.legval(x[0], x) + np.polynomial.hermite.hermval(x[0], [0, 1, 2.0])


@program
def sets(x):
    return sum(x[i] ** 2 for i in {0, 1, 2} & {1, 2, 3})


@program
def frozen(x):
    return sum(x[next(iter(s))] for s in [frozenset([1]), frozenset([2])]) ** 2


@program
def strs(x):
    n = {"a": 0, "b": 1}
    return sum(x[n[c]] ** 2 for c in "abba")


@program
def bits(x):
    return sum(x[k] ** 2 for k in range(4) if (0b1010 >> k) & 1)


@program
def comp_cond(x):
    return sum([a * b for a in x for b in x if a > b])


@program
def nested_comp(x):
    return np.array([[a * b for b in x] for a in x]).sum() ** 2


@program
def gen_nested(x):
    return sum(sum(a * b for b in x if b > a) for a in x)


@program
def lst(x):
    L = [0] * 4
    for i in range(4):
        L[i] = L[i - 1] + x[i] ** 2
    return L[-1] * L[0]


@program
def list_mult(x):
    return sum([x[0]] * 3 + [x[1]] * 2) ** 2


@program
def dict_of_arr(x):
    P = {"w": x[:2], "b": x[2:]}
    P["w"] = P["w"] * 2
    P.update(c=x[0])
    return sum(np.sum(v**2) for v in P.values())


@program
def unpack(x):
    (a, b), (c, d) = x.reshape(2, 2)
    return a * d - b * c + (a * d) ** 2


@program
def mutable_default(x, acc=None):
    if acc is None:
        acc = []
    acc = list(acc)
    acc.append(x[0] ** 2)
    return sum(acc) * x[1]


@program
def rec_memo(x):
    @functools.lru_cache(None)
    def f(n):
        return x[0] if n == 0 else x[1] if n == 1 else f(n - 1) * f(n - 2)

    return f(5)


@program
def cache_dec(x):
    memo = {}

    def f(n):
        if n in memo:
            return memo[n]
        memo[n] = x[n % 4] if n < 2 else f(n - 1) + f(n - 2) * x[2]
        return memo[n]

    return f(6) ** 2


@program
def cond_expr_arr(x):
    return (x if x[0] > 0 else -x) @ A0 @ x


@program
def chained_cmp_arr(x):
    return np.sum(x[(x > 0) & (x < 2)] ** 2) + np.sum(x[np.logical_or(x < 0, x > 2)])


@program
def np_if(x):
    return np.where(np.any(x < 0), x @ x, x[0]) * 1.0


@program
def neg_idx(x):
    return x[-1] * x[-2:][0] + x[:-1] @ x[1:] + x[::-2] @ x[::2]


@program
def ell(x):
    A = np.outer(x, x).reshape(2, 2, 2, 2)
    return A[..., 0].sum() + A[1, ..., 1].sum() ** 2 + A[:, None, 1][0, 0, 0, 0]


@program
def ix(x):
    return np.outer(x, x)[np.ix_([0, 2], [1, 3])].sum() ** 2 + np.outer(x, x)[[0, 1], :][:, [2, 3]].prod()


@program
def take_ax(x):
    A = np.outer(x, x)
    return (
        np.take_along_axis(A, np.argsort(A, axis=1), 1)[0] @ x
        + np.compress([1, 0, 1, 0], x) @ x[:2]
        + np.delete(x, 1) @ x[:3]
        + np.insert(x, 1, x[0]).sum() ** 2
    )


@program
def roll2(x):
    A = np.outer(x, x)
    return np.sum(np.roll(A, 1, axis=0) * A) + np.rot90(A)[0] @ x + np.fliplr(A)[1] @ x


@program
def minmax_axis(x):
    A = np.outer(x, x) - 1
    return A.max(axis=0) @ x + A.min(axis=1, keepdims=True).ravel() @ x + np.ptp(A, axis=0) @ x


@program
def anyall(x):
    return x @ x * np.all(np.outer(x, x) > -5, axis=0).sum() + np.any(x > 2) * x[0] ** 2


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_program(name):
    check(PROGRAMS[name])


def test_count():
    assert len(PROGRAMS) >= 60
