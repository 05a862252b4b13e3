"""The deepest path through a graph, and the period with which its operations repeat.

Where a loop hands a state on from step to step, the deepest path runs through all steps. Sums whose partial results
nobody else reads add no depth: a loop that only adds up has no state, and belongs to the classes of `simplify`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from symhess.graph.node import Node, topological
from symhess.simplify.classes import absorbed_sums

#: a sequence has a period only if it is repeated that often
LEAST_REPEATS = 4
#: how deep a node is compared with others, and where the part of the path begins that its arguments are to hang on
ROUNDS, START = 2, 16
#: lags that are looked at, and random signs per code that find them in sequences that are not short
TRIED, CHANNELS, SHORT = 16, 8, 4096
#: what more nodes than this read is no state
MANY_USES = 32


@dataclass(frozen=True)
class Numbered:
    """The nodes below some outputs by number, in the order in which they were made: arguments first, step by step."""

    order: list[Node]
    args: list[tuple[int, ...]]
    outputs: list[int]

    @classmethod
    def of(cls, outputs: Sequence[Node]) -> Numbered:
        """The numbers of all nodes below `outputs`."""
        order = sorted(topological(outputs), key=attrgetter("serial"))
        number = {node: k for k, node in enumerate(order)}
        return cls(order, [tuple([number[a] for a in node.args]) for node in order], [number[o] for o in outputs])

    def reached(self, sources: Sequence[int] | np.ndarray) -> np.ndarray:
        """For every node whether it hangs on one of `sources`, which do so themselves."""
        found = np.zeros(len(self.order), bool)
        if len(sources):
            found[np.asarray(sources)] = True
            flags, first = found.tolist(), int(np.min(sources))
            for k in range(first, len(flags)):
                if not flags[k]:
                    flags[k] = any(flags[a] for a in self.args[k])
            found = np.array(flags)
        return found


def spine(graph: Numbered) -> np.ndarray:
    """The numbers of the nodes on the deepest path, the first one first."""
    inside = absorbed_sums(graph.order, list(graph.args), graph.outputs)
    depth, above = [0] * len(graph.order), [-1] * len(graph.order)
    for k, args in enumerate(graph.args):
        if args:
            above[k] = max(args, key=depth.__getitem__)
            depth[k] = depth[above[k]] + (not inside[k])
    path, k = [], int(np.argmax(depth)) if depth else -1
    while k >= 0:
        if not inside[k]:
            path.append(k)
        k = above[k]
    return np.array(path[::-1], np.int64)


def operations(graph: Numbered) -> np.ndarray:
    """The numbers of all operations, partial sums that nobody reads left out."""
    inside = absorbed_sums(graph.order, list(graph.args), graph.outputs)
    return np.array([k for k, args in enumerate(graph.args) if args and not inside[k]], np.int64)


def plain_codes(graph: Numbered, path: np.ndarray) -> np.ndarray:
    """What each node of a path does, as a number."""
    return _numbers([_own(graph.order[k]) for k in path.tolist()])


def fine_codes(graph: Numbered, path: np.ndarray) -> np.ndarray:
    """What each node of a path does, with what its arguments do, and theirs, as far as they hang on the path."""
    moving = graph.reached(path[len(path) // START:][:1])
    codes: dict[int, tuple] = {k: _own(graph.order[k]) for k in path.tolist()}
    known: dict[tuple[int, int], tuple | None] = {}

    def code(k: int, rounds: int) -> tuple | None:
        if not moving[k]:
            return None
        if (k, rounds) not in known:
            below = [code(a, rounds - 1) for a in graph.args[k]] if rounds else ()
            known[k, rounds] = (_own(graph.order[k]), *sorted(below, key=hash))
        return known[k, rounds]

    return _numbers([code(k, ROUNDS) or codes[k] for k in path.tolist()])


def distance_codes(graph: Numbered, sequence: np.ndarray) -> np.ndarray:
    """What each node of a sequence does, and how far back in it its arguments are, if they are not read everywhere."""
    uses = np.bincount([a for args in graph.args for a in args], minlength=len(graph.order))
    place = {k: i for i, k in enumerate(sequence.tolist()) if uses[k] <= MANY_USES}
    return _numbers([(*_own(graph.order[k]), *[i - place.get(a, i + 1) for a in graph.args[k]])
                     for i, k in enumerate(sequence.tolist())])


def _own(node: Node) -> tuple:
    return node.op.name, node.shape, node.dtype.num


def _numbers(codes: Sequence[tuple]) -> np.ndarray:
    known: dict[tuple, int] = {}
    return np.array([known.setdefault(c, len(known)) for c in codes], np.int64)


class Period(NamedTuple):
    """codes[i] == codes[i + lag] for first <= i and i + lag <= last."""

    lag: int
    first: int
    last: int

    @property
    def covered(self) -> int:
        """The length of what repeats."""
        return self.last - self.first + 1


def periods(fine: np.ndarray, plain: np.ndarray) -> list[Period]:
    """Periods of a sequence coded in two ways: lags by how well the fine codes agree, and runs of the plain ones."""
    found = [longest_run(plain, lag) for lag in _lags(fine)]
    return [p for p in found if p.covered >= LEAST_REPEATS * p.lag]


def _lags(codes: np.ndarray) -> list[int]:
    """The lags at which a sequence agrees best with itself, the shortest first of those that do so equally well."""
    n, most = len(codes), len(codes) // LEAST_REPEATS
    if n <= SHORT:
        together = np.array([np.count_nonzero(codes[lag:] == codes[:-lag]) for lag in range(1, most + 1)])
    else:
        together = _correlations(codes)[1:most + 1]
    score = together / (n - np.arange(1, most + 1))
    return [int(k) + 1 for k in np.argsort(-np.round(score, 2), kind="stable")[:TRIED]]


def _correlations(codes: np.ndarray) -> np.ndarray:
    """About how many places agree at each lag: correlations of random signs in place of the codes."""
    n = len(codes)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (CHANNELS, int(codes.max()) + 1))[:, codes]
    spectrum = np.fft.rfft(signs, 2 * n)
    return np.fft.irfft(np.abs(spectrum) ** 2, 2 * n).mean(axis=0)


def longest_run(codes: np.ndarray, lag: int) -> Period:
    """The longest part of a sequence that agrees with itself `lag` places on."""
    breaks = np.flatnonzero(codes[lag:] != codes[:-lag])
    starts = np.concatenate([[0], breaks + 1])
    lengths = np.concatenate([breaks, [len(codes) - lag]]) - starts
    k = int(np.argmax(lengths))
    return Period(lag, int(starts[k]), int(starts[k] + lengths[k] + lag - 1))
