"""How linear algebra and Fourier transforms are spelled: for teams of one thread where matrices are small and many,
else for teams of all threads of a block (see `symhess.cuda.teams`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from symhess.cuda.calls import Spelled, spelled
from symhess.cuda.names import shape_of_blocks
from symhess.cuda.statements import indented, strided
from symhess.plan import teams
from symhess.plan.loops import Target
from symhess.plan.nested import NestedCall, plans_in
from symhess.plan.steps import LibraryCall, Plan

#: rows from which a block of threads takes on a matrix, and where there are so many matrices
SHARED, SHARED_OF_MANY, MANY_MATRICES = 8, 32, 4096
#: columns of a right side that a block of threads takes on
COLUMNS = 16
#: most teams at the same time, of one thread and of a block, and the bytes of work that they may have together
MOST_SINGLE, MOST_SHARED, MOST_BYTES = 1 << 17, 1 << 11, 1 << 30


#: stands for the work of a team among arguments
WORK = "WORK"


class Team(NamedTuple):
    """What a team does in its iterations p: functions and their arguments, with numbers of work in double precision."""

    points: int
    calls: tuple[tuple[str, str], ...]
    work: int = 0

    def teams(self, by_block: bool) -> int:
        """How many teams there are at the same time."""
        fitting = max(MOST_BYTES // (8 * max(self.work, 1)), 1)
        return min(self.points, MOST_SHARED if by_block else MOST_SINGLE, fitting)

    def statements(self, call: LibraryCall, by_block: bool, place: str) -> list[str]:
        """An iteration, with work from a place on."""
        prefix, ranks = ("together_", "lane, lanes") if by_block else ("", "0, 1")
        work = "" if call.scratch is None else f"{call.scratch.name}, {place}"
        return [f"{prefix}{function}({arguments.replace(WORK, work)}, {ranks})" for function, arguments in self.calls]


def is_shared(call: LibraryCall) -> bool:
    """True where a block of threads takes on a matrix."""
    if call.function not in _TEAMS:
        return False
    shape = call.arguments[0].shape
    many = math.prod(shape[:-2]) >= MANY_MATRICES
    return max(shape[-2:]) >= (SHARED_OF_MANY if many else SHARED)


def team(call: LibraryCall, by_block: bool) -> Team | None:
    """The work of teams for a call; None for calls of another kind."""
    make = _TEAMS.get(call.function)
    return make(call, COLUMNS if by_block else 1, shape_of_blocks()[0] if by_block else 1) if make else None


def reserve(plan: Plan, kernels: bool = True) -> None:
    """Reserve the work of all teams: those that calls have kernels for, in the plan itself and in loops whose steps are
    launched from the host, and others, which in a loop are blocks or threads."""
    launched = [plan, *(b.plan for s in plan.steps if isinstance(s, NestedCall) and s.team == teams.HOST
                        for b in s.bodies)] if kernels else []
    for p in plans_in(plan):
        for call in p.steps:
            if isinstance(call, LibraryCall) and call.function in _TEAMS:
                alone, block = team(call, False), team(call, True)
                if any(p is other for other in launched):
                    found = block if is_shared(call) else alone
                    size = found.teams(found is block) * found.work
                else:
                    size = max(alone.points * alone.work, block.work if is_shared(call) else 0)
                call.scratch = Target(f"{call.target.name}_work", (size,), np.dtype(np.float64)) if size else None


def by_teams(call: LibraryCall) -> tuple[str, int, Iterator[str]] | None:
    """A kernel of its own for a call: of which kind, how many teams it has, and its lines."""
    shared = is_shared(call)
    found = team(call, shared)
    if found is None:
        return None
    count, kind = found.teams(shared), "blocks" if shared else "threads"
    *head, last = strided("w", str(count), kind)
    turns = [f"for p in range(w, {found.points}, {count}):",
             *indented(found.statements(call, shared, f"w * {found.work}"))]
    return kind, count, indented([*(RANKS if shared else ()), *head, *indented([*turns, last])])


def alone(call: LibraryCall) -> Spelled:
    """The iterations of any call, each for one thread, with work of its own."""
    found = team(call, False)
    if found is None:
        return spelled(call)
    return found.points, "; ".join(found.statements(call, False, f"p * {found.work}"))


def together(call: LibraryCall) -> Iterator[str]:
    """A call by the threads of one block, a matrix after the other."""
    found = team(call, True)
    yield from RANKS
    yield f"for p in range({found.points}):"
    yield from indented(found.statements(call, True, "0"))


#: which thread of a block this is, and how many there are
RANKS = ("lane = I64(cuda.threadIdx.x)", "lanes = I64(cuda.blockDim.x)")


def _square(call: LibraryCall) -> tuple[int, int, str, str]:
    """Matrices, rows, and the names of the argument and the result."""
    shape = call.arguments[0].shape
    return math.prod(shape[:-2]), shape[-1], call.sources[0], call.target.name


def _cholesky(call: LibraryCall, columns: int, lanes: int) -> Team:
    count, n, a, out = _square(call)
    return Team(count, (("cholesky", f"{a}, p * {n * n}, {n}, {out}, p * {n * n}"),))


def _lu(call: LibraryCall, columns: int, lanes: int) -> Team:
    count, n, a, out = _square(call)
    return Team(count, (("lu", f"{a}, p * {n * n}, {n}, {out}, p * {n * n + n}"),))


class _Columns:
    """Some columns of a right side: where they begin and how many there are, in double precision."""

    def __init__(self, call: LibraryCall, columns: int):
        self.n, self.k = call.shape[-2:]
        columns = min(columns, self.k)
        self.parts = -(-self.k // columns)
        self.points = math.prod(call.shape[:-2]) * self.parts
        self.matrix, self.first = f"p // {self.parts}", f"p % {self.parts} * {columns}"
        whole = self.k % columns == 0
        self.count = str(columns) if whole else f"min({columns}, {self.k} - {self.first})"
        self.at = f"{call.target.name}, {self.matrix} * {self.n * self.k} + {self.first}, {self.k}"
        self.direct = call.target.dtype == np.float64
        self.x, self.work = (self.at, 0) if self.direct else (f"{WORK}, {columns}", self.n * columns)

    def team(self, *calls: tuple[str, str]) -> Team:
        """What is done, and the result put to its place."""
        back = () if self.direct else (("moved", f"{self.x}, {self.at}, {self.n}, {self.count}"),)
        return Team(self.points, (*calls, *back), self.work)

    def loaded(self, b: str) -> tuple[str, str]:
        """The right side in the place of the result."""
        at = f"{b}, {self.matrix} * {self.n * self.k} + {self.first}, {self.k}"
        return "moved", f"{at}, {self.x}, {self.n}, {self.count}"


def _solve(call: LibraryCall, columns: int, lanes: int) -> Team:
    x, (record, b) = _Columns(call, columns), call.sources[-2:]
    return x.team(x.loaded(b), ("solve_record", f"{record}, {x.matrix} * {x.n * x.n + x.n}, {x.n}, {x.x}, {x.count}, "
                                                f"{call.parameters[0]}"))


def _triangular_solve(call: LibraryCall, columns: int, lanes: int) -> Team:
    x, (l, b) = _Columns(call, columns), call.sources
    lower, trans = call.parameters
    triangle = f"{l}, {x.matrix} * {x.n * x.n}, {x.n}, {x.x}, {x.count}, {lower}, {trans}, False"
    return x.team(x.loaded(b), ("triangle", triangle))


def _inv(call: LibraryCall, columns: int, lanes: int) -> Team:
    x, record = _Columns(call, columns), call.sources[-1]
    return x.team(("unit_columns", f"{x.x}, {x.n}, {x.first}, {x.count}"),
                  ("solve_record", f"{record}, {x.matrix} * {x.n * x.n + x.n}, {x.n}, {x.x}, {x.count}, False"))


def _dft(call: LibraryCall, columns: int, lanes: int) -> Team:
    n, (v, out) = call.shape[-2], (call.sources[0], call.target.name)
    arguments = f"{v}, p * {2 * n}, {n}, {out}, p * {2 * n}, {call.parameters[0]}, {WORK}"
    return Team(math.prod(call.shape[:-2]), (("dft", arguments),), 6 * n)


def _decomposition(record: Callable[[int, int], int], work: Callable[[int, int, int], int]) -> Callable[..., Team]:
    """A decomposition of m x n matrices, with the sizes of its record and of its work with so many lanes."""

    def make(call: LibraryCall, columns: int, lanes: int) -> Team:
        *lead, m, n = call.arguments[0].shape
        a, out = call.sources[0], call.target.name
        sizes = f"{n}" if call.function in SQUARE else f"{m}, {n}"
        more = "".join(f"{p!r}, " for p in call.parameters)
        arguments = f"{a}, p * {m * n}, {sizes}, {out}, p * {record(m, n)}, {more}{WORK}"
        return Team(math.prod(lead), ((call.function, arguments),), work(m, n, lanes))

    return make


def _svd_record(m: int, n: int) -> int:
    return (m + 1 + n) * min(m, n)


def _svd_work(m: int, n: int, lanes: int) -> int:
    return min(m, n) * (m + n + 2) + max(m, n) + 3 * lanes


SQUARE = ("eigh", "expm", "sqrtm", "logm")
_TEAMS: dict[str, Callable[..., Team]] = {
    "cholesky": _cholesky, "lu": _lu, "solve": _solve, "triangular_solve": _triangular_solve, "inv": _inv, "dft": _dft,
    "eigh": _decomposition(lambda m, n: n * (n + 1), lambda m, n, lanes: n * (2 * n + 1) + 1 + lanes),
    "svd": _decomposition(_svd_record, _svd_work),
    "pinv": _decomposition(lambda m, n: m * n, lambda m, n, lanes: _svd_record(m, n) + _svd_work(m, n, lanes)),
    "qr": _decomposition(lambda m, n: (m + n) * n, lambda m, n, lanes: (m + 1) * n + lanes),
    "expm": _decomposition(lambda m, n: n * n, lambda m, n, lanes: n * (6 * n + 1) + lanes),
    "sqrtm": _decomposition(lambda m, n: n * n, lambda m, n, lanes: n * (6 * n + 1) + lanes),
    "logm": _decomposition(lambda m, n: n * n, lambda m, n, lanes: n * (6 * n + 1) + lanes)}
