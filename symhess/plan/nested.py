"""Steps that hold plans of their own: loops and switches, whose bodies become functions beside the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from symhess.graph.node import Node
from symhess.plan.loops import Target
from symhess.plan.program import Program, whole
from symhess.plan.steps import Argument, Figures, LibraryCall, Plan, call_arguments
from symhess.primitives.control import Loop, Switch, used_inputs


@dataclass
class Body:
    """What is computed in a step or by a branch: a plan, the inputs it reads, and its expressions, one per output."""

    inputs: tuple[Node, ...]
    expressions: tuple[Node, ...]
    plan: Plan | None = None

    @classmethod
    def of(cls, expressions: Sequence[Node]) -> Body:
        """The body of some expressions, not planned yet."""
        return cls(tuple(used_inputs(expressions)), tuple(expressions))

    @property
    def program(self) -> Program:
        """What its plan is made from."""
        return Program(self.inputs, tuple(whole(e) for e in self.expressions))


@dataclass
class NestedCall(LibraryCall):
    """A call of a function that runs bodies: every step of a loop, or one branch; all arrays as plain memory."""

    nested: Loop | Switch | Any = None
    bodies: list[Body] = field(default_factory=list)

    def __str__(self) -> str:
        what = f"{self.function} ({self.nested})"
        head = f"call {what} into {self.target.name}{list(self.target.shape)}; {self.figures}"
        lines = [head]
        for (heading, _), body in zip(self.nested.graphs(), self.bodies):
            lines += [f"  {heading}:", *(f"    {line}" for line in str(body.plan).splitlines()[1:])]
        return "\n".join(lines)


def nested_call(node: Node, target: Target) -> NestedCall:
    """The step that computes a loop or a switch."""
    arguments = [Argument(a.node, a.shape) for a in call_arguments(node.args)]
    nested = node.attrs
    if isinstance(nested, Loop):
        passes = ([] if nested.going is None else [(nested.going,)]) + [p.expressions for p in nested.phases]
    else:
        passes = list(nested.branches)
    return NestedCall(node.op.name, arguments, target, node.shape, (), [], Figures(), nested,
                      [Body.of(p) for p in passes])
