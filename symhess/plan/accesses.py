"""Which values are kept in memory: counts how often each node would be computed if it were pulled everywhere.

    keep v  if  (executions(v) - size(v)) * cost(v)  >  STORE * size(v) + executions(v)

executions(v) = sum over the different ways (box, index maps) in which v is read of the iterations that read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from symhess.graph.maps import IndexMap, constant_map, identity_maps
from symhess.graph.node import CONSTANT, INPUT, Node
from symhess.plan.loops import COMBINE, UNROLL
from symhess.primitives.movement import reshape_maps

Shape = tuple[int, ...]

#: the price of writing an element to memory and reading it again, in flops; on a GPU, where 16 bytes take as long as
#: some 60 operations, divisions and roots are several, and what is computed again shares most of its work
STORE, GRID_STORE = 8, 96
#: more ways of reading a costly node than this and it is kept whatever its size
MOST_WAYS = 24
#: costs are not followed beyond this many flops
MOST_COST = 1000
#: reductions that are only pulled where they are small
SMALL_REDUCTION = 64


class Access(NamedTuple):
    """One way of reading a node: from iterations of `box`, at `maps` (None where they are not affine: see `tag`)."""

    box: Shape
    maps: tuple[IndexMap, ...] | None
    tag: object
    executions: int


def executions(box: Shape, maps: Sequence[IndexMap]) -> int:
    """Iterations down to the innermost loop on which the maps depend."""
    deepest = max((d for m in maps for d in m.depends), default=-1)
    return math.prod(box[:deepest + 1])


def root_access(box: Shape) -> Access:
    return Access(box, identity_maps(box), None, math.prod(box))


def through_maps(access: Access, maps: tuple[IndexMap, ...], who: object) -> Access:
    """The access to v where u(e) = v(maps(e)) is accessed."""
    if access.maps is None or not all(m.is_affine for m in (*maps, *access.maps)):
        if access.maps is not None and not any(m.depends for m in maps):
            return Access(access.box, tuple(constant_map(access.box, m.offset) for m in maps), None, 1)
        return Access(access.box, None, (who, access.maps, access.tag), access.executions)
    composed = tuple(m.compose(access.maps, access.box) for m in maps)
    return Access(access.box if any(m.depends for m in composed) else (),
                  composed if any(m.depends for m in composed) else tuple(constant_map((), m.offset) for m in composed),
                  None, executions(access.box, composed))


def narrowed(access: Access, shape: Shape, full: Shape) -> Access:
    """The access to an argument of an elementwise operation, constant along its size-1 axes."""
    if shape == full:
        return access
    if not shape:
        return Access((), (), None, 1)
    if access.maps is None:
        return Access(access.box, None, (shape, access.tag), access.executions)
    maps = tuple(constant_map(access.box) if n == 1 else m for n, m in zip(shape, access.maps))
    return Access(access.box, maps, None, executions(access.box, maps))


def argument_accesses(node: Node, access: Access) -> Iterable[tuple[Node, Access]]:
    """How the arguments of a pulled node are read."""
    name = node.op.name
    if name == "index":
        yield node.args[0], through_maps(access, node.attrs.maps, node.attrs.maps)
    elif name == "reshape":
        source = node.args[0]
        flat = reshape_maps(source.shape, node.shape) if access.maps is not None and _splits(source, node) else None
        if flat is None:
            yield source, Access(access.box, None, (node.shape, access.maps, access.tag), access.executions)
        else:
            yield source, through_maps(access, flat, node.shape)
    elif name == "stack":
        for a in node.args:
            yield a, Access((), (), None, 1)
    elif name in COMBINE:
        extent = math.prod(node.args[0].shape[d] for d in node.attrs)
        yield node.args[0], Access(access.box, None, (name, node.attrs, access.maps, access.tag),
                                   access.executions * extent)
    else:
        for a in node.args:
            yield a, narrowed(access, a.shape, node.shape)


def _splits(source: Node, node: Node) -> bool:
    """True where a reshape only splits, joins nothing: its maps are then affine."""
    return math.prod(node.shape) <= 4096 or len(source.shape) <= 1


def costs(order: Sequence[Node]) -> dict[Node, int]:
    """Flops per element of each node if everything below it is computed again."""
    out: dict[Node, int] = {}
    for node in order:
        below = sum(out[a] for a in node.args if a in out)
        if node.op.name in COMBINE:
            below *= math.prod(node.args[0].shape[d] for d in node.attrs)
        out[node] = min(below + getattr(node.op, "cost", 0), MOST_COST)
    return out


def choose_kept(order: Sequence[Node], must: set[Node], readings: Callable[[Node], Iterable[tuple[Node, Access]]],
                first: Iterable[tuple[Node, Access]], store: int = STORE) -> set[Node]:
    """The nodes to keep in memory; readings(v) says what is read, and how, when a kept v is computed."""
    cost, kept = costs(order), set(must)
    ways: dict[Node, set[Access]] = {}
    for node, access in first:
        ways.setdefault(node, set()).add(access)
    for node in reversed(order):
        found = ways.pop(node, set())
        if not found or node.op in (INPUT, CONSTANT):
            continue
        if node in kept or worth_keeping(node, found, cost[node], store):
            kept.add(node)
            below = readings(node)
        else:
            below = (pair for access in found for pair in argument_accesses(node, access))
        for a, reading in below:
            ways.setdefault(a, set()).add(reading)
    return kept


def worth_keeping(node: Node, found: set[Access], cost: int, store: int) -> bool:
    """The rule of the module docstring, and the special case of reductions."""
    total = sum(a.executions for a in found)
    if node.op.name in COMBINE:
        extent = math.prod(node.args[0].shape[d] for d in node.attrs)
        return total > node.size or (extent > (UNROLL if node.ndim else 1) and extent > SMALL_REDUCTION)
    if node.op.family != "elementwise" or node.ndim == 0:
        return False
    if len(found) > MOST_WAYS and cost > 1:
        return True
    return (total - node.size) * cost > store * node.size + total
