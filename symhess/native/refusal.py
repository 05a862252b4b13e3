"""Numba's messages in our words: what it could not do, on which line of the user's function."""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Callable

import numba

from symhess.errors import NonScalarOutput, SymhessError, UnsupportedOperation

_OURS = tuple(os.path.dirname(os.path.abspath(p)) for p in (os.path.dirname(__file__), numba.__file__))
#: lines of a message that tell where Numba was, not what is wrong
_NOISE = ("Failed in nopython", "During", "File ", "There are", " - Of which", "Overload", "With argument", "Rejected",
          "raised from", "- Resolution", "<source", "Known signatures", "No match", ">>>", "Enter", "This error")
_LENGTH = 300


def refused(error: Exception, function: Callable, name: str) -> SymhessError:
    """The error to raise where a function could not be compiled."""
    text = str(error)
    returned = re.search(r"NoNumber: (?:\x1b\[\d*m)*returned ([^\n\x1b]*)", text)
    if returned:
        return NonScalarOutput(f"the function must return one number to have a Hessian, it returned {returned[1]}")
    return UnsupportedOperation(f'{name}: Numba cannot compile it for mode="native"{_where(error, text, function)}: '
                                f'{_reason(error, text)}; use mode="auto", which traces the function')


def _reason(error: Exception, text: str) -> str:
    """The first lines of the message that say something."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", text).splitlines()]
    said = [line for line in lines if line and not line.startswith(_NOISE) and set(line) - set("^~-")]
    wanted = said[0].partition(".. Raised from")[0] if said else type(error).__name__
    call = next((line[3:].strip() for line in lines if line.startswith(">>>")), "")
    wanted = f"no implementation for {call}" if call and wanted.startswith("No implementation") else wanted
    wanted = re.sub(r"^<numba[^>]*>, \((.*?),?\)$", r"no implementation for \1", wanted)
    plain = re.sub(r"array\(number\([\d_]+\), (\d)d, \w\)", r"array of numbers, \1d", wanted.replace("readonly ", ""))
    plain = re.sub(r"number\([\d_]+\)", "number", plain).replace("native_", "").replace("checked_", "")
    return plain[:_LENGTH].rstrip(" .:;")


def _where(error: Exception, text: str, function: Callable) -> str:
    """The innermost line of user code that the message names, or where the function begins."""
    places = re.findall(r'File "([^"]+)", line (\d+)', text) + re.findall(r"at (\S+) \((\d+)\)", text)
    loc = getattr(error, "loc", None)
    if loc is not None:
        places.insert(0, (loc.filename, loc.line))
    for filename, line in places:
        path = os.path.abspath(filename)
        if filename.startswith("<") or path.startswith(_OURS) or not os.path.exists(path):
            continue
        source = linecache.getline(path, int(line)).strip()
        return f" at {os.path.relpath(path)}:{line}" + (f": `{source}`" if source else "")
    code = getattr(function, "__code__", None)
    return f" in the function at {os.path.relpath(code.co_filename)}:{code.co_firstlineno}" if code else ""
