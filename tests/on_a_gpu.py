"""`pytest -m gpu`: the tests of the CPU on a GPU, or in Numba's simulator (NUMBA_ENABLE_CUDASIM=1).

Whatever a test compiles is compiled with target="cuda", as if its author had asked for that; what is about the CPU
alone is listed here with its reason, and not run. A test that the device refuses, with the error that says so, is
skipped.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

CHOSEN, DEADLINE = pytest.StashKey[bool](), pytest.StashKey[float]()
#: files about the CPU alone, or about nothing that is evaluated
FILES = {
    "test_architecture": "about the text of the repository",
    "test_background": 'compile="background" is an option of the CPU',
    "test_benchmarks": "the harness; test_cuda_benchmarks.py is about that of a GPU",
    "test_cache": "kernels of the CPU on disk",
    "test_calls": "calls that machine code of the CPU answers",
    "test_docs": "each example in a process of its own",
    "test_examples": "each example in a process of its own",
    "test_interleaving": "how kernels of the CPU write",
    "test_native": 'mode="native" is an option of the CPU',
    "test_oracles": "the tests' own oracles",
    "test_package": "imports and metadata",
    "test_raw": "kernels of the CPU by their address",
    "test_restricted": "the compiler for the CPU",
    "test_straightline": "how scalars are compiled for the CPU",
    "test_threads": "threads of the CPU",
    "test_tiles": "how kernels of the CPU clear and mirror",
    "test_tiling": "how kernels of the CPU keep temporaries in the cache",
    "test_vector_math": "vectors of the CPU",
}
INTERPRETED = "about functions that the CPU interprets"
CHUNKS = "about columns in chunks, which a device computes all at once"
TEXT = "about the text of kernels of the CPU"
#: single tests of other files, by "file::test"
TESTS = {
    "test_api::test_explain_says_what_was_chosen_and_how_long_it_took": INTERPRETED,
    "test_control_flow::test_the_second_run_of_a_path_is_compiled": INTERPRETED,
    "test_loops::test_source_does_not_depend_on_the_number_of_steps": "few states are kept by the thread itself",
    "test_loops::test_states_of_all_columns_keep_the_memory_budget": CHUNKS,
    "test_products::test_columns_keep_the_budget": CHUNKS,
    "test_runs::test_entries_on_the_diagonal_are_summed_in_registers_and_written_once": TEXT,
    "test_runs::test_kernels_of_pairs_do_not_grow": TEXT,
    "test_runs::test_regular_pairs_need_no_tables": TEXT,
    "test_scaling::test_divisions_by_numbers_are_products": TEXT,
    "test_scaling::test_pairs_are_one_loop": TEXT,
}
#: what the simulator cannot do: it runs one kernel at a time, whatever the threads of the program do
NOT_SIMULATED = re.compile("thread|concurrent")
_state = {"there": False, "retargeted": True}
#: programs that were run by the test that runs now
launched = Counter()


def is_asked_for(expression: str) -> bool:
    """True for `-m gpu`, `-m "gpu and not slow"` and the like."""
    return re.match(r"gpu\b", expression or "") is not None


def has_device() -> bool:
    """True where kernels can run, if only in the simulator."""
    if importlib.util.find_spec("numba_cuda") is None:
        return False
    from symhess.cuda import toolkit

    return toolkit.is_simulated() or toolkit.numba_cuda().is_available()


def reason(nodeid: str) -> str | None:
    """Why a test is not run on a device; None where it is."""
    file, _, name = nodeid.partition("::")
    file, test = Path(file).stem, name.partition("[")[0]
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" and NOT_SIMULATED.search(test):
        return "the simulator runs one kernel at a time"
    if file.startswith("test_cuda"):
        return "about the target itself"
    return FILES.get(file) or TESTS.get(f"{file}::{test}") or TESTS.get(f"{file}::{name}")


def equal_to_the_bit(a: np.ndarray, b: np.ndarray) -> bool:
    """True for equal arrays; on a device for arrays that are equal but for rounding: another kernel may fuse other
    products and sums, and adds in another order where several values meet in one place."""
    return np.array_equal(a, b) or (_state["there"] and np.allclose(a, b, rtol=0, atol=1e-13 * np.max(np.abs(a))))


def runs_there(item: pytest.Item) -> bool:
    """True for the tests of the CPU that are to run on a device."""
    return reason(item.nodeid) is None


def is_refusal(problem: BaseException) -> bool:
    """True for the error that says that something has no form on a device."""
    from symhess.errors import UnsupportedOperation

    return isinstance(problem, UnsupportedOperation) and 'target="cpu"' in str(problem)


@contextlib.contextmanager
def retargeting(wanted: bool):
    """Whether what is compiled meanwhile is compiled for the device."""
    before, _state["retargeted"] = _state["retargeted"], wanted
    launched.clear()
    try:
        yield
    finally:
        _state["retargeted"] = before


def on_device(options):
    """The options of a function with target="cuda", where they do not ask for what only the CPU has."""
    if not _state["retargeted"] or options.target != "cpu":
        return options
    if options.mode == "native" or options.parallel or options.cache or options.compile != "now":
        return options
    return replace(options, target="cuda", mode="auto" if options.mode == "autograd" else options.mode)


class Kernel:
    """A program on the device that is called as a kernel of the CPU is."""

    def __init__(self, program, options=None):
        from symhess.api.arguments import Options
        from symhess.api.kernels import runner

        self.run = runner(program, Options(target="cuda", fastmath=bool(getattr(options, "fastmath", False))))
        self.source, self.plan, self.inputs = self.run.source, self.run.plan, len(program.inputs)

    def entry(self, *arrays):
        self.run([np.asarray(a) for a in arrays[:self.inputs]], arrays[self.inputs:])


def install() -> None:
    """Put the device in the CPU's place wherever options are checked; before any test is imported."""
    from symhess.api import arguments, function
    from symhess.api.device import DeviceRunner
    from symhess.cuda import toolkit
    from symhess.functional import points

    checked, run = function.checked, DeviceRunner.__call__

    def counted(self, *args, **kwargs):
        launched["programs"] += 1
        return run(self, *args, **kwargs)

    _state["there"] = True
    if toolkit.is_simulated():
        sys.setswitchinterval(1e-4)  # the simulator waits for its threads in a loop of its own
    DeviceRunner.__call__ = counted
    function.checked = lambda options, fn: checked(on_device(options), fn)
    points.Options = lambda *args, **kwargs: on_device(arguments.Options(*args, **kwargs))


def prepare(item: pytest.Item) -> None:
    """Mark a test of the CPU that is to run on the device; its module compiles programs for that, too."""
    if runs_there(item):
        item.add_marker("gpu")
        if hasattr(item.module, "compile_program"):
            item.module.compile_program = Kernel


def summary(launches: dict[str, int]) -> list[str]:
    """Lines on what was run: by test, how many programs it ran on the device."""
    idle = sorted(name for name, count in launches.items() if not count)
    files = Counter(name.partition("::")[0] for name in idle)
    return [f"on the device: {len(launches) - len(idle)} tests ran {sum(launches.values())} programs; "
            f"{len(idle)} tests ran none", *(f"  {count} in {file}" for file, count in files.items())]
