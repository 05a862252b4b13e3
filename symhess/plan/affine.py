"""Linear index expressions over loop variables: offset + sum_k coefficient_k * variable_k, as hashable tuples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Linear(NamedTuple):
    """offset + sum of coefficient * variable; the terms are sorted by variable name and have no zero coefficient."""

    offset: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    def variables(self) -> list[str]:
        return [v for v, _ in self.terms]

    def __str__(self) -> str:
        """Python source of the expression."""
        parts = [v if c == 1 else f"{c}*{v}" for v, c in self.terms]
        if self.offset or not parts:
            parts.append(str(self.offset))
        return " + ".join(parts).replace("+ -", "- ")


def variable(name: str) -> Linear:
    return Linear(0, ((name, 1),))


def combine(pairs: Iterable[tuple[int, Linear]], offset: int = 0) -> Linear:
    """offset + sum of factor * expression."""
    total: dict[str, int] = {}
    for factor, part in pairs:
        offset += factor * part.offset
        for v, c in part.terms:
            total[v] = total.get(v, 0) + factor * c
    return Linear(offset, tuple(sorted((v, c) for v, c in total.items() if c)))


def bounds(e: Linear, ranges: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Smallest and largest value, given those of each variable."""
    low = high = e.offset
    for v, c in e.terms:
        ends = (c * ranges[v][0], c * ranges[v][1])
        low, high = low + min(ends), high + max(ends)
    return low, high


def split(e: Linear, divisor: int, ranges: dict[str, tuple[int, int]]) -> tuple[Linear, Linear] | None:
    """(q, r) with e = q * divisor + r and 0 <= r < divisor everywhere, both linear, or None."""
    quotient = Linear(e.offset // divisor, tuple((v, c // divisor) for v, c in e.terms if c // divisor))
    rest = Linear(e.offset % divisor, tuple((v, c % divisor) for v, c in e.terms if c % divisor))
    low, high = bounds(rest, ranges)
    return (quotient, rest) if low >= 0 and high < divisor else None


def flatten(index: Sequence[Linear], strides: Sequence[int]) -> Linear:
    """The flat position of a multi-index."""
    return combine(zip(strides, index))
