"""C functions of Python and NumPy by address, for machine code that makes what Python sees.

Those of NumPy are in the table that extension modules use. Their places in it are part of NumPy's binary interface;
they are tried once before anything relies on them.
"""

from __future__ import annotations

import ctypes
import functools

import numpy as np

from symhess.backends.python_entry import WORD, WRITEABLE_FLAG, layout_holds

#: places in the table of NumPy's C functions, which are part of its binary interface
NUMPY = {"PyArray_Scalar": 60, "PyArray_NewFromDescr": 94, "PyArray_SetBaseObject": 282}
#: what is called of Python's C functions
PYTHON = ("PyDict_New", "PyDict_Next", "PyDict_SetItem", "PyDict_Size", "PyErr_NoMemory", "PyEval_RestoreThread",
          "PyEval_SaveThread", "PyFloat_AsDouble", "PyList_GetItem", "PyList_New", "PyList_SetItem", "PyList_Size",
          "PyLong_AsLongLongAndOverflow", "PyObject_GetAttr", "PyObject_RichCompareBool", "PyObject_Vectorcall",
          "PyTuple_GetItem", "PyTuple_New", "PyTuple_SetItem", "PyTuple_Size", "PyUnicode_Compare", "Py_DecRef",
          "Py_IncRef")


@functools.cache
def available() -> bool:
    """True if array objects lie in memory as expected and NumPy's C functions do what they are called for."""
    if not layout_holds():
        return False
    thing, address = ctypes.py_object, ctypes.c_void_p
    try:
        make, scalar, base = (
            ctypes.PYFUNCTYPE(result, *arguments)(_numpy()[name])  # type: ignore[arg-type]
            for name, result, arguments in (
                ("PyArray_NewFromDescr", thing, (thing, thing, ctypes.c_int, *[address] * 3, ctypes.c_int, address)),
                ("PyArray_Scalar", thing, (address, thing, address)),
                ("PyArray_SetBaseObject", ctypes.c_int, (thing, thing))))
        dtype, sizes, steps = np.dtype(float), (ctypes.c_ssize_t * 2)(2, 3), (ctypes.c_ssize_t * 2)(24, 8)
        hold = ctypes.pythonapi.Py_IncRef
        hold.argtypes = [ctypes.py_object]
        for taken in (dtype, dtype):
            hold(taken)
        whole = make(np.ndarray, dtype, 2, sizes, None, None, 0, None)
        whole[...] = np.arange(6.0).reshape(2, 3)
        view = make(np.ndarray, dtype, 2, sizes, steps, whole.ctypes.data, WRITEABLE_FLAG, None)
        hold(whole)
        made = base(view, whole) == 0 and view.base is whole and view.flags.carray and np.array_equal(view, whole)
        number = scalar(whole.ctypes.data + 8, dtype, None)
        return made and type(whole) is np.ndarray and whole.flags.owndata and type(number) is np.float64 and number == 1
    except (AttributeError, ImportError, ctypes.ArgumentError):
        return False


@functools.cache
def _numpy() -> dict[str, int]:
    """Addresses of NumPy's C functions."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = get(np._core._multiarray_umath._ARRAY_API, None)  # type: ignore[attr-defined]
    return {name: ctypes.c_void_p.from_address(table + WORD * k).value or 0 for name, k in NUMPY.items()}


@functools.cache
def functions() -> dict[str, int]:
    """Addresses of all that is called."""
    python = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in PYTHON}
    return python | _numpy()
