"""Where the user is: the innermost frame outside of PyTorch and symhess."""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

import torch

from symhess.trace.session import here

_INTERNAL = tuple(os.path.dirname(os.path.abspath(m)) + os.sep for m in (torch.__file__, os.path.dirname(__file__)))
_internal: dict[str, bool] = {}


class Place(NamedTuple):
    """A line of the user's."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        path = os.path.relpath(self.file) if os.path.isabs(self.file) else self.file
        path = self.file if path.startswith("..") else path
        return here(f"{path}:{self.line} in {self.function}") if self.file else ""


NOWHERE = Place("", 0, "")


def place() -> Place:
    """The line that is running."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        inside = _internal.get(code.co_filename)
        if inside is None:
            inside = _internal[code.co_filename] = code.co_filename.startswith((*_INTERNAL, "<frozen"))
        if not inside:
            return Place(code.co_filename, frame.f_lineno, code.co_name)
        frame = frame.f_back
    return NOWHERE
