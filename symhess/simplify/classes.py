"""Classes of nodes that do the same to different data: what a Python loop leaves behind, found by hashing.

    key(op(v_1, ..., v_k)) = (op, attrs, class(v_1), ..., class(v_k))         arguments of commutative ops sorted
    key(v[maps])           = (index, class(v), shape)                         whatever the constant maps are
    key(constant)          = (constant, dtype, shape)                         whatever its value is
    key(+- t_1 +- t_2 ...) = the multiset of (sign, class(t)) where small, else the set

Additions whose only user is another addition are flattened into that one first. Classes are numbered so that the
classes of all arguments have smaller numbers, hence no class depends on itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from symhess.graph.maps import row_major_strides
from symhess.graph.node import CONSTANT, Node, scalar_value, topological
from symhess.primitives import CONTRACT, ELEMENTWISE, INDEX, SCATTER, STACK

#: a class with fewer members stays as it is
LEAST = 8
#: sums of more terms, or of more terms of one class, are told by the set of their terms' classes
SMALL_SUM, SMALL_MULTIPLICITY = 16, 4
#: vectors of more scalars are single objects: gathered, not batched
SMALL_STACK = 16
#: rounds of telling apart the members of small classes that loops index into
MOST_ROUNDS = 4

_ADDITIVE = frozenset(ELEMENTWISE[name] for name in ("add", "sub", "neg"))
_COMMUTATIVE = frozenset(ELEMENTWISE[name] for name in (
    "mul", "maximum", "minimum", "hypot", "logaddexp", "equal", "not_equal", "logical_and", "logical_or",
    "logical_xor"))
_POW, _SUB = ELEMENTWISE["pow"], ELEMENTWISE["sub"]


@dataclass
class Classes:
    """Nodes by number (arguments first), each with its class, its arguments in slot order, its place in the class.

    `signs` belongs to sums: one for each slot. `flat` tells where members of index classes point, in C order.
    `columns` gives, by the first member of a class, the arguments of all members with one column per slot, once
    roles have been assigned.
    """

    order: list[Node]
    args: list[tuple[int, ...]]
    slots: list[tuple[int, ...]]
    signs: dict[int, tuple[int, ...]]
    of: np.ndarray
    keys: list[tuple]
    members: list[np.ndarray]
    position: np.ndarray
    flat: np.ndarray
    columns: dict[int, np.ndarray] = field(default_factory=dict)

    def kind(self, c: int) -> str:
        return self.keys[c][0]


def is_commutative(node: Node) -> bool:
    return node.op in _COMMUTATIVE


def classify(outputs: Sequence[Node]) -> Classes | None:
    """The classes of all nodes below `outputs`, or None if nothing recurs."""
    order = topological(outputs)
    if len(order) < 8 * LEAST:
        return None
    number = {node: k for k, node in enumerate(order)}
    args = [tuple([number[a] for a in node.args]) for node in order]
    absorbed = absorbed_sums(order, args, [number[o] for o in outputs])
    apart: set[int] = set()
    totals: set[int] = set()
    for _ in range(MOST_ROUNDS):
        found = _Hashing(order, args, absorbed, apart, totals).run()
        if not _recurs(found):
            return None
        sources, short = _small_sources(found), _short_totals(found)
        if sources <= apart and short <= totals:
            break
        apart |= sources
        totals |= short
    _sort_leaves(found)
    return found


def absorbed_sums(order: list[Node], args: list[tuple[int, ...]], outputs: list[int]) -> list[bool]:
    """Which additions have one user, an addition of the same shape: they become part of it."""
    uses = [0] * len(order)
    for a in args:
        for i in a:
            uses[i] += 1
    for i in outputs:
        uses[i] += 1
    absorbed = [False] * len(order)
    for k, node in enumerate(order):
        if node.op in _ADDITIVE:
            for i in args[k]:
                if uses[i] == 1 and order[i].op in _ADDITIVE and order[i].shape == node.shape:
                    absorbed[i] = True
    return absorbed


class _Hashing:
    """One round: keys bottom-up; `apart` are told apart from everything else, `totals` are sums told by their set."""

    def __init__(self, order: list[Node], args: list[tuple[int, ...]], absorbed: list[bool], apart: set[int],
                 totals: set[int]):
        self.order, self.args, self.absorbed, self.apart, self.totals = order, args, absorbed, apart, totals
        self.of = [-1] * len(order)
        self.slots = list(args)
        self.signs: dict[int, tuple[int, ...]] = {}

    def run(self) -> Classes:
        numbers: dict[tuple, int] = {}
        of, absorbed, apart = self.of, self.absorbed, self.apart
        for k, node in enumerate(self.order):
            if not absorbed[k]:
                key = ("node", k) if k in apart else self.key(k, node)
                of[k] = numbers.setdefault(key, len(numbers))
        of_array, serial = np.array(of), np.array([node.serial for node in self.order])
        members, position = ordered_members(of_array, serial, len(numbers))
        return Classes(self.order, self.args, self.slots, self.signs, of_array, list(numbers), members, position,
                       np.zeros(len(of), np.int64))

    def key(self, k: int, node: Node) -> tuple:
        op, args, of = node.op, self.args[k], self.of
        if op in _ADDITIVE:
            return self.sum_key(k)
        if op in _COMMUTATIVE:
            a, b = of[args[0]], of[args[1]]
            if a <= b:
                return (op, a, b)
            self.slots[k] = args[::-1]
            return (op, b, a)
        if op is INDEX or op is SCATTER:
            return (op.name, of[args[0]], node.shape)
        if op is CONSTANT:
            return ("constant", node.dtype.num, node.shape)
        if op is _POW and scalar_value(self.order[args[1]]) is not None:
            return (op, of[args[0]], of[args[1]], scalar_value(self.order[args[1]]))
        if op is CONTRACT:
            return self.contract_key(k, node)
        if not args or op.batch is None or (op is STACK and len(args) > SMALL_STACK):
            return ("node", k)
        return (op, node.attrs, *[of[i] for i in args])

    def contract_key(self, k: int, node: Node) -> tuple:
        """Operands sorted by class, their labels renumbered by first appearance."""
        args, of = self.args[k], self.of
        ranked = sorted(range(len(args)), key=lambda i: of[args[i]])
        self.slots[k] = tuple([args[i] for i in ranked])
        number: dict[int, int] = {}
        operands = tuple([tuple([number.setdefault(l, len(number)) for l in node.attrs.operands[i]]) for i in ranked])
        output = tuple([number[l] for l in node.attrs.output])
        return ("contract", operands, output, *[of[i] for i in self.slots[k]])

    def sum_key(self, k: int) -> tuple:
        """Terms sorted by class and sign; ("sum", every one) or ("total", each kind once)."""
        of, args = self.of, self.args[k]
        if len(args) == 2 and k not in self.totals and not (self.absorbed[args[0]] or self.absorbed[args[1]]):
            a, b = args  # most sums are of two terms
            x, y = 2 * of[a], 2 * of[b] + (self.order[k].op is _SUB)
            if x > y:
                a, b, x, y = b, a, y, x
            self.slots[k] = (a, b)
            self.signs[k] = (-1 if x & 1 else 1, -1 if y & 1 else 1)
            return ("sum", (x, y))
        if len(args) == 1 and k not in self.totals and not self.absorbed[args[0]]:
            self.slots[k], self.signs[k] = args, (-1,)
            return ("sum", (2 * of[args[0]] + 1,))
        terms = self.terms(k)
        coded = sorted([(2 * of[i] + (sign < 0), i) for i, sign in terms], key=_first)
        codes = tuple([c for c, _ in coded])
        self.slots[k] = tuple([i for _, i in coded])
        self.signs[k] = tuple([-1 if c & 1 else 1 for c in codes])
        short = len(codes) <= SMALL_MULTIPLICITY or (
            len(codes) <= SMALL_SUM and max(map(codes.count, codes)) <= SMALL_MULTIPLICITY)
        return ("sum", codes) if short and k not in self.totals else ("total", frozenset(codes))

    def terms(self, root: int) -> list[tuple[int, int]]:
        """The (node, sign) that a flattened sum adds up, in the order of the user's program."""
        out: list[tuple[int, int]] = []
        stack = [(root, 1)]
        while stack:
            k, sign = stack.pop()
            if k != root and not self.absorbed[k]:
                out.append((k, sign))
                continue
            args, name = self.args[k], self.order[k].op.name
            if name == "neg":
                stack.append((args[0], -sign))
            else:
                stack.append((args[1], -sign if name == "sub" else sign))
                stack.append((args[0], sign))
        return out


def _first(pair: tuple[int, int]) -> int:
    return pair[0]


def ordered_members(of: np.ndarray, rank: np.ndarray, classes: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The members of each class in the order of `rank` (the program's, usually), and each node's place among them."""
    ranked = np.lexsort((rank, of))
    ends = np.searchsorted(of[ranked], np.arange(classes + 1))
    position = np.zeros(len(of), np.int64)
    position[ranked] = np.arange(len(of)) - ends[of[ranked]]
    bounds = ends.tolist()
    return [ranked[a:b] for a, b in itertools.pairwise(bounds)], position


def _recurs(found: Classes) -> bool:
    """True if there is a class of operations with many members, or a sum of many elements."""
    return any((len(m) >= LEAST and found.kind(c) not in ("constant", "index", "node"))
               or (found.kind(c) == "total" and len(found.slots[m[0]]) >= LEAST) for c, m in enumerate(found.members))


def _small_sources(found: Classes) -> set[int]:
    """Members of classes too small to become an array, of which elements are taken: different arrays, then."""
    sources = {key[1] for key in found.keys if key[0] == "index"}
    return {int(k) for c in sources if 1 < len(found.members[c]) < LEAST and found.kind(c) != "constant"
            for k in found.members[c]}


def _short_totals(found: Classes) -> set[int]:
    """The few short sums over the same classes as many long ones: the first rounds of a triangular loop."""
    long = {key[1] for key, m in zip(found.keys, found.members) if key[0] == "total" and len(m) >= LEAST}
    return {int(k) for key, m in zip(found.keys, found.members)
            if long and key[0] == "sum" and len(m) < LEAST and frozenset(key[1]) in long for k in m}


def _sort_leaves(found: Classes) -> None:
    """Order the members of each index class by where they point, so that loops over elements give affine maps."""
    for c, members in enumerate(found.members):
        if found.kind(c) == "index" and len(members) > 1:
            nodes = [found.order[k] for k in members]
            sources = np.array([found.args[k][0] for k in members])
            offsets = np.array([[m.offset for m in node.attrs.maps] for node in nodes], np.int64)
            shape = found.order[sources[0]].shape
            flat = offsets @ np.array(row_major_strides(shape), np.int64) + found.position[sources] * math.prod(shape)
            ranked = np.argsort(flat, kind="stable")
            found.flat[members] = flat
            found.members[c] = members[ranked]
            found.position[members[ranked]] = np.arange(len(members))
