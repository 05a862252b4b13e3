"""Models of physics, chemistry, engineering and economics whose energies and costs are minimised."""

import dataclasses
import functools
import itertools
import math

import numpy as np
from published import published

# -- particles and molecules ---------------------------------------------------------------------------------------


def pairs_of(points):
    """All distances between points, by a generator."""
    for a, b in itertools.combinations(points, 2):
        yield np.sqrt(np.sum((a - b) ** 2))


def potential_energy(x, pair, dimensions=2):
    return sum(pair(r) for r in pairs_of(x.reshape(-1, dimensions)))


FOUR = (0.0, 0.1, 1.1, 0.0, 0.2, 1.2, 1.3, 1.1)


@published(*FOUR)
def lennard_jones(x):
    return potential_energy(x, lambda r: 4 * (r**-12 - r**-6))


@published(*FOUR)
def buckingham(x):
    return potential_energy(x, lambda r: 100 * math.exp(-4 * r) - r**-6)


@published(*FOUR)
def yukawa(x):
    return potential_energy(x, lambda r: np.exp(-r) / r)


@published(*FOUR)
def truncated_and_shifted(x):
    """Lennard-Jones, cut off at 1.4: no force beyond."""
    cut = 1.4
    return potential_energy(x, lambda r: r**-12 - r**-6 - cut**-12 + cut**-6 if r < cut else 0.0)


@published(*FOUR)
def finnis_sinclair(x):
    points = x.reshape(-1, 2)
    energy = 0.0
    for i in range(4):
        density, repulsion = 0.0, 0.0
        for j in range(4):
            if i == j:
                continue
            r = np.linalg.norm(points[i] - points[j])
            if r > 1.5:
                continue
            density += (r - 1.5) ** 2
            repulsion += 0.5 * (r - 1.5) ** 2 * (1 + r)
        energy += repulsion - np.sqrt(density)
    return energy


@published(0.0, 0.0, 0.1, 1.0, 0.1, 0.0, 1.5, 0.9, 0.2)
def stillinger_weber_angle(x):
    a, b, c = x.reshape(3, 3)
    u, v = a - b, c - b
    cosine = u @ v / (np.linalg.norm(u) * np.linalg.norm(v))
    return (cosine + 1 / 3) ** 2 + (np.linalg.norm(u) - 1) ** 2 + (np.linalg.norm(v) - 1) ** 2


@published(0.0, 0.0, 0.1, 1.0, 0.1, 0.0, 1.5, 0.9, 0.2, 2.3, 1.0, 0.9)
def torsion_of_butane(x):
    p = x.reshape(4, 3)
    b = [p[i + 1] - p[i] for i in range(3)]
    m, n = np.cross(b[0], b[1]), np.cross(b[1], b[2])
    cosine = np.dot(m, n) / math.sqrt(np.dot(m, m) * np.dot(n, n))
    return 1.1 + 1.5 * cosine - 0.3 * cosine**2 - 3 * cosine**3


@published(1.0, 0.2, -0.3, 0.9, 0.1, 0.8, -0.9, 0.3, 0.2)
def thomson_three(x):
    unit = np.apply_along_axis(lambda v: v / np.sqrt(v @ v), 1, x.reshape(3, 3))
    return sum(1 / np.sqrt(((unit[i] - unit[j]) ** 2).sum()) for i in range(3) for j in range(i))


@published(0.4, 1.0, 2.2, 2.9)
def xy_model_ring(x):
    return -sum(math.cos(a - b) for a, b in zip(x, np.roll(x, -1))) + 0.1 * np.sum(np.cos(4 * x))


@published(0.1, 0.4, 1.3, 1.9, 3.2)
def frenkel_kontorova(x):
    springs = 0.5 * np.sum((x[1:] - x[:-1] - 0.8) ** 2)
    return springs + np.sum(1 - np.cos(2 * np.pi * x)) / (2 * np.pi) ** 2


@published(0.1, -0.2, 0.3, 0.1, 0.2)
def fermi_pasta_ulam(x):
    chain = [0.0, *x, 0.0]
    return sum(0.5 * d**2 + 0.25 / 3 * d**3 + d**4 / 4 for d in (b - a for a, b in itertools.pairwise(chain)))


@published(0.1, -0.2, 0.3, 0.1, 0.2)
def toda_lattice(x):
    d = np.ediff1d(np.pad(x, 1))
    return np.sum(np.exp(-d) + d - 1)


@published(0.4, 0.3, 0.6, 0.2)
def henon_heiles(x):
    q, p = x[:2], x[2:]
    return 0.5 * (p @ p + q @ q) + q[0] ** 2 * q[1] - q[1] ** 3 / 3


@published(0.5, 0.3)
def muller_brown(x):
    A, a, b, c = (-200, -100, -170, 15), (-1, -1, -6.5, 0.7), (0, 0, 11, 0.6), (-10, -10, -6.5, 0.7)
    x0, y0 = (1, 0, -0.5, -1), (0, 0.5, 1.5, 1)
    total = 0
    for k in range(4):
        dx, dy = x[0] - x0[k], x[1] - y0[k]
        total += A[k] * math.exp(a[k] * dx**2 + b[k] * dx * dy + c[k] * dy**2)
    return total


# -- mechanics -----------------------------------------------------------------------------------------------------


@published(0.3, 0.2)
def double_pendulum_energy(x):
    return -2 * math.cos(x[0]) - math.cos(x[0] + x[1]) + 0.05 * (x[0] ** 2 + x[1] ** 2) ** 2


@dataclasses.dataclass
class Truss:
    """Bars between nodes; the first two nodes are held."""

    fixed: np.ndarray
    bars: list
    loads: np.ndarray
    stiffness: float = 50.0

    def energy(self, x):
        nodes = np.vstack([self.fixed, x.reshape(-1, 2)])
        rest = np.concatenate([self.fixed, np.array([[0.0, 1.0], [1.0, 1.0]])])
        total = -np.sum(self.loads * x)
        for i, j in self.bars:
            length = np.hypot(*(nodes[i] - nodes[j]))
            natural = np.hypot(*(rest[i] - rest[j]))
            total = total + 0.5 * self.stiffness * (length - natural) ** 2
        return total


TRUSS = Truss(np.array([[0.0, 0.0], [1.0, 0.0]]), [(0, 2), (1, 3), (2, 3), (0, 3), (1, 2)],
              np.array([0, -1, 0.5, -1.0]))


@published(0.02, 0.97, 1.03, 0.99)
def truss(x):
    return TRUSS.energy(x)


@published(0.1, 0.3, 0.2, -0.1)
def von_mises_snap_through(x):
    def bar(u):
        return 10 * (np.sqrt(1 + (0.5 - u) ** 2) - np.sqrt(1.25)) ** 2

    return sum(map(bar, x)) - 0.3 * np.sum(x) + np.sum((x[1:] - x[:-1]) ** 2)


@published(0.2, 0.1, -0.1, 0.3, 0.2)
def elastica(x):
    """A rod of five rigid links under a weight at its end."""
    angles = np.cumsum(x)
    return 2 * np.sum(x**2) - np.sin(angles).sum() - 0.2 * math.prod(np.cos(angles))


@published(0.4, 0.1, 0.2, 0.5, 0.3, 0.2)
def neo_hookean_triangle(x):
    rest = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    p = rest + 0.3 * x.reshape(3, 2)
    F = np.stack([p[1] - p[0], p[2] - p[0]], axis=1)
    J = F[0, 0] * F[1, 1] - F[0, 1] * F[1, 0]
    return 0.5 * (np.trace(F.T @ F) - 2 - 2 * np.log(J)) + 2.0 * np.log(J) ** 2


@published(0.3, 0.7, 0.4, 0.2)
def contact_with_a_floor(x):
    heights = x - 0.35
    energy = 0.5 * np.sum(np.diff(x) ** 2) + 0.3 * np.sum(x)
    for h in heights:
        if h < 0:
            energy += 40 * h**2
    return energy


@published(0.4, 0.9, 0.2, 0.6)
def welded_beam(x):
    h, l, t, b = x + 1
    tau1 = 6000 / (math.sqrt(2) * h * l)
    R = np.sqrt(l**2 / 4 + ((h + t) / 2) ** 2)
    J = 2 * math.sqrt(2) * h * l * (l**2 / 12 + ((h + t) / 2) ** 2)
    tau2 = 6000 * (14 + l / 2) * R / J
    tau = np.sqrt(tau1**2 + tau1 * tau2 * l / R + tau2**2)
    cost = 1.10471 * h**2 * l + 0.04811 * t * b * (14 + l)
    return cost + 1e-6 * max(tau - 13600, 0) ** 2


@published(0.8, 0.4, 40.0, 180.0)
def pressure_vessel(x):
    ts, th, r, length = x
    cost = 0.6224 * ts * r * length + 1.7781 * th * r**2 + 3.1661 * ts**2 * length + 19.84 * ts**2 * r
    g = [0.0193 * r - ts, 0.00954 * r - th, 1296000 - math.pi * r**2 * length - 4 / 3 * math.pi * r**3]
    return cost + sum(1e-8 * v**2 if k == 2 else 1e3 * v**2 for k, v in enumerate(g) if v > 0)


@published(0.06, 0.4, 10.0)
def spring_design(x):
    wire, coil, turns = x
    stress = 140.45 * wire / (coil**2 * turns)
    return (turns + 2) * coil * wire**2 + 0.1 * (1 - stress) ** 2


@published(3.5, 0.7, 17.0, 7.3, 7.7, 3.35, 5.29)
def speed_reducer(x):
    return (0.7854 * x[0] * x[1] ** 2 * (3.3333 * x[2] ** 2 + 14.9334 * x[2] - 43.0934)
            - 1.508 * x[0] * (x[5] ** 2 + x[6] ** 2) + 7.4777 * (x[5] ** 3 + x[6] ** 3)
            + 0.7854 * (x[3] * x[5] ** 2 + x[4] * x[6] ** 2))


@published(0.5, 0.5)
def three_bar_truss(x):
    a, b = x
    stress = (math.sqrt(2) * a + b) / (math.sqrt(2) * a**2 + 2 * a * b) * 2
    return 100 * (2 * math.sqrt(2) * a + b) + 10 * (stress - 2 if stress > 2 else 0) ** 2


@published(16.0, 19.0, 43.0, 49.0)
def gear_train(x):
    return (1 / 6.931 - x[2] * x[1] / (x[0] * x[3])) ** 2 * 1e4


# -- differential equations ----------------------------------------------------------------------------------------


def runge_kutta(f, y, h, steps):
    """The classical method, lists in and out."""
    for _ in range(steps):
        k1 = f(y)
        k2 = f([a + h / 2 * b for a, b in zip(y, k1)])
        k3 = f([a + h / 2 * b for a, b in zip(y, k2)])
        k4 = f([a + h * b for a, b in zip(y, k3)])
        y = [a + h / 6 * (p + 2 * q + 2 * r + s) for a, p, q, r, s in zip(y, k1, k2, k3, k4)]
    return y


@published(1.1, 0.4, 0.4, 0.1)
def lotka_volterra_fit(x):
    a, b, c, d = x
    prey, predator = runge_kutta(lambda y: [a * y[0] - b * y[0] * y[1], d * y[0] * y[1] - c * y[1]], [1.0, 0.5], 0.2, 5)
    return (prey - 2) ** 2 + (predator - 0.5) ** 2


@published(0.6, 0.2, 0.05)
def sir_epidemic(x):
    beta, gamma, infected = x
    s, i, total = 1 - infected, infected, 0.0
    for reported in (0.06, 0.08, 0.11, 0.14, 0.16):
        s, i = s - beta * s * i, i + beta * s * i - gamma * i
        total += (i - reported) ** 2
    return 100 * total


@published(0.8, 0.3)
def van_der_pol_control(x):
    y = [1.0, 0.0]
    cost = 0.0
    for u in np.repeat(x, 3):
        y = runge_kutta(lambda z: [z[1], (1 - z[0] ** 2) * z[1] - z[0] + u], y, 0.1, 1)  # noqa: B023
        cost += 0.1 * (y[0] ** 2 + y[1] ** 2 + u**2)
    return cost


@published(1.2, 0.7, 0.1)
def fitzhugh_nagumo(x):
    v, w = -1.0, 1.0
    for k in range(8):
        current = 0.5 if k < 4 else 0.0
        v, w = v + 0.1 * (v - v**3 / 3 - w + current + x[2]), w + 0.1 * (v + x[0] - x[1] * w) / 12.5
    return v**2 + (w - 1) ** 2


@published(0.1, 0.2, 0.1, 0.3)
def burgers_initial_value(x):
    u = np.zeros(6)
    u[1:-1] = x
    for _ in range(5):
        new = u.copy()
        new[1:-1] = u[1:-1] - 0.1 * u[1:-1] * (u[2:] - u[:-2]) / 2 + 0.05 * (u[2:] - 2 * u[1:-1] + u[:-2])
        u = new
    return np.sum((u[1:-1] - 0.15) ** 2)


@published(0.8, 0.4, 0.2, 0.6)
def heat_equation_inverse(x):
    A = np.diag(np.full(4, 2.0)) - np.eye(4, k=1) - np.eye(4, k=-1)
    u = x.copy()
    for _ in range(3):
        u = np.linalg.solve(np.eye(4) + 0.3 * A, u)
    return np.sum((u - [0.3, 0.35, 0.35, 0.3]) ** 2)


@published(0.5, 0.2, -0.1, 0.4, 0.3, 0.1)
def allen_cahn(x):
    u = np.concatenate(([-1.0], x, [1.0]))
    return 0.5 * np.sum(np.diff(u) ** 2) * 7 * 0.05 + np.sum((u**2 - 1) ** 2) / (4 * 7)


@published(1.0, 0.2, 0.5)
def stommel_box_ocean(x):
    salt, heat = 0.4, 0.6
    for _ in range(6):
        flow = x[0] * heat - x[1] * salt
        strength = flow if flow > 0 else -flow
        salt, heat = salt + 0.2 * (x[2] - strength * salt), heat + 0.2 * (1 - heat - strength * heat)
    return (salt - 0.5) ** 2 + (heat - 0.6) ** 2


# -- chemistry and thermodynamics ------------------------------------------------------------------------------------


@published(0.4, 0.6, 0.9)
def arrhenius_rates(x):
    temperatures = (300.0, 330.0, 360.0)
    model = [math.exp(x[0] - x[1] * 1000 / t) * t ** x[2] for t in temperatures]
    return sum((math.log(m) - k) ** 2 for m, k in zip(model, (0.1, 0.4, 0.9)))


@published(3.6, 0.043)
def van_der_waals_isotherm(x):
    volume = np.array([0.1, 0.3, 0.6, 1.2])
    return np.mean((0.0821 * 320 / (volume - x[1]) - x[0] / volume**2 - 20) ** 2)


@published(1.3, 0.8)
def wilson_activity(x):
    total = 0.0
    for z in np.arange(0.1, 1.0, 0.2):
        w = 1 - z
        log_gamma = -math.log(z + x[0] * w) + w * (x[0] / (z + x[0] * w) - x[1] / (w + x[1] * z))
        total += (log_gamma - 0.3 * w**2) ** 2
    return total


@published(0.3, 0.4)
def rachford_rice_flash(x):
    """The vapour fraction by Newton's method inside of the objective."""
    K = [math.exp(x[0] * 3), math.exp(x[1]), 0.2]
    z = (0.4, 0.3, 0.3)
    beta = 0.5
    for _ in range(40):
        f = sum(zi * (k - 1) / (1 + beta * (k - 1)) for zi, k in zip(z, K))
        slope = -sum(zi * ((k - 1) / (1 + beta * (k - 1))) ** 2 for zi, k in zip(z, K))
        step = f / slope
        beta = beta - step
        if abs(step) < 1e-13:
            break
    return beta**2 + 0.1 * (x[0] ** 2 + x[1] ** 2)


@published(0.5, 0.2, 0.7)
def combustion_equilibrium(x):
    n = np.exp(x)
    return np.sum(n * np.log(n / n.sum())) + 10 * (n[0] + 2 * n[1] - 2) ** 2 + (n[2] - 1) ** 2


@published(0.4, 0.3)
def pitot_colebrook(x):
    """The friction factor is a fixed point."""
    f = 0.02
    reynolds, roughness = 1e5 * (1 + x[0] ** 2), 1e-3 * (1 + x[1] ** 2)
    for _ in range(60):
        new = (-2 * np.log10(roughness / 3.7 + 2.51 / (reynolds * np.sqrt(f)))) ** -2
        if abs(new - f) < 1e-16:
            break
        f = new
    return 1e3 * f + x[0] * x[1]


# -- electricity, signals, geometry ------------------------------------------------------------------------------------


@published(0.6, 0.7, 0.3)
def diode_circuit(x):
    current = lambda v: 1e-3 * (np.exp(np.clip(v / 0.2, -10, 10)) - 1)
    kirchhoff = np.array([(1 - x[0]) / 2 - current(x[0] - x[1]), current(x[0] - x[1]) - x[1] + x[2], x[2] - x[1] / 3])
    return np.linalg.norm(kirchhoff) ** 2


@published(0.1, -0.2, 1.02)
def power_flow_three_buses(x):
    theta, v = np.append(0.0, x[:2]), [1.0, x[2], 1.0]
    G, B = 0.5, -5.0
    mismatch = 0.0
    for i, demand in ((1, -0.5), (2, 0.2)):
        injected = 0.0
        for j in range(3):
            if i != j:
                angle = theta[i] - theta[j]
                injected += v[i] * v[j] * (-G * np.cos(angle) - B * np.sin(angle)) + G * v[i] ** 2
        mismatch += (injected - demand) ** 2
    return mismatch


@published(0.2, 0.5, 0.3, 0.1)
def filter_design(x):
    """The response of a short filter, real and imaginary part apart."""
    total = 0.0
    for omega in np.linspace(0.1, 3.0, 6):
        re = sum(h * math.cos(k * omega) for k, h in enumerate(x))
        im = -sum(h * math.sin(k * omega) for k, h in enumerate(x))
        total += (math.hypot(re, im) - (1.0 if omega < 1.5 else 0.0)) ** 2
    return total


@published(0.3, 0.8, 1.9, 0.4)
def bundle_adjustment(x):
    points = [(0.5, 0.2, 3.0), (-0.4, 0.1, 2.5), (0.1, -0.6, 4.0)]
    c, s = math.cos(x[0]), math.sin(x[0])
    loss = 0.0
    for a, b, d in points:
        X, Y, Z = c * a - s * b + x[1], s * a + c * b + x[2], d + x[3]
        loss += (X / Z - a / d) ** 2 + (Y / Z - b / d) ** 2
    return loss


@published(0.9, 0.1, -0.2, 0.3)
def rotation_by_quaternion(x):
    w, i, j, k = x / np.linalg.norm(x)
    R = np.array([[1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)],
                  [2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)],
                  [2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)]])
    return np.sum((R @ np.array([1.0, 2, 3]) - [3, 1, 2]) ** 2)


@published(0.4, 0.9, -0.5)
def inverse_kinematics(x):
    reach = functools.reduce(lambda at, k: at + np.array([np.cos(np.sum(x[:k + 1])), np.sin(np.sum(x[:k + 1]))]),
                             range(3), np.zeros(2))
    return np.sum((reach - [1.5, 1.2]) ** 2) + 0.01 * x @ x


@published(0.2, 0.7, 1.1, 0.3)
def trilateration(x):
    anchors = {(0, 0): 1.0, (2, 0): 1.4, (0, 2): 1.3}
    total = 0.0
    for (ax, ay), measured in anchors.items():
        for px, py in (x[:2], x[2:]):
            total += (math.dist((px, py), (ax, ay)) - measured) ** 2
    return total


@published(0.1, 0.2, 0.8, 0.9, 0.4, 0.1)
def kmeans_of_two(x):
    centres = x.reshape(3, 2)
    cloud = np.array([[0.0, 0.1], [0.2, 0.1], [0.9, 0.8], [1.0, 1.1], [0.5, 0.0]])
    return np.sum(np.min(np.sum((cloud[:, None] - centres) ** 2, axis=2), axis=1))


# -- economics -----------------------------------------------------------------------------------------------------


@published(0.3, 0.3, 0.4)
def markowitz(x):
    returns, covariance = np.array([0.1, 0.2, 0.15]), np.array([[0.05, 0.01, 0], [0.01, 0.1, 0.02], [0, 0.02, 0.07]])
    weights = x / np.sum(x)
    return -returns @ weights + 2 * weights @ covariance @ weights + 0.01 * np.sum(np.abs(weights - 1 / 3) ** 1.5)


@published(0.3, 0.3, 0.4)
def risk_parity(x):
    covariance = np.array([[0.05, 0.01, 0], [0.01, 0.1, 0.02], [0, 0.02, 0.07]])
    contributions = x * (covariance @ x)
    return sum((a - b) ** 2 for a in contributions for b in contributions) * 100


@published(100.0, 0.2)
def black_scholes_call(x):
    d1 = (math.log(x[0] / 105) + (0.02 + x[1] ** 2 / 2)) / x[1]
    normal = lambda z: 0.5 * math.erfc(-z / math.sqrt(2))
    return x[0] * normal(d1) - 105 * math.exp(-0.02) * normal(d1 - x[1])


@published(100.0, 0.2)
def binomial_american_put(x):
    n, strike = 6, 102.0
    up = math.exp(x[1] / math.sqrt(n))
    p = (math.exp(0.02 / n) - 1 / up) / (up - 1 / up)
    values = [max(strike - x[0] * up ** (2 * k - n), 0.0) for k in range(n + 1)]
    for level in range(n - 1, -1, -1):
        for k in range(level + 1):
            hold = math.exp(-0.02 / n) * (p * values[k + 1] + (1 - p) * values[k])
            exercise = strike - x[0] * up ** (2 * k - level)
            values[k] = exercise if exercise > hold else hold
    return values[0]


@published(0.04, 0.02, 0.6)
def nelson_siegel(x):
    total = 0.0
    for maturity, rate in ((1, 0.031), (2, 0.034), (5, 0.037), (10, 0.039)):
        decay = maturity / (1 + x[2] ** 2)
        loading = (1 - math.exp(-decay)) / decay
        total += (x[0] + x[1] * (loading - math.exp(-decay)) - rate) ** 2
    return 1e4 * total


@published(0.3, 0.5)
def ces_production(x):
    data = [(1.0, 2.0, 1.4), (2.0, 1.0, 1.5), (3.0, 3.0, 3.1)]
    return sum((math.log((x[0] * k ** x[1] + (1 - x[0]) * l ** x[1]) ** (1 / x[1])) - math.log(y)) ** 2
               for k, l, y in data)


@published(0.3, 0.4, 0.5, 0.6)
def ramsey_growth(x):
    capital, welfare = 1.0, 0.0
    for t, saving in enumerate(x):
        output = capital**0.33
        consumption = (1 - saving) * output
        if consumption <= 0:
            return -math.inf
        welfare += 0.95**t * math.log(consumption)
        capital = 0.9 * capital + saving * output
    return -welfare - 0.95 ** len(x) * math.log(capital)


@published(0.4, 0.7, 0.2)
def travel_assignment(x):
    """Beckmann's integral of the BPR travel times over three routes."""
    flows = 3 * np.exp(x) / np.exp(x).sum()
    free, capacity = np.array([1.0, 1.5, 2.0]), np.array([1.0, 2.0, 1.5])
    return np.sum(free * (flows + 0.15 / 5 * flows**5 / capacity**4))


@published(1.2, 0.4)
def newsvendor(x):
    demand = np.array([0.8, 1.1, 1.5, 2.0])
    order = np.log1p(np.exp(x[0]))
    sold = np.minimum(demand, order)
    return -np.mean(3 * sold) + 2 * order + 0.1 * x[1] ** 2 * order
