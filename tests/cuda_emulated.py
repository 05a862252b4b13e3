"""Checks of the CUDA target on an emulated driver: run as a program, in a process of its own, by test_cuda_emulated.py.

    python cuda_emulated.py RESULTS [part of a check's name ...]

writes one line of JSON for every check to the file, as cuda_simulated.py does. With `all` for a name, everything that
the simulator runs is run here, too: numba-cuda takes some twenty minutes to compile it.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from fractions import Fraction

import cuda_simulated
import emulated_driver
import numpy as np
from cuda_checks import Checks
from cuda_simulated import X, pair, rosenbrock, same

from examples.benchmarks.workloads import WORKLOADS

if __name__ == "__main__":
    emulated_driver.install()  # before numba.cuda looks for a driver
from numba import cuda
from numba.cuda.cudadrv.driver import CudaAPIError

CHECKS = Checks()
check = CHECKS.add
#: what the simulator checks that is checked here in every run: some of each kind, since compiling takes its time
SAMPLE = [
    "every_elementwise_function", "reductions_by_blocks", "triangles_by_tiles",
    "loops_and_switches", "all_blocks_wait_for_each_other", "rows_that_need_nothing_of_each_other_are_not_waited_for",
    "batches_of_branches", "every_product", "batches_have_a_thread_for_every_point", "single_precision",
    "device_arrays_stay_on_the_device", "out_on_the_device", "device_arrays_that_cannot_be_taken", "empty_arrays",
    "threads_share_one_function", "problem beale", "problem branching", "problem lennard_jones",
    "problem powell_singular", "problem quadratic_form", "problem small_quadratics", "problem special_functions",
    "problem spring_network", "primitive eigenvectors", "primitive solve stacks", "primitive scatter-add",
    "primitive running mul 1", "a_matrix_has_a_block"]


# -- kernels as they are for large arrays --------------------------------------------------------------------------


@check
def full_blocks_of_threads() -> None:
    """Rows stored together and numbers that meet, by blocks of 256 threads, the last one not full."""
    for name, size in (("rosenbrock_1e5", (700,)), ("minimal_surface", (21,)), ("rosenbrock_rows", (600, 4)),
                       ("power_flow_arrays", (300, 111))):
        w = WORKLOADS[name]
        args = w.arguments(*size)
        cpu, device = pair(w.function, argnums=w.argnums, static_argnums=w.indices(args))
        if w.product == "batch":
            same(device.batch(*args, product="value_grad_hessian"), cpu.batch(*args, product="value_grad_hessian"))
        else:
            same(device.sparse(*args).toarray(), cpu.sparse(*args).toarray())


# -- the driver finds what is wrong --------------------------------------------------------------------------------


def found(run: Callable[[], None], *expected: str) -> None:
    """Something is wrong with what is run, and the driver says so."""
    emulated_driver.reports()
    try:
        run()
        cuda.synchronize()
    except CudaAPIError:
        pass
    said = "\n".join(emulated_driver.reports())
    assert said, "nothing was found"
    for part in expected:
        assert part in said, said


@check
def accesses_out_of_bounds_are_found() -> None:
    @cuda.jit("void(float64[::1], float64[::1])")
    def shifted(x, y):
        i = cuda.grid(1)
        if i < x.size:
            y[i + 1] = x[i]

    x, y = cuda.to_device(np.arange(5.0)), cuda.device_array(5)
    found(lambda: shifted[1, 32](x, y), "writes 8 bytes at byte 40 of 40", "thread (4, 0, 0)")


@check
def accesses_beyond_the_arrays_of_a_kernel_are_found() -> None:
    """They are parts of one allocation, so it is not left."""
    @cuda.jit("void(float64[::1], float64[::1])")
    def shifted(x, y):
        i = cuda.grid(1)
        if i < x.size:
            y[i] = x[i + 1]

    block = cuda.to_device(np.arange(15.0))
    found(lambda: shifted[1, 32](block[:5], block[10:]), "reads 8 bytes at byte 40 of 120, outside of the arrays")


@check
def memory_that_nobody_wrote_is_found() -> None:
    @cuda.jit("void(float64[::1], float64[::1])")
    def copied(x, y):
        i = cuda.grid(1)
        if i < x.size:
            y[i] = x[i]

    found(lambda: copied[1, 32](cuda.device_array(5), cuda.device_array(5)), "which nobody wrote")
    found(lambda: cuda.device_array(5).copy_to_host(), "a copy to the host reads byte 0 of 40")


@check
def races_are_found() -> None:
    @cuda.jit("void(float64[::1])")
    def summed(y):
        y[0] += cuda.threadIdx.x

    @cuda.jit("void(float64[::1])")
    def unguarded(y):
        numbers = cuda.shared.array(32, np.float64)
        numbers[cuda.threadIdx.x] = cuda.threadIdx.x
        y[cuda.threadIdx.x] = numbers[31 - cuda.threadIdx.x]

    @cuda.jit("void(float64[::1])")
    def guarded(y):
        numbers = cuda.shared.array(32, np.float64)
        numbers[cuda.threadIdx.x] = cuda.threadIdx.x
        cuda.syncthreads()
        y[cuda.threadIdx.x] = numbers[31 - cuda.threadIdx.x]

    y = cuda.to_device(np.zeros(32))
    found(lambda: summed[1, 32](y), "a race")
    found(lambda: summed[32, 1](y), "a race")
    found(lambda: unguarded[1, 32](y), "which nobody wrote")
    guarded[1, 32](y)
    assert np.array_equal(y.copy_to_host(), np.arange(32.0)[::-1])
    assert not emulated_driver.reports()


@check
def barriers_that_not_all_come_to_are_found() -> None:
    @cuda.jit("void(float64[::1])")
    def divided(y):
        if cuda.threadIdx.x < 16:
            cuda.syncthreads()
        y[cuda.threadIdx.x] = 1.0

    found(lambda: divided[1, 32](cuda.to_device(np.zeros(32))), "waits at a barrier where")


@check
def blocks_wait_for_each_other_where_they_may() -> None:
    @cuda.jit("void(int64[::1], int64[::1])")
    def rotated(x, y):
        here, count = cuda.grid(1), cuda.gridsize(1)
        numbers = cuda.shared.array(32, np.int64)
        numbers[cuda.threadIdx.x] = 100 * cuda.blockIdx.x
        x[here] = here
        cuda.cg.this_grid().sync()
        y[here] = x[(here + 32) % count] + numbers[31 - cuda.threadIdx.x]

    @cuda.jit("void(int64[::1], int64[::1])")
    def unguarded(x, y):
        here, count = cuda.grid(1), cuda.gridsize(1)
        x[here] = here
        cuda.syncthreads()
        y[here] = x[(here + 32) % count]

    x, y = (cuda.to_device(np.zeros(96, np.int64)) for _ in range(2))
    rotated[3, 32](x, y)
    places = np.arange(96)
    assert np.array_equal(y.copy_to_host(), (places + 32) % 96 + 100 * (places // 32))
    assert not emulated_driver.reports()
    found(lambda: unguarded[3, 32](x, y), "a race")


@check
def streams_wait_for_nothing_unasked() -> None:
    """Work on a stream has not been done until somebody waits for it: by an event, here, or not."""
    @cuda.jit("void(float64[::1], float64)")
    def filled(y, value):
        i = cuda.grid(1)
        if i < y.size:
            y[i] = value

    @cuda.jit("void(float64[::1], float64[::1])")
    def copied(x, y):
        i = cuda.grid(1)
        if i < x.size:
            y[i] = x[i]

    for waits in (False, True):
        one, two, event = cuda.stream(), cuda.stream(), cuda.event(timing=False)
        x, y = cuda.to_device(np.zeros(5)), cuda.to_device(np.zeros(5))
        filled[1, 32, one](x, 3.0)
        event.record(one)
        if waits:
            event.wait(two)
        copied[1, 32, two](x, y)
        two.synchronize()
        host = np.zeros(5)
        y.copy_to_host(host, stream=two)
        assert np.array_equal(host, np.full(5, 3.0 if waits else 0.0))


# -- arithmetic in the types of PTX --------------------------------------------------------------------------------


def numbers(dtype: np.dtype, count: int = 64) -> np.ndarray:
    """Numbers of a type, its limits among them."""
    rng = np.random.default_rng(3)
    if dtype.kind == "f":
        return rng.normal(size=count).astype(dtype) * np.exp(rng.normal(size=count) * 9).astype(dtype)
    limits = np.iinfo(dtype)
    drawn = rng.integers(limits.min, limits.max, size=count, dtype=dtype, endpoint=True)
    drawn[:4] = limits.min, limits.max, 0, 1
    return drawn


@check
def integers_wrap_as_their_types() -> None:
    for name in ("int32", "int64", "uint32", "uint64"):
        @cuda.jit(f"void({name}[::1], {name}[::1], {name}[:, ::1])")
        def combined(a, b, out):
            i = cuda.grid(1)
            if i < a.size:
                out[0, i] = a[i] + b[i]
                out[1, i] = a[i] * b[i]
                if b[i] > 0:
                    out[2, i] = a[i] // b[i]
                    out[3, i] = a[i] % b[i]
                out[4, i] = (a[i] ^ b[i]) & ~(a[i] | b[i])
                out[5, i] = a[i] << (b[i] & 15)
                out[6, i] = a[i] >> (b[i] & 15)
                out[7, i] = min(a[i], b[i]) - max(a[i], b[i])

        a = numbers(np.dtype(name))
        b = a[::-1].copy()
        out = cuda.to_device(np.zeros((8, 64), name))
        combined[2, 32](cuda.to_device(a), cuda.to_device(b), out)
        with np.errstate(over="ignore", divide="ignore"):
            zero, shift = np.zeros_like(a), b & 15
            expected = [a + b, a * b, np.where(b > 0, a // np.where(b > 0, b, 1), zero),
                        np.where(b > 0, a % np.where(b > 0, b, 1), zero), (a ^ b) & ~(a | b), a << shift, a >> shift,
                        np.minimum(a, b) - np.maximum(a, b)]
        assert np.array_equal(out.copy_to_host(), np.array(expected)), name


@check
def floats_round_as_their_types() -> None:
    for name in ("float32", "float64"):
        @cuda.jit(f"void({name}[::1], {name}[::1], {name}[:, ::1], int64[::1], int32[::1])")
        def combined(a, b, out, whole, small):
            i = cuda.grid(1)
            if i < a.size:
                out[0, i] = a[i] + b[i]
                out[1, i] = a[i] * b[i]
                out[2, i] = a[i] / b[i]
                out[3, i] = math.sqrt(abs(a[i]))
                out[4, i] = math.floor(a[i])
                out[5, i] = min(a[i], b[i])
                out[6, i] = cuda.fma(a[i], b[i], -a[i] * b[i])
                whole[i], small[i] = a[i], b[i]

        a = np.clip(numbers(np.dtype(name)), -1e9, 1e9)
        b = a[::-1].copy()
        out, whole, small = (cuda.to_device(np.zeros(s, t)) for s, t in (((7, 64), name), (64, "i8"), (64, "i4")))
        combined[2, 32](cuda.to_device(a), cuda.to_device(b), out, whole, small)
        rest = [float(Fraction(float(u)) * Fraction(float(v)) - Fraction(float(u * v))) for u, v in zip(a, b)]
        expected = [a + b, a * b, a / b, np.sqrt(abs(a)), np.floor(a), np.minimum(a, b), np.array(rest, name)]
        assert out.dtype == np.dtype(name) and np.array_equal(out.copy_to_host(), np.array(expected)), name
        assert np.array_equal(whole.copy_to_host(), a.astype(np.int64))
        assert np.array_equal(small.copy_to_host(), b.astype(np.int32))


# -- the target on a stream of the caller's ------------------------------------------------------------------------


class Foreign:
    """An array of a library that says on which stream it works."""

    def __init__(self, array, stream):
        self.array, self.stream = array, stream

    @property
    def __cuda_array_interface__(self):
        return {**self.array.__cuda_array_interface__, "version": 3, "stream": self.stream}


@check
def arrays_of_other_libraries_are_taken_on_their_streams() -> None:
    cpu, device = pair(rosenbrock)
    streams = [cuda.stream() for _ in range(2)]
    points = [np.random.default_rng(k).normal(size=7) for k in range(6)]
    kept = []
    for k, x in enumerate(points):
        stream = streams[k % 2]
        x_there = cuda.to_device(x, stream=stream)
        kept.append((stream, x_there, device.grad(Foreign(x_there, int(stream)))))
    for (stream, _, g), x in zip(kept, points):
        same(g.copy_to_host(stream=stream), cpu.grad(x))


@check
def results_are_written_once_and_wholly() -> None:
    """Results on the device are made of memory that nobody wrote: what a kernel left out would be found."""
    cpu, device = pair(rosenbrock)
    d = cuda.to_device(X)
    for name in ("value", "grad", "flat", "diagonal", "value_grad_hessian"):
        same(getattr(device, name)(d), getattr(cpu, name)(X))
    same(device.sparse(X).toarray(), cpu(X))


CHECKS |= {name: cuda_simulated.CHECKS[name] for name in SAMPLE}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    path, *parts = sys.argv[1:]
    if parts:
        CHECKS |= {name: run for name, run in cuda_simulated.CHECKS.items()
                   if "all" not in parts or name not in cuda_simulated.STAND_INS}
    CHECKS.main(path, *(() if "all" in parts else parts), finish=cuda.synchronize, reports=emulated_driver.reports)
