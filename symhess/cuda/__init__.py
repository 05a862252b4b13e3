"""Plans on NVIDIA GPUs: kernels printed as Python, compiled by numba-cuda, launched in order on one stream."""
