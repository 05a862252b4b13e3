"""Arguments of a compiled function: which leaves are differentiated, which are data, which are static."""

from __future__ import annotations

import functools
import inspect
import numbers
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np
import optree

from symhess.errors import ConcretizationError, DTypeMismatch, ShapeMismatch
from symhess.graph.node import Node, input_node
from symhess.graph.pytrees import flatten, flatten_in_order, leaf_paths, static_key, unflatten
from symhess.trace import is_traced
from symhess.trace.session import here

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Options:
    """How a function is differentiated and compiled; see `hessian_jit`."""

    argnums: int | tuple[int, ...] = 0
    static_argnums: tuple[int, ...] = ()
    static_argnames: tuple[str, ...] = ()
    sparse: bool = False
    dtype: Any = None
    mode: str = "auto"
    parallel: bool = False
    cache: bool | str | os.PathLike = False
    fastmath: bool = False
    memory_budget: float | None = None
    compile: str = "now"
    target: str = "cpu"


class Keywords(TypedDict, total=False):
    """The keyword arguments of `hessian_jit`, for type checkers."""

    argnums: int | Sequence[int]
    static_argnums: int | Sequence[int]
    static_argnames: str | Sequence[str]
    sparse: bool
    dtype: Any
    mode: str
    parallel: bool
    cache: bool | str | os.PathLike
    fastmath: bool
    memory_budget: float | None
    compile: str
    target: str


NOTHING = "argnums=() names no argument to differentiate"
COMPILE = ("now", "background")
MODES = ("auto", "symbolic", "autograd", "native")
TARGETS = ("cpu", "cuda")


def checked(options: Options, fn: Callable) -> Options:
    """The options with static arguments known by position and by name; ValueError for what cannot be meant."""
    if options.mode not in MODES:
        raise ValueError(f"mode={options.mode!r}; choose one of {', '.join(MODES)}")
    if options.compile not in COMPILE:
        raise ValueError(f"compile={options.compile!r}; choose one of {', '.join(COMPILE)}")
    if options.target not in TARGETS:
        raise ValueError(f"target={options.target!r}; choose one of {', '.join(TARGETS)}")
    if options.target == "cuda":
        _check_cuda(options)
    if options.dtype is not None and not _is_float(options.dtype):
        raise DTypeMismatch(f"dtype={options.dtype!r}; Hessians are computed in float32 or float64")
    for name in ("sparse", "parallel", "fastmath"):
        if not isinstance(getattr(options, name), bool | np.bool_):
            raise TypeError(f"{name}={getattr(options, name)!r}; choose True or False")
    if not isinstance(options.cache, bool | str | os.PathLike):
        raise TypeError(f"cache={options.cache!r}; choose True, False or a directory")
    budget = options.memory_budget
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int | float | np.integer)):
        raise TypeError(f"memory_budget={budget!r}; give a number of bytes, such as 2e9")
    if budget is not None and not budget > 0:
        raise ValueError(f"memory_budget={budget!r} must be positive")
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return options
    kinds = {p.kind for p in parameters}
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for name in options.static_argnames:
        if inspect.Parameter.VAR_KEYWORD not in kinds and name not in [p.name for p in parameters]:
            raise ValueError(f"static_argnames names {name!r}, which is no argument of {_name_of(fn)}")
    for k in options.static_argnums:
        if inspect.Parameter.VAR_POSITIONAL not in kinds and not -len(names) <= k < len(names):
            raise ValueError(f"static_argnums={options.static_argnums}, but {_name_of(fn)} takes {len(names)} "
                             "positional arguments")
    by_name = [names.index(n) for n in options.static_argnames if n in names]
    by_position = [names[k] for k in options.static_argnums if -len(names) <= k < len(names)]
    return replace(options, static_argnums=tuple(dict.fromkeys([*options.static_argnums, *by_name])),
                   static_argnames=tuple(dict.fromkeys([*options.static_argnames, *by_position])))


def _check_cuda(options: Options) -> None:
    """ValueError for options that say how the CPU is to do something."""
    for name, given, allowed in (("mode", options.mode, ("auto", "symbolic")), ("compile", options.compile, ("now",)),
                                 ("parallel", options.parallel, (False,)), ("cache", options.cache, (False,))):
        if given not in allowed:
            raise ValueError(f'{name}={given!r} is for the CPU; with target="cuda" leave it at {allowed[0]!r}')


def _is_float(dtype: Any) -> bool:
    try:
        return np.dtype(dtype) in _FLOATS
    except TypeError:
        return False


def _name_of(fn: Callable) -> str:
    while type(fn) is functools.partial:
        fn = fn.func
    return getattr(fn, "__qualname__", None) or repr(fn)


@dataclass(frozen=True)
class Leaf:
    """One array leaf of the arguments."""

    shape: tuple[int, ...]
    dtype: np.dtype
    active: bool
    name: str
    #: what NumPy's promotion takes data for, where that is not `dtype`: see `InputAttrs`
    given: Any = None


@dataclass
class Signature:
    """The part of the arguments that a compiled path is specialised to."""

    spec: optree.PyTreeSpec
    leaves: tuple[Leaf | None, ...]
    statics: tuple[Any, ...]
    active_spec: optree.PyTreeSpec
    #: numbers of the differentiated leaves, in the order of argnums
    order: tuple[int, ...]
    key: tuple = field(default=())

    @property
    def active(self) -> list[Leaf]:
        """The differentiated leaves, in the order of the Hessian's rows."""
        return [self.leaves[k] for k in self.order]

    def fresh_inputs(self) -> list[Node | None]:
        """One new input node per array leaf, None for static leaves."""
        return [None if x is None else input_node(x.name, x.shape, x.dtype, x.given) for x in self.leaves]

    def rebuild(self, nodes: Sequence[Any]) -> tuple[tuple, dict]:
        """(args, kwargs) with `nodes` in place of the arrays and the static values where they were."""
        leaves = [s if n is None else n for n, s in zip(nodes, self.statics)]
        return unflatten(self.spec, leaves)


@dataclass
class Bound:
    """One call's arguments: the signature and the arrays, in input order, C-contiguous."""

    signature: Signature
    #: `OnDevice` for those that lie on a GPU
    arrays: list[Any]

    @functools.cached_property
    def host(self) -> list[np.ndarray]:
        """The arrays in the memory of the host, copied where they are elsewhere."""
        return [a if isinstance(a, np.ndarray) else np.asarray(a) for a in self.arrays]


def is_one_number(argnums: Any) -> bool:
    """True where one argument is differentiated, so that results are not wrapped into a tuple."""
    return isinstance(argnums, int | np.integer)


def as_integers(value: Any, name: str) -> tuple[int, ...]:
    """One integer, or a sequence of them, as a tuple; TypeError for anything else."""
    wanted = tuple(value) if np.iterable(value) and not isinstance(value, str) else (value,)
    for k in wanted:
        if isinstance(k, bool) or not isinstance(k, int | np.integer):
            raise TypeError(f"{name} must be an integer or a sequence of integers, got {value!r}")
    return tuple(int(k) for k in wanted)


def normalized_argnums(argnums: int | Sequence[int], n_args: int) -> tuple[int, ...]:
    """Argnums as non-negative positions; ValueError where out of range or repeated."""
    wanted = as_integers(argnums, "argnums")
    for k in wanted:
        if not -n_args <= k < n_args:
            raise ValueError(f"argnums={argnums} but the function was called with {n_args} positional arguments; "
                             "pass what is differentiated by position")
    positions = tuple(k % n_args for k in wanted)
    if len(set(positions)) != len(positions):
        raise ValueError(f"argnums={argnums} names an argument twice")
    return positions


def bind(args: tuple, kwargs: dict, options: Options, name: str) -> Bound:
    """Split the arguments of a call into differentiated arrays, data arrays and static values."""
    positions = normalized_argnums(options.argnums, len(args))
    leaves, spec, keys = flatten_in_order((args, kwargs))
    roles, places = _roles(args, kwargs, options, positions)
    found: list[Leaf | None] = []
    statics: list[Any] = []
    arrays: list[np.ndarray] = []
    names = None
    for k, (value, role) in enumerate(zip(leaves, roles)):
        array = None if role == "static" else _as_array(value, role, options, name)
        if array is None:
            found.append(None)
            statics.append(value)
            continue
        if names is None:
            names = _names(args, kwargs)
        given = _given(value) if role == "data" else None
        found.append(Leaf(array.shape, array.dtype, role == "active", names[k], given))
        statics.append(None)
        arrays.append(array)
    picked = args[positions[0]] if is_one_number(options.argnums) else tuple(args[k] for k in positions)
    if picked is None:
        raise DTypeMismatch(f"{name}: None cannot be differentiated; pass real numbers")
    order = tuple(leaf for k in positions for leaf in places[k])
    key = (spec, keys, tuple(found), tuple(static_key(s) for s in statics))
    return Bound(Signature(spec, tuple(found), tuple(statics), flatten(picked)[1], order, key), arrays)


def _roles(args: tuple, kwargs: dict, options: Options, positions: tuple[int, ...]) -> tuple[list[str], list[range]]:
    """What each leaf is for, and which leaves belong to each positional argument."""
    static = _static_positions(options, len(args), positions)
    roles: list[str] = []
    places = []
    for k, a in enumerate(args):
        role = "active" if k in positions else "static" if k in static else "data"
        places.append(range(len(roles), len(roles) + len(flatten(a)[0])))
        roles += [role] * len(places[-1])
    for k in sorted(kwargs):
        role = "static" if k in options.static_argnames else "data"
        roles += [role] * len(flatten(kwargs[k])[0])
    return roles, places


def _static_positions(options: Options, n_args: int, positions: tuple[int, ...]) -> set[int]:
    """The static arguments that this call passes by position."""
    static = {k % n_args for k in options.static_argnums if -n_args <= k < n_args}
    if both := sorted(static.intersection(positions)):
        raise ValueError(f"argument {both[0]} is named by both argnums={options.argnums} and "
                         f"static_argnums={options.static_argnums}; it cannot be differentiated and static")
    return static


def _names(args: tuple, kwargs: dict) -> list[str]:
    names = [f"arg{k}{path}" for k, a in enumerate(args) for path in leaf_paths(a)]
    return names + [f"{k}{path}" for k in sorted(kwargs) for path in leaf_paths(kwargs[k])]


def _given(value: Any) -> Any:
    """What NumPy's promotion takes a value for, where that is not the dtype that it is computed in."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype if value.dtype.kind in "iu" and value.dtype.itemsize < 4 else None
    return type(value) if type(value) in (int, float) else None


def _as_array(value: Any, role: str, options: Options, name: str) -> Any:
    """The leaf as a C-contiguous array of a supported dtype, or None if it is no number."""
    if is_traced(value):
        raise ConcretizationError(f"{name}: a traced value was given to a product that needs numbers{here()}; inside "
                                  "traced functions use the Hessian itself, .flat, .diagonal, .grad, .value or .hvp")
    value = on_device(value) if options.target == "cuda" else value
    if is_device_array(value):
        _check_kind(value.dtype, role, name)
        return value.cast(_wanted_dtype(value.dtype, role, options))
    if role == "data" and not isinstance(value, np.ndarray | np.generic | numbers.Number):
        return None
    if isinstance(value, np.ma.MaskedArray):
        raise DTypeMismatch(f"{name}: masked arrays are not supported; pass the data and the mask as two arrays")
    if isinstance(value, np.matrix):
        raise DTypeMismatch(f"{name}: np.matrix multiplies as matrices do, which is not traced; pass np.asarray(x), "
                            "and write @ for products")
    array = np.asarray(value)
    _check_kind(array.dtype, role, name)
    wanted = _wanted_dtype(array.dtype, role, options)
    if array.dtype == wanted and array.flags.c_contiguous and array.flags.aligned:
        return array
    return np.require(array, wanted, ("C", "A"))


def on_device(value: Any) -> Any:
    """An array on a GPU as `OnDevice`, anything else as it is."""
    if isinstance(value, np.ndarray | numbers.Number):
        return value
    from symhess.cuda.arrays import OnDevice, is_on_device

    return OnDevice(value) if is_on_device(value) else value


def kinds_of_device_arrays(value: Any) -> tuple | None:
    """What tells the kind of an array on a GPU; None for anything else."""
    from symhess.cuda.arrays import kind_of

    return kind_of(value)


def is_device_array(value: Any) -> bool:
    """True for what `on_device` makes of an array on a GPU."""
    return getattr(value, "is_on_device", False) is True


def _check_kind(dtype: np.dtype, role: str, name: str) -> None:
    if dtype.kind not in "fiub":
        raise DTypeMismatch(f"{name}: an argument of dtype {dtype} cannot be "
                            f"{'differentiated' if role == 'active' else 'used as data'}; pass real numbers")


def _wanted_dtype(dtype: np.dtype, role: str, options: Options) -> np.dtype:
    if role == "active" and options.dtype is not None:
        return np.dtype(options.dtype)
    dtype = dtype.newbyteorder("=")
    if dtype in _FLOATS:
        if options.dtype is not None:
            return np.dtype(options.dtype)
        return dtype
    if role == "active" or dtype.kind == "f":
        return np.dtype(np.float32 if dtype == np.float16 else np.float64)
    return dtype if dtype.kind == "b" else np.dtype(np.int64)


def any_traced(args: Sequence[Any], kwargs: dict) -> bool:
    """True where some leaf of the arguments is a traced value."""
    if all(type(a) is np.ndarray for a in args) and not kwargs:
        return False
    return any(is_traced(x) for x in flatten((tuple(args), kwargs))[0])


def directions(v: Any, leaves: Sequence[tuple[str, tuple[int, ...], np.dtype]], path: Any) -> list[np.ndarray]:
    """The leaves of v, checked against the differentiated inputs' (name, shape, dtype)."""
    given, spec = flatten(v)
    if spec != path.signature.active_spec:
        raise ShapeMismatch(f"v has structure {spec}, the differentiated input {path.signature.active_spec}")
    if path.options.target == "cuda":
        given = [on_device(d) for d in given]
    for d, (name, shape, _) in zip(given, leaves):
        if isinstance(d, np.ma.MaskedArray):
            raise DTypeMismatch("v is a masked array; pass its data")
        dtype = d.dtype if is_device_array(d) else np.asarray(d).dtype
        if dtype.kind not in "fiub":
            raise DTypeMismatch(f"v has dtype {dtype}; pass real numbers")
        if np.shape(d) != shape:
            raise ShapeMismatch(f"v has shape {np.shape(d)} where {name} has shape {shape}")
    return [d.cast(dtype) if is_device_array(d) else np.require(d, dtype, ("C", "A"))
            for d, (_, shape, dtype) in zip(given, leaves)]
