"""Functions with derivative rules of the user's (`jax.custom_jvp`, `jax.custom_vjp`): the rule, as JAX applies it.

    jvp   dy = (jax.jvp of the call)(x, dx)            vjp   dx = (jax.vjp of the call)(x)(dy)

Both are jaxprs, and so functions that are differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn

from symhess.jax.evaluation import as_function, outputs_of
from symhess.jax.table import rule
from symhess.rules import custom_derivative

Outs = Sequence[Any]


@rule("custom_jvp_call")
def custom_jvp_call(outs: Outs, *args: Any, equation: JaxprEqn, call_jaxpr: ClosedJaxpr, **params: Any) -> list[Any]:
    """A function with a rule for tangents."""
    moving = _floats(equation.invars)

    def pushed(primals: list[Any], tangents: list[Any]) -> list[Any]:
        function = _of_floats(equation, primals, moving)
        return jax.jvp(function, [primals[k] for k in moving], [tangents[k] for k in moving])[1]

    kinds = _kinds(v.aval for v in equation.invars)
    derivative = jax.make_jaxpr(pushed)(kinds, [kinds[k] if k in moving else None for k in range(len(kinds))])

    def jvp(primals: tuple, tangents: tuple) -> tuple:
        return function_of(*primals), tuple(outputs_of(derivative, [*primals, *(tangents[k] for k in moving)]))

    function_of = custom_derivative(_named(equation, lambda *xs: tuple(outputs_of(call_jaxpr, xs))), jvp=jvp)
    return list(function_of(*args))


@rule("custom_vjp_call")
def custom_vjp_call(outs: Outs, *args: Any, equation: JaxprEqn, call_jaxpr: ClosedJaxpr, **params: Any) -> list[Any]:
    """A function with a rule for cotangents."""
    moving = _floats(equation.invars)

    def pulled(primals: list[Any], cotangents: list[Any]) -> tuple:
        function = _of_floats(equation, primals, moving)
        return jax.vjp(function, *(primals[k] for k in moving))[1](cotangents)

    kinds = _kinds(v.aval for v in equation.invars)
    derivative = jax.make_jaxpr(pulled)(kinds, _kinds(outs))

    def fwd(*xs: Any) -> tuple:
        return tuple(outputs_of(call_jaxpr, xs)), xs

    def bwd(xs: tuple, cotangents: tuple) -> tuple:
        found = dict(zip(moving, outputs_of(derivative, [*xs, *cotangents])))
        return tuple(found.get(k) for k in range(len(xs)))

    function_of = custom_derivative(_named(equation, lambda *xs: tuple(outputs_of(call_jaxpr, xs))), vjp=(fwd, bwd))
    return list(function_of(*args))


def _kinds(avals: Iterable[Any]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]


def _floats(variables: Sequence[Any]) -> list[int]:
    """Which arguments have derivatives."""
    return [k for k, v in enumerate(variables) if jax.dtypes.issubdtype(v.aval.dtype, np.floating)]


def _of_floats(equation: JaxprEqn, primals: Sequence[Any], moving: Sequence[int]) -> Callable:
    """The call, as a JAX function of the arguments that have derivatives."""
    call = as_function(equation)

    def function(*floats: Any) -> list[Any]:
        given = {**dict(enumerate(primals)), **dict(zip(moving, floats))}
        return call(*(given[k] for k in range(len(primals))))

    return function


def _named(equation: JaxprEqn, function: Callable) -> Callable:
    function.__name__ = function.__qualname__ = equation.params["call_jaxpr"].jaxpr.debug_info.func_name
    return function
