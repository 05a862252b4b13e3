"""Curvature along the training of a small convolutional network on scikit-learn's images of digits.

    python -m examples.cnn_parameter_hessian --picture curvature.png

The loss is an ordinary NumPy function of a dict of parameters, 1,370 numbers in all. Its gradient trains the network
(momentum), its Hessian says how that goes: the largest eigenvalues (gradient descent is stable with rates below 2 over
the largest), the trace, the share of negative eigenvalues (below a thousandth of the largest), which shrinks on the way
to a minimum, and how far the Gauss-Newton matrix is from the Hessian.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits

from symhess import hessian_jit
from symhess.curvature import Curvature, Report, gauss_newton

FILTERS, CLASSES = 8, 10
NAMES = ("conv.weight", "conv.bias", "fc.weight", "fc.bias")


def logits(parameters, images):
    """A 3 x 3 convolution with stride 2, tanh, and one dense layer; images (N, 8, 8)."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    windows = np.stack([padded[:, i:i + 7:2, j:j + 7:2] for i in range(3) for j in range(3)], axis=-1)
    hidden = np.tanh(windows @ parameters["conv.weight"] + parameters["conv.bias"])
    return hidden.reshape(len(images), -1) @ parameters["fc.weight"] + parameters["fc.bias"]


def cross_entropy(scores, images, labels):
    return np.mean(np.log(np.sum(np.exp(scores), axis=1)) - scores[np.arange(len(labels)), labels])


@hessian_jit
def loss(parameters, images, labels):
    return cross_entropy(logits(parameters, images), images, labels)


def model(parameters, images, labels):
    return logits(parameters, images)


def start(seed: int = 0) -> dict[str, np.ndarray]:
    """Parameters before training."""
    rng = np.random.default_rng(seed)
    return {"conv.weight": rng.normal(size=(9, FILTERS)) / 3, "conv.bias": np.zeros(FILTERS),
            "fc.weight": rng.normal(size=(16 * FILTERS, CLASSES)) / np.sqrt(16 * FILTERS), "fc.bias": np.zeros(CLASSES)}


def train(parameters, images, labels, steps: int, rate: float, velocity, momentum: float = 0.9) -> None:
    """Gradient descent with momentum, in place."""
    for _ in range(steps):
        gradient = loss.grad(parameters, images, labels)
        for name in parameters:
            velocity[name] = momentum * velocity[name] - rate * gradient[name]
            parameters[name] = parameters[name] + velocity[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", help="where to save the picture")
    parser.add_argument("--samples", type=int, default=400, help="images to train on")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 10, 30, 100, 300, 1000], help="when to look")
    parser.add_argument("--rate", type=float, default=0.05)
    arguments = parser.parse_args()
    digits = load_digits()
    images, labels = digits.images / 16.0, digits.target
    trained, held = slice(arguments.samples), slice(arguments.samples, None)

    began = time.perf_counter()
    parameters = start()
    velocity = {name: np.zeros_like(p) for name, p in parameters.items()}
    history: list[tuple[int, Report]] = []
    print(f"{'step':>5} {'loss':>8} {'accuracy':>8} {'largest eigenvalues':>24} {'smallest':>9} {'trace':>8} "
          f"{'negative':>8} {'|H - G| / |H|':>13}")
    done = 0
    for step in arguments.steps:
        train(parameters, images[trained], labels[trained], step - done, arguments.rate, velocity)
        done = step
        point = (dict(parameters), images[trained], labels[trained])
        curvature = Curvature(loss, *point)
        report = curvature.report(k=3)
        near = gauss_newton(model, cross_entropy, *point)
        H = curvature.hessian()
        gap = np.linalg.norm(H - near.hessian()) / np.linalg.norm(H)
        accuracy = np.mean(logits(parameters, images[held]).argmax(1) == labels[held])
        largest = " ".join(f"{x:7.3f}" for x in report.top)
        print(f"{step:5} {report.value:8.4f} {accuracy:8.3f} {largest:>24} {report.bottom[0]:9.4f} {report.trace:8.3f} "
              f"{negative(report):8.1%} {gap:13.3f}")
        history.append((step, report))
    n = history[0][1].n
    print(f"{n:,} parameters, {time.perf_counter() - began:.1f} s")
    if arguments.picture:
        draw(history, arguments.picture)


def negative(report: Report) -> float:
    """The share of eigenvalues that are negative by more than a thousandth of the largest."""
    return report.density.negative_fraction(1e-3 * report.sharpness)


def draw(history: list[tuple[int, Report]], path: str) -> None:
    """Eigenvalues and the spectral density along training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    steps = [step for step, _ in history]
    for k in range(3):
        left.plot(steps, [r.top[k] for _, r in history], "o-", color="C3", alpha=1 - 0.3 * k)
        left.plot(steps, [r.bottom[k] for _, r in history], "o-", color="C0", alpha=1 - 0.3 * k)
    left.axhline(0, color="grey", linewidth=0.6)
    left.set(xscale="symlog", xlabel="step", xlim=(0, None), title="largest (red) and smallest eigenvalues")
    middle.plot(steps, [r.value for _, r in history], "o-", label="loss")
    middle.plot(steps, [negative(r) for _, r in history], "o-", label="share of negative eigenvalues")
    middle.plot(steps, [r.gradient_norm for _, r in history], "o-", label="gradient norm")
    middle.set(xscale="symlog", xlabel="step", xlim=(0, None))
    middle.legend()
    for step, report in (history[0], history[len(history) // 2], history[-1]):
        right.semilogy(*report.density.smooth(1000, width=0.02), label=f"step {step}")
    right.set(xlabel="eigenvalue", title="spectral density", ylim=(1e-4, 1e2))
    right.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
