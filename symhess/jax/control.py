"""Rules of calls, branches and loops: calls are gone into, branches and loops become those of symhess."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Literal, Var

from symhess import loops
from symhess.jax.evaluation import evaluate, outputs_of
from symhess.jax.table import RANDOM, is_key, known, rule

Outs = Sequence[Any]


@rule("jit", "remat2")
def called(outs: Outs, *args: Any, jaxpr: Any = None, call_jaxpr: Any = None, **params: Any) -> list[Any]:
    """A function that is called: its equations."""
    return evaluate(_closed(call_jaxpr if jaxpr is None else jaxpr), args)


def _closed(jaxpr: Any) -> ClosedJaxpr:
    return jaxpr if hasattr(jaxpr, "jaxpr") else ClosedJaxpr(jaxpr, ())


@rule("cond")
def cond(outs: Outs, which: Any, *args: Any, branches: Sequence[ClosedJaxpr], **params: Any) -> list[Any]:
    """branches[which]; where that is known, its equations."""
    if known(which):
        return outputs_of(branches[min(max(int(which), 0), len(branches) - 1)], args)
    place = which.astype(np.int64)
    functions = [_on_traced(b, args) for b in branches]
    return list(loops.switch(place, functions, *_traced(args)))


def _traced(args: Sequence[Any]) -> list[Any]:
    """The arguments that depend on the inputs: a body takes the others as they are."""
    return [a for a in args if not known(a)]


def _on_traced(closed: ClosedJaxpr, args: Sequence[Any]) -> Callable:
    """A branch as a function of the arguments that depend on the inputs."""
    def body(*given: Any) -> tuple:
        rest = iter(given)
        return tuple(outputs_of(closed, [a if known(a) else next(rest) for a in args]))

    return body


@rule("while")
def while_(outs: Outs, *args: Any, cond_jaxpr: ClosedJaxpr, cond_nconsts: int, body_jaxpr: ClosedJaxpr,
           body_nconsts: int, **params: Any) -> list[Any]:
    """The last state; loops that count from a known number to another are `fori_loop`."""
    consts, init = args[:cond_nconsts + body_nconsts], list(args[cond_nconsts + body_nconsts:])
    before, within = consts[:cond_nconsts], consts[cond_nconsts:]
    found = loops.while_loop(lambda state: outputs_of(cond_jaxpr, [*before, *state])[0],
                             lambda state: tuple(outputs_of(body_jaxpr, [*within, *state])), tuple(init))
    return list(found)


@rule("scan")
def scan(outs: Outs, *args: Any, jaxpr: ClosedJaxpr, length: int, reverse: bool, num_consts: int, num_carry: int,
         **params: Any) -> list[Any]:
    """The last carry and the stacked results of all steps.

    A carry that only counts is known in every step. Loops that draw random numbers are unrolled.
    """
    consts, init, xs = args[:num_consts], args[num_consts:num_consts + num_carry], args[num_consts + num_carry:]
    if draws(jaxpr) or any(is_key(x) for x in (*init, *xs) if hasattr(x, "dtype")):
        return _unrolled(outs, jaxpr, length, reverse, consts, init, xs)
    counters = {k: s for k, s in _steps_of_counters(jaxpr, num_consts, num_carry).items() if known(init[k])}
    moving = [k for k in range(num_carry) if k not in counters]
    counts = {k: init[k] + counters[k] * np.arange(length) for k in counters}

    def body(carry: tuple, x: tuple) -> tuple[tuple, tuple]:
        at = {**dict(zip(moving, carry)), **dict(zip(counts, x[len(xs):]))}
        results = outputs_of(jaxpr, [*consts, *(at[k] for k in range(num_carry)), *x[:len(xs)]])
        return tuple(results[k] for k in moving), tuple(results[num_carry:])

    in_order = [np.flip(c) if reverse else c for c in counts.values()]
    carry, ys = loops.scan(body, tuple(init[k] for k in moving), (*xs, *in_order), length, reverse)
    last = {**dict(zip(moving, carry)), **{k: init[k] + counters[k] * length for k in counters}}
    return [*(last[k] for k in range(num_carry)), *ys]


def _steps_of_counters(closed: ClosedJaxpr, first: int, count: int) -> dict[int, int]:
    """The carries that become themselves plus a constant whole number in every step."""
    jaxpr, found = closed.jaxpr, {}
    made = {v: e for e in jaxpr.eqns for v in e.outvars}
    for k in range(count):
        own, new = jaxpr.invars[first + k], jaxpr.outvars[k]
        equation = made.get(new) if isinstance(new, Var) and not is_key(own.aval) else None
        if equation is None or equation.primitive.name != "add" or own.aval.shape or own.aval.dtype.kind not in "iu":
            continue
        for a, b in (equation.invars, equation.invars[::-1]):
            if a is own and isinstance(b, Literal):
                found[k] = int(b.val)
    return found


def draws(closed: ClosedJaxpr) -> bool:
    """True for a body that draws random numbers, or holds keys for them."""
    for equation in closed.jaxpr.eqns:
        if equation.primitive.name.startswith(RANDOM) or any(map(draws, inner_jaxprs(equation.params))):
            return True
    return False


def inner_jaxprs(params: dict) -> Iterator[ClosedJaxpr]:
    """The jaxprs in the parameters of an equation."""
    for value in params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if hasattr(part, "eqns") or hasattr(part, "jaxpr"):
                yield _closed(part)


def _unrolled(outs: Outs, jaxpr: ClosedJaxpr, length: int, reverse: bool, consts: Sequence[Any], init: Sequence[Any],
              xs: Sequence[Any]) -> list[Any]:
    """One step after the other."""
    carry, rows = list(init), []
    for k in reversed(range(length)) if reverse else range(length):
        results = outputs_of(jaxpr, [*consts, *carry, *(x[k] for x in xs)])
        carry = results[:len(init)]
        rows.append(results[len(init):])
    if reverse:
        rows.reverse()
    columns = zip(*rows) if rows else [() for _ in outs[len(init):]]
    return [*carry, *(np.stack(column) if column else np.zeros(o.shape, o.dtype)
                      for column, o in zip(columns, outs[len(init):]))]
