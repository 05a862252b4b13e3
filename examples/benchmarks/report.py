"""Tables of the records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .workloads import WORKLOADS

COLUMNS = ("workload", "peer", "import", "first", "per Hessian", "symhess / peer", "/ writing once", "peak memory",
           "difference")

SUMMARY = ("Hessian of", "symhess", "JAX", "times faster", "first call", "JAX's", "peak memory", "difference")


def time_text(seconds: float) -> str:
    """Three digits with a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def row(record: dict[str, Any], symhess: dict[str, Any] | None) -> tuple[str, ...]:
    """The texts of one record, in the order of COLUMNS."""
    head = WORKLOADS[record["workload"]].title, record["peer"]
    if "error" in record:
        return *head, record["error"], *[""] * (len(COLUMNS) - 3)
    extrapolated = " (extrapolated)" if record["extrapolation"] != 1 else ""
    return (
        *head,
        time_text(record["import_seconds"]),
        time_text(record["first_seconds"]),
        time_text(record["seconds"]) + extrapolated,
        f"{symhess['seconds'] / record['seconds']:.3g}" if symhess else "",
        "" if extrapolated else f"{record['seconds'] / record['write_seconds']:.3g}",
        f"{record['peak_bytes'] / 1e6:.0f} MB",
        f"{record['difference']:.1e} from {record['against']}" if "difference" in record else "",
    )


def rows(records: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The rows of one workload."""
    symhess = next((r for r in records if r["peer"] == "symhess" and "error" not in r), None)
    return [row(record, symhess) for record in records]


def markdown(groups: Iterable[list[dict[str, Any]]]) -> str:
    """A Markdown table of all workloads."""
    lines = [COLUMNS, ("---",) * len(COLUMNS)] + [line for records in groups for line in rows(records)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def summary(groups: Iterable[list[dict[str, Any]]]) -> str:
    """A Markdown table with one line per workload: symhess beside JAX, each the best way it was measured."""
    lines: list[tuple[str, ...]] = [SUMMARY, ("---",) + ("---:",) * (len(SUMMARY) - 1)]
    for records in groups:
        found = {r["peer"]: r for r in records if "error" not in r}
        if "symhess" in found and "jax" in found:
            lines.append(_summary_row(found["symhess"], found["jax"]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _summary_row(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[str, ...]:
    megabytes = [f"{r['peak_bytes'] / 1e6:.0f}" for r in (ours, theirs)]
    return (WORKLOADS[ours["workload"]].title, time_text(ours["seconds"]), time_text(theirs["seconds"]),
            f"{theirs['seconds'] / ours['seconds']:.1f}", time_text(ours["first_seconds"]),
            time_text(theirs["first_seconds"]), " / ".join(megabytes) + " MB", f"{ours['difference']:.0e}")


def limits_text(machine: dict[str, float]) -> str:
    """The machine in one line."""
    return (f"One core: writes {machine['write_gigabytes_per_second']:.3g} GB/s to main memory, "
            f"multiplies matrices at {machine['dgemm_gigaflops']:.3g} GFLOP/s.")


def write_ratio_text(records: Iterable[dict[str, Any]], limit: float = 5.0) -> str:
    """How the CSR values of the largest Rosenbrock chain compare with writing that many numbers once."""
    for r in records:
        if r["workload"] == "rosenbrock_1e6" and r["peer"] == "symhess" and "error" not in r:
            ratio = r["seconds"] / r["write_seconds"]
            return (f"Chained Rosenbrock: {r['entries']:,} CSR values take {ratio:.2f} times the time of writing "
                    f"that many float64 once in the same run (limit: {limit:g}).")
    return ""
