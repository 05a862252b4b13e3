"""Native mode: user functions compiled by Numba over numbers that carry their first and second derivatives."""

from symhess.native.kernels import Argument, Call, Kernel
from symhess.native.refusal import refused

__all__ = ["Argument", "Call", "Kernel", "refused"]
