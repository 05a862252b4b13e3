"""Re-rolling: the thousands of small nodes that Python loops leave behind become a few array nodes again.

Every class of at least LEAST members (see `classes`) becomes one array node with a leading axis over its members:
its arguments are gathers from their classes' arrays, leaves gathers from the user's arrays, constants a constant
array. A sum over many members becomes a sum, or a scatter-add where there are several such sums. The function
stays exactly the same; only the order of additions may change.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from symhess.graph.node import Node, constant, make, topological
from symhess.primitives import (
    INDEX,
    RESHAPE,
    SCATTER,
    STACK,
    Elementwise,
    apply,
    contract,
    expand_to,
    index,
    reshape,
    scatter,
)
from symhess.simplify.boxes import Box, common_box, squeezed
from symhess.simplify.classes import LEAST, Classes, classify
from symhess.simplify.ends import one_order
from symhess.simplify.roles import split_by_role
from symhess.simplify.stacking import (
    aligned,
    constant_rows,
    gather,
    leading_table,
    pick,
    place,
    repeated,
    reshaped,
    stack_nodes,
    stacked_maps,
    sum_leading,
    sum_runs,
    unflattened,
)

#: larger arrays are not stacked: loops over few large arrays are best left alone
MOST_ELEMENTS = 4096
#: a result with a larger share of the old number of nodes is not worth having
WORTH = 0.75
#: operations on leaves of at most this cost are done again for everyone who reads them, at most so often each
CHEAP, MOST_AGAIN = 1, 8
#: and any operation where that makes at most so many of one
FEW_AGAIN = 2


def reroll(outputs: Sequence[Node], inputs: Sequence[Node]) -> list[Node]:
    """The same functions of `inputs` with loops over scalars and small arrays turned back into array operations.

    Returns `outputs` themselves where nothing recurs. Linear in the number of nodes.
    """
    outputs = list(outputs)
    classes = classify(outputs)
    if classes is None:
        return outputs
    split_by_role(classes)
    rolled = one_order(_Rolling(classes).run(outputs))
    return rolled if len(topological(rolled)) <= WORTH * len(classes.order) else outputs


class _Rolling:
    """Builds new nodes class by class; `arrays` holds the array of each class that has one, `new` single nodes."""

    def __init__(self, classes: Classes):
        self.classes, self.order = classes, classes.order
        self.arrays: dict[int, Node] = {}
        self.leaves: dict[int, Node] = {}
        self.new: dict[int, Node] = {}
        self.constants: dict[int, np.ndarray] = {}

    def run(self, outputs: Sequence[Node]) -> list[Node]:
        classes = self.classes
        for c, members in enumerate(classes.members):
            kind = classes.kind(c)
            if kind in ("constant", "index"):
                continue
            if kind != "node" and len(members) >= LEAST and self.is_light(members):
                self.arrays[c] = self.roll(c)
            else:
                for k in members.tolist():
                    self.new[k] = self.rebuilt(k)
        number = {node: k for k, node in enumerate(self.order)}
        return [self.single(number[o]) for o in outputs]

    def is_light(self, members: np.ndarray) -> bool:
        """True if neither the nodes nor the arguments in which they differ are large arrays."""
        k, other = members[0], members[-1]
        node, slots = self.order[k], self.classes.slots
        sizes = [self.order[a].size for a, b in zip(slots[k], slots[other]) if a != b]
        return max([*sizes, 0 if node.op is SCATTER else node.size]) <= MOST_ELEMENTS

    # -- one node ----------------------------------------------------------------------------------------------

    def single(self, k: int) -> Node:
        """The new form of one old node."""
        if k not in self.new:
            c = self.classes.of[k]
            if c in self.arrays:
                self.new[k] = pick(self.arrays[c], int(self.classes.position[k]))
            else:
                self.new[k] = self.rebuilt(k)
        return self.new[k]

    def rebuilt(self, k: int) -> Node:
        """A node that is in no array, on the new forms of its arguments."""
        node, slots = self.order[k], self.classes.slots[k]
        args = [self.untouched(i) for i in slots]
        if None not in args and not self.adds_elements(k):
            return node
        if k in self.classes.signs:
            return expand_to(self.summed(np.array(slots), np.array(self.classes.signs[k])), node.shape)
        if node.op is STACK:
            return self.stacked(np.array(slots))
        return remade(node, [self.single(i) for i in self.classes.args[k]])

    def adds_elements(self, k: int) -> bool:
        """True for a sum of many elements, which becomes a sum of an array also where nothing else changes."""
        of = self.classes.of
        return self.classes.kind(of[k]) == "total" and sum(
            self.classes.kind(of[i]) == "index" for i in self.classes.slots[k]) >= LEAST

    def untouched(self, k: int) -> Node | None:
        """The old node where it is also the new one (without making a new node to find out)."""
        if self.classes.of[k] in self.arrays:
            return None
        node = self.order[k]
        return node if self.single(k) is node else None

    # -- columns: many nodes as one array ------------------------------------------------------------------------

    def column(self, ks: np.ndarray, box: Box | None = None) -> tuple[Node, bool]:
        """(node, True) with the leading axes `box` over `ks`, or (node, False) if they are all the same node.

        Without a box there is one leading axis; constants may have size-1 axes in a box.
        """
        if (ks == ks[0]).all():
            return self.single(int(ks[0])), False
        of = self.classes.of[ks]
        if (of == of[0]).all():
            return self.rows(int(of[0]), ks, box or (len(ks),)), True
        rows = self.mixture(ks, of)
        return (reshape(rows, (*box, *rows.shape[1:])) if box else rows), True

    def stacked(self, ks: np.ndarray) -> Node:
        """The nodes `ks` along a leading axis."""
        node, moved = self.column(ks)
        return node if moved else repeated(node, len(ks))

    def rows(self, c: int, ks: np.ndarray, box: Box) -> Node:
        """Members of one class along leading axes."""
        rows = self.classes.position[ks]
        if self.classes.kind(c) == "constant":
            values = self.constant_rows(c)[rows]
            return constant(squeezed(values.reshape(*box, *values.shape[1:]), len(box)) if len(box) > 1 else values)
        if self.has_array(c):
            whole = len(rows) == len(self.classes.members[c]) and (rows == np.arange(len(rows))).all()
            return self.again(c, ks, box) if not whole and self.is_again(c, ks) else gather(self.array(c), rows, box)
        distinct, inverse = np.unique(ks, return_inverse=True)
        return gather(stack_nodes([self.single(k) for k in distinct.tolist()]), inverse, box)

    def is_again(self, c: int, ks: np.ndarray) -> bool:
        """True where members of a class are computed where they are read, not gathered: lines of a grid read u_i u_j,
        and u_i^2, which other lines read too, then through the same places as u_i itself; and the few lines that lie
        beside another one read a cosine of their own."""
        members = self.classes.members[c]
        slots = self.classes.columns.get(int(members[0]))
        op = self.order[members[0]].op
        if slots is None or slots.shape[1] > 2 or not isinstance(op, Elementwise):
            return False
        if len(members) < len(ks) <= FEW_AGAIN * len(members) and len(np.unique(ks)) == len(members):
            return True
        return op.cost <= CHEAP and len(ks) <= MOST_AGAIN * len(members) and all(
            self.classes.kind(k) in ("index", "constant") for k in np.unique(self.classes.of[slots]).tolist())

    def again(self, c: int, ks: np.ndarray, box: Box) -> Node:
        """Members of a class computed from their arguments, in the order in which they are read."""
        slots = self.classes.columns[int(self.classes.members[c][0])][self.classes.position[ks]]
        shape = (len(ks), *self.order[ks[0]].shape)
        return reshape(self.elementwise(c, slots, shape), (*box, *shape[1:]))

    def has_array(self, c: int) -> bool:
        return c in self.arrays or self.classes.kind(c) == "index"

    def array(self, c: int) -> Node:
        """The array over all members; that of an index class is made when it is first asked for."""
        if c in self.arrays:
            return self.arrays[c]
        if c not in self.leaves:
            self.leaves[c] = self.leaf_array(c)
        return self.leaves[c]

    def leaf_array(self, c: int) -> Node:
        """Elements (or parts) of one array, or of the members of one class, as one gather."""
        members = self.classes.members[c]
        sources = np.array([self.classes.args[k][0] for k in members])
        shape = (len(members), *self.order[members[0]].shape)
        maps = stacked_maps([self.order[k].attrs.maps for k in members], shape[1:])
        if (sources == sources[0]).all():
            return index(self.single(int(sources[0])), maps, shape)
        of = int(self.classes.of[sources[0]])
        if self.has_array(of):
            source, rows = self.array(of), self.classes.position[sources]
        else:
            distinct, rows = np.unique(sources, return_inverse=True)
            source = self.stacked(distinct)
        return index(source, [leading_table(rows, shape), *maps], shape)

    def constant_rows(self, c: int) -> np.ndarray:
        if c not in self.constants:
            self.constants[c] = constant_rows([self.order[k] for k in self.classes.members[c]])
        return self.constants[c]

    def mixture(self, ks: np.ndarray, of: np.ndarray) -> Node:
        """Members of several classes: each large group scattered to its rows, the others stacked and scattered."""
        found, inverse, counts = np.unique(of, return_inverse=True, return_counts=True)
        large = [g for g, c in enumerate(found.tolist()) if counts[g] >= LEAST and
                 (self.has_array(c) or self.classes.kind(c) == "constant")]
        parts = []
        for g in large:
            rows = np.flatnonzero(inverse == g)
            parts.append(place(self.stacked(ks[rows]), rows, len(ks)))
        rest = np.flatnonzero(~np.isin(inverse, large))
        if len(rest):
            loose = stack_nodes([self.single(k) for k in ks[rest].tolist()])
            parts.append(place(loose, rest, len(ks)))
        return _added(parts)

    # -- classes -----------------------------------------------------------------------------------------------

    def roll(self, c: int) -> Node:
        """The array node of a class."""
        members, kind = self.classes.members[c], self.classes.kind(c)
        shape = (len(members), *self.order[members[0]].shape)
        if kind == "total":
            return self.rolled_totals(members, shape)
        slots = self.classes.columns[int(members[0])]
        if kind == "scatter":
            return self.rolled_scatter(members, slots, shape)
        if kind == "sum" or isinstance(self.order[members[0]].op, Elementwise):
            return self.elementwise(c, slots, shape)
        columns = [self.column(ks) for ks in slots.T]
        if kind == "contract":
            return _expanded(_contracted(columns, self.classes.keys[c], len(members)), shape)
        node, flags = self.order[members[0]], [moved for _, moved in columns]
        if not any(flags):
            return repeated(remade(node, [v for v, _ in columns]), len(members))
        return _expanded(node.op.batch(node, [v for v, _ in columns], flags), shape)

    def elementwise(self, c: int, slots: np.ndarray, shape: tuple[int, ...]) -> Node:
        """An elementwise operation, or a short sum, of arguments in columns, over the box of the loops around it."""
        box, first = self.box(slots), int(self.classes.members[c][0])
        columns = [self.column(ks, box) for ks in slots.T]
        args = [aligned(v, moved, len(box), len(shape) - 1) for v, moved in columns]
        if self.classes.kind(c) == "sum":
            value = _signed_sum(list(zip(args, self.classes.signs[first])))
        else:
            value = apply(self.order[first].op, *args)
        return reshape(expand_to(value, (*box, *shape[1:])), shape)

    def box(self, slots: np.ndarray) -> Box:
        """The loops around a class, as far as they show in where its arguments come from."""
        tables, known = [], []
        for ks in slots.T:
            of = self.classes.of[ks]
            c = int(of[0])
            if (of != c).any():
                return (len(ks),)
            if self.classes.kind(c) == "constant" or (ks == ks[0]).all():
                continue
            tables.append((self.classes.flat if self.classes.kind(c) == "index" else self.classes.position)[ks])
            if c in self.arrays:
                known.append(unflattened(self.arrays[c])[1])
        return common_box(tables, len(slots), [box for box in known if len(box) > 1])

    def rolled_scatter(self, members: np.ndarray, slots: np.ndarray, shape: tuple[int, ...]) -> Node:
        """Every member scattered into its own row."""
        v, maps = self.stacked(slots[:, 0]), self.scatter_maps(members)
        rows = leading_table(np.arange(len(members)), v.shape)
        return scatter(v, [rows, *maps], shape)

    def scatter_maps(self, ks: np.ndarray) -> list:
        return stacked_maps([self.order[k].attrs.maps for k in ks], self.order[ks[0]].args[0].shape)

    # -- sums --------------------------------------------------------------------------------------------------

    def summed(self, ks: np.ndarray, signs: np.ndarray) -> Node:
        """sum_i signs_i * ks_i: one term for each class and sign."""
        codes = 2 * self.classes.of[ks] + (signs < 0)
        found, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        groups = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
        parts = [(self.group_sum(int(code) // 2, ks[g]), -1 if code & 1 else 1) for code, g in zip(found, groups)]
        return _signed_sum([parts[g] for g in np.argsort(first)])

    def group_sum(self, c: int, ks: np.ndarray) -> Node:
        """The sum of members of one class."""
        kind = self.classes.kind(c)
        if kind == "constant" and len(ks) > 1:
            return constant(self.constant_rows(c)[self.classes.position[ks]].sum(axis=0))
        if len(ks) < LEAST or not self.has_array(c):
            return _added([self.single(k) for k in ks.tolist()])
        if kind == "scatter":
            sources = np.array([self.classes.args[k][0] for k in ks.tolist()])
            return scatter(self.stacked(sources), self.scatter_maps(ks), self.order[ks[0]].shape)
        return sum_leading(self.stacked(ks))

    def rolled_totals(self, members: np.ndarray, shape: tuple[int, ...]) -> Node:
        """Many sums of many terms each: per class of terms, a sum along an axis or a scatter-add into the sums."""
        signs, slots = self.classes.signs, self.classes.slots
        ks = np.concatenate([slots[k] for k in members.tolist()])
        row = np.repeat(np.arange(len(members)), [len(slots[k]) for k in members.tolist()])
        sign = np.concatenate([signs[k] for k in members.tolist()])
        codes = 2 * self.classes.of[ks] + (sign < 0)
        parts = []
        for code in np.unique(codes).tolist():
            chosen = codes == code
            total = self.row_sums(ks[chosen], row[chosen], len(members))
            parts.append((aligned(total, True, 1, len(shape) - 1), -1 if code & 1 else 1))
        return _expanded(_signed_sum(parts), shape)

    def row_sums(self, ks: np.ndarray, row: np.ndarray, count: int) -> Node:
        terms, sizes = self.stacked(ks), np.bincount(row, minlength=count)
        if (sizes == sizes[0]).all():
            return sum_runs(terms, int(sizes[0]))
        return place(terms, row, count)


def _contracted(columns: Sequence[tuple[Node, bool]], key: tuple, count: int) -> Node:
    """All members of a class of contractions at once: one more label on the operands that move and on the result."""
    _, labels, output = key[:3]
    sizes: dict[int, int] = {}
    for (v, moved), ls in zip(columns, labels):
        sizes |= zip(ls, v.shape[int(moved):])
    lead = len(sizes)
    operands = [(v, (lead, *ls) if moved else ls) for (v, moved), ls in zip(columns, labels)]
    return contract(operands, (lead, *output), sizes | {lead: count})


def remade(node: Node, args: Sequence[Node]) -> Node:
    """The operation of `node` on other arguments of the same shapes, through its constructor where it has one."""
    if isinstance(node.op, Elementwise):
        return expand_to(apply(node.op, *args), node.shape)
    if node.op is INDEX:
        return index(args[0], node.attrs.maps, node.shape)
    if node.op is SCATTER:
        return scatter(args[0], node.attrs.maps, node.shape)
    if node.op is RESHAPE:
        return reshaped(args[0], node.shape)
    return make(node.op, args, node.attrs)


def _added(parts: Sequence[Node]) -> Node:
    return functools.reduce(functools.partial(apply, "add"), parts)


def _signed_sum(terms: Sequence[tuple[Node, int]]) -> Node:
    """The positive terms minus the negative ones."""
    plus = [v for v, sign in terms if sign > 0]
    minus = [v for v, sign in terms if sign < 0]
    if not plus:
        return apply("neg", _added(minus))
    return functools.reduce(functools.partial(apply, "sub"), minus, _added(plus))


def _expanded(v: Node, shape: tuple[int, ...]) -> Node:
    """v over the whole shape, where all members turned out to agree along an axis."""
    if v.shape == shape:
        return v
    return repeated(v, shape[0]) if v.shape == shape[1:] else expand_to(v, shape)
