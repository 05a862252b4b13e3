"""The compiler for a part of Python: what it compiles means what Python means, what it does not goes to Numba."""

import math

import numpy as np
import pytest

from symhess.backends import direct, plain, restricted_calls
from symhess.backends.kernel_functions import compiled
from symhess.backends.python_entry import Array
from symhess.backends.values import Unsupported

TEXT = """def kernel(x0_nd, out0_nd):
    x0 = memory(x0_nd, 0, 2)
    out0 = memory(out0_nd, 1, 2)
    put(out0, 0, F64(probe({})))
"""
VIEWS = """def kernel(x0_nd, out0_nd):
    x0 = memory(x0_nd, 0, 2)
    out0 = memory(out0_nd, 1, 2)
    probe(view(x0, (3, 4)), view(out0, (3, 4)))
"""
TABLE = np.array([0.5, -2.0, 7.25, 1e-300])
POINTS = [(2.0, 3.0), (-1.5, 0.25), (0.0, -0.0), (7.0, -2.0), (-7.0, 2.0), (1e300, 1e-300), (math.nan, 1.0),
          (math.inf, -math.inf)]


def entry_of(f, text, sizes, monkeypatch):
    monkeypatch.setitem(plain.NAMES, "probe", compiled(f))
    arrays = [Array((n,), np.dtype(float), written) for n, written in zip(sizes, (False, True))]
    return direct.kernel_entry(text, arrays, False, False, False).call


@pytest.fixture
def no_numba(monkeypatch):
    def refuse(c, function, args):
        raise AssertionError(f"{function.__name__} went to Numba")

    monkeypatch.setattr(restricted_calls, "_by_numba", refuse)


def branches(x, y):
    if x > y:
        return x - y
    if x == y:
        return 100.0
    elif (x < 0 and y > 0) or not y < 3:
        return x * y
    return y / 2 if x >= 1 else -x


def loops(x, y):
    total = 0.0
    for i in range(10):
        if i == 3:
            continue
        if i == 8:
            break
        for j in range(i, 2 * i, 2):
            total += x * j - y
    for k in range(9, -1, -3):
        total -= k * y
    n = 0
    while n < 20 and not total > 1e6:
        total += n
        n += 3
    return total


def integers(x, y):
    a, b = 7, -7
    k = 0
    for i in range(-5, 6):
        k += i // 3 * 10 + i % 4 + i // -2 - i % -3
    flags = (6 & 3) + (6 | 3) + (6 ^ 3)
    return a // 2 + b // 2 * 10 + a % -4 + k + flags + x - x


def tuples(x, y):
    a, b = x, y
    a, b = b, a
    (c, d), e = (a + 1, b + 2), 3
    c, d = (d, c) if x > y else (c, 1)
    return c * d - e + min(a, b) * max(a, b, 1.0)


def tables(x, y):
    total = 0.0
    for m in range(TABLE.size):
        total += TABLE[m] * (m + 1)
    return total + TABLE[2] + x - x


def mathematics(x, y):
    z = math.sqrt(abs(y)) + math.exp(-abs(x)) + math.hypot(y, 1.0) + math.copysign(2.0, y)
    z += math.pi + (math.log1p(abs(y)) if math.isfinite(y) else 0.0) + (1.0 if math.isnan(x) else 2.0)
    return z + x ** 2 * 0.0 if math.isfinite(x) and abs(x) < 1e100 else z


def powers(x, y):
    return x ** 2 + x ** 5 - y ** -1 if y != 0 and abs(x) < 10 else 0.0


def comparisons(x, y):
    return (1.0 if -1 < x <= 3 else 0.0) + (10.0 if x != y else 20.0) + (100.0 if (x > 0) == (y > 0) else 200.0)


def conversions(x, y):
    if not abs(x) < 1e9:
        return 0.5
    k = int(x)
    return float(k) + bool(y) + k // 2 + math.floor(x) + math.ceil(x)


def chained(x, y):
    return helped(x) + helped(helped(y))


@compiled
def helped(v):
    """A function of the same kind."""
    if v > 1:
        return v * 0.5
    return v + 0.25


FUNCTIONS = (branches, loops, integers, tuples, tables, mathematics, powers, comparisons, conversions, chained)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_functions_mean_what_python_means(f, monkeypatch, no_numba):
    entry = entry_of(f, TEXT.format("get(x0, 0), get(x0, 1)"), (2, 1), monkeypatch)
    known = {"helped": helped.py_func} if f is chained else {}
    reference = type(f)(f.__code__, {**f.__globals__, **known})
    for x, y in POINTS:
        out = np.empty(1)
        entry(np.array([x, y]), out)
        np.testing.assert_allclose(out[0], reference(x, y), rtol=2e-16, atol=0, err_msg=f"at {x}, {y}")


def arrays(a, out):
    n, m = a.shape
    for i in range(n):
        out[i] = 2.0
        row = a[i]
        for j in range(m):
            out[i, j] += row[j] * a[-1, j]
    tail = a[1:]
    out[n - 1, m - 1] = tail[0, 0] + tail.shape[0] * 10 + len(a) * 100 + a.size * 1000 + tail.size
    flat = a.reshape(a.size)
    wide = a.reshape((2, -1))
    out[2, 0] = flat[5] + wide[1, 2] + wide.shape[1]
    work = np.empty((m, 2), a.dtype)
    work[:] = 3.0
    work[2, 1] = a[1, 2]
    out[2, 1] = work[0, 0] + work[2, 1]


def test_arrays_and_their_parts(monkeypatch, no_numba):
    entry = entry_of(arrays, VIEWS, (12, 12), monkeypatch)
    a, out, expected = np.arange(12.0).reshape(3, 4) - 4.5, np.empty(12), np.empty((3, 4))
    entry(a.ravel(), out)
    arrays(a, expected)
    np.testing.assert_array_equal(out.reshape(3, 4), expected)


def several_types(x, y):
    v = 1
    if x > 0:
        v = 2.5
    return v + y


def comprehension(x, y):
    return sum([x * k for k in range(3)]) + y


@pytest.mark.parametrize("f", [several_types, comprehension], ids=lambda f: f.__name__)
def test_what_is_outside_of_the_part_is_compiled_by_numba(f, monkeypatch):
    entry = entry_of(f, TEXT.format("get(x0, 0), get(x0, 1)"), (2, 1), monkeypatch)
    for x, y in POINTS[:5]:
        out = np.empty(1)
        entry(np.array([x, y]), out)
        np.testing.assert_allclose(out[0], f(x, y), rtol=1e-15)


def test_a_kernel_outside_of_the_part_says_why():
    text = TEXT.format("get(x0, 0)").replace("probe", "unheard_of")
    arrays_of = [Array((1,), np.dtype(float), written) for written in (False, True)]
    with pytest.raises(Unsupported, match="unheard_of"):
        direct.kernel_text(text, arrays_of, False, False)


def test_float32_stays_float32():
    text = ("def kernel(x0_nd, out0_nd):\n    x0 = memory(x0_nd, 0, 2)\n    out0 = memory(out0_nd, 1, 2)\n"
            "    v1 = get(x0, 0)\n    put(out0, 0, v1 * v1 + F32(0.1))\n    put(out0, 1, sigmoid(v1))\n")
    single = np.dtype(np.float32)
    entry = direct.kernel_entry(text, [Array((1,), single, False), Array((2,), single, True)], False, False, False).call
    x, out = np.array([1.7], single), np.empty(2, single)
    entry(x, out)
    assert out[0] == x[0] * x[0] + single.type(0.1)
    np.testing.assert_allclose(out[1], 1 / (1 + np.exp(-1.7)), rtol=3e-7)


def test_the_same_text_gives_the_same_module():
    text = TEXT.format("get(x0, 0)").replace("probe", "softplus")
    given = [Array((1,), np.dtype(float), written) for written in (False, True)]
    first, second = (direct.kernel_text(text, given, False, False) for _ in range(2))
    assert first == second and "declare double @exp" in first[0]
