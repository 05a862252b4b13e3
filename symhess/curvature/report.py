"""A report on the curvature at a point: what to print along a training run, and a picture."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from symhess.curvature.density import Density


@dataclass(frozen=True)
class Layer:
    """One differentiated array: the trace of its diagonal block and the norm of its gradient."""

    name: str
    shape: tuple[int, ...]
    trace: float
    gradient_norm: float


@dataclass(frozen=True)
class Report:
    """Curvature at a point; `print` it, or `plot` it.

    Example:
        >>> import numpy as np
        >>> from symhess.curvature import Curvature
        >>> print(Curvature(lambda w: np.sum(w**4) / 12, np.array([1.0, 2.0, 3.0]), names=["w"]).report())
        3 variables, value 8.16667, gradient norm 9.393
        largest eigenvalues   9, 4, 1
        smallest eigenvalues  1, 4, 9
        trace 14, Frobenius norm 9.899, 0.0% of the eigenvalues negative
          w             3  trace 14, gradient norm 9.393
    """

    n: int
    value: float
    gradient_norm: float
    #: largest eigenvalues, the largest first, and smallest ones, the smallest first
    top: np.ndarray
    bottom: np.ndarray
    trace: float
    frobenius_norm: float
    #: share of the eigenvalues that are negative
    negative_fraction: float
    density: Density
    layers: list[Layer]
    #: largest residual of an eigenpair, relative to the norm of H; 0 where all are exact
    tolerance: float = 0.0
    #: random vectors that the norm and the share are estimated from; 0 where they are exact
    probes: int = 0

    @property
    def sharpness(self) -> float:
        """The largest eigenvalue: gradient descent with steps above 2 / sharpness diverges."""
        return float(self.top[0])

    def __str__(self) -> str:
        numbers = lambda values: ", ".join(f"{x:.4g}" for x in values)
        head = [f"{self.n:,} variables, value {self.value:.6g}, gradient norm {self.gradient_norm:.4g}",
                f"largest eigenvalues   {numbers(self.top)}", f"smallest eigenvalues  {numbers(self.bottom)}",
                f"trace {self.trace:.6g}, Frobenius norm {self.frobenius_norm:.4g}, "
                f"{self.negative_fraction:.1%} of the eigenvalues negative"]
        if self.tolerance:
            head.append(f"eigenvalues to {self.tolerance:.0e} of the largest, norm and share of negative ones "
                        f"estimated from {self.probes} random vector{'s' if self.probes > 1 else ''}")
        width = max((len(x.name) for x in self.layers), default=0)
        shapes = ["x".join(map(str, x.shape)) or "1" for x in self.layers]
        return "\n".join([*head, *(f"  {x.name:<{width}}  {shape:>12}  trace {x.trace:.4g}, "
                                   f"gradient norm {x.gradient_norm:.4g}" for x, shape in zip(self.layers, shapes))])

    def plot(self, path: str | os.PathLike | None = None) -> object:
        """The spectral density, extreme eigenvalues and layers as a matplotlib figure, saved to `path` if given.

        Raises:
            ImportError: matplotlib, of the extra `curvature`, is not installed.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(2, 1))
        grid, density = self.density.smooth()
        left.semilogy(grid, density, color="C0")
        left.set_ylim(bottom=max(density.max() * 1e-6, 1e-12))
        for values, colour, label in ((self.top, "C3", "largest"), (self.bottom, "C2", "smallest")):
            left.plot(values, np.full(len(values), left.get_ylim()[0]), "|", color=colour, markersize=18, label=label)
        left.set(xlabel="eigenvalue", ylabel="density", title=f"spectrum, n = {self.n:,}")
        left.legend()
        names = [x.name for x in self.layers]
        right.barh(range(len(names)), [x.trace for x in self.layers], color="C0")
        right.set_yticks(range(len(names)), names)
        right.invert_yaxis()
        right.set(title="trace of the diagonal block")
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure
