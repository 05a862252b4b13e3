"""Scalar-heavy programs: thousands of rank-0 statements become one straight-line block each.

Scalars fall into levels: a scalar that reads an array computed from scalars of level l has level l + 1. The scalars
of one level that others use become one vector, stack(u_1, ..., u_n); everything outside reads elements of it, and
runs of single writes become one write through a table.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from symhess.graph.maps import constant_map, table_map
from symhess.graph.node import CONSTANT, Node, make, topological
from symhess.plan.program import Buffer, Program, Write
from symhess.primitives.movement import INDEX, STACK, IndexAttrs

#: as many rank-0 statements as Numba's front end takes gladly
MOST_STATEMENTS = 300
SCALAR_TYPES = frozenset(map(np.dtype, ("float64", "float32", "bool")))


def is_scalar_statement(v: Node) -> bool:
    """True for an elementwise operation on numbers that straight-line code can hold."""
    if v.shape or v.op.family != "elementwise" or v.dtype not in SCALAR_TYPES:
        return False
    return all(a.dtype in SCALAR_TYPES for a in v.args)


def gather_scalars(program: Program) -> Program:
    """The program with its large scalar blocks gathered into stacks; others are left as they are."""
    order = topological(program.roots())
    if sum(map(is_scalar_statement, order)) <= MOST_STATEMENTS:
        return program
    outer = _Blocks(order, program.roots()).outer
    return replace(program, outputs=tuple(_with_tables(b, outer) for b in program.outputs))


def is_block(node: Node) -> bool:
    """True for a stack that a straight-line block computes."""
    if node.op is not STACK:
        return False
    count, seen, stack = 0, set(), list(node.args)
    while stack and count <= MOST_STATEMENTS:
        v = stack.pop()
        if v not in seen and is_scalar_statement(v):
            seen.add(v)
            count += 1
            stack.extend(v.args)
    return count > MOST_STATEMENTS and len({a.dtype for a in node.args}) == 1


def statements_of(outputs: Sequence[Node]) -> int:
    """How many statements a block has."""
    seen, stack = set(), list(outputs)
    while stack:
        v = stack.pop()
        if v not in seen and is_scalar_statement(v):
            seen.add(v)
            stack.extend(v.args)
    return len(seen)


_leaves: weakref.WeakKeyDictionary[Node, list[Node]] = weakref.WeakKeyDictionary()


def leaves_of(node: Node) -> list[Node]:
    """The numbers that a block reads: rank-0 nodes that are not statements of it, and not constants."""
    if node not in _leaves:
        _leaves[node] = _find_leaves(node)
    return _leaves[node]


def _find_leaves(node: Node) -> list[Node]:
    found, seen, stack = [], set(), list(node.args)
    while stack:
        v = stack.pop()
        if v in seen:
            continue
        seen.add(v)
        if is_scalar_statement(v):
            stack.extend(v.args)
        elif v.op is not CONSTANT:
            found.append(v)
    return found


def block_digest(outputs: Sequence[Node], leaves: Sequence[tuple[Node, int, int]]) -> str:
    """A name for what a block computes, the same in every process."""
    number = {node: k for k, (node, _, _) in enumerate(leaves)}
    text = hashlib.blake2b(repr([(n.dtype.str, array, place) for n, array, place in leaves]).encode(), digest_size=16)
    for v in topological(outputs):
        inside = v.op is CONSTANT or (is_scalar_statement(v) and all(a in number for a in v.args))
        if inside and v not in number:
            number[v] = len(number)
            value = v.attrs.digest if v.op is CONSTANT else None
            text.update(repr((v.op.name, v.dtype.str, value, [number[a] for a in v.args])).encode())
    text.update(repr([number[v] for v in outputs]).encode())
    return text.hexdigest()


class _Blocks:
    """Rebuilds a graph level by level; `outer` maps each node to what stands for it outside of its block."""

    def __init__(self, order: Sequence[Node], roots: Sequence[Node]):
        self.outer: dict[Node, Node] = {}
        self.level = self._levels(order)
        self.used = self._used_outside(order, roots)
        groups: dict[int, tuple[list[Node], list[Node]]] = {}
        for v in order:
            groups.setdefault(self.level[v], ([], []))[is_scalar_statement(v)].append(v)
        for key in sorted(groups):
            arrays, scalars = groups[key]
            self._rebuild(arrays, self.outer)
            if len(scalars) <= MOST_STATEMENTS:
                self._rebuild(scalars, self.outer)
            else:
                self._stack(scalars)

    def _levels(self, order: Sequence[Node]) -> dict[Node, int]:
        level: dict[Node, int] = {}
        for v in order:
            step = 0 if is_scalar_statement(v) else 1
            level[v] = max((level[a] + step * is_scalar_statement(a) for a in v.args), default=0)
        return level

    def _used_outside(self, order: Sequence[Node], roots: Sequence[Node]) -> set[Node]:
        used = {v for v in roots if is_scalar_statement(v)}
        for v in order:
            inside = is_scalar_statement(v)
            used.update(a for a in v.args if is_scalar_statement(a) and not (inside and self.level[a] == self.level[v]))
        return used

    def _rebuild(self, nodes: Sequence[Node], into: dict[Node, Node]) -> None:
        """The same operations on rebuilt arguments, those of the same block before those outside."""
        for v in nodes:
            args = tuple(into.get(a) or self.outer[a] for a in v.args)
            gathered = _as_gather(args) if v.op is STACK else None
            into[v] = gathered or (v if args == v.args else make(v.op, args, v.attrs))

    def _stack(self, scalars: Sequence[Node]) -> None:
        """The scalars of one level as the elements of one vector per element type."""
        inner: dict[Node, Node] = {}
        self._rebuild(scalars, inner)
        outputs = [v for v in scalars if v in self.used]
        for dtype in {v.dtype for v in outputs}:
            members = [v for v in outputs if v.dtype == dtype]
            vector = make(STACK, [inner[v] for v in members])
            for k, v in enumerate(members):
                self.outer[v] = make(INDEX, (vector,), IndexAttrs((constant_map((), k),), ()))


def _element(v: Node) -> tuple[Node, int] | None:
    """(stack, k) for an element of a stack."""
    if v.op is INDEX and v.ndim == 0 and v.args[0].op is STACK:
        return v.args[0], v.attrs.maps[0].offset
    return None


def _gathered(vector: Node, positions: Sequence[int]) -> Node:
    """vector[positions]"""
    shape = (len(positions),)
    return make(INDEX, (vector,), IndexAttrs((table_map(np.array(positions), shape),), shape))


def _as_gather(args: Sequence[Node]) -> Node | None:
    """A stack of elements of one vector as a gather from it."""
    found = [_element(a) for a in args]
    if any(f is None for f in found) or len({f[0] for f in found}) != 1:
        return None
    return _gathered(found[0][0], [k for _, k in found])


def _with_tables(buffer: Buffer, outer: dict[Node, Node]) -> Buffer:
    """Single writes of elements of one vector, of one kind, as one write through a table."""
    writes: list[Write] = []
    groups: dict[tuple, list[Write]] = {}
    for w in buffer.writes:
        w = replace(w, value=outer[w.value])
        found = _element(w.value)
        if found is None or w.value.size != 1:
            writes.append(w)
        else:
            groups.setdefault((found[0], w.accumulate), []).append(w)
    for (vector, accumulate), members in groups.items():
        positions = table_map(np.array([w.position.offset for w in members]), (len(members),))
        writes.append(Write(_gathered(vector, [_element(w.value)[1] for w in members]), positions, accumulate))
    writes.sort(key=lambda w: w.accumulate)
    return replace(buffer, writes=tuple(writes))
