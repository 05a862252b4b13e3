"""Values have the dtype that NumPy gives them, by Python's numbers, narrow integers and arrays; NumPy is the oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest

import symhess
from symhess import hessian_jit

PIXELS, SIGNS, LABELS = np.array([3, 200, 255], np.uint8), np.array([3, -1, 1], np.int8), np.array([0, 2])


def in_place(x, k):
    y = x.copy()
    y += k
    y *= k
    return np.sum(y**2)


#: name -> (function of x and data, the data)
CASES = {
    "a difference of large floats": (lambda x, a, b: np.sum(x * (b - a)), (1700000000.25, 1700000001.5)),
    "int": (lambda x, k: np.sum(x**2 * k), (3,)),
    "int + float": (lambda x, k, t: np.sum(x**2 * (k + t)), (7, 0.5)),
    "int / int": (lambda x, k: np.sum(x**2 * (k / 3)), (4,)),
    "int // int": (lambda x, k: np.sum(x**2 * (k // 3)), (7,)),
    "int % int": (lambda x, k: np.sum(x**2 * (k % 3)), (7,)),
    "divmod": (lambda x, k: np.sum(x**2 * sum(divmod(k, 3))), (7,)),
    "int ** int": (lambda x, k: np.sum(x**2 * k**2), (4,)),
    "int ** -1": (lambda x, k: np.sum(x**2 * k**-1), (4,)),
    "2 ** int": (lambda x, k: np.sum(x**2 * 2**k), (-2,)),
    "-int": (lambda x, k: np.sum(x**2 * -k), (7,)),
    "abs": (lambda x, k: np.sum(x**2 * abs(k)), (-7,)),
    "x ** int": (lambda x, k: np.sum(x**k), (3,)),
    "x ** float": (lambda x, k: np.sum(x**k), (2.5,)),
    "int ** x": (lambda x, k: np.sum(k**x), (2,)),
    "math.sqrt": (lambda x, k: np.sum(x**2 * math.sqrt(k)), (2,)),
    "np.sqrt of a float": (lambda x, k: np.sum(x**2 * np.sqrt(k)), (2.0,)),
    "np.sqrt of an int": (lambda x, k: np.sum(x**2 * np.sqrt(k)), (2,)),
    "isinstance int": (lambda x, k: np.sum(x ** (3 if isinstance(k, int) else 2)), (2,)),
    "isinstance float": (lambda x, k: np.sum(x ** (3 if isinstance(k, float) else 2)), (2.0,)),
    "isinstance np.integer": (lambda x, k: np.sum(x ** (3 if isinstance(k, np.integer) else 2)), (np.int64(2),)),
    "int() and float()": (lambda x, k: np.sum(x**2 * int(k) * float(k)), (2,)),
    "float of an element": (lambda x, k: np.sum(float(x[0]) * x**2 * k), (2.0,)),
    "a range": (lambda x, k: sum(np.sum(x**2) * i for i in range(k)), (3,)),
    "an index": (lambda x, k: x[k] ** 2 * x[0], (2,)),
    "a key": (lambda x, k: np.sum(x**2 * {2: 5}[k]), (2,)),
    "max of ints": (lambda x, k: np.sum(x**2 * max(k, 1)), (3,)),
    "max of floats": (lambda x, k: np.sum(x**2 * max(k, 0.5)), (3.0,)),
    "where": (lambda x, k: np.sum(np.where(x > 1, x**2, k)), (3,)),
    "select": (lambda x, k: np.sum(np.select([x > 1, x > 2], [x**2, k * x], k)), (3,)),
    "maximum": (lambda x, k: np.sum(np.maximum(x**2, k)), (3,)),
    "clip": (lambda x, k: np.sum(np.clip(x, k, 4)) * x[0] ** 2, (2,)),
    "an array with a float": (lambda x, k: np.sum(np.array([x[0], k]) ** 2), (3.0,)),
    "full": (lambda x, k: np.sum(np.full(3, k) * x**2), (3.0,)),
    "full_like": (lambda x, k: np.sum(np.full_like(x, k) * x**2), (3.0,)),
    "linspace": (lambda x, k: np.sum(np.linspace(0, k, 3) * x**2), (3.0,)),
    "in place": (in_place, (2.0,)),
    "a list": (lambda x, k: np.sum(x**2 * k[0] * k[1]), ([2.0, 3],)),
    "a dict": (lambda x, k: np.sum(x**2 * k["a"] + k["b"]), ({"a": 2.0, "b": 3},)),
    "np.float64": (lambda x, k: np.sum(x**2 * k), (np.float64(3),)),
    "np.float32": (lambda x, k: np.sum(x**2 * k), (np.float32(3),)),
    "np.int32": (lambda x, k: np.sum(x**2 * k), (np.int32(2),)),
    "np.int8": (lambda x, k: np.sum(x**2 * k), (np.int8(2),)),
    "rank 0": (lambda x, k: np.sum(x**2 * k), (np.array(3.0),)),
    "int64 array": (lambda x, k: np.sum(x**2 * k), (np.array([1, 2, 3]),)),
    "int16 array": (lambda x, k: np.sum(x**2 * k), (np.array([1, 2, 3], np.int16),)),
    "pixels / 255": (lambda x, k: np.sum(k / 255 * x**2), (PIXELS,)),
    "pixels of a dtype": (lambda x, k: np.sum((k / 255.0 if k.dtype == np.uint8 else k) * x**2), (PIXELS,)),
    "a slice of pixels": (lambda x, k: np.sum(k[:2] * x[1:] ** 2), (PIXELS,)),
    "pixels as float32": (lambda x, k: np.sum(k.astype(np.float32) * x**2), (PIXELS,)),
    "an int8 element": (lambda x, k: k[0] * np.sum(x**2), (SIGNS,)),
    "an int8 transpose": (lambda x, k: np.sum(k.T @ x**2), (np.ones((3, 2), np.int8),)),
    "an int8 dot": (lambda x, k: np.dot(k, x**2), (SIGNS,)),
    "an int8 einsum": (lambda x, k: np.einsum("i,i", k, x**2), (SIGNS,)),
    "int8 joined": (lambda x, k: np.sum(np.concatenate([k, x]) ** 2), (SIGNS,)),
    "int8 reshaped": (lambda x, k: np.sum(np.reshape(k, (3, 1)) * x**2), (SIGNS,)),
    "one hot": (lambda x, y: -np.sum(np.eye(3, dtype=np.float32)[y] * np.log(x)), (LABELS,)),
    "labels as places": (lambda x, y: -np.sum(np.log(x[y])), (LABELS,)),
    "labels compared": (lambda x, y: np.sum((y[:, None] == np.arange(3)) * x**2), (LABELS,)),
    "a mean by len": (lambda x, y: np.sum(x**2) / len(y), (LABELS,)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_values_have_the_dtype_that_numpy_gives_them(name, dtype):
    fn, data = CASES[name]
    x = np.array([1, 2, 3], dtype)
    expected, f = fn(x, *data), hessian_jit(fn)
    value = f.value(x, *data)
    assert value.dtype == np.asarray(expected).dtype
    assert abs(value - expected) <= 4 * np.finfo(dtype).eps * abs(expected)
    assert f(x, *data).dtype == value.dtype and f.grad(x, *data).dtype == dtype


def test_half_precision_is_computed_in_single():
    x = np.array([1, 2, 3], np.float16)
    for k in (2.0, 2, np.int8(2), np.float16(2)):
        assert hessian_jit(lambda x, k: np.sum(x**2 * k)).value(x, k).dtype == np.float32


def test_numbers_of_python_and_of_numpy_are_told_apart():
    f, x = hessian_jit(lambda x, k: np.sum(k * x**2)), np.ones(2, np.float32)
    for _ in range(3):
        assert [f(x, k).dtype for k in (2.0, np.float64(2), 2, np.int64(2))] == [
            np.float32, np.float64, np.float32, np.float64]


@pytest.mark.parametrize("base, exponent", [(np.int64(2), np.int64(-1)), (np.array([2, 3]), np.array([1, -1]))])
def test_integers_to_negative_powers_are_refused_as_in_numpy(base, exponent):
    f = hessian_jit(lambda x, a, b: np.sum(x**2) * np.sum(a**b))
    assert f.value(np.ones(2), base, abs(exponent)) == 2 * np.sum(base ** abs(exponent))
    with pytest.raises(ValueError, match="negative integer powers"):
        f.value(np.ones(2), base, exponent)


def test_python_numbers_in_loops_and_rules_beside_single_precision():
    x = np.array([1, 2, 3], np.float32)

    scaled = symhess.custom_derivative(partials=("2*k*x", "x**2"))(lambda x, k: k * x**2)
    decay = lambda x, k: np.sum(symhess.fori_loop(0, 3, lambda i, y: y * k, x) ** 2)
    total = lambda x, k: symhess.scan(lambda s, v: (s + k * v**2, None), k, x)[0]
    for fn, expected in ((decay, 14 / 64), (total, 7.5), (lambda x, k: np.sum(scaled(x, k)), 7)):
        f = hessian_jit(fn)
        assert f.value(x, 0.5) == expected and f.value(x, 0.5).dtype == f(x, 0.5).dtype == np.float32
