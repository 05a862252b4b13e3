"""The structured loops and branches for users: `scan`, `while_loop`, `fori_loop`, `cond`, `switch`, as in jax.lax.

In a traced function each becomes one node, whose body is traced once; with plain numbers they just run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.errors import DTypeMismatch, ShapeMismatch
from symhess.graph.node import Node, constant, input_node
from symhess.loops import plain
from symhess.loops.capture import Inside, Leaves, common, hoisted, numbers_of, outputs_of, settled, wrapped
from symhess.loops.looping import looped, switched
from symhess.loops.rows import with_rows
from symhess.primitives import apply, cast
from symhess.primitives.control import STEP, Loop, Output, Phase, Switch
from symhess.primitives.rebuild import substituted
from symhess.trace import is_traced
from symhess.trace.session import current_session, here, mark
from symhess.trace.tracing import name_of
from symhess.trace.ufuncs import node_of_any, truth


def scan(f: Callable, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False,
         unroll: int | bool = 1) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for one x after the other: the last carry, and the ys stacked along a new axis.

    Args:
        f: the step, `f(carry, x) -> (carry, y)`; traced once, however many steps there are. It may use values of the
            function around it.
        init: the first carry: a pytree of numbers and arrays, whose structure, shapes and dtypes every step keeps.
        xs: a pytree of arrays with a common leading axis, one entry per step; None for steps without an x.
        length: the number of steps, needed where xs has no arrays.
        reverse: go through xs, and fill ys, from the last to the first.
        unroll: accepted as in JAX, without effect.

    Returns:
        (carry, ys): ys has the structure of y, each array with a leading axis of the number of steps.

    Raises:
        ShapeMismatch, DTypeMismatch: a step changes the structure, shape or dtype of the carry (the leaf is named), or
            the arrays of xs do not have the same length.
        ConcretizationError: the step branches on a value that only exists while the loop runs.

    Differentiable to every order, in forward and reverse mode: derivatives of a loop are loops over the same steps.

    Example:
        >>> import numpy as np, symhess
        >>> step = lambda total, x: (total + x, total * x)
        >>> symhess.scan(step, 0.0, np.array([1.0, 2.0, 3.0]))
        (np.float64(6.0), array([0., 2., 9.]))
        >>> symhess.hessian(lambda r: symhess.scan(lambda x, _: (r * x * (1 - x), x), 0.5, length=3)[0])(2.0)
        np.float64(-0.25)
    """
    mark()
    if current_session() is None:
        return plain.scan(f, init, xs, length, reverse)
    state, rows = Leaves(init, "carry"), Leaves(xs, "xs")
    count = plain.steps_of([n.shape for n in rows.nodes], rows.paths, length)
    x = [input_node(f"x{p}", n.shape[1:], n.dtype) for n, p in zip(rows.nodes, rows.paths)]
    z, new, y = settled(state, lambda carry: plain.pair(outputs_of(f, (carry, rows.tree(x))), f), f)
    ys, spec, _ = numbers_of(y, f"what {name_of(f)} returns beside the carry")
    expressions, consts = hoisted([*new, *ys], [*z, *x])
    phase = Phase(reverse, tuple(z), tuple(expressions[:len(z)]), tuple(expressions[len(z):]))
    outputs = (*(Output(0, k) for k in range(len(z))), *(Output(0, k, True) for k in range(len(ys))))
    loop = Loop(count, None, tuple(consts), tuple(x), (phase,), outputs)
    made = looped(*with_rows(loop, {**consts, **dict(zip(x, rows.nodes)), **dict(zip(z, state.nodes))}))
    return state.wrapped(made[:len(z)]), wrapped(spec, made[len(z):])


def while_loop(cond_fun: Callable, body_fun: Callable, init_val: Any) -> Any:
    """`val = body_fun(val)` as long as `cond_fun(val)`: the last val.

    Args:
        cond_fun: from val to one truth value.
        body_fun: from val to the next one, of the same structure, shapes and dtypes.
        init_val: the first val: a pytree of numbers and arrays.

    Raises:
        ShapeMismatch, DTypeMismatch: a step changes structure, shape or dtype (the leaf is named), or `cond_fun` does
            not return one truth value.

    Differentiable to every order, in forward and reverse mode (which JAX does not offer: the states are kept in memory
    that grows with the number of steps). The derivative is that of the steps that were done.

    Example:
        >>> import numpy as np, symhess
        >>> def root(a):
        ...     return symhess.while_loop(lambda y: abs(y * y - a) > 1e-12, lambda y: (y + a / y) / 2, a)
        >>> root(2.0), symhess.grad(root)(2.0).round(9), symhess.hessian(root)(2.0).round(9)
        (1.414213562373095, np.float64(0.353553391), np.float64(-0.088388348))
    """
    mark()
    if current_session() is None:
        return plain.while_loop(cond_fun, body_fun, init_val)
    state, inside = Leaves(init_val, "carry"), Inside()
    z, new, _ = settled(state, lambda carry: (outputs_of(body_fun, (carry,)), None), body_fun)
    going = _condition(outputs_of(cond_fun, (state.tree(z),)), cond_fun)
    return state.wrapped(_while(going, new, z, state.nodes, inside.close()))


def _condition(result: Any, cond_fun: Callable) -> Node:
    nodes = numbers_of(result, f"what {name_of(cond_fun)} returns")[0]
    if len(nodes) != 1 or nodes[0].ndim:
        raise ShapeMismatch(f"{name_of(cond_fun)} must return one truth value, it returned shapes "
                            f"{[n.shape for n in nodes]}{here()}")
    return truth(nodes[0])


def _while(going: Node, new: Sequence[Node], z: Sequence[Node], first: Sequence[Node], inside: Inside) -> list[Node]:
    expressions, consts = hoisted([going, *new], z, inside)
    phase = Phase(False, tuple(z), tuple(expressions[1:]))
    loop = Loop(None, expressions[0], tuple(consts), (), (phase,), tuple(Output(0, k) for k in range(len(z))))
    return looped(loop, {**consts, **dict(zip(z, first))})


def fori_loop(lower: Any, upper: Any, body_fun: Callable, init_val: Any, unroll: int | bool | None = None) -> Any:
    """`val = body_fun(i, val)` for i = lower, ..., upper - 1: the last val.

    Args:
        lower, upper: integers, known while tracing or not; with traced bounds it is a `while_loop`.
        body_fun: from (i, val) to the next val, of the same structure, shapes and dtypes.
        init_val: the first val: a pytree of numbers and arrays.
        unroll: accepted as in JAX, without effect.

    Raises:
        ShapeMismatch, DTypeMismatch: a step changes structure, shape or dtype (the leaf is named), or a bound is not
            one integer.

    Differentiable to every order, in forward and reverse mode, also with traced bounds.

    Example:
        >>> import numpy as np, symhess
        >>> power = lambda x: symhess.fori_loop(0, 5, lambda i, p: p * x, 1.0)
        >>> power(2.0), symhess.hessian(power)(2.0)
        (32.0, np.float64(160.0))
    """
    mark()
    bounds = [_bound(lower), _bound(upper)]
    if current_session() is None:
        return plain.fori_loop(*bounds, body_fun, init_val)
    state, inside = Leaves(init_val, "carry"), Inside()
    i = input_node("i", (), np.int64)
    z, new, _ = settled(state, lambda carry: (outputs_of(body_fun, (i, carry)), None), body_fun)
    inside.close()
    if any(isinstance(b, Node) for b in bounds):
        low, high = (b if isinstance(b, Node) else constant(b) for b in bounds)
        later = apply("add", i, constant(1))
        found = _while(apply("less", i, high), [later, *new], [i, *z], [low, *state.nodes], inside)[1:]
        return state.wrapped(found)
    expressions, consts = hoisted(new, [i, *z])
    expressions = substituted(expressions, {i: apply("add", STEP, constant(bounds[0]))})
    loop = Loop(max(bounds[1] - bounds[0], 0), None, tuple(consts), (), (Phase(False, tuple(z), tuple(expressions)),),
                tuple(Output(0, k) for k in range(len(z))))
    return state.wrapped(looped(*with_rows(loop, {**consts, **dict(zip(z, state.nodes))})))


def _bound(b: Any) -> int | Node:
    """A bound as a number, or as the node of a traced one."""
    if is_traced(b):
        node = node_of_any(b)
        if node.ndim or node.dtype.kind not in "ib":
            raise DTypeMismatch(f"a bound of fori_loop must be one integer, not {node.dtype}{list(node.shape)}{here()}")
        return int(node.attrs.array) if node.op.name == "constant" else cast(node, np.int64)
    if not isinstance(b, int | np.integer) and not (isinstance(b, np.ndarray) and not b.ndim and b.dtype.kind == "i"):
        raise DTypeMismatch(f"a bound of fori_loop must be one integer, not {b!r}{here()}")
    return int(b)


def cond(pred: Any, true_fun: Callable, false_fun: Callable, *operands: Any) -> Any:
    """`true_fun(*operands)` if `pred` holds, else `false_fun(*operands)`: only that branch is computed.

    Args:
        pred: one truth value or number.
        true_fun, false_fun: functions of the operands that return the same structure, shapes and dtypes.
        operands: pytrees of numbers and arrays; the branches may also use values of the function around them.

    Raises:
        ShapeMismatch, DTypeMismatch: `pred` is not one value, or the branches differ in what they return.

    The branch that is not taken leaves nothing in values or derivatives, NaN included. In a batch of predicates (under
    `vmap` or `.batch`) both branches are computed and the results selected.

    Example:
        >>> import numpy as np, symhess
        >>> f = lambda x: symhess.cond(x > 0, np.sqrt, lambda x: x**2, x)
        >>> symhess.hessian(f)(4.0), symhess.hessian(f)(-1.0)
        (np.float64(-0.03125), np.float64(2.0))
    """
    mark()
    if not is_traced(pred):
        if np.ndim(pred):
            raise ShapeMismatch(f"the predicate of cond must be one truth value, it has shape {np.shape(pred)}{here()}")
        return plain.called(true_fun if pred else false_fun, operands)
    node = node_of_any(pred)
    if node.ndim:
        raise ShapeMismatch(f"the predicate of cond must be one truth value, it has shape {node.shape}{here()}")
    return _switch(cast(truth(node), np.int64), [false_fun, true_fun], operands)


def switch(index: Any, branches: Sequence[Callable], *operands: Any) -> Any:
    """`branches[index](*operands)`, with the index clipped to 0 ... len(branches) - 1: only that branch is computed.

    Args:
        index: one integer.
        branches: functions of the operands that return the same structure, shapes and dtypes.
        operands: pytrees of numbers and arrays; the branches may also use values of the function around them.

    Raises:
        ShapeMismatch, DTypeMismatch: `index` is not one integer, or the branches differ in what they return.

    Example:
        >>> import numpy as np, symhess
        >>> f = lambda k, x: symhess.switch(k, [np.sin, np.cos, lambda x: x**3], x)
        >>> symhess.hessian(f, argnums=1)(7, 2.0)
        np.float64(12.0)
    """
    mark()
    branches = list(branches)
    if not branches:
        raise ValueError("switch needs at least one branch")
    if np.ndim(index):
        raise ShapeMismatch(f"the index of switch must be one integer, it has shape {np.shape(index)}{here()}")
    if (index.dtype if is_traced(index) else np.asarray(index).dtype).kind not in "iu":
        raise DTypeMismatch(f"the index of switch must be an integer, not {index!r}{here()}")
    if not is_traced(index):
        return plain.called(branches[min(max(int(index), 0), len(branches) - 1)], operands)
    return _switch(cast(node_of_any(index), np.int64), branches, operands)


def _switch(number: Node, branches: Sequence[Callable], operands: tuple) -> Any:
    given, inside = Leaves(operands, "operand"), Inside()
    slots = given.placeholders("operand")
    results = [numbers_of(outputs_of(b, given.tree(slots)), f"what {name_of(b)} returns") for b in branches]
    spec, table = results[0][1], common(results, [name_of(b) for b in branches])
    expressions, consts = hoisted([o for outputs in table for o in outputs], slots, inside.close())
    width = len(table[0])
    made = switched(Switch((*consts, *slots), tuple(tuple(expressions[k * width:(k + 1) * width])
                                                    for k in range(len(branches)))),
                    number, {**consts, **dict(zip(slots, given.nodes))})
    return wrapped(spec, made)
