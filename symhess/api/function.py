"""`hessian_jit`: the object behind the decorator, with every product of a function and its first two derivatives."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.api import inline
from symhess.api.arguments import Bound, Options, as_integers, bind, checked, is_one_number
from symhess.api.kernels import runner
from symhess.api.pipeline import Path
from symhess.errors import ConcretizationError, DTypeMismatch, ShapeMismatch
from symhess.graph.pytrees import flatten, unflatten
from symhess.plan.assembly import CsrLayout, spmatrix
from symhess.trace import is_traced
from symhess.trace.tracing import name_of

if TYPE_CHECKING:
    import scipy.sparse

#: compiled paths kept per signature of a function whose control flow depends on values
MAX_PATHS = 64
#: paths by signature, paths by the plain arrays they were called with, and the lock of both
Caches = tuple[dict[tuple, list[Path]], dict[tuple, Path], threading.RLock]


class HessianFunction:
    """A function whose Hessian is compiled. Calling it returns the Hessian; see `hessian_jit` for the options.

    All methods take the arguments of the decorated function. n is the total size of the differentiated inputs.
    """

    def __init__(self, fn: Callable, options: Options):
        functools.update_wrapper(self, fn)
        self.__name__ = getattr(fn, "__name__", None) or name_of(fn)
        self.fn, self.options = fn, checked(options, fn)
        self._caches = self._paths, self._direct, self._lock = _empty_caches()
        self._attribute: str | None = None
        self._instances: dict[int, Caches] = {}

    def __repr__(self) -> str:
        return f"<hessian_jit {self.__name__}>"

    def __set_name__(self, owner: type, name: str) -> None:
        self._attribute = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Decorating a method: the instance is static, its attributes are read once, when the method is traced."""
        if instance is None:
            return self
        made = HessianFunction(functools.partial(self.fn, instance), self.options)
        made.__name__, made._attribute = self.__name__, self._attribute
        made._caches = made._paths, made._direct, made._lock = self._caches_of(instance)
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
        if _lookup(module, name) is self:
            return name
        return (_rebuilt, (self.fn, self.options))

    # -- the Hessian -----------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """The Hessian: an array of shape S + S for one array input of shape S, nested blocks H[i][j] otherwise.

        With `sparse=True` in the decorator, the same as `.sparse`. `out` receives the result: an array, or a pytree of
        arrays for nested blocks.
        """
        if _any_traced(args, kwargs):
            return inline.hessian(self.fn, args, kwargs, self.options.argnums)
        if self.options.sparse:
            return self.sparse(*args, out=out, **kwargs)
        bound, path = self._bound_path(args, kwargs)
        shape = path.single_shape
        if shape is not None:
            flat = None if out is None else _checked_out(out, shape + shape, path.dtype).reshape(path.size, path.size)
            return self._run(path, "hessian", bound, flat)[0].reshape(shape + shape)
        blocks = _split_blocks(self._run(path, "hessian", bound)[0], [x.shape for x in path.signature.active])
        return _into(out, _nested(path.signature.active_spec, blocks))

    def flat(self, *args: Any, out: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """The Hessian as one (n, n) array over the concatenation of the differentiated inputs, each in C order."""
        if _any_traced(args, kwargs):
            return inline.flat_hessian(self.fn, args, kwargs, self.options.argnums)
        bound, path = self._bound_path(args, kwargs)
        if out is not None:
            out = _checked_out(out, (path.size, path.size), path.dtype)
        return self._run(path, "hessian", bound, out)[0]

    def sparse(self, *args: Any, out: scipy.sparse.csr_array | None = None, triangle: str = "both",
               **kwargs: Any) -> scipy.sparse.csr_array:
        """The Hessian as an (n, n) scipy CSR array, both triangles or the lower one (`triangle="lower"`).

        `out`, a result of an earlier call, has its values overwritten. The index arrays are shared by all results, and
        so they are read-only (what changes them in place, such as `eliminate_zeros`, needs a copy).
        """
        if triangle not in ("both", "lower"):
            raise ValueError(f'triangle={triangle!r}; choose "both" or "lower"')
        bound, path = self._bound_path(args, kwargs)
        layout = path.csr(triangle == "lower")
        data = None
        if out is not None:
            _check_structure(out, layout)
            data = _checked_out(out.data, (layout.nnz,), path.dtype)
        values = self._run(path, "csr_lower" if triangle == "lower" else "csr", bound, data)[0]
        return out if out is not None else spmatrix(layout, values)

    def sparsity(self, *args: Any, **kwargs: Any) -> scipy.sparse.csr_array:
        """The (n, n) pattern of possible non-zeros as a CSR array of bools, without evaluating anything."""
        return self._bound_path(args, kwargs)[1].sparsity.copy()

    def diagonal(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """The diagonal of the Hessian, in the shape(s) of the differentiated inputs."""
        if _any_traced(args, kwargs):
            return inline.diagonal(self.fn, args, kwargs, self.options.argnums)
        bound, path = self._bound_path(args, kwargs)
        flat = self._run(path, "diagonal", bound)[0]
        return _into(out, self._like_active(path, _split(flat, [x.shape for x in path.signature.active])))

    # -- lower derivatives and combinations ------------------------------------------------------------------------

    def value(self, *args: Any, **kwargs: Any) -> Any:
        """The function's own value."""
        if _any_traced(args, kwargs):
            return self.fn(*args, **kwargs)
        bound, path = self._bound_path(args, kwargs)
        return self._value(path, self._run(path, "value", bound))

    def grad(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """The gradient, in the shape(s) of the differentiated inputs."""
        if _any_traced(args, kwargs):
            return inline.gradient(self.fn, args, kwargs, self.options.argnums)[1]
        bound, path = self._bound_path(args, kwargs)
        _ = path.output
        return self._like_active(path, self._run(path, "grad", bound, *_grad_buffers(out, path)))

    def value_and_grad(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """(value, gradient) from one kernel."""
        if _any_traced(args, kwargs):
            return inline.gradient(self.fn, args, kwargs, self.options.argnums)[:2]
        bound, path = self._bound_path(args, kwargs)
        _ = path.output
        value, *grads = self._run(path, "value+grad", bound)
        return self._value(path, [value]), self._like_active(path, grads)

    def value_grad_hessian(self, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        """(value, gradient, Hessian) from one kernel that shares all common work."""
        if _any_traced(args, kwargs):
            return (*self.value_and_grad(*args, **kwargs), self(*args, **kwargs))
        bound, path = self._bound_path(args, kwargs)
        shapes = [x.shape for x in path.signature.active]
        product = "value+grad+csr" if self.options.sparse else "value+grad+hessian"
        value, *grads, hess = self._run(path, product, bound)
        if self.options.sparse:
            result: Any = spmatrix(path.csr(False), hess)
        elif path.single_shape is not None:
            result = hess.reshape(shapes[0] + shapes[0])
        else:
            result = _nested(path.signature.active_spec, _split_blocks(hess, shapes))
        return self._value(path, [value]), self._like_active(path, grads), result

    def hvp(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """The product H v without forming H: `f.hvp(*args, v)`, v in the shape(s) of the differentiated inputs."""
        if len(args) < 2:
            raise TypeError(f"{self.__name__}.hvp takes the arguments of {self.__name__} and then the vector v, it was "
                            f"called with {len(args)} positional arguments")
        *args, v = args
        if _any_traced(args, kwargs) or is_traced(v):
            return inline.hvp(self.fn, tuple(args), kwargs, self.options.argnums, v)
        bound, path = self._bound_path(tuple(args), kwargs)
        directions = _directions(v, path)
        run = path.product("hvp", lambda: runner(path.hvp_program(), self.options))
        return self._like_active(path, _run_into(run, [*bound.arrays, *directions], _grad_buffers(out, path)))

    # -- batches ---------------------------------------------------------------------------------------------------

    def batch(self, *args: Any, out: np.ndarray | None = None, product: str = "hessian", **kwargs: Any) -> Any:
        """A Hessian for every row: the differentiated inputs carry a leading batch axis, data arguments do not.

        Returns (B, *S, *S) for one array input of shape (B, *S), nested blocks with a leading axis B otherwise.
        `product` may also be "value", "grad" or "diagonal".
        """
        bound, size = self._batch_of(args, kwargs)
        path = self._path(self._row(bound, 0))
        if product not in ("hessian", "value", "grad", "diagonal"):
            raise ValueError(f"batch: no product {product!r}")
        shapes = [x.shape for x in path.signature.active]
        n = path.size
        single = path.single_shape is not None
        if path.guards:
            results = self._row_by_row(bound, size, product)
        else:
            run = path.product(("batch", product, size), lambda: runner(path.batched(product, size), self.options))
            if product == "hessian" and out is not None and single:
                flat = _checked_out(out, (size, *shapes[0], *shapes[0]), path.dtype).reshape(size, n, n)
                return run(bound.arrays, [flat])[0].reshape(out.shape)
            results = run(bound.arrays, None)
        if product == "value":
            return results[0]
        if product == "grad":
            return _into(out, self._like_active(path, results))
        if product == "diagonal":
            return _into(out, self._like_active(path, _split(results[0], shapes)))
        if single:
            return _into(out, results[0].reshape(size, *shapes[0], *shapes[0]))
        return _into(out, _nested(path.signature.active_spec, _split_blocks(results[0], shapes)))

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

    def _row_by_row(self, bound: Bound, size: int, product: str) -> list[np.ndarray]:
        """Every row on the path that its own values lead to."""
        rows = [self._row(bound, k) for k in range(size)]
        return [np.stack(parts) for parts in zip(*(self._run(self._path(r), product, r) for r in rows))]

    # -- inspection ------------------------------------------------------------------------------------------------

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """What was found and what was chosen: structure of the Hessian, Terms, plan, compile times. For a person."""
        from symhess.explain import explain

        path = self._bound_path(args, kwargs)[1]
        return explain(self.__name__, path, path.runner("csr" if self.options.sparse or path.is_sparse else "hessian"))

    def graph(self, *args: Any, **kwargs: Any) -> Any:
        """The traced graph of the value (print it to read it)."""
        return self._bound_path(args, kwargs)[1].graph()

    def source(self, *args: Any, product: str = "hessian", **kwargs: Any) -> str:
        """The generated source of the kernel that computes a product ("value", "grad", "hessian", "csr", ...)."""
        return self._bound_path(args, kwargs)[1].runner(product).source

    def sympy(self, *args: Any, **kwargs: Any) -> Any:
        """SymPy expressions of value, gradient and Hessian, for small functions (see `symhess.explain.Formulas`)."""
        from symhess.explain import formulas

        return formulas(self._bound_path(args, kwargs)[1])

    # -- machinery -------------------------------------------------------------------------------------------------

    def _bound_path(self, args: tuple, kwargs: dict) -> tuple[Bound | Direct, Path]:
        """The arrays of a call and the path that they take; plain arrays seen before skip all the bookkeeping."""
        key = None if kwargs else _plain_arrays(args)
        known = self._direct.get(key) if key is not None else None
        if known is not None:
            return Direct(args), known
        bound = bind(args, kwargs, self.options, self.__name__)
        path = self._path(bound)
        if key is not None and not path.guards and _taken_as_they_are(args, bound):
            self._direct[key] = path
        return bound, path

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
            path = Path(self.fn, bound, self.options)
            if path.guards and self.options.mode == "symbolic":
                raise ConcretizationError(f'{self!r}: control flow depends on values ({path.guards[0].source}), which '
                                          f'mode="symbolic" does not allow; use mode="auto"')
            paths.append(path)
            del paths[:-MAX_PATHS]
        return path

    def _run(self, path: Path, product: str, bound: Bound, *out: np.ndarray | None) -> list[np.ndarray]:
        return _run_into(path.runner(product), bound.arrays, [o for o in out if o is not None])

    def _value(self, path: Path, arrays: Sequence[np.ndarray]) -> Any:
        return path.rebuilt_outputs([a[()] if a.ndim == 0 else a for a in arrays])

    def _like_active(self, path: Path, arrays: Sequence[np.ndarray]) -> Any:
        return unflatten(path.signature.active_spec, list(arrays))


def hessian_jit(fn: Callable | None = None, *, argnums: int | Sequence[int] = 0,
                static_argnums: int | Sequence[int] = (), static_argnames: str | Sequence[str] = (),
                sparse: bool = False, dtype: Any = None, mode: str = "auto", parallel: bool = False,
                cache: bool | str = False, fastmath: bool = False, memory_budget: int | None = None) -> Any:
    """Compile the Hessian of a function of NumPy arrays that returns one number.

    Args:
        fn: the function, ordinary NumPy code. Arrays that it closes over are read once, when it is traced.
        argnums: which positional arguments to differentiate (arrays, numbers or pytrees of them).
        static_argnums, static_argnames: arguments handed to `fn` as they are; a new value compiles anew.
        sparse: calling returns a scipy CSR array.
        dtype: float32 or float64; differentiated inputs are converted to it. Default: their own dtype, integers
            become float64.
        mode: "symbolic" (compiled, no control flow on values), "autograd" (interpreted with NumPy, nothing is
            compiled), "auto" (compiled; where control flow depends on values, one kernel per path taken).
        parallel: use several threads for large loops.
        cache: True, or a directory, keeps compiled kernels on disk.
        fastmath: allow reordering of floating-point sums and products.
        memory_budget: bytes that a dense result may take; default half of the memory.

    Returns:
        A HessianFunction: calling it returns the Hessian; `.value .grad .value_and_grad .value_grad_hessian .hvp
        .sparse .sparsity .diagonal .batch .flat .explain .graph .source .sympy` are its other products.

    Raises:
        NonScalarOutput: the function does not return one number.
        UnsupportedOperation: it uses an operation without a rule (named, with the source line).
        BudgetExceeded: a dense result would not fit.

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
                                       memory_budget))


# -- small helpers -------------------------------------------------------------------------------------------------


class Direct:
    """The arguments of a call that need no preparation."""

    __slots__ = ("arrays",)

    def __init__(self, arrays: Sequence[np.ndarray]):
        self.arrays = arrays


def _plain_arrays(args: Sequence[Any]) -> tuple | None:
    """Shapes and dtypes of arguments that are all C-contiguous NumPy arrays, or None."""
    key: list[Any] = []
    for a in args:
        if type(a) is not np.ndarray or not a.flags.c_contiguous or not a.flags.aligned or not a.dtype.isnative:
            return None
        key += (a.shape, a.dtype.num)
    return tuple(key)


def _taken_as_they_are(args: Sequence[np.ndarray], bound: Bound) -> bool:
    return len(args) == len(bound.arrays) and all(a is b for a, b in zip(args, bound.arrays))


def _any_traced(args: Sequence[Any], kwargs: dict) -> bool:
    if all(type(a) is np.ndarray for a in args) and not kwargs:
        return False
    return any(is_traced(x) for x in flatten((tuple(args), kwargs))[0])


def _checked_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
        got = f"{out.dtype} array of shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ShapeMismatch(f"out must be a {dtype} array of shape {shape}, got {got}")
    if not out.flags.carray:
        raise ShapeMismatch("out must be C-contiguous, aligned and writeable")
    return out


def _check_structure(out: Any, layout: CsrLayout) -> None:
    """A CSR array is only written into where its index arrays are those of the Hessian."""
    if getattr(out, "format", None) != "csr" or out.shape != (layout.n, layout.n) or out.nnz != layout.nnz:
        got = f"a {out.format} array of shape {out.shape} with {out.nnz} entries" if hasattr(out, "format") else (
            type(out).__name__)
        raise ShapeMismatch(f"out must be a CSR array of shape {(layout.n, layout.n)} with {layout.nnz} entries, "
                            f"got {got}; pass a result of an earlier call")
    same = all(a is b or np.array_equal(a, b) for a, b in
               ((out.indices, layout.indices), (out.indptr, layout.indptr)))
    if not same:
        raise ShapeMismatch("out has its entries in other places than the Hessian; pass a result of an earlier call")


def _run_into(run: Any, arrays: Sequence[np.ndarray], buffers: list[np.ndarray]) -> list[np.ndarray]:
    """Run a kernel; buffers that share memory with its inputs are written only after it has read them."""
    if not any(np.may_share_memory(b, a) for b in buffers for a in arrays):
        return run(arrays, buffers or None)
    for buffer, result in zip(buffers, run(arrays, None)):
        buffer[...] = result
    return buffers


def _into(out: Any, result: Any) -> Any:
    """Copy a pytree of results into a pytree of arrays given by the user."""
    if out is None:
        return result
    targets, spec = flatten(out)
    values, result_spec = flatten(result)
    if spec != result_spec:
        raise ShapeMismatch(f"out has structure {spec}, the result {result_spec}")
    for target, value in zip(targets, values):
        _checked_out(target, value.shape, value.dtype)
    for target, value in zip(targets, values):
        target[...] = value
    return out


def _grad_buffers(out: Any, path: Path) -> list[np.ndarray]:
    if out is None:
        return []
    leaves, spec = flatten(out)
    if spec != path.signature.active_spec:
        raise ShapeMismatch(f"out has structure {spec}, the differentiated input {path.signature.active_spec}")
    return [_checked_out(o, g.shape, g.dtype) for o, g in zip(leaves, path.gradient)]


def _directions(v: Any, path: Path) -> list[np.ndarray]:
    leaves, spec = flatten(v)
    if spec != path.signature.active_spec:
        raise ShapeMismatch(f"v has structure {spec}, the differentiated input {path.signature.active_spec}")
    for d, x in zip(leaves, path.signature.active):
        if np.shape(d) != x.shape:
            raise ShapeMismatch(f"v has shape {np.shape(d)} where {x.name} has shape {x.shape}")
        if np.asarray(d).dtype.kind not in "fiub":
            raise DTypeMismatch(f"v has dtype {np.asarray(d).dtype}; pass real numbers")
    return [np.ascontiguousarray(d, x.dtype).reshape(x.shape) for d, x in zip(leaves, path.signature.active)]


def _split(flat: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """The last axis cut into arrays of the given shapes."""
    ends = np.cumsum([math.prod(s) for s in shapes])
    return [part.reshape(part.shape[:-1] + s) for part, s in zip(np.split(flat, ends[:-1], axis=-1), shapes)]


def _split_blocks(flat: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[list[np.ndarray]]:
    """H[i][j] of shape (..., *S_i, *S_j) from the (..., n, n) matrix."""
    ends = np.cumsum([math.prod(s) for s in shapes])[:-1]
    lead = flat.shape[:-2]
    return [[block.reshape(lead + si + sj) for block, sj in zip(np.split(rows, ends, axis=-1), shapes)]
            for rows, si in zip(np.split(flat, ends, axis=-2), shapes)]


def _nested(spec: Any, blocks: list[list[np.ndarray]]) -> Any:
    return unflatten(spec, [unflatten(spec, row) for row in blocks])


def _empty_caches() -> Caches:
    return {}, {}, threading.RLock()


def _lookup(module: str | None, name: str | None) -> Any:
    import sys

    found: Any = sys.modules.get(module or "")
    for part in (name or "").split("."):
        found = getattr(found, part, None)
    return found


def _rebuilt(fn: Callable, options: Options) -> HessianFunction:
    return HessianFunction(fn, options)



