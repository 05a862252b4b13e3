"""Inputs and vectors of the functions here: an array or a tuple of arrays, checked as PyTorch checks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.errors import DTypeMismatch, NonScalarOutput, ShapeMismatch
from symhess.trace import is_traced

if TYPE_CHECKING:
    from symhess.functional.points import Point


@dataclass(frozen=True)
class Given:
    """Arrays (or traced values, or what describes them), and whether they came as a tuple."""

    arrays: tuple[Any, ...]
    in_tuple: bool
    what: str = "inputs"

    @property
    def traced(self) -> bool:
        return any(map(is_traced, self.arrays))

    def like(self, parts: Sequence[Any]) -> Any:
        """One part per array, as a tuple where the arrays were in one."""
        return tuple(parts) if self.in_tuple else parts[0]


def given(name: str, inputs: Any) -> Given:
    """The inputs of function `name`."""
    in_tuple = isinstance(inputs, tuple)
    arrays = inputs if in_tuple else (inputs,)
    for k, x in enumerate(arrays):
        which = f"the value at index {k}" if in_tuple else "they"
        if not isinstance(x, np.ndarray | np.generic) and not is_traced(x):
            raise TypeError(f"the inputs of {name} must be an array or a tuple of arrays, but {which} "
                            f"{'has' if in_tuple else 'have'} type {type(x).__name__}")
        if np.dtype(x.dtype) not in (np.float32, np.float64):
            raise DTypeMismatch(f"{name} differentiates with respect to float32 and float64, but {which} "
                                f"{'has' if in_tuple else 'have'} dtype {x.dtype}; convert with astype(float)")
    if not arrays:
        raise TypeError(f"the inputs of {name} are an empty tuple")
    return Given(tuple(arrays), in_tuple)


def arrays_like(name: str, v: Any, wanted: Given) -> list[Any]:
    """The arrays of v, which has to be like the inputs (or the outputs)."""
    parts = v if isinstance(v, tuple) else (v,)
    if len(parts) != len(wanted.arrays):
        raise ShapeMismatch(f"{name}: v has {len(parts)} parts, the {wanted.what} {len(wanted.arrays)}")
    found = []
    for k, (part, x) in enumerate(zip(parts, wanted.arrays)):
        if not isinstance(part, np.ndarray | np.generic) and not is_traced(part):
            raise TypeError(f"{name}: v must be an array or a tuple of arrays, but it holds a {type(part).__name__}")
        if np.shape(part) != x.shape:
            which = f"part {k} of v" if wanted.in_tuple else "v"
            raise ShapeMismatch(f"{name}: {which} has shape {np.shape(part)}, the {wanted.what} {x.shape}")
        found.append(part if is_traced(part) else np.require(part, x.dtype, ("C", "A")))
    return found


def unit(name: str, wanted: Given) -> list[np.ndarray]:
    """What v is where it was left out."""
    if len(wanted.arrays) != 1 or int(np.prod(wanted.arrays[0].shape)) != 1:
        raise ShapeMismatch(f"{name}: v can be left out only where the {wanted.what} are one array with one element; "
                            f"give one like {[x.shape for x in wanted.arrays]}")
    return [np.ones(wanted.arrays[0].shape, wanted.arrays[0].dtype)]


def one_number(name: str, at: Point) -> Point:
    """The point, if the function returned a single element."""
    if at.in_tuple:
        raise NonScalarOutput(f"the function given to {name} must return one array with one element, it returned a "
                              "tuple")
    (shape,) = at.shapes
    if int(np.prod(shape)) != 1:
        raise NonScalarOutput(f"the function given to {name} must return one element, it returned an array of shape "
                              f"{shape}; take jacobian of it, or sum it")
    return at
