"""Models written in jax.numpy: (function of a pytree of parameters that returns one number, point)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, nn
from jax.flatten_util import ravel_pytree
from jax.scipy import linalg, special, stats

rng = np.random.default_rng(7)
X = rng.normal(size=(12, 3))
Y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=12)
LABELS = rng.integers(0, 3, size=12)
IMAGES = rng.normal(size=(2, 6, 6, 1))
TIMES = np.linspace(0.0, 1.0, 12)


def weights(*shape: int) -> np.ndarray:
    return 0.5 * rng.normal(size=shape)


def logistic_regression(p: dict) -> Any:
    logits = X @ p["w"] + p["b"]
    return jnp.mean(nn.softplus(logits) - (Y > 0) * logits) + 0.05 * jnp.sum(p["w"] ** 2)


def softmax_regression(p: dict) -> Any:
    logits = X @ p["w"]
    return -jnp.mean(nn.log_softmax(logits)[jnp.arange(12), LABELS])


def robust_regression(p: dict) -> Any:
    r = Y - X @ p["w"]
    huber = jnp.where(jnp.abs(r) < 0.7, 0.5 * r**2, 0.7 * (jnp.abs(r) - 0.35))
    return jnp.sum(huber) - jnp.sum(stats.t.logpdf(r, 4.0, 0.0, jnp.exp(p["s"])))


def poisson_regression(p: dict) -> Any:
    rate = jnp.exp(X @ p["w"])
    return -jnp.sum(stats.poisson.logpmf(LABELS, rate))


def mlp(p: list) -> Any:
    h = X
    for w, b in p[:-1]:
        h = nn.gelu(h @ w + b)
    w, b = p[-1]
    return jnp.mean((h @ w + b - Y[:, None]) ** 2)


def residual_network(p: dict) -> Any:
    def block(h: Any, w: Any) -> tuple:
        return h + nn.silu(h @ w), None

    return jnp.sum((lax.scan(block, X, p["w"])[0] @ p["out"] - Y) ** 2)


def convolutional_network(p: dict) -> Any:
    h = lax.conv_general_dilated(IMAGES, p["k"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    h = lax.reduce_window(nn.relu(h), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return -jnp.mean(nn.log_softmax(h.reshape(2, -1) @ p["w"])[:, 0])


def attention(p: dict) -> Any:
    tokens = X[:5]
    q, k, v = (jnp.einsum("td,hde->hte", tokens, p[name]) for name in "qkv")
    scores = jnp.einsum("hte,hse->hts", q, k) / jnp.sqrt(q.shape[-1])
    scores = jnp.where(jnp.tril(jnp.ones((5, 5), bool)), scores, -jnp.inf)
    mixed = jnp.einsum("hts,hse->the", nn.softmax(scores), v).reshape(5, -1)
    h = tokens + mixed @ p["o"]
    h = (h - h.mean(-1, keepdims=True)) / jnp.sqrt(h.var(-1, keepdims=True) + 1e-5)
    return jnp.sum(h[:, 0] * Y[:5])


def gaussian_process(p: dict) -> Any:
    squares = jnp.sum((X[:, None] - X[None]) ** 2 / jnp.exp(p["scales"]), -1)
    k = jnp.exp(p["amplitude"] - 0.5 * squares) + (jnp.exp(p["noise"]) + 1e-6) * jnp.eye(12)
    factor = linalg.cholesky(k, lower=True)
    alpha = linalg.cho_solve((factor, True), Y)
    return 0.5 * Y @ alpha + jnp.sum(jnp.log(jnp.diagonal(factor))) + 6 * jnp.log(2 * jnp.pi)


def variational_autoencoder(p: dict) -> Any:
    h = jnp.tanh(X @ p["encoder"])
    mean, log_var = jnp.split(h @ p["heads"], 2, axis=1)
    z = mean + jnp.exp(0.5 * log_var) * jax.random.normal(jax.random.key(0), mean.shape)
    error = jnp.sum((jnp.tanh(z @ p["decoder"]) - X) ** 2)
    return error - 0.5 * jnp.sum(1 + log_var - mean**2 - jnp.exp(log_var))


def hidden_markov_model(p: dict) -> Any:
    log_a, log_b = nn.log_softmax(p["a"]), nn.log_softmax(p["b"])

    def step(alpha: Any, label: Any) -> tuple:
        return nn.logsumexp(alpha[:, None] + log_a, axis=0) + log_b[:, label], None

    first = nn.log_softmax(p["start"]) + log_b[:, LABELS[0]]
    return -nn.logsumexp(lax.scan(step, first, jnp.asarray(LABELS[1:]))[0])


def kalman_filter(p: dict) -> Any:
    def step(state: tuple, y: Any) -> tuple:
        m, v = state
        v = p["a"] ** 2 * v + jnp.exp(p["q"])
        m = p["a"] * m
        s = v + jnp.exp(p["r"])
        gain = v / s
        return (m + gain * (y - m), (1 - gain) * v), stats.norm.logpdf(y, m, jnp.sqrt(s))

    return -jnp.sum(lax.scan(step, (0.0, 1.0), jnp.asarray(Y))[1])


def pendulum(u: Any) -> Any:
    def step(state: tuple, force: Any) -> tuple:
        angle, speed = state
        speed = speed + 0.1 * (force - jnp.sin(angle))
        return (angle + 0.1 * speed, speed), angle

    (angle, speed), path = lax.scan(step, (jnp.array(0.5), jnp.array(0.0)), u)
    return (angle - 1) ** 2 + speed**2 + 0.01 * jnp.sum(u**2) + jnp.sum(jnp.cos(path))


def runge_kutta(p: Any) -> Any:
    def field(s: Any) -> Any:
        return jnp.stack([p[0] * s[0] - p[1] * s[0] * s[1], p[2] * s[0] * s[1] - p[3] * s[1]])

    def step(_: Any, s: Any) -> Any:
        k1 = field(s)
        k2 = field(s + 0.05 * k1)
        k3 = field(s + 0.05 * k2)
        return s + 0.1 / 6 * (k1 + 4 * k2 + k3)

    return jnp.sum((lax.fori_loop(0, 8, step, jnp.array([1.0, 0.5])) - 1) ** 2)


def newton_solver(p: Any) -> Any:
    """The root of x^3 + p0 x = p1 by ten steps of Newton's method, and what it costs."""
    x = lax.fori_loop(0, 10, lambda _, x: x - (x**3 + p[0] * x - p[1]) / (3 * x**2 + p[0]), 1.0)
    return (x - p[2]) ** 2


def lennard_jones(x: Any) -> Any:
    i, j = np.triu_indices(len(x), 1)
    inverse = 1 / jnp.sum((x[i] - x[j]) ** 2, -1) ** 3
    return jnp.sum(inverse**2 - inverse)


def rosenbrock(x: Any) -> Any:
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def heat_control(u: Any) -> Any:
    def step(temperature: Any, heat: Any) -> tuple:
        padded = jnp.pad(temperature, 1)
        return temperature + 0.2 * (padded[2:] - 2 * temperature + padded[:-2]) + 0.1 * heat, None

    return jnp.sum((lax.scan(step, jnp.zeros(5), u)[0] - jnp.arange(5.0)) ** 2) + 0.1 * jnp.sum(u**4)


def mixture_of_gaussians(p: dict) -> Any:
    parts = stats.norm.logpdf(Y[:, None], p["mean"], jnp.exp(p["scale"]))
    return -jnp.sum(special.logsumexp(nn.log_softmax(p["weight"]) + parts, axis=1))


def matrix_factorisation(p: dict) -> Any:
    rows, columns = np.arange(12) % 4, LABELS
    predicted = jnp.sum(p["u"][rows] * p["v"][columns], axis=1)
    return jnp.sum((predicted - Y) ** 2) + 0.1 * (jnp.sum(p["u"] ** 2) + jnp.sum(p["v"] ** 2))


def physics_informed_network(p: dict) -> Any:
    """u'' = -u at some points, with derivatives by JAX."""
    def u(t: Any) -> Any:
        return jnp.tanh(t * p["w"] + p["b"]) @ p["v"]

    residual = jax.vmap(lambda t: jax.grad(jax.grad(u))(t) + u(t))(TIMES)
    return jnp.mean(residual**2) + (u(0.0) - 1) ** 2


def graph_network(p: dict) -> Any:
    sources, targets = np.arange(12), (np.arange(12) * 5 + 1) % 12
    messages = jnp.tanh(X[sources] @ p["m"])
    pooled = jax.ops.segment_sum(messages, targets, 12)
    return jnp.mean((pooled @ p["o"] - Y) ** 2)


def survival(p: dict) -> Any:
    """Cox' partial likelihood, by the order of times."""
    risk = (X @ p["w"])[np.argsort(Y)]
    return -jnp.sum(risk - lax.cumlogsumexp(risk, reverse=True))


def wasserstein(x: Any) -> Any:
    return jnp.mean((jnp.sort(x) - jnp.sort(jnp.asarray(Y))) ** 2)


def mixed_precision(p: dict) -> Any:
    """An argument of float32 in a model of float64."""
    residuals = X.astype(jnp.float32) @ p["w"].astype(jnp.float32) - Y.astype(jnp.float32)
    return jnp.sum(residuals.astype(jnp.float64) ** 2)


MODELS = {f.__name__: (f, point) for f, point in (
    (logistic_regression, {"w": weights(3), "b": weights()}), (softmax_regression, {"w": weights(3, 3)}),
    (robust_regression, {"w": weights(3), "s": weights()}), (poisson_regression, {"w": weights(3)}),
    (mlp, [(weights(3, 4), weights(4)), (weights(4, 3), weights(3)), (weights(3, 1), weights(1))]),
    (residual_network, {"w": weights(3, 3, 3), "out": weights(3)}),
    (convolutional_network, {"k": weights(3, 3, 1, 2), "w": weights(18, 3)}),
    (attention, {"q": weights(2, 3, 2), "k": weights(2, 3, 2), "v": weights(2, 3, 2), "o": weights(4, 3)}),
    (gaussian_process, {"scales": weights(3), "amplitude": weights(), "noise": weights()}),
    (variational_autoencoder, {"encoder": weights(3, 3), "heads": weights(3, 4), "decoder": weights(2, 3)}),
    (hidden_markov_model, {"a": weights(2, 2), "b": weights(2, 3), "start": weights(2)}),
    (kalman_filter, {"a": weights() + 1, "q": weights(), "r": weights()}), (pendulum, weights(10)),
    (runge_kutta, np.array([0.7, 1.1, 0.4, 0.9])), (newton_solver, np.array([0.8, 2.0, 0.3])),
    (lennard_jones, 1.3 * np.array([[0.0, 0, 0], [1, 0, 0.1], [0, 1, 0], [0, 0.2, 1], [1, 1, 0]])),
    (rosenbrock, weights(9)), (heat_control, weights(4, 5)),
    (mixture_of_gaussians, {"mean": weights(3), "scale": weights(3), "weight": weights(3)}),
    (matrix_factorisation, {"u": weights(4, 2), "v": weights(3, 2)}),
    (physics_informed_network, {"w": weights(4), "b": weights(4), "v": weights(4)}),
    (graph_network, {"m": weights(3, 2), "o": weights(2)}), (survival, {"w": weights(3)}), (wasserstein, weights(12)),
    (mixed_precision, {"w": weights(3)}),
)}


def flat(function: Any, point: Any) -> tuple[Any, np.ndarray]:
    """The function of one vector, and the point as one."""
    vector, back = ravel_pytree(point)
    return lambda x: function(back(x)), np.asarray(vector)
