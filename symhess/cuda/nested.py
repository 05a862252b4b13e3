"""Loops and switches inside of kernels: every body stands where it runs, over windows of larger arrays.

One thread has what it needs for itself in registers, or in memory in which the numbers of neighbouring threads lie side
by side. A team of threads shares every statement, and waits for all of its threads before a statement reads what
another one wrote. All threads of a team take the same way through loops and branches: what decides is read from memory
that nobody writes between two waits. So every thread comes to every wait.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from symhess.backends.codegen import INDENT, TYPE_NAMES, size, temporaries
from symhess.cuda.shared import alone, is_shared, together
from symhess.cuda.statements import indented, loops, strided
from symhess.graph.node import Node
from symhess.plan import owners, teams
from symhess.plan.affine import Linear
from symhess.plan.grid import Kernel
from symhess.plan.loops import Target
from symhess.plan.nested import Body, NestedCall, State, results
from symhess.plan.owners import FIRST, Access
from symhess.plan.steps import Fill, LibraryCall, Mirror, Plan


def memory_of(plan: Plan) -> list[Target]:
    """The arrays of a plan that live in its workspace."""
    scratch = [s.scratch for s in plan.steps if isinstance(s, LibraryCall) and s.scratch is not None]
    return [*temporaries(plan), *plan.rows, *scratch]


#: the waits of a block of threads, and of all threads
OF_BLOCK, OF_GRID = "cuda.syncthreads()", "everyone.sync()"


class Place(NamedTuple):
    """Where an array begins; with `lanes`, element k of it lies beside those of that many threads."""

    array: str
    start: str = "0"
    lanes: int = 1

    def after(self, offset: str) -> Place:
        """The part of an array from an element on."""
        return self._replace(start=_sum(self.start, offset))

    def at(self, position: Linear | int | str) -> tuple[str, str]:
        """An element: the array, and where in it."""
        at = _sum(self.start, str(position))
        return self.array, at if self.lanes == 1 else _sum(times(at, self.lanes), "lane")

    def element(self, position: Linear | int | str) -> str:
        """One element as an expression."""
        array, at = self.at(position)
        return f"{array}[{at if at.isdigit() else f'U({at})'}]"

    def view(self) -> str:
        """All that follows as an array."""
        if self.lanes == 1:
            return self.array if self.start == "0" else f"{self.array}[{self.start}:]"
        return f"{self.array}[{_sum(times(self.start, self.lanes), 'lane')}::{self.lanes}]"


#: elements of an array that a thread has for itself alone, and of all of them together: some in registers, the rest in
#: memory that the device reserves for every thread that it can hold
MOST_OF_ONE, MOST_OF_ALL = 64, 256


def private(arrays: Iterable[Target], dtypes: dict[str, np.dtype]) -> dict[str, str]:
    """The arrays that a thread has for itself, and the statements that make them."""
    out, total = {}, 0
    for t in sorted(arrays, key=size):
        total += size(t)
        if 0 < size(t) <= MOST_OF_ONE and total <= MOST_OF_ALL:
            out[t.name] = f"{t.name} = cuda.local.array({size(t)}, {TYPE_NAMES[dtypes[t.name].name]})"
    return out


def calls_in(items: Iterable) -> Iterator[NestedCall]:
    """The loops and switches among some items of a plan, and those in their bodies."""
    for item in items:
        if isinstance(item, NestedCall):
            yield item
            for body in item.bodies:
                yield from calls_in(body.plan.root.body)


def steps_of(items: Iterable) -> Iterator[str]:
    """Every thread has the numbers of steps for itself."""
    return (f"{c.step.name} = cuda.local.array(1, I64)" for c in calls_in(items) if c.step is not None)


def arrays_of(call: NestedCall) -> dict[str, None]:
    """The arrays that a loop takes."""
    names = [*call.sources, call.target.name, *(t.name for t in call.buffers)]
    for c in calls_in([call]):
        for body in c.bodies:
            names += [t.name for t in memory_of(body.plan)] + list(body.plan.constants)
    return dict.fromkeys(names)


def label_of(call: NestedCall) -> str:
    """What a loop or a switch is, for people."""
    if call.step is None:
        return f"switch of {len(call.bodies)} branches"
    return f"loop of {'an unknown number of' if call.nested.length is None else call.nested.length} steps"


class Thread:
    """Prints what one thread does alone; `places` says where arrays are: the others lie under their names."""

    def __init__(self, places: dict[str, Place]):
        self.places = dict(places)
        self.views = 0

    def place(self, name: str) -> Place:
        return self.places.get(name) or Place(name)

    def where(self, name: str, position: Linear) -> tuple[str, str]:
        return self.place(name).at(position)

    def body(self, items: Iterable) -> Iterator[str]:
        """The items of a plan."""
        for item in items:
            if isinstance(item, NestedCall):
                yield from Steps(self, item).lines()
            elif isinstance(item, LibraryCall | Mirror):
                yield from self.call(item)
            elif isinstance(item, Fill):
                yield from self.every(size(item.target), f"{self.place(item.target.name).element('p')} = {item.value}")
            else:
                yield from loops(item.body if isinstance(item, Kernel) else [item], self.where)

    def call(self, item: LibraryCall | Mirror) -> Iterator[str]:
        """A call, over arrays that begin where its own begin."""
        scratch = item.scratch if isinstance(item, LibraryCall) else None
        names = [*(item.sources if isinstance(item, LibraryCall) else ()), item.target.name]
        names += [scratch.name] if scratch is not None else []
        seen = {}
        for name in dict.fromkeys(names):
            seen[name] = self.place(name).view()
            if seen[name] != self.place(name).array:
                self.views += 1
                yield f"view{self.views}_{name} = {seen[name]}"
                seen[name] = f"view{self.views}_{name}"
        target = item.target._replace(name=seen[item.target.name])
        if isinstance(item, Mirror):
            yield from self.mirrored(replace(item, target=target))
            return
        if scratch is not None:
            scratch = scratch._replace(name=seen[scratch.name])
        yield from self.computed(replace(item, sources=[seen[n] for n in item.sources], target=target, scratch=scratch))

    def computed(self, call: LibraryCall) -> Iterator[str]:
        """A call over arrays that begin where its own begin."""
        yield from self.every(*alone(call))

    def mirrored(self, item: Mirror) -> Iterator[str]:
        """One triangle copied to the other one."""
        n = item.target.shape[-1]
        count = size(item.target) // max(n * n, 1)
        yield f"mirror_triangles({item.target.name}, {count}, {n}, {item.triangle == 'upper'})"

    def every(self, count: int, statement: str) -> Iterator[str]:
        """A statement for all p."""
        yield f"for p in range({count}): {statement}"

    # -- memory of loops ---------------------------------------------------------------------------------------

    def before(self, s: State, row: str, length: int | None) -> Place:
        """The state that a step begins with: the row of that number, of those that are kept."""
        return self.place(teams.now(s).name)

    def after(self, s: State, row: str, length: int | None) -> Place:
        """The state that a step makes."""
        return self.place(teams.now(s).name).after(str(s.size))

    def kept(self, s: State, row: str, length: int | None) -> Place:
        """A state that was left for later phases."""
        return self.place(s.target.name).after(times(row if length is not None else f"({row}) % {teams.RING + 1}",
                                                     s.size))

    def leave(self, s: State, row: str, length: int | None) -> Iterator[str]:
        """Leave the state before a step for later phases."""
        if s.kept:
            yield from self.copy(self.kept(s, row, length), self.before(s, row, length), s.size)

    def step_done(self, states: Sequence[State]) -> Iterator[str]:
        """The state after a step is the one before the next."""
        for s in states:
            yield from self.copy(self.before(s, "", None), self.after(s, "", None), s.size)

    def copy(self, to: Place, source: Place, count: int) -> Iterator[str]:
        """The first elements."""
        if count == 1:
            yield f"{to.element(0)} = {source.element(0)}"
        elif count:
            yield from self.every(count, f"{to.element('p')} = {source.element('p')}")

    def wait(self) -> Iterator[str]:
        """Until what was written can be read."""
        return iter(())

    def needs_no_wait(self, step: Callable[[], Iterator[str]]) -> bool:
        """True where nobody reads what others write, in all steps of a loop."""
        return True


class Team(Thread):
    """Prints what a team of threads does together; `barrier` is the statement that waits for all of them, `shared` says
    which memory an array of a workspace is in."""

    def __init__(self, places: dict[str, Place], barrier: str, shared: dict[str, tuple[int, int]]):
        super().__init__(places)
        self.barrier, self.shared = barrier, shared
        #: what was done since the last wait: places, and which of their elements
        self.pending: list[tuple[Place, Access]] = []
        #: True while nobody reads what others write
        self.alone = False
        #: how many elements of what is written each iteration has
        self.each: dict[Hashable, int] = {}

    def body(self, items: Iterable) -> Iterator[str]:
        """The items of a plan, and a wait where one needs what others have written, or writes what they read."""
        for item in items:
            if isinstance(item, NestedCall):
                yield from self.wait()
                yield from super().body([item])
                continue
            coming = [(self.place(a.array), a) for a in accesses(item)]
            self.each |= {self.memory(place): a.owner for place, a in coming if a.writes and a.owner}
            yield from self.careful(coming)
            yield from super().body([item])

    def careful(self, coming: Sequence[tuple[Place, Access]]) -> Iterator[str]:
        """A wait if what follows needs one."""
        if not self.alone and any(self.meet(a, b) for a in self.pending for b in coming):
            yield from self.wait()
        self.pending += coming

    def meet(self, a: tuple[Place, Access], b: tuple[Place, Access], steps: bool = False) -> bool:
        """True if one of two accesses writes what another thread reads or writes in the other one. Windows of one array
        are the same or disjoint; over several `steps` each may be any row of it."""
        (p, x), (q, y) = a, b
        same = self.memory(p) == self.memory(q) and (steps or p.start == q.start)
        apart = p.array == q.array and x.owner is not None and x.owner == y.owner
        return same and (x.writes or y.writes) and not apart

    def memory(self, place: Place) -> Hashable:
        """What the memory of arrays has in common that share it."""
        return self.shared.get(place.array, place.array)

    def needs_no_wait(self, step: Callable[[], Iterator[str]]) -> bool:
        """True for a step of a loop in which every thread reads and writes elements of its own, in all steps."""
        return self.alone or not self.meetings(step)

    def meetings(self, step: Callable[[], Iterator[str]]) -> bool:
        """True where threads read what others write, in any of the steps of a loop."""
        before, self.pending, self.alone = self.pending, [], True
        for _ in step():
            pass
        found, self.pending, self.alone = self.pending, before, False
        return any(self.meet(a, b, steps=True) for k, a in enumerate(found) for b in found[:k + 1])

    def without_waits(self, call: NestedCall) -> list[str] | None:
        """The lines of a loop in which every thread has elements of its own from the first step to the last; None for
        others."""
        if call.step is None or call.going is not None or len([*calls_in([call])]) > 1:
            return None
        lines = lambda: Steps(self, call).lines()
        self.meetings(lines)  # finds who has which elements of states, so that they are copied by these
        if self.meetings(lines):
            return None
        self.alone = True
        return [*lines()]

    def wait(self) -> Iterator[str]:
        if self.pending and not self.alone:
            yield self.barrier
            self.pending = []

    def every(self, count: int, statement: str) -> Iterator[str]:
        first, head, last = strided("p", str(count), "threads")
        yield from (first, head, f"{INDENT}{statement}", f"{INDENT}{last}")

    def computed(self, call: LibraryCall) -> Iterator[str]:
        if self.barrier == OF_BLOCK and is_shared(call):
            yield from together(call)
        else:
            yield from super().computed(call)

    def mirrored(self, item: Mirror) -> Iterator[str]:
        n, name = item.target.shape[-1], item.target.name
        other = f"p % {n} {'>' if item.triangle == 'lower' else '<'} p // {n} % {n}"
        yield from self.every(size(item.target), f"if {other}: {name}[U(p)] = "
                                                 f"{name}[U(p + (p % {n} - p // {n} % {n}) * {n - 1})]")

    def before(self, s: State, row: str, length: int | None) -> Place:
        if s.kept:
            return self.kept(s, row, length)
        return self.place(teams.now(s).name).after(times(f"(({row}) & 1)", s.size))

    def after(self, s: State, row: str, length: int | None) -> Place:
        return self.before(s, row, length)

    def leave(self, s: State, row: str, length: int | None) -> Iterator[str]:
        return iter(())

    def step_done(self, states: Sequence[State]) -> Iterator[str]:
        return iter(())

    def copy(self, to: Place, source: Place, count: int) -> Iterator[str]:
        """The first elements, each by the thread that has it where somebody does."""
        if count:
            each = self.each.get(self.memory(to)) or self.each.get(self.memory(source)) or 1
            each = each if count % each == 0 else 1
            whose = FIRST if count == each else each
            yield from self.careful([(source, Access("", False, whose)), (to, Access("", True, whose))])
            if each == 1:
                yield from self.every(count, f"{to.element('p')} = {source.element('p')}")
            else:
                at = f"p * {each} + k"
                yield from self.every(count // each, f"for k in range({each}): {to.element(at)} = {source.element(at)}")


def accesses(item: object) -> list[Access]:
    """The arrays that an item reads and writes."""
    if isinstance(item, Kernel):
        return [*owners.accesses(item)]
    if isinstance(item, Fill):
        return [Access(item.target.name, True, 1 if size(item.target) > 1 else FIRST)]
    written = [item.target.name]
    if isinstance(item, LibraryCall) and item.scratch is not None:
        written.append(item.scratch.name)
    read = item.sources if isinstance(item, LibraryCall) else ()
    return [*(Access(name, False) for name in read), *(Access(name, True) for name in written)]


class Steps:
    """Prints one loop or switch."""

    def __init__(self, who: Thread, call: NestedCall):
        self.who, self.call = who, call
        self.scope = call.target.name
        self.offsets = results(call)
        self.target = who.place(call.target.name)
        self.given = [who.place(name).after(str(a.start)) for name, a in zip(call.sources, call.arguments)]

    def lines(self) -> Iterator[str]:
        """The statements."""
        return self.loop() if self.call.step is not None else self.switch()

    def body(self, body: Body, inputs: Iterable[Place], outputs: Iterable[Place]) -> Iterator[str]:
        """One body over its windows."""
        ends = (*body.plan.inputs, *body.plan.outputs)
        self.who.places.update(zip((t.name for t in ends), (*inputs, *outputs)))
        yield from self.who.body(body.plan.root.body)

    def switch(self) -> Iterator[str]:
        """The branch that is taken."""
        number, *sources = self.given
        arguments = dict(zip(self.call.nested.slots, sources))
        outputs = [self.target.after(str(k)) for k in self.offsets]
        yield from self.who.wait()
        yield f"{self.scope}_branch = {number.element(0)}"
        last = len(self.call.bodies) - 1
        for k, body in enumerate(self.call.bodies):
            test = f"if {self.scope}_branch <= {k}:" if k < last else "else:"
            yield ("el" if 0 < k < last else "") + (test if last else "if True:")
            lines = [*self.body(body, [arguments[v] for v in body.inputs], outputs)]
            yield from indented(lines or ["pass"])
        yield from self.who.wait()

    # -- loops -------------------------------------------------------------------------------------------------

    def loop(self) -> Iterator[str]:
        """All phases, one after the other."""
        call, loop, who = self.call, self.call.nested, self.who
        self.t, self.length = f"{self.scope}_t", loop.length
        self.count = f"{self.scope}_n" if loop.length is None else str(loop.length)
        self.arguments = dict(zip(loop.slots, self.given))
        for number, p in enumerate(loop.phases):
            first, last = (self.count, "0") if p.reverse else ("0", self.count)
            for z, s in zip(p.carry, call.states[number]):
                yield from who.copy(who.before(s, first, self.length), self.arguments[z], s.size)
            yield from who.wait()
            yield from self.steps(number) if number or loop.length is not None else self.open_steps()
            yield from who.wait()
            for o, offset in zip(loop.outputs, self.offsets):
                if o.phase == number and not o.is_rows:
                    s = call.states[number][o.k]
                    yield from who.copy(self.target.after(str(offset)), who.before(s, last, self.length), s.size)
            yield from who.wait()

    def steps(self, number: int) -> Iterator[str]:
        """The steps of a phase, as many as are known."""
        if self.call.growing:
            yield f"{self.scope}_low = ({self.count} - 1) // {teams.RING} * {teams.RING}"
        if self.call.nested.phases[number].reverse:
            yield f"for {self.scope}_back in range({self.count}):"
            yield f"{INDENT}{self.t} = {self.count} - 1 - {self.scope}_back"
        else:
            yield f"for {self.t} in range({self.count}):"
        yield from indented(self.again())
        alone = self.length is not None and self.who.needs_no_wait(lambda: self.step(number, self.t, True))
        yield from indented(self.step(number, self.t, alone))

    def open_steps(self) -> Iterator[str]:
        """The steps of the first phase as long as its states say so."""
        call, who = self.call, self.who
        going, ring = who.place(call.going.name), teams.RING
        yield f"{self.t} = 0"
        yield "while True:"
        yield f"{INDENT}{call.step.name}[0] = {self.t}"
        inputs = [self.window(v, 0, self.t) for v in call.bodies[0].inputs]
        yield from indented(self.body(call.bodies[0], inputs, [going]))
        yield from indented(who.wait())
        yield f"{INDENT}if not {going.element(0)}:"
        yield f"{INDENT * 2}break"
        if call.growing:
            yield f"{INDENT}if {self.t} % {ring} == 0 and {self.t} < {ring ** 2}:"
            for s in call.states[0]:
                to = self.mark(s, f"{self.t} // {ring}")
                yield from indented(who.copy(to, who.before(s, self.t, self.length), s.size), 2)
        yield from indented(self.step(0, self.t))
        yield f"{INDENT}{self.t} += 1"
        yield f"{self.count} = {self.t}"

    def mark(self, s: State, k: str) -> Place:
        """Where the state before step `k * RING` stays."""
        return self.who.place(teams.marks(s).name).after(times(k, s.size))

    def again(self) -> Iterator[str]:
        """Where step t lies before the states that are still in memory: come back to it from a state that is marked."""
        call, scope, ring = self.call, self.scope, teams.RING
        if not call.growing:
            return
        first = f"{scope}_first"
        yield f"if {self.t} < {scope}_low:"
        yield f"{INDENT}{scope}_low = {self.t} // {ring} * {ring}"
        yield f"{INDENT}{first} = min({self.t} // {ring}, {ring - 1}) * {ring}"
        for s in call.states[0]:
            source = self.mark(s, f"{first} // {ring}")
            yield from indented(self.who.copy(self.who.before(s, first, self.length), source, s.size))
        yield from indented(self.who.wait())
        yield f"{INDENT}for {scope}_s in range({first}, {self.t} + 1):"
        yield from indented(self.step(0, f"{scope}_s"), 2)

    def step(self, number: int, t: str, alone: bool = False) -> Iterator[str]:
        """One step of a phase; every thread is `alone` where nobody reads what others write."""
        call, p, who = self.call, self.call.nested.phases[number], self.who
        body, states = call.bodies[number + (call.going is not None)], call.states[number]
        offsets = {o.k: k for o, k in zip(call.nested.outputs, self.offsets) if o.phase == number and o.is_rows}
        left = [self.target.after(_sum(str(offsets[k]), times(t, r.size))) for k, r in enumerate(p.rows)]
        here, there = (f"{t} + 1", t) if p.reverse else (t, f"{t} + 1")
        yield f"{call.step.name}[0] = {t}"
        for s in states:
            yield from who.leave(s, here, self.length)
        yield from self.body(body, [self.window(v, number, t) for v in body.inputs],
                             [*(who.after(s, there, self.length) for s in states), *left])
        if not alone:
            yield from who.wait()
        yield from who.step_done(states)

    def window(self, v: Node, number: int, t: str) -> Place:
        """What an input of a body is, at step t of a phase."""
        loop = self.call.nested
        for k, p in enumerate(loop.phases):
            if v in p.carry:
                s, row = self.call.states[k][p.carry.index(v)], f"{t} + 1" if p.reverse else t
                return (self.who.before if k == number else self.who.kept)(s, row, loop.length)
        if v not in self.arguments:
            return Place(self.call.step.name)
        return self.arguments[v].after(times(t, v.size)) if v in loop.xs else self.arguments[v]


def times(a: str, by: int) -> str:
    """A factor times a number."""
    if by == 1:
        return a
    return str(int(a) * by) if a.isdigit() else f"({a}) * {by}"


def _sum(a: str, b: str) -> str:
    if a == "0" or b == "0":
        return b if a == "0" else a
    return str(int(a) + int(b)) if a.isdigit() and b.isdigit() else f"{a} + {b}"
