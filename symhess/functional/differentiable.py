"""Results of `create_graph=True`: arrays that know which function of the inputs they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.graph.pytrees import flatten, unflatten


class Differentiable(np.ndarray):
    """An array with `function(*inputs)`, which computes it anew and can be differentiated again.

    What is computed from it, slices included, is an ordinary array.

    Example:
        >>> import numpy as np, symhess
        >>> x = np.array([1.0, 2.0])
        >>> H = symhess.functional.hessian(lambda x: (x**3).sum(), x, create_graph=True)
        >>> symhess.grad(lambda x: H.function(x).sum())(x)
        array([6., 6.])
    """

    function: Callable | None = None

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

    def __reduce__(self) -> Any:
        return np.asarray(self).__reduce__()


def differentiable(results: Any, again: Callable) -> Any:
    """A tree of results in which every array knows its function; `again(*inputs)` gives the whole tree."""
    leaves, spec = flatten(results)

    def told(k: int, leaf: Any) -> Differentiable:
        made = np.array(leaf, order="C", ndmin=0).view(Differentiable)
        made.function = lambda *inputs: flatten(again(*inputs))[0][k]
        return made

    return unflatten(spec, [told(k, leaf) for k, leaf in enumerate(leaves)])
