"""What the text of kernels may name: device functions made of the functions that kernels of the CPU call.

For a device they are compiled by numba-cuda, in a simulation they run as Python with NumPy's arithmetic.
"""

from __future__ import annotations

import dis
import functools
import itertools
import linecache
import math
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from symhess.backends import plain
from symhess.backends.kernel_functions import Instruction, KernelFunction
from symhess.cuda import decompositions, fourier, library, matrix_functions, special, teams
from symhess.cuda.toolkit import is_simulated, numba_cuda
from symhess.errors import UnsupportedOperation

_KINDS = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "I32": np.int32, "B1": np.bool_, "U": np.uint64,
          "U32": np.uint32}
_CALLED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\(")
_BLOCK = re.compile(r"block_(\w+)_(\w+)")
_TOGETHER = "together_"
_SIZED = re.compile(r"semiseparable_(\d+)")
_RUNNING = re.compile(r"running_(\w+)_line")
_OF_BLOCK = re.compile(r"\bBLOCK_(\d+)")
_NUMPY = re.compile(r"\bnp\.(\w+)\(")
_numbers = itertools.count()
#: functions of teams of threads: of one thread as they are, of a block by a name with a prefix
TEAMS = {**teams.NAMES, **decompositions.NAMES, **matrix_functions.NAMES, **fourier.NAMES}
#: bytes of Python's code from which a special function is called, and not copied to where it is used
LARGE_CODE = 250


def shape_of_blocks() -> tuple[int, int]:
    """Threads of a block, and the side of a tile: few in a simulation, where each is a thread of Python's."""
    return (4, 2) if is_simulated() else (256, 16)


def loaded(text: str) -> dict[str, Any]:
    """The functions of a module of kernels, by name, in Python.

    Raises:
        UnsupportedOperation: it calls a function that there is none of on a device.
    """
    text = _NUMPY.sub(r"np_\1(", text)
    block, tile = shape_of_blocks()
    known = {**_KINDS, "cuda": numba_cuda(), "math": _math(), "nan": math.nan, "inf": math.inf, "min": min,
             "TILE": tile, "PADDED": tile + 1, **{f"BLOCK_{n}": int(n) * block for n in _OF_BLOCK.findall(text)}}
    if is_simulated():  # places are not negative, and in Python what takes time is the call
        known |= {"U": int, "U32": int}
    defined = set(re.findall(r"^def (\w+)\(", text, re.M))
    for name in dict.fromkeys(_CALLED.findall(text)):
        if name not in known and name not in defined and name not in ("range", "abs", "int", "float"):
            known[name] = device_function(name)
    exec(compile(text, _known_file(text), "exec"), known)
    return {name: known[name] for name in defined}


@functools.cache
def device_function(name: str) -> Any:
    """The function of a name for kernels. Raises UnsupportedOperation where there is none."""
    block = _BLOCK.fullmatch(name)
    if block:
        return _from_text(_BLOCK_TEXT, BLOCK=shape_of_blocks()[0], KIND=_KINDS[block[2]],
                          combine=device_function(block[1]))
    if name.startswith(_TOGETHER):
        return _by_block(name.removeprefix(_TOGETHER))
    sized = _SIZED.fullmatch(name)
    if sized:
        return _from_text(_SEMISEPARABLE_TEXT, D=int(sized[1]))
    running = _RUNNING.fullmatch(name)
    if running:
        return _from_text(_RUNNING_TEXT, combine=device_function(running[1]))
    if name in special.LIBDEVICE or name in special.ROUNDING:
        return _of_libdevice(name)
    if name in special.DOUBLES:
        return _in_double(special.DOUBLES[name])
    found = {**plain.NAMES, **library.NAMES, **special.NAMES, **TEAMS}.get(name) or _series().get(name)
    if found is None or (getattr(found, "py_func", None) is not None and found.py_func.__closure__):
        raise UnsupportedOperation(f"{name} is not computed on a GPU: SciPy's routine is code of the CPU; use "
                                   'target="cpu"')
    return _translated(found)


def _by_block(name: str) -> Any:
    """The function of a team, for all threads of a block."""
    if name == "meet":
        return _from_text("def function():\n    cuda.syncthreads()\n")
    return _translated(TEAMS[name], _TOGETHER)


@functools.cache
def _series() -> dict[str, Any]:
    """Special functions that kernels of the CPU compute by Python code."""
    from symhess.backends import support_special

    return support_special.NAMES


def _in_double(function: KernelFunction) -> Any:
    """A function of doubles for arguments of any kind."""
    return _around(_translated(function), function.py_func.__code__, "F64({})")


def _around(inner: Any, code: types.CodeType, spelled: str = "{}", first: str = "") -> Any:
    """A function that calls another one of that code with its arguments spelled in a way."""
    names = code.co_varnames[:code.co_argcount]
    text = f"def function({', '.join(names)}):\n{first}    return inner({', '.join(map(spelled.format, names))})\n"
    known = {"F64": np.float64, "inner": inner, "stay_apart": None if is_simulated() else _stay_apart()}
    exec(compile(text, _known_file(text), "exec"), known)
    return _device(known["function"])


@functools.cache
def _stay_apart() -> Any:
    """An instruction for functions that are called from where they are used, and not copied to there."""
    from numba.cuda import types as kinds
    from numba.cuda.extending import intrinsic

    @intrinsic
    def stay_apart(typing: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.function.attributes.add("noinline")
            return context.get_dummy_value()

        return kinds.none(), emit

    return stay_apart


@functools.cache
def _translated(function: KernelFunction | Instruction, prefix: str = "") -> Any:
    """A function with everything that it names made for the device; functions of teams are named with a prefix."""
    if isinstance(function, Instruction):
        return _device(_exact(function.meaning))
    source = function.py_func
    names = {id(f): n for n, f in _series().items()} if source.__module__.endswith("support_special") else {}
    known: dict[str, Any] = {}
    for name in _names_in(source.__code__):
        value = source.__globals__.get(name)
        if value is math:
            known[name] = _math_apart() if sys.modules[source.__module__] in special.IN_DOUBLES else _math()
        elif isinstance(value, KernelFunction) and sys.modules[value.__module__] in special.IN_DOUBLES:
            known[name] = _translated(value)
        elif isinstance(value, KernelFunction | Instruction):
            ours = prefix if value.__name__ in TEAMS else ""
            known[name] = device_function(ours + names.get(id(value), value.__name__))
        elif value is not None:
            known[name] = value
    made = _device(types.FunctionType(source.__code__, {"__builtins__": __builtins__, **known}, source.__name__))
    large = len(source.__code__.co_code) > LARGE_CODE and sys.modules[source.__module__] in special.IN_DOUBLES
    return _around(made, source.__code__, first="    stay_apart()\n") if large and not is_simulated() else made


def _names_in(code: types.CodeType) -> list[str]:
    """The globals that a function reads."""
    return [i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"]


def _device(function: Callable) -> Any:
    if is_simulated():
        return function
    # an array that is made in a function cannot be returned from it
    return numba_cuda().jit(device=True, inline="always" if function.__name__ == "at" else "never")(function)


#: the numbers of the threads of a block combined as a tree; every thread gets the result
_BLOCK_TEXT = """def function(value):
    numbers = cuda.shared.array(BLOCK, KIND)
    here = cuda.threadIdx.x
    numbers[here] = value
    cuda.syncthreads()
    step = BLOCK // 2
    while step > 0:
        if here < step:
            numbers[here] = combine(numbers[here], numbers[here + step])
        cuda.syncthreads()
        step //= 2
    value = numbers[0]
    cuda.syncthreads()
    return value
"""


#: running sums, products and extremes of v[first], v[first + step], ..., or from the last one on
_RUNNING_TEXT = """def function(v, out, first, n, step, reverse):
    at = first + (n - 1) * step if reverse else first
    total = v[at]
    out[at] = total
    for i in range(1, n):
        at = first + (n - 1 - i if reverse else i) * step
        total = combine(total, v[at])
        out[at] = total
"""


#: one column of the matrix c_t a_{t-1} ... a_{j+1} b_j, whose state is D numbers of the thread (`support_recurrences`)
_SEMISEPARABLE_TEXT = """def function(a, b, c, out, column, n, r, m, reverse):
    state = cuda.local.array(D, F64)
    after = cuda.local.array(D, F64)
    source = column // m
    for k in range(n):
        t = n - 1 - k if reverse else k
        moved = t < source if reverse else t > source
        for i in range(r):
            total = 0.0
            if moved:
                for e in range(D):
                    total += c[(t * r + i) * D + e] * state[e]
            out[(t * r + i) * n * m + column] = total
        if moved:
            for i in range(D):
                total = 0.0
                for e in range(D):
                    total += a[(t * D + i) * D + e] * state[e]
                after[i] = total
            for i in range(D):
                state[i] = after[i]
        if t == source:
            for i in range(D):
                state[i] = b[(t * D + i) * m + column % m]
"""


def _from_text(text: str, **known: Any) -> Any:
    """A device function that names `cuda`; a simulation calls it by way of numba-cuda, too."""
    names = {**_KINDS, "cuda": numba_cuda(), **known}
    exec(compile(text, _known_file(text), "exec"), names)
    return numba_cuda().jit(device=True)(names["function"])


def _known_file(text: str) -> str:
    """A name under which tracebacks find generated source."""
    filename = f"<symhess kernels {next(_numbers)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    return filename


# -- where a simulation differs ------------------------------------------------------------------------------------


class _NumpyMath:
    """The functions of `math` as a device has them: infinities and NaN in place of exceptions."""

    pi, e, inf, nan = math.pi, math.e, math.inf, math.nan

    def __getattr__(self, name: str) -> Callable:
        import scipy.special

        renamed = {"acos": "arccos", "asin": "arcsin", "atan": "arctan", "acosh": "arccosh", "asinh": "arcsinh",
                   "atanh": "arctanh", "atan2": "arctan2", "pow": "power", "fabs": "abs"}.get(name, name)
        functions = {"erf": scipy.special.erf, "erfc": scipy.special.erfc, "gamma": scipy.special.gamma,
                     "lgamma": scipy.special.gammaln}
        found = functions.get(name) or getattr(np, renamed)
        setattr(self, name, found)
        return found


@functools.cache
def _math() -> Any:
    return _NumpyMath() if is_simulated() else math


@functools.cache
def _math_apart() -> Any:
    """The same, with the long ones of its functions called where they are used."""
    if is_simulated():
        return _math()
    module = types.ModuleType("math")
    vars(module).update(vars(math))
    for name, count in {"gamma": 1, "lgamma": 1, "pow": 2}.items():
        code = (lambda x: x, lambda x, y: x)[count - 1].__code__
        setattr(module, name, _around(getattr(math, name), code, first="    stay_apart()\n"))
    return module


def _exact(function: Callable) -> Callable:
    """In a simulation Python's floats would raise where a device goes on with an infinity."""
    if not is_simulated():
        return function

    def as_numpy(*args: Any) -> Any:
        value = function(*args)
        return np.float64(value) if type(value) is float else value

    return as_numpy


def _of_libdevice(name: str) -> Any:
    """A function of CUDA's device library."""
    theirs, stand_in = (special.LIBDEVICE.get(name) or special.ROUNDING[name])
    if is_simulated():
        import scipy.special

        return getattr(np, stand_in) if name.startswith("np_") else getattr(scipy.special, stand_in)
    from numba.cuda import libdevice

    function = getattr(libdevice, theirs)
    return numba_cuda().jit(device=True)(lambda x: function(x))
