"""Native mode: what a `Path` is for traced functions, for a function that Numba compiles over second-order numbers.

Traced paths are good for functions that take few of them. Where nearly every call takes a new one, the function itself
is compiled instead, with its loops and branches.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.api.arguments import Bound, Options
from symhess.api.budget import check_dense_fits
from symhess.api.kernels import filled
from symhess.api.pipeline import Path
from symhess.api.results import Result, results_of, split
from symhess.errors import SymhessError, UnsupportedOperation
from symhess.graph.node import input_node
from symhess.graph.pytrees import flatten
from symhess.plan.assembly import CsrLayout

if TYPE_CHECKING:
    import scipy.sparse

#: paths of one signature from which on they are said not to settle, unless calls repeat them
UNSETTLED = 4
#: calls for each path that make tracing worth while
REPEATS = 2
#: how far compiled values may be from Python's, by size of the dtype
VALUE_TOLERANCE = {8: 1e-7, 4: 1e-6}
_DENSE = ("hessian", "diagonal", "csr", "csr_lower")


def unsettled(paths: Sequence[Path]) -> bool:
    """True where many paths have been traced, and few calls came back to one."""
    return len(paths) >= UNSETTLED and sum(p.runs for p in paths) < REPEATS * len(paths)


class NativePath:
    """A function compiled for one signature; it holds for all values of its arguments."""

    guards: tuple = ()
    native_refusal: str | None = None

    def __init__(self, fn: Callable, bound: Bound, options: Options, name: str, reason: str):
        self.fn, self.options, self.signature, self.reason, self.runs = fn, options, bound.signature, reason, 0
        self.name = name
        self.call = native_call(fn, bound, name)
        self.size = self.call.size
        active = self.signature.active
        wide = any(x is not None and x.dtype == np.float64 and x.given is not float for x in self.signature.leaves)
        self.dtype = np.dtype(np.float64 if wide else np.float32)
        self.outputs = [input_node("value", (), self.dtype)]
        self.returned, self.output_spec = flatten(self.outputs[0])
        self.gradient = [input_node(x.name, x.shape, self.dtype) for x in active]
        self._products: dict[Any, Any] = {}
        self._lock = threading.RLock()

    def product(self, key: Any, build: Callable[[], Any]) -> Any:
        """Whatever was built under `key`, built now if this is the first time (thread-safe)."""
        with self._lock:
            if key not in self._products:
                self._products[key] = build()
            return self._products[key]

    def holds(self, bound: Bound) -> bool:
        return True

    def rebuilt_outputs(self, values: Sequence[Any]) -> Any:
        return values[0]

    def results(self, products: tuple[str, ...], lead: tuple[int, ...] = ()) -> list[Result]:
        """What these products look like to the user."""
        return self.product((products, lead), lambda: results_of(self, products, lead))

    def batches(self, products: Sequence[str], size: int) -> bool:
        """False: rows are computed one after the other."""
        return False

    def runner(self, product: str) -> NativeRunner:
        """What computes a product."""
        return self._products.get(product) or self.product(product, lambda: NativeRunner(self, product.split("+")))

    def kernel(self, kind: str) -> Any:
        """The compiled sweep of a kind: "value", "gradient", "hessian" or "product"."""
        return self.product(("kernel", kind), lambda: self._compiled(kind))

    def _compiled(self, kind: str) -> Any:
        from symhess.native import Kernel, refused, sweeps

        try:
            return Kernel(self.call, getattr(sweeps, f"{kind}_layout")(self.size))
        except SymhessError:
            raise
        except Exception as error:  # whatever Numba raises: its own bugs are refusals too
            raise refused(error, self.fn, self.name) from error

    # -- dense results in sparse form ------------------------------------------------------------------------------

    def csr(self, lower: bool) -> CsrLayout:
        """All entries, or those of the lower triangle: nothing is known of the structure."""
        return self.product(("csr layout", lower), lambda: _full_csr(self.size, lower))

    @property
    def is_sparse(self) -> bool:
        return False

    @cached_property
    def sparsity(self) -> scipy.sparse.csr_array:
        """Every entry can be non-zero."""
        import scipy.sparse

        return scipy.sparse.csr_array(np.ones((self.size, self.size), bool))

    def without_graph(self) -> UnsupportedOperation:
        """The error where a graph is asked for."""
        return UnsupportedOperation(f"{self.name}: a function compiled in native mode is not traced and has no graph; "
                                    'use mode="autograd" to see the graph of one path')

    def report(self, title: str) -> str:
        """What explain() says."""
        kernel = self.kernel("hessian")
        inputs = ", ".join(f"{x.name} {x.dtype}{list(x.shape)}" for x in self.signature.active)
        layout = kernel.layout
        how = "one sweep through the function" if layout.same else (
            f"sweeps through the function for tiles of {layout.rows} x {layout.columns} second derivatives")
        times = ", ".join(f"{key[1]} kernel {k.compile_seconds:.3f} s" for key, k in self._products.items()
                          if isinstance(key, tuple) and key[0] == "kernel")
        return "\n".join([f"Hessian of {title}: {self.size:,} variables ({inputs}), {self.dtype}",
                          "mode: native; the function, with its loops and branches, is compiled by Numba over numbers "
                          "that carry first and second derivatives", f"why: {self.reason}",
                          f"structure: taken as dense; {how}", f"times: compiled in {times}"])


class NativeRunner:
    """Runs sweeps and puts their numbers into buffers; called like a kernel, but without a quick call of its own."""

    plan = None

    def __init__(self, path: NativePath, parts: Sequence[str]):
        self.path, self.parts = path, list(parts)
        second = any(p in _DENSE for p in parts)
        self.kind = "product" if "hvp" in parts else "hessian" if second else "gradient" if "grad" in parts else "value"
        if second and parts != ["diagonal"]:
            check_dense_fits(path.size, path.dtype, path.options.memory_budget)
        self.kernel = path.kernel(self.kind)
        self.direct = self._is_direct()
        if self.direct:
            self.entry = self._direct_entry()

    def _is_direct(self) -> bool:
        """True where the kernel can fill the buffers of these products as they are."""
        one = self.path.dtype == np.float64 and [len(x.shape) for x in self.path.signature.active] == [1]
        return one and self.kernel.single and {"value", "grad", "hessian"}.issuperset(self.parts)

    def _direct_entry(self) -> Callable[..., None]:
        """entry(*arrays, *buffers); what the kernel computes besides goes to memory that nobody reads."""
        n, count = self.path.size, len(self.path.call.arguments)
        names = {"value": np.empty(()), "grad": np.empty(n), "hessian": np.empty((n, n))}
        given = ", ".join(f"x{k}" for k in range(count))
        entry = eval(f"lambda {given}, {', '.join(self.parts)}: kernel({given}, value, grad, hessian)",
                     {"kernel": self.kernel.entry, **names})
        if self.path.options.mode == "native":
            return entry

        def guarded(*arrays: np.ndarray) -> None:
            try:
                entry(*arrays)
            except UnsupportedOperation:
                self._traced(arrays[:count], arrays[count:])

        return guarded

    @property
    def compile_seconds(self) -> float:
        return self.kernel.compile_seconds

    @property
    def source(self) -> str:
        """The call that is compiled: the rest is the user's own source."""
        return self.kernel.source

    def __call__(self, arrays: Sequence[np.ndarray], out: Sequence[np.ndarray] | None) -> Sequence[np.ndarray]:
        try:
            made = self._made(arrays)
        except UnsupportedOperation:
            if self.path.options.mode == "native":
                raise
            return self._traced(arrays, out)
        return made if out is None else filled(out, made)

    def _traced(self, arrays: Sequence[np.ndarray], out: Sequence[np.ndarray] | None) -> Sequence[np.ndarray]:
        """This call by tracing: native code met something that only Python can do, such as a very large integer."""
        count = len([x for x in self.path.signature.leaves if x is not None])
        traced = Path(self.path.fn, Bound(self.path.signature, list(arrays[:count])), self.path.options)
        made = traced.runner("+".join(self.parts))(arrays, None)
        return made if out is None else filled(out, made)

    def _made(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        from symhess.native import sweeps

        path, n = self.path, self.path.size
        if self.kind == "product":
            count = len(path.call.arguments)
            v = np.concatenate([np.ravel(a) for a in arrays[count:]] or [np.zeros(0)]).astype(float)
            return self._split(sweeps.product_of(self.kernel, arrays[:count], v))
        if self.kind == "hessian":
            value, gradient, hessian = sweeps.hessian_of(self.kernel, arrays, n, self.parts == ["diagonal"])
        else:
            hessian = None
            value, gradient = (sweeps.gradient_of(self.kernel, arrays, n) if self.kind == "gradient" else
                               (sweeps.value_of(self.kernel, arrays), None))
        made: list[np.ndarray] = []
        for part in self.parts:
            made += self._split(gradient) if part == "grad" else [self._entries(part, value, hessian)]
        return made

    def _entries(self, part: str, value: float, hessian: np.ndarray | None) -> np.ndarray:
        if part == "value":
            return np.array(value, self.path.dtype)
        found = {"hessian": lambda: hessian, "diagonal": lambda: hessian.diagonal(), "csr": lambda: hessian.ravel(),
                 "csr_lower": lambda: hessian[np.tril_indices(len(hessian))]}[part]()
        return np.ascontiguousarray(found, self.path.dtype)

    def _split(self, flat: np.ndarray) -> list[np.ndarray]:
        """A vector of all variables as one array for each input."""
        return split(np.ascontiguousarray(flat, self.path.dtype), [x.shape for x in self.path.signature.active])


def _full_csr(n: int, lower: bool) -> CsrLayout:
    lengths = np.arange(1, n + 1) if lower else np.full(n, n)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    indices = np.concatenate([np.arange(k) for k in lengths] or [np.zeros(0)]).astype(np.int32)
    return CsrLayout(n, indptr, indices, None)


# -- the call ------------------------------------------------------------------------------------------------------


def native_call(fn: Callable, bound: Bound, name: str) -> Any:
    """How compiled code calls the function: a template over the leaves of its arguments, static values as constants."""
    from symhess.native import Argument, Call

    signature = bound.signature
    sizes = [math.prod(signature.leaves[k].shape) for k in signature.order]
    starts = dict(zip(signature.order, np.cumsum([0, *sizes])))
    leaves = [(k, x) for k, x in enumerate(signature.leaves) if x is not None]
    places = {k: f"{{{number}}}" for number, (k, _) in enumerate(leaves)}
    arguments = tuple(Argument(x.shape, x.dtype, int(starts[k]) if k in starts else None) for k, x in leaves)
    constants: dict[str, Any] = {}
    tokens = [_Token(places[k]) if k in places else s for k, s in enumerate(signature.statics)]
    args, kwargs = signature.rebuild([t if isinstance(t, _Token) else None for t in tokens])
    spell = partial(_spelled, constants, name)
    given: list[str] = []
    while type(fn) is partial:
        given = [*map(spell, fn.args), *given]
        kwargs = {**fn.keywords, **kwargs}
        fn = fn.func
    words = [*given, *map(spell, args), *(f"{k}={spell(v)}" for k, v in kwargs.items())]
    return Call(fn, arguments, ", ".join(words), constants)


class _Token(str):
    """The place of a leaf in the template."""


def _spelled(constants: dict[str, Any], name: str, value: Any) -> str:
    """An argument as source."""
    spell = partial(_spelled, constants, name)
    if isinstance(value, _Token):
        return value
    if type(value) is tuple:
        return f"({''.join(f'{spell(v)}, ' for v in value)})"
    if type(value) is list:
        return f"[{', '.join(map(spell, value))}]"
    if flatten(value)[1].num_nodes > 1:
        raise UnsupportedOperation(f'{name}: an argument of type {type(value).__name__} cannot be passed to a function '
                                   'compiled for mode="native"; pass arrays, numbers and tuples of them, or use '
                                   'mode="auto"')
    constants[f"constant{len(constants)}"] = value
    return f"constant{len(constants) - 1}"


def started(fn: Callable, bound: Bound, options: Options, name: str, reason: str) -> NativePath:
    """The compiled path; UnsupportedOperation or NonScalarOutput where Numba cannot compile the function."""
    begin = time.perf_counter()
    path = NativePath(fn, bound, options, name, reason)
    path.kernel("hessian" if path.size else "value")
    _check_value(path, bound)
    path.seconds = {"native": time.perf_counter() - begin}
    return path


def _check_value(path: NativePath, bound: Bound) -> None:
    """The value held against Python's in double precision, once for each signature; where they differ, a refusal."""
    doubled = iter([a.astype(float if a.dtype.kind == "f" else a.dtype)[()] for a in bound.arrays])
    args, kwargs = bound.signature.rebuild([None if x is None else next(doubled) for x in bound.signature.leaves])
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = float(path.fn(*args, **kwargs))
        (found,) = path.runner("diagonal+value" if path.size else "value")(bound.arrays, None)[-1:]
    except Exception:  # which the call itself will raise
        return
    tolerance = VALUE_TOLERANCE[path.dtype.itemsize]
    if not np.isclose(float(found), expected, tolerance, tolerance, equal_nan=True):
        raise UnsupportedOperation(f'{path.name}: compiled for mode="native" it gives {float(found)!r} where '
                                   f'Python gives {expected!r}; use mode="auto", which traces the function')
