"""What checks of the CUDA target in the simulator have in common: their register, and how results are compared."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from oracles import error

from symhess import hessian_jit
from symhess.cuda.program import DeviceProgram
from symhess.cuda.toolkit import numba_cuda
from symhess.plan.program import Program


class Checks(dict[str, Callable[[], None]]):
    """Functions by name, each of which raises where something is wrong."""

    def add(self, f: Callable[[], None]) -> Callable[[], None]:
        """One check more; a decorator."""
        self[f.__name__] = f
        return f

    def main(self, path: str, *parts: str, finish: Callable[[], object] = list,
             reports: Callable[[], Iterable[str]] = list) -> None:
        """Run those whose names have one of some parts, or all, and write a line of JSON for each to a file.

        It has the name, what went wrong ("" where nothing did), and the seconds. What `reports` tells after a check
        is a problem, too.
        """
        with open(path, "w") as results:
            for name, run in self.items():
                if parts and not any(part in name for part in parts):
                    continue
                started, problems = time.perf_counter(), []
                try:
                    run()
                    finish()
                except BaseException:
                    problems = [traceback.format_exc()]
                problem = "\n".join([*problems, *reports()])
                results.write(json.dumps([name, problem, time.perf_counter() - started]) + "\n")
                results.flush()


#: what is checked in the simulator
CHECKS = Checks()
check = CHECKS.add


def same(found: object, expected: object, tolerance: float = 1e-12) -> None:
    """Two pytrees of arrays, on the device or not, are equal but for rounding."""
    if isinstance(expected, tuple | list):
        assert type(found) is type(expected) and len(found) == len(expected)
        for a, b in zip(found, expected):
            same(a, b, tolerance)
        return
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for key in expected:
            same(found[key], expected[key], tolerance)
        return
    found = found.copy_to_host() if hasattr(found, "copy_to_host") else np.asarray(found)
    expected = np.asarray(expected)
    assert found.dtype == expected.dtype and found.shape == expected.shape, (found.dtype, found.shape, expected.shape)
    found, expected = (a.astype(float) if a.dtype == bool else a for a in (found, expected))
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert error(np.nan_to_num(found), np.nan_to_num(expected)) <= tolerance, np.max(np.abs(found - expected))


def on_device(program: Program, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a program, by its kernels."""
    cuda, device = numba_cuda(), DeviceProgram(program)
    outs = [cuda.to_device(np.full(max(int(np.prod(b.shape)), 1), 7, b.dtype)) for b in program.outputs]
    device([cuda.to_device(np.ravel(a).copy()) for a in arrays], outs)
    return [o.copy_to_host()[:int(np.prod(b.shape))].reshape(b.shape) for o, b in zip(outs, program.outputs)]


def pair(fn: Callable, **options: object) -> tuple[Callable, Callable]:
    """The same function on the CPU and on the device."""
    return hessian_jit(fn, **options), hessian_jit(fn, target="cuda", **options)


@contextlib.contextmanager
def set_to(module: object, **values: int) -> Iterator[None]:
    """Constants of a module with other values: what is for large arrays is done for small ones."""
    known = {name: getattr(module, name) for name in values}
    vars(module).update(values)
    try:
        yield
    finally:
        vars(module).update(known)
