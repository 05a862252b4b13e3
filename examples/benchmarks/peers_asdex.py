"""asdex: sparsity and colours detected from the jaxpr, compressed Hessians by JAX, jitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asdex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from .translation import InMatrix, translated
from .workloads import Workload


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """The sparse Hessian of the function as it is, on a flat argument."""
    shape, data = arguments[0].shape, arguments[1:]
    function = translated(workload.function, jnp)
    x = jax.device_put(arguments[0].ravel())
    H = jax.jit(asdex.hessian(lambda x: function(x.reshape(shape), *data), x))
    call = lambda: jax.block_until_ready(H(x))

    def matrix() -> Any:
        found = call()
        rows, columns = np.asarray(found.indices).T
        return scipy.sparse.coo_array((np.asarray(found.data), (rows, columns)), shape=found.shape).tocsr()

    return InMatrix(call, matrix)
