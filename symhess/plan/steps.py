"""The steps of a plan: what a kernel does, in order, in objects that can be printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from symhess.graph.maps import IndexMap, identity_maps, ravel_maps, row_major_strides
from symhess.graph.node import INPUT, Node
from symhess.plan.loops import Block, StoreItem, Target

Shape = tuple[int, ...]


@dataclass
class Figures:
    """What a step costs: statements in its source, executions, floating-point operations, bytes read and written."""

    statements: int = 0
    flops: float = 0.0
    read: float = 0.0
    written: float = 0.0

    def __str__(self) -> str:
        return (f"{self.statements} statements, {_short(self.flops)} flops, "
                f"{_short(self.read)}B read, {_short(self.written)}B written")


def _short(x: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if x >= size:
            return f"{x / size:.3g} {unit}"
    return f"{x:.0f} "


@dataclass
class Fill:
    """Set a whole array to one number; if there are `tiles`, what is not assigned or mirrored later (see `tiles`)."""

    target: Target
    value: float | int
    pieces: int = 0
    tiles: str = ""
    triangle: str = ""

    def __str__(self) -> str:
        where = ", where it stays empty" if self.tiles else ""
        return f"fill {self.target.name}{list(self.target.shape)} with {self.value}{where}"


@dataclass
class Mirror:
    """Copy one triangle of each of a stack of square matrices to the other one; with `tiles`, those that hold anything.
    """

    target: Target
    triangle: str = "lower"
    pieces: int = 0
    tiles: str = ""

    def __str__(self) -> str:
        where = ", where it is not empty" if self.tiles else ""
        return f"mirror {self.target.name}{list(self.target.shape)}{where}"


@dataclass
class LoopNest:
    """One pass over a box that stores the values of all its items.

    In a band it runs some `lines` at a time, before those of the nest that has it among its `makers` (see `tiling`).
    """

    box: Shape
    items: list[StoreItem]
    loops: list[Block] = field(default_factory=list)
    parallel: bool = False
    lines: int = 0
    makers: list[LoopNest | LibraryCall] = field(default_factory=list)
    #: nests that assign places to which this one adds
    after: list[LoopNest] = field(default_factory=list, repr=False)
    figures: Figures = field(default_factory=Figures)

    def __str__(self) -> str:
        space = " x ".join(map(str, self.box)) or "scalar"
        into = ", ".join(dict.fromkeys(i.target.name if i.target else "local" for i in self.items))
        kind = "parallel loop nest" if self.parallel else "loop nest"
        band = f", {self.lines} lines at a time" if self.lines else ""
        return f"{kind} {space}{band}: {len(self.items)} values into {into}; {self.figures}"


class Argument(NamedTuple):
    """An array handed to a library call, the shape in which the call sees it, and the element it begins at."""

    node: Node
    shape: Shape
    start: int = 0


@dataclass
class LibraryCall:
    """function(arguments..., target, parameters...) on contiguous arrays."""

    function: str
    arguments: list[Argument]
    target: Target
    shape: Shape
    parameters: tuple = ()
    sources: list[str] = field(default_factory=list)
    lines: int = 0
    figures: Figures = field(default_factory=Figures)
    #: memory that a GPU needs on the way
    scratch: Target | None = None

    def __str__(self) -> str:
        arguments = ", ".join(f"{a.node.op.name}{list(a.shape)}" for a in self.arguments)
        band = f", {self.lines} lines at a time" if self.lines else ""
        return f"call {self.function}({arguments}) into {self.target.name}{list(self.shape)}{band}; {self.figures}"


@dataclass
class ScalarBlock:
    """Thousands of scalar statements in straight-line code: values of `outputs` into the target, one after another.

    Leaves are (node, number of its array among `arrays`, flat position). The backend compiles the block, sets
    `symbol`, and says how much `scratch` memory it needs.
    """

    outputs: tuple[Node, ...]
    leaves: list[tuple[Node, int, int]]
    arrays: list[Node]
    target: Target
    scratch: Target
    sources: list[str] = field(default_factory=list)
    symbol: str = ""
    figures: Figures = field(default_factory=Figures)

    def __str__(self) -> str:
        return f"straight-line code: {len(self.outputs)} scalars into {self.target.name}; {self.figures}"


@dataclass
class Plan:
    """Temporaries, and the steps in the order in which they run; `rows` are temporaries of one step alone."""

    inputs: tuple[Target, ...]
    outputs: tuple[Target, ...]
    temporaries: list[Target]
    steps: list
    root: Block
    constants: dict[str, np.ndarray]
    rows: list[Target] = field(default_factory=list)

    def __str__(self) -> str:
        total = sum(math.prod(t.shape) * t.dtype.itemsize for t in self.temporaries)
        head = f"{len(self.temporaries)} temporaries, {_short(total)}B before reuse of memory"
        return "\n".join([head, *map(str, self.steps)])


def memory_of(v: Node) -> Node:
    """The array that holds a node's elements in the same order."""
    while v.op.name == "reshape":
        v = v.args[0]
    return v


def scalar_block(node: Node, leaves: Sequence[Node], target: Target) -> ScalarBlock:
    """The block that computes a stack from elements of arrays, and from numbers that are arrays of their own."""
    arrays: dict[Node, int] = {}
    places = []
    for v in leaves:
        base, position = element_of(v)
        places.append((v, arrays.setdefault(base, len(arrays)), position))
    scratch = Target(f"w_{target.name}", (0,), np.dtype(float))
    return ScalarBlock(node.args, places, list(arrays), target, scratch)


def element_of(v: Node) -> tuple[Node, int]:
    """The array in memory, and the flat position in it, where a number is found."""
    if v.op.name != "index":
        return v, 0
    source = v.args[0]
    position = sum(m.offset * s for m, s in zip(v.attrs.maps, row_major_strides(source.shape)))
    return memory_of(source), position


def call_arguments(node: Node) -> list[Argument]:
    """Arguments as the arrays that hold them: a reshape of an array in memory is the same memory, and a run of elements
    of one that is in memory anyway is a part of it, for loops and switches, which take windows of arrays."""
    return [_window(a) if node.op.family == "control" else Argument(memory_of(a), a.shape) for a in node.args]


def _window(a: Node) -> Argument:
    v, start = a, 0
    while v.op.name in ("reshape", "index"):
        if v.op.name == "index":
            flat = ravel_maps(v.attrs.maps, v.args[0].shape, v.shape)
            if flat.shifted(-flat.offset) != whole_map(v.shape):
                break
            start += flat.offset
        v = v.args[0]
    return Argument(v, a.shape, start) if is_call(v) or v.op is INPUT else Argument(memory_of(a), a.shape)


def whole_map(shape: Shape) -> IndexMap:
    """The flat position of every element."""
    return ravel_maps(identity_maps(shape), shape, shape)


def is_call(node: Node) -> bool:
    """True for what only a library function computes."""
    return "kernel" in node.op.extra or node.op.name == "cumsum"
