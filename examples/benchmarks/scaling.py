"""How symhess scales: sparse Hessians of 10^3 to 10^7 variables, and two threads against one.

    python -m examples.benchmarks.scaling --plot scaling.png --json scaling.json

Every size runs in its own process, on one thread, under limits of time and memory. The curves show the time per
Hessian, the time to the first one less one evaluation (tracing and compiling), and the peak memory. The table of
threads compares `parallel=True` with the default in turns, in one process; BLAS has one thread in both.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from . import measure
from .clocks import CLOCKS, now, use_clock
from .report import table, time_text
from .runner import ONE_THREAD, Limits, ask
from .workloads import WORKLOADS

#: workload -> the size that has about n variables
SIZES: dict[str, Callable[[int], tuple[int, ...]]] = {
    "rosenbrock_1e6": lambda n: (n,),
    "minimal_surface": lambda n: (max(3, round(n**0.5)),),
    "bundle_adjustment": lambda n: (max(2, n // 130), max(2, n // 130 * 40), 5) if n >= 650 else (3, n // 3, 2),
    "power_flow_arrays": lambda n: (n // 2, n // 6),
}
TITLES = {"rosenbrock_1e6": "chained Rosenbrock", "minimal_surface": "minimal surface",
          "bundle_adjustment": "bundle adjustment", "power_flow_arrays": "power flow"}
#: what two threads are tried on, from much work to very little
THREADED = ("rosenbrock_1e6", "minimal_surface", "bundle_adjustment", "rosenbrock_rows", "decay_rows", "mixture",
            "residuals_arrays", "pairs_240_arrays", "logistic", "mlp", "factorisation", "lennard_jones",
            "rosenbrock_10")
COLUMNS = ("workload", "variables", "entries", "per Hessian", "per entry", "trace and compile", "peak memory",
           "memory / (result + inputs)")
THREAD_COLUMNS = ("workload", "one thread", "two threads", "speed-up")


@dataclasses.dataclass(frozen=True)
class Point:
    """One measurement: of a size, or of one and two threads at the size of the benchmark."""

    workload: str
    size: tuple[int, ...]
    core: int | None = None
    threads: bool = False
    repeat: int = 5
    clock: str = "wall"


def point_of_curve(point: Point) -> dict[str, Any]:
    """Time, first time and memory of one size."""
    from .peers_symhess import symhess_peer

    workload = WORKLOADS[point.workload]
    arguments = workload.arguments(*point.size)
    before = measure.peak_memory()
    start = now()
    evaluate = symhess_peer(workload, arguments)
    H = evaluate()
    first = now() - start
    evaluate()
    peak = measure.peak_memory()
    ((*times,),) = measure.interleaved([evaluate], point.repeat)
    inputs, result = sum(a.nbytes for a in arguments), H.data.nbytes + H.indices.nbytes + H.indptr.nbytes
    return {"variables": H.shape[0], "entries": H.nnz, "seconds": min(times), "compile_seconds": first - min(times),
            "peak_bytes": peak, "before_bytes": before, "input_bytes": inputs,
            "result_bytes": result}


def one_and_two_threads(point: Point) -> dict[str, Any]:
    """Both in turns."""
    from .peers_symhess import symhess_peer

    workload = WORKLOADS[point.workload]
    arguments = workload.arguments(*point.size)
    calls = [symhess_peer(workload, arguments, parallel=parallel) for parallel in (False, True)]
    one, two = (call() for call in calls)
    if workload.product != "hvp":
        assert abs(one - two).max() <= 1e-9 * abs(one).max()
    del one, two
    single, double = measure.interleaved(calls, point.repeat)
    return {"one": min(single), "two": min(double)}


def curves(points: Iterable[tuple[int, Point]], limits: Limits) -> list[dict[str, Any]]:
    """All points, given with their numbers of variables; a workload ends at the first that breaks a limit."""
    found = []
    print(table(COLUMNS, []), end="", flush=True)
    for n, point in points:
        if not any(r["workload"] == point.workload and "error" in r for r in found):
            answer = ask("scaling", json.dumps(dataclasses.asdict(point)), limits)
            found.append({"workload": point.workload, "n": n} | answer)
            print("| " + " | ".join(curve_row(found[-1])) + " |", flush=True)
    return found


def curve_row(record: dict[str, Any]) -> tuple[str, ...]:
    """The texts of one point."""
    if "error" in record:
        return TITLES[record["workload"]], f"{record['n']:,}", record["error"], *[""] * (len(COLUMNS) - 3)
    held = record["result_bytes"] + record["input_bytes"]
    grown = record["peak_bytes"] - record["before_bytes"] + record["input_bytes"]
    return (TITLES[record["workload"]], f"{record['variables']:,}", f"{record['entries']:,}",
            time_text(record["seconds"]), time_text(record["seconds"] / record["entries"]),
            time_text(record["compile_seconds"]), f"{record['peak_bytes'] / 1e6:.0f} MB",
            f"{grown / held:.3g}" if held > 1e8 else "")


def thread_table(names: Iterable[str], limits: Limits) -> list[dict[str, Any]]:
    """One line per workload."""
    found, environment = [], {**ONE_THREAD, "NUMBA_NUM_THREADS": "2"}
    print(table(THREAD_COLUMNS, []), end="", flush=True)
    for name in names:
        point = Point(name, WORKLOADS[name].size, threads=True)
        answer = ask("scaling", json.dumps(dataclasses.asdict(point)), limits, environment)
        found.append({"workload": name} | answer)
        cells = ((time_text(answer["one"]), time_text(answer["two"]), f"{answer['one'] / answer['two']:.2f}")
                 if "error" not in answer else (answer["error"], "", ""))
        print("| " + " | ".join((WORKLOADS[name].title, *cells)) + " |", flush=True)
    return found


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """Three plots over the number of variables."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for name in dict.fromkeys(r["workload"] for r in records):
        good = [r for r in records if r["workload"] == name and "error" not in r]
        n = [r["variables"] for r in good]
        for axis, key, scale in zip(axes, ("seconds", "compile_seconds", "peak_bytes"), (1.0, 1.0, 1e-6)):
            axis.loglog(n, [scale * r[key] for r in good], "o-", label=TITLES[name])
    for axis, title in zip(axes, ("seconds per Hessian", "seconds to trace and compile", "peak memory, MB")):
        axis.set_title(title)
        axis.set_xlabel("variables")
        axis.grid(alpha=0.3)
    axes[2].legend()
    figure.savefig(path, dpi=80)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.benchmarks.scaling", description=__doc__)
    parser.add_argument("--largest", type=float, default=1e7, help="variables of the largest size")
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=list(SIZES), metavar="A,B",
                        help="of the curves, among " + ", ".join(SIZES))
    parser.add_argument("--threaded", type=lambda text: [w for w in text.split(",") if w], default=list(THREADED),
                        metavar="A,B", help="workloads of the table of threads; empty for none")
    parser.add_argument("--plot", type=Path, help="draw the curves there (needs matplotlib)")
    parser.add_argument("--json", type=Path, help="write all records there")
    parser.add_argument("--seconds", type=float, default=120.0, help="time limit of each process")
    parser.add_argument("--gigabytes", type=float, default=12.0, help="memory limit of each process")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help="what measures the curves")
    parser.add_argument("--core", type=int, default=None, help="the core to pin to; any by default")
    return parser.parse_args()


def answer(question: str) -> None:
    """Measure the point in a question; print the answer."""
    point = Point(**json.loads(question))
    use_clock(point.clock)
    if point.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {point.core})
    print(json.dumps((one_and_two_threads if point.threads else point_of_curve)(point)))


def main() -> None:
    """Measure, print tables as they grow, write the files."""
    args = arguments()
    limits = Limits(args.seconds, args.gigabytes)
    sizes = [10**k for k in range(3, 1 + int(np.log10(args.largest)))]
    points = curves([(n, Point(name, SIZES[name](n), args.core, clock=args.clock))
                     for name in args.workloads for n in sizes], limits)
    if args.plot:
        draw(points, args.plot)
    print(flush=True)
    threads = thread_table(args.threaded, limits) if args.threaded else []
    if args.json:
        args.json.write_text(json.dumps({"curves": points, "threads": threads}, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        answer(sys.argv[1])
    else:
        main()
