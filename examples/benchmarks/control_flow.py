"""Hessians of functions with value-dependent control flow: python -m examples.benchmarks.control_flow

Each row is one function of control_flow_functions.py, called at points that take different paths. Interpreted and
autograd (the library) follow the path of each call in Python; compiled is the kernel of one path that repeats; native
is the function itself compiled by Numba, JAX a version written for it (control_flow_jax.py).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess import hessian_jit

from . import control_flow_functions as functions
from .measure import calls_lasting, seconds
from .report import time_text

#: function -> (title, number of variables, interval of the variables)
ROWS = {
    "newton_root": ("Newton square root to tolerance", 2, (0.5, 20.0)), "bisection": ("bisection", 3, (0.5, 4.0)),
    "adaptive_ode": ("adaptive-step ODE", 4, (0.5, 2.0)), "piecewise": ("piecewise loss", 10, (0.2, 2.0)),
    "trimmed_mean": ("trimmed mean", 10, (0.5, 3.0)),
    "pivoted_least_squares": ("pivoted least squares", 3, (0.3, 1.0)),
    "recursive": ("recursive function", 3, (0.2, 2.0)), "monte_carlo": ("Monte-Carlo path", 3, (0.8, 1.3)),
}
COLUMNS = ("function", "interpreted", "compiled, same path", "native", "JAX", "autograd", "native compiles in",
           "JAX compiles in", "interpreted / native", "JAX / native", "difference")


def points_of(name: str, count: int) -> list[np.ndarray]:
    """Points that take different paths."""
    _, n, (low, high) = ROWS[name]
    return list(np.random.default_rng(n).uniform(low, high, (count, n)))


def first_call(call: Callable[[np.ndarray], Any], x: np.ndarray) -> float:
    """Seconds of the first call."""
    start = time.perf_counter()
    call(x)
    return time.perf_counter() - start


def over(call: Callable[[np.ndarray], Any], points: Sequence[np.ndarray], at_least: float) -> float:
    """Seconds per call at points in turn: the best of three rounds."""
    once = lambda: [call(x) for x in points]
    times = calls_lasting(once, at_least)
    return min(seconds(once, times) for _ in range(3)) / len(points)


def peers_of(name: str) -> dict[str, Callable[[np.ndarray], Any] | None]:
    """The Hessians that are compared; None for one that is not installed."""
    make = getattr(functions, name)
    peers: dict[str, Any] = {"interpreted": hessian_jit(make(np), mode="autograd"), "compiled": hessian_jit(make(np)),
                             "native": hessian_jit(make(np), mode="native"), "JAX": None, "autograd": None}
    try:
        from . import control_flow_jax

        compiled = control_flow_jax.hessian_of(name)
        peers["JAX"] = lambda x: compiled(x).block_until_ready()
    except ImportError:
        pass
    try:
        import autograd

        peers["autograd"] = autograd.hessian(make(autograd.numpy))
    except ImportError:
        pass
    return peers


def measured(name: str, count: int, at_least: float) -> dict[str, Any]:
    """Seconds of every peer, and the largest difference among their results."""
    peers, points = peers_of(name), points_of(name, count)
    found: dict[str, Any] = {}
    for peer in ("native", "JAX"):
        if peers[peer] is not None:
            found[f"{peer} first"] = first_call(peers[peer], points[0])
    expected = [np.asarray(peers["interpreted"](x)) for x in points]
    scale, worst = max(float(np.max(np.abs(h))) for h in expected), 0.0
    for peer, call in peers.items():
        if call is None:
            continue
        own = points[:1] if peer == "compiled" else points
        for _ in range(5 if peer == "compiled" else 1):  # a path that recurs is compiled
            worst = max(worst, *(float(np.max(np.abs(call(x) - h))) for x, h in zip(own, expected)), 0.0)
        found[peer] = over(call, own, at_least)
    found["difference"] = worst / scale
    return found


def line(name: str, found: dict[str, Any]) -> list[str]:
    """The texts of one row."""
    text = lambda key: time_text(found[key]) if key in found else "-"
    ratio = lambda key: f"{found[key] / found['native']:,.3g}" if key in found else "-"
    timed = ("interpreted", "compiled", "native", "JAX", "autograd", "native first", "JAX first")
    return [ROWS[name][0], *map(text, timed), ratio("interpreted"), ratio("JAX"),
            f"{found['difference']:.1e}"]


def main() -> None:
    """Print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--points", type=int, default=8, help="points for each function")
    parser.add_argument("--seconds", type=float, default=0.05, help="how long each timed loop takes at least")
    args = parser.parse_args()
    for head in (COLUMNS, ("---",) * len(COLUMNS)):
        print("| " + " | ".join(head) + " |")
    for name in args.functions:
        print("| " + " | ".join(line(name, measured(name, args.points, args.seconds))) + " |", flush=True)


if __name__ == "__main__":
    main()
