"""From SymPy to graphs: derivatives of declared functions, and a general translator of expressions.

Every elementwise primitive declares a formula over x, y, z. `partial_by_sympy` differentiates it with `sympy.diff`
and translates the result back into nodes; equal subexpressions become one node by interning. SymPy is imported on
first use.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symhess.errors import NotDifferentiable, UnsupportedOperation
from symhess.graph.node import Node, constant
from symhess.primitives.elementwise import ARGUMENT_NAMES, ELEMENTWISE, Elementwise, apply

if TYPE_CHECKING:
    import sympy

Rule = Callable[["Translator", "sympy.Basic", list[Node]], Node]


# -- declared formulas -----------------------------------------------------------------------------------------------


@functools.cache
def _namespace() -> dict[str, Any]:
    """Everything that a formula may name: SymPy's functions, and z as a bound variable."""
    import sympy

    return {**vars(sympy), "z": sympy.Symbol("z", real=True)}


@functools.cache
def _code(text: str) -> types.CodeType:
    return compile(text, f"<formula {text}>", "eval")


def formula(primitive: Elementwise, *args: sympy.Basic) -> sympy.Basic:
    """The declared formula of a primitive, at SymPy arguments."""
    import sympy

    value = eval(_code(primitive.sympy), _namespace(), dict(zip(ARGUMENT_NAMES, args)))
    return sympy.sympify(value)


@functools.cache
def arguments(count: int) -> tuple[sympy.Symbol, ...]:
    """Real symbols x, y, z."""
    import sympy

    return tuple(sympy.Symbol(name, real=True) for name in ARGUMENT_NAMES[:count])


@functools.cache
def derivative(primitive: Elementwise, i: int) -> sympy.Basic:
    """d formula / d argument i, with the formula itself abbreviated as u; steps are flat."""
    import sympy

    symbols = arguments(primitive.nargs)
    whole = formula(primitive, *symbols)
    raw = sympy.diff(whole, symbols[i])
    steps = (sympy.floor, sympy.ceiling, sympy.sign)
    flat = raw.replace(lambda e: isinstance(e, sympy.Derivative) and e.expr.func in steps, lambda e: sympy.S.Zero)
    return flat.doit().subs(whole, sympy.Symbol("u", real=True))


def partial_by_sympy(primitive: Elementwise, i: int, node: Node) -> Node:
    """The graph of du/dv_i at the arguments of `node`, differentiated by SymPy once per primitive and argument."""
    import sympy

    known = dict(zip(arguments(primitive.nargs), node.args))
    known[sympy.Symbol("u", real=True)] = node
    try:
        return graph_from_sympy(derivative(primitive, i), known)
    except UnsupportedOperation as reason:
        raise NotDifferentiable(f"{primitive.name} has no closed derivative by its argument {ARGUMENT_NAMES[i]}, which "
                                f"has to be a constant ({reason})") from reason


# -- the translator --------------------------------------------------------------------------------------------------


def graph_from_sympy(expression: sympy.Basic, symbols: Mapping[sympy.Symbol, Node]) -> Node:
    """The node of a SymPy expression over `symbols`, whose nodes have equal ranks (or rank 0) and one dtype."""
    import sympy

    translator = Translator(symbols)
    return translator.translate(sympy.sympify(expression))


class Translator:
    """Translates one expression bottom-up, without recursion; remembers what it has seen."""

    def __init__(self, symbols: Mapping[sympy.Symbol, Node]):
        if not symbols:
            raise UnsupportedOperation("an expression without symbols has no dtype: use symhess.graph.constant")
        self.known: dict[Any, Node] = dict(symbols)
        dtypes = [n.dtype for n in symbols.values()]
        self.dtype = next((d for d in dtypes if d.kind == "f"), dtypes[0])

    def number(self, value: float) -> Node:
        return constant(value, self.dtype)

    def translate(self, expression: sympy.Basic) -> Node:
        """The node of an expression; what it is made of first, without recursion."""
        stack = [expression]
        while stack:
            top = stack[-1]
            if top in self.known:
                stack.pop()
                continue
            value = self.leaf(top)
            if value is None and top.func not in _rules():
                raise UnsupportedOperation(f"SymPy's {top.func.__name__} has no primitive, in {top}; known are "
                                           f"{', '.join(sorted(f.__name__ for f in _rules()))}")
            missing = [] if value is not None else [a for a in _children(top) if a not in self.known]
            if missing:
                stack.extend(reversed(missing))
                continue
            self.known[top] = value if value is not None else self.combined(top)
            stack.pop()
        return self.known[expression]

    def leaf(self, e: sympy.Basic) -> Node | None:
        """Numbers, truth values; an error for symbols that nobody gave."""
        import sympy

        if e in (sympy.true, sympy.false):
            return constant(bool(e))
        if e.is_Symbol:
            raise UnsupportedOperation(f"the symbol {e} stands for no node; given are {_names(self.known)}")
        if not getattr(e, "is_number", False):
            return None
        if e is sympy.nan or e.is_extended_real:
            return self.number(float(e.evalf(20)))
        raise UnsupportedOperation(f"{e} is not a real number")

    def combined(self, e: sympy.Basic) -> Node:
        return _rules()[e.func](self, e, [self.known[a] for a in _children(e)])


def _children(e: sympy.Basic) -> Sequence[sympy.Basic]:
    """The subexpressions that have to be translated first."""
    import sympy

    if isinstance(e, sympy.Piecewise):
        return [part for branch in e.args for part in branch.args]
    if isinstance(e, sympy.Mul):
        return [f.base if _is_divisor(f) and f.exp == -1 else (1 / f if _is_divisor(f) else f) for f in e.args]
    if isinstance(e, sympy.Pow) and e.exp.is_number:
        return [e.base]
    return e.args


def _is_divisor(e: sympy.Basic) -> bool:
    """True for powers with a negative exponent."""
    return e.is_Pow and e.exp.is_number and bool(e.exp.is_negative) and not e.base.is_number


def _names(known: Mapping[Any, Node]) -> str:
    return ", ".join(sorted(str(s) for s in known if s.is_Symbol))


def _chain(name: str) -> Rule:
    """An n-ary operation from a binary primitive."""
    return lambda t, e, args: functools.reduce(lambda a, b: apply(name, a, b), args)


def _add(t: Translator, e: sympy.Basic, args: list[Node]) -> Node:
    """Terms with a minus sign are subtracted."""
    total: Node | None = None
    for node in sorted(args, key=lambda n: n.op.name == "neg"):
        total = node if total is None else apply("add", total, node)
    return total


def _mul(t: Translator, e: sympy.Basic, args: list[Node]) -> Node:
    """Negative powers are divided by."""
    above = [n for f, n in zip(e.args, args) if not _is_divisor(f)]
    below = [n for f, n in zip(e.args, args) if _is_divisor(f)]
    product = functools.reduce(lambda a, b: apply("mul", a, b), above) if above else t.number(1)
    if not below:
        return product
    return apply("div", product, functools.reduce(lambda a, b: apply("mul", a, b), below))


def _pow(t: Translator, e: sympy.Basic, args: list[Node]) -> Node:
    """Square roots and reciprocals are taken as such, other powers by pow."""
    if len(args) == 2:
        return apply("pow", *args)
    (base,), exponent = args, e.exp
    if exponent.is_negative:
        return apply("div", t.number(1), _positive_power(t, base, -exponent))
    return _positive_power(t, base, exponent)


def _positive_power(t: Translator, base: Node, exponent: sympy.Basic) -> Node:
    """x^(n + 1/2) = x^n sqrt(x)."""
    if exponent.is_Rational and exponent.q == 2:
        root, whole = apply("sqrt", base), exponent.p // 2
        return apply("mul", apply("pow", base, t.number(whole)), root) if whole else root
    return apply("pow", base, t.number(float(exponent)))


def _piecewise(t: Translator, e: sympy.Basic, args: list[Node]) -> Node:
    """Nested selects; NaN where no condition holds, as in SymPy."""
    result = t.number(float("nan"))
    for value, condition in reversed(list(zip(args[::2], args[1::2]))):
        result = apply("where", condition, value, result)
    return result


def _via(text: str) -> Rule:
    """A function that is an expression of others, in SymPy's words over x, y."""
    def rule(t: Translator, e: sympy.Basic, args: list[Node]) -> Node:
        symbols = arguments(len(args))
        value = eval(_code(text), _namespace(), dict(zip(ARGUMENT_NAMES, symbols)))
        return graph_from_sympy(value, dict(zip(symbols, args)))

    return rule


def _direct(name: str) -> Rule:
    """The primitive of that name. SymPy's functions with optional arguments have a primitive for one form only."""
    def rule(t: Translator, e: sympy.Basic, args: list[Node]) -> Node:
        count = ELEMENTWISE[name].nargs
        if len(args) != count:
            raise UnsupportedOperation(f"SymPy's {e.func.__name__} of {len(args)} arguments has no primitive, in {e}; "
                                       f"that of {count} is {name}")
        return apply(name, *args)

    return rule


@functools.cache
def _rules() -> dict[Any, Rule]:
    """SymPy class -> rule. A primitive whose formula is one function of its arguments gives its own."""
    import sympy as sp

    rules: dict[Any, Rule] = {}
    for op in ELEMENTWISE.values():
        symbols = arguments(op.nargs)
        e = formula(op, *symbols)
        if isinstance(e, sp.Function | sp.core.relational.Relational) and e.args == symbols and e.func not in rules:
            rules[e.func] = _direct(op.name)
    rules |= {sp.Add: _add, sp.Mul: _mul, sp.Pow: _pow, sp.Piecewise: _piecewise, sp.Max: _chain("maximum"),
              sp.Min: _chain("minimum"), sp.And: _chain("logical_and"), sp.Or: _chain("logical_or"),
              sp.Xor: _chain("logical_xor"), sp.Not: _direct("logical_not"), sp.Mod: _direct("remainder"),
              sp.sinc: lambda t, e, args: apply("sinc_derivative", t.number(0), args[0]),
              sp.DiracDelta: lambda t, e, args: t.number(0)}
    for name, text in (("sec", "1/cos(x)"), ("csc", "1/sin(x)"), ("cot", "cos(x)/sin(x)"), ("sech", "1/cosh(x)"),
                       ("csch", "1/sinh(x)"), ("coth", "1/tanh(x)"), ("Heaviside", "(1 + sign(x))/2"),
                       ("frac", "x - floor(x)"), ("acot", "atan(1/x)"), ("factorial", "gamma(x + 1)"),
                       ("beta", "exp(loggamma(x) + loggamma(y) - loggamma(x + y))")):
        rules[getattr(sp, name)] = _via(text)
    return rules
