"""Transforms: functions in, functions out, freely nested. Called with arrays they compile, with tracers they inline."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.api import inline
from symhess.api.arguments import Options, as_integers, bind
from symhess.api.frameless import Frameless, GeneralSignature
from symhess.api.function import HessianFunction, hessian_jit
from symhess.errors import DTypeMismatch
from symhess.graph.pytrees import flatten, unflatten
from symhess.trace import is_traced

if TYPE_CHECKING:
    import scipy.sparse
    import scipy.sparse.linalg

Argnums = int | Sequence[int]
Positions = int | tuple[int, ...]


class Compiled(Frameless):
    """A function of arrays, traced and compiled once per signature; inlined where it is called with tracers."""

    def __init__(self, fn: Callable, name: str):
        self.fn, self.__name__, self.__qualname__ = fn, name, name
        self._function = HessianFunction(fn, Options(argnums=()))
        self._function.__name__ = name
        self.__doc__ = fn.__doc__
        super().__init__(self._call)
        vars(self._function)["value"] = self  # which machine code answers as it would answer that method

    __signature__ = GeneralSignature()

    def __reduce__(self) -> Any:
        return (Compiled, (self.fn, self.__name__))

    def __repr__(self) -> str:
        return f"<{self.__name__}>"

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if any(is_traced(x) for x in flatten((args, kwargs))[0]):
            return self.fn(*args, **kwargs)
        return HessianFunction.value(self._function, *args, **kwargs)


def _named(name: str, fn: Callable) -> str:
    return f"{name}({getattr(fn, '__name__', type(fn).__name__)})"


def differentiated(argnums: Argnums | None, grad_position: Positions | None, has_aux: bool) -> Argnums:
    """Which arguments are differentiated: `argnums`, or `grad_position` as MindSpore means it.

    Positions count from 0; a tuple with one of them is that one, so that the result is no tuple.

    Raises:
        TypeError: both are given, a position is no integer, or `has_aux` is no bool.
        ValueError: a position is negative or there twice (and, when called, one that is out of range).
    """
    if not isinstance(has_aux, bool | np.bool_):
        raise TypeError(f"has_aux={has_aux!r}; choose True or False")
    if grad_position is None:
        return 0 if argnums is None else argnums
    if argnums is not None:
        raise TypeError(f"argnums={argnums!r} and grad_position={grad_position!r} name one option twice")
    if not isinstance(grad_position, int | np.integer | tuple):
        raise TypeError(f"grad_position={grad_position!r} must be an integer or a tuple of integers")
    positions = as_integers(grad_position, "grad_position")
    if not positions or min(positions) < 0 or len(set(positions)) != len(positions):
        raise ValueError(f"grad_position={grad_position!r} must name different positions, counted from 0")
    return positions if len(positions) > 1 else positions[0]


def _plain(fn: Callable) -> Callable:
    """The user's function behind a compiled one."""
    return fn.fn if isinstance(fn, HessianFunction) else fn


def grad(fn: Callable, argnums: Argnums | None = None, has_aux: bool = False,
         grad_position: Positions | None = None) -> Callable:
    """The gradient of a function that returns one number, in the shape of the argument(s) at `argnums` (default 0).

    With has_aux the function returns (output, aux, ...), and the result is (gradient, aux), or (gradient, (aux, ...))
    for more than one. `grad_position` is MindSpore's name of `argnums`, an integer or a tuple of them.

    Example:
        >>> import numpy as np, symhess
        >>> symhess.grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
        array([ 3., 12.])
    """
    argnums = differentiated(argnums, grad_position, has_aux)

    def gradient_of(*args: Any, **kwargs: Any) -> Any:
        _, g, aux = inline.gradient(fn, args, kwargs, argnums, has_aux)
        return (g, aux) if has_aux else g

    return Compiled(gradient_of, _named("grad", fn))


def value_and_grad(fn: Callable, argnums: Argnums | None = None, has_aux: bool = False,
                   grad_position: Positions | None = None) -> Callable:
    """(value, gradient); ((value, aux), gradient) with has_aux. Options as for `grad`.

    Example:
        >>> import numpy as np, symhess
        >>> symhess.value_and_grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
        (np.float64(9.0), array([ 3., 12.]))
    """
    argnums = differentiated(argnums, grad_position, has_aux)

    def value_and_gradient_of(*args: Any, **kwargs: Any) -> Any:
        value, g, aux = inline.gradient(fn, args, kwargs, argnums, has_aux)
        return ((value, aux), g) if has_aux else (value, g)

    return Compiled(value_and_gradient_of, _named("value_and_grad", fn))


def hessian(fn: Callable, argnums: Argnums = 0, has_aux: bool = False) -> Callable:
    """The Hessian as blocks H[i][j] of shape S_i + S_j; of each component where the function returns an array.

    Example:
        >>> import numpy as np, symhess
        >>> symhess.hessian(lambda x: x[0]**2 * x[1])(np.array([1.0, 2.0]))
        array([[4., 2.],
               [2., 0.]])
    """
    def hessian_of(*args: Any, **kwargs: Any) -> Any:
        return inline.hessian(fn, args, kwargs, argnums, has_aux)

    return Compiled(hessian_of, _named("hessian", fn))


def jacfwd(fn: Callable, argnums: Argnums | None = None, has_aux: bool = False,
           grad_position: Positions | None = None) -> Callable:
    """The Jacobian by forward mode: shape out + in, or nested outputs x inputs. Options as for `grad`.

    Example:
        >>> import numpy as np, symhess
        >>> symhess.jacfwd(lambda x: x * x[0])(np.array([1.0, 2.0]))
        array([[2., 0.],
               [2., 1.]])
    """
    argnums = differentiated(argnums, grad_position, has_aux)

    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        return inline.jacobian(fn, args, kwargs, argnums, has_aux, reverse=False)

    return Compiled(jacobian_of, _named("jacfwd", fn))


def jacrev(fn: Callable, argnums: Argnums | None = None, has_aux: bool = False,
           grad_position: Positions | None = None) -> Callable:
    """The Jacobian by reverse mode: shape out + in, or nested outputs x inputs. Options as for `grad`.

    Example:
        >>> import numpy as np, symhess
        >>> symhess.jacrev(lambda x: x * x[0])(np.array([1.0, 2.0]))
        array([[2., 0.],
               [2., 1.]])
    """
    argnums = differentiated(argnums, grad_position, has_aux)

    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        return inline.jacobian(fn, args, kwargs, argnums, has_aux, reverse=True)

    return Compiled(jacobian_of, _named("jacrev", fn))


def jvp(fn: Callable, primals: Any = None, tangents: Any = None, has_aux: bool = False) -> Any:
    """(outputs, directional derivative) at `primals` along `tangents`, both tuples with one entry per argument.

    Without primals: the function (primals, tangents) -> (outputs, derivative).

    Example:
        >>> import numpy as np, symhess
        >>> x, t = np.array([1.0, 2.0]), np.array([1.0, 0.0])
        >>> symhess.jvp(lambda x: np.sum(x**3), (x,), (t,))
        (np.float64(9.0), np.float64(3.0))
    """
    def pushed(primals: Any, tangents: Any) -> Any:
        out, moved, aux = inline.jvp(fn, _as_tuple(primals), _as_tuple(tangents), has_aux)
        return (out, moved, aux) if has_aux else (out, moved)

    compiled = Compiled(pushed, _named("jvp", fn))
    return compiled if primals is None else compiled(primals, tangents)


def vjp(fn: Callable, *primals: Any, has_aux: bool = False) -> Any:
    """(outputs, pullback): the pullback takes a cotangent like the outputs and returns one per primal, as a tuple.

    With has_aux (outputs, pullback, aux).

    Example:
        >>> import numpy as np, symhess
        >>> value, pullback = symhess.vjp(lambda x: np.sum(x**3), np.array([1.0, 2.0]))
        >>> pullback(1.0)
        (array([ 3., 12.]),)
    """
    def pulled(primals: Any, cotangents: Any) -> Any:
        return inline.vjp(fn, primals, cotangents, has_aux)[1]

    compiled = Compiled(pulled, _named("vjp", fn))
    out = Compiled(fn, _named("value", fn))(*primals)
    if has_aux:
        out, aux = out
        return out, functools.partial(compiled, primals), aux
    return out, functools.partial(compiled, primals)


def hvp(fn: Callable, *point: Any, argnums: Argnums = 0, strategy: str = "forward-over-reverse") -> Any:
    """`hvp(f)(*args, v)` or `hvp(f, *args, v)`: the product of the Hessian with v, without forming it.

    `strategy` is "forward-over-reverse" (the pushforward of the gradient) or "reverse-over-reverse" (the gradient of
    the gradient's product with v).

    Example:
        >>> import numpy as np, symhess
        >>> x, v = np.array([1.0, 2.0]), np.array([1.0, 0.0])
        >>> symhess.hvp(lambda x: np.sum(x**3))(x, v)
        array([6., 0.])
    """
    if strategy not in ("forward-over-reverse", "reverse-over-reverse"):
        raise ValueError(f'strategy={strategy!r}; choose "forward-over-reverse" or "reverse-over-reverse"')

    def product(*args: Any, **kwargs: Any) -> Any:
        *args, v = args
        return inline.hvp(fn, tuple(args), kwargs, argnums, v, strategy == "reverse-over-reverse")

    compiled = Compiled(product, _named("hvp", fn))
    return compiled(*point) if point else compiled


def vhp(fn: Callable, *point: Any, argnums: Argnums = 0) -> Any:
    """`vhp(f)(*args, v)`: v times the Hessian by reverse over reverse (equal to `hvp`, the Hessian is symmetric).

    Example:
        >>> import numpy as np, symhess
        >>> x, v = np.array([1.0, 2.0]), np.array([1.0, 0.0])
        >>> symhess.vhp(lambda x: np.sum(x**3))(x, v)
        array([6., 0.])
    """
    return hvp(fn, *point, argnums=argnums, strategy="reverse-over-reverse")


def vmap(fn: Callable, in_axes: Any = 0, out_axes: Any = 0) -> Callable:
    """The function applied along an axis of its arguments (`None`: not mapped), results stacked along `out_axes`.

    Both may be pytrees that the arguments, or the results, begin with. A result with None is the same for all rows.

    Example:
        >>> import numpy as np, symhess
        >>> symhess.vmap(lambda x: np.sum(x**3))(np.ones((3, 2)))
        array([2., 2., 2.])
    """
    def mapped(*args: Any, **kwargs: Any) -> Any:
        return inline.vmap(fn, args, kwargs, in_axes, out_axes)

    return Compiled(mapped, _named("vmap", fn))


def hessian_sparsity(fn: Callable, *point: Any, argnums: Argnums = 0, **kwargs: Any) -> Any:
    """`hessian_sparsity(f)(*args)` or `hessian_sparsity(f, *args)`: the (n, n) pattern as a CSR array of bools.

    Example:
        >>> import numpy as np, symhess
        >>> symhess.hessian_sparsity(lambda x: x[0]**2 * x[1])(np.ones(2)).toarray()
        array([[ True,  True],
               [ True, False]])
    """
    function = hessian_jit(_plain(fn), argnums=argnums)

    def sparsity_of(*args: Any, **kwargs: Any) -> scipy.sparse.csr_array:
        return function.sparsity(*args, **kwargs)

    return sparsity_of(*point, **kwargs) if point else sparsity_of


def linear_operator(fn: Callable, *point: Any, argnums: Argnums = 0, **kwargs: Any) -> Any:
    """The Hessian at a point as a scipy LinearOperator on flat vectors; one Hessian-vector product per application.

    `linear_operator(f, *args)`, or `linear_operator(f)` for a function of the point.

    Example:
        >>> import numpy as np, symhess
        >>> H = symhess.linear_operator(lambda x: np.sum(x**3), np.array([1.0, 2.0]))
        >>> H @ np.array([1.0, 0.0])
        array([6., 0.])
    """
    import scipy.sparse.linalg

    function = fn if isinstance(fn, HessianFunction) else hessian_jit(fn, argnums=argnums)

    def operator_at(*args: Any, **kwargs: Any) -> scipy.sparse.linalg.LinearOperator:
        bound = bind(args, kwargs, function.options, function.__name__)
        leaves = bound.signature.active
        ends = np.cumsum([int(np.prod(x.shape)) for x in leaves])
        n, dtype = int(ends[-1]) if len(ends) else 0, np.result_type(*(x.dtype for x in leaves))

        def apply_to(v: np.ndarray) -> np.ndarray:
            if np.iscomplexobj(v):
                raise DTypeMismatch("linear_operator: the vector is complex; multiply its real and its imaginary part")
            parts = np.split(np.asarray(v, dtype).ravel(), ends[:-1])
            like = unflatten(bound.signature.active_spec, [p.reshape(x.shape) for p, x in zip(parts, leaves)])
            return np.concatenate([np.ravel(r) for r in flatten(function.hvp(*args, like, **kwargs))[0]])

        return scipy.sparse.linalg.LinearOperator((n, n), matvec=apply_to, rmatvec=apply_to, dtype=dtype)

    return operator_at(*point, **kwargs) if point else operator_at


def _as_tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else tuple(value) if isinstance(value, list) else (value,)


