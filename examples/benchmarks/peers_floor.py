"""The floors: what somebody who knows the structure writes by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import floors, floors_loops, floors_models
from .workloads import WORKLOADS, Workload

FLOORS = floors.FLOORS | floors_loops.FLOORS | floors_models.FLOORS


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """A call that returns the Hessian; the first one compiles."""
    name = next(name for name, known in WORKLOADS.items() if known is workload)
    return FLOORS[name](workload, arguments)
