"""trace(fn, args, kwargs): run a function once on tracers and collect what it computed."""

from __future__ import annotations

import dataclasses
import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import optree

from symhess.errors import DTypeMismatch, ShapeMismatch, SymhessError, SymhessWarning
from symhess.graph.node import INPUT, Node, current_source
from symhess.trace.complex_tracer import is_complex
from symhess.trace.nans import certain_nan
from symhess.trace.proxy import Rewriter
from symhess.trace.session import Guard, Session, _current, here
from symhess.trace.tracer import Tracer
from symhess.trace.ufuncs import node_of_any


class Traced(NamedTuple):
    """What a traced function returned, as nodes, the branches that it took on the way, and remarks for people."""

    outputs: Any
    guards: list[Guard]
    remarks: list[str]


def trace(fn: Callable, args: tuple, kwargs: dict | None = None,
          concrete: dict[Node, np.ndarray] | None = None, shared: dict[Any, Any] | None = None) -> Traced:
    """Call fn with tracers in place of the nodes in its arguments.

    `concrete` gives the values of the input nodes for this call, which branches on traced values need; `shared` is what
    an earlier trace shared with the traces inside it, where this one belongs to it.
    """
    session = Session(name_of(fn), _current.get(), concrete, shared)
    session.rewriter = session.parent.rewriter if session.parent is not None else Rewriter(fn)
    running, source = _current.set(session), current_source.set(current_source.get())
    try:
        given = _map(lambda x: _input(x, session), (args, kwargs or {}))
        result = session.rewriter.replace(fn)(*given[0], **given[1])
        outputs = _map(lambda x: _output(x, session), result)
        if session.parent is None and (told := certain_nan(_nodes(outputs), session.shared.get("nan", {}))):
            warnings.warn(f"{session.name}: {told}", SymhessWarning, stacklevel=2)
        return Traced(outputs, session.guards, list(session.shared.get("remarks", {})))
    except Exception as error:
        told = _telling(error)
        if told is error:
            raise
        raise told from None
    finally:
        session.alive = False
        if session.parent is None:
            session.rewriter.publish()
        current_source.reset(source)
        _current.reset(running)


def _telling(error: Exception) -> Exception:
    """The error that says most: ours where a library made its own of it, and shapes that do not fit with their line."""
    if isinstance(error, ShapeMismatch) and here() not in str(error):
        return ShapeMismatch(f"{error}{here()}")
    cause = error.__cause__
    return cause if isinstance(cause, SymhessError) and not isinstance(error, SymhessError) else error


def _nodes(outputs: Any) -> list[Node]:
    return [x for x in optree.tree_leaves(outputs, none_is_leaf=True) if isinstance(x, Node)]


def name_of(fn: Callable) -> str:
    if type(fn) is functools.partial:
        fn = fn.func
    return getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None) or type(fn).__name__


def looked_up(module: str | None, name: str | None) -> Any:
    """What a module holds under a qualified name, or None."""
    found: Any = sys.modules.get(module or "")
    for part in (name or "").split("."):
        found = getattr(found, part, None)
    return found


def _input(x: Any, session: Session) -> Any:
    if not isinstance(x, Node):
        return session.rewriter.replace(x)
    made = Tracer(x, session)
    made._frozen = True
    given = x.attrs.given if x.op is INPUT else None
    made._python, made._narrow = given in (int, float), given if isinstance(given, np.dtype) else None
    return made


def _output(x: Any, session: Session) -> Any:
    """Numbers and arrays as nodes; None, strings and the like as they are."""
    if is_complex(x):
        raise DTypeMismatch(f"{session.name} returned complex numbers ({getattr(x, 'dtype', 'complex')}): return the "
                            ".real or .imag part, np.abs(...) or np.angle(...) of them")
    if isinstance(x, (Tracer, int, float, np.generic, np.ndarray)):
        return node_of_any(x)
    return session.rewriter.restored(x)


def _map(leaf: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `leaf` to the leaves of nested tuples, lists, dicts, registered containers and dataclasses."""

    def visit(x: Any) -> Any:
        if dataclasses.is_dataclass(x) and not isinstance(x, type):
            return leaf(_rebuilt(x, {f.name: _map(leaf, getattr(x, f.name)) for f in dataclasses.fields(x)}))
        return leaf(x)

    return optree.tree_map(visit, tree, none_is_leaf=True)


def _rebuilt(x: Any, fields: dict[str, Any]) -> Any:
    """A copy of a dataclass instance with other field values; __init__ is not run again."""
    made = object.__new__(type(x))
    for name, value in getattr(x, "__dict__", {}).items():
        object.__setattr__(made, name, value)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made
