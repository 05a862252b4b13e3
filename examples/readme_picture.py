"""Draws docs/spy.png: the Hessians of four ordinary NumPy functions, found without being told where they are sparse.

    python -m examples.readme_picture [--picture docs/spy.png]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from symhess import hessian_jit

rng = np.random.default_rng(0)


def rosenbrock(x):
    """The chained Rosenbrock function."""
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def minimal_surface(u):
    """Area of the graph of u over a grid."""
    dx, dy = u[1:, :-1] - u[:-1, :-1], u[:-1, 1:] - u[:-1, :-1]
    return np.sum(np.sqrt(1 + dx**2 + dy**2))


CAMERA_OF, POINT_OF = rng.integers(4, size=60), rng.integers(20, size=60)


def bundle_adjustment(cameras, points, seen):
    """Squared reprojection error; a camera is a rotation vector, a translation and a focal length."""
    c, p = cameras[CAMERA_OF], points[POINT_OF]
    moved = p + np.cross(c[:, :3], p) + c[:, 3:6]
    image = c[:, 6:7] * moved[:, :2] / moved[:, 2:]
    return np.sum((image - seen) ** 2)


def network(params, X, y):
    """Squared error of a network with two layers."""
    hidden = np.tanh(X @ params["A"] + params["a"])
    return np.mean((hidden @ params["B"] + params["b"] - y) ** 2)


def problems() -> list[tuple[str, Callable, int | tuple[int, ...], tuple[Any, ...]]]:
    """(title, function, argnums, arguments) of each."""
    cameras, points = rng.normal(0, 0.1, (4, 7)) + [0, 0, 0, 0, 0, 5, 1], rng.normal(size=(20, 3))
    seen = rng.normal(size=(60, 2))
    params = {"A": rng.normal(size=(6, 5)), "a": np.zeros(5), "B": rng.normal(size=(5, 4)), "b": np.zeros(4)}
    return [
        ("chained Rosenbrock", rosenbrock, 0, (rng.normal(size=40),)),
        ("minimal surface, 9 x 9", minimal_surface, 0, (rng.normal(size=(9, 9)),)),
        ("bundle adjustment", bundle_adjustment, (0, 1), (cameras, points, seen)),
        ("two-layer network", network, 0, (params, rng.normal(size=(8, 6)), rng.normal(size=(8, 4)))),
    ]


def draw(path: Path) -> None:
    """One panel per problem: sign and size of every stored entry, white where the Hessian has none."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(12, 3.7), layout="constrained")
    for ax, (title, function, argnums, args) in zip(axes, problems()):
        H = hessian_jit(function, argnums=argnums).sparse(*args)
        dense = np.full(H.shape, np.nan)
        dense[H.tocoo().coords] = np.sign(H.data) * np.log1p(np.abs(H.data))
        bound = np.quantile(np.abs(dense[H.tocoo().coords]), 0.95)
        ax.imshow(dense, cmap="coolwarm", vmin=-bound, vmax=bound, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"{title}\n{H.shape[0]} variables, {H.nnz:,} of {H.shape[0] ** 2:,} entries", fontsize=9)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, default=Path("docs/spy.png"))
    path = parser.parse_args().picture
    draw(path)
    print(f"picture: {path}, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
