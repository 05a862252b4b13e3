"""The problem collection: functions as users write them, each with what is known about its Hessian.

The functions live in the `problems_*` modules and reach NumPy only through the module's global `np` (and SciPy through
`special`), so that an oracle can run the very same source on another array library: `load(np=jax.numpy)`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from problem import Problem

MODULES = ("classic", "structured", "statistics", "networks", "physics")


def load(**replaced: Any) -> dict[str, Problem]:
    """All problems by name, their functions looking up the given globals instead of `np` and `special`."""
    return {name: build for module in MODULES for name, build in _problems(_fresh(module), replaced)}


def _problems(module: ModuleType, replaced: dict[str, Any]) -> list[tuple[str, Problem]]:
    """Build with NumPy, then swap: the data is the same whatever the functions run on."""
    found = [(name, build()) for name, build in vars(module).items() if hasattr(build, "builds_problem")]
    vars(module).update(replaced)
    return found


def _fresh(name: str) -> ModuleType:
    """A new copy of tests/problems_<name>.py."""
    path = Path(__file__).parent / f"problems_{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PROBLEMS = load()


def tagged(*tags: str) -> list[Problem]:
    """The problems that carry all of these tags."""
    return [p for p in PROBLEMS.values() if p.tags.issuperset(tags)]
