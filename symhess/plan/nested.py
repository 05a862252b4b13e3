"""Steps that hold plans of their own: loops and switches, whose bodies stand where a kernel needs them.

The states that a later phase reads are kept for all steps, in rows: a step reads one row and writes the next. Other
states alternate between two rows. Where the number of steps is only found by the loop, the rows that are kept are in
memory of their own, which grows; everything else has a fixed size and is part of the kernel's workspace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from symhess.graph.node import Node
from symhess.plan.loops import Target
from symhess.plan.program import Program, whole
from symhess.plan.steps import LibraryCall, Plan, call_arguments
from symhess.primitives.control import Switch, used_inputs


@dataclass
class Body:
    """What is computed in a step or by a branch: the inputs it reads, its expressions, one per output, and a plan."""

    inputs: tuple[Node, ...]
    expressions: tuple[Node, ...]
    plan: Plan = None  # type: ignore[assignment]  # made after the body

    @classmethod
    def of(cls, expressions: Sequence[Node]) -> Body:
        """The body of some expressions, not planned yet."""
        return cls(tuple(used_inputs(expressions)), tuple(expressions))

    @property
    def program(self) -> Program:
        """What its plan is made from."""
        return Program(self.inputs, tuple(whole(e) for e in self.expressions))


#: who runs a loop on a GPU, in words
BY = {"one": "one thread", "block": "a block of threads", "grid": "all blocks",
      "host": "launches for each step"}


class State(NamedTuple):
    """The memory of a state: rows for all steps if it is kept, else two; grows where their number is not known."""

    target: Target
    size: int
    kept: bool
    grows: bool


@dataclass
class NestedCall(LibraryCall):
    """All steps of a loop, or the branch of a switch that is taken."""

    #: the Loop or Switch
    nested: Any = None
    bodies: list[Body] = field(default_factory=list)
    #: of a loop: the memory of each state of each phase, the number of the step, and whether there is another step
    states: list[list[State]] = field(default_factory=list)
    step: Target | None = None
    going: Target | None = None
    #: on a GPU: who runs it, the iterations of its widest operation, and the memory that it needs (see `teams`)
    team: str = ""
    width: int = 0
    memory: list[Target] | None = None

    @property
    def buffers(self) -> list[Target]:
        """The memory that it needs for itself, as far as its size is known."""
        if self.memory is not None:
            return self.memory
        fixed = [s.target for states in self.states for s in states if not s.grows]
        return fixed + [t for t in (self.step, self.going) if t is not None]

    @property
    def growing(self) -> list[State]:
        """The memory whose size is found on the way."""
        return [s for states in self.states for s in states if s.grows]

    def __str__(self) -> str:
        what = f"{self.function} ({self.nested})" + (f" by {BY[self.team]}" if self.team else "")
        lines = [f"{what} into {self.target.name}{list(self.target.shape)}; {self.figures}"]
        for (heading, _), body in zip(self.nested.graphs(), self.bodies):
            lines += [f"  {heading}:", *(f"    {line}" for line in str(body.plan).splitlines()[1:])]
        return "\n".join(lines)


def nested_call(node: Node, target: Target) -> NestedCall:
    """The step that computes a loop or a switch."""
    call = NestedCall(node.op.name, call_arguments(node), target, node.shape, nested=node.attrs)
    if isinstance(node.attrs, Switch):
        call.bodies = [Body.of(b) for b in node.attrs.branches]
        return call
    loop = node.attrs
    first = [] if loop.going is None else [Body.of([loop.going])]
    call.bodies = first + [Body.of(p.expressions) for p in loop.phases]
    read = [set(b.inputs) for b in call.bodies[len(first):]]
    for number, p in enumerate(loop.phases):
        later = set().union(*read[number + 1:])
        call.states.append([_state(f"{target.name}_{number}_{k}", z, z in later, loop.length)
                            for k, z in enumerate(p.carry)])
    call.step = Target(f"{target.name}_step", (1,), np.dtype(np.int64))
    call.going = Target(f"{target.name}_going", (1,), np.dtype(bool)) if loop.length is None else None
    return call


def _state(name: str, z: Node, kept: bool, length: int | None) -> State:
    rows = 2 if not kept else 0 if length is None else length + 1
    return State(Target(name, (rows * z.size,), z.dtype), z.size, kept, kept and length is None)


def plans_in(plan: Plan) -> Iterator[Plan]:
    """The plan, and those of all bodies in it."""
    yield plan
    for step in plan.steps:
        if isinstance(step, NestedCall):
            for body in step.bodies:
                yield from plans_in(body.plan)


def results(call: NestedCall) -> list[int]:
    """Where the outputs of a loop or a switch begin in its vector of outputs."""
    sizes = [math.prod(s) for s in call.nested.shapes]
    return [sum(sizes[:k]) for k in range(len(sizes))]
