"""Loop nests as statements: values are pulled from the outputs back to the arrays in memory.

A value is asked for at (node, index), one linear expression per axis. Movement operations only change the index;
elementwise operations become one assignment per (node, index), placed in the outermost loop that knows its operands.
Blocks form one tree: the kernel body is the root, each loop a child; names of loop variables are unique in a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from symhess.errors import GraphError
from symhess.graph.maps import IndexMap, constant_map, row_major_strides, table_map
from symhess.graph.node import CONSTANT, Node, scalar_value
from symhess.plan.affine import Linear, bounds, combine, flatten, split, variable
from symhess.plan.runs import Runs, common_runs, tables_of

Index = tuple[Linear, ...]
Key = tuple[Node, Index]
Shape = tuple[int, ...]

#: iterations that are interleaved together, and elements along a side of the squares in which that is done
SQUARE = 8
#: reductions over at most this many elements become plain sums of statements
UNROLL = 4
#: constant whole exponents up to this size are multiplied out
MOST_MULTIPLIED = 32
#: elementwise operations whose result already has the type of their arguments
EXACT = frozenset(("add", "sub", "mul", "div", "neg", "where", "maximum", "minimum", "abs"))
#: the combining operation of each reduction
COMBINE = {"sum": "accumulate", "max": "maximum", "min": "minimum"}


@dataclass
class Assign:
    """name = spelling.format(*operands), converted to dtype; functions by a `formula` also where nothing vectorises.

    A `part` of an index is its quotient ("//") or remainder ("%") by a number.
    """

    name: str
    spelling: str
    operands: tuple[str, ...]
    dtype: np.dtype | None = None
    formula: bool = False
    part: tuple[str, int, Linear] | None = None


@dataclass
class Load:
    """name = array[position]"""

    name: str
    array: str
    position: Linear
    integer: bool = False


@dataclass
class Store:
    """array[position] = operand, or combined with what is there ("atomic": added while others may add, too)."""

    array: str
    position: Linear
    operand: str
    how: str = "="


@dataclass
class Interleave:
    """array[position + k * p + j] = source j at p, for `SQUARE` iterations p and k sources: rows, or numbers."""

    array: str
    position: Linear
    sources: tuple[str, ...]


@dataclass
class Block:
    """The kernel body (variable "") or a loop over 0 <= variable < size, and < limit where there is one.

    `mean` is the number of iterations to count with where a limit changes. A `scalar` loop is not to be vectorised, one
    over the side of a `square` becomes one vector. Threads share what is in several `pieces`: those of its `parallel`
    loop. Each piece adds to its own copy of the arrays that are `copied`.
    """

    variable: str = ""
    size: int = 1
    depth: int = 0
    parent: Block | None = None
    body: list = field(default_factory=list)
    parallel: bool = False
    limit: Linear | None = None
    mean: float | None = None
    scalar: bool = False
    square: bool = False
    pieces: int = 0
    copied: list[Target] = field(default_factory=list)


class Value(NamedTuple):
    """What an operand is called, and the block in which it becomes known."""

    operand: str
    block: Block


class Target(NamedTuple):
    """An array of the kernel that statements write: its name in the source, and its shape."""

    name: str
    shape: Shape
    dtype: np.dtype


class StoreItem(NamedTuple):
    """target.flat[position(e)] = (or combined with) value(e) for every e in the box of the nest.

    With `reduction`, value is its argument, the reduced axes are the last ones of the box, and position is a map
    over the kept axes. A rank-0 reduction without a target stays in a local variable.
    """

    value: Node
    target: Target | None
    position: IndexMap
    how: str = "="
    reduction: Node | None = None


def spelling(node: Node) -> str:
    """How a kernel computes an elementwise operation; whole constant powers are multiplied out.

    Remainders of whole numbers are whole numbers: a floating remainder has no more than 53 bits.
    """
    if node.op.name == "remainder" and node.dtype.kind in "iu":
        return "{0} % {1}"
    exponent = scalar_value(node.args[1]) if node.op.name == "pow" else None
    if exponent is None or not float(exponent).is_integer() or abs(exponent) > MOST_MULTIPLIED:
        return node.op.kernel
    return f"{{0}}**{int(exponent)}"


def literal(value: object, dtype: np.dtype) -> str:
    """A typed constant as source text."""
    if dtype.kind == "b":
        return repr(bool(value))
    if dtype.kind in "iu":
        return repr(int(value))
    number = float(value)
    text = repr(number) if math.isfinite(number) else {"nan": "nan", "inf": "inf", "-inf": "(-inf)"}[repr(number)]
    text = f"({text})" if text.startswith("-") else text
    return f"F32({text})" if dtype == np.float32 else text


class Emitter:
    """Builds the block tree of one plan; `arrays` names the arrays that hold materialised nodes.

    All names that it makes begin with `scope`. While `formulas` is set, functions are computed by formulas.
    """

    #: True where nests are kernels for a grid of threads
    grid = False

    def __init__(self, arrays: dict[Node, str], scope: str = ""):
        self.arrays, self.scope = arrays, scope
        self.root = Block()
        self.known: dict[Key, Value] = {}
        self.block_of: dict[str, Block] = {}
        self.ranges: dict[str, tuple[int, int]] = {}
        self.tables: dict[tuple, str] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.loaded: dict[tuple, str] = {}
        self.opened: dict[Key, tuple[list[Block], list[Key]]] = {}
        #: the runs that end up at a flat position, with the number of the run and the place in it
        self.runs: dict[Linear, tuple[Runs, Linear, Linear]] = {}
        self.count = 0
        self.formulas = False
        #: arrays that nests need for themselves
        self.rows: list[Target] = []

    # -- names and places --------------------------------------------------------------------------------------

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{self.scope}{prefix}{self.count}"

    def place(self, variables: Sequence[str]) -> Block:
        """The outermost block in which all variables are known."""
        return max((self.block_of[v] for v in variables), key=lambda b: b.depth, default=self.root)

    def open_loop(self, parent: Block, size: int, prefix: str = "e") -> Block:
        loop = Block(self.fresh(prefix), size, parent.depth + 1, parent)
        self.block_of[loop.variable] = loop
        self.ranges[loop.variable] = (0, size - 1)
        return loop

    def open_box(self, parent: Block, shape: Shape, prefix: str = "e") -> tuple[list[Block], Index]:
        """One loop per axis longer than 1, none attached to its parent yet; and the index over the box."""
        loops: list[Block] = []
        index = []
        for n in shape:
            if n == 1:
                index.append(Linear())
            else:
                loops.append(self.open_loop(loops[-1] if loops else parent, n, prefix))
                index.append(variable(loops[-1].variable))
        return loops, tuple(index)

    def open_runs(self, runs: Runs) -> tuple[list[Block], Index]:
        """A loop over runs around a loop over the entries of a run; and the index of an entry."""
        outer = self.open_loop(self.root, len(runs.sizes))
        r = variable(outer.variable)
        inner = self.open_loop(outer, int(runs.sizes.max()))
        inner.limit, inner.mean = self.at(table_map(runs.sizes, runs.sizes.shape), (r,)), runs.mean
        t = variable(inner.variable)
        first = self.fresh("at")
        self.block_of[first], self.ranges[first] = outer, (0, int(runs.starts[-1]))
        entry = combine([(1, variable(first)), (1, t)])
        self.runs[entry] = runs, r, t
        return [outer, inner], (entry,)

    def close_runs(self, loops: Sequence[Block], entry: Linear) -> None:
        """Number the entries of a run where anything is found by its number."""
        outer, inner = loops
        runs, r, t = self.runs[entry]
        (first,) = set(entry.variables()) - set(t.variables())
        used, found = set(), [*outer.body, *inner.body]
        for s in found:
            if isinstance(s, Block):  # of a sum for each entry
                found += s.body
            elif isinstance(s, Load | Store):
                used.update(s.position.variables())
        if first in used:
            name = self.constant_array(runs.starts)
            outer.body.insert(0, Load(first, name, r, integer=True))

    @staticmethod
    def close(loops: Sequence[Block]) -> None:
        """Attach loops to their parents, innermost first."""
        for loop in reversed(loops):
            loop.parent.body.append(loop)

    # -- integer expressions -----------------------------------------------------------------------------------

    def constant_array(self, array: np.ndarray) -> str:
        """The name of a constant array of the kernel, shared by content."""
        key = (array.dtype.str, array.tobytes())
        if key not in self.tables:
            self.tables[key] = self.fresh("c")
            self.constants[self.tables[key]] = np.ascontiguousarray(array).reshape(-1)
        return self.tables[key]

    def integer(self, key: tuple, low: int, high: int, make: Callable[[str], Assign | Load]) -> Linear:
        """An integer variable made once per key; `make(name)` gives its statement."""
        if key not in self.loaded:
            name = self.fresh("at")
            block = self.place(key[-1].variables())
            block.body.append(make(name))
            self.block_of[name], self.ranges[name], self.loaded[key] = block, (low, high), name
        return variable(self.loaded[key])

    def at(self, m: IndexMap, index: Index) -> Linear:
        """The value of an index map."""
        affine = combine(zip(m.strides, index), m.offset)
        if m.table is None:
            return affine
        position = flatten([Linear() if n == 1 else i for n, i in zip(m.table.shape, index)],
                           row_major_strides(m.table.shape))
        if not position.terms:
            return combine([(1, affine)], int(m.table.flat[position.offset]))
        if position in self.runs:
            runs, r, t = self.runs[position]
            found = runs.along(m.table.ravel()) if m.table.size == runs.sizes.sum() else None
            if found is not None:
                return combine([(1, affine), (1, self.at(found[0], (r,))), (found[1], t)])
        low, step, steps = progression(m.table)
        fits = steps.max() <= np.iinfo(np.int32).max
        name = self.constant_array(steps.astype(np.int32 if fits else np.int64))
        entry = self.integer((name, position), 0, int(steps.max()), lambda v: Load(v, name, position, integer=True))
        return combine([(1, affine), (step, entry)], low)

    def reshaped(self, index: Index, shape: Shape, old: Shape) -> Index:
        """The index in an array of shape `old` of the element at `index` of its reshape to `shape`."""
        rest = flatten(index, row_major_strides(shape))
        out = []
        for n, weight in zip(old, row_major_strides(old)):
            if n == 1:
                out.append(Linear())
                continue
            digit, rest = self.divided(rest, weight)
            out.append(digit)
        return tuple(out)

    def divided(self, e: Linear, divisor: int) -> tuple[Linear, Linear]:
        """(e // divisor, e % divisor): split term by term where that is exact, else computed."""
        if divisor == 1:
            return e, Linear()
        found = split(e, divisor, self.ranges)
        if found is not None:
            return found
        low, high = bounds(e, self.ranges)
        kind = self.unsigned(high)
        q = self.integer(("//", divisor, e), low // divisor, high // divisor,
                         lambda v: Assign(v, f"I64({kind}({e}) // {kind}({divisor}))", (), part=("//", divisor, e)))
        r = self.integer(("%", divisor, e), 0, divisor - 1,
                         lambda v: Assign(v, f"I64({kind}({e}) % {kind}({divisor}))", (), part=("%", divisor, e)))
        return q, r

    def unsigned(self, high: int) -> str:
        """The type in which numbers up to `high` are divided."""
        return "U"

    # -- pulling -----------------------------------------------------------------------------------------------

    def pull(self, node: Node, index: Index) -> Value:
        """The value of a node at an index; statements go where they belong on the way."""
        stack = [(node, index)]
        while stack:
            key = stack[-1]
            if key in self.known:
                stack.pop()
                continue
            needs = self.needs(*key)
            missing = [k for k in needs if k not in self.known]
            if missing:
                stack.extend(reversed(missing))
                continue
            self.known[key] = self.emit(key, needs)
            stack.pop()
        return self.known[node, index]

    def needs(self, node: Node, index: Index) -> list[Key]:
        """The (node, index) pairs from which the value follows."""
        name = node.op.name
        if node in self.arrays or node.op is CONSTANT:
            return []
        if name == "index":
            return [(node.args[0], tuple(self.at(m, index) for m in node.attrs.maps))]
        if name == "reshape":
            source = node.args[0]
            if source in self.arrays:
                return []
            return [(source, self.reshaped(index, node.shape, source.shape))]
        if name == "stack":
            if index[0].terms:
                raise GraphError(f"{node!r} is read at a variable position, but it is not in memory")
            return [(node.args[index[0].offset], ())]
        if name in COMBINE:
            return self.reduction_needs(node, index)
        if node.op.family != "elementwise":
            raise GraphError(f"{node!r} has to be in memory before it is read")
        return [(a, tuple(Linear() if n == 1 else i for n, i in zip(a.shape, index))) for a in node.args]

    def emit(self, key: Key, needs: list[Key]) -> Value:
        """Place the statement that makes a value, once the values it needs are known."""
        node, index = key
        values = [self.known[k] for k in needs]
        if node in self.arrays:
            return self.load(self.arrays[node], flatten(index, row_major_strides(node.shape)))
        if node.op is CONSTANT:
            return self.constant(node, index)
        if node.op.name == "reshape" and node.args[0] in self.arrays:
            return self.load(self.arrays[node.args[0]], flatten(index, row_major_strides(node.shape)))
        if node.op.name in ("index", "reshape", "stack"):
            return values[0]
        if node.op.name in COMBINE:
            return self.reduced(key, values)
        if node.op.name == "cast":
            to_bool = node.dtype == np.bool_
            return self.assign("({0} != 0)" if to_bool else "{0}", values, None if to_bool else node.dtype)
        natural = node.dtype in (np.float64, np.bool_) or (node.dtype == np.float32 and node.op.name in EXACT)
        return self.assign(spelling(node), values, None if natural else node.dtype)

    def assign(self, spelling: str, values: Sequence[Value], dtype: np.dtype | None) -> Value:
        block = max((v.block for v in values), key=lambda b: b.depth)
        name = self.fresh("v")
        block.body.append(Assign(name, spelling, tuple(v.operand for v in values), dtype, self.formulas))
        return Value(name, block)

    def load(self, array: str, position: Linear) -> Value:
        """array[position], loaded once, in the outermost loop that knows the position."""
        key = (array, position)
        block = self.place(position.variables())
        if key not in self.loaded:
            self.loaded[key] = self.fresh("v")
            block.body.append(Load(self.loaded[key], array, position))
        return Value(self.loaded[key], block)

    def constant(self, node: Node, index: Index) -> Value:
        array = node.attrs.array
        position = flatten(index, row_major_strides(node.shape))
        if not position.terms and array.size:
            return Value(literal(array.flat[position.offset], node.dtype), self.root)
        return self.load(self.constant_array(array), position)

    # -- reductions inside a nest ------------------------------------------------------------------------------

    def reduction_needs(self, node: Node, index: Index) -> list[Key]:
        """The elements of an unrolled reduction, or the one element inside a new loop."""
        key = (node, index)
        if key not in self.opened:
            (v,) = node.args
            extents = tuple(v.shape[d] for d in node.attrs)
            if math.prod(extents) <= UNROLL:
                places = [tuple(Linear(int(p)) for p in e) for e in np.ndindex(extents)]
                loops: list[Block] = []
            else:
                loops, inner = self.open_box(self.place([x for i in index for x in i.variables()]), extents, "r")
                places = [inner]
            self.opened[key] = (loops, [(v, merged(index, node.attrs, p)) for p in places])
        return self.opened[key][1]

    def reduced(self, key: Key, values: list[Value]) -> Value:
        """The reduction of the elements that `reduction_needs` asked for: an inner loop, or a chain of statements."""
        node, _ = key
        loops, _ = self.opened.pop(key)
        if loops:
            acc = self.start(node, loops[0].parent)
            self.fold(acc, node, values[0], loops[-1])
            self.close(loops)
            return Value(acc, loops[0].parent)
        total = values[0]
        spelling = "({0} + {1})" if node.op.name == "sum" else f"{COMBINE[node.op.name]}({{0}}, {{1}})"
        for v in values[1:]:
            total = self.assign(spelling, [total, v], None)
        return total

    def start(self, node: Node, block: Block) -> str:
        """A new accumulator of a reduction, set to the neutral element."""
        acc = self.fresh("s")
        block.body.append(Assign(acc, literal(neutral(node.op.name, node.dtype), node.dtype), (), node.dtype))
        return acc

    @staticmethod
    def fold(acc: str, node: Node, v: Value, loop: Block) -> None:
        loop.body.append(Assign(acc, f"{COMBINE[node.op.name]}({{0}}, {{1}})", (acc, v.operand), node.dtype))

    # -- nests -------------------------------------------------------------------------------------------------

    def nest(self, box: Shape, items: Sequence[StoreItem], made: dict[Node, str]) -> list[Block]:
        """One loop nest over `box` that stores all `items`; `made` names the arrays of nodes stored by element."""
        runs = self.runs_of(box, items)
        loops, index = self.open_box(self.root, box) if runs is None else self.open_runs(runs)
        chain = [self.root, *loops]
        after: dict[int, list[Store]] = {}
        for item in items:
            v = self.pull(item.value, index)
            if item.reduction is None:
                store = Store(item.target.name, self.at(item.position, index), v.operand, item.how)
                if runs is None or not self.summed(store, item.target.dtype, loops, after):
                    chain[-1].body.append(store)
            else:
                self.running(item, v, index, chain, after)
        if runs is not None:
            self.close_runs(loops, index[0])
        for depth in range(len(chain) - 1, -1, -1):
            chain[depth].body.extend(after.get(depth, ()))
            if depth:
                chain[depth - 1].body.append(chain[depth])
        return loops

    def runs_of(self, box: Shape, items: Sequence[StoreItem]) -> Runs | None:
        """The runs in which a box of one axis can be walked."""
        if len(box) != 1 or any(i.reduction is not None and i.reduction.ndim for i in items):
            return None
        positions = [i.position for i in items if i.reduction is None] or [constant_map(box)]
        known = lambda v: v in self.arrays or v.op is CONSTANT
        return common_runs(tables_of([i.value for i in items], positions, known))

    def summed(self, store: Store, dtype: np.dtype, loops: list[Block], after: dict) -> bool:
        """Add up in a register what a run adds to one place; False where it is not one place."""
        outer, inner = loops
        if store.how != "+=" or inner is self.place(store.position.variables()):
            return False
        acc = self.fresh("s")
        outer.body.append(Assign(acc, literal(0, dtype), (), dtype))
        inner.body.append(Assign(acc, "accumulate({0}, {1})", (acc, store.operand), dtype))
        after.setdefault(1, []).append(replace(store, operand=acc))
        return True

    def running(self, item: StoreItem, v: Value, index: Index, chain: list[Block], after: dict) -> None:
        """A reduction over the last axes of the box: an accumulator in the loop that knows the kept axes."""
        node = item.reduction
        depth = sum(1 for n in node.shape if n != 1)
        acc = self.start(node, chain[depth])
        self.fold(acc, node, v, chain[-1])
        if item.target is None:
            self.known[node, ()] = Value(acc, self.root)
        else:
            position = self.at(item.position, index[:node.ndim])
            after.setdefault(depth, []).append(Store(item.target.name, position, acc, item.how))


def progression(table: np.ndarray) -> tuple[int, int, np.ndarray]:
    """(low, step, k) with table = low + step k and k >= 0 as small as can be: tables that differ by an affine map
    share k."""
    low = int(table.min())
    step = int(np.gcd.reduce(table - low, axis=None)) or 1
    return low, step, (table - low) // step


def is_running(node: Node) -> bool:
    """True for a reduction over the last axes of its argument."""
    kept = [d for d in range(node.args[0].ndim) if d not in node.attrs]
    return kept == list(range(len(kept)))


def merged(index: Index, axes: Sequence[int], inner: Sequence[Linear]) -> Index:
    """The full index of the argument of a reduction: `inner` along the reduced axes, `index` along the others."""
    out, rest, reduced = [], iter(index), iter(inner)
    for d in range(len(index) + len(axes)):
        out.append(next(reduced) if d in axes else next(rest))
    return tuple(out)


def neutral(name: str, dtype: np.dtype) -> float | int:
    """The neutral element of a reduction."""
    if name == "sum":
        return 0
    sign = -1 if name == "max" else 1
    if dtype.kind == "f":
        return sign * math.inf
    return np.iinfo(dtype).min if sign < 0 else np.iinfo(dtype).max
