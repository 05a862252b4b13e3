"""Curvature of the losses of PyTorch's modules, against `torch.func`."""

import numpy as np
import pytest

from symhess.errors import BudgetExceeded

torch = pytest.importorskip("torch")
front = pytest.importorskip("symhess.torch")

torch.manual_seed(0)
IMAGES, LABELS = torch.randn(5, 1, 4, 4, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0])
LOSS = torch.nn.CrossEntropyLoss()


def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, 1, 1), torch.nn.Tanh(), torch.nn.Flatten(),
                               torch.nn.Linear(64, 3)).double()


def dense(model, names, loss=LOSS):
    """The Hessian by PyTorch, over the named parameters laid end to end."""
    chosen = {n: p.detach() for n, p in model.named_parameters() if n in names}
    value = lambda p: loss(torch.func.functional_call(model, p, (IMAGES,)), LABELS)
    blocks = torch.func.hessian(value)(chosen)
    sizes = {n: chosen[n].numel() for n in names}
    return np.block([[blocks[a][b].detach().reshape(sizes[a], sizes[b]).numpy() for b in names] for a in names])


def test_curvature_of_a_module():
    model = network()
    c = front.curvature(model, LOSS, IMAGES, LABELS)
    names = [n for n, _ in model.named_parameters()]
    assert c.names == names
    H = dense(model, names)
    np.testing.assert_allclose(c.hessian(), H, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(c.diagonal, np.diag(H), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(c.top(2)[0], np.linalg.eigvalsh(H)[::-1][:2], rtol=1e-9)
    np.testing.assert_allclose(c.block("0.bias", "3.bias"), H[36:40, 232:], rtol=1e-9, atol=1e-12)
    assert "3.weight" in str(c.report(k=1, probes=1, steps=5))


def test_after_a_step_of_training_nothing_is_compiled(monkeypatch):
    import symhess.api.columns

    model = network()
    before = front.curvature(model, LOSS, IMAGES, LABELS, params=["0.weight"])
    first = before.hessian()
    monkeypatch.setattr(symhess.api.columns, "runner", None)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.1)
    after = front.curvature(model, LOSS, IMAGES, LABELS, params=["0.weight"])
    np.testing.assert_allclose(after.hessian(), dense(model, ["0.weight"]), rtol=1e-9, atol=1e-12)
    assert np.array_equal(before.hessian(), first)  # it is that of the parameters as they were


def test_gauss_newton_matrix_of_a_module():
    model = network()
    G = front.gauss_newton(model, LOSS, IMAGES, LABELS)
    parameters = {n: p.detach() for n, p in model.named_parameters()}
    J = torch.func.jacrev(lambda p: torch.func.functional_call(model, p, (IMAGES,)))(parameters)
    J = torch.cat([v.reshape(15, -1) for v in J.values()], 1).numpy()
    L = torch.func.hessian(lambda out: LOSS(out, LABELS))(model(IMAGES).detach()).reshape(15, 15).numpy()
    np.testing.assert_allclose(G.hessian(), J.T @ L @ J, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(G.value, LOSS(model(IMAGES), LABELS).item(), rtol=1e-12)
    assert G.names == list(parameters)
    assert all(p.grad is None for p in model.parameters())


def test_gauss_newton_matrix_of_a_single_output():
    model = torch.nn.Linear(3, 1).double()
    x, y = torch.randn(1, 3, dtype=torch.float64), torch.randn(1, 1, dtype=torch.float64)
    G = front.gauss_newton(model, torch.nn.MSELoss(), x, y)
    row = np.append(x.numpy(), 1.0)
    np.testing.assert_allclose(G.hessian(), 2 * np.outer(row, row), rtol=1e-12)
    with pytest.raises(TypeError, match="returned a tuple"):
        front.gauss_newton(torch.nn.LSTM(3, 2).double(), lambda out: out[0].sum(), torch.randn(4, 3).double())


def test_a_hessian_over_the_budget_comes_in_pieces():
    torch.manual_seed(0)
    model, data, target = torch.nn.Linear(40, 5), torch.randn(6, 40), torch.randn(6, 5)
    given = (model, torch.nn.MSELoss(), data, target)
    with pytest.raises(BudgetExceeded, match=r"205 parameters.*torch.curvature"):
        front.parameter_hessian(*given, memory_budget=1000)
    pieces = {}
    front.curvature(*given, memory_budget=1000).stream(
        lambda i, j, rows, block: pieces.setdefault((i, j), []).append(block.copy()))
    whole = front.parameter_hessian(*given)
    for (i, j), found in pieces.items():
        np.testing.assert_allclose(np.concatenate(found).reshape(whole[i][j].shape), whole[i][j].numpy(), atol=1e-6)
    assert set(pieces) == {(i, j) for i in whole for j in whole}


def test_second_derivatives_of_weight_norm():
    """By its definition: those of PyTorch's fused operation are others."""
    generator = torch.Generator().manual_seed(0)
    v, g, x = (torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in ((4, 3), (4, 1), (5, 3)))
    fused = lambda v, g: torch.tanh(x @ torch._weight_norm(v, g, 0).T).pow(2).sum()
    plain = lambda v, g: torch.tanh(x @ (v * (g / v.norm(dim=1, keepdim=True))).T).pow(2).sum()
    ours, expected = front.hessian(fused, (v, g)), torch.autograd.functional.hessian(plain, (v, g))
    for row, other in zip(ours, expected):
        for a, b in zip(row, other):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)
