"""Functions that only Numba compiles, behind an interface of pointers and numbers, as bitcode to link."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from typing import Any

import numba
from numba import types

from symhess.backends.values import ELEMENT, Unsupported

_POINTER = {kind: getattr(numba, "boolean" if name == "bool" else name)
            for name, kind in ELEMENT.items() if name != "uint8"}
_NUMBER = {"double": types.float64, "float": types.float32, "i64": types.int64, "u64": types.uint64,
           "i1": types.boolean}
_KIND = {t: kind for kind, t in _NUMBER.items()}


@functools.cache
def bridged(function: Any, keys: tuple) -> tuple[str, bytes, str | None]:
    """The symbol of a function for arguments of these kinds, its bitcode, and the kind of its result."""
    names = iter([f"a{k}" for k in range(999)])
    parameters: list[tuple[str, types.Type]] = []
    arguments = [_argument(key, names, parameters) for key in keys]
    text = f"lambda {', '.join(n for n, _ in parameters)}: f({', '.join(arguments)})"
    bridge = numba.njit(error_model="numpy")(eval(text, {"f": function.dispatcher, "carray": numba.carray}))
    arguments_types = tuple(t for _, t in parameters)
    bridge.compile(arguments_types)
    result = bridge.overloads[arguments_types].signature.return_type
    if result not in _KIND and result != types.none:
        raise Unsupported(f"{function.__name__} gives {result}")
    kind = _KIND.get(result)
    callback = numba.cfunc((types.void if kind is None else result)(*arguments_types), error_model="numpy")(
        bridge.py_func)
    return (*_renamed(callback), kind)


def _argument(key: Any, names: Iterator[str], parameters: list[tuple[str, types.Type]]) -> str:
    """The spelling of one argument; what it is made of joins the parameters."""
    if isinstance(key, str):
        parameters.append((next(names), _NUMBER[key]))
        return parameters[-1][0]
    if key[0] == "i1":
        return str(key[1])
    if key[0] != "view":
        raise Unsupported("memory in a function of Numba")
    parameters.append((next(names), types.CPointer(numba.boolean if key[2] else _POINTER[key[1]])))
    pointer, extents = parameters[-1][0], []
    for n in key[3]:
        if n is None:
            parameters.append((next(names), types.intp))
        extents.append(parameters[-1][0] if n is None else str(n))
    return f"carray({pointer}, ({''.join(n + ', ' for n in extents)}))"


def _renamed(callback: Any) -> tuple[str, bytes]:
    """A symbol for a function, and its bitcode under that name."""
    module = callback._library._final_module.clone()
    symbol = "symhess_bridge_" + hashlib.blake2b(module.as_bitcode(), digest_size=12).hexdigest()
    module.get_function(callback._wrapper_name).name = symbol
    return symbol, module.as_bitcode()


def start_numba() -> None:
    """Make Numba's runtime known to the linker, for code that Numba compiled in another process."""
    from numba.core.registry import cpu_target
    from numba.core.runtime import rtsys

    rtsys.initialize(cpu_target.target_context)
