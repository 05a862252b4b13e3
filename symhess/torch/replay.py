"""Replay: a Record as a function of arrays, for symhess to trace.

Every step becomes NumPy code on traced arrays by its rule (`symhess.torch.rules`). An operation without one is recorded
anew from PyTorch's own decomposition of it, on tensors without data, and that record is replayed in its place. Views
and writes into them mean for traced arrays what they mean for tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch._decomp import decomposition_table

from symhess.errors import UnsupportedOperation
from symhess.rules import stop_gradient
from symhess.torch.places import Place
from symhess.torch.recording import Meta, Record, Recorder, Ref, Step, functional, nature
from symhess.torch.rules import find_rule
from symhess.trace import Tracer
from symhess.trace.session import current_session
from symhess.trace.tracer import buffer

DTYPES = {torch.float32: np.float32, torch.float64: np.float64, torch.bool: np.bool_, torch.uint8: np.int64,
          torch.int8: np.int64, torch.int16: np.int64, torch.int32: np.int64, torch.int64: np.int64}


class Missing:
    """A value that no rule could compute: an error where it is used for a result."""

    def __init__(self, what: str):
        self.what = what

    def error(self) -> UnsupportedOperation:
        return UnsupportedOperation(self.what)


def replay(record: Record, values: dict[int, Any]) -> Any:
    """The outputs of a record, given the values from outside by number."""
    for k in record.written:
        values[k] = values[k].copy()
    for step in record.steps:
        _run(step, record, values)
    return outputs_of(record.outputs, values)


def outputs_of(refs: Any, values: dict[int, Any]) -> Any:
    """Values in place of references; UnsupportedOperation for one that could not be computed."""
    if isinstance(refs, tuple) and not isinstance(refs, Ref):
        return tuple(outputs_of(r, values) for r in refs)
    found = values[refs.number] if isinstance(refs, Ref) else refs
    if isinstance(found, Missing):
        raise found.error()
    return found


def _run(step: Step, record: Record, values: dict[int, Any]) -> None:
    """Compute the results of a step."""
    given: list[Missing] = []

    def value(x: Any) -> Any:
        if isinstance(x, Ref):
            found = values[x.number]
            given.extend([found] if isinstance(found, Missing) else [])
            return found
        return [value(y) for y in x] if isinstance(x, tuple) else x

    args, kwargs = [value(x) for x in step.args], {k: value(v) for k, v in step.kwargs.items()}
    outs = [None if k is None else record.metas[k] for k in step.results]
    results: Any = _missing(step, given, outs)
    if results is None:
        results = _computed(step, record, args, kwargs, outs)
    kind = nature(step.op)
    if kind.writes and not isinstance(results, Missing):
        target = args[kind.writes[0]] if isinstance(kind.writes[0], int) else kwargs[kind.writes[0]]
        _write(target, results[0], step)
        return
    for n, k in enumerate(step.results):
        if k is not None:
            found = results if isinstance(results, Missing) else results[n]
            values[k] = stop_gradient(found) if step.stopped and isinstance(found, Tracer) else found


def _write(target: Any, result: Any, step: Step) -> None:
    if step.past:
        before = np.copy(target)
        result = before + stop_gradient(result - before)
    target[...] = stop_gradient(result) if step.stopped and not step.past else result


def _missing(step: Step, given: Sequence[Missing], outs: Sequence[Meta | None]) -> Missing | None:
    """Why this step cannot be computed, if so."""
    if given:
        return given[0]
    for meta in outs:
        if meta is not None and meta.dtype not in DTYPES:
            return Missing(f"{step.op} gives a tensor of dtype {meta.dtype}, which is not traced{step.place}; convert "
                           "to torch.float32 or torch.float64 first")
    return None


def _computed(step: Step, record: Record, args: list, kwargs: dict, outs: list) -> Any:
    """The results of a step as a list, in the dtypes that PyTorch gives them."""
    rule = find_rule(step.op)
    if rule is None:
        found = _decomposed(step, record, args, kwargs)
    else:
        found = in_line(step.place)(rule, outs, args, kwargs)
    if isinstance(found, Missing):
        return found
    results = list(found) if isinstance(found, tuple | list) else [found]
    return [_fitted(r, meta, step) for r, meta in zip(results, outs)]


def _fitted(x: Any, meta: Meta | None, step: Step) -> Any:
    if x is None or meta is None or isinstance(x, Missing):
        return Missing(f"{step.op}: this result of it is not traced{step.place}") if x is None else x
    if not isinstance(x, Tracer):
        x = buffer(np.array(np.broadcast_to(x, meta.shape), DTYPES[meta.dtype]), current_session())
    if x.shape != meta.shape:
        raise AssertionError(f"{step.op}: the rule gives shape {x.shape}, PyTorch {meta.shape}{step.place}")
    return x if x.dtype == DTYPES[meta.dtype] else x.astype(DTYPES[meta.dtype])


# -- decompositions ------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def decomposition(op: Any) -> Callable | None:
    """PyTorch's own way to compute an operation by others, or None."""
    plain = functional(op) if nature(op).writes else op
    if plain is None or nature(plain).writes:
        return None
    found = decomposition_table.get(plain)
    return found if found is not None else plain.decompose if plain._can_decompose() else None


def has_rule(op: Any) -> bool:
    """True if the operation can be replayed."""
    return find_rule(op) is not None or decomposition(op) is not None


def _decomposed(step: Step, record: Record, args: list, kwargs: dict) -> Any:
    """Record the decomposition of a step on tensors of its shapes, and replay that."""
    function = decomposition(step.op)
    if function is None:
        return Missing(f"{step.op} has no rule{step.place}; nearest supported: other operations of PyTorch, or "
                       "symhess.external")
    tensors: dict[int, torch.Tensor] = {}
    values: list[Any] = []

    def stand_in(x: Any, given: Any) -> Any:
        if isinstance(x, Ref):
            meta = record.metas[x.number]
            if x.number not in tensors:
                tensors[x.number] = torch.empty(meta.shape, dtype=meta.dtype, device="meta")
                values.append(given)
            return tensors[x.number]
        return [stand_in(y, g) for y, g in zip(x, given)] if isinstance(x, tuple) else x

    shapes = [stand_in(x, g) for x, g in zip(step.args, args)]
    named = {k: stand_in(v, kwargs[k]) for k, v in step.kwargs.items()}
    for name in ("device",):
        if named.get(name) is not None:
            named[name] = torch.device("meta")
    recorder = Recorder(list(tensors.values()), has_rule, fold=False)
    try:
        with recorder:
            result = function(*shapes, **named)
    except (RuntimeError, NotImplementedError, UnsupportedOperation) as problem:
        return Missing(f"{step.op} has no rule{step.place} ({problem})")
    inner = recorder.record
    numbers = {k: x for k, x in inner.outside.items() if isinstance(x, float)}
    if any(k not in inner.active and k not in numbers for k in inner.outside):
        return Missing(f"{step.op} has no rule{step.place}")
    many = isinstance(result, tuple | list)
    inner.outputs = tuple(recorder.ref(t) for t in (result if many else (result,)))
    inner.steps = [s._replace(place=step.place, stopped=False) for s in inner.steps]
    replay(_quiet(inner), given := {**numbers, **dict(zip(inner.active, values))})
    return [given[r.number] if isinstance(r, Ref) else None for r in inner.outputs]


def _quiet(record: Record) -> Record:
    """The record without outputs: what is missing there is an error only where it is used."""
    return Record(record.steps, record.metas, record.outside, record.active, record.varying, record.written)


# -- lines ---------------------------------------------------------------------------------------------------------


def _call(rule: Callable, outs: list, args: list, kwargs: dict) -> Any:
    return rule(outs, *args, **kwargs)


@functools.lru_cache(maxsize=4096)
def in_line(place: Place) -> Callable:
    """A function that calls a rule from the user's line: error messages and tracebacks show that line."""
    if not place.file:
        return _call
    code = _call.__code__.replace(co_filename=place.file, co_firstlineno=max(place.line - 1, 1), co_name=place.function)
    return type(_call)(code, globals())
