"""The oracles agree with one another, and the comparisons fail on planted faults."""

import importlib.util

import numpy as np
import pytest
from oracles import assert_close, assert_pattern, by_differences, by_jax, by_taylor, reference
from problem import banded, leaves
from problems import PROBLEMS, tagged

EVERY = sorted(PROBLEMS)
#: NumPy's linear algebra and SciPy's special functions stop at double precision
DIFFERENCED = [n for n in EVERY if not PROBLEMS[n].tags & {"linalg", "special", "large"}]
#: JAX compiles for seconds: it is asked where differences cannot be, and on a few others
JAX = [n for n in EVERY if PROBLEMS[n].tags & {"linalg", "special"}] + ["minimal_surface", "mlp_tanh", "robot_arm"]


def test_there_are_enough_problems_of_every_kind():
    assert len(PROBLEMS) >= 60
    for tag in ("scalar", "sparse", "network", "linalg", "loops", "special", "inplace", "chain"):
        assert len(tagged(tag)) >= 3, tag


@pytest.mark.parametrize("name", EVERY)
def test_value_is_that_of_plain_numpy(name):
    p = PROBLEMS[name]
    for point, args in enumerate(p.points()):
        with np.errstate(all="ignore"):
            value = p.fn(*args)
        assert np.shape(value) == ()
        assert_close(value, reference(name, point)[0], 1e-12)


@pytest.mark.parametrize("name", DIFFERENCED)
def test_taylor_agrees_with_differences_of_the_value(name):
    p = PROBLEMS[name]
    with np.errstate(all="ignore"):
        assert_close(by_differences(p, p.args), reference(name, 0)[2], 1e-10)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize("name", JAX)
def test_taylor_agrees_with_jax(name):
    p = PROBLEMS[name]
    assert_close(by_jax(p, p.points()[1]), reference(name, 1)[2], 1e-10)


@pytest.mark.parametrize("name", [n for n in EVERY if PROBLEMS[n].hessian])
def test_taylor_agrees_with_the_closed_form(name):
    p = PROBLEMS[name]
    for point, args in enumerate(p.points()):
        assert_close(p.hessian(*args), reference(name, point)[2], 1e-11)


@pytest.mark.parametrize("name", EVERY)
def test_taylor_hessian_is_symmetric_and_its_gradient_is_the_slope(name):
    p = PROBLEMS[name]
    _, gradient, hessian = reference(name, 0)
    assert_close(hessian, hessian.T, 1e-12)
    direction, h = np.cos(np.arange(p.size)), 1e-5

    def along(t):
        moved, start = [], 0
        for x in p.inputs(p.args):
            moved.append(x + t * h * direction[start:start + np.size(x)].reshape(np.shape(x)))
            start += np.size(x)
        return by_taylor(p, p.with_inputs(p.args, moved))[0]

    slope = (8 * (along(1) - along(-1)) - (along(2) - along(-2))) / (12 * h)
    assert slope == pytest.approx(gradient @ direction, rel=1e-6, abs=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("name", [n for n in EVERY if PROBLEMS[n].pattern is not None])
def test_declared_pattern_is_exact(name):
    seen = (reference(name, 0)[2] != 0) | (reference(name, 1)[2] != 0)
    assert_pattern(seen, PROBLEMS[name].pattern)


@pytest.mark.parametrize("name", [n for n in EVERY if PROBLEMS[n].scaled.__wrapped__.__defaults__])
def test_scaled_problems_are_larger_and_run(name):
    p = PROBLEMS[name]
    larger = p.scaled(2 * p.scaled.__wrapped__.__defaults__[0])
    assert (larger.name, larger.tags) == (name, p.tags)
    assert sum(np.size(x) for a in larger.args for x in leaves(a)) >= sum(np.size(x) for a in p.args for x in leaves(a))
    assert larger.pattern is None or larger.pattern.shape == (larger.size, larger.size)
    with np.errstate(all="ignore"):
        assert np.isfinite(larger.fn(*larger.args))


def test_a_wrong_entry_is_caught():
    H = reference("chained_rosenbrock", 0)[2]
    wrong = H.copy()
    wrong[2, 3] += 1e-8 * np.abs(H).max()
    with pytest.raises(AssertionError, match=r"entry \(2, 3\)"):
        assert_close(wrong, H)
    wrong[2, 3] = np.nan
    with pytest.raises(AssertionError, match=r"entry \(2, 3\)"):
        assert_close(wrong, H)
    with pytest.raises(AssertionError, match="shape"):
        assert_close(H[:-1], H)


@pytest.mark.parametrize("entry, fault", [((4, 5), "1 entries missing"), ((0, 7), "1 superfluous")])
def test_a_wrong_pattern_is_caught(entry, fault):
    right = banded(8, 1)
    wrong = right.copy()
    wrong[entry] ^= True
    assert_pattern(right, right)
    with pytest.raises(AssertionError, match=fault):
        assert_pattern(wrong, right)
