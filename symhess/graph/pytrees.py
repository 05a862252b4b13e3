"""Nested containers of arrays: flattening and rebuilding tuples, lists, dicts, named tuples and dataclasses."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import optree

NAMESPACE = "symhess"
_registered: set[type] = set()
_lock = threading.Lock()


def flatten(tree: Any) -> tuple[list[Any], optree.PyTreeSpec]:
    """Leaves in order, and the structure to rebuild them into. None is an empty container."""
    return optree.tree_flatten(tree, is_leaf=_register_if_dataclass, namespace=NAMESPACE)


def flatten_in_order(tree: Any) -> tuple[list[Any], optree.PyTreeSpec, tuple]:
    """As `flatten`, and the keys of all dicts in their order, which structures do not tell apart, but functions may."""
    keys: list[tuple] = []

    def look(value: Any) -> bool:
        if isinstance(value, dict):
            keys.append(tuple(value))
        return _register_if_dataclass(value)

    leaves, spec = optree.tree_flatten(tree, is_leaf=look, namespace=NAMESPACE)
    return leaves, spec, tuple(keys)


def unflatten(spec: optree.PyTreeSpec, leaves: list[Any]) -> Any:
    return optree.tree_unflatten(spec, leaves)


def tree_map(fn: Callable[[Any], Any], tree: Any) -> Any:
    """The same containers with fn applied to every leaf."""
    leaves, spec = flatten(tree)
    return unflatten(spec, [fn(leaf) for leaf in leaves])


def leaf_paths(tree: Any) -> list[str]:
    """A readable path per leaf, such as `['layers'][0].w`; empty for a bare leaf."""
    paths, _, _ = optree.tree_flatten_with_accessor(tree, is_leaf=_register_if_dataclass,
                                                    namespace=NAMESPACE)
    return [p.codify("") for p in paths]


def register_container(kind: type, children: Callable[[Any], tuple], rebuild: Callable[[Any, Any], Any]) -> None:
    """Make instances of a class containers: `children` gives (parts, what else there is), `rebuild` takes both."""
    with _lock:
        if kind not in _registered:
            optree.register_pytree_node(kind, children, rebuild, namespace=NAMESPACE)
            _registered.add(kind)


def static_key(value: Any) -> Any:
    """What tells one static leaf from another: arrays and numbers by content, what cannot be hashed by identity."""
    if isinstance(value, np.ndarray):
        content = tuple(map(static_key, value.ravel().tolist())) if value.dtype.hasobject else value.tobytes()
        return (np.ndarray, value.dtype, value.shape, content)
    if isinstance(value, float | complex):
        return (type(value), np.array(value).tobytes())  # bit by bit: 0.0 == -0.0, and NaN is not itself
    try:
        hash(value)
    except TypeError:
        return (type(value), _Identity(value))
    return (type(value), value)


class _Identity:
    """Equal for one object only, which it keeps: its address is never that of another one."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: Any) -> bool:
        return type(other) is _Identity and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _register_if_dataclass(value: Any) -> bool:
    """Called on every value on the way down: makes dataclass instances containers; nothing is declared a leaf."""
    kind = type(value)
    if dataclasses.is_dataclass(value) and kind not in _registered:
        with _lock:
            if kind not in _registered:
                _register(kind)
                _registered.add(kind)
    return False


def _register(kind: type) -> None:
    names = tuple(f.name for f in dataclasses.fields(kind))

    def children(value: Any) -> tuple[list[Any], None, tuple[str, ...]]:
        return [getattr(value, n) for n in names], None, names

    def rebuild(_: None, parts: Any) -> Any:
        new = object.__new__(kind)
        for n, part in zip(names, parts):
            object.__setattr__(new, n, part)
        return new

    optree.register_pytree_node(kind, children, rebuild, namespace=NAMESPACE)
