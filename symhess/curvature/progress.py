"""How far a long computation is: a bar in the terminal, or a call for each step."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

#: True for a bar on standard error, or a function of the steps done and those in all
Progress = bool | Callable[[int, int], None]
WIDTH = 30


def counted(steps: Sequence[Any], progress: Progress, what: str) -> Iterator[Any]:
    """The steps, told about as they are done."""
    if progress is False:
        yield from steps
        return
    tell = Bar(what) if progress is True else progress
    for done, step in enumerate(steps):
        tell(done, len(steps))
        yield step
    tell(len(steps), len(steps))


class Bar:
    """`what [#####.....]  50%  12 s left`, redrawn ten times a second at most."""

    def __init__(self, what: str, stream: Any = None):
        self.what, self.stream = what, stream or sys.stderr
        self.start, self.last = time.monotonic(), -1.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self.last < 0.1:
            return
        self.last = now
        share = done / total if total else 1.0
        filled = "#" * int(WIDTH * share)
        left = f"{(now - self.start) * (1 - share) / share:.0f} s left" if 0 < share < 1 else (
            f"{now - self.start:.1f} s" if share == 1 else "")
        end = "\n" if done == total else ""
        self.stream.write(f"\r{self.what} [{filled:.<{WIDTH}}] {share:4.0%}  {left:<12}{end}")
        self.stream.flush()
