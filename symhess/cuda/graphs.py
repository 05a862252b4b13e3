"""What a call enqueues, in order: launches and copies, replayed as CUDA graphs where they recur, and library calls.

    steps --> sections of steps that the driver can capture --> a graph for every set of addresses that comes again

A graph holds nothing but addresses, and is known by them: those of the arguments and results that its section touches.
The rest of what it works on belongs to the program. Shapes and dtypes are fixed by the program, so an address that
was freed and handed out again means the same to a graph as to a launch: the array that a call was given.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from symhess.cuda import driver

#: steps from which a graph costs less than to enqueue them one by one
FEW = 3
#: graphs that a section keeps, their steps together, calls after which one that was not launched makes room, and
#: addresses remembered
MOST_GRAPHS, MOST_STEPS, PATIENCE, MOST_SEEN = 16, 1 << 15, 256, 64
#: sections of a program with graphs
MOST_RUNS = 64
#: SYMHESS_CUDA_GRAPHS=0 turns graphs off
SWITCH = "SYMHESS_CUDA_GRAPHS"

Addresses = tuple[int, ...]


class Step(NamedTuple):
    """`enqueue(stream)` gives the driver's status; `operands` are the numbers of arguments and results it touches."""

    enqueue: Callable[[Any], Sequence]
    operands: tuple[int, ...]
    name: str


class Section:
    """Steps of the driver that follow each other: enqueued one by one, or as a graph.

    `point(addresses)` is called before steps are enqueued one by one, with the addresses of all operands. Graphs are
    recorded on `stream`, which nobody else uses meanwhile.
    """

    def __init__(self, steps: Sequence[Step], graphed: bool, point: Callable[[Addresses], None], stream: int):
        self.steps, self.graphed, self.point, self.stream = steps, graphed, point, stream
        self.most = max(1, min(MOST_GRAPHS, MOST_STEPS // len(steps)))
        self.places = sorted({k for s in steps for k in s.operands})
        self.calls = 0
        #: the executable graphs, each with the number of the call that launched it last
        self.graphs: dict[Addresses, list[Any]] = {}
        self._seen: dict[Addresses, None] = {}
        self._launch = driver.bindings().cuGraphLaunch
        weakref.finalize(self, _destroy, self.graphs).atexit = False

    def __call__(self, addresses: Addresses, stream: int) -> None:
        """Enqueue the steps on a stream that is not being captured."""
        handle = driver.bindings().CUstream(stream)
        if self.graphed:
            self.calls += 1
            key = tuple([addresses[k] for k in self.places])
            found = self.graphs.get(key) or self._recurring(key, addresses)
            if found is not None:
                found[1] = self.calls
                (status,) = self._launch(found[0], handle)
                if status:
                    raise driver.failure("cuGraphLaunch", status)
                return
        self.one_by_one(addresses, handle)

    def one_by_one(self, addresses: Addresses, handle: Any) -> None:
        """Enqueue the steps themselves."""
        self.point(addresses)
        for step in self.steps:
            (status,) = step.enqueue(handle)
            if status:
                raise driver.failure(step.name, status)

    def _recurring(self, key: Addresses, addresses: Addresses) -> list[Any] | None:
        """The graph of addresses that come for the second time; None for the first, or where there is no room."""
        if key not in self._seen:
            if len(self._seen) >= MOST_SEEN:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = None
            return None
        if len(self.graphs) >= self.most and not self._made_room():
            return None
        del self._seen[key]
        found = self.graphs[key] = [self._captured(addresses), self.calls]
        return found

    def _made_room(self) -> bool:
        """Give up the graph that was not launched for the longest time, if that is long."""
        oldest = min(self.graphs, key=lambda key: self.graphs[key][1])
        if self.graphs[oldest][1] > self.calls - PATIENCE:
            return False
        driver.entry("cuGraphExecDestroy")(self.graphs.pop(oldest)[0])  # one in flight is freed when it is done
        return True

    def _captured(self, addresses: Addresses) -> Any:
        """The steps as an executable graph.

        In relaxed mode: nothing else that happens meanwhile, in this thread or another, breaks the recording off.
        """
        mode = driver.bindings().CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        driver.entry("cuStreamBeginCapture")(self.stream, mode)
        try:
            self.one_by_one(addresses, driver.bindings().CUstream(self.stream))
        except BaseException:
            with contextlib.suppress(Exception):
                driver.entry("cuGraphDestroy")(driver.entry("cuStreamEndCapture")(self.stream))
            raise
        graph = driver.entry("cuStreamEndCapture")(self.stream)
        try:
            return driver.entry("cuGraphInstantiate")(graph, 0)
        finally:
            driver.entry("cuGraphDestroy")(graph)


def is_off() -> bool:
    """True where the user wants no graphs."""
    return os.environ.get(SWITCH) == "0"


def runs(capturable: Sequence[bool]) -> list[tuple[range, bool]]:
    """The numbers of steps that are enqueued together: runs of such that can be captured, and each other one alone.

    With each, whether it becomes a graph: of long programs that are cut into many runs there would be too many.
    """
    ends = sorted({0, len(capturable), *(end for k, one in enumerate(capturable) if not one for end in (k, k + 1))})
    found = [range(first, last) for first, last in itertools.pairwise(ends)]
    few = len(found) <= MOST_RUNS and not is_off()
    return [(run, few and capturable[run[0]] and len(run) >= FEW) for run in found]


def _destroy(graphs: dict[Addresses, list[Any]]) -> None:
    with contextlib.suppress(Exception):  # the context may be gone
        for graph, _ in graphs.values():
            driver.entry("cuGraphExecDestroy")(graph)
