"""CasADi: the function in its symbols, by its virtual machine or as C; by hand with map and mapaccum."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import scipy.sparse

from . import functions
from .scatter import adding
from .translation import InMatrix, ScalarNumpy, element_of, expression, object_array
from .workloads import Workload

if hasattr(ca.GlobalOptions, "setNumpyMode"):  # what NumPy does with expressions, without a warning
    ca.GlobalOptions.setNumpyMode(-1)

#: bytes of C beyond which gcc optimises less, or it takes minutes
LARGE_SOURCE = 300_000


def as_c(function: ca.Function) -> ca.Function:
    """The same function as compiled C code."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("there is no C compiler")
    folder = Path(tempfile.mkdtemp())
    generator = ca.CodeGenerator(f"{function.name()}.c")
    generator.add(function)
    generator.generate(f"{folder}/")
    source, library = folder / f"{function.name()}.c", folder / f"{function.name()}.so"
    level = "-O3" if source.stat().st_size < LARGE_SOURCE else "-O1"
    flags = [level, "-march=native", "-ffast-math", "-fPIC", "-shared"]
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
    return ca.external(function.name(), str(library))


def calling(function: ca.Function, inputs: list[np.ndarray], out: np.ndarray) -> Callable[[], Any]:
    """A call without copies, through buffers."""
    buffer, trigger = function.buffer()
    for k, a in enumerate(inputs):
        buffer.set_arg(k, memoryview(a))
    buffer.set_res(0, memoryview(out))
    calling.kept.append((buffer, inputs, out))
    return trigger


calling.kept = []


def hessian_call(f: Any, x: Any, point: np.ndarray, c_code: bool) -> Callable[[], Any]:
    """The Hessian of an expression; its columns are its rows."""
    H = ca.hessian(f, x)[0]
    function = ca.Function("hessian", [x], [H])
    pattern, values = function.sparsity_out(0), np.zeros(function.nnz_out(0))
    call = calling(as_c(function) if c_code else function, [point], values)
    parts = np.array(pattern.row()), np.array(pattern.colind())
    return InMatrix(call, lambda: scipy.sparse.csr_array((values, *parts), shape=pattern.shape))


def whole(workload: Workload, arguments: tuple[Any, ...], c_code: bool) -> Callable[[], Any]:
    """The function as it is, in scalar symbols."""
    point = arguments[0].ravel()
    x = ca.SX.sym("x", point.size)
    return hessian_call(expression(workload, arguments, ca.vertsplit(x), ca), x, point, c_code)


def rows(workload: Workload, arguments: tuple[Any, ...], c_code: bool) -> Callable[[], Any]:
    """A map over the rows."""
    X, n = arguments[0], workload.variables(arguments)
    x = ca.SX.sym("x", n)
    H = ca.densify(ca.hessian(expression(workload, arguments, ca.vertsplit(x), ca), x)[0])
    function = ca.Function("row", [x], [H]).map(len(X))
    if c_code:
        y = ca.MX.sym("y", n, len(X))
        function = as_c(ca.Function("rows", [y], [function(y)]))
    out = np.empty((len(X), n, n))
    return InMatrix(calling(function, [X], out), lambda: out)


def elements(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """The lower triangle of one element, mapped over all, as C; then their sum."""
    element = element_of(workload, arguments)
    lower = np.tril_indices(element.size)
    x, d = ca.SX.sym("x", element.size), ca.SX.sym("d", len(element.data))
    given = object_array(ca.vertsplit(x), (element.size,)), ca.vertsplit(d) if len(element.data) else []
    H = ca.densify(ca.hessian(element.term(ScalarNumpy(ca), *given), x)[0])
    one = ca.Function("one", [x, d], [ca.vertcat(*[H[i, j] for i, j in zip(*lower)])])
    count = len(element.variables)
    many, data = (ca.MX.sym("v", element.size, count), ca.MX.sym("d", len(element.data), count))
    function = as_c(ca.Function("elements", [many, data], [one.map(count)(many, data)]))
    inputs, blocks = np.ascontiguousarray(element.inputs.T), np.empty((count, len(lower[0])))
    call = calling(function, [inputs, np.ascontiguousarray(element.data.T)], blocks)
    add = adding(element, lower, blocks.T)

    def evaluate() -> None:
        np.take(element.x, element.variables, out=inputs)
        call()
        add()

    return InMatrix(evaluate, add)


def pendulum_step(h: float) -> ca.Function:
    """One Runge-Kutta step: (angle, speed), parameters -> (angle, speed)."""
    state, p = ca.SX.sym("s", 2), ca.SX.sym("p", 2)
    rate = lambda s: ca.vertcat(s[1], -9.81 / p[0] * ca.sin(s[0]) - p[1] * s[1])
    a = rate(state)
    b = rate(state + h / 2 * a)
    c = rate(state + h / 2 * b)
    return ca.Function("step", [state, p], [state + h / 6 * (a + 2 * b + 2 * c + rate(state + h * c))])


def control_step() -> ca.Function:
    """One step: (position, speed, cost), control -> the same."""
    s, u = ca.SX.sym("s", 3), ca.SX.sym("u")
    position, speed = s[0] + 0.1 * s[1], s[1] + 0.1 * (u - ca.sin(s[0]))
    return ca.Function("step", [s, u], [ca.vertcat(position, speed, s[2] + position**2 + 0.1 * speed**2 + 0.5 * u**2)])


def rolled(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """Loops by mapaccum, as C."""
    x = ca.MX.sym("x", arguments[0].size)
    if workload.function is functions.pendulum:
        steps = arguments[1]
        accumulated = pendulum_step(2.0 / steps).mapaccum(steps)(x[:2], ca.repmat(x[2:], 1, steps))
        f = (accumulated[0, -1] - 0.3) ** 2
    else:
        f = control_step().mapaccum(arguments[0].size)(ca.DM([1.0, 0.0, 0.0]), x.T)[2, -1]
    return hessian_call(f, x, arguments[0], True)


def make(peer: str, workload: Workload, arguments: tuple[Any, ...], cache: Any = False) -> Callable[[], Any]:
    """A call that computes the Hessian."""
    if peer == "casadi-map":
        loops = workload.function in (functions.pendulum, functions.optimal_control)
        return (rolled if loops else elements)(workload, arguments)
    return (rows if workload.product == "batch" else whole)(workload, arguments, peer == "casadi-c")
