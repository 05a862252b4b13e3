"""np.vectorize, np.frompyfunc and np.nditer: traced arrays taken element by element."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from symhess.trace.construction import array
from symhess.trace.functions import tracers_in, unsupported
from symhess.trace.shaping import traced
from symhess.trace.ufunc_methods import fold, one_by_one


def elementwise(function: Callable, values: tuple, named: dict, cores: list[int], excluded: Any = ()) -> Any:
    """function(*cells) over the broadcast leading axes of the values; the last `core` axes of each stay together."""
    slots = [k for k in (*range(len(values)), *named) if k not in excluded]
    given = {**dict(enumerate(values)), **named}
    ranks = {k: cores[k] if isinstance(k, int) and k < len(cores) else 0 for k in slots}
    arrays = {k: traced(given[k]) for k in slots}
    leads = {k: a.shape[:a.ndim - ranks[k]] for k, a in arrays.items()}
    shape = np.broadcast_shapes(*leads.values())
    arrays = {k: np.broadcast_to(a, shape + a.shape[len(leads[k]):]) for k, a in arrays.items()}
    cells = [_called(function, {**given, **{k: a[place] for k, a in arrays.items()}}) for place in np.ndindex(*shape)]
    if cells and isinstance(cells[0], tuple):
        return tuple(_gathered(list(part), shape) for part in zip(*cells))
    return _gathered(cells, shape)


def _called(function: Callable, given: dict) -> Any:
    positional = [v for k, v in given.items() if isinstance(k, int)]
    return function(*positional, **{k: v for k, v in given.items() if not isinstance(k, int)})


def _gathered(cells: list, shape: tuple[int, ...]) -> Any:
    if not shape:
        return cells[0]
    made = array(cells)
    return made.reshape(shape + made.shape[1:])


def vectorize(pyfunc: Callable | None = None, otypes: Any = None, doc: Any = None, excluded: Any = None,
              cache: bool = False, signature: str | None = None) -> Any:
    """np.vectorize, of which the call looks for traced values."""
    if pyfunc is None:
        return functools.partial(vectorize, otypes=otypes, excluded=excluded, signature=signature)
    plain = np.vectorize(pyfunc, otypes, doc, excluded, cache, signature)
    inputs = re.findall(r"\(([^)]*)\)", signature.partition("->")[0]) if signature else []
    cores = [len([n for n in names.split(",") if n.strip()]) for names in inputs]

    @functools.wraps(pyfunc)
    def run(*values: Any, **named: Any) -> Any:
        if not any(True for _ in tracers_in((values, named))):
            return plain(*values, **named)
        return elementwise(pyfunc, values, named, cores, excluded or ())

    return run


class FromPython:
    """np.frompyfunc: a function of scalars with some of the methods of a ufunc."""

    def __init__(self, function: Callable, nin: int, nout: int, *, identity: Any = None):
        self._plain = np.frompyfunc(function, nin, nout, identity=identity)
        self._function = function

    def __call__(self, *values: Any, **options: Any) -> Any:
        if not any(True for _ in tracers_in(values)):
            return self._plain(*values, **options)
        return elementwise(self._function, values, {}, [])

    def reduce(self, a: Any, axis: int = 0, **options: Any) -> Any:
        plain = not any(True for _ in tracers_in(a))
        return self._plain.reduce(a, axis, **options) if plain else fold(self, a, axis, False)

    def accumulate(self, a: Any, axis: int = 0, **options: Any) -> Any:
        if not any(True for _ in tracers_in(a)):
            return self._plain.accumulate(a, axis, **options)
        return np.moveaxis(one_by_one(self, np.moveaxis(traced(a), axis, 0)), 0, axis)


class Iteration:
    """np.nditer over traced arrays, element by element in C order; what is written into an element goes to its array.
    """

    def __init__(self, op: Any, flags: Any = None, op_flags: Any = None, op_dtypes: Any = None, order: str = "K",
                 **options: Any):
        arrays = [traced(a) for a in (op if isinstance(op, (list, tuple)) else [op])]
        known = {"multi_index", "c_index", "refs_ok", "zerosize_ok"}
        if order not in ("C", "K") or set(flags or ()) - known or options:
            raise unsupported("nditer with these flags")
        if order == "K" and not all(a.layout().flags.c_contiguous for a in arrays):
            raise unsupported("nditer in the order of memory; give order=\"C\"")
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        self.operands = tuple(a if a.shape == shape else np.broadcast_to(a, shape) for a in arrays)
        self._places = list(np.ndindex(*shape))
        self._at = 0

    @property
    def multi_index(self) -> tuple[int, ...]:
        return self._places[self._at]

    @property
    def index(self) -> int:
        return self._at

    @property
    def finished(self) -> bool:
        return self._at >= len(self._places)

    @property
    def value(self) -> Any:
        parts = tuple(a[(*self.multi_index, ...)] for a in self.operands)
        return parts if len(parts) > 1 else parts[0]

    def __getitem__(self, k: int) -> Any:
        return self.operands[k][(*self.multi_index, ...)]

    def __setitem__(self, k: int, value: Any) -> None:
        self.operands[k][self.multi_index] = value

    def iternext(self) -> bool:
        self._at += 1
        return not self.finished

    def __iter__(self) -> Iterator[Any]:
        while not self.finished:
            yield self.value
            self._at += 1

    def __enter__(self) -> Iteration:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def nditer(op: Any, *args: Any, **options: Any) -> Any:
    """np.nditer, or its stand-in where an operand is traced."""
    traced_operand = any(True for _ in tracers_in(op if isinstance(op, list) else [op]))
    return (Iteration if traced_operand else np.nditer)(op, *args, **options)
