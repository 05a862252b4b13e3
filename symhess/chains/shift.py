"""The shift of a graph by one step: which node of the next step does what a node does in its own.

Pairs of nodes, one step apart, start it; if u shifts to w, the arguments of u shift to those of w. The walk goes
from the last step back to the first, and does not need the order in which the nodes were made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from symhess.chains.spine import Numbered
from symhess.graph.node import Node
from symhess.simplify.classes import is_commutative


class Shift:
    """`after[u] = w`, `before[w] = u`; `swapped` tells the w whose two arguments come in the other order than those
    of u. `moving` are the nodes that hang on the state; what else a step reads is given to it."""

    def __init__(self, graph: Numbered, moving: np.ndarray, pairs: Sequence[tuple[int, int]]):
        self.graph, self.moving = graph, moving.tolist()
        self.after: dict[int, int] = {}
        self.before: dict[int, int] = {}
        self.swapped: set[int] = set()
        self._walk(list(pairs))

    def _walk(self, stack: list[tuple[int, int]]) -> None:
        order, args, seen = self.graph.order, self.graph.args, set()
        while stack:
            pair = stack.pop()
            u, w = pair
            if u >= w or not self.moving[w] or pair in seen:  # what comes later is of no step before
                continue
            seen.add(pair)
            if w in self.before or u in self.after or not alike(order[u], order[w]):
                continue
            self.before[w], self.after[u] = u, w
            second = args[w]
            if len(second) == 2 and self._swaps(u, w):
                self.swapped.add(w)
                second = second[::-1]
            stack.extend(zip(args[u], second))

    def _swaps(self, u: int, w: int) -> bool:
        """True if the arguments of u match those of w better crosswise."""
        if not is_commutative(self.graph.order[u]) and self.graph.order[u].op.name != "add":
            return False
        (a, b), (c, d) = self.graph.args[u], self.graph.args[w]
        if a == c or b == d:
            return False
        return self._match(a, d) + self._match(b, c) > self._match(a, c) + self._match(b, d)

    def _match(self, u: int, w: int) -> int:
        """How likely u shifts to w."""
        if u == w or self.after.get(u) == w:
            return 4
        first, second = self.graph.order[u], self.graph.order[w]
        return (self.moving[u] == self.moving[w]) + 2 * (first.op is second.op and first.shape == second.shape)

    def orbits(self) -> Iterator[list[int]]:
        """The sequences u, after[u], after[after[u]], ..."""
        for first in [u for u in self.after if u not in self.before]:
            found = [first]
            while found[-1] in self.after:
                found.append(self.after[found[-1]])
            yield found

    def crossed(self, orbit: list[int]) -> list[bool]:
        """For every member of an orbit whether its arguments come in the other order than those of the first."""
        return (np.cumsum([w in self.swapped for w in orbit]) % 2).astype(bool).tolist()


def alike(u: Node, w: Node) -> bool:
    """True if two nodes are the same operation on arguments of the same shapes."""
    return (u.op is w.op and u.shape == w.shape and u.dtype == w.dtype and len(u.args) == len(w.args)
            and bool(u.args) and (u.attrs is w.attrs or u.attrs == w.attrs)
            and all(a.shape == b.shape and a.dtype == b.dtype for a, b in zip(u.args, w.args)))
