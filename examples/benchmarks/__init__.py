"""Benchmarks of symhess against JAX and against code written by hand: `python -m examples.benchmarks --help`."""
