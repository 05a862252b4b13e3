"""Delicate points: the table of examples/benchmarks/numerics.py, and that rewrites keep what was right."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from examples.benchmarks import numerics
from symhess import hessian_jit

ROWS = [row for rows in numerics.ROWS.values() for row in rows]
#: one kernel for all of a section's smooth rows would hide which one is wrong: these are compiled alone
COMPILED = ("norm(x)**2 at 0", "1/cosh(x), x = 800", "x**y at (0, 2)", "log_ndtr(-1e5)", "softmax with a shift",
            "cross entropy, y = 0, p = 0", "log(1 - exp(-x)), x = 1e-10", "sum of logs of some")


def hessian_of(row: numerics.Row, mode: str):
    return hessian_jit(lambda x: row.function(np, scipy.special, x), mode=mode)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_value_gradient_and_hessian_are_right(row):
    found = hessian_of(row, "autograd").value_grad_hessian(np.array(row.at, float))
    assert numerics.verdict(numerics.Closed(*found), numerics.truth(row)) == "right"


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_kernels_say_the_same(name):
    (row,) = [row for row in ROWS if row.name == name]
    found = hessian_of(row, "symbolic").value_grad_hessian(np.array(row.at, float))
    assert numerics.verdict(numerics.Closed(*found), numerics.truth(row)) == "right"


def test_the_table_sees_planted_faults():
    expected = numerics.Closed(1.0, [2.0, np.inf], [[1.0, 0.0], [0.0, 3.0]])
    assert numerics.verdict(expected, expected) == "right"
    assert numerics.verdict(expected._replace(value=1 + 1e-9), expected) == "value off 1e-09"
    assert numerics.verdict(expected._replace(gradient=[2.0, np.nan]), expected) == "gradient nan"
    assert numerics.verdict(expected._replace(gradient=[2.0, -np.inf]), expected) == "gradient inf"
    assert numerics.verdict(expected._replace(hessian=[[1.0, 1e-8], [0.0, 3.0]]), expected) == "Hessian off 3e-09"
