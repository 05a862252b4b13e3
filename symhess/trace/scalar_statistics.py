"""The functions of Python's statistics module on traced numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.trace.construction import array
from symhess.trace.ordering import sort


def _numbers(data: Any) -> Any:
    return array(list(data))


def mean(data: Any, weights: Any = None) -> Any:
    return np.average(_numbers(data), weights=None if weights is None else _numbers(weights))


def _variance(ddof: int) -> Callable:
    def rule(data: Any, center: Any = None) -> Any:
        """sum (x - center)^2 / (n - ddof)."""
        x = _numbers(data)
        off = x - (np.mean(x) if center is None else center)
        return np.sum(off * off) / (len(x) - ddof)

    return rule


def _deviation(ddof: int) -> Callable:
    variance = _variance(ddof)
    return lambda data, center=None: np.sqrt(variance(data, center))


def _middle(share: float) -> Callable:
    """The median; of an even number, the lower (0) or higher (1) of the two in the middle, or their mean."""
    def rule(data: Any) -> Any:
        x = sort(_numbers(data))
        low, high = x[(len(x) - 1) // 2], x[len(x) // 2]
        return (low + high) / 2 if share == 0.5 else high if share else low

    return rule


def harmonic_mean(data: Any, weights: Any = None) -> Any:
    """sum w / sum (w / x)."""
    x = _numbers(data)
    w = np.ones(len(x)) if weights is None else _numbers(weights)
    return np.sum(w) / np.sum(w / x)


def covariance(x: Any, y: Any, /) -> Any:
    x, y = _numbers(x), _numbers(y)
    return np.sum((x - np.mean(x)) * (y - np.mean(y))) / (len(x) - 1)


STATISTICS: dict[str, Callable] = {
    "mean": mean, "fmean": mean, "variance": _variance(1), "pvariance": _variance(0), "stdev": _deviation(1),
    "pstdev": _deviation(0), "median": _middle(0.5), "median_low": _middle(0), "median_high": _middle(1),
    "harmonic_mean": harmonic_mean, "geometric_mean": lambda data: np.exp(np.mean(np.log(_numbers(data)))),
    "covariance": covariance,
    "correlation": lambda x, y, /: covariance(x, y) / np.sqrt(covariance(x, x) * covariance(y, y)),
}
