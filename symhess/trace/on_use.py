"""Modules that are imported when something in them is first needed: SciPy takes longer to import than symhess."""

from __future__ import annotations

import importlib
from typing import Any


class OnUse:
    """`special = OnUse("scipy.special")`, then `special.erf` as always."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


special = OnUse("scipy.special")
