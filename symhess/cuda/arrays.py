"""Arrays on a device: those of CuPy, PyTorch, Numba, and others with CUDA's array interface or DLPack.

Results are arrays of the kind that was given, made by its own library, so nothing is converted or copied. What a call
enqueues goes on the stream that the library works on, after what made the arguments and before what reads the result.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from symhess.cuda.toolkit import is_simulated, numba_cuda
from symhess.errors import DTypeMismatch, TargetUnavailable

Shape = tuple[int, ...]
#: the device type of CUDA's memory in DLPack
DLPACK_CUDA = 2


def is_on_device(value: Any) -> bool:
    """True for arrays whose elements lie in the memory of a GPU (or of a simulated one)."""
    if isinstance(value, np.ndarray | np.generic | int | float):
        return False
    if hasattr(value, "__cuda_ndarray__") or hasattr(type(value), "is_cuda"):
        return bool(getattr(value, "is_cuda", True))
    if hasattr(value, "__cuda_array_interface__"):
        return True
    return hasattr(value, "__dlpack_device__") and value.__dlpack_device__()[0] == DLPACK_CUDA


class OnDevice:
    """An array on a device, in C order: its shape and NumPy dtype, and the object of the user's library."""

    is_on_device = True

    def __init__(self, given: Any):
        self.library = _library(given)
        self.given = self.library.adopted(given)
        self.shape, self.dtype, self.pointer = self.library.facts(self.given)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)

    @cached_property
    def flat(self) -> Any:
        """All elements as one axis, for kernels."""
        return self.library.flat(self.given, self.size, self.dtype)

    def cast(self, dtype: np.dtype) -> OnDevice:
        """The same numbers in another dtype. Raises DTypeMismatch where the library does not convert."""
        return self if dtype == self.dtype else OnDevice(self.library.cast(self.given, dtype))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """A copy in the memory of the host."""
        return np.asarray(self.library.to_host(self.given), dtype)

    def __getitem__(self, k: Any) -> np.ndarray:
        """Part of a copy in the memory of the host."""
        return np.asarray(self)[k]

    def overlaps(self, other: OnDevice) -> bool:
        """True where the two share memory."""
        ends = [(a.pointer, a.pointer + a.size * a.dtype.itemsize) for a in (self, other)]
        return ends[0][0] < ends[1][1] and ends[1][0] < ends[0][1]


class NumbaArrays:
    """Device arrays of numba-cuda, and of its simulator."""

    def adopted(self, given: Any) -> Any:
        """The array itself; DTypeMismatch where it is not in C order."""
        if not given.is_c_contiguous():
            raise DTypeMismatch("a Numba device array has to be C-contiguous; copy it, or pass a CuPy array")
        return given

    def facts(self, given: Any) -> tuple[Shape, np.dtype, int]:
        """Shape, dtype and address."""
        if is_simulated():
            return tuple(given.shape), given.dtype, given._ary.ctypes.data
        return tuple(given.shape), given.dtype, given.device_ctypes_pointer.value or 0

    def flat(self, given: Any, size: int, dtype: np.dtype) -> Any:
        """All elements as one axis."""
        if is_simulated():
            return given.reshape(-1)
        from numba.cuda.cudadrv.devicearray import DeviceNDArray

        return DeviceNDArray((size,), (dtype.itemsize,), dtype, gpu_data=given.gpu_data)

    def cast(self, given: Any, dtype: np.dtype) -> Any:
        """Numba's arrays have no arithmetic."""
        raise DTypeMismatch(f"a Numba device array of {given.dtype} is to be {dtype}; pass one of that dtype, or a "
                            "CuPy array")

    def to_host(self, given: Any) -> np.ndarray:
        """A copy."""
        return given.copy_to_host()

    def empty(self, shape: Shape, dtype: np.dtype, like: Any) -> Any:
        """A new array."""
        return numba_cuda().device_array(shape, dtype)

    def stream(self, given: Any) -> int:
        """The stream of the array, 0 for the default one."""
        handle = getattr(given, "stream", 0)
        return int(getattr(handle, "handle", 0) or 0) if not isinstance(handle, int) else handle


class InterfaceArrays(NumbaArrays):
    """Arrays with CUDA's array interface, where there is no CuPy: results are Numba's."""

    def adopted(self, given: Any) -> Any:
        """As an array of Numba's over the same memory."""
        if not hasattr(given, "__cuda_array_interface__"):
            raise TargetUnavailable("arrays that have DLPack alone are taken by way of CuPy: pip install cupy-cuda13x")
        return super().adopted(numba_cuda().as_cuda_array(given, sync=False))


class CupyArrays:
    """CuPy's arrays."""

    def adopted(self, given: Any) -> Any:
        """The array in C order; one of another library, with CUDA's interface or DLPack, over the same memory."""
        known = hasattr(given, "__cuda_array_interface__")
        return _cupy().ascontiguousarray(_cupy().asarray(given) if known else _cupy().from_dlpack(given))

    def facts(self, given: Any) -> tuple[Shape, np.dtype, int]:
        """Shape, dtype and address."""
        return given.shape, given.dtype, given.data.ptr

    def flat(self, given: Any, size: int, dtype: np.dtype) -> Any:
        """All elements as one axis of an array of Numba's."""
        return numba_cuda().as_cuda_array(given.reshape(-1), sync=False)

    def cast(self, given: Any, dtype: np.dtype) -> Any:
        """Another dtype."""
        return given.astype(dtype)

    def to_host(self, given: Any) -> np.ndarray:
        """A copy."""
        return given.get()

    def empty(self, shape: Shape, dtype: np.dtype, like: Any) -> Any:
        """A new array."""
        return _cupy().empty(shape, dtype)

    def stream(self, given: Any) -> int:
        """CuPy's current stream."""
        return _cupy().cuda.get_current_stream().ptr


class TorchArrays:
    """PyTorch's CUDA tensors."""

    def adopted(self, given: Any) -> Any:
        """The tensor in C order, without its history."""
        return given.detach().contiguous()

    def facts(self, given: Any) -> tuple[Shape, np.dtype, int]:
        """Shape, dtype and address."""
        name = str(given.dtype).removeprefix("torch.")
        try:
            return tuple(given.shape), np.dtype(name), given.data_ptr()
        except TypeError:
            raise DTypeMismatch(f"NumPy has no dtype for a tensor of {name}; convert it to float64") from None

    def flat(self, given: Any, size: int, dtype: np.dtype) -> Any:
        """All elements as one axis of an array of Numba's."""
        return numba_cuda().as_cuda_array(given.reshape(-1), sync=False)

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
        """PyTorch's current stream."""
        return sys.modules["torch"].cuda.current_stream(given.device).cuda_stream


def _library(given: Any) -> Any:
    module = type(given).__module__.partition(".")[0]
    if module == "cupy":
        return CupyArrays()
    if module == "torch":
        return TorchArrays()
    if hasattr(given, "__cuda_ndarray__"):
        return NumbaArrays()
    return CupyArrays() if importlib.util.find_spec("cupy") else InterfaceArrays()


def _cupy() -> Any:
    return importlib.import_module("cupy")


def stream_of(arrays: Sequence[OnDevice]) -> Any:
    """The stream that the first of some arrays is worked on."""
    cuda, handle = numba_cuda(), arrays[0].library.stream(arrays[0].given)
    return cuda.external_stream(handle) if handle and not is_simulated() else cuda.default_stream()
