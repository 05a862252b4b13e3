"""The running trace: its lifetime, captured constants, source locations, and values found on demand."""

from __future__ import annotations

import contextvars
import linecache
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from symhess.errors import ConcretizationError, DTypeMismatch, LeakedTracer
from symhess.graph.node import CONSTANT, Node, constant, current_source
from symhess.primitives import apply, cast, reduce_with

FLOAT64 = np.dtype(np.float64)
BOOL = np.dtype(bool)
_INTERNAL = tuple(os.path.dirname(os.path.abspath(m)) + os.sep
                  for m in (os.path.dirname(__file__), np.__file__, find_spec("scipy").origin))

_TESTS = os.sep + "tests" + os.sep  # code of a package's users


@dataclass(frozen=True)
class Guard:
    """A branch that was taken while tracing: the path is valid for inputs where `node` equals `outcome`."""

    node: Node
    outcome: Any
    source: str | None
    what: str = ""  # what asked for the value, for people


class Session:
    """One trace in progress. Tracers belong to a session and end with it."""

    def __init__(self, name: str, parent: Session | None, concrete: dict[Node, np.ndarray] | None,
                 shared: dict[Any, Any] | None = None):
        self.name = name
        self.parent = parent
        self.alive = True
        #: in bodies of loops and branches, whose derivatives are dense, look-ups need not keep their structure
        self.is_body: bool = parent is not None and parent.is_body
        self.rewriter: Any = None
        self.guards: list[Guard] = []
        self.borrows = concrete is None and parent is not None
        self.values: dict[Node, np.ndarray] | None = dict(concrete) if concrete is not None else (
            parent.values if parent is not None else None)
        self.scalars: dict[tuple, Node] = {}
        #: what all traces within the outermost one share: rules that were made, remarks for people
        self.shared: dict[Any, Any] = shared if shared is not None else {} if parent is None else parent.shared
        #: methods that traced values have beside those of arrays, and other spellings of keywords
        self.methods: Mapping[str, Callable] = parent.methods if parent is not None else {}
        self.keywords: Mapping[str, str] = parent.keywords if parent is not None else {}
        self._constants: dict[int, tuple[np.ndarray, Node]] = {}

    def constant(self, array: np.ndarray) -> Node:
        """The node of a captured array; an unchanged array is hashed only once."""
        dtype = graph_dtype(array.dtype if array.dtype != np.float16 else np.dtype(np.float32))
        if array.size <= 64:
            return self._noted(constant(array, dtype))
        found = self._constants.get(id(array))
        if found is not None and np.array_equal(found[1].attrs.array, array.view(np.ndarray)):
            return found[1]
        node = self._noted(constant(array, dtype))
        self._constants[id(array)] = (array, node)
        return node

    def _noted(self, node: Node) -> Node:
        """The constant, its line remembered if it is not a number everywhere: nodes are shared by all traces."""
        if node.dtype.kind == "f" and np.isnan(node.attrs.array).any():
            self.shared.setdefault("nan", {}).setdefault(node, current_source.get())
        return node

    def scalar(self, value: Any, dtype: np.dtype) -> Node:
        """The node of one number."""
        if not value:  # 0.0 and -0.0 are equal as keys, but not as numbers
            return constant(value, dtype)
        key = (value, dtype)
        node = self.scalars.get(key)
        if node is None:
            node = self.scalars[key] = self._noted(constant(value, dtype))
        return node

    def remark(self, text: str) -> None:
        """Note something that explain() should tell about this function."""
        self.shared.setdefault("remarks", {})[text] = None

    def record(self, node: Node, outcome: Any, what: str, source: str | None = None) -> None:
        """Note a guard here, and in every enclosing trace whose values decided it."""
        guard = Guard(node, outcome, source or current_source.get(), what)
        session: Session | None = self
        while session is not None:
            session.guards.append(guard)
            session = session.parent if session.borrows else None

    def check(self) -> None:
        if not self.alive:
            raise LeakedTracer(f"a value traced in {self.name} was used after {self.name} had returned{here()}; "
                               "return it instead of storing it in a variable that outlives the call")

    def value(self, node: Node, what: str, remedy: str) -> np.ndarray:
        """The value of `node` for this call, without a guard; an error where it cannot be known."""
        if node.op is CONSTANT:
            return node.attrs.array
        if self.values is None or not _fill_in(node, self.values):
            raise ConcretizationError(f"{what} needs the value of {describe(node)}, which depends on the inputs of "
                                      f"{self.name}{here()}; {remedy}")
        return self.values[node]

    def decide(self, node: Node, kind: Callable[[Any], Any], what: str, remedy: str) -> Any:
        """The Python value of a one-element node, guarded so that the path is only reused where it holds."""
        value = kind(self.value(node, what, remedy).reshape(()).item())
        if kind is bool and node.dtype != BOOL:
            node = apply("not_equal", node, constant(0, node.dtype))
        if not known(node):
            self.record(node, value, what)
        return value

    def decide_array(self, node: Node, what: str, remedy: str) -> np.ndarray:
        """The value of an integer or boolean array, guarded as a whole."""
        value = self.value(node, what, remedy)
        if not known(node):
            self.require(apply("equal", node, constant(value)), what)
        return value

    def require(self, condition: Node, what: str) -> None:
        """Guard that a boolean array is true everywhere, as it is now."""
        count = cast(condition, np.int64)
        least = reduce_with("min", count, range(count.ndim)) if count.size else constant(1)
        self.record(apply("equal", least, constant(1)), True, what)


def known(node: Node) -> bool:
    """True for compile-time constants, broadcast ones included."""
    return node.op is CONSTANT or (node.op.name == "index" and node.args[0].op is CONSTANT)


def _fill_in(node: Node, values: dict[Node, np.ndarray]) -> bool:
    """Add the value of `node` and of what it needs to `values`; False if it hangs on an input without a value."""
    stack, order, seen = [(node, False)], [], set()
    while stack:
        current, done = stack.pop()
        if done:
            order.append(current)
        elif current not in values and current not in seen:
            seen.add(current)
            if not current.args and current.op is not CONSTANT:
                return False
            stack.append((current, True))
            stack.extend((a, False) for a in current.args)
    with np.errstate(all="ignore"):
        for current in order:
            value = current.op.evaluate([values[a] for a in current.args], current)
            values[current] = np.asarray(value, dtype=current.dtype)
    return True


def graph_dtype(dtype: np.dtype) -> np.dtype:
    """The element type that holds `dtype` in a graph: float32, float64, int64 or bool."""
    if dtype.kind == "f" and dtype.itemsize in (4, 8):
        return np.dtype(f"f{dtype.itemsize}")
    if dtype.kind in "iu":
        return np.dtype(np.int64)
    if dtype.kind == "b":
        return BOOL
    raise DTypeMismatch(f"arrays of dtype {dtype} cannot be traced{here()}: use float32, float64, integers or booleans")


# -- the current session -------------------------------------------------------------------------------------------

_current: contextvars.ContextVar[Session | None] = contextvars.ContextVar("symhess_session", default=None)
current_session = _current.get


# -- where the user is ---------------------------------------------------------------------------------------------

_places: dict[tuple[int, int], tuple[Any, str | None]] = {}


def mark(frame: Any = None) -> None:
    """Stamp nodes made from now on with the user's statement: the innermost frame outside symhess and NumPy."""
    frame = sys._getframe(1) if frame is None else frame
    while frame is not None:
        code = frame.f_code
        key = (id(code), frame.f_lasti)
        found = _places.get(key)
        if found is None:
            found = _places[key] = (code, _place(frame))
        if found[1] is not None:
            if current_source.get() is not found[1]:
                current_source.set(found[1])
            return
        frame = frame.f_back


def _place(frame: Any) -> str | None:
    code = frame.f_code
    internal = code.co_filename.startswith(_INTERNAL) and _TESTS not in code.co_filename
    if internal or code.co_filename.startswith("<__array_function__"):
        return None
    path = os.path.relpath(code.co_filename) if os.path.isabs(code.co_filename) else code.co_filename
    path = code.co_filename if path.startswith("..") else path
    return sys.intern(f"{path}:{frame.f_lineno} in {code.co_name}")  # one object for each line


def here(source: str | None = None) -> str:
    """`` at file:line in function: `the line` `` for error messages, or nothing where it is not known."""
    source = current_source.get() if source is None else source
    if not source:
        return ""
    place = source.split(" in ")[0]
    path, _, line = place.rpartition(":")
    text = linecache.getline(os.path.abspath(path), int(line)).strip() or linecache.getline(path, int(line)).strip()
    return f" at {source}" + (f": `{text}`" if text else "")


def describe(node: Node) -> str:
    """A short name of an expression for error messages."""
    kind = f"{node.dtype}{list(node.shape)}"
    name = node.attrs.name if node.op.name == "input" else f"{node.op.name}(...)"
    return f"{name} ({kind})"
