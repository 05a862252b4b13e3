"""Newton's method for implicit functions: roots F(y) = 0 with a damped step, minima with a shifted Hessian.

    root    y <- y - t J^-1 F,             t halved until |F| falls
    minimum y <- y - t (H + s I)^-1 g,     s raised until H + s I is positive definite, t halved until the value falls

Both stop where a full step is at most `tolerance` relative to y: the error is then of the order of its square.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from symhess.errors import NotConverged

#: how far a step is halved, and the share of the predicted decrease that it has to reach
HALVINGS, DECREASE = 40, 1e-4
#: a step that no longer lowers anything is rounding error if it is at most this many times the tolerance
ROUNDING = 1e4


@dataclass(frozen=True)
class Task:
    """What to solve: F and its Jacobian by y (a vector stands for a diagonal one), and for minima the function."""

    name: str
    residual: Callable[[np.ndarray], np.ndarray]
    jacobian: Callable[[np.ndarray], np.ndarray]
    value: Callable[[np.ndarray], float] | None
    tolerance: float
    max_steps: int

    def merit(self, y: np.ndarray) -> float:
        """What a step has to lower."""
        return float(self.value(y)) if self.value is not None else float(np.linalg.norm(self.residual(y)))


def solved(task: Task, start: np.ndarray) -> np.ndarray:
    """The solution, from `start`; NotConverged where there is none within `max_steps`."""
    y = np.array(start)
    tolerance = max(task.tolerance, 10 * np.finfo(y.dtype).eps)
    size = np.inf
    with np.errstate(all="ignore"):
        for _ in range(task.max_steps):
            f = task.residual(y)
            if not f.any():
                return y
            step = direction(task, y, f)
            size = float(np.max(np.abs(step)) / max(1.0, np.max(np.abs(y))))
            length = accepted_length(task, y, f, step)
            if length == 0 and not size <= ROUNDING * tolerance:
                break
            y = (y + length * step).astype(y.dtype)
            if size <= tolerance or length == 0:
                return y
    norm = float(np.linalg.norm(task.residual(y)))
    kind = "gradient" if task.value is not None else "residual"
    raise NotConverged(f"{task.name}: Newton's method stopped without a solution ({kind} norm {norm:.3g}, last step "
                       f"{size:.3g} relative to y, max_steps={task.max_steps}); give a better y0=, a solver= of your "
                       "own, or more max_steps=")


def direction(task: Task, y: np.ndarray, f: np.ndarray) -> np.ndarray:
    """-J^-1 F, or for minima a direction in which the value falls; the least-squares step where J is singular."""
    J = task.jacobian(y)
    if J.ndim == 1:
        J = np.where(J == 0, np.inf, J) if task.value is None else np.maximum(np.abs(J), 1e-8)
        return -f / J
    if not (np.isfinite(J).all() and np.isfinite(f).all()):
        return np.full_like(f, np.nan)
    if task.value is not None:
        return -shifted_solve(J, f)
    try:
        return -np.linalg.solve(J, f)
    except np.linalg.LinAlgError:
        return -np.linalg.lstsq(J, f, rcond=None)[0]


def shifted_solve(H: np.ndarray, g: np.ndarray) -> np.ndarray:
    """(H + s I)^-1 g for the first s = 0, 1e-3 |H|, 1e-2 |H|, ... that makes the matrix positive definite."""
    scale, shift = max(float(np.abs(H).max()), 1e-300), 0.0
    while True:
        try:
            L = np.linalg.cholesky(H + shift * np.eye(len(H), dtype=H.dtype))
            return np.linalg.solve(L.T, np.linalg.solve(L, g))
        except np.linalg.LinAlgError:
            shift = max(10 * shift, 1e-3 * scale)


def accepted_length(task: Task, y: np.ndarray, f: np.ndarray, step: np.ndarray) -> float:
    """The first of 1, 1/2, 1/4, ... that lowers the merit enough; 0 where none does."""
    now, length = task.merit(y), 1.0
    slope = float(f @ step) if task.value is not None else -now
    slack = 4 * np.finfo(y.dtype).eps * abs(now) if task.value is not None else 0.0
    for _ in range(HALVINGS):
        if task.merit((y + length * step).astype(y.dtype)) <= now + DECREASE * length * slope + slack:
            return length
        length /= 2
    return 0.0
