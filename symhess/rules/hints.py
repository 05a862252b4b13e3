"""Hints about derivatives: `stop_gradient` and `checkpoint`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from symhess.graph.pytrees import tree_map
from symhess.primitives import apply
from symhess.trace import is_traced, node_of, wrap
from symhess.trace.session import current_session, mark


def stop_gradient(x: Any) -> Any:
    """The same numbers, as if they were constants: every derivative through them is zero.

    Args:
        x: an array, a number, or a pytree of them; everything else is handed back as it is.

    Nothing of it enters the sparsity pattern. Outside of traced functions it is the identity.

    Example:
        >>> import numpy as np, symhess
        >>> symhess.hessian(lambda x: np.sum(symhess.stop_gradient(x) * x**2))(np.array([1.0, 2.0]))
        array([[2., 0.],
               [0., 4.]])
    """
    mark()
    return tree_map(_stopped, x)


def _stopped(x: Any) -> Any:
    if not is_traced(x) or x.concrete is not None or x.dtype.kind != "f":
        return x
    return wrap(apply("stop_gradient", node_of(x)), x)


def checkpoint(fn: Callable) -> Callable:
    """Hint that intermediate results of `fn` should be computed again rather than stored: the function itself.

    The values and derivatives are those of `fn`. The hint changes nothing today: kernels do not store what `fn`
    computes because a derivative needs it, the schedule decides for each value whether to keep it or to compute it
    again where it is read, and equal expressions are one. `explain()` says that the hint was met.

    Example:
        >>> import numpy as np, symhess
        >>> symhess.grad(lambda x: np.sum(symhess.checkpoint(np.sin)(x)))(np.zeros(2))
        array([1., 1.])
    """
    name = getattr(fn, "__name__", type(fn).__name__)

    @functools.wraps(fn)
    def hinted(*args: Any, **kwargs: Any) -> Any:
        session = current_session()
        if session is None:
            return fn(*args, **kwargs)
        session.remark(f"checkpoint({name}): no effect, the schedule decides what is kept and what is computed again")
        return session.rewriter.replace(fn)(*args, **kwargs)

    return hinted
