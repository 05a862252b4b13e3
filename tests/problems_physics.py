"""Energies, trajectories and controls."""

import numpy as np
from problem import Problem, cliques, dense, problem


@problem()
def lennard_jones(n=4):
    """Lennard-Jones clusters with pair index arrays."""
    rng = np.random.default_rng(50)
    i, j = np.triu_indices(n, 1)

    def f(x):
        d = x[i] - x[j]
        s6 = 1 / np.sum(d**2, axis=1)**3
        return 4 * np.sum(s6**2 - s6)

    return Problem(f, (_cluster(rng, n),), pattern=dense(3 * n))


@problem("loops")
def lennard_jones_loops(n=4):
    """Lennard-Jones clusters with nested Python loops over flat coordinates."""
    rng = np.random.default_rng(51)

    def f(x):
        n = len(x) // 3
        energy = 0.0
        for i in range(n):
            for j in range(i + 1, n):
                r2 = 0.0
                for k in range(3):
                    r2 += (x[3 * i + k] - x[3 * j + k])**2
                s6 = 1 / r2**3
                energy += 4 * (s6 * s6 - s6)
        return energy

    return Problem(f, (_cluster(rng, n).ravel(),), pattern=dense(3 * n))


def _cluster(rng, n):
    """Points near a cubic lattice, none too close to another."""
    side = int(np.ceil(n**(1 / 3)))
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:n]
    return 1.1 * lattice + 0.08 * rng.normal(size=(n, 3))


@problem("sparse")
def thomson(n=4):
    """Thomson's problem: charges on a sphere, in a dict of angles, broadcast distances."""
    i, j = np.triu_indices(n, 1)

    def f(angles):
        a, b = angles["azimuth"], angles["polar"]
        p = np.stack([np.sin(b) * np.cos(a), np.sin(b) * np.sin(a), np.cos(b)], axis=-1)
        distance = np.sqrt(np.sum((p[:, None, :] - p[None, :, :])**2, axis=-1)[i, j])
        return np.sum(1 / distance)

    angles = {"azimuth": np.linspace(0.2, 4.9, n), "polar": 1.2 + 0.5 * np.cos(np.arange(n) * 2.0)}
    return Problem(f, (angles,), pattern=dense(2 * n))


@problem("loops")
def robot_arm(n=5):
    """A planar arm: joint angles added up in a loop, distance of its tip to a target."""
    def f(q):
        x, y, angle = 0.0, 0.0, 0.0
        for k in range(len(q)):
            angle = angle + q[k]
            x = x + np.cos(angle) / (k + 1)
            y = y + np.sin(angle) / (k + 1)
        return (x - 0.7)**2 + (y - 0.4)**2 + 0.01 * np.sum(q**2)

    return Problem(f, (np.linspace(0.3, 0.8, n),), pattern=dense(n))


def _pendulum(x, steps):
    """The angle after `steps` Runge-Kutta steps of a damped pendulum; plain scalars in a loop."""
    angle, speed, length, friction = x[0], x[1], x[2], x[3]
    h = 2.0 / steps

    def acceleration(a, s):
        return -9.81 / length * np.sin(a) - friction * s

    for _ in range(steps):
        k1, l1 = speed, acceleration(angle, speed)
        k2, l2 = speed + h / 2 * l1, acceleration(angle + h / 2 * k1, speed + h / 2 * l1)
        k3, l3 = speed + h / 2 * l2, acceleration(angle + h / 2 * k2, speed + h / 2 * l2)
        k4, l4 = speed + h * l3, acceleration(angle + h * k3, speed + h * l3)
        angle = angle + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        speed = speed + h / 6 * (l1 + 2 * l2 + 2 * l3 + l4)
    return angle


@problem("loops", "chain")
def pendulum(steps=20):
    """A Runge-Kutta pendulum over 20 steps, in four parameters."""
    def f(x):
        return (_pendulum(x, steps) - 0.3)**2

    return Problem(f, (np.array([0.5, 0.1, 1.2, 0.2]),), pattern=dense(4))


@problem("loops", "chain", "large")
def long_pendulum(steps=200):
    """The same pendulum over 200 steps."""
    def f(x):
        return (_pendulum(x, steps) - 0.3)**2

    return Problem(f, (np.array([0.5, 0.1, 1.2, 0.2]),), pattern=dense(4))


@problem("loops", "chain")
def optimal_control(n=6):
    """Controls of a nonlinear oscillator: states by a Python loop, quadratic cost."""
    def f(u):
        position, speed, cost = 1.0, 0.0, 0.0
        for k in range(len(u)):
            position, speed = position + 0.2 * speed, speed + 0.2 * (u[k] - np.sin(position))
            cost = cost + position**2 + 0.1 * speed**2 + 0.5 * u[k]**2
        return cost

    return Problem(f, (np.linspace(-0.5, 0.4, n),), pattern=dense(n))


@problem("loops", "inplace")
def vector_states(n=4):
    """Trajectory of a linear system stored row by row into a buffer, controls as a matrix."""
    A = np.array([[1.0, 0.2, 0.0], [-0.1, 0.9, 0.1], [0.0, -0.2, 0.8]])
    B = np.array([[0.1, 0.0], [0.3, 0.2], [0.0, 0.5]])

    def f(u):
        x = np.zeros((len(u) + 1, 3))
        x[0] = np.array([1.0, 0.5, -0.5])
        for k in range(len(u)):
            x[k + 1] = A @ x[k] + B @ u[k]
        return np.sum(np.cosh(x)) + np.sum(u**2)

    return Problem(f, (np.sin(np.arange(2.0 * n)).reshape(n, 2),), pattern=dense(2 * n))


@problem("scalar")
def two_bodies():
    """Orbital energy of two bodies in positions and velocities."""
    def f(q, v):
        r = np.sqrt((q[0] - q[2])**2 + (q[1] - q[3])**2)
        return 0.5 * (3.0 * (v[0]**2 + v[1]**2) + 0.5 * (v[2]**2 + v[3]**2)) - 1.5 / r

    return Problem(f, (np.array([0.1, -0.2, 1.0, 0.7]), np.array([0.3, 0.1, -0.4, 0.8])), argnums=(0, 1),
                   pattern=cliques(8, [range(4), *([k] for k in range(4, 8))]))


@problem("sparse", "loops")
def transcription(n=4):
    """Direct transcription: defects of a pendulum between neighbouring time points, state rows in one matrix."""
    def f(z):
        total = 0.0
        for k in range(len(z) - 1):
            (a, s, u), (a1, s1, _) = z[k], z[k + 1]
            total = total + (a1 - a - 0.1 * s)**2 + (s1 - s - 0.1 * (u - np.sin(a)))**2 + 0.01 * u**2
        return total

    pattern = np.zeros((3 * n, 3 * n), bool)
    for k in range(n - 1):
        a, s, u, a1, s1 = range(3 * k, 3 * k + 5)
        for group in ((a1, a, s), (s1, s, u, a)):
            pattern[np.ix_(group, group)] = True
    return Problem(f, (np.cos(np.arange(3.0 * n)).reshape(n, 3),), pattern=pattern)


@problem("sparse", "linalg")
def truss_compliance(n=3):
    """Compliance of a chain of bars: a stiffness matrix assembled from outer products, and a solve."""
    bars = np.diff(np.eye(n + 1), axis=0)[:, 1:]
    load = np.linspace(1, 2, n)

    def f(areas):
        K = np.einsum("b,bi,bj->ij", areas, bars, bars)
        return load @ np.linalg.solve(K, load) + 0.1 * np.sum(areas**2)

    def hessian(areas):
        forces = np.cumsum(load[::-1])[::-1]
        return np.diag(2 * forces**2 / areas**3 + 0.2)

    return Problem(f, (np.linspace(0.8, 1.5, n),), hessian=hessian)
