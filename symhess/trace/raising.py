"""Exceptions of values: where the user's code could catch one, it is raised as Python does, and the outcome guarded.

`math.log(-1.0)` raises in Python and a failed Cholesky factorisation raises in NumPy; a compiled kernel returns NaN for
both. Within a `try` (or a `with`) the difference decides which statements run next.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import numpy as np

from symhess.trace.functions import FUNCTIONS, tracers_in
from symhess.trace.session import current_session
from symhess.trace.tracer import Tracer, python_number

#: functions of math that can be too large for finite arguments
_OVERFLOWING = frozenset(("exp", "exp2", "expm1", "cosh", "sinh", "pow", "ldexp", "gamma", "lgamma"))


@functools.lru_cache(maxsize=4096)
def _caught(code: CodeType) -> tuple[tuple[int, int], ...]:
    """The ranges of instructions in a function whose exceptions a statement of the function sees."""
    begins = {i.offset for i in dis.get_instructions(code) if i.opname == "PUSH_EXC_INFO"}
    return tuple((e.start, e.end) for e in dis._parse_exception_table(code) if e.target in begins)


def within_try() -> bool:
    """True where the traced function, or a function that it called, is inside a try or with statement."""
    frame = sys._getframe(1)
    while frame is not None:
        key = (id(frame.f_code), frame.f_lasti)
        found = _frames.get(key)
        if found is None:
            found = _frames[key] = (frame.f_code, _standing(frame))
        if found[1] is not None:
            return found[1]
        frame = frame.f_back
    return False


_frames: dict[tuple[int, int], tuple[CodeType, bool | None]] = {}


def _standing(frame: FrameType) -> bool | None:
    """True within a statement that catches, False where the traced function begins, None where callers have to say."""
    module = frame.f_globals.get("__name__", "")
    if module.startswith("symhess."):
        return False if module == "symhess.trace.tracing" and frame.f_code.co_name == "trace" else None
    return True if any(start <= frame.f_lasti < end for start, end in _caught(frame.f_code)) else None


def _failed(args: Any, good: Callable[[], Any]) -> bool:
    """Whether a result is bad although the arguments are finite numbers; both are guarded."""
    session = current_session()
    if session is None or session.values is None or not within_try() or good():
        return False
    return all(bool(np.all(np.isfinite(t))) for t in tracers_in(list(args)))


def raising(name: str, rule: Callable) -> Callable:
    """A function of math that raises ValueError and OverflowError as the original does, where they may be caught."""

    @functools.wraps(rule)
    def run(*args: Any, **kwargs: Any) -> Any:
        result = rule(*args, **kwargs)
        if isinstance(result, Tracer) and result.dtype.kind == "f" and _failed(args, lambda: np.isfinite(result)):
            first = args[0]
            if name in _OVERFLOWING and np.isinf(result) and first != 0 and (first > 0 or "gamma" not in name):
                raise OverflowError("math range error")
            raise ValueError("math domain error")
        return python_number(result)

    return run


def _failing(function: Callable, message: str) -> None:
    """Let a function of np.linalg raise LinAlgError, where that may be caught."""
    rule = FUNCTIONS[function]

    @functools.wraps(rule)
    def run(*args: Any, **kwargs: Any) -> Any:
        result = rule(*args, **kwargs)
        if _failed(args, lambda: np.all(np.isfinite(result))):
            raise np.linalg.LinAlgError(message)
        return result

    FUNCTIONS[function] = run


for _function, _message in ((np.linalg.cholesky, "Matrix is not positive definite"),
                            (np.linalg.solve, "Singular matrix"), (np.linalg.inv, "Singular matrix")):
    _failing(_function, _message)
