"""Rules of operations that make tensors, change shapes, and read or write parts by constant positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from symhess.rules import stop_gradient
from symhess.torch.rules.table import constant_of, enter, rule, shaped

enter("zeros_like new_zeros empty_like new_empty new_empty_strided", lambda outs, *args, **kwargs: 0)
enter("ones_like new_ones", lambda outs, *args, **kwargs: 1)
rule("full_like fill")(lambda x, value: value)
rule("new_full")(lambda x, size, value: value)
rule("zero")(lambda x: 0)


def made(op: Any) -> Any:
    """The rule of an operation that makes a tensor of nothing: PyTorch makes it."""
    def rule(outs: Any, *args: Any, **kwargs: Any) -> Any:
        return op(*args, dtype=outs[0].dtype).numpy()

    return rule


for _name in ("zeros", "ones", "full", "arange", "eye", "linspace", "logspace", "scalar_tensor"):
    enter(_name, made(getattr(torch.ops.aten, _name)))
enter("empty empty_strided", lambda outs, *args, **kwargs: 0)

# -- views ---------------------------------------------------------------------------------------------------------

rule("alias detach lift_fresh lift _conj resolve_conj resolve_neg")(lambda x: x)
shaped("view _unsafe_view reshape _reshape_alias squeeze")(lambda out, x, *_: np.reshape(x, out.shape))
shaped("expand")(lambda out, x, size, implicit=False: np.broadcast_to(x, out.shape))
rule("permute")(lambda x, dims: np.transpose(x, dims))
rule("transpose")(lambda x, a, b: np.swapaxes(x, a, b) if x.ndim else x)
rule("t")(lambda x: np.transpose(x))
rule("unsqueeze")(lambda x, dim: np.expand_dims(x, dim))
rule("diagonal")(lambda x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2))
rule("slice")(lambda x, dim=0, start=None, end=None, step=1: x[along(x, dim, slice(start, end, step))])
rule("select")(lambda x, dim, index: x[along(x, dim, index)])


def along(x: Any, dim: int, key: Any) -> tuple:
    """The key that indexes one axis; an ellipsis makes a view of one element, too."""
    return (*(slice(None),) * (dim % x.ndim), key, ...)


def sections(x: Any, sizes: Any, dim: int) -> list:
    ends = np.cumsum(sizes)
    return [x[along(x, dim, slice(int(end - n), int(end)))] for n, end in zip(sizes, ends)]


@rule("split unsafe_split")
def split(x: Any, size: int, dim: int = 0) -> list:
    n = x.shape[dim]
    return sections(x, [min(size, n - k) for k in range(0, n, size)] or [0], dim)


rule("split_with_sizes unsafe_split_with_sizes")(lambda x, sizes, dim=0: sections(x, sizes, dim))
rule("unbind")(lambda x, dim=0: [x[along(x, dim, k)] for k in range(x.shape[dim])])


@rule("unfold")
def unfold(x: Any, dim: int, size: int, step: int) -> Any:
    """Windows along an axis, as a new last axis."""
    if not x.ndim:
        return np.reshape(x, (1,))
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=dim)
    return windows[along(windows, dim % x.ndim, slice(None, None, step))]


# -- copies --------------------------------------------------------------------------------------------------------

rule("clone contiguous _to_copy")(lambda x: np.copy(x))
rule("flip")(lambda x, dims: np.flip(x, tuple(dims)) if dims else np.copy(x))
rule("tril")(lambda x, diagonal=0: np.tril(x, diagonal))
rule("triu")(lambda x, diagonal=0: np.triu(x, diagonal))
rule("stack")(lambda xs, dim=0: np.stack(xs, dim))
rule("repeat tile")(lambda x, repeats: np.tile(x, repeats))
rule("roll")(lambda x, shifts, dims=(): np.roll(x, shifts if len(shifts) > 1 else shifts[0], tuple(dims) or None))
shaped("copy")(lambda out, x, source, non_blocking=False: np.broadcast_to(source, out.shape))


@rule("cat concat")
def cat(xs: list, dim: int = 0) -> Any:
    """Empty tensors of one axis go with every shape."""
    return np.concatenate([x for x in xs if x.shape != (0,)] or xs[:1], dim)


@rule("constant_pad_nd")
def pad(x: Any, widths: Any, value: float = 0) -> Any:
    """Negative widths cut off."""
    pairs = [(0, 0)] * (x.ndim - len(widths) // 2) + list(zip(widths[::2], widths[1::2]))[::-1]
    for d, (before, after) in enumerate(pairs):
        x = x[along(x, d, slice(max(-before, 0), x.shape[d] + min(after, 0)))]
    return np.pad(x, [(max(a, 0), max(b, 0)) for a, b in pairs], constant_values=value)


def _mirror(mode: str) -> Any:
    return lambda x, widths: np.pad(x, [(0, 0)] * (x.ndim - len(widths) // 2)
                                    + list(zip(widths[::2], widths[1::2]))[::-1], mode=mode)


rule("reflection_pad1d reflection_pad2d reflection_pad3d")(_mirror("reflect"))
rule("replication_pad1d replication_pad2d replication_pad3d")(_mirror("edge"))


def written(x: Any, key: Any, value: Any) -> Any:
    """A copy of x in which a part has another value."""
    made = np.copy(x)
    made[key] = value
    return made


rule("slice_scatter")(lambda x, source, dim=0, start=None, end=None, step=1: written(
    x, along(x, dim, slice(start, end, step)), source))
@rule("diagonal_scatter")
def diagonal_scatter(x: Any, source: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    made = np.copy(x)
    np.diagonal(made, offset, dim1, dim2)[...] = source
    return made


rule("take")(lambda x, i: index(np.reshape(x, (-1,)), [i]))
rule("select_scatter")(lambda x, source, dim, index: written(x, along(x, dim, index), source))


# -- positions -----------------------------------------------------------------------------------------------------


def combined(x: Any, indices: list) -> tuple[list[int], Any, Any, int]:
    """(order of axes, array, positions, axis): index arrays as one into an axis of all the axes that they index."""
    axes = [d for d, i in enumerate(indices) if i is not None]
    first = axes[0] if axes == list(range(axes[0], axes[-1] + 1)) else 0
    rest = [d for d in range(x.ndim) if d not in axes]
    order = [*rest[:first], *axes, *rest[first:]]
    x = np.transpose(x, order)
    sizes = x.shape[first:first + len(axes)]
    position: Any = 0
    for d, n in zip(axes, sizes):
        index = indices[d]
        position = position * n + (index if len(axes) == 1 else np.where(index < 0, index + n, index))
    return order, np.reshape(x, (*x.shape[:first], math.prod(sizes), *x.shape[first + len(axes):])), position, first


@rule("index _unsafe_index")
def index(x: Any, indices: list) -> Any:
    known = [None if i is None else constant_of(i) for i in indices]
    if all((i is None) == (k is None) for i, k in zip(indices, known)):
        return x[tuple(slice(None) if k is None else k for k in known)]
    _, merged, position, axis = combined(x, indices)
    return merged[(*(slice(None),) * axis, position)]


rule("index_select")(lambda x, dim, i: index(x, [None] * (dim % x.ndim) + [i]) if x.ndim else np.copy(x))


@rule("embedding")
def embedding(weight: Any, i: Any, padding: int = -1, scale_grad: bool = False, sparse: bool = False) -> Any:
    """The rows of a table; that of the padding is a constant."""
    rows = index(weight, [i])
    return rows if padding < 0 else np.where(np.expand_dims(i == padding, -1), stop_gradient(rows), rows)


def one_hot(i: Any, size: int) -> Any:
    """[i = k] for k = 0, .., size - 1 along a new last axis."""
    return np.expand_dims(i, -1) == np.arange(size)


@rule("_embedding_bag _embedding_bag_forward_only")
def embedding_bag(weight: Any, i: Any, offsets: Any, scale_grad: bool = False, mode: int = 0, sparse: bool = False,
                  weights: Any = None, include_last: bool = False, padding: int = -1) -> Any:
    """Sums (mode 0) or means (1) of the rows in each bag; bags begin at the offsets."""
    if mode == 2:
        return None, None, None, None
    starts = offsets[:-1] if include_last else offsets
    bag = np.sum(np.arange(len(i))[:, None] >= starts, axis=1) - 1
    member = (np.arange(len(starts))[:, None] == bag) & (i != padding)
    member = member.astype(weight.dtype)
    rows = index(weight, [i])
    total = np.matmul(member, rows if weights is None else rows * weights[:, None])
    if mode == 1:
        total = total / np.maximum(np.sum(member, axis=1), 1)[:, None]
    return total, None, None, None


@rule("gather")
def gather(x: Any, dim: int, i: Any, sparse_grad: bool = False) -> Any:
    """x at positions along one axis; i may be smaller along the others."""
    if not x.ndim:
        return np.copy(x)
    dim, known = dim % x.ndim, constant_of(i)
    if not i.size:
        return np.zeros(i.shape)
    x = x[tuple(slice(None) if d == dim else slice(0, n) for d, n in enumerate(i.shape))]
    if known is not None:
        return np.take_along_axis(x, known, dim)
    rows, places = np.moveaxis(x, dim, -1), np.moveaxis(i, dim, -1)
    found = np.sum(np.where(one_hot(places, rows.shape[-1]), np.expand_dims(rows, -2), 0), axis=-1)
    return np.moveaxis(found, -1, dim)


@rule("sort topk kthvalue mode median nanmedian cummax cummin")
def selected(x: Any, dim: int | None, positions: Any) -> Any:
    """The elements at positions that were looked up while the function ran."""
    if dim is None or not x.ndim:
        return np.reshape(gather(np.reshape(x, (-1,)), 0, np.reshape(positions, (-1,))), positions.shape), None
    if positions.ndim == x.ndim:
        return gather(x, dim, positions), None
    return np.squeeze(gather(x, dim, np.expand_dims(positions, dim)), dim), None


def _in_planes(rank: int) -> Any:
    def picked(x: Any, dim: Any, positions: Any) -> Any:
        flat, places = (np.reshape(v, (*v.shape[:-rank], -1)) for v in (x, positions))
        return np.reshape(gather(flat, -1, places), positions.shape), None

    return picked


rule("adaptive_max_pool2d fractional_max_pool2d")(_in_planes(2))
rule("adaptive_max_pool3d fractional_max_pool3d")(_in_planes(3))


def last(hits: Any) -> Any:
    """Of the elements that go to one place, along the last axis, the last one."""
    number = np.arange(hits.shape[-1])
    return hits & (np.max(np.where(hits, number, -1), axis=-1, keepdims=True) == number)


def _spread(x: Any, dim: int, i: Any, source: Any) -> tuple[Any, Any]:
    """(hits, values): whether an element of `source` goes to an element of x, and the elements; a last axis of i."""
    lead = np.moveaxis(i, dim, -1)
    hits = np.moveaxis(one_hot(lead, x.shape[dim]), -2, -1)  # (others, size of x, size of i)
    cells = np.moveaxis(np.broadcast_to(source, i.shape), dim, -1)
    return hits, np.expand_dims(cells, -2)


def _padded(part: Any, x: Any, dim: int) -> Any:
    """Along axes where i is smaller than x, zeros (or False) follow."""
    part = np.moveaxis(part, -1, dim)
    return np.pad(part, [(0, n - m) for n, m in zip(x.shape, part.shape)])


@rule("scatter scatter.src scatter.value")
def scatter(x: Any, dim: int, i: Any, source: Any) -> Any:
    """x with other elements along an axis; of several for one place the last one counts."""
    dim, known = dim % x.ndim, constant_of(i)
    if known is not None:
        key = list(np.indices(known.shape, sparse=True))
        key[dim] = known
        part = source if np.ndim(source) == 0 else source[tuple(slice(0, n) for n in known.shape)]
        return written(x, tuple(key), part)
    if np.ndim(source):
        source = source[tuple(slice(0, n) for n in i.shape)]
    hits, values = _spread(x, dim, i, source)
    hits = last(hits)
    hit = _padded(np.any(hits, axis=-1), x, dim)
    return np.where(hit, _padded(np.sum(np.where(hits, values, 0), axis=-1), x, dim), x)


@rule("scatter_add")
def scatter_add(x: Any, dim: int, i: Any, source: Any) -> Any:
    dim = dim % x.ndim
    hits, values = _spread(x, dim, i, source[tuple(slice(0, n) for n in i.shape)])
    return x + _padded(np.sum(np.where(hits, values, 0), axis=-1), x, dim)


@rule("scatter_reduce")
def scatter_reduce(x: Any, dim: int, i: Any, source: Any, reduce: str, include_self: bool = True) -> Any:
    """Elements that go to one place, and what was there, reduced."""
    dim = dim % x.ndim
    hits, values = _spread(x, dim, i, source[tuple(slice(0, n) for n in i.shape)])
    hit = _padded(np.any(hits, axis=-1), x, dim)
    neutral, function, pair = {
        "sum": (0, np.sum, np.add), "mean": (0, np.sum, np.add), "prod": (1, np.prod, np.multiply),
        "amax": (-math.inf, np.max, np.maximum), "amin": (math.inf, np.min, np.minimum)}[reduce]
    found = _padded(function(np.where(hits, values, neutral), axis=-1), x, dim)
    start = x if include_self else np.where(hit, neutral, x)
    total = np.where(hit, pair(start, found), x)
    if reduce != "mean":
        return total
    count = _padded(np.sum(hits, axis=-1), x, dim) + (1 if include_self else 0)
    return total / np.maximum(count, 1)


@rule("index_add")
def index_add(x: Any, dim: int, i: Any, source: Any, alpha: Any = 1) -> Any:
    if not x.ndim:
        return x + alpha * np.sum(source)
    hits = one_hot(i, x.shape[dim]).astype(x.dtype)  # (m, n)
    moved = np.moveaxis(np.tensordot(np.moveaxis(source, dim, -1), hits, 1), -1, dim)
    return x + alpha * moved


@rule("index_put _index_put_impl _unsafe_index_put")
def index_put(x: Any, indices: list, values: Any, accumulate: bool = False, unsafe: bool = False) -> Any:
    """Into masked places, or places that are known."""
    if len(indices) == 1 and indices[0].dtype == np.bool_:
        mask = np.reshape(indices[0], indices[0].shape + (1,) * (x.ndim - indices[0].ndim))
        return np.where(mask, x + values if accumulate else values, x)
    known = [None if i is None else constant_of(i) for i in indices]
    if not all((i is None) == (k is None) for i, k in zip(indices, known)):
        return _put_anywhere(x, indices, values, accumulate)
    key = tuple(slice(None) if k is None else k for k in known)
    if not accumulate:
        return written(x, key, values)
    from symhess.trace.assignment import scattered

    return x + scattered(x, key, values)


def _put_anywhere(x: Any, indices: list, values: Any, accumulate: bool) -> Any:
    """Into places that are looked up: products with truth values."""
    order, merged, position, axis = combined(x, indices)
    count = int(np.prod(position.shape))
    shape = (*merged.shape[:axis], *position.shape, *merged.shape[axis + 1:])
    values = np.reshape(np.broadcast_to(values, shape), (*merged.shape[:axis], count, *merged.shape[axis + 1:]))
    places, n = np.reshape(position, (-1,)), merged.shape[axis]
    hits = np.transpose(one_hot(np.where(places < 0, places + n, places), n))  # (n, count)
    rows, added = np.moveaxis(merged, axis, 0), np.moveaxis(values, axis, 0)
    if accumulate:
        found = rows + np.tensordot(hits.astype(x.dtype), added, 1)
    else:
        hits = last(hits)
        hit = np.reshape(np.any(hits, axis=-1), (-1, *(1,) * (rows.ndim - 1)))
        found = np.where(hit, np.tensordot(hits.astype(x.dtype), added, 1), rows)
    parts = np.reshape(np.moveaxis(found, 0, axis), [x.shape[d] for d in order])
    return np.transpose(parts, np.argsort(order))
