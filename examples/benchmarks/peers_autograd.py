"""HIPS autograd: the function as it is, run anew for every derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd
import autograd.numpy

from .translation import translated
from .workloads import Workload


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """autograd.hessian of the function of one array."""
    x, *data = arguments
    H = autograd.hessian(translated(workload.function, autograd.numpy))
    return lambda: H(x, *data).reshape(x.size, x.size)
