"""Hessians of functions written in jax.numpy; needs the extra `jax`."""

from symhess.jax import contractions, control, custom, elementwise, indexing, linalg, movement, reductions
from symhess.jax.capture import from_jax
from symhess.jax.compiled import hessian_jit
from symhess.jax.transforms import grad, hessian, hvp, jacfwd, jacrev, value_and_grad

__all__ = ["from_jax", "grad", "hessian", "hessian_jit", "hvp", "jacfwd", "jacrev", "value_and_grad"]
