"""The workloads: a function, its arguments at two sizes, and for sparse ones the pattern known by hand."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

from . import functions


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Where a symmetric Hessian is non-zero, and a colour for every column.

    In its row, every entry or else its transpose is the only one of its colour: one product per colour finds them all.
    """

    structure: scipy.sparse.csr_array
    colours: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The row of every stored entry."""
        return np.repeat(np.arange(self.structure.shape[0]), np.diff(self.structure.indptr))

    def positions(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Where the entries (rows, columns) stand among the stored ones."""
        n = self.structure.shape[0]
        return np.searchsorted(self.rows * n + self.structure.indices, rows * n + columns)


@dataclasses.dataclass(frozen=True)
class Workload:
    """One function to differentiate twice with respect to its first `inputs` arguments."""

    title: str
    function: Callable[..., Any]
    #: arguments(*size) -> the arguments of the function
    arguments: Callable[..., tuple[Any, ...]]
    size: tuple[int, ...]
    tiny: tuple[int, ...]
    #: who takes part beside symhess; a peer `name-variant` belongs to the peer `name`
    peers: tuple[str, ...] = ("jax", "floor")
    #: pattern(*arguments) of a sparse Hessian; None asks for the dense one
    pattern: Callable[..., Pattern] | None = None
    inputs: int = 1

    @property
    def argnums(self) -> int | tuple[int, ...]:
        """The differentiated arguments."""
        return 0 if self.inputs == 1 else tuple(range(self.inputs))

    def indices(self, arguments: tuple[Any, ...]) -> tuple[int, ...]:
        """The arguments that are arrays of integers, which index other arrays."""
        return tuple(k for k, a in enumerate(arguments) if a.dtype.kind == "i")


def pattern_from_pairs(n: int, rows: np.ndarray, columns: np.ndarray, colours: np.ndarray) -> Pattern:
    """The pattern holding the pairs of both triangles."""
    both = np.concatenate([rows, columns]), np.concatenate([columns, rows])
    structure = scipy.sparse.coo_array((np.ones(len(both[0])), both), shape=(n, n)).tocsr()
    structure.sum_duplicates()
    return Pattern(structure, colours)


def rosenbrock_arguments(n: int) -> tuple[np.ndarray]:
    return (np.random.default_rng(0).uniform(-1.2, 1.2, n),)


def rosenbrock_pattern(x: np.ndarray) -> Pattern:
    """Tridiagonal: three colours."""
    i = np.arange(x.size)
    rows, columns = np.concatenate([i, i[1:]]), np.concatenate([i, i[:-1]])
    return pattern_from_pairs(x.size, rows, columns, i % 3)


def minimal_surface_arguments(n: int) -> tuple[np.ndarray]:
    s = np.linspace(0, 1, n)
    bumps = np.sin(3 * s[:, None]) * np.cos(2 * s) + s[:, None] * s**2
    return (bumps + 0.1 / n * np.random.default_rng(1).standard_normal((n, n)),)


def minimal_surface_pattern(z: np.ndarray) -> Pattern:
    """A seven-point stencil, tiled by the seven colours i + 3 j mod 7."""
    node = np.arange(z.size).reshape(z.shape)
    corner, below, right = node[:-1, :-1].ravel(), node[1:, :-1].ravel(), node[:-1, 1:].ravel()
    rows = np.concatenate([node.ravel(), corner, corner, below])
    columns = np.concatenate([node.ravel(), below, right, right])
    i, j = np.indices(z.shape)
    return pattern_from_pairs(z.size, rows, columns, ((i + 3 * j) % 7).ravel())


def bundle_arguments(cameras: int, points: int, views: int) -> tuple[np.ndarray, ...]:
    """A cloud of points seen by cameras around it, each point by `views` of them."""
    rng = np.random.default_rng(2)
    angle = rng.uniform(0.2, 2.0, (cameras, 1))
    axis = rng.standard_normal((cameras, 3))
    rotation = angle * axis / np.linalg.norm(axis, axis=1, keepdims=True)
    translation = np.array([0.0, 0.0, -8.0]) + 0.3 * rng.standard_normal((cameras, 3))
    lens = np.array([500.0, -0.1, 0.02]) * rng.uniform(0.9, 1.1, (cameras, 3))
    camera_index = np.argsort(rng.random((points, cameras)), axis=1)[:, :views].ravel()
    point_index = np.repeat(np.arange(points), views)
    observed = 40 * rng.standard_normal((points * views, 2))
    parameters = np.hstack([rotation, translation, lens])
    return parameters, rng.standard_normal((points, 3)), camera_index, point_index, observed


def bundle_variables(cameras: np.ndarray, camera_index: np.ndarray, point_index: np.ndarray) -> np.ndarray:
    """The twelve variables of every observation, numbered through the cameras and then the points."""
    return np.hstack([9 * camera_index[:, None] + np.arange(9), cameras.size + 3 * point_index[:, None] + np.arange(3)])


def bundle_pattern(cameras: np.ndarray, points: np.ndarray, camera_index: np.ndarray, point_index: np.ndarray,
                   observed: np.ndarray) -> Pattern:
    """An arrowhead of blocks: every camera parameter has its own colour, all points share three."""
    variables = bundle_variables(cameras, camera_index, point_index)
    rows, columns = np.repeat(variables, 12, axis=1).ravel(), np.tile(variables, 12).ravel()
    k = np.arange(cameras.size + points.size)
    return pattern_from_pairs(k.size, rows, columns, np.minimum(k, cameras.size + (k - cameras.size) % 3))


def logistic_arguments(samples: int, features: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((samples, features))
    w = 0.1 * rng.standard_normal(features)
    return w, X, np.where(rng.random(samples) < 1 / (1 + np.exp(-X @ w)), 1.0, -1.0)


def log_sum_exp_arguments(rows: int, n: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(4)
    return rng.standard_normal(n) / np.sqrt(n), rng.standard_normal((rows, n)), rng.standard_normal(rows)


def factorisation_arguments(rows: int, columns: int, k: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(5)
    U, V = 0.3 * rng.standard_normal((rows, k)), 0.3 * rng.standard_normal((columns, k))
    return U, V, rng.standard_normal((rows, columns))


def mlp_arguments(samples: int, *widths: int) -> tuple[np.ndarray, ...]:
    """Weights and biases of both layers, then inputs and labels."""
    rng = np.random.default_rng(6)
    layers = [array for m, n in itertools.pairwise(widths)
              for array in (rng.standard_normal((m, n)) / np.sqrt(m), 0.1 * rng.standard_normal(n))]
    return *layers, rng.standard_normal((samples, widths[0])), rng.integers(0, widths[-1], samples)


def lennard_jones_arguments(atoms: int) -> tuple[np.ndarray, ...]:
    """Atoms on a cubic lattice, shaken."""
    side = int(np.ceil(atoms ** (1 / 3)))
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)[:atoms]
    shake = 0.05 * np.random.default_rng(7).standard_normal((atoms, 3))
    return ((1.1 * lattice + shake).ravel(), *np.triu_indices(atoms, 1))


WORKLOADS = {
    "rosenbrock_10": Workload(
        "Rosenbrock, n = 10, dense", functions.rosenbrock, rosenbrock_arguments, (10,), (4,)),
    "lennard_jones": Workload(
        "Lennard-Jones, 13 atoms, 39 x 39", functions.lennard_jones, lennard_jones_arguments, (13,), (4,)),
    "rosenbrock_1e5": Workload(
        "chained Rosenbrock, 10^5, sparse", functions.rosenbrock, rosenbrock_arguments, (10**5,), (7,),
        pattern=rosenbrock_pattern),
    "rosenbrock_1e6": Workload(
        "chained Rosenbrock, 10^6, sparse", functions.rosenbrock, rosenbrock_arguments, (10**6,), (11,),
        pattern=rosenbrock_pattern),
    "minimal_surface": Workload(
        "minimal surface, 512 x 512, sparse", functions.minimal_surface, minimal_surface_arguments, (512,), (5,),
        pattern=minimal_surface_pattern),
    "bundle_adjustment": Workload(
        "bundle adjustment, 6,450 variables, sparse", functions.bundle_adjustment, bundle_arguments,
        (50, 2000, 5), (3, 8, 2), ("jax", "jax-colours"), bundle_pattern, inputs=2),
    "logistic": Workload(
        "logistic regression, 10,000 x 300", functions.logistic_regression, logistic_arguments, (10**4, 300), (40, 6)),
    "log_sum_exp": Workload(
        "log-sum-exp, 2,000 x 1,000", functions.log_sum_exp, log_sum_exp_arguments, (2000, 1000), (30, 7)),
    "factorisation": Workload(
        "matrix factorisation, 100 x 80, k = 10", functions.matrix_factorisation, factorisation_arguments,
        (100, 80, 10), (4, 3, 2), inputs=2),
    "mlp": Workload(
        "MLP 64-16-10, 256 samples, 1,210 parameters", functions.mlp, mlp_arguments,
        (256, 64, 16, 10), (7, 4, 3, 2), inputs=4),
}
