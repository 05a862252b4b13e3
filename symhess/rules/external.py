"""`external`: code that symhess cannot look into, with derivatives that the user supplies.

    value     y = f(x)            O
    gradient  dy/dx               O + S           O: shape of y, S: shape of x, laid end to end over several arguments
    Hessian   d2y/dx2             O + S + S       or its products with a vector, or its entries at given places

Each is an operation of its own, called with numbers when it is needed; the rule of each is a product with the next.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.errors import DTypeMismatch, NotDifferentiable, ShapeMismatch
from symhess.graph.maps import table_map
from symhess.graph.node import Node
from symhess.graph.pytrees import flatten
from symhess.primitives import (
    apply,
    broadcast_to,
    cast,
    concatenate,
    contract,
    index,
    reshape,
    scatter,
    slice_axis,
    zeros,
)
from symhess.rules.arguments import Arguments, UserFunction
from symhess.rules.operation import Kind, Operation, broadcasts_to
from symhess.trace import Tracer
from symhess.trace.session import current_session, here
from symhess.trace.tracing import name_of
from symhess.trace.ufuncs import align

Shape = tuple[int, ...]


def external(fn: Callable | None = None, *, grad: Callable | None = None, hess: Callable | None = None,
             hvp: Callable | None = None, shape: Shape | int | None = (), dtype: Any = np.float64,
             elementwise: bool = False, sparsity: Any = None, nondiff_argnums: int | Sequence[int] = (),
             threadsafe: bool = False) -> Any:
    """Use code that symhess cannot trace (compiled code, tables, solvers) with derivatives that you supply.

    Args:
        fn: `fn(*args)`, called with plain arrays and numbers (copies, its to keep); returns an array of `shape`.
        grad: `grad(*args)`: an array of shape `shape` + S for one differentiated argument of shape S (the Jacobian,
            where the value is an array); a tuple of such arrays for several.
        hess: `hess(*args)`: an array of shape `shape` + S + S; a tuple of tuples H[i][j] for several arguments.
        hvp: `hvp(*args, v)`, instead of hess where the value is one number: the product of the Hessian with v, which
            has the form of the differentiated argument(s), and so the result.
        shape, dtype: of the value. dtype is float64 or float32.
        elementwise: the value has the broadcast shape of the arguments, and each element depends on the elements at
            its place alone; grad and hess return arrays of that shape. The Jacobian stays diagonal.
        sparsity: an (n, n) pattern (boolean array or SciPy sparse array, n the size of the differentiated arguments)
            outside of which the Hessian of a single number is zero; hess may then return a SciPy sparse array.
        nondiff_argnums: positions of arguments by which there is no derivative.
        threadsafe: call it from several threads at once; by default one call at a time.

    Returns:
        The function. In compiled functions the calls are made before the kernel that needs their values; exceptions
        pass through unchanged.

    Raises:
        NotDifferentiable: a derivative is needed that was not supplied; the third, always.
        ShapeMismatch, DTypeMismatch: at a call that returns something else than was announced.

    Example:
        >>> import math, numpy as np, symhess
        >>> sine = symhess.external(lambda x: math.sin(x), grad=lambda x: math.cos(x), hess=lambda x: -math.sin(x))
        >>> symhess.hessian_jit(lambda x: sine(x[0]) * x[1])(np.array([0.0, 2.0]))
        array([[-0.,  1.],
               [ 1.,  0.]])
    """
    options = {k: v for k, v in locals().items() if k != "fn"}
    if fn is None:
        return lambda f: external(f, **options)
    return ExternalFunction(fn, **options)


class ExternalFunction(UserFunction):
    """Code that symhess cannot look into; see `external`."""

    defaults = False

    def __init__(self, fn: Callable, grad: Callable | None, hess: Callable | None, hvp: Callable | None,
                 shape: Shape | int | None, dtype: Any, elementwise: bool, sparsity: Any,
                 nondiff_argnums: int | Sequence[int], threadsafe: bool):
        self.options = {"grad": grad, "hess": hess, "hvp": hvp, "shape": shape, "dtype": dtype, "sparsity": sparsity,
                        "elementwise": elementwise, "nondiff_argnums": nondiff_argnums, "threadsafe": threadsafe}
        self.fn, self.grad, self.hess, self.hvp = fn, grad, hess, hvp
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape or ())
        self.dtype, self.elementwise = np.dtype(dtype), elementwise
        self.nondiff_argnums = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
        self.__name__, self.__doc__ = name_of(fn), fn.__doc__
        self.pattern = None if sparsity is None else _pattern(sparsity, self.__name__)
        self._lock: Any = contextlib.nullcontext() if threadsafe else threading.RLock()
        if self.dtype not in (np.float32, np.float64):
            raise DTypeMismatch(f"external {self.__name__}: dtype={dtype!r}; values are float64 or float32")
        if hess is not None and hvp is not None:
            raise TypeError(f"external {self.__name__}: give hess or hvp, not both")
        if (hvp is not None or sparsity is not None) and (self.shape or elementwise):
            raise TypeError(f"external {self.__name__}: hvp and sparsity are for functions that return one number")

    def __repr__(self) -> str:
        return f"<external {self.__name__}>"

    def recipe(self) -> tuple:
        """How to make it again."""
        return (_rebuilt, (self.fn, self.options))

    def traced(self, given: Arguments) -> Any:
        """The value, by operations that call the code."""
        session = current_session()
        key = (self, given.key)
        if key not in session.shared:
            session.shared[key] = Levels(self, given)
        return Tracer(session.shared[key].value(given.actual)[0], session)

    def called(self, callback: Callable, args: tuple, kwargs: dict) -> Any:
        """What the user's code returns; exceptions pass through."""
        with self._lock:
            return callback(*args, **kwargs)


def _rebuilt(fn: Callable, options: dict[str, Any]) -> ExternalFunction:
    return ExternalFunction(fn, **options)


def _pattern(sparsity: Any, name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows and columns of a pattern, and its size."""
    import scipy.sparse

    found = scipy.sparse.coo_array(sparsity)
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise ShapeMismatch(f"external {name}: sparsity has shape {found.shape}, a Hessian's pattern is square")
    flat = np.unique(found.coords[0].astype(np.int64) * found.shape[0] + found.coords[1])
    return flat // found.shape[0], flat % found.shape[0], found.shape[0]


class Levels:
    """Value, gradient and Hessian of external code at one kind of arguments, each an operation."""

    def __init__(self, code: ExternalFunction, given: Arguments):
        self.code, self.given, self.name = code, given, code.__name__
        self.kinds = [Kind.of(n) for n in given.actual]
        self.active = [k for k, (kind, owner) in enumerate(zip(self.kinds, given.owners)) if kind.dtype.kind == "f"
                       and owner is not None and owner not in code.nondiff_argnums]
        self.sizes = [math.prod(self.kinds[k].shape) for k in self.active]
        self.n = len(self.active) if code.elementwise else sum(self.sizes)
        self.out = np.broadcast_shapes(*(k.shape for k in self.kinds)) if code.elementwise else code.shape
        if code.pattern is not None and code.pattern[2] != self.n:
            raise ShapeMismatch(f"external {self.name}: sparsity is of {code.pattern[2]} variables, the differentiated "
                                f"arguments have {self.n}{here()}")
        refused = {k: f"external {self.name} has no derivative by its argument {given.owners[k]}; pass "
                   "symhess.stop_gradient of it" for k in range(len(self.kinds)) if k not in self.active}
        made = lambda kinds, shape, forward, call: Operation(
            self.name, kinds, [Kind(shape, code.dtype)], forward=forward, call=call, refused=refused)
        lead, tail = ((self.n,), self.out) if code.elementwise else (self.out, (self.n,))
        second = (len(code.pattern[0]),) if code.pattern is not None else (
            (self.n, self.n, *self.out) if code.elementwise else (*self.out, self.n, self.n))
        self.value = made(self.kinds, self.out, self.value_forward, self.call_value)
        self.gradient = made(self.kinds, lead + tail, self.gradient_forward, self.call_gradient)
        self.hessian = made(self.kinds, second, self.hessian_forward, self.call_hessian)
        self.product = made([*self.kinds, Kind((self.n,), code.dtype)], (self.n,), self.product_forward,
                            self.call_product)

    # -- rules -------------------------------------------------------------------------------------------------

    def value_forward(self, points: Sequence[Node], dots: Sequence[Node | None]) -> list[Node]:
        """dy = G dx."""
        if self.code.grad is None:
            raise NotDifferentiable(f"external {self.name} has no derivative: give grad=")
        (g,) = self.gradient(points)
        if self.code.elementwise:
            return [self.weighted(g, dots)]
        return [self.times(g, self.direction(dots))]

    def gradient_forward(self, points: Sequence[Node], dots: Sequence[Node | None]) -> list[Node]:
        """dG = H dx."""
        if self.code.hvp is not None:
            return self.product([*points, self.direction(dots)])
        if self.code.hess is None:
            raise NotDifferentiable(f"external {self.name} has no second derivative: give hess=, or hvp=")
        (h,) = self.hessian(points)
        if self.code.elementwise:
            rows = [self.weighted(reshape(slice_axis(h, 0, i, 1, 1), h.shape[1:]), dots) for i in range(self.n)]
            return [concatenate([reshape(r, (1, *r.shape)) for r in rows], 0)]
        if self.code.pattern is not None:
            return [self.sparse_product(h, self.direction(dots))]
        return [self.times(h, self.direction(dots))]

    def hessian_forward(self, points: Sequence[Node], dots: Sequence[Node | None]) -> list[Node]:
        """There is no third derivative."""
        raise NotDifferentiable(f"external {self.name} has a gradient and a Hessian; a third derivative was asked for")

    def product_forward(self, points: Sequence[Node], dots: Sequence[Node | None]) -> list[Node]:
        """d(H v) = H dv; H itself does not move."""
        if any(d is not None for d in dots[:-1]):
            self.hessian_forward(points, dots)
        return self.product([*points[:-1], dots[-1]])

    def direction(self, dots: Sequence[Node | None]) -> Node:
        """The tangents of the differentiated arguments laid end to end."""
        parts = []
        for k, size in zip(self.active, self.sizes):
            d = dots[k]
            parts.append(zeros((size,), self.code.dtype) if d is None else cast(reshape(d, (size,)), self.code.dtype))
        return concatenate(parts, 0)

    def times(self, matrix: Node, v: Node) -> Node:
        """sum_e M[..., e] v[e]."""
        labels = tuple(range(matrix.ndim))
        return contract([(matrix, labels), (v, labels[-1:])], labels[:-1], dict(zip(labels, matrix.shape)))

    def weighted(self, partials: Node, dots: Sequence[Node | None]) -> Node:
        """sum_i p_i dx_i, element by element; p_i lie along the first axis."""
        total = zeros(self.out, self.code.dtype)
        for i, k in enumerate(self.active):
            if dots[k] is not None:
                p = reshape(slice_axis(partials, 0, i, 1, 1), partials.shape[1:])
                part = apply("mul", *align([p, cast(dots[k], self.code.dtype)]))
                total = apply("add", total, broadcast_to(part, self.out))
        return total

    def sparse_product(self, entries: Node, v: Node) -> Node:
        """sum_k h_k v[cols_k] at rows_k."""
        rows, cols, n = self.code.pattern
        box = entries.shape
        moved = apply("mul", entries, index(v, (table_map(cols, box),), box))
        return scatter(moved, (table_map(rows, box),), (n,))

    # -- values ------------------------------------------------------------------------------------------------

    def numbers(self, arrays: Sequence[np.ndarray]) -> tuple[tuple, dict]:
        """The user's arguments: copies of arrays, and numbers."""
        return self.given.rebuilt([a.copy()[()] for a in arrays[:len(self.kinds)]])

    def call_value(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """f(x), checked."""
        return self.checked(self.code.called(self.code.fn, *self.numbers(arrays)), self.out, "the value")

    def call_gradient(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """dy/dx, the differentiated arguments laid end to end (elementwise: along the first axis)."""
        parts = self.parts(self.code.called(self.code.grad, *self.numbers(arrays)), len(self.active), "grad")
        if self.code.elementwise:
            return np.stack([self.checked(p, self.out, "grad") for p in parts])
        found = [self.checked(p, self.out + self.kinds[k].shape, "grad").reshape(*self.out, size)
                 for p, k, size in zip(parts, self.active, self.sizes)]
        return np.concatenate(found, axis=-1)

    def call_hessian(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """d2y/dx2, laid end to end twice; its entries where a pattern was given."""
        found = self.code.called(self.code.hess, *self.numbers(arrays))
        if self.code.pattern is not None:
            return self.entries(found)
        m = len(self.active)
        parts = self.parts(found, m * m, "hess")
        if self.code.elementwise:
            return np.stack([self.checked(p, self.out, "hess") for p in parts]).reshape(m, m, *self.out)
        rows = []
        for i, a in enumerate(self.active):
            blocks = [self.checked(parts[i * m + j], self.out + self.kinds[a].shape + self.kinds[b].shape, "hess")
                      .reshape(*self.out, self.sizes[i], self.sizes[j]) for j, b in enumerate(self.active)]
            rows.append(np.concatenate(blocks, axis=-1))
        return np.concatenate(rows, axis=-2)

    def call_product(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """H v."""
        v, given = arrays[-1], []
        for end, k, size in zip(np.cumsum(self.sizes), self.active, self.sizes):
            given.append(v[end - size:end].reshape(self.kinds[k].shape).copy()[()])
        args, kwargs = self.numbers(arrays)
        found = self.code.called(self.code.hvp, (*args, given[0] if len(given) == 1 else tuple(given)), kwargs)
        parts = self.parts(found, len(self.active), "hvp")
        return np.concatenate([self.checked(p, self.kinds[k].shape, "hvp").reshape(-1)
                               for p, k in zip(parts, self.active)])

    def entries(self, found: Any) -> np.ndarray:
        """The entries of a matrix at the places of the pattern; there must be none elsewhere."""
        import scipy.sparse

        rows, cols, n = self.code.pattern
        if not scipy.sparse.issparse(found):
            parts = self.parts(found, 1, "hess")
            found = self.checked(np.asarray(parts[0]).reshape(np.shape(parts[0])), np.shape(parts[0]), "hess")
            found = found.reshape(n, n) if found.size == n * n else found
        matrix = scipy.sparse.csr_array(found)
        if matrix.shape != (n, n):
            raise ShapeMismatch(f"external {self.name}: hess returned shape {matrix.shape}, expected {(n, n)}")
        inside = scipy.sparse.csr_array((np.ones(len(rows)), (rows, cols)), (n, n))
        outside = matrix - matrix.multiply(inside)
        if outside.count_nonzero():
            row, col = (c[0] for c in outside.nonzero())
            raise ShapeMismatch(f"external {self.name}: hess has an entry at ({row}, {col}), outside of its sparsity")
        return np.asarray(matrix[rows, cols], self.code.dtype).reshape(len(rows))

    def parts(self, found: Any, count: int, what: str) -> list[Any]:
        """The arrays that a callback returned, one per differentiated argument (or pair of them)."""
        leaves = [found] if count == 1 and not isinstance(found, tuple | list | dict) else flatten(found)[0]
        if len(leaves) != count:
            raise ShapeMismatch(f"external {self.name}: {what} returned {len(leaves)} arrays, expected {count} for "
                                f"{len(self.active)} differentiated arguments")
        return leaves

    def checked(self, value: Any, shape: Shape, what: str) -> np.ndarray:
        """The user's result as an array of the announced shape and dtype."""
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise DTypeMismatch(f"external {self.name}: {what} returned dtype {array.dtype}, expected real numbers")
        fits = array.shape == shape or (self.code.elementwise and broadcasts_to(array.shape, shape))
        if not fits:
            raise ShapeMismatch(f"external {self.name}: {what} returned shape {array.shape}, expected {shape}")
        return np.broadcast_to(array, shape).astype(self.code.dtype)
