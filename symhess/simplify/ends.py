"""The ends of edges in one order: products of gathers from one array, read through tables that other nodes read, too.

    x[min(i, j)] * x[max(i, j)]  =  x[i] * x[j]          where x[i] is read anyway

Arguments that may trade places are sorted when a node is made, so that a loop over the edges (i, j) of a graph forgets
which end came first wherever it multiplies or adds two ends. With tables of their own, such ends would share no entry
of the Hessian with those of the operations that know the order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symhess.graph.maps import ravel_maps, table_map, unravel_map
from symhess.graph.node import Node, rewrite, topological
from symhess.primitives import ELEMENTWISE, INDEX, apply, index

_EXCHANGEABLE = frozenset(ELEMENTWISE[name] for name in ("add", "mul", "maximum", "minimum", "hypot", "logaddexp"))


def one_order(outputs: Sequence[Node]) -> list[Node]:
    """The same functions, with as few different gathers as exchanging arguments allows."""
    given = _given(outputs)
    if not given:
        return list(outputs)

    def rule(node: Node, args: tuple[Node, ...]) -> Node | None:
        if not _is_pair(node, args):
            return None
        first, second = map(_places, args)
        known = [v for v in given.get((args[0].args[0], node.shape), ()) if v not in args]
        for v in known:
            places = _places(v)
            if ((places == first) | (places == second)).all():
                return apply(node.op.name, v, _gathered(v.args[0], np.where(places == first, second, first)))
        return None

    return rewrite(outputs, rule)


def _is_pair(node: Node, args: Sequence[Node]) -> bool:
    """True for two different gathers from one array that may trade places."""
    return node.op in _EXCHANGEABLE and all(a.op is INDEX and a.shape == node.shape for a in args) and (
        args[0] is not args[1] and args[0].args[0] is args[1].args[0])


def _given(outputs: Sequence[Node]) -> dict[tuple, list[Node]]:
    """By array and shape, the gathers that are read by other than pairs; none where there are no pairs."""
    order = topological(outputs)
    pairs = {v for v in order if _is_pair(v, v.args)}
    found: dict[tuple, list[Node]] = {}
    for v in dict.fromkeys(a for user in order if user not in pairs for a in user.args) if pairs else ():
        if v.op is INDEX:
            found.setdefault((v.args[0], v.shape), []).append(v)
    return found


def _places(v: Node) -> np.ndarray:
    """Where a gather reads, as flat positions."""
    return ravel_maps(v.attrs.maps, v.args[0].shape, v.shape).values()


def _gathered(source: Node, places: np.ndarray) -> Node:
    return index(source, unravel_map(table_map(places, places.shape), source.shape), places.shape)
