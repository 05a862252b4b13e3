"""Nodes and primitives: the one expression type of symhess, interned so that equal means identical.

Grammar of a graph (checked by `symhess.graph.verify`):

    Graph = (inputs: Node*, outputs: Node*)
    Node  = (op: Primitive, args: Node*, attrs: hashable, shape, dtype)
    dtype = float32 | float64 | int64 | bool

Equal nodes are the same object: `a is b` compares expressions in O(1), and a common subexpression exists once.
"""

from __future__ import annotations

import contextvars
import hashlib
import itertools
import math
import operator
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]

#: "file:line in function" of the user's statement that is being traced; stamped on new nodes.
current_source: contextvars.ContextVar[str | None] = contextvars.ContextVar("symhess_source", default=None)


@dataclass(frozen=True, eq=False)
class Primitive:
    """Everything about one operation, declared in one place.

    infer(args, attrs) -> (shape, dtype)          what the result looks like; raises ShapeMismatch, DTypeMismatch
    evaluate(arrays, node) -> ndarray             NumPy meaning, used by the interpreter
    vjp(node, g) -> [Node | None per argument]    pullback of the cotangent g (shape of the node)
    jvp(node, tangents) -> Node                   pushforward; tangents[i] is None where argument i does not move
    batch(node, args, axes_added) -> Node         the same operation where axes_added[i] says that args[i] has a
                                                  new leading axis; the result has it too

    Operations that a user's function brings along (`symhess.rules`) have an `extra["operation"]`, and stand in no
    registry: they live as long as the nodes that use them. Operations with bodies have attrs with `graphs()`, and an
    `extra["pullback"]`: a vjp (node, g, active) that is told which arguments derivatives are wanted by.
    """

    name: str
    infer: Callable[[Sequence[Node], Any], tuple[Shape, np.dtype]]
    evaluate: Callable[[Sequence[np.ndarray], Node], np.ndarray]
    vjp: Callable[[Node, Node], Sequence[Node | None]] | None = None
    jvp: Callable[[Node, Sequence[Node | None]], Node] | None = None
    batch: Callable[[Node, Sequence[Node], Sequence[bool]], Node] | None = None
    family: str = ""
    doc: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self):
        return (primitive_named, (self.name,))


PRIMITIVES: dict[str, Primitive] = {}


def register(primitive: Primitive) -> Primitive:
    """Enter a primitive into the one registry; names are unique."""
    if primitive.name in PRIMITIVES:
        raise ValueError(f"primitive {primitive.name!r} is declared twice")
    PRIMITIVES[primitive.name] = primitive
    return primitive


def primitive_named(name: str) -> Primitive:
    return PRIMITIVES[name]


class Node:
    """One interned expression. Make nodes through the constructors in `symhess.primitives`, never directly."""

    __slots__ = ("__weakref__", "args", "attrs", "dtype", "op", "serial", "shape", "source")

    op: Primitive
    args: tuple[Node, ...]
    attrs: Any
    shape: Shape
    dtype: np.dtype
    serial: int
    source: str | None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<{self.op.name} {self.dtype}{list(self.shape)} #{self.serial}>"

    def __reduce__(self):
        return (make, (self.op, self.args, self.attrs))


class _Reference(weakref.ref):
    """A weak reference to a node in the table, which knows its key there."""

    __slots__ = ("key",)
    key: tuple


#: the living nodes; a third of the time that weakref.WeakValueDictionary takes, and traces make many nodes
_interned: dict[tuple, _Reference] = {}
_lock = threading.RLock()  # nodes may die, and be forgotten, in the thread that holds it
_serials = itertools.count()


def _forget(dead: _Reference) -> None:
    """Take a node that is gone out of the table, unless another one stands in its place by now."""
    with _lock:
        if _interned.get(dead.key) is dead:
            del _interned[dead.key]


def make(op: Primitive, args: Sequence[Node] = (), attrs: Any = None) -> Node:
    """The node (op, args, attrs), made now or found among the living ones."""
    if type(args) is not tuple:
        args = tuple(args)
    key = (op, attrs, *[a.serial for a in args])
    known = _interned.get(key)
    if known is not None and (found := known()) is not None:
        return found
    shape, dtype = op.infer(args, attrs)
    node = Node.__new__(Node)
    node.op, node.args, node.attrs = op, args, attrs
    node.shape = shape if type(shape) is tuple else tuple(shape)
    node.dtype = dtype if isinstance(dtype, np.dtype) else np.dtype(dtype)
    node.serial, node.source = next(_serials), current_source.get()
    reference = _Reference(node, _forget)
    reference.key = key
    with _lock:
        known = _interned.setdefault(key, reference)
        if known is not reference:
            if (found := known()) is not None:  # made by another thread meanwhile
                return found
            _interned[key] = reference
    return node


class InputAttrs(NamedTuple):
    """Identity of an input: unique token, name for people, shape and dtype.

    `given` is what NumPy's promotion takes it for, where that is another type: `int` or `float` for a number of
    Python's own, or an integer dtype of fewer bits.
    """

    token: int
    name: str
    shape: Shape
    dtype: str
    given: Any = None


class Constant:
    """A frozen array that hashes by content."""

    __slots__ = ("array", "digest")

    def __init__(self, array: np.ndarray):
        self.array = np.array(array, order="C", copy=True)
        self.array.flags.writeable = False
        head = f"{self.array.dtype.str}{self.array.shape}".encode()
        self.digest = hashlib.blake2b(head + self.array.tobytes(), digest_size=16).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self):
        return (Constant, (self.array,))


def _no_evaluation(arrays: Sequence[np.ndarray], node: Node) -> np.ndarray:
    raise TypeError(f"{node!r} has no value of its own")


INPUT = register(Primitive("input", lambda args, a: (a.shape, np.dtype(a.dtype)), _no_evaluation, family="leaf"))
CONSTANT = register(Primitive("constant", lambda args, a: (a.array.shape, a.array.dtype),
                              lambda arrays, node: node.attrs.array, family="leaf"))

_tokens = itertools.count()


def input_node(name: str, shape: Shape, dtype: Any = np.float64, given: Any = None) -> Node:
    """A fresh input, different from every other one."""
    return make(INPUT, (), InputAttrs(next(_tokens), name, tuple(shape), np.dtype(dtype).str, given))


def constant(value: Any, dtype: Any = None) -> Node:
    """A constant array or scalar, copied now (a later change of the original is not seen)."""
    return make(CONSTANT, (), Constant(np.asarray(value, dtype=dtype)))


def is_constant(node: Node, value: float | None = None) -> bool:
    """True for a constant node; with `value`, only if every element equals it."""
    if node.op is not CONSTANT:
        return False
    array = node.attrs.array
    return value is None or (array.size == 1 and bool(array.reshape(()) == value))


def scalar_value(node: Node) -> Any:
    """The number held by a one-element constant, or None."""
    if node.op is CONSTANT and node.attrs.array.size == 1:
        return node.attrs.array.reshape(())[()]
    return None


@dataclass(frozen=True, eq=False)
class Graph:
    """A function: inputs in order, outputs in order."""

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    def nodes(self) -> list[Node]:
        """All nodes that the outputs need, arguments before users."""
        return topological(self.outputs)

    def __str__(self) -> str:
        from symhess.graph.printing import format_graph

        return format_graph(self)


def bodies(node: Node) -> list[tuple[str, Graph]]:
    """What a loop or a switch repeats or chooses from: graphs of their own, each with a heading."""
    return list(node.attrs.graphs()) if hasattr(node.attrs, "graphs") else []


def topological(outputs: Iterable[Node],
                children: Callable[[Node], Sequence[Node]] = operator.attrgetter("args")) -> list[Node]:
    """All nodes below `outputs`, arguments first; iterative, linear in the number of edges.

    `children(node)`, asked once per node, may replace its arguments: none below a leaf, what else it is made of.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Node | None] = list(outputs)[::-1]
    while stack:
        node = stack.pop()
        if node is None:  # all below the next one is there
            order.append(stack.pop())
        elif node not in seen:
            seen.add(node)
            args = children(node)
            if args:
                stack += (node, None, *args[::-1])
            else:
                order.append(node)
    return order


def depends_on(nodes: Sequence[Node], sources: Iterable[Node],
               passes: Callable[[Node], bool] = lambda node: True) -> set[Node]:
    """Those of the topologically ordered `nodes` that `sources` can influence through nodes that pass it on
    (sources included)."""
    active = set(sources)
    for node in nodes:
        if node not in active and any(a in active for a in node.args) and passes(node):
            active.add(node)
    return active


def rewrite(outputs: Sequence[Node], rule: Callable[[Node, tuple[Node, ...]], Node | None],
            given: dict[Node, Node] | None = None) -> list[Node]:
    """Rebuild `outputs` bottom-up: rule(node, new_args) gives the replacement, or None to keep the operation."""
    new: dict[Node, Node] = dict(given or {})
    for node in topological(outputs, lambda n: () if n in new else n.args):
        if node in new:
            continue
        args = tuple(new[a] for a in node.args)
        replacement = rule(node, args)
        if replacement is None:
            replacement = node if args == node.args else make(node.op, args, node.attrs)
        new[node] = replacement
    return [new[o] for o in outputs]


def substitute(outputs: Sequence[Node], mapping: dict[Node, Node]) -> list[Node]:
    """The same expressions with some nodes replaced."""
    return rewrite(outputs, lambda node, args: None, mapping)
