"""Broadcasting between nodes: result shapes, size-1 axes, and the sums that undo a broadcast."""

from __future__ import annotations

from collections.abc import Sequence

from symhess.errors import ShapeMismatch
from symhess.graph.node import Node

Shape = tuple[int, ...]


def broadcast_shape(args: Sequence[Node]) -> Shape:
    """The shape of an elementwise operation: equal ranks (or rank 0), each axis of size n or 1."""
    first = args[0].shape
    for a in args:  # most often they are all the same
        if a.shape != first:
            break
    else:
        return first
    rank = max(a.ndim for a in args)
    shape = [1] * rank
    for a in args:
        if a.ndim not in (0, rank):
            raise ShapeMismatch(f"ranks {[b.ndim for b in args]} do not fit together")
        for d, n in enumerate(a.shape):
            if n != 1:
                if shape[d] not in (1, n):
                    raise ShapeMismatch(f"operands could not be broadcast together with shapes "
                                        f"{' '.join(str(b.shape) for b in args)}")
                shape[d] = n
    return tuple(shape)


def narrow(arg: Node, shape: Shape, others: Sequence[Node]) -> Node:
    """Replace an argument that only repeats values along some axes by one with size-1 axes there.

    Only along axes where another argument has the full size, so that the result keeps its shape.
    """
    from symhess.primitives.movement import compressed_axes, reshape, take_axes_once

    if arg.op.name == "constant" and arg.ndim and arg.size == 1 and any(b.shape == shape for b in others):
        return reshape(arg, ())
    if arg.op.name != "index":
        return arg
    source = arg.args[0]
    if source.ndim == 0 and any(b.shape == shape for b in others):
        return source
    axes = [d for d in compressed_axes(arg) if any(b.ndim and b.shape[d] == arg.shape[d] for b in others)]
    return narrow(take_axes_once(arg, axes), shape, others) if axes else arg


def shrink_to(g: Node, shape: Shape) -> Node:
    """Sum g over the axes along which an argument of `shape` was broadcast; the inverse bookkeeping of broadcast."""
    from symhess.primitives.movement import broadcast_to, reshape
    from symhess.primitives.reduction import sum_over

    if g.shape == shape:
        return g
    if not shape:
        return sum_over(g, range(g.ndim))
    if g.ndim == 0:
        return broadcast_to(g, shape)
    axes = [d for d, n in enumerate(g.shape) if n != 1 and shape[d] == 1]
    summed = reshape(sum_over(g, axes), [1 if d in axes else n for d, n in enumerate(g.shape)])
    return summed if summed.shape == shape else broadcast_to(summed, shape)


def insert_leading(arg: Node) -> Node:
    """Add a leading size-1 axis (rank-0 arguments broadcast as they are)."""
    from symhess.primitives.movement import reshape

    return arg if arg.ndim == 0 else reshape(arg, (1, *arg.shape))
