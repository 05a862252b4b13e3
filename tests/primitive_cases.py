"""Cases for the sweep over primitives that are not elementwise, and the differences that check their derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg

from symhess import primitives as sp
from symhess.graph.evaluate import evaluate_nodes
from symhess.graph.maps import affine_map, axis_map, constant_map, table_map
from symhess.graph.node import Node, constant, input_node
from symhess.loops.looping import looped, switched
from symhess.loops.semiseparable import semiseparable
from symhess.primitives import apply, linalg
from symhess.primitives import decompositions as dec
from symhess.primitives.control import Loop, Output, Phase, Switch, packed
from symhess.primitives.dynamic import put_add, take
from symhess.primitives.logsumexp import logsumexp
from symhess.primitives.matrix_functions import matrix_function

SEED = 20240917


class Case(NamedTuple):
    """A node as a function of inputs, the same in NumPy, and arrays to try. `moving` inputs are differentiated."""

    name: str
    build: Callable[..., Node]
    numpy: Callable[..., np.ndarray]
    arrays: tuple[np.ndarray, ...]
    moving: tuple[int, ...]


def case(name: str, build: Callable[..., Node], numpy: Callable[..., np.ndarray], *arrays: np.ndarray,
         moving: Sequence[int] | None = None) -> Case:
    if moving is None:
        moving = [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]
    return Case(name, build, numpy, arrays, tuple(moving))


def inputs_of(arrays: Sequence[np.ndarray]) -> list[Node]:
    return [input_node(f"v{k}", np.shape(a), np.asarray(a).dtype) for k, a in enumerate(arrays)]


def value(outputs: Node | Sequence[Node], inputs: Sequence[Node], arrays: Sequence[np.ndarray]):
    """The value of one node, or of several."""
    several = isinstance(outputs, list | tuple)
    found = evaluate_nodes(list(outputs) if several else [outputs], dict(zip(inputs, arrays)))
    return found if several else found[0]


def along(function: Callable[[float], np.ndarray], step: float = 2e-3) -> np.ndarray:
    """d function(t) / dt at 0 by central differences of sixth order."""
    weights = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
    return sum(w * (function(k * step) - function(-k * step)) for k, w in weights.items()) / step


def _spd(rng: np.random.Generator, *shape: int) -> np.ndarray:
    a = rng.normal(size=shape)
    return a @ np.swapaxes(a, -1, -2) + shape[-1] * np.eye(shape[-1])


def _symmetric(a: Node) -> Node:
    return linalg.symmetric_part(a)


def _lower_solve(l: np.ndarray, b: np.ndarray, lower: bool, trans: bool) -> np.ndarray:
    l = np.tril(l) if lower else np.triu(l)
    return np.linalg.solve(np.swapaxes(l, -1, -2) if trans else l, b)


def _put(v: np.ndarray, i: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros((size, *v.shape[i.ndim:]))
    for at in np.ndindex(i.shape):
        out[i[at]] += v[at]
    return out


def _movement(rng: np.random.Generator) -> list[Case]:
    v, w, s = rng.normal(size=(4, 5)), rng.normal(size=(2, 3)), rng.normal(size=())
    shape, table = (3, 2), np.array([[1], [0], [3]])
    gathered = (table_map(table, shape), affine_map(shape, 4, {1: -3}))
    pad = (affine_map((2, 3), 1, {0: 2}), affine_map((2, 3), 1, {1: 1}))
    collide = (table_map(np.array([[2, 0, 2]]), (2, 3)),)
    broadcast = (constant_map((3, 4, 5), 2), axis_map((3, 4, 5), 1))
    return [
        case("gather", lambda x: sp.index(x, gathered, shape), lambda x: x[table, [[4, 1]]], v),
        case("broadcast row", lambda x: sp.index(x, broadcast, (3, 4, 5)),
             lambda x: np.broadcast_to(x[2, :4, None], (3, 4, 5)), v),
        case("pad", lambda x: sp.scatter(x, pad, (5, 5)), lambda x: _assigned((5, 5), np.s_[1:4:2, 1:4], x), w),
        case("scatter-add", lambda x: sp.scatter(x, collide, (4,)),
             lambda x: np.bincount([2, 0, 2] * 2, x.ravel(), minlength=4), w),
        case("reshape", lambda x: sp.reshape(x, (10, 2)), lambda x: x.reshape(10, 2), v),
        case("stack", lambda x, y: sp.stack([x, y, x]), lambda x, y: np.array([x, y, x]), s, s + 1),
    ]


def _assigned(shape: tuple[int, ...], where: tuple, x: np.ndarray) -> np.ndarray:
    out = np.zeros(shape)
    out[where] = x
    return out


def _reductions(rng: np.random.Generator) -> list[Case]:
    v = rng.normal(size=(3, 4, 2))
    return [
        case("sum", lambda x: sp.sum_over(x, (0, 2)), lambda x: x.sum((0, 2)), v),
        case("max", lambda x: sp.reduce_with("max", x, (1,)), lambda x: x.max(1), v),
        case("min", lambda x: sp.reduce_with("min", x, (0, 1)), lambda x: x.min((0, 1)), v),
        case("logsumexp", lambda x: logsumexp(x, (0, 1)), lambda x: np.log(np.exp(x).sum((0, 1))), v),
        case("cumsum", lambda x: sp.cumsum(x, 1), lambda x: np.cumsum(x, 1), v),
        case("reverse cumsum", lambda x: sp.cumsum(x, 0, True), lambda x: np.cumsum(x[::-1], 0)[::-1], v),
        case("cast", lambda x: sp.cast(sp.cast(x, np.float32), np.float64),
             lambda x: x.astype(np.float32), np.round(v * 64) / 64, moving=()),
        case("cast of integers", lambda x: sp.cast(x, np.float64), lambda x: x.astype(float), np.arange(6)),
    ]


def _contractions(rng: np.random.Generator) -> list[Case]:
    a, b, c = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=(2, 3))
    return [
        case("matmul", sp.matmul, np.matmul, a, b),
        case("trace of three", lambda x, y, z: sp.einsum("ij,jk,ki->", x, y, z),
             lambda x, y, z: np.einsum("ij,jk,ki->", x, y, z), a, b, c),
        case("the same twice", lambda x: sp.einsum("ij,kj->ik", x, x), lambda x: x @ x.T, a),
        case("stacks", lambda x, y: sp.einsum("bij,bj->bi", x, y), lambda x, y: np.einsum("bij,bj->bi", x, y),
             rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4))),
    ]


def _matrices(rng: np.random.Generator) -> list[Case]:
    a, stacked = _spd(rng, 4, 4), _spd(rng, 2, 1, 5, 5)
    b, vector = rng.normal(size=(4, 2)), rng.normal(size=4)
    wide = rng.normal(size=(3, 5, 2))
    cases = [
        case("cholesky", lambda x: sp.cholesky(_symmetric(x)),
             lambda x: np.linalg.cholesky((x + x.swapaxes(-1, -2)) / 2), stacked),
        case("solve", sp.solve, np.linalg.solve, a, b),
        case("solve a vector", sp.solve, lambda x, y: np.linalg.solve(x, y), a, vector),
        case("solve stacks", sp.solve, np.linalg.solve, stacked, wide),
        case("solve transposed", lambda x, y: linalg._solve_factored(x, linalg.lu(x), y, True),
             lambda x, y: np.linalg.solve(x.T, y), a, b),
        case("inv", sp.inv, np.linalg.inv, stacked),
        case("det", sp.det, np.linalg.det, stacked / 5),
        case("log|det|", lambda x: sp.slogdet(x)[1], lambda x: np.linalg.slogdet(x)[1], -stacked),
        case("sign of det", lambda x: sp.slogdet(x)[0], lambda x: np.linalg.slogdet(x)[0], -stacked, moving=()),
    ]
    for lower in (True, False):
        for trans in (True, False):
            cases.append(case(f"triangular solve {lower=} {trans=}",
                              lambda x, y, lower=lower, trans=trans: sp.triangular_solve(x, y, lower, trans),
                              lambda x, y, lower=lower, trans=trans: _lower_solve(x, y, lower, trans), stacked, wide))
    return cases


def _decompositions(rng: np.random.Generator) -> list[Case]:
    """Vectors are compared by their squares: LAPACK leaves their signs open."""
    spd, wide, tall = _spd(rng, 2, 4, 4), rng.normal(size=(2, 3, 5)), rng.normal(size=(5, 3))
    square = lambda v: sp.apply("mul", v, v)
    half = lambda x: (x + x.swapaxes(-1, -2)) / 2
    thin = lambda x: np.linalg.svd(x, full_matrices=False)
    cases = [
        case("eigenvalues", lambda x: dec.eigh(_symmetric(x))[0], lambda x: np.linalg.eigvalsh(half(x)), spd),
        case("eigenvectors", lambda x: square(dec.eigh(_symmetric(x))[1]),
             lambda x: np.linalg.eigh(half(x))[1] ** 2, spd),
    ]
    for name, a in (("wide", wide), ("tall", tall), ("square", spd)):
        cases += [
            case(f"singular values of {name}", lambda x: dec.svd(x)[1], lambda x: thin(x)[1], a),
            case(f"left vectors of {name}", lambda x: square(dec.svd(x)[0]), lambda x: thin(x)[0] ** 2, a),
            case(f"right vectors of {name}", lambda x: square(dec.svd(x)[2]), lambda x: thin(x)[2] ** 2, a),
            case(f"Q of {name}", lambda x: square(dec.qr(x)[0]), lambda x: np.linalg.qr(x)[0] ** 2, a),
            case(f"R of {name}", lambda x: square(dec.qr(x)[1]), lambda x: np.linalg.qr(x)[1] ** 2, a),
            case(f"pinv of {name}", lambda x: dec.pinv(x, 1e-15), np.linalg.pinv, a),
        ]
    for name in ("expm", "sqrtm", "logm"):
        function = _each(getattr(scipy.linalg, name))
        cases.append(case(name, functools.partial(matrix_function, name), function, spd / 4))
    return cases


def _each(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """A function of one matrix, on a stack."""
    return lambda a: np.array([function(m) for m in a.reshape(-1, *a.shape[-2:])]).reshape(a.shape)


def _pairs(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """A function of complex numbers on arrays whose last axis holds (re, im)."""
    def of_pairs(v: np.ndarray) -> np.ndarray:
        u = function(v[..., 0] + 1j * v[..., 1])
        return np.stack([u.real, u.imag], -1)

    return of_pairs


def _transforms(rng: np.random.Generator) -> list[Case]:
    v = rng.normal(size=(2, 6, 2))
    return [case("dft", sp.dft, _pairs(np.fft.fft), v),
            case("inverse dft", lambda x: sp.dft(x, True), _pairs(lambda z: 6 * np.fft.ifft(z)), v)]


def _dynamic(rng: np.random.Generator) -> list[Case]:
    v, i = rng.normal(size=(3, 5, 2)), np.array([[4, -1], [0, 4], [-5, 2]])
    return [
        case("take", lambda x, k: take(x, k, 1), lambda x, k: np.take(x, k, 1), v, i),
        case("put_add", lambda x, k: put_add(x, k, 0, 5), lambda x, k: _put(x, k, 5), rng.normal(size=(3, 2, 4)), i),
    ]


def _recurred(a: np.ndarray, b: np.ndarray, axis: int, transposed: bool) -> np.ndarray:
    """The solution of the triangular system (I - A) s = b, A the coefficients next to the diagonal."""
    a, b = (np.moveaxis(v, axis, -1) for v in np.broadcast_arrays(a, b))
    n, out = a.shape[-1], np.zeros(b.shape)
    for at in np.ndindex(a.shape[:-1]):
        matrix = np.eye(n) - np.diag(a[at][1:], -1)
        out[at] = np.linalg.solve(matrix.T if transposed else matrix, b[at])
    return np.moveaxis(out, -1, axis)


def _semiseparable(a: np.ndarray, b: np.ndarray, c: np.ndarray, reverse: bool) -> np.ndarray:
    """Each block as the product that it is."""
    out = np.zeros((len(c), c.shape[1], len(b), b.shape[2]))
    for t, j in ((t, j) for t in range(len(c)) for j in range(len(b)) if (t < j if reverse else j < t)):
        between = [a[k] for k in (range(t + 1, j) if reverse else range(t - 1, j, -1))]
        out[t, :, j] = np.linalg.multi_dot([c[t], *between, b[j]])
    return out


def _recurrences(rng: np.random.Generator) -> list[Case]:
    a, b, v = rng.normal(size=(3, 4)), rng.normal(size=(11, 3, 4)), rng.permutation(36).reshape(2, 6, 3) / 12 - 1
    cut = np.where(a > 0.5, 0.0, a)
    made = [case(f"recurrence {axis} {transposed=}",
                 lambda x, y, axis=axis, transposed=transposed: sp.recurrence(x, y, axis, transposed),
                 lambda x, y, axis=axis, transposed=transposed: _recurred(x, y, axis, transposed), c, b)
            for axis in (-1, -2) for transposed in (False, True) for c in (a, cut)]
    functions = {"mul": np.cumprod, "maximum": np.maximum.accumulate, "minimum": np.minimum.accumulate,
                 "logaddexp": np.logaddexp.accumulate}
    for name, function in functions.items():
        made += [case(f"running {name} {axis}", lambda x, name=name, axis=axis: sp.running(name, x, axis),
                      lambda x, function=function, axis=axis: function(x, axis), v) for axis in (0, 1, 2)]
    made.append(case("running mul, zeros", lambda x: sp.running("mul", x, 0), np.cumprod, np.array([2.0, 0, 3, 0, 1])))
    made += [case(f"semiseparable {reverse=}", lambda a, b, c, reverse=reverse: semiseparable(a, b, c, reverse),
                  lambda a, b, c, reverse=reverse: _semiseparable(a, b, c, reverse), rng.normal(size=(4, 2, 2)),
                  rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 1, 2))) for reverse in (False, True)]
    made.append(case("product", lambda x: sp.product_over(x, 0), np.prod, np.array([*rng.normal(size=10), 0.0])))
    return made


def _rows(c: Node, xs: Node, h: Node, reverse: bool) -> Node:
    """h <- sin(c h) + x, leaving c h x behind; the last h and the rows in one vector."""
    z, x, k = (input_node(n, v.shape, v.dtype) for n, v in (("z", h), ("c", c), ("k", h)))
    product = apply("mul", x, z)
    phase = Phase(reverse, (z,), (apply("add", apply("sin", product), k),), (apply("mul", product, k),))
    loop = Loop(xs.shape[0], None, (x,), (k,), (phase,), (Output(0, 0), Output(0, 0, True)))
    return packed(looped(loop, {x: c, k: xs, z: h}))


def _rows_numpy(c: np.ndarray, xs: np.ndarray, h: np.ndarray, reverse: bool) -> np.ndarray:
    left = np.zeros_like(xs)
    for t in reversed(range(len(xs))) if reverse else range(len(xs)):
        left[t] = c * h * xs[t]
        h = np.sin(c * h) + xs[t]
    return np.concatenate([h, left.ravel()])


def _grown(c: Node, h: Node) -> Node:
    """h <- h + c^2 h as long as the sum of h is below 10."""
    z, x = input_node("z", h.shape, h.dtype), input_node("c", c.shape, c.dtype)
    going = apply("less", sp.sum_over(z, (0,)), constant(10.0, h.dtype))
    phase = Phase(False, (z,), (apply("add", z, apply("mul", apply("mul", x, x), z)),))
    return looped(Loop(None, going, (x,), (), (phase,), (Output(0, 0),)), {x: c, z: h})[0]


def _grown_numpy(c: np.ndarray, h: np.ndarray) -> np.ndarray:
    while np.sum(h) < 10:
        h = h + c * c * h
    return h


def _branched(k: Node, a: Node, b: Node) -> Node:
    """sin(a), a * b, or 3."""
    x, y = input_node("a", a.shape, a.dtype), input_node("b", b.shape, b.dtype)
    branches = ((apply("sin", x),), (apply("mul", x, y),), (sp.broadcast_to(constant(3.0, a.dtype), a.shape),))
    return switched(Switch((x, y), branches), k, {x: a, y: b})[0]


def _control(rng: np.random.Generator) -> list[Case]:
    c, xs, h = np.array(0.7), rng.normal(size=(4, 3)), rng.normal(size=3)
    a, b = rng.normal(size=(2, 2, 3))
    chosen = lambda k, a, b: (np.sin(a), a * b, np.full_like(a, 3.0))[min(max(int(k), 0), 2)]
    both = [[functools.partial(f, reverse=reverse) for f in (_rows, _rows_numpy)] for reverse in (False, True)]
    return [
        *(case(f"loop {way}", *functions, c, xs, h) for way, functions in zip(("forwards", "backwards"), both)),
        case("loop while", _grown, _grown_numpy, np.array(0.8), np.array([0.3, 1.1, 0.2])),
        *(case(f"switch {k}", _branched, chosen, np.array(k), a, b) for k in (-1, 1, 5)),
    ]


def cases() -> list[Case]:
    """All of them, with the same numbers every time."""
    rng = np.random.default_rng(SEED)
    families = (_movement, _reductions, _contractions, _matrices, _decompositions, _transforms, _dynamic, _recurrences,
                _control)
    return [c for family in families for c in family(rng)]
