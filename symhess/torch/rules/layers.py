"""Rules of normalisation layers, attention and losses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from symhess.errors import UnsupportedOperation
from symhess.torch.rules.elementwise import absolute, times
from symhess.torch.rules.movement import one_hot
from symhess.torch.rules.table import constant_of, rule
from symhess.trace.scipy_rules import log_softmax
from symhess.trace.session import here


def _normalised(x: Any, axes: tuple[int, ...], eps: float) -> tuple:
    """(x - mean) / sqrt(variance + eps), the mean, and the factor, both with their axes kept."""
    mean = np.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    deviation = np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True) + eps)
    return centred / deviation, mean, 1 / deviation


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


@rule("native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm")
def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float,
               eps: float) -> Any:
    """By the batch's own statistics in training, else by the running ones."""
    channels = lambda v: None if v is None else np.reshape(v, (1, -1, *(1,) * (x.ndim - 2)))
    if not training:
        normal = (x - channels(mean)) / np.sqrt(channels(var) + eps)
        return _affine(normal, channels(weight), channels(bias)), np.zeros(0), np.zeros(0)
    normal, mean, factor = _normalised(x, (0, *range(2, x.ndim)), eps)
    return _affine(normal, channels(weight), channels(bias)), np.reshape(mean, (-1,)), np.reshape(factor, (-1,))


@rule("native_layer_norm")
def layer_norm(x: Any, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    normal, mean, factor = _normalised(x, tuple(range(-len(shape), 0)), eps)
    return _affine(normal, weight, bias), mean, factor


@rule("native_group_norm")
def group_norm(x: Any, weight: Any, bias: Any, N: int, C: int, HxW: int, group: int, eps: float) -> Any:
    parts, mean, factor = _normalised(np.reshape(x, (N, group, -1)), (2,), eps)
    channels = lambda v: None if v is None else np.reshape(v, (1, C, *(1,) * (x.ndim - 2)))
    return _affine(np.reshape(parts, x.shape), channels(weight), channels(bias)), mean[..., 0], factor[..., 0]


@rule("_scaled_dot_product_flash_attention_for_cpu")
def attention(q: Any, k: Any, v: Any, dropout_p: float = 0, is_causal: bool = False, attn_mask: Any = None,
              scale: float | None = None) -> Any:
    """softmax(scale q k^T + mask) v"""
    if dropout_p:
        raise UnsupportedOperation("attention with dropout in training mode draws its mask within one operation, where "
                                   f"nobody sees it{here()}; set dropout to 0, or call .eval()")
    scores = np.matmul(q, np.swapaxes(k, -1, -2)) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if is_causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    scores = scores if attn_mask is None else scores + attn_mask
    return np.matmul(np.exp(log_softmax(scores, -1)), v), None


@rule("_thnn_fused_lstm_cell")
def lstm_cell(x: Any, h: Any, c: Any, b: Any = None, d: Any = None) -> Any:
    """The cell of an LSTM, from its gates: what it returns, and its state."""
    i, f, g, o = _gates(x, h, b, d, 4)
    c = special.expit(f) * c + special.expit(i) * np.tanh(g)
    return special.expit(o) * np.tanh(c), c, None


@rule("_thnn_fused_gru_cell")
def gru_cell(x: Any, h: Any, state: Any, b: Any = None, d: Any = None) -> Any:
    """The cell of a GRU, from its gates."""
    xs, hs = (np.split(v if w is None else v + w, 3, axis=-1) for v, w in ((x, b), (h, d)))
    r, z = (special.expit(p + q) for p, q in zip(xs[:2], hs[:2]))
    n = np.tanh(xs[2] + r * hs[2])
    return n + z * (state - n), None


def _gates(x: Any, h: Any, b: Any, d: Any, count: int) -> list:
    total = x + h
    for bias in (b, d):
        total = total if bias is None else total + bias
    return np.split(total, count, axis=-1)


# -- losses --------------------------------------------------------------------------------------------------------


def reduced(x: Any, reduction: int) -> Any:
    """0: as it is, 1: mean, 2: sum."""
    return (lambda v: v, np.mean, np.sum)[reduction](x)


def smooth_l1(d: Any, beta: float) -> Any:
    size = absolute(d)
    return size if beta == 0 else np.where(size < beta, 0.5 / beta * d * d, size - 0.5 * beta)


def huber(d: Any, delta: float) -> Any:
    size = absolute(d)
    return np.where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta))


def binary_cross_entropy(p: Any, y: Any) -> Any:
    """-(y log p + (1 - y) log(1 - p)), logarithms bounded by -100."""
    bounded = lambda v: np.where(v < -100, -100, v)
    return -(y * bounded(np.log(p)) + (1 - y) * bounded(np.log1p(-p)))


rule("mse_loss")(lambda x, y, reduction=1: reduced((x - y) * (x - y), reduction))
rule("smooth_l1_loss")(lambda x, y, reduction=1, beta=1.0: reduced(smooth_l1(x - y, beta), reduction))
rule("huber_loss")(lambda x, y, reduction=1, delta=1.0: reduced(huber(x - y, delta), reduction))
rule("soft_margin_loss")(lambda x, y, reduction=1: reduced(np.logaddexp(0, -y * x), reduction))


@rule("binary_cross_entropy")
def bce(p: Any, y: Any, weight: Any = None, reduction: int = 1) -> Any:
    loss = binary_cross_entropy(p, y)
    return reduced(loss if weight is None else loss * weight, reduction)


@rule("binary_cross_entropy_with_logits")
def bce_with_logits(x: Any, y: Any, weight: Any = None, pos_weight: Any = None, reduction: int = 1) -> Any:
    """(1 - y) x + (1 + (w - 1) y) softplus(-x)"""
    factor = 1 if pos_weight is None else (pos_weight - 1) * y + 1
    loss = (1 - y) * x + times(factor, np.logaddexp(0, -x))
    return reduced(loss if weight is None else loss * weight, reduction)


@rule("nll_loss_forward nll_loss2d_forward")
def nll_loss(x: Any, target: Any, weight: Any, reduction: int, ignore: int) -> Any:
    """-w[t] x[t] for each sample, and the sum of the weights; axis 1 holds the classes (axis 0 of a single sample)."""
    x = np.moveaxis(x, 1 if x.ndim > 1 else 0, -1)
    counted, known = target != ignore, constant_of(target)
    if known is not None:
        picked = np.where(known == ignore, 0, known)
        found = x[(*np.indices(known.shape, sparse=True), picked)]
    else:
        found = np.sum(np.where(one_hot(target, x.shape[-1]), x, 0), axis=-1)
    each: Any = counted.astype(x.dtype)
    if weight is not None:
        each = each * (weight[picked] if known is not None else np.sum(
            np.where(one_hot(target, x.shape[-1]), weight, 0), axis=-1))
    total = np.sum(each)
    losses = -np.where(counted, found * each, 0)
    return (losses if reduction == 0 else np.sum(losses) / total if reduction == 1 else np.sum(losses)), total
