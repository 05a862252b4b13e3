"""Products of the steps between: how what is put into one step of a linear recurrence comes out of each later one.

    M[t, i, j, k] = (c_t a_{t-1} ... a_{j+1} b_j)[i, k]    for j before t,    0 elsewhere

a has shape (T, d, d), b (T, d, m), c (T, r, d). Steps run backwards in a reversed one. The states of all columns so far
are carried along, s_{t+1} = [a_t s_t, b_t], so every pair of steps costs d (d + r) products, and later columns nothing.
Its derivatives and batches are those of the loop that says the same.

Eidelman and Gohberg, "On a new class of structured matrices" (1999), on matrices of this form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symhess.differentiate import batch, pullback, pushforward
from symhess.errors import DTypeMismatch, ShapeMismatch
from symhess.graph.node import Node, Primitive, constant, input_node, make, register
from symhess.loops.looping import looped
from symhess.primitives import apply, einsum, is_zero, reshape, zeros
from symhess.primitives.control import STEP, Loop, Output, Phase
from symhess.primitives.rebuild import substituted

Shape = tuple[int, ...]


def semiseparable(a: Node, b: Node, c: Node, reverse: bool = False) -> Node:
    """The matrix of shape (T, r, T, m)."""
    if is_zero(b) or is_zero(c) or b.shape[0] < 2:
        return zeros(_shape(b, c), b.dtype)
    return make(SEMISEPARABLE, (a, b, c), bool(reverse))


def _shape(b: Node, c: Node) -> Shape:
    return c.shape[0], c.shape[1], b.shape[0], b.shape[2]


def _infer(args: Sequence[Node], reverse: bool) -> tuple[Shape, np.dtype]:
    a, b, c = args
    if any(v.ndim != 3 for v in args) or not (len({v.shape[0] for v in args}) == 1
                                              and a.shape[1] == a.shape[2] == b.shape[1] == c.shape[2]):
        raise ShapeMismatch(f"semiseparable takes (T, d, d), (T, d, m) and (T, r, d), got "
                            f"{', '.join(str(v.shape) for v in args)}")
    if len({v.dtype for v in args}) > 1:
        raise DTypeMismatch(f"semiseparable got dtypes {', '.join(str(v.dtype) for v in args)}")
    return _shape(b, c), b.dtype


def _evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    (a, b, c), out = arrays, np.zeros(node.shape, node.dtype)
    state, order = np.zeros(b.transpose(1, 0, 2).shape, node.dtype), range(len(a))
    done: list[int] = []
    for t in reversed(order) if node.attrs else order:
        out[t][:, done] = np.einsum("id,djm->ijm", c[t], state[:, done])
        state[:, done] = np.einsum("de,ejm->djm", a[t], state[:, done])
        state[:, t] = b[t]
        done.append(t)
    return out


def as_loop(a: Node, b: Node, c: Node, reverse: bool) -> Node:
    """The same as a loop over the steps, which carries the states of all columns."""
    steps, d, m = b.shape
    by, put, read = (input_node(name, v.shape[1:], v.dtype) for name, v in (("a", a), ("b", b), ("c", c)))
    state = input_node("state", (d, steps, m), b.dtype)
    here = apply("equal", reshape(constant(np.arange(steps)), (1, steps, 1)), STEP)
    new = apply("where", here, reshape(put, (d, 1, m)), einsum("de,ejm->djm", by, state))
    phase = Phase(reverse, (state,), (new,), (einsum("id,djm->ijm", read, state),))
    loop = Loop(steps, None, (), (by, put, read), (phase,), (Output(0, 0, True),))
    (made,) = looped(loop, {by: a, put: b, read: c, state: zeros(state.shape, b.dtype)})
    return made


def _expanded(node: Node) -> tuple[Node, list[Node]]:
    """The loop over arguments of its own, and these: equal arguments of the node are told apart."""
    a, b, c = slots = [input_node("argument", v.shape, v.dtype) for v in node.args]
    return as_loop(a, b, c, node.attrs), slots


def _batch(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    loop, slots = _expanded(node)
    size = next(a.shape[0] for a, more in zip(args, added) if more)
    moved = batch([loop], {s: a for s, a, more in zip(slots, args, added) if more}, size)
    return substituted(moved, {s: a for s, a, more in zip(slots, args, added) if not more})[0]


def _jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    loop, slots = _expanded(node)
    moved = pushforward([loop], {s: t for s, t in zip(slots, tangents) if t is not None})
    return substituted(moved, dict(zip(slots, node.args)))[0]


def _vjp(node: Node, g: Node) -> list[Node | None]:
    loop, slots = _expanded(node)
    return list(substituted(pullback([loop], [g], slots), dict(zip(slots, node.args))))


def _extents(node: Node) -> tuple[int, int, int, int, bool]:
    """(steps, d, r, m, reversed)."""
    a, b, c = (v.shape for v in node.args)
    return a[0], a[1], c[1], b[2], node.attrs


def _flops(node: Node) -> float:
    steps, d, r, m, _ = _extents(node)
    return steps * steps * m * d * (d + r)


SEMISEPARABLE = register(Primitive(
    "semiseparable", _infer, _evaluate, family="recurrence", vjp=_vjp, jvp=_jvp, batch=_batch,
    extra={"kernel": "semiseparable", "params": _extents, "flops": _flops},
))
