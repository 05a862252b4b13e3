"""Tables of the records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .roster import PEERS
from .workloads import WORKLOADS, Workload

Record = dict[str, Any]

COLUMNS = ("workload", "peer", "function", "import", "first, cold", "first, warm", "per Hessian", "/ floor", "/ limit",
           "peak memory", "difference")
OVERVIEW = ("workload", "symhess", "/ floor", "best by any means", "ahead", "best from the unchanged function", "ahead",
            "first, cold", "first, warm", "limit", "/ limit", "peak memory", "difference")
#: of a GPU
ON_DEVICE = ("workload", "peer", "function", "import", "first call", "per Hessian", "times symhess", "limit", "/ limit",
             "result", "device memory", "memory", "difference")
SUMMARY = ("Hessian of", "symhess", "JAX", "times faster", "first call", "JAX's", "peak memory", "difference")


def time_text(seconds: float) -> str:
    """Three digits with a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def ratio_text(a: float | None, b: float | None) -> str:
    """a / b, empty where one of them is not there."""
    if not (a and b):
        return ""
    return f"{a / b:.3g}" if a < 1000 * b else f"{a / b:,.0f}"


def table(columns: Sequence[str], lines: Iterable[Sequence[str]], numbers_from: int = 1) -> str:
    """A Markdown table."""
    rule = ("---",) * numbers_from + ("---:",) * (len(columns) - numbers_from)
    return "\n".join("| " + " | ".join(line) + " |" for line in [columns, rule, *lines]) + "\n"


def good(records: Iterable[Record]) -> list[Record]:
    """Those that ran, and did not give something else than the others."""
    return [r for r in records if "error" not in r and r.get("difference", 0.0) < 1e-4]


def best(records: Iterable[Record]) -> Record | None:
    """The fastest one."""
    return min(good(records), key=lambda r: r["seconds"], default=None)


def seconds_of(records: Iterable[Record], peer: str) -> float | None:
    """The time of one peer, where it ran."""
    return next((r["seconds"] for r in good(records) if r["peer"] == peer), None)


def physical_limit(records: Iterable[Record]) -> float | None:
    """Seconds that this machine needs at least: to write the result once, or to do the matrix products."""
    for r in records:
        if "output_bytes" in r and "machine" in r:
            workload = WORKLOADS[r["workload"]]
            write = r["output_bytes"] / (1e9 * r["machine"]["write_gigabytes_per_second"])
            return max(write, flops(workload) / (1e9 * r["machine"]["dgemm_gigaflops"]))
    return None


def flops(workload: Workload) -> float:
    """Floating-point operations of the matrix products; two single-precision ones count as one."""
    counted = workload.flops(*workload.size) if workload.flops else 0.0
    return counted / 2 if "float32" in workload.title else counted


def row(record: Record, floor: float | None, limit: float | None) -> tuple[str, ...]:
    """The texts of one record, in the order of COLUMNS."""
    kind = "by hand" if PEERS[record["peer"]].by_hand else "unchanged"
    head = WORKLOADS[record["workload"]].title, record["peer"], kind
    if "error" in record:
        return *head, record["error"].replace("|", "/"), *[""] * (len(COLUMNS) - 4)
    return (
        *head,
        time_text(record["import_seconds"]),
        time_text(record["first_seconds"]),
        time_text(record["warm_seconds"]) if "warm_seconds" in record else "",
        time_text(record["seconds"]) + doubt(record),
        ratio_text(record["seconds"], floor),
        ratio_text(record["seconds"], limit),
        f"{record['peak_bytes'] / 1e6:.0f} MB",
        f"{record['difference']:.1e} from {record['against']}" if "difference" in record else "",
    )


def doubt(record: Record) -> str:
    """Why a time is not as good as the others."""
    if record["extrapolation"] != 1:
        return " (extrapolated)"
    return "" if record.get("rounds", 1) else " (one call)"


def rows(records: list[Record]) -> list[tuple[str, ...]]:
    """The rows of one workload."""
    floor, limit = seconds_of(records, "floor"), physical_limit(records)
    return [row(record, floor, limit) for record in records]


def markdown(groups: Iterable[list[Record]]) -> str:
    """A Markdown table of all records."""
    return table(COLUMNS, [line for records in groups for line in rows(records)], 3)


def device_markdown(groups: Iterable[list[Record]]) -> str:
    """A Markdown table of all records of a GPU."""
    return table(ON_DEVICE, [device_row(r, records) for records in groups for r in records], 3)


def device_row(record: Record, records: list[Record]) -> tuple[str, ...]:
    """The texts of one record, in the order of ON_DEVICE. The limit is the time of writing the result once."""
    kind = "by hand" if PEERS[record["peer"]].by_hand else "unchanged"
    head = WORKLOADS[record["workload"]].title, record["peer"], kind
    if "error" in record:
        return *head, record["error"].replace("|", "/"), *[""] * (len(ON_DEVICE) - 4)
    written, seconds = record.get("output_bytes", 0), record["seconds"]
    limit = written / (1e9 * record["machine"]["write_gigabytes_per_second"])
    device_bytes = record.get("device_bytes")
    return (
        *head,
        time_text(record["import_seconds"]),
        time_text(record["first_seconds"]),
        time_text(seconds) + doubt(record) + stopped(record),
        ratio_text(seconds, seconds_of(records, "symhess-cuda")),
        time_text(limit) if limit else "",
        ratio_text(seconds, limit),
        f"{written / 1e6:,.0f} MB",
        "" if device_bytes is None else f"{device_bytes / 1e6:,.0f} MB",
        f"{record['peak_bytes'] / 1e6:,.0f} MB",
        f"{record['difference']:.1e} from {record['against']}" if "difference" in record else "",
    )


def stopped(record: Record) -> str:
    """What ended a run that had an answer already."""
    return f"; {record['stopped']}".replace("|", "/") if "stopped" in record else ""


def device_text(machine: Record) -> str:
    """The device, what it runs with, and how fast it writes."""
    if "error" in machine:
        return f"No device: {machine['error']}\n"
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    return (f"{machine['device']}; driver {machine['driver']}; {libraries}. A kernel writes "
            f"{machine['write_gigabytes_per_second']:,.4g} GB/s.\n")


def overview(groups: Iterable[list[Record]]) -> str:
    """A Markdown table with one line per workload: symhess, the floor, the best others and the limit."""
    return table(OVERVIEW, [_overview_row(records) for records in groups if records])


def _overview_row(records: list[Record]) -> tuple[str, ...]:
    ours = next((r for r in records if r["peer"] == "symhess"), None)
    title = WORKLOADS[records[0]["workload"]].title
    if ours is None or "error" in ours:
        return title, ours["error"] if ours else "", *[""] * (len(OVERVIEW) - 2)
    time, limit = ours["seconds"], physical_limit(records)
    others = [r for r in records if r["peer"] not in ("symhess", "floor")]
    found = best(others), best(r for r in others if not PEERS[r["peer"]].by_hand)
    text = [part for other in found for part in
            ((f"{other['peer']} {time_text(other['seconds'])}", ratio_text(other["seconds"], time))
             if other else ("", ""))]
    return (title, time_text(time), ratio_text(time, seconds_of(records, "floor")), *text,
            time_text(ours["first_seconds"]), time_text(ours["warm_seconds"]) if "warm_seconds" in ours else "",
            time_text(limit) if limit else "", ratio_text(time, limit), f"{ours['peak_bytes'] / 1e6:.0f} MB",
            f"{ours['difference']:.0e}" if "difference" in ours else "")


def summary(groups: Iterable[list[Record]]) -> str:
    """A Markdown table with one line per workload: symhess beside JAX, each the best way it was measured."""
    lines: list[tuple[str, ...]] = []
    for records in groups:
        ours = best(r for r in records if r["peer"] == "symhess")
        theirs = best(r for r in records if r["peer"].split("-")[0] == "jax")
        if ours and theirs:
            lines.append(_summary_row(ours, theirs))
    return table(SUMMARY, lines)


def _summary_row(ours: Record, theirs: Record) -> tuple[str, ...]:
    megabytes = [f"{r['peak_bytes'] / 1e6:.0f}" for r in (ours, theirs)]
    return (WORKLOADS[ours["workload"]].title, time_text(ours["seconds"]), time_text(theirs["seconds"]),
            f"{theirs['seconds'] / ours['seconds']:.1f}", time_text(ours["first_seconds"]),
            time_text(theirs["first_seconds"]), " / ".join(megabytes) + " MB",
            f"{ours['difference']:.0e}" if "difference" in ours else "")


def filled(text: str, tables: dict[str, str]) -> str:
    """The text with each table between its marks `<!-- begin name -->` and `<!-- end name -->`."""
    for name, content in tables.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = f"{before}{begin}\n\n{content.strip()}\n\n{end}{after}"
    return text


def limits_text(machine: dict[str, float]) -> str:
    """The machine in one line."""
    return (f"One core: writes {machine['write_gigabytes_per_second']:.3g} GB/s to main memory, "
            f"multiplies matrices at {machine['dgemm_gigaflops']:.3g} GFLOP/s.")


def write_ratio_text(records: Iterable[Record], limit: float = 5.0) -> str:
    """How the CSR values of the largest Rosenbrock chain compare with writing that many numbers once."""
    for r in records:
        if r["workload"] == "rosenbrock_1e6" and r["peer"] == "symhess" and "error" not in r:
            ratio = r["seconds"] / r["write_seconds"]
            return (f"Chained Rosenbrock: {r['output_bytes'] // 8:,} CSR values take {ratio:.2f} times the time of "
                    f"writing that many float64 once in the same run (limit: {limit:g}).")
    return ""
