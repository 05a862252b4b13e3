"""`symhess.functional` on PyTorch's own functions and tensors, against `torch.autograd.functional`."""

import numpy as np
import pytest

from symhess import functional

torch = pytest.importorskip("torch")
theirs = torch.autograd.functional

GENERATOR = torch.Generator().manual_seed(0)
X, Y = (torch.randn(*shape, dtype=torch.float64, generator=GENERATOR) for shape in ((3, 2), (2,)))


def number(x, y):
    return (x.sin() @ y).pow(2).sum() * y.exp().sum()


def several(x, y):
    return (x @ y).tanh(), (x * y).sum(0)


def same(ours, expected, rtol=1e-11):
    if isinstance(expected, tuple | list):
        assert len(ours) == len(expected)
        for a, b in zip(ours, expected):
            same(a, b, rtol)
        return
    assert isinstance(ours, torch.Tensor) and ours.dtype == expected.dtype and ours.device == expected.device
    torch.testing.assert_close(ours.detach(), expected.detach(), rtol=rtol, atol=1e-12)


WAYS = [(False, "reverse-mode"), (True, "reverse-mode"), (True, "forward-mode")]


@pytest.mark.parametrize("vectorize, strategy", WAYS)
def test_tensors_in_tensors_out(vectorize, strategy):
    options = {"vectorize": vectorize, "outer_jacobian_strategy": strategy}
    same(functional.hessian(number, (X, Y), **options), theirs.hessian(number, (X, Y), **options))
    alone = lambda x: x.pow(3).sum()
    same(functional.hessian(alone, X, **options), theirs.hessian(alone, X, **options))
    options = {"vectorize": vectorize, "strategy": strategy}
    same(functional.jacobian(several, (X, Y), **options), theirs.jacobian(several, (X, Y), **options))


@pytest.mark.parametrize("name", ["hvp", "vhp", "jvp", "vjp"])
def test_products(name):
    func = number if name in ("hvp", "vhp") else several
    v = (X[:, 0], Y) if name == "vjp" else (X, Y)
    same(getattr(functional, name)(func, (X, Y), v), getattr(theirs, name)(func, (X, Y), v))


def test_results_in_the_graph_of_autograd():
    x, y = (t.clone().requires_grad_() for t in (X, Y))
    ours, expected = (f.hessian(number, (x, y), create_graph=True) for f in (functional, theirs))
    same(ours, expected)
    assert ours[0][1].grad_fn is not None
    third, reference = (torch.autograd.grad(H[0][1].pow(2).sum(), (x, y), create_graph=True) for H in (ours, expected))
    same(third, reference)
    same(*(torch.autograd.grad(g[0].sin().sum(), (x, y)) for g in (third, reference)))


@pytest.mark.parametrize("name", ["hessian", "jacobian", "hvp", "vhp", "jvp", "vjp"])
def test_results_in_the_graph_of_what_the_function_closes_over(name):
    """Penalties on derivatives of a network train its weights; v is a node, too."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
    x, v = (torch.randn(2, dtype=torch.float64, requires_grad=True) for _ in "xv")
    leaves = [*net.parameters(), x, v]

    def penalty(functions):
        given = [] if name in ("hessian", "jacobian") else [v.sum().reshape(1) if name == "vjp" else v]
        found = getattr(functions, name)(net, x, *given, create_graph=True)
        total = sum(t.pow(2).sum() for t in found) if isinstance(found, tuple) else found.pow(2).sum()
        options = {"allow_unused": True, "materialize_grads": True}
        first = torch.autograd.grad(total, leaves, create_graph=True, **options)
        return *first, *torch.autograd.grad(sum(g.sin().sum() for g in first), leaves, **options)

    same(penalty(functional), penalty(theirs))


def test_what_is_detached_has_no_gradient():
    w, x = (torch.tensor(t, dtype=torch.float64, requires_grad=True) for t in ([1.0, 2.0], [3.0, 4.0]))

    def func(x):
        with torch.no_grad():
            halves = w.reshape(2, 1) / 2
        return (w * x**3).sum() + (w.detach() * x**2).sum() + (halves[:, 0] * x**4).sum() + (w.data[:1] * x**2).sum()

    def gradients(functions):
        return torch.autograd.grad(functions.hessian(func, x, create_graph=True).pow(2).sum(), (w, x))

    same(gradients(functional), gradients(theirs))


def test_gradients_of_results_are_compiled_once():
    def penalty(scale):
        weight = torch.full((3,), scale, dtype=torch.float64, requires_grad=True)
        x = torch.ones(3, dtype=torch.float64)
        H = functional.hessian(lambda x: (weight * x**3).sum(), x, create_graph=True)
        return H.grad_fn, torch.autograd.grad(H.sum(), weight)[0]

    (node, gradient), (again, other) = penalty(1.0), penalty(2.0)
    assert node.function is again.function
    same((gradient, other), (torch.full((3,), 6.0, dtype=torch.float64),) * 2)


@pytest.mark.parametrize("name", ["jacobian", "hvp", "vhp", "jvp", "vjp"])
def test_products_in_the_graph_of_autograd(name):
    func = number if name in ("hvp", "vhp") else several
    v = () if name == "jacobian" else ((X[:, 0], Y),) if name == "vjp" else ((X, Y),)
    x, y = (t.clone().requires_grad_() for t in (X, Y))
    ours, expected = (getattr(f, name)(func, (x, y), *v, create_graph=True) for f in (functional, theirs))
    same(ours, expected)
    total = lambda tree: sum(map(total, tree)) if isinstance(tree, tuple) else tree.cos().sum()
    same(*(torch.autograd.grad(total(r), (x, y)) for r in (ours, expected)))


def test_tensors_that_the_function_closes_over_may_change():
    w = torch.ones(2, dtype=torch.float64)
    f = lambda y: (w * y**3).sum()
    for _ in range(3):
        same(functional.hessian(f, Y), torch.diag(6 * w * Y))
        w.mul_(2)


def test_inputs_are_left_alone():
    x = X.clone().requires_grad_()
    H = functional.hessian(lambda x: (x**3).sum(), x)
    assert x.grad is None and x.requires_grad and not H.requires_grad
    assert torch.equal(x.detach(), X)


def test_single_precision():
    H = functional.hessian(lambda x: (x**3).sum(), X.float())
    same(H, theirs.hessian(lambda x: (x**3).sum(), X.float()), rtol=1e-5)
    value, product = functional.hvp(lambda x: (x**3).sum(), X.float(), X.float())
    assert value.dtype == product.dtype == torch.float32


@pytest.mark.parametrize("name", ["hessian", "jacobian", "hvp", "vhp", "jvp", "vjp"])
def test_arrays_and_tensors_are_not_mixed(name):
    for wrong in ((X, 3.0), (X, Y.numpy())):
        with pytest.raises(TypeError, match=r"index 1 of .* must be a tensor"):
            getattr(functional, name)(number, wrong)


def test_errors_are_those_of_arrays():
    with pytest.raises(RuntimeError, match="input 1"):
        functional.hessian(lambda x, y: (x**2).sum(), (X, Y), strict=True)
    with pytest.raises(RuntimeError, match=r"shape \(3, 2\)"):
        functional.hessian(lambda x: x * 2, X)
    with pytest.raises(RuntimeError, match="v has shape"):
        functional.hvp(lambda x: x.sum(), X, Y)
    with pytest.raises(TypeError, match="must be a tensor"):
        functional.hvp(lambda x: x.sum(), X, np.ones((3, 2)))
    with pytest.raises((TypeError, RuntimeError), match="int64"):
        functional.hessian(lambda x: x.sum(), torch.arange(3))
