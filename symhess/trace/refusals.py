"""What is said about code that cannot be traced: which library function it was, and what to write instead."""

from __future__ import annotations

import os
import sys

import numpy as np

#: NumPy functions without a rule -> what to write instead
INSTEAD = {
    "nextafter": "np.finfo(float).eps * np.abs(x) is about the distance",
    "spacing": "np.finfo(float).eps * np.abs(x) is about the distance",
    "histogram2d": "np.digitize both coordinates and add up with np.add.at",
    "histogramdd": "np.digitize the coordinates and add up with np.add.at",
    "roots": "solve np.polyval(p, z) = 0 with symhess.implicit_function",
    "polydiv": "np.polyval of both, and divide the values",
    "einsum_path": "np.einsum itself, which finds its own order",
    "packbits": "arithmetic on the integers", "unpackbits": "arithmetic on the integers",
    **dict.fromkeys(("save", "savez", "savez_compressed", "savetxt"), "return the array, and save it outside"),
}
#: modules of SciPy and others -> what to write instead of their functions
ELSEWHERE = {
    "scipy.optimize": "symhess.implicit_function (a solution as a function of its parameters), or a loop of your own",
    "scipy.integrate": "np.trapezoid or a sum over fixed nodes; for differential equations a loop of your own steps",
    "scipy.interpolate": "np.interp, or a constant matrix of basis functions times the traced values",
    "scipy.ndimage": "np.convolve, or slices that are shifted and added",
    "scipy.signal": "np.convolve or np.fft",
    "scipy.stats": "the formula of its density, with scipy.special",
    "numpy.random": "draw standard numbers first, then shift and scale them by the traced values",
    "numpy.ma": "np.where with the mask as an array of its own",
    "numpy.matrix": "np.asarray, and @ for products",
}
#: for everything else
OTHERWISE = "symhess.external (code that is called with numbers, with a gradient that you supply)"
_LIBRARIES = tuple(os.path.dirname(np.__file__).removesuffix("numpy") + name + os.sep for name in ("numpy", "scipy"))
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def library_function() -> str | None:
    """The function of NumPy or SciPy that the user called and that led here, or None if none is on the way."""
    frame, found = sys._getframe(1), None
    while frame is not None and frame.f_code.co_filename.startswith((*_LIBRARIES, _OWN, "<__array_function__")):
        if frame.f_code.co_filename.startswith(_LIBRARIES) and "._lib." not in frame.f_globals.get("__name__", ""):
            found = frame
        frame = frame.f_back
    if found is None:
        return None
    name = getattr(found.f_code, "co_qualname", found.f_code.co_name).removesuffix(".__new__").removesuffix(".__init__")
    module = found.f_globals.get("__name__", "")
    return ".".join([p for p in module.split(".") if not p.startswith("_")] + [name.split(".<locals>")[0]])


def instead_of(function: str) -> str:
    """What to write instead of a library function, given by its full name."""
    known = [module for module in ELSEWHERE if function.startswith(module)]
    return ELSEWHERE[max(known, key=len)] if known else OTHERWISE
