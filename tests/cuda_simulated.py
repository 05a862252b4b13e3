"""Checks of the CUDA target in Numba's simulator: run as a program, in a process of its own, by test_cuda.py.

    NUMBA_ENABLE_CUDASIM=1 python cuda_simulated.py RESULTS

writes one line of JSON for every check to the file: its name, and what went wrong ("" where nothing did).
"""

from __future__ import annotations

import re
import sys
import types
import warnings
from collections.abc import Callable

import cuda_linear
import numpy as np
import pytest
import scipy.linalg
import scipy.special
from cuda_checks import CHECKS, check, on_device, pair, same, set_to
from primitive_cases import cases
from problem import tree_map
from problems import PROBLEMS
from test_loops import CASES as LOOPS
from test_primitives import sample

from examples.benchmarks import functions, peers_symhess
from examples.benchmarks.workloads import WORKLOADS
from symhess import cond, grad, hessian_jit, scan, switch, while_loop
from symhess.backends.interpreter import run_program
from symhess.cuda import linear, tiles
from symhess.cuda.names import device_function
from symhess.cuda.program import DeviceProgram
from symhess.cuda.toolkit import is_simulated, numba_cuda
from symhess.errors import DTypeMismatch, ShapeMismatch, UnsupportedOperation
from symhess.graph.node import input_node
from symhess.plan import coalescing, contraction, cutting, grid, segments, teams
from symhess.plan.program import Program, whole
from symhess.primitives import apply
from symhess.primitives.elementwise import ELEMENTWISE

#: what puts something else in the place of a library
STAND_INS = {"calls_of_a_library", "steps_of_calls_of_a_library"}


# -- problems, primitives, functions -------------------------------------------------------------------------------


def problem(name: str) -> Callable[[], None]:
    """Value, gradient and Hessian of a problem at both points, and the sparse Hessian, as on the CPU."""

    def run() -> None:
        p = PROBLEMS[name]
        cpu, device = pair(p.fn, argnums=p.argnums)
        for args in p.points():
            expected = cpu.value_grad_hessian(*args)
            same(device.value_grad_hessian(*args), expected)
        whole_matrix = device.flat(*args)
        assert np.array_equal(whole_matrix, whole_matrix.T)
        same(device.sparse(*args).toarray(), whole_matrix)

    return run


def primitive(c: object) -> Callable[[], None]:
    """A primitive that is not elementwise, as the interpreter computes it."""

    def run() -> None:
        nodes = [input_node(f"v{k}", a.shape, a.dtype) for k, a in enumerate(c.arrays)]
        program = Program(tuple(nodes), (whole(c.build(*nodes)),))
        same(on_device(program, list(c.arrays)), run_program(program, c.arrays))

    return run


@check
def every_elementwise_function() -> None:
    """All of them in one kernel."""
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-6)):
        inputs, values, arrays = [], [], []
        for op in ELEMENTWISE.values():
            drawn = sample(op, (5,), 3, dtype)
            nodes = [input_node(f"v{len(inputs) + k}", a.shape, a.dtype) for k, a in enumerate(drawn)]
            inputs += nodes
            arrays += drawn
            values.append(apply(op, *nodes))
        program = Program(tuple(inputs), tuple(map(whole, values)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = run_program(program, arrays)
        for value, found, right in zip(values, on_device(program, arrays), expected):
            try:
                same(found, right, tolerance)
            except AssertionError as problem:
                raise AssertionError(f"{value.op.name} of {np.dtype(dtype)}: {problem}") from problem


#: functions of one argument between 0.2 and 0.9, those of constants before it, and those of two
OF_NUMBERS = ("i0", "i1", "i0e", "i1e", "k0", "k1", "k0e", "k1e", "j0", "j1", "y0", "y1", "dawsn", "erfi", "exp1",
              "expi", "ellipk", "ellipe")
OF_ORDERS = {"jv": (2,), "yv": (0.3,), "iv": (1,), "ive": (0.7,), "kv": (1.5,), "kve": (0,), "spherical_jn": (1,),
             "spherical_yn": (0,), "spherical_in": (2,), "spherical_kn": (1,), "expn": (3,), "gammainc": (1.7,),
             "gammaincc": (0.4,), "stdtr": (3,), "hyp0f1": (1.2,), "betainc": (1.5, 2.5), "hyp1f1": (0.7, 1.9)}
OF_TWO_NUMBERS = ("beta", "betaln", "binom", "poch", "boxcox", "boxcox1p", "inv_boxcox", "inv_boxcox1p")


@check
def derivatives_of_special_functions() -> None:
    """Of functions that are SciPy's routines on the CPU; each has elements of its own, so none hides behind another."""
    functions = [(name, ()) for name in OF_NUMBERS] + list(OF_ORDERS.items())

    def f(x, y):
        values = [getattr(scipy.special, name)(*constants, x[k]) for k, (name, constants) in enumerate(functions)]
        values += [getattr(scipy.special, name)(y[0, k], y[1, k]) for k, name in enumerate(OF_TWO_NUMBERS)]
        return np.stack([v * v for v in values])

    rng = np.random.default_rng(10)
    x, y = rng.uniform(0.2, 0.9, len(functions)), rng.uniform(0.2, 0.9, (2, len(OF_TWO_NUMBERS)))
    cpu, device = pair(lambda x, y: np.sum(f(x, y)), argnums=(0, 1))
    value, gradients, hessians = cpu.value_grad_hessian(x, y)
    found = device.value_grad_hessian(x, y)
    same(found[0], value)
    same(np.asarray(found[1][0]) / gradients[0], np.ones_like(x))
    same(np.asarray(found[1][1]) / gradients[1], np.ones_like(y))
    same(np.diagonal(found[2][0][0]) / np.diagonal(hessians[0][0]), np.ones_like(x))
    same(np.einsum("ikjk->ijk", found[2][1][1]) / np.einsum("ikjk->ijk", hessians[1][1]), np.ones((2, *y.shape)))
    same(found[2], hessians)


@check
def other_functions_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedOperation) as problem:
        device_function("hyp2f1")
    assert "hyp2f1 is not computed on a GPU" in str(problem.value) and 'target="cpu"' in str(problem.value)


# -- kinds of kernels ----------------------------------------------------------------------------------------------


def kinds(device: Callable, *args: object, product: str = "hessian") -> str:
    return device.source(*args, product=product)


@check
def reductions_by_blocks() -> None:
    """Sums along either axis, all of an array, and extremes: one block for each result, and several."""
    def f(x):
        a = np.exp(np.sin(x))
        rows, columns = np.sum(a, axis=1), np.sum(a * a, axis=0)
        return np.sum(rows**2) + np.sum(np.log(columns)) + np.max(x) * np.min(x) + np.max(x, axis=0)[1]

    for shape in ((3, 80), (70, 3)):
        x = np.random.default_rng(1).normal(size=shape)
        with set_to(grid, FEW_ELEMENTS=4, BLOCK_ELEMENTS=8):
            cpu, device = pair(f)
            same(device.value_and_grad(x), cpu.value_and_grad(x))
            text = kinds(device, x, product="value")
        assert "block_accumulate_F64" in text
    assert "part0" in text and "block_maximum_F64" in text


@check
def sums_do_not_depend_on_the_grid() -> None:
    """What is not a real collision is added without atomics."""
    x = np.random.default_rng(2).normal(size=(40, 6))
    device = hessian_jit(lambda x: np.sum(np.sum(np.exp(x), axis=0)**2), target="cuda")
    for product in ("value", "grad", "hessian", "csr"):
        assert "atomic" not in kinds(device, x, product="sparse" if product == "csr" else product)


@check
def numbers_that_meet_are_added_up_in_order() -> None:
    """By a thread for each place, by a block, in pieces; atomically where a plan would take too long to find out."""
    table = np.array([0, 3, 3, 1, 0, 3])

    def f(x):
        return np.sum(np.sin(x[table] * np.arange(6.0)) * x[table][::-1])

    def rows(x):
        return np.sum(np.exp(x[table] * x[table[::-1]][:, ::-1])) + f(x[:, 1])

    for fn, x in ((f, np.array([0.3, -1.2, 0.7, 2.0])), (rows, np.random.default_rng(3).normal(size=(4, 2)))):
        for values in ({}, {"FEW_ELEMENTS": 1}, {"THREAD_ELEMENTS": 2}, {"FEW_ELEMENTS": 1, "BLOCK_ELEMENTS": 2}):
            with set_to(grid, **values):
                cpu, device = pair(fn)
                text = kinds(device, x, product="grad") + kinds(device, x, product="sparse")
                assert "atomic" not in text and ("block_accumulate" in text) == ("FEW_ELEMENTS" in values)
                same(device.grad(x), cpu.grad(x))
                same(device.sparse(x).toarray(), cpu.sparse(x).toarray())
        with set_to(segments, MOST=0):
            cpu, device = pair(fn)
            assert "cuda.atomic.add" in kinds(device, x, product="grad")
            same(device.grad(x), cpu.grad(x))
            same(device(x), cpu(x))


@check
def products_by_tiles() -> None:
    """Products of matrices stored either way, stacks, symmetric ones with and without weights: no tile divides them."""
    rng = np.random.default_rng(3)
    a, b, stack, w, c = (rng.normal(size=s) for s in ((7, 9), (9, 5), (2, 9, 5), (7,), (9, 9)))
    t = np.array(0.7)
    cases = [(lambda x: np.sum(w * np.sin(a @ x)), rng.normal(size=9), "hessian", "# weighted_syrk by tiles"),
             (lambda x: np.sum(np.einsum("ki,kj->ij", np.exp(x * a), np.exp(x * a)) * c), t, "value",
              "# syrk by tiles"),
             (lambda x: np.sum(np.sin(np.sin(x * a) @ b)), t, "value", "# gemm by tiles"),
             (lambda x: np.sum(np.sin(np.sin(x * a) @ (np.cos(x * a[:5]).T))), t, "value", "# gemm by tiles"),
             (lambda x: np.sum(np.sin(a.T @ (x * a[:, :4])) ** 2), t, "value", "# gemm by tiles"),
             (lambda x: np.sum((np.cos(x * a) @ stack) ** 2), t, "value", "# gemm by tiles")]
    small = {"SMALL_PRODUCT": 8, "SMALL_MATRIX": 8}
    for f, x, product, kind in cases:
        with set_to(contraction, **small), set_to(tiles, WORTH_TILES=8):
            cpu, device = pair(f)
            assert kind in kinds(device, x, product=product), kinds(device, x, product=product)
            same(device.value_grad_hessian(x), cpu.value_grad_hessian(x))
            H = device(x)
            assert np.array_equal(H, H.T)


class Unchecked:
    """NumPy, with a Cholesky factorisation that stops where it cannot go on and says nothing, as cuSOLVER's."""

    def __init__(self, module: object):
        self._module = module

    def __getattr__(self, name: str) -> object:
        found = getattr(self._module, name)
        return Unchecked(found) if name == "linalg" else found

    @staticmethod
    def cholesky(a: np.ndarray) -> np.ndarray:
        return np.tril(scipy.linalg.lapack.dpotrf(a, lower=1)[0])

    @staticmethod
    def solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return scipy.linalg.lapack.dgetrs(*scipy.linalg.lapack.dgetrf(a)[:2], b)[0]

    @classmethod
    def inv(cls, a: np.ndarray) -> np.ndarray:
        return cls.solve(a, np.eye(len(a)))


def module_beside(xp: object, name: str) -> object:
    """What stands for modules beside CuPy."""
    def syrk(trans: str, a: np.ndarray, lower: bool) -> np.ndarray:
        assert lower and a.flags.f_contiguous
        return np.tril(a @ a.T if trans == "N" else a.T @ a) + np.triu(np.full((a.shape[trans == "T"],) * 2, 7.0), 1)

    def solve_triangular(a: np.ndarray, b: np.ndarray, trans: int, lower: bool) -> np.ndarray:
        assert a.flags.f_contiguous
        return scipy.linalg.blas.dtrsm(1.0, a, b, trans_a=trans, lower=lower)

    return {"cublas": types.SimpleNamespace(syrk=syrk),
            "scipy.linalg": types.SimpleNamespace(solve_triangular=solve_triangular)}[name]


@check
def calls_of_a_library() -> None:
    """What CuPy is asked for, with NumPy in its place."""
    functions = ("gemm", "syrk", "weighted_syrk", *linear.CALLS)
    known, known_module = linear.library, linear._module
    linear.library, linear._module = lambda: Unchecked(np), module_beside
    try:
        with (set_to(linear, LARGE_PRODUCT=8, LARGE_MATRIX=2, LARGE_TRANSFORM=2),
              set_to(contraction, SMALL_PRODUCT=8, SMALL_MATRIX=8)):
            seen = set()
            for c in cases():
                nodes = [input_node(f"v{k}", a.shape, a.dtype) for k, a in enumerate(c.arrays)]
                program = Program(tuple(nodes), (whole(c.build(*nodes)),))
                same(on_device(program, list(c.arrays)), run_program(program, c.arrays), 1e-11)
                device = DeviceProgram(program)
                seen |= {l.call.function for l in device.module.launches if l.name in device._by_library}
            a, w = np.random.default_rng(3).normal(size=(7, 9)), np.arange(7.0)
            for f in (lambda x: np.sum(w * np.sin(a @ x)), lambda x: np.linalg.slogdet(np.outer(x, x) + np.eye(9))[1]):
                cpu, device = pair(f)
                x = np.linspace(0.1, 1, 9)
                same(device(x), cpu(x), 1e-11)
                assert np.array_equal(device(x), device(x).T)
                run = device._bound_path((x,), {})[1].runner("hessian").device
                seen |= {l.call.function for l in run.module.launches if l.name in run._by_library}
            t = np.array(0.7)
            cpu, device = pair(lambda t: np.sum(np.einsum("ki,kj->ij", np.exp(t * a), np.exp(t * a)) * np.arange(9.0)))
            same(device.value(t), cpu.value(t))
            run = device._bound_path((t,), {})[1].runner("value").device
            seen |= {l.call.function for l in run.module.launches if l.name in run._by_library}
            with set_to(linear, FEW_MATRICES=16):
                cuda_linear.matrices_without_a_result()
                cuda_linear.matrices_that_are_not_finite()
    finally:
        linear.library, linear._module = known, known_module
    assert seen >= {*functions, "lu"}, {*functions, "lu"} - seen


@check
def divisions_of_whole_numbers_are_whole() -> None:
    """Of numbers that no float64 holds, and by zero."""
    n, k = np.array([7, -7, 5, 2**60 + 5, -(2**60) - 3]), np.array([2, 2, 0, 1000003, 7])
    with np.errstate(divide="ignore"):
        right = np.stack([n // k, n % k, np.fmod(n, k)])
    device = hessian_jit(lambda x, n, k, r: np.sum(x * (np.stack([n // k, n % k, np.fmod(n, k)]) == r)), target="cuda")
    same(device.grad(np.ones(right.shape), n, k, right), np.ones(right.shape))


@check
def triangles_by_tiles() -> None:
    x = np.random.default_rng(4).normal(size=9)
    cpu, device = pair(lambda x: np.sum(x**2 * np.roll(x, 1)) + np.sum(x) ** 3)
    with set_to(tiles, WORTH_MIRRORING=4):
        assert "mirror by tiles" in kinds(device, x)
        same(device(x), cpu(x))


@check
def thousands_of_scalars() -> None:
    """Straight-line code of one thread, or of one for each point of a batch, in pieces."""
    rng = np.random.default_rng(0)
    steps = list(zip(rng.integers(0, 5, (60, 3)).tolist(), rng.integers(0, 4, 60).tolist()))

    def f(x):
        v = list(x)
        for (i, j, k), operation in steps:
            a, b = v[i], v[j]
            v[k] = (np.sin(a) * b if operation == 0 else a + 0.5 * np.cos(b) if operation == 1 else
                    a * b / (1 + b * b) if operation == 2 else np.tanh(a - b))
        return v[0] + v[1] * v[2]

    x = np.array([0.3, -1.2, 0.7, 2.0, 1.1])
    with set_to(cutting, MOST=40, FEW=8):
        cpu, device = pair(f)
        same(device.value_and_grad(x), cpu.value_and_grad(x))
        assert device.source(x, product="value_and_grad").count("def kernel") > 5
        same(device(x), cpu(x))
        xs = np.stack([x, x[::-1], 2 * x])
        for product in ("value", "grad", "hessian"):
            same(device.batch(xs, product=product), cpu.batch(xs, product=product))


@check
def numbers_in_front_of_a_long_loop() -> None:
    """Scalars that a loop over many elements needs are computed once where they are many."""
    def f(x, a):
        total = x[0]
        for k in range(30):
            total = np.sin(total * x[k % 3]) + 0.5
        return np.sum(np.where(a > total, a * total**2, np.exp(a * x[1])))

    args = np.array([0.3, -1.2, 0.7]), np.linspace(-1, 1, 9)
    with set_to(cutting, MOST=10, FEW=2):
        cpu, device = pair(f)
        same(device.value_grad_hessian(*args), cpu.value_grad_hessian(*args))


# -- control flow --------------------------------------------------------------------------------------------------


@check
def loops_and_switches() -> None:
    def chained(x):
        final, rows = scan(lambda c, u: (np.sin(c @ c * u) + c * x[0], c[0] * u), x, np.linspace(0.1, 1, 6))
        return np.sum(final) + np.sum(rows**2)

    def chosen(x):
        return cond(x[0] > 0, lambda v: np.sum(v**3), lambda v: np.sum(np.exp(v)), x)

    for f in (chained, chosen):
        cpu, device = pair(f)
        for x in (np.array([0.3, -0.4, 0.5]), np.array([-0.3, 0.4, 0.5])):
            same(device.value_grad_hessian(x), cpu.value_grad_hessian(x))


#: iterations from which a block and all blocks share the steps of a loop, for each of the ways to run one
WAYS = {"one thread": (1 << 30, 1 << 30), "one block of threads": (1, 1 << 30), "all blocks together": (1, 1)}


def loop(name: str) -> Callable[[], None]:
    """Value, gradient and Hessian of a loop, run by a thread, by a block and by all blocks; and a batch of it."""

    def run() -> None:
        f, _, args = LOOPS[name]
        cpu = hessian_jit(f, argnums=tuple(range(len(args))))
        expected = cpu.value_grad_hessian(*args)
        for who, (block, all_blocks) in WAYS.items():
            with set_to(teams, WORTH_A_BLOCK=block, WORTH_A_GRID=all_blocks):
                device = hessian_jit(f, argnums=tuple(range(len(args))), target="cuda")
                same(device.value_and_grad(*args), expected[:2])
                if who == "one block of threads":
                    same(device(*args), expected[2])
                text = kinds(device, *args, product="value_and_grad")
                assert f": {who}" in text or re.search("^# loop of .* iterations for threads", text, re.M)
        points = [np.stack([a, 0.9 * a, 1.1 * a + 0.05, 0.8 * a, 0.95 * a]) for a in map(np.asarray, args)]
        with set_to(teams, WORTH_A_BLOCK=1 << 30):
            for product in ("value_and_grad", "hessian")[:2 if len(args) == 1 else 1]:
                same(device.batch(*points, product=product), cpu.batch(*points, product=product))
            assert [l.kind for l in batch_of(device, args, "value_and_grad", 5).module.launches] == ["points"]

    return run


def batch_of(device: Callable, args: tuple, product: str, size: int) -> DeviceProgram:
    """What computes a batch that was asked for."""
    name = product.replace("_and_", "+")
    return device._bound_path(args, {})[1]._products["batch", name, size].device


@check
def loops_of_unknown_length() -> None:
    """More steps than states are kept, more than marks reach back to; rows of a batch stop on their own."""
    def f(x):
        steps = lambda c: c[0] < x[0] * 10.0
        step = lambda c: np.stack([c[0] + 1.0, np.sin(c[1]) * x[1] + 0.3 * c[1] + x[0]])
        return while_loop(steps, step, 0.0 * x)[1]

    points = np.array([[0.0, 0.4], [0.5, 1.3], [2.3, 0.9], [1.2, -0.4]])
    for ring in (3, 64):
        with set_to(teams, RING=ring):
            for who in WAYS:
                with set_to(teams, WORTH_A_BLOCK=WAYS[who][0], WORTH_A_GRID=WAYS[who][1]):
                    cpu, device = pair(f)
                    same(device.value_grad_hessian(points[2]), cpu.value_grad_hessian(points[2]))
            same(device.value_grad_hessian(points[0]), cpu.value_grad_hessian(points[0]))
            with set_to(teams, WORTH_A_BLOCK=1 << 30):
                same(device.batch(points, product="value_grad_hessian"),
                     cpu.batch(points, product="value_grad_hessian"))


@check
def what_goes_over_loops_of_unknown_length_in_both_directions_is_refused() -> None:
    squared = lambda x: while_loop(lambda c: c < 4.0, lambda c: c * c + x[0] * x[1], np.exp(x[0]))
    third = hessian_jit(lambda x: np.sum(grad(lambda y: np.sum(grad(squared)(y)))(x)), target="cuda")
    with pytest.raises(UnsupportedOperation) as problem:
        third.grad(np.array([0.3, -0.4]))
    assert "known length" in str(problem.value)


@check
def batches_of_time_steps() -> None:
    """Rolled Runge-Kutta steps: everything that a point needs is computed by its thread."""
    points = np.array([0.5, 0.1, 1.2, 0.2]) + 0.1 * np.random.default_rng(10).normal(size=(3, 4))
    for product, options, tolerance in (("hessian", {}, 1e-12), ("value_and_grad", {"dtype": np.float32}, 1e-5)):
        cpu, device = pair(functions.pendulum, static_argnums=(1,), **options)
        same(device.batch(points, 20, product=product), cpu.batch(points, 20, product=product), tolerance)
        assert [l.kind for l in batch_of(device, (points[0], 20), product, 3).module.launches] == ["points"]


@check
def rows_that_need_nothing_of_each_other_are_not_waited_for() -> None:
    """Many trajectories in arrays: every thread goes through the steps of its own; with a mean of them it waits."""
    def apart(x):
        def step(c, u):
            q, p = c
            p = p - 0.1 * np.sin(q) * x[:, 0] * u
            return (q + 0.1 * p, p), q**2

        (q, p), left = scan(step, (x[:, 1], x[:, 2]), np.linspace(0.5, 1, 3))
        return np.sum(q * p) + np.sum(left**2)

    def together(x):
        step = lambda q, u: (q + 0.1 * np.sin(q) * x[:, 0] * u - np.mean(q), None)
        return np.sum(scan(step, x[:, 1], np.linspace(0.5, 1, 3))[0] ** 2)

    x = np.random.default_rng(11).normal(size=(9, 4))
    for f, waits in ((apart, False), (together, True)):
        with set_to(teams, WORTH_A_BLOCK=2):
            cpu, device = pair(f)
            same(device.value_and_grad(x), cpu.value_and_grad(x))
            assert ("syncthreads" in kinds(device, x, product="value_and_grad")) == waits


@check
def all_blocks_wait_for_each_other() -> None:
    """Steps that read what other blocks wrote, in launches of several blocks where there can be some."""
    def f(x):
        step = lambda c, u: (np.sin(np.roll(c, 300) * u) + 0.1 * c[::-1] * x, None)
        return np.sum(scan(step, x, np.linspace(0.5, 1, 3))[0] ** 2)

    x = np.random.default_rng(12).normal(size=600)
    with set_to(teams, WORTH_A_BLOCK=1, WORTH_A_GRID=1):
        cpu, device = pair(f)
        same(device.value_and_grad(x), cpu.value_and_grad(x))
        assert "sync()" in kinds(device, x, product="value_and_grad")


def network(w, h):
    step = lambda h, u: (np.tanh(h @ w + u * h[::-1]), np.sum(h**2, axis=0))
    last, left = scan(step, h, np.linspace(0.5, 1, 3))
    return np.sum(last**2) + np.sum(left**3)


def steps_of_a_network(tolerance: float) -> DeviceProgram:
    """Its loop as launches: the program."""
    rng = np.random.default_rng(13)
    args = rng.normal(size=(7, 7)) / 2, rng.normal(size=(9, 7))
    small = {"SMALL_PRODUCT": 8, "SMALL_MATRIX": 8}
    with set_to(teams, WORTH_LAUNCHES=1), set_to(contraction, **small), set_to(tiles, WORTH_TILES=8):
        cpu, device = pair(network, argnums=(0, 1))
        expected = cpu.value_and_grad(*args)
        same(device.value_and_grad(*args), expected, tolerance)
        same(device.value_and_grad(*map(numba_cuda().to_device, args)), expected, tolerance)
        assert "# loop of 3 steps, in each: gemm by tiles" in kinds(device, *args, product="value_and_grad")
        assert "by launches for each step" in device.explain(*args)
    return device._bound_path(args, {})[1].runner("value+grad").device


@check
def steps_launched_from_the_host() -> None:
    """Their kernels are those of any program: products by tiles."""
    run = steps_of_a_network(1e-12)
    assert len(run.module.launches) > 2 * len(run.module.texts)


@check
def steps_of_calls_of_a_library() -> None:
    known, linear.library = linear.library, lambda: Unchecked(np)
    try:
        with set_to(linear, LARGE_PRODUCT=8):
            run = steps_of_a_network(1e-11)
            assert sum(l.name in run._by_library for l in run.module.launches) >= 3
    finally:
        linear.library = known


@check
def batches_of_branches() -> None:
    """Every point goes to the branch that it takes."""
    cpu, device = pair(lambda x: switch((x[0] > 0) * 1, [lambda v: np.sum(np.exp(v)), lambda v: v @ v * v[1]], x))
    points = np.array([[0.3, -0.4], [-0.3, 0.4], [1.0, 2.0]])
    for product in ("value_and_grad", "hessian"):
        same(device.batch(points, product=product), cpu.batch(points, product=product))
    assert [l.kind for l in batch_of(device, (points[0],), "value_and_grad", 3).module.launches] == ["points"]


@check
def linear_algebra_in_loops() -> None:
    """Factorisations, products and triangles over windows of larger arrays, in every way and in batches."""
    def f(x):
        a = np.outer(x, x) + np.diag(np.exp(x))

        def step(c, u):
            return np.linalg.solve(a * u, c) + np.linalg.inv(a) @ c + np.linalg.cholesky(a) @ x, np.linalg.det(a * u)

        last, left = scan(step, x, np.array([0.7, 1.1]))
        return np.sum(last**2) + left @ left

    x = np.array([0.3, -0.4, 0.5])
    for way in ({"WORTH_A_BLOCK": 1 << 30}, {"WORTH_A_BLOCK": 1}, {"WORTH_LAUNCHES": 1}):
        with set_to(teams, **way):
            cpu, device = pair(f)
            same(device.value_and_grad(x), cpu.value_and_grad(x), 1e-11)
    with set_to(teams, WORTH_A_BLOCK=1 << 30):
        points = np.stack([x, 0.9 * x, x[::-1]])
        same(device.batch(points, product="value_and_grad"), cpu.batch(points, product="value_and_grad"), 1e-11)


@check
def branches_on_values_have_a_kernel_each() -> None:
    def f(x):
        return np.sum(x**3) if x[0] > 0 else np.sum(np.exp(x))

    cpu, device = pair(f)
    for sign in (1, -1, 1, 1, 1, -1, -1):
        same(device(sign * np.array([0.3, 0.4])), cpu(sign * np.array([0.3, 0.4])))


# -- the API -------------------------------------------------------------------------------------------------------


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)


X = np.random.default_rng(5).normal(size=7)


@check
def every_product() -> None:
    cpu, device = pair(rosenbrock)
    for name in ("value", "grad", "value_and_grad", "value_grad_hessian", "diagonal", "flat", "__call__"):
        same(getattr(device, name)(X), getattr(cpu, name)(X))
    same(device.hvp(X, X), cpu.hvp(X, X))
    for triangle in ("both", "lower"):
        a, b = (f.sparse(X, triangle=triangle) for f in (device, cpu))
        same((a.data, a.indices, a.indptr), (b.data, b.indices, b.indptr))
    again = device.sparse(2 * X, out=(first := device.sparse(X)))
    assert again is first
    same(again.toarray(), cpu(2 * X))
    assert "loop nest" in device.explain(X)


@check
def batches_have_a_thread_for_every_point() -> None:
    cpu, device = pair(rosenbrock)
    xs = np.random.default_rng(6).normal(size=(5, 3))
    for product in ("hessian", "value", "grad", "diagonal", "value_grad_hessian"):
        same(device.batch(xs, product=product), cpu.batch(xs, product=product))
    same([m.toarray() for m in device.batch(xs, product="sparse")],
         [m.toarray() for m in cpu.batch(xs, product="sparse")])
    run = device._bound_path((xs[0],), {})[1]._products["batch", "hessian", 5]
    assert [l.points for l in run.device.module.launches] == [5]


@check
def rows_are_stored_together() -> None:
    """Whole rows, parts of long ones, those that begin where a table says; the last block is not full."""
    rng = np.random.default_rng(16)
    with set_to(coalescing, FEWEST=1):
        for n, dtype, tolerance in ((3, np.float64, 1e-12), (6, np.float32, 1e-5)):
            cpu, device = pair(rosenbrock, dtype=dtype)
            xs = rng.normal(size=(6, n)).astype(dtype)
            same(device.batch(xs, product="value_grad_hessian"), cpu.batch(xs, product="value_grad_hessian"), tolerance)
            same([m.toarray() for m in device.batch(xs, product="sparse")],
                 [m.toarray() for m in cpu.batch(xs, product="sparse")], tolerance)
        for name, size in (("rosenbrock_1e5", (11,)), ("minimal_surface", (4,)), ("bundle_adjustment", (2, 3, 2))):
            w = WORKLOADS[name]
            args = w.arguments(*size)
            cpu, device = pair(w.function, argnums=w.argnums, static_argnums=w.indices(args))
            assert w.inputs > 1 or "rowsF64" in kinds(device, *args, product="sparse")
            same(device.sparse(*args).toarray(), cpu.sparse(*args).toarray())


@check
def nested_arguments() -> None:
    def f(p, data):
        return np.sum(np.tanh(data @ p["w"] + p["b"]) ** 2)

    rng = np.random.default_rng(7)
    p, data = {"w": rng.normal(size=(3, 2)), "b": rng.normal(size=2)}, rng.normal(size=(4, 3))
    cpu, device = pair(f)
    same(device(p, data), cpu(p, data))
    same(device.grad(p, data), cpu.grad(p, data))
    on = tree_map(numba_cuda().to_device, p)
    same(device.grad(on, numba_cuda().to_device(data)), cpu.grad(p, data))


@check
def dense_columns_are_one_program() -> None:
    def f(x):
        return np.sum(np.linalg.solve(np.outer(x, x) + np.diag(np.exp(x)), x) ** 2) + np.exp(np.sum(np.sin(x)) ** 2)

    cpu, device = pair(f)
    x = np.random.default_rng(8).normal(size=5)
    path = device._bound_path((x,), {})[1]
    path.choice = type(path.choice)(False, "forced")
    same(device.value_grad_hessian(x), cpu.value_grad_hessian(x), 1e-11)
    same(device(numba_cuda().to_device(x)), cpu(x), 1e-11)


@check
def single_precision() -> None:
    cpu, device = pair(lambda x: np.sum(np.log1p(np.exp(x)) * x[::-1]) + np.linalg.det(np.outer(x, x) + np.diag(x)))
    x = np.random.default_rng(9).uniform(0.5, 1.5, size=5).astype(np.float32)
    same(device(x), cpu(x), 1e-5)
    cpu, device = pair(rosenbrock, dtype=np.float32)
    same(device(X), cpu(X), 1e-5)


@check
def device_arrays_stay_on_the_device() -> None:
    cuda = numba_cuda()
    cpu, device = pair(rosenbrock)
    d = cuda.to_device(X)
    for name in ("value", "grad", "value_and_grad", "value_grad_hessian", "diagonal", "flat", "__call__"):
        found = getattr(device, name)(d)
        assert all(hasattr(a, "copy_to_host") for a in (found if isinstance(found, tuple) else (found,)))
        same(found, getattr(cpu, name)(X))
    same(device.hvp(d, d), cpu.hvp(X, X))
    xs = np.random.default_rng(6).normal(size=(5, 3))
    same(device.batch(cuda.to_device(xs)), cpu.batch(xs))
    same(device(cuda.to_device(X[::-1].copy())), cpu(X[::-1]))  # another array of the same signature
    same(hessian_jit(lambda x, a: np.sum(a * x**3), target="cuda")(d, 2 * X), np.diag(12 * X * X))


@check
def out_on_the_device() -> None:
    cuda = numba_cuda()
    cpu, device = pair(rosenbrock)
    d, out = cuda.to_device(X), cuda.device_array((7, 7))
    assert device(d, out=out) is out
    same(out, cpu(X))
    value, g, H = device.value_grad_hessian(d, out=(None, None, out))
    assert H is out
    same((value, g, H), cpu.value_grad_hessian(X))
    for wrong in (cuda.device_array((7, 8)), cuda.device_array((7, 7), np.float32), np.empty((7, 8))):
        with pytest.raises(ShapeMismatch):
            device(d, out=wrong)
    with pytest.raises(UnsupportedOperation) as problem:
        device.grad(d, out=d)
    assert "shares memory" in str(problem.value)
    H = np.empty((7, 7))
    assert device(X, out=H) is H
    same(H, cpu(X))


@check
def device_arrays_that_cannot_be_taken() -> None:
    cuda = numba_cuda()
    device = hessian_jit(rosenbrock, target="cuda")
    for wrong in (cuda.to_device(np.ones((4, 6)))[:, ::2], cuda.to_device(np.arange(4))):
        with pytest.raises(DTypeMismatch):
            device(wrong)


@check
def empty_arrays() -> None:
    cpu, device = pair(lambda x, y: np.sum(x**2) + np.sum(y**3), argnums=(0, 1))
    args = (np.zeros(0), X)
    same(device(*args), cpu(*args))


@check
def threads_share_one_function() -> None:
    """Calls from several threads wait for each other; the simulator itself runs one kernel at a time."""
    import threading

    device, expected, found = hessian_jit(rosenbrock, target="cuda"), hessian_jit(rosenbrock)(X), []
    workers = [threading.Thread(target=lambda: found.append(device(X))) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert len(found) == 4
    for H in found:
        same(H, expected)


@check
def benchmarks_on_the_device() -> None:
    """The column that --target cuda adds, at small sizes."""
    for name in ("rosenbrock_10", "mixture", "decay_rows", "minimal_surface", "mlp_product", "factorisation"):
        workload = WORKLOADS[name]
        arguments = workload.arguments(*workload.tiny)
        cpu, device = (peers_symhess.make(peer, workload, arguments) for peer in ("symhess", "symhess-cuda"))
        for _ in range(2):
            expected, found = cpu(), device()
        assert found is not None
        expected = cpu.assembled() if hasattr(cpu, "assembled") else expected
        dense = [a.toarray() if hasattr(a, "toarray") else a for a in (device.assembled(), expected)]
        same(np.ravel(dense[0]), np.ravel(dense[1]), 1e-10)


CHECKS |= {f"loop {name}": loop(name) for name in LOOPS}
CHECKS |= {f"problem {name}": problem(name) for name in sorted(PROBLEMS)}
CHECKS |= {f"primitive {c.name}": primitive(c) for c in cases()}


if __name__ == "__main__":
    assert is_simulated()
    warnings.simplefilter("ignore", RuntimeWarning)
    sys.setswitchinterval(1e-4)  # the simulator waits for its threads in a loop of its own
    CHECKS.main(*sys.argv[1:])
