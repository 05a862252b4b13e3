"""Contraction: a sum of products over labelled axes (einsum), the product form of everything multilinear.

    u(o) = sum_s  prod_k  v_k(labels_k)          o: output labels, s: all other labels

A contract node always sums over at least one label and has at least two operands; everything simpler becomes
movement, reduction or an elementwise product. Labels are numbered by first appearance, so equal contractions are
the same node.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from symhess.errors import ShapeMismatch
from symhess.graph.maps import axis_map
from symhess.graph.node import Node, Primitive, constant, make, register, scalar_value
from symhess.primitives.algebra import order_key
from symhess.primitives.elementwise import apply, scale, select_against_zero
from symhess.primitives.movement import broadcast_to, index, reshape, transpose
from symhess.primitives.reduction import sum_over

Shape = tuple[int, ...]
Labels = tuple[int, ...]
Operand = tuple[Node, Labels]


class ContractAttrs(NamedTuple):
    """The labels of each operand's axes, and those of the result's."""

    operands: tuple[Labels, ...]
    output: Labels


def contract(operands: Sequence[tuple[Node, Sequence[int]]], output: Sequence[int], sizes: dict[int, int]) -> Node:
    """The einsum of labelled operands; operand axes are of the label's size, or 1 (broadcast).

    `sizes` gives every label's size; output labels that no operand carries are broadcast.
    """
    output = tuple(output)
    work = [_prepared(node, tuple(labels), sizes) for node, labels in operands]
    factor, work = _split_scalars(work)
    carried = {l for _, labels in work for l in labels}
    summed = {l for l in sizes if l not in output}
    idle = [l for l in summed if l not in carried]
    for l in idle:  # summing over a label that nothing carries multiplies by its size
        factor = _times(factor, constant(sizes[l], work[0][0].dtype if work else factor.dtype))
    work = [_sum_private(op, [o for o in work if o is not op], summed) for op in work]
    inner, work2 = _split_scalars(work)
    factor = _times(factor, inner) if inner is not None else factor
    result = _combine(work2, output, sizes)
    if result is None:
        return broadcast_to(factor, tuple(sizes[l] for l in output))
    return result if factor is None else scale(result, factor)


def _times(a: Node | None, b: Node | None) -> Node | None:
    if a is None or b is None:
        return b if a is None else a
    return apply("mul", a, b)


def _prepared(node: Node, labels: Labels, sizes: dict[int, int]) -> Operand:
    """Drop size-1 axes and take diagonals, so that every label occurs once and at its full size."""
    if node.ndim != len(labels):
        raise ShapeMismatch(f"operand of shape {node.shape} has {len(labels)} labels")
    for n, l in zip(node.shape, labels):
        if n not in (1, sizes[l]):
            raise ShapeMismatch(f"an axis of size {n} does not fit a label of size {sizes[l]}")
    keep = [d for d, n in enumerate(node.shape) if n != 1]
    node, labels = reshape(node, [node.shape[d] for d in keep]), tuple(labels[d] for d in keep)
    unique = tuple(dict.fromkeys(labels))
    if unique != labels:
        shape = tuple(sizes[l] for l in unique)
        node = index(node, [axis_map(shape, unique.index(l)) for l in labels], shape)
    return node, unique


def _split_scalars(work: list[Operand]) -> tuple[Node | None, list[Operand]]:
    """Pull scalar operands, and scalar factors of products, out of the contraction."""
    factor: Node | None = None
    arrays: list[Operand] = []
    for node, labels in work:
        while node.ndim and node.op.name in ("mul", "neg"):
            if node.op.name == "neg":
                factor, node = _times(factor, constant(-1, node.dtype)), node.args[0]
            elif scalar_value(node.args[0]) is not None and node.args[0].ndim == 0:
                factor, node = _times(factor, node.args[0]), node.args[1]
            else:
                break
        if node.ndim:
            arrays.append((node, labels))
        else:
            factor = _times(factor, node)
    return factor, arrays


def _sum_private(op: Operand, others: list[Operand], summed: set[int]) -> Operand:
    """Sum an operand over the labels that only it carries."""
    node, labels = op
    private = [l for l in labels if l in summed and not any(l in ls for _, ls in others)]
    node = sum_over(node, [labels.index(l) for l in private])
    return node, tuple(l for l in labels if l not in private)


def _combine(work: list[Operand], output: Labels, sizes: dict[int, int]) -> Node | None:
    if not work:
        return None
    carried = tuple(dict.fromkeys(l for _, labels in work for l in labels))
    if all(l in output for l in carried):
        aligned = [align(node, labels, output) for node, labels in work]
        product = aligned[0]
        for a in aligned[1:]:
            product = scale(product, a)
        return broadcast_to(product, tuple(sizes[l] for l in output))
    present = tuple(l for l in output if l in carried)
    work = sorted(work, key=lambda op: order_key(op[0]))
    number: dict[int, int] = {}
    for _, labels in work:
        for l in labels:
            number.setdefault(l, len(number))
    attrs = ContractAttrs(tuple(tuple(number[l] for l in labels) for _, labels in work),
                          tuple(number[l] for l in present))
    node = make(CONTRACT, [n for n, _ in work], attrs)
    return broadcast_to(align(node, present, output), tuple(sizes[l] for l in output))


def align(node: Node, labels: Labels, order: Labels) -> Node:
    """The node with its axes in the given label order, size 1 where it does not carry a label."""
    if labels == order:
        return node
    present = [l for l in order if l in labels]
    moved = transpose(node, [labels.index(l) for l in present])
    return reshape(moved, [node.shape[labels.index(l)] if l in labels else 1 for l in order])


def label_sizes(node: Node) -> dict[int, int]:
    """Sizes of all labels of a contract node."""
    return {l: n for a, labels in zip(node.args, node.attrs.operands) for l, n in zip(labels, a.shape)}


def subscripts(attrs: ContractAttrs) -> str:
    """The contraction in einsum's notation (for people and for NumPy)."""
    letters = string.ascii_letters
    name = lambda labels: "".join(letters[l] for l in labels)
    return ",".join(map(name, attrs.operands)) + "->" + name(attrs.output)


def _infer(args: Sequence[Node], attrs: ContractAttrs) -> tuple[Shape, np.dtype]:
    sizes: dict[int, int] = {}
    for a, labels in zip(args, attrs.operands):
        if len(labels) != a.ndim or len(set(labels)) != a.ndim:
            raise ShapeMismatch(f"operand of shape {a.shape} with labels {labels}")
        for l, n in zip(labels, a.shape):
            if sizes.setdefault(l, n) != n:
                raise ShapeMismatch(f"label {l} has sizes {sizes[l]} and {n}")
    return tuple(sizes[l] for l in attrs.output), np.result_type(*(a.dtype for a in args))


def _evaluate(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    return np.einsum(subscripts(node.attrs), *arrays, optimize=len(arrays) > 2 or node.size > 4096)


def is_finite(v: Node) -> bool:
    """True for constants of finite numbers, moved ones included."""
    while v.op.name in ("index", "reshape"):
        v = v.args[0]
    return v.op.name == "constant" and bool(np.all(np.isfinite(v.attrs.array)))


def _shielded(t: Node, labels: Labels, others: Sequence[Operand]) -> list[Operand]:
    """The other operands, zero where t is zero because a select says so: 0 * inf does not occur."""
    select = select_against_zero(t)
    if select is None:
        return list(others)
    c, _, first = select
    c = c if first else apply("logical_not", c)
    kept = [d for d, n in enumerate(c.shape) if n != 1]
    c, own = reshape(c, [c.shape[d] for d in kept]), tuple(labels[d] for d in kept)
    zero = constant(0, t.dtype)
    return [(v, ls) if is_finite(v) or not set(own) <= set(ls) else (apply("where", align(c, own, ls), v, zero), ls)
            for v, ls in others]


def _vjp(node: Node, g: Node) -> list[Node | None]:
    """g_k(labels_k) = sum of g(o) * prod_{j != k} v_j(labels_j) over all other labels."""
    sizes = label_sizes(node)
    operands = list(zip(node.args, node.attrs.operands))

    def pull(k: int) -> Node | None:
        if operands[k][0].op.name == "constant":
            return None
        others = _shielded(g, node.attrs.output, [op for j, op in enumerate(operands) if j != k])
        return contract([(g, node.attrs.output), *others], operands[k][1], sizes)

    return [pull(k) for k in range(len(operands))]


def _jvp(node: Node, tangents: Sequence[Node | None]) -> Node:
    """t(o) = sum_k of the contraction with v_k replaced by t_k."""
    total: Node | None = None
    sizes = label_sizes(node)
    for k, t in enumerate(tangents):
        if t is not None:
            operands = list(zip(node.args, node.attrs.operands))
            others = _shielded(t, operands[k][1], operands[:k] + operands[k + 1:])
            part = contract([*others, (t, operands[k][1])], node.attrs.output, sizes)
            total = part if total is None else apply("add", total, part)
    assert total is not None
    return total


def _batch(node: Node, args: Sequence[Node], added: Sequence[bool]) -> Node:
    sizes = label_sizes(node)
    lead = len(sizes)
    sizes[lead] = next(a.shape[0] for a, b in zip(args, added) if b)
    operands = [(a, (lead, *labels) if b else labels) for a, b, labels in zip(args, added, node.attrs.operands)]
    return contract(operands, (lead, *node.attrs.output), sizes)


CONTRACT = register(Primitive("contract", _infer, _evaluate, vjp=_vjp, jvp=_jvp, batch=_batch, family="contraction"))


def einsum(text: str, *operands: Node) -> Node:
    """NumPy's explicit einsum notation, without ellipsis: einsum("ij,jk->ik", a, b)."""
    left, output = text.replace(" ", "").split("->")
    terms = left.split(",")
    labels = {c: k for k, c in enumerate(dict.fromkeys("".join(terms)))}
    sizes: dict[int, int] = {}
    for term, v in zip(terms, operands):
        for c, n in zip(term, v.shape):
            if sizes.get(labels[c], 1) not in (1, n) and n != 1:
                raise ShapeMismatch(f"einsum {text!r}: label {c} has sizes {sizes[labels[c]]} and {n}")
            sizes[labels[c]] = max(n, sizes.get(labels[c], 1)) if n else 0
    return contract([(v, [labels[c] for c in term]) for term, v in zip(terms, operands)],
                    [labels[c] for c in output], sizes)


def matmul(a: Node, b: Node) -> Node:
    """NumPy's matmul: vectors, matrices and stacks of matrices, leading axes broadcast."""
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeMismatch("matmul: a scalar operand, use * instead")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ShapeMismatch(f"matmul: shapes {a.shape} and {b.shape} do not fit together")
    batch = max(a.ndim, b.ndim, 2) - 2
    i, j, k = batch, batch + 1, batch + 2
    labels_a = [*range(batch - max(a.ndim - 2, 0), batch), *([i] if a.ndim > 1 else []), j]
    labels_b = [*range(batch - max(b.ndim - 2, 0), batch), j, *([k] if b.ndim > 1 else [])]
    sizes: dict[int, int] = {}
    for labels, v in ((labels_a, a), (labels_b, b)):
        for l, n in zip(labels, v.shape):
            if sizes.get(l, 1) not in (1, n) and n != 1:
                raise ShapeMismatch(f"matmul: shapes {a.shape} and {b.shape} do not fit together")
            sizes[l] = n if sizes.get(l, 1) == 1 else sizes[l]
    output = [*range(batch), *([i] if a.ndim > 1 else []), *([k] if b.ndim > 1 else [])]
    return contract([(a, labels_a), (b, labels_b)], output, sizes)
