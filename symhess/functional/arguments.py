"""Inputs and vectors of the functions here: an array or a tuple of arrays, checked as PyTorch checks them.

PyTorch's own tensors are taken, too: what they are to NumPy is known to `symhess.torch`, which makes a `Given` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.api.outputs import as_float
from symhess.errors import DTypeMismatch, NonScalarOutput, ShapeMismatch
from symhess.functional.differentiable import differentiable
from symhess.trace import is_traced

if TYPE_CHECKING:
    from symhess.functional.points import Point


class Arrays:
    """NumPy's arrays, as the kind of array that results are made of and vectors are given as."""

    def array(self, x: Any, name: str, which: str) -> Any:
        """x as an array, or a traced value; TypeError for anything else."""
        if not isinstance(x, np.ndarray | np.generic) and not is_traced(x):
            raise TypeError(f"{which} of {name} must be an array or a tuple of arrays, not {type(x).__name__}")
        return x

    def result(self, a: Any) -> Any:
        """An array as the user gets it."""
        return a

    def differentiable(self, found: Any, func: Callable, asked: Given, along: Given | None, key: Hashable,
                       again: Callable[[Callable, Any, Any], Any]) -> Any:
        """Results that can be differentiated again: `again(func, inputs, v)` computes them anew."""
        v = along and along.like(along.arrays)
        return differentiable(found, lambda *inputs: again(asked.closed(func), asked.like(inputs), v))


ARRAYS = Arrays()


@dataclass(frozen=True)
class Given:
    """Arrays (or traced values, or what describes them), and whether they came as a tuple.

    `data` are further arguments of the function, which are not differentiated. `given` is what the user gave, where
    that is needed. A `settled` function computes at every call what it computed at the first one. `options` are those
    of `hessian_jit`.
    """

    arrays: tuple[Any, ...]
    in_tuple: bool
    what: str = "inputs"
    kind: Arrays = ARRAYS
    data: tuple[Any, ...] = ()
    given: tuple[Any, ...] = ()
    settled: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def traced(self) -> bool:
        return any(map(is_traced, self.arrays))

    def closed(self, func: Callable, data: Sequence[Any] | None = None) -> Callable:
        """The function of the differentiated inputs alone, for these data or others."""
        given = self.data if data is None else data
        return func if not given else lambda *inputs: func(*inputs, *given)

    def like(self, parts: Sequence[Any]) -> Any:
        """One part per array, as a tuple where the arrays were in one."""
        return tuple(parts) if self.in_tuple else parts[0]


def prepared(name: str, func: Callable, inputs: Any) -> tuple[Callable, Given]:
    """The function of arrays that function `name` is to look at, and its inputs."""
    if isinstance(inputs, Given):
        return func, inputs
    in_tuple = isinstance(inputs, tuple)
    parts = inputs if in_tuple else (inputs,)
    if any(type(x).__module__.partition(".")[0] == "torch" for x in parts):
        from symhess.torch.arrays import captured

        return captured(name, func, parts, in_tuple)
    return func, Given(checked(name, parts, in_tuple, ARRAYS), in_tuple)


def checked(name: str, parts: Sequence[Any], in_tuple: bool, kind: Arrays) -> tuple[Any, ...]:
    """The inputs as arrays of floats."""
    if not parts:
        raise TypeError(f"the inputs of {name} are an empty tuple")
    arrays = []
    for k, x in enumerate(parts):
        which = f"the input at index {k}" if in_tuple else "the input"
        a = kind.array(x, name, which)
        if np.dtype(a.dtype) not in (np.float32, np.float64):
            raise DTypeMismatch(f"{name} differentiates with respect to float32 and float64, but {which} has dtype "
                                f"{x.dtype}; convert it")
        arrays.append(a)
    return tuple(arrays)


def vector(name: str, v: Any, wanted: Given) -> Given:
    """v, which has to be like the inputs (or the outputs); 1 where it was left out for a single element."""
    if v is None:
        return changed(wanted, arrays=(_unit(name, wanted),), data=())
    parts = v if isinstance(v, tuple) else (v,)
    if len(parts) != len(wanted.arrays):
        raise ShapeMismatch(f"{name}: v has {len(parts)} parts, the {wanted.what} {len(wanted.arrays)}")
    found = []
    for k, (part, x) in enumerate(zip(parts, wanted.arrays)):
        part = wanted.kind.array(part, name, "v")
        if np.shape(part) != x.shape:
            which = f"part {k} of v" if wanted.in_tuple else "v"
            raise ShapeMismatch(f"{name}: {which} has shape {np.shape(part)}, the {wanted.what} {x.shape}")
        found.append(part if is_traced(part) else np.require(part, x.dtype, ("C", "A")))
    return changed(wanted, arrays=tuple(found), data=(), given=parts)


def _unit(name: str, wanted: Given) -> np.ndarray:
    if len(wanted.arrays) != 1 or int(np.prod(wanted.arrays[0].shape)) != 1:
        raise ShapeMismatch(f"{name}: v can be left out only where the {wanted.what} are one array with one element; "
                            f"give one like {[x.shape for x in wanted.arrays]}")
    return np.ones(wanted.arrays[0].shape, wanted.arrays[0].dtype)


def one_number(name: str, at: Point) -> Point:
    """The point, if the function returned a single floating element."""
    if at.in_tuple:
        raise NonScalarOutput(f"the function given to {name} must return one array with one element, it returned a "
                              "tuple")
    (shape,) = at.shapes
    if int(np.prod(shape)) != 1:
        raise NonScalarOutput(f"the function given to {name} must return one element, it returned an array of shape "
                              f"{shape}; take jacobian of it, or sum it")
    as_float(at.outputs[0], at.inputs)
    return at
