"""Hessians of published problems against exact Taylor arithmetic, at two points each."""

import functools
import math

import numpy as np
import pytest
from oracles import assert_close
from published import load
from taylor import namespace, special_namespace, taylor

from symhess import hessian_jit

PROBLEMS = load()
#: math.<name> by the function of the same meaning for arrays
MATH = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"}


#: math.<name> by the function of scipy.special
SPECIAL = {"erf": "erf", "erfc": "erfc", "lgamma": "gammaln"}


class TaylorMath:
    """What stands in for `math`."""

    @staticmethod
    def dist(p, q):
        return namespace().sqrt(sum((a - b)**2 for a, b in zip(p, q)))

    def __getattr__(self, name):
        if name in SPECIAL:
            return getattr(special_namespace(), SPECIAL[name])
        return getattr(namespace(), MATH.get(name, name)) if name in MATH or hasattr(np, name) else getattr(math, name)


@functools.cache
def by_taylor():
    return load(np=namespace(), math=TaylorMath(), special=special_namespace())


def reference(p, x):
    """Value, gradient and Hessian."""
    return taylor(by_taylor()[p.name].fn, (x,), [x], lambda args, inputs: tuple(inputs))


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_hessian(name):
    check(hessian_jit(PROBLEMS[name].fn, mode="autograd"), PROBLEMS[name])


@pytest.mark.parametrize("name", ["hidden_markov_two_states", "truss", "huber_line", "hs071", "kalman_local_level",
                                  "sparsine"])
def test_compiled(name):
    f = hessian_jit(PROBLEMS[name].fn)
    for _ in range(2):
        check(f, PROBLEMS[name])


def check(f, p):
    for x in p.points():
        value, gradient, hessian = reference(p, x)
        np.testing.assert_allclose(p.fn(x.copy()), value, rtol=1e-12)
        got = f.value_grad_hessian(x)
        np.testing.assert_allclose(got[0], value, rtol=1e-11)
        assert_close(got[1], gradient, 1e-9)
        assert_close(got[2], hessian, 1e-9)


def test_count():
    assert len(PROBLEMS) >= 350
