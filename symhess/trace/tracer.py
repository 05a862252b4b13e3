"""Tracer: what the traced function computes with instead of arrays and numbers.

A tracer is a value (an immutable node), the owner of a `Storage` once it has been written into, or a view: a chain
of NumPy view operations on such an owner, brought up to date whenever the owner has changed.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from symhess.errors import ConcretizationError, DTypeMismatch, InputMutation, UnsupportedOperation
from symhess.graph.node import Node
from symhess.primitives import apply, cast, element
from symhess.trace.indexing import is_basic, moved_view, open_key, skeleton, subscript
from symhess.trace.refusals import instead_of, library_function
from symhess.trace.session import FLOAT64, Session, current_session, describe, here, mark
from symhess.trace.storage import Storage

_NUMBERS = frozenset((float, int, np.float64))
View = Callable[[np.ndarray], np.ndarray]


class Tracer:
    """Stands for an array or a number while a function is traced; behaves as `numpy.ndarray` does."""

    __array_priority__ = 1000.0
    _store: Storage | None = None  # the memory, once written into or made as a buffer
    _root: Tracer | None = None    # the owner of the memory that this is a view of
    _views: tuple[View, ...] = ()  # how this view arises from its owner
    _version = 0                   # the owner's version that `_node` was read at
    _frozen = False                # an input that has not been written into
    _elements: dict | None = None  # parts already taken of a value
    _python = False                # a number of Python's own: it raises where it is divided by zero
    _narrow: np.dtype | None = None  # the dtype of integers that were given with fewer bits than they are computed in

    def __init__(self, node: Node | None, session: Session):
        self._node = node
        self._session = session

    @property
    def __class__(self) -> type:
        """What isinstance, class patterns of `match` and single dispatch see: NumPy's own type, or Python's `int`."""
        if not self._session.alive:
            return Tracer
        if self._python and self.dtype.kind == "i":
            return int
        plain = self._node is not None and self._store is None and self._root is None
        value = self._node if plain else self
        return np.ndarray if value.shape else value.dtype.type

    # -- the value --------------------------------------------------------------------------------------

    @property
    def node(self) -> Node:
        """The graph node of the current contents."""
        if not self._session.alive:
            self._session.check()
        if self._store is None and self._root is None:
            return self._node
        return self._store.node() if self._root is None else self._read_view()

    def _owner(self) -> Tracer:
        return self if self._root is None else self._root

    def _read_view(self) -> Node:
        store = self._root._store
        version = 0 if store is None else store.version
        if self._node is None or version != self._version:
            self._node = store.read(self.cells())
            self._version = version
        return self._node

    def _memory(self) -> Storage:
        """The storage behind this tracer, made on the first write."""
        owner = self._owner()
        if owner._frozen:
            raise InputMutation(f"{owner._session.name} writes into its input {describe(owner._node)}{here()}; "
                                "make a copy first: x = x.copy()")
        if owner._store is None:
            owner._store = Storage(owner._node, owner._session)
        return owner._store

    def thaw(self) -> None:
        """Let an in-place operator on a whole input change the function's own copy, which all views of it see."""
        owner = self._owner()
        owner._frozen = owner._frozen and self.size != owner.size

    def cells(self) -> np.ndarray:
        """The flat numbers, in the memory, of the elements of this array."""
        cells = self._memory().shadow
        for view in self._views:
            cells = view(cells)
        return cells

    def layout(self) -> np.ndarray:
        """An array with the strides that this one has in NumPy; its memory is not there to be read."""
        made = skeleton(self._owner().shape)
        for view in self._views:
            made = view(made)
        return made

    @property
    def concrete(self) -> np.ndarray | None:
        """The contents as a plain array while no traced value is in it, else None."""
        store = self._store if self._root is None else self._root._store
        if store is None or not store.concrete:
            return None
        data = store.data
        for view in self._views:
            data = view(data)
        return data

    def viewed(self, view: View, rule: Callable[[Node], Node] | None = None) -> Any:
        """The array under a NumPy operation that returns a view; `rule` builds its node (by strides if None)."""
        data = self.concrete
        if data is not None and not isinstance(view(data), np.ndarray):
            return view(data)
        child = Tracer(None, current_session() or self._session)
        child._root, child._views, child._narrow = self._owner(), (*self._views, view), self._narrow
        store = child._root._store
        if store is None:
            child._node = (rule or (lambda n: moved_view(n, view)))(self.node)
        return child

    # -- shape ------------------------------------------------------------------------------------------

    def _like(self) -> Node | np.ndarray:
        data = self.concrete
        return self.node if data is None else data

    @property
    def shape(self) -> tuple[int, ...]:
        return self._like().shape

    @property
    def ndim(self) -> int:
        return self._like().ndim

    @property
    def size(self) -> int:
        return int(self._like().size)

    @property
    def dtype(self) -> np.dtype:
        return self._like().dtype if self._narrow is None else self._narrow

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            raise TypeError("len() of unsized object")
        return shape[0]

    def __iter__(self) -> Iterator[Any]:
        mark()
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return iter([self[i] for i in range(len(self))])

    # -- indexing ---------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        if self._store is None and (self._root is None or self._root._store is None):
            kind = type(key)
            if kind is int or (kind is tuple and all(type(k) is int for k in key)):
                found = None if self._elements is None else self._elements.get(key)
                if found is None:
                    mark()
                    found = self._part(key)
                elif not self._session.alive:
                    self._session.check()
                return found
        mark()
        return self._item(key)

    def _part(self, key: int | tuple[int, ...]) -> Any:
        """One element (or row) of a value, remembered."""
        node = self.node
        places = key if type(key) is tuple else (key,)
        if len(places) == node.ndim:
            found = Tracer(element(node, _positions(places, node.shape)), self._session)
            found._narrow = self._narrow
        else:
            found = self._item(key)
        if self._elements is None:
            self._elements = {}
        self._elements[key] = found
        return found

    def _item(self, key: Any) -> Any:
        from symhess.trace.assignment import dynamic_item, plain_key

        key, dynamic = plain_key(key, self)
        if dynamic:
            return dynamic_item(self, key)
        memory = self._owner()._store
        if memory is not None and memory.piece is not None:
            cells = self.cells()[key]
            if not isinstance(cells, np.ndarray) or not is_basic(key):  # an ellipsis makes a view of one element
                return wrap(memory.read(cells), self)
        if not is_basic(key):
            data = self.concrete
            return self._taken(key) if data is None else buffer(data[key], self._session)
        if data_rank(key) == self.ndim and self.concrete is None:
            return self._taken(key)
        if self.concrete is not None:
            return self.viewed(lambda a: a[key])
        opened = open_key(key)
        return self.viewed(lambda a: a[opened])

    def _taken(self, key: Any) -> Tracer:
        """A part that has its own memory in NumPy."""
        found = wrap(subscript(self.node, key), self)
        found._narrow = self._narrow
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        from symhess.trace.assignment import assign

        mark()
        assign(self, key, value)

    # -- conversions that need a value --------------------------------------------------------------------

    def _decide(self, kind: Callable[[Any], Any], what: str, remedy: str) -> Any:
        data = self.concrete
        if data is not None:
            return kind(data)
        mark()
        node = self.node
        if node.size != 1:
            if kind is bool:
                raise ValueError("The truth value of an array with more than one element is ambiguous. "
                                 "Use a.any() or a.all()")
            raise TypeError("only length-1 arrays can be converted to Python scalars")
        session = current_session() or self._session
        return session.decide(node, kind, what, remedy)

    def __bool__(self) -> bool:
        return self._decide(bool, "a branch (if, while, and, or)", "write it with np.where, np.maximum or np.minimum, "
                            "or let the function be retraced for every path (mode=\"auto\")")

    def __int__(self) -> int:
        if self.concrete is None and self.dtype.kind == "f":
            mark()
            return int(wrap(cast(apply("trunc", self.node), np.int64), self))
        return self._decide(int, "int()", "keep the value as it is, or let the function be retraced (mode=\"auto\")")

    def __index__(self) -> int:
        if self.dtype.kind != "i":
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        return self._decide(operator.index, "an index or a range", "use a constant, or let the function be retraced "
                            "(mode=\"auto\")")

    def __float__(self) -> float:
        data = self.concrete
        if data is not None:
            return float(data)
        from symhess.trace.session import known

        mark()
        if self.node.size == 1 and known(self.node):
            return self._decide(float, "float()", "")
        raise self._refused(f"float() would cut {describe(self.node)} off from the inputs of {self._session.name}"
                            f"{here()}; leave it out: the traced value is a number already. For text, use an f-string")

    def __hash__(self) -> int:
        """Numbers may be keys of a dict or members of a set, as NumPy's are; which one it is becomes a guard."""
        if self.ndim:
            raise TypeError("unhashable type: 'numpy.ndarray'")
        return hash(self._decide(lambda v: v, "a key of a dict or a set", "use a list instead, or let the function be "
                                 "retraced (mode=\"auto\")"))

    def __complex__(self) -> complex:
        raise UnsupportedOperation(f"complex() would cut a traced number off{here()}; multiply by 1j, or make the "
                                   "array with np.zeros(..., dtype=complex)")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        from symhess.trace.session import known

        data = self.concrete
        if data is None and known(self.node):
            data = (current_session() or self._session).value(self.node, "", "")
        if data is None:
            mark()
            raise self._refused(
                f"{describe(self.node)} cannot become a plain array{here()}: code outside the traced function asked "
                "for its numbers. Call a NumPy function on it instead; write it into an array made by np.zeros or "
                "np.array within the traced function; or leave np.asarray out")
        return np.array(data, dtype=dtype, copy=copy)

    def _refused(self, reason: str) -> ConcretizationError:
        """The error for code that needs plain numbers, by the name of the library function if there is one."""
        function = library_function()
        if function is None:
            return ConcretizationError(reason)
        return ConcretizationError(f"{function} cannot be traced{here()}: it needs the plain numbers of "
                                   f"{describe(self.node)}, not a plain array of traced values; nearest supported: "
                                   f"{instead_of(function)}")

    def __repr__(self) -> str:
        if not self._session.alive:
            return f"<traced value of {self._session.name}, which has returned>"
        data = self.concrete
        return f"traced({describe(self.node)})" if data is None else f"traced({data!r})"

    def shown(self) -> Any:
        """The numbers of this call, for their text, guarded: text may be compared, or read as a number again."""
        session = current_session() or self._session
        data = self.concrete
        if data is None:
            mark()
            data = session.decide_array(self.node, "the text of a value", "leave it out, or print the value itself")
        return data if data.ndim else data[()]

    def __format__(self, spec: str) -> str:
        session = current_session() or self._session
        if self.concrete is None and session.values is None:
            return repr(self)
        return Text.of(self, spec) if EXACT.fullmatch(spec) else format(self.shown(), spec)

    def __str__(self) -> str:
        return Text.of(self)

    def __getattr__(self, name: str) -> Any:
        mark()
        if name in self._session.methods:
            return functools.partial(self._session.methods[name], self)
        raise AttributeError(f"a traced value has no attribute {name!r}{here()}; use a function of "
                             "NumPy instead")

    def __deepcopy__(self, memo: dict) -> Any:
        return self.copy()

    def __copy__(self) -> Any:
        return self.copy()


#: formats that write all digits of a number: none, or at least 17 significant ones
EXACT = re.compile(r"|[ +-]?\.(?:1[7-9]|[2-9]\d)[gG]|[ +-]?\.(?:1[6-9]|[2-9]\d)[eE]")


class Text(str):
    """All digits of a number; what reads it as a number again gets the traced value back, with its derivative."""

    origin: Tracer

    @classmethod
    def of(cls, x: Tracer, spec: str = "") -> Text:
        known = x._session.values is not None or x.concrete is not None
        made = cls(format(x.shown(), spec) if spec else x.shown() if known else repr(x))
        made.origin = x
        return made


def data_rank(key: Any) -> int:
    """How many axes a basic key takes away if it holds nothing but ints, else -1."""
    key = key if type(key) is tuple else (key,)
    return len(key) if all(isinstance(k, (int, np.integer)) for k in key) else -1


def _positions(places: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    for axis, (p, n) in enumerate(zip(places, shape)):
        if not -n <= p < n:
            raise IndexError(f"index {p} is out of bounds for axis {axis} with size {n}{here()}")
    return [p + n if p < 0 else p for p, n in zip(places, shape)]


def is_traced(x: Any) -> bool:
    """True for the stand-ins that a traced function computes with."""
    return isinstance(x, Tracer)


def node_of(x: Tracer) -> Node:
    """The graph node of a traced value."""
    return x.node


def wrap(node: Node, like_tracer: Tracer) -> Tracer:
    """A traced value for `node`, in the trace that `like_tracer` is used in."""
    return Tracer(node, current_session() or like_tracer._session)


def buffer(data: Any, session: Session) -> Any:
    """A plain array that the traced function may write traced values into; plain numbers stay numbers."""
    if isinstance(data, Tracer):
        return data
    if isinstance(data, np.ndarray) and session is not None and data.dtype.kind == "c" and data.dtype.itemsize <= 16:
        from symhess.trace.complex_tracer import complex_buffer

        return complex_buffer(data, session)
    if not isinstance(data, np.ndarray) or session is None or data.dtype.kind not in "fiub" or data.dtype.itemsize > 8:
        return data
    made = Tracer(None, session)
    made._store = Storage(data.view(np.ndarray), session)
    return made


# -- operators -----------------------------------------------------------------------------------------------------


def _binary(ufunc: np.ufunc, primitive: str, swapped: bool) -> Callable[[Tracer, Any], Any]:
    """The operator method; same-typed values and numbers take a short way to the primitive."""

    def method(self: Tracer, other: Any) -> Any:
        mark()
        a = self._node if self._store is None and self._root is None and self._session.alive else self.node
        if a.dtype is FLOAT64:
            kind, session = type(other), current_session() or self._session
            b = None
            if kind is Tracer:
                b = other._node if other._store is None and other._root is None else other.node
                if b.dtype is not FLOAT64 or (b.shape != a.shape and b.shape and a.shape):
                    b = None
            elif kind in _NUMBERS:
                b = session.scalar(other, FLOAT64)
            if b is not None:
                made = Tracer(apply(primitive, b, a) if swapped else apply(primitive, a, b), session)
                if self._python and is_python(other):
                    return _of_python(made, primitive, self if swapped else other)
                return made
        return _general(ufunc, self, other, swapped)

    return method


def python_number(x: Any) -> Any:
    """The traced number as one of Python's own, not of NumPy's."""
    if type(x) is not Tracer or x.concrete is not None or x.node.ndim:
        return x
    made = wrap(x.node, x)
    made._python = True
    return made


def is_python(x: Any) -> bool:
    """True for a number of Python's own, traced or not."""
    kind = type(x)
    return kind is float or kind is int or kind is bool or (kind is Tracer and x._python)


def _of_python(result: Tracer, primitive: str, divisor: Any) -> Tracer:
    """The result of two numbers of Python's own."""
    from symhess.trace.raising import within_try

    if primitive in ("div", "remainder") and result._session.values is not None and within_try() and divisor == 0:
        raise ZeroDivisionError("float division by zero" if primitive == "div" else "float modulo")
    result._python = True
    return result


def _general(ufunc: np.ufunc, self: Tracer, other: Any, swapped: bool) -> Any:
    from symhess.trace.ufuncs import call_ufunc, is_operand

    if not is_operand(other):
        return NotImplemented
    if isinstance(other, np.matrix) and self.ndim:
        raise DTypeMismatch(f"np.matrix multiplies as matrices do, which is not traced{here()}; nearest supported: "
                            f"{instead_of('numpy.matrix')}")
    pair = (other, self) if swapped else (self, other)
    if not (self._python and is_python(other)):
        return call_ufunc(ufunc, pair)
    if ufunc is np.power and all(isinstance(v, int) for v in pair) and pair[1] < 0:
        pair = (1.0 * pair[0], pair[1])
    result = call_ufunc(ufunc, pair)
    return tuple(map(python_number, result)) if isinstance(result, tuple) else python_number(result)


def _unary(ufunc: np.ufunc) -> Callable[[Tracer], Any]:
    def method(self: Tracer) -> Any:
        from symhess.trace.ufuncs import call_ufunc

        mark()
        result = call_ufunc(ufunc, (self,))
        return python_number(result) if self._python else result

    return method


def _in_place(name: str) -> Callable[[Tracer, Any], Any]:
    """x += y writes into the memory of x; numbers and inputs are rebound to a new value instead."""
    forward = getattr(operator, name)

    def method(self: Tracer, other: Any) -> Any:
        from symhess.trace.assignment import overwrite

        result = forward(self, other)
        if not self.ndim:
            return result
        return overwrite(self, result)

    return method


for _name, _ufunc, _primitive in (
    ("add", np.add, "add"), ("sub", np.subtract, "sub"), ("mul", np.multiply, "mul"), ("truediv", np.divide, "div"),
    ("pow", np.power, "pow"), ("mod", np.remainder, "remainder"),
):
    setattr(Tracer, f"__{_name}__", _binary(_ufunc, _primitive, False))
    setattr(Tracer, f"__r{_name}__", _binary(_ufunc, _primitive, True))
for _name, _ufunc, _primitive in (
    ("lt", np.less, "less"), ("le", np.less_equal, "less_equal"), ("gt", np.greater, "greater"),
    ("ge", np.greater_equal, "greater_equal"), ("eq", np.equal, "equal"), ("ne", np.not_equal, "not_equal"),
):
    setattr(Tracer, f"__{_name}__", _binary(_ufunc, _primitive, False))


def slow_binary(ufunc: np.ufunc, swapped: bool) -> Callable[[Tracer, Any], Any]:
    def method(self: Tracer, other: Any) -> Any:
        mark()
        return _general(ufunc, self, other, swapped)

    return method


for _name, _ufunc in (
    ("floordiv", np.floor_divide), ("divmod", np.divmod), ("matmul", np.matmul), ("and", np.bitwise_and),
    ("or", np.bitwise_or), ("xor", np.bitwise_xor), ("lshift", np.left_shift), ("rshift", np.right_shift),
):
    setattr(Tracer, f"__{_name}__", slow_binary(_ufunc, False))
    setattr(Tracer, f"__r{_name}__", slow_binary(_ufunc, True))
for _name, _ufunc in (("neg", np.negative), ("pos", np.positive), ("abs", np.absolute), ("invert", np.invert)):
    setattr(Tracer, f"__{_name}__", _unary(_ufunc))
for _name in ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv", "matmul", "and_", "or_", "xor", "lshift",
              "rshift"):
    setattr(Tracer, f"__i{_name.rstrip('_')}__", _in_place(_name))
