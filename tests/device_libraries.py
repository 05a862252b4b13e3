"""What the CUDA target asks of CuPy and of PyTorch, over the memory of numba-cuda's driver.

They stand for the libraries where these cannot run: no more of each than the target uses, after the sources of CuPy 14
and the documentation of PyTorch 2. What they keep true is where memory lies, which stream work is on, and what waits:

* every thread has a current stream; what an array is made of is enqueued on it, and what reads an array on the host
  waits for it, and for no other stream;
* `cupy.asarray` of an array that names a stream waits for that stream, as CuPy does, and counts it in `waits`;
* `cupy.ascontiguousarray` makes a row of an array of rank 0;
* memory that is given up is handed out again for work on the same stream, at once.

Arithmetic is NumPy's, on copies on the host, so it waits where the libraries do not.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import math
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
from numba import cuda
from numpy.lib.mixins import NDArrayOperatorsMixin

from symhess.cuda import driver


class Stream:
    """A stream by its handle; a context in which it is the current one."""

    def __init__(self, handle: int | None = None):
        self.ptr = driver.new_stream(self) if handle is None else handle
        self.cuda_stream = self.ptr
        self._before: list[Stream] = []

    def __enter__(self) -> Stream:
        self._before.append(current())
        _now.stream = self
        return self

    def __exit__(self, *problem: object) -> None:
        _now.stream = self._before.pop()

    def synchronize(self) -> None:
        driver.entry("cuStreamSynchronize")(self.ptr)


_now = threading.local()
NULL = Stream(0)


def current() -> Stream:
    """The current stream of this thread."""
    return getattr(_now, "stream", NULL)


#: memory given up, by the stream and the size that it was handed out for; all of it, which is never freed
_pool: dict[tuple[int, int], list[Any]] = {}
_blocks: list[Any] = []


class Memory:
    """Bytes on the device, handed out for work on one stream."""

    def __init__(self, size: int):
        self.key = current().ptr, max(size, 1)
        free = _pool.setdefault(self.key, [])
        self.block = free.pop() if free else cuda.device_array(self.key[1], np.uint8)
        _blocks.append(self.block)
        self.address = self.block.device_ctypes_pointer.value

    def __del__(self) -> None:
        if hasattr(self, "block"):
            _pool[self.key].append(self.block)


def rows(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The strides of an array in C order."""
    return tuple(size * math.prod(shape[k + 1:]) for k in range(len(shape)))


class Array(NDArrayOperatorsMixin):
    """An array on the device; `owner` keeps its memory."""

    def __init__(self, shape: Any, dtype: Any, owner: Any = None, address: int | None = None, strides: Any = None):
        self.dims = (shape,) if isinstance(shape, int) else tuple(map(int, shape))
        self.kind = dtype if isinstance(dtype, tuple) else np.dtype(dtype)  # a tuple is a dtype that NumPy has not
        self.steps = rows(self.dims, self.kind.itemsize) if strides is None else tuple(map(int, strides))
        self.owner = Memory(math.prod(self.dims) * self.kind.itemsize) if owner is None else owner
        self.address = self.owner.address if address is None else address

    def made(self, *of: Any) -> Any:
        """An array of the same library."""
        made = object.__new__(type(self))
        Array.__init__(made, *of)
        return made

    # -- the host --------------------------------------------------------------------------------------------------

    def window(self) -> tuple[np.ndarray, np.ndarray]:
        """Room for the bytes from the first element to the last one, and the array over them."""
        reach = sum(s * (n - 1) for s, n in zip(self.steps, self.dims)) + self.kind.itemsize
        held = np.zeros(reach, np.uint8)
        return held, np.ndarray(self.dims, self.kind, held.data, 0, self.steps)

    def filled(self) -> tuple[np.ndarray, np.ndarray]:
        """The same with what is on the device."""
        held, view = self.window()
        if view.size:
            current().synchronize()
            driver.entry("cuMemcpyDtoHAsync")(held.ctypes.data, self.address, held.size, current().ptr)
            current().synchronize()
        return held, view

    def host(self) -> np.ndarray:
        """A copy on the host."""
        return self.filled()[1].copy()

    def fill(self, value: Any) -> None:
        """Elements from the host."""
        held, view = self.window() if self.is_c_contiguous() else self.filled()
        view[...] = value
        if view.size:
            driver.entry("cuMemcpyHtoDAsync")(self.address, held.ctypes.data, held.size, current().ptr)

    def like(self, value: Any) -> Any:
        """A new array with the elements of one on the host."""
        made = self.made(np.shape(value), np.asarray(value).dtype)
        made.fill(value)
        return made

    def is_c_contiguous(self) -> bool:
        return all(n == 1 or s == r for n, s, r in zip(self.dims, self.steps, rows(self.dims, self.kind.itemsize)))

    # -- views -----------------------------------------------------------------------------------------------------

    def view_of(self, change: Any) -> Any:
        """What indexing and reshaping give: over the same memory where NumPy's views are."""
        held, before = self.window()
        after = change(before)
        if after.size and not np.may_share_memory(before, after):
            return self.like(change(self.host()))
        return self.made(after.shape, self.kind, self.owner, self.address + after.ctypes.data - held.ctypes.data,
                         after.strides)

    def __getitem__(self, key: Any) -> Any:
        return self.view_of(lambda a: a[key] if a.ndim != 1 or not isinstance(key, int) else a[key:key + 1].reshape(()))

    def __setitem__(self, key: Any, value: Any) -> None:
        self[key].fill(to_host(value))

    def __len__(self) -> int:
        return self.dims[0]

    def reshape(self, *shape: Any) -> Any:
        return self.view_of(lambda a: a.reshape(*shape))

    def swapaxes(self, i: int, j: int) -> Any:
        return self.view_of(lambda a: a.swapaxes(i, j))

    # -- arithmetic ------------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        return self.like(getattr(ufunc, method)(*map(to_host, inputs), **named))

    def sum(self, axis: Any = None) -> Any:
        return self.like(self.host().sum(axis))

    def all(self, axis: Any = None) -> Any:
        return self.like(self.host().all(axis))


def to_host(value: Any) -> Any:
    """Arrays as NumPy's."""
    return value.host() if isinstance(value, Array) else value


# -- CuPy ----------------------------------------------------------------------------------------------------------


class CupyArray(Array):
    """`cupy.ndarray`."""

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None):
        memory = () if memptr is None else (memptr.memory, memptr.memory.address + memptr.offset, strides)
        super().__init__(shape, dtype, *memory)

    shape = property(lambda self: self.dims)
    dtype = property(lambda self: self.kind)
    strides = property(lambda self: self.steps)
    ndim = property(lambda self: len(self.dims))
    size = property(lambda self: math.prod(self.dims))
    data = property(lambda self: types.SimpleNamespace(ptr=self.address, device_id=0))
    flags = property(lambda self: types.SimpleNamespace(c_contiguous=self.is_c_contiguous()))
    device = property(lambda self: contextlib.nullcontext())

    def get(self) -> np.ndarray:
        return self.host()

    def copy(self, order: str = "C") -> CupyArray:
        return self.like(self.host())

    def astype(self, dtype: Any) -> CupyArray:
        return self.like(self.host().astype(dtype))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.dims, "typestr": self.kind.str, "data": (self.address, False), "version": 3,
                "strides": None if self.is_c_contiguous() else self.steps, "stream": current().ptr or driver.LEGACY}


class UnownedMemory:
    """`cupy.cuda.UnownedMemory`."""

    def __init__(self, address: int, size: int, owner: Any, device: int = -1):
        self.address, self.owner = address, owner


class Pointer:
    """`cupy.cuda.MemoryPointer`."""

    def __init__(self, memory: Any, offset: int):
        self.memory, self.offset = memory, offset


class CupyStream(Stream):
    """`cupy.cuda.Stream`."""

    null, ptds = NULL, Stream(driver.PER_THREAD)

    @classmethod
    def from_external(cls, other: Any) -> Stream:
        return Stream(other.__cuda_stream__()[1])


#: streams that were waited for by the host
waits: list[int] = []


def asarray(value: Any) -> CupyArray:
    """`cupy.asarray`."""
    if isinstance(value, CupyArray):
        return value
    facts = getattr(value, "__cuda_array_interface__", None)
    if facts is None:
        return CupyArray((), float).like(value)
    if facts.get("stream") is not None:
        waits.append(facts["stream"])
        driver.entry("cuStreamSynchronize")(facts["stream"])
    memory = UnownedMemory(facts["data"][0], 0, value)
    return CupyArray(facts["shape"], facts["typestr"], Pointer(memory, 0), facts.get("strides"))


class _Functions(types.ModuleType):
    """A module whose functions are NumPy's, on copies."""

    def __init__(self, name: str, of: Any, **more: Any):
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.__dict__.update(of=of, **more)

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.of, name)

        def on_copies(*args: Any, out: Any = None, **named: Any) -> Any:
            args = [[*map(to_host, a)] if isinstance(a, list) else to_host(a) for a in args]
            found = function(*args, **named)
            if out is not None:
                out.fill(found)
                return out
            made = CupyArray((), float).like
            return tuple(map(made, found)) if isinstance(found, tuple) else made(found)

        return on_copies


class SparseMatrix:
    """`cupyx.scipy.sparse.csr_matrix`: making one waits for the device."""

    format = "csr"

    def __init__(self, parts: Any, shape: tuple[int, int]):
        self.data, self.indices, self.indptr = parts
        assert all(isinstance(a, CupyArray) for a in parts)
        self.shape, self.nnz = shape, len(self.data)
        waits.append(current().ptr)
        current().synchronize()

    def toarray(self) -> np.ndarray:
        parts = tuple(a.get() for a in (self.data, self.indices, self.indptr))
        return scipy.sparse.csr_array(parts, self.shape).toarray()


def cupy() -> Any:
    """The module, also found by `import cupy`."""
    module = _Functions("cupy", np, ndarray=CupyArray, asarray=asarray, empty=CupyArray)
    module.linalg = _Functions("cupy.linalg", np.linalg)
    module.cuda = types.SimpleNamespace(Stream=CupyStream, UnownedMemory=UnownedMemory, MemoryPointer=Pointer,
                                        get_current_stream=lambda device=-1: current(),
                                        runtime=types.SimpleNamespace(getDevice=lambda: 0))
    module.from_dlpack = lambda a: a.shared(current().ptr)
    module.ascontiguousarray = lambda a: a.copy().reshape(a.dims or (1,))
    extra = types.ModuleType("cupyx")
    extra.__spec__ = importlib.machinery.ModuleSpec("cupyx", None)
    extra.errstate = lambda **how: contextlib.nullcontext()
    sparse = types.ModuleType("cupyx.scipy.sparse")
    sparse.csr_matrix = SparseMatrix
    extra.scipy = types.ModuleType("cupyx.scipy")
    extra.scipy.sparse = sparse
    sys.modules.update({"cupy": module, "cupyx": extra, "cupyx.scipy": extra.scipy, "cupyx.scipy.sparse": sparse})
    return module


# -- PyTorch -------------------------------------------------------------------------------------------------------


class Dtype:
    """A dtype of PyTorch's."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


DTYPES = {name: Dtype(name) for name in ("float64", "float32", "int64", "int32", "bool", "bfloat16")}


class Tensor(Array):
    """`torch.Tensor`, on a CUDA device."""

    is_cuda, layout, requires_grad, version = True, "strided", False, 0
    device = types.SimpleNamespace(index=0)

    shape = property(lambda self: self.dims)
    dtype = property(lambda self: DTYPES[self.kind.name])

    def detach(self) -> Tensor:
        same = self.made(self.dims, self.kind, self.owner, self.address, self.steps)
        same.device = self.device
        return same

    def resolve_neg(self) -> Tensor:
        return self

    def is_contiguous(self) -> bool:
        return self.is_c_contiguous()

    def contiguous(self) -> Tensor:
        return self if self.is_c_contiguous() else self.like(self.host())

    def data_ptr(self) -> int:
        return self.address

    def to(self, dtype: Dtype) -> Tensor:
        return self.like(self.host().astype(dtype.name))

    def cpu(self) -> Any:
        return types.SimpleNamespace(numpy=self.host)


def torch() -> Any:
    """The module, also found by `sys.modules`."""
    module = types.ModuleType("torch")
    module.__spec__ = importlib.machinery.ModuleSpec("torch", None)

    def increment_version(tensor: Tensor) -> None:
        tensor.version += 1

    module.__dict__.update(DTYPES, Tensor=Tensor, strided="strided",
                           empty=lambda shape, dtype, device: Tensor(shape, dtype.name),
                           cuda=types.SimpleNamespace(current_stream=lambda device=None: current(), is_available=bool),
                           autograd=types.SimpleNamespace(
                               graph=types.SimpleNamespace(increment_version=increment_version)))
    sys.modules["torch"] = module
    return module


@contextlib.contextmanager
def standing_in() -> Iterator[tuple[Any, Any]]:
    """Both modules in place of the libraries."""
    from symhess.cuda import arrays, linear

    known = {name: sys.modules.get(name) for name in ("cupy", "cupyx", "cupyx.scipy", "cupyx.scipy.sparse", "torch")}
    arrays.library_of.cache_clear()
    linear.library.cache_clear()
    try:
        yield cupy(), torch()
    finally:
        for name, module in known.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
        arrays.library_of.cache_clear()
        linear.library.cache_clear()
