"""Everything there is to find out on an NVIDIA GPU, into one folder: python -m examples.benchmarks.cuda --out DIR.

    device.txt        the device, driver and versions of libraries, and the bandwidth of writing
    benchmarks.md     the table of `--target cuda`; benchmarks.json has the records
    tests.txt         what `pytest -m gpu` says

Each part has a time limit, keeps what it has got when something fails, and is left out by a limit of 0 seconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import report
from .roster import ON_DEVICE, libraries
from .runner import ROOT, Limits, Settings, device_limits, run_all, watch

#: seconds and gigabytes of the host's memory that a process of one library may take for one workload
LIMITS = Limits(seconds=150.0, gigabytes=32.0)
#: seconds that pytest gets beyond its own limit, to come to its end
GRACE = 60.0
#: processes that test at the same time share the device
MOST_PROCESSES = 8
#: tests that come first where there is no time for all
FIRST = [f"tests/test_{name}.py" for name in (
    "cuda_device", "cuda_libraries", "cuda_host", "tiny", "problems", "products", "loops", "api", "control_flow",
    "custom", "functional", "curvature", "torch")]


def measure(chosen: Mapping[str, Iterable[str]], settings: Settings, json_to: Path | None = None,
            markdown_to: Path | None = None) -> int:
    """Measure, print and write what there is after every workload; the exit status tells of failures of symhess."""
    before = device_limits(settings)
    print(report.device_text(before), report.device_markdown([]), sep="\n", end="", flush=True)
    if "error" in before:
        return 1
    groups: list[list[dict[str, Any]]] = []
    for records in run_all(chosen, settings):
        groups.append([record | {"machine": before} for record in records])
        print(report.device_markdown(groups[-1:]).split("\n", 2)[2], end="", flush=True)
        _write(json_to, markdown_to, before, None, groups)
    after = device_limits(settings)
    _write(json_to, markdown_to, before, after, groups)
    print("\n" + report.device_text(after), end="", flush=True)
    return int(any(failed(record) for records in groups for record in records if record["peer"] == "symhess-cuda"))


def failed(record: Mapping[str, Any]) -> bool:
    """True where there is no result, or another one than that of the other libraries."""
    return "error" in record or record.get("difference", 0.0) > 1e-4


def _write(json_to: Path | None, markdown_to: Path | None, before: dict[str, Any], after: dict[str, Any] | None,
           groups: list[list[dict[str, Any]]]) -> None:
    """The files that were asked for."""
    if json_to:
        flat = [record for records in groups for record in records]
        everything = {"machine": before, "machine at the end": after, "records": flat}
        json_to.write_text(json.dumps(everything, indent=1) + "\n")
    if markdown_to:
        told = [report.device_text(before), *([f"At the end: {report.device_text(after)}"] if after else [])]
        markdown_to.write_text("\n".join([*told, report.device_markdown(groups)]))


def test(folder: Path, seconds: float, processes: int, selected: Iterable[str] = ()) -> int:
    """Run the tests marked gpu; what has not begun within the limit is skipped. Returns pytest's exit status."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-rfEs", "--tb=short", "--durations=20",
               "-p", "no:cacheprovider", f"--gpu-seconds={seconds:g}"]
    if processes > 1 and importlib.util.find_spec("xdist"):
        command += ["-n", str(processes)]
    command += selected or [*(name for name in FIRST if (ROOT / name).exists()), "tests"]
    with (folder / "tests.txt").open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        reason = watch(process, Limits(seconds + GRACE, gigabytes=float("inf")))
        if reason:
            out.write(f"\nstopped: {reason}\n")
    lines = (folder / "tests.txt").read_text().splitlines()
    print("tests:", lines[-1] if lines else "nothing was printed", flush=True)
    return 1 if reason else process.returncode


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.benchmarks.cuda", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder for all files")
    parser.add_argument("--benchmarks", type=float, default=480.0, metavar="SECONDS", help="time for all of them")
    parser.add_argument("--tests", type=float, default=240.0, metavar="SECONDS", help="time for all of them")
    parser.add_argument("--select", nargs="*", default=[], metavar="FILE", help="tests to run; all by default")
    parser.add_argument("--workloads", nargs="*", default=list(ON_DEVICE), metavar="NAME")
    parser.add_argument("--peers", nargs="*", default=list(libraries(on_device=True)), metavar="NAME")
    parser.add_argument("--repeat", type=int, default=7, help="timed rounds; the median counts")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try it")
    parser.add_argument("--device", default="cuda", help="cpu: other libraries there, where there is no GPU")
    parser.add_argument("--processes", type=int, default=min(MOST_PROCESSES, max(1, (os.cpu_count() or 2) // 2)),
                        help="tests at the same time, where pytest-xdist is installed")
    return parser.parse_args()


def main() -> int:
    """Both parts; the exit status tells whether one failed."""
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    settings = Settings(args.tiny, args.repeat, None, LIMITS, device=args.device)
    (args.out / "device.txt").write_text(report.device_text(device_limits(settings)))
    status = 0
    if args.benchmarks:
        chosen = dict.fromkeys(args.workloads, args.peers)
        status |= measure(chosen, settings.until(time.monotonic() + args.benchmarks), args.out / "benchmarks.json",
                          args.out / "benchmarks.md")
    if args.tests:
        status |= test(args.out, args.tests, args.processes, args.select)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
