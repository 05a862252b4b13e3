"""Contractions as graph rewrites: n-ary ones into pairs, pairs into matrix products or fused sums of products.

    gemm     u(b, i, j) = sum_k a(b, i, k) c(b, k, j)          operands may be stored transposed
    syrk     u(b, i, j) = sum_k a(b, k, i) w(b, k) a(b, k, j)  half of the work; w may be left out

Labels of a pair fall into four groups: batch (in both and in the result), rows (only in the first), columns (only in
the second), and summed (in both, not in the result).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from symhess.graph.node import Node, Primitive, make, register, rewrite, topological
from symhess.primitives.contraction import CONTRACT, align, contract, label_sizes
from symhess.primitives.elementwise import scale
from symhess.primitives.logsumexp import LOGSUMEXP, expanded
from symhess.primitives.movement import broadcast_to, reshape, transpose
from symhess.primitives.reduction import sum_over

Labels = tuple[int, ...]
Operand = tuple[Node, Labels]
Sizes = dict[int, int]

#: multiplications below which a product is a loop nest
SMALL_PRODUCT = 1 << 14
#: multiplications per matrix below which a batch of products is a loop nest
SMALL_MATRIX = 512
#: rows, columns, or summed elements below which BLAS does not pay
THIN = 4


class GemmAttrs(NamedTuple):
    """Whether each operand is stored transposed: (b, k, i) and (b, j, k)."""

    first: bool
    second: bool


def _turned(shape: Sequence[int], flag: bool) -> tuple[int, int, int]:
    b, m, n = shape
    return (b, n, m) if flag else (b, m, n)


def _gemm_infer(args: Sequence[Node], t: GemmAttrs):
    (b, m, _), (_, _, n) = _turned(args[0].shape, t.first), _turned(args[1].shape, t.second)
    return (b, m, n), args[0].dtype


def _gemm_evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    a, b = (v.transpose(0, 2, 1) if flag else v for v, flag in zip(arrays, node.attrs))
    return a @ b


def _syrk_evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    a = arrays[0].transpose(0, 2, 1) if node.attrs else arrays[0]
    w = arrays[1][:, :, None] if len(arrays) > 1 else 1
    return a.transpose(0, 2, 1) @ (w * a)


def _syrk_infer(args: Sequence[Node], transposed: bool):
    b, _, m = _turned(args[0].shape, transposed)
    return (b, m, m), args[0].dtype


GEMM = register(Primitive("gemm", _gemm_infer, _gemm_evaluate, family="library",
                          extra={"kernel": "gemm", "params": lambda node: tuple(node.attrs)}))
SYRK = register(Primitive("syrk", _syrk_infer, _syrk_evaluate, family="library",
                          extra={"kernel": "syrk", "params": lambda node: (node.attrs,)}))
WEIGHTED_SYRK = register(Primitive("weighted_syrk", _syrk_infer, _syrk_evaluate, family="library",
                                   extra={"kernel": "weighted_syrk", "params": lambda node: (node.attrs,)}))


def lower_contractions(outputs: Sequence[Node]) -> list[Node]:
    """The same values without contract nodes."""
    lowered = rewrite(rewrite(outputs, _split), _lower)
    weighted = any(n.op is CONTRACT for n in topological(lowered))  # weights of symmetric products are such, too
    return lower_contractions(lowered) if weighted else lowered


def _split(node: Node, args: tuple[Node, ...]) -> Node | None:
    """An n-ary contraction as symmetric products and pairs; a logsumexp as its elementary operations."""
    if node.op is LOGSUMEXP:
        return expanded(node, args[0])
    if node.op is not CONTRACT:
        return None
    sizes = label_sizes(node)
    operands = list(zip(args, node.attrs.operands))
    symmetric = symmetric_product(operands, node.attrs.output, sizes)
    if symmetric is not None:
        return symmetric
    return pairwise(operands, node.attrs.output, sizes) if len(args) > 2 else None


def pairwise(operands: list[Operand], output: Labels, sizes: Sizes) -> Node:
    """The contraction done two operands at a time, in the order that the path optimiser finds.

    Of orders that cost the same it takes the first, so what has the last axis of the output comes last: then it is the
    other factor of the last product, whose rows lie as they do in the output.
    """
    import opt_einsum  # most functions have no such contraction

    operands = sorted(operands, key=lambda operand: output[-1:] != () and output[-1] in operand[1])
    name = opt_einsum.get_symbol
    text = ",".join("".join(map(name, ls)) for _, ls in operands) + "->" + "".join(map(name, output))
    shapes = [tuple(sizes[l] for l in ls) for _, ls in operands]
    path, _ = opt_einsum.contract_path(text, *shapes, shapes=True, optimize="auto")
    work = list(operands)
    for step in path[:-1]:
        picked = [work[k] for k in step]
        work = [op for k, op in enumerate(work) if k not in step]
        needed = {l for _, ls in work for l in ls} | set(output)
        labels = tuple(l for l in dict.fromkeys(l for _, ls in picked for l in ls) if l in needed)
        used = {l: sizes[l] for _, ls in picked for l in ls}
        work.append((contract(picked, labels, used), labels))
    return contract(work, output, {l: sizes[l] for _, ls in work for l in ls})


# -- symmetric products --------------------------------------------------------------------------------------------


def with_weights_apart(operands: Sequence[Operand]) -> list[Operand]:
    """Factors of products that do not vary along all axes, as operands of their own."""
    out: list[Operand] = []
    stack = list(reversed(operands))
    while stack:
        v, labels = stack.pop()
        parts = v.args if v.op.name == "mul" and v.ndim else ()
        if any(p.ndim == 0 or p.shape != v.shape for p in parts):
            for p in parts:
                kept = [d for d, n in enumerate(p.shape) if n != 1 or v.shape[d] == 1]
                stack.append((reshape(p, [p.shape[d] for d in kept]), tuple(labels[d] for d in kept)))
        else:
            out.append((v, labels))
    return out


def symmetric_product(operands: Sequence[Operand], output: Labels, sizes: Sizes) -> Node | None:
    """sum_k a(k, i) w(k) a(k, j) where the two factors a are the same node."""
    work = with_weights_apart(operands)
    for q, (v, right) in enumerate(work):
        for p in range(q):
            if work[p][0] is v and v.ndim:
                rest = [op for k, op in enumerate(work) if k not in (p, q)]
                found = _symmetric_pair(v, work[p][1], right, rest, output, sizes)
                if found is not None:
                    return found
    return None


def _symmetric_pair(v: Node, left: Labels, right: Labels, rest: list[Operand], output: Labels,
                    sizes: Sizes) -> Node | None:
    common = [l for l, r in zip(left, right) if l == r]
    rows, columns = ([a for a, b in zip(side, other) if a != b] for side, other in ((left, right), (right, left)))
    batch, summed = [l for l in common if l in output], [l for l in common if l not in output]
    weights = {l for _, ls in rest for l in ls}
    free = set(rows) | set(columns)
    if free & weights or set(rows) & set(columns) or not free <= set(output):
        return None
    if any(l in output and l not in common for l in weights):
        return None
    b, m, k = (math.prod(sizes[l] for l in group) for group in (batch, rows, summed))
    if m < 2 * THIN or k < THIN or b * m * m * k < SMALL_PRODUCT or m * m * k < SMALL_MATRIX:
        return None
    turned = left.index(rows[0]) < left.index(summed[0])
    groups = [batch, rows, summed] if turned else [batch, summed, rows]
    arguments = [folded(v, left, groups, sizes)]
    if rest:
        present = {l: sizes[l] for _, ls in rest for l in ls} | {l: sizes[l] for l in common}
        arguments.append(folded(contract(rest, common, present), tuple(common), [batch, summed], sizes))
    product = make(WEIGHTED_SYRK if rest else SYRK, arguments, turned)
    return unfolded(product, (*batch, *rows, *columns), output, sizes)


def folded(v: Node, labels: Labels, groups: Sequence[Sequence[int]], sizes: Sizes) -> Node:
    """The operand with its labels in the order of the groups, one axis per group."""
    order = [l for g in groups for l in g]
    if v.ndim != len(order):
        v = broadcast_to(v, [sizes[l] for l in labels])
    moved = transpose(v, [labels.index(l) for l in order])
    return reshape(moved, [math.prod(sizes[l] for l in g) for g in groups])


def unfolded(product: Node, labels: Labels, output: Labels, sizes: Sizes) -> Node:
    """A product with one axis per group, back to one axis per label, in the order of the output."""
    full = reshape(product, [sizes[l] for l in labels])
    return transpose(full, [labels.index(l) for l in output])


# -- pairs ---------------------------------------------------------------------------------------------------------


def _lower(node: Node, args: tuple[Node, ...]) -> Node | None:
    """A contraction of two operands as a matrix product, or as a sum of products."""
    if node.op is not CONTRACT or len(args) > 2:
        return None
    sizes, output = label_sizes(node), node.attrs.output
    symmetric = symmetric_product(list(zip(args, node.attrs.operands)), output, sizes)
    if symmetric is not None:
        return symmetric
    first, second = sorted(zip(args, node.attrs.operands), key=lambda operand: output[-1:] == operand[1][-1:])
    batch = [l for l in output if l in first[1] and l in second[1]]
    rows = [l for l in first[1] if l in output and l not in batch]
    columns = [l for l in second[1] if l in output and l not in batch]
    summed = [l for l in first[1] if l not in output]
    b, m, n, k = (math.prod(sizes[l] for l in group) for group in (batch, rows, columns, summed))
    if min(m, n, k) < THIN or b * m * n * k < SMALL_PRODUCT or m * n * k < SMALL_MATRIX:
        return sum_of_products(args, node.attrs.operands, output, sizes)
    return matrix_product(first, second, (batch, rows, columns, summed), output, sizes)


def sum_of_products(args: Sequence[Node], operands: Sequence[Labels], output: Labels, sizes: Sizes) -> Node:
    """The contraction as an elementwise product over all labels, then a sum."""
    order = (*output, *(l for l in sizes if l not in output))
    aligned = [align(v, labels, order) for v, labels in zip(args, operands)]
    product = aligned[0]
    for v in aligned[1:]:
        product = scale(product, v)
    return sum_over(broadcast_to(product, [sizes[l] for l in order]), range(len(output), len(order)))


def matrix_product(first: Operand, second: Operand, groups: tuple, output: Labels, sizes: Sizes) -> Node:
    """The contraction as one batched matrix product, with as few copies of operands as possible."""
    batch, rows, columns, summed = groups
    orders = [[l for l in labels if l in summed] for labels in (first[1], second[1])]
    choices = [(_layout(first, batch, rows, order), _layout(second, batch, columns, order)) for order in orders]
    (a, turned_a, _), (c, turned_c, _) = min(choices, key=lambda pair: pair[0][2] + pair[1][2])
    operands = (folded(first[0], first[1], a, sizes), folded(second[0], second[1], c, sizes))
    product = make(GEMM, operands, GemmAttrs(turned_a, not turned_c))
    return unfolded(product, (*batch, *rows, *columns), output, sizes)


def _layout(operand: Operand, batch: list[int], free: list[int], summed: list[int]) -> tuple[list, bool, int]:
    """(groups in memory order, whether the summed labels come first, elements to copy)."""
    v, labels = operand
    for turned, groups in ((False, [batch, free, summed]), (True, [batch, summed, free])):
        if [l for g in groups for l in g] == list(labels):
            return groups, turned, 0
    return [batch, free, summed], False, v.size
