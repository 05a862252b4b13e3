"""Checks of how the CUDA target calls the driver: run as a program in a process of its own, by test_cuda_host.py.

    python -m emulated_driver cuda_host.py RESULTS [part of a check's name ...]

writes one line of JSON for every check: its name, and what went wrong ("" where nothing did). The driver is emulated,
or that of a GPU where `python cuda_host.py RESULTS` finds one. What is of CuPy and PyTorch is in device_libraries.py.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import os
import sys
import threading
import traceback
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import device_libraries as libraries
import numpy as np
import pytest
from cuda.bindings import driver as bindings
from cuda_checks import Checks, same, set_to
from cuda_simulated import Unchecked
from numba import cuda

from symhess import hessian_jit
from symhess.cuda import driver, graphs, launching, linear, staging
from symhess.errors import DeviceFailure, DTypeMismatch, ShapeMismatch, TargetUnavailable, UnsupportedOperation
from symhess.plan import contraction

CHECKS = Checks()
check = CHECKS.add
X = np.random.default_rng(5).normal(size=7)
CALLS: collections.Counter[str] = collections.Counter()


def count_calls() -> None:
    """Count the driver's calls that Python code makes."""
    for name in dir(bindings):
        function = getattr(bindings, name)
        if name.startswith("cu") and callable(function) and not isinstance(function, type):
            setattr(bindings, name, counted(name, function))


def counted(name: str, function: Any) -> Any:
    def call(*args: Any, **named: Any) -> Any:
        CALLS[name] += 1
        return function(*args, **named)

    return call


@contextlib.contextmanager
def calls(expected: dict[str, int]) -> Iterator[None]:
    """What runs inside calls the driver just so often."""
    CALLS.clear()
    yield
    assert dict(CALLS) == expected, dict(CALLS)


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """What runs inside makes none of some calls."""
    CALLS.clear()
    yield
    assert not CALLS.keys() & names, dict(CALLS)


#: calls that wait for the device, or for which the driver does
WAITING = ("cuCtxSynchronize", "cuStreamSynchronize", "cuEventSynchronize", "cuMemcpyDtoH", "cuMemcpyHtoD",
           "cuMemcpyDtoD", "cuMemcpyDtoHAsync", "cuMemAlloc", "cuMemFree", "cuMemHostAlloc",
           "cuModuleLoadData", "cuLibraryLoadData")


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)


def weighted(x, a):
    return np.sum(a * np.sin(x) ** 2) * np.sum(x)


def pair(fn: Callable, **options: object) -> tuple[Any, Any]:
    """The same function on the CPU and on the device."""
    return hessian_jit(fn, **options), hessian_jit(fn, target="cuda", **options)


def loaded(f: Any, *args: Any, product: str = "hessian") -> Any:
    """What a function has on the device."""
    run = f._bound_path(args, {})[1].runner(product)
    (found,) = run.device._loaded.values()
    return found


def numbers_of_graphs(sections: Any) -> list[int]:
    return [len(s.graphs) for s in sections]


# -- graphs --------------------------------------------------------------------------------------------------------


@check
def a_steady_call_is_one_launch() -> None:
    """On device arrays: a graph, and the event by which another stream would wait; nothing that waits."""
    cpu, device = pair(rosenbrock)
    d, out = cuda.to_device(X), cuda.device_array((7, 7))
    for _ in range(2):
        device(d, out=out)
    with calls({"cuCtxGetCurrent": 1, "cuGraphLaunch": 1, "cuEventRecord": 1}):
        device(d, out=out)
    same(out, cpu(X))
    d.copy_to_device(2 * X)
    device(d, out=out)
    same(out, cpu(2 * X))
    assert numbers_of_graphs(loaded(device, X).sections) == [1]


@check
def a_steady_call_on_numpy_arrays_is_one_launch() -> None:
    """With its copies; then the host waits for the stream."""
    cpu, device = pair(rosenbrock)
    for k in range(3):
        same(device(k * X), cpu(k * X))
    with calls({"cuCtxGetCurrent": 1, "cuGraphLaunch": 1, "cuEventRecord": 1, "cuStreamSynchronize": 1}):
        found = device(X)
    same(found, cpu(X))
    same(device.value_grad_hessian(X), cpu.value_grad_hessian(X))


@check
def a_steady_call_is_few_calls_of_python() -> None:
    """A deterministic stand-in for the time that the host takes."""
    device = hessian_jit(rosenbrock, target="cuda")
    d, out = cuda.to_device(X), cuda.device_array((7, 7))
    for call, most in ((lambda: device(d, out=out), 170), (lambda: device(X), 60)):
        for _ in range(3):
            call()
        seen: collections.Counter[str] = collections.Counter()
        sys.setprofile(lambda frame, event, argument, seen=seen: seen.update([event]))
        try:
            call()
        finally:
            sys.setprofile(None)
        assert 10 < seen["call"] <= most, seen


@check
def large_arrays_are_copied_by_the_driver() -> None:
    cpu, device = pair(weighted)
    with set_to(staging, SMALL=64):
        a = np.random.default_rng(1).normal(size=7)
        x = np.random.default_rng(2).normal(size=7)
        for k in range(3):
            same(device(x * k, a), cpu(x * k, a))
            same(device.value(x * k, 2.0), cpu.value(x * k, 2.0))
        with calls({"cuCtxGetCurrent": 1, "cuGraphLaunch": 1, "cuEventRecord": 1, "cuStreamSynchronize": 1,
                    "cuMemcpyDtoHAsync": 1}):
            device(x, a)


@check
def graphs_give_what_launches_give() -> None:
    """Bit by bit, for arrays that come again and such that do not."""
    found = []
    for switch in ("1", "0"):
        os.environ[graphs.SWITCH] = switch
        try:
            device, out = hessian_jit(weighted, target="cuda"), cuda.device_array((7, 7))
            xs, a = [cuda.to_device(X * k) for k in range(1, 4)], cuda.to_device(X)
            found.append([device(x, a, out=out).copy_to_host() for _ in range(3) for x in xs])
            assert numbers_of_graphs(loaded(device, X, X).sections) == [0 if switch == "0" else 3]
        finally:
            del os.environ[graphs.SWITCH]
    assert all(np.array_equal(a, b) for a, b in zip(*found))


@check
def addresses_that_keep_changing_make_few_graphs() -> None:
    cpu, device = pair(rosenbrock)
    inputs = [cuda.to_device(X * k) for k in range(6)]
    out = cuda.device_array((7, 7))
    expected = [cpu(X * k) for k in range(6)]
    with set_to(graphs, MOST_GRAPHS=3, PATIENCE=10, MOST_SEEN=4):  # which a section reads when it is made
        for _ in range(3):
            for d, H in zip(inputs, expected):
                device(d, out=out)
                same(out, H)
        (section,) = loaded(device, X).sections
        assert len(section.graphs) <= 3 and len(section._seen) <= 4
        for _ in range(30):  # two that come often take the places of others
            for d, H in zip(inputs[:2], expected):
                device(d, out=out)
                same(out, H)
        first = [loaded(device, X).sections[0].graphs.get((d.device_ctypes_pointer.value,
                                                           out.device_ctypes_pointer.value)) for d in inputs[:2]]
        assert None not in first


@check
def long_programs_keep_few_graphs() -> None:
    """Of many runs of kernels none becomes a graph, and of many kernels there are few graphs."""
    one = graphs.Step(lambda handle: (0,), (0,), "cuX")
    assert graphs.Section([one] * 4096, True, lambda addresses: None, 0).most == 8
    assert graphs.Section([one] * 3, True, lambda addresses: None, 0).most == graphs.MOST_GRAPHS
    assert graphs.runs([True] * 3 + [False] + [True] * 2) == [
        (range(3), True), (range(3, 4), False), (range(4, 6), False)]
    many = graphs.runs(([True] * 3 + [False]) * 40)
    assert [len(run) for run, _ in many] == [3, 1] * 40 and not any(graphed for _, graphed in many)
    assert graphs.runs([False, True]) == [(range(1), False), (range(1, 2), False)] and graphs.runs([]) == []


@check
def results_of_freed_memory() -> None:
    """Memory that comes back at the same address is another array; a graph means the array of the call."""
    cpu, device = pair(rosenbrock)
    with libraries.standing_in() as (cupy, _):
        seen = set()
        for k in range(8):
            x = cupy.asarray(X * k)
            H = device(x)
            same(H.get(), cpu(X * k))
            seen.add((x.data.ptr, H.data.ptr))
            del x, H
        assert len(seen) < 8 and sum(numbers_of_graphs(loaded(device, X).sections)) > 0


@check
def few_launches_need_no_graph() -> None:
    device = hessian_jit(lambda x: np.sum(x**3), target="cuda")
    d, out = cuda.to_device(X), cuda.device_array(7)
    for _ in range(3):
        device.diagonal(d, out=out)
    with calls({"cuCtxGetCurrent": 1, "cuLaunchKernel": 1, "cuEventRecord": 1}):
        device.diagonal(d, out=out)
    same(out, 6 * X)


@check
def a_failure_leaves_nothing_behind() -> None:
    """Half of a call, or half of a recording, and the next call is right."""
    cpu, device = pair(rosenbrock)
    d, out = cuda.to_device(X), cuda.device_array((7, 7))
    device(d, out=out)
    (section,) = loaded(device, X).sections
    steps, failing = section.steps, lambda handle: (bindings.CUresult.CUDA_ERROR_INVALID_VALUE,)
    for recording in (False, True):
        section.graphs.clear()
        section._seen.clear()
        if recording:
            device(d, out=out)
        section.steps = [*steps[:2], graphs.Step(failing, (), "cuX"), *steps[2:]]
        CALLS.clear()
        with pytest.raises(DeviceFailure) as problem:
            device(d, out=out)
        assert "cuX failed with CUDA_ERROR_INVALID_VALUE" in str(problem.value)
        assert CALLS["cuEventRecord"] == 1  # another stream has to wait for what was enqueued
        section.steps = steps
        for _ in range(3):
            device(d, out=out)
            same(out, cpu(X))
    assert len(section.graphs) == 1


class Foreign:
    """An array of a library that is known by CUDA's array interface alone."""

    def __init__(self, array: Any, stream: int | None, strides: Any = None):
        self.array, self.stream = array, stream
        self.facts = {"shape": array.shape, "typestr": array.dtype.str, "data": (array.data.ptr, True), "version": 3,
                      "strides": array.strides, "stream": stream}

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.facts


# -- memory --------------------------------------------------------------------------------------------------------


@check
def the_workspace_is_allocated_once() -> None:
    cpu, device = pair(lambda x: np.sum(np.exp(np.sin(np.outer(x, x)))))
    d, out = cuda.to_device(X), cuda.device_array(7)
    device.grad(d, out=out)
    before = [*loaded(device, X, product="grad").memory]
    with without(*WAITING):
        for _ in range(4):
            device.grad(d, out=out)
    assert loaded(device, X, product="grad").memory == before
    same(out, cpu.grad(X), 1e-11)


@check
def numbers_beside_device_arrays_are_copied_when_they_change() -> None:
    cpu, device = pair(weighted)
    d, out = cuda.to_device(X), cuda.device_array((7, 7))
    for a in (2.0, 3.0):
        device(d, a, out=out)
        same(out, cpu(X, a))
    with without(*WAITING, "cuMemcpyHtoDAsync"):
        device(d, 3.0, out=out)
    with without(*WAITING):
        device(d, 4.0, out=out)
    assert CALLS["cuMemcpyHtoDAsync"] == 1
    same(out, cpu(X, 4.0))
    for small in (8, 1 << 18):  # copied always, or when it has changed
        for many in (np.linspace(-1, 1, 7), cuda.pinned_array(7)):
            many[:] = np.linspace(-1, 1, 7)
            with set_to(launching, SMALL=small):
                for _ in range(3):
                    device(d, many, out=out)
                    many += 1  # while the call is still to run
                    same(out, cpu(X, many - 1))


@check
def memory_that_there_is_not_is_told() -> None:
    cpu, device = pair(rosenbrock)
    same(device(X), cpu(X))
    with pytest.raises(DeviceFailure) as problem:
        loaded(device, X).allocate(1 << 60)
    said = str(problem.value)
    assert "1,152,921,504,606,846,976 bytes" in said and "memory_budget" in said, said
    same(device(2 * X), cpu(2 * X))


@check
def batches_leave_their_points_on_the_device() -> None:
    cpu, device = pair(rosenbrock)
    xs = np.random.default_rng(6).normal(size=(5, 3))
    with libraries.standing_in() as (cupy, torch):
        for x in (cuda.to_device(xs), cupy.asarray(xs), torch.Tensor((), float).like(xs),
                  Foreign(cupy.asarray(xs), None)):
            device.batch(x)
            with without("cuMemcpyDtoH", "cuMemcpyDtoHAsync", "cuStreamSynchronize", "cuCtxSynchronize"):
                found = device.batch(x)
            same(host(found), cpu.batch(xs))


@check
def the_memory_of_a_function_is_given_back() -> None:
    device = hessian_jit(rosenbrock, target="cuda")
    for _ in range(3):
        device(X)
    there = weakref.ref(loaded(device, X))
    gc.collect()
    CALLS.clear()
    del device
    gc.collect()
    assert there() is None and CALLS["cuGraphExecDestroy"] == 1, CALLS
    assert CALLS["cuStreamDestroy"] == CALLS["cuEventDestroy"] == 1, CALLS


@check
def a_function_is_given_up_while_it_runs() -> None:
    d, out = cuda.to_device(X), cuda.device_array((7, 7))
    for _ in range(3):
        device = hessian_jit(rosenbrock, target="cuda")
        device(d, out=out)
        there = weakref.ref(loaded(device, X))
        CALLS.clear()
        del device
        gc.collect()
        cuda.current_context().memory_manager.deallocations.clear()
        assert there() is None and CALLS["cuEventSynchronize"] == 1 and CALLS["cuMemFree"] > 0, CALLS
        same(out, hessian_jit(rosenbrock)(X))


@check
def a_context_is_made_current_in_every_thread() -> None:
    cpu, device = pair(rosenbrock)
    d, found, problems = cuda.to_device(X), [], []

    def work() -> None:
        try:
            found.append(device(d).copy_to_host())
            found.append(device(X))
        except BaseException:
            problems.append(traceback.format_exc())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not problems, problems[0]
    assert len(found) == 8
    for H in found:
        same(H, cpu(X))


# -- streams -------------------------------------------------------------------------------------------------------


def host(a: Any) -> np.ndarray:
    """A copy on the host of an array of any library."""
    return a.copy_to_host() if hasattr(a, "copy_to_host") else a.host()


@check
def a_call_is_on_the_current_stream_of_its_library() -> None:
    cpu, device = pair(rosenbrock)
    with libraries.standing_in() as (cupy, torch):
        for move, kind in ((cupy.asarray, cupy.ndarray), (torch.Tensor((), float).like, torch.Tensor)):
            for stream in (libraries.NULL, libraries.Stream(), libraries.Stream(driver.PER_THREAD)):
                with stream:
                    x = move(X)
                    for name in ("value", "grad", "value_and_grad", "diagonal", "flat", "__call__"):
                        found = getattr(device, name)(x)
                        expected = getattr(cpu, name)(X)
                        for a, b in zip(*((v if isinstance(v, tuple) else (v,)) for v in (found, expected))):
                            assert type(a) is kind
                            same(a.host(), b)
                    with without("cuCtxSynchronize", "cuStreamSynchronize", "cuMemcpyDtoH", "cuMemcpyDtoHAsync"):
                        device(x)
        assert not libraries.waits


@check
def calls_on_two_streams_take_turns() -> None:
    cpu, device = pair(lambda x: np.sum(np.exp(np.sin(np.outer(x, x)))))
    points = [np.random.default_rng(k).normal(size=7) for k in range(6)]
    with libraries.standing_in() as (cupy, _):
        streams, found = [libraries.Stream() for _ in range(2)], []
        for k, x in enumerate(points):
            with streams[k % 2]:
                found.append(device.grad(cupy.asarray(x)))
        for k, (x, g) in enumerate(zip(points, found)):
            with streams[k % 2]:
                same(g.get(), cpu.grad(x), 1e-11)
        with streams[0]:
            x = cupy.asarray(points[0])
            device.grad(x)
            with without("cuStreamWaitEvent"):  # the call before was on this stream
                device.grad(x)
        with streams[1]:
            device.grad(cupy.asarray(points[1]))
            assert CALLS["cuStreamWaitEvent"] == 1, CALLS
            with without("cuStreamWaitEvent"):
                device.grad(cupy.asarray(points[0]))


@check
def calls_in_any_order() -> None:
    """One function, three streams, arrays that are written again, NumPy arrays between: as if calls did not overlap."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(7, 7))

    def f(x, w):
        return np.sum(np.sin(a @ np.exp(np.sin(a @ x))) ** 2 * w)

    cpu, device = pair(f)
    with libraries.standing_in() as (cupy, _):
        streams = [libraries.NULL, libraries.Stream(), libraries.Stream()]
        held = []
        for stream in streams:
            with stream:
                held.append([cupy.asarray(v) for v in (X, X, np.zeros((7, 7)))])
        expected: list[Any] = [None] * len(streams)
        for _ in range(60):
            k, how, v = rng.integers(len(streams)), rng.integers(5), rng.normal(size=7)
            x, w, H = held[k]
            with streams[k]:
                if how == 0:
                    x.fill(v)
                elif how == 1:
                    same(device(v, v), cpu(v, v), 1e-11)
                elif how == 2 and expected[k] is not None:
                    same(H.get(), expected[k], 1e-11)
                else:  # with a fresh result now and then
                    wanted = cpu(x.get(), v if how == 3 else w.get())
                    made = device(x, v if how == 3 else w, out=None if rng.integers(3) == 0 else H)
                    if made is H:
                        expected[k] = wanted
                    else:
                        same(made.get(), wanted, 1e-11)
        assert len(loaded(device, X, X).rows) > len(loaded(device, X, X).operands), "there is a workspace"


@check
def arrays_of_several_libraries_and_streams_meet() -> None:
    """The call comes after what is on every stream, and before what will be."""
    cpu, device = pair(weighted)
    with libraries.standing_in() as (cupy, _):
        first, second = libraries.Stream(), libraries.Stream()
        for k in range(4):
            with second:
                bound = cuda.to_device(X * k, stream=cuda.external_stream(second.ptr))
            with first:
                x = cupy.asarray(X)
                H = device(x, bound)
            with second:
                bound.copy_to_device(X, stream=cuda.external_stream(second.ptr))  # after the call has read it
                second.synchronize()
            with first:
                same(H.get(), cpu(X, X * k))


@check
def sparse_results() -> None:
    """Matrices of CuPy's, which share their structure; after the first one nothing is waited for."""
    cpu, device = pair(rosenbrock)
    with libraries.standing_in() as (cupy, _):
        for stream in (libraries.NULL, libraries.Stream()):
            with stream:
                first = device.sparse(cupy.asarray(X))
                libraries.waits.clear()
                with without("cuStreamSynchronize", "cuCtxSynchronize", "cuMemcpyDtoHAsync"):
                    x = cupy.asarray(2 * X) if stream.ptr else first.data.like(2 * X)
                    second = device.sparse(x)
                assert second.indices is first.indices and second.data is not first.data and not libraries.waits
                same(first.toarray(), cpu(X))
                same(second.toarray(), cpu(2 * X))
                assert device.sparse(cupy.asarray(3 * X), out=first) is first
                same(first.toarray(), cpu(3 * X))
                other = libraries.Stream()
                bound = cuda.to_device(X, stream=cuda.external_stream(other.ptr))
                device.sparse(bound)
                libraries.waits.clear()
                with without("cuStreamSynchronize", "cuCtxSynchronize", "cuMemcpyDtoHAsync"):
                    third = device.sparse(bound)
                assert not libraries.waits
                same(third.toarray(), cpu(X))


@check
def arrays_on_two_devices_are_refused() -> None:
    device = hessian_jit(weighted, target="cuda")
    with libraries.standing_in() as (_, torch):
        x, a = (torch.Tensor((), float).like(X) for _ in range(2))
        a.device = types.SimpleNamespace(index=1)
        with pytest.raises(UnsupportedOperation) as problem:
            device(x, a)
        assert "on one device, got arrays on 0, 1" in str(problem.value)


@check
def the_default_stream_of_a_thread_is_waited_for() -> None:
    """Its handle is the same in every thread, and the stream is not."""
    cpu, device = pair(rosenbrock)
    stream = cuda.per_thread_default_stream()
    x, out = cuda.to_device(X, stream=stream), cuda.device_array((7, 7), stream=stream)
    for _ in range(2):
        device(x, out=out)
    with calls({"cuCtxGetCurrent": 1, "cuStreamIsCapturing": 1, "cuStreamWaitEvent": 1, "cuGraphLaunch": 1,
                "cuEventRecord": 1}):
        device(x, out=out)
    same(out.copy_to_host(stream=stream), cpu(X))


@check
def kernels_of_another_numba_are_refused() -> None:
    """Which take other words for an array."""
    device = hessian_jit(rosenbrock, target="cuda")
    device(X)
    program = loaded(device, X).program
    launch = program.module.launches[0]
    kernel, words = program.handle_of(launch), launching.WORDS * len(launch.arrays)
    launching.check_arguments(kernel, words)
    for wrong in (words - 1, words + 1):
        with pytest.raises(TargetUnavailable) as problem:
            launching.check_arguments(kernel, wrong)
        assert "hands arrays to kernels in a way that is not known" in str(problem.value)


class Shared:
    """An array that is known by DLPack alone."""

    def __init__(self, array: Any):
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, **how: Any) -> Any:
        raise NotImplementedError

    def shared(self, stream: int) -> Any:
        return self.array


@check
def arrays_of_other_libraries() -> None:
    """Their stream is waited for on the device, not by the host; results are CuPy's, or Numba's without CuPy."""
    cpu, device = pair(rosenbrock)
    with libraries.standing_in() as (cupy, _):
        there = libraries.Stream()
        for k in range(1, 4):
            with there:
                made = cupy.asarray(np.stack([X * k, X], axis=1))
                whole = cupy.asarray(X * k)
            for given in (Foreign(made[:, 0], there.ptr), Foreign(whole, there.ptr), Shared(made[:, 0]),
                          Foreign(whole, None)):
                if not isinstance(given, Foreign):  # its library takes care of the order
                    there.synchronize()
                libraries.waits.clear()
                with without("cuStreamSynchronize") if isinstance(given, Foreign) and given.array is whole and k > 1 \
                        else contextlib.nullcontext():
                    H = device(given)
                assert isinstance(H, cupy.ndarray) and not libraries.waits
                same(H.get(), cpu(X * k))
        x = Foreign(cupy.asarray(X), None)
        with pytest.raises(ShapeMismatch) as problem:
            device.grad(2 * cupy.asarray(X), out=x)
        assert "of CuPy, PyTorch" in str(problem.value)


@check
def a_number_of_cupys_stays_one() -> None:
    """`cupy.ascontiguousarray` makes a row of it."""
    cpu, device = pair(lambda x, a: a * np.sin(x) ** 2)
    with libraries.standing_in() as (cupy, _):
        x, a = cupy.asarray(np.array(0.3)), cupy.asarray(np.array(2.0))
        assert device.grad(x, a).shape == ()
        same(device.grad(x, a).get(), np.asarray(cpu.grad(0.3, 2.0)))


@check
def arrays_are_converted_on_the_device() -> None:
    """Other orders, other dtypes, tensors of autograd."""
    cpu, device = pair(weighted)
    m = np.random.default_rng(3).normal(size=(3, 4))
    with libraries.standing_in() as (cupy, torch):
        for move in (cupy.asarray, torch.Tensor((), float).like):
            turned = move(m.T.copy()).swapaxes(0, 1)
            assert not turned.is_c_contiguous()
            for _ in range(3):
                same(host(device(turned, move(m))), cpu(m, m))
            same(host(device(move(np.arange(4)), move(np.array([True, False, True, True])))),
                 cpu(np.arange(4), np.array([True, False, True, True])))
            same(host(device(move(X.astype(np.float32)), move(X))), cpu(X.astype(np.float32), X), 1e-6)
        tensor = torch.Tensor((), float).like
        wanting = tensor(X)
        wanting.requires_grad = True
        same(device.grad(wanting, tensor(X)).host(), cpu.grad(X, X))
        out = tensor(np.zeros(7))
        assert device.grad(wanting, tensor(X), out=out) is out and out.version == 1
        same(out.host(), cpu.grad(X, X))
        for wrong, error in ((wanting, ShapeMismatch), (np.zeros(7), UnsupportedOperation)):
            with pytest.raises(error):
                device.grad(tensor(X), tensor(X), out=wrong)
        half = tensor(X)
        half.kind = collections.namedtuple("Kind", "name itemsize")("bfloat16", X.itemsize)  # contiguous as it is
        with pytest.raises(DTypeMismatch) as problem:
            device.grad(half, tensor(X))
        assert "bfloat16" in str(problem.value)
    with pytest.raises(UnsupportedOperation) as problem:
        device.grad(X, X, out=cuda.device_array(7))
    assert "out lies on the device" in str(problem.value)


@check
def calls_of_a_library_are_on_the_stream() -> None:
    """Between two graphs; over the memory of the program; nothing waits that does not have to."""
    a = np.random.default_rng(3).normal(size=(7, 9))
    w = np.arange(7.0)

    def f(x):
        return np.sum(w * np.sin(a @ x)) + np.linalg.slogdet(np.outer(x, x) + np.diag(np.exp(x)))[1]

    with libraries.standing_in() as (cupy, _), set_to(linear, LARGE_PRODUCT=8, LARGE_MATRIX=2), \
            set_to(contraction, SMALL_PRODUCT=8, SMALL_MATRIX=8):
        cupy.linalg.of = Unchecked(np).linalg
        cpu, device = pair(f)
        for stream in (libraries.NULL, libraries.Stream(), libraries.Stream()):
            with stream:
                for k in range(1, 4):
                    x = np.linspace(0.1, 1, 9) * k
                    same(device(cupy.asarray(x)).get(), cpu(x), 1e-10)
                    same(device(x), cpu(x), 1e-10)
        kinds = [type(s).__name__ for s in loaded(device, x).sections]
        assert "LibraryStep" in kinds and "Section" in kinds, kinds
        assert not libraries.waits


# -- graphs of the user's ------------------------------------------------------------------------------------------


@check
def a_call_can_be_captured_by_the_user() -> None:
    cpu, device = pair(rosenbrock)
    with libraries.standing_in() as (cupy, _):
        stream = libraries.Stream()
        with stream:
            x, H, g = (cupy.asarray(a) for a in (X, np.zeros((7, 7)), np.zeros(7)))
            device(x, out=H)
            device.hvp(x, X, out=g)
            mode = bindings.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL
            driver.entry("cuStreamBeginCapture")(stream.ptr, mode)
            try:
                device(x, out=H)
                with pytest.raises(UnsupportedOperation) as problem:
                    device.hvp(x, X, out=g)
                assert "move it to the device" in str(problem.value)
            finally:
                graph = driver.entry("cuStreamEndCapture")(stream.ptr)
            replay = driver.entry("cuGraphInstantiate")(graph, 0)
            for k in range(3):
                x.fill(X * k)
                driver.entry("cuGraphLaunch")(replay, stream.ptr)
                same(H.get(), cpu(X * k))
            assert device(x, out=H) is H
            same(H.get(), cpu(X * 2))


@check
def a_first_call_cannot_be_captured() -> None:
    device = hessian_jit(rosenbrock, target="cuda")
    with libraries.standing_in() as (cupy, _):
        stream = libraries.Stream()
        with stream:
            x, H = cupy.asarray(X), cupy.asarray(np.zeros((7, 7)))
            mode = bindings.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
            driver.entry("cuStreamBeginCapture")(stream.ptr, mode)
            try:
                with pytest.raises(UnsupportedOperation) as problem:
                    device(x, out=H)
                assert "call it once before" in str(problem.value)
            finally:
                driver.entry("cuGraphDestroy")(driver.entry("cuStreamEndCapture")(stream.ptr))
            same(device(x).get(), hessian_jit(rosenbrock)(X))


@check
def explain_tells_of_graphs() -> None:
    device = hessian_jit(rosenbrock, target="cuda")
    text = device.explain(X)
    assert "replayed as a CUDA graph" in text, text
    os.environ[graphs.SWITCH] = "0"
    try:
        assert "SYMHESS_CUDA_GRAPHS=0" in hessian_jit(rosenbrock, target="cuda").explain(X)
    finally:
        del os.environ[graphs.SWITCH]


if __name__ == "__main__":
    count_calls()
    emulated = sys.modules.get("emulated_driver")
    CHECKS.main(*sys.argv[1:], finish=cuda.synchronize, reports=emulated.reports if emulated else list)
