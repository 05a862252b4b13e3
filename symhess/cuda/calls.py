"""How library calls are spelled in kernels without a library: independent iterations, and a statement for each.

Linear algebra is spelled in `symhess.cuda.shared`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from symhess.errors import UnsupportedOperation
from symhess.plan.steps import LibraryCall

#: how many iterations there are, and the statement of iteration p
Spelled = tuple[int, str]


def spelled(call: LibraryCall) -> Spelled:
    """The iterations of a call.

    Raises:
        UnsupportedOperation: nothing computes it on a device.
    """
    name = call.function
    arrays, shapes = [*call.sources, call.target.name], [a.shape for a in call.arguments]
    if name in _RUNNING:
        return _running(_RUNNING[name], arrays, call.parameters)
    if name not in _SPELLED:
        raise UnsupportedOperation(f'{name} is not computed on a GPU; use target="cpu"')
    return _SPELLED[name](arrays, shapes, call)


def products(call: LibraryCall) -> tuple[tuple[int, int, int, int], bool, bool]:
    """(stack, rows, columns, summed) of a matrix product, and whether each operand is stored transposed."""
    first = call.arguments[0].shape
    stack, rows, columns = call.shape
    if call.function == "gemm":
        a, b = call.parameters
        return (stack, rows, columns, first[1 if a else 2]), a, b
    (turned,) = call.parameters
    return (stack, rows, columns, first[2 if turned else 1]), not turned, turned


def _product(arrays: Sequence[str], shapes: Sequence, call: LibraryCall) -> Spelled:
    (stack, m, n, k), turned_a, turned_b = products(call)
    a, out = arrays[0], arrays[-1]
    b = arrays[1] if call.function == "gemm" else a
    weighted = call.function == "weighted_syrk"
    s, i, j = f"(p // {m * n})", f"(p // {n} % {m})", f"(p % {n})"
    left = f"{s} * {m * k} + {i}{'' if turned_a else f' * {k}'}, {m if turned_a else 1}"
    right = f"{s} * {k * n} + {j}{f' * {k}' if turned_b else ''}, {1 if turned_b else n}"
    weight = f"{arrays[1]}, {s} * {k}" if weighted else f"{a}, -1"
    return stack * m * n, f"{out}[p] = product_element({a}, {left}, {weight}, {b}, {right}, {k})"


def _of_record(function: str) -> Callable[..., Spelled]:
    def spell(arrays: Sequence[str], shapes: Sequence, call: LibraryCall) -> Spelled:
        n = shapes[-1][-1]
        record, out = arrays[-2:]
        return math.prod(call.shape), f"{out}[p] = {function}({record}, p * {n * n + n}, {n})"

    return spell


def _values(arrays: Sequence[str], shapes: Sequence, call: LibraryCall) -> Spelled:
    rows, k = shapes[1][-2:]
    _, record, out = arrays
    return math.prod(call.shape), f"{out}[p] = {record}[p // {k} * {rows * k} + {call.parameters[0] * k} + p % {k}]"


def _cumsum(arrays: Sequence[str], shapes: Sequence, call: LibraryCall) -> Spelled:
    outer, n, inner = call.shape
    return _running("accumulate", arrays, (outer, n, inner), call.parameters[0])


def _recurrence(arrays: Sequence[str], shapes: Sequence, call: LibraryCall) -> Spelled:
    outer, lanes, n, inner, transposed = call.parameters
    first, lane = f"p // {inner} * {n * inner} + p % {inner}", f"p // {inner} % {lanes} * {n * inner} + p % {inner}"
    return outer * inner, f"recurrence_line({', '.join(arrays)}, {first}, {lane}, {n}, {inner}, {transposed})"


def _running(combine: str, arrays: Sequence[str], box: Sequence[int], reverse: bool = False) -> Spelled:
    outer, n, inner = box
    first = f"p // {inner} * {n * inner} + p % {inner}"
    return outer * inner, f"running_{combine}_line({', '.join(arrays)}, {first}, {n}, {inner}, {reverse})"


def _semiseparable(arrays: Sequence[str], shapes: Sequence, call: LibraryCall) -> Spelled:
    n, d, r, m, reverse = call.parameters
    return n * m, f"semiseparable_{d}({', '.join(arrays)}, p, {n}, {r}, {m}, {reverse})"


def _take(arrays: Sequence[str], shapes: Sequence, call: LibraryCall) -> Spelled:
    outer, n, inner = call.parameters
    v, indices, out = arrays
    count = math.prod(shapes[1])
    missing = "nan" if call.target.dtype.kind == "f" else "False" if call.target.dtype.kind == "b" else "0"
    return outer * count * inner, (f"{out}[p] = taken({v}, p // {count * inner} * {n * inner} + p % {inner}, "
                                   f"{indices}, p // {inner} % {count}, {n}, {inner}, {missing})")


def _put(arrays: Sequence[str], shapes: Sequence, call: LibraryCall) -> Spelled:
    outer, n, inner = call.parameters
    v, indices, out = arrays
    count = math.prod(shapes[1])
    start = f"p // {inner} * {count * inner} + p % {inner}"
    return outer * inner, (f"put_line({v}, {start}, {indices}, {count}, {out}, "
                           f"p // {inner} * {n * inner} + p % {inner}, {n}, {inner})")


#: the functions that running products and extremes are made of
_RUNNING = {"running_mul": "multiply", "running_maximum": "maximum", "running_minimum": "minimum",
            "running_logaddexp": "logaddexp"}
_SPELLED: dict[str, Callable[..., Spelled]] = {
    "gemm": _product, "syrk": _product, "weighted_syrk": _product, "det": _of_record("determinant"),
    "logabsdet": _of_record("log_determinant"), "detsign": _of_record("determinant_sign"), "eigenvalues": _values,
    "singular_values": _values, "cumsum": _cumsum, "recurrence": _recurrence, "semiseparable": _semiseparable,
    "take": _take, "put_add": _put}
