"""The NumPy interpreter of a Program: the reference for every compiled kernel, and the engine of autograd mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symhess.errors import ShapeMismatch
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.node import Node
from symhess.plan.program import Buffer, Program


def run_program(program: Program, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The output buffers of `program` for the given input arrays: evaluate all values, then do the writes."""
    if len(arrays) != len(program.inputs):
        raise ShapeMismatch(f"the program has {len(program.inputs)} inputs, {len(arrays)} arrays were given")
    known = dict(zip(program.inputs, map(np.asarray, arrays)))
    roots = list(dict.fromkeys(program.roots()))
    values = dict(zip(roots, evaluate_nodes(roots, known)))
    return [filled(buffer, values) for buffer in program.outputs]


def filled(buffer: Buffer, values: dict[Node, np.ndarray]) -> np.ndarray:
    """A new array with the writes of `buffer` done in order; elements that nothing writes are zero."""
    out = np.zeros(buffer.shape, buffer.dtype)
    flat = out.reshape(-1)
    for w in buffer.writes:
        if w.accumulate:
            np.add.at(flat, w.position.values(), values[w.value])
        else:
            flat[w.position.values()] = values[w.value]
    return mirrored(out, buffer.mirror) if buffer.mirror else out


def mirrored(out: np.ndarray, which: str) -> np.ndarray:
    """The "lower" or "upper" triangle of (..., n, n) copied over the other one."""
    lower = np.tril(out if which == "lower" else np.swapaxes(out, -1, -2))
    return lower + np.swapaxes(np.tril(lower, -1), -1, -2)
