"""Kernels: a jaxpr as a function of (differentiated arrays, data), and what was compiled of it.

Floating arrays that the jaxpr closes over are data, too, so that it serves other ones of the same shapes; whole
numbers, which often are indices, are part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr

from symhess.api import transforms
from symhess.api.function import HessianFunction, hessian_jit
from symhess.jax.evaluation import outputs_of
from symhess.jax.table import is_lifted


class Kernel:
    """What a jaxpr computes, compiled; the first `outputs` results are differentiated, the others come along."""

    def __init__(self, closed: ClosedJaxpr, name: str, outputs: int, active: Sequence[int], options: dict[str, Any]):
        jaxpr, self.outputs, self.options = closed.jaxpr, outputs, options
        self.active, self.name = list(active), name
        self.data = [k for k in range(len(jaxpr.invars)) if k not in self.active]
        lifted = [is_lifted(c) for c in closed.consts]
        self._closed = ClosedJaxpr(jaxpr.replace(
            constvars=[v for v, l in zip(jaxpr.constvars, lifted) if not l],
            invars=[*jaxpr.invars, *(v for v, l in zip(jaxpr.constvars, lifted) if l)]),
            [c for c, l in zip(closed.consts, lifted) if not l])
        self.fn = self._named(lambda moving, rest: self._results(moving, rest)[:outputs])
        self.with_aux = self._named(lambda moving, rest: self._split(self._results(moving, rest)))
        self._transforms: dict[str, Callable] = {}

    def _named(self, function: Callable) -> Callable:
        function.__name__ = function.__qualname__ = self.name
        return function

    def _results(self, moving: Sequence[Any], rest: Sequence[Any]) -> tuple:
        given = dict(zip([*self.active, *self.data], (*moving, *rest)))
        lifted = rest[len(self.data):]
        return tuple(outputs_of(self._closed, [*(given[k] for k in range(len(given))), *lifted]))

    def _split(self, results: tuple) -> tuple[Any, tuple]:
        return results[:self.outputs], results[self.outputs:]

    @property
    def kinds(self) -> list[Any]:
        """What is known of the results that are differentiated."""
        return [v.aval for v in self._closed.jaxpr.outvars[:self.outputs]]

    @cached_property
    def is_number(self) -> bool:
        """True if what is differentiated is one number."""
        return len(self.kinds) == 1 and not self.kinds[0].shape and np.dtype(self.kinds[0].dtype).kind == "f"

    @cached_property
    def function(self) -> HessianFunction:
        """The one number, with all its derivatives."""
        return hessian_jit(self._named(lambda moving, rest: self._results(moving, rest)[0]), **self.options)

    def transform(self, name: str) -> Callable:
        """A transform of the function with what comes along, made once."""
        if name not in self._transforms:
            fn = self.with_aux
            if name in ("grad", "value_and_grad"):
                fn = self._named(lambda moving, rest: (self._results(moving, rest)[0], self._results(moving, rest)[1:]))
            self._transforms[name] = getattr(transforms, name)(fn, has_aux=True)
        return self._transforms[name]
