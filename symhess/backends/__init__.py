"""Backends: what executes a Program (NumPy interpreter, Numba CPU kernels)."""
