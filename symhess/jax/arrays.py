"""Arrays of JAX and of NumPy: what comes in as the former goes out as the former."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def as_numpy(tree: Any) -> Any:
    """A pytree with NumPy arrays in place of JAX's; on the CPU they share memory."""
    return jax.tree_util.tree_map(lambda x: np.asarray(x) if isinstance(x, jax.Array) else x, tree)


def has_jax(tree: Any) -> bool:
    """True if there is an array of JAX in a pytree."""
    return any(isinstance(x, jax.Array) for x in jax.tree_util.tree_leaves(tree))


def as_jax(tree: Any) -> Any:
    """A pytree with arrays of JAX in place of NumPy's arrays and numbers."""
    return jax.tree_util.tree_map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray | np.generic) else x, tree)


def abstract(x: Any) -> bool:
    """True for arguments that are arrays or floating numbers: the others reach functions as they are."""
    return isinstance(x, jax.Array | np.ndarray | np.generic | float)


def kinds_of(leaves: Sequence[Any]) -> list[Any]:
    """What `jax.make_jaxpr` is told of arguments: JAX's own types of them, weak ones of Python's numbers."""
    return [jax.typeof(jnp.asarray(x)) for x in leaves]
