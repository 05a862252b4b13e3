"""The table of rules: lax primitive -> what it computes, as NumPy code on traced arrays.

    rule(outs, *operands, **parameters) -> result, or a list of results

`outs` are the kinds (shape, dtype) of the results as JAX states them. Operands are traced values and plain arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from symhess.trace import is_traced

Rule = Callable[..., Any]

#: name of a primitive -> its rule
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter a rule for primitives."""
    def enter(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return enter


class Missing:
    """A value that no rule could compute: an error where something is computed from it."""

    def __init__(self, error: Exception):
        self.error = error


def plain(function: Callable) -> Rule:
    """The rule of a primitive without parameters that matter."""
    return lambda outs, *args, **params: function(*args)


def known(x: Any) -> bool:
    """True for what does not depend on the inputs."""
    return not is_traced(x) and not isinstance(x, Missing)


def number(x: Any) -> np.ndarray:
    """A known value as a NumPy array."""
    return np.asarray(x)


#: how the names of primitives begin that draw random numbers: their keys have to be known
RANDOM = ("random_", "threefry", "rng_")


def is_key(aval: Any) -> bool:
    """True for what holds random keys."""
    return jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended)


def is_lifted(const: Any) -> bool:
    """True for constants of a jaxpr that are data of its kernel."""
    return not is_key(const) and np.dtype(const.dtype).kind == "f"
