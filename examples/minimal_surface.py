"""The minimal surface through a closed curve: a sparse Newton method on the nodes of a grid.

    python -m examples.minimal_surface [--size 128] [--plot surface.png]

The curve is the boundary of Scherk's surface z = log(cos x / cos y) over the square |x|, |y| <= 1.2, which is itself
the solution. So the result can be checked: the largest error falls by four when the grid is refined by two. The area
is written as plain NumPy on the whole grid; the Hessian comes back as a CSR matrix whose pattern was found when the
function was traced, and whose values are written into the same matrix at every step.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import scipy.sparse.linalg

from symhess import hessian_jit

HALF_WIDTH = 1.2
TOLERANCE = 1e-12


def area(inner, frame):
    """The area of the surface with the given inner nodes inside the frame, in units of the cells' area."""
    z = frame.copy()
    z[1:-1, 1:-1] = inner
    h = 2 * HALF_WIDTH / (len(frame) - 1)
    rising, falling = (z[1:, 1:] - z[:-1, :-1]) / h, (z[1:, :-1] - z[:-1, 1:]) / h
    return np.sum(np.sqrt(1 + (rising**2 + falling**2) / 2))


f = hessian_jit(area, sparse=True)


def scherk(nodes: int) -> np.ndarray:
    """Scherk's surface on a square grid."""
    t = np.linspace(-HALF_WIDTH, HALF_WIDTH, nodes)
    return np.log(np.cos(t)[:, None] / np.cos(t))


@dataclasses.dataclass
class Result:
    """The solution and how it was found."""

    inner: np.ndarray
    nonzeros: int
    residuals: list[float]
    seconds: dict[str, float]


def solve(frame: np.ndarray, steps: int = 30) -> Result:
    """Newton's method from the flat surface, halving steps that do not lower the area."""
    inner, spent = np.zeros((len(frame) - 2,) * 2), {"compile": 0.0, "derivatives": 0.0, "linear solves": 0.0}
    start = time.perf_counter()
    H, _, value = f.sparse(inner, frame), f.grad(inner, frame), f.value(inner, frame)
    spent["compile"] = time.perf_counter() - start
    residuals: list[float] = []
    for _ in range(steps):
        start = time.perf_counter()
        g = f.grad(inner, frame)
        residuals.append(float(abs(g).max()))
        if residuals[-1] < TOLERANCE:
            return Result(inner, H.nnz, residuals, spent)
        H = f.sparse(inner, frame, out=H)
        spent["derivatives"] += time.perf_counter() - start
        start = time.perf_counter()
        step = scipy.sparse.linalg.spsolve(H, g.ravel()).reshape(inner.shape)
        spent["linear solves"] += time.perf_counter() - start
        inner, value = lower(inner, value, step, frame)
    raise ArithmeticError(f"no convergence in {steps} steps: residual {residuals[-1]:.1e}")


def lower(inner: np.ndarray, value: float, step: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, float]:
    """The first of inner - step, inner - step / 2, ... whose area is not larger, to rounding."""
    for halvings in range(30):
        trial = inner - 0.5**halvings * step
        if (new := f.value(trial, frame)) <= value * (1 + 1e-13):
            return trial, new
    raise ArithmeticError("the Newton step does not lower the area")


def plot(frame: np.ndarray, inner: np.ndarray, path: Path) -> None:
    """The surface, its boundary drawn as a wire."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    surface = frame.copy()
    surface[1:-1, 1:-1] = inner
    t = np.linspace(-HALF_WIDTH, HALF_WIDTH, len(frame))
    x, y = np.meshgrid(t, t, indexing="ij")
    axes = plt.figure(figsize=(7, 6), layout="constrained").add_subplot(projection="3d")
    axes.plot_surface(x, y, surface, cmap="viridis", rstride=2, cstride=2)
    for edge in ((0, slice(None)), (-1, slice(None)), (slice(None), 0), (slice(None), -1)):
        axes.plot(x[edge], y[edge], surface[edge], color="black", linewidth=2)
    axes.set_title("the minimal surface through the black curve")
    axes.figure.savefig(path, dpi=120)
    plt.close(axes.figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="nodes along each side")
    parser.add_argument("--plot", type=Path, help="save a picture there")
    args = parser.parse_args()
    print(f"{'grid':>9} {'n':>7} {'nnz':>8} {'steps':>5} {'residual':>9} {'error':>9} "
          f"{'compile':>8} {'derivatives':>12} {'linear solves':>14}")
    for nodes in ((args.size + 1) // 2, args.size):
        exact = scherk(nodes)
        result = solve(exact)
        error = abs(result.inner - exact[1:-1, 1:-1]).max()
        seconds = result.seconds
        print(f"{nodes:4d}x{nodes:<4d} {result.inner.size:7d} {result.nonzeros:8d} {len(result.residuals) - 1:5d} "
              f"{result.residuals[-1]:9.1e} {error:9.1e} {seconds['compile']:6.2f} s {seconds['derivatives']:10.4f} s "
              f"{seconds['linear solves']:12.3f} s")
    if args.plot:
        plot(exact, result.inner, args.plot)
        print(f"picture: {args.plot}")


if __name__ == "__main__":
    main()
