"""A trace within a trace: fresh inputs stand for expressions of the outer one, whose values and guards they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symhess.errors import ConcretizationError
from symhess.graph.node import Node
from symhess.primitives.rebuild import substituted
from symhess.trace.session import Guard, current_session


def values_of(fresh: Sequence[Node], actual: Sequence[Node]) -> dict[Node, np.ndarray] | None:
    """Values of the fresh inputs for this call, where the outer trace knows those of the expressions."""
    session = current_session()
    if session is None or session.values is None:
        return None
    known = dict(session.values)
    try:
        known.update({f: session.value(a, "a transform", "") for f, a in zip(fresh, actual)})
    except ConcretizationError:  # inside vmap: every row has its own value
        return None
    return known


def pass_on_guards(guards: Sequence[Guard], mapping: dict[Node, Node]) -> None:
    """Record the guards of the inner trace in the outer one, in terms of its own expressions."""
    session = current_session()
    if session is not None:
        for g in guards:
            session.record(substituted([g.node], mapping)[0], g.outcome, g.what, g.source)
