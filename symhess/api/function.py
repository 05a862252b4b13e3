"""`hessian_jit`: the object behind the decorator, with every product of a function and its first two derivatives."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np

from symhess.api import inline
from symhess.api.arguments import (
    TARGETS,
    Bound,
    Keywords,
    Options,
    any_traced,
    as_integers,
    bind,
    checked,
    directions,
    is_device_array,
    is_one_number,
    kinds_of_device_arrays,
)
from symhess.api.collector import patient_collector
from symhess.api.entries import MISS, PRODUCT, Entry, Known, call_key, entry_of, guarded, taking
from symhess.api.frameless import Frameless, product
from symhess.errors import ConcretizationError, ShapeMismatch, SymhessError, UnsupportedOperation
from symhess.graph.pytrees import unflatten
from symhess.trace import is_traced
from symhess.trace.on_use import OnUse
from symhess.trace.tracing import looked_up, name_of

if TYPE_CHECKING:
    import scipy.sparse

    from symhess.api.native import NativePath
    from symhess.api.pipeline import Path
    from symhess.api.raw import CompiledKernel
    from symhess.api.results import Result

#: what the first call needs; importing symhess is quicker without
answers, kernels, native, pipeline, raw, results, rows = (
    OnUse(f"symhess.api.{name}") for name in ("answers", "kernels", "native", "pipeline", "raw", "results", "rows"))

#: compiled paths kept per signature of a function whose control flow depends on values
MAX_PATHS = 64
#: what `batch` can compute, and the results that this consists of
BATCHED = {p: (p,) for p in ("hessian", "flat", "diagonal", "value", "grad", "hvp")} | {
    "sparse": ("csr",), "value_and_grad": ("value", "grad"), "value_grad_hessian": ("value", "grad", "hessian")}
#: the kernel behind each product
KERNELS = {p: p for p in ("hessian", "csr", "csr_lower", "diagonal", "value", "grad", "hvp")} | {
    "flat": "hessian", "sparse": "csr", "value_and_grad": "value+grad", "value_grad_hessian": "value+grad+hessian"}
#: paths by signature, entries by products and the plain arrays they were called with, and the lock of both
Caches = tuple[dict[tuple, "list[Path]"], dict[tuple | None, Known], threading.RLock]
#: the method that computes products
METHODS = {("csr",): "sparse"} | {(p,): p for p in ("flat", "diagonal", "value", "grad", "hvp")} | {
    ("value", "grad"): "value_and_grad", ("value", "grad", "hessian"): "value_grad_hessian",
    ("value", "grad", "csr"): "value_grad_hessian"}
HESSIAN = ("hessian",)


class HessianFunction(Frameless):
    """A function whose Hessian is compiled. Calling it returns the Hessian; see `hessian_jit` for the options.

    The Hessian is an array of shape S + S for one array input of shape S, nested blocks H[i][j] otherwise; with
    `sparse=True` in the decorator, what `.sparse` returns. `f(x, out=H)`: `out` receives the result, an array, or a
    pytree of arrays for nested blocks.

    All methods take the arguments of the decorated function. n is the total size of the differentiated inputs.
    """

    def __init__(self, fn: Callable, options: Options, known: Options | None = None):
        """`known` are the same options, checked before."""
        functools.update_wrapper(self, fn)
        self.__name__ = getattr(fn, "__name__", None) or name_of(fn)
        self.fn, self.options, self._given = fn, known or checked(options, fn), options
        self._bound: Options | None = None  # those of a method
        self._caches = self._paths, self._entries, self._lock = _empty_caches()
        self._static: frozenset[int | str] = frozenset([*self.options.static_argnums, *self.options.static_argnames])
        self._kinds = kinds_of_device_arrays if self.options.target == "cuda" else None
        self._attribute: str | None = None
        self._instances: dict[int, Caches] = {}
        for name in METHODS.values():  # of a function that was itself such an object
            self.__dict__.pop(name, None)
        super().__init__(self._hessian)

    def __repr__(self) -> str:
        return f"<hessian_jit {self.__name__}>"

    def __set_name__(self, owner: type, name: str) -> None:
        self._attribute = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Decorating a method: the instance is static, its attributes are read once, when the method is traced.

        Positions in the options do not count it.
        """
        if instance is None:
            return self
        made = HessianFunction(functools.partial(self.fn, instance), self._given, self._bound)
        self._bound = made.options
        made.__name__, made._attribute = self.__name__, self._attribute
        made._caches = made._paths, made._entries, made._lock = self._caches_of(instance)
        return made

    def _caches_of(self, instance: Any) -> Caches:
        """What is compiled for one instance, as long as it lives."""
        with self._lock:
            found = self._instances.get(id(instance))
            if found is None:
                found = _empty_caches()
                with contextlib.suppress(TypeError):  # no weak references to it: it is compiled for each access
                    weakref.finalize(instance, self._instances.pop, id(instance), None).atexit = False
                    self._instances[id(instance)] = found
        return found

    def __reduce__(self) -> Any:
        if self._attribute is not None and isinstance(self.fn, functools.partial):
            return (getattr, (self.fn.args[0], self._attribute))
        module, name = getattr(self.fn, "__module__", None), getattr(self.fn, "__qualname__", None)
        if looked_up(module, name) is self:
            return name
        return (_rebuilt, (self.fn, self.options))

    # -- the Hessian -----------------------------------------------------------------------------------------------

    def _hessian(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """What calling it does where no machine code has the answer."""
        if any_traced(args, kwargs):
            return inline.hessian(self.fn, args, kwargs, self.options.argnums)
        if self.options.sparse:
            return self.sparse(*args, out=out, **kwargs)
        return self._compute(args, kwargs, HESSIAN, out)

    @product
    def flat(self, *args: Any, out: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """The Hessian as one (n, n) array over the concatenation of the differentiated inputs, each in C order."""
        if any_traced(args, kwargs):
            return inline.flat_hessian(self.fn, args, kwargs, self.options.argnums)
        return self._compute(args, kwargs, ("flat",), out)

    @product
    def sparse(self, *args: Any, out: scipy.sparse.csr_array | None = None, triangle: str = "both",
               **kwargs: Any) -> scipy.sparse.csr_array:
        """The Hessian as an (n, n) scipy CSR array, both triangles or the lower one (`triangle="lower"`).

        `out`, a result of an earlier call, has its values overwritten. The index arrays are shared by all results, and
        so they are read-only (what changes them in place, such as `eliminate_zeros`, needs a copy).
        """
        if triangle not in ("both", "lower"):
            raise ValueError(f'triangle={triangle!r}; choose "both" or "lower"')
        return self._compute(args, kwargs, ("csr_lower" if triangle == "lower" else "csr",), out)

    def sparsity(self, *args: Any, **kwargs: Any) -> scipy.sparse.csr_array:
        """The (n, n) pattern of possible non-zeros as a CSR array of bools, without evaluating anything."""
        return self._bound_path(args, kwargs)[1].sparsity.copy()

    @product
    def diagonal(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """The diagonal of the Hessian, in the shape(s) of the differentiated inputs."""
        if any_traced(args, kwargs):
            return inline.diagonal(self.fn, args, kwargs, self.options.argnums)
        return self._compute(args, kwargs, ("diagonal",), out)

    # -- lower derivatives and combinations ------------------------------------------------------------------------

    @product
    def value(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """The function's own value; `out` receives arrays, where the function returns such."""
        if any_traced(args, kwargs):
            return self.fn(*args, **kwargs)
        return self._compute(args, kwargs, ("value",), out)

    @product
    def grad(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """The gradient, in the shape(s) of the differentiated inputs."""
        if any_traced(args, kwargs):
            return inline.gradient(self.fn, args, kwargs, self.options.argnums)[1]
        return self._compute(args, kwargs, ("grad",), out)

    @product
    def value_and_grad(self, *args: Any, out: Any = None, **kwargs: Any) -> tuple[Any, Any]:
        """(value, gradient) from one kernel. `out` is a pair, with None for what is to be fresh: `out=(None, g)`."""
        if any_traced(args, kwargs):
            return inline.gradient(self.fn, args, kwargs, self.options.argnums)[:2]
        return self._compute(args, kwargs, ("value", "grad"), out)

    @product
    def value_grad_hessian(self, *args: Any, out: Any = None, **kwargs: Any) -> tuple[Any, Any, Any]:
        """(value, gradient, Hessian) from one kernel that shares all common work. `out=(None, g, H)`."""
        if any_traced(args, kwargs):
            return (*self.value_and_grad(*args, **kwargs), self(*args, **kwargs))
        last = "csr" if self.options.sparse else "hessian"
        return self._compute(args, kwargs, ("value", "grad", last), out)

    @product
    def hvp(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """The product H v without forming H: `f.hvp(*args, v)`, v in the shape(s) of the differentiated inputs."""
        *others, v = self._with_vector(args)
        if any_traced(others, kwargs) or is_traced(v):
            return inline.hvp(self.fn, tuple(others), kwargs, self.options.argnums, v)
        return self._compute(args, kwargs, PRODUCT, out)

    def _with_vector(self, args: tuple) -> tuple:
        if len(args) < 2:
            raise TypeError(f"{self.__name__}.hvp takes the arguments of {self.__name__} and then the vector v, it was "
                            f"called with {len(args)} positional arguments")
        return args

    # -- batches ---------------------------------------------------------------------------------------------------

    @product
    def batch(self, *args: Any, out: Any = None, product: str = "hessian", **kwargs: Any) -> Any:
        """A result for every row: the differentiated inputs carry a leading batch axis, data arguments do not.

        Returns (B, *S, *S) for one array input of shape (B, *S), nested blocks with a leading axis B otherwise.
        `product` may also be "flat", "sparse" (a list of CSR arrays, which share their structure), "diagonal", "value",
        "grad", "value_and_grad", "value_grad_hessian", or "hvp" (the vectors come last, one for each row).
        """
        if product not in BATCHED:
            raise ValueError(f"batch: no product {product!r}; choose one of {', '.join(BATCHED)}")
        names = BATCHED[product]
        if self.options.sparse:
            names = tuple("csr" if n == "hessian" else n for n in names)
        if (made := self._known(("batch", *names), args, kwargs, out)) is not MISS:
            return made
        points, vectors = args, None
        if product == "hvp":
            *points, vectors = self._with_vector(args)
        bound, size = self._batch_of(tuple(points), kwargs)
        path = self._path(self._row(bound, 0))
        arrays = bound.arrays
        if vectors is not None:
            leaves = [(x.name, (size, *x.shape), x.dtype) for x in path.signature.active]
            arrays = [*arrays, *directions(vectors, leaves, path)]
        if path.guards or not path.batches(names, size):
            if not all(isinstance(a, np.ndarray) for a in arrays):
                raise UnsupportedOperation("batch: control flow that depends on values, or a Hessian by dense columns, "
                                           "is computed row by row from NumPy arrays; pass such")
            each = [self._row(bound, k) for k in range(size)]
            run = rows.Rows(each, [self._path(row) for row in each], names)
            return entry_of(run, run.results)(arrays, out)
        key = pipeline.kernel_of(names)
        run = path.product(("batch", key, size), lambda: kernels.runner(path.batched(key, size), self.options))
        asked = {} if product == "hessian" else {"product": product}
        return self._entry(args, kwargs, path, ("batch", *names), arrays, run, path.results(names, (size,)), asked)(
            arrays, out)

    def _batch_of(self, args: tuple, kwargs: dict) -> tuple[Bound, int]:
        """The arrays of a batch and its size."""
        bound = bind(args, kwargs, self.options, self.__name__)
        leaves = [x for x in bound.signature.leaves if x is not None]
        sizes = {a.shape[0] if a.ndim else None for a, x in zip(bound.arrays, leaves) if x.active}
        if len(sizes) != 1 or None in sizes:
            raise ShapeMismatch("batch: every differentiated input needs the same leading batch axis, got shapes "
                                f"{[x.shape for x in leaves if x.active]}")
        (size,) = sizes
        if size == 0:
            raise ShapeMismatch("batch: the batch is empty")
        return bound, size

    def _row(self, bound: Bound, k: int) -> Bound:
        """The arguments of row k of a batch."""
        leaves = [x for x in bound.signature.leaves if x is not None]
        arrays = iter([a[k] if x.active else a for a, x in zip(bound.arrays, leaves)])
        rebuilt = [s if x is None else next(arrays) for x, s in zip(bound.signature.leaves, bound.signature.statics)]
        args, kwargs = unflatten(bound.signature.spec, rebuilt)
        return bind(args, kwargs, self.options, self.__name__)

    # -- inspection ------------------------------------------------------------------------------------------------

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """What was found and what was chosen: structure of the Hessian, Terms, plan, compile times. For a person."""
        from symhess.explain import explain

        path = self._bound_path(args, kwargs)[1]
        if isinstance(path, native.NativePath):
            return path.report(self.__name__)
        run = path.runner("csr" if self.options.sparse or path.is_sparse else "hessian")
        return explain(self.__name__, path, run, self._paths[path.signature.key])

    def graph(self, *args: Any, **kwargs: Any) -> Any:
        """The traced graph of the value (print it to read it)."""
        return self._traced_path(args, kwargs).graph()

    def source(self, *args: Any, product: str = "hessian", target: str | None = None, **kwargs: Any) -> str:
        """The generated source of the kernel that computes a product: the name of a method, or "hessian".

        `target` is that of the decorator, or another: "cpu", "cuda" (the kernels for a GPU), or "ptx" (those compiled
        to PTX); the last two need no device.
        """
        if product not in KERNELS:
            raise ValueError(f"source: no product {product!r}; choose one of {', '.join(KERNELS)}")
        if target not in (None, *TARGETS, "ptx"):
            raise ValueError(f"source: no target {target!r}; choose one of {', '.join(TARGETS)}, ptx")
        if target in (None, self.options.target):
            return self._bound_path(args, kwargs)[1].runner(KERNELS[product]).source
        options = replace(self.options, mode="symbolic", target="cpu" if target == "cpu" else "cuda")
        path = self._traced_path(args, kwargs)
        run = path.product((KERNELS[product], options.target), lambda: path.built(KERNELS[product], options))
        return run.ptx if target == "ptx" else run.source

    def kernel(self, *args: Any, product: str = "hessian", **kwargs: Any) -> CompiledKernel:
        """The machine code of a product: a C function by address, for ctypes, and for functions compiled by Numba.

        It takes the arrays of the arguments in their order (for "hvp" then the vectors), and fills the outputs.
        Control flow that depends on values is not looked at: the kernel is that of the path these arguments take.

        Raises:
            UnsupportedOperation: the product is more than one kernel, or Numba compiled it.

        >>> import numpy as np
        >>> from symhess import hessian_jit
        >>> f = hessian_jit(lambda x: np.sum(x**3))
        >>> k = f.kernel(np.ones(2))
        >>> print(k.declaration)
        int kernel(const double *x0, double *hessian);
        >>> H = np.empty((2, 2))
        >>> k(np.array([1.0, 2.0]), H)
        >>> H.diagonal()
        array([ 6., 12.])
        """
        if product not in KERNELS:
            raise ValueError(f"kernel: no product {product!r}; choose one of {', '.join(KERNELS)}")
        path = self._bound_path(args, kwargs)[1]
        path.runs += not path.runs  # a path seen once is interpreted
        run = path.runner(KERNELS[product])
        names = [x.attrs.name for x in run.program.inputs]
        return raw.raw_kernel(run, names, KERNELS[product].split("+"), product)

    def sympy(self, *args: Any, **kwargs: Any) -> Any:
        """SymPy expressions of value, gradient and Hessian, for small functions (see `symhess.explain.Formulas`)."""
        from symhess.explain import formulas

        return formulas(self._traced_path(args, kwargs))

    # -- machinery -------------------------------------------------------------------------------------------------

    def _bound_path(self, args: tuple, kwargs: dict) -> tuple[Bound, Path]:
        """The arrays of a call and the path that they take."""
        bound = bind(args, kwargs, self.options, self.__name__)
        return bound, self._path(bound)

    def _path(self, bound: Bound) -> Path:
        """The traced path that these arguments take."""
        paths = self._paths.get(bound.signature.key)
        if paths is None:
            with self._lock:
                paths = self._paths.setdefault(bound.signature.key, [])
        for path in paths:
            if not path.guards or path.holds(bound):
                path.runs += 1
                return path
        with self._lock:
            for path in paths:  # another thread may have traced it meanwhile
                if path.holds(bound):
                    return path
            native = self._native(bound, paths)
            if native is not None:
                paths[:] = [native]
                return native
            path = pipeline.Path(self.fn, bound, self.options)
            path.native_refusal = paths[-1].native_refusal if paths else None
            if path.guards and self.options.mode == "symbolic":
                raise ConcretizationError(f'{self!r}: control flow depends on values ({path.guards[0].source}), which '
                                          f'mode="symbolic" does not allow; use mode="auto"')
            paths.append(path)
            del paths[:-MAX_PATHS]
        return path

    def _native(self, bound: Bound, paths: list[Path]) -> NativePath | None:
        """The function compiled as it is, where that is asked for, or where paths do not settle and Numba can do it."""
        if self.options.mode == "native":
            return native.started(self.fn, bound, self.options, self.__name__, 'mode="native"')
        if self.options.mode != "auto" or self.options.target != "cpu":
            return None
        if not native.unsettled(paths) or paths[-1].native_refusal is not None:
            return None
        try:
            return native.started(self.fn, bound, self.options, self.__name__,
                           f"control flow took {len(paths)} paths in {len(paths) + sum(p.runs for p in paths)} calls")
        except SymhessError as refusal:
            for path in paths:
                path.native_refusal = str(refusal)
            return None

    def _traced_path(self, args: tuple, kwargs: dict) -> Path:
        """The path as a graph, also where calls are computed in native mode."""
        path = self._bound_path(args, kwargs)[1]
        if not isinstance(path, native.NativePath):
            return path
        if self.options.mode == "native":
            raise path.without_graph()
        return pipeline.Path(self.fn, bind(args, kwargs, self.options, self.__name__), self.options)

    def _known(self, products: tuple[str, ...], args: tuple, kwargs: dict, out: Any) -> Any:
        """The results where a kernel that is there takes the arguments as they are; MISS where none is known to."""
        key, leaves, _ = call_key(products, args, kwargs, self._static, self._kinds)
        known = self._entries.get(key)
        if known is None:
            return MISS
        if known.pending:
            self._answer(products, known)
        return known(leaves, out)

    def _answer(self, products: tuple[str, ...], known: Known) -> None:
        """From now on machine code answers calls like this one."""
        mine = products == HESSIAN or (products == ("csr",) and self.options.sparse)
        called: list[Frameless] = [self] if mine else []
        method = vars(self).get("batch" if products[0] == "batch" else METHODS.get(products, ""))
        if isinstance(method, Frameless):
            called.append(method)
        with self._lock:
            makers, known.pending = known.pending, []
            for maker in makers:
                for one in called:
                    one._add(maker)

    def _compute(self, args: tuple, kwargs: dict, products: tuple[str, ...], out: Any) -> Any:
        """The results of products that one kernel computes: one, or a tuple of them."""
        found = self._known(products, args, kwargs, out)
        return self._resolved(args, kwargs, products, out) if found is MISS else found

    def _resolved(self, args: tuple, kwargs: dict, products: tuple[str, ...], out: Any) -> Any:
        """The same where no kernel is known; `args` end with the vector of a Hessian-vector product."""
        positional = args[:-1] if products == PRODUCT else args
        with patient_collector():  # from the trace to the kernel
            bound, path = self._bound_path(tuple(positional), kwargs)
            arrays = bound.arrays
            if products == PRODUCT:
                leaves = [(x.name, x.shape, x.dtype) for x in path.signature.active]
                arrays = [*arrays, *directions(args[-1], leaves, path)]
            run = path.runner(pipeline.kernel_of(products))
        return self._entry(args, kwargs, path, products, arrays, run, path.results(products), {})(arrays, out)

    def _entry(self, args: tuple, kwargs: dict, path: Path, products: tuple[str, ...], arrays: Sequence[np.ndarray],
               run: Any, found: Sequence[Result], asked: dict[str, str]) -> Entry:
        """The entry of products; kept where the kernel takes the arguments as they are. `asked` are other keywords."""
        key, leaves, fixed = call_key(products, args, kwargs, self._static, self._kinds)
        entry = entry_of(run, found)
        guards = path.guard_runner if path.guards else None
        if key is None or getattr(run, "temporary", False) or (path.guards and guards is None):
            return entry
        if path.guards and any(map(is_device_array, arrays)):  # which the kernel of guards cannot read
            return entry
        kept = taking(guarded(path, guards, entry) if path.guards else entry, leaves, arrays, fixed)
        if kept is not None:
            maker = None
            if getattr(run, "code", None) is not None:
                arguments = answers.arguments_of(products, args, kwargs, arrays, fixed, asked)
                maker = answers.maker_of(path, run, found, arguments, (*kwargs, *asked))
                if fixed and call_key(products, args, kwargs, self._static)[0] != key:
                    maker = None  # a static array that was changed meanwhile
            self._entries.setdefault(key, Known()).add(path, kept, maker)
        return entry


@overload
def hessian_jit(fn: Callable, **options: Unpack[Keywords]) -> HessianFunction: ...
@overload
def hessian_jit(fn: None = None, **options: Unpack[Keywords]) -> Callable[[Callable], HessianFunction]: ...
def hessian_jit(fn: Callable | None = None, *, argnums: int | Sequence[int] = 0,
                static_argnums: int | Sequence[int] = (), static_argnames: str | Sequence[str] = (),
                sparse: bool = False, dtype: Any = None, mode: str = "auto", parallel: bool = False,
                cache: bool | str | os.PathLike = False, fastmath: bool = False,
                memory_budget: float | None = None, compile: str = "now", target: str = "cpu") -> Any:
    """Compile the Hessian of a function of NumPy arrays that returns one number.

    Args:
        fn: the function, ordinary NumPy code. Arrays that it closes over are read once, when it is traced.
        argnums: which positional arguments to differentiate (arrays, numbers or pytrees of them).
        static_argnums, static_argnames: arguments handed to `fn` as they are; a new value compiles anew.
        sparse: calling returns a scipy CSR array.
        dtype: float32 or float64; differentiated inputs are converted to it. Default: their own dtype, integers
            become float64.
        mode: "symbolic" (compiled, no control flow on values), "autograd" (interpreted with NumPy, nothing is
            compiled), "native" (the function itself compiled by Numba over numbers with derivatives, loops and branches
            included), "auto" (compiled; where control flow depends on values, one kernel per path taken, or native
            code where nearly every call takes a new path).
        parallel: use several threads for large loops.
        cache: True, or a directory, keeps compiled kernels on disk.
        fastmath: allow reordering of floating-point sums and products.
        memory_budget: bytes that a dense result may take; default half of the memory.
        compile: "now", before the first result, or "background": the first calls are interpreted with NumPy while a
            thread compiles.
        target: "cpu", or "cuda" for NVIDIA GPUs: NumPy arrays in, NumPy arrays out, and device arrays (CuPy, PyTorch,
            Numba) in, the same kind out. See docs/cuda.md.

    Returns:
        A HessianFunction: calling it returns the Hessian; `.value .grad .value_and_grad .value_grad_hessian .hvp
        .sparse .sparsity .diagonal .batch .flat .explain .graph .source .sympy` are its other products.

    Raises:
        NonScalarOutput: the function does not return one number.
        UnsupportedOperation: it uses an operation without a rule (named, with the source line).
        BudgetExceeded: a dense result would not fit.
        TargetUnavailable: with target="cuda", the package, its compiler, the driver or a device is missing.

    Example:
        >>> import numpy as np
        >>> from symhess import hessian_jit
        >>> @hessian_jit
        ... def f(x):
        ...     return np.sum(100 * (x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)
        >>> f(np.array([1.0, 1.0]))
        array([[ 802., -400.],
               [-400.,  200.]])
    """
    if fn is None:
        keywords = {k: v for k, v in locals().items() if k != "fn"}
        return functools.partial(hessian_jit, **keywords)
    wanted = as_integers(argnums, "argnums")
    argnums = wanted[0] if is_one_number(argnums) else wanted
    nums = as_integers(static_argnums, "static_argnums")
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    if not callable(fn):
        raise TypeError(f"hessian_jit needs a function, got {type(fn).__name__}")
    return HessianFunction(fn, Options(argnums, nums, names, sparse, dtype, mode, parallel, cache, fastmath,
                                       memory_budget, compile, target))


# -- small helpers -------------------------------------------------------------------------------------------------


def _empty_caches() -> Caches:
    return {}, {}, threading.RLock()


def _rebuilt(fn: Callable, options: Options) -> HessianFunction:
    return HessianFunction(fn, options)



