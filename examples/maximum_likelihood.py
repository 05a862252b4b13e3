"""Maximum likelihood with standard errors from the inverse Hessian, against published estimates.

    python -m examples.maximum_likelihood

Three classic data sets, small enough to stand here. For each, the negative log-likelihood is plain NumPy; Newton's
method minimises it with value, gradient and Hessian from one kernel; and the inverse of the Hessian at the minimum
(the observed Fisher information) gives the standard errors. The Poisson model has a closed-form Fisher information as
well, X^T diag(mu) X, which the Hessian must equal to rounding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.special import gammaln

from symhess import hessian_jit


@dataclasses.dataclass(frozen=True)
class Model:
    """A likelihood with its data and what has been published: name -> (estimate, standard error)."""

    title: str
    source: str
    negative_log_likelihood: Callable
    data: tuple[np.ndarray, ...]
    start: np.ndarray
    published: dict[str, tuple[float, float]]


def poisson(beta, X, y):
    """Counts with log mean X beta."""
    eta = X @ beta
    return np.sum(np.exp(eta) - y * eta + gammaln(y + 1))


def gamma(theta, X, y):
    """Positive responses with mean 1 / (X beta) and shape exp(theta[-1])."""
    beta, shape = theta[:-1], np.exp(theta[-1])
    rate = shape * (X @ beta)
    return -np.sum(shape * np.log(rate) - gammaln(shape) + (shape - 1) * np.log(y) - rate * y)


def weibull(theta, X, t, died):
    """Survival times, log t = X beta + exp(theta[-1]) * (extreme value); who has not died was censored at t."""
    log_scale = theta[-1]
    z = (np.log(t) - X @ theta[:-1]) / np.exp(log_scale)
    return np.sum(np.exp(z) - died * (z - log_scale - np.log(t)))


def randomised_trial() -> Model:
    outcome, treatment = np.tile(np.arange(3), 3), np.repeat(np.arange(3), 3)
    X = np.column_stack([np.ones(9), outcome == 1, outcome == 2, treatment == 1, treatment == 2]).astype(float)
    y = np.array([18.0, 17, 15, 20, 10, 20, 25, 13, 12])
    return Model(
        "Poisson regression: counts by outcome and treatment",
        "Dobson, An Introduction to Generalized Linear Models (1990), p. 93",
        poisson, (X, y), np.array([np.log(y.mean()), 0, 0, 0, 0]),
        {"intercept": (3.045, 0.1709), "outcome 2": (-0.4543, 0.2022), "outcome 3": (-0.2930, 0.1927),
         "treatment 2": (0.0, 0.2000), "treatment 3": (0.0, 0.2000)},
    )


def clotting_times() -> Model:
    plasma = np.array([5.0, 10, 15, 20, 30, 40, 60, 80, 100])
    y = np.array([118.0, 58, 42, 35, 27, 25, 21, 19, 18])
    X = np.column_stack([np.ones(9), np.log(plasma)])
    rescaled = np.sqrt(0.0018583 / 0.0024461)  # published errors use Pearson's estimate of the dispersion
    return Model(
        "gamma regression with reciprocal link: clotting times of blood",
        "McCullagh and Nelder, Generalized Linear Models (1989), pp. 300-302; their errors at the ML dispersion",
        gamma, (X, y), np.array([1 / y.mean(), 0.0, 0.0]),
        {"intercept": (-0.016554, 0.00092754 * rescaled), "log(plasma)": (0.015343, 0.00041496 * rescaled)},
    )


def leukaemia_remission() -> Model:
    treated = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    relapsed = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    control = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    X = np.column_stack([np.ones(42), np.repeat([1.0, 0.0], 21)])
    t, died = np.array(treated + control, float), np.array(relapsed + [1] * 21, float)
    return Model(
        "Weibull regression with censoring: weeks of remission in leukaemia",
        "Freireich et al., Blood 21 (1963); estimates as in Venables and Ripley, Modern Applied Statistics with S",
        weibull, (X, t, died), np.array([np.log(t.mean()), 0.0, 0.0]),
        {"intercept": (2.248, 0.166), "6-MP": (1.267, 0.311), "log(scale)": (-0.312, 0.147)},
    )


def newton_step(g: np.ndarray, H: np.ndarray) -> np.ndarray:
    """|H|^-1 g, with the absolute values of the eigenvalues: downhill also where H is indefinite."""
    eigenvalues, vectors = np.linalg.eigh(H)
    return vectors @ (vectors.T @ g / abs(eigenvalues))


def fit(model: Model, steps: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimates, standard errors, and the Hessian at the estimates, by Newton's method with step halving.

    A step into NaN, where a rate would be negative, does not compare as lower and is halved as well.
    """
    f, theta = hessian_jit(model.negative_log_likelihood), model.start
    for _ in range(steps):
        value, g, H = f.value_grad_hessian(theta, *model.data)
        step = newton_step(g, H)
        if g @ step < 1e-20 * abs(value):
            return theta, np.sqrt(np.diag(np.linalg.inv(H))), H
        shorter = (theta - 0.5**k * step for k in range(40))
        theta = next(t for t in shorter if f.value(t, *model.data) <= value + 1e-13 * abs(value))
    raise ArithmeticError(f"{model.title}: no convergence in {steps} steps")


def main() -> None:
    worst = 0.0
    for model in (randomised_trial(), clotting_times(), leukaemia_remission()):
        estimates, errors, H = fit(model)
        print(f"{model.title}\n  {model.source}")
        print(f"  {'':14}{'estimate':>12}{'published':>12}{'std. error':>12}{'published':>12}")
        for (name, (estimate, error)), x, e in zip(model.published.items(), estimates, errors):
            print(f"  {name:14}{x:12.5f}{estimate:12.5f}{e:12.5f}{error:12.5f}")
            worst = max(worst, abs(x - estimate) / error, abs(e - error) / error)
        if model.negative_log_likelihood is poisson:
            X, _ = model.data
            fisher = X.T * np.exp(X @ estimates) @ X
            print(f"  Hessian against X^T diag(mu) X: largest difference {abs(H - fisher).max():.1e}")
        print()
    print(f"largest deviation from the published figures: {worst:.4f} standard errors")


if __name__ == "__main__":
    main()
