"""Kernels with which several threads help: the threads, what they meet by, and the entry that wakes them.

    kernel(thread, meeting, work, *arrays)        thread 0 runs all of it, the others help; the arrays are common

`meeting` counts, on cache lines of their own: how many stages have begun, whether the call is abandoned, and for each
stage how many of its pieces are taken and done. What threads meet by is machine code that Numba does not see, so that
no access to memory moves across.

The threads are made once and sleep between calls. One call at a time has them: a call that comes while they are busy,
from another thread of the program, runs alone in its own. Kernels release the GIL.
"""

from __future__ import annotations

import functools
import os
import platform
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.extending import intrinsic

from symhess.backends import processors
from symhess.backends.machine_code import compiled, loaded

#: elements of a cache line
LINE = 8
#: bytes of workspace that are kept between calls
MOST_KEPT = 1 << 28
#: looks at a counter before the processor is left to others for some microseconds
PATIENCE, REST = 1000, 20


# -- in kernels ----------------------------------------------------------------------------------------------------

_PAUSES = {("x86_64", "amd64"): "llvm.x86.sse2.pause()", ("aarch64", "arm64"): "llvm.aarch64.hint(i32 1)"}
#: name -> the type of its result and its parameters after the meeting
_FUNCTIONS = {"begin": ("void", 1), "join": ("void", 1), "claim": ("i64", 1), "finish": ("void", 1),
              "complete": ("void", 2)}


def meeting_text() -> str:
    """The IR of what threads meet by."""
    pause = next((p for names, p in _PAUSES.items() if platform.machine().lower() in names), None)
    windows = sys.platform == "win32"
    return _WAITING.format(
        pause=f"call void @{pause}" if pause else "",
        declared=f"declare void @{pause.replace(' 1', '')}" if pause else "",
        leave="Sleep" if windows else "usleep", rest=0 if windows else REST, line=LINE, patience=PATIENCE) + _COUNTING


#: wait until a counter has come so far, or the call is abandoned
_WAITING = """
declare i32 @{leave}(i32)
{declared}
define internal void @wait(ptr %meeting, ptr %counter, i64 %least) noinline nounwind {{
  %abandoned = getelementptr i64, ptr %meeting, i64 {line}
  br label %look
look:
  %looks = phi i64 [0, %0], [%more, %pause], [%more, %rest]
  %now = load atomic i64, ptr %counter acquire, align 8
  %left = load atomic i64, ptr %abandoned monotonic, align 8
  %reached = icmp sge i64 %now, %least
  %given_up = icmp ne i64 %left, 0
  %over = or i1 %reached, %given_up
  br i1 %over, label %done, label %again
again:
  %more = add i64 %looks, 1
  %patient = icmp ult i64 %more, {patience}
  br i1 %patient, label %pause, label %rest
pause:
  {pause}
  br label %look
rest:
  %ignored = call i32 @{leave}(i32 {rest})
  br label %look
done:
  ret void
}}
define internal ptr @counter(ptr %meeting, i64 %stage, i64 %which) nounwind {{
  %pair = add i64 %stage, %stage
  %number = add i64 %pair, %which
  %elements = mul i64 %number, {line}
  %place = getelementptr i64, ptr %meeting, i64 %elements
  ret ptr %place
}}
"""
_COUNTING = """
define void @symhess_begin(ptr %meeting, i64 %stage) nounwind {
  %count = add i64 %stage, 1
  store atomic i64 %count, ptr %meeting release, align 8
  ret void
}
define void @symhess_join(ptr %meeting, i64 %stage) nounwind {
  %count = add i64 %stage, 1
  call void @wait(ptr %meeting, ptr %meeting, i64 %count)
  ret void
}
define i64 @symhess_claim(ptr %meeting, i64 %stage) nounwind {
  %taken = call ptr @counter(ptr %meeting, i64 %stage, i64 2)
  %piece = atomicrmw add ptr %taken, i64 1 acq_rel
  ret i64 %piece
}
define void @symhess_finish(ptr %meeting, i64 %stage) nounwind {
  %done = call ptr @counter(ptr %meeting, i64 %stage, i64 3)
  %before = atomicrmw add ptr %done, i64 1 acq_rel
  ret void
}
define void @symhess_complete(ptr %meeting, i64 %stage, i64 %pieces) nounwind {
  %done = call ptr @counter(ptr %meeting, i64 %stage, i64 3)
  call void @wait(ptr %meeting, ptr %done, i64 %pieces)
  ret void
}
"""


@functools.cache
def link() -> Any:
    """Make the functions known to the linker, before code that calls them is loaded."""
    code = loaded(compiled(meeting_text(), 1, False))
    for name in _FUNCTIONS:
        llvm.add_symbol(f"symhess_{name}", code.address(f"symhess_{name}"))
    return code


def _meets(name: str) -> Callable[..., Any]:
    """The intrinsic that calls one of the functions."""
    result, parameters = _FUNCTIONS[name]
    returned = types.none if result == "void" else types.intp

    def build(*arguments: types.Type) -> tuple:
        def codegen(context, builder, sig, args):
            data = context.make_array(sig.args[0])(context, builder, args[0]).data
            kind = ir.FunctionType(ir.IntType(64) if result == "i64" else ir.VoidType(),
                                   [data.type, *(a.type for a in args[1:])])
            function = cgutils.get_or_insert_function(builder.module, kind, f"symhess_{name}")
            value = builder.call(function, [data, *args[1:]])
            return value if result == "i64" else context.get_dummy_value()

        return signature(returned, arguments[0], *[types.intp] * parameters), codegen

    made = [None, lambda typing_context, meeting, stage: build(meeting),
            lambda typing_context, meeting, stage, pieces: build(meeting)][parameters]
    made.__name__ = name
    return intrinsic(made)


@intrinsic
def first(typing_context, n, piece, pieces):
    """The first of n iterations that belongs to a piece: n * piece // pieces."""

    def codegen(context, builder, sig, args):
        return builder.udiv(builder.mul(args[0], args[1]), args[2])

    return signature(types.intp, types.intp, types.intp, types.intp), codegen


@intrinsic
def send(typing_context, value, place):
    """Write a number of any type into the element that a memory begins with."""

    def codegen(context, builder, sig, args):
        data = context.data_model_manager[sig.args[0]].as_data(builder, args[0])
        builder.store(data, builder.bitcast(args[1], data.type.as_pointer()))
        return context.get_dummy_value()

    return signature(types.none, value, place), codegen


@intrinsic
def receive(typing_context, value, place):
    """Read a number of the type of `value`."""

    def codegen(context, builder, sig, args):
        model = context.data_model_manager[sig.args[0]]
        pointer = builder.bitcast(args[1], model.get_data_type().as_pointer())
        return model.from_data(builder, builder.load(pointer))

    return signature(value, value, place), codegen


#: what generated source may name
NAMES = {name: _meets(name) for name in _FUNCTIONS} | {"first": first, "send": send, "receive": receive}


# -- calling them --------------------------------------------------------------------------------------------------


class Call:
    """One call that threads may help with until it is closed."""

    def __init__(self, job: Callable[[int], None]):
        self.job, self.closed = job, False
        self.entered: list[int] = []
        self.left: queue.SimpleQueue = queue.SimpleQueue()

    def help(self, thread: int) -> None:
        """What another thread does for the call, if it comes in time."""
        self.entered.append(thread)
        if not self.closed:
            self.job(thread)
        self.left.put(thread)

    def close(self) -> None:
        """Wait for those who have come; whoever comes from now on leaves at once."""
        self.closed = True
        for _ in range(len(self.entered)):
            self.left.get()


class Team:
    """Sleeping threads, and the lock of the call that has them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: list[queue.SimpleQueue] = []
        self.kept = np.empty(0, np.uint8)

    def workspace(self, size: int) -> np.ndarray:
        """Memory for the call that has the lock; it is kept for the next one, up to a limit, for new memory is slow."""
        if self.kept.size < size:
            work = np.empty(size, np.uint8)
            if size > MOST_KEPT:
                return work
            self.kept = work
        return self.kept

    def grow(self, count: int) -> None:
        """Have at least so many threads; they end with the program."""
        while len(self.calls) < count:
            calls: queue.SimpleQueue = queue.SimpleQueue()
            number = len(self.calls) + 1
            threading.Thread(target=_work, args=(calls, number), name=f"symhess {number}", daemon=True).start()
            self.calls.append(calls)

    def run(self, job: Callable[[int], None], threads: int, meeting: np.ndarray) -> None:
        """job(0) here; job(1), ... by the others, as far as they come in time."""
        self.grow(threads - 1)
        call = Call(job)
        try:
            for calls in self.calls[:threads - 1]:
                calls.put(call)
            job(0)
            call.close()
        except BaseException:  # an interruption leaves nobody waiting
            call.closed = True
            meeting[LINE] = 1
            raise


def _work(calls: queue.SimpleQueue, number: int) -> None:
    """What a thread does all its life."""
    while True:
        calls.get().help(number)


_team = Team()


def _forget() -> None:
    """A forked process has none of the threads."""
    global _team
    _team = Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class SharedEntry:
    """Calls a kernel with the help of all processors, or alone while they help with another call.

    Its workspace is `common` bytes, and `own` bytes per thread.
    """

    def __init__(self, kernel: Callable[..., None], stages: int, common: int, own: int):
        self.kernel, self.common, self.own, self.threads = kernel, common, own, processors.thread_count()
        self.meeting = 2 * LINE * (stages + 1)

    def __call__(self, *arrays: np.ndarray) -> None:
        team, kernel = _team, self.kernel
        free = team.lock.acquire(blocking=False)
        try:
            threads = self.threads if free else 1
            size, meeting = self.common + threads * self.own, np.zeros(self.meeting, np.int64)
            work = team.workspace(size) if free else np.empty(size, np.uint8)
            team.run(lambda thread: kernel(thread, meeting, work, *arrays), threads, meeting)
        finally:
            if free:
                team.lock.release()
