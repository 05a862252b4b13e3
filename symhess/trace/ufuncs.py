"""NumPy's universal functions as compositions of elementwise primitives, with NumPy's own type resolution."""

from __future__ import annotations

import contextlib
import functools
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symhess.errors import ConcretizationError, DTypeMismatch, UnsupportedOperation
from symhess.graph.node import Node, constant
from symhess.primitives import ELEMENTWISE, apply, broadcast_to, cast, reshape
from symhess.trace.session import BOOL, FLOAT64, current_session, graph_dtype, here, mark
from symhess.trace.tracer import Tracer, buffer

Rule = Callable[..., Any]

#: ufunc name -> primitive of the same meaning (arguments of the dtype that NumPy resolves)
SAME = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "negative": "neg", "power": "pow",
    "float_power": "pow", "sqrt": "sqrt", "cbrt": "cbrt", "absolute": "abs", "fabs": "abs", "sign": "sign",
    "copysign": "copysign", "hypot": "hypot", "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log",
    "log2": "log2", "log10": "log10", "log1p": "log1p", "logaddexp": "logaddexp", "sin": "sin", "cos": "cos",
    "tan": "tan", "arcsin": "arcsin", "arccos": "arccos", "arctan": "arctan", "arctan2": "arctan2", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "arcsinh": "arcsinh", "arccosh": "arccosh", "arctanh": "arctanh",
    "maximum": "maximum", "minimum": "minimum", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "rint",
    "less": "less", "less_equal": "less_equal", "greater": "greater",
    "greater_equal": "greater_equal", "equal": "equal", "not_equal": "not_equal", "isnan": "isnan",
    "isfinite": "isfinite",
    # scipy.special
    "expit": "sigmoid", "erf": "erf", "erfc": "erfc", "erfinv": "erfinv", "gammaln": "gammaln", "gamma": "gamma",
    "psi": "digamma", "digamma": "digamma", "log_expit": "log_expit", "logit": "logit", "xlogy": "xlogy",
    "xlog1py": "xlog1py", "entr": "entr", "ndtr": "ndtr", "log_ndtr": "log_ndtr", "erfcx": "erfcx", "j0": "j0",
    "j1": "j1", "i0": "i0", "i1": "i1", "i0e": "i0e", "i1e": "i1e", "betaln": "betaln", "rel_entr": "rel_entr",
    "kl_div": "kl_div", "exprel": "exprel", "ndtri": "ndtri", "log1p_": "log1p", "polygamma": "polygamma",
    "loggamma": "gammaln", "sinc": "sinc", "gammainc": "gammainc", "gammaincc": "gammaincc",
}
_BOOLEAN = {"add": "logical_or", "multiply": "logical_and", "maximum": "logical_or", "minimum": "logical_and",
            "fmax": "logical_or", "fmin": "logical_and", "bitwise_and": "logical_and", "bitwise_or": "logical_or",
            "bitwise_xor": "logical_xor", "invert": "logical_not", "logical_and": "logical_and",
            "logical_or": "logical_or", "logical_xor": "logical_xor", "logical_not": "logical_not"}
#: ufunc name -> rule(*nodes of the resolved dtype) -> node, or a tuple of nodes
COMPOSED: dict[str, Rule] = {}


def composed(*names: str) -> Callable[[Rule], Rule]:
    """Enter a rule for ufuncs that are compositions of primitives."""
    def enter(rule: Rule) -> Rule:
        for name in names:
            COMPOSED[name] = rule
        return rule

    return enter


def like(value: float, x: Node) -> Node:
    return constant(value, x.dtype)


def _entry(*names: str, rule: Rule) -> None:
    composed(*names)(rule)


_entry("positive", "conjugate", rule=lambda x: x)
_entry("square", rule=lambda x: apply("mul", x, x))
_entry("reciprocal", rule=lambda x: apply("div", like(1, x), x))
_entry("deg2rad", "radians", rule=lambda x: apply("mul", like(math.pi / 180, x), x))
_entry("rad2deg", "degrees", rule=lambda x: apply("mul", like(180 / math.pi, x), x))
_entry("ldexp", rule=lambda x, i: apply("mul", x, apply("exp2", cast(i, x.dtype))))
_entry("isinf", rule=lambda x: apply("equal", apply("abs", x), like(np.inf, x)))
_entry("signbit", rule=lambda x: apply("less", apply("copysign", like(1, x), x), like(0, x)))
_entry("fmax", rule=lambda x, y: _skip_nan(x, y, "maximum"))
_entry("fmin", rule=lambda x, y: _skip_nan(x, y, "minimum"))
_entry("clip", rule=lambda x, low, high: apply("minimum", apply("maximum", x, low), high))
_entry("modf", rule=lambda x: (apply("sub", x, apply("trunc", x)), apply("trunc", x)))
_entry("divmod", rule=lambda x, y: (floor_divide(x, y), remainder(x, y)))


def _skip_nan(x: Node, y: Node, op: str) -> Node:
    """The larger (smaller) one, or the one that is a number where the other is not."""
    return apply("where", apply("isnan", x), y, apply("where", apply("isnan", y), x, apply(op, x, y)))


@composed("floor_divide")
def floor_divide(x: Node, y: Node) -> Node:
    """x // y = (x - x mod y) / y, which is an integer up to rounding; of integers in two steps, each of 53 bits.

    As in NumPy x / y where y is 0, and -1 where y is an infinity of the other sign, which is then the remainder.
    """
    rest, zero = remainder(x, y), like(0, y)
    whole = apply("sub", x, rest)
    if x.dtype.kind == "f":
        across = apply("equal", apply("abs", rest), like(np.inf, y))
        quotient = apply("where", across, like(-1, y), apply("rint", apply("div", whole, y)))
        return apply("where", apply("equal", y, zero), apply("floor", apply("div", x, y)), quotient)
    divisor = apply("where", apply("equal", y, zero), like(1, y), y)
    quotient = _nearest(whole, divisor)
    quotient = apply("add", quotient, _nearest(apply("sub", whole, apply("mul", quotient, divisor)), divisor))
    return apply("where", apply("equal", y, zero), zero, quotient)


def _nearest(x: Node, y: Node) -> Node:
    """The integer nearest to x / y, up to the rounding of floats."""
    return cast(apply("rint", apply("div", cast(x, np.float64), cast(y, np.float64))), x.dtype)


@composed("remainder")
def remainder(x: Node, y: Node) -> Node:
    """x mod y with the sign of y; of integers 0 where y is 0, and without a division that traps (by 0, or by -1)."""
    if x.dtype.kind == "f":
        return apply("remainder", x, y)
    trivial = apply("logical_or", apply("equal", y, like(0, y)), apply("equal", y, like(-1, y)))
    return apply("remainder", x, apply("where", trivial, like(1, y), y))


@composed("fmod")
def fmod(x: Node, y: Node) -> Node:
    """The remainder with the sign of x."""
    if x.dtype.kind == "f":
        return apply("fmod", x, y)
    m, zero = remainder(x, y), like(0, y)
    apart = apply("not_equal", apply("less", x, zero), apply("less", m, zero))
    return apply("where", apply("logical_and", apart, apply("not_equal", m, zero)), apply("sub", m, y), m)


def _decided(ufunc: np.ufunc) -> Rule:
    """Integers have no derivative: their values are taken, and guarded."""
    def rule(*integers: Node) -> Node:
        remedy = "use constants, or let the function be retraced (mode=\"auto\")"
        return constant(ufunc(*(current_session().decide_array(i, ufunc.__name__, remedy) for i in integers)))

    return rule


for _ufunc in (np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift, np.gcd,
               np.lcm):
    COMPOSED[_ufunc.__name__] = _decided(_ufunc)


@composed("power")
def power(x: Node, y: Node) -> Node:
    """x^y; of integers only where it is one."""
    if y.dtype.kind == "i":
        negative = apply("less", y, like(0, y))
        with contextlib.suppress(ConcretizationError):  # in the bodies of loops
            if current_session().decide_array(negative, "the sign of an integer exponent", "").any():
                raise ValueError(f"Integers to negative integer powers are not allowed{here()}; make the base a float")
    return apply("pow", x, y)


@composed("heaviside")
def heaviside(x: Node, at_zero: Node) -> Node:
    """0 below zero, 1 above, `at_zero` at zero."""
    step = apply("where", apply("less", x, like(0, x)), like(0, x), like(1, x))
    return apply("where", apply("equal", x, like(0, x)), at_zero, step)


@composed("logaddexp2")
def logaddexp2(x: Node, y: Node) -> Node:
    """log2(2^x + 2^y) = logaddexp(x log 2, y log 2) / log 2."""
    ln2 = like(math.log(2), x)
    return apply("mul", like(1 / math.log(2), x), apply("logaddexp", apply("mul", ln2, x), apply("mul", ln2, y)))


def _logical(name: str) -> Rule:
    def rule(*args: Node) -> Node:
        return apply(name, *(truth(a) for a in args))

    return rule


def truth(x: Node) -> Node:
    """x != 0 as a boolean node."""
    return x if x.dtype == BOOL else apply("not_equal", x, like(0, x))


for _name in ("logical_and", "logical_or", "logical_xor", "logical_not"):
    COMPOSED[_name] = _logical(_name)


# -- operands and dtypes -------------------------------------------------------------------------------------------


def is_operand(x: Any) -> bool:
    return isinstance(x, (Tracer, numbers.Number, np.ndarray, np.generic, list, tuple))


def as_operand(x: Any) -> Any:
    """A tracer, an array or a number; lists are turned into arrays."""
    if type(x) is not Tracer and isinstance(x, (list, tuple)):
        from symhess.trace.construction import array

        return array(x)
    return x


def promotion_type(x: Any) -> Any:
    """What NumPy's promotion sees: the Python type of a Python number, the dtype of everything else."""
    kind = type(x)
    if kind is float or kind is int:
        return kind
    if isinstance(x, Tracer):
        return x.dtype if not x._python or x.dtype.kind == "b" else float if x.dtype.kind == "f" else int
    return np.dtype(bool) if kind is bool else np.asarray(x).dtype


def common_dtype(*values: Any) -> np.dtype:
    """np.result_type of values among which there may be traced ones."""
    types = map(promotion_type, values)
    return np.result_type(*(t(1) if t is int or t is float else t for t in types))


def node_of_any(x: Any, dtype: Any = None) -> Node:
    """The node of a tracer, array, list or number, cast to `dtype`."""
    x = as_operand(x)
    session = current_session()
    if type(x) is Node:
        node = x
    elif type(x) is Tracer or isinstance(x, Tracer):
        data = x.concrete
        node = x.node if data is None else session.constant(data)
    elif type(x) in (int, float):
        return session.scalar(x, graph_dtype(np.dtype(type(x) if dtype is None else dtype)))
    else:
        data = x if isinstance(x, np.ndarray) else np.asarray(x)
        if dtype is not None and data.dtype != dtype and data.dtype.kind in "fiub":
            data = data.astype(dtype)
        node = session.constant(data)
    return node if dtype is None else cast(node, graph_dtype(np.dtype(dtype)))


@functools.lru_cache(maxsize=4096)
def _loop(ufunc: np.ufunc, types: tuple) -> tuple[np.dtype, ...]:
    try:
        loop = ufunc.resolve_dtypes((*types, *(None,) * ufunc.nout))
    except TypeError as error:
        names = " and ".join(str(getattr(t, "__name__", t)) for t in types)
        raise DTypeMismatch(f"{ufunc.__name__} does not take {names}{here()}: {error}") from None
    return tuple(graph_dtype(np.dtype(np.float32) if t == np.float16 else t) for t in loop)


def align(nodes: Sequence[Node]) -> list[Node]:
    """The nodes with leading size-1 axes added, so that all but the numbers have one rank."""
    rank = max(n.ndim for n in nodes)
    if all(n.ndim in (0, rank) for n in nodes):
        return list(nodes)
    return [reshape(n, (1,) * (rank - n.ndim) + n.shape) if n.ndim else n for n in nodes]


# -- calling -------------------------------------------------------------------------------------------------------


def call_ufunc(ufunc: np.ufunc, args: Sequence[Any], out: Any = None, where: Any = True, dtype: Any = None,
               **options: Any) -> Any:
    """ufunc(*args) for arguments among which there are tracers."""
    if len(args) == 1 and out is None and where is True and dtype is None and not options:
        x, primitive = args[0], _of_one(ufunc)
        if type(x) is Tracer and primitive is not None and x.concrete is None and x.node.dtype is FLOAT64:
            return Tracer(apply(primitive, x.node), current_session())
    if len(args) > ufunc.nin:
        args, out = args[:ufunc.nin], tuple(args[ufunc.nin:])
    args = [as_operand(a) for a in args]
    if all(not isinstance(a, Tracer) or a.concrete is not None for a in args) and out is None and where is True:
        with np.errstate(all="ignore"):
            return rebuffer(ufunc(*(a.concrete if isinstance(a, Tracer) else a for a in args), dtype=dtype, **options))
    if any(map(_is_complex, args)):
        from symhess.trace.complex_ufuncs import complex_ufunc

        return complex_ufunc(ufunc, args, out, where, dtype)
    result = _wrapped(_result(ufunc, args, dtype))
    target = out[0] if isinstance(out, tuple) else out
    if where is not True:
        if target is None:
            raise UnsupportedOperation(f"{ufunc.__name__}(where=...) needs out=...{here()}; use np.where")
        result = select(where, result, target, dtype=target.dtype)
    return result if target is None else into(out, result)


@functools.cache
def _of_one(ufunc: np.ufunc) -> str | None:
    """The primitive that a ufunc of one argument is for every float, if it is one."""
    primitive = SAME.get(ufunc.__name__)
    single = ufunc.nin == ufunc.nout == 1 and ufunc.signature is None and ufunc.__name__ not in COMPOSED
    return primitive if single and primitive in ELEMENTWISE else None


def _is_complex(x: Any) -> bool:
    if type(x) is Tracer:
        return False
    return isinstance(x, complex) or (not isinstance(x, (float, int)) and x.dtype.kind == "c")


def _result(ufunc: np.ufunc, args: Sequence[Any], dtype: Any) -> Any:
    if ufunc.signature is not None:
        return _generalised(ufunc)(*(node_of_any(a, common_dtype(*args)) for a in args))
    name = ufunc.__name__
    types = tuple(promotion_type(a) for a in args)
    if dtype is not None:
        types = (np.dtype(dtype),) * len(args)
    elif all(t is int or t is float for t in types):  # of which NumPy would make objects to compare them
        types = tuple(map(np.dtype, types))
    loop = _loop(ufunc, types)
    nodes = align([node_of_any(a, t) for a, t in zip(args, loop)])
    if nodes[0].dtype == BOOL and name in _BOOLEAN:
        return apply(_BOOLEAN[name], *nodes)
    result = _rule(name)(*nodes)
    outputs = loop[len(args):]
    return tuple(map(cast, result, outputs)) if isinstance(result, tuple) else cast(result, outputs[0])


def _rule(name: str) -> Rule:
    rule = COMPOSED.get(name)
    if rule is not None:
        return rule
    primitive = SAME.get(name)
    if primitive not in ELEMENTWISE:
        from symhess.trace.functions import unsupported

        raise unsupported(name)
    return functools.partial(apply, primitive)


def _generalised(ufunc: np.ufunc) -> Rule:
    from symhess.trace.functions import unsupported
    from symhess.trace.linalg import GENERALISED

    if ufunc.__name__ not in GENERALISED:
        raise unsupported(ufunc.__name__)
    return GENERALISED[ufunc.__name__]


def _wrapped(result: Any) -> Any:
    session = current_session()
    return tuple(Tracer(r, session) for r in result) if isinstance(result, tuple) else Tracer(result, session)


def rebuffer(result: Any) -> Any:
    """Plain results as buffers, so that traced values may be written into them later."""
    if isinstance(result, np.ndarray):
        return buffer(result, current_session())
    if isinstance(result, (tuple, list)) and not hasattr(result, "_fields"):
        return type(result)(map(rebuffer, result))
    return result


def into(out: Any, result: Any) -> Any:
    """The result written into the array (or arrays) given as `out`."""
    from symhess.trace.assignment import overwrite

    outs = out if isinstance(out, tuple) else (out,)
    results = result if isinstance(result, tuple) else (result,)
    for o, r in zip(outs, results):
        if not isinstance(o, Tracer):
            raise UnsupportedOperation(f"out= must be an array made in the traced function{here()}; leave it out")
        overwrite(o, np.broadcast_to(as_tracer(r), o.shape))
    return outs[0] if not isinstance(result, tuple) else outs


def as_tracer(x: Any) -> Tracer:
    """A tracer of an array or a number; a tracer is itself."""
    return x if isinstance(x, Tracer) else Tracer(node_of_any(x), current_session())


def select(condition: Any, a: Any, b: Any, dtype: Any = None) -> Tracer:
    """np.where(condition, a, b) with NumPy's promotion of a and b."""
    a, b = as_operand(a), as_operand(b)
    if dtype is None:
        dtype = common_dtype(a, b)
    c = truth(node_of_any(condition))
    shape = np.broadcast_shapes(c.shape, np.shape(a), np.shape(b))
    return Tracer(broadcast_to(apply("where", *align([c, node_of_any(a, dtype), node_of_any(b, dtype)])), shape),
                  current_session())


def array_ufunc(self: Tracer, ufunc: np.ufunc, method: str, *args: Any, **options: Any) -> Any:
    """NumPy's entry for ufuncs that meet a tracer."""
    mark()
    out = options.get("out")
    if out is not None and len(out) == 1 and method == "__call__" and not isinstance(out[0], Tracer):
        raise UnsupportedOperation(f"a traced value cannot be written into a plain array{here()}; make the array with "
                                   "np.zeros inside the traced function, or write x = x + y")
    if method == "__call__":
        return call_ufunc(ufunc, args, **options)
    from symhess.trace.ufunc_methods import UFUNC_METHODS

    target = out[0] if isinstance(out, tuple) else out
    result = UFUNC_METHODS[method](ufunc, *args, **{k: v for k, v in options.items() if k != "out"})
    return result if target is None else into(target, result)


Tracer.__array_ufunc__ = array_ufunc
