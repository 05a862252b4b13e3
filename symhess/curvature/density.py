"""The spectral density of a symmetric matrix by stochastic Lanczos quadrature.

For a random vector v with E v v^T = 1 / n,  v^T g(H) v  is an estimate of  trace g(H) / n.  m steps of Lanczos from v
give a tridiagonal T whose eigenpairs (theta, y) are a Gauss quadrature:  v^T g(H) v = sum_k y_k[0]^2 g(theta_k).

Source: Lin, Saad and Yang, "Approximating spectral densities of large matrices", SIAM Review 58 (2016); for networks
Ghorbani, Krishnan and Xiao, ICML 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symhess.curvature.eigen import random_signs, tridiagonal


@dataclass(frozen=True)
class Density:
    """Eigenvalues as points with weights: a share `weights[k]` of the spectrum is near `nodes[k]`. Weights sum to 1.

    Example:
        >>> import numpy as np
        >>> from symhess.curvature import Curvature
        >>> c = Curvature(lambda x: np.sum(x[:10]**2) - 3 * np.sum(x[10:]**2), np.ones(40))
        >>> density = c.spectral_density(probes=1)
        >>> density.nodes.round(9), density.weights.round(9)
        (array([-6.,  2.]), array([0.75, 0.25]))
    """

    nodes: np.ndarray
    weights: np.ndarray
    n: int
    #: relative rounding of the products that it was made from
    eps: float = float(np.finfo(float).eps)

    def smooth(self, count: int = 400, width: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(grid, density): every point widened to a normal density of standard deviation `width` (1% of the range)."""
        low, high = float(self.nodes.min()), float(self.nodes.max())
        span = (high - low) or max(abs(high), 1.0)
        width = 0.01 * span if width is None else width
        grid = np.linspace(low - 4 * width, high + 4 * width, count)
        bumps = np.exp(-0.5 * ((grid[:, None] - self.nodes) / width)**2) / (width * np.sqrt(2 * np.pi))
        return grid, bumps @ self.weights

    def mean(self, function: Callable[[np.ndarray], np.ndarray]) -> float:
        """An estimate of trace(function(H)) / n."""
        return float(np.sum(self.weights * function(self.nodes)))

    def negative_fraction(self, tolerance: float | None = None) -> float:
        """The share of eigenvalues below -tolerance.

        By default that is the root of the rounding error, times the largest one: what Lanczos makes of a zero of
        multiplicity may be that far off.
        """
        if tolerance is None:
            tolerance = self.eps**0.5 * float(np.abs(self.nodes).max())
        return float(self.weights[self.nodes < -tolerance].sum())


def spectral_density(product: Callable[[np.ndarray], np.ndarray], n: int, probes: int, steps: int, seed: int,
                     dtype: Any) -> Density:
    """The density from `probes` random vectors with `steps` products each."""
    if probes < 1 or steps < 1:
        raise ValueError(f"spectral_density needs at least one probe and one step, got {probes} and {steps}")
    nodes, weights = [], []
    for v in random_signs(n, probes, seed, dtype).T:
        theta, y = np.linalg.eigh(tridiagonal(product, v / np.sqrt(n, dtype=dtype), min(steps, n)))
        nodes.append(theta)
        weights.append(y[0]**2 / probes)
    return Density(np.concatenate(nodes), np.concatenate(weights), n, float(np.finfo(dtype).eps))
