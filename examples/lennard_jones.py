"""The cluster of 13 Lennard-Jones atoms: its lowest energy and its vibrations.

    python -m examples.lennard_jones [--starts 40]

Random arrangements are relaxed by a trust-region method with exact Hessians until one reaches the icosahedron, whose
energy -44.326801 has been known since Hoare and Pal (1971; tabulated in the Cambridge Cluster Database). There the
Hessian's eigenvalues are the squared frequencies of the vibrations (unit masses): six vanish (rotations and
translations), and the symmetry of the icosahedron gathers the other 33 in groups of 3, 4, 5 and 1.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.optimize import minimize

from symhess import hessian_jit

ATOMS = 13
KNOWN_ENERGY = -44.326801


@hessian_jit
def energy(x):
    """The sum of 4 (r^-12 - r^-6) over all pairs."""
    atoms = x.reshape(-1, 3)
    i, j = np.triu_indices(len(atoms), 1)
    r2 = np.sum((atoms[i] - atoms[j]) ** 2, axis=1)
    return 4 * np.sum(r2**-6 - r2**-3)


def random_cluster(rng: np.random.Generator, apart: float = 0.8, radius: float = 1.6) -> np.ndarray:
    """Atoms uniform in a ball, no two of them closer than `apart`."""
    atoms: list[np.ndarray] = []
    while len(atoms) < ATOMS:
        new = rng.uniform(-radius, radius, 3)
        if np.linalg.norm(new) < radius and all(np.linalg.norm(new - a) > apart for a in atoms):
            atoms.append(new)
    return np.concatenate(atoms)


def relaxed(x: np.ndarray) -> tuple[np.ndarray, float, int]:
    """A local minimum, its energy, and the iterations that led there."""
    result = minimize(energy.value, x, jac=energy.grad, hess=energy, method="trust-exact",
                      options={"gtol": 1e-8, "maxiter": 500})
    return result.x, float(result.fun), result.nit


def groups(values: np.ndarray, tolerance: float = 1e-4) -> list[tuple[float, int]]:
    """Equal values of a sorted array, with how many there are."""
    starts = np.flatnonzero(np.diff(values, prepend=-np.inf) > tolerance)
    return [(float(part.mean()), len(part)) for part in np.split(values, starts[1:])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=40, help="random arrangements to try")
    starts = parser.parse_args().starts
    rng, best, lowest = np.random.default_rng(0), None, np.inf
    begin = time.perf_counter()
    print(f"{'start':>5} {'energy':>12} {'iterations':>11}")
    for start in range(starts):
        x, value, iterations = relaxed(random_cluster(rng))
        if value < lowest - 1e-9:
            best, lowest = x, value
            print(f"{start:5d} {value:12.6f} {iterations:11d}")
        if lowest < KNOWN_ENERGY + 1e-5:
            break
    print(f"lowest energy: {lowest:.6f} (known: {KNOWN_ENERGY}), {time.perf_counter() - begin:.1f} s\n")
    eigenvalues = np.linalg.eigvalsh(energy(best))
    print(f"{'frequency':>10} {'multiplicity':>13}")
    for value, count in groups(eigenvalues):
        print(f"{np.sqrt(max(value, 0)):10.4f} {count:13d}")
    print(f"\nzero modes: {np.sum(abs(eigenvalues) < 1e-5)}, vibrations: {np.sum(eigenvalues > 1e-5)}")


if __name__ == "__main__":
    main()
