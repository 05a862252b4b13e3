"""Measures Hessians by symhess, by its peers and by code written by hand: python -m examples.benchmarks --help."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import report
from .clocks import CLOCKS
from .cuda import measure
from .roster import ON_DEVICE, PEERS, libraries, reference_of
from .runner import Limits, Settings, machine_limits, run_all
from .workloads import WORKLOADS


def names(choices: Iterable[str]) -> Any:
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
    parser.add_argument("--workloads", type=names(tuple(WORKLOADS)), metavar="A,B",
                        help="all but the largest by default, on a GPU a few large ones; among " + ", ".join(WORKLOADS))
    parser.add_argument("--peers", type=names((*libraries(), *libraries(True), *PEERS)), metavar="A,B",
                        help="all by default; a library stands for all ways to use it; among " + ", ".join(PEERS))
    parser.add_argument("--target", choices=("cpu", "cuda"), default="cpu",
                        help='"cuda": on a GPU, all libraries there (--json, --markdown)')
    parser.add_argument("--repeat", type=int, default=7, help="timed rounds; the median counts")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the harness")
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="time limit of each process")
    parser.add_argument("--gigabytes", type=float, default=Limits.gigabytes, help="memory limit of each process")
    parser.add_argument("--core", type=int, default=None, help="the core to pin to; the last one by default")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall",
                        help="what measures evaluations: cpu on a machine that is busy with other things")
    parser.add_argument("--json", type=Path, help="write all records there")
    parser.add_argument("--update", type=Path, help="the same, keeping the records in it that are not measured anew")
    parser.add_argument("--markdown", type=Path, help="write the tables there")
    parser.add_argument("--document", type=Path, help="put the tables between the marks of this Markdown document")
    parser.add_argument("--summary", type=Path, help="write a shorter table there, symhess beside JAX")
    args = parser.parse_args()
    common = ON_DEVICE if args.target == "cuda" else [n for n, w in WORKLOADS.items() if not w.named_only]
    args.workloads, args.peers = args.workloads or list(common), args.peers or list(libraries(args.target == "cuda"))
    return args


def versions() -> dict[str, str]:
    """What has been measured."""
    found = {"python": platform.python_version()}
    libraries = [peer.library.split(".")[0] for peer in PEERS.values() if not peer.on_device]
    for package in dict.fromkeys(["numpy", "scipy", *libraries]):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def last_core() -> int | None:
    """The last core that this process may use: the first one serves interrupts on many systems."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def merged(earlier: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Records by workload, the new ones in the place of earlier ones of the same workload and peer."""
    found = {(r["workload"], r["peer"]): r for r in [*earlier, *new]}
    groups = [[found[w, p] for p in PEERS if (w, p) in found] for w in WORKLOADS]
    return [records for records in groups if records]


def write(args: argparse.Namespace, groups: list[list[dict[str, Any]]], machine: dict[str, Any]) -> None:
    """All files that were asked for."""
    flat = [record for records in groups for record in records]
    if args.json or args.update:
        everything = {"versions": versions(), "machine": machine, "tiny": args.tiny, "records": flat}
        (args.json or args.update).write_text(json.dumps(everything, indent=1) + "\n")
    if args.markdown:
        parts = (report.limits_text(machine), report.overview(groups), report.markdown(groups),
                 report.write_ratio_text(flat))
        args.markdown.write_text("\n".join(part.rstrip() + "\n" for part in parts))
    if args.document:
        tables = {"overview": f"{report.limits_text(machine)}\n\n{report.overview(groups)}",
                  "records": report.markdown(groups)}
        args.document.write_text(report.filled(args.document.read_text(), tables))
    if args.summary:
        args.summary.write_text(report.summary(groups))


def main() -> int:
    """Run, print the table as it grows, write the files after each workload; the exit status tells of failed runs."""
    args = arguments()
    core = last_core() if args.core is None else args.core
    settings = Settings(args.tiny, args.repeat, core, Limits(args.seconds, args.gigabytes), args.clock)
    if args.target == "cuda":
        return measure(dict.fromkeys(args.workloads, args.peers), settings, args.json, args.markdown)
    earlier = json.loads(args.update.read_text())["records"] if args.update and args.update.exists() else []
    machine = machine_limits(settings)
    print(report.limits_text(machine), flush=True)
    new: list[dict[str, Any]] = []
    print(report.markdown([]), end="", flush=True)
    chosen = {name: {*args.peers, *(reference_of(name) if args.update else ())} for name in args.workloads}
    for records in run_all(chosen, settings):
        new += [record | {"machine": machine} for record in records]
        print(*("| " + " | ".join(line) + " |" for line in report.rows(new[-len(records):] if records else [])),
              sep="\n", flush=True)
        write(args, merged(earlier, new), machine)
    print(report.write_ratio_text(new))
    return min(1, sum("error" in record and record["peer"] in ("symhess", "floor") for record in new))


if __name__ == "__main__":
    raise SystemExit(main())
