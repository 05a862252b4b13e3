"""Likelihoods and losses of statistics, written with data as arguments or closed over."""

import numpy as np
from problem import Problem, banded, dense, diagonal, problem
from scipy import special


@problem()
def logistic_regression(n=4):
    """Logistic regression, data as arguments, log(1 + exp) by logaddexp."""
    rng = np.random.default_rng(20)

    def f(w, X, y):
        z = X @ w
        return np.sum(np.logaddexp(0, z) - y * z) + 0.5 * np.dot(w, w)

    def hessian(w, X, y):
        p = 1 / (1 + np.exp(-X @ w))
        return X.T @ ((p * (1 - p))[:, None] * X) + np.eye(len(w))

    X = rng.normal(size=(3 * n, n))
    y = (rng.random(3 * n) < 0.5) * 1.0
    return Problem(f, (rng.normal(size=n), X, y), hessian=hessian, pattern=dense(n))


@problem()
def softmax_regression(n=3):
    """Multinomial regression with a dict of weights and bias, integer labels picked by fancy indexing."""
    rng = np.random.default_rng(21)

    def f(params, X, labels):
        z = X @ params["W"] + params["b"]
        z = z - z.max(axis=1, keepdims=True)
        log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
        return -np.mean(log_p[np.arange(len(labels)), labels])

    def hessian(params, X, labels):
        z = X @ params["W"] + params["b"]
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        S = (np.einsum("si,ij->sij", p, np.eye(p.shape[1])) - np.einsum("si,sj->sij", p, p)) / len(X)
        X1 = np.concatenate([X, np.ones((len(X), 1))], axis=1)
        size = X1.shape[1] * p.shape[1]
        return np.einsum("sa,sij,sb->aibj", X1, S, X1).reshape(size, size)

    params = {"W": rng.normal(size=(n, 3)), "b": rng.normal(size=3)}
    return Problem(f, (params, rng.normal(size=(8, n)), np.arange(8) % 3), hessian=hessian, pattern=dense(3 * n + 3))


@problem()
def poisson_regression(n=4):
    """Poisson regression."""
    rng = np.random.default_rng(22)
    X = rng.normal(size=(10, n)) * 0.5
    counts = rng.poisson(2.0, 10)

    def f(beta):
        eta = X.dot(beta)
        return (np.exp(eta) - counts * eta).sum()

    return Problem(f, (rng.normal(size=n),), pattern=dense(n),
                   hessian=lambda beta: X.T @ (np.exp(X @ beta)[:, None] * X))


@problem("special")
def negative_binomial():
    """Negative binomial likelihood: gammaln of a parameter."""
    counts = np.array([0.0, 1.0, 3.0, 2.0, 7.0, 4.0])

    def f(theta):
        r, p = np.exp(theta[0]), 1 / (1 + np.exp(-theta[1]))
        return -np.sum(special.gammaln(counts + r) - special.gammaln(r) + r * np.log(p) + counts * np.log1p(-p))

    return Problem(f, (np.array([0.4, -0.3]),), pattern=dense(2))


@problem("special", "sparse")
def special_functions(n=6):
    """Elementwise special functions of SciPy."""
    def f(x):
        return np.sum(special.erf(x) * x + special.gammaln(x + 3) + special.expit(x)**2 + special.erfc(x))

    return Problem(f, (np.linspace(-1.3, 1.6, n),), pattern=diagonal(n))


@problem("sparse")
def elementary_functions(n=6):
    """Every common elementwise function of NumPy once."""
    def f(x):
        angles = np.sin(x) + np.cos(2 * x) + np.tan(x / 3) + np.arcsin(x / 3) + np.arccos(x / 3) + np.arctan(x)
        hyperbolic = np.sinh(x) + np.cosh(x) + np.tanh(x) + np.arcsinh(x) + np.arctanh(x / 3) + np.arccosh(x**2 + 2)
        powers = np.sqrt(x + 3) + np.cbrt(x + 3) + (x + 3)**1.7 + 2.0**x + 1 / (x + 3) + np.reciprocal(x + 4)
        logarithms = np.exp(x) + np.expm1(x) + np.exp2(x) + np.log(x + 3) + np.log1p(x + 3) + np.log2(x + 3)
        rest = np.log10(x + 3) + np.arctan2(x, x + 3) + np.hypot(x, 2.0) + np.sign(x) * x**3 + np.square(x)
        return np.sum(angles + hyperbolic + powers + logarithms + rest)

    return Problem(f, (np.linspace(-1.4, 1.5, n),), pattern=diagonal(n))


@problem()
def cox_partial_likelihood(n=3):
    """Cox partial likelihood: risk sets by a reversed cumulative sum."""
    rng = np.random.default_rng(23)

    def f(beta, X, event):
        eta = X @ beta
        at_risk = np.cumsum(np.exp(eta)[::-1])[::-1]
        return -np.sum(event * (eta - np.log(at_risk)))

    return Problem(f, (rng.normal(size=n), rng.normal(size=(9, n)), (np.arange(9) % 3 > 0) * 1.0), pattern=dense(n))


@problem("linalg")
def gaussian_process():
    """Marginal likelihood of a Gaussian process in three hyperparameters, by Cholesky and solve."""
    rng = np.random.default_rng(24)

    def f(theta, t, y):
        length, scale, noise = np.exp(theta)
        distance = (t[:, None] - t[None, :]) / length
        K = scale * np.exp(-0.5 * distance**2) + (noise + 1e-3) * np.eye(len(t))
        L = np.linalg.cholesky(K)
        alpha = np.linalg.solve(L.T, np.linalg.solve(L, y))
        return 0.5 * y @ alpha + np.sum(np.log(np.diag(L))) + 0.5 * len(t) * np.log(2 * np.pi)

    return Problem(f, (np.array([-0.5, 0.2, -1.0]), np.linspace(0, 2, 6), rng.normal(size=6)), pattern=dense(3),
                   single=1e-3)


@problem("linalg")
def gaussian_precision(n=3):
    """Gaussian likelihood of samples in their precision matrix, by slogdet."""
    rng = np.random.default_rng(25)
    X = rng.normal(size=(7, n))
    S = X.T @ X / len(X)

    def f(P):
        return 0.5 * np.trace(S @ P) - 0.5 * np.linalg.slogdet(P)[1]

    def hessian(P):
        Q = np.linalg.inv(P)
        return 0.5 * np.einsum("jk,li->ijkl", Q, Q).reshape(n * n, n * n)

    return Problem(f, (np.eye(n) * 2 + 0.3 * rng.normal(size=(n, n)),), hessian=hessian, pattern=dense(n * n))


@problem("linalg")
def triangular_covariance():
    """A covariance parametrised by a triangular factor through np.tril, with inv."""
    rng = np.random.default_rng(26)
    X = rng.normal(size=(6, 3))

    def f(A):
        L = np.tril(A) + 2 * np.eye(3)
        C = L @ L.T
        return 0.5 * np.einsum("si,ij,sj->", X, np.linalg.inv(C), X) + 0.5 * len(X) * np.log(np.linalg.det(C))

    lower = np.tril(np.ones((3, 3), bool)).ravel()
    return Problem(f, (rng.normal(size=(3, 3)) * 0.4,), pattern=np.outer(lower, lower))


@problem()
def mixture_of_gaussians(n=9):
    """A mixture of three Gaussians, log-sum-exp by hand."""
    rng = np.random.default_rng(27)

    def f(logits, mean, log_sigma, data):
        log_w = logits - np.log(np.sum(np.exp(logits)))
        z = (data[:, None] - mean) / np.exp(log_sigma)
        log_p = log_w - log_sigma - 0.5 * z**2
        top = np.max(log_p, axis=1)
        return -np.sum(top + np.log(np.sum(np.exp(log_p - top[:, None]), axis=1)))

    return Problem(f, (rng.normal(size=3) * 0.3, np.array([-1.5, 0.1, 1.7]), rng.normal(size=3) * 0.2,
                       rng.normal(size=n)), argnums=(0, 1, 2), pattern=dense(9))


@problem()
def two_component_mixture(n=8):
    """A mixture of two Gaussians with np.logaddexp and scalar parameters in a list."""
    data = np.linspace(-2, 3, n)

    def f(params):
        mix, m1, m2 = params
        first = np.log(mix) - 0.5 * (data - m1)**2
        second = np.log(1 - mix) - 0.5 * (data - m2)**2
        return -np.logaddexp(first, second).sum()

    return Problem(f, ([0.4, -1.0, 1.5],), pattern=dense(3))


@problem("special")
def student_t_regression(n=3):
    """Student-t errors with unknown scale and degrees of freedom, parameters sliced from one vector."""
    rng = np.random.default_rng(28)
    X, y = rng.normal(size=(8, n)), rng.normal(size=8)

    def f(theta):
        beta, sigma, nu = theta[:-2], np.exp(theta[-2]), np.exp(theta[-1])
        z = (y - X @ beta) / sigma
        constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu * np.pi) - np.log(sigma)
        return -np.sum(constant - (nu + 1) / 2 * np.log(1 + z**2 / nu))

    return Problem(f, (np.append(rng.normal(size=n) * 0.5, [0.1, 1.2]),), pattern=dense(n + 2))


@problem("special")
def probit_regression(n=3):
    """Probit regression through erf."""
    rng = np.random.default_rng(29)
    X, sign = rng.normal(size=(7, n)), np.where(np.arange(7) % 2, 1.0, -1.0)

    def f(w):
        return -np.sum(np.log(0.5 * (1 + special.erf(sign * (X @ w) / np.sqrt(2)))))

    return Problem(f, (rng.normal(size=n) * 0.4,), pattern=dense(n))


@problem("loops")
def autoregression(n=12):
    """ARMA(1,1): the innovations by a recursion over time."""
    y = np.sin(np.arange(n) * 0.7) + 0.2

    def f(theta):
        phi, psi, c = theta
        e = 0.0
        loss = 0.0
        for t in range(1, len(y)):
            e = y[t] - c - phi * y[t - 1] - psi * e
            loss = loss + e**2
        return loss

    return Problem(f, (np.array([0.5, 0.3, 0.1]),), pattern=dense(3))


@problem("loops")
def garch(n=12):
    """GARCH(1,1) likelihood: the variance by a recursion over time."""
    returns = np.cos(np.arange(n) * 1.3)

    def f(theta):
        omega, alpha, beta = theta[0], theta[1], theta[2]
        h = 0.5
        total = 0.0
        for r in returns:
            total += np.log(h) + r**2 / h
            h = omega + alpha * r**2 + beta * h
        return 0.5 * total

    return Problem(f, (np.array([0.1, 0.3, 0.5]),), pattern=dense(3))


@problem()
def logistic_growth(n=9):
    """Least-squares fit of logistic growth in three parameters."""
    t = np.linspace(0, 4, n)
    y = 2 / (1 + np.exp(-1.5 * (t - 2))) + 0.1 * np.cos(5 * t)

    def f(p):
        model = p[0] / (1 + np.exp(-p[1] * (t - p[2])))
        return np.sum((model - y)**2)

    return Problem(f, (np.array([1.8, 1.2, 1.9]),), pattern=dense(3))


@problem()
def elastic_residuals(n=5):
    """A pseudo-Huber loss, standardised by the mean and variance of the prediction."""
    rng = np.random.default_rng(30)
    X, y = rng.normal(size=(8, n)), rng.normal(size=8)

    def f(w):
        z = X @ w
        z = (z - np.mean(z)) / np.sqrt(np.var(z) + 0.1)
        return np.sum(np.sqrt(1 + (z - y)**2) - 1)

    return Problem(f, (rng.normal(size=n),), pattern=dense(n))


@problem("sparse")
def random_walk_smoothing(n=7):
    """A state-space smoother: Gaussian steps, Poisson observations."""
    counts = (np.arange(n) * 7) % 5

    def f(state, log_tau):
        tau = np.exp(log_tau)
        steps = state[1:] - state[:-1]
        return np.sum(np.exp(state) - counts * state) + 0.5 * tau * np.sum(steps**2) - 0.5 * (len(state) - 1) * log_tau

    border = np.ones((n, 1), bool)
    return Problem(f, (np.linspace(-0.5, 0.9, n)**2, np.array(0.3)), argnums=(0, 1),
                   pattern=np.block([[banded(n, 1), border], [border.T, np.ones((1, 1), bool)]]))
