"""Splitting classes by the role that their members play, so that each role is an array of its own.

In (x_i - x_j)**2 + (y_i - y_j)**2 the two squares are one class; as one array they would be interleaved. Where every
member has one user, the class is split by (class of the user, argument slot), from the outputs down.
"""

from __future__ import annotations

import itertools

import numpy as np

from symhess.simplify.classes import LEAST, Classes, is_commutative, ordered_members


def split_by_role(classes: Classes) -> None:
    """Refine the classes in place; classes of arguments keep smaller numbers than those of their users."""
    users = _Users(classes)
    color = classes.of.copy()
    fresh = itertools.count(len(classes.keys))
    origin = list(range(len(classes.keys)))
    for c in range(len(classes.keys) - 1, -1, -1):
        members = classes.members[c]
        if len(members) < LEAST or classes.kind(c) in ("constant", "index"):
            continue
        parts = [np.arange(len(members))]
        if users.count[members].max() == 1 and users.count[members].min() == 1:
            parts = _parts(color[users.user[members]], users.slot[members])
        for part in parts[1:]:
            color[members[part]] = next(fresh)
            origin.append(c)
        slots = users.sorted_slots(c)
        classes.columns |= {int(members[part[0]]): slots[part] for part in parts if slots is not None}
    _renumber(classes, color, np.array(origin))


class _Users:
    """Who uses each node, and in which slot (meaningful where there is one user)."""

    def __init__(self, classes: Classes):
        self.classes = classes
        n = len(classes.order)
        shown = [s if c >= 0 else () for s, c in zip(classes.slots, classes.of.tolist())]
        child = np.fromiter(itertools.chain.from_iterable(shown), np.int64)
        user = np.repeat(np.arange(n), [len(s) for s in shown])
        again = np.zeros(len(child), bool)
        again[1:] = (child[1:] == child[:-1]) & (user[1:] == user[:-1])
        self.count = np.bincount(child[~again], minlength=n)
        self.user = np.zeros(n, np.int64)
        self.user[child] = user
        self.slot = np.zeros(n, np.int64)

    def sorted_slots(self, c: int) -> np.ndarray | None:
        """Arguments of a large class, exchangeable ones in the order of their own class; notes who is in which slot."""
        classes, members = self.classes, self.classes.members[c].tolist()
        rows = [classes.slots[k] for k in members]
        if classes.kind(c) == "total":
            self.slot[list(itertools.chain.from_iterable(rows))] = [s for k in members for s in classes.signs[k]]
            return None
        slots = np.array(rows)
        for run in _exchangeable(classes, c, slots[0]):
            ranked = np.argsort(classes.position[slots[:, run]], axis=1, kind="stable")
            slots[:, run] = np.take_along_axis(slots[:, run], ranked, axis=1)
        for s in range(slots.shape[1] - 1, -1, -1):
            self.slot[slots[:, s]] = s
        return slots


def _exchangeable(classes: Classes, c: int, first: np.ndarray) -> list[np.ndarray]:
    """Slots that may trade places, by group: equal terms of a sum, equal arguments of a commutative operation."""
    if classes.kind(c) == "sum":
        codes = np.array(classes.keys[c][1])
    elif is_commutative(classes.order[classes.members[c][0]]):
        codes = classes.of[first]
    else:
        return []
    runs = np.split(np.arange(len(codes)), np.flatnonzero(np.diff(codes)) + 1)
    return [run for run in runs if len(run) > 1]


def _parts(users: np.ndarray, slots: np.ndarray) -> list[np.ndarray]:
    """Positions of the members in each role, the largest first; roles too small for an array join the largest."""
    codes = users * (slots.max() + 2) + slots + 1
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    largest = int(np.argmax(counts))
    role = np.where(counts[inverse] < LEAST, largest, inverse)
    others = [r for r in np.unique(role).tolist() if r != largest]
    return [np.flatnonzero(role == r) for r in (largest, *others)]


def _renumber(classes: Classes, color: np.ndarray, origin: np.ndarray) -> None:
    ranked = np.argsort(origin, kind="stable")
    number = np.empty(len(origin), np.int64)
    number[ranked] = np.arange(len(origin))
    classes.of = np.where(color >= 0, number[color], -1)
    classes.keys = [classes.keys[c] for c in origin[ranked].tolist()]
    classes.members, classes.position = ordered_members(classes.of, classes.position, len(origin))
