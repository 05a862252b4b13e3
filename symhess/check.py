"""`check_hessian`: a Hessian held against differences of the function's own values, entry by entry.

    D(d) = d^2/dt^2 f(x + t d) at t = 0        H[i, i] = D(e_i),   H[i, j] = (D(e_i + e_j) - D(e_i) - D(e_j)) / 2

D is found from central differences (f(t) - 2 f(0) + f(-t))/t^2 with shrinking steps, extrapolated in t^2 by Neville's
scheme; the entry of the table that its neighbours agree with best counts, and that disagreement is its error estimate
(C. J. F. Ridders, Advances in Engineering Software 4, 1982). The function is called as it stands, with plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from symhess.api.arguments import normalized_argnums
from symhess.api.function import HessianFunction, hessian_jit
from symhess.errors import NonScalarOutput
from symhess.graph.pytrees import flatten, leaf_paths, unflatten

#: first step relative to the size of x, how much each one shrinks, and how many there are
FIRST, SHRINK, STEPS = 0.25, 1.5, 20
#: an entry differs where it is off by more than this many error estimates
TRUST = 30.0
#: entries that the report prints
LISTED = 20
AGREES, DIFFERS, UNSURE = "agrees", "differs", "unsure"


@dataclass(frozen=True)
class Entry:
    """One entry of the Hessian and what differences say about it."""

    row: int
    col: int
    #: readable names of the two variables, such as `arg0[3]`
    names: tuple[str, str]
    hessian: float
    difference: float
    #: estimated error of the difference
    error: float
    #: False where the sparsity pattern says that the entry is zero for every input
    in_pattern: bool
    #: "agrees", "differs", or "unsure" where differences are too inaccurate to tell
    verdict: str

    def __str__(self) -> str:
        where = f"H[{self.names[0]}, {self.names[1]}]"
        note = "" if self.in_pattern else "  outside of the sparsity pattern"
        return (f"  {where:28} {self.hessian: .12e}  {self.difference: .12e}  {self.error:.0e}  "
                f"{self.verdict}{note}")


@dataclass(frozen=True)
class HessianCheck:
    """What `check_hessian` found: true where no entry differs and some agree; print it to read it."""

    name: str
    size: int
    rtol: float
    entries: tuple[Entry, ...]

    def __bool__(self) -> bool:
        return not self.wrong and (not self.entries or len(self.unsure) < len(self.entries))

    @cached_property
    def wrong(self) -> list[Entry]:
        """Entries that differ, the worst first."""
        found = [e for e in self.entries if e.verdict == DIFFERS]
        return sorted(found, key=lambda e: -_badness(e))

    @cached_property
    def unsure(self) -> list[Entry]:
        """Entries of which differences cannot tell: kinks nearby, noise, values that are not finite."""
        return [e for e in self.entries if e.verdict == UNSURE]

    @property
    def largest_difference(self) -> float:
        """The largest |H - D| / max(|H|, |D|, s) among the entries that could be compared; s: their mean |H|, or 1."""
        compared = [e for e in self.entries if e.verdict != UNSURE]
        scale = max(float(np.mean([abs(e.hessian) for e in compared])) if compared else 0.0, 1.0)
        shares = [abs(e.hessian - e.difference) / max(abs(e.hessian), abs(e.difference), scale) for e in compared]
        return max(shares, default=math.nan)

    def __str__(self) -> str:
        total = self.size * (self.size + 1) // 2
        of = "all" if len(self.entries) == total else f"{len(self.entries):,} of"
        agreeing = len(self.entries) - len(self.wrong) - len(self.unsure)
        lines = [f"Hessian of {self.name}, {of} {total:,} entries of the lower triangle against differences of values:",
                 f"{agreeing:,} agree to rtol={self.rtol:g}, {len(self.wrong):,} differ, {len(self.unsure):,} cannot "
                 f"be told; largest relative difference {self.largest_difference:.1e}"]
        listed = [*self.wrong, *self.unsure] or sorted(self.entries, key=lambda e: -_badness(e))
        if listed:
            lines.append(f"  {'entry':28} {'Hessian':>19}  {'difference':>19}  error")
        lines += [str(e) for e in listed[:LISTED]]
        return "\n".join(lines + ([f"  ... and {len(listed) - LISTED} more"] if len(listed) > LISTED else []))


def check_hessian(fn: Callable, *args: Any, argnums: int | Sequence[int] = 0, rtol: float = 1e-6,
                  entries: int = 500, seed: int = 0, **kwargs: Any) -> HessianCheck:
    """Compare the Hessian of a function with high-order differences of its values, entry by entry.

    Args:
        fn: a function that returns one number, or a `HessianFunction` (whose options are then used).
        *args, **kwargs: where; n is the total size of the differentiated arguments.
        argnums: as in `hessian_jit`; that of a `HessianFunction` is its own.
        rtol: how close they have to be, relative to the entry, beside the error of the difference itself, which may be
            as large as rtol times the root mean square of the Hessian's entries (the largest value, where H is zero).
        entries: at most so many are compared. All of the lower triangle where it has no more; else the diagonal as far
            as it goes, and a random choice, half of it inside the sparsity pattern and half outside.
        seed: of that choice.

    Returns:
        A HessianCheck: true if no entry differs; `.wrong`, `.unsure` and `.entries` list them, and `print` shows them.

    The function is called up to 80 times per entry, untraced, with float64 copies of its differentiated arguments, up
    to a quarter of each variable's size away. Near a kink or the end of the domain, or where the values are noisy,
    entries are "unsure": neither right nor wrong.

    Raises:
        NonScalarOutput: fn does not return one number.

    Example:
        >>> import numpy as np, symhess
        >>> check = symhess.check_hessian(lambda x: np.sum(np.sin(x[1:]) * x[:-1]), np.array([1.0, 2.0, 3.0]))
        >>> bool(check), len(check.entries), check.largest_difference < 1e-6
        (True, 6, True)
    """
    function = fn if isinstance(fn, HessianFunction) else hessian_jit(fn, argnums=argnums)
    if rtol <= 0:
        raise ValueError(f"rtol={rtol!r} must be positive")
    line = _Line(function, args, kwargs)
    pattern = function.sparsity(*args, **kwargs)
    chosen = _chosen(pattern, entries, np.random.default_rng(seed))
    hessian = _computed(function, args, kwargs, dense=len(chosen) == line.size * (line.size + 1) // 2)
    second = _Seconds(line)
    differences = {(i, j): second.entry(i, j) for i, j in chosen}
    scale = _scale_of(hessian) or line.largest
    found = []
    for (i, j), (difference, error) in differences.items():
        h = float(hessian[i, j])
        found.append(Entry(i, j, (line.names[i], line.names[j]), h, difference, error, bool(pattern[i, j]),
                           _verdict(h, difference, error, rtol, scale)))
    return HessianCheck(function.__name__, line.size, rtol, tuple(found))


def _computed(function: HessianFunction, args: tuple, kwargs: dict, dense: bool) -> Any:
    """The Hessian as something with H[i, j]: the dense one, or the sparse one where only some entries are compared."""
    if dense and not function.options.sparse:
        return function.flat(*args, **kwargs)
    return function.sparse(*args, **kwargs)


def _scale_of(hessian: Any) -> float:
    """The root mean square of the finite entries that are not zero."""
    values = np.asarray(hessian.data if hasattr(hessian, "indptr") else hessian, np.float64)
    values = values[np.isfinite(values) & (values != 0)]
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0


def _chosen(pattern: Any, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Entries of the lower triangle to compare."""
    n = pattern.shape[0]
    if n * (n + 1) // 2 <= count:
        return [(i, j) for i in range(n) for j in range(i + 1)]
    rows, cols = pattern.tocoo().coords
    inside = np.stack([rows, cols], 1)[rows >= cols]
    inside = inside[rng.permutation(len(inside))[:(count + 1) // 2]]
    other = np.sort(rng.integers(0, n, (count - len(inside), 2)))[:, ::-1]
    return sorted({(int(i), int(j)) for i, j in (*inside, *other)})


def _badness(e: Entry) -> float:
    gap = abs(e.hessian - e.difference)
    return math.inf if math.isnan(gap) else gap


def _verdict(h: float, difference: float, error: float, rtol: float, scale: float) -> str:
    """Whether an entry agrees with its difference; `scale` is that of the whole Hessian."""
    if not math.isfinite(difference):
        return UNSURE
    gap, allowed = abs(h - difference), rtol * max(abs(h), abs(difference))
    if gap <= allowed:
        return AGREES
    if not gap <= TRUST * error + allowed:  # also where h is not finite
        return DIFFERS
    return AGREES if error <= rtol * scale else UNSURE


class _Line:
    """The function along straight lines through the point, in the coordinates of the flat differentiated inputs."""

    def __init__(self, function: HessianFunction, args: tuple, kwargs: dict):
        argnums = function.options.argnums
        self.function, self.args, self.kwargs = function, list(args), kwargs
        self.positions = normalized_argnums(argnums, len(args))
        picked = [args[k] for k in self.positions]
        leaves, self.spec = flatten(picked)
        self.leaves = [np.asarray(x, np.float64) for x in leaves]
        self.bare = [not isinstance(x, np.ndarray) for x in leaves]
        self.x = np.concatenate([x.ravel() for x in self.leaves]) if leaves else np.zeros(0)
        names = [f"arg{k}{path}" for k in self.positions for path in leaf_paths(args[k])]
        index = lambda at: f"[{', '.join(map(str, at))}]" if at else ""
        self.names = [f"{name}{index(at)}" for name, x in zip(names, self.leaves) for at in np.ndindex(x.shape)]
        self.size = len(self.x)
        #: the largest |f| met so far
        self.largest = 0.0

    def __call__(self, x: np.ndarray) -> float:
        """f at flat coordinates; NaN where it raises an arithmetic error or leaves its domain."""
        from symhess.api.results import split

        parts = [float(p) if bare and p.ndim == 0 else p.copy()
                 for p, bare in zip(split(x, [leaf.shape for leaf in self.leaves]), self.bare)]
        args = list(self.args)
        for k, value in zip(self.positions, unflatten(self.spec, parts)):
            args[k] = value
        try:
            with np.errstate(all="ignore"):
                value = self.function.fn(*args, **self.kwargs)
        except (ArithmeticError, ValueError, np.linalg.LinAlgError):
            return math.nan
        if np.ndim(value):
            raise NonScalarOutput(f"{self.function.__name__} returned an array of shape {np.shape(value)} when it was "
                                  "called with plain numbers")
        if math.isfinite(value):
            self.largest = max(self.largest, abs(float(value)))
        return float(value)


class _Seconds:
    """Second derivatives along directions, those along the axes computed once."""

    def __init__(self, line: _Line):
        self.line, self.center = line, line(line.x)
        self.axes: dict[int, tuple[float, float]] = {}

    def entry(self, i: int, j: int) -> tuple[float, float]:
        """H[i, j] and an estimate of its error."""
        if i == j:
            return self._axis(i)
        # with steps of one relative size along both axes: D(s_i e_i + s_j e_j) = s_i^2 H_ii + 2 s_i s_j H_ij + ...
        si, sj = self._scale(i), self._scale(j)
        plus, minus = (self._along({i: si, j: sign * sj}) for sign in (1, -1))
        return (plus[0] - minus[0]) / (4 * si * sj), (plus[1] + minus[1]) / (4 * si * sj)

    def _axis(self, i: int) -> tuple[float, float]:
        if i not in self.axes:
            scale = self._scale(i)
            value, error = self._along({i: scale})
            self.axes[i] = (value / scale**2, error / scale**2)
        return self.axes[i]

    def _scale(self, i: int) -> float:
        size = abs(float(self.line.x[i]))
        return size if size > 1e-3 else 1.0

    def _along(self, direction: dict[int, float]) -> tuple[float, float]:
        """The second derivative at t = 0 of f(x + t d), and its error."""
        quotients, squares, noise = [], [], []
        for k in range(STEPS):
            t = FIRST / SHRINK**k
            ends = [self._moved(direction, s * t) for s in (1, -1)]
            quotients.append((ends[0] - 2 * self.center + ends[1]) / t**2)
            squares.append(t * t)
            noise.append(4 * np.finfo(float).eps * max(abs(self.center), *map(abs, ends)) / t**2)
        return extrapolated(quotients, squares, noise)

    def _moved(self, direction: dict[int, float], t: float) -> float:
        x = self.line.x.copy()
        for k, d in direction.items():
            x[k] += t * d
        return self.line(x)


def extrapolated(values: Sequence[float], squares: Sequence[float], noise: Sequence[float]) -> tuple[float, float]:
    """The limit at 0 of values at the given squared steps, and its error, by Neville's scheme.

    T[k, m] = T[k, m-1] + (T[k, m-1] - T[k-1, m-1]) / (s[k-m]/s[k] - 1). Every entry of the table differs from the two
    that it is made of by about its error; rounding errors of the values are carried along beside it.
    """
    best, error = math.nan, math.inf
    above: list[float] = []
    carried: list[float] = []
    for k, (value, rounding) in enumerate(zip(values, noise)):
        row, rounded = [value], [rounding]
        for m in range(1, k + 1):
            factor = 1 / (squares[k - m] / squares[k] - 1)
            row.append(row[m - 1] + (row[m - 1] - above[m - 1]) * factor)
            rounded.append(rounded[m - 1] * (1 + factor) + carried[m - 1] * factor)
            estimate = max(abs(row[m] - row[m - 1]), abs(row[m] - above[m - 1])) + rounded[m]
            if math.isfinite(row[m]) and estimate < error:
                best, error = row[m], estimate
        above, carried = row, rounded
    return best, error
