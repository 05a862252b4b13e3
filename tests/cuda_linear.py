"""Checks of linear algebra on the CUDA target in the simulator: teams of one thread and of a block, derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import scipy.linalg
from cuda_checks import check, on_device, same, set_to
from primitive_cases import cases

from symhess import hessian_jit, scan
from symhess.backends.interpreter import run_program
from symhess.cuda import shared
from symhess.cuda.shared import _TEAMS
from symhess.graph.node import Node, input_node
from symhess.plan.program import Program, whole
from symhess.primitives import decompositions as dec
from symhess.primitives import linalg
from symhess.primitives.fourier import dft
from symhess.primitives.matrix_functions import matrix_function

#: every primitive that teams compute, as a function of a matrix and a right side
FUNCTIONS = {
    "cholesky": lambda a, b: linalg.cholesky(a),
    "solve": lambda a, b: linalg._solve_factored(a, linalg.lu(a), b, False),
    "solve transposed": lambda a, b: linalg._solve_factored(a, linalg.lu(a), b, True),
    "triangular_solve": lambda a, b: linalg.triangular_solve(a, b),
    "inv": lambda a, b: linalg._inv_factored(a, linalg.lu(a)),
    "eigh": lambda a, b: dec.eigh(a)[0],
    "svd": lambda a, b: dec.svd(a)[1],
    "qr": lambda a, b: dec.qr(a)[1],
    "pinv": lambda a, b: dec.pinv(a, 1e-12),
    **{name: lambda a, b, name=name: matrix_function(name, a) for name in ("expm", "sqrtm", "logm")}}


def compared(build: Callable, arrays: list[np.ndarray], tolerance: float = 1e-12) -> None:
    """The same numbers as by the interpreter."""
    nodes = [input_node(f"v{k}", a.shape, a.dtype) for k, a in enumerate(arrays)]
    made = build(*nodes)
    program = Program(tuple(nodes), tuple(map(whole, made if isinstance(made, tuple) else (made,))))
    same(on_device(program, arrays), list(run_program(program, arrays)), tolerance)


@check
def linear_algebra_by_blocks() -> None:
    """What the threads of a block share: all primitives, with teams that take several matrices one after the other."""
    seen = set()
    for most in (1, 5):
        with set_to(shared, SHARED=1, COLUMNS=2, MOST_SHARED=most):
            for c in cases():
                nodes = [input_node(f"v{k}", a.shape, a.dtype) for k, a in enumerate(c.arrays)]
                made = c.build(*nodes)
                kernels = {v.op.extra.get("kernel") for v in ancestors(made)} & set(_TEAMS)
                if kernels - seen or (kernels and most == 1):
                    same(on_device(Program(tuple(nodes), (whole(made),)), list(c.arrays)),
                         run_program(Program(tuple(nodes), (whole(made),)), c.arrays))
                seen |= kernels
    assert seen == set(_TEAMS), set(_TEAMS) - seen


def ancestors(node: Node) -> list[Node]:
    found, rest = {}, [node]
    while rest:
        v = rest.pop()
        if v not in found:
            found[v] = None
            rest += v.args
    return list(found)


@check
def teams_of_single_threads_take_turns() -> None:
    """With work for fewer teams than there are matrices."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(5, 4, 4)), rng.normal(size=(5, 4, 3))
    with set_to(shared, MOST_SINGLE=2):
        for name in ("svd", "qr", "solve"):
            compared(FUNCTIONS[name], [a, b])


#: matrices of which some functions have no result
SPECIAL = {"indefinite": np.array([[1.0, 2, 0, 0], [2, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 4]]),
           "singular": np.diag([1.0, 2, 0, 3]), "rank one": np.ones((4, 4)), "zero": np.zeros((4, 4)),
           "rotation": np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 2], [0, 0, -2, 0]]),
           "large": 1e200 * (np.eye(4) + 0.1), "small": 1e-200 * (np.eye(4) + 0.1), "equal": np.eye(4),
           "one and minus one": np.fliplr(np.eye(4))}


@check
def matrices_without_a_result() -> None:
    """NaN where the CPU has NaN, and in that matrix of the stack alone; else its numbers."""
    left_out = {"sqrtm": ("singular", "rank one", "zero"), "logm": ("singular", "rank one", "zero"), "expm": ("large",)}
    rng = np.random.default_rng(2)
    for rows in (8, 2):
        with set_to(shared, SHARED=rows):
            for name, build in FUNCTIONS.items():
                if rows == 2 and name in ("sqrtm", "logm"):
                    continue
                stack = np.array([a for what, a in SPECIAL.items() if what not in left_out.get(name, ())])
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    compared(build, [stack, rng.normal(size=(len(stack), 4, 2))], 1e-10)


@check
def matrices_that_are_not_finite() -> None:
    """All of the result is NaN, or of systems what depends on the number, and nothing else in the stack."""
    b = np.ones((3, 4, 2))
    for bad, rows in ((np.nan, 8), (-np.inf, 8), (np.inf, 2)):
        stack = np.array([4 * np.eye(4) + 0.1, np.diag([1.0, bad, 2, 3]), 4 * np.eye(4) - 0.1])
        for name, build in FUNCTIONS.items():
            nodes = [input_node("a", stack.shape, stack.dtype), input_node("b", b.shape, b.dtype)]
            with set_to(shared, SHARED=rows):
                (found,) = on_device(Program(tuple(nodes), (whole(build(*nodes)),)), [stack, b])
            assert np.all(np.isfinite(found[::2])), name
            if name not in ("solve", "solve transposed", "triangular_solve", "inv"):
                assert np.all(np.isnan(found[1])), (name, found)
            else:  # the row that is divided by the number: by an infinity it may be zero
                assert np.all(np.isnan(found[1, 1]) | (found[1, 1] == 0)), (name, found)
                assert np.any(np.isnan(found[1, 1])) or not np.isnan(bad), (name, found)


@check
def roots_that_are_not_found() -> None:
    """The iteration for the square root, and so the logarithm, needs a matrix that is not singular; else NaN.

    Two negative eigenvalues have no real root either, though a step of the iteration may meet one by chance.
    """
    negative = np.array([[0.0, 1.0], [-3.6e-3, -0.66777]])
    for scale in (*10.0 ** np.arange(-9.0, 4), 0.0):
        for name in ("sqrtm", "logm"):
            node = input_node("a", (2, 2), np.float64)
            (found,) = on_device(Program((node,), (whole(matrix_function(name, node)),)), [scale * negative])
            assert np.all(np.isnan(found)), (scale, name, found)


@check
def vectors_of_singular_matrices() -> None:
    """U and V of a matrix that is not of full rank are orthonormal, and make it up."""
    rng = np.random.default_rng(3)
    g = rng.normal(size=(6, 4))
    g[:, 2] = 0
    for a in (g, g.T, np.outer(g[:, 0], g[0]), np.zeros((3, 5)), np.ones((4, 4))):
        for rows in (8, 2):
            with set_to(shared, SHARED=rows):
                node = input_node("a", a.shape, a.dtype)
                u, s, vt = on_device(Program((node,), tuple(map(whole, dec.svd(node)))), [a])
            same(u.T @ u, np.eye(len(s)), 1e-13)
            same(vt @ vt.T, np.eye(len(s)), 1e-13)
            same((u * s) @ vt, a, 1e-13)


@check
def larger_matrices() -> None:
    """Of more rows than a block has threads, odd ones too, and in single precision."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(9, 9)), rng.normal(size=(9, 5))
    spd = a @ a.T + np.eye(9)
    compared(lambda a, b: tuple(f(a, b) for name, f in FUNCTIONS.items() if name != "triangular_solve"), [spd / 9, b],
             1e-10)
    compared(FUNCTIONS["triangular_solve"], [spd, b])
    for shape in ((9, 4), (4, 9)):
        compared(lambda a: (dec.svd(a)[1], dec.qr(a)[1], dec.pinv(a, 1e-12)), [rng.normal(size=shape)], 1e-11)
    with set_to(shared, SHARED=16):
        single = [x.astype(np.float32) for x in (spd / 9, b)]
        compared(lambda a, b: tuple(f(a, b) for f in FUNCTIONS.values()), single, 2e-5)


@check
def a_matrix_has_a_block() -> None:
    """The factors and the eigenvalues of one matrix: what runs on the emulated driver every time."""
    a = np.random.default_rng(7).normal(size=(9, 9))
    compared(lambda a, b: tuple(FUNCTIONS[name](a, b) for name in ("cholesky", "solve", "eigh", "qr")),
             [a @ a.T, a[:, :2].copy()], 1e-11)


@check
def derivatives_of_linear_algebra() -> None:
    """Values, gradients and Hessians of functions that are made of it."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=4)
    points, y = np.linspace(0, 1, 5), rng.normal(size=5)
    base = rng.normal(size=(4, 4))

    def matrix(x):
        return np.outer(x, x) + base @ np.diag(x) + 4 * np.eye(4)

    def small(x):
        return np.outer(x[:2], x[:2]) + np.diag(1 + x[2:]**2)

    def likelihood(x):
        k = np.exp(x[0]) * np.exp(-(points[:, None] - points)**2 * np.exp(x[1])) + (0.1 + x[2]**2) * np.eye(5)
        l = np.linalg.cholesky(k)
        z = scipy.linalg.solve_triangular(l, y - x[3], lower=True)
        return 0.5 * z @ z + np.sum(np.log(np.diag(l)))

    functions = {
        "log det": lambda x: np.linalg.slogdet(matrix(x))[1], "likelihood": likelihood,
        "eigenvalues": lambda x: np.sum(np.exp(np.linalg.eigvalsh(matrix(x) + matrix(x).T) / 5)),
        "eigenvectors": lambda x: np.sum((np.linalg.eigh(matrix(x) + matrix(x).T)[1] ** 2)[:, 1:] ** 2),
        "nuclear norm": lambda x: np.sum(np.linalg.svd(matrix(x)[:, :3], compute_uv=False)),
        "least squares": lambda x: np.sum(np.linalg.lstsq(matrix(x)[:, :3], x**2)[0] ** 2),
        "R": lambda x: np.sum(np.linalg.qr(matrix(x)[:, :3])[1] ** 3),
        "pinv": lambda x: np.sum(np.sin(np.linalg.pinv(matrix(x)[:, :3]))),
        "expm": lambda x: np.sum((scipy.linalg.expm(0.3 * base[:2, :2] * x[0] + np.diag(x[1:3])) @ x[2:]) ** 2),
        "sqrtm": lambda x: np.sum(scipy.linalg.sqrtm(small(x)) ** 3),
        "logm": lambda x: np.sum(scipy.linalg.logm(small(x)) ** 2)}
    for name, f in functions.items():
        interpreted, device = hessian_jit(f, mode="autograd"), hessian_jit(f, target="cuda")
        try:
            product = "value_and_grad" if name in ("sqrtm", "logm") else "value_grad_hessian"  # of twice the size each
            same(getattr(device, product)(x), getattr(interpreted, product)(x), 1e-10)
        except AssertionError as problem:
            raise AssertionError(f"{name}: {problem}") from problem


@check
def linear_algebra_in_loops() -> None:
    """The bodies of loops are for one thread, whatever the size."""
    def f(x):
        def step(c, u):
            a = np.outer(c, c) + u * np.eye(3) + np.diag(x)
            return np.linalg.eigh(a)[0] + np.linalg.svd(a[:, :2], compute_uv=False)[0], c[0]

        return np.sum(scan(step, x, np.linspace(1, 2, 3))[0])

    interpreted, device = hessian_jit(f, mode="autograd"), hessian_jit(f, target="cuda")
    x = np.array([0.3, 1.2, -0.7])
    with set_to(shared, SHARED=2):
        same(device.value_and_grad(x), interpreted.value_and_grad(x), 1e-11)


@check
def transforms_of_all_lengths() -> None:
    """Products of small primes, primes, and one; stacks of them; there and back."""
    rng = np.random.default_rng(6)
    for rows in (8, 2):
        with set_to(shared, SHARED=rows):
            for n in (2, 3, 4, 6, 7, 8, 12, 13, 16, 30):
                v = rng.normal(size=(2, n, 2))
                compared(lambda v: (dft(v), dft(v, True)), [v])
    compared(lambda v: dft(v), [rng.normal(size=(10, 2)).astype(np.float32)], 1e-6)
