"""Bounds on Terms: recurrences have one, many small ones become one, and where that is not enough columns are dense."""

import numpy as np
import pytest

from symhess import hessian_jit
from symhess.api import pipeline
from symhess.check import check_hessian
from symhess.graph.maps import table_map
from symhess.graph.node import constant, input_node
from symhess.primitives import apply, concatenate, einsum, element, scatter, slice_axis, stack
from symhess.structure import listing
from symhess.structure.listing import Account, listed
from symhess.structure.propagate import push, tangents
from symhess.structure.term import Tangent, identity_term

RETURNS = np.random.default_rng(0).normal(0.001, 0.02, size=(40, 4))


def path_of(f, *args):
    return f._bound_path(args, {})[1]


def drawdown(w):
    w = np.exp(w) / np.sum(np.exp(w))
    wealth = np.cumprod(1 + RETURNS @ w)
    peak = np.maximum.accumulate(wealth)
    return -np.log(wealth[-1]) + 3 * np.mean((1 - wealth / peak) ** 2)


CHANGES = (np.tanh, np.sin, np.arctan, np.cos, np.sqrt, np.exp, np.sinh, np.tanh, np.arctan, np.sin, np.exp, np.cos)


def steered(u):
    """A chain of states, each of which depends on all controls before it; no two steps in a row are alike."""
    mixing, x, total = np.eye(2) + 0.1 * np.arange(4).reshape(2, 2), np.ones(2), 0.0
    for control, change in zip(u.reshape(-1, 2), CHANGES):
        x = change(0.3 * (mixing @ x) ** 2 + 0.1) + control
        total = total + x @ x * x[0]
    return total


@pytest.mark.parametrize("fn", [drawdown, lambda x: np.prod(x), lambda x: np.sum(np.cumprod(x))])
def test_recurrences_have_few_terms_whatever_their_length(fn):
    counts = []
    for n in (20, 200):
        global RETURNS
        RETURNS = np.random.default_rng(0).normal(0.001, 0.02, size=(n, 4))
        x = np.linspace(0.9, 1.1, 4 if fn is drawdown else n)
        counts.append(len(path_of(hessian_jit(fn), x).terms))
    assert counts[0] == counts[1] <= 3


def test_the_pattern_of_running_products_is_exact():
    f, x = hessian_jit(lambda x: np.sum(np.cumprod(x)[:6] ** 2) + x[8] * np.sum(np.cumprod(x)[:3])), np.full(10, 1.1)
    expected = np.zeros((10, 10), bool)
    expected[:6, :6] = True
    expected[8, :3] = expected[:3, 8] = True
    np.testing.assert_array_equal(f.sparsity(x).toarray(), expected)


def _pieces(x, count):
    """Many Terms: products of short slices, laid end to end, with overlaps."""
    return [apply("mul", slice_axis(x, 0, k % 5, 1, 2), slice_axis(x, 0, (3 * k) % 7, 1, 2)) for k in range(count)]


@pytest.mark.parametrize("name", ["separate", "overlapping", "numbers"])
def test_many_small_terms_become_one(name, monkeypatch):
    x = input_node("x", (9,))
    pieces = _pieces(x, 20)
    v = {"separate": lambda: concatenate(pieces, 0),
         "overlapping": lambda: einsum("kj,j->k", stack_rows(pieces), constant(np.array([1.0, 2.0]))),
         "numbers": lambda: stack([element(p, (k % 2,)) for k, p in enumerate(pieces)])}[name]()
    monkeypatch.setattr(listing, "MANY", 10**6)
    (plain,) = push([v], {x: Tangent(x.shape, (identity_term(x, 0),))})
    monkeypatch.undo()
    told = []
    one = listed(plain, v, told)
    assert len(plain.terms) > listing.MANY and len(one.terms) == 1 and told[0].terms == len(plain.terms)
    known = {x: np.linspace(0.5, 2, 9)}
    np.testing.assert_allclose(one.dense(9, known), plain.dense(9, known), rtol=1e-14)
    assert told[0].entries == np.count_nonzero(plain.dense(9, {x: np.ones(9)}))


def stack_rows(pieces):
    total = None
    for k, p in enumerate(pieces):
        row = scatter(p, (table_map(np.full(2, k), (2,)), table_map(np.arange(2), (2,))), (len(pieces), 2))
        total = row if total is None else apply("add", total, row)
    return total


def test_large_terms_apart_from_each_other_stay():
    x = input_node("x", (400,))
    wide = [apply("mul", slice_axis(x, 0, k, 1, 370), slice_axis(x, 0, 30 - k, 1, 370)) for k in range(20)]
    total = wide[0]
    for w in wide[1:]:
        total = apply("add", total, w)
    (tangent,) = tangents([total], [x])
    assert len(tangent.terms) > listing.MANY


@pytest.mark.parametrize("patience", [0, 10**9])
def test_a_chain_of_states_is_right_with_and_without_structure(patience, monkeypatch):
    monkeypatch.setattr(pipeline, "PATIENCE", patience)
    monkeypatch.setattr(pipeline, "TERMS_PER_NODE", 0)
    f, x = hessian_jit(steered, mode="autograd"), np.linspace(-0.4, 0.5, 24)
    assert check_hessian(f, x)
    np.testing.assert_allclose(f.sparse(x).toarray(), f(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(f.diagonal(x), np.diag(f(x)), rtol=1e-12)
    text = f.explain(x)
    if patience:
        assert "listed: " in text and len(path_of(f, x).account.listed)
    else:
        assert "structure was given up: more than 0 Terms" in text and "dense columns" in text
        assert len(path_of(f, x).terms) == 1 and f.sparsity(x).nnz == 24**2


def test_structure_is_not_given_up_where_columns_are_dear(monkeypatch):
    monkeypatch.setattr(pipeline, "PATIENCE", 0)
    monkeypatch.setattr(pipeline, "TERMS_PER_NODE", 0)
    monkeypatch.setattr(pipeline, "CHEAP", 1e3)
    x = np.linspace(0.5, 1.5, 200)
    assert hessian_jit(lambda x: np.sum((x[1:] - x[:-1] ** 2) ** 2)).sparsity(x).nnz == 3 * 200 - 2


def test_terms_of_many_operations_give_way_to_columns(monkeypatch):
    monkeypatch.setattr(pipeline, "OPERATIONS", 0)
    monkeypatch.setattr(pipeline, "GROWTH", 0)
    f, x = hessian_jit(steered, mode="autograd"), np.linspace(-0.4, 0.5, 6)
    assert "operations to compile, a column" in f.explain(x)
    assert check_hessian(f, x)


def test_an_account_is_asked_once():
    asked = []
    account = Account(3, lambda: asked.append(1) or False)
    for _ in range(5):
        account.spend(2)
    assert asked == [1] and account.made == 10
    with pytest.raises(listing.Unstructured, match="more than 3 Terms"):
        Account(3, lambda: True).spend(4)


def test_terms_that_a_constant_makes_zero_altogether():
    """An LSTM cell over some steps: the state is zero before the first, and so are some of its Terms."""
    y = np.random.default_rng(0).normal(size=10)
    logistic = lambda v: 1 / (1 + np.exp(-v))

    def lstm(z):
        W, h, c = z.reshape(8, 4), np.zeros(2), np.zeros(2)
        for t in range(6):
            g = W @ np.concatenate([h, [y[t], 1.0]])
            c = logistic(g[:2]) * c + logistic(g[2:4]) * np.tanh(g[4:6])
            h = logistic(g[6:]) * np.tanh(c)
        return np.sum((h - 0.3) ** 2)

    x = np.linspace(-0.5, 0.5, 32)
    f = hessian_jit(lstm)
    assert np.allclose(f.sparse(x).toarray(), f(x), rtol=1e-12, atol=1e-15)
    assert check_hessian(f, x)
