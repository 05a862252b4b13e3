"""Derivatives inside a trace: differentiate a function of tracers on the graph and hand back tracers.

Every transform is written once, here, on graphs. A call with plain arrays is a trace of the same code, compiled.
The differentiated arguments become fresh inputs, so that the outer expressions they stand for are not mistaken for
the variable; afterwards the fresh inputs are replaced by those expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from symhess.api.arguments import NOTHING, is_one_number, normalized_argnums
from symhess.api.outputs import as_float
from symhess.differentiate import batch, pullback, pushforward
from symhess.errors import AuxiliaryMissing, NonScalarOutput, ShapeMismatch
from symhess.graph.maps import IndexMap, identity_maps
from symhess.graph.node import Node, constant, depends_on, input_node, topological
from symhess.graph.pytrees import NAMESPACE, flatten, unflatten
from symhess.primitives import apply, cast, concatenate, index, reshape, scatter, transpose, zeros
from symhess.primitives.rebuild import substituted
from symhess.structure import Tangent, coefficient, tangents, within_columns
from symhess.trace import Tracer, trace
from symhess.trace.nested import pass_on_guards, values_of
from symhess.trace.session import current_session
from symhess.trace.tracing import name_of
from symhess.trace.ufuncs import node_of_any

Argnums = int | Sequence[int]


def wrap(node: Node) -> Tracer:
    """A tracer of the running trace."""
    return Tracer(node, current_session())


@dataclass
class Local:
    """A function traced on fresh inputs: `fresh` stand for the expressions `actual`."""

    fresh: list[Node]
    actual: list[Node]
    active_spec: Any
    outputs: list[Node]
    output_spec: Any
    aux: Any

    def finish(self, nodes: Sequence[Node]) -> list[Any]:
        """Tracers of the results, in terms of the outer expressions."""
        return [wrap(n) for n in substituted(nodes, dict(zip(self.fresh, self.actual)))]

    def like_active(self, nodes: Sequence[Node]) -> Any:
        return unflatten(self.active_spec, self.finish(nodes))

    def results(self) -> Any:
        return unflatten(self.output_spec, self.finish(self.outputs))

    def scalar(self, what: str) -> Node:
        if len(self.outputs) != 1 or self.outputs[0].ndim:
            raise NonScalarOutput(f"{what} needs a function that returns one number, it returned shapes "
                                  f"{[o.shape for o in self.outputs]}")
        return as_float(self.outputs[0], self.fresh)


def local(fn: Callable, args: tuple, kwargs: dict, argnums: Argnums, has_aux: bool = False) -> Local:
    """Trace `fn` with the arguments at `argnums` replaced by fresh inputs."""
    positions = normalized_argnums(argnums, len(args))
    if not positions:
        raise ValueError(NOTHING)
    picked = args[positions[0]] if is_one_number(argnums) else tuple(args[k] for k in positions)
    leaves, active_spec = flatten(picked)
    actual = [_as_float(node_of_any(x)) for x in leaves]
    fresh = [input_node(f"x{k}", a.shape, a.dtype) for k, a in enumerate(actual)]
    swapped = unflatten(active_spec, fresh)
    new = list(args)
    for k, part in zip(positions, (swapped,) if is_one_number(argnums) else swapped):
        new[k] = part
    traced = trace(fn, tuple(new), kwargs, values_of(fresh, actual))
    pass_on_guards(traced.guards, dict(zip(fresh, actual)))
    outputs, aux = _without_aux(traced.outputs, has_aux)
    nodes, output_spec = flatten(outputs)
    for x in nodes:
        if not isinstance(x, Node):
            raise NonScalarOutput(f"{name_of(fn)} returned a {type(x).__name__}; return numbers and arrays, and "
                                  "anything else as auxiliary output (has_aux=True)")
    return Local(fresh, actual, active_spec, nodes, output_spec, _wrapped(aux, dict(zip(fresh, actual))))


def _as_float(node: Node) -> Node:
    return node if node.dtype.kind == "f" else cast(node, np.float64)


def _without_aux(outputs: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return outputs, None
    if not isinstance(outputs, tuple) or len(outputs) < 2:
        got = "one value" if isinstance(outputs, Node) else f"a {type(outputs).__name__}"
        raise AuxiliaryMissing(f"has_aux=True: the function must return (output, aux), it returned {got}")
    output, *aux = outputs
    return output, aux[0] if len(aux) == 1 else tuple(aux)


def _wrapped(tree: Any, mapping: dict[Node, Node]) -> Any:
    leaves, spec = flatten(tree)
    return unflatten(spec, [wrap(substituted([x], mapping)[0]) if isinstance(x, Node) else x for x in leaves])


# -- gradients and Hessians ----------------------------------------------------------------------------------------


def gradient(fn: Callable, args: tuple, kwargs: dict, argnums: Argnums, has_aux: bool = False) -> tuple:
    """(value, gradient, aux) as tracers."""
    at = local(fn, args, kwargs, argnums, has_aux)
    out = at.scalar("grad")
    return at.results(), at.like_active(_gradient_nodes(out, at.fresh)), at.aux


def _gradient_nodes(out: Node, inputs: Sequence[Node]) -> list[Node]:
    return pullback([out], [constant(1, out.dtype)], inputs)


def hessian(fn: Callable, args: tuple, kwargs: dict, argnums: Argnums, has_aux: bool = False) -> Any:
    """Blocks H[i][j] as tracers (one array for a single array argument); (blocks, aux) with has_aux.

    A function with an array as output gives the Hessian of each component, with the output's axes in front.
    """
    at = local(fn, args, kwargs, argnums, has_aux)
    results = [_hessian_blocks(out, at) for out in at.outputs]
    blocks = unflatten(at.output_spec, results)
    return (blocks, at.aux) if has_aux else blocks


def _hessian_blocks(out: Node, at: Local) -> Any:
    grads = _gradient_nodes(as_float(out, at.fresh), at.fresh) if out.ndim == 0 else jacobian_nodes(out, at.fresh)
    rows = []
    for g in grads:
        rows.append(at.like_active(jacobian_nodes(g, at.fresh)))
    return unflatten(at.active_spec, rows)


def flat_hessian(fn: Callable, args: tuple, kwargs: dict, argnums: Argnums) -> Tracer:
    """The Hessian as one (n, n) tracer over the concatenated inputs."""
    at = local(fn, args, kwargs, argnums)
    rows = [concatenate([reshape(b, (g.size, x.size)) for b, x in zip(jacobian_nodes(g, at.fresh), at.fresh)], 1)
            for g in _gradient_nodes(at.scalar("a Hessian"), at.fresh)]
    return at.finish([concatenate(rows, 0)])[0]


def diagonal(fn: Callable, args: tuple, kwargs: dict, argnums: Argnums) -> Any:
    """The diagonal of the Hessian, like the inputs: d^2 f / dx_e^2 for every element e."""
    at = local(fn, args, kwargs, argnums)
    parts = []
    for g, x in zip(_gradient_nodes(at.scalar("a Hessian"), at.fresh), at.fresh):
        (block,) = jacobian_nodes(g, [x])
        parts.append(index(block, identity_maps(x.shape) * 2, x.shape))
    return at.like_active(parts)


def jacobian_nodes(out: Node, inputs: Sequence[Node]) -> list[Node]:
    """d out / d x for each x, of shape out.shape + x.shape, from the structured tangents of `out`."""
    (tangent,) = tangents([out], inputs)
    first, blocks = 0, []
    for x in inputs:
        blocks.append(_dense_block(tangent, first, x))
        first += x.size
    return blocks


def _dense_block(tangent: Tangent, first: int, x: Node) -> Node:
    """The Terms whose columns belong to one input, scattered into out.shape + x.shape."""
    flat_shape = (*tangent.shape, x.size)
    total = zeros(flat_shape, x.dtype)
    for t in tangent.terms:
        part = within_columns(t, first, first + x.size)
        if part is not None:
            maps: tuple[IndexMap, ...] = (*part.rows, part.cols.shifted(-first))
            total = apply("add", total, scatter(coefficient(part), maps, flat_shape))
    return reshape(total, (*tangent.shape, *x.shape))


# -- Jacobians -----------------------------------------------------------------------------------------------------


def jacobian(fn: Callable, args: tuple, kwargs: dict, argnums: Argnums, has_aux: bool, reverse: bool) -> Any:
    """Nested Jacobian blocks as tracers: outputs outside, inputs inside; (blocks, aux) with has_aux."""
    at = local(fn, args, kwargs, argnums, has_aux)
    rows = [at.like_active(_reverse_jacobian(o, at.fresh) if reverse else jacobian_nodes(o, at.fresh))
            for o in at.outputs]
    blocks = unflatten(at.output_spec, rows)
    return (blocks, at.aux) if has_aux else blocks


def _reverse_jacobian(out: Node, inputs: Sequence[Node]) -> list[Node]:
    """Jacobian blocks by pullbacks, where these are not far more than pushforwards would be."""
    if out.ndim == 0:
        return _gradient_nodes(out, inputs)
    if out.size > 4 * sum(x.size for x in inputs):  # as many rows as outputs: forward mode is cheaper
        return jacobian_nodes(out, inputs)
    return rows_by_pullbacks(out, inputs)


def rows_by_pullbacks(out: Node, inputs: Sequence[Node]) -> list[Node]:
    """d out / d x for each x, of shape out.shape + x.shape: one pullback of a batch of all unit cotangents."""
    cotangent = input_node("cotangent", out.shape, out.dtype)
    rows = pullback([out], [cotangent], inputs)
    unit = constant(np.eye(out.size, dtype=out.dtype).reshape(out.size, *out.shape))
    stacked = batch(rows, {cotangent: unit}, out.size)
    return [reshape(r, (*out.shape, *x.shape)) for r, x in zip(stacked, inputs)]


# -- products ------------------------------------------------------------------------------------------------------


def jvp(fn: Callable, primals: tuple, directions: Any, has_aux: bool = False) -> tuple:
    """(outputs, tangent of the outputs, aux) as tracers."""
    at = local(fn, tuple(primals), {}, tuple(range(len(primals))), has_aux)
    dots = _matching(tuple(directions), at, "tangents")
    moved = pushforward(at.outputs, dict(zip(at.fresh, dots)))
    return at.results(), unflatten(at.output_spec, at.finish(moved)), at.aux


def vjp(fn: Callable, primals: tuple, cotangents: Any, has_aux: bool = False) -> tuple:
    """(outputs, one cotangent per primal, aux) as tracers."""
    at = local(fn, tuple(primals), {}, tuple(range(len(primals))), has_aux)
    leaves, spec = flatten(cotangents)
    if spec != at.output_spec or any(np.shape(c) != o.shape for c, o in zip(leaves, at.outputs)):
        raise ShapeMismatch(f"the cotangent has shapes {[np.shape(c) for c in leaves]}, the outputs "
                            f"{[o.shape for o in at.outputs]}")
    bars = [cast(node_of_any(c), o.dtype) for c, o in zip(leaves, at.outputs)]
    return at.results(), at.like_active(pullback(at.outputs, bars, at.fresh)), at.aux


def hvp(fn: Callable, args: tuple, kwargs: dict, argnums: Argnums, v: Any, reverse: bool = False) -> Any:
    """H v by forward over reverse, or by reverse over reverse: the gradient of g . v."""
    at = local(fn, args, kwargs, argnums)
    grads = _gradient_nodes(at.scalar("hvp"), at.fresh)
    dots = _matching(v, at, "v")
    if reverse:
        return at.like_active(pullback(grads, dots, at.fresh))
    return at.like_active(pushforward(grads, dict(zip(at.fresh, dots))))


def _matching(v: Any, at: Local, name: str) -> list[Node]:
    """The leaves of v as nodes, checked against the differentiated inputs."""
    leaves, spec = flatten(v)
    if spec != at.active_spec:
        raise ShapeMismatch(f"{name} has structure {spec}, the differentiated input {at.active_spec}")
    for d, x in zip(leaves, at.fresh):
        if np.shape(d) != x.shape:
            raise ShapeMismatch(f"{name} has shape {np.shape(d)} where the input has shape {x.shape}")
    return [cast(node_of_any(d), x.dtype) for d, x in zip(leaves, at.fresh)]


# -- vmap ----------------------------------------------------------------------------------------------------------


def vmap(fn: Callable, args: tuple, kwargs: dict, in_axes: Any, out_axes: Any) -> Any:
    """The function applied along an axis of its arguments (axis 0 of keyword arguments), as tracers."""
    axes = list(in_axes) if isinstance(in_axes, tuple | list) else [in_axes] * len(args)
    if len(axes) != len(args):
        raise ShapeMismatch(f"vmap: in_axes has {len(axes)} entries, the function got {len(args)} arguments")
    stacked: dict[Node, Node] = {}
    new = tuple(_rows_of(a, axis, stacked) for a, axis in zip(args, axes))
    named = {name: _rows_of(a, 0, stacked) for name, a in kwargs.items()}
    sizes = {node.shape[0] for node in stacked.values()}
    if len(sizes) != 1:
        raise ShapeMismatch(f"vmap: the mapped axes have sizes {sorted(sizes)}, they must be one size")
    (size,) = sizes
    outputs = trace(fn, new, named).outputs
    nodes, spec = flatten(outputs)
    out = _axis_of_each(out_axes, outputs, len(nodes), "out_axes")
    varies = depends_on(topological(nodes), stacked)
    moved = [_stacked_along(n, axis) if axis is not None else _same_for_all(row, row in varies)
             for row, n, axis in zip(nodes, batch(nodes, stacked, size), out)]
    return unflatten(spec, [wrap(n) for n in moved])


def _rows_of(argument: Any, axis: Any, stacked: dict[Node, Node]) -> Any:
    """The argument with a fresh input for one row of every mapped leaf, entered into `stacked`."""
    leaves, spec = flatten(argument)
    rows = []
    for leaf, along in zip(leaves, _axis_of_each(axis, argument, len(leaves), "in_axes")):
        if along is None:
            rows.append(leaf)
            continue
        node = _axis_first(node_of_any(leaf), along)
        rows.append(input_node("row", node.shape[1:], node.dtype))
        stacked[rows[-1]] = node
    return unflatten(spec, rows)


def _axis_of_each(axis: Any, tree: Any, count: int, option: str) -> list[int | None]:
    """One axis, or None, per leaf; `axis` may be a pytree that the tree begins with."""
    found: list[int | None] = []
    parts, spec = optree.tree_flatten(axis, none_is_leaf=True, namespace=NAMESPACE)
    if wrong := [p for p in parts if p is not None and not isinstance(p, int | np.integer)]:
        raise TypeError(f"vmap: {option} consists of integers and None, got {wrong[0]!r}")
    if spec.is_leaf():
        return parts * count
    try:
        matching = spec.flatten_up_to(tree)
    except (ValueError, TypeError) as error:
        raise ShapeMismatch(f"vmap: {option} {axis!r} does not fit {flatten(tree)[1]}") from error
    for along, part in zip(parts, matching):
        found += [along] * len(flatten(part)[0])
    return found


def _axis_first(node: Node, axis: int) -> Node:
    axis = _checked_axis(axis, node.shape, "of an array")
    return transpose(node, [axis, *(d for d in range(node.ndim) if d != axis)])


def _stacked_along(node: Node, axis: int) -> Node:
    """The leading axis, moved."""
    order = list(range(1, node.ndim))
    order.insert(_checked_axis(axis, node.shape, "of stacked results"), 0)
    return transpose(node, order)


def _same_for_all(row: Node, varies: bool) -> Node:
    if varies:
        raise ShapeMismatch("vmap: a result with None in out_axes depends on what is mapped; give it an axis")
    return row


def _checked_axis(axis: int, shape: tuple[int, ...], what: str) -> int:
    if not -len(shape) <= axis < len(shape):
        raise ShapeMismatch(f"vmap: axis {axis} {what} of shape {shape}")
    return int(axis) % len(shape)
