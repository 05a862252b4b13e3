"""symhess: exact structured Hessians of plain NumPy functions, compiled with Numba."""

from symhess.api.formulas import hessian_from_sympy
from symhess.api.function import HessianFunction, hessian_jit
from symhess.api.transforms import (
    grad,
    hessian,
    hessian_sparsity,
    hvp,
    jacfwd,
    jacrev,
    jvp,
    linear_operator,
    value_and_grad,
    vhp,
    vjp,
    vmap,
)

__version__ = "0.1.0"
__all__ = [
    "HessianFunction", "grad", "hessian", "hessian_from_sympy", "hessian_jit", "hessian_sparsity", "hvp", "jacfwd",
    "jacrev", "jvp", "linear_operator", "value_and_grad", "vhp", "vjp", "vmap",
]
