"""Arrays on a device: those of CuPy, PyTorch, Numba, and others with CUDA's array interface or DLPack.

Results are arrays of the kind that was given, made by its own library, so nothing is converted or copied. What a call
enqueues goes on the stream that the library works on, after what made the arguments and before what reads the result.
So an array may be given up by its owner while a call that uses it is still to run: its memory is handed out again in
the order of the same stream, or, by Numba, after the device has been waited for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import sys
from functools import cached_property
from typing import Any

import numpy as np

from symhess.cuda import driver
from symhess.cuda.toolkit import is_simulated, numba_cuda, on_device
from symhess.errors import DTypeMismatch, TargetUnavailable, UnsupportedOperation

Shape = tuple[int, ...]
#: the device types of CUDA's memory in DLPack, managed memory included
DLPACK_CUDA = (2, 13)


class OnDevice:
    """An array on a device, in C order: its shape and NumPy dtype, and the object of the user's library."""

    is_on_device = True

    def __init__(self, given: Any):
        self.library = library = library_of(type(given))
        #: streams other than that of the library which made the elements
        self.makers: tuple[int, ...] = library.makers(given) if library.is_foreign else ()
        self.given = library.adopted(given)
        self.shape, self.dtype, self.pointer, self.device = self.library.facts(self.given)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)

    @property
    def stream(self) -> int:
        """The stream on which the library works now."""
        return self.library.stream(self.given) or driver.LEGACY

    @property
    def streams(self) -> tuple[int, ...]:
        """All streams on which work on the array is."""
        return (self.stream, *self.makers)

    @cached_property
    def operand(self) -> Any:
        """What a program takes: the address; in a simulation all elements as one axis."""
        return self.given.reshape(-1) if is_simulated() else self.pointer

    def cast(self, dtype: np.dtype) -> OnDevice:
        """The same numbers in another dtype. Raises DTypeMismatch where the library does not convert."""
        return self if dtype == self.dtype else OnDevice(self.library.cast(self.given, dtype))

    def fresh(self, shape: Shape, dtype: np.dtype) -> OnDevice:
        """A new array of the same library, on the same device."""
        return OnDevice(self.library.empty(shape, dtype, self.given))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """A copy in the memory of the host.

        Raises:
            UnsupportedOperation: a CUDA graph of the user's is being captured, which a copy would break off.
        """
        if not is_simulated() and driver.is_capturing(self.stream):
            raise UnsupportedOperation("a call that looks at its arguments cannot be captured in a CUDA graph; the "
                                       "first one does, which traces the function: call it once before. Control flow "
                                       "that depends on values does at every call")
        return np.asarray(self.library.to_host(self.given), dtype)

    def __getitem__(self, k: int) -> OnDevice:
        """A row, over the same memory."""
        return OnDevice(self.library.row(self.given, k))

    def overlaps(self, other: OnDevice) -> bool:
        """True where the two share memory."""
        ends = [(a.pointer, a.pointer + a.size * a.dtype.itemsize) for a in (self, other)]
        return ends[0][0] < ends[1][1] and ends[1][0] < ends[0][1]


class NumbaArrays:
    """Device arrays of numba-cuda, and of its simulator."""

    is_foreign = False

    def holds(self, value: Any) -> bool:
        """True where the elements are on a device."""
        return True

    def takes_results(self, given: Any) -> bool:
        """True for arrays in whose memory a kernel may write."""
        return bool(given.is_c_contiguous())

    def adopted(self, given: Any) -> Any:
        """The array itself; DTypeMismatch where it is not in C order."""
        if not given.is_c_contiguous():
            raise DTypeMismatch("a Numba device array has to be C-contiguous; copy it, or pass a CuPy array")
        return given

    def facts(self, given: Any) -> tuple[Shape, np.dtype, int, int]:
        """Shape, dtype, address, and number of the device."""
        if is_simulated():
            return tuple(given.shape), given.dtype, given._ary.ctypes.data, 0
        return tuple(given.shape), given.dtype, given.device_ctypes_pointer.value or 0, given.gpu_data.context.device.id

    def row(self, given: Any, k: int) -> Any:
        """A row, over the same memory."""
        return given[k:k + 1].reshape(tuple(given.shape[1:]))

    def cast(self, given: Any, dtype: np.dtype) -> Any:
        """Numba's arrays have no arithmetic."""
        raise DTypeMismatch(f"a Numba device array of {given.dtype} is to be {dtype}; pass one of that dtype, or a "
                            "CuPy array")

    def to_host(self, given: Any) -> np.ndarray:
        """A copy."""
        return given.copy_to_host()

    def empty(self, shape: Shape, dtype: np.dtype, like: Any) -> Any:
        """A new array on the device and the stream of another one."""
        if is_simulated():
            return numba_cuda().device_array(shape, dtype)
        with on_device(like.gpu_data.context.device.id):
            return numba_cuda().device_array(shape, dtype, stream=like.stream)

    def stream(self, given: Any) -> int:
        """The stream that the array is bound to, 0 for the default one."""
        stream = given.stream
        handle = int(getattr(stream, "handle", stream)) if stream and not is_simulated() else 0
        return handle or (driver.PER_THREAD if _numba_is_per_thread() else 0)

    def written(self, given: Any) -> None:
        """Say that the elements were changed."""


class CupyArrays:
    """CuPy's arrays."""

    is_foreign = False

    def holds(self, value: Any) -> bool:
        """True where the elements are on a device."""
        return True

    def takes_results(self, given: Any) -> bool:
        """True for arrays in whose memory a kernel may write."""
        return bool(given.flags.c_contiguous)

    def adopted(self, given: Any) -> Any:
        """The array in C order. (`ascontiguousarray` makes a row of an array of rank 0.)"""
        if given.flags.c_contiguous:
            return given
        with given.device:
            return given.copy("C")

    def facts(self, given: Any) -> tuple[Shape, np.dtype, int, int]:
        """Shape, dtype, address, and number of the device."""
        return given.shape, given.dtype, given.data.ptr, given.data.device_id

    def row(self, given: Any, k: int) -> Any:
        """A row, over the same memory."""
        return given[k]

    def cast(self, given: Any, dtype: np.dtype) -> Any:
        """Another dtype."""
        with given.device:
            return given.astype(dtype)

    def to_host(self, given: Any) -> np.ndarray:
        """A copy."""
        with given.device:
            return given.get()

    def empty(self, shape: Shape, dtype: np.dtype, like: Any) -> Any:
        """A new array on the device of another one."""
        with like.device:
            return _cupy().empty(shape, dtype)

    def stream(self, given: Any) -> int:
        """CuPy's current stream for the device of the array, 0 for the default one."""
        return _cupy().cuda.get_current_stream(given.data.device_id).ptr

    def written(self, given: Any) -> None:
        """Say that the elements were changed."""


class TorchArrays:
    """PyTorch's CUDA tensors."""

    is_foreign = False

    def holds(self, value: Any) -> bool:
        """True where the elements are on a device."""
        return value.is_cuda

    def takes_results(self, given: Any) -> bool:
        """True for tensors in whose memory a kernel may write: autograd must not have to know."""
        return given.is_contiguous() and not given.requires_grad

    def adopted(self, given: Any) -> Any:
        """The tensor in C order, without its history."""
        if given.layout is not sys.modules["torch"].strided:
            raise DTypeMismatch(f"a tensor of layout {given.layout} is no array; pass a dense one")
        return given.detach().resolve_neg().contiguous()

    def facts(self, given: Any) -> tuple[Shape, np.dtype, int, int]:
        """Shape, dtype, address, and number of the device."""
        return tuple(given.shape), _dtype_of(given.dtype), given.data_ptr(), given.device.index

    def row(self, given: Any, k: int) -> Any:
        """A row, over the same memory."""
        return given[k]

    def cast(self, given: Any, dtype: np.dtype) -> Any:
        """Another dtype."""
        return given.to(getattr(sys.modules["torch"], dtype.name))

    def to_host(self, given: Any) -> np.ndarray:
        """A copy."""
        return given.cpu().numpy()

    def empty(self, shape: Shape, dtype: np.dtype, like: Any) -> Any:
        """A new tensor on the same device."""
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype.name), device=like.device)

    def stream(self, given: Any) -> int:
        """PyTorch's current stream for the device of the tensor, 0 for the default one."""
        return sys.modules["torch"].cuda.current_stream(given.device).cuda_stream

    def written(self, given: Any) -> None:
        """Tell autograd that the elements were changed."""
        sys.modules["torch"].autograd.graph.increment_version(given)


class _Foreign:
    """What is common to arrays of libraries that are known by CUDA's array interface or DLPack alone."""

    is_foreign = True

    def holds(self, value: Any) -> bool:
        """True where the elements are on a device."""
        if hasattr(value, "__cuda_array_interface__"):
            return True
        return hasattr(value, "__dlpack_device__") and value.__dlpack_device__()[0] in DLPACK_CUDA

    def takes_results(self, given: Any) -> bool:
        """Such arrays may be read-only, or take part in what their library does."""
        return False

    def makers(self, given: Any) -> tuple[int, ...]:
        """The stream that the array names."""
        stream = getattr(given, "__cuda_array_interface__", {}).get("stream")
        return () if stream is None else (int(stream) or driver.LEGACY,)


class ForeignByCupy(_Foreign, CupyArrays):
    """Arrays of other libraries as CuPy's; results are CuPy's."""

    def adopted(self, given: Any) -> Any:
        """A CuPy array over the same memory, or a copy in C order.

        `cupy.asarray` would wait for the stream that the array names; here CuPy's stream does, on the device.
        """
        cupy, facts = _cupy(), getattr(given, "__cuda_array_interface__", None)
        if facts is None:
            return super().adopted(cupy.from_dlpack(given))
        if facts.get("mask") is not None:
            raise DTypeMismatch("masked arrays are not supported; pass the data and the mask as two arrays")
        shape, dtype, strides = tuple(facts["shape"]), np.dtype(facts["typestr"]), facts.get("strides")
        if not dtype.isnative or not all(shape):  # which have no address
            return super().adopted(cupy.asarray(given))
        memory = cupy.cuda.UnownedMemory(facts["data"][0], math.prod(shape) * dtype.itemsize, given)
        array = cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0), strides)
        with array.device:
            for maker in self.makers(given):
                driver.join(self.stream(array), maker)
        return super().adopted(array)


class ForeignByNumba(_Foreign, NumbaArrays):
    """Arrays of other libraries as Numba's, where CuPy is not installed; results are Numba's."""

    def adopted(self, given: Any) -> Any:
        """A Numba array over the same memory."""
        if not hasattr(given, "__cuda_array_interface__"):
            raise TargetUnavailable("arrays that have DLPack alone are taken by way of CuPy: pip install cupy-cuda13x")
        return super().adopted(numba_cuda().as_cuda_array(given, sync=False))


def is_on_device(value: Any) -> bool:
    """True for arrays whose elements lie in the memory of a GPU (or of a simulated one)."""
    library = library_of(type(value))
    return library is not None and library.holds(value)


@functools.lru_cache(maxsize=256)
def library_of(kind: Any) -> Any:
    """What knows arrays of a type; None for types that are no arrays on a device."""
    if issubclass(kind, np.ndarray | np.generic | int | float | complex | str):
        return None
    for module, name, library in (("cupy", "ndarray", CupyArrays), ("torch", "Tensor", TorchArrays)):
        if module in sys.modules and issubclass(kind, getattr(sys.modules[module], name, ())):
            return library()
    if hasattr(kind, "__cuda_ndarray__"):
        return NumbaArrays()
    if not hasattr(kind, "__cuda_array_interface__") and not hasattr(kind, "__dlpack_device__"):
        return None
    return ForeignByCupy() if importlib.util.find_spec("cupy") else ForeignByNumba()


@functools.cache
def _dtype_of(dtype: Any) -> np.dtype:
    """The NumPy dtype of one of PyTorch's."""
    name = str(dtype).removeprefix("torch.")
    found = np.dtype(name) if name in np.sctypeDict else None
    if found is None or found.kind not in "fiubc":
        raise DTypeMismatch(f"NumPy has no dtype for a tensor of {name}; convert it to float64")
    return found


@functools.cache
def _numba_is_per_thread() -> bool:
    """True where Numba's default stream is one for each thread."""
    from numba.cuda.core import config

    return bool(config.CUDA_PER_THREAD_DEFAULT_STREAM)


def _cupy() -> Any:
    return importlib.import_module("cupy")


def kind_of(value: Any) -> tuple | None:
    """What tells one kind of device array from another: type, shape and dtype; None for what is no array of a library
    whose arrays tell."""
    library = library_of(type(value))
    if library is None or library.is_foreign or not library.holds(value):
        return None
    return type(value), tuple(value.shape), value.dtype
