"""Complex intermediates of real functions: values and derivatives against differences, and what is refused."""

from __future__ import annotations

import cmath

import numpy as np
import pytest
from differences import check, check_kernels, derivatives
from test_trace import run_traced

from symhess import hessian_jit
from symhess.errors import DTypeMismatch, UnsupportedOperation

RNG = np.random.default_rng(7)
X = np.array([0.3, -1.2, 0.7, 1.4, -0.4, 0.9])
W = (RNG.normal(size=(2, 3)) + 1j * RNG.normal(size=(2, 3))).astype(np.complex128)
A = np.eye(3) * 2 + RNG.normal(size=(3, 3)) / 3 + 1j * RNG.normal(size=(3, 3)) / 3
PHASES = np.exp(1j * np.arange(3.0))


def z(x):
    return x[:3] + 1j * x[3:]


def number(w):
    """A real number that depends on all parts of all entries, with curvature."""
    w = np.ravel(w) + 0.25
    return np.sum(np.abs(w) ** 2 * (1 + np.arange(w.size)) + w.real * w.imag) / w.size


UFUNCS = (np.exp, np.log, np.sqrt, np.sin, np.cos, np.tan, np.sinh, np.cosh, np.tanh, np.square, np.reciprocal,
          np.negative, np.conjugate, np.expm1, np.log1p, np.exp2, np.log2, np.log10, np.positive)
ARITHMETIC = {
    "powers": lambda x: z(x) ** 3 + z(x) ** -2 + z(x) ** 0 + z(x) ** 1.5 + z(x) ** (0.5 + 1j),
    "roots and bases": lambda x: z(x) ** 0.5 + 2 ** z(x) + (1 + 2j) ** z(x) + z(x) ** z(x),
    "quotients": lambda x: (1 + z(x)) / (2j - z(x)) + (2 + 1j) / z(x) + z(x) / (2 + 1j) + z(x) / x[:3],
    "impedance": lambda x: x[:3] + 1j * 50 * x[3:] + 1 / (1j * 50 * (2 + x[:3])),
    "captured": lambda x: PHASES * x[:3] - x[3:] * PHASES[::-1] + PHASES,
    "np.complex128": lambda x: np.complex128(1 + 2j) * x[:3] + z(x) * np.float64(2),
    "comparison": lambda x: np.where(z(x) == z(x), z(x), 0) * (z(x) != 1j) + np.isfinite(z(x)) * 1j,
    "broadcast": lambda x: (z(x)[:, None] + x[:2]) * np.array([[1j], [2], [0.5 - 1j]]),
}
ARRAYS = {
    "views": lambda x: z(x).reshape(3, 1).T[:, ::-1] * z(x)[None, [0, 0, 2]] + z(x)[-1],
    "joins": lambda x: np.concatenate([x[:1], 1j * x[1:3], np.ones(1, complex)]) * np.hstack([z(x), 2.0]),
    "stacks": lambda x: np.stack([z(x), x[3:]]) + np.array([[x[0], 1j * x[1], 3 + 1j], [2.0, x[2], 0]]),
    "where": lambda x: np.where(x[:3] > 0, z(x), 1j * x[3:]) + np.select([x[:3] > 1], [z(x)], 1j),
    "sums": lambda x: np.cumsum(z(x)) + z(x).sum() + np.mean(z(x)) + np.prod(z(x)) + np.diff(z(x)).sum(),
    "shapes": lambda x: np.pad(np.tile(z(x), 2), 1)[::2] + np.roll(np.repeat(z(x)[:2], 2), 1) + np.trapezoid(z(x)),
    "parts": lambda x: z(x).conj() * z(x).real + np.imag(z(x)) * np.angle(z(x)) + np.var(z(x)) + np.std(z(x)),
    "types": lambda x: (x[:3].astype(complex) ** 2 + np.asarray(x[3:], dtype=complex)
                        + np.zeros_like(x[:3], dtype=complex)),
    "filled": lambda x: np.array(1j * x[2]) + np.full(3, 1j * x[0]) * np.full_like(z(x), x[1]) + np.ones_like(z(x)),
    "polynomials": lambda x: np.polyval(x[:3], 1j * x[5] + 0.2) + np.convolve(z(x), z(x)[:2])[:3],
    "correlate": lambda x: np.correlate(z(x), z(x)[:2]) + np.interp(x[:2], [-2.0, 0, 2], PHASES),
    "methods": lambda x: np.add.reduce(z(x)) + np.multiply.reduce(z(x)) + np.add.accumulate(z(x)) * np.multiply.outer(
        z(x), x[:1])[:, 0],
    "fold": lambda x: sum(z(x)) + sum(k * w for k, w in enumerate(z(x))),
}
LINEAR = {
    "products": lambda x: W @ z(x) + np.dot(W, x[:3]) + (W.conj() * x[0]) @ PHASES,
    "einsum": lambda x: np.einsum("i,ij,j->", z(x)[:2], W, z(x)) + np.vdot(z(x), PHASES) + np.inner(z(x), z(x)),
    "outer": lambda x: np.outer(z(x), PHASES) + np.tensordot(z(x), x[:3], 0) + np.kron(z(x)[:1], A * x[1]),
    "chains": lambda x: np.linalg.multi_dot([W, A, z(x)]) + np.linalg.matrix_power(A * x[0], 2)[0, :2],
    "solve": lambda x: np.linalg.solve(A + np.diag(x[:3]), z(x)),
    "inv": lambda x: np.linalg.inv(A + 1j * np.diag(x[:3])),
    "det": lambda x: np.linalg.det(A + 1j * np.diag(x[:3])),
    "norms": lambda x: np.linalg.norm(z(x)) + np.linalg.norm(np.outer(z(x), z(x)), axis=0) + np.linalg.norm(z(x), 1),
}


def buffer(x):
    w = np.zeros(3, dtype=complex)
    for k in range(3):
        w[k] = cmath.exp(1j * x[k]) * complex(x[k + 3], x[k])
    v = w[1:]
    v *= x[:2]
    w.imag[0] = x[3]
    w.real[1:] += x[4]
    w += 1j
    return w


def recurrence(x):
    w = 0j
    for k in range(3):
        w = w * w / 3 + complex(x[k], x[k + 3])
    return w


def copied(x):
    w = PHASES.copy()
    w[0] = x[0] * 1j
    return w * x[:3] + cmath.sqrt(x[0]) + cmath.log(z(x)[1]) + cmath.rect(x[1], x[2]) + cmath.phase(z(x)[0])


CODE = {f.__name__: f for f in (buffer, recurrence, copied)}
EXTENDED = ARITHMETIC | ARRAYS | CODE | {f.__name__: lambda x, f=f: f(z(x)) for f in UFUNCS}
#: those that are made of numbers in double precision
DOUBLE = ("captured", "copied", "correlate", "buffer", "recurrence")


@pytest.mark.parametrize("name", EXTENDED)
def test_derivatives(name: str) -> None:
    check(lambda x: number(EXTENDED[name](x)), X, name not in DOUBLE, 2e-8)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_algebra(name: str) -> None:
    check(lambda x: number(LINEAR[name](x)), X, extended=False)


def test_kernels_equal_the_interpreter() -> None:
    names = ("exp", "sqrt", "impedance", "joins", "where", "buffer", "products")
    check_kernels([lambda x, f=f: number(f(x)) for f in map({**EXTENDED, **LINEAR}.get, names)], X)


def test_values_and_dtypes_are_those_of_numpy() -> None:
    """Also where parts are mixed with single precision, and for numbers of no dimension."""
    for dtype in (np.float32, np.float64):
        x = X.astype(dtype)
        for f in (lambda x: np.abs(z(x)) ** 2, lambda x: (1j * x).imag, lambda x: np.angle(z(x)[0] * 2j),
                  lambda x: (np.ones(3) * z(x)).real, lambda x: np.exp(1j * x[0]).real):
            found = hessian_jit(lambda x, f=f: np.sum(f(x)), mode="autograd").value(x)
            assert found.dtype == np.sum(f(x)).dtype
            np.testing.assert_allclose(found, np.sum(f(x)), rtol=1e-5 if dtype is np.float32 else 1e-14)


@pytest.mark.parametrize("f", UFUNCS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_on_axes_and_in_all_quadrants(f: np.ufunc) -> None:
    """Branch cuts and principal values, small and large parts."""
    at = [0.0, 1.0, -1.0, 0.5, -2.3, 1e-8, -1e-8, 30.0, -30.0]
    re, im = (v.ravel() for v in np.meshgrid(at, at))
    fn = lambda x: (f(x[0] + 1j * x[1]).real, f(x[0] + 1j * x[1]).imag)
    found = run_traced(fn, np.array([re, im]), concrete=True)
    expected = f(re + 1j * im)
    usual = np.isfinite(expected)
    for part, right in zip(found, (expected.real, expected.imag)):
        assert np.all(np.abs(part - right)[usual] <= 2e-15 * np.maximum(np.abs(expected[usual]), 1))


def test_the_square_of_a_modulus_is_smooth_at_zero() -> None:
    zero = np.zeros(6)
    assert np.array_equal(hessian_jit(lambda x: np.sum(np.abs(z(x)) ** 2), mode="autograd")(zero), 2 * np.eye(6))
    assert np.array_equal(hessian_jit(lambda x: np.sum(np.abs(z(x))), mode="autograd")(zero), np.zeros((6, 6)))
    whole = hessian_jit(lambda x: np.sum(np.abs(z(x))[1:] ** 2), mode="autograd")(zero)
    assert np.array_equal(whole, np.diag([0.0, 2, 2, 0, 2, 2]))
    cube = hessian_jit(lambda x: np.sum((z(x) ** 3 + z(x) ** 2).real), mode="autograd")(zero)
    assert np.array_equal(cube, np.diag([2.0] * 3 + [-2.0] * 3))


def test_the_branch_not_taken_does_not_matter() -> None:
    """1 / z and log z at 0, in the branch of a where."""
    f = hessian_jit(lambda x: np.sum(np.abs(np.where(x[:3] > 0, 1 / z(x) + np.log(z(x)), z(x))) ** 2), mode="autograd")
    assert np.array_equal(f(np.zeros(6)), 2 * np.eye(6))


def test_quotients_neither_overflow_nor_underflow() -> None:
    f = hessian_jit(lambda x: ((x[0] + 1j * x[1]) / (x[2] + 1j * x[3])).real, mode="autograd")
    for scale in (1e-200, 1.0, 1e200):
        x = np.array([1.0, 2.0, 3.0, -1.0]) * scale
        assert f.value(x) == pytest.approx(0.1, rel=1e-14)
        _, expected, _ = derivatives(lambda y: ((y[0] + 1j * y[1]) / (y[2] + 1j * y[3])).real, x / scale, True)
        np.testing.assert_allclose(f.grad(x) * scale, expected, rtol=1e-12)


def test_branches_on_complex_values_are_guarded() -> None:
    f = hessian_jit(lambda x: x[0] if z(x)[0] == 1j else x[0] ** 2)
    assert f(X)[0, 0] == 2 and f(np.array([0.0, 0, 0, 1, 0, 0]))[0, 0] == 0


def test_structure_is_kept() -> None:
    """Complex elementwise functions leave a Hessian of two diagonals per block."""
    f = hessian_jit(lambda x: np.sum(np.abs(np.exp(z(x)) / (2 + z(x))) ** 2))
    assert f.sparsity(X).nnz == 12


REFUSED = {
    "sort": lambda x: np.sort(z(x)).real.sum(), "max": lambda x: np.max(np.abs(z(x))) + np.max(z(x)).real,
    "less": lambda x: x[0] if z(x)[0] < z(x)[1] else x[1], "floor": lambda x: np.floor(z(x)).real.sum(),
    "cumprod": lambda x: np.cumprod(z(x)).real.sum(), "arcsin": lambda x: np.arcsin(z(x)).real.sum(),
    "cholesky": lambda x: np.linalg.cholesky(np.outer(z(x), z(x)))[0, 0].real,
    "3 x 3": lambda x: np.linalg.det(np.zeros((4, 4)) + 1j * x[0]).real,
    "maximum along": lambda x: np.maximum.reduce(z(x)).real,
    "of complex": lambda x: np.histogram(z(x))[0].sum(), "real array": lambda x: np.copyto(np.zeros(3), z(x)),
    "an operation on complex": lambda x: np.zeros(3).__setitem__(0, z(x)[0]),
}


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedOperation, match=f"{text}.*test_complex.py"):
        hessian_jit(REFUSED[text], mode="autograd")(X)


@pytest.mark.parametrize("f", [z, lambda x: z(x)[0], lambda x: 1j, lambda x: PHASES[0]])
def test_results_must_be_real(f) -> None:
    with pytest.raises(DTypeMismatch, match=r"returned complex numbers.*np\.abs"):
        hessian_jit(f, mode="autograd")(X)


def test_conversions_that_python_forbids() -> None:
    for f in (lambda x: float(z(x)[0]), lambda x: np.zeros(2).__imul__(z(x)[0])):
        with pytest.raises((TypeError, UnsupportedOperation, DTypeMismatch)):
            hessian_jit(f, mode="autograd")(X)
