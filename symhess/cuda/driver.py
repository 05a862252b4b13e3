"""The calls of the CUDA driver by which work is enqueued: launches, events, graphs, copies and contexts.

Streams, events and contexts are handles, integers, whichever library made them. NVIDIA's own bindings are used, which
numba-cuda brings; a driver's call that fails raises.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from symhess.errors import DeviceFailure

#: handles of the default streams: LEGACY names one, PER_THREAD another one in every thread. 0 names one of both, as the
#: process was told, so it is not used here
LEGACY, PER_THREAD = 1, 2
#: the stream does not wait for the default one, nor the default one for it
NON_BLOCKING = 1
#: events that only order work
NO_TIMING = 2
#: a status of `cuStreamIsCapturing`
NOT_CAPTURING = 0


@functools.cache
def bindings() -> Any:
    """The module `cuda.bindings.driver`."""
    from cuda.bindings import driver  # type: ignore[import-untyped]

    return driver


@functools.cache
def entry(name: str) -> Callable[..., Any]:
    """A call of the driver that raises DeviceFailure where it fails, and gives what it returns besides the status."""
    function = getattr(bindings(), name)

    def call(*args: Any) -> Any:
        status, *found = function(*args)
        if status:
            raise failure(name, status)
        return found[0] if found else None

    return call


def failure(name: str, status: Any) -> DeviceFailure:
    """The error of a call that returned `status`."""
    return DeviceFailure(f"{name} failed with {status.name}; an error of a kernel that ran before may show here, too: "
                         "SYMHESS_CUDA_GRAPHS=0 and CUDA_LAUNCH_BLOCKING=1 in the environment show which")


def current_context() -> int:
    """The context that is current in this thread, 0 where there is none."""
    return int(entry("cuCtxGetCurrent")())


def new_stream(owner: object) -> int:
    """A stream that the default stream does not wait for, so it can be captured while others work.

    It ends with its owner; work that is on it is done first.
    """
    return _owned(owner, int(entry("cuStreamCreate")(NON_BLOCKING)), "cuStreamDestroy")


def new_event(owner: object, memory: list[Any]) -> int:
    """An event to order streams by. It ends with its owner, and keeps what is in `memory` until it has occurred."""
    return _owned(owner, int(entry("cuEventCreate")(NO_TIMING)), "cuEventSynchronize", "cuEventDestroy", memory=memory)


def _owned(owner: object, handle: int, *ends: str, memory: Sequence[Any] = ()) -> int:
    weakref.finalize(owner, _ended, ends, handle, memory).atexit = False
    return handle


def _ended(ends: Sequence[str], handle: int, memory: Sequence[Any]) -> None:
    with contextlib.suppress(Exception):  # the device may have been reset
        for end in ends:
            entry(end)(handle)


def is_capturing(stream: int) -> bool:
    """True while what is enqueued on a stream becomes part of a graph; never for the default stream."""
    return stream > LEGACY and int(entry("cuStreamIsCapturing")(stream)) != NOT_CAPTURING


def is_pageable(address: int) -> bool:
    """True for memory of the host that the driver knows nothing of: not page-locked, nor managed."""
    kind = bindings().CUpointer_attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE
    return bool(bindings().cuPointerGetAttribute(kind, address)[0])


def join(stream: int, other: int) -> None:
    """`follow` by an event of its own."""
    event = entry("cuEventCreate")(NO_TIMING)
    follow(stream, event, other)
    entry("cuEventDestroy")(event)  # the driver keeps it until it has occurred


def follow(stream: int, event: int, other: int) -> None:
    """What is enqueued on `stream` from now on waits for what is on `other` already."""
    entry("cuEventRecord")(event, other)
    entry("cuStreamWaitEvent")(stream, event, 0)
