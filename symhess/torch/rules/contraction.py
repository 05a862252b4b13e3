"""Rules of products, convolutions and pooling: windows are views, and what is summed is one contraction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from symhess.graph.maps import axis_map
from symhess.primitives import scatter
from symhess.torch.rules.elementwise import chosen, first_extreme, times, vector_norm
from symhess.torch.rules.table import rule, shaped
from symhess.trace.shaping import traced
from symhess.trace.tracer import wrap

rule("mm bmm mv dot vdot matmul")(lambda a, b: np.matmul(a, b))
rule("addmm addmv baddbmm")(lambda x, a, b, beta=1, alpha=1: times(beta, x) + times(alpha, np.matmul(a, b)))
rule("addbmm")(lambda x, a, b, beta=1, alpha=1: times(beta, x) + times(alpha, np.einsum("bij,bjk->ik", a, b)))
rule("addr")(lambda x, a, b, beta=1, alpha=1: times(beta, x) + times(alpha, np.expand_dims(a, -1) * b))


@rule("_trilinear")
def trilinear(a: Any, b: Any, c: Any, expand1: Sequence[int], expand2: Sequence[int], expand3: Sequence[int],
              sumdim: Sequence[int], unroll_dim: int = 1) -> Any:
    """sum a b c over some axes, each factor without the axes that it is expanded by."""
    rank = a.ndim + len(expand1)
    letters = "abcdefghijkl"[:rank]
    factors = ["".join(k for d, k in enumerate(letters) if d not in gone) for gone in (expand1, expand2, expand3)]
    kept = "".join(k for d, k in enumerate(letters) if d not in sumdim)
    return np.einsum(f"{','.join(factors)}->{kept}", a, b, c)


@rule("_cdist_forward")
def cdist(a: Any, b: Any, p: float = 2, compute_mode: Any = None) -> Any:
    return vector_norm(np.expand_dims(a, -2) - np.expand_dims(b, -3), p, -1)


@rule("_pdist_forward")
def pdist(x: Any, p: float = 2) -> Any:
    i, j = np.triu_indices(len(x), 1)
    return vector_norm(x[i] - x[j], p, -1)


rule("_euclidean_dist")(lambda a, b: cdist(a, b))


# -- windows -------------------------------------------------------------------------------------------------------


def numbers(x: Any, rank: int) -> list[int]:
    """One number for each axis, given as one, as a list of one, or as a list of all."""
    x = list(x) if isinstance(x, list | tuple) else [x]
    return x * rank if len(x) == 1 else x


def windows(x: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Any:
    """The windows over the last axes: (leading axes, places, axes of a window)."""
    rank = len(kernel)
    axes = tuple(range(x.ndim - rank, x.ndim))
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    views = np.lib.stride_tricks.sliding_window_view(x, spans, axis=axes)
    return views[(..., *(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation))]


def padded(x: Any, padding: Sequence[tuple[int, int]], value: float = 0) -> Any:
    """The last axes with a border; one that is negative cuts off."""
    lead = (slice(None),) * (x.ndim - len(padding))
    x = x[(*lead, *(slice(max(-a, 0), n + min(b, 0)) for (a, b), n in zip(padding, x.shape[len(lead):])))]
    if not any(a > 0 or b > 0 for a, b in padding):
        return x
    return np.pad(x, [(0, 0)] * len(lead) + [(max(a, 0), max(b, 0)) for a, b in padding], constant_values=value)


def spaced(x: Any, stride: Sequence[int]) -> Any:
    """Elements of the last axes set apart by zeros: one of `stride` is from x."""
    if all(s == 1 for s in stride):
        return x
    x = traced(x)
    steps = [1] * (x.ndim - len(stride)) + list(stride)
    shape = tuple((n - 1) * s + 1 for n, s in zip(x.shape, steps))
    maps = [axis_map(x.shape, d).scaled(s) for d, s in enumerate(steps)]
    return wrap(scatter(x.node, maps, shape), x)


@rule("convolution _convolution")
def convolution(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
                output_padding: Any, groups: int, *_: Any) -> Any:
    """Over any number of axes; a transposed one is that of the spaced input with the reversed kernel."""
    rank, kernel = weight.ndim - 2, weight.shape[2:]
    stride, padding, dilation = (numbers(v, rank) for v in (stride, padding, dilation))
    border = [(p, p) for p in padding]
    single = x.ndim == rank + 1
    x = np.expand_dims(x, 0) if single else x
    if transposed:
        reach = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding)]
        border = [(r, r + extra) for r, extra in zip(reach, numbers(output_padding, rank))]
        x, weight, stride = spaced(x, stride), _turned(weight, groups), [1] * rank
    x = padded(x, border)
    batch, inputs = x.shape[:2]
    outputs = weight.shape[0]
    x = np.reshape(x, (batch, groups, inputs // groups, *x.shape[2:]))
    weight = np.reshape(weight, (groups, outputs // groups, inputs // groups, *kernel))
    places, cells = "xyz"[:rank], "uvw"[:rank]
    found = np.einsum(f"bgi{places}{cells},goi{cells}->bgo{places}", windows(x, kernel, stride, dilation), weight)
    found = np.reshape(found, (batch, outputs, *found.shape[3:]))
    if bias is not None:
        found = found + np.reshape(bias, (-1, *(1,) * rank))
    return found[0] if single else found


def _turned(weight: Any, groups: int) -> Any:
    """(inputs, outputs / groups, kernel) as (outputs, inputs / groups, reversed kernel)."""
    inputs, outputs, *kernel = weight.shape
    parts = np.reshape(weight, (groups, inputs // groups, outputs, *kernel))
    parts = np.flip(np.swapaxes(parts, 1, 2), tuple(range(3, parts.ndim)))
    return np.reshape(parts, (groups * outputs, inputs // groups, *kernel))


# -- pooling -------------------------------------------------------------------------------------------------------


def _borders(x: Any, places: Sequence[int], kernel: Any, stride: Any, padding: Any, dilation: Any) -> list:
    """The border on both sides of each axis that the windows of all places need (the last may reach beyond)."""
    sizes = x.shape[x.ndim - len(places):]
    return [(p, (m - 1) * s + (k - 1) * d + 1 - n - p)
            for m, n, k, s, p, d in zip(places, sizes, kernel, stride, padding, dilation)]


def _plane(cell: Any, x: Any, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> Any:
    """Numbers of cells within windows as numbers of elements within the last axes of x."""
    rank, flat = len(kernel), 0
    for d in range(rank):
        inner = cell // math.prod(kernel[d + 1:]) % kernel[d]
        starts = np.arange(cell.shape[d - rank]) * stride[d] - padding[d]
        flat = flat * x.shape[d - rank] + np.reshape(starts, (-1, *(1,) * (rank - 1 - d))) + inner * dilation[d]
    return flat


def _pooling(rank: int) -> None:
    """Enter the rules for `rank` axes."""

    def highest(out: Any, x: Any, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
                ceil_mode: bool = False) -> Any:
        kernel, padding, dilation = (numbers(v, rank) for v in (kernel, padding, dilation))
        stride = numbers(stride, rank) if stride else kernel
        border = _borders(x, out.shape[-rank:], kernel, stride, padding, dilation)
        found = windows(padded(x, border, -math.inf), kernel, stride, dilation)
        flat = np.reshape(found, (*found.shape[:-rank], math.prod(kernel)))
        cell = first_extreme(flat, -1)
        return chosen(flat, cell, -1)[..., 0], _plane(cell[..., 0], x, kernel, stride, padding, dilation)

    def average(out: Any, x: Any, kernel: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False,
                count_include_pad: bool = True, divisor_override: int | None = None) -> Any:
        kernel, padding = numbers(kernel, rank), numbers(padding, rank)
        stride = numbers(stride, rank) if stride else kernel
        border = _borders(x, out.shape[-rank:], kernel, stride, padding, [1] * rank)
        cells = tuple(range(-rank, 0))
        total = np.sum(windows(padded(x, border), kernel, stride, [1] * rank), axis=cells)
        if divisor_override is not None:
            return total / divisor_override
        widths = padding if count_include_pad else [0] * rank
        ones = np.pad(np.ones(x.shape[-rank:]), [(w, w) for w in widths], constant_values=1)
        rest = [(a - w, b - w) for (a, b), w in zip(border, widths)]
        return total / np.sum(windows(padded(ones, rest), kernel, stride, [1] * rank), axis=cells)

    shaped(f"max_pool{rank}d_with_indices")(highest)
    shaped(f"avg_pool{rank}d")(average)
    shaped(f"_adaptive_avg_pool{rank}d adaptive_avg_pool{rank}d")(adaptive_average)


def adaptive_average(out: Any, x: Any, size: Any) -> Any:
    """Means over the bins floor(k n / m) <= i < ceil((k + 1) n / m) of each axis: products with constant matrices."""
    rank = len(numbers(size, 1))
    for d, m in zip(range(x.ndim - rank, x.ndim), out.shape[-rank:]):
        n = x.shape[d]
        if n % m == 0:
            x = np.mean(np.reshape(x, (*x.shape[:d], m, n // m, *x.shape[d + 1:])), axis=d + 1)
            continue
        k, i = np.arange(m)[:, None], np.arange(n)
        bins = ((k * n // m <= i) & (i < -(-(k + 1) * n // m))).astype(x.dtype)
        x = np.moveaxis(np.tensordot(x, bins / bins.sum(1, keepdims=True), (d, 1)), -1, d)
    return x


for _rank in (1, 2, 3):
    _pooling(_rank)
