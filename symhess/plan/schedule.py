"""The schedule: which nodes are kept in memory, and the writes grouped into fused steps in dependency order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from symhess.graph.maps import IndexMap, constant_map, different, identity_maps, ravel_maps, unravel_map
from symhess.graph.node import CONSTANT, INPUT, Node, topological
from symhess.plan import figures, teams
from symhess.plan.accesses import GRID_STORE, STORE, Access, argument_accesses, choose_kept, root_access
from symhess.plan.boxes import has_scatter, terms_of_sum, writes_of_sum
from symhess.plan.collecting import is_crowded, is_gapless
from symhess.plan.contraction import lower_contractions
from symhess.plan.filling import mark
from symhess.plan.interleaving import interleaved
from symhess.plan.loops import COMBINE, Emitter, StoreItem, Target, is_running, neutral
from symhess.plan.nested import NestedCall, nested_call
from symhess.plan.program import Buffer, Program, Write, whole, with_values
from symhess.plan.reductions import turned
from symhess.plan.scalars import gather_scalars, is_block, leaves_of
from symhess.plan.scaling import scaled_apart
from symhess.plan.staging import staged
from symhess.plan.steps import (
    Fill,
    LibraryCall,
    LoopNest,
    Mirror,
    Plan,
    ScalarBlock,
    call_arguments,
    element_of,
    is_call,
    scalar_block,
)
from symhess.plan.threads import share
from symhess.plan.tiles import tile_states
from symhess.plan.tiling import tile
from symhess.primitives import is_zero

Shape = tuple[int, ...]
SUMS = ("add", "sub", "neg")
#: a nest that computes elements of an array again runs over a box so many times smaller
AGAIN = 32


@dataclass(eq=False)
class Job:
    """Something to schedule: one store, or one library call; `makes` is the kept node that it helps to fill."""

    key: tuple
    reads: frozenset[Node]
    makes: Node | None
    item: StoreItem | None = None
    call: LibraryCall | ScalarBlock | None = None
    after: tuple[Job, ...] = ()


def make_plan(program: Program, parallel: bool = False, scope: str = "") -> Plan:
    """The plan of a program; with `parallel`, loops with enough work are marked to be shared by threads.

    All names in it begin with `scope`, which is that of a body inside of another plan.
    """
    plan = _banded(_Planner(program, scope), parallel)
    dtypes = {t.name: t.dtype for t in (*plan.outputs, *plan.temporaries, *plan.rows)}
    for step in plan.steps:
        if isinstance(step, LoopNest) and step.loops:
            rest = step.loops[-1], f"{scope}row{len(plan.rows)}", dtypes
            plan.rows += interleaved(*rest) or staged(*rest)
    _plan_bodies(plan, scope, lambda program, scope, _: make_plan(program, scope=scope))
    if parallel:
        share(plan)
    return plan


def grid_plan(program: Program) -> Plan:
    """The plan of a program for a GPU: loop nests are kernels for a grid of threads, with no local variables in common
    (see `plan.grid`), and loops are run by one thread or by a team of threads (see `plan.teams`)."""
    from symhess.plan.coalescing import coalesce  # nothing else needs these
    from symhess.plan.grid import GridEmitter
    from symhess.plan.merging import merge

    plan = _with_teams(program, "", None, GridEmitter)
    for part in (plan, *(b.plan for s in plan.steps if isinstance(s, NestedCall) and s.team == teams.HOST
                         for b in s.bodies)):
        coalesce(part)
        merge(part)
    return plan


def _with_teams(program: Program, scope: str, team: str | None, emitter: type[Emitter]) -> Plan:
    """A plan whose loops a team runs, or each of them the team that is best for it."""
    plan = _Planner(program, scope, emitter).plan()
    for step in plan.steps:
        if isinstance(step, NestedCall):
            teams.assign(step, team or teams.team_of(step))

    whose = lambda step: Emitter if step.team == teams.ONE else emitter
    _plan_bodies(plan, scope, lambda program, scope, step: _with_teams(program, scope, step.team, whose(step)))
    return plan


def point_plan(program: Program, scope: str = "") -> Plan:
    """The plan of a program for one thread of a GPU: without what is for vectors and caches."""
    return _with_teams(program, scope, teams.ONE, Emitter)


def _plan_bodies(plan: Plan, scope: str, make: Callable[[Program, str, NestedCall], Plan]) -> None:
    """Make the plans of all bodies in a plan."""
    inner = itertools.count()
    for step in plan.steps:
        if isinstance(step, NestedCall):
            for body in step.bodies:
                body.plan = make(body.program, f"{scope}b{next(inner)}_", step)
            step.figures = figures.of_nested(step)


def _banded(planner: _Planner, parallel: bool) -> Plan:
    """The plan with its bands of nests. Where they leave only blocks of temporaries, small nests compute what they need
    of these again. Large matrix products are left to the threads of BLAS where there are to be some."""
    plan = planner.plan(again=not planner.scope)
    tile(plan, calls=not parallel)
    if not planner.hidden.isdisjoint(t.name for t in plan.temporaries):
        plan = planner.plan()
        tile(plan, calls=not parallel)
    return plan


def is_cut(node: Node) -> bool:
    """True for a sum of scatters, which is written box by box."""
    return node.op.name == "scatter" or (node.op.name in SUMS and has_scatter(node))


def rebuilt(program: Program) -> Program:
    """The program with its contractions lowered to products, sums and library calls, and numbers pulled out."""
    return with_values(program, turned(scaled_apart(lower_contractions(program.roots()))))


class _Planner:
    """One planning run; see `make_plan`. With an `emitter` the plan is for a GPU, and a plain one."""

    def __init__(self, program: Program, scope: str, emitter: type[Emitter] | None = None):
        self.scope, self.emitter, self.plain = scope, emitter or Emitter, emitter is not None
        program = rebuilt(program)
        self.program = through_scatters(program if self.plain else gather_scalars(program))
        self.sums: dict[Node, tuple[tuple[Write, ...], bool]] = {}
        self.inputs = tuple(Target(f"{scope}x{k}", v.shape, v.dtype) for k, v in enumerate(self.program.inputs))
        self.outputs = tuple(Target(f"{scope}out{k}", b.shape, b.dtype) for k, b in enumerate(self.program.outputs))
        self.order = topological((w.value for w in self.writes()), self.children)
        self.operands = self.call_operands()
        must = {v for v in self.order if v in self.sums or is_call(v) or v.op.name == "stack"} | self.operands
        roots = [(w.value, root_access(w.value.shape)) for w in self.writes()]
        self.kept = choose_kept(self.order, must, self.readings, roots, GRID_STORE if self.grid else STORE)
        self.targets = {v: Target(f"{scope}t{k}", v.shape, v.dtype) for k, v in enumerate(self.stored())}
        self.fills: dict[str, Fill] = {}
        self.hidden: set[str] = set()
        self.groups = self.grouped()
        outputs = [] if self.plain else list(zip(self.outputs, self.program.outputs))
        states = {t.name: tile_states(b) for t, b in outputs}
        self.mirrors = {t.name: b.mirror for t, b in zip(self.outputs, self.program.outputs)}
        self.tiles = {name: found for name, found in states.items() if found is not None}

    def writes(self) -> Iterable[Write]:
        return (w for b in self.program.outputs for w in b.writes if w.value.size)

    def children(self, node: Node) -> Sequence[Node]:
        """What a node is made of; a sum of scatters is cut into boxes when it is first asked."""
        if is_cut(node) and node not in self.sums:
            self.sums[node] = writes_of_sum(node)
        return [w.value for w in self.sums[node][0]] if node in self.sums else node.args

    def call_operands(self) -> set[Node]:
        """What library calls and straight-line blocks read from memory."""
        return {a for v in self.order for a in self.in_memory(v) if a.op is not INPUT and a.op is not CONSTANT}

    def is_block(self, node: Node) -> bool:
        """True for a stack that a straight-line block computes."""
        return not self.plain and is_block(node)

    def in_memory(self, node: Node) -> list[Node]:
        """The arrays that a library call or a straight-line block reads."""
        if is_call(node):
            return [a.node for a in call_arguments(node)]
        if self.is_block(node):
            return list(dict.fromkeys(element_of(v)[0] for v in leaves_of(node)))
        return []

    @property
    def grid(self) -> bool:
        """True where nests are kernels, each complete in itself."""
        return self.emitter.grid

    def readings(self, node: Node) -> Iterable[tuple[Node, Access]]:
        """What is read, and how, to compute a kept node."""
        if node in self.sums:
            return [(w.value, root_access(w.value.shape)) for w in self.sums[node][0]]
        if is_call(node) or self.is_block(node):
            return [(a, root_access(a.shape)) for a in self.in_memory(node)]
        if node.op.name in COMBINE:
            return [(node.args[0], root_access(node.args[0].shape))]
        return argument_accesses(node, root_access(node.shape))

    def stored(self) -> list[Node]:
        """Kept nodes that need an array: all but plain scalar reductions, which one kernel has in local variables."""
        return [v for v in self.order if v in self.kept
                and (self.grid or v in self.operands or v.ndim or v.op.name not in COMBINE)]

    # -- jobs --------------------------------------------------------------------------------------------------

    def reads(self) -> dict[Node, frozenset[Node]]:
        """The kept nodes from which each node is computed (itself, if it is kept)."""
        out: dict[Node, frozenset[Node]] = {}
        for v in self.order:
            if v in self.kept:
                out[v] = frozenset((v,))
            else:
                parts = [out[a] for a in v.args if out[a]]
                out[v] = parts[0] if len(parts) == 1 else frozenset().union(*parts)
        return out

    def jobs(self) -> list[Job]:
        reads = self.reads()
        out = [job for v in self.order if v in self.kept for job in self.producing(v, reads)]
        for target, buffer in zip(self.outputs, self.program.outputs):
            if buffer.zero:
                self.fills[target.name] = Fill(target, 0)
            out += self.writing(target, buffer.writes, reads, None)
        return out

    def writing(self, target: Target, writes: Sequence[Write], reads: dict, makes: Node | None) -> list[Job]:
        """One job per write; those that share places, one of them adding, keep their order, plain ones first."""
        writes = [w for w in writes if w.value.size]
        plain, adding = ([w for w in writes if w.accumulate == how] for how in (False, True))
        out = []
        for w in (*plain, *adding):
            item = StoreItem(w.value, target, w.position, "+=" if w.accumulate else "=")
            kind = "clear" if adding and not w.accumulate and is_zero(w.value) else "nest"
            out.append(Job((kind, w.value.shape), reads[w.value], makes, item))
        for job, before in zip(out[len(plain):], overlapping(adding, plain, math.prod(target.shape))):
            job.after = tuple(out[k] for k in before)
        return out

    def producing(self, v: Node, reads: dict) -> list[Job]:
        """The jobs that fill the array of a kept node."""
        target = self.targets.get(v)
        if v in self.sums:
            writes, zero = self.sums[v]
            if zero:
                self.fills[target.name] = Fill(target, 0)
            return self.writing(target, writes, reads, v)
        if is_call(v):
            call = library_call(v, target)
            return [Job(("call", v), frozenset().union(*(reads[a] for a in v.args)), v, call=call)]
        if self.is_block(v):
            reads_of = frozenset().union(*(reads[a] for a in self.in_memory(v)))
            return [Job(("block", v), reads_of, v, call=scalar_block(v, leaves_of(v), target))]
        if v.op.name == "stack":
            return [Job(("nest", ()), reads[a], v, StoreItem(a, target, place(k)))
                    for k, a in enumerate(v.args)]
        below = frozenset().union(*(reads[a] for a in v.args))
        return [Job(*self.store_of(v, target, below))]

    def store_of(self, v: Node, target: Target | None, below: frozenset[Node]) -> tuple:
        """Key, reads, node and item of the store of a kept elementwise, movement or reduction node."""
        position = whole(v).writes[0].position
        if v.op.name not in COMBINE:
            return ("nest", v.shape), below, v, StoreItem(v, target, position)
        (a,) = v.args
        if self.grid or is_running(v):
            return ("nest", a.shape), below, v, StoreItem(a, target, position, "=", v)
        kept = [d for d in range(a.ndim) if d not in v.attrs]
        spread = ravel_maps([identity_maps(a.shape)[d] for d in kept], v.shape, a.shape)
        self.fills[target.name] = Fill(target, neutral(v.op.name, v.dtype))
        return ("nest", a.shape), below, v, StoreItem(a, target, spread, {"sum": "+="}.get(v.op.name, v.op.name))

    # -- order -------------------------------------------------------------------------------------------------

    def grouped(self) -> list[list[Job]]:
        """Jobs that can run together, in an order in which everything is made before it is read."""
        waiting = self.jobs()
        self.reads_of = self.reads()
        unfinished: dict[Node, int] = {}
        for j in waiting:
            if j.makes is not None:
                unfinished[j.makes] = unfinished.get(j.makes, 0) + 1
        done: set[Job] = set()
        groups: list[list[Job]] = []
        while waiting:
            ready = [j for j in waiting if all(not unfinished.get(r) for r in j.reads if r is not j.makes)
                     and all(b in done for b in j.after)]
            group = chosen(ready, waiting)
            group = with_consumers(group, waiting, unfinished, done, self.reads_of)
            groups.append(group)
            done.update(group)
            taken = set(group)
            waiting = [j for j in waiting if j not in taken]
            for j in group:
                if j.makes is not None:
                    unfinished[j.makes] -= 1
        return groups

    def plan(self, again: bool = False) -> Plan:
        """Emit every group into one tree of loops; with `again`, small nests compute again what large ones keep."""
        groups, fills = self.groups, dict(self.fills)
        arrays = {v: t.name for v, t in zip(self.program.inputs, self.inputs)}
        emitter, steps = self.emitter(arrays, self.scope), []
        step_of: dict[Job, LoopNest | LibraryCall] = {}
        tiles = {name: emitter.constant_array(states) for name, states in self.tiles.items()}
        for name, table in tiles.items():
            fills[name] = replace(fills[name], tiles=table, triangle=self.mirrors[name])
        again_in = {id(group): self.cheap_again(group) for group in groups} if again else {}
        self.hidden = {name for found in again_in.values() for name in found.values()}
        for group in groups:
            names = [j.item.target.name for j in group if j.item is not None and j.item.target is not None]
            due = [fills.pop(name) for name in dict.fromkeys(names) if name in fills]
            emitter.root.body.extend(due)
            steps += due
            hidden = again_in.get(id(group), {})
            emitter.arrays = {v: name for v, name in emitter.arrays.items() if v not in hidden}
            emitter.formulas = bool(hidden) or any(self.name_of(j.makes) in self.hidden for j in group)
            steps.append(emit_group(emitter, group))
            step_of.update((j, steps[-1]) for j in group)
            if isinstance(steps[-1], LoopNest):
                steps[-1].after = list({id(step_of[b]): step_of[b] for j in group for b in j.after}.values())
            made = (j.makes for j in group if j.makes in self.targets)
            emitter.arrays.update((v, self.targets[v].name) for v in made)
            emitter.arrays.update(hidden)
        emitter.root.body.extend(fills.values())
        steps += fills.values()
        for target, buffer in zip(self.outputs, self.program.outputs):
            if buffer.mirror:
                emitter.root.body.append(Mirror(target, buffer.mirror, tiles=tiles.get(target.name, "")))
                steps.append(emitter.root.body[-1])
        plan = Plan(self.inputs, self.outputs, list(self.targets.values()), steps, emitter.root, emitter.constants,
                    emitter.rows)
        figures.count(plan)
        return plan

    def name_of(self, v: Node | None) -> str | None:
        """The temporary that holds a node."""
        return self.targets[v].name if v in self.targets else None

    def cheap_again(self, group: list[Job]) -> dict[Node, str]:
        """The temporaries that a small nest reads and can as well compute again, with the same bits."""
        if group[0].item is None:
            return {}
        size = AGAIN * math.prod(group[0].key[1])
        found: dict[Node, str] = {}
        stack = [v for j in group for v in j.reads]
        while stack:
            v = stack.pop()
            if v in self.targets and v.size >= size and v not in found and self.is_computed_alike(v):
                found[v] = self.targets[v].name
                stack += [a for b in v.args for a in self.reads_of[b]]
        return found

    def is_computed_alike(self, v: Node) -> bool:
        """True for a value of elementwise operations on what is in memory: formulas are the same bits wherever they
        are computed."""
        if v.op.family != "elementwise" or v in self.operands or v in self.sums:
            return False
        stack, seen = list(v.args), set()
        while stack:
            a = stack.pop()
            if a in seen:
                continue
            seen.add(a)
            if a.op.family == "elementwise" or a.op.name in ("index", "reshape"):
                stack += a.args
            elif a not in self.kept and a.op not in (INPUT, CONSTANT):
                return False
        return True


def chosen(ready: list[Job], waiting: list[Job]) -> list[Job]:
    """The ready jobs of one key: those that make something first, and keys that nothing else waits for."""
    making = [j for j in ready if j.makes is not None] or ready
    ready_set = set(ready)
    late = {j.key for j in waiting if j not in ready_set}
    key = next((j.key for j in making if j.key not in late), making[0].key)
    return [j for j in making if j.key == key]


def with_consumers(group: list[Job], waiting: list[Job], unfinished: dict[Node, int], done: set[Job],
                   reads: dict[Node, frozenset[Node]]) -> list[Job]:
    """The group, and what can follow in the same loops: it reads what the group makes only where it is made."""
    group, candidates = list(group), [j for j in waiting if j.key == group[0].key and j.item is not None]
    while True:
        made = [j.makes for j in group if j.makes is not None and writes_in_place(j)]
        whole_made = {v for v in made if made.count(v) == unfinished[v] and v.shape == group[0].key[1]}
        more = [j for j in candidates if j not in group and all(b in done for b in j.after)
                and all(not unfinished.get(r) or r is j.makes or r in whole_made for r in j.reads)
                and is_pointwise(j.item.value, whole_made & j.reads, reads, j.makes)]
        if not more:
            return group
        group += more


def overlapping(adding: Sequence[Write], plain: Sequence[Write], size: int) -> list[np.ndarray]:
    """For each adding write, the plain ones (which are disjoint) that share places with it, in a buffer of `size`."""
    if not adding or not plain:
        return [np.zeros(0, int) for _ in adding]
    owner = np.zeros(size, np.min_scalar_type(len(plain)))
    for k, w in enumerate(plain, 1):
        mark(owner, w.position, k)
    found = (np.bincount(owner[w.position.values()].ravel(), minlength=1) for w in adding)
    return [np.flatnonzero(counts[1:]) for counts in found]


def writes_in_place(job: Job) -> bool:
    """True if iteration e of the loop writes element e, and no other, of what the job makes."""
    item = job.item
    return item is None or item.target is None or item.position == whole(job.makes).writes[0].position


def is_pointwise(value: Node, sources: frozenset[Node], reads: dict[Node, frozenset[Node]],
                 makes: Node | None) -> bool:
    """True if every element of `value` needs `sources` at its own place alone; other kept nodes lie in memory."""
    stack, seen = [value], set()
    while stack:
        v = stack.pop()
        if v in seen or v in sources or (v in reads[v] and v is not makes):
            continue
        seen.add(v)
        for a in v.args:
            if v.op.family == "elementwise" and a.shape == value.shape:
                stack.append(a)
            elif not sources.isdisjoint(reads[a]):
                return False
    return True


def emit_group(emitter: Emitter, group: list[Job]) -> LoopNest | LibraryCall:
    """The step of a group, its statements added to the tree."""
    call = group[0].call
    if call is not None:
        sources = call.arrays if isinstance(call, ScalarBlock) else [a.node for a in call.arguments]
        for v in sources:
            if v.op is CONSTANT:
                emitter.arrays.setdefault(v, emitter.constant_array(v.attrs.array))
        call.sources = [emitter.arrays[v] for v in sources]
        emitter.root.body.append(call)
        return call
    nest = LoopNest(group[0].key[1], [j.item for j in group])
    made = {j.makes: j.item.target.name for j in group if j.item.value is j.makes and writes_in_place(j)}
    nest.loops = emitter.nest(nest.box, nest.items, made)
    return nest


def place(k: int) -> IndexMap:
    return constant_map((), k)


def library_call(node: Node, target: Target) -> LibraryCall:
    """The call that computes a node: named by its primitive, or the running sum."""
    if node.op.name == "cumsum":
        axis, reverse = node.attrs
        n = node.shape
        folded = (math.prod(n[:axis]), n[axis], math.prod(n[axis + 1:]))
        (a,) = call_arguments(node)
        return LibraryCall("cumsum", [a._replace(shape=folded)], target, folded, (reverse,))
    if node.op.family == "control":
        return nested_call(node, target)
    parameters = node.op.extra["params"](node) if "params" in node.op.extra else ()
    return LibraryCall(node.op.extra["kernel"], call_arguments(node), target, node.shape, tuple(parameters))


def through_scatters(program: Program) -> Program:
    """Write sums of scatters to where they go at once: boxes instead of a temporary."""
    return replace(program, outputs=tuple(_without_scatters(b) for b in program.outputs))


def _without_scatters(buffer: Buffer) -> Buffer:
    writes: list[Write] = []
    zero = buffer.zero
    covered = len(buffer.writes) == 1
    for w in buffer.writes:
        cut = is_cut(w.value) and not is_collected(w)
        parts, clear = writes_of_sum(w.value) if cut else ((w,), False)
        if not cut or (clear and not (covered or zero or w.accumulate)):
            writes.append(w)
            continue
        zero = zero or (clear and not w.accumulate)
        writes += [moved(p, w) for p in parts]
    return replace(buffer, writes=tuple(writes), zero=zero)


def is_collected(w: Write) -> bool:
    """True for sums of many entries each that are to be written apart from each other (see `collecting`)."""
    if not any(t.maps is not None and is_crowded(t.value, w.value.size) for t in terms_of_sum(w.value)):
        return False
    return not is_gapless(different(w.position.compact))


def moved(part: Write, w: Write) -> Write:
    """A write of part of w's value, at the place where w puts it."""
    coordinates = unravel_map(part.position, w.value.shape)
    return Write(part.value, w.position.compose(coordinates, part.value.shape), part.accumulate or w.accumulate)
