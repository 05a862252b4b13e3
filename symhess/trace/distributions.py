"""Densities of scipy.stats distributions as formulas; every other method is SciPy's own.

    logpdf(x; shapes, loc, scale) = log f(z; shapes) - log scale,      z = (x - loc) / scale
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.trace.functions import tracers_in
from symhess.trace.on_use import special
from symhess.trace.session import mark
from symhess.trace.shaping import traced
from symhess.trace.ufuncs import select

Formula = Callable[..., Any]
LOG_2PI = math.log(2 * math.pi)


def _log_beta(a: Any, b: Any) -> Any:
    return special.gammaln(a) + special.gammaln(b) - special.gammaln(a + b)


def _log_choose(n: Any, k: Any) -> Any:
    return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)


#: name -> (log density of the standardised variable, ends of its support)
LOG_DENSITY: dict[str, tuple[Formula, float, float]] = {
    "norm": (lambda z: -0.5 * z * z - 0.5 * LOG_2PI, -np.inf, np.inf),
    "expon": (lambda z: -z, 0, np.inf),
    "gamma": (lambda z, a: (a - 1) * np.log(z) - z - special.gammaln(a), 0, np.inf),
    "invgamma": (lambda z, a: -(a + 1) * np.log(z) - special.gammaln(a) - 1 / z, 0, np.inf),
    "beta": (lambda z, a, b: (a - 1) * np.log(z) + (b - 1) * np.log1p(-z) - _log_beta(a, b), 0, 1),
    "chi2": (lambda z, df: (df / 2 - 1) * np.log(z) - z / 2 - special.gammaln(df / 2) - df / 2 * math.log(2),
             0, np.inf),
    "t": (lambda z, df: special.gammaln((df + 1) / 2) - special.gammaln(df / 2) - 0.5 * np.log(df * math.pi)
          - (df + 1) / 2 * np.log1p(z * z / df), -np.inf, np.inf),
    "cauchy": (lambda z: -math.log(math.pi) - np.log1p(z * z), -np.inf, np.inf),
    "logistic": (lambda z: special.log_expit(z) + special.log_expit(-z), -np.inf, np.inf),
    "laplace": (lambda z: -math.log(2) - np.abs(z), -np.inf, np.inf),
    "lognorm": (lambda z, s: -0.5 * (np.log(z) / s) ** 2 - np.log(s * z) - 0.5 * LOG_2PI, 0, np.inf),
    "weibull_min": (lambda z, c: np.log(c) + (c - 1) * np.log(z) - z ** c, 0, np.inf),
    "gumbel_r": (lambda z: -z - np.exp(-z), -np.inf, np.inf),
    "halfnorm": (lambda z: 0.5 * math.log(2 / math.pi) - 0.5 * z * z, 0, np.inf),
    "rayleigh": (lambda z: np.log(z) - 0.5 * z * z, 0, np.inf),
    "pareto": (lambda z, b: np.log(b) - (b + 1) * np.log(z), 1, np.inf),
    "uniform": (lambda z: z * 0, 0, 1),
}
#: name -> (log probability of k, ends of its support; None: the first parameter)
LOG_MASS: dict[str, tuple[Formula, float, float | None]] = {
    "poisson": (lambda k, mu: special.xlogy(k, mu) - special.gammaln(k + 1) - mu, 0, np.inf),
    "bernoulli": (lambda k, p: k * np.log(p) + (1 - k) * np.log1p(-p), 0, 1),
    "binom": (lambda k, n, p: _log_choose(n, k) + k * np.log(p) + (n - k) * np.log1p(-p), 0, None),
    "nbinom": (lambda k, n, p: special.gammaln(n + k) - special.gammaln(k + 1) - special.gammaln(n) + n * np.log(p)
               + k * np.log1p(-p), 0, np.inf),
    "geom": (lambda k, p: np.log(p) + (k - 1) * np.log1p(-p), 1, np.inf),
}
#: name -> distribution function of the standardised variable
CUMULATIVE: dict[str, Formula] = {
    "norm": lambda z: special.ndtr(z), "logistic": lambda z: special.expit(z), "expon": lambda z: -np.expm1(-z),
    "cauchy": lambda z: 0.5 + np.arctan(z) / math.pi, "gumbel_r": lambda z: np.exp(-np.exp(-z)),
    "lognorm": lambda z, s: special.ndtr(np.log(z) / s), "weibull_min": lambda z, c: -np.expm1(-(z ** c)),
    "rayleigh": lambda z: -np.expm1(-0.5 * z * z), "uniform": lambda z: z,
}


class Distribution:
    """A SciPy distribution, its densities traceable; frozen ones carry their parameters along."""

    def __init__(self, original: Any, args: tuple = (), kwargs: dict | None = None):
        self._original, self._args, self._kwargs = original, args, kwargs or {}

    def __call__(self, *args: Any, **kwargs: Any) -> Distribution:
        return Distribution(self._original, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        rule = _METHODS.get(name)
        bound = self._args or self._kwargs
        plain = getattr(self._original(*self._args, **self._kwargs) if bound and not self._traced() else self._original,
                        name)
        if rule is None or not self._has_rule(name):
            return plain

        def run(x: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._traced() and not any(True for _ in tracers_in((x, args, kwargs))):
                return plain(x, *args, **kwargs)
            mark()
            return rule(self._original, x, *self._args, *args, **self._kwargs, **kwargs)

        return run

    def _traced(self) -> bool:
        return any(True for _ in tracers_in((self._args, self._kwargs)))

    def _has_rule(self, method: str) -> bool:
        table = CUMULATIVE if "cdf" in method or "sf" in method else LOG_MASS if "pmf" in method else LOG_DENSITY
        return self._original.name in table


def _parameters(original: Any, args: tuple, kwargs: dict) -> tuple[list, Any, Any]:
    """The shapes, loc and scale, by position or by name."""
    names = [n.strip() for n in (original.shapes or "").split(",") if n.strip()] + ["loc", "scale"]
    given = dict(zip(names, args)) | kwargs
    return [_array(given[n]) for n in names[:-2]], _array(given.get("loc", 0.0)), _array(given.get("scale", 1.0))


def _log_density(original: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    formula, low, high = LOG_DENSITY[original.name]
    shapes, loc, scale = _parameters(original, args, kwargs)
    z = (_array(x) - loc) / scale
    inside = formula(z, *shapes) - np.log(scale)
    for end, outside in ((low, np.less), (high, np.greater)):
        if np.isfinite(end):
            inside = select(outside(z, end), -np.inf, inside)
    return _checked(inside, shapes)


def _log_mass(original: Any, k: Any, *args: Any, **kwargs: Any) -> Any:
    shapes, loc, _ = _parameters(original, args, kwargs)
    formula, low, high = LOG_MASS[original.name]
    k = _array(k) - loc
    outside = np.less(k, low) | np.greater(k, shapes[0] if high is None else high) | np.not_equal(k, np.floor(k))
    return _selected(outside, -np.inf, formula(k, *shapes))


def _array(x: Any) -> Any:
    """Lists and tuples, also of traced numbers, as arrays."""
    if not isinstance(x, list | tuple):
        return x
    return traced(x) if any(True for _ in tracers_in(x)) else np.asarray(x)


def _selected(where: Any, value: float, otherwise: Any) -> Any:
    """`value` where a condition holds; nothing is recorded for a condition that is known to be false."""
    known_false = type(where) in (bool, np.bool_, np.ndarray) and not np.any(where)
    return otherwise if known_false else select(where, value, otherwise)


def _checked(result: Any, positive: Sequence[Any]) -> Any:
    """NaN where a parameter is not positive, as SciPy's; formulas without its logarithm would give a number."""
    for parameter in positive:
        result = _selected(np.less_equal(parameter, 0), np.nan, result)
    return result


def _cumulative(original: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    shapes, loc, scale = _parameters(original, args, kwargs)
    _, low, high = LOG_DENSITY[original.name]
    z = (_array(x) - loc) / scale
    inside = CUMULATIVE[original.name](z, *shapes)
    inside = select(np.less(z, low), 0.0, inside) if np.isfinite(low) else inside
    inside = select(np.greater(z, high), 1.0, inside) if np.isfinite(high) else inside
    return _checked(inside, [*shapes, scale])


def _log_cumulative(original: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    _, loc, scale = _parameters(original, args, kwargs)
    if original.name == "norm":
        return _checked(special.log_ndtr((_array(x) - loc) / scale), [scale])
    if original.name == "logistic":
        return _checked(special.log_expit((_array(x) - loc) / scale), [scale])
    return np.log(_cumulative(original, x, *args, **kwargs))


def _survival(original: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """1 - cdf; where the density is symmetric, the cdf of the mirrored variable, which keeps its digits."""
    if original.name in ("norm", "logistic", "cauchy"):
        _, loc, _ = _parameters(original, args, kwargs)
        return _cumulative(original, 2 * loc - _array(x), *args, **kwargs)
    return 1 - _cumulative(original, x, *args, **kwargs)


_METHODS: dict[str, Callable] = {
    "logpdf": _log_density, "pdf": lambda *args, **kwargs: np.exp(_log_density(*args, **kwargs)),
    "logpmf": _log_mass, "pmf": lambda *args, **kwargs: np.exp(_log_mass(*args, **kwargs)),
    "cdf": _cumulative, "logcdf": _log_cumulative, "sf": _survival,
}


class MultivariateNormal:
    """scipy.stats.multivariate_normal with a traceable density."""

    def __init__(self, original: Any):
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __call__(self, mean: Any = None, cov: Any = 1, **options: Any) -> FrozenNormal:
        return FrozenNormal(self, mean, cov, options)

    def logpdf(self, x: Any, mean: Any = None, cov: Any = 1, **options: Any) -> Any:
        """-(n log 2 pi + log det S + (x - m)^T S^-1 (x - m)) / 2."""
        if not any(True for _ in tracers_in((x, mean, cov))):
            return self._original.logpdf(x, mean, cov, **options)
        mark()
        x, mean, cov = _array(x), _array(mean), _array(cov)
        n = np.shape(cov)[-1] if np.ndim(cov) == 2 else np.shape(mean)[-1] if np.ndim(mean) else 1
        cov = cov if np.ndim(cov) == 2 else cov * np.eye(n)
        off = x - (0.0 if mean is None else mean)
        off = off[..., None] if n == 1 and np.ndim(off) < 2 else off
        solved = np.linalg.solve(cov, np.swapaxes(np.atleast_2d(off), -1, -2))
        squares = np.sum(np.swapaxes(solved, -1, -2).reshape(np.shape(off)) * off, axis=-1)
        return -0.5 * (n * LOG_2PI + np.linalg.slogdet(cov)[1] + squares)

    def pdf(self, x: Any, mean: Any = None, cov: Any = 1, **options: Any) -> Any:
        return np.exp(self.logpdf(x, mean, cov, **options))


class FrozenNormal:
    """A multivariate normal distribution with its parameters."""

    def __init__(self, law: MultivariateNormal, mean: Any, cov: Any, options: dict):
        self._law, self._mean, self._cov, self._options = law, mean, cov, options

    def __getattr__(self, name: str) -> Any:
        return getattr(self._law._original(self._mean, self._cov, **self._options), name)

    def logpdf(self, x: Any) -> Any:
        return self._law.logpdf(x, self._mean, self._cov)

    def pdf(self, x: Any) -> Any:
        return np.exp(self.logpdf(x))


def distributions(module: Any) -> dict[str, Any]:
    """The stand-ins for the distributions in scipy.stats."""
    made: dict[str, Any] = {name: Distribution(getattr(module, name)) for name in (*LOG_DENSITY, *LOG_MASS)}
    return made | {"multivariate_normal": MultivariateNormal(module.multivariate_normal)}
