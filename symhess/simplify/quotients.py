"""Quotients and differences of exponentials and their like, which overflow, cancel or are 0/0 as they are written.

    1/(1 + exp(-x)) = sigmoid(x),  exp(x)/(1 + exp(x)) = sigmoid(x),  1 - sigmoid(x) = sigmoid(-x)
    exp(x)/sum(exp(x)) = exp(x - logsumexp(x)),  also where x is shifted by a maximum
    exp(x) - 1 = expm1(x),  1/expm1(x) = inverse_expm1(x),  expm1(x)/x = exprel(x)
    x/expm1(x) = 1/exprel(x) = exp(-x)/exprel(-x),  sin(x)/x = sinc
    sinh(x)/cosh(x) = tanh(x),  a/cosh(x) = a sech(x),  1 - tanh(x)**2 = sech(x)**2,  a/exp(x) = a exp(-x)
"""

from __future__ import annotations

from symhess.graph.node import Node, constant, scalar_value
from symhess.primitives import INDEX, RESHAPE, SUM, apply, broadcast_to, reshape
from symhess.primitives.logsumexp import logsumexp


def of_shape(op: str, shape: tuple[int, ...], *args: Node) -> Node | None:
    """op(args) if that has the shape."""
    made = apply(op, *args)
    return made if made.shape == shape else None


def is_number(v: Node, value: float) -> bool:
    """True for the scalar constant `value`."""
    return v.ndim == 0 and scalar_value(v) == value


def beside_one(v: Node) -> Node | None:
    """x of 1 + x."""
    if v.op.name != "add":
        return None
    one, x = v.args if is_number(v.args[0], 1) else v.args[::-1]
    return x if is_number(one, 1) else None


def negative(x: Node) -> Node:
    return apply("neg", x)


def _logistic(node: Node) -> Node | None:
    """a/(1 + exp(x)) = a sigmoid(-x),  exp(x)/(1 + exp(x)) = sigmoid(x)."""
    above, e = node.args[0], beside_one(node.args[1])
    if e is None or e.op.name != "exp":
        return None
    if above is e:
        return apply("sigmoid", e.args[0])
    logistic = apply("sigmoid", negative(e.args[0]))
    return logistic if is_number(above, 1) else apply("mul", above, logistic)


def _softmax(node: Node) -> Node | None:
    """exp(x)/sum(exp(x)) = exp(x - logsumexp(x)), the sum spread over the axes that it has summed."""
    e, below = node.args
    if e.op.name != "exp":
        return None
    while below.op in (RESHAPE, INDEX) and below.size == below.args[0].size:
        below = below.args[0]
    if below.op is not SUM or below.args[0] is not e:
        return None
    kept = tuple(1 if d in below.attrs else n for d, n in enumerate(e.shape))
    spread = node.args[1]
    if spread.shape != kept and not (spread.ndim == 0 and len(below.attrs) == e.ndim):
        return None
    x = unshifted(e.args[0], below.attrs)
    return of_shape("exp", node.shape, apply("sub", x, reshape(logsumexp(x, below.attrs), kept)))


def unshifted(x: Node, axes: tuple[int, ...]) -> Node:
    """a of a - b, where b is constant along `axes`."""
    while x.op.name == "sub" and is_constant_along(x.args[1], axes, x.ndim):
        a = x.args[0]
        x = a if a.shape == x.shape else broadcast_to(a, x.shape)
    return x


def is_constant_along(b: Node, axes: tuple[int, ...], rank: int) -> bool:
    """True for numbers, and arrays with size 1 along `axes`."""
    return b.ndim == 0 or (b.ndim == rank and all(b.shape[d] == 1 for d in axes))


def _of_cosh(node: Node) -> Node | None:
    """sinh(x)/cosh(x) = tanh(x),  a/cosh(x) = a sech(x),  a/cosh(x)**2 = a sech(x)**2."""
    above, below = node.args
    if below.op.name == "cosh":
        x = below.args[0]
        if above.op.name == "sinh" and above.args[0] is x:
            return apply("tanh", x)
        return apply("mul", above, apply("sech", x))
    if below.op.name == "mul" and below.args[0] is below.args[1] and below.args[0].op.name == "cosh":
        s = apply("sech", below.args[0].args[0])
        return apply("mul", above, apply("mul", s, s))
    return None


def _by_exp(node: Node) -> Node | None:
    """a/exp(x) = a exp(-x), but for a = exp(..), where the difference of the exponents would be rounded."""
    above, below = node.args
    if below.op.name != "exp" or above.op.name == "exp":
        return None
    return apply("mul", above, apply("exp", negative(below.args[0])))


def _removable(node: Node) -> Node | None:
    """sin(x)/x, expm1(x)/x, x/expm1(x), 1/expm1(x)."""
    above, below = node.args
    if above.op.name == "sin" and above.args[0] is below:
        return apply("sinc_derivative", constant(0, below.dtype), below)
    if above.op.name == "expm1" and above.args[0] is below:
        return apply("exprel", below)
    if below.op.name == "expm1":
        if below.args[0] is above:
            return _bernoulli(above)
        return apply("mul", above, apply("inverse_expm1", below.args[0]))
    return None


def _bernoulli(x: Node) -> Node:
    """x/(exp(x) - 1) = exp(-x)/exprel(-x) where x > 0, 1/exprel(x) elsewhere: neither overflows."""
    zero, one = constant(0, x.dtype), constant(1, x.dtype)
    right = apply("div", apply("exp", negative(x)), apply("exprel", negative(x)))
    return apply("where", apply("less", zero, x), right, apply("div", one, apply("exprel", x)))


def _minus_one(node: Node) -> Node | None:
    """exp(x) - 1 = expm1(x) and -1 + exp(x) likewise."""
    for e, one in (node.args, node.args[::-1]) if node.op.name == "add" else (node.args,):
        if e.op.name == "exp" and is_number(one, -1 if node.op.name == "add" else 1):
            return apply("expm1", e.args[0])
    return None


def _from_one(node: Node) -> Node | None:
    """1 - exp(x) = -expm1(x),  1 - sigmoid(x) = sigmoid(-x),  1 - tanh(x)**2 = sech(x)**2."""
    one, v = node.args
    if not is_number(one, 1):
        return None
    if v.op.name == "exp":
        return negative(apply("expm1", v.args[0]))
    if v.op.name == "sigmoid":
        return apply("sigmoid", negative(v.args[0]))
    if v.op.name == "mul" and v.args[0] is v.args[1] and v.args[0].op.name == "tanh":
        s = apply("sech", v.args[0].args[0])
        return apply("mul", s, s)
    return None


RULES = {"div": (_logistic, _softmax, _of_cosh, _removable, _by_exp), "add": (_minus_one,),
         "sub": (_minus_one, _from_one)}
