"""The benchmarked functions in other libraries: the same source with `np` standing for something else."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import scipy.sparse

from . import functions
from .workloads import Pattern, Workload, bundle_variables, grid_variables


def translated(function: Callable[..., Any], namespace: Any) -> Callable[..., Any]:
    """The same source with `np` standing for `namespace`, in the function and in those that it calls."""
    names = {**vars(functions), "np": namespace}
    for name, value in vars(functions).items():
        if isinstance(value, types.FunctionType):
            names[name] = types.FunctionType(value.__code__, names, name, value.__defaults__)
    return names[function.__name__]


class ScalarNumpy:
    """NumPy for arrays of a library's scalar expressions: elementwise functions come from the library."""

    def __init__(self, library: Any):
        for name in ("exp", "log", "sqrt", "sin", "cos", "tanh"):
            setattr(self, name, np.frompyfunc(getattr(library, name), 1, 1))

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def object_array(items: Iterable[Any], shape: tuple[int, ...]) -> np.ndarray:
    """An array of expressions; NumPy must not look into them."""
    filled = np.empty(int(np.prod(shape)), object)
    for k, item in enumerate(items):
        filled[k] = item
    return filled.reshape(shape)


def python_numbers(argument: Any) -> Any:
    """Floating data as Python's numbers, which every library takes."""
    return argument.astype(object) if getattr(argument, "dtype", np.dtype(int)).kind == "f" else argument


def expression(workload: Workload, arguments: tuple[Any, ...], symbols: list[Any], library: Any) -> Any:
    """The value of a function of one array, in scalar symbols; of one row, where there are many."""
    shape = arguments[0].shape[workload.product == "batch":]
    x = object_array(symbols, shape)
    return translated(workload.function, ScalarNumpy(library))(x, *map(python_numbers, arguments[1:]))


class Element:
    """One of many equal terms that a function is the sum of: formula, and where its variables and data come from.

    Its `size` variables are `x[variables[e]]`, its data `data[:, e]`.
    """

    def __init__(self, term: Callable[..., Any], x: np.ndarray, variables: np.ndarray, data: np.ndarray,
                 pattern: Pattern | None = None):
        self.term, self.x, self.data, self.pattern = term, x, data, pattern
        self.variables, self.size = variables.astype(np.int32), variables.shape[1]

    @property
    def inputs(self) -> np.ndarray:
        """The variables of all elements, one row per variable."""
        return np.ascontiguousarray(self.x[self.variables.T])

    def positions(self) -> tuple[np.ndarray, Any]:
        """Where the entry (i, j) of element e goes, shape (size, size, elements), and the matrix; dense if small."""
        v, n = self.variables.T.astype(np.int64), self.x.size
        if self.pattern is None:
            return v[:, None] * n + v[None], np.zeros((n, n))
        return self.pattern.positions(v[:, None], v[None]), self.pattern.structure


def element_of(workload: Workload, arguments: tuple[Any, ...]) -> Element:
    """The elements of a workload, written by hand; `np` in a term is given as its first argument."""
    return ELEMENTS[workload.function](workload, arguments)


def _chain(workload: Workload, arguments: tuple[Any, ...]) -> Element:
    (x,) = arguments
    k = np.arange(x.size - 1)
    return Element(lambda np, v, d: 100 * (v[1] - v[0] ** 2) ** 2 + (1 - v[0]) ** 2, x, np.stack([k, k + 1], axis=1),
                   np.empty((0, k.size)), workload.pattern(x))


def _surface(workload: Workload, arguments: tuple[Any, ...]) -> Element:
    (z,) = arguments
    node = np.arange(z.size).reshape(z.shape)
    variables = np.stack([node[:-1, :-1].ravel(), node[1:, :-1].ravel(), node[:-1, 1:].ravel()], axis=1)
    s = z.shape[0] - 1.0
    area = lambda np, v, d: np.sqrt(1 + (s * (v[1] - v[0])) ** 2 + (s * (v[2] - v[0])) ** 2) / s**2
    return Element(area, z.ravel(), variables, np.empty((0, len(variables))), workload.pattern(z))


def _bundle(workload: Workload, arguments: tuple[Any, ...]) -> Element:
    cameras, points, camera_index, point_index, observed = arguments
    x = np.concatenate([cameras.ravel(), points.ravel()])

    def error(np: Any, v: Any, d: Any) -> Any:
        rows = [object_array(part, (1, len(part))) for part in (v[:9], v[9:], d)]
        return 0.5 * translated(functions.reprojection_error, np)(*rows)[0]

    return Element(error, x, bundle_variables(cameras, camera_index, point_index), observed.T,
                   workload.pattern(*arguments))


def _mixture(workload: Workload, arguments: tuple[Any, ...]) -> Element:
    theta, data = arguments
    k = theta.size // 3

    def term(np: Any, v: Any, d: Any) -> Any:
        joint = [np.exp(v[c] - v[2 * k + c] - 0.5 * ((d[0] - v[k + c]) * np.exp(-v[2 * k + c])) ** 2)
                 for c in range(k)]
        return np.log(sum(np.exp(v[c]) for c in range(k))) - np.log(sum(joint))

    return Element(term, theta, np.tile(np.arange(theta.size), (data.size, 1)), data[None])


def _pairs(workload: Workload, arguments: tuple[Any, ...]) -> Element:
    x = arguments[0]
    variables = np.stack(np.triu_indices(x.size, 1), axis=1)
    return Element(lambda np, v, d: np.exp(-((v[0] - v[1]) ** 2)), x, variables, np.empty((0, len(variables))))


def _residuals(workload: Workload, arguments: tuple[Any, ...]) -> Element:
    p, time, observed = arguments

    def term(np: Any, v: Any, d: Any) -> Any:
        return (v[0] * np.exp(-v[1] * d[0]) * np.cos(v[2] * d[0]) + v[3] - d[1]) ** 2

    return Element(term, p, np.tile(np.arange(p.size), (time.size, 1)), np.stack([time, observed]))


def _lines(workload: Workload, arguments: tuple[Any, ...]) -> Element:
    x, lines, conductance, susceptance, measured = arguments

    def term(np: Any, v: Any, d: Any) -> Any:
        angle = v[0] - v[1]
        return (d[0] * v[2] ** 2 - v[2] * v[3] * (d[0] * np.cos(angle) + d[1] * np.sin(angle)) - d[2]) ** 2

    return Element(term, x, grid_variables(x.size // 2, lines), np.stack([conductance, susceptance, measured]),
                   workload.pattern(*arguments))


ELEMENTS = {
    functions.rosenbrock: _chain,
    functions.minimal_surface: _surface,
    functions.bundle_adjustment: _bundle,
    functions.gaussian_mixture: _mixture,
    functions.pair_energy_loop: _pairs,
    functions.residual_loop: _residuals,
    functions.power_flow_loop: _lines,
}


class InMatrix:
    """A call that fills the values of a matrix, dense or CSR; the matrix is looked at only where it is compared."""

    extrapolation = 1.0

    def __init__(self, call: Callable[[], Any], matrix: Callable[[], Any]):
        self.call, self.assembled = call, matrix

    def __call__(self) -> Any:
        return self.call()


def sparse_values(data: np.ndarray, matrix: Any) -> Any:
    """The matrix with these values: CSR ones, or all of a dense one."""
    if scipy.sparse.issparse(matrix):
        return scipy.sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    return data.reshape(matrix.shape)
