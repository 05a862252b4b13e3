"""Operations with derivative rules of their own: what a user's rule becomes on the graph.

    y_k = f_k(x_1, ..., x_m)         one primitive for each output k, made for this function and these shapes
    jvp:  dy = J(x) dx               the rule, traced once on placeholders and put in place by substitution
    vjp:  dx = J(x)^T dy             its transpose: the pullback of the jvp, which is linear in dx

The rule is a graph like any other, so its own derivatives follow, to every order. What an operation computes is
either *traced* (a graph that `expanded` puts in its place when all differentiation is done) or *called* (a Python
function of arrays, which kernels cannot run: the runner calls it before them).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from symhess.differentiate import batch, pullback
from symhess.errors import NotDifferentiable, ShapeMismatch
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.node import (
    CONSTANT,
    INPUT,
    Node,
    Primitive,
    bodies,
    constant,
    input_node,
    make,
    rewrite,
    topological,
)
from symhess.primitives import broadcast_to, cast, is_zero, sum_over, zeros
from symhess.primitives.rebuild import substituted, with_args

Shape = tuple[int, ...]
#: rule(points, dots) -> the tangent of each output; dots[i] is None where argument i does not move
Forward = Callable[[Sequence[Node], Sequence[Node | None]], Sequence[Node]]
#: rule(points, bars) -> the cotangent of each argument; bars holds one cotangent per output
Backward = Callable[[Sequence[Node], Sequence[Node]], Sequence[Node | None]]
#: what to compute where kernels cannot: arrays in, one array out
Call = Callable[[Sequence[np.ndarray]], np.ndarray]


class Kind(NamedTuple):
    """Shape and dtype of an argument or of an output."""

    shape: Shape
    dtype: np.dtype

    @classmethod
    def of(cls, node: Node) -> Kind:
        """The kind of a node."""
        return cls(node.shape, node.dtype)

    def placeholder(self, name: str) -> Node:
        """A fresh input of this kind."""
        return input_node(name, self.shape, self.dtype)


class Template(NamedTuple):
    """Expressions over placeholders."""

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    def at(self, args: Sequence[Node]) -> list[Node]:
        """The expressions with `args` in place of the placeholders."""
        return substituted(self.outputs, dict(zip(self.inputs, args)))

    def needs(self, nodes: Sequence[Node]) -> bool:
        """True if some of the expressions depend on one of `nodes`."""
        return bool(set(nodes).intersection(topological(self.outputs)))


class Operation:
    """A function with its own derivative rule, specialised to the kinds of its arguments.

    Args:
        name: for people.
        inputs, outputs: kinds of arguments and outputs.
        forward: the rule for tangents; left out, the transpose of `backward`.
        backward: the rule for cotangents; left out, the transpose of `forward`.
        value: a template over placeholders of `inputs`, or
        call: a Python function of arrays, for an operation with one output.
        refused: by number of an argument, why nothing can be differentiated by it.
    """

    def __init__(self, name: str, inputs: Sequence[Kind], outputs: Sequence[Kind], *, forward: Forward | None = None,
                 backward: Backward | None = None, value: Template | None = None, call: Call | None = None,
                 refused: dict[int, str] | None = None):
        self.name, self.inputs, self.outputs = name, tuple(inputs), tuple(outputs)
        self.value, self.call, self.refused = value, call, refused or {}
        self._forward, self._backward = forward, backward
        self.points = [k.placeholder("point") for k in self.inputs]
        self.dots = [k.placeholder("tangent") for k in self.inputs]
        self.bars = [k.placeholder("cotangent") for k in self.outputs]
        self._made: dict[Any, Any] = {}
        self._lock = threading.RLock()
        self.primitives = [self._primitive(k) for k in range(len(self.outputs))]

    def __repr__(self) -> str:
        return f"<operation {self.name}>"

    def __call__(self, args: Sequence[Node]) -> list[Node]:
        """The outputs at some arguments; values, where all of them are constants."""
        if all(a.op is CONSTANT for a in args):
            if self.value is not None:
                return self.value.at(args)
            return [constant(self.call([a.attrs.array for a in args]), self.outputs[0].dtype)]
        return [make(p, args) for p in self.primitives]

    def _primitive(self, k: int) -> Primitive:
        kind = self.outputs[k]
        extra = {"operation": self, "output": k, "refused": self.refused}
        return Primitive(f"custom.{self.name}", lambda args, attrs: kind, lambda arrays, node: self.evaluate(arrays, k),
                         vjp=lambda node, g: self.vjp(node, k, g), jvp=lambda node, t: self.jvp(node, k, t),
                         batch=lambda node, args, added: self._batch(args, tuple(added))[k], family="custom",
                         extra=extra)

    def evaluate(self, arrays: Sequence[np.ndarray], k: int) -> np.ndarray:
        """The value of output k."""
        if self.value is None:
            return self.call(arrays)
        return evaluate_nodes([self.value.outputs[k]], dict(zip(self.value.inputs, arrays)))[0]

    def once(self, key: Any, build: Callable[[], Any]) -> Any:
        """Whatever was made under `key`, made now if this is the first time."""
        with self._lock:
            if key not in self._made:
                self._made[key] = build()
            return self._made[key]

    # -- derivatives -------------------------------------------------------------------------------------------

    def jvp(self, node: Node, k: int, tangents: Sequence[Node | None]) -> Node:
        """The tangent of output k."""
        moving = tuple(t is not None and not is_zero(t) for t in tangents)
        if not any(moving):
            return zeros(node.shape, node.dtype)
        for i, reason in self.refused.items():
            if moving[i]:
                raise NotDifferentiable(reason + _where(node))
        dots = [t for t, m in zip(tangents, moving) if m]
        return self.forward(moving).at([*node.args, *dots])[k]

    def vjp(self, node: Node, k: int, g: Node) -> list[Node | None]:
        """The cotangents of the arguments, pulled back from output k alone."""
        wanted = tuple(a.dtype.kind == "f" and a.op is not CONSTANT and i not in self.refused
                       for i, a in enumerate(node.args))
        if not any(wanted):
            return [None] * len(wanted)
        found = iter(self.backward(k, wanted).at([*node.args, g]))
        parts = [next(found) if w else None for w in wanted]
        return [None if p is None or is_zero(p) else p for p in parts]

    def forward(self, moving: tuple[bool, ...]) -> Template:
        """The tangents of all outputs over (points, tangents of the arguments that move)."""
        return self.once(("forward", moving), lambda: self._build_forward(moving))

    def _build_forward(self, moving: tuple[bool, ...]) -> Template:
        dots = [d for d, m in zip(self.dots, moving) if m]
        if self._forward is None:
            return Template((*self.points, *dots), tuple(self._transposed_backward(moving)))
        given = [d if m else None for d, m in zip(self.dots, moving)]
        moved = [fitted(t, kind, self.name) for t, kind in zip(self._forward(self.points, given), self.outputs)]
        return Template((*self.points, *dots), tuple(moved))

    def _transposed_backward(self, moving: tuple[bool, ...]) -> list[Node]:
        """dy = (J^T)^T dx: the pullback of the arguments' cotangents, which are linear in those of the outputs."""
        pulled = [p if p is not None else zeros(k.shape, k.dtype)
                  for p, k in zip(self._backward(self.points, self.bars), self.inputs)]
        pairs = [(p, d) for p, d, m in zip(pulled, self.dots, moving) if m]
        found = pullback([p for p, _ in pairs], [d for _, d in pairs], self.bars)
        self._check_linear(found, self.bars, "vjp rule", "cotangents", "so that it has no forward mode: give a jvp")
        return found

    def backward(self, k: int, wanted: tuple[bool, ...]) -> Template:
        """The cotangents of the wanted arguments over (points, cotangent of output k)."""
        return self.once(("backward", k, wanted), lambda: self._build_backward(k, wanted))

    def _build_backward(self, k: int, wanted: tuple[bool, ...]) -> Template:
        if self._backward is not None:
            bars = [b if i == k else zeros(b.shape, b.dtype) for i, b in enumerate(self.bars)]
            parts = self._backward(self.points, bars)
            found = [zeros(kind.shape, kind.dtype) if p is None else p
                     for p, kind, w in zip(parts, self.inputs, wanted) if w]
        else:
            moved = self.forward(wanted).outputs[k]
            dots = [d for d, w in zip(self.dots, wanted) if w]
            found = pullback([moved], [self.bars[k]], dots)
            self._check_linear(found, self.dots, "jvp rule", "tangents", "as a derivative must be")
        return Template((*self.points, self.bars[k]), tuple(found))

    def _check_linear(self, pulled: Sequence[Node], variables: Sequence[Node], rule: str, what: str, why: str) -> None:
        if Template((), tuple(pulled)).needs(variables):
            raise NotDifferentiable(f"the {rule} of {self.name} is not linear in the {what}, {why}")

    # -- batches -----------------------------------------------------------------------------------------------

    def _batch(self, args: Sequence[Node], added: tuple[bool, ...]) -> list[Node]:
        size = next(a.shape[0] for a, more in zip(args, added) if more)
        return self.once(("batch", added, size), lambda: self._batched(added, size))(args)

    def _batched(self, added: tuple[bool, ...], size: int) -> Operation:
        """The same operation with a leading axis on some arguments, and on the outputs."""
        inputs = [Kind((size, *k.shape), k.dtype) if more else k for k, more in zip(self.inputs, added)]
        outputs = [Kind((size, *k.shape), k.dtype) for k in self.outputs]
        call = None if self.call is None else lambda arrays: self._rows(arrays, added, size)
        backward = None if self._backward is None else self._batched_backward(added, size)
        forward = None if self._forward is None else self._batched_forward(added, size)
        made = Operation(self.name, inputs, outputs, forward=forward, backward=backward, call=call,
                         refused=self.refused)
        if self.value is not None:
            made.value = Template(tuple(made.points), tuple(stacked(self.value, made.points, added, size)))
        return made

    def _rows(self, arrays: Sequence[np.ndarray], added: tuple[bool, ...], size: int) -> np.ndarray:
        """One call after the other."""
        out = np.empty((size, *self.outputs[0].shape), self.outputs[0].dtype)
        for row in range(size):
            out[row] = self.call([a[row] if more else a for a, more in zip(arrays, added)])
        return out

    def _batched_forward(self, added: tuple[bool, ...], size: int) -> Forward:
        def forward(points: Sequence[Node], dots: Sequence[Node | None]) -> list[Node]:
            template = self.forward(tuple(d is not None for d in dots))
            moved = [more for more, d in zip(added, dots) if d is not None]
            return stacked(template, [*points, *(d for d in dots if d is not None)], [*added, *moved], size)

        return forward

    def _batched_backward(self, added: tuple[bool, ...], size: int) -> Backward:
        """Arguments that all rows share get the sum of the rows' cotangents."""
        def backward(points: Sequence[Node], bars: Sequence[Node]) -> list[Node | None]:
            parts = self._backward(self.points, self.bars)
            present = [p for p in parts if p is not None]
            template = Template((*self.points, *self.bars), tuple(present))
            rows = iter(stacked(template, [*points, *bars], [*added, *(True for _ in bars)], size))
            found = [None if p is None else next(rows) for p in parts]
            return [r if r is None or more else sum_over(r, (0,)) for r, more in zip(found, added)]

        return backward


def stacked(template: Template, args: Sequence[Node], added: Sequence[bool], size: int) -> list[Node]:
    """The expressions of a template for every row of those arguments that have a new leading axis."""
    rows = {p: a for p, a, more in zip(template.inputs, args, added) if more}
    return substituted(batch(template.outputs, rows, size),
                       {p: a for p, a, more in zip(template.inputs, args, added) if not more})


def fitted(v: Node, kind: Kind, name: str) -> Node:
    """A tangent as the rule returned it, in the shape and dtype of what it is the tangent of."""
    if v.shape != kind.shape:
        if not broadcasts_to(v.shape, kind.shape):
            raise ShapeMismatch(f"the derivative rule of {name} gives a tangent of shape {v.shape} for an output of "
                                f"shape {kind.shape}")
        v = broadcast_to(v, kind.shape)
    return cast(v, kind.dtype)


def broadcasts_to(shape: Shape, target: Shape) -> bool:
    """True if NumPy would broadcast an array of `shape` to `target`."""
    lead = len(target) - len(shape)
    return lead >= 0 and all(n in (1, m) for n, m in zip(shape, target[lead:]))


def _where(node: Node) -> str:
    return f" ({node.source})" if node.source else ""


# -- what kernels run ------------------------------------------------------------------------------------------------


def operation_of(node: Node) -> Operation | None:
    """The operation behind a node, or None for an ordinary primitive."""
    return node.op.extra.get("operation")


def is_called(node: Node) -> bool:
    """True for nodes whose value a Python function gives, loops that call one included."""
    operation = operation_of(node)
    return (operation is not None and operation.call is not None) or any(
        is_called(n) for _, body in bodies(node) for n in body.nodes())


def expanded(outputs: Sequence[Node]) -> list[Node]:
    """The same expressions with every traced operation replaced by the graph of its value."""
    def rule(node: Node, args: tuple[Node, ...]) -> Node:
        operation = operation_of(node)
        if bodies(node):
            return make(node.op, args, node.attrs.mapped(expanded))
        if operation is None or operation.value is None:
            return with_args(node, args)
        return substituted([_expansion(operation)[node.op.extra["output"]]], dict(zip(operation.value.inputs, args)))[0]

    return rewrite(outputs, rule) if _has_operations(outputs) else list(outputs)


def _has_operations(outputs: Sequence[Node]) -> bool:
    return any(operation_of(n) or any(_has_operations(body.outputs) for _, body in bodies(n))
               for n in topological(outputs))


def _expansion(operation: Operation) -> list[Node]:
    return operation.once("expanded", lambda: expanded(operation.value.outputs))


def foreign_inputs(outputs: Sequence[Node], own: Sequence[Node]) -> list[Node]:
    """Inputs that do not belong to a template: traced values which the function found outside of itself."""
    known = set(own)
    return [n for n in topological(outputs) if n.op is INPUT and n not in known]
