"""Who runs a loop or a switch on a GPU, and the memory that this takes.

    one      one thread: the numbers of a step are few, and wait for each other
    block    one block of threads: they share every statement of a step, and wait for each other between two
    grid     all blocks that the device holds at once, in the same way
    host     the steps are enqueued one after the other, each with kernels of its own

A wait of a block takes some tens of nanoseconds, one of all blocks about as long as a launch of a kernel (1 to 2
microseconds). One multiprocessor of a hundred does about 1e10 simple iterations a second from its caches, so a grid is
worth its waits from some ten thousand iterations of one statement on. From some millions on (a product of matrices of a
few hundred rows) an operation takes longer than a launch, and gains by a kernel, or a library, made for it.

A thread keeps its states in registers; a team has two rows of each in memory, in turn. States that a later phase reads
are left in memory, for all steps. Where the number of steps is found on the way, memory is for the last `RING` of them.
Further back a phase finds every `RING`th state, and from there computes those between again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from symhess.errors import UnsupportedOperation
from symhess.graph.node import INPUT, Node, bodies, topological
from symhess.plan.loops import COMBINE, Target
from symhess.plan.nested import NestedCall, State
from symhess.primitives.contraction import label_sizes

#: iterations of the widest operation of a step from which a block shares it, and from which all blocks do
WORTH_A_BLOCK, WORTH_A_GRID = 16, 1 << 14
#: states of a loop of unknown length that are kept for the way back: the last ones, and as many of those before
RING = 64
#: statements up to which a thread runs the whole program of a point: it is one kernel, which takes its time to compile
MOST_STATEMENTS = 4000
#: how many times the work of its loops a thread does besides, and points that are work enough for a device in any case
MOST_OUTSIDE, MANY_POINTS = 16, 1 << 13
#: iterations from which the steps of a loop of known length are launched from the host, and how many launches at most
WORTH_LAUNCHES, MOST_LAUNCHES = 1 << 22, 1 << 13
ONE, BLOCK, GRID, HOST = "one", "block", "grid", "host"


def team_of(call: NestedCall) -> str:
    """Who runs a loop or a switch."""
    width = max((widest(body.expressions) for body in call.bodies), default=0)
    if width >= WORTH_LAUNCHES and is_unrollable(call):
        return HOST
    return ONE if width < WORTH_A_BLOCK else BLOCK if width < WORTH_A_GRID else GRID


def is_unrollable(call: NestedCall) -> bool:
    """True for a loop of not too many steps, without others inside."""
    if call.step is None or call.nested.length is None:
        return False
    nodes = [n for body in call.bodies for n in topological(body.expressions)]
    kernels = len(call.bodies) + sum(n.op.name == "contract" or "kernel" in n.op.extra for n in nodes)
    return not any(map(bodies, nodes)) and call.nested.length * kernels <= MOST_LAUNCHES


def refuse_unbounded(call: NestedCall) -> None:
    """Raises UnsupportedOperation where no memory is large enough for the states of a loop."""
    if is_unbounded(call):
        raise UnsupportedOperation("a loop whose number of steps is found while it runs has states that later passes "
                                   "over them read in both directions (a third derivative, or reverse mode of reverse "
                                   'mode), which a GPU kernel has no memory for; use target="cpu", or a loop of a '
                                   "known length")


def worth_threads(outputs: Sequence[Node], points: int) -> bool:
    """True where each point of a batch is to have a thread, which runs the whole program of the point: it has loops,
    whose steps are not wider than there are points, and a good part of its work, or points enough for a device."""
    order = topological(outputs)
    loops = [(n, [g.outputs for _, g in bodies(n)]) for n in order if bodies(n)]
    inner = [e for _, each in loops for e in each]
    if not inner or len(order) + sum(len(topological(e)) for e in inner) > MOST_STATEMENTS:
        return False
    inside = sum(steps_of(n) * work(e) for n, each in loops for e in each)
    outside = work(outputs) - sum(iterations(n) for n, _ in loops)
    pays = outside <= MOST_OUTSIDE * inside or points >= MANY_POINTS
    return pays and max(map(widest, inner)) <= max(points, WORTH_A_BLOCK)


def steps_of(node: Node) -> int:
    """How often the body of a loop or switch runs, as far as is known."""
    return getattr(node.attrs, "length", 1) or RING


def work(expressions: Sequence[Node]) -> int:
    """The iterations of all operations."""
    return sum(iterations(n) for n in topological(expressions) if n.op is not INPUT)


def widest(expressions: Sequence[Node]) -> int:
    """The iterations of the operation that takes most."""
    return max((iterations(n) for n in topological(expressions) if n.op is not INPUT), default=0)


def iterations(node: Node) -> int:
    """The elements that an operation goes through, at once."""
    inner = [widest(graph.outputs) for _, graph in bodies(node)]
    if inner:
        return max(inner)
    if node.op.name == "contract":
        return math.prod(label_sizes(node).values())
    if node.op.name in COMBINE:
        return node.args[0].size
    return node.size


def assign(call: NestedCall, team: str) -> None:
    """Have a team run a loop."""
    refuse_unbounded(call)
    call.team, call.width = team, max((widest(body.expressions) for body in call.bodies), default=1)
    if call.step is None:
        return
    call.memory = [t for states in call.states for s in states for t in memory_of_state(s, team, call.nested.length)]
    if call.growing:
        call.memory += map(marks, call.states[0])
    if call.going is not None:
        call.memory.append(call.going)
    if team == HOST:  # the numbers of all steps
        call.memory.append(call.step._replace(shape=(call.nested.length,)))


def memory_of_state(s: State, team: str, length: int | None) -> list[Target]:
    """The arrays of a state."""
    out = [now(s)] if team == ONE or not s.kept else []
    if s.kept:
        rows = RING + 1 if length is None else length + 1
        out.append(s.target._replace(shape=(rows * s.size,)))
    return out


def now(s: State) -> Target:
    """The state before and after a step."""
    return Target(f"{s.target.name}_now", (2 * s.size,), s.target.dtype)


def marks(s: State) -> Target:
    """The states before every `RING`th step."""
    return Target(f"{s.target.name}_marks", (RING * s.size,), s.target.dtype)


def is_unbounded(call: NestedCall) -> bool:
    """True for a loop of unknown length whose states are kept in a way that cannot be computed again from marks: by
    a later phase than the first, or for one that goes forwards."""
    if not call.growing:
        return False
    later = call.nested.phases[1:]
    return any(s.grows for states in call.states[1:] for s in states) or any(not p.reverse for p in later)
