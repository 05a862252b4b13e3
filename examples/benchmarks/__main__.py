"""Measures Hessians by symhess, JAX and code written by hand: python -m examples.benchmarks --help."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

from . import report
from .runner import Limits, Settings, machine_limits, run_all
from .workloads import WORKLOADS

PEERS = ("symhess", "jax", "floor")


def names(choices: tuple[str, ...]) -> Any:
    """A parser of comma-separated names."""
    def parse(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",") if name.strip()]
        for name in chosen:
            if name not in choices:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(choices)}")
        return chosen
    return parse


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.benchmarks", description=__doc__)
    parser.add_argument("--workloads", type=names(tuple(WORKLOADS)), default=list(WORKLOADS), metavar="A,B",
                        help="among " + ", ".join(WORKLOADS))
    parser.add_argument("--peers", type=names(PEERS), default=list(PEERS), metavar="A,B",
                        help="among " + ", ".join(PEERS))
    parser.add_argument("--repeat", type=int, default=7, help="timed rounds; the median counts")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the harness")
    parser.add_argument("--seconds", type=float, default=300.0, help="time limit of each process")
    parser.add_argument("--gigabytes", type=float, default=8.0, help="memory limit of each process")
    parser.add_argument("--core", type=int, default=None, help="the core to pin to; the last one by default")
    parser.add_argument("--json", type=Path, help="write all records there")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    parser.add_argument("--summary", type=Path, help="write a shorter table there, symhess beside JAX")
    return parser.parse_args()


def versions() -> dict[str, str]:
    """What has been measured."""
    found = {"python": platform.python_version()}
    for package in ("symhess", "numpy", "scipy", "numba", "jax"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def last_core() -> int | None:
    """The last core that this process may use: the first one serves interrupts on many systems."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def main() -> int:
    """Run, print the table as it grows, write the files; the exit status counts failed runs."""
    args = arguments()
    core = last_core() if args.core is None else args.core
    settings = Settings(args.tiny, args.repeat, core, Limits(args.seconds, args.gigabytes))
    machine = machine_limits(settings)
    print(report.limits_text(machine), flush=True)
    groups = []
    print(report.markdown([]), end="", flush=True)
    for records in run_all(args.workloads, args.peers, settings):
        groups.append(records)
        print(*("| " + " | ".join(line) + " |" for line in report.rows(records)), sep="\n", flush=True)
    flat = [record for records in groups for record in records]
    closing = report.write_ratio_text(flat)
    print(closing)
    if args.json:
        everything = {"versions": versions(), "machine": machine, "tiny": args.tiny, "records": flat}
        args.json.write_text(json.dumps(everything, indent=1) + "\n")
    if args.markdown:
        args.markdown.write_text("\n\n".join([report.limits_text(machine), report.markdown(groups), closing]))
    if args.summary:
        args.summary.write_text(report.summary(groups))
    return min(1, sum("error" in record for record in flat))


if __name__ == "__main__":
    raise SystemExit(main())
