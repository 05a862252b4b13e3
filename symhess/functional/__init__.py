"""The functions of `torch.autograd.functional`, for NumPy: same signatures, shapes and errors.

    hessian jacobian hvp vhp jvp vjp

They are eager: each call looks at the function anew, so data that it closes over may change in between. What was
compiled is used again as long as the function computes the same. Called with traced values, inside a transform, they
are part of what is traced. For many calls of one function `symhess.hessian_jit` is quicker: it does not look.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from symhess.errors import IndependentInput
from symhess.functional.arguments import Given, one_number, prepared, vector
from symhess.functional.blocks import blocks
from symhess.functional.differentiable import Differentiable
from symhess.functional.points import Point, independent, point
from symhess.graph.pytrees import flatten, unflatten

__all__ = ["Differentiable", "hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

FORWARD, REVERSE = "forward-mode", "reverse-mode"


def hessian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False,
            vectorize: bool | str = False, outer_jacobian_strategy: str = REVERSE) -> Any:
    """The Hessian of a function of arrays that returns one element.

    Args:
        func: takes arrays, returns an array with a single element.
        inputs: the array, or tuple of arrays, to evaluate at; float32 or float64.
        create_graph: results know how they were computed: `H.function(*inputs)` can be differentiated again.
        strict: raise where an input has no influence on the value; its blocks are zeros otherwise.
        vectorize: how it is evaluated. False: by the structured compiler. True: one product for all rows at once,
            of the kind that `outer_jacobian_strategy` names. "rows": one product after the other.
        outer_jacobian_strategy: "reverse-mode" (the Jacobian of the gradient by pullbacks) or "forward-mode" (by
            pushforwards), which needs `vectorize`.

    Returns:
        For one array of shape S an array of shape S + S. For a tuple a tuple of tuples, H[i][j] of shape S_i + S_j
        and the dtype of input i.

    Raises:
        TypeError: inputs are neither an array nor a tuple of arrays, or the function returns something else.
        NonScalarOutput: the function returns a tuple, or more than one element.
        IndependentInput: with `strict`, of the first input that has no influence.

    Example:
        >>> import numpy as np
        >>> from symhess.functional import hessian
        >>> def pow_adder_reducer(x, y):
        ...     return (2 * x**2 + 3 * y**2).sum()
        >>> H = hessian(pow_adder_reducer, (np.array([1.0, 2.0]), np.array([3.0, 4.0])))
        >>> H[1][1]
        array([[6., 0.],
               [0., 6.]])
    """
    _strategy("hessian", "outer_jacobian_strategy", outer_jacobian_strategy, create_graph, strict, vectorize)
    func, asked = prepared("hessian", func, inputs)
    at = one_number("hessian", point(func, asked, True))
    _check_strict("hessian", at, strict)
    if vectorize is False:
        rows = at.hessian()
    else:
        rows = blocks(at, at.gradient(), "hessian", vectorize, outer_jacobian_strategy)
    found = asked.like([asked.like([_cast(b, x) for b in row]) for row, x in zip(rows, asked.arrays)])
    return _told(found, func, asked, create_graph, ("hessian", strict, vectorize, outer_jacobian_strategy),
                 lambda f, x, _: hessian(f, x, True, strict, vectorize, outer_jacobian_strategy))


def jacobian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False,
             vectorize: bool | str = False, strategy: str = REVERSE) -> Any:
    """The Jacobian of a function of arrays that returns an array or a tuple of arrays.

    Arguments and errors are those of `hessian`; `strategy` stands for its `outer_jacobian_strategy`.

    Returns:
        J[i][j] of shape out_i + in_j, in the dtype of input j (by forward mode in that of output i); only one index,
        or none, where outputs or inputs are not in a tuple.

    Example:
        >>> import numpy as np
        >>> from symhess.functional import jacobian
        >>> jacobian(lambda x: np.exp(x).sum(axis=1), np.zeros((2, 2)))
        array([[[1., 1.],
                [0., 0.]],
        <BLANKLINE>
               [[0., 0.],
                [1., 1.]]])
    """
    _strategy("jacobian", "strategy", strategy, create_graph, strict, vectorize)
    func, asked = prepared("jacobian", func, inputs)
    at = point(func, asked, False)
    _check_strict("jacobian", at, strict)
    rows = blocks(at, at.outputs, "jacobian", vectorize, strategy)
    if strategy == REVERSE:
        rows = [[_cast(b, x) for b, x in zip(row, asked.arrays)] for row in rows]
    found = at.like_outputs([asked.like(row) for row in rows])
    return _told(found, func, asked, create_graph, ("jacobian", strict, vectorize, strategy),
                 lambda f, x, _: jacobian(f, x, True, strict, vectorize, strategy))


def hvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(value, H v) of a function that returns one element; v is like the inputs. Forward over reverse.

    `v` may be left out where the input is a single array with a single element.

    Raises:
        ShapeMismatch: v is not like the inputs. Others as for `hessian`.

    Example:
        >>> import numpy as np
        >>> from symhess.functional import hvp
        >>> hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
        (np.float64(9.0), array([6., 0.]))
    """
    return _second_product("hvp", func, inputs, v, create_graph, strict)


def vhp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(value, v H) of a function that returns one element; v is like the inputs. Reverse over reverse.

    Example:
        >>> import numpy as np
        >>> from symhess.functional import vhp
        >>> vhp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
        (np.float64(9.0), array([6., 0.]))
    """
    return _second_product("vhp", func, inputs, v, create_graph, strict)


def _second_product(name: str, func: Callable, inputs: Any, v: Any, create_graph: bool, strict: bool) -> tuple:
    func, asked = prepared(name, func, inputs)
    at = one_number(name, point(func, asked, True))
    _check_strict(name, at, strict)
    along = vector(name, v, asked)
    value, *product = at.evaluate(name, lambda dots: [*at.outputs, *at.second_product(dots, name == "hvp")],
                                  along.arrays)
    found = (at.in_shape(value), asked.like([_cast(p, x) for p, x in zip(product, asked.arrays)]))
    again = {"hvp": hvp, "vhp": vhp}[name]
    return _told(found, func, asked, create_graph, (name, strict), lambda f, x, v: again(f, x, v, True, strict), along)


def jvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(outputs, J v): the derivative along v, which is like the inputs.

    `v` may be left out where the input is a single array with a single element.

    Example:
        >>> import numpy as np
        >>> from symhess.functional import jvp
        >>> jvp(lambda x: x**2, np.array([1.0, 2.0]), np.array([1.0, 1.0]))
        (array([1., 4.]), array([2., 4.]))
    """
    func, asked = prepared("jvp", func, inputs)
    at = point(func, asked, False)
    _check_strict("jvp", at, strict)
    along = vector("jvp", v, asked)
    found = at.evaluate("jvp", lambda dots: [*at.outputs, *at.pushed(at.outputs, dots)], along.arrays)
    count = len(at.outputs)
    pair = (at.like_outputs(found[:count]), at.like_outputs(found[count:]))
    return _told(pair, func, asked, create_graph, ("jvp", strict), lambda f, x, v: jvp(f, x, v, True, strict), along)


def vjp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(outputs, v J): v is like the outputs, the product like the inputs.

    `v` may be left out where the output is a single array with a single element.

    Example:
        >>> import numpy as np
        >>> from symhess.functional import vjp
        >>> vjp(lambda x: x**2, np.array([1.0, 2.0]), np.array([1.0, 1.0]))
        (array([1., 4.]), array([2., 4.]))
    """
    func, asked = prepared("vjp", func, inputs)
    at = point(func, asked, False)
    _check_strict("vjp", at, strict)
    along = vector("vjp", v, at.as_given(asked.kind))
    found = at.evaluate("vjp", lambda bars: [*at.outputs, *at.pulled(at.outputs, bars)], along.arrays)
    count = len(at.outputs)
    product = [_cast(p, x) for p, x in zip(found[count:], asked.arrays)]
    return _told((at.like_outputs(found[:count]), asked.like(product)), func, asked, create_graph, ("vjp", strict),
                 lambda f, x, v: vjp(f, x, v, True, strict), along)


# -- what they share -----------------------------------------------------------------------------------------------


def _strategy(name: str, option: str, strategy: str, create_graph: bool, strict: bool, vectorize: bool | str) -> None:
    """The combinations that PyTorch refuses, and a strategy or a way that is none."""
    if strategy not in (FORWARD, REVERSE):
        raise ValueError(f'{name}: {option}={strategy!r}; choose "{REVERSE}" or "{FORWARD}"')
    if vectorize not in (False, True, "rows"):
        raise ValueError(f'{name}: vectorize={vectorize!r}; choose False (the structured compiler), True (all rows at '
                         'once) or "rows" (one after the other)')
    if strategy == FORWARD and vectorize is False:
        raise NotImplementedError(f'{name}: {option}="{FORWARD}" needs vectorize=True (or "rows"); without, the '
                                  "structured compiler chooses the order of differentiation itself")
    if strategy == FORWARD and create_graph:
        raise NotImplementedError(f'{name}: create_graph=True and {option}="{FORWARD}" do not go together; take '
                                  f'"{REVERSE}"')
    if strict and vectorize is True:
        raise RuntimeError(f"{name}: strict=True and vectorize=True do not go together; leave out one of them")


def _check_strict(name: str, at: Point, strict: bool) -> None:
    if strict and (unused := independent(at)):
        raise IndependentInput(f"{name}: the function does not depend on input {unused[0]}, which strict=True demands; "
                               "without it, derivatives with respect to that input are zeros")


def _cast(result: Any, like: Any) -> Any:
    return result if result.dtype == like.dtype else result.astype(like.dtype)


def _told(found: Any, func: Callable, asked: Given, create_graph: bool, key: Hashable,
          again: Callable[[Callable, Any, Any], Any], along: Given | None = None) -> Any:
    """The results as the user gets them; with `create_graph` those of numbers can be differentiated again.

    `again(func, inputs, v)` computes them anew; equal keys stand for equal ones of the same function.
    """
    if asked.traced:
        return found
    if create_graph:
        return asked.kind.differentiable(found, func, asked, along, key, again)
    leaves, spec = flatten(found)
    return unflatten(spec, [asked.kind.result(a) for a in leaves])
