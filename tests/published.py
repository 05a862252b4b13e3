"""Published test problems: the type of one, and how an oracle runs the same source on another kind of number.

The problems live in the `published_*` modules, written anew from their formulas the way NumPy users write them. They
reach libraries only through their module's globals `np`, `math` and `special`, which `load` can replace.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

MODULES = ("more", "cute", "chained", "global", "hs", "data", "models")


class Published(NamedTuple):
    """A function of one vector, and a point to begin at."""

    name: str
    fn: Callable[[Any], Any]
    start: np.ndarray

    def points(self) -> list[np.ndarray]:
        """The published start, and a point near it where no coordinate is special."""
        rng = np.random.default_rng(len(self.name))
        return [self.start, self.start * (1 + 0.05 * rng.uniform(-1, 1, self.start.shape)) + 0.013]


def published(*start: float) -> Callable[..., Callable]:
    """Declare a problem by its start: numbers, or one sequence of them. What is not a function needs a name."""
    def declare(fn: Callable, name: str = "") -> Callable:
        x = start[0] if len(start) == 1 and isinstance(start[0], Iterable) else start
        fn.published = Published(name or fn.__name__, fn, np.array(x, float))
        return fn

    return declare


def load(**replaced: Any) -> dict[str, Published]:
    """All problems by name, their functions looking up the given globals instead of `np`, `math` and `special`."""
    found = {}
    for name in MODULES:
        module = fresh(f"published_{name}")
        found |= {p.name: p for p in _problems(module)}
        vars(module).update({k: v for k, v in replaced.items() if k in vars(module)})
    return found


def _problems(module: ModuleType) -> list[Published]:
    return [value.published for value in vars(module).values() if hasattr(value, "published") and callable(value)]


def fresh(name: str) -> ModuleType:
    """A new copy of tests/<name>.py."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
