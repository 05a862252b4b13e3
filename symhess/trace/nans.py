"""Captured constants with a NaN that makes an output NaN whatever the inputs are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symhess.graph.node import CONSTANT, Node, topological
from symhess.trace.session import describe, here

#: elementwise operations that are NaN where an argument is, and those that sum and move elements
_STRICT = frozenset(("add", "sub", "mul", "div", "neg", "abs", "sqrt", "exp", "expm1", "log", "log1p", "sin", "cos",
                     "tan", "tanh", "arctan", "sigmoid", "softplus"))
_LINEAR = frozenset(("sum", "index", "reshape", "scatter", "stack", "contract"))


def certain_nan(outputs: Sequence[Node], constants: dict[Node, str | None]) -> str | None:
    """What to tell about the first of some constants, given with their lines, that makes an output NaN, or None."""
    certain = {c: np.isnan(c.attrs.array) for c in constants}
    causes = {c: c for c in constants}
    for node in topological(outputs) if constants else ():
        for cause in [a for a in node.args if a in certain]:
            where = _reached(node, cause, certain[cause])
            if where is not None and where.any():
                certain[node] = where | certain.get(node, False)
                causes.setdefault(node, causes[cause])
    # a function that returns NaN itself means it
    reached = [out for out in outputs if out in certain and out.op is not CONSTANT]
    return _told(causes[reached[0]], certain[reached[0]], constants) if reached else None


def _reached(node: Node, cause: Node, where: np.ndarray) -> np.ndarray | None:
    """Where `node` is NaN because `cause` is, as far as that is certain."""
    if node.op.name in _STRICT:
        masked = any(a.dtype == np.bool_ or (a.op.name == "cast" and a.args[0].dtype == np.bool_) for a in node.args)
        return None if masked else np.broadcast_to(where, node.shape)
    if node.op.name not in _LINEAR:
        return None
    marks = [where.astype(a.dtype) if a is cause else np.ones(a.shape, a.dtype) for a in node.args]
    if node.op.name == "stack":
        marks = [where.astype(a.dtype) if a is cause else np.zeros(a.shape, a.dtype) for a in node.args]
    return np.asarray(node.op.evaluate(marks, node)) > 0


def _told(cause: Node, where: np.ndarray, lines: dict[Node, str | None]) -> str:
    place = np.argwhere(np.isnan(cause.attrs.array))[0].tolist()
    at = f" at {place}" if place else ""
    share = "the value is" if where.ndim == 0 else f"{where.sum()} of {where.size} numbers of the value are"
    return (f"{share} NaN for every input: a captured constant ({describe(cause)}) is NaN{at}"
            f"{here(lines[cause]) if lines[cause] else ''}; leave it out with np.where or np.nansum")
