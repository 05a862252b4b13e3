"""Functions whose Hessian has a structure worth finding: stencils, products, gathers, bands."""

import numpy as np
from problem import Problem, banded, block_diagonal, cliques, dense, diagonal, problem


@problem("sparse")
def minimal_surface(n=4):
    """Minimal surface on a grid, by two-dimensional slices."""
    def f(u):
        h = 1 / (u.shape[0] - 1)
        a = u[1:, 1:] - u[:-1, :-1]
        b = u[1:, :-1] - u[:-1, 1:]
        return h**2 * np.sum(np.sqrt(1 + (a**2 + b**2) / (2 * h**2)))

    i = np.arange(n)
    index = n * i[:, None] + i
    groups = [index[r:r + 2, c:c + 2].ravel() for r in range(n - 1) for c in range(n - 1)]
    return Problem(f, (np.sin(1.3 * i[:, None]) * 0.3 + 0.2 * np.cos(i * i),), pattern=cliques(n * n, groups))


@problem("sparse")
def quadratic_form(n=8):
    """x.T A x with a constant sparse-pattern A, not symmetric."""
    rng = np.random.default_rng(3)
    A = np.where(rng.random((n, n)) < 0.25, rng.normal(size=(n, n)), 0.0) + np.diag(np.arange(1.0, n + 1))

    def f(x):
        return 0.5 * x.T @ A @ x - np.sum(x)

    return Problem(f, (rng.normal(size=n),), hessian=lambda x: (A + A.T) / 2, pattern=(A != 0) | (A.T != 0))


@problem()
def kronecker_least_squares(n=3):
    """||kron(A, B) x - y||^2 in the two factors A and B."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=2 * n), rng.normal(size=2 * n)

    def f(A, B):
        return np.sum((np.kron(A, B) @ x - y)**2)

    # every entry of A shares an output row with every entry of B, and A[i] with A[i'] or B[k] with B[k'] never
    same_row_a = np.kron(np.eye(2), np.ones((2, 2))) != 0
    same_row_b = np.kron(np.eye(n), np.ones((n, n))) != 0
    cross = np.ones((4, n * n), bool)
    return Problem(f, (rng.normal(size=(2, 2)), rng.normal(size=(n, n))), argnums=(0, 1),
                   pattern=np.block([[same_row_a, cross], [cross.T, same_row_b]]))


@problem()
def matrix_factorisation(n=4):
    """||U V - Y||^2 with weights, data passed as arguments."""
    rng = np.random.default_rng(5)

    def f(U, V, Y, weight):
        return 0.5 * np.sum(weight * (U @ V - Y)**2) + 0.05 * (np.sum(U**2) + np.sum(V**2))

    def hessian(U, V, Y, weight):
        R = weight * (U @ V - Y)
        (m, k), n = U.shape, V.shape[1]
        UU = np.einsum("ij,aj,bj->iab", weight, V, V)
        VV = np.einsum("ij,ia,ib->jab", weight, U, U)
        H = np.zeros((m * k + k * n,) * 2)
        H[:m * k, :m * k] = np.einsum("iab,ij->iajb", UU, np.eye(m)).reshape(m * k, m * k)
        H[m * k:, m * k:] = np.einsum("jab,ij->ajbi", VV, np.eye(n)).reshape(k * n, k * n)
        UV = np.einsum("ij,ib,aj->iabj", weight, U, V) + np.einsum("ij,ab->iabj", R, np.eye(k))
        H[:m * k, m * k:] = UV.reshape(m * k, k * n)
        H[m * k:, :m * k] = UV.reshape(m * k, k * n).T
        return H + 0.1 * np.eye(len(H))

    args = (rng.normal(size=(n, 2)), rng.normal(size=(2, n + 1)), rng.normal(size=(n, n + 1)),
            rng.uniform(0.1, 1.0, (n, n + 1)))
    same_row = np.kron(np.eye(n), np.ones((2, 2))) != 0
    same_column = np.kron(np.ones((2, 2)), np.eye(n + 1)) != 0
    cross = np.ones((2 * n, 2 * n + 2), bool)
    return Problem(f, args, argnums=(0, 1), hessian=hessian,
                   pattern=np.block([[same_row, cross], [cross.T, same_column]]))


@problem("sparse")
def spring_network(n=6):
    """Springs along an edge list: a sparse graph through index arrays."""
    rng = np.random.default_rng(6)
    tail = np.concatenate([np.arange(n - 1), [0, 1]])
    head = np.concatenate([np.arange(1, n), [n - 1, n // 2]])
    rest, stiffness = rng.uniform(0.5, 1.0, len(tail)), rng.uniform(1, 2, len(tail))

    def f(p):
        stretch = np.sqrt(np.sum((p[tail] - p[head])**2, axis=1)) - rest
        return 0.5 * np.sum(stiffness * stretch**2)

    groups = [(2 * i, 2 * i + 1, 2 * j, 2 * j + 1) for i, j in zip(tail, head)]
    return Problem(f, (rng.normal(size=(n, 2)),), pattern=cliques(2 * n, groups))


@problem("sparse", "loops")
def power_flow(n=6):
    """Power-flow mismatch: a Python loop over a list of edges."""
    edges = [(i, (i + 1) % n) for i in range(n)] + [(0, n // 2)]
    rng = np.random.default_rng(7)
    g, b = rng.uniform(0.1, 0.3, len(edges)), rng.uniform(1, 2, len(edges))

    def f(theta, v):
        loss = 0.0
        for k, (i, j) in enumerate(edges):
            d = theta[i] - theta[j]
            flow = v[i]**2 * g[k] - v[i] * v[j] * (g[k] * np.cos(d) + b[k] * np.sin(d))
            loss += (flow - 0.1)**2
        return loss + np.sum((v - 1)**2)

    return Problem(f, (rng.normal(size=n) * 0.2, rng.uniform(0.9, 1.1, n)), argnums=(0, 1),
                   pattern=cliques(2 * n, [(i, j, n + i, n + j) for i, j in edges]))


@problem("sparse")
def bundle_adjustment(n=3):
    """Reprojection error: gathers of camera rows and point rows through index arrays."""
    rng = np.random.default_rng(8)
    n_points = n + 2
    camera = np.repeat(np.arange(n), 3)
    point = (camera + np.tile(np.arange(3), n)) % n_points
    seen = rng.normal(size=(len(camera), 2)) * 0.1

    def f(cameras, points):
        c, p = cameras[camera], points[point]
        cos, sin = np.cos(c[:, 0]), np.sin(c[:, 0])
        x = cos * p[:, 0] - sin * p[:, 1] + c[:, 1]
        y = sin * p[:, 0] + cos * p[:, 1] + c[:, 2]
        z = p[:, 2] + 4
        projected = c[:, 3:4] * np.stack([x / z, 1.1 * y / z], axis=1)
        return np.sum((projected - seen)**2)

    start = 4 * n
    pattern = cliques(start + 3 * n_points, [
        (*range(4 * c, 4 * c + 4), *range(start + 3 * p, start + 3 * p + 3)) for c, p in zip(camera, point)])
    shifts = 4 * np.arange(n)
    pattern[shifts + 1, shifts + 2] = pattern[shifts + 2, shifts + 1] = False  # one residual each
    return Problem(f, (rng.normal(size=(n, 4)) * 0.3 + [0, 0, 0, 1], rng.normal(size=(n_points, 3))), argnums=(0, 1),
                   pattern=pattern)


@problem("sparse")
def total_variation(n=5):
    """Image denoising with a smoothed total variation by np.diff."""
    rng = np.random.default_rng(9)
    image = rng.normal(size=(n, n))

    def f(u):
        across, down = np.diff(u, axis=1), np.diff(u, axis=0)
        return 0.5 * np.sum((u - image)**2) + 0.3 * (
            np.sum(np.sqrt(across**2 + 0.1)) + np.sum(np.sqrt(down**2 + 0.1)))

    index = np.arange(n * n).reshape(n, n)
    groups = [*zip(index[:, 1:].ravel(), index[:, :-1].ravel()), *zip(index[1:].ravel(), index[:-1].ravel())]
    return Problem(f, (rng.normal(size=(n, n)),), pattern=cliques(n * n, groups))


@problem("sparse")
def smoothed_absolute(n=6):
    """A smoothed absolute value, minimum and maximum of each variable against constants."""
    def f(x):
        return np.sum(np.sqrt(x**2 + 0.01)) + np.sum(np.maximum(x, 0.1)**3) + np.sum(np.minimum(x, 0.3)**2) \
            + np.sum(np.abs(x) ** 3 + np.clip(x, -0.5, 0.5)**2)

    return Problem(f, (np.linspace(-1.1, 1.4, n),), pattern=diagonal(n))


@problem("sparse")
def convolution(n=7):
    """Deconvolution least squares by np.convolve with a constant kernel."""
    rng = np.random.default_rng(10)
    kernel, y = np.array([0.5, 1.0, -0.3]), rng.normal(size=n)

    def f(x):
        return np.sum((np.convolve(x, kernel, mode="same") - y)**2) + 0.1 * np.sum(x**4)

    return Problem(f, (rng.normal(size=n),), pattern=banded(n, 1, 2))


@problem()
def blind_deconvolution(n=6):
    """Both the signal and the kernel unknown: np.convolve of two inputs."""
    rng = np.random.default_rng(11)
    y = rng.normal(size=n + 2)

    def f(x, k):
        return np.sum((np.convolve(x, k) - y)**2)

    pattern = np.block([[banded(n, 1, 2), np.ones((n, 3), bool)], [np.ones((3, n), bool), np.ones((3, 3), bool)]])
    return Problem(f, (rng.normal(size=n), rng.normal(size=3)), argnums=(0, 1), pattern=pattern)


@problem("sparse")
def periodic_laplacian(n=7):
    """A periodic chain by np.roll."""
    def f(x):
        laplacian = np.roll(x, 1) - 2 * x + np.roll(x, -1)
        return 0.5 * np.sum(laplacian**2) + 0.25 * np.sum((x**2 - 1)**2)

    return Problem(f, (np.cos(np.arange(n) * 1.1),), pattern=banded(n, 1, 2, n - 2, n - 1))


@problem()
def autocorrelation(n=9):
    """Low-autocorrelation sequences: squared sums of x[k:] * x[:-k]."""
    def f(x):
        return sum(np.sum(x[k:] * x[:-k])**2 for k in range(1, 4))

    return Problem(f, (np.sin(np.arange(n) + 1.0),), pattern=dense(n))


@problem("sparse")
def banded_products(n=9):
    """Banded products: every variable with its next three, by slices."""
    def f(x):
        return sum(np.sum(np.sin(x[k:] * x[:-k])) for k in (1, 3)) + np.sum(x**2)

    return Problem(f, (np.linspace(0.3, 1.7, n),), pattern=banded(n, 1, 3))


@problem("sparse")
def small_quadratics(n=4):
    """A batch of small quadratics by einsum, one dense block each."""
    rng = np.random.default_rng(12)

    def f(X, A, b):
        return 0.5 * np.einsum("bi,bij,bj->", X, A, X) + np.sum(b * X)

    def hessian(X, A, b):
        n, m = X.shape
        return np.einsum("bij,bc->bicj", (A + A.transpose(0, 2, 1)) / 2, np.eye(n)).reshape(n * m, n * m)

    return Problem(f, (rng.normal(size=(n, 3)), rng.normal(size=(n, 3, 3)), rng.normal(size=(n, 3))),
                   pattern=block_diagonal(*[3] * n), hessian=hessian)


@problem()
def trilinear_form(n=3):
    """A trilinear einsum of three inputs in a tuple."""
    rng = np.random.default_rng(13)
    T = rng.normal(size=(n, n + 1, 2))

    def f(parts):
        a, b, c = parts
        return np.einsum("ijk,i,j,k->", T, a, b, c)

    def hessian(parts):
        a, b, c = parts
        ab, ac, bc = T @ c, np.einsum("ijk,j->ik", T, b), np.einsum("ijk,i->jk", T, a)
        return np.block([[np.zeros((len(a), len(a))), ab, ac], [ab.T, np.zeros((len(b), len(b))), bc],
                         [ac.T, bc.T, np.zeros((len(c), len(c)))]])

    return Problem(f, ((rng.normal(size=n), rng.normal(size=n + 1), rng.normal(size=2)),), hessian=hessian,
                   pattern=~block_diagonal(n, n + 1, 2))


@problem()
def fourier_fit(n=5):
    """Fit of frequencies and amplitudes through np.cos(np.outer(...))."""
    rng = np.random.default_rng(14)
    t = np.linspace(0, 1, 12)
    y = rng.normal(size=12)

    def f(params):
        model = np.cos(np.outer(t, params["frequency"])) @ params["amplitude"]
        return np.sum((model - y)**2)

    return Problem(f, ({"amplitude": rng.normal(size=n), "frequency": np.linspace(1, 9, n)},), pattern=dense(2 * n))


@problem("sparse")
def untaken_branches(n=6):
    """Selections whose other branch is sqrt of a negative number and log of zero."""
    def f(x):
        root = np.where(x > 0, np.sqrt(x), x**2)
        logarithm = np.where(x == 0, 0.0, x * np.log(np.abs(x)))
        return np.sum(root + logarithm)

    at_zero = np.where(np.arange(n) % 3 == 1, 0.0, np.linspace(-1.1, 1.4, n))
    return Problem(f, (np.linspace(-0.9, 1.6, n),), pattern=diagonal(n), second=(at_zero,))


@problem("loops")
def products():
    """Products and running products."""
    def f(x):
        return np.prod(x) + np.sum(np.cumprod(x)[:3] * x[-1])

    return Problem(f, (np.array([0.5, -1.2, 2.0, 0.7, 1.1]),), pattern=dense(5) & ~diagonal(5))


@problem()
def facility_location(n=5):
    """Sum of distances by np.linalg.norm, and a norm of everything."""
    rng = np.random.default_rng(15)
    anchors = rng.normal(size=(n, 3))

    def f(x):
        return np.sum(np.linalg.norm(x - anchors, axis=1)) + np.linalg.norm(x)

    def hessian(x):
        d = np.vstack([x - anchors, x])
        r = np.linalg.norm(d, axis=1)
        return np.eye(3) * np.sum(1 / r) - np.einsum("ki,kj,k->ij", d, d, r**-3.0)

    return Problem(f, (rng.normal(size=3) + 0.3,), pattern=dense(3), hessian=hessian)


@problem()
def softmax_weighted(n=6):
    """A softmax-weighted mean, stabilised by subtracting the maximum."""
    def f(x):
        w = np.exp(x - np.max(x))
        w = w / w.sum()
        return np.sum(w * x**2) + 0.5 * np.max(x)**2

    return Problem(f, (np.linspace(-0.8, 1.7, n)[::-1].copy(),), pattern=dense(n))


@problem()
def log_sum_exp(n=6):
    """Log-sum-exp of an affine map."""
    rng = np.random.default_rng(16)
    A, b = rng.normal(size=(n + 2, n)), rng.normal(size=n + 2)

    def f(x):
        return np.log(np.sum(np.exp(A @ x + b)))

    def hessian(x):
        p = np.exp(A @ x + b)
        p = p / p.sum()
        return A.T @ (np.diag(p) - np.outer(p, p)) @ A

    return Problem(f, (rng.normal(size=n),), pattern=dense(n), hessian=hessian)


@problem("sparse")
def vectorised_stack(n=6):
    """Columns put together and taken apart again: stack, concatenate, transpose, ravel."""
    def f(x):
        padded = np.concatenate([np.array([0.5]), x, np.array([-0.5])])
        windows = np.stack([padded[:-2], padded[1:-1], padded[2:]])
        curvature = windows.T @ np.array([1.0, -2.0, 1.0])
        return np.sum(curvature**2) + np.sum(np.tanh(windows[0] * windows[1]))

    return Problem(f, (np.linspace(0.2, 1.4, n),), pattern=banded(n, 1, 2))
