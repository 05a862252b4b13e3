"""The user's surface: `hessian_jit` and the transforms."""
