"""Where the user is: the line of an equation, and a frame that says so."""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jaxlib

_JAX = tuple(os.path.dirname(os.path.abspath(m)) + os.sep for m in (jax.__file__, jaxlib.__file__))
_INTERNAL = (*_JAX, os.path.dirname(os.path.abspath(__file__)) + os.sep, "<frozen")


class Place(NamedTuple):
    """A line of the user's."""

    file: str
    line: int
    function: str


def is_library(path: str | None) -> bool:
    """True for a file of JAX."""
    return path is not None and path.startswith(_JAX)


def place_of(equation: Any) -> Place | None:
    """The line that an equation comes from: the innermost frame outside of JAX, or None."""
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        if not frame.file_name.startswith(_INTERNAL):
            return Place(frame.file_name, frame.line_num, frame.function_name.rpartition(".")[2])
    return None


def _call(function: Callable, *args: Any) -> Any:
    return function(*args)


@functools.lru_cache(maxsize=4096)
def in_line(place: Place | None) -> Callable:
    """A function that calls another from the user's line: error messages and tracebacks show that line."""
    if place is None:
        return _call
    code = _call.__code__.replace(co_filename=place.file, co_firstlineno=max(place.line - 1, 1), co_name=place.function)
    return types.FunctionType(code, globals())
