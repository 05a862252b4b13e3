"""Models fitted to data: the nonlinear regressions of the NIST reference datasets and their like, and likelihoods.

The models are the published ones; datasets are given in full where they are short, and thinned out where they are not.
"""

import collections
import dataclasses
import functools
import math
import operator

import numpy as np
from published import published
from scipy import special


def residual_sum(model, t, y):
    """sum (y - model(t))^2."""
    return sum((yi - model(ti)) ** 2 for ti, yi in zip(t, y))


def vectorised(model):
    """A model of one number, as a loss over arrays."""
    @functools.wraps(model)
    def loss(b, t, y):
        predicted = np.array([model(b, ti) for ti in t])
        return np.sum((y - predicted) ** 2)

    return loss


MISRA = (np.array([77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]),
         np.array([10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]))
RAT42 = ([9, 14, 21, 28, 42, 57, 63, 70, 79], [8.93, 10.8, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08])
RAT43 = (range(1, 16), [16.08, 33.83, 65.80, 97.20, 191.55, 326.20, 386.87, 520.53, 590.03, 651.92, 724.93, 699.56,
                        689.96, 637.56, 717.41])
BOXBOD = np.array([[1, 109], [2, 149], [3, 149], [5, 191], [7, 213], [10, 224]], float)
DANWOOD = {1.309: 2.138, 1.471: 3.421, 1.490: 3.597, 1.565: 4.340, 1.611: 4.882, 1.680: 5.660}
GRID = np.linspace(0.2, 3.0, 8)


# -- regressions ---------------------------------------------------------------------------------------------------


@published(500.0, 1e-4)
def misra1a(b):
    t, y = MISRA
    return np.sum((y - b[0] * (1 - np.exp(-b[1] * t))) ** 2)


@published(500.0, 1e-4)
def misra1b(b):
    t, y = MISRA
    r = np.empty_like(t)
    for i in range(len(t)):
        r[i] = y[i] - b[0] * (1 - (1 + b[1] * t[i] / 2) ** -2)
    return r @ r


@published(500.0, 1e-4)
def misra1c(b):
    t, y = MISRA
    return residual_sum(lambda ti: b[0] * (1 - (1 + 2 * b[1] * ti) ** -0.5), t, y)


@published(500.0, 1e-4)
def misra1d(b):
    return np.linalg.norm(MISRA[1] - b[0] * b[1] * MISRA[0] / (1 + b[1] * MISRA[0])) ** 2


@published(0.8, 3.9)
def danwood(b):
    return sum((y - b[0] * x ** b[1]) ** 2 for x, y in DANWOOD.items())


@published(100.0, 0.75)
def boxbod(b):
    loss = 0.0
    for t, y in BOXBOD:
        loss += (y - b[0] * (1 - math.exp(-b[1] * t))) ** 2
    return loss


@published(72.0, 2.5, 0.07)
def rat42(b):
    t, y = map(np.asarray, RAT42)
    return ((y - b[0] / (1 + np.exp(b[1] - b[2] * t))) ** 2).sum()


@published(700.0, 5.0, 0.75, 1.3)
def rat43(b):
    total = 0.0
    for t, y in zip(*RAT43):
        total = total + (y - b[0] * (1 + math.exp(b[1] - b[2] * t)) ** (-1 / b[3])) ** 2
    return total


@published(1.0, 2.0)
def eckerle_peak(b):
    gauss = lambda t: np.exp(-0.5 * ((t - b[1]) / b[0]) ** 2) / b[0]
    return np.mean((gauss(GRID) - np.sin(GRID)) ** 2)


@published(0.1, 0.6, 0.9, 3.0)
def lanczos_pair(b):
    y = 0.0951 * np.exp(-GRID) + 0.8607 * np.exp(-3 * GRID)
    model = np.zeros(len(GRID))
    for k in range(0, 4, 2):
        model += b[k] * np.exp(-b[k + 1] * GRID)
    return np.sum((model - y) ** 2)


@published(0.1, 0.2, 0.3)
def chwirut2(b):
    y = np.array([79.9, 64.5, 46.2, 33.1, 24.4, 17.2, 12.8, 9.7]) / 100
    return np.sum((y - np.exp(-b[0] * GRID) / (b[1] + b[2] * GRID)) ** 2)


@published(1.2, -0.3, 0.8, 0.2, 0.4, 0.1, 0.05)
def hahn1(b):
    top = np.polyval(b[3::-1], GRID)
    bottom = 1 + GRID * np.polyval(b[:3:-1], GRID)
    return np.sum((top / bottom - np.sqrt(GRID)) ** 2)


@published(1.3, 0.2, 0.3, 0.1, 0.05)
def kirby2(b):
    P, Q = np.polynomial.polynomial.polyvander(GRID, 2) @ b[:3], 1 + b[3] * GRID + b[4] * GRID**2
    return np.dot(P / Q - 1, P / Q - 1)


@published(2.5, 0.4, 0.2)
def nelson(b):
    hours, heat = np.meshgrid([1.0, 2, 4, 8], [1.8, 2.25, 2.75])
    r = np.log(15 - hours * heat / 3) - (b[0] - b[1] * hours * np.exp(-b[2] * heat))
    return np.sum(r.ravel() ** 2)


@published(0.2, -0.5, 1.8, 0.3)
def roszman1(b):
    r = [0.3 - b[0] - b[1] * t - np.arctan2(b[2], t - b[3]) / np.pi for t in GRID]
    return np.array(r) @ np.array(r)


@published(10.0, 3.0, 0.5, 44.0, -1.0, 0.5, 26.0, -0.1, 1.4)
def enso(b):
    t = np.arange(1.0, 25.0)
    y = 10 + 3 * np.cos(2 * np.pi * t / 12)
    model = b[0] + b[1] * np.cos(2 * np.pi * t / 12) + b[2] * np.sin(2 * np.pi * t / 12)
    for amplitude_c, amplitude_s, period in ((b[4], b[5], b[3]), (b[7], b[8], b[6])):
        model = model + amplitude_c * np.cos(2 * np.pi * t / period) + amplitude_s * np.sin(2 * np.pi * t / period)
    return np.sum((y - model) ** 2)


@published(1.5, 0.4, 2.0, 0.8, 1.2, 0.4)
def gauss_two_peaks(b):
    peaks = b.reshape(2, 3)
    model = sum(h * np.exp(-((GRID - c) ** 2) / w**2) for h, c, w in peaks)
    return np.sum((model - 1 / (1 + GRID)) ** 2)


@published(2.0, 0.5, 1.0)
def bennett5(b):
    return vectorised(lambda p, t: p[0] * (p[1] + t) ** (-1 / p[2]))(b, GRID, 1 / (1 + GRID))


@published(212.7, 0.0641)
def michaelis_menten(b):
    """Treloar's puromycin data."""
    substrate = np.repeat([0.02, 0.06, 0.11, 0.22, 0.56, 1.10], 2)
    rate = np.array([76, 47, 97, 107, 123, 139, 159, 152, 191, 201, 207, 200.0])
    return np.sum((rate - b[0] * substrate / (b[1] + substrate)) ** 2)


@published(0.1, 0.9, 1.8, 1.2)
def hill_dose_response(b):
    bottom, top, ec50, n = b
    effect = bottom + (top - bottom) / (1 + (ec50 / GRID) ** n)
    return np.sum((effect - np.tanh(GRID / 2)) ** 2)


@published(1.2, 0.3, 2.0)
def gompertz(b):
    return sum((math.tanh(t) - b[0] * math.exp(-b[1] * math.exp(-b[2] * t))) ** 2 for t in GRID.tolist())


@published(0.7, 1.2, 0.3)
def von_bertalanffy(b):
    return np.sum((np.log1p(GRID) - b[0] * (1 - np.exp(-b[1] * (GRID - b[2])))) ** 2)


@published(0.5, 1.5, 2.0)
def hyperbolic_tangent_light_curve(b):
    """Jassby and Platt (1976)."""
    r = np.zeros((2, len(GRID)))
    r[0, :] = b[0] * np.tanh(b[1] * GRID / b[0]) - b[2]
    r[1] = -0.1 * GRID
    return np.sum(r.sum(axis=0) ** 2)


# -- robust losses and penalties -----------------------------------------------------------------------------------

LINE = np.column_stack([GRID, 2 * GRID + 0.3 * np.sin(9 * GRID)])
LINE[3, 1] += 4.0


@published(1.7, 0.4)
def huber_line(b):
    def huber(r, delta=1.0):
        return 0.5 * r**2 if abs(r) <= delta else delta * (abs(r) - 0.5 * delta)

    return np.sum(np.vectorize(huber)(LINE[:, 1] - b[0] * LINE[:, 0] - b[1]))


@published(1.7, 0.4)
def tukey_biweight_line(b):
    total, c = 0.0, 2.5
    for t, y in LINE:
        u = (y - b[0] * t - b[1]) / c
        if abs(u) < 1:
            total += c**2 / 6 * (1 - (1 - u**2) ** 3)
        else:
            total += c**2 / 6
    return total


@published(1.7, 0.4)
def least_trimmed_squares(b):
    r2 = np.array(sorted((y - b[0] * t - b[1]) ** 2 for t, y in LINE))
    return np.sum(r2[:5])


@published(1.7, 0.4)
def cauchy_loss_line(b):
    return np.sum(np.log1p((LINE[:, 1] - b[0] * LINE[:, 0] - b[1]) ** 2))


@published(0.4, -0.8, 0.3)
def elastic_net_smooth(b):
    X = np.vander(GRID, 3)
    r = X.dot(b) - np.cos(GRID)
    return r.dot(r) / 2 + 0.3 * sum(math.sqrt(v * v + 1e-2) for v in b) + 0.1 * np.square(b).sum()


@published(0.5, 0.2, -0.4, 0.3, 0.6, 0.1)
def total_variation_denoising(x):
    noisy = [0.4, 0.3, -0.2, 0.1, 0.7, 0.2]
    jumps = np.hypot(x[1:] - x[:-1], 0.1)
    return 0.5 * np.sum(np.subtract(x, noisy) ** 2) + 0.4 * np.add.reduce(jumps)


@published([0.1] * 6)
def smoothing_spline_second_differences(x):
    return np.sum((x - np.sin(np.arange(6))) ** 2) + 5 * np.sum(np.diff(x, n=2) ** 2)


# -- likelihoods ---------------------------------------------------------------------------------------------------

TIMES = np.array([1.2, 0.4, 2.8, 0.9, 1.7, 3.3])
OBSERVED = [True, True, False, True, True, False]
COUNTS = np.array([3, 0, 2, 5, 1, 1])


@dataclasses.dataclass(frozen=True)
class Survival:
    """Right-censored times."""

    times: tuple
    observed: tuple

    def log_likelihood(self, log_hazard, cumulative):
        total = 0.0
        for t, seen in zip(self.times, self.observed):
            total -= cumulative(t)
            if seen:
                total += log_hazard(t)
        return total


SURVIVAL = Survival(tuple(TIMES), tuple(OBSERVED))


@published(1.1, 1.8)
def weibull_censored(b):
    return -SURVIVAL.log_likelihood(lambda t: math.log(b[0] / b[1]) + (b[0] - 1) * math.log(t / b[1]),
                                    lambda t: (t / b[1]) ** b[0])


@published(0.4, 0.9)
def gompertz_makeham_censored(b):
    return -SURVIVAL.log_likelihood(lambda t: math.log(b[0]) + b[1] * t, lambda t: b[0] / b[1] * math.expm1(b[1] * t))


@published(1.1, 1.8)
def log_logistic_censored(b):
    z = lambda t: (t / b[1]) ** b[0]
    hazard = lambda t: math.log(b[0] / t) + math.log(z(t) / (1 + z(t)))
    return -SURVIVAL.log_likelihood(hazard, lambda t: math.log1p(z(t)))


@published(0.3, -0.4)
def cox_partial_likelihood(b):
    X = np.column_stack([np.sin(TIMES), COUNTS / 3])
    order = np.argsort(TIMES)
    risk = X[order] @ b
    seen = np.array(OBSERVED)[order]
    total = 0.0
    for k in range(len(order)):
        if seen[k]:
            total += risk[k] - np.log(np.sum(np.exp(risk[k:])))
    return -total


@published(0.4, 0.3)
def poisson_regression(b):
    eta = b[0] + b[1] * TIMES
    return np.sum(np.exp(eta) - COUNTS * eta)


@published(0.4, 0.3, 1.5)
def negative_binomial_regression(b):
    mu = np.exp(b[0] + b[1] * TIMES)
    r = b[2]
    return -sum(special.gammaln(k + r) - special.gammaln(r) - math.lgamma(k + 1) + r * np.log(r / (r + m))
                + k * np.log(m / (r + m)) for k, m in zip(COUNTS.tolist(), mu))


@published(0.2, 1.1)
def zero_inflated_poisson(b):
    share, rate = special.expit(b[0]), np.exp(b[1])
    zeros, rest = COUNTS == 0, COUNTS[COUNTS > 0]
    logs = np.log(1 - share) - rate + rest * np.log(rate) - special.gammaln(rest + 1)
    return -(zeros.sum() * np.log(share + (1 - share) * np.exp(-rate)) + logs.sum())


@published(0.3, -0.2, 0.5)
def logistic_regression_by_rows(b):
    X, labels = np.c_[np.ones(6), TIMES, COUNTS], [1, 0, 0, 1, 1, 0]
    loss = []
    for row, label in zip(X, labels):
        margin = np.dot(row, b) * (1 if label else -1)
        loss.append(np.log1p(np.exp(-margin)))
    return np.mean(loss)


@published(0.3, -0.2, 0.1, 0.4)
def softmax_regression(b):
    logits = np.outer(TIMES, np.append(0.0, b[:2])) + np.concatenate([[0.0], b[2:]])
    labels = [0, 1, 2, 1, 0, 2]
    top = np.max(logits, axis=1, keepdims=True)
    normaliser = top[:, 0] + np.log(np.sum(np.exp(logits - top), axis=1))
    return np.sum(normaliser - logits[np.arange(6), labels])


@published(0.2, -0.5, 1.0, 0.8)
def gaussian_mixture_two(b):
    weight = special.expit(b[0])

    def density(z):
        first = weight * np.exp(-0.5 * (z - b[1]) ** 2)
        second = (1 - weight) * np.exp(-0.5 * ((z - b[2]) / b[3]) ** 2) / b[3]
        return first + second

    return -sum(np.log(density(z)) for z in TIMES)


@published(0.4, 0.3, 0.2)
def garch_1_1(b):
    omega, alpha, beta = b
    returns = [0.5, -1.1, 0.3, 0.9, -0.4, 1.6]
    variance, total = 1.0, 0.0
    for r in returns:
        total += math.log(variance) + r**2 / variance
        variance = omega + alpha * r**2 + beta * variance
    return 0.5 * total


@published(0.5, -0.3, 0.8)
def arma_conditional_sum(b):
    phi, theta, sigma = b
    series = np.cos(np.arange(8.0) ** 1.3)
    e = collections.deque([0.0], maxlen=1)
    total = 0.0
    for k in range(1, len(series)):
        shock = series[k] - phi * series[k - 1] - theta * e[0]
        e.append(shock)
        total += shock**2
    return total / (2 * sigma**2) + 7 * math.log(sigma)


@published(0.4, 0.6)
def kalman_local_level(b):
    level, variance, total = 0.0, 10.0, 0.0
    q, r = np.exp(b)
    for y in TIMES:
        variance = variance + q
        innovation, spread = y - level, variance + r
        total += np.log(spread) + innovation**2 / spread
        gain = variance / spread
        level, variance = level + gain * innovation, (1 - gain) * variance
    return total / 2


@published(0.6, 0.5, 0.2)
def gaussian_process_evidence(b):
    D = (TIMES[:, None] - TIMES) ** 2
    K = b[0] ** 2 * np.exp(-D / (2 * b[1] ** 2)) + (b[2] ** 2 + 1e-3) * np.eye(6)
    L = np.linalg.cholesky(K)
    y = COUNTS - np.mean(COUNTS)
    return 0.5 * y @ np.linalg.solve(K, y) + np.sum(np.log(np.diag(L)))


@published(0.2, 0.9, 0.3)
def hidden_markov_two_states(b):
    stay, means = special.expit(b[0]), b[1:]
    alpha = [0.5, 0.5]
    total = 0.0
    for y in TIMES:
        moved = [alpha[0] * stay + alpha[1] * (1 - stay), alpha[0] * (1 - stay) + alpha[1] * stay]
        joint = [m * math.exp(-0.5 * (y - mu) ** 2) for m, mu in zip(moved, means)]
        total += math.log(sum(joint))
        alpha = [j / sum(joint) for j in joint]
    return -total


@published(0.4, -0.1, 0.3, 0.7)
def bradley_terry(b):
    games = {(0, 1): 3, (1, 2): 2, (2, 0): 1, (3, 0): 2, (1, 3): 4}
    return -sum(n * (b[i] - np.log(np.exp(b[i]) + np.exp(b[j]))) for (i, j), n in games.items()) + 0.1 * b.dot(b)


@published(0.4, 0.6, -0.2, 0.1)
def rasch_model(b):
    answers = [[1, 0, 1], [1, 1, 0]]
    ability, difficulty = b[:1], b[1:]
    total = 0.0
    for i, row in enumerate(answers):
        for j, right in enumerate(row):
            z = (ability[0] if i == 0 else -ability[0]) - difficulty[j]
            total += math.log(1 + math.exp(-z if right else z))
    return total


@published(1.3, 0.8)
def gamma_by_moments_and_digamma(b):
    shape, rate = b
    constant = math.lgamma(shape) - shape * math.log(rate)
    return len(TIMES) * constant - (shape - 1) * np.log(TIMES).sum() + rate * TIMES.sum()


@published(1.3, 2.1)
def beta_likelihood(b):
    z = TIMES / 4
    constant = operator.sub(special.gammaln(b[0]) + special.gammaln(b[1]), special.gammaln(b[0] + b[1]))
    return len(z) * constant - np.sum((b[0] - 1) * np.log(z) + (b[1] - 1) * np.log(1 - z))


@published(0.8, 0.3)
def von_mises_by_series(b):
    """The normaliser I0 by its power series, summed until it no longer grows."""
    kappa = b[0] ** 2 + 0.1
    term, bessel, k = 1.0, 1.0, 0
    while term > 1e-16 * bessel:
        k += 1
        term = term * (kappa / (2 * k)) ** 2
        bessel = bessel + term
    return len(TIMES) * math.log(bessel) - kappa * sum(math.cos(t - b[1]) for t in TIMES.tolist())


@published(0.5, 0.3, 0.7)
def mcculloch_capture_recapture(b):
    seen, p = [0, 1, 1, 2, 0, 3], special.expit(b)
    rows = np.array([[(p[k] if (s >> k) & 1 else 1 - p[k]) for k in range(2)] for s in seen])
    return -np.sum(np.log(np.prod(rows, axis=1) * p[2] + 0.1))


@published(0.4, 0.8, 0.3)
def tobit(b):
    total = 0.0
    for t, c in zip(TIMES, COUNTS):
        z = (c - b[0] - b[1] * t) / np.exp(b[2])
        total += 0.5 * z**2 + b[2] if c > 0 else -math.log(0.5 * math.erfc(-z / math.sqrt(2)))
    return total
