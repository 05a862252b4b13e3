"""Source of loops and switches inside of a kernel: every body stands where it runs, over windows of larger arrays.

    for t in range(T):
        b0_x0 = at(state, row before)         the arrays of the body are windows, made anew in every step
        b0_out0 = at(state, row after)
        ...                                   the statements of the body's own plan

Windows of one array are of one alias class, so LLVM knows that what a step writes is what the next one reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from symhess.graph.node import Node
from symhess.plan.loops import Block
from symhess.plan.nested import Body, NestedCall, State, results

INDENT = "    "
#: rows for the states of a loop of unknown length, at first
FIRST_ROWS = 32
#: the names of element types in source
Types = dict[str, str]


class Printer:
    """Prints one loop or switch; `block` prints the statements of a body, `memory` names the memory of an array."""

    def __init__(self, call: NestedCall, types: Types, block: Callable[[Block], Iterator[str]],
                 memory: Callable[[str, str], str]):
        self.call, self.types, self.block, self.memory = call, types, block, memory
        self.scope = call.target.name
        self.offsets = results(call)
        self.sources = [f"at({name}, {a.start})" if a.start else name for name, a in zip(call.sources, call.arguments)]

    def lines(self) -> Iterator[str]:
        """The statements."""
        return self.loop() if self.call.states or self.call.step else self.switch()

    def body(self, body: Body, inputs: Iterable[str], outputs: Iterable[str]) -> Iterator[str]:
        """One body over its windows."""
        ends = (*body.plan.inputs, *body.plan.outputs)
        for t, window in zip(ends, [*inputs, *outputs]):
            yield f"{INDENT}{t.name} = {window}"
        yield from self.block(body.plan.root)

    # -- branches ------------------------------------------------------------------------------------------------

    def switch(self) -> Iterator[str]:
        """The branch that is taken."""
        number, *sources = self.sources
        arguments = dict(zip(self.call.nested.slots, sources))
        outputs = [f"at({self.call.target.name}, {k})" for k in self.offsets]
        yield f"{self.scope}_branch = get({number}, 0)"
        last = len(self.call.bodies) - 1
        for k, body in enumerate(self.call.bodies):
            test = f"if {self.scope}_branch <= {k}:" if k < last else "else:"
            yield ("el" if 0 < k < last else "") + (test if last else "if True:")
            yield from self.body(body, [arguments[v] for v in body.inputs], outputs)

    # -- loops ---------------------------------------------------------------------------------------------------

    def loop(self) -> Iterator[str]:
        """All phases, one after the other."""
        call, loop = self.call, self.call.nested
        self.t = f"{self.scope}_t"
        self.count = f"{self.scope}_n" if loop.length is None else str(loop.length)
        self.arguments = dict(zip(loop.slots, self.sources))
        self.state_of = {z: (s, p.reverse) for p, states in zip(loop.phases, call.states)
                         for z, s in zip(p.carry, states)}
        for number, p in enumerate(loop.phases):
            yield from self.first_states(number)
            yield from self.steps(number) if number or loop.length is not None else self.open_steps()
            last = "0" if p.reverse else self.count
            for o, offset in zip(loop.outputs, self.offsets):
                if o.phase == number and not o.is_rows:
                    s = call.states[number][o.k]
                    yield f"copy(at({call.target.name}, {offset}), {row(s, last)}, {s.size})"
        yield from (f"keep({s.target.name}_nd)" for s in call.growing)

    def first_states(self, number: int) -> Iterator[str]:
        """Memory for the states of a phase, and their values before it."""
        p = self.call.nested.phases[number]
        for z, s in zip(p.carry, self.call.states[number]):
            if s.grows:
                yield from self.enlarged(s, str(FIRST_ROWS) if number == 0 else f"({self.count} + 1)")
            yield f"copy({row(s, self.count if p.reverse else '0')}, {self.arguments[z]}, {s.size})"

    def enlarged(self, s: State, rows: str) -> Iterator[str]:
        """New memory for a state."""
        yield f"{s.target.name}_nd = np.empty({times(rows, s.size)}, {self.types[s.target.dtype.name]})"
        yield f"{s.target.name} = {self.memory(s.target.name, f'{s.target.name}_nd')}"

    def steps(self, number: int) -> Iterator[str]:
        """The steps of a phase, as many as are known."""
        if self.call.nested.phases[number].reverse:
            yield f"for {self.scope}_back in range({self.count}):"
            yield f"{INDENT}{self.t} = {self.count} - 1 - {self.scope}_back"
        else:
            yield f"for {self.t} in range({self.count}):"
        yield from self.step(number)

    def open_steps(self) -> Iterator[str]:
        """The steps of the first phase as long as its states say so."""
        call, going = self.call, self.call.going.name
        yield f"{self.t}, {self.scope}_rows = 0, {FIRST_ROWS}"
        yield "while True:"
        yield f"{INDENT}put({call.step.name}, 0, {self.t})"
        yield from self.body(call.bodies[0], map(self.place, call.bodies[0].inputs), [going])
        yield f"{INDENT}if not get({going}, 0):"
        yield f"{INDENT * 2}break"
        grown = [s for s in call.states[0] if s.grows]
        if grown:
            yield f"{INDENT}if {self.t} + 1 == {self.scope}_rows:"
            yield f"{INDENT * 2}{self.scope}_rows *= 2"
            for s in grown:
                old = f"{s.target.name}_old"
                yield f"{INDENT * 2}{old}_nd = {s.target.name}_nd"
                yield f"{INDENT * 2}{old} = {s.target.name}"
                yield from (INDENT * 2 + line for line in self.enlarged(s, f"{self.scope}_rows"))
                yield f"{INDENT * 2}copy({s.target.name}, {old}, {times(f'({self.t} + 1)', s.size)})"
                yield f"{INDENT * 2}keep({old}_nd)"
        yield from self.step(0)
        yield f"{INDENT}{self.t} += 1"
        yield f"{self.count} = {self.t}"

    def step(self, number: int) -> Iterator[str]:
        """One step of a phase."""
        call, p = self.call, self.call.nested.phases[number]
        body = call.bodies[number + (call.going is not None)]
        after = [row(s, self.t if p.reverse else f"{self.t} + 1") for s in call.states[number]]
        offsets = {o.k: k for o, k in zip(call.nested.outputs, self.offsets) if o.phase == number and o.is_rows}
        left = [f"at({call.target.name}, {offsets[k]} + {times(self.t, r.size)})" for k, r in enumerate(p.rows)]
        yield f"{INDENT}put({call.step.name}, 0, {self.t})"
        yield from self.body(body, map(self.place, body.inputs), [*after, *left])

    def place(self, v: Node) -> str:
        """The window that an input of a body is, at step t."""
        if v in self.state_of:
            s, reverse = self.state_of[v]
            return row(s, f"{self.t} + 1" if reverse else self.t)
        if v not in self.arguments:
            return self.call.step.name
        window = f"at({self.arguments[v]}, {times(self.t, v.size)})"
        return window if v in self.call.nested.xs else self.arguments[v]


def row(s: State, at: str) -> str:
    """A row of a state."""
    return f"at({s.target.name}, {times(f'({at})' if s.kept else f'(({at}) & 1)', s.size)})"


def times(factor: str, size: int) -> str:
    """A factor times a number."""
    return factor if size == 1 else f"{factor} * {size}"
