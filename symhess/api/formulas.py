"""`hessian_from_sympy`: a SymPy expression through the same pipeline as a NumPy function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from symhess.api.function import HessianFunction, hessian_jit
from symhess.api.inline import wrap
from symhess.errors import DTypeMismatch, NonScalarOutput, ShapeMismatch, UnsupportedOperation
from symhess.graph.node import Node, input_node
from symhess.primitives import cast, element
from symhess.primitives.rebuild import substituted
from symhess.primitives.sympy_rules import graph_from_sympy
from symhess.trace.ufuncs import node_of_any

if TYPE_CHECKING:
    import sympy

#: options of `hessian_jit` that say which argument is what; here the symbols say it
DECIDED = ("argnums", "static_argnums", "static_argnames")


@dataclass(frozen=True)
class Argument:
    """One argument of the function: a name, a shape, and a symbol for every element."""

    name: str
    shape: tuple[int, ...]
    symbols: tuple[Any, ...]


@dataclass
class Expression:
    """A SymPy expression as a function of arrays, which is traced like any other."""

    expression: Any
    arguments: tuple[Argument, ...]
    _graphs: dict[np.dtype, tuple[list[Node], Node]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.__name__ = self.__qualname__ = _shortened(str(self.expression))
        self.__doc__ = f"{self.__name__}, a function of {', '.join(a.name for a in self.arguments)}."

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_graphs": {}}

    @property
    def input_symbols(self) -> list[Any]:
        """The user's symbols, in the order of the elements of all arguments."""
        return [s for a in self.arguments for s in a.symbols]

    def __call__(self, *values: Any, **named: Any) -> Any:
        nodes = [node_of_any(v) for v in self._in_order(values, named)]
        for a, node in zip(self.arguments, nodes):
            if node.shape != a.shape:
                raise ShapeMismatch(f"{self.__name__}: the argument {a.name} stands for "
                                    f"{'one symbol' if a.shape == () else f'symbols of shape {a.shape}'}, it was given "
                                    f"an array of shape {node.shape}")
        floats = [n.dtype for n in nodes if n.dtype.kind == "f"]
        dtype = np.result_type(*floats) if floats else np.dtype(np.float64)
        inputs, result = self.graph(dtype)
        return wrap(substituted([result], {x: cast(n, dtype) for x, n in zip(inputs, nodes)})[0])

    def _in_order(self, values: tuple, named: dict[str, Any]) -> list[Any]:
        """The arguments by position, and by name those after them."""
        names = [a.name for a in self.arguments]
        rest = names[len(values):]
        if len(values) > len(names) or sorted(named) != sorted(rest):
            raise TypeError(f"{self.__name__} takes {len(names)} arguments ({', '.join(names)}), it was given "
                            f"{len(values)} by position and {sorted(named)} by name")
        return [*values, *(named[n] for n in rest)]

    def graph(self, dtype: np.dtype) -> tuple[list[Node], Node]:
        """Input nodes of the arguments, and the node of the expression over them."""
        found = self._graphs.get(dtype)
        if found is None:
            inputs = [input_node(a.name, a.shape, dtype) for a in self.arguments]
            known = {s: element(x, at) if a.shape else x for a, x in zip(self.arguments, inputs)
                     for s, at in zip(a.symbols, np.ndindex(a.shape))}
            found = self._graphs[dtype] = inputs, _translated(self.expression, known)
        return found


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _translated(expression: sympy.Expr, known: dict[Any, Node]) -> Node:
    """The node of the expression; every symbol becomes a real one first, whatever was assumed of it."""
    import sympy

    unique = sympy.Symbol if len({str(s) for s in known}) == len(known) else sympy.Dummy
    real = {s: unique(str(s), real=True) for s in known}
    return graph_from_sympy(expression.xreplace(real), {real[s]: node for s, node in known.items()})


# -- expressions and symbols -----------------------------------------------------------------------------------------


def hessian_from_sympy(expr: Any, symbols: Any, parameters: Any = (), **options: Any) -> HessianFunction:
    """Compile the Hessian of a SymPy expression.

    Args:
        expr: a scalar expression: arithmetic, Piecewise, Max, Min, Abs, and SymPy's functions that symhess knows. Sums,
            products, derivatives and traces or determinants of explicit size are carried out first.
        symbols: what is differentiated. A sequence of symbols (a list, a Matrix, an array of symbols) is one array of
            its shape; one Symbol is a number; a MatrixSymbol or an IndexedBase with a shape is an array. A sequence
            with any of these in it (`[X, (a, b)]`) is one argument for each entry, and Hessians come in blocks.
        parameters: symbols that are not differentiated: one argument for each entry, a number or an array, after the
            others or by its name. Their values may change from call to call.
        **options: as of `hessian_jit`: `sparse`, `dtype`, `mode`, `parallel`, `cache`, `fastmath`, `memory_budget`.

    Returns:
        A HessianFunction of these arguments.

    Raises:
        UnsupportedOperation: the expression has a function that symhess does not know, or a symbol that is not given.
        NonScalarOutput: the expression is a matrix or an equation.

    Example:
        >>> import numpy as np, sympy, symhess
        >>> x, y, a = sympy.symbols("x y a")
        >>> f = symhess.hessian_from_sympy(a * x**2 * sympy.exp(y), [x, y], [a])
        >>> f(np.array([1.0, 0.0]), 0.5)
        array([[1. , 1. ],
               [1. , 0.5]])
    """
    if wrong := sorted(set(options).intersection(DECIDED)):
        raise TypeError(f"hessian_from_sympy takes no {wrong[0]}; symbols= says what is differentiated, parameters= "
                        "what is not")
    active, several = _arguments(symbols, "symbols")
    data = _parameters(parameters)
    arguments = tuple(_named_apart([*active, *data]))
    fn = Expression(_prepared(expr, arguments), arguments)
    fn.graph(np.dtype(np.float64))  # what cannot be translated says so now
    return hessian_jit(fn, argnums=tuple(range(len(active))) if several else 0, **options)


def _prepared(expr: Any, arguments: Sequence[Argument]) -> sympy.Expr:
    """The expression with matrices written out and all that is to be carried out done; errors for what is left."""
    import sympy

    try:
        expr = sympy.sympify(expr, strict=True)
    except sympy.SympifyError:
        raise TypeError(f"hessian_from_sympy needs a SymPy expression, got {type(expr).__name__} {expr!r:.60}; "
                        "sympy.sympify makes one from text") from None
    explicit = {m: m.as_explicit() for m in expr.atoms(sympy.MatrixSymbol) if _sizes(m) is not None}
    expr = expr.xreplace(explicit)
    if expr.has(sympy.Sum, sympy.Product, sympy.Integral, sympy.Derivative, sympy.Subs, sympy.MatrixExpr) or explicit:
        expr = expr.doit()
    if getattr(expr, "shape", None) == (1, 1):
        expr = expr[0, 0]
    if not isinstance(expr, sympy.Expr) or getattr(expr, "shape", ()) != ():
        shape = getattr(expr, "shape", None)
        raise NonScalarOutput(f"hessian_from_sympy needs one scalar expression, got {type(expr).__name__}"
                              f"{f' of shape {shape}' if shape else ''}: {_shortened(str(expr))}")
    _check_functions(expr)
    _check_symbols(expr, [s for a in arguments for s in a.symbols])
    return expr


def _check_functions(expr: sympy.Expr) -> None:
    from sympy.core.function import AppliedUndef

    if unknown := sorted(expr.atoms(AppliedUndef), key=str):
        raise UnsupportedOperation(f"the function {unknown[0].func} in {unknown[0]} is not defined; replace it by an "
                                   f"expression: expr.subs({unknown[0]}, ...)")


def _check_symbols(expr: sympy.Expr, given: Sequence[Any]) -> None:
    """Every free symbol must be given, with the same assumptions."""
    import sympy

    for s in given:
        if s.is_real is False:
            raise DTypeMismatch(f"the symbol {s} is assumed not to be real; Hessians are of real variables")
    free = {e for e in expr.atoms(sympy.Symbol, sympy.Indexed) if e.is_Symbol or isinstance(e, sympy.Indexed)}
    bases = {part for e in free if isinstance(e, sympy.Indexed) for part in e.free_symbols if part is not e}
    missing = sorted(free - bases - set(given), key=str)
    if missing:
        same = [s for s in given if str(s) == str(missing[0])]
        why = f"; a symbol of this name is given, with other assumptions ({same[0].assumptions0})" if same else ""
        raise UnsupportedOperation(f"the expression depends on {', '.join(map(str, missing))}, which "
                                   f"{'is' if len(missing) == 1 else 'are'} in neither symbols nor parameters{why}")


def _arguments(symbols: Any, what: str) -> tuple[list[Argument], bool]:
    """The arguments that a description of symbols means, and whether they are several."""
    one = _argument(symbols, what)
    if one is not None:
        return [one], False
    return [_certain(entry, what) for entry in symbols], True


def _parameters(parameters: Any) -> list[Argument]:
    """One argument for each entry; a single symbol or array of symbols is one."""
    import sympy

    if isinstance(parameters, sympy.Symbol | sympy.MatrixSymbol | sympy.IndexedBase):
        parameters = [parameters]
    return [_certain(entry, "parameters") for entry in parameters]


def _certain(entry: Any, what: str) -> Argument:
    found = _argument(entry, what)
    if found is None:
        raise TypeError(f"{what}: {entry!r:.80} is no symbol and no array of symbols")
    return found


def _argument(entry: Any, what: str) -> Argument | None:
    """One symbol or one array of symbols as an argument; None for a sequence of several arguments."""
    import sympy

    if isinstance(entry, sympy.Symbol):
        return Argument(entry.name, (), (entry,))
    if isinstance(entry, sympy.MatrixSymbol | sympy.IndexedBase):
        shape = _sizes(entry)
        if shape is None:
            raise ShapeMismatch(f"{what}: {entry} has no shape of whole numbers (it is {entry.shape})")
        return Argument(str(getattr(entry, "name", entry)), shape, tuple(entry[at] for at in np.ndindex(shape)))
    if isinstance(entry, str) or not np.iterable(entry):
        raise TypeError(f"{what}: {entry!r:.80} is no symbol and no array of symbols; use sympy.symbols")
    if not hasattr(entry, "shape"):
        entry = _object_array(list(entry))
        if not all(isinstance(s, sympy.Symbol | sympy.Indexed) for s in entry):
            return None
    shape = tuple(map(int, entry.shape))
    found = tuple(entry[at] for at in np.ndindex(shape))
    for s in found:
        if not isinstance(s, sympy.Symbol | sympy.Indexed):
            raise TypeError(f"{what}: the array of symbols has the element {s!r:.80}, which is no symbol")
    if not found:
        raise ShapeMismatch(f"{what}: an array of no symbols")
    return Argument(_common([str(s) for s in found]) or what, shape, found)


def _common(names: list[str]) -> str:
    """What all the names begin with, without numbers at its end."""
    first, last = min(names), max(names)
    count = next((k for k, (a, b) in enumerate(zip(first, last)) if a != b), min(len(first), len(last)))
    return first[:count].rstrip("_[0123456789")


def _object_array(items: list[Any]) -> np.ndarray:
    """A flat array of objects, whatever they are."""
    out = np.empty(len(items), object)
    for k, item in enumerate(items):
        out[k] = item
    return out


def _sizes(matrix: Any) -> tuple[int, ...] | None:
    """The shape of a MatrixSymbol or IndexedBase where it is known to be of whole numbers."""
    sizes = matrix.shape
    return tuple(map(int, sizes)) if sizes and all(getattr(n, "is_Integer", False) for n in sizes) else None


def _named_apart(arguments: Sequence[Argument]) -> list[Argument]:
    """Each symbol once; arguments with a name that was there before get a number."""
    every = [s for a in arguments for s in a.symbols]
    if twice := [s for s, count in Counter(every).items() if count > 1]:
        raise ValueError(f"the symbol {twice[0]} is given twice")
    names = [a.name for a in arguments]
    return [replace(a, name=f"{a.name}_{k}") if names.count(a.name) > 1 else a for k, a in enumerate(arguments)]
