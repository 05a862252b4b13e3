"""Floors of recurrences, pairs and sums over observations: Numba for what is scalar, NumPy for functions of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from .workloads import Workload, grid_variables

kernel = numba.njit(error_model="numpy", fastmath={"contract", "nsz", "arcp"})
#: sums may be reordered, so that they run in vectors
reducing = numba.njit(error_model="numpy", fastmath=True)


@kernel
def arm_dense(q, lengths, target, H):
    """With S_i = sum_{k >= i} l sin, C_i the same of cos: tip_i = (-S_i, C_i), tip_ij = -(C, S) of the later joint."""
    n, angle = q.size, 0.0
    sines, cosines = np.empty(n), np.empty(n)
    for k in range(n):
        angle += q[k]
        sines[k], cosines[k] = lengths[k] * np.sin(angle), lengths[k] * np.cos(angle)
    for k in range(n - 2, -1, -1):
        sines[k] += sines[k + 1]
        cosines[k] += cosines[k + 1]
    dx, dy = cosines[0] - target[0], sines[0] - target[1]
    for i in range(n):
        second = dx * cosines[i] + dy * sines[i]
        for j in range(i + 1):
            H[i, j] = H[j, i] = 2 * (sines[i] * sines[j] + cosines[i] * cosines[j] - second)
        H[i, i] += 0.02


def planar_arm(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    q, lengths, target = arguments
    H = np.empty((q.size, q.size))

    def evaluate() -> np.ndarray:
        arm_dense(q, lengths, target, H)
        return H

    return evaluate


@kernel
def stage(a, s, da, ds, length, friction, dl, record):
    """The acceleration, its derivatives by the four parameters; sine, cosine and the arguments' go to the record."""
    sine, cosine, c = np.sin(a), np.cos(a), 9.81 / length
    for i in range(4):
        dl[i] = -c * cosine * da[i] - friction * ds[i]
        record[2 + i], record[6 + i] = da[i], ds[i]
    dl[2] += c / length * sine
    dl[3] -= s
    record[0], record[1] = sine, cosine
    return -c * sine - friction * s


@kernel
def pendulum_forward(x, steps, records, state):
    """All stages, with first derivatives; returns the last angle, whose derivatives are in state[0]."""
    length, friction, h = x[2], x[3], 2.0 / steps
    angle, speed, weights, shares = x[0], x[1], (1.0, 2.0, 2.0, 1.0), (0.5, 0.5, 1.0, 0.0)
    state[:] = 0.0
    state[0, 0] = state[1, 1] = 1.0
    total, inputs, slope = np.empty((2, 4)), np.empty((2, 4)), np.empty(4)
    for step in range(steps):
        a, s, up, down = angle, speed, 0.0, 0.0
        inputs[:], total[:] = state, 0.0
        for m in range(4):
            force = stage(a, s, inputs[0], inputs[1], length, friction, slope, records[step, m])
            up, down = up + weights[m] * s, down + weights[m] * force
            for i in range(4):
                total[0, i] += weights[m] * inputs[1, i]
                total[1, i] += weights[m] * slope[i]
                inputs[0, i], inputs[1, i] = (state[0, i] + shares[m] * h * inputs[1, i],
                                              state[1, i] + shares[m] * h * slope[i])
            a, s = angle + shares[m] * h * s, speed + shares[m] * h * force
        angle, speed = angle + h / 6 * up, speed + h / 6 * down
        for i in range(4):
            state[0, i] += h / 6 * total[0, i]
            state[1, i] += h / 6 * total[1, i]
    return angle


@kernel
def add_curvature(weight, record, c, length, H):
    """weight * (c sin a_i a_j + (c / l) cos (a_i e_j + e_i a_j) - 2 c / l^2 sin e e - friction and speed)."""
    sine, cosine = weight * record[0], weight * record[1]
    for i in range(4):
        for j in range(i + 1):
            H[i, j] += c * sine * record[2 + i] * record[2 + j]
    for j in range(4):
        H[max(2, j), min(2, j)] += (2.0 if j == 2 else 1.0) * c / length * cosine * record[2 + j]
        H[3, j] -= (2.0 if j == 3 else 1.0) * weight * record[6 + j]
    H[2, 2] -= 2 * c / length**2 * sine


@kernel
def pendulum_dense(x, steps, records, state, H):
    """First derivatives forward, adjoints backward; each stage adds its curvature times its adjoint."""
    length, friction, h = x[2], x[3], 2.0 / steps
    c = 9.81 / length
    angle = 2 * (pendulum_forward(x, steps, records, state) - 0.3)
    for i in range(4):
        for j in range(4):
            H[i, j] = 2 * state[0, i] * state[0, j]
    speed = 0.0
    for step in range(steps - 1, -1, -1):
        next_a, next_s = angle, speed
        later_a = later_s = 0.0
        for m in range(3, -1, -1):
            weight, share = (1.0, 2.0, 2.0, 1.0)[m] * h / 6, (0.5, 0.5, 1.0, 0.0)[m] * h
            up, down = weight * next_a + share * later_a, weight * next_s + share * later_s
            add_curvature(down, records[step, m], c, length, H)
            later_a, later_s = -c * records[step, m, 1] * down, up - friction * down
            angle, speed = angle + later_a, speed + later_s
    for i in range(4):
        for j in range(i):
            H[j, i] = H[i, j]


def pendulum(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    x, steps = arguments
    records, state, H = np.empty((steps, 4, 10)), np.empty((2, 4)), np.empty((4, 4))

    def evaluate() -> np.ndarray:
        pendulum_dense(x, steps, records, state, H)
        return H

    return evaluate


@kernel
def control_dense(u, position, coupling, pushed, H):
    """Curvature P_k of the cost to go by the state, backward; then the effect of each control, forward.

    With A_k the derivative of a step and b that of the state by its control:
    P_k = diag(2, 0.2) + A_k' P_{k+1} A_k + curvature, H_kk = 1 + b' P_{k+1} b, H_kj = b' P_{k+1} A_k (A_{k-1} ... b).
    """
    n, v = u.size, 0.0
    position[0] = 1.0
    speed = np.empty(n + 1)
    speed[0] = 0.0
    for k in range(n):
        position[k + 1] = position[k] + 0.1 * speed[k]
        speed[k + 1] = speed[k] + 0.1 * (u[k] - np.sin(position[k]))
    lp, lv, pp, pv, vv = 2 * position[n], 0.2 * speed[n], 2.0, 0.0, 0.2
    for k in range(n - 1, -1, -1):
        c, s = 0.1 * np.cos(position[k]), 0.1 * np.sin(position[k])
        H[k, k] = 1 + 0.01 * vv
        coupling[k, 0], coupling[k, 1], coupling[k, 2] = 0.1 * (pv - c * vv), 0.1 * (0.1 * pv + vv), c
        pp, pv, vv = (2 + pp - 2 * c * pv + c * c * vv + s * lv, 0.1 * pp + pv - c * (0.1 * pv + vv),
                      0.2 + 0.01 * pp + 0.2 * pv + vv)
        lp, lv = 2 * position[k] + lp - c * lv, 0.2 * speed[k] + 0.1 * lp + lv
    for k in range(n):
        wp, wv, c = coupling[k]
        for j in range(k):
            v = pushed[1, j]
            H[k, j] = wp * pushed[0, j] + wv * v
            pushed[0, j], pushed[1, j] = pushed[0, j] + 0.1 * v, v - c * pushed[0, j]
        pushed[0, k], pushed[1, k] = 0.0, 0.1
    for i in range(n):
        for j in range(i):
            H[j, i] = H[i, j]


def optimal_control(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    (u,) = arguments
    position, coupling, pushed = np.empty(u.size + 1), np.empty((u.size, 3)), np.empty((2, u.size))
    H = np.empty((u.size, u.size))

    def evaluate() -> np.ndarray:
        control_dense(u, position, coupling, pushed, H)
        return H

    return evaluate


@kernel
def newton_dense(x, H):
    """The loop in one variable, with its first and second derivatives; then the chain rule over a = 1 + x . x."""
    a = 1.0
    for k in range(x.size):
        a += x[k] * x[k]
    y, first, second = 0.5 * (1 + a), 0.5, 0.0
    while abs(y * y - a) > 1e-10 * a:
        slope = 0.5 * (1 - a / (y * y))
        second = slope * second + (a * first / y - 1) * first / (y * y)
        first = slope * first + 0.5 / y
        y = 0.5 * (y + a / y)
    for i in range(x.size):
        for j in range(x.size):
            H[i, j] = 4 * second * x[i] * x[j] + (2 * first if i == j else 0.0)


def newton_root(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    (x,) = arguments
    H = np.empty((x.size, x.size))

    def evaluate() -> np.ndarray:
        newton_dense(x, H)
        return H

    return evaluate


@kernel
def pair_exponents(x, exponents):
    k = 0
    for i in range(x.size):
        for j in range(i):
            exponents[k + j] = -((x[i] - x[j]) ** 2)
        k += i


@reducing
def pairs_dense(exponents, values, H):
    """The second derivative of exp(-d^2) is (4 d^2 - 2) exp(-d^2): added on the diagonal, subtracted off it."""
    k = 0
    for i in range(H.shape[0]):
        total = 0.0
        for j in range(i):
            second = (-4 * exponents[k + j] - 2) * values[k + j]
            H[i, j] = -second
            total += second
        H[i, i] = total
        k += i
    for i in range(H.shape[0]):
        for j in range(i):
            H[j, i] = H[i, j]
            H[j, j] -= H[i, j]


def pairs(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    x = arguments[0]
    exponents, H = np.empty(x.size * (x.size - 1) // 2), np.empty((x.size, x.size))
    values = np.empty_like(exponents)

    def evaluate() -> np.ndarray:
        pair_exponents(x, exponents)
        np.exp(exponents, out=values)
        pairs_dense(exponents, values, H)
        return H

    return evaluate


@reducing
def residuals_dense(p, time, observed, decay, cosine, sine, H):
    """2 sum (m_i m_j + r m_ij) of the model m = p0 exp(-p1 t) cos(p2 t) + p3."""
    h00 = h01 = h02 = h03 = h11 = h12 = h13 = h22 = h23 = 0.0
    for k in range(time.size):
        t, a, b = time[k], decay[k] * cosine[k], decay[k] * sine[k]
        r, u, v = p[0] * a + p[3] - observed[k], -p[0] * t * a, -p[0] * t * b
        h00 += a * a
        h01 += a * u - r * t * a
        h02 += a * v - r * t * b
        h03 += a
        h11 += u * u - r * t * u
        h12 += u * v - r * t * v
        h13 += u
        h22 += v * v + r * t * u
        h23 += v
    lower = ((h00, h01, h02, h03), (h01, h11, h12, h13), (h02, h12, h22, h23), (h03, h13, h23, float(time.size)))
    for i in range(4):
        for j in range(4):
            H[i, j] = 2 * lower[i][j]


def residuals(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    p, time, observed = arguments
    decay, cosine, sine, H = *(np.empty_like(time) for _ in range(3)), np.empty((4, 4))

    def evaluate() -> np.ndarray:
        np.exp(np.multiply(time, -p[1], out=decay), out=decay)
        np.cos(np.multiply(time, p[2], out=sine), out=cosine)
        np.sin(sine, out=sine)
        residuals_dense(p, time, observed, decay, cosine, sine, H)
        return H

    return evaluate


@kernel
def power_flow_values(x, lines, conductance, susceptance, measured, positions, values):
    """2 (P_a P_b + r P_ab) of P = g u^2 - u v q(angle), q = g cos + b sin, added to the block of each line."""
    buses = x.size // 2
    values[:] = 0.0
    for k in range(len(lines)):
        u, v, g, b = x[buses + lines[k, 0]], x[buses + lines[k, 1]], conductance[k], susceptance[k]
        angle = x[lines[k, 0]] - x[lines[k, 1]]
        cosine, sine = np.cos(angle), np.sin(angle)
        q, dq = g * cosine + b * sine, b * cosine - g * sine
        r = g * u * u - u * v * q - measured[k]
        first = (-u * v * dq, u * v * dq, 2 * g * u - v * q, -u * q)
        turn = u * v * q
        second = ((turn, -turn, -v * dq, -u * dq), (-turn, turn, v * dq, u * dq), (-v * dq, v * dq, 2 * g, -q),
                  (-u * dq, u * dq, -q, 0.0))
        for i in range(4):
            for j in range(4):
                values[positions[k, 4 * i + j]] += 2 * (first[i] * first[j] + r * second[i][j])


def power_flow(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    x, lines, conductance, susceptance, measured = arguments
    pattern, variables = workload.pattern(*arguments), grid_variables(x.size // 2, lines)
    positions = pattern.positions(np.repeat(variables, 4, axis=1), np.tile(variables, 4)).astype(np.int32)
    H, ends = pattern.structure, lines.astype(np.int32)

    def evaluate() -> Any:
        power_flow_values(x, ends, conductance, susceptance, measured, positions, H.data)
        return H

    return evaluate


FLOORS = {
    "planar_arm": planar_arm,
    "pendulum_200": pendulum,
    "pendulum_1000": pendulum,
    "optimal_control": optimal_control,
    "newton_root": newton_root,
    **{f"pairs_{n}{form}": pairs for n in (40, 60, 120, 240) for form in ("", "_arrays")},
    "residuals": residuals,
    "residuals_arrays": residuals,
    "power_flow": power_flow,
    "power_flow_arrays": power_flow,
}
