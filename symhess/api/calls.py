"""Python calls around kernels: what user code computes (`symhess.rules`) is called before the kernel that needs it.

    inputs --> arguments of the calls --> calls --> their values --> kernel
               (level by level, where calls need values of other calls)

A kernel never enters Python: it stays free of the interpreter's lock, an exception reaches the user as it was raised,
and what is kept on disk depends on no object that only this process knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.node import Node, depends_on, input_node, topological
from symhess.plan.cost import cost_of
from symhess.plan.program import Program, whole, with_values
from symhess.primitives.rebuild import substituted
from symhess.rules import expanded, is_called

#: arguments of calls are computed by a kernel from this many flops on, and interpreted below
WORTH_A_KERNEL = 1e5


@dataclass
class Level:
    """Calls that need no value of each other, with the expressions of their arguments, and all of these once."""

    nodes: dict[Node, list[Node]]
    arguments: list[Node]
    kernel: Any = None


@dataclass
class Calls:
    """Calls that depend on given inputs alone, in the order in which they can be made."""

    inputs: list[Node]
    levels: list[Level] = field(default_factory=list)
    #: the input that stands for the value of each call
    values: dict[Node, Node] = field(default_factory=dict)

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The values of the calls, in the order of `values`."""
        known = dict(zip(self.inputs, arrays))
        for level in self.levels:
            given = [known[x] for x in (*self.inputs, *self.values.values()) if x in known]
            found = level.kernel(given, None) if level.kernel else evaluate_nodes(level.arguments, known)
            at = dict(zip(level.arguments, found))
            for node, arguments in level.nodes.items():
                value = node.op.evaluate([at[a] for a in arguments], node)
                known[self.values[node]] = np.asarray(value, node.dtype, order="C")
        return [known[v] for v in self.values.values()]

    def placed(self, nodes: Sequence[Node]) -> list[Node]:
        """Expressions with the values of calls as inputs."""
        return substituted(nodes, self.values)


def calls_of(run: Any) -> list[Node]:
    """What a runner, and the runners in it, call in Python, each once."""
    own = list(run.calls.values) if hasattr(run, "calls") else []
    if run.plan is None and hasattr(run, "program"):
        own += [n for n in run.program.nodes() if is_called(n)]
    for part in ("inner", "lower", "columns"):
        if hasattr(run, part):
            own += calls_of(getattr(run, part))
    return list(dict.fromkeys(own))


def separated(program: Program, given: Sequence[Node], compiled: Callable[[Program], Any]) -> tuple[Calls, Program]:
    """The calls in a program that depend on the inputs `given` alone, and the program with their values as inputs.

    `compiled` makes a kernel of a program, for arguments that take much to compute.
    """
    roots = expanded(program.roots())
    order = topological(roots)
    later = depends_on(order, [x for x in program.inputs if x not in set(given)])
    calls = Calls(list(given))
    waiting = [n for n in order if is_called(n) and n not in later]
    while waiting:
        made = set(calls.values)
        blocked = depends_on(order, [n for n in waiting if n not in made])
        nodes = {n: calls.placed(n.args) for n in waiting if not any(a in blocked for a in n.args)}
        arguments = list(dict.fromkeys(a for args in nodes.values() for a in args))
        level = Level(nodes, arguments)
        inputs = (*calls.inputs, *calls.values.values())
        if cost_of(arguments).flops > WORTH_A_KERNEL:
            level.kernel = compiled(Program(inputs, tuple(whole(a) for a in arguments)))
        calls.levels.append(level)
        calls.values |= {n: input_node(n.op.name, n.shape, n.dtype) for n in nodes}
        waiting = [n for n in waiting if n not in calls.values]
    return calls, with_values(program, calls.placed(roots), tuple(calls.values.values()))
