"""What the names in restricted Python stand for while it is compiled: numbers, memory, arrays, and types.

A value has a kind and LLVM operands. Numbers promote as in Numba: bool < i64 < float < double, and an integer beside a
float is a double.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from symhess.backends.spelling import literal

#: LLVM's name of each element type, how wide it is in memory, and what a loaded element is as a number
ELEMENT = {"float64": "double", "float32": "float", "int64": "i64", "int32": "i32", "bool": "i8", "uint8": "i8"}
BYTES = {"double": 8, "float": 4, "i64": 8, "i32": 4, "i8": 1}
NUMBERS = ("i1", "i64", "u64", "float", "double")


class Unsupported(Exception):
    """Restricted Python has no such thing: Numba compiles the function."""


@dataclass(frozen=True)
class Number:
    """A number in an operand; `constant` is its value where that is known."""

    kind: str
    text: str
    constant: Any = None


@dataclass(frozen=True)
class Memory:
    """A pointer to elements of a type."""

    element: str
    text: str
    boolean: bool = False


@dataclass(frozen=True)
class View:
    """A C-contiguous array: its memory, and one operand per axis."""

    memory: Memory
    shape: tuple[Number, ...]


@dataclass(frozen=True)
class Items:
    """A tuple."""

    values: tuple


@dataclass(frozen=True)
class Static:
    """Anything known when the function is compiled that is not a number: a function, a module, a type, text, None."""

    value: Any


Value = Number | Memory | View | Items | Static
NOTHING = Static(None)


def integer(value: int) -> Number:
    """A constant whole number."""
    return Number("i64", str(int(value)), int(value))


def real(value: float, kind: str = "double") -> Number:
    """A constant of a floating type."""
    rounded = float(np.float32(value)) if kind == "float" else float(value)
    return Number(kind, literal(rounded, kind), rounded)


def boolean(value: bool) -> Number:
    """A constant truth value."""
    return Number("i1", literal(value, "i1"), bool(value))


def as_constant(value: Any) -> Value:
    """A Python object as a value."""
    if isinstance(value, (bool, np.bool_)):
        return boolean(bool(value))
    if isinstance(value, (int, np.integer)):
        return integer(int(value))
    if isinstance(value, np.float32):
        return real(float(value), "float")
    if isinstance(value, (float, np.floating)):
        return real(float(value))
    if isinstance(value, tuple):
        return Items(tuple(map(as_constant, value)))
    return Static(value)


def common_kind(a: str, b: str) -> str:
    """The kind of the result of arithmetic between two numbers."""
    kinds = {a, b}
    if "double" in kinds or ("float" in kinds and kinds & {"i64", "u64"}):
        return "double"
    if "float" in kinds:
        return "float"
    return "u64" if kinds == {"u64"} else "i64"


def number_kind(memory: Memory) -> str:
    """What an element is once it is loaded."""
    if memory.element == "i8":
        if not memory.boolean:
            raise Unsupported("bytes as numbers")
        return "i1"
    return "i64" if memory.element == "i32" else memory.element
