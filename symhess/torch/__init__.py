"""Hessians of PyTorch functions and modules; needs the extra `torch`."""

from symhess.torch.compiled import CompiledFunction, hessian_jit
from symhess.torch.curvature import curvature, gauss_newton
from symhess.torch.functional import gradient, hessian, hvp, jacobian, jvp, sparse_hessian, vhp, vjp
from symhess.torch.parameters import LossFunction, loss_function, parameter_gradient, parameter_hessian, parameter_hvp

__all__ = [
    "CompiledFunction", "LossFunction", "curvature", "gauss_newton", "gradient", "hessian", "hessian_jit", "hvp",
    "jacobian", "jvp", "loss_function", "parameter_gradient", "parameter_hessian", "parameter_hvp",
    "sparse_hessian", "vhp", "vjp",
]
