"""SYMHESS_DEBUG=1..5: print one floor more of the compiler at each level, to stderr.

1 passes with their times   2 structure of the Hessian   3 traced graph   4 gradient graph and Terms   5 kernel source
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def level() -> int:
    """The level asked for by the environment; 0 where it is not set or not a number."""
    text = os.environ.get("SYMHESS_DEBUG", "0")
    return int(text) if text.isdigit() else 0


def show(at: int, title: str, text: Callable[[], str]) -> None:
    """Print `text()` if the level reaches `at`; it is not computed otherwise."""
    if level() >= at:
        print(f"-- symhess: {title}\n{text()}", file=sys.stderr)
