"""The Gauss-Newton matrix: the Hessian of the loss of the linearised model.

    G = J^T L'' J,    J = d outputs / d params,  L'' = the Hessian of the loss in the outputs

    f(d) = loss(outputs(params) + J d)    has the Hessian G at d = 0

so G has all that a Hessian has here: structure, exact diagonal, products, rows. Source: Schraudolph, "Fast curvature
matrix-vector products for second-order gradient descent", Neural Computation 14 (2002).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.api.function import HessianFunction, hessian_jit
from symhess.api.transforms import jvp
from symhess.curvature.point import Curvature
from symhess.graph.pytrees import flatten, unflatten


def gauss_newton(model: Callable, loss: Callable, params: Any, *data: Any,
                 names: Sequence[str] | None = None) -> Curvature:
    """The curvature of the Gauss-Newton matrix at `params`; its value and gradient are those of the loss.

    Args:
        model: model(params, *data) returns outputs: an array, or nested arrays.
        loss: loss(outputs, *data) returns one number.
        params: an array, or nested arrays; what is differentiated.
        data: arrays that are not.

    Example:
        >>> import numpy as np
        >>> from symhess.curvature import gauss_newton
        >>> x, y = np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
        >>> model = lambda p, x, y: np.exp(p[0] * x) + p[1]
        >>> loss = lambda outputs, x, y: np.sum((outputs - y)**2) / 2
        >>> G = gauss_newton(model, loss, np.array([0.0, 1.0]), x, y)
        >>> G.hessian()
        array([[5., 3.],
               [3., 3.]])
    """
    leaves, spec = flatten(params)
    zero = unflatten(spec, [np.zeros(np.shape(x), np.asarray(x).dtype) for x in leaves])
    return Curvature(_linearised(model, loss), zero, params, *data, names=names)


@functools.lru_cache(maxsize=64)
def _linearised(model: Callable, loss: Callable) -> HessianFunction:
    """loss(outputs + J step) as a function of the step, compiled once for a model and a loss."""
    def of_step(step: Any, params: Any, *data: Any) -> Any:
        outputs, moved = jvp(lambda p: model(p, *data), (params,), (step,))
        parts, spec = flatten(outputs)
        return loss(unflatten(spec, [o + m for o, m in zip(parts, flatten(moved)[0])]), *data)

    return hessian_jit(of_step)
