"""The same functions of plain numbers, as Python loops: what they compute where nothing is traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.errors import DTypeMismatch, ShapeMismatch
from symhess.graph.pytrees import flatten, leaf_paths, unflatten
from symhess.trace import trace
from symhess.trace.session import current_session, here
from symhess.trace.tracing import name_of


def called(fn: Callable, args: tuple) -> Any:
    """The function of its arguments, as part of the running trace if there is one."""
    session = current_session()
    return fn(*args) if session is None else session.rewriter.replace(fn)(*args)


def steps_of(shapes: Sequence[tuple[int, ...]], paths: Sequence[str], length: int | None) -> int:
    """The number of steps of a scan."""
    for shape, path in zip(shapes, paths):
        if not shape:
            raise ShapeMismatch(f"scan: xs{path} is a number; it needs a leading axis, with one entry per step{here()}")
    counts = {shape[0]: f"xs{path}" for shape, path in zip(shapes, paths)}
    if length is not None:
        counts[int(length)] = "length"
    if len(counts) > 1:
        raise ShapeMismatch(f"scan: different numbers of steps, {', '.join(f'{n} by {w}' for n, w in counts.items())}"
                            f"{here()}")
    if not counts:
        raise ShapeMismatch(f"scan: without xs it needs length=, the number of steps{here()}")
    (count,) = counts
    if count < 0:
        raise ShapeMismatch(f"scan: length={count}{here()}")
    return count


def pair(result: Any, f: Callable) -> tuple[Any, Any]:
    """What a step of a scan returns."""
    if not isinstance(result, tuple) or len(result) != 2:
        got = f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__}"
        raise ShapeMismatch(f"{name_of(f)} must return a pair (carry, y), it returned {got}{here()}")
    return result


class State:
    """A carry, and the check that steps keep its structure, shapes and dtypes."""

    def __init__(self, value: Any, fn: Callable):
        self.value, self.name = value, name_of(fn)
        leaves, self.spec = flatten(value)
        self.paths = leaf_paths(value)
        self.kinds = [(np.shape(x), None if type(x) in (bool, int, float) else np.asarray(x).dtype) for x in leaves]

    def becomes(self, value: Any) -> None:
        """The carry after a step."""
        leaves, spec = flatten(value)
        if spec != self.spec:
            raise ShapeMismatch(f"{self.name} must return a carry of the structure of its first value, {self.spec}, "
                                f"it returned {spec}")
        for k, (x, path, (shape, dtype)) in enumerate(zip(leaves, self.paths, self.kinds)):
            found = np.asarray(x).dtype
            if np.shape(x) != shape:
                raise ShapeMismatch(f"carry{path} has shape {shape}, but {self.name} returns shape {np.shape(x)} for "
                                    "it; a carry keeps its shape in every step")
            if dtype is None and type(x) not in (bool, int, float):
                self.kinds[k] = (shape, found)
            elif dtype is not None and found != dtype and type(x) not in (bool, int, float):
                raise DTypeMismatch(f"carry{path} has dtype {dtype}, but {self.name} returns {found} for it; convert "
                                    "one of them by astype")
        self.value = value


def scan(f: Callable, init: Any, xs: Any, length: int | None, reverse: bool) -> tuple[Any, Any]:
    """See `symhess.scan`."""
    leaves, spec = flatten(xs)
    count = steps_of([np.shape(x) for x in leaves], leaf_paths(xs), length)
    state, ys = State(init, f), [None] * count
    for t in reversed(range(count)) if reverse else range(count):
        carry, ys[t] = pair(f(state.value, unflatten(spec, [np.asarray(x)[t] for x in leaves])), f)
        state.becomes(carry)
    if not count:
        return init, _no_rows(f, init, leaves, spec)
    columns = zip(*(flatten(y)[0] for y in ys))
    return state.value, unflatten(flatten(ys[0])[1], [np.stack([np.asarray(v) for v in c]) for c in columns])


def _no_rows(f: Callable, init: Any, leaves: Sequence[Any], spec: Any) -> Any:
    """The ys of no steps: their kinds are those that a step would give."""
    rows = [np.zeros(np.shape(x)[1:], np.asarray(x).dtype) for x in leaves]
    y = pair(trace(lambda carry, x: f(carry, x), (init, unflatten(spec, rows))).outputs, f)[1]
    found, shape = flatten(y)
    return unflatten(shape, [np.zeros((0, *n.shape), n.dtype) for n in found])


def while_loop(cond_fun: Callable, body_fun: Callable, init_val: Any) -> Any:
    """See `symhess.while_loop`."""
    state = State(init_val, body_fun)
    while True:
        going = cond_fun(state.value)
        if np.ndim(going):
            raise ShapeMismatch(f"{name_of(cond_fun)} must return one truth value, it returned shape {np.shape(going)}")
        if not going:
            return state.value
        state.becomes(body_fun(state.value))


def fori_loop(lower: int, upper: int, body_fun: Callable, init_val: Any) -> Any:
    """See `symhess.fori_loop`."""
    state = State(init_val, body_fun)
    for i in range(lower, upper):
        state.becomes(body_fun(i, state.value))
    return state.value
