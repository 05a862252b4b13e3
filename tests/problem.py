"""The type of one test problem, and the sparsity patterns they are described with."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Problem:
    """A user function with arguments to call it on, and what is known about its Hessian."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: int | tuple[int, ...] = 0
    #: a boolean n x n array over the flattened differentiated inputs; None where it is not known
    pattern: np.ndarray | None = None
    #: a closed form fn(*args) -> n x n array, where there is one
    hessian: Callable[..., np.ndarray] | None = None
    #: arguments at a second point; None perturbs `args`
    second: tuple[Any, ...] | None = None
    #: relative accuracy that float32 reaches on this problem
    single: float = 1e-4
    name: str = ""
    tags: frozenset[str] = frozenset()
    #: builds the problem at another size: scaled(n)
    scaled: Callable[..., Problem] | None = None

    @property
    def doc(self) -> str:
        """One line on what the function is."""
        return self.scaled.__doc__.splitlines()[0]

    def points(self) -> list[tuple[Any, ...]]:
        """The arguments, and the arguments at a second point: floats of the data move too."""
        if self.second is not None:
            return [self.args, self.second]
        rng = np.random.default_rng(len(self.name))
        return [self.args, tuple(tree_map(lambda leaf: _perturb(leaf, rng), a) for a in self.args)]

    def inputs(self, args: Sequence[Any]) -> list[np.ndarray]:
        """The leaves of the differentiated inputs, in the order of the Hessian's rows."""
        numbers = (self.argnums,) if isinstance(self.argnums, int) else self.argnums
        return [leaf for k in numbers for leaf in leaves(args[k])]

    def with_inputs(self, args: Sequence[Any], new: Sequence[Any]) -> tuple[Any, ...]:
        """`args` with the leaves of the differentiated inputs replaced."""
        numbers = (self.argnums,) if isinstance(self.argnums, int) else self.argnums
        rest = iter(new)
        replaced = {k: tree_map(lambda _: next(rest), args[k]) for k in numbers}
        return tuple(replaced.get(k, a) for k, a in enumerate(args))

    @property
    def size(self) -> int:
        """The number of differentiated scalars."""
        return sum(np.size(leaf) for leaf in self.inputs(self.args))


def problem(*tags: str) -> Callable[[Callable[..., Problem]], Callable[..., Problem]]:
    """Declare a builder of problems: def name(n=default) -> Problem."""
    def declare(build: Callable[..., Problem]) -> Callable[..., Problem]:
        @functools.wraps(build)
        def scaled(*size: int) -> Problem:
            return dataclasses.replace(build(*size), name=build.__name__, tags=frozenset(tags), scaled=scaled)

        scaled.builds_problem = True
        return scaled
    return declare


def leaves(tree: Any) -> list[Any]:
    """The arrays of a pytree of tuples, lists and dicts; dicts by sorted key."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, tuple | list):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def tree_map(change: Callable[[Any], Any], tree: Any) -> Any:
    """The pytree with every leaf changed, in the order of `leaves`."""
    if isinstance(tree, dict):
        return {key: tree_map(change, tree[key]) for key in sorted(tree)}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(tree_map(change, part) for part in tree))
    if isinstance(tree, tuple | list):
        return type(tree)(tree_map(change, part) for part in tree)
    return change(tree)


def _perturb(leaf: Any, rng: np.random.Generator) -> Any:
    """Move by 5%: this keeps every sign, and so every domain."""
    if np.asarray(leaf).dtype.kind != "f":
        return leaf
    return leaf * (1 + 0.05 * rng.uniform(-1, 1, np.shape(leaf)))


def dense(n: int) -> np.ndarray:
    """Every entry."""
    return np.ones((n, n), bool)


def diagonal(n: int) -> np.ndarray:
    """The diagonal alone."""
    return np.eye(n, dtype=bool)


def banded(n: int, *offsets: int) -> np.ndarray:
    """The diagonal and the given diagonals on both sides of it."""
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    return np.isin(distance, (0, *offsets))


def cliques(n: int, groups: Iterable[Sequence[int]]) -> np.ndarray:
    """The entries (i, j) where some group of variables holds both."""
    pattern = np.zeros((n, n), bool)
    for group in groups:
        pattern[np.ix_(group, group)] = True
    return pattern


def block_diagonal(*sizes: int) -> np.ndarray:
    """Dense blocks of these sizes along the diagonal."""
    ends = np.cumsum(sizes)
    return cliques(int(ends[-1]), [range(end - size, end) for end, size in zip(ends, sizes)])
