"""PyTorch functions: what `symhess.torch` gives is what PyTorch gives, in double precision, to 1e-9."""

from __future__ import annotations

import copy
import doctest
import functools
import subprocess
import sys
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

import symhess.functional  # noqa: E402
import symhess.torch as st  # noqa: E402
from symhess.errors import (  # noqa: E402
    BudgetExceeded,
    ConcretizationError,
    DTypeMismatch,
    InputMutation,
    NonScalarOutput,
    ShapeMismatch,
    UnsupportedOperation,
)
from symhess.torch import kernels  # noqa: E402

torch.set_num_threads(1)


def told(value):
    """A part of a test's name that is the same in every process."""
    return getattr(value, "__name__", None) or str(value)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def positive(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1


def difference(actual, expected):
    """The largest difference of nested tensors, relative to the largest entry."""
    if isinstance(expected, torch.Tensor):
        assert actual.shape == expected.shape and actual.dtype == expected.dtype and not actual.requires_grad
        return float((actual - expected).abs().max() / expected.abs().max().clamp(min=1e-3)) if expected.numel() else 0
    return max(difference(a, e) for a, e in zip(actual, expected, strict=True))


def agree(func, inputs, **options):
    assert difference(st.hessian(func, inputs, **options), torch.autograd.functional.hessian(func, inputs)) < 1e-9


#: what is interpreted here: the graph is what counts, and kernels are compared with the interpreter elsewhere
SLOW_TO_COMPILE = {
    "eigenvalues", "linear algebra", "MultiheadAttention", "MultiheadAttention batch first", "TransformerEncoderLayer",
    "RNN", "GRU", "LSTM", "LSTMCell", "GRUCell", "LocalResponseNorm", "GroupNorm", "InstanceNorm2d", "RMSNorm"}
X = normal(4, 3)
FUNCTIONS = {
    "elementary": lambda x: (x.exp() + x.sin() * x.cos() + x.tanh() + torch.atan(x) + torch.expm1(x)).sum(),
    "positive": lambda x: ((x**2 + 1).log() + (x**2 + 1).sqrt() + (x**2 + 2).rsqrt() + torch.log1p(x**2)).sum(),
    "powers": lambda x: (x**3 + (x**2 + 1) ** 0.3 + 2**x + (x**2 + 1) ** x).sum(),
    "special": lambda x: (torch.erf(x) + torch.special.entr(x**2 + 0.1) + torch.lgamma(x**2 + 1)
                          + torch.xlogy(x, x**2 + 1) + torch.logit(torch.sigmoid(x) * 0.5)).sum(),
    "two arguments": lambda x: (torch.atan2(x, x.roll(1) + 3) + torch.hypot(x, x + 1)
                                + torch.logaddexp(x, x.flip(0)) + torch.maximum(x, x.flip(0))).sum(),
    "choices": lambda x: (torch.where(x > 0.1, x**2, x**3) + x.clamp(-0.5, 0.5) ** 2 + x.abs() ** 3).sum(),
    "reductions": lambda x: x.var() + x.std(0).sum() + x.mean(1).prod() + x.logsumexp(0).sum() + x.norm() ** 3,
    "extremes": lambda x: x.max() ** 2 + x.max(1).values.pow(3).sum() + x.amin(0).pow(2).sum()
    + x.aminmax(dim=0)[1].pow(2).sum(),
    "running": lambda x: x.cumsum(0).pow(3).sum() + (x**2 + 1).cumprod(1).sum() + x.logcumsumexp(0).sum(),
    "matrices": lambda x: (x @ x.T @ x).sum() + torch.einsum("ij,kj,il->", x, x, x) + torch.tensordot(x, x).sin(),
    "linear algebra": lambda x: torch.linalg.slogdet(x.T @ x + torch.eye(3))[1]
    + torch.linalg.solve(x.T @ x + torch.eye(3), x.T).pow(2).sum() + torch.linalg.cholesky(x.T @ x + torch.eye(3)).sum()
    + torch.linalg.inv(x[:3].T @ x[:3] + torch.eye(3)).sum() + torch.det(x[1:]),
    "eigenvalues": lambda x: torch.linalg.eigvalsh(x.T @ x).pow(1.5).sum() + torch.linalg.svdvals(x).log().sum()
    + torch.linalg.qr(x)[1].abs().sum(),
    "shapes": lambda x: (x.reshape(2, 6).permute(1, 0).unsqueeze(1).expand(6, 5, 2).sin().flatten(1).chunk(2, 1)[0] ** 2
                         ).sum() + torch.cat([x, x**2], 1).split([2, 4], 1)[1].pow(2).sum(),
    "indexing": lambda x: (x[[0, 2]] * x[1:3, [0, 1, 2]]).sum() + x[x > 0].pow(3).sum() + x[..., -1].prod()
    + x.gather(1, torch.tensor([[0, 2], [1, 1]])).pow(3).sum() + x[torch.tensor([0, 1]), torch.tensor([2, 2])].prod()
    + x.index_select(1, torch.tensor([2, 0])).pow(3).sum() + torch.take(x, torch.tensor([1, 5])).prod(),
    "windows": lambda x: x.unfold(0, 2, 1).prod(2).sin().sum() + F.pad(x, (1, 2), value=0.5).pow(3).sum()
    + F.pad(x[None], (1, 1), mode="reflect").pow(3).sum() + x.tril().pow(3).sum() + x.diagonal().prod(),
    "order": lambda x: (x.sort(0).values ** torch.tensor([1.0, 2.0, 3.0])).sum() + x.topk(2).values.prod()
    + x.median() ** 3,
    "distances": lambda x: torch.cdist(x, x + 1).sum() + F.pairwise_distance(x, x.flip(0)).sum() + torch.pdist(x).sum(),
    "derivatives inside": lambda x: torch.func.grad(lambda y: (y.sin() * y**2).sum())(x).pow(2).sum()
    + torch.func.vmap(lambda row: row.prod())(x).pow(2).sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_agree_with_pytorch(name):
    agree(FUNCTIONS[name], X, mode="autograd" if name in SLOW_TO_COMPILE else "auto")


def written(x):
    y = torch.zeros(4, 3, dtype=torch.float64)
    y[1:] = x[:-1]
    y.mul_(2)
    y[0, 0] += x[1, 1]
    row = y[2]
    row.add_(x[0] ** 2)
    y[:, 1].exp_()
    z = x.clone()
    z[z < 0] = 0.5
    return (y**2).sum() + (z**3).sum()


def constants(x):
    with torch.no_grad():
        scale = x.pow(2).sum()
    fixed = x.data.sin().sum() * x.prod() + x.tanh().detach().sum() * x.sum() ** 2
    return (x**3).sum() * scale * x.detach()[0, 0] + fixed


def branches(x):
    total = x.sum() if x[0, 0] > 0 else x.pow(2).sum()
    return total**2 * x.pow(2).mean().item() + float(x[0, 1]) * x.pow(3).sum()


def past_autograd(x):
    size = x.pow(2).sum(1).clone()
    with torch.no_grad():
        size.clamp_(max=1)
    return (x.pow(3).sum(1) / size).sum()


def physics(x):
    x = x + 0
    (slope,) = torch.autograd.grad(torch.tanh(x @ x.T).sum(), x, create_graph=True)
    (fixed,) = torch.autograd.grad(torch.sin(x).sum(), x)
    return (slope**2).sum() + (fixed * x**2).sum()


@pytest.mark.parametrize("func", [written, constants, branches, past_autograd, physics], ids=lambda f: f.__name__)
def test_what_autograd_sees_is_what_counts(func):
    agree(func, X)


def test_the_other_branch_and_other_numbers_are_seen():
    agree(branches, X)
    agree(branches, -X)
    agree(branches, X + 1)


def test_several_inputs_and_dicts():
    func = lambda a, b: (a @ b).pow(3).sum() + b.prod()
    agree(func, (normal(2, 3), normal(3, seed=1)))
    inputs = {"a": normal(2, 3), "b": normal(3, seed=1)}
    H = st.hessian(lambda p: func(p["a"], p["b"]), inputs)
    assert difference(H["b"]["a"], torch.autograd.functional.hessian(func, tuple(inputs.values()))[1][0]) < 1e-9


def test_all_transforms():
    func = lambda a, b: ((a * b).sin().cumsum(0), a.prod() * b.sum())
    inputs, vectors = (normal(3), normal(3, seed=1)), (normal(3, seed=2), normal(3, seed=3))
    theirs, outputs = torch.autograd.functional, (normal(3, seed=4), normal(1, seed=5)[0])
    assert difference(st.jacobian(func, inputs), theirs.jacobian(func, inputs)) < 1e-9
    assert difference(st.jvp(func, inputs, vectors), theirs.jvp(func, inputs, vectors)) < 1e-9
    assert difference(st.vjp(func, inputs, outputs), theirs.vjp(func, inputs, outputs)) < 1e-9
    scalar = lambda a, b: func(a, b)[0].sum()
    assert difference(st.hvp(scalar, inputs, vectors), theirs.hvp(scalar, inputs, vectors)) < 1e-9
    assert difference(st.vhp(scalar, inputs, vectors), theirs.vhp(scalar, inputs, vectors)) < 1e-9
    assert difference(st.gradient(scalar, inputs), torch.func.grad(scalar, (0, 1))(*inputs)) < 1e-9
    assert difference(st.jacobian(torch.sin, X), theirs.jacobian(torch.sin, X)) < 1e-9
    assert difference(st.vjp(torch.sin, X, X + 1), theirs.vjp(torch.sin, X, X + 1)) < 1e-9


def test_vectors_in_a_dict_are_found_by_name():
    func = lambda a, b: (a**3).sum() + (a * b**2).sum()
    inputs, v = (normal(3), normal(3, seed=1)), (normal(3, seed=2), normal(3, seed=3))
    named, turned = dict(zip("ab", inputs)), dict(zip("ba", v[::-1]))
    for name in ("hvp", "vhp", "jvp"):
        value, product = getattr(st, name)(lambda p: func(p["a"], p["b"]), named, turned)
        found = (value, tuple(product.values()) if isinstance(product, dict) else product)
        assert difference(found, getattr(torch.autograd.functional, name)(func, inputs, v)) < 1e-12
    with pytest.raises(ShapeMismatch, match="keys"):
        st.hvp(lambda p: func(p["a"], p["b"]), named, dict(zip("ac", v)))


def test_options_are_those_of_products_too(monkeypatch):
    with pytest.raises(BudgetExceeded):
        st.jacobian(torch.sin, normal(100), memory_budget=50_000)
    func = lambda x: (x**3).sum() * x.sin()
    for product in (lambda **o: st.jacobian(func, X, **o), lambda **o: st.vjp(func, X, X + 1, **o)[1]):
        assert difference(product(mode="autograd"), product()) < 1e-12
        monkeypatch.setattr(threading.Thread, "start", lambda self: None)  # nothing is compiled yet
        assert difference(product(compile="background"), product()) < 1e-12
        monkeypatch.undo()


def test_products_of_a_captured_function_trace_it_once(monkeypatch):
    func = lambda x: (x**3).sum() * x.sin()
    st.jvp(func, X, X), symhess.functional.jvp(func, X, X)
    monkeypatch.setattr("symhess.api.pipeline.trace", None)
    st.jvp(func, X + 1, X), symhess.functional.jvp(func, X + 1, X)


@pytest.mark.parametrize("name", [n for n in st.__all__ if not isinstance(getattr(st, n), type)])
def test_docstrings_have_examples_that_hold(name):
    found = doctest.DocTestFinder(recurse=False).find(getattr(st, name), name, globs={})
    assert found and found[0].examples
    report = []
    assert doctest.DocTestRunner().run(found[0], out=report.append).failed == 0, "".join(report)


# -- what is kept, and what is not ---------------------------------------------------------------------------------


def test_a_call_with_other_values_compiles_nothing(monkeypatch):
    data = normal(4, 3, seed=1)
    func = lambda x: ((x * data).exp() * x).sum()
    agree(func, X)
    monkeypatch.setattr(kernels, "Kernel", None)
    data.add_(1)  # what the function closes over is read at every call
    agree(func, X + 1)
    data = normal(4, 3, seed=2)
    agree(func, X)


def test_integers_that_change_become_inputs(monkeypatch):
    agreed = lambda places: agree(lambda x: (x[places].sin() * x[places].flip(0)).sum(), X)
    agreed(torch.tensor([0, 1, 3]))
    agreed(torch.tensor([3, 2, 2]))
    monkeypatch.setattr(kernels, "Kernel", None)
    agreed(torch.tensor([-1, 1, 1]))
    with pytest.raises(IndexError):
        agreed(torch.tensor([0, 1, 4]))


#: functions of a tensor (4, 3), rows i, columns j of the same shape, and a table m of columns
POSITIONED = {
    "rows": lambda x, i, j, m: x[i].prod(),
    "columns": lambda x, i, j, m: x[:, j].pow(3).sum() + x.index_select(1, j).sin().sum(),
    "pairs": lambda x, i, j, m: (x[i, j] ** 3).sum() + (x[i[:, None], j] ** 2).prod(),
    "written": lambda x, i, j, m: (x.index_put((i, j), x[0, :2] * 2) ** 3).sum(),
    "added": lambda x, i, j, m: (x.index_put((i, j), x[0, :2] * 2, accumulate=True) ** 3).sum()
    + x.index_add(1, j, x[:, :2].sin()).pow(3).sum(),
    "gathered": lambda x, i, j, m: x.gather(1, m).pow(3).sum() + x.take(i + j).prod(),
    "scattered": lambda x, i, j, m: (x.scatter(1, m, x[:, :2].sin()).pow(3) + x.scatter(1, m, 0.5).pow(2)
                                     + x.scatter_add(1, m, x[:, :2].cos()).pow(3)).sum(),
    "reduced": lambda x, i, j, m: x.scatter_reduce(1, m, x[:, :2].cos(), "mean", include_self=False).pow(3).sum()
    + x.scatter_reduce(1, m, x[:, :2].cos(), "amax").pow(3).sum(),
    "embedded": lambda x, i, j, m: F.embedding(i, x, padding_idx=2).pow(3).sum(),
    "classes": lambda x, i, j, m: F.cross_entropy(x[:2], j, weight=torch.arange(1, 4).double())
    + F.cross_entropy(x.reshape(1, 3, 2, 2), m[:2][None], ignore_index=1),
}


@pytest.mark.parametrize("name", POSITIONED)
def test_positions_are_constants_and_then_inputs(name):
    func = POSITIONED[name]
    for positions in [([0, 2], [1, 2], [[0, 1], [1, 2], [2, 0], [0, 2]]),
                      ([2, 1], [2, 0], [[1, 0], [0, 2], [1, 2], [2, 1]]),
                      ([3, 0], [0, 1], [[2, 0], [2, 1], [0, 1], [1, 0]])]:
        agree(functools.partial(at_positions, func, *map(torch.tensor, positions)), X, mode="autograd")


def at_positions(func, i, j, m, x):
    return func(x, i, j, m)


def test_slopes_at_kinks_are_those_of_pytorch():
    zero = torch.zeros(3, dtype=torch.float64)
    for func in (lambda x: x.abs().sum(), lambda x: F.relu(x).sum(), lambda x: x.max(),
                 lambda x: torch.maximum(x, 2 * x).sum(), lambda x: F.max_pool1d(x[None], 3).sum(), lambda x: x.norm(),
                 lambda x: F.hardtanh(x - 1).sum(), lambda x: F.huber_loss(x, zero), lambda x: F.l1_loss(x, zero),
                 lambda x: F.leaky_relu(x).sum(), lambda x: x.max(0).values, lambda x: torch.linalg.norm(x, 1)):
        assert torch.equal(st.gradient(func, zero, mode="autograd"), torch.func.grad(func)(zero))


def test_numbers_of_python_that_change_become_inputs(monkeypatch):
    def agreed(t, n):
        agree(lambda x: (x**n * t + (x - t) ** 2 / (t + 3) + t).sum(), X, mode="autograd")

    agreed(0.5, 3)
    agreed(1.0, 3)
    with monkeypatch.context() as m:
        m.setattr(kernels, "Kernel", None)
        agreed(-0.0, 3)
        agreed(2.5, 3)
    agreed(2.5, 4)
    x = X.float()
    for t in (0.1, 0.2, 0.3):
        H = st.hessian(lambda x, t=t: (t * x**3).sum(), x, mode="autograd")
        assert H.dtype == torch.float32 and torch.allclose(H.reshape(12, 12), torch.diag((6 * t * x).reshape(-1)))


def test_single_precision_stays_single():
    x = X.float()
    H = st.hessian(lambda x: (2.5 * x**3 * torch.arange(3)).sum(), x)
    assert H.dtype == torch.float32
    assert torch.allclose(H.reshape(12, 12), torch.diag((15 * x * torch.arange(3)).reshape(-1)))
    mixed = st.hessian(lambda a, b: (a.double() * b**2).sum(), (x, X))
    assert [[b.dtype for b in row] for row in mixed] == [[torch.float32] * 2, [torch.float64] * 2]


def test_memory_is_shared_and_results_are_fresh():
    assert np.shares_memory(kernels.as_array(X.requires_grad_(False)), X.numpy())
    before = X.clone()
    H, g = st.hessian(lambda x: (x**3).sum(), X), st.gradient(lambda x: x.sum(), X)
    H.add_(1)
    g.mul_(2)
    assert torch.equal(X, before) and torch.equal(st.gradient(lambda x: x.sum(), X), torch.ones_like(X))


def test_sparse_hessians():
    func = lambda a, b: (a[1:] * a[:-1] ** 2).sum() + (b**3).sum() + a[0] * b[2]
    inputs = normal(5), normal(4, seed=1)
    H = st.sparse_hessian(func, inputs)
    assert H.layout is torch.sparse_csr and len(H.values()) == 5 + 2 * 4 + 4 + 2 - 1
    expected = torch.autograd.functional.hessian(lambda x: func(x[:5], x[5:]), torch.cat(inputs))
    assert difference(H.to_dense(), expected) < 1e-12
    assert torch.equal(st.hessian_jit(func, argnums=(0, 1)).sparse(*inputs).to_dense(), H.to_dense())


def test_two_threads_look_at_functions():
    results = {}

    def work(k):
        for _ in range(20):
            results[k] = st.hessian(lambda x: (k * x**3).sum(), X, mode="autograd")

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(1, 4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert torch.backends.mha.get_fastpath_enabled()
    for k, H in results.items():
        assert torch.allclose(H.reshape(12, 12), torch.diag(6 * k * X.reshape(-1)))


def test_strided_inputs_and_results_of_one_element():
    agree(lambda x: (x**3).sum().reshape(1), X.T[1:])
    agree(lambda x: x**3, normal(1)[0])
    agree(lambda x: x.new_ones(2).sum() + 0 * x.sum(), X)


def test_random_numbers_are_those_of_the_call():
    def dropped(x):
        torch.manual_seed(3)
        return (F.dropout(x, 0.5) ** 2 * torch.rand(3) * torch.randn_like(x)).sum()

    agree(dropped, X)


def test_gradients_may_be_off_outside():
    with torch.no_grad():
        agree_without_autograd = st.hessian(lambda x: (x**3).sum(), X)
    with torch.inference_mode():
        x = X + 0
        assert torch.equal(st.hessian(lambda x: (x**3).sum(), x), st.hessian(lambda x: (x**3).sum(), X + 0))
    assert torch.equal(agree_without_autograd.reshape(12, 12), torch.diag(6 * X.reshape(-1)))


def test_importing_symhess_does_not_import_pytorch():
    code = "import symhess, sys; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_compiled_function_looks_once():
    calls, fixed = [], normal(3, seed=3)

    @st.hessian_jit
    def f(p, data, power):
        calls.append(1)
        return ((p["a"] * data + p["b"] * fixed) ** power).sum()

    p = {"a": normal(3), "b": normal(3, seed=1)}
    for change in (lambda: None, lambda: fixed.add_(1), lambda: p["a"].mul_(2)):
        change()
        data = normal(3, seed=len(calls))
        H, v = f(p, data, 3), {"a": normal(3, seed=5), "b": normal(3, seed=6)}
        expected = torch.func.hessian(f.func)(p, data, 3)
        calls.pop()
        assert all(difference(H[i][j], expected[i][j]) < 1e-12 for i in "ab" for j in "ab")
        assert list(f.grad(p, data, 3)) == ["a", "b"]
        product = f.hvp(p, data, 3, v)
        assert difference(product["b"], H["b"]["a"] @ v["a"] + H["b"]["b"] @ v["b"]) < 1e-12
        assert difference(f.flat(p, data, 3)[3:, :3], H["b"]["a"]) < 1e-12
        value, g = f.value_and_grad(p, data, 3)
        assert torch.equal(value, f.value(p, data, 3)) and torch.equal(g["a"], f.grad(p, data, 3)["a"])
    assert len(calls) == 1
    f(p, data, 2)
    assert len(calls) == 2
    both = st.hessian_jit(lambda a, b: (a * b[0]).sum() ** 2, argnums=(1, 0))
    expected = torch.func.hessian(both.func, argnums=(1, 0))(X, normal(2, 4, 3))
    assert difference(both(X, normal(2, 4, 3)), expected) < 1e-12


def test_a_compiled_function_goes_by_the_order_of_keys():
    weighted = lambda p: sum((k + 1) * (v**2).sum() for k, v in enumerate(p.values()))
    f, p = st.hessian_jit(weighted), {"b": normal(2), "a": normal(3)}
    for given in (p, {"a": p["a"], "b": p["b"]}, p):
        assert difference(f.value(given), weighted(given)) < 1e-12
        assert list(f.grad(given)) == list(given)


def test_a_compiled_function_asks_and_draws_anew():
    other = X.clone()
    f = st.hessian_jit(lambda x: (x**3).sum() if torch.equal(x, other) else (x**2).sum(), mode="autograd")
    assert f(X)[0, 0, 0, 0] == 6 * X[0, 0] and f(X + 1)[0, 0, 0, 0] == 2
    g = st.hessian_jit(lambda x: (x**2 * torch.rand(4, 3)).sum(), mode="autograd")
    assert not torch.equal(g(X), g(X))


def test_a_compiled_function_with_branches_looks_at_every_call():
    f = st.hessian_jit(branches)
    for x in (X, -X, X + 1):
        assert difference(f(x), torch.autograd.functional.hessian(branches, x)) < 1e-9
    with pytest.raises(NonScalarOutput):
        st.hessian_jit(torch.sin)(X)
    with pytest.raises(TypeError, match="float"):
        f(1.0)
    with pytest.raises(ShapeMismatch):
        f.hvp(X, X[0])


# -- errors --------------------------------------------------------------------------------------------------------


def test_functions_of_pytorch_with_a_backward_pass_of_their_own():
    """What does without them is said."""
    from torch.utils.checkpoint import checkpoint

    again = lambda x: checkpoint(torch.sin, x, use_reentrant=True).sum()
    with pytest.raises(UnsupportedOperation, match="use_reentrant=False"):
        st.hessian(again, X)
    model = torch.nn.Linear(2, 1)
    model.register_full_backward_hook(lambda *gradients: None)
    with pytest.raises(UnsupportedOperation, match="hooks"):
        st.parameter_hessian(model, torch.nn.MSELoss(), torch.eye(2), torch.zeros(2, 1))


def test_complex_inputs():
    with pytest.raises(DTypeMismatch, match="real and imaginary parts"):
        st.hessian(lambda z: z.abs().sum(), torch.ones(2, dtype=torch.complex128))


class Cubed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return g * 3 * ctx.saved_tensors[0] ** 2


def into_input(x):
    x.add_(1)
    return x.sum()


OUTSIDE = normal(4, 3, seed=7)


@pytest.mark.parametrize("func, error, words", [
    (lambda x: x**2, NonScalarOutput, "shape (4, 3)"),
    (lambda x: (x.sum(), x.sum()), NonScalarOutput, "returned 2"),
    (lambda x: 3.0, NonScalarOutput, "float"),
    (lambda x: x.argmax(), NonScalarOutput, "int64"),
    (lambda x: Cubed.apply(x).sum(), UnsupportedOperation, "Cubed"),
    (lambda x: torch.fft.fft(x).abs().sum(), UnsupportedOperation, "complex128"),
    (lambda x: x.half().sum().double(), UnsupportedOperation, "float16"),
    (lambda x: torch.linalg.eigvals(x[:3]).real.sum(), UnsupportedOperation, "complex"),
    (into_input, InputMutation, "clone"),
    (lambda x: x.detach().add_(1).sum() * x.sum(), InputMutation, "clone"),
    (lambda x: st.hvp(lambda y: (y**2).sum(), x, x)[0], UnsupportedOperation, "torch.func"),
    (lambda x: F.rrelu(x, training=True).sum(), UnsupportedOperation, "rrelu"),
    (lambda x: x.view(torch.int64).double().sum() * x.sum(), UnsupportedOperation, "view.dtype"),
    (lambda x: (x.to_sparse() @ x.T).sum(), UnsupportedOperation, "sparse"),
], ids=told)
def test_errors_name_what_is_wrong(func, error, words):
    with pytest.raises(error) as caught:
        st.hessian(func, X)
    assert words in str(caught.value)
    if error is UnsupportedOperation:
        assert "test_torch.py" in str(caught.value) and "lambda x" in str(caught.value)


def test_errors_of_arguments():
    with pytest.raises(DTypeMismatch, match="int64"):
        st.hessian(lambda x: x.sum(), torch.arange(3))
    with pytest.raises(TypeError, match="is a float"):
        st.hessian(lambda x: x.sum(), 1.0)
    with pytest.raises(ShapeMismatch):
        st.hvp(lambda x: (x**2).sum(), X, X[0])
    with pytest.raises(ShapeMismatch):
        st.vjp(lambda x: x**2, X, X[0])
    for wrong in ({"paralel": True}, {"sparse": True}):
        with pytest.raises(TypeError, match="is no option"):
            st.hessian(lambda x: x.sum(), X, **wrong)


def test_what_is_written_outside_is_restored():
    before = OUTSIDE.clone()

    def func(x):
        OUTSIDE.mul_(2)
        OUTSIDE[0] += 1
        return (OUTSIDE * x**2).sum()

    H = st.hessian(func, X)
    assert torch.equal(OUTSIDE, before)
    weights = 4 * before
    weights[0] += 2
    assert difference(H.reshape(12, 12), torch.diag(weights.reshape(-1))) < 1e-12


# -- modules -------------------------------------------------------------------------------------------------------


def reference(model, loss_fn, data, target, names):
    """PyTorch's own Hessian over the named parameters."""
    found = dict(model.named_parameters())
    buffers = {n: b.clone() for n, b in model.named_buffers()}

    def loss(*values):
        given = dict(zip(names, values))
        args = data if isinstance(data, tuple) else (data,)
        output = torch.func.functional_call(model, (given, buffers), args)
        return loss_fn(output) if target is None else loss_fn(output, target)

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return torch.autograd.functional.hessian(loss, tuple(found[n].detach() for n in names))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def agree_on_parameters(model, loss_fn, data, target, params=None, names=None, **options):
    """The nested dicts are PyTorch's blocks, and the model is left as it was."""
    state = {n: t.clone() for n, t in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    needs = {n: p.requires_grad for n, p in model.named_parameters()}
    H = st.parameter_hessian(model, loss_fn, data, target, params=params, **options)
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    assert modes == [m.training for m in model.modules()]
    assert needs == {n: p.requires_grad for n, p in model.named_parameters()}
    assert all(p.grad is None for p in model.parameters())
    names = [n for n, needed in needs.items() if needed] if names is None else names
    assert list(H) == names and all(list(row) == names for row in H.values())
    blocks = tuple(tuple(H[i][j] for j in names) for i in names)
    expected = reference(model, loss_fn, data, target, names)
    scale = max(float(b.abs().max()) for row in expected for b in row)
    for row, wanted in zip(blocks, expected, strict=True):
        for a, e in zip(row, wanted, strict=True):
            assert a.shape == e.shape and not a.requires_grad
            assert float((a - e).abs().max()) <= 1e-9 * scale


nn = torch.nn
IMAGES, POINTS, SIGNAL, VOLUME = normal(2, 2, 5, 5), normal(4, 3), normal(2, 2, 7), normal(1, 1, 4, 4, 4)
WORDS = torch.tensor([[0, 2, 1], [3, 3, 2]])
CLASSES = torch.tensor([1, 0, 2, 1])


class Recurrent(nn.Module):
    """The last outputs of a recurrent module, or of a cell that is called in a loop."""

    def __init__(self, core):
        super().__init__()
        self.core = core

    def forward(self, x):
        if isinstance(self.core, nn.RNNBase):
            return self.core(x)[0]
        state = None
        for row in x:
            state = self.core(row, state)
        return state[0] if isinstance(state, tuple) else state


class Attending(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, **options)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[0], dtype=torch.float64)
        return self.attention(x, x, x, need_weights=False, attn_mask=mask, is_causal=True)[0]


class Tied(nn.Module):
    """Encoder and decoder share their weight."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 3, bias=False), nn.Linear(3, 3)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.decoder(torch.tanh(self.encoder(x)))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.core = nn.Bilinear(3, 2, 2)

    def forward(self, a, b):
        return self.core(a, b)


sequential = nn.Sequential
dense = lambda *layers: sequential(nn.Linear(3, 4), *layers, nn.Linear(4, 3))
squares = lambda out, *_: (out**2).sum()
cubes = lambda out, *_: (out**3).sum()

#: name -> (module, loss, data, target)
MODULES = {
    "Linear": (lambda: nn.Linear(3, 2), cubes, POINTS, None),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1), cubes, SIGNAL, None),
    "Conv1d dilated": (lambda: nn.Conv1d(2, 2, 2, dilation=3, bias=False), cubes, SIGNAL, None),
    "Conv1d same": (lambda: nn.Conv1d(2, 2, 4, padding="same", padding_mode="circular"), cubes, SIGNAL, None),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3, padding=1), cubes, IMAGES, None),
    "Conv2d strided": (lambda: nn.Conv2d(2, 2, (3, 2), stride=(2, 1), padding=(1, 0)), cubes, IMAGES, None),
    "Conv2d grouped": (lambda: nn.Conv2d(2, 4, 3, groups=2, dilation=2, padding=2), cubes, IMAGES, None),
    "Conv2d reflect": (lambda: nn.Conv2d(2, 1, 3, padding=1, padding_mode="reflect"), cubes, IMAGES, None),
    "Conv3d": (lambda: nn.Conv3d(1, 2, 2, stride=2), cubes, VOLUME, None),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 2, 3, stride=2), cubes, SIGNAL, None),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), cubes, IMAGES,
                        None),
    "ConvTranspose2d grouped": (lambda: nn.ConvTranspose2d(2, 4, 2, groups=2, dilation=2), cubes, IMAGES, None),
    "BatchNorm1d": (lambda: sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh()), cubes, POINTS, None),
    "BatchNorm1d eval": (lambda: sequential(nn.Linear(3, 4), nn.BatchNorm1d(4).eval(), nn.Tanh()), cubes, POINTS, None),
    "BatchNorm2d": (lambda: sequential(nn.Conv2d(2, 2, 2), nn.BatchNorm2d(2, momentum=None)), cubes, IMAGES, None),
    "LayerNorm": (lambda: dense(nn.LayerNorm(4)), cubes, POINTS, None),
    "GroupNorm": (lambda: sequential(nn.Conv2d(2, 4, 2), nn.GroupNorm(2, 4)), cubes, IMAGES, None),
    "InstanceNorm2d": (lambda: sequential(nn.Conv2d(2, 2, 2), nn.InstanceNorm2d(2, affine=True)), cubes, IMAGES, None),
    "RMSNorm": (lambda: dense(nn.RMSNorm(4)), cubes, POINTS, None),
    "LocalResponseNorm": (lambda: sequential(nn.Conv2d(2, 4, 3), nn.LocalResponseNorm(2)), cubes, IMAGES, None),
    "Embedding": (lambda: sequential(nn.Embedding(4, 3), nn.Linear(3, 2)), cubes, WORDS, None),
    "Embedding padded": (lambda: sequential(nn.Embedding(4, 2, padding_idx=3), nn.Flatten()), cubes, WORDS, None),
    "MaxPool1d": (lambda: sequential(nn.Conv1d(2, 2, 2), nn.MaxPool1d(2)), cubes, SIGNAL, None),
    "MaxPool2d": (lambda: sequential(nn.Conv2d(2, 2, 2), nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)), cubes, IMAGES,
                  None),
    "MaxPool3d": (lambda: sequential(nn.Conv3d(1, 1, 1), nn.MaxPool3d(2)), cubes, VOLUME, None),
    "AvgPool1d": (lambda: sequential(nn.Conv1d(2, 2, 2), nn.AvgPool1d(3, 2, padding=1)), cubes, SIGNAL, None),
    "AvgPool2d": (lambda: sequential(nn.Conv2d(2, 2, 2), nn.AvgPool2d(3, 2, padding=1, ceil_mode=True,
                                                                      count_include_pad=False)), cubes, IMAGES, None),
    "AdaptiveAvgPool2d": (lambda: sequential(nn.Conv2d(2, 2, 2), nn.AdaptiveAvgPool2d((2, 3))), cubes, IMAGES, None),
    "AdaptiveAvgPool1d": (lambda: sequential(nn.Conv1d(2, 2, 2), nn.AdaptiveAvgPool1d(4)), cubes, SIGNAL, None),
    "AdaptiveMaxPool2d": (lambda: sequential(nn.Conv2d(2, 2, 2), nn.AdaptiveMaxPool2d(2)), cubes, IMAGES, None),
    "Upsample": (lambda: sequential(nn.Conv2d(2, 1, 3), nn.Upsample(scale_factor=2, mode="bilinear")), cubes, IMAGES,
                 None),
    "PixelShuffle": (lambda: sequential(nn.Conv2d(2, 4, 2), nn.PixelShuffle(2)), cubes, IMAGES, None),
    "Dropout eval": (lambda: dense(nn.Dropout(0.5)).eval(), cubes, POINTS, None),
    "Softmax": (lambda: dense(nn.Softmax(1)), cubes, POINTS, None),
    "LogSoftmax": (lambda: dense(nn.LogSoftmax(1)), cubes, POINTS, None),
    "ReLU": (lambda: dense(nn.ReLU()), cubes, POINTS, None),
    "LeakyReLU": (lambda: dense(nn.LeakyReLU(0.2)), cubes, POINTS, None),
    "PReLU": (lambda: dense(nn.PReLU(4)), cubes, POINTS, None),
    "ELU": (lambda: dense(nn.ELU(1.5)), cubes, POINTS, None),
    "SELU": (lambda: dense(nn.SELU()), cubes, POINTS, None),
    "CELU": (lambda: dense(nn.CELU(0.5)), cubes, POINTS, None),
    "GELU": (lambda: dense(nn.GELU()), cubes, POINTS, None),
    "GELU tanh": (lambda: dense(nn.GELU("tanh")), cubes, POINTS, None),
    "SiLU": (lambda: dense(nn.SiLU()), cubes, POINTS, None),
    "Mish": (lambda: dense(nn.Mish()), cubes, POINTS, None),
    "Softplus": (lambda: dense(nn.Softplus(2, 3)), cubes, POINTS * 3, None),
    "Sigmoid": (lambda: dense(nn.Sigmoid()), cubes, POINTS, None),
    "LogSigmoid": (lambda: dense(nn.LogSigmoid()), cubes, POINTS, None),
    "Tanh": (lambda: dense(nn.Tanh()), cubes, POINTS, None),
    "Hardtanh": (lambda: dense(nn.Hardtanh(-0.5, 0.5)), cubes, POINTS, None),
    "Hardswish": (lambda: dense(nn.Hardswish()), cubes, POINTS * 4, None),
    "Softsign": (lambda: dense(nn.Softsign()), cubes, POINTS, None),
    "Tanhshrink": (lambda: dense(nn.Tanhshrink()), cubes, POINTS, None),
    "GLU": (lambda: sequential(nn.Linear(3, 4), nn.GLU()), cubes, POINTS, None),
    "MultiheadAttention": (Attending, cubes, normal(3, 2, 4), None),
    "MultiheadAttention batch first": (lambda: Attending(batch_first=True, bias=False), cubes, normal(3, 3, 4), None),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 3, dropout=0, batch_first=True), cubes,
                                normal(2, 3, 4), None),
    "LSTM": (lambda: Recurrent(nn.LSTM(3, 2)), cubes, normal(3, 2, 3), None),
    "GRU": (lambda: Recurrent(nn.GRU(3, 2, batch_first=True)), cubes, normal(2, 3, 3), None),
    "RNN": (lambda: Recurrent(nn.RNN(3, 2, bidirectional=True)), cubes, normal(3, 2, 3), None),
    "LSTMCell": (lambda: Recurrent(nn.LSTMCell(3, 2)), cubes, normal(2, 2, 3), None),
    "GRUCell": (lambda: Recurrent(nn.GRUCell(3, 2)), cubes, normal(2, 2, 3), None),
    "RNNCell": (lambda: Recurrent(nn.RNNCell(3, 2, nonlinearity="relu")), cubes, normal(2, 2, 3), None),
    "Bilinear": (Pair, cubes, (POINTS, normal(4, 2, seed=1)), None),
    "shared weights": (Tied, cubes, POINTS, None),
}
CLASSIFIER, REGRESSION = dense(nn.Tanh()), normal(4, 3, seed=9)
LOSSES = {
    "MSELoss": (nn.MSELoss(), REGRESSION),
    "L1Loss": (nn.L1Loss(), REGRESSION),
    "SmoothL1Loss": (nn.SmoothL1Loss(beta=0.7), REGRESSION),
    "HuberLoss": (nn.HuberLoss(delta=0.8), REGRESSION),
    "CrossEntropyLoss": (nn.CrossEntropyLoss(), CLASSES),
    "CrossEntropyLoss smoothed": (nn.CrossEntropyLoss(label_smoothing=0.1), CLASSES),
    "CrossEntropyLoss weighted": (nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.5]).double(), ignore_index=0), CLASSES),
    "CrossEntropyLoss of probabilities": (nn.CrossEntropyLoss(), positive(4, 3)),
    "NLLLoss": (lambda out, t: nn.NLLLoss(reduction="sum")(out.log_softmax(1), t), CLASSES),
    "BCELoss": (lambda out, t: nn.BCELoss()(out.sigmoid(), t), positive(4, 3)),
    "BCEWithLogitsLoss": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 0.5]).double()), positive(4, 3)),
    "KLDivLoss": (lambda out, t: nn.KLDivLoss(reduction="batchmean")(out.log_softmax(1), t), positive(4, 3)),
    "PoissonNLLLoss": (nn.PoissonNLLLoss(full=True), positive(4, 3) * 5),
    "GaussianNLLLoss": (lambda out, t: nn.GaussianNLLLoss()(out[:, :2], t[:, :2], out[:, 2:].exp()), REGRESSION),
    "TripletMarginLoss": (lambda out, t: nn.TripletMarginLoss(margin=3)(out, t, out.flip(0)), REGRESSION),
    "CosineEmbeddingLoss": (lambda out, t: nn.CosineEmbeddingLoss()(out, t, torch.tensor([1, -1, 1, -1])), REGRESSION),
    "MarginRankingLoss": (lambda out, t: nn.MarginRankingLoss(2.0)(out**2, t, t.sign()), REGRESSION),
    "HingeEmbeddingLoss": (lambda out, t: nn.HingeEmbeddingLoss()(out**2, t.sign()), REGRESSION),
    "SoftMarginLoss": (lambda out, t: nn.SoftMarginLoss()(out, t.sign()), REGRESSION),
    "MultiLabelSoftMarginLoss": (nn.MultiLabelSoftMarginLoss(), positive(4, 3).round()),
}


def made(build):
    torch.manual_seed(1)
    return build().double()


@pytest.mark.parametrize("name", MODULES)
def test_modules_agree_with_pytorch(name):
    build, loss, data, target = MODULES[name]
    agree_on_parameters(made(build), loss, data, target, mode="autograd" if name in SLOW_TO_COMPILE else "auto")


@pytest.mark.parametrize("name", LOSSES)
def test_losses_agree_with_pytorch(name):
    loss, target = LOSSES[name]
    agree_on_parameters(made(lambda: dense(nn.Tanh())), loss, POINTS, target)


def bag(mode):
    starts = torch.tensor([0, 2])
    return (lambda w: (F.embedding_bag(WORDS.reshape(-1), w, starts, mode=mode) ** 3).sum(),
            lambda w: sum((getattr(w[part], mode)(0) ** 3).sum() for part in WORDS.reshape(-1).split([2, 4])))


#: functions whose second derivatives PyTorch lacks or has wrong, and what they are made of
WITHOUT_REFERENCE = {
    "hardsigmoid": (lambda x: F.hardsigmoid(3 * x).pow(3).sum(), lambda x: (F.relu6(3 * x + 3) / 6).pow(3).sum()),
    "weight_norm": (lambda x: (torch._weight_norm(x, x[:, :1].exp(), 0) ** 3).sum(),
                    lambda x: (x * (x[:, :1].exp() / x.norm(dim=1, keepdim=True)) ** 1).pow(3).sum()),
    "multi_margin_loss": (lambda x: F.multi_margin_loss(x, CLASSES, p=2),
                          lambda x: (((1 - x.gather(1, CLASSES[:, None]) + x).clamp(min=0) ** 2).sum() - 4) / 12),
    "embedding_bag sum": bag("sum"),
    "embedding_bag mean": bag("mean"),
}


def test_nothing_of_a_model_in_training_changes():
    model = made(lambda: sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3)))
    before = {n: t.clone() for n, t in model.state_dict().items()}
    loss, target = nn.CrossEntropyLoss(), CLASSES
    st.gauss_newton(model, loss, POINTS, target)
    st.curvature(model, loss, POINTS, target)
    st.hessian(lambda x: loss(model(x), target), POINTS, mode="autograd")
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items()) and model.training


@pytest.mark.parametrize("name", WITHOUT_REFERENCE)
def test_functions_that_pytorch_cannot_differentiate_twice(name):
    func, parts = WITHOUT_REFERENCE[name]
    assert difference(st.hessian(func, X), torch.autograd.functional.hessian(parts, X)) < 1e-9


def test_a_loss_function_keeps_its_masks():
    loss = st.loss_function(made(lambda: dense(nn.Dropout(0.5))), cubes, POINTS, mode="autograd")
    v = torch.ones(loss.size, dtype=torch.float64)
    first = loss.value(), loss.hvp(v)
    assert torch.equal(loss.value(), first[0]) and torch.equal(loss.hvp(v), first[1])
    assert difference(loss.hessian(blocks=False) @ v, first[1]) < 1e-12
    loss.update(POINTS)
    assert not torch.equal(loss.hvp(v), first[1])


def test_a_recurrent_network_is_a_loop():
    """Its kernel does not grow with the steps; their number only has to be worth it."""
    def lines(steps):
        model = made(lambda: Recurrent(nn.LSTM(3, 2)))
        loss = st.loss_function(model, cubes, normal(steps, 2, 3))
        kernel, (active, data) = loss.kernel, loss.arrays()
        product = kernel.function.source(active, data, product="hvp")
        v = normal(loss.size)
        expected = torch.autograd.functional.hvp(lambda *w: cubes(torch.func.functional_call(
            model, dict(zip(loss.names, w)), (normal(steps, 2, 3),))), tuple(p.detach() for p in model.parameters()),
            tuple(loss._like_parameters(v, "v")))[1]
        assert difference(loss.hvp(v), torch.cat([t.reshape(-1) for t in expected])) < 1e-9
        return len(product.splitlines())

    assert max(lines(12), lines(8)) < 1500


def test_attention_in_training_draws_masks():
    model = made(lambda: Attending(dropout=0.5))
    torch.manual_seed(2)
    H = st.parameter_hessian(model, cubes, normal(3, 2, 4), params=["attention.out_proj.weight"], mode="autograd")
    block = H["attention.out_proj.weight"]["attention.out_proj.weight"]
    parameters = {n: p.detach() for n, p in model.named_parameters()}

    def func(w):
        torch.manual_seed(2)
        given = parameters | {"attention.out_proj.weight": w}
        return cubes(torch.func.functional_call(model, given, (normal(3, 2, 4),)))

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected = torch.autograd.functional.hessian(func, parameters["attention.out_proj.weight"])
    assert difference(block, expected) < 1e-9


def test_training_with_dropout_uses_the_mask_of_the_call():
    model = made(lambda: dense(nn.Dropout(0.5), nn.Tanh()))

    def loss(out):
        return (out**3).sum()

    torch.manual_seed(5)
    H = st.parameter_hessian(model, loss, POINTS, blocks=False)
    parameters = dict(model.named_parameters())

    def flat(x):
        torch.manual_seed(5)
        parts = x.split([p.numel() for p in parameters.values()])
        given = {n: part.reshape(p.shape) for (n, p), part in zip(parameters.items(), parts)}
        return loss(torch.func.functional_call(model, given, (POINTS,)))

    x = torch.cat([p.detach().reshape(-1) for p in parameters.values()])
    assert difference(H, torch.autograd.functional.hessian(flat, x)) < 1e-9


@pytest.mark.parametrize("params, names", [
    (["2.weight"], ["2.weight"]), (r"\d\.bias", ["0.bias", "2.bias"]), (["2.bias", "0.weight"], ["2.bias", "0.weight"]),
    (lambda name, p: p.ndim == 2, ["0.weight", "2.weight"]),
], ids=told)
def test_parameters_are_chosen(params, names):
    agree_on_parameters(made(lambda: dense(nn.Tanh())), cubes, POINTS, None, params, names)


@pytest.mark.parametrize("blocks", [True, False])
def test_progress_of_a_hessian_by_parameters(blocks, capsys, monkeypatch):
    monkeypatch.setattr("symhess.curvature.point.BAND_BYTES", 5 * 8 * 100)
    model, told = made(lambda: dense(nn.Tanh())), []
    expected = st.parameter_hessian(model, cubes, POINTS, blocks=blocks)
    H = st.parameter_hessian(model, cubes, POINTS, blocks=blocks, progress=lambda done, of: told.append((done, of)))
    bands = told[-1][1]
    assert told == [(k, bands) for k in range(bands + 1)] and bands > 1
    assert blocks is False or list(map(list, H.values())) == [list(expected)] * len(expected)
    parts = lambda H: tuple(tuple(row.values()) for row in H.values()) if blocks else H
    assert difference(parts(H), parts(expected)) < 1e-9
    st.loss_function(model, cubes, POINTS).hessian(blocks=blocks, progress=True)
    assert "100%" in capsys.readouterr().err


def test_frozen_parameters_are_left_out_unless_named():
    model = made(lambda: dense(nn.Tanh()))
    model[0].requires_grad_(False)
    agree_on_parameters(model, cubes, POINTS, None, names=["2.weight", "2.bias"])
    agree_on_parameters(model, cubes, POINTS, None, ["0.weight", "2.bias"], ["0.weight", "2.bias"])
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter"):
        st.parameter_hessian(model, cubes, POINTS)
    with pytest.raises(ValueError, match="weights"):
        st.parameter_hessian(model, cubes, POINTS, params=["0.weights"])
    with pytest.raises(ValueError, match="no parameter"):
        st.parameter_hessian(model, cubes, POINTS, params=lambda name, p: False)


def test_shared_parameters_have_the_name_that_was_asked_for():
    model = made(Tied)
    assert list(st.parameter_hessian(model, cubes, POINTS)) == ["encoder.weight", "decoder.bias"]
    agree_on_parameters(model, cubes, POINTS, None, ["encoder.weight"], ["encoder.weight"])
    H = st.parameter_hessian(model, cubes, POINTS, params=["decoder.weight", "encoder.weight"])
    assert list(H) == ["decoder.weight"]


def test_products_of_a_loss():
    model, loss, target = made(lambda: dense(nn.Tanh())), nn.CrossEntropyLoss(), CLASSES
    H = st.parameter_hessian(model, loss, POINTS, target, blocks=False)
    v = normal(len(H))
    assert difference(st.parameter_hvp(model, loss, POINTS, target, v=v), H @ v) < 1e-12
    expected = torch.autograd.grad(loss(model(POINTS), target), list(model.parameters()))
    found = st.parameter_gradient(model, loss, POINTS, target)
    assert list(found) == [n for n, _ in model.named_parameters()]
    assert difference(tuple(found.values()), expected) < 1e-12


def test_parameters_that_are_not_used_have_zeros():
    model = made(lambda: dense(nn.Tanh()))
    H = st.parameter_hessian(model[0], cubes, POINTS, params=["bias"])
    assert list(H) == ["bias"]
    model.extra = nn.Parameter(normal(2))
    model.forward = lambda x: model[1](model[0](x))
    H = st.parameter_hessian(model, cubes, POINTS)
    assert not H["extra"]["extra"].any() and not H["0.weight"]["2.bias"].any() and H["0.bias"]["0.bias"].any()


def test_data_of_several_arguments():
    model = made(Pair)
    expected = st.parameter_hessian(model, cubes, (POINTS, POINTS[:, :2]), blocks=False)
    found = st.parameter_hessian(model, cubes, {"a": POINTS, "b": POINTS[:, :2]}, blocks=False)
    assert torch.equal(found, expected)


def test_a_loss_function_is_captured_once(monkeypatch):
    model, target = made(lambda: sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))), CLASSES
    data, calls = POINTS.clone(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    for mode in (False, True):
        model.train(mode)
        loss = st.loss_function(model, nn.CrossEntropyLoss(), data, target, mode="auto" if mode else "autograd")
        assert len(calls) == 1
        for change in (lambda: None, lambda: model[0].weight.data.add_(0.1), lambda: data.mul_(1.1),
                       lambda: model[1].running_mean.add_(0.2)):
            change()
            calls.clear()
            H, value, g = loss.hessian(blocks=False), loss.value(), loss.gradient()
            v = normal(loss.size)
            parts = v.split([p.numel() for p in loss.parameters.values()])
            product = loss.hvp(v)
            named = loss.hvp({n: part.reshape(p.shape) for (n, p), part in zip(loss.parameters.items(), parts)})
            assert not calls
            again = st.parameter_hessian(model, nn.CrossEntropyLoss(), data, target, blocks=False, mode="autograd")
            assert difference(H, again) < 1e-12
            assert difference(product, H @ v) < 1e-12
            assert torch.equal(torch.cat([t.reshape(-1) for t in named.values()]), product)
            assert difference(value, nn.CrossEntropyLoss()(_frozen(model)(data), target).detach()) < 1e-12
            assert torch.equal(loss.value_and_gradient()[1]["0.bias"], g["0.bias"])
        calls.clear()


def _frozen(model):
    """A copy whose running statistics may change."""
    made = copy.deepcopy(model)
    made._forward_hooks.clear()
    return made


def test_a_loss_function_at_other_parameters():
    model = made(lambda: dense(nn.Tanh()))
    loss = st.loss_function(model, nn.MSELoss(), POINTS, REGRESSION)
    other = made(lambda: dense(nn.Tanh()))
    for p in other.parameters():
        p.data.mul_(0.7)
    flat = torch.cat([p.detach().reshape(-1) for p in other.parameters()])
    expected = st.loss_function(other, nn.MSELoss(), POINTS, REGRESSION).hessian(blocks=False)
    for params in (flat, dict(other.named_parameters()), list(other.parameters())):
        assert torch.equal(loss.hessian(params, blocks=False), expected)
    for wrong in (flat[1:], {"0.weight": flat}, [flat]):
        with pytest.raises(ShapeMismatch):
            loss.value(wrong)


def test_a_loss_function_of_other_data():
    loss = st.loss_function(made(lambda: dense(nn.Tanh())), nn.CrossEntropyLoss(), POINTS, CLASSES)
    kernel = loss.kernel
    loss.update(POINTS + 1, CLASSES.flip(0))
    assert loss.kernel is kernel
    assert difference(loss.value(), nn.CrossEntropyLoss()(loss.model(POINTS + 1), CLASSES.flip(0)).detach()) < 1e-12
    loss.update(POINTS[:2], CLASSES[:2])
    assert difference(loss.value(), nn.CrossEntropyLoss()(loss.model(POINTS[:2]), CLASSES[:2]).detach()) < 1e-12


def test_what_depends_on_values_is_looked_at_anew():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(normal(3))

        def forward(self, x):
            return (x @ self.weight) ** 3 if self.weight[0] > 0 else x @ self.weight**2

    model = Branching()
    loss = st.loss_function(model, cubes, POINTS)
    for sign in (1, -1):
        model.weight.data.copy_(sign * model.weight.data.abs())
        agree_on_parameters(model, cubes, POINTS, None)
        assert torch.equal(loss.hessian(blocks=False), st.parameter_hessian(model, cubes, POINTS, blocks=False))
    with pytest.raises(ConcretizationError, match="weight"):
        loss.value({"weight": normal(3)})


def test_there_are_enough_combinations():
    assert len(MODULES) + len(LOSSES) >= 60
