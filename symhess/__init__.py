"""symhess: exact structured Hessians of plain NumPy functions, compiled to machine code."""

from symhess.api.caching import cache_clear
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
from symhess.check import HessianCheck, check_hessian
from symhess.loops import cond, fori_loop, scan, switch, while_loop
from symhess.rules import checkpoint, custom_derivative, external, implicit_function, stop_gradient

#: parts that are imported when they are asked for
_PARTS = ("curvature", "functional", "jax", "torch")


def __getattr__(name: str) -> object:
    if name not in _PARTS:
        raise AttributeError(f"module 'symhess' has no attribute {name!r}")
    import importlib

    return importlib.import_module(f"symhess.{name}")


__version__ = "0.1.0"
__all__ = [
    "HessianCheck", "HessianFunction", "cache_clear", "check_hessian", "checkpoint", "cond", "custom_derivative",
    "external",
    "fori_loop", "grad", "hessian", "hessian_from_sympy", "hessian_jit", "hessian_sparsity", "hvp", "implicit_function",
    "jacfwd", "jacrev", "jvp", "linear_operator", "scan", "stop_gradient", "switch", "value_and_grad", "vhp", "vjp",
    "vmap", "while_loop",
]
