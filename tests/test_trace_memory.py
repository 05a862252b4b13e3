"""Random programs of views, writes and reads: traced arrays alias each other exactly as NumPy's do."""

import numpy as np
import pytest
from test_trace import check

VIEWS = [
    lambda a: a[1:],
    lambda a: a[::-1],
    lambda a: a[..., ::2],
    lambda a: a.T,
    lambda a: a[None],
    lambda a: a.reshape(-1),
    lambda a: a.reshape(2, -1) if a.size % 2 == 0 else a.ravel("F"),
    lambda a: a[0] if a.ndim > 1 else a[:],
    lambda a: np.swapaxes(a, 0, -1),
    lambda a: np.flip(a, 0),
]
START = [
    lambda x: np.zeros((3, 4)),
    lambda x: x.reshape(3, 4) * 2,
    lambda x: np.arange(12.0).reshape(3, 4),
    lambda x: np.array([[x[0], 1, x[2], 3]] * 3),
    lambda x: np.full((3, 4), x[5]),
    lambda x: x.reshape(3, 4).copy(),
]


def step(rng, arrays, x):
    """One random operation on the pool of arrays."""
    a = arrays[rng.integers(len(arrays))]
    if not a.shape[0] or 0 in a.shape:
        return
    kind = rng.integers(7)
    if kind == 0:
        arrays.append(VIEWS[rng.integers(len(VIEWS))](a))
    elif kind == 1:
        place = tuple(int(rng.integers(n)) for n in a.shape)
        a[place] = x[int(rng.integers(12))] * 3 if rng.integers(2) else 7.0
    elif kind == 2:
        a[int(rng.integers(a.shape[0]))] = x[: a.shape[-1]] if a.ndim > 1 else x[3]
    elif kind == 3:
        a += x[int(rng.integers(12))]
    elif kind == 4:
        mask = rng.integers(0, 2, a.shape).astype(bool)
        a[mask] = x[1]
    elif kind == 5:
        rows = rng.integers(0, a.shape[0], 3)
        a[rows] = a[rows] * 2 + x[0]
    else:
        arrays.append(a * 1.0 if rng.integers(2) else a.copy())


def program(seed, length=14):
    def run(x):
        rng = np.random.default_rng(seed)
        arrays = [START[rng.integers(len(START))](x)]
        for _ in range(length):
            step(rng, arrays, x)
        return arrays

    return run


@pytest.mark.parametrize("seed", range(120))
def test_random_programs(seed):
    check(program(seed), np.linspace(0.1, 1.2, 12))


def in_place_step(rng, arrays, x):
    """One random operation on whole arrays that share the memory of the input, or read it."""
    a = arrays[rng.integers(len(arrays))]
    b = arrays[rng.integers(len(arrays))]
    kind = rng.integers(6)
    if kind == 0:
        arrays.append((a.reshape(-1), a.reshape(3, 4), a.ravel(), a[::-1], a.T, a[...])[rng.integers(6)])
    elif kind == 1:
        a *= 0.5 + x.reshape(-1)[0] ** 2
    elif kind == 2:
        a += b if a.shape == b.shape else 1.5
    elif kind == 3:
        np.subtract(a, x.reshape(-1)[3], out=a)
    elif kind == 4:
        arrays.append(a * 1.0 if rng.integers(2) else a.copy())
    else:
        a **= 2
        a /= 1 + np.max(np.abs(a))


def in_place_program(seed, length=10):
    def run(x):
        rng = np.random.default_rng(seed)
        arrays = [x, x.reshape(3, 4)]
        for _ in range(length):
            in_place_step(rng, arrays, x)
        return arrays, x[2:5]

    return run


@pytest.mark.parametrize("seed", range(60))
def test_in_place_operators_on_inputs(seed):
    x = np.linspace(0.1, 1.2, 12)
    check(in_place_program(seed), x)
    np.testing.assert_array_equal(x, np.linspace(0.1, 1.2, 12))


def test_reshaped_copies_of_inputs_may_be_written():
    def copies(x):
        y = x.reshape(3, 4).T.ravel()
        y[0] = 5.0
        z = x[::2].reshape(2, 3).reshape(3, 2)
        return y, z

    check(copies, np.linspace(0.1, 1.2, 12))
