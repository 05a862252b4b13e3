"""The directory in which compiled kernels are kept, as far as users deal with it."""

from __future__ import annotations

import os


def cache_clear(cache: bool | str | os.PathLike = True) -> int:
    """Remove all kernels from a cache directory; those in memory stay.

    Args:
        cache: what the option `cache` of `hessian_jit` takes: a directory, or True for the user's
            (`SYMHESS_CACHE_DIR`, else the cache directory of the platform).

    Returns:
        How many files were removed.

    Raises:
        OSError: a file cannot be removed.

    >>> import numpy as np, tempfile
    >>> from symhess import cache_clear, hessian_jit
    >>> directory = tempfile.mkdtemp()
    >>> f = hessian_jit(lambda x: np.sum(x**3), cache=directory)
    >>> f(np.array([1.0, 2.0])).diagonal()
    array([ 6., 12.])
    >>> cache_clear(directory)
    1
    """
    from symhess.backends.object_cache import clear

    return clear(cache)
