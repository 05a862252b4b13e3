"""A batch of whole programs: one kernel, in which every thread runs the program of one point after another.

Loops of threads go their own ways: each as many steps as its point takes, each to the branch that its point takes.
"""

from __future__ import annotations

from collections.abc import Iterable

from symhess.backends.codegen import size
from symhess.cuda import nested
from symhess.cuda.nested import Place, calls_in, memory_of
from symhess.cuda.shared import reserve
from symhess.cuda.source import Launch, Module, check_records, dtypes_of, kernel_text
from symhess.cuda.statements import indented
from symhess.cuda.toolkit import is_simulated
from symhess.plan.nested import plans_in
from symhess.plan.steps import Plan
from symhess.plan.storage import allocate

#: threads of a block: few, since each has many registers
WIDTH, SIMULATED_WIDTH = 128, 2
#: threads of a grid at most: what a device holds at once; and the bytes that they may have in memory together
MOST_LANES, MOST_BYTES = 1 << 17, 1 << 31


def module(plan: Plan, points: int, rows: Iterable[int]) -> Module:
    """The kernel of a plan of one point (`plan.schedule.point_plan`); the inputs numbered `rows` have a row for each.

    Raises:
        UnsupportedOperation: a step of the plan has no form on a GPU.
    """
    plans = list(plans_in(plan))
    check_records(plans)
    reserve(plan, kernels=False)
    own = {t.name: t for p in plans for t in memory_of(p)}
    dtypes, constants = dtypes_of(plans), [name for p in plans for name in p.constants]
    private = nested.private(own.values(), dtypes)
    bytes_of_one = sum(allocate(p.root, [t for t in memory_of(p) if t.name not in private]).size for p in plans)
    lanes = lanes_of(points, bytes_of_one)
    by_point = [*(plan.inputs[k] for k in rows), *plan.outputs]
    places = {name: Place(name, lanes=lanes) for name in own if name not in private}
    places |= {t.name: Place(t.name, nested.times("point", size(t))) for t in by_point}
    lines = [*private.values(), *nested.steps_of(plan.root.body), "lane = cuda.grid(1)",
             f"for point in range(lane, {points}, {lanes}):",
             *indented(nested.Thread(places).body(plan.root.body))]
    arrays = [t.name for t in (*plan.inputs, *plan.outputs)]
    arrays += [name for name in (*own, *constants) if name not in private]
    labels = [nested.label_of(c) for c in calls_in(plan.root.body)]
    launch = Launch("kernel0", "points", points, tuple(arrays), ", ".join(dict.fromkeys(labels)), threads=lanes)
    text = kernel_text(launch.name, arrays, indented(lines))
    return Module({launch.name: text}, [launch], dtypes, set(private), lanes, {})


def lanes_of(points: int, bytes_of_one: int) -> int:
    """How many threads there are: each of them has memory of its own."""
    most = 2 * SIMULATED_WIDTH if is_simulated() else min(MOST_LANES, max(MOST_BYTES // max(bytes_of_one, 1), 1))
    block = width(min(points, most))
    return min(-(-points // block), most // block) * block


def width(lanes: int) -> int:
    """Threads of a block, of so many in all."""
    return min(SIMULATED_WIDTH if is_simulated() else WIDTH, lanes)
