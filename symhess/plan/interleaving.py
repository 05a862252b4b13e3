"""Long runs of places, as those of small matrices, written by squares of 8 iterations that are turned in registers.

    for e: out[16 e], ..., out[16 e + 15] = u, ..., v

becomes

    for b: e = 8 b, ..., 8 b + 7: row_u[e - 8 b] = u; ...; row_v[e - 8 b] = v
           interleave(out, 128 b, (row_u, ..., row_v))

The loop over e is one vector. Unless the number of iterations is a multiple of 8, the last square begins earlier and
repeats some of them.
"""

from __future__ import annotations

import numpy as np

from symhess.plan.affine import Linear, combine, variable
from symhess.plan.loops import SQUARE, Assign, Block, Interleave, Load, Store, Target
from symhess.plan.staging import LONGEST_RUN, SHORTEST, emptied, is_scattered, made_in, rows_of, runs_of


def interleaved(loop: Block, prefix: str, dtypes: dict[str, np.dtype]) -> list[Target]:
    """Rewrite an innermost loop that has long runs; the rows that it needs, named after `prefix`."""
    if loop.size < SHORTEST or loop.limit is not None or not all(map(repeatable, loop.body)):
        return []
    made = made_in(loop)
    runs = [r for r in runs_of(loop, made) if len(r) > LONGEST_RUN and dtypes[r[0].array].kind == "f"
            and dict(r[0].position.terms)[loop.variable] > 0]
    if not runs:
        return []
    in_runs = [s for run in runs for s in run]
    apart = [s for s in loop.body if isinstance(s, Store) and is_scattered(s, loop, made)
             and all(s is not t for t in in_runs)]
    rows = rows_of([*in_runs, *apart], made, prefix, SQUARE, dtypes)
    _rewrite(loop, runs, apart, rows)
    return list(rows.values())


def repeatable(s: object) -> bool:
    """True for statements that may run twice: nothing is added up."""
    if isinstance(s, Assign):
        return s.name not in s.operands
    return isinstance(s, Load) or (isinstance(s, Store) and s.how == "=")


def _rewrite(loop: Block, runs: list[list[Store]], apart: list[Store], rows: dict[str, Target]) -> None:
    """Put a loop over squares in the place of the loop."""
    e, first, here = (variable(f"{loop.variable}{suffix}") for suffix in ("", "s", "k"))
    outer = Block(f"{loop.variable}b", -(-loop.size // SQUARE), loop.depth, loop.parent)
    square = Linear(0, ((outer.variable, SQUARE),))
    start = str(square) if loop.size % SQUARE == 0 else f"min({square}, {loop.size - SQUARE})"
    count = Assign(str(e), f"{first} + {here}", ())

    def over(body: list, scalar: bool) -> Block:
        return Block(str(here), SQUARE, loop.depth + 1, outer, [count, *body], scalar=scalar, square=not scalar)

    moved = {id(s) for s in (*apart, *(s for run in runs for s in run))}
    kept = [s for s in loop.body if id(s) not in moved]
    outer.body = [Assign(str(first), start, ()),
                  over([*kept, *(Store(r.name, here, v) for v, r in rows.items())], False)]
    if apart:
        values = {s.operand for s in apart}
        outer.body.append(over(emptied(loop, apart, {v: r for v, r in rows.items() if v in values}, here), True))
    for run in runs:
        begin = run[0].position
        position = combine(((c, first if v == loop.variable else variable(v)) for v, c in begin.terms), begin.offset)
        sources = tuple(rows[s.operand].name if s.operand in rows else s.operand for s in run)
        outer.body.append(Interleave(run[0].array, position, sources))
    siblings = loop.parent.body
    at = next(k for k, s in enumerate(siblings) if s is loop)
    siblings[at] = outer
