"""What is to be computed: buffers, and the writes that fill them. The contract between assembly and lowering.

    Program = (inputs: Node*, outputs: Buffer*)
    Buffer  = (shape, dtype, zero: bool, mirror: "", "lower" or "upper", writes: Write*)
    Write   = (value: Node over a box, position: IndexMap over the same box, accumulate: bool)

A write sets (or adds to) flat element position(e) of its buffer for every entry e of the box value.shape.
Elements that no write reaches are zero: `zero` says that the buffer must be cleared first, which is so where the
writes do not cover it or where the first one to reach an element accumulates. Writes happen in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from symhess.errors import GraphError
from symhess.graph.maps import IndexMap, all_different, identity_maps, ravel_maps
from symhess.graph.node import Node, topological

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Write:
    """buffer.flat[position(e)] = value(e), or += if `accumulate`."""

    value: Node
    position: IndexMap
    accumulate: bool = False


@dataclass(frozen=True)
class Buffer:
    """One output array and the writes that fill it.

    With `mirror` the array is (..., n, n) and, after all writes, this triangle of it is copied to the other one
    (whatever the writes left there is overwritten, and need not be cleared).
    """

    shape: Shape
    dtype: np.dtype
    writes: tuple[Write, ...]
    zero: bool = False
    mirror: str = ""


@dataclass(frozen=True)
class Program:
    """Inputs in order, output buffers in order.

    With `points` it is to be run for so many points: the inputs that are `rows`, and all outputs, have a leading axis
    with a row for each.
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Buffer, ...]
    points: int = 0
    rows: frozenset[Node] = frozenset()

    @property
    def kinds(self) -> list[tuple[Shape, np.dtype]]:
        """The shapes and types of the results."""
        lead = (self.points,) if self.points else ()
        return [((*lead, *b.shape), b.dtype) for b in self.outputs]

    def roots(self) -> list[Node]:
        return [w.value for b in self.outputs for w in b.writes]

    def nodes(self) -> list[Node]:
        return topological(self.roots())


def whole(node: Node) -> Buffer:
    """The buffer that holds exactly the value of a node."""
    position = ravel_maps(identity_maps(node.shape), node.shape, node.shape)
    return Buffer(node.shape, node.dtype, (Write(node, position),))


def with_values(program: Program, values: Sequence[Node], more: Sequence[Node] = ()) -> Program:
    """The program with other nodes in its writes, one for each of `roots()`, and `more` inputs."""
    rest = iter(values)
    outputs = tuple(replace(b, writes=tuple(replace(w, value=next(rest)) for w in b.writes)) for b in program.outputs)
    return replace(program, inputs=(*program.inputs, *more), outputs=outputs)


def verify_program(program: Program) -> None:
    """Raise GraphError unless every write fits its buffer and every buffer is filled exactly as it says."""
    for b in program.outputs:
        size = int(np.prod(b.shape, dtype=np.int64))
        written = ~_needed(b)
        for w in b.writes:
            low, high = w.position.bounds
            if w.position.shape != w.value.shape or low < 0 or high >= size:
                raise GraphError(f"write {w.position} over {w.value.shape} does not fit a buffer of {size}")
            target = w.position.values().ravel()
            if not w.accumulate and not all_different(target):
                raise GraphError("a plain write reaches an element twice")
            if not b.zero and w.accumulate and not written[target].all():
                raise GraphError("an accumulating write comes first in a buffer that is not cleared")
            written[target] = True
        if not b.zero and not written.all():
            raise GraphError("a buffer that is not cleared has elements that nothing writes")


def _needed(b: Buffer) -> np.ndarray:
    """Which elements of a buffer writes must reach: all, or those of the triangle that is mirrored."""
    return triangle(np.ones(b.shape, dtype=bool), b.mirror).ravel()


def triangle(matrices: np.ndarray, which: str) -> np.ndarray:
    """The "lower" or "upper" triangle of a stack of matrices, zero elsewhere; all of them for ""."""
    return {"lower": np.tril, "upper": np.triu, "": np.asarray}[which](matrices)
