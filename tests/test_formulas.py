"""hessian_from_sympy: expressions of every kind against SymPy's own derivatives, symbols of every kind, what raises."""

import pickle

import numpy as np
import pytest
import sympy as sp

import symhess
from symhess import hessian_from_sympy
from symhess.errors import DTypeMismatch, NonScalarOutput, ShapeMismatch, UnsupportedOperation

x, y, z = sp.symbols("x y z", real=True)
a = sp.Symbol("a")
POINT = (0.7, 0.4, -0.3)

EXPRESSIONS = {
    "polynomial": x**2 * y + 3 * z**3 - x * y * z / 2,
    "powers": x**y + sp.sqrt(x**2 + y**2) + sp.cbrt(x) + 1 / (1 + y) ** 2 + x**sp.Rational(5, 2),
    "exponentials": sp.exp(-(x**2)) * sp.log(1 + y**2) + sp.log(x, 2) * z,
    "trigonometric": sp.sin(x * y) * sp.cos(z) + sp.tan(x) + sp.sec(y) * sp.cot(x) + sp.atan2(y, x) + sp.asin(z),
    "hyperbolic": sp.sinh(x * z) + sp.tanh(y) * sp.cosh(x) + sp.asinh(x) + sp.acosh(1 + x) + sp.atanh(y) + sp.sech(z),
    "piecewise": sp.Piecewise((x**2 * z, (x > y) & (z < 0)), (y**3, True)) + sp.Piecewise((x**4, x > 2), (z**3, True)),
    "extremes": sp.Max(x, y, z) ** 2 * x + sp.Min(x, y, 1) * z,
    "absolute values": sp.Abs(z) * x**2 + sp.sign(z) * y**2 + sp.Heaviside(x - y) * x * z,
    "error functions": sp.erf(x * y) + sp.erfc(z) * x,
    "gamma functions": sp.gamma(x) + sp.loggamma(y) * z + sp.digamma(x) * y + sp.polygamma(1, x) + sp.beta(x, y),
    "Bessel functions": sp.besselj(0, x) * y + sp.besseli(1, y),
    "a sum to be carried out": sp.Sum(sp.sin(a * x) * y**a, (a, 1, 3)) + sp.Product(x + a, (a, 1, 2)),
    "a derivative to be carried out": sp.Derivative(sp.sin(x) * y**2, x) * z,
    "an integral to be carried out": sp.Integral(sp.exp(a * x) * z, (a, 0, 1)),
    "constants": sp.pi * x**2 + sp.E * y * z + sp.Rational(1, 3) * z**2 + sp.Float("0.1") * x * y,
    "a constant": sp.Integer(3),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions(name):
    e = EXPRESSIONS[name]
    f = hessian_from_sympy(e, [x, y, z], mode="autograd")
    at = dict(zip((x, y, z), map(sp.Float, POINT)))
    numbers = lambda matrix: np.array(matrix.doit().subs(at).evalf(20).tolist(), float)
    H = numbers(sp.hessian(e.doit(), (x, y, z)))
    np.testing.assert_allclose(f(np.array(POINT)), H, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(f.grad(np.array(POINT)), numbers(sp.Matrix([e.doit()]).jacobian((x, y, z)))[0],
                               rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(f.value(np.array(POINT)), float(e.doit().subs(at).evalf(20)), rtol=1e-12)


def test_compiled_and_with_every_product():
    f = hessian_from_sympy(x**2 * y + sp.sin(y * z), [x, y, z], sparse=True)
    S = f(np.array(POINT))
    expected = sp.lambdify((x, y, z), sp.hessian(x**2 * y + sp.sin(y * z), (x, y, z)))(*POINT)
    np.testing.assert_allclose(S.toarray(), expected, rtol=1e-13)
    assert f.sparsity(np.array(POINT)).nnz == 7
    np.testing.assert_allclose(f.hvp(np.array(POINT), np.ones(3)), expected.sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(f.batch(np.array([POINT, POINT]), product="flat")[1], expected, rtol=1e-13)


def test_symbols_of_every_kind():
    g = lambda e, symbols, *args: hessian_from_sympy(e, symbols, mode="autograd")(*args)
    e = x**2 * y**3
    H = np.array([[2 * 27.0, 2 * 2 * 27], [108, 6 * 4 * 3]])
    for symbols in ([x, y], (x, y), sp.Matrix([x, y]).T[:], np.array([x, y]), iter((x, y))):
        assert np.array_equal(g(e, symbols, np.array([2.0, 3.0])), H)
    assert g(e, sp.Matrix([x, y]), np.array([[2.0], [3.0]])).shape == (2, 1, 2, 1)
    assert g(e.subs(y, 3), x, 2.0) == 54
    blocks = g(e, [[x], [y]], np.array([2.0]), np.array([3.0]))
    assert blocks[1][0].shape == (1, 1) and blocks[1][0] == 108
    blocks = g(e * z, [x, (y, z)], 2.0, np.array([3.0, 1.0]))
    assert blocks[0][1].shape == (2,) and blocks[0][0] == 54


def test_matrices_and_indexed_symbols():
    X, b = sp.MatrixSymbol("X", 2, 3), sp.MatrixSymbol("b", 3, 1)
    f = hessian_from_sympy(sp.Trace(X * X.T) + (b.T * X.T * X * b)[0, 0], X, [b], mode="autograd")
    v = np.array([[1.0], [-2.0], 0.5 * np.ones(1)])
    np.testing.assert_allclose(f.flat(np.ones((2, 3)), v), 2 * np.kron(np.eye(2), np.eye(3) + v @ v.T))
    square = sp.MatrixSymbol("S", 2, 2)
    H = hessian_from_sympy(sp.Determinant(square), square, mode="autograd").flat(np.eye(2))
    assert np.array_equal(H, np.fliplr(np.diag([1.0, -1, -1, 1])))
    i, q = sp.Symbol("i", integer=True), sp.IndexedBase("q", shape=(4,))
    H = hessian_from_sympy(sp.Sum(q[i] ** 2 * q[i + 1], (i, 0, 2)), q, mode="autograd")(np.arange(4.0))
    assert np.array_equal(H, [[2, 0, 0, 0], [0, 4, 2, 0], [0, 2, 6, 4], [0, 0, 4, 0]])


def test_parameters_are_data():
    f = hessian_from_sympy(a * x**2 * sp.exp(y), [x, y], [a], mode="autograd")
    at = np.array([1.0, 0.0])
    for value in (0.5, 2, np.float32(3)):
        assert np.array_equal(f(at, value), float(value) * np.array([[2, 2], [2, 1]]))
        assert np.array_equal(f(at, a=value), f(at, value))
    traced = len(f._paths)
    f(at, -7.5), f(at, a=0.125)
    assert len(f._paths) == traced
    with pytest.raises(TypeError, match=r"takes 2 arguments \(symbols, a\), it was given 1 by position and \['b'\]"):
        f(at, b=1.0)


def test_loops_of_terms_become_arrays():
    n = 30
    q = sp.symbols("q:30")
    e = sum((q[k + 1] - q[k] ** 2) ** 2 for k in range(n - 1))
    f = hessian_from_sympy(e, q, mode="autograd")
    point = np.linspace(-1, 1, n)
    assert len(str(f.graph(point)).splitlines()) < 20
    as_array = symhess.hessian(lambda v: np.sum((v[1:] - v[:-1] ** 2) ** 2))(point)
    np.testing.assert_allclose(f(point), as_array, rtol=1e-13)


def test_assumptions_and_names_of_symbols():
    positive, plain = sp.Symbol("p", positive=True), sp.Symbol("p")
    assert hessian_from_sympy(positive * plain**2, [positive, plain], mode="autograd")(np.array([2.0, 5.0]))[0, 1] == 10
    unspecified = sp.Symbol("u")
    H = hessian_from_sympy(sp.re(unspecified) ** 2 + sp.conjugate(unspecified) ** 3, [unspecified], mode="autograd")
    assert H(np.array([2.0])) == 2 + 12


def test_formulas_are_in_the_symbols_given():
    f = hessian_from_sympy(a * x**2 * sp.exp(y), [x, y], [a], mode="autograd")
    found = f.sympy(np.ones(2), 1.0)
    assert list(found.symbols) == [x, y] and found.value == a * x**2 * sp.exp(y)
    assert sp.simplify(found.hessian - sp.hessian(a * x**2 * sp.exp(y), (x, y))) == sp.zeros(2)


def test_expressions_nest_keep_dtypes_and_can_be_pickled():
    f = hessian_from_sympy(x**2 * y, [x, y], mode="autograd")
    at = np.array([2.0, 3.0])
    assert f(at.astype(np.float32)).dtype == np.float32
    assert np.array_equal(symhess.grad(lambda v: np.sum(f(v)))(at), [4, 2])
    assert np.array_equal(symhess.hessian(lambda v: f.value(2 * v))(at), 8 * f(at))
    assert np.array_equal(pickle.loads(pickle.dumps(f))(at), f(at))
    assert repr(f) == "<hessian_jit x**2*y>"


@pytest.mark.parametrize("error, match, make", [
    (UnsupportedOperation, r"the function g in g\(x\) is not defined", lambda: (sp.Function("g")(x) * y, [x, y])),
    (UnsupportedOperation, r"SymPy's Chi has no primitive, in Chi\(x\); known are Abs", lambda: (sp.Chi(x), [x])),
    (UnsupportedOperation, r"SymPy's elliptic_e of 2 arguments has no primitive, in elliptic_e\(x, y\); that of 1 is",
     lambda: (sp.elliptic_e(x, y), [x, y])),
    (UnsupportedOperation, "depends on z, which is in neither symbols nor parameters", lambda: (x * z, [x])),
    (UnsupportedOperation, "a symbol of this name is given, with other assumptions", lambda: (x**2, [sp.Symbol("x")])),
    (UnsupportedOperation, "I is not a real number", lambda: (sp.I * x, [x])),
    (UnsupportedOperation, "zoo is not a real number", lambda: (sp.zoo * x, [x])),
    (NonScalarOutput, r"ImmutableDenseMatrix of shape \(2, 1\)", lambda: (sp.Matrix([x, y]), [x, y])),
    (NonScalarOutput, "Equality", lambda: (sp.Eq(x, y), [x, y])),
    (TypeError, "sympy.sympify makes one from text", lambda: ("x**2", [x])),
    (TypeError, "'x' is no symbol", lambda: (x**2, "x")),
    (TypeError, "2 is no symbol", lambda: (x**2, [x, 2])),
    (TypeError, r"the element x\*\*2, which is no symbol", lambda: (x**2, sp.Matrix([x**2]))),
    (ValueError, "x is given twice", lambda: (x**2, [x, x])),
    (ShapeMismatch, "no symbols", lambda: (x**2, [])),
    (ShapeMismatch, "M has no shape of whole numbers", lambda: (x**2, sp.MatrixSymbol("M", sp.Symbol("n"), 2))),
    (DTypeMismatch, "w is assumed not to be real", lambda: (x, [sp.Symbol("w", imaginary=True), x])),
])
def test_what_cannot_be_compiled_says_so_at_once(error, match, make):
    with pytest.raises(error, match=match):
        hessian_from_sympy(*make())


def test_wrong_calls():
    with pytest.raises(TypeError, match=r"takes no argnums; symbols= says what is differentiated"):
        hessian_from_sympy(x**2, [x], argnums=1)
    with pytest.raises(ShapeMismatch, match=r"x stands for symbols of shape \(1,\), .* an array of shape \(2,\)"):
        hessian_from_sympy(x**2, [x])(np.ones(2))
