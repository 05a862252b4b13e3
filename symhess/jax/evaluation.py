"""Evaluation: the equations of a jaxpr on traced values, one after the other.

What does not depend on the inputs is computed at once: by NumPy, by the same rules, where there is one, else by JAX.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, DropVar, Jaxpr, JaxprEqn, Literal

from symhess.errors import DTypeMismatch, UnsupportedOperation
from symhess.jax.equations import as_function
from symhess.jax.library import library_rule
from symhess.jax.places import in_line, is_library, place_of
from symhess.jax.table import RANDOM, RULES, Missing, Rule, is_key, known
from symhess.trace import is_traced
from symhess.trace.session import graph_dtype, here, mark

#: what NumPy computes as it is; of other types (bfloat16, keys) only JAX knows how
_PLAIN = frozenset("fiub")


def outputs_of(closed: ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
    """The outputs of a jaxpr for traced values and plain arrays."""
    results = evaluate(closed, args)
    _check(results)
    return results


def _check(values: Sequence[Any]) -> None:
    for x in values:
        if isinstance(x, Missing):
            raise x.error


def evaluate(closed: ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
    """The same, where those that could not be computed are `Missing`, so that they may be unused."""
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.constvars, map(as_plain, closed.consts)))
    values.update(zip(jaxpr.invars, args))

    def value(v: Any) -> Any:
        return literal(v) if isinstance(v, Literal) else values[v]

    inside = is_library(jaxpr.debug_info.func_filename)
    for equation in live_equations(jaxpr):
        results = _results(equation, [value(v) for v in equation.invars], inside)
        values.update((v, r) for v, r in zip(equation.outvars, results) if not isinstance(v, DropVar))
    return [value(v) for v in jaxpr.outvars]


def literal(v: Any) -> np.ndarray:
    """The number that stands in a jaxpr."""
    return np.asarray(v.val, v.aval.dtype)


def live_equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """The equations that the outputs depend on; what only prints, or checks, is left out."""
    needed = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    live = []
    for equation in reversed(jaxpr.eqns):
        if not needed.isdisjoint(equation.outvars):
            live.append(equation)
            needed.update(v for v in equation.invars if not isinstance(v, Literal))
    return reversed(live)


def as_plain(x: Any) -> Any:
    """A known value as a NumPy array; random keys, and what is traced, as they are."""
    return x if x is None or isinstance(x, Missing) or is_traced(x) or is_key(x) else np.asarray(x)


def _results(equation: JaxprEqn, args: list[Any], inside: bool) -> list[Any]:
    """The results of an equation, in the types that JAX gives them."""
    name, outs = equation.primitive.name, [v.aval for v in equation.outvars]
    rule = library_rule(equation) or RULES.get(name)
    if all(map(known, args)):
        return _folded(equation, rule, args, outs)
    if name not in INLINED or rule is not RULES[name]:
        _check(args)
    within = in_line(None if inside else place_of(equation))
    if rule is None:
        return [Missing(within(_refused, name))] * len(outs)
    params = equation.params
    if rule is RULES.get(name) and name in HIGHER:
        params = {**params, "equation": equation}
    return within(_applied, rule, outs, args, params, name)


def _applied(rule: Rule, outs: Sequence[Any], args: Sequence[Any], params: dict, name: str) -> list[Any]:
    """What a rule gives, fitted."""
    found = rule(outs, *args, **params)
    results = found if isinstance(found, list | tuple) else [found]
    return [fitted(r, aval, name) for r, aval in zip(results, outs, strict=True)]


#: primitives whose rules want to see the equation itself
HIGHER = {"custom_jvp_call", "custom_vjp_call", "scan", "while"}
#: primitives that need not use all of their operands
INLINED = {"jit", "remat2", "custom_linear_solve"}


def _refused(name: str) -> UnsupportedOperation:
    mark()
    if name.startswith(RANDOM):
        return UnsupportedOperation(f"lax primitive {name} needs a key that is known{here()}; close over the key, or "
                                    "make it a static argument")
    return UnsupportedOperation(f"lax primitive {name} has no rule{here()}; nearest supported: other operations of "
                                "jax.numpy, or symhess.external (code that is called with numbers, with a gradient "
                                "that you supply)")


def fitted(x: Any, aval: Any, name: str) -> Any:
    """A result in the shape and type that JAX states for it."""
    if not is_traced(x):
        return x if isinstance(x, Missing) or is_key(x) else np.asarray(x).astype(aval.dtype)
    if x.shape != aval.shape:
        raise AssertionError(f"{name}: the rule gives shape {x.shape}, JAX {aval.shape}")
    dtype = np.dtype(aval.dtype)
    if dtype.kind == "c":
        mark()
        raise UnsupportedOperation(f"{name} gives complex numbers ({dtype}), which are not traced through JAX{here()}; "
                                   "compute with their real and imaginary parts")
    if dtype.kind not in _PLAIN or dtype == np.float16:
        mark()
        raise DTypeMismatch(f"{name} gives an array of dtype {dtype}{here()}; Hessians are computed in float32 or "
                            "float64, convert with .astype(jnp.float32)")
    return x if x.dtype == graph_dtype(dtype) else x.astype(graph_dtype(dtype))


# -- what is known -------------------------------------------------------------------------------------------------


def _folded(equation: JaxprEqn, rule: Any, args: list[Any], outs: Sequence[Any]) -> list[Any]:
    """The results of an equation without traced values."""
    params = equation.params
    plain = all(not is_key(x) and np.dtype(x.dtype).kind in _PLAIN for x in (*args, *outs))
    name = equation.primitive.name
    different = name in DIFFERENT and np.dtype(outs[0].dtype).kind in "iu" and (
        name != "convert_element_type" or np.dtype(args[0].dtype).kind == "f")
    if rule is None or not plain or different or name in HIGHER:
        return [as_plain(r) for r in as_function(equation)(*args)]
    with np.errstate(all="ignore"):
        return _applied(rule, outs, args, params, equation.primitive.name)


#: primitives of which NumPy has another opinion where the results are integers: shifts too far, divisions by zero
DIFFERENT = {"shift_left", "shift_right_logical", "shift_right_arithmetic", "div", "rem", "convert_element_type"}
