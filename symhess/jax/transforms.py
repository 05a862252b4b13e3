"""Derivatives of functions written in jax.numpy, with JAX's conventions: functions in, functions out.

Each call looks at the function anew, as JAX does: what it closes over may change in between. What was compiled is used
again as long as the jaxpr is the same, other arrays of the same shapes that it closes over included.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from symhess.api import transforms
from symhess.api.arguments import is_one_number, normalized_argnums
from symhess.errors import AuxiliaryMissing, DTypeMismatch, NonScalarOutput, ShapeMismatch, UnsupportedOperation
from symhess.jax.arrays import abstract, as_jax, has_jax, kinds_of
from symhess.jax.capture import from_jax, jaxpr_of
from symhess.jax.fingerprint import constants_key, fingerprint
from symhess.jax.kernels import Kernel
from symhess.jax.table import is_lifted
from symhess.trace import is_traced

Argnums = int | Sequence[int]
#: kernels kept for a function: as many jaxprs that it may have
KEPT = 32
tree_flatten, tree_unflatten = jax.tree_util.tree_flatten, jax.tree_util.tree_unflatten


class Call:
    """A function looked at for the arguments of a call: its kernel, arrays for it, and how results are nested."""

    def __init__(self, transform: Transform, args: tuple, kwargs: dict):
        positions = normalized_argnums(transform.argnums, len(args))
        leaves, treedef = tree_flatten((args, kwargs))
        picked = args[positions[0]] if is_one_number(transform.argnums) else tuple(args[k] for k in positions)
        self.active_spec: Any = tree_flatten(picked)[1]
        places = _places(args)
        active = [leaf for k in positions for leaf in places[k]]
        for k in active:
            _check_float(leaves[k], transform)
        moving = [k for k, x in enumerate(leaves) if k in active or abstract(x)]
        kinds = kinds_of([leaves[k] for k in moving])
        closed, returned = jaxpr_of(transform.fun, leaves, treedef, moving, kinds)
        self.spec, self.aux_spec = _without_aux(returned, transform)
        key = (fingerprint(closed.jaxpr), constants_key(closed.consts), tuple(map(moving.index, active)), returned)
        self.kernel = transform.kernel(key, closed, self.spec.num_leaves, [moving.index(k) for k in active])
        arrays = [np.asarray(leaves[k], v.aval.dtype) for k, v in zip(moving, closed.jaxpr.invars)]
        self.active = tuple(arrays[k] for k in self.kernel.active)
        self.data = (*(arrays[k] for k in self.kernel.data), *(np.asarray(c) for c in closed.consts if is_lifted(c)))

    def like_active(self, parts: Sequence[Any]) -> Any:
        """One thing per differentiated array, nested like the arguments."""
        return tree_unflatten(self.active_spec, list(parts))

    def like_outputs(self, parts: Sequence[Any]) -> Any:
        return tree_unflatten(self.spec, list(parts))

    def number(self, what: str) -> Kernel:
        """The kernel of a function that returns one number."""
        if not self.kernel.is_number:
            raise NonScalarOutput(f"{what} needs a function that returns one floating number, it returned "
                                  f"{self.like_outputs(self.kernel.kinds)}; reduce it, with jnp.sum or jnp.mean")
        return self.kernel

    def with_aux(self, name: str) -> tuple[Any, Any]:
        """What a transform gives, and the auxiliary output."""
        found, aux = self.kernel.transform(name)(self.active, self.data)
        return found, None if self.aux_spec is None else tree_unflatten(self.aux_spec, list(aux))


def _places(args: tuple) -> list[range]:
    """The numbers of the leaves of each argument."""
    places, first = [], 0
    for a in args:
        count = len(tree_flatten(a)[0])
        places.append(range(first, first + count))
        first += count
    return places


def _check_float(x: Any, transform: Transform) -> None:
    dtype = np.asarray(x).dtype if isinstance(x, int | float | complex) else getattr(x, "dtype", None)
    if dtype not in (np.float32, np.float64):
        what = f"type {type(x).__name__}" if dtype is None else f"dtype {dtype}"
        raise DTypeMismatch(f"{transform.__name__} differentiates with respect to float32 and float64, but an argument "
                            f"has {what}; convert it with astype(float)")


def _without_aux(returned: Any, transform: Transform) -> tuple[Any, Any]:
    """The structures of the output and, with has_aux, of the auxiliary output."""
    if not transform.has_aux:
        return returned, None
    if returned.node_data() is None or returned.node_data()[0] is not tuple or len(returned.children()) != 2:
        raise AuxiliaryMissing(f"{transform.__name__} with has_aux=True: the function must return (output, aux), it "
                               f"returned {returned}")
    return tuple(returned.children())


class Transform:
    """A function that evaluates a derivative of another one, which is looked at in every call."""

    def __init__(self, name: str, fun: Callable, argnums: Argnums, has_aux: bool, options: dict[str, Any],
                 evaluate: Callable[..., Any], inline: Callable[[Callable], Callable]):
        if not callable(fun):
            raise TypeError(f"{name} needs a function, got {type(fun).__name__}")
        self.fun, self.argnums, self.has_aux, self.options = fun, argnums, has_aux, options
        self.__name__ = self.__qualname__ = f"{name}({getattr(fun, '__name__', type(fun).__name__)})"
        self.__doc__ = getattr(fun, "__doc__", None)
        self._evaluate, self._inline = evaluate, inline
        self._kernels: dict[Hashable, Kernel] = {}

    def __repr__(self) -> str:
        return f"<symhess.jax {self.__name__}>"

    def kernel(self, key: Hashable, closed: ClosedJaxpr, outputs: int, active: Sequence[int]) -> Kernel:
        """What is kept for a jaxpr."""
        found = self._kernels.get(key)
        if found is None:
            name = getattr(self.fun, "__name__", type(self.fun).__name__)
            found = self._kernels[key] = Kernel(closed, name, outputs, active, self.options)
            for old in list(self._kernels)[:-KEPT]:
                self._kernels.pop(old, None)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves = tree_flatten((args, kwargs))[0]
        if any(map(is_traced, leaves)):
            return self._inline(from_jax(self.fun))(*args, **kwargs)
        if any(isinstance(x, jax.core.Tracer) for x in leaves):
            raise UnsupportedOperation(f"{self.__name__} was called within a transform of JAX (jit, vmap, grad, ...), "
                                       "which cannot look into it; call it outside, with arrays")
        result = self._evaluate(self, *self._prepared(args, kwargs))
        return as_jax(result) if has_jax(leaves) else result

    def _prepared(self, args: tuple, kwargs: dict) -> tuple:
        return (Call(self, args, kwargs),)


def _with(result: Any, aux: Any, has_aux: bool) -> Any:
    return (result, aux) if has_aux else result


def hessian(fun: Callable, argnums: Argnums = 0, has_aux: bool = False, **options: Any) -> Callable:
    """The Hessian of a function written in jax.numpy, as `jax.hessian` returns it.

    Args:
        fun: from pytrees of arrays to an array, or a pytree of them; with has_aux to a pair (output, anything).
        argnums: which positional arguments to differentiate.
        has_aux: the result is (Hessian, aux).
        options: `parallel`, `cache`, `fastmath`, `memory_budget`, `compile`, as in `symhess.hessian_jit`.

    Returns:
        A function of the same arguments. Its result has the nesting of the output, then twice that of the arguments;
        a leaf has shape out + in1 + in2. Arrays of JAX among the arguments give arrays of JAX, others NumPy's.

    The function is looked at in every call, as JAX does, so what it closes over may change; Python's own control flow
    on values is refused by JAX. Whole numbers among the arguments that are not differentiated reach it as they are.

    Raises:
        UnsupportedOperation: a lax primitive has no rule; it is named, with the user's line.
        DTypeMismatch: what is differentiated is neither float32 nor float64.

    Example:
        >>> import jax.numpy as jnp, numpy as np, symhess
        >>> symhess.jax.hessian(lambda x: jnp.sum(x**3))(np.array([1.0, 2.0], np.float32))
        array([[ 6.,  0.],
               [ 0., 12.]], dtype=float32)
    """
    def evaluate(self: Transform, call: Call) -> Any:
        if call.kernel.is_number and not has_aux:
            rows = call.kernel.function(call.active, call.data)
            return call.like_outputs([call.like_active([call.like_active(row) for row in rows])])
        found, aux = call.with_aux("hessian")
        return _with(call.like_outputs([call.like_active([call.like_active(row) for row in rows]) for rows in found]),
                     aux, has_aux)

    return Transform("hessian", fun, argnums, has_aux, options, evaluate,
                     lambda f: transforms.hessian(f, argnums, has_aux))


def grad(fun: Callable, argnums: Argnums = 0, has_aux: bool = False, **options: Any) -> Callable:
    """The gradient, as `jax.grad` returns it: nested like the arguments at `argnums`; (gradient, aux) with has_aux.

    Arguments, options and errors are those of `hessian`; NonScalarOutput where the function returns no single number.

    Example:
        >>> import jax.numpy as jnp, numpy as np, symhess
        >>> symhess.jax.grad(lambda x: jnp.sum(x**3))(np.array([1.0, 2.0], np.float32))
        array([ 3., 12.], dtype=float32)
    """
    def evaluate(self: Transform, call: Call) -> Any:
        call.number("grad")
        if not has_aux:
            return call.like_active(call.kernel.function.grad(call.active, call.data))
        found, aux = call.with_aux("grad")
        return call.like_active(found), aux

    return Transform("grad", fun, argnums, has_aux, options, evaluate, lambda f: transforms.grad(f, argnums, has_aux))


def value_and_grad(fun: Callable, argnums: Argnums = 0, has_aux: bool = False, **options: Any) -> Callable:
    """(value, gradient), or ((value, aux), gradient) with has_aux, as `jax.value_and_grad`; see `grad`.

    Example:
        >>> import jax.numpy as jnp, numpy as np, symhess
        >>> symhess.jax.value_and_grad(lambda x: jnp.sum(x**3))(np.array([1.0, 2.0], np.float32))
        (np.float32(9.0), array([ 3., 12.], dtype=float32))
    """
    def evaluate(self: Transform, call: Call) -> Any:
        call.number("value_and_grad")
        if not has_aux:
            value, found = call.kernel.function.value_and_grad(call.active, call.data)
            return call.like_outputs([value]), call.like_active(found)
        (value, aux), found = call.kernel.transform("value_and_grad")(call.active, call.data)
        return (call.like_outputs([value]), tree_unflatten(call.aux_spec, list(aux))), call.like_active(found)

    return Transform("value_and_grad", fun, argnums, has_aux, options, evaluate,
                     lambda f: transforms.value_and_grad(f, argnums, has_aux))


def _jacobian(name: str) -> Callable:
    def transform(fun: Callable, argnums: Argnums = 0, has_aux: bool = False, **options: Any) -> Callable:
        def evaluate(self: Transform, call: Call) -> Any:
            found, aux = call.with_aux(name)
            return _with(call.like_outputs([call.like_active(row) for row in found]), aux, has_aux)

        return Transform(name, fun, argnums, has_aux, options, evaluate,
                         lambda f: getattr(transforms, name)(f, argnums, has_aux))

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"""The Jacobian, as `jax.{name}` returns it: leaves of shape out + in, outputs outside.

    Arguments, options and errors are those of `hessian`.

    Example:
        >>> import jax.numpy as jnp, numpy as np, symhess
        >>> symhess.jax.{name}(lambda x: x * x[0])(np.array([1.0, 2.0], np.float32))
        array([[2., 0.],
               [2., 1.]], dtype=float32)
    """
    return transform


jacfwd, jacrev = _jacobian("jacfwd"), _jacobian("jacrev")


class _Product(Transform):
    """A transform whose last argument is a vector."""

    def _prepared(self, args: tuple, kwargs: dict) -> tuple:
        if len(args) < 2:
            raise TypeError(f"{self.__name__} takes the arguments of the function and then the vector, it was called "
                            f"with {len(args)} positional arguments")
        call = Call(self, args[:-1], kwargs)
        parts, spec = tree_flatten(args[-1])
        if spec != call.active_spec:
            raise ShapeMismatch(f"{self.__name__}: the vector has structure {spec}, what is differentiated "
                                f"{call.active_spec}")
        for v, x in zip(parts, call.active):
            if np.shape(v) != x.shape:
                raise ShapeMismatch(f"{self.__name__}: the vector has shape {np.shape(v)} where the argument has "
                                    f"{x.shape}")
        return call, tuple(np.asarray(v, x.dtype) for v, x in zip(parts, call.active))


def hvp(fun: Callable, argnums: Argnums = 0, **options: Any) -> Callable:
    """`hvp(fun)(*args, v)`: the product of the Hessian with v, which is nested like the arguments at `argnums`.

    Arguments, options and errors are those of `hessian`; ShapeMismatch for a vector that does not fit.

    Example:
        >>> import jax.numpy as jnp, numpy as np, symhess
        >>> x, v = np.array([1.0, 2.0], np.float32), np.array([1.0, 0.0], np.float32)
        >>> symhess.jax.hvp(lambda x: jnp.sum(x**3))(x, v)
        array([6., 0.], dtype=float32)
    """
    def evaluate(self: Transform, call: Call, v: tuple) -> Any:
        return call.like_active(call.number("hvp").function.hvp(call.active, call.data, v))

    return _Product("hvp", fun, argnums, False, options, evaluate, lambda f: transforms.hvp(f, argnums=argnums))
