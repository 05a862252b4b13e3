"""`python -m symhess inspect module:function --shape x=100`: trace a function and explain its Hessian, without code.

Arguments are found by name. Arrays are made up: numbers between 0.5 and 1.5, the same in every run; they matter where
control flow depends on values, and `--value` gives others.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from symhess.api.arguments import MODES, TARGETS
from symhess.api.function import HessianFunction, hessian_jit
from symhess.errors import SymhessError

EXAMPLE = """examples:
  python -m symhess inspect scipy.optimize:rosen --shape x=100
  python -m symhess inspect model.py:Model.loss --shape w=10x3 --shape b=3 --value rate=0.1 --argnums w,b --source
"""


class Refused(Exception):
    """What was asked for on the command line cannot be meant."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0, or 1 with a message on stderr."""
    asked = _parser().parse_args(argv)
    try:
        print(_report(asked))
    except (Refused, SymhessError) as error:
        print(error if isinstance(error, Refused) else f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m symhess", description="Exact structured Hessians of NumPy code.")
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("inspect", help="trace a function and explain its Hessian", epilog=EXAMPLE,
                            formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("function", help="module:function or file.py:function; a dot leads into a class or an object")
    p.add_argument("--shape", action="append", default=[], metavar="NAME=SHAPE",
                   help="an array argument, such as x=100, w=10x3, or t= for a number")
    p.add_argument("--value", action="append", default=[], metavar="NAME=LITERAL",
                   help="an argument's value, a Python literal; lists of numbers become arrays")
    p.add_argument("--argnums", metavar="NAMES", help="arguments to differentiate, by name or position: w,b; the first "
                   "one by default")
    p.add_argument("--dtype", choices=["float32", "float64"], default="float64", help="of the arrays made up")
    p.add_argument("--mode", choices=MODES, help="as in hessian_jit; a decorated function has the options of its "
                   "decorator where none are given here")
    p.add_argument("--target", choices=TARGETS, help='"cuda" explains the kernels for a GPU; that needs no device')
    p.add_argument("--sparse", action=argparse.BooleanOptionalAction, help="explain the sparse Hessian")
    p.add_argument("--graph", action="store_true", help="print the traced graph too")
    p.add_argument("--source", action="store_true", help="print the generated kernel too")
    p.add_argument("--check", action="store_true", help="compare with differences of the values too (check_hessian)")
    return parser


def _report(asked: argparse.Namespace) -> str:
    fn = _function(asked.function)
    args = _arguments(fn, asked)
    function = _compiled(fn, asked, len(args))
    parts = [function.explain(*args)]
    if asked.graph:
        parts.append(str(function.graph(*args)))
    if asked.source:
        parts.append(function.source(*args, product="csr" if function.options.sparse else "hessian"))
    if asked.check:
        from symhess.check import check_hessian

        parts.append(str(check_hessian(function, *args)))
    return "\n\n".join(parts)


# -- the function --------------------------------------------------------------------------------------------------


def _compiled(fn: Callable, asked: argparse.Namespace, count: int) -> HessianFunction:
    """With the options asked for; one that is compiled has others of its own."""
    given = {name: getattr(asked, name) for name in ("mode", "target", "sparse")}
    options = {name: value for name, value in given.items() if value is not None}
    if asked.argnums is not None:
        options["argnums"] = _argnums(asked.argnums, fn, count)
    if isinstance(fn, HessianFunction):
        return HessianFunction(fn.fn, replace(fn.options, **options)) if options else fn
    return hessian_jit(fn, **options)


def _function(text: str) -> Callable:
    """What `module:name` or `file.py:name` refers to."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise Refused(f"{text!r} names no function; write module:function or file.py:function")
    found: Any = _module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            known = [k for k, v in vars(found).items() if callable(v) and not k.startswith("_")] if hasattr(
                found, "__dict__") else []
            raise Refused(f"{place} has no {name!r}; it has {', '.join(known[:20]) or 'no functions'}")
        found = getattr(found, part)
    if not callable(found):
        raise Refused(f"{text} is a {type(found).__name__}, not a function")
    return found


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        sys.path.insert(0, "")
        try:
            return importlib.import_module(place)
        except ImportError as error:
            raise Refused(f"cannot import {place}: {error}") from error
    path = Path(place)
    if not path.is_file():
        raise Refused(f"there is no file {place}")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


# -- its arguments -------------------------------------------------------------------------------------------------


def _parameters(fn: Callable) -> list[inspect.Parameter]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        return [p for p in inspect.signature(fn).parameters.values() if p.kind in positional]
    except (TypeError, ValueError) as error:
        raise Refused(f"the arguments of {fn!r} cannot be found: {error}") from error


def _arguments(fn: Callable, asked: argparse.Namespace) -> list[Any]:
    """One value per positional argument: from --shape, --value, or its default."""
    parameters, rng = _parameters(fn), np.random.default_rng(0)
    given: dict[str, Callable[[], Any]] = {}
    for text in asked.shape:
        name, shape = _assigned(text, "--shape")
        given[name] = functools.partial(_made_up, rng, _shape(shape, text), asked.dtype)
    for text in asked.value:
        name, value = _assigned(text, "--value")
        given[name] = functools.partial(_literal, value, text)
    if len(given) < len(asked.shape) + len(asked.value):
        raise Refused("an argument is given twice: it needs one --shape or one --value")
    names = [p.name for p in parameters]
    if unknown := [n for n in given if n not in names]:
        raise Refused(f"no argument is called {unknown[0]!r}; there are {', '.join(names) or 'none'}")
    args = []
    for p in parameters:
        if p.name in given:
            args.append(given[p.name]())
        elif p.default is not inspect.Parameter.empty:
            args.append(p.default)
        else:
            raise Refused(f"the argument {p.name!r} has neither shape nor value: add --shape {p.name}=... or "
                          f"--value {p.name}=...")
    return args


def _assigned(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise Refused(f"{option} {text!r}: write {option} NAME={'100x3' if option == '--shape' else '0.5'}")
    return name, value


def _shape(text: str, whole: str) -> tuple[int, ...]:
    """(10, 3) of `10x3`, `10,3` or `(10, 3)`, and () of nothing."""
    parts = [p for p in re.split(r"[x,]", text.strip("() ").replace(" ", "")) if p]
    if not all(p.isdigit() for p in parts):
        raise Refused(f"--shape {whole!r}: a shape is one or more whole numbers, such as 100 or 10x3")
    return tuple(int(p) for p in parts)


def _made_up(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    values = rng.uniform(0.5, 1.5, shape)
    return values.astype(dtype) if shape else float(values)


def _literal(text: str, whole: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise Refused(f"--value {whole!r}: not a Python literal ({error})") from error
    if isinstance(value, list):
        array = np.array(value)
        return array if array.dtype.kind in "fiub" else value
    return value


def _argnums(text: str, fn: Callable, count: int) -> int | tuple[int, ...]:
    """Positions of what is differentiated; one alone is a number."""
    names = [p.name for p in _parameters(fn)]
    found = []
    for part in filter(None, text.split(",")):
        if part in names:
            found.append(names.index(part))
        elif re.fullmatch(r"-?\d+", part) and -count <= int(part) < count:
            found.append(int(part))
        else:
            raise Refused(f"--argnums {text!r}: no argument is called {part!r}; there are {', '.join(names)}")
    return found[0] if len(found) == 1 else tuple(found)


if __name__ == "__main__":
    sys.exit(main())
