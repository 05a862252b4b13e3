"""Functions with derivative rules of the user's (`jax.custom_jvp`, `jax.custom_vjp`): the rule, as JAX applies it.

    jvp   dy = (jax.jvp of the call)(x, dx)            vjp   dx = (jax.vjp of the call)(x)(dy)

Both are jaxprs, and so functions that are differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, JaxprEqn

from symhess.jax.equations import cotangent_jaxpr, floats_of, tangent_jaxpr
from symhess.jax.evaluation import outputs_of
from symhess.jax.table import rule
from symhess.rules import custom_derivative

Outs = Sequence[Any]


@rule("custom_jvp_call")
def custom_jvp_call(outs: Outs, *args: Any, equation: JaxprEqn, call_jaxpr: ClosedJaxpr, **params: Any) -> list[Any]:
    """A function with a rule for tangents."""
    moving, derivative = floats_of(equation), tangent_jaxpr(equation)

    def jvp(primals: tuple, tangents: tuple) -> tuple:
        return function_of(*primals), tuple(outputs_of(derivative, [*primals, *(tangents[k] for k in moving)]))

    function_of = custom_derivative(_named(equation, lambda *xs: tuple(outputs_of(call_jaxpr, xs))), jvp=jvp)
    return list(function_of(*args))


@rule("custom_vjp_call")
def custom_vjp_call(outs: Outs, *args: Any, equation: JaxprEqn, call_jaxpr: ClosedJaxpr, **params: Any) -> list[Any]:
    """A function with a rule for cotangents."""
    moving, derivative = floats_of(equation), cotangent_jaxpr(equation)

    def fwd(*xs: Any) -> tuple:
        return tuple(outputs_of(call_jaxpr, xs)), xs

    def bwd(xs: tuple, cotangents: tuple) -> tuple:
        found = dict(zip(moving, outputs_of(derivative, [*xs, *cotangents])))
        return tuple(found.get(k) for k in range(len(xs)))

    function_of = custom_derivative(_named(equation, lambda *xs: tuple(outputs_of(call_jaxpr, xs))), vjp=(fwd, bwd))
    return list(function_of(*args))


def _named(equation: JaxprEqn, function: Callable) -> Callable:
    function.__name__ = function.__qualname__ = equation.params["call_jaxpr"].jaxpr.debug_info.func_name
    return function
