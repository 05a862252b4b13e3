"""The passes, in order: trace -> reroll -> stabilise -> gradient -> tangents -> lower triangle -> assembly -> kernel.

`Path` holds one traced path of a function; each stage is computed once, on first use, and timed.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.api.arguments import NOTHING, Bound, Options
from symhess.api.budget import check_dense_fits, check_fits, memory_budget
from symhess.api.collector import patient_collector
from symhess.api.columns import ColumnsRunner, JointRunner, column_graph, columns_buffer
from symhess.api.kernels import CompiledRunner, InterpretedRunner, runner
from symhess.api.outputs import as_float
from symhess.api.results import Result, results_of
from symhess.chains import Rolled, rerolled
from symhess.debug import show
from symhess.differentiate import batch, gradient
from symhess.errors import NonScalarOutput, SymhessWarning
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.maps import axis_map
from symhess.graph.node import Graph, Node, bodies, constant, input_node, topological
from symhess.graph.pytrees import flatten, unflatten
from symhess.plan.assembly import CsrLayout, csr_layout, dense_buffer, diagonal_buffer
from symhess.plan.contraction import lower_contractions
from symhess.plan.cost import Cost, cost_of, structure_pays
from symhess.plan.distribute import distributed
from symhess.plan.filling import MOST_ELEMENTS, MOST_OF_THREAD, element_by_element
from symhess.plan.program import Buffer, Program, whole
from symhess.plan.teams import worth_threads
from symhess.primitives import apply, scatter, zeros
from symhess.rules import expanded, is_called
from symhess.simplify import stabilised, with_bodies
from symhess.structure import coefficient, tangents
from symhess.structure.csr import as_bool_csr, csr_structure
from symhess.structure.hessian import HessianTerm, dense_terms, hessian_terms, lower_triangle
from symhess.structure.listing import Account, Unstructured
from symhess.trace import Traced, trace
from symhess.trace.session import here

if TYPE_CHECKING:
    import scipy.sparse


#: Hessians with more variables and a smaller share of non-zeros than this are explained as sparse ones
SMALL, SPARSE_SHARE = 64, 0.1


#: what an entry of a sparse result takes: its value, its column, and its place while they are sorted
ENTRY_BYTES = 24
#: Terms that propagation may make, in all and for each node of the gradient, where dense columns are a way out
PATIENCE, TERMS_PER_NODE = 2_000, 8
#: flops up to which all dense columns together are that
CHEAP = 1e8
#: Terms of more operations than this are given up where a dense column has so many times fewer
OPERATIONS, GROWTH = 1_000, 2
#: guards of a path are evaluated by a compiled kernel from this run on
COMPILE_GUARDS_AFTER = 3


@dataclass(frozen=True)
class Choice:
    """A decision of the cost model, with its reason in words."""

    structured: bool
    reason: str


class Path:
    """One path through the user's function: its graph, and whatever has been derived and compiled from it."""

    def __init__(self, fn: Callable, bound: Bound, options: Options, concrete: bool = True):
        self.options, self.signature = options, bound.signature
        self.symbols = getattr(fn, "input_symbols", None)
        self.seconds: dict[str, float] = {}
        self._leaves = self.signature.fresh_inputs()
        self.inputs = [n for n in self._leaves if n is not None]
        self.active = [self._leaves[k] for k in self.signature.order]
        with self._timed("trace"):
            self.traced = self._trace(fn, bound, concrete)
        self.guards = self.traced.guards
        self.returned, self.output_spec = flatten(self.traced.outputs)
        self.output_leaves = [x for x in self.returned if isinstance(x, Node)]
        #: how many calls came back to this path: machine code counts, too
        self.count = np.zeros(1, np.int64)
        #: why there are no Terms but dense ones
        self.unstructured: str | None = None
        self.native_refusal: str | None = None
        self._products: dict[Any, Any] = {}
        #: interpreters of products that a thread compiles
        self._waiting: dict[Any, Any] = {}
        self._lock = threading.RLock()

    def _trace(self, fn: Callable, bound: Bound, concrete: bool = True) -> Traced:
        args, kwargs = self.signature.rebuild(self._leaves)
        return trace(fn, args, kwargs, dict(zip(self.inputs, bound.host)) if concrete else None)

    def computes(self, fn: Callable, bound: Bound) -> bool:
        """True if `fn`, traced once more, computes for these arguments what it computed before."""
        returned, spec = flatten(self._trace(fn, bound).outputs)
        return spec == self.output_spec and all(
            x is y or (not isinstance(x, Node) and not isinstance(y, Node) and x == y)
            for x, y in zip(returned, self.returned))

    @property
    def runs(self) -> int:
        """How many calls came back to this path."""
        return int(self.count[0])

    @runs.setter
    def runs(self, number: int) -> None:
        self.count[0] = number

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        """Runs a stage, and adds up its seconds."""
        start = time.perf_counter()
        try:
            with patient_collector():
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def rebuilt_outputs(self, values: Sequence[Any]) -> Any:
        """What the function returned, with `values` for its numbers; the rest (None, strings) as it was."""
        rest = iter(values)
        return unflatten(self.output_spec, [next(rest) if isinstance(x, Node) else x for x in self.returned])

    # -- stages ------------------------------------------------------------------------------------------------

    @cached_property
    def outputs(self) -> list[Node]:
        """Output nodes after re-rolling and in stable form."""
        with self._timed("reroll"):
            rolled = self.rolled
        with self._timed("stabilise"):
            return stabilised(with_bodies(rolled.outputs, lambda body, _: stabilised(body)))

    @cached_property
    def rolled(self) -> Rolled:
        """Output nodes with Python loops turned back into arrays and loops, and what was found."""
        return rerolled(self.output_leaves, self.inputs)

    def unrolled(self) -> Path:
        """The same path with nothing turned back into loops: for formulas, which have none."""
        if not any(bodies(n) for n in topological(self.outputs)):
            return self
        other = copy.copy(self)
        for name in [k for k, v in vars(Path).items() if isinstance(v, cached_property)]:
            vars(other).pop(name, None)
        other._products = {}
        other.rolled = Rolled(list(self.output_leaves), [])
        return other

    @cached_property
    def output(self) -> Node:
        """The one rank-0 output that a Hessian needs."""
        if self.output_spec.num_nodes != 1 or len(self.outputs) != 1 or self.outputs[0].ndim:
            raise NonScalarOutput(f"the function must return one number to have a Hessian, it returned "
                                  f"{_in_words(self.returned, self.output_spec)}, or use jacfwd(jacrev(f)) for the "
                                  "Hessian of each component")
        return as_float(self.outputs[0], self.active)

    @cached_property
    def gradient(self) -> list[Node]:
        if self.options.argnums == ():
            raise ValueError(NOTHING)
        output = self.output
        with self._timed("gradient"):
            return gradient(output, self.active)

    @cached_property
    def terms(self) -> list[HessianTerm]:
        """All Terms of the Hessian; dense ones where structure was given up."""
        grad = self.gradient
        with self._timed("tangents"):
            try:
                return hessian_terms(grad, self.active, self.account)
            except Unstructured as reason:
                self.unstructured = str(reason)
                return dense_terms(grad, self.active)

    @cached_property
    def account(self) -> Account:
        """What the Terms may cost, in proportion to the gradient that they are the tangents of."""
        return Account(PATIENCE + TERMS_PER_NODE * len(topological(self.gradient)), lambda: self._columns_are_cheap)

    @cached_property
    def _column_cost(self) -> Cost:
        return cost_of(expanded(self.column[1]))

    @property
    def _columns_are_cheap(self) -> bool:
        """True where dense columns are a way out: little work, and they fit."""
        work = self.size * self._column_cost.flops
        space = self.size * (self.size + self._column_cost.elements) * self.dtype.itemsize
        return work <= CHEAP and space <= memory_budget(self.options.memory_budget)

    @cached_property
    def lower(self) -> list[HessianTerm]:
        terms = self.terms
        with self._timed("lower triangle"):
            return lower_triangle(terms, self.active, filtered=False)

    @cached_property
    def cheaper(self) -> list[HessianTerm]:
        """The Terms of the lower triangle as dense results are made of them."""
        return distributed(self.lower)

    @cached_property
    def column(self) -> tuple[list[Node], list[Node]]:
        """One product with the Hessian: (direction inputs, moved gradients)."""
        return column_graph(self.gradient, self.active)

    @cached_property
    def choice(self) -> Choice:
        """How the dense Hessian is computed: structured Terms, or dense columns where structure does not pay."""
        column = self._column_cost
        many = self._without_structure()
        if many:
            return Choice(False, f"dense columns in chunks (forward over reverse); structure was given up: {many}")
        terms = cost_of(lower_contractions(expanded([coefficient(t.term) for t in self.cheaper])))
        fits = terms.kept * self.dtype.itemsize <= memory_budget(self.options.memory_budget)
        pays = structure_pays(terms, column, self.size) and fits
        ours, theirs = terms.flops / 1e6, self.size * column.flops / 1e6
        name = "structured Terms" if pays else "dense columns in chunks (forward over reverse)"
        return Choice(pays, f"{name}; estimated {ours:,.3g} Mflop for the Terms, {theirs:,.3g} Mflop for "
                            f"{self.size} dense columns")

    def _without_structure(self) -> str | None:
        """Why the dense Hessian is not made of Terms although they were not compared, if so."""
        lower = self.lower
        if self.unstructured or not self._columns_are_cheap:
            return self.unstructured
        ours, theirs = (len(topological(nodes)) for nodes in ([coefficient(t.term) for t in lower], self.column[1]))
        if ours <= OPERATIONS + GROWTH * theirs:
            return None
        return f"the Terms take {ours:,} operations to compile, a column {theirs:,}"

    @cached_property
    def size(self) -> int:
        return sum(x.size for x in self.active)

    @cached_property
    def dtype(self) -> np.dtype:
        return self.output.dtype

    def results(self, products: tuple[str, ...], lead: tuple[int, ...] = ()) -> list[Result]:
        """What these products look like to the user; `lead` are axes in front."""
        key = (products, lead)
        found = self._products.get(key)
        return self.product(key, lambda: results_of(self, products, lead)) if found is None else found

    def batches(self, products: Sequence[str], size: int) -> bool:
        """True where one kernel for all rows of a batch is wanted: not for Hessians by dense columns, but where every
        row has a thread of its own."""
        if not {"hessian", "flat"}.intersection(products) or self.choice.structured:
            return True
        return self._has_threads(self.program(kernel_of(tuple(products)), columns=True), size)

    def _has_threads(self, program: Program, size: int) -> bool:
        """True where every row of a batch is to be computed by a thread of a GPU: functions with loops."""
        if self.options.target == "cpu":
            return False
        roots = expanded(program.roots())
        return worth_threads(roots, size) and not any(map(is_called, topological(roots)))

    # -- programs ----------------------------------------------------------------------------------------------

    def program(self, product: str, columns: bool = False) -> Program:
        """The program of one product: what its buffers are and how they are written; a Hessian by dense `columns`."""
        inputs = (*self.inputs, *self.column[0]) if product == "hvp" else tuple(self.inputs)
        return Program(inputs, tuple(b for part in product.split("+") for b in self._buffers(part, columns)))

    def _buffers(self, part: str, columns: bool) -> list[Buffer]:
        if part == "value":
            check_fits("the result", sum(o.size * o.dtype.itemsize for o in self.outputs), self.options.memory_budget,
                       "hessian_jit has .sparse and .hvp, which need less; or ask for products with jvp, vjp or hvp")
            return [whole(o) for o in self.outputs]
        if part == "grad":
            return [whole(g) for g in self.gradient]
        if part == "hvp":
            return [whole(m) for m in self.column[1]]
        if part == "hessian":
            check_dense_fits(self.size, self.dtype, self.options.memory_budget)
            if columns:
                check_fits("all dense columns at once", self.size * self._column_cost.elements * self.dtype.itemsize,
                           self.options.memory_budget, 'use .sparse or .hvp, or target="cpu", which has chunks of them')
                return [columns_buffer(self.gradient, self.active)]
            return [dense_buffer(self.cheaper, self.active, self.dtype)]
        if part == "diagonal":
            return [diagonal_buffer(self.lower, self.size, self.dtype)]
        return [self.csr(part == "csr_lower").buffer]

    def csr(self, lower: bool) -> CsrLayout:
        """The structure of the sparse Hessian and the writes of its values: of one triangle, or of both."""
        key = ("csr layout", lower)
        with self._lock:
            if key not in self._products:
                terms = self.lower_only
                with self._timed("assembly"):
                    self._products[key] = csr_layout(terms, self.active, self.dtype, lower)
        return self._products[key]

    @cached_property
    def lower_only(self) -> list[HessianTerm]:
        """The lower triangle without any entry above the diagonal: for sparse results."""
        stored = sum(math.prod(t.term.shape) for t in self.terms)
        budget = max(memory_budget(None), memory_budget(self.options.memory_budget))
        check_fits(f"the structure of a Hessian with up to {stored:,} entries", stored * ENTRY_BYTES, budget,
                   "use .hvp(...) for products with it, or raise memory_budget=")
        return lower_triangle(self.terms, self.active, filtered=True)

    @property
    def is_sparse(self) -> bool:
        """True where a sparse result is clearly the better one to ask for, or the dense one does not fit."""
        if self.size**2 * self.dtype.itemsize > memory_budget(self.options.memory_budget):
            return True
        return self.size > SMALL and self.sparsity.nnz < SPARSE_SHARE * self.size**2

    @cached_property
    def sparsity(self) -> scipy.sparse.csr_array:
        return as_bool_csr(csr_structure(self.lower_only, self.size, lower=False))

    def dense_nodes(self) -> list[Node]:
        """The dense Hessian as nodes, one row block (size of input, n) per input: for formulas and small functions."""
        rows = []
        for tangent, x in zip(tangents(self.gradient, self.active), self.active):
            total = zeros((*x.shape, self.size), self.dtype)
            for t in tangent.terms:
                total = apply("add", total, scatter(coefficient(t), (*t.rows, t.cols), total.shape))
            rows.append(total)
        return rows

    def runner(self, product: str) -> Any:
        """The compiled (or interpreted) kernel of a product."""
        found = self._products.get(product)
        if found is not None:
            return found
        if self.guards and self.runs == 0 and self.options.mode == "auto" and self.options.target == "cpu":
            return InterpretedRunner(self.program(product))  # a path seen once is not worth a compilation
        return self.kept(product, functools.partial(self.built, product))

    def kept(self, key: Any, build: Callable[[Options], Any]) -> Any:
        """What `build` compiled under a key; compiled in the background, an interpreter until a thread is done."""
        if self.options.compile != "background" or self.options.mode == "autograd":
            return self.product(key, lambda: build(self.options))
        found = self._products.get(key)
        return self._meanwhile(key, build) if found is None else found

    def _meanwhile(self, key: Any, build: Callable[[Options], Any]) -> Any:
        with self._lock:
            waiting = self._waiting.get(key)
            if waiting is None:
                waiting = self._waiting[key] = build(replace(self.options, mode="autograd"))
                waiting.temporary = True  # no entry of a function keeps it
                # not a daemon: an interpreter that ends waits for LLVM, which it must not interrupt
                threading.Thread(target=self._compile, args=(key, build), name=f"symhess {key}").start()
        return waiting

    def _compile(self, key: Any, build: Callable[[Options], Any]) -> None:
        """What the thread does."""
        try:
            self._products[key] = build(self.options)
        except Exception as problem:  # the interpreter goes on answering
            warnings.warn(f"{key} could not be compiled in the background ({problem!r}); it stays interpreted",
                          SymhessWarning, stacklevel=1)

    def built(self, product: str, options: Options) -> Any:
        """A new runner of a product."""
        *others, last = product.split("+")
        by_columns = last == "hessian" and not self.choice.structured
        if options.target == "cpu" and by_columns:
            check_dense_fits(self.size, self.dtype, options.memory_budget)
            columns = ColumnsRunner(self.inputs, self.gradient, self.active, options)
            if not others:
                return columns
            name = "+".join(others)
            make = lambda: self.built(name, options)
            first = self.product(name, make) if options is self.options else make()
            return JointRunner(first, columns, len(self.outputs) + len(self.gradient))
        built = runner(self.program(product, by_columns), options)
        show(1, f"{product}: passes", lambda: ", ".join(f"{k} {v:.4f} s" for k, v in self.seconds.items())
             + f", kernel {built.compile_seconds:.4f} s")
        show(2, "structure", lambda: f"{len(self.terms)} Terms, {len(self.lower)} kept, n = {self.size}"
             if product not in ("value", "grad") else "first derivatives only")
        show(3, "traced graph", lambda: str(self.graph()))
        show(4, "gradient graph", lambda: str(Graph(tuple(self.inputs), tuple(self.gradient)))
             if product != "value" else "")
        show(4, "Terms", lambda: "\n".join(str(t.term) for t in self.terms) if product != "value" else "")
        show(5, "source", lambda: built.source)
        return built

    def holds(self, bound: Bound) -> bool:
        """True if every branch that this path took would be taken again for these arguments."""
        if self._condition is None:
            return True
        if self.runs < COMPILE_GUARDS_AFTER:
            return bool(evaluate_nodes([self._condition], dict(zip(self.inputs, bound.host)))[0])
        program = Program(tuple(self.inputs), (whole(self._condition),))
        return bool(self.product("guards", lambda: runner(program, on_cpu(self.options)))(bound.host, None)[0])

    @cached_property
    def guard_cost(self) -> tuple[int, float]:
        """Operations in the check of all guards, and a rough number of flops."""
        lowered = [] if self._condition is None else lower_contractions(expanded([self._condition]))
        operations = [n for n in topological(lowered) if n.args]
        return len(operations), cost_of(lowered).flops

    @property
    def guards_compiled(self) -> bool:
        return "guards" in self._products

    @property
    def guard_runner(self) -> CompiledRunner | None:
        """The kernel that checks all guards, once there is one that needs no Python."""
        found = self._products.get("guards")
        return found if isinstance(found, CompiledRunner) else None

    def branches(self) -> list[str]:
        """The outcomes that this path relies on, in the user's terms: what decided, where, and how often in a row."""
        told = [f"{g.what} is {g.outcome!r}{here(g.source or '')}" for g in self.guards]
        return [f"{text}{f', {n} times' if n > 1 else ''}" for text, n in ((k, len([*g])) for k, g in groupby(told))]

    @cached_property
    def _condition(self) -> Node | None:
        """All guards as one truth value."""
        total: Node | None = None
        for g in dict.fromkeys((g.node, g.outcome) for g in self.guards):
            node, outcome = g
            met = apply("equal", node, constant(outcome, node.dtype)) if node.dtype != np.bool_ else (
                node if outcome else apply("logical_not", node))
            total = met if total is None else apply("logical_and", total, met)
        return total

    def batched(self, product: str, size: int) -> Program:
        """The program of a product for `size` points at once: active inputs get a leading axis, data do not."""
        if {"hessian", "flat"}.intersection(product.split("+")):
            check_dense_fits(self.size, self.dtype, self.options.memory_budget, size)
        program = self.program(product, "hessian" in product.split("+") and not self.choice.structured)
        rows = [*self.active, *(self.column[0] if product == "hvp" else ())]
        if self._has_threads(program, size):
            return replace(program, points=size, rows=frozenset(rows))
        stacked = {x: input_node(x.attrs.name, (size, *x.shape), x.dtype) for x in rows}
        inputs = tuple(stacked.get(x, x) for x in program.inputs)
        most = MOST_OF_THREAD if self.options.target == "cuda" else MOST_ELEMENTS
        return Program(inputs, tuple(_batched_buffer(b, stacked, size, most) for b in program.outputs))

    # -- kernels -----------------------------------------------------------------------------------------------

    def product(self, key: Any, build: Callable[[], Any]) -> Any:
        """Whatever was built under `key`, built now if this is the first time (thread-safe)."""
        found = self._products.get(key)
        if found is None:
            with self._lock:
                found = self._products.get(key)
                if found is None:
                    found = self._products[key] = build()
        return found

    def graph(self) -> Graph:
        return Graph(tuple(self.inputs), tuple(self.outputs))


def on_cpu(options: Options) -> Options:
    """The same on the CPU: what control flow depends on is looked at there."""
    return options if options.target == "cpu" else replace(options, target="cpu")


@functools.cache
def kernel_of(products: tuple[str, ...]) -> str:
    """The name of the kernel that computes several products."""
    return "+".join("hessian" if p == "flat" else p for p in products)


def _batched_buffer(b: Buffer, stacked: dict[Node, Node], size: int, most: int) -> Buffer:
    b, block = element_by_element(b, most), math.prod(b.shape)
    values = batch([w.value for w in b.writes], stacked, size)
    writes = []
    for w, value in zip(b.writes, values):
        position = w.position.inserted(0, size)
        writes.append(replace(w, value=value, position=position + axis_map(value.shape, 0).scaled(block)))
    return Buffer((size, *b.shape), b.dtype, tuple(writes), b.zero, b.mirror)


def _in_words(returned: Sequence[Any], spec: Any) -> str:
    if len(returned) == 1 and spec.num_nodes > 1:
        return f"a {spec.type.__name__} with one entry; return the entry itself"
    if len(returned) != 1:
        return f"{f'{len(returned)} values' if returned else 'nothing'}; return one of them"
    only = returned[0]
    return f"{f'an array of shape {only.shape}' if isinstance(only, Node) else f'a {type(only).__name__}'}; sum it"
