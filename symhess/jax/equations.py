"""Equations of jaxprs as functions of JAX, and the derivatives that JAX gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, DebugInfo, Jaxpr, JaxprEqn, Var, jaxpr_as_fun


def as_function(equation: JaxprEqn) -> Callable:
    """An equation as a JAX function of its operands, each for itself, which returns a list of all results."""
    given: list[Any] = [Var(v.aval) for v in equation.invars]
    results: list[Any] = [Var(v.aval) for v in equation.outvars]
    told = DebugInfo("jit", equation.primitive.name, tuple(f"x{k}" for k in range(len(given))), ("",) * len(results))
    alone = equation.replace(invars=given, outvars=results)
    return jaxpr_as_fun(ClosedJaxpr(Jaxpr((), given, results, [alone], equation.effects, told), ()))


def tangent_jaxpr(equation: JaxprEqn) -> ClosedJaxpr:
    """From the operands, and tangents of those that have derivatives, to the tangents of the results."""
    moving = floats_of(equation)

    def pushed(primals: list[Any], tangents: list[Any]) -> list[Any]:
        return jax.jvp(_of_floats(equation, primals, moving), [primals[k] for k in moving], tangents)[1]

    kinds = _kinds(v.aval for v in equation.invars)
    return jax.make_jaxpr(pushed)(kinds, [kinds[k] for k in moving])


def cotangent_jaxpr(equation: JaxprEqn) -> ClosedJaxpr:
    """From the operands, and cotangents of the results, to the cotangents of the operands that have derivatives."""
    moving = floats_of(equation)

    def pulled(primals: list[Any], cotangents: list[Any]) -> tuple:
        return jax.vjp(_of_floats(equation, primals, moving), *(primals[k] for k in moving))[1](cotangents)

    return jax.make_jaxpr(pulled)(_kinds(v.aval for v in equation.invars), _kinds(v.aval for v in equation.outvars))


def floats_of(equation: JaxprEqn) -> list[int]:
    """Which operands have derivatives."""
    operands: list[Any] = [v.aval for v in equation.invars]
    return [k for k, a in enumerate(operands) if jax.dtypes.issubdtype(a.dtype, np.floating)]


def _of_floats(equation: JaxprEqn, primals: Sequence[Any], moving: Sequence[int]) -> Callable:
    """The equation as a function of the operands that have derivatives."""
    call = as_function(equation)

    def function(*floats: Any) -> list[Any]:
        given = {**dict(enumerate(primals)), **dict(zip(moving, floats))}
        return call(*(given[k] for k in range(len(primals))))

    return function


def _kinds(avals: Iterable[Any]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
