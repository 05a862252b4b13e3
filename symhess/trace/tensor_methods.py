"""Methods and keywords that PyTorch's tensors have and NumPy's arrays do not, for functions that were written for both.

They are there in traces that ask for them (`Session.methods`, `Session.keywords`); elsewhere traced values have what
arrays have.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.special

from symhess.trace import scipy_rules

KEYWORDS = {"dim": "axis", "keepdim": "keepdims"}
METHODS: dict[str, Callable] = {name: getattr(np, name) for name in (
    "abs", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "square", "reciprocal", "sin", "cos", "tan",
    "sinh", "cosh", "tanh", "floor", "ceil", "sign", "matmul", "outer", "maximum", "minimum", "where", "isnan")} | {
    "pow": np.power, "neg": np.negative, "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "mm": np.matmul, "mv": np.matmul, "bmm": np.matmul,
    "rsqrt": lambda x: 1 / np.sqrt(x), "relu": lambda x: np.maximum(x, 0), "t": np.transpose,
    "permute": lambda x, *axes: np.transpose(x, axes[0] if isinstance(axes[0], tuple | list) else axes),
    "unsqueeze": lambda x, dim: np.expand_dims(x, dim), "numel": np.size,
    "sigmoid": lambda x: scipy.special.expit(x), "erf": lambda x: scipy.special.erf(x),
    "softmax": lambda x, dim: scipy_rules.softmax(x, axis=dim),
    "log_softmax": lambda x, dim: scipy_rules.log_softmax(x, axis=dim),
    "logsumexp": lambda x, dim, keepdim=False: scipy_rules.logsumexp(x, axis=dim, keepdims=keepdim)}
