"""Arguments and results: arrays of JAX and of NumPy, and containers that only JAX knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import tree_flatten, tree_leaves, tree_map, tree_unflatten

from symhess.graph.pytrees import flatten, register_container
from symhess.jax.table import is_key


@dataclass
class Opened:
    """A container that only JAX knows, as the list of its leaves."""

    leaves: list[Any]
    treedef: Any


register_container(Opened, lambda o: (o.leaves, o.treedef), lambda treedef, leaves: Opened(list(leaves), treedef))


_foreign: dict[Any, bool] = {}


def is_foreign(treedef: Any, tree: Any) -> bool:
    """True if there are containers in a pytree that only JAX knows, or that symhess takes apart in another way."""
    found = _foreign.get(treedef)
    if found is None:
        ours, leaves = flatten(tree)[0], tree_leaves(tree)
        found = _foreign[treedef] = len(ours) != len(leaves) or not all(a is b for a, b in zip(ours, leaves))
    return found


def opened(tree: Any) -> Any:
    """An argument whose containers symhess knows, too."""
    leaves, treedef = tree_flatten(tree)
    return Opened(leaves, treedef) if is_foreign(treedef, tree) else tree


def closed(tree: Any) -> Any:
    """What was opened as it was, results that are nested like it included."""
    def close(x: Any) -> Any:
        return tree_unflatten(x.treedef, [closed(leaf) for leaf in x.leaves]) if isinstance(x, Opened) else x

    return tree_map(close, tree, is_leaf=lambda x: isinstance(x, Opened))


def as_numpy(x: Any, wide: bool) -> Any:
    """An array of JAX as one of NumPy, which shares its memory on the CPU; what is not `wide` has JAX's 32 bits."""
    if isinstance(x, jax.Array):
        return x if is_key(x) else np.asarray(x)
    if wide:
        return x
    if isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "fiu":
        return x.astype(jax.dtypes.canonicalize_dtype(x.dtype), copy=False)
    return np.float32(x) if isinstance(x, float) else x


def is_wide() -> bool:
    """True where JAX computes in float64 (x64)."""
    return jax.dtypes.canonicalize_dtype(np.float64) == np.float64


def has_jax(tree: Any) -> bool:
    """True if there is an array of JAX in a pytree."""
    return any(isinstance(x, jax.Array) for x in tree_leaves(tree))


def as_jax(tree: Any) -> Any:
    """A pytree with arrays of JAX in place of NumPy's arrays and numbers."""
    return tree_map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray | np.generic) else x, tree)


def abstract(x: Any) -> bool:
    """True for arguments that are arrays or floating numbers: the others, and keys, reach functions as they are."""
    return isinstance(x, float) or (isinstance(x, jax.Array | np.ndarray | np.generic) and not is_random(x))


def is_random(x: Any) -> bool:
    """True for keys of random numbers, also those of the old kind."""
    return is_key(x) or x.dtype == np.uint32


def kinds_of(leaves: Sequence[Any]) -> list[Any]:
    """What `jax.make_jaxpr` is told of arguments: JAX's own types of them, weak ones of Python's numbers."""
    return [jax.typeof(jnp.asarray(x)) for x in leaves]
