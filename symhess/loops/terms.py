"""Terms of loops: first derivatives of the steps carried forward, second ones backward, each pair of steps met once.

A loop of one phase, and its gradient, a loop of two that goes back over the same steps, change by

    ds' = A ds + F_c dc + F_x dx                s before a step, s' after it; c constants, x what a step is given
    dy  = g_y dy' + g_s ds + g_c dc + g_x dx    y' before a step of the second phase, y after it
    dr  = r_y dy' + r_s ds + r_c dc + r_x dx    what the step leaves behind

In the second phase dy' = P ds' + Q dc + later, where P and Q go back from step to step,

    P <- g_y P A + g_s          Q <- g_y (P F_c + Q) + g_c          C = r_y P A + r_s, and so on,

and `later` is what steps after this one are given. So rows of the Jacobian that belong to a step hang on earlier steps
through C (A ... A) F_x, and on later ones through r_y (g_y ... g_y) V: semiseparable matrices, of which a Hessian,
being symmetric, needs one. What a gradient is given by functions of the states that its loop went through (running
costs) is not taken from their Jacobians: their second derivatives enter the steps, and P.

For few states; others, loops of unknown length, and loops within loops have dense tangents.

Dunn and Bertsekas, "Efficient dynamic programming implementations of Newton's method for unconstrained optimal control
problems" (1989), carry P back for the same reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from symhess.graph.maps import IndexMap, axis_map, ravel_maps, table_map
from symhess.graph.node import Node, topological
from symhess.loops.costs import Costs, Known
from symhess.loops.looping import reach
from symhess.loops.semiseparable import semiseparable
from symhess.loops.steps import (
    Environment,
    Matrix,
    Recurrence,
    block,
    dense,
    identity,
    part,
    partials,
    plus,
    product,
    ranges,
    ranges_of,
    sizes,
)
from symhess.primitives import reshape
from symhess.primitives.control import Loop, Output
from symhess.structure.propagate import active_columns
from symhess.structure.term import Tangent, Term, multiplied, reindexed, with_entry_axis

#: states and constants of more numbers than this, or a step of more operations, have dense tangents
MOST_NUMBERS, MOST_OPERATIONS = 10, 800
#: variables that a number which a step is given may hang on: dense tangents of more are carried along
MOST_GIVEN = 4
#: pairs of steps, listed one by one, that a matrix above the diagonal may have
MOST_PAIRS = 4_000_000


def loop_terms(node: Node, moving: Sequence[Tangent | None], known: Known, given: Known) -> list[Term] | None:
    """The Terms of a loop, or None where dense tangents are the better ones; `given` are the tangents that all others
    among the `known` ones come from."""
    loop = node.attrs
    moved = {s: t for s, t in zip(loop.slots, moving) if t is not None and t.terms}
    carry = _moving(loop, moved)
    if not _fits(loop, moved, carry) or not (environment := Environment(loop, node.args)).lifts:
        return None
    made = _LoopTerms(node, environment, moved, carry, known, given)
    return list(made.terms()) if made.pays() else None


def _moving(loop: Loop, moved: Iterable[Node]) -> list[Node]:
    """The states that hang on what moves."""
    below, found = reach(loop.expressions, loop.slots), set(moved)
    news = {z: new for p in loop.phases for z, new in zip(p.carry, p.new) if z.dtype.kind == "f"}
    while True:
        bits = sum(below[s] for s in found)
        more = {z for z, new in news.items() if z not in found and below[new] & bits}
        if not more:
            return [z for z in news if z in found]
        found |= more


def _fits(loop: Loop, moved: dict[Node, Tangent], carry: Sequence[Node]) -> bool:
    """True for one phase, or one forth and one back, over known steps, of few states of one dtype: no more than there
    are variables, whose derivatives are carried along at less cost, and with less cancellation, if they are fewer."""
    if loop.length is None or loop.length < 2 or len(loop.phases) > 2:
        return False
    if len(loop.phases) == 2 and (loop.phases[0].reverse == loop.phases[1].reverse
                                  or any(o.phase == 0 for o in loop.outputs)):
        return False
    numbers = sizes([*(z for z in loop.phases[0].carry if z in carry), *(c for c in loop.consts if c in moved)])
    given = sizes(x for x in loop.xs if x in moved)
    dtype = loop.expression(loop.outputs[0]).dtype
    return (all(s.dtype == dtype for s in [*carry, *moved]) and max(numbers, given) <= MOST_NUMBERS
            and numbers <= len(active_columns(list(moved.values()))))


class _LoopTerms:
    """The Terms of one loop; its lifted matrices are found where they are needed."""

    def __init__(self, node: Node, environment: Environment, moved: dict[Node, Tangent],
                 carry: Sequence[Node], known: Known, given: Known):
        self.node, self.environment, self.moved, self.dtype = node, environment, moved, node.dtype
        self.loop, self.steps = environment.loop, environment.steps
        self.forward, self.backward = environment.forward, environment.backward
        self.z = [z for z in self.forward.carry if z in carry]
        self.y = [] if self.backward is None else [z for z in self.backward.carry if z in carry]
        self.c = [c for c in self.loop.consts if c in moved]
        self.x = [x for x in self.loop.xs if x in moved]
        self.phase = self.backward or self.forward
        self.new = [new for p in self.loop.phases for z, new in zip(p.carry, p.new) if z in carry]
        self.slots = [*self.z, *self.y, *self.c, *self.x]
        self.places = ranges(self.slots)
        self.partials = partials([*self.new, *self.phase.rows], self.slots)
        self.known, self.given = known, given

    def pays(self) -> bool:
        """False where what steps are given hangs on many variables in each of them, or all of it on so few that fewer
        columns are carried along than there are pairs of steps, or where steps are long."""
        free = [t for x in self.x for t in self.costs.free[x]]
        if free and 2 * len(active_columns([Tangent((), tuple(free))])) < self.steps:
            return False
        few = all(sum(math.prod(t.shape) for t in self.costs.free[x]) <= MOST_GIVEN * self.steps * x.size
                  for x in self.x)
        return few and sum(1 for n in topological(self.partials.values()) if n.args) <= MOST_OPERATIONS

    # -- derivatives of a step -----------------------------------------------------------------------------------

    def _rows(self, kind: str) -> range:
        """The places of the new states s, the new states y, or the rows r, among what a step computes."""
        s, y, r = sizes(self.z), sizes(self.y), sizes(self.phase.rows)
        return {"s": range(s), "y": range(s, s + y), "r": range(s + y, s + y + r)}[kind]

    def _columns(self, kind: str) -> range:
        counts = [sizes(v) for v in (self.z, self.y, self.c, self.x)]
        k = "sycx".index(kind)
        return range(sum(counts[:k]), sum(counts[:k + 1]))

    @cached_property
    def lifted(self) -> Matrix:
        (found,) = self.environment.lifted(self.partials)
        return found

    def d(self, of: str, by: str) -> Matrix:
        """The derivatives of one kind of result by one kind of slot, in all steps, running costs included."""
        own = part(self.lifted, self._rows(of), self._columns(by))
        if of == "s" or by == "y":
            return own
        inner = part(self.costs.inner, None, self._columns(by))
        return plus(own, product(part(self.lifted, self._rows(of), self._columns("x")), inner))

    @cached_property
    def costs(self) -> Costs:
        return Costs(self)

    # -- recurrences ---------------------------------------------------------------------------------------------

    def _solved(self, backwards: bool, start: Matrix, step: Callable[..., Matrix],
                *read: Matrix) -> tuple[Matrix, Matrix]:
        """States of a recurrence in the order of the forward phase, or backwards."""
        recurrence = Recurrence(self.steps, self.forward.reverse != backwards, self.dtype)
        slots = [recurrence.read(m) for m in read]
        return recurrence.solved(start, lambda state: step(state, *slots))

    @cached_property
    def curvature(self) -> tuple[Matrix, Matrix]:
        """(P | Q) before each step of the second phase, and after the last one: derivatives of y by s and c."""
        n, split = sizes(self.z), range(sizes(self.z))
        rest = range(n, n + sizes(self.c))

        def step(state: Matrix, g_y: Matrix, a: Matrix, f_c: Matrix, g_s: Matrix, g_c: Matrix) -> Matrix:
            p, q = part(state, None, split), part(state, None, rest)
            q = plus(product(g_y, plus(product(p, f_c), q)), g_c)
            return plus(product(g_y, product(p, a)), g_s) | {(i, n + j): v for (i, j), v in q.items()}

        return self._solved(True, self.costs.last, step, self.d("y", "y"), self.d("s", "s"), self.d("s", "c"),
                            self.d("y", "s"), self.d("y", "c"))

    @cached_property
    def before(self) -> tuple[Matrix, Matrix]:
        """P and Q before each step of the second phase."""
        n = sizes(self.z)
        found = self.curvature[0]
        return part(found, None, range(n)), part(found, None, range(n, n + sizes(self.c)))

    @cached_property
    def pushed(self) -> tuple[Matrix, Matrix]:
        """Derivatives of s by what it was at first, and by c: before each step, and after the last one."""
        n = sizes(self.z)

        def step(state: Matrix, a: Matrix, f_c: Matrix) -> Matrix:
            return plus(product(a, state), {(i, n + j): v for (i, j), v in f_c.items()})

        return self._solved(False, identity(n, self.dtype), step, self.d("s", "s"), self.d("s", "c"))

    @cached_property
    def pulled(self) -> tuple[Matrix, Matrix]:
        """g_y ... g_y from the first step to before each one, and of all: what y hangs on after the last step."""
        return self._solved(False, identity(sizes(self.y), self.dtype), product, self.d("y", "y"))

    @cached_property
    def ahead(self) -> Matrix:
        """g_y ... g_y over all steps after each one."""
        return self._solved(True, identity(sizes(self.y), self.dtype), lambda state, g_y: product(g_y, state),
                            self.d("y", "y"))[0]

    @cached_property
    def onward(self) -> Matrix:
        """A ... A over all steps after each one."""
        return self._solved(True, identity(sizes(self.z), self.dtype), product, self.d("s", "s"))[0]

    # -- Jacobians of outputs ------------------------------------------------------------------------------------

    def final(self, by: str) -> Matrix:
        """Derivatives of the last states by first states, constants, or what steps are given (lifted)."""
        if self.backward is None:
            columns = {"s": range(sizes(self.z)), "c": range(sizes(self.z), sizes(self.z) + sizes(self.c))}
            return product(self.onward, self.d("s", "x")) if by == "x" else part(self.pushed[1], None, columns[by])
        if by == "x":
            return product(self.pulled[0], self.entering)
        if by == "y":
            return self.pulled[1]
        n = sizes(self.z)
        return part(self.curvature[1], None, range(n) if by == "s" else range(n, n + sizes(self.c)))

    @cached_property
    def entering(self) -> Matrix:
        """V: derivatives of y by what its step is given."""
        return plus(product(self.d("y", "y"), product(self.before[0], self.d("s", "x"))), self.d("y", "x"))

    @cached_property
    def reading(self) -> Matrix:
        """C: derivatives of rows by the states before their step."""
        own = self.d("r", "s")
        return own if self.backward is None else plus(
            product(self.d("r", "y"), product(self.before[0], self.d("s", "s"))), own)

    def row(self, by: str) -> Matrix:
        """Derivatives of rows by first states, constants, last cotangents, or by what their own step is given."""
        if by == "y":
            return product(self.d("r", "y"), self.ahead)
        n = sizes(self.z)
        if by == "s":
            return product(self.reading, part(self.pushed[0], None, range(n)))
        through = self.d("s", by)
        own = self.d("r", by)
        if self.backward is not None:
            through = product(self.before[0], through)
            own = plus(own, product(self.d("r", "y"), plus(through, self.before[1]) if by == "c" else through))
        if by == "c":
            own = plus(own, product(self.reading, part(self.pushed[0], None, range(n, n + sizes(self.c)))))
        return own

    # -- Terms ---------------------------------------------------------------------------------------------------

    def terms(self) -> Iterator[Term]:
        """All Terms."""
        first = 0
        for o, shape in zip(self.loop.outputs, self.loop.shapes):
            e = self.loop.expression(o)
            if e.dtype == self.dtype:
                for s in self.slots:
                    for t in self.costs.free[s]:
                        yield from self._rows_terms(o, e, s, t, first) if o.is_rows else self._last(o, e, s, t, first)
            first += math.prod(shape)

    def kind_of(self, s: Node) -> tuple[str, range]:
        """The kind of a slot, and its places among those of that kind."""
        kind = next(k for k, slots in zip("sycx", (self.z, self.y, self.c, self.x)) if s in slots)
        first = self._columns(kind).start
        return kind, range(self.places[s].start - first, self.places[s].stop - first)

    def _last(self, o: Output, e: Node, s: Node, t: Term, first: int) -> Iterator[Term]:
        """Terms of the last states."""
        kind, columns = self.kind_of(s)
        rows = ranges(self.z if self.backward is None else self.y).get(self.phase.carry[o.k], range(0))
        m = part(self.final(kind), rows, columns) if rows else {}
        if m:
            own = s.shape if kind != "x" else self.environment.values[s].shape[1:]
            if kind == "x":
                node = reshape(dense(m, len(rows), len(columns), self.steps, self.dtype), (self.steps, *e.shape, *own))
            else:
                node = reshape(block(m, len(rows), len(columns), self.dtype), (*e.shape, *own))
            t, axes = _with_axes(t, e.shape)
            accesses = [t.rows[0], *axes, *t.rows[1:]] if kind == "x" else [*axes, *t.rows]
            yield self._placed(multiplied(t, node, accesses), axes, e.shape, first)

    def _rows_terms(self, o: Output, e: Node, s: Node, t: Term, first: int) -> Iterator[Term]:
        """Terms of what steps leave behind."""
        kind, columns = self.kind_of(s)
        rows = ranges_of(self.phase.rows)[o.k]
        box = (self.steps, *e.shape)
        m = part(self.row(kind), rows, columns)
        if m:
            node = reshape(dense(m, len(rows), len(columns), self.steps, self.dtype), (*box, *s.shape))
            if kind == "x":
                u, axes = _with_axes(t, e.shape)
                at = [u.rows[0], *axes]
                yield self._placed(multiplied(u, node, [*at, *u.rows[1:]]), at, box, first)
            else:
                u, axes = _with_axes(t, box)
                yield self._placed(multiplied(u, node, [*axes, *u.rows]), axes, box, first)
        if kind == "x":
            yield from self._across(s, t, rows, columns, box, first)

    def _across(self, s: Node, t: Term, rows: range, columns: range, box: tuple[int, ...],
                first: int) -> Iterator[Term]:
        """Terms of rows by what other steps are given: earlier ones through the states, later ones through y."""
        ways = [(self.d("s", "s"), self.d("s", "x"), self.reading, False)]
        if self.backward is not None:
            ways.append((self.d("y", "y"), self.entering, self.d("r", "y"), True))
        for a, b, c, later in ways:
            b, c = part(b, None, columns), part(c, rows)
            if b and c:
                d = sizes(self.y if later else self.z)
                by, put, read = (dense(m, k, l, self.steps, self.dtype)
                                 for m, k, l in ((a, d, d), (b, d, len(columns)), (c, len(rows), d)))
                matrix = semiseparable(by, put, read, self.forward.reverse != later)
                node = reshape(matrix, (*box, self.steps, *s.shape))
                u, axes = _with_axes(t, box)
                u = self._placed(multiplied(u, node, [*axes, *u.rows]), axes, box, first)
                yield self._listed(t, u) if later != self.forward.reverse else u

    def _listed(self, t: Term, made: Term) -> Term:
        """A Term over (e, t, ...), e that of what steps are given, with only the steps t before them: listed one by
        one, so that it is seen which triangle they are in. That is the upper one, where variables are in the order of
        the steps that they are given to."""
        depends = sorted(t.rows[0].depends)
        given = t.rows[0].values()[tuple(slice(None) if a in depends else 0 for a in range(len(t.shape)))]
        before = given[..., None] > np.arange(self.steps)
        if np.count_nonzero(before) > MOST_PAIRS:
            return made
        picked = np.nonzero(before)
        axis = len(t.shape)
        others = [a for a in range(len(made.shape)) if a not in (*depends, axis)]
        shape = (len(picked[0]), *(made.shape[a] for a in others))
        place = {a: axis_map(shape, k) for k, a in enumerate(others, 1)}
        place |= {a: table_map(p.reshape(-1, *(1,) * len(others)), shape) for a, p in zip((*depends, axis), picked)}
        return reindexed(made, [place[a] for a in range(len(made.shape))], shape)

    def _placed(self, t: Term, at: Sequence[IndexMap], box: tuple[int, ...], first: int) -> Term:
        """The Term with its rows at an output of the loop, `at` are the coordinates in it."""
        if len(self.loop.outputs) == 1:
            return replace(t, rows=tuple(at))
        return replace(t, rows=(ravel_maps(at, box, t.shape).shifted(first),))


def _with_axes(t: Term, shape: Sequence[int]) -> tuple[Term, list[IndexMap]]:
    """The Term with new entry axes at the end, and these as maps."""
    made = []
    for n in shape:
        t, axis = with_entry_axis(t, n)
        made.append(axis)
    return t, [axis_map(t.shape, a) for a in made]
