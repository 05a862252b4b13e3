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

    def picked(self, n: int) -> np.ndarray:
        """Where every stored entry is found in the products with all colours, laid end to end."""
        found = self.colours[self.structure.indices] * n + self.rows
        return found.astype(np.int32) if n * (1 + int(self.colours.max())) < 2**31 else found

    def positions(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Where the entries (rows, columns) stand among the stored ones: by bisection of all rows at once."""
        rows, columns = np.broadcast_arrays(rows, columns)
        if rows.ndim > 1:
            return np.stack([self.positions(r, c) for r, c in zip(rows, columns)])
        low, high = self.structure.indptr[rows], self.structure.indptr[rows + 1] - 1
        while np.any(low < high):
            middle = low + (high - low) // 2
            less = self.structure.indices[middle] < columns
            low, high = np.where(less, middle + 1, low), np.where(less, high, middle)
        return low


@dataclasses.dataclass(frozen=True)
class Workload:
    """One function to differentiate twice with respect to its first `inputs` arguments."""

    title: str
    function: Callable[..., Any]
    #: arguments(*size) -> the arguments of the function
    arguments: Callable[..., tuple[Any, ...]]
    size: tuple[int, ...]
    tiny: tuple[int, ...]
    #: pattern(*arguments) of a sparse Hessian; None asks for the dense one
    pattern: Callable[..., Pattern] | None = None
    inputs: int = 1
    #: "hessian"; "batch": one for every row of the first argument; "hvp": its product with `direction`
    product: str = "hessian"
    #: flops(*size) of the matrix products that nobody gets around
    flops: Callable[..., float] | None = None
    #: run only where it is named, as it takes much memory or time
    named_only: bool = False

    @property
    def argnums(self) -> int | tuple[int, ...]:
        """The differentiated arguments."""
        return 0 if self.inputs == 1 else tuple(range(self.inputs))

    def indices(self, arguments: tuple[Any, ...]) -> tuple[int, ...]:
        """The arguments that are integers or arrays of them, which index other arrays or count."""
        return tuple(k for k, a in enumerate(arguments) if np.asarray(a).dtype.kind == "i")

    def direction(self, arguments: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
        """What a Hessian is multiplied with: one array like each differentiated argument."""
        rng = np.random.default_rng(10)
        return tuple(rng.standard_normal(a.shape).astype(a.dtype) for a in arguments[:self.inputs])

    def variables(self, arguments: tuple[Any, ...]) -> int:
        """The size of the differentiated arguments, those of one row in a batch."""
        if self.product == "batch":
            return arguments[0].shape[1]
        return sum(a.size for a in arguments[:self.inputs])


def pattern_from_pairs(n: int, rows: np.ndarray, columns: np.ndarray, colours: np.ndarray) -> Pattern:
    """The pattern holding the pairs of both triangles."""
    return pattern_of(n, np.concatenate([rows, columns]), np.concatenate([columns, rows]), colours)


def pattern_of(n: int, rows: np.ndarray, columns: np.ndarray, colours: np.ndarray) -> Pattern:
    """The pattern holding these pairs."""
    pairs = rows.astype(np.int32), columns.astype(np.int32)
    # marks are small: there are 144 million for a million observations
    structure = scipy.sparse.coo_array((np.ones(rows.size, np.int8), pairs), shape=(n, n)).tocsr()
    structure.sum_duplicates()
    structure.data = np.ones(structure.nnz)
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
    camera_index = smallest(rng.random((points, cameras)), views).ravel()
    point_index = np.repeat(np.arange(points), views)
    observed = 40 * rng.standard_normal((points * views, 2))
    parameters = np.hstack([rotation, translation, lens])
    return parameters, rng.standard_normal((points, 3)), camera_index, point_index, observed


def smallest(values: np.ndarray, count: int) -> np.ndarray:
    """Where the `count` smallest numbers of every row stand, in their order."""
    found = np.argpartition(values, count - 1, axis=1)[:, :count] if count < values.shape[1] else np.argsort(values)
    order = np.argsort(np.take_along_axis(values, found, axis=1), axis=1)
    return np.take_along_axis(found, order, axis=1)


def bundle_variables(cameras: np.ndarray, camera_index: np.ndarray, point_index: np.ndarray) -> np.ndarray:
    """The twelve variables of every observation, numbered through the cameras and then the points."""
    return np.hstack([9 * camera_index[:, None] + np.arange(9), cameras.size + 3 * point_index[:, None] + np.arange(3)])


def bundle_pattern(cameras: np.ndarray, points: np.ndarray, camera_index: np.ndarray, point_index: np.ndarray,
                   observed: np.ndarray) -> Pattern:
    """An arrowhead of blocks: every camera parameter has its own colour, all points share three."""
    variables = bundle_variables(cameras, camera_index, point_index).astype(np.int32)
    rows, columns = np.repeat(variables, 12, axis=1).ravel(), np.tile(variables, 12).ravel()
    k = np.arange(cameras.size + points.size)
    return pattern_of(k.size, rows, columns, np.minimum(k, cameras.size + (k - cameras.size) % 3))


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


def rosenbrock_rows(points: int, n: int) -> tuple[np.ndarray]:
    return (np.random.default_rng(8).uniform(-1.2, 1.2, (points, n)),)


def decay_arguments(points: int) -> tuple[Any, ...]:
    return np.random.default_rng(9).uniform(0.5, 2.0, (points, 3)), 1.3, 0.7


def arm_arguments(joints: int) -> tuple[np.ndarray, ...]:
    return np.linspace(0.1, 0.6, joints), np.linspace(1.0, 0.5, joints), np.array([1.5, 2.0])


def mixture_arguments(components: int, data: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(11)
    means = np.linspace(-3, 3, components)
    theta = np.concatenate([rng.uniform(-0.3, 0.3, components), means, rng.uniform(-0.3, 0.3, components)])
    return theta, means[rng.integers(0, components, data)] + rng.standard_normal(data)


def cnn_arguments(samples: int, side: int, maps: int, classes: int, dtype: Any = np.float64) -> tuple[np.ndarray, ...]:
    """Kernels, biases and dense weights, then images and labels."""
    rng = np.random.default_rng(12)
    inner = side * side * maps
    arrays = (rng.standard_normal((9, maps)) / 3, 0.1 * rng.standard_normal(maps),
              rng.standard_normal((inner, classes)) / np.sqrt(inner), 0.1 * rng.standard_normal(classes),
              rng.standard_normal((samples, side, side)))
    return *(a.astype(dtype) for a in arrays), rng.integers(0, classes, samples)


def small_floats_cnn_arguments(samples: int, side: int, maps: int, classes: int) -> tuple[np.ndarray, ...]:
    return cnn_arguments(samples, side, maps, classes, np.float32)


def cnn_flops(samples: int, side: int, maps: int, classes: int) -> float:
    """The block of the dense layer, for the lower triangle of the classes."""
    inner = side * side * maps + 1
    return samples * inner**2 * classes * (classes + 1)


def mlp_flops(samples: int, inputs: int, hidden: int, classes: int) -> float:
    """The first layer's block for the lower triangle of the hidden units, and the mixed block."""
    first = (inputs + 1) * hidden
    return samples * (first * (inputs + 1) * (hidden + 1) + 2 * first * (hidden + 1) * classes)


def product_flops(samples: int, inputs: int, hidden: int, classes: int) -> float:
    """Three products with the inputs (values, tangents, the result) and eight between hidden units and classes."""
    return 2 * samples * hidden * (3 * inputs + 8 * classes)


def gaussian_process_arguments(points: int) -> tuple[np.ndarray, ...]:
    s = np.linspace(0, 1, points)
    return np.array([0.1, -1.5, -1.0]), s, np.sin(6 * s) + 0.3 * np.random.default_rng(13).standard_normal(points)


def pendulum_arguments(steps: int) -> tuple[Any, ...]:
    return np.array([0.5, 0.1, 1.2, 0.2]), steps


def control_arguments(steps: int) -> tuple[np.ndarray]:
    return (0.1 * np.random.default_rng(14).standard_normal(steps),)


def newton_arguments(n: int) -> tuple[np.ndarray]:
    return (np.random.default_rng(15).uniform(0.5, 2.0, n),)


def loop_pairs(n: int) -> tuple[np.ndarray]:
    return (np.random.default_rng(16).uniform(0.0, n / 10, n),)


def vectorised_pairs(n: int) -> tuple[np.ndarray, ...]:
    return (*loop_pairs(n), *np.triu_indices(n, 1))


def oscillation_arguments(observations: int) -> tuple[np.ndarray, ...]:
    t = np.linspace(0.0, 3.0, observations)
    noise = 0.1 * np.random.default_rng(17).standard_normal(observations)
    return np.array([1.0, 0.5, 3.0, 0.2]), t, np.exp(-0.6 * t) * np.cos(2.9 * t) + 0.1 + noise


def grid_arguments(buses: int, chords: int) -> tuple[np.ndarray, ...]:
    """A ring of buses with chords between random ones."""
    rng = np.random.default_rng(18)
    ring = np.stack([np.arange(buses), (np.arange(buses) + 1) % buses], axis=1)
    first = rng.integers(0, buses, chords)
    chord = np.stack([first, (first + rng.integers(2, buses - 1, chords)) % buses], axis=1)
    lines = np.concatenate([ring, chord])
    x = np.concatenate([0.2 * rng.standard_normal(buses), 1 + 0.05 * rng.standard_normal(buses)])
    conductance, susceptance = rng.uniform(0.5, 2.0, (2, len(lines)))
    return x, lines, conductance, susceptance, 0.3 * rng.standard_normal(len(lines))


def grid_variables(buses: int, lines: np.ndarray) -> np.ndarray:
    """The angles of both ends of every line, then the magnitudes."""
    return np.concatenate([lines, buses + lines], axis=1)


def grid_pattern(x: np.ndarray, lines: np.ndarray, *data: np.ndarray) -> Pattern:
    """Blocks of 4 x 4 along the lines: both ends, angle and magnitude."""
    variables = grid_variables(x.size // 2, lines)
    rows, columns = np.repeat(variables, 4, axis=1).ravel(), np.tile(variables, 4).ravel()
    return pattern_from_pairs(x.size, rows, columns, greedy_colours(x.size, rows, columns))


def greedy_colours(n: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A colour for every column such that no row meets a colour twice."""
    structure = scipy.sparse.coo_array((np.ones(rows.size), (rows, columns)), shape=(n, n)).tocsr()
    conflicts, colours = (structure @ structure).tocsr(), np.full(n, -1)
    for k in range(n):
        taken = set(colours[conflicts.indices[conflicts.indptr[k]:conflicts.indptr[k + 1]]].tolist())
        colours[k] = next(c for c in itertools.count() if c not in taken)
    return colours


def _pairs(n: int, function: Callable[..., Any]) -> Workload:
    loop = function is functions.pair_energy_loop
    return Workload(f"pairs, n = {n}, " + ("two Python loops" if loop else "vectorised by hand"), function,
                    loop_pairs if loop else vectorised_pairs, (n,), (4,))


WORKLOADS = {
    "rosenbrock_10": Workload(
        "Rosenbrock, n = 10, dense", functions.rosenbrock, rosenbrock_arguments, (10,), (4,)),
    "planar_arm": Workload(
        "planar arm, 6 joints", functions.planar_arm, arm_arguments, (6,), (3,)),
    "lennard_jones": Workload(
        "Lennard-Jones, 13 atoms, 39 x 39", functions.lennard_jones, lennard_jones_arguments, (13,), (4,)),
    "mixture": Workload(
        "mixture of 3 normals, 1,000 data, 9 x 9", functions.gaussian_mixture, mixture_arguments, (3, 1000), (2, 5)),
    "rosenbrock_rows": Workload(
        "4-D Rosenbrock at 10^6 points", functions.rosenbrock, rosenbrock_rows, (10**6, 4), (5, 4), product="batch"),
    "decay_rows": Workload(
        "decay residual at 200,000 points", functions.decay_residual, decay_arguments, (200_000,), (5,),
        product="batch"),
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
        (50, 2000, 5), (3, 8, 2), bundle_pattern, inputs=2),
    "rosenbrock_1e7": Workload(
        "chained Rosenbrock, 10^7, sparse", functions.rosenbrock, rosenbrock_arguments, (10**7,), (13,),
        pattern=rosenbrock_pattern, named_only=True),
    "minimal_surface_4096": Workload(
        "minimal surface, 4096 x 4096, sparse", functions.minimal_surface, minimal_surface_arguments, (4096,), (6,),
        pattern=minimal_surface_pattern, named_only=True),
    "bundle_adjustment_1e6": Workload(
        "bundle adjustment, 10^6 observations, 609,000 variables, sparse", functions.bundle_adjustment,
        bundle_arguments, (1000, 200_000, 5), (4, 9, 2), bundle_pattern, inputs=2, named_only=True),
    "logistic": Workload(
        "logistic regression, 10,000 x 300", functions.logistic_regression, logistic_arguments, (10**4, 300), (40, 6),
        flops=lambda samples, n: samples * n * (n + 1)),
    "log_sum_exp": Workload(
        "log-sum-exp, 2,000 x 1,000", functions.log_sum_exp, log_sum_exp_arguments, (2000, 1000), (30, 7),
        flops=lambda rows, n: rows * n * (n + 1)),
    "factorisation": Workload(
        "matrix factorisation, 100 x 80, k = 10", functions.matrix_factorisation, factorisation_arguments,
        (100, 80, 10), (4, 3, 2), inputs=2),
    "mlp": Workload(
        "MLP 64-16-10, 256 samples, 1,210 parameters", functions.mlp, mlp_arguments,
        (256, 64, 16, 10), (7, 4, 3, 2), inputs=4, flops=mlp_flops),
    "mlp_product": Workload(
        "Hessian times vector, MLP 784-256-10, 512 samples", functions.mlp, mlp_arguments,
        (512, 784, 256, 10), (7, 5, 4, 3), inputs=4, product="hvp", flops=product_flops),
    "cnn_6x6": Workload(
        "CNN 6 x 6, 6,085 parameters", functions.cnn, cnn_arguments, (16, 6, 32, 5), (3, 4, 2, 3), inputs=4,
        flops=cnn_flops),
    "cnn_12x12": Workload(
        "CNN 12 x 12, 23,365 parameters, float32", functions.cnn, small_floats_cnn_arguments, (16, 12, 32, 5),
        (3, 4, 2, 3), inputs=4, flops=cnn_flops, named_only=True),
    "gaussian_process": Workload(
        "Gaussian process, 200 points, 3 x 3", functions.gaussian_process, gaussian_process_arguments, (200,), (8,),
        flops=lambda n: 11 * n**3 / 3),
    "pendulum_200": Workload(
        "Runge-Kutta pendulum, 200 steps, 4 x 4", functions.pendulum, pendulum_arguments, (200,), (3,)),
    "pendulum_1000": Workload(
        "Runge-Kutta pendulum, 1,000 steps, 4 x 4", functions.pendulum, pendulum_arguments, (1000,), (4,)),
    "optimal_control": Workload(
        "optimal control, 100 steps, 100 x 100", functions.optimal_control, control_arguments, (100,), (4,)),
    "newton_root": Workload(
        "Newton square root, while, 10 x 10", functions.newton_square_root, newton_arguments, (10,), (3,)),
    "pairs_40": _pairs(40, functions.pair_energy_loop),
    "pairs_60": _pairs(60, functions.pair_energy_loop),
    "pairs_120": _pairs(120, functions.pair_energy_loop),
    "pairs_240": _pairs(240, functions.pair_energy_loop),
    "pairs_40_arrays": _pairs(40, functions.pair_energy),
    "pairs_60_arrays": _pairs(60, functions.pair_energy),
    "pairs_120_arrays": _pairs(120, functions.pair_energy),
    "pairs_240_arrays": _pairs(240, functions.pair_energy),
    "residuals": Workload(
        "least squares, 10^4 observations, a Python loop", functions.residual_loop, oscillation_arguments,
        (10**4,), (5,)),
    "residuals_arrays": Workload(
        "least squares, 10^4 observations, vectorised by hand", functions.residual_sum, oscillation_arguments,
        (10**4,), (5,)),
    "power_flow": Workload(
        "power flow, 300 buses, 411 lines, a Python loop, sparse", functions.power_flow_loop, grid_arguments,
        (300, 111), (5, 2), pattern=grid_pattern),
    "power_flow_arrays": Workload(
        "power flow, 300 buses, 411 lines, vectorised by hand, sparse", functions.power_flow, grid_arguments,
        (300, 111), (5, 2), pattern=grid_pattern),
}
