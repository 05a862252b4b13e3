"""From graphs to SymPy: formulas of values, gradients and Hessians for people to read.

Arrays become object arrays of SymPy expressions, element by element, and the primitives act on these as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.errors import BudgetExceeded, UnsupportedOperation
from symhess.graph.node import CONSTANT, INPUT, Node, topological
from symhess.primitives import fourier
from symhess.primitives.elementwise import ELEMENTWISE, Elementwise
from symhess.primitives.recurrences import RUNNING
from symhess.primitives.sympy_rules import formula

if TYPE_CHECKING:
    import sympy

#: elements, over all nodes, that an export may have
LIMIT = 100_000
#: denominators up to this are shown as fractions
LARGEST_DENOMINATOR = 1024

Rule = Callable[[list[np.ndarray], Node], Any]


def graph_to_sympy(outputs: Sequence[Node], names: Mapping[Node, str], limit: int = LIMIT) -> list[Any]:
    """SymPy expressions of rank-0 outputs, Matrices of rank-2 ones, Arrays of all others.

    `names` gives the name of every input; the elements of array inputs are called name_i, name_i_j, ...
    """
    order = topological(outputs)
    elements = sum(n.size for n in order)
    if elements > limit:
        raise BudgetExceeded(f"formulas of {elements} elements exceed the limit of {limit}: "
                             f"use smaller arrays, or raise `limit`")
    values: dict[Node, np.ndarray] = {}
    for node in order:
        values[node] = _value(node, values, names)
    return [_finished(values[o]) for o in outputs]


def _value(node: Node, values: dict[Node, np.ndarray], names: Mapping[Node, str]) -> np.ndarray:
    if node.op is INPUT:
        return _symbols(names.get(node, node.attrs.name), node)
    if node.op is CONSTANT:
        return _elementwise(_number, node.attrs.array)
    args = [values[a] for a in node.args]
    if isinstance(node.op, Elementwise):
        return _elementwise(functools.partial(formula, node.op), *args)
    rule = _RULES.get(node.op.name)
    if rule is None:
        raise UnsupportedOperation(f"{node.op.name} has no SymPy formula"
                                   f"{f' ({node.source})' if node.source else ''}")
    return _objects(rule(args, node), node.shape)


def _symbols(name: str, node: Node) -> np.ndarray:
    import sympy

    out = np.empty(node.shape, object)
    for at in np.ndindex(node.shape):
        out[at] = sympy.Symbol("_".join([name, *map(str, at)]), real=True)
    return out


def _objects(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """An object array of the given shape from an array, or from one expression."""
    out = np.empty(shape, object)
    out[...] = value
    return out


def _elementwise(function: Callable[..., Any], *args: np.ndarray) -> np.ndarray:
    wide = np.broadcast_arrays(*args)
    out = np.empty(wide[0].shape, object)
    for at in np.ndindex(out.shape):
        out[at] = function(*(w[at] for w in wide))
    return out


def _number(value: Any) -> sympy.Basic:
    """Whole numbers and simple fractions exactly, others as they are."""
    import sympy

    if isinstance(value, np.bool_):
        return sympy.true if value else sympy.false
    if not np.isfinite(value):
        return sympy.nan if np.isnan(value) else sympy.oo * int(np.sign(value))
    p, q = float(value).as_integer_ratio()
    return sympy.Rational(p, q) if q <= LARGEST_DENOMINATOR else sympy.Float(float(value), 17)


def _finished(value: np.ndarray) -> Any:
    import sympy

    if value.ndim == 0:
        return value[()]
    if value.ndim == 2 and value.size:
        return sympy.ImmutableMatrix(value.tolist())
    return sympy.ImmutableDenseNDimArray(list(value.ravel()), value.shape)


# -- rules -----------------------------------------------------------------------------------------------------------


def _as_is(args: list[np.ndarray], node: Node) -> np.ndarray:
    return node.op.evaluate(args, node)


def _scatter(args: list[np.ndarray], node: Node) -> np.ndarray:
    out = _objects(_number(0.0), node.shape)
    np.add.at(out, tuple(m.values() for m in node.attrs.maps), args[0])
    return out


def _extreme(name: str) -> Rule:
    def rule(args: list[np.ndarray], node: Node) -> np.ndarray:
        import sympy

        kept = [d for d in range(args[0].ndim) if d not in node.attrs]
        rows = args[0].transpose(*kept, *node.attrs).reshape(*node.shape, -1)
        out = np.empty(node.shape, object)
        for at in np.ndindex(node.shape):
            out[at] = getattr(sympy, name)(*rows[at])
        return out

    return rule


def _cast(args: list[np.ndarray], node: Node) -> np.ndarray:
    """Truth values become 1 and 0; casts between numbers do nothing, to integers they drop the fraction."""
    import sympy

    old, new = node.args[0].dtype.kind, node.dtype.kind
    if new == "b":
        return _elementwise(lambda e: sympy.Ne(e, 0), args[0])
    if old == "b":
        return _elementwise(lambda e: sympy.Piecewise((1, e), (0, True)), args[0])
    if old == "f" and new == "i":
        return _elementwise(lambda e: sympy.sign(e) * sympy.floor(sympy.Abs(e)), args[0])
    return args[0]


def _running(name: str) -> Rule:
    """u_i = f(u_{i-1}, v_i), one after the other."""
    def rule(args: list[np.ndarray], node: Node) -> np.ndarray:
        out = np.moveaxis(np.array(args[0]), node.attrs, 0)
        for i in range(1, len(out)):
            out[i] = _elementwise(functools.partial(formula, ELEMENTWISE[name]), out[i - 1], out[i])
        return np.moveaxis(out, 0, node.attrs)

    return rule


def _matrices(function: Callable[..., Any]) -> Rule:
    """Apply a function of SymPy matrices to every matrix of the stacks."""
    def rule(args: list[np.ndarray], node: Node) -> np.ndarray:
        import sympy

        lead = args[0].shape[:-2]
        out = np.empty(node.shape, object)
        for at in np.ndindex(lead):
            value = function(*(sympy.Matrix(a[at].tolist()) for a in args))
            out[at] = np.array(value.tolist(), object) if isinstance(value, sympy.MatrixBase) else value
        return out

    return rule


def _record(args: list[np.ndarray], node: Node) -> np.ndarray:
    """The record of a factorisation is the matrix itself, under a row of zeros that makes up the shape."""
    return np.concatenate([args[0], np.zeros_like(args[0][..., :1, :])], axis=-2)


def _lower(a: Any) -> Any:
    """The symmetric matrix of a lower triangle, factored."""
    import sympy

    full = sympy.Matrix(a.rows, a.cols, lambda i, j: a[max(i, j), min(i, j)])
    return full.cholesky(hermitian=False)


def _solved(args: list[np.ndarray], node: Node) -> np.ndarray:
    a = np.swapaxes(args[0], -1, -2) if node.attrs else args[0]
    return _matrices(lambda m, b: m.LUsolve(b))([a, args[2]], node)


def _log_absolute(a: Any, _: Any) -> Any:
    import sympy

    return sympy.log(sympy.Abs(a.det()))


def _sign(record: Any) -> Any:
    import sympy

    return sympy.sign(record[:-1, :].det())


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("index", "reshape", "sum", "cumsum", "contract", "triangular_solve", "recurrence"), _as_is),
    **{op.name: _running(name) for name, op in RUNNING.items()},
    "stack": lambda args, node: [a[()] for a in args],
    "scatter": _scatter, "cast": _cast, "max": _extreme("Max"), "min": _extreme("Min"),
    "lu": _record, "cholesky": _matrices(_lower), "solve": _solved, "inv": _matrices(lambda a, _: a.inv()),
    "dft": fourier.formula, "det": _matrices(lambda a, _: a.det()), "logabsdet": _matrices(_log_absolute),
    "detsign": _matrices(_sign),
}
