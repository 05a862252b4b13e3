"""Which calls machine code answers by itself, and how the results lie in the buffers of their kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.api.entries import Maker, in_order
from symhess.api.results import Result, SparseResult, taken
from symhess.backends.c_functions import available
from symhess.backends.python_answer import Buffer, Call, Fixed, Group, Holder, Number, Taken, View, answer
from symhess.backends.python_entry import Array
from symhess.graph.pytrees import flatten, unflatten

#: static arrays of other kinds are not compared byte by byte
COMPARABLE = "biufc"
#: static values of these types do not change, and are compared by type and content
PLAIN = (int, float, str, bool)
#: more arrays in a result than this are put together by Python
MOST_LEAVES = 64


def maker_of(path: Any, run: Any, results: Sequence[Result], arguments: Sequence[Any], names: tuple[str, ...]) -> (
        Maker | None):
    """What makes the answer to calls with such arguments, of which the last ones have names.

    None where more than a kernel is needed.
    """
    kernels = [r.code for r in ((path.guard_runner, run) if path.guards else (run,))]
    if None in kernels or None in arguments:
        return None

    def make(otherwise: Callable) -> Callable | None:
        buffers, result, finish = layout_of(results)
        guard, guarded, count = ((kernels[0].address, len(path.inputs), path.count.ctypes.data) if path.guards else
                                 (0, 0, 0))
        call = Call(arguments, buffers, result, kernels[-1].address, names, any(k.releases for k in kernels), finish,
                    guard, guarded, count, holder_of(results))
        return answer(call, otherwise, (path, *kernels))

    return make


def obstacle() -> str:
    """Why no call is answered in machine code, for `explain`; empty where nothing is in the way."""
    return "" if available() else "calls: through Python, since its objects or NumPy's are not as expected here"


def arguments_of(products: tuple[str, ...], args: tuple, kwargs: dict, arrays: Sequence[np.ndarray],
                 fixed: frozenset[int], asked: dict[str, str]) -> list[Any]:
    """What each argument has to be, in the order of the call, where a kernel takes `arrays`; None for what cannot be
    checked.

    `fixed` leaves are static, and `asked` are keywords that come last. Static arrays are copied, their content is what
    a later call is held to.
    """
    found: dict[int | str, Any] = {}
    first, ready = 0, iter(enumerate(arrays))
    for place, value in in_order(products, args, kwargs):
        leaves, spec = flatten(value)
        if leaves and first in fixed and (whole := copied(value)) is not None:
            found[place], first = Fixed(whole), first + len(leaves)
            continue
        expected = [_fixed(a) if k in fixed else _taken(a, *next(ready)) for k, a in enumerate(leaves, first)]
        found[place] = nest_of(unflatten(spec, list(map(_Leaf, range(len(leaves))))), expected)
        first += len(leaves)
    return [*(found[place] for place in (*range(len(args)), *kwargs)), *map(Fixed, asked.values())]


def _taken(given: Any, place: int, array: np.ndarray) -> Taken:
    """What an argument has to be for the kernel that takes it as `array`."""
    if type(given) is np.ndarray:
        return Taken(place, Array(array.shape, array.dtype, False))
    return Taken(place, Number(type(given), array.dtype))


def _fixed(given: Any) -> Fixed | None:
    """A static value to compare with; None where that is not possible."""
    if type(given) is not np.ndarray:
        return Fixed(given)
    return Fixed(given.copy()) if given.dtype.kind in COMPARABLE else None


def copied(value: Any) -> Any:
    """Static tuples and lists with copies of all lists inside, as they can be compared as a whole; None for others."""
    if type(value) in PLAIN:
        return value
    if type(value) not in (tuple, list):
        return None
    parts = [copied(v) if v is not None else None for v in value]
    if any(p is None and v is not None for p, v in zip(parts, value)):
        return None
    return value if type(value) is tuple and all(p is v for p, v in zip(parts, value)) else type(value)(parts)


class _Leaf:
    """Stands for a leaf of arguments or results."""

    def __init__(self, number: int):
        self.number = number


def nest_of(tree: Any, parts: Sequence[Any]) -> Any:
    """A pytree of leaves as groups of parts; None where it has other containers, or a part is None."""
    if type(tree) is _Leaf:
        return parts[tree.number]
    if tree is None:
        return Fixed(None)
    if type(tree) not in (tuple, list, dict):
        return None
    keys = tuple(tree) if type(tree) is dict else tuple(range(len(tree)))
    made = [nest_of(tree[k], parts) for k in keys]
    if None in made or (type(tree) is dict and any(type(k) is not str for k in keys)):
        return None
    return Group(type(tree), tuple(zip(keys, made)))


def layout_of(results: Sequence[Result]) -> tuple[list[Buffer], Any, Callable | None]:
    """How results lie in the buffers of their kernel, for `python_answer`: (buffers, result, finish)."""
    buffers: list[Buffer] = []
    nests = []
    for r in results:
        nests.append(_nest_of_result(r, len(buffers)))
        numbers = r.product == "value"
        whole = [(r.shape, r.buffers[0][1])] if r.plain else r.buffers
        buffers += [Buffer(shape, dtype, numbers and not shape) for shape, dtype in whole]
    if None not in nests and sum(len(r.leaves) for r in results) <= MOST_LEAVES:
        return buffers, nests[0] if len(nests) == 1 else Group(tuple, tuple(enumerate(nests))), None

    def finish(*arrays: np.ndarray) -> Any:
        made = taken(results, iter(arrays))
        return made[0] if len(made) == 1 else tuple(made)

    return [Buffer(*b) for r in results for b in r.buffers], None, finish


def holder_of(results: Sequence[Result]) -> Holder | None:
    """What a sparse matrix that is given to be filled has to be: an earlier result, by its index arrays."""
    only = results[0]
    if len(results) > 1 or not isinstance(only, SparseResult) or only.lead:
        return None
    known = only.layout.template
    parts = vars(known)
    names = ("indices", "indptr", "_shape")
    return Holder(type(known), tuple((n, parts[n]) for n in names)) if all(n in parts for n in names) else None


def _nest_of_result(result: Result, first: int) -> Any:
    """A result as buffers, numbered from `first`, and views of them; None where there is more to it."""
    if result.plain:
        return first
    if result.product.startswith("csr"):
        return None
    tree = result.nested(list(map(_Leaf, range(len(result.leaves)))))
    if [shape for shape, _ in result.leaves] == [shape for shape, _ in result.buffers]:
        return nest_of(tree, [first + k for k in range(len(result.buffers))])
    ((shape, dtype),) = result.buffers
    whole = np.empty(shape, dtype)
    return nest_of(tree, [View(first, a.shape, a.strides, a.ctypes.data - whole.ctypes.data)
                          for a in result.split([whole])])
