"""Every problem of the collection through the public API, against the exact oracle, at two points."""

import functools

import numpy as np
import pytest
import scipy.sparse
from on_a_gpu import equal_to_the_bit
from oracles import assert_close, assert_pattern, by_taylor, flat, reference
from problem import tree_map
from problems import PROBLEMS, tagged

from symhess import grad, hessian, hessian_jit, hessian_sparsity, hvp, linear_operator, value_and_grad, vhp
from symhess.errors import ConcretizationError

EVERY = sorted(PROBLEMS)
#: thousands of scalar operations, which take the interpreter a second per call
QUICK = [n for n in EVERY if "large" not in PROBLEMS[n].tags]
#: what every kind of output is compiled for; the others are compiled for the Hessian and interpreted for the rest
KINDS = ["chained_rosenbrock", "himmelblau", "broyden_tridiagonal", "trigonometric_pairs", "mlp_softplus",
         "bundle_adjustment", "untaken_branches", "gaussian_process", "softmax_regression", "optimal_control"]
POINTS = [0, 1]


@functools.cache
def compiled(name, mode="symbolic"):
    """One compiled function per problem and mode, traced at its first point."""
    p = PROBLEMS[name]
    if "guarded" in p.tags and mode == "symbolic":
        mode = "auto"
    return hessian_jit(p.fn, argnums=p.argnums, mode=mode)


def quiet(test):
    """User functions with a bad untaken branch warn in NumPy itself."""
    return pytest.mark.filterwarnings("ignore:(invalid|divide):RuntimeWarning")(test)


def at(name, point):
    """The arguments at a point; the function has then been called at the first one before."""
    return PROBLEMS[name].points()[point]


def walk(structure, tree):
    """Pairs (leaf of structure, the subtree of `tree` that stands in its place)."""
    if isinstance(structure, dict):
        assert set(tree) == set(structure)
        return [pair for key in sorted(structure) for pair in walk(structure[key], tree[key])]
    if isinstance(structure, tuple | list):
        assert type(tree) is type(structure) and len(tree) == len(structure)
        return [pair for part, sub in zip(structure, tree) for pair in walk(part, sub)]
    return [(structure, tree)]


def differentiated(p, args):
    """The differentiated argument, or the tuple of them."""
    return args[p.argnums] if isinstance(p.argnums, int) else tuple(args[k] for k in p.argnums)


def assembled(p, args, blocks, leading=()):
    """The matrix over all inputs from nested blocks, each of which must have the shape S_i + S_j."""
    tree = differentiated(p, args)

    def matrix(x, y, block):
        assert np.shape(block) == (*leading, *np.shape(x), *np.shape(y))
        return np.reshape(block, (*leading, np.size(x), np.size(y)))

    rows = [np.concatenate([matrix(x, y, b) for y, b in walk(tree, row)], axis=-1) for x, row in walk(tree, blocks)]
    return np.concatenate(rows, axis=-2)


def pattern_of(matrix):
    """The stored entries, whatever their values."""
    assert isinstance(matrix, scipy.sparse.csr_array) and matrix.has_canonical_format
    return scipy.sparse.csr_array((np.ones(matrix.nnz, bool), matrix.indices, matrix.indptr), matrix.shape).toarray()


def check_pattern(p, found, point):
    """Exact where the pattern is known, otherwise nothing may be missing."""
    if p.pattern is not None:
        assert_pattern(found, p.pattern)
    else:
        assert_pattern(found, found | (reference(p.name, point)[2] != 0))


@quiet
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("mode", ["symbolic", "autograd"])
@pytest.mark.parametrize("name", EVERY)
def test_hessian(name, mode, point):
    p, args = PROBLEMS[name], at(name, point)
    expected = reference(name, point)[2]
    f = compiled(name, mode)
    blocks = f(*args)
    matrix = f.flat(*args)
    assert_close(assembled(p, args, blocks), expected)
    assert_close(matrix, expected)
    assert np.array_equal(matrix, matrix.T)


def check_sparse(name, mode):
    """Both triangles and the lower one, stored entries exactly those of the pattern."""
    p, f = PROBLEMS[name], compiled(name, mode)
    for point in POINTS:
        args, expected = at(name, point), reference(name, point)[2]
        whole, lower = f.sparse(*args), f.sparse(*args, triangle="lower")
        assert_close(whole.toarray(), expected)
        assert equal_to_the_bit(whole.toarray(), whole.toarray().T)
        check_pattern(p, pattern_of(whole), point)
        assert_close(lower.toarray(), np.tril(expected))
        assert np.array_equal(pattern_of(lower), np.tril(pattern_of(whole)))


@quiet
@pytest.mark.parametrize("name", QUICK)
def test_sparse_interpreted(name):
    check_sparse(name, "autograd")


@quiet
@pytest.mark.parametrize("name", sorted({*KINDS, *(p.name for p in tagged("sparse"))}))
def test_sparse_compiled(name):
    check_sparse(name, "symbolic")


@quiet
@pytest.mark.parametrize("name", EVERY)
def test_sparsity_alone(name):
    p = PROBLEMS[name]
    found = compiled(name).sparsity(*p.args).toarray().astype(bool)
    check_pattern(p, found, 0)
    assert np.array_equal(hessian_sparsity(p.fn, argnums=p.argnums)(*p.args).toarray().astype(bool), found)


def check_other_products(name, mode, point):
    """Value, gradient, diagonal and product with a direction; shapes like the inputs'."""
    p, args, f = PROBLEMS[name], at(name, point), compiled(name, mode)
    value, gradient, expected = reference(name, point)
    tree = differentiated(p, args)
    assert_close(f.value(*args), value)
    assert_close(flat(f.grad(*args)), gradient)
    assert all(np.shape(g) == np.shape(x) for x, g in walk(tree, f.grad(*args)))
    together = f.value_grad_hessian(*args)
    assert_close(together[0], value)
    assert_close(flat(together[1]), gradient)
    assert_close(assembled(p, args, together[2]), expected)
    v, g = f.value_and_grad(*args)
    assert_close(v, value)
    assert_close(flat(g), gradient)
    assert_close(flat(f.diagonal(*args)), np.diag(expected), 1e-10 * scale(expected, np.diag(expected)))
    rng = np.random.default_rng(1)
    direction = tree_map(lambda x: rng.normal(size=np.shape(x)), tree)
    product = f.hvp(*args, direction)
    assert all(np.shape(g) == np.shape(x) for x, g in walk(tree, product))
    assert_close(flat(product), expected @ flat(direction), 1e-10 * scale(expected, expected @ flat(direction)))


def scale(whole, part):
    """Entries may cancel: errors of a part are measured against the whole."""
    return max(1.0, np.abs(whole).max() / max(1e-3, np.abs(part).max()))


@quiet
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", QUICK)
def test_other_products_interpreted(name, point):
    check_other_products(name, "autograd", point)


@quiet
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", KINDS)
def test_other_products_compiled(name, point):
    check_other_products(name, "symbolic", point)


def check_batch(name, mode):
    """Hessians at three points in one call, the data shared."""
    p = PROBLEMS[name]
    shared = p.args
    choices = [p.inputs(a) for a in (*p.points(), p.points()[1])]
    stacked = p.with_inputs(shared, [np.stack([np.asarray(x) for x in xs]) for xs in zip(*choices)])
    expected = np.stack([by_taylor(p, p.with_inputs(shared, xs))[2] for xs in choices])
    assert_close(assembled(p, shared, compiled(name, mode).batch(*stacked), leading=(3,)), expected)


@quiet
@pytest.mark.parametrize("name", QUICK)
def test_batch_interpreted(name):
    check_batch(name, "autograd")


@quiet
@pytest.mark.parametrize("name", KINDS)
def test_batch_compiled(name):
    check_batch(name, "symbolic")


def in_single(tree):
    """Floats become float32."""
    return tree_map(lambda x: np.float32(x) if np.asarray(x).dtype.kind == "f" else x, tree)


@quiet
@pytest.mark.parametrize("name, mode", [(n, "autograd") for n in QUICK] + [(n, "symbolic") for n in KINDS])
def test_single_precision(name, mode):
    p = PROBLEMS[name]
    args = tuple(in_single(a) for a in p.args)
    rounded = by_taylor(p, tuple(tree_map(lambda x: np.asarray(x, float) if np.asarray(x).dtype.kind == "f" else x, a)
                                 for a in args))[2]
    H = compiled(name, mode).flat(*args)
    assert H.dtype == np.asarray(p.fn(*args)).dtype    # data of float64 that the function closes over promotes it
    assert_close(H, rounded, p.single)


@quiet
@pytest.mark.parametrize("name", KINDS)
def test_automatic_mode_over_repeated_calls(name):
    f = compiled(name, "auto")
    for _ in range(3):
        for point in POINTS:
            assert_close(f.flat(*at(name, point)), reference(name, point)[2])


@quiet
def test_symbolic_mode_refuses_control_flow_on_values():
    p = PROBLEMS["branching"]
    with pytest.raises(ConcretizationError, match="control flow"):
        hessian_jit(p.fn, mode="symbolic")(*p.args)


@quiet
@pytest.mark.parametrize("name", ["branching"])
def test_a_guard_that_fails_takes_the_other_branch(name):
    f = compiled(name, "auto")
    for point in [0, 1, 0, 1, 1, 0]:
        assert_close(f.flat(*at(name, point)), reference(name, point)[2])
        assert_close(f.sparse(*at(name, point)).toarray(), reference(name, point)[2])


@pytest.mark.parametrize("name", ["rosenbrock", "matrix_factorisation", "mlp_tanh"])
def test_transforms_agree_with_the_compiled_object(name):
    p = PROBLEMS[name]
    args, (value, gradient, expected) = p.args, reference(name, 0)
    tree = differentiated(p, args)
    assert_close(assembled(p, args, hessian(p.fn, argnums=p.argnums)(*args)), expected)
    assert_close(flat(grad(p.fn, argnums=p.argnums)(*args)), gradient)
    v, g = value_and_grad(p.fn, argnums=p.argnums)(*args)
    assert_close(v, value)
    assert_close(flat(g), gradient)
    direction = tree_map(np.cos, tree)
    for product in (hvp(p.fn, argnums=p.argnums)(*args, direction), vhp(p.fn, argnums=p.argnums)(*args, direction)):
        assert_close(flat(product), expected @ flat(direction))
    operator = linear_operator(p.fn, *args, argnums=p.argnums)
    assert_close(operator @ flat(direction), expected @ flat(direction))


@pytest.mark.parametrize("name", ["chained_rosenbrock", "logistic_regression", "trigonometric_pairs"])
def test_explain_names_the_pattern_and_the_variables(name):
    p = PROBLEMS[name]
    text = compiled(name).explain(*p.args)
    assert isinstance(text, str) and str(p.size) in text


@pytest.mark.parametrize("name", ["rosenbrock", "powell_singular", "wood"])
def test_sympy_formula_is_the_hessian(name):
    p = PROBLEMS[name]
    formula = compiled(name).sympy(*p.args)
    H = formula.hessian if hasattr(formula, "hessian") else formula
    symbols = sorted(H.free_symbols, key=lambda s: int("".join(c for c in s.name if c.isdigit())))
    values = dict(zip(symbols, np.ravel(p.args[0])))
    assert len(symbols) == p.size
    assert_close(np.array(H.subs(values), float), reference(name, 0)[2])
