"""Functions of JAX's library that NumPy and SciPy have, too: the function itself, not the formulas that JAX has for it.

An equation that calls a function of one of these names, at the shapes and types of its operands, is compared with what
JAX traces for the function there: only where both jaxprs are the same it stands for the function. So options make a
difference, and what `vmap` makes of a function is recognised as that.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax import nn
from jax.extend.core import JaxprEqn
from jax.scipy import special

from symhess.api import transforms
from symhess.jax.fingerprint import fingerprint
from symhess.jax.places import is_library
from symhess.jax.table import Rule, known

#: operands of a function that may be mapped, each or not, when what `vmap` made of it is looked for
MAPPED = 3


class Meaning(NamedTuple):
    """A function of JAX, and what it is here, of operands alone."""

    function: Callable
    rule: Callable


#: name -> what it may mean, one for each set of options
LIBRARY: dict[str, list[Meaning]] = {}
_found: dict[Hashable, Rule | None] = {}


def means(rule: Callable, *functions: Callable, name: str = "") -> None:
    """Enter what functions of JAX are."""
    for function in functions:
        LIBRARY.setdefault(name or function.__name__, []).append(Meaning(function, rule))


def inner_of(equation: JaxprEqn) -> Any:
    """The jaxpr of the function that an equation calls, or None."""
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    return getattr(inner, "jaxpr", None)


def library_rule(equation: JaxprEqn) -> Rule | None:
    """The rule for a call of a function of JAX's library, if there is one."""
    inner = inner_of(equation)
    if inner is None or not is_library(inner.debug_info.func_filename):
        return None
    name = inner.debug_info.func_name
    if name not in LIBRARY:
        return None
    operands: list[Any] = [v.aval for v in equation.invars]
    kinds = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in operands]
    key = (name, fingerprint(inner))
    if key not in _found:
        _found[key] = next((_rule(m, axes) for m in LIBRARY[name] for axes in _axes(kinds)
                            if _traced(m, axes, kinds) == key[1]), None)
    return _found[key]


def _axes(kinds: Sequence[Any]) -> list[tuple | None]:
    """None for the function itself, or along which axes of its operands `vmap` goes."""
    if len(kinds) > MAPPED:
        return [None]
    choices = [(0, None) if k.shape else (None,) for k in kinds]
    return [None, *(axes for axes in itertools.product(*choices) if any(a == 0 for a in axes))]


def _traced(meaning: Meaning, axes: tuple | None, kinds: Sequence[Any]) -> Hashable:
    """The fingerprint of what JAX traces for a function."""
    function = meaning.function if axes is None else jax.vmap(meaning.function, axes)
    try:
        equations = jax.make_jaxpr(lambda *args: function(*args))(*kinds).jaxpr.eqns
    except (TypeError, ValueError):  # not for operands like these
        return None
    inner = inner_of(equations[0]) if len(equations) == 1 else None
    return None if inner is None else fingerprint(inner)


def _rule(meaning: Meaning, axes: tuple | None) -> Rule:
    if axes is None:
        return lambda outs, *args, **params: meaning.rule(*args)

    def mapped(outs: Sequence[Any], *args: Any, **params: Any) -> Any:
        if all(map(known, args)):
            rows = [meaning.rule(*(a if d is None else a[k] for a, d in zip(args, axes)))
                    for k in range(_size(args, axes))]
            return [np.stack(part) for part in zip(*rows)] if isinstance(rows[0], list) else np.stack(rows)
        return transforms.vmap(meaning.rule, axes)(*args)

    return mapped


def _size(args: Sequence[Any], axes: tuple) -> int:
    return next(a.shape[0] for a, d in zip(args, axes) if d == 0)


# -- elementwise functions -----------------------------------------------------------------------------------------

for _function in (jnp.logaddexp, jnp.logaddexp2, jnp.sinc, jnp.hypot, jnp.floor_divide, jnp.remainder, jnp.heaviside,
                  jnp.signbit, jnp.copysign, jnp.ldexp):
    means(getattr(np, _function.__name__), _function)
for _name in ("xlogy", "xlog1py", "logit", "log_ndtr", "expi"):
    means(getattr(scipy.special, _name), getattr(special, _name))
means(lambda x: np.where(x > 0, x, np.zeros((), x.dtype)), nn.relu)  # slope 0 at 0, as JAX defines it
means(lambda x: -np.logaddexp(np.zeros((), x.dtype), -x), nn.log_sigmoid)
means(lambda x: list(np.frexp(x)), jnp.frexp)


def _gammasgn(x: Any) -> Any:
    """The sign of the gamma function; NaN at its poles."""
    whole = np.floor(x)
    sign = np.where(np.logical_and(x < 0, whole % 2 != 0), -1.0, 1.0)
    return np.where(np.logical_and(x < 0, x == whole), np.nan, sign)


means(_gammasgn, special.gammasgn)


# -- linear algebra ------------------------------------------------------------------------------------------------


def _solve(a: Any, b: Any) -> Any:
    return np.linalg.solve(a, np.expand_dims(b, -1))[..., 0] if b.ndim == 1 else np.linalg.solve(a, b)


means(_solve, jnp.linalg.solve)
means(np.linalg.inv, jnp.linalg.inv)
means(np.linalg.det, jnp.linalg.det)
means(lambda a: list(np.linalg.slogdet(a)), jnp.linalg.slogdet)


# -- look-ups ------------------------------------------------------------------------------------------------------

for _side in ("left", "right"):
    means(functools.partial(np.searchsorted, side=_side), functools.partial(jnp.searchsorted, side=_side),
          name="searchsorted")
