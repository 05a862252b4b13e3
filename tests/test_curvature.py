"""`symhess.curvature`: spectra, norms, rows, blocks and Gauss-Newton matrices, against dense linear algebra.

The dense Hessians are written by hand, or differences of values.
"""

import io

import numpy as np
import pytest
from differences import derivatives

import symhess
from symhess.curvature import Curvature, gauss_newton
from symhess.curvature.density import Density
from symhess.curvature.progress import Bar
from symhess.errors import BudgetExceeded, NotConverged, ShapeMismatch

RNG = np.random.default_rng(7)
N = 40
A = RNG.normal(size=(N, N)) + np.diag(np.linspace(-8, 25, N))
A = A + A.T
X = RNG.normal(size=N)


def quartic(x):
    return 0.5 * x @ A @ x + np.sum(x**4) / 12


H = A + np.diag(X**2)
SPECTRUM = np.linalg.eigvalsh(H)


def network(parameters, images, labels):
    """Cross-entropy of a small network; parameters is a dict."""
    hidden = np.tanh(images @ parameters["W"] + parameters["b"])
    logits = hidden @ parameters["V"]
    return np.mean(np.log(np.sum(np.exp(logits), axis=1)) - logits[np.arange(len(labels)), labels])


PARAMETERS = {"W": RNG.normal(size=(4, 3)), "b": RNG.normal(size=3), "V": RNG.normal(size=(3, 2))}
IMAGES, LABELS = RNG.normal(size=(6, 4)), np.array([0, 1, 1, 0, 0, 1])


def flat_network(z):
    parameters = {"V": z[:6].reshape(3, 2), "W": z[6:18].reshape(4, 3), "b": z[18:]}
    return network(parameters, IMAGES, LABELS)


AT = np.concatenate([PARAMETERS[k].ravel() for k in ("V", "W", "b")])


@pytest.fixture(scope="module")
def dense():
    """The network's Hessian by differences of its value."""
    return derivatives(flat_network, AT, True)[2]


@pytest.fixture(scope="module")
def c():
    return Curvature(quartic, X)


@pytest.fixture(scope="module")
def layers():
    return Curvature(network, PARAMETERS, IMAGES, LABELS, names=["V", "W", "b"])


# -- the matrix --------------------------------------------------------------------------------------------------------


def test_matrix_and_products(c):
    np.testing.assert_allclose(c.hessian(), H, rtol=1e-12, atol=1e-13)
    assert np.array_equal(c.hessian(), c.hessian().T)
    V = RNG.normal(size=(N, 3))
    np.testing.assert_allclose(c.product(V), H @ V, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(c.product(V[:, 0]), H @ V[:, 0], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(c.value, quartic(X), rtol=1e-14)
    np.testing.assert_allclose(c.gradient, A @ X + X**3 / 3, rtol=1e-12)
    np.testing.assert_allclose(c.diagonal, np.diag(H), rtol=1e-14)
    for wrong in (np.ones(N + 1), np.ones((3, N)), np.ones((N, 1, 1))):
        with pytest.raises(ShapeMismatch, match="it must be"):
            c.product(wrong)


@pytest.mark.parametrize("start, stop", [(0, N), (3, 5), (N - 1, N), (0, 1), (7, N - 1), (5, 5)])
@pytest.mark.parametrize("size", [None, 1, 4, 9, 100])
def test_rows_in_bands(c, start, stop, size):
    bands = [(first, band.copy()) for first, band in c.rows(start, stop, size=size)]
    found = np.concatenate([b for _, b in bands]) if bands else np.zeros((0, N))
    np.testing.assert_allclose(found, H[start:stop], rtol=1e-12, atol=1e-13)
    assert [first for first, _ in bands] == list(range(start, stop, size or N))


def test_rows_out_of_range(c):
    with pytest.raises(IndexError, match="rows 3 to 41 of a matrix with 40 rows"):
        next(c.rows(3, 41))


def test_blocks_of_layers(layers, dense):
    np.testing.assert_allclose(layers.block("W", "V"), dense[6:18, :6].reshape(4, 3, 3, 2), atol=1e-9)
    np.testing.assert_allclose(layers.block(0, 1), dense[:6, 6:18].reshape(3, 2, 4, 3), atol=1e-9)
    found = layers.diagonal_blocks()
    assert list(found) == ["V", "W", "b"]
    for name, place in (("V", slice(0, 6)), ("W", slice(6, 18)), ("b", slice(18, 21))):
        block = found[name].reshape(place.stop - place.start, -1)
        np.testing.assert_allclose(block, dense[place, place], atol=1e-9)
        assert np.array_equal(block, block.T)
    nested = layers.hessian(blocks=True)
    assert nested["b"]["W"].shape == (3, 4, 3)
    np.testing.assert_allclose(nested["b"]["W"], layers.block("b", "W"), rtol=1e-13)
    with pytest.raises(ValueError, match="nothing"):
        layers.block("nothing", 0)


def test_out_and_budget(tmp_path):
    target = np.lib.format.open_memmap(tmp_path / "out.npy", mode="w+", dtype=float, shape=(N, N))
    assert Curvature(quartic, X).hessian(out=target) is target
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), H, rtol=1e-12, atol=1e-13)
    with pytest.raises(ShapeMismatch, match="out has shape"):
        Curvature(quartic, X).hessian(out=np.empty((N, 2)))
    small = Curvature(symhess.hessian_jit(quartic, memory_budget=8 * N * N - 1), X)
    with pytest.raises(BudgetExceeded):
        small.hessian()
    np.testing.assert_allclose(small.hessian(out=np.empty((N, N))), H, rtol=1e-12, atol=1e-13)


def test_streaming_into_a_file(tmp_path, c):
    matrix = c.stream(tmp_path / "H.npy", size=7)
    assert isinstance(matrix, np.memmap) and not matrix.flags.writeable
    np.testing.assert_allclose(matrix, H, rtol=1e-12, atol=1e-13)


def test_streaming_into_a_function(layers, dense):
    made = np.full((21, 21), np.nan)
    begin = {"V": 0, "W": 6, "b": 18}
    sizes = {"V": 6, "W": 12, "b": 3}

    def receive(i, j, rows, block):
        assert block.shape == (rows.stop - rows.start, sizes[j])
        made[begin[i] + rows.start:begin[i] + rows.stop, begin[j]:begin[j] + sizes[j]] = block

    layers.stream(receive, size=4)
    np.testing.assert_allclose(made, dense, atol=1e-9)


def test_memory_while_streaming(monkeypatch):
    """No array is as large as the matrix: one band of rows, which is used again."""
    monkeypatch.setattr(symhess.curvature.point, "BAND_BYTES", 8 * N * 3)
    bands = {band.__array_interface__["data"][0] for _, band in Curvature(quartic, X).rows(0, 39)}
    assert len(bands) == 1


def test_what_computes_rows_is_compiled_once(monkeypatch):
    f, made = symhess.hessian_jit(quartic), []
    plain = symhess.curvature.point.ColumnsRunner
    monkeypatch.setattr(symhess.curvature.point, "ColumnsRunner", lambda *a: (made.append(a), plain(*a))[1])
    for k in range(3):
        np.testing.assert_allclose(Curvature(f, X + k).hessian(), A + np.diag((X + k)**2), rtol=1e-11, atol=1e-12)
    assert len(made) == 1


# -- spectrum ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k, lanczos", [(1, False), (3, False), (40, False), (1, True), (3, True), (19, True)])
def test_eigenpairs(k, lanczos, monkeypatch):
    monkeypatch.setattr(symhess.curvature.point, "DENSE", 0 if lanczos else 1000)
    c = Curvature(symhess.hessian_jit(quartic), X)
    if lanczos:
        monkeypatch.setattr(Curvature, "rows", None)  # products are all that Lanczos needs
    for (values, vectors), expected in ((c.top(k), SPECTRUM[::-1][:k]), (c.bottom(k), SPECTRUM[:k])):
        np.testing.assert_allclose(values, expected, rtol=1e-8 if lanczos else 1e-11, atol=1e-10)
        assert vectors.shape == (N, k)
        np.testing.assert_allclose(H @ vectors, vectors * values, atol=2e-6 * SPECTRUM[-1] if lanczos else 1e-9)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-9)
    with pytest.raises(ValueError, match="k=41"):
        c.top(41)


def test_tiny_matrices():
    one = Curvature(lambda x: np.sum(x**3), np.array([2.0]))
    assert one.top(1)[0] == one.bottom(1)[0] == 12 and one.condition_number() == 1
    assert one.report().negative_fraction == 0


def test_norms_and_trace(c):
    np.testing.assert_allclose(c.trace(), np.trace(H), rtol=1e-13)
    np.testing.assert_allclose(c.frobenius_norm(), np.linalg.norm(H), rtol=1e-13)
    np.testing.assert_allclose(c.frobenius_norm(samples=3000), np.linalg.norm(H), rtol=0.02)


def test_condition_number(c, monkeypatch):
    expected = np.abs(SPECTRUM).max() / np.abs(SPECTRUM).min()
    np.testing.assert_allclose(c.condition_number(), expected, rtol=1e-9)
    monkeypatch.setattr(symhess.curvature.point, "DENSE", 0)
    np.testing.assert_allclose(c.condition_number(tol=1e-8), expected, rtol=1e-5)


def test_condition_number_of_a_singular_matrix(monkeypatch):
    flat = Curvature(lambda x: np.sum(x)**2 + np.sum(x[:3]**2), np.ones(30))
    assert flat.condition_number() == np.inf
    monkeypatch.setattr(symhess.curvature.point, "DENSE", 0)
    with pytest.raises(NotConverged, match="nearly"):
        flat.condition_number()


def test_zeros_of_high_multiplicity(monkeypatch):
    """Gauss-Newton matrices are singular: ARPACK alone would look for the last digit of zero."""
    monkeypatch.setattr(symhess.curvature.point, "DENSE", 0)
    M = RNG.normal(size=(20, 60))
    flat = Curvature(lambda x: np.sum((M @ x)**2) / 2, np.ones(60))
    np.testing.assert_allclose(flat.bottom(2)[0], 0, atol=1e-6 * np.linalg.norm(M, 2)**2)
    np.testing.assert_allclose(flat.top(2)[0], np.linalg.svd(M)[1][:2]**2, rtol=1e-9)


def test_lanczos_that_stops_early(monkeypatch):
    monkeypatch.setattr(symhess.curvature.point, "DENSE", 0)
    import scipy.sparse.linalg as linalg

    def stopped(*args, **kwargs):
        raise linalg.ArpackNoConvergence("stopped", np.ones(1), np.ones((N, 1)))

    monkeypatch.setattr(linalg, "eigsh", stopped)
    with pytest.raises(NotConverged, match="1 of 3"):
        Curvature(quartic, X).top(3)


def test_density_has_the_moments_of_the_spectrum(c):
    density = c.spectral_density(probes=300, steps=N)
    np.testing.assert_allclose(density.weights.sum(), 1, rtol=1e-12)
    for function in (lambda t: t, lambda t: t**2, lambda t: np.exp(-t / 20)):
        expected = np.mean(function(SPECTRUM))
        assert abs(density.mean(function) - expected) < 0.05 * np.abs(function(SPECTRUM)).mean()
    assert density.nodes.min() >= SPECTRUM[0] - 1e-9 and density.nodes.max() <= SPECTRUM[-1] + 1e-9
    assert abs(density.negative_fraction() - np.mean(SPECTRUM < 0)) < 0.05
    grid, values = density.smooth(2000)
    np.testing.assert_allclose(np.trapezoid(values, grid), 1, rtol=1e-3)


def test_density_is_exact_where_all_eigenvalues_are_few():
    """Two distinct eigenvalues: Lanczos ends after two steps, and the quadrature is the spectrum."""
    two = Curvature(lambda x: np.sum(x[:10]**2) - 3 * np.sum(x[10:]**2), np.ones(40))
    density = two.spectral_density(probes=3, steps=30)
    assert len(density.nodes) == 6
    np.testing.assert_allclose(np.unique(density.nodes.round(10)), [-6, 2])
    assert two.negative_fraction() == 0.75
    np.testing.assert_allclose(density.negative_fraction(), 0.75, rtol=1e-12)


def test_density_of_zero():
    density = Density(np.zeros(1), np.ones(1), 3)
    assert np.isfinite(density.smooth()[1]).all() and density.negative_fraction() == 0
    with pytest.raises(ValueError, match="at least one"):
        Curvature(quartic, X).spectral_density(probes=0)


def test_single_precision():
    c = Curvature(quartic, X.astype(np.float32), argnums=0)
    narrow = Curvature(symhess.hessian_jit(lambda x: np.sum(x**4) - x[0] * x[1], dtype=np.float32), X)
    assert narrow.dtype == np.float32 and narrow.hessian().dtype == np.float32
    np.testing.assert_allclose(narrow.top(2)[0], np.sort(np.linalg.eigvalsh(narrow.hessian()))[::-1][:2], rtol=1e-4)
    np.testing.assert_allclose(c.trace(), A.trace() + np.sum(X**2), rtol=1e-5)


# -- Gauss-Newton ------------------------------------------------------------------------------------------------------


def outputs(parameters, images, labels):
    return np.tanh(images @ parameters["W"] + parameters["b"]) @ parameters["V"]


def loss(logits, images, labels):
    return np.mean(np.log(np.sum(np.exp(logits), axis=1)) - logits[np.arange(len(labels)), labels])


def test_gauss_newton_matrix():
    """J^T L'' J, with J by differences of the outputs and L'' by the formula of the softmax."""
    def flat_outputs(z):
        return outputs({"V": z[:6].reshape(3, 2), "W": z[6:18].reshape(4, 3), "b": z[18:]}, IMAGES, LABELS)

    J = np.stack([derivatives(lambda z, k=k: flat_outputs(z).ravel()[k], AT, True)[1] for k in range(12)])
    p = np.exp(flat_outputs(AT))
    p /= p.sum(1, keepdims=True)
    L = np.zeros((6, 2, 6, 2))
    for s in range(6):
        L[s, :, s] = (np.diag(p[s]) - np.outer(p[s], p[s])) / 6
    expected = J.T @ L.reshape(12, 12) @ J
    G = gauss_newton(outputs, loss, PARAMETERS, IMAGES, LABELS, names=["V", "W", "b"])
    np.testing.assert_allclose(G.hessian(), expected, atol=1e-10)
    np.testing.assert_allclose(G.diagonal, np.diag(expected), atol=1e-10)
    np.testing.assert_allclose(G.product(AT), expected @ AT, atol=1e-10)
    np.testing.assert_allclose(G.value, network(PARAMETERS, IMAGES, LABELS), rtol=1e-13)
    np.testing.assert_allclose(G.gradient, derivatives(flat_network, AT, True)[1], atol=1e-10)
    assert G.bottom(1)[0] > -1e-12
    np.testing.assert_allclose(G.block("W", "V"), expected[6:18, :6].reshape(4, 3, 3, 2), atol=1e-10)


def test_gauss_newton_of_least_squares_is_the_hessian_where_the_model_is_linear():
    M, y = RNG.normal(size=(9, 4)), RNG.normal(size=9)
    G = gauss_newton(lambda p, M, y: M @ p, lambda out, M, y: 0.5 * np.sum((out - y)**2), RNG.normal(size=4), M, y)
    np.testing.assert_allclose(G.hessian(), M.T @ M, rtol=1e-12)
    assert np.array_equal(G.hessian(), Curvature(G.function, *G.args).hessian())


def test_gauss_newton_at_other_points_compiles_nothing(monkeypatch):
    model, squares = lambda p, x: np.exp(p[0] * x) + p[1], lambda out, x: np.sum(out**2) / 2
    first = gauss_newton(model, squares, np.array([0.1, 1.0]), np.arange(3.0))
    first.hessian()
    made = []
    monkeypatch.setattr(symhess.api.columns, "runner", lambda *a: made.append(a))
    for p in (np.array([0.3, -1.0]), np.array([-0.5, 2.0])):
        J = np.stack([np.arange(3) * np.exp(p[0] * np.arange(3)), np.ones(3)], axis=1)
        np.testing.assert_allclose(gauss_newton(model, squares, p, np.arange(3.0)).hessian(), J.T @ J, rtol=1e-12)
    assert not made


# -- reports -----------------------------------------------------------------------------------------------------------


def test_report(layers, dense, tmp_path):
    report = layers.report(k=2)
    spectrum = np.linalg.eigvalsh(dense)
    np.testing.assert_allclose(report.top, spectrum[::-1][:2], rtol=1e-6)
    np.testing.assert_allclose(report.bottom, spectrum[:2], atol=1e-7)
    assert report.sharpness == report.top[0] and report.n == 21
    np.testing.assert_allclose(report.trace, dense.trace(), rtol=1e-8)
    np.testing.assert_allclose([x.trace for x in report.layers],
                               [np.diag(dense)[s].sum() for s in (slice(0, 6), slice(6, 18), slice(18, 21))], atol=1e-9)
    gradient = derivatives(flat_network, AT, True)[1]
    np.testing.assert_allclose([x.gradient_norm for x in report.layers],
                               [np.linalg.norm(gradient[s]) for s in (slice(0, 6), slice(6, 18), slice(18, 21))],
                               rtol=1e-8)
    text = str(report)
    assert "21 variables" in text and "  W  " in text and "4x3" in text and "eigenvalues negative" in text
    pytest.importorskip("matplotlib")
    report.plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_names_of_arrays():
    expected = ["parameters['V']", "parameters['W']", "parameters['b']"]
    assert Curvature(network, PARAMETERS, IMAGES, LABELS).names == expected
    with pytest.raises(ShapeMismatch, match="1 names for 3"):
        Curvature(network, PARAMETERS, IMAGES, LABELS, names=["all"])
    assert repr(Curvature(quartic, X)) == "<Curvature of quartic, n = 40>"


# -- progress ----------------------------------------------------------------------------------------------------------


def test_progress_by_a_function(c):
    told = []
    for _ in c.rows(size=10, progress=lambda done, total: told.append((done, total))):
        pass
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_progress_bar(c, capsys):
    c.hessian(progress=True)
    shown = capsys.readouterr().err
    assert shown.startswith("\rrows of the Hessian [") and shown.endswith("\n") and "100%" in shown
    stream = io.StringIO()
    bar = Bar("work", stream)
    bar(0, 2)
    bar.last -= 1
    bar(1, 2)
    assert "#" * 15 + "." * 15 in stream.getvalue() and " 50%" in stream.getvalue()


# -- what users do wrong, and points that are special -----------------------------------------------------------------


def test_names_are_those_of_parameters():
    both = Curvature(lambda x, y: np.sum(x**2) * np.sum(y**3), np.ones(2), np.ones(3), argnums=(1, 0))
    assert both.names == ["y", "x"] and both.block("y", "x").shape == (3, 2)
    assert Curvature(lambda *points: np.sum(points[0]**2), np.ones(2)).names == ["arg0"]
    assert Curvature(lambda x: np.sum(x**2), np.ones(2), names="weights").names == ["weights"]
    with pytest.raises(ValueError, match="twice"):
        Curvature(lambda x, y: np.sum(x) * np.sum(y), np.ones(2), np.ones(3), argnums=(0, 1), names=["a", "a"])


def test_blocks_that_are_not_there():
    c = Curvature(lambda x: np.sum(x**2), np.ones(2))
    with pytest.raises(ValueError, match="there are"):
        c.block("y", 0)
    with pytest.raises(IndexError, match="there are"):
        c.block(0, 1)


def test_argnums_belong_to_hessian_jit():
    f = symhess.hessian_jit(lambda x, y: np.sum(x * y))
    with pytest.raises(TypeError, match="hessian_jit"):
        Curvature(f, np.ones(2), np.ones(2), argnums=1)


def test_a_point_stays_what_it_was():
    x, data = np.ones(3), np.ones(3)
    c = Curvature(lambda x, data: np.sum(data * x**4), x, data)
    x[:], data[:] = 2, 5
    assert c.value == 3 and (c.diagonal == 12).all() and (c.hessian() == 12 * np.eye(3)).all()


@pytest.mark.parametrize("first, second", [(np.float32, np.float64), (np.float64, np.float32)])
def test_inputs_of_two_dtypes(first, second):
    c = Curvature(lambda x, y: np.sum(x**4) * np.sum(y**2), np.ones(3, first), np.ones(2, second), argnums=(0, 1))
    x, y = 4 * np.ones(3), 2 * np.ones(2)
    expected = np.block([[24 * np.eye(3), np.outer(x, y)], [np.outer(y, x), 6 * np.eye(2)]])
    assert c.hessian().dtype == np.float64
    np.testing.assert_allclose(c.hessian(), expected, rtol=1e-6)


@pytest.mark.parametrize("n", [4, 2000])
def test_a_hessian_of_zeros(n):
    c = Curvature(lambda x: np.sum(x), np.ones(n))
    values, vectors = c.top(2)
    assert (values == 0).all() and np.allclose(vectors.T @ vectors, np.eye(2))
    assert c.condition_number() == np.inf and "eigenvalues   0, 0, 0" in str(c.report())


@pytest.mark.parametrize("n", [3, 2000])
def test_a_hessian_that_is_not_finite_has_no_spectrum(n):
    c = Curvature(lambda x: np.sum(x**4), np.full(n, np.nan))
    for ask in (c.top, c.condition_number, c.report, c.spectral_density):
        with pytest.raises(NotConverged, match="NaN"):
            ask()
    assert np.isnan(c.value) and np.isnan(c.diagonal).all()


def test_no_variables_have_no_spectrum():
    c = Curvature(lambda x: np.sum(x**2), np.zeros(0))
    assert c.value == 0 and c.trace() == 0 and c.hessian().shape == (0, 0)
    for ask in (c.condition_number, c.spectral_density, c.report):
        with pytest.raises(ValueError, match="no variable"):
            ask()


def test_an_interrupted_file_does_not_look_complete(tmp_path):
    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    c = Curvature(lambda x: np.sum(x**4), np.ones(20))
    with pytest.raises(KeyboardInterrupt):
        c.stream(tmp_path / "H.npy", size=5, progress=stop)
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(c.stream(tmp_path / "H.npy", size=5), 12 * np.eye(20))
    assert [p.name for p in tmp_path.iterdir()] == ["H.npy"]


@pytest.mark.parametrize("size", [0, -1])
def test_bands_without_rows(size):
    with pytest.raises(ValueError, match="at least 1"):
        list(Curvature(lambda x: np.sum(x**4), np.ones(3)).rows(size=size))


@pytest.mark.parametrize("work", [None, 0.0])
def test_reports_say_how_accurate_they_are(work, monkeypatch):
    """The spectrum of a chain, 2 + 1e-3 - 2 cos(k pi / (n + 1)): the closest eigenvalues that there are."""
    if work is not None:
        monkeypatch.setattr("symhess.curvature.point.WORK", work)
        monkeypatch.setattr("symhess.curvature.point.FEWEST_PRODUCTS", 60)
    n = 20_000
    ends = lambda x: np.cosh(x[0]) + np.cosh(x[-1]) + np.sum(np.cosh(np.diff(x))) + 0.5e-3 * np.sum(x**2)
    report = Curvature(ends, np.zeros(n)).report(k=1, probes=1, steps=5)
    least, most = (2.001 - 2 * np.cos(k * np.pi / (n + 1)) for k in (1, n))
    assert report.tolerance == pytest.approx(1e-6 * 2**1.5) if work is None else 1e-5 < report.tolerance <= 0.1
    assert abs(report.top[0] - most) < 2 * report.tolerance * most and report.probes == 1
    assert abs(report.bottom[0] - least) < 2 * report.tolerance * most
    assert f"eigenvalues to {report.tolerance:.0e} of the largest" in str(report)


def test_reports_of_few_variables_are_exact(c):
    report = c.report()
    assert report.tolerance == report.probes == 0 and "of the largest" not in str(report)


def test_the_tolerance_of_a_report():
    c = Curvature(lambda x: np.sum(np.arange(1, 1501) * x**2), np.ones(1500))
    assert abs(c.report(k=1, probes=1, steps=5, tol=1e-3).top[0] - 3000) < 3
