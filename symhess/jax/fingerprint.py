"""Fingerprints: equal for jaxprs that compute the same, the values of their constants aside."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, Literal

from symhess.jax.equations import cotangent_jaxpr, tangent_jaxpr
from symhess.jax.places import is_library
from symhess.jax.table import is_key, is_lifted


def fingerprint(jaxpr: Jaxpr, rules: bool = True) -> Hashable:
    """The equations of a jaxpr with numbered variables; with `rules`, what derivatives custom functions have."""
    numbers: dict[Any, int] = {}

    def number(v: Any) -> Hashable:
        if isinstance(v, Literal):
            return ("literal", str(v.aval), np.asarray(v.val).tobytes())
        return numbers.setdefault(v, len(numbers))

    heads = tuple((number(v), str(v.aval)) for v in (*jaxpr.constvars, *jaxpr.invars))
    body = tuple((e.primitive.name, tuple(map(number, e.invars)), tuple(number(v) for v in e.outvars),
                  tuple(str(v.aval) for v in e.outvars), _frozen(e.params), _rule_of(e, rules)) for e in jaxpr.eqns)
    return (len(jaxpr.constvars), heads, body, tuple(map(number, jaxpr.outvars)))


def _rule_of(equation: JaxprEqn, rules: bool) -> Hashable:
    """The derivative of a custom function of the user's, which may close over something."""
    traced = _TRACED.get(equation.primitive.name)
    if traced is None or not rules or is_library(equation.params["call_jaxpr"].jaxpr.debug_info.func_filename):
        return None
    derivative = traced(equation)
    return (fingerprint(derivative.jaxpr, False), tuple(map(_frozen, derivative.consts)))


_TRACED = {"custom_jvp_call": tangent_jaxpr, "custom_vjp_call": cotangent_jaxpr}


def _frozen(x: Any) -> Hashable:
    """A parameter as something to hash."""
    if hasattr(x, "eqns"):
        return fingerprint(x)
    if hasattr(x, "jaxpr") and hasattr(x, "consts"):
        return (fingerprint(x.jaxpr), tuple(map(_frozen, x.consts)))
    if isinstance(x, dict):
        return tuple((k, _frozen(x[k])) for k in sorted(x))
    if isinstance(x, list | tuple):
        return (type(x).__name__, *map(_frozen, x))
    if hasattr(x, "debug_info"):
        return str(x.debug_info)
    if isinstance(x, np.ndarray | jax.Array):
        array = np.asarray(jax.random.key_data(x) if is_key(x) else x)
        return (str(array.dtype), array.shape, array.tobytes())
    if callable(x):
        return (getattr(x, "__module__", None), getattr(x, "__qualname__", None))
    try:
        hash(x)
    except TypeError:
        return repr(x)
    return (type(x).__name__, repr(x) if isinstance(x, float) else x)


def constants_key(consts: Sequence[Any]) -> Hashable:
    """Shapes of the constants of a jaxpr that are data of its kernel, contents of the others."""
    return tuple((str(c.dtype), c.shape) if is_lifted(c) else _frozen(c) for c in consts)
