"""Which calls machine code answers by itself, and how the results lie in the buffers of their kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from symhess.api.entries import Maker
from symhess.api.results import Result, taken
from symhess.backends.python_answer import Buffer, Call, Fixed, Number, View, answer
from symhess.backends.python_entry import Array

#: static arrays of other kinds are not compared byte by byte
COMPARABLE = "biufc"
#: more arrays in a result than this are put together by Python
MOST_LEAVES = 64


class _Leaf(NamedTuple):
    """Stands for an array of a result."""

    number: int


def maker_of(path: Any, run: Any, results: Sequence[Result], args: tuple, arrays: Sequence[np.ndarray],
             static: frozenset[int]) -> Maker | None:
    """What makes the answer to calls with arguments like `args`, of which the kernel takes `arrays`.

    None where more than a kernel is needed. Static arrays are copied, their content is what a later call is held to.
    """
    kernels = [r.code for r in ((path.guard_runner, run) if path.guards else (run,))]
    if None in kernels:
        return None
    ready = iter(arrays)
    arguments = []
    for k, a in enumerate(args):
        expected = _argument(a, None if k in static else next(ready))
        if expected is None:
            return None
        arguments.append(expected)

    def make(otherwise: Callable) -> Callable | None:
        buffers, result, finish = layout_of(results)
        guard, count = (kernels[0].address, path.count.ctypes.data) if path.guards else (0, 0)
        call = Call(arguments, buffers, result, kernels[-1].address, any(k.releases for k in kernels), finish, guard,
                    count)
        return answer(call, otherwise, (path, *kernels))

    return make


def _argument(given: Any, array: np.ndarray | None) -> Array | Number | Fixed | None:
    """What an argument has to be for the kernel that takes it as `array`; None where that cannot be checked."""
    if array is not None:
        return Number(array.dtype) if type(given) is float else Array(array.shape, array.dtype, False)
    if type(given) is not np.ndarray:
        return Fixed(given)
    return Fixed(given.copy()) if given.dtype.kind in COMPARABLE else None


def layout_of(results: Sequence[Result]) -> tuple[list[Buffer], Any, Callable | None]:
    """How results lie in the buffers of their kernel, for `python_answer`: (buffers, result, finish)."""
    buffers: list[Buffer] = []
    trees = []
    for r in results:
        tree = _tree_of(r, len(buffers))
        trees.append(tree)
        numbers = r.product == "value"
        whole = [(r.shape, r.buffers[0][1])] if r.plain else r.buffers
        buffers += [Buffer(shape, dtype, numbers and not shape) for shape, dtype in whole]
    if None not in trees and sum(len(r.leaves) for r in results) <= MOST_LEAVES:
        return buffers, trees[0] if len(trees) == 1 else tuple(trees), None
    shapes = [s for r in results for s in r.buffers]

    def finish(*arrays: np.ndarray) -> Any:
        made = taken(results, iter(arrays))
        return made[0] if len(made) == 1 else tuple(made)

    return [Buffer(shape, dtype) for shape, dtype in shapes], None, finish


def _tree_of(result: Result, first: int) -> Any:
    """A result as buffers and views in nested tuples, its buffers numbered from `first`; None where it is not such."""
    if result.plain:
        return first
    nest = result.nested([_Leaf(k) for k in range(len(result.leaves))])
    if len(result.leaves) == len(result.buffers):
        parts: list[Any] = [first + k for k in range(len(result.buffers))]
    else:
        ((shape, dtype),) = result.buffers
        whole = np.empty(shape, dtype)
        parts = [View(first, a.shape, a.strides, a.ctypes.data - whole.ctypes.data) for a in result.split([whole])]
    return _replaced(nest, parts)


def _replaced(nest: Any, parts: list[Any]) -> Any:
    if type(nest) is _Leaf:
        return parts[nest.number]
    if type(nest) is not tuple:
        return None
    made = tuple(_replaced(x, parts) for x in nest)
    return None if None in made else made
