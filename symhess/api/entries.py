"""Direct entries: a call with arguments of a kind seen before goes to its kernel in one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.api.arguments import is_device_array, on_device
from symhess.graph.pytrees import flatten_in_order, static_key

if TYPE_CHECKING:
    from symhess.api.kernels import CompiledRunner
    from symhess.api.results import Result

#: entry(leaves of the arguments, out) -> what the user gets
Entry = Callable[[Sequence, Any], Any]
#: kinds(array) -> what tells its kind, None for what lies on no device
Kinds = Callable[[Any], "tuple | None"]
#: maker(otherwise) -> machine code that answers such calls and hands the others on, if there can be such
Maker = Callable[[Callable], "Callable | None"]
_array, _empty, _shared, _as_array = np.ndarray, np.empty, np.may_share_memory, np.asarray
NONE: frozenset[int] = frozenset()
#: what an entry gives that is not for these values, and how many paths are tried before all is looked at
MISS, WAYS = object(), 8
#: static arguments of these types are told apart by what they hold
PLAIN_STATICS = (np.ndarray, int, float, str, bool, type(None))
#: numbers of these types are known by their type
NUMBERS = (float, int, np.float64, np.float32, np.int64)
#: integers that fit into an array
LARGEST = 2**63
UNKNOWN = (None, (), NONE)
PRODUCT = ("hvp",)


def in_order(products: tuple[str, ...], args: Sequence, kwargs: dict) -> Iterator[tuple[int | str, Any]]:
    """Arguments by position or name, in the order in which a kernel takes them: the vector of a product comes last."""
    last = len(args) - (products[-1] == "hvp")
    yield from enumerate(args[:last])
    for name in sorted(kwargs):
        yield name, kwargs[name]
    if last < len(args):
        yield last, args[last]


def call_key(products: tuple[str, ...], args: tuple, kwargs: dict, static: frozenset[int | str] = frozenset(),
             device: Kinds | None = None) -> tuple[tuple | None, Sequence, frozenset[int]]:
    """What tells one kind of call from another, the leaves of the arguments, and which of them are static.

    It is made of products, the nesting, the shape and dtype of arrays that a kernel takes as they are, the types of
    numbers, and static values; None where anything else is passed. `device` tells kinds of device arrays apart.
    """
    if len(args) == 1 and not static and not kwargs and type(args[0]) is _array:
        only = args[0]
        return ((products, only.shape, only.dtype) if only.flags.carray else None), args, NONE
    key: list[Any] = [products]
    leaves: list[Any] = []
    fixed: list[int] = []
    for place, value in in_order(products, args, kwargs):
        found: Sequence[Any] = (value,)
        kind = type(value)
        if type(place) is str:
            key.append(place)
        if kind is not _array and kind not in PLAIN_STATICS and kind not in NUMBERS:
            on_device = device(value) if device is not None else None
            if on_device is None:
                found, *nesting = flatten_in_order(value)
                key += nesting
        if place in static:
            fixed += range(len(leaves), len(leaves) + len(found))
        for a in found:
            kind = type(a)
            if place in static:
                if kind not in PLAIN_STATICS:
                    return UNKNOWN
                key += (kind, static_key(a))
            elif kind is _array and a.flags.carray:
                key += (a.shape, a.dtype)
            elif kind in NUMBERS and (kind is not int or -LARGEST <= a < LARGEST):
                key.append(kind)
            elif device is not None and (there := device(a)) is not None:
                key += there
            else:
                return UNKNOWN
        leaves += found
    return tuple(key), leaves, frozenset(fixed)


def taking(entry: Entry, leaves: Sequence, arrays: Sequence[np.ndarray], fixed: frozenset[int]) -> Entry | None:
    """An entry for arguments of such leaves, of which the kernel takes `arrays`; None where more is to be done."""
    kept = [k for k in range(len(leaves)) if k not in fixed]
    if len(kept) != len(arrays):
        return None
    if all(leaves[k] is a for k, a in zip(kept, arrays)):
        return entry if not fixed else lambda leaves, out: entry([leaves[k] for k in kept], out)
    if any(map(is_device_array, arrays)):
        return _taking_from_devices(entry, leaves, arrays, kept)
    if not all(leaves[k] is a or type(leaves[k]) in NUMBERS for k, a in zip(kept, arrays)):
        return None
    numbers = [(k, a.dtype if type(leaves[k]) in NUMBERS else None) for k, a in zip(kept, arrays)]
    return lambda leaves, out: entry([leaves[k] if d is None else _as_array(leaves[k], d) for k, d in numbers], out)


def _taking_from_devices(entry: Entry, leaves: Sequence, arrays: Sequence[Any], kept: Sequence[int]) -> Entry | None:
    """An entry for arguments of which some lie on a device."""
    takers: list[tuple[int, Callable[[Any], Any]]] = []
    for k, a in zip(kept, arrays):
        if is_device_array(a):
            takers.append((k, lambda leaf, dtype=a.dtype: on_device(leaf).cast(dtype)))
        elif leaves[k] is a:
            takers.append((k, lambda leaf: leaf))
        elif type(leaves[k]) in NUMBERS:
            takers.append((k, lambda leaf, dtype=a.dtype: _as_array(leaf, dtype)))
        else:
            return None
    return lambda leaves, out: entry([take(leaves[k]) for k, take in takers], out)


class Known:
    """What is known for arguments of one kind: an entry for each path, the latest first, and answers yet to be made.

    Machine code that answers such calls is made when the second one comes: `pending` makes it.
    """

    def __init__(self) -> None:
        self.ways: tuple[tuple[Any, Entry], ...] = ()
        self.pending: list[Maker] = []

    def add(self, path: Any, way: Entry, maker: Maker | None) -> None:
        """`way` gives MISS where the guards of the path do not hold."""
        if any(path is known for known, _ in self.ways):
            return
        self.ways = ((path, way), *self.ways)[:WAYS]
        if maker is not None:
            self.pending.append(maker)

    def __call__(self, args: Sequence, out: Any) -> Any:
        for _, way in self.ways:
            found = way(args, out)
            if found is not MISS:
                return found
        return MISS


def guarded(path: Any, guards: CompiledRunner, entry: Entry) -> Entry:
    """The entry of a path behind the kernel of its guards: a kernel never sees values that it is not for."""
    kernel, count = guards.entry, len(path.inputs)

    def way(args: Sequence, out: Any) -> Any:
        holds = _empty((), bool)
        kernel(*args[:count], holds)
        if not holds:
            return MISS
        path.runs += 1
        return entry(args, out)

    return way


def entry_of(run: Any, results: Sequence[Result]) -> Entry:
    """The shortest way from the arguments of a call to the results of a kernel."""
    direct = getattr(run, "direct", False)
    if direct and len(results) == 1 and results[0].product.startswith("csr") and not results[0].lead:
        return _to_sparse(run, results[0])
    if not direct or not all(r.plain for r in results):
        return _through(run, results)
    return _to_one(run, results[0]) if len(results) == 1 else _to_several(run, results)


def _through(run: Any, results: Sequence[Result]) -> Entry:
    """Any runner, any results."""
    from symhess.api.results import compute, parts_of

    count = len(results)
    if count == 1:
        return lambda args, out: compute(run, args, results, None if out is None else (out,))[0]
    return lambda args, out: tuple(compute(run, args, results, parts_of(out, count)))


def _to_one(run: CompiledRunner, result: Result) -> Entry:
    """A kernel that fills one bare array."""
    kernel, otherwise, final = run.entry, _through(run, [result]), result.shape
    ((shape, dtype),) = result.buffers
    as_number, same = result.product == "value", shape == final

    def entry(args: Sequence, out: Any) -> Any:
        if out is None:
            made = _empty(shape, dtype)
            kernel(*args, made)
            if as_number:
                return made[()]
            return made if same else made.reshape(final)
        if same and type(out) is _array and out.shape == final and out.dtype == dtype and out.flags.carray and (
                not any(_shared(out, a) for a in args)):
            kernel(*args, out)
            return out
        return otherwise(args, out)

    return entry


def _to_sparse(run: CompiledRunner, result: Any) -> Entry:
    """A kernel that fills the values of a CSR array, also of an earlier result."""
    kernel, otherwise, known = run.entry, _through(run, [result]), result.layout.template
    ((shape, dtype),) = result.buffers
    kind, indices, indptr, full = type(known), known.indices, known.indptr, known.shape

    def entry(args: Sequence, out: Any) -> Any:
        if type(out) is kind and out.indices is indices and out.indptr is indptr and out.shape == full:
            data = out.data
            if type(data) is _array and data.shape == shape and data.dtype == dtype and data.flags.carray and (
                    not any(_shared(data, a) for a in args)):
                kernel(*args, data)
                return out
        return otherwise(args, out)

    return entry


def _to_several(run: CompiledRunner, results: Sequence[Result]) -> Entry:
    """A kernel that fills one bare array for each of several products."""
    kernel, otherwise = run.entry, _through(run, results)
    buffers = [b for r in results for b in r.buffers]

    def entry(args: Sequence, out: Any) -> tuple:
        if out is not None:
            return otherwise(args, out)
        made = [_empty(shape, dtype) for shape, dtype in buffers]
        kernel(*args, *made)
        return tuple([r.finished((m,)) for r, m in zip(results, made)])

    return entry
