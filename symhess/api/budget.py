"""Memory budgets: what fits, and what to say when it does not."""

from __future__ import annotations

import os

import numpy as np

from symhess.errors import BudgetExceeded

#: the default budget, as a fraction of the machine's memory
DEFAULT_FRACTION = 0.5


def memory_budget(asked: float | None) -> int:
    """Bytes that a result and its workspace may take: `asked`, or half of the machine's memory."""
    if asked is not None:
        return int(asked)
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * DEFAULT_FRACTION)


def check_fits(what: str, needed: int, asked: float | None, advice: str) -> None:
    """Raise BudgetExceeded before something is attempted that takes more bytes than the budget."""
    budget = memory_budget(asked)
    if needed > budget:
        raise BudgetExceeded(f"{what} takes {needed / 1e9:,.3g} GB, over the memory budget of {budget / 1e9:,.3g} GB; "
                             f"{advice}")


def check_dense_fits(n: int, dtype: np.dtype, asked: float | None, count: int = 1) -> None:
    """Raise BudgetExceeded before dense n x n Hessians, `count` of them, are attempted that cannot fit."""
    what = "the dense Hessian" if count == 1 else f"a batch of {count:,} dense Hessians"
    check_fits(f"{what} of {n:,} variables", count * n * n * np.dtype(dtype).itemsize, asked,
               "use .sparse(...) for its non-zeros, .hvp(...) for products with it, or raise memory_budget=")
