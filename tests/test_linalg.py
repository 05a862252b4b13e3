"""Decompositions of np.linalg and scipy.linalg: derivatives against differences, edge cases, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg as sl
from differences import check, check_kernels
from oracles import assert_close

from symhess import hessian_jit, jacfwd
from symhess.backends.support_decompositions import NAMES
from symhess.backends.support_matrix_functions import NAMES as FUNCTIONS
from symhess.errors import ShapeMismatch, UnsupportedOperation
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.node import input_node
from symhess.primitives import decompositions as dec

X = np.random.default_rng(0).normal(size=12)
WEIGHTS = np.arange(1.0, 5)


def tall(x):
    return x.reshape(4, 3) + 2 * np.eye(4, 3)


def square(x):
    return np.outer(x[:4], x[:4]) + np.diag(3.0 * WEIGHTS) + np.outer(x[4:8], x[8:])


def positive(x):
    return np.outer(x[:4], x[:4]) + np.diag(3.0 * WEIGHTS)


def wavy(*parts):
    """One number with curvature in all entries."""
    return sum(np.sum(np.sin(np.asarray(p)) * (1 + np.arange(np.size(p))).reshape(np.shape(p))) for p in parts)


NUMPY = {
    "eigvalsh": lambda x: wavy(np.linalg.eigvalsh(square(x))),
    "eigvalsh of the upper triangle": lambda x: wavy(np.linalg.eigvalsh(square(x), "U")),
    "eigh": lambda x: wavy(np.linalg.eigh(square(x))[1] ** 2),
    "spectral function": lambda x: (lambda r: wavy((r.eigenvectors * np.log(1 + r.eigenvalues**2))
                                                   @ r.eigenvectors.T))(np.linalg.eigh(square(x))),
    "stack of eigh": lambda x: wavy(np.linalg.eigvalsh(x.reshape(3, 2, 2)), np.linalg.eigh(x.reshape(3, 2, 2))[1] ** 2),
    "svd": lambda x: (lambda u, s, vt: wavy(u**2, s, vt**2, (u * np.sqrt(s)) @ vt))(
        *np.linalg.svd(tall(x), full_matrices=False)),
    "svd of wide": lambda x: (lambda r: wavy(r.U**2, r.Vh**2))(np.linalg.svd(tall(x).T, full_matrices=False)),
    "svd of square": lambda x: (lambda u, s, vt: wavy(u**2, vt**2))(*np.linalg.svd(square(x))),
    "svdvals": lambda x: wavy(np.linalg.svdvals(tall(x)), np.linalg.svd(square(x), compute_uv=False)),
    "qr": lambda x: (lambda q, r: wavy(q**2, r**2))(*np.linalg.qr(tall(x))),
    "qr of wide": lambda x: (lambda r: wavy(r.Q**2, r.R**2))(np.linalg.qr(tall(x).T, "complete")),
    "only R": lambda x: wavy(np.linalg.qr(square(x), "r") ** 2),
    "pinv": lambda x: wavy(np.linalg.pinv(tall(x)), np.linalg.pinv(tall(x).T, rtol=None)),
    "lstsq": lambda x: (lambda r: wavy(*r))(np.linalg.lstsq(tall(x), x[:4])),
    "least norm": lambda x: (lambda r: wavy(r[0], r[3]) + r[1].size)(np.linalg.lstsq(tall(x).T, x[:6].reshape(3, 2))),
    "cond": lambda x: np.linalg.cond(tall(x)) + np.linalg.cond(square(x), -2) + np.linalg.cond(positive(x), "fro"),
    "norms": lambda x: np.linalg.norm(tall(x), 2) * np.linalg.norm(tall(x), "nuc") + np.linalg.norm(tall(x), -2),
    "norms of a stack": lambda x: wavy(np.linalg.norm(x.reshape(2, 3, 2), 2, axis=(0, 2)),
                                       np.linalg.matrix_norm(x.reshape(2, 3, 2), ord="nuc")),
    "rank": lambda x: np.linalg.matrix_rank(tall(x)) * x[0] ** 2 + np.linalg.matrix_rank(x) * x[1] ** 2,
    "tensorsolve": lambda x: wavy(np.linalg.tensorsolve(square(x).reshape(2, 2, 4), x[:4].reshape(2, 2)),
                                  np.linalg.tensorsolve(square(x).reshape(4, 2, 2), x[:4].reshape(2, 2), (0,))),
    "tensorinv": lambda x: wavy(np.linalg.tensorinv(square(x).reshape(2, 2, 4))),
}
SCIPY = {
    "scipy eigh": lambda x: wavy(sl.eigh(square(x))[1] ** 2, sl.eigvalsh(square(x), lower=False)),
    "generalised": lambda x: (lambda w, v: wavy(w, v**2))(*sl.eigh(square(x), positive(x))),
    "subset": lambda x: wavy(sl.eigh(square(x), eigvals_only=True, subset_by_index=[1, 2])),
    "scipy svd": lambda x: wavy(sl.svd(tall(x), full_matrices=False)[0] ** 2, sl.svdvals(tall(x))),
    "scipy qr": lambda x: wavy(sl.qr(tall(x), mode="economic")[0] ** 2, sl.qr(tall(x), mode="r")[0] ** 2),
    "scipy pinv": lambda x: wavy(sl.pinv(tall(x))) + sl.pinv(tall(x), return_rank=True)[1],
    "scipy lstsq": lambda x: wavy(*sl.lstsq(tall(x), x[:4])[:2], *sl.lstsq(square(x), x[:4])[:2]),
    "lu": lambda x: (lambda f: wavy(sl.lu_solve(f, x[:4]), sl.lu_solve(f, x[4:8], 1)))(sl.lu_factor(square(x))),
    "solve": lambda x: wavy(sl.solve(square(x), x[:4], assume_a="sym"), sl.solve(square(x), x[:4], transposed=True),
                            sl.solve(square(x), x[:4], lower=True, assume_a="sym"),
                            sl.solve(square(x), x[:4], assume_a="lower triangular")),
    "expm": lambda x: wavy(sl.expm(square(x) / 9)),
    "sqrtm": lambda x: wavy(sl.sqrtm(square(x)), sl.sqrtm(positive(x)) @ x[:4]),
    "solve_banded": lambda x: wavy(sl.solve_banded((1, 2), np.stack([x[:4], x[4:8], x[8:] + 9, x[:4]]), x[:4])),
    "solveh_banded": lambda x: wavy(sl.solveh_banded(np.stack([x[4:8], x[8:] + 9]), x[:4]),
                                    sl.solveh_banded(np.stack([x[8:] + 9, x[4:8]]), x[:4], lower=True)),
    "sylvester": lambda x: wavy(sl.solve_sylvester(positive(x), positive(x)[:3, :3], tall(x))),
    "lyapunov": lambda x: wavy(sl.solve_continuous_lyapunov(positive(x) + square(x) / 9, square(x) / 9),
                               sl.solve_discrete_lyapunov(square(x) / 40, square(x) / 9)),
    "structured": lambda x: wavy(sl.circulant(x[:4]), sl.hankel(x[:4], x[3:8]), sl.hankel(x[:3]), sl.companion(x[2:6]),
                                 sl.khatri_rao(tall(x), tall(x) ** 2), sl.hadamard(4) @ x[:4]),
}


@pytest.mark.parametrize("name", [*NUMPY, *SCIPY])
def test_derivatives(name: str) -> None:
    check((NUMPY | SCIPY)[name], X, extended=False)


def test_kernels_equal_the_interpreter() -> None:
    check_kernels([lambda x: wavy(np.linalg.eigvalsh(x[:9].reshape(3, 3)))], X, 1e-10)


@pytest.mark.parametrize("name", ["eigh", "svd", "qr", "pinv"])
def test_routines_of_kernels(name: str) -> None:
    """What kernels call leaves the record that the interpreter finds, and NaN for a matrix that is not finite."""
    a = np.stack([square(X), np.full((4, 4), np.nan), positive(X)])
    a = a if name == "eigh" else a[..., :3].copy()
    node = {"eigh": lambda v: dec.eigh(v)[1].args[0], "svd": lambda v: dec.svd(v)[0].args[0],
            "qr": lambda v: dec.qr(v)[0].args[0], "pinv": lambda v: dec.pinv(v, 1e-15)}[name](input_node("a", a.shape))
    (expected,) = evaluate_nodes([node], {node.args[0]: a})
    found = np.zeros(node.shape)
    NAMES[name](a, found, *node.op.extra["params"](node))
    assert np.isnan(found[1]).all() and np.isnan(expected[1]).all()
    np.testing.assert_allclose(np.abs(found[::2]), np.abs(expected[::2]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["expm", "sqrtm", "logm"])
def test_matrix_functions_of_kernels(name: str) -> None:
    """Of blocks too, which derivatives ask for, and NaN where there is no real value."""
    a, e = square(X), tall(X) @ np.ones((3, 4))
    for m in (a, a / 40, np.block([[a, e], [0 * a, a]]), np.array([[3.0]]), positive(X) * 100):
        m = m / 50 if name == "expm" else m
        found = np.empty((1, *m.shape))
        FUNCTIONS[name](m[None], found)
        assert_close(found[0], getattr(sl, name)(m), 1e-12)
    if name != "expm":
        found = np.empty((2, 3, 3))
        FUNCTIONS[name](np.stack([-np.eye(3), np.full((3, 3), np.nan)]), found)
        assert np.isnan(found).all()
        assert np.isnan(hessian_jit(lambda a: np.sum(getattr(sl, name)(a)), mode="autograd").value(-np.eye(3)))


def test_the_logarithm_inverts_the_exponential() -> None:
    f = hessian_jit(lambda x: wavy(sl.logm(sl.expm(tall(x)[:3] / 4))), mode="autograd")
    g = hessian_jit(lambda x: wavy(tall(x)[:3] / 4), mode="autograd")
    for found, expected in zip(f.value_grad_hessian(X), g.value_grad_hessian(X)):
        assert_close(found, expected, 1e-11)


def test_the_exponential_of_a_rotation() -> None:
    """exp(t [[0, -1], [1, 0]]) = [[cos t, -sin t], [sin t, cos t]], compiled."""
    f = hessian_jit(lambda t: sl.expm(t * np.array([[0.0, -1], [1, 0]]))[1, 0])
    for t in (0.3, 7.0):
        assert_close(np.array(f.value_grad_hessian(t)), np.array([np.sin(t), np.cos(t), -np.sin(t)]), 1e-13)


def test_matrices_that_are_not_finite_give_nan() -> None:
    f = hessian_jit(lambda x: sum(np.linalg.svdvals(tall(x))) + sum(np.linalg.eigvalsh(square(x))), mode="autograd")
    assert np.isnan(f.value(np.full(12, np.inf))) and np.isfinite(f.value(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes(dtype: type) -> None:
    functions = (np.linalg.eigvalsh, np.linalg.svdvals, np.linalg.pinv, lambda a: np.linalg.qr(a)[1])
    for f in functions:
        a = square(X).astype(dtype)
        found = hessian_jit(lambda a, f=f: np.sum(f(a) ** 2), mode="autograd").value(a)
        assert found.dtype == dtype
        assert found == pytest.approx(np.sum(f(a) ** 2), rel=1e-5 if dtype is np.float32 else 1e-12)


def test_edge_sizes() -> None:
    """Empty stacks, empty matrices and 1 x 1."""
    f = hessian_jit(lambda x: np.sum(np.linalg.svdvals(x[:0].reshape(0, 2, 2))) + x[0] ** 2, mode="autograd")
    assert f(X[:1])[0, 0] == 2
    g = hessian_jit(lambda x: np.linalg.eigvalsh(x[:, None])[0] ** 3 + np.linalg.qr(x[:, None])[1][0, 0] ** 2
                    + np.linalg.pinv(x[:, None])[0, 0], mode="autograd")
    assert_close(g(np.array([2.0])), np.array([[12 + 2 + 2 / 8]]), 1e-14)


def test_fortran_order() -> None:
    f = hessian_jit(lambda a: np.sum(np.linalg.qr(a)[1] ** 3) + np.sum(np.linalg.svdvals(a) ** 3), mode="autograd")
    assert np.array_equal(f(np.asfortranarray(tall(X))), f(tall(X)))


def test_repeated_eigenvalues_have_a_gradient() -> None:
    """sum(w**3) = trace(A^3), whose gradient is 3 A^2; its Hessian is not found where eigenvalues are equal."""
    a = 2.0 * np.eye(3)
    f = hessian_jit(lambda a: np.sum(np.linalg.eigvalsh((a + a.T) / 2) ** 3), mode="autograd")
    assert_close(f.grad(a), 12 * np.eye(3), 1e-14)
    assert np.isnan(f(a)).any()
    s = hessian_jit(lambda a: np.sum(np.linalg.svdvals(a)), mode="autograd")
    assert_close(s.grad(a), np.eye(3), 1e-14)


def test_close_eigenvalues_lose_few_digits() -> None:
    """trace(A^3) again, with eigenvalues 1e-4 apart."""
    a = np.diag([1.0, 1.0001, 2]) + 1e-5
    f = hessian_jit(lambda a: np.sum(np.linalg.eigvalsh((a + a.T) / 2) ** 3), mode="autograd")
    g = hessian_jit(lambda a: np.trace(((a + a.T) / 2) @ ((a + a.T) / 2) @ ((a + a.T) / 2)), mode="autograd")
    assert_close(f(a), g(a), 1e-10)


def test_projector_of_a_matrix_with_a_null_space() -> None:
    """pinv at constant rank: A = b c^T has the pseudoinverse c b^T / (|b|^2 |c|^2)."""
    f = hessian_jit(lambda x: wavy(np.linalg.pinv(np.outer(x[:3], x[3:7]), rcond=1e-10)), mode="autograd")
    g = hessian_jit(lambda x: wavy(np.outer(x[3:7], x[:3]) / np.sum(x[:3] ** 2) / np.sum(x[3:7] ** 2)), mode="autograd")
    assert_close(f(X[:7]), g(X[:7]), 1e-12)


def test_eigenvalues_of_blocks_keep_the_blocks_apart() -> None:
    """One eigenvalue problem for each row of the input."""
    jacobian = jacfwd(lambda x: np.linalg.eigvalsh(x.reshape(3, 2, 2)))(X)
    for k in range(3):
        others = np.delete(jacobian.reshape(3, 2, 3, 4)[k], k, axis=1)
        assert np.all(others == 0)


REFUSED = {
    "linalg.eig": lambda x: np.linalg.eig(square(x))[0].sum(), "eigh": lambda x: np.linalg.eigvals(square(x)).sum(),
    "full_matrices": lambda x: np.sum(np.linalg.svd(tall(x))[0]),
    "complete": lambda x: np.sum(np.linalg.qr(tall(x), "complete")[0]),
    "pivoting": lambda x: sl.qr(tall(x), mode="economic", pivoting=True)[1].sum(),
    "lu_solve": lambda x: np.sum(sl.lu_factor(square(x))[0]), "subset_by_value": lambda x: sl.eigh(
        square(x), subset_by_value=[0, 1])[0].sum(),
    "of complex": lambda x: np.linalg.svdvals(1j * tall(x)).sum(),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(UnsupportedOperation, match=f"{text}.*test_linalg.py|test_linalg.py.*{text}"):
        hessian_jit(REFUSED[text], mode="autograd")(X)


def test_shapes_that_do_not_fit() -> None:
    for f in (lambda x: np.linalg.eigvalsh(tall(x)), lambda x: np.linalg.svdvals(x),
              lambda x: np.linalg.lstsq(tall(x), x)[0]):
        with pytest.raises(ShapeMismatch):
            hessian_jit(lambda x, f=f: np.sum(f(x)), mode="autograd")(X)
