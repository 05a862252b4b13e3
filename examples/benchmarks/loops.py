"""Loops: compile latency, time per call and agreement of symhess and of JAX, for the same loops.

    python -m examples.benchmarks.loops

Every workload is written once, over a namespace that has NumPy's functions and the loops of either side: symhess is
`hessian_jit(f)`, JAX `jax.jit(jax.hessian(f))` in double precision. JAX has no reverse mode for `while_loop` nor for
`fori_loop` with traced bounds, so its Hessian of these is forward over forward.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from examples.benchmarks.measure import interleaved


class Workload(NamedTuple):
    """A function of (namespace with loops, x, steps), the size of x and the number of steps."""

    function: Callable[..., Any]
    size: int
    steps: int
    #: no reverse mode in JAX
    forward: bool = False


def pendulum(m: Any, x: Any, steps: int) -> Any:
    """A damped pendulum by the classical Runge-Kutta method; x is angle, speed, damping and length."""
    def force(q: Any) -> Any:
        return m.np.stack([q[1], -m.np.sin(q[0]) * x[3] - x[2] * q[1]])

    def step(q: Any, _: Any) -> Any:
        h = 0.01
        a = force(q)
        b = force(q + h / 2 * a)
        c = force(q + h / 2 * b)
        d = force(q + h * c)
        return q + h / 6 * (a + 2 * b + 2 * c + d), q[0]

    last, path = m.scan(step, x[:2], None, length=steps)
    return m.np.sum(last**2) + m.np.mean(path**2)


def logistic_map(m: Any, x: Any, steps: int) -> Any:
    """Populations that grow logistically, at rates without chaos."""
    def step(p: Any, _: Any) -> Any:
        return (2 + x) * p * (1 - p), None

    return m.np.sum(m.scan(step, 0.3 + 0.0 * x, None, length=steps)[0])


def gated(m: Any, x: Any, steps: int) -> Any:
    """A gated recurrent unit of 4 units on 3 inputs."""
    gate, new = x[:28].reshape(4, 7), x[28:].reshape(4, 7)
    data = np.sin(np.arange(3.0 * steps)).reshape(steps, 3)

    def step(h: Any, u: Any) -> Any:
        z = 1 / (1 + m.np.exp(-(gate @ m.np.concatenate([h, u]))))
        h = (1 - z) * h + z * m.np.tanh(new @ m.np.concatenate([h, u]))
        return h, m.np.sum(h * h)

    last, left = m.scan(step, 0.0 * x[:4], data)
    return m.np.sum(last) + m.np.mean(left)


def kepler(m: Any, x: Any, steps: int) -> Any:
    """Kepler's equation by a fixed-point iteration, as long as it moves."""
    def going(state: Any) -> Any:
        k, old, new = state
        return (m.np.max(m.np.abs(new - old)) > 1e-12) & (k < steps)

    def step(state: Any) -> Any:
        k, _, e = state
        return k + 1, e, x[:4] + x[4:] * m.np.sin(e)

    return m.np.sum(m.while_loop(going, step, (0, x[:4] - 1.0, x[:4]))[2] ** 2)


def spring(m: Any, x: Any, steps: int) -> Any:
    """A bouncing spring: the force differs on either side of a wall."""
    def step(state: Any, _: Any) -> Any:
        q, p = state
        f = m.cond(q > 0.5, lambda q: -x[0] * q - x[1] * (q - 0.5), lambda q: -x[0] * q, q)
        p = p + 0.02 * f
        return (q + 0.02 * p, p), None

    (q, p), _ = m.scan(step, (x[2], x[3]), None, length=steps)
    return q * q + p * p


WORKLOADS = {
    "pendulum, RK4": Workload(pendulum, 4, 1000),
    "logistic map": Workload(logistic_map, 5, 2000),
    "gated recurrence": Workload(gated, 56, 100),
    "Kepler, while": Workload(kepler, 8, 200, forward=True),
    "spring, cond in scan": Workload(spring, 4, 1000),
}


def point(size: int) -> np.ndarray:
    """Where it is evaluated."""
    return 0.2 + 0.5 * np.random.default_rng(7).random(size)


def ours(w: Workload) -> Callable[[np.ndarray], Any]:
    """The Hessian of symhess."""
    import symhess

    m = SimpleNamespace(np=np, scan=symhess.scan, while_loop=symhess.while_loop, cond=symhess.cond)
    return symhess.hessian_jit(lambda x: w.function(m, x, w.steps))


def theirs(w: Workload) -> Callable[[np.ndarray], Any]:
    """The Hessian of JAX."""
    import jax

    jax.config.update("jax_enable_x64", True)
    m = SimpleNamespace(np=jax.numpy, scan=jax.lax.scan, while_loop=jax.lax.while_loop, cond=jax.lax.cond)
    f = lambda x: w.function(m, x, w.steps)
    made = jax.jit(jax.jacfwd(jax.jacfwd(f)) if w.forward else jax.hessian(f))
    return lambda x: jax.block_until_ready(made(x))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Both sides on one core."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if before:
        os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        if before:
            os.sched_setaffinity(0, before)


def measured(w: Workload, repeat: int = 5) -> list[float]:
    """Latency of the first call and seconds per call of both, and the largest relative difference."""
    x, calls, first, results = point(w.size), [], [], []
    for made in (ours, theirs):
        start = time.perf_counter()
        call = made(w)
        results.append(np.asarray(call(x)))
        first.append(time.perf_counter() - start)
        calls.append(lambda call=call: call(x))
    steady = [statistics.median(t) for t in interleaved(calls, repeat)]
    return [*first, *steady, float(np.abs(results[0] - results[1]).max() / np.abs(results[1]).max())]


HEADINGS = ("loop", "n", "steps", "first call", "(JAX)", "per call", "(JAX)", "ratio", "difference")


def table(names: Sequence[str] = tuple(WORKLOADS)) -> Iterator[str]:
    """The report, line by line."""
    yield "{:22} {:>3} {:>6} {:>11} {:>9} {:>12} {:>12} {:>6} {:>10}".format(*HEADINGS)
    for name in names:
        w = WORKLOADS[name]
        mine, other, each, peer, difference = measured(w)
        yield (f"{name:22} {w.size:3} {w.steps:6} {mine:9.2f} s {other:7.2f} s {1e6 * each:9.1f} us "
               f"{1e6 * peer:9.1f} us {peer / each:6.1f} {difference:10.1e}")


if __name__ == "__main__":
    with one_thread():
        for line in table():
            print(line, flush=True)
