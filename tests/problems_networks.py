"""Neural networks: losses in pytrees of weights."""

import itertools
from typing import NamedTuple

import numpy as np
from problem import Problem, dense, problem


def softplus(z):
    return np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0)


def cross_entropy(logits, labels):
    top = logits.max(axis=1)
    log_z = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return np.mean(log_z - logits[np.arange(len(labels)), labels])


@problem("network")
def mlp_tanh(n=3):
    """A two-layer network with tanh, a dict of weights, cross-entropy."""
    rng = np.random.default_rng(40)
    params = {"W1": rng.normal(size=(2, n)), "b1": rng.normal(size=n),
              "W2": rng.normal(size=(n, 3)), "b2": rng.normal(size=3)}

    def f(params, X, labels):
        h = np.tanh(X @ params["W1"] + params["b1"])
        return cross_entropy(h @ params["W2"] + params["b2"], labels)

    size = 2 * n + n + 3 * n + 3
    return Problem(f, (params, rng.normal(size=(6, 2)), np.arange(6) % 3), pattern=dense(size))


@problem("network")
def mlp_softplus(n=2):
    """A three-layer network with softplus, a list of (weights, bias) pairs looped over, squared loss."""
    rng = np.random.default_rng(41)
    sizes = (3, n + 1, n, 1)
    params = [(rng.normal(size=(a, b)), rng.normal(size=b)) for a, b in itertools.pairwise(sizes)]

    def f(params, X, y):
        h = X
        for W, b in params[:-1]:
            h = softplus(np.dot(h, W) + b)
        W, b = params[-1]
        return np.mean((np.dot(h, W) + b - y)**2)

    total = sum(a * b + b for a, b in itertools.pairwise(sizes))
    return Problem(f, (params, rng.normal(size=(5, 3)), rng.normal(size=(5, 1))), pattern=dense(total))


class Layers(NamedTuple):
    """The weights of a small autoencoder."""

    encode: np.ndarray
    decode: np.ndarray


@problem("network")
def autoencoder(n=3):
    """A linear-in-the-end autoencoder with sigmoid code, a named tuple of weights."""
    rng = np.random.default_rng(42)
    X = rng.normal(size=(4, n))

    def f(layers):
        code = 1 / (1 + np.exp(-(X @ layers.encode)))
        return 0.5 * np.sum((code @ layers.decode - X)**2)

    encode_decode = np.ones((2 * n, 2 * n), bool)
    same_column = np.kron(np.ones((2, 2)), np.eye(n)) != 0
    return Problem(f, (Layers(rng.normal(size=(n, 2)), rng.normal(size=(2, n))),),
                   pattern=np.block([[encode_decode, encode_decode], [encode_decode, same_column]]))


@problem("network", "numpy only")
def convolutional(n=6):
    """A convolutional network by sliding_window_view and einsum."""
    rng = np.random.default_rng(43)

    def f(params, images, labels):
        windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
        features = np.tanh(np.einsum("bijkl,ckl->bcij", windows, params["kernel"]))
        pooled = features.mean(axis=(2, 3))
        return cross_entropy(pooled @ params["out"], labels)

    params = {"kernel": rng.normal(size=(2, 3, 3)) * 0.5, "out": rng.normal(size=(2, 3))}
    return Problem(f, (params, rng.normal(size=(3, n, n)), np.arange(3)), pattern=dense(18 + 6))


@problem("network", "numpy only")
def differentiated_images(n=6):
    """The same windows, differentiated in the image."""
    rng = np.random.default_rng(44)
    kernel = rng.normal(size=(2, 2))

    def f(image):
        windows = np.lib.stride_tricks.sliding_window_view(image, (2, 2))
        return np.sum(np.tanh(np.einsum("ijkl,kl->ij", windows, kernel)))

    index = np.arange(n * 3).reshape(n, 3)
    pattern = np.zeros((3 * n, 3 * n), bool)
    for r in range(n - 1):
        for c in range(2):
            group = index[r:r + 2, c:c + 2].ravel()
            pattern[np.ix_(group, group)] = True
    return Problem(f, (rng.normal(size=(n, 3)),), pattern=pattern)


@problem("network")
def attention(n=3):
    """Single-head attention: a softmax of products of two linear maps."""
    rng = np.random.default_rng(45)
    X, Y = rng.normal(size=(4, n)), rng.normal(size=(4, 2))

    def f(Q, K, V):
        scores = (X @ Q) @ (X @ K).T / np.sqrt(2.0)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.mean((weights @ (X @ V) - Y)**2)

    values = np.kron(np.ones((n, n)), np.eye(2)) != 0
    pattern = dense(6 * n)
    pattern[-2 * n:, -2 * n:] = values
    return Problem(f, tuple(0.5 * rng.normal(size=(n, 2)) for _ in range(3)), argnums=(0, 1, 2), pattern=pattern)


@problem("network", "loops")
def recurrent_network(n=2):
    """A recurrent network over a short sequence, weights in a dict."""
    rng = np.random.default_rng(46)
    sequence = rng.normal(size=(4, 2))

    def f(params):
        h = np.zeros(n)
        for x in sequence:
            h = np.tanh(params["U"] @ x + params["W"] @ h)
        return np.sum((params["out"] @ h - 1)**2)

    params = {"U": rng.normal(size=(n, 2)), "W": rng.normal(size=(n, n)), "out": rng.normal(size=(1, n))}
    return Problem(f, (params,), pattern=dense(2 * n + n * n + n))
