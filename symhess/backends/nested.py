"""Source of loops and switches: one function per body, and one that drives the bodies; all work on plain memory.

    def loop(a0, a1, ..., out):           consts, xs and first states in the order of the arguments
        for t in range(T):
            body(z at row t, ..., z at row t + 1)

The states of a phase that a later phase reads are kept for all steps, one row for each, and in that case a step reads
one row and writes the next; other states alternate between two rows. Where the number of steps is found on the way,
the rows are moved to memory of twice the size when they fill it.

These functions are never inlined: what LLVM is told about memory that does not overlap is true within one call.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from symhess.backends import codegen
from symhess.graph.node import Node
from symhess.plan.nested import Body, NestedCall
from symhess.plan.steps import Plan

INDENT = "    "
#: rows for the states of a loop of unknown length, at first
FIRST_ROWS = 32


class Functions:
    """The functions that a kernel needs beside itself, by name; what they call comes first."""

    def __init__(self, symbols: Callable[[Plan], dict[str, str]]):
        self.symbols = symbols
        self.texts: dict[str, str] = {}

    def add(self, plan: Plan) -> None:
        """Make the functions of all nested calls of a plan, and name them in it."""
        for call in plan.steps:
            if isinstance(call, NestedCall):
                bodies = [self._body(b) for b in call.bodies]
                lines = _Loop(call, bodies).lines() if call.function == "loop" else _switch_lines(call, bodies)
                call.function = self._enter(call.function, "\n".join(lines) + "\n")

    def _body(self, body: Body) -> str:
        self.add(body.plan)
        return self._enter("body", codegen.source(body.plan, "body", self.symbols(body.plan), ("apart()",)))

    def _enter(self, kind: str, text: str) -> str:
        name = f"{kind}_{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"
        self.texts.setdefault(name, text.replace(f"def {kind}(", f"def {name}(", 1))
        return name

    def source(self, flags: dict[str, Any]) -> str:
        """All of them, each compiled with the kernel."""
        return "".join(f"@njit(**{flags!r})\n{text}\n\n" for text in self.texts.values())


class State(NamedTuple):
    """Where the states number k of a phase are kept: rows of `size` elements, for all steps or alternating."""

    name: str
    size: int
    kind: str
    stored: bool
    reverse: bool

    def row(self, at: str) -> str:
        """The memory of a row."""
        return f"at({self.name}, {_times(at if self.stored else f'({at}) % 2', self.size)})"

    def before(self) -> str:
        """The state before step t."""
        return self.row("t + 1" if self.reverse else "t")

    def after(self) -> str:
        """The state after step t."""
        return self.row("t" if self.reverse else "t + 1")


def _times(factor: str, size: int) -> str:
    return factor if size == 1 else f"({factor}) * {size}"


class _Loop:
    """The text of one loop."""

    def __init__(self, call: NestedCall, bodies: Sequence[str]):
        self.call, self.loop, self.names = call, call.nested, list(bodies)
        loop = self.loop
        self.arguments = {s: f"a{k}" for k, s in enumerate(loop.slots)}
        self.count = "n" if loop.length is None else str(loop.length)
        first = 0 if loop.going is None else 1
        self.phase_bodies = list(zip(self.names[first:], call.bodies[first:]))
        read = [set(b.inputs) for _, b in self.phase_bodies]
        self.states = [[State(f"z{p}_{k}", z.size, codegen.TYPE_NAMES[z.dtype.name], any(z in r for r in read[p + 1:]),
                              phase.reverse) for k, z in enumerate(phase.carry)]
                       for p, phase in enumerate(loop.phases)]
        self.growing = [s for s in self.states[0] if s.stored] if loop.length is None else []
        self.of = {z: s for phase, states in zip(loop.phases, self.states) for z, s in zip(phase.carry, states)}
        sizes = [math.prod(s) for s in loop.shapes]
        self.offsets = {o: sum(sizes[:k]) for k, o in enumerate(loop.outputs)}
        names = [*self.arguments.values(), "out", "clock", "going", *(s.name for s in self.of.values())]
        self.numbers = {name: k for k, name in enumerate(names)}

    def declared(self, name: str) -> str:
        """The line that gives a name to the memory of an array."""
        return f"{name} = memory({name}_nd, {self.numbers[name]}, {len(self.numbers)})"

    def lines(self) -> Iterator[str]:
        """The function."""
        names = [*self.arguments.values(), "out"]
        yield f"def loop({', '.join(f'{n}_nd' for n in names)}):"
        yield f"{INDENT}apart()"
        for n in names:
            yield INDENT + self.declared(n)
        yield f"{INDENT}clock_nd = np.empty(1, I64)"
        yield INDENT + self.declared("clock")
        for p in range(len(self.loop.phases)):
            for line in self.phase(p):
                yield INDENT + line
        yield INDENT + " ".join(f"keep({s.name}_nd);" for s in self.of.values()) + " keep(clock_nd)"

    def phase(self, p: int) -> Iterator[str]:
        """Memory, first states, steps, and the outputs that are last states."""
        phase, states = self.loop.phases[p], self.states[p]
        for s in states:
            rows = str(FIRST_ROWS) if s in self.growing else f"({self.count} + 1)" if s.stored else "2"
            yield f"{s.name}_nd = np.empty({_times(rows, s.size)}, {s.kind})"
            yield self.declared(s.name)
        start, end = (self.count, "0") if phase.reverse else ("0", self.count)
        for z, s in zip(phase.carry, states):
            yield f"copy({s.row(start)}, {self.arguments[z]}, {s.size})"
        yield from self.open_steps() if p == 0 and self.loop.length is None else self.counted_steps(p)
        for o in self.loop.outputs:
            if o.phase == p and not o.is_rows:
                s = states[o.k]
                yield f"copy(at(out, {self.offsets[o]}), {s.row(end)}, {s.size})"

    def counted_steps(self, p: int) -> Iterator[str]:
        """As many steps as are known."""
        if self.loop.phases[p].reverse:
            yield f"for back in range({self.count}):"
            yield f"{INDENT}t = {self.count} - 1 - back"
        else:
            yield f"for t in range({self.count}):"
        yield f"{INDENT}put(clock, 0, t)"
        yield INDENT + self.step(p)

    def open_steps(self) -> Iterator[str]:
        """Steps as long as the states say so."""
        test = [self.place(v) for v in self.call.bodies[0].inputs]
        yield "going_nd = np.empty(1, B1)"
        yield self.declared("going")
        yield f"t, rows = 0, {FIRST_ROWS}"
        yield "while True:"
        yield f"{INDENT}put(clock, 0, t)"
        yield f"{INDENT}{self.names[0]}({', '.join([*test, 'going'])})"
        yield f"{INDENT}if not get(going, 0):"
        yield f"{INDENT}{INDENT}break"
        if self.growing:
            yield f"{INDENT}if t + 1 == rows:"
            yield f"{INDENT}{INDENT}rows *= 2"
            for s in self.growing:
                yield f"{INDENT}{INDENT}{s.name}_nd = grown({s.name}_nd, {_times('rows', s.size)})"
                yield f"{INDENT}{INDENT}{self.declared(s.name)}"
        yield INDENT + self.step(0)
        yield f"{INDENT}t += 1"
        yield "n = t"
        yield "keep(going_nd)"

    def step(self, p: int) -> str:
        """The call of the body of a phase."""
        name, body = self.phase_bodies[p]
        rows = [f"at(out, {self.offsets[o]} + {_times('t', r.size)})" for k, r in enumerate(self.loop.phases[p].rows)
                for o in self.loop.outputs if o.phase == p and o.is_rows and o.k == k]
        return f"{name}({', '.join([*map(self.place, body.inputs), *(s.after() for s in self.states[p]), *rows])})"

    def place(self, v: Node) -> str:
        """The memory of an input of a body at step t."""
        if v in self.of:
            return self.of[v].before()
        if v not in self.arguments:
            return "clock"
        return f"at({self.arguments[v]}, {_times('t', v.size)})" if v in self.loop.xs else self.arguments[v]


def _switch_lines(call: NestedCall, bodies: Sequence[str]) -> Iterator[str]:
    """The text of one switch."""
    arguments = {s: f"a{k}" for k, s in enumerate(call.nested.slots)}
    names = ["number", *arguments.values(), "out"]
    yield f"def switch({', '.join(f'{n}_nd' for n in names)}):"
    yield f"{INDENT}apart()"
    for k, n in enumerate(names):
        yield f"{INDENT}{n} = memory({n}_nd, {k}, {len(names)})"
    yield f"{INDENT}k = get(number, 0)"
    sizes = [math.prod(s) for s in call.nested.shapes]
    results = [f"at(out, {sum(sizes[:k])})" for k in range(len(sizes))]
    for k, (name, body) in enumerate(zip(bodies, call.bodies)):
        last = k == len(bodies) - 1
        yield INDENT + (f"{'el' if k else ''}if k <= {k}:" if not last else "else:" if k else "if True:")
        yield f"{INDENT}{INDENT}{name}({', '.join([*(arguments[v] for v in body.inputs), *results])})"
