"""Idioms of NumPy code: views, buffers, masks, captured arrays, keywords, axes. Values and Hessians."""

import math
import random

import numpy as np
import pytest
from operation_cases import X
from test_operations import check_hessian

M = np.arange(36.0).reshape(6, 6) / 36
IDIOMS = {}


def idiom(fn):
    IDIOMS[fn.__name__] = fn
    return fn


@idiom
def view_write(x):
    a = np.zeros((3, 4))
    b = a[1]
    b[:] = x[:4]
    c = a.T
    c[0, 0] = x[5]
    d = a.ravel()
    d[3] = x[1]
    a[2][1:3][0] = x[0]
    return a, b, c, d


@idiom
def copy_vs_view(x):
    a = np.zeros(6)
    a[:] = x
    b = a.copy()
    c = a[::2]
    a[0] = 5
    b[1] = 7
    c[1] *= 3
    return a, b, c


@idiom
def aug_slice(x):
    a = x.copy()
    a[1:4][1:] += x[:2]
    a[::2] *= 2
    a[-1] -= x[0]
    a[1:3] /= 2
    a[a > 1] += 1
    a **= 2
    return a


@idiom
def aug_mask(x):
    a = x * 1
    m = a > 0.5
    a[m] += x[m] * 2
    a[~m] *= -1
    a[m & (a > 2)] = 0
    return a


@idiom
def mask_rows(x):
    a = np.outer(x, x)
    a[x > 0.8] = 0
    a[:, x < 0.4] = 1
    a[a > 0.5] *= 2
    return a


@idiom
def addat(x):
    a = np.zeros(3)
    np.add.at(a, [0, 0, 1], x[:3])
    np.multiply.at(a, [0, 0], x[3:5])
    np.maximum.at(a, [2, 2], x[:2])
    np.add.at(a, (np.array([1, 1]),), 1.0)
    return a


@idiom
def addat2(x):
    a = np.zeros((2, 3))
    np.add.at(a, ([0, 0, 1], [1, 1, 2]), x[:3])
    np.add.at(a, (slice(None), [0, 0]), x[:2])
    np.negative.at(a, [0])
    return a


@idiom
def nditer_read(x):
    s = 0.0
    for v in np.nditer(x):
        s = s + v * v
    return s


@idiom
def ndenum(x):
    s = 0.0
    for (i, j), v in np.ndenumerate(x.reshape(2, 3)):
        s += (i + 1) * (j + 2) * v * v
    return s


@idiom
def ndindex(x):
    y = x.reshape(2, 3)
    s = 0
    for ij in np.ndindex(*y.shape):
        s += y[ij] ** 2 * sum(ij)
    return s


CAP = np.arange(6.0)


@idiom
def captured_inplace(x):
    y = CAP * 1
    y += x
    z = CAP.copy()
    z[0] = x[0]
    z[1] *= 2
    w = np.array(CAP)
    w[2] = x[1]
    return y, z, w


@idiom
def captured_views(x):
    y = CAP.reshape(2, 3).copy()
    y[0] = x[:3]
    return y, CAP[:3] * x[:3], CAP[None] @ x, CAP.T @ x, (CAP[::2] * x[:3]).sum(), np.sum(CAP) * x


@idiom
def concat_loop(x):
    y = np.array([])
    for v in x:
        y = np.append(y, v * v)
    z = []
    for v in x:
        z.append(v)
        z.extend([v, 1.0])
    y2 = np.empty(0)
    for v in x:
        y2 = np.concatenate((y2, [v]))
    return y, np.array(z), y2


@idiom
def hstack_loop(x):
    rows = []
    for i in range(3):
        rows.append(np.hstack((x[i], x[i + 1 : i + 3], [1.0, x[0]])))
    return np.array(rows), np.vstack(rows), np.asarray(rows).T


@idiom
def listmul(x):
    a = [0.0] * 6
    for i in range(6):
        a[i] = x[i] ** 2 + (a[i - 1] if i else 0)
    return a, np.array(a), a[-1]


@idiom
def matrixlist(x):
    A = [[0] * 3 for _ in range(2)]
    for i in range(2):
        for j in range(3):
            A[i][j] = x[3 * i + j] * (i + j)
    return (
        np.array(A) @ np.ones(3),
        np.sum(A),
        np.linalg.norm(A),
        np.dot(A, [1, 2, 3]),
        np.matmul(A, np.eye(3)),
        np.transpose(A),
        np.shape(A),
    )


@idiom
def randoms(x):
    rng = np.random.default_rng(1)
    z = rng.standard_normal((3, 6))
    np.random.seed(0)
    u = np.random.rand(6)
    r = random.Random(3).random()
    return z @ x, u * x, r * x, rng.integers(0, 6, 2)[0] * x, x[rng.permutation(6)]


@idiom
def emptyarr(x):
    return (
        np.sum(x[:0]),
        np.prod(x[6:]),
        x[:0].shape[0] * x,
        np.concatenate([x[:0], x]),
        np.sum(np.zeros((0, 3)), axis=0) * x[:3],
        np.zeros(0) * x[0],
        np.mean(x[:1]),
        x[2:2],
    )


@idiom
def zerod(x):
    a = np.array(x[0])
    b = np.zeros(())
    b[...] = x[1]
    b += 1
    c = x[2].reshape(())
    d = x[3][()]
    return (
        a * b * c * d,
        a.shape,
        a.ndim,
        np.ndim(x[0]),
        x[0].T,
        x[0].sum(),
        x[0].max(),
        x[0][None],
        np.float64(x[0]),
        x[0].item(),
        np.asarray(x[0])[()],
    )


@idiom
def ordering(x):
    F = np.asfortranarray(x.reshape(2, 3))
    return (
        F.ravel("F"),
        x.reshape(2, 3, order="F"),
        F.T.flatten(),
        F.copy(order="F").T.ravel(),
        np.ravel(F.T),
        F.T.reshape(-1),
        x.reshape((3, 2), order="F").flatten("F"),
    )


@idiom
def strides_views(x):
    a = np.zeros((4, 4))
    a[:] = np.outer(x[:4], x[2:])
    d = a.diagonal()
    f = a[::-1, ::2]
    g = a.T[1:3]
    a[0, 0] = 9
    return d, f, g, np.diag(a), a.flat[5], a[..., 0], a[1, ...], a[None, ..., None].squeeze()


@idiom
def diag_write(x):
    a = np.zeros((3, 3))
    np.fill_diagonal(a, x[:3])
    a[np.diag_indices(3)] *= 2
    i, j = np.triu_indices(3, 1)
    a[i, j] = x[3:]
    a = a + np.triu(a, 1).T
    a.flat[::4] += 1
    a.flat[0] = x[0]
    return a


@idiom
def swap(x):
    a = x.copy()
    a[0], a[1] = a[1], a[0]
    a[[2, 3]] = a[[3, 2]]
    b = x.reshape(2, 3).copy()
    b[[0, 1]] = b[[1, 0]]
    b[:, [0, 2]] = b[:, [2, 0]]
    a[:3], a[3:] = a[3:].copy(), a[:3].copy()
    return a, b


@idiom
def overlap(x):
    a = x.copy()
    a[1:] = a[:-1]
    b = x.copy()
    b[:-1] += b[1:]
    c = x.copy()
    c[1:] -= c[:-1]
    d = x.copy()
    d[:] = d[::-1]
    return a, b, c, d


@idiom
def multiassign(x):
    a = b = np.zeros(3)
    a[0] = x[0]
    b[1] = x[1]
    c = d = x[2]
    c += 1
    return a, b, c, d


@idiom
def inplace_arg(x):
    def f(buf, v):
        buf[0] = v
        buf += 1
        return None

    a = np.zeros(3)
    f(a, x[0])
    f(a[1:], x[1])
    return a


@idiom
def inplace_x_rebind(x):
    x = x * 1
    x += 1
    x[0] *= 2
    return x


@idiom
def outparams(x):
    a = np.empty(6)
    np.exp(x, out=a)
    np.multiply(a, x, a)
    np.add(a, 1, out=a, where=x > 0.5)
    b = np.empty(3)
    np.sum(x.reshape(2, 3), axis=0, out=b)
    np.dot(x, x, out=None)
    np.clip(a, 0, 2, out=a)
    np.cumsum(x, out=a)
    np.maximum(a, 1, out=a)
    d = np.empty((2, 2))
    np.matmul(x[:4].reshape(2, 2), x[2:].reshape(2, 2), out=d)
    e = np.empty(6)
    np.take(x, [0, 1, 2, 3, 4, 5], out=e)
    return a, b, d, e


@idiom
def where_out(x):
    a = np.zeros(6)
    np.divide(1, x, out=a, where=x > 0.5)
    b = np.sqrt(x, where=x > 0, out=np.zeros_like(x))
    np.log(x, out=b, where=[True] * 3 + [False] * 3)
    return a, b


@idiom
def bool_arith(x):
    return (
        (x > 0.5) * x,
        (x > 0.5) + 0.0,
        np.sum(x > 0.5),
        (x > 0.5).astype(float) @ x,
        -x * (x < 0.5),
        1 - (x > 0.5),
        x ** (x > 0.5),
        np.bitwise_or(x > 0.5, x < 0.4) * x,
        (x > 0.5) ^ (x < 0.6),
        np.logical_not(x > 0.5) * 1,
        ~(x > 0.5) * 1,
    )


@idiom
def typ(x):
    return (
        x.astype(int),
        x.astype(bool),
        x.astype("f4").astype(float) * 0,
        x.astype(np.float64),
        np.float32(2) * x,
        np.int64(3) * x,
        np.array(2) * x,
        True * x,
        x * np.True_,
    )


@idiom
def reduce_kw(x):
    a = x.reshape(2, 3)
    return (
        a.sum(0),
        a.sum(axis=1, keepdims=True),
        a.mean((0, 1)),
        a.max(-1),
        a.min(axis=-2),
        a.prod(axis=None),
        a.std(1, ddof=1),
        a.var(axis=(0, 1), keepdims=True),
        a.cumsum(1),
        a.cumprod(axis=-1),
        a.any(1) * 1,
        a.all() * 1,
        a.argmax(0),
        a.argmin(axis=1),
        a.ptp(0) if hasattr(np.ndarray, "ptp") else np.ptp(a, 0),
        a.trace(),
        a.diagonal(1),
        a.round(2) * 0,
        a.squeeze(),
        a.repeat(2, axis=1),
        a.take([0, 2], axis=1),
        a.swapaxes(0, 1),
        a.transpose(1, 0),
        a.dot(x[:3]),
        a.clip(0.4, 0.8),
    )


@idiom
def polys(x):
    return (
        np.polynomial.Polynomial(x[:3])(0.3),
        np.polynomial.polynomial.polyval(x, x[:2]),
        np.polynomial.chebyshev.chebval(0.2, x),
        np.polynomial.legendre.legval(x, x[:3]),
        np.polynomial.hermite.hermval(x[0], [1, x[1], 2]),
    )


@idiom
def sum_axis_neg(x):
    return (
        x.reshape(1, 2, 3).sum(axis=(-1, -3)),
        np.concatenate((x.reshape(2, 3),) * 2, axis=-1),
        np.stack([x, x], axis=-1),
        np.expand_dims(x, -1),
        np.moveaxis(x.reshape(1, 2, 3), -1, 0),
        np.flip(x.reshape(2, 3), axis=-1),
        np.roll(x.reshape(2, 3), 1, axis=-1),
        np.diff(x.reshape(2, 3), axis=0),
        np.cumsum(x.reshape(2, 3), axis=-2),
        np.repeat(x.reshape(2, 3), [1, 2], axis=0),
        np.tile(x.reshape(2, 3), (2, 1)),
        np.linalg.norm(x.reshape(2, 3), axis=-1, keepdims=True),
        np.take(x.reshape(2, 3), 1, axis=-1),
        np.split(x.reshape(2, 3), 3, axis=-1),
        np.insert(x.reshape(2, 3), 1, x[0], axis=1),
        np.delete(x.reshape(2, 3), 0, axis=-1),
        np.append(x.reshape(2, 3), x[None, :3], axis=0),
    )


@idiom
def neg_pow(x):
    return (
        x**-1,
        (-x) ** 2,
        (-x) ** 3,
        (x - 0.6) ** 2.0,
        (x - 0.6) ** 3,
        np.power(x - 0.6, 2),
        np.power(x, -2.5),
        np.float_power(x, 2),
        x[0] ** -2,
        2**-x,
        (-2.0) ** 2 * x,
        pow(x, 2),
        x.__pow__(3),
        np.square(-x),
    )


@idiom
def floor_div(x):
    return (
        (x * 10) // 0.7,
        x * 10 % 0.7,
        divmod(x * 10, 0.7),
        -x * 10 // 0.7,
        np.floor_divide(x * 10, -0.7),
        np.mod(-x * 10, 0.7),
        np.fmod(-x * 10, 0.7),
        np.remainder(x * 10, -0.7),
        x[0] * 10 // 1,
        5.3 // x[3],
        math.floor(x[0] * 10),
        (x * 10).astype(int) % 3,
        (x * 10).astype(int) // 2,
    )


@idiom
def nditer2(x):
    a = np.zeros((2, 3))
    for v in np.nditer(a, op_flags=["readwrite"]):
        v[...] = 2
    a[0] = x[:3]
    with np.nditer(a, op_flags=["readwrite"]) as it:
        for v in it:
            v[...] = v * x[0]
    it = np.nditer(x.reshape(2, 3), flags=["multi_index"])
    s = 0
    while not it.finished:
        s = s + it[0] * sum(it.multi_index)
        it.iternext()
    for p, q in np.nditer([x, x[::1] * 2]):
        s = s + p * q
    return a, s


def test_captured_array_is_untouched():
    assert np.array_equal(CAP, np.arange(6.0))



@pytest.mark.parametrize("name", IDIOMS)
def test_idiom(name):
    check_hessian(IDIOMS[name], X)
