"""Logistic regression on the breast cancer data of scikit-learn by Newton's method, with a picture.

    python -m examples.logistic_newton [--picture logistic_newton.png]

569 tumours, 30 standardised features and an intercept, a ridge on all but the intercept. The loss is five lines of
NumPy; `f.explain` says what symhess made of it. Newton's method doubles the correct digits at every step: the table
shows the norm of the gradient falling below 1e-10. The picture shows the Hessian's entries and the convergence.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from symhess import hessian_jit

RIDGE = 1e-2
TOLERANCE = 1e-10


@hessian_jit
def loss(w, X, y):
    """Mean of log(1 + exp(-y x.w)) plus the ridge."""
    margins = y * (X @ w)
    return np.mean(np.logaddexp(0, -margins)) + 0.5 * RIDGE * np.sum(w[1:] ** 2)


def breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    """Standardised features behind a column of ones, and labels -1 (malignant) and 1 (benign)."""
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return np.column_stack([np.ones(len(X)), X]), 2.0 * y - 1


def newton(X: np.ndarray, y: np.ndarray, steps: int = 20) -> tuple[np.ndarray, np.ndarray, list[tuple[float, float]]]:
    """w <- w - H^-1 g from zero: the solution, the Hessian there, and (loss, |g|) of every iterate."""
    w, history = np.zeros(X.shape[1]), []
    for _ in range(steps):
        value, g, H = loss.value_grad_hessian(w, X, y)
        history.append((float(value), float(np.linalg.norm(g))))
        if history[-1][1] < TOLERANCE:
            return w, H, history
        w = w - np.linalg.solve(H, g)
    raise ArithmeticError(f"no convergence in {steps} steps: gradient norm {history[-1][1]:.1e}")


def picture(H: np.ndarray, history: list[tuple[float, float]], path: Path) -> None:
    """The Hessian's entries beside the norm of the gradient by iteration."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    bound = abs(H).max()
    image = left.imshow(H, cmap="RdBu_r", norm=matplotlib.colors.SymLogNorm(bound * 2e-2, vmin=-bound, vmax=bound))
    left.spy(abs(H) > 0.1 * bound, marker=".", markersize=2, color="black")
    left.set_title("Hessian at the solution (dots: above a tenth of the largest entry)", fontsize=9)
    left.xaxis.set_ticks_position("bottom")
    figure.colorbar(image, ax=left)
    right.semilogy([norm for _, norm in history], "o-")
    right.axhline(TOLERANCE, color="grey", linestyle=":")
    right.set(xlabel="Newton step", ylabel="norm of the gradient", title="quadratic convergence")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, default=Path("logistic_newton.png"))
    path = parser.parse_args().picture
    X, y = breast_cancer()
    w, H, history = newton(X, y)
    print(loss.explain(w, X, y))
    print(f"\n{'step':>4} {'loss':>20} {'|gradient|':>12}")
    for step, (value, norm) in enumerate(history):
        print(f"{step:4d} {value:20.16f} {norm:12.1e}")
    eigenvalues = np.linalg.eigvalsh(H)
    print(f"\ncondition number of the Hessian: {eigenvalues[-1] / eigenvalues[0]:.1f}")
    print(f"training accuracy: {np.mean(np.sign(X @ w) == y):.4f}")
    print(f"gradient norm: {history[-1][1]:.1e}")
    picture(H, history, path)
    print(f"picture: {path}")


if __name__ == "__main__":
    main()
