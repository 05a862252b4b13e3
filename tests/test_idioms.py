"""Idioms of Python and NumPy code: views, buffers, objects, closures, generators, control flow. Values and Hessians."""

import bisect
import collections
import contextlib
import copy
import dataclasses
import enum
import functools
import heapq
import itertools
import math
import operator
import types
import typing
import warnings

import numpy as np
import pytest
from operation_cases import X
from test_operations import check_hessian

M = np.arange(36.0).reshape(6, 6) / 36
COUNT = 0
IDIOMS = {}


def idiom(fn):
    IDIOMS[fn.__name__] = fn
    return fn


class Base:
    kind = "b"

    @property
    def label(self):
        return 1.0

    def f(self, x):
        return x * 2

    def both(self, x):
        return self.f(x) * self.label


class Child(Base):
    label = 3.0
    f = staticmethod(lambda x: x**2)


class Grand(Child):
    def f(self, x):
        return super().both.__func__ and x**3


@idiom
def inheritance_attr(x):
    return Child().both(x), Grand().both(x)


CH = Child()


@idiom
def inheritance_attr_inst(x):
    return CH.both(x)


@idiom
def whileloop(x):
    s = x[0]
    n = 0
    while s < 20:
        s = s * s + x[1] + 1
        n += 1
    return s, n


@idiom
def matchstmt(x):
    out = 0
    for k in range(3):
        match k:
            case 0:
                out += x[0] ** 2
            case 1 | 2 if x[1] > 0:
                out += x[1] * x[2]
            case _:
                pass
    match x.tolist():
        case [a, b, *rest]:
            out = out * a + b * len(rest)
    return out


@idiom
def match_value(x):
    match x[0] > 0.3:
        case True:
            return x[0] ** 2
        case _:
            return x[1]


@idiom
def walrus(x):
    if (y := x[0] * x[1]) > 0.1:
        return y**2, [z for v in x if (z := v * 2) > 1]
    return y


@idiom
def star(x):
    a, *b, c = x
    return a * c * sum(b), np.array([*x, *x[:2]])


@idiom
def tryexcept(x):
    try:
        raise ValueError(x[0])
    except ValueError as e:
        v = e.args[0]
    try:
        y = x[10]
    except IndexError:
        y = x[5]
    try:
        z = np.zeros(3) + np.zeros(4) + x[0]
    except ValueError:
        z = 1
    try:
        w = 1 / 0
    except ZeroDivisionError:
        w = x[1]
    finally:
        q = x[2] * x[2]
    return v * y * z * w * q


@idiom
def globalstate(x):
    global COUNT
    COUNT += 1
    return x * 2


@idiom
def nonlocalstate(x):
    n = 0

    def inc(v):
        nonlocal n
        n = n + v
        return n

    for v in x:
        inc(v * v)
    return n


def deco(f):
    @functools.wraps(f)
    def w(*a, **k):
        return f(*a, **k) * 2

    return w


@deco
def helper(x):
    return x**3


@idiom
def decorators(x):
    return helper(x)


FN = [lambda v: v**2, np.sin, math.exp, operator.neg, functools.partial(pow, 2)]


@idiom
def lambdas(x):
    return [f(x[k]) for k, f in enumerate(FN)]


DISPATCH = {"a": lambda v: v**2, "b": math.sin}


@idiom
def dispatch(x):
    return [DISPATCH[k](x[i]) for i, k in enumerate("ab")]


@idiom
def closures_late(x):
    fs = [lambda v: v * k for k in range(3)]  # noqa: B023
    return [f(x[0]) for f in fs]


@dataclasses.dataclass
class P:
    a: float
    b: float = 2.0

    def norm(self):
        return math.sqrt(self.a**2 + self.b**2)

    @property
    def twice(self):
        return self.a * 2

    def __add__(self, o):
        return P(self.a + o.a, self.b + o.b)

    def __mul__(self, s):
        return P(self.a * s, self.b * s)

    __rmul__ = __mul__


@idiom
def dataclass(x):
    return (
        (P(x[0], x[1]) + P(x[2])).norm(),
        (P(x[0]) * x[1]).twice,
        (x[1] * P(x[0])).twice,
        dataclasses.replace(P(x[0]), b=x[3]).norm(),
        list(dataclasses.asdict(P(x[0], x[1])).values()),
    )


@dataclasses.dataclass(frozen=True)
class FP:
    a: float

    def sq(self):
        return self.a**2


@idiom
def frozen(x):
    return FP(x[0]).sq()


NT = collections.namedtuple("NT", "u v")


@idiom
def namedt(x):
    q = NT(x[0], x[1])
    return q.u * q.v, q._replace(u=3).v, *q


class Vec:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __add__(self, o):
        return Vec(self.x + o.x, self.y + o.y)

    def __mul__(self, s):
        return Vec(self.x * s, self.y * s)

    def __rmul__(self, s):
        return self * s

    def __getitem__(self, i):
        return (self.x, self.y)[i]

    def __iter__(self):
        yield self.x
        yield self.y

    def __len__(self):
        return 2

    def __abs__(self):
        return math.hypot(self.x, self.y)

    def __eq__(self, o):
        return bool(self.x == o.x)

    def __call__(self, t):
        return self.x * t + self.y


@idiom
def vec(x):
    v = Vec(x[0], x[1]) + Vec(x[2], x[3]) * x[4]
    w = x[5] * v
    return abs(v), w[0], sum(w), v(x[1]), len(v), v == v, [*v]


class Counter:
    def __init__(self):
        self.n = 0
        self.hist = []

    def __call__(self, x):
        self.n += 1
        self.hist.append(float(self.n))
        return x * self.n / self.n


CNT = Counter()


@idiom
def callable_obj(x):
    return CNT(x)


class Ctx:
    def __enter__(self):
        return self

    def __exit__(self, *a):
        return False

    def f(self, x):
        return np.sin(x)


@idiom
def ctxmanager(x):
    with Ctx() as c, warnings.catch_warnings(), np.errstate(all="ignore"):
        return c.f(x)


@contextlib.contextmanager
def cm(v):
    yield v * 2


@idiom
def ctx2(x):
    with cm(x) as y:
        return y**2


def gen(x):
    for v in x:
        yield v * v


@idiom
def generators(x):
    return sum(gen(x)), list(gen(x)), np.fromiter(gen(x), float), max(gen(x))


@idiom
def yieldfrom(x):
    def g():
        yield from (v * 2 for v in x)

    return np.array(list(g()))


@idiom
def asserts(x):
    assert x.shape == (6,) and np.all(x > 0), f"bad {x}"
    assert x[0] > 0, x
    assert len(x) == 6 and isinstance(x, np.ndarray)
    return x**2


@idiom
def warn(x):
    if x[0] < 0:
        warnings.warn("neg", stacklevel=2)
    return x


@idiom
def deepcop(x):
    d = {"a": x, "b": [x[0], P(x[1])]}
    e = copy.deepcopy(d)
    e["a"][0] = 9
    return d["a"], e["a"], e["b"][0], e["b"][1].norm()


@idiom
def dictops(x):
    d = dict(zip("abc", x))
    d.update(d=x[3])
    d["a"] += 1
    d.setdefault("q", x[4])
    return list(d.values()), sum(d.values()), list({k: v * v for k, v in d.items()}.values())


@idiom
def setops(x):
    return len({1, 2, 3}) * x, sorted({3, 1})[0] * x


@idiom
def defaultd(x):
    d = collections.defaultdict(float)
    for i, v in enumerate(x):
        d[i % 2] += v * v
    dq = collections.deque(maxlen=3)
    for v in x:
        dq.append(v)
    return list(d.values()), sum(dq) * dq[0], collections.OrderedDict(a=x[0])["a"]


@idiom
def chainmap(x):
    return (
        list(itertools.chain(x[:2], x[2:4])),
        [a * b for a, b in itertools.combinations(x, 2)],
        [a * b for a, b in itertools.product(x[:2], x[:2])],
        list(itertools.islice(x, 3)),
        [a - b for a, b in itertools.pairwise(x)],
        [next(iter(g)) for k, g in itertools.groupby(x, key=lambda v: v > 0.5)],
        list(itertools.takewhile(lambda v: v < 0.9, x)),
        list(map(operator.mul, x, x)),
        [a + b for a, b in itertools.zip_longest(x[:2], x[:3], fillvalue=0)],
    )


@idiom
def obj_array(x):
    a = np.empty(2, dtype=object)
    a[0] = x[0]
    a[1] = x[1]
    return a[0] * a[1]


@idiom
def ifexp(x):
    return [v if v > 0.5 else -v for v in x], (x[0] if x[0] > x[1] else x[1]), x[0] > 0 and x[1], x[0] or x[1], not x[0]


@idiom
def chained(x):
    return (0 < x[0] < 1) * x[0], x[0] if 0.1 < x[0] <= 0.9 else 0


@idiom
def intidx(x):
    i = int(np.argmax(x))
    j = np.argmin(x)
    return (
        x[i] * x[j],
        x[np.argmax(x)],
        M[i] @ x,
        M[np.argmax(x), j] * x,
        [10, 20, 30, 40, 50, 60][i] * x,
        range(i)[0:1][0] * x if i else x,
    )


@idiom
def rangeval(x):
    n = int(x[3] * 5)
    s = 0
    for k in range(n):
        s = s + x[k] ** 2
    return s


@idiom
def floorint(x):
    k = math.floor(x[0] * 10)
    f = x[0] * 10 - k
    return M[k, k] * (1 - f) + M[k + 1, k + 1] * f


@idiom
def bisect_interp(x):
    i = bisect.bisect([0.0, 0.3, 0.6, 0.9], x[1])
    return i * x


@idiom
def heap(x):
    return heapq.nsmallest(2, list(x)), heapq.nlargest(2, x)


@idiom
def stringkey(x):
    d = {}
    for v in x:
        d[f"{v:.2f}"] = v * v
    return list(d.values())


@idiom
def strs(x):
    return (
        len(str(x)) * 0 + x,
        len(repr(x[0])) * 0 + x[0],
        len("%s %r" % (x[0], x)) * 0 + x[1],  # noqa: UP031
        len(f"{x[0]} {x[1]!r} {x[2]:g}") * 0 + x[2],
        len(format(x[0], ".3e")) * 0 + 1,
        len(np.array2string(x)) * 0 + x[0],
    )


@idiom
def enumclass(x):
    class K(enum.Enum):
        A = 1
        B = 2

    return x if K.A is K.A else 0


@idiom
def localclass(x):
    class L:
        s = 2.0

        def __init__(self, v):
            self.v = v

        def go(self):
            return self.v * self.s

        @classmethod
        def mk(cls, v):
            return cls(v)

        @staticmethod
        def st(v):
            return v + 1

    return L(x).go(), L.mk(x).go(), L.st(x)


@idiom
def cached(x):
    @functools.lru_cache(None)
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    @functools.cache
    def g(n):
        return x[n] ** 2

    return fib(10) * x, g(0) + g(0)


class CP:
    def __init__(self):
        self.a = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])

    @functools.cached_property
    def norm(self):
        return np.linalg.norm(self.a)

    def f(self, x):
        self.last = x * self.norm
        return self.last


CPI = CP()


@idiom
def cachedprop(x):
    return CPI.f(x)


@idiom
def memo_self(x):
    class Memo:
        def __init__(s):
            s.c = {}

        def get(s, i):
            if i not in s.c:
                s.c[i] = x[i] ** 2
            return s.c[i]

    m = Memo()
    return m.get(0) + m.get(0) + m.get(1)


@idiom
def typing_cast(x):
    return typing.cast(float, x[0]) * 2


@idiom
def singledisp(x):
    @functools.singledispatch
    def f(v):
        return v * 2

    return f(x)


@idiom
def kwonly(x):
    def f(*a, scale=1, **k):
        return sum(a) * scale * k.get("z", 1)

    return f(x[0], x[1], scale=x[2], z=x[3]), f(*x, scale=2)


@idiom
def fold(x):
    return (
        functools.reduce(lambda h, v: h * 0.5 + v, x, 0.0),
        functools.reduce(np.maximum, [x, x**2]),
        functools.reduce(max, x),
    )


@idiom
def accum(x):
    return list(itertools.accumulate(x, lambda a, b: a * 0.5 + b, initial=1.0))


@idiom
def rec(x):
    def f(n, v):
        return v if n == 0 else f(n - 1, np.sin(v) + v * x[n % 6])

    return f(5, x[0])


@idiom
def setattr_obj(x):
    class Thing:
        pass

    o = Thing()
    o.v = x[0]
    o.w = x[1]
    return o.v * o.w, o.w, vars(o)["v"], hasattr(o, "z")


@idiom
def simplens(x):
    s = types.SimpleNamespace(a=x[0], b=x[1])
    s.a *= 2
    return s.a * s.b


@pytest.mark.parametrize("name", IDIOMS)
def test_idiom(name):
    check_hessian(IDIOMS[name], X)
