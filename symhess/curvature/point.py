"""`Curvature`: the Hessian of a function at a point, by products with it, by rows, and by exact structured parts."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.api.arguments import bind
from symhess.api.budget import check_dense_fits
from symhess.api.columns import ColumnsRunner, mirror_in_place
from symhess.api.function import HessianFunction, hessian_jit
from symhess.api.transforms import linear_operator
from symhess.curvature import eigen
from symhess.curvature.density import Density, spectral_density
from symhess.curvature.progress import Progress, counted
from symhess.curvature.report import Layer, Report
from symhess.errors import NotConverged, ShapeMismatch
from symhess.graph.pytrees import flatten, unflatten

if TYPE_CHECKING:
    import scipy.sparse.linalg

#: bytes of the rows that are handed over at once
BAND_BYTES = 1 << 25
#: up to this many variables all eigenvalues are computed, from the dense Hessian
DENSE = 1000
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
#: relative tolerance of eigenpairs by Lanczos
TOLERANCE = 1e-6
#: reports have that tolerance up to so many variables, and the largest one that is tried
PRECISE, COARSEST = 10_000, 0.1
#: what a report spends on the eigenvalues of one end before it takes a larger tolerance: variables times products
WORK, FEWEST_PRODUCTS = 5e8, 500
#: random vectors of a report, and variables times random vectors that suffice
PROBES, FEWEST_PROBES, SAMPLED = 10, 2, 1_000_000


class Curvature:
    """The Hessian H of a function at a point. n is the number of variables, the inputs laid end to end.

    What the function needs is compiled once and kept with it: give the same `hessian_jit` function for each point of a
    training run. The arrays of the point are copied, so they may change later.

    Args:
        fn: a function that returns one number, or what `hessian_jit` made of it.
        *args, **kwargs: the point, as in a call of the function.
        argnums: what is differentiated, for plain functions; by default the first argument.
        names: one name per differentiated array, for reports; by default those of the function's parameters.

    Raises:
        NonScalarOutput: the function does not return one number, which is seen when something is asked for.
        ShapeMismatch: there are more or fewer names than differentiated arrays.
        TypeError: `argnums` is given with a `hessian_jit` function, which has its own.
        ValueError: a name is there twice.

    Example:
        >>> import numpy as np
        >>> from symhess.curvature import Curvature
        >>> c = Curvature(lambda x: np.sum(x**4) - x[0] * x[1], np.array([1.0, 2.0, 0.5]))
        >>> c.trace()
        np.float64(63.0)
        >>> values, vectors = c.top(1)
        >>> values.round(6)
        array([48.027756])
    """

    def __init__(self, fn: Callable, *args: Any, argnums: int | Sequence[int] | None = None,
                 names: Sequence[str] | None = None, **kwargs: Any):
        if isinstance(fn, HessianFunction) and argnums is not None:
            raise TypeError(f"argnums={argnums!r} for {fn.__name__}, which hessian_jit made: give it to hessian_jit")
        positions = 0 if argnums is None else argnums
        self.function = fn if isinstance(fn, HessianFunction) else hessian_jit(fn, argnums=positions)
        leaves, spec = flatten((args, kwargs))
        self.args, self.kwargs = unflatten(spec, [x.copy() if type(x) is np.ndarray else x for x in leaves])
        active = bind(self.args, self.kwargs, self.function.options, self.function.__name__).signature.active
        self.shapes = [x.shape for x in active]
        self.names = _names([x.name for x in active], self.function.fn, names)
        self.ends = np.cumsum([0, *(int(np.prod(s)) for s in self.shapes)])
        self.n = int(self.ends[-1])

    def __repr__(self) -> str:
        return f"<Curvature of {self.function.__name__}, n = {self.n:,}>"

    # -- values and products -----------------------------------------------------------------------------------

    @cached_property
    def value(self) -> float:
        """The function's value."""
        return float(self._value_and_gradient[0])

    @cached_property
    def gradient(self) -> np.ndarray:
        """The gradient, (n,)."""
        return _flat(self._value_and_gradient[1])

    @cached_property
    def _value_and_gradient(self) -> tuple:
        return self.function.value_and_grad(*self.args, **self.kwargs)

    @cached_property
    def operator(self) -> scipy.sparse.linalg.LinearOperator:
        """H as a SciPy LinearOperator: one Hessian-vector product per application."""
        return linear_operator(self.function, *self.args, **self.kwargs)

    @property
    def dtype(self) -> np.dtype:
        return self.operator.dtype

    def product(self, v: np.ndarray) -> np.ndarray:
        """H v for v of shape (n,), or (n, m) for m vectors."""
        v = np.asarray(v)
        if v.ndim not in (1, 2) or len(v) != self.n:
            raise ShapeMismatch(f"a vector of shape {v.shape}; it must be ({self.n},), or ({self.n}, m)")
        return self.operator @ v

    # -- exact parts -------------------------------------------------------------------------------------------

    @cached_property
    def diagonal(self) -> np.ndarray:
        """The exact diagonal of H, (n,), from its structure."""
        return _flat(self.function.diagonal(*self.args, **self.kwargs))

    def trace(self) -> np.floating:
        """The exact trace."""
        return self.diagonal.sum()

    def rows(self, start: int = 0, stop: int | None = None, *, size: int | None = None,
             progress: Progress = False) -> Iterator[tuple[int, np.ndarray]]:
        """H in bands of rows, one after the other: pairs of the first row and an array of shape (rows, n).

        `size` is the number of rows in a band, by default what fits into 32 MB. No more than one band is in memory, and
        its array is used again for the next one. Rows are products of H with unit vectors, many at once.
        """
        stop = self.n if stop is None else stop
        if not 0 <= start <= stop <= self.n:
            raise IndexError(f"rows {start} to {stop} of a matrix with {self.n} rows")
        runner, arrays = self._columns
        if size is not None and size < 1:
            raise ValueError(f"size={size} rows at a time; give at least 1")
        height = size or max(1, BAND_BYTES // max(1, self.n * runner.dtype.itemsize))
        band = np.empty((max(1, min(height, stop - start)), self.n), runner.dtype)
        for first in counted(range(start, stop, len(band)), progress, "rows of the Hessian"):
            part = band[:min(len(band), stop - first)]
            runner.fill(arrays, first, part)
            yield first, part

    def block(self, i: int | str, j: int | str, progress: Progress = False) -> np.ndarray:
        """The block of arrays i and j (numbers or names), of shape shapes[i] + shapes[j]."""
        i, j = self._number(i), self._number(j)
        if self.ends[i + 1] - self.ends[i] > self.ends[j + 1] - self.ends[j]:
            turned = self.block(j, i, progress)
            axes = len(self.shapes[j])
            return np.ascontiguousarray(turned.transpose(*range(axes, turned.ndim), *range(axes)))
        columns = slice(self.ends[j], self.ends[j + 1])
        parts = [band[:, columns].copy() for _, band in self.rows(self.ends[i], self.ends[i + 1], progress=progress)]
        made = np.concatenate(parts) if parts else np.zeros((0, self.ends[j + 1] - self.ends[j]), self.dtype)
        if i == j:
            mirror_in_place(made)
        return made.reshape(self.shapes[i] + self.shapes[j])

    def diagonal_blocks(self, progress: Progress = False) -> dict[str, np.ndarray]:
        """The diagonal block of each differentiated array, by name."""
        return {name: self.block(k, k, progress) for k, name in enumerate(self.names)}

    def hessian(self, out: np.ndarray | None = None, blocks: bool = False, progress: Progress = False) -> Any:
        """H as one (n, n) array, or as `H[name_i][name_j]` with `blocks=True`, row by row; symmetric bit for bit.

        `out` receives the matrix; it may be a memory map. Where the memory suffices, `hessian_jit` itself makes use of
        the structure of H, and is quicker after its first call.

        Raises:
            BudgetExceeded: without `out`, the matrix is larger than the memory budget.
        """
        if out is None:
            check_dense_fits(self.n, self.dtype, self.function.options.memory_budget)
            out = np.empty((self.n, self.n), self.dtype)
        elif out.shape != (self.n, self.n):
            raise ShapeMismatch(f"out has shape {out.shape}, the Hessian ({self.n}, {self.n})")
        for first, band in self.rows(progress=progress):
            out[first:first + len(band)] = band
        mirror_in_place(out)
        if not blocks:
            return out
        cut = [slice(a, b) for a, b in zip(self.ends[:-1], self.ends[1:])]
        return {a: {b: out[cut[i], cut[j]].reshape(self.shapes[i] + self.shapes[j])
                    for j, b in enumerate(self.names)} for i, a in enumerate(self.names)}

    def stream(self, into: str | os.PathLike | Callable[[str, str, slice, np.ndarray], None], *,
               size: int | None = None, progress: Progress = False) -> np.memmap | None:
        """H without ever holding it: into a `.npy` file, or block by block to a function.

        Args:
            into: the file, which is made; or a function that is called with the names of two differentiated arrays i
                and j, a slice of the rows of block (i, j), and these rows as an array (rows, size of j), which is only
                good during the call.
            size: rows at a time, by default what fits into 32 MB.

        Returns:
            The (n, n) matrix as a read-only memory map, for a file. The file has its name when it is complete.
        """
        if callable(into):
            for first, band in self.rows(size=size, progress=progress):
                self._hand_over(into, first, band)
            return None
        unfinished = f"{os.fspath(into)}.part"
        try:
            matrix = np.lib.format.open_memmap(unfinished, mode="w+", dtype=self.dtype, shape=(self.n, self.n))
            for first, band in self.rows(size=size, progress=progress):
                matrix[first:first + len(band)] = band
            matrix.flush()
            del matrix
            os.replace(unfinished, into)
        finally:
            with contextlib.suppress(OSError):
                os.remove(unfinished)
        return np.load(into, mmap_mode="r")

    def _hand_over(self, receive: Callable, first: int, band: np.ndarray) -> None:
        """Cut a band of rows at the borders of the arrays, and hand over the pieces."""
        for i, name in enumerate(self.names):
            start, stop = max(first, self.ends[i]), min(first + len(band), self.ends[i + 1])
            for j, other in enumerate(self.names):
                if start < stop:
                    piece = band[start - first:stop - first, self.ends[j]:self.ends[j + 1]]
                    receive(name, other, slice(int(start - self.ends[i]), int(stop - self.ends[i])), piece)

    @property
    def _columns(self) -> tuple[ColumnsRunner, list[np.ndarray]]:
        """What computes rows, compiled once per function, and the arrays of the point."""
        bound, path = self.function._bound_path(self.args, self.kwargs)
        options = self.function.options
        runner = path.product("columns", lambda: ColumnsRunner(path.inputs, path.gradient, path.active, options))
        return runner, bound.arrays

    def _number(self, which: int | str) -> int:
        try:
            return self.names.index(which) if isinstance(which, str) else range(len(self.names))[which]
        except (ValueError, IndexError) as problem:
            raise type(problem)(f"no differentiated array {which!r}; there are {self.names}") from None

    # -- norms and spectrum ------------------------------------------------------------------------------------

    def frobenius_norm(self, samples: int | None = None, seed: int = 0, progress: Progress = False) -> float:
        """The Frobenius norm: exact, from all rows; or estimated by the mean of |H v|^2 over random signs v."""
        if samples is None:
            return float(np.sqrt(sum(np.vdot(band, band).astype(float) for _, band in self.rows(progress=progress))))
        signs = eigen.random_signs(self.n, samples, seed, self.dtype)
        return float(np.sqrt(np.mean([np.sum(self.product(v).astype(float)**2) for v in signs.T])))

    def top(self, k: int = 1, tol: float = TOLERANCE) -> tuple[np.ndarray, np.ndarray]:
        """The k largest eigenvalues, the largest first, (k,), and their eigenvectors as columns, (n, k).

        From the dense H up to 1,000 variables, beyond by Lanczos: residuals |H v - lambda v| are at most tol times the
        norm of H, and so are the errors of eigenvalues; where these lie apart, errors are the square of that.

        Raises:
            NotConverged: ARPACK stopped without a result; a larger `tol` is easier to reach.
        """
        return self._extreme(k, "LA", tol)

    def bottom(self, k: int = 1, tol: float = TOLERANCE) -> tuple[np.ndarray, np.ndarray]:
        """The k smallest (most negative) eigenvalues, the smallest first, and their eigenvectors, as `top`."""
        return self._extreme(k, "SA", tol)

    def _extreme(self, k: int, which: str, tol: float) -> tuple[np.ndarray, np.ndarray]:
        if not 1 <= k <= self.n:
            raise ValueError(f"k={k} eigenvalues of a matrix with {self.n} rows")
        if self.n > max(DENSE, 2 * k):
            return eigen.extreme(self.operator, k, which, tol)
        values, vectors = self._eigenpairs
        chosen = slice(None, -k - 1, -1) if which == "LA" else slice(k)
        return values[chosen], vectors[:, chosen]

    def condition_number(self, tol: float = TOLERANCE) -> float:
        """The largest over the smallest absolute value of an eigenvalue; inf for a singular H.

        From all eigenvalues up to 1,000 variables; beyond by Lanczos, for the smallest one on the inverse (MINRES).

        Raises:
            NotConverged: the smallest one was not found, which is common where H is nearly singular.
        """
        self._check_not_empty()
        if self.n <= DENSE:
            sizes = np.abs(self.eigenvalues)
            floor = sizes.max() * self.n * np.finfo(self.dtype).eps
            return float(sizes.max() / sizes.min()) if sizes.min() > floor else float("inf")
        largest = eigen.extreme(self.operator, 1, "LM", tol)[0]
        return float("inf") if not largest[0] else float(abs(largest[0]) / eigen.smallest(self.operator, tol))

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """All eigenvalues in ascending order, from the dense Hessian; BudgetExceeded where that does not fit."""
        return self._eigenpairs[0]

    @cached_property
    def _eigenpairs(self) -> tuple[np.ndarray, np.ndarray]:
        dense = self.hessian().astype(float)
        eigen.check_finite(dense)
        return tuple(np.linalg.eigh(dense))

    def spectral_density(self, probes: int = 10, steps: int = 80, seed: int = 0) -> Density:
        """How the eigenvalues are distributed, by stochastic Lanczos quadrature; see `Density`."""
        self._check_not_empty()
        return spectral_density(self.product, self.n, probes, steps, seed, self.dtype)

    def negative_fraction(self, probes: int = 10, steps: int = 80, seed: int = 0) -> float:
        """The share of eigenvalues below zero by more than rounding: counted up to 1,000 variables, else estimated."""
        if self.n <= DENSE:
            size = np.abs(self.eigenvalues).max(initial=0.0)
            return float(np.mean(self.eigenvalues < -size * self.n * np.finfo(self.dtype).eps))
        return self.spectral_density(probes, steps, seed).negative_fraction()

    def _check_not_empty(self) -> None:
        if not self.n:
            raise ValueError("there is no variable, hence no spectrum: every differentiated array is empty")

    # -- report ------------------------------------------------------------------------------------------------

    def report(self, k: int = 3, probes: int | None = None, steps: int = 80, seed: int = 0,
               tol: float | None = None) -> Report:
        """Value, gradient, extreme eigenvalues, trace, norm, share of negative curvature and layers, to print or plot.

        Up to 1,000 variables all of it is exact, beyond it says how accurate it is. `tol` is that of `top`, with its
        errors. By default it is 1e-6 up to 10,000 variables and grows to 1e-3 at a million, so that the work does not
        grow with n even where eigenvalues lie close together; if that is not reached for a fixed amount of work, it is
        ten times as large. Density and Frobenius norm are estimated from random vectors, `probes`: 10 of them by
        default, and fewer, down to 2, beyond 100,000 variables, where one tells as much as ten do there.
        """
        k = min(k, self.n)
        probes = probes or int(np.clip(np.ceil(SAMPLED / max(self.n, 1)), FEWEST_PROBES, PROBES))
        density = self.spectral_density(probes, steps, seed)
        tolerances, values = zip(*(self._end(k, which, tol) for which in ("LA", "SA")))
        top, bottom = values
        norm = self.frobenius_norm(None if self.n <= DENSE else probes, seed)
        layers = [Layer(name, shape, float(self.diagonal[a:b].sum()), float(np.linalg.norm(self.gradient[a:b])))
                  for name, shape, a, b in zip(self.names, self.shapes, self.ends[:-1], self.ends[1:])]
        negative = self.negative_fraction() if self.n <= DENSE else density.negative_fraction()
        return Report(self.n, self.value, float(np.linalg.norm(self.gradient)), top, bottom, float(self.trace()), norm,
                      negative, density, layers, max(tolerances), 0 if self.n <= DENSE else probes)

    def _end(self, k: int, which: str, tol: float | None) -> tuple[float, np.ndarray]:
        """(tolerance, eigenvalues) of one end of the spectrum; 0 where they are exact."""
        if self.n <= max(DENSE, 2 * k) or tol is not None:
            return (0.0 if self.n <= max(DENSE, 2 * k) else tol), self._extreme(k, which, tol)[0]
        tol, products = _tolerance(self.n), max(WORK / self.n, FEWEST_PRODUCTS)
        while True:
            try:
                return tol, eigen.extreme(self.operator, k, which, tol, products)[0]
            except NotConverged:
                tol *= 10
                if tol > COARSEST:
                    raise


def _tolerance(n: int) -> float:
    """1e-6 up to 10,000 variables, 1e-3 from a million on.

    Lanczos takes about tol^-1/2 products of n numbers each where eigenvalues lie close together.
    """
    return TOLERANCE * float(np.clip(n / PRECISE, 1, 100)) ** 1.5


def _names(places: Sequence[str], fn: Callable, given: Sequence[str] | None) -> list[str]:
    """Names of differentiated arrays, each there once; `places` are arg0, arg1['W'] and the like."""
    if given is None:
        try:
            parameters = [p.name for p in inspect.signature(fn).parameters.values() if p.kind in POSITIONAL]
        except (TypeError, ValueError):
            parameters = []
        known = dict(enumerate(parameters))
        return [re.sub(r"^arg(\d+)", lambda m: known.get(int(m[1]), m[0]), place) for place in places]
    names = [given] if isinstance(given, str) else list(given)
    if len(names) != len(places):
        raise ShapeMismatch(f"{len(names)} names for {len(places)} differentiated arrays")
    if len(set(names)) < len(names):
        raise ValueError(f"a name is there twice: {names}")
    return names


def _flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(x) for x in flatten(tree)[0]])
