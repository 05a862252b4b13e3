"""Fourier, cosine and sine transforms, convolutions: derivatives against differences, kernels, structure."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from differences import check, check_kernels
from oracles import assert_close

from symhess import hessian_jit
from symhess.backends.support_fourier import LARGEST_FACTOR, dft
from symhess.structure import propagate

X = np.random.default_rng(11).normal(size=12)


def number(u):
    return np.sum(np.abs(u) ** 4 * (1 + np.arange(np.size(u))).reshape(np.shape(u))) / np.size(u) ** 2


NUMPY = {
    "fft": lambda x: np.fft.fft(x), "fft cut": lambda x: np.fft.fft(x, 7), "fft padded": lambda x: np.fft.fft(x, 17),
    "fft of complex": lambda x: np.fft.fft(x[:6] + 1j * x[6:] ** 2, norm="ortho"),
    "fft along 0": lambda x: np.fft.fft(x.reshape(4, 3), axis=0, norm="forward"),
    "ifft": lambda x: np.fft.ifft(np.exp(1j * x), 9), "ifft forward": lambda x: np.fft.ifft(x, norm="forward"),
    "rfft": lambda x: np.fft.rfft(x**2, norm="ortho"), "rfft odd": lambda x: np.fft.rfft(x, 9),
    "irfft": lambda x: np.fft.irfft(np.fft.rfft(x) * np.exp(-0.1j * np.arange(7))),
    "irfft odd": lambda x: np.fft.irfft(x[:6] + 1j * x[6:], 11, norm="ortho"),
    "hfft": lambda x: np.fft.hfft(x[:6] + 1j * x[6:]), "ihfft": lambda x: np.fft.ihfft(x, norm="ortho"),
    "fft2": lambda x: np.fft.fft2(x.reshape(3, 4)), "ifft2": lambda x: np.fft.ifft2(1j * x.reshape(2, 3, 2), (4, 2)),
    "fftn": lambda x: np.fft.fftn(x.reshape(2, 3, 2)), "ifftn": lambda x: np.fft.ifftn(x.reshape(3, 4) * 1j, axes=(0,)),
    "rfft2": lambda x: np.fft.rfft2(x.reshape(3, 4)), "rfftn": lambda x: np.fft.rfftn(x.reshape(2, 3, 2), axes=(1, 0)),
    "irfft2": lambda x: np.fft.irfft2(np.fft.rfft2(x.reshape(3, 4)) ** 2, (3, 4)),
    "irfftn": lambda x: np.fft.irfftn(1j * x.reshape(3, 4), norm="forward"),
    "shifts": lambda x: np.fft.ifftshift(np.fft.fftshift(np.fft.fft(x))[3:] * x[3:]),
    "derivative": lambda x: np.fft.ifft(np.fft.fft(x) * 2j * np.pi * np.fft.fftfreq(12)).real,
    "one point": lambda x: np.fft.fft(x[:1]) + np.fft.irfft(x[:2], 1), "list": lambda x: np.fft.fft([x[0], 1.0, x[1]]),
    "no rows": lambda x: np.fft.fft(x[:0].reshape(0, 4)).sum() + np.fft.fft(x[0] * np.ones(2)),
}
SCIPY = {
    "scipy fft": lambda x: scipy.fft.fft(x) + scipy.fft.ifft(x, norm="ortho"),
    "scipy rfft": lambda x: scipy.fft.irfft(scipy.fft.rfft(x) * np.arange(7)) + scipy.fft.hfft(x, 12),
    "scipy fft2": lambda x: scipy.fft.fftshift(scipy.fft.ifft2(scipy.fft.fft2(x.reshape(3, 4)) ** 2)),
    "convolve": lambda x: scipy.signal.convolve(x[:7], x[5:9], "same"),
    "fftconvolve": lambda x: scipy.signal.fftconvolve(x.reshape(3, 4), x[:4].reshape(2, 2), "valid"),
    "oaconvolve": lambda x: scipy.signal.oaconvolve(x[:3], x[3:]),
    "complex fftconvolve": lambda x: scipy.signal.fftconvolve(1j * x.reshape(3, 4), x[:4].reshape(2, 2), "same"),
}


@pytest.mark.parametrize("name", [*NUMPY, *SCIPY])
def test_derivatives(name: str) -> None:
    check(lambda x: number((NUMPY | SCIPY)[name](x)), X, name != "derivative")


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_cosine_and_sine_transforms(kind: int, norm: str | None) -> None:
    """Linear maps: the Jacobian is the transform of unit vectors."""
    for f in (scipy.fft.dct, scipy.fft.idct, scipy.fft.dst, scipy.fft.idst):
        grad = hessian_jit(lambda x, f=f: np.sum(f(x, kind, norm=norm) * X), mode="autograd").grad(X)
        assert_close(grad, X @ f(np.eye(12), kind, axis=0, norm=norm), 1e-13)
        H = hessian_jit(lambda x, f=f: np.sum(f(x, kind, norm=norm) ** 2), mode="autograd")(X)
        matrix = f(np.eye(12), kind, axis=0, norm=norm)
        assert_close(H / np.abs(H).max(), 2 * matrix.T @ matrix / np.abs(H).max(), 1e-13)


def test_kernels_equal_the_interpreter() -> None:
    names = ("fft padded", "irfft odd", "rfft2")
    check_kernels([lambda x, f=NUMPY[n]: number(f(x)) for n in names], X)


@pytest.mark.parametrize("n", [*range(1, 41), 64, 67, 74, 120, 127, 134, 210, 256, 509, 1000, 1021, 67 * 67])
@pytest.mark.parametrize("inverse", [False, True])
def test_the_routine_of_kernels(n: int, inverse: bool) -> None:
    """All ways to split a length, and lengths with a prime factor that is too large for that."""
    v = np.random.default_rng(n).normal(size=(2, n, 2))
    out = np.empty_like(v)
    dft(v, out, inverse)
    numbers = v[..., 0] + 1j * v[..., 1]
    expected = n * np.fft.ifft(numbers) if inverse else np.fft.fft(numbers)
    assert np.abs(out[..., 0] + 1j * out[..., 1] - expected).max() <= 2e-15 * np.abs(expected).max()


def test_both_algorithms_are_tried() -> None:
    assert 41 < LARGEST_FACTOR < 67


def test_single_precision() -> None:
    f = hessian_jit(lambda x: np.sum(np.abs(np.fft.rfft(x)) ** 2))
    H = f(X.astype(np.float32))
    assert H.dtype == np.float32
    assert_close(H, f(X), 1e-5)


def test_the_power_of_all_frequencies() -> None:
    """Parseval: sum |fft(x)|^2 = n sum x^2, at 0 too, compiled and interpreted."""
    for mode in ("autograd", "symbolic"):
        f = hessian_jit(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2), mode=mode)
        for x in (X, np.zeros(12)):
            assert_close(f(x), 24 * np.eye(12), 1e-14)


def test_transforms_of_rows_leave_blocks() -> None:
    f = hessian_jit(lambda x: np.sum(np.abs(np.fft.rfft(x, axis=1)) ** 4), mode="autograd")
    pattern = f.sparsity(X.reshape(3, 4)).toarray()
    assert np.array_equal(pattern, np.kron(np.eye(3), np.ones((4, 4))) > 0)


@pytest.mark.parametrize("limit", [8, 1024])
def test_long_transforms_make_no_matrix(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dense tangents are transformed instead; both are the linear map in front of squares."""
    monkeypatch.setattr(propagate, "TRANSFORM_LIMIT", limit)
    n = 60
    spectrum = np.linspace(0, 1, n // 2 + 1)
    f = hessian_jit(lambda x: np.sum(np.fft.irfft(np.fft.rfft(x) * spectrum, n) ** 2), mode="autograd")
    matrix = np.fft.irfft(np.fft.rfft(np.eye(n), axis=0) * spectrum[:, None], n, axis=0)
    assert_close(f(np.ones(n)), 2 * matrix.T @ matrix, 1e-13)


def test_errors_are_those_of_numpy() -> None:
    for f in (lambda x: np.fft.fft(x, 0), lambda x: np.fft.fft(x, norm="other"), lambda x: np.fft.fft2(x, (2,))):
        with pytest.raises(ValueError):
            hessian_jit(lambda x, f=f: np.sum(f(x).real), mode="autograd")(X)
    with pytest.raises(TypeError):
        hessian_jit(lambda x: np.sum(np.fft.rfft(1j * x).real), mode="autograd")(X)
