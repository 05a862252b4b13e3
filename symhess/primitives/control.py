"""Loops and branches as values of the graph: what they are made of, their shapes, and their NumPy meaning.

A loop is one or more *phases*, each of which passes once over the same steps t = 0, ..., T - 1, forwards or backwards:

    z_p after step t  =  new_p(t, consts, xs[t], z_1 before t, ..., z_p before t)         state of phase p
    row_p[t]          =  row_p(the same)                                                  what the step leaves behind

Later phases see the states of the earlier ones at the same step, which is what reverse mode needs: its phases run
backwards over the states of the phases that they pull back. T is `length`, or is found while the first phase runs:
it goes on as long as `going` of its state holds. `step` is the number t.

A switch evaluates the one of its branches that an index names.

Bodies are expressions over inputs of their own (`slots`), so a body is in the graph once, however often it runs. A
node has values of one dtype; where there are several outputs they lie end to end in one vector.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from symhess.errors import DTypeMismatch, ShapeMismatch
from symhess.graph.evaluate import Tape
from symhess.graph.node import INPUT, Graph, InputAttrs, Node, make
from symhess.primitives.movement import concatenate, reshape, slice_axis

Shape = tuple[int, ...]
Change = Callable[[Sequence[Node]], Sequence[Node]]


def slot(name: str, like: Node) -> Node:
    """The input called `name` in the bodies of all loops: equal bodies are then the same nodes."""
    return make(INPUT, (), InputAttrs(-1, name, like.shape, like.dtype.str))


STEP = make(INPUT, (), InputAttrs(-1, "step", (), np.dtype(np.int64).str))


@dataclass(frozen=True)
class Phase:
    """One pass over the steps: `carry` stands for the state before a step, `new` is the state after it."""

    reverse: bool
    carry: tuple[Node, ...]
    new: tuple[Node, ...]
    rows: tuple[Node, ...] = ()

    @property
    def expressions(self) -> tuple[Node, ...]:
        """All that a step computes."""
        return self.new + self.rows


class Output(NamedTuple):
    """The state number k of a phase when it is done, or its rows number k."""

    phase: int
    k: int
    is_rows: bool = False


@dataclass(frozen=True)
class Loop:
    """Arguments of a node are consts, xs (with a leading axis of `length`) and the first states of all phases."""

    length: int | None
    going: Node | None
    consts: tuple[Node, ...]
    xs: tuple[Node, ...]
    phases: tuple[Phase, ...]
    outputs: tuple[Output, ...]

    @property
    def slots(self) -> tuple[Node, ...]:
        """What stands for the arguments, in their order."""
        return (*self.consts, *self.xs, *(z for p in self.phases for z in p.carry))

    @property
    def expressions(self) -> tuple[Node, ...]:
        """All that is computed in a step of any phase, and whether the first phase goes on."""
        own = () if self.going is None else (self.going,)
        return own + tuple(e for p in self.phases for e in p.expressions)

    def expression(self, o: Output) -> Node:
        """What an output is, in one step."""
        p = self.phases[o.phase]
        return p.rows[o.k] if o.is_rows else p.new[o.k]

    def shape_of(self, o: Output) -> Shape:
        """The shape of an output."""
        shape = self.expression(o).shape
        return (self.length, *shape) if o.is_rows else shape

    @property
    def shapes(self) -> list[Shape]:
        """The shapes of all outputs."""
        return [self.shape_of(o) for o in self.outputs]

    def graphs(self) -> Iterator[tuple[str, Graph]]:
        """The bodies, each with a heading for people."""
        slots = (STEP, *self.slots)
        if self.going is not None:
            yield "while", _body(slots, (self.going,))
        for p in self.phases:
            count = "as many steps" if self.length is None else f"{self.length} steps"
            heading = f"{count}, backwards" if p.reverse else count
            yield f"{heading}, of {', '.join(z.attrs.name for z in p.carry) or 'nothing carried'}", _body(
                slots, p.expressions)

    def mapped(self, change: Change) -> Loop:
        """The loop with other expressions for the same values."""
        found = iter(change(self.expressions))
        going = None if self.going is None else next(found)
        phases = tuple(replace(p, new=tuple(next(found) for _ in p.new), rows=tuple(next(found) for _ in p.rows))
                       for p in self.phases)
        return replace(self, going=going, phases=phases)

    def __str__(self) -> str:
        return "while" if self.length is None else f"length={self.length}"


@dataclass(frozen=True)
class Switch:
    """Arguments of a node are the number of the branch (clipped to those there are) and what stands for `slots`."""

    slots: tuple[Node, ...]
    branches: tuple[tuple[Node, ...], ...]

    @property
    def shapes(self) -> list[Shape]:
        """The shapes of all outputs."""
        return [o.shape for o in self.branches[0]]

    def clipped(self, number: int | np.ndarray) -> int:
        """The number of the branch that is taken."""
        return min(max(int(number), 0), len(self.branches) - 1)

    def graphs(self) -> Iterator[tuple[str, Graph]]:
        """The branches, each with a heading for people."""
        for k, outputs in enumerate(self.branches):
            yield f"branch {k}", _body(self.slots, outputs)

    def mapped(self, change: Change) -> Switch:
        """The switch with other expressions for the same values."""
        return replace(self, branches=tuple(tuple(change(b)) for b in self.branches))

    def __str__(self) -> str:
        return f"{len(self.branches)} branches"


def _body(slots: Sequence[Node], expressions: tuple[Node, ...]) -> Graph:
    used = set(used_inputs(expressions))
    return Graph(tuple(s for s in slots if s in used), expressions)


def used_inputs(expressions: Sequence[Node]) -> list[Node]:
    """The inputs of expressions, in the order in which they are met."""
    return [n for n in Graph((), tuple(expressions)).nodes() if n.op is INPUT]


# -- several outputs in one node -------------------------------------------------------------------------------------


def packed_shape(shapes: Sequence[Shape]) -> Shape:
    """One output as it is, several as a vector."""
    return shapes[0] if len(shapes) == 1 else (sum(map(math.prod, shapes)),)


def unpacked(node: Node, shapes: Sequence[Shape], lead: Shape = ()) -> list[Node]:
    """The outputs in a packed node (or in one with axes in front)."""
    if len(shapes) == 1:
        return [node]
    out, first = [], 0
    for shape in shapes:
        size = math.prod(shape)
        out.append(reshape(slice_axis(node, len(lead), first, 1, size), (*lead, *shape)))
        first += size
    return out


def packed(parts: Sequence[Node], lead: Shape = ()) -> Node:
    """Outputs as one node; the node that they were unpacked from, if it is that."""
    if len(parts) == 1:
        return parts[0]
    base = parts[0]
    while base.op.name in ("reshape", "index"):
        base = base.args[0]
    shapes = [p.shape[len(lead):] for p in parts]
    if base.shape == (*lead, *packed_shape(shapes)) and all(
            a is b for a, b in zip(unpacked(base, shapes, lead), parts)):
        return base
    flat = [reshape(p, (*lead, math.prod(s))) for p, s in zip(parts, shapes)]
    return concatenate([f for f in flat if f.size] or flat[:1], len(lead))


# -- shapes ----------------------------------------------------------------------------------------------------------


def _check(args: Sequence[Node], expected: Sequence[tuple[Shape, np.dtype]], what: str) -> None:
    if len(args) != len(expected):
        raise ShapeMismatch(f"{what} takes {len(expected)} arguments, got {len(args)}")
    for k, (a, (shape, dtype)) in enumerate(zip(args, expected)):
        if a.shape != shape:
            raise ShapeMismatch(f"{what}: argument {k} has shape {a.shape}, its body takes {shape}")
        if a.dtype != dtype:
            raise DTypeMismatch(f"{what}: argument {k} has dtype {a.dtype}, its body takes {dtype}")


def infer_loop(args: Sequence[Node], loop: Loop) -> tuple[Shape, np.dtype]:
    """The shape of the packed outputs; states keep their shape and dtype."""
    stacked = set(loop.xs)
    _check(args, [((loop.length, *s.shape) if s in stacked else s.shape, s.dtype) for s in loop.slots], "loop")
    for p in loop.phases:
        _check(p.new, [(z.shape, z.dtype) for z in p.carry], "the state of a loop")
    return packed_shape(loop.shapes), loop.expression(loop.outputs[0]).dtype


def infer_switch(args: Sequence[Node], switch: Switch) -> tuple[Shape, np.dtype]:
    """The shape of the packed outputs, which all branches share."""
    _check(args, [((), np.dtype(np.int64)), *((s.shape, s.dtype) for s in switch.slots)], "switch")
    first = switch.branches[0]
    for b in switch.branches:
        _check(b, [(o.shape, o.dtype) for o in first], "a branch")
    return packed_shape(switch.shapes), first[0].dtype


# -- values ----------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _tape(expressions: tuple[Node, ...]) -> Tape:
    return Tape(expressions)


def run_loop(arrays: Sequence[np.ndarray], loop: Loop) -> list[np.ndarray]:
    """The outputs, step by step."""
    known = dict(zip((*loop.consts, *loop.xs), arrays))
    xs = {s: known.pop(s) for s in loop.xs}
    first = iter(arrays[len(loop.consts) + len(xs):])
    #: states of the phases that are done, before each step
    before: list[dict[Node, np.ndarray]] | None = None
    finals, rows = [], []
    for p in loop.phases:
        state = {z: next(first) for z in p.carry}
        if before is None:
            before, final, left = _first_phase(loop, known, xs, state)
        else:
            final, left = _later_phase(p, known, xs, state, before)
        finals.append([final[z] for z in p.carry])
        rows.append([np.array(r, e.dtype).reshape(len(r), *e.shape) for r, e in zip(left, p.rows)])
    return [(rows if o.is_rows else finals)[o.phase][o.k] for o in loop.outputs]


def _first_phase(loop: Loop, known: dict, xs: dict, state: dict) -> tuple[list[dict], dict, list[list]]:
    """The phase that finds how many steps there are."""
    p = loop.phases[0]
    if loop.length is not None:
        before: list[dict] = [{} for _ in range(loop.length)]
        return before, *_later_phase(p, known, xs, state, before)
    before, going = [], _tape((loop.going,))
    while going({**known, **state, STEP: np.int64(len(before))})[0]:
        before.append(dict(state))
        new = _tape(p.expressions)({**known, **state, STEP: np.int64(len(before) - 1)})
        state = dict(zip(p.carry, new))
    return before, state, []


def _later_phase(p: Phase, known: dict, xs: dict, state: dict, before: list[dict]) -> tuple[dict, list[list]]:
    """A phase over steps whose number is known; adds its states to those before each step."""
    left: list[list] = [[None] * len(before) for _ in p.rows]
    body = _tape(p.expressions)
    for t in reversed(range(len(before))) if p.reverse else range(len(before)):
        before[t].update(state)
        new = body({**known, **{s: x[t] for s, x in xs.items()}, **before[t], STEP: np.int64(t)})
        state = dict(zip(p.carry, new))
        for r, value in zip(left, new[len(p.carry):]):
            r[t] = value
    return state, left


def run_switch(arrays: Sequence[np.ndarray], switch: Switch) -> list[np.ndarray]:
    """The outputs of the branch that is named."""
    return _tape(switch.branches[switch.clipped(arrays[0])])(dict(zip(switch.slots, arrays[1:])))


def flat(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Outputs as one array."""
    return outputs[0] if len(outputs) == 1 else np.concatenate([np.ravel(o) for o in outputs])
