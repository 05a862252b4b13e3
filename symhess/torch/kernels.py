"""Kernels: records compiled, found again by what they consist of, and called with the memory of tensors."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace as changed
from typing import Any

import numpy as np
import torch

from symhess.api.arguments import Options
from symhess.api.function import HessianFunction
from symhess.torch.recording import Record, Ref
from symhess.torch.replay import DTYPES, replay

#: options of `hessian_jit` that mean something here
OPTIONS = frozenset(("parallel", "cache", "fastmath", "memory_budget", "compile", "mode", "target"))
#: structures of records whose kernels are kept
MAX_FAMILIES = 256
#: kernels kept for one structure, for different integers
MAX_VARIANTS = 16


class Kernel:
    """A record as a compiled function of its differentiated inputs and of its data.

    `function(params, data)` is an ordinary HessianFunction of two tuples of arrays; `of_arrays(*params, *data)` is what
    was captured as a function of arrays in a row.
    """

    def __init__(self, record: Record, fixed: dict[int, Any], name: str, options: dict[str, Any]):
        self.record = changed(record, outside=dict.fromkeys(record.outside), facts=[])
        self.data = [k for k in record.outside if k not in record.active and k not in fixed]
        self._fixed = fixed

        def compiled(active: tuple, data: tuple) -> Any:
            values = {**self._fixed, **dict(zip(self.record.active, active)), **dict(zip(self.data, data))}
            outputs = replay(self.record, values)
            return outputs.reshape(()) if self._is_number else outputs

        def of_arrays(*given: Any) -> Any:
            count = len(self.record.active)
            return self.returned(given[:count], given[count:])

        for fn in (compiled, of_arrays):
            fn.__name__ = fn.__qualname__ = name
        self.fn, self.of_arrays = compiled, of_arrays
        self.function = HessianFunction(compiled, Options(argnums=0, **options))
        self.products: dict[str, Any] = {}

    def returned(self, active: tuple, data: tuple) -> Any:
        """What the captured function returned, in the shape that it had: `fn` gives a single element without one."""
        out, ref = self.fn(active, data), self.record.outputs
        return out if isinstance(out, tuple) else out.reshape(self.record.metas[ref.number].shape)

    @property
    def _is_number(self) -> bool:
        out = self.record.outputs
        return isinstance(out, Ref) and int(np.prod(self.record.metas[out.number].shape)) == 1


class Family:
    """The kernels of records that differ by integers and numbers of Python's alone.

    Integers that come from outside, such as positions, are constants at first: their structure is known. So are the
    factors and summands that Python computes. Those that turn out to change become inputs, and no kernel is compiled
    for them again.
    """

    def __init__(self) -> None:
        self.varying: set[int] = set()
        self.kernels: OrderedDict[tuple, Kernel] = OrderedDict()
        self._last: dict[int, bytes] | None = None

    def kernel(self, record: Record, name: str, options: dict[str, Any]) -> Kernel:
        """The kernel for the integers of this record."""
        integers = {k: as_array(t) for k, t in record.outside.items()
                    if k not in record.active and k not in record.varying and _is_constant(t)}
        contents = {k: a.tobytes() for k, a in integers.items()}
        key = self._key(contents)
        if key not in self.kernels and self._last is not None:
            self.varying |= {k for k, c in contents.items() if self._last[k] != c}
            key = self._key(contents)
        self._last = contents
        found = self.kernels.get(key)
        if found is None:
            fixed = {k: a.astype(np.int64) if a.dtype.kind in "iu" else float(a) for k, a in integers.items()
                     if k not in self.varying}
            found = self.kernels[key] = Kernel(record, fixed, name, options)
            while len(self.kernels) > MAX_VARIANTS:
                self.kernels.popitem(last=False)
        return found

    def _key(self, contents: dict[int, bytes]) -> tuple:
        return tuple((k, c) for k, c in contents.items() if k not in self.varying)


_families: OrderedDict[tuple, Family] = OrderedDict()
_lock = threading.RLock()


def kernel_of(record: Record, name: str, options: dict[str, Any]) -> Kernel:
    """The kernel of a record: one that is known where an equal record has been compiled."""
    if unknown := sorted(set(options) - OPTIONS):
        raise TypeError(f"{unknown[0]} is no option; there are {', '.join(sorted(OPTIONS))}")
    key = (record.key, frozenset(record.varying), tuple(sorted(options.items())))
    with _lock:
        family = _families.get(key)
        if family is None:
            family = _families[key] = Family()
            while len(_families) > MAX_FAMILIES:
                _families.popitem(last=False)
        _families.move_to_end(key)
        return family.kernel(record, name, options)


def _is_constant(t: Any) -> bool:
    """True for what is compiled into the first kernel."""
    return isinstance(t, float) or DTYPES.get(t.dtype) is np.int64


def as_array(t: Any) -> Any:
    """The memory of a tensor as an array; a copy where it is on a device, or in a type that NumPy does not have."""
    if isinstance(t, float):
        return np.asarray(t)
    t = t.detach()
    if t.dtype in (torch.bfloat16, torch.float16):
        t = t.float()
    if t.dtype.is_complex:
        return None
    return t.resolve_neg().cpu().numpy()


def arrays_of(tensors: Sequence[torch.Tensor]) -> tuple:
    return tuple(map(as_array, tensors))


def as_sparse(H: Any, like: torch.Tensor) -> torch.Tensor:
    """A CSR array as a CSR tensor of the same memory."""
    parts = (torch.from_numpy(a) for a in (H.indptr.copy(), H.indices.copy(), H.data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR|invariant)", UserWarning)
        return torch.sparse_csr_tensor(*parts, size=H.shape).to(device=like.device)


def as_tensor(a: Any, like: torch.Tensor) -> torch.Tensor:
    """An array as a tensor of the same memory, in the dtype and on the device of `like`."""
    a = np.asarray(a)
    return torch.from_numpy(a).to(device=like.device, dtype=like.dtype)
